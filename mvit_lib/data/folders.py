"""Datasets that are files in folders: what all of them share, and class folders.

Files come from strangers: what is wrong in them is an error that names the file, as early as it can
be seen; a picture of another kind (grey, CMYK, palette, 16-bit, turned by EXIF) is made RGB.
"""

import copy
import os
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from mvit_lib.data.download import sha256_of
from mvit_lib.data.image_files import EXTENSIONS, existing, is_image_name, read_annotated_image, read_image
from mvit_lib.data.items import Items
from mvit_lib.patches import Pair
from mvit_lib.transforms import Boxes, Sample, Transform

SPLITS = {"train", "val", "valid", "validation", "test"}
FAR = 1e9  # no coordinate of a real box lies beyond; NaN and infinity do


class FileItems(Items):
    """Base of the readers: `samples` lists (image file, what is known about it)."""

    samples: list[tuple[Path, Any]]

    def __len__(self) -> int:
        return len(self.samples)


Files = TypeVar("Files", bound=FileItems)


def split_by_hash(dataset: Files, test_share: float = 0.2) -> tuple[Files, Files]:
    """Split a dataset into (train, test), two datasets like it, by the content of its image files.

    A file belongs to the test part if the SHA-256 of its bytes, read as a fraction of 2²⁵⁶, lies below
    `test_share`. So the split depends on neither names nor order, files that are added later do not
    move the others, and copies of one file never lie on both sides.

    Raises: ValueError if test_share does not lie between 0 and 1, or if a part would be empty.
    """
    if not 0 < test_share < 1:
        raise ValueError(f"test_share={test_share} must lie between 0 and 1")
    parts = copy.copy(dataset), copy.copy(dataset)
    for part in parts:
        part.samples = []
    for sample in dataset.samples:
        in_test = int(sha256_of(sample[0]), 16) / 2**256 < test_share
        parts[in_test].samples.append(sample)
    for name, part in zip(("train", "test"), parts, strict=True):
        if not part.samples:
            raise ValueError(f"test_share={test_share} of {len(dataset)} files leaves the {name} part empty")
    return parts


class ImageFolder(FileItems):
    """Classification from root/class_name/**/image.jpg; labels 0 … K − 1 follow `classes`.

    `samples` lists (path, label), class after class, sorted by path. Hidden files and folders, and
    files without an image's extension (in either case), are skipped.

    size: int or (height, width), in pixels, of the items that an int index gives. transform: None
    is the whole picture, stretched; seed: of what a transform draws. classes: the folders to read, in
    the order of their labels; None reads all, sorted by name.

    Raises: FileNotFoundError for a root that does not exist or a link that leads nowhere; ValueError
    if there is no class folder, one is empty, `classes` names one that is not there, or the folders
    are splits (train, val, test) instead of classes.
    """

    task = "classify"

    def __init__(
        self,
        root: str | Path,
        *,
        size: Pair = 256,
        transform: Transform | None = None,
        seed: int = 0,
        classes: Sequence[str] | None = None,
    ) -> None:
        super().__init__(size, transform, seed)
        root = Path(root)
        self.classes = tuple(_class_folders(root) if classes is None else classes)
        for name in self.classes:
            if not (root / name).is_dir() or self.classes.count(name) > 1:
                raise ValueError(f"classes={self.classes}: {name!r} is no folder of {root}, or named twice")
        self.samples = [
            (path, label) for label, name in enumerate(self.classes) for path in _images_below(root / name)
        ]

    def load(self, index: int, size: tuple[int, int]) -> Sample:
        path, label = self.samples[index]
        return Sample(read_image(path), label=label)


def _class_folders(root: Path) -> list[str]:
    if not root.is_dir():
        raise FileNotFoundError(f"{root} is no folder")
    names = sorted(path.name for path in root.iterdir() if path.is_dir() and not path.name.startswith("."))
    if not names:
        raise ValueError(f"{root} holds no class folders: expected {root / 'class_name' / 'image.jpg'}")
    if SPLITS.issuperset(names):
        raise ValueError(f"{root} holds the splits {names}, not classes: read one of them, {root / names[0]}")
    return names


def _images_below(folder: Path) -> list[Path]:
    paths = sorted(_walk(folder), key=lambda path: path.relative_to(folder).as_posix())
    if not paths:
        raise ValueError(f"class folder {folder} holds no image: expected files {', '.join(EXTENSIONS)}")
    return paths


def _walk(folder: Path) -> Iterator[Path]:
    for parent, folders, files in os.walk(folder, followlinks=True):
        folders[:] = [name for name in folders if not name.startswith(".")]
        yield from (existing(Path(parent, name)) for name in files if is_image_name(name))


@dataclass(frozen=True)
class Annotation:
    """What `source` says of one image: an id, its (width, height) in pixels, and its boxes.

    num_lost: how many boxes were left out, because none of their area lies inside the image.
    """

    source: Path
    image_id: int
    size: tuple[int, int]
    boxes: Boxes
    num_lost: int


def annotate(
    source: Path, image_id: int, size: tuple[int, int], objects: Sequence[tuple[Sequence[float], int, bool]]
) -> Annotation:
    """The Annotation of objects (xyxy in pixels, label, crowd); boxes are cut at the image's border."""
    corners = np.array([xyxy for xyxy, _, _ in objects], dtype=np.float32).reshape(-1, 4)
    corners = corners.clip(0, np.array([*size, *size], dtype=np.float32))
    labels = np.array([label for _, label, _ in objects], dtype=np.int64)
    crowd = np.array([crowd for _, _, crowd in objects], dtype=bool)
    has_area = (corners[:, 2:] > corners[:, :2]).all(1)
    boxes = Boxes(corners, labels, crowd).keep(has_area)
    return Annotation(source, image_id, size, boxes, int((~has_area).sum()))


class AnnotatedItems(FileItems):
    """Base of the detection readers: `samples` lists (image file, Annotation)."""

    task = "detect"
    samples: list[tuple[Path, Annotation]]

    def load(self, index: int, size: tuple[int, int]) -> Sample:
        path, annotation = self.samples[index]
        image = read_annotated_image(path, annotation.size, annotation.source)
        return Sample(image, boxes=annotation.boxes)

    def image_id(self, index: int) -> int:
        return self.samples[index][1].image_id

    def _warn_of_lost_boxes(self) -> None:
        lost = [(path, annotation.num_lost) for path, annotation in self.samples if annotation.num_lost]
        if lost:
            warnings.warn(
                f"{sum(count for _, count in lost)} boxes without area inside their image are left out, "
                f"the first of {lost[0][0]}",
                stacklevel=3,
            )
