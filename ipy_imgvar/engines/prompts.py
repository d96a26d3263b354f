"""The prompts for variations by a model that edits, for requests without a prompt of their own.

Such a model requires a prompt, at a server or on this machine, so several engines read this module. Each prompt says
what changes and what stays. Change the version with their words, since each picture's record names the version.
"""

from __future__ import annotations

from typing import Final

__all__ = ["PROMPT_VERSION", "variation_prompt"]

#: The version that a picture's record names.
PROMPT_VERSION: Final = 1

_SUBTLE: Final = (
    "Create a new variation of this image. Keep the subject, composition, style, palette and lighting; "
    "change only small details. Do not add text."
)
_MEDIUM: Final = (
    "Create a new variation of this image. Keep the subject, style and palette; "
    "arrange the scene anew. Do not add text."
)
_STRONG: Final = (
    "Create a new variation of this image. Keep the subject and the overall style; "
    "choose a new composition, viewpoint and background. Do not add text."
)
#: Strengths at which the prompt changes: subtle below the first, strong above the second, medium between. Chosen so
#: that the default strength is medium, and each prompt has about a third of the range.
_SUBTLE_BELOW, _MEDIUM_TO = 0.35, 0.7


def variation_prompt(strength: float) -> str:
    """Return the prompt for a strength of 0..1."""
    if strength < _SUBTLE_BELOW:
        return _SUBTLE
    return _MEDIUM if strength <= _MEDIUM_TO else _STRONG
