"""The controls of an engine's own options, made from its `Capabilities`. Widgets only."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import ipywidgets as widgets

from ipy_imgvar.capabilities import option_value
from ipy_imgvar.errors import InvalidRequestError
from ipy_imgvar.plain import plain

if TYPE_CHECKING:
    from collections.abc import Callable

    from ipy_imgvar.engine import EngineOption
    from ipy_imgvar.panel.state import PanelState

    #: Turns an action into a widget's handler, which shows the action's exception in the panel.
    Guard = Callable[[Callable[..., Any]], Callable[..., None]]

__all__ = ["OptionsBox"]

_LABEL = {"description_width": "initial"}


class OptionsBox(widgets.HBox):
    """The controls of the engine's options; the state's `options` holds only the values that differ from defaults."""

    def __init__(self, state: PanelState, guard: Guard) -> None:
        self._state, self._guard = state, guard
        #: The controls by option name.
        self.controls: dict[str, Any] = {}
        super().__init__()
        self.add_class("imgvar-row")
        state.observe(self._rebuild, "engine_options")
        state.observe(self._shown, "options")
        self._rebuild()

    def _rebuild(self, _: Any = None) -> None:
        earlier = list(self.controls.values())
        options = {option.name: option for option in self._state.engine_options}
        self.controls = {name: _control(option) for name, option in options.items()}
        # Set before they are observed, so that a default does not count as a choice.
        self._shown()
        for name, control in self.controls.items():
            control.observe(self._guard(partial(self._changed, options[name])), "value")
        self.children = tuple(self.controls.values())
        self.layout.display = None if self.controls else "none"
        for control in earlier:
            control.close()

    def _changed(self, option: EngineOption, change: Any) -> None:
        try:
            value = option_value(option, change["new"]) if change["new"] not in ("", None) else None
        except InvalidRequestError:
            self._shown()
            raise
        others = {name: each for name, each in self._state.options.items() if name != option.name}
        is_default = value is None or value == option.default
        self._state.options = others if is_default else {**others, option.name: value}

    def _shown(self, _: Any = None) -> None:
        for option in self._state.engine_options:
            value = self._state.options.get(option.name, option.default)
            try:
                value = value if value is None else option_value(option, value)
            except InvalidRequestError:  # A line with --panel may have set it; the run reports the mistake.
                value = option.default
            control = self.controls[option.name]
            if isinstance(control, widgets.Text):
                control.value = "" if value is None else str(value)
            elif isinstance(control, widgets.Checkbox):
                control.value = bool(value)
            else:
                control.value = value


def _control(option: EngineOption) -> Any:
    """Return the control that fits an option."""
    words = {"description": plain(option.name), "style": _LABEL, "tooltip": plain(option.help)}
    layout = widgets.Layout(width="auto", max_width="100%")
    if option.type is bool:
        return widgets.Checkbox(**words, indent=False, layout=layout)
    if option.choices:
        unset = [] if option.default in option.choices else [("default", None)]
        return widgets.Dropdown(
            **words, options=[*unset, *((each, each) for each in option.choices)], layout=layout
        )
    if option.type in (int, float) and option.range is not None and option.default is not None:
        kind = widgets.BoundedIntText if option.type is int else widgets.BoundedFloatText
        return kind(**words, min=option.range[0], max=option.range[1], value=option.default, layout=layout)
    return widgets.Text(**words, placeholder=option.allowed, continuous_update=False, layout=layout)
