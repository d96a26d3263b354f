"""Imports point inward only, and what is heavy is loaded by what first needs it."""

import ast
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

import ipy_imgvar

ROOT = Path(ipy_imgvar.__file__).parent

#: The rooms of each ring: the folders and modules at the top of the package, from the inside out.
ROOMS = (
    {
        "api",
        "capabilities",
        "engine",
        "errors",
        "images",
        "network",
        "plain",
        "request",
        "results",
        "settings",
    },
    {"engines"},
    {"bulk", "client", "line", "run", "streams"},
    {"cli", "magic", "panel", "server"},
    # The package itself serves the public names.
    {""},
)
RINGS = {room: ring for ring, rooms in enumerate(ROOMS) for room in rooms}
#: Inside a function only: who opens what of its own ring.
EXCEPTIONS = {("magic", "panel"), ("cli", "server")}
#: Which modules may import a distribution that costs time or is a risk.
ONLY_IN = {
    "PIL": ("images.codec", "images.modes", "images.opening", "engines.patch.camera.lens"),
    "httpx": ("images.fetch", "network", "engines.openai"),
    "httpcore": ("network",),
}


def modules():
    """Return the dotted name below the package and the path of every module."""
    found = {}
    for path in sorted(ROOT.rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


MODULES = modules()


def is_type_checking(test):
    return (isinstance(test, ast.Name) and test.id == "TYPE_CHECKING") or (
        isinstance(test, ast.Attribute) and test.attr == "TYPE_CHECKING"
    )


class Imports(ast.NodeVisitor):
    """Collect (absolute module name, whether inside a function) of every import that runs."""

    def __init__(self, module, *, package):
        self.package = ["ipy_imgvar", *[part for part in module.split(".") if part]]
        if not package:
            self.package.pop()
        self.found = []
        self.depth = 0

    def visit_If(self, node):
        if is_type_checking(node.test):
            for each in node.orelse:
                self.visit(each)
        else:
            self.generic_visit(node)

    def visit_FunctionDef(self, node):
        self.depth += 1
        self.generic_visit(node)
        self.depth -= 1

    visit_AsyncFunctionDef = visit_Lambda = visit_FunctionDef  # noqa: N815

    def visit_Import(self, node):
        self.found += [(alias.name, self.depth > 0) for alias in node.names]

    def visit_ImportFrom(self, node):
        base = self.package[: len(self.package) - node.level + 1] if node.level else []
        name = ".".join([*base, *([node.module] if node.module else [])])
        # `from ipy_imgvar import codec` imports a module; `from ipy_imgvar.images.codec import convert` a name of one.
        self.found += [(f"{name}.{alias.name}", self.depth > 0) for alias in node.names]

    def visit_Call(self, node):
        called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        if called in ("import_module", "__import__") and node.args and isinstance(node.args[0], ast.Constant):
            self.found.append((node.args[0].value, self.depth > 0))
        self.generic_visit(node)


@cache
def imports_of(module):
    path = MODULES[module]
    visitor = Imports(module, package=path.name == "__init__.py")
    visitor.visit(ast.parse(path.read_text("utf-8")))
    return visitor.found


def own(name):
    """Return the module below the package that an import means, "" for the package; None for a foreign one."""
    if name.split(".")[0] != "ipy_imgvar":
        return None
    parts = name.split(".")[1:]
    while parts and ".".join(parts) not in MODULES:
        parts.pop()
    return ".".join(parts)


def top(module):
    return module.split(".")[0]


def engine_of(module):
    """Return the engine whose room has the module; None for one that every engine may read, such as the prompts."""
    parts = module.split(".")
    in_room = parts[0] == "engines" and len(parts) > 1
    return parts[1] if in_room and MODULES[f"engines.{parts[1]}"].name == "__init__.py" else None


def circles(arrows):
    """Return the sets of names that reach each other along the arrows, by removing what has none in or none out."""
    arrows = {(start, end) for start, end in arrows if start != end}
    while True:
        ends = {end for _, end in arrows} & {start for start, _ in arrows}
        left = {(start, end) for start, end in arrows if start in ends and end in ends}
        if left == arrows:
            return sorted(arrows)
        arrows = left


def all_arrows():
    return {(module, own(name)) for module in MODULES if module for name, _ in imports_of(module)} - {
        (module, None) for module in MODULES
    }


def test_every_room_is_in_a_ring():
    """A new room has to be given a ring."""
    assert {top(module) for module in MODULES} == set(RINGS)


def test_no_circles():
    """Neither modules nor rooms import each other in a circle; inside functions, too."""
    assert circles(all_arrows()) == []
    assert circles((top(start), top(end)) for start, end in all_arrows()) == []


@pytest.mark.parametrize("module", [each for each in MODULES if each])
def test_imports_point_inward(module):
    """A module imports its own ring and those further in; inside functions, too."""
    for name, in_function in imports_of(module):
        target = own(name)
        if target is None:
            continue
        assert target != "", f"{module} imports the package itself, which serves names of outer rings"
        inward = RINGS[top(target)] < RINGS[top(module)]
        same = top(target) == top(module) or (
            RINGS[top(target)] == RINGS[top(module)] and RINGS[top(module)] != RINGS["magic"]
        )
        allowed = in_function and (top(module), top(target)) in EXCEPTIONS
        assert inward or same or allowed, f"{module} imports {target}"


@pytest.mark.parametrize("module", [each for each in MODULES if engine_of(each)])
def test_engines_do_not_import_each_other(module):
    """An engine imports nothing of another engine, nor their registry; what stands beside the engines is for all."""
    for name, _ in imports_of(module):
        target = own(name)
        if target is not None and top(target) == "engines":
            assert target != "engines", f"{module} imports the registry"
            assert engine_of(target) in (engine_of(module), None), f"{module} imports {target}"


@pytest.mark.parametrize("distribution", ONLY_IN)
def test_one_home_for_each_distribution(distribution):
    """Pillow is imported by the codec and the lens only, httpx by the connections and the hosted engine only."""
    homes = ONLY_IN[distribution]
    users = {
        module for module in MODULES for name, _ in imports_of(module) if name.split(".")[0] == distribution
    }
    strays = {
        each for each in users if not any(each == home or each.startswith(home + ".") for home in homes)
    }
    assert not strays


def lines_of(function):
    """Return how many lines a function's body has, its docstring included and its signature left out."""
    return function.end_lineno - function.body[0].lineno + 1


@pytest.mark.parametrize("module", MODULES)
def test_sizes(module):
    """A module has at most 400 lines, a function's body 45, and a class 25 methods."""
    text = MODULES[module].read_text("utf-8")
    assert len(text.splitlines()) <= 400
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert lines_of(node) <= 45, node.name
        if isinstance(node, ast.ClassDef):
            assert sum(isinstance(each, ast.FunctionDef) for each in node.body) <= 25, node.name


def test_environment_is_read_in_one_place():
    """Only settings.py reads the environment."""
    words = {"environ", "environb", "getenv", "getenvb", "putenv"}
    readers = set()
    for module, path in MODULES.items():
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            named = isinstance(node, ast.Attribute) and node.attr in words
            named |= isinstance(node, ast.ImportFrom) and any(each.name in words for each in node.names)
            if named:
                readers.add(module)
    assert readers <= {"settings"}


def test_core_never_prints():
    """Nothing further in than the interfaces prints."""
    for module, path in MODULES.items():
        if RINGS[top(module)] < RINGS["magic"]:
            tree = ast.parse(path.read_text("utf-8"))
            calls = [node.func for node in ast.walk(tree) if isinstance(node, ast.Call)]
            assert not [each for each in calls if isinstance(each, ast.Name) and each.id == "print"], module


def test_the_visitor_sees_what_it_should():
    """The check itself finds relative, conditional and function-level imports, and skips those for types."""
    code = """
from __future__ import annotations
from .vote import unpack
from ..other import thing
from ipy_imgvar.images import codec
if TYPE_CHECKING:
    import PIL
else:
    import one
try:
    import two
except ImportError:
    pass
def function():
    import three
    import_module("four")
"""
    visitor = Imports("engines.patch.matching.refine", package=False)
    visitor.visit(ast.parse(code))
    assert visitor.found[1:] == [
        ("ipy_imgvar.engines.patch.matching.vote.unpack", False),
        ("ipy_imgvar.engines.patch.other.thing", False),
        ("ipy_imgvar.images.codec", False),
        ("one", False),
        ("two", False),
        ("three", True),
        ("four", True),
    ]


HEAVY = ("httpx", "numpy", "PIL", "ipywidgets", "matplotlib", "skimage")

IMPORTED = f"""
import sys
import ipy_imgvar
dir(ipy_imgvar)
print([name for name in {HEAVY} if name in sys.modules])
"""
LOADED = f"""
import sys
from IPython.core.interactiveshell import InteractiveShell
shell = InteractiveShell()
before = set(sys.modules)
shell.extension_manager.load_extension("ipy_imgvar")
assert "imagevariation" in shell.magics_manager.magics["line"]
print([name for name in {HEAVY} if name in set(sys.modules) - before])
"""


OPENED = f"""
import sys
from ipy_imgvar import VariationPanel
VariationPanel().close()
print([name for name in {HEAVY} if name in sys.modules and name != "ipywidgets"])
"""


@pytest.mark.parametrize("code", [IMPORTED, LOADED, OPENED], ids=["import", "load_ext", "panel"])
def test_nothing_heavy_is_loaded(code, tmp_path):
    """Importing the package, loading the extension, or opening a panel loads none of the heavy distributions."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        capture_output=True,
        text=True,
        check=False,
        env={"PYTHONPATH": str(ROOT.parent), "PATH": "/usr/bin:/bin", "HOME": str(tmp_path)},
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip().splitlines()[-1] == "[]"
