"""The panel's one widget without a kernel: messages in, sections and pictures out."""

import io
import json
import re
import threading
import time
from dataclasses import replace

import ipywidgets as widgets
import numpy as np
import pytest
from PIL import Image

import ipy_imgvar
from ipy_imgvar import Client, VariationPanel
from ipy_imgvar.engine import EngineOption
from ipy_imgvar.errors import EngineError
from ipy_imgvar.images import codec
from ipy_imgvar.panel import view, widget
from ipy_imgvar.panel.job import Worker
from ipy_imgvar.panel.state import Thumbnail


@pytest.fixture
def open_panel(shell, make, monkeypatch):
    """Open panels over a scripted engine, note what they send to the page, and close them."""
    opened = []
    monkeypatch.setattr(
        VariationPanel,
        "_tell",
        lambda panel, content, buffers=(): panel.__dict__.setdefault("told", []).append((content, buffers)),
    )

    def build(*script, image=None, client=None, shell=shell, **settings):
        inline = [Worker(lambda work: work(), lambda _, action: action()) for _ in range(2)]
        client = client or Client(make(*script).engine)
        panel = VariationPanel(
            image, client, shell=shell, worker=inline[0], loader=inline[1], **{"size": 64, **settings}
        )
        panel.do = lambda action, buffers=(), **given: panel._heard(
            panel, {"action": action, **given}, buffers
        )
        opened.append(panel)
        return panel

    yield build
    for panel in opened:
        panel.close()


def pictures(panel):
    """Return the ids of the pictures that the page got."""
    return [content["id"] for content, _ in panel.told if content["type"] == "picture"]


def test_a_run_shows_the_pictures(open_panel, photo):
    """A run gives a group of cards, each with alternative text, and the page gets the bytes of each once."""
    panel = open_panel("red", "green", image=photo)
    panel.do("run")
    (group,) = panel.gallery["groups"]
    assert [card["alt"] for card in group["cards"]] == ["Variation 1 of array", "Variation 2 of array"]
    assert [card["number"] for card in group["cards"]] == [1, 2]
    assert sorted(pictures(panel)) == sorted(
        [*(card["id"] for card in group["cards"]), panel.source["preview"]]
    )


def test_run_is_possible_with_a_source_and_outside_of_a_run(open_panel, photo):
    """The page may run only when a run is possible, and cancel only during one."""
    seen = []
    panel = open_panel(lambda job: seen.append((panel.run["can_run"], panel.run["can_cancel"])), "red")  # noqa: ARG005
    assert panel.run["can_run"] is False
    assert panel.run["why"] == "choose a picture first"
    panel.actions.use(photo)
    assert panel.run["can_run"] is True
    panel.do("run")
    assert seen == [(False, True)]


def test_waiting_cards_have_their_place(open_panel, photo):
    """While a run goes on, the pictures that are not there yet have cards, and the earlier run's stay below."""
    seen = []
    panel = open_panel("red", lambda job: seen.append(panel.gallery["groups"]), "green", image=photo, n=3)  # noqa: ARG005
    panel.do("run")
    panel.do("run")
    second = seen[1]
    assert [[card["ready"] for card in group["cards"]] for group in second] == [
        [True, False, False],
        [True] * 2,
    ]
    assert second[0]["running"]
    assert not second[1]["running"]
    assert [card["id"] for card in second[0]["cards"][1:]] == ["look:2:1", "look:2:2"]
    assert [group["running"] for group in panel.gallery["groups"]] == [False, False]


def test_progress_counts_the_pictures_once(open_panel, photo):
    """The line of a run has the ready pictures and the step, and no second count of an engine."""
    lines = []

    def step(text):
        def report(job):
            time.sleep(0.11)  # progress is shown every 0.1 s
            job.progress(0.1, text)
            lines.append(panel.run["doing"])

        return report

    panel = open_panel(step("sending"), "red", step("1 of 4"), image=photo, n=2)
    panel.do("run")
    assert lines == ["0 of 2 ready · sending", "1 of 2 ready"]


