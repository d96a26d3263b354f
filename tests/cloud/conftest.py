"""The bucket of each test about S3; all are skipped where moto or s3fs is not installed."""

import importlib.util
import io
import secrets

import pytest
from s3 import running


@pytest.fixture(scope="session")
def s3_server():
    for package in ("moto", "s3fs", "werkzeug"):
        if importlib.util.find_spec(package) is None:
            pytest.skip(f"{package} is not installed")
    with running() as server:
        yield server


@pytest.fixture
def s3(s3_server, monkeypatch, tmp_path):
    """Give the server, without a fault, to this process' environment."""
    for name, value in s3_server.environment(tmp_path).items():
        monkeypatch.setenv(name, value)
    s3_server.fail()
    s3_server.requests()
    _forget()
    yield s3_server
    s3_server.fail()
    _forget()


@pytest.fixture
def bucket(s3):
    """Return the address of an empty bucket."""
    return s3.make_bucket(f"bucket-{secrets.token_hex(4)}")


def _forget():
    """Let s3fs read the environment again."""
    import fsspec

    fsspec.get_filesystem_class("s3").clear_instance_cache()


@pytest.fixture
def painted():
    """Return a small picture, as a PNG."""
    from PIL import Image

    buffer = io.BytesIO()
    Image.radial_gradient("L").convert("RGB").resize((64, 64)).save(buffer, "png")
    return buffer.getvalue()
