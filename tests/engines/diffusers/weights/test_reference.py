"""What a model's name means: a preset, an id of the hub, a folder."""

import os
import string
from pathlib import Path

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from ipy_imgvar.engines.diffusers.weights.presets import PRESETS
from ipy_imgvar.engines.diffusers.weights.reference import Reference, is_repo, is_revision, reference
from ipy_imgvar.errors import InvalidRequestError

WORDS = st.text(string.ascii_letters + string.digits + "-_.", min_size=1, max_size=30)
REPOS = st.tuples(WORDS, WORDS).map("/".join).filter(is_repo)
REVISIONS = st.text(string.ascii_letters + string.digits + "-_./", min_size=1, max_size=40).filter(
    is_revision
)


@pytest.mark.parametrize("name", PRESETS)
def test_presets(name):
    """A preset's name means its repository at its commit, and so does the repository written out."""
    preset = PRESETS[name]
    expected = Reference(preset.repo, preset.revision, None, preset)
    assert reference(name) == reference(f" {name} ") == reference(preset.repo) == expected
    assert reference(f"{preset.repo}@{preset.revision}") == expected


def test_a_preset_at_another_revision():
    """A preset's repository at another revision is no preset: the table's facts needn't hold there."""
    found = reference("stabilityai/stable-diffusion-xl-base-1.0@refs/pr/8")
    assert (found.preset, found.revision) == (None, "refs/pr/8")
    assert found.name == "stabilityai/stable-diffusion-xl-base-1.0@refs/pr/8"


@given(repo=REPOS, revision=st.none() | REVISIONS)
def test_any_id(repo, revision):
    """Any valid id, with or without a revision, is read as written, and its name says the same."""
    assume(repo not in {preset.repo for preset in PRESETS.values()})
    text = f"{repo}@{revision}" if revision else repo
    assume(not text.startswith("."))
    found = reference(text)
    assert (found.repo, found.revision, found.folder, found.preset) == (repo, revision, None, None)
    assert found.name == text
    assert reference(found.name) == found


@given(text=st.text(max_size=60) | st.text("aZ0-_./@~\\: \0", max_size=20))
def test_any_text(text):
    """Any other text is refused in one line with the field, never by another error, and never means two things."""
    error = found = None
    try:
        found = reference(text)
    except InvalidRequestError as exc:
        error = exc
    if error:
        assert error.field == "model"
        assert str(error).startswith("model is ")
        assert "\n" not in str(error)
    else:
        assert (found.repo is None) != (found.folder is None)
        assert found.folder is None or found.folder.is_absolute()
        assert "/" not in found.name or found.repo


def test_the_librarys_own_rules():
    """Each id that is taken is valid for huggingface_hub, too."""
    validate = pytest.importorskip("huggingface_hub.utils").validate_repo_id

    @given(repo=st.text("aZ0-_./", max_size=12) | st.tuples(WORDS, WORDS).map("/".join))
    def check(repo):
        if is_repo(repo):
            validate(repo)

    check()


@pytest.mark.parametrize(
    "text",
    [
        "a",
        "a/b/c",
        "a/b@",
        "a/b@-x",
        "a/b@x..y",
        "a--b/c",
        "a/b.git",
        "/",
        "",
        "a/b@x y",
        "é/b",
        "a/.b",
        "a/" + "b" * 97,
        "b" * 97 + "/a",
    ],
)
def test_no_names(text, tmp_path, monkeypatch):
    """Ids with a wrong character, part or revision are refused with the list of what is allowed."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InvalidRequestError, match=r"klein.*|no model_index"):
        reference(text)


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("Klein", "klein"),
        ("sdx", "sdxl"),
        ("z_image", "z-image"),
        ("https://huggingface.co/some/model/tree/main", "some/model"),
        ("stable-diffusion-xl-base-1.0", "stabilityai/stable-diffusion-xl-base-1.0"),
    ],
)
def test_hints(text, hint):
    """A name that is nearly right gets the right one."""
    with pytest.raises(InvalidRequestError) as caught:
        reference(text)
    assert str(caught.value).endswith(f"; did you mean {hint}?")


def test_an_address_is_not_repeated():
    """An address may hold a password, so that the message leaves it out."""
    with pytest.raises(InvalidRequestError) as caught:
        reference("https://user:secret@mirror.example/some/model")
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("form", ["absolute", "relative", "home", "bare", "slash"])
def test_folders(form, folder, tmp_path, monkeypatch):
    """A folder is taken as an absolute path, from its root, the current folder, the home, or by a name alone."""
    root = folder(name="my model")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    text = {
        "absolute": str(root),
        "relative": "./my model",
        "home": "~/my model",
        "bare": "my model",
        "slash": "./my model/",
    }[form]
    found = reference(text)
    assert found == Reference(folder=root)
    assert found.name == "my model"


def test_an_id_beside_a_folder(folder, tmp_path, monkeypatch):
    """A folder with a pipeline wins over the hub's id of the same name, as in diffusers; any other folder does not."""
    root = folder(name="some/model")
    (tmp_path / "other" / "model").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    assert reference("some/model").folder == root
    assert reference("./some/model").folder == root
    assert reference("other/model").repo == "other/model"


def test_a_preset_beside_a_folder(folder, tmp_path, monkeypatch):
    """A preset's name is the preset even where such a folder exists."""
    folder(name="sdxl")
    monkeypatch.chdir(tmp_path)
    assert reference("sdxl").preset is PRESETS["sdxl"]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("./nothing", "there is no such folder"),
        ("~nobody-here/x", "there is no such folder"),
        (r"C:\models\x", "there is no such folder"),
        (r"\\server\share\x", "there is no such folder"),
        ("C:/models/x", "there is no such folder"),
        ("./empty", "the folder has no model_index.json"),
        ("./one.safetensors", "a file; allowed: a folder"),
        ("./" + "x" * 5000, "there is no such folder"),
    ],
)
def test_no_folders(text, reason, tmp_path, monkeypatch):
    """A path to nothing, to a file or to another kind of folder is refused with the reason; Windows's paths, too."""
    monkeypatch.chdir(tmp_path)
    Path("empty").mkdir()
    Path("one.safetensors").write_bytes(b"x")
    with pytest.raises(InvalidRequestError) as caught:
        reference(text)
    assert reason in str(caught.value)
    assert caught.value.field == "model"


@pytest.mark.skipif(os.sep == "\\", reason="a backslash separates folders there")
def test_a_backslash_in_a_name(folder, tmp_path, monkeypatch):
    """A name with a backslash is a folder's."""
    root = folder(name="a\\b")
    monkeypatch.chdir(tmp_path)
    assert reference("a\\b").folder == root
