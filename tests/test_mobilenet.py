"""MobileNetV2: its published size, and the five-stage contract it shares with MobileViT."""

import pytest
import torch
from peers import randomise
from torch import nn
from transformers import MobileNetV2Config, MobileNetV2ForImageClassification

from mvit_lib import MobileNetV2


def test_parameters_are_the_published_ones():
    assert sum(p.numel() for p in MobileNetV2().parameters()) == 3_504_872


@pytest.mark.parametrize("width", [1.0, 0.75, 0.5, 1.4])
def test_equals_transformers(width):
    """Both list their tensors in forward order, so weights travel by position."""
    config = MobileNetV2Config(depth_multiplier=width, tf_padding=False, layer_norm_eps=1e-5, num_labels=1000)
    theirs = MobileNetV2ForImageClassification(config)
    randomise(theirs)
    theirs.double().eval()
    ours = MobileNetV2(width=width).double().eval()
    pairs = zip(ours.state_dict(), theirs.state_dict().values(), strict=True)
    ours.load_state_dict(dict(pairs))
    x = torch.rand(1, 3, 96, 64, dtype=torch.float64)
    with torch.no_grad():
        expected = theirs(x).logits
        torch.testing.assert_close(ours(x), expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(
    ("output_stride", "strides"), [(32, (2, 4, 8, 16, 32)), (16, (2, 4, 8, 16, 16)), (8, (2, 4, 8, 8, 8))]
)
def test_stages_have_their_channels_and_strides(output_stride, strides):
    model = MobileNetV2(num_classes=0, output_stride=output_stride).eval()
    expected = dict(zip(model.stages, zip((16, 24, 32, 96, 320), strides, strict=True), strict=True))
    assert model.feature_info == expected
    with torch.no_grad():
        features = model.forward_features(torch.rand(1, 3, 96, 64))
    for name, (channels, stride) in expected.items():
        assert features[name].shape == (1, channels, 96 // stride, 64 // stride)


def test_a_stage_that_does_not_shrink_widens_its_gaps():
    """Stride 8 computes, at every eighth pixel, what stride 32 computes at every thirty-second."""
    coarse, fine = MobileNetV2(num_classes=0).eval(), MobileNetV2(num_classes=0, output_stride=8).eval()
    fine.load_state_dict(coarse.state_dict())
    x = torch.rand(1, 3, 512, 512)
    with torch.no_grad():
        a, b = coarse.forward_features(x)["layer_5"], fine.forward_features(x)["layer_5"]
    inner = (slice(None), slice(None), slice(7, 9), slice(7, 9))
    torch.testing.assert_close(b[:, :, ::4, ::4][inner], a[inner], rtol=1e-4, atol=1e-5)


def test_fuse_and_bad_input():
    model = MobileNetV2(num_classes=7).eval()
    x = torch.rand(2, 3, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(model.fuse()(x), model(x), rtol=0, atol=1e-5)
    assert not any(isinstance(m, nn.BatchNorm2d) for m in model.fuse().modules())
    with pytest.raises(ValueError, match="output_stride=5"):
        MobileNetV2(output_stride=5)
    with pytest.raises(ValueError, match="width=nan"):
        MobileNetV2(width=float("nan"))
