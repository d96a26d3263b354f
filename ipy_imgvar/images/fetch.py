"""A plain GET for pictures: it sends no key and reads a bounded number of bytes.

It knows nothing of any API; the hosted engine and the image input both use it.
"""

from __future__ import annotations

import base64
import io
import time
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING, Final

import httpx

from ipy_imgvar.errors import (
    ConnectionFailedError,
    ImageVariationError,
    InvalidImageError,
    RequestTimeoutError,
)
from ipy_imgvar.network import payload
from ipy_imgvar.network.client import AGENT, make_client
from ipy_imgvar.network.watch import also_watched, guarded

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from ipy_imgvar.network.watch import Guard

__all__ = ["MAX_BYTES", "TOTAL_S", "get"]

#: Bytes of a picture, at most: the images API's own limit for one image (50 MB, "Create image edit").
MAX_BYTES: Final = 50 * 1024 * 1024
#: Seconds without any byte after which a fetch is given up; our choice, as slow storage answers within a few seconds.
_TIMEOUT_S: Final = 30.0
#: Seconds that a fetch may take in all, since a server that sends a byte a second never reaches `_TIMEOUT_S`. Our
#: choice: 50 MiB at 85 kB/s.
TOTAL_S: Final = 600.0
#: Redirects followed; curl stops at 50, browsers at 20, and a picture's address needs 1 or 2.
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
        The picture's name in error messages, which do not show the address: it may carry a signature.
    timeout_s
        Seconds without any byte before it gives up.
    total_s
        Seconds that the whole fetch may take, redirects included; 0 means ten minutes.
    client
        A client of `client.make_client` without headers of its own; None opens one for this picture.
    vet
        Called with the address of each redirect before it is followed; raises to refuse it.
    guard
        Called with each address before it is connected to; raises to refuse it (see `watch.guarded`).
    check
        Called ten times a second while the fetch waits; raises to break off.

    Raises
    ------
    InvalidImageError
        If the server answers anything but success, or sends more than `MAX_BYTES`.
    ConnectionFailedError
        If the server can't be reached, breaks off or redirects in circles; `RequestTimeoutError` after a time limit.
    ConfigurationError
        If the environment names a proxy or certificates that can't be used.
    """
    deadline = _deadline(name, total_s or TOTAL_S, check)
    connections = make_client() if client is None else nullcontext(client)
    with _own_errors(name, timeout_s), also_watched(deadline), guarded(guard), connections as used:
        return _get(used, httpx.URL(url), name, timeout_s, vet)


def _deadline(name: str, total_s: float, check: Callable[[], None] | None) -> Callable[[], None]:
    """Return a check that calls `check` and then raises once `total_s` seconds have passed from now."""
    until = time.monotonic() + total_s

    def checked() -> None:
        if check is not None:
            check()
        if time.monotonic() > until:
            raise RequestTimeoutError(
                f"{name}: not fetched within the timeout of {total_s:g} s; raise --timeout, or download "
                "the picture and pass its path"
            )

    return checked


@contextmanager
def _own_errors(name: str, timeout_s: float) -> Iterator[None]:
    """Raise httpx's errors as ours."""
    try:
        yield
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
    """Follow redirects to a picture and return its bytes."""
    for _ in range(_MAX_REDIRECTS + 1):
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
    """Return a GET whose query and password stay out of httpx's log, which shows each address."""
    headers = {"User-Agent": AGENT, "Accept-Encoding": payload.ACCEPTED}
    if url.userinfo:
        token = base64.b64encode(f"{url.username}:{url.password}".encode()).decode("ascii")
        headers["Authorization"] = f"Basic {token}"
    return client.build_request(
        "GET",
        url.copy_with(query=None, fragment=None, userinfo=b""),
        headers=headers,
        timeout=timeout_s,
        extensions={"target": url.raw_path},
    )


def _read_bounded(response: httpx.Response, name: str) -> bytes:
    def too_much() -> InvalidImageError:
        return InvalidImageError(f"{name} is larger than {MAX_BYTES >> 20} MiB; download and reduce it first")

    content = io.BytesIO()  # `getvalue` shares its buffer, so the bytes are not copied.
    for piece in payload.pieces(response, MAX_BYTES, too_much):
        content.write(piece)
    return content.getvalue()
