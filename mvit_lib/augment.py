"""Other pixels, same objects: photometric distortion, and the advanced augmentation of whole batches.

The paper calls random crops and flips "basic", and these with RandAugment, MixUp and CutMix "advanced"
(Figure 7).
"""

import math
import random
from collections.abc import Callable
from dataclasses import dataclass, replace

from PIL import Image, ImageEnhance, ImageOps
from torch import Tensor

from mvit_lib.transforms import Sample


@dataclass(frozen=True)
class PhotometricDistortion:
    """Other light: contrast, brightness, saturation, hue and order of the channels, each with probability p.

    contrast, saturation: levels are multiplied by 1 ± up to this. brightness: up to ± this is added, where
    255 is 1. hue: turned by up to ± this, where the circle is 1. Only the image changes; its time goes with
    the number of pixels, so after Resize it costs least.

    Raises: ValueError if one of them does not lie in [0, 1].
    Source: Liu et al. 2016 (SSD), Section 3.6, with the numbers of the official detection recipe.
    """

    contrast: float = 0.5
    brightness: float = 0.2
    saturation: float = 0.5
    hue: float = 0.05
    p: float = 0.5

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if not 0 <= value <= 1:
                raise ValueError(f"{name}={value}: expected a number in 0 … 1")

    def __call__(self, sample: Sample, size: tuple[int, int], draw: random.Random) -> Sample:
        contrast, brightness = 1 + self._change(self.contrast, draw), self._change(self.brightness, draw)
        saturation, hue = 1 + self._change(self.saturation, draw), self._change(self.hue, draw)
        image = sample.image.point(_levels(contrast, 255 * brightness) * 3)
        if (saturation, hue) != (1, 0):
            # Pillow counts the circle of hues in 255 steps.
            turned = [(level + round(255 * hue)) % 255 for level in range(256)]
            image = image.convert("HSV").point(turned + _levels(saturation, 0) + _levels(1, 0)).convert("RGB")
        if draw.random() < self.p:
            image = Image.merge("RGB", draw.sample(image.split(), 3))
        return replace(sample, image=image)

    def _change(self, most: float, draw: random.Random) -> float:
        return draw.uniform(-most, most) if draw.random() < self.p else 0.0


def _levels(factor: float, shift: float) -> list[int]:
    """What becomes of each of the 256 levels: level · factor + shift."""
    return [min(255, max(0, round(level * factor + shift))) for level in range(256)]


@dataclass(frozen=True)
class RandAugment:
    """num_ops random operations, one after another, each as strong as magnitude says and of random sign.

    magnitude: 0 (leaves the picture alone, but for auto-contrast and equalize) … 30 (shears by 0.3,
    shifts by 45 % of the side, turns by 30°, enhances by ± 0.9, posterizes to 4 bits, inverts all). What
    comes in from outside the picture is black.

    Raises: ValueError if num_ops is negative or magnitude not in 0 … 30, or, when called, if the sample
    has boxes or a mask: they would stay where the objects no longer are.
    Source: Cubuk et al. 2020; operations and ranges as in torchvision.
    """

    num_ops: int = 2
    magnitude: int = 9

    def __post_init__(self) -> None:
        if self.num_ops < 0:
            raise ValueError(f"num_ops={self.num_ops}: expected 0 or more")
        if not 0 <= self.magnitude <= 30:
            raise ValueError(f"magnitude={self.magnitude}: expected a number in 0 … 30")

    def __call__(self, sample: Sample, size: tuple[int, int], draw: random.Random) -> Sample:
        if sample.boxes is not None or sample.mask is not None:
            raise ValueError(
                "RandAugment moves the picture without its boxes or mask: use it to classify only"
            )
        image = sample.image
        for _ in range(self.num_ops):
            operation = draw.choice(OPERATIONS)
            image = operation(image, draw.choice((-1, 1)) * self.magnitude / 30)
        return replace(sample, image=image)


def _identity(image: Image.Image, strength: float) -> Image.Image:
    return image


def _auto_contrast(image: Image.Image, strength: float) -> Image.Image:
    return ImageOps.autocontrast(image)


def _equalize(image: Image.Image, strength: float) -> Image.Image:
    return ImageOps.equalize(image)


def _rotate(image: Image.Image, strength: float) -> Image.Image:
    return image.rotate(30 * strength)


def _solarize(image: Image.Image, strength: float) -> Image.Image:
    return ImageOps.solarize(image, round(256 * (1 - abs(strength))))


def _color(image: Image.Image, strength: float) -> Image.Image:
    return ImageEnhance.Color(image).enhance(1 + 0.9 * strength)


def _posterize(image: Image.Image, strength: float) -> Image.Image:
    return ImageOps.posterize(image, 8 - round(4 * abs(strength)))


def _contrast(image: Image.Image, strength: float) -> Image.Image:
    return ImageEnhance.Contrast(image).enhance(1 + 0.9 * strength)


