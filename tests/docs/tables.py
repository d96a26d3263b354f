"""Write the tables of the documentation that the code makes into their pages.

    .venv/bin/python tests/docs/tables.py

A table stands between `<!-- table: NAME -->` and `<!-- end of the table -->`.
"""

import re
from pathlib import Path

from ipy_imgvar import settings
from ipy_imgvar.engines import capabilities_of
from ipy_imgvar.line import options
from ipy_imgvar.line.help import engine_table

DOCS = Path(__file__).parents[2] / "docs"
#: The page of each table, by its name.
PAGES = {
    "options": "magic.md",
    "options of patch": "engines.md",
    "options of openai": "engines.md",
    "options of diffusers": "engines.md",
}


def table(name):
    """Return a table as the code makes it."""
    if name == "options":
        return options.table()
    return engine_table(capabilities_of(name.removeprefix("options of "), settings.connection()))


def renewed(text, name):
    """Return a page's text with the table of that name as the code makes it."""
    pattern = rf"(<!-- table: {name} -->\n).*?(<!-- end of the table -->)"
    return re.sub(pattern, lambda found: f"{found[1]}{table(name)}\n{found[2]}", text, flags=re.DOTALL)


if __name__ == "__main__":
    for each, page in PAGES.items():
        path = DOCS / page
        path.write_text(renewed(path.read_text("utf-8"), each), "utf-8")
