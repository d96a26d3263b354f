"""Fixtures: a real Jupyter server, real kernels and a headless Chromium, all on this machine and offline.

The tests are skipped where Chromium, JupyterLab, Notebook or Playwright is missing, but never in CI.
"""

from __future__ import annotations

import os
import re
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from book import Notebook
from lab import CHROMIUM, FLAGS, LIGHT, SETUP, Server
from PIL import Image
from skimage import data

HERE = Path(__file__).parent


def missing():
    names = ("jupyterlab", "notebook", "playwright", "axe_playwright_python")
    absent = [name for name in names if find_spec(name) is None]
    return absent + ([] if CHROMIUM else ["chromium"])


def pytest_collection_modifyitems(items):
    """Skip where something is missing; in CI that must fail instead."""
    absent = missing()
    if absent and not os.environ.get("CI"):
        reason = (
            f"the browser tests need {', '.join(absent)}: pip install '.[browser]', apt-get install chromium"
        )
        for item in items:
            if HERE in item.path.parents:
                item.add_marker(pytest.mark.skip(reason=reason))


@pytest.fixture(scope="session")
def server(tmp_path_factory):
    """Give one Jupyter server for all browser tests."""
    running = Server(tmp_path_factory.mktemp("lab"))
    yield running
    running.close()


@pytest.fixture(scope="session")
def browser(tmp_path_factory):
    """Give one headless Chromium for all browser tests."""
    from playwright.sync_api import sync_playwright

    home = tmp_path_factory.mktemp("chromium")
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(
            executable_path=CHROMIUM, args=FLAGS, env={**os.environ, "HOME": str(home)}
        )
        yield running
        running.close()


@pytest.fixture(scope="session")
def files(server):
    """Give files of 50 kB, 5 MB, 30 MB (noise, which nothing packs) and 70 MB in the server's folder, by name."""
    noise = np.random.default_rng(1)
    for name, side in (("small.png", 128), ("large.png", 1290), ("huge.png", 3162)):
        image = Image.fromarray(noise.integers(0, 256, (side, side, 3), np.uint8))
        image.save(server.root / name, compress_level=0)
    with (server.root / "excessive.png").open("wb") as file:
        file.truncate(70_000_000)
    (server.root / "notes.txt").write_text("no picture")
    Image.fromarray(data.coffee()).save(server.root / "cat.png")
    return {path.name: path for path in server.root.iterdir() if path.is_file()}


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item):
    """Tell the fixtures whether the test failed."""
    report = yield
    if report.when == "call":
        item.failed = report.failed
    return report


def _open(server, browser, name, cells, *, width=1280, height=1400, theme=LIGHT, app="lab"):
    server.use_theme(theme)
    context = browser.new_context(viewport={"width": width, "height": height})
    context.grant_permissions(["clipboard-read", "clipboard-write"], origin=server.base)
    page = context.new_page()
    page.set_default_timeout(15_000)
    return Notebook(server, page, cells, re.sub(r"\W+", "-", name) + ".ipynb", app)


@pytest.fixture
def open_notebook(server, browser, request, tmp_path):
    """Open notebooks; each has a page and a kernel of its own, which end with the test."""
    opened = []

    def open_one(*cells, **look):
        opened.append(_open(server, browser, f"{request.node.name}-{len(opened)}", cells, **look))
        return opened[-1]

    yield open_one
    for number, each in enumerate(opened):
        if getattr(request.node, "failed", True):
            each.page.screenshot(path=tmp_path / f"failure-{number}.png")
        each.page.context.close()
        server.end_kernels(each.path.name)


@pytest.fixture(scope="session")
def pages():
    """Hold the page of each front end that tests share, because opening one takes longer than most tests."""
    opened = {}
    yield opened
    for each in opened.values():
        each.page.context.close()


@pytest.fixture
def notebook(server, browser, pages, request, tmp_path):
    """Give a notebook that tests share, in JupyterLab or the front end that the parameter names.

    What a failed test leaves is thrown away. No test may leave an error in the console or a request to elsewhere.
    """
    app = getattr(request, "param", "lab")
    if app not in pages:
        pages[app] = _open(server, browser, f"shared-{app}", [SETUP], app=app)
        pages[app].run_cell(0)
    given = pages[app]
    given.errors.clear()
    yield given
    if getattr(request.node, "failed", True):
        given.page.screenshot(path=tmp_path / "failure.png")
        given.page.context.close()
        server.end_kernels(given.path.name)
        del pages[app]
        return
    given.page.set_viewport_size({"width": 1280, "height": 1400})
    assert given.errors == []
    assert given.foreign == []
