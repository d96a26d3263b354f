"""A small stand-in for Windows' module `msvcrt`: its locks on bytes, as `results.locks` uses them."""

import os
from types import ModuleType

#: Which descriptor holds which byte: (device, inode, offset) -> descriptor.
_held = {}


def _file(descriptor):
    found = os.fstat(descriptor)
    return found.st_dev, found.st_ino


def _is_open(descriptor, file):
    try:
        return _file(descriptor) == file
    except OSError:  # It was closed, and its locks ended.
        return False


def locking(descriptor, mode, size_bytes):
    """Lock bytes from the descriptor's position; PermissionError where another descriptor holds one of them."""
    assert mode == msvcrt.LK_NBLCK
    file, start = _file(descriptor), os.lseek(descriptor, 0, os.SEEK_CUR)
    assert start >= os.fstat(descriptor).st_size, "other programs could not read the file"
    for offset in range(start, start + size_bytes):
        holder = _held.get((*file, offset))
        # The same number again is a later descriptor: nothing here locks twice.
        if holder not in (None, descriptor) and _is_open(holder, file):
            raise PermissionError(13, "Permission denied")
    for offset in range(start, start + size_bytes):
        _held[(*file, offset)] = descriptor


msvcrt = ModuleType("msvcrt")
msvcrt.LK_NBLCK = 2
msvcrt.locking = locking
