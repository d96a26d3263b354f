"""Lines that are wrong: each is one clear line, and nothing is made, bound or written."""

import numpy as np
import pytest
from IPython.core.error import UsageError
from PIL import Image


@pytest.fixture
def desk(shell, tmp_path):
    """Give a shell in a folder with good and bad files, and variables of many kinds."""
    Image.fromarray(np.arange(64 * 64 * 3, dtype=np.uint8).reshape(64, 64, 3)).save(tmp_path / "photo.png")
    whole = (tmp_path / "photo.png").read_bytes()
    (tmp_path / "cut.png").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "text.png").write_text("not a picture")
    (tmp_path / "empty.png").write_bytes(b"")
    (tmp_path / "folder").mkdir()
    (tmp_path / "both").write_bytes(whole)
    shell.ns.update(
        both=np.zeros((8, 8), np.uint8),
        bright=np.full((8, 8, 3), 255.0),
        number=5,
        picture=np.zeros((64, 64, 3), np.uint8),
    )
    return shell


BAD = {
    "missing file": ("phot.png", "there is no file phot.png; near names there: photo.png"),
    "directory": ("folder", "folder is a folder; name an image in it"),
    "text named .png": ("text.png", "text.png is not an image"),
    "truncated": ("cut.png", "cut.png is a PNG image that breaks off or is damaged"),
    "0 bytes": ("empty.png", "empty.png is empty (0 bytes)"),
    "n = 0": ("photo.png -n 0", "n is '0'; allowed: a whole number from 1 to 10"),
    "n = 11": ("photo.png -n 11", "n is '11'; allowed: a whole number from 1 to 10"),
    "n in words": ("photo.png -n two", "n is 'two'; allowed: a whole number from 1 to 10"),
    "three sides": ("photo.png -s 300x300x2", "size is '300x300x2'; allowed: 256, 512, 1024"),
    "too large for the engine": ("photo.png -s 4096", "size is 4096x4096; the engine patch makes"),
    "unknown option": ("photo.png --sead 3", "there is no option --sead; did you mean --seed?"),
    "unclosed quote": ("'photo.png", "is never closed"),
    "unclosed brace": ("{picture", "has no closing }"),
    "no number in the file name": ("photo.png -n 2 --out-file x.png", "put {i} in it: x-{i}.png"),
    "file and form": ("photo.png -f byte --out-file x.png", "--out-file saves and -f returns a value"),
    "file without extension": ("photo.png --out-file x", "x has no extension; allowed: .png"),
    "file with another extension": ("photo.png --out-file x.bmp", "x.bmp ends in '.bmp'; allowed: .png"),
    "out is no name": ("photo.png -o 1x", "--out is '1x'; allowed: the name of a variable"),
    "out is a keyword": ("photo.png -o class", "--out is 'class'; allowed: the name of a variable"),
    "out is the last value": ("photo.png -o _", "--out is '_'; allowed: the name of a variable"),
    "undefined variable": ("$nothing", "there is no variable nothing"),
    "undefined name": (
        "{nothing}",
        "{nothing} can't be evaluated (NameError: name 'nothing' is not defined)",
    ),
    "bare word": ("nothing", "there is no variable and no file nothing"),
    "variable and file": (
        "both",
        "both is a variable and a file; write {both} for the variable, ./both for the file",
    ),
    "float of 255": ("bright", "bright is a float array with values from 255 to 255; allowed: 0 to 1"),
    "no image kind": (
        "number",
        "number is 5 (int), which is no image; variables that hold one: both, bright, picture",
    ),
    "unknown form": ("photo.png -f gif", "response_format is 'gif'; allowed: url, base64"),
    "unknown engine": (
        "photo.png --engine pach",
        "engine is 'pach'; allowed: patch, openai; did you mean patch?",
    ),
    "option without value": ("photo.png -n", "-n needs a value"),
    "option twice": ("photo.png -n 2 -n 3", "-n is given twice"),
    "flag with value": ("photo.png --quiet=yes", "--quiet takes no value"),
    "strength too high": ("photo.png --strength 1.5", "strength is '1.5'; allowed: subtle, medium, strong"),
    "seed below zero": ("photo.png --seed -1", "seed is '-1'; allowed: a whole number from 0"),
    "no image": ("-n 2", "no image was given; usage: %imagevariation IMAGE..."),
    "nothing at all": ("", "no image was given"),
    "no match": ("*.gif", "no file matches *.gif"),
    "an index that is no file": ("picture[0]", "for the Python expression write {picture[0]}"),
}


