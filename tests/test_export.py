"""Exported networks answer as torch does, in their own runtimes; without the extra these tests skip."""

import importlib

import numpy as np
import pytest
import torch
from tiny import tiny_model
from torch import nn

from mvit_lib import MobileNetV2, MobileViT, ViT, ViTConfig, mobilevit_xxs
from mvit_lib.export import (
    ConversionError,
    check_export,
    load_exported,
    read_coreml,
    to_coreml,
    to_executorch,
    to_onnx,
)
from mvit_lib.export import __main__ as cli
from mvit_lib.export.network import FromImage, FromPixels, calibration_images, to_pixels, zoo_images
from mvit_lib.export.rewrite import (
    ChannelBlock,
    ChannelNorm,
    ProductNorm,
    ProductSiLU,
    SplitAttention,
    for_neural_engine,
    for_xnnpack,
)
from mvit_lib.heads import DeepLabV3, SSDLite
from mvit_lib.layers import Attention
from mvit_lib.mobilevit import MobileViTBlock, MobileViTConfig
from mvit_lib.weights import save_weights

SIZE = (64, 48)
TASKS = ("classify", "detect", "segment")


def tiny(task):
    """A network for the task whose BatchNorms have something to fold."""
    torch.manual_seed(0)
    stride = 16 if task == "segment" else 32
    backbone = MobileViT(
        MobileViTConfig(
            channels=(8, 8, 8, 8, 8, 8), dims=(8, 8, 8), depths=(1, 1, 1), num_heads=2, expansion=2,
            num_classes=5 if task == "classify" else 0, output_stride=stride,
        )
    )  # fmt: skip
    heads = {"classify": lambda b: b, "detect": lambda b: SSDLite(b, 4), "segment": lambda b: DeepLabV3(b, 4)}
    model = heads[task](backbone).eval()
    for norm in model.modules():
        if isinstance(norm, nn.BatchNorm2d):
            norm.running_mean.uniform_(-0.5, 0.5)
            norm.running_var.uniform_(0.5, 2)
    return model


def noise(count=50, size=SIZE):
    draw = np.random.default_rng(0)
    return [draw.integers(0, 256, (1, *size, 3), dtype=np.uint8) for _ in range(count)]


def needs(*modules):
    for module in modules:
        pytest.importorskip(module, reason=f"needs {module}: pip install 'mvit_lib[export]'")


# What is exported


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("rewrite", [for_xnnpack, for_neural_engine])
def test_rewritten_networks_answer_alike(task, rewrite):
    model = tiny(task)
    network, plain = FromPixels(model, SIZE), FromPixels(model, SIZE)
    rewrite(network)
    for pixels in noise(3):
        for a, b in zip(plain(torch.from_numpy(pixels)), network(torch.from_numpy(pixels)), strict=True):
            torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-5)


def test_pixels_are_what_the_network_sees():
    model = tiny("classify")
    (pixels,) = noise(1)
    image = torch.from_numpy(pixels).permute(0, 3, 1, 2) / 255  # [1, 3, H, W]
    with torch.no_grad():
        expected = model(image)
    for answer in (FromPixels(model, SIZE)(torch.from_numpy(pixels)), FromImage(model, SIZE)(image)):
        torch.testing.assert_close(answer[0], expected, rtol=1e-4, atol=1e-5)
    assert not model.is_fused
    assert (to_pixels(image[0]) == pixels).all()


def test_boxes_and_probabilities_are_those_that_find_chooses_among():
    model = tiny("detect")
    (pixels,) = noise(1)
    boxes, scores = FromPixels(model, SIZE)(torch.from_numpy(pixels))
    assert boxes.shape[1] == scores.shape[1] and scores.shape[2] == 4
    torch.testing.assert_close(scores.sum(-1), torch.ones(1, scores.shape[1]))
    image = torch.from_numpy(pixels).permute(0, 3, 1, 2) / 255  # [1, 3, H, W]
    found = model.find(image)[0]
    limits = torch.tensor([SIZE[1], SIZE[0]] * 2)
    inside = boxes[0].clamp(min=0).minimum(limits)  # [A, 4]
    nearest = (found.boxes[:, None] - inside).abs().amax(-1).min(1).values
    assert len(found.boxes) and nearest.max() < 1e-3


