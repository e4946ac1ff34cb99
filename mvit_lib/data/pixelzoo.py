"""PixelZoo: ten animals drawn by our own code, for classification, detection and segmentation offline."""

import os
from pathlib import Path

import numpy as np
from PIL import Image

from mvit_lib.data.items import COLLATES, Items
from mvit_lib.data.zoo.cache import SceneCache, Series
from mvit_lib.data.zoo.render import render
from mvit_lib.data.zoo.scenes import CLASSES, MOST_ANIMALS, SCALES, SPLITS, Scene, any_scene
from mvit_lib.patches import Pair, as_pair
from mvit_lib.transforms import Boxes, Sample, Transform

LENGTHS = {"train": 10_000, "test": 1_000, "shift": 1_000}
SMALLEST_SIZE = 32


class PixelZoo(Items):
    """Scenes with bird, butterfly, cat, elephant, fish, giraffe, octopus, rabbit, snail and turtle.

    (split, seed, index, animals) fixes a scene, `size` only how many pixels it is drawn with; image,
    class, boxes and mask agree to the pixel. "test" has other scenes than "train", before other
    regions of the same photos; "shift" has hues, textures and photos that "train" never shows.

    task: "classify" (0…9), "detect" or "segment" (1…10, 0 background). length: number of scenes (default
    10,000 for train, 1,000 for the others). size: pixels of an item asked for by an int, and of the
    pictures that `transform` gets; an int or (height, width), each at least 32. animals: the least and
    the most per scene, default (1, 1) to classify and (1, 6) otherwise. scales: the least and the most of
    the picture's shorter side that an animal's longer side takes, within (0.15, 0.85). cache: None to draw
    each time; a folder, or True for `default_cache()`, to draw all scenes at `size` once and read them
    from then on (without `transform`, items of other sizes are drawn all the same).

    Raises: ValueError or TypeError, naming the argument that is wrong; ModuleNotFoundError without
    scikit-image, whose photos are the backgrounds.
    """

    classes = CLASSES

    def __init__(
        self,
        split: str = "train",
        *,
        task: str = "classify",
        length: int | None = None,
        size: Pair = 128,
        animals: tuple[int, int] | None = None,
        scales: tuple[float, float] = SCALES,
        transform: Transform | None = None,
        seed: int = 0,
        cache: str | Path | bool | None = None,
    ) -> None:
        if split not in SPLITS:
            raise ValueError(f"split={split!r}: expected one of {list(SPLITS)}")
        if task not in COLLATES:
            raise ValueError(f"task={task!r}: expected one of {sorted(COLLATES)}")
        super().__init__(as_pair(size, "size", SMALLEST_SIZE), transform, seed)
        self.split, self.task = split, task
        self.length = LENGTHS[split] if length is None else length
        if self.length < 1:
            raise ValueError(f"length={length}: expected at least 1")
        if seed < 0:
            raise ValueError(f"seed={seed}: expected 0 or more")
        self.animals = _number_of_animals(animals, task)
        low, high = self.scales = scales
        if not SCALES[0] <= low <= high <= SCALES[1]:
            raise ValueError(f"scales={scales}: expected (least, most) within {SCALES}")
        self._series = Series(split, seed, self.animals, self.length, self.size, self.scales)
        self._cache = None
        if cache:
            self._cache = SceneCache(default_cache() if cache is True else Path(cache), self._series)

    def __len__(self) -> int:
        return self.length

    def scene(self, index: int) -> Scene:
        """The parameters of scene `index`: its animals with classes, places and colours, its light."""
        if not 0 <= index < self.length:
            raise IndexError(f"index {index} of a dataset of {self.length}")
        return any_scene(self.split, self.seed, index, self.animals, self.scales)

    def load(self, index: int, size: tuple[int, int]) -> Sample:
        """Scene `index` as the task needs it: at the dataset's own size for `transform`, else at `size`."""
        if self.transform is not None:
            size = self.size
        source = self._cache if self._cache is not None and size == self.size else None
        picture = source.read(index) if source else render(self.scene(index), *size)
        if self.task == "classify":
            return Sample(picture.image, label=int(picture.labels[0]) - 1)
        if self.task == "segment":
            return Sample(picture.image, mask=Image.fromarray(picture.mask))
        crowd = np.zeros(len(picture.labels), dtype=bool)
        return Sample(picture.image, boxes=Boxes(picture.boxes, picture.labels, crowd))


def default_cache() -> Path:
    """Where drawn scenes are kept: $MVIT_DATA/pixelzoo, or ~/.cache/mvit/pixelzoo without it."""
    home = os.environ.get("MVIT_DATA")
    return (Path(home) if home else Path.home() / ".cache" / "mvit") / "pixelzoo"


def _number_of_animals(animals: tuple[int, int] | None, task: str) -> tuple[int, int]:
    if animals is None:
        return (1, 1) if task == "classify" else (1, MOST_ANIMALS)
    least, most = as_pair(animals, "animals")
    if not least <= most <= MOST_ANIMALS:
        raise ValueError(f"animals={animals}: expected (least, most) with 1 ≤ least ≤ most ≤ {MOST_ANIMALS}")
    if task == "classify" and most > 1:
        raise ValueError(f"animals={animals}: a scene to classify holds one animal, (1, 1)")
    return least, most
