"""The data behind the pictures of notebook 09, against truths found another way."""

import math

import pytest
import torch
from matplotlib import pyplot as plt
from torch.nn import functional as F

from mvit_lib.look.figures import training as figures
from mvit_lib.train import Recipe

NETWORKS = ("MobileViT", "MobileNetV2", "ViT")
SETTINGS = (
    ("PixelZoo", 10, "basic"),
    ("PixelZoo", 100, "basic"),
    ("PixelZoo", 100, "advanced"),
    ("Sign Language Digits", 100, "basic"),
)


@pytest.fixture(autouse=True)
def close_figures():
    plt.switch_backend("agg")
    yield
    plt.close("all")


def recorded(seeds: int, networks: tuple[str, ...] = NETWORKS) -> list[dict]:
    """Rows as `make runs` records them, made up for the test: top-1 tells setting, network and seed."""
    return [
        {"name": f"{name} {share} %, {kind}, {network}", "seed": seed, "top1_test": made_up(i, network, seed)}
        for seed in range(seeds)
        for i, (name, share, kind) in enumerate(SETTINGS)
        for network in networks
    ]


def made_up(setting: int, network: str, seed: int) -> float:
    return 10.0 * setting + 3 * NETWORKS.index(network) + seed / 2


def texts(ax) -> list[str]:
    return [text.get_text() for text in ax.texts]


def test_the_schedule_is_the_closed_form():
    recipe, per_epoch = Recipe.imagenet(), 850
    fig, data = figures.fig_schedule(recipe, per_epoch)
    assert [len(fig.axes), *data] == [3, "whole", "first", "middle"]
    assert data["whole"][0] == list(range(300))
    for epochs, rates in data.values():
        for epoch, rate in zip(epochs, rates, strict=True):
            update = epoch * per_epoch
            wave = 2e-4 + 0.9e-3 * (1 + math.cos(math.pi * int(epoch + 1e-9) / 300))
            expected = 2e-4 + update * 6e-7 if update < 2999.5 else wave
            assert rate == pytest.approx(expected, abs=1e-8)
    assert len(set(data["middle"][1])) == 6
    curve = fig.axes[0].lines[0].get_ydata()
    assert list(curve) == pytest.approx([1000 * rate for rate in data["whole"][1]])


@pytest.mark.parametrize(("K", "s"), [(10, 0.1), (4, 0.3), (10, 0.0)])
def test_the_smoothed_loss_is_torchs_and_least_where_the_formula_says(K, s):
    _, data = figures.fig_smoothing(K, (s,))
    gap, loss = data[s]
    logits = torch.zeros(len(gap), K, dtype=torch.float64)
    logits[:, 1] = gap
    target = torch.ones(len(gap), dtype=torch.int64)
    expected = F.cross_entropy(logits, target, label_smoothing=s, reduction="none")
    torch.testing.assert_close(loss, expected)
    best = figures.best_gap(s, K)
    if s:
        assert gap[loss.argmin()].item() == pytest.approx(best, abs=0.006)
    else:
        assert best == math.inf and loss.argmin() == len(loss) - 1


def test_gaps_are_means_of_five_updates():
    fig, data = figures.fig_gaps({0: list(range(20)), 0.1: [2.0] * 20}, best=math.log(19))
    assert data == {0: [2, 7, 12, 17], 0.1: [2, 2, 2, 2]}
    assert "log 19 = 2.94" in texts(fig.axes[0])


def test_pictures_are_shown_as_they_are_in_their_rows():
    rows = {"a": [torch.rand(3, 4, 5) for _ in range(3)], "b": [torch.rand(3, 4, 5)]}
    fig, data = figures.fig_pictures(rows, captions=("one", "two"))
    shown = [[ax.images for ax in fig.axes[:3]], [ax.images for ax in fig.axes[3:]]]
    for name, line in zip(rows, shown, strict=True):
        for image, there in zip(rows[name], line, strict=False):
            assert torch.equal(torch.as_tensor(there[0].get_array()), image.permute(1, 2, 0))
    assert not shown[1][1] and not shown[1][2]
    assert data["b"][0].shape == (4, 5, 3)
    assert [ax.get_title() for ax in fig.axes[:3]] == ["one", "two", ""]


