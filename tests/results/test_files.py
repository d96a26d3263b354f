import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ipy_imgvar.errors import InvalidRequestError
from ipy_imgvar.results.files import FIELDS, checked_files, expand_pattern
from ipy_imgvar.storage.disk import checked_folder

EXTENSIONS = (".png", ".jpg", ".jpeg", ".webp")


def names(pattern, stems):
    return [str(path) for path in expand_pattern(pattern, stems, EXTENSIONS)]


def refusal(pattern, stems=("cat",)):
    with pytest.raises(InvalidRequestError) as caught:
        expand_pattern(pattern, stems, EXTENSIONS)
    assert caught.value.field == "out_file"
    assert len(str(caught.value).splitlines()) == 1
    return str(caught.value)


def test_one_path():
    """One picture goes to the path itself."""
    assert names("a/b.png", ["cat"]) == ["a/b.png"]
    assert names(Path("a/b.PNG"), ["cat"]) == ["a/b.PNG"]


def test_home(monkeypatch, tmp_path):
    """A path may begin with the home folder."""
    monkeypatch.setenv("HOME", str(tmp_path))
    assert names("~/b.png", ["cat"]) == [str(tmp_path / "b.png")]


def test_fields():
    """The reserved names are the picture's number, how many there are, and the source's stem."""
    assert FIELDS == ("i", "n", "stem")
    assert names("{stem}-{i}-of-{n}.jpg", ["cat", "cat", "dog"]) == [
        "cat-1-of-2.jpg",
        "cat-2-of-2.jpg",
        "dog-1-of-1.jpg",
    ]


def test_values_of_a_sweep_are_fields():
    """The axes are fields: numbers take a format, and of a text what a name can't have is replaced, and the end cut."""
    values = [
        {"strength": 0.2, "seed": 7, "flip": True, "prompt": "a/b: c?"},
        {"strength": 0.85, "seed": 12, "flip": False, "prompt": "x" * 50},
    ]
    pattern = "{strength:.2f}-{seed:03}-{flip}-{prompt}-{i}.png"
    paths = expand_pattern(pattern, ["cat", "cat"], EXTENSIONS, values)
    assert [str(path) for path in paths] == [
        "0.20-007-true-a-b- c--1.png",
        f"0.85-012-false-{'x' * 40}-2.png",
    ]
    for text in ("..", " ", "."):
        assert str(expand_pattern("{model}.png", ["cat"], EXTENSIONS, [{"model": text}])[0]) == "-.png"


@pytest.mark.parametrize("field", ["{sed}", "{strength}", "{index:03}", "{guidance-scale}"])
def test_an_unknown_field_is_refused(field):
    """A name in braces that is no field is refused, with the fields that there are."""
    assert refusal(f"{field}.png") == (
        f"{field} is no field of a file's name; allowed: {{i}}, {{n}}, {{stem}}; write {{{{ for a literal brace"
    )


def test_a_sweeps_axes_are_offered_as_fields():
    """The refusal of an unknown field names the axes that all pictures have."""
    combinations = [{"seed": 1, "strength": 0.2, "i": 1}, {"seed": 2}]
    with pytest.raises(InvalidRequestError, match=r"allowed: \{i\}, \{n\}, \{stem\}, \{seed\}; write"):
        expand_pattern("{strength}-{i}.png", ["cat", "cat"], EXTENSIONS, combinations)


def test_numbers_run_over_all_images_without_a_stem():
    """Without {stem} the number counts all pictures, so that no two have one name."""
    assert names("{i}.png", ["cat", "cat", "dog"]) == ["1.png", "2.png", "3.png"]


def test_formats():
    """A number can be padded."""
    assert names("{i:03}.png", ["cat"] * 2) == ["001.png", "002.png"]
    assert names("{stem:_>5}-{i}.png", ["cat"] * 2) == ["__cat-1.png", "__cat-2.png"]


def test_fields_in_folders():
    """A field may name a folder."""
    assert names("{stem}/{i}.png", ["cat", "dog"]) == ["cat/1.png", "dog/1.png"]


def test_other_braces_stay():
    """Braces that hold no name are part of the file's name, and doubled ones stand for one."""
    assert names("{}{ }{1}-{{x}}-{{{i}}}.png", ["cat"]) == ["{}{ }{1}-{x}-{1}.png"]
    assert names("{{stem}}-{i}.png", ["cat", "dog"]) == ["{stem}-1.png", "{stem}-2.png"]


def test_an_existing_folder_may_have_braces(tmp_path, monkeypatch):
    """A folder that exists keeps its name, whatever stands in its braces; one with a field is filled in."""
    monkeypatch.chdir(tmp_path)
    for folder in ("{x}", "{{x}}", "{i}"):
        Path(folder).mkdir()
        assert names(f"{folder}/{{i}}.png", ["cat"]) == ["1/1.png" if folder == "{i}" else f"{folder}/1.png"]
    assert "{y} is no field" in refusal("{x}/{y}/{i}.png")


