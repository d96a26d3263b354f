"""The lock of a run's folder in an object store: an object that its run rewrites every few seconds.

An object store has no locks that end with their process. So a lock that no longer changes counts as left by a dead run,
and that of a dead process of this machine at once.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import secrets
import socket
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from ipy_imgvar.errors import ImageVariationError, InvalidRequestError
from ipy_imgvar.plain import plain

if TYPE_CHECKING:
    from collections.abc import Callable

    from ipy_imgvar.storage.folder import Folder

__all__ = ["LOCK", "ObjectLock"]

_log = logging.getLogger("ipy_imgvar")
#: The lock's name in the output folder.
LOCK: Final = "ledger-parts/lock.json"
#: Seconds between two beats of a run.
_BEAT_S: Final = 5.0
#: Seconds after which a lock that does not change is taken over: two beats, and 5 s for a slow object store.
_DEAD_S: Final = 15.0
#: Seconds between two looks at the lock of another run.
_LOOK_S: Final = 0.5
#: How often a lock that can't be understood is read, and the seconds between.
_READS: Final = 3
_AGAIN_S: Final = 0.2
#: Bytes of the random id by which a run knows its lock.
_ID_BYTES: Final = 8
#: The ids of the runs of this process.
_ids: set[str] = set()


class ObjectLock:
    """Keeps other runs out of a folder until `release`; a thread beats meanwhile.

    Parameters
    ----------
    folder
        The folder in an object store.
    notice
        Gets a line where another run's lock has to be watched, which takes up to 15 s.

    Raises
    ------
    InvalidRequestError
        If another run is writing to the folder.
    ImageVariationError
        If the object store can't be read or written.
    """

    def __init__(self, folder: Folder, notice: Callable[[str], object] | None = None) -> None:
        self._folder = folder
        self._id = secrets.token_hex(_ID_BYTES)
        self._owner = {**_here(), "id": self._id, "began": round(time.time())}
        self._beats = 0
        #: Seconds for which this run was silent when another one took the lock; None while it has the lock.
        self._taken_after_s: float | None = None
        self._beaten = self._asked = _clock_s()
        self._released = threading.Event()
        before = self._look()
        if before is not None:
            self._take_over(before, notice)
        self._overwritten = _fields(before).get("id")
        self._write()
        self.confirm()
        _ids.add(self._id)
        self._thread = threading.Thread(target=self._beat, name="imgvar-lock", daemon=True)
        self._thread.start()

    def confirm(self) -> None:
        """Raise if another run has written its lock since: of two that begin at once, the first to write gives way."""
        lock = self._look()
        if lock is not None and _fields(lock).get("id") not in (self._id, self._overwritten):
            raise self._refusal(lock)

    def lost(self) -> str | None:
        """Return a line that says that another run has the lock; None while this one has it.

        After a silence that lets others take the lock, such as a laptop's sleep, the object store is asked first.
        """
        if self._silent_s() > _DEAD_S and self._asked != self._beaten:
            self._asked = self._beaten
            self._check()
        if self._taken_after_s is None:
            return None
        return plain(
            f"another run took over {self._folder.address} after this one was silent for "
            f"{self._taken_after_s:,.0f} s; what was finished is on record; wait for the other run, or run the same "
            "again after it"
        )

    def _silent_s(self) -> float:
        return _clock_s() - self._beaten

    def _look(self) -> bytes | None:
        """Return the lock; one that can't be understood is read again, since a broken read is no other run."""
        lock = None
        for number in range(_READS):
            if number:
                time.sleep(_AGAIN_S)
            try:
                lock = self._folder.read(LOCK)
            except FileNotFoundError:
                return None
            if _fields(lock).get("id") is not None:
                break
        return lock

    def _write(self) -> None:
        self._beats += 1
        began = _clock_s()
        self._folder.write(LOCK, json.dumps({**self._owner, "beat": self._beats}).encode())
        self._beaten = began

    def _take_over(self, before: bytes, notice: Callable[[str], object] | None) -> None:
        """Return when the run of a lock is known to be dead; raise if it is alive."""
        fields = _fields(before)
        if fields.get("id") in _ids:
            raise self._refusal(before)
        if _is_dead(fields):
            return
        if notice is not None:
            notice(
                plain(
                    f"{self._folder.address} {_owner(fields)}; looking up to {_DEAD_S:g} s whether it goes on"
                )
            )
        deadline = time.monotonic() + _DEAD_S
        while time.monotonic() < deadline:
            time.sleep(_LOOK_S)
            now = self._look()
            if now is None:  # It has ended meanwhile.
                return
            if now != before:
                raise self._refusal(now)

    def _refusal(self, lock: bytes) -> InvalidRequestError:
        return InvalidRequestError(
            plain(
                f"another run is writing to {self._folder.address}, which {_owner(_fields(lock))}; wait for it, or "
                "choose another out_dir"
            ),
            field="out_dir",
        )

    def _beat(self) -> None:
        while not self._released.wait(_BEAT_S) and self._taken_after_s is None:
            if self._check():
                try:
                    self._write()
                except (ImageVariationError, OSError) as exc:  # The next beat tries again.
                    _log.info("%s: %s", self._folder.address, exc)

    def _check(self) -> bool:
        """Return whether the lock is still this run's, and note where another run has taken it."""
        try:
            lock = self._look()
        except (ImageVariationError, OSError) as exc:
            _log.info("%s: %s", self._folder.address, exc)
            return False
        silent_s = self._silent_s()
        # The last write of a dead run may arrive after the first one of this run.
        mine = (self._id, self._overwritten, None)
        # A lock that is gone after a silence was taken by a run that has ended since.
        if _fields(lock).get("id") in mine and (lock is not None or silent_s <= _DEAD_S):
            return True
        if self._taken_after_s is None and not self._released.is_set():
            self._taken_after_s = silent_s
            _log.warning("another run took over %s", self._folder.address)
        return False

    def release(self) -> None:
        """Remove the lock, if it is still this run's; a second call does nothing."""
        if self._released.is_set():
            return
        self._released.set()
        self._thread.join()
        _ids.discard(self._id)
        # A lock that stays is taken over by the next run.
        with contextlib.suppress(ImageVariationError, OSError):
            if _fields(self._look()).get("id") == self._id:
                self._folder.remove([LOCK])


