"""An httpx client whose waiting can be cut short.

A picture can take a minute, and a blocked `recv` notices neither a cancel switch nor a deadline of the whole request.
Here every wait on a socket is cut into slices, and between two of them the check of the running request is called:
it may raise, and the connection is then closed.

This is also where a name becomes an address, so the only place that can tell where a connection leads: `guarded` has
each address looked at before it is connected to.
"""

from __future__ import annotations

import errno
import os
import selectors
import socket
import ssl
import time
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Final, Protocol

import httpcore
import httpx
from httpcore._backends.sync import SyncStream  # it has no public name, and takes a socket that is connected

from ipy_imgvar import httplog, settings
from ipy_imgvar.errors import ConfigurationError, shown

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

__all__ = [
    "AGENT",
    "also_watched",
    "guarded",
    "is_proxied",
    "look_up_for_proxy",
    "make_client",
    "peer_of",
    "target_of",
    "watched",
]

#: The `User-Agent` of every request, to an API or for a picture.
AGENT: Final = "ipy-imgvar"


class Guard(Protocol):
    """Raises where an address must not be connected to."""

    def __call__(self, host: str, address: str, *, is_proxied: bool) -> None:
        """Judge one address of a host; `is_proxied` where a proxy will connect to that host instead of us."""


_SLICE_S: Final = 0.1
#: More than this at once could block while the other side does not read.
_MAX_SEND: Final = 1 << 18
_MAX_READ: Final = 1 << 20


def _unwatched() -> None:
    """Check nothing."""


_check: ContextVar[Callable[[], None]] = ContextVar("ipy_imgvar_check", default=_unwatched)
_idle: ContextVar[Callable[[], None] | None] = ContextVar("ipy_imgvar_idle", default=None)
_guard: ContextVar[Guard | None] = ContextVar("ipy_imgvar_guard", default=None)
httplog.hide(lambda: _check.get() is not _unwatched)


@contextmanager
def watched(check: Callable[[], None], idle: Callable[[], None] | None = None) -> Iterator[None]:
    """Call `check` between the slices of every wait of this thread, and `idle` once at the first wait for an answer.

    Both until the block ends; what `idle` does takes no time of its own, since the server works meanwhile.
    """
    tokens = _check.set(check), _idle.set(idle)
    try:
        yield
    finally:
        _check.reset(tokens[0])
        _idle.reset(tokens[1])


@contextmanager
def also_watched(check: Callable[[], None]) -> Iterator[None]:
    """Call `check` as well as what this thread's waits call already."""
    outer = _check.get()

    def both() -> None:
        outer()
        check()

    token = _check.set(both)
    try:
        yield
    finally:
        _check.reset(token)


@contextmanager
def guarded(guard: Guard | None) -> Iterator[None]:
    """Call `guard` with the name and each address of a host before this thread connects to any of them; it may raise.

    The resolver is asked once, and the connection goes to an address that was looked at: one that answers otherwise the
    next time gains nothing. A connection that was open before is not looked at again, and neither is a proxy's.
    """
    token = _guard.set(guard)
    try:
        yield
    finally:
        _guard.reset(token)


def look_up_for_proxy(client: httpx.Client, url: httpx.URL) -> None:
    """Call the guard for a host that is asked for through a proxy.

    The proxy asks a resolver of its own, which we can't see: it may give another address than ours, or one where ours
    has none. So behind a proxy this catches what is plain to see; the rest is the proxy's rules to refuse.
    """
    guard = _guard.get()
    if guard is None or not is_proxied(client, url):
        return
    try:
        found = socket.getaddrinfo(url.raw_host.decode("ascii"), url.port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):  # Behind many a proxy only the proxy can resolve names.
        return
    for *_, address in found:
        guard(url.host, str(address[0]), is_proxied=True)


def peer_of(response: httpx.Response) -> str | None:
    """Return the address that a streamed answer comes from; None where it came by other means than a connection."""
    stream = response.extensions.get("network_stream")
    try:
        return str(stream.get_extra_info("server_addr")[0]) if stream is not None else None
    except (OSError, IndexError, TypeError):  # The other side has gone, or it is no internet address.
        return None


