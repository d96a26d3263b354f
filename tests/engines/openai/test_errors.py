"""Every fault of a server: a typed error in one line, or success, after the stated number of POSTs."""

import base64
import gzip
import json
import struct
import time
import traceback
import zlib
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from cases import slow
from loopback import (
    CANARY,
    CLOSE,
    PICTURES,
    RESET,
    STALL,
    USAGE,
    Api,
    answer_of,
    b64,
    events,
    png,
    refusal,
    response,
)

from ipy_imgvar import Client, last
from ipy_imgvar.errors import (
    APIStatusError,
    AuthenticationError,
    BadResponseError,
    ConnectionFailedError,
    ImageVariationError,
    RateLimitError,
    RequestTimeoutError,
    ServerError,
)

TWO = json.dumps(answer_of(*PICTURES[:2])).encode()
#: All of the first picture, and a part of the second.
CUT_AT = TWO.index(b'"b64_json"', 40) + 60
CHUNKED = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"


def head_of(length, **headers):
    return response(200, b"", Content_Length=length, **headers)


def bomb():
    """Return a PNG of a few hundred bytes that claims to be of 60000 x 60000 pixels."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", 60000, 60000, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(bytes(1000)))
        + chunk(b"IEND", b"")
    )


def one_line(error):
    """Check what holds of every error's message, and return it."""
    text = str(error)
    assert text
    assert "\n" not in text
    assert len(text) < 700
    shown = "".join(traceback.format_exception(error)) + repr(error) + repr(vars(error))
    assert CANARY not in shown
    return text


# name: (reply, error, part of its message, whole pictures that are kept)
BROKEN = {
    "truncated, by length": ([head_of(len(TWO)), TWO[:CUT_AT], CLOSE], ConnectionFailedError, "charged", 1),
    "truncated, in chunks": (
        [CHUNKED, f"{len(TWO):x}\r\n".encode(), TWO[:CUT_AT], CLOSE],
        ConnectionFailedError,
        "charged",
        1,
    ),
    "reset before the answer": ([RESET], ConnectionFailedError, "not asked again", 0),
    "closed before the answer": ([CLOSE], ConnectionFailedError, "not asked again", 0),
    "reset in the body": (
        [head_of(len(TWO)), TWO[:CUT_AT], 0.1, RESET],
        ConnectionFailedError,
        "charged",
        None,
    ),
    "no HTTP": ([b"SSH-2.0-OpenSSH_9.6\r\n", CLOSE], ConnectionFailedError, "RemoteProtocolError", 0),
    "HTML": (
        [response(200, "<html><title>Sign in</title></html>", "text/html")],
        BadResponseError,
        "Sign in",
        0,
    ),
    "broken JSON": ([response(200, '{"data": [')], BadResponseError, "no JSON", 0),
    "null": ([response(200, "null")], BadResponseError, "JSON null", 0),
    "a list": ([response(200, "[1]")], BadResponseError, "not an object", 0),
    "deep nesting": ([response(200, "[" * 100_000)], BadResponseError, "no JSON", 0),
    "nothing": ([response(200, b"")], BadResponseError, "no JSON", 0),
    "no data": ([response(200, {"created": 1})], BadResponseError, "no pictures", 0),
    "empty data": ([response(200, {"created": 1, "data": []})], BadResponseError, "no pictures", 0),
    "data is null": ([response(200, {"created": 1, "data": None})], BadResponseError, "no pictures", 0),
    "an error that says 200": (
        [response(200, {"error": {"message": "out of memory"}})],
        BadResponseError,
        "out of memory",
        0,
    ),
    "an entry is text": ([response(200, {"data": ["x"]})], BadResponseError, "no object", 0),
    "null fields": (
        [response(200, {"data": [{"b64_json": None, "url": None}]})],
        BadResponseError,
        "neither",
        0,
    ),
    "broken base64": ([response(200, {"data": [{"b64_json": "iVBORw0K*"}]})], BadResponseError, "decoded", 0),
    "base64 with a hole": (
        [response(200, {"data": [{"b64_json": b64(PICTURES[0])[:40] + "!" + b64(PICTURES[0])[40:]}]})],
        BadResponseError,
        "decoded",
        0,
    ),
    "empty base64": ([response(200, {"data": [{"b64_json": ""}]})], BadResponseError, "empty", 0),
    "text as an image": ([response(200, answer_of(b"Hello, world"))], BadResponseError, "not an image", 0),
    "a bomb": ([response(200, answer_of(bomb()))], BadResponseError, "more pixels", 0),
    "no gzip": ([response(200, TWO, Content_Encoding="gzip")], BadResponseError, "unpacked", 0),
    "a broken one beside a whole one": (
        [response(200, {"data": [{"b64_json": "!"}, {"b64_json": b64(PICTURES[0])}]})],
        BadResponseError,
        "decoded",
        1,
    ),
    "a file's path": (
        [response(200, {"data": [{"url": "/home/x/.xinference/image/a.png"}]})],
        BadResponseError,
        "404",
        0,
    ),
    "a file: URL": ([response(200, {"data": [{"url": "file:///etc/passwd"}]})], BadResponseError, "file", 0),
    "a broken data: URL": (
        [response(200, {"data": [{"url": "data:image/png;base64,!"}]})],
        BadResponseError,
        "decoded",
        0,
    ),
    "no valid URL": ([response(200, {"data": [{"url": "http://[::1/a"}]})], BadResponseError, "address", 0),
    "a URL of nobody": (
        [response(200, {"data": [{"url": "http://127.0.0.1:1/a.png"}]})],
        ConnectionFailedError,
        "can't be fetched",
        0,
    ),
    "a stream that stops": (
        events(("image_edit.partial_image", {"b64_json": b64(png("gray")), "partial_image_index": 0})),
        BadResponseError,
        "without a picture",
        0,
    ),
    "a stream with an error": (
        events(
            ("image_edit.completed", {"b64_json": b64(PICTURES[0])}),
            ("error", {"error": {"message": "moderated", "code": "moderation_blocked"}}),
        ),
        APIStatusError,
        "moderated",
        1,
    ),
    "a stream that can't be read": (events(b"data: {x\n\n"), APIStatusError, "can't be read", 0),
}


