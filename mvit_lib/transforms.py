"""Pictures as files store them -> tensors as the networks take them; image, boxes and mask move together.

Pixels are RGB in [0, 1], no mean or standard deviation is taken off. Weights that were trained on BGR are
turned in their first convolution when they are loaded (mvit_lib.layouts), so no picture ever has to be.
"""

import math
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
    if image.mode == "P" and "transparency" in image.info:
        image = image.convert("RGBA")  # straight to RGB, Pillow warns of the transparency that is lost
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
    """A picture and what is known of it: a class, boxes, or a mask (mode "L", 0 background, 255 ignore)."""

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


@dataclass(frozen=True)
class ResizeImage:
    """The picture stretched to the size (bilinear), its mask as it is: an evaluation at the mask's size."""

    def __call__(self, sample: Sample, size: tuple[int, int], draw: random.Random) -> Sample:
        return replace(Resize()(replace(sample, mask=None), size, draw), mask=sample.mask)


def crop_and_resize(sample: Sample, crop: tuple[float, float, float, float], size: tuple[int, int]) -> Sample:
    """Cut out crop = (x0, y0, x1, y1) in pixels and stretch it to size = (height, width).

    Boxes are cut at the border; those of which nothing is left go.
    """
    height, width = size
    image, mask = sample.image, sample.mask
    if (width, height) != image.size or crop != (0, 0, *image.size):
        image = image.resize((width, height), Image.Resampling.BILINEAR, box=crop)
        if mask is not None:
            mask = mask.resize((width, height), Image.Resampling.NEAREST, box=crop)
    return replace(sample, image=image, boxes=_crop_boxes(sample.boxes, crop, size), mask=mask)


def cut_out(sample: Sample, crop: tuple[int, int, int, int]) -> Sample:
    """Cut out crop = (x0, y0, x1, y1) in whole pixels, which stay as they are; boxes as above."""
    x0, y0, x1, y1 = crop
    boxes = _crop_boxes(sample.boxes, crop, (y1 - y0, x1 - x0))
    mask = None if sample.mask is None else sample.mask.crop(crop)
    return replace(sample, image=sample.image.crop(crop), boxes=boxes, mask=mask)


def _crop_boxes(
    boxes: Boxes | None, crop: tuple[float, float, float, float], size: tuple[int, int]
) -> Boxes | None:
    if boxes is None:
        return None
    x0, y0, x1, y1 = crop
    border = np.array([size[1], size[0]] * 2, dtype=np.float32)
    scale = border / np.array([x1 - x0, y1 - y0] * 2, dtype=np.float32)
    corners = (boxes.xyxy - np.array([x0, y0, x0, y0], dtype=np.float32)) * scale  # [M, 4]
    corners = corners.clip(0, border)
    return replace(boxes, xyxy=corners).keep((corners[:, 2:] > corners[:, :2]).all(1))


@dataclass(frozen=True)
class RandomResizedCrop:
    """A crop of random area and aspect ratio at a random place, stretched to the size.

    scale: least and greatest share of the picture's area, drawn uniformly. ratio: least and greatest
    width / height, drawn uniformly in its logarithm. A crop that does not fit into the picture is drawn
    again; after ten it is the largest central one whose ratio lies within the bounds.

    Raises: ValueError if the bounds of scale do not lie in (0, 1], or those of ratio are not positive,
    or a lower bound is above its upper one.
    Source: Szegedy et al. 2015, as everyone trains on ImageNet since.
    """

    scale: tuple[float, float] = (0.08, 1.0)
    ratio: tuple[float, float] = (3 / 4, 4 / 3)

    def __post_init__(self) -> None:
        _check_range("scale", self.scale, most=1)
        _check_range("ratio", self.ratio)

    def __call__(self, sample: Sample, size: tuple[int, int], draw: random.Random) -> Sample:
        return crop_and_resize(sample, self.draw_crop(sample.image.size, draw), size)

    def draw_crop(self, image_size: tuple[int, int], draw: random.Random) -> tuple[int, int, int, int]:
        """A crop (x0, y0, x1, y1) of an image of (width, height), in pixels."""
        image_width, image_height = image_size
        least, most = (math.log(r) for r in self.ratio)
        for _ in range(10):
            area = draw.uniform(*self.scale) * image_width * image_height
            ratio = math.exp(draw.uniform(least, most))
            width, height = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
            if 1 <= width <= image_width and 1 <= height <= image_height:
                left = draw.randint(0, image_width - width)
                top = draw.randint(0, image_height - height)
                return left, top, left + width, top + height
        width = max(1, min(image_width, round(image_height * self.ratio[1])))
        height = max(1, min(image_height, round(image_width / self.ratio[0])))
        return _central(image_size, (height, width))


