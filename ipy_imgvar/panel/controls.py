"""The upper half of the panel: the controls of the source and of the settings. Widgets only."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import ipywidgets as widgets
from traitlets import link

from ipy_imgvar.panel.models import ModelList
from ipy_imgvar.panel.options import OptionsBox
from ipy_imgvar.panel.sources import UPLOAD_MAX_BYTES
from ipy_imgvar.request import FITS, STRENGTHS
from ipy_imgvar.results.markup import escaped

if TYPE_CHECKING:
    from collections.abc import Callable

    from ipy_imgvar.panel.actions import PanelActions
    from ipy_imgvar.panel.state import PanelState

    #: Turns an action into a widget's handler, which shows the action's exception in the panel.
    Guard = Callable[[Callable[..., Any]], Callable[..., None]]

__all__ = ["SettingsBox", "SourceBox", "note", "row"]

_LABEL = {"description_width": "initial"}


def row(*children: Any) -> Any:
    """Return a row of widgets that wraps on a narrow page."""
    box = widgets.HBox(children)
    box.add_class("imgvar-row")
    return box


def note(css_class: str, value: str = "") -> Any:
    """Return an HTML widget with a CSS class."""
    element = widgets.HTML(value)
    element.add_class(css_class)
    return element


def _field(kind: Any, description: str, width: str, **more: Any) -> Any:
    layout = widgets.Layout(width=width, max_width="100%")
    return kind(description=description, style=_LABEL, layout=layout, **more)


class SourceBox(widgets.VBox):
    """The controls of the source: upload, path, variable and last result; `preview` shows the source for the engine."""

    def __init__(self, state: PanelState, actions: PanelActions, guard: Guard) -> None:
        self._state, self._actions = state, actions
        limit = f"up to {UPLOAD_MAX_BYTES / 1e6:.0f} MB; for a larger one type its path"
        self.upload = widgets.FileUpload(
            accept="image/*",
            multiple=False,
            description="Upload a picture",
            tooltip=f"Upload a picture, {limit}",
        )
        self.upload.add_class("imgvar-upload")
        self.path = _field(
            widgets.Text, "Path or URL", "380px", placeholder="photo.jpg, then Enter", continuous_update=False
        )
        self.variable = _field(widgets.Dropdown, "Variable", "240px", options=[("", "")])
        self.last = widgets.Button(description="Last result", tooltip="Take the newest picture that was made")
        self.preview = note("imgvar-drop")
        self.upload.observe(guard(self._uploaded), "value")
        self.path.observe(guard(lambda change: actions.type_source(change["new"])), "value")
        self.variable.observe(guard(self._picked), "value")
        self.last.on_click(guard(lambda _: actions.use_last()))
        state.observe(self._variables_changed, "variables")
        state.observe(self._preview_changed, ["preview", "loading"])
        state.observe(self._source_changed, "source")
        hint = note("imgvar-hint", f"Upload or drop: {limit}.")
        super().__init__([row(self.upload, self.last, hint), row(self.path, self.variable)])
        self._variables_changed()
        self._preview_changed()

    def _uploaded(self, change: Any) -> None:
        files = change["new"]
        if files:
            name, content = files[0]["name"], bytes(files[0]["content"])
            # Emptied, since the notebook would save the file, and the same file again would give no event.
            self.upload.value = ()
            self._actions.upload(name, content)

    def _picked(self, change: Any) -> None:
        if change["new"] and change["new"] in self._state.variables:
            self._actions.pick_variable(change["new"])

    def _source_changed(self, _: Any = None) -> None:
        # Reset, since a field that still shows its old value gives no event if a person chooses that again.
        self.path.value = self._state.typed
        self.variable.value = self._state.origin if self._state.origin in self._state.variables else ""

    def _variables_changed(self, _: Any = None) -> None:
        names = self._state.variables
        chosen = self.variable.value if self.variable.value in names else ""
        first = "pick one" if names else "none holds an image"
        with self.variable.hold_trait_notifications():
            self.variable.options = [(first, ""), *((name, name) for name in names)]
            self.variable.value = chosen

    def _preview_changed(self, _: Any = None) -> None:
        waiting = "Reading ..." if self._state.loading else ""
        self.preview.value = waiting or self._state.preview or "No source yet. Drop a picture here."


class SettingsBox(widgets.VBox):
    """The controls of engine, model, number, size, fit, strength, seed, prompt, key and the engine's own options."""

    def __init__(self, state: PanelState, actions: PanelActions, guard: Guard) -> None:
        self._state = state
        self._make(actions.engines)
        self.origin = note("imgvar-hint")
        plain = {"model": self.model, "n": self.n, "size": self.size, "fit": self.fit, "prompt": self.prompt}
        linked = {**plain, "engine": self.engine, "strength": self.strength}
        self._links = [link((state, name), (control, "value")) for name, control in linked.items()]
        self._links.append(link((state, "seed_locked"), (self.keep, "value")))
        self.word.observe(guard(self._worded), "value")
        self.seed.observe(guard(lambda change: actions.type_seed(change["new"])), "value")
        self.key.observe(guard(self._named), "value")
        self._actions = actions
        self.models, self.options = ModelList(state, guard), OptionsBox(state, guard)
        state.observe(
            self._shown,
            [
                "strength",
                "seed",
                "refused",
                "models",
                "other_models",
                "default_model",
                "key_name",
                "key_origin",
            ],
        )
        super().__init__(
            [
                row(self.engine, self.model, self.n, self.size, self.fit),
                self.models,
                row(self.strength, self.word),
                row(self.seed, self.keep, self.key, self.origin),
                self.prompt,
                self.options,
            ]
        )
        self._shown()

    def _make(self, engines: list[str]) -> None:
        """Make the controls with their labels."""
        self.engine = _field(widgets.Dropdown, "Engine", "140px", options=engines)
        self.model = _field(widgets.Combobox, "Model", "180px", continuous_update=False)
        self.n = _field(widgets.BoundedIntText, "Pictures", "110px", min=1, max=10)
        self.size = _field(
            widgets.Combobox, "Size", "150px", options=["256x256", "512x512", "1024x1024"],
            continuous_update=False,
        )  # fmt: skip
        self.fit = _field(widgets.Dropdown, "Fit", "110px", options=list(FITS))
        self.strength = _field(
            widgets.FloatSlider, "Strength", "300px", min=0, max=1, step=0.01, readout_format=".2f"
        )
        self.word = widgets.ToggleButtons(
            options=list(STRENGTHS),
            value=None,
            tooltips=[f"strength {value:g}" for value in STRENGTHS.values()],
        )
        self.word.style.button_width = "auto"
        self.seed = _field(
            widgets.Text, "Seed", "200px", placeholder="drawn for each run", continuous_update=False
        )
        self.keep = widgets.Checkbox(
            description="Keep seed", indent=False, layout=widgets.Layout(width="auto")
        )
        self.prompt = _field(widgets.Textarea, "Prompt", "640px", rows=2, continuous_update=False)
        self.key = _field(widgets.Text, "Key is in variable", "300px", continuous_update=False)
        self.key.tooltip = "The name of a variable that holds the key, never the key"

    def _worded(self, change: Any) -> None:
        if change["new"]:
            self._actions.choose_strength(change["new"])

    def _named(self, change: Any) -> None:
        try:
            self._actions.name_key(change["new"])
        finally:
            self.key.value = self._state.key_name

    def _shown(self, _: Any = None) -> None:
        state = self._state
        self.word.value = state.strength_word
        self.seed.value = state.seed
        self.key.value = state.key_name
        self.origin.value = escaped(state.key_origin)
        for name, control in (("model", self.model), ("prompt", self.prompt), ("seed", self.seed)):
            reason = state.refused.get(name, "")
            control.disabled = bool(reason)
            control.tooltip = reason or None
        self.keep.disabled = "seed" in state.refused
        self.strength.disabled = self.word.disabled = "strength" in state.refused
        self.model.options = state.models
        # The list has them all.
        self.model.layout.display = None if state.other_models or len(state.models) < 2 else "none"  # noqa: PLR2004
        self.model.placeholder = state.default_model
        self.prompt.placeholder = state.refused.get("prompt", "what to make of it")

    def close(self) -> None:
        """Stop following the state."""
        for each in self._links:
            each.unlink()
        self._links = []
        super().close()
