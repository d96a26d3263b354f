"""The Batch API for edits: a file of requests goes up, and a file of answers comes down within a day, at half price.

It implements `ipy_imgvar.batches.BatchService`. A line's body is the message that the engine would post, as JSON; a
line's answer is read as the engine reads one.

References
----------
https://platform.openai.com/docs/guides/batch
https://platform.openai.com/docs/api-reference/batch
https://learn.microsoft.com/en-us/azure/foundry/reference/rest/batches-create-batch, which lists /v1/images/edits
"""

from __future__ import annotations

import json
from dataclasses import replace
from typing import IO, TYPE_CHECKING, Any, Final
from urllib.parse import quote

from ipy_imgvar.api.forms import multipart
from ipy_imgvar.api.refusals import one_line
from ipy_imgvar.batches import Batch, BatchLimits
from ipy_imgvar.engines.openai.calls import Calls
from ipy_imgvar.engines.openai.message import choose_model, choose_route, encoded, make_message, outline
from ipy_imgvar.engines.openai.models import farewell
from ipy_imgvar.engines.openai.pictures import MAX_OTHER_BYTES, MAX_PICTURE_BYTES, to_variations
from ipy_imgvar.engines.openai.replies import problem_of, read_reply
from ipy_imgvar.errors import APIStatusError, BadResponseError, InvalidRequestError
from ipy_imgvar.results.usage import json_safe

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    import httpx

    from ipy_imgvar.api.answers import Answer
    from ipy_imgvar.batches import Reply
    from ipy_imgvar.engine import Job
    from ipy_imgvar.request import VariationRequest
    from ipy_imgvar.results.variation import Variation
    from ipy_imgvar.settings import Connection

__all__ = ["OpenAIBatches"]

#: The most of one file: "up to 50,000 requests, and ... up to 200 MB in size" (batches/create, `input_file_id`).
_LIMITS: Final = BatchLimits(lines=50_000, bytes=200_000_000)
#: The route of every line, as the specification spells it; a base with another path has it too.
_URL: Final = "/v1/images/edits"
#: What a batch costs at OpenAI itself (guides/batch); another server has prices of its own.
_PRICE: Final = "at half price"
#: The only window that the API allows (batches/create, `completion_window`).
_WINDOW: Final = "24h"
#: The type of the file that is sent; also the mark at which its form is cut in two.
_TYPE: Final = "application/jsonl"
#: Statuses of a batch that makes nothing further (batches/object, `status`).
_ENDED: Final = ("completed", "failed", "expired", "cancelled")
#: The code of a batch that was refused because the account's queue is full; Azure writes it without underscores.
_QUEUE_FULL: Final = "tokenlimitexceeded"
#: Entries that one page of a list has: the most that the API allows for batches, and for files a tenth of it.
_BATCHES_A_PAGE, _FILES_A_PAGE = 100, 1000
#: Statuses with which a server without batches answers.
_NO_ROUTE: Final = (404, 405, 501)
#: Tries to get a file of answers in its full length.
_TRIES: Final = 3
#: Models that OpenAI never took batches of edits for.
_WITHOUT: Final = ("dall-e",)


