"""Pictures as files store them -> tensors as the networks take them."""

from dataclasses import dataclass

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
