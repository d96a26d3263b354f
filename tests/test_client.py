import base64
import dataclasses
import inspect
import io
import logging
import threading
import time

import numpy as np
import pytest
from PIL import Image

from ipy_imgvar import Client, Variations, history, last, variations
from ipy_imgvar.engine import Engine
from ipy_imgvar.engines.patch.engine import PatchEngine
from ipy_imgvar.errors import (
    CancelledError,
    ConfigurationError,
    EngineError,
    ImageVariationError,
    InvalidImageError,
    InvalidRequestError,
    RateLimitError,
    RequestTimeoutError,
)
from ipy_imgvar.images import codec
from ipy_imgvar.request import VariationRequest
from ipy_imgvar.settings import Secret

pytestmark = pytest.mark.usefixtures("quick_patch")


def colours(pictures):
    return [each.image.getpixel((0, 0)) for each in pictures]


RED, LIME, BLUE = (255, 0, 0), (0, 255, 0), (0, 0, 255)


@pytest.fixture
def patch():
    """Return a client of the offline engine."""
    with Client("patch") as client:
        yield client


class TestEngineChoice:
    """Which engine answers, and with which settings."""

    def test_default(self):
        """Without settings, the offline engine answers."""
        assert Client().engine.name == "patch"

    def test_by_name(self):
        """An engine is chosen by name."""
        assert isinstance(Client("patch").engine, PatchEngine)

    def test_an_engine(self, fake_engine):
        """An engine of one's own is used as it is."""
        engine = fake_engine()
        assert Client(engine).engine is engine
        assert isinstance(engine, Engine)
        assert isinstance(PatchEngine(), Engine)

    @pytest.mark.parametrize("name", ["pach", "PATCH", "dall-e-2"])
    def test_unknown(self, name):
        """An unknown name is refused with the names there are, and the near one."""
        with pytest.raises(ConfigurationError, match=f"engine is '{name}'; allowed: .*patch"):
            Client(name)
        with pytest.raises(ConfigurationError, match="did you mean patch"):
            Client("pach")

    @pytest.mark.parametrize(
        "arguments",
        [
            {"engine": "pach"},
            {"engine": ""},
            {"engine": 5},
            {"api_key": 5},
            {"api_base": "nonsense"},
            {"organization": 5},
            {"model": 5},
            {"timeout": -1},
            {"response_format": "gif"},
            {"strength": "hard"},
            {"size": "big"},
            {"n": 0},
            {"seed": -1},
            {"index": 11},
            {"fit": "fill"},
            {"options": {"no": "such"}},
            {"model": "no-such-model"},
            {"mask": 5},
            {"prompt": "a cat"},
            {"image": "no-such.png"},
            {"image": 5},
            {"extra_body": 5},
            {"max_retry_count": 101},
        ],
        ids=str,
    )
    def test_a_wrong_argument_is_a_value_error(self, photo, arguments):
        """Whichever argument is wrong, what is raised is a `ValueError` and one of ours, in one line."""
        with pytest.raises(ValueError, match=r"allowed|can't use|there is no|has only") as caught:
            variations(**{"image": photo, "engine": "patch", "size": 64, **arguments})
        assert isinstance(caught.value, ImageVariationError)

    def test_engines_of_other_packages(self, tmp_path, monkeypatch, photo):
        """An installed package can bring an engine; one that can't be loaded is one line, and only when asked for."""
        info = tmp_path / "others-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: others\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(
            "[ipy_imgvar.engines]\nours = ipy_imgvar.engines.patch.engine:PatchEngine\n"
            "broken = no_such_module:Engine\npatch = no_such_module:Engine\n"
        )
        monkeypatch.syspath_prepend(tmp_path)
        assert Client("ours").variations(photo, size=64).engine == "patch"
        assert isinstance(Client("patch").engine, PatchEngine)
        with pytest.raises(
            ConfigurationError, match=r"engine broken can't be loaded \(ModuleNotFoundError: "
        ):
            Client("broken")
        with pytest.raises(ConfigurationError, match="allowed: patch, openai, diffusers, broken, ours"):
            Client("x")

    def test_repr_shows_no_key(self):
        """A client's repr says which engine, and neither it nor its attributes show the key."""
        client = Client("patch", api_key="sk-very-secret")
        assert repr(client) == "<Client: engine patch>"
        assert "very-secret" not in str(vars(client))

    @pytest.mark.parametrize("key", ["", "  ", 3])
    def test_bad_key(self, key):
        """A key that is none is refused at once."""
        with pytest.raises(ConfigurationError, match="allowed: text"):
            Client("patch", api_key=key)

    def test_key_as_secret(self):
        """A key may be a `Secret`."""
        assert Client("patch", api_key=Secret("sk-1")).engine.name == "patch"

    @pytest.mark.parametrize(
        "wrong", [{"timeout": -1}, {"max_retry_count": 101}, {"model": ""}, {"extra_headers": "x"}]
    )
    def test_bad_defaults(self, wrong):
        """A client's own defaults are checked when it is made."""
        with pytest.raises(InvalidRequestError) as caught:
            Client("patch", **wrong)
        assert caught.value.field == next(iter(wrong))

    def test_defaults_and_arguments(self, fake_engine, photo):
        """A call's argument wins over the client's; one left out takes the client's."""
        engine = fake_engine([], [])
        client = Client(engine, model="a", timeout=5, max_retry_count=2, extra_headers={"x": "1"})
        client.variations(photo)
        client.variations(photo, model="b", timeout=0, max_retry_count=0, extra_headers={})
        first, second = engine.requests
        assert (first.model, first.timeout, first.max_retry_count, first.extra_headers) == (
            "a",
            5,
            2,
            {"x": "1"},
        )
        assert (second.model, second.timeout, second.max_retry_count, second.extra_headers) == ("b", 0, 0, {})

    def test_closing(self, fake_engine):
        """Leaving the client's context closes its engine."""
        engine = fake_engine()
        with Client(engine):
            assert engine.closed == 0
        assert engine.closed == 1


