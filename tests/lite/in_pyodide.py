# ruff: noqa: S108 - the file system is in memory, and this program's alone
"""Run in Pyodide by `run.mjs`: what of the package needs neither numpy nor Pillow; prints one JSON object."""

import contextlib
import importlib.util
import io
import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path


def words(call, *arguments):
    """Return what a call returns or raises, in words."""
    try:
        return repr(call(*arguments))
    except Exception as exc:  # noqa: BLE001 - the words are the answer
        return f"{type(exc).__name__}: {exc}"


def system():
    """Return what `emscripten.forbid` imitates, as it is here."""
    import signal
    import socket

    return {
        "platform": sys.platform,
        "cores": os.cpu_count(),
        "thread": words(threading.Thread(target=print).start),
        "process": words(subprocess.Popen, ["true"]).partition(":")[0],
        "pair": words(socket.socketpair).partition(":")[0],
        "boottime": words(time.clock_gettime, time.CLOCK_BOOTTIME).partition(":")[0],
        "missing": [
            f"{module.__name__}.{name}"
            for module, name in (
                (os, "link"),
                (os, "sched_getaffinity"),
                (os, "posix_fallocate"),
                (signal, "setitimer"),
                (threading, "get_native_id"),
            )
            if not hasattr(module, name)
        ],
        "modules": [
            name
            for name in ("_multiprocessing", "_posixshmem", "msvcrt", "resource", "pybase64", "threadpoolctl")
            if importlib.util.find_spec(name) is None
        ],
    }


def magic():
    """Return what lines of the magic show and how they fail, of those that need no picture."""
    from IPython.core.interactiveshell import InteractiveShell
    from traitlets.config import Config

    shell = InteractiveShell.instance(config=Config({"HistoryManager": {"enabled": False}}))
    shown = {}
    for line in (
        "%load_ext ipy_imgvar",
        "%imagevariation --help",
        "%imagevariation cat.png --size 3",
        "%imagevariation cat.png --engine openai",
        "%imagevariation https://host/cat.png --engine openai",
        "%imagevariation",
    ):
        out, err = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            shell.run_cell(line)
        shown[line] = out.getvalue() + err.getvalue()
    return shown


def files():
    """Return what the store, locks and atomic writes did on Pyodide's own file system."""
    import platformdirs

    from ipy_imgvar.results import locks
    from ipy_imgvar.results.store import Store, record_in
    from ipy_imgvar.storage import disk

    names = [Path("/tmp/out/cat-1.png"), Path("/tmp/out/cat-2.png")]
    first, second = disk.write_first_free(names, b"one"), disk.write_first_free(names, b"two")
    lock = os.open(first, os.O_RDWR)
    store = Store(Path("/tmp/store"), 10_000)
    run = store.begin(store.new_id(), {"source": "cat.png"})
    run.add(b"picture", ".png", {"seed": 7})
    run.finish(status="done")
    return {
        "written": [first.read_bytes().decode(), second.read_bytes().decode(), second.name],
        "left": sorted(each.name for each in first.parent.iterdir()),
        "locked": locks.lock(lock),
        "cache": str(platformdirs.user_cache_path("ipy_imgvar", appauthor=False)),
        "record": record_in(run.folder)["status"] if record_in(run.folder) else None,
    }


def helpers():
    """Return what base64, the inline executor and the panel's worker do."""
    from ipy_imgvar import VariationPanel
    from ipy_imgvar.api.answers import Item
    from ipy_imgvar.bulk.inline import Inline
    from ipy_imgvar.bulk.processes import WorkerProcesses
    from ipy_imgvar.panel.job import Worker

    ran = []
    Worker().submit(lambda task: ran.append(task.stop.is_set()))
    return {
        "decoded": Item(encoded=b"AAECAw==").read().hex(),
        "inline": Inline().submit(divmod, 7, 2).result(),
        "processes": words(WorkerProcesses(1).submit, print),
        "panel": ran,
        "widget": words(VariationPanel),
    }


if sys.platform == "emscripten":  # A collector of doctests imports this file elsewhere.
    os.environ |= {"IPY_IMGVAR_STORE": "/tmp/store", "IPYTHONDIR": "/tmp/ipython"}
    print(json.dumps({each.__name__: each() for each in (system, magic, files, helpers)}))  # noqa: T201
