"""Locks on open files that end with their process, however it ends: what tells whether a process still lives.

A process's number can't: it is given again. A lock is the operating system's and lasts as long as the file is open.
"""

from __future__ import annotations

import contextlib
import os
import sys
import time
from typing import Final

__all__ = ["lock", "remove_if_free"]

#: Windows locks bytes, and what is locked can't be read by others; nothing is ever written so far out.
_FAR_BYTE: Final = 1 << 30
#: Seconds without a write after which a file without locks counts as left behind.
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


def remove_if_free(path: str) -> bool:
    """Remove a file whose lock nobody holds, and return whether that was so; without locks, its age decides.

    It is removed under its lock, so that one who has just made it finds it either locked or gone.
    """
    try:
        file = os.open(path, os.O_RDWR)
    except OSError:
        return False
    try:
        free = lock(file)
    except OSError:
        free = time.time() - os.fstat(file).st_mtime > _STALE_S
    if sys.platform == "win32":  # Nobody can remove a file there that is open.
        os.close(file)
    if free:
        with contextlib.suppress(OSError):
            os.unlink(path)  # noqa: PTH108
    if sys.platform != "win32":
        os.close(file)
    return free
