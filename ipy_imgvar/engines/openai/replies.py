"""The lines of a batch's files of answers, as pure functions: each has an answer of the images API, or says why not.

References
----------
https://platform.openai.com/docs/api-reference/batch/request-output
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from ipy_imgvar.api import answers
from ipy_imgvar.api.refusals import one_line, read_error
from ipy_imgvar.batches import Reply
from ipy_imgvar.engines.openai.errors import of_status
from ipy_imgvar.engines.openai.retry import should_retry

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["problem_of", "read_reply"]


def read_reply(line: bytes, model: str | None, server: str, clean: Callable[[str], str]) -> Reply:
    """Return what a line says; its pictures stay encoded.

    Parameters
    ----------
    line
        A line of the output file or the error file, in UTF-8.
    model, server
        The request's model, and the server's name, for messages.
    clean
        Removes secrets from a text.
    """
    try:
        skeleton, spans = answers.cut_out(line)
        parsed = json.loads(skeleton)
    except (ValueError, RecursionError):
        return Reply("", "unanswered", "a line of the answers is no JSON")
    if not isinstance(parsed, dict) or not isinstance(key := parsed.get("custom_id"), str):
        return Reply("", "unanswered", "a line of the answers names no request")
    response, error = parsed.get("response"), parsed.get("error")
    response = response if isinstance(response, dict) else {}
    status, body = response.get("status_code"), response.get("body")
    if not isinstance(status, int):
        problem = problem_of(error if isinstance(error, dict) else {}, clean)
        return Reply(key, "unanswered", f"{server} did not answer: {problem}")
    if not 200 <= status < 300:  # noqa: PLR2004 - the successes
        said = read_error(json.dumps(body).encode(), "application/json", clean)
        name = response.get("request_id")
        request_id = one_line(name, clean) if isinstance(name, str) else None
        refusal = of_status(status, said, route="edits", model=model, server=server, request_id=request_id)
        again = should_retry(status, {}, f"{said.message} {said.code}")
        return Reply(key, "unanswered" if again else "refused", str(refusal))
    data = body.get("data") if isinstance(body, dict) else None
    if not isinstance(body, dict) or not isinstance(data, list) or not data:
        problem = f"{server} answered {status}, but it has no pictures; the server may have charged for it"
        return Reply(key, "refused", problem)
    items = [answers.item_of(entry, spans) for entry in data]
    return Reply(key, "answered", answer=answers.Answer(items, answers.usage_of(body)))


def problem_of(error: Mapping[str, Any], clean: Callable[[str], str]) -> str:
    """Return an error of a batch, or of one of its lines, as one line of text; `clean` removes secrets."""
    code, line, text = (error.get(name) for name in ("code", "line", "message"))
    where = f"line {line}: " if isinstance(line, int) else ""
    return one_line(f"{where}{text or 'no reason given'}{f' ({code})' if code else ''}", clean)
