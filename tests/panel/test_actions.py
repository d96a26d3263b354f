"""What each button does, without a kernel, a widget or a thread."""

import io
import re
import time

import numpy as np
import pytest
from PIL import Image

from ipy_imgvar import Client, Secret, variations
from ipy_imgvar.errors import (
    ConfigurationError,
    EngineError,
    ImageVariationError,
    InvalidImageError,
    InvalidRequestError,
)
from ipy_imgvar.images import codec
from ipy_imgvar.panel.actions import PanelActions
from ipy_imgvar.panel.job import Worker
from ipy_imgvar.panel.state import PanelState, Status
from ipy_imgvar.results import history

pytestmark = pytest.mark.usefixtures("quick_patch")


@pytest.fixture
def ran(make, photo):
    """Return a panel after a run of three pictures of an array."""
    panel = make("red", "green", "blue", namespace={"photo": photo})
    panel.do.pick_variable("photo")
    panel.do.run()
    assert panel.state.status is Status.DONE, panel.state.error
    return panel


def test_pictures_come_one_by_one(make, photo):
    """Each finished picture is in the gallery before the next is made."""
    counts = []
    count = lambda job: counts.append(len(panel.state.cards))  # noqa: ARG005, E731
    panel = make("red", count, "green", count)
    panel.do.use(photo)
    panel.do.run()
    assert counts == [1, 2]


def test_a_card_says_size_seed_and_similarity(ran):
    """A card has its picture's size and seed in words, and how similar it is to the source, 0 to 1."""
    card = ran.state.cards[1]
    assert card.words == f"64x64 · seed {card.picture.seed}"
    assert 0.0 <= card.similar <= 1.0


def test_thumbnails_are_bounded_however_grainy(make):
    """Four pictures of pure noise and their preview stay below the size that a saved panel may have."""
    noise = np.random.default_rng(0).integers(0, 256, (512, 512, 3)).astype(np.uint8)
    actions = make(namespace={"noise": noise}, client=Client("patch"))
    actions.do.pick_variable("noise")
    actions.state.size = "256x256"
    actions.state.n = 2
    actions.do.run()
    pieces = [actions.state.preview, *(card.thumbnail for card in actions.state.cards)]
    assert len(pieces) == 3
    assert all(len(each.data) < 34_000 for each in pieces)


def test_several_clicks_start_one_run(make, photo):
    """A click on Run during a run starts nothing."""
    panel = make(lambda job: panel.do.run(), "red")  # noqa: ARG005
    panel.do.use(photo)
    panel.do.run()
    assert len(panel.engine.requests) == 1


def test_a_run_is_refused_while_its_source_is_read(make, photo):
    """A click on Run before the source is there says so, and is not forgotten in silence."""
    panel = make("red")
    panel.do.use(photo)
    panel.state.loading = True
    with pytest.raises(InvalidImageError, match="the picture is still being read; run again"):
        panel.do.run()
    assert not panel.engine.requests


def test_cancel_keeps_what_is_finished(make, photo):
    """A cancelled run ends as cancelled and shows the pictures that were finished."""
    panel = make("red", lambda job: panel.do.cancel(), "green")  # noqa: ARG005
    panel.do.use(photo)
    panel.do.run()
    assert panel.state.status is Status.CANCELLED
    assert len(panel.state.cards) == 1
    assert panel.state.notice == "cancelled after 1 picture"
    assert len(history.last()) == 1


def test_a_stalled_run_is_left_behind_and_its_pictures_are_kept(make, photo):
    """A run that does not answer is abandoned; what it still makes goes to the store and not to the panel."""

    def stall(job):  # noqa: ARG001
        panel.do.cancel()
        panel.later[0]()
        assert panel.state.status is Status.CANCELLED
        panel.stalled = True

    panel = make(stall, "red")
    panel.engine.deaf = True
    panel.do.use(photo)
    panel.do.run()
    assert panel.stalled
    assert panel.state.cards == ()
    assert panel.state.can_run
    assert len(history.last()) == 1