def test_a_wrong_answer_is_orange_and_says_what_it_is():
    fig, captions = figures.fig_answers(
        torch.rand(3, 3, 8, 8), ["cat", "fish", "owl"], ["cat", "cat", "cat"], 2
    )
    assert captions == ["cat", "cat\n(a fish)", "cat\n(an owl)"]
    assert [len(ax.images) for ax in fig.axes] == [1, 1, 1, 0]
    colours = [ax.xaxis.label.get_color() for ax in fig.axes[:3]]
    assert colours == [figures.INK, figures.ACCENT, figures.ACCENT]


def test_losses_and_the_line_of_guessing():
    losses = [2.0] * 10 + [1.0] * 10
    fig, data = figures.fig_losses(losses, classes=4)
    assert data == {"updates": losses, "means": [2.0, 1.0]}
    assert [line.get_ydata()[0] for line in fig.axes[0].lines if line.get_linestyle() == ":"] == [math.log(4)]
    assert list(fig.axes[0].lines[1].get_xdata()) == [5, 15]


def test_a_log_counts_the_epochs_of_all_stages():
    rows = [
        {"stage": stage, "epoch": epoch, "loss": 3 - epoch, "rate": epoch / 1000}
        for stage, epochs in (("shapes", 2), ("scenes", 3))
        for epoch in range(1, epochs + 1)
    ]
    _, data = figures.fig_log(rows)
    assert data == {
        "shapes": {"epoch": [1, 2], "loss": [2, 1], "rate": [1, 2]},
        "scenes": {"epoch": [3, 4, 5], "loss": [2, 1, 0], "rate": [1, 2, 3]},
    }
    fig, data = figures.fig_log([])
    assert data == {} and texts(fig.axes[0]) == ["no log is recorded yet"]


def test_rows_are_sorted_by_setting():
    found = figures.top1_by_setting(recorded(2))
    assert len(found) == len(SETTINGS) * len(NETWORKS)
    for (name, share, kind, network), values in found.items():
        i = SETTINGS.index((name, share, kind))
        assert values == [made_up(i, network, seed) for seed in range(2)]


@pytest.mark.parametrize("seeds", [1, 3])
def test_lines_by_data_size_hold_every_seed_of_the_basic_trainings(seeds):
    fig, data = figures.fig_data_size(recorded(seeds))
    assert set(data) == set(NETWORKS)
    for network, line in data.items():
        assert list(line) == [10, 100]
        for i, values in enumerate(line.values()):
            assert values == [made_up(i, network, seed) for seed in range(seeds)]
    means = [line.get_ydata() for line in fig.axes[0].lines if line.get_linestyle() == "-"]
    expected = [[sum(v) / seeds for v in line.values()] for line in data.values()]
    assert [list(line) for line in means] == [pytest.approx(line) for line in expected]


def test_names_beside_the_lines_do_not_overlap():
    placed = figures._apart({"a": 50.0, "b": 51.0, "c": 80.0}, 6)
    assert placed == {"a": 50, "b": 56, "c": 80}


def test_without_a_row_the_picture_says_so():
    fig, data = figures.fig_data_size([])
    assert data == {} and texts(fig.axes[0]) == ["no training is recorded yet"]


def test_some_rows_are_enough_to_draw():
    fig, data = figures.fig_data_size(recorded(1, ("ViT",))[:3])
    assert data == {"ViT": {10: [made_up(0, "ViT", 0)], 100: [made_up(1, "ViT", 0)]}}
    assert texts(fig.axes[0]) == ["ViT"]
