"""ViT against transformers, and DeiT's published sizes."""

import pytest
import torch
from peers import randomise
from safetensors.torch import load_file
from transformers import ViTConfig as HFConfig
from transformers import ViTForImageClassification

from mvit_lib import ViT, ViTConfig
from mvit_lib.layouts import convert_state_dict
from mvit_lib.patches import patchify
from mvit_lib.vit import DEIT_B, DEIT_S, DEIT_TI


@pytest.mark.parametrize(
    ("config", "count"), [(DEIT_TI, 5_717_416), (DEIT_S, 22_050_664), (DEIT_B, 86_567_656)]
)
def test_parameters_are_deits(config, count):
    with torch.device("meta"):
        assert sum(p.numel() for p in ViT(config).parameters()) == count


@pytest.mark.parametrize(("image_size", "patch_size", "heads"), [(64, 16, 3), ((48, 80), (16, 8), 4)])
def test_equals_transformers(image_size, patch_size, heads):
    ours = ViT(ViTConfig(image_size, patch_size, dim=48, depth=3, num_heads=heads, num_classes=11)).double()
    theirs = ViTForImageClassification(
        HFConfig(
            image_size=image_size,
            patch_size=patch_size,
            hidden_size=48,
            num_hidden_layers=3,
            num_attention_heads=heads,
            intermediate_size=192,
            layer_norm_eps=1e-6,
            num_labels=11,
        )
    ).double()
    randomise(theirs)
    ours.load_state_dict(convert_state_dict(theirs.state_dict(), "hf"))
    ours.eval(), theirs.eval()
    x = torch.rand(2, 3, *ours.config.image_size, dtype=torch.float64)
    with torch.no_grad():
        torch.testing.assert_close(ours(x), theirs(x).logits, rtol=0, atol=1e-12)
    back = convert_state_dict(ours.state_dict(), "mvit", "hf")
    assert back.keys() == theirs.state_dict().keys()
    assert all(torch.equal(t, back[name]) for name, t in theirs.state_dict().items())


def test_the_patch_convolution_is_a_linear_layer_on_patchified_pixels():
    layer = ViT(ViTConfig(image_size=32, patch_size=8, dim=12, depth=1)).patch_embedding.double()
    x = torch.rand(2, 3, 32, 32, dtype=torch.float64)
    matrix = layer.weight.permute(0, 2, 3, 1).flatten(1)  # [D, P·C]
    expected = patchify(x, 8) @ matrix.T + layer.bias
    torch.testing.assert_close(layer(x).flatten(2).mT, expected, rtol=0, atol=1e-12)


def test_without_classes_the_class_token_comes_out():
    model = ViT(ViTConfig(image_size=32, dim=24, depth=1, num_classes=0)).eval()
    x = torch.rand(2, 3, 32, 32)
    assert torch.equal(model(x), model.forward_tokens(x)[:, 0])


def test_bad_input_is_named():
    with pytest.raises(ValueError, match=r"\(224, 224\).*\(192, 224\)"):
        ViT(DEIT_TI)(torch.rand(1, 3, 192, 224))
    with pytest.raises(ValueError, match=r"patch_size=\(15, 15\)"):
        ViTConfig(patch_size=15)
    with pytest.raises(ValueError, match="depth=nan"):
        ViTConfig(depth=float("nan"))
    with pytest.raises(TypeError, match=r"torch\.int64"):
        ViT(DEIT_TI)(torch.zeros(1, 3, 224, 224, dtype=torch.int64))


def test_files_of_transformers_convert_too(tmp_path):
    """Files carry older names than the network in memory."""
    theirs = ViTForImageClassification(
        HFConfig(
            image_size=32, hidden_size=24, num_hidden_layers=2, num_attention_heads=3, intermediate_size=96
        )
    )
    theirs.save_pretrained(tmp_path)
    from_file = convert_state_dict(load_file(tmp_path / "model.safetensors"), "hf")
    from_memory = convert_state_dict(theirs.state_dict(), "hf")
    assert from_file.keys() == from_memory.keys()
    assert all(torch.equal(t, from_memory[name]) for name, t in from_file.items())