@pytest.mark.parametrize("case", BAD)
def test_a_wrong_line_is_one_clear_line(desk, tmp_path, case):
    """A wrong line gives one line without a traceback, and nothing is bound or written."""
    line, message = BAD[case]
    files = sorted(path.relative_to(tmp_path) for path in tmp_path.rglob("*"))
    result = desk.run(f"kept = %imagevariation {line}")
    assert message in result.err
    assert result.err.strip().count("\n") == 0
    assert result.out == ""
    assert type(result.error) is UsageError
    assert "kept" not in desk.ns
    assert sorted(path.relative_to(tmp_path) for path in tmp_path.rglob("*")) == files


def test_an_image_over_pillows_limit_is_one_clear_line(desk, monkeypatch):
    """Pillow's guard against decompression bombs is an error, not a warning."""
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    result = desk.run("%imagevariation photo.png")
    assert "photo.png has more pixels than is safe to open; allowed: 0.0 million" in result.err
    assert result.err.strip().count("\n") == 0


def test_a_body_beside_an_image_is_a_prompt_that_this_engine_refuses(desk):
    """The body of a cell whose line names an image is a prompt, and patch has no use for one."""
    result = desk.run("%%imagevariation photo.png --engine patch\na cat in the snow")
    assert "the engine patch can't use a prompt" in result.err


GOOD = {
    "quoted path": ("'my photo.png' -s 64", 1),
    "escaped space": (r"my\ photo.png -s 64", 1),
    "expression": ("{picture[:32, :32]} -s 64 -n 2", 2),
    "dollar": ("$picture -s 64", 1),
    "bare variable": ("-n {number - 3} -s 64 picture", 2),
    "several": ("photo.png picture -s 64 'my photo.png'", 3),
    "pattern": ("*photo.png -s 64", 2),
    "comment": ("photo.png -s 64 # the photo", 1),
    "list": ("{[picture, picture]} -s 64", 2),
    "equals": ("photo.png --size=64 --seed=3 -n=2", 2),
    "words in another case": ("photo.png -Size 64 -NumberOfImages 2", 2),
}


@pytest.mark.parametrize("case", GOOD)
def test_a_good_line_makes_its_pictures(desk, tmp_path, case):
    """Every way of naming an image and giving an option makes the number of pictures asked for."""
    (tmp_path / "my photo.png").write_bytes((tmp_path / "photo.png").read_bytes())
    line, count = GOOD[case]
    result = desk.run(f"kept = %imagevariation {line}")
    assert result.error is None
    assert len(desk.ns["kept"]) == count


def test_a_body_lists_images_a_line_each(desk):
    """A cell's body names one image a line; blank lines and lines that begin with # are skipped."""
    desk.run("%%imagevariation -s 64 -o kept\nphoto.png\n\n# photo.png\n{picture}\n*oto.png\n")
    assert [each.name for each in desk.ns["kept"]] == ["photo-1", "picture-1", "photo-1"]


def test_out_file_converts_by_extension(desk, tmp_path):
    """--out-file makes parents, numbers the files and writes the format of the extension."""
    result = desk.run("%imagevariation photo.png -n 2 -s 64 --out-file new/{stem}-{i:02}.jpg --quiet")
    assert result.error is None
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == ["photo-01.jpg", "photo-02.jpg"]
    assert (tmp_path / "new" / "photo-02.jpg").read_bytes().startswith(b"\xff\xd8\xff")


def test_help_is_printed_and_nothing_is_made(desk):
    """-h prints the options and examples, and returns nothing."""
    result = desk.run("kept = %imagevariation -h")
    assert "--number-of-images" in result.out
    assert desk.ns["kept"] is None


def test_a_terminal_gets_a_table(desk):
    """Where only text is shown, a run prints a table of name, size and path, once."""
    result = desk.run("%imagevariation photo.png -n 2 -s 64")
    assert result.out.count("photo-1") == 1
    assert "64x64" in result.out


def test_unloading_undoes_loading(shell):
    """%unload_ext removes the magic and what it registered; %load_ext brings it back."""
    shell.run("%unload_ext ipy_imgvar")
    assert "imagevariation" not in shell.shell.magics_manager.magics["line"]
    assert "imagevariation" not in shell.shell.magics_manager.magics["cell"]
    shell.run("%load_ext ipy_imgvar")
    assert "imagevariation" in shell.shell.magics_manager.magics["line"]


def test_defaults_can_be_configured(desk):
    """%config changes the defaults of later lines."""
    desk.run("%config ImageVariationMagics.size = '64x96'")
    desk.run("kept = %imagevariation photo.png --quiet")
    assert desk.ns["kept"][0].size == (64, 96)
