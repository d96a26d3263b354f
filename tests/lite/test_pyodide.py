"""In Pyodide itself, by Node.js: what of the package needs neither numpy nor Pillow, which no registry has for it.

`.ci/lite` installs Pyodide's core from npm, and pure wheels, into `.venv-lite`; without it, this is skipped.
"""

import json
import shutil
import subprocess
from pathlib import Path

import pytest

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
PLACE = ROOT / ".venv-lite"
PYODIDE = PLACE / "node_modules" / "pyodide"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not PYODIDE.is_dir() or shutil.which("node") is None, reason="needs Node.js and .ci/lite's Pyodide"
    ),
]


@pytest.fixture(scope="module")
def answer():
    """Return what the program says in Pyodide."""
    command = ["node", HERE / "run.mjs", PYODIDE, HERE / "in_pyodide.py", PLACE / "site", ROOT]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=200)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


def test_pyodide_lacks_what_the_imitation_takes_away(answer):
    """Threads, processes, pairs of sockets and the same names are missing in Pyodide as in `emscripten.forbid`."""
    assert answer["system"] == {
        "platform": "emscripten",
        "cores": 1,
        "thread": "RuntimeError: can't start new thread",
        "process": "OSError",
        "pair": "OSError",
        "boottime": "OSError",
        "missing": [
            "os.link",
            "os.sched_getaffinity",
            "os.posix_fallocate",
            "signal.setitimer",
            "threading.get_native_id",
        ],
        "modules": ["_multiprocessing", "_posixshmem", "msvcrt", "resource", "pybase64", "threadpoolctl"],
    }


def test_the_magic_loads_helps_and_refuses_in_pyodide(answer):
    """The extension loads in IPython there; help, wrong lines and engines that can't run there are one line each."""
    shown = answer["magic"]
    assert shown["%load_ext ipy_imgvar"] == ""
    assert "--number-of-images N" in shown["%imagevariation --help"]
    assert shown["%imagevariation"].startswith("UsageError: no image was given")
    assert shown["%imagevariation cat.png --size 3"].startswith("UsageError: there is no file cat.png")
    hosted = shown["%imagevariation https://host/cat.png --engine openai"]
    assert hosted.startswith("UsageError: engine openai can't run in a browser")
    assert all("Traceback" not in each for each in shown.values())


def test_files_locks_and_the_store_work_in_pyodide(answer):
    """Whole files, the first free name, locks, a run's record and the cache's folder work on its file system."""
    assert answer["files"] == {
        "written": ["one", "two", "cat-2.png"],
        "left": ["cat-1.png", "cat-2.png"],
        "locked": True,
        "cache": "/home/pyodide/.cache/ipy_imgvar",
        "record": "done",
    }


def test_base64_the_panel_and_inline_calls_work_in_pyodide(answer):
    """Base64 is decoded, the panel opens, a task runs in the event, and the system refuses a worker process."""
    assert answer["helpers"] == {
        "decoded": "00010203",
        "inline": [3, 1],
        "processes": "RuntimeError: can't start new thread",
        "panel": [False],
        "widget": "<VariationPanel: idle>",
    }