def test_each_brick_is_the_one_it_replaces():
    x = torch.randn(3, 12, 8)
    attention, norm = Attention(8, 2), nn.LayerNorm(8)
    nn.init.normal_(norm.weight)
    nn.init.normal_(norm.bias)
    torch.testing.assert_close(SplitAttention(attention)(x), attention(x))
    torch.testing.assert_close(ProductNorm(norm)(x), norm(x))
    torch.testing.assert_close(ProductSiLU()(x), nn.SiLU()(x))
    tokens = x.transpose(1, 2)[:, :, None]  # [P, D, 1, N]
    torch.testing.assert_close(ChannelNorm(norm)(tokens)[:, :, 0].transpose(1, 2), norm(x))


@pytest.mark.parametrize(
    ("patch", "size"), [((2, 2), (8, 6)), ((4, 2), (8, 8)), ((3, 2), (7, 5)), ((2, 2), (1, 1))]
)
def test_the_block_with_channels_second_is_the_block(patch, size):
    block = MobileViTBlock(6, 8, 2, patch_size=patch, num_heads=2).eval()
    x = torch.randn(1, 6, *size)
    torch.testing.assert_close(ChannelBlock(block)(x), block(x), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"precision": "float8"}, "precision='float8'"),
        ({"size": 0}, "size must be at least 1"),
        ({"model": tiny_model(0)}, "num_classes=0"),
    ],
)
def test_wrong_arguments_are_named(change, error, tmp_path):
    arguments = {"model": tiny("classify"), "path": tmp_path / "x.mlpackage"} | change
    for export in (to_onnx, to_coreml, to_executorch):
        with pytest.raises(ValueError, match=error):
            export(**arguments)
    with pytest.raises(TypeError, match="Linear"):
        to_onnx(nn.Linear(1, 1), tmp_path / "x.onnx")


def test_calibration_takes_pictures_of_the_size_only():
    assert calibration_images([np.zeros((*SIZE, 3), np.uint8)], SIZE)[0].shape == (1, *SIZE, 3)
    with pytest.raises(ValueError, match=r"\(1, 8, 8, 3\): expected \(1, 64, 48, 3\)"):
        calibration_images([np.zeros((8, 8, 3), np.uint8)], SIZE)
    with pytest.raises(TypeError, match="float64: expected uint8"):
        calibration_images([np.zeros((*SIZE, 3))], SIZE)
    with pytest.raises(ValueError, match="cannot run x.mlpackage here"):
        load_exported("x.mlpackage")


def test_a_missing_extra_is_said(monkeypatch, tmp_path):
    monkeypatch.setitem(importlib.sys.modules, "coremltools", None)
    with pytest.raises(ModuleNotFoundError, match="pip install 'mvit_lib\\[export\\]'"):
        to_coreml(tiny("classify"), tmp_path / "x.mlpackage", SIZE)


# ONNX


@pytest.mark.parametrize("task", TASKS)
def test_onnx_answers_as_torch(task, tmp_path):
    needs("onnx", "onnxscript", "onnxruntime")
    model = tiny(task)
    path = to_onnx(model, tmp_path / "x.onnx", SIZE)
    agreement = check_export(model, path, noise())
    assert agreement.images == 50 and agreement.error <= 1e-4 and agreement.same == 1


def test_onnx_carries_classes_and_no_path_of_this_machine(tmp_path):
    needs("onnx", "onnxscript", "onnxruntime")
    import onnx

    model = tiny("classify")
    model.classes = ("a", "b", "c", "d", "e")
    path = to_onnx(model, tmp_path / "x.onnx", SIZE)
    assert {p.key: p.value for p in onnx.load(path).metadata_props}["classes"] == "a\nb\nc\nd\ne"
    assert b".py" not in path.read_bytes()


@pytest.mark.parametrize(("precision", "error"), [("float16", 0.02), ("int8", 0.2)])
def test_onnx_in_less_precision_is_smaller_and_close(precision, error, tmp_path):
    needs("onnx", "onnxscript", "onnxruntime")
    model = MobileNetV2(5).eval()
    exact = to_onnx(model, tmp_path / "x.onnx", SIZE)
    small = to_onnx(model, tmp_path / "y.onnx", SIZE, precision, noise(4))
    assert small.stat().st_size < 0.8 * exact.stat().st_size
    assert check_export(model, small, noise(8)).error < error


def test_int8_without_images_measures_on_the_zoo(tmp_path):
    needs("onnx", "onnxscript", "onnxruntime", "skimage")
    assert len(zoo_images(SIZE, 2, "test")) == 2
    model = tiny("classify")
    path = to_onnx(model, tmp_path / "x.onnx", SIZE, "int8")
    assert check_export(model, path, zoo_images(SIZE, 3)).images == 3


# Core ML


