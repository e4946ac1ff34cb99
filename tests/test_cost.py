"""Closed forms, PyTorch's counter on the meta device, and the counter on transformers' eager network."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from peers import BUILDERS, hf_mobilevit
from torch import nn
from torch.utils.flop_counter import FlopCounterMode
from torchinfo import summary

from mvit_lib import MobileNetV2, MobileViT, MobileViTBlock, ViT, ViTConfig, mobilevit_s, mobilevit_xxs
from mvit_lib.cost import (
    Cost,
    count_macs,
    count_parameters,
    macs_by_module,
    mobilevit_attention_macs,
    mobilevit_cost,
    vit_attention_macs,
    vit_cost,
)
from mvit_lib.layers import Attention
from mvit_lib.mobilevit import XS, XXS, S
from mvit_lib.vit import DEIT_TI

CONFIGS = {"xxs": XXS, "xs": XS, "s": S}
# MACs at 256 × 256 per stage: stem, layer_1 … layer_5, expand, classifier.
STAGES = {
    "xxs": (7_077_888, 21_495_808, 35_127_296, 211_730_432, 100_360_192, 29_614_080, 1_638_400, 320_000),
    "xs": (7_077_888, 59_768_832, 262_144_000, 429_588_480, 205_455_360, 59_133_952, 2_359_296, 384_000),
    "s": (7_077_888, 59_768_832, 392_691_712, 868_483_072, 504_201_216, 161_415_168, 6_553_600, 640_000),
}
TOTALS = {"xxs": 407_364_096, "xs": 1_025_911_808, "s": 2_000_831_488}
ATTENTION = {"xxs": 78_184_448, "xs": 117_276_672, "s": 177_635_328}


@pytest.mark.parametrize("size", BUILDERS)
def test_macs_at_256_are_the_known_ones(size):
    macs = macs_by_module(BUILDERS[size](), 256)
    stages = ("stem", "layer_1", "layer_2", "layer_3", "layer_4", "layer_5", "expand", "classifier")
    assert tuple(macs[stage] for stage in stages) == STAGES[size]
    assert macs[""] == TOTALS[size] == sum(STAGES[size])


@pytest.mark.parametrize("size", BUILDERS)
def test_attention_share_at_256(size):
    config = CONFIGS[size]
    grids = ((256, 0), (64, 1), (16, 2))
    total = sum(config.depths[i] * mobilevit_attention_macs(N, 4, config.dims[i]) for N, i in grids)
    assert total == ATTENTION[size]


@pytest.mark.parametrize("pixels", [160, 192, 224, 288, 320, 512])
@pytest.mark.parametrize("size", BUILDERS)
def test_macs_at_other_sizes_equal_the_counter_on_transformers(size, pixels):
    theirs = hf_mobilevit(size)
    counter = FlopCounterMode(display=False)
    with torch.device("meta"):
        ghost = type(theirs)(theirs.config).eval()
    with torch.no_grad(), counter:
        ghost(torch.empty(1, 3, pixels, pixels, device="meta"))
    expected = counter.get_total_flops() // 2
    assert count_macs(BUILDERS[size](), pixels) == expected
    assert sum(mobilevit_cost(CONFIGS[size], pixels).values(), Cost()).macs == expected


@given(
    st.sampled_from([XXS, XS, S]),
    st.tuples(st.integers(32, 300), st.integers(32, 300)),
    st.sampled_from([8, 16, 32]),
    st.sampled_from([0, 10, 1000]),
    st.tuples(*[st.sampled_from([1, 2, 3, 4, (2, 3), (8, 4)])] * 3),
)
@settings(max_examples=15)
def test_every_part_by_formula_equals_every_part_counted(config, size, stride, classes, patches):
    config = replace(config, output_stride=stride, num_classes=classes, patch_sizes=patches)
    with torch.device("meta"):
        model = MobileViT(config)
    macs = macs_by_module(model, size)
    for name, cost in mobilevit_cost(config, size).items():
        assert cost.parameters == count_parameters(model.get_submodule(name)), name
        assert cost.macs == macs.get(name, 0), name
    total = sum(mobilevit_cost(config, size).values(), Cost())
    assert total == Cost(count_parameters(model), macs[""])


@pytest.mark.parametrize(
    "config", [DEIT_TI, ViTConfig((64, 96), (8, 16), dim=48, depth=2, mlp_ratio=2, num_classes=0)]
)
def test_vit_by_formula_equals_vit_counted(config):
    model = ViT(config)
    macs = macs_by_module(model, config.image_size)
    total = sum(vit_cost(config).values(), Cost())
    assert total == Cost(count_parameters(model), macs[""])
    assert vit_cost(config)["transformer"].macs == macs["transformer"]


def test_attention_products_are_what_the_formula_says():
    """Counted on the bare attention layer: its MACs less those of its linear layers."""
    macs = macs_by_module(ViT(ViTConfig(image_size=64, patch_size=8, dim=24, depth=1)), 64)
    name = "transformer.0.attention"
    assert macs[name] - macs[f"{name}.qkv"] - macs[f"{name}.proj"] == vit_attention_macs(65, 24)


def test_cost_per_patch_size():
    """The paper calls the costs of (2,2,2) and (8,4,2) equal; they are not."""
    totals = {
        p: sum(mobilevit_cost(replace(S, patch_sizes=p)).values(), Cost()).macs
        for p in ((2, 2, 2), (8, 4, 2))
    }
    assert totals == {(2, 2, 2): 2_000_831_488, (8, 4, 2): pytest.approx(1.8404e9, rel=1e-4)}


def test_counting_leaves_the_model_as_it_was():
    model = mobilevit_xxs()
    count_macs(model, 64)
    assert model.training
    assert next(model.parameters()).device.type == "cpu"
    assert not any("mix" in vars(m) for m in model.modules() if isinstance(m, Attention))


def test_torchinfo_agrees_on_parameters():
    for model in (mobilevit_s(), MobileNetV2()):
        info = summary(model, (1, 3, 256, 256), verbose=0)
        assert info.total_params == count_parameters(model)


def test_a_shared_parameter_counts_once():
    layer = nn.Linear(3, 4)
    assert count_parameters(nn.Sequential(layer, layer)) == 16
    assert count_parameters(MobileViTBlock(48, 64, 2)) == 135_712