@pytest.mark.parametrize("name", BROKEN)
def test_broken_answers(api, client, photo, name):
    """A 200 that is broken in any way is a typed error after one POST, even with retries; whole pictures are kept."""
    reply, kind, said, kept = BROKEN[name]
    api.script(reply)
    with pytest.raises(kind) as caught:
        client.variations(photo, n=2, prompt="x", max_retry_count=3)
    assert said in one_line(caught.value)
    assert len(api.posts) == 1
    if kept is not None:
        assert len(caught.value.partial or ()) == kept
    if kept:
        assert caught.value.partial.bytes == PICTURES[:kept]
        assert last().bytes == PICTURES[:kept]
        assert last().status == "failed"


@pytest.mark.slow
def test_an_answer_that_is_too_much(api, client, photo):
    """An answer larger than all that was asked for is not read to its end."""
    blank = b" " * (1 << 20)
    api.script([head_of(90 << 20), *[blank] * 90])
    with pytest.raises(BadResponseError, match="too much"):
        client.variations(photo, prompt="x")


STATUSES = {
    400: (APIStatusError, "check the option"),
    401: (AuthenticationError, "check the key"),
    403: (AuthenticationError, "may not"),
    404: (APIStatusError, "--model"),
    405: (APIStatusError, ""),
    409: (APIStatusError, ""),
    413: (APIStatusError, "smaller"),
    418: (APIStatusError, ""),
    429: (RateLimitError, "--max-retry-count"),
    500: (ServerError, "--max-retry-count"),
    503: (ServerError, "--max-retry-count"),
}


