"""The pictures of notebook 05 against torch, and the references of its checkers against the library."""

import math
from itertools import pairwise

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from matplotlib import pyplot as plt
from torch import nn

from mvit_lib import MobileNetV2, mobilevit_xxs
from mvit_lib.cost import conv_cost
from mvit_lib.course.checks import c05_mobilenetv2_and_the_gap as checks
from mvit_lib.course.checks import c05_receptive_field as fields
from mvit_lib.course.two_marks import light_network, mark_positions, two_marks
from mvit_lib.layers import InvertedResidual
from mvit_lib.look.figures.mobilenetv2_and_the_gap import (
    field_of,
    fig_block,
    fig_cliff,
    fig_correlation,
    fig_marks,
    fig_pyramid,
    fig_reach,
    fig_shift,
    fig_spiral,
    levels_of,
    pixel_correlation,
    pixel_gradient,
    share_holding,
    spiral,
    survivors,
)


@pytest.fixture(autouse=True)
def close_figures():
    plt.switch_backend("agg")
    yield
    plt.close("all")


def test_correlations_are_those_of_numpy():
    images = {name: torch.rand(9, 20).cumsum(1) for name in "ab"}
    shuffled = {name: image.flatten()[torch.randperm(180)].view(9, 20) for name, image in images.items()}
    _, data = fig_correlation(images, shuffled, (1, 2, 4))
    for kind, group in (("photos", images), ("shuffled", shuffled)):
        for name, image in group.items():
            for d, value in zip((1, 2, 4), data[kind][name], strict=True):
                left, right = image.numpy()[:, :-d].ravel(), image.numpy()[:, d:].ravel()
                assert value == pytest.approx(np.corrcoef(left, right)[0, 1], abs=1e-5)
    assert pixel_correlation(torch.arange(5.0).repeat(2, 1), 2) == pytest.approx(1)


def test_the_names_of_the_curves_do_not_overlap():
    images = {name: torch.rand(9, 40).cumsum(1) for name in "abcd"}
    fig, _ = fig_correlation(images, images, (1, 2))
    heights = sorted(t.get_position()[1] for t in fig.axes[-1].texts if t.get_text() in "abcd")
    assert min(b - a for a, b in pairwise(heights)) >= 0.09 - 1e-9


def test_shifts_are_drawn_as_given():
    changes = {"one": [0.0, 0.5, 0.25], "two": [0.0, 1.0, 0.0]}
    fig, data = fig_shift(changes, marked=(2,))
    assert data == changes
    for ax, values in zip(fig.axes, changes.values(), strict=True):
        assert list(ax.lines[0].get_ydata()) == values
        assert list(ax.lines[-1].get_ydata()) == values[2:]


@pytest.mark.parametrize(("widths", "residual"), [((24, 48, 48, 24), True), ((16, 32, 32, 24), False)])
def test_the_block_has_the_weights_of_the_library(widths, residual):
    C, hidden, _, out = widths
    block = InvertedResidual(C, out, expansion=hidden / C)
    fig, data = fig_block(widths, 32)
    counted = [m.weight.numel() for m in block.modules() if isinstance(m, nn.Conv2d)]
    assert list(data.values()) == counted
    assert block.has_residual == residual
    assert any("added" in text.get_text() for text in fig.axes[0].texts) == residual


def test_what_survives_relu_can_be_computed_back():
    """With the channels that passed, least squares finds the point; without enough of them it does not."""
    points, directions = spiral(120), torch.randn(2, 4)
    kept = survivors(points, directions)
    after = (points @ directions).relu()
    for point, row, survives in zip(points, after, kept.tolist(), strict=True):
        open_channels = directions[:, row > 0].T  # [k, 2]
        found = torch.linalg.pinv(open_channels) @ row[row > 0]
        assert torch.allclose(found, point, atol=1e-4) == survives


def test_the_spiral_keeps_more_in_more_channels():
    fig, data = fig_spiral((2, 3, 6, 12))
    shares = [kept.float().mean().item() for kept in data.values()]
    assert shares == sorted(shares)
    assert 0 < shares[0] < 0.6 and shares[-1] == 1
    for ax, share in zip(fig.axes, shares, strict=True):
        assert f"{share:.0%}" in ax.get_title()


