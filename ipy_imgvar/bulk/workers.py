"""The workers of a bulk run: processes, threads or the caller's executor, by the engine's capabilities."""

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

    from ipy_imgvar.engine import Capabilities, Engine, Listener
    from ipy_imgvar.settings import Connection

__all__ = ["Workers", "choose_workers"]

#: Threads that wait for a server, unless the caller names a number: most accounts allow so many requests at once.
_HOSTED_WORKERS: Final = 8
#: The most workers that a caller may name: a larger number is taken for a typing error, and would exhaust the threads
#: that a process can start.
_MOST_WORKERS: Final = 1000


@dataclass(frozen=True, slots=True)
class Workers:
    """An executor, the engine that its calls use, and their limits.

    Parameters
    ----------
    executor
        Runs `work`.
    count
        How many calls the executor runs at once; a guess for an executor that does not say.
    engine
        The engine itself if the workers are threads of this process, else the description by which they make it.
    ours
        Whether the executor was made here and ends with the run.
    timeout_s
        Seconds that one try of an item may take; 0 is no limit.
    listener
        Gets the engine's progress and announcements from threads; other processes have none.
    """

    executor: Executor
    count: int
    engine: Engine | EngineSpec
    ours: bool
    timeout_s: float = 0.0
    listener: Listener | None = None

    def submit(self, task: Task, cancel: threading.Event) -> Future[Outcome]:
        """Start a task; `cancel` stops it in the middle, and reaches threads only."""
        if isinstance(self.engine, EngineSpec):
            return self.executor.submit(work, task, self.engine)
        return self.executor.submit(work, task, self.engine, cancel, self.listener)

    def close(self, *, now: bool, wait: bool = True) -> None:
        """End an executor of ours; `now` kills processes in the middle of their task, `wait` waits for threads."""
        if not self.ours:
            return
        if now and isinstance(self.executor, WorkerProcesses):
            self.executor.kill()
        self.executor.shutdown(wait=wait, cancel_futures=True)

    def deadlines(self) -> Deadlines:
        """Return the deadlines of this executor's calls; `WorkerProcesses` has its own limit and needs none."""
        if isinstance(self.executor, WorkerProcesses) or not self.timeout_s:
            return Deadlines(None)
        # A process takes its next call before it has ended the last one, so a call may wait for another.
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
    """Return the workers of a run: the caller's executor, or as many processes or threads as suit the engine.

    Parameters
    ----------
    engine
        The client's engine.
    executor
        The caller's executor, or None.
    max_workers
        The number of calls at once. None takes the executor's own number, a process or thread for each
        core, or 8 threads for a server.
    timeout_s
        Seconds that one try of an item may take; 0 is no limit.
    spec
        How another process makes the engine; None for an object of the caller's, which stays in this process.
    model
        The request's model, or None.

    Raises
    ------
    InvalidRequestError
        If `max_workers` is no number of workers, or more than the engine can use.
    ConfigurationError
        If the engine can't travel to the executor's processes.
    """
    capabilities = engine.capabilities(model)
    most = 1 if capabilities.parallel == "one" and executor is None else _MOST_WORKERS
    if max_workers is not None:
        max_workers = whole_number("max_workers", max_workers, 1, most)
    if executor is None:
        return _own_workers(engine, capabilities, max_workers, timeout_s, spec)
    count = max_workers or _size_of(executor)
    if isinstance(executor, ThreadPoolExecutor):
        # Threads share this process's device, while each process of a cluster may have one of its own.
        count = 1 if capabilities.parallel == "one" else count
        return Workers(executor, count, engine, ours=False, timeout_s=timeout_s)
    return Workers(executor, count, _public_spec(engine, capabilities, spec), ours=False, timeout_s=timeout_s)


def _own_workers(
    engine: Engine,
    capabilities: Capabilities,
    max_workers: int | None,
    timeout_s: float,
    spec: EngineSpec | None,
) -> Workers:
    """Return the workers that suit the engine; an engine without a spec can't be made in another process."""
    usual = {"processes": _cores(), "one": 1, "threads": _HOSTED_WORKERS}
    count = max_workers or usual[capabilities.parallel]
    if capabilities.parallel == "processes" and spec is not None:
        processes = WorkerProcesses(
            count, timeout_s + GRACE_S if timeout_s else None, partial(_secrets_call, spec.connection)
        )
        spec = replace(spec, connection=spec.connection.without_secrets())
        return Workers(processes, count, spec, ours=True, timeout_s=timeout_s)
    threads = ThreadPoolExecutor(count, "imgvar-bulk")
    return Workers(threads, count, engine, ours=True, timeout_s=timeout_s)


def _secrets_call(connection: Connection) -> tuple[Any, tuple[Any, ...]]:
    """Return the call that brings a worker of ours the secrets; it is made when it is sent, and not stored."""
    key = connection.api_key
    return take_secrets, (None if key is None else key.reveal(), connection.api_base)


def _cores() -> int:
    # A container or `taskset` may leave this process fewer cores than the machine has.
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _size_of(executor: Executor) -> int:
    """Return how many calls an executor runs at once; executors have no common way to say."""
    if count := getattr(executor, "_max_workers", None):
        return int(count)
    client: Any = getattr(executor, "_client", None)  # Dask's
    if hasattr(client, "nthreads"):
        return sum(client.nthreads().values()) or _HOSTED_WORKERS
    try:
        return len(executor.view.client.ids)  # type: ignore[attr-defined] # ipyparallel's
    except AttributeError:
        return _HOSTED_WORKERS


def _public_spec(engine: Engine, capabilities: Capabilities, spec: EngineSpec | None) -> EngineSpec:
    """Return the engine's description for another executor's processes, without a secret."""
    if spec is None:
        raise ConfigurationError(
            f"the engine {engine.name} was given as an object, and objects are not sent to other processes, with what "
            "they hold; give an engine by its name, or leave executor out"
        )
    if not capabilities.hosted:
        return EngineSpec(spec.name)
    connection = spec.connection
    if connection.key_source in ("argument", "variable"):
        raise ConfigurationError(
            f"the API key was given as {connection.key_source}, and keys are not sent to other processes; set "
            "OPENAI_API_KEY in the environment here and of the executor's workers, or leave executor out"
        )
    if connection.login is not None:
        raise ConfigurationError(
            "the API base holds a password, and passwords are not sent to other processes; leave it, or executor, out"
        )
    return EngineSpec(spec.name, connection.without_secrets())
