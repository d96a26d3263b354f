"""notebooks/own-gpu.ipynb with the engine itself; tests/test_notebooks.py runs it where the packages are missing."""

import os
from pathlib import Path

import pytest

NOTEBOOK = Path(__file__).parents[3] / "notebooks/own-gpu.ipynb"


@pytest.mark.slow
@pytest.mark.timeout(600)  # sixteen pictures of 25 steps, and two processes that import torch
def test_the_notebook_runs_with_a_model_of_this_disk(tiny_pipeline, tmp_path):
    """Each cell runs with the engine diffusers, from the first variation to the server that loads the model again."""
    import nbclient
    import nbformat

    notebook = nbformat.read(NOTEBOOK, as_version=4)
    client = nbclient.NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(tmp_path)}})
    # A layer of these is too small to share among threads, which would wait for each other.
    model = {"IMGVAR_NOTEBOOK_MODEL": str(tiny_pipeline("stable")), "OMP_NUM_THREADS": "1"}
    client.execute(env={**os.environ, **model, "IPY_IMGVAR_STORE": str(tmp_path / "store")})
    shown = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    assert sum("image/jpeg" in output.get("data", {}) for output in shown) == 7
    texts = "".join(output.get("text", "") for output in shown)
    assert "Missing" not in texts
    assert "freed: stable" in texts
