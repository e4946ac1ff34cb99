"""DeepLabV3 is the official function: counts, parity with transformers, names, masks, overlays, errors."""

import copy
import functools
import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from peer_configs import HF_CHANGES
from peers import BUILDERS, randomise
from PIL import Image
from transformers import MobileViTConfig, MobileViTForSemanticSegmentation

from mvit_lib import MobileNetV2, load_weights, mobilevit_xxs
from mvit_lib.cost import count_macs, count_parameters
from mvit_lib.heads.deeplabv3 import ASPP, DeepLabV3, Segmentation, class_colours
from mvit_lib.layers import fold_batchnorm
from mvit_lib.layouts import convert_state_dict, detect_layout
from mvit_lib.transforms import EvalTransform

# The fact sheet of the official code: parameters of all and of the head, GMAC at 512 × 512, 21 classes.
OFFICIAL = {
    "xxs": (1_854_853, 930_069, 3.9528),
    "xs": (2_944_069, 1_048_853, 7.3784),
    "s": (6_357_941, 1_523_989, 13.6935),
}
LAYOUTS = ("mvit", "hf", "cvnets")


def our_deeplab(size: str, output_stride: int = 16) -> DeepLabV3:
    return DeepLabV3(BUILDERS[size](num_classes=0, output_stride=output_stride)).eval()


def deeplab_xxs(num_classes: int) -> DeepLabV3:
    return DeepLabV3(mobilevit_xxs(num_classes=0, output_stride=16), num_classes)


@functools.cache
def hf_deeplab(size: str, output_stride: int = 16) -> MobileViTForSemanticSegmentation:
    """transformers' DeepLabV3 in eval mode and float64, every weight and statistic random."""
    torch.manual_seed(2)
    config = MobileViTConfig(num_labels=21, output_stride=output_stride, **HF_CHANGES[size])
    model = MobileViTForSemanticSegmentation(config)
    randomise(model)
    return model.double().eval()


@pytest.mark.parametrize("size", BUILDERS)
def test_parameters_and_macs_are_the_official_ones(size):
    model = our_deeplab(size)
    total, head, gmac = OFFICIAL[size]
    assert count_parameters(model) == total
    assert count_parameters(model) - count_parameters(model.backbone) == head
    assert round(count_macs(model, 512) / 1e9, 4) == gmac
    assert model.eval_transform == EvalTransform(512, 512)  # what `segment` sees, as officially evaluated


