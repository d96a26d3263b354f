"""The panel with an engine of another package."""

from types import SimpleNamespace

import pytest

from ipy_imgvar import VariationPanel
from ipy_imgvar.panel.job import Worker


@pytest.mark.usefixtures("installed_engine")
def test_its_controls(photo):
    """Models and options are offered, what it does not take is disabled, and a run gets what was chosen."""
    events = SimpleNamespace(register=lambda *_: None, unregister=lambda *_: None)
    shell = SimpleNamespace(user_ns={}, events=events, execution_count=1)
    inline = Worker(lambda work: work()), Worker(lambda work: work())
    panel = VariationPanel(
        photo, shell=shell, worker=inline[0], loader=inline[1], engine="posterise", size=64
    )
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
    panel.close()
