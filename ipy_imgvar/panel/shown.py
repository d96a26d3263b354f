"""A panel's place in a notebook: its cell, the output below it, and the line for a page that does not draw it."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, Final, Protocol
from uuid import uuid4

from IPython.display import display

from ipy_imgvar.panel.job import after
from ipy_imgvar.results.markup import escaped

if TYPE_CHECKING:
    from ipy_imgvar.panel.actions import PanelActions

__all__ = ["FALLBACK", "NOT_DRAWN", "Place"]

#: The text in place of the widget: in a terminal, in a notebook that is not trusted, in an exported page.
FALLBACK: Final = (
    "VariationPanel: a panel of widgets, which are not shown here. To use it, run its cell in a notebook; the magic "
    "does the same job without widgets: %imagevariation photo.jpg -n 4"
)
#: The line below a panel that no front end has drawn.
NOT_DRAWN: Final = (
    "VariationPanel: if no panel is shown above, the notebook's server lacks the package anywidget. Install it there "
    "(pip install anywidget) and reload the page, or use the basic view: %imagevariation --panel --basic"
)
#: That line on Google Colab, whose own widget manager loads the front end of anywidget from the network.
NOT_DRAWN_ON_COLAB: Final = (
    "VariationPanel: if no panel is shown above, Colab could not load its widget from the network. Run the cell again, "
    "or use the basic view: %imagevariation --panel --basic"
)
#: Seconds after the end of the cell in which a front end says that it has drawn the panel.
_PATIENCE_S: Final = 4.0
#: The panels of each cell by its id, with its execution count: a cell that runs again closes its earlier panels.
_by_cell: dict[str, tuple[int, list[Closable]]] = {}


class Closable(Protocol):
    """A panel."""

    def close(self) -> None:
        """End it."""


class Place:
    """A panel's place in a notebook.

    Parameters
    ----------
    panel
        The panel, which a later execution of its cell closes.
    shell
        The running IPython, or None.
    actions
        The panel's actions; they look at the notebook's variables after each cell.
    needs_answer
        The front end says when it has drawn the panel; else a line says what to do.
    """

    def __init__(self, panel: Closable, shell: Any, actions: PanelActions, *, needs_answer: bool) -> None:
        self._panel, self._shell, self._actions = panel, shell, actions
        self._display_id = f"imgvar-{uuid4().hex}"
        self._is_drawn = not needs_answer
        self._is_shown = self._is_closed = False
        if shell is not None:
            shell.events.register("post_run_cell", self._after_cell)
            self._replace_earlier()

    def show(self, bundle: Any, metadata: Any = None) -> None:
        """Display a panel's MIME bundle, with an output below it that the saved notebook keeps."""
        if self._is_closed:
            _output({"text/plain": "VariationPanel: closed"})
            return
        _output(bundle, metadata=metadata)
        if getattr(self._shell, "kernel", None) is not None:
            # Empty until a picture is inserted.
            _output(self._actions.inserted_bundle(), self._display_id)
            self._actions.state.can_insert = self._is_shown = True
            self._actions.state.observe(self._inserted, "inserted")

    def drawn(self) -> None:
        """Note that a front end has drawn the panel, and remove the line that said otherwise."""
        was_drawn, self._is_drawn = self._is_drawn, True
        if self._is_shown and not was_drawn:
            self._inserted()

    def _after_cell(self, result: Any = None) -> None:
        self._actions.look_around(result)
        if self._is_shown and not self._is_drawn:
            after(_PATIENCE_S, self._say_what_to_do)

    def _say_what_to_do(self) -> None:
        if not self._is_drawn and not self._is_closed and not self._actions.state.inserted:
            text = NOT_DRAWN_ON_COLAB if "google.colab" in sys.modules else NOT_DRAWN
            line = {"text/html": f"<div>{escaped(text)}</div>", "text/plain": text}
            _output(line, self._display_id, update=True)

    def _inserted(self, _: Any = None) -> None:
        # Updated by its display id, since a front end drops a new output of a widget's handler.
        _output(self._actions.inserted_bundle(), self._display_id, update=True)

    def _replace_earlier(self) -> None:
        """Close the panels of this cell's earlier executions."""
        # Front ends without cell ids, and terminals, close nothing.
        parent = self._shell.get_parent() if hasattr(self._shell, "get_parent") else {}
        cell = (parent.get("metadata") or {}).get("cellId")
        if not cell:
            return
        count, panels = _by_cell.get(cell, (self._shell.execution_count, []))
        if count != self._shell.execution_count:
            for panel in list(panels):
                panel.close()
            panels = []
        _by_cell[cell] = (self._shell.execution_count, [*panels, self._panel])

    def close(self) -> None:
        """Leave the notebook; call it once."""
        self._is_closed = True
        if self._shell is not None:
            self._shell.events.unregister("post_run_cell", self._after_cell)
        for _, panels in _by_cell.values():
            if self._panel in panels:
                panels.remove(self._panel)


def _output(
    bundle: Any, display_id: str | None = None, *, update: bool = False, metadata: Any = None
) -> None:
    """Display a MIME bundle as an output, or put it in place of the output with an id."""
    display(bundle, raw=True, display_id=display_id, update=update, metadata=metadata)  # type: ignore[no-untyped-call]