def test_an_error_is_one_line_and_loses_nothing(make, photo):
    """After a failure the message, the finished picture, the source and the settings are all there."""
    panel = make("red", EngineError("the server said no; try again later"))
    panel.do.use(photo)
    panel.state.prompt = "a cat"
    panel.do.run()
    assert panel.state.status is Status.FAILED
    assert panel.state.error == "the server said no; try again later"
    assert len(panel.state.cards) == 1
    assert panel.state.prompt == "a cat"
    assert panel.state.can_run


def test_any_exception_of_an_engine_is_shown(make, photo):
    """What an engine raises by mistake is shown by its name, and the panel goes on."""
    panel = make(ZeroDivisionError("oops\nreally"))
    panel.do.use(photo)
    panel.do.run()
    assert panel.state.error == "ZeroDivisionError: oops really"
    assert panel.state.can_run


def test_a_run_without_a_source_says_what_to_do(make):
    """Run without a source names the ways to one."""
    with pytest.raises(InvalidRequestError, match="upload a picture"):
        make("red").do.run()


def test_a_bad_source_leaves_the_old_one(ran, tmp_path):
    """A path that leads nowhere is an error, and the source stays."""
    before = ran.state.source
    ran.do.type_source(str(tmp_path / "nope.png"))
    assert "there is no file" in ran.state.error
    assert ran.state.source is before
    assert not ran.state.loading


def test_an_upload_survives_a_restart(make, photo, tmp_path):
    """What was uploaded and varied is in the store, so that the code repeats it in a new process."""
    Image.fromarray(photo).save(tmp_path / "cat.png")
    panel = make("red")
    panel.do.upload("cat.png", (tmp_path / "cat.png").read_bytes())
    panel.do.run()
    source = panel.state.result[0].source
    assert source.path.read_bytes() == (tmp_path / "cat.png").read_bytes()
    assert repr(str(source.path)) in panel.state.call


def test_a_preview_shows_what_is_sent(make, photo):
    """The preview has the shape of the crop and says so, and follows the size."""
    panel = make(namespace={"photo": photo})
    panel.do.pick_variable("photo")
    panel.state.size = "64x32"
    with Image.open(io.BytesIO(panel.state.preview.data)) as image:
        assert image.size == (64, 32)
    assert panel.state.preview_words == "photo, 120x80, crop to 64x32"


def test_the_same_picture_under_another_name_is_another_source(make, photo):
    """The preview follows the choice also where both sources have the same pixels."""
    panel = make(namespace={"one": photo, "two": photo.copy()})
    panel.do.pick_variable("one")
    panel.do.pick_variable("two")
    assert "two, 120x80" in panel.state.preview_words


def test_variables_that_hold_images_are_offered(make, photo):
    """The picker lists images and nothing else."""
    panel = make(
        namespace={
            "photo": photo,
            "_hidden": photo,
            "n": 3,
            "table": np.zeros(5),
            "pil": Image.new("L", (2, 2)),
        }
    )
    assert panel.state.variables == ("photo", "pil")


def test_several_images_give_the_first(make, photo):
    """Of a list of images the first is taken, and that is said."""
    panel = make(namespace={"photos": [photo, photo]})
    panel.do.pick_variable("photos")
    assert "first of 2" in panel.state.notice
    assert panel.state.source is not None


def test_the_seed_of_a_run_is_shown_and_a_typed_one_kept(ran):
    """A run shows the seed it drew; a typed seed is kept and used."""
    assert ran.state.seed == str(ran.state.result.request.seed)
    ran.do.type_seed("12")
    ran.do.run()
    assert ran.engine.requests[-1].seed == 12


@pytest.mark.parametrize(
    ("form", "kind"),
    [("byte", bytes), ("base64", str), ("url", str), ("image", Image.Image), ("array", np.ndarray)],
)
def test_pictures_are_bound_in_every_form(make, photo, form, kind):
    """All pictures become a list, one selected picture a value."""
    names = {"photo": photo}
    panel = make("red", "green", namespace=names)
    panel.do.pick_variable("photo")
    panel.do.run()
    panel.do.bind("both", form)
    assert [isinstance(each, kind) for each in names["both"]] == [True, True]
    panel.do.select(panel.state.cards[1].id, on=True)
    panel.do.bind("one", form)
    assert isinstance(names["one"], kind)


