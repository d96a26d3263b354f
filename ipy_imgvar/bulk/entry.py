"""Where a task enters a worker of another executor, such as one of a Dask cluster: both sides must have one version.

The worker may have another version of this package than the parent, or none. So a worker imports nothing else of the
package, and unpickles nothing of it, before the versions are compared. `enter` and its answer about another version are
to stay the same in every version.
"""

from __future__ import annotations

import functools
import pickle
import socket
from importlib.metadata import PackageNotFoundError, version
from typing import Any

__all__ = ["call_of", "enter", "own_version"]


@functools.cache  # Looking through the installed packages takes longer than the rest of a call.
def own_version() -> str:
    """Return the version that is installed here, or "unknown" for a folder that pip did not install."""
    try:
        return version("ipy-imgvar")
    except PackageNotFoundError:
        return "unknown"


def enter(version: str, payload: bytes) -> Any:
    """Do a task in this worker and return its `Outcome`, or a dict that says why this worker can't do it.

    Parameters
    ----------
    version
        The parent's `own_version()`.
    payload
        The pickled task, its engine's description, and a number; see `call_of`.
    """
    about = {"host": socket.gethostname(), "version": own_version(), "error": ""}
    if about["version"] != version:
        return about
    from ipy_imgvar.bulk.work import work

    try:
        task, engine, _ = pickle.loads(payload)  # noqa: S301 - from the run's own parent, by the caller's executor
    except Exception as exc:  # noqa: BLE001 - two builds of one version, or an engine's package is missing here
        return about | {"error": f"{type(exc).__name__}: {exc}"}
    outcome = work(task, engine)
    if outcome.record["status"] == "failed":
        # A file that is missing, or a disk that is full, is this machine's.
        outcome.record["error"] += f" (on {about['host']})"
    return outcome


class _Call:
    """A call of `enter` that unpickling makes."""

    def __init__(self, payload: bytes) -> None:
        self._payload = payload

    def __reduce__(self) -> tuple[Any, ...]:
        return enter, (own_version(), self._payload)


def call_of(task: Any, engine: Any, number: int) -> bytes:
    """Return bytes whose `pickle.loads` calls `enter` and returns its answer.

    An executor gets `pickle.loads`, which every Python has, and these bytes. If it got `enter`, a Dask worker without
    this package would end as it reads the message, with no error to the parent; and the scheduler would need the
    package too.

    Parameters
    ----------
    task, engine
        As `work.work` takes them.
    number
        Another one for each call: Dask answers two equal calls with one result, even where the pictures of the first
        were removed meanwhile.
    """
    payload = pickle.dumps((task, engine, number), pickle.HIGHEST_PROTOCOL)
    return pickle.dumps(_Call(payload), pickle.HIGHEST_PROTOCOL)
