import json
from dataclasses import FrozenInstanceError, fields

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ipy_imgvar.errors import InvalidRequestError
from ipy_imgvar.request import FITS, RESPONSE_FORMATS, STRENGTHS, VariationRequest

NAMES = [each.name for each in fields(VariationRequest)]


def parsed(name, value):
    return getattr(VariationRequest.from_arguments(**{name: value}), name)


def refusal(name, value):
    with pytest.raises(InvalidRequestError) as caught:
        VariationRequest.from_arguments(**{name: value})
    assert caught.value.field == name
    message = str(caught.value)
    assert len(message.splitlines()) == 1
    assert len(message) < 300
    assert "allowed" in message
    return message


def test_defaults():
    """A request without arguments has the documented defaults."""
    request = VariationRequest.from_arguments()
    assert request == VariationRequest()
    assert (request.n, request.size, request.strength, request.fit) == (1, (1024, 1024), 0.5, "crop")
    assert (request.timeout, request.max_retry_count, request.seed, request.response_format) == (
        0,
        0,
        None,
        None,
    )


@pytest.mark.parametrize("name", NAMES)
def test_none_means_the_default(name):
    """None stands for leaving an argument out."""
    assert VariationRequest.from_arguments(**{name: None}) == VariationRequest()


def test_frozen():
    """A request can't be changed after it was checked."""
    with pytest.raises(FrozenInstanceError):
        VariationRequest().n = 3


def test_unknown_argument():
    """A name that is no argument is refused with those that are."""
    message = refusal("sizes", 3)
    assert message.startswith("unknown argument 'sizes'; allowed: ")
    assert all(name in message for name in NAMES)


@pytest.mark.parametrize(
    ("value", "size"),
    [
        (256, (256, 256)),
        ("256", (256, 256)),
        (512, (512, 512)),
        ("1024", (1024, 1024)),
        ("512x256", (512, 256)),
        (" 512X256 ", (512, 256)),
        ("1x8192", (1, 8192)),
        ((64, 128), (64, 128)),
        ([64, np.int64(128)], (64, 128)),
        (np.uint16(512), (512, 512)),
    ],
)
def test_sizes(value, size):
    """A size is taken as a number, a text or a pair."""
    assert parsed("size", value) == size


@pytest.mark.parametrize(
    "value",
    [
        "300x300x2", "", "x", "64x", "x64", "0x64", "8193x64", "-64x64", "64 x 64", "64,64", "big", "6e2", "1" * 50,
        0, -1, 8193, 10**30, 1.5, True, (64,), (64, 64, 3), (64, 0), ("a", 64), (True, 64), (64.5, 64), {},
        np.array([64, 64]), np.zeros((64, 64)), b"64",
    ],
    ids=repr,
)  # fmt: skip
def test_other_sizes(value):
    """Any other size is refused with how one looks."""
    assert "allowed: 256, 512, 1024, or WIDTHxHEIGHT in pixels such as 512x512" in refusal("size", value)


@given(st.integers(1, 8192), st.integers(1, 8192))
def test_every_size_in_range_reads_back(width, height):
    """Each size within the limits is read from its own text."""
    assert parsed("size", f"{width}x{height}") == (width, height) == parsed("size", (width, height))


@given(st.text(alphabet="0123456789xX -+.", max_size=14))
def test_any_size_text_is_a_size_or_one_line(text):
    """Whatever the text, it is a size within the limits or refused."""
    try:
        size = parsed("size", text)
    except InvalidRequestError as exc:
        assert exc.field == "size"  # noqa: PT017
    else:
        assert all(1 <= side <= 8192 for side in size)


WHOLE = {"n": (1, 10), "seed": (0, 2**63 - 1), "max_retry_count": (0, 100)}


@pytest.mark.parametrize("name", WHOLE)
def test_whole_numbers(name):
    """The ends of each range are in it, and a number is taken as text or of numpy as well."""
    low, high = WHOLE[name]
    for value in (low, high):
        for spelling in (value, str(value), f" +{value} ", np.int64(value), np.array(value)):
            got = parsed(name, spelling)
            assert got == value
            assert type(got) is int


@pytest.mark.parametrize("name", WHOLE)
def test_other_numbers(name):
    """What is outside the range or no whole number is refused with the range."""
    low, high = WHOLE[name]
    wrong = [
        low - 1,
        high + 1,
        10**30,
        1.0,
        1.5,
        "1.0",
        "two",
        "",
        "1e3",
        "٣x",
        True,
        [1],
        np.array([1, 2]),
        float("nan"),
        b"1",
    ]
    for value in wrong:
        assert f"allowed: a whole number from {low} to {high}" in refusal(name, value)


@given(st.integers())
def test_any_n(n):
    """Each whole number is taken as n exactly if it is 1 to 10."""
    if 1 <= n <= 10:
        assert parsed("n", n) == n == parsed("n", str(n))
    else:
        refusal("n", n)
        refusal("n", str(n))