@pytest.mark.parametrize("name", ["", "2x", "a b", "class", "_", "print", "a.b", "In", "list"])
def test_a_name_that_can_not_be_bound_is_refused(ran, name):
    """What is no name, or one of Python's own, is refused."""
    with pytest.raises(InvalidRequestError):
        ran.do.bind(name, "image")


def test_a_variable_in_use_is_replaced_on_the_second_click(make, photo):
    """A name in use is refused once and replaced when it is asked for again."""
    names = {"photo": photo, "np": np}
    panel = make("red", namespace=names)
    panel.do.pick_variable("photo")
    panel.do.run()
    with pytest.raises(InvalidRequestError, match="already"):
        panel.do.bind("np", "image")
    assert names["np"] is np
    panel.do.bind("np", "image")
    assert names["np"] is not np


def test_pictures_are_saved_to_files(ran, tmp_path):
    """The selected picture is saved alone, in the format of the name."""
    ran.do.select(ran.state.cards[2].id, on=True)
    ran.do.save(str(tmp_path / "out.jpg"))
    with Image.open(tmp_path / "out.jpg") as image:
        assert image.format == "JPEG"
    assert "out.jpg" in ran.state.notice


def test_inserting_needs_an_output_and_adds_up(ran):
    """Pictures are inserted below a panel that stands by itself, each once."""
    with pytest.raises(InvalidRequestError, match="last line of a cell"):
        ran.do.insert()
    ran.state.can_insert = True
    ran.do.select(ran.state.cards[0].id, on=True)
    ran.do.insert()
    ran.do.select(ran.state.cards[1].id, on=True)
    ran.do.insert()
    assert len(ran.state.inserted) == 2
    bundle = ran.do.inserted_bundle()
    assert bundle["text/html"].count("<img") == 2
    assert bundle["image/jpeg"].startswith(b"\xff\xd8")


def test_varying_again_makes_a_branch(ran):
    """A picture of the gallery becomes the source, and its run hangs below in the history."""
    ran.do.vary(ran.state.cards[1].id)
    ran.do.run()
    assert ran.state.cards[3].picture.name.startswith("photo-2-1")
    assert [node.depth for node in ran.state.nodes] == [0, 1]


def test_the_history_can_be_walked_back(ran):
    """Going back shows a run's pictures with its settings, its seed and its source."""
    first = ran.state.result
    ran.do.vary(ran.state.cards[0].id)
    ran.state.n, ran.state.strength = 2, 0.2
    ran.do.run()
    ran.do.go_back(0)
    assert [card.picture.bytes for card in ran.state.of_group(ran.state.newest.id)] == first.bytes
    assert len(ran.state.groups) == 2
    assert (ran.state.strength, ran.state.seed) == (0.5, str(first.request.seed))
    assert ran.state.source.name == "photo"
    assert ran.state.seed_locked


def test_a_run_of_the_magic_is_in_the_history(make, photo):
    """What was made elsewhere in the notebook is in the tree after the next cell."""
    panel = make()
    variations(photo, engine="patch", size="64x64")
    assert panel.state.nodes == ()
    panel.do.look_around()
    assert len(panel.state.nodes) == 1


def test_a_png_of_ours_restores_its_settings(tmp_path, photo):
    """A saved PNG of ours as the source sets engine, size, strength and seed."""
    made = variations(
        photo, engine="patch", size="64x96", strength=0.3, seed=5, fit="pad", options={"flip": False}
    )
    path = made[0].save(tmp_path / "ours.png")
    state = PanelState()
    inline = Worker(lambda work: work())
    PanelActions(state, {}, None, inline, inline).type_source(str(path))
    assert (state.engine, state.size, state.strength, state.fit) == ("patch", "64x96", 0.3, "pad")
    assert (state.seed, state.seed_locked) == ("5", True)
    assert state.options["flip"] is False
    assert state.n == 4
    assert "restored" in state.notice


