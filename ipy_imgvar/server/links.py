"""Pictures that are offered at an address: in a private folder, for an hour, within a bound.

An address is a name of 128 random bits and nothing else leads to a file, so the address is the permission,
as with the addresses that the API gives out.
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
from typing import TYPE_CHECKING

from ipy_imgvar.results.store import write_atomic

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["KeptPicture", "Links"]


@dataclass(frozen=True, slots=True)
class KeptPicture:
    """A picture on disk, its type by content, and when it goes, on the clock of its folder."""

    path: Path
    mime_type: str
    size_bytes: int
    gone_at_s: float


class Links:
    """The folder of pictures with an address.

    Parameters
    ----------
    max_bytes
        The bound for all of them; the oldest go first.
    lifetime_s
        How long each is offered.
    clock
        Seconds that only grow; for tests.
    """

    def __init__(
        self, max_bytes: int, lifetime_s: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._max_bytes = max_bytes
        self._lifetime_s = lifetime_s
        self._clock = clock
        self._folder = Path(tempfile.mkdtemp(prefix="imgvar-pictures-"))
        self._pictures: OrderedDict[str, KeptPicture] = OrderedDict()
        self._lock = threading.Lock()

    def add(self, data: bytes, mime_type: str) -> str:
        """Keep a picture and return its name."""
        name = secrets.token_urlsafe(16)
        path = self._folder / name
        write_atomic(path, data)
        with self._lock:
            self._pictures[name] = KeptPicture(path, mime_type, len(data), self._clock() + self._lifetime_s)
        self.tidy()
        return name

    def read(self, name: str) -> tuple[bytes, str] | None:
        """Return a picture's bytes and type, or None where there is none of that name, or no more."""
        self.tidy()
        with self._lock:
            picture = self._pictures.get(name)
        if picture is None:
            return None
        try:
            return picture.path.read_bytes(), picture.mime_type
        except OSError:
            return None

    def tidy(self) -> None:
        """Remove what is too old, and the oldest of what is too much; the newest stays."""
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
        """What lies on disk."""
        return sum(each.stat().st_size for each in self._folder.iterdir())

    def close(self) -> None:
        """Remove the folder."""
        with self._lock:
            self._pictures.clear()
        shutil.rmtree(self._folder, ignore_errors=True)
