"""Pictures as files store them -> tensors as the networks take them."""

from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor


def to_rgb(image: Image.Image) -> Image.Image:
    """Turn any PIL image (grey, palette, CMYK, transparent, rotated by EXIF) into upright RGB.

    Raises: TypeError if it is not a PIL image.
    """
    if not isinstance(image, Image.Image):
        raise TypeError(
            f"expected a PIL image, got {type(image).__name__}: use PIL.Image.open(path) "
            "or PIL.Image.fromarray(array)"
        )
    return ImageOps.exif_transpose(image).convert("RGB")


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
        width, height = (side * self.resize // shorter for side in image.size)
        image = image.resize((width, height), Image.Resampling.BILINEAR)
        left, top = (width - self.crop) // 2, (height - self.crop) // 2
        return image.crop((left, top, left + self.crop, top + self.crop))
