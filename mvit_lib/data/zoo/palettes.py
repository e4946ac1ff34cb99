"""Colours: which hues a split may use, and the palettes of animals, textures and plants made from them."""

from colorsys import hls_to_rgb

from numpy.random import Generator

from mvit_lib.data.zoo.shapes import between

Colour = tuple[int, int, int]
Palette = dict[str, Colour]

# Hues in turns (0 red, 1/3 green, 2/3 blue). A hue of `shift` lies at least 0.02 from any of train and test.
HUES = {"seen": ((0.0, 0.28), (0.50, 0.72), (0.94, 1.0)), "unseen": ((0.30, 0.48), (0.74, 0.92))}
# The lightness of the colours that hues are given to: middle ones, or very pale and very dark ones.
LIGHTNESS = {"seen": ((0.40, 0.68),), "unseen": ((0.26, 0.36), (0.72, 0.82))}
SATURATION = {"seen": (0.30, 0.75), "unseen": (0.30, 0.90)}
COLOURED = ("body", "second", "accent")
FIXED = {"dark": (42, 36, 42), "white": (250, 248, 242), "blush": (240, 172, 166)}


def _among(draw: Generator, ranges: tuple[tuple[float, float], ...]) -> float:
    """A number drawn uniformly from a union of ranges."""
    place = draw.random() * sum(high - low for low, high in ranges)
    for low, high in ranges[:-1]:
        if place < high - low:
            return low + place
        place -= high - low
    return ranges[-1][0] + place


def any_hls(draw: Generator, kind: str) -> tuple[float, float, float]:
    """Hue, lightness and saturation, as a palette of this kind ("seen" or "unseen") may have them."""
    return _among(draw, HUES[kind]), _among(draw, LIGHTNESS[kind]), between(draw, *SATURATION[kind])


def to_rgb(hue: float, lightness: float, saturation: float) -> Colour:
    """HLS in [0, 1] -> three bytes."""
    red, green, blue = hls_to_rgb(hue, lightness, saturation)
    return round(255 * red), round(255 * green), round(255 * blue)


def any_palette(draw: Generator, kind: str) -> Palette:
    """Three colours with a darker and a paler one of each, and the colours that all palettes share."""
    palette = dict(FIXED)
    for role in COLOURED:
        hue, lightness, saturation = any_hls(draw, kind)
        palette[role] = to_rgb(hue, lightness, saturation)
        palette[f"{role}_shade"] = to_rgb(hue, 0.78 * lightness, saturation)
        palette[f"{role}_tint"] = to_rgb(hue, 0.5 * lightness + 0.5, saturation)
    return palette
