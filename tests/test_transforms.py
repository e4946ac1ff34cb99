"""Evaluation's crop equals transformers' own, any kind of picture is taken, and nothing leaves its object."""

import random
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from transformers.models.mobilevit.image_processing_pil_mobilevit import MobileViTImageProcessorPil

from mvit_lib import ViT, ViTConfig, mobilevit_xxs
from mvit_lib.transforms import (
    Boxes,
    CenterCrop,
    Compose,
    EvalTransform,
    Pad,
    RandomFlip,
    RandomResizedCrop,
    RandomScaleCrop,
    Resize,
    Sample,
    SSDCrop,
    flip,
    image_to_tensor,
    to_rgb,
)
from mvit_lib.vit import DEIT_TI


def photo(width: int, height: int) -> Image.Image:
    pixels = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(pixels)


@pytest.mark.parametrize("size", [(640, 480), (451, 300), (300, 451), (289, 1000), (256, 256), (100, 37)])
def test_equals_transformers_preprocessing(size):
    """Theirs gives BGR; resize 288 and crop 256 are the official evaluation."""
    image = photo(*size)
    processor = MobileViTImageProcessorPil(
        size={"shortest_edge": 288}, crop_size={"height": 256, "width": 256}, resample=2
    )
    theirs = torch.as_tensor(processor(image, return_tensors="pt")["pixel_values"])
    ours = mobilevit_xxs().preprocess(image)
    assert ours.shape == (1, 3, 256, 256)
    torch.testing.assert_close(ours.flip(1), theirs, rtol=0, atol=1e-6)
    sample = CenterCrop()(Sample(image), (256, 256), random.Random(0))
    assert torch.equal(image_to_tensor(sample.image), ours[0])


def rotated_by_exif() -> Image.Image:
    image = photo(30, 20)
    image.getexif()[0x0112] = 6  # turn a quarter clockwise to see it upright
    return image


@pytest.mark.parametrize(
    "image",
    [
        photo(1, 1),
        photo(30, 20).convert("L"),
        photo(30, 20).convert("P"),
        photo(30, 20).convert("RGBA"),
        photo(30, 20).convert("CMYK"),
        photo(30, 20).convert("1"),
        photo(10, 60000),
        photo(60000, 1),
        rotated_by_exif(),
    ],
    ids=["1x1", "grey", "palette", "transparent", "CMYK", "bilevel", "very tall", "very wide", "EXIF"],
)
def test_any_kind_of_picture_is_taken(image):
    pixels = EvalTransform(40, 32)(image)
    assert pixels.shape == (3, 32, 32)
    assert pixels.dtype == torch.float32
    assert 0 <= pixels.min() <= pixels.max() <= 1


def test_pixels_are_rgb_in_0_to_1_and_exif_turns_them():
    image = Image.fromarray(np.array([[[255, 51, 0]]], dtype=np.uint8))
    assert image_to_tensor(image).flatten().tolist() == pytest.approx([1, 0.2, 0])
    assert to_rgb(rotated_by_exif()).size == (20, 30)


def test_predict_names_the_likeliest_classes_and_keeps_the_mode():
    model = mobilevit_xxs(num_classes=3)
    model.classes = ("cat", "dog", "fox")
    model.classifier.bias.data = torch.tensor([0.0, 9.0, 5.0])
    names, probabilities = zip(*model.predict(photo(300, 200), k=2), strict=True)
    assert names == ("dog", "fox")
    assert probabilities[0] > 0.9
    assert model.training
    assert len(model.predict(photo(300, 200), k=99)) == 3
    with pytest.raises(ValueError, match="0 of 3"):
        model.predict(photo(3, 3), k=0)
    with pytest.raises(ValueError, match="5 of 0 classes"):
        mobilevit_xxs(num_classes=0).predict(photo(3, 3))


def test_predict_averages_to_one_and_vit_has_its_own_crop():
    model = ViT(DEIT_TI)
    assert model.preprocess(photo(500, 400)).shape == (1, 3, 224, 224)
    assert sum(p for _, p in model.predict(photo(500, 400), k=1000)) == pytest.approx(1, abs=1e-4)