@pytest.mark.parametrize("status", STATUSES)
def test_refusals(api, client, photo, status):
    """A refusal becomes the error of its status, with the server's fields, after one POST."""
    kind, hint = STATUSES[status]
    api.script(refusal(status, "because I say so", "some_code", "size", x_request_id="req_77"))
    with pytest.raises(kind) as caught:
        client.variations(photo, prompt="x")
    error = caught.value
    assert (error.status, error.code, error.param, error.request_id) == (
        status,
        "some_code",
        "size",
        "req_77",
    )
    text = one_line(error)
    assert f"answered {status}: because I say so (request req_77)" in text
    assert hint in text
    assert len(api.posts) == 1


def test_a_refusal_in_fastapi_s_shape(api, client, photo):
    """A 422 with a list names each field and what is wrong with it."""
    detail = [{"type": "missing", "loc": ["body", "model"], "msg": "Field required", "input": None}]
    api.script([response(422, {"detail": detail})])
    with pytest.raises(APIStatusError, match=r"422: body\.model: Field required"):
        client.variations(photo, prompt="x")


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (("<html><h1>502 Bad Gateway</h1><p>nginx</p>", "text/html"), "502 Bad Gateway"),
        (("upstream connect error", "text/plain"), "upstream connect error"),
        ((b"\xff\xfe\x00", None), ""),
        (("", None), ""),
        (('"just text"', "application/json"), "just text"),
        (('{"error": "no such thing"}', "application/json"), "no such thing"),
        (('{"error": {"message": null}}', "application/json"), ""),
        (('{"detail": {"error": "x"}}', "application/json"), ""),
        (("[" * 50_000, "application/json"), ""),
    ],
)
def test_refusals_of_any_shape(api, client, photo, answer, said):
    """Whatever stands in a refusal, it becomes one line."""
    api.script([response(502, *answer)])
    with pytest.raises(ServerError) as caught:
        client.variations(photo, prompt="x")
    assert said in one_line(caught.value)


def test_a_refusal_that_breaks_off(api, client, photo):
    """A refusal whose body breaks off is still the error of its status."""
    api.script([response(401, '{"error"', Content_Length=500), CLOSE])
    with pytest.raises(AuthenticationError):
        client.variations(photo, prompt="x")


@pytest.mark.parametrize(
    ("reply", "said"),
    [
        ([response(404, b"", None)], "does not serve variations"),
        ([response(404, {"detail": "Not Found"})], "Not Found"),
        ([response(405, {"detail": "Method Not Allowed"})], "does not serve variations"),
        ([response(200, b"", None)], "does not serve variations"),
    ],
)
def test_servers_without_variations(api, client, photo, reply, said):
    """A server without the route is told from its answer, which names the ways out; one POST was sent."""
    api.script(reply)
    with pytest.raises(APIStatusError) as caught:
        client.variations(photo, max_retry_count=2)
    text = one_line(caught.value)
    assert said in text
    assert "--route edits" in text
    assert "--engine patch" in text
    assert len(api.posts) == 1


@pytest.mark.parametrize(
    "error",
    [
        {"message": "model is 'm1'; this server has only patch-3"},
        {"message": "The model `x` does not exist"},
        {"message": "no such thing", "param": "model"},
        {"message": "no such thing", "code": "model_not_found"},
    ],
)
def test_a_refused_model_is_no_missing_route(api, client, photo, error):
    """A 404 about the model does not say that the server has no variations; it says to check the model."""
    api.script([response(404, {"error": error})])
    with pytest.raises(APIStatusError) as caught:
        client.variations(photo, model="m1")
    text = one_line(caught.value)
    assert error["message"] in text
    assert text.endswith("; check --model and --api-base")


def test_a_model_that_is_gone(api, client, photo):
    """A refusal of a retired model names a successor, from our table or from the date that the server gives."""
    api.script(refusal(404, "The model has been deprecated", "model_not_found"))
    with pytest.raises(
        APIStatusError, match=r"dall-e-3 will be switched off on 2026-12-01|was switched off"
    ) as caught:
        client.variations(photo, prompt="x", model="dall-e-3")
    assert "gpt-image-2.6-flare" in str(caught.value)
    error = {"message": "gone", "shutdown_date": "2026-01-02"}
    api.script([response(404, {"error": error})])
    with pytest.raises(APIStatusError, match="newest was switched off on 2026-01-02"):
        client.variations(photo, prompt="x", model="newest")


