"""The panel's widgets without a kernel: clicks and typed values in, values and disabled controls out."""

import threading
from datetime import UTC, datetime
from types import SimpleNamespace

import ipywidgets as widgets
import numpy as np
import pytest
from PIL import Image

import ipy_imgvar
from ipy_imgvar import Client, VariationPanel
from ipy_imgvar.errors import EngineError
from ipy_imgvar.panel.job import Worker


@pytest.fixture
def shell():
    """Return what a panel needs of a shell: variables and events."""
    registered = []
    events = SimpleNamespace(
        register=lambda name, action: registered.append((name, action)),
        unregister=lambda name, action: registered.remove((name, action)),
    )
    return SimpleNamespace(user_ns={}, events=events, registered=registered, execution_count=1)


@pytest.fixture
def open_panel(shell, make):
    """Open panels over a scripted engine, and close them."""
    opened = []

    def build(*script, image=None, **settings):
        inline = [Worker(lambda work: work(), lambda _, action: action()) for _ in range(2)]
        engine = make(*script).engine
        panel = VariationPanel(
            image, Client(engine), shell=shell, worker=inline[0], loader=inline[1], **{"size": 64, **settings}
        )
        opened.append(panel)
        return panel

    yield build
    for panel in opened:
        panel.close()


def text(widget):
    """Return all HTML below a widget that is on the page."""
    if widget.layout.display == "none":
        return ""
    own = widget.value if isinstance(widget, widgets.HTML) else ""
    return own + "".join(text(child) for child in getattr(widget, "children", ()))


def test_a_click_runs_and_shows_the_pictures(open_panel, photo):
    """Run makes the pictures, and each has alternative text, a check box and two buttons."""
    panel = open_panel("red", "green", image=photo)
    panel.run.click()
    assert text(panel.gallery).count("<img") == 2
    assert text(panel.gallery).count('alt="Variation') == 2
    assert not panel.run.disabled
    assert panel.cancel.disabled


def test_run_is_disabled_without_a_source_and_during_a_run(open_panel, photo):
    """Run can be clicked only when a run is possible, Cancel only during one."""
    seen = []
    panel = open_panel(lambda job: seen.append((panel.run.disabled, panel.cancel.disabled)), "red")  # noqa: ARG005
    assert panel.run.disabled
    panel.actions.use(photo)
    assert not panel.run.disabled
    panel.run.click()
    assert seen == [(True, False)]


def test_an_error_is_shown_in_the_panel_and_escaped(open_panel, photo):
    """A failure stands in the panel as an alert, and its markup is text."""
    panel = open_panel(EngineError("no <b>luck</b>; try again"), image=photo)
    panel.run.click()
    assert 'role="alert"' in panel.error.value
    assert "no &lt;b&gt;luck&lt;/b&gt;; try again" in panel.error.value
    assert not panel.run.disabled


def test_what_a_handler_raises_is_shown(open_panel):
    """A wrong value that is typed is an error in the panel, not an exception that nobody sees."""
    panel = open_panel("red")
    panel.settings.key.value = "sk-never-kept"
    assert 'role="alert"' in panel.error.value
    assert "sk-never-kept" not in panel.error.value
    assert panel.settings.key.value == "OPENAI_API_KEY"


def test_an_upload_leaves_no_bytes_in_the_widget(open_panel, photo, tmp_path):
    """The bytes of an upload are taken and the widget is emptied, so that no notebook saves them."""
    Image.fromarray(photo).save(tmp_path / "a.png")
    content = memoryview((tmp_path / "a.png").read_bytes())
    panel = open_panel("red")
    for _ in range(2):
        panel.source.upload.value = ({"name": "a.png", "type": "image/png", "size": 1, "content": content,
                                      "last_modified": datetime.now(UTC)},)  # fmt: skip
        assert panel.source.upload.value == ()
        assert panel.state.source.name == "a.png"


def test_refused_controls_are_disabled_with_the_reason():
    """What the offline engine does not take is disabled, and the tooltip says why."""
    panel = VariationPanel(
        shell=SimpleNamespace(user_ns={}, events=_no_events(), execution_count=1), engine="patch"
    )
    assert panel.settings.prompt.disabled
    assert panel.settings.prompt.tooltip == "the engine patch takes no prompt"
    assert panel.settings.model.disabled
    assert not panel.settings.seed.disabled
    panel.close()


def test_the_engine_has_controls_for_its_options():
    """Each option of the engine has a control; only what differs from its default is asked for."""
    shell = SimpleNamespace(user_ns={}, events=_no_events(), execution_count=1)
    panel = VariationPanel(shell=shell, engine="patch", options={"flip": "no"})
    controls = panel.settings.options.controls
    assert {name: each.value for name, each in controls.items()} == {
        "flip": False,
        "tone": True,
        "subjects": True,
    }
    controls["tone"].value = False
    assert panel.state.arguments()["options"] == {"flip": "no", "tone": False}
    controls["tone"].value = controls["flip"].value = True
    assert "options" not in panel.state.arguments()
    panel.state.engine = "openai"
    controls = panel.settings.options.controls
    assert controls["route"].value is None
    controls["route"].value = "edits"
    controls["quality"].value = "7"
    controls["output_compression"].value = "200"
    assert "allowed: a whole number from 0 to 100" in panel.state.error
    assert controls["output_compression"].value == ""
    assert panel.state.options == {"route": "edits", "quality": 7}
    assert panel.settings.model.options == ("gpt-image-2.6-flare",)
    panel.state.engine = "patch"
    assert panel.state.options == {}
    panel.close()


def _no_events():
    return SimpleNamespace(register=lambda *_: None, unregister=lambda *_: None)


