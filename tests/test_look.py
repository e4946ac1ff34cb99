"""The pictures show what they say: tests read the data behind them."""

import io
from pathlib import Path

import numpy as np
import pytest
import skimage.data
import torch
from matplotlib import colormaps
from matplotlib import pyplot as plt
from matplotlib.patches import FancyBboxPatch
from PIL import Image

from mvit_lib import MobileViT, load_weights, mobilevit_xxs
from mvit_lib.attention import attention_from_pixel, record_attention
from mvit_lib.data import PixelZoo
from mvit_lib.look.figures.start_here import (
    COURSE,
    STOREY_COLOURS,
    fig_course_map,
    fig_feature_maps,
    fig_listening,
    fig_partners,
    partners_of,
)
from mvit_lib.look.style import compact_png
from mvit_lib.mobilevit import MobileViTConfig
from mvit_lib.patches import unfold_patches
from mvit_lib.transforms import EvalTransform

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(autouse=True)
def close_figures():
    plt.switch_backend("agg")
    yield
    plt.close("all")


def test_feature_maps_show_channels_of_the_network():
    model = mobilevit_xxs().eval()
    x = torch.rand(1, 3, 96, 64)
    with torch.no_grad():
        features = model.forward_features(x)
    _, data = fig_feature_maps(x, features, rows=2)
    for stage, maps in features.items():
        channels = maps[0]
        assert data[stage].shape == (2, *channels.shape[1:])
        assert all(any(torch.equal(shown, channel) for channel in channels) for shown in data[stage])


@pytest.mark.parametrize(("size", "patch"), [((8, 8), (2, 2)), ((6, 8), (3, 2)), ((4, 12), (2, 4))])
def test_partners_are_the_tokens_of_one_unfolded_sequence(size, patch):
    """Against the unfold itself: number the pixels, unfold, find the query's sequence."""
    H, W = size
    tokens = unfold_patches(torch.arange(H * W).reshape(1, 1, H, W), patch)[0, :, :, 0]  # [P, N]
    for y in range(H):
        for x in range(W):
            p = partners_of(8 * y + 3, 8 * x + 7, size, 8, patch)
            assert (p.row, p.column) == (y, x)
            assert tokens[p.position, p.token] == y * W + x
            assert sorted(tokens[p.position].tolist()) == p.partners.flatten().nonzero().flatten().tolist()


def test_the_partners_figure_draws_one_square_per_partner():
    model = mobilevit_xxs().eval()
    fig, data = fig_partners(torch.rand(1, 3, 256, 256), 100, 112, model)
    counts = {stage: int(p.partners.sum()) for stage, p in data.items()}
    assert counts == {"layer_3": 256, "layer_4": 64, "layer_5": 16}
    for ax, p in zip(fig.axes, data.values(), strict=True):
        corners = {(r.get_y(), r.get_x()) for r in ax.patches}
        side = ax.patches[0].get_width()
        assert corners == {(r * side, c * side) for r, c in p.partners.nonzero().tolist()}


def test_partners_of_another_patch_size_and_shape():
    config = MobileViTConfig(channels=(8,) * 6, dims=(8, 8, 8), patch_sizes=((4, 2), 2, 1))
    _, data = fig_partners(torch.rand(3, 64, 128), 0, 0, MobileViT(config))
    assert [int(p.partners.sum()) for p in data.values()] == [16, 8, 8]


def test_the_course_map_lists_every_notebook_in_order():
    fig, stations = fig_course_map("03")
    assert [number for number, _, _ in stations] == [f"{i:02d}" for i in range(15)]
    assert len({at for _, _, at in stations}) == 15
    texts = [text for text in fig.axes[0].texts if text.get_text()]
    numbers, names = texts[:30:2], texts[1:30:2]
    assert [text.get_text() for text in numbers] == [number for number, _, _ in COURSE]
    renderer = fig.canvas.get_renderer()
    boxes = [patch for patch in fig.axes[0].patches if isinstance(patch, FancyBboxPatch)]
    for box, name in zip(boxes, names, strict=True):
        inner, outer = name.get_window_extent(renderer), box.get_window_extent(renderer)
        assert outer.x0 < inner.x0
        assert inner.x1 < outer.x1


def contrast_with_white(colour: str) -> float:
    channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    luminance = sum(w * c for w, c in zip((0.2126, 0.7152, 0.0722), linear, strict=True))
    return 1.05 / (luminance + 0.05)


def test_white_text_on_the_course_map_is_readable():
    assert all(contrast_with_white(colour) >= 4.5 for colour in STOREY_COLOURS)


