"""Backgrounds: generated textures and regions of public-domain photos, float32 [3, H, W] in [0, 1].

A texture is a function of the place alone, so it looks the same at every size. Photos: a background
is a square out of one of scikit-image's bundled photos that are public domain or CC0 (Chelsea the
cat is left out: nobody labelled it). Train takes from the left 54 % of a photo, test from the right
44 %, shift from other photos.
"""

from dataclasses import dataclass
from functools import lru_cache
from math import log2

import numpy as np
from numpy.random import Generator
from PIL import Image

from mvit_lib.data.zoo.palettes import any_hls, to_rgb
from mvit_lib.data.zoo.shapes import between, chance

PHOTOS = {
    "train": ("astronaut", "brick", "coffee", "grass", "rocket"),
    "test": ("astronaut", "brick", "coffee", "grass", "rocket"),
    "shift": ("camera", "gravel", "hubble_deep_field"),
}
# The part of a photo's width that a split may take from.
SIDES = {"train": (0.0, 0.54), "test": (0.56, 1.0), "shift": (0.0, 1.0)}
SEEN = ("hills", "checks", "stripes", "dots", "clouds")
TEXTURES = {"train": SEEN, "test": SEEN, "shift": ("rings", "waves", "honeycomb", "weave")}


@dataclass(frozen=True, eq=False)
class Background:
    """A texture by its family, or a photo by its name and region; and the numbers it is made with.

    colours: float64 [3, 3]. region: (x0, y0, x1, y1) as shares of the photo's width and height, None
    for textures. numbers: float64 [16] in [0, 1], what the family makes of them.
    """

    family: str
    colours: np.ndarray
    numbers: np.ndarray
    region: tuple[float, float, float, float] | None = None
    mirrored: bool = False


def any_background(draw: Generator, split: str, kind: str) -> Background:
    """A texture or, as often, a region of a photo; `kind` tells which hues it may have."""
    colours = np.array([to_rgb(*any_hls(draw, kind)) for _ in range(3)]) / 255
    # Paler or darker than the animals, most of the time.
    colours += between(draw, 0.0, 0.65) * ((1.0 if chance(draw, 0.7) else 0.1) - colours)
    numbers = draw.random(16)
    if chance(draw, 0.5):
        families = TEXTURES[split]
        return Background(families[draw.integers(len(families))], colours, numbers)
    name = PHOTOS[split][draw.integers(len(PHOTOS[split]))]
    left, right = (side * photo(name).width for side in SIDES[split])
    width, height = photo(name).size
    side = between(draw, 0.55, 1.0) * min(right - left, height)
    x, y = between(draw, left, right - side), between(draw, 0.0, height - side)
    region = (x / width, y / height, (x + side) / width, (y + side) / height)
    return Background(name, colours, numbers, region, chance(draw, 0.5))


def paint(background: Background, height: int, width: int) -> np.ndarray:
    """The background at this size: float32 [3, H, W] in [0, 1]."""
    if background.region is not None:
        return _photo_region(background, height, width)
    return PAINTERS[background.family](background.colours, background.numbers, height, width)


@lru_cache
def photo(name: str, shrink: int = 1) -> Image.Image:
    """One of scikit-image's bundled photos, `shrink` times smaller in both directions.

    Raises: ModuleNotFoundError, saying what to install, without scikit-image.
    """
    try:
        import skimage.data
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            "PixelZoo's backgrounds need the photos of scikit-image: pip install scikit-image"
        ) from error
    return Image.fromarray(getattr(skimage.data, name)()).reduce(shrink)


