"""A notebook that is run without a page, and what is exported from it: nbclient, nbconvert, papermill."""

import os
import re
from pathlib import Path

import nbformat
import pytest

import ipy_imgvar

CELLS = (
    "count = 2\nsize = 64",
    "%load_ext ipy_imgvar",
    "x = %imagevariation photo.png -n {count} -s {size} --seed 7 --engine patch",
    "%imagevariation --panel photo.png",
)


def book():
    """Return the notebook, whose first cell has papermill's tag."""
    cells = [nbformat.v4.new_code_cell(cell) for cell in CELLS]
    cells[0].metadata["tags"] = ["parameters"]
    made = nbformat.v4.new_notebook(cells=cells)
    made.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
    return made


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
    """Return the notebook after nbclient has run it."""
    import nbclient
    from PIL import Image
    from skimage import data

    folder = tmp_path_factory.mktemp("exports")
    Image.fromarray(data.chelsea()[:288, :384]).save(folder / "photo.png")
    notebook = book()
    client = nbclient.NotebookClient(notebook, timeout=120, resources={"metadata": {"path": str(folder)}})
    client.execute(env={**os.environ, "IPY_IMGVAR_STORE": str(folder / "store")})
    return notebook


def test_a_page_of_nbconvert_has_the_pictures(ran):
    """Exported HTML and slides have each picture once with its words, and no bar."""
    from nbconvert import HTMLExporter, SlidesExporter

    for exporter in (HTMLExporter, SlidesExporter):
        page, _ = exporter().from_notebook_node(ran)
        assert re.findall(r'alt="Variation (\d) of photo.png"', page) == ["1", "2"]
        assert "<progress" not in page


def test_a_page_without_trust_still_shows_the_pictures(ran):
    """With nbconvert's sanitizing, which drops scripts and styles, the pictures or their sheet stay."""
    from nbconvert import HTMLExporter

    page, _ = HTMLExporter(sanitize_html=True).from_notebook_node(ran)
    assert "photo-2" in page
    assert "data:image/" in page


def test_markdown_of_nbconvert_has_the_pictures(ran):
    """Exported Markdown has the gallery, or its sheet as a file beside it."""
    from nbconvert import MarkdownExporter

    text, resources = MarkdownExporter().from_notebook_node(ran)
    assert text.count('alt="Variation') == 2 or any(name.endswith(".jpeg") for name in resources["outputs"])


def test_papermill_sets_the_parameters(tmp_path, with_photo, monkeypatch):
    """Papermill runs the notebook with other parameters; progress is one output, and the file stays small."""
    papermill = pytest.importorskip("papermill", reason="needs the package papermill")
    monkeypatch.setenv("PYTHONPATH", str(Path(ipy_imgvar.__file__).parent.parent))
    nbformat.write(book(), tmp_path / "in.ipynb")
    paths = (str(tmp_path / "in.ipynb"), str(tmp_path / "out.ipynb"))
    made = papermill.execute_notebook(
        *paths, {"count": 4, "size": 512}, cwd=str(with_photo), progress_bar=False, log_output=False
    )
    (run,) = [cell for cell in made.cells if cell.source.startswith("x = ")]
    (output,) = run.outputs
    assert output.data["text/html"].count('alt="Variation') == 4
    assert "<progress" not in output.data["text/html"]
    assert not [
        each for cell in made.cells for each in cell.outputs if each.output_type in ("error", "stream")
    ]
    assert (tmp_path / "out.ipynb").stat().st_size < 500_000
