"""The data behind the pictures of notebook 10, against truths found another way."""

import numpy as np
import pytest
import torch
from matplotlib import pyplot as plt
from matplotlib.colors import Normalize
from scipy.ndimage import gaussian_filter

from mvit_lib import mobilevit_xxs
from mvit_lib.attention import AttentionMap, attention_from_pixel, record_attention
from mvit_lib.look.attention_grid import blend, blended_colours, grey_photo
from mvit_lib.look.figures import attention_over_pixels as figures


@pytest.fixture(autouse=True)
def close_figures():
    plt.switch_backend("agg")
    yield
    plt.close("all")


@pytest.fixture(scope="module")
def recorded():
    """An image [3, 64, 96] and the maps of a random network that saw it."""
    torch.manual_seed(0)
    image = torch.rand(3, 64, 96)
    model = mobilevit_xxs(num_classes=10).eval()
    with torch.no_grad(), record_attention(model) as maps:
        model(image[None])
    return image, maps


def made_up(weights: torch.Tensor, grid, map_size, image_size) -> AttentionMap:
    return AttentionMap(weights, "layer_3", 0, (2, 2), grid, map_size, 4, image_size)


def pictures_in(ax) -> list[np.ndarray]:
    return [np.asarray(image.get_array()) for image in ax.images]


def test_the_blur_is_a_gaussian():
    image = torch.rand(3, 20, 30, dtype=torch.float64)
    ours = figures.blur(image, 2.0)
    theirs = gaussian_filter(image.numpy(), (0, 2, 2), mode="nearest", truncate=3)
    assert np.abs(ours.numpy() - theirs).max() < 1e-6
    assert torch.allclose(figures.blur(torch.full((3, 8, 8), 0.3), 2.0), torch.tensor(0.3))


def test_cells_are_means_of_their_pixels():
    picture = torch.rand(6, 8)
    cells = figures.cell_means(picture, (3, 2))
    assert cells.shape == (3, 2)
    assert cells[1, 0].item() == pytest.approx(picture[2:4, :4].mean().item(), abs=1e-6)


