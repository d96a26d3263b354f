"""The panel as a person meets it: in JupyterLab, in a browser, with a mouse, a keyboard and a narrow window."""

from __future__ import annotations

import base64
import io
import json
import re

import numpy as np
import pytest
from PIL import Image
from skimage import data

SETUP = """
%load_ext ipy_imgvar
from ipy_imgvar import VariationPanel
from skimage import data
photo = data.coffee()
"""
SHOW = "panel = VariationPanel(photo, size=128)\npanel"
#: Slow enough to be cancelled: five pictures of 1024 px.
SLOW = "panel = VariationPanel(photo, size=1024, n=5)\npanel"
CANARY = "sk-canary-7f3b9c1e5d2a"


def photo_of_5_mb(path):
    """Write a JPEG of about 5 MB: a photograph, enlarged, with grain."""
    image = np.asarray(Image.fromarray(data.coffee()).resize((3000, 2000))).astype(int)
    grain = np.random.default_rng(1).integers(-25, 26, image.shape)
    Image.fromarray((image + grain).clip(0, 255).astype(np.uint8)).save(path, quality=97)
    assert 4.5e6 < path.stat().st_size < 8e6
    return path


def upload(notebook, path):
    with notebook.page.expect_file_chooser() as chooser:
        notebook.panel.locator("button.imgvar-upload").click()
    chooser.value.set_files(path)


def test_the_whole_job(open_notebook, tmp_path):
    """Upload, run, bind, use, cancel, fail, recover, vary, insert and reload work by hand, without a console error."""
    notebook = open_notebook(SETUP, "panel = VariationPanel()\npanel")
    notebook.run_cell(0)
    notebook.run_cell(1)
    upload(notebook, photo_of_5_mb(tmp_path / "big photo.jpg"))
    notebook.wait(lambda: "3000x2000" in notebook.panel.inner_text(), "the preview")

    notebook.write("Size", "256x256")
    notebook.button("Run").click()
    notebook.wait_pictures(4)
    notebook.wait(lambda: notebook.button("Run").is_enabled(), "the end of the run")
    alts = [each.get_attribute("alt") for each in notebook.pictures().all()]
    assert alts == [f"Variation {number} of big photo.jpg" for number in (1, 2, 3, 4)]
    assert re.search(
        r"256x256 · \w+ · seed \d+ · --index \d · patch · distance 0\.\d\d", notebook.panel.inner_text()
    )

    notebook.field("Variable name").fill("mine")
    notebook.button("Bind all 4").click()
    notebook.said("mine is a list of 4 images")
    assert notebook.add_cell("len(mine), mine[0].size").strip().endswith("(4, (256, 256))")

    notebook.write("Size", "1024x1024")
    notebook.button("Run").click()
    notebook.wait(lambda: notebook.panel.locator("progress").count(), "progress")
    notebook.button("Cancel").click()
    notebook.said("cancelled")

    notebook.write("Path or URL", "no such file.png")
    notebook.said("there is no file no such file.png", "alert")
    assert notebook.field("Path or URL").input_value() == "no such file.png"
    notebook.write("Size", "256x256")
    notebook.button("Run").click()
    notebook.wait_pictures(4)
    notebook.wait(lambda: notebook.button("Run").is_enabled(), "the end of the run")
    assert notebook.panel.locator("[role=alert]").count() == 0

    notebook.button("Vary").nth(1).click()
    notebook.said("is the source now")
    notebook.button("Run").click()
    notebook.wait(
        lambda: "Variation 1 of big-photo-2.png" in (notebook.pictures().first.get_attribute("alt") or ""),
        "a run",
    )
    notebook.wait_pictures(4)
    notebook.wait(lambda: notebook.button("Run").is_enabled(), "the end of the run")

    notebook.button("Insert all 4 below").click()
    notebook.said("below the panel")
    below = notebook.page.locator(".jp-OutputArea-output.jp-RenderedHTMLCommon img")
    notebook.wait(lambda: below.count() == 4, "the plain output")

    notebook.save()
    notebook.reload()
    notebook.wait_pictures(4)
    assert notebook.errors == []
    notebook.button("Run").click()
    notebook.wait(lambda: notebook.panel.locator("progress").count(), "the panel to answer after a reload")