class OpenAIBatches:
    """The batches of one server, for the lines of one run; see `ipy_imgvar.batches.BatchService`."""

    limits = _LIMITS

    def __init__(
        self, connection: Connection, client: httpx.Client, request: VariationRequest, job: Job, pace: float
    ) -> None:
        self._connection, self._client, self._request = connection, client, request
        self._model = choose_model(request, is_openai=connection.is_openai)
        self._calls = Calls(connection, client, request, job, pace)
        self.destination = f"{connection.server} (batches of edits, model {self._model or 'its own choice'})"
        self.price = _PRICE if connection.is_openai else ""

    def check(self) -> None:
        """Raise for requests that no batch can hold; see `BatchService.check`."""
        _refuse(self._request, self._connection)

    def probe(self) -> None:
        """Ask whether there are batches and whether there is the model; see `BatchService.probe`."""
        server = self._connection.server
        advice = "leave batch out to ask for each image on its own"
        try:
            self._calls.get("batches", {"limit": "1"})
        except BadResponseError:
            raise InvalidRequestError(f"{server} has no batches; {advice}", field="batch") from None
        except APIStatusError as exc:
            if exc.status in _NO_ROUTE:
                raise InvalidRequestError(
                    f"{server} has no batches (it answered {exc.status}); {advice}", field="batch"
                ) from None
            raise
        self._ask_for_model()

    def _ask_for_model(self) -> None:
        """Raise where the server says that the model is not there; a server that says nothing of models is believed."""
        if self._model is None:
            return
        described: dict[str, Any] = {}
        try:
            described = self._calls.get(f"models/{quote(self._model, safe='')}")
        except APIStatusError as exc:
            if exc.status == 404 and (exc.code == "model_not_found" or exc.param == "model"):  # noqa: PLR2004
                raise InvalidRequestError(str(exc), field="model") from None
        except BadResponseError:
            pass
        line = farewell(self._model, described.get("shutdown_date"))
        if line and " was switched off " in line:
            raise InvalidRequestError(f"{line}; nothing was uploaded", field="model")

    def line(self, request: VariationRequest, key: str) -> bytes:
        """Return the line of a request; see `BatchService.line`."""
        as_json = replace(request, options={**request.options, "edits_json": True})
        message = make_message(as_json, is_openai=self._connection.is_openai)
        head = json.dumps({"custom_id": key, "method": "POST", "url": _URL})[:-1].encode()
        return b"".join([head, b', "body": ', encoded(message).data, b"}\n"])

    def upload(self, name: str, file: IO[bytes], size: int) -> str:
        """Send a file; see `BatchService.upload`."""
        kind, form = multipart({"purpose": "batch"}, [("file", name, b"", _TYPE)])
        cut = form.index(mark := f"{_TYPE}\r\n\r\n".encode()) + len(mark)
        answer = self._calls.post_file("files", file, size, form=(kind, form[:cut], form[cut:]))
        return self._id_in(answer, "file")

    def find_file(self, name: str) -> str | None:
        """Return the id of an uploaded file; see `BatchService.find_file`."""
        found = None
        for entry in self._all("files", {"purpose": "batch", "limit": str(_FILES_A_PAGE)}):
            if entry.get("filename") == name and isinstance(entry.get("id"), str):
                found = entry["id"]
        return found

    def create(self, file_id: str, metadata: Mapping[str, str]) -> Batch:
        """Begin a batch; see `BatchService.create`."""
        body = {
            "input_file_id": file_id,
            "endpoint": _URL,
            "completion_window": _WINDOW,
            "metadata": dict(metadata),
        }
        return self._batch(self._calls.post("batches", body))

    def find(self, metadata: Mapping[str, str]) -> list[Batch]:
        """Return the batches with this metadata; see `BatchService.find`."""
        found = [
            self._batch(entry)
            for entry in self._all("batches", {"limit": str(_BATCHES_A_PAGE)})
            if isinstance(entry.get("metadata"), dict)
            and metadata.items() <= {name: str(value) for name, value in entry["metadata"].items()}.items()
        ]
        return sorted(found, key=lambda each: each.created_at or 0)

    def get(self, batch_id: str) -> Batch:
        """Return a batch as it is now."""
        return self._batch(self._calls.get(f"batches/{quote(batch_id, safe='')}"))

    def cancel(self, batch_id: str) -> Batch:
        """End a batch; one that has ended meanwhile is returned as it is."""
        try:
            return self._batch(
                self._calls.post(f"batches/{quote(batch_id, safe='')}/cancel", is_repeatable=True)
            )
        except APIStatusError as exc:
            if exc.status not in (400, 409):
                raise
            return self.get(batch_id)

    def replies(self, file_id: str, lines: int, file: IO[bytes]) -> Iterator[Reply]:
        """Read a file of answers to its end, then yield them; see `BatchService.replies`."""
        longest = self._request.n * MAX_PICTURE_BYTES + MAX_OTHER_BYTES
        path = f"files/{quote(file_id, safe='')}"
        for _ in range(_TRIES):
            self._calls.download(f"{path}/content", file, lines * longest)
            length = self._calls.get(path).get("bytes")
            if not isinstance(length, int) or file.tell() >= length:
                break
        file.seek(0)
        while line := file.readline(longest):
            yield read_reply(line, self._model, self._connection.server, self._calls.mask)

    def pictures(self, reply: Reply, request: VariationRequest, job: Job) -> Iterator[Variation]:
        """Yield the pictures of an answer; see `BatchService.pictures`."""
        answer: Answer = reply.answer
        if answer.usage is not None:
            job.count(json_safe(answer.usage, self._calls.mask))
        message = outline(request, is_openai=self._connection.is_openai)
        for note in message.notes:
            job.warn(note)
        yield from to_variations(
            answer.items,
            request,
            message,
            self._connection,
            job=job,
            client=self._client,
            mask=self._calls.mask,
        )

    def delete(self, file_ids: Iterable[str]) -> None:
        """Remove files; see `BatchService.delete`."""
        for each in file_ids:
            try:
                self._calls.delete(f"files/{quote(each, safe='')}")
            except APIStatusError as exc:
                if exc.status not in _NO_ROUTE:
                    raise

    def _all(self, path: str, query: Mapping[str, str]) -> Iterator[Mapping[str, Any]]:
        """Yield the entries of a list, page by page, until the server has no further one."""
        after: str | None = None
        seen: set[str] = set()
        while True:
            page = self._calls.get(path, {**query, **({"after": after} if after else {})})
            entries = [each for each in page.get("data") or () if isinstance(each, dict)]
            yield from entries
            last = page.get("last_id") or (entries[-1].get("id") if entries else None)
            # A server that ignores `after` would send its first page for ever.
            if not page.get("has_more") or not isinstance(last, str) or last in seen:
                return
            seen.add(last)
            after = last

    def _id_in(self, answer: Mapping[str, Any], what: str) -> str:
        if not isinstance(found := answer.get("id"), str) or not found:
            raise BadResponseError(f"{self._connection.server} gave no id for a {what}")
        return found

    def _batch(self, answer: Mapping[str, Any]) -> Batch:
        counts, errors = answer.get("request_counts"), answer.get("errors")
        counts = counts if isinstance(counts, dict) else {}
        entries = errors.get("data") if isinstance(errors, dict) else None
        problems = [each for each in entries or () if isinstance(each, dict)]
        status = str(answer.get("status"))
        codes = {str(each.get("code")).replace("_", "").lower() for each in problems}
        created = answer.get("created_at")
        metadata = answer.get("metadata")
        return Batch(
            id=self._id_in(answer, "batch"),
            status=one_line(status, self._calls.mask),
            is_ended=status in _ENDED,
            is_whole=status == "completed",
            is_cancelled=status in ("cancelling", "cancelled"),
            is_refused=status == "failed",
            is_queue_full=status == "failed" and _QUEUE_FULL in codes,
            total=_count(counts, "total"),
            completed=_count(counts, "completed"),
            failed=_count(counts, "failed"),
            output_file=_text(answer.get("output_file_id")),
            error_file=_text(answer.get("error_file_id")),
            errors=tuple(problem_of(each, self._calls.mask) for each in problems),
            created_at=created if isinstance(created, (int, float)) else None,
            metadata=metadata if isinstance(metadata, dict) else {},
        )


def _refuse(request: VariationRequest, connection: Connection) -> None:
    """Raise for a request that no batch can hold."""
    route = choose_route(request, is_openai=connection.is_openai)
    if route != "edits":
        raise InvalidRequestError(
            f"the route is {route}; allowed in a batch: edits; say --route edits, or leave batch out",
            field="batch",
        )
    if request.options.get("stream"):
        raise InvalidRequestError("a batch can't stream; leave stream or batch out", field="batch")
    model = choose_model(request, is_openai=connection.is_openai)
    if model is not None and model.lower().startswith(_WITHOUT):
        raise InvalidRequestError(
            f"the model {model} takes no batches of edits; allowed: the gpt-image models; or leave batch out",
            field="model",
        )


def _count(counts: Mapping[str, Any], name: str) -> int:
    value = counts.get(name)
    return value if isinstance(value, int) and value > 0 else 0


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None