class TestPatch:
    """The whole way through the offline engine."""

    def test_n_pictures(self, patch, photo):
        """As many pictures as asked, of the asked size are made, different from one another, PNG files that decode."""
        made = patch.variations(photo, n=4, size="64x96", seed=7)
        assert isinstance(made, Variations)
        assert len(made) == len(set(made.bytes)) == 4
        assert [each.size for each in made] == [(64, 96)] * 4
        assert made.to_numpy().shape == (4, 96, 64, 3)
        assert [Image.open(io.BytesIO(data)).format for data in made.bytes] == ["PNG"] * 4
        assert [(each.index, each.name) for each in made] == [
            (i, f"PIL-image-96x72-{i}") for i in (1, 2, 3, 4)
        ]
        assert (made.engine, made.model, made.status, made.usage) == ("patch", "patch-3", "done", None)
        assert made.elapsed > 0

    def test_the_same_bytes_again(self, photo, photo_path):
        """The same picture, seed and settings give the same bytes, for a path and for another client, too."""
        arguments = {"size": 64, "seed": 7, "n": 2}
        first = Client("patch").variations(photo_path, **arguments)
        assert Client("patch").variations(str(photo_path), **arguments).bytes == first.bytes
        pixels = [np.asarray(image) for image in Client("patch").variations(photo, **arguments).images]
        np.testing.assert_array_equal(pixels, [np.asarray(image) for image in first.images])
        assert Client("patch").variations(photo_path, **arguments | {"seed": 8}).bytes != first.bytes

    def test_a_picture_does_not_depend_on_n(self, patch, photo_path):
        """The first of four pictures is the one that n=1 makes."""
        assert patch.variations(photo_path, n=3, size=64, seed=7)[0].bytes == (
            patch.variations(photo_path, n=1, size=64, seed=7)[0].bytes
        )

    def test_a_drawn_seed_repeats_it(self, patch, photo_path):
        """Without a seed one is drawn, told, and repeats the run."""
        made = patch.variations(photo_path, size=64)
        assert made[0].seed == made.request.seed
        assert patch.variations(photo_path, size=64, seed=made[0].seed).bytes == made.bytes
        assert patch.variations(photo_path, size=64)[0].seed != made[0].seed

    def test_parameters(self, patch, photo_path):
        """A picture carries what repeats it, and neither path, user nor time; parameters are also in its file."""
        made = patch.variations(photo_path, n=2, size="64x64", strength="subtle", user="user-77", seed=3)
        for index, each in enumerate(made, start=1):
            assert codec.parameters_of(each.bytes) == each.parameters
            assert each.parameters["index"] == index
            assert b"user-77" not in each.bytes
            assert str(photo_path.parent).encode() not in each.bytes
        kept = {name: made[0].parameters[name] for name in ("size", "strength", "seed", "fit", "options")}
        again = patch.variations(photo_path, **kept)
        assert again[0].bytes == made[0].bytes

    def test_several_images(self, patch, photo, photo_path):
        """Several images each get their n pictures, source by source."""
        made = patch.variations([photo_path, photo], n=2, size=64)
        assert [each.source.name for each in made] == ["photo.png"] * 2 + ["PIL image 96x72"] * 2
        assert [each.index for each in made] == [1, 2, 1, 2]

    def test_variations_of_variations(self, patch, photo):
        """A result, or one picture of it, is an image again."""
        made = patch.variations(photo, n=2, size=64)
        again = patch.variations(made, size=64)
        assert [each.name for each in again] == [f"{each.name}-1" for each in made]
        assert len(patch.variations(made[0], size=64)) == 1

    @pytest.mark.parametrize("mode", ["L", "RGB", "RGBA"])
    def test_modes(self, patch, photo, mode):
        """Grey stays grey and transparency stays."""
        image = photo.convert(mode)
        if mode == "RGBA":
            image.putalpha(Image.linear_gradient("L").resize(photo.size))
        assert patch.variations(image, size=64)[0].image.mode == mode

    @pytest.mark.parametrize("size", [(1, 1), (1, 200), (200, 1), (2, 3), (7, 7), (300, 20)])
    @pytest.mark.parametrize("fit", ["crop", "pad", "stretch"])
    def test_odd_shapes(self, patch, size, fit):
        """A picture of any shape has variations with every fit."""
        pixels = np.random.default_rng(0).integers(0, 255, (size[1], size[0], 3), np.uint8)
        assert patch.variations(pixels, size="64x72", fit=fit)[0].image.size == (64, 72)

    @pytest.mark.parametrize("width", [84, 102, 115, 155])
    def test_widths_that_do_not_divide(self, patch, width):
        """A width whose ratio to the size is no short fraction can be cropped."""
        pixels = np.random.default_rng(0).integers(0, 255, (width * 2, width, 3), np.uint8)
        assert patch.variations(pixels, size=300)[0].size == (300, 300)

    def test_flat_picture(self, patch):
        """A flat picture is made with a warning that there is nothing to rearrange."""
        made = patch.variations(Image.new("RGB", (64, 64), "red"), size=64)
        (warning,) = made.warnings
        assert "one flat colour" in warning

    def test_mask_keeps(self, patch, photo):
        """What a mask keeps is in place, pixel for pixel, and the rest is not."""
        image = photo.crop((0, 0, 64, 64))
        keep = np.zeros((64, 64), bool)
        keep[24:40, 24:40] = True
        made = patch.variations(
            image, mask=keep, size=64, seed=1, strength="strong", options={"tone": False}
        )[0].to_numpy()
        difference = np.abs(made.astype(int) - np.asarray(image))
        assert difference[keep].max() == 0
        assert difference[~keep].mean() > 3

    @pytest.mark.parametrize(
        ("wrong", "field"),
        [
            ({"size": 32}, "size"),
            ({"size": 4096}, "size"),
            ({"model": "dall-e-2"}, "model"),
            ({"options": {"quality": "high"}}, "options"),
            ({"options": {"flip": "maybe"}}, "options"),
            ({"prompt": "a dog"}, "prompt"),
        ],
    )
    def test_what_it_can_not_do(self, patch, photo, wrong, field):
        """What this engine can't honour is refused by name, before anything is made."""
        with pytest.raises(
            InvalidRequestError, match=r"patch|option flip is .maybe.; allowed: true or false"
        ) as caught:
            patch.variations(photo, **wrong)
        assert caught.value.field == field
        assert history() == []

    def test_timeout(self, patch, photo):
        """A run that takes longer than its timeout ends with an error that says what to change."""
        with pytest.raises(RequestTimeoutError, match=r"timeout of 0\.001 s; raise it, or lower n or size"):
            patch.variations(photo, n=4, size=256, timeout=0.001)
        assert last() is None

    def test_cancel_is_quick(self, patch, photo):
        """A cancelled run ends after at most 0.5 s of further work, and leaves no thread."""
        cancel = threading.Event()
        at = []

        def stop():
            at.append(time.process_time())
            cancel.set()

        before = threading.active_count()
        timer = threading.Timer(0.15, stop)
        timer.start()
        with pytest.raises(CancelledError):
            patch.variations(photo.resize((512, 512)), n=10, size=512, cancel=cancel)
        assert time.process_time() - at[0] < 0.5
        timer.join()
        assert threading.active_count() == before

    def test_from_a_thread(self, patch, photo_path):
        """Runs in several threads at once make the same bytes as alone."""
        expected = patch.variations(photo_path, size=64, seed=1).bytes
        results = []
        threads = [
            threading.Thread(
                target=lambda: results.append(patch.variations(photo_path, size=64, seed=1).bytes)
            )
            for _ in range(4)
        ]
        for each in threads:
            each.start()
        for each in threads:
            each.join()
        assert results == [expected] * 4
        assert len(history()) == 5


