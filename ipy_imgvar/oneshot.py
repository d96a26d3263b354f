"""Variations in one call, with a client that lives for it only."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ipy_imgvar.client import Client
from ipy_imgvar.settings import Secret

if TYPE_CHECKING:
    from ipy_imgvar.results.variations import Variations

__all__ = ["variations"]


def variations(image: Any, **arguments: Any) -> Variations:
    """Make variations of an image with a client that lives for this call only.

    Parameters
    ----------
    image
        See `Client.variations`.
    **arguments
        Any argument of `Client` or of `Client.variations`.

    Raises
    ------
    ImageVariationError
        See `Client.variations`.

    Examples
    --------
    >>> import numpy as np
    >>> picture = np.linspace(0, 1, 64 * 64).reshape(64, 64)
    >>> variations(picture, engine="patch", size="64x64", seed=1)
    <Variations: 1 picture by patch>
    """
    # Wrapped here too, since a traceback with variables would show this function's arguments.
    if arguments.get("api_key") is not None:
        arguments["api_key"] = Secret(arguments["api_key"])
    own = {"engine", "api_key", "api_base", "organization", "project", "namespace"}
    with Client(**{name: value for name, value in arguments.items() if name in own}) as client:
        return client.variations(
            image, **{name: value for name, value in arguments.items() if name not in own}
        )
