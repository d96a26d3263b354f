"""The loopback images API, one for the whole run, and clients that ask it."""

import logging

import pytest
from loopback import CANARY, Api

from ipy_imgvar import Client


@pytest.fixture(scope="session")
def _api():
    api = Api()
    yield api
    api.close()


@pytest.fixture
def api(_api):
    """Give the loopback images API, with nothing recorded and nothing scripted."""
    _api.reset()
    return _api


@pytest.fixture
def client(api):
    """Give a client of that API, with a key."""
    with Client("openai", api_base=api.base, api_key=CANARY) as made:
        yield made


@pytest.fixture(autouse=True)
def log(caplog):
    """Record every line that anything logs, and see after each test that none shows the key."""
    caplog.set_level(logging.DEBUG)
    yield caplog
    assert CANARY not in caplog.text
