"""A notebook page without a browser: it sends cells and messages to a kernel, and keeps what a page keeps."""

import queue
import threading
import time
from contextlib import contextmanager


class FrontEnd:
    """Sends cells and messages to a kernel, and keeps what a page keeps: models, pictures, answers and outputs."""

    def __init__(self, client):
        self.client = client
        self.models, self.outputs, self.displays = {}, [], {}
        self.count = 0
        self.forget()

    def forget(self):
        """Start with an empty page."""
        self.pictures, self.sections, self.heard, self.uploads, self.originals = {}, {}, {}, [], []

    def read(self, timeout_s):
        try:
            message = self.client.get_iopub_msg(timeout=timeout_s)
        except queue.Empty:
            return None
        kind, content = message["msg_type"], message["content"]
        if kind == "comm_open":
            self.models[content["comm_id"]] = {}
        if kind in ("comm_open", "comm_msg"):
            self._comm(content["comm_id"], content["data"], message["buffers"])
        elif kind == "comm_close":
            self.models.pop(content["comm_id"], None)
        elif kind in ("display_data", "update_display_data", "execute_result"):
            self.displays[content.get("transient", {}).get("display_id")] = content["data"]
        if kind in ("display_data", "stream", "error", "execute_result"):
            self.outputs.append((kind, content))
        return message

    def _comm(self, model, content, buffers):
        if content.get("method") == "custom":
            self._told(content["content"], buffers)
            return
        state = content.get("state", {})
        for path, buffer in zip(content.get("buffer_paths", []), buffers, strict=True):
            holder = state
            for part in path[:-1]:
                holder = holder[part]
            holder[path[-1]] = bytes(buffer)
        self.models[model].update(state)

    def _told(self, content, buffers):
        kind = content["type"]
        if kind == "picture":
            self.pictures[content["id"]] = bytes(buffers[0])
        elif kind == "section":
            self.sections[content["name"]] = content["value"]
        elif kind == "heard":
            self.heard[content["count"]] = content["error"]
        elif kind == "upload":
            self.uploads.append(content)
        elif kind == "original":
            self.originals.append((content, [bytes(each) for each in buffers]))

    def run(self, cell, timeout_s=300):
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

    @property
    def panel(self):
        """The id of the panel's model."""
        (found,) = [name for name, state in self.models.items() if "_esm" in state]
        return found

    def section(self, name):
        return self.sections.get(name) or self.models[self.panel][name]

    def cards(self):
        return [card for group in self.section("gallery")["groups"] for card in group["cards"]]

    def send(self, content, buffers=()):
        """Send any content to the panel, as its front end's `model.send` does."""
        body = {"comm_id": self.panel, "data": {"method": "custom", "content": content}}
        message = self.client.session.msg("comm_msg", body)
        self.client.session.send(self.client.shell_channel.socket, message, buffers=list(buffers))

    def do(self, action, buffers=(), **given):
        """Send an action, wait for its answer, and return whether that was an error."""
        self.count += 1
        count = self.count
        self.send({"action": action, "count": count, **given}, buffers)
        self.wait(lambda: count in self.heard, f"the answer to {action}")
        return self.heard[count]

    def upload(self, key, name, content, purpose="source"):
        """Send a file in pieces, each after the answer to the one before."""
        piece, offset = self.section("source")["piece"], 0
        self.do("upload_begin", upload=key, name=name, size=len(content), purpose=purpose)
        while offset < len(content) and not self.uploads[-1]["error"]:
            self.do("upload_piece", [content[offset : offset + piece]], upload=key, offset=offset)
            offset += piece
            assert self.uploads[-1]["error"] or self.uploads[-1]["received"] == min(offset, len(content))
        return self.uploads[-1]

    def wait(self, condition, what, timeout_s=300):
        end = time.monotonic() + timeout_s
        while not condition():
            assert time.monotonic() < end, f"waited for {what}; the panel: {self.section('run')}"
            self.read(0.2)

    def wait_until(self, status, timeout_s=300):
        self.wait(lambda: self.section("run")["status"] == status, f"the status {status}", timeout_s)

    def made(self, timeout_s=300):
        """Run once the page's button can be pressed, wait for the end, and return the new run's cards."""
        self.wait(lambda: self.section("run")["can_run"], "a source")
        newest = self._newest()
        assert not self.do("run")
        self.wait(lambda: self._newest() != newest, "a group")
        self.wait_until("done", timeout_s)
        return self.section("gallery")["groups"][0]["cards"]

    def _newest(self):
        return next((group["id"] for group in self.section("gallery")["groups"]), None)

    def wait_for_source(self, name):
        self.wait(
            lambda: self.section("source")["name"].endswith(name) and not self.section("source")["loading"],
            f"the source {name}",
        )

    def nothing_printed(self):
        return not [kind for kind, _ in self.outputs if kind in ("stream", "error")]


@contextmanager
def interrupted_after_a_picture(kernel):
    """Interrupt a kernel as soon as the first picture of a run that begins in this block is in its store.

    `kernel` has its `manager`, and its `folder` has the store.
    """
    runs = kernel.folder / "store" / "runs"
    before = set(runs.glob("*"))

    def interrupt():
        end = time.monotonic() + 60
        while time.monotonic() < end and not any(
            (run / "1.png").exists() for run in set(runs.glob("*")) - before
        ):
            time.sleep(0.01)
        kernel.manager.interrupt_kernel()

    thread = threading.Thread(target=interrupt)
    thread.start()
    yield
    thread.join()
