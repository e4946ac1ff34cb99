"""A scene's parameters: which animals stand where, in which colours, before what, in which light.

(split, seed, index, number of animals) fixes a scene; its size in pixels decides nothing here. Whether
an animal fits is therefore decided on a raster of fixed size. The splits differ like this:

- train and test: the same texture families and palettes; regions from the left and from the right part
  of the same photos; other random numbers.
- shift: other hues, lightness and saturation for animals, plants and textures, other texture families,
  other photos (`palettes.HUES`, `backgrounds.TEXTURES`, `backgrounds.PHOTOS`).
"""

from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
from numpy.random import Generator

from mvit_lib.data.zoo.animals import ANIMALS
from mvit_lib.data.zoo.backgrounds import Background, any_background
from mvit_lib.data.zoo.layout import Stage, silhouette
from mvit_lib.data.zoo.palettes import any_palette
from mvit_lib.data.zoo.plants import PLANTS
from mvit_lib.data.zoo.shapes import between, chance
from mvit_lib.data.zoo.sprites import Sprite, make_sprite

CLASSES = tuple(ANIMALS)
SPLITS = {"train": "seen", "test": "seen", "shift": "unseen"}  # to the kind of their colours
MOST_ANIMALS = 6
SCALES = (0.15, 0.85)  # an animal's longer side, as a share of the scene's shorter side
STEEPEST = 30  # degrees


@dataclass(frozen=True)
class Light:
    """How the scene is lit and photographed, as shares of full brightness and of the shorter side."""

    slope: tuple[float, float]
    contrast: float
    brightness: float
    tint: tuple[float, float, float]
    blur: float
    noise: float
    grain: tuple[int, int]


@dataclass(frozen=True, eq=False)
class Scene:
    """All that a picture is made of; later animals stand before earlier ones, the foreground before all."""

    animals: tuple[Sprite, ...]
    foreground: tuple[Sprite, ...]
    background: Background
    light: Light

    @property
    def labels(self) -> tuple[int, ...]:
        """The animals' classes, 0…9."""
        return tuple(animal.label for animal in self.animals)


def any_scene(
    split: str, seed: int, index: int, animals: tuple[int, int], scales: tuple[float, float] = SCALES
) -> Scene:
    """Scene `index` of a split with animals[0] to animals[1] animals, as large as scales[0] to scales[1].

    The first animal's class goes through all ten within ten scenes, in an order drawn anew for each ten.
    """
    draw = np.random.default_rng((list(SPLITS).index(split), seed, index, *animals))
    kind = SPLITS[split]
    background = any_background(draw, split, kind)
    light = _any_light(draw)
    n = int(draw.integers(animals[0], animals[1] + 1))
    labels = [first_label(split, seed, index), *draw.integers(0, len(CLASSES), n - 1).tolist()]
    # Large ones first: the small ones then stand before them.
    sizes = sorted((_any_scale(draw, n, scales) for _ in range(n)), reverse=True)
    draw.shuffle(labels)
    stage = Stage()
    placed = [
        _place_animal(draw, stage, label, kind, size) for label, size in zip(labels, sizes, strict=True)
    ]
    return Scene(tuple(placed), _any_foreground(draw, stage, kind), background, light)


def first_label(split: str, seed: int, index: int) -> int:
    """The class that scene `index` holds for certain; the only one where it holds one animal."""
    return _ten_labels(list(SPLITS).index(split), seed, index // len(CLASSES))[index % len(CLASSES)]


@lru_cache(maxsize=64)
def _ten_labels(split: int, seed: int, block: int) -> tuple[int, ...]:
    return tuple(np.random.default_rng((split, seed, block)).permutation(len(CLASSES)).tolist())


def _any_scale(draw: Generator, n: int, scales: tuple[float, float]) -> float:
    """Alone, an animal is large more often, as in a photo of it; the more there are, the smaller."""
    low, high = scales
    return low + (high - low) * draw.random() ** (0.5 if n == 1 else 0.9 + 0.25 * n)


def _any_light(draw: Generator) -> Light:
    return Light(
        slope=(between(draw, -0.35, 0.35), between(draw, -0.35, 0.35)),
        contrast=between(draw, 0.75, 1.15),
        brightness=between(draw, -0.1, 0.1),
        tint=tuple(between(draw, 0.92, 1.08) for _ in range(3)),
        blur=between(draw, 0.002, 0.008) if chance(draw, 0.3) else 0.0,
        noise=between(draw, 0.005, 0.04) if chance(draw, 0.7) else 0.0,
        grain=tuple(draw.integers(0, 256, 2).tolist()),
    )


def _place_animal(draw: Generator, stage: Stage, label: int, kind: str, scale: float) -> Sprite:
    """An animal at a place where it fits; it shrinks a little after every third place where it did not."""
    parts = ANIMALS[CLASSES[label]](draw)
    sprite = make_sprite(draw, label, parts, any_palette(draw, kind), scale, STEEPEST)
    shape, attempts = silhouette(sprite), 0
    while (placed := stage.try_animal(draw, sprite, shape)) is None:
        attempts += 1
        if attempts % 3 == 0:
            sprite = replace(sprite, scale=max(SCALES[0], 0.85 * sprite.scale))
            shape = silhouette(sprite)
    return placed


def _any_foreground(draw: Generator, stage: Stage, kind: str) -> tuple[Sprite, ...]:
    """In a third of the scenes one to three plants or posts that grow from below; those that hide too
    much are left out."""
    if not chance(draw, 0.35):
        return ()
    palette = any_palette(draw, kind)
    grown = []
    for _ in range(draw.integers(1, 4)):
        parts = PLANTS[draw.integers(len(PLANTS))](draw)
        sprite = make_sprite(draw, None, parts, palette, between(draw, 0.2, 0.65), 10)
        sprite = replace(sprite, x=between(draw, 0, 1), y=1.02 - sprite.scale * between(draw, 0.1, 0.5))
        if stage.try_foreground(sprite):
            grown.append(sprite)
    return tuple(grown)