def test_coreml_programs_are_lean(tmp_path):
    needs("coremltools")
    model = mobilevit_xxs(10).eval()
    program = read_coreml(to_coreml(model, tmp_path / "x.mlpackage", 128, "float16"))
    assert program.inputs == {"image": (128, 128)} and program.outputs == {"logits": (1, 10)}
    assert program.most_axes <= 5  # Core ML has no tensors of more
    counts = program.operators
    # Unfold and fold in three blocks; attention needs no transposition of its own.
    assert counts["transpose"] == 6
    assert counts["layer_norm"] == 9 * 2 + 3 and counts["softmax"] == 9 and counts["matmul"] == 18
    assert counts["conv"] == 35 + 9 * 6


@pytest.mark.parametrize("task", TASKS)
def test_coreml_has_the_answers_of_the_task(task, tmp_path):
    needs("coremltools")
    program = read_coreml(to_coreml(tiny(task), tmp_path / "x.mlpackage", SIZE, "int8"))
    anchors = FromPixels(tiny("detect"), SIZE).anchors.shape[0]
    expected = {
        "classify": {"logits": (1, 5)},
        "detect": {"boxes": (1, anchors, 4), "scores": (1, anchors, 4)},
        "segment": {"logits": (1, 4, *SIZE)},
    }
    assert program.inputs == {"image": SIZE} and program.outputs == expected[task]
    with pytest.raises(ValueError, match="ends in .mlpackage"):
        to_coreml(tiny(task), tmp_path / "x.onnx", SIZE)


# ExecuTorch


@pytest.mark.parametrize("task", TASKS)
def test_executorch_answers_as_torch(task, tmp_path):
    needs("executorch.exir", "executorch.runtime")
    model = tiny(task)
    path = to_executorch(model, tmp_path / "x.pte", SIZE)
    agreement = check_export(model, path, noise())
    assert agreement.images == 50 and agreement.error <= 1e-4 and agreement.same == 1


def test_executorch_int8_rounds_convolutions_and_nothing_it_must_not(tmp_path):
    needs("executorch.exir", "executorch.runtime", "torchao")
    from mvit_lib.export.executorch import quantized

    model = tiny("detect")
    network = FromPixels(model, SIZE)
    for_xnnpack(network)
    graph = quantized(network, noise(4))
    rounded = [node for node in graph.graph.nodes if "dequantize_per_channel" in str(node.target)]
    around = [str(n.meta["nn_module_stack"]) for node in rounded for n in node.users]
    assert any("attention" in modules for modules in around)
    assert not any(name in modules for modules in around for name in ("stem", "layer_1", "layer_2", "Norm'"))
    path = to_executorch(model, tmp_path / "x.pte", SIZE, "int8", noise(4))
    assert check_export(model, path, noise(8)).error < 0.2


# What cannot be exported, and the command line


class Eigen(MobileViT):
    """A network with an operator that no phone has."""

    def forward(self, x):
        y = super().forward(x)  # [B, 5]
        return torch.linalg.eigvals(y[:, :, None] * y[:, None]).real  # [B, 5]


@pytest.mark.parametrize(
    ("export", "module", "name"),
    [(to_onnx, "onnxscript", "x.onnx"), (to_coreml, "coremltools", "x.mlpackage"),
     (to_executorch, "executorch.exir", "x.pte")],
)  # fmt: skip
def test_an_operator_that_does_not_convert_is_named(export, module, name, tmp_path):
    needs(module)
    model = Eigen(tiny("classify").config).eval()
    with pytest.raises(ConversionError, match="linalg_eig"):
        export(model, tmp_path / name, SIZE)


def test_a_vit_is_exported_too(tmp_path):
    needs("onnx", "onnxscript", "onnxruntime")
    config = ViTConfig(image_size=32, patch_size=16, dim=12, depth=2, num_heads=3, num_classes=4)
    model = ViT(config).eval()
    path = to_onnx(model, tmp_path / "x.onnx", 32)
    assert check_export(model, path, noise(5, (32, 32))).error < 1e-4


def test_the_command_line_exports_and_checks(tmp_path, monkeypatch, capsys):
    needs("onnx", "onnxscript", "onnxruntime", "skimage")
    monkeypatch.chdir(tmp_path)
    save_weights(tiny("classify"), tmp_path / "mine.safetensors")
    assert (
        cli.main(["--to", "onnx", "--weights", "mine.safetensors", "--size", "64x48", "--images", "3"]) == 0
    )
    said = capsys.readouterr().out
    assert "mine-float32.onnx" in said and "64 × 48" in said and "3 images" in said and "100.00%" in said
    assert (tmp_path / "mine-float32.onnx").exists()
