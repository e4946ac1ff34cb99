"""The data behind the pictures of notebook 12, against truths found another way; the paper's table."""

from itertools import combinations, product

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from matplotlib import pyplot as plt
from matplotlib.colors import to_rgb

from mvit_lib import mobilevit_s, mobilevit_xs, mobilevit_xxs
from mvit_lib.cost import count_parameters
from mvit_lib.course.tables import load_table
from mvit_lib.heads import DeepLabV3
from mvit_lib.look.figures import segmentation_deeplabv3 as figures
from mvit_lib.look.style import POSITION_COLOURS

CLASSES = ("background", *(f"animal {i}" for i in range(1, 11)))


@pytest.fixture(autouse=True)
def close_figures():
    plt.switch_backend("agg")
    yield
    plt.close("all")


def test_no_class_has_a_colour_of_the_in_patch_places():
    assert len(set(figures.CLASS_COLOURS)) == 10
    assert not set(figures.CLASS_COLOURS) & set(POSITION_COLOURS)


def test_a_painted_pixel_has_the_colour_of_its_class():
    picture = torch.full((3, 4, 5), 0.5)
    mask = torch.arange(20).reshape(4, 5) % 11
    mask[3, 4] = 255
    shown = figures.painted(picture, mask)  # [3, H, W]
    for y, x in product(range(4), range(5)):
        k = int(mask[y, x])
        colour = (1, 1, 1) if k == 255 else to_rgb(figures.CLASS_COLOURS[k - 1])
        expected = [0.55] * 3 if k == 0 else [0.15 * 0.55 + 0.85 * c for c in colour]
        assert shown[:, y, x].tolist() == pytest.approx(expected, abs=1e-6)


def test_masks_are_counted_and_named_where_they_have_room():
    pictures = [torch.rand(3, 40, 40) for _ in range(2)]
    masks = [torch.zeros(40, 40, dtype=torch.int64) for _ in range(2)]
    masks[0][5:25, 10:30], masks[0][0, 0], masks[0][39] = 3, 1, 255
    fig, data = figures.fig_masks(pictures, {"picture": None, "mask": masks}, CLASSES)
    assert data == {
        "picture": [],
        "mask": [
            {"background": 1600 - 400 - 1 - 40, "animal 1": 1, "animal 3": 400, "ignore": 40},
            {"background": 1600},
        ],
    }
    assert np.array_equal(fig.axes[0].images[0].get_array(), pictures[0].permute(1, 2, 0))
    assert np.array_equal(
        fig.axes[2].images[0].get_array(), figures.painted(pictures[0], masks[0]).permute(1, 2, 0)
    )
    (name,) = fig.axes[2].texts
    assert name.get_text() == "animal 3"
    assert masks[0][round(name.get_position()[1]), round(name.get_position()[0])] == 3


def test_a_class_without_room_is_named_below():
    masks = [torch.zeros(100, 100, dtype=torch.int64) for _ in range(2)]
    masks[0][:6, :6], masks[0][50:, 50:], masks[1][:5, :6], masks[1][0, 9] = 3, 5, 5, 7
    fig, _ = figures.fig_masks(
        [torch.rand(3, 100, 100)] * 2, {"picture": None, "mask": torch.stack(masks)}, CLASSES
    )
    assert [text.get_text() for text in fig.texts] == ["■ animal 3"]
    assert to_rgb(fig.texts[0].get_color()) == to_rgb(figures.CLASS_COLOURS[2])


def test_two_names_do_not_cover_each_other():
    mask = torch.zeros(40, 40, dtype=torch.int64)
    mask[18:21, 5:20], mask[18:21, 20:35], mask[37:, 20:] = 3, 5, 7
    fig, _ = figures.fig_masks([torch.rand(3, 40, 40)] * 4, {"mask": [mask] * 4}, CLASSES)
    fig.canvas.draw()
    boxes = [name.get_window_extent() for name in fig.axes[0].texts]
    assert len(boxes) == 3
    assert not any(a.overlaps(b) for a, b in combinations(boxes, 2))


def test_the_innermost_pixel_is_farthest_from_the_edge():
    draw = torch.Generator().manual_seed(0)
    area = F.interpolate(torch.rand(1, 1, 5, 6, generator=draw), (20, 24), mode="bilinear")[0, 0] > 0.45
    outside = F.pad(~area, (1, 1, 1, 1), value=True).nonzero() - 1  # [n, 2]
    distance = {
        (y, x): int((outside - torch.tensor([y, x])).abs().amax(1).min()) for y, x in area.nonzero().tolist()
    }
    assert distance[figures.innermost(area)] == max(distance.values())


@pytest.mark.parametrize("dilations", [(), (2,), (2, 2, 2), (1, 2, 3), (6, 12, 18)])
def test_paths_are_gradients_of_stacked_convolutions(dilations):
    n = 1 + 2 * sum(dilations)
    x = torch.zeros(1, 1, n, n, dtype=torch.float64, requires_grad=True)
    y = x
    for dilation in dilations:
        y = F.conv2d(y, torch.ones(1, 1, 3, 3, dtype=torch.float64), dilation=dilation)
    y.sum().backward()
    assert torch.equal(figures.paths(dilations), x.grad[0, 0].long())


