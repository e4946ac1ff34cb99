"""The pictures of notebook 01, and the references its exercises are checked against."""

from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from matplotlib import colors
from matplotlib import pyplot as plt

from mvit_lib.course.checks.c01_lines_of_numbers import one_walk
from mvit_lib.course.checks.c01_tensors_that_move_pixels import fold, unfold
from mvit_lib.look.figures.tensors_that_move_pixels import (
    CELL,
    fig_lists,
    fig_provenance,
    fig_same_row,
    fig_storage,
    line_of_numbers,
    offsets,
    place_colours,
)
from mvit_lib.look.style import POSITION_COLOURS
from mvit_lib.patches import fold_patches, unfold_patches

small = st.integers(1, 3)
pair = st.tuples(small, small)


@pytest.fixture(autouse=True)
def close_figures():
    plt.switch_backend("agg")
    yield
    plt.close("all")


def drawn_cells(fig) -> list[tuple[str, str, float, float]]:
    """(number, colour, x, y) of every cell on the page, in the order drawn."""
    (ax,) = fig.axes
    written = {}
    for text in ax.texts:
        written[round(text.get_position()[0], 3), round(text.get_position()[1], 3)] = text.get_text()
    cells = []
    for cell in ax.patches:
        x, y = cell.get_xy()
        number = written[round(x + CELL / 2, 3), round(y + CELL / 2, 3)]
        cells.append((number, colors.to_hex(cell.get_facecolor(), keep_alpha=True), x, y))
    return cells


def test_every_cell_keeps_number_and_colour_of_its_origin():
    x = torch.arange(24).reshape(1, 1, 4, 6)
    tokens = unfold_patches(x, (2, 2))
    fig, data = fig_provenance(x, {"unfold": tokens, "reshape": x.reshape(4, 6)}, (2, 2))
    cells = drawn_cells(fig)
    assert [number for number, *_ in cells[:24]] == [str(k) for k in range(24)]
    for number, colour, *_ in cells:
        row, column = divmod(int(number), 6)
        assert colour[:7] == POSITION_COLOURS[row % 2 * 2 + column % 2]
    assert [int(number) for number, *_ in cells[24:48]] == tokens.flatten().tolist()
    assert torch.equal(data["unfold"], tokens)
    assert torch.equal(data["reshape"].flatten(), torch.arange(24))


def test_tables_stand_in_the_order_of_the_axes():
    """[down, right, rows, columns]: reading the page gives the reading order."""
    x = torch.arange(16).reshape(4, 4)
    permuted = x.reshape(2, 2, 2, 2).permute(1, 3, 0, 2)
    fig, _ = fig_provenance(x, {"permuted": permuted}, (2, 2))
    cells = drawn_cells(fig)[16:]
    place = {int(number): (x, y) for number, _, x, y in cells}
    assert [int(number) for number, *_ in cells] == permuted.flatten().tolist()
    assert place[0][1] == place[2][1] == place[1][1] < place[8][1] < place[4][1]
    assert place[0][0] < place[2][0] < place[1][0] < place[3][0]
    assert place[0][0] == place[8][0] == place[4][0]


def test_the_source_is_cut_where_patches_end():
    fig, _ = fig_provenance(torch.arange(24).reshape(4, 6), {}, (2, 3))
    xs = sorted({round(x, 3) for *_, x, _ in drawn_cells(fig)})
    steps = [round((b - a) / CELL, 2) for a, b in pairwise(xs)]
    assert [step > 1.1 for step in steps] == [False, False, True, False, False]


def test_numbers_from_nowhere_get_an_empty_cell():
    """What padding writes was never in the source."""
    x = torch.arange(1, 5).reshape(2, 2)
    fig, data = fig_provenance(x, {"padded": torch.nn.functional.pad(x, (1, 0))})
    assert data["padded"].tolist() == [[-1, 0, 1], [-1, 2, 3]]
    cells = drawn_cells(fig)[4:]
    assert [colour.endswith("00") for _, colour, *_ in cells] == [True, False, False, True, False, False]


