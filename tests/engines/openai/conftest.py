"""Clients of the loopback images API, and a watch on what is logged."""

import logging

import pytest
from loopback import CANARY

from ipy_imgvar import Client


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