def test_the_code_repeats_the_run(photo):
    """The Python call of a run of the offline engine makes the same bytes again."""
    state = PanelState()
    inline = lambda: Worker(lambda work: work())  # noqa: E731
    names = {"photo": photo}
    actions = PanelActions(state, names, None, inline(), inline())
    actions.pick_variable("photo")
    state.size, state.n = "64x64", 2
    actions.run()
    exec(state.call.replace("\nvariations(", "\nagain = variations("), names)  # noqa: S102
    assert names["again"].bytes == state.result.bytes


def test_the_code_repeats_the_selected_picture_alone(photo):
    """With one picture selected, line and call make that picture alone, with the same bytes; else the whole run."""
    state = PanelState()
    inline = lambda: Worker(lambda work: work())  # noqa: E731
    names = {"photo": photo}
    actions = PanelActions(state, names, None, inline(), inline())
    actions.pick_variable("photo")
    state.size, state.n = "64x64", 3
    actions.run()
    whole = state.line
    actions.select(state.cards[2].id, on=True)
    assert state.line == whole.replace("-n 3 ", "").replace(
        f"--seed {state.seed}", f"--seed {state.seed} --index 3"
    )
    exec(state.call.replace("\nvariations(", "\nagain = variations("), names)  # noqa: S102
    assert names["again"].bytes == [state.cards[2].picture.bytes]
    actions.select_all(on=False)
    assert state.line == whole


def test_a_picture_that_was_made_alone_can_be_made_again(tmp_path, photo):
    """The code of a run by index names it, and going back to it sets as many pictures as it takes."""
    Image.fromarray(photo).save(tmp_path / "photo.png")
    alone = variations(tmp_path / "photo.png", engine="patch", size="64x64", seed=7, index=3)
    state = PanelState()
    inline = lambda: Worker(lambda work: work())  # noqa: E731
    actions = PanelActions(state, {}, None, inline(), inline())
    assert "seed 7 · --index 3" in state.nodes[0].label
    actions.go_back(0)
    assert "--seed 7 --index 3" in state.line
    assert "seed=7, index=3" in state.call
    assert state.n == 3
    actions.run()
    assert state.error == ""
    assert state.result.bytes[2] == alone.bytes[0]


def test_no_code_claims_an_index_without_a_seed(make, photo):
    """For an engine that takes no seed, a selected picture's code has none and no index."""
    panel = make("red", "green")
    panel.engine.features = frozenset()
    panel.do.use(photo)
    panel.do.run()
    panel.do.select(panel.state.cards[1].id, on=True)
    assert panel.state.line.startswith("%imagevariation")
    assert "index" not in panel.state.line + panel.state.call


def test_no_key_is_taken_only_names(make, monkeypatch):
    """A key that is typed instead of a name is neither kept nor repeated."""
    panel = make(namespace={"my_key": Secret("sk-1"), "text": "sk-2"})
    with pytest.raises(InvalidRequestError) as caught:
        panel.do.name_key("sk-secret")
    assert "sk-secret" not in str(caught.value)
    assert panel.state.key_name == "OPENAI_API_KEY"
    assert panel.state.key_origin == "no key"
    panel.do.name_key("my_key")
    assert panel.state.key_origin == "key from the variable my_key, for api.openai.com"
    monkeypatch.setenv("OPENAI_API_KEY", "sk-3")
    panel.do.name_key("OPENAI_API_KEY")
    assert panel.state.key_origin == "key from the environment (OPENAI_API_KEY), for api.openai.com"


def test_the_offline_engine_refuses_prompt_and_model():
    """The offline engine's reasons are there for the controls that it disables."""
    from ipy_imgvar.panel import engines

    with Client("patch") as client:
        assert set(engines.refusals(client.engine)) == {"prompt", "model"}


