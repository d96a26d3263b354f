"""A plain GET for pictures: no key is ever sent, and no more than a bounded number of bytes is read.

It knows nothing of any API; the hosted engine and the image input use it alike.
"""

from __future__ import annotations

from typing import Final

import httpx

from ipy_imgvar.errors import ConnectionFailedError, InvalidImageError, RequestTimeoutError

__all__ = ["MAX_BYTES", "get"]

#: OpenAI's own limit for one image; more than this is no picture a notebook needs.
MAX_BYTES: Final = 50 * 1024 * 1024
_TIMEOUT_S: Final = 30.0


def get(url: str, *, name: str, timeout_s: float = _TIMEOUT_S) -> bytes:
    """Fetch a picture.

    Parameters
    ----------
    url
        An http or https address; redirects are followed.
    name
        What to call it in an error message: an address may carry a signature, so it is not shown.
    timeout_s
        Seconds without any byte before it gives up.

    Raises
    ------
    InvalidImageError
        If the server answers anything but 200, or sends more than `MAX_BYTES`.
    ConnectionFailedError
        If the server can't be reached or breaks off; `RequestTimeoutError` if it is silent for `timeout_s`.
    """
    try:
        with httpx.stream("GET", url, follow_redirects=True, timeout=timeout_s) as response:
            if response.status_code != httpx.codes.OK:
                raise InvalidImageError(
                    f"{name}: the server answered {response.status_code} {response.reason_phrase}; "
                    "open the address in a browser, or download the picture and pass its path"
                )
            return _read_bounded(response, name)
    except httpx.TimeoutException as exc:
        raise RequestTimeoutError(f"{name}: no answer within {timeout_s:g} s; try again") from exc
    except (httpx.HTTPError, httpx.InvalidURL, ValueError) as exc:
        if isinstance(exc, InvalidImageError):
            raise
        raise ConnectionFailedError(
            f"{name}: can't be fetched ({type(exc).__name__}: {exc}); check the address and the connection"
        ) from exc


def _read_bounded(response: httpx.Response, name: str) -> bytes:
    content = bytearray()
    for chunk in response.iter_bytes():
        content += chunk
        if len(content) > MAX_BYTES:
            raise InvalidImageError(
                f"{name} is larger than {MAX_BYTES >> 20} MiB; download and reduce it first"
            )
    return bytes(content)
