"""A folder elsewhere: a prefix in an object store, or a folder of a server, as `folder.Folder` describes it."""

from __future__ import annotations

import contextlib
import mimetypes
import shutil
from typing import IO, TYPE_CHECKING, Any, Final, TypeVar

from ipy_imgvar.errors import ImageVariationError, InvalidRequestError
from ipy_imgvar.storage.access import ATOMIC, Access, open_access
from ipy_imgvar.storage.addresses import join
from ipy_imgvar.storage.attempts import TRIES, attempt
from ipy_imgvar.storage.disk import half_name
from ipy_imgvar.storage.faults import (
    NoBucketError,
    ShortReadError,
    is_denied,
    is_missing,
    is_transient,
    reason,
)
from ipy_imgvar.storage.listings import Object, files_below

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

__all__ = ["BucketFolder"]

_T = TypeVar("_T")
#: Bytes that are read at a time, and up to which a file is put by one request: 8 MiB, s3fs' own least part is 5 MiB.
_PIECE_BYTES: Final = 8 << 20
#: Objects that one request of S3 removes, at most.
_REMOVED_AT_ONCE: Final = 1000
#: Tries of the check before a run: a wrong endpoint should be told within seconds.
_CHECK_TRIES: Final = 2


class BucketFolder:
    """A prefix in an object store; see `folder.Folder`.

    An object store shows an object when all of it has arrived. Other servers get the file under another name first.

    Parameters
    ----------
    address
        The address without credentials, such as s3://bucket/pictures.
    field
        The argument that errors of `check` name.
    """

    is_local = False

    def __init__(self, address: str, *, field: str = "out_dir") -> None:
        is_root = not address.partition("://")[2].strip("/")
        self.address = address if is_root else address.rstrip("/")
        self._field = field

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.address!r})"

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.address,)

    def where(self, name: str) -> str:
        """See `Folder.where`."""
        return join(self.address, name)

    def check(self, *, write: bool = True) -> None:
        """See `Folder.check`."""
        access = self._access("")
        try:
            if write:
                self._probe()
            else:
                attempt(lambda: _look(access), tries=_CHECK_TRIES)
            self._refuse_object(access)
        except InvalidRequestError:
            raise
        except ImageVariationError as exc:
            raise InvalidRequestError(str(exc), field=self._field) from None
        except Exception as exc:  # noqa: BLE001 - each package raises its own
            self._refuse_object(access)
            is_store = access.protocol in ATOMIC and bool(access.top)
            missing = f"its bucket {access.top} does not exist" if is_store else "it does not exist"
            wrong = missing if is_missing(exc) else reason(exc, access.protocol)
            raise InvalidRequestError(
                f"{self._field} {access.shown} can't be {'written' if write else 'listed'}: {wrong}",
                field=self._field,
            ) from None

    def _refuse_object(self, access: Access) -> None:
        """Raise if an object has the folder's address; an empty one may be a console's mark of a folder."""
        size = None
        with contextlib.suppress(Exception):  # No permission to look: the folder itself was looked at.
            size = _size(access) if access.path.strip("/") not in ("", access.bucket) else None
        if size:
            raise InvalidRequestError(
                f"{self._field} {access.shown} is an object, not a folder; choose another, such as {access.shown}-run",
                field=self._field,
            ) from None

    def _probe(self) -> None:
        name = ".probe-imgvar"  # One name, so that at most one stays where nothing may be removed.
        access = self._access(name)
        _make_parent(access)
        attempt(lambda: access.fs.pipe_file(access.path, b"\0"), tries=_CHECK_TRIES)
        try:
            attempt(lambda: _remove(access), tries=_CHECK_TRIES)
        except Exception as exc:
            if not is_denied(exc):  # A run needs no removal: what stays is overwritten, or known as merged.
                raise

    def write(self, name: str, data: bytes) -> None:
        """See `Folder.write`."""
        self._put(name, lambda access, path: access.fs.pipe_file(path, data, **_content_type(access, name)))

    def write_file(self, name: str, file: IO[bytes]) -> None:
        """See `Folder.write_file`."""
        file.seek(0)
        first = file.read(_PIECE_BYTES + 1)
        if len(first) <= _PIECE_BYTES:
            self.write(name, first)
            return

        def put(access: Access, path: str) -> None:
            file.seek(0)
            # Until `commit` no reader sees a byte, also where `close` has sent all of them.
            out = access.fs.open(path, "wb", block_size=_PIECE_BYTES, autocommit=False)
            try:
                shutil.copyfileobj(file, out, _PIECE_BYTES)
                out.close()
                out.commit()
            except BaseException:
                with contextlib.suppress(Exception):
                    out.discard()
                out.closed = True  # Its finalizer would send the rest.
                raise

        self._put(name, put)

    def _put(self, name: str, put: Callable[[Access, str], Any]) -> None:
        access = self._access(name)

        def work() -> None:
            if access.protocol in ATOMIC:
                put(access, access.path)
                return
            _make_parent(access)
            folder, slash, last = access.path.rpartition("/")
            half = f"{folder}{slash}{half_name(last)}"
            try:
                put(access, half)
                access.fs.mv(half, access.path)
            except BaseException:
                with contextlib.suppress(Exception):
                    access.fs.rm_file(half)
                raise

        self._in_words(access, "written", lambda: attempt(work))

    def read(self, name: str) -> bytes:
        """See `Folder.read`."""
        access = self._access(name)

        def work() -> bytes:
            data: bytes = access.fs.cat_file(access.path)
            return data

        return self._found(access, lambda: attempt(work))

    def download(self, name: str, file: IO[bytes]) -> bool:
        """See `Folder.download`."""
        access = self._access(name)

        def piece(start: int, size: int) -> bytes:
            end = min(start + _PIECE_BYTES, size)
            data: bytes = access.fs.cat_file(access.path, start=start, end=end)
            if len(data) != end - start:
                raise ShortReadError
            return data

        def work() -> None:
            size = attempt(lambda: access.fs.size(access.path))
            for start in range(0, size, _PIECE_BYTES):
                file.write(attempt(lambda start=start: piece(start, size)))  # type: ignore[misc]

        try:
            self._found(access, work)
        except FileNotFoundError:
            return False
        return True

    def size(self, name: str) -> int | None:
        """See `Folder.size`."""
        access = self._access(name)
        try:
            return self._found(access, lambda: attempt(lambda: _size(access)))
        except FileNotFoundError:
            return None

    def names(self, prefix: str = "") -> Iterator[Object]:
        """See `Folder.names`."""
        access = self._access(prefix)
        path = access.key if access.is_s3 else access.path
        # Most file systems drop a final slash.
        beginning = path + "/" if (not prefix or prefix.endswith("/")) and path and path[-1] != "/" else path
        try:
            for _, each in files_below(access, beginning, deep=False):
                yield each
        except ImageVariationError:
            raise
        except Exception as exc:  # noqa: BLE001 - each package raises its own
            if not is_missing(exc):
                raise self._error(exc, access, "listed") from None

    def remove(self, names: Iterable[str]) -> None:
        """See `Folder.remove`."""
        all_names = list(names)
        while chunk := all_names[:_REMOVED_AT_ONCE]:
            del all_names[:_REMOVED_AT_ONCE]
            accesses = [self._access(name) for name in chunk]
            if len(accesses) > 1 and accesses[0].is_s3 and _removed_together(accesses):
                continue
            for access in accesses:
                self._in_words(access, "removed", lambda access=access: attempt(lambda: _remove(access)))  # type: ignore[misc]

    def _access(self, name: str) -> Access:
        return open_access(join(self.address, name))

    def _found(self, access: Access, work: Callable[[], _T]) -> _T:
        """Return what is read; raise `FileNotFoundError` for a missing object, and our errors for others."""
        try:
            return work()
        except ImageVariationError:
            raise
        except Exception as exc:  # noqa: BLE001 - each package raises its own
            if is_missing(exc):
                raise FileNotFoundError(access.shown) from None
            raise self._error(exc, access, "read") from None

    def _in_words(self, access: Access, verb: str, work: Callable[[], Any]) -> None:
        try:
            work()
        except ImageVariationError:
            raise
        except Exception as exc:  # noqa: BLE001 - each package raises its own
            raise self._error(exc, access, verb) from None

    def _error(self, exc: Exception, access: Access, verb: str) -> ImageVariationError:
        gone = is_missing(exc) and verb == "written"
        wrong = "its bucket does not exist" if gone else reason(exc, access.protocol)
        tried = f" after {TRIES} tries" if is_transient(exc) else ""
        return ImageVariationError(f"{access.shown} can't be {verb}{tried}: {wrong}")


