"""The runs of a store that living processes are making, or whose results they hold.

Each process has one file in the store, which it keeps locked and appends a line to: `+run` when it begins a run,
`-run` when it has let go of the results. A file without a lock is a dead process's, and is removed.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import threading
from pathlib import Path
from typing import Final

from ipy_imgvar.results.locks import lock, remove_if_free

__all__ = ["Holders"]

_FOLDER: Final = "holders"


class Holders:
    """The holders of one store.

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
        # A run may be let go of at any instant, also while this thread notes another one.
        self._lock = threading.RLock()

    def hold(self, name: str) -> None:
        """Keep a run from being removed by other processes, from now on."""
        self._note(f"+{name}\n")

    def release(self, name: str) -> None:
        """Let go of a run."""
        # The file of a parent that forked is the parent's to write to.
        if self._pid == os.getpid():
            self._note(f"-{name}\n")

    def others_wrote(self) -> bool:
        """Return whether another process may have written to the store since the last call."""
        seen = self._seen
        with contextlib.suppress(OSError):
            # A process that has come and gone left no file, but the folder's time has changed.
            self._seen = os.stat(self._folder).st_mtime_ns  # noqa: PTH116 - twice a run
            return seen != self._seen or len(os.listdir(self._folder)) > 1  # noqa: PTH208
        return False

    def held(self) -> set[str]:
        """Return the names of the runs that living processes hold, and remove what dead ones left."""
        names: set[str] = set()
        with contextlib.suppress(OSError):
            for entry in os.scandir(self._folder):
                if not remove_if_free(entry.path):
                    names |= _names_in(entry.path)
        return names

    def close(self) -> None:
        """Let go of everything."""
        with self._lock:
            if self._file is not None:
                os.close(self._file)
                self._file = None

    def _note(self, line: str) -> None:
        # A store that can't be written holds nothing worth guarding, and the run itself says so.
        with self._lock, contextlib.suppress(OSError):
            # The user may have removed the store; runs from now on are guarded anew.
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
            with contextlib.suppress(OSError):  # Without locks, its age tells whether it is in use.
                is_ours = lock(file)
            # Before it was locked, another process may have removed it as a dead one's.
            if is_ours and path.exists():
                return file
            os.close(file)


def _names_in(path: str) -> set[str]:
    names: set[str] = set()
    with contextlib.suppress(OSError):
        for line in Path(path).read_text("utf-8", "replace").splitlines():
            (names.add if line[:1] == "+" else names.discard)(line[1:])
    return names
