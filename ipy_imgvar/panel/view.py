"""`VariationPanel`: the panel as one widget, made of the boxes beside this module, and its life in a notebook."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final
from uuid import uuid4

import ipywidgets as widgets
from IPython.core.getipython import get_ipython
from IPython.display import display

from ipy_imgvar.errors import ImageVariationError
from ipy_imgvar.panel.actions import PanelActions
from ipy_imgvar.panel.controls import SettingsBox, SourceBox, note, row
from ipy_imgvar.panel.results import GalleryBox, RecordBox, TakeBox
from ipy_imgvar.panel.state import PanelState
from ipy_imgvar.panel.style import HEAD, OFFLINE, ROOT
from ipy_imgvar.results.markup import escaped

if TYPE_CHECKING:
    from collections.abc import Callable

    from IPython.core.interactiveshell import InteractiveShell

    from ipy_imgvar.client import Client
    from ipy_imgvar.panel.job import Worker

__all__ = ["VariationPanel"]

#: What is true wherever the widgets are missing: in a terminal, in a notebook that is not trusted, in an exported page.
_FALLBACK: Final = (
    "VariationPanel: a panel of widgets, which are not shown here. To use it, run its cell in a notebook; the magic "
    "does the same job without widgets: %imagevariation photo.jpg -n 4"
)
#: The panels of each cell, with the cell's execution count: one that is run again closes those it made before.
_by_cell: dict[str, tuple[int, list[VariationPanel]]] = {}


class VariationPanel(widgets.VBox):
    """Variations by hand: choose a picture, run, look, take what you like.

    Show it like any other widget; `close()` ends its thread and takes it off the page.

    Parameters
    ----------
    image
        The first source: any kind of image that `Client.variations` takes, or None.
    client
        Makes the variations. None makes a client of the engine that is chosen in the panel.
    shell
        Whose variables are seen and bound; None takes the running IPython's.
    worker, loader
        Where runs and readings are executed; None gives each a thread of its own.
    **settings
        What the controls begin with: engine, model, n, size, fit, strength, seed, prompt, options.

    Raises
    ------
    InvalidRequestError
        For a setting that no request could have.
    """

    _closed = True  # until it is built

    def __init__(
        self,
        image: Any = None,
        client: Client | None = None,
        *,
        shell: InteractiveShell | None = None,
        worker: Worker | None = None,
        loader: Worker | None = None,
        **settings: Any,
    ) -> None:
        self._shell = shell or get_ipython()
        self._display_id = f"imgvar-{uuid4().hex}"
        self.state = PanelState()
        namespace = self._shell.user_ns if self._shell is not None else {}
        self.actions = PanelActions(self.state, namespace, client, worker, loader)
        self.state.restore(settings)
        super().__init__(self._build())
        self._closed = False
        self.add_class(ROOT)
        if self._shell is not None:
            self._shell.events.register("post_run_cell", self.actions.look_around)
            self._replace_earlier(self._shell)
        if image is not None:
            self.actions.use(image)

    def _build(self) -> list[Any]:
        state, actions = self.state, self.actions
        parts = (state, actions, self._guard)
        self.source, self.settings = SourceBox(*parts), SettingsBox(*parts)
        self.gallery, self.take, self.record = GalleryBox(*parts), TakeBox(*parts), RecordBox(*parts)
        self.run = widgets.Button(description="Run", button_style="primary", tooltip="Make the variations")
        self.cancel = widgets.Button(description="Cancel", tooltip="Stop; what is finished stays")
        self.progress = note("imgvar-progress")
        self.error, self.notice = note("imgvar-error"), note("imgvar-notice")
        self.run.on_click(self._guard(lambda _: actions.run()))
        self.cancel.on_click(self._guard(lambda _: actions.cancel()))
        state.observe(self._status_changed, ["status", "source", "loading"])
        state.observe(self._progress_changed, ["status", "progress", "doing"])
        state.observe(self._words_changed, ["error", "notice"])
        state.observe(self._inserted_changed, "inserted")
        self._status_changed()
        top = widgets.HBox([self.source.preview, widgets.VBox([self.source, self.settings])])
        top.add_class("imgvar-source")
        return [
            widgets.HTML(HEAD, layout=widgets.Layout(height="0", margin="0")),
            widgets.HTML(OFFLINE),
            top,
            row(self.run, self.cancel, self.progress),
            self.error,
            self.notice,
            self.gallery,
            self.take,
            self.record,
        ]

    def _guard(self, action: Callable[..., Any]) -> Callable[..., None]:
        """Return a handler that shows what goes wrong in the panel: a notebook shows nothing of it."""

        def handler(*arguments: Any) -> None:
            try:
                action(*arguments)
            except Exception as exc:  # noqa: BLE001
                ours = isinstance(exc, ImageVariationError)
                self.state.error = str(exc) if ours else f"{type(exc).__name__}: {exc}"

        return handler

    def _status_changed(self, _: Any = None) -> None:
        state = self.state
        self.run.disabled = not state.can_run
        self.cancel.disabled = not state.can_cancel

    def _progress_changed(self, _: Any = None) -> None:
        state = self.state
        self.progress.value = (
            f'<progress value="{state.progress:.3f}" max="1" aria-label="progress of the run"></progress> '
            f"{state.progress:.0%} {escaped(state.doing)}"
            if state.busy
            else ""
        )

    def _words_changed(self, _: Any = None) -> None:
        for element, text, role in (
            (self.error, self.state.error, "alert"),
            (self.notice, self.state.notice, "status"),
        ):
            element.value = f'<div role="{role}">{escaped(text)}</div>' if text else ""

    def _inserted_changed(self, _: Any = None) -> None:
        # An output that has a display id can be changed from anywhere; a new one would be lost in a handler.
        display(self.actions.inserted_bundle(), raw=True, display_id=self._display_id, update=True)

    def __repr__(self) -> str:
        return f"<VariationPanel: {'closed' if self._closed else self.state.status.value}>"

    def _repr_mimebundle_(self, **kwargs: Any) -> Any:
        bundle = super()._repr_mimebundle_(**kwargs) or {}
        return {**bundle, "text/plain": _FALLBACK}

    def _ipython_display_(self) -> None:
        if self._closed:
            display({"text/plain": "VariationPanel: closed"}, raw=True)
            return
        display(self._repr_mimebundle_(), raw=True)
        if getattr(self._shell, "kernel", None) is not None:
            # Below the panel, an output that stays when the notebook is saved: empty until something is inserted.
            display(self.actions.inserted_bundle(), raw=True, display_id=self._display_id)
            self.state.can_insert = True

    def _replace_earlier(self, shell: Any) -> None:
        parent = shell.get_parent() if hasattr(shell, "get_parent") else {}
        cell = (parent.get("metadata") or {}).get("cellId")
        if not cell:
            return
        count, panels = _by_cell.get(cell, (shell.execution_count, []))
        if count != shell.execution_count:
            for panel in list(panels):
                panel.close()
            panels = []
        _by_cell[cell] = (shell.execution_count, [*panels, self])

    def close(self) -> None:
        """End what runs, free the widgets and take the panel off the page; it may be called more than once."""
        if self._closed:
            return
        self._closed = True
        self.actions.close()
        self.state.unobserve_all()
        if self._shell is not None:
            self._shell.events.unregister("post_run_cell", self.actions.look_around)
        for entry in [key for key, (_, panels) in _by_cell.items() if self in panels]:
            _by_cell[entry][1].remove(self)
        for widget in [
            *_descendants(self),
            *(each for card in self.gallery.spare for each in _descendants(card)),
        ]:
            if widget is not self:
                widget.close()
        super().close()


def _descendants(widget: Any) -> list[Any]:
    """Return a widget, all below it, and the layouts and styles of each."""
    found = [widget]
    for child in getattr(widget, "children", ()):
        found += _descendants(child)
    return found + [part for name in ("layout", "style") if (part := getattr(widget, name, None)) is not None]
