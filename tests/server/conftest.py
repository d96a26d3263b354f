"""Real servers on free ports: in a thread, where a test looks inside, and in a process of their own."""

import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import httpx
import pytest
import uvicorn

import ipy_imgvar
from ipy_imgvar import Client
from ipy_imgvar.server.app import Service, create_app
from ipy_imgvar.server.connection import StoppingServer, connections_within
from ipy_imgvar.server.guard import Policy
from ipy_imgvar.server.limits import Limits
from ipy_imgvar.server.offer import Offer

ROOT = Path(ipy_imgvar.__file__).parent.parent


@pytest.fixture(autouse=True)
def _no_keys(monkeypatch):
    for name in list(os.environ):
        if name.upper().startswith("IMGVAR_") or name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)


class Running:
    """A server in a thread of this process."""

    def __init__(self, offer, limits, policy):
        self.service = Service(offer, limits, policy)
        # As the command does: asyncio sends small pieces at once only where the protocol is named.
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        self.socket.bind(("127.0.0.1", 0))
        self.address = "127.0.0.1", self.socket.getsockname()[1]
        self.root = f"http://127.0.0.1:{self.address[1]}"
        self.base = f"{self.root}/v1"
        config = uvicorn.Config(
            create_app(self.service),
            http=connections_within(limits),
            ws="none",
            log_config=None,
            access_log=False,
            timeout_keep_alive=limits.idle_timeout_s,
            h11_max_incomplete_event_size=limits.header_bytes,
        )
        self.server = StoppingServer(config, self.service.queue)
        self.thread = threading.Thread(target=self.server.run, kwargs={"sockets": [self.socket]})
        self.thread.start()
        while not self.server.started and self.thread.is_alive():
            time.sleep(0.005)

    def connect(self):
        return socket.create_connection(self.address, timeout=100)

    def stop(self):
        self.service.queue.abandon()
        self.server.should_exit = self.server.force_exit = True
        self.thread.join(100)
        assert not self.thread.is_alive()


@pytest.fixture
def start(quick_patch):  # noqa: ARG001 - most answers need any picture
    """Return a function that starts a server in a thread: with an engine or client, models, options and limits."""
    with contextlib.ExitStack() as stack:

        def starting(engine="patch", policy=None, models=(), options=None, **limits):
            client = engine if isinstance(engine, Client) else Client(engine, model=next(iter(models), None))
            running = Running(Offer(client, models, options), Limits(**limits), policy or Policy())
            stack.callback(running.stop)
            return running

        yield starting


@pytest.fixture(scope="session")
def shared():
    """Serve the engine patch for all tests that ask and leave nothing behind: starting and stopping take 0.2 s."""
    running = Running(Offer(Client("patch")), Limits(), Policy())
    yield running
    running.stop()


@pytest.fixture
def server(start):
    """Return a server in a thread, with the engine patch."""
    return start()


@pytest.fixture
def http():
    """Return an HTTP client that waits long enough for a busy machine."""
    with httpx.Client(timeout=200) as client:
        yield client


class Process:
    """`python -m ipy_imgvar.server` at a free port."""

    def __init__(self, *options, folder, ready=True, **environment):
        self.log = folder / "log"
        command = [sys.executable, "-m", "ipy_imgvar.server", "--port", "0", *options]
        path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                command,
                cwd=folder,
                stderr=log,
                env=os.environ | {"PYTHONPATH": path, "TMPDIR": str(folder)} | environment,
            )
        while not self._bases() and self.process.poll() is None and ready:
            time.sleep(0.02)
        self.base = next(iter(self._bases()), "")
        self.root = self.base.removesuffix("/v1")

    def _bases(self):
        """Return the lines with a base address; lines of an engine that loads its models stand before it."""
        return re.findall(r"^(http\S+)\n", self.log.read_text(), re.MULTILINE)

    def stop(self, number=signal.SIGTERM):
        if self.process.poll() is None:
            self.process.send_signal(number)
        return self.process.wait(200)


@pytest.fixture
def launch(tmp_path):
    """Return a function that starts a server in a process, from options of the command line, and waits for it."""
    with contextlib.ExitStack() as stack:

        def launching(*options, ready=True, **environment):
            process = Process(*options, folder=tmp_path, ready=ready, **environment)
            stack.callback(process.process.wait)
            stack.callback(process.process.kill)
            return process

        yield launching


class Memory:
    """What a process has, on Linux, since it was last set back: its peak above what it had then."""

    def __init__(self, pid):
        self.folder = Path(f"/proc/{pid}")
        self.set_back()

    def set_back(self):
        (self.folder / "clear_refs").write_text("5")
        self.rest = self._bytes("VmRSS")

    @property
    def peak(self):
        return self._bytes("VmHWM") - self.rest

    def _bytes(self, name):
        lines = (self.folder / "status").read_text().splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(name))


@pytest.fixture
def memory():
    """Return the class `Memory`."""
    if not Path("/proc/self/clear_refs").exists():
        pytest.skip("only Linux tells a process's peak and sets it back")
    return Memory


@pytest.fixture
def png(photo_path):
    """Return the photograph as the bytes of a PNG."""
    return photo_path.read_bytes()


def wait_until(condition, seconds=100):
    """Wait for something that happens elsewhere; fail when it does not."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.005)


@pytest.fixture(name="wait_until")
def _wait_until():
    """Return the function `wait_until`."""
    return wait_until
