"""What a page may send: every message is answered, whatever it holds, and does what its action says."""

import string

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ipy_imgvar import Client
from ipy_imgvar.panel import messages
from ipy_imgvar.panel.messages import Inbox

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text(string.printable, max_size=20),
    lambda children: (
        st.lists(children, max_size=3) | st.dictionaries(st.text(max_size=8), children, max_size=3)
    ),
    max_leaves=6,
)
NAMES = [
    "name",
    "value",
    "card",
    "on",
    "upload",
    "offset",
    "size",
    "purpose",
    "id",
    "how",
    "by",
    "node",
    "form",
    "where",
    "text",
]


@pytest.fixture
def open_inbox(make, photo):
    """Return a function that gives an inbox over a panel with a picture, and its answers."""

    def build():
        panel = make("red", namespace={"photo": photo})
        panel.do.pick_variable("photo")
        panel.do.run()
        answers = []
        return panel, Inbox(panel.do, lambda content, _: answers.append(content), lambda: None), answers

    return build


@settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None
)  # each case makes its own panel
@given(data=st.data())
def test_garbage_is_answered_and_the_next_message_works(open_inbox, data):
    """Any JSON in any field is answered once, in one line if it is refused, and the panel goes on."""
    panel, inbox, answers = open_inbox()
    action = data.draw(st.sampled_from([*messages._ACTIONS, "nothing", 3, None]) | JSON)
    if action in ("save", "insert"):
        return  # A page may save anywhere that its user can, so garbage would make files here.
    content = data.draw(st.dictionaries(st.sampled_from(NAMES), JSON, max_size=5))
    if not isinstance(action, list | dict):
        content["action"] = action
    inbox.receive({**content, "count": 1}, data.draw(st.lists(st.binary(max_size=8), max_size=2)))
    assert [answer["count"] for answer in answers if answer["type"] == "heard"] == [1]
    assert "\n" not in panel.state.error
    inbox.receive({"action": "set", "name": "n", "value": 2, "count": 2})
    assert panel.state.n == 2


@pytest.mark.parametrize(
    "content", [None, [], "run", 3, {}, {"action": None}, {"action": ["run"]}, {"action": "close"}]
)
def test_what_names_no_action_is_refused(open_inbox, content):
    """A message that names no action of the panel is refused in one line and changes nothing."""
    panel, inbox, answers = open_inbox()
    before = {name: value for name, value in panel.state.trait_values().items() if name != "error"}
    inbox.receive(content)
    assert answers[-1]["error"] is True
    assert "which the panel can't do" in panel.state.error
    assert {name: value for name, value in panel.state.trait_values().items() if name != "error"} == before


def test_an_upload_in_pieces_is_the_source(open_inbox, tmp_path, photo):
    """The pieces of a file make the source, each is answered, and a mask goes the same way."""
    from PIL import Image

    panel, inbox, answers = open_inbox()
    Image.fromarray(photo).save(tmp_path / "cat.png")
    data = (tmp_path / "cat.png").read_bytes()

    def send(data, name, purpose):
        inbox.receive(
            {"action": "upload_begin", "upload": name, "name": name, "size": len(data), "purpose": purpose}
        )
        for offset in range(0, len(data), 900):
            piece = {"action": "upload_piece", "upload": name, "offset": offset}
            inbox.receive(piece, [memoryview(data[offset : offset + 900])])

    send(data, "cat.png", "source")
    found = [answer for answer in answers if answer["type"] == "upload"]
    assert [answer["done"] for answer in found] == [False] * (len(found) - 1) + [True]
    assert (panel.state.source.name, panel.state.source.read()) == ("cat.png", data)
    painted = np.zeros((80, 120), np.uint8)
    painted[:40] = 255
    Image.fromarray(painted).save(tmp_path / "mask.png")
    panel.state.refused = {}
    send((tmp_path / "mask.png").read_bytes(), "mask.png", "mask")
    assert panel.state.mask_share == 0.5


def test_a_failed_upload_says_so_to_its_bar(open_inbox):
    """A file that is too large, or a piece without bytes, is answered with the error, and the next upload works."""
    panel, inbox, answers = open_inbox()
    begin = {
        "action": "upload_begin",
        "upload": "a",
        "name": "a.png",
        "size": 70_000_000,
        "purpose": "source",
    }
    inbox.receive(begin)
    assert "64" in answers[-2]["error"]
    assert panel.state.error == answers[-2]["error"]
    inbox.receive({**begin, "size": 3})
    inbox.receive({"action": "upload_piece", "upload": "a", "offset": 0})
    assert "without its bytes" in answers[-2]["error"]
    inbox.receive({**begin, "size": 3})
    assert answers[-2] == {"type": "upload", "upload": "a", "received": 0, "done": False, "error": ""}


def test_the_client_of_the_caller_is_the_only_engine(make):
    """With a client of the caller's the page has no field for another engine, a server or a key."""
    from ipy_imgvar.panel.fields import fields

    panel = make()
    assert panel.do.engines == ["scripted"]
    with Client("openai", api_key="sk-1") as client:
        hosted = make(client=client)
        names = {
            field["name"] for field in fields(hosted.state, hosted.do.engines, is_fixed=hosted.do.is_fixed)
        }
    assert not names & {"engine", "api_base", "key_name"}