@pytest.mark.parametrize("layers", [[(3, 1), (3, 2), (3, 1)], [(5, 2), (3, 2)], [(1, 1), (3, 3)]])
def test_the_pyramid_holds_the_pixels_of_the_gradient(layers):
    _, levels = fig_pyramid(layers)
    x = torch.zeros(1, 1, 401, requires_grad=True)
    y, middle = x, 200
    for kernel, stride in layers:
        y = F.conv1d(y, torch.ones(1, 1, kernel), stride=stride, padding=kernel // 2)
    total = math.prod(stride for _, stride in layers)
    place = middle // total
    (gradient,) = torch.autograd.grad(y[0, 0, place], x)
    seen = gradient.flatten().nonzero().flatten() - place * total
    assert levels[-1] == seen.tolist()
    assert levels == levels_of(layers)
    assert levels[0] == [0]


def test_fields_are_measured_fields():
    torch.manual_seed(0)
    model = MobileNetV2(num_classes=0).eval()
    stack = nn.Sequential(model.stem, model.layer_1, model.layer_2, model.layer_3)
    gradient = pixel_gradient(stack, torch.rand(1, 3, 128, 128))
    assert (gradient > 0).any(0).sum() == (gradient > 0).any(1).sum() == field_of(stack) == 59
    assert field_of(nn.Sequential(nn.Conv2d(1, 1, 3, dilation=4), nn.Conv2d(1, 1, 1))) == 9
    for depth in (1, 3, 5):
        assert field_of(light_network(depth)) == 2 * depth + 3


def test_pixel_gradient_sees_what_a_change_changes():
    """Move every pixel a little and look at the output."""
    network = nn.Sequential(nn.Conv2d(2, 3, (3, 2), 2, 1), nn.SiLU(), nn.Conv2d(3, 2, 3, padding=1)).double()
    x = torch.randn(1, 2, 7, 9).double()
    seen = pixel_gradient(network, x, (1, 2)) > 0
    before = network(x)[0, :, 1, 2]
    for row in range(7):
        for column in range(9):
            moved = x.clone()
            moved[0, :, row, column] += torch.tensor([0.3, 0.2])
            changed = bool((network(moved)[0, :, 1, 2] - before).abs().max() > 1e-9)
            assert changed == seen[row, column]
    assert all(parameter.grad is None for parameter in network.parameters())


def test_share_holding_counts_the_largest():
    gradient = torch.tensor([[8.0, 1.0], [0.5, 0.5]])
    assert share_holding(gradient, 0.8) == 0.25
    assert share_holding(gradient, 0.85) == 0.5
    assert share_holding(torch.ones(10, 10), 0.9) == pytest.approx(0.9)


def test_reach_draws_the_square_of_theory_where_it_fits():
    gradient = torch.rand(20, 20)
    fig, data = fig_reach({"net": {"a": gradient, "b": gradient}}, {"net": {"a": 5, "b": 30}})
    squares = [[(p.get_width(), p.get_x()) for p in ax.patches] for ax in fig.axes[:2]]
    assert squares == [[(5, 7.5)], []]
    assert data["net"]["a"] == share_holding(gradient)


def test_the_frames_hold_both_marks_or_one():
    """The strips of notebook 05: at 8 the frame holds a bit of both marks, at 10 no frame does."""
    size, draw = (4, 20), torch.Generator().manual_seed(0)
    examples = [two_marks(1, size, torch.tensor([row]), draw) for row in ([1, 5, 1, 13], [1, 4, 1, 14])]
    images = torch.cat([images for images, _ in examples])
    columns = (5, 13), (4, 14)
    fig, views = fig_marks(images, torch.tensor([0, 1]), 9, [(2, 9), (2, 9)], columns)
    words = [[text.get_text() for text in ax.texts] for ax in fig.axes]
    assert words == [["Δ = 8", "r = 9", "different"], ["Δ = 10", "r = 9", "same"]]
    for view, image in zip(views, images, strict=True):
        assert torch.equal(view, image[:, :, 5:14])
    for first, second in columns:
        frames = [set(range(c - 4, c + 5)) for c in range(20)]
        both = any({first, first + 1} & f and {second, second + 1} & f for f in frames)
        assert both == (second - first <= 9)


def test_the_cliff_stands_where_the_fields_end():
    shares = {"1 deep": {2: 1.0, 4: 1.0, 6: 0.5}, "3 deep": {2: 1.0, 4: 1.0, 6: 1.0}}
    _, data = fig_cliff(shares, {"1 deep": 5, "3 deep": 9})
    assert data == {"1 deep": [2, 4], "3 deep": [2, 4, 6]}


def test_no_network_beats_the_sum():
    """Marks further apart than the field: s(r,r) + s(b,b) = s(r,b) + s(b,r), whatever the weights."""
    torch.manual_seed(3)
    model = light_network(2).double().eval()
    noise = torch.rand(1, 3, 4, 20).double()
    red, blue = torch.tensor([1.0, 0.3, 0.1]), torch.tensor([0.1, 0.4, 1.0])

    def s(left, right, distance):
        picture = noise.clone()
        picture[0, :, 1:3, 0:2] = left.view(3, 1, 1)
        picture[0, :, 1:3, distance : distance + 2] = right.view(3, 1, 1)
        logits = model(picture)[0]
        return logits[1] - logits[0]

    for distance in (6, 7, 8, 12):
        total = s(red, red, distance) + s(blue, blue, distance)
        total = total - s(red, blue, distance) - s(blue, red, distance)
        assert (total.abs() < 1e-12) == (distance > field_of(model))


def test_the_cost_reference_is_the_library():
    for case in checks.COST_CASES:
        C, out, K, stride, size = case
        pixels = F.conv2d(torch.zeros(1, 1, *size), torch.zeros(1, 1, K, K), None, stride, K // 2).numel()
        full = conv_cost(C, out, K, pixels)
        separable = conv_cost(C, C, K, pixels, groups=C) + conv_cost(C, out, 1, pixels)
        assert checks.costs(*case) == (full.parameters, full.macs, separable.parameters, separable.macs)


@pytest.mark.parametrize("case", checks.BLOCK_CASES)
def test_the_block_reference_is_the_librarys_block(case):
    C, hidden, out, stride, size, _ = case
    library = InvertedResidual(C, out, stride=stride).eval()
    x, *weights = checks.block_arguments(C, hidden, out, size)
    for part, weight in zip((library.expand, library.depthwise, library.project), weights, strict=True):
        part.conv = nn.Conv2d(1, 1, 1, bias=False)  # a place for other weights
        part.conv.weight.data = weight
        part.conv.groups = len(weight) if weight.shape[1:] == (1, 3, 3) else 1
        part.norm = nn.Identity()
    library.depthwise.conv.stride, library.depthwise.conv.padding = (stride, stride), (1, 1)
    torch.testing.assert_close(checks.block(x, *weights, stride), library(x))


def test_the_field_reference_is_the_recursion():
    for (layers,) in fields.FIELD_CASES:
        stack = [nn.Conv2d(1, 1, K, stride, dilation=d) for K, stride, d in layers]
        assert fields.field(layers) == field_of(nn.Sequential(*stack))


def test_no_two_mistakes_look_alike():
    for suspects, cases in (
        (checks.COST_SUSPECTS, checks.COST_CASES),
        (fields.FIELD_SUSPECTS, fields.FIELD_CASES),
    ):
        answers = [tuple(f(*case) for case in cases) for f in suspects.values()]
        assert len(set(answers)) == len(answers)


def test_the_reach_reference_is_the_gradient_of_the_figures():
    image = torch.randn(1, 2, 7, 8)
    for network, place in fields.networks().values():
        assert torch.equal(fields.reach(network, image, *place), pixel_gradient(network, image, place) > 0)


def test_shift_by_the_total_stride_is_exact_without_borders():
    """What section 3 says: one pixel before the block, 32 pixels before the network."""
    torch.manual_seed(0)
    model = mobilevit_xxs(num_classes=0).double().eval()
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            module.padding_mode = "circular"
    x, maps = torch.rand(1, 3, 128, 128).double(), torch.rand(1, 48, 8, 12).double()
    block = model.layer_3[1]
    with torch.no_grad():
        torch.testing.assert_close(block(maps.roll(1, 3)), block(maps).roll(1, 3))
        odd = maps[..., :7, :11]  # the block has to stretch it
        assert not torch.allclose(block(odd.roll(1, 3)), block(odd).roll(1, 3), atol=1e-2)
        shifted, plain = (model.forward_features(images) for images in (x.roll(32, 3), x))
        torch.testing.assert_close(shifted["layer_5"], plain["layer_5"].roll(1, 3))
        half = model.forward_features(x.roll(16, 3))
        torch.testing.assert_close(half["layer_4"], plain["layer_4"].roll(1, 3))
        assert not torch.allclose(half["layer_5"], plain["layer_5"], atol=1e-3)


def test_positions_of_the_task_lie_in_one_row():
    positions = mark_positions((4, 20))
    chosen = positions[positions[:, 0] == positions[:, 2]]
    assert (chosen[:, 3] - chosen[:, 1]).max() == 18
