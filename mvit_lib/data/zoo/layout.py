"""Where sprites go so that enough of every animal stays visible: decided on a raster of fixed size."""

from dataclasses import dataclass, field, replace
from math import ceil

import numpy as np
from numpy.random import Generator
from PIL import Image, ImageDraw

from mvit_lib.data.zoo.shapes import between
from mvit_lib.data.zoo.sprites import Sprite

RASTER = 96
# A margin on what is promised (0.8 of an animal inside, 0.7 of that visible), since the raster is coarse.
LEAST_INSIDE, LEAST_VISIBLE = 0.83, 0.75


@dataclass
class Stage:
    """The animals placed so far: which squares of the raster still show them, and how many did at first."""

    visible: list[np.ndarray] = field(default_factory=list)
    areas: list[int] = field(default_factory=list)

    def try_animal(self, draw: Generator, sprite: Sprite) -> Sprite | None:
        """The sprite at a place drawn at random, or None if it does not fit there."""
        shape = silhouette(sprite)
        # Where the middle may lie so that about a fifth sticks out at most.
        free = 0.28 * np.array(shape.shape) / RASTER
        row, column = (np.rint(RASTER * between(draw, low, 1 - low)) for low in np.minimum(free, 0.48))
        covered = _covered(shape, int(row), int(column))
        inside = int(np.count_nonzero(covered))
        if inside < LEAST_INSIDE * np.count_nonzero(shape) or not self._leaves_enough(covered):
            return None
        self._cover(covered)
        self.visible.append(covered)
        self.areas.append(inside)
        return replace(sprite, x=float(column) / RASTER, y=float(row) / RASTER)

    def try_foreground(self, sprite: Sprite) -> bool:
        """Whether the sprite, where it is, leaves enough of every animal; if so it covers them."""
        covered = _covered(silhouette(sprite), round(sprite.y * RASTER), round(sprite.x * RASTER))
        fits = self._leaves_enough(covered)
        if fits:
            self._cover(covered)
        return fits

    def _leaves_enough(self, covered: np.ndarray) -> bool:
        return all(
            np.count_nonzero(seen & ~covered) >= LEAST_VISIBLE * area
            for seen, area in zip(self.visible, self.areas, strict=True)
        )

    def _cover(self, covered: np.ndarray) -> None:
        for seen in self.visible:
            seen &= ~covered


def silhouette(sprite: Sprite) -> np.ndarray:
    """The squares of the raster that the sprite fills, bool [h, w] with its centre in the middle."""
    points = replace(sprite, x=0.0, y=0.0).place(RASTER, RASTER)[: sprite.solid]  # [n]
    across, down = (ceil(np.abs(places).max()) + 1 for places in (points.real, points.imag))
    corners = np.rint((points + complex(across - 0.5, down - 0.5)).view(np.float64)).astype(int).tolist()
    picture = Image.new("1", (2 * across, 2 * down))
    pen = ImageDraw.Draw(picture)
    for piece in sprite.pieces:
        if piece.role not in ("dark", "white", "blush"):  # small things, or inside others
            for start, stop in piece.outlines:
                pen.polygon(corners[start:stop], fill=1)
    return np.array(picture)


def _covered(shape: np.ndarray, row: int, column: int) -> np.ndarray:
    """The silhouette on the whole raster, its middle at (row, column): bool [RASTER, RASTER]."""
    frame = np.zeros((RASTER, RASTER), dtype=bool)
    top, left = row - shape.shape[0] // 2, column - shape.shape[1] // 2
    y0, x0 = max(top, 0), max(left, 0)
    part = shape[y0 - top : RASTER - top, x0 - left : RASTER - left]
    frame[y0 : y0 + part.shape[0], x0 : x0 + part.shape[1]] = part
    return frame