def test_rings_stand_on_their_number_in_every_table():
    x = torch.arange(16).reshape(4, 4)
    fig, _ = fig_provenance(x, {"x.T": x.T}, rings=[6])
    (ax,) = fig.axes
    ringed = [(line.get_xdata()[0], line.get_ydata()[0]) for line in ax.lines]
    at = {number for number, _, x, y in drawn_cells(fig) for ring in ringed
          if abs(ring[0] - x - CELL / 2) + abs(ring[1] - y - CELL / 2) < 1e-6}  # fmt: skip
    assert len(ringed) == 2
    assert at == {"6"}


def test_nothing_leaves_the_page_and_text_is_large_enough():
    x = torch.arange(64).reshape(2, 2, 4, 4)
    moved = {"a": x.transpose(0, 1), "a long title [B, D, W, H]": x.transpose(2, 3)}
    fig, _ = fig_provenance(x, moved, (2, 2))
    renderer = fig.canvas.get_renderer()
    for text in fig.axes[0].texts:
        box = text.get_window_extent(renderer)
        assert 0 <= box.x0 and box.x1 <= fig.bbox.width
        assert 0 <= box.y0 and box.y1 <= fig.bbox.height
        assert text.get_fontsize() >= 9


@given(st.lists(st.integers(1, 4), min_size=1, max_size=4), st.randoms())
def test_offsets_find_every_element_on_its_line(shape, random):
    """Against indexing itself: whatever the layout, line[offset] is the element."""
    x = torch.arange(torch.Size(shape).numel()).reshape(shape)
    order = list(range(len(shape)))
    random.shuffle(order)
    moved = x.permute(order)
    assert torch.equal(line_of_numbers(moved)[offsets(moved)], moved)
    assert line_of_numbers(moved).tolist() == x.flatten().tolist()


def test_named_rows_and_columns_stand_beside_their_numbers():
    x = torch.arange(16).reshape(4, 4)
    tokens = unfold_patches(x[None, None], (2, 2))
    fig, _ = fig_provenance(x, {"unfold": tokens}, (2, 2), axes=("p", "t"))
    (ax,) = fig.axes
    at = {text.get_text(): text.get_position() for text in ax.texts if "=" in text.get_text()}
    assert len(at) == 8
    for number, _, x0, y0 in drawn_cells(fig)[16:]:
        (p, t), middle = divmod((tokens.flatten() == int(number)).nonzero().item(), 4), CELL / 2
        assert at[f"p={p}"][1] == pytest.approx(y0 + middle)
        assert at[f"t={t}"][0] == pytest.approx(x0 + middle)
        assert at[f"p={p}"][0] < x0
        assert at[f"t={t}"][1] < y0 + middle


def test_named_tables_stand_above_their_names():
    x = torch.arange(12).reshape(1, 2, 2, 3)
    fig, _ = fig_storage({"x": x}, "channel")
    (ax,) = fig.axes
    at = {text.get_text(): text.get_position()[0] for text in ax.texts if "channel" in text.get_text()}
    middles = [x0 + CELL / 2 for *_, x0, _ in drawn_cells(fig)[12:]]
    assert at["channel 0"] == pytest.approx(sum(middles[:6]) / 6)
    assert at["channel 1"] == pytest.approx(sum(middles[6:]) / 6)


def test_a_small_picture_has_a_small_page():
    fig, _ = fig_provenance(torch.arange(4).reshape(2, 2), {})
    assert fig.get_figwidth() <= 1.5


def test_storage_draws_one_line_for_views_and_two_for_a_copy():
    x = torch.arange(12).reshape(1, 2, 2, 3)
    last = x.contiguous(memory_format=torch.channels_last)
    fig, data = fig_storage({"x": x, "view": x.permute(0, 2, 3, 1), "last": last})
    titles = [text.get_text() for text in fig.axes[0].texts if "in memory" in text.get_text()]
    assert [title.split("line of ")[1] for title in titles] == [
        "x and view, offsets below",
        "last, offsets below",
    ]
    colour = {}
    for number, face, *_ in drawn_cells(fig):
        assert colour.setdefault(number, face) == face
    assert len(colour) == 12
    assert data["last"].flatten().tolist() == [0, 2, 4, 6, 8, 10, 1, 3, 5, 7, 9, 11]


