"""A server apart from the kernel: its environment has `jupyterlab_widgets` alone, so no page can draw an anywidget.

The environment variable `PANEL_SERVER_PYTHON` names the Python of that environment, which `.ci/run` makes.
"""

from __future__ import annotations

import os
import re
import subprocess

import pytest
from book import Notebook
from lab import SETUP, Server
from PIL import Image
from skimage import data

PYTHON = os.environ.get("PANEL_SERVER_PYTHON", "")

pytestmark = pytest.mark.skipif(
    not PYTHON and not os.environ.get("CI"),
    reason="needs PANEL_SERVER_PYTHON, a Python with jupyterlab and jupyterlab_widgets alone",
)


@pytest.fixture(scope="module")
def other_server(tmp_path_factory):
    """Give a server of the other environment, with kernels of the tested one."""
    running = Server(tmp_path_factory.mktemp("other"), PYTHON)
    Image.fromarray(data.coffee()).save(running.root / "cat.png")
    yield running
    running.close()


@pytest.fixture(scope="module")
def book(other_server, browser):
    """Give one notebook for all tests of this module."""
    page = browser.new_context(viewport={"width": 1280, "height": 1400}).new_page()
    page.set_default_timeout(15_000)
    opened = Notebook(other_server, page, [SETUP], "basic.ipynb")
    opened.run_cell(0)
    yield opened
    page.context.close()


def button(page, name):
    return page.locator(".jp-OutputArea").get_by_role("button", name=name, exact=True)


def test_the_environment_of_the_server_has_no_anywidget():
    """The environment of the server has the front end of core widgets and none of anywidget or of ours."""
    code = (
        "from importlib.util import find_spec as f; print(*map(f, ('anywidget', 'ipywidgets', 'ipy_imgvar')))"
    )
    found = subprocess.run([PYTHON, "-c", code], capture_output=True, text=True, check=True, cwd="/")
    assert found.stdout.split() == ["None"] * 3


def test_the_panel_says_what_to_do_where_it_can_not_be_drawn(book):
    """In place of the panel the page soon has a line that names both ways out: anywidget, and the basic view."""
    book.add_cell("panel = VariationPanel(photo, size=64)\npanel")
    line = book.page.get_by_text("the notebook's server lacks the package anywidget")
    line.first.wait_for()
    text = line.first.inner_text()
    assert "pip install anywidget" in text
    assert "%imagevariation --panel --basic" in text
    assert not book.page.locator(".imgvar-panel").count()


def test_the_basic_view_works_there(book, tmp_path):
    """A path, Run, Bind and Save do their work by hand, and no error is in the console or leads off the machine."""
    book.errors.clear()
    book.add_cell("%imagevariation --panel --basic -s 128 --seed 7")
    page = book.page
    path = page.get_by_label("Path or URL")
    path.fill("cat.png")
    path.press("Enter")
    page.get_by_text("cat.png, 600x400, crop to 128x128").wait_for()
    button(page, "Run").click()
    button(page, "Bind all 4").wait_for()
    page.wait_for_function("() => document.querySelectorAll('img[alt^=\"Variation\"]').length === 4")
    assert page.evaluate(
        "() => [...document.querySelectorAll('img[alt^=\"Variation\"]')].every((each) => each.naturalWidth === 128)"
    )
    button(page, "Bind all 4").click()
    page.get_by_text("pictures is a list of 4 images").wait_for()
    assert book.ask("[len(pictures), *pictures[0].size]") == [4, 128, 128]
    page.get_by_label("Save to").fill(str(tmp_path / "{i}.png"))
    button(page, "Save all 4").click()
    page.get_by_text(re.compile("^saved ")).wait_for()
    assert sorted(each.name for each in tmp_path.iterdir()) == [f"{number}.png" for number in (1, 2, 3, 4)]
    assert book.errors == []
    assert book.foreign == []


def test_an_upload_to_the_basic_view(book, tmp_path):
    """A small picture that is uploaded becomes the source, and the saved notebook does not hold it."""
    Image.fromarray(data.chelsea()).save(tmp_path / "chelsea.png")
    with book.page.expect_file_chooser() as chooser:
        book.page.get_by_role("button", name="Upload to 10 MB").click()
    chooser.value.set_files(tmp_path / "chelsea.png")
    book.page.get_by_text("chelsea.png, 451x300").wait_for()
    saved = book.save()
    assert len(str(saved)) < 400_000
