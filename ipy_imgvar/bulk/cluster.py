"""What a run must know of a cluster: its address, its size, and what its errors mean.

No other module knows Dask, and this one imports it for `dask_executor` only: an executor is recognized by its type's
module, so that one of the caller's costs no import.
"""

from __future__ import annotations

import logging
import os
from contextlib import contextmanager
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final, cast

from ipy_imgvar.bulk.entry import own_version
from ipy_imgvar.errors import (
    ConfigurationError,
    ConnectionFailedError,
    EngineError,
    InvalidRequestError,
    shown,
)
from ipy_imgvar.plain import one_line

if TYPE_CHECKING:
    from collections.abc import Iterator
    from concurrent.futures import Executor

    from ipy_imgvar.bulk.work import Outcome, Task

__all__ = [
    "as_executor",
    "checked_answer",
    "dask_executor",
    "deaths_in",
    "raise_if_useless",
    "scheduler_of",
    "size_of",
]

#: Seconds until a scheduler that does not answer counts as missing; dask's own default is 30.
_CONNECT_S: Final = 10
#: Seconds to wait for a scheduler's answer during a run, which can't go on meanwhile; it takes 1 ms.
_ANSWER_S: Final = 2.0


@contextmanager
def dask_executor(address: str) -> Iterator[Executor]:
    """Connect to a scheduler and give its executor; the connection ends with the block.

    Parameters
    ----------
    address
        The scheduler's, such as `tcp://host:8786`.

    Raises
    ------
    ConfigurationError
        If dask is not installed.
    ConnectionFailedError
        If no scheduler answers at the address.
    """
    try:
        distributed: Any = import_module("distributed")
    except ImportError as exc:
        raise ConfigurationError("--scheduler needs dask: pip install 'ipy-imgvar[dask]'") from exc
    try:
        client = distributed.Client(address, timeout=_CONNECT_S)
    except (OSError, ValueError) as exc:
        raise ConnectionFailedError(f"there is no Dask scheduler at {shown(address)} ({exc})") from exc
    # Where the scheduler goes away, Dask logs tracebacks, and the run says so in one line.
    for name in ("distributed", "distributed.client", "tornado"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    with client:
        yield client.get_executor()


def as_executor(value: Any) -> Executor:
    """Return an executor of the caller's; a Dask client stands for its own.

    Raises
    ------
    InvalidRequestError
        If it is neither.
    """
    if _is_dasks(value) and hasattr(value, "get_executor"):
        return cast("Executor", value.get_executor())
    if not callable(getattr(value, "submit", None)):
        hint = "; of a Dask cluster, give cluster.get_client()" if hasattr(value, "get_client") else ""
        raise InvalidRequestError(
            f"executor is {shown(value)}; allowed: an executor as in concurrent.futures, or a Dask client{hint}",
            field="executor",
        )
    return cast("Executor", value)


def _is_dasks(value: Any) -> bool:
    return type(value).__module__.partition(".")[0] == "distributed"


def _client_of(executor: Executor) -> Any:
    """Return the Dask client of an executor, or None."""
    return getattr(executor, "_client", None) if _is_dasks(executor) else None


def scheduler_of(executor: Executor) -> str | None:
    """Return the address of a Dask executor's scheduler; None for another executor."""
    scheduler = getattr(_client_of(executor), "scheduler", None)
    return None if scheduler is None else str(scheduler.address)


def size_of(executor: Executor) -> int | None:
    """Return how many calls an executor runs at once, now; None if it does not say.

    A cluster's size changes: its workers join and leave, and 0 is a size.

    Raises
    ------
    EngineError
        If the executor lost its scheduler.
    """
    if count := getattr(executor, "_max_workers", None):
        return int(count)
    # A client that lost its scheduler would try to connect first, for half a minute.
    _raise_if_gone(executor)
    client = _client_of(executor)
    try:
        if client is None:
            return len(executor.view.client.ids)  # type: ignore[attr-defined] # ipyparallel's
        return int(sum(client.nthreads(callback_timeout=_ANSWER_S).values()))
    except Exception:  # noqa: BLE001 - there is no common way to ask, and the run goes on without an answer
        return None


def _raise_if_gone(executor: Executor) -> None:
    """Raise if a Dask client has lost its scheduler, or was closed."""
    client = _client_of(executor)
    if client is not None and client.status != "running":
        raise EngineError(
            f"the Dask scheduler at {scheduler_of(executor) or 'its address'} is gone; what was finished is on record, "
            "and the same again goes on"
        )


def checked_answer(answer: Any, task: Task) -> Outcome:
    """Return the outcome that a worker of the caller's executor answered.

    Raises
    ------
    EngineError
        If the worker has another version of this package, or wrote to a disk that this machine does not see.
    """
    if isinstance(answer, dict):
        host, theirs, ours = (
            one_line(str(each)) for each in (answer["host"], answer["version"], own_version())
        )
        reason = f" ({one_line(answer['error'])})" if answer["error"] else ""
        raise EngineError(
            f"the worker on {host} has ipy-imgvar {theirs}, and this machine has {ours}{reason}; install the same on "
            "both, restart the workers, and run the same again to go on"
        )
    outcome = cast("Outcome", answer)
    paths = outcome.record["paths"]
    # An address in an object store is no absolute path, and all machines see the same there.
    if outcome.record["status"] == "done" and paths and os.path.isabs(task.out_dir):  # noqa: PTH117 - 10 times as fast
        picture = os.path.join(task.out_dir, paths[0])  # noqa: PTH118 - likewise
        if not os.path.lexists(picture):
            raise EngineError(
                f"the worker wrote to {task.out_dir}, which this machine does not see; give an out_dir in an object "
                "store, such as s3://bucket/out, or a folder that all machines share"
            )
    return outcome


def raise_if_useless(executor: Executor, exc: BaseException) -> None:
    """Raise if another try of a call that failed so is useless, for any item.

    Parameters
    ----------
    executor
        The caller's.
    exc
        What the call's future raised.

    Raises
    ------
    EngineError
        If the worker lacks this package, or the executor lost its scheduler.
    """
    _raise_if_gone(executor)
    # ipyparallel has one exception for all, with the name of the worker's own.
    kind = getattr(exc, "ename", type(exc).__name__)
    if kind in ("ModuleNotFoundError", "ImportError", "AttributeError") and "ipy_imgvar" in str(exc):
        raise EngineError(
            f"a worker has no ipy-imgvar, or one that is too old ({kind}: {one_line(str(exc))}); install "
            f"ipy-imgvar {own_version()}, as here, where the workers run, restart them, and run the same again to go on"
        ) from exc


def deaths_in(exc: BaseException) -> int:
    """Return how many workers died in a call that failed so: Dask itself tries another worker, 3 times by default."""
    return 1 + getattr(exc, "allowed_failures", 0)
