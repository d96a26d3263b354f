"""The code that repeats a run: it is run for real, and makes the same bytes."""

import atexit
import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from IPython.core.interactiveshell import InteractiveShell
from IPython.utils.capture import capture_output
from PIL import Image
from runs import at, run_of
from traitlets.config import Config

from ipy_imgvar import Client, variations
from ipy_imgvar.images.source import Source
from ipy_imgvar.line.grammar import split
from ipy_imgvar.line.parser import parse
from ipy_imgvar.panel import view
from ipy_imgvar.panel.actions import PanelActions
from ipy_imgvar.panel.job import Worker
from ipy_imgvar.panel.recipe import may_hold_key, recipe
from ipy_imgvar.panel.state import PanelState
from ipy_imgvar.request import VariationRequest
from ipy_imgvar.results import history
from ipy_imgvar.results.variations import Variations

pytestmark = pytest.mark.usefixtures("quick_patch")

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture
def shell(tmp_path, monkeypatch):
    """Give a fresh shell with the extension loaded, in a folder of its own."""
    monkeypatch.chdir(tmp_path)
    InteractiveShell.clear_instance()
    instance = InteractiveShell.instance(config=Config({"HistoryManager": {"enabled": False}}))
    instance.run_line_magic("load_ext", "ipy_imgvar")
    yield instance
    instance.run_line_magic("unload_ext", "ipy_imgvar")
    InteractiveShell.clear_instance()
    atexit.unregister(instance.atexit_operations)


@pytest.fixture
def repeats(shell):
    """Return a function that runs both forms of a code in new cells, and says whether both give these bytes."""

    def check(code, pictures):
        made = []
        for cell in (code.line, code.call):
            with capture_output():
                result = shell.run_cell(cell)
            result.raise_error()
            made.append(result.result.bytes)
        return made == [pictures.bytes] * 2

    return check


@pytest.fixture
def panel():
    """Return a panel's actions over the engine patch; everything runs at once."""

    def build(namespace=None):
        inline = [Worker(lambda work: work()) for _ in range(2)]
        actions = PanelActions(PanelState(), {} if namespace is None else namespace, Client("patch"), *inline)
        actions.state.size, actions.state.n, actions.state.seed = "64x64", 3, "5"
        return actions

    return build


def png(picture):
    """Return an array or picture as the bytes of a PNG."""
    buffer = io.BytesIO()
    (picture if isinstance(picture, Image.Image) else Image.fromarray(picture)).save(buffer, "PNG")
    return buffer.getvalue()


def varied(image, *, seed, **settings):
    return variations(image, engine="patch", size="64x64", seed=seed, **settings)


def test_a_path_is_written_as_it_was_given(photo, repeats):
    """The run of a file is repeated with its path and nothing to note."""
    Path("cat.png").write_bytes(png(photo))
    run = varied("cat.png", seed=3, n=2)
    code = recipe(run, "", history.history())
    assert code.line.startswith("%imagevariation 'cat.png' --engine 'patch' -n 2 ")
    assert code.notes == ()
    assert repeats(code, run)


def test_a_picture_of_several_is_repeated_by_its_index(photo, repeats):
    """One picture of a run is made alone; two of three come with the third, and a note says so."""
    Path("cat.png").write_bytes(png(photo))
    run = varied("cat.png", seed=3, n=3)
    alone = recipe(run[1:2], "", [])
    assert "--seed 3 --index 2" in alone.line
    assert alone.notes == ()
    assert repeats(alone, run[1:2])
    two = recipe(run[:2], "", [])
    assert two.notes == ("the code makes all 3 pictures of that run",)
    assert repeats(two, run)


def test_a_variable_is_named(photo, repeats, shell, panel):
    """The run of a variable is repeated with the variable, and a colleague is told what it needs."""
    shell.user_ns["photo"] = photo
    actions = panel(shell.user_ns)
    actions.pick_variable("photo")
    actions.run()
    state = actions.state
    assert state.line.startswith("%imagevariation {photo} ")
    assert state.code_notes == (
        "photo is a variable of this notebook: a colleague needs the cell that makes it",
    )
    assert repeats(recipe(state.result, "photo", history.history()), state.result)


