"""The living picture of notebook 04 in a browser: pointer, keys and touch light what belongs together."""

import pytest
import torch
import torch.nn.functional as F

from mvit_lib.look.figures.convolution_is_unfold_matmul_fold import animate_convolution, window_pixels

X = torch.arange(12.0).reshape(3, 4)
KERNEL = torch.tensor([[1.0, 2.0], [3.0, 4.0]])
OUTPUT = animate_convolution(X, KERNEL).data

pytestmark = pytest.mark.browser


def cell(page, kind: str, row: int, column: int):
    place = f"[data-kind={kind}][data-row='{row}'][data-column='{column}']"
    return page.frame_locator("iframe").locator(place)


def lit(page, kind: str) -> list[tuple[int, int, int]]:
    """(row, column, number) of every lit cell of a kind."""
    cells = page.frame_locator("iframe").locator(f".cell.lit[data-kind={kind}]")
    read = "cells => cells.map(c => [+c.dataset.row, +c.dataset.column, +c.textContent])"
    return [tuple(numbers) for numbers in cells.evaluate_all(read)]


def expect_position(page, position: int) -> None:
    """Window, column, sum and output pixel are those of `position`, with torch's numbers."""
    columns = F.unfold(X[None, None], 2)[0].int()
    output = F.conv2d(X[None, None], KERNEL[None, None])[0, 0].int()
    i, j = divmod(position, 3)
    assert lit(page, "x") == [(r, c, int(X[r, c])) for r, c in window_pixels(position, 3, (2, 2), 1)]
    assert lit(page, "columns") == [(k, position, int(columns[k, position])) for k in range(4)]
    assert lit(page, "sum") == [(0, position, int(output[i, j]))]
    assert lit(page, "output") == [(i, j, int(output[i, j]))]
    assert f"= {output[i, j]}" in page.frame_locator("iframe").locator("#sentence").inner_text()


def test_the_pointer_lights_window_column_and_output(page):
    expect_position(page, 0)
    for kind, row, column, position in [
        ("output", 1, 2, 5), ("columns", 3, 1, 1), ("sum", 0, 3, 3), ("x", 0, 2, 2), ("x", 2, 3, 5),
    ]:  # fmt: skip
        cell(page, kind, row, column).hover()
        expect_position(page, position)


def test_arrow_keys_move_the_window_and_stay_inside(page):
    page.frame_locator("iframe").locator("#stage").focus()
    keys = [("ArrowLeft", 0), ("ArrowRight", 1), ("ArrowDown", 4), ("ArrowDown", 4), ("ArrowRight", 5),
            ("ArrowRight", 5), ("ArrowUp", 2), ("ArrowRight", 3), ("End", 5), ("Home", 3)]  # fmt: skip
    for key, position in keys:
        page.keyboard.press(key)
        expect_position(page, position)


def test_touch_lights_and_play_moves_on(page):
    cell(page, "output", 1, 0).tap()
    expect_position(page, 3)
    play = page.frame_locator("iframe").locator("#play")
    play.click()
    expect_position(page, 4)
    assert play.inner_text() == "pause"
    page.wait_for_timeout(1500)
    expect_position(page, 5)
    play.click()
    assert play.inner_text() == "play"


def test_the_frame_shows_everything_also_on_a_phone(page):
    for width in (900, 390):
        page.set_viewport_size({"width": width, "height": 700})
        frame = page.frame_locator("iframe").locator("html")
        assert frame.evaluate("e => e.scrollHeight <= e.clientHeight && e.scrollWidth <= e.clientWidth")