@pytest.mark.parametrize(("size", "grid"), [((6, 8), (3, 4)), ((7, 10), (2, 3))])
def test_deletion_blurs_cell_by_cell(size, grid):
    """Against a loop that walks down the scores and paints one cell after the other."""
    draw = torch.Generator().manual_seed(1)
    image, blurred = torch.rand(2, 3, *size, generator=draw)
    scores = torch.rand(grid, generator=draw)
    counts = list(range(scores.numel() + 1))
    canvas, expected = image.clone(), [image.clone()]
    for cell in sorted(range(scores.numel()), key=lambda c: -scores.flatten()[c].item()):
        for y in range(size[0]):
            for x in range(size[1]):
                if (y * grid[0] // size[0], x * grid[1] // size[1]) == divmod(cell, grid[1]):
                    canvas[:, y, x] = blurred[:, y, x]
        expected.append(canvas.clone())
    found = figures.deleted(image, blurred, scores, counts)
    assert all(torch.equal(a, b) for a, b in zip(found, expected, strict=True))
    curve = figures.deletion_curve(lambda x: x.mean((1, 2, 3)), image, blurred, scores, counts)
    assert torch.allclose(curve, torch.stack([picture.mean() for picture in expected]))
    fig, shown = figures.fig_deleting(image, blurred, scores, [0, 2, 5], curve[[0, 2, 5]])
    assert all(torch.equal(shown[i], expected[k]) for i, k in enumerate((0, 2, 5)))
    assert fig.axes[1].get_title() == f"2 of {scores.numel()} cells"
    assert fig.axes[0].get_xlabel() == f"probability {curve[0]:.2f}"


def test_the_area_is_that_of_trapezoids():
    assert figures.area(torch.tensor([1.0, 0, 0]), [0, 0.5, 1]) == pytest.approx(0.25)
    assert figures.area(torch.tensor([1.0, 1.0]), [0, 1]) == 1


def test_sequences_count_places_fast_and_images_slowly():
    fig, rows = figures.fig_sequences(3, 4)
    assert rows == [(b, p) for b in range(3) for p in range(4)]
    ax = fig.axes[0]
    left = [patch for patch in ax.patches if hasattr(patch, "get_x") and patch.get_x() == 0]
    assert len(left) == 12
    assert left[0].get_facecolor() == left[4].get_facecolor() != left[1].get_facecolor()
    words = [text.get_text() for text in ax.texts]
    assert "image 2, place 3" in words and "sequence 11" in words


def test_a_row_becomes_a_picture_without_a_new_number(recorded):
    image, maps = recorded
    fig, data = figures.fig_row_to_picture(maps, image, 40, 70, ("layer_4", 2))
    m = maps[4]
    y, x = 40 // 16, 70 // 16
    row = m.weights[0, 2 * (y % 2) + x % 2, :, y // 2 * m.grid[1] + x // 2].mean(0)
    assert torch.allclose(data["row"], row)
    assert torch.equal(data["grid"].flatten(), data["row"])
    assert data["picture"].shape == (64, 96)
    assert set(data["picture"].unique().tolist()) == set(data["row"].tolist())
    heights = [bar.get_height() for bar in fig.axes[0].patches]
    assert heights == pytest.approx((100 * row).tolist(), rel=1e-5)
    assert fig.axes[0].get_xlim() == (-0.6, len(row) - 0.4)
    assert fig.axes[2].get_xlabel() == f"largest: {row.max() * len(row):.2g} × even"


def test_four_places_are_four_rows_and_fold_to_one_picture():
    draw = torch.Generator().manual_seed(2)
    weights = torch.randn(1, 4, 2, 6, 6, generator=draw).softmax(-1)
    maps, image = [made_up(weights, (2, 3), (4, 6), (16, 24))], torch.rand(3, 16, 24)
    fig, data = figures.fig_four_places(maps, image, 9, 13, 0)
    token = 1 * 3 + 1
    rows = weights[0].mean(1)[:, token]
    assert torch.allclose(data["weights"].flatten(1), rows)
    for i in range(4):
        for j in range(6):
            own = rows[2 * (i % 2) + j % 2, 3 * (i // 2) + j // 2]
            assert data["folded"][i, j] == own
    assert data["distances"][1, 2].item() == pytest.approx(
        0.5 * sum(abs(a - b) for a, b in zip(rows[1].tolist(), rows[2].tolist(), strict=True)), abs=1e-6
    )
    assert data["distances"].diagonal().abs().max() == 0
    entropy = -(rows[2] * rows[2].log()).sum() / np.log(6)
    assert fig.axes[2].get_xlabel() == f"entropy {100 * entropy:.3g} %"
    assert [ax.get_title() for ax in fig.axes[:5]] == [
        *(f"place {p}" for p in range(4)),
        "all four, folded",
    ]


def test_two_scales_of_the_same_weights(recorded):
    image, maps = recorded
    sharp = made_up(torch.eye(24).expand(1, 4, 1, 24, 24), (4, 6), (8, 12), (64, 96))
    fig, data = figures.fig_two_scales({"random": maps[2:3], "sharp": [sharp]}, image, 10, 20, 0)
    assert data["sharp"] == (0, 1, 0)
    seen = attention_from_pixel(maps[2:3], 10, 20, 0)
    assert data["random"] == (seen.weights.min().item(), seen.weights.max().item(), seen.entropy)
    stretched, honest = (pictures_in(ax)[0].astype(float) for ax in fig.axes[:2])
    photo = grey_photo(image, (64, 96))
    assert np.allclose(stretched, blend(photo, seen.on_image, Normalize(*data["random"][:2])))
    assert np.allclose(honest, blend(photo, seen.on_image, Normalize(0, 1)))
    assert not np.allclose(stretched, honest)
    assert fig.axes[3].get_xlabel() == "0 … 100 %"


def test_evenness_is_drawn_by_its_quantiles():
    shares = {"a": {"layer_3/0": torch.linspace(0, 1, 101)}, "b": {"layer_3/0": torch.ones(7)}}
    fig, data = figures.fig_evenness(shares)
    assert data["a"]["layer_3/0"] == pytest.approx((0.05, 0.5, 0.95))
    assert data["b"]["layer_3/0"] == (1, 1, 1)
    dots = [line.get_ydata()[0] for line in fig.axes[0].lines if line.get_marker() == "o"]
    assert dots == pytest.approx([50, 100])


def test_distances_are_drawn_as_they_are():
    found = {"far": {"x/0": 0.1, "x/1": 0.2}, "near": {"x/0": 0.5, "x/1": 0.4}}
    fig, data = figures.fig_distances(found)
    assert data == found
    assert [list(line.get_ydata()) for line in fig.axes[0].lines] == [[0.1, 0.2], [0.5, 0.4]]


def test_rollouts_show_shares_in_units_of_their_mean_and_ratios_as_they_are():
    shares, ratio = torch.rand(8, 8).double(), torch.rand(8, 8).double() + 0.5
    fig, data = figures.fig_rollouts([torch.rand(3, 8, 8)], {"rollout": [shares], "a ÷ b": [ratio]})
    assert data["rollout"][0].mean().item() == pytest.approx(1)
    assert torch.equal(data["a ÷ b"][0], ratio)
    drawn = [ax.images[0] for ax in fig.axes[1:3]]  # the photo comes first
    assert np.allclose(drawn[0].get_array(), shares / shares.mean())
    assert (drawn[1].norm.vmin, drawn[1].norm.vmax) == (0.25, 4)
    assert drawn[1].norm(1) == pytest.approx(0.5)


def test_every_column_of_rollouts_has_a_scale_of_its_own():
    flat, peak = torch.ones(8, 8).double(), torch.ones(8, 8).double()
    peak[2, 3] = 9
    columns = {"even": [flat, flat], "rollout": [peak, flat], "a ÷ b": [flat, flat + 0.5]}
    fig, _ = figures.fig_rollouts([torch.rand(3, 8, 8)] * 2, columns)
    axes = np.array(fig.axes).reshape(3, 4)
    assert [[len(ax.images) for ax in line] for line in axes[:2]] == [[1] * 4] * 2
    assert (axes[0, 1].images[0].norm.vmax, axes[0, 2].images[0].norm.vmax) == (2, 4)
    assert [label.get_text() for label in axes[2, 2].get_xticklabels()] == ["0×", "1×", "≥4×"]
    assert [label.get_text() for label in axes[2, 3].get_xticklabels()] == ["0.25×", "1×", "4×"]


def test_a_weight_of_0_leaves_the_photo_bare():
    photo = np.random.default_rng(0).integers(0, 256, (2, 3, 3), dtype=np.uint8)
    found = blend(photo, torch.tensor([[0.0, 0.3, 1], [1, 0.1, 0]]), Normalize(0, 1))
    change = np.abs(found - photo / 255).max(-1)  # [H, W]
    assert max(change[0, 0], change[1, 2]) < 1e-6
    assert (change.flatten()[1:5] > 0.05).all()
    yellow = np.array([253, 231, 37]) / 255
    assert np.allclose(found[0, 2], 0.85 * yellow + 0.15 * photo[0, 2] / 255, atol=0.01)


def test_colour_bars_show_the_colours_that_lie_over_a_white_photo():
    weights, white = torch.tensor([[0.0, 0.4, 1]]), np.full((1, 3, 3), 255)
    found = blended_colours()([0.0, 0.4, 1.0])[:, :3]
    assert np.abs(found - blend(white, weights, Normalize(0, 1))[0]).max() < 0.01


def test_curves_and_their_areas():
    shares = [0, 0.25, 1]
    deletion = {"random order": torch.tensor([1.0, 0.5, 0]), "rollout": torch.tensor([1.0, 0, 0])}
    insertion = {name: curve.flip(0) for name, curve in deletion.items()}
    fig, areas = figures.fig_curves(deletion, insertion, shares)
    assert areas["rollout"] == pytest.approx((0.125, 0.75 / 2))
    assert areas["random order"] == pytest.approx((0.1875 + 0.1875, 0.0625 + 0.5625))
    assert [list(line.get_ydata()) for line in fig.axes[0].lines] == [c.tolist() for c in deletion.values()]
    assert [line.get_linestyle() for line in fig.axes[0].lines] == ["--", "-"]
    words = [text.get_text() for text in fig.axes[2].texts]
    assert words.index("rollout") < words.index("random order")
    assert words[words.index("rollout") + 1] == f"{areas['rollout'][0]:.2f}"
