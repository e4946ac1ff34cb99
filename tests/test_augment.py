"""Augmentation: every operation against its formula, every mixture against a loop over its pixels."""

import colorsys
import math
import random

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from mvit_lib import augment
from mvit_lib.augment import OPERATIONS, CutMix, Mixup, PhotometricDistortion, RandAugment
from mvit_lib.transforms import Boxes, Sample

SIZE = (8, 8)


class Greatest(random.Random):
    """Chance that always strikes, and always with the upper bound; the order of things stays."""

    def random(self) -> float:
        return 0.0

    def uniform(self, a: float, b: float) -> float:
        return b

    def sample(self, population, k, *, counts=None) -> list:
        return list(population)[:k]


def photo(width: int, height: int, low: int = 0, high: int = 255) -> Image.Image:
    pixels = np.random.default_rng(0).integers(low, high + 1, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(pixels)


def distorted(distortion: PhotometricDistortion, image: Image.Image, draw: random.Random) -> np.ndarray:
    return np.array(distortion(Sample(image), SIZE, draw).image).astype(int)


def test_contrast_multiplies_and_brightness_adds():
    image = photo(20, 10)
    levels = np.array(image).astype(float)
    only = PhotometricDistortion(contrast=0.5, brightness=0.2, saturation=0, hue=0, p=1)
    expected = (1.5 * levels + 51).round().clip(0, 255)
    assert abs(distorted(only, image, Greatest()) - expected).max() == 0
    weak = PhotometricDistortion(contrast=0.5, brightness=0, saturation=0, hue=0, p=1)
    assert distorted(weak, photo(20, 10, 100, 100), Greatest()).tolist() == [[[150] * 3] * 20] * 10


@pytest.mark.parametrize(("saturation", "hue"), [(0.5, 0), (0, 0.05), (0.5, 0.05), (1, 0.5)])
def test_saturation_and_hue_are_those_of_colorsys(saturation, hue):
    """A step of 8-bit hue is 6 · 220 / 255 < 5.2 levels here; hue is cut to whole steps, its turn to the
    nearest: 1.5 steps."""
    image = photo(16, 16, 30, 220)
    only = PhotometricDistortion(0, 0, saturation, hue, p=1)
    found = distorted(only, image, Greatest())
    for ours, before in zip(found.reshape(-1, 3), np.array(image).reshape(-1, 3), strict=True):
        h, s, v = colorsys.rgb_to_hsv(*before / 255)
        rgb = colorsys.hsv_to_rgb((h + hue) % 1, min(1, s * (1 + saturation)), v)
        assert abs(ours - 255 * np.array(rgb)).max() <= 8


def test_a_full_turn_of_the_hue_changes_nothing():
    image = photo(16, 16)
    found = distorted(PhotometricDistortion(0, 0, 0, 1, p=1), image, Greatest())
    assert np.array_equal(found, np.array(image.convert("HSV").convert("RGB")))


def test_each_distortion_happens_half_the_time_and_independently():
    draw, n, grey = random.Random(0), 1000, photo(1, 1, 120, 120)
    sigma = math.sqrt(0.25 / n)
    bright = PhotometricDistortion(contrast=0, saturation=0, hue=0)
    levels = np.array([distorted(bright, grey, draw)[0, 0, 0] for _ in range(n)]) - 120
    # The other half is even in ±51: a hundredth of it rounds to no change.
    assert abs((levels != 0).mean() - 0.5 * (1 - 1 / 102)) < 4 * sigma
    assert (levels.min(), levels.max()) == (-51, 51)
    assert abs(levels.mean()) < 4 * 51 / math.sqrt(6 * n)
    colours = Image.new("RGB", (1, 1), (10, 120, 240))
    swap = PhotometricDistortion(0, 0, 0, 0)
    orders = [tuple(distorted(swap, colours, draw)[0, 0]) for _ in range(n)]
    assert len(set(orders)) == 6
    # Left alone half the time; of the six orders that are drawn otherwise, one changes nothing either.
    assert abs(orders.count((10, 120, 240)) / n - 7 / 12) < 4 * sigma


def test_no_distortion_without_chance_or_amount():
    image = photo(9, 7)
    for still in (PhotometricDistortion(p=0), PhotometricDistortion(0, 0, 0, 0)):
        pixels = distorted(still, image, random.Random(1)).reshape(-1, 3)
        assert np.array_equal(np.sort(pixels), np.sort(np.array(image).reshape(-1, 3)))
    assert np.array_equal(distorted(PhotometricDistortion(p=0), image, random.Random(1)), np.array(image))


def operation(name: str, image: Image.Image, strength: float) -> np.ndarray:
    assert getattr(augment, name) in OPERATIONS
    return np.array(getattr(augment, name)(image, strength)).astype(int)


@pytest.mark.parametrize("strength", [-1.0, -0.3, 0.5, 1.0])
def test_operations_on_levels_follow_their_formulas(strength):
    image = photo(12, 9)
    x, amount = np.array(image).astype(int), abs(strength)
    limit = round(256 * (1 - amount))
    assert np.array_equal(operation("_solarize", image, strength), np.where(x < limit, x, 255 - x))
    step = 2 ** round(4 * amount)
    assert np.array_equal(operation("_posterize", image, strength), x // step * step)
    grey = np.array(image.convert("L")).astype(int)
    for name, base in [("_brightness", 0), ("_color", grey[..., None]), ("_contrast", round(grey.mean()))]:
        expected = (base + (1 + 0.9 * strength) * (x - base)).clip(0, 255)
        assert abs(operation(name, image, strength) - expected).max() <= 1
    assert np.array_equal(operation("_identity", image, strength), x)


def test_sharpness_goes_from_blurred_to_sharp():
    image = photo(30, 30, 100, 150)
    spread = [operation("_sharpness", image, strength).std() for strength in (-1, -0.5, 0, 0.5, 1)]
    assert spread == sorted(set(spread))
    assert np.array_equal(operation("_sharpness", image, 0.0), np.array(image))


def test_auto_contrast_and_equalize_spread_the_levels():
    image = photo(40, 40, 60, 120)
    x = np.array(image).astype(int)
    low, high = x.min((0, 1)), x.max((0, 1))
    assert abs(operation("_auto_contrast", image, 0.0) - 255 * (x - low) / (high - low)).max() <= 1
    # Equalized: the darker pixels counted, in 255 steps of as many pixels, without those of the top level.
    equalized = operation("_equalize", image, 0.0)
    for c in range(3):
        step = (x[..., c] < high[c]).sum() // 255
        for level in range(low[c], high[c] + 1):
            expected = ((x[..., c] < level).sum() + step // 2) // step
            assert (equalized[..., c][x[..., c] == level] == min(255, expected)).all()


def looked_up(image: Image.Image, source) -> np.ndarray:
    """Pixel by pixel what lay at source(x, y), in units of pixels from the left upper corner; else black."""
    pixels = np.array(image)
    result = np.zeros_like(pixels)
    for y in range(image.height):
        for x in range(image.width):
            sx, sy = (math.floor(v) for v in source(x + 0.5, y + 0.5))
            if 0 <= sx < image.width and 0 <= sy < image.height:
                result[y, x] = pixels[sy, sx]
    return result.astype(int)


@pytest.mark.parametrize("strength", [-1.0, -0.37, 0.37, 1.0])
def test_operations_on_places_move_every_pixel_as_they_say(strength):
    image, a = photo(23, 17, 1, 255), 0.3 * strength
    shift_x, shift_y = int(150 / 331 * 23 * strength), int(150 / 331 * 17 * strength)
    for name, source in [
        ("_shear_x", lambda x, y: (x + a * y, y)),
        ("_shear_y", lambda x, y: (x, y + a * x)),
        ("_translate_x", lambda x, y: (x + shift_x, y)),
        ("_translate_y", lambda x, y: (x, y + shift_y)),
    ]:
        assert np.array_equal(operation(name, image, strength), looked_up(image, source)), name


@pytest.mark.parametrize("strength", [-1.0, 0.5, 1.0])
def test_rotation_carries_a_spot_around_the_centre(strength):
    pixels = np.zeros((101, 101, 3), dtype=np.uint8)
    pixels[48:53, 83:88] = 255  # the spot's middle lies 35 to the right of the picture's
    found = operation("_rotate", Image.fromarray(pixels), strength)[..., 0]
    y, x = (axis.mean() - 50 for axis in np.nonzero(found))
    angle = math.radians(30 * strength)
    assert (x, -y) == pytest.approx((35 * math.cos(angle), 35 * math.sin(angle)), abs=0.5)


def test_rand_augment_chooses_alike_and_magnitude_0_changes_next_to_nothing():
    """Without strength only auto-contrast and equalize do something: 2 of 14."""
    image, draw, n = photo(20, 20, 60, 120), random.Random(0), 2000
    still = sum(np.array_equal(RandAugment(1, 0)(Sample(image), SIZE, draw).image, image) for _ in range(n))
    assert abs(still / n - 12 / 14) < 4 * math.sqrt(12 * 2 / 14**2 / n)
    changed = {op for op in OPERATIONS if not np.array_equal(op(image, 0.0), image)}
    assert len(OPERATIONS) == 14
    assert changed == {augment._auto_contrast, augment._equalize}


def test_rand_augment_does_num_ops_one_after_another(monkeypatch):
    """The operation adds its strength in thirtieths to the level: signs come half the time each."""

    def add(image, strength):
        return image.point(lambda level: level + round(30 * strength))

    monkeypatch.setattr(augment, "OPERATIONS", (add,))
    draw, grey = random.Random(0), photo(1, 1, 100, 100)
    sums = [RandAugment(3, 7)(Sample(grey), SIZE, draw).image.getpixel((0, 0))[0] - 100 for _ in range(1000)]
    assert set(sums) == {-21, -7, 7, 21}
    assert abs(sum(sums) / 1000) < 4 * 7 * math.sqrt(3 / 1000)


@pytest.mark.parametrize("transform", [RandAugment(), RandAugment(3, 30), PhotometricDistortion()], ids=str)
@settings(max_examples=60)
@given(st.integers(1, 40), st.integers(1, 40), st.integers(0, 999))
def test_any_picture_keeps_its_size_and_the_seed_decides(transform, width, height, seed):
    image = photo(width, height)
    sample, before = Sample(image, 4), image.tobytes()
    result = transform(sample, SIZE, random.Random(seed))
    assert (result.image.mode, result.image.size, result.label) == ("RGB", image.size, 4)
    assert result.image.tobytes() == transform(sample, SIZE, random.Random(seed)).image.tobytes()
    assert image.tobytes() == before


def test_rand_augment_refuses_boxes_and_masks():
    boxes = Boxes(np.zeros((0, 4), dtype=np.float32), np.zeros(0, dtype=int), np.zeros(0, dtype=bool))
    for sample in (Sample(photo(4, 4), boxes=boxes), Sample(photo(4, 4), mask=Image.new("L", (4, 4)))):
        with pytest.raises(ValueError, match="boxes or mask"):
            RandAugment()(sample, SIZE, random.Random(0))


def batch(B: int, H: int, W: int) -> tuple[Tensor, Tensor]:
    """Pixels are the number of their image; image i is of class i."""
    images = torch.arange(1.0, B + 1).reshape(B, 1, 1, 1).expand(B, 3, H, W).clone()
    return images, F.one_hot(torch.arange(B), B).double()


@settings(max_examples=60)
@given(st.integers(1, 5), st.integers(1, 9), st.integers(1, 9), st.integers(0, 999), st.floats(0.05, 5))
def test_mixup_blends_images_and_targets_by_one_share(B, H, W, seed, alpha):
    images, targets = torch.rand(B, 3, H, W, dtype=torch.float64), torch.eye(B, dtype=torch.float64)
    before = images.clone(), targets.clone()
    mixed, blended = Mixup(alpha)(images, targets, random.Random(seed))
    assert torch.equal(images, before[0])
    assert torch.equal(targets, before[1])
    share = blended[0, 0].item()
    for i in range(B):
        expected = share * images[i] + (1 - share) * images[(i + 1) % B]
        torch.testing.assert_close(mixed[i], expected, rtol=0, atol=1e-12)
        torch.testing.assert_close(
            blended[i], share * targets[i] + (1 - share) * targets[(i + 1) % B], rtol=0, atol=1e-12
        )


@pytest.mark.parametrize("alpha", [0.2, 1.0, 3.0])
def test_mixup_draws_its_share_from_a_beta_distribution(alpha):
    images, targets = batch(2, 1, 1)
    draw, n = random.Random(0), 4000
    shares = np.array([Mixup(alpha)(images, targets, draw)[1][0, 0].item() for _ in range(n)])
    variance = 1 / (4 * (2 * alpha + 1))
    assert abs(shares.mean() - 0.5) < 4 * math.sqrt(variance / n)
    assert shares.var() == pytest.approx(variance, rel=4 * math.sqrt(2 / n))


@settings(max_examples=100)
@given(st.integers(2, 5), st.integers(1, 40), st.integers(1, 40), st.integers(0, 999))
def test_cutmix_targets_count_the_pixels_of_one_rectangle(B, H, W, seed):
    images, targets = batch(B, H, W)
    mixed, blended = CutMix()(images, targets, random.Random(seed))
    assert torch.equal(images, batch(B, H, W)[0])
    assert torch.equal(targets, batch(B, H, W)[1])
    pasted = mixed[0, 0] != 1  # [H, W]
    rows, columns = pasted.any(1), pasted.any(0)
    assert torch.equal(pasted, rows[:, None] & columns[None])
    assert all((edge.int().diff().abs().sum() <= 2) for edge in (rows, columns))
    for i in range(B):
        expected = torch.where(pasted, float((i + 1) % B + 1), float(i + 1)).expand(3, H, W)
        assert torch.equal(mixed[i], expected)
        for k in range(B):
            share = (mixed[i, 0] == k + 1).double().mean()
            torch.testing.assert_close(blended[i, k], share, rtol=0, atol=1e-12)


def test_cutmix_replaces_the_area_that_the_border_leaves():
    """A square of share r² of the area, r² even in 0 … 1, loses r²/4 of each side on average:
    E(r − r²/4)² = 1/2 − 1/5 + 1/48."""
    images, targets = batch(2, 100, 100)
    draw, n = random.Random(0), 2000
    areas = np.array([CutMix()(images, targets, draw)[1][0, 1].item() for _ in range(n)])
    assert abs(areas.mean() - (1 / 2 - 1 / 5 + 1 / 48)) < 4 * areas.std() / math.sqrt(n)


@pytest.mark.parametrize("mixture", [Mixup(), CutMix()], ids=str)
def test_mixtures_keep_type_and_memory_layout_and_follow_the_seed(mixture):
    images = torch.rand(4, 3, 16, 12, dtype=torch.bfloat16).contiguous(memory_format=torch.channels_last)
    targets = torch.eye(4)
    mixed, blended = mixture(images, targets, random.Random(7))
    assert (mixed.dtype, blended.dtype) == (torch.bfloat16, torch.float32)
    assert mixed.is_contiguous(memory_format=torch.channels_last)
    again = mixture(images, targets, random.Random(7))
    assert torch.equal(mixed, again[0])
    assert torch.equal(blended, again[1])
    torch.testing.assert_close(blended.sum(1), torch.ones(4))


def test_what_cannot_be_meant_is_named():
    for make, message in [
        (lambda: PhotometricDistortion(hue=-0.1), "hue=-0.1"),
        (lambda: PhotometricDistortion(p=2), "p=2"),
        (lambda: RandAugment(num_ops=-1), "num_ops=-1"),
        (lambda: RandAugment(magnitude=31), "magnitude=31.*0 … 30"),
        (lambda: Mixup(0), "alpha=0"),
        (lambda: CutMix(-1.0), "alpha=-1.0"),
    ]:
        with pytest.raises(ValueError, match=message):
            make()
    images, targets = batch(3, 2, 2)
    for wrong in (torch.arange(3), targets.long(), targets[:2]):
        with pytest.raises(ValueError, match=r"targets torch.*float \[B, K\].*one_hot"):
            Mixup()(images, wrong, random.Random(0))