class TestProgress:
    """What a caller hears of a run."""

    def test_monotone(self, patch, photo):
        """Progress rises from 0 to 1 over all pictures of all images, and says what is done."""
        seen = []
        patch.variations([photo, photo], n=2, size=64, on_progress=lambda *report: seen.append(report))
        fractions = [fraction for fraction, _ in seen]
        assert fractions == sorted(fractions)
        assert 0 <= fractions[0] < 0.5
        assert fractions[-1] == 1
        assert all(isinstance(fraction, float) for fraction in fractions)
        assert all(text and "\n" not in text for _, text in seen)

    def test_share_of_each_image(self, fake_engine, photo):
        """An image's progress counts for its share of the run."""
        seen = []
        run = [lambda job: job.progress(0.5, "half"), "red"]
        client = Client(fake_engine(run, run))
        client.variations([photo, photo], size=64, on_progress=lambda fraction, _: seen.append(fraction))
        assert seen == [0.25, 0.75]

    def test_each_picture_is_handed_over_stored(self, fake_engine, photo):
        """`on_picture` gets each picture when it is in the store, before the next is made."""
        seen = []
        engine = fake_engine(["red", lambda _: seen.append("next"), "blue"])
        made = Client(engine).variations(
            photo, size=64, on_picture=lambda each: seen.append(each.path.exists())
        )
        assert seen == [True, "next", True]
        assert len(made) == 2

    def test_an_error_in_the_caller_s_function(self, fake_engine, photo):
        """An error in `on_picture` ends the run with it, and what was finished is kept."""
        engine = fake_engine(["red", "blue"])

        def fail(_):
            raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            Client(engine).variations(photo, size=64, on_picture=fail)
        assert colours(last()) == [RED]
        assert engine.ended == 1


