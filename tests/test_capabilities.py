"""What an engine declares is checked once, in the same words for every engine."""

import numpy as np
import pytest

from ipy_imgvar.capabilities import check, check_features, check_size, checked, option_value
from ipy_imgvar.engine import Capabilities, EngineOption, Sizes
from ipy_imgvar.engines import OFFLINE, capabilities_of, engine_names, make_engine
from ipy_imgvar.errors import ConfigurationError, InvalidRequestError
from ipy_imgvar.request import VariationRequest
from ipy_imgvar.settings import Connection, connection

LEVELS = EngineOption("levels", int, default=4, range=(2, 16), help="tones")
OPTIONS = (
    LEVELS,
    EngineOption("look", choices=("warm", "cold")),
    EngineOption("flip", bool),
    EngineOption("gain", float, range=(0, 2)),
    EngineOption("name"),
    EngineOption("any", object),
)
OWN = Capabilities(
    frozenset({"mask", "seed"}), models=("soft", "hard"), options=OPTIONS, sizes=Sizes(least=64, most=512)
)


def own(**arguments):
    return check(VariationRequest.from_arguments(**{"size": 64, **arguments}), OWN, "own")


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ({"levels": " 7 "}, {"levels": 7}),
        ({"levels": np.int64(7)}, {"levels": 7}),
        ({"look": "Warm"}, {"look": "warm"}),
        ({"flip": "no"}, {"flip": False}),
        ({"flip": "off"}, {"flip": False}),
        ({"flip": "on"}, {"flip": True}),
        ({"flip": True}, {"flip": True}),
        ({"gain": ".5"}, {"gain": 0.5}),
        ({"name": "7"}, {"name": "7"}),
        ({"any": "7"}, {"any": 7}),
        ({"any": "high"}, {"any": "high"}),
        ({"any": [1]}, {"any": [1]}),
        ({}, {}),
    ],
)
def test_options_are_converted(written, meant):
    """A text that was typed reaches the engine in the type that it declares."""
    found = own(options=written).options
    assert found == meant
    assert list(map(type, found.values())) == list(map(type, meant.values()))


@pytest.mark.parametrize(
    ("arguments", "said", "field"),
    [
        (
            {"options": {"levels": "17"}},
            "option levels is '17'; allowed: a whole number from 2 to 16",
            "options",
        ),
        (
            {"options": {"levels": True}},
            "option levels is True; allowed: a whole number from 2 to 16",
            "options",
        ),
        ({"options": {"look": "wet"}}, "option look is 'wet'; allowed: warm, cold", "options"),
        ({"options": {"flip": "maybe"}}, "option flip is 'maybe'; allowed: true or false", "options"),
        ({"options": {"gain": "nan"}}, "option gain is 'nan'; allowed: a number from 0 to 2", "options"),
        ({"options": {"name": []}}, r"option name is \[\]; allowed: text", "options"),
        (
            {"options": {"flap": 1}},
            "option 'flap' is unknown to the engine own; allowed: levels, look,",
            "options",
        ),
        ({"model": "odd"}, "model is 'odd'; the engine own has only soft, hard; leave it out", "model"),
        ({"size": 1024}, "size is 1024x1024; the engine own makes sides of 64 to 512 pixels", "size"),
        ({"prompt": "a dog"}, "the engine own can't use a prompt; leave it out, or choose another", "prompt"),
        ({"strength": "strong"}, "the engine own can't use a strength; leave it out", "strength"),
    ],
)
def test_what_is_not_declared_is_refused(arguments, said, field):
    """Each kind of thing that an engine does not declare is refused by its field, with what is allowed."""
    with pytest.raises(InvalidRequestError, match=said) as caught:
        own(**arguments)
    assert caught.value.field == field


def test_no_options():
    """An engine without options says that it has none; a hosted one, how anything else is sent."""
    request = VariationRequest(options={"x": 1})
    with pytest.raises(InvalidRequestError, match=r"the engine own; it has none; leave it out$"):
        check(request, Capabilities(), "own")
    with pytest.raises(InvalidRequestError, match="--extra-body sends anything else"):
        check(request, Capabilities(options=OPTIONS, hosted=True), "own")


def test_an_index_needs_seeds():
    """An index is refused for an engine without seeds, before a seed is asked for."""
    with pytest.raises(InvalidRequestError, match="can't use an index; leave it out"):
        check_features({"index": 3, "seed": None}, Capabilities(), "own")


@pytest.mark.parametrize(
    ("sizes", "size", "said"),
    [
        (Sizes(fixed=((64, 64), (128, 64))), (65, 64), "makes 64x64, 128x64$"),
        (Sizes(multiple=16), (65, 64), "makes sides divisible by 16$"),
        (Sizes(least=64), (65, 63), "makes sides of at least 64 pixels$"),
        (Sizes(ratio=3), (193, 64), "makes sides, at most 3:1$"),
        (Sizes(pixels=8192, also=((8, 8),)), (129, 64), "makes sides, at most 8,192 pixels in all, and 8x8$"),
    ],
)
def test_sizes(sizes, size, said):
    """Each rule of the sizes refuses what breaks it, and only that."""
    check_size((64, 64), sizes, "it makes")
    check_size((128, 64), sizes, "it makes")
    for also in sizes.also:
        check_size(also, sizes, "it makes")
    with pytest.raises(InvalidRequestError, match=said):
        check_size(size, sizes, "it makes")


def test_models():
    """No names mean any name; names that are only worth offering refuse no other one."""
    assert Capabilities().takes_model("x")
    assert Capabilities(models=("a",), other_models=True).takes_model("x")
    assert not Capabilities(models=("a",)).takes_model("x")
    assert Capabilities(models=("a",)).takes_model(None)


def test_the_engine_judges_last(fake_engine):
    """An engine sees a request after it was checked, with its options converted."""
    engine = fake_engine()
    assert checked(VariationRequest(options={"quality": "7"}), engine) == engine.requests[0]
    with pytest.raises(InvalidRequestError):
        checked(VariationRequest(options={"other": "7"}), engine)
    assert len(engine.requests) == 1


@pytest.mark.parametrize("name", engine_names())
def test_ours_are_described_without_being_made(name):
    """The description by name is the engine's own; each default is a value that the option takes."""
    found = connection(api_base="http://me:secret@localhost:1/v1")
    described = capabilities_of(name, found)
    assert described == make_engine(name, found).capabilities()
    assert "secret" not in repr(described)
    assert described.hosted == (described.destination is not None)
    for option in described.options:
        assert option.help
        if option.default is not None:
            assert option_value(option, option.default) == option.default


def test_openai_knows_the_sizes_of_its_own_server():
    """At OpenAI the edits route alone is left, so its sizes and default model are known; any other model is taken."""
    found = capabilities_of("openai", Connection())
    assert found.destination == "api.openai.com"
    assert found.takes_model("gpt-image-9")
    assert found.models
    with pytest.raises(InvalidRequestError, match="sides divisible by 16, at most 3:1"):
        check_size((1000, 1000), found.sizes, "it makes")
    check_size((1000, 1000), capabilities_of("openai", connection(api_base="http://localhost:1")).sizes, "")


def test_no_such_engine():
    """An engine that is not installed can't be described, and the message names those that are."""
    with pytest.raises(ConfigurationError, match=f"allowed: {OFFLINE}"):
        capabilities_of("nothing", Connection())
