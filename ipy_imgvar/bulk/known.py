"""What earlier runs of a folder have done: each item by its id, and images that lie elsewhere now by their content.

An image whose id is in no record may be one that was moved, or that is named from another working folder. It is
compared with the records of images of the same size in bytes. A few such records go to the worker, which hashes the
image anyway; where there are many, the image is hashed here, and one record is left.
"""

from __future__ import annotations

import contextlib
import os
from bisect import bisect_left
from struct import Struct
from typing import TYPE_CHECKING, Any, Final, Protocol

from ipy_imgvar.bulk.items import digest
from ipy_imgvar.bulk.work import whole_files
from ipy_imgvar.errors import ImageVariationError
from ipy_imgvar.images.source import Source, load_sources
from ipy_imgvar.storage.addresses import is_address
from ipy_imgvar.storage.objects import stat

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from ipy_imgvar.bulk.items import ReadyItem
    from ipy_imgvar.storage.folder import Folder

__all__ = ["Known", "Lines", "Sizes", "is_unchanged", "kept_of"]

#: The size of an image in bytes, the first 8 bytes of its SHA-256, and the offset of its record: in this order, so that
#: sorted entries of one size, and of one content, lie side by side. An entry takes about 65 bytes of memory.
_ENTRY: Final = Struct(">Q8sQ")
#: The largest size that an entry can hold; a record that says more is no record of ours.
_MOST_BYTES: Final = 2**63
#: Records that a worker gets to compare an image with: about 5 kB, little beside the image itself.
_MOST_ALIKE: Final = 16


class Lines(Protocol):
    """A ledger, as far as it is read."""

    def offset(self, item: str) -> int | None:
        """Return the offset of an item's last record, or None."""

    def offsets(self) -> Iterable[int]:
        """Return the offset of each item's last record."""

    def at(self, offset: int) -> dict[str, Any] | None:
        """Return the record at an offset."""


class Known:
    """The finished items of a ledger.

    Parameters
    ----------
    lines
        The ledger.
    folder
        The folder of the pictures. In a bucket, its objects are listed once, when the first record is looked at.
    is_same
        Whether a record's settings give the same pictures as those of this run.
    first_offset
        Records before this offset don't count.
    """

    def __init__(
        self, lines: Lines, folder: Folder, is_same: Callable[[Any], bool], first_offset: int = 0
    ) -> None:
        self._lines = lines
        self._folder = folder
        self._sizes: Sizes | None = None
        self._is_same = is_same
        self._first_offset = first_offset
        #: Records that this run has found again, by their offsets; None once `_entries` is there, which lacks them.
        self._found: set[int] | None = set()
        self._entries: list[bytes] = []
        #: The last record of an earlier run, or -1. Those of this run are no candidates: an image that comes twice in a
        #: run is made for each path.
        self._last_offset = -1 if first_offset else max(lines.offsets(), default=-1)

    @property
    def is_empty(self) -> bool:
        """No record counts."""
        return self._last_offset < 0

    def record(self, item: str) -> dict[str, Any] | None:
        """Return an item's record if the same settings finished it, else None.

        One that a later failure has kept has the field `kept`: its line is not the item's last one.
        """
        offset = self._lines.offset(item)
        if offset is None or 0 <= offset < self._first_offset:
            return None
        record = self._done_at(offset)
        if record is None:
            return None
        self.take(record, offset)
        # In a bucket, the worker takes the run's word that the pictures are whole.
        is_old = 0 <= offset <= self._last_offset or "kept" in record
        is_trusted = self._folder.is_local or not is_old
        return record if is_trusted or self.is_whole(record) else None

    def has_other(self, item: str) -> bool:
        """Return whether an item's record is of pictures by other settings."""
        offset = self._lines.offset(item)
        if offset is None or 0 <= offset < self._first_offset:
            return False
        record = self._lines.at(offset) or {}
        return record.get("status") == "done" and not self._is_same(record.get("request"))

    def alike(self, ready: ReadyItem, sha256: str | None = None) -> list[dict[str, Any]]:
        """Return records of the same settings that may be of the same image, and were not taken.

        Parameters
        ----------
        ready
            An item without a record.
        sha256
            The hash of its bytes, if it is known.
        """
        size = None if self._last_offset < 0 else self.size(ready) or _asked_size(ready)
        if size is None:
            return []
        offsets = self._offsets(size, sha256)
        if len(offsets) > _MOST_ALIKE and sha256 is None:
            with contextlib.suppress(ImageVariationError):  # The worker says what is wrong with it.
                offsets = self._offsets(size, _hash(ready))
        records = ((offset, self._done_at(offset) or {}) for offset in offsets[:_MOST_ALIKE])
        return [
            record | {"offset": offset}
            for offset, record in records
            if self._folder.is_local or self.is_whole(record)
        ]

    def finds(self, ready: ReadyItem) -> bool:
        """Return whether an item is done, as far as that can be told without reading images from elsewhere.

        A file without a record of its own is read if a record has its size.
        """
        record = self.record(ready.item)
        if record is None and self.size(ready) is not None:
            alike = self.alike(ready)
            if ready.is_file or isinstance(ready.image, Source):
                with contextlib.suppress(ImageVariationError):
                    alike = self.alike(ready, _hash(ready)) if alike else []
            else:
                alike = [each for each in alike if is_unchanged(ready, each)]
            record = next(iter(alike), None)
            if record is not None:
                self.take(record, record["offset"])
        return record is not None and self.is_whole(record)

    def is_whole(self, record: dict[str, Any]) -> bool:
        """Return whether a record's pictures are there, each of its size."""
        if self._folder.is_local:
            return whole_files(record, self._folder.size) is not None
        if self._sizes is None:
            self._sizes = Sizes(self._folder)
        return whole_files(record, self._sizes.of) is not None

    def take(self, record: dict[str, Any], offset: int) -> bool:
        """Take a record out of what `alike` returns; return whether it was there."""
        if self._found is not None:
            self._found.add(offset)
            return True
        entry = _entry(record, offset)
        index = bisect_left(self._entries, entry) if entry is not None else len(self._entries)
        if index < len(self._entries) and self._entries[index] == entry:
            del self._entries[index]
            return True
        return False

    @staticmethod
    def size(ready: ReadyItem) -> int | None:
        """Return the size of an item's image in bytes, or None if it is not known without reading it."""
        if isinstance(ready.image, Source):
            return len(ready.image.read())
        if ready.is_file:
            with contextlib.suppress(OSError, ValueError):  # A missing file fails in its turn.
                return os.stat(ready.image).st_size  # noqa: PTH116 - 20 times as fast
        return ready.size

    def _offsets(self, size: int, sha256: str | None) -> list[int]:
        """Return the offsets of the records of images of a size, and of a hash if it is known."""
        if self._found is not None:
            self._read_all(self._found)
            self._found = None
        digest = b"" if sha256 is None else bytes.fromhex(sha256)[:8]
        begin = size.to_bytes(8) + digest
        offsets = []
        for index in range(bisect_left(self._entries, begin), len(self._entries)):
            if not self._entries[index].startswith(begin):
                break
            offsets.append(_ENTRY.unpack(self._entries[index])[2])
            if len(offsets) > _MOST_ALIKE:
                break
        return offsets

    def _read_all(self, found: set[int]) -> None:
        """Read the records of images that may lie elsewhere now: once, and only if an image without a record comes."""
        for offset in self._lines.offsets():
            if 0 <= offset <= self._last_offset and offset not in found:
                record = self._done_at(offset)
                entry = None if record is None else _entry(record, offset)
                if entry is not None:
                    self._entries.append(entry)
        self._entries.sort()

    def _done_at(self, offset: int) -> dict[str, Any] | None:
        """Return the finished record at an offset, or the one that a failure there has kept, of the same settings."""
        record = self._lines.at(offset) or {}
        if record.get("status") == "failed" and not self._first_offset and (kept := kept_of(record)):
            record = kept | {"kept": True}
        return record if record.get("status") == "done" and self._is_same(record.get("request")) else None


