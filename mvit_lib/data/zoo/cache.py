"""Scenes drawn once and kept as memory-mapped arrays, so that training reads instead of drawing."""

import multiprocessing
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.lib.format import open_memmap
from PIL import Image
from tqdm.auto import tqdm

from mvit_lib.data.zoo.render import Picture, render
from mvit_lib.data.zoo.scenes import MOST_ANIMALS, SCALES, any_scene

# Part of every cache's name: to be raised whenever any pixel of any scene changes.
VERSION = 3
CHUNK = 32
ABANDONED_AFTER = 24 * 3600  # seconds; no draw takes that long
ARRAYS = ("images", "masks", "boxes")


@dataclass(frozen=True)
class Series:
    """The first `length` scenes of a split, at one size (height, width) in pixels."""

    split: str
    seed: int
    animals: tuple[int, int]
    length: int
    size: tuple[int, int]
    scales: tuple[float, float] = SCALES

    @property
    def name(self) -> str:
        """What distinguishes this series from all others, as the name of a folder."""
        (least, most), (height, width), (low, high) = self.animals, self.size, self.scales
        scenes = f"v{VERSION}-{self.split}-seed{self.seed}-{least}to{most}animals-{low:g}to{high:g}"
        return f"{scenes}-{self.length}x{height}x{width}"

    def draw(self, index: int) -> Picture:
        """One of its scenes in pixels."""
        return render(any_scene(self.split, self.seed, index, self.animals, self.scales), *self.size)

    def draw_chunk(self, start: int) -> tuple[np.ndarray, ...]:
        """Up to CHUNK scenes from `start` on, as rows of images, masks and boxes."""
        pictures = [self.draw(index) for index in range(start, min(start + CHUNK, self.length))]
        boxes = np.zeros((len(pictures), MOST_ANIMALS, 5), dtype=np.int16)  # x0, y0, x1, y1, label
        for row, picture in zip(boxes, pictures, strict=True):
            row[: len(picture.boxes), :4] = picture.boxes
            row[: len(picture.boxes), 4] = picture.labels
        images = np.stack([np.asarray(picture.image) for picture in pictures])  # [n, H, W, 3]
        return images, np.stack([picture.mask for picture in pictures]), boxes


class SceneCache:
    """The series' pictures in `folder`, drawn when they are not there yet.

    The arrays are opened by each process when it first reads, and are never pickled.
    """

    def __init__(self, folder: Path, series: Series) -> None:
        self.folder = folder / series.name
        self._arrays: tuple[np.ndarray, ...] | None = None
        if not self.folder.exists():
            _draw_into(self.folder, series)

    def __getstate__(self) -> dict:
        return {"folder": self.folder, "_arrays": None}

    def read(self, index: int) -> Picture:
        """What `Series.draw` drew."""
        if self._arrays is None:
            maps = (np.load(self.folder / f"{name}.npy", mmap_mode="r") for name in ARRAYS)
            self._arrays = tuple(map(np.asarray, maps))  # indexing a plain array costs half
        image, mask, rows = (array[index] for array in self._arrays)
        boxes = rows[rows[:, 4] > 0]
        return Picture(
            Image.fromarray(image), mask, boxes[:, :4].astype(np.float32), boxes[:, 4].astype(np.int64)
        )


def _draw_into(folder: Path, series: Series) -> None:
    """Draw beside `folder` and rename when whole: a killed draw leaves nothing that looks finished."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    for abandoned in folder.parent.glob("unfinished-*"):
        if time.time() - abandoned.stat().st_mtime > ABANDONED_AFTER:
            shutil.rmtree(abandoned, ignore_errors=True)
    unfinished = Path(tempfile.mkdtemp(prefix="unfinished-", dir=folder.parent))
    try:
        shapes = {
            "images": ((series.length, *series.size, 3), np.uint8),
            "masks": ((series.length, *series.size), np.uint8),
            "boxes": ((series.length, MOST_ANIMALS, 5), np.int16),
        }
        arrays = [
            open_memmap(unfinished / f"{name}.npy", "w+", dtype=kind, shape=shape)
            for name, (shape, kind) in shapes.items()
        ]
        for start, chunk in _draw_chunks(series):
            for array, rows in zip(arrays, chunk, strict=True):
                array[start : start + len(rows)] = rows
        for array in arrays:
            array.flush()
        _publish(unfinished, folder)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def _publish(unfinished: Path, folder: Path) -> None:
    """Give the finished folder its name; if another process was faster, its equal work stays."""
    try:
        os.rename(unfinished, folder)
    except OSError:
        if not folder.exists():
            raise


def _draw_chunks(series: Series) -> Iterator[tuple[int, tuple[np.ndarray, ...]]]:
    """(start, rows) of every chunk, drawn by all processors where processes can be forked."""
    starts = range(0, series.length, CHUNK)
    workers = min(os.cpu_count() or 1, len(starts))
    # disable=None: a bar in terminals only, since logs and checked notebooks want none.
    bar = {"total": len(starts) * CHUNK, "desc": "drawing scenes", "unit": " scenes", "disable": None}
    with ExitStack() as stack:
        progress = stack.enter_context(tqdm(**bar))
        draw = map
        if workers > 1 and "fork" in multiprocessing.get_all_start_methods():
            context = multiprocessing.get_context("fork")
            draw = stack.enter_context(ProcessPoolExecutor(workers, context)).map
        for start, rows in zip(starts, draw(series.draw_chunk, starts), strict=True):
            yield start, rows
            progress.update(CHUNK)