def test_the_hosted_engine_can_be_chosen_before_there_is_a_key(photo):
    """Without a key the hosted engine's controls are there, its run is refused in one line, and nothing is sent."""
    state = PanelState()
    actions = PanelActions(state, {"photo": photo}, None, *[Worker(lambda work: work()) for _ in range(2)])
    actions.pick_variable("photo")
    state.engine = "openai"
    assert set(state.refused) == {"seed"}
    with pytest.raises(ConfigurationError, match="no API key"):
        actions.run()
    assert state.status is Status.IDLE


@pytest.mark.parametrize(("name", "value"), [("size", "huge"), ("n", 11), ("strength", 2.0)])
def test_a_wrong_setting_is_refused_before_a_run(photo, name, value):
    """A setting that no request could have is refused by the request's own words, and no run begins."""
    state = PanelState()
    actions = PanelActions(state, {"photo": photo}, None, *[Worker(lambda work: work()) for _ in range(2)])
    actions.pick_variable("photo")
    setattr(state, name, value)
    with pytest.raises(InvalidRequestError, match=name):
        actions.run()
    assert state.status is Status.IDLE


def test_a_first_look_stays_until_the_picture_comes(make, photo):
    """A preview is shown at most 256 px large until its picture is there, and the bar never goes back."""
    seen = []
    large = codec.encode_png(Image.fromarray(photo).resize((1200, 800)))

    def look(job):
        time.sleep(0.11)  # progress is shown every 0.1 s
        job.progress(0.5, "a first look", large)

    def wait(job):
        time.sleep(0.11)
        job.progress(0.0, "waiting")
        seen.append((panel.state.look, panel.state.progress))

    panel = make(look, wait, "red", wait)
    panel.do.use(photo)
    panel.do.run()
    (before, half), (after, _) = seen
    assert before.id == "look:1:0"
    with Image.open(io.BytesIO(before.data)) as image:
        assert max(image.size) == 256
    assert half == 0.5
    assert after is panel.state.look is None


def test_a_first_look_goes_when_the_run_fails(make, photo):
    """No unfinished picture is left on the page after an error."""
    panel = make(
        lambda job: job.progress(0.5, "", codec.encode_png(Image.fromarray(photo))), EngineError("no")
    )
    panel.do.use(photo)
    panel.do.run()
    assert panel.state.look is None
    assert panel.state.status is Status.FAILED


def test_earlier_pictures_stay_while_the_next_run_goes_on(ran):
    """A new run opens a group above the earlier ones, whose pictures stay."""
    seen = []
    ran.engine.script = [lambda job: seen.append((len(ran.state.groups), len(ran.state.cards))), "red"]  # noqa: ARG005
    ran.do.run()
    assert seen == [(2, 3)]
    assert [len(ran.state.of_group(group.id)) for group in ran.state.groups] == [1, 3]


def test_a_run_without_pictures_leaves_no_empty_group(ran):
    """A run that fails before its first picture leaves the earlier pictures, and no group of its own."""
    ran.engine.script = [EngineError("no")]
    ran.do.run()
    assert [len(ran.state.of_group(group.id)) for group in ran.state.groups] == [3]


def test_varying_at_a_strength_runs_at_once(ran):
    """One action takes a picture as the source, sets the strength and runs."""
    ran.do.vary_at(ran.state.cards[0].id, "subtle")
    assert ran.state.status is Status.DONE
    assert ran.engine.requests[-1].strength == 0.2
    assert ran.engine.requests[-1].image.name == "photo-1.png"


def test_stars_sorting_and_removal(ran):
    """A star and a place on the page belong to a picture by its id, whatever else goes."""
    first, second, third = (card.id for card in ran.state.cards)
    ran.do.star(third, on=True)
    ran.do.select(second, on=True)
    ran.do.remove(second)
    assert [card.id for card in ran.state.cards] == [first, third]
    assert (ran.state.selected, ran.state.starred) == ((), (third,))
    with pytest.raises(InvalidRequestError, match="no longer in the panel"):
        ran.do.select(second, on=True)
    with pytest.raises(InvalidRequestError, match="allowed: made, similarity"):
        ran.do.sort("size")


