"""A real JupyterLab, a real kernel and a headless Chromium, all on this machine and offline.

The tests are skipped where Chromium, JupyterLab or Playwright is missing, but never in CI.
"""

from __future__ import annotations

import json
import os
import re
import secrets
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from importlib.util import find_spec
from pathlib import Path

import pytest

import ipy_imgvar

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE localhost",
]
#: What an empty JupyterLab says in the console by itself.
NOISE = re.compile(
    r"yjs#509|is duplicated|favicon|/api/workspaces|/lab/api/listings|service-?worker|/lsp/status|Canvas2D"
    r"|/api/news|ERR_NETWORK_CHANGED|Autofocus processing",
    re.IGNORECASE,
)
AXE_TAGS = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa"]
HERE = Path(__file__).parent


def missing():
    absent = [
        name for name in ("jupyterlab", "playwright", "axe_playwright_python") if find_spec(name) is None
    ]
    return absent + ([] if CHROMIUM else ["chromium"])


def pytest_collection_modifyitems(items):
    """Skip where something is missing; in CI that must fail instead."""
    absent = missing()
    if absent and not os.environ.get("CI"):
        reason = (
            f"the browser tests need {', '.join(absent)}: pip install '.[browser]', apt-get install chromium"
        )
        for item in items:
            if HERE in item.path.parents:
                item.add_marker(pytest.mark.skip(reason=reason))


def wait_until(condition, what, timeout_s=60.0, pause=None):
    end = time.monotonic() + timeout_s
    while not (found := condition()):
        if time.monotonic() > end:
            raise AssertionError(f"waited {timeout_s:g} s for {what}")
        (pause or time.sleep)(0.1)
    return found


class Server:
    """JupyterLab with folders, settings and a store of its own."""

    def __init__(self, folder):
        self.folder = folder
        self.root = folder / "root"
        self.token = secrets.token_hex(16)
        for name in ("root", "home", "data/kernels/python3"):
            (folder / name).mkdir(parents=True)
        self._write_settings("JupyterLab Light")
        kernel = {"argv": [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]}
        kernel |= {"display_name": "tested", "language": "python", "metadata": {"debugger": False}}
        (folder / "data/kernels/python3/kernel.json").write_text(json.dumps(kernel))
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.log = (folder / "server.log").open("wb")
        self.process = subprocess.Popen(
            [
                *[sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root"],
                *["--ServerApp.ip=127.0.0.1", f"--ServerApp.port={self.port}", "--ServerApp.port_retries=0"],
                *[f"--ServerApp.root_dir={self.root}", "--LabApp.expose_app_in_browser=True"],
                "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate",
                *["--LabApp.news_url=None", "--LabApp.extension_manager=readonly"],
                "--KernelSpecManager.ensure_native_kernel=False",
            ],
            cwd=self.root,
            env=self._environment(),
            stdin=subprocess.DEVNULL,
            stdout=self.log,
            stderr=subprocess.STDOUT,
        )
        wait_until(self._answers, "JupyterLab to answer", 120)

    def _environment(self):
        kept = {name: os.environ[name] for name in ("PATH", "LANG", "TMPDIR") if name in os.environ}
        folders = {
            "HOME": "home",
            "JUPYTER_CONFIG_DIR": "config",
            "JUPYTER_DATA_DIR": "data",
            "JUPYTER_RUNTIME_DIR": "runtime",
            "JUPYTERLAB_SETTINGS_DIR": "settings",
            "JUPYTERLAB_WORKSPACES_DIR": "workspaces",
            "IPYTHONDIR": "ipython",
            "IPY_IMGVAR_STORE": "store",
        }
        return {
            **kept,
            **{name: str(self.folder / folder) for name, folder in folders.items()},
            "JUPYTER_TOKEN": self.token,
            "JUPYTER_PREFER_ENV_PATH": "0",
            "PYTHONPATH": str(Path(ipy_imgvar.__file__).parent.parent),
        }

    def _write_settings(self, theme):
        settings = {
            "@jupyterlab/apputils-extension/themes": {"theme": theme, "adaptive-theme": False},
            "@jupyterlab/apputils-extension/notification": {"fetchNews": "false", "checkForUpdates": False},
            "@jupyter-widgets/jupyterlab-manager/plugin": {"saveState": True},
            "@jupyterlab/docmanager-extension/plugin": {"autosave": False},
            "@jupyterlab/notebook-extension/tracker": {"windowingMode": "none"},
        }
        for name, values in settings.items():
            path = self.folder / "settings" / f"{name}.jupyterlab-settings"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps(values))

    def use_theme(self, theme):
        self._write_settings(theme)

    def _answers(self):
        assert self.process.poll() is None, (self.folder / "server.log").read_text()[-2000:]
        try:
            self.request("api/status")
        except OSError:
            return False
        return True

    def request(self, path, data=None):
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}/{path}",
            data=data,
            headers={"Authorization": f"token {self.token}"},
        )
        with urllib.request.urlopen(request, timeout=5) as answer:  # noqa: S310
            return answer.read()

    def close(self):
        try:
            self.request("api/shutdown", b"")
            self.process.wait(15)
        except (OSError, subprocess.TimeoutExpired):
            self.process.kill()
            self.process.wait()
        self.log.close()


