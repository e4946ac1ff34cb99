"""The shapes that animals are put together from.

The plane is that of the complex numbers: a point is x + iy with y pointing down, a closed polygon is
complex128 [n], and turning and growing are one multiplication. Most shapes are a fixed matrix times the
few numbers that make them: one call of numpy each, since for so few points calls are what takes the time.
"""

from functools import lru_cache
from math import cos, log, pi, sin
from typing import NamedTuple

import numpy as np
from numpy.random import Generator

Point = tuple[float, float]


class Part(NamedTuple):
    """Polygons of one colour, seen as their union, and marks (polygon, role) that show only inside it.

    A role is the name of a colour in a palette.
    """

    outlines: tuple[np.ndarray, ...]
    role: str
    marks: tuple[tuple[np.ndarray, str], ...] = ()


def between(draw: Generator, low: float, high: float) -> float:
    """A number drawn uniformly from [low, high)."""
    return low + (high - low) * draw.random()


def chance(draw: Generator, probability: float) -> bool:
    """True with this probability."""
    return draw.random() < probability


@lru_cache
def _circle(n: int) -> np.ndarray:
    """The unit circle, its mirror image, and ones."""
    circle = np.exp(2j * pi * np.arange(n) / n)
    return np.stack([circle, circle.conj(), np.ones(n)], axis=1)  # [n, 3]


def ellipse(x: float, y: float, rx: float, ry: float, turn: float = 0.0, n: int = 24) -> np.ndarray:
    """An ellipse around (x, y), turned by `turn` radians (clockwise as seen, since y points down)."""
    # a·z + b·conj(z) stretches a circle into an ellipse.
    round_part, flat_part = (rx + ry) / 2, (rx - ry) / 2
    direction = complex(cos(turn), sin(turn))
    return _circle(n).dot((round_part * direction, flat_part * direction, complex(x, y)))  # [n]


def dot(x: float, y: float, r: float) -> np.ndarray:
    """A small circle."""
    return _circle(12).dot((r, 0, complex(x, y)))  # [12]


def polygon(*points: Point) -> np.ndarray:
    """The polygon with these corners."""
    return np.array([complex(x, y) for x, y in points])  # [n]


def _catmull_rom(t: np.ndarray) -> np.ndarray:
    """Weights of four neighbouring points at the places t in [0, 1] between the inner two."""
    powers = np.stack([np.ones_like(t), t, t**2, t**3], axis=1)  # [m, 4]
    basis = np.array([[0, 2, 0, 0], [-1, 0, 1, 0], [2, -5, 4, -1], [-1, 3, -3, 1]]) / 2
    return powers @ basis  # [m, 4]


@lru_cache
def _closed_basis(n: int, steps: int) -> np.ndarray:
    weights = _catmull_rom(np.arange(steps) / steps)  # [steps, 4]
    basis = np.zeros((n * steps, n), dtype=np.complex128)
    for i in range(n):
        for k in range(4):
            basis[i * steps : (i + 1) * steps, (i + k - 1) % n] += weights[:, k]
    return basis  # [n·steps, n]


def blob(*points: Point) -> np.ndarray:
    """The closed smooth curve through these points (Catmull-Rom)."""
    return _closed_basis(len(points), 5).dot(polygon(*points))  # [5·n]


def symmetric(*points: Point) -> np.ndarray:
    """The smooth curve through points of the right half, from top to bottom, and their mirror images."""
    return blob(*points, *((-x, y) for x, y in reversed(points) if x))


@lru_cache
def _open_basis(n: int) -> np.ndarray:
    """Places on the open curve through n points, then tangents there, as weights of the points."""
    steps = 4
    places = np.arange((n - 1) * steps + 1) / steps
    segment = np.minimum(places.astype(int), n - 2)
    basis = np.zeros((len(places), n + 2))
    weights = _catmull_rom(places - segment)  # [m, 4]
    for k in range(4):
        basis[np.arange(len(places)), segment + k] += weights[:, k]
    # The neighbours beyond the ends continue the first and the last segment straight on.
    inner = basis[:, 1:-1]
    inner[:, 0] += 2 * basis[:, 0]
    inner[:, 1] -= basis[:, 0]
    inner[:, -1] += 2 * basis[:, -1]
    inner[:, -2] -= basis[:, -1]
    return np.concatenate([inner, np.gradient(inner, axis=0)]).astype(np.complex128)  # [2·m, n]


