"""What README and docs/ say in tables is what the code says."""

import re
import runpy
from pathlib import Path

import pytest

from ipy_imgvar import settings
from ipy_imgvar.engines import capabilities_of
from ipy_imgvar.images import formats

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text("utf-8")
TABLES = runpy.run_path(str(Path(__file__).with_name("tables.py")))
ENGINES = ("patch", "openai", "diffusers")


@pytest.mark.parametrize(("name", "page"), TABLES["PAGES"].items(), ids=TABLES["PAGES"])
def test_a_page_has_the_table_that_the_code_makes(name, page):
    """The table of that name is the code's; `python tests/docs/tables.py` renews it."""
    text = (ROOT / "docs" / page).read_text("utf-8")
    assert text.count(f"<!-- table: {name} -->") == 1
    assert TABLES["renewed"](text, name) == text


def _row(word):
    """Return the cells of the row of README's table of engines that begins with a word."""
    cells = re.search(rf"^\| {re.escape(word)} \| (.*) \|$", README, re.MULTILINE)[1].split(" | ")
    return dict(zip(ENGINES, cells, strict=True))


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("feature", ["mask", "prompt", "strength", "seed"])
def test_the_readme_says_what_each_engine_takes(engine, feature):
    """README's table says yes to the options that the engine declares, and no to the others."""
    declared = feature in capabilities_of(engine, settings.connection()).features
    assert _row(f"`--{feature}`")[engine].startswith("yes" if declared else "no")


@pytest.mark.parametrize("engine", ["patch", "diffusers"])
def test_the_readme_has_the_sizes_of_the_engines(engine):
    """README's table has the least and the greatest side that a local engine declares."""
    sizes = capabilities_of(engine, settings.connection()).sizes
    assert _row("size")[engine] == f"{sizes.least} to {sizes.most} px a side"


@pytest.mark.parametrize("engine", ENGINES)
def test_the_readme_says_which_engine_sends_the_image_away(engine):
    """README's table speaks of sending in the column of the engines that declare it, and in no other."""
    hosted = capabilities_of(engine, settings.connection()).hosted
    assert ("sends the image away" in _row("network")[engine]) == hosted


def test_every_variable_of_the_environment_is_documented():
    """Each variable of ours or of OpenAI's that the settings read stands in the documentation."""
    read = set(re.findall(r'"((?:OPENAI|IMGVAR|IPY_IMGVAR)_[A-Z_]+)"', Path(settings.__file__).read_text()))
    pages = "".join(path.read_text("utf-8") for path in (ROOT / "docs").glob("*.md"))
    read -= set(settings.__all__)
    assert len(read) > 5
    assert {name for name in read if not re.search(rf"\b{name}\b", pages)} == set()


def test_the_formats_that_are_read_are_documented():
    """The page of the magic names the formats that are read, as a refusal names them."""
    assert f"\n{formats.ALLOWED}," in (ROOT / "docs/magic.md").read_text("utf-8")


def test_contributing_shows_the_engine_that_is_tested():
    """The engine in CONTRIBUTING.md is, to the letter, the one that the tests install."""
    page = (ROOT / "CONTRIBUTING.md").read_text("utf-8")
    shown = page.partition("<!-- engine -->\n```python\n")[2].partition("```\n")[0]
    assert shown == (ROOT / "tests/installed_engine/imgvar_posterise/__init__.py").read_text("utf-8")