DATE = format_datetime(datetime.now(UTC) + timedelta(days=1), usegmt=True)


@pytest.mark.parametrize(
    ("reply", "posts"),
    [
        (refusal(429, "slow down", Retry_After="0.01"), 3),
        (refusal(429, "slow down", retry_after_ms="5"), 3),
        (refusal(500, "oops", retry_after_ms="5"), 3),
        (refusal(503, "oops", retry_after_ms="5", x_should_retry="false"), 1),
        (refusal(400, "oops", retry_after_ms="5", x_should_retry="true"), 3),
        (refusal(429, "You exceeded your current quota", retry_after_ms="5"), 1),
        (refusal(429, "no", "insufficient_quota", retry_after_ms="5"), 1),
        (refusal(408, "oops", retry_after_ms="5"), 1),
        (refusal(409, "oops", retry_after_ms="5"), 1),
    ],
)
def test_retries(api, client, photo, reply, posts):
    """What invites another try is asked again as often as allowed, whole; anything else once."""
    api.script(reply)
    with pytest.raises(APIStatusError):
        client.variations(photo, prompt="x", max_retry_count=2)
    assert len(api.posts) == posts
    assert len({base64.b64encode(each.body) for each in api.posts}) == 1


@pytest.mark.parametrize(
    ("message", "code"), [("You exceeded your current quota", None), ("x", "insufficient_quota")]
)
def test_a_quota_that_is_used_up(api, client, photo, message, code):
    """A 429 of a quota names the account, and no retry, which would be refused again."""
    api.script(refusal(429, message, code))
    with pytest.raises(RateLimitError, match="plan and the payments") as caught:
        client.variations(photo, prompt="x")
    assert "retry" not in one_line(caught.value)


@pytest.mark.slow
def test_progress_stays_where_it_was(api, client, photo):
    """While the server is waited for, before and after a first look, the share that is done never goes back."""
    first, done = (
        events(("image_edit.partial_image", {"b64_json": b64(png("gray"))}))[0],
        f"data: {json.dumps({'type': 'image_edit.completed', 'b64_json': b64(PICTURES[0])})}\n\n".encode(),
    )
    api.script([first, 1.3, done, CLOSE])
    heard = []
    client.variations(
        photo, prompt="x", options={"stream": "true"}, on_progress=lambda *report: heard.append(report)
    )
    fractions = [fraction for fraction, _ in heard]
    assert fractions == sorted(fractions)
    assert any("waiting" in text and fraction == 0.5 for fraction, text in heard)


def test_no_retry_unless_asked_for(api, client, photo):
    """By default nothing is asked twice."""
    api.script(refusal(429, "slow down", retry_after_ms="1"))
    with pytest.raises(RateLimitError):
        client.variations(photo, prompt="x")
    assert len(api.posts) == 1


def test_a_retry_that_succeeds(api, client, photo):
    """After a 429 and a 500 the third answer counts, and each wait was shown."""
    api.script(
        refusal(429, "slow", retry_after_ms="5"),
        refusal(500, "oops", retry_after_ms="5"),
        [response(200, answer_of(PICTURES[0]))],
    )
    shown = []
    made = client.variations(
        photo, prompt="x", max_retry_count=5, on_progress=lambda _fraction, text: shown.append(text)
    )
    assert made.bytes == PICTURES[:1]
    assert len(api.posts) == 3
    assert [text.partition(";")[2].partition(" in ")[0].strip() for text in shown] == [
        "try 2 of 6",
        "try 3 of 6",
    ]


