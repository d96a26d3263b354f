"""Where a bulk run writes: a folder of the disk, or a prefix in an object store, with the same promises for both."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Protocol

from ipy_imgvar.errors import ImageVariationError, InvalidRequestError, shown
from ipy_imgvar.storage.addresses import fault_of, is_address, local_path, shown_address
from ipy_imgvar.storage.bucket import BucketFolder
from ipy_imgvar.storage.disk import checked_folder, write_atomic, write_whole_from
from ipy_imgvar.storage.listings import Object

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

__all__ = ["Folder", "LocalFolder", "open_folder"]


class Folder(Protocol):
    """A folder that files are written into, by names such as "cat-1.png" and "sources/cat.jpg".

    `write` puts a file there whole or not at all, for any reader and after any crash; it raises `ImageVariationError`.
    """

    @property
    def address(self) -> str:
        """The absolute path, or the address: neither has credentials, so it is shown and recorded."""

    @property
    def is_local(self) -> bool:
        """Whether it is on disk."""

    def check(self, *, write: bool = True) -> None:
        """Raise `InvalidRequestError` if no file can be written here; nothing stays of the check.

        Parameters
        ----------
        write
            Whether an object may be put and removed to learn it; a dry run only looks whether the bucket is there.
        """

    def write(self, name: str, data: bytes) -> None:
        """Write a file, replacing any of its name."""

    def write_file(self, name: str, file: IO[bytes]) -> None:
        """Write what an open file holds from its beginning to its end, as `write` does."""

    def read(self, name: str) -> bytes:
        """Return a file's content; raise `FileNotFoundError` where it is missing."""

    def download(self, name: str, file: IO[bytes]) -> bool:
        """Append a file's content to an open local file, and return whether it is there."""

    def size(self, name: str) -> int | None:
        """Return a file's size in bytes, or None where it is missing."""

    def names(self, prefix: str = "") -> Iterator[Object]:
        """Yield in order the files whose names begin with a prefix ("cat", "sources/"), none of a subfolder."""

    def remove(self, names: Iterable[str]) -> None:
        """Remove files; missing ones are no error."""

    def where(self, name: str) -> Path | str:
        """Return a file's path on disk, or its address."""


def open_folder(address: str | os.PathLike[str], *, field: str = "out_dir") -> Folder:
    """Return the folder at a path or an address; nothing is made or asked for yet.

    Parameters
    ----------
    address
        A path, a file: URL, or an address such as s3://bucket/pictures.
    field
        The argument that errors name.

    Raises
    ------
    InvalidRequestError
        If it is neither, or the address has credentials in it.
    """
    if not isinstance(address, (str, os.PathLike)) or not os.fsdecode(address).strip():
        raise InvalidRequestError(
            f"{field} is {shown(address)}; allowed: the path of a folder, or an address such as s3://bucket/pictures",
            field=field,
        )
    text = os.fsdecode(address)
    if wrong := fault_of(text):
        raise InvalidRequestError(f"{field}: {wrong}", field=field)
    if not is_address(text):
        if text[:8].lower().startswith(("http://", "https://")):
            raise InvalidRequestError(
                f"{field} is {shown_address(text)}, which can only be read; allowed: the path of a folder, or an "
                "address such as s3://bucket/pictures",
                field=field,
            )
        return LocalFolder(local_path(text), field=field)
    if shown_address(text) != text:
        # It is recorded, sent to workers and put into pages.
        raise InvalidRequestError(
            f"{field} is {shown_address(text)} with a user, password or query; allowed: the address without them, and "
            "credentials in their own configuration, such as ~/.aws, ~/.ssh/config or ~/.config/fsspec",
            field=field,
        )
    if set("*?") & set(text) or {".", ".."} & set(text.partition("://")[2].split("/")):
        raise InvalidRequestError(
            f"{field} is {text}, which is no folder's address; allowed: one without *, ?, /./ and /../, such as "
            "s3://bucket/pictures",
            field=field,
        )
    return BucketFolder(text, field=field)


class LocalFolder:
    """A folder of the disk; see `Folder`.

    Parameters
    ----------
    path
        The folder, which need not exist.
    field
        The argument that errors of `check` name.
    """

    is_local = True

    def __init__(self, path: str | Path, *, field: str = "out_dir") -> None:
        self._given = os.fsdecode(path)
        self._field = field
        self._path = Path(os.path.expanduser(self._given)).absolute()  # noqa: PTH111 - "~nobody" is a folder's name
        self.address = str(self._path)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.address!r})"

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.address,)

    def check(self, *, write: bool = True) -> None:  # noqa: ARG002 - the look is the same for a dry run
        """See `Folder.check`."""
        checked_folder(self._given, field=self._field)

    def write(self, name: str, data: bytes) -> None:
        """See `Folder.write`."""
        path = self._path / name
        with _in_words(path):
            write_atomic(path, data)

    def write_file(self, name: str, file: IO[bytes]) -> None:
        """See `Folder.write_file`."""
        path = self._path / name
        with _in_words(path):
            write_whole_from(path, file)

    def read(self, name: str) -> bytes:
        """See `Folder.read`."""
        return (self._path / name).read_bytes()

    def download(self, name: str, file: IO[bytes]) -> bool:
        """See `Folder.download`."""
        import shutil

        try:
            with (self._path / name).open("rb") as source:
                shutil.copyfileobj(source, file)
        except FileNotFoundError:
            return False
        return True

    def size(self, name: str) -> int | None:
        """See `Folder.size`."""
        # A run asks for every picture; a `Path` would take as long as the call.
        with contextlib.suppress(OSError, ValueError):
            return os.stat(f"{self.address}{os.sep}{name}").st_size  # noqa: PTH116
        return None

    def names(self, prefix: str = "") -> Iterator[Object]:
        """See `Folder.names`."""
        below, _, beginning = prefix.rpartition("/")
        folder = self._path / below
        try:
            with os.scandir(folder) as entries:
                found = sorted(
                    each.name for each in entries if each.name.startswith(beginning) and each.is_file()
                )
        except (FileNotFoundError, NotADirectoryError):
            return
        for name in found:
            path = folder / name
            with contextlib.suppress(FileNotFoundError):
                yield Object(str(path), path.stat().st_size, None)

    def remove(self, names: Iterable[str]) -> None:
        """See `Folder.remove`."""
        for name in names:
            with _in_words(self._path / name), contextlib.suppress(FileNotFoundError):
                (self._path / name).unlink()

    def where(self, name: str) -> Path:
        """See `Folder.where`."""
        return self._path / name


@contextlib.contextmanager
def _in_words(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as exc:
        raise ImageVariationError(f"{path} can't be written ({exc.strerror or exc})") from exc
