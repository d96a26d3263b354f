"""Locks on open files. They end with their process, however it ends, and so tell whether it still lives.

A process's number can't tell: the system gives it to another one later. A lock lasts as long as the file is open.
"""

from __future__ import annotations

import contextlib
import os
import sys
import time
from typing import Final

__all__ = ["lock", "remove_if_free"]

#: Offset of the byte that Windows locks: other processes can't read locked bytes, and none is written so far out.
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
    """Remove a file if no process holds its lock, and return whether that was so; without locks, its age decides.

    It is removed under its lock, so that a process that has just made it finds it either locked or gone.
    """
    try:
        file = os.open(path, os.O_RDWR)
    except OSError:
        return False
    try:
        free = lock(file)
    except OSError:
        free = time.time() - os.fstat(file).st_mtime > _STALE_S
    if sys.platform == "win32":  # An open file can't be removed there.
        os.close(file)
    if free:
        with contextlib.suppress(OSError):
            os.unlink(path)  # noqa: PTH108
    if sys.platform != "win32":
        os.close(file)
    return free