@pytest.mark.slow
def test_a_date_to_come_back(api, client, photo):
    """A Retry-After with a date is obeyed."""
    soon = format_datetime(datetime.now(UTC) + timedelta(seconds=2), usegmt=True)
    api.script(refusal(429, "slow", Retry_After=soon), [response(200, answer_of(PICTURES[0]))])
    began = time.monotonic()
    client.variations(photo, prompt="x", max_retry_count=1)
    assert time.monotonic() - began < 100
    assert len(api.posts) == 2


# name: (reply, pictures, warnings)
SURVIVED = {
    "gzip": ([response(200, gzip.compress(TWO), Content_Encoding="gzip")], 2),
    "chunks": ([CHUNKED, f"{len(TWO):x}\r\n".encode(), TWO, b"\r\n0\r\n\r\n"], 2),
    "byte by byte": ([head_of(len(TWO)), *[TWO[i : i + 7] for i in range(0, len(TWO), 7)]], 2),
    "fewer than asked": ([response(200, answer_of(PICTURES[0]))], 1),
    "more than asked": ([response(200, answer_of(*PICTURES[:3]))], 3),
    "text/plain": ([response(200, TWO, "text/plain")], 2),
    "no content type": ([response(200, TWO, None)], 2),
    "a byte order mark": ([response(200, b"\xef\xbb\xbf" + TWO)], 2),
    "PHP's slashes": ([response(200, TWO.replace(b"/", b"\\/"))], 2),
    ".NET's plus": ([response(200, TWO.replace(b"+", b"\\u002B"))], 2),
    "spaced": ([response(200, json.dumps(answer_of(*PICTURES[:2]), indent=4).replace(":", " :\n "))], 2),
    "base64 in lines": (
        [response(200, {"data": [{"b64_json": base64.encodebytes(each).decode()} for each in PICTURES[:2]]})],
        2,
    ),
    "a data: URL as base64": (
        [
            response(
                200, {"data": [{"b64_json": f"data:image/png;base64,{b64(each)}"} for each in PICTURES[:2]]}
            )
        ],
        2,
    ),
    "data: URLs": (
        [response(200, {"data": [{"url": f"data:image/png;base64,{b64(each)}"} for each in PICTURES[:2]]})],
        2,
    ),
    "null beside a picture": (
        [response(200, {"data": [{"url": None, "b64_json": b64(each)} for each in PICTURES[:2]]})],
        2,
    ),
    "relative URLs": ([response(200, {"data": [{"url": f"/pictures/{i}.png"} for i in range(2)]})], 2),
    "201": ([response(201, TWO)], 2),
    "202, a stream": (
        [
            events(*[("image_edit.completed", {"b64_json": b64(each)}) for each in PICTURES[:2]])[0].replace(
                b" 200 ", b" 202 "
            ),
            CLOSE,
        ],
        2,
    ),
    "empty base64 beside URLs": (
        [response(200, {"data": [{"b64_json": "", "url": f"/pictures/{i}.png"} for i in range(2)]})],
        2,
    ),
    "an event with a list": (
        events(("image_edit.completed", {"data": [{"b64_json": b64(each)} for each in PICTURES[:2]]})),
        2,
    ),
    "events that are called JSON": (
        [
            events(*[("image_edit.completed", {"b64_json": b64(each)}) for each in PICTURES[:2]])[0].replace(
                b"text/event-stream", b"application/json"
            ),
            CLOSE,
        ],
        2,
    ),
    "JSON that is called events": ([response(200, b" \n" * 9 + TWO, "text/event-stream")], 2),
    "events that were not asked for": (
        events(*[("image_edit.completed", {"b64_json": b64(each)}) for each in PICTURES[:2]]),
        2,
    ),
}


@pytest.mark.parametrize("name", SURVIVED)
def test_odd_answers(api, client, photo, name):
    """What is odd and can be understood is a success after one POST, byte for byte; a wrong number is said."""
    reply, count = SURVIVED[name]
    api.script(reply)
    made = client.variations(photo, n=2, prompt="x", max_retry_count=3)
    assert made.bytes == PICTURES[:count]
    assert made.status == "done"
    assert len(api.posts) == 1
    assert any("were asked for" in line for line in made.warnings) == (count != 2)