def test_a_picture_of_a_picture_of_a_picture_is_told_from_its_root(photo, repeats):
    """Each step is one line that makes one picture, from the first file to the run."""
    Path("cat.png").write_bytes(png(photo))
    first = varied("cat.png", seed=3, n=3)
    second = varied(first[1], seed=4)
    third = varied(second[0], seed=6, n=2, strength="subtle")
    code = recipe(third, "", history.history())
    root, middle, last = code.line.splitlines()
    assert root.startswith("step1 = %imagevariation '")
    assert root.endswith(
        "cat.png' --engine 'patch' --size '64x64' --strength 0.5 --fit 'crop' --seed 3 --index 2"
    )
    assert middle.startswith("step2 = %imagevariation {step1} --engine 'patch' -n 1 ")
    assert last.startswith("%imagevariation {step2} --engine 'patch' -n 2 ")
    assert code.notes == ()
    history.forget()
    assert repeats(code, third)


def test_a_picture_that_a_variable_holds_is_told_from_its_root(photo, repeats):
    """A colleague has no such variable, but can make the picture."""
    Path("cat.png").write_bytes(png(photo))
    first = varied("cat.png", seed=3, n=2)
    second = varied(first[1], seed=4)
    code = recipe(second, "chosen", history.history())
    assert "chosen" not in code.line + code.call
    assert repeats(code, second)


def test_two_pictures_of_one_run_are_two_steps(photo, repeats):
    """A run of several made pictures has a step for each, and a step that both need is there once."""
    Path("cat.png").write_bytes(png(photo))
    first = varied("cat.png", seed=3)
    second = varied(first[0], seed=4, n=2)
    third = varied([second[0], second[1], "cat.png"], seed=6)
    code = recipe(third, "", history.history())
    assert [each.partition(" ")[0] for each in code.line.splitlines()] == [
        "step1",
        "step2",
        "step3",
        "%imagevariation",
    ]
    assert "variations([step2, step3, 'cat.png'], " in code.call
    assert repeats(code, third)


def test_an_upload_is_named_by_its_copy(photo, repeats, panel, store_root):
    """The code of an uploaded picture runs here, and a note says which path a colleague puts in its place."""
    actions = panel()
    actions.upload("cat.png", png(photo))
    actions.run()
    state = actions.state
    path = state.result[0].source.path
    assert path.is_relative_to(store_root)
    assert state.code_notes == (
        f"cat.png is a copy in the store: for a colleague, put its own path in place of {path}",
    )
    assert repeats(recipe(state.result, "", history.history()), state.result)


def test_a_run_with_a_mask_is_repeated_with_it(photo, repeats, panel):
    """A painted mask lies in the store, the code names it, and a later process finds it too."""
    mask = np.zeros(photo.shape[:2], np.uint8)
    mask[:, :60] = 255
    actions = panel()
    actions.upload("cat.png", png(photo))
    actions.use_mask(png(mask))
    actions.run()
    state = actions.state
    path = state.result.request.mask.path
    assert f"--mask '{path}'" in state.line
    assert f"the painted mask is in the store: a colleague needs the file {path}" in state.code_notes
    assert repeats(recipe(state.result, "", []), state.result)
    actions.vary(state.cards[1].id)
    actions.run()
    history.forget()
    code = recipe(state.result, "", history.history())
    assert code.line.startswith("step1 = ")
    assert code.line.count(f"--mask '{path}'") == 1
    assert repeats(code, state.result)


def test_a_mask_in_memory_is_asked_for(photo, repeats):
    """The code of a run whose mask is in no file says so, and a step with such a mask is named by its file."""
    Path("cat.png").write_bytes(png(photo))
    mask = np.zeros(photo.shape[:2], bool)
    mask[:, :60] = True
    masked = varied("cat.png", seed=3, mask=mask)
    words = "a mask kept a part of the picture, and it is in no file: add it with --mask or mask="
    assert recipe(masked, "", []).notes == (words,)
    assert recipe(history.history()[0], "", []).notes == (words,)
    second = varied(masked[0], seed=4)
    code = recipe(second, "", history.history())
    assert code.line.startswith(f"%imagevariation '{masked[0].path}' ")
    assert code.notes == (
        f"{second[0].source.name} can't be made again (its mask is in no file): a colleague needs its file",
    )
    assert repeats(code, second)


