"""The living pictures of notebook 10 in a real JupyterLab: with our versions and with Colab's.

Colab's own page cannot be tested here. What can: its versions of the libraries, with the front end that
belongs to its ipywidgets, in JupyterLab.
"""

import base64
import io
import re
import sys
import time
from pathlib import Path

import nbformat
import numpy as np
import pytest
from browser.test_lab import ROOT, expect_explorer, explorer_of, run_all, serving
from PIL import Image

from mvit_lib.attention import attention_from_pixel
from mvit_lib.look.widgets import attention_picture, attention_words

pytestmark = [pytest.mark.browser, pytest.mark.slow]

VERSIONS = """\
from importlib.metadata import version
print(*(f"{name}=={version(name)}" for name in ("ipywidgets", "matplotlib", "numpy", "ipython")))"""
PANEL = """\
from mvit_lib.look.widgets import attention_panel
attention_panel(model, scene)"""
# A blob that only the page can read.
BYTES = """async image => {
  const blob = await (await fetch(image.src)).blob(), reader = new FileReader();
  return new Promise(done => { reader.onload = () => done(reader.result); reader.readAsDataURL(blob); });
}"""


@pytest.fixture(params=["our versions", "Colab's versions"], scope="module")
def environment(request) -> tuple[Path, list[str]]:
    """A Python, and versions that it must have."""
    if request.param == "our versions":
        return Path(sys.executable), ["ipywidgets==8."]
    versions = request.getfixturevalue("colab_versions")
    python = request.getfixturevalue("new_venv")("colab", f"{ROOT}[course]", other=versions)
    return python, [f"{name}{version}" for name, version in versions.items() if version.startswith("==")]


def prepare(path: Path) -> None:
    """Add to a copy of a notebook a cell that tells the versions and, where it has none, the panel."""
    notebook = nbformat.read(path, as_version=4)
    notebook.cells.append(nbformat.v4.new_code_cell(VERSIONS, id="versions"))
    if path.name.startswith("10") and not any("attention_panel(" in cell.source for cell in notebook.cells):
        at = next(i for i, cell in enumerate(notebook.cells) if "explorer" in cell.metadata.get("tags", ()))
        notebook.cells.insert(at + 1, nbformat.v4.new_code_cell(PANEL, id="panel"))
    nbformat.write(notebook, path)


def expect_picture(page, explorer, *state) -> None:
    """The panel shows what the pure functions say; state: y, x, layer, head, stretch."""
    expected = np.asarray(attention_picture(explorer.maps, explorer.photo, *state))
    words = re.sub("<.*?>", "", attention_words(attention_from_pixel(explorer.maps, *state[:4])))
    image, deadline = page.locator("img.widget-image"), time.time() + 20
    shown = said = None
    while time.time() < deadline:
        stored = base64.b64decode(image.evaluate(BYTES).split(",")[1])
        shown = np.asarray(Image.open(io.BytesIO(stored)).convert("RGB"))
        said = page.locator(".widget-html", has_text="entropy").inner_text()
        if np.array_equal(shown, expected) and said == words:
            return
        page.wait_for_timeout(250)
    assert said == words
    assert shown.shape == expected.shape
    assert np.abs(shown.astype(int) - expected).max() <= 1, "the picture is another one"


def set_slider(page, name: str, value: int) -> None:
    """Type a value into a slider's number."""
    page.locator(".widget-hslider", has_text=name).locator(".widget-readout").click()
    page.keyboard.press("Control+A")
    page.keyboard.type(str(value))
    page.keyboard.press("Enter")


def drag_slider(page, name: str, share: float) -> int:
    """Drag a slider's handle to a share of its length; returns the value that it shows then."""
    slider = page.locator(".widget-hslider", has_text=name)
    slider.scroll_into_view_if_needed()
    handle = slider.locator(".noUi-handle, .ui-slider-handle").bounding_box()
    track = slider.locator(".noUi-base, .ui-slider").bounding_box()
    middle = handle["y"] + handle["height"] / 2
    page.mouse.move(handle["x"] + handle["width"] / 2, middle)
    page.mouse.down()
    page.mouse.move(track["x"] + share * track["width"], middle, steps=5)
    page.mouse.up()
    return int(slider.locator(".widget-readout").inner_text())


def expect_panel(page, explorer) -> None:
    """Every control of the panel drives the picture."""
    H, W = explorer.maps[0].image_size
    page.locator("img.widget-image").scroll_into_view_if_needed()
    y, x, layer, head = H // 2, W // 2, 0, "mean"
    expect_picture(page, explorer, y, x, layer, head, False)
    y = drag_slider(page, "row y", 0.25)
    assert 40 < y < 90
    expect_picture(page, explorer, y, x, layer, head, False)
    x = 231
    set_slider(page, "column x", x)
    expect_picture(page, explorer, y, x, layer, head, False)
    for name, label in (("layer", "layer_4, 1"), ("head", "2")):
        label_of = page.locator("label", has_text=re.compile(f"^{name}$"))
        page.locator(".widget-dropdown", has=label_of).locator("select").select_option(label=label)
    expect_picture(page, explorer, y, x, ("layer_4", 1), 2, False)
    page.locator(".widget-checkbox", has_text="stretch this map").locator("input").check()
    expect_picture(page, explorer, y, x, ("layer_4", 1), 2, True)


@pytest.mark.parametrize("name", ["00_start_here", "10_attention_over_pixels"])
def test_the_pictures_answer_in_jupyterlab(browser, environment, name, tmp_path):
    python, versions = environment
    with serving(tmp_path, python) as lab:
        path = tmp_path / "notebooks" / f"{name}.ipynb"
        prepare(path)
        page = browser.new_page(viewport={"width": 1200, "height": 1100})
        run_all(page, lab, path, seconds=400)
        printed = page.locator(".jp-CodeCell").last.locator(".jp-OutputArea-output").text_content()
        assert all(version in printed for version in versions), printed
        explorer = explorer_of(path)
        expect_explorer(page, explorer)
        if name.startswith("10"):
            expect_panel(page, explorer)
        page.close()
