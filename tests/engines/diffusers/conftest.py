"""Tiny pipelines for the tests of the engine diffusers; tests that need torch are skipped where it is missing."""

import importlib.util

import pytest

#: They import torch, and hold no test.
collect_ignore = ["tiny.py", "tiny_parts.py"]

_NEEDED = ("torch", "diffusers", "transformers", "accelerate", "safetensors")


@pytest.fixture(scope="session")
def torch():
    """Return torch, or skip the test where the packages of the extra diffusers are not installed."""
    missing = [name for name in _NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        pytest.skip(f"needs pip install 'ipy-imgvar[diffusers]': {', '.join(missing)} not installed")
    import torch

    # A tiny layer is too small to share: two threads that wait for each other on a busy machine take 50 times as long.
    torch.set_num_threads(1)
    return torch


@pytest.fixture(scope="session")
def tiny_pipeline(torch, tmp_path_factory):  # noqa: ARG001
    """Return a function that gives the folder of a tiny pipeline by its name in `tiny.MAKERS`, made once a session.

    The folders are shared: a test that changes one copies it first.
    """
    import tiny

    tiny.announce_future()
    made = {}

    def folder(name):
        if name not in made:
            made[name] = tiny.make(name, tmp_path_factory.mktemp("tiny") / name)
        return made[name]

    return folder


@pytest.fixture
def client(torch):  # noqa: ARG001
    """Give a client of the engine diffusers; the weights are freed after the test."""
    from ipy_imgvar import Client

    with Client("diffusers") as made:
        yield made


@pytest.fixture
def source(photo):
    """Return a photograph of the size that the tests ask for, so that no pixel of it is resampled."""
    return photo.resize((96, 64))


@pytest.fixture
def request_for(tiny_pipeline):
    """Return a function that gives the arguments of `Client.variations` for a tiny pipeline.

    "adapter" is the pipeline "stable" with an image adapter. The working size is about the asked one, and four steps
    are enough.
    """

    def arguments(name, **changed):
        options = {"steps": 4, "side": 96, **changed.pop("options", {})}
        if name == "adapter":
            name = "stable"
            options["adapter"] = str(tiny_pipeline("adapter") / "models" / "ip-adapter_tiny.safetensors")
        return {"model": str(tiny_pipeline(name)), "size": "96x64", "seed": 7, "options": options, **changed}

    return arguments
