"""The still picture of attention: what is drawn, on which scale, with which entropy."""

import numpy as np
import pytest
import torch
from matplotlib import pyplot as plt
from tiny import tiny_model

from mvit_lib.attention import attention_from_pixel, record_attention
from mvit_lib.look import plot_attention
from mvit_lib.look.attention_grid import to_pil


@pytest.fixture(autouse=True)
def close_figures():
    plt.switch_backend("agg")
    yield
    plt.close("all")


@pytest.fixture
def seen():
    x, model = torch.rand(1, 3, 64, 96), tiny_model().eval()
    with torch.no_grad(), record_attention(model) as maps:
        model(x)
    return x, maps


def pictures(fig):
    return [ax for ax in fig.axes if ax.images]


def bars(fig):
    return [[t.get_text() for t in (*ax.get_xticklabels(), *ax.get_yticklabels()) if t.get_text()]
            for ax in fig.axes if not ax.images]  # fmt: skip


def test_all_layers_and_heads_each_on_its_own_scale(seen):
    x, maps = seen
    fig, data = plot_attention(maps, x, 20, 70)
    assert list(data) == [(("layer_3" if i == 0 else f"layer_{3 + i}", 0), head)
                          for i in range(3) for head in ("mean", 0, 1)]  # fmt: skip
    for (layer, head), found in data.items():
        expected = attention_from_pixel(maps, 20, 70, layer, head)
        assert torch.equal(found.on_image, expected.on_image)
    assert len(pictures(fig)) == 9
    for ax, found, labels in zip(pictures(fig), data.values(), bars(fig), strict=True):
        assert ax.get_xlabel() == f"entropy {100 * found.entropy:.3g} %"
        assert labels == ["0", f"{100 * found.weights.max().item():.3g} %"]
        # One colour for one weight: where the photo is painted, the largest weight is the most yellow.
        assert ax.images[0].get_array().shape == (64, 96, 3)


def test_one_scale_for_all_on_request(seen):
    x, maps = seen
    fig, data = plot_attention(
        maps, to_pil(x), 20, 70, layers=[2, ("layer_3", 0)], heads=[1], common_scale=True
    )
    assert list(data) == [(2, 1), (("layer_3", 0), 1)]
    top = max(found.weights.max().item() for found in data.values())
    assert bars(fig) == [["0", f"{100 * top:.3g} %"]]
    coarse, fine = (np.asarray(ax.images[0].get_array()) for ax in pictures(fig))
    # layer_5 has 1/16 of the patches, so its weights are larger: more yellow on the common scale.
    assert (coarse[..., 0] - coarse[..., 2]).mean() > (fine[..., 0] - fine[..., 2]).mean()


def test_another_picture_is_refused(seen):
    x, maps = seen
    with pytest.raises(ValueError, match="64 × 96 pixels, got 32 × 96"):
        plot_attention(maps, x[:, :, :32], 0, 0)
    with pytest.raises(ValueError, match=r"\(2, 3, 64, 96\)"):
        plot_attention(maps, x.repeat(2, 1, 1, 1), 0, 0)
    with pytest.raises(ValueError, match="head=7"):
        plot_attention(maps, x, 0, 0, heads=[7])
