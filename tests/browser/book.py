"""A notebook that is open in the browser, and the panel in it, driven as a person drives them."""

from __future__ import annotations

import ast
import json
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import urlsplit

import nbformat
from lab import NOISE, wait_until
from panelpage import Panel

#: The notebook's document in the page, in JupyterLab and in Notebook 7.
_DOCUMENT = "jupyterapp.shell.currentWidget"


class Notebook:
    """A page of JupyterLab (`app` "lab") or Notebook 7 ("notebook") with one notebook and its kernel."""

    def __init__(self, server, page, cells, name, app="lab"):
        self.server, self.page, self.app = server, page, app
        self.path = server.root / name
        self.errors, self.foreign = [], []
        page.on("console", self._heard)
        page.on("pageerror", lambda error: self._failed(f"{error} {error.stack}"))
        page.context.on("request", lambda request: self._asked(request.url))
        page.on("websocket", lambda socket: self._asked(socket.url))
        book = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
        book.metadata["kernelspec"] = {"name": "python3", "display_name": "tested", "language": "python"}
        nbformat.write(book, self.path)
        place = f"lab/workspaces/{name[:-6]}/tree" if app == "lab" else "notebooks"
        page.goto(f"{server.base}/{place}/{name}?token={server.token}", timeout=120_000)
        self.ready()

    def _heard(self, message):
        if message.type == "error":
            self._failed(f"{message.text} {(message.location or {}).get('url', '')}")

    def _failed(self, text):
        if not NOISE.search(text):
            self.errors.append(text)

    def _asked(self, url):
        """Note a request that would leave the machine."""
        parts = urlsplit(url)
        if parts.scheme not in ("blob", "data") and parts.hostname != "127.0.0.1":
            self.foreign.append(url)

    def wait(self, condition, what, timeout_s=60.0):
        """Wait while the page goes on."""
        pause = lambda seconds: self.page.wait_for_timeout(seconds * 1000)  # noqa: E731
        return wait_until(condition, what, timeout_s, pause)

    def run(self, script, argument=None):
        """Run a script in the page, with `p` for the notebook's document and `a` for the argument."""
        return self.page.evaluate(f"async (a) => {{ const p = {_DOCUMENT}; {script} }}", argument)

    def ready(self):
        """Wait for the notebook and its kernel."""
        self.page.wait_for_function(
            f"() => window.jupyterapp?.shell && {_DOCUMENT}?.sessionContext", timeout=120_000
        )
        self.run("await jupyterapp.restored; await p.context.ready; await p.sessionContext.ready;")
        if self.app == "lab":
            self.run(
                "if (!jupyterapp.shell.leftCollapsed)"
                " await jupyterapp.commands.execute('application:toggle-left-area');"
            )
        self.wait(lambda: self.kernel() in ("idle", "busy"), "the kernel to start", 120)

    def kernel(self):
        """Return the kernel's status."""
        return self.run("return p.sessionContext.session?.kernel?.status")

    def restart(self):
        """Restart the kernel, as the button of the page does after its question."""
        self.run("await p.sessionContext.restartKernel();")
        self.wait(lambda: self.kernel() == "idle", "the new kernel")

    def use_theme(self, theme):
        """Change the colours of this page."""
        self.run("await jupyterapp.commands.execute('apputils:change-theme', {theme: a});", theme)
        dark = str("Light" in theme).lower()
        self.wait(lambda: self.page.locator(f"body[data-jp-theme-light={dark}]").count(), theme)

    def cells(self, *sources):
        """Put these cells in the place of all others."""
        self.run(
            "const m = p.content.model.sharedModel; m.deleteCellRange(0, m.cells.length);"
            " m.insertCells(0, a.map((s) => ({cell_type: 'code', source: s, metadata: {}})));",
            list(sources),
        )

    def run_cell(self, index):
        """Run a cell, and return the text of its outputs when it has ended."""
        self.run(
            "p.content.activeCellIndex = a; p.content.deselectAll();"
            " await jupyterapp.commands.execute('notebook:run-cell');",
            index,
        )
        return self.text(index)

    def add_cell(self, source):
        """Append a cell, run it, and return the text of its outputs."""
        index = self.run(
            "const m = p.content.model.sharedModel;"
            " m.insertCell(m.cells.length, {cell_type: 'code', source: a, metadata: {}}); return m.cells.length - 1;",
            source,
        )
        return self.run_cell(index)

    def ask(self, expression):
        """Return the value of an expression in the kernel, which JSON can carry; no cell is made for it."""
        reply = self.run(
            "const k = p.sessionContext.session.kernel; const f = k.requestExecute({code: '', silent: true,"
            " user_expressions: {it: `__import__('json').dumps(${a})`}});"
            " return (await f.done).content.user_expressions.it;",
            expression,
        )
        assert reply["status"] == "ok", reply
        return json.loads(ast.literal_eval(reply["data"]["text/plain"]))

    def tell(self, code):
        """Run code in the kernel without a cell, so that the notebook does not have it."""
        reply = self.run(
            "const k = p.sessionContext.session.kernel;"
            " return (await k.requestExecute({code: a, silent: true, store_history: false}).done).content;",
            code,
        )
        assert reply["status"] == "ok", reply

    def show(self, code):
        """Show what the code makes as the notebook's only panel, `panel` in the kernel."""
        self.cells(f"panel = {code}\npanel")
        self.tell("try: panel.close()\nexcept NameError: pass")
        self.run_cell(0)
        return Panel(self)

    def text(self, index):
        """Return the text of a cell's outputs."""
        return self.run(
            "return p.content.widgets[a].node.querySelector('.jp-Cell-outputWrapper')?.innerText ?? ''", index
        )

    @property
    def panel(self):
        return self.page.locator(".imgvar-panel").first

    def button(self, name):
        return self.panel.get_by_role("button", name=name, exact=True)

    def field(self, label):
        return self.panel.get_by_label(label, exact=True)

    def write(self, label, value):
        self.field(label).fill(value)
        self.field(label).press("Enter")

    def pictures(self):
        return self.panel.locator(".imgvar-card img").filter(visible=True)

    def wait_pictures(self, count):
        self.wait(lambda: self.pictures().count() == count, f"{count} pictures", 120)

    def said(self, words, role="status"):
        """Wait for words in the line of errors (role "alert") or notices."""
        found = self.panel.locator(f"[role={role}]")
        self.wait(lambda: found.count() and words in found.first.inner_text(), f"{words!r} as {role}")

    def save(self):
        """Save the notebook, and return it as it is on the disk."""
        self.run("await jupyterapp.commands.execute('docmanager:save');")
        return json.loads(self.path.read_text())

    def reload(self):
        """Load the page again, as F5 does."""
        self.page.reload()
        self.ready()

    def axe(self, within=".jp-OutputArea-output"):
        """Return the ids of axe-core's rules that a part of the page breaks, with an example of each."""
        if not self.page.evaluate("() => !!window.axe"):
            script = (
                Path(find_spec("axe_playwright_python").origin).with_name("axe.min.js").read_text("utf-8")
            )
            # Jupyter has a loader of its own that axe would register with.
            self.page.evaluate(
                "(s) => { const d = window.define; window.define = undefined;"
                " try { (0, eval)(s); } finally { window.define = d; } }",
                script,
            )
        return dict(
            self.page.evaluate(
                "async (where) => (await axe.run({include: [...document.querySelectorAll(where)]},"
                " {resultTypes: ['violations']})).violations.map(v => [v.id, v.nodes[0].html.slice(0, 300)])",
                within,
            )
        )
