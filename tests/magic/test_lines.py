"""What a person might type: good lines get what was meant, bad ones are one clear line and nothing is made."""

import io
import re
from contextlib import redirect_stdout

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
    for name in (
        "both",
        "my photo.png",
        "-dash.png",
        "#4.png",
        "x[0].png",
        "{b}.png",
        r"C:\data\a.png",
        "it's.png",
    ):
        (tmp_path / name).write_bytes(whole)
    (tmp_path / "full").mkdir()
    for name in ("a.png", "b.png"):
        (tmp_path / "full" / name).write_bytes(whole)
    looped = []
    looped.append(looped)
    shell.ns.update(
        both=np.zeros((8, 8), np.uint8),
        bright=np.full((8, 8, 3), 255.0),
        folder_name="full",
        hostile=Hostile(),
        key="sk-SECRET",
        looped=looped,
        name="photo.png",
        np=np,
        number=5,
        picture=np.zeros((64, 64, 3), np.uint8),
        side=64,
        stream=io.BytesIO(whole),
        text=io.StringIO("photo"),
    )
    return shell


class Hostile:
    """Raises whatever is asked of it."""

    def __getattr__(self, name):
        raise RuntimeError(name)

    def __repr__(self):
        raise RuntimeError("repr")


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
    "a bulk run's option": ("photo.png --batch", "--batch is an option of imgvar bulk; here, --help lists"),
    "a path with spaces": ("my photo.png", "my photo.png has a space in its name: write 'my photo.png'"),
    "a home in pieces that is not there": ("~nobody-here/a b.png", "~nobody-here/a"),
    "a word that is too long, and another": (f"{'x' * 300} b.png", "File name too long"),
    "unclosed quote": ("'photo.png", "is never closed"),
    "unclosed brace": ("{picture", "has no closing }"),
    "no number in the file name": ("photo.png -n 2 --out-file x.png", "add {i}: x-{i}.png"),
    "file and form": ("photo.png -f byte --out-file x.png", "--out-file saves and -f returns a value"),
    "file without extension": ("photo.png --out-file x", "x has no extension; allowed: .png"),
    "file with another extension": ("photo.png --out-file x.bmp", "x.bmp ends in '.bmp'; allowed: .png"),
    "out is no name": ("photo.png -o 1x", "-o is '1x'; allowed: the name of a variable"),
    "out is a keyword": ("photo.png -o class", "-o is 'class'; allowed: the name of a variable"),
    "out is Python's own": ("photo.png -o list", "-o is list, a name of Python's own; choose another"),
    "out is IPython's own": ("photo.png --out Out", "--out is Out, a name of Python's own; choose another"),
    "a long spelling without value": ("photo.png --size", "--size needs a value"),
    "PascalCase without value": ("photo.png -OutFile", "-OutFile needs a value"),
    "option of another spelling": ("photo.png -Option x", "-Option is 'x'; allowed: NAME=VALUE"),
    "out is the last value": ("photo.png -o _", "-o is '_'; allowed: the name of a variable"),
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
    "float of 255": ("bright", "bright is a float array with values from 255.0 to 255.0; allowed: 0 to 1"),
    "no image kind": (
        "number",
        "number is 5 (int), which is no image; variables that hold one: both, bright, picture",
    ),
    "unknown form": ("photo.png -f gif", "response_format is 'gif'; allowed: url, base64"),
    "unknown engine": (
        "photo.png --engine pach",
        "engine is 'pach'; allowed: patch, openai, diffusers; did you mean patch?",
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
    "an attribute that is no file": ("picture.T", "for the Python expression write {picture.T}"),
    "a call that is no file": ("last()", "for the Python expression write {last()}"),
    "a dollar with an index": ("$picture[0]", "for the Python expression write {picture[0]}"),
    "a dollar inside a name": ("$name.png", "for the variable's text in a longer name write {name}.png"),
    "a Python list": ("[picture,picture]", "for a Python list write it in braces"),
    "a list that holds itself": ("looped", "is a list that holds itself; pass a flat one"),
    "an object that raises": (
        "hostile",
        "(Hostile), which is no image; variables that hold one: both, bright",
    ),
    "an array inside a name": ("{picture}.png", "File name too long"),
    "nothing in braces": ("{}", "{} is {} (dict), which is no image"),
    "a statement": ("{import os}", "holds no Python expression; write {{ for a literal brace"),
    "a failing expression": ("{1/0}", "{1/0} can't be evaluated (ZeroDivisionError: division by zero)"),
    "a bad format": ("a{number:zz}.png", "{number} can't be evaluated (ValueError: Unknown format code 'z'"),
    "no pixels": ("{np.zeros((0, 4, 3))}", "it has no pixels"),
    "an empty name": ("''", "the image is ''; allowed: a path"),
    "a text file object": ("{text}", "open it in binary mode: open(path, 'rb')"),
    "other schemes": ("foo://host/a.png", "foo:// is no known protocol; allowed: s3, gs, az, memory"),
    "a broken data URL": ("data:image/png;base64,x", "allowed: data:image/png;base64,..."),
    "a missing Windows path": (
        r"C:\data\b.png",
        r"there is no file C:\data\b.png; near names there: C:\data\a.png",
    ),
    "an unknown user's home": ("~nobody-here/a.png", "~nobody-here"),
    "a file that begins with a dash": ("-dash.png", "there is no option -dash.png"),
    "a long dash": ("—size 64 photo.png", "an option begins with a plain - or --: --size"),
    "a short dash": ("photo.png –n 2", "an option begins with a plain - or --: -n"),  # noqa: RUF001
    "curly quotes": ("“photo.png”", "curly quotes don't group; write it in plain ones: 'photo.png'"),
    "an option without its dash": ("photo.png size=64", "for the option write --size 64"),
    "a glued number": ("photo.png -n3", "there is no option -n3; write -n 3"),
    "an abbreviation": ("photo.png --num 3", "there is no option --num"),
    "a question mark": ("photo.png -?", "there is no option -?"),
    "two values": ("photo.png -n 1 2", "there is no file 2"),
    "a value that looks like an option": ("photo.png --prompt -n 2", "--prompt needs a value"),
    "an unclosed quote in a value": ("photo.png --user='me", "is never closed"),
    "a prompt": ("photo.png --prompt 'in the snow'", "the engine patch can't use a prompt; leave it out"),
    "a model": ("photo.png --model other", "model is 'other'; the engine patch has only patch-3"),
    "an object as engine": (
        "photo.png --engine {5}",
        "or an object with the methods of an Engine",
    ),
    "a hostile engine": (
        "photo.png --engine {hostile}",
        "or an object with the methods of an Engine",
    ),
    "an empty engine": ("photo.png --engine ''", "engine is empty"),
    "an unknown engine option": (
        "photo.png --option flap=no",
        "option 'flap' is unknown to the engine patch",
    ),
    "a wrong engine option": (
        "photo.png --option flip=maybe",
        "option flip is 'maybe'; allowed: true or false",
    ),
    "an engine option alone": ("photo.png --option flip", "--option is 'flip'; allowed: NAME=VALUE"),
    "an object as engine option": ("photo.png --option hostile", "allowed: NAME=VALUE, such as flip=false"),
    "0 columns": ("photo.png --columns 0", "columns is '0'; allowed: a whole number from 1 to 10"),
    "timeout below zero": ("photo.png --timeout -1", "timeout is '-1'; allowed: seconds from 0 (no limit)"),
    "timeout with a unit": ("photo.png --timeout 1m", "timeout is '1m'; allowed: seconds from 0 (no limit)"),
    "user that is a number": ("photo.png --user number", "user is 5; allowed: text"),
    "an empty user": ("photo.png --user ''", "user is empty; allowed: text"),
    "size with spaces": ("photo.png -s '64 x 64'", "size is '64 x 64'; allowed: 256, 512, 1024"),
    "n that is a float": ("photo.png -n {2.0}", "n is 2.0; allowed: a whole number"),
    "seed in science": ("photo.png --seed 1e5", "seed is '1e5'; allowed: a whole number"),
    "fit": ("photo.png --fit fill", "fit is 'fill'; allowed: crop, pad, stretch"),
    "a hostile value": ("photo.png -n hostile", "allowed: a whole number from 1 to 10"),
    "a mask of another shape": (
        "photo.png -s 64 --mask {np.ones((3, 3))}",
        "the mask is 3x3, its image 64x64",
    ),
    "a broken mask": ("photo.png -s 64 --mask cut.png", "cut.png is a PNG image that breaks off"),
    "a missing mask": ("photo.png --mask no.png", "there is no file no.png"),
    "out that is an object": ("photo.png -o {5}", "-o is 5; allowed: the name of a variable"),
    "out that is nothing": ("photo.png -o {None}", "-o is None; allowed: the name of a variable"),
    "out-file is a folder": (
        "photo.png --out-file full",
        "full is a folder; name a file in it: full/variation-{i}.png",
    ),
    "out-file is empty": ("photo.png --out-file ''", "the path to save to is empty"),
    "out-file in a file": ("photo.png --out-file photo.png/x.png", "photo.png is a file, not a folder"),
    "out-file too long": ("photo.png --out-file {'a' * 300}.png", "File name too long"),
    "out-file with an unknown field": ("photo.png --out-file {j}.png", "{j} can't be evaluated (NameError"),
    "out-file with a wrong format": ("photo.png --out-file {i:q}.png", "allowed: {i} or {i:03}"),
    "out-file with the number of pictures": (
        "photo.png -n 2 --out-file {n}.png",
        "add {i}: {n}-{i}.png",
    ),
    "PascalCase, both": ("-File photo.png -ResponseFormat url -OutFile x.png", "give one of them"),
    "history with an image": ("--history photo.png", "received with it: image; allowed: --quiet"),
    "history with an option": ("--history -n 2", "received with it: n; allowed: --quiet"),
    "history with unload": ("--unload --history", "received with it: unload; allowed: --quiet"),
    "unload with an image": ("--unload photo.png", "received with it: image; allowed: --quiet"),
    "unload with an option": ("--unload --engine patch", "received with it: engine; allowed: --quiet"),
    "only a comment": ("# photo.png", "no image was given"),
    "only a semicolon": (";", "no image was given"),
    "control characters": ("{chr(27) + '[31m'}", r"there is no file \x1b[31m"),
    "a null byte": ("{'a' + chr(0)}", r"is 'a\x00' (str), which is no image"),
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
    "PSOpenAI's names": (
        "-Image photo.png -NumberOfImages 2 -Size 64 -User me -TimeoutSec 60 -Engine patch -Verbose",
        2,
    ),
    "PSOpenAI's names in lower case": ("-file photo.png -numberofimages 2 -size 64 -timeoutsec 60", 2),
    "underscores": ("photo.png --number_of_images 2 --size 64", 2),
    "options first": ("-n 2 -s 64 --seed 3 photo.png", 2),
    "options between": ("photo.png -s 64 picture --fit pad 'my photo.png'", 3),
    "equals with quotes": ("""photo.png --size='64' --user="A B" --timeout=60""", 1),
    "equals with a variable": ("photo.png --size=side -n={number - 3}", 2),
    "a dollar for an option": ("photo.png -s $side -n {1 + 1}", 2),
    "a bare variable for an option": ("photo.png -s side", 1),
    "a choice before a variable": ("photo.png -s 64 --strength subtle", 1),
    "a number as strength": ("photo.png -s 64 --strength {0.3}", 1),
    "formatting inside a name": ("{folder_name}/{'a'}.png -s 64", 1),
    "formatting with a format": ("photo.png -s {side:d}x{side + 32:03d}", 1),
    "a variable that holds a path": ("name -s 64", 1),
    "a dollar that holds a path": ("$name -s 64", 1),
    "a pattern in a folder": ("full/*.png -s 64", 2),
    "a recursive pattern": ("**/a.png -s 64", 1),
    "a path before a pattern": ("x[0].png -s 64", 1),
    "literal braces": ("{{b}}.png -s 64", 1),
    "a Windows path": (r"C:\data\a.png -s 64", 1),
    "a quoted dash": ("'-dash.png' -s 64", 1),
    "a dash in a folder": ("./-dash.png -s 64", 1),
    "a quoted hash": ("'#4.png' -s 64", 1),
    "an escaped quote": (r"it\'s.png -s 64", 1),
    "a quote in other quotes": ('"it\'s.png" -s 64', 1),
    "the variable of two readings": ("{both} -s 64", 1),
    "the file of two readings": ("./both -s 64", 1),
    "brackets and spaces in braces": ("{[p for p in [picture, picture]]} -s 64", 2),
    "a colon in braces": ("{picture[:32, :32]} -s 64", 1),
    "tabs": ("photo.png\t-s\t64", 1),
    "a semicolon after quotes": ("-s 64 'my photo.png';", 1),
    "a semicolon after a brace": ("-s 64 {picture};", 1),
    "engine options": ("photo.png -s 64 --option flip=false --option tone=false", 1),
    "engine options in a dictionary": ("photo.png -s 64 --option {'flip': False}", 1),
    "a dictionary of computed values": ("photo.png -s 64 --option {'flip': number > 9}", 1),
    "columns": ("photo.png -s 64 -n 2 --columns 1", 2),
    "a mask": ("photo.png -s 64 --mask {np.ones((64, 64), bool)}", 1),
    "an engine": ("photo.png -s 64 --engine PATCH".replace("PATCH", "patch"), 1),
    "the same image twice": ("photo.png photo.png -s 64", 2),
    "an open file": ("stream -s 64", 1),
    "bytes": ("{stream.getvalue()} -s 64", 1),
}