class TestStopping:
    """Cancel and interrupt."""

    def test_cancelled_in_the_middle(self, fake_engine, photo):
        """A cancelled run keeps what was finished: in the error, in `last()` and in the history."""
        cancel = threading.Event()
        engine = fake_engine(["red", "lime", lambda _: cancel.set(), 100, "blue"])
        started = time.perf_counter()
        with pytest.raises(CancelledError) as caught:
            Client(engine).variations(photo, size=64, n=3, cancel=cancel)
        assert time.perf_counter() - started < 60
        assert colours(caught.value.partial) == colours(last()) == colours(history()[0]) == [RED, LIME]
        assert caught.value.partial.status == "interrupted"
        assert engine.ended == 1

    def test_cancelled_before_a_picture(self, patch, photo):
        """A run that was cancelled before it began makes nothing."""
        cancel = threading.Event()
        cancel.set()
        with pytest.raises(CancelledError) as caught:
            patch.variations(photo, size=64, cancel=cancel)
        assert caught.value.partial is None
        assert last() is None

    def test_cancel_ends_the_other_images(self, fake_engine, photo):
        """Cancel stops the whole run: no further image is begun."""
        cancel = threading.Event()
        engine = fake_engine(["red", lambda _: cancel.set(), 1], ["blue"])
        with pytest.raises(CancelledError) as caught:
            Client(engine).variations([photo, photo], size=64, cancel=cancel)
        assert colours(caught.value.partial) == [RED]
        assert len(engine.runs) == 1

    def test_keyboard_interrupt(self, fake_engine, photo):
        """An interrupt is passed on, the engine is ended, and the finished pictures are in `last()`."""
        engine = fake_engine(["red", "lime", KeyboardInterrupt()], ["blue"])
        with pytest.raises(KeyboardInterrupt):
            Client(engine).variations([photo, photo], size=64, n=3)
        assert colours(last()) == [RED, LIME]
        assert last().status == "interrupted"
        assert engine.ended == 1

    def test_the_client_goes_on(self, fake_engine, photo):
        """After a stop the same client makes the next run."""
        client = Client(fake_engine(["red", KeyboardInterrupt()], ["blue"]))
        with pytest.raises(KeyboardInterrupt):
            client.variations(photo, size=64)
        assert colours(client.variations(photo, size=64)) == [BLUE]