# The wide maps are 3 × 21 pixels: kernels with gaps of 18 reach a neighbour. 32 does not divide 330 or 40.
@pytest.mark.parametrize(
    ("size", "output_stride", "shape"),
    [
        *((size, 16, shape) for size in BUILDERS for shape in ((64, 96), (40, 330))),
        ("xxs", 16, (331, 312)),
        ("xxs", 8, (160, 72)),
    ],
)
def test_equals_transformers(size, output_stride, shape):
    """Logits in float64, strictly loaded; transformers takes BGR, we take RGB."""
    theirs, ours = hf_deeplab(size, output_stride), our_deeplab(size, output_stride).double()
    ours.load_state_dict(convert_state_dict(theirs.state_dict(), "hf"))
    x = torch.rand(2, 3, *shape, dtype=torch.float64)
    with torch.no_grad():
        expected, actual = theirs(x.flip(1)).logits, ours.forward_logits(x)
    assert actual.shape == (2, 21, *(-(-side // output_stride) for side in shape))
    assert expected.std(dim=(0, 2, 3)).min() > 1e-3  # every class sees the picture
    torch.testing.assert_close(actual, expected, rtol=0, atol=1e-12)


def test_training_gradient_equals_transformers():
    """Through batch statistics, ASPP and the upsampled loss, 255 ignored; dropout off on both sides."""
    theirs = copy.deepcopy(hf_deeplab("xxs"))
    ours = our_deeplab("xxs").double()
    ours.load_state_dict(convert_state_dict(theirs.state_dict(), "hf"))
    for model in (theirs, ours):
        for module in model.modules():
            module.training = isinstance(module, torch.nn.BatchNorm2d)
    x = torch.rand(2, 3, 64, 80, dtype=torch.float64)
    labels = torch.randint(0, 21, (2, 64, 80))
    labels[:, :9] = 255
    theirs(x.flip(1), labels=labels).loss.backward()
    torch.nn.functional.cross_entropy(ours(x), labels, ignore_index=255).backward()
    gradients = {name: p.grad for name, p in theirs.named_parameters()}
    for name, gradient in convert_state_dict(gradients, "hf").items():
        expected = ours.get_parameter(name).grad
        scale = expected.abs().max().item()
        torch.testing.assert_close(gradient, expected, rtol=0, atol=1e-10 * max(scale, 1))


def bilinear_matrix(n: int, m: int) -> torch.Tensor:
    """[m, n]: how n pixels are stretched to m, centres between centres and borders repeated."""
    place = ((torch.arange(m, dtype=torch.float64) + 0.5) * n / m - 0.5).clamp(0, n - 1)
    return (1 - (place[:, None] - torch.arange(n)).abs()).clamp(min=0)


@pytest.mark.parametrize("shape", [(64, 96), (50, 35), (16, 17)])
def test_forward_stretches_the_logits_to_the_images(shape):
    model = our_deeplab("xxs").double()
    randomise(model)
    x = torch.rand(1, 3, *shape, dtype=torch.float64)
    with torch.no_grad():
        coarse, fine = model.forward_logits(x), model(x)
    assert fine.shape == (1, 21, *shape)
    rows, columns = (bilinear_matrix(n, m) for n, m in zip(coarse.shape[-2:], shape, strict=True))
    torch.testing.assert_close(fine, rows @ coarse @ columns.T, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("size", BUILDERS)
@pytest.mark.parametrize("source", LAYOUTS)
@pytest.mark.parametrize("target", LAYOUTS)
def test_names_convert_both_ways(size, source, target):
    theirs = hf_deeplab(size).state_dict()
    start = convert_state_dict(theirs, "hf", source)
    there = convert_state_dict(start, source, target)
    assert detect_layout(there) == target
    if target == "hf":
        assert there.keys() == theirs.keys()
        assert all(torch.equal(t, there[name]) for name, t in theirs.items())
    back = convert_state_dict(there, target, source)
    assert back.keys() == start.keys()
    assert all(torch.equal(t, back[name]) for name, t in start.items())


def test_names_and_shapes_of_the_official_code():
    """The backbone behind `encoder.`, without expansion and classifier, and the head's own names."""
    lines = (Path(__file__).parent / "data" / "xxs_cvnets.txt").read_text().splitlines()
    backbone = dict(line.split() for line in lines if not line.startswith(("conv_1x1_exp", "classifier")))
    expected = {f"encoder.{name}": shape for name, shape in backbone.items()}
    layer = "seg_head.aspp.aspp_layer"
    convs = {f"{layer}.convs.0": "256x80x1x1"} | {f"{layer}.convs.{i}": "256x80x3x3" for i in (1, 2, 3)}
    convs |= {f"{layer}.convs.4.aspp_pool.conv_1x1": "256x80x1x1", f"{layer}.project": "256x1280x1x1"}
    for name, shape in convs.items():
        norm = f"{name}.block.norm"
        expected |= {f"{name}.block.conv.weight": shape, f"{norm}.num_batches_tracked": "scalar"}
        expected |= {f"{norm}.{part}": "256" for part in ("weight", "bias", "running_mean", "running_var")}
    last = "seg_head.classifier.classifier.block.conv"
    expected |= {f"{last}.weight": "21x256x1x1", f"{last}.bias": "21"}

    state = our_deeplab("xxs").state_dict()
    renamed = convert_state_dict(state, "mvit", "cvnets")
    assert {n: "x".join(map(str, t.shape)) or "scalar" for n, t in renamed.items()} == expected
    for i in range(4):
        theirs, ours = renamed[f"{layer}.convs.{i}.block.conv.weight"], state[f"aspp.convs.{i}.conv.weight"]
        assert torch.equal(theirs, ours)
    stem = state["backbone.stem.conv.weight"]
    assert torch.equal(renamed["encoder.conv_1.block.conv.weight"], stem[:, [2, 1, 0]])
    kept = convert_state_dict(state, "mvit", "cvnets", flip_stem=False)
    assert torch.equal(kept["encoder.conv_1.block.conv.weight"], stem)


@pytest.mark.parametrize("size", BUILDERS)
def test_a_folder_that_transformers_wrote_loads(size, tmp_path):
    theirs = copy.deepcopy(hf_deeplab(size))
    theirs.config.id2label = {i: f"label {i}" for i in range(21)}
    theirs.save_pretrained(tmp_path)
    pixels = {"size": {"shortest_edge": 544}, "crop_size": {"height": 512, "width": 512}}
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(pixels))
    ours = load_weights(tmp_path).double()
    assert isinstance(ours, DeepLabV3) and ours.backbone.config.output_stride == 16
    assert ours.classes[20] == "label 20"
    assert ours.eval_transform == EvalTransform(544, 512)
    x = torch.rand(1, 3, 64, 96, dtype=torch.float64)
    with torch.no_grad():
        torch.testing.assert_close(ours.forward_logits(x), theirs(x.flip(1)).logits, rtol=0, atol=1e-12)


@pytest.mark.parametrize("layout", ["hf", "cvnets"])
def test_a_single_foreign_file_loads(layout, tmp_path):
    model, path = our_deeplab("xs"), tmp_path / "weights.pt"
    randomise(model)
    torch.save(convert_state_dict(model.state_dict(), "mvit", layout), path)
    loaded = load_weights(path)
    assert isinstance(loaded, DeepLabV3) and loaded.num_classes == 21
    for name, t in loaded.state_dict().items():
        assert torch.equal(t, model.state_dict()[name].to(t.dtype)), name


def test_another_aspp_is_refused_by_name(tmp_path):
    hf_deeplab("xxs").save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text()) | {"atrous_rates": [2, 4, 6]}
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(ValueError, match=r"atrous_rates=\[2, 4, 6\] is another network"):
        load_weights(tmp_path)


def test_names_that_do_not_belong_are_refused():
    state = our_deeplab("xxs").state_dict()
    for source, target in (("mvit", "timm"), ("timm", "mvit")):
        with pytest.raises(ValueError, match="timm has no DeepLabV3"):
            convert_state_dict(state, source, target)
    with pytest.raises(ValueError, match=r"1 tensors .*'mvit'.*seg_head\.aux"):
        convert_state_dict(state | {"seg_head.aux.weight": torch.zeros(1)}, "mvit", "hf")


@pytest.mark.parametrize("output_stride", [8, 16])
def test_mobilenet_and_stride_8(output_stride):
    for build in (mobilevit_xxs, MobileNetV2):
        model = DeepLabV3(build(num_classes=0, output_stride=output_stride), num_classes=5).eval()
        with torch.no_grad():
            x = torch.rand(1, 3, 72, 100)
            expected = (1, 5, -(-72 // output_stride), -(-100 // output_stride))
            assert model.forward_logits(x).shape == expected
            assert model(x).shape == (1, 5, 72, 100)


def test_aspp_hears_a_pixel_only_at_its_rates_and_through_the_mean():
    """Without the mean, a single bright pixel of a 41 × 41 map reaches itself and 3 × 8 others."""
    aspp = ASPP(4).double().eval()
    aspp.pool.norm.weight.data.zero_()
    x = torch.zeros(1, 4, 41, 41, dtype=torch.float64)
    with torch.no_grad():
        quiet = aspp(x)
        x[0, :, 20, 20] = 1
        heard = ((aspp(x) - quiet)[0].abs().amax(0) > 0).nonzero() - 20
    reached = {(0, 0)} | {(a, b) for r in (6, 12, 18) for a in (-r, 0, r) for b in (-r, 0, r)}
    assert set(map(tuple, heard.tolist())) == reached


def test_maps_stay_channels_last():
    model = deeplab_xxs(5)
    y = model.forward_logits(torch.rand(2, 3, 96, 64))
    assert y.is_contiguous(memory_format=torch.channels_last)


def test_a_fresh_network_knows_nothing_and_learns():
    model = deeplab_xxs(4).train()
    labels = torch.zeros(2, 64, 64, dtype=torch.int64)
    labels[0, :32] = 3
    labels[1, :, 20:] = 2
    x = torch.stack([(labels == k).float() for k in (1, 2, 3)], dim=1)
    optimizer = torch.optim.AdamW(model.parameters(), 3e-3)
    losses = []
    for _ in range(12):
        loss = torch.nn.functional.cross_entropy(model(x), labels)
        optimizer.zero_grad()
        loss.backward()
        assert all(p.grad is not None for p in model.parameters())
        optimizer.step()
        losses.append(loss.item())
    assert losses[0] == pytest.approx(math.log(4), abs=0.3)
    assert losses[-1] < 0.5 * losses[0]


@pytest.mark.parametrize("name", ["dropout", "aspp.dropout"])
def test_both_dropouts_drop_a_tenth(name):
    model = deeplab_xxs(5).eval()
    dropout = model.get_submodule(name).train()
    seen = []
    dropout.register_forward_hook(lambda module, inputs, output: seen.append((inputs[0], output)))
    with torch.no_grad():
        model(torch.rand(8, 3, 64, 64))
    before, after = seen[0]
    kept = after != 0
    assert dropout.p == 0.1
    torch.testing.assert_close(after[kept], before[kept] / 0.9)
    assert (before[~kept] > 0).float().sum() == pytest.approx(0.1 * (before > 0).sum().item(), rel=0.4)
    # Only one of them forgets whole channels at once.
    whole = (after.flatten(2).amax(2) == 0) & (before.flatten(2).amin(2) > 0)  # [B, 256]
    assert whole.any() == (name == "dropout")


def test_folding_batchnorm_keeps_the_logits():
    model = our_deeplab("xxs").double()
    randomise(model)
    folded = copy.deepcopy(model)
    fold_batchnorm(folded)
    assert not any(isinstance(m, torch.nn.BatchNorm2d) for m in folded.modules())
    x = torch.rand(1, 3, 64, 96, dtype=torch.float64)
    with torch.no_grad():
        expected = model(x)
        torch.testing.assert_close(folded(x), expected, rtol=0, atol=1e-12 * expected.abs().max().item())


def test_what_cannot_be_meant_is_named():
    with pytest.raises(TypeError, match="expected a MobileViT or MobileNetV2, got Conv2d"):
        DeepLabV3(torch.nn.Conv2d(3, 3, 1))
    with pytest.raises(ValueError, match="num_classes=7: build it with num_classes=0"):
        DeepLabV3(mobilevit_xxs(7, output_stride=16))
    with pytest.raises(ValueError, match="output_stride=32: expected 16 or 8"):
        DeepLabV3(MobileNetV2(num_classes=0))
    with pytest.raises(ValueError, match="num_classes=1: expected at least 2"):
        deeplab_xxs(1)
    with pytest.raises(ValueError, match=r"expected images \[B, 3, H, W\]"):
        deeplab_xxs(2)(torch.rand(3, 64, 64))
    with pytest.raises(TypeError, match="expected a PIL image, got str"):
        deeplab_xxs(2).segment("cat.jpg")


def colour_reader(side: int = 64) -> DeepLabV3:
    """A model whose logits are known: background 0.3, then the picture's red, green and blue."""
    model = deeplab_xxs(4)
    model.eval_transform = EvalTransform(side, side)
    model.forward = lambda x: torch.cat([torch.full_like(x[:, :1], 0.3), x], dim=1)
    return model


@given(st.integers(1, 150), st.integers(1, 150))
@settings(max_examples=40)
def test_the_mask_lies_on_the_picture(half_height, half_width):
    """Four fields of colour, of any size: every pixel of the mask has the class of its field."""
    pixels = np.zeros((2 * half_height, 2 * half_width, 3), dtype=np.uint8)
    pixels[:half_height, :half_width, 0] = 255
    pixels[:half_height, half_width:, 1] = 255
    pixels[half_height:, :half_width, 2] = 255
    pixels[half_height:, half_width:] = (0, 255, 0)
    found = colour_reader().segment(Image.fromarray(pixels))
    fields = torch.tensor([[1, 2], [3, 2]])
    expected = fields.repeat_interleave(half_height, 0).repeat_interleave(half_width, 1)
    assert found.mask.dtype == torch.int64
    assert torch.equal(found.mask, expected)
    assert found.classes == ("background", "class 1", "class 2", "class 3")


def test_pictures_of_all_kinds_are_segmented():
    rows = np.zeros((30, 44, 3), dtype=np.uint8)
    rows[:10, :, 0] = 255
    upright = Image.fromarray(rows)
    expected = torch.zeros(30, 44, dtype=torch.int64)
    expected[:10] = 1
    exif = Image.Exif()
    exif[0x0112] = 6  # to be shown turned by a quarter to the right
    turned = upright.transpose(Image.Transpose.ROTATE_90)
    turned.info["exif"] = exif.tobytes()
    for image in (upright, upright.convert("P"), upright.convert("RGBA"), turned):
        found = colour_reader(60).segment(image)
        assert torch.equal(found.mask, expected), image.mode
        assert np.array_equal(np.array(found.image), rows), image.mode
    grey = Image.new("L", (5, 300), 100)
    assert colour_reader().segment(grey).mask.shape == (300, 5)


def test_segment_is_the_network_in_eval_mode_and_leaves_its_mode():
    model = deeplab_xxs(6).train()
    model.backbone.eval()
    model.eval_transform = EvalTransform(64, 64)
    randomise(model)
    before = {name: t.clone() for name, t in model.state_dict().items()}
    pixels = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    found = model.segment(Image.fromarray(pixels))
    assert not found.mask.is_inference()
    assert (model.training, model.aspp.training, model.backbone.training) == (True, True, False)
    assert all(torch.equal(t, before[name]) for name, t in model.state_dict().items())
    model.eval()
    with torch.no_grad():
        x = torch.from_numpy(pixels).permute(2, 0, 1)[None].float() / 255
        assert torch.equal(found.mask, model(x)[0].argmax(0))
    assert len(found.mask.unique()) > 1


def test_overlay_tints_objects_and_leaves_the_background():
    image = Image.fromarray(np.full((2, 3, 3), 100, dtype=np.uint8))
    mask = torch.tensor([[0, 1, 1], [2, 0, 15]])
    found = Segmentation(image, mask, tuple(map(str, range(21))))
    assert np.array_equal(np.array(found.overlay(0)), np.array(image))
    full = np.array(found.overlay(1))
    colours = {0: (100, 100, 100), 1: (128, 0, 0), 2: (0, 128, 0), 15: (192, 128, 128)}
    assert np.array_equal(full, [[colours[int(k)] for k in row] for row in mask])
    between = np.array(found.overlay(0.5)).astype(float)
    assert np.abs(between - (full + 100.0) / 2).max() <= 1
    empty = Segmentation(image, torch.zeros(2, 3, dtype=torch.int64), ("background", "x"))
    assert np.array_equal(np.array(empty.overlay()), np.array(image))
    with pytest.raises(ValueError, match=r"opacity=1\.5"):
        found.overlay(1.5)


def test_colours_are_those_of_pascal_voc_and_all_different():
    published = {3: (128, 128, 0), 7: (128, 128, 128), 8: (64, 0, 0), 12: (64, 0, 128), 20: (0, 64, 128)}
    published |= {0: (0, 0, 0), 255: (224, 224, 192)}
    colours = class_colours(1000)
    assert all(tuple(colours[k]) == colour for k, colour in published.items())
    assert len({tuple(c) for c in colours.tolist()}) == 1000
