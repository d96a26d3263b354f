"""The registry of engines: which it remembers, and how it frees what they have loaded."""

import gc
import weakref

import pytest

from ipy_imgvar import Client, engines
from ipy_imgvar.errors import ConfigurationError, EngineError


@pytest.fixture(autouse=True)
def _nothing_remembered(monkeypatch):
    monkeypatch.setattr(engines, "_loaders", [])


@pytest.fixture
def loading(fake_engine):
    """Return a function that makes an engine which has loaded these models, or fails to free them."""

    class Loading(fake_engine):
        def __init__(self, *loaded):
            super().__init__()
            self.loaded = list(loaded)

        def prepare(self, models, job):
            """Load nothing."""

        def unload(self):
            freed, self.loaded = self.loaded, []
            for each in freed:
                if isinstance(each, Exception):
                    raise each
            return freed

    return Loading


def test_nothing_is_loaded(fake_engine):
    """Without an engine that loads weights there is nothing to free."""
    assert engines.unload() == []
    Client(fake_engine())
    Client("patch")
    assert engines.unload() == []


def test_every_engine_frees_its_weights(loading):
    """Each engine of this process frees its weights, each model is named once, and a second call has nothing to do."""
    clients = [Client(loading("a", "b")), Client(loading("b", "c"))]
    assert engines.unload() == ["a", "b", "c"]
    assert engines.unload() == []
    del clients


def test_an_engine_by_name_is_remembered(loading, monkeypatch):
    """An engine that the registry makes is freed too, and one that is passed twice is asked once."""
    made = []

    class Counted(loading):
        def __init__(self, connection):  # noqa: ARG002 - a factory's signature
            super().__init__("a")
            made.append(self)

        def unload(self):
            self.asked = getattr(self, "asked", 0) + 1
            return super().unload()

    monkeypatch.setattr(engines, "_installed", lambda name: Counted)  # noqa: ARG005
    client = Client("counted")
    again = Client(client.engine)
    assert engines.unload() == ["a"]
    assert made[0].asked == 1
    del again


def test_the_registry_keeps_no_engine_alive(loading):
    """An engine that its owner drops is collected, with its weights."""
    engine = Client(loading("a")).engine
    seen = weakref.ref(engine)
    del engine
    gc.collect()
    assert seen() is None
    assert engines.unload() == []


def test_an_engine_without_weak_references_is_used_as_it_is():
    """An engine that takes no weak reference can be made; the registry does not hold it."""

    class Slotted:
        __slots__ = ()
        prepare = unload = None

    assert isinstance(engines.remember(Slotted()), Slotted)
    assert engines._loaders == []


@pytest.mark.parametrize(
    ("failure", "raised", "said"),
    [
        (EngineError("a run is under way"), EngineError, "^a run is under way$"),
        (ValueError("odd"), ConfigurationError, r"weights can't be freed \(ValueError: odd\)"),
    ],
)
def test_one_that_fails_does_not_keep_the_others(loading, failure, raised, said):
    """The other engines free their weights before the failure is raised, in one line."""
    clients = [Client(loading(failure)), Client(loading("b"))]
    with pytest.raises(raised, match=said):
        engines.unload()
    assert clients[1].engine.loaded == []
