"""Who works on a bulk run: processes, threads or another's executor, as the engine says and the caller wants."""

from __future__ import annotations

import os
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from ipy_imgvar.bulk.deadlines import GRACE_S, Deadlines
from ipy_imgvar.bulk.processes import WorkerProcesses
from ipy_imgvar.bulk.work import Outcome, Task, take_secrets, work
from ipy_imgvar.engines import EngineSpec
from ipy_imgvar.errors import ConfigurationError
from ipy_imgvar.request import whole_number

if TYPE_CHECKING:
    import threading

    from ipy_imgvar.engine import Capabilities, Engine
    from ipy_imgvar.settings import Connection

__all__ = ["Workers", "choose_workers"]

#: Threads that wait for a server: what most accounts allow at once.
_HOSTED_WORKERS: Final = 8
#: The most workers that may be asked for: more threads than a process can start is a slip of the hand.
_MOST_WORKERS: Final = 1000


@dataclass(frozen=True, slots=True)
class Workers:
    """An executor, and what it needs to know.

    Parameters
    ----------
    executor
        Runs `work`.
    count
        How many calls it runs at once, as far as is known.
    engine
        The engine itself, where the workers are threads of this process; else how to make it.
    ours
        It was made here, and ends with the run.
    timeout_s
        Seconds that one try of an item may take; 0 is no limit.
    """

    executor: Executor
    count: int
    engine: Engine | EngineSpec
    ours: bool
    timeout_s: float = 0.0

    def submit(self, task: Task, cancel: threading.Event) -> Future[Outcome]:
        """Start a task; a switch to cancel it in the middle reaches threads only."""
        if isinstance(self.engine, EngineSpec):
            return self.executor.submit(work, task, self.engine)
        return self.executor.submit(work, task, self.engine, cancel)

    def close(self, *, now: bool, wait: bool = True) -> None:
        """End what was made here; `now` kills processes in the middle of their task, `wait` waits for threads."""
        if not self.ours:
            return
        if now and isinstance(self.executor, WorkerProcesses):
            self.executor.kill()
        self.executor.shutdown(wait=wait, cancel_futures=True)

    def deadlines(self) -> Deadlines:
        """Return what finds the calls that take too long; processes of ours are killed where they are tended."""
        if isinstance(self.executor, WorkerProcesses) or not self.timeout_s:
            return Deadlines(None)
        # Processes take a call before they have ended the one before.
        calls = 2 if isinstance(self.engine, EngineSpec) else 1
        reports = type(self.executor).__module__.startswith("concurrent.futures")
        return Deadlines(self.timeout_s * calls + GRACE_S, reports=reports)


def choose_workers(
    engine: Engine,
    executor: Executor | None,
    max_workers: int | None,
    timeout_s: float = 0.0,
    *,
    spec: EngineSpec | None = None,
    model: str | None = None,
) -> Workers:
    """Return who works: the executor that was given, else as many processes or threads as the engine says.

    Parameters
    ----------
    engine
        The client's.
    executor
        The caller's, or None.
    max_workers
        None takes the executor's own number, a process or thread for each core, or 8 threads for a server.
    timeout_s
        Seconds that one try of an item may take; 0 is no limit.
    spec
        How to make the engine in another process; None for an object of the caller's, which stays in this one.
    model
        The model that is asked for, or None.

    Raises
    ------
    InvalidRequestError
        If `max_workers` is no number of workers, or more than the engine can use.
    ConfigurationError
        If the engine can't travel to the executor's processes.
    """
    found = engine.capabilities(model)
    most = 1 if found.parallel == "one" and executor is None else _MOST_WORKERS
    if max_workers is not None:
        max_workers = whole_number("max_workers", max_workers, 1, most)
    if executor is None:
        return _own_workers(engine, found, max_workers, timeout_s, spec)
    count = max_workers or _size_of(executor)
    if isinstance(executor, ThreadPoolExecutor):
        # Threads share this process's device, while each process of a cluster may have one of its own.
        count = 1 if found.parallel == "one" else count
        return Workers(executor, count, engine, ours=False, timeout_s=timeout_s)
    return Workers(executor, count, _travelling(engine, found, spec), ours=False, timeout_s=timeout_s)


def _own_workers(
    engine: Engine, found: Capabilities, max_workers: int | None, timeout_s: float, spec: EngineSpec | None
) -> Workers:
    """Return the workers that the engine asks for; an object without a name can't be made in another process."""
    usual = {"processes": _cores(), "one": 1, "threads": _HOSTED_WORKERS}
    count = max_workers or usual[found.parallel]
    if found.parallel == "processes" and spec is not None:
        processes = WorkerProcesses(
            count, timeout_s + GRACE_S if timeout_s else None, partial(_telling, spec.connection)
        )
        spec = replace(spec, connection=spec.connection.without_secrets())
        return Workers(processes, count, spec, ours=True, timeout_s=timeout_s)
    threads = ThreadPoolExecutor(count, "imgvar-bulk")
    return Workers(threads, count, engine, ours=True, timeout_s=timeout_s)


def _telling(connection: Connection) -> tuple[Any, tuple[Any, ...]]:
    """Return the call that tells a worker of ours what a task must not carry; made when it is sent, and not kept."""
    key = connection.api_key
    return take_secrets, (None if key is None else key.reveal(), connection.api_base)


def _cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _size_of(executor: Executor) -> int:
    """Return how many calls an executor runs at once, as well as it can be known."""
    if count := getattr(executor, "_max_workers", None):
        return int(count)
    client: Any = getattr(executor, "_client", None)  # Dask's
    if hasattr(client, "nthreads"):
        return sum(client.nthreads().values()) or _HOSTED_WORKERS
    try:
        return len(executor.view.client.ids)  # type: ignore[attr-defined] # ipyparallel's
    except AttributeError:
        return _HOSTED_WORKERS


def _travelling(engine: Engine, capabilities: Capabilities, spec: EngineSpec | None) -> EngineSpec:
    """Return the engine as it goes to processes that are not ours: without a secret."""
    if spec is None:
        raise ConfigurationError(
            f"the engine {engine.name} was given as an object, and objects are not sent to other processes, with what "
            "they hold; give an engine by its name, or leave executor out"
        )
    if not capabilities.hosted:
        return EngineSpec(spec.name)
    found = spec.connection
    if found.key_source in ("argument", "variable"):
        raise ConfigurationError(
            f"the API key was given as {found.key_source}, and keys are not sent to other processes; set "
            "OPENAI_API_KEY in the environment here and of the executor's workers, or leave executor out"
        )
    if found.login is not None:
        raise ConfigurationError(
            "the API base holds a password, and passwords are not sent to other processes; leave it, or executor, out"
        )
    return EngineSpec(spec.name, found.without_secrets())
