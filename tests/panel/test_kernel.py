"""The panel in a real kernel: what a front end sends to its one model, and what it gets."""

import base64
import io
import json
import os
import time

import numpy as np
import pytest
from frontend import FrontEnd
from jupyter_client.manager import start_new_kernel
from PIL import Image

SETUP = """
%load_ext ipy_imgvar
import threading, time
from ipy_imgvar import VariationPanel, history
from skimage import data
photo = data.coffee()
"""
OPEN = "panel = VariationPanel(photo, size=128, engine='patch')\npanel"
THREADS = "[each.name for each in threading.enumerate() if 'imgvar' in each.name]"


@pytest.fixture(scope="module")
def kernel(tmp_path_factory):
    """Give a front end of a kernel with the extension loaded."""
    folder = tmp_path_factory.mktemp("kernel")
    env = {**os.environ, "IPY_IMGVAR_STORE": str(folder / "store"), "OPENAI_API_KEY": "sk-canary"}
    manager, client = start_new_kernel(cwd=str(folder), env=env)
    front = FrontEnd(client)
    front.folder = folder
    front.run(SETUP)
    yield front
    client.stop_channels()
    manager.shutdown_wait_time = 100  # killed, it would lose what it knows of coverage
    manager.shutdown_kernel()
    client.context.destroy()


@pytest.fixture
def front(kernel):
    """Give the front end with a new panel that is shown and has its source."""
    kernel.forget()
    kernel.shown = kernel.run(OPEN)
    assert not kernel.do("ready")
    kernel.wait(lambda: kernel.section("source")["preview"] in kernel.pictures, "the source")
    yield kernel
    kernel.run("panel.close()")