def test_what_goes_wrong_is_said_in_the_panel(open_panel, photo):
    """A failure, and a wrong value, is a line on the page, and each message is answered."""
    panel = open_panel(EngineError("no luck; try again"), image=photo)
    panel.do("run", count=1)
    assert panel.run["error"] == "no luck; try again"
    panel.do("set", count=2, name="n", value=11)
    assert "Pictures is 11" in panel.run["error"]
    heard = [content for content, _ in panel.told if content["type"] == "heard"]
    assert [(each["count"], each["error"]) for each in heard] == [(1, False), (2, True)]


def test_what_the_engine_does_not_take_is_left_out_with_the_reason(open_panel):
    """The offline engine has no field for a prompt or a model, and a line says why."""
    panel = open_panel(client=Client("patch"))
    names = [field["name"] for field in panel.settings["fields"]]
    assert "prompt" not in names
    assert "model" not in names
    assert "seed" in names
    assert panel.settings["left_out"] == ["the engine patch takes no prompt"]


def test_the_engine_has_fields_for_its_options(shell):
    """Each option of the engine has a field; only what differs from its default is asked for."""
    panel = VariationPanel(shell=shell, engine="patch", options={"flip": "no"})

    def values(group):
        return {
            field["name"].removeprefix("option:"): field["value"]
            for field in panel.settings["fields"]
            if field["group"] == group
        }

    def choose(name, value):
        panel._heard(panel, {"action": "set", "name": name, "value": value}, ())

    assert values("options") == {"flip": False, "tone": True, "subjects": True}
    choose("option:tone", value=False)
    assert panel.state.arguments()["options"] == {"flip": "no", "tone": False}
    choose("option:tone", value=True)
    choose("option:flip", value=True)
    assert "options" not in panel.state.arguments()
    choose("engine", "openai")
    assert set(values("connection")) == {"api_base", "key_name", "max_retry_count"}
    assert values("options")["route"] == ""
    choose("option:route", "edits")
    choose("option:quality", "7")
    choose("option:output_compression", "200")
    assert "allowed: a whole number from 0 to 100" in panel.state.error
    assert values("options")["output_compression"] == ""
    assert panel.state.options == {"route": "edits", "quality": 7}
    choose("engine", "patch")
    assert panel.state.options == {}
    assert values("connection") == {}
    panel.close()


def test_trusted_options_stand_apart(open_panel):
    """Options that only the machine's owner may set are in a group of their own."""
    panel = open_panel()
    panel.state.engine_options = (
        EngineOption("device", trusted=True),
        EngineOption("steps", int),
    )
    groups = {field["name"]: field["group"] for field in panel.settings["fields"]}
    assert (groups["option:device"], groups["option:steps"]) == ("machine", "options")


def test_the_words_of_the_buttons_name_the_pictures(open_panel, photo):
    """Buttons that take pictures say which they take."""
    panel = open_panel("red", "green", image=photo)
    panel.do("run")
    assert panel.gallery["words"] == "all 2"
    first = panel.gallery["groups"][0]["cards"][0]["id"]
    panel.do("select", card=first, on=True)
    assert panel.gallery["words"] == "1 selected"
    panel.do("select", card=first, on=False)
    panel.do("run")
    assert panel.gallery["words"] == "the newest 2"


def test_sorting_by_similarity_renumbers_the_cards(open_panel):
    """The most similar picture of a group comes first, and the numbers follow the order on the page."""
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3)).astype(np.uint8)
    panel = open_panel("red", "green", image=noise)
    panel.do("run")
    panel.state.cards = tuple(
        replace(card, similar=similar) for card, similar in zip(panel.state.cards, (0.25, 0.75), strict=True)
    )
    made = [card.id for card in panel.state.cards]
    panel.do("sort", by="similarity")
    cards = panel.gallery["groups"][0]["cards"]
    assert [card["id"] for card in cards] == made[::-1]
    assert [card["number"] for card in cards] == [1, 2]
    assert cards[0]["similar"] == "similar to the source: 75 %"


