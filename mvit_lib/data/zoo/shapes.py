"""The shapes that animals are put together from.

The plane is that of the complex numbers: a point is x + iy with y pointing down, a closed polygon is
complex128 [n], and turning and growing are one multiplication.
"""

from functools import lru_cache
from math import cos, hypot, log, pi, sin
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
    return np.exp(2j * pi * np.arange(n) / n)  # [n]


def ellipse(x: float, y: float, rx: float, ry: float, turn: float = 0.0, n: int = 24) -> np.ndarray:
    """An ellipse around (x, y), turned by `turn` radians (clockwise as seen, since y points down)."""
    circle = _circle(n)
    # a·z + b·conj(z) stretches a circle into an ellipse.
    round_part, flat_part = (rx + ry) / 2, (rx - ry) / 2
    outline = round_part * circle + flat_part * circle.conj()
    return outline * complex(cos(turn), sin(turn)) + complex(x, y)  # [n]


def dot(x: float, y: float, r: float) -> np.ndarray:
    """A small circle."""
    return _circle(12) * r + complex(x, y)  # [12]


def polygon(*points: Point) -> np.ndarray:
    """The polygon with these corners."""
    return np.array(points, dtype=np.float64).view(np.complex128)[:, 0]  # [n]


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
    return _closed_basis(len(points), 5) @ polygon(*points)  # [5·n]


def symmetric(*points: Point) -> np.ndarray:
    """The smooth curve through points of the right half, from top to bottom, and their mirror images."""
    return blob(*points, *((-x, y) for x, y in reversed(points) if x))


@lru_cache
def _open_basis(n: int) -> np.ndarray:
    """Places on the open curve through n points, then tangents there, as weights of the points."""
    if n == 2:
        return np.array([[1, 0], [0, 1], [-1, 1], [-1, 1]], dtype=np.complex128)
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


@lru_cache
def _cap() -> np.ndarray:
    return np.exp(1j * np.linspace(pi / 2, -pi / 2, 6)[1:-1])  # [4], from the left side to the right


def limb(points: tuple[Point, ...], radii: tuple[float, ...]) -> np.ndarray:
    """A tube with round ends along the smooth curve through `points`, with its radius at each of them."""
    basis = _open_basis(len(points))
    m = len(basis) // 2
    curve = basis @ polygon(*points)  # [2·m]
    centre, tangent = curve[:m], curve[m:]
    along = tangent * ((basis[:m] @ np.array(radii)) / np.abs(tangent))  # [m], as long as the radius
    left, right = centre + 1j * along, centre - 1j * along
    end, start = centre[-1] + _cap() * along[-1], centre[0] - _cap() * along[0]
    return np.concatenate([left, end, right[::-1], start])  # [2·m + 8]


@lru_cache
def _leaf(peak: float) -> tuple[np.ndarray, np.ndarray]:
    """Along, from 0 to 1 and back, and across, from -0.5 to 0.5."""
    t = np.linspace(0, 1, 11)
    half = np.sin(pi * t ** (log(0.5) / log(peak))) / 2
    return np.concatenate([t, t[-2:0:-1]]), np.concatenate([half, -half[-2:0:-1]])


def leaf(base: Point, tip: Point, width: float, peak: float = 0.5, bend: float = 0.0) -> np.ndarray:
    """A pointed oval from base to tip, widest at the fraction `peak`, its tip bent by `bend` lengths."""
    axis = complex(tip[0] - base[0], tip[1] - base[1])
    along, across = _leaf(peak)
    side = across * (width / hypot(axis.real, axis.imag)) + bend * along**2
    return (along + 1j * side) * axis + complex(*base)  # [20]


def toward(base: Point, length: float, angle: float) -> Point:
    """The point so far from `base` in this direction: 0 right, π/2 down."""
    return base[0] + length * cos(angle), base[1] + length * sin(angle)


def placed(outline: np.ndarray, x: float, y: float, size: float, turn: float = 0.0) -> np.ndarray:
    """The outline, `size` times as large, turned, and moved so that its origin lies at (x, y)."""
    return outline * complex(size * cos(turn), size * sin(turn)) + complex(x, y)


def shrunk(outline: np.ndarray, factor: float) -> np.ndarray:
    """The outline, made smaller around its mean point."""
    return outline * factor + outline.mean() * (1 - factor)


def mirrored(outline: np.ndarray, factor: float = 1.0) -> np.ndarray:
    """The outline on the other side of the line x = 0, `factor` times as far away from it."""
    return 1j * outline.imag - factor * outline.real