def png(side):
    """Return a PNG of noise, whose size is about three bytes per pixel."""
    noise = np.random.default_rng(0).integers(0, 256, (side, side, 3)).astype(np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(noise).save(buffer, "PNG")
    return buffer.getvalue()


def size_of(picture):
    with Image.open(io.BytesIO(picture)) as image:
        return image.size


def test_a_panel_is_one_model_and_an_empty_output_below(front):
    """A panel has one model and its layout, words for front ends without widgets, and an output for insertions."""
    view, below = [content for kind, content in front.shown if kind == "display_data"]
    assert view["data"]["application/vnd.jupyter.widget-view+json"]["model_id"] == front.panel
    assert "%imagevariation" in view["data"]["text/plain"]
    assert below["data"] == {"text/html": "", "text/plain": ""}
    assert below["transient"]["display_id"]
    assert front.models.keys() == {
        front.panel,
        front.models[front.panel]["layout"].removeprefix("IPY_MODEL_"),
    }


def test_from_an_upload_to_pictures_that_are_taken(front):
    """A file of 5 MB comes in pieces; four pictures are made, bound, saved and inserted; nothing is printed."""
    content = png(1300)
    assert len(content) > 5_000_000
    assert front.upload("first", "cat.png", content)["done"]
    front.wait_for_source("cat.png")
    assert front.section("source")["size"] == [1300, 1300]
    front.wait(lambda: front.section("source")["preview"] in front.pictures, "the preview")
    cards = front.made()
    front.wait(lambda: {card["id"] for card in cards} <= front.pictures.keys(), "four pictures")
    assert [card["size"] for card in cards] == [[128, 128]] * 4
    assert {size_of(front.pictures[card["id"]]) for card in cards} == {(128, 128)}
    assert not front.do("bind", name="mine", form="image")
    assert front.section("run")["notice"] == "mine is a list of 4 images"
    assert front.value("len(mine), mine[0].size") == "(4, (128, 128))"
    assert not front.do("select", card=cards[1]["id"], on=True)
    assert not front.do("save", where="taken")
    assert [each.suffix for each in (front.folder / "taken").iterdir()] == [".png"]
    assert not front.do("insert")
    front.wait(lambda: any("image/jpeg" in each for each in front.displays.values()), "the plain output")
    assert front.nothing_printed()


def test_the_code_runs_in_the_next_cell(front):
    """The code of a picture of a picture makes the same bytes in a new cell."""
    cards = front.made()
    assert not front.do("vary", card=cards[2]["id"], how="source")
    front.wait_for_source("-3.png")
    front.made()
    front.wait(lambda: front.section("code")["call"].count("\n") == 2, "the code")
    code = front.section("code")
    front.run(code["line"].replace("\n%image", "\nby_line = %image"))
    front.run(code["call"].replace("\nvariations(", "\nby_call = variations("))
    assert front.value("by_line.bytes == by_call.bytes == panel.state.groups[0].run.bytes") == "True"


def test_cancel_is_heard_during_a_run(front):
    """Cancel stops a long run at once, since the run is not on the thread that hears it."""
    front.do("set", name="size", value="1024x1024")
    front.do("set", name="n", value=10)
    front.do("run")
    assert front.section("run")["can_cancel"]
    began = time.monotonic()
    assert not front.do("cancel")
    front.wait_until("cancelled")
    assert time.monotonic() - began < 60
    assert front.section("run")["can_run"]


def test_a_second_run_during_a_run_is_none(front):
    """Run twice in a row gives one run."""
    front.do("run")
    front.do("run")
    front.wait_until("done")
    assert len(front.section("gallery")["groups"]) == 1


def test_one_message_varies_a_picture(front):
    """Vary subtly takes a card as the source and runs; the earlier pictures stay."""
    cards = front.made()
    assert not front.do("vary", card=cards[2]["id"], how="subtle")
    front.wait(lambda: len(front.section("gallery")["groups"]) == 2, "a second group")
    front.wait_until("done")
    newest, earlier = front.section("gallery")["groups"]
    assert [card["id"] for card in earlier["cards"]] == [card["id"] for card in cards]
    assert front.section("source")["name"].endswith("-3.png")
    assert "subtle" in newest["label"]
    # A message of the page, since a notebook must not save it.
    front.wait(lambda: front.section("history")["nodes"][0]["depth"] in (0, 1), "the history")
    assert 1 in [node["depth"] for node in front.section("history")["nodes"]]


def test_an_original_comes_when_it_is_asked_for(front):
    """The original of a card is the run's own file."""
    front.do("set", name="size", value="512x512")
    cards = front.made()
    front.do("fetch", id=cards[0]["id"], purpose="original")
    front.wait(lambda: front.originals, "the original")
    (content, (original,)) = front.originals[0]
    assert (content["mime"], size_of(original)) == ("image/png", (512, 512))
    assert max(size_of(front.pictures[cards[0]["id"]])) <= 256


def test_a_failed_upload_does_no_harm(front):
    """A file above the limit, a piece in the wrong place, and a file that is no picture are refused in words."""
    assert front.do("upload_begin", upload="a", name="big.png", size=70_000_000, purpose="source")
    assert "at most 64 MB" in front.uploads[-1]["error"]
    front.do("upload_begin", upload="b", name="cat.png", size=10, purpose="source")
    assert front.do("upload_piece", [b"01234"], upload="b", offset=5)
    assert "in place of byte 0" in front.uploads[-1]["error"]
    assert front.do("upload_piece", [b"01234"], upload="b", offset=0)
    assert front.upload("c", "not.png", b"no picture")["done"]
    front.wait(lambda: "not.png" in front.section("run")["error"], "the refusal")
    assert front.section("source")["name"] == "photo"
    content = png(200)
    assert front.upload("d", "cat.png", content)["done"]
    front.wait_for_source("cat.png")
    assert front.section("run")["error"] == ""


GARBAGE = [
    {"action": "no such action"},
    {"action": None},
    {"action": ["run"]},
    {"action": {"run": "run"}},
    {},
    {"action": "set", "name": "n", "value": {"a": [1, {"b": None}]}},
    {"action": "set", "name": "n", "value": 10**400},
    {"action": "set", "name": "strength", "value": -1e300},
    {"action": "set", "name": "__class__", "value": "x"},
    {"action": "set", "name": "option:__class__", "value": "x"},
    {"action": "set", "name": 5, "value": 5},
    {"action": "upload_begin", "upload": "a", "name": "x.png", "size": 10**400, "purpose": "source"},
    {"action": "upload_begin", "upload": "a", "name": "x.png", "size": -1, "purpose": "source"},
    {"action": "upload_begin", "upload": "a", "name": "x.png", "size": 5, "purpose": "program"},
    {"action": "upload_begin", "upload": ["a"], "name": {}, "size": "5", "purpose": 1},
    {"action": "upload_piece", "upload": "a", "offset": 0},
    {"action": "upload_piece"},
    {"action": "fetch", "id": "no such card", "purpose": "original"},
    {"action": "fetch", "id": 10**30, "purpose": []},
    {"action": "select", "card": "no such card", "on": True},
    {"action": "select", "card": "1", "on": "yes"},
    {"action": "vary", "card": "no such card", "how": "subtle"},
    {"action": "vary", "card": "no such card", "how": "wild"},
    {"action": "sort", "by": "__class__"},
    {"action": "bind", "name": "not a name", "form": "image"},
    {"action": "bind", "name": "ok", "form": {"x": 1}},
    {"action": "save", "where": None},
    {"action": "go_back", "node": 10**400},
    {"action": "go_back", "node": -1},
    {"action": "remix", "node": "0"},
    {"action": "pick_variable", "name": "no_such_variable"},
    {"action": "type_source", "text": 5},
]


def test_garbage_is_answered_in_one_line(front):
    """Whatever a page sends, the answer is an error of one line, and the next message works."""
    for content in GARBAGE:
        front.count += 1
        front.send({"count": front.count, **content})
        front.wait(lambda: front.count in front.heard, f"the answer to {content}")
        line = front.section("run")["error"]
        assert front.heard[front.count], content
        assert line, content
        assert "\n" not in line
        assert len(line) < 400, content
        assert not front.do("dismiss")
    for content in (None, 5, "run", [], [{"action": "run"}], True):
        front.heard.clear()
        front.send(content)
        front.wait(lambda: None in front.heard, f"the answer to {content}")
        assert front.heard[None]
    assert front.nothing_printed()
    assert len(front.made()) == 4


def test_the_saved_state_is_small_and_has_no_source_and_no_key(front):
    """Eight results of 512 px make a state of at most 200 kB, without pixels of the source and without the key."""
    front.do("set", name="size", value="512x512")
    front.do("set", name="n", value=8)
    cards = front.made(300)
    front.wait(lambda: len(front.models[front.panel]["thumbnails"]) == 8, "the thumbnails")
    state = front.models[front.panel]
    assert "history" not in state
    saved = json.dumps(front.models, default=lambda each: base64.b64encode(each).decode("ascii"))
    assert len(saved) <= 200_000
    assert "sk-canary" not in saved
    assert state["thumbnails"].keys() == {card["id"] for card in cards}
    assert all(max(size_of(each)) <= 256 for each in state["thumbnails"].values())
    source = base64.b64encode(front.pictures[state["source"]["preview"]]).decode("ascii")
    assert source[100:400] not in saved


def test_closing_ends_the_threads_and_the_models(front):
    """After a close during a run no thread and no model of the panel is left, and a late message is nothing."""
    front.do("set", name="size", value="1024x1024")
    front.do("run")
    panel = front.panel
    front.run("panel.close()")
    assert front.models == {}
    front.models = {panel: {"_esm": ""}}
    front.send({"action": "run", "count": 1000})
    front.models = {}
    front.run(f"for _ in range(100):\n    if not {THREADS}: break\n    time.sleep(0.1)")
    assert front.value(THREADS) == "[]"
    assert 1000 not in front.heard


@pytest.mark.slow
def test_fifty_runs_leave_no_thread_and_little_memory(front):
    """From the tenth to the sixtieth run the kernel grows by at most a fifth, and no thread is left."""
    memory = "int(open('/proc/self/status').read().split('VmRSS:')[1].split()[0])"
    front.do("set", name="size", value="64x64")
    used = []
    for number in range(1, 61):
        front.made()
        if number in (10, 60):
            front.run("import gc; _ = gc.collect()")
            used.append(int(front.value(memory)))
    assert used[1] <= 1.2 * used[0]
    front.run(f"for _ in range(100):\n    if not {THREADS}: break\n    time.sleep(0.1)")
    assert front.value(THREADS) == "[]"
