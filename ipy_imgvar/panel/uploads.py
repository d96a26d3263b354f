"""Files that a page sends in pieces: checks each piece and puts them together. No widgets.

A page may send anything, so a piece that does not fit ends its upload; a failed upload never harms the next one.
"""

from __future__ import annotations

from dataclasses import dataclass
from io import BytesIO
from typing import Final

from ipy_imgvar.errors import InvalidImageError, shown
from ipy_imgvar.plain import plain

__all__ = ["PIECE_BYTES", "PIECE_MAX_BYTES", "UPLOAD_MAX_BYTES", "Uploads"]

#: Bytes of a file; the page checks it before it reads the file.
UPLOAD_MAX_BYTES: Final = 64_000_000
#: Bytes of the pieces that the page cuts: Colab loses messages above 1 MB, and a message has a head besides.
PIECE_BYTES: Final = 900_000
#: Bytes of a piece that is still accepted.
PIECE_MAX_BYTES: Final = 1_000_000
#: What a file may be used for.
_PURPOSES: Final = ("source", "mask")
#: Characters of a file's name: the end counts, since it has the extension.
_NAME_MAX: Final = 120
_AGAIN: Final = "choose the file again"


@dataclass(slots=True)
class _Upload:
    key: str
    name: str
    size: int
    purpose: str
    #: Its position is the number of bytes received.
    file: BytesIO

    def fault_of(self, offset: object, data: object) -> str:
        """Return why a piece is not the next one, or ""."""
        received = self.file.tell()
        if not _is_whole(offset) or offset != received:
            return f"a piece of {self.name} came for byte {shown(offset)} in place of byte {received}"
        if not isinstance(data, bytes | memoryview):
            return f"a piece of {self.name} came without bytes"
        length = memoryview(data).nbytes
        if not 0 < length <= PIECE_MAX_BYTES:
            return f"a piece of {self.name} has {length} bytes; allowed: 1 to {PIECE_MAX_BYTES}"
        if received + length > self.size:
            return f"{self.name} has more than the {self.size} bytes it was said to have"
        return ""


class Uploads:
    """Puts the pieces of one upload at a time together, in memory of the file's size."""

    def __init__(self) -> None:
        self._current: _Upload | None = None

    def begin(self, upload: str, name: str, size: int, purpose: str) -> None:
        """Begin an upload, in place of an older one that is not complete.

        Parameters
        ----------
        upload
            The page's key for this upload.
        name
            The file's name; only its last part counts.
        size
            The file's bytes, at most `UPLOAD_MAX_BYTES`.
        purpose
            "source" or "mask".

        Raises
        ------
        InvalidImageError
            If the file can't be taken; an older upload goes on.
        """
        if purpose not in _PURPOSES:
            raise InvalidImageError(
                f"the page sent a file as {shown(purpose)}; allowed: {' or '.join(_PURPOSES)}; reload the page"
            )
        if not _is_whole(size) or size < 0:
            raise InvalidImageError(f"the page sent a file of {shown(size)} bytes; {_AGAIN}")
        title = _title(name)
        if size == 0:
            raise InvalidImageError(f"{title} is empty; choose another file")
        if size > UPLOAD_MAX_BYTES:
            raise InvalidImageError(
                f"{title} has {shown(size // 1_000_000)} MB; at most {UPLOAD_MAX_BYTES // 1_000_000} MB can be "
                "uploaded; type its path instead"
            )
        # A `BytesIO` writes into the only reference to its bytes, and gives them away without a copy; the system
        # provides the memory of zeros as they are overwritten.
        self._current = _Upload(upload, title, size, purpose, BytesIO(bytes(size)))

    def add(self, upload: str, offset: int, data: bytes | memoryview) -> int:
        """Add the next piece, and return the number of bytes received so far.

        Raises
        ------
        InvalidImageError
            If the piece is not the next one of this upload, or has too many bytes; this upload ends.
        """
        current = self._find(upload)
        if fault := current.fault_of(offset, data):
            self._current = None
            raise InvalidImageError(f"{fault}; {_AGAIN}")
        current.file.write(data)
        return current.file.tell()

    def finished(self, upload: str) -> tuple[str, bytes, str] | None:
        """Return name, bytes and purpose of a complete upload and forget it; None while pieces are missing."""
        current = self._find(upload)
        if current.file.tell() < current.size:
            return None
        self._current = None
        return current.name, current.file.getvalue(), current.purpose

    def cancel(self, upload: str) -> None:
        """Forget an upload and free its memory; another one goes on."""
        if self._current is not None and self._current.key == upload:
            self._current = None

    def close(self) -> None:
        """Forget what is not complete; safe to call twice."""
        self._current = None

    def _find(self, upload: str) -> _Upload:
        if self._current is None or self._current.key != upload:
            raise InvalidImageError(f"this upload has ended, or another file has replaced it; {_AGAIN}")
        return self._current


def _is_whole(value: object) -> bool:
    # A bool is an int to Python.
    return isinstance(value, int) and not isinstance(value, bool)


def _title(name: str) -> str:
    """Return the last part of a file's name, of Windows too, as plain text."""
    last = plain(name.replace("\\", "/").rstrip("/").rpartition("/")[2]).strip()
    return last[-_NAME_MAX:] if last.strip(".") else "upload"