@pytest.mark.parametrize("case", GOOD)
def test_a_good_line_makes_its_pictures(desk, tmp_path, case):
    """Every way of naming an image and giving an option makes the number of pictures asked for."""
    (tmp_path / "my photo.png").write_bytes((tmp_path / "photo.png").read_bytes())
    line, count = GOOD[case]
    result = desk.run(f"kept = %imagevariation {line}")
    assert result.error is None
    assert len(desk.ns["kept"]) == count


@pytest.mark.parametrize(
    "line", ["-s 64 -- -dash.png", "-n=1 -s 64 -- photo.png -dash.png", "-s 64 -- picture"]
)
def test_what_follows_two_dashes_is_an_image(desk, tmp_path, line):
    """All words after -- are images, also those that begin with a dash."""
    (tmp_path / "-dash.png").write_bytes((tmp_path / "photo.png").read_bytes())
    result = desk.run(f"kept = %imagevariation {line}")
    assert result.error is None
    assert len(desk.ns["kept"]) == line.partition("-- ")[2].count(" ") + 1


def test_an_installed_engine_wins_over_a_variable(desk, tmp_path, monkeypatch):
    """The name of an engine, ours or another package's, is that engine, whatever a variable of its name holds."""
    info = tmp_path / "others-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: others\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(
        "[ipy_imgvar.engines]\nsd = ipy_imgvar.engines.patch.engine:PatchEngine\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    desk.ns.update(sd=5, patch=5, chosen="patch", other=5)
    for name in ("sd", "patch", "chosen"):
        result = desk.run(f"kept = %imagevariation photo.png -s 64 --engine {name}")
        assert result.error is None
    result = desk.run("kept = %imagevariation photo.png -s 64 --engine other")
    assert "engine is 5; allowed: patch, openai, diffusers, sd, or an object" in result.err


