"""Work that can't be stopped: a run leaves it, and the next one waits for it."""

import threading
import time

import pytest

from ipy_imgvar.engines.diffusers.pipelines.background import Background
from ipy_imgvar.errors import CancelledError


def nothing():
    """Neither cancel nor report."""


def test_a_call_returns_its_result_and_raises_its_error():
    """The caller sees what it would see without a thread."""
    background = Background()
    assert background.run(lambda: 7, nothing, nothing) == 7
    with pytest.raises(ZeroDivisionError):
        background.run(lambda: 1 / 0, nothing, nothing)


def test_a_cancelled_caller_leaves_at_once_and_the_next_call_waits_for_the_left_one():
    """Two loads at once would corrupt each other, so they never overlap."""
    background, release, waited = Background(), threading.Event(), []
    spans = []

    def slow():
        release.wait(100)
        spans.append("slow ended")

    cancelled = threading.Event()

    def check():
        if cancelled.is_set():
            raise CancelledError("cancelled")

    threading.Timer(0.1, cancelled.set).start()
    with pytest.raises(CancelledError):
        background.run(slow, check, nothing)
    assert not spans
    threading.Timer(0.2, release.set).start()
    background.run(lambda: spans.append("next began"), nothing, lambda: waited.append(True))
    assert spans == ["slow ended", "next began"]
    assert waited == [True]


def test_a_wait_for_a_left_call_can_be_cancelled_too():
    """The second caller is not held by a load that takes minutes."""
    background, release = Background(), threading.Event()

    def leave():
        raise CancelledError("cancelled")

    with pytest.raises(CancelledError):
        background.run(lambda: release.wait(100), leave, nothing)
    with pytest.raises(CancelledError):
        background.run(nothing, leave, nothing)
    release.set()
    deadline = time.monotonic() + 100
    while time.monotonic() < deadline:
        try:
            assert background.run(lambda: 1, nothing, nothing) == 1
            break
        except CancelledError:
            continue
