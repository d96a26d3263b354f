"""The tree of runs, and the code that repeats one."""

from pathlib import Path

import pytest

from ipy_imgvar.images.source import Source
from ipy_imgvar.line.grammar import split
from ipy_imgvar.line.parser import parse
from ipy_imgvar.panel.recipe import call, line
from ipy_imgvar.panel.tree import details, grow
from ipy_imgvar.request import VariationRequest
from ipy_imgvar.results.variations import Variation, Variations

COMMIT = "0123456789abcdef0123456789abcdef01234567"


def run_of(source, *names, **settings):
    """Return a run of a source whose pictures lie at paths of these names."""
    pictures = [
        Variation(None, source=source, mime_type="image/png", size=(64, 64), index=index, path=Path(name))
        for index, name in enumerate(names, start=1)
    ]
    return Variations(pictures, engine="patch", request=VariationRequest.from_arguments(**settings))


def at(path):
    return Source(Path(path).name, path=Path(path))


def test_a_run_hangs_below_what_made_its_source():
    """Children stand below their parent, oldest first, and the newest family comes first."""
    runs = [
        run_of(at("a.png"), "/s/1", "/s/2", seed=1),
        run_of(at("b.png"), "/s/3", seed=2),
        run_of(at("/s/2"), "/s/4", seed=3),
        run_of(at("/s/4"), "/s/5", seed=4),
        run_of(at("/s/1"), "/s/6", seed=5),
    ]
    assert [(node.run.request.seed, node.depth) for node in grow(runs)] == [
        (2, 0),
        (1, 0),
        (3, 1),
        (4, 2),
        (5, 1),
    ]


def test_runs_without_pictures_are_left_out():
    """A run that made nothing is no node."""
    assert grow([Variations()]) == ()


def test_details_name_all_that_repeats_it():
    """The details of a node have its parameters."""
    found = dict(details(run_of(at("a.png"), "/s/1", seed=3, strength="subtle", size="64x64")))
    assert found["seed"] == "3"
    assert found["strength"] == "0.2"
    assert found["size"] == "64x64"


def test_the_line_is_read_back_as_it_was_meant():
    """The magic's grammar gets every value of the line back, however the path is spelled."""
    path = '/data/it\'s {my} "cat" $1.png'
    run = run_of(at(path), "/s/1", "/s/2", seed=3, n=2, prompt="two words; {x}", options={"flip": False})
    found = parse(split(line(run).removeprefix("%imagevariation ")))

    def meaning(token):
        part = token.parts[0]
        return eval(part.code) if hasattr(part, "code") else part  # noqa: S307

    values = {name: [meaning(token) for token in tokens] for name, tokens in found.items()}
    assert values["image"] == [path]
    assert values["prompt"] == ["two words; {x}"]
    assert (values["seed"], values["n"], values["options"]) == (["3"], ["2"], ["flip=False"])


def test_the_call_is_python():
    """The call compiles and names the source by the expression that it came from."""
    run = run_of(Source("photo", data=b"x"), "/s/1", seed=3)
    code = call(run, "photo")
    compile(code, "<call>", "exec")
    assert "variations(photo, engine='patch', n=1" in code


def test_the_code_names_every_source():
    """A run of several images is repeated with all of them, each once."""
    both = Variations(
        [*run_of(at("/a b.png"), "/s/1", "/s/2"), *run_of(at("/c.png"), "/s/3", "/s/4")],
        engine="patch",
        request=VariationRequest.from_arguments(n=2, seed=3),
    )
    assert line(both).startswith("%imagevariation '/a b.png' '/c.png' --engine 'patch' -n 2 ")
    assert "variations(['/a b.png', '/c.png'], engine='patch', n=2" in call(both)
    assert "--seed 3 --index 2" in line(both[1::2])


@pytest.mark.parametrize(
    ("named", "recorded", "written"),
    [
        (None, {"model": "owner/name@0123456789ab", "revision": COMMIT}, f"owner/name@{COMMIT}"),
        ("owner/name", {"model": "owner/name@0123456789ab", "revision": COMMIT}, f"owner/name@{COMMIT}"),
        ("owner/name@main", {"model": "owner/name@0123456789ab", "revision": COMMIT}, f"owner/name@{COMMIT}"),
        ("short", {"model": "owner/name@0123456789ab", "revision": COMMIT}, "short"),
        ("./folder", {"model": "folder"}, "./folder"),
        (None, {"model": "paint-2"}, None),
        ("paint-1", {"model": "paint-1"}, "paint-1"),
        (None, {"model": None, "revision": None}, None),
        (None, {}, None),
    ],
)
def test_the_code_names_the_model_that_answered(named, recorded, written):
    """A repository of the hub has its commit, also as a default; other names stay as they were typed."""
    run = run_of(at("/a.png"), "/s/1", seed=3, model=named)
    run[0].parameters = recorded
    assert (f"model={written!r}" in call(run)) == (written is not None)
    assert (f"--model '{written}'" in line(run)) == (written is not None)
    assert ("model" in call(run)) == (written is not None)