@pytest.mark.parametrize(("name", "high"), [("strength", 1), ("timeout", 86_400)])
def test_real_numbers(name, high):
    """A number within the limits is taken, as text too; any other, also NaN and infinity, is refused."""
    for value in (0, high, high / 2, np.float32(high / 2), str(high / 2)):
        assert parsed(name, value) == float(value)
        assert type(parsed(name, value)) is float
    for value in (
        -0.01,
        high + 0.01,
        "nan",
        float("nan"),
        float("inf"),
        "inf",
        "",
        "x",
        True,
        [],
        10**400,
        1j,
        np.zeros(2),
    ):
        refusal(name, value)


@given(st.floats())
def test_any_strength(strength):
    """Each float is taken as strength exactly if it is 0 to 1."""
    if 0 <= strength <= 1:
        assert parsed("strength", strength) == strength
    else:
        assert "allowed: subtle, medium, strong or a number from 0 to 1" in refusal("strength", strength)


def test_strengths_by_name():
    """The three named strengths have their documented values, in any case."""
    assert STRENGTHS == {"subtle": 0.2, "medium": 0.5, "strong": 0.85}
    assert parsed("strength", " Strong ") == 0.85
    assert "'strongest'" in refusal("strength", "strongest")


@pytest.mark.parametrize(
    ("value", "form"),
    [
        ("url", "url"),
        ("base64", "base64"),
        ("b64_json", "base64"),
        ("byte", "byte"),
        ("bytes", "byte"),
        ("URL", "url"),
    ],
)
def test_response_formats(value, form):
    """Each spelling of a response format, PSOpenAI's and the API's, has one normal form."""
    assert parsed("response_format", value) == form


@pytest.mark.parametrize("value", ["jpeg", "", 1, b"url", ["url"]])
def test_other_response_formats(value):
    """Any other response format is refused with all spellings."""
    assert refusal("response_format", value).endswith("allowed: " + ", ".join(RESPONSE_FORMATS))


def test_fits():
    """Each way to fit is taken in any case; any other is refused with all of them."""
    assert set(FITS) >= {"crop", "pad", "stretch"}
    for fit in FITS:
        assert parsed("fit", fit.upper()) == fit
    for value in ("zoom", "", 1):
        assert refusal("fit", value).endswith("allowed: " + ", ".join(FITS))


@pytest.mark.parametrize("name", ["user", "model", "prompt"])
def test_texts(name):
    """A text is kept as it is; an empty one, or anything else, is refused."""
    assert parsed(name, " a\ncat ") == " a\ncat "
    for value in ("", "  \n", 3, b"x", ["x"]):
        assert f"leave {name} out" in refusal(name, value)


@pytest.mark.parametrize("name", ["options", "extra_headers", "extra_query", "extra_body"])
def test_mappings(name):
    """A dictionary is copied; what is none, or has keys that are no text, is refused without showing it."""
    given_one = {"a": "b"}
    got = parsed(name, given_one)
    given_one["a"] = "changed"
    assert got == {"a": "b"}
    for value in ("sk-secret", {1: "sk-secret"}, [("a", "sk-secret")], {"sk-secret"}):
        assert "sk-secret" not in refusal(name, value)


def test_repr_hides_what_may_hold_keys():
    """Headers, query and body are in no repr of a request."""
    request = VariationRequest.from_arguments(
        extra_headers={"Authorization": "Bearer sk-1"},
        extra_query={"sig": "sk-1"},
        extra_body={"key": "sk-1"},
    )
    assert "sk-1" not in repr(request)
    assert "sk-1" not in json.dumps(request.settings())


@given(
    st.fixed_dictionaries(
        {},
        optional={
            "n": st.integers(1, 10),
            "size": st.tuples(st.integers(1, 8192), st.integers(1, 8192)),
            "response_format": st.sampled_from(list(RESPONSE_FORMATS)),
            "user": st.text(min_size=1).filter(str.strip),
            "model": st.text(min_size=1).filter(str.strip),
            "prompt": st.text(min_size=1).filter(str.strip),
            "strength": st.sampled_from(list(STRENGTHS)) | st.floats(0, 1),
            "seed": st.integers(0, 2**63 - 1),
            "fit": st.sampled_from(FITS),
            "options": st.dictionaries(st.text(), st.booleans() | st.text()),
            "timeout": st.floats(0, 86_400),
            "max_retry_count": st.integers(0, 100),
        },
    )
)
def test_settings_round_trip(arguments):
    """What may be written down goes through JSON and makes the same request again, but for the user."""
    request = VariationRequest.from_arguments(**arguments)
    settings = request.settings()
    assert not {"image", "mask", "user", "extra_headers", "extra_query", "extra_body"} & set(settings)
    again = VariationRequest.from_arguments(**json.loads(json.dumps(settings)))
    arguments.pop("user", None)
    assert again == VariationRequest.from_arguments(**arguments)
