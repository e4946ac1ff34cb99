"""Evaluation's crop equals transformers' own, and any kind of picture is taken."""

import numpy as np
import pytest
import torch
from PIL import Image
from transformers.models.mobilevit.image_processing_pil_mobilevit import MobileViTImageProcessorPil

from mvit_lib import ViT, ViTConfig, mobilevit_xxs
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
