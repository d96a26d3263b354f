"""Files for what is too large for memory: lines on their way up, and answers on their way down."""

from __future__ import annotations

from contextlib import contextmanager, suppress
from tempfile import TemporaryFile
from typing import IO, TYPE_CHECKING

from ipy_imgvar.errors import ImageVariationError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ipy_imgvar.storage.folder import Folder

__all__ = ["in_words", "open_spool"]


def open_spool(folder: Folder) -> IO[bytes]:
    """Return an empty file without a name, so that nothing stays of it after a kill: it holds the user's pictures.

    It lies in the output folder if that is local, since the system's folder for such files may be small.
    """
    if folder.is_local:
        with suppress(OSError):  # The folder may be gone.
            return TemporaryFile(dir=folder.address)
    return TemporaryFile()


@contextmanager
def in_words(folder: Folder) -> Iterator[None]:
    """Raise `ImageVariationError` in the place of the system's error on such a file."""
    try:
        yield
    except OSError as exc:
        where = folder.address if folder.is_local else "the folder for temporary files"
        raise ImageVariationError(
            f"{where} can't take what is sent or fetched ({exc.strerror or exc}); make room there, and the same again "
            "goes on"
        ) from exc
