"""`BasicPanel`: the panel in core widgets alone, for a notebook whose server lacks the front end of anywidget.

It shows the sections of `view`, over the same state and actions, in fewer controls. ipywidgets 7.7 and 8 both do.
"""

from __future__ import annotations

import threading
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import ipywidgets as widgets
from IPython.core.getipython import get_ipython
from traitlets import dlink

from ipy_imgvar.images import codec
from ipy_imgvar.panel.actions import PanelActions
from ipy_imgvar.panel.shown import FALLBACK, Place
from ipy_imgvar.panel.sources import message
from ipy_imgvar.panel.state import PanelState, Thumbnail
from ipy_imgvar.panel.view import SECTIONS
from ipy_imgvar.request import STRENGTHS
from ipy_imgvar.results.markup import embedded, escaped, figure

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["BasicPanel"]

_FIELDS: Final = ("engine", "n", "strength", "seed", "seed_locked")
_ROW: Final = "display:flex;flex-wrap:wrap;gap:8px"


class BasicPanel(widgets.VBox):
    """Variations by hand, in few controls; `VariationPanel(basic=True)` makes it, with the other arguments."""

    _closed = True  # until `__init__` ends, so that a failure there leaves nothing to close

    def __init__(self, image: Any = None, client: Any = None, **more: Any) -> None:
        shell, worker, loader = (more.pop(name, None) for name in ("shell", "worker", "loader"))
        shell = shell or get_ipython()
        self.state = PanelState(can_bind=shell is not None)
        self.actions = PanelActions(
            self.state, {} if shell is None else shell.user_ns, client, worker, loader
        )
        self.state.restore(more)
        # The run's thread draws, too; what a control gets from the thread that draws is not a person's choice.
        self._lock = threading.RLock()
        self._drawer: int | None = None
        super().__init__(self._build())
        self._closed = False
        self._listen()
        for name in ("source", "settings", "run", "gallery"):
            self._draw(name)
            self.state.observe(partial(self._draw, name), list(SECTIONS[name].reads))
        self._place = Place(self, shell, self.actions, needs_answer=False)
        if image is not None:
            self.actions.use(image)

    def _build(self) -> list[Any]:
        """Make the controls, and return them in rows."""
        # A layout is a model of its own, so they share one.
        wrap = widgets.Layout(flex_flow="row wrap", align_items="center")
        self.path = widgets.Text(description="Path or URL", continuous_update=False)
        self.variable = widgets.Dropdown(description="Variable", options=[("", "")])
        self.upload = widgets.FileUpload(description="Upload to 10 MB", accept="image/*")
        self.upload.layout.width = "auto"
        self.upload.tooltip = "Jupyter drops a larger one without a word, so type its path"  # no trait in 7
        self.engine = widgets.Dropdown(description="Engine", options=self.actions.engines)
        self.n = widgets.BoundedIntText(description="Pictures", min=1, max=10)
        self.strength = widgets.Dropdown(description="Strength")
        self.seed = widgets.Text(description="Seed", continuous_update=False)
        self.seed_locked = widgets.Checkbox(description="Keep seed", indent=False)
        self.run = widgets.Button(description="Run", button_style="primary", tooltip="Make the variations")
        self.cancel = widgets.Button(description="Cancel", tooltip="Stop; what is finished stays")
        self.name = widgets.Text(description="Bind to", value="pictures")
        self.bind = widgets.Button(tooltip="Bind the pictures, as PIL images, to this variable")
        self.where = widgets.Text(description="Save to", placeholder="a folder, or out/{stem}-{i}.png")
        self.save = widgets.Button(tooltip="Write the pictures to files")
        self.source, self.progress, self.said, self.pictures = (widgets.HTML(layout=wrap) for _ in range(4))
        rows = (
            (self.path, self.variable, self.upload),
            (self.engine, self.n, self.strength, self.seed, self.seed_locked),
            (self.run, self.cancel, self.progress),
            (self.name, self.bind, self.where, self.save),
        )
        source, settings, run, take = (widgets.HBox(row, layout=wrap) for row in rows)
        return [source, self.source, settings, run, self.said, self.pictures, take]

    def _listen(self) -> None:
        chosen = [(self.path, self.actions.type_source), (self.variable, self.actions.pick_variable)]
        chosen += [(getattr(self, name), partial(self.actions.set_field, name)) for name in _FIELDS]
        for control, action in [*chosen, (self.upload, self._uploaded)]:
            control.observe(partial(self._changed, action), "value")
        self.run.on_click(lambda _: self._do(self.actions.run))
        self.cancel.on_click(lambda _: self._do(self.actions.cancel))
        self.bind.on_click(lambda _: self._do(self.actions.bind, self.name.value, "image"))
        self.save.on_click(lambda _: self._do(self.actions.save, self.where.value))
        dlink((self.state, "typed"), (self.path, "value"))

    def _changed(self, action: Callable[[Any], object], change: Any) -> None:
        self._do(action, change["new"])

    def _do(self, action: Callable[..., object], *arguments: Any) -> None:
        """Call an action that a person chose, and show its exception, which a notebook hides, and what still holds."""
        if self._drawer == threading.get_ident():
            return
        try:
            action(*arguments)
        except Exception as exc:  # noqa: BLE001
            self.state.error = message(exc)
            self._draw("source")
            self._draw("settings")

    def _uploaded(self, files: Any) -> None:
        """Take the file, and empty the control, since the notebook would save the picture."""
        if isinstance(files, dict):  # ipywidgets 7
            files = [{"name": name, **file} for name, file in files.items()]
            self.upload.data = self.upload.metadata = []
            self.upload._counter = 0  # noqa: SLF001 - its change empties the value
        else:
            self.upload.value = ()
        for file in files:
            self.actions.upload(file["name"], bytes(file["content"]))

    def _draw(self, name: str, _: Any = None) -> None:
        with self._lock:
            self._drawer = threading.get_ident()
            try:
                getattr(self, f"_draw_{name}")(SECTIONS[name].make(self.state, self.actions))
            finally:
                self._drawer = None

    def _draw_source(self, section: dict[str, Any]) -> None:
        self.variable.options = [("", ""), *((name, name) for name in section["variables"])]
        self.variable.value = section["variable"]
        self.source.value = _image(self.state.preview, "The source", section["words"])

    def _draw_settings(self, _: dict[str, Any]) -> None:
        state = self.state
        other = [] if state.strength in STRENGTHS.values() else [(f"{state.strength:g}", state.strength)]
        self.strength.options = [*STRENGTHS.items(), *other]
        for name in _FIELDS:
            control = getattr(self, name)
            control.value, control.disabled = getattr(state, name), name in state.refused

    def _draw_run(self, section: dict[str, Any]) -> None:
        self.run.disabled, self.cancel.disabled = not section["can_run"], not section["can_cancel"]
        bar = f'<progress value="{section["progress"]}" max="1" aria-label="progress of the run"></progress> '
        self.progress.value = (bar if section["busy"] else "") + escaped(section["doing"] or section["why"])
        lines = (("alert", section["error"]), ("status", section["notice"]))
        self.said.value = "".join(f'<div role="{role}">{escaped(text)}</div>' for role, text in lines)

    def _draw_gallery(self, section: dict[str, Any]) -> None:
        images = {card.id: card.thumbnail for card in self.state.cards}
        parts = []
        for group in section["groups"][:2]:  # the newest run and, until its pictures come, the one before
            shown = (
                _image(images[card["id"]], card["alt"], card["words"], card["similar"])
                for card in group["cards"]
                if card["ready"]
            )
            parts.append(f'<div>{escaped(group["label"])}</div><div style="{_ROW}">{"".join(shown)}</div>')
        self.pictures.value = "".join(parts)
        for button, verb in ((self.bind, "Bind"), (self.save, "Save")):
            button.disabled = not section["count"]
            button.description = f"{verb} {section['words']}" if section["count"] else verb

    def __repr__(self) -> str:
        return f"<VariationPanel: {'closed' if self._closed else self.state.status.value}>"

    def _ipython_display_(self, **_: Any) -> None:
        view = {"version_major": 2, "version_minor": 0, "model_id": getattr(self.comm, "comm_id", "")}
        self._place.show({"text/plain": FALLBACK, "application/vnd.jupyter.widget-view+json": view})

    def close(self) -> None:
        """End the tasks, free the widgets and remove the panel from the page; safe to call twice."""
        if not self._closed:
            self._closed = True
            self.actions.close()
            self.state.unobserve_all()
            self._place.close()
            for widget in _parts(self)[1:]:
                widget.close()
            super().close()


def _parts(widget: Any) -> list[Any]:
    """Return a widget and all below it, each with its layout and style, which are models, too."""
    below = [part for child in getattr(widget, "children", ()) for part in _parts(child)]
    own = [getattr(widget, name) for name in ("layout", "style") if widget.has_trait(name)]
    return [widget, *below, *own]


def _image(thumbnail: Thumbnail | None, alt: str, *words: str) -> str:
    caption = " · ".join(filter(None, words))
    if thumbnail is None:
        return figure("", caption)
    _, size = codec.probe(thumbnail.data, "the thumbnail")
    return figure(embedded((thumbnail.data, thumbnail.mime_type, size), alt), caption)
