"""The living picture of notebook 06 in a browser: pointer, keys, touch and buttons."""

import re

import pytest

from mvit_lib.look.figures.who_hears_whom import explore_reach, hears

SIZE = (12, 12)
OUTPUT = explore_reach(SIZE).data
pytestmark = pytest.mark.browser


def frame(page):
    return page.frame_locator("iframe")


def pixel(page, y: int, x: int):
    return frame(page).locator(f".pixel[data-y='{y}'][data-x='{x}']")


def shown(page, kind: str) -> set[tuple[int, int]]:
    read = "pixels => pixels.map(p => [+p.dataset.y, +p.dataset.x])"
    return {tuple(place) for place in frame(page).locator(f".pixel.{kind}").evaluate_all(read)}


def expect(page, y: int, x: int, patch: int, kernel: int) -> None:
    """Partners and what they bring along are those of the formula; the sentences count them."""
    partners = {tuple(p) for p in hears(y, x, SIZE, (patch, patch), 1).nonzero().tolist()}
    heard = {tuple(p) for p in hears(y, x, SIZE, (patch, patch), kernel).nonzero().tolist()}
    assert shown(page, "partner") == partners
    assert shown(page, "told") == heard - partners
    lines = frame(page).locator("#sentence li").all_inner_texts()
    assert lines[0].startswith(f"pixel ({y}, {x}), place p = {y % patch * patch + x % patch}")
    counts = [int(re.search(r"(\d+) of 144", line)[1]) for line in lines[1:]]
    rows, columns = (min(12, i + kernel // 2 + 1) - max(0, i - kernel // 2) for i in (y, x))
    assert counts == [rows * columns, len(partners), len(heard)]


def test_the_pointer_lights_partners_and_windows(page):
    expect(page, 5, 4, 2, 3)
    for y, x in ((0, 0), (11, 11), (6, 7)):
        pixel(page, y, x).hover()
        expect(page, y, x, 2, 3)


def test_buttons_choose_patch_and_kernel(page):
    for patch, kernel in ((3, 3), (4, 5), (1, 1), (2, 1), (3, 1)):
        frame(page).locator(f"#patch button[value='{patch}']").click()
        frame(page).locator(f"#kernel button[value='{kernel}']").click()
        expect(page, 5, 4, patch, kernel)
        pressed = frame(page).locator("button[aria-pressed=true]").all_inner_texts()
        assert pressed == [f"{patch} × {patch}", f"{kernel} × {kernel}"]


def test_arrow_keys_walk_and_stay_inside(page):
    frame(page).locator("#stage").focus()
    moves = [("ArrowUp", (4, 4)), ("ArrowRight", (4, 5)), ("ArrowDown", (5, 5)), ("ArrowLeft", (5, 4))]
    for key, (y, x) in moves:
        page.keyboard.press(key)
        expect(page, y, x, 2, 3)
    for _ in range(6):
        page.keyboard.press("ArrowLeft")
    expect(page, 5, 0, 2, 3)


def test_touch_moves_the_pixel(page):
    pixel(page, 2, 9).tap()
    expect(page, 2, 9, 2, 3)


def test_the_frame_shows_everything_also_on_a_phone(page):
    for width in (900, 390):
        page.set_viewport_size({"width": width, "height": 800})
        page.wait_for_timeout(200)
        inside = frame(page).locator("html")
        assert inside.evaluate("e => e.scrollHeight <= e.clientHeight && e.scrollWidth <= e.clientWidth")
