"""The models in memory: one at a time, and one run at a time."""

import gc
import threading

import pytest

from ipy_imgvar.engines.diffusers.pipelines.holder import Models
from ipy_imgvar.errors import CancelledError, EngineError


class Model:
    """Stands for a loaded model: the holder reads its name only."""

    def __init__(self, name):
        self.name = name


class User:
    """Stands for an engine."""


def nothing():
    """Neither cancel nor report."""


def loader(name, loads):
    def load():
        loads.append(name)
        return Model(name)

    return load


def get(models, name, loads):
    return models.find(name) or models.add(name, loader(name, loads))


def test_one_model_is_held_and_found_again():
    """The same key loads once; another key frees the first model, unless the holder may hold two."""
    models, loads = Models(), []
    first = get(models, "a", loads)
    assert get(models, "a", loads) is first
    get(models, "b", loads)
    get(models, "a", loads)
    assert loads == ["a", "b", "a"]
    models.hold(2)
    get(models, "b", loads)
    get(models, "a", loads)
    assert loads == ["a", "b", "a", "b"]


def test_a_model_is_freed_when_the_last_engine_leaves():
    """A client that lives for one call frees nothing that the notebook's own client uses."""
    models, one, other = Models(), User(), User()
    for user in (one, other):
        with models.turn(user, nothing, nothing):
            get(models, "a", [])
    models.leave(one)
    assert models.free() == ["a"]
    get(models, "a", [])
    models.leave(other)
    assert models.free() == []


def test_a_model_is_freed_when_an_engine_is_dropped_without_a_word():
    """A notebook that binds another client to the same name holds no gigabytes for the old one."""
    models, user = Models(), User()
    with models.turn(user, nothing, nothing):
        get(models, "a", [])
    del user
    gc.collect()
    assert models.free() == []


def test_models_freed_during_a_load_are_not_held_afterwards():
    """A client that is closed, or --unload, while a model is loading leaves no gigabytes behind."""
    models, user = Models(), User()

    def load():
        models.leave(user)
        return Model("a")

    with models.turn(user, nothing, nothing):
        assert models.add("a", load).name == "a"
    assert models.free() == []


def test_a_run_inside_a_run_of_the_same_thread_is_refused():
    """It would wait for itself without end."""
    models, user = Models(), User()
    with (
        models.turn(user, nothing, nothing),
        pytest.raises(EngineError, match="before it has ended"),
        models.turn(user, nothing, nothing),
    ):
        pass


def test_a_failed_load_leaves_nothing_behind():
    """The next run tries again."""
    models = Models()
    with pytest.raises(ZeroDivisionError):
        models.add("a", lambda: 1 / 0)
    assert get(models, "a", []).name == "a"


def test_a_run_waits_for_the_one_before_and_can_be_cancelled_meanwhile():
    """Runs on one device queue, and a cancelled one leaves the queue."""
    models, waits, user = Models(), [], User()
    inside, leave = threading.Event(), threading.Event()

    def first():
        with models.turn(user, nothing, nothing):
            inside.set()
            leave.wait(100)

    thread = threading.Thread(target=first)
    thread.start()
    inside.wait(100)

    def cancelled():
        raise CancelledError("cancelled")

    with pytest.raises(CancelledError), models.turn(user, cancelled, lambda: waits.append(1)):
        pass
    leave.set()
    thread.join()
    with models.turn(user, cancelled, lambda: waits.append(2)):
        assert waits == [1]
