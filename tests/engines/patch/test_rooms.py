import ast
from pathlib import Path

import pytest

from ipy_imgvar.engines import patch

ROOT = Path(patch.__file__).parent
#: Each room, and the rooms of the engine that its modules may import beside their own.
BELOW = {
    "arrays": set(),
    "strength": set(),
    "scene": {"arrays"},
    "masks": {"arrays", "subjects"},
    "matching": {"arrays"},
    "layers": {"arrays"},
    "subjects": {"arrays", "matching"},
    "composition": {"arrays", "matching", "subjects", "strength"},
    "camera": {"arrays", "subjects", "scene"},
    "synthesis": {"arrays", "matching", "subjects", "composition", "camera", "layers", "strength", "scene"},
    "capabilities": set(),
    "engine": {"arrays", "capabilities", "masks", "scene", "strength", "subjects", "synthesis"},
}
MODULES = [path for path in sorted(ROOT.rglob("*.py")) if path.name != "__init__.py"]


def rooms_of(path):
    """Return the rooms that a module's imports name, those for types included."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.ImportFrom):
            parts = (node.module or "").split(".")
            assert node.level == 0, "imports within the engine are absolute"
            if parts[:3] == ["ipy_imgvar", "engines", "patch"]:
                yield parts[3]


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_rooms_import_those_below_only(path):
    """Imports between the engine's rooms point one way, as its docstring draws them."""
    room = path.relative_to(ROOT).parts[0].removesuffix(".py")
    assert set(rooms_of(path)) - {room} <= BELOW[room]


def test_the_docstring_names_every_room():
    """The drawing in the engine's docstring leaves no room out."""
    assert all(room in patch.__doc__ for room in BELOW)
