"""Connections and the server's end: deadlines for slow clients, and a stop that answers accepted requests.

uvicorn has a time-out for idle connections only. Without others, a client could hold a connection for ever: it could
send a header byte by byte, never read its answer, or go on sending after a refusal.
"""

from __future__ import annotations

import asyncio
import secrets
import signal
from typing import TYPE_CHECKING, Any, ClassVar, Final

import h11
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from ipy_imgvar.server.refusals import Refusal

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable
    from types import FrameType

    from ipy_imgvar.server.limits import Limits
    from ipy_imgvar.server.queue import Queue

__all__ = ["StoppingServer", "connections_within"]

#: Seconds between the end of listening and the end of open connections: requests on the way get a 503, not a reset.
_FAREWELL_S: Final = 0.5
#: Bytes of a request's id; see `app`.
_ID_BYTES: Final = 16
#: Seconds of Retry-After where too many connections are open; idle ones end after `Limits.idle_timeout_s`.
_RETRY_AFTER_S: Final = 10


class _Connection(H11Protocol):
    """One connection, with a deadline whenever the server waits for its client."""

    limits: ClassVar[Limits]

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        #: Runs while a request is due.
        self._owed: asyncio.TimerHandle | None = None
        #: Runs while the client reads too slowly.
        self._unread: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        if len(self.connections) > self.limits.connections:
            self._refuse(
                Refusal(503, "too many open connections", headers={"retry-after": str(_RETRY_AFTER_S)})
            )
            return
        self._owe()

    def connection_lost(self, exc: Exception | None) -> None:
        self._settle()
        self.resume_writing()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self._is_serving:
            self._settle()
        elif self._owed is None:
            self._owe()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        # After an early refusal, the client may still be sending its upload.
        if self.conn.their_state is h11.SEND_BODY:
            self._owe()

    @property
    def _is_serving(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def _owe(self) -> None:
        self._settle()
        self._owed = self.loop.call_later(self.limits.header_timeout_s, self._too_slow)

    def _settle(self) -> None:
        if self._owed is not None:
            self._owed.cancel()
            self._owed = None

    def _too_slow(self) -> None:
        self._owed = None
        if not self._is_serving and not self.transport.is_closing():
            self._refuse(Refusal(408, "the request came too slowly", code="timeout"))

    def pause_writing(self) -> None:
        super().pause_writing()
        if self._unread is None:
            self._unread = self.loop.call_later(self.limits.chunk_timeout_s, self.transport.abort)

    def resume_writing(self) -> None:
        if self._unread is not None:
            self._unread.cancel()
            self._unread = None
        super().resume_writing()

    def send_400_response(self, msg: str) -> None:
        # h11 reports long headers like any other fault; the bytes that it holds tell the difference.
        held, _ = self.conn.trailing_data
        if len(held) > self.limits.header_bytes // 2 and not self._is_serving:
            limit = self.limits.header_bytes
            self._refuse(Refusal(431, f"the headers are longer than {limit} bytes", code="headers_too_large"))
        else:
            self._refuse(Refusal(400, f"this is not HTTP/1.1: {msg}", code="invalid_http"))

    def _refuse(self, refusal: Refusal) -> None:
        """Answer in place of the application, which has got no request, and close the connection."""
        headers = {
            **refusal.headers,
            "content-type": "application/json",
            "content-length": str(len(refusal.body)),
            "x-request-id": f"req_{secrets.token_hex(_ID_BYTES)}",
            "connection": "close",
        }
        try:
            answer = h11.Response(status_code=refusal.status, headers=list(headers.items()))
            for event in (answer, h11.Data(data=refusal.body), h11.EndOfMessage()):
                self.transport.write(self.conn.send(event) or b"")
        except h11.LocalProtocolError:
            pass  # Another answer has begun.
        self.transport.close()


def connections_within(limits: Limits) -> type[H11Protocol]:
    """Return the protocol class of connections with these limits."""
    return type("Connection", (_Connection,), {"limits": limits})


class StoppingServer(uvicorn.Server):
    """A server that answers its accepted requests after a first signal, and gives them up after a second.

    Parameters
    ----------
    config
        uvicorn's configuration.
    queue
        It refuses requests after the first signal, and cancels the accepted ones after the second.
    on_ready
        Called when the server listens.
    """

    def __init__(
        self, config: uvicorn.Config, queue: Queue, on_ready: Callable[[], None] | None = None
    ) -> None:
        super().__init__(config)
        self._queue = queue
        self._on_ready = on_ready
        self.interrupted = False

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen, and call `on_ready`."""
        await super().startup(sockets)
        if self._on_ready is not None:
            self._on_ready()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:  # noqa: ARG002 - uvicorn's signature
        """Stop; uvicorn's own handler would raise the signal again at the end."""
        self.interrupted = sig == signal.SIGINT
        if self.should_exit:
            self.force_exit = True
            self._queue.abandon()
        self.should_exit = True
        self._queue.stopping = True

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop listening, refuse new requests, and wait for the accepted ones."""
        self._queue.stopping = True
        for server in self.servers:
            server.close()
        for each in sockets or []:
            each.close()
        await asyncio.sleep(0 if self.force_exit else _FAREWELL_S)
        await super().shutdown(sockets)
        if self.force_exit:
            await self.lifespan.shutdown()
