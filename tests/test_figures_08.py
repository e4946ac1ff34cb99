"""The data behind the pictures of notebook 08, against truths found another way."""

from itertools import product

import pytest
import torch
from matplotlib import pyplot as plt
from matplotlib.colors import to_hex
from matplotlib.patches import Rectangle
from test_look import contrast_with_white

from mvit_lib.data import MultiScaleSampler
from mvit_lib.look.figures import multi_scale_sampler as figures

SIDES = (160, 192, 256, 288, 320)
READ_AT = (64, 80, 96, 112, 128, 144, 160, 192)


@pytest.fixture(autouse=True)
def close_figures():
    plt.switch_backend("agg")
    yield
    plt.close("all")


def squares(ax):
    return [patch for patch in ax.patches if isinstance(patch, Rectangle)]


def recorded(parts: dict[str, int]) -> list[dict]:
    """Rows as `make runs` records them: training -> how many seeds; made up for the test."""
    return [
        {"name": name, "seed": seed, "cpu_seconds": 600 + seed, "updates": 1500}
        | {
            f"top1_{side}": 50 + seed + side / 10 + len(name)
            for side in (80, 96, 128, 144, 160, 64, 112, 192)
        }
        for name, seeds in parts.items()
        for seed in range(seeds)
    ]


def test_every_size_has_its_own_colour_and_white_is_readable_on_it():
    colours = figures.size_colours([320, 160, 192, 160, 288, 256])
    assert list(colours) == list(SIDES)
    assert tuple(colours.values()) == figures.SIZE_COLOURS
    assert figures.size_colours([320, 256]) == {256: colours[256], 320: colours[320]}
    assert figures.size_colours([64]) == {64: figures.SIZE_COLOURS[0]}
    assert list(figures.size_colours([2, 3, 4]).values()) == list(figures.SIZE_COLOURS[::2])
    assert all(contrast_with_white(colour) >= 4.5 for colour in figures.SIZE_COLOURS)


def test_an_image_is_shown_at_its_sizes():
    image = torch.rand(3, 96, 96)
    fig, shown = figures.fig_reading(image, {32: ("cat", 0.5), 96: ("butterfly", 1.0)})
    assert torch.equal(shown[96], image.permute(1, 2, 0))
    blocks = image.unfold(1, 3, 3).unfold(2, 3, 3).mean((3, 4)).permute(1, 2, 0)
    assert (shown[32] - blocks).abs().max() < 0.25  # smoothed over neighbours too
    assert shown[32].mean() == pytest.approx(image.mean().item(), abs=0.01)
    extents = [picture.get_extent() for picture in fig.axes[0].images]
    assert [(right - left, top - bottom) for left, right, bottom, top in extents] == [(32, 32), (96, 96)]
    assert extents[0][1] < extents[1][0]
    assert [t.get_text() for t in fig.axes[0].texts] == ["32 px", "cat 50 %", "96 px", "butterfly 100 %"]


def test_a_steps_pixels_are_tiled_without_gap_or_overlap():
    fig, counts = figures.fig_same_pixels(largest=4, batch=9, sides=(4, 3, 2))
    sampler = MultiScaleSampler(1, (4, 3, 2), base_batch=9)
    assert counts == {side: sampler.batches[side, side] for side in (4, 3, 2)}
    for ax, side in zip(fig.axes, counts, strict=True):
        tiles = squares(ax)
        corners = {(round(tile.get_x() - 0.08), round(tile.get_y() - 0.08)) for tile in tiles}
        assert corners == set(product(range(0, 12, side), repeat=2))
        assert len(tiles) == counts[side]
        assert all(tile.get_width() == pytest.approx(side - 0.16) for tile in tiles)


@pytest.mark.parametrize(("largest", "batch", "sides"), [(4, 8, (4, 2)), (4, 9, (4, 5))])
def test_pixels_that_form_no_square_are_named(largest, batch, sides):
    with pytest.raises(ValueError, match=f"{largest**2 * batch} pixels"):
        figures.fig_same_pixels(largest, batch, sides)


