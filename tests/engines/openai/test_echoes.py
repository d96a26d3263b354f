"""A server that repeats the key wherever it can: no place that we write to or show has it."""

import json
import logging
import traceback

import pytest
from loopback import CANARY, CLOSE, PICTURES, answer_of, b64, events, refusal, response

from ipy_imgvar import Client, last, settings
from ipy_imgvar.errors import ImageVariationError

#: A secret of the caller that nothing but its value tells.
TOKEN = "plain-words-and-no-sk-prefix/+=\u00e9"  # noqa: S105 - for the test
MEAN = "\x1b[2J\u202e"
#: Numbers that JSON has no form for, written as Python does.
USAGE = {"total_tokens": float("nan"), f"by {CANARY}": {f"of {TOKEN}": [CANARY, {"x": TOKEN}]}, "note": MEAN}


@pytest.fixture
def left(store_root, caplog):
    """Give a function that returns all text that a run left: its store, its log, and what is given."""
    caplog.set_level(logging.DEBUG)

    def everything(*shown):
        files = [path.read_bytes().decode("latin-1") for path in store_root.rglob("*") if path.is_file()]
        return "\n".join([caplog.text, *files, *map(str, shown)])

    return everything


def clean(text):
    """Check that no secret is in a text, as it is or as an address or JSON writes it."""
    for secret in (CANARY, TOKEN, TOKEN[:20], json.dumps(TOKEN)[1:-1], "plain-words-and-no-sk-prefix%2F"):
        assert secret.lower() not in text.lower()
    assert "\x1b" not in text
    assert "\u202e" not in text


ANSWERS = {
    "usage": [response(200, answer_of(PICTURES[0], usage=USAGE), x_request_id=CANARY)],
    "usage of a stream": events(("image_edit.completed", {"b64_json": b64(PICTURES[0]), "usage": USAGE})),
    "an address": [
        response(
            200, {"data": [{"url": f"/pictures/1.png?k={CANARY}&t=plain-words-and-no-sk-prefix/+=%C3%A9"}]}
        )
    ],
}
REFUSALS = {
    "a message": refusal(400, f"no {CANARY} {TOKEN} {MEAN}", CANARY, TOKEN, x_request_id=f"{CANARY}{MEAN}"),
    "half of it": refusal(400, "x" * 385 + TOKEN),
    "a list": [response(422, {"detail": [{"loc": [TOKEN, CANARY], "msg": CANARY}]})],
    "a date": [response(404, {"error": {"message": "x", "shutdown_date": f"2026-01-02{CANARY}"}})],
    "HTML": [response(500, f"<title>{TOKEN} {CANARY}</title>", "text/html")],
    "capitals": refusal(400, f"{TOKEN.upper()} {CANARY.lower()}", TOKEN.title()),
    "HTML's own way": [response(500, "<title>" + TOKEN.replace("-", "&#45;") + "</title>", "text/html")],
    "no header": [f"HTTP/1.1 200 OK\r\n{CANARY}\r\n\r\n".encode(), CLOSE],
    "no status": [f"HTTP/1.1 {CANARY}\r\n\r\n".encode(), CLOSE],
    "an encoding": [response(200, b"x", Content_Encoding="0" * 18 + TOKEN[:-1])],
    "a host": [response(200, {"data": [{"url": f"http://{CANARY}.localhost:1/x"}]})],
    "a port": [response(200, {"data": [{"url": f"http://x:{TOKEN}"}]})],
    "a redirect": [response(302, b"", None, Location=f"http://127.0.0.1:1/{CANARY}/x?{TOKEN[:28]}")],
    "no JSON": [response(200, f"[{CANARY}")],
    "a text": [response(200, json.dumps(TOKEN))],
    "a stream": events(("error", {"error": {"message": CANARY, "code": TOKEN, "param": CANARY}})),
    "no event": events(f"data: {{{'x' * 70}{TOKEN}\n\n".encode()),
    "an address": [
        response(200, {"data": [{"url": f"/{CANARY}/x.png?plain-words-and-no-sk-prefix%2F%2B%3D%C3%A9"}]})
    ],
    "no address": [response(200, {"data": [{"url": f"http://[{CANARY}/x"}]})],
    "no picture": [response(200, {"data": [{"url": f"ftp://{CANARY}/x"}]})],
}


@pytest.mark.parametrize("name", ANSWERS)
def test_an_answer_that_repeats_the_key(api, client, photo, left, name):
    """The picture is kept; the key, escapes and NaN are in no record, log, repr or page, and the record is JSON."""
    api.script(ANSWERS[name])
    made = client.variations(photo, prompt="x", extra_body={"token": TOKEN}, options={"stream": "true"})
    assert len(made) == 1
    shown = (
        repr(made),
        made._repr_html_(),
        made.usage,
        made.urls,
        made[0].parameters,
        made[0].url,
        last(),
        made.warnings,
    )
    clean(left(*shown))
    for path in settings.store_root().rglob("run.jsonl"):
        for line in path.read_text().splitlines():
            json.loads(line, parse_constant=lambda word: pytest.fail(f"{word} is no JSON"))


@pytest.mark.parametrize("name", REFUSALS)
def test_a_refusal_that_repeats_the_key(api, client, photo, left, name):
    """The error is one plain line, and neither it nor the log nor the store has the key or a part of it."""
    api.script(REFUSALS[name])
    with pytest.raises(ImageVariationError) as caught:
        client.variations(photo, prompt="x", extra_body={"token": TOKEN})
    told = traceback.format_exception(caught.value)
    clean(left(*told, repr(caught.value), vars(caught.value)))
    assert "\n" not in str(caught.value)


def test_a_login_that_is_repeated(api, photo, caplog):
    """A user and password in the base are hidden as they are and as they are sent."""
    caplog.set_level(logging.DEBUG)
    base = api.base.replace("http://", "http://operator:s3cret-word@")
    api.script(refusal(401, "bad Basic b3BlcmF0b3I6czNjcmV0LXdvcmQ= of operator:s3cret-word"))
    with Client("openai", api_base=base) as client, pytest.raises(ImageVariationError) as caught:
        client.variations(photo, prompt="x")
    assert api.posts[0].headers["authorization"] == "Basic b3BlcmF0b3I6czNjcmV0LXdvcmQ="
    for secret in ("b3BlcmF0b3I6", "s3cret-word"):
        assert secret not in str(caught.value) + caplog.text
