"""The page as data: the state becomes JSON in sections, each with the traits that it depends on. Pure.

The front end draws the sections and decides nothing.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from ipy_imgvar.panel.fields import fields, titles
from ipy_imgvar.panel.recipe import may_hold_key
from ipy_imgvar.panel.tree import details
from ipy_imgvar.panel.uploads import PIECE_BYTES, UPLOAD_MAX_BYTES
from ipy_imgvar.plain import plain

if TYPE_CHECKING:
    from collections.abc import Callable

    from ipy_imgvar.panel.actions import PanelActions
    from ipy_imgvar.panel.state import Card, Group, PanelState, Thumbnail

__all__ = ["SAVED", "SECTIONS", "Section", "pictures", "saved_thumbnails"]

#: The forms that "Bind" offers: response format, and label.
_FORMS: Final = [
    ["image", "PIL images"], ["array", "arrays"], ["byte", "bytes"], ["base64", "base64"], ["url", "url"],
]  # fmt: skip
_HOW: Final = "structural similarity (SSIM) of the two at 256 px in grey: 100 % is the same picture"
#: Bytes of the thumbnails that the notebook saves, the newest first: eight of them, and the panel's code, make less
#: than 200 kB of it.
_SAVED_BYTES: Final = 50_000


@dataclass(frozen=True, slots=True)
class Section:
    """A part of the page: the function that makes its JSON, and the names of the traits that it reads."""

    make: Callable[[PanelState, PanelActions], dict[str, Any]]
    reads: tuple[str, ...]


def _source(state: PanelState, _: PanelActions) -> dict[str, Any]:
    preview, refusal = state.preview, state.refused.get("mask", "")
    return {
        "name": "" if state.source is None else plain(state.source.name),
        "words": plain(state.preview_words),
        "size": None if state.sample is None else list(state.sample.size),
        "preview": "" if preview is None else preview.id,
        "loading": state.loading,
        # The notebook saves it.
        "typed": "" if may_hold_key(state.typed) else state.typed,
        "variables": list(state.variables),
        "variable": state.origin if state.origin in state.variables else "",
        "can_last": bool(state.nodes),
        "upload_max": UPLOAD_MAX_BYTES,
        "piece": PIECE_BYTES,
        "mask": {
            "allowed": not refusal,
            "why": refusal,
            "kept": None if state.mask is None else round(state.mask_share, 3),
            "preview": "" if state.mask_preview is None else state.mask_preview.id,
        },
    }


def _settings(state: PanelState, actions: PanelActions) -> dict[str, Any]:
    return {
        "fields": fields(state, actions.engines, is_fixed=actions.is_fixed),
        "titles": titles(state),
        "left_out": [plain(reason) for name, reason in state.refused.items() if name != "model"],
        "key": plain(state.key_origin) if state.hosted and not actions.is_fixed else "",
    }


def _run(state: PanelState, _: PanelActions) -> dict[str, Any]:
    why = "choose a picture first" if state.source is None else ""
    return {
        "status": state.status.value,
        "busy": state.busy,
        "can_run": state.can_run,
        "can_cancel": state.can_cancel,
        "why": "the picture is being read" if state.loading else why,
        "sends": plain(_sends(state)),
        "progress": round(state.progress, 3),
        "doing": plain(_doing(state)),
        "error": plain(state.error),
        "notice": plain(state.notice),
    }


def _sends(state: PanelState) -> str:
    """Return where Run will send the picture, before a person presses it; "" for an engine of this machine."""
    if not state.hosted or not state.can_run:
        return ""
    model = state.model or state.default_model
    return f"Run sends the picture to {state.destination or 'a server'}{f' (model {model})' if model else ''}"


def _doing(state: PanelState) -> str:
    if not state.busy or state.newest is None:
        return state.doing
    if not state.can_cancel:
        return "stopping"
    ready = f"{len(state.of_group(state.newest.id))} of {state.newest.expected} ready"
    # An engine that reports "1 of 4" itself would say it twice, and later.
    has_step = state.doing and not re.fullmatch(r"\d+ of \d+", state.doing)
    return f"{ready} · {state.doing}" if has_step else ready


def _gallery(state: PanelState, _: PanelActions) -> dict[str, Any]:
    groups, number = [], 0
    for group in state.groups:
        cards = [
            _card(state, card, number + place) for place, card in enumerate(_in_order(state, group), start=1)
        ]
        # Pictures to come are numbered too: the older cards keep their numbers while a run goes on.
        cards += _waiting(state, group, number)
        groups.append(
            {
                "id": group.id,
                "label": group.label,
                "running": group.run is None,
                "cards": cards,
            }
        )
        number += len(cards)
    return {
        "groups": groups,
        "sort": state.order,
        "words": state.chosen_words,
        "count": len(state.cards),
        "selected": len(state.selected),
        "can_bind": state.can_bind,
        "can_insert": state.can_insert,
        "can_vary": "strength" not in state.refused,
        "forms": _FORMS,
        "bind_name": "pictures",
    }


def _in_order(state: PanelState, group: Group) -> list[Card]:
    cards = state.of_group(group.id)
    if state.order == "similarity":
        return sorted(cards, key=lambda card: -1.0 if card.similar is None else -card.similar)
    return cards


def _card(state: PanelState, card: Card, number: int) -> dict[str, Any]:
    picture = card.picture
    return {
        "id": card.id,
        "number": number,
        "alt": plain(f"Variation {picture.index} of {picture.source.name}"),
        "words": plain(card.words),
        "similar": ""
        if card.similar is None
        else f"similar to the source: {card.similar:.0%}".replace("%", " %"),
        "how": _HOW,
        "starred": card.id in state.starred,
        "selected": card.id in state.selected,
        "ready": True,
        "size": list(picture.size),
        "fit": card.fit,
    }


def _waiting(state: PanelState, group: Group, number: int) -> list[dict[str, Any]]:
    """Return the cards of a running group that have no picture yet; the first of them may have a first look."""
    if group.run is not None:
        return []
    made = len(state.of_group(group.id))
    empty = {
        "words": "",
        "similar": "",
        "how": "",
        "starred": False,
        "selected": False,
        "ready": False,
        "size": None,
    }
    return [
        {
            "id": f"look:{group.id}:{index}",
            "number": number + index + 1,
            "alt": f"First look at picture {number + index + 1}",
            **empty,
        }
        for index in range(made, group.expected)
    ]


def _history(state: PanelState, _: PanelActions) -> dict[str, Any]:
    shown = state.result
    current = shown[0].path if shown else None
    return {
        "nodes": [
            {
                "index": index,
                "depth": node.depth,
                "label": plain(node.label),
                "current": current is not None and node.run[0].path == current,
                "details": [list(each) for each in details(node.run)],
            }
            for index, node in enumerate(state.nodes)
        ]
    }


def _code(state: PanelState, _: PanelActions) -> dict[str, Any]:
    return {"line": state.line, "call": state.call, "notes": list(state.code_notes)}


#: The sections by name. The notebook saves those of `SAVED`; it must not save the history, which has the names and
#: prompts of other notebooks' runs.
SECTIONS: Final[dict[str, Section]] = {
    "source": Section(
        _source,
        ("source", "preview", "preview_words", "loading", "typed", "variables", "origin", "nodes", "mask", "refused",
         "mask_preview"),
    ),
    "settings": Section(
        _settings,
        ("engine", "model", "n", "size", "fit", "strength", "seed", "seed_locked", "prompt", "options", "refused",
         "models", "other_models", "engine_options", "default_model", "sizes", "hosted", "api_base", "key_name",
         "key_origin", "max_retry_count", "timeout"),
    ),
    "run": Section(
        _run, ("status", "source", "loading", "progress", "doing", "error", "notice", "cards", "groups", "hosted",
               "destination", "model", "default_model")
    ),
    "gallery": Section(
        _gallery, ("groups", "cards", "selected", "starred", "order", "can_bind", "can_insert", "refused", "status"),
    ),
    "history": Section(_history, ("nodes", "groups")),
    "code": Section(_code, ("line", "call", "code_notes")),
}  # fmt: skip
SAVED: Final = ("source", "settings", "run", "gallery", "code")


def pictures(state: PanelState) -> list[Thumbnail]:
    """Return every picture that a section names."""
    others = [state.preview, state.mask_preview, state.look]
    return [*(card.thumbnail for card in state.cards), *(each for each in others if each is not None)]


def saved_thumbnails(state: PanelState) -> dict[str, bytes]:
    """Return the thumbnails that the notebook saves: the newest that are small enough together, never the source."""
    from ipy_imgvar.panel.cards import saved_copy

    saved: dict[str, bytes] = {}
    left = _SAVED_BYTES
    for group in state.groups:
        for card in state.of_group(group.id):
            data = saved_copy(card.thumbnail)
            left -= len(data)
            if left < 0:
                return saved
            saved[card.id] = data
    return saved
