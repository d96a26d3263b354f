"""Make this process lack what Python in a browser lacks, as Pyodide 314.0.7 (Python 3.14) was seen to lack it.

`forbid` comes before any import of the package. Two things stay that Pyodide does not have: numpy's BLAS threads, and
the speed of machine code.
"""

import _thread
import errno
import os
import platform
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

#: Modules that Pyodide lacks, or that only a compiled wheel or an unpacked part of its standard library has.
MISSING = (
    "_multiprocessing",
    "_posixshmem",
    "_ssl",
    "fcntl",
    "msvcrt",
    "pybase64",
    "resource",
    "ssl",
    "threadpoolctl",
)
#: How the messages of what was taken away begin.
_TAKEN = ("can't start new thread", "emscripten does not", "[Errno 22]", "[Errno 38]", "No module named")
#: Names that Pyodide's modules lack.
_LESS = (
    (os, "link"),
    (os, "sched_getaffinity"),
    (os, "posix_fallocate"),
    (signal, "setitimer"),
    (threading, "get_native_id"),
)


class _Finder:
    """Finds none of the missing modules, in the words of Python's own error."""

    def find_spec(self, name, *_):
        if name in MISSING:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)


def _raise(error):
    def fail(*_, **__):
        raise error

    return fail


def forbid():
    """Take away threads, processes, sockets and compiled helpers, for the rest of this process."""
    for name in MISSING:
        sys.modules.pop(name, None)
    sys.meta_path.insert(0, _Finder())
    for module, name in _LESS:
        if hasattr(module, name):
            delattr(module, name)
    no_thread = _raise(RuntimeError("can't start new thread"))
    for module in (_thread, threading):
        for name in (
            "start_new_thread",
            "start_joinable_thread",
            "_start_new_thread",
            "_start_joinable_thread",
        ):
            if hasattr(module, name):
                setattr(module, name, no_thread)
    threading.Thread.start = no_thread
    no_process = _raise(OSError(errno.ENOSYS, "emscripten does not support processes."))
    subprocess.Popen.__init__ = no_process
    os.fork = os.posix_spawn = os.system = no_process
    socket.socket.connect = socket.socket.bind = _raise(OSError(errno.EINVAL, "Invalid argument"))
    socket.socketpair = _raise(OSError(errno.EINVAL, "Invalid argument"))
    os.cpu_count = lambda: 1
    sys.platform = "emscripten"
    platform.system = lambda: "Emscripten"
    gettime = time.clock_gettime

    def clock_gettime(clock):
        if clock == getattr(time, "CLOCK_BOOTTIME", None):
            raise OSError(errno.EINVAL, "Invalid argument")
        return gettime(clock)

    time.clock_gettime = clock_gettime


def pytest_collection_finish():
    """As pytest's plugin: the test tools themselves, which were imported by now, need more."""
    forbid()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(call):
    """Skip a test that itself asks for what was taken away; where the package asked, it fails."""
    report = yield
    if call.excinfo is not None and str(call.excinfo.value).startswith(_TAKEN):
        files = {Path(str(entry.path)).parts for entry in call.excinfo.traceback}
        if not any("ipy_imgvar" in parts and "tests" not in parts for parts in files):
            report.outcome, report.longrepr = (
                "skipped",
                (__file__, 0, "Skipped: it needs what a browser lacks"),
            )
    return report