def test_the_gridding_figure_leaves_holes_empty():
    fig, data = figures.fig_gridding([(2, 2, 2), (1, 2, 3)])
    assert {dilations: int((ways > 0).sum()) for dilations, ways in data.items()} == {
        (2, 2, 2): 49,
        (1, 2, 3): 169,
    }
    for ax, ways in zip(fig.axes, data.values(), strict=False):
        shown = ax.images[0].get_array()
        assert np.array_equal(shown.mask, (ways == 0).numpy() if (ways == 0).any() else False)
        assert np.array_equal(shown.filled(0), ways.numpy())


def test_views_are_what_each_branch_reads():
    places = {32: (22, 13), 8: (6, 1)}
    fig, data = figures.fig_views()
    assert list(data) == list(product(places, ("1 × 1", "dilation 6", "dilation 12", "dilation 18", "mean")))
    for ax, ((side, name), read) in zip(fig.axes, data.items(), strict=True):
        if name == "mean":
            assert read.all()
            continue
        dilation, K = (int(name.split()[1]), 3) if name.startswith("dilation") else (0, 1)
        x = torch.zeros(1, 1, side, side, requires_grad=True)
        y = F.conv2d(x, torch.ones(1, 1, K, K), padding=dilation, dilation=max(dilation, 1))
        y[(0, 0, *places[side])].backward()
        assert torch.equal(read, x.grad[0, 0] > 0)
        full = [line for line in ax.lines if line.get_markersize() == 5 and line.get_mfc() != "none"]
        assert len(full) == int(read.sum())
        assert len([line for line in ax.lines if line.get_markersize() == 5]) == K * K


@pytest.mark.parametrize(("cells", "stride"), [(3, 4), (2, 5)])
def test_alignment_is_that_of_interpolate(cells, stride):
    _, data = figures.fig_align(cells, stride)
    ramp = torch.arange(cells).float()[None, None]  # [B, C, W]
    for name, corners in (("centres", False), ("corners", True)):
        read = F.interpolate(ramp, cells * stride, mode="linear", align_corners=corners)[0, 0]
        torch.testing.assert_close(data[name], read)


def test_the_overlap_is_counted_pixel_by_pixel():
    draw = torch.Generator().manual_seed(1)
    truth, found = torch.randint(0, 3, (2, 3, 5), generator=draw)
    truth[2, 3:] = 255
    fig, data = figures.fig_overlap(found, truth, 1, 3)
    words = {"both": (1, 1), "truth only": (1, None), "found only": (None, 1)}
    for y, x in product(range(3), range(5)):
        t, f = int(truth[y, x]), int(found[y, x])
        kinds = [name for name in words if data[name][y, x]]
        expected = {(True, True): ["both"], (True, False): ["truth only"], (False, True): ["found only"]}
        assert kinds == ([] if t == 255 else expected.get((t == 1, f == 1), []))
    assert data["table"].sum() == 13
    for t, f in product(range(3), repeat=2):
        assert data["table"][t, f] == ((truth == t) & (found == f)).sum()
    said = [text.get_text().split("\n")[0] for text in fig.axes[0].texts]
    assert said == [f"{t} → {f}" for t, f in zip(truth.flatten(), found.flatten(), strict=True)]
    numbers = [int(text.get_text()) for text in fig.axes[1].texts]
    assert numbers == data["table"].flatten().tolist()


def test_classes_are_sorted_by_the_first_split():
    draw = torch.Generator().manual_seed(2)
    ious = {"test": torch.rand(11, generator=draw), "shift": torch.rand(11, generator=draw)}
    _, data = figures.fig_per_class(ious, CLASSES)
    firsts = [line["test"] for line in data.values()]
    assert firsts == sorted(firsts, reverse=True)
    for name, line in data.items():
        k = CLASSES.index(name)
        assert line == pytest.approx({split: 100 * iou[k].item() for split, iou in ious.items()})


def test_the_papers_table_is_drawn_and_agrees_with_our_networks():
    rows = load_table("voc_segmentation")
    assert all(row["source"] for row in rows)
    fig, data = figures.fig_voc(rows)
    assert [len(points) for points in data.values()] == [6, 6]
    for ax, points in zip(fig.axes, data.values(), strict=True):
        assert [(line.get_xdata()[0], line.get_ydata()[0]) for line in ax.lines] == [p[1:] for p in points]
        assert [text.get_text() for text in ax.texts] == [p[0] for p in points]
    for size, build in {"XXS": mobilevit_xxs, "XS": mobilevit_xs, "S": mobilevit_s}.items():
        millions = count_parameters(DeepLabV3(build(0, 16), 21)) / 1e6
        listed = {row["params_m"] for row in rows if row["model"] == f"MobileViT-{size}"}
        assert listed == {round(millions, 1)}
    both = {
        weights: {row["model"]: row["miou"] for row in rows
                  if (row["dataset"], row["weights"]) == ("VOC 2012", weights)}
        for weights in ("paper", "released")
    }  # fmt: skip
    assert {name: round(miou - both["paper"][name], 1) for name, miou in both["released"].items()} == {
        "MobileViT-XXS": -0.8,
        "MobileViT-XS": 0.0,
        "MobileViT-S": 0.2,
    }


@pytest.mark.parametrize("seeds", [0, 1, 3])
def test_scores_are_the_recorded_rows_however_many(seeds):
    rows = [
        {"name": name, "seed": seed, "miou": 40 + seed + len(name)}
        for name in ("pixelzoo-xxs-deeplabv3", "PixelZoo, MobileViT-XXS", "PixelZoo, MobileNetV2")
        for seed in range(seeds)
    ]
    assert figures.scores_of(rows, "MobileNetV2", "miou") == [61 + seed for seed in range(seeds)]
