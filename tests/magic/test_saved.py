"""What a saved notebook holds of the pictures that were shown in it."""

import base64
import io
import json
from pathlib import Path

import pytest
from PIL import Image

import ipy_imgvar

#: Four pictures of 1024 px of which a JPEG takes much, by an engine that has them ready.
SETUP = """
%load_ext ipy_imgvar
import numpy as np
from PIL import Image
from skimage import data
from ipy_imgvar.images import codec
from ipy_imgvar.engine import Capabilities
from ipy_imgvar.results.variations import Variation
noise = np.random.default_rng(0).integers(0, 256, (1024, 1024, 3), np.uint8)
textures = [data.gravel(), data.grass(), data.immunohistochemistry(), noise]
pngs = [codec.encode_png(Image.fromarray(each).convert("RGB").resize((1024, 1024))) for each in textures]
class Ready:
    name = "ready"
    capabilities = lambda self, model=None: Capabilities()
    check = lambda self, request: None
    model = lambda self, request: "ready-1"
    close = lambda self: None
    def generate(self, request, job):
        for index, png in enumerate(pngs, start=1):
            yield Variation(png, source=request.image, mime_type="image/png", size=(1024, 1024), index=index)
ready = Ready()
"""


@pytest.fixture
def run(tmp_path, photo_path, monkeypatch):
    """Give a function that runs cells as a notebook, and returns the notebook as it is saved."""
    monkeypatch.setenv("PYTHONPATH", str(Path(ipy_imgvar.__file__).parents[1]))
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))

    def run(*cells):
        import nbformat
        from nbclient import NotebookClient

        book = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
        resources = {"metadata": {"path": str(photo_path.parent)}}
        NotebookClient(book, timeout=300, resources=resources, kernel_name="python3").execute()
        return book

    return run


@pytest.mark.slow
def test_four_pictures_add_250_kb(run):
    """Four opaque pictures of 1024 px, shown by the magic or as a value, add at most 250 kB, as JPEG and HTML."""
    book = run(SETUP, "made = %imagevariation photo.png --engine {ready} -n 4", "made")
    for cell in book.cells[1:]:
        (output,) = cell.outputs
        assert len(json.dumps(output)) <= 250_000
        assert set(output.data) == {"text/plain", "text/html", "image/jpeg"}
        sheet = Image.open(io.BytesIO(base64.b64decode(output.data["image/jpeg"])))
        assert (sheet.format, sheet.size) == ("JPEG", (520, 520))
        assert output.data["text/html"].count('<img src="data:image/jpeg;base64,') == 4
