"""The workers of a bulk run: processes, threads or the caller's executor, by the engine's capabilities."""

from __future__ import annotations

import itertools
import os
import pickle
import secrets
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from ipy_imgvar.bulk import cluster
from ipy_imgvar.bulk.deadlines import GRACE_S, Deadlines
from ipy_imgvar.bulk.entry import call_of
from ipy_imgvar.bulk.inline import Inline
from ipy_imgvar.bulk.processes import WorkerProcesses
from ipy_imgvar.bulk.work import Outcome, Task, take_secrets, work
from ipy_imgvar.engines import EngineSpec
from ipy_imgvar.errors import ConfigurationError
from ipy_imgvar.request import whole_number
from ipy_imgvar.systems import in_browser

if TYPE_CHECKING:
    import threading
    from collections.abc import Iterator

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
        How many calls the executor runs at once as the run begins; a guess for one that does not say, or has no worker
        yet.
    engine
        The engine itself if the workers are threads of this process, else the description by which they make it.
    ours
        Whether the executor was made here and ends with the run.
    timeout_s
        Seconds that one try of an item may take; 0 is no limit.
    listener
        Gets the engine's progress and announcements from threads; other processes have none.
    is_fixed
        Whether `count` holds for the whole run; else `size` is read again, since workers join and leave.
    """

    executor: Executor
    count: int
    engine: Engine | EngineSpec
    ours: bool
    timeout_s: float = 0.0
    listener: Listener | None = None
    is_fixed: bool = True
    _numbers: Iterator[int] = field(default_factory=lambda: itertools.count(secrets.randbits(64)))

    def submit(self, task: Task, cancel: threading.Event) -> Future[Any]:
        """Start a task; `cancel` stops it in the middle, and reaches threads only. `outcome` reads the result."""
        if not isinstance(self.engine, EngineSpec):
            return self.executor.submit(work, task, self.engine, cancel, self.listener)
        if self.ours:
            return self.executor.submit(work, task, self.engine)
        # Unpickling these bytes calls `enter`, which compares the versions first; see `call_of`.
        return self.executor.submit(pickle.loads, call_of(task, self.engine, next(self._numbers)))

    def outcome(self, answer: Any, task: Task) -> Outcome:
        """Return the outcome of a call that `submit` started; see `cluster.checked_answer` for what it raises."""
        return answer if self._is_ours_or_threads else cluster.checked_answer(answer, task)

    def raise_if_useless(self, exc: BaseException) -> None:
        """Raise `EngineError` if the executor can do no item after a call failed with this exception."""
        if not self._is_ours_or_threads:
            cluster.raise_if_useless(self.executor, exc)

    @property
    def _is_ours_or_threads(self) -> bool:
        return self.ours or not isinstance(self.engine, EngineSpec)

    def size(self) -> int | None:
        """Return how many calls the caller's cluster can run now; None if the executor does not say, or is ours.

        Raises
        ------
        EngineError
            If the cluster is gone.
        """
        return None if self._is_ours_or_threads else cluster.size_of(self.executor)

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
        If `max_workers` is no number of workers, or more than the engine can use, or `executor` is none.
    ConfigurationError
        If the engine can't travel to the executor's processes.
    """
    capabilities = engine.capabilities(model)
    executor = None if executor is None else cluster.as_executor(executor)
    count = count_workers(capabilities, executor, max_workers)
    if executor is None:
        return _own_workers(engine, capabilities, count, timeout_s, spec)
    if isinstance(executor, ThreadPoolExecutor):
        return Workers(executor, count, engine, ours=False, timeout_s=timeout_s)
    described = _public_spec(engine, capabilities, spec)
    return Workers(
        executor, count, described, ours=False, timeout_s=timeout_s, is_fixed=max_workers is not None
    )


def count_workers(capabilities: Capabilities, executor: Executor | None, max_workers: int | None) -> int:
    """Return how many calls a run makes at once; see `choose_workers`, which also says what it raises."""
    most = 1 if capabilities.parallel == "one" and executor is None else _MOST_WORKERS
    if max_workers is not None:
        max_workers = whole_number("max_workers", max_workers, 1, most)
    if executor is None and in_browser():
        return 1
    if executor is None:
        usual = {"processes": _cores(), "one": 1, "threads": _HOSTED_WORKERS}
        return max_workers or usual[capabilities.parallel]
    if capabilities.parallel == "one" and isinstance(executor, ThreadPoolExecutor):
        # Threads share this process's device, while each process of a cluster may have one of its own.
        return 1
    return max_workers or cluster.size_of(executor) or _HOSTED_WORKERS


def _own_workers(
    engine: Engine,
    capabilities: Capabilities,
    count: int,
    timeout_s: float,
    spec: EngineSpec | None,
) -> Workers:
    """Return the workers that suit the engine; an engine without a spec can't be made in another process."""
    if in_browser():
        return Workers(Inline(), 1, engine, ours=True, timeout_s=timeout_s)
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
