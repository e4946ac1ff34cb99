"""Recording attention: the right numbers, the right geometry, and nothing left behind."""

import copy
import gc
import pickle
import weakref

import pytest
import torch
from peers import hf_mobilevit, our_mobilevit
from torch import nn

from mvit_lib import MobileNetV2, MobileViT, MobileViTBlock, ViT, ViTConfig, mobilevit_xxs
from mvit_lib.attention import record_attention
from mvit_lib.cost import count_macs
from mvit_lib.mobilevit import MobileViTConfig

TINY = MobileViTConfig(channels=(8,) * 6, dims=(8, 16, 24), depths=(1, 2, 1), num_classes=5)


def hooks_and_mixes(model: nn.Module) -> int:
    return sum(len(m._forward_pre_hooks) + ("mix" in vars(m)) for m in model.modules())


def test_weights_equal_those_inside_transformers():
    theirs, ours = hf_mobilevit("xxs"), our_mobilevit("xxs")
    expected, handles = [], []
    for name, module in theirs.named_modules():
        if name.endswith("attention.attention.dropout"):
            hook = module.register_forward_pre_hook(lambda m, inputs: expected.append(inputs[0]))
            handles.append(hook)
    x = torch.rand(2, 3, 160, 96, dtype=torch.float64)
    with torch.no_grad(), record_attention(ours) as maps:
        logits = ours(x)
        theirs(x.flip(1))
    for handle in handles:
        handle.remove()
    assert len(maps) == len(expected) == 9
    for ours_map, weights in zip(maps, expected, strict=True):
        torch.testing.assert_close(ours_map.weights.flatten(0, 1), weights, rtol=0, atol=1e-12)
    with torch.no_grad():
        torch.testing.assert_close(ours(x), logits, rtol=0, atol=1e-12)


def test_geometry_of_an_odd_image():
    model = mobilevit_xxs().eval()
    x = torch.rand(2, 3, 250, 230)
    with torch.no_grad():
        plain = model(x)
        with record_attention(model) as maps:
            torch.testing.assert_close(model(x), plain, rtol=0, atol=1e-6)
    assert [(m.stage, m.layer) for m in maps] == [
        *(("layer_3", i) for i in range(2)),
        *(("layer_4", i) for i in range(4)),
        *(("layer_5", i) for i in range(3)),
    ]
    assert [m.map_size for m in maps[::4]] == [(32, 29), (16, 15), (8, 8)]
    assert [m.grid for m in maps[::4]] == [(16, 15), (8, 8), (4, 4)]
    assert [m.stride for m in maps[::4]] == [8, 16, 32]
    for m in maps:
        N = m.grid[0] * m.grid[1]
        assert m.weights.shape == (2, 4, 4, N, N)
        assert (m.image_size, m.kernel_size) == ((250, 230), 3)
        torch.testing.assert_close(m.weights.sum(-1), torch.ones(2, 4, 4, N), rtol=0, atol=1e-5)
        assert not m.weights.requires_grad


def test_a_new_forward_clears_the_list_and_leaving_keeps_the_last():
    model = MobileViT(TINY).eval()
    with torch.no_grad(), record_attention(model) as maps:
        model(torch.rand(1, 3, 32, 32))
        model(torch.rand(3, 3, 64, 32))
    assert len(maps) == 4
    assert maps[0].weights.shape[0] == 3
    with torch.no_grad():
        model(torch.rand(1, 3, 32, 32))
    assert maps[0].weights.shape[0] == 3


def test_nothing_is_left_behind_also_after_an_exception():
    model = MobileViT(TINY).eval()
    with pytest.raises(ZeroDivisionError), record_attention(model) as maps:
        model(torch.rand(1, 3, 32, 32))
        _ = 1 / 0
    assert hooks_and_mixes(model) == 0
    weights = weakref.ref(maps[0].weights)
    del maps
    gc.collect()
    assert weights() is None


def test_gradients_only_when_asked_for():
    model = MobileViT(TINY)
    x = torch.rand(1, 3, 64, 64)
    with record_attention(model, keep_grad=True) as maps:
        model(x)[0, 2].backward()
    for m in maps:
        assert m.weights.grad.shape == m.weights.shape
        assert m.weights.grad.any()


def test_gradient_of_the_weights_is_the_derivative():
    """Against a finite difference through one softmax weight."""
    block = MobileViTBlock(4, 8, 1, num_heads=2, dropout=0).double().eval()
    x = torch.randn(1, 4, 4, 4, dtype=torch.float64)
    with record_attention(block, keep_grad=True) as maps:
        block(x).square().sum().backward()
    (m,) = maps
    weights, gradient = m.weights.detach(), m.weights.grad

    def loss(nudge: float) -> float:
        changed = weights.flatten(0, 1).clone()
        changed[1, 0, 2, 3] += nudge
        block.transformer[0].attention.mix = lambda q, k, v: changed @ v
        value = block(x).square().sum().item()
        del block.transformer[0].attention.mix
        return value

    slope = (loss(1e-6) - loss(-1e-6)) / 2e-6
    assert gradient[0, 1, 0, 2, 3].item() == pytest.approx(slope, rel=1e-6, abs=1e-8)


