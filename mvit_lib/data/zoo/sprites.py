"""A drawing as one array of points, and its place in a scene."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.random import Generator

from mvit_lib.data.zoo.palettes import Palette
from mvit_lib.data.zoo.shapes import Part, between, chance


class Piece(NamedTuple):
    """A part whose polygons are [start, stop) ranges of the sprite's flattened points."""

    outlines: tuple[tuple[int, int], ...]
    role: str
    marks: tuple[tuple[tuple[int, int], str], ...]


@dataclass(frozen=True, eq=False)
class Sprite:
    """A drawing and its place in the scene.

    label: 0…9, None for what stands in front of the animals. points: complex [n] around 0, longer side 1.
    x, y: the centre as a share of width and height. scale: the longer side as a share of the shorter side.
    angle in degrees, clockwise.
    """

    label: int | None
    points: np.ndarray
    pieces: tuple[Piece, ...]
    palette: Palette
    x: float
    y: float
    scale: float
    angle: float
    flipped: bool

    def place(self, height: int, width: int) -> np.ndarray:
        """The points in pixels of a scene of this size, x + iy, complex128 [n]."""
        turn = self.scale * min(height, width) * np.exp(1j * np.deg2rad(self.angle))
        points = -self.points.conj() if self.flipped else self.points
        return points * turn + complex(self.x * width, self.y * height)  # [n]


def make_sprite(
    draw: Generator, label: int | None, parts: list[Part], palette: Palette, scale: float, steepest: float
) -> Sprite:
    """The parts as one array of points, in the middle of the scene, flipped or not, turned a little."""
    polygons, pieces, stop = [], [], 0
    for part in parts:
        ranges = []
        for polygon in (*part.outlines, *(mark for mark, _ in part.marks)):
            polygons.append(polygon)
            ranges.append((stop, stop + 2 * len(polygon)))
            stop += 2 * len(polygon)
        n = len(part.outlines)
        marks = tuple(zip(ranges[n:], (role for _, role in part.marks), strict=True))
        pieces.append(Piece(tuple(ranges[:n]), part.role, marks))
    points = np.concatenate(polygons)
    shape = np.concatenate([outline for part in parts for outline in part.outlines])
    left, top, right, bottom = bounds(shape)
    points = (points - complex(left + right, top + bottom) / 2) / max(right - left, bottom - top)
    angle = between(draw, -steepest, steepest)
    return Sprite(label, points, tuple(pieces), palette, 0.5, 0.5, scale, angle, chance(draw, 0.5))


def bounds(points: np.ndarray) -> tuple[float, float, float, float]:
    """The least x and y and the largest x and y."""
    x, y = points.real, points.imag
    return x.min(), y.min(), x.max(), y.max()
