"""Locks on open files that end with their process, however it ends: what tells whether a process still lives.

A process's number can't: it is given again. A lock is the operating system's and lasts as long as the file is open.
"""

from __future__ import annotations

import os
import sys
import time
from typing import Final

__all__ = ["is_free", "lock"]

#: Windows locks bytes, and what is locked can't be read by others; nothing is ever written so far out.
_FAR_BYTE: Final = 1 << 30
_STALE_S: Final = 86_400.0


def lock(file: int) -> bool:
    """Take the lock of an open file, and keep it until the file is closed.

    Parameters
    ----------
    file
        A file descriptor.

    Returns
    -------
    bool
        Whether it was free.

    Raises
    ------
    OSError
        If the file system has no locks.
    """
    if sys.platform == "win32":
        import msvcrt

        os.lseek(file, _FAR_BYTE, os.SEEK_SET)
        try:
            msvcrt.locking(file, msvcrt.LK_NBLCK, 1)
        except PermissionError:
            return False
        return True
    import fcntl

    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def is_free(path: str) -> bool:
    """Return whether nobody holds the lock of a file; without locks, whether nobody wrote to it for a day."""
    try:
        file = os.open(path, os.O_RDWR)
    except OSError:
        return False
    try:
        return lock(file)
    except OSError:
        return time.time() - os.fstat(file).st_mtime > _STALE_S
    finally:
        os.close(file)
