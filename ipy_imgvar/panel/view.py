"""`VariationPanel`: the widget that joins the panel's boxes, with its start and end in a notebook."""

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

#: The text in place of the widgets: in a terminal, in a notebook that is not trusted, in an exported page.
_FALLBACK: Final = (
    "VariationPanel: a panel of widgets, which are not shown here. To use it, run its cell in a notebook; the magic "
    "does the same job without widgets: %imagevariation photo.jpg -n 4"
)
#: The panels of each cell by its id, with its execution count: a cell that runs again closes its earlier panels.
_by_cell: dict[str, tuple[int, list[VariationPanel]]] = {}


class VariationPanel(widgets.VBox):
    """Variations by hand: choose a picture, run, look, take what you like.

    Show it like any other widget; `close()` ends its tasks and removes it from the page.

    Parameters
    ----------
    image
        The first source: any kind of image that `Client.variations` takes, or None.
    client
        The client of all runs; None makes a client with the engine that the panel's control names.
    shell
        The shell whose variables the panel lists and binds; None takes the running IPython.
    worker, loader
        Threads for runs, and for reading sources and earlier runs; None makes new ones.
    **settings
        The first values of the controls: engine, model, n, size, fit, strength, seed, prompt, options.

    Raises
    ------
    InvalidRequestError
        For a setting that no request can have.
    """

    _closed = True  # until `__init__` ends, so that a failure there leaves nothing to close

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
        """Return a handler that shows the action's exception in the panel, since a notebook hides it."""

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
        # Updated by its display id, since a front end drops a new output of a widget's handler.
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
            # An output below the panel, which the saved notebook keeps; empty until a picture is inserted.
            display(self.actions.inserted_bundle(), raw=True, display_id=self._display_id)
            self.state.can_insert = True

    def _replace_earlier(self, shell: Any) -> None:
        """Close the panels of this cell's earlier executions."""
        # Front ends without cell ids, and terminals, close nothing.
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
        """End the tasks, free the widgets and remove the panel from the page; safe to call twice."""
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
    """Return a widget and all its descendants, each with its layout and style, which are widgets too."""
    widgets_below = [widget]
    for child in getattr(widget, "children", ()):
        widgets_below += _descendants(child)
    return widgets_below + [
        part for name in ("layout", "style") if (part := getattr(widget, name, None)) is not None
    ]