def test_a_dropped_picture_is_uploaded(open_notebook):
    """A picture that is dropped on the upload button becomes the source."""
    notebook = open_notebook(SETUP, "panel = VariationPanel()\npanel")
    notebook.run_cell(0)
    notebook.run_cell(1)
    buffer = io.BytesIO()
    Image.fromarray(data.coffee()).save(buffer, "PNG")
    transfer = notebook.page.evaluate_handle(
        "(text) => { const bytes = Uint8Array.from(atob(text), (c) => c.charCodeAt(0)); const t = new DataTransfer();"
        " t.items.add(new File([bytes], 'dropped.png', {type: 'image/png'})); return t; }",
        base64.b64encode(buffer.getvalue()).decode(),
    )
    target = notebook.panel.locator("button.imgvar-upload")
    target.dispatch_event("dragover", {"dataTransfer": transfer})
    target.dispatch_event("drop", {"dataTransfer": transfer})
    notebook.wait(lambda: "dropped.png, 600x400" in notebook.panel.inner_text(), "the preview")
    assert notebook.errors == []


def test_the_same_file_twice_and_a_text_file(open_notebook, tmp_path):
    """A text file is refused in the panel, and the same picture can be uploaded twice in a row."""
    notebook = open_notebook(SETUP, "panel = VariationPanel()\npanel")
    notebook.run_cell(0)
    notebook.run_cell(1)
    wrong = tmp_path / "notes.txt"
    wrong.write_text("no picture")
    upload(notebook, wrong)
    notebook.said("notes.txt is not an image", "alert")
    Image.fromarray(data.coffee()).save(tmp_path / "a.png")
    for _ in range(2):
        upload(notebook, tmp_path / "a.png")
        notebook.wait(lambda: "a.png, 600x400" in notebook.panel.inner_text(), "the preview")
        notebook.field("Variable").select_option("photo")
        notebook.wait(lambda: "photo, 600x400" in notebook.panel.inner_text(), "the variable's preview")
    assert notebook.panel.locator("[role=alert]").count() == 0


def test_what_is_saved_is_small_and_has_no_key(open_notebook, server):
    """The saved state of four 1024 px results is small, holds thumbnails only, and a key is nowhere."""
    notebook = open_notebook(
        SETUP + f"import base64; my_key = base64.b64decode({base64.b64encode(CANARY.encode())!r}).decode()",
        "panel = VariationPanel(photo, size=1024, n=4)\npanel",
    )
    notebook.run_cell(0)
    notebook.run_cell(1)
    notebook.write("Key is in variable", "my_key")
    notebook.wait(lambda: "key from the variable my_key" in notebook.panel.inner_text(), "the key's origin")
    notebook.write("Key is in variable", CANARY)
    notebook.said("there is no variable of that name", "alert")
    assert notebook.field("Key is in variable").input_value() == "my_key"
    notebook.button("Run").click()
    notebook.wait_pictures(4)
    notebook.wait(lambda: notebook.button("Run").is_enabled(), "the end of the run")
    saved = notebook.save()
    state = saved["metadata"]["widgets"]["application/vnd.jupyter.widget-state+json"]["state"]
    text = json.dumps(state)
    pictures = [base64.b64decode(each) for each in re.findall(r"base64,([A-Za-z0-9+/=]+)", text)]
    assert len(pictures) == 5
    assert all(max(Image.open(io.BytesIO(each)).size) <= 256 for each in pictures)
    assert len(text) <= 300_000
    forms = [CANARY.encode(), base64.b64encode(CANARY.encode())[:-4]]
    assert forms[0] not in notebook.page.content().encode()
    # The first cell holds the key in base64 so that the notebook itself has it in no other form.
    for path in server.folder.rglob("*"):
        if path.is_file():
            assert forms[0] not in path.read_bytes(), path


def test_axe_finds_only_what_is_ipywidgets_own(open_notebook):
    """Before and after a run, with everything open, axe-core finds nothing but the sliders of ipywidgets."""
    notebook = open_notebook(SETUP, SHOW)
    notebook.run_cell(0)
    notebook.run_cell(1)
    allowed = {"aria-input-field-name"}
    assert {rule: html for rule, html in notebook.axe().items() if rule not in allowed} == {}
    notebook.button("Run").click()
    notebook.wait_pictures(4)
    notebook.wait(lambda: notebook.button("Run").is_enabled(), "the end of the run")
    notebook.button("Enlarge").first.click()
    notebook.button("Insert all 4 below").click()
    notebook.button("Copy as code").click()
    notebook.panel.get_by_role("button", name="History").click()
    notebook.write("Path or URL", "no such file.png")
    notebook.said("there is no file", "alert")
    assert {rule: html for rule, html in notebook.axe().items() if rule not in allowed} == {}


