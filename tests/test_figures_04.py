"""The pictures of notebook 04 against torch, and the references of its checkers against the library."""

import html
import json
import re

import pytest
import torch
import torch.nn.functional as F
from matplotlib import pyplot as plt
from torch import nn

from mvit_lib.course.checks import c04_convolution_is_unfold_matmul_fold as checks
from mvit_lib.course.checks.c04_groups_and_fold import grouped
from mvit_lib.look.figures.convolution_is_unfold_matmul_fold import (
    animate_convolution,
    convolution_matrix,
    convolution_page,
    fig_convolution_matrix,
    fig_counts,
    fig_settings,
    fig_three_steps,
    fig_two_blocks,
    fig_unfold_matrix,
    fig_weight_matrices,
    seen_from,
    unfold_matrix,
    window_pixels,
)
from mvit_lib.look.style import POSITION_COLOURS
from mvit_lib.patches import conv2d_by_matmul, output_size

X = torch.arange(12.0).reshape(3, 4)
KERNEL = torch.tensor([[1.0, 2.0], [3.0, 4.0]])


@pytest.fixture(autouse=True)
def close_figures():
    plt.switch_backend("agg")
    yield
    plt.close("all")


def filled(ax) -> dict[tuple[float, float], str]:
    """Colour of every filled square of an axes by its (row, column)."""
    squares = [patch for patch in ax.patches if patch.get_facecolor()[3] > 0]
    return {(p.get_y(), p.get_x()): plt.matplotlib.colors.to_hex(p.get_facecolor()) for p in squares}


@pytest.mark.parametrize("stride", [1, 2])
def test_the_three_steps_are_those_of_torch(stride):
    x = torch.randint(-9, 10, (5, 6)).float()
    kernel = torch.randint(-9, 10, (2, 3)).float()
    _, data = fig_three_steps(x, kernel, positions=(0, 3), stride=stride)
    assert torch.equal(data["columns"], F.unfold(x[None, None], (2, 3), stride=stride)[0])
    assert torch.equal(data["output"], F.conv2d(x[None, None], kernel[None, None], stride=stride)[0, 0])
    for position, pixels in data["windows"].items():
        assert torch.equal(torch.stack([x[p] for p in pixels]), data["columns"][:, position])


def test_the_three_steps_light_window_and_column_in_the_colours_of_the_cells():
    fig, _ = fig_three_steps(X, KERNEL, positions=(4,))
    colours = {(round(y, 3), round(x, 3)): colour for (y, x), colour in filled(fig.axes[0]).items()}
    window = [(1 + 0.9, 1), (1 + 0.9, 2), (2 + 0.9, 1), (2 + 0.9, 2)]  # rows begin 0.9 below the words
    column = [(k + 0.9, 6.2 + 4) for k in range(4)]
    weights = [(5.8, 6.2 - 0.4 - 4 + k) for k in range(4)]
    for places in (window, column, [(y, round(x, 3)) for y, x in weights]):
        assert tuple(colours[place] for place in places) == POSITION_COLOURS


def test_the_window_of_a_position():
    assert window_pixels(5, 3, (2, 2), 1) == [(1, 2), (1, 3), (2, 2), (2, 3)]
    assert window_pixels(3, 2, (1, 2), 2) == [(2, 2), (2, 3)]


@pytest.mark.parametrize(
    ("stride", "padding", "dilation"), [(1, 0, 1), (2, 0, 1), (1, 1, 1), (1, 0, 2), (3, 2, 2)]
)
def test_settings_read_what_a_convolution_reads(stride, padding, dilation):
    """Number the pixels from 1, so that padding is 0: unfold must find the pixels of the picture."""
    _, data = fig_settings(7, 3, {"this": (stride, padding, dilation)})
    numbered = torch.arange(1.0, 8).reshape(1, 1, 1, 7)
    found = F.unfold(numbered, (1, 3), dilation, (0, padding), stride)[0].T  # [L, K]
    read = data["this"] + 1
    assert torch.equal(torch.where((read < 1) | (read > 7), 0, read).float(), found)


def test_settings_name_the_pixels_left_over():
    fig, _ = fig_settings(8, 3, {"even": (1, 0, 1), "rest": (2, 0, 1), "wide": (3, 1, 1)})
    titles = [ax.get_title() for ax in fig.axes]
    assert titles == ["even: 6 positions", "rest: 3 positions, 1 left over", "wide: 3 positions, 1 left over"]


