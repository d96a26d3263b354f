"""A hub over loopback, an empty cache, and pipelines that hold a few bytes."""

import gc
import os
import sys
import warnings

import pytest
from hubserver import Hub, Repo, pipeline


@pytest.fixture(autouse=True)
def hub_cache(tmp_path, monkeypatch):
    """Give every test an empty cache and no settings of the machine's, and return the cache's folder."""
    for name in list(os.environ):
        if name.startswith(("HF_", "HUGGINGFACE_", "TRANSFORMERS_", "XDG_CACHE")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    return tmp_path / "hub"


@pytest.fixture
def hub(monkeypatch):
    """Give a hub over loopback that `HF_ENDPOINT` names."""
    server = Hub()
    monkeypatch.setenv("HF_ENDPOINT", server.url)
    yield server
    server.close()
    library = sys.modules.get("huggingface_hub")
    if library is not None and hasattr(library, "close_session"):
        library.close_session()
    # Threads of cancelled downloads leave sockets open; collected in a later test, they would fail that one.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()


@pytest.fixture
def repo(hub):
    """Return the repository `some/model` of the hub."""
    hub.repos["some/model"] = Repo(pipeline(), card={"license": "apache-2.0"})
    return hub.repos["some/model"]


@pytest.fixture
def folder(tmp_path):
    """Return a function that writes a pipeline's files into a folder, and returns it."""

    def write(files=None, name="model", **more):
        root = tmp_path / name
        for path, data in (files or pipeline(**more)).items():
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            (root / path).write_bytes(data)
        return root

    return write