def test_sixteen_bits_keep_their_range():
    ramp = np.linspace(0, 65535, 64 * 64).reshape(64, 64).astype(np.uint16)
    pixels = image_to_tensor(Image.fromarray(ramp))
    assert pixels.mean().item() == pytest.approx(0.5, abs=0.01)
    assert (pixels.min(), pixels.max()) == (0, 1)


def test_predict_leaves_frozen_parts_frozen():
    model = mobilevit_xxs(num_classes=3).train()
    model.layer_1.eval()
    model.predict(photo(300, 200))
    assert model.training
    assert not any(module.training for module in model.layer_1.modules())


def test_a_vit_for_oblong_images_says_that_it_cannot_cut_them():
    model = ViT(ViTConfig(image_size=(32, 48), dim=12, depth=1, num_classes=2))
    with pytest.raises(ValueError, match="squares, this ViT takes images of 32 × 48"):
        model.predict(photo(300, 200))


def test_bad_input_is_named():
    with pytest.raises(ValueError, match="0 × 5"):
        EvalTransform()(Image.new("RGB", (0, 5)))
    for mode in ("I", "F"):
        with pytest.raises(ValueError, match=f"mode '{mode}'"):
            EvalTransform()(Image.new(mode, (5, 5)))
    with pytest.raises(TypeError, match=r"PIL image, got ndarray.*fromarray"):
        EvalTransform()(np.zeros((4, 4, 3)))
    with pytest.raises(ValueError, match="crop 300 .*resize 288"):
        EvalTransform(288, 300)
    with pytest.raises(ValueError, match="crop 0"):
        EvalTransform(288, 0)


TRANSFORMS = [
    Resize(),
    CenterCrop(),
    CenterCrop(0.5),
    Pad(),
    RandomResizedCrop(),
    RandomFlip(1.0),
    RandomScaleCrop(),
    SSDCrop(),
    Compose((SSDCrop(), RandomFlip(), Resize())),
]
RESIZING = [t for t in TRANSFORMS if not isinstance(t, RandomFlip | SSDCrop)]
sides = st.integers(1, 40)
sizes = st.tuples(sides, sides)
coordinates = st.floats(-50, 90, width=32)


def objects(*corners: tuple[float, ...], crowd: tuple[bool, ...] | None = None) -> Boxes:
    """Boxes of these corners, labelled 1, 2, …"""
    M = len(corners)
    xyxy = np.array(corners, dtype=np.float32).reshape(M, 4)
    return Boxes(xyxy, np.arange(1, M + 1), np.array(crowd or [False] * M, dtype=bool))


