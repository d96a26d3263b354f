"""What an engine declares and reports, beside what `test_capabilities.py` checks of requests."""

import copy
import json
import pickle

import pytest

from ipy_imgvar import Client, history
from ipy_imgvar.engine import Capabilities, Engine, EngineOption, Job, LoadsWeights
from ipy_imgvar.engines.patch.engine import PatchEngine
from ipy_imgvar.errors import CancelledError, EngineError
from ipy_imgvar.results.history import forget


def learn(name):
    """Return a step of `FakeEngine` that sets the job's model."""
    return lambda job: setattr(job, "model", name)


def stop(job):  # noqa: ARG001 - a step's signature
    raise CancelledError("stopped here")


class Loading(PatchEngine):
    """An engine that loads weights, as far as the protocol says."""

    def prepare(self, models, job):
        """Load nothing."""

    def unload(self):
        return []


def test_only_an_engine_with_both_methods_loads_weights():
    """The further protocol is told by its two methods, and an engine without them is an engine as before."""
    assert isinstance(Loading(), LoadsWeights)
    assert isinstance(Loading(), Engine)
    assert not isinstance(PatchEngine(), LoadsWeights)


def test_an_option_is_for_everybody_unless_it_says_otherwise():
    """An option is not trusted by default, so an engine has to name those that a client may not set."""
    assert not EngineOption("steps").trusted
    assert EngineOption("device", trusted=True).trusted


def test_notes_leave_a_declaration_a_value():
    """Capabilities with notes on models compare, hash, copy and pickle as values."""
    noted = Capabilities(models=("a",), model_notes={"a": "small and quick"})
    assert Capabilities().model_notes == {}
    assert noted != Capabilities(models=("a",))
    assert hash(noted) == hash(Capabilities(models=("a",), model_notes={"a": "small and quick"}))
    assert copy.deepcopy(noted) == pickle.loads(pickle.dumps(noted)) == noted  # noqa: S301 - our own bytes


def test_a_model_that_is_learned_in_the_run_is_recorded(fake_engine, photo):
    """The result and the history name the model that the engine set, and without one the model of the request."""
    engine = fake_engine([learn("owner/name@abc"), "red"], ["lime"])
    with Client(engine) as client:
        learned = client.variations(photo, size="64x64")
        plain = client.variations(photo, size="64x64")
    assert Job().model is None
    assert (learned.model, plain.model) == ("owner/name@abc", "fake-1")
    forget()
    assert [each.model for each in history()] == ["owner/name@abc", "fake-1"]


@pytest.mark.parametrize(
    ("end", "raised"),
    [(EngineError("broke"), EngineError), (stop, CancelledError)],
    ids=["failed", "cancelled"],
)
def test_a_run_that_stops_names_its_model_too(fake_engine, photo, end, raised):
    """The finished pictures of a run that failed or was cancelled have the model that the engine set."""
    with Client(fake_engine(["red", learn("b"), end])) as client, pytest.raises(raised) as caught:
        client.variations(photo, size="64x64")
    assert caught.value.partial.model == "b"
    forget()
    assert history()[0].model == "b"


def test_an_interrupted_run_names_its_model(fake_engine, photo):
    """The history of a run that the user interrupted has the model that the engine set."""
    with (
        Client(fake_engine(["red", learn("b"), KeyboardInterrupt()])) as client,
        pytest.raises(KeyboardInterrupt),
    ):
        client.variations(photo, size="64x64")
    forget()
    assert history()[0].model == "b"


def test_a_bulk_run_records_the_model_and_goes_on(fake_engine, photo, tmp_path):
    """The ledger has the learned model beside the request, so that the same run again skips what is done."""
    photo.save(tmp_path / "a.png")
    out_dir = tmp_path / "out"
    engine = fake_engine([learn("owner/name@abc"), "red"])
    with Client(engine) as client:
        client.map([tmp_path / "a.png"], out_dir=out_dir, size="64x64")
        (record,) = map(json.loads, (out_dir / "ledger.jsonl").read_text().splitlines())
        assert (record["model"], record["request"]["model"]) == ("owner/name@abc", "fake-1")
        assert len(client.map([tmp_path / "a.png"], out_dir=out_dir, size="64x64").skipped) == 1
