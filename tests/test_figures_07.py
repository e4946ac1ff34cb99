"""The data behind the pictures of notebook 07, against truths found another way."""

import math
from itertools import pairwise

import pytest
import torch
from matplotlib import pyplot as plt
from matplotlib.colors import to_hex
from matplotlib.patches import Rectangle

from mvit_lib import MobileViT, MobileViTConfig
from mvit_lib.cost import Cost
from mvit_lib.course.tables import load_table
from mvit_lib.look.figures import the_papers_tables, the_whole_network
from mvit_lib.look.style import ACCENT
from mvit_lib.mobilevit import XS, XXS, S
from mvit_lib.patches import unfold_patches

SMALL = MobileViTConfig((8, 8, 12, 16, 20, 24), dims=(8, 12, 16), depths=(2, 1, 1), num_classes=7)


@pytest.fixture(autouse=True)
def close_figures():
    plt.switch_backend("agg")
    yield
    plt.close("all")


@pytest.mark.parametrize("side", [256, 224, 100])
def test_the_slabs_are_the_maps_of_the_real_network(side):
    configs = {"XXS": XXS, "S": S}
    fig, data = the_whole_network.fig_architecture(configs, side)
    for name, config in configs.items():
        with torch.device("meta"):
            model = MobileViT(config).eval()
        x = torch.empty(1, 3, side, side, device="meta")
        maps = {"stem": model.stem(x)} | model.forward_features(x)
        maps["expand"] = model.expand(maps["layer_5"])
        assert data[name] == {stage: (m.shape[1], m.shape[2]) for stage, m in maps.items()}
    slabs = [p for p in fig.axes[0].patches if isinstance(p, Rectangle)]
    heights = [p.get_height() ** 2 for p in slabs]  # the root of a side is drawn
    widths = [p.get_width() ** 2 for p in slabs]
    for i, (C, size) in enumerate(data["S"].values()):
        assert heights[i] / heights[0] == pytest.approx(size / data["S"]["stem"][1])
        assert widths[i] / widths[0] == pytest.approx(C / data["S"]["stem"][0])
    words = {text.get_text() for text in fig.axes[0].texts}
    assert {"96, D 144", "48, D 64", "640", "320", "MV2, block\nL = 4"} <= words


def test_the_bars_are_shares_of_parameters_and_macs():
    costs = {"stem": Cost(10, 300), "layer_3": Cost(30, 600), "classifier": Cost(60, 100)}
    fig, data = the_whole_network.fig_stages(costs)
    assert data == {"stem": (0.1, 0.3), "layer_3": (0.3, 0.6), "classifier": (0.6, 0.1)}
    left, right = fig.axes
    assert [bar.get_width() for bar in left.patches] == [0.1, 0.3, 0.6]
    assert [bar.get_width() for bar in right.patches] == [0.3, 0.6, 0.1]
    assert [to_hex(bar.get_facecolor()) == ACCENT for bar in left.patches] == [False, True, False]
    assert [text.get_text() for text in right.texts] == ["30%", "60%", "10%"]


@pytest.mark.parametrize(("size", "patch"), [((4, 4), (2, 2)), ((4, 6), (2, 3)), ((6, 4), (3, 1))])
def test_meetings_are_the_pixels_that_share_a_place(size, patch):
    """Against coordinates: two pixels meet if row and column leave the same rest."""
    (H, W), (ph, pw) = size, patch
    _, data = the_whole_network.fig_meetings(size, patch)
    P, N = ph * pw, H * W // (ph * pw)
    place = torch.tensor([y % ph * pw + x % pw for y in range(H) for x in range(W)])  # [HW]
    same = place[:, None] == place
    assert torch.equal(data["MobileViT"] > 0, same)
    assert torch.equal(data["MobileViT"].max(1).values, place + 1)
    counts = {name: int((matrix > 0).sum()) for name, matrix in data.items()}
    assert counts == {"all pixels": (H * W) ** 2, "MobileViT": P * N**2, "ViT": N**2}


