"""The basic view without a kernel: core widgets over the panel's state and actions, on ipywidgets 7.7 and 8."""

from __future__ import annotations

import io
from pathlib import Path

import ipywidgets as widgets
import pytest
from PIL import Image

from ipy_imgvar import Client, VariationPanel
from ipy_imgvar.errors import EngineError, InvalidRequestError
from ipy_imgvar.magic.call import read_call
from ipy_imgvar.magic.values import Names
from ipy_imgvar.panel import basic
from ipy_imgvar.panel.basic import BasicPanel
from ipy_imgvar.panel.job import Worker

IS_OLD = widgets.__version__.startswith("7.")


@pytest.fixture
def open_basic(shell, make):
    """Open basic views over a scripted engine, and close them."""
    opened = []

    def build(*script, image=None, **settings):
        workers = [Worker(lambda work: work(), lambda *_: None) for _ in range(2)]
        threads = {"worker": workers[0], "loader": workers[1]}
        settings = {"client": Client(make(*script).engine), "size": 64, **settings}
        panel = VariationPanel(image, basic=True, shell=shell, **threads, **settings)
        opened.append(panel)
        return panel

    yield build
    for panel in opened:
        panel.close()


def send_upload(panel, name, data):
    """Give the control a file as a front end does."""
    upload = panel.upload
    about = {"name": name, "type": "image/png", "size": len(data), "lastModified": 0}
    if IS_OLD:
        upload.set_state({"metadata": [about], "data": [memoryview(data)], "_counter": upload._counter + 1})
    else:
        about["last_modified"] = about.pop("lastModified")
        upload.set_state({"value": [{**about, "content": memoryview(data)}]})


def test_the_basic_view_is_core_widgets_alone(open_basic):
    """`basic=True` gives at most 60 models, and each is of the modules that every front end for widgets has."""
    panel = open_basic("red")
    assert isinstance(panel, BasicPanel)
    models = {part.model_id: part for part in basic._parts(panel)}
    assert len(models) <= 60
    assert {part._model_module for part in models.values()} == {
        "@jupyter-widgets/base",
        "@jupyter-widgets/controls",
    }


def test_the_basic_view_is_short():
    """The basic view has at most 200 lines: it is for an emergency, and the panel has the features."""
    assert len(Path(basic.__file__).read_text("utf-8").splitlines()) <= 200


def test_a_typed_path_is_the_source_and_run_makes_pictures(open_basic, tmp_path):
    """A path and Run give the pictures with alternative texts and captions, and the buttons count them."""
    Image.new("RGB", (96, 64), "teal").save(tmp_path / "cat.png")
    panel = open_basic("red", "green")
    assert panel.run.disabled
    assert "choose a picture first" in panel.progress.value
    panel.path.value = str(tmp_path / "cat.png")
    assert "cat.png, 96x64, crop to 64x64" in panel.source.value
    panel.run.click()
    assert panel.pictures.value.count("<img") == 2
    assert 'alt="Variation 2 of cat.png"' in panel.pictures.value
    assert "similar to the source" in panel.pictures.value
    assert panel.bind.description == "Bind all 2"
    assert panel.seed.value == panel.state.seed != ""
    assert not panel.seed_locked.value


def test_a_path_that_leads_nowhere_is_said_and_stays(open_basic):
    """A path without a file gives one line, and what was typed can be mended."""
    panel = open_basic()
    panel.path.value = "no-such-cat.png"
    assert 'role="alert">' in panel.said.value
    assert "no-such-cat.png" in panel.said.value
    assert panel.path.value == "no-such-cat.png"
    assert panel.run.disabled


def test_a_variable_is_the_source(open_basic, shell, photo):
    """A variable with a picture is in the list, and choosing it makes it the source."""
    shell.user_ns["photo"] = photo
    panel = open_basic()
    assert list(panel.variable.options) == [("", ""), ("photo", "photo")]
    panel.variable.value = "photo"
    assert panel.state.origin == panel.variable.value == "photo"
    assert "photo, 120x80" in panel.source.value


def test_an_upload_is_the_source_and_leaves_the_control(open_basic):
    """An uploaded picture becomes the source, and no byte of it stays in a control, twice with the same file."""
    file = io.BytesIO()
    Image.new("RGB", (50, 40), "teal").save(file, "PNG")
    panel = open_basic("red")
    for _ in range(2):
        send_upload(panel, "<up>.png", file.getvalue())
        assert panel.state.source.read() == file.getvalue()
        assert "&lt;up&gt;.png, 50x40" in panel.source.value
        state = panel.upload.get_state()
        assert not panel.upload.value
        assert not state.get("data")
        panel.state.source = None