class TestFailures:
    """What is left when a picture can't be made."""

    def test_partial(self, fake_engine, photo):
        """When an engine breaks off, the error has what was finished."""
        with pytest.raises(RateLimitError, match="slow down") as caught:
            Client(fake_engine(["red", RateLimitError("slow down", status=429)])).variations(
                photo, n=2, size=64
            )
        assert colours(caught.value.partial) == [RED]
        assert caught.value.partial.status == "failed"
        assert caught.value.status == 429

    def test_no_partial(self, fake_engine, photo):
        """When nothing was finished, there is no partial result."""
        with pytest.raises(EngineError) as caught:
            Client(fake_engine([EngineError("broken")])).variations(photo, size=64)
        assert caught.value.partial is None

    def test_one_of_several_images(self, fake_engine, photo, caplog):
        """One image that fails is no reason not to make the others; the error has them and names it."""
        engine = fake_engine(["red"], [EngineError("broken")], ["blue"])
        with (
            caplog.at_level(logging.INFO, "ipy_imgvar"),
            pytest.raises(EngineError, match=r"^1 of 3 images failed \(.*\); the first: broken$") as caught,
        ):
            Client(engine).variations([photo, photo, photo], size=64)
        assert colours(caught.value.partial) == colours(last()) == [RED, BLUE]
        assert "broken" in caplog.text

    def test_a_damaged_image_among_others(self, patch, photo, photo_path):
        """A file that turns out damaged fails alone, and is named."""
        bad = photo_path.with_name("bad.png")
        bad.write_bytes(photo_path.read_bytes()[:300])
        with pytest.raises(InvalidImageError, match=r"1 of 3 images failed \(bad\.png\)") as caught:
            patch.variations([photo, bad, photo_path], size=64)
        assert [each.source.name for each in caught.value.partial] == ["PIL image 96x72", "photo.png"]

    def test_all_fail(self, fake_engine, photo):
        """When every image fails, the error says so with the first reason."""
        engine = fake_engine([EngineError("one")], [EngineError("two")])
        with pytest.raises(EngineError, match=r"2 of 2 images failed .*the first: one") as caught:
            Client(engine).variations([photo, photo], size=64)
        assert caught.value.partial is None

    def test_a_bug_in_an_engine(self, fake_engine, photo):
        """An exception that is none of ours comes through unchanged, and what was finished is kept."""
        with pytest.raises(ZeroDivisionError):
            Client(fake_engine(["red", ZeroDivisionError()])).variations(photo, size=64)
        assert colours(last()) == [RED]
        assert last().status == "failed"

    def test_warnings(self, fake_engine, photo):
        """What an engine has to say is in the result's warnings, once."""
        client = Client(
            fake_engine([lambda job: job.warn("careful"), lambda job: job.warn("careful"), "red"])
        )
        assert client.variations(photo, size=64).warnings == ["careful"]

    @pytest.mark.parametrize(
        ("content", "message"),
        [(b"hello", "is not an image"), (b"", "is empty"), (None, "there is no file")],
    )
    def test_bad_files(self, patch, tmp_path, content, message):
        """A bad file is one line and makes nothing."""
        path = tmp_path / "bad.png"
        if content is not None:
            path.write_bytes(content)
        with pytest.raises(InvalidImageError, match=message) as caught:
            patch.variations(path, size=64)
        assert len(str(caught.value).splitlines()) == 1
        assert caught.value.partial is None

    @pytest.mark.parametrize(
        ("name", "wrong"),
        [
            ("n", 0),
            ("n", 11),
            ("n", "two"),
            ("size", "300x300x2"),
            ("strength", 2),
            ("seed", -1),
            ("fit", "zoom"),
        ],
    )
    def test_wrong_arguments(self, patch, photo, name, wrong):
        """A wrong argument is a `ValueError` of ours that names it, and leaves no run."""
        with pytest.raises(ValueError, match=f"{name} is {wrong!r}; allowed: ") as caught:
            patch.variations(photo, **{name: wrong})
        assert isinstance(caught.value, ImageVariationError)
        assert caught.value.field == name
        assert history() == []


