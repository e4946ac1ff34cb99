"""The pictures of notebook 06 against autograd, torch and the definitions; its small networks."""

import csv
import html
import json
import re

import pytest
import torch
import torch.nn.functional as F
from matplotlib import pyplot as plt
from torch import nn

from mvit_lib import MobileViTBlock, mobilevit_xxs
from mvit_lib.course.checks import c06_mobilevit_block as checks
from mvit_lib.course.checks import c06_who_hears as hear_checks
from mvit_lib.course.two_marks import (
    BandBlock,
    accuracy,
    block_network,
    far_apart,
    learn,
    mark_positions,
    side_by_side,
)
from mvit_lib.look.figures import mobilevit_block as figures
from mvit_lib.look.figures import who_hears_whom as hearing
from mvit_lib.look.style import POSITION_COLOURS
from mvit_lib.patches import fold_patches, unfold_patches


@pytest.fixture(autouse=True)
def close_figures():
    plt.switch_backend("agg")
    yield
    plt.close("all")


def words(ax) -> list[str]:
    return [text.get_text() for text in ax.texts]


def test_places_are_the_sequences_of_the_unfold():
    fig, data = figures.fig_places((4, 6), (1, 2))
    numbers = torch.arange(24).reshape(4, 6)
    for p, (r, s) in enumerate(((0, 0), (0, 1), (1, 0), (1, 1))):
        assert data["sequences"][p].tolist() == numbers[r::2, s::2].flatten().tolist()
    assert data["partners"].nonzero().tolist() == [[y, x] for y in (1, 3) for x in (0, 2, 4)]
    squares = [patch for patch in fig.axes[0].patches if patch.get_width() == patch.get_height()]
    colours = [plt.matplotlib.colors.to_hex(patch.get_facecolor()) for patch in squares]
    assert colours[:24] == [POSITION_COLOURS[y % 2 * 2 + x % 2] for y in range(4) for x in range(6)]
    assert colours[24:] == [colour for colour in POSITION_COLOURS for _ in range(6)]
    column, row = [patch for patch in fig.axes[0].patches if max(patch.get_width(), patch.get_height()) > 1]
    left = column.get_x() - 1  # token 1 of sequence 2 is pixel 8
    assert (column.get_y(), column.get_height()) == (0, 4)
    assert (row.get_x(), row.get_y(), row.get_width(), row.get_height()) == (left, 2, 6, 1)


