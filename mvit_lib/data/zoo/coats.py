"""What lies on an animal's skin: shading, spots, stripes, a pale belly; and its eyes and legs."""

import numpy as np
from numpy.random import Generator

from mvit_lib.data.zoo.shapes import Part, Point, between, bounds, chance, dot, ellipse, leaf, limb

Box = tuple[float, float, float, float]
PATTERNS = ("plain", "spots", "patches", "stripes", "bands", "belly", "saddle")


def any_pattern(draw: Generator) -> str:
    """One of the patterns, plain a little more often."""
    return "plain" if chance(draw, 0.15) else PATTERNS[draw.integers(len(PATTERNS))]


def coat(draw: Generator, outlines: list[np.ndarray], pattern: str = "plain", role: str = "body") -> Part:
    """One skin over all outlines, darker along its lower edge, with a pattern in the second colour."""
    box = bounds(np.concatenate(outlines))
    rise = 0.035 * (box[2] - box[0] + box[3] - box[1]) * (0.3 + 1j)
    lit = [(outline - rise, role) for outline in outlines]
    other = "second" if role == "body" else "body"
    marks = [(mark, other) for mark in _pattern(draw, pattern, box)]
    return Part(tuple(outlines), f"{role}_shade", (*lit, *marks))


def _pattern(draw: Generator, pattern: str, box: Box) -> list[np.ndarray]:
    x0, y0, x1, y1 = box
    width, height = x1 - x0, y1 - y0
    if pattern == "spots":
        return _spots(draw, box, int(draw.integers(12, 26)), between(draw, 0.2, 0.34))
    if pattern == "patches":
        return _spots(draw, box, int(draw.integers(7, 14)), between(draw, 0.36, 0.46))
    if pattern == "stripes":
        return _stripes(draw, box)
    if pattern == "bands":
        n = int(draw.integers(3, 6))
        thick = width / n * between(draw, 0.2, 0.3)
        xs = (x0 + width * (np.arange(n) + between(draw, 0.3, 0.7)) / n).tolist()
        sway = between(draw, -0.1, 0.1) * width
        middle = (y0 + y1) / 2
        return [limb(((x, y0), (x + sway, middle), (x, y1)), (thick, thick, thick)) for x in xs]
    if pattern == "belly":
        return [ellipse((x0 + x1) / 2, y1, width * between(draw, 0.35, 0.5), height * 0.42)]
    if pattern == "saddle":
        x = x0 + width * between(draw, 0.3, 0.7)
        return [ellipse(x, y0, width * between(draw, 0.25, 0.4), height * between(draw, 0.4, 0.6))]
    return []


def _spots(draw: Generator, box: Box, n: int, share: float) -> list[np.ndarray]:
    """About n roundish spots on a shaken grid; `share` is their radius in cells of the grid."""
    x0, y0, x1, y1 = box
    cell = ((x1 - x0) * (y1 - y0) / n) ** 0.5
    columns, rows = max(1, round((x1 - x0) / cell)), max(1, round((y1 - y0) / cell))
    shake = draw.uniform(-0.22, 0.22, (2, rows, columns))
    row, column = np.arange(rows)[:, None], np.arange(columns)
    x = x0 + (x1 - x0) / columns * (column + 0.25 + row % 2 * 0.5 + shake[0])  # every other row shifted
    y = y0 + (y1 - y0) / rows * (row + 0.5 + shake[1])
    radii = cell * share * draw.uniform(0.65, 1.15, (2, rows * columns, 1))
    circle = ellipse(0, 0, 1, 1, n=12)
    spots = radii[0] * circle.real + 1j * radii[1] * circle.imag  # [rows·columns, 12]
    return list((x + 1j * y).reshape(-1, 1) + spots)


def _stripes(draw: Generator, box: Box) -> list[np.ndarray]:
    """Pointed stripes from the back down, like a tiger's."""
    x0, y0, x1, y1 = box
    n = int(draw.integers(5, 10))
    xs = x0 + (x1 - x0) * (np.arange(n) + 0.5) / n
    reach = y0 + (y1 - y0) * draw.uniform(0.45, 0.85, n)
    slant = between(draw, -0.1, 0.1) * (x1 - x0)
    width = (x1 - x0) / n * between(draw, 0.5, 0.8)
    start = y0 - 0.1 * (y1 - y0)
    ends = zip(xs.tolist(), reach.tolist(), strict=True)
    return [leaf((x, start), (x + slant, y), width, 0.4) for x, y in ends]


def eyes(draw: Generator, places: tuple[Point, ...], r: float) -> list[Part]:
    """Eyes of radius r: dark buttons, or white with a pupil that looks somewhere; with a highlight."""
    parts = []
    white = chance(draw, 0.55)
    look = between(draw, -0.25, 0.3) * r, between(draw, -0.2, 0.2) * r
    for x, y in places:
        if white:
            parts.append(Part((dot(x, y, r),), "white"))
            px, py, pupil = x + look[0], y + look[1], 0.64 * r
        else:
            px, py, pupil = x, y, 0.82 * r
        parts.append(Part((dot(px, py, pupil),), "dark"))
        parts.append(Part((dot(px + 0.3 * pupil, py - 0.35 * pupil, 0.36 * pupil),), "white"))
    return parts


def legs(places: tuple[Point, ...], top: float, foot: float, radii: tuple[float, float]) -> list[np.ndarray]:
    """Straight legs from height `top` to height `foot`; a place is x and how far the foot is ahead of it."""
    return [limb(((x, top), (x + ahead, foot)), radii) for x, ahead in places]
