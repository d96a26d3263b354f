"""The hub's cache as it lies on the disk, without its library."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from hubserver import COMMIT, INDEX

from ipy_imgvar import settings
from ipy_imgvar.engines.diffusers.weights.cache import (
    commit_of,
    index_of,
    repo_folder,
    snapshot_of,
    write_ref,
)
from ipy_imgvar.engines.diffusers.weights.reference import Reference

MODEL = Reference("some/model")


@pytest.fixture
def cached():
    """Put a snapshot of `some/model` into the cache, with the branch `main`, and return its folder."""
    snapshot = repo_folder("some/model") / "snapshots" / COMMIT
    snapshot.mkdir(parents=True)
    (snapshot / "model_index.json").write_text(json.dumps(INDEX))
    write_ref("some/model", None, COMMIT)
    return snapshot


def test_an_empty_cache():
    """Without a cache there is no commit, folder or index."""
    assert (commit_of(MODEL), snapshot_of(MODEL), index_of(MODEL)) == (None, None, None)


def test_a_branch(cached):
    """A branch means the commit that its record holds, and its snapshot's index is read."""
    assert commit_of(MODEL) == COMMIT
    assert snapshot_of(MODEL) == cached
    assert index_of(MODEL) == INDEX


def test_a_commit(cached):
    """A commit is found without a record; another commit and another branch aren't."""
    assert snapshot_of(Reference("some/model", COMMIT)) == cached
    assert commit_of(Reference("some/model", "0" * 40)) is None
    assert commit_of(Reference("some/model", "dev")) is None


def test_branches_with_slashes(cached):
    """A revision such as refs/pr/8 has its own record."""
    write_ref("some/model", "refs/pr/8", COMMIT)
    assert snapshot_of(Reference("some/model", "refs/pr/8")) == cached


@pytest.mark.parametrize("record", ["", "main", "../../x", "0" * 40, "é"])
def test_a_broken_record(cached, record):
    """A branch's record that holds no commit, or one without a snapshot, counts as none."""
    (cached.parent.parent / "refs/main").write_text(record, "utf-8")
    assert commit_of(MODEL) is None


@pytest.mark.parametrize("content", [b"", b"[]", b"{", b"\xff", b"[" * 100_000, b" " * 10_000_001])
def test_a_broken_index(cached, content):
    """An index that is no JSON object, or too large, counts as none; the inspection says which."""
    (cached / "model_index.json").write_bytes(content)
    assert index_of(MODEL) is None


def test_a_folder(folder):
    """A folder's index is read from the folder, and it has no commit."""
    found = Reference(folder=folder())
    assert index_of(found) == INDEX
    assert commit_of(found) is None


def test_a_commit_leaves_no_record():
    """No branch is recorded for a commit."""
    write_ref("some/model", COMMIT, COMMIT)
    assert not repo_folder("some/model").exists()


def test_a_cache_that_cannot_be_written(tmp_path, monkeypatch):
    """A record that can't be written is left out."""
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "file"))
    write_ref("some/model", None, COMMIT)
    assert commit_of(MODEL) is None


ENVIRONMENTS = [
    {},
    {"XDG_CACHE_HOME": "/x/cache"},
    {"HF_HOME": "/x/home", "XDG_CACHE_HOME": "/x/cache"},
    {"HF_HOME": "~/home"},
    {"HF_HOME": "$ROOT/home", "ROOT": "/x/root"},
    {"HUGGINGFACE_HUB_CACHE": "/x/old", "HF_HOME": "/x/home"},
    {"HF_HUB_CACHE": "/x/new", "HUGGINGFACE_HUB_CACHE": "/x/old"},
    {"HF_HUB_CACHE": "~/new/$ROOT", "ROOT": "r"},
    {"HF_HUB_OFFLINE": "1"},
    {"HF_HUB_OFFLINE": "yes"},
    {"HF_HUB_OFFLINE": "0"},
    {"HF_HUB_OFFLINE": ""},
    {"TRANSFORMERS_OFFLINE": "TRUE"},
    {"HF_HUB_OFFLINE": "no", "TRANSFORMERS_OFFLINE": "1"},
    {"HF_ENDPOINT": "http://mirror:8000/"},
]
CODE = """
import json, os, sys
found = []
for environment in json.loads(sys.argv[1]):
    for name in [name for name in sys.modules if name.startswith("huggingface_hub")]:
        del sys.modules[name]
    os.environ.clear()
    os.environ.update({"HOME": "/x/me", "PATH": "/usr/bin:/bin", **environment})
    from huggingface_hub import constants
    found.append([constants.HF_HUB_CACHE, constants.HF_HUB_OFFLINE, constants.ENDPOINT])
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def by_the_library():
    """Return what huggingface_hub reads from each environment: cache, offline, endpoint."""
    pytest.importorskip("huggingface_hub")
    done = subprocess.run(
        [sys.executable, "-c", CODE, json.dumps(ENVIRONMENTS)], capture_output=True, text=True, check=True
    )
    return json.loads(done.stdout)


@pytest.mark.parametrize("number", range(len(ENVIRONMENTS)))
@pytest.mark.skipif(sys.platform == "win32", reason="the folders are POSIX's")
def test_variables(number, by_the_library, monkeypatch):
    """The cache's folder, offline and the endpoint are read from the variables as huggingface_hub reads them."""
    monkeypatch.delenv("HF_HUB_CACHE")
    monkeypatch.setenv("HOME", "/x/me")
    for name, value in ENVIRONMENTS[number].items():
        monkeypatch.setenv(name, value)
    cache, offline, endpoint = by_the_library[number]
    assert settings.hub_cache() == Path(cache).absolute()
    assert settings.hub_offline() is offline
    assert settings.hub_endpoint() == endpoint
