"""Interrupt and cancel at every point of a request: back at once, the connection closed, no thread left.

Each case runs in a process of its own that gets a real SIGINT; it says how long after the signal it was back.
"""

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from cases import slow
from loopback import CANARY, PICTURES, STALL, TWO_CUT, refusal, response

import ipy_imgvar
from ipy_imgvar.errors import CancelledError

#: The promise is 0.3 s; a machine that is busy with other tests gets more, to tell it from never.
BACK_WITHIN_S = 30.0

CHILD = """
import os, signal, sys, threading, time
from ipy_imgvar import Client, last
import ipy_imgvar.engines.openai.pictures, ipy_imgvar.images.codec
base, how, key = sys.argv[1:]
stopped = []
def handler(*_):
    stopped.append(time.monotonic())
    raise KeyboardInterrupt
signal.signal(signal.SIGINT, handler)
cancel = threading.Event()
def on_signal(*_):
    stopped.append(time.monotonic())
    cancel.set()
if how == "cancel":
    signal.signal(signal.SIGINT, on_signal)
client = Client("openai", api_base=base, api_key=key)
image = bytes(20_000_000)
import ipy_imgvar.images.codec as codec
codec.probe = lambda data, name: ("image/png", (64, 64))
print("ready", flush=True)
try:
    client.variations(image, n=2, prompt="x", max_retry_count=5, cancel=cancel, on_notice=lambda text: None)
except BaseException as exc:
    back = time.monotonic() - stopped[0]
    print(type(exc).__name__, f"{back:.3f}", threading.active_count(), len(last() or ()))
"""


def places(api):
    """Return what the server does for each place, and the base to ask."""
    return {
        "upload": (None, api.base),
        "wait": ([STALL], api.base),
        "after the headers": ([response(200, b"", Content_Length=1000), STALL], api.base),
        "stalled body": ([*TWO_CUT, STALL], api.base),
        "retry wait": (refusal(429, "slow", Retry_After="50"), api.base),
        "fetch": ([response(200, {"data": [{"url": f"{api.base}/stall"}]})], api.base),
    }


@pytest.mark.parametrize("how", ["interrupt", slow("cancel")])
@pytest.mark.parametrize(
    "place",
    [
        slow("connect"),
        slow("handshake"),
        slow("upload"),
        slow("wait"),
        slow("after the headers"),
        "stalled body",
        slow("retry wait"),
        slow("fetch"),
    ],
)
def test_stopping(api, place, how, store_root):
    """Wherever a request is, SIGINT and cancel end it soon, close its connection and leave no thread."""
    silent = socket.create_server(("127.0.0.1", 0), backlog=0)
    fillers = []
    if place in ("connect", "handshake"):
        scheme = "http" if place == "connect" else "https"
        base = f"{scheme}://127.0.0.1:{silent.getsockname()[1]}/v1"
        if place == "connect":  # With its queue full, a listener lets further connections wait.
            for _ in range(3):
                filler = socket.socket()
                filler.settimeout(0)
                filler.connect_ex(silent.getsockname())
                fillers.append(filler)
    else:
        reply, base = places(api)[place]
        api.reads_body = place != "upload"
        if reply:
            api.script(reply)
    process = subprocess.Popen(
        [sys.executable, "-c", CHILD, base, how, CANARY],
        env={
            **os.environ,
            "PYTHONPATH": str(Path(ipy_imgvar.__file__).parents[1]),
            "IPY_IMGVAR_STORE": str(store_root),
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout.readline() == "ready\n"
        if base == api.base:
            assert api.arrived.wait(100)
        time.sleep(0.5)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=300)
    finally:
        process.kill()
        silent.close()
        for each in fillers:
            each.close()
    assert not err, err
    name, seconds, threads, kept = out.split()
    sys.stdout.write(f"{place}, {how}: back after {seconds} s\n")
    assert name == ("CancelledError" if how == "cancel" else "KeyboardInterrupt")
    assert float(seconds) < BACK_WITHIN_S
    assert threads == "1"
    assert kept == "0"


def test_cancel_closes_the_connection(api, client, photo):
    """When a waiting request is cancelled from another thread, the server sees the connection close at once."""
    api.script([STALL])
    cancel = threading.Event()

    def press():
        api.arrived.wait(100)
        cancel.set()

    threading.Thread(target=press).start()
    with pytest.raises(CancelledError):
        client.variations(photo, prompt="x", cancel=cancel)
    assert api.gone.wait(100)
    assert len(api.posts) == 1


def test_cancel_while_a_stream_waits(api, client, photo):
    """A stream that stalls after a first look can be cancelled."""
    api.script(
        [
            response(200, b"", "text/event-stream", Content_Length=None, Connection="close"),
            b'data: {"type": "x.partial_image", "b64_json": "AAAA"}\n\n',
            STALL,
        ]
    )
    cancel = threading.Event()
    with pytest.raises(CancelledError):
        client.variations(photo, prompt="x", cancel=cancel, on_preview=lambda _: cancel.set())
    assert api.gone.wait(100)


@pytest.mark.usefixtures("api")
def test_what_was_finished_is_kept(client, photo):
    """A run that is cancelled after its first picture has it in `partial`."""
    cancel = threading.Event()
    with pytest.raises(CancelledError) as caught:
        client.variations(photo, n=2, prompt="x", cancel=cancel, on_picture=lambda _: cancel.set())
    assert caught.value.partial.bytes == PICTURES[:1]
