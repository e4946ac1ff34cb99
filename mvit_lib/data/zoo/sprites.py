"""A drawing as one array of points, and its place in a scene."""

from cmath import rect
from dataclasses import dataclass
from itertools import accumulate, islice
from math import radians
from typing import Any, NamedTuple

import numpy as np
from numpy.random import Generator
from PIL import Image

from mvit_lib.data.zoo.palettes import Palette
from mvit_lib.data.zoo.shapes import Part, between, bounds, chance


class Piece(NamedTuple):
    """A part whose polygons are slices of the sprite's corners, x and y in turn."""

    outlines: list[slice]
    role: str
    marks: list[tuple[slice, str]]


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
    pieces: list[Piece]
    palette: Palette
    x: float
    y: float
    scale: float
    angle: float
    flipped: bool

    def place(self, height: int, width: int) -> np.ndarray:
        """The points in pixels of a scene of this size, x + iy, complex128 [n]."""
        return self.turned(min(height, width)) + complex(self.x * width, self.y * height)

    def turned(self, side: int) -> np.ndarray:
        """The points around 0 in pixels, for a scene whose shorter side has so many: complex128 [n]."""
        turn = rect(self.scale * side, radians(self.angle))
        return self.points.conj() * -turn if self.flipped else self.points * turn


def make_sprite(
    draw: Generator, label: int | None, parts: list[Part], palette: Palette, scale: float, steepest: float
) -> Sprite:
    """The parts as one array of points, in the middle of the scene, flipped or not, turned a little."""
    outlines = [outline for part in parts for outline in part.outlines]
    marks = [mark for part in parts for mark, _ in part.marks]
    polygons = [*outlines, *marks]
    stops = list(accumulate([2 * len(polygon) for polygon in polygons], initial=0))
    ranges = list(map(slice, stops, stops[1:]))
    own, other = iter(ranges), iter(ranges[len(outlines) :])
    pieces = [
        Piece([*islice(own, len(part.outlines))], part.role, [(next(other), role) for _, role in part.marks])
        for part in parts
    ]
    points, solid = np.concatenate(polygons), stops[len(outlines)] // 2
    left, top, right, bottom = bounds(points[:solid])
    points = (points - complex(left + right, top + bottom) / 2) / max(right - left, bottom - top)
    angle = between(draw, -steepest, steepest)
    return Sprite(label, points, solid, pieces, palette, 0.5, 0.5, scale, angle, chance(draw, 0.5))


def corners_of(points: np.ndarray) -> np.ndarray:
    """Points rounded to whole pixels, x and y in turn: float32 [2·n], which pens read as it lies there."""
    return np.rint(points.view(np.float64)).astype(np.float32)


def pen_on(pixels: np.ndarray) -> Any:
    """A pen whose `draw_polygon(corners, number, 1)` fills a polygon in this array, uint8 [H, W].

    It is what PIL.ImageDraw itself draws with, on the array's own memory. Going by way of its public
    Image.frombuffer, ImageDraw.Draw and polygon gives the same and costs 6 % of a whole scene's time.
    """
    height, width = pixels.shape
    return Image.core.draw(Image.core.map_buffer(pixels, (width, height), "raw", 0, ("L", 0, 1)), 0)


def picture_of(pixels: np.ndarray) -> Image.Image:
    """This array, contiguous uint8 [H, W], as a grey picture that shares its memory."""
    height, width = pixels.shape
    return Image.frombuffer("L", (width, height), pixels, "raw", "L", 0, 1)
