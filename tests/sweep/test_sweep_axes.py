"""Names and values of a sweep's axes: what is taken, in which form it is held, and what is refused."""

import itertools
from collections import OrderedDict

import numpy as np
import pandas as pd
import pytest
from painter import Painter, pixel

from ipy_imgvar import Client
from ipy_imgvar.engines.patch.engine import PatchEngine
from ipy_imgvar.errors import ConfigurationError, InvalidImageError, InvalidRequestError


@pytest.mark.parametrize(
    ("over", "axes"),
    [
        ({"strength": [".5", "strong"]}, {"strength": (0.5, 0.85)}),
        ({"seed": range(3)}, {"seed": (0, 1, 2)}),
        ({"size": [256, "512x256", (64, 32)]}, {"size": ("256x256", "512x256", "64x32")}),
        ({"fit": ["PAD", " crop"]}, {"fit": ("pad", "crop")}),
        ({"prompt": ("a", "b")}, {"prompt": ("a", "b")}),
        ({"model": {"x": 1, "a": 2}.keys()}, {"model": ("x", "a")}),
        ({"strength": {0.9, 0.1, 0.5}}, {"strength": (0.1, 0.5, 0.9)}),
        ({"strength": np.array([0.25, 0.5])}, {"strength": (0.25, 0.5)}),
        ({"seed": pd.Series([4, 2])}, {"seed": (4, 2)}),
        ({"strength": (each / 4 for each in range(2))}, {"strength": (0.0, 0.25)}),
        ({"flip": ["off", np.True_]}, {"flip": (False, True)}),
        ({"steps": ["3", np.int64(7)]}, {"steps": (3, 7)}),
        ({"extra": [(1, 2), b"x", {"a": 1}]}, {"extra": ([1, 2], "b'x'", {"a": 1})}),
        ({"extra": [1, True, 1.0]}, {"extra": (1, True, 1.0)}),
        ({"engine": ["painter"]}, {"engine": ("painter",)}),
        (OrderedDict(seed=[1], fit=["pad"]), {"seed": (1,), "fit": ("pad",)}),
    ],
)
def test_values_in_normal_form(client, image, over, axes):
    """Every finite iterable is taken, in every spelling of its field; `axes` has the normal form, of Python's types."""
    made = client.sweep(image, over=over)
    assert made.axes == axes
    assert {name: list(map(type, values)) for name, values in made.axes.items()} == {
        name: list(map(type, values)) for name, values in axes.items()
    }
    assert [tuple(each.combination.values()) for each in made] == list(itertools.product(*axes.values()))


@pytest.mark.parametrize(
    ("over", "words"),
    [
        ([("seed", [1])], "allowed: a dictionary of axes"),
        (None, "allowed: a dictionary of axes"),
        ({}, "the sweep has no axis"),
        ({1: [2]}, "an axis is 1; allowed: names"),
        ({"strenght": [0.5]}, "allowed: strength, .*, flip, steps, extra; did you mean strength?"),
        ({"step": [5]}, "did you mean steps?"),
        ({"qqq": [5]}, "the axis 'qqq' is unknown; allowed: [^?]*$"),
        *(
            ({name: [1]}, f"{name} can't be an axis: give {name} once, beside over; allowed: strength, ")
            for name in (
                "n",
                "index",
                "mask",
                "timeout",
                "user",
                "response_format",
                "extra_body",
                "extra_headers",
                "image",
                "images",
            )
        ),
        ({"options": [{}]}, "options can't be an axis: name the option itself"),
        ({"strength": 0.5}, "the axis strength is 0.5; allowed: a list"),
        ({"strength": "0.5"}, "the axis strength is '0.5'; allowed: a list"),
        ({"strength": b"1"}, "the axis strength is b'1'; allowed: a list"),
        ({"strength": np.array(0.5)}, "the axis strength is .*; allowed: a list"),
        ({"strength": []}, "the axis strength has no values"),
        ({"seed": itertools.count()}, "more than 10,000 values"),
        ({"seed": range(200), "steps": range(1, 51), "fit": ["pad", "crop"]}, "20,000 pictures; allowed"),
        ({"strength": [0.5, None]}, "has the value None, which means the default"),
        ({"model": [None]}, "has the value None"),
        ({"strength": [0.5, "medium"]}, "0.5 and 'medium', both 0.5; give each value once"),
        ({"size": [256, "256x256"]}, "256 and '256x256', both '256x256'"),
        ({"seed": [1, 2, 1]}, "has 1 twice"),
        ({"extra": [[1], [1]]}, r"has \[1\] twice"),
        ({"engine": ["painter", "painter"]}, "has 'painter' twice"),
        ({"strength": [0.5, 1.5]}, "strength is 1.5; allowed: subtle"),
        ({"strength": [float("nan")]}, "strength is nan; allowed"),
        ({"seed": [1, -1]}, "seed is -1; allowed"),
        ({"size": ["big"]}, "size is 'big'; allowed"),
        ({"fit": ["fill"]}, "fit is 'fill'; allowed"),
        ({"steps": [99]}, "option steps is 99; allowed: a whole number from 1 to 50"),
        ({"engine": [5]}, "engine is 5; allowed: the names of engines"),
        ({"prompt": [""]}, "prompt is empty"),
    ],
    ids=str,
)
def test_what_is_refused(painter, image, over, words, store_root):
    """A wrong name or value gets one line that names it and what is allowed, and nothing is made."""
    with Client(painter) as client, pytest.raises(InvalidRequestError, match=words) as caught:
        client.sweep(image, over=over, confirm=True)
    assert "\n" not in str(caught.value)
    assert not painter.requests
    assert not store_root.exists()


