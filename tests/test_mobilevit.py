"""MobileViT is the official function: counts, parity with transformers, receptive field, errors."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from peers import BUILDERS, hf_mobilevit, our_mobilevit
from torch import nn

from mvit_lib import MobileViT, MobileViTBlock, MobileViTConfig, mobilevit_s, mobilevit_xxs
from mvit_lib.mobilevit import XS, XXS, S

# Parameters per stage: the fact sheet of the official code.
STAGES = {
    "xxs": (464, 1_472, 7_696, 139_888, 341_824, 433_440, 26_240, 321_000),
    "xs": (464, 3_968, 54_048, 297_152, 699_152, 840_432, 37_632, 385_000),
    "s": (464, 3_968, 86_528, 656_768, 1_772_032, 2_314_192, 103_680, 641_000),
}
TOTALS = {"xxs": 1_272_024, "xs": 2_317_848, "s": 5_578_632}
BLOCK_PARTS = {
    "xxs": {
        "local_conv": (20_832, 36_992, 57_760),
        "local_project": (3_072, 5_120, 7_680),
        "transformer": (66_944, 208_320, 224_352),
        "norm": (128, 160, 192),
        "project": (3_168, 5_248, 7_840),
        "fusion": (41_568, 73_856, 115_360),
    },
    "s": {
        "local_conv": (83_136, 147_712, 230_720),
        "local_project": (13_824, 24_576, 38_400),
        "transformer": (334_944, 1_188_096, 1_390_320),
        "norm": (288, 384, 480),
        "project": (14_016, 24_832, 38_720),
        "fusion": (166_080, 295_168, 461_120),
    },
}


def parameters(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


@pytest.mark.parametrize("size", BUILDERS)
def test_parameters_per_stage(size):
    model = BUILDERS[size]()
    stages = ("stem", *model.stages, "expand", "classifier")
    assert tuple(parameters(getattr(model, stage)) for stage in stages) == STAGES[size]
    assert parameters(model) == TOTALS[size] == sum(STAGES[size])
    assert sum(isinstance(m, nn.BatchNorm2d) for m in model.modules()) == 32
    assert sum(isinstance(m, nn.LayerNorm) for m in model.modules()) == 21
    assert (len(list(model.parameters())), len(model.state_dict())) == (215, 311)


@pytest.mark.parametrize("size", BLOCK_PARTS)
def test_parameters_of_every_part_of_the_blocks(size):
    model = BUILDERS[size]()
    for part, counts in BLOCK_PARTS[size].items():
        blocks = (model.layer_3[1], model.layer_4[1], model.layer_5[1])
        assert tuple(parameters(getattr(block, part)) for block in blocks) == counts


@pytest.mark.parametrize("shape", [(256, 256), (224, 224), (160, 160), (288, 288), (250, 230)])
@pytest.mark.parametrize("size", BUILDERS)
def test_equals_transformers(size, shape):
    """Logits and all five maps, in float64; transformers takes BGR, we take RGB."""
    theirs, ours = hf_mobilevit(size), our_mobilevit(size)
    x = torch.rand(1, 3, *shape, dtype=torch.float64)
    with torch.no_grad():
        expected = theirs(x.flip(1), output_hidden_states=True)
        features = ours.forward_features(x)
        torch.testing.assert_close(ours(x), expected.logits, rtol=0, atol=1e-12)
    assert list(features) == [f"layer_{i}" for i in range(1, 6)]
    for name, expected_map in zip(features, expected.hidden_states, strict=True):
        torch.testing.assert_close(features[name], expected_map, rtol=0, atol=1e-12)
        channels, stride = ours.feature_info[name]
        assert features[name].shape[1] == channels
        assert features[name].shape[-2:] == tuple(-(-side // stride) for side in shape)


def test_training_gradient_equals_transformers():
    """One step with batch statistics: the whole backward pass is the same function too."""
    theirs, ours = hf_mobilevit("xxs"), our_mobilevit("xxs")
    x, y = torch.rand(2, 3, 64, 96, dtype=torch.float64), torch.tensor([3, 7])
    logits = theirs(x.flip(1)).logits
    expected = torch.autograd.grad(nn.functional.cross_entropy(logits, y), theirs.classifier.weight)
    actual = torch.autograd.grad(nn.functional.cross_entropy(ours(x), y), ours.classifier.weight)
    torch.testing.assert_close(actual, expected, rtol=0, atol=1e-12)


@given(st.integers(32, 130), st.integers(32, 130))
@settings(max_examples=25)
def test_every_input_size_works(height, width):
    with torch.no_grad():
        assert mobilevit_xxs(10).eval()(torch.rand(1, 3, height, width)).shape == (1, 10)


@pytest.mark.slow
def test_every_side_from_32_to_512_works():
    """On the meta device, which has shapes but no numbers: each side once high, once wide."""
    with torch.device("meta"):
        model = mobilevit_xxs(10).eval()
    with torch.no_grad():
        for side in range(32, 513):
            for shape in ((side, 64), (64, side), (side, side)):
                features = model.forward_features(torch.empty(1, 3, *shape, device="meta"))
                for name, (channels, stride) in model.feature_info.items():
                    expected = tuple(-(-s // stride) for s in shape)
                    assert features[name].shape == (1, channels, *expected), shape


@pytest.mark.parametrize("shape", [(512, 512), (511, 33), (32, 500)])
def test_large_and_lopsided_inputs_work(shape):
    model = mobilevit_xxs(10).eval()
    with torch.no_grad():
        assert torch.isfinite(model(torch.rand(1, 3, *shape))).all()


@pytest.mark.parametrize("patches", [(2, 2, 2), (3, 3, 3), (4, 4, 4), (8, 4, 2), ((4, 2), (2, 4), (1, 3))])
def test_patch_sizes_change_no_parameter(patches):
    model = MobileViT(replace(XXS, patch_sizes=patches)).eval()
    assert parameters(model) == TOTALS["xxs"]
    with torch.no_grad():
        assert model(torch.rand(1, 3, 96, 128)).shape == (1, 1000)


def test_patch_size_four_equals_transformers():
    from transformers import MobileViTConfig as HFConfig
    from transformers import MobileViTForImageClassification

    from mvit_lib.layouts import convert_state_dict

    theirs = MobileViTForImageClassification(HFConfig(num_labels=1000, patch_size=4)).double().eval()
    theirs.load_state_dict(hf_mobilevit("s").state_dict())
    ours = MobileViT(replace(S, patch_sizes=(4, 4, 4))).double().eval()
    ours.load_state_dict(convert_state_dict(theirs.state_dict(), "hf"))
    x = torch.rand(1, 3, 160, 128, dtype=torch.float64)
    with torch.no_grad():
        torch.testing.assert_close(ours(x), theirs(x.flip(1)).logits, rtol=0, atol=1e-12)


@pytest.mark.parametrize(("output_stride", "strides"), [(16, (8, 16, 16)), (8, (8, 8, 8))])
def test_output_stride_equals_transformers(output_stride, strides):
    from transformers import MobileViTConfig as HFConfig
    from transformers import MobileViTModel

    from mvit_lib.layouts import convert_state_dict

    config = HFConfig(output_stride=output_stride)
    theirs = MobileViTModel(config, expand_output=False).double().eval()
    weights = {
        name.removeprefix("mobilevit."): t
        for name, t in hf_mobilevit("s").state_dict().items()
        if name.startswith("mobilevit.") and "conv_1x1_exp" not in name
    }
    theirs.load_state_dict(weights)
    ours = mobilevit_s(num_classes=0, output_stride=output_stride).double().eval()
    ours.load_state_dict(convert_state_dict({f"mobilevit.{n}": t for n, t in weights.items()}, "hf"))
    x = torch.rand(1, 3, 128, 96, dtype=torch.float64)
    with torch.no_grad():
        features = ours.forward_features(x)
        expected = theirs(x.flip(1)).last_hidden_state
    torch.testing.assert_close(features["layer_5"], expected, rtol=0, atol=1e-12)
    assert tuple(ours.feature_info[f"layer_{i}"][1] for i in (3, 4, 5)) == strides


def test_backbone_without_classes_returns_the_mean_of_layer_5():
    model = mobilevit_xxs(num_classes=0).eval()
    assert not hasattr(model, "expand")
    assert parameters(model) == 924_784
    x = torch.rand(2, 3, 64, 64)
    assert torch.equal(model(x), model.forward_features(x)["layer_5"].mean((2, 3)))


@pytest.mark.parametrize("size", BUILDERS)
def test_dropouts_are_the_papers(size):
    model = BUILDERS[size]()
    rates = {
        layer.dropout.p for block in (3, 4, 5) for layer in getattr(model, f"layer_{block}")[1].transformer
    }
    assert rates == {0.05 if size == "xxs" else 0.1}
    assert model.dropout.p == 0.1


def test_initialisation_is_the_official_one():
    model = mobilevit_s()
    assert model.layer_3[1].local_conv.conv.weight.std().item() == pytest.approx(0.0481, rel=0.02)
    assert model.layer_2[1].depthwise.conv.weight.std().item() == pytest.approx(0.0295, rel=0.05)
    assert model.layer_5[1].transformer[0].mlp.fc1.weight.std().item() == pytest.approx(0.02, rel=0.02)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d | nn.LayerNorm):
            assert (module.weight == 1).all()
            assert (module.bias == 0).all()
        if isinstance(module, nn.Linear):
            assert (module.bias == 0).all()


def test_a_fresh_network_learns():
    """The trap of near-zero BatchNorm weights would leave the loss where it started."""
    model = mobilevit_xxs(num_classes=4)
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3)
    images, labels = torch.rand(16, 3, 32, 32), torch.arange(16) % 4
    images += labels[:, None, None, None] / 4
    losses = []
    for _ in range(25):
        loss = nn.functional.cross_entropy(model(images), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.3 * losses[0]


@pytest.mark.parametrize("size", BUILDERS)
def test_fuse_gives_a_new_model_with_the_same_logits(size):
    model = BUILDERS[size]()
    model.load_state_dict({n: t.float() for n, t in our_mobilevit(size).state_dict().items()})
    before = {name: t.clone() for name, t in model.state_dict().items()}
    fused = model.fuse()
    assert not any(isinstance(m, nn.BatchNorm2d) for m in fused.modules())
    assert model.training
    assert all(torch.equal(t, before[name]) for name, t in model.state_dict().items())
    x = torch.rand(2, 3, 96, 64)
    with torch.no_grad():
        logits = model.eval()(x)
        scale = logits.abs().max()
        torch.testing.assert_close(fused(x) / scale, logits / scale, rtol=0, atol=1e-5)


def test_maps_stay_channels_last_from_stem_to_pooling():
    model = mobilevit_xxs().eval()
    seen = []
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            module.register_forward_hook(lambda m, i, out: seen.append(out))
    with torch.no_grad():
        model(torch.rand(2, 3, 64, 64))
    assert len(seen) == 35
    assert all(out.is_contiguous(memory_format=torch.channels_last) for out in seen)


def interior_support(offset: int, patch: int, kernel: int, size: int) -> set[int]:
    """Rows of the input that reach a pixel at `offset` in its patch: a convolution, then attention."""
    r = (kernel - 1) // 2
    rows = (range(offset + k * patch - r, offset + k * patch + r + 1) for k in range(size // patch))
    return {row for group in rows for row in group if 0 <= row < size}


def reached(output: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    """[H, W] bool: the pixels of x that move a random projection of `output`."""
    probe = torch.randn(output.shape, dtype=output.dtype)
    (gradient,) = torch.autograd.grad((output * probe).sum(), x, retain_graph=True)
    return gradient[0].abs().sum(0) > 0


@pytest.mark.parametrize("patch", [2, 3, 4, 8])
def test_receptive_field_is_the_closed_form(patch):
    """Every pixel sees every pixel exactly if h <= (n + 1) / 2, with n = 3."""
    size, shares = 24, []
    block = MobileViTBlock(4, 8, 1, patch_size=patch).double().eval()
    x = torch.randn(1, 4, size, size, dtype=torch.float64, requires_grad=True)
    seen_globally = block.attend_globally(block.local_project(block.local_conv(x)))
    for i in range(patch):
        for j in range(patch):
            rows = interior_support(i, patch, 3, size)
            columns = interior_support(j, patch, 3, size)
            expected = torch.zeros(size, size, dtype=torch.bool)
            expected[torch.tensor(sorted(rows))[:, None], torch.tensor(sorted(columns))] = True
            # A patch away from the border: the support does not depend on which patch it is.
            pixel = seen_globally[0, :, size // patch // 2 * patch + i, patch + j]
            assert torch.equal(reached(pixel, x), expected)
            shares.append(expected.float().mean().item())
    published = {
        2: (1, 1, 1),
        3: (0.9184, 0.9452, 1),
        4: (0.5017, 0.5317, 0.5625),
        8: (0.1111, 0.1329, 0.1406),
    }
    found = (min(shares), sum(shares) / len(shares), max(shares))
    assert found == pytest.approx(published[patch], abs=6e-5)
    assert (min(shares) == 1) == (patch <= 2)


def test_attention_mixes_only_equal_places_and_ignores_their_order():
    block = MobileViTBlock(4, 8, 2, patch_size=2).double().eval()
    tokens = torch.randn(1, 4, 9, 8, dtype=torch.float64)

    def attend(t):
        return block.norm(block.transformer(t.flatten(0, 1))).view_as(t)

    out = attend(tokens)
    changed = tokens.clone()
    changed[:, 1:] += 1
    assert torch.equal(attend(changed)[:, 0], out[:, 0])
    order = torch.randperm(9)
    torch.testing.assert_close(attend(tokens[:, :, order]), out[:, :, order], rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    ("images", "error", "words"),
    [
        (torch.zeros(3, 64, 64), ValueError, r"\(3, 64, 64\).*x\[None\]"),
        (torch.zeros(1, 4, 64, 64), ValueError, "3 channels.*4"),
        (torch.zeros(1, 3, 64, 64, dtype=torch.uint8), TypeError, "torch.uint8.*255"),
        (torch.zeros(1, 3, 31, 64), ValueError, "31 × 64.*32 × 32"),
    ],
)
def test_bad_images_are_named(images, error, words):
    with pytest.raises(error, match=words):
        mobilevit_xxs().eval()(images)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"dropout": float("nan")}, "dropout=nan"),
        ({"dropout": 1.0}, "dropout=1.0.*probability"),
        ({"expansion": float("inf")}, "expansion=inf"),
        ({"mlp_ratio": -1}, "mlp_ratio=-1"),
        ({"patch_sizes": (2, 0, 2)}, r"patch_sizes=\(2, 0, 2\)"),
        ({"patch_sizes": 2}, "patch_sizes=2.*tuple of 3"),
        ({"channels": (16, 32)}, r"channels=\(16, 32\).*6"),
        ({"depths": (2, "4", 3)}, "depths="),
        ({"depths": (1.5, 2, 3)}, "depths=.*whole numbers, at least 1"),
        ({"num_classes": True}, "num_classes=True"),
        ({"num_heads": 0}, "num_heads=0"),
        ({"num_heads": 5}, r"num_heads=5 does not divide each of dims=\(144"),
        ({"dims": (144, 192, (1, 2))}, "dims="),
        ({"kernel_size": 2}, "kernel_size=2: expected an odd number"),
        ({"patch_sizes": (2, 2.0, 2)}, "patch_sizes="),
        ({"output_stride": 4}, "output_stride=4"),
        ({"num_classes": -1}, "num_classes=-1"),
    ],
)
def test_bad_configurations_are_named(change, words):
    with pytest.raises(ValueError, match=words):
        MobileViTConfig(**change)


def test_bad_blocks_are_named():
    with pytest.raises(ValueError, match="kernel_size must be odd.*2"):
        MobileViTBlock(8, 16, 1, kernel_size=2)
    with pytest.raises(ValueError, match="num_heads 4 .*18"):
        MobileViTBlock(8, 18, 1)
    with pytest.raises(ValueError, match="patch_size"):
        MobileViTBlock(8, 16, 1, patch_size=0)


def test_configurations_are_the_papers_table():
    assert XXS.channels == (16, 16, 24, 48, 64, 80)
    assert XS.dims == (96, 120, 144)
    assert S.depths == (2, 4, 3)
    assert S.patch_sizes == ((2, 2), (2, 2), (2, 2))


@pytest.mark.parametrize("training", [False, True])
def test_compiles_in_one_graph(training):
    model = mobilevit_xxs(5).train(training)
    compiled = torch.compile(model, fullgraph=True, backend="aot_eager")
    x = torch.rand(2, 3, 64, 64)
    if training:
        assert torch.isfinite(compiled(x)).all()
    else:
        with torch.no_grad():
            torch.testing.assert_close(compiled(x), model(x), rtol=0, atol=1e-5)


def test_exports_with_a_free_batch_size():
    model = mobilevit_xxs(5).eval()
    batch = {0: torch.export.Dim("batch", min=1, max=64)}
    program = torch.export.export(model, (torch.rand(2, 3, 64, 64),), dynamic_shapes=(batch,))
    x = torch.rand(7, 3, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(program.module()(x), model(x), rtol=0, atol=1e-5)


def test_no_numpy_array_by_mistake():
    with pytest.raises(TypeError, match="expected a tensor.*ndarray"):
        mobilevit_xxs()(torch.zeros(1, 3, 32, 32).numpy())
