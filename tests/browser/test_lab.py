"""A real JupyterLab, a real kernel, a real browser: the newcomer's first minute."""

import os
import shutil
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

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
