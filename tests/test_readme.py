"""What the README says is what the code does."""

from pathlib import Path

from ipy_imgvar.line import options

README = (Path(__file__).parent.parent / "README.md").read_text(encoding="utf-8")


def test_the_readme_has_the_table_of_options():
    """The README's table of options is the one that the option table makes."""
    assert options.table() in README
