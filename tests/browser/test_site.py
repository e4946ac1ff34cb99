"""The static site: every page opened from disk in Chromium, with the network off."""

import base64
import importlib
import io
import re
import subprocess
import sys
from html import unescape
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urldefrag

import nbformat
import numpy as np
import pytest
from browser import test_convolution, test_mobilevit_block
from browser.test_lab import formulas

from mvit_lib import load_weights
from mvit_lib.attention import attention_from_pixel
from mvit_lib.data import PixelZoo
from mvit_lib.look import attention_explorer

ROOT = Path(__file__).resolve().parents[2]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
README = (ROOT / "README.md").read_text(encoding="utf-8")
pytestmark = [pytest.mark.browser, pytest.mark.slow]


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """Built from nothing; a warning, such as a formula that cannot be read, fails it."""
    pytest.importorskip("myst_nb", reason='the extra "site" is not installed; `make prove` installs it')
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, str(ROOT / "site" / "make.py"), str(folder)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder / "html"


@pytest.fixture(params=["light", "dark"])
def opened(browser, request):
    """A phone's window for light or dark; an error, or a request over the network, fails the test."""
    context = browser.new_context(
        offline=True,
        color_scheme=request.param,
        reduced_motion="reduce",
        viewport={"width": 390, "height": 800},
    )
    page, errors = context.new_page(), []
    page.on("pageerror", lambda error: errors.append(f"{page.url}: {error}"))
    page.on(
        "console", lambda said: errors.append(f"{page.url}: {said.text}") if said.type == "error" else None
    )
    page.on("requestfailed", lambda sent: errors.append(f"{page.url}: {sent.url}"))
    page.on("request", lambda sent: errors.append(sent.url) if sent.url.startswith("http") else None)
    yield page
    context.close()
    assert errors == []


def pages_of(site: Path) -> list[Path]:
    """Its pages; the living figures beside them have tests of their own."""
    return sorted(path for path in site.rglob("*.html") if path.parent.name != "figures")


