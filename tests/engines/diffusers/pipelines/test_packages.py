"""The import of the extra's packages, and their silence."""

import logging
import os
import subprocess
import sys

import pytest

from ipy_imgvar.engines.diffusers.pipelines.packages import import_packages, quiet

PRELUDE = """
import sys
from ipy_imgvar import Client
from ipy_imgvar.errors import ImageVariationError
import numpy as np
def run(model):
    try:
        Client("diffusers").variations(np.zeros((32, 32, 3), np.uint8), model=model, size="32x32")
    except ImageVariationError as exc:
        print(type(exc).__name__, exc)
"""


def said(code, **environment):
    done = subprocess.run(
        [sys.executable, "-c", PRELUDE + code],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, **environment},
    )
    return done.stdout.strip(), done.stderr


@pytest.mark.parametrize("name", ["torch", "diffusers", "transformers"])
def test_a_missing_package_is_one_line_with_the_command_that_installs_it(name, tmp_path):
    """No traceback, and nothing is fetched: the packages are looked for first."""
    if name != "torch":
        pytest.importorskip("torch")
    text, errors = said(f"sys.modules[{name!r}] = None\nrun('klein')", HF_HUB_CACHE=str(tmp_path))
    assert text.startswith(
        f"ConfigurationError the engine diffusers needs the package {name}; install it: pip"
    )
    assert "ipy-imgvar[diffusers]" in text
    assert "\n" not in text
    assert "Traceback" not in errors
    assert not list(tmp_path.iterdir())


@pytest.mark.usefixtures("torch")
def test_a_torchvision_of_another_build_is_named(tmp_path):
    """Transformers then fails with a message about an unrelated model; ours says what doesn't fit and what to do."""
    package = tmp_path / "torchvision"
    package.mkdir()
    (package / "__init__.py").write_text('raise RuntimeError("operator torchvision::nms does not exist")')
    info = tmp_path / "torchvision-0.1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: torchvision\nVersion: 0.1.0\n")
    text, _ = said("run('klein')", PYTHONPATH=os.pathsep.join([str(tmp_path), *sys.path]))
    assert text.startswith("ConfigurationError the engine diffusers can't be loaded with torch ")
    assert "torchvision 0.1.0; they don't fit each other: pip uninstall torchvision" in text


def test_the_libraries_are_silent_inside_only(torch):  # noqa: ARG001
    """Bars and levels are afterwards what the user had set."""
    import diffusers
    import transformers

    assert set(import_packages()) == {"torch", "diffusers", "transformers"}
    level = logging.getLogger("diffusers").level
    transformers.utils.logging.disable_progress_bar()
    try:
        with quiet():
            assert logging.getLogger("diffusers").level == logging.CRITICAL
            assert not diffusers.utils.logging.is_progress_bar_enabled()
        assert logging.getLogger("diffusers").level == level
        assert diffusers.utils.logging.is_progress_bar_enabled()
        assert not transformers.utils.logging.is_progress_bar_enabled()
    finally:
        transformers.utils.logging.enable_progress_bar()
