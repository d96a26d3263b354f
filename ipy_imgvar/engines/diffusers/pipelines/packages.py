"""The packages of the extra `diffusers`: their import, their versions, and their silence.

The libraries print bars and notes of their own, which would stand between the pictures of a notebook.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.metadata
import importlib.util
import logging
import sys
from typing import TYPE_CHECKING, Final

from ipy_imgvar.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["INSTALL", "import_packages", "import_torch", "quiet", "refuse_missing"]

#: The command that installs the extra, for messages.
INSTALL: Final = "pip install 'ipy-imgvar[diffusers]'"
#: The packages whose versions a picture's record names, since another version may make other pictures.
_RECORDED: Final = ("torch", "diffusers", "transformers")


def import_packages() -> dict[str, str]:
    """Import torch, diffusers and transformers, which takes about ten seconds the first time.

    Returns
    -------
    dict
        The version of each by name.

    Raises
    ------
    ConfigurationError
        If a package is missing or too old, or two of them don't fit each other.
    """
    try:
        import torch

        with quiet():
            import diffusers
            import transformers

            # Both load their classes on first use, and what doesn't fit fails there.
            _ = diffusers.DiffusionPipeline, transformers.CLIPTextModel, transformers.CLIPImageProcessor
    except (ImportError, RuntimeError, OSError, AttributeError, ValueError) as exc:
        raise ConfigurationError(_problem(exc)) from exc
    return {"torch": torch.__version__, **{name: sys.modules[name].__version__ for name in _RECORDED[1:]}}


def refuse_missing() -> None:
    """Raise the error of `import_packages` for a package that is not installed; imports nothing."""
    for name in _RECORDED:
        if importlib.util.find_spec(name) is None:
            raise ConfigurationError(_problem(ModuleNotFoundError(name=name)))


def import_torch() -> None:
    """Import torch alone, which takes a second or two; raises `ConfigurationError` as `import_packages` does."""
    try:
        importlib.import_module("torch")
    except (ImportError, RuntimeError, OSError, AttributeError, ValueError) as exc:
        raise ConfigurationError(_problem(exc)) from exc


def _problem(exc: Exception) -> str:
    """Return the line for a failed import: a missing package, or two that don't fit."""
    if isinstance(exc, ModuleNotFoundError) and (exc.name or "").partition(".")[0] in (
        *_RECORDED,
        "accelerate",
        "huggingface_hub",
        "safetensors",
    ):
        package = (exc.name or "").partition(".")[0]
        return f"the engine diffusers needs the package {package}; install it: {INSTALL}"
    versions = ", ".join(
        f"{name} {version}" for name in ("torch", "torchvision") if (version := _version(name))
    )
    # A torchvision of another build breaks transformers with messages about unrelated models.
    if _version("torchvision"):
        return (
            f"the engine diffusers can't be loaded with {versions}; they don't fit each other: pip uninstall "
            f"torchvision (it is not needed), or install the two of one release ({type(exc).__name__}: {exc})"
        )
    others = ", ".join(f"{name} {_version(name)}" for name in _RECORDED)
    problem = f"{type(exc).__name__}: {exc}"
    return f"the engine diffusers can't be loaded with {others} ({problem}); install what fits: {INSTALL}"


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Turn the libraries' bars and notes off, and afterwards to what they were; our own line says what failed."""
    from transformers.utils import logging as of_transformers

    loggers = [logging.getLogger("transformers")]
    levels = [loggers[0].level]
    loggers[0].setLevel(logging.CRITICAL)
    # This import reads classes of transformers, which has to be silent by then.
    from diffusers.utils import logging as of_diffusers

    loggers.append(logging.getLogger("diffusers"))
    levels.append(loggers[1].level)
    loggers[1].setLevel(logging.CRITICAL)
    libraries = [each for each in (of_transformers, of_diffusers) if each.is_progress_bar_enabled()]
    for library in libraries:
        library.disable_progress_bar()
    try:
        yield
    finally:
        for library in libraries:
            library.enable_progress_bar()
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
