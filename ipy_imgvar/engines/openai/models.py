"""What is known of models: OpenAI's default, and those that were or will be switched off.

Model names are open: one that is not here is passed on.

References
----------
https://platform.openai.com/docs/deprecations, read in November 2026.
"""

from __future__ import annotations

import contextlib
from datetime import UTC, date, datetime
from typing import Final

__all__ = ["DEFAULT_MODEL", "farewell", "is_gpt_image"]

DEFAULT_MODEL: Final = "gpt-image-2.6-flare"

_DECEMBER: Final = date(2026, 12, 1)
#: The day from which a model no longer answers.
_SHUTDOWN: Final = {
    "dall-e-2": date(2026, 5, 12),
    "dall-e-3": _DECEMBER,
    "gpt-image-1": _DECEMBER,
    "gpt-image-1-mini": _DECEMBER,
    "gpt-image-1.5": _DECEMBER,
    "chatgpt-image-latest": _DECEMBER,
}


def is_gpt_image(model: str | None) -> bool:
    """Return whether a model is of the family that serves edits and knows no `response_format`."""
    return model is not None and model.lower().startswith(("gpt-image", "chatgpt-image"))


def farewell(model: str | None, shutdown_date: object = None, today: date | None = None) -> str | None:
    """Return a line about a model that is gone or will go, naming a successor; None for any other.

    Parameters
    ----------
    model
        As it was asked for.
    shutdown_date
        What the server says of it, "YYYY-MM-DD", which wins over our table.
    today
        None takes the clock's.
    """
    if model is None:
        return None
    day = _SHUTDOWN.get(model)
    if isinstance(shutdown_date, str):
        with contextlib.suppress(ValueError):
            day = date.fromisoformat(shutdown_date[:10])
    if day is None:
        return None
    gone = day <= (today or datetime.now(UTC).date())
    return f"the model {model} {'was' if gone else 'will be'} switched off on {day}; use {DEFAULT_MODEL}"
