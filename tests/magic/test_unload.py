"""`%imagevariation --unload`: it frees what engines have loaded, says so, and loads nothing itself."""

import subprocess
import sys

import pytest

from ipy_imgvar import engines

NOTHING = "no model was loaded, so there was nothing to free\n"
WEIGHTS = "--engine posterise-weights -s 64 --quiet"


@pytest.fixture(autouse=True)
def _nothing_remembered(monkeypatch):
    monkeypatch.setattr(engines, "_loaders", [])


def test_nothing_is_loaded(shell):
    """Before a model is loaded, the line says that there is nothing to free, and gives an empty list."""
    result = shell.run("%imagevariation --unload")
    assert (result.out, result.value, result.error) == (NOTHING, [], None)


def test_models_are_freed_and_named(shell, photo_path, installed_engine):  # noqa: ARG001
    """The models of every engine are freed and named, and the next line loads them again."""
    shell.ns["photo"] = str(photo_path)
    for model in ("soft", "hard"):
        assert shell.run(f"%imagevariation $photo {WEIGHTS} --model {model}").error is None
    result = shell.run("freed = %imagevariation --unload")
    assert (result.out, shell.ns["freed"]) == ("freed: soft, hard\n", ["soft", "hard"])
    assert shell.run("%imagevariation --unload").out == NOTHING
    assert shell.run(f"%imagevariation $photo {WEIGHTS}").error is None
    result = shell.run("%imagevariation --unload;")
    assert (result.out, shell.run("%imagevariation --unload").out) == ("", NOTHING)


def test_a_client_of_python_frees_too(shell, installed_engine):  # noqa: ARG001
    """The line frees the engine of a client that Python code made."""
    shell.run("from ipy_imgvar import Client\nc = Client('posterise-weights')\nc.engine.loaded = ['mine']")
    assert shell.run("%imagevariation --unload").out == "freed: mine\n"


def test_a_body_is_refused(shell):
    """A cell with a body beside it is a mistake, in one line."""
    result = shell.run("%%imagevariation --unload\nphoto.png")
    assert "--unload frees the memory of models and makes nothing; received with it: a body" in result.err


def test_it_imports_nothing_heavy():
    """The line loads no engine's packages, which would take seconds, only to find nothing loaded."""
    code = (
        "import sys; from IPython.core.interactiveshell import InteractiveShell; shell = InteractiveShell()\n"
        "shell.run_line_magic('load_ext', 'ipy_imgvar'); shell.run_line_magic('imagevariation', '--unload')\n"
        "print([name for name in ('torch', 'diffusers', 'numpy', 'PIL', 'httpx') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