@pytest.mark.parametrize(("n", "sent"), [(1, 5), (5, 1)])
def test_a_wrong_number_is_said(api, client, photo, n, sent):
    """More or fewer pictures than were asked for are kept, and a warning gives both numbers."""
    api.script([response(200, answer_of(*PICTURES[:sent]))])
    made = client.variations(photo, n=n, prompt="x")
    assert len(made) == sent
    said = "1 picture was" if n == 1 else f"{n} pictures were"
    assert made.warnings == [f"{said} asked for, the server sent {sent}"]


def test_a_success_without_pictures(api, client, photo):
    """A 202 that only promises pictures, and a 204, are named as what they are."""
    for status, body in ((202, {"id": "job_1", "status": "queued"}), (204, b"")):
        api.script([response(status, body)])
        with pytest.raises(BadResponseError, match=f"answered {status}, but it"):
            client.variations(photo, prompt="x", max_retry_count=2)
    assert len(api.posts) == 2


@pytest.mark.parametrize("kind", ["JPEG", "WEBP", "GIF"])
def test_types_go_by_content(api, client, photo, kind):
    """A picture's type is what its bytes say, not what the server says."""
    data = png("red", kind=kind)
    api.script([response(200, answer_of(data, output_format="png"))])
    (made,) = client.variations(photo, prompt="x")
    assert (made.mime_type, made.bytes) == (f"image/{kind.lower()}", data)


def test_addresses_at_0_0_0_0(api, client, photo):
    """A picture's address at 0.0.0.0 is looked up at the server itself."""
    api.script([response(200, {"data": [{"url": f"http://0.0.0.0:{api.port}/pictures/1.png"}]})])
    made = client.variations(photo, prompt="x")
    assert made.bytes == [PICTURES[1]]
    assert made.urls == [f"http://127.0.0.1:{api.port}/pictures/1.png"]


def test_no_key_leaves_for_another_host(api, client, photo):
    """A picture is fetched without the key, from whichever host, and kept with its address."""
    other = Api()
    try:
        url = f"http://localhost:{other.port}/pictures/2.png?sig=abc"
        api.script([response(200, {"data": [{"url": url}]})])
        made = client.variations(photo, prompt="x", response_format="url")
        (get,) = other.gets
        assert get.target == "/pictures/2.png?sig=abc"
        assert "authorization" not in get.headers
        assert CANARY not in str(get.headers)
        assert made.urls == [url]
        assert made.bytes == [PICTURES[2]]
    finally:
        other.close()


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_redirects_are_not_followed_with_a_key(api, client, photo, status):
    """A redirect of the POST, to the same host or another, is an error that names where it leads."""
    other = Api()
    try:
        for place in (f"http://localhost:{other.port}/v1/images/edits?x=1", "/v2/images/edits"):
            api.script([response(status, b"", None, Location=place)])
            with pytest.raises(APIStatusError, match="redirects to http") as caught:
                client.variations(photo, prompt="x", max_retry_count=2)
            assert "?" not in one_line(caught.value)
        assert other.requests == []
        assert len(api.posts) == 2
    finally:
        other.close()


@pytest.mark.parametrize(
    "place", ["http://169.254.169.254/a.png", "http://localhost/a.png", "http://[::1]/a.png"]
)
def test_remote_servers_do_not_reach_into_this_network(place):
    """An address of this machine's network in a remote server's answer is refused."""
    from ipy_imgvar.engines.openai.pictures import address_of
    from ipy_imgvar.settings import connection

    with pytest.raises(BadResponseError, match="inside this network"):
        address_of(place, connection(api_base="https://images.example.com/v1"))


STALLS = {
    "before the answer": [STALL],
    "after the headers": [head_of(len(TWO)), STALL],
    "in the body": [head_of(len(TWO)), TWO[:CUT_AT], STALL],
    "a slow drip": [head_of(len(TWO)), *[step for byte in range(100) for step in (b" ", 0.05)]],
}