@pytest.mark.parametrize("patch", [(2, 2), (1, 2), (2, 4)])
def test_the_same_row_of_unfold_is_the_same_place(patch):
    x = torch.arange(96).reshape(8, 12)
    rows = unfold_patches(x[None, None], patch)[0, :, :, 0]
    fig, data = fig_same_row(x, {"unfold": rows, "reshape": x.reshape(rows.shape)}, 29, patch)
    y, column = 2, 5
    expected = torch.zeros(8, 12, dtype=torch.bool)
    expected[y % patch[0] :: patch[0], column % patch[1] :: patch[1]] = True
    assert torch.equal(data["unfold"], expected)
    assert int(data["reshape"].sum()) == rows.shape[1]
    for ax, shared in zip(fig.axes, data.values(), strict=True):
        filled = [cell.get_xy() for cell in ax.patches if cell.get_facecolor()[3] > 0]
        assert sorted(filled) == sorted((c, r) for r, c in shared.nonzero().tolist())


def test_lists_of_a_photo_are_its_strided_pictures_and_its_strips():
    photo = torch.rand(1, 3, 8, 12)
    places = unfold_patches(photo, (2, 2)).reshape(4, 4, 6, 3)
    strips = photo[0].permute(1, 2, 0).reshape(4, 2, 12, 3)
    fig, data = fig_lists(photo, {"bands": strips, "unfold": places})
    shown = [torch.from_numpy(ax.images[0].get_array().data) for ax in fig.axes]
    assert torch.equal(shown[0], photo[0].permute(1, 2, 0))
    assert torch.equal(torch.cat(shown[1:5]), shown[0])
    for p, (r, s) in enumerate([(0, 0), (0, 1), (1, 0), (1, 1)]):
        assert torch.equal(data["unfold"][p], photo[0, :, r::2, s::2].permute(1, 2, 0))
        assert torch.equal(shown[5 + p], data["unfold"][p])
    tops = [ax.get_subplotspec().get_position(fig).x0 for ax in fig.axes]
    assert len({round(x, 3) for x in tops[1:5]}) == 1
    assert len({round(x, 3) for x in tops[5:]}) == 2


def test_more_than_four_places_get_colours_of_their_own():
    x = torch.arange(36).reshape(6, 6)
    shades = place_colours(x, (3, 2))
    assert len(set(shades)) == 6
    assert not set(shades) & set(POSITION_COLOURS)


def test_bad_input_is_named():
    with pytest.raises(ValueError, match="different number"):
        fig_provenance(torch.zeros(2, 2), {})
    with pytest.raises(ValueError, match="'five'.*at most four"):
        x = torch.arange(32)
        fig_provenance(x, {"five": x.reshape(2, 2, 2, 2, 2)})
    with pytest.raises(ValueError, match="'rows' does not hold the pixel 99"):
        x = torch.arange(16).reshape(4, 4)
        fig_same_row(x, {"rows": x}, 99, (2, 2))


@given(small, small, pair, pair)
def test_the_references_of_the_exercises_are_the_library_and_torch(B, D, grid, patch):
    """The checkers slice with steps; the library splits and permutes."""
    (nH, nW), (ph, pw) = grid, patch
    x = torch.arange(B * D * nH * ph * nW * pw).reshape(B, D, nH * ph, nW * pw)
    tokens = unfold(x, patch)
    assert torch.equal(tokens, unfold_patches(x, patch))
    assert torch.equal(fold(tokens, x.shape[2:], patch), fold_patches(tokens, tuple(x.shape[2:]), patch))
    assert torch.equal(fold(tokens, x.shape[2:], patch), x)


@given(st.lists(st.integers(1, 3), min_size=1, max_size=4), st.randoms())
def test_one_walk_is_what_view_does(shape, random):
    """The checker asks PyTorch; here the axes are walked by hand."""
    order = list(range(len(shape)))
    random.shuffle(order)
    x = torch.arange(torch.Size(shape).numel()).reshape(shape).permute(order)
    steps = x.flatten().diff().unique()
    assert one_walk(x.shape, x.stride()) == (len(steps) <= 1)