def test_the_lines_against_vit_are_the_numbers_given():
    lines = {"DeiT-Ti": [1, 5, 30], "XXS": [0.3, 1.5, 6], "XS": [0.9, 4, 29], "S": [2, 8, 31]}
    ratios = {
        "XXS": [[2, 1, 3], [1.5, 1.4, 1.6], [2, 1.9, 2.1]],
        "XS": [[1, 0.9, 1.1], [1, 0.9, 1.1], [1.01, 0.9, 1.1]],
    }
    fig, data = the_whole_network.fig_against_vit(lines, ratios, (64, 128, 256))
    left, right = fig.axes
    for line, (name, values) in zip(left.lines, lines.items(), strict=True):
        assert line.get_xdata().tolist() == [64, 128, 256]
        assert line.get_ydata().tolist() == values == data["MACs"][name].tolist()
    for line, band, rows in zip(right.lines, right.collections, ratios.values(), strict=False):
        assert line.get_ydata().tolist() == [middle for middle, _, _ in rows]
        edges = {(x, y) for x, y in band.get_paths()[0].vertices.tolist()}
        wanted = [(side, row) for side, row in zip((64, 128, 256), rows, strict=True)]
        assert {(side, edge) for side, row in wanted for edge in row[1:]} <= edges
    assert right.lines[-1].get_ydata().tolist() == [1, 1]
    for ax, names in ((left, ["XXS", "XS", "DeiT-Ti", "S"]), (right, ["DeiT-Ti", "XS", "XXS"])):
        order = sorted(ax.texts, key=lambda text: text.xy[1])
        assert [text.get_text() for text in order] == names
        low, high = (math.log(limit) for limit in ax.get_ylim())
        heights = [math.log(text.xy[1]) for text in order]  # names keep apart
        assert all(b - a > 0.059 * (high - low) for a, b in pairwise(heights))


@pytest.mark.parametrize("side", [64, 96])
def test_the_trace_holds_what_flows_through_the_network(side):
    torch.manual_seed(0)
    model, x = MobileViT(SMALL).eval(), torch.rand(1, 3, side, side)
    fig, data = the_whole_network.fig_shape_trace(model, x)
    with torch.no_grad():
        features = model.forward_features(x)
        assert torch.equal(data["logits"], model(x))
    for stage in ("layer_1", "layer_2", "layer_4", "layer_5"):
        assert torch.equal(data[stage], features[stage])
    assert torch.equal(data["fusion"], features["layer_3"])
    assert torch.equal(data["photo"], x)
    assert torch.equal(data["unfold"], unfold_patches(data["local_project"], 2))
    block = model.layer_3[1]
    with torch.no_grad():
        folded = block.attend_globally(data["local_project"])
        assert torch.equal(block.project(folded), data["project"])
        assert torch.equal(block.fusion(data["x and y"]), data["fusion"])
        assert torch.equal(model.classifier(data["mean"]), data["logits"])
    assert torch.equal(unfold_patches(folded, 2), data["transformer"])
    assert list(data)[:3] == ["photo", "stem", "layer_1"]
    titles = [ax.get_title().split("\n") for ax in fig.axes if ax.get_title()]
    assert [name.removesuffix(": y") for name, _ in titles] == list(data)
    (both,) = fig.axes[[name for name, _ in titles].index("x and y")].images
    assert both.get_array().shape == (side // 8, 2 * (side // 8) + 2)  # a map of x, a gap, a map of y
    assert dict(titles)["unfold"] == f"4 × {(side // 16) ** 2} × 8"
    assert not model.stem._forward_hooks  # nothing is left behind


def test_a_trace_that_fails_takes_its_hooks_away():
    model = MobileViT(SMALL)
    with pytest.raises(ValueError, match="too small"):
        the_whole_network.trace(model, torch.rand(1, 3, 8, 8))
    assert not any(module._forward_hooks for module in model.modules())


def test_points_are_the_rows_of_the_papers_tables():
    rows = load_table("imagenet")
    cnns = [row for row in rows if row["group"] != "ViTs"]
    fig, points = the_papers_tables.fig_against_cnns(cnns)
    drawn = [(line.get_xdata()[0], line.get_ydata()[0]) for line in fig.axes[0].lines]
    assert drawn == [(p, t) for _, p, t in points] == [(row["params_m"], row["top1"]) for row in cnns]
    assert [text.get_text() for text in fig.axes[0].texts] == [row["model"] for row in cnns]


def test_full_points_have_basic_augmentation():
    rows = [row for row in load_table("imagenet") if row["group"] == "ViTs"]
    fig, points = the_papers_tables.fig_against_vits(rows, {"R1": (8, 0), "R20": (-8, 0)})
    assert [name for name, _, _ in points] == [f"R{i}" for i in range(1, 21)]
    for line, row in zip(fig.axes[0].lines, rows, strict=True):
        assert (line.get_markerfacecolor() != "none") == (row["augmentation"] == "basic")
        assert (to_hex(line.get_markeredgecolor()) == ACCENT) == row["model"].startswith("MobileViT")
    words = [text.get_text() for text in fig.axes[0].texts]
    assert words == ["DeiT, 5.7 M", "MobileViT-S", "basic augmentation", "advanced"]
    full, hollow = fig.axes[0].collections
    assert len(full.get_facecolor()) > len(hollow.get_facecolor()) == 0


def test_all_three_sizes_can_be_drawn_at_once():
    fig, data = the_whole_network.fig_architecture({"XXS": XXS, "XS": XS, "S": S})
    assert list(data) == ["XXS", "XS", "S"]
    assert fig.axes[0].texts
