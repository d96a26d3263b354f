"""Connections whose every wait can be cut short, as a network backend of httpcore.

A picture can take a minute, and a blocked `recv` notices neither a cancel switch nor a deadline of the whole request.
So every wait on a socket is cut into slices, and `watch.check` is called between two of them: it may raise, and the
connection is then closed.

This is also the one place where a name becomes an address, so the only one that can tell where a connection leads:
the guard of `watch` judges each address before it is connected to.
"""

from __future__ import annotations

import errno
import os
import selectors
import socket
import ssl
import time
from typing import TYPE_CHECKING, Any, Final, TypeVar

import httpcore

from ipy_imgvar.network import watch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

__all__ = ["Backend"]

_T = TypeVar("_T")

#: Seconds between two checks of a wait. A reaction within 0.1 s feels immediate (Nielsen, Usability Engineering, 1993,
#: chapter 5); ten wake-ups a second cost next to nothing.
_SLICE_S: Final = 0.1
#: Bytes given to `send` at once. More could block for longer than a slice while the other side does not read.
_MAX_SEND: Final = 1 << 18
#: Bytes asked of `recv` at once, at most: what one read holds beside the body.
_MAX_READ: Final = 1 << 20
#: Bytes of one TLS record, at most (RFC 8446, 5.1).
_TLS_RECORD: Final = 1 << 14


class Backend(httpcore.SyncBackend):
    """Opens TCP connections whose waits call `watch.check`.

    Parameters
    ----------
    is_proxy
        Whether it connects to a proxy: the user chose that address, so the guard does not judge it.
    """

    def __init__(self, *, is_proxy: bool = False) -> None:
        self._is_proxy = is_proxy

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.NetworkStream:
        """Connect to the first address of a host that answers, after the guard has judged all of them."""
        give_up = _after(timeout)
        problem: Exception | None = None
        try:
            for kind, address in self._judged_addresses(host, port):
                try:
                    connection = _connected(kind, address, local_address, give_up)
                except OSError as exc:
                    problem = exc
                    continue
                for option in socket_options or ():
                    connection.setsockopt(*option)
                # Nagle's algorithm (RFC 896) would hold back a request's end until the delayed ACK, 40 ms on Linux.
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                return _Stream(connection)
        except (OSError, UnicodeError) as exc:  # The name has no address, or a label of more than 63 letters.
            problem = exc
        if isinstance(problem, TimeoutError):
            raise httpcore.ConnectTimeout(str(problem)) from problem
        raise httpcore.ConnectError(str(problem)) from problem

    def _judged_addresses(self, host: str, port: int) -> list[tuple[tuple[int, int, int], Any]]:
        """Look a host up once; return what `socket.socket` and `connect` take for each address, all judged."""
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        guard = None if self._is_proxy else watch.current_guard()
        if guard is not None:
            for *_, address in found:
                guard(host, str(address[0]), is_proxied=False)
        return [((family, kind, protocol), address) for family, kind, protocol, _, address in found]


def _after(timeout: float | None) -> float | None:
    return None if timeout is None else time.monotonic() + timeout


def _is_over(give_up: float | None) -> bool:
    return give_up is not None and time.monotonic() > give_up


def _connected(
    kind: tuple[int, int, int], address: Any, local_address: str | None, give_up: float | None
) -> socket.socket:
    """Open a connection in one attempt; `connect` with a timeout of a slice would begin anew after each."""
    connection = socket.socket(*kind)
    try:
        connection.settimeout(0)
        if local_address is not None:
            connection.bind((local_address, 0))
        code = connection.connect_ex(address)
        if code in (errno.EINPROGRESS, errno.EWOULDBLOCK):
            _wait_for(connection, selectors.EVENT_WRITE, give_up)
            code = connection.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if code:
            # Windows has its sockets' messages in a table of their own.
            text = getattr(socket, "errorTab", {}).get(code) or os.strerror(code)
            raise OSError(code, text)  # noqa: TRY301 - the same end as any other failure
    except BaseException:
        connection.close()
        raise
    return connection


def _wait_for(connection: socket.socket, event: int, give_up: float | None) -> None:
    """Return when a connection can be written or read; raise TimeoutError after `give_up`."""
    with selectors.DefaultSelector() as selector:
        selector.register(connection, event)
        while True:
            watch.check()
            if selector.select(_SLICE_S):
                return
            if _is_over(give_up):
                raise TimeoutError("timed out")


def _is_readable(connection: socket.socket) -> bool:
    """Return whether a read would return at once; httpcore drops an idle connection that has anything to say."""
    if connection.fileno() < 0:
        return True
    with selectors.DefaultSelector() as selector:
        selector.register(connection, selectors.EVENT_READ)
        return bool(selector.select(0))