@pytest.mark.parametrize(
    ("steps", "said"),
    [([], "nothing was finished"), (["red"], "what was finished is in ipy_imgvar.last()")],
    ids=["none", "one"],
)
def test_an_interrupt_says_whether_something_was_finished(desk, fake_engine, steps, said):
    """An interrupt names the place of what was finished only where there is something."""
    desk.ns["own"] = fake_engine([*steps, KeyboardInterrupt()])
    result = desk.run("%imagevariation photo.png -n 2 -s 64 --engine own")
    assert result.out.strip().splitlines()[-1] == f"KeyboardInterrupt: stopped; {said}"
    assert "0 pictures" not in result.out + result.err


def test_every_option_takes_an_expression(desk, tmp_path):
    """A value in braces is that object, for every option."""
    desk.ns.update(saved=str(tmp_path / "saved-{i}.webp"), bound="made", how={"flip": False})
    result = desk.run(
        "%imagevariation {picture} -n {2} -s {(64, 96)} --strength {.2} --seed {7} --fit {'crop'} --engine {'patch'} "
        "--model {'patch-3'} --option {how} --user {'me'} --timeout {60} -o {bound} --out-file {saved} --columns {1}"
    )
    assert result.error is None
    assert [each.size for each in desk.ns["made"]] == [(64, 96), (64, 96)]
    assert desk.ns["made"].request.strength == 0.2
    assert sorted(path.name for path in tmp_path.glob("saved-*")) == ["saved-1.webp", "saved-2.webp"]


