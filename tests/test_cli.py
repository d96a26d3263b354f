"""The command line: what it prints, what it saves, and how it ends."""

import base64
import json
import os
import signal
import subprocess
import sys
import time

import pytest
from cases import slow

from ipy_imgvar import cli, last

pytestmark = pytest.mark.usefixtures("quick_patch")

PNG = b"\x89PNG\r\n\x1a\n"


@pytest.fixture
def here(photo_path, monkeypatch):
    """Work in the folder of photo.png."""
    monkeypatch.chdir(photo_path.parent)
    return photo_path.parent


def start(*words, **options):
    return subprocess.Popen(
        [sys.executable, "-m", "ipy_imgvar.cli", *words],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        **options,
    )


def test_create_saves_numbered_files_and_prints_their_paths(here, capfd):
    """Without options, `create` writes <stem>-<number>.png here and prints nothing but the paths."""
    assert cli.main(["create", "photo.png", "-n", "2", "-s", "64"]) == 0
    printed = capfd.readouterr()
    assert printed.out.split() == ["photo-1.png", "photo-2.png"]
    assert all((here / name).read_bytes().startswith(PNG) for name in printed.out.split())


def test_what_follows_two_dashes_is_a_file(here, capfd):
    """After -- a word that begins with a dash is a file's name."""
    (here / "photo.png").rename(here / "-photo.png")
    assert cli.main(["create", "-s", "64", "--", "-photo.png"]) == 0
    assert capfd.readouterr().out.split() == ["-photo-1.png"]
    assert (here / "-photo-1.png").exists()


def test_create_never_replaces_a_file_that_was_not_named(here, capfd):
    """A file that has the next name is passed over."""
    (here / "photo-1.png").write_text("precious")
    assert cli.main(["create", "photo.png", "-s", "64"]) == 0
    assert capfd.readouterr().out.split() == ["photo-2.png"]
    assert (here / "photo-1.png").read_text() == "precious"


#: Runs `imgvar create photo.png` as often as asked, from the moment that the file `go` appears.
MANY = """
import pathlib, sys, time
from ipy_imgvar import cli
words = ["create", "photo.png", "-s", "256", "--quiet"]
cli.main([*words, "-f", "url"])
print(flush=True)
while not pathlib.Path("go").exists():
    time.sleep(0.001)
for _ in range(int(sys.argv[1])):
    assert cli.main(words) == 0
"""


@pytest.mark.parametrize(
    ("processes", "times"), [(2, 10), slow(4, 10), slow(8, 20)], ids=["2x10", "4x10", "8x20"]
)
def test_runs_at_once_never_take_the_same_name(here, api, monkeypatch, processes, times):
    """Processes that create variations of one picture at once each get names of their own, and no file is replaced."""
    monkeypatch.setenv("IPY_IMGVAR_STORE", "off")
    monkeypatch.setenv(
        "OPENAI_API_BASE", api.base
    )  # it answers at once, so that nearly all the time goes into files
    (here / "photo-2.png").write_text("precious")
    command = [sys.executable, "-c", MANY, str(times)]
    running = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(processes)]
    for each in running:
        while each.stdout.readline().strip():  # the picture of the first run, which saves nothing
            pass
    (here / "go").touch()
    printed = [each.communicate(timeout=300)[0].split() for each in running]
    assert [each.returncode for each in running] == [0] * processes
    names = [name for lines in printed for name in lines]
    assert len(names) == len(set(names)) == processes * times
    assert "photo-2.png" not in names
    assert (here / "photo-2.png").read_text() == "precious"
    assert sorted(names) == sorted(path.name for path in here.glob("photo-*") if path.name != "photo-2.png")
    assert sorted(path.name for path in here.glob(".*")) == []


