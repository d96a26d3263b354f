"""A process that is killed between any two steps of a run in batches, and the process that goes on."""

import os
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from loopback import CANARY

import ipy_imgvar
from ipy_imgvar.batches import BatchLimits

ROOT = Path(ipy_imgvar.__file__).parent.parent
TWO = BatchLimits(2, 10**8)
#: The images of a run, in files of two.
IMAGES = 3

#: A run that ends itself at the number-th call of one function of the system, before or after the call is made.
SCRIPT = """
import os, signal, sys
from pathlib import Path
from ipy_imgvar import Client
from ipy_imgvar.batches import BatchLimits
from ipy_imgvar.bulk.batches.run import run
from ipy_imgvar.bulk.batches.uploads import Pace
from ipy_imgvar.engines.openai.batches import OpenAIBatches

base, key, folder, out, function, number, moment = sys.argv[1:]
OpenAIBatches.limits = BatchLimits(2, 10**8)
if function != "-":
    real, made = getattr(os, function), 0

    def counted(*args, **kwargs):
        global made
        if not out or "batches.jsonl" in os.listdir(out):
            made += 1
        if made == int(number) and moment == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        value = real(*args, **kwargs)
        if made == int(number) and moment == "after":
            os.kill(os.getpid(), signal.SIGKILL)
        return value

    setattr(os, function, counted)
with Client("openai", api_base=base, api_key=key, model="gpt-image-2.6-flare") as client:
    pace = Pace(first_s=0.01, longest_s=0.05, retry=0.01)
    run(client.engine, client._bulk_request({"size": 1024}), folder, out_dir=out, pace=pace)
"""


@pytest.fixture
def start(api, make_folder, tmp_path):
    """Return a function that starts the script in a process, and the folders of its images and its pictures."""
    folder, out = make_folder(IMAGES), tmp_path / "out"
    out.mkdir()

    def begin(function="-", number=0, moment="after"):
        words = [api.base, CANARY, folder, out, function, number, moment]
        env = {**os.environ, "PYTHONPATH": str(ROOT)}
        return subprocess.Popen(
            [sys.executable, "-c", SCRIPT, *map(str, words)], env=env, stderr=subprocess.PIPE
        )

    return begin, str(folder), out


def assert_all_once(api, result, out, look):
    """Each image has its picture, and was asked for in one batch of one file; nothing stays at the server."""
    assert len(result.done) + len(result.skipped) == IMAGES
    assert len(look.pictures(out)) == IMAGES
    assert Counter(line["custom_id"] for line in api.lines()).most_common(1)[0][1] == 1
    assert len(api.lines()) == IMAGES
    assert (len(api.uploads), len(api.creates)) == (2, 2)
    assert not api.files
    assert not api.cancels
    last = {record["item"]: record["status"] for record in look.records(out)}
    assert list(last.values()) == ["done"] * IMAGES
    for path in out.rglob("*"):
        assert path.is_dir() or CANARY.encode() not in path.read_bytes()
    assert not look.half_files(out)


def run_to_the_end(process):
    _, errors = process.communicate(timeout=300)
    return process.returncode, errors


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("fault", [None, "dropped"])
def test_killed_at_any_call(api, start, in_batches, look, fault):
    """Killed at each of its calls, which the server acts on or not, a run goes on without asking twice."""
    begin, folder, out = start
    code, errors = run_to_the_end(begin())
    assert code == 0, errors
    calls = len(api.calls)
    assert calls > 12
    for number in range(1, calls + 1):
        api.reset()
        for path in sorted(out.rglob("*"), reverse=True):
            path.rmdir() if path.is_dir() else path.unlink()
        process = begin()

        def kill(call, process=process, number=number):  # noqa: ARG001
            if len(api.calls) == number:
                os.kill(process.pid, signal.SIGKILL)
                return fault
            return None

        api.on_call = kill
        code, errors = run_to_the_end(process)
        assert code == -signal.SIGKILL, errors
        api.on_call = None
        assert_all_once(api, in_batches(folder, out, limits=TWO, size=1024), out, look)


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("function", ["fsync", "rename", "replace", "write"])
def test_killed_at_any_write(api, start, in_batches, look, function):
    """Killed before each step is forced to the disk, or a picture or a record is written, nothing is lost."""
    begin, folder, out = start
    for number in range(1, 100):
        api.reset()
        for path in sorted(out.rglob("*"), reverse=True):
            path.rmdir() if path.is_dir() else path.unlink()
        code, errors = run_to_the_end(begin(function, number, "before"))
        assert code in (0, -signal.SIGKILL), errors
        assert_all_once(api, in_batches(folder, out, limits=TWO, size=1024), out, look)
        if code == 0:
            break