@pytest.mark.parametrize(
    ("form", "kind"),
    [
        ("url", str),
        ("base64", str),
        ("b64_json", str),
        ("byte", bytes),
        ("bytes", bytes),
        ("array", np.ndarray),
    ],
)
def test_a_form_gives_a_value_or_a_list(desk, form, kind):
    """-f gives one value for one picture, and a list where several were asked for."""
    desk.run(f"one = %imagevariation photo.png -s 64 -f {form} --quiet")
    desk.run(f"%imagevariation photo.png -n 2 -s 64 -Format {form.upper()} -o two --quiet")
    assert isinstance(desk.ns["one"], kind)
    assert [isinstance(each, kind) for each in desk.ns["two"]] == [True, True]


def test_the_value_is_kept_without_being_echoed(desk):
    """A value that ends the cell is `_` and the cell's result, and no prompt or repr is printed for it."""
    result = desk.run("%imagevariation photo.png -s 64 -f byte --quiet")
    assert result.value.startswith(b"\x89PNG")
    assert desk.ns["_"] is result.value
    assert result.out == ""
    assert "Out[" in desk.run("5").out


def test_another_value_in_the_same_cell_is_shown(desk):
    """Only what the magic returned is swallowed."""
    result = desk.run("%imagevariation photo.png -s 64 --quiet\n6 * 7")
    assert "42" in result.out


