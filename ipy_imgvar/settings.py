"""Settings from outside: the only reader of `os.environ`, and the wrapper that keeps keys out of sight."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NoReturn, Self

import platformdirs

from ipy_imgvar.errors import ConfigurationError, shown

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["STORE_MAX_BYTES", "STORE_OFF", "Secret", "in_environment", "store_max_bytes", "store_root"]

STORE_MAX_BYTES: Final = 1_000_000_000
#: What `IPY_IMGVAR_STORE` and `%config` say to keep nothing on disk.
STORE_OFF: Final = "off"


class Secret:
    """Hold a key so that it is never shown by accident.

    Its repr, str and format are stars, a copy is itself, and pickling is refused, since a pickle would hold the
    value in the clear.

    Examples
    --------
    >>> key = Secret("sk-123")
    >>> key
    Secret('********')
    >>> key.reveal()
    'sk-123'
    """

    __slots__ = ("_reveal",)
    _reveal: Callable[[], str]

    def __init__(self, value: str | Secret) -> None:
        text = value.reveal() if isinstance(value, Secret) else value
        if not isinstance(text, str) or not text.strip():
            received = "empty text" if isinstance(text, str) else f"a {type(text).__name__}"
            raise ConfigurationError(f"the secret is {received}; allowed: text")
        # A closure, so that no attribute holds the text where vars() or a debugger's variable view would print it.
        stripped = text.strip()
        object.__setattr__(self, "_reveal", lambda: stripped)

    def reveal(self) -> str:
        """Return the value, to be used and not kept."""
        return self._reveal()

    def __setattr__(self, name: str, value: Any) -> NoReturn:
        raise AttributeError("a Secret can't be changed; make a new one")

    def __repr__(self) -> str:
        return "Secret('********')"

    def __str__(self) -> str:
        return "********"

    def __format__(self, spec: str) -> str:
        return str(self)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Secret):
            return NotImplemented
        return self.reveal() == other.reveal()

    def __hash__(self) -> int:
        return hash(self.reveal())

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise TypeError("a Secret can't be pickled; pass the name of an environment variable instead")


def in_environment(name: str) -> bool:
    """Return whether an environment variable is set and not blank."""
    return bool(os.environ.get(name, "").strip())


def store_root() -> Path | None:
    """Return the folder of the store: `IPY_IMGVAR_STORE`, else the user's cache; None when it says off.

    Raises
    ------
    ConfigurationError
        If the variable begins with the home of a user that there is none of.
    """
    place = os.environ.get("IPY_IMGVAR_STORE", "").strip()
    if place.lower() == STORE_OFF:
        return None
    if not place:
        return platformdirs.user_cache_path("ipy_imgvar", appauthor=False)
    try:
        # Absolute at once, since a notebook may change its folder while results hold paths into the store.
        return Path(place).expanduser().absolute()
    except RuntimeError as exc:
        raise ConfigurationError(
            f"IPY_IMGVAR_STORE is {shown(place)}: {exc}; allowed: a folder, or off"
        ) from exc


def store_max_bytes() -> int:
    """Return the bound of the store in bytes: `IPY_IMGVAR_STORE_BYTES`, else 1 GB.

    Raises
    ------
    ConfigurationError
        If the variable holds anything but a whole number of bytes.
    """
    text = os.environ.get("IPY_IMGVAR_STORE_BYTES", "").strip()
    if not text:
        return STORE_MAX_BYTES
    if not text.isdecimal():
        raise ConfigurationError(f"IPY_IMGVAR_STORE_BYTES is {shown(text)}; allowed: a whole number of bytes")
    return int(text)
