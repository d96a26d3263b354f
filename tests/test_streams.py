"""What a command prints, where the output can't encode it, has no reader, or is closed or full."""

import contextlib
import json
import os
import pty
import subprocess
import sys
import termios
from pathlib import Path

import pytest
from cases import slow

from ipy_imgvar.plain import plain

COMMAND = [sys.executable, "-m", "ipy_imgvar.cli"]


@pytest.fixture
def here(photo_path, api, monkeypatch):
    """Work in the folder of photo.png, with a server that answers at once."""
    monkeypatch.chdir(photo_path.parent)
    monkeypatch.setenv("OPENAI_API_BASE", api.base)
    return photo_path.parent


def run(*words, **options):
    """Run the command to its end."""
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.run([*COMMAND, *words], check=False, timeout=300, **{**pipes, **options})


def shell(line):
    """Run a line in which "imgvar" is the command, as a shell does."""
    line = line.replace("imgvar", " ".join(f"'{word}'" for word in COMMAND))
    return subprocess.run(["/bin/sh", "-c", line], capture_output=True, timeout=300, check=False)


#: Bytes of file names: letters that ASCII lacks, bytes that are no UTF-8, and what a terminal obeys.
ODD_NAMES = ["k\u00e4tzchen \u732b".encode(), b"caf\xe9", b"cat\x1b[2J\x07\n", "cat\u202egnp\u2066".encode()]


@pytest.mark.skipif(sys.platform == "darwin", reason="its file systems take no names that are not UTF-8")
@pytest.mark.parametrize(
    ("variable", "encoding"),
    [("PYTHONIOENCODING", "ascii"), slow("PYTHONIOENCODING", "utf-8"), slow("LC_ALL", "C")],
)
@pytest.mark.parametrize("words", [slow([]), slow(["--json"]), ["--out-file", b"out/caf\xe9\x1b{i}.png"]])
def test_paths_that_the_output_can_not_encode_are_escaped(here, monkeypatch, variable, encoding, words):
    """Whatever an image is called and the output can encode, the files are saved and named in one plain line each."""
    for name in ODD_NAMES:
        (here / os.fsdecode(name + b".png")).write_bytes((here / "photo.png").read_bytes())
    monkeypatch.setenv(variable, encoding)
    done = run("create", *[name + b".png" for name in ODD_NAMES], "-s", "256", *words)
    assert done.returncode == 0
    lines = done.stdout.decode("ascii" if encoding == "ascii" else "utf-8").splitlines()
    assert all(plain(line) == line for line in [*lines, *done.stderr.decode().splitlines()])
    assert b"Traceback" not in done.stderr
    if "--json" in words:
        assert len(json.loads(done.stdout)["pictures"]) == len(ODD_NAMES)
    else:
        assert len(lines) == len(ODD_NAMES)
    if "--out-file" in words:
        assert len(list((here / "out").iterdir())) == len(ODD_NAMES)
    else:
        made = [path.name for path in here.glob("*-1.png")]
        assert len(made) == len(ODD_NAMES)
        assert all(plain(name) == name for name in made)


@pytest.mark.skipif(sys.platform == "win32", reason="there are no such pipes")
@pytest.mark.parametrize(
    ("words", "code", "closed"),
    [
        (["create", "photo.png", "-n", "2", "-s", "256"], 0, ["stdout"]),
        (["create", "photo.png", "-n", "2", "-s", "256"], 0, ["stderr"]),
        slow(["create", "photo.png", "-s", "256", "--verbose"], 0, ["stdout", "stderr"]),
        slow(["create", "photo.png", "-s", "256", "--json"], 0, ["stdout"]),
        slow(["create", "photo.png", "-n", "2", "-s", "256", "-f", "base64"], 0, ["stdout"]),
        slow(["create", "photo.png", "-s", "256", "-f", "byte"], 0, ["stdout"]),
        (["create", "text.png", "photo.png", "-s", "256"], 1, ["stdout", "stderr"]),
        slow(["bulk", "photo.png", "-s", "256", "--out-dir", "out"], 0, ["stdout"]),
        slow(["bulk", "photo.png", "-s", "256", "--out-dir", "out"], 0, ["stdout", "stderr"]),
        (["create", "--help"], 0, ["stdout"]),
        slow(["serve", "--help"], 0, ["stdout"]),
        slow(["serve", "--port", "x"], 2, ["stderr"]),
        (["nonsense"], 2, ["stdout", "stderr"]),
    ],
)
def test_a_reader_that_is_gone_ends_the_output_quietly(here, words, code, closed):
    """A pipe whose reader is gone changes neither what is saved nor the exit code, and gives no traceback."""
    (here / "text.png").write_text("not a picture")
    gone, pipe = os.pipe()
    os.close(gone)
    try:
        done = run(*words, **dict.fromkeys(closed, pipe))
    finally:
        os.close(pipe)
    assert done.returncode == code
    for said in (b"Traceback", b"Exception ignored", b"Broken pipe"):
        assert said not in (done.stderr or b"")
    if "photo.png" in words and "-f" not in words:
        assert len(list(here.rglob("photo-*.png"))) == (2 if "-n" in words else 1)


