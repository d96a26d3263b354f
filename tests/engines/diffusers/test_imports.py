"""Torch is imported by the engine diffusers alone, and not before its first run."""

import subprocess
import sys

import pytest

_HEAVY = ("torch", "diffusers", "transformers", "accelerate", "huggingface_hub", "safetensors")
_SHELL = """
from IPython.core.interactiveshell import InteractiveShell
shell = InteractiveShell.instance()
shell.run_line_magic("load_ext", "ipy_imgvar")
"""
_PATCH = """
from PIL import Image
from ipy_imgvar import Client
Client("patch").variations(Image.linear_gradient("L").convert("RGB").resize((64, 64)), size="64x64", seed=1)
"""
_DESCRIBED = """
from ipy_imgvar.engines import engine_names
from ipy_imgvar import Client
assert "diffusers" in engine_names()
client = Client("diffusers")
assert client.engine.capabilities("klein").models
"""


@pytest.mark.usefixtures("torch")
@pytest.mark.parametrize(
    "program",
    ["import ipy_imgvar", _SHELL, _PATCH, _DESCRIBED],
    ids=["import", "load_ext", "patch", "capabilities"],
)
def test_nothing_of_torch_is_imported_by(program):
    """With torch installed, neither the package nor the magic, patch or a description of this engine imports it."""
    check = f"import sys; print([name for name in {_HEAVY!r} if name in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", f"{program}\n{check}"], check=True, capture_output=True, text=True, timeout=300
    )
    assert done.stdout.splitlines()[-1] == "[]"
