"""An answer's items as `Variation`s: decoded from base64, or fetched, without the key, from the server's address."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final
from urllib.parse import urljoin, urlsplit, urlunsplit

import httpx

from ipy_imgvar.engines.openai.errors import bare
from ipy_imgvar.errors import (
    BadResponseError,
    CancelledError,
    ConnectionFailedError,
    EngineError,
    ImageVariationError,
)
from ipy_imgvar.images import fetch
from ipy_imgvar.images.source import decode_data_url
from ipy_imgvar.network.addresses import is_private, is_private_host
from ipy_imgvar.plain import plain
from ipy_imgvar.results.variations import Variation

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from ipy_imgvar.api.answers import Item
    from ipy_imgvar.engine import Job
    from ipy_imgvar.engines.openai.errors import Mask
    from ipy_imgvar.engines.openai.message import Message
    from ipy_imgvar.request import VariationRequest
    from ipy_imgvar.settings import Connection

__all__ = ["MAX_OTHER_BYTES", "MAX_PICTURE_BYTES", "address_of", "to_variation", "to_variations"]

#: Bytes of an answer that are read for each picture. An image may have 50 MB (createEdit), and base64 adds a third.
MAX_PICTURE_BYTES: Final = 70_000_000
#: Bytes of an answer besides its pictures, 1 MiB; an answer of more than both is refused.
MAX_OTHER_BYTES: Final = 1 << 20

#: Characters of a picture's address in an error message; the rest is cut. Chosen so that it has room for every
#: address that browsers commonly take, which have at most about 2000.
_LONGEST_ADDRESS: Final = 2000


def to_variations(
    items: Iterable[Item],
    request: VariationRequest,
    message: Message,
    connection: Connection,
    *,
    job: Job,
    client: httpx.Client,
    mask: Mask,
    peer: Callable[[], str | None] = lambda: None,
) -> Iterator[Variation]:
    """Yield the picture of each item; see `to_variation`. `peer` is called for each, since an answer tells it late.

    Raises
    ------
    EngineError
        If a picture can't be read: the first one's error, after the other pictures, which were paid for.
    """
    problems: list[EngineError] = []
    index = 0
    for index, item in enumerate(items, start=1):
        try:
            picture = to_variation(
                item, request, message, connection, index=index, client=client, mask=mask, peer=peer()
            )
        except EngineError as exc:
            exc.args = (mask.literally(str(exc)),)
            problems.append(exc)
            continue
        yield picture
    if problems:
        raise problems[0]
    if index != request.n:
        were = "picture was" if request.n == 1 else "pictures were"
        job.warn(f"{request.n} {were} asked for, the server sent {index}")


def to_variation(
    item: Item,
    request: VariationRequest,
    message: Message,
    connection: Connection,
    *,
    index: int,
    client: httpx.Client,
    mask: Mask,
    peer: str | None = None,
) -> Variation:
    """Return the picture of an item; where the item has an address, `client` fetches it without the key.

    `peer` is the IP address that answered, or None where a proxy hides it: it tells whether the server is in this
    network.

    Raises
    ------
    BadResponseError
        If the item has no picture, its bytes are no image, or its address can't be fetched. The message then names
        the address, which works for about an hour (createEdit, `response_format`: 60 minutes).
    """
    assert request.image is not None  # noqa: S101 - the engine has refused it
    name = f"picture {index} of {connection.server}"
    url = None
    if item.url:
        data, url = _fetched(item.url, connection, name, client, mask=mask, peer=peer)
    else:
        try:
            data = item.read()
        except ValueError as exc:
            raise BadResponseError(f"{name}: {exc}; the server may have charged for it") from exc
    from ipy_imgvar.images import codec

    try:
        mime_type, size = codec.probe(data, name)
    except ImageVariationError as exc:
        raise BadResponseError(f"{exc}; the server may have charged for it") from exc
    return Variation(
        data,
        source=request.image,
        mime_type=mime_type,
        size=size,
        reduce_to=message.reduce_to,
        index=index,
        parameters={
            "engine": "openai",
            **message.parameters,
            "source_sha256": request.image.sha256,
            "index": index,
        },
        remote_url=url and mask.address(url),
    )


def _fetched(
    url: str, connection: Connection, name: str, client: httpx.Client, *, mask: Mask, peer: str | None
) -> tuple[bytes, str | None]:
    """Return the bytes at an address that a server gave, and the full address; None instead for a data: URL."""
    if url[:5].lower() == "data:":
        try:
            return decode_data_url(url), None
        except ImageVariationError as exc:
            raise BadResponseError(f"{name}: {exc}; the server may have charged for it") from exc
    picture_url = address_of(url, connection, peer)

    def guard(host: str, address: str, *, is_proxied: bool) -> None:
        # Behind a proxy, this address is our own lookup of the server's name, while the proxy makes its own.
        is_same = is_proxied and host == httpx.URL(connection.address).host
        if is_private(address) and not is_same and not _is_inside(connection, peer):
            raise _intrusion(host, connection)

    try:
        return fetch.get(
            picture_url,
            name=name,
            client=client,
            vet=lambda onward: _refuse_private(onward, connection, peer),
            guard=guard,
        ), picture_url
    except CancelledError:
        raise
    except ImageVariationError as exc:
        kind = type(exc) if isinstance(exc, ConnectionFailedError) else BadResponseError
        shown = plain(mask.address(picture_url) or "not shown, since a key is in it")[:_LONGEST_ADDRESS]
        # Xinference gives the path of a file on its own disk.
        advice = "" if urlsplit(url).scheme else "; if that is a path on its disk, leave -f url out"
        raise kind(f"{exc}; its address, good for about an hour: {shown}{advice}") from bare(exc, mask)


def address_of(url: str, connection: Connection, peer: str | None = None) -> str:
    """Return the full address of a picture.

    A relative address is completed with the server's. So is one at 0.0.0.0: servers that listen on all interfaces
    write it, but no client can connect to it.

    Raises
    ------
    BadResponseError
        If the address is not http(s), or a remote server names a host in this machine's network.
    """
    base = urlsplit(connection.address)
    try:
        parts = urlsplit(urljoin(connection.address + "/", url))
        port = parts.port
    except ValueError:  # Not chained: its text quotes the address, which may hold a key.
        raise BadResponseError(f"{connection.server} gave no valid address for a picture") from None
    if parts.scheme not in ("http", "https"):
        raise BadResponseError(
            f"{connection.server} gave {parts.scheme or 'a path'} as a picture's address; allowed: http(s); "
            "leave -f url out, so that it sends the picture itself"
        )
    if parts.hostname in ("0.0.0.0", "::"):  # noqa: S104 - not bound, replaced
        port = port or base.port
        host = base.hostname or ""
        parts = parts._replace(netloc=f"{host}:{port}" if port else host)
    address = urlunsplit(parts)
    _refuse_private(address, connection, peer)
    return address


def _refuse_private(address: str, connection: Connection, peer: str | None) -> None:
    """Raise where a remote server names a host that is by its spelling in this machine's network.

    The addresses that other names lead to are checked when `fetch` connects to them.
    """
    host, base = urlsplit(address).hostname or "", urlsplit(connection.address).hostname or ""
    if host != base and is_private_host(host) and not _is_inside(connection, peer):
        raise _intrusion(host, connection)


def _is_inside(connection: Connection, peer: str | None) -> bool:
    """Return whether the server itself is in this machine's network.

    The IP address that answered decides, since the server's name may lead to another one by now. The name decides only
    where a proxy hides that address.
    """
    if peer is not None:
        return is_private(peer)
    return is_private_host(urlsplit(connection.address).hostname or "")


def _intrusion(host: str, connection: Connection) -> BadResponseError:
    return BadResponseError(
        f"{connection.server} gave an address inside this network as a picture's ({host}); it was not fetched"
    )
