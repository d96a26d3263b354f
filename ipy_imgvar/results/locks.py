"""Locks on open files. The system frees a process's locks at its end, even a crash, so they show if it is alive.

Process ids don't show it: the system gives an id to another process later. A lock lasts as long as the file is open.
"""

from __future__ import annotations

import contextlib
import errno
import os
import sys
import time
from typing import Final

from ipy_imgvar.systems import on_windows

__all__ = ["is_free", "lock", "remove_if_free"]

#: Offset of the byte that is locked on Windows, 1 GiB: other processes can't read locked bytes there, so it lies far
#: beyond the end of the file.
_FAR_BYTE: Final = 1 << 30
#: Seconds without a write, a day, after which a file counts as a dead process's where the file system has no locks.
_STALE_S: Final = 86_400.0


def lock(file: int) -> bool:
    """Lock an open file until it is closed, without waiting.

    Parameters
    ----------
    file
        A file descriptor.

    Returns
    -------
    bool
        Whether the lock was free, and is now held.

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
    try:
        import fcntl
    except ImportError as exc:  # Some builds for a browser.
        raise OSError(errno.ENOTSUP, "this Python has no file locks") from exc
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def is_free(path: str) -> bool:
    """Return whether no process holds a file's lock, and write nothing; without locks, its age decides."""
    try:
        file = os.open(path, os.O_RDONLY)
    except OSError:
        return False
    try:
        return _is_free(file)
    finally:
        os.close(file)


def _is_free(file: int) -> bool:
    """Lock an open file, or return False; without locks, return whether it is old."""
    try:
        return lock(file)
    except OSError:
        return time.time() - os.fstat(file).st_mtime > _STALE_S


def remove_if_free(path: str) -> bool:
    """Remove a file if no process holds its lock, and return whether none did; without locks, its age decides.

    The lock is held during the removal, so that a process that has just made the file sees it either locked or gone.
    """
    try:
        file = os.open(path, os.O_RDWR)
    except OSError:
        return False
    free = _is_free(file)
    if on_windows():  # An open file can't be removed there.
        os.close(file)
    if free:
        with contextlib.suppress(OSError):
            os.unlink(path)  # noqa: PTH108
    if not on_windows():
        os.close(file)
    return free
