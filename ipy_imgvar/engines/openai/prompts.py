"""What the edits route is asked for when a variation is wanted and the user gave no prompt.

That route makes nothing without a prompt. Ours say what changes and what stays; a change of their words is a new
version, since the version is recorded with each picture.
"""

from __future__ import annotations

from typing import Final

__all__ = ["PROMPT_VERSION", "variation_prompt"]

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
_SUBTLE_BELOW, _MEDIUM_TO = 0.35, 0.7


def variation_prompt(strength: float) -> str:
    """Return the prompt for a strength of 0..1."""
    if strength < _SUBTLE_BELOW:
        return _SUBTLE
    return _MEDIUM if strength <= _MEDIUM_TO else _STRONG
