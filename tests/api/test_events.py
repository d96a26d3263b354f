"""The images API's streamed answers, as pure functions."""

import json

from hypothesis import given
from hypothesis import strategies as st

from ipy_imgvar.api import events

EVENTS = [
    {"type": "image_edit.partial_image", "b64_json": "AAAA", "partial_image_index": 0},
    {"type": "image_edit.completed", "b64_json": "BBBB\u2028", "usage": {"total_tokens": 3}},
]


def test_a_stream_with_a_byte_order_mark():
    """The byte order mark that a stream may begin with is no part of the first field's name."""
    (event,) = events.read_events([b"\xef\xbb\xbfdata: ", b'{"b64_json": "QUJD"}\n\n'])
    assert [item.read() for item in event.items] == [b"ABC"]


@given(st.sampled_from(["\n", "\r\n", "\r"]), st.lists(st.integers(1, 9), min_size=1, max_size=400))
def test_events_in_any_pieces(end, sizes):
    """Events are the same however the bytes are cut, and whichever line ends they have."""
    text = ": ping\n\n" + "".join(
        f"event: x\ndata: {json.dumps(each, ensure_ascii=False)}\n\n" for each in EVENTS
    )
    body = text.replace("\n", end).encode()
    chunks, position, number = [], 0, 0
    while position < len(body):
        size = sizes[number % len(sizes)]
        chunks.append(body[position : position + size])
        position, number = position + size, number + 1
    first, second = events.read_events(chunks)
    assert (first.is_partial, first.items[0].read()) == (True, b"\0\0\0")
    assert (second.is_partial, second.usage) == (False, {"total_tokens": 3})


@given(st.binary(max_size=300))
def test_any_stream(body):
    """Any bytes are a stream of events, perhaps of none."""
    list(events.read_events([body, b"\n\ndata: ", body]))


def test_an_event_with_several_pictures():
    """All pictures of an event's list are given, in order, broken ones too, and usage alone is an event."""
    entries = [{"b64_json": "QUFB"}, {"url": "http://x/1"}, {"b64_json": ""}, 5]
    body = f"data: {json.dumps({'data': entries, 'usage': {'n': 4}})}\n\ndata: {json.dumps({'usage': {'n': 1}})}\n\n"
    event, last = events.read_events([body.encode()])
    assert [each.url or each.problem or each.read() for each in event.items] == [
        b"AAA", "http://x/1", "b64_json is empty, and there is no url", "an entry of its data is no object",
    ]  # fmt: skip
    assert (event.usage, last.items, last.usage) == ({"n": 4}, [], {"n": 1})


def test_half_a_key_is_not_left_of_an_event():
    """What an unreadable event held is cleaned before it is cut, so that no part of a key remains at its end."""
    (event,) = events.read_events(
        [b"data: " + b"x" * 75 + b"SECRETSECRET\n\n"], lambda text: text.replace("SECRETSECRET", "*")
    )
    assert "SECR" not in event.error.message


def test_an_event_of_too_many_parts_is_an_error():
    """An event that would become many times its size is given as an error."""
    body = b'{"type": "image.completed", "data": [' + b"{}," * 150_000 + b"1]}"
    (event,) = events.read_events([b"data: ", body, b"\n\n"])
    assert event.error is not None
