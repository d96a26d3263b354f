"""Addresses of objects, such as s3://bucket/cat.png, as text: nothing here opens one."""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import urlsplit

__all__ = [
    "BUCKETS",
    "chained",
    "fault_of",
    "host_of",
    "is_address",
    "join",
    "local_path",
    "name_of",
    "protocol_of",
    "shown_address",
]

#: A protocol has two characters at least, since C:/cat.png is a path of Windows.
_PROTOCOL: Final = re.compile(r"([A-Za-z][A-Za-z0-9+._-]+)://")
#: fsspec's chain, such as simplecache::s3://bucket/cat.png and zip://cat.png::https://host/cats.zip.
_CHAIN: Final = re.compile(
    r"([A-Za-z][A-Za-z0-9+._-]+)(?:://.*?)?::(?=[A-Za-z][A-Za-z0-9+._-]+(?:://|::))", re.DOTALL
)
#: Protocols that are read in another way: by `images.fetch`, `images.dataurl`, or as a path.
_OTHERS: Final = frozenset({"http", "https", "data", "file", "local"})
#: Protocols whose addresses begin with a bucket: they have no user, and credentials come from the configuration.
BUCKETS: Final = frozenset({"s3", "s3a", "gs", "gcs", "az", "abfs", "abfss", "oss", "r2"})
#: One slash in place of two after a protocol that is known: as a path, it would be a folder of this disk.
_ONE_SLASH: Final = re.compile(
    rf"(?i)({'|'.join(sorted(BUCKETS))}|memory|sftp|ssh|smb|hdfs|ftp|https?):/(?!/)(.*)", re.DOTALL
)
#: Azure's addresses name the container where others name the user: abfs://container@account.dfs.core.windows.net/cat.png.
_CONTAINER_FIRST: Final = frozenset({"abfs", "abfss", "wasb", "wasbs"})
#: A query that has values, as a signed address has. A lone "?" is a part of a key, or of a pattern.
_QUERY: Final = re.compile(r"\?[^?]*=.*", re.DOTALL)


def is_address(text: str) -> bool:
    """Return whether a text is the address of an object that fsspec opens.

    http(s) and data: URLs, file: URLs and paths are none.

    Examples
    --------
    >>> [is_address(text) for text in ("s3://bucket/a.png", "zip://a.png::s3://b/c.zip", "https://host/a.png", "C:/a")]
    [True, True, False, False]
    """
    return chained(text) or protocol_of(text) not in {"", *_OTHERS}


def chained(text: str) -> bool:
    """Return whether an address goes through several file systems, as simplecache::s3://bucket/cat.png does."""
    return _CHAIN.match(text) is not None


def protocol_of(text: str) -> str:
    """Return the protocol of an address in lower case, the first one of a chain; "" for a path."""
    match = _CHAIN.match(text) or _PROTOCOL.match(text)
    return match[1].lower() if match else ""


def fault_of(text: str) -> str:
    """Return why a text can be no address of an object or folder, and what to do; "" if nothing is wrong.

    Examples
    --------
    >>> fault_of("s3:/bucket/cat.png"), fault_of("s3://bucket/cat.png")
    ('s3:/bucket/cat.png is no address; did you mean s3://bucket/cat.png', '')
    >>> fault_of("gs://")
    'gs:// names no bucket; allowed: gs://bucket/name'
    """
    if match := _ONE_SLASH.fullmatch(text):
        meant = shown_address(f"{match[1]}://{match[2]}")
        return f"{meant.replace('://', ':/', 1)} is no address; did you mean {meant}"
    protocol = protocol_of(text)
    if protocol not in BUCKETS or chained(text):
        return ""
    host = text.partition("://")[2].partition("/")[0]
    if not host.rpartition("@")[2]:
        return f"{shown_address(text)} names no bucket; allowed: {protocol}://bucket/name"
    user, at, _ = host.rpartition("@")
    if at and (":" in user or protocol not in {*_CONTAINER_FIRST, "az"}):
        return (
            f"{shown_address(text)} was given with a user or password; allowed: {protocol}://bucket/name, and "
            "credentials in their own configuration, such as ~/.aws or ~/.config/fsspec"
        )
    return ""


