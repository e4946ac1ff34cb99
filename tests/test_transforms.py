"""Evaluation's crop equals transformers' own, and any kind of picture is taken."""

import numpy as np
import pytest
import torch
from PIL import Image
from transformers.models.mobilevit.image_processing_pil_mobilevit import MobileViTImageProcessorPil

from mvit_lib import ViT, mobilevit_xxs
from mvit_lib.transforms import EvalTransform, image_to_tensor, to_rgb
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
        Image.fromarray(np.full((20, 30), 700, dtype=np.int32), mode=None),
        rotated_by_exif(),
    ],
    ids=["1x1", "grey", "palette", "transparent", "CMYK", "bilevel", "int32", "EXIF"],
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


def test_bad_input_is_named():
    with pytest.raises(TypeError, match=r"PIL image, got ndarray.*fromarray"):
        EvalTransform()(np.zeros((4, 4, 3)))
    with pytest.raises(ValueError, match="crop 300 .*resize 288"):
        EvalTransform(288, 300)
    with pytest.raises(ValueError, match="crop 0"):
        EvalTransform(288, 0)
