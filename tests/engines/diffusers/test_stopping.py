"""Cancel, timeout and full memory: a run of the engine diffusers ends at once, in one line, and harms no later run."""

import random
import subprocess
import sys
import threading
import time

import pytest

from ipy_imgvar.engines import unload
from ipy_imgvar.errors import CancelledError, EngineError, RequestTimeoutError

#: Seconds in which a cancelled run of a tiny model has to be over, on a machine that does much else.
_OVER_S = 5
_SEED = 20261128


def _until_a_step(client, source, request):
    """Return the seconds until a run makes its first step, the load included; the run goes on to its end."""
    steps, start = [], time.perf_counter()

    def on_progress(_share, text):
        if "step 1 " in text:
            steps.append(time.perf_counter())

    client.variations(source, on_progress=on_progress, **request)
    return steps[0] - start


def _cancelled_after(delay_s, client, source, request):
    """Run, cancel after `delay_s`, and return the seconds from then to the end, and the pictures handed over."""
    cancel, set_at, pictures = threading.Event(), [], []

    def stop():
        set_at.append(time.perf_counter())
        cancel.set()

    timer = threading.Timer(delay_s, stop)
    timer.start()
    with pytest.raises(CancelledError):
        client.run(client.request(source, **request), cancel=cancel, on_picture=pictures.append)
    over = time.perf_counter()
    timer.join()
    return over - set_at[0], pictures


@pytest.mark.slow
@pytest.mark.parametrize("name", ["stable", "klein", "z-image"])
def test_cancel_ends_load_and_run_at_any_instant(name, client, source, request_for):
    """At ten random instants of load and run, cancel ends it, and the next run makes the same bytes."""
    short = request_for(name, n=2)
    expected = [each.bytes for each in client.variations(source, **short)]
    unload()
    until_a_step_s = _until_a_step(client, source, short)
    # Too long to end by itself, whatever else the machine does.
    long = request_for(name, n=10, options={"steps": 200})
    numbers = random.Random(_SEED)  # noqa: S311 - instants, no secret
    for _ in range(10):
        unload()
        over_s, pictures = _cancelled_after(numbers.uniform(0, 2 * until_a_step_s), client, source, long)
        assert over_s < _OVER_S
        handed_over = len(pictures)
        time.sleep(0.05)
        assert len(pictures) == handed_over
    assert [each.bytes for each in client.variations(source, **short)] == expected


_LEAVES_A_LOAD = """
import sys, threading
import torch
from PIL import Image
from ipy_imgvar import Client
from ipy_imgvar.engines import unload
from ipy_imgvar.errors import CancelledError
client = Client("diffusers")
source = Image.linear_gradient("L").convert("RGB").resize((96, 64))
settings = {"model": sys.argv[1], "size": "96x64", "seed": 1, "options": {"steps": 1, "side": 96}}
client.variations(source, **settings)
unload()
cancel = threading.Event()
threading.Timer(0.1, cancel.set).start()
try:
    client.variations(source, cancel=cancel, **settings)
except CancelledError:
    print("left")
"""


@pytest.mark.slow
def test_a_process_may_end_while_a_load_that_was_left_goes_on(tiny_pipeline):
    """A script that ends right after a cancelled load has its own exit code, where torch would abort it."""
    done = subprocess.run(
        [sys.executable, "-c", _LEAVES_A_LOAD, str(tiny_pipeline("klein"))],
        check=False,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert (done.returncode, done.stdout) == (0, "left\n"), done.stderr


def test_a_cancelled_run_keeps_what_it_had_finished(client, source, request_for):
    """A cancel after the first picture leaves that picture, the model in memory, and the bytes of the next run."""
    request = request_for("stable", n=3)
    expected = [each.bytes for each in client.variations(source, **request)]
    cancel, stopped_at = threading.Event(), []

    def stop(_picture):
        stopped_at.append(time.perf_counter())
        cancel.set()

    with pytest.raises(CancelledError) as caught:
        client.run(client.request(source, **request), cancel=cancel, on_picture=stop)
    assert time.perf_counter() - stopped_at[0] < _OVER_S
    assert [each.bytes for each in caught.value.partial] == expected[:1]
    assert [each.bytes for each in client.variations(source, **request)] == expected


def test_a_timeout_ends_the_run_in_one_line(client, source, request_for):
    """A run that takes longer than its timeout ends about then, says so, and the next run makes the same bytes."""
    request = request_for("stable", n=3, options={"steps": 40})
    expected = [each.bytes for each in client.variations(source, **request)]
    start = time.perf_counter()
    with pytest.raises(RequestTimeoutError, match=r"timeout of 0\.1 s") as caught:
        client.variations(source, timeout=0.1, **request)
    assert time.perf_counter() - start < 0.1 + _OVER_S
    assert "\n" not in str(caught.value)
    assert [each.bytes for each in client.variations(source, **request)] == expected


@pytest.fixture
def memory_for(torch, monkeypatch):
    """Return a function that lets the UNet of diffusers run out of memory above a number of pictures at once."""
    from diffusers import UNet2DConditionModel

    forward = UNet2DConditionModel.forward

    def limit(pictures):
        calls = []

        def within(self, sample, *arguments, **named):
            # Guidance puts each picture into the batch twice.
            calls.append(len(sample) // 2)
            if calls[-1] > pictures:
                raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
            return forward(self, sample, *arguments, **named)

        monkeypatch.setattr(UNet2DConditionModel, "forward", within)
        return calls

    return limit


@pytest.mark.parametrize("batches", [{4}, {4, 2}, {4, 2, 1}])
def test_a_batch_that_does_not_fit_is_halved(batches, client, source, request_for, memory_for):
    """Where memory has room for fewer pictures than asked at once, the batch is halved, and all pictures come."""
    request = request_for("stable", n=4, options={"batch": 4})
    calls = memory_for(min(batches))
    made = client.variations(source, **request)
    assert len({each.bytes for each in made}) == 4
    assert set(calls) == batches
    halved = [line for line in made.warnings if "at a time" in line]
    assert len(halved) == len(batches) - 1


def test_memory_too_small_for_one_picture_is_one_line(client, source, request_for, memory_for):
    """Where not even one picture fits, the error names device, size and next step, and the engine can go on."""
    request = request_for("stable", n=2)
    expected = [each.bytes for each in client.variations(source, **request)]
    memory_for(0)
    with pytest.raises(
        EngineError, match=r"memory of .* is too small for one picture of \d+x\d+; try"
    ) as caught:
        client.variations(source, **request)
    assert "\n" not in str(caught.value)
    memory_for(9)
    assert [each.bytes for each in client.variations(source, **request)] == expected