def local_path(text: str) -> str:
    """Return the path that a file: URL names, or any other text as it is.

    Examples
    --------
    >>> local_path("file:///data/my%20cat.png"), local_path("local:///data/cat.png"), local_path("cat.png")
    ('/data/my cat.png', '/data/cat.png', 'cat.png')
    """
    if text[:7].lower() == "file://":
        # With it come http.client, ssl and email, which `%load_ext` does without.
        from urllib.request import url2pathname

        parts = urlsplit(text.replace("?", "%3F").replace("#", "%23"))
        host = "" if parts.netloc in ("", "localhost") else f"//{parts.netloc}"
        return url2pathname(host + parts.path)
    return text[8:] if text[:8].lower() == "local://" else text


def shown_address(text: str) -> str:
    """Return an address without user, password and query, as it is shown and recorded.

    Examples
    --------
    >>> shown_address("sftp://me:secret@host/cats/a.png"), shown_address("s3://bucket/a.png?X-Amz-Signature=1f")
    ('sftp://host/cats/a.png', 's3://bucket/a.png')
    """
    if chained(text):
        ends = [match.end() for match in re.finditer(r"::", text)]
        links = [
            text[start:end] for start, end in zip([0, *ends], [*(end - 2 for end in ends), None], strict=True)
        ]
        return "::".join(map(_shown_link, links))
    return _shown_link(text)


def _shown_link(text: str) -> str:
    match = _PROTOCOL.match(text)
    if match is None:
        return text
    protocol, rest = match[1].lower(), text[match.end() :]
    host, slash, path = rest.partition("/")
    user, at, bare = host.rpartition("@")
    if at and (":" in user or protocol not in _CONTAINER_FIRST):
        host = bare
    shown = host + slash + path
    # Of an http address the whole query goes: some servers sign with a token that has no name.
    shown = shown.partition("?")[0] if protocol in ("http", "https") else _QUERY.sub("", shown)
    return f"{match[0]}{shown}"


def host_of(text: str) -> str:
    """Return the server of a web address, or the bucket or server of another one, as it is shown.

    Examples
    --------
    >>> host_of("https://me:secret@host:81/a.png"), host_of("s3://bucket/a/b.png"), host_of("zip://a.png::gs://b/c.zip")
    ('host:81', 's3://bucket', 'gs://b')
    """
    link = shown_address(text).rpartition("::")[2] if chained(text) else shown_address(text)
    protocol, _, rest = link.partition("://")
    host = rest.partition("/")[0] if "/" in rest else ""
    if protocol.lower() in ("http", "https"):
        return host or rest
    return f"{protocol}://{host}"


def name_of(text: str) -> str:
    """Return the last name of an address, without query and folders, or the address where it has none.

    Examples
    --------
    >>> name_of("s3://bucket/cats/a.png"), name_of("memory://b.png"), name_of("zip://in/c.png::s3://bucket/d.zip")
    ('a.png', 'b.png', 'c.png')
    """
    shown = shown_address(text)
    first = shown.partition("::")[0] if chained(text) else shown
    return first.rstrip("/").rpartition("/")[2] or shown


def join(address: str, name: str) -> str:
    """Return the address of a name in a folder.

    Examples
    --------
    >>> join("s3://bucket/out/", "cat.png"), join("zip://out::s3://bucket/cats.zip", "cat.png")
    ('s3://bucket/out/cat.png', 'zip://out/cat.png::s3://bucket/cats.zip')
    """
    first, chain, rest = address.partition("::") if chained(address) else (address, "", "")
    if not name:
        return f"{first}{name}{chain}{rest}"
    if not first.partition("://")[2].strip("/"):  # The root, such as memory:///
        return f"{first}{name}{chain}{rest}"
    return f"{first.rstrip('/')}/{name}{chain}{rest}"