@pytest.mark.parametrize(
    ("engine", "seed", "reason"),
    [
        ("openai", 3, "the engine openai is a server's"),
        ("patch", None, "the engine patch takes no seed"),
        ("not-here", 3, "the engine not-here is not here"),
    ],
)
def test_a_step_that_cannot_be_repeated_is_named_by_its_file(photo, repeats, engine, seed, reason):
    """A picture of a server, or without a seed, is not asked for again: its file stands in the code."""
    Path("cat.png").write_bytes(png(photo))
    first = varied("cat.png", seed=3)
    second = varied(first[0], seed=4)
    made = Variations(first, engine=engine, request=replace(first.request, seed=seed))
    code = recipe(second, "", [made])
    assert code.line.startswith(f"%imagevariation '{first[0].path}' ")
    assert code.notes == (f"cat-1.png can't be made again ({reason}): a colleague needs its file",)
    assert repeats(code, second)


def test_pictures_without_a_seed_are_new_ones():
    """A note says that the code of an engine without a seed makes other pictures."""
    run = run_of(at("/a.png"), "/s/1")
    notes = recipe(run, "", []).notes
    assert "patch takes no seed: the code makes new pictures, not these" in notes


def test_a_lost_source_is_told(photo):
    """A source that was in memory, and a file that is gone, are asked for."""
    in_memory = varied(photo, seed=3)
    assert recipe(in_memory, "", []).notes == (
        "array was in memory and is in no file: put a path or a variable in its place",
    )
    gone = run_of(at("/no/cat.png"), "/s/1", seed=3)
    assert recipe(gone, "", []).notes == (
        "the file /no/cat.png is gone: put another path of cat.png in its place",
    )


def test_a_record_that_names_itself_ends():
    """Two damaged records whose pictures are made of each other give a code all the same."""
    one = run_of(at("/s/2"), "/s/1", seed=1)
    two = run_of(at("/s/1"), "/s/2", seed=2)
    code = recipe(one, "", [one, two])
    assert code.line.splitlines()[-1].startswith("%imagevariation {step2} ")


@pytest.mark.parametrize(
    ("address", "is_named"),
    [
        ("https://example.org/cat.png", True),
        ("https://ann:secret@example.org/cat.png", False),
        ("https://example.org/cat.png?signature=secret", False),
    ],
)
def test_no_code_has_a_password(photo, repeats, panel, address, is_named):
    """An address that may hold a password or key is replaced by the copy in the store."""
    actions = panel()
    actions.upload("cat.png", png(photo))
    actions.run()
    code = recipe(actions.state.result, repr(address), [])
    told = code.line + code.call + "".join(code.notes)
    assert (address in told) == is_named
    assert may_hold_key(f" {address}") != is_named
    actions.state.typed = address
    assert (view.SECTIONS["source"].make(actions.state, actions)["typed"] == address) == is_named
    assert "secret" not in told
    if not is_named:
        assert code.notes[-1] == "its address may hold a password or a key, so it is not in the code"
        assert repeats(code, actions.state.result)


def test_the_line_is_read_back_as_it_was_meant():
    """The magic's grammar gets every value of the line back, however the path is spelled."""
    path = '/data/it\'s {my} "cat" $1.png'
    run = run_of(at(path), "/s/1", "/s/2", seed=3, n=2, prompt="two words; {x}", options={"flip": False})
    found = parse(split(recipe(run, "", []).line.removeprefix("%imagevariation ")))

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
    code = recipe(run, "photo", []).call
    compile(code, "<call>", "exec")
    assert "variations(photo, engine='patch', n=1" in code


def test_the_code_names_every_source():
    """A run of several images is repeated with all of them, each once."""
    both = Variations(
        [*run_of(at("/a b.png"), "/s/1", "/s/2"), *run_of(at("/c.png"), "/s/3", "/s/4")],
        engine="patch",
        request=VariationRequest.from_arguments(n=2, seed=3),
    )
    assert recipe(both, "", []).line.startswith("%imagevariation '/a b.png' '/c.png' --engine 'patch' -n 2 ")
    assert "variations(['/a b.png', '/c.png'], engine='patch', n=2" in recipe(both, "", []).call
    assert "--seed 3 --index 2" in recipe(both[1::2], "", []).line


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
    assert (f"model={written!r}" in recipe(run, "", []).call) == (written is not None)
    assert (f"--model '{written}'" in recipe(run, "", []).line) == (written is not None)
    assert ("model" in recipe(run, "", []).call) == (written is not None)
