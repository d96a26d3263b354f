"""What tests of batches share: the loopback server, a client, and a run that does not wait."""

import pytest
from batch_server import Api
from loopback import CANARY

from ipy_imgvar import Client
from ipy_imgvar.bulk.batches.run import run
from ipy_imgvar.bulk.batches.uploads import Pace

#: No wait to speak of.
FAST = Pace(first_s=0.01, longest_s=0.05, retry=0.01)


@pytest.fixture(scope="session")
def _batch_api():
    api = Api()
    yield api
    api.close()


@pytest.fixture
def api(_batch_api):
    """Give the loopback server of batches, with nothing in it."""
    _batch_api.reset()
    return _batch_api


@pytest.fixture
def client(api):
    with Client("openai", api_base=api.base, api_key=CANARY, model="gpt-image-2.6-flare") as client:
        yield client


@pytest.fixture
def in_batches(client):
    """Return a function that runs `Client.map(batch=True)` without its waits."""

    def start(images, out_dir, *, limits=None, pace=FAST, **arguments):
        own = {
            name: arguments.pop(name) for name in ("resume", "listener", "bar", "cancel") if name in arguments
        }
        request = client._bulk_request(arguments)
        engine = client.engine
        if limits is not None:
            engine = Limited(engine, limits)
        return run(engine, request, images, out_dir=out_dir, pace=pace, **own)

    return start


class Limited:
    """An engine whose server takes less in a file than OpenAI's."""

    def __init__(self, engine, limits):
        self._engine, self._limits = engine, limits

    def __getattr__(self, name):
        return getattr(self._engine, name)

    def for_batches(self, request):
        return self._engine.for_batches(request)

    def batches(self, request, job, *, pace=1.0):
        service = self._engine.batches(request, job, pace=pace)
        service.limits = self._limits
        return service