def test_a_name_that_is_too_long_for_a_number_is_cut(here, capfd):
    """The pictures of a file whose name leaves no room for a number are saved under the first part of it."""
    (here / "photo.png").rename(here / ("x" * 250 + ".png"))
    words = ["create", "x" * 250 + ".png", "-s", "64"]
    assert cli.main(words) == 0
    assert cli.main([*words, "--out-file", "new/{stem}-{i}.jpg"]) == 0
    assert capfd.readouterr().out.split() == ["x" * 120 + "-1.png", "new/" + "x" * 120 + "-1.jpg"]


def test_out_file_decides_names_and_format(here):
    """--out-file makes parents, numbers the files and converts by extension."""
    assert cli.main(["create", "photo.png", "-n", "2", "-s", "64", "--out-file", "new/{stem}-{i}.webp"]) == 0
    assert sorted(path.name for path in (here / "new").iterdir()) == ["photo-1.webp", "photo-2.webp"]


def test_base64_is_printed_a_line_each(here, capfd):
    """-f base64 prints each picture as a line."""
    assert cli.main(["create", "photo.png", "-n", "2", "-s", "64", "-f", "b64_json"]) == 0
    lines = capfd.readouterr().out.splitlines()
    assert [base64.b64decode(line)[:8] for line in lines] == [PNG, PNG]
    assert sorted(path.name for path in here.iterdir()) == ["photo.png"]


@pytest.mark.usefixtures("here")
def test_json_describes_the_pictures(capfd):
    """--json prints one object with path, size, seed and all parameters of each picture."""
    assert cli.main(["create", "photo.png", "-s", "64", "--seed", "5", "--json"]) == 0
    found = json.loads(capfd.readouterr().out)
    assert found["engine"] == "patch"
    assert found["pictures"][0]["seed"] == 5
    assert found["pictures"][0]["size"] == [64, 64]


def test_an_image_comes_from_standard_input_and_bytes_go_to_standard_output(photo_path, tmp_path):
    """`-` reads the image from standard input, and -f byte writes the picture itself."""
    process = start("create", "-", "-s", "64", "-f", "byte", cwd=tmp_path)
    out, _ = process.communicate(photo_path.read_bytes(), timeout=300)
    assert process.returncode == 0
    assert out.startswith(PNG)


def test_a_key_file_of_two_keys_is_refused(here, capfd):
    """Which of them is meant is not guessed, and neither is shown; a comment is no key."""
    (here / "keys").write_text("# mine\nsk-canary\nsk-other\n")
    assert cli.main(["create", "photo.png", "--api-key-file", "keys"]) == 2
    assert capfd.readouterr().err == "imgvar: the key file keys has 2 keys; a server is asked with one\n"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["create"], "no image was given"),
        (["create", "nothing.png"], "there is no file nothing.png"),
        (["create", "photo.png", "-n", "11"], "n is '11'; allowed: a whole number from 1 to 10"),
        (["create", "photo.png", "--sead", "1"], "did you mean --seed?"),
        (
            ["create", "photo.png", "--workers", "2"],
            "is an option of %imagevariation and imgvar bulk; here, --help",
        ),
        (
            ["create", "photo.png", "--api-key-file", "no.txt"],
            "(No such file or directory); write the key alone into",
        ),
        (
            ["create", "photo.png", "--api-key-file", "~nobody-here/k"],
            "can't be read (RuntimeError); write the key",
        ),
        (["create", "photo.png", "--api-key-file", os.devnull], "has no key; write the key alone into it"),
        (["create", "photo.png", "-o", "x"], "there is no variable to bind here"),
        (["create", "photo.png", "--api-key", "sk-canary"], "use OPENAI_API_KEY or --api-key-file"),
        (["create", "{photo}"], "'{photo}' is an expression of a notebook"),
        (["create", "photo.png", "-f", "array"], "response_format array is for a notebook"),
        (["create", "photo.png", "-n", "2", "-f", "byte"], "-f byte writes one picture"),
        (["create", "photo.png", "-f", "url", "--json"], "--json and -f both print"),
        (["create", "photo.png", "--extra-body", "{x"], "--extra-body is no JSON object"),
        (["create", "photo.png", "--additional-body", "{x"], "--additional-body is no JSON object"),
        (["create", "photo.png", "--size"], "--size needs a value"),
        (["create", "photo.png", "-Size"], "-Size needs a value"),
        (["create", "photo.png", "--option", "x"], "--option is 'x'; allowed: NAME=VALUE"),
        (
            ["create", "-cat.png"],
            "there is no option -cat.png; --help lists them, and -- before it makes it a file",
        ),
        (["create", "--", "-n", "2"], "there is no file -n"),
        (["bulk", "photo.png", "--out-dir"], "--out-dir needs a value"),
        (["vary", "photo.png"], "there is no command 'vary'; allowed: create, bulk, serve"),
    ],
)
def test_a_wrong_line_ends_with_2_and_one_line(here, capfd, words, message):
    """A wrong line gives exit code 2, one line on standard error, and nothing else."""
    assert cli.main(words) == 2
    printed = capfd.readouterr()
    assert message in printed.err
    assert "sk-canary" not in printed.err
    assert printed.err.count("\n") == 1
    assert printed.out == ""
    assert sorted(path.name for path in here.iterdir()) == ["photo.png"]


