"""What `.ci/package` does in Python with the wheel alone; it stands in no package, and is run from another folder.

`python stranger.py library` makes pictures, `panel` shows the panel in a kernel, `modules` imports every module, and
`served URL` makes a hosted call to a server.
"""

from __future__ import annotations

import importlib
import pkgutil
import sys
from pathlib import Path

import ipy_imgvar
from ipy_imgvar import Client, variations


def library() -> None:
    """Write pictures for the commands, and use the client."""
    from PIL import Image

    Path("photos").mkdir()
    for name in ("cat.png", "photos/a.png", "photos/b.jpg"):
        Image.radial_gradient("L").resize((96, 64)).convert("RGB").save(name)
    assert len(variations("cat.png", n=2, size=64)) == 2


def modules() -> None:
    """Import every module, and look where each of the process came from.

    The server's need its extra; every other module needs an extra only once it is used.
    """
    for module in pkgutil.walk_packages(ipy_imgvar.__path__, "ipy_imgvar."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    files = {getattr(module, "__file__", None) or sys.prefix for module in sys.modules.values()}
    base = (sys.prefix, sys.base_prefix, str(Path.cwd()))
    assert not [file for file in files if Path(file).is_absolute() and not file.startswith(base)]
    assert Path(ipy_imgvar.__file__).is_relative_to(sys.prefix), ipy_imgvar.__file__


def panel() -> None:
    """Show the panel in a kernel."""
    from nbclient import NotebookClient
    from nbformat import v4

    lines = ["%load_ext ipy_imgvar", "%imagevariation --panel cat.png"]
    notebook = v4.new_notebook(cells=[v4.new_code_cell(line) for line in lines])
    NotebookClient(notebook, kernel_name="python3").execute()
    kind = "application/vnd.jupyter.widget-view+json"
    (view,) = [output.data[kind] for output in notebook.cells[1].outputs if kind in output.get("data", {})]
    widgets = notebook.metadata.widgets["application/vnd.jupyter.widget-state+json"]["state"]
    state = widgets[view["model_id"]]["state"]
    assert "export default" in state["_esm"]
    assert state["_css"]


def served(url: str) -> None:
    """Ask a server of ours as a hosted one."""
    with Client("openai", api_base=url) as client:
        (picture,) = client.variations("cat.png", n=1, size=256)
    assert picture.size == (256, 256)
    print(f"a hosted call to {url}: {len(picture.bytes)} bytes")


if __name__ == "__main__":
    command, *rest = sys.argv[1:]
    {"library": library, "panel": panel, "modules": modules, "served": served}[command](*rest)