class _Stream(httpcore.NetworkStream):
    """A connection, plain or with TLS, whose reads and writes check between the slices of a wait."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._fill = 0

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        watch.begin_reading()
        give_up = _after(timeout)
        # httpcore asks for 64 KB. Twenty megabytes in such pieces cost more than their way here, so a stream that fills
        # its buffer gets a larger one.
        wanted = max(max_bytes, self._fill)
        while True:
            watch.check()
            try:
                self._connection.settimeout(_SLICE_S)
                # A read that times out has taken nothing off the socket, so it can be repeated.
                data = self._connection.recv(wanted)
            except TimeoutError as exc:
                if _is_over(give_up):
                    raise httpcore.ReadTimeout(str(exc)) from exc
            except OSError as exc:
                raise httpcore.ReadError(str(exc)) from exc
            else:
                if len(data) == wanted:
                    self._fill = min(4 * wanted, _MAX_READ)
                elif len(data) < wanted // 4:
                    self._fill = wanted // 2
                return data

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        give_up = _after(timeout)
        rest = memoryview(buffer)
        while rest:
            watch.check()
            try:
                self._connection.settimeout(_SLICE_S)
                rest = rest[self._connection.send(rest[:_MAX_SEND]) :]
            except TimeoutError as exc:
                if _is_over(give_up):
                    raise httpcore.WriteTimeout(str(exc)) from exc
            except OSError as exc:
                raise httpcore.WriteError(str(exc)) from exc

    def close(self) -> None:
        self._connection.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        secure: ssl.SSLSocket | None = None
        try:
            if isinstance(self._connection, ssl.SSLSocket):
                return _StreamInTLS(self, ssl_context, server_hostname, timeout)
            secure = ssl_context.wrap_socket(
                self._connection, server_hostname=server_hostname, do_handshake_on_connect=False
            )
            _shake_hands(secure, _after(timeout))
        except BaseException as exc:
            # `wrap_socket` takes the socket away from the plain connection.
            (secure or self).close()
            if isinstance(exc, (TimeoutError, httpcore.TimeoutException)):
                raise httpcore.ConnectTimeout(str(exc)) from exc
            if isinstance(exc, (OSError, httpcore.NetworkError)):
                raise httpcore.ConnectError(str(exc)) from exc
            raise
        return _Stream(secure)

    def get_extra_info(self, info: str) -> Any:
        if info == "ssl_object":
            return self._connection if isinstance(self._connection, ssl.SSLSocket) else None
        if info == "client_addr":
            return self._connection.getsockname()
        if info == "server_addr":
            return self._connection.getpeername()
        if info == "socket":
            return self._connection
        if info == "is_readable":
            return _is_readable(self._connection)
        return None


def _shake_hands(connection: ssl.SSLSocket, give_up: float | None) -> None:
    connection.settimeout(0)
    while True:
        try:
            connection.do_handshake()
        except ssl.SSLWantReadError:
            _wait_for(connection, selectors.EVENT_READ, give_up)
        except ssl.SSLWantWriteError:
            _wait_for(connection, selectors.EVENT_WRITE, give_up)
        else:
            return


class _StreamInTLS(httpcore.NetworkStream):
    """TLS to a server inside the TLS to a proxy.

    `ssl` can't wrap a socket twice, so the inner records pass through buffers; the outer stream moves them.
    """

    def __init__(
        self, outer: _Stream, context: ssl.SSLContext, server_hostname: str | None, timeout: float | None
    ) -> None:
        self._outer = outer
        self._received, self._unsent = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._received, self._unsent, server_hostname=server_hostname)
        self._step(self._tls.do_handshake, timeout)

    def _step(self, step: Callable[[], _T], timeout: float | None) -> _T:
        """Repeat a step of TLS, with bytes moved between, until it needs none."""
        while True:
            try:
                result = step()
            except ssl.SSLWantReadError:
                self._outer.write(self._unsent.read(), timeout)
                if data := self._outer.read(_TLS_RECORD, timeout):
                    self._received.write(data)
                else:
                    self._received.write_eof()
            else:
                self._outer.write(self._unsent.read(), timeout)
                return result

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        try:
            return self._step(lambda: self._tls.read(max_bytes), timeout)
        except ssl.SSLEOFError:  # The server closed without saying so, as many do; `SSLSocket` hides it, too.
            return b""
        except OSError as exc:
            raise httpcore.ReadError(str(exc)) from exc

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        rest = memoryview(buffer)
        while rest:
            piece = rest[:_MAX_SEND]
            try:
                rest = rest[self._step(lambda: self._tls.write(piece), timeout) :]  # noqa: B023 - called at once
            except OSError as exc:
                raise httpcore.WriteError(str(exc)) from exc

    def close(self) -> None:
        self._outer.close()

    def get_extra_info(self, info: str) -> Any:
        return self._tls if info == "ssl_object" else self._outer.get_extra_info(info)