@pytest.mark.parametrize("size", [(32, 32), (7, 9)])
def test_the_shapes_of_the_block_are_read_from_a_run(size):
    fig, shapes = figures.fig_block(mobilevit_xxs().eval().layer_3[1], size)
    H, W = (side + side % 2 for side in size)
    assert shapes["X"] == shapes["Y"] == (48, *size)
    assert shapes["X_L"] == shapes["X_F"] == (64, *size)
    assert shapes["X_U"] == shapes["X_G"] == (4, H * W // 4, 64)
    assert " × ".join(map(str, shapes["X_U"])) in words(fig.axes[0])
    assert "concat\n2C = 96" in words(fig.axes[0])
    names = {name for name, _ in mobilevit_xxs().layer_3[1].named_children()}
    assert names <= set(words(fig.axes[0]))


def test_order_is_kept_by_the_transformer_and_known_to_the_convolutions_nearby():
    photo = torch.rand(1, 3, 32, 48, generator=torch.Generator().manual_seed(0))
    _, data = figures.fig_order(photo, 16, torch.tensor([5, 0, 3, 1, 4, 2]))
    alone, block = data.values()
    assert alone.max() < 1e-12
    assert block.max() > 0.3
    inside = block.view(2, 16, 3, 16)[:, 4:-4, :, 4:-4]
    assert 1e-6 < inside.max() < 0.1 * block.max()  # the news of the seams, carried by attention
    order = torch.randperm(16 * 24, generator=torch.Generator().manual_seed(0))
    alone, block = figures.order_differences(photo, 2, order).values()
    assert alone.max() < 1e-12
    assert (block > 0.1).double().mean() > 0.5


def test_far_marks_are_heard_without_their_place():
    block = hearing.small_block((2, 2))
    a, b = torch.randn(2, 8, 1, 1, dtype=torch.float64, generator=torch.Generator().manual_seed(0))

    def listen(top, bottom, low=18):
        x = torch.full((1, 8, 24, 24), 0.5).double()
        x[..., 4:6, 4:6], x[..., low : low + 2, 4:6] = top, bottom
        return block(x)[0, :, 12, 20]

    torch.testing.assert_close(listen(a, b), listen(b, a), atol=1e-12, rtol=0)
    assert (listen(a, b) - listen(a, a)).abs().max() > 1e-5
    for elsewhere in (17, 22):  # another place in the patch; at the border
        assert (listen(a, b, elsewhere) - listen(b, a, elsewhere)).abs().max() > 1e-5


def test_loudness_is_a_share():
    x = torch.ones(1, 1, 2, 4).double()
    share = hearing.loudness(lambda x: 3 * x[:, :, :1] + x[:, :, 1:2], x, (0, 2))
    torch.testing.assert_close(share, torch.tensor([[0, 0, 0.75, 0], [0, 0, 0.25, 0]]).double())


def test_shuffled_moves_whole_patches():
    x = torch.arange(24.0).reshape(1, 1, 4, 6)
    moved = figures.shuffled(x, torch.tensor([5, 1, 2, 3, 4, 0]), 2)
    assert torch.equal(moved[0, 0, :2, :2], x[0, 0, 2:, 4:])
    assert torch.equal(moved[0, 0, 2:, 4:], x[0, 0, :2, :2])
    assert torch.equal(moved[0, 0, :2, 2:], x[0, 0, :2, 2:])


@pytest.mark.parametrize("kernel", [1, 3, 5])
@pytest.mark.parametrize("patch", [(2, 2), (3, 3), (4, 4), (2, 4), (6, 3)])
def test_the_formula_agrees_with_autograd_at_every_kind_of_pixel(patch, kernel):
    """All in-patch places of the first and the last patch: the corners and what lies between."""
    size, block = (12, 12), hearing.small_block(patch, kernel)
    for y in {*range(patch[0]), *range(12 - patch[0], 12)}:
        x = (5 * y + 2) % 12
        asked = hearing.heard_by(lambda m: hearing.after_fold(block, m), 8, size, (y, x))
        assert torch.equal(asked, hearing.hears(y, x, size, patch, kernel))
        assert torch.equal(asked, hear_checks.heard(y, x, size, patch, kernel))


@pytest.mark.parametrize("side", [2, 3, 4])
@pytest.mark.parametrize("fused", [False, True])
def test_coverage_is_what_autograd_sees_at_every_pixel(side, fused):
    size, block = (12, 12), hearing.small_block((side, side))
    function = block if fused else lambda m: hearing.after_fold(block, m)
    asked = [
        [hearing.heard_by(function, 8, size, (y, x)).double().mean() for x in range(12)] for y in range(12)
    ]
    shares = hearing.coverage(size, (side, side), 3, fused)
    torch.testing.assert_close(torch.tensor(asked, dtype=torch.float64), shares)


def test_the_numbers_of_the_table():
    """Shares on a 24 × 24 map, n = 3: least, mean, most after the fold; least, mean after the block."""
    expected = {
        2: (1, 1, 1, 1, 1),
        3: (0.9184, 0.9452, 1, 1, 1),
        4: (0.5017, 0.5317, 0.5625, 0.9184, 0.9931),
        8: (0.1111, 0.1329, 0.1406, 0.2101, 0.3608),
    }
    for side, numbers in expected.items():
        fold = hearing.coverage((24, 24), (side, side), 3)
        block = hearing.coverage((24, 24), (side, side), 3, fused=True)
        found = (fold.min(), fold.mean(), fold.max(), block.min(), block.mean())
        assert [round(value.item(), 4) for value in found] == pytest.approx(numbers, abs=6e-5)


@pytest.mark.parametrize("n", [1, 3, 5, 7])
def test_the_exact_condition(n):
    for h in range(1, 9):
        everything = bool((hearing.coverage((4 * h, 4 * h), (h, h), n) == 1).all())
        assert everything == (h <= (n + 1) / 2)
        assert everything == (hear_checks.smallest_kernel((h, h)) <= n)


def test_the_axis_figure_names_what_is_missed():
    fig, data = hearing.fig_axis([(8, 2, 0), (9, 3, 0), (9, 3, 1)])
    assert [ax.texts[-1].get_text() for ax in fig.axes] == ["misses none", "misses 8", "misses none"]
    assert data[3, 0].tolist() == [True] * 8 + [False]


def test_the_coverage_figure_asks_autograd_and_titles_tell_the_share():
    fig, data = hearing.fig_coverage((12, 12), (2, 4), (1, 3), (5, 4))
    for (side, kernel), heard in data.items():
        assert torch.equal(heard, hearing.hears(5, 4, (12, 12), (side, side), kernel))
    assert [ax.get_title().split("\n")[-1] for ax in fig.axes] == ["25 %", "6.25 %", "100 %", "50 %"]


def test_heard_by_sees_an_identity_and_a_blur():
    assert hearing.heard_by(lambda x: x, 2, (4, 5), (1, 2)).nonzero().tolist() == [[1, 2]]
    blur = nn.AvgPool2d(3, 1, 1)
    assert hearing.heard_by(blur, 3, (4, 5), (0, 0)).nonzero().tolist() == [[0, 0], [0, 1], [1, 0], [1, 1]]


def test_stretching_is_what_the_block_does():
    row = torch.tensor([1.0, 3, 2, 5, 4, 4, 0])
    _, data = figures.fig_stretch(row, 2)
    x = row.expand(1, 1, 7, 7)
    stretched = F.interpolate(x, (8, 8), mode="bilinear", align_corners=False)
    back = F.interpolate(stretched, (7, 7), mode="bilinear", align_corners=False)
    torch.testing.assert_close(data["stretched"], stretched[0, 0, 3])
    torch.testing.assert_close(data["back"], back[0, 0, 3])
    assert len(figures.fig_stretch(row, 3)[1]["stretched"]) == 9


@pytest.mark.parametrize("side", [5, 7])
def test_stretched_maps_of_odd_sides_leave_no_pixel_deaf(side):
    """Patches of 2, kernel 1: on an even map a pixel hears a quarter, on a stretched one all."""
    block = hearing.small_block((2, 2), kernel=1)
    for y in range(side):
        for x in range(side):
            heard = hearing.heard_by(lambda m: hearing.after_fold(block, m), 8, (side, side), (y, x))
            assert heard.all()


def test_the_supports_of_the_two_networks():
    """No output pixel of the bands hears both ends; every one of the unfold does."""
    size = (16, 8)
    for block, expected in ((MobileViTBlock, 128), (BandBlock, 0)):
        body = block_network(block)[:2].double().eval()
        seen = torch.stack(
            [hearing.heard_by(body, 3, size, (y, x)) for y in range(size[0]) for x in range(size[1])]
        )
        both = seen[:, :2].any((1, 2)) & seen[:, -2:].any((1, 2))
        assert both.sum() == expected
    twice = nn.Sequential(*body, BandBlock(16, 32, 1)).double().eval()
    for y, x in ((0, 0), (6, 3), (7, 3), (8, 5), (9, 0)):  # two blocks hear both ends at the middle seam
        seen = hearing.heard_by(twice, 3, size, (y, x))
        assert bool(seen[:2].any() and seen[-2:].any()) == (y in (7, 8))
    fig, data = figures.fig_supports({"bands": body}, torch.rand(3, *size), size, (7, 3))
    assert fig.axes[1].get_title() == "bands: 12 of 16\nrows reach the ring"
    assert data["bands"].any(1).tolist() == [2 <= row < 14 for row in range(16)]


def test_the_runs_figure_draws_what_is_recorded():
    from runs import FOLDER

    with open(FOLDER / "two_marks.csv", newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    fig, data = figures.fig_runs(rows)
    assert [len(values) for values in data.values()] == [5] * 4
    drawn = [line.get_xdata() for line in fig.axes[0].lines if len(line.get_xdata()) == 5]
    assert [list(values) for values in drawn] == list(data.values())
    assert max(data["bands, far apart"]) <= 75
    assert all(min(values) >= 95 for name, values in data.items() if name != "bands, far apart")


def test_the_page_is_self_contained():
    page = hearing.reach_page((12, 12))
    data = json.loads(re.search(r"const data = (.*);", page)[1])
    assert data["size"] == [12, 12]
    assert data["colours"] == list(POSITION_COLOURS)
    assert set(re.findall(r"https?://[^\s\"']+", page)) == {"http://www.w3.org/2000/svg"}
    shown = hearing.explore_reach().data
    assert len(shown) < 60_000
    assert html.unescape(re.search(r'srcdoc="([^"]*)"', shown)[1]) == page


def test_the_checkers_references_are_the_library():
    x = torch.randn(2, 8, 6, 12, generator=torch.Generator().manual_seed(0))
    tokens = unfold_patches(x, (2, 3))
    moved = fold_patches(checks.next_token(tokens.flatten(0, 1)).view(tokens.shape), (6, 12), (2, 3))
    assert torch.equal(checks.exchange(x, checks.next_token, (2, 3)), moved)
    block = MobileViTBlock(4, 8, 1, patch_size=(2, 3))
    for size in ((5, 7), (6, 6), (1, 1)):
        assert checks.tiled(size, (2, 3)) == block.tiled_size(size)


def test_bands_have_the_same_parameters_and_other_values():
    right, wrong = block_network(), block_network(BandBlock)
    wrong.load_state_dict(right.state_dict())
    x = torch.rand(2, 3, 16, 8, generator=torch.Generator().manual_seed(0))
    assert not torch.allclose(right.eval()(x), wrong.eval()(x))
    local = torch.randn(2, 32, 8, 6, generator=torch.Generator().manual_seed(1))
    band = wrong[1].attend_globally(local)
    other = local.clone()
    other[:, :, 2:] = 0  # everything below the first of four bands
    torch.testing.assert_close(wrong[1].attend_globally(other)[:, :, :2], band[:, :, :2])


def test_positions_far_apart_and_side_by_side():
    everywhere = {tuple(row) for row in mark_positions((8, 5)).tolist()}
    far = {row for row in everywhere if row[0] == 0 and row[2] == 6}
    near = {row for row in everywhere if row[0] == 0 and row[2] == 0}
    assert {tuple(row) for row in far_apart((8, 5)).tolist()} == far
    assert {tuple(row) for row in side_by_side((8, 5)).tolist()} == near


@pytest.mark.slow
@pytest.mark.parametrize(("block", "learns"), [(MobileViTBlock, True), (BandBlock, False)])
def test_the_right_unfold_learns_and_the_bands_cannot(block, learns):
    torch.manual_seed(1)
    network, positions = block_network(block), far_apart((16, 8))
    learn(network, (16, 8), positions, steps=150, batch=64, rate=1e-2, stop_at=0.99, seed=1)
    right = accuracy(network, (16, 8), positions)
    assert right >= 0.95 if learns else right <= 0.75
