"""What is left of the panel when the page is loaded again, the kernel ends, or a new one is there."""

import base64
import io
import json

import pytest
from lab import SETUP
from panelpage import Panel
from PIL import Image

SHOW = "panel = VariationPanel(photo, size=64, n=2)\npanel"
STATE = "application/vnd.jupyter.widget-state+json"


def state_of(saved):
    return saved["metadata"]["widgets"][STATE]["state"]


def buffers_of(state):
    """Return the binary values of a saved state."""
    return [
        base64.b64decode(buffer["data"]) for model in state.values() for buffer in model.get("buffers", ())
    ]


def says_that_it_is_off(notebook, panel, pictures):
    """Check what is seen of a panel without its kernel: one line, its pictures, no broken image, nothing to press."""
    line = panel.box.locator(".imgvar-link")
    notebook.wait(line.is_visible, "the line")
    assert "kernel" in line.inner_text()
    assert "\n" not in line.inner_text().strip()
    notebook.wait(lambda: panel.pictures() == pictures, f"{pictures} pictures")
    assert panel.broken() == []
    assert (
        panel.box.locator(":is(button, input, select):not(:disabled, [inert] *)").evaluate_all(
            "(all) => all.filter((e) => e.checkVisibility() && /^(Run|Cancel|Bind|Save|Insert|Vary|Use|Remove)/"
            ".test(e.ariaLabel || e.innerText)).map((e) => e.outerHTML)"
        )
        == []
    )


@pytest.mark.parametrize("app", ["lab", "notebook"])
def test_it_lives_through_a_reload_and_says_when_its_kernel_is_gone(open_notebook, app):
    """After a reload the panel has its pictures and answers; with another kernel one line says why it does not."""
    notebook = open_notebook(SETUP, SHOW, app=app)
    notebook.run_cell(0)
    notebook.run_cell(1)
    panel = Panel(notebook)
    panel.wait_source("photo")
    panel.run(2)
    notebook.save()
    notebook.reload()
    panel.wait_done(2)
    panel.wait_source("photo")
    assert panel.broken() == []
    panel.run(4)
    notebook.save()

    notebook.restart()
    says_that_it_is_off(notebook, panel, 4)
    # Nothing is saved in between: JupyterLab saves no widget of a kernel that was restarted.
    notebook.server.end_kernels(notebook.path.name)
    notebook.reload()
    says_that_it_is_off(notebook, panel, 4)
    notebook.restart()
    says_that_it_is_off(notebook, panel, 4)
    notebook.run_cell(0)
    notebook.run_cell(1)
    panel.wait_source("photo")
    panel.run(2)
    assert notebook.errors == []
    assert notebook.foreign == []


def test_what_is_saved_is_small(notebook):
    """The saved state of eight results of 512 px has thumbnails of the results, and nothing of the source."""
    panel = notebook.show("VariationPanel(photo, size=512, n=4)")
    panel.wait_source("photo")
    panel.run(4)
    panel.run(8)
    panel.wait(lambda: len(buffers_of(state_of(notebook.save()))) == 8, "eight pictures in the saved state")
    state = state_of(notebook.save())
    assert len(json.dumps(state)) <= 200_000
    thumbnails = [Image.open(io.BytesIO(each)) for each in buffers_of(state)]
    assert all(max(each.size) <= 256 for each in thumbnails)
    texts = json.dumps(state)
    store = [path.read_bytes() for path in notebook.server.folder.glob("store/**/*.png")]
    assert len(store) >= 8
    assert all(base64.b64encode(each).decode() not in texts for each in store)
    assert str(notebook.server.folder) not in texts