def test_slider_and_words_follow_each_other(open_panel):
    """A word moves the slider, and the slider lights the word that it stands on, or none."""
    panel = open_panel()
    panel.settings.word.value = "subtle"
    assert panel.settings.strength.value == 0.2
    panel.settings.strength.value = 0.31
    assert panel.settings.word.value is None
    panel.settings.strength.value = 0.85
    assert panel.settings.word.value == "strong"


def test_selection_names_the_buttons(open_panel, photo):
    """Buttons that take pictures say which they take."""
    panel = open_panel("red", "green", "blue", image=photo)
    panel.run.click()
    assert panel.take.bind.description == "Bind all 3"
    panel.gallery.cards.children[1].selected.value = True
    assert panel.take.bind.description == "Bind 1 selected"
    panel.take.all.value = True
    assert panel.take.save.description == "Save 3 selected"
    panel.take.all.value = False
    assert not any(card.selected.value for card in panel.gallery.cards.children)


def test_binding_is_seen_by_the_notebook(open_panel, photo, shell):
    """A bound name is a variable of the notebook."""
    panel = open_panel("red", "green", image=photo)
    panel.run.click()
    panel.take.form.value = "array"
    panel.take.name.value = "arrays"
    panel.take.bind.click()
    assert [each.shape for each in shell.user_ns["arrays"]] == [(64, 64, 3)] * 2


def test_enlarging_is_undone(open_panel, photo):
    """An enlarged picture is on the page, and in the state, until it is closed."""
    panel = open_panel("red", image=photo, size=700)
    panel.run.click()
    panel.gallery.cards.children[0].larger.click()
    assert 'width="512"' in panel.gallery.enlarged.value
    panel.gallery.close_enlarged.click()
    assert panel.gallery.enlarged.value == ""


def test_thumbnails_are_no_larger_than_256_px(open_panel, photo):
    """A gallery of large pictures holds small ones."""
    panel = open_panel("red", image=photo, size=900)
    panel.run.click()
    assert 'width="256"' in text(panel.gallery)


def test_cards_are_used_again(open_panel, photo):
    """Ten runs need no more widgets than one."""
    panel = open_panel("red", "green", image=photo)
    panel.run.click()
    before = len(widgets.widgets.widget._instances)
    for _ in range(10):
        panel.run.click()
    assert len(widgets.widgets.widget._instances) == before


def test_closing_frees_every_widget_and_handler(open_panel, photo, shell):
    """A closed panel leaves no widget, no event handler and no thread, and can be closed again."""
    before, threads = len(widgets.widgets.widget._instances), set(threading.enumerate())
    panel = open_panel("red", image=photo)
    panel.run.click()
    panel.close()
    panel.close()
    assert len(widgets.widgets.widget._instances) == before
    assert shell.registered == []
    assert not [each for each in threading.enumerate() if "imgvar" in each.name and each not in threads]
    assert repr(panel) == "<VariationPanel: closed>"


def test_a_front_end_without_widgets_gets_words(open_panel):
    """The plain text of a panel says what it is, how to use it and which magic does the same."""
    bundle = open_panel()._repr_mimebundle_()
    assert "run its cell in a notebook" in bundle["text/plain"]
    assert "can't" not in bundle["text/plain"]
    assert "%imagevariation" in bundle["text/plain"]
    assert "application/vnd.jupyter.widget-view+json" in bundle


def test_an_exported_page_says_how_to_use_the_panel_and_shows_what_was_inserted(open_panel, photo):
    """An exported page of a notebook without widget state has the panel's words and the inserted pictures."""
    import nbformat
    from nbconvert import HTMLExporter

    panel = open_panel("red", "green", image=photo)
    panel.run.click()
    panel.state.can_insert = True
    panel.actions.insert()
    below = {name: data for name, data in panel.actions.inserted_bundle().items() if name.startswith("text/")}
    outputs = [
        nbformat.v4.new_output("display_data", data=data) for data in (panel._repr_mimebundle_(), below)
    ]
    book = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("panel", outputs=outputs)])
    page, _ = HTMLExporter().from_notebook_node(book)
    assert "run its cell in a notebook" in page
    assert page.count("data:image/jpeg;base64,") == 2


def test_settings_are_checked_when_the_panel_is_made(shell):
    """A wrong setting is refused as the client would."""
    with pytest.raises(ipy_imgvar.errors.InvalidRequestError, match="size"):
        VariationPanel(shell=shell, size="huge")


def test_a_panel_is_run_again_in_its_cell(make):
    """A cell that is run again closes the panel it made before, and two panels of one cell live together."""
    shell = SimpleNamespace(user_ns={}, events=_no_events(), execution_count=1)
    shell.get_parent = lambda: {"metadata": {"cellId": "a"}}
    client = Client(make().engine)
    first, second = VariationPanel(client=client, shell=shell), VariationPanel(client=client, shell=shell)
    assert not first._closed
    shell.execution_count = 2
    third = VariationPanel(client=client, shell=shell)
    assert first._closed
    assert second._closed
    third.close()


def test_the_source_may_be_anything_the_client_takes(open_panel):
    """An array of floats is a source as it is for the client."""
    panel = open_panel(image=np.linspace(0, 1, 64 * 64).reshape(64, 64))
    assert panel.state.error == ""
    assert "64x64" in panel.source.preview.value


def test_code_and_history_are_shown_on_demand(open_panel, photo):
    """History and code are off the page until they are asked for."""
    panel = open_panel("red", image=photo)
    panel.run.click()
    assert "<pre" not in text(panel.record)
    panel.record.code.value = panel.record.history.value = True
    assert "<pre" in text(panel.record)
    assert "<dt>seed</dt>" in text(panel.record)
    panel.record.back.click()
    assert panel.state.error == ""
