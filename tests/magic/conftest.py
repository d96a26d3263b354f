"""A shell in this process, and a kernel in its own: both real, both without a history file."""

from __future__ import annotations

import atexit
import builtins
import io
import os
import queue
from contextlib import redirect_stderr, redirect_stdout
from types import SimpleNamespace

import pytest
from IPython.core.interactiveshell import InteractiveShell
from jupyter_client.manager import start_new_kernel
from PIL import Image
from skimage import data
from traitlets.config import Config

QUIET = Config({"HistoryManager": {"enabled": False}})


class Shell:
    """Runs cells, and says what each one showed."""

    def __init__(self, shell):
        self.shell = shell
        self.ns = shell.user_ns

    def run(self, cell):
        out, err = io.StringIO(), io.StringIO()
        with redirect_stdout(out), redirect_stderr(err):
            result = self.shell.run_cell(cell)
        return SimpleNamespace(
            value=result.result, error=result.error_in_exec, out=out.getvalue(), err=err.getvalue()
        )


@pytest.fixture
def shell(tmp_path, monkeypatch, quick_patch):  # noqa: ARG001 - most lines need any picture
    """Give a fresh terminal-like shell with the extension loaded, in a folder of its own."""
    monkeypatch.chdir(tmp_path)
    # A doctest leaves one there, and IPython sets its own `_` only where there is none.
    monkeypatch.delattr(builtins, "_", raising=False)
    InteractiveShell.clear_instance()
    instance = InteractiveShell.instance(config=QUIET)
    instance.run_line_magic("load_ext", "ipy_imgvar")
    instance.user_ns["_folder"] = tmp_path
    yield Shell(instance)
    instance.run_line_magic("unload_ext", "ipy_imgvar")
    InteractiveShell.clear_instance()
    # At the end of the process each would still collect garbage, and hold its pictures until then.
    atexit.unregister(instance.atexit_operations)


class Kernel:
    """A kernel process; `run` gives the outputs as a notebook would keep them."""

    def __init__(self, manager, client):
        self.manager = manager
        self.client = client

    def send(self, cell):
        return self.client.execute(cell, store_history=True)

    def collect(self, message_id, timeout=300):
        outputs, by_display = [], {}
        while True:
            try:
                message = self.client.get_iopub_msg(timeout=timeout)
            except queue.Empty as exc:
                raise AssertionError("the kernel said nothing for too long") from exc
            if message["parent_header"].get("msg_id") != message_id:
                continue
            kind, content = message["msg_type"], message["content"]
            if kind == "status" and content["execution_state"] == "idle":
                break
            display_id = content.get("transient", {}).get("display_id")
            if kind == "update_display_data":
                by_display[display_id].earlier.append(by_display[display_id].data)
                by_display[display_id].data = content["data"]
            elif kind in ("display_data", "execute_result", "stream", "error"):
                output = SimpleNamespace(kind=kind, **content, display_id=display_id, earlier=[])
                outputs.append(output)
                by_display[display_id] = output
        # Replies to the questions that were asked while the kernel started may still be on their way.
        while (reply := self.client.get_shell_msg(timeout=timeout))["parent_header"].get(
            "msg_id"
        ) != message_id:
            pass
        return SimpleNamespace(outputs=outputs, status=reply["content"]["status"], reply=reply["content"])

    def run(self, cell):
        return self.collect(self.send(cell))

    def complete(self, code, cursor=None):
        """Return the words that the kernel offers, and the range that they replace."""
        message_id = self.client.complete(code, len(code) if cursor is None else cursor)
        while (reply := self.client.get_shell_msg(timeout=200))["parent_header"].get("msg_id") != message_id:
            pass
        content = reply["content"]
        return content["matches"], content["cursor_start"], content["cursor_end"]

    def value(self, expression):
        """Return the repr of an expression in the kernel."""
        (output,) = self.run(expression).outputs
        return output.data["text/plain"]


@pytest.fixture(scope="module")
def kernel(tmp_path_factory):
    """One kernel for a module's tests, with the extension loaded, in a folder with photo.png."""
    folder = tmp_path_factory.mktemp("kernel")
    Image.fromarray(data.chelsea()[:288, :384]).save(folder / "photo.png")
    env = {"IPY_IMGVAR_STORE": str(folder / "store")}
    manager, client = start_new_kernel(cwd=str(folder), env={**os.environ, **env})
    running = Kernel(manager, client)
    running.folder = folder
    assert running.run("%load_ext ipy_imgvar").status == "ok"
    yield running
    client.stop_channels()
    manager.shutdown_wait_time = 100  # killed, it would lose what it knows of coverage
    manager.shutdown_kernel()
    client.context.destroy()