def test_bars_are_the_steps_of_the_plans():
    plans = {
        "one": MultiScaleSampler(1000, (320,), base_batch=100).plan(),
        "many": MultiScaleSampler(1000, SIDES, base_batch=40, seed=4).plan(),
    }
    fig, data = figures.fig_timeline(plans)
    assert data["one"] == (10, 1000, 320 * 320 * 1000)
    for ax, (name, steps) in zip(fig.axes, plans.items(), strict=True):
        bars = squares(ax)
        assert [bar.get_height() for bar in bars] == [height for (height, _), _ in steps]
        pixels = [height * width * batch / 1e6 for (height, width), batch in steps]
        assert [bar.get_width() / 0.94 for bar in bars] == pytest.approx(pixels)
        assert [bar.get_x() for bar in bars] == pytest.approx([sum(pixels[:i]) for i in range(len(bars))])
        assert [text.get_text() for text in ax.texts] == [str(batch) for _, batch in steps]
        assert data[name][2] / 1e6 == pytest.approx(sum(pixels))
    assert fig.axes[0].get_xlim() == fig.axes[1].get_xlim()


def test_cells_are_what_the_ranks_draw():
    drawn = {"rank 0": [160, 320, 160], "rank 1": [160, 160], "rank 2": [160, 320, 320]}
    fig, agree = figures.fig_ranks(drawn, stray=("rank 1", 1))
    assert agree == {"rank 0": [True, False, False], "rank 1": [True, False], "rank 2": [True, False, False]}
    cells = [cell for cell in squares(fig.axes[0]) if cell.get_fill()]
    sides = [side for line in drawn.values() for side in line]
    colours = figures.size_colours(sides)
    assert [to_hex(cell.get_facecolor()) for cell in cells] == [colours[side] for side in sides]
    assert len(squares(fig.axes[0])) == 9  # the third step of rank 1 is dotted
    numbers = [text.get_text() for text in fig.axes[0].texts if text.get_text().isdigit()]
    assert numbers == [str(side) for side in sides]
    assert "one stray draw" in {text.get_text() for text in fig.axes[0].texts}
    assert not any("stray" in text.get_text() for text in figures.fig_ranks(drawn)[0].axes[0].texts)


def test_memory_is_bytes_times_images():
    kept = {160: 2e7, 320: 8e7}
    fig, data = figures.fig_memory(kept, {160: 400, 320: 100}, batch=100)
    assert data == {"equal batches": {160: 2.0, 320: 8.0}, "b_t": {160: 8.0, 320: 8.0}}
    drawn = [line.get_ydata() for line in fig.axes[0].lines]
    assert [list(values) for values in drawn] == [[2.0, 8.0], [8.0, 8.0]]


@pytest.mark.parametrize(
    "parts",
    [
        {},
        {"TrashNet, fixed": 1},
        {"TrashNet, fixed": 2, "TrashNet, multi-scale": 1},
        {
            f"{data}, {s}": 3
            for data in ("PixelZoo", "Sign Language Digits", "TrashNet")
            for s in ("fixed", "multi-scale")
        },
    ],
    ids=["none", "one", "a pair", "all"],
)
def test_lines_are_the_recorded_rows_however_many(parts):
    rows = recorded(parts)
    fig, data = figures.fig_accuracy_by_size(rows)
    assert {
        f"{name}, {sampler}": len(line[64]) for name, lines in data.items() for sampler, line in lines.items()
    } == parts
    for row in rows:
        name, sampler = row["name"].split(", ")
        assert tuple(data[name][sampler]) == READ_AT
        assert {row[f"top1_{side}"] for side in READ_AT} <= {
            value for line in data[name][sampler].values() for value in line
        }
    for ax, (name, lines) in zip(fig.axes, data.items(), strict=False):
        assert ax.get_title() == name
        for sampler, line in lines.items():
            colour = figures.SAMPLER_COLOURS[sampler]
            (drawn,) = [d for d in ax.lines if d.get_linestyle() == "-" and d.get_color() == colour]
            means = [sum(values) / len(values) for values in line.values()]
            assert list(drawn.get_ydata()) == pytest.approx(means)
            assert list(drawn.get_xdata()) == list(READ_AT)
            dots = [d for d in ax.lines if d.get_marker() == "o" and d.get_color() == colour]
            assert [list(d.get_ydata()) for d in dots] == list(line.values())
    if not rows:
        assert [text.get_text() for text in fig.axes[0].texts] == ["no training is recorded yet"]


def test_rows_are_told_apart_by_dataset_and_sampler():
    rows = recorded({"TrashNet, fixed": 2, "PixelZoo, fixed": 1, "TrashNet, multi-scale": 1})
    groups = figures.by_training(rows)
    assert {data: {s: len(part) for s, part in parts.items()} for data, parts in groups.items()} == {
        "TrashNet": {"fixed": 2, "multi-scale": 1},
        "PixelZoo": {"fixed": 1},
    }
    assert [row["seed"] for row in groups["TrashNet"]["fixed"]] == [0, 1]