def test_the_oldest_groups_leave_the_page_but_not_those_with_a_star(ran):
    """Eight runs are on the page, and older ones with a starred picture."""
    starred = ran.state.cards[0].id
    ran.do.star(starred, on=True)
    for _ in range(10):
        ran.do.run()
    assert len(ran.state.groups) == 9
    assert ran.state.groups[-1].id == 1
    assert ran.state.starred == (starred,)


def test_a_mask_keeps_the_pixels_that_were_painted(photo):
    """What was painted white, at any size, is exact in every result; a new source removes the mask."""
    state = PanelState()
    inline = Worker(lambda work: work())
    actions = PanelActions(state, {"photo": photo}, None, inline, Worker(lambda work: work()))
    actions.pick_variable("photo")
    state.size, state.n = "120x80", 1
    painted = np.zeros((40, 60), np.uint8)
    painted[:, :30] = 255
    actions.use_mask(codec.encode_png(Image.fromarray(painted)))
    assert state.mask_share == 0.5
    actions.run()
    assert state.error == ""
    made = np.asarray(state.cards[0].picture.image.convert("RGB"))
    assert np.array_equal(made[:, :60], photo[:, :60])
    assert not np.array_equal(made[:, 60:], photo[:, 60:])
    actions.vary(state.cards[0].id)
    assert state.mask is state.mask_preview is None


@pytest.mark.parametrize(("level", "word"), [(0, "nothing"), (255, "everything")])
def test_a_mask_without_a_border_is_refused(make, photo, level, word):
    """A mask that keeps all or nothing is refused in words, and the earlier mask stays."""
    panel = make()
    panel.do.use(photo)
    with pytest.raises(InvalidRequestError, match=f"keeps {word}"):
        panel.do.use_mask(codec.encode_png(Image.new("L", (120, 80), level)))
    assert panel.state.mask is None


def test_remix_sets_the_settings_and_nothing_else(ran):
    """The settings of an earlier run come back, and the pictures and the source stay."""
    source = ran.state.source
    ran.do.set_field("n", 2)
    ran.do.set_field("strength", "strong")
    ran.do.remix(0)
    assert (ran.state.n, ran.state.strength, ran.state.seed_locked) == (3 + 1, 0.5, True)
    assert ran.state.source is source
    assert len(ran.state.groups) == 1


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("n", 11, "Pictures is 11"),
        ("size", "huge", "size is 'huge'"),
        ("strength", "much", "strength is 'much'"),
        ("seed", "x", "seed is 'x'"),
        ("seed_locked", 1, "allowed: true or false"),
        ("engine", "other", "engine is 'other'"),
        ("prompt", 3, "allowed: text"),
        ("max_retry_count", -1, "Retries is -1"),
        ("timeout", "soon", "Time limit is 'soon'"),
        ("option:none", 1, "no option 'none'"),
        ("status", "running", "no setting 'status'"),
        ("api_base", "ftp://x", "API base"),
    ],
)
def test_a_field_refuses_what_no_request_can_have(make, name, value, words):
    """A wrong value of a field is refused in one line, and the setting stays."""
    panel = make()
    before = panel.state.trait_values()
    with pytest.raises(ImageVariationError, match=re.escape(words)):
        panel.do.set_field(name, value)
    assert panel.state.trait_values() == before


def test_an_address_with_a_password_is_not_kept(make):
    """A server's address that holds a password is refused without repeating it."""
    panel = make()
    with pytest.raises(ConfigurationError) as caught:
        panel.do.set_field("api_base", "https://me:sk-secret@server.example/v1")
    assert "sk-secret" not in str(caught.value)
    assert panel.state.api_base == ""


def test_the_server_of_the_field_is_where_the_picture_goes():
    """A typed server is the one that the key's line names."""
    state = PanelState()
    actions = PanelActions(state, {"OPENAI_API_KEY": "sk-1"}, None)
    actions.set_field("api_base", "http://localhost:9/v1")
    assert state.key_origin == "key from the variable OPENAI_API_KEY, for localhost:9"
    actions.close()
