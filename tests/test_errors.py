import builtins
import copy
import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ipy_imgvar import errors
from ipy_imgvar.errors import ImageVariationError, InvalidImageError, InvalidRequestError, shown
from ipy_imgvar.results.variations import Variations

TREE = {
    "ImageVariationError": "Exception",
    "InvalidRequestError": "ImageVariationError",
    "InvalidImageError": "InvalidRequestError",
    "ConfigurationError": "ImageVariationError",
    "EngineError": "ImageVariationError",
    "ConnectionFailedError": "EngineError",
    "RequestTimeoutError": "ConnectionFailedError",
    "APIStatusError": "EngineError",
    "AuthenticationError": "APIStatusError",
    "RateLimitError": "APIStatusError",
    "ServerError": "APIStatusError",
    "BadResponseError": "EngineError",
    "CancelledError": "ImageVariationError",
}
CLASSES = [getattr(errors, name) for name in TREE]


def test_tree():
    """The tree is the documented one, and nothing in it is missing from it."""
    assert {each.__name__: each.__bases__[0].__name__ for each in CLASSES} == TREE
    assert {*TREE, "shown"} == set(errors.__all__)


def test_wrong_arguments_are_value_errors():
    """A wrong argument, image or setting is also a `ValueError`, and nothing else is."""
    also = {each.__name__ for each in CLASSES if issubclass(each, ValueError)}
    assert also == {"InvalidRequestError", "InvalidImageError", "ConfigurationError"}


def test_no_builtin_is_shadowed():
    """No error has the name of a builtin."""
    assert not {each.__name__ for each in CLASSES} & set(vars(builtins))


@pytest.mark.parametrize("kind", CLASSES)
def test_every_error_takes_a_message_alone(kind):
    """A message is enough to make any error, and there are no finished pictures unless given."""
    error = kind("what happened")
    assert str(error) == "what happened"
    assert error.partial is None


@given(st.text())
def test_a_message_is_one_line(text):
    """Whatever a message is made of, it has one line."""
    assert len(str(ImageVariationError(text)).splitlines()) <= 1


def test_partial_is_kept():
    """The finished pictures travel with the error."""
    partial = Variations()
    assert ImageVariationError("x", partial=partial).partial is partial


@pytest.mark.parametrize("kind", CLASSES)
@pytest.mark.parametrize("through", [lambda error: pickle.loads(pickle.dumps(error)), copy.copy])  # noqa: S301
def test_pickle_keeps_everything(kind, through):
    """An error that comes back from another process has its type, message and fields."""
    error = kind("what happened")
    error.field, error.status, error.request_id = "size", 429, "req-1"
    back = through(error)
    assert type(back) is kind
    assert str(back) == str(error)
    assert vars(back) == vars(error)


def test_pickle_keeps_partial(make_picture):
    """The finished pictures survive a pickle, byte for byte."""
    from ipy_imgvar.images.source import Source

    made = Variations([make_picture("red", source=Source("cat.png"))], engine="fake")
    back = pickle.loads(pickle.dumps(ImageVariationError("x", partial=made)))  # noqa: S301
    assert back.partial.bytes == made.bytes


def test_fields():
    """An error about an argument names it; about an image, the image."""
    assert InvalidRequestError("x").field is None
    assert InvalidRequestError("x", field="size").field == "size"
    assert InvalidImageError("x").field == "image"
    assert InvalidImageError("x", field="mask").field == "mask"


def test_api_fields():
    """A server's refusal carries what the server sent."""
    error = errors.RateLimitError("slow down", status=429, code="rate_limit", param="n", request_id="r-1")
    assert (error.status, error.code, error.param, error.request_id) == (429, "rate_limit", "n", "r-1")


class Unprintable:
    """An object whose repr fails."""

    def __repr__(self):
        raise RuntimeError("no")


@pytest.mark.parametrize(
    "value",
    [
        "x" * 10_000,
        np.zeros((300, 300)),
        list(range(10_000)),
        dict.fromkeys(range(99), "y" * 99),
        Unprintable(),
    ],
)
def test_shown_is_short(value):
    """A received value is shown on one short line, whatever it is."""
    text = shown(value)
    assert len(text) < 500
    assert "\n" not in text


def test_shown_names_the_type_of_what_needs_lines():
    """What has a repr of many lines is shown by its type."""
    assert shown(np.zeros((300, 300))) == "<ndarray>"
