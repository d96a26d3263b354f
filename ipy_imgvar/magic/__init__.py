"""The IPython interface: registers the magic with a shell, and removes it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ipy_imgvar.magic.magics import ImageVariationMagics

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

__all__ = ["load", "unload"]


def load(shell: InteractiveShell) -> None:
    """Register the magic with a shell; a second call replaces the first registration."""
    unload(shell)
    magics = ImageVariationMagics(shell)
    shell.register_magics(magics)


def unload(shell: InteractiveShell) -> None:
    """Undo `load`; do nothing if the magic is not registered."""
    # IPython has no call that removes a magic, so its three registries are edited.
    magics = shell.magics_manager.registry.pop(ImageVariationMagics.__name__, None)
    if magics is None:
        return
    magics.close()
    for kind in ("line", "cell"):
        shell.magics_manager.magics[kind].pop("imagevariation", None)
    if magics in shell.configurables:
        shell.configurables.remove(magics)
