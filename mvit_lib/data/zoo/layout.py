"""Where sprites go so that enough of every animal stays visible: decided on a raster of fixed size."""

from dataclasses import dataclass, field, replace
from math import ceil

import numpy as np
from numpy.random import Generator

from mvit_lib.data.zoo.shapes import between, bounds
from mvit_lib.data.zoo.sprites import Sprite, corners_of, pen_on

RASTER = 96
# A margin on what is promised (0.8 of an animal inside, 0.7 of that visible), since the raster is coarse.
LEAST_INSIDE, LEAST_VISIBLE = 0.83, 0.75


@dataclass
class Stage:
    """The animals placed so far: which squares of the raster still show them, and how many did at first."""

    visible: list[np.ndarray] = field(default_factory=list)
    areas: list[int] = field(default_factory=list)

    def try_animal(self, draw: Generator, sprite: Sprite, shape: np.ndarray) -> Sprite | None:
        """The sprite, whose silhouette is `shape`, at a place drawn at random; None if it does not fit."""
        # Where the middle may lie so that about a fifth sticks out at most.
        free = [min(0.28 * side / RASTER, 0.48) for side in shape.shape]
        row, column = (round(RASTER * between(draw, low, 1 - low)) for low in free)
        covered = _covered(shape, row, column)
        inside = np.count_nonzero(covered)
        if inside < LEAST_INSIDE * np.count_nonzero(shape) or not self._cover(covered):
            return None
        self.visible.append(covered)
        self.areas.append(inside)
        return replace(sprite, x=column / RASTER, y=row / RASTER)

    def try_foreground(self, sprite: Sprite) -> bool:
        """Whether the sprite, where it is, leaves enough of every animal; if so it covers them."""
        covered = _covered(silhouette(sprite), round(sprite.y * RASTER), round(sprite.x * RASTER))
        return self._cover(covered)

    def _cover(self, covered: np.ndarray) -> bool:
        """Cover these squares, unless too little of an animal stayed visible; returns whether it was done."""
        free = ~covered
        left = [seen & free for seen in self.visible]
        for seen, area in zip(left, self.areas, strict=True):
            if np.count_nonzero(seen) < LEAST_VISIBLE * area:
                return False
        self.visible = left
        return True


def silhouette(sprite: Sprite) -> np.ndarray:
    """The squares of the raster that the sprite fills, bool [h, w] with its centre in the middle."""
    points = sprite.turned(RASTER)[: sprite.solid]  # [n]
    left, top, right, bottom = bounds(points)
    across, down = ceil(max(-left, right)) + 1, ceil(max(-top, bottom)) + 1
    corners = corners_of(points + complex(across - 0.5, down - 0.5))
    shape = np.zeros((2 * down, 2 * across), dtype=bool)
    pen = pen_on(shape.view(np.uint8))
    for piece in sprite.pieces:
        if piece.role not in ("dark", "white", "blush"):  # small things, or inside others
            for outline in piece.outlines:
                pen.draw_polygon(corners[outline], 1, 1)
    return shape


def _covered(shape: np.ndarray, row: int, column: int) -> np.ndarray:
    """The silhouette on the whole raster, its middle at (row, column): bool [RASTER, RASTER]."""
    frame = np.zeros((RASTER, RASTER), dtype=bool)
    top, left = row - shape.shape[0] // 2, column - shape.shape[1] // 2
    y0, x0 = max(top, 0), max(left, 0)
    part = shape[y0 - top : RASTER - top, x0 - left : RASTER - left]
    frame[y0 : y0 + part.shape[0], x0 : x0 + part.shape[1]] = part
    return frame
