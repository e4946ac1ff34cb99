"""A real JupyterLab, a real kernel, a real browser: the newcomer's first minute."""

import contextlib
import os
import re
import shutil
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING

import nbformat
import pytest
from browser.test_explorer import READY, expect_overlay, hover, press

from mvit_lib import load_weights
from mvit_lib.data import PixelZoo
from mvit_lib.look import attention_explorer
from mvit_lib.look.explorer import AttentionExplorer

if TYPE_CHECKING:
    from playwright.sync_api import Page

ROOT = Path(__file__).resolve().parents[2]
TOKEN = "a-token-for-this-test"
FLAGS = "--no-sandbox --disable-gpu --disable-background-networking --disable-component-update"
FLAGS += " --disable-sync --no-first-run"

pytestmark = pytest.mark.browser


def find_chromium() -> str:
    """The browser; without one the test is skipped, or fails where a browser is required."""
    names = ("chromium", "chromium-browser", "google-chrome")
    found = next((path for path in map(shutil.which, names) if path), None)
    if found is None:
        if os.environ.get("MVIT_REQUIRE_BROWSER"):
            pytest.fail(f"MVIT_REQUIRE_BROWSER is set and none of {names} is installed")
        pytest.skip(f"none of {names} is installed")
    return found


@contextlib.contextmanager
def serving(folder: Path, python: str | Path = sys.executable) -> Iterator[str]:
    """JupyterLab on a copy of the notebooks, with settings of its own; yields its address."""
    shutil.copytree(ROOT / "notebooks", folder / "notebooks")
    settings = {f"JUPYTER_{kind}_DIR": str(folder / kind) for kind in ("CONFIG", "RUNTIME")}
    settings |= {f"JUPYTERLAB_{k}_DIR": str(folder / k) for k in ("SETTINGS", "WORKSPACES")}
    command = [str(python), "-m", "jupyter", "lab", "--no-browser", "--ip=127.0.0.1", "--port=0"]
    command += ["--allow-root", f"--IdentityProvider.token={TOKEN}"]
    with open(folder / "lab.log", "w+") as log:
        server = subprocess.Popen(
            command, cwd=folder / "notebooks", env=os.environ | settings, stdout=log, stderr=log
        )
        try:
            yield address_in(folder / "lab.log", server)
        finally:
            server.terminate()
            server.wait(20)


@pytest.fixture
def lab(tmp_path):
    with serving(tmp_path) as address:
        yield address


def address_in(log: Path, server: subprocess.Popen, seconds: int = 60) -> str:
    """Wait until the server says where it listens and answers there, which is not at once."""
    for _ in range(seconds * 2):
        assert server.poll() is None, log.read_text()
        addresses = re.findall(r"http://127\.0\.0\.1:\d+", log.read_text())
        with contextlib.suppress(urllib.error.URLError):
            if addresses:
                urllib.request.urlopen(f"{addresses[0]}/api?token={TOKEN}", timeout=30)
                return addresses[0]
        time.sleep(0.5)
    raise TimeoutError(log.read_text())


def run_all(page: "Page", lab: str, path: Path, seconds: int = 90) -> None:
    """Open a copy of a notebook, clear it, run all its cells, and see that none of them complains."""
    page.goto(f"{lab}/lab/tree/{path.name}?token={TOKEN}")
    page.locator(".jp-Notebook").wait_for(timeout=60_000)
    page.get_by_text("Python 3 (ipykernel) | Idle").first.wait_for(timeout=60_000)
    for menu, entry in (("Edit", "Clear Outputs of All Cells"), ("Run", "Run All Cells")):
        page.get_by_role("menuitem", name=menu, exact=True).click()
        page.get_by_text(entry, exact=True).click()
    cells = nbformat.read(path, as_version=4).cells
    counts = [f"[{i}]:" for i in range(1, 1 + sum(cell.cell_type == "code" for cell in cells))]
    deadline, found = time.time() + seconds, []
    while found != counts and time.time() < deadline:
        page.wait_for_timeout(500)
        found = page.locator(".jp-CodeCell .jp-InputPrompt").all_text_contents()
    assert found == counts
    for kind in ("stderr", "error"):
        output = f".jp-OutputArea-output[data-mime-type='application/vnd.jupyter.{kind}']"
        assert page.locator(output).all_text_contents() == []