@pytest.mark.parametrize("name", ["in the body", *map(slow, sorted(STALLS.keys() - {"in the body"}))])
def test_timeouts(api, client, photo, name):
    """Past the timeout a stalled answer is an error, is not asked for again, and whole pictures are kept."""
    api.script(STALLS[name])
    with pytest.raises(RequestTimeoutError) as caught:
        client.variations(photo, n=2, prompt="x", timeout=1.5, max_retry_count=3)
    assert "timeout of 1.5 s" in one_line(caught.value)
    assert len(api.posts) == 1
    assert len(caught.value.partial or ()) == (1 if name == "in the body" else 0)


def test_nobody_listens(photo):
    """A server that is not there is said to be unreachable."""
    with Client("openai", api_base="http://127.0.0.1:1/v1") as client:
        with pytest.raises(ConnectionFailedError, match="can't be reached"):
            client.variations(photo)
        with pytest.raises(ConnectionFailedError, match="no-such-host"):
            Client("openai", api_base="http://no-such-host.invalid/v1").variations(photo)


def test_a_proxy_that_is_not_there(photo, monkeypatch):
    """Where a proxy is set, it is named among what to check, and its password is not shown."""
    monkeypatch.setenv("HTTP_PROXY", "http://me:hunter2@127.0.0.1:1")
    with pytest.raises(
        ConnectionFailedError, match=r"can't be reached .*the proxy that HTTP_PROXY names"
    ) as caught:
        Client("openai", api_base="http://images.example/v1").variations(photo)
    assert "hunter2" not in one_line(caught.value)


@pytest.mark.usefixtures("api")
def test_stream(client, photo):
    """Streamed edits show each first look, give the final picture, and count its usage."""
    looks = []
    made = client.variations(
        photo,
        prompt="x",
        model="gpt-image-2",
        options={"stream": "true", "partial_images": 3},
        on_preview=looks.append,
    )
    assert looks == [png("gray")] * 3
    assert made.bytes == PICTURES[:1]
    assert made.usage["total_tokens"] == USAGE["total_tokens"]


def test_streams_of_others(api, client, photo):
    """Pings, comments, unknown events, CR LF and other names of events are understood."""
    picture = b64(PICTURES[0]).encode()
    api.script(
        events(
            b": ping\r\n\r\nretry: 3\r\n\r\n",
            b'event: heartbeat\r\ndata: {"x": 1}\r\n\r\n',
            b"data: [1]\n\n",
            b'event: image_generation.partial_succeeded\ndata: {"b64_json": "!"}\n\n',
            b'event: done\ndata: {"data": [{"b64_json": "' + picture + b'"}]}\n\n',
            b"data: [DONE]\n\n",
        )
    )
    assert client.variations(photo, prompt="x", options={"stream": "true"}).bytes == PICTURES[:1]


def test_one_of_several_images_fails(api, client, photo):
    """With several images one failure is no reason to drop the others, and the error has what was made."""
    api.script([response(200, answer_of(PICTURES[0]))], refusal(500), [response(200, answer_of(PICTURES[2]))])
    with pytest.raises(ServerError, match="1 of 3 images failed") as caught:
        client.variations([photo] * 3, prompt="x")
    assert caught.value.partial.bytes == [PICTURES[0], PICTURES[2]]
    assert len(api.posts) == 3


def test_every_error_is_one_of_ours(api, client, photo):
    """Whatever bytes a server sends for headers, what is raised is an error of this package."""
    for start in (
        b"HTTP/9.9 200 OK\r\n\r\n",
        b"HTTP/1.1 abc\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nbad header\r\n\r\n",
        b"HTTP/1.1 302 Found\r\nLocation: http://[::1\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"y" * 200_000 + b"\r\n\r\n",
        b"\0" * 1000,
    ):
        api.script([start, CLOSE])
        with pytest.raises(ImageVariationError) as caught:
            client.variations(photo, prompt="x")
        one_line(caught.value)
