"""A kernel with the extension and a photograph, as any front end starts it; nothing here needs more than `test`."""

from __future__ import annotations

import os
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest
from frontend import FrontEnd
from jupyter_client.kernelspec import KernelSpecManager
from jupyter_client.manager import KernelManager
from PIL import Image
from skimage import data

import ipy_imgvar


def shown(front, line):
    """Return the MIME bundle of a line's one output, as it is in the end: a run of more than a second updates it."""
    ((_, content),) = front.run(line)
    return front.displays.get(content.get("transient", {}).get("display_id"), content["data"])


def photograph(folder):
    """Write photo.png into a folder, and return the folder."""
    Image.fromarray(data.chelsea()[:288, :384]).save(folder / "photo.png")
    return folder


@contextmanager
def started(folder, python=sys.executable, more=(), **variables):
    """Give a front end of a kernel of any Python, in a folder with photo.png; `more` are folders to import from."""
    spec = folder / "kernels" / "tried"
    spec.mkdir(parents=True)
    (spec / "kernel.json").write_text(
        f'{{"argv": ["{python}", "-m", "ipykernel_launcher", "-f", "{{connection_file}}"], '
        '"display_name": "tried", "language": "python", "metadata": {"debugger": false}}'
    )
    roots = [*map(str, more), str(Path(ipy_imgvar.__file__).parent.parent)]
    env = {**os.environ, "IPY_IMGVAR_STORE": str(folder / "store"), "PYTHONPATH": os.pathsep.join(roots)}
    manager = KernelManager(
        kernel_name="tried", kernel_spec_manager=KernelSpecManager(kernel_dirs=[str(spec.parent)])
    )
    manager.start_kernel(cwd=str(photograph(folder)), env=env | variables)
    client = manager.client()
    client.start_channels()
    try:
        client.wait_for_ready(timeout=60)
        front = FrontEnd(client)
        front.folder, front.manager = folder, manager
        yield front
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)
        client.context.destroy()


@pytest.fixture(scope="module")
def front(tmp_path_factory):
    """Give a front end of a kernel with the extension loaded."""
    with started(tmp_path_factory.mktemp("front")) as running:
        assert running.run("%load_ext ipy_imgvar") == []
        yield running


@pytest.fixture(scope="session")
def start_kernel():
    """Return `started`."""
    return started


@pytest.fixture(scope="session")
def bundle_of():
    """Return `shown`."""
    return shown


@pytest.fixture
def with_photo(tmp_path):
    """Return a folder with photo.png."""
    return photograph(tmp_path)
