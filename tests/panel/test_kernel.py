"""The panel through a kernel's messages: what a front end sends and gets."""

import base64
import io
import json
import os
import queue
import time

import pytest
from jupyter_client.manager import start_new_kernel
from PIL import Image
from skimage import data

SETUP = """
%load_ext ipy_imgvar
from ipy_imgvar import VariationPanel
from skimage import data
photo = data.coffee()
panel = VariationPanel(photo, size=128)
panel
"""


class FrontEnd:
    """Sends cells and widget messages to a kernel, and keeps the state of every model as a front end does."""

    def __init__(self, client):
        self.client = client
        self.models, self.outputs, self.displays = {}, [], {}

    def read(self, timeout_s):
        try:
            message = self.client.get_iopub_msg(timeout=timeout_s)
        except queue.Empty:
            return None
        kind, content = message["msg_type"], message["content"]
        if kind == "comm_open":
            self.models[content["comm_id"]] = dict(content["data"].get("state", {}))
        elif kind == "comm_msg" and content["data"].get("method") == "update":
            self.models[content["comm_id"]].update(content["data"]["state"])
        elif kind == "comm_close":
            self.models.pop(content["comm_id"], None)
        elif kind in ("display_data", "update_display_data", "execute_result"):
            self.displays[content.get("transient", {}).get("display_id")] = content["data"]
        if kind in ("display_data", "stream", "error", "execute_result"):
            self.outputs.append((kind, content))
        return message

    def run(self, cell, timeout_s=120):
        self.outputs.clear()
        sent = self.client.execute(cell)
        end = time.monotonic() + timeout_s
        while time.monotonic() < end:
            message = self.read(5)
            if message is None or message["parent_header"].get("msg_id") != sent:
                continue
            if message["content"].get("execution_state") == "idle":
                return list(self.outputs)
        raise AssertionError("the cell did not end")

    def value(self, expression):
        outputs = self.run(expression)
        return next(content["data"]["text/plain"] for kind, content in outputs if kind == "execute_result")

    def find(self, name, **traits):
        """Return the id of the model of a kind, with these traits."""
        return next(
            key
            for key, model in self.models.items()
            if model.get("_model_name") == name + "Model" and traits.items() <= model.items()
        )

    def send(self, model, data, buffers=()):
        message = self.client.session.msg("comm_msg", {"comm_id": model, "data": data})
        message["buffers"] = list(buffers)
        self.client.session.send(self.client.shell_channel.socket, message, buffers=list(buffers))

    def click(self, description, *, wait=True):
        """Click a button; as a person, when it can be clicked."""
        button = self.find("Button", description=description)
        if wait:
            self.wait(lambda: not self.models[button]["disabled"], f"{description} to be enabled")
        self.send(button, {"method": "custom", "content": {"event": "click"}})

    def set(self, model, **state):
        self.send(model, {"method": "update", "state": state, "buffer_paths": []})

    def wait(self, condition, what, timeout_s=120):
        end = time.monotonic() + timeout_s
        while not condition():
            assert time.monotonic() < end, f"waited for {what}"
            self.read(0.2)

    def html(self):
        return "".join(
            model.get("value") or ""
            for model in self.models.values()
            if model.get("_model_name") == "HTMLModel"
        )


@pytest.fixture
def front_end(tmp_path):
    """Give a kernel with a panel that is shown."""
    env = {**os.environ, "IPY_IMGVAR_STORE": str(tmp_path / "store")}
    manager, client = start_new_kernel(cwd=str(tmp_path), env=env)
    front = FrontEnd(client)
    front.shown = front.run(SETUP)
    yield front
    client.stop_channels()
    manager.shutdown_kernel(now=True)
    client.context.destroy()


