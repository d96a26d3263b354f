"""Pictures with an address: they lie in a private folder, for a limited time and within a bound of bytes.

An address ends in a name of 128 random bits, so only a client that was given the address can read the picture. It needs
no key. The API's own addresses work the same way.
"""

from __future__ import annotations

import contextlib
import secrets
import shutil
import tempfile
import threading
import time
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from ipy_imgvar.storage.disk import write_atomic

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["LinkedPicture", "Links"]

#: Random bytes of a name: 128 bits, too many to guess.
_NAME_BYTES: Final = 16


@dataclass(frozen=True, slots=True)
class LinkedPicture:
    """A picture on disk: its path, its type by content, its size, and the end of its life by the clock of `Links`."""

    path: Path
    mime_type: str
    size_bytes: int
    gone_at_s: float


class Links:
    """The folder of pictures with an address.

    Parameters
    ----------
    max_bytes
        The bound of all pictures together; the oldest are removed first.
    lifetime_s
        The seconds for which a picture can be read.
    clock
        Returns seconds that only grow; tests pass their own.
    """

    def __init__(
        self, max_bytes: int, lifetime_s: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._max_bytes = max_bytes
        self._lifetime_s = lifetime_s
        self._clock = clock
        # `mkdtemp` lets no other user of the machine in.
        self._folder = Path(tempfile.mkdtemp(prefix="imgvar-pictures-"))
        #: The pictures by name, the oldest first.
        self._pictures: OrderedDict[str, LinkedPicture] = OrderedDict()
        self._lock = threading.Lock()

    def add(self, data: bytes, mime_type: str) -> str:
        """Write a picture to the folder and return its name."""
        name = secrets.token_urlsafe(_NAME_BYTES)
        path = self._folder / name
        write_atomic(path, data)
        with self._lock:
            self._pictures[name] = LinkedPicture(path, mime_type, len(data), self._clock() + self._lifetime_s)
        self.tidy()
        return name

    def read(self, name: str) -> tuple[bytes, str] | None:
        """Return a picture's bytes and MIME type, or None if the name is unknown or its time is over."""
        self.tidy()
        with self._lock:
            picture = self._pictures.get(name)
        if picture is None:
            return None
        # Another thread may remove the file after the lock is released.
        try:
            return picture.path.read_bytes(), picture.mime_type
        except OSError:
            return None

    def tidy(self) -> None:
        """Remove pictures whose time is over, and the oldest beyond the bound of bytes; the newest one stays."""
        with self._lock:
            total = sum(each.size_bytes for each in self._pictures.values())
            while self._pictures:
                name, oldest = next(iter(self._pictures.items()))
                too_much = total > self._max_bytes and len(self._pictures) > 1
                if oldest.gone_at_s > self._clock() and not too_much:
                    break
                del self._pictures[name]
                total -= oldest.size_bytes
                with contextlib.suppress(OSError):
                    oldest.path.unlink()

    @property
    def size_bytes(self) -> int:
        """The bytes of all files in the folder."""
        return sum(each.stat().st_size for each in self._folder.iterdir())

    def close(self) -> None:
        """Remove the folder with all pictures."""
        with self._lock:
            self._pictures.clear()
        shutil.rmtree(self._folder, ignore_errors=True)
