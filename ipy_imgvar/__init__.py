"""Variations of any image in a notebook: one magic, one panel and one client.

`%load_ext ipy_imgvar`, then `%imagevariation cat.png -n 4`; or `variations("cat.png", n=4)` in Python. A public name
loads its module at its first use, so importing this package loads neither Pillow nor the widgets.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

    from ipy_imgvar.client import Client
    from ipy_imgvar.oneshot import variations
    from ipy_imgvar.panel.widget import VariationPanel
    from ipy_imgvar.results.history import history, last
    from ipy_imgvar.results.sweep import Sweep
    from ipy_imgvar.results.variations import Variation, Variations
    from ipy_imgvar.settings import Secret

__all__ = [
    "Client",
    "Secret",
    "Sweep",
    "Variation",
    "VariationPanel",
    "Variations",
    "history",
    "last",
    "load_ipython_extension",
    "unload_ipython_extension",
    "variations",
]

#: The module of each public name, relative to this package; `__getattr__` imports it at the first use.
_MODULES: Final = {
    "Client": "client",
    "Secret": "settings",
    "Sweep": "results.sweep",
    "Variation": "results.variations",
    "VariationPanel": "panel.widget",
    "Variations": "results.variations",
    "history": "results.history",
    "last": "results.history",
    "variations": "oneshot",
}


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return getattr(import_module(f"ipy_imgvar.{_MODULES[name]}"), name)
    if name == "__version__":
        # Reading the package's metadata takes milliseconds, so only a caller that asks for the version pays.
        from importlib.metadata import version

        return version("ipy-imgvar")
    raise AttributeError(f"module 'ipy_imgvar' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__, "__version__"})


def load_ipython_extension(ipython: InteractiveShell) -> None:
    """Register the magic; `%load_ext ipy_imgvar` calls this."""
    from ipy_imgvar.magic import load

    load(ipython)


def unload_ipython_extension(ipython: InteractiveShell) -> None:
    """Undo the loading; `%unload_ext ipy_imgvar` calls this."""
    from ipy_imgvar.magic import unload

    unload(ipython)