class Notebook:
    """A notebook that is open in the browser, driven as a person drives it."""

    def __init__(self, server, page, cells, name):
        self.server, self.page = server, page
        self.path = server.root / name
        self.errors = []
        page.on("console", self._heard)
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        import nbformat

        book = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
        book.metadata["kernelspec"] = {"name": "python3", "display_name": "tested", "language": "python"}
        nbformat.write(book, self.path)
        page.goto(
            f"http://127.0.0.1:{server.port}/lab/workspaces/{name[:-6]}/tree/{name}?token={server.token}",
            timeout=120_000,
        )
        self.ready()

    def _heard(self, message):
        where = (message.location or {}).get("url", "")
        if message.type == "error" and not NOISE.search(f"{message.text} {where}"):
            self.errors.append(message.text)

    def wait(self, condition, what, timeout_s=60.0):
        pause = lambda seconds: self.page.wait_for_timeout(seconds * 1000)  # noqa: E731
        return wait_until(condition, what, timeout_s, pause)

    def ready(self):
        self.page.wait_for_function(
            "() => window.jupyterapp?.shell?.currentWidget?.sessionContext", timeout=120_000
        )
        self.page.evaluate(
            "async () => { await jupyterapp.restored; const p = jupyterapp.shell.currentWidget;"
            " await p.context.ready; await p.sessionContext.ready;"
            " if (!jupyterapp.shell.leftCollapsed) await jupyterapp.commands.execute('application:toggle-left-area'); }"
        )
        self.wait(lambda: self.kernel() in ("idle", "busy"), "the kernel to start", 120)

    def kernel(self):
        return self.page.evaluate(
            "() => jupyterapp.shell.currentWidget.sessionContext.session?.kernel?.status"
        )

    def run_cell(self, index):
        """Run a cell, and return the text of its outputs when it has ended."""
        self.page.evaluate(
            "async (i) => { const p = jupyterapp.shell.currentWidget; p.content.activeCellIndex = i;"
            " p.content.deselectAll(); await jupyterapp.commands.execute('notebook:run-cell'); }",
            index,
        )
        return self.text(index)

    def add_cell(self, source):
        """Append a cell, run it, and return the text of its outputs."""
        index = self.page.evaluate(
            "(s) => { const m = jupyterapp.shell.currentWidget.content.model.sharedModel;"
            " m.insertCell(m.cells.length, {cell_type: 'code', source: s, metadata: {}}); return m.cells.length - 1; }",
            source,
        )
        return self.run_cell(index)

    def text(self, index):
        return self.page.evaluate(
            "(i) => jupyterapp.shell.currentWidget.content.widgets[i].node"
            ".querySelector('.jp-Cell-outputWrapper')?.innerText ?? ''",
            index,
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
        found = self.panel.locator(f"[role={role}]")
        self.wait(lambda: found.count() and words in found.first.inner_text(), f"{words!r} as {role}")

    def save(self):
        """Save the notebook, and return it as it is on the disk."""
        self.page.evaluate("async () => { await jupyterapp.commands.execute('docmanager:save'); }")
        return json.loads(self.path.read_text())

    def reload(self):
        self.page.reload()
        self.ready()

    def axe(self, tags=AXE_TAGS):
        """Return the ids of axe-core's rules that the outputs break, with an example of each."""
        if not self.page.evaluate("() => !!window.axe"):
            script = (
                Path(find_spec("axe_playwright_python").origin).with_name("axe.min.js").read_text("utf-8")
            )
            # JupyterLab has a loader of its own that axe would register with.
            self.page.evaluate(
                "(s) => { const d = window.define; window.define = undefined;"
                " try { (0, eval)(s); } finally { window.define = d; } }",
                script,
            )
        found = self.page.evaluate(
            "async (tags) => (await axe.run({include: [...document.querySelectorAll('.jp-OutputArea-output')]},"
            " {runOnly: {type: 'tag', values: tags}, resultTypes: ['violations']})).violations"
            ".map(v => [v.id, v.nodes[0].html.slice(0, 300)])",
            list(tags),
        )
        return dict(found)


@pytest.fixture(scope="session")
def server(tmp_path_factory):
    """Give one JupyterLab for all browser tests."""
    running = Server(tmp_path_factory.mktemp("lab"))
    yield running
    running.close()


@pytest.fixture(scope="session")
def browser(tmp_path_factory):
    """Give one headless Chromium for all browser tests."""
    from playwright.sync_api import sync_playwright

    home = tmp_path_factory.mktemp("chromium")
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(
            executable_path=CHROMIUM, args=FLAGS, env={**os.environ, "HOME": str(home)}
        )
        yield running
        running.close()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item):
    """Tell the fixtures whether the test failed."""
    report = yield
    if report.when == "call":
        item.failed = report.failed
    return report


@pytest.fixture
def open_notebook(server, browser, request, tmp_path):
    """Open notebooks; each has a page and a kernel of its own, which end with the test."""
    contexts = []

    def open_one(*cells, width=1280, height=1400, theme="JupyterLab Light"):
        server.use_theme(theme)
        context = browser.new_context(viewport={"width": width, "height": height})
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(30_000)
        name = re.sub(r"\W+", "-", f"{request.node.name}-{len(contexts)}") + ".ipynb"
        return Notebook(server, page, cells, name)

    yield open_one
    for number, context in enumerate(contexts):
        if getattr(request.node, "failed", True):
            context.pages[0].screenshot(path=tmp_path / f"failure-{number}.png")
        context.close()
    for session in json.loads(server.request("api/sessions")):
        request = urllib.request.Request(
            f"http://127.0.0.1:{server.port}/api/sessions/{session['id']}",
            method="DELETE",
            headers={"Authorization": f"token {server.token}"},
        )
        urllib.request.urlopen(request, timeout=20).close()  # noqa: S310
