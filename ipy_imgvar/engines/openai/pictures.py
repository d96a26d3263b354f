"""An item of an answer becomes a `Variation`: decoded, or fetched without the key from where the server put it."""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING
from urllib.parse import urljoin, urlsplit, urlunsplit

from ipy_imgvar import fetch
from ipy_imgvar.engines.openai.faults import bare
from ipy_imgvar.errors import BadResponseError, CancelledError, ConnectionFailedError, ImageVariationError
from ipy_imgvar.result import Variation
from ipy_imgvar.source import decode_data_url

if TYPE_CHECKING:
    import httpx

    from ipy_imgvar.engines.openai.plan import Plan
    from ipy_imgvar.request import VariationRequest
    from ipy_imgvar.settings import Connection
    from ipy_imgvar.wire import Item

__all__ = ["address_of", "to_variation"]


def to_variation(
    item: Item,
    request: VariationRequest,
    plan: Plan,
    connection: Connection,
    *,
    index: int,
    client: httpx.Client,
) -> Variation:
    """Return the picture of an item; `client` fetches it, without the key, where it is an address.

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
        data, url = _fetched(item.url, connection, name, client)
    else:
        try:
            data = item.read()
        except ValueError as exc:
            raise BadResponseError(f"{name}: {exc}; the server may have charged for it") from exc
    from ipy_imgvar import codec

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
        remote_url=url,
    )


def _fetched(url: str, connection: Connection, name: str, client: httpx.Client) -> tuple[bytes, str | None]:
    """Return the bytes behind an address that a server gave, and the address if others can use it."""
    if url[:5].lower() == "data:":
        try:
            return decode_data_url(url), None
        except ImageVariationError as exc:
            raise BadResponseError(f"{name}: {exc}; the server may have charged for it") from exc
    address = address_of(url, connection)
    try:
        return fetch.get(
            address, name=name, client=client, vet=lambda place: _refuse_private(place, connection)
        ), address
    except CancelledError:
        raise
    except ImageVariationError as exc:
        kind = type(exc) if isinstance(exc, ConnectionFailedError) else BadResponseError
        raise kind(f"{exc}; its address, good for about an hour: {address}") from bare(exc)


def address_of(url: str, connection: Connection) -> str:
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
    except ValueError as exc:
        raise BadResponseError(f"{connection.server} gave no valid address for a picture ({exc})") from exc
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
    _refuse_private(address, connection)
    return address


def _refuse_private(address: str, connection: Connection) -> None:
    """Raise where a remote server would have us look into this machine's own network."""
    host, base = urlsplit(address).hostname or "", urlsplit(connection.address).hostname or ""
    if host != base and _is_private(host) and not _is_private(base):
        raise BadResponseError(
            f"{connection.server} gave an address inside this network as a picture's ({host}); it was not fetched"
        )


def _is_private(host: str) -> bool:
    try:
        return not ipaddress.ip_address(host).is_global
    except ValueError:
        return host.lower() == "localhost" or host.lower().endswith((".localhost", ".local", ".internal"))
