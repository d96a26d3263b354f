"""What lies in a bucket or a folder elsewhere, in the order of the keys: S3 page by page, others a folder at a time."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote, unquote

from ipy_imgvar.storage.addresses import chained
from ipy_imgvar.storage.attempts import attempt
from ipy_imgvar.storage.faults import NoBucketError, is_missing

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ipy_imgvar.storage.access import Access

__all__ = ["Object", "files_below", "version_in"]

#: Fields of fsspec's `info` that change whenever the content does, the surest first: Google's generation, the entity
#: tag, and the time of writing of the file system in memory. A time in whole seconds is none.
_VERSIONS: Final = ("generation", "ETag", "etag", "created")
#: Objects of one page, S3's most (https://docs.aws.amazon.com/AmazonS3/latest/API/API_ListObjectsV2.html).
_PAGE: Final = 1000


@dataclass(frozen=True, slots=True)
class Object:
    """An object, or a file, as a listing has it.

    Parameters
    ----------
    address
        The whole address, or the path on disk.
    size
        Bytes; None where the listing doesn't say.
    version
        An entity tag, generation or such, which changes when the content does; None where it is not known.
    """

    address: str
    size: int | None
    version: str | None


def version_in(info: dict[str, Any]) -> str | None:
    """Return the version of a file system's description of an object, or None."""
    found = next((info[name] for name in _VERSIONS if info.get(name)), None)
    return None if found is None else str(found).strip('"')


def files_below(access: Access, prefix: str, *, deep: bool) -> Iterator[tuple[str, Object]]:
    """Yield the key and the object of each file whose key begins with a prefix, in the order of the keys.

    Parameters
    ----------
    access
        Any address of the bucket or server; on a server it is the folder to list.
    prefix
        The beginning of the keys; a key of S3 counts from its bucket, any other from the file system's root.
    deep
        Whether subfolders are searched.
    """
    if access.is_s3:
        return _pages(access, prefix, deep=deep)
    if access.is_azure and "/" in prefix:
        return _azure_pages(access, prefix, deep=deep)
    return _walk(access, prefix, deep=deep)


def _pages(access: Access, prefix: str, *, deep: bool) -> Iterator[tuple[str, Object]]:
    more: dict[str, Any] = {} if deep else {"Delimiter": "/"}
    while True:
        page = attempt(lambda: access.s3("list_objects_v2", Prefix=prefix, MaxKeys=_PAGE, **more))
        for each in page.get("Contents", ()):
            key = each["Key"]
            if not key.endswith("/"):  # A console marks a folder by an empty object of its name.
                address = f"{access.protocol}://{access.bucket}/{key}"
                yield key, Object(address, each.get("Size"), version_in(each))
        if not page.get("IsTruncated"):
            return
        more["ContinuationToken"] = page["NextContinuationToken"]


def _azure_pages(access: Access, prefix: str, *, deep: bool) -> Iterator[tuple[str, Object]]:
    """List by Azure's client: adlfs' `ls` shows a marked folder as empty, and holds it whole in memory."""
    container, _, beginning = prefix.partition("/")
    authority = access.address.partition("://")[2].partition("/")[0]
    base = authority if "@" in authority else container
    token: str | None = None
    while True:
        page = partial(_azure_page, access, container, beginning, token, deep)
        found, token = attempt(partial(access.sync, page))
        for each in found:
            mark = {name.lower(): value for name, value in (each.get("metadata") or {}).items()}
            is_folder = "true" in (mark.get("hdi_isfolder"), mark.get("is_directory"))
            if not is_folder and not each["name"].endswith("/"):
                address = f"{access.protocol}://{base}/{each['name']}"
                yield f"{container}/{each['name']}", Object(address, each.get("size"), version_in(each))
        if not token:
            return


async def _azure_page(
    access: Access,
    container: str,
    beginning: str,
    token: str | None,
    deep: bool,  # noqa: FBT001
) -> tuple[list[Any], str | None]:
    async with access.fs.service_client.get_container_client(container) as client:
        list_them = client.list_blobs if deep else client.walk_blobs
        blobs = list_them(name_starts_with=beginning, include=["metadata"], results_per_page=_PAGE)
        pages = blobs.by_page(token)
        async for page in pages:
            # The folders of a listing that is not deep have no size.
            found = [blob async for blob in page if hasattr(blob, "size")]
            return found, pages.continuation_token
    return [], None


def _walk(access: Access, prefix: str, *, deep: bool) -> Iterator[tuple[str, Object]]:
    """Look into one folder at a time; those that the prefix can't be in are left out."""
    folder, _, _ = prefix.rpartition("/")
    is_web = access.is_web
    read = _web_entries if is_web else _entries
    pending = [(folder, iter(read(access, folder)))]
    while pending:
        above, entries = pending[-1]
        entry = next(entries, None)
        if entry is None:
            pending.pop()
            continue
        key, is_folder, info = entry
        if not key.startswith(prefix) or key == above:
            continue
        if not is_folder:
            yield key, Object(_address(access, key, info, is_web=is_web), info.get("size"), version_in(info))
        elif deep and len(key) > len(above):
            pending.append((key.rstrip("/"), iter(read(access, key.rstrip("/")))))


def _entries(access: Access, folder: str) -> list[tuple[str, bool, dict[str, Any]]]:
    fs = access.fs

    def ls() -> list[dict[str, Any]]:
        fs.invalidate_cache()
        found: list[dict[str, Any]] = fs.ls(folder, detail=True)
        return found

    try:
        found = attempt(ls)
    except Exception as exc:
        if not is_missing(exc):
            raise
        if attempt(access.lacks_bucket):
            raise NoBucketError from None
        return []
    pairs = [
        (each["name"].rstrip("/"), each.get("type") == "directory", each)
        for each in found
        # Some list a folder's marker, or the file itself, where they are asked for what is in it.
        if each["name"].strip("/") != folder.strip("/") and not _is_marker(each)
    ]
    return sorted(pairs, key=lambda pair: pair[0] + "/" * pair[1])


def _is_marker(entry: dict[str, Any]) -> bool:
    return bool(entry["name"].endswith("/") and entry.get("type") != "directory")


def _web_entries(access: Access, folder: str) -> list[tuple[str, bool, dict[str, Any]]]:
    """Read the links of a web page that lie below it; a key here is an address without its percent-codes."""
    base = folder + "/"
    found = attempt(lambda: access.fs.ls(_quoted(base), detail=True))
    entries = {}
    for each in found:
        name = each["name"].partition("#")[0]
        key = unquote(name)
        if "?" in name or not key.startswith(base) or key == base:
            continue
        entries[key.rstrip("/")] = (
            key.rstrip("/"),
            key.endswith("/"),
            {"name": name, "size": each.get("size")},
        )
    return sorted(entries.values(), key=lambda entry: entry[0] + "/" * entry[1])


def _quoted(text: str) -> str:
    return quote(text, safe=":/@!$&'()*+,;=~[]")


def _address(access: Access, key: str, info: dict[str, Any], *, is_web: bool) -> str:
    if is_web:
        return str(info["name"])
    if not chained(access.address):
        scheme, _, rest = access.address.partition("://")
        # A server's name is part of the address, but not of the keys: sftp://host/cats/a.png.
        host = rest[: len(rest) - len(access.path)] if access.path and rest.endswith(access.path) else ""
        return f"{scheme}://{host}{key.lstrip('/') if not host else key}"
    first, _, rest = access.address.partition("::")
    return f"{first.partition('://')[0]}://{key.lstrip('/')}::{rest}"