def test_ten_thousand_count_every_picture(client, image):
    """The bound counts images and `n` too."""
    with pytest.raises(InvalidRequestError, match="the sweep has 10,010 pictures"):
        client.sweep(image, over={"seed": range(1001)}, n=10)
    with pytest.raises(InvalidRequestError, match="the sweep has 10,002 pictures"):
        client.sweep([image, image], over={"seed": range(5001)})


def test_a_foreign_iterable_may_raise(client, image):
    """An iterable that fails gets one line with its own reason."""

    def broken():
        yield 1
        raise OSError("the disk is gone")

    with pytest.raises(InvalidRequestError, match=r"can't be read \(OSError: the disk is gone\)"):
        client.sweep(image, over={"seed": broken()})


@pytest.mark.parametrize(
    ("over", "given", "name"),
    [
        ({"seed": [1]}, {"seed": 2}, "seed"),
        ({"strength": [0.2]}, {"strength": 0.5}, "strength"),
        ({"model": ["a"]}, {"model": "b"}, "model"),
        ({"flip": [True]}, {"options": {"flip": False}}, "flip"),
    ],
)
def test_a_name_is_given_once(client, image, over, given, name):
    """A name that is both an axis and an argument is refused; None beside an axis is no value."""
    with pytest.raises(InvalidRequestError, match=f"{name} is given both as an axis") as caught:
        client.sweep(image, over=over, **given)
    assert caught.value.field == name
    assert client.sweep(image, over=over, **dict.fromkeys(given))


def test_other_options_and_defaults_stay(painter, image):
    """Options beside an option's axis reach every request, and the client's own model gives way to an axis."""
    with Client(painter, model="own") as client:
        client.sweep(image, over={"flip": [True, False]}, options={"steps": 5})
        assert [dict(each.options) for each in painter.requests] == [
            {"steps": 5, "flip": True},
            {"steps": 5, "flip": False},
        ]
        assert {each.model for each in painter.requests} == {"own"}
        assert client.sweep(image, over={"model": ["x", "y"]}).axes == {"model": ("x", "y")}


class TestEngines:
    """An axis of engines."""

    @pytest.fixture
    def made(self, monkeypatch):
        """Return the engines that clients make by name, in turn; `other` takes no seed."""
        engines = []

        def make_engine(name, _):
            if name == "broken":
                raise ConfigurationError("engine is 'broken'; allowed: other")
            engines.append(Painter(name, features=("prompt",)))
            return engines[-1]

        monkeypatch.setattr("ipy_imgvar.client.make_engine", make_engine)
        return engines

    def test_by_name(self, painter, client, image, made):
        """The client's own engine is used as it is, the others are made once, and closed at the end."""
        result = client.sweep(image, over={"strength": [0.2, 0.5], "engine": ["other", "painter"]})
        assert [each.combination["engine"] for each in result] == ["other", "painter"] * 2
        assert [each.name for each in made] == ["other"]
        assert (made[0].closed, painter.closed) == (1, 0)
        assert result.engine == "other, painter"

    def test_a_drawn_seed(self, painter, client, image, made):
        """Without a seed, all combinations of engines that take one share a seed, and the others get none."""
        client.sweep(image, over={"engine": ["other", "painter"], "strength": [0.2, 0.5]})
        assert [each.seed for each in made[0].requests] == [None, None]
        assert len({each.seed for each in painter.requests}) == 1
        assert painter.requests[0].seed is not None

    @pytest.mark.parametrize("more", [{"over": {"seed": [1]}}, {"seed": 1, "over": {}}])
    def test_a_seed_for_an_engine_without(self, client, image, made, more):
        """A seed that one of the engines can't use is refused by the request's own rule, and all is closed."""
        over = {"engine": ["painter", "other"], **more.pop("over")}
        with pytest.raises(InvalidRequestError, match="the engine other can't use a seed"):
            client.sweep(image, over=over, **more)
        assert [each.closed for each in made] == [1]

    @pytest.mark.parametrize(
        ("image", "over", "kind"),
        [
            (pixel(), {"engine": ["other", "broken"]}, ConfigurationError),
            ("no-such.png", {"engine": ["other"]}, InvalidImageError),
            (pixel(), {"engine": ["other"], "strength": [2]}, InvalidRequestError),
            (pixel(), {"engine": ["other"], "nothing": [2]}, InvalidRequestError),
        ],
        ids=["engine", "image", "strength", "name"],
    )
    def test_a_mistake_closes_them(self, client, made, image, over, kind):
        """Engines that were made for a sweep are closed where it is refused."""
        with pytest.raises(kind):
            client.sweep(image, over=over)
        assert [each.closed for each in made] == [1]

    def test_a_model_of_the_client_is_its_engines_own(self, painter, image, made):
        """A client's default model does not reach other engines, and a given one reaches all."""
        with Client(painter, model="mine") as client:
            client.sweep(image, over={"engine": ["painter", "other"]})
            assert [painter.requests[0].model, made[0].requests[0].model] == ["mine", None]
            client.sweep(image, over={"engine": ["painter", "other"]}, model="all")
            assert [painter.requests[-1].model, made[1].requests[0].model] == ["all", "all"]

    def test_an_engine_object_of_a_known_name(self):
        """A client's own engine object answers for its name."""
        engine = PatchEngine(threads=1)
        with Client(engine) as client:
            made = client.sweep(np.zeros((64, 64, 3), np.uint8), over={"engine": ["patch"]}, size=64)
        assert made.engine == "patch"
