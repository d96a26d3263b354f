"""An httpx transport over httpcore's pools with our own sockets: direct, or through a proxy.

httpx's own transport has no setting for the network backend. This one takes the place of it with public names alone:
it opens the pool, sends a request on it, and says httpcore's errors in httpx's classes.
"""

from __future__ import annotations

import importlib.util
import socket
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

import httpcore
import httpx

from ipy_imgvar.network import watch
from ipy_imgvar.network.sockets import Backend

if TYPE_CHECKING:
    import ssl
    from collections.abc import Iterator

__all__ = ["ERRORS", "PROXIED", "Transport"]

#: The response extension that is set where the answer came through a proxy.
PROXIED: Final = "ipy_imgvar_proxied"

#: Idle connections kept for the next request: four times the threads that bulk starts for a server.
_MAX_IDLE: Final = 32
#: Seconds that one is kept: httpx's default. Apache, Node and uvicorn close theirs after 5 s, too.
_IDLE_S: Final = 5.0

#: httpcore's errors and httpx's, subclasses first, since the first that fits is taken.
ERRORS: Final[dict[type[Exception], type[httpx.TransportError]]] = {
    httpcore.ConnectTimeout: httpx.ConnectTimeout,
    httpcore.ReadTimeout: httpx.ReadTimeout,
    httpcore.WriteTimeout: httpx.WriteTimeout,
    httpcore.PoolTimeout: httpx.PoolTimeout,
    httpcore.TimeoutException: httpx.TimeoutException,
    httpcore.ConnectError: httpx.ConnectError,
    httpcore.ReadError: httpx.ReadError,
    httpcore.WriteError: httpx.WriteError,
    httpcore.NetworkError: httpx.NetworkError,
    httpcore.LocalProtocolError: httpx.LocalProtocolError,
    httpcore.RemoteProtocolError: httpx.RemoteProtocolError,
    httpcore.ProtocolError: httpx.ProtocolError,
    httpcore.ProxyError: httpx.ProxyError,
    httpcore.UnsupportedProtocol: httpx.UnsupportedProtocol,
}


class Transport(httpx.BaseTransport):
    """Sends requests on one pool of connections.

    Parameters
    ----------
    context
        The certificates that servers are checked against.
    proxy
        The proxy to go through; None connects to each server itself.

    Raises
    ------
    ImportError
        If the proxy is one of SOCKS and the package socksio is not installed.
    """

    def __init__(self, context: ssl.SSLContext, proxy: httpx.Proxy | None = None) -> None:
        self._is_proxied = proxy is not None
        settings: dict[str, Any] = {
            "ssl_context": context,
            "max_connections": None,
            "max_keepalive_connections": _MAX_IDLE,
            "keepalive_expiry": _IDLE_S,
            "network_backend": Backend(is_proxy=self._is_proxied),
        }
        self._pool = httpcore.ConnectionPool(**settings) if proxy is None else _proxy_pool(proxy, settings)

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request and return the answer once its headers are here; the body is read later.

        What the extension `target` holds is asked for instead of the address's path: httpx logs the address, so callers
        put there what may hold a secret.
        """
        url = request.url
        if self._is_proxied:
            _judge_by_name(url)
        extensions = dict(request.extensions)
        # Not left to httpcore, which would ask a proxy to CONNECT to it.
        target = extensions.pop("target", url.raw_path)
        if isinstance(self._pool, httpcore.HTTPProxy) and url.scheme == "http":
            # A proxy that forwards has to be told the host in the first line (RFC 9112, 3.2.2).
            extensions["target"] = b"http://" + url.netloc + target
        with _translated():
            response = self._pool.handle_request(
                httpcore.Request(
                    request.method,
                    httpcore.URL(scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=target),
                    headers=request.headers.raw,
                    content=request.stream,
                    extensions=extensions,
                )
            )
        return httpx.Response(
            response.status,
            headers=response.headers,
            stream=_Body(response),
            extensions={**response.extensions, PROXIED: self._is_proxied},
        )

    def close(self) -> None:
        """Close all connections."""
        self._pool.close()


class _Body(httpx.SyncByteStream):
    """The body of an answer, as it comes."""

    def __init__(self, response: httpcore.Response) -> None:
        self._response = response

    def __iter__(self) -> Iterator[bytes]:
        with _translated():
            yield from self._response.iter_stream()

    def close(self) -> None:
        self._response.close()


def _proxy_pool(proxy: httpx.Proxy, settings: dict[str, Any]) -> httpcore.ConnectionPool:
    url = proxy.url
    settings |= {
        "proxy_url": httpcore.URL(
            scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path
        ),
        "proxy_auth": proxy.raw_auth,
    }
    if url.scheme in ("http", "https"):
        return httpcore.HTTPProxy(**settings)
    if importlib.util.find_spec("socksio") is None:
        raise ImportError("a SOCKS proxy needs the package socksio")
    return httpcore.SOCKSProxy(**settings)


def _judge_by_name(url: httpx.URL) -> None:
    """Call the guard for a host that a proxy will connect to.

    The proxy asks a resolver of its own, which we can't see: it may give another address than ours, or one where ours
    has none. So behind a proxy this catches what is plain to see; the rest is the proxy's rules to refuse.
    """
    guard = watch.current_guard()
    if guard is None:
        return
    try:
        found = socket.getaddrinfo(url.raw_host.decode("ascii"), url.port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):  # Behind many a proxy only the proxy can resolve names.
        return
    for *_, address in found:
        guard(url.host, str(address[0]), is_proxied=True)


@contextmanager
def _translated() -> Iterator[None]:
    """Raise httpcore's errors as httpx's."""
    try:
        yield
    except tuple(ERRORS) as exc:
        kind = next(ours for theirs, ours in ERRORS.items() if isinstance(exc, theirs))
        raise kind(str(exc)) from exc
