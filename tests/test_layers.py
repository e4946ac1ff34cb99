"""The bricks against PyTorch's own layers."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from mvit_lib.layers import (
    Attention,
    ConvNormAct,
    Dropout,
    InvertedResidual,
    SiLU,
    TransformerLayer,
    attention_weights,
    fold_batchnorm,
    make_divisible,
)


def test_attention_equals_torch_multihead_attention():
    ours = Attention(24, 4).double()
    theirs = nn.MultiheadAttention(24, 4, batch_first=True, dtype=torch.float64)
    theirs.in_proj_weight.data, theirs.in_proj_bias.data = ours.qkv.weight, ours.qkv.bias
    theirs.out_proj.load_state_dict(ours.proj.state_dict())
    x = torch.randn(3, 7, 24, dtype=torch.float64)
    expected, weights = theirs(x, x, x, average_attn_weights=False)
    torch.testing.assert_close(ours(x), expected, rtol=0, atol=1e-12)
    q, k, _ = ours.qkv(x).view(3, 7, 3, 4, 6).permute(2, 0, 3, 1, 4)
    torch.testing.assert_close(attention_weights(q, k), weights, rtol=0, atol=1e-12)


def test_transformer_layer_equals_torch_encoder_layer():
    ours = TransformerLayer(24, 4, 2, activation=nn.SiLU).double().eval()
    theirs = nn.TransformerEncoderLayer(
        24, 4, 48, activation=F.silu, batch_first=True, norm_first=True, dtype=torch.float64
    ).eval()
    theirs.self_attn.in_proj_weight.data = ours.attention.qkv.weight.data
    theirs.self_attn.in_proj_bias.data = ours.attention.qkv.bias.data
    theirs.self_attn.out_proj.load_state_dict(ours.attention.proj.state_dict())
    theirs.linear1.load_state_dict(ours.mlp.fc1.state_dict())
    theirs.linear2.load_state_dict(ours.mlp.fc2.state_dict())
    x = torch.randn(2, 9, 24, dtype=torch.float64)
    torch.testing.assert_close(ours(x), theirs(x), rtol=0, atol=1e-12)


@pytest.mark.parametrize(("kernel", "stride", "dilation"), [(1, 1, 1), (3, 2, 1), (3, 1, 2), (5, 2, 1)])
@pytest.mark.parametrize("size", [(8, 8), (7, 9)])
def test_convolutions_keep_the_size_over_their_stride(kernel, stride, dilation, size):
    layer = ConvNormAct(3, 5, kernel, stride=stride, dilation=dilation)
    expected = tuple(-(-side // stride) for side in size)
    assert layer(torch.randn(2, 3, *size)).shape == (2, 5, *expected)


@pytest.mark.parametrize(
    ("stride", "out_channels", "residual"), [(1, 8, True), (2, 8, False), (1, 16, False)]
)
def test_the_residual_needs_stride_one_and_equal_widths(stride, out_channels, residual):
    layer = InvertedResidual(8, out_channels, stride=stride, expansion=2).eval()
    nn.init.zeros_(layer.project.norm.weight)
    x = torch.randn(2, 8, 6, 6)
    assert layer.has_residual == residual
    assert torch.equal(layer(x), x) if residual else not layer(x).any()


def test_make_divisible_never_loses_more_than_a_tenth():
    for channels in range(1, 400):
        rounded = make_divisible(channels * 0.75)
        assert rounded % 8 == 0
        assert rounded >= 0.9 * channels * 0.75
    assert [make_divisible(c) for c in (32, 12, 3)] == [32, 16, 8]


def test_folding_keeps_the_function():
    model = nn.Sequential(ConvNormAct(3, 8, 3), InvertedResidual(8, 8, expansion=4)).double()
    for _ in range(3):
        model(torch.randn(4, 3, 9, 9, dtype=torch.float64))
    model.eval()
    x = torch.randn(2, 3, 9, 9, dtype=torch.float64)
    before = model(x)
    fold_batchnorm(model)
    assert not any(isinstance(m, nn.BatchNorm2d) for m in model.modules())
    torch.testing.assert_close(model(x), before, rtol=0, atol=1e-12)


@pytest.mark.parametrize("p", [0.05, 0.1, 0.5])
def test_dropout_drops_the_right_share_and_keeps_the_mean(p):
    n = 1_000_003
    layer = Dropout(p)
    out = layer(torch.ones(n))
    kept = out != 0
    sigma = (p * (1 - p) / n) ** 0.5
    assert abs((~kept).double().mean().item() - p) < 5 * sigma + 2**-16
    torch.testing.assert_close(out[kept], torch.full_like(out[kept], 1 / (1 - p)))
    # Neighbours that share 64 random bits are dropped independently of each other.
    both = (~kept[:-3] & ~kept[3:]).double().mean().item()
    assert abs(both - p * p) < 5 * p / n**0.5 + 2**-15
    assert torch.equal(layer.eval()(torch.ones(5)), torch.ones(5))


def test_dropout_passes_the_gradient_through_what_it_kept():
    x = torch.randn(7, 5, requires_grad=True)
    out = Dropout(0.5)(x)
    out.sum().backward()
    assert torch.equal(x.grad != 0, out != 0)
    assert torch.equal(x.grad, torch.where(out != 0, 2.0, 0.0))


def test_dropout_repeats_with_the_seed():
    x = torch.ones(100)
    torch.manual_seed(3)
    first = Dropout(0.5)(x)
    torch.manual_seed(3)
    assert torch.equal(Dropout(0.5)(x), first)


def test_heads_must_divide_the_width():
    with pytest.raises(ValueError, match="num_heads 5 .* 24"):
        Attention(24, 5)


@pytest.mark.parametrize("p", [0.0, 1.0])
def test_dropout_at_its_ends(p):
    assert torch.equal(Dropout(p)(torch.ones(9)), torch.full((9,), 1 - p))


def test_silu_overwrites_its_input_only_in_inference_mode():
    layer, x = SiLU(), torch.randn(5)
    before = x.clone()
    with torch.no_grad():
        expected = layer(x)
    assert torch.equal(x, before)
    with torch.inference_mode():
        assert torch.equal(layer(x), expected)
        assert torch.equal(x, expected)


def test_layers_that_cannot_be_built_say_why():
    with pytest.raises(ValueError, match="kernel_size must be odd.* 2"):
        ConvNormAct(3, 4, 2)
    with pytest.raises(ValueError, match="num_heads 0"):
        Attention(8, 0)