def _check_range(name: str, bounds: tuple[float, float], most: float = math.inf) -> None:
    if not 0 < bounds[0] <= bounds[1] <= most:
        raise ValueError(f"{name}={bounds}: expected 0 < lower ≤ upper ≤ {most:g}")


@dataclass(frozen=True)
class RandomFlip:
    """Left and right exchanged with probability p; the size of the picture stays.

    Raises: ValueError if p does not lie in [0, 1].
    """

    p: float = 0.5

    def __post_init__(self) -> None:
        if not 0 <= self.p <= 1:
            raise ValueError(f"p={self.p}: a probability lies in 0 … 1")

    def __call__(self, sample: Sample, size: tuple[int, int], draw: random.Random) -> Sample:
        return flip(sample) if draw.random() < self.p else sample


def flip(sample: Sample) -> Sample:
    """The sample as seen in a mirror: left and right exchanged."""
    image, boxes, mask = sample.image, sample.boxes, sample.mask
    if boxes is not None:
        x0, y0, x1, y1 = boxes.xyxy.T
        corners = np.stack([image.width - x1, y0, image.width - x0, y1], axis=1)  # [M, 4]
        boxes = replace(boxes, xyxy=corners)
    if mask is not None:
        mask = mask.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    return replace(sample, image=image, boxes=boxes, mask=mask)


@dataclass(frozen=True)
class RandomScaleCrop:
    """A crop at a random place of the picture at a random scale, its aspect ratio kept.

    scale: bounds of the picture's shorter side after scaling, as multiples of the size's shorter side. A
    picture that would be smaller than the size is scaled up until it covers it.

    Raises: ValueError if the bounds of scale are not positive or the lower one is above the upper one.
    Source: the official segmentation recipe: shorter side 256 … 1024 for crops of 512.
    """

    scale: tuple[float, float] = (0.5, 2.0)

    def __post_init__(self) -> None:
        _check_range("scale", self.scale)

    def __call__(self, sample: Sample, size: tuple[int, int], draw: random.Random) -> Sample:
        height, width = size
        image_width, image_height = sample.image.size
        scale = draw.uniform(*self.scale) * min(size) / min(sample.image.size)
        scale = max(scale, height / image_height, width / image_width)
        crop_width, crop_height = min(image_width, width / scale), min(image_height, height / scale)
        right = draw.uniform(crop_width, image_width)
        lower = draw.uniform(crop_height, image_height)
        return crop_and_resize(sample, (right - crop_width, lower - crop_height, right, lower), size)


@dataclass(frozen=True)
class Pad:
    """The whole picture as large as fits with its aspect ratio kept; what is left right and below is filled.

    fill: RGB in 0 … 255, by default ImageNet's mean; the mask is filled with 255 (ignore).
    """

    fill: tuple[int, int, int] = (124, 116, 104)

    def __call__(self, sample: Sample, size: tuple[int, int], draw: random.Random) -> Sample:
        height, width = size
        whole = (0, 0, *sample.image.size)
        scale = min(height / sample.image.height, width / sample.image.width)
        fitting = (max(1, round(sample.image.height * scale)), max(1, round(sample.image.width * scale)))
        sample = crop_and_resize(sample, whole, fitting)
        image, mask = Image.new("RGB", (width, height), self.fill), sample.mask
        image.paste(sample.image)
        if mask is not None:
            mask = Image.new("L", (width, height), 255)
            mask.paste(sample.mask)
        return replace(sample, image=image, mask=mask)