def kept_of(record: dict[str, Any]) -> dict[str, Any] | None:
    """Return the finished record that must outlive a record: it itself, or the one that it has kept; None without one.

    A failure is an item's last line, but its pictures of an earlier run are still there, and may be paid for.
    """
    kept = record.get("kept") if record.get("status") == "failed" else record
    if not isinstance(kept, dict) or kept.get("status") != "done":
        return None
    return {name: value for name, value in kept.items() if name not in ("kept", "replaces")}


class Sizes:
    """The sizes of all files of a folder, by one listing: about 60 bytes of memory a file.

    Parameters
    ----------
    folder
        The folder, which is listed at once.
    """

    def __init__(self, folder: Folder) -> None:
        names = ((each.address.rpartition("/")[2], each.size or 0) for each in folder.names())
        self._entries = sorted(_short(name) + size.to_bytes(8) for name, size in names)

    def of(self, name: str) -> int | None:
        """Return the size of a file in bytes, or None where it was missing."""
        begin = _short(name)
        index = bisect_left(self._entries, begin)
        if index == len(self._entries) or not self._entries[index].startswith(begin):
            return None
        return int.from_bytes(self._entries[index][8:])


def _short(name: str) -> bytes:
    """Return 8 bytes of the hash of a name, which tell the files of a folder apart."""
    return digest(name)[:8]


def _entry(record: dict[str, Any], offset: int) -> bytes | None:
    """Return a record's entry; None for one of an older version, or an odd one."""
    size, sha256, item = record.get("bytes"), record.get("sha256"), record.get("item")
    if not isinstance(size, int) or not 0 <= size < _MOST_BYTES or not isinstance(item, str):
        return None
    try:
        return _ENTRY.pack(size, bytes.fromhex(sha256)[:8], offset)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return None


def _asked_size(ready: ReadyItem) -> int | None:
    """Return the size in bytes of an object that was given by its address and not listed, by one request."""
    if isinstance(ready.image, str) and is_address(ready.image) and not ready.is_file:
        with contextlib.suppress(ImageVariationError):  # The worker says what is wrong with it.
            return stat(ready.image).size
    return None


def _hash(ready: ReadyItem) -> str:
    """Return the SHA-256 of an item's image, which is read for it."""
    return load_sources(ready.image)[0].sha256


def is_unchanged(ready: ReadyItem, record: dict[str, Any]) -> bool:
    """Return whether a listing says of an object what a record says of it, so that it need not be read."""
    return (
        ready.version is not None
        and ready.version == record.get("version")
        and ready.size is not None
        and ready.size == record.get("bytes")
    )
