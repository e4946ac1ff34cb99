"""The attention explorer in a browser: the right numbers under the pointer, from disk, fast enough."""

import os

import numpy as np
import pytest
import skimage.data
import torch
from PIL import Image

from mvit_lib import MobileViT, MobileViTConfig, ViT, ViTConfig, mobilevit_s, mobilevit_xxs
from mvit_lib.attention import attention_from_pixel, attention_through_convolution
from mvit_lib.attention_reading import cells_of_image
from mvit_lib.look import attention_explorer
from mvit_lib.transforms import EvalTransform

pytestmark = pytest.mark.browser
READY = "html[data-ready=yes]"


def sharp(model: torch.nn.Module) -> torch.nn.Module:
    """Random queries and keys ten times as long: rows that differ, as trained ones do."""
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith("qkv.weight"):
                parameter *= 10
    return model.eval()


def mobilevit(**changes: object) -> MobileViT:
    torch.manual_seed(0)
    sizes = {"channels": (8,) * 6, "dims": (8, 16, 24), "depths": (1, 2, 1), "num_heads": 2}
    return sharp(MobileViT(MobileViTConfig(num_classes=5, **(sizes | changes))))


def photo(height: int, width: int) -> torch.Tensor:
    picture = EvalTransform(288, 256)(Image.fromarray(skimage.data.astronaut()))  # [3, 256, 256]
    return picture[:, :height, :width]


@pytest.fixture(scope="module")
def explorers():
    """Every kind of geometry: patches that tile, a stretched map, another patch, a ViT."""
    torch.manual_seed(0)
    vit = sharp(ViT(ViTConfig(image_size=(96, 64), patch_size=16, dim=12, depth=2, num_classes=3)))
    return {
        "tiled": attention_explorer(mobilevit(), photo(128, 96)),
        "stretched": attention_explorer(mobilevit(), photo(150, 100)),
        "patch 4 × 2": attention_explorer(mobilevit(patch_sizes=((4, 2), 2, 1)), photo(128, 96)),
        "vit": attention_explorer(vit, photo(96, 64)),
    }


@pytest.fixture
def opened(browser, tmp_path):
    """Open a saved page from disk with the network off; an error or a request fails the test."""
    contexts, errors = [], []

    def open_page(explorer, **settings):
        context = browser.new_context(has_touch=True, offline=True, **settings)
        contexts.append(context)
        page = context.new_page()
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.on("console", lambda said: errors.append(said.text) if said.type == "error" else None)
        page.on("request", lambda sent: errors.append(sent.url) if sent.url.startswith("http") else None)
        page.goto(explorer.save(tmp_path / "page.html").as_uri())
        page.wait_for_selector(READY)
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert errors == []


def hover(page, y: int, x: int) -> None:
    box = page.locator("#stage").bounding_box()
    H, W = page.evaluate("data.image")
    page.mouse.move(box["x"] + (x + 0.5) * box["width"] / W, box["y"] + (y + 0.5) * box["height"] / H)
    assert page.evaluate("[state.y, state.x]") == [y, x]


# The numbers of the overlay's colours in the page's own palette; −1 where it is clear.
INDICES = """() => {
  const numbers = new Map([...palette].map((colour, i) => [colour, i]));
  return [...new Uint32Array(scratch.overlay.data.buffer)].map(colour => colour ? numbers.get(colour) : -1);
}"""


def painted(page, low: float, high: float) -> np.ndarray:
    """The overlay read back as weights, [H, W]; −1 where it is clear."""
    index = np.array(page.evaluate(INDICES)).reshape(page.evaluate("data.image"))
    return np.where(index >= 0, low + (high - low) * index / 255, -1)


LISTEN = """() => {
  const l = listen(state.y, state.x);
  return [[...l.weights], l.p, l.t, l.prefix, l.entropy, l.row, l.column];
}"""


def expect_overlay(page, explorer, y: int, x: int, layer: tuple[str, int], head: int | str) -> None:
    """Numbers and picture are those of attention_from_pixel."""
    seen = attention_from_pixel(explorer.maps, y, x, layer, head)
    m = next(m for m in explorer.maps if (m.stage, m.layer) == layer)
    weights, p, t, prefix, entropy, row, column = page.evaluate(LISTEN)
    peak = m.weights[0, ..., m.num_prefix :].max().item()
    np.testing.assert_allclose(weights, seen.weights.flatten().numpy(), atol=peak / 400 + 1e-5)
    assert (p, t, (row, column)) == (seen.position, seen.token, seen.pixel)
    assert (prefix, entropy) == pytest.approx((seen.prefix, seen.entropy), abs=2e-5)
    rows = m.weights[0, ..., m.num_prefix :]
    top = (rows.mean(1) if head == "mean" else rows).max().item()
    shown = painted(page, 0, top)
    np.testing.assert_allclose(shown, seen.on_image.numpy(), atol=1.2 * top / 255 + peak / 400)


