"""The runs of a store that processes still need: they make the run, or hold its results in memory.

Each process has one locked file in the store. It appends a line `+run` when it begins a run, and `-run` when it has
released the results. A file without a lock belongs to a dead process, and is removed.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import threading
from pathlib import Path
from typing import Final

from ipy_imgvar.results.locks import is_free, lock, remove_if_free

__all__ = ["Holders"]

#: The name of the folder, in the store, of the processes' files.
_FOLDER: Final = "holders"


class Holders:
    """The register of the processes that use one store.

    Parameters
    ----------
    root
        The store's folder; a folder `holders` is made in it when the first run begins.
    """

    def __init__(self, root: Path) -> None:
        self._folder = root / _FOLDER
        self._file: int | None = None
        self._pid = 0
        self._seen = 0
        # Reentrant: the garbage collector may call `release` while this thread writes another line.
        self._lock = threading.RLock()

    def hold(self, name: str) -> None:
        """Protect a run from removal by other processes."""
        self._note(f"+{name}\n")

    def release(self, name: str) -> None:
        """End the protection of a run."""
        # After a fork, the file belongs to the parent process.
        if self._pid == os.getpid():
            self._note(f"-{name}\n")

    def others_wrote(self) -> bool:
        """Return whether another process may have written to the store since the last call."""
        seen = self._seen
        with contextlib.suppress(OSError):
            # A process that has ended may have left no file, but the folder's time shows that it was there.
            self._seen = os.stat(self._folder).st_mtime_ns  # noqa: PTH116 - twice a run
            return seen != self._seen or len(os.listdir(self._folder)) > 1  # noqa: PTH208
        return False

    def held(self, *, tidy: bool = True) -> set[str]:
        """Return the names of the runs that living processes hold; `tidy` removes the files of dead processes."""
        is_dead = remove_if_free if tidy else is_free
        names: set[str] = set()
        with contextlib.suppress(OSError):
            for entry in os.scandir(self._folder):
                if not is_dead(entry.path):
                    names |= _names_in(entry.path)
        return names

    def close(self) -> None:
        """End the protection of all this process's runs."""
        with self._lock:
            if self._file is not None:
                os.close(self._file)
                self._file = None

    def _note(self, line: str) -> None:
        # A store that can't be written has no new run to protect, and the recorder warns of it.
        with self._lock, contextlib.suppress(OSError):
            # The user may have removed the store; then a new file protects the later runs.
            if self._file is None or self._pid != os.getpid() or not os.fstat(self._file).st_nlink:
                self._file = self._opened()
                self._pid = os.getpid()
            os.write(self._file, line.encode())

    def _opened(self) -> int:
        self._folder.mkdir(parents=True, exist_ok=True)
        while True:
            path = self._folder / f"{os.getpid()}-{secrets.token_hex(4)}"
            file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o600)
            is_ours = True
            with contextlib.suppress(OSError):  # Without locks, the file's age shows whether it is in use.
                is_ours = lock(file)
            # Another process may have removed the file, as a dead process's, before it was locked.
            if is_ours and path.exists():
                return file
            os.close(file)


def _names_in(path: str) -> set[str]:
    names: set[str] = set()
    with contextlib.suppress(OSError):
        for line in Path(path).read_text("utf-8", "replace").splitlines():
            (names.add if line[:1] == "+" else names.discard)(line[1:])
    return names
