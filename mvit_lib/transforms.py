"""Pictures as files store them -> tensors as the networks take them; image, boxes and mask move together."""

import random
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Self

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor


def to_rgb(image: Image.Image) -> Image.Image:
    """Turn a PIL image (grey, palette, CMYK, transparent, 16-bit, rotated by EXIF) into upright RGB.

    Raises: TypeError if it is not a PIL image; ValueError if it is empty, or its numbers are 32-bit or
    floats, whose range nobody knows.
    """
    if not isinstance(image, Image.Image):
        raise TypeError(
            f"expected a PIL image, got {type(image).__name__}: use PIL.Image.open(path) "
            "or PIL.Image.fromarray(array)"
        )
    if min(image.size) == 0:
        raise ValueError(f"expected an image with pixels, got one of {image.width} × {image.height}")
    if image.mode in ("I", "F"):
        raise ValueError(f"images of mode {image.mode!r} have no fixed range: convert to 8 bits first")
    image = ImageOps.exif_transpose(image)
    if image.mode.startswith("I;16"):
        image = Image.fromarray((np.asarray(image) // 257).astype(np.uint8))
    return image.convert("RGB")


def image_to_tensor(image: Image.Image) -> Tensor:
    """RGB image -> float32 [3, H, W] in [0, 1]; no mean or standard deviation is taken off."""
    pixels = torch.from_numpy(np.array(to_rgb(image)))  # [H, W, 3] uint8
    return pixels.permute(2, 0, 1).contiguous().float() / 255  # [3, H, W]


@dataclass(frozen=True)
class Boxes:
    """The objects of a picture: xyxy float32 [M, 4] in pixels, labels int64 [M] from 1, crowd bool [M].

    x0, y0 is the left upper corner of the first pixel, x1, y1 the right lower corner of the last.
    """

    xyxy: np.ndarray
    labels: np.ndarray
    crowd: np.ndarray

    def keep(self, which: np.ndarray) -> Self:
        """Only the objects for which the bool array [M] says so."""
        return type(self)(self.xyxy[which], self.labels[which], self.crowd[which])


@dataclass(frozen=True)
class Sample:
    """A picture and what is known about it: a class, boxes, or a mask (mode "L", 0 background, 255 ignore)."""

    image: Image.Image
    label: int | None = None
    boxes: Boxes | None = None
    mask: Image.Image | None = None


# A transform makes a sample of (height, width) pixels; all that is random comes from the generator.
Transform = Callable[[Sample, tuple[int, int], random.Random], Sample]


@dataclass(frozen=True)
class Compose:
    """One transform after another."""

    steps: tuple[Transform, ...]

    def __call__(self, sample: Sample, size: tuple[int, int], draw: random.Random) -> Sample:
        for step in self.steps:
            sample = step(sample, size, draw)
        return sample


@dataclass(frozen=True)
class Resize:
    """The whole picture, stretched to the size: image bilinear, mask nearest, boxes along with it."""

    def __call__(self, sample: Sample, size: tuple[int, int], draw: random.Random) -> Sample:
        return crop_and_resize(sample, (0, 0, *sample.image.size), size)


def crop_and_resize(sample: Sample, crop: tuple[float, float, float, float], size: tuple[int, int]) -> Sample:
    """Cut out crop = (x0, y0, x1, y1) in pixels and stretch it to size = (height, width).

    Boxes are cut at the border; those of which nothing is left go.
    """
    height, width = size
    x0, y0, x1, y1 = crop
    image, boxes, mask = sample.image, sample.boxes, sample.mask
    if (width, height) != image.size or crop != (0, 0, *image.size):
        image = image.resize((width, height), Image.Resampling.BILINEAR, box=crop)
        if mask is not None:
            mask = mask.resize((width, height), Image.Resampling.NEAREST, box=crop)
    if boxes is not None:
        scale = np.array([width / (x1 - x0), height / (y1 - y0)] * 2, dtype=np.float32)
        corners = (boxes.xyxy - np.array([x0, y0, x0, y0], dtype=np.float32)) * scale
        corners = corners.clip(0, np.array([width, height, width, height], dtype=np.float32))
        boxes = replace(boxes, xyxy=corners).keep((corners[:, 2:] > corners[:, :2]).all(1))
    return replace(sample, image=image, boxes=boxes, mask=mask)


@dataclass(frozen=True)
class EvalTransform:
    """Evaluation's crop: shorter side to `resize` pixels (bilinear), then the central `crop` square.

    Call it with a PIL image to get float32 [3, crop, crop] in [0, 1].
    Raises: ValueError if crop is larger than resize.
    Source: 288 -> 256 is what the official evaluation does.
    """

    resize: int = 288
    crop: int = 256

    def __post_init__(self) -> None:
        if not 1 <= self.crop <= self.resize:
            raise ValueError(f"crop {self.crop} must lie between 1 and resize {self.resize}")

    def __call__(self, image: Image.Image) -> Tensor:
        return image_to_tensor(self.crop_image(image))  # [3, crop, crop]

    def crop_image(self, image: Image.Image) -> Image.Image:
        """The same crop as an RGB picture, to draw on."""
        image = to_rgb(image)
        shorter = min(image.size)
        # What lies far from the middle is cut off anyway; a very long image would fill the memory.
        image = _central(image, *(min(side, 8 * shorter) for side in image.size))
        width, height = (side * self.resize // shorter for side in image.size)
        image = image.resize((width, height), Image.Resampling.BILINEAR)
        return _central(image, self.crop, self.crop)


def _central(image: Image.Image, width: int, height: int) -> Image.Image:
    left, top = (image.width - width) // 2, (image.height - height) // 2
    return image.crop((left, top, left + width, top + height))
