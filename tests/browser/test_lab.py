"""A real JupyterLab, a real kernel, a real browser: the newcomer's first minute."""

import os
import re
import shutil
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import nbformat
import pytest

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


@pytest.fixture
def lab(tmp_path):
    """JupyterLab on a copy of the notebooks, with settings of its own; yields its address."""
    shutil.copytree(ROOT / "notebooks", tmp_path / "notebooks")
    settings = {f"JUPYTER_{kind}_DIR": str(tmp_path / kind) for kind in ("CONFIG", "RUNTIME")}
    settings |= {f"JUPYTERLAB_{k}_DIR": str(tmp_path / k) for k in ("SETTINGS", "WORKSPACES")}
    log = open(tmp_path / "lab.log", "w+")  # noqa: SIM115
    command = [sys.executable, "-m", "jupyter", "lab", "--no-browser", "--ip=127.0.0.1", "--port=0"]
    command += ["--allow-root", f"--IdentityProvider.token={TOKEN}"]
    server = subprocess.Popen(
        command, cwd=tmp_path / "notebooks", env=os.environ | settings, stdout=log, stderr=log
    )
    try:
        yield address_in(tmp_path / "lab.log", server)
    finally:
        server.terminate()
        server.wait(20)
        log.close()


def address_in(log: Path, server: subprocess.Popen, seconds: int = 60) -> str:
    """Wait until the server says where it listens and answers there."""
    for _ in range(seconds * 2):
        assert server.poll() is None, log.read_text()
        lines = [line for line in log.read_text().splitlines() if "http://127.0.0.1:" in line]
        if lines:
            address = "http://127.0.0.1:" + lines[0].split("http://127.0.0.1:")[1].split("/")[0]
            urllib.request.urlopen(f"{address}/api?token={TOKEN}", timeout=30)
            return address
        time.sleep(0.5)
    raise TimeoutError(log.read_text())


def test_notebook_00_runs_in_jupyterlab(lab, tmp_path):
    from playwright.sync_api import expect, sync_playwright

    chromium = find_chromium()
    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=chromium, args=FLAGS.split())
        page = browser.new_page(viewport={"width": 1200, "height": 1000})
        page.goto(f"{lab}/lab/tree/00_start_here.ipynb?token={TOKEN}")
        notebook = page.locator(".jp-Notebook")
        notebook.wait_for(timeout=60_000)
        page.get_by_text("Python 3 (ipykernel) | Idle").first.wait_for(timeout=60_000)
        page.get_by_role("menuitem", name="Edit", exact=True).click()
        page.get_by_text("Clear Outputs of All Cells").click()
        page.get_by_role("menuitem", name="Run", exact=True).click()
        page.get_by_text("Run All Cells", exact=True).click()
        # JupyterLab draws cells as they come into view, so walk down to the last one.
        last = page.locator(".jp-CodeCell").last
        deadline = time.time() + 90
        while time.time() < deadline:
            page.keyboard.press("Escape")
            notebook.evaluate(
                "n => { const w = n.closest('.jp-WindowedPanel-outer') || n; w.scrollTop = 1e9 }"
            )
            if last.locator("img").count():
                break
            page.wait_for_timeout(500)
        expect(last.locator(".jp-InputPrompt").first).to_have_text("[13]:")
        check = page.locator(".jp-OutputArea", has_text='Stuck? hint("00.1")')
        expect(check.first).to_be_attached()
        assert last.locator("img").count() == 1
        assert (
            page.locator(".jp-OutputArea-output[data-mime-type='application/vnd.jupyter.stderr']").count()
            == 0
        )
        page.screenshot(path=str(tmp_path / "last.png"))
        browser.close()


def formulas(notebook: nbformat.NotebookNode) -> list[str]:
    """The TeX between dollar signs in the notebook's text; dollars inside code are none."""
    found = []
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            text = re.sub(r"```.*?```|`[^`]*`", "", cell.source, flags=re.DOTALL)
            found += re.findall(r"\$\$(.+?)\$\$|\$(.+?)\$", text, flags=re.DOTALL)
    return [display or inline for display, inline in found]


@pytest.mark.slow
def test_every_formula_of_the_course_is_typeset(lab, tmp_path):
    from playwright.sync_api import sync_playwright

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

    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=find_chromium(), args=FLAGS.split())
        page = browser.new_page(viewport={"width": 1200, "height": 1000})
        page.goto(f"{lab}/lab/tree/formulas.ipynb?token={TOKEN}")
        page.locator(".jp-Notebook").wait_for(timeout=60_000)
        expected, found, deadline = len(formulas(everything)), -1, time.time() + 120
        while found < expected and time.time() < deadline:
            found = page.locator("mjx-container").count()
            page.wait_for_timeout(500)
        wrong = page.locator("mjx-merror, [data-mjx-error]").all_inner_texts()
        browser.close()
    assert wrong == []
    assert found == expected