@pytest.mark.parametrize("theme", ["JupyterLab Light", "JupyterLab Dark"])
def test_it_fits_480_px_in_both_themes(open_notebook, theme):
    """At 480 px nothing of the panel sticks out, and every text has enough contrast, light or dark."""
    notebook = open_notebook(SETUP, SHOW, width=480, height=2400, theme=theme)
    notebook.run_cell(0)
    notebook.run_cell(1)
    notebook.button("Run").click()
    notebook.wait_pictures(4)
    wide = notebook.page.evaluate(
        "() => { const panel = document.querySelector('.imgvar-panel');"
        " const edge = panel.closest('.jp-OutputArea-output').getBoundingClientRect().right + 2;"
        " return [...panel.querySelectorAll('*')].filter(e => e.getBoundingClientRect().right > edge)"
        ".map(e => e.outerHTML.slice(0, 200)); }"
    )
    assert wide == []
    assert "color-contrast" not in notebook.axe(["cat.color"])


def test_the_keyboard_does_it_all(open_notebook):
    """With the keyboard alone a picture is varied, selected and bound."""
    notebook = open_notebook(SETUP, SHOW)
    notebook.run_cell(0)
    notebook.run_cell(1)

    def tab_to(name):
        for _ in range(60):
            notebook.page.keyboard.press("Tab")
            focused = notebook.page.evaluate(
                "() => { const e = document.activeElement; return e.innerText || e.closest('label')?.innerText || ''; }"
            )
            if focused.strip() == name:
                return
        raise AssertionError(f"Tab does not reach {name!r}")

    notebook.panel.locator("button.imgvar-upload").focus()
    tab_to("Run")
    notebook.page.keyboard.press("Space")
    notebook.wait_pictures(4)
    notebook.wait(lambda: notebook.button("Run").is_enabled(), "the end of the run")
    tab_to("Select 2")
    notebook.page.keyboard.press("Space")
    notebook.wait(lambda: notebook.button("Bind 1 selected").count(), "the selection")
    tab_to("Bind 1 selected")
    notebook.page.keyboard.press("Enter")
    notebook.said("pictures is one image")


def test_cards_stand_in_rows_of_like_length(open_notebook):
    """Four cards are one row or two of two, never three and one, however wide the window is."""
    notebook = open_notebook(SETUP, SHOW)
    notebook.run_cell(0)
    notebook.run_cell(1)
    notebook.wait(lambda: notebook.button("Run").is_enabled(), "the source")
    notebook.button("Run").click()
    notebook.wait_pictures(4)
    found = []
    for width in (480, 700, 820, 1000, 1280):
        notebook.page.set_viewport_size({"width": width, "height": 1400})
        notebook.page.wait_for_timeout(300)
        cards = notebook.panel.locator(".imgvar-card")
        tops = [round(each.bounding_box()["y"]) for each in cards.all()]
        found.append([tops.count(top) for top in sorted(set(tops))])
    assert found == [[2, 2], [2, 2], [2, 2], [4], [4]]


def test_a_click_on_a_picture_selects_it(open_notebook):
    """A click on a picture selects it, and a second click does not."""
    notebook = open_notebook(SETUP, SHOW)
    notebook.run_cell(0)
    notebook.run_cell(1)
    notebook.button("Run").click()
    notebook.wait_pictures(4)
    place = notebook.pictures().nth(2).bounding_box()
    notebook.page.mouse.click(place["x"] + 50, place["y"] + 50)
    notebook.wait(lambda: notebook.panel.get_by_label("Select 3").is_checked(), "the selection")
    notebook.page.mouse.click(place["x"] + 50, place["y"] + 50)
    notebook.wait(lambda: not notebook.panel.get_by_label("Select 3").is_checked(), "the end of it")


def test_a_new_kernel_is_said_in_the_panel(open_notebook):
    """After a restart, and when a saved notebook is opened again, the panel says that it is not connected."""
    notebook = open_notebook(SETUP, SHOW)
    notebook.run_cell(0)
    notebook.run_cell(1)
    hint = notebook.panel.locator(".imgvar-offline")
    assert not hint.is_visible()
    notebook.save()
    notebook.page.evaluate(
        "async () => { await jupyterapp.shell.currentWidget.sessionContext.restartKernel(); }"
    )
    notebook.wait(hint.is_visible, "the hint after a restart")
    notebook.reload()
    notebook.wait(lambda: hint.count() and hint.is_visible(), "the hint in a notebook that was opened again")


def test_a_cell_that_is_run_again_closes_its_panel(open_notebook):
    """Running the panel's cell again ends the earlier panel and its threads."""
    notebook = open_notebook(
        SETUP, SLOW, "import threading; [t.name for t in threading.enumerate() if 'imgvar' in t.name]"
    )
    notebook.run_cell(0)
    notebook.run_cell(1)
    notebook.button("Run").click()
    notebook.wait(lambda: notebook.panel.locator("progress").count(), "progress")
    notebook.run_cell(1)
    notebook.wait(lambda: notebook.run_cell(2).strip().endswith("[]"), "the thread to end")
    assert notebook.page.locator(".imgvar-panel").count() == 1