@pytest.mark.skipif(sys.platform == "win32", reason="there is no such shell")
@pytest.mark.parametrize("closing", [slow(">&-"), slow("2>&-"), ">&- 2>&-"])
def test_a_stream_that_is_closed_is_no_fault(here, closing):
    """A shell may close standard output or standard error before the command begins."""
    done = shell(f"imgvar create photo.png -s 256 {closing}")
    assert done.returncode == 0
    assert b"Traceback" not in done.stderr
    assert (here / "photo-1.png").exists()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no such device")
def test_an_output_that_is_full_is_one_line(here):
    """Output that goes to a full disk is one line and exit code 1; the pictures are saved all the same."""
    done = shell("imgvar create photo.png -s 256 --quiet >/dev/full")
    assert done.returncode == 1
    assert done.stderr.decode().splitlines()[-1] == (
        "imgvar: standard output can't be written (No space left on device); send it to another place"
    )
    assert b"Traceback" not in done.stderr
    assert (here / "photo-1.png").exists()


@pytest.mark.usefixtures("here")
@pytest.mark.skipif(sys.platform == "win32", reason="there is no such shell")
@pytest.mark.parametrize(
    ("source", "reason"), [("<&-", "it is closed"), ("0>nothing", "Bad file descriptor")]
)
def test_an_input_that_can_not_be_read_is_one_line(source, reason):
    """An image from a standard input that is closed, or no file, is a wrong line."""
    done = shell(f"imgvar create - {source}")
    assert done.returncode == 2
    assert done.stderr.decode() == (
        f"imgvar: standard input can't be read ({reason}); send the image there, or give a path\n"
    )


def on_terminal(words, columns=60, **options):
    """Run the command with standard error on a terminal of some columns, and return its code, stdout and stderr."""
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (24, columns))
    with subprocess.Popen([*COMMAND, *words], stdout=subprocess.PIPE, stderr=theirs, **options) as process:
        os.close(theirs)
        shown = b""
        with contextlib.suppress(OSError):  # Linux reports the end of the other side as an error.
            while piece := os.read(ours, 65536):
                shown += piece
        out = process.stdout.read()
    os.close(ours)
    return process.returncode, out, shown.decode()


@pytest.mark.slow
@pytest.mark.usefixtures("installed_engine", "here")
def test_what_is_loaded_is_shown_on_a_terminal():
    """Announcements stand on lines of their own between the progress, and standard output has the paths alone."""
    words = ["create", "photo.png", "-s", "64", "--engine", "posterise-weights", "--model"]
    code, out, shown = on_terminal([*words, "soft"])
    assert (code, out) == (0, b"photo-1.png\n")
    assert "\r\x1b[Kimgvar: soft: 2 MB from nowhere, free for all\r\n" in shown
    assert "\r\x1b[K 25% loading 1 of 3 MB\r\x1b[K" in shown
    assert shown.endswith("\r\x1b[K")
    code, out, shown = on_terminal([*words, "soft"], columns=20)
    assert "\r\x1b[K 25% loading 1 of 3\r\x1b[K" in shown  # 19 characters, since a whole line would wrap


@pytest.mark.usefixtures("installed_engine", "here")
def test_an_error_takes_the_place_of_the_progress():
    """The line of an error does not stand behind the progress of the run that failed."""
    words = ["create", "photo.png", "-s", "64", "--engine", "posterise-weights", "--model", "fading"]
    code, out, shown = on_terminal(words)
    assert (code, out) == (2, b"")
    assert shown.endswith("\r\x1b[K 75% loading 3 of 3 MB\r\x1b[Kimgvar: the weights of fading are gone\r\n")