def _brightness(image: Image.Image, strength: float) -> Image.Image:
    return ImageEnhance.Brightness(image).enhance(1 + 0.9 * strength)


def _sharpness(image: Image.Image, strength: float) -> Image.Image:
    return ImageEnhance.Sharpness(image).enhance(1 + 0.9 * strength)


def _shear_x(image: Image.Image, strength: float) -> Image.Image:
    return _affine(image, (1, 0.3 * strength, 0, 0, 1, 0))


def _shear_y(image: Image.Image, strength: float) -> Image.Image:
    return _affine(image, (1, 0, 0, 0.3 * strength, 1, 0))


def _translate_x(image: Image.Image, strength: float) -> Image.Image:
    return _affine(image, (1, 0, int(150 / 331 * image.width * strength), 0, 1, 0))


def _translate_y(image: Image.Image, strength: float) -> Image.Image:
    return _affine(image, (1, 0, 0, 0, 1, int(150 / 331 * image.height * strength)))


def _affine(image: Image.Image, matrix: tuple[float, ...]) -> Image.Image:
    """Pixel (x, y) becomes what was at (a·x + b·y + c, d·x + e·y + f), for matrix = (a, b, c, d, e, f)."""
    return image.transform(image.size, Image.Transform.AFFINE, matrix)


# All take the strength in −1 … 1; those without a direction take its absolute value.
OPERATIONS: tuple[Callable[[Image.Image, float], Image.Image], ...] = (
    _identity,
    _auto_contrast,
    _equalize,
    _rotate,
    _solarize,
    _color,
    _posterize,
    _contrast,
    _brightness,
    _sharpness,
    _shear_x,
    _shear_y,
    _translate_x,
    _translate_y,
)


@dataclass(frozen=True)
class Mixup:
    """Every image of a batch blended with the next one (the last with the first), and its target likewise.

    images [B, 3, H, W] and targets float [B, K], which sum to 1, -> the same shapes; a batch has one share
    λ ~ Beta(alpha, alpha), drawn from `draw`: images = λ · image + (1 − λ) · next image.

    Raises: ValueError if alpha is not positive, or the targets are not float [B, K].
    Source: Zhang et al. 2018.
    """

    alpha: float = 0.2

    def __post_init__(self) -> None:
        _check_alpha(self.alpha)

    def __call__(self, images: Tensor, targets: Tensor, draw: random.Random) -> tuple[Tensor, Tensor]:
        _check_batch(images, targets)
        share = draw.betavariate(self.alpha, self.alpha)
        return _blend(images, share), _blend(targets, share)  # [B, 3, H, W], [B, K]


@dataclass(frozen=True)
class CutMix:
    """A rectangle of every image of a batch taken from the next one (the last one's from the first).

    images [B, 3, H, W] and targets float [B, K], which sum to 1, -> the same shapes; targets are blended by
    area. A batch has one rectangle: it takes the share 1 − λ of the area, λ ~ Beta(alpha, alpha), lies
    around a random point and is cut at the border; the targets' λ is that of the pixels truly replaced.

    Raises: ValueError if alpha is not positive, or the targets are not float [B, K].
    Source: Yun et al. 2019.
    """

    alpha: float = 1.0

    def __post_init__(self) -> None:
        _check_alpha(self.alpha)

    def __call__(self, images: Tensor, targets: Tensor, draw: random.Random) -> tuple[Tensor, Tensor]:
        _check_batch(images, targets)
        H, W = images.shape[-2:]
        side = math.sqrt(1 - draw.betavariate(self.alpha, self.alpha))
        y0, y1 = _stretch(H, side, draw)
        x0, x1 = _stretch(W, side, draw)
        mixed = images.clone()  # [B, 3, H, W]
        mixed[..., y0:y1, x0:x1] = images[..., y0:y1, x0:x1].roll(-1, 0)
        return mixed, _blend(targets, 1 - (y1 - y0) * (x1 - x0) / (H * W))


def _stretch(length: int, share: float, draw: random.Random) -> tuple[int, int]:
    """From where to where a share of the length reaches that lies around a random point."""
    half, centre = share * length / 2, draw.uniform(0, length)
    return max(0, round(centre - half)), min(length, round(centre + half))


def _blend(values: Tensor, share: float) -> Tensor:
    """share of every row [B, …], the rest of the next one."""
    return values.lerp(values.roll(-1, 0), 1 - share)


def _check_alpha(alpha: float) -> None:
    if not 0 < alpha < math.inf:
        raise ValueError(f"alpha={alpha}: expected a positive number")


def _check_batch(images: Tensor, targets: Tensor) -> None:
    if images.ndim != 4 or not targets.is_floating_point() or targets.shape[:-1] != images.shape[:1]:
        raise ValueError(
            f"images {list(images.shape)}, targets {targets.dtype} {list(targets.shape)}: expected "
            "[B, 3, H, W] and float [B, K], as torch.nn.functional.one_hot(labels, K).float() makes them"
        )
