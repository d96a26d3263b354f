"""The settings of a bulk run as the ledger holds them, and whether two of them give the same pictures."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any, Final

from ipy_imgvar.settings import Connection

if TYPE_CHECKING:
    from collections.abc import Callable

    from ipy_imgvar.engine import Engine
    from ipy_imgvar.request import VariationRequest

__all__ = ["comparable", "comparison", "settings_of"]

#: Request fields that don't affect pixels; changing one doesn't invalidate the ledger.
_NOT_COMPARED: Final = ("timeout", "max_retry_count", "response_format")
#: Hexadecimal digits of a hash in the ledger: 64 bits, which tell any two requests apart.
_HASH_DIGITS: Final = 16
#: The setting that records of older versions don't have.
_BASE: Final = "base_sha256"


def settings_of(engine: Engine, request: VariationRequest) -> dict[str, Any]:
    """Return the request's fields for the ledger: all that affect the pictures, and nothing secret."""
    settings = {"engine": engine.name, **request.settings(), "model": engine.model(request)}
    if request.mask is not None:
        settings["mask_sha256"] = request.mask.sha256
    if request.extra_query or request.extra_body:
        # They may hold a secret, so the ledger has only their hash, by which a change is noticed.
        extra = json.dumps([request.extra_query, request.extra_body], sort_keys=True, default=str)
        settings["extra_sha256"] = _hash(extra)
    server = engine.capabilities(request.model).destination
    if server is not None:
        settings["server"] = server
        connection = getattr(engine, "connection", None)
        if isinstance(connection, Connection):
            # One server may have several services below different paths, and a path may hold a secret.
            settings[_BASE] = _hash(connection.address)
    return settings


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:_HASH_DIGITS]


def comparison(settings: dict[str, Any]) -> Callable[[Any], bool]:
    """Return a function that tells of a record's settings whether they give the same pictures as `settings`.

    A record of an older version, which has the server's name without the path of its address, is compared by that.
    """
    whole = comparable(settings)
    without_base = comparable({name: value for name, value in settings.items() if name != _BASE})

    def is_same(recorded: Any) -> bool:
        if not isinstance(recorded, dict):  # A ledger may hold anything.
            return False
        return comparable(recorded) == (whole if _BASE in recorded else without_base)

    return is_same


def comparable(settings: dict[str, Any]) -> str:
    """Return a text that two settings share if they give the same pictures."""
    relevant = {name: value for name, value in settings.items() if name not in _NOT_COMPARED}
    return json.dumps(relevant, sort_keys=True, default=str)
