"""The pictures of notebook 02 show what they say, by arithmetic of their own."""

import math

import numpy as np
import pytest
import torch
from matplotlib import pyplot as plt
from matplotlib.patches import Rectangle

from mvit_lib.look.figures.attention import (
    fig_attention,
    fig_depth,
    fig_heads,
    fig_order,
    fig_saturation,
    fig_temperatures,
)

NAMES = ["red", "orange", "green", "forest"]
TOKENS = torch.tensor([[1.0, 0, 0], [1, 0.5, 0], [0, 1, 0], [0, 0.5, 0]])
WEIGHTS = torch.tensor([[0.5, 0.5, 0, 0], [0, 1, 0, 0], [0.25, 0.25, 0.25, 0.25], [0, 0, 0.1, 0.9]])


@pytest.fixture(autouse=True)
def close_figures():
    plt.switch_backend("agg")
    yield
    plt.close("all")


def texts(ax) -> list[str]:
    return [text.get_text() for text in ax.texts]


def colours(ax, size: float) -> list[tuple[float, ...]]:
    """The face colours of the swatches of that size, in the order they were drawn."""
    squares = [p for p in ax.patches if isinstance(p, Rectangle) and p.get_width() == pytest.approx(size)]
    return [tuple(p.get_facecolor()[:3]) for p in squares]


def test_attention_shows_every_weight_and_the_means():
    fig, data = fig_attention(TOKENS, WEIGHTS, NAMES)
    means = np.array([[1, 0.25, 0], [1, 0.5, 0], [0.5, 0.5, 0], [0, 0.55, 0]])
    np.testing.assert_allclose(data["output"], means, atol=1e-6)
    shown = texts(fig.axes[0])
    assert [shown.count(word) for word in (".50", "1.00", ".25", ".90", ".10")] == [2, 1, 4, 1, 1]
    assert shown.count(".00") == 7
    assert set(NAMES) <= set(shown)
    np.testing.assert_allclose(colours(fig.axes[0], 0.8), means, atol=1e-6)


def test_heads_have_a_table_each():
    weights = torch.stack([WEIGHTS, torch.eye(4)])
    fig, data = fig_heads(TOKENS, weights, NAMES, ["a", "b"])
    assert torch.equal(data, weights)
    assert [ax.get_title() for ax in fig.axes] == ["a", "b"]
    assert texts(fig.axes[1]).count("1.00") == 4
    assert texts(fig.axes[0]).count(".25") == 4
    assert all("… listens to" in texts(ax) for ax in fig.axes)


def test_saturation_is_what_random_vectors_give():
    widths = (1, 16, 64)
    _, data = fig_saturation(widths, keys=32, queries=400)
    rng = np.random.default_rng(5)
    for i, D in enumerate(widths):
        q, k = rng.standard_normal((2000, 1, D)), rng.standard_normal((2000, 32, D))
        scores = (q * k).sum(-1)
        for name, scaled in (("plain", scores), ("divided", scores / math.sqrt(D))):
            powers = np.exp(scaled - scaled.max(-1, keepdims=True))
            weights = powers / powers.sum(-1, keepdims=True)
            assert data[name][i] == pytest.approx(weights.max(-1).mean(), abs=0.04)
            assert data[f"{name} answer"][i] == pytest.approx(1 - (weights**2).sum(-1).mean(), abs=0.04)
    assert torch.equal(data["plain"][:1], data["divided"][:1])
    assert (data["plain"].diff() > 0.1).all()
    assert (data["divided"].diff().abs() < 0.05).all()


def test_temperatures_are_bars_of_softmax():
    scores = torch.tensor([0.0, math.log(2), math.log(4), math.log(8)])
    fig, weights = fig_temperatures(scores, TOKENS, NAMES, (1, 0.5))
    expected = np.array([[1, 2, 4, 8], [1, 4, 16, 64]]) / [[15], [85]]
    np.testing.assert_allclose(weights, expected, atol=1e-6)
    for ax, row in zip(fig.axes, expected, strict=True):
        np.testing.assert_allclose([bar.get_height() for bar in ax.patches], row, atol=1e-6)
    assert [ax.get_title() for ax in fig.axes] == ["T = 1", "T = 0.5"]


def test_order_tells_a_blind_layer_from_one_that_counts():
    order = torch.tensor([2, 0, 3, 1])
    fig, data = fig_order(TOKENS, lambda x: x / 2, order, NAMES)
    assert torch.equal(data["shuffled"], data["output"][order])
    shown = texts(fig.axes[1])
    assert shown == ["green", "red", "forest", "orange"]
    assert colours(fig.axes[1], 0.8)[::2] == [tuple(TOKENS[i].tolist()) for i in order]
    _, data = fig_order(TOKENS, lambda x: x.cumsum(0) / 4, order, NAMES)
    assert not torch.equal(data["shuffled"], data["output"][order])


def test_depth_replaces_and_adds():
    fig, data = fig_depth(TOKENS, lambda x: x.mean(0, keepdim=True).expand_as(x), depth=2)
    mean = np.array([0.5, 0.5, 0])
    np.testing.assert_allclose(data["replace"][1:], np.broadcast_to(mean, (2, 4, 3)))
    np.testing.assert_allclose(data["add"][2], TOKENS.numpy() + 3 * mean)
    np.testing.assert_allclose(data["replace distance"], [math.sqrt(2), 0, 0], atol=1e-6)  # red and green
    np.testing.assert_allclose(data["add distance"], [math.sqrt(2)] * 3, atol=1e-6)
    assert [texts(ax).count("1.41") for ax in fig.axes] == [1, 3]
    apart = 0.5 + TOKENS.numpy() - mean  # the largest difference is 0.5, half of the scale
    np.testing.assert_allclose(colours(fig.axes[1], 0.86), np.tile(apart, (3, 1)), atol=1e-6)
    np.testing.assert_allclose(colours(fig.axes[0], 0.86)[4:], 0.5, atol=1e-6)


def test_attention_that_replaces_leaves_grey_after_two_layers_and_adding_keeps_colours():
    pixels = torch.cat([TOKENS, torch.tensor([[0.0, 0, 1], [1, 1, 1]])])
    fig, data = fig_depth(pixels, lambda x: torch.softmax(x @ x.T / math.sqrt(3), dim=-1) @ x)
    replaced, added = (np.array(colours(ax, 0.86)).reshape(5, 6, 3) for ax in fig.axes)
    assert np.abs(replaced[2:] - 0.5).max() < 1 / 255  # no screen shows the difference from grey
    assert np.ptp(replaced[0], axis=-1).max() > 0.2
    for row in added:
        assert all(np.abs(a - b).max() > 0.1 for i, a in enumerate(row) for b in row[:i])
    np.testing.assert_allclose(data["add distance"], [1.5, 1.753, 2.199, 2.541, 2.545], atol=1e-3)


def test_one_colour_means_one_weight_in_every_table():
    weak, strong = fig_attention(TOKENS, WEIGHTS / 2, NAMES)[0], fig_attention(TOKENS, WEIGHTS, NAMES)[0]
    assert colours(weak.axes[0], 1)[1 * 4 + 1] == colours(strong.axes[0], 1)[0]  # 1 / 2 and 0.5


def test_every_bar_has_its_number():
    fig, _ = fig_temperatures(torch.tensor([0.0, 0.0, 0.0, 10.0]), TOKENS, NAMES, (1, 100))
    assert texts(fig.axes[0]) == [".00", ".00", ".00", "1.00"]
    assert texts(fig.axes[1]) == [".24", ".24", ".24", ".27"]