def test_weight_matrices_are_zero_where_no_input_arrives():
    """Against a convolution of ones: output o answers to row r of the columns where the mask is true."""
    _, data = fig_weight_matrices(4, 3, (1, 2, 4))
    assert [int(mask.sum()) for mask in data.values()] == [144, 72, 36, 16]
    for mask, (groups, K) in zip(data.values(), [(1, 3), (2, 3), (4, 3), (1, 1)], strict=True):
        windows = torch.eye(4 * K * K).reshape(-1, 4, K, K)  # one row of the columns after the other
        answers = F.conv2d(windows, torch.ones(4, 4 // groups, K, K), groups=groups).flatten(1).T
        assert torch.equal(mask, answers != 0)


def test_the_large_matrix_is_the_convolution():
    _, matrix = fig_convolution_matrix(KERNEL, (3, 4))
    for x in (X, torch.randint(-9, 10, (3, 4)).float()):
        y = F.conv2d(x[None, None], KERNEL[None, None])
        assert torch.equal(matrix @ x.flatten(), y.flatten())
    assert torch.equal(matrix, convolution_matrix(KERNEL, (3, 4)))
    assert (matrix != 0).sum() == 24


def test_the_unfold_matrix_and_its_transpose():
    fig, U = fig_unfold_matrix((3, 4), (2, 2))
    x, y = torch.randn(3, 4), torch.randn(1, 4, 6)
    assert torch.equal(U @ x.flatten(), F.unfold(x[None, None], 2).flatten())
    torch.testing.assert_close(U.T @ y.flatten(), F.fold(y, (3, 4), 2).flatten())
    sums = [text.get_text() for text in fig.axes[0].texts if text.get_position()[1] > 13]
    assert "".join(sums[:12]) == "122124421221"
    assert unfold_matrix((4, 5), (2, 3), 2).shape == (6 * 2 * 2, 20)


def test_counts_are_counted():
    _, data = fig_counts((6, 8), ((3, 1), (3, 2), (2, 2)))
    for (K, stride), counts in data.items():
        expected = torch.zeros(6, 8)
        for i in range(0, 6 - K + 1, stride):
            for j in range(0, 8 - K + 1, stride):
                expected[i : i + K, j : j + K] += 1
        assert torch.equal(counts, expected)


def test_the_two_blocks_see_a_window_and_a_place():
    fig, data = fig_two_blocks((6, 8), (2, 3))
    window, place = torch.zeros(6, 8, dtype=torch.bool), torch.zeros(6, 8, dtype=torch.bool)
    window[1:4, 2:5] = True
    place[0::2, 1::2] = True
    assert torch.equal(data["convolution"], window)
    assert torch.equal(data["unfold, transformer, fold"], place)
    for ax, seen in zip(fig.axes, data.values(), strict=True):
        drawn = {(row - 1, column) for row, column in filled(ax) if column < 8}
        assert drawn == {tuple(pixel) for pixel in seen.nonzero().tolist()}
        assert [(row - 1, round(column - 20.4, 3)) for row, column in filled(ax) if column > 20] == [(2, 3)]
        middle = [place for place in filled(ax) if 8 < place[1] < 20]
        assert len(middle) == seen.sum() + 1  # what is seen, and the one result


def test_seen_from_sees_an_identity_and_a_blur():
    assert seen_from(lambda x: x, (4, 5), (1, 2)).nonzero().tolist() == [[1, 2]]
    blur = nn.AvgPool2d(3, 1, 1)
    assert seen_from(blur, (4, 5), (0, 0)).nonzero().tolist() == [[0, 0], [0, 1], [1, 0], [1, 1]]


def test_the_page_is_self_contained_and_holds_the_right_numbers():
    page = convolution_page(X, KERNEL)
    data = json.loads(re.search(r"const data = (.*);", page)[1])
    assert data["x"] == X.int().tolist()
    assert data["columns"] == F.unfold(X[None, None], 2)[0].int().tolist()
    assert data["output"] == [[34, 44, 54], [74, 84, 94]]
    assert data["colours"] == list(POSITION_COLOURS)
    outside = set(re.findall(r"https?://[^\s\"']+", page))
    assert outside == {"http://www.w3.org/2000/svg"}  # a name, not an address
    shown = animate_convolution(X, KERNEL).data
    assert len(shown) < 60_000
    assert html.unescape(re.search(r'srcdoc="([^"]*)"', shown)[1]) == page


@pytest.mark.parametrize("case", checks.CASES)
def test_the_checker_counts_positions_as_the_library_does(case):
    n, K, stride, padding, dilation = case
    assert checks.count_positions(*case) == output_size((n, n), K, stride, padding, dilation)[0]


def test_no_two_mistakes_about_the_length_look_alike():
    answers = [[f(*case) for case in checks.CASES] for f in checks.LENGTH_SUSPECTS.values()]
    assert len({tuple(a) for a in answers}) == len(answers)


def test_the_checkers_references_are_the_library():
    x, weight = torch.randn(2, 4, 5, 6, dtype=torch.float64), torch.randn(6, 2, 2, 3, dtype=torch.float64)
    torch.testing.assert_close(grouped(x, weight, 2, 1, 2), conv2d_by_matmul(x, weight, None, 2, 1, 1, 2))
    columns = checks._merged(0, 1, 2, 3, 4, 5)(x, (2, 3), 2)
    assert torch.equal(columns, F.unfold(x, (2, 3), stride=2))