def test_the_controls_show_the_settings_and_set_them(open_basic):
    """The settings of the call stand in the controls; a control sets its setting; a wrong one is refused in words."""
    panel = open_basic(n=2, strength=0.33, seed=7)
    assert (panel.n.value, panel.strength.value, panel.seed.value, panel.seed_locked.value) == (
        2,
        0.33,
        "7",
        True,
    )
    panel.n.value, panel.strength.value, panel.seed_locked.value = 3, 0.85, False
    assert (panel.state.n, panel.state.strength, panel.state.seed_locked) == (3, 0.85, False)
    panel.seed.value = "seven"
    assert "seed is" in panel.said.value
    assert panel.seed.value == panel.state.seed == "7"


def test_what_the_engine_refuses_is_disabled(open_basic, make):
    """A control of a setting that the engine does not take is disabled."""
    engine = make("red").engine
    engine.features = frozenset({"seed"})
    panel = open_basic(client=Client(engine))
    assert panel.strength.disabled
    assert not panel.seed.disabled


def test_the_engine_is_chosen(open_basic):
    """Without a client of the caller's the list has every engine; with one, its engine alone."""
    panel = open_basic(client=None, engine="patch")
    assert {"patch", "openai"} <= set(panel.engine.options)
    panel.engine.value = "openai"
    assert panel.state.engine == "openai"
    assert list(open_basic().engine.options) == ["scripted"]


def test_a_run_can_be_cancelled(open_basic, photo):
    """During a run Cancel is the button that works, and a cancelled run keeps its finished pictures."""
    seen = []

    def cancel(_):
        seen.append((panel.run.disabled, panel.cancel.disabled, "<progress" in panel.progress.value))
        panel.cancel.click()

    panel = open_basic("red", cancel, "green", image=photo)
    panel.run.click()
    assert seen == [(True, False, True)]
    assert panel.pictures.value.count("<img") == 1
    assert "cancelled after 1 picture" in panel.said.value
    assert (panel.run.disabled, panel.cancel.disabled) == (False, True)


def test_a_failure_is_one_line_and_the_next_run_works(open_basic, photo):
    """A failed run leaves a line and a panel that runs again; the earlier pictures stay until the new ones come."""
    seen = []
    panel = open_basic("red", image=photo)
    panel.run.click()
    panel.actions._client.engine.script = [
        lambda _: seen.append(panel.pictures.value),
        EngineError("<no> luck"),
    ]
    panel.run.click()
    assert "&lt;no&gt; luck" in panel.said.value
    assert seen[0].count("<img") == panel.pictures.value.count("<img") == 1
    assert not panel.run.disabled


def test_pictures_are_bound_and_saved(open_basic, shell, photo, tmp_path):
    """Bind gives a list of pictures in a variable, and Save writes files and names them."""
    panel = open_basic("red", "green", image=photo)
    assert panel.bind.disabled
    panel.run.click()
    panel.bind.click()
    assert [each.size for each in shell.user_ns["pictures"]] == [(64, 64)] * 2
    panel.save.click()
    assert "no place to save to" in panel.said.value
    panel.where.value = str(tmp_path / "out/{i}.png")
    panel.save.click()
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["1.png", "2.png"]


def test_closing_frees_every_model(open_basic, shell, photo):
    """After close no model is left that was made for the panel, and the shell no longer knows it."""
    panel = open_basic("red", image=photo)
    parts = basic._parts(panel)
    panel.close()
    panel.close()
    assert not [part for part in parts if part.comm is not None]
    assert shell.registered == []
    assert repr(panel) == "<VariationPanel: closed>"


def test_without_widgets_a_line_says_what_to_run(open_basic, monkeypatch):
    """What is displayed is the view of the model beside a text with the magic's line."""
    shown = []
    monkeypatch.setattr("ipy_imgvar.panel.shown.display", lambda bundle, **_: shown.append(bundle))
    panel = open_basic()
    panel._ipython_display_()
    (bundle,) = shown
    assert bundle["application/vnd.jupyter.widget-view+json"]["model_id"] == panel.model_id
    assert "%imagevariation photo.jpg -n 4" in bundle["text/plain"]
    panel.close()
    if not IS_OLD:  # It takes the method from a closed widget.
        panel._ipython_display_()
        assert shown[-1] == {"text/plain": "VariationPanel: closed"}


def test_the_line_opens_the_basic_view():
    """`--panel --basic` asks for the basic view, and `--basic` without `--panel` is refused in words."""
    assert read_call("--panel --basic", None, Names({}, None), {}).basic
    assert not read_call("--panel", None, Names({}, None), {}).basic
    with pytest.raises(InvalidRequestError, match="write --panel --basic"):
        read_call("--basic", None, Names({}, None), {})