def _here() -> dict[str, Any]:
    """Return what tells this process from all others, as far as the system says; "" for what it does not say."""
    # Machines may share a host name, the number of the first namespace of processes and numbers of processes, but no
    # start; containers of one machine share its start, but no namespace.
    boot = space = ""
    with contextlib.suppress(OSError):
        boot = Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()
        space = os.readlink("/proc/self/ns/pid")  # noqa: PTH115 - its target is no path
    pid = os.getpid()
    return {"host": socket.gethostname(), "boot": boot, "space": space, "pid": pid, "started": _started(pid)}


def _started(pid: int) -> str:
    """Return when a process began, in ticks since the machine's start; "" where the system does not say."""
    with contextlib.suppress(OSError, IndexError):
        # The second field, the program's name, may hold spaces and parentheses; the 22nd is the start.
        return Path(f"/proc/{pid}/stat").read_text("utf-8", "replace").rpartition(")")[2].split()[19]
    return ""


def _is_dead(fields: dict[str, Any]) -> bool:
    """Return whether a lock's process is known to be gone; False where only its beats can tell."""
    here, pid, started = _here(), fields.get("pid"), fields.get("started")
    machine = [here[name] for name in ("host", "boot", "space")]
    if machine != [fields.get(name) for name in ("host", "boot", "space")] or not all(machine):
        return False
    if not isinstance(pid, int) or pid <= 0 or not started or not here["started"]:
        return False
    if pid == here["pid"]:  # The runs of this process are known: it has ended, or its number was reused.
        return True
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    except (OSError, OverflowError):  # Another user's process, which may be a later one of this number.
        pass
    now = _started(pid)
    return bool(now) and now != started


def _clock_s() -> float:
    """Return seconds that go on while the machine sleeps, where the system counts them."""
    # Emscripten has the clock's name alone; Windows and macOS have neither.
    with contextlib.suppress(OSError, AttributeError):
        return time.clock_gettime(time.CLOCK_BOOTTIME)
    return time.monotonic()


def _fields(lock: bytes | None) -> dict[str, Any]:
    with contextlib.suppress(ValueError, RecursionError):
        fields = json.loads(lock or b"{}")
        if isinstance(fields, dict):
            return fields
    return {}


def _owner(fields: dict[str, Any]) -> str:
    """Return host, process and age of a lock in words."""
    began = fields.get("began")
    age = ""
    if isinstance(began, (int, float)):
        seconds = max(0, time.time() - began)  # The clocks of two machines differ.
        age = f", begun {seconds:,.0f} s ago"
    return f"is locked by process {fields.get('pid')} on {fields.get('host')}{age}"
