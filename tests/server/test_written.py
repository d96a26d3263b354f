"""What `api` writes, it reads: the answers, refusals and events of the server."""

import json
import math

import pytest

from ipy_imgvar.api import answers, events, refusals
from ipy_imgvar.server.run import usage_fields


def test_answers_are_read_back():
    """Pictures, addresses and usage come back as they went in, and what is written is JSON."""
    items = [answers.Item.of(b"\x00\xffpicture"), answers.Item(url='http://a/"b"')]
    text = answers.write_answer(items, created=5, facts={"usage": dict(answers.NO_USAGE)})
    answer = answers.read_answer(text)
    picture, address = answer.items
    assert picture.read() == b"\x00\xffpicture"
    assert address.url == 'http://a/"b"'
    assert answer.usage == answers.NO_USAGE
    assert json.loads(text)["created"] == 5


def test_errors_are_read_back():
    """A refusal's fields come back."""
    error = refusals.read_error(
        refusals.write_error('no "n"', param="n", code="invalid_value"), "application/json"
    )
    assert (error.message, error.param, error.code) == ('no "n"', "n", "invalid_value")


def test_events_are_read_back():
    """Events of both kinds come back, and an error ends them."""
    text = events.write_event("image_edit.partial_image", answers.Item.of(b"one"), {"partial_image_index": 0})
    text += events.write_event(
        "image_edit.completed", answers.Item.of(b"two"), {"usage": {"total_tokens": 3}}
    )
    text += events.write_error_event(refusals.write_error("broke", kind="server_error"))
    received = list(events.read_events([text]))
    assert [each.items[0].read() for each in received[:2]] == [b"one", b"two"]
    assert [each.is_partial for each in received[:2]] == [True, False]
    assert received[1].usage == {"total_tokens": 3}
    assert received[2].error.message == "broke"


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_usage_is_json(value):
    """What an engine counted is written without NaN and infinity, which JSON has no form for."""
    counted = {**answers.NO_USAGE, "cost": value, "details": {"rate": value, "kept": 1.5}}
    text = answers.write_answer([], created=5, facts={"usage": usage_fields(counted)})
    usage = json.loads(text, parse_constant=pytest.fail)["usage"]
    assert usage == {**answers.NO_USAGE, "details": {"kept": 1.5}}
    assert usage_fields({**answers.NO_USAGE, "total_tokens": value}) == answers.NO_USAGE
