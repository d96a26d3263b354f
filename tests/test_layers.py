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
        "batches",
        "capabilities",
        "engine",
        "errors",
        "images",
        "modelfiles",
        "network",
        "plain",
        "request",
        "results",
        "settings",
        "storage",
        "systems",
    },
    {"engines"},
    {"bulk", "client", "line", "oneshot", "planning", "run", "streams", "sweep"},
    {"cli", "magic", "panel", "server"},
    # The package itself serves the public names, and `python -m ipy_imgvar` the command.
    {"", "__main__"},
)
RINGS = {room: ring for ring, rooms in enumerate(ROOMS) for room in rooms}
#: Inside a function only: who opens what of its own ring.
EXCEPTIONS = {("magic", "panel"), ("cli", "server")}
#: Which modules may import a distribution that costs time or is a risk.
ONLY_IN = {
    "PIL": (
        "images.codec",
        "images.lettering",
        "images.modes",
        "images.opening",
        "engines.patch.camera.lens",
    ),
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
def tree_of(module):
    return ast.parse(MODULES[module].read_text("utf-8"))


@cache
def nodes_of(module):
    return list(ast.walk(tree_of(module)))


@cache
def imports_of(module):
    visitor = Imports(module, package=MODULES[module].name == "__init__.py")
    visitor.visit(tree_of(module))
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


@pytest.mark.slow
def test_no_circles():
    """Neither modules nor rooms import each other in a circle; inside functions, too."""
    assert circles(all_arrows()) == []
    assert circles((top(start), top(end)) for start, end in all_arrows()) == []


def own_imports():
    """Return (module, the module of ours that it imports, whether inside a function) of every such import."""
    imports = [
        (module, own(name), inside) for module in MODULES if module for name, inside in imports_of(module)
    ]
    return [each for each in imports if each[1] is not None]


def may_import(module, target, *, in_function):
    """Return whether a module may import another one: of its own room, further in, or of its ring if that is inner."""
    room, other = top(module), top(target)
    is_of_inner_ring = RINGS[other] == RINGS[room] and RINGS[room] != RINGS["magic"]
    is_exception = in_function and (room, other) in EXCEPTIONS
    return RINGS[other] < RINGS[room] or other == room or is_of_inner_ring or is_exception


def test_imports_point_inward():
    """A module imports its own ring and those further in; inside functions, too."""
    imports = own_imports()
    assert len(imports) > 800
    assert [each for each in imports if not may_import(*each[:2], in_function=each[2])] == []


def test_nothing_imports_the_package_itself():
    """The package serves names of outer rings, so no module of it imports those from there."""
    assert [module for module, target, _ in own_imports() if target == ""] == []


def test_engines_do_not_import_each_other():
    """An engine imports nothing of another engine, nor their registry; what stands beside the engines is for all."""
    imports = [(module, target) for module, target, _ in own_imports() if engine_of(module)]
    imports = [(module, target) for module, target in imports if top(target) == "engines"]
    assert len(imports) > 100
    assert [each for each in imports if each[1] == "engines"] == []
    assert [each for each in imports if engine_of(each[1]) not in (engine_of(each[0]), None)] == []


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


def nodes(*kinds):
    """Return (module, node) of every node of these kinds in the whole package."""
    return [(module, node) for module in MODULES for node in nodes_of(module) if isinstance(node, kinds)]


def test_modules_are_short():
    """A module has at most 400 lines."""
    lines = {module: len(path.read_text("utf-8").splitlines()) for module, path in MODULES.items()}
    assert {module: count for module, count in lines.items() if count > 400} == {}


def test_functions_are_short():
    """A function's body has at most 45 lines."""
    functions = nodes(ast.FunctionDef, ast.AsyncFunctionDef)
    assert len(functions) > 2000
    assert [(module, each.name) for module, each in functions if lines_of(each) > 45] == []


def test_classes_are_small():
    """A class has at most 25 methods."""
    methods = {
        (module, each.name): sum(isinstance(one, ast.FunctionDef) for one in each.body)
        for module, each in nodes(ast.ClassDef)
    }
    assert {name: count for name, count in methods.items() if count > 25} == {}


def test_environment_is_read_in_one_place():
    """Only settings.py reads the environment."""
    words = {"environ", "environb", "getenv", "getenvb", "putenv"}
    readers = set()
    for module, node in nodes(ast.Attribute, ast.ImportFrom):
        if isinstance(node, ast.Attribute):
            is_reader = node.attr in words
        else:
            is_reader = any(each.name in words for each in node.names)
        if is_reader:
            readers.add(module)
    assert readers <= {"settings"}


def test_core_never_prints():
    """Nothing further in than the interfaces prints."""
    calls = [(module, node.func) for module, node in nodes(ast.Call) if RINGS[top(module)] < RINGS["magic"]]
    assert len(calls) > 5000
    assert [module for module, each in calls if isinstance(each, ast.Name) and each.id == "print"] == []


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
