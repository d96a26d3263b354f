"""The panel when things go otherwise than planned: removal during a run, a stalled server, a source that is gone."""

import pytest

from ipy_imgvar.errors import InvalidRequestError
from ipy_imgvar.panel import view
from ipy_imgvar.panel.messages import Inbox
from ipy_imgvar.panel.state import Status


def numbers(panel):
    """Return the numbers of the cards of each group, the newest group first."""
    groups = view.SECTIONS["gallery"].make(panel.state, panel.do)["groups"]
    return [[card["number"] for card in group["cards"]] for group in groups]


def test_older_cards_keep_their_numbers_while_a_run_goes_on(make, photo):
    """Pictures to come have numbers of their own, so that no number is given twice and none changes."""
    seen = []
    look = lambda job: seen.append(numbers(panel))  # noqa: ARG005, E731
    panel = make("red", look, "green", look)
    panel.state.n = 2
    panel.do.use(photo)
    panel.do.run()
    panel.do.run()
    assert seen[2:] == [[[1, 2], [3, 4]]] * 2


def test_a_picture_removed_during_its_run_is_not_waited_for(make, photo):
    """The page waits for the pictures that are still to come, and for no other in the place of a removed one."""
    seen = []

    def remove(job):  # noqa: ARG001
        panel.do.remove(panel.state.cards[0].id)
        seen.append(numbers(panel))

    panel = make("red", remove, "green")
    panel.state.n = 2
    panel.do.use(photo)
    panel.do.run()
    assert seen == [[[1]]]


def test_a_stalled_hosted_run_says_what_may_be_charged(make, photo):
    """The notice of a run that is left behind keeps what the server may charge."""

    def stall(job):  # noqa: ARG001
        panel.do.cancel()
        panel.later[0]()

    panel = make(stall, "red")
    panel.engine.deaf = panel.state.hosted = True
    panel.do.use(photo)
    panel.do.run()
    assert "may charge" in panel.state.notice
    assert "in the history" in panel.state.notice


def test_a_picture_that_can_not_be_read_is_not_called_the_source(make, photo, monkeypatch):
    """When the picture of a card is gone, one line says that the source is unchanged, and no other the contrary."""
    panel = make("red")
    panel.do.use(photo)
    panel.do.run()
    monkeypatch.setattr("ipy_imgvar.panel.sources.load_sources", lambda *_, **__: 1 / 0)
    panel.do.vary(panel.state.cards[0].id)
    assert "the source is unchanged" in panel.state.error
    assert panel.state.notice == ""


def test_a_history_that_can_not_be_read_leaves_no_panel_busy(make, photo, monkeypatch):
    """A run ends with its pictures and an error line, also when the history can't be read."""
    panel = make("red")
    panel.do.use(photo)
    monkeypatch.setattr(panel.do, "grow", lambda: 1 / 0)
    panel.do.run()
    assert panel.state.status is Status.DONE
    assert "ZeroDivisionError" in panel.state.error
    assert len(panel.state.cards) == 1


@pytest.mark.parametrize(
    ("form", "one", "several"),
    [
        ("bytes", "pictures is the bytes of one picture", "pictures is a list of 2 pictures as bytes"),
        ("base64", "pictures is one picture in base64", "pictures is a list of 2 pictures in base64"),
        ("url", "pictures is one URL", "pictures is a list of 2 URLs"),
    ],
)
def test_what_a_variable_holds_is_said_in_words(make, photo, form, one, several):
    """Binding says what the variable holds, in the singular and the plural."""
    panel = make("red", "green")
    panel.do.use(photo)
    panel.do.run()
    panel.do.bind("pictures", form)
    assert panel.state.notice == several
    panel.do.select(panel.state.cards[0].id, on=True)
    panel.do.bind("pictures", form)
    assert panel.state.notice == one