def test_pictures_made_before_are_sources(desk):
    """What last() and history() hold can be varied again, without importing them."""
    desk.run("%imagevariation photo.png -s 64 --quiet")
    desk.run("again = %imagevariation {last()[0]} -s 64 --quiet")
    desk.run("older = %imagevariation {history()[0][0]} -s 64 --quiet")
    desk.run("all = %imagevariation again -s 64 --quiet")
    assert [desk.ns[name][0].name for name in ("again", "older", "all")] == [
        "photo-1-1",
        "photo-1-1",
        "photo-1-1-1",
    ]


def test_a_broken_image_does_not_stop_the_others(desk):
    """Of several images those that can be read are made, source by source; the error names the rest."""
    result = desk.run("kept = %imagevariation photo.png cut.png picture text.png -n 2 -s 64 -o bound")
    assert "2 of 4 images failed (cut.png, text.png); the first: cut.png is a PNG image" in result.out
    assert "what was finished is in ipy_imgvar.last()" in result.out
    assert "Traceback" not in result.out
    names = [each.name for each in result.error.partial]
    assert names == ["photo-1", "photo-2", "picture-1", "picture-2"]
    assert {"kept", "bound"}.isdisjoint(desk.ns)
    desk.run("again = last()") if "last" in desk.ns else desk.run(
        "from ipy_imgvar import last\nagain = last()"
    )
    assert [each.name for each in desk.ns["again"]] == names