def test_vit_has_one_sequence_and_a_class_token():
    model = ViT(ViTConfig(image_size=(32, 48), patch_size=16, dim=12, depth=2, num_classes=3)).eval()
    with torch.no_grad(), record_attention(model) as maps:
        model(torch.rand(2, 3, 32, 48))
    assert len(maps) == 2
    assert maps[0].weights.shape == (2, 1, 3, 7, 7)
    assert (maps[0].grid, maps[0].patch_size, maps[0].num_prefix) == ((2, 3), (16, 16), 1)
    assert (maps[0].map_size, maps[0].stride, maps[1].layer) == ((32, 48), 1, 1)


def test_a_learners_own_network_with_a_block_in_it():
    model = nn.Sequential(nn.Conv2d(3, 8, 3, stride=2, padding=1), MobileViTBlock(8, 8, 1)).eval()
    with torch.no_grad(), record_attention(model) as maps:
        model(torch.rand(1, 3, 20, 12))
    assert (maps[0].stage, maps[0].map_size, maps[0].grid, maps[0].stride) == ("1", (10, 6), (5, 3), 2)


def test_fused_models_are_recorded():
    model = MobileViT(TINY).eval()
    x = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        with record_attention(model) as plain:
            model(x)
        fused_model = model.fuse()
        with record_attention(fused_model) as fused:
            fused_model(x)
    for a, b in zip(plain, fused, strict=True):
        torch.testing.assert_close(a.weights, b.weights, rtol=0, atol=1e-5)


@pytest.mark.parametrize("in_place", [False, True])
def test_compiled_models_are_recorded(in_place):
    model = MobileViT(TINY).eval()
    x = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        with record_attention(model) as expected:
            model(x)
        if in_place:
            model.compile(backend="eager")
            compiled = model
        else:
            compiled = torch.compile(model, backend="eager")
        before = compiled(x)
        with record_attention(compiled) as maps:
            torch.testing.assert_close(compiled(x), before, rtol=0, atol=1e-6)
        assert [m.stage for m in maps] == [m.stage for m in expected]
        assert [m.stride for m in maps] == [m.stride for m in expected]
        assert all(torch.equal(a.weights, b.weights) for a, b in zip(maps, expected, strict=True))
        torch.testing.assert_close(compiled(x), before, rtol=0, atol=0)


def test_what_cannot_be_recorded_is_named():
    with pytest.raises(ValueError, match="MobileNetV2"), record_attention(MobileNetV2(num_classes=2)):
        pass
    model = MobileViT(TINY)
    with record_attention(model):
        with pytest.raises(RuntimeError, match="already"), record_attention(model):
            pass
        assert hooks_and_mixes(model) > 0
    assert hooks_and_mixes(model) == 0


def test_every_way_of_calling_the_network_is_recorded():
    model = MobileViT(TINY).eval()
    x, wide = torch.rand(1, 3, 32, 32), torch.rand(2, 3, 32, 64)

    class Head(nn.Module):
        def __init__(self):
            super().__init__()
            self.backbone = model

        def forward(self, batch):
            return self.backbone.forward_features(batch["image"])["layer_5"]

    with torch.no_grad(), record_attention(model) as maps:
        model(x=x)
        assert [m.image_size for m in maps] == [(32, 32)] * 4
        model.forward_features(wide)
        assert [m.image_size for m in maps] == [(32, 64)] * 4
        assert model(torch.rand(0, 3, 32, 32)).shape == (0, 5)
    with torch.no_grad(), record_attention(Head()) as maps:
        Head()({"image": wide})
    assert [(m.stage, m.stride) for m in maps] == [("layer_3", 8), *[("layer_4", 16)] * 2, ("layer_5", 32)]
    block = MobileViTBlock(4, 8, 1)
    with torch.no_grad(), record_attention(block) as maps:
        block(x=torch.rand(1, 4, 6, 4))
    assert maps[0].grid == (3, 2)


def test_copies_made_inside_the_context_are_free_of_it():
    model = MobileViT(TINY).eval()
    x = torch.rand(1, 3, 32, 32)
    with torch.no_grad(), record_attention(model) as maps:
        model(x)
        copies = [copy.deepcopy(model), pickle.loads(pickle.dumps(model)), model.fuse()]
        count_macs(model, 32)
        assert len(maps) == 4
    with torch.no_grad():
        for twin in copies:
            torch.testing.assert_close(twin(x), model(x), rtol=0, atol=1e-5)
            with record_attention(twin) as fresh:
                twin(x)
            assert len(fresh) == len(maps) == 4


def test_two_backbones_keep_their_names_apart():
    pair = nn.ModuleDict({"a": MobileViT(TINY), "b": MobileViT(TINY)}).eval()
    with torch.no_grad(), record_attention(pair) as maps:
        for model in pair.values():
            model(torch.rand(1, 3, 32, 32))
    assert [m.stage for m in maps][-1] == "b.layer_5"


def test_keep_grad_without_gradients_says_so():
    model = MobileViT(TINY)
    with (
        torch.no_grad(),
        record_attention(model, keep_grad=True),
        pytest.raises(RuntimeError, match="keep_grad"),
    ):
        model(torch.rand(1, 3, 32, 32))


def test_maps_can_be_looked_for_in_a_list():
    model = MobileViT(TINY).eval()
    with torch.no_grad(), record_attention(model) as maps:
        model(torch.rand(1, 3, 32, 32))
    assert maps[1] in maps
    assert maps[0] != maps[1]
