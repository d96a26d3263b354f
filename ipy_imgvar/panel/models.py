"""The list of an engine's models, with one line on each. Widgets only."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import ipywidgets as widgets

from ipy_imgvar.plain import plain

if TYPE_CHECKING:
    from collections.abc import Callable

    from ipy_imgvar.panel.state import PanelState

    #: Turns an action into a widget's handler, which shows the action's exception in the panel.
    Guard = Callable[[Callable[..., Any]], Callable[..., None]]

__all__ = ["ModelList"]

#: Models from which there is a choice.
_SEVERAL: Final = 2


class ModelList(widgets.Dropdown):
    """A list of the engine's models; hidden where there is no choice.

    It shows nothing for a model that a person typed and that is not in the list.
    """

    def __init__(self, state: PanelState, guard: Guard) -> None:
        layout = widgets.Layout(width="640px", max_width="100%", margin="0")
        super().__init__(description="Models", style={"description_width": "initial"}, layout=layout)
        self._state = state
        self._names = {""}
        self.observe(guard(self._chosen), "value")
        state.observe(self._rebuild, ["models", "model_notes", "default_model"])
        state.observe(self._shown, "model")
        self._rebuild()

    def _chosen(self, change: Any) -> None:
        if change["new"] is not None:
            self._state.model = change["new"]

    def _shown(self, _: Any = None) -> None:
        self.value = self._state.model if self._state.model in self._names else None

    def _rebuild(self, _: Any = None) -> None:
        default = self._state.default_model
        # An engine that chooses by the machine names no model here.
        first = f"the engine's default{f': {plain(default)}' if default in self._state.models else ''}"
        lines = [(self._line(name), name) for name in dict.fromkeys(self._state.models)]
        self.value = None  # With a value, new options would choose their first.
        self.options, self._names = [(first, ""), *lines], {"", *self._state.models}
        self._shown()
        self.layout.display = None if len(lines) >= _SEVERAL else "none"

    def _line(self, name: str) -> str:
        note = self._state.model_notes.get(name)
        return plain(f"{name}: {note}" if note else name)
