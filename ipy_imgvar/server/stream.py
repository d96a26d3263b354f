"""A streamed answer: the run's thread puts events in a queue, and the event loop sends them.

References
----------
https://platform.openai.com/docs/api-reference/images-streaming
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any, Final

from ipy_imgvar.api import answers, events
from ipy_imgvar.images.formats import WRITTEN
from ipy_imgvar.server.queue import ClientGoneError
from ipy_imgvar.server.refusals import refusal_of
from ipy_imgvar.server.run import Encoded, encode, make

if TYPE_CHECKING:
    import threading
    from collections.abc import AsyncIterator

    from ipy_imgvar.results.variations import Variation
    from ipy_imgvar.server.limits import Limits
    from ipy_imgvar.server.offer import Offer
    from ipy_imgvar.server.request import ImageRequest

__all__ = ["EventSource"]

#: Seconds without an event after which a comment is sent, since proxies close connections that are silent for longer.
_PING_S: Final = 15.0
#: The sizes in pixels that the API's schema of an event names.
_SIZES: Final = ("1024x1024", "1024x1536", "1536x1024")


class EventSource:
    """Carries the events of one request from the run's thread to the event loop.

    Parameters
    ----------
    offer, image_request, limits
        See `run.make`.
    """

    def __init__(self, offer: Offer, image_request: ImageRequest, limits: Limits) -> None:
        self._offer = offer
        self._image_request = image_request
        self._limits = limits
        self._loop = asyncio.get_running_loop()
        self._events: asyncio.Queue[bytes | None] = asyncio.Queue()
        self._created = int(time.time())
        self._partial = 0
        self._last: Variation | None = None
        self.started = asyncio.Event()

    def run(self, cancel: threading.Event) -> None:
        """Make the pictures and queue an event for each; call it on a thread of its own."""
        encoded = make(
            self._offer,
            self._image_request,
            self._limits,
            cancel,
            on_start=lambda: self._tell(self.started.set),
            on_picture=self._picture,
            on_preview=self._preview,
        )
        if self._last is not None:
            self._send_last(self._last, encoded)

    def _tell(self, function: Any, *arguments: Any) -> None:
        self._loop.call_soon_threadsafe(function, *arguments)

    def _picture(self, picture: Variation) -> None:
        # The last picture's event has the run's usage, which is known at its end, so each waits for the next.
        if self._last is not None:
            self._completed(self._last, answers.NO_USAGE, {})
        self._last = picture

    def _send_last(self, picture: Variation, encoded: Encoded) -> None:
        self._completed(picture, encoded.usage, {"warnings": encoded.warnings} if encoded.warnings else {})

    def _completed(self, picture: Variation, usage: Any, more: dict[str, Any]) -> None:
        item = answers.Item.of(encode(picture, self._image_request))
        facts = {**self._facts(), "usage": dict(usage), **more}
        self._tell(self._events.put_nowait, events.write_event("image_edit.completed", item, facts))

    def _preview(self, data: bytes) -> None:
        if self._partial < self._image_request.partial_images:
            facts = {**self._facts(), "partial_image_index": self._partial}
            self._partial += 1
            event = events.write_event("image_edit.partial_image", answers.Item.of(data), facts)
            self._tell(self._events.put_nowait, event)

    def _facts(self) -> dict[str, Any]:
        width, height = self._image_request.request.size
        size = f"{width}x{height}"
        options = self._image_request.request.options
        return {
            "created_at": self._created,
            # The API's schema has no other sizes; a client reads the size from the picture.
            "size": size if size in _SIZES else "auto",
            "quality": options.get("quality", "auto"),
            "background": options.get("background", "auto"),
            "output_format": WRITTEN[self._image_request.extension].api_name,
        }

    async def chunks(self, run: asyncio.Task[None]) -> AsyncIterator[bytes]:
        """Yield the answer's chunks until `run`, the task that waits for the thread, has ended."""
        run.add_done_callback(lambda _: self._events.put_nowait(None))
        get: asyncio.Future[bytes | None] | None = None
        try:
            while True:
                get = get or asyncio.ensure_future(self._events.get())
                done, _ = await asyncio.wait({get}, timeout=_PING_S)
                if not done:
                    yield b": ping\n\n"
                    continue
                event, get = get.result(), None
                if event is None:
                    break
                yield event
        finally:
            if get is not None:
                get.cancel()
        exc = None if run.cancelled() else run.exception()
        if exc is not None and not isinstance(exc, ClientGoneError):
            yield events.write_error_event(refusal_of(exc).body)