def _photo_region(background: Background, height: int, width: int) -> np.ndarray:
    """A coloured photo as it is, a grey one between two colours."""
    x0, y0, x1, y1 = background.region
    full = photo(background.family)
    # From the smallest copy that still has more pixels than are needed.
    surplus = min((x1 - x0) * full.width / width, (y1 - y0) * full.height / height)
    picture = photo(background.family, min(1 << int(log2(max(surplus, 1))), 8))
    box = (x0 * picture.width, y0 * picture.height, x1 * picture.width, y1 * picture.height)
    picture = picture.resize((width, height), Image.Resampling.BILINEAR, box=box)
    levels = np.asarray(picture)[:, ::-1] if background.mirrored else np.asarray(picture)
    if levels.ndim == 3:
        return channels_of(levels)
    share = levels * np.float32(1 / 255)
    return _mix(background.colours[0] * 0.5, background.colours[1] * 0.5 + 0.5, share)


def channels_of(levels: np.ndarray) -> np.ndarray:
    """uint8 [H, W, C] -> float32 [C, H, W] in [0, 1]."""
    channels = levels.transpose(2, 0, 1).astype(np.float32, order="C")
    channels *= np.float32(1 / 255)
    return channels


@lru_cache(maxsize=64)
def _grid(height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """x [1, W] and y [H, 1] of the pixels' middles; the shorter side runs from -0.5 to 0.5."""
    shorter = min(height, width)
    x = (np.arange(width, dtype=np.float32) + 0.5 - width / 2) / shorter
    y = (np.arange(height, dtype=np.float32) + 0.5 - height / 2) / shorter
    return x[None, :], y[:, None]


def _mix(low: np.ndarray, high: np.ndarray, share: np.ndarray) -> np.ndarray:
    """Colours between `low` and `high`: share [H, W] -> [3, H, W]."""
    colour = share * np.float32(high - low)[:, None, None]
    colour += np.float32(low)[:, None, None]
    return colour


def _edge(distance: np.ndarray, pixel: float) -> np.ndarray:
    """0 where a signed distance is negative, 1 where it is positive, over one pixel in between."""
    share = distance / pixel
    share += 0.5
    return np.clip(share, 0, 1, out=share)


def _turned(number: float, height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Coordinates along and across a direction: number in [0, 1] is half a turn."""
    x, y = _grid(height, width)
    cos, sin = np.float32(np.cos(np.pi * number)), np.float32(np.sin(np.pi * number))
    return x * cos + y * sin, y * cos - x * sin


def _triangle(u: np.ndarray) -> np.ndarray:
    """A wave of straight lines between -0.25 and 0.25 with period 1."""
    wave = u - np.floor(u)
    wave -= 0.5
    np.abs(wave, out=wave)
    wave -= 0.25
    return wave


def hills(colours: np.ndarray, numbers: np.ndarray, height: int, width: int) -> np.ndarray:
    """A sky that pales towards the horizon, and two ranges of hills."""
    x, y = _grid(height, width)
    sky = 0.35 + 0.65 * colours[0]
    picture = _mix(sky, 0.4 * sky + 0.6, np.clip(y + 0.6, 0, 1) + 0 * x)
    for k, level in enumerate((0.05, 0.25)):
        a, b, c, d = numbers[4 * k : 4 * k + 4]
        waves = 0.08 * np.sin((3 + 4 * a) * x + 6.3 * b) + 0.04 * np.sin((8 + 5 * c) * x + 6.3 * d)
        ground = _edge(y - np.float32(level) - waves.astype(np.float32), 1 / min(height, width))
        picture += ground * (np.float32(colours[k + 1] * (0.9 - 0.2 * k))[:, None, None] - picture)
    return picture


def checks(colours: np.ndarray, numbers: np.ndarray, height: int, width: int) -> np.ndarray:
    """A chessboard of two colours, turned."""
    along, across = _turned(numbers[0], height, width)
    n = 2 + 4 * numbers[1]
    wave = _triangle(n * along + numbers[2]) * _triangle(n * across + numbers[3])
    board = _edge(wave, 0.5 * n / min(height, width))
    return _mix(colours[0], 0.5 * colours[0] + 0.5 * colours[1], board)


def stripes(colours: np.ndarray, numbers: np.ndarray, height: int, width: int) -> np.ndarray:
    """Stripes of two colours in one direction."""
    along, _ = _turned(numbers[0], height, width)
    n = 2.5 + 7 * numbers[1]
    wave = _triangle(n * along + numbers[2]) + 0.16 * np.float32(numbers[3] - 0.5)
    return _mix(colours[0], 0.5 * colours[0] + 0.5 * colours[1], _edge(wave, n / min(height, width)))


def dots(colours: np.ndarray, numbers: np.ndarray, height: int, width: int) -> np.ndarray:
    """Polka dots."""
    along, across = _turned(numbers[0], height, width)
    n = 3 + 5 * numbers[1]
    u, v = n * along + numbers[2], n * across + numbers[3]
    distance = np.sqrt((u - np.floor(u) - 0.5) ** 2 + (v - np.floor(v) - 0.5) ** 2)
    dot = _edge(0.18 + 0.15 * numbers[4] - distance, n / min(height, width))
    return _mix(colours[0], 0.4 * colours[0] + 0.6 * colours[1], dot)


def clouds(colours: np.ndarray, numbers: np.ndarray, height: int, width: int) -> np.ndarray:
    """Soft noise in three octaves between two colours."""
    draw = np.random.default_rng(int(numbers[0] * 2**32))
    field = np.zeros((height, width), dtype=np.float32)
    for n, weight in ((4, 0.5), (8, 0.3), (17, 0.2)):
        coarse = Image.fromarray(draw.random((n, n), dtype=np.float32))
        field += np.float32(weight) * np.asarray(coarse.resize((width, height), Image.Resampling.BICUBIC))
    return _mix(colours[0], colours[1], np.clip(2.2 * field - 0.6, 0, 1))


def rings(colours: np.ndarray, numbers: np.ndarray, height: int, width: int) -> np.ndarray:
    """Rings around a point somewhere in the picture."""
    x, y = _grid(height, width)
    radius = np.sqrt((x - np.float32(numbers[0] - 0.5)) ** 2 + (y - np.float32(numbers[1] - 0.5)) ** 2)
    n = 4 + 6 * numbers[2]
    wave = _triangle(n * radius + numbers[3])
    return _mix(colours[0], 0.5 * colours[0] + 0.5 * colours[1], _edge(wave, n / min(height, width)))


def waves(colours: np.ndarray, numbers: np.ndarray, height: int, width: int) -> np.ndarray:
    """Wavy bands in three colours."""
    along, across = _turned(numbers[0], height, width)
    n = 2 + 4 * numbers[1]
    u = n * along + 0.35 * np.sin((6 + 8 * numbers[2]) * across + 6.3 * numbers[3]).astype(np.float32)
    picture = _mix(colours[0], colours[1], _edge(_triangle(u), n / min(height, width)))
    return 0.75 * picture + 0.25 * _mix(colours[2], colours[2], np.abs(u - np.floor(u)))


def honeycomb(colours: np.ndarray, numbers: np.ndarray, height: int, width: int) -> np.ndarray:
    """A honeycomb in two colours."""
    n, pixel = 3 + 4 * numbers[1], 1 / min(height, width)
    wave = np.float32(1)
    for k in range(3):
        along, _ = _turned(numbers[0] + k / 3, height, width)
        wave = wave * _triangle(n * along + numbers[2 + k])
    return _mix(colours[0], 0.5 * colours[0] + 0.5 * colours[1], _edge(wave, 0.1 * n * pixel))


def weave(colours: np.ndarray, numbers: np.ndarray, height: int, width: int) -> np.ndarray:
    """Soft threads across each other."""
    along, across = _turned(numbers[0], height, width)
    n = 4 + 8 * numbers[1]
    threads = 0.5 + 2 * np.maximum(_triangle(n * along), -_triangle(n * across + numbers[2]))
    return _mix(0.7 * colours[0], 0.5 * colours[0] + 0.5 * colours[1], np.clip(threads, 0, 1))


PAINTERS = {
    painter.__name__: painter
    for painter in (hills, checks, stripes, dots, clouds, rings, waves, honeycomb, weave)
}