class TestFeatures:
    """Mask, prompt and seed."""

    @pytest.mark.parametrize(
        ("feature", "value"), [("mask", np.ones((72, 96), bool)), ("prompt", "a dog"), ("seed", 0)]
    )
    def test_unsupported(self, fake_engine, photo, feature, value):
        """What an engine does not support is refused by name, never dropped; a seed of 0 counts as given."""
        engine = fake_engine(["red"], features={"mask", "prompt", "seed"} - {feature})
        with pytest.raises(
            InvalidRequestError, match=f"engine fake can't use a {feature}; leave it out"
        ) as caught:
            Client(engine).variations(photo, size=64, **{feature: value})
        assert caught.value.field == feature
        assert engine.requests == []

    def test_no_seed_is_drawn_for_who_takes_none(self, fake_engine, photo):
        """An engine without seeds gets none."""
        engine = fake_engine(["red"], features=())
        Client(engine).variations(photo, size=64)
        assert engine.requests[0].seed is None

    def test_one_mask_for_all_or_one_for_each(self, fake_engine, photo):
        """One mask holds for all images; a list has one for each."""
        masks = [np.zeros((72, 96), bool), np.ones((72, 96), bool)]
        engine = fake_engine([], [], [], [])
        client = Client(engine)
        client.variations([photo, photo], mask=masks[0])
        client.variations([photo, photo], mask=masks)
        digests = [each.mask.sha256 for each in engine.requests]
        assert digests[0] == digests[1] == digests[2] != digests[3]

    def test_number_of_masks(self, patch, photo):
        """Any other number of masks is refused with both numbers."""
        with pytest.raises(
            InvalidRequestError, match="3 masks for 2 images; allowed: one, or one for each"
        ) as caught:
            patch.variations([photo] * 2, mask=[photo] * 3)
        assert caught.value.field == "mask"

    def test_mask_of_another_shape(self, patch, photo):
        """A mask of another shape than its image is refused with both shapes."""
        with pytest.raises(InvalidImageError, match="the mask is 72x96, its image 96x72") as caught:
            patch.variations(photo, mask=np.ones((96, 72), bool), size=64)
        assert caught.value.field == "mask"

    @pytest.mark.parametrize("mask", ["no.png", [], np.zeros(3), {}])
    def test_bad_mask(self, patch, photo, mask):
        """A mask that is no image is an error about the mask."""
        with pytest.raises(InvalidImageError) as caught:
            patch.variations(photo, mask=mask)
        assert caught.value.field == "mask"

    def test_request_of_the_result(self, fake_engine, photo):
        """The result says what was asked, without holding the image."""
        made = Client(fake_engine(["red"])).variations(photo, size=64, strength="strong", prompt="a dog")
        assert (made.request.size, made.request.strength, made.request.prompt) == ((64, 64), 0.85, "a dog")
        assert made.request.image is None