def explorer_in(page: "Page") -> SimpleNamespace:
    """The explorer in its frame, to be handled like its page."""
    element = page.locator("iframe[title='Attention explorer']")
    element.scroll_into_view_if_needed()
    frame = element.element_handle().content_frame()
    frame.wait_for_selector(READY, state="attached")
    frame.locator("#stage").scroll_into_view_if_needed()
    return SimpleNamespace(locator=frame.locator, evaluate=frame.evaluate, mouse=page.mouse)


def explorer_of(path: Path) -> AttentionExplorer:
    """What a notebook explores, computed here: its first scene, read by the trained network."""
    index = re.search(r"scene, label = zoo\[(\d+)\]", path.read_text(encoding="utf-8"))[1]
    return attention_explorer(load_weights("pixelzoo-xxs"), PixelZoo("test", size=256)[int(index)][0])


def expect_explorer(page: "Page", explorer: AttentionExplorer) -> None:
    """Wherever the pointer goes, the overlay holds the data of the pixel under it."""
    shown = explorer_in(page)
    for y, x, stage, layer, head in ((100, 112, 0, 1, "mean"), (31, 200, 1, 2, 3), (230, 60, 1, 2, 3)):
        for field, value in (("stages", stage), ("layers", layer), ("heads", head)):
            press(shown, field, str(value))
        hover(shown, y, x)
        expect_overlay(shown, explorer, y, x, (f"layer_{3 + stage}", layer), head)


def test_notebook_00_runs_in_jupyterlab(browser, lab, tmp_path):
    path = tmp_path / "notebooks" / "00_start_here.ipynb"
    page = browser.new_page(viewport={"width": 1200, "height": 1000})
    run_all(page, lab, path)
    expect_explorer(page, explorer_of(path))
    page.get_by_text('Stuck? hint("00.1")').scroll_into_view_if_needed()
    last = page.locator(".jp-CodeCell").last
    last.scroll_into_view_if_needed()
    last.locator("img").wait_for()
    page.close()


def formulas(notebook: nbformat.NotebookNode) -> list[str]:
    """The TeX between dollar signs in the notebook's text; dollars inside code are none."""
    found = []
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            text = re.sub(r"```.*?```|`[^`]*`", "", cell.source, flags=re.DOTALL)
            found += re.findall(r"\$\$(.+?)\$\$|\$(.+?)\$", text, flags=re.DOTALL)
    return [display or inline for display, inline in found]


@pytest.mark.slow
def test_every_formula_of_the_course_is_typeset(browser, lab, tmp_path):
    everything = nbformat.v4.new_notebook()
    for path in sorted((ROOT / "notebooks").glob("*.ipynb")):
        cells = nbformat.read(path, as_version=4).cells
        everything.cells += [c for c in cells if c.cell_type == "markdown" and "$" in c.source]
    for i, cell in enumerate(everything.cells):
        cell.id = f"formulas-{i}"
    nbformat.write(everything, tmp_path / "notebooks" / "formulas.ipynb")
    settings = tmp_path / "SETTINGS" / "@jupyterlab" / "notebook-extension"
    settings.mkdir(parents=True)
    (settings / "tracker.jupyterlab-settings").write_text('{"windowingMode": "none"}')

    page = browser.new_page(viewport={"width": 1200, "height": 1000})
    page.goto(f"{lab}/lab/tree/formulas.ipynb?token={TOKEN}")
    page.locator(".jp-Notebook").wait_for(timeout=60_000)
    expected, found, deadline = len(formulas(everything)), -1, time.time() + 120
    while found < expected and time.time() < deadline:
        found = page.locator("mjx-container").count()
        page.wait_for_timeout(500)
    wrong = page.locator("mjx-merror, [data-mjx-error]").all_inner_texts()
    page.close()
    assert wrong == []
    assert found == expected
