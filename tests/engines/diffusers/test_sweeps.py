"""Sweeps over models that are loaded: each is loaded once, and a picture is the one that its row makes alone."""

from collections import Counter

import pytest

from ipy_imgvar.engines.diffusers import engine


@pytest.fixture
def loads(monkeypatch):
    """Count the loads of each model by its folder's name."""
    counts, real = Counter(), engine.load

    def load(recipe):
        counts[recipe.name] += 1
        return real(recipe)

    monkeypatch.setattr(engine, "load", load)
    return counts


def test_each_model_is_loaded_once(client, source, request_for, loads):
    """With room for one model, a sweep whose first axis is the seed still loads each of two models once."""
    settings = request_for("stable")
    models = [settings.pop("model"), request_for("consistency")["model"]]
    settings.pop("seed")
    made = client.sweep(source, over={"seed": [1, 2], "model": models}, **settings)
    assert [each.combination["model"] for each in made] == models * 2
    assert sorted(loads.values()) == [1, 1]
    alone = client.variations(source, **settings, **made[2].combination)
    assert alone[0].bytes == made[2].bytes
