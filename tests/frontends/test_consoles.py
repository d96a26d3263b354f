"""Places without HTML: a script, the prompt of Python, IPython for one line, and Jupyter's own console."""

import os
import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

import ipy_imgvar

CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|\x1b[=>]")
PANEL = "from ipy_imgvar import VariationPanel\nVariationPanel('photo.png')\nVariationPanel(basic=True)\n"


def environment(folder):
    return {
        **os.environ,
        "IPY_IMGVAR_STORE": str(folder / "store"),
        "IPYTHONDIR": str(folder / "ipython"),
        "PYTHONPATH": str(Path(ipy_imgvar.__file__).parent.parent),
        "TERM": "xterm",
    }


def run(folder, *arguments, typed=None):
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        env=environment(folder),
        input=typed,
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )


@pytest.mark.slow
def test_a_script_prints_nothing_by_itself(with_photo):
    """A Python script that makes and saves pictures, singly and in bulk, writes nothing to its streams."""
    script = (
        "from ipy_imgvar import Client, variations\n"
        "variations('photo.png', n=2, size=64, engine='patch').save('made')\n"
        "if __name__ == '__main__':\n"
        "    with Client('patch') as client:\n"
        "        client.map('photo.png', out_dir='many', size=64, max_workers=1)\n"
    )
    (with_photo / "script.py").write_text(script)
    done = run(with_photo, "script.py")
    assert (done.stdout, done.stderr) == ("", "")
    assert len(list((with_photo / "made").iterdir())) == 2


@pytest.mark.slow
def test_ipython_for_one_line(with_photo):
    """`ipython --ext ipy_imgvar -c` shows a table on standard output, and no progress where there is no terminal."""
    line = "%imagevariation photo.png -n 2 -s 64 --engine patch"
    done = run(with_photo, "-m", "IPython", "--colors=NoColor", "--ext", "ipy_imgvar", "-c", line)
    assert [each.split()[0] for each in done.stdout.splitlines()[:3]] == ["name", "photo-1", "photo-2"]
    assert "█" not in done.stdout + done.stderr


def test_the_prompt_of_python_shows_short_lines(with_photo):
    """In `python -i` results and panels are one line each, without a traceback."""
    typed = "from ipy_imgvar import variations\nvariations('photo.png', size=64, engine='patch')\n" + PANEL
    done = run(with_photo, "-i", "-q", typed=typed)
    assert done.stdout.splitlines() == ["<Variations: 1 picture by patch>", *["<VariationPanel: idle>"] * 2]
    assert "Traceback" not in done.stderr


@pytest.mark.skipif(find_spec("jupyter_console") is None, reason="needs the package jupyter_console")
def test_the_console_of_jupyter(with_photo):
    """`jupyter console`, which takes no updates, shows the table of a variable, and an error as one line."""
    pexpect = pytest.importorskip("pexpect")
    options = ["-m", "jupyter_console", "--simple-prompt"]
    child = pexpect.spawn(
        sys.executable,
        options,
        cwd=str(with_photo),
        env=environment(with_photo),
        encoding="utf-8",
        timeout=90,
    )

    def shown(line):
        child.sendline(line)
        child.expect(r"In \[\d+\]: ")
        return CONTROL.sub("", child.before)

    child.expect(r"In \[\d+\]: ")
    shown("%load_ext ipy_imgvar")
    assert "UsageError: there is no file phot.png" in shown("%imagevariation phot.png")
    assert "█" not in shown("x = %imagevariation photo.png -n 8 -s 256 --engine patch --quiet")
    assert "photo-8  " in shown("x")
    child.sendline("exit")
    child.close(force=True)
