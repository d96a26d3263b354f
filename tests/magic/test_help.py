"""Help: what it says, how long it is, and that its examples work."""

import numpy as np
import pytest
from PIL import Image

from ipy_imgvar.engine import Capabilities, EngineOption
from ipy_imgvar.line.options import MAGIC_OPTIONS
from ipy_imgvar.magic.magics import EXAMPLES


@pytest.mark.parametrize("line", ["-h", "--help", "--HELP", "photo.png -n 99 -h", "-h;"])
def test_help_is_short(shell, line):
    """Help is printed in at most 65 lines of at most 100 columns, and names every option."""
    result = shell.run(f"%imagevariation {line}")
    assert result.error is None
    lines = result.out.splitlines()
    assert len(lines) <= 65
    assert max(map(len, lines)) <= 100
    assert all(option.flags[0] in result.out for option in MAGIC_OPTIONS)


def test_the_docstring_is_the_help(shell):
    """%imagevariation? shows the same text, but for what an engine decides."""
    doc = shell.shell.find_line_magic("imagevariation").__doc__
    printed = shell.run("%imagevariation -h").out
    assert printed.startswith(f"{doc}\n")
    assert printed.removeprefix(doc).splitlines()[1:3] == [
        "",
        "Options of the engine patch (--option NAME=VALUE):",
    ]


@pytest.mark.parametrize("line", ["--engine openai -h", "-h --api-base http://localhost:1", "-h"])
def test_the_help_has_the_options_of_the_engine(shell, line):
    """The help lists the options of the engine that the line, its settings or the configuration name."""
    if line == "-h":
        shell.run("%config ImageVariationMagics.engine = 'openai'")
    printed = shell.run(f"%imagevariation {line}").out
    assert "Options of the engine openai" in printed
    assert "partial_images=0..3" in printed
    assert "default 2" in printed


def test_models_have_their_notes(shell, installed_engine):  # noqa: ARG001
    """An engine's models stand one a line with what it says of each; a wrong model leaves the help as it is."""
    printed = shell.run("%imagevariation -h --engine posterise-weights").out
    _, models = printed.split("Models of the engine posterise-weights (--model NAME):\n")
    assert models.splitlines() == ["  soft  few changes, 1 MB", "  hard  many changes, 2 MB"]
    assert shell.run("%imagevariation -h --engine posterise-weights --model soft").out == printed
    listed = shell.run("%imagevariation -h --engine posterise").out
    assert listed.splitlines()[-1] == "  soft, hard"


def test_a_default_is_said_once(shell, monkeypatch):
    """A default that the engine's own words name is not said again."""
    option = EngineOption("steps", int, default=4, help="steps of a picture; left out: the model's default")
    monkeypatch.setattr("ipy_imgvar.engines.patch.capabilities.CAPABILITIES", Capabilities(options=(option,)))
    assert "default 4" not in shell.run("%imagevariation -h").out


def test_the_help_of_an_engine_that_is_none(shell):
    """An unknown engine in the line is no reason to show no help."""
    result = shell.run("%imagevariation -h --engine nothing")
    assert result.error is None
    assert "Options of the engine" not in result.out
    assert "--engine NAME" in result.out


@pytest.mark.parametrize("example", EXAMPLES)
def test_the_examples_work(shell, tmp_path, example):
    """Every example of the help runs as it is written, where its files and names exist."""
    pixels = np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)
    (tmp_path / "photos").mkdir()
    for name in ("cat.png", "photos/a.png", "photos/b.png"):
        Image.fromarray(pixels).save(tmp_path / name)
    shell.ns["array"] = pixels
    shell.run("%config ImageVariationMagics.size = '64x64'")
    line = example.partition("     ")[0]
    result = shell.run(line)
    assert result.error is None
    if "-o data" in line:
        assert shell.ns["data"].startswith(b"\x89PNG")
    if line.startswith("x ="):
        assert len(shell.ns["x"]) == 1
    if "--out-file" in line:
        assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
            f"cat-{i}.png" for i in (1, 2, 3, 4)
        ]


def test_there_are_six_examples():
    """Help has six examples."""
    assert len(EXAMPLES) == 6
