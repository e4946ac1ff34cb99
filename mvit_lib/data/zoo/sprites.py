"""A drawing as one array of points, and its place in a scene."""

from dataclasses import dataclass
from itertools import accumulate, islice, pairwise
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
    solid: how many points, the first ones, belong to outlines; those of marks may lie outside.
    x, y: the centre as a share of width and height. scale: the longer side as a share of the shorter side.
    angle in degrees, clockwise.
    """

    label: int | None
    points: np.ndarray
    solid: int
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
    outlines = [outline for part in parts for outline in part.outlines]
    marks = [mark for part in parts for mark, _ in part.marks]
    stops = [0, *accumulate(2 * len(polygon) for polygon in (*outlines, *marks))]
    ranges = list(pairwise(stops))
    own, other = iter(ranges[: len(outlines)]), iter(ranges[len(outlines) :])
    pieces = [
        Piece(
            tuple(islice(own, len(part.outlines))),
            part.role,
            tuple(zip(islice(other, len(part.marks)), (role for _, role in part.marks), strict=True)),
        )
        for part in parts
    ]
    points, solid = np.concatenate([*outlines, *marks]), stops[len(outlines)] // 2
    left, top, right, bottom = bounds(points[:solid])
    points = (points - complex(left + right, top + bottom) / 2) / max(right - left, bottom - top)
    angle = between(draw, -steepest, steepest)
    return Sprite(label, points, solid, tuple(pieces), palette, 0.5, 0.5, scale, angle, chance(draw, 0.5))


def bounds(points: np.ndarray) -> tuple[float, float, float, float]:
    """The least x and y and the largest x and y."""
    x, y = points.real, points.imag
    return x.min(), y.min(), x.max(), y.max()