def test_bad_input_is_named():
    with pytest.raises(ValueError, match=r"\(2, 3, 8, 8\)"):
        fig_feature_maps(torch.rand(2, 3, 8, 8), {})
    with pytest.raises(ValueError, match=r"pixel \(64, 0\)"):
        partners_of(64, 0, (8, 8), 8, (2, 2))
    with pytest.raises(ValueError, match="'15'"):
        fig_course_map("15")


def test_the_pictures_of_the_readme_are_drawn_by_make_figures():
    from figures import draw

    stored = {path.stem for path in (ROOT / "figures").glob("*.png")}
    assert stored == {*draw(), "attention_explorer"}


def test_a_map_that_is_stretched_has_no_partners():
    with pytest.raises(ValueError, match=r"\(7, 7\) map of layer_5"):
        fig_partners(torch.rand(1, 3, 224, 224), 40, 40, mobilevit_xxs())


def test_the_listening_figure_paints_the_rows_of_the_second_transformers():
    config = MobileViTConfig(channels=(8,) * 6, dims=(8, 8, 8), depths=(2, 2, 2))
    with torch.no_grad(), record_attention(model := MobileViT(config).eval()) as maps:
        model(torch.rand(1, 3, 64, 96))
    grey = torch.full((1, 3, 64, 96), 0.5)  # so that a colour tells its weight and nothing else
    fig, data = fig_listening(maps, grey, 21, 50)
    assert list(data) == ["layer_3", "layer_4", "layer_5"]
    for ax, (stage, seen) in zip(fig.axes, data.items(), strict=False):
        assert torch.equal(seen.weights, attention_from_pixel(maps, 21, 50, (stage, 1)).weights)
        assert ax.get_title() == f"{stage}: {seen.weights.numel()} weights"
        painted = ax.images[0].get_array()
        most = seen.on_image == seen.on_image.max()
        assert np.allclose(painted[most], 0.85 * np.array(colormaps["viridis"](1.0)[:3]) + 0.15 * 128 / 255)
        yellow = painted[..., 0] - painted[..., 2]
        assert (yellow[most].min() > yellow[~most]).all()


def test_what_notebook_00_says_of_the_drawn_cat():
    """It is known, the photo of a cat is not; and a pixel of the wall listens to the cat."""
    model, (scene, label) = load_weights("pixelzoo-xxs"), PixelZoo("test", size=256)[335]
    photo = EvalTransform(256, 256)(Image.fromarray(skimage.data.chelsea()))
    with torch.no_grad(), record_attention(model) as maps:
        drawn, real = model(torch.stack([scene, photo])).softmax(1)
        assert model.classes[drawn.argmax()] == model.classes[label] == "cat"
        assert drawn[label] > 5 * drawn.topk(2).values[1]
        assert label not in real.topk(3).indices
        model(scene[None])
    cat = PixelZoo("test", size=256, task="segment", animals=(1, 1))[335][1] > 0
    assert not cat[100, 112]
    _, heard = fig_listening(maps, scene, 100, 112)
    for seen in heard.values():
        on_best = seen.on_image == seen.on_image.max()
        assert (on_best & cat).sum() > 0.4 * on_best.sum()


def test_a_drawing_keeps_greys_that_are_close():
    greys = [120, 122, 124, 126, 128, 130]
    figure, ax = plt.subplots(figsize=(6, 2))
    ax.imshow(np.array([[[grey] * 3 for grey in greys]], np.uint8), interpolation="nearest")
    picture = np.asarray(Image.open(io.BytesIO(compact_png(figure))).convert("L"))
    assert set(greys) <= set(picture[picture.shape[0] // 2].tolist())


def test_beside_a_photo_a_colour_bar_keeps_its_steps():
    figure, (ax, bar) = plt.subplots(1, 2, figsize=(8, 4))
    ax.imshow(skimage.data.astronaut())
    steps = np.arange(64)[:, None]  # [64, 1]
    bar.imshow(steps, cmap="viridis", aspect="auto", interpolation="nearest")
    bar.axis("off")
    stored = Image.open(io.BytesIO(compact_png(figure)))
    assert stored.mode == "P"
    picture = np.asarray(stored.convert("RGBA"))[..., :3]
    column = picture[:, int(0.75 * picture.shape[1])]  # [H, 3], through the middle of the bar
    assert len(np.unique(column, axis=0)) > 45


def test_a_photo_is_stored_small_and_looks_the_same():
    figure, ax = plt.subplots(figsize=(5, 5))
    ax.imshow(skimage.data.astronaut())
    picture = compact_png(figure)
    full = io.BytesIO()
    figure.savefig(full, format="png", bbox_inches="tight", dpi=figure.dpi)
    assert len(picture) < 0.5 * full.tell()
    images = [
        np.asarray(Image.open(io.BytesIO(b)).convert("RGBA"), float) for b in (picture, full.getvalue())
    ]
    assert np.abs(images[0] - images[1]).mean() < 8
