"""Objects by their addresses: a bounded read, a look and a listing, with retries and our errors."""

from __future__ import annotations

import contextlib
import glob
from typing import TYPE_CHECKING, Any

from ipy_imgvar.errors import ImageVariationError, InvalidImageError
from ipy_imgvar.plain import size_text
from ipy_imgvar.storage.access import Access, open_access
from ipy_imgvar.storage.addresses import join, shown_address
from ipy_imgvar.storage.attempts import attempt, retries, watched
from ipy_imgvar.storage.faults import ShortReadError, is_missing, is_refused, is_transient, unread
from ipy_imgvar.storage.listings import Object, files_below, version_in
from ipy_imgvar.storage.patterns import compiled, literal_beginning

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["Object", "listing", "matching", "read", "retries", "stat"]


def read(
    address: str, *, most_bytes: int, timeout_s: float = 0, check: Callable[[], None] | None = None
) -> bytes:
    """Return an object's content.

    Parameters
    ----------
    address
        Where it is, such as s3://bucket/cat.png.
    most_bytes
        Bytes that it may have; a larger one is not read.
    timeout_s
        Seconds that all of it may take, retries included; 0 is no limit beside the file system's own.
    check
        Called ten times a second while it waits; raises to break off.

    Raises
    ------
    InvalidImageError
        If there is no such object, access is denied, or it is too large.
    ConnectionFailedError
        If the server can't be reached or goes on failing; `RequestTimeoutError` after `timeout_s`.
    ConfigurationError
        If a package or the credentials are missing, or the protocol is unknown.
    """
    access = open_access(address)
    _refuse_folder(access)
    get = _get_s3 if access.is_s3 else _get
    try:
        return attempt(lambda: get(access, most_bytes), check=watched(check, timeout_s, access.shown))
    except ImageVariationError:
        raise
    except Exception as exc:  # noqa: BLE001 - each package raises its own
        if is_missing(exc) or isinstance(exc, IsADirectoryError):
            raise _no_object(access, exc) from None
        raise _error(exc, access) from None


def _error(exc: Exception, access: Access) -> ImageVariationError:
    """Return our error for an address that can't be read; its query may be the cause, which is not shown."""
    query = _query(access.address)
    if query and is_refused(exc) and not is_transient(exc):
        return InvalidImageError(
            f"{access.shown} was given with a query{query}that the server refused; check it, or leave it out"
        )
    return unread(exc, access.shown, access.protocol)


def _query(address: str) -> str:
    """Return " (versionId) " for an address with a query of that name, " " for any other query, and "" without one."""
    end = address.rpartition("?")[2] if "?" in address else ""
    name = end.partition("=")[0]
    if not end or shown_address(address).endswith(end):
        return ""
    return " (versionId) " if name == "versionId" else " "


def _refuse_folder(access: Access) -> None:
    """Raise for an address that names no object: of a bucket, or with a slash at its end."""
    if access.address.endswith("/") or (access.is_s3 and not access.key):
        example = join(access.shown, "cat.png")
        raise InvalidImageError(f"{access.shown} is a folder; name an object in it, such as {example}")


def _no_object(access: Access, exc: Exception) -> ImageVariationError:
    """Return the error for an address without an object: it may be a pattern, or a folder."""
    if glob.has_magic(access.key if access.is_s3 else access.path):
        return InvalidImageError(
            f"there is no object {access.shown}; patterns of addresses are for the magic, imgvar and Client.map"
        )
    first = None
    with contextlib.suppress(Exception):  # The listing may be denied; the object is missing anyway.
        prefix = (access.key if access.is_s3 else access.path) + "/"
        first = next(files_below(access, prefix, deep=False), None)
    if first is None:
        return _error(exc, access)
    inside = shown_address(first[1].address)
    return InvalidImageError(f"{access.shown} is a folder; name an object in it, such as {inside}")


def _get(access: Access, most_bytes: int) -> bytes:
    size = access.fs.size(access.path)
    _refuse_large(access, size, most_bytes)
    data: bytes = access.fs.cat_file(access.path, end=None if size is not None else most_bytes + 1)
    _refuse_large(access, len(data), most_bytes)
    return _whole(data, size)