def _content_type(access: Access, name: str) -> dict[str, Any]:
    """Return the argument by which a browser shows an object, such as `index.html`, in place of saving it."""
    argument = "ContentType" if access.is_s3 else "content_type" if access.protocol in ("gs", "gcs") else ""
    kind = mimetypes.guess_type(name)[0]
    if kind and access.is_azure:
        from azure.storage.blob import ContentSettings  # adlfs' own requirement

        return {"content_settings": ContentSettings(content_type=kind)}
    return {argument: kind} if kind and argument else {}


def _look(access: Access) -> None:
    """Raise if the bucket is missing or can't be listed."""
    if access.is_s3:
        access.s3("list_objects_v2", Prefix=access.key, MaxKeys=1)
    elif access.is_azure:  # adlfs takes a container that it may not see for one that is there.
        next(files_below(access, access.path.rstrip("/") + "/", deep=True), None)
    elif access.lacks_bucket():
        raise NoBucketError


def _size(access: Access) -> int | None:
    if access.is_s3:
        size = access.s3_object("head_object").get("ContentLength")
    else:
        info = access.fs.info(access.path)
        if info.get("type") == "directory":
            raise FileNotFoundError(access.shown)
        size = info.get("size")
    return None if size is None else int(size)


def _make_parent(access: Access) -> None:
    if access.protocol not in ATOMIC:
        access.fs.makedirs(access.path.rpartition("/")[0] or "/", exist_ok=True)


def _remove(access: Access) -> None:
    try:
        access.fs.rm_file(access.path)
    except Exception as exc:
        if not is_missing(exc):
            raise


def _removed_together(accesses: list[Access]) -> bool:
    """Remove up to 1,000 objects by one request; return False where the server can't, or one of them stays."""
    keys = [{"Key": access.key} for access in accesses]
    with contextlib.suppress(Exception):
        answer = attempt(lambda: accesses[0].s3("delete_objects", Delete={"Objects": keys, "Quiet": True}))
        return not answer.get("Errors")
    return False
