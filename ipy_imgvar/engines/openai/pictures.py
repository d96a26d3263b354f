"""An item of an answer becomes a `Variation`: decoded, or fetched without the key from where the server put it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final
from urllib.parse import urljoin, urlsplit, urlunsplit

import httpx

from ipy_imgvar.engines.openai.errors import bare
from ipy_imgvar.errors import BadResponseError, CancelledError, ConnectionFailedError, ImageVariationError
from ipy_imgvar.images import fetch
from ipy_imgvar.images.source import decode_data_url
from ipy_imgvar.network.addresses import is_private, is_private_host
from ipy_imgvar.plain import plain
from ipy_imgvar.results.variations import Variation

if TYPE_CHECKING:
    from ipy_imgvar.api.answers import Item
    from ipy_imgvar.engines.openai.errors import Mask
    from ipy_imgvar.engines.openai.plan import Plan
    from ipy_imgvar.request import VariationRequest
    from ipy_imgvar.settings import Connection

__all__ = ["address_of", "to_variation"]

#: Browsers take no longer ones, and an error is one line.
_LONGEST_ADDRESS: Final = 2000


def to_variation(
    item: Item,
    request: VariationRequest,
    plan: Plan,
    connection: Connection,
    *,
    index: int,
    client: httpx.Client,
    mask: Mask,
    peer: str | None = None,
) -> Variation:
    """Return the picture of an item; `client` fetches it, without the key, where it is an address.

    `peer` is the address that the answer came from, where it is known: it tells whether that server is in this network.

    Raises
    ------
    BadResponseError
        If it has none, its bytes are no image, or its address can't be fetched; the message names the address, which
        works for about an hour.
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
        reduce_to=plan.reduce_to,
        index=index,
        parameters={
            "engine": "openai",
            **plan.parameters,
            "source_sha256": request.image.sha256,
            "index": index,
        },
        remote_url=url and mask.address(url),
    )


def _fetched(
    url: str, connection: Connection, name: str, client: httpx.Client, *, mask: Mask, peer: str | None
) -> tuple[bytes, str | None]:
    """Return the bytes behind an address that a server gave, and the address if others can use it."""
    if url[:5].lower() == "data:":
        try:
            return decode_data_url(url), None
        except ImageVariationError as exc:
            raise BadResponseError(f"{name}: {exc}; the server may have charged for it") from exc
    place = address_of(url, connection, peer)

    def guard(host: str, address: str, *, is_proxied: bool) -> None:
        # A proxy that reaches the server under this name has resolved it by its own rules.
        is_same = is_proxied and host == httpx.URL(connection.address).host
        if is_private(address) and not is_same and not _is_inside(connection, peer):
            raise _intrusion(host, connection)

    try:
        return fetch.get(
            place,
            name=name,
            client=client,
            vet=lambda onward: _refuse_private(onward, connection, peer),
            guard=guard,
        ), place
    except CancelledError:
        raise
    except ImageVariationError as exc:
        kind = type(exc) if isinstance(exc, ConnectionFailedError) else BadResponseError
        shown = plain(mask.address(place) or "not shown, since a key is in it")[:_LONGEST_ADDRESS]
        raise kind(f"{exc}; its address, good for about an hour: {shown}") from bare(exc, mask)


def address_of(url: str, connection: Connection, peer: str | None = None) -> str:
    """Return the full address of a picture.

    A relative one is the server's, and so is one at 0.0.0.0, where servers listen but nobody can be reached.

    Raises
    ------
    BadResponseError
        For an address that is no http(s), or that leads a remote server's answer to this machine or its network.
    """
    base = urlsplit(connection.address)
    try:
        parts = urlsplit(urljoin(connection.address + "/", url))
        port = parts.port
    except ValueError:  # Its text quotes a part of the address.
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
    """Raise where an address says by its spelling that a remote server would have us look into our own network.

    What a name does not say is seen when it is connected to.
    """
    host, base = urlsplit(address).hostname or "", urlsplit(connection.address).hostname or ""
    if host != base and is_private_host(host) and not _is_inside(connection, peer):
        raise _intrusion(host, connection)


def _is_inside(connection: Connection, peer: str | None) -> bool:
    """Return whether the server is itself in this machine's network.

    The address that it answered from decides, not what its name leads to by now. Where a proxy hides that, its name
    does.
    """
    if peer is not None:
        return is_private(peer)
    return is_private_host(urlsplit(connection.address).hostname or "")


def _intrusion(host: str, connection: Connection) -> BadResponseError:
    return BadResponseError(
        f"{connection.server} gave an address inside this network as a picture's ({host}); it was not fetched"
    )
