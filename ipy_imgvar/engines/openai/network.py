"""An httpx client whose waiting can be cut short.

A picture can take a minute, and a blocked `recv` notices neither a cancel switch nor a deadline of the whole request.
Here every wait on a socket is cut into slices, and between two of them the check of the running request is called:
it may raise, and the connection is then closed.
"""

from __future__ import annotations

import ssl
import time
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Final

import httpcore
import httpx

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

__all__ = ["make_client", "watched"]

_SLICE_S: Final = 0.1
#: More than this at once could block while the other side does not read.
_MAX_SEND: Final = 1 << 18

_check: ContextVar[Callable[[], None]] = ContextVar("ipy_imgvar_check", default=lambda: None)


@contextmanager
def watched(check: Callable[[], None]) -> Iterator[None]:
    """Call `check` between the slices of every wait of this thread, until the block ends."""
    token = _check.set(check)
    try:
        yield
    finally:
        _check.reset(token)


def make_client(transport: httpx.BaseTransport | None = None) -> httpx.Client:
    """Return a client with a pool of connections; proxies and certificates come from the environment.

    It has no time limits of its own, since `watched` has one for the whole request, and follows no redirect, since a
    key must not go to another host.

    Parameters
    ----------
    transport
        Used instead of the network, for tests.
    """
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=32)
    client = httpx.Client(timeout=None, follow_redirects=False, limits=limits, transport=transport)  # noqa: S113
    for each in [client._transport, *client._mounts.values()]:  # noqa: SLF001 - httpx has no setting for this
        pool = getattr(each, "_pool", None)
        if isinstance(pool, httpcore.ConnectionPool):
            pool._network_backend = _Backend(pool._network_backend)  # noqa: SLF001
    return client


class _Backend(httpcore.NetworkBackend):
    """Opens connections as another backend does, and makes their waits watchful."""

    def __init__(self, backend: httpcore.NetworkBackend) -> None:
        self._backend = backend

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        _check.get()()
        return _Stream(self._backend.connect_tcp(host, port, timeout, local_address, socket_options))

    def connect_unix_socket(
        self, path: str, timeout: float | None = None, socket_options: Iterable[Any] | None = None
    ) -> httpcore.NetworkStream:
        return _Stream(self._backend.connect_unix_socket(path, timeout, socket_options))

    def sleep(self, seconds: float) -> None:
        self._backend.sleep(seconds)


class _Stream(httpcore.NetworkStream):
    """A connection whose reads and writes look up from waiting."""

    def __init__(self, stream: httpcore.NetworkStream) -> None:
        self._stream = stream

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        give_up = None if timeout is None else time.monotonic() + timeout
        while True:
            _check.get()()
            try:
                # A read that times out has taken nothing off the socket, so it can be repeated.
                return self._stream.read(max_bytes, timeout=_SLICE_S)
            except httpcore.ReadTimeout:
                if give_up is not None and time.monotonic() > give_up:
                    raise

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        connection = self._stream.get_extra_info("socket")
        inner_tls = self._stream.get_extra_info("ssl_object") is not None
        if inner_tls and not isinstance(connection, ssl.SSLSocket):
            # TLS inside a proxy's TLS: what goes straight to the socket would miss the inner layer.
            self._stream.write(buffer, timeout)
            return
        give_up = None if timeout is None else time.monotonic() + timeout
        rest = memoryview(buffer)
        while rest:
            _check.get()()
            try:
                connection.settimeout(_SLICE_S)
                rest = rest[connection.send(rest[:_MAX_SEND]) :]
            except TimeoutError as exc:
                if give_up is not None and time.monotonic() > give_up:
                    raise httpcore.WriteTimeout(str(exc)) from exc
            except OSError as exc:
                raise httpcore.WriteError(str(exc)) from exc

    def close(self) -> None:
        self._stream.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        _check.get()()
        return _Stream(self._stream.start_tls(ssl_context, server_hostname, timeout))

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)
