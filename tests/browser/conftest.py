"""What all browser tests of living pictures share: a browser, and a page with one picture."""

import pytest
from browser.test_lab import FLAGS, find_chromium


@pytest.fixture(scope="module")
def browser():
    from playwright.sync_api import sync_playwright

    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=find_chromium(), args=FLAGS.split())
        yield browser
        browser.close()


@pytest.fixture(params=["light", "dark"])
def page(browser, request):
    """A page that holds nothing but `OUTPUT` of the test's module, as a cell shows it.

    An error in its script fails the test, and so does any request over the network.
    """
    context = browser.new_context(has_touch=True, color_scheme=request.param, reduced_motion="reduce")
    page = context.new_page()
    errors = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("request", lambda sent: errors.append(sent.url) if sent.url.startswith("http") else None)
    page.set_content(request.module.OUTPUT)
    yield page
    context.close()
    assert errors == []