def scene(width: int, height: int, seed: int) -> Sample:
    """Up to four objects side by side, numbered from 1: drawn in the mask, named in the boxes."""
    draw = random.Random(seed)
    cuts = sorted(draw.sample(range(width + 1), min(width + 1, draw.choice((2, 4, 6, 8))) // 2 * 2))
    mask, corners = np.zeros((height, width), dtype=np.uint8), []
    for label, (x0, x1) in enumerate(zip(cuts[::2], cuts[1::2], strict=True), 1):
        y0, y1 = sorted(draw.sample(range(height + 1), 2))
        mask[y0:y1, x0:x1] = label
        corners.append((x0, y0, x1, y1))
    boxes = objects(*corners, crowd=tuple(draw.random() < 0.2 for _ in corners))
    return Sample(photo(width, height), 3, boxes, Image.fromarray(mask))


def ramp(width: int, height: int, axis: int) -> Sample:
    """Image and mask say of every pixel in which column (axis 1) or row (axis 0) it stood."""
    place = np.indices((height, width), dtype=np.uint8)[axis]
    return Sample(Image.fromarray(np.stack([place] * 3, -1) * 4), mask=Image.fromarray(place))


def box_in_mask(mask: np.ndarray, label: int) -> np.ndarray | None:
    ys, xs = np.nonzero(mask == label)
    return np.array([xs.min(), ys.min(), xs.max() + 1, ys.max() + 1]) if len(xs) else None


def contents(sample: Sample) -> list:
    boxes = sample.boxes
    return [np.array(a).tolist() for a in (sample.image, sample.mask, boxes.xyxy, boxes.labels, boxes.crowd)]


@pytest.mark.parametrize("transform", TRANSFORMS, ids=str)
@settings(max_examples=200)
@given(sides, sides, sizes, st.integers(0, 999))
def test_boxes_stay_around_what_the_mask_shows(transform, width, height, size, seed):
    """Nearest takes a pixel for its centre, so a box and its pixels differ by half a pixel at most."""
    sample = scene(width, height, seed)
    result = transform(sample, size, random.Random(seed))
    mask = np.array(result.mask)
    assert mask.shape == (result.image.height, result.image.width)
    for box, label in zip(result.boxes.xyxy, result.boxes.labels, strict=True):
        found = box_in_mask(mask, label)
        if found is None:
            assert min(box[2] - box[0], box[3] - box[1]) <= 1
        else:
            assert abs(found - box).max() <= 0.5 + 1e-4
    gone = set(sample.boxes.labels) - set(result.boxes.labels)
    if "SSDCrop" not in str(transform):
        assert all(box_in_mask(mask, label) is None for label in gone)


@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("transform", [*RESIZING, RandomFlip(1.0)], ids=str)
def test_image_and_mask_show_the_same_place(transform, axis):
    """Bilinear gives a ramp back exactly, up to rounding, but for the border, where it repeats pixels."""
    sample = ramp(60, 52, axis)
    for seed in range(20):
        result = transform(sample, (45, 41), random.Random(seed))
        column, pixel = np.array(result.mask).astype(float), np.array(result.image)[..., 0]
        inside = (column >= 3) & (column < (52, 60)[axis] - 3)
        assert inside.mean() > 0.3
        assert abs(pixel / 4 - column)[inside].max() <= 0.5 + 0.5 / 4


@pytest.mark.parametrize("transform", TRANSFORMS, ids=str)
@settings(max_examples=100)
@given(sides, sides, sizes, st.integers(0, 999), st.lists(st.tuples(*[coordinates] * 4), max_size=4))
def test_any_boxes_on_any_picture(transform, width, height, size, seed, corners):
    """Also empty ones, and boxes that leave the picture: what comes out is sound, and drawn from the seed."""
    sample = replace(scene(width, height, seed), boxes=objects(*corners))
    before = contents(sample)
    result = transform(sample, size, random.Random(seed))
    assert contents(sample) == before
    assert contents(transform(sample, size, random.Random(seed))) == contents(result)
    assert result.image.mode == "RGB"
    assert result.label == 3
    assert result.boxes.xyxy.dtype == np.float32
    if transform in RESIZING:
        assert (result.image.height, result.image.width) == size
        x0, y0, x1, y1 = result.boxes.xyxy.T
        assert ((x0 >= 0) & (x0 < x1) & (x1 <= size[1])).all()
        assert ((y0 >= 0) & (y0 < y1) & (y1 <= size[0])).all()


def distance_to_uniform(values: list[float], low: float, high: float) -> float:
    """Kolmogorov's distance, times √n: above 1.95 once in a thousand times."""
    share = (np.sort(values) - low) / (high - low)
    steps = np.arange(len(values) + 1) / len(values)
    return np.sqrt(len(values)) * max((steps[1:] - share).max(), (share - steps[:-1]).max())


def test_crops_have_uniform_area_log_ratio_and_place():
    draw, transform = random.Random(0), RandomResizedCrop((0.2, 0.4), (0.5, 2.0))
    crops = [transform.draw_crop((10_000, 8_000), draw) for _ in range(2000)]
    x0, y0, x1, y1 = np.array(crops).T
    width, height = x1 - x0, y1 - y0
    assert distance_to_uniform(width * height / 8e7, 0.2, 0.4) < 1.95
    assert distance_to_uniform(np.log(width / height), -np.log(2), np.log(2)) < 1.95
    assert distance_to_uniform(x0 / (10_000 - width), 0, 1) < 1.95
    assert distance_to_uniform(y0 / (8_000 - height), 0, 1) < 1.95


def test_crops_that_never_fit_become_the_largest_central_one():
    draw_crop, draw = RandomResizedCrop().draw_crop, random.Random(0)
    assert draw_crop((1000, 12), draw) == (492, 0, 508, 12)
    assert draw_crop((12, 1000), draw) == (0, 492, 12, 508)
    # Wanted: the whole area of a square picture, and twice as wide as high.
    assert RandomResizedCrop((1, 1), (2, 2)).draw_crop((40, 40), draw) == (0, 10, 40, 30)


@given(sides, sides, st.integers(0, 999))
def test_flipping_turns_columns_around_and_back(width, height, seed):
    sample = scene(width, height, seed)
    assert np.array_equal(np.array(flip(sample).image), np.array(sample.image)[:, ::-1])
    assert contents(flip(flip(sample))) == contents(sample)


def test_flips_happen_with_probability_p():
    sample = ramp(2, 1, 1)
    for p in (0, 0.3, 1):
        draw, transform = random.Random(0), RandomFlip(p)
        flips = sum(transform(sample, (1, 2), draw).mask.getpixel((0, 0)) for _ in range(1000))
        assert abs(flips / 1000 - p) <= 4 * np.sqrt(p * (1 - p) / 1000)


@pytest.mark.parametrize(("size", "shrunk"), [((25, 40), (50, 100)), ((10, 40), (40, 80))])
def test_center_crop_keeps_the_aspect_ratio_of_any_size(size, shrunk):
    """A picture 200 × 100 just covers twice the size, then its middle stays."""
    for axis in (0, 1):
        mask = np.array(CenterCrop(0.5)(ramp(200, 100, axis), size, random.Random(0)).mask)
        first = (shrunk[axis] - size[axis]) // 2
        places = (np.arange(first, first + size[axis]) + 0.5) * (100, 200)[axis] / shrunk[axis]
        assert np.array_equal(mask.take(0, 1 - axis), places.astype(int))


def test_center_crop_rounds_the_side_to_cover():
    """101 / (256 / 288) = 113.6, so 114 pixels stay as they are."""
    mask = np.array(CenterCrop()(ramp(114, 114, 1), (101, 101), random.Random(0)).mask)
    assert mask[0].tolist() == list(range(6, 107))


@pytest.mark.parametrize(("width", "height", "size"), [(40, 20, (30, 20)), (20, 40, (20, 30))])
def test_padding_fills_right_and_below(width, height, size):
    fitting = (height // 2, width // 2)
    sample, draw = scene(width, height, 5), random.Random(0)
    result, small = Pad((1, 2, 3))(sample, size, draw), Resize()(sample, fitting, draw)
    pixels, mask = np.array(result.image), np.array(result.mask)
    rest = np.ones(size, dtype=bool)
    rest[: fitting[0], : fitting[1]] = False
    assert (pixels[rest] == (1, 2, 3)).all()
    assert (mask[rest] == 255).all()
    assert np.array_equal(pixels[~rest], np.array(small.image).reshape(-1, 3))
    assert np.array_equal(mask[~rest], np.array(small.mask).flatten())
    np.testing.assert_array_equal(result.boxes.xyxy, sample.boxes.xyxy / 2)


@pytest.mark.parametrize("axis", [0, 1])
def test_scale_crop_draws_scale_and_place_and_never_leaves_a_gap(axis):
    """The shorter side becomes 100 … 400 of which those below 240 do not cover: 140 of 300 become 240."""
    draw, sample, size, n = random.Random(0), ramp(240, 240, axis), (200, 240), 800
    rows = [np.array(RandomScaleCrop()(sample, size, draw).mask).take(0, 1 - axis) for _ in range(n)]
    first, last = np.array(rows)[:, [0, -1]].astype(float).T
    scales = (size[axis] - 1) / (last - first)
    least = scales < 1.005
    assert abs(least.mean() - 140 / 300) < 4 * np.sqrt(0.25 / n)
    assert distance_to_uniform(scales[~least], 1, 400 / 240) < 1.95
    close = scales > 1.2  # where there is room to move
    room = 240 - size[axis] / scales[close]
    assert distance_to_uniform((first[close] + 0.5 - 0.5 / scales[close]) / room, 0, 1) < 1.95


def crop_of(result: Sample) -> tuple[int, int, int, int]:
    """From a sample whose red and green channels carried x and y."""
    pixels = np.array(result.image).astype(int)
    return *pixels[0, 0, :2], *(pixels[-1, -1, :2] + 1)


def with_places(sample: Sample) -> Sample:
    y, x = np.indices((sample.image.height, sample.image.width), dtype=np.uint8)
    return replace(sample, image=Image.fromarray(np.stack([x, y, x], -1)))


@pytest.mark.parametrize("min_iou", [0.1, 0.3, 0.5])
def test_ssd_crops_show_enough_of_an_object(min_iou):
    """The IoU counted pixel by pixel; centres looked for one by one."""
    cropped = 0
    for seed in range(150):
        sample = with_places(scene(50, 40, seed))
        result = SSDCrop((None, min_iou, min_iou))(sample, (9, 9), random.Random(seed))
        x0, y0, x1, y1 = crop_of(result)
        if (x0, y0, x1, y1) == (0, 0, 50, 40):
            assert contents(result) == contents(sample)
            continue
        cropped += 1
        assert x1 - x0 >= 15 and y1 - y0 >= 12 and 0.5 <= (x1 - x0) / (y1 - y0) <= 2
        inside, ious = [], []
        for box, label, crowd in zip(*contents(sample)[2:], strict=True):
            if x0 < (box[0] + box[2]) / 2 < x1 and y0 < (box[1] + box[3]) / 2 < y1:
                inside.append(label)
            object_, crop = np.array(sample.mask) == label, np.zeros((40, 50), dtype=bool)
            crop[y0:y1, x0:x1] = True
            ious.append(0 if crowd else (object_ & crop).sum() / (object_ | crop).sum())
        assert result.boxes.labels.tolist() == inside
        assert max(ious) >= min_iou
        assert not result.boxes.crowd.all()
    assert cropped >= 15


def test_ssd_crop_leaves_whole_what_has_no_objects_or_no_luck():
    whole, tiny = (0, 0, 50, 40), (20, 20, 22, 22)
    for boxes in (None, objects(), objects(whole, crowd=(True,)), objects(whole, tiny, crowd=(True, False))):
        sample, draw = replace(scene(50, 40, 0), boxes=boxes), random.Random(0)
        assert all(SSDCrop((None, 0.5, 0.9))(sample, (9, 9), draw) is sample for _ in range(20))


def test_ssd_crop_draws_every_least_iou_alike():
    """The object is the picture: among forty crops there is always one that meets the two lower choices."""
    sample, draw = replace(scene(50, 40, 0), boxes=objects((0, 0, 50, 40))), random.Random(0)
    kept = sum(SSDCrop((None, 0.0, 0.1))(sample, (9, 9), draw) is sample for _ in range(600))
    assert abs(kept / 600 - 1 / 3) < 4 * np.sqrt(2 / 9 / 600)


def test_settings_that_cannot_be_meant_are_named():
    for make, message in [
        (lambda: RandomResizedCrop(scale=(0.5, 0.1)), r"scale=\(0.5, 0.1\)"),
        (lambda: RandomResizedCrop(scale=(0.5, 1.5)), r"upper ≤ 1"),
        (lambda: RandomResizedCrop(ratio=(0, 1)), r"ratio=\(0, 1\)"),
        (lambda: RandomScaleCrop((-1, 1)), r"scale=\(-1, 1\)"),
        (lambda: RandomFlip(1.2), "p=1.2"),
        (lambda: CenterCrop(0), "share=0"),
        (lambda: SSDCrop((0.1, 0.3)), r"min_ious=\(0.1, 0.3\).*None"),
    ]:
        with pytest.raises(ValueError, match=message):
            make()
