"""A plain GET for pictures: no key is ever sent, and no more than a bounded number of bytes is read.

It knows nothing of any API; the hosted engine and the image input use it alike.
"""

from __future__ import annotations

import base64
import io
import time
from typing import TYPE_CHECKING, Final

import httpx

from ipy_imgvar import payload
from ipy_imgvar.errors import (
    ConnectionFailedError,
    ImageVariationError,
    InvalidImageError,
    RequestTimeoutError,
)
from ipy_imgvar.network import AGENT, also_watched, guarded, look_up_for_proxy, make_client, target_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from ipy_imgvar.network import Guard

__all__ = ["MAX_BYTES", "get"]

#: OpenAI's own limit for one image; more than this is no picture a notebook needs.
MAX_BYTES: Final = 50 * 1024 * 1024
_TIMEOUT_S: Final = 30.0
#: A byte a second would keep any other limit from being reached; 50 MiB take this long at 85 kB/s.
_TOTAL_S: Final = 600.0
_MAX_REDIRECTS: Final = 10


def get(
    url: str,
    *,
    name: str,
    timeout_s: float = _TIMEOUT_S,
    total_s: float = 0,
    client: httpx.Client | None = None,
    vet: Callable[[str], None] | None = None,
    guard: Guard | None = None,
    check: Callable[[], None] | None = None,
) -> bytes:
    """Fetch a picture.

    Parameters
    ----------
    url
        An http or https address; redirects are followed.
    name
        What to call it in an error message: an address may carry a signature, so it is not shown.
    timeout_s
        Seconds without any byte before it gives up.
    total_s
        Seconds that all of it may take, redirects included; 0 is ten minutes.
    client
        Whose connections to use, one of `network.make_client`; None opens one for this picture. It must send no headers
        of its own.
    vet
        Called with the address of each redirect before it is followed; raises where it must not be.
    guard
        See `network.guarded`.
    check
        Called ten times a second while it waits; raises to break off.

    Raises
    ------
    InvalidImageError
        If the server answers anything but success, or sends more than `MAX_BYTES`.
    ConnectionFailedError
        If the server can't be reached, breaks off or redirects in circles; `RequestTimeoutError` if it is silent for
        `timeout_s` or takes longer than `total_s`.
    ConfigurationError
        If the environment names a proxy or certificates that can't be used.
    """
    until = time.monotonic() + (total_s or _TOTAL_S)

    def look_up() -> None:
        if check is not None:
            check()
        if time.monotonic() > until:
            raise RequestTimeoutError(
                f"{name}: not fetched within the timeout of {total_s or _TOTAL_S:g} s; raise --timeout, or download "
                "the picture and pass its path"
            )

    try:
        with also_watched(look_up), guarded(guard):
            if client is not None:
                return _get(client, httpx.URL(url), name, timeout_s, vet)
            with make_client() as own:
                return _get(own, httpx.URL(url), name, timeout_s, vet)
    except httpx.TimeoutException as exc:
        raise RequestTimeoutError(f"{name}: no answer within {timeout_s:g} s; try again") from exc
    except httpx.InvalidURL:  # Its text may quote a part of a password.
        raise ConnectionFailedError(
            f"{name}: can't be fetched, since its address is not valid; allowed: http(s)://host/path, with special "
            "characters percent-encoded (/ in a password is %2F)"
        ) from None
    except (httpx.HTTPError, ValueError) as exc:
        if isinstance(exc, ImageVariationError):  # Some of ours are `ValueError`s.
            raise
        raise ConnectionFailedError(
            f"{name}: can't be fetched ({type(exc).__name__}: {exc}); check the address and the connection"
        ) from exc


def _get(
    client: httpx.Client, url: httpx.URL, name: str, timeout_s: float, vet: Callable[[str], None] | None
) -> bytes:
    for _ in range(_MAX_REDIRECTS + 1):
        look_up_for_proxy(client, url)
        response = client.send(_request(client, url, timeout_s), stream=True, follow_redirects=False)
        try:
            if not response.has_redirect_location:
                data = _read_bounded(response, name) if response.is_success else b""
                if data or response.status_code == httpx.codes.OK:
                    return data
                raise InvalidImageError(
                    f"{name}: the server answered {response.status_code} {response.reason_phrase}; "
                    "open the address in a browser, or download the picture and pass its path"
                )
            url = url.join(response.headers["location"])
        finally:
            response.close()
        if vet is not None:
            vet(str(url))
    raise ConnectionFailedError(
        f"{name}: more than {_MAX_REDIRECTS} redirects; download the picture and pass its path"
    )


def _request(client: httpx.Client, url: httpx.URL, timeout_s: float) -> httpx.Request:
    """Return a GET whose query and password stay out of httpx's own log, which shows each address."""
    headers = {"User-Agent": AGENT, "Accept-Encoding": payload.ACCEPTED}
    if url.userinfo:
        token = base64.b64encode(f"{url.username}:{url.password}".encode()).decode("ascii")
        headers["Authorization"] = f"Basic {token}"
    return client.build_request(
        "GET",
        url.copy_with(query=None, fragment=None, userinfo=b""),
        headers=headers,
        timeout=timeout_s,
        extensions={"target": target_of(client, url)},
    )


def _read_bounded(response: httpx.Response, name: str) -> bytes:
    def too_much() -> InvalidImageError:
        return InvalidImageError(f"{name} is larger than {MAX_BYTES >> 20} MiB; download and reduce it first")

    content = io.BytesIO()  # Its value is no copy.
    for piece in payload.pieces(response, MAX_BYTES, too_much):
        content.write(piece)
    return content.getvalue()
