"""A real Jupyter server on this machine that serves JupyterLab and Notebook 7 side by side, offline."""

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
from pathlib import Path

import ipy_imgvar

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE localhost",
]
#: What an empty notebook says in the console by itself.
NOISE = re.compile(
    r"yjs#509|is duplicated|favicon|/api/workspaces|/lab/api/listings|service-?worker|/lsp/status|Canvas2D"
    r"|/api/news|ERR_NETWORK_CHANGED|Autofocus processing"
    # JupyterLab takes its splash away twice when a change of theme follows another at once.
    r"|'removeChild'[^|]*/jlab_core\."
    # Notebook 7: a font of its own that it refuses, and two commands of JupyterLab that it lacks.
    r"|/static/notebook/\w+\.woff2|reading 'schema'|filebrowser:open-path",
    re.IGNORECASE,
)
#: What the first cell of a notebook with a panel does.
SETUP = """
%load_ext ipy_imgvar
from ipy_imgvar import VariationPanel
from skimage import data
photo = data.coffee()
"""
LIGHT, DARK = "JupyterLab Light", "JupyterLab Dark"


def wait_until(condition, what, timeout_s=60.0, pause=None):
    """Wait for what a condition returns, and return it."""
    end = time.monotonic() + timeout_s
    while not (found := condition()):
        if time.monotonic() > end:
            raise AssertionError(f"waited {timeout_s:g} s for {what}")
        (pause or time.sleep)(0.05)
    return found


class Server:
    """One server for both front ends, with folders, settings and a store of its own."""

    def __init__(self, folder, python=sys.executable):
        self.folder = folder
        self.root = folder / "root"
        self.token = secrets.token_hex(16)
        for name in ("root", "home", "config", "data/kernels/python3"):
            (folder / name).mkdir(parents=True)
        self.use_theme(LIGHT)
        kernel = {"argv": [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]}
        kernel |= {"display_name": "tested", "language": "python", "metadata": {"debugger": False}}
        (folder / "data/kernels/python3/kernel.json").write_text(json.dumps(kernel))
        (folder / "config/jupyter_server_config.json").write_text(json.dumps(self._configuration()))
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.base = f"http://127.0.0.1:{self.port}"
        self.log = (folder / "server.log").open("wb")
        self.process = subprocess.Popen(
            [
                *[python, "-m", "jupyterlab", "--no-browser", "--allow-root"],
                *["--ServerApp.ip=127.0.0.1", f"--ServerApp.port={self.port}", "--ServerApp.port_retries=0"],
            ],
            cwd=self.root,
            env=self._environment(),
            stdin=subprocess.DEVNULL,
            stdout=self.log,
            stderr=subprocess.STDOUT,
        )
        wait_until(self._answers, "the server to answer", 120)

    def _configuration(self):
        exposed = {"expose_app_in_browser": True}
        return {
            "ServerApp": {"root_dir": str(self.root), "jpserver_extensions": {"notebook": True}},
            "LabApp": {
                **exposed,
                "check_for_updates_class": "jupyterlab.NeverCheckForUpdate",
                "news_url": None,
                "extension_manager": "readonly",
            },
            "JupyterNotebookApp": exposed,
            "KernelSpecManager": {"ensure_native_kernel": False},
        }

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

    def use_theme(self, theme):
        """Give a theme to the pages that are opened from now on."""
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

    def _answers(self):
        assert self.process.poll() is None, (self.folder / "server.log").read_text()[-2000:]
        try:
            self.request("api/status")
        except OSError:
            return False
        return True

    def request(self, path, data=None, method=None):
        """Ask the server as its own page does."""
        request = urllib.request.Request(  # noqa: S310
            f"{self.base}/{path}", data, headers={"Authorization": f"token {self.token}"}, method=method
        )
        with urllib.request.urlopen(request, timeout=20) as answer:  # noqa: S310
            return answer.read()

    def end_kernels(self, name=""):
        """End the kernels of the notebooks whose name begins so."""
        for session in json.loads(self.request("api/sessions")):
            if session["path"].startswith(name):
                self.request(f"api/sessions/{session['id']}", method="DELETE")

    def close(self):
        """End the server and its kernels."""
        try:
            self.request("api/shutdown", b"")
            self.process.wait(15)
        except (OSError, subprocess.TimeoutExpired):
            self.process.kill()
            self.process.wait()
        self.log.close()