@pytest.mark.parametrize(
    ("command", "option"),
    [
        ("create", ["--out-file", "photo.png/x.png"]),
        ("create", ["--out-file", "photo.png/{stem}.png"]),
        ("create", ["--out-file", "{stem}" + "x" * 260 + ".png"]),
        ("bulk", ["--out-dir", "photo.png/out"]),
        ("bulk", ["--out-dir", "photo.png/out", "--dry-run"]),
        ("bulk", ["--out-dir", ""]),
    ],
)
@pytest.mark.usefixtures("here")
def test_a_place_that_can_not_be_written_is_refused_before_anything_is_asked(
    api, capfd, monkeypatch, command, option
):
    """Pictures that could not be saved are not made: nothing is asked of a server, and the line is wrong."""
    monkeypatch.setenv("OPENAI_API_BASE", api.base)
    assert cli.main([command, "photo.png", *option]) == 2
    assert capfd.readouterr().err.count("\n") == 1
    assert api.requests == []


def test_an_image_that_fails_ends_with_1_and_the_others_are_saved(here, capfd):
    """With several images, one that is broken is named and the others are made."""
    (here / "text.png").write_text("not a picture")
    assert cli.main(["create", "text.png", "photo.png", "-s", "64"]) == 1
    printed = capfd.readouterr()
    assert printed.out.split() == ["photo-1.png"]
    assert "text.png is not an image" in printed.err


@pytest.mark.usefixtures("here")
def test_a_server_that_is_not_there_ends_with_1(capfd):
    """A server that can't be reached is one line and exit code 1; the destination was named before."""
    words = ["create", "photo.png", "-s", "256", "--api-base", "http://127.0.0.1:9/v1"]
    assert cli.main(words) == 1
    lines = capfd.readouterr().err.splitlines()
    assert "photo.png goes to 127.0.0.1:9" in lines[0]
    assert "can't be reached" in lines[1]


def test_an_interrupt_ends_with_130_and_keeps_what_is_finished(here, store_root):
    """Ctrl-C gives exit code 130; what was finished is in the store."""
    process = start("create", "photo.png", "-n", "10", "-s", "1024", cwd=here, env=dict(os.environ))
    deadline = time.monotonic() + 100
    while time.monotonic() < deadline and not list(store_root.rglob("1.png")):
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=300)
    if process.returncode == 0:
        pytest.skip("the run was over before the interrupt came")
    assert process.returncode == 130
    assert out == b""
    assert b"interrupted" in err
    assert last().status == "interrupted"
    assert len(last()) >= 1


def test_help_shows_examples_and_no_notebook_options(capfd):
    """Help lists what the command line has."""
    assert cli.main(["create", "--help"]) == 0
    assert cli.main(["--help"]) == 0
    printed = capfd.readouterr().out
    assert "--api-key-file" in printed
    assert "--columns" not in printed