class TestOneShot:
    """The function without a client."""

    def test_arguments_of_both(self, photo_path):
        """`variations` takes the client's arguments and the request's."""
        made = variations(photo_path, engine="patch", api_key="unused", n=2, size=64, seed=1, timeout=60)
        assert made.bytes == Client("patch").variations(photo_path, n=2, size=64, seed=1).bytes
        assert last().bytes == made.bytes

    def test_closes(self, fake_engine, photo):
        """The client of one call is closed, also when the call fails."""
        engine = fake_engine(["red"], [EngineError("broken")])
        variations(photo, engine=engine, size=64)
        with pytest.raises(EngineError):
            variations(photo, engine=engine, size=64)
        assert engine.closed == 2

    def test_every_kind_of_image(self, photo, photo_path):
        """Path, bytes, file, PIL image, array and data: URL of one picture make one and the same variation."""
        data = photo_path.read_bytes()
        url = "data:image/png;base64," + base64.b64encode(data).decode()
        kinds = [photo_path, str(photo_path), data, io.BytesIO(data), photo, np.asarray(photo), url]
        made = [variations(kind, engine="patch", size=64, seed=1)[0].to_numpy() for kind in kinds]
        for each in made[1:]:
            np.testing.assert_array_equal(each, made[0])


class TestRequestAndRun:
    """A request is checked once, then run."""

    def test_one_request_for_each_image(self, fake_engine, photo, photo_path):
        """There is one request for each image, checked, in order, and nothing was made or stored."""
        engine = fake_engine()
        requests = Client(engine).request([photo, photo_path], n="2", size=64, strength="subtle")
        assert [each.image.name for each in requests] == ["PIL image 96x72", "photo.png"]
        assert {(each.n, each.size, each.strength) for each in requests} == {(2, (64, 64), 0.2)}
        assert len({each.seed for each in requests}) == 1
        assert engine.requests == requests
        assert engine.ended == 0
        assert history() == []

    def test_a_run_is_variations(self, patch, photo):
        """What `request` returns and `run` runs is what `variations` makes."""
        arguments = {"size": 64, "n": 2, "seed": 7}
        made = patch.run(patch.request(photo, **arguments))
        assert made.bytes == patch.variations(photo, **arguments).bytes

    def test_an_address_is_fetched_by_the_run(self, fake_engine, api):
        """A request of an address is made without asking the server; its run fetches it once."""
        client = Client(fake_engine(["red"]))
        requests = client.request(f"http://127.0.0.1:{api.port}/pictures/0.png")
        assert api.requests == []
        client.run(requests)
        assert len(api.requests) == 1

    def test_a_mask_for_each(self, fake_engine, photo):
        """Two masks for three images are refused; one serves all, and is decoded once."""
        client = Client(fake_engine(["red"], ["red"]))
        mask = Image.new("L", photo.size, 255)
        with pytest.raises(InvalidRequestError, match="2 masks for 3 images") as caught:
            client.request([photo] * 3, mask=[mask] * 2)
        assert caught.value.field == "mask"
        first, second = client.request([photo] * 2, mask=mask)
        assert first.mask is second.mask

    def test_no_request(self, patch):
        """Nothing to run is refused."""
        with pytest.raises(InvalidRequestError, match="no request"):
            patch.run([])

    @pytest.mark.parametrize("method", [Client.variations, Client.request, Client.map])
    def test_signature(self, method):
        """Help and completion see every field of a request, with its default."""
        parameters = inspect.signature(method).parameters
        fields = {each.name for each in dataclasses.fields(VariationRequest)} - {"image"}
        assert fields <= set(parameters)
        assert "arguments" not in parameters
        assert parameters["n"].default == 1
        assert parameters["fit"].default == "crop"
        assert parameters["timeout"].default is None