def _get_s3(access: Access, most_bytes: int) -> bytes:
    """Make one request where s3fs' `cat_file` makes two."""
    answer = access.s3_object("get_object")
    body, size = answer["Body"], answer.get("ContentLength")
    try:
        _refuse_large(access, size, most_bytes)
        data: bytes = access.sync(body.read)
    finally:
        body.close()
    return _whole(data, size)


def _whole(data: bytes, size: int | None) -> bytes:
    if size is not None and len(data) < size:
        raise ShortReadError
    return data


def _refuse_large(access: Access, size: int | None, most_bytes: int) -> None:
    if size is not None and size > most_bytes:
        raise InvalidImageError(
            f"{access.shown} has {size_text(size)}; allowed: {most_bytes / (1 << 20):g} MiB; reduce it first"
        )


def stat(address: str) -> Object:
    """Return an object's size and version, by one request.

    Raises
    ------
    ImageVariationError
        As `read` does.
    """
    access = open_access(address)
    try:
        return _stat(access)
    except ImageVariationError:
        raise
    except Exception as exc:  # noqa: BLE001 - each package raises its own
        raise _error(exc, access) from None


def _stat(access: Access) -> Object:
    if access.is_s3:
        answer = attempt(lambda: access.s3_object("head_object"))
        return Object(access.address, answer.get("ContentLength"), version_in(answer))
    info: dict[str, Any] = attempt(lambda: access.fs.info(access.path))
    if info.get("type") == "directory":
        raise FileNotFoundError(access.shown)
    return Object(access.address, info.get("size"), version_in(info))


def listing(address: str, *, wanted: Callable[[str], bool] | None = None) -> Iterator[Object]:
    """Yield the objects of a folder or a pattern, in the order of their names.

    Parameters
    ----------
    address
        A folder ("s3://bucket/cats"), whose objects right in it are listed, a pattern ("s3://bucket/**/*.png"), or one
        object, also one whose name reads as a pattern. A web page with links, "https://host/cats/", is a folder, too.
    wanted
        Tells by an object's name, without its folder, whether it is listed; None lists all. Names that begin with a dot
        are left out.

    Raises
    ------
    ImageVariationError
        As `read` does, when the first object is asked for, or at a later page.
    """
    access = open_access(address)
    try:
        yield from _listing(access, wanted or bool)
    except ImageVariationError:
        raise
    except Exception as exc:  # noqa: BLE001 - each package raises its own
        raise unread(exc, access.shown, access.protocol) from None


def matching(address: str) -> list[str]:
    """Return the addresses of the objects that a pattern stands for; one that is no pattern stands for itself.

    Raises
    ------
    InvalidImageError
        If there is none.
    ImageVariationError
        As `read` does.
    """
    if not glob.has_magic(address):
        return [address]
    if found := [each.address for each in listing(address)]:
        return found
    raise InvalidImageError(f"no object matches {shown_address(address)}; check the pattern and the bucket")


def _listing(access: Access, wanted: Callable[[str], bool]) -> Iterator[Object]:
    path = access.key if access.is_s3 else access.path
    is_pattern = glob.has_magic(path)
    if is_pattern and (one := _existing(access)) is not None:
        yield one
        return
    if is_pattern:
        prefix, matches = literal_beginning(path), compiled(path)
    else:
        prefix = path.rstrip("/") + "/" if path.strip("/") else path
        matches = bool
    is_empty = True
    for key, each in files_below(access, prefix, deep="/" in path[len(prefix) :]):
        is_empty = False
        name = key.rpartition("/")[2]
        if name[0] != "." and wanted(name) and matches(key):
            yield each
    if is_empty and not is_pattern and (one := _existing(access)) is not None:
        yield one


def _existing(access: Access) -> Object | None:
    """Return the object of this very address, or None."""
    if access.is_web:  # Its single files are fetched without a look before.
        return None
    try:
        return _stat(access) if access.path.strip("/") else None
    except Exception:  # noqa: BLE001 - the listing says what is wrong
        return None
