"""The data behind the pictures of notebook 03, against truths found another way."""

import pytest
import torch
from matplotlib import pyplot as plt
from matplotlib.colors import to_hex

from mvit_lib.cost import count_macs, macs_by_module
from mvit_lib.look.figures import vit as figures
from mvit_lib.look.style import ACCENT
from mvit_lib.vit import ViT, ViTConfig


@pytest.fixture(autouse=True)
def close_figures():
    plt.switch_backend("agg")
    yield
    plt.close("all")


def test_rows_of_the_table_are_the_marked_patches():
    """Against plain slicing of the photo."""
    photo = torch.rand(1, 3, 24, 40)
    fig, data = figures.fig_patches(photo, (8, 10), marked=(0, 6, 11))
    assert data["corners"].tolist() == [[0, 0], [8, 20], [16, 30]]
    assert data["rows"].shape == (12, 240)
    for n, (top, left) in zip((0, 6, 11), data["corners"].tolist(), strict=True):
        patch = photo[0, :, top : top + 8, left : left + 10]
        assert torch.equal(data["rows"][n].reshape(8, 10, 3), patch.permute(1, 2, 0))
    frames = [p for p in fig.axes[0].patches if to_hex(p.get_edgecolor()) == ACCENT]
    assert [(p.get_y(), p.get_x()) for p in frames] == [tuple(c) for c in data["corners"].tolist()]
    for n, strip in zip((0, 6, 11), fig.axes[1:], strict=True):
        assert strip.get_ylabel() == str(n)
        assert torch.equal(torch.as_tensor(strip.images[0].get_array()), data["rows"][n : n + 1])


@pytest.mark.parametrize(("dim", "ratio", "patch"), [(24, 4, 8), (32, 2, 4)])
def test_the_crossing_lines_are_what_the_counter_counts(dim, ratio, patch):
    """Against PyTorch's counter on a real layer, with the class token's share left out by using D = dim."""
    sides = (patch * 4, patch * 8)
    _, data = figures.fig_crossing(dim, ratio, patch, sides)
    for i, side in enumerate(sides):
        config = ViTConfig(side, patch, dim=dim, depth=1, num_heads=2, mlp_ratio=ratio, num_classes=0)
        tokens = int(data["tokens"][i]) + 1  # the network has a class token, the picture has not
        layer = macs_by_module(ViT(config), side)["transformer"]
        linear = data["linear"][i] // data["tokens"][i] * tokens
        products = data["attention"][i] // data["tokens"][i] ** 2 * tokens**2
        assert layer == linear + products
        assert layer < count_macs(ViT(config), side)
    tokens = (data["crossing"] / patch) ** 2
    assert tokens == pytest.approx((2 + ratio) * dim)


def test_samples_show_the_largest_animal_of_each_class():
    images = torch.zeros(6, 3, 4, 4)
    labels = torch.tensor([1, 0, 1, 0, 2, 1])
    for index, pixels in enumerate((3, 9, 5, 2, 1, 4)):
        images[index].flatten(1)[:, :pixels] = 0.5
    rows = {"plain": images, "mirrored": images.flip(-1)}
    fig, data = figures.fig_samples(rows, labels, ("a", "b", "c"))
    assert data == {"a": 1, "b": 2, "c": 4}
    shown = fig.axes[4].images[0].get_array()  # second row, second column
    assert torch.equal(torch.as_tensor(shown), images.flip(-1)[2].permute(1, 2, 0))


def test_bars_are_as_long_as_the_scores():
    scores = {"ViT": 0.3, "CNN": 0.8}
    fig, data = figures.fig_accuracy(scores, chance=0.2)
    assert data == scores
    assert [bar.get_width() for bar in fig.axes[0].patches] == [0.3, 0.8]
    assert [text.get_text() for text in fig.axes[0].texts[:2]] == ["30%", "80%"]
