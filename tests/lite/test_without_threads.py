"""The magic and the engine patch, where Python has no threads, processes, sockets and compiled helpers.

This is CPython with those taken away; `test_pyodide` asks Pyodide itself, as far as the registries have it.
"""

import base64
import json
import os
import re
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from ipy_imgvar import Client
from ipy_imgvar.bulk.inline import Inline
from ipy_imgvar.panel import job
from ipy_imgvar.panel.job import Worker

HERE = Path(__file__).parent
#: Tests of the rest of the suite that need none of what is taken away.
OTHERS = (
    "tests/api",
    "tests/engines/patch/test_engine.py",
    "tests/engines/patch/test_masks.py",
    "tests/magic/test_lines.py",
    "tests/magic/test_sweep_lines.py",
    "tests/results/test_files.py",
    "tests/results/test_history.py",
)
#: One of them: addresses of an unknown kind are refused in other words in a browser.
NOT_THERE = "tests/magic/test_lines.py::test_a_wrong_line_is_one_clear_line[other schemes]"


def run(folder, *words):
    """Run the quickstart as a program, and return what each line showed."""
    command = [sys.executable, HERE / "quickstart.py", folder, *words]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads((folder / "shown.json").read_text("utf-8"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Return the folder of a quickstart without threads."""
    place = tmp_path_factory.mktemp("browser")
    run(place, "forbid")
    return place


@pytest.fixture(scope="module")
def shown(folder):
    """Return what each line of that quickstart showed."""
    return json.loads((folder / "shown.json").read_text("utf-8"))


def test_the_quickstart_needs_no_thread_process_socket_or_compiled_helper(shown):
    """Pictures, base64, saved files, sweeps, bulk runs, the bar and the history work without them, in silence."""
    assert [(each["line"], each["error"]) for each in shown if each["error"]] == [
        (each["line"], each["error"]) for each in shown[-4:]
    ]
    assert [each["err"] for each in shown[:7]] == [""] * 7
    assert "2 pictures by patch" in shown[1]["value"]
    assert "saved out" in shown[3]["out"]
    assert "2 done, 0 failed, 0 skipped" in shown[5]["value"]
    assert "0 done, 0 failed, 2 skipped" in shown[6]["value"]
    assert "Warning" not in shown[7]["err"]
    assert "Sweep: 2 pictures" in shown[8]["value"]


def test_pictures_are_the_same_as_with_threads(folder):
    """A seed gives the same bytes as where there are threads."""
    with Client("patch") as client:
        made = client.variations(folder / "cat.png", size=96, seed=7)
    assert (folder / "out" / "cat-1.png").read_bytes() == made[0].bytes


def test_what_needs_sockets_is_refused_in_one_line(shown):
    """Addresses, object stores and engines other than patch are refused in one line that says what to do instead."""
    for each, word in zip(
        shown[-4:], ("give its path", "give its path", "give a path", "choose engine patch"), strict=True
    ):
        assert re.fullmatch(rf"UsageError: .*(a|in a) browser.*{word}.*\n", each["err"]), each


def test_a_panel_without_threads_runs_a_task_in_the_event(monkeypatch):
    """The panel's work is done when `submit` returns, and its worker is free again."""
    monkeypatch.setattr(sys, "platform", "emscripten")
    monkeypatch.setattr(threading.Thread, "start", None)
    worker, ran = Worker(), []
    assert worker.submit(lambda task: ran.append(task.stop.is_set()))
    assert worker.submit(lambda task: ran.append(task.stop.is_set()))
    assert ran == [False, False]


def test_a_panel_without_threads_waits_in_the_event_loop(monkeypatch):
    """A delayed action comes from the running event loop; without a loop there is none to wait for."""
    import asyncio

    monkeypatch.setattr(sys, "platform", "emscripten")
    called = []

    async def wait():
        job.after(0.01, lambda: called.append("later"))
        assert called == []
        await asyncio.sleep(0.1)

    job.after(0.0, lambda: called.append("without a loop"))
    asyncio.run(wait())
    assert called == ["later"]


def test_an_inline_executor_hands_over_results_and_exceptions():
    """A call is over when its future comes back, with what it returned or raised; an interrupt is raised at once."""
    inline = Inline()
    assert inline.submit(divmod, 7, 2).result() == (3, 1)
    assert isinstance(inline.submit(divmod, 7, 0).exception(), ZeroDivisionError)

    def interrupted():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        inline.submit(interrupted)


def test_base64_is_decoded_by_the_standard_library_too(tmp_path):
    """Without pybase64, an answer's base64 is decoded to the same bytes, and what is no base64 is refused."""
    program = tmp_path / "decode.py"
    program.write_text(
        "import sys; sys.modules['pybase64'] = None\n"
        "from ipy_imgvar.api.answers import Item\n"
        "print(Item(encoded=b'AAEC\\nAw==').read() == bytes(range(4)))\n"
        "try:\n    Item(encoded=b'AA*C').read()\nexcept ValueError as exc:\n    print(exc)\n"
    )
    done = subprocess.run([sys.executable, program], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("True\nb64_json can't be decoded")
    assert base64.b64decode("AAECAw==") == bytes(range(4))


@pytest.mark.slow
def test_the_suites_engine_and_magic_pass_without_threads(tmp_path):
    """The tests of patch, the magic's lines, results and sweeps pass in a process that can start no thread."""
    root = HERE.parent.parent
    words = "-m pytest -q -p emscripten -p no:timeout -p no:xdist -p no:cacheprovider -W ignore"
    command = [sys.executable, *words.split(), "-o", "addopts=--import-mode=importlib", "-m", "not slow"]
    command += [f"--basetemp={tmp_path / 'inner'}", f"--deselect={NOT_THERE}", *OTHERS]
    paths = {"PYTHONPATH": os.pathsep.join([str(HERE), os.environ.get("PYTHONPATH", "")])}
    done = subprocess.run(
        command, cwd=root, env=os.environ | paths, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout[-3000:]
    assert int(re.search(r"(\d+) passed", done.stdout)[1]) > 300