def is_proxied(client: httpx.Client, url: httpx.URL) -> bool:
    """Return whether a request goes to a proxy first."""
    pool = getattr(client._transport_for_url(url), "_pool", None)  # noqa: SLF001 - it knows the proxies
    return pool is not None and type(pool) is not httpcore.ConnectionPool


def target_of(client: httpx.Client, url: httpx.URL) -> bytes:
    """Return what stands in the first line of a request for an address, for httpcore's extension `target`.

    A proxy that forwards plain HTTP has to be told the host there.
    """
    pool = getattr(client._transport_for_url(url), "_pool", None)  # noqa: SLF001 - it knows the proxies
    is_forwarded = isinstance(pool, httpcore.HTTPProxy) and url.scheme == "http"
    return b"http://" + url.netloc + url.raw_path if is_forwarded else url.raw_path


def make_client(transport: httpx.BaseTransport | None = None) -> httpx.Client:
    """Return a client with a pool of connections; proxies and certificates come from the environment.

    It has no time limits of its own, since `watched` has one for the whole request, and follows no redirect, since a
    key must not go to another host.

    Parameters
    ----------
    transport
        Used instead of the network, for tests.

    Raises
    ------
    ConfigurationError
        If the environment names a proxy or certificates that can't be used.
    """
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=32)
    try:
        client = httpx.Client(timeout=None, follow_redirects=False, limits=limits, transport=transport)  # noqa: S113
    except (OSError, ValueError, ImportError, httpx.InvalidURL) as exc:
        raise _misconfigured(exc) from None  # httpx's text may quote a proxy's user.
    for each in [client._transport, *client._mounts.values()]:  # noqa: SLF001 - httpx has no setting for this
        pool = getattr(each, "_pool", None)
        if isinstance(pool, httpcore.ConnectionPool):
            is_proxy = type(pool) is not httpcore.ConnectionPool
            pool._network_backend = _Backend(pool._network_backend, is_proxy=is_proxy)  # noqa: SLF001
    return client


def _misconfigured(exc: Exception) -> ConfigurationError:
    """Return the error for an environment with which no client can be made; it names the variable at fault."""
    if isinstance(exc, OSError):
        named = " or ".join(settings.certificate_variables()) or "the system's store of certificates"
        return ConfigurationError(
            f"{named} can't be used ({exc.strerror or exc}); allowed: a file that exists, of certificates in PEM form "
            "for SSL_CERT_FILE; or unset it"
        )
    for name, address in settings.proxy_variables().items():
        try:
            httpx.HTTPTransport(
                proxy=address if "://" in address else f"http://{address}",
                verify=False,  # Nothing is sent.
            ).close()
        except ImportError:
            return ConfigurationError(
                f"{name} names a SOCKS proxy, which needs the package socksio: pip install 'httpx[socks]'; or unset it"
            )
        except (ValueError, httpx.InvalidURL):
            scheme = address.partition("://")[0] if "://" in address else ""
            return ConfigurationError(
                f"{name} is no address of a proxy{f' (it begins with {shown(scheme)})' if scheme else ''}; allowed: "
                "http://host:port, https://host:port or socks5://host:port; or unset it"
            )
    return ConfigurationError(
        "NO_PROXY, or a proxy in the system's settings, is not valid; allowed in NO_PROXY: names of hosts with commas "
        "between them; or unset it"
    )


