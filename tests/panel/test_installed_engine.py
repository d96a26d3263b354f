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


def test_its_controls(panel_of):
    """Models and options are offered, what it does not take is disabled, and a run gets what was chosen."""
    panel = panel_of("posterise")
    settings = panel.settings
    assert "posterise" in settings.engine.options
    assert settings.model.options == ("soft", "hard")
    assert not settings.model.disabled
    assert settings.prompt.disabled
    assert settings.strength.disabled
    settings.model.value = "hard"
    controls = settings.options.controls
    assert (controls["bits"].value, controls["bits"].min, controls["bits"].max) == (3, 1, 8)
    controls["bits"].value = 2
    controls["mirror"].value = "always"
    panel.actions.run()
    assert panel.state.error == ""
    assert panel.state.result[0].parameters["options"] == {"bits": 2, "mirror": "always"}
    assert panel.state.result.model == "hard"


def test_models_are_a_list_with_a_line_each(panel_of):
    """The list has a line for the default and one for each model; it, the typed name and the state are one."""
    panel = panel_of("posterise-weights")
    settings, state = panel.settings, panel.state
    assert settings.models.options == (
        ("the engine's default: soft", ""),
        ("soft: few changes, 1 MB", "soft"),
        ("hard: many changes, 2 MB", "hard"),
    )
    assert settings.models.layout.display is None
    assert (settings.models.value, state.model) == ("", "")
    settings.models.value = "hard"
    assert (state.model, settings.model.value) == ("hard", "hard")
    settings.model.value = "owner/other@1"
    assert (state.model, settings.models.value) == ("owner/other@1", None)
    settings.models.value = ""
    assert (state.model, settings.model.value) == ("", "")


def test_a_typed_name_is_taken_where_the_engine_takes_others(panel_of):
    """The text stays beside the list of an engine that takes other models, and goes where the list has them all."""
    panel = panel_of("posterise-weights")
    assert panel.settings.model.layout.display is None
    panel.settings.engine.value = "posterise"
    assert panel.settings.model.layout.display == "none"
    assert panel.settings.models.layout.display is None
    panel.settings.engine.value = "patch"
    assert panel.settings.model.layout.display is None
    assert panel.settings.models.layout.display == "none"


def test_another_engine_gets_no_model_of_the_list(panel_of):
    """A model that was chosen from an engine's list does not stay for an engine that takes any name."""
    panel = panel_of("posterise-weights", model="hard")
    assert panel.settings.models.value == "hard"
    panel.settings.engine.value = "openai"
    assert panel.state.model == ""
    panel.state.model = "mine"
    panel.settings.engine.value = "posterise"
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
    assert '"closed"' not in notes.read_text()
    panel.close()
    assert notes.read_text().splitlines()[-1].endswith('"closed", ["soft"]]')