def test_a_stem_is_not_expanded_again():
    """A source whose name looks like a field stays as it is."""
    assert names("{stem}-{i}.png", ["{i}"]) == ["{i}-1.png"]


@pytest.mark.parametrize("pattern", ["x.png", "{stem}.png", "{n}.png"])
def test_one_name_for_several(pattern):
    """Pictures that would replace one another are refused, with a pattern that would not."""
    message = refusal(pattern, ["cat", "cat"])
    assert "is the name of 2 pictures; add {i}: " in message
    assert names(message.rpartition(": ")[2], ["cat", "cat"])


def test_one_stem_for_two_images():
    """Two sources of one name count on."""
    assert names("{stem}-{i}.png", ["cat", "cat"]) == ["cat-1.png", "cat-2.png"]
    assert "cat.png is the name of 2 pictures" in refusal("{stem}.png", ["cat", "cat", "dog"])


@pytest.mark.parametrize("pattern", ["x", "x.gif", "x.", "x.png.txt", "", "x/{i}", ".png"])
def test_extensions(pattern):
    """An extension that can't be written is refused with those that can."""
    message = refusal(pattern)
    assert "allowed: .png, .jpg, .jpeg, .webp" in message or "is a folder" in message


def test_folder(tmp_path):
    """A folder is refused with a pattern for a file in it."""
    assert str(tmp_path / "variation-{i}.png") in refusal(tmp_path)


@pytest.mark.parametrize(
    "pattern", ["{i:x y}.png", "{i:s}.png", "{stem:d}.png", "{i:999999999999}.png", "{i:99999}.png"]
)
def test_bad_formats(pattern):
    """A format that does not fit is refused with one that does."""
    assert "allowed: {i} or {i:03}" in refusal(pattern)


def test_unknown_home():
    """The home of a user that does not exist is one line."""
    assert "no-such-user" in refusal("~no-such-user/x.png")


def test_no_path_at_all():
    """A path with a null character is refused."""
    assert "null" in refusal("a\0b.png")


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ("photo.png/x.png", "'photo.png/x.png' can't be written (photo.png is a file, not a folder)"),
        ("photo.png/deep/x.png", "photo.png is a file, not a folder"),
        ("x" * 300 + ".png", "File name too long"),
        ("new/" + "x" * 300 + ".png", "File name too long"),
        ("x" * 300 + "/{i}.png", "File name too long"),
        ("nowhere/x.png", "nowhere is a file, not a folder"),
        (5, "out-file is 5; allowed: a path"),
        (None, "out-file is None; allowed: a path"),
    ],
)
def test_a_file_that_can_not_be_written_is_refused(tmp_path, monkeypatch, pattern, message):
    """What the file system would refuse after a run is refused before it, in one line, and nothing is made."""
    monkeypatch.chdir(tmp_path)
    Path("photo.png").touch()
    Path("nowhere").symlink_to("gone")
    with pytest.raises(InvalidRequestError) as caught:
        checked_files(pattern, ["cat"])
    assert message in str(caught.value)
    assert caught.value.field == "out_file"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["nowhere", "photo.png"]


def test_a_file_that_can_be_written_is_not_made_yet(tmp_path, monkeypatch):
    """Files of folders that are missing, and files that exist, can be written."""
    monkeypatch.chdir(tmp_path)
    Path("1.png").touch()
    assert checked_files("{i}.png", ["cat", "dog"]) == [Path("1.png"), Path("2.png")]
    assert checked_files("a/b/../{stem}.png", ["cat"]) == [Path("a/b/../cat.png")]
    assert [path.name for path in tmp_path.iterdir()] == ["1.png"]


@pytest.mark.parametrize("folder", ["photo.png", "photo.png/out", "", "a\0b", "x" * 300, 5, None])
def test_a_folder_that_can_not_be_written_is_refused(tmp_path, monkeypatch, folder):
    """A bulk run's folder is checked in the same way."""
    monkeypatch.chdir(tmp_path)
    Path("photo.png").touch()
    with pytest.raises(InvalidRequestError) as caught:
        checked_folder(folder)
    assert caught.value.field == "out_dir"
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_without_permission_is_refused(tmp_path):
    """A folder that this user can't write to is refused by name."""
    tmp_path.chmod(0o500)
    with pytest.raises(InvalidRequestError, match="no permission for the folder"):
        checked_files(tmp_path / "new" / "x.png", ["cat"])


@given(
    st.lists(
        st.text(st.characters(exclude_characters="/\0", codec="utf-8"), min_size=1, max_size=20), max_size=20
    )
)
def test_stem_and_number_are_always_distinct(stems):
    """Whatever the images are called, {stem}/{i} never gives two pictures one name."""
    paths = names("out/{stem}/{i}.png", stems)
    assert len(set(paths)) == len(stems)