def _around(m: int) -> tuple[np.ndarray, np.ndarray]:
    """The outline of a tube along m places, both [2·m + 8]: which place each of its points lies beside, and
    where from there, if the tangent there is 1."""
    along, end, start = np.arange(m), [m - 1] * 4, [0] * 4
    cap = np.exp(1j * np.linspace(pi / 2, -pi / 2, 6)[1:-1])  # [4], from the left side to the right
    sides = np.concatenate([np.full(m, 1j), cap, np.full(m, -1j), -cap])
    return np.concatenate([along, end, along[::-1], start]), sides


@lru_cache
def _tube(n: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """For the outline of a limb through n points: weights of the points for the places it lies beside and
    for its directions from there, as long as the tangents; weights of the radii."""
    centre, tangent = np.split(_open_basis(n), 2)  # [m, n]
    beside, sides = _around(len(centre))
    return centre[beside], sides[:, None] * tangent[beside], centre.real[beside]


@lru_cache
def _straight_tube() -> np.ndarray:
    """For the outline of a limb through two points: weights of the first and the last point, and of the
    steps along it that are as long as its radius at the first and at the last."""
    beside, sides = _around(2)
    ends = np.stack([beside == 0, beside == 1], axis=1)
    return np.concatenate([ends, sides[:, None] * ends], axis=1)  # [12, 4]


def limb(points: tuple[Point, ...], radii: tuple[float, ...]) -> np.ndarray:
    """A tube with round ends along the smooth curve through `points`, with its radius at each of them."""
    if len(points) == 2:
        first, last = complex(*points[0]), complex(*points[1])
        step = (last - first) / abs(last - first)
        return _straight_tube().dot((first, last, step * radii[0], step * radii[1]))  # [12]
    places, outward, radius = _tube(len(points))
    # Two products: one large enough for BLAS to share out among threads would be far slower.
    corners = polygon(*points)
    outline, out = places.dot(corners), outward.dot(corners)
    out *= radius.dot(radii) / np.abs(out)
    outline += out
    return outline  # [2·m + 8]


@lru_cache
def _leaf(peak: float) -> np.ndarray:
    """Along, from 0 to 1 and back; across, from -0.5 to 0.5; across when bent; and ones."""
    t = np.linspace(0, 1, 11)
    half = np.sin(pi * t ** (log(0.5) / log(peak))) / 2
    along, across = np.concatenate([t, t[-2:0:-1]]), np.concatenate([half, -half[-2:0:-1]])
    return np.stack([along, 1j * across, 1j * along**2, np.ones(20)], axis=1)  # [20, 4]


def leaf(base: Point, tip: Point, width: float, peak: float = 0.5, bend: float = 0.0) -> np.ndarray:
    """A pointed oval from base to tip, widest at the fraction `peak`, its tip bent by `bend` lengths."""
    axis = complex(tip[0] - base[0], tip[1] - base[1])
    return _leaf(peak).dot((axis, axis * (width / abs(axis)), axis * bend, complex(*base)))  # [20]


def toward(base: Point, length: float, angle: float) -> Point:
    """The point so far from `base` in this direction: 0 right, π/2 down."""
    return base[0] + length * cos(angle), base[1] + length * sin(angle)


def placed(outline: np.ndarray, x: float, y: float, size: float, turn: float = 0.0) -> np.ndarray:
    """The outline, `size` times as large, turned, and moved so that its origin lies at (x, y)."""
    return outline * complex(size * cos(turn), size * sin(turn)) + complex(x, y)


def shrunk(outline: np.ndarray, factor: float) -> np.ndarray:
    """The outline, made smaller around its mean point."""
    return outline * factor + outline.sum() * ((1 - factor) / len(outline))


def mirrored(outline: np.ndarray, factor: float = 1.0) -> np.ndarray:
    """The outline on the other side of the line x = 0, `factor` times as far away from it."""
    return 1j * outline.imag - factor * outline.real


def bounds(points: np.ndarray) -> tuple[float, float, float, float]:
    """The least x and y and the largest x and y."""
    x_and_y = np.array((points.real, points.imag))
    return (*x_and_y.min(1).tolist(), *x_and_y.max(1).tolist())