class _Backend(httpcore.NetworkBackend):
    """Opens connections as another backend does, and makes their waits watchful."""

    def __init__(self, backend: httpcore.NetworkBackend, *, is_proxy: bool) -> None:
        self._backend = backend
        self._is_proxy = is_proxy

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        give_up = _after(timeout)
        problem: Exception | None = None
        try:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
            guard = None if self._is_proxy else _guard.get()
            if guard is not None:
                for *_, address in found:
                    guard(host, str(address[0]), is_proxied=False)
            for family, kind, protocol, _, address in found:
                try:
                    connection = _connected((family, kind, protocol), address, local_address, give_up)
                except OSError as exc:
                    problem = exc
                    continue
                for option in socket_options or ():
                    connection.setsockopt(*option)
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                return _Stream(SyncStream(connection))
        except (OSError, UnicodeError) as exc:  # The name has no address, or a label of more than 63 letters.
            problem = exc
        if isinstance(problem, TimeoutError):
            raise httpcore.ConnectTimeout(str(problem)) from problem
        raise httpcore.ConnectError(str(problem)) from problem

    def connect_unix_socket(
        self, path: str, timeout: float | None = None, socket_options: Iterable[Any] | None = None
    ) -> httpcore.NetworkStream:
        return _Stream(self._backend.connect_unix_socket(path, timeout, socket_options))

    def sleep(self, seconds: float) -> None:
        self._backend.sleep(seconds)


def _after(timeout: float | None) -> float | None:
    return None if timeout is None else time.monotonic() + timeout


def _connected(
    kind: tuple[int, int, int], address: Any, local_address: str | None, give_up: float | None
) -> socket.socket:
    """Open a connection, looking up from waiting for it; a second connect would begin anew."""
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
            raise OSError(code, os.strerror(code))  # noqa: TRY301 - the same end as any other failure
    except BaseException:
        connection.close()
        raise
    return connection


def _wait_for(connection: socket.socket, event: int, give_up: float | None) -> None:
    """Return when a connection can be written or read; raise TimeoutError after `give_up`."""
    with selectors.DefaultSelector() as selector:
        selector.register(connection, event)
        while True:
            _check.get()()
            if selector.select(_SLICE_S):
                return
            if give_up is not None and time.monotonic() > give_up:
                raise TimeoutError("timed out")


class _Stream(httpcore.NetworkStream):
    """A connection whose reads and writes look up from waiting."""

    def __init__(self, stream: httpcore.NetworkStream) -> None:
        self._stream = stream
        self._fill = 0

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        if (idle := _idle.get()) is not None:
            _idle.set(None)
            idle()
        give_up = _after(timeout)
        # Twenty megabytes in pieces of 64 KB cost more than their way here; what comes in large pieces is taken so.
        wanted = max(max_bytes, self._fill)
        while True:
            _check.get()()
            try:
                # A read that times out has taken nothing off the socket, so it can be repeated.
                data = self._stream.read(wanted, timeout=_SLICE_S)
            except httpcore.ReadTimeout:
                if give_up is not None and time.monotonic() > give_up:
                    raise
            else:
                if len(data) == wanted:
                    self._fill = min(4 * wanted, _MAX_READ)
                elif len(data) < wanted // 4:
                    self._fill = wanted // 2
                return data

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        connection = self._stream.get_extra_info("socket")
        inner_tls = self._stream.get_extra_info("ssl_object") is not None
        if inner_tls and not isinstance(connection, ssl.SSLSocket):
            # TLS inside a proxy's TLS: what goes straight to the socket would miss the inner layer.
            self._stream.write(buffer, timeout)
            return
        give_up = _after(timeout)
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
        connection = self._stream.get_extra_info("socket")
        if isinstance(connection, ssl.SSLSocket):  # inside a proxy's TLS
            _check.get()()
            return _Stream(self._stream.start_tls(ssl_context, server_hostname, timeout))
        give_up = _after(timeout)
        try:
            secure = ssl_context.wrap_socket(
                connection, server_hostname=server_hostname, do_handshake_on_connect=False
            )
        except OSError as exc:
            self.close()
            raise httpcore.ConnectError(str(exc)) from exc
        try:
            _shake_hands(secure, give_up)
        except BaseException as exc:
            secure.close()
            if isinstance(exc, TimeoutError):
                raise httpcore.ConnectTimeout(str(exc)) from exc
            if isinstance(exc, OSError):
                raise httpcore.ConnectError(str(exc)) from exc
            raise
        return _Stream(SyncStream(secure))

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)


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