class Page(HTMLParser):
    """The anchors of a page, where its links lead, and what it loads by itself."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.anchors, self.links, self.loaded = set(), [], []
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        self.anchors |= {found[name] for name in ("id", "name") if found.get(name)}
        if tag == "a" and found.get("href"):
            self.links.append(found["href"])
        loads = found.get("src") or (found.get("href") if tag == "link" else None)
        if loads:
            self.loaded.append(loads)


def test_no_link_inside_is_broken(site):
    pages = {path: Page(path) for path in pages_of(site)}
    assert len(pages) > len(NOTEBOOKS) + 10
    for path, page in pages.items():
        for target in page.loaded:
            assert not re.match(r"\w+:|//", target), f"{path.name} loads {target}"
        for target in page.links + page.loaded:
            if re.match(r"https?:|mailto:", target):
                continue
            name, fragment = urldefrag(target)
            file = (path.parent / unquote(name.split("?")[0])).resolve() if name else path
            assert file.is_file(), f"{path.name} links to {target}"
            if fragment and file.suffix == ".html":
                assert unquote(fragment) in pages[file].anchors, f"{path.name} links to {target}"


# The worst contrast of text with what lies behind it, by WCAG 2, and the text.
CONTRAST = r"""() => {
  const numbers = colour => colour.match(/[\d.]+/g).map(Number);
  const light = ([r, g, b]) => [r, g, b].map(v => v / 255)
    .map(v => v <= .04045 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4)
    .reduce((sum, v, i) => sum + v * [.2126, .7152, .0722][i], 0);
  function behind(element) {
    for (; element; element = element.parentElement) {
      const colour = numbers(getComputedStyle(element).backgroundColor);
      if (colour.length === 3 || colour[3] === 1) return colour;
    }
    return [255, 255, 255];
  }
  let worst = [21, ""];
  const walk = document.createTreeWalker(document.querySelector("article"), NodeFilter.SHOW_TEXT);
  while (walk.nextNode()) {
    const element = walk.currentNode.parentElement, text = walk.currentNode.data.trim();
    if (!text || !element.checkVisibility({ opacityProperty: true, visibilityProperty: true })) continue;
    if (element.closest(".headerlink, script, style")) continue;
    const [a, b] = [light(numbers(getComputedStyle(element).color)), light(behind(element))];
    const ratio = (Math.max(a, b) + .05) / (Math.min(a, b) + .05);
    if (ratio < worst[0]) worst = [ratio, text.slice(0, 60)];
  }
  return worst;
}"""
BROKEN = "[...document.images].filter(i => !(i.complete && i.naturalWidth)).map(i => i.src)"


def test_every_page_is_readable_on_a_phone(site, opened):
    """No sideways scroll, every picture there, text with a contrast of at least 4.5 : 1."""
    for path in pages_of(site):
        opened.goto(path.as_uri())
        opened.evaluate("document.querySelectorAll('img[loading]').forEach(i => i.loading = 'eager')")
        opened.wait_for_function(f"({BROKEN}).length === 0", timeout=5000)
        root = opened.evaluate("(e => [e.scrollWidth, e.clientWidth])(document.documentElement)")
        assert root[0] <= root[1], f"{path.name} is {root[0]} pixels wide"
        ratio, text = opened.evaluate(CONTRAST)
        assert ratio >= 4.5, f"{path.name}: contrast {ratio:.2f} of {text!r}"


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_shows_everything(site, path):
    """Every formula is typeset, every picture, output and living picture is there, no badge from the net."""
    notebook = nbformat.read(site.parent / "source" / "downloads" / path.name, as_version=4)
    html = (site / "notebooks" / f"{path.stem}.html").read_text(encoding="utf-8")
    assert html.count("<math") == len(formulas(notebook))
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", ())]
    shown = [o.get("data", {}) for o in outputs]
    assert len(re.findall(r'<img alt="[^"]*" src="\.\./_images/', html)) == sum(
        "image/png" in d for d in shown
    )
    pages = [data["text/html"] for data in shown if "text/html" in data]
    assert html.count('<div class="output text_html') == len(pages)
    assert html.count("srcdoc=") == sum("srcdoc=" in page for page in pages)
    assert html.count('<div class="output stream') == sum(o.output_type == "stream" for o in outputs)
    exercises = [t for c in notebook.cells for t in c.metadata.get("tags", ()) if t.startswith("exercise:")]
    assert all(f"tag_{name}" in html for name in exercises)


def test_the_font_has_every_letter_of_the_formulas(site, opened):
    from fontTools.ttLib import TTFont

    style = (site / "_static" / "formulas.css").read_text(encoding="utf-8")
    font = TTFont(io.BytesIO(base64.b64decode(re.search(r"base64,([^\"]+)", style)[1])))
    assert "MATH" in font
    for path in pages_of(site):
        found = re.findall(r"<math.*?</math>", path.read_text(encoding="utf-8"), re.DOTALL)
        letters = filter(str.isprintable, unescape(re.sub(r"<[^>]+>", "", "".join(found))))
        missing = {letter for letter in letters if ord(letter) not in font.getBestCmap()}
        assert not missing, f"{path.name}: {missing}"
    opened.goto((site / "notebooks" / "02_attention.html").as_uri())
    opened.evaluate("document.fonts.ready.then(() => 0)")
    loaded = opened.evaluate("[...document.fonts].map(f => [f.family.replaceAll('\"', ''), f.status])")
    assert ["Course Math", "loaded"] in loaded


def test_the_front_page_is_the_readme(site, opened):
    opened.goto((site / "index.html").as_uri())
    rows = re.findall(r"^\| (\d\d) \| \[(.+?)\].*? \| (.+) \|$", README, re.MULTILINE)
    cards = opened.locator("ul.cards > li")
    assert cards.count() == len(rows)
    for i, (number, name, question) in enumerate(rows):
        text = cards.nth(i).inner_text()
        assert f"{number} · {name}" in text
        assert re.sub(r"[`*]", "", question) in re.sub(r"\s+", " ", text)
    cards.nth(0).click(position={"x": 20, "y": 20})  # the picture is part of the link
    assert opened.url.endswith("notebooks/00_start_here.html")


def test_the_reference_has_every_public_name(site):
    rooms = ["", ".attention", ".weights", ".data", ".heads", ".train", ".look", ".export", ".course"]
    html = "".join(path.read_text(encoding="utf-8") for path in (site / "reference").glob("*.html"))
    for room in rooms:
        for name in importlib.import_module(f"mvit_lib{room}").__all__:
            assert re.search(rf'id="mvit_lib\.(\w+\.)?{name}"', html), name
    for name in ("patches.unfold_patches", "patches.conv2d_by_matmul", "cost.count_macs"):
        assert f'id="mvit_lib.{name}"' in html


def test_search_finds_unfold(site, opened):
    opened.set_viewport_size({"width": 1200, "height": 800})
    opened.goto((site / "index.html").as_uri())
    opened.locator("input.sidebar-search").fill("unfold")
    opened.keyboard.press("Enter")
    results = opened.locator("#search-results li a")
    results.first.wait_for()
    found = results.all_inner_texts()
    assert "mvit_lib.patches.unfold_patches" in found and "04 · Convolution is unfold, matmul, fold" in found
    results.get_by_text("unfold_patches").click()
    opened.wait_for_url("**/*#mvit_lib.patches.unfold_patches")


def test_the_explorer_shows_what_its_pixel_listens_to(site, opened):
    """The numbers under the pointer are those of the network and the scene of notebook 10."""
    scene, _ = PixelZoo("test", size=256)[23]
    maps = attention_explorer(load_weights("pixelzoo-xxs"), scene).maps
    opened.goto((site / "notebooks" / "10_attention_over_pixels.html").as_uri())
    stage = opened.frame_locator("iframe").locator("#stage")
    stage.scroll_into_view_if_needed()
    frame = opened.frames[1]
    for share in ((0.2, 0.3), (0.7, 0.6)):
        box = stage.bounding_box()
        stage.hover(position={"x": share[0] * box["width"], "y": share[1] * box["height"]})
        y, x = frame.evaluate("[state.y, state.x]")
        assert abs(y / 256 - share[1]) < 0.02 and abs(x / 256 - share[0]) < 0.02
        seen = attention_from_pixel(maps, y, x, ("layer_4", 1))
        weights = frame.evaluate("[...listen(state.y, state.x).weights]")
        stored = maps[3].weights.max().item() / 400  # the page keeps weights as bytes
        np.testing.assert_allclose(weights, seen.weights.flatten(), atol=stored)
        words = frame.locator("#words").inner_text().replace("\u00a0", " ")
        told = float(re.search(r"listens most to [^:]*: ([\d.]+) %", words)[1])
        assert abs(told - 100 * seen.weights.max().item()) < 100 * stored + 0.05, words


def test_the_living_pictures_of_04_and_06_live(site, opened):
    opened.goto((site / "notebooks" / "04_convolution_is_unfold_matmul_fold.html").as_uri())
    test_convolution.cell(opened, "output", 1, 1).hover()
    test_convolution.expect_position(opened, 4)
    opened.goto((site / "notebooks" / "06_mobilevit_block.html").as_uri())
    test_mobilevit_block.pixel(opened, 0, 7).hover()
    test_mobilevit_block.expect(opened, 0, 7, 2, 3)


def test_the_switch_turns_the_page_and_its_living_pictures(site, opened):
    opened.goto((site / "notebooks" / "06_mobilevit_block.html").as_uri())
    opened.frame_locator("iframe").locator("#sentence").wait_for()
    seen = set()
    for _ in range(3):
        opened.locator(".theme-toggle:visible").first.click()
        page = opened.evaluate("getComputedStyle(document.body).backgroundColor")
        inside = opened.frames[1].evaluate("getComputedStyle(document.documentElement).colorScheme")
        seen.add((opened.evaluate("document.body.dataset.theme"), page, inside))
    chosen = {theme: (page, inside) for theme, page, inside in seen}
    assert chosen["light"][1] == "light" and chosen["dark"][1] == "dark"
    assert chosen["light"][0] != chosen["dark"][0]
    assert chosen["auto"] in (chosen["light"], chosen["dark"])
