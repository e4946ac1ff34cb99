"""The official ImageNet checkpoints, from the Hugging Face hub, against their published logits."""

import io
import urllib.request

import pytest
import torch
from PIL import Image

from mvit_lib import load_weights

pytestmark = pytest.mark.online

COCO = "http://images.cocodataset.org/val2017/000000039769.jpg"
# First three logits of the official conversion for that image.
PUBLISHED = {
    "apple/mobilevit-small": (-0.9866, 0.2392, -1.1241),
    "apple/mobilevit-x-small": (-2.4761, -0.9399, -1.9587),
    "apple/mobilevit-xx-small": (-1.9364, -1.2327, -0.4653),
}


@pytest.fixture(scope="module")
def image() -> Image.Image:
    with urllib.request.urlopen(COCO, timeout=60) as answer:
        return Image.open(io.BytesIO(answer.read()))


@pytest.mark.parametrize("name", PUBLISHED)
def test_logits_are_the_published_ones(name, image):
    """Ours takes RGB because its stem was turned on loading; turned back, it takes BGR."""
    model = load_weights(name)
    pixels = model.preprocess(image)
    assert pixels.shape == (1, 3, 256, 256)
    expected = torch.tensor(PUBLISHED[name])
    with torch.no_grad():
        torch.testing.assert_close(model(pixels)[0, :3], expected, rtol=0, atol=1e-4)
        model.stem.conv.weight.data = model.stem.conv.weight.data.flip(1)
        torch.testing.assert_close(model(pixels.flip(1))[0, :3], expected, rtol=0, atol=1e-4)
        wrong = model(pixels)[0, :3]
    assert (wrong - expected).abs().max() > 1e-2


def test_imagenet_names_come_along(image):
    model = load_weights("apple/mobilevit-small")
    assert len(model.classes) == 1000
    assert "cat" in " ".join(name for name, _ in model.predict(image)).lower()