def test_a_timeout_that_is_too_short_is_one_line(desk):
    """A run that takes longer than --timeout says so, and how to go on."""
    result = desk.run("kept = %imagevariation photo.png -s 512 --timeout 1e-6")
    assert re.fullmatch(r"RequestTimeoutError: .*1e-06 s; raise it, or lower n or size", result.out.strip())
    assert "kept" not in desk.ns


def test_verbose_says_what_is_asked_and_made(desk):
    """--verbose prints the request and a line for each picture."""
    result = desk.run("%imagevariation photo.png -s 64 -n 2 --seed 5 --user me --verbose")
    assert "1 request(s) for patch: " in result.out
    assert "'seed': 5" in result.out
    assert "photo-2: image/png, 64x64" in result.out


def test_an_output_that_is_not_utf_8_loses_no_picture(desk, tmp_path):
    """A terminal that can't encode a file's name shows it in escapes, and the cell has its pictures."""
    (tmp_path / "k\u00e4tzchen \u732b.png").write_bytes((tmp_path / "photo.png").read_bytes())
    out = io.TextIOWrapper(io.BytesIO(), encoding="ascii", write_through=True)
    with redirect_stdout(out):
        desk.shell.run_cell("kept = %imagevariation k*tzchen* -s 64 --verbose")
        desk.shell.run_cell("%imagevariation --history")
    assert len(desk.ns["kept"]) == 1
    said = out.buffer.getvalue().decode("ascii")
    assert said.count("k\\xe4tzchen \\u732b-1") >= 2
    assert "Traceback" not in said


def test_history_is_a_table(desk):
    """--history shows the runs that were made, and returns them."""
    desk.run("%imagevariation photo.png -s 64 --seed 9 --quiet")
    result = desk.run("runs = %imagevariation --history")
    assert "history()[0]" in result.out
    assert "seed 9" in result.out
    assert desk.ns["runs"][-1][0].seed == 9
    assert desk.run("runs = %imagevariation --history --quiet").out == ""


def test_local_names_are_seen(desk):
    """A magic inside a function sees that function's names, as images and as values."""
    result = desk.run(
        "def vary(image, count):\n"
        "    x = %imagevariation image {image[::2, ::2]} -n count -s {32 * 2} --quiet\n"
        "    return len(x)\n"
        "vary(picture, 2)"
    )
    assert result.value == 4


KEYS = {
    "a literal": "photo.png --api-key sk-SECRET",
    "PSOpenAI's name": "photo.png -ApiKey sk-SECRET",
    "equals": "photo.png --api-key=sk-SECRET",
    "a misspelt option": "photo.png --api-kye=sk-SECRET --nope",
    "an unclosed quote": "photo.png --api-key='sk-SECRET",
    "an unclosed quote before": "photo.png --user 'me --api-key sk-SECRET",
    "an unclosed brace": "photo.png --api-key {sk-SECRET",
    "a missing variable": "photo.png --api-key $skSECRET",
    "a failing expression": "photo.png --api-key {skSECRET}",
    "no expression": "photo.png --api-key {sk-SECRET nope}",
    "headers": "photo.png --extra-headers {'Authorization': 'sk-SECRET'",
    "an address with a key": "http://127.0.0.1:9/a.png?key=sk-SECRET",
    "an address with a password": "http://me:sk-SECRET@127.0.0.1:9/a.png",
}


@pytest.mark.parametrize("case", KEYS)
def test_a_key_is_never_echoed(desk, case):
    """Whatever is wrong with a line that holds a key, the message does not repeat it."""
    result = desk.run(f"%imagevariation {KEYS[case]}")
    assert result.error is not None
    assert "SECRET" not in result.out + result.err + str(result.error)
    assert (result.out + result.err).strip().count("\n") == 0


