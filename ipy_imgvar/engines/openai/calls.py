"""Calls beside the images' own routes: files and batches. Reads are tried again, and what is long is streamed.

A call that changes something is sent once: whether the server did it before its answer was lost is for the caller to
find out.
"""

from __future__ import annotations

import json
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING, Any, Final, TypeVar

import httpx

from ipy_imgvar.engines.openai.errors import NOT_REPEATED, Mask
from ipy_imgvar.engines.openai.exchange import Exchange, chunks, read_refusal, refused
from ipy_imgvar.engines.openai.headers import headers_of
from ipy_imgvar.engines.openai.retry import ordered_s, should_retry
from ipy_imgvar.engines.openai.waiting import Watch, wait
from ipy_imgvar.errors import APIStatusError, BadResponseError, ConnectionFailedError
from ipy_imgvar.network.backoff import backoff_s, jitter
from ipy_imgvar.network.watch import watched

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from ipy_imgvar.engine import Job
    from ipy_imgvar.request import VariationRequest
    from ipy_imgvar.settings import Connection

T = TypeVar("T")

__all__ = ["Calls"]

#: Tries of a read after the first, where the caller allows fewer: with the waits between them about a minute. A run
#: of batches lasts hours, and a read costs nothing.
_LEAST_RETRIES: Final = 5
#: Seconds between two tries at most, where the server names none.
_LONGEST_BACKOFF_S: Final = 60.0
#: Seconds that a connection may be silent. A request may take long as a whole, but a server that sends and takes
#: nothing for this time is gone; our choice.
_SILENCE_S: Final = 300.0
#: Bytes of an answer that is JSON, 16 MiB: a list of a thousand files has less than one.
_MAX_JSON_BYTES: Final = 1 << 24
#: Bytes that are read of a file and sent at once: 1 MiB.
_PIECE: Final = 1 << 20


class Calls:
    """Sends the calls of one bulk run.

    Parameters
    ----------
    connection, client
        The server, and the client that reaches it.
    request
        Its timeout holds for each call, and for the silences of an upload or a download; its
        retries for each read; its headers and its query are sent with each.
    job
        Says whether to stop.
    pace
        The factor of the waits between tries where the server names none.
    """

    def __init__(
        self, connection: Connection, client: httpx.Client, request: VariationRequest, job: Job, pace: float
    ) -> None:
        self._connection, self._client, self._request, self._job = connection, client, request, job
        self._pace = pace
        self.mask = Mask(connection, request)

    def get(self, path: str, query: Mapping[str, str] | None = None) -> dict[str, Any]:
        """Return the JSON object at a path; tried again after a fault that may pass."""
        return self._patiently(lambda: self._json("GET", path, query=query))

    def delete(self, path: str) -> None:
        """Remove what is at a path; tried again after a fault that may pass."""
        self._patiently(lambda: self._json("DELETE", path))

    def post(
        self, path: str, body: Mapping[str, Any] | None = None, *, is_repeatable: bool = False
    ) -> dict[str, Any]:
        """Send a JSON object, and return the answer's; once, unless a second time does no more than the first."""
        data = json.dumps(body or {}).encode()

        def send() -> dict[str, Any]:
            return self._json("POST", path, content_type="application/json", content=data)

        return self._patiently(send) if is_repeatable else send()

    def post_file(
        self, path: str, file: IO[bytes], size: int, *, form: tuple[str, bytes, bytes]
    ) -> dict[str, Any]:
        """Send an open file of `size` bytes, once, and return the answer's JSON object.

        `form` has the content type, and the form's bytes before and after the file.
        """
        content_type, head, tail = form
        file.seek(0)

        def pieces() -> Iterator[bytes]:
            yield head
            while piece := file.read(_PIECE):
                yield piece
            yield tail

        length = len(head) + size + len(tail)
        return self._json(
            "POST", path, content_type=content_type, content=pieces(), length=length, is_long=True
        )

    def download(self, path: str, file: IO[bytes], most: int) -> None:
        """Write what is at a path into an open file; tried again from the start after a fault that may pass."""

        def fetch() -> None:
            file.seek(0)
            file.truncate()
            with self._sent("GET", path, is_long=True) as response:
                for piece in chunks(response, most, self.mask):
                    file.write(piece)

        self._patiently(fetch)

    def _patiently(self, call: Callable[[], T]) -> T:
        """Repeat a call that changes nothing, or nothing more, until it gets its answer or the tries are used up."""
        tries = max(self._request.max_retry_count, _LEAST_RETRIES)
        for attempt in range(tries):
            try:
                return call()
            except (ConnectionFailedError, APIStatusError, BadResponseError) as exc:
                if isinstance(exc, APIStatusError) and exc.retry_after_s is None:
                    raise
                asked_s = exc.retry_after_s if isinstance(exc, APIStatusError) else 0.0
                pause_s = asked_s or backoff_s(attempt, jitter(), _LONGEST_BACKOFF_S) * self._pace
                wait(pause_s, f"{exc}; try {attempt + 2} of {tries + 1}", self._job)
        return call()

    def _json(self, method: str, path: str, **more: Any) -> dict[str, Any]:
        with self._sent(method, path, **more) as response:
            body = b"".join(chunks(response, _MAX_JSON_BYTES, self.mask))
        try:
            answer = json.loads(body)
        except (ValueError, RecursionError):
            answer = None
        if not isinstance(answer, dict):
            raise BadResponseError(
                f"{self._connection.server} answered {method} /{path} with no JSON object; check --api-base"
            )
        return answer

    @contextmanager
    def _sent(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        content_type: str = "",
        content: bytes | Iterator[bytes] | None = None,
        length: int | None = None,
        is_long: bool = False,
    ) -> Iterator[httpx.Response]:
        """Send a call and give its answer, unless that is a refusal.

        The timeout bounds the whole call; of one that `is_long`, such as the way of 200 MB, only each silence.
        """
        server, timeout_s = self._connection.server, self._request.timeout
        watch = Watch(self._job, 0.0 if is_long else timeout_s, f"{server} (/{path.partition('/')[0]})")
        url = httpx.URL(f"{self._connection.address}/{path}")
        params = {**self._request.extra_query, **(query or {})}
        headers = headers_of(self._connection, self._request, content_type)
        if length is not None:
            headers["Content-Length"] = str(length)
        silence_s = dict.fromkeys(("connect", "read", "write"), (is_long and timeout_s) or _SILENCE_S)
        extensions: dict[str, Any] = {"timeout": silence_s}
        if params:
            # The query may hold a key, and httpx puts addresses into its log and its errors.
            extensions["target"] = url.copy_merge_params(params).raw_path
        outgoing = httpx.Request(method, url, headers=headers, content=content, extensions=extensions)
        with _unsaid(), watched(watch.check), Exchange(self._client, outgoing, self.mask) as response:
            if not response.is_success:
                error = read_refusal(response, self.mask)
                refusal = refused(response, error, route="edits", model=None, server=server, mask=self.mask)
                if should_retry(response.status_code, response.headers, f"{error.message} {error.code}"):
                    refusal.retry_after_s = ordered_s(response.headers)
                raise refusal
            yield response


@contextmanager
def _unsaid() -> Iterator[None]:
    """Leave out of an error that pictures may be paid for and lost: no call of these makes one at once."""
    try:
        yield
    except ConnectionFailedError as exc:
        exc.args = (str(exc).removesuffix(NOT_REPEATED),)
        raise
