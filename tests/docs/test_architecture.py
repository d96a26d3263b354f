"""The map in docs/architecture.md is the tree."""

import re
from pathlib import Path

import pytest
from test_layers import ROOMS

import ipy_imgvar

PACKAGE = Path(ipy_imgvar.__file__).parent
PAGE = PACKAGE.parent / "docs/architecture.md"
#: The headings of the map, from the core outwards, as `ROOMS` has the rings.
HEADINGS = ("Core", "Engines", "Application", "Interfaces")


def rows():
    """Return each row of the map's tables: its room, and the names of files in it; a row without a room goes on."""
    room, found = "", []
    text = PAGE.read_text("utf-8")
    for line in text[text.index("\n## Interfaces") :].splitlines():
        cells = line.split("|")
        if len(cells) == 4 and "`" in cells[2] + cells[1]:
            room = cells[1].strip(" `") or room
            found.append((room, set(re.findall(r"`([\w.]+\.(?:py|js))`", cells[2]))))
    return found


def rooms():
    """Return the rooms of the tree, as the map writes them: folders with a slash, and single modules at the top."""
    folders = {path.parent for path in PACKAGE.rglob("*.py")} - {PACKAGE}
    tops = {path.name for path in PACKAGE.glob("*.py")} - {"__init__.py", "__main__.py"}
    return {f"{path.relative_to(PACKAGE).as_posix()}/" for path in folders} | tops


def test_the_map_has_every_room():
    """Every folder and every module at the top of the package stands in the map, and nothing else does."""
    assert {room for room, _ in rows()} == rooms()


def test_the_map_names_every_file():
    """The map names each Python file of a folder, and no file that is not there."""
    missing = []
    for folder in sorted(each for each in rooms() if each.endswith("/")):
        named = set().union(*(names for room, names in rows() if room == folder))
        there = {path.name for path in (PACKAGE / folder).glob("*.py")} - {"__init__.py", "__main__.py"}
        assert {name for name in named if not (PACKAGE / folder / name).is_file()} == set(), folder
        missing += [f"{folder}{name}" for name in sorted(there - named)]
    assert missing == []


def test_the_paths_of_the_steps_are_there():
    """Each file that the way of a request names is there."""
    steps = PAGE.read_text("utf-8").split("## One request's way")[1].split("\n## ")[0]
    names = re.findall(r"`([\w/]+\.py)`", steps)
    assert len(names) > 10
    assert [name for name in names if not (PACKAGE / name).is_file()] == []


@pytest.mark.parametrize("ring", range(len(HEADINGS)), ids=HEADINGS)
def test_a_room_stands_under_its_ring(ring):
    """Each room stands under the heading of the ring that `test_layers` gives it."""
    section = PAGE.read_text("utf-8").split(f"\n## {HEADINGS[ring]}\n")[1].split("\n## ")[0]
    named = re.findall(r"^\| `([\w/.]+)` \|", section, re.MULTILINE)
    assert {name.split("/")[0].removesuffix(".py") for name in named} == ROOMS[ring]
