"""Files that come from the page in pieces."""

from __future__ import annotations

from typing import Final

__all__ = ["PIECE_BYTES", "UPLOAD_MAX_BYTES", "Uploads"]

#: Bytes of a file; the page checks it before it reads the file.
UPLOAD_MAX_BYTES: Final = 64_000_000
#: Bytes of a piece: Colab loses messages above 1 MB.
PIECE_BYTES: Final = 900_000


class Uploads:
    """Puts the pieces of one upload together."""

    def __init__(self) -> None:
        self._known: dict[str, tuple[str, int, str, bytearray]] = {}

    def begin(self, upload: str, name: str, size: int, purpose: str) -> None:
        """Begin an upload; it replaces an earlier one."""
        self._known = {upload: (name, size, purpose, bytearray())}

    def add(self, upload: str, offset: int, data: bytes) -> int:  # noqa: ARG002
        """Add a piece, and return the number of bytes so far."""
        self._known[upload][3].extend(data)
        return len(self._known[upload][3])

    def finished(self, upload: str) -> tuple[str, bytes, str] | None:
        """Return name, bytes and purpose of a complete upload."""
        name, size, purpose, data = self._known[upload]
        return (name, bytes(data), purpose) if len(data) == size else None

    def cancel(self, upload: str) -> None:
        """Forget an upload."""
        self._known.pop(upload, None)

    def close(self) -> None:
        """Forget everything."""
        self._known.clear()