def test_binding_is_seen_by_the_notebook(open_panel, photo, shell):
    """A bound name is a variable of the notebook."""
    panel = open_panel("red", image=photo)
    panel.do("run")
    panel.do("bind", name="mine", form="byte")
    assert isinstance(shell.user_ns["mine"], bytes)
    assert panel.run["notice"] == "mine is the bytes of one picture"


def test_an_original_is_sent_when_it_is_asked_for(open_panel, photo, monkeypatch):
    """The bytes of a card's original, and a reduced source for the mask, come on demand; a lost one is a line."""
    monkeypatch.setattr("ipy_imgvar.panel.messages.on_thread", lambda work: work())
    panel = open_panel("red", image=np.asarray(Image.fromarray(photo).resize((1500, 1000))))
    panel.do("run")
    card = panel.state.cards[0]
    panel.do("fetch", id=card.id, purpose="original")
    content, buffers = next(each for each in panel.told if each[0]["type"] == "original")
    assert (content["mime"], buffers) == ("image/png", [card.picture.original])
    panel.told.clear()
    panel.do("fetch", id=panel.source["preview"], purpose="source")
    content, buffers = next(each for each in panel.told if each[0]["type"] == "original")
    with Image.open(io.BytesIO(buffers[0])) as image:
        assert image.size == (1024, 683)
    panel.told.clear()
    card.picture.path.unlink()
    panel.do("fetch", id=card.id, purpose="original")
    content, buffers = next(each for each in panel.told if each[0]["type"] == "original")
    assert content["error"]
    assert not buffers


def test_a_cards_source_is_the_one_it_was_made_from(open_panel, photo, monkeypatch):
    """A card of an earlier source is compared with that source, which keeps its size though a reduced one is sent."""
    monkeypatch.setattr("ipy_imgvar.panel.messages.on_thread", lambda work: work())
    large = Image.fromarray(photo).resize((1500, 1000))
    panel = open_panel("red", image=large)
    panel.do("run")
    card = panel.state.cards[0]
    panel.actions.use(Image.new("RGB", (80, 60), "blue"))
    panel.told.clear()
    panel.do("fetch", id=card.id, purpose="source")
    _, buffers = next(each for each in panel.told if each[0]["type"] == "original")
    assert Image.open(io.BytesIO(buffers[0])).size == (1024, 683)
    assert card.picture.source.open().size == (1500, 1000)


def test_a_page_that_is_drawn_again_gets_every_picture(open_panel, photo):
    """After `ready` the page has all pictures and the history, which the notebook does not save."""
    panel = open_panel("red", "green", image=photo)
    panel.do("run")
    panel.told.clear()
    panel.do("ready")
    assert len(pictures(panel)) == 3
    (history,) = [content for content, _ in panel.told if content["type"] == "section"]
    assert history["name"] == "history"
    assert len(history["value"]["nodes"]) == 1
    assert "history" not in panel.get_state()


def test_the_saved_state_is_small_and_has_no_source_and_no_key(open_panel, shell):
    """With eight grainy results of 512 px the whole state is at most 200 kB, and no source or original is in it."""
    shell.user_ns["OPENAI_API_KEY"] = "sk-canary"
    random = np.random.default_rng(0)
    grain = [Image.fromarray(random.integers(0, 256, (512, 512, 3)).astype(np.uint8)) for _ in range(9)]
    panel = open_panel(*grain[1:], image=grain[0], size=512, n=8)
    panel.do("run")
    state = panel.get_state()
    binary = sum(len(each) for each in state["thumbnails"].values())
    rest = len(json.dumps({name: value for name, value in state.items() if name != "thumbnails"}))
    assert binary * 4 / 3 + rest <= 200_000
    assert state["thumbnails"].keys() == {card.id for card in panel.state.cards}
    assert "sk-canary" not in json.dumps(state, default=str)
    assert all(max(Image.open(io.BytesIO(each)).size) <= 256 for each in state["thumbnails"].values())


