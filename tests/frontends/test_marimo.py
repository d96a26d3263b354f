"""marimo: a real server runs a notebook in Python, and Chromium shows it, offline."""

import os
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from importlib.util import find_spec
from pathlib import Path

import pytest

import ipy_imgvar

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
FLAGS = ["--no-sandbox", "--disable-gpu", "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"]
MISSING = [name for name in ("marimo", "playwright") if find_spec(name) is None] + (
    [] if CHROMIUM else ["chromium"]
)
NOTEBOOK = """
import marimo
app = marimo.App()

@app.cell
def _():
    import marimo as mo
    from ipy_imgvar import Client, VariationPanel, variations
    return Client, VariationPanel, mo, variations

@app.cell
def _(variations):
    made = variations("photo.png", n=2, size=128, engine="patch", seed=7)
    made
    return (made,)

@app.cell
def _(made):
    made[0]
    return

@app.cell
def _(Client):
    with Client("patch") as client:
        many = client.map("photo.png", out_dir="many", size=64, max_workers=1)
    many
    return

@app.cell
def _(VariationPanel):
    VariationPanel("photo.png", size=64, engine="patch")
    return

@app.cell
def _(VariationPanel, mo):
    mo.ui.anywidget(VariationPanel("photo.png", size=1024, n=10, engine="patch"))
    return
"""
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(bool(MISSING), reason=f"needs {', '.join(MISSING)}; .ci/frontends installs it"),
]


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    """Give the address of a server that runs the notebook for each page that is opened."""
    from PIL import Image
    from skimage import data

    folder = tmp_path_factory.mktemp("marimo")
    Image.fromarray(data.chelsea()[:288, :384]).save(folder / "photo.png")
    (folder / "notebook.py").write_text(NOTEBOOK)
    port = free_port()
    env = {**os.environ, "HOME": str(folder), "IPY_IMGVAR_STORE": str(folder / "store")}
    env["PYTHONPATH"] = str(Path(ipy_imgvar.__file__).parent.parent)
    command = [
        sys.executable,
        "-m",
        "marimo",
        "-q",
        "run",
        "notebook.py",
        "--headless",
        "--no-token",
        "--port",
    ]
    log = (folder / "log").open("wb")
    process = subprocess.Popen([*command, str(port)], cwd=folder, env=env, stdout=log, stderr=log)
    end = time.monotonic() + 120
    while time.monotonic() < end:
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5).close()
            break
        except OSError:
            assert process.poll() is None, (folder / "log").read_text()
            time.sleep(0.2)
    yield f"http://127.0.0.1:{port}"
    process.terminate()
    process.wait(30)
    log.close()


@pytest.fixture(scope="module")
def page(base, tmp_path_factory):
    """Give the page of the notebook after its cells have run, with what went wrong in `errors`."""
    from playwright.sync_api import sync_playwright

    env = {**os.environ, "HOME": str(tmp_path_factory.mktemp("chromium"))}
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS, env=env)
        opened = browser.new_page(viewport={"width": 1280, "height": 2400})
        opened.errors = []
        opened.on("pageerror", lambda error: opened.errors.append(str(error)))
        opened.goto(base, timeout=120_000)
        opened.locator(".imgvar-panel").nth(1).wait_for(timeout=120_000)
        yield opened
        browser.close()


def test_results_are_pictures(page):
    """A run, one picture and a bulk run show themselves as a cell's last expression, without a bar or a traceback."""
    page.get_by_text("1 done, 0 failed").wait_for(timeout=60_000)
    shown = page.locator('img[alt^="Variation"]').evaluate_all(
        "(all) => all.map((e) => [e.alt, e.naturalWidth])"
    )
    assert shown[:3] == [[f"Variation {number} of photo.png", 128] for number in (1, 2, 1)]
    text = page.inner_text("body")
    assert "2 pictures by patch" in text
    assert "image/s" not in text
    assert "Traceback" not in text


def test_a_panel_runs_and_offers_no_variable(page):
    """The panel as a cell's last expression makes pictures, and has no button that would bind them to nothing."""
    panel = page.locator(".imgvar-panel").first
    panel.get_by_text("photo.png, 384x288").wait_for()
    panel.get_by_role("button", name="Run", exact=True).click()
    panel.get_by_role("button", name="Save all 4").wait_for(timeout=60_000)
    images = panel.locator('img[alt^="Variation"]')
    sizes = lambda: images.evaluate_all("(all) => all.map((e) => e.naturalWidth)")  # noqa: E731
    end = time.monotonic() + 30
    while sizes() != [64] * 4:  # in a shadow root, where `wait_for_function` does not look
        assert time.monotonic() < end, sizes()
        page.wait_for_timeout(100)
    assert not panel.get_by_role("button", name=re.compile("^Bind")).is_visible()
    assert not panel.get_by_role("button", name=re.compile("^Insert")).is_visible()


def test_a_run_of_a_panel_is_cancelled(page):
    """A panel in `mo.ui.anywidget` shows progress, and Cancel ends its run."""
    panel = page.locator(".imgvar-panel").nth(1)
    panel.get_by_role("button", name="Run", exact=True).click()
    cancel = panel.get_by_role("button", name="Cancel", exact=True)
    cancel.wait_for()
    panel.get_by_role("progressbar", name="progress of the run").wait_for()
    cancel.click()
    panel.get_by_role("button", name="Run", exact=True).wait_for(timeout=60_000)
    assert page.errors == []
