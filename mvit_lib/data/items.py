"""What every dataset here does: an index or a Key in, an image and its target as tensors out."""

import random
from abc import abstractmethod
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from mvit_lib.data.sampler import Key
from mvit_lib.patches import Pair, as_pair
from mvit_lib.transforms import Boxes, Resize, Sample, Transform

Target = int | Tensor | dict[str, Any]


class Items(Dataset):
    """Base of the datasets: subclasses say how many samples there are and load one of them.

    `dataset[Key]` makes an item of the key's size, `dataset[int]` one of `size`, both with `transform`
    (None: the whole picture, stretched). All that is random comes from (seed, epoch, index), so that
    an item never depends on a worker or on what was loaded before it. Items are, by task:

    - "classify": (image, int)
    - "detect": (image, {"boxes": float32 [M, 4] xyxy in pixels of the image, "labels": int64 [M] from 1,
      "crowd": bool [M], "image_id": int, "original_size": (height, width)})
    - "segment": (image, int64 [H, W] with 0 for background and 255 for ignore)

    where the image is float32 [3, H, W] in [0, 1].
    """

    task: str
    classes: tuple[str, ...]

    def __init__(self, size: Pair, transform: Transform | None, seed: int) -> None:
        self.size, self.transform, self.seed = as_pair(size, "size"), transform, seed

    @abstractmethod
    def __len__(self) -> int:
        """The number of samples."""

    @abstractmethod
    def load(self, index: int, size: tuple[int, int]) -> Sample:
        """Sample `index`; `size` = (height, width) is what will be made of it, for those who can draw it."""

    def image_id(self, index: int) -> int:
        """What the dataset's own files call this image."""
        return index

    def __getitem__(self, key: Key | int) -> tuple[Tensor, Target]:
        key = key if isinstance(key, Key) else Key(int(key), *self.size, 0)
        if not -len(self) <= key.index < len(self):
            raise IndexError(f"index {key.index} of a dataset of {len(self)}")
        index, size = key.index % len(self), (key.height, key.width)
        sample = self.load(index, size)
        original_size = (sample.image.height, sample.image.width)
        draw = random.Random(f"{self.seed} {key.epoch} {index}")
        sample = (self.transform or Resize())(sample, size, draw)
        return pixels(sample), self._target(sample, index, original_size)

    def _target(self, sample: Sample, index: int, original_size: tuple[int, int]) -> Target:
        if self.task == "classify":
            return sample.label
        if self.task == "segment":
            return torch.from_numpy(np.array(sample.mask, dtype=np.int64))  # [H, W]
        boxes: Boxes = sample.boxes
        return {
            "boxes": torch.from_numpy(boxes.xyxy.copy()),  # [M, 4]
            "labels": torch.from_numpy(boxes.labels.copy()),  # [M]
            "crowd": torch.from_numpy(boxes.crowd.copy()),  # [M]
            "image_id": self.image_id(index),
            "original_size": original_size,
        }


def pixels(sample: Sample) -> Tensor:
    """The sample's RGB image -> float32 [3, H, W] in [0, 1], channels last in memory."""
    array = torch.from_numpy(np.array(sample.image))  # [H, W, 3] uint8
    return array.float().div_(255).permute(2, 0, 1)  # [3, H, W]


def _stack(tensors: Sequence[Tensor]) -> Tensor:
    """Images [3, H, W] -> [B, 3, H, W], channels last in memory."""
    return torch.stack([image.permute(1, 2, 0) for image in tensors]).permute(0, 3, 1, 2)


def _classify(items: Sequence[tuple[Tensor, int]]) -> tuple[Tensor, Tensor]:
    return _stack([image for image, _ in items]), torch.tensor([label for _, label in items])


def _detect(items: Sequence[tuple[Tensor, dict[str, Any]]]) -> tuple[Tensor, list[dict[str, Any]]]:
    return _stack([image for image, _ in items]), [target for _, target in items]


def _segment(items: Sequence[tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor | list[Tensor]]:
    masks = [mask for _, mask in items]
    same = len({mask.shape for mask in masks}) == 1
    return _stack([image for image, _ in items]), torch.stack(masks) if same else masks


COLLATES = {"classify": _classify, "detect": _detect, "segment": _segment}


def collate(task: str) -> Callable[[Sequence[tuple[Tensor, Any]]], tuple[Tensor, Any]]:
    """The function that makes a batch of a task's items, for DataLoader(collate_fn=…).

    Images become [B, 3, H, W]; classes int64 [B]; masks int64 [B, H, W], or a list of them where their
    sizes differ; boxes stay a list of B dicts.
    Raises: ValueError if the task is not "classify", "detect" or "segment".
    """
    if task not in COLLATES:
        raise ValueError(f"task={task!r}: expected one of {sorted(COLLATES)}")
    return COLLATES[task]
