"""OpenAI's models: the default, and the dates on which models were or will be switched off.

Model names are open: a name that is missing here is sent as it is.

References
----------
https://platform.openai.com/docs/deprecations, read in November 2026.
"""

from __future__ import annotations

import contextlib
from datetime import UTC, date, datetime
from typing import Final

__all__ = ["DEFAULT_MODEL", "farewell", "is_gpt_image"]

#: The model that is named on OpenAI's edits route where the user names none.
DEFAULT_MODEL: Final = "gpt-image-2.6-flare"

#: A date on which OpenAI switches off several models at once.
_DECEMBER: Final = date(2026, 12, 1)
#: For each model, the first day on which it no longer answers.
_SHUTDOWN: Final = {
    "dall-e-2": date(2026, 5, 12),
    "dall-e-3": _DECEMBER,
    "gpt-image-1": _DECEMBER,
    "gpt-image-1-mini": _DECEMBER,
    "gpt-image-1.5": _DECEMBER,
    "chatgpt-image-latest": _DECEMBER,
}


def is_gpt_image(model: str | None) -> bool:
    """Return whether a model is of the GPT Image family, which serves edits and takes no `response_format`."""
    return model is not None and model.lower().startswith(("gpt-image", "chatgpt-image"))


def farewell(model: str | None, shutdown_date: object = None, today: date | None = None) -> str | None:
    """Return a line that says when a model was or will be switched off and names a successor; None for other models.

    Parameters
    ----------
    model
        The name that the request has.
    shutdown_date
        The date that the server gave, "YYYY-MM-DD"; it wins over the table here.
    today
        The date to compare with; None takes today's in UTC.
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
