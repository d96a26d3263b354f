"""The panel with an engine of another package."""

from types import SimpleNamespace

import pytest

from ipy_imgvar import VariationPanel
from ipy_imgvar.panel.job import Worker

pytestmark = pytest.mark.usefixtures("installed_engine")


@pytest.fixture
def panel_of(photo):
    """Return a function that makes a panel with an engine; its work runs at once."""
    made = []

    def make(engine, **settings):
        events = SimpleNamespace(register=lambda *_: None, unregister=lambda *_: None)
        shell = SimpleNamespace(user_ns={}, events=events, execution_count=1)
        worker, loader = Worker(lambda work: work()), Worker(lambda work: work())
        made.append(
            VariationPanel(
                photo, shell=shell, worker=worker, loader=loader, engine=engine, size=64, **settings
            )
        )
        return made[-1]

    yield make
    for each in made:
        each.close()


def field(panel, name):
    """Return a field of the page, or None."""
    return next((each for each in panel.settings["fields"] if each["name"] == name), None)


def test_its_fields(panel_of):
    """Models and options are offered, what it does not take is left out with the reason, and a run gets the choices."""
    panel = panel_of("posterise")
    assert ["posterise", "posterise"] in field(panel, "engine")["choices"]
    assert [value for value, _ in field(panel, "model")["choices"]] == ["", "soft", "hard"]
    assert field(panel, "prompt") is field(panel, "strength") is None
    assert "the engine posterise takes no prompt" in panel.settings["left_out"]
    assert (
        field(panel, "option:bits").items() >= {"kind": "integer", "value": 3, "least": 1, "most": 8}.items()
    )
    for name, value in (("model", "hard"), ("option:bits", 2), ("option:mirror", "always")):
        panel.actions.set_field(name, value)
    panel.actions.run()
    assert panel.state.error == ""
    assert panel.state.result[0].parameters["options"] == {"bits": 2, "mirror": "always"}
    assert panel.state.result.model == "hard"


def test_models_have_a_line_each(panel_of):
    """A field suggests each model with its line; of an engine that takes others, any name can be typed."""
    panel = panel_of("posterise-weights")
    assert (
        field(panel, "model").items()
        >= {
            "kind": "combo",
            "choices": [["soft", "soft: few changes, 1 MB"], ["hard", "hard: many changes, 2 MB"]],
        }.items()
    )
    panel.actions.set_field("model", "owner/other@1")
    assert field(panel, "model")["value"] == "owner/other@1"
    panel.actions.set_field("engine", "posterise")
    assert field(panel, "model")["kind"] == "choice"


def test_another_engine_gets_no_model_of_the_list(panel_of):
    """A model that was chosen from an engine's list does not stay for an engine that takes any name."""
    panel = panel_of("posterise-weights", model="hard")
    panel.actions.set_field("engine", "openai")
    assert panel.state.model == ""
    panel.state.model = "mine"
    panel.actions.set_field("engine", "posterise")
    assert panel.state.model == ""


def test_weights_stay_between_runs(panel_of, tmp_path, monkeypatch):
    """The runs of one panel load a model once, and closing the panel frees it."""
    notes = tmp_path / "notes"
    monkeypatch.setenv("POSTERISE_NOTES", str(notes))
    panel = panel_of("posterise-weights")
    panel.actions.run()
    panel.actions.run()
    assert panel.state.error == ""
    assert notes.read_text().count('"loaded"') == 1
    assert (
        '"closed", ["soft"]' not in notes.read_text()
    )  # An engine that only described itself closes with nothing.
    panel.close()
    assert notes.read_text().splitlines()[-1].endswith('"closed", ["soft"]]')
