"""What a person sees in a terminal: a real `ipython` process on a pseudo-terminal."""

import os
import re
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import ipy_imgvar

pexpect = pytest.importorskip("pexpect")
CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|\x1b[=>]")


@pytest.fixture(scope="module")
def terminal(tmp_path_factory):
    """Run IPython in a terminal of 120 columns, with the extension loaded, in a folder with photo.png."""
    folder = tmp_path_factory.mktemp("terminal")
    pixels = np.random.default_rng(0).integers(0, 255, (256, 256, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(folder / "photo.png")
    env = {
        **os.environ,
        "IPYTHONDIR": str(folder / "ipython"),
        "IPY_IMGVAR_STORE": str(folder / "store"),
        "PYTHONPATH": str(Path(ipy_imgvar.__file__).parent.parent),
        "TERM": "xterm",
    }
    options = ["-m", "IPython", "--no-banner", "--simple-prompt", "--colors=NoColor", "--no-confirm-exit"]
    child = pexpect.spawn(
        sys.executable, options, cwd=str(folder), env=env, dimensions=(50, 120), encoding="utf-8", timeout=200
    )
    child.setecho(state=False)
    child.expect(r"In \[\d+\]: ")
    child.loaded = run(child, "%load_ext ipy_imgvar")
    yield child
    child.sendline("exit")
    child.expect(pexpect.EOF)  # killed, it would lose what it knows of coverage
    child.close(force=True)


def run(terminal, line):
    """Return what a line printed, as it came."""
    terminal.sendline(line)
    terminal.expect(r"In \[\d+\]: ")
    return CONTROL.sub("", terminal.before)


def lines(text):
    """Return what is left on the screen: a carriage return starts its line anew."""
    shown = []
    for line in text.replace("\r\n", "\n").split("\n"):
        screen = ""
        for part in line.split("\r"):
            screen = part + screen[len(part) :]
        if screen.strip():
            shown.append(screen.rstrip())
    return shown


def test_the_extension_loads_without_a_word(terminal):
    """%load_ext prints nothing."""
    assert [line for line in lines(terminal.loaded) if "load_ext" not in line] == []


@pytest.mark.slow
def test_a_run_is_a_table_once(terminal):
    """A run that ends the line shows its table once, without an Out prompt or a repr."""
    text = "\n".join(lines(run(terminal, "%imagevariation photo.png -n 2 -s 64 --engine patch")))
    assert text.count("photo-1  ") == 1
    assert text.count("photo-2  ") == 1
    assert "Out[" not in text
    assert "<Variations" not in text


def test_bytes_are_not_echoed(terminal):
    """-f byte returns bytes and prints none of them; the value is `_`."""
    text = run(terminal, "%imagevariation photo.png -s 64 -f byte --engine patch")
    assert "IHDR" not in text
    assert "Out[" not in text
    assert "b'\\x89PNG'" in run(terminal, "_[:4]")


@pytest.mark.slow
def test_silence(terminal):
    """A semicolon and --quiet leave nothing on the screen."""
    for silent in (";", " --quiet"):
        line = f"kept = %imagevariation photo.png -s 64 --engine patch{silent}"
        assert [each for each in lines(run(terminal, line)) if "%imagevariation" not in each] == []


@pytest.mark.slow
def test_the_progress_line_is_wiped(terminal):
    """A run of more than a second writes a progress line, and leaves the table alone on the screen."""
    text = run(terminal, "x = %imagevariation photo.png -n 10 -s 512 --engine patch --strength strong")
    assert "%" in text
    assert "█" in text
    assert "█" not in "\n".join(lines(text))
    assert "photo-10" in "\n".join(lines(text))


def test_an_error_is_one_line(terminal):
    """What is wrong is one line without a traceback."""
    shown = [
        each for each in lines(run(terminal, "%imagevariation phot.png")) if "%imagevariation" not in each
    ]
    assert shown == ["UsageError: there is no file phot.png; near names there: photo.png"]


def test_an_interrupt_is_one_line(terminal):
    """Control-C ends a run in one line that says where its pictures are, after the table of these."""
    terminal.sendline("cut = %imagevariation photo.png -n 10 -s 1024 --engine patch --strength strong")
    terminal.expect("█")
    terminal.sendintr()
    terminal.expect(r"In \[\d+\]: ")
    shown = lines(CONTROL.sub("", terminal.before))
    finished = "what was finished is in ipy_imgvar.last()"
    if "photo-1" not in "\n".join(shown):
        finished = "nothing was finished"
    assert shown[-1] == f"KeyboardInterrupt: stopped; {finished}"
    assert "NameError" in run(terminal, "cut")


def test_history_in_a_terminal(terminal):
    """--history is a table, without the list's repr after it."""
    run(terminal, "made = %imagevariation photo.png -s 256 --engine patch --quiet")
    text = run(terminal, "%imagevariation --history")
    assert "history()[" in text
    assert "<Variations" not in text