@pytest.mark.parametrize(
    "message",
    [
        {"action": "set", "name": "seed", "value": "sk-proj-0123456789abcdefghij"},
        {"action": "set", "name": "model", "value": "sk-proj-0123456789abcdefghij"},
        {"action": "set", "name": "api_base", "value": " sk-proj-0123456789abcdefghij "},
        {"action": "set", "name": "prompt", "value": "a cat sk-proj-0123456789abcdefghij"},
        {"action": "type_source", "text": "sk-proj-0123456789abcdefghij"},
    ],
)
def test_a_key_in_a_wrong_field_is_nowhere(make, message):
    """What looks like a key is refused wherever it is typed; neither the error nor any section has it."""
    panel = make()
    Inbox(panel.do, lambda *_: None, lambda: None).receive(message)
    assert "looks like a key" in panel.state.error
    sections = [section.make(panel.state, panel.do) for section in view.SECTIONS.values()]
    assert "0123456789" not in repr(sections)


@pytest.mark.parametrize(
    "path", ["sk-learn-pictures-of-flowers.png", "desk-0123456789abcdefghijkl", "a/sk-0123456789abcdefghijk"]
)
def test_a_path_is_not_taken_for_a_key(make, path):
    """A name with an extension, in a folder, or with more before it, is a path."""
    panel = make()
    panel.do.type_source(path)
    assert "there is no file" in panel.state.error


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("n", 99, "Pictures is 99;"),
        ("max_retry_count", -1, "Retries is -1;"),
        ("timeout", -1, "Time limit is -1;"),
    ],
)
def test_a_refused_field_is_called_as_on_the_page(make, name, value, said):
    """The error names a field by its label, and says what is allowed."""
    panel = make()
    with pytest.raises(InvalidRequestError, match=f"^{said} allowed: "):
        panel.do.set_field(name, value)


def test_a_run_ends_even_if_an_observer_fails(make, photo):
    """What fails while the end of a run is drawn leaves no panel that is busy for ever."""
    panel = make("red")
    panel.do.use(photo)
    panel.state.begin()

    def fail(_):
        raise ZeroDivisionError

    panel.state.observe(fail, "notice")
    panel.state.notice = ""
    with pytest.raises(ZeroDivisionError):
        panel.state.finish(Status.CANCELLED)
    assert panel.state.status is Status.CANCELLED


def test_a_field_clears_its_own_refusal_and_no_other_error(make):
    """The error of a run stays while a person changes the settings, and a refusal goes with the next good value."""
    panel = make()
    panel.state.error = "the server said no"
    panel.do.set_field("n", 2)
    assert panel.state.error == "the server said no"
    inbox = Inbox(panel.do, lambda *_: None, lambda: None)
    inbox.receive({"action": "set", "name": "n", "value": 99})
    assert "Pictures is 99" in panel.state.error
    inbox.receive({"action": "set", "name": "n", "value": 3})
    assert panel.state.error == ""


def test_where_a_picture_goes_is_said_before_run(make, photo):
    """Beside Run stand the server and the model that will get the picture; nothing for an engine of this machine."""
    from ipy_imgvar import Client

    with Client("openai", api_key="sk-1", api_base="http://localhost:9/v1") as client:
        panel = make(client=client)
        panel.do.use(photo)
        section = view.SECTIONS["run"].make(panel.state, panel.do)
    assert section["sends"].startswith("Run sends the picture to localhost:9 (model ")
    panel = make()
    panel.do.use(photo)
    assert view.SECTIONS["run"].make(panel.state, panel.do)["sends"] == ""


def test_a_card_knows_the_fit_of_its_own_run(make, photo):
    """A picture is compared with its source as that was fitted, whatever the fit is now."""
    panel = make("red")
    panel.do.use(photo)
    panel.state.fit = "pad"
    panel.do.run()
    panel.state.fit = "stretch"
    (group,) = view.SECTIONS["gallery"].make(panel.state, panel.do)["groups"]
    assert group["cards"][0]["fit"] == "pad"


def test_the_same_path_is_read_again(make, tmp_path, photo):
    """A path that is typed again gives the file as it is now."""
    from PIL import Image

    panel = make()
    path = tmp_path / "cat.png"
    Image.fromarray(photo).save(path)
    panel.do.type_source(str(path))
    Image.fromarray(photo[:40]).save(path)
    panel.do.type_source(str(path))
    assert panel.state.sample.size == (120, 40)