@dataclass(frozen=True)
class SSDCrop:
    """A random crop that shows enough of at least one object; it keeps its own size, so Resize comes next.

    Draws a least IoU between crop and object from min_ious. None leaves the picture whole; otherwise the
    first of `trials` random crops (sides 0.3 … 1 of the picture's, width / height 0.5 … 2) is taken which
    has that IoU with some object and the centre of some object inside. If none does, another least IoU is
    drawn. Objects whose centre lies in the crop stay, cut at its border; crowds do not count as objects
    here, but stay or go like them. A picture without objects stays whole.

    Raises: ValueError if None is not among min_ious (nothing else is sure to end).
    Source: Liu et al. 2016 (SSD), Section 2.2, with the official MobileViT recipe's numbers.
    """

    min_ious: tuple[float | None, ...] = (None, 0.1, 0.3, 0.5, 0.7, 0.9, 1.0)
    trials: int = 40

    def __post_init__(self) -> None:
        if None not in self.min_ious:
            raise ValueError(f"min_ious={self.min_ious}: expected None among them, which keeps the whole")

    def __call__(self, sample: Sample, size: tuple[int, int], draw: random.Random) -> Sample:
        boxes = sample.boxes
        if boxes is None or boxes.crowd.all():
            return sample
        objects = boxes.xyxy[~boxes.crowd]
        while (min_iou := draw.choice(self.min_ious)) is not None:
            crops = self._draw_crops(sample.image.size, draw)  # [T, 4]
            fits = (_iou(crops, objects) >= min_iou).any(1) & _hold_centre(crops, objects).any(1)  # [T]
            if fits.any():
                crop = crops[fits.argmax()]
                kept = boxes.keep(_hold_centre(crop[None], boxes.xyxy)[0])
                return cut_out(replace(sample, boxes=kept), tuple(crop.tolist()))
        return sample

    def _draw_crops(self, image_size: tuple[int, int], draw: random.Random) -> np.ndarray:
        """The trials whose aspect ratio is allowed: int64 [T, 4], xyxy in pixels."""
        crops = []
        for _ in range(self.trials):
            width, height = (max(1, round(draw.uniform(0.3, 1) * side)) for side in image_size)
            left, top = draw.randint(0, image_size[0] - width), draw.randint(0, image_size[1] - height)
            if 0.5 <= width / height <= 2:
                crops.append((left, top, left + width, top + height))
        return np.array(crops, dtype=np.int64).reshape(-1, 4)


def _iou(crops: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """Intersection over union of every crop [T, 4] with every box [M, 4]: [T, M]."""
    a, b = crops[:, None], boxes[None]  # [T, 1, 4], [1, M, 4]
    shared = np.minimum(a[..., 2:], b[..., 2:]) - np.maximum(a[..., :2], b[..., :2])  # [T, M, 2]
    overlap = shared.clip(0).prod(-1)  # [T, M]
    return overlap / ((a[..., 2:] - a[..., :2]).prod(-1) + (b[..., 2:] - b[..., :2]).prod(-1) - overlap)


def _hold_centre(crops: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """Whether every crop [T, 4] has the centre of every box [M, 4] inside: bool [T, M]."""
    centres = (boxes[:, :2] + boxes[:, 2:]) / 2  # [M, 2]
    return ((crops[:, None, :2] < centres) & (centres < crops[:, None, 2:])).all(-1)


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
        sample = Sample(to_rgb(image))
        return _cover_and_crop(sample, (self.resize, self.resize), (self.crop, self.crop)).image


@dataclass(frozen=True)
class CenterCrop:
    """EvalTransform for samples: the picture made a little larger than the size, then its middle cut out.

    share: how much of the side that decides stays, in (0, 1]; the aspect ratio is kept.

    Raises: ValueError if share does not lie in (0, 1].
    Source: 256 / 288 is what the official evaluation does.
    """

    share: float = 256 / 288

    def __post_init__(self) -> None:
        if not 0 < self.share <= 1:
            raise ValueError(f"share={self.share}: expected 0 < share ≤ 1")

    def __call__(self, sample: Sample, size: tuple[int, int], draw: random.Random) -> Sample:
        return _cover_and_crop(sample, (round(size[0] / self.share), round(size[1] / self.share)), size)


def _cover_and_crop(sample: Sample, cover: tuple[int, int], size: tuple[int, int]) -> Sample:
    """Stretch both sides alike until the picture just covers `cover`, then cut out the central `size`."""
    image = sample.image
    height_decides = cover[0] / image.height > cover[1] / image.width
    target, side = (cover[0], image.height) if height_decides else (cover[1], image.width)
    # What lies far from the middle is cut off anyway; a very long image would fill the memory.
    longest = 8 * max(cover) * side // target
    height, width = min(image.height, longest), min(image.width, longest)
    middle = _central(image.size, (height, width))
    sample = crop_and_resize(sample, middle, (height * target // side, width * target // side))
    return cut_out(sample, _central(sample.image.size, size))


def _central(image_size: tuple[int, int], size: tuple[int, int]) -> tuple[int, int, int, int]:
    """The crop of (height, width) in the middle of an image of (width, height)."""
    height, width = size
    left, top = (image_size[0] - width) // 2, (image_size[1] - height) // 2
    return left, top, left + width, top + height