def test_a_panel_is_a_view_and_an_empty_output_below(front_end):
    """Showing a panel gives its view, with words for front ends without widgets, and an output for insertions."""
    view, below = [content for kind, content in front_end.shown if kind == "display_data"]
    assert "application/vnd.jupyter.widget-view+json" in view["data"]
    assert "%imagevariation" in view["data"]["text/plain"]
    assert below["data"] == {"text/html": "", "text/plain": ""}
    assert below["transient"]["display_id"]


def test_a_run_by_messages(front_end):
    """Clicks and values sent as messages upload, run, bind and insert; the kernel prints nothing."""
    front = front_end
    buffer = io.BytesIO()
    Image.fromarray(data.chelsea()).save(buffer, "PNG")
    content = buffer.getvalue()
    upload = front.find("FileUpload")
    file = {"name": "cat.png", "type": "image/png", "size": len(content), "last_modified": 0}
    front.send(
        upload,
        {"method": "update", "state": {"value": [file]}, "buffer_paths": [["value", 0, "content"]]},
        [content],
    )
    front.wait(lambda: "cat.png, 451x300" in front.html(), "the preview")
    front.wait(lambda: front.models[upload]["value"] == [], "the upload to be emptied")
    front.click("Run")
    front.click("Run", wait=False)
    front.wait(lambda: front.html().count('alt="Variation') == 4, "four pictures")
    front.wait(lambda: front.models[front.find("Button", description="Run")]["disabled"] is False, "the end")
    front.click("Bind all 4")
    front.wait(lambda: "pictures is a list of 4 images" in front.html(), "the notice")
    assert front.value("len(pictures), pictures[0].size") == "(4, (128, 128))"
    assert front.value("len(__import__('ipy_imgvar').history())") == "1"
    front.click("Insert all 4 below")
    front.wait(lambda: any("image/jpeg" in each for each in front.displays.values()), "the plain output")
    (bundle,) = [each for each in front.displays.values() if "image/jpeg" in each]
    assert bundle["text/html"].count("<img") == 4
    assert not [kind for kind, _ in front.outputs if kind in ("stream", "error")]


def test_cancel_is_heard_during_a_run_and_while_a_cell_is_idle(front_end):
    """Cancel stops a long run at once, since the run is not on the thread that hears it."""
    front = front_end
    front.set(front.find("Combobox"), value="1024x1024")
    front.set(front.find("BoundedIntText"), value=10)
    front.click("Run")
    front.wait(lambda: "<progress" in front.html(), "progress")
    sent = time.monotonic()
    front.click("Cancel")
    front.wait(lambda: "cancelled" in front.html(), "the end")
    front.wait(lambda: not front.models[front.find("Button", description="Run")]["disabled"], "another run")
    assert front.value("panel.state.status.value") == "'cancelled'"
    assert sent


def test_closing_ends_the_thread_and_the_models(front_end):
    """After close no thread and no model of the panel is left."""
    front = front_end
    front.set(front.find("Combobox"), value="1024x1024")
    front.click("Run")
    front.wait(lambda: "<progress" in front.html(), "progress")
    front.run("panel.close()")
    front.run("import time, threading")
    names = "[t.name for t in threading.enumerate() if 'imgvar' in t.name]"
    front.run(f"for _ in range(100):\n    if not {names}: break\n    time.sleep(0.1)")
    assert front.value(names) == "[]"
    assert front.models == {}


@pytest.mark.slow
def test_the_state_of_four_large_results_is_small(front_end):
    """All widgets together hold at most 300 kB for four results of 1024 px, and no picture above 256 px."""
    front = front_end
    front.set(front.find("Combobox"), value="1024x1024")
    front.click("Run")
    front.wait(lambda: front.html().count('alt="Variation') == 4, "four pictures", 300)
    text = json.dumps(front.models)
    assert len(text) <= 300_000
    pictures = [part.split('"')[0] for part in front.html().split("base64,")[1:]]
    assert len(pictures) == 5
    for each in pictures:
        with Image.open(io.BytesIO(base64.b64decode(each))) as image:
            assert max(image.size) <= 256