BAD_CELLS = {
    "a file beside an image": ("photo.png", "photo.png", "the body names the file photo.png beside an image"),
    "a prompt twice": (
        "photo.png --prompt a",
        "b",
        "the prompt is given twice, by --prompt and in the cell's body",
    ),
    "a prompt nobody takes": ("photo.png", "in the snow", "the engine patch can't use a prompt"),
    "a long prompt": ("photo.png", "猫が雪の中で" * 40, "the engine patch can't use a prompt"),
    "quotes": ("", "'my photo.png'", "is in quotes; in a body a whole line is one image"),
    "an option": ("", "photo.png\n-n 2", "options stand in the first line"),
    "a missing file": ("", "photo.png\nphot.png", "there is no file phot.png; near names there: photo.png"),
    "nothing but comments": ("", "# photo.png\n\n", "no image was given"),
    "a failing expression": ("", "{nothing}", "{nothing} can't be evaluated (NameError"),
    "history": ("--history", "photo.png", "received with it: a body"),
}


@pytest.mark.parametrize("case", BAD_CELLS)
def test_a_wrong_cell_is_one_clear_line(desk, case):
    """A wrong body gives one line without a traceback, and nothing is bound."""
    line, body, message = BAD_CELLS[case]
    result = desk.run(
        f"%%imagevariation {line} -o kept\n{body}"
        if line != "--history"
        else f"%%imagevariation {line}\n{body}"
    )
    assert message in result.err
    assert result.err.strip().count("\n") == 0
    assert result.out == ""
    assert type(result.error) is UsageError
    assert "kept" not in desk.ns


GOOD_CELLS = {
    "a name with a space": ("", "my photo.png", ["my photo-1"]),
    "spaces around": ("", "  photo.png  ", ["photo-1"]),
    "a variable, $name and braces": (
        "",
        "picture\n$picture\n{picture[:32]}",
        ["picture-1", "picture-1", "picture--32-1"],
    ),
    "a hash inside a line": ("", "#4.png\nphoto.png", ["photo-1"]),
    "a pattern": ("", "full/*.png", ["a-1", "b-1"]),
    "a blank body is no prompt": ("photo.png", "  \n ", ["photo-1"]),
    "a literal brace": ("", "{b}.png", ["{b}-1"]),
    "a Windows path": ("", r"C:\data\a.png", None),
}


@pytest.mark.parametrize("case", GOOD_CELLS)
def test_a_good_cell_makes_its_pictures(desk, case):
    """A body names one image a line, unquoted."""
    line, body, names = GOOD_CELLS[case]
    result = desk.run(f"%%imagevariation {line} -s 64 -o kept --quiet\n{body}")
    assert result.error is None
    if names is not None:
        assert [each.name for each in desk.ns["kept"]] == names


@pytest.mark.parametrize(
    ("extension", "kind"), [("png", "PNG"), ("jpg", "JPEG"), ("jpeg", "JPEG"), ("webp", "WEBP")]
)
def test_out_file_fields(desk, tmp_path, extension, kind):
    """{i}, {n} and {stem} are the picture's; other braces are formatted; the extension decides the format."""
    result = desk.run(
        f"%imagevariation photo.png -n 2 -s 64 --out-file 'new folder'/{{stem}}-{{i:02}}-of-{{n}}-{{number}}"
        f".{extension};"
    )
    assert result.error is None
    paths = sorted((tmp_path / "new folder").iterdir())
    assert [path.name for path in paths] == [f"photo-0{i}-of-2-5.{extension}" for i in (1, 2)]
    assert Image.open(io.BytesIO(paths[0].read_bytes())).format == kind


def test_a_body_lists_images_a_line_each(desk):
    """A cell's body names one image a line; blank lines and lines that begin with # are skipped."""
    desk.run("%%imagevariation -s 64 -o kept\nphoto.png\n\n# photo.png\n{picture}\nphoto.*\n")
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