def test_grainy_thumbnails_are_saved_within_the_bound(open_panel, photo):
    """Of many large thumbnails the newest are saved, and together they stay below the bound."""
    panel = open_panel("red", image=photo)
    for _ in range(5):
        panel.do("run")
    noise = np.random.default_rng(0).integers(0, 256, (256, 256, 4)).astype(np.uint8)
    large = codec.encode_png(Image.fromarray(noise))  # transparent, so no JPEG makes it small
    panel.state.cards = tuple(
        replace(card, thumbnail=Thumbnail(card.id, large if number < 3 else card.thumbnail.data, "image/png"))
        for number, card in enumerate(panel.state.cards)
    )
    saved = view.saved_thumbnails(panel.state)
    assert list(saved) == [card.id for card in panel.state.cards][:2:-1]


def test_closing_frees_the_widget_and_every_handler(open_panel, photo, shell):
    """A closed panel leaves no widget, no event handler and no thread, and can be closed again."""

    def living():
        # ipywidgets 7 keeps its widgets in the class.
        found = getattr(widgets.widgets.widget, "_instances", None)
        return len(widgets.Widget.widgets if found is None else found)

    before, threads = living(), set(threading.enumerate())
    panel = open_panel("red", image=photo)
    panel.do("run")
    panel.close()
    panel.close()
    assert living() == before
    assert shell.registered == []
    assert not [each for each in threading.enumerate() if "imgvar" in each.name and each not in threads]
    assert repr(panel) == "<VariationPanel: closed>"


def test_a_front_end_without_widgets_gets_words(open_panel):
    """The plain text of a panel says in one line what it is, how to use it and which magic does the same."""
    bundle, _ = open_panel()._repr_mimebundle_()
    assert "run its cell in a notebook" in bundle["text/plain"]
    assert "\n" not in bundle["text/plain"]
    assert "%imagevariation" in bundle["text/plain"]
    assert "application/vnd.jupyter.widget-view+json" in bundle


def test_an_exported_page_says_how_to_use_the_panel_and_shows_what_was_inserted(open_panel, photo):
    """An exported page of a notebook without widget state has the panel's words and the inserted pictures."""
    import nbformat
    from nbconvert import HTMLExporter

    panel = open_panel("red", "green", image=photo)
    panel.do("run")
    panel.state.can_insert = True
    panel.do("insert")
    below = {name: data for name, data in panel.actions.inserted_bundle().items() if name.startswith("text/")}
    outputs = [
        nbformat.v4.new_output("display_data", data=data) for data in (panel._repr_mimebundle_()[0], below)
    ]
    book = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("panel", outputs=outputs)])
    page, _ = HTMLExporter().from_notebook_node(book)
    assert "run its cell in a notebook" in page
    assert page.count("data:image/jpeg;base64,") == 2


def test_settings_are_checked_when_the_panel_is_made(shell):
    """A wrong setting is refused as the client would."""
    with pytest.raises(ipy_imgvar.errors.InvalidRequestError, match="size"):
        VariationPanel(shell=shell, size="huge")
    assert shell.registered == []


def test_a_panel_is_run_again_in_its_cell(make, shell):
    """A cell that is run again closes the panel it made before, and two panels of one cell live together."""
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
    assert "64x64" in panel.source["words"]


def test_every_section_is_json(open_panel, photo):
    """What goes to the page is plain JSON, with a picture for each id that a section names."""
    panel = open_panel("red", image=photo)
    panel.do("run")
    for name in view.SECTIONS:
        assert json.loads(json.dumps(panel._made(name))) == panel._made(name)
    named = re.findall(r'"(?:id|preview)": "([^"]+)"', json.dumps([panel.gallery, panel.source]))
    assert set(named) == {each.id for each in view.pictures(panel.state)}


def test_without_ipython_no_variable_is_bound(open_panel, photo, monkeypatch):
    """In a notebook that IPython does not run, the page is told so, and binding is refused in one line."""
    monkeypatch.setattr(widget, "get_ipython", lambda: None)
    panel = open_panel("red", image=photo, shell=None)
    panel.do("run")
    panel.do("bind", name="mine", form="image")
    assert panel.gallery["can_bind"] is False
    assert panel.state.error.startswith(
        "no variable can be set here, since IPython does not run this notebook; "
    )
    assert "\n" not in panel.state.error