def press(page, field: str, value: str) -> None:
    page.locator(f"#{field} button[value='{value}']").click()


@pytest.mark.parametrize("kind", ["tiled", "stretched", "patch 4 × 2", "vit"])
def test_the_overlay_is_what_attention_from_pixel_says(opened, explorers, kind):
    explorer = explorers[kind]
    page = opened(explorer)
    stages = list(dict.fromkeys(m.stage for m in explorer.maps))
    H, W = explorer.maps[0].image_size
    points = ((0, 0), (H - 1, W - 1), (H // 2 + 3, W // 3))
    for i, stage in enumerate(stages):
        if len(stages) > 1:
            press(page, "stages", str(i))
        depth = sum(m.stage == stage for m in explorer.maps)
        for layer in range(depth):
            if depth > 1:
                press(page, "layers", str(layer))
            for head in ("mean", 1):
                press(page, "heads", str(head))
                for y, x in points[: 3 if head == "mean" else 1]:
                    hover(page, y, x)
                    expect_overlay(page, explorer, y, x, (stage, layer), head)


@pytest.mark.parametrize("kind", ["tiled", "stretched", "patch 4 × 2"])
def test_weights_on_pixels_and_windows(opened, explorers, kind):
    explorer = explorers[kind]
    page, m = opened(explorer), explorer.maps[0]
    hover(page, 61, 47)
    seen = attention_from_pixel(explorer.maps, 61, 47)
    rows, columns = cells_of_image(m)
    press(page, "on", "window")
    handed = attention_through_convolution(m, seen)
    top = min(handed.max(), m.weights.mean(2).max()).item()
    expected = handed[rows][:, columns].clamp(max=top).numpy()
    np.testing.assert_allclose(painted(page, 0, top), expected, atol=0.015 * top)
    press(page, "on", "pixel")
    ph, pw = m.patch_size
    partners = (rows % ph == seen.position // pw)[:, None] & (columns % pw == seen.position % pw)
    shown = painted(page, 0, m.weights.mean(2).max().item())
    assert ((shown >= 0) == partners.numpy()).all()
    room = 2 * m.weights.max().item() / 255
    np.testing.assert_allclose(shown[partners], seen.on_image[partners].numpy(), atol=room)


def test_a_stretched_map_goes_from_its_least_to_its_largest(opened, explorers):
    page = opened(explorers["tiled"])
    page.locator("#stretch").check()
    hover(page, 20, 20)
    seen = attention_from_pixel(explorers["tiled"].maps, 20, 20)
    low, high = seen.weights.min().item(), seen.weights.max().item()
    shown = painted(page, low, high)
    np.testing.assert_allclose(shown, seen.on_image.numpy(), atol=0.02 * high)
    assert "stretched" in page.locator("#scaleNote").inner_text()


@pytest.mark.parametrize("kind", ["tiled", "stretched"])
def test_arrow_keys_walk_over_the_map_and_enter_pins(opened, explorers, kind):
    page, m = opened(explorers[kind]), explorers[kind].maps[0]
    page.locator("#stage").focus()
    rows, columns = (sorted(set(cells.tolist())) for cells in cells_of_image(m))
    place = page.evaluate("[now().rowOf[state.y], now().columnOf[state.x]]")
    i, j = rows.index(place[0]), columns.index(place[1])
    for key, dy, dx in (("ArrowUp", -1, 0), ("ArrowRight", 0, 1), ("ArrowDown", 1, 0), ("ArrowLeft", 0, -1)):
        page.keyboard.press(key)
        i, j = i + dy, j + dx
        assert page.evaluate("[now().rowOf[state.y], now().columnOf[state.x]]") == [rows[i], columns[j]]
    for _ in range(len(columns)):
        page.keyboard.press("ArrowLeft")
    assert page.evaluate("now().columnOf[state.x]") == 0
    page.keyboard.press("Enter")
    assert page.evaluate("state.pins.length") == 1
    page.wait_for_timeout(600)
    spoken = page.locator("#heard").inner_text()
    assert "entropy" in spoken
    assert f"pixel ({page.evaluate('state.y')}, {page.evaluate('state.x')})" in spoken


def test_touch_moves_the_pixel_and_a_button_pins_it(opened, explorers):
    explorer = explorers["tiled"]
    page = opened(explorer, viewport={"width": 390, "height": 800})
    pixels = [(30, 20), (100, 70)]
    for y, x in pixels:
        box = page.locator("#stage").bounding_box()
        at = (x + 0.5) * box["width"] / 96, (y + 0.5) * box["height"] / 128
        page.touchscreen.tap(box["x"] + at[0], box["y"] + at[1])
        expect_overlay(page, explorer, y, x, ("layer_3", 0), "mean")
        page.locator("#pin").click()
    assert page.evaluate("state.pins") == [list(pixel) for pixel in pixels]
    assert page.locator("#pins figure").count() == 2
    a, b = (attention_from_pixel(explorer.maps, y, x).weights for y, x in pixels)
    shared = 100 * torch.minimum(a, b).sum().item()
    words = page.locator("#overlap").inner_text()
    assert float(words.split("put ")[1].split()[0]) == pytest.approx(shared, rel=0.02)
    page.locator("#unpin").click()
    assert page.locator("#pins figure").count() == 0


def test_the_class_token_can_be_asked(opened, explorers):
    explorer = explorers["vit"]
    page = opened(explorer)
    page.locator("#token").check()
    expected = explorer.maps[0].weights[0, 0].mean(0)[0, 1:].numpy()
    np.testing.assert_allclose(page.evaluate("[...listen(0, 0).weights]"), expected, atol=1e-3)
    hover(page, 50, 20)
    assert not page.locator("#token").is_checked()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_in_a_notebook_the_frame_shows_everything_also_on_a_phone(browser, explorers, scheme):
    context = browser.new_context(color_scheme=scheme)
    page, errors = context.new_page(), []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.set_content(explorers["tiled"]._repr_html_())
    frame = page.frame_locator("iframe")
    frame.locator(READY).wait_for(state="attached")
    for width in (1100, 390):
        page.set_viewport_size({"width": width, "height": 900})
        page.wait_for_timeout(200)
        inside = frame.locator("html")
        assert inside.evaluate("e => e.scrollHeight <= e.clientHeight && e.scrollWidth <= e.clientWidth")
    context.close()
    assert errors == []


def test_what_a_small_page_lacks_cannot_be_chosen_and_is_said(browser, explorers, tmp_path):
    explorer = explorers["tiled"]
    path = explorer.save(tmp_path / "small.html", max_bytes=len(explorer.page().encode()) - 1)
    page = browser.new_page()
    page.goto(path.as_uri())
    page.wait_for_selector(READY)
    assert "layer_3: the mean over the heads only" in page.locator("#held").inner_text()
    assert page.locator("#heads button:disabled").count() == 2
    hover(page, 40, 40)
    seen = attention_from_pixel(explorer.maps, 40, 40)
    np.testing.assert_allclose(
        page.evaluate("[...listen(40, 40).weights]"), seen.weights.flatten(), atol=2e-3
    )
    page.close()


def test_it_opens_where_it_is_told_or_where_there_is_something(browser, opened, tmp_path):
    torch.manual_seed(0)
    explorer = attention_explorer(mobilevit(), photo(128, 96), 101, 33, ("layer_4", 1))
    page = opened(explorer)
    assert page.evaluate("[state.y, state.x]") == [101, 33]
    expect_overlay(page, explorer, 101, 33, ("layer_4", 1), "mean")
    pressed = page.locator("#stages button[aria-pressed=true], #layers button[aria-pressed=true]")
    assert pressed.all_inner_texts() == ["layer_4", "1"]
    lost = "stage.form = 'left out'; stage.data = '';"
    html = explorer.page().replace("const $ =", f"{{ const stage = data.stages[1]; {lost} }}\nconst $ =")
    (tmp_path / "lost.html").write_text(html, encoding="utf-8")
    page.goto((tmp_path / "lost.html").as_uri())
    page.wait_for_selector(READY)
    assert page.evaluate("[state.y, state.x, now().name]") == [101, 33, "layer_3"]


def test_a_page_without_any_stage_says_so(browser, explorers, tmp_path):
    page = browser.new_page()
    page.goto(explorers["tiled"].save(tmp_path / "empty.html", max_bytes=1).as_uri())
    page.get_by_text("No stage fits").wait_for()
    page.close()


MOVES = """() => {
  const box = document.getElementById("stage").getBoundingClientRect(), times = [];
  for (let i = 0; i < 120; i++) {
    const at = { clientX: box.left + box.width * ((i * 37) % 120 + .5) / 120,
                 clientY: box.top + box.height * ((i * 71) % 120 + .5) / 120, bubbles: true };
    const start = performance.now();
    document.getElementById("stage").dispatchEvent(new PointerEvent("pointermove", at));
    document.body.offsetHeight;  // layout is part of the move
    times.push(performance.now() - start);
  }
  return times;
}"""


@pytest.mark.slow
@pytest.mark.parametrize("build", [mobilevit_xxs, mobilevit_s])
def test_a_move_takes_less_than_a_frame(opened, build):
    """At 256 px, all layers and heads, in every stage and painted in every way; pixels pinned."""
    explorer = attention_explorer(sharp(build()), photo(256, 256))
    page = opened(explorer)
    page.evaluate("() => { pin(); move(40, 200); pin(); }")
    for stage in range(3):
        press(page, "stages", str(stage))
        for on in ("patch", "pixel", "window"):
            press(page, "on", on)
            times = sorted(page.evaluate(MOVES))
            median, late = times[60], times[114]
            if os.environ.get("MVIT_SHOW_TIMES"):
                print(f"{build.__name__} stage {stage} {on}: median {median:.1f} ms, 95 % {late:.1f} ms")
            assert median < 16
