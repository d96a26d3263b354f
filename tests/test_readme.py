"""What the README says is what the code does."""

from pathlib import Path

from ipy_imgvar.line import options

README = (Path(__file__).parent.parent / "README.md").read_text(encoding="utf-8")


def test_the_readme_has_the_table_of_options():
    """The README's table of options is the one that the option table makes."""
    assert options.table() in README


def test_contributing_shows_the_engine_that_is_tested():
    """The engine in CONTRIBUTING.md is, to the letter, the one that the tests install."""
    root = Path(__file__).parent.parent
    page = (root / "CONTRIBUTING.md").read_text("utf-8")
    shown = page.partition("<!-- engine -->\n```python\n")[2].partition("```\n")[0]
    assert shown == (root / "tests/installed_engine/imgvar_posterise/__init__.py").read_text("utf-8")
