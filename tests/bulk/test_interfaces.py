"""Bulk runs from a line of a notebook and from a terminal."""

import atexit
import os
import signal
import subprocess
import sys

import pytest
from IPython.core.interactiveshell import InteractiveShell
from traitlets.config import Config

from ipy_imgvar import cli
from ipy_imgvar.bulk import BulkResult


@pytest.fixture
def here(make_folder, monkeypatch):
    """Work beside a folder `photos` of three pictures."""
    folder = make_folder(3)
    monkeypatch.chdir(folder.parent)
    return folder.parent


@pytest.fixture
def shell(here):
    InteractiveShell.clear_instance()
    instance = InteractiveShell.instance(config=Config({"HistoryManager": {"enabled": False}}))
    instance.run_line_magic("load_ext", "ipy_imgvar")
    instance.user_ns["folder"] = here
    yield instance
    instance.run_line_magic("unload_ext", "ipy_imgvar")
    InteractiveShell.clear_instance()
    atexit.unregister(instance.atexit_operations)


def test_the_magic_fills_a_folder(shell, here, capsys):
    """--out-dir makes a bulk run of a pattern, returns its result, and again goes on where it stopped."""
    shell.run_cell("x = %imagevariation photos/*.png -n 2 -s 64 --engine patch --out-dir out --workers 1")
    made = shell.user_ns["x"]
    assert isinstance(made, BulkResult)
    assert [len(made.done), len(list((here / "out").glob("*.png")))] == [3, 6]
    assert "3 done, 0 failed, 0 skipped" in capsys.readouterr().out
    shell.run_cell("%imagevariation photos -n 2 -s 64 --engine patch --out-dir out -o again --quiet")
    assert len(shell.user_ns["again"].skipped) == 3
    assert capsys.readouterr().out == ""


@pytest.mark.slow
def test_the_magic_takes_a_column(shell):
    """A pandas column is taken as it is, and its labels are kept."""
    pd = pytest.importorskip("pandas")
    shell.user_ns["paths"] = pd.Series(["photos/p000.png", "photos/p001.png"], index=["a", "b"])
    shell.run_cell("made = %imagevariation paths -s 64 --engine patch --out-dir out --quiet")
    assert [each.label for each in shell.user_ns["made"]] == ["a", "b"]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("photos --out-dir out -f byte", "leave -f out"),
        ("photos --out-dir out --out-file a.png", "--out-file"),
        ("photos/p000.png --workers 2", "--out-dir"),
        ("photos --out-dir out --workers none", "workers"),
        ("nowhere/*.png --out-dir out", "no file matches"),
    ],
)
def test_a_wrong_line_is_one_line(shell, here, line, said):
    """What does not go together is refused before anything is made."""
    error = shell.run_cell(f"%imagevariation {line} --engine patch").error_in_exec
    assert type(error).__name__ == "UsageError"
    assert said in str(error)
    assert not (here / "out").exists()


def test_the_command_fills_a_folder_and_counts(here, capsys):
    """`imgvar bulk` prints the counts and the page, --dry-run counts and makes nothing, and --again makes all again."""
    words = ["bulk", "photos", "--out-dir", "out", "-s", "64"]
    assert cli.main([*words, "--dry-run"]) == 0
    assert capsys.readouterr().out.startswith("3 images, 0 done, 3 to do\n")
    assert not (here / "out").exists()
    assert cli.main([*words, "--workers", "1"]) == 0
    assert capsys.readouterr().out.startswith("3 done, 0 failed, 0 skipped")
    assert cli.main([*words, "--dry-run"]) == 0
    assert capsys.readouterr().out.startswith("3 images, 3 done, 0 to do\n")
    assert cli.main(words) == 0
    assert capsys.readouterr().out.startswith("0 done, 0 failed, 3 skipped")
    assert cli.main([*words, "--again"]) == 0
    assert capsys.readouterr().out.startswith("3 done")


def test_a_failure_is_a_line_and_the_exit_code_tells(here, capsys):
    """An image that fails is named with its reason, and the exit code is 1."""
    (here / "photos" / "p001.png").write_text("no picture")
    assert cli.main(["bulk", "photos", "--out-dir", "out", "-s", "64"]) == 1
    printed = capsys.readouterr()
    assert "p001.png" in printed.err
    assert printed.out.startswith("2 done, 1 failed")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["photos"], "no --out-dir was given; usage: imgvar bulk"),
        (["--out-dir", "out"], "no folder and no image was given; usage: imgvar bulk"),
        (["nowhere", "--out-dir", "out"], "no file"),
        (["photos", "--out-dir", "out", "-n", "11"], "n is '11'"),
        (
            ["photos", "--out-dir", "out", "-f", "byte"],
            "-f is an option of %imagevariation and imgvar create",
        ),
        (["photos", "--out-dir", "photos/p000.png"], "can't be written"),
    ],
)
def test_a_wrong_command_is_a_usage_error(here, capsys, words, said):
    """A wrong line, or a folder that can't be written, is one line and exit code 2."""
    assert here
    assert cli.main(["bulk", *words]) == 2
    printed = capsys.readouterr()
    assert said in printed.err
    assert len(printed.err.splitlines()) == 1


def test_help_lists_what_is_special(capsys):
    """--help has the options of a bulk run and none that make no sense there."""
    assert cli.main(["bulk", "--help"]) == 0
    text = capsys.readouterr().out
    assert all(each in text for each in ("--out-dir", "--dry-run", "--scheduler", "--workers", "--again"))
    assert "--out-file" not in text
    assert "imgvar bulk" in text
    headings = [line for line in text.splitlines() if line.endswith(":") and not line.startswith(" ")]
    assert len(headings) == len(set(headings))
    assert all(each not in text for each in ("--sweep", "with --out-dir", "$name", "variable", "as a ;"))
    assert "s3://" in text.partition("What is made:")[0]
    assert "s3://" in text.partition("--out-dir DIR")[2].partition("--workers")[0]
    assert "s3://" in text.partition("Examples:")[2]


@pytest.mark.slow
def test_an_interrupted_command_says_how_to_go_on(here, make_photos):
    """SIGINT ends the command with exit code 130 and a line that says how to go on."""
    folder = make_photos(30)
    process = subprocess.Popen(
        [sys.executable, "-m", "ipy_imgvar.cli", "bulk", folder, "--out-dir", "out", "-s", "64"],
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    while not (here / "out").exists() or not list((here / "out").glob("*.png")):
        assert process.poll() is None
    os.kill(process.pid, signal.SIGINT)
    _, said = process.communicate(timeout=300)
    assert process.returncode == 130
    assert b"goes on from there" in said
    assert b"Traceback" not in said
    assert 0 < len(BulkResult.read("out").done) < 30
