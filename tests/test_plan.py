"""A plan says what a run would do, in the run's own words and numbers, and does none of it."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from cases import slow
from loopback import CANARY
from PIL import Image

from ipy_imgvar import Client
from ipy_imgvar.bulk.ledger import NAME
from ipy_imgvar.engine import Download
from ipy_imgvar.errors import ConfigurationError, ImageVariationError, InvalidRequestError
from ipy_imgvar.images import codec
from ipy_imgvar.planning.plan import Plan, PlannedFile, PlannedPart

KEYS = (
    "engines models destinations images pictures requests bytes_to_send sizes seeds seed_source parts axes "
    "combinations files out_dir store reads loads downloads notes"
)
#: A key, a header, a query, a body, a user and a password that nothing of a plan may show.
SECRETS = ("sk-secret", "head3r", "qu3ry", "b0dy", "us3r", "pa55", "t0ken")


def noted(plan, text):
    """Return whether one of a plan's notes holds a text."""
    return any(text in note for note in plan.notes)


@pytest.fixture
def hosted(api):
    """Give a client of the loopback images API, which counts what it gets."""
    with Client("openai", api_base=api.base, api_key=CANARY) as made:
        yield made


class TestOffline:
    """The engine patch."""

    def test_facts(self, patch, photo_path, store_root):
        """Pictures, images, seed, model and store are those of the run; nothing is sent."""
        plan = patch.plan([photo_path, photo_path], n=3, size=64, seed=5)
        assert (plan.engines, plan.models) == (("patch",), ("patch-3",))
        assert (plan.images, plan.pictures, plan.sizes) == (2, 6, ("64x64",))
        assert (plan.destinations, plan.requests, plan.bytes_to_send) == ((), 0, 0)
        assert (plan.seeds, plan.seed_source) == ((5,), "given")
        assert (plan.store, plan.files, plan.downloads, plan.axes) == (store_root, (), (), {})

    def test_a_drawn_seed_is_not_shown(self, patch, photo_path):
        """Without a seed the plan has none: the run draws another one than the plan's check did."""
        plan = patch.plan(photo_path, size=64)
        assert (plan.seeds, plan.seed_source) == ((), "drawn")
        assert "seed: one for all pictures, drawn at the run" in plan.lines()

    def test_notes_are_the_runs(self, patch, photo_path):
        """What a run warns of, the plan says before, in the same words."""
        plan = patch.plan(photo_path, size=256, seed=1, strength=0.1)
        run = patch.variations(photo_path, size=256, seed=1, strength=0.1)
        assert run.warnings
        assert plan.notes == tuple(run.warnings)

    @pytest.mark.parametrize("fit", ["crop", "pad", "stretch", "retarget"])
    def test_any_fit(self, patch, photo_path, fit):
        """Each fit can be planned."""
        assert patch.plan(photo_path, size=64, fit=fit).pictures == 1

    def test_one_picture_of_a_run(self, patch, photo_path):
        """With an index the plan has one picture."""
        assert patch.plan(photo_path, size=64, seed=1, n=4, index=3).pictures == 1


class TestHosted:
    """The engine openai, against a server that measures what it gets."""

    @pytest.mark.parametrize(
        "arguments",
        [
            {"n": 2, "size": 256},
            {"n": 2, "size": 256, "user": "someone", "model": "dall-e-2"},
            {"prompt": "a cat", "size": 1024, "model": "gpt-image-1"},
            {
                "strength": 0.85,
                "size": 512,
                "options": {"route": "edits", "quality": "high"},
                "model": "gpt-image-1",
            },
            {"options": {"edits_json": True}, "prompt": "é", "model": "gpt-image-1"},
            {"mask": True, "model": "gpt-image-1"},
        ],
        ids=["variations", "user", "prompt", "edits", "json", "mask"],
    )
    def test_bytes_are_those_that_arrive(self, api, hosted, photo_path, tmp_path, arguments):
        """The bytes to send are the Content-Length of the request that the run sends; the plan itself sends none."""
        if arguments.get("mask"):
            arguments = {**arguments, "mask": tmp_path / "mask.png"}
            Image.new("L", (96, 72), 255).save(arguments["mask"])
        plan = hosted.plan(photo_path, **arguments)
        assert (api.connections, api.requests) == (0, [])
        hosted.variations(photo_path, **arguments)
        (post,) = api.posts
        assert plan.bytes_to_send == int(post.headers["content-length"])
        assert (plan.requests, plan.destinations) == (1, (f"127.0.0.1:{api.port}",))
        assert post.path.endswith(plan.parts[0].route)

    def test_bytes_of_several_images(self, api, hosted, photo_path, tmp_path):
        """Several images are as many requests, and their bodies are added up."""
        other = tmp_path / 'é "other.jpg'
        Image.new("RGB", (200, 100), "teal").save(other)
        plan = hosted.plan([photo_path, other], size=256)
        hosted.variations([photo_path, other], size=256)
        assert plan.requests == len(api.posts) == 2
        assert plan.bytes_to_send == sum(int(post.headers["content-length"]) for post in api.posts)

    def test_notes_are_the_runs(self, hosted, photo_path):
        """Departures from the request are said before it is sent as they are after."""
        arguments = {"size": 256, "strength": 0.9}
        plan = hosted.plan(photo_path, **arguments)
        assert plan.notes == tuple(hosted.variations(photo_path, **arguments).warnings)
        assert noted(plan, "the strength is not sent")

    def test_an_address_is_not_fetched(self, api, hosted, patch):
        """An image at an address is named with its server, and its bytes are not known; nothing asks for it."""
        address = f"http://us3r:pa55@127.0.0.1:{api.port}/pictures/0.png?t0ken"
        plan = hosted.plan(address, size=256)
        assert (plan.bytes_to_send, plan.requests) == (None, 1)
        assert noted(plan, f"0.png is fetched from 127.0.0.1:{api.port} first")
        assert noted(patch.plan(address, size=64), "is fetched from")
        assert api.connections == 0
        assert not any(secret in str(plan) for secret in SECRETS)

    def test_a_mask_at_an_address_is_not_fetched(self, api, hosted, photo_path):
        """Neither is a mask, alone or of a bulk run."""
        address = f"http://127.0.0.1:{api.port}/pictures/0.png"
        plan = hosted.plan(photo_path, mask=address, model="gpt-image-1")
        assert plan.bytes_to_send is None
        bulk = hosted.plan(
            str(photo_path), mask=address, model="gpt-image-1", out_dir=photo_path.parent / "out"
        )
        assert noted(bulk, "is fetched from")
        assert api.connections == 0

    def test_no_secret(self, api, photo_path):
        """No form of a plan shows a key, a header, a query, a body's field, a user or a password."""
        base = f"http://us3r:pa55@127.0.0.1:{api.port}/v1"
        with Client("openai", api_base=base, api_key="sk-secret") as client:
            plan = client.plan(
                photo_path,
                size=256,
                user="us3r",
                extra_headers={"X-Key": "head3r"},
                extra_query={"key": "qu3ry"},
                extra_body={"key": "b0dy"},
            )
        shown = [str(plan), repr(plan), json.dumps(plan.to_dict()), plan._repr_html_(), *plan.lines()]
        assert not [secret for secret in SECRETS for text in shown if secret in text]

    def test_retries_are_said(self, hosted, photo_path):
        """A person who pays for each request learns how often one may be sent."""
        assert noted(
            hosted.plan(photo_path, size=256, max_retry_count=3), "up to 3 more times after a 429 or 5xx"
        )

    def test_another_package(self, photo_path, fake_engine):
        """An engine without a forecast is planned from its capabilities, and the plan says what stays open."""
        with Client(fake_engine()) as client:
            plan = client.plan(photo_path, n=2, seed=1)
        assert (plan.engines, plan.models, plan.pictures, plan.requests) == (("fake",), ("fake-1",), 2, 0)
        assert noted(plan, "the engine fake does not say what it downloads and loads")

    def test_a_hosted_engine_of_another_package(self, photo_path, fake_engine):
        """Where it sends the image, the destination is named, and the bytes are not known."""

        class Sender(fake_engine):
            def capabilities(self, model=None):
                from dataclasses import replace

                return replace(super().capabilities(model), hosted=True, destination="pictures.example")

        with Client(Sender()) as client:
            plan = client.plan(photo_path, n=2, seed=1)
        assert (plan.destinations, plan.requests, plan.bytes_to_send) == (("pictures.example",), 1, None)


class TestErrors:
    """What a run refuses before it makes anything, the plan refuses in the same words."""

    @pytest.fixture(autouse=True)
    def _here(self, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)

    @pytest.mark.parametrize(
        ("engine", "arguments"),
        [
            ("patch", {"size": "0x3"}),
            ("patch", {"n": 11}),
            ("patch", {"prompt": "no"}),
            ("patch", {"options": {"unknown": 1}}),
            ("patch", {"image": "missing.png"}),
            ("patch", {"image": "broken.png"}),
            ("patch", {"mask": "broken.png"}),
            ("patch", {"mask": "small.png"}),
            ("openai", {"size": 256, "prompt": "x", "options": {"route": "variations"}}),
            ("openai", {"size": 256, "image": "broken.png"}),
            ("openai", {"size": 256, "extra_headers": {"a b": "c"}}),
            ("openai", {"size": 256, "extra_body": {"a": object()}}),
            ("diffusers", {"model": "klien"}),
            ("diffusers", {"model": "./nowhere"}),
            ("diffusers", {"model": "klein", "options": {"negative_prompt": "x"}}),
            ("diffusers", {"model": "lcm", "mask": "mask.png"}),
        ],
    )
    def test_same_words(self, api, photo_path, engine, arguments):
        """The error of the plan is the error of the run."""
        assert photo_path.parent == Path.cwd()
        Path("broken.png").write_bytes(b"no picture")
        Image.new("L", (4, 4), 255).save("small.png")
        Image.new("L", (96, 72), 255).save("mask.png")
        image = arguments.get("image", "photo.png")
        rest = {name: value for name, value in arguments.items() if name != "image"}
        with Client(engine, api_base=api.base, api_key=CANARY) as client:
            with pytest.raises(ImageVariationError) as ran:
                client.variations(image, **rest)
            with pytest.raises(type(ran.value)) as planned:
                client.plan(image, **rest)
        assert str(planned.value) == str(ran.value)
        assert getattr(planned.value, "field", "") == getattr(ran.value, "field", "")
        assert not api.requests

    def test_no_key(self, photo_path):
        """OpenAI without a key is refused."""
        with Client("openai") as client, pytest.raises(ConfigurationError, match="there is no API key"):
            client.plan(photo_path)

    @pytest.mark.parametrize("name", ["no/such/x.txt", "same.png", "photo.png/a-{i}.png", "{i:0999}.png"])
    def test_files_that_cannot_be_written(self, patch, photo_path, name):
        """A pattern that can't name the pictures, and a place that can't be written, are refused."""
        with pytest.raises(InvalidRequestError):
            patch.plan(photo_path, n=2, size=64, out_file=name)
        assert [each.name for each in Path().iterdir()] == ["photo.png"]

    @pytest.mark.parametrize("more", [{"over": {"seed": [1]}}, {"out_file": "a.png"}, {"save_into": "."}])
    def test_a_folder_stands_alone(self, patch, photo_path, more):
        """An output folder goes with no axes and no other files."""
        with pytest.raises(InvalidRequestError, match="beside out_dir"):
            patch.plan(str(photo_path), out_dir=photo_path.parent / "out", **more)


class TestFiles:
    """Files that would be written."""

    def test_new_and_replaced(self, patch, photo_path, tmp_path):
        """Each file says whether one is there now; none is written, and no folder is made."""
        (tmp_path / "a-1.png").write_bytes(b"old")
        plan = patch.plan(photo_path, n=2, size=64, out_file=tmp_path / "a-{i}.png")
        assert plan.files == (
            PlannedFile(tmp_path / "a-1.png", replaces=True),
            PlannedFile(tmp_path / "a-2.png", replaces=False),
        )
        patch.plan(photo_path, n=2, size=64, out_file=tmp_path / "new" / "deep" / "a-{i}.png")
        assert sorted(each.name for each in tmp_path.iterdir()) == ["a-1.png", "photo.png"]
        assert (tmp_path / "a-1.png").read_bytes() == b"old"

    def test_names_are_the_runs(self, patch, photo, tmp_path, monkeypatch, quick_patch):  # noqa: ARG002
        """The planned names are those that a sweep of two images is saved to, in its order."""
        monkeypatch.chdir(tmp_path)
        photo.save("a.png")
        photo.save("b.png")
        over = {"seed": [1, 2], "strength": [0.1, 0.2]}
        plan = patch.plan(["a.png", "b.png"], over=over, size=64, out_file="{stem}-{i}-of-{n}.png")
        made = patch.sweep(["a.png", "b.png"], over=over, size=64)
        assert [each.path for each in plan.files] == made.save("{stem}-{i}-of-{n}.png")

    def test_default_names(self, patch, photo_path, tmp_path, monkeypatch):
        """Default names take the next free numbers and replace nothing."""
        monkeypatch.chdir(tmp_path)
        (tmp_path / "photo-2.png").write_bytes(b"old")
        plan = patch.plan([photo_path, photo_path], n=2, size=64, seed=3, save_into=".")
        made = patch.variations([photo_path, photo_path], n=2, size=64, seed=3)
        assert [each.path for each in plan.files] == made.save_into(Path(), [each.index for each in made])
        assert not any(each.replaces for each in plan.files)


class TestSweeps:
    """A plan of every combination."""

    def test_counts(self, patch, photo_path):
        """Axes, combinations, pictures and seeds are those of the sweep."""
        plan = patch.plan(photo_path, over={"strength": [0.2, "strong"], "seed": range(1, 5)}, size=64, n=2)
        assert plan.axes == {"strength": (0.2, 0.85), "seed": (1, 2, 3, 4)}
        assert (plan.combinations, plan.pictures, plan.images) == (8, 16, 1)
        assert (plan.seeds, plan.seed_source) == ((1, 2, 3, 4), "given")
        assert "sweep: strength 0.2, 0.85 x seed 1, 2, 3, 4 = 8 combinations" in plan.lines()

    def test_engines_and_models_apart(self, api, photo_path):
        """Each engine has its own counts, and only what is sent is counted as sent."""
        with Client("patch", api_base=api.base, api_key=CANARY) as client:
            plan = client.plan(photo_path, over={"engine": ["patch", "openai"], "size": [256, 512]}, n=2)
        assert [(each.engine, each.pictures, each.requests) for each in plan.parts] == [
            ("patch", 4, 0),
            ("openai", 4, 2),
        ]
        assert plan.bytes_to_send == plan.parts[1].bytes_to_send > 0
        assert plan.seed_source == "drawn"
        assert any(line.startswith("sends: 2 requests with") for line in plan.lines())
        assert api.connections == 0


class TestBulk:
    """A plan of a folder."""

    @pytest.fixture
    def folder(self, tmp_path, photo):
        """Return a folder of three pictures."""
        (tmp_path / "in").mkdir()
        for number in range(3):
            photo.resize((32 + number, 24)).save(tmp_path / "in" / f"{number}.png")
        return tmp_path / "in"

    def test_counts(self, patch, folder, tmp_path):
        """Images, pictures and workers are counted; the folder is not made."""
        plan = patch.plan(str(folder), out_dir=tmp_path / "out", n=2, size=64, max_workers=2)
        assert (plan.images, plan.pictures, plan.seed_source) == (3, 6, "content")
        assert plan.out_dir.workers == 2
        assert "makes: 6 pictures of 3 images at 64x64 px" in plan.lines()
        assert not (tmp_path / "out").exists()

    def test_done_by_the_same_request(self, patch, folder, tmp_path):
        """What is done with the same settings is not made again; with others, or `resume` off, it is."""
        arguments = {"out_dir": tmp_path / "out", "size": 64}
        patch.map(sorted(folder.iterdir())[:1], max_workers=1, **arguments)
        before = (tmp_path / "out" / NAME).read_bytes()

        def to_do(**more):
            plan = patch.plan(sorted(folder.iterdir()), **arguments, **more)
            return plan.out_dir.counts.to_do, plan.pictures

        assert to_do() == (2, 2)
        assert to_do(timeout=9) == (2, 2)
        assert to_do(strength=0.9) == (3, 3)
        assert to_do(resume=False) == (3, 3)
        assert (tmp_path / "out" / NAME).read_bytes() == before

    def test_done_and_to_do_stand_once(self, patch, folder, tmp_path):
        """The words name the images that are to do, and those that are done; one image is no "1 images"."""
        images, arguments = sorted(folder.iterdir()), {"out_dir": tmp_path / "out", "size": 64}
        patch.map(images[:1], max_workers=1, **arguments)
        plan = patch.plan(images, **arguments)
        assert plan.lines()[0] == "makes: 2 pictures of 2 images at 64x64 px; 1 of 3 images done already"
        assert str(plan.out_dir.counts) == "3 images, 1 done, 2 to do"
        assert str(patch.plan(images[1:2], **arguments).out_dir.counts) == "1 image, 0 done, 1 to do"

    @pytest.mark.parametrize("broken", ["missing", slow("shorter")])
    def test_pictures_that_are_missing(self, patch, folder, tmp_path, broken):
        """An image whose picture was deleted or cut short is to do, as the run then makes it again."""
        arguments = {"out_dir": tmp_path / "out", "size": 64}
        image = sorted(folder.iterdir())[:1]
        (picture,) = patch.map(image, max_workers=1, **arguments).done[0].paths
        assert patch.plan(image, **arguments).out_dir.counts.to_do == 0
        picture.write_bytes(picture.read_bytes()[:99])
        if broken == "missing":
            picture.unlink()
        assert patch.plan(image, **arguments).out_dir.counts.to_do == 1
        assert len(patch.map(image, max_workers=1, **arguments).done) == 1

    def test_hosted(self, api, hosted, folder, tmp_path):
        """Requests are counted for those to do; the bytes stay open, beside the size of the files."""
        plan = hosted.plan(str(folder), out_dir=tmp_path / "out", size=256)
        assert (plan.requests, plan.bytes_to_send) == (3, None)
        assert noted(plan, "the files to do have")
        assert api.connections == 0

    def test_an_iterator_is_not_used_up(self, patch, folder, tmp_path):
        """A generator is refused, since counting it would leave nothing for the run."""
        images = iter(sorted(folder.iterdir()))
        with pytest.raises(InvalidRequestError, match="would use up"):
            patch.plan(images, out_dir=tmp_path / "out", size=64)
        assert len(list(images)) == 3


class TestBuckets:
    """A plan whose images or output folder are in an object store."""

    @pytest.fixture
    def images(self, photo):
        """Return the address of a folder of two pictures in fsspec's memory."""
        memory = pytest.importorskip("fsspec").filesystem("memory")
        memory.pipe({f"/shop/in/{name}.png": codec.encode_png(photo) for name in "ab"})
        yield "memory://shop/in"
        memory.store.clear()
        memory.pseudo_dirs[:] = [""]

    def test_what_is_put_into_a_bucket_is_sent(self, patch, hosted, images, photo_path):
        """Pictures and thumbnails leave this machine, by an engine of this machine too."""
        where = "the pictures and a thumbnail of each source to memory://shop/out"
        for given in (images, str(photo_path)):
            plan = patch.plan(given, out_dir="memory://shop/out", size=64)
            assert f"sends: {where}; no image to any other server" in plan.lines()
            assert where in plan._repr_html_()
        assert "no image leaves this machine" not in str(plan)
        plan = hosted.plan(images, out_dir="memory://shop/out", size=256)
        assert f"sends: also {where}" in plan.lines()

    def test_what_is_read_from_a_bucket_is_downloaded(self, patch, hosted, images, tmp_path):
        """The bucket is named once, for one image, for many, and for those to do of a bulk run."""
        local, far = "images from memory://shop; no weights", "images from memory://shop"
        out = tmp_path / "out"
        for client, words, more in [
            (patch, local, {}),
            (patch, local, {"out_dir": out}),
            (hosted, far, {"out_dir": out}),
        ]:
            plan = client.plan(images if more else f"{images}/a.png", size=256, **more)
            assert f"downloads: {words}" in plan.lines()
            assert plan.to_dict()["reads"] == ["memory://shop"]
        patch.map(images, out_dir=out, size=64, max_workers=1)
        plan = patch.plan(images, out_dir=out, size=64)
        assert plan.reads == ()
        assert "downloads: nothing" in plan.lines()

    def test_weights_come_before_images(self):
        """What comes from a hub and what comes from a bucket have a line each."""
        lines = example(reads=("s3://bucket", "host:1")).lines()
        assert [line for line in lines if line.startswith("downloads")] == [
            "downloads: klein, 16.0 GB (from a & b)",
            "downloads: other, size not known",
            "downloads: images from s3://bucket, host:1",
        ]


def example(**facts):
    """Return a plan with names that a page must not obey."""
    part = PlannedPart("openai", "<b>m</b>", "host:1", "images/edits", 2, 1, 1_234_567)
    usual = {
        "parts": (part,),
        "images": 1,
        "sizes": ("64x64",),
        "files": (PlannedFile(Path("<i>\x1b[2J.png"), replaces=True),),
        "downloads": (Download("klein", 16_000_000_000, "from a & b"), Download("other", None)),
        "notes": ("one", "two"),
    }
    return Plan(**{**usual, **facts})


class TestWords:
    """The forms in which people and programs read a plan."""

    def test_dictionary(self, patch, photo_path, tmp_path):
        """The dictionary is JSON-safe and has the same keys for every kind of run."""
        plans = [
            patch.plan(photo_path, size=64),
            patch.plan(photo_path, size=64, over={"fit": ["crop", "pad"]}, out_file=tmp_path / "{i}.png"),
            patch.plan([photo_path], size=64, out_dir=tmp_path / "out"),
            example(),
        ]
        for plan in plans:
            assert list(plan.to_dict()) == KEYS.split()
            assert json.loads(json.dumps(plan.to_dict())) == plan.to_dict()
        assert plans[2].to_dict()["out_dir"] == {
            "path": str(tmp_path / "out"), "found": 1, "done": 0, "to_do": 1, "workers": 1,
        }  # fmt: skip

    def test_numbers_for_people(self):
        """Sizes are in words, and an unknown one is called unknown."""
        lines = example().lines()
        assert (
            "engine: openai, model <b>m</b>: 2 pictures by 1 request to host:1/images/edits with 1.2 MB"
            in lines
        )
        assert "downloads: klein, 16.0 GB (from a & b)" in lines
        assert "downloads: other, size not known" in lines

    def test_html_is_inert(self):
        """Nothing of a name is markup or an escape code, and no colour is set, so that any theme can show it."""
        html = example()._repr_html_()
        assert "<b>m" not in html
        assert "&lt;b&gt;m" in html
        assert not re.search(r"color|background|\x1b", html)
        assert "\x1b" not in "".join(example().lines()) + str(example())

    def test_text_is_a_table(self):
        """Each fact has one line, and a label stands once."""
        text = str(example()).splitlines()
        assert len(text) == len(example().lines())
        assert [line.split("  ")[0] for line in text].count("note") == 1

    def test_long_lists_are_cut(self):
        """A hundred files are nine lines, and the rest is counted."""
        files = tuple(PlannedFile(Path(f"{number}.png"), replaces=number > 97) for number in range(100))
        lines = [line for line in example(files=files).lines() if line.startswith("writes")]
        assert len(lines) == 9
        assert "writes: and 92 more, of which 2 replace a file" in lines
        assert len(example(files=files).to_dict()["files"]) == 100

    def test_in_a_shell(self, patch, photo_path):
        """IPython shows the table of text, not the fields."""
        from IPython.lib.pretty import pretty

        plan = patch.plan(photo_path, size=64)
        assert pretty(plan) == str(plan)


#: A program that plans, in a fresh process, and prints what it did to files and sockets meanwhile.
HOOKED = """
import os, sys
from pathlib import Path
from ipy_imgvar import Client
seen = []
NAMES = ("os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.link", "os.symlink", "os.truncate", "os.utime",
         "os.chmod", "os.chown", "shutil.", "tempfile.", "socket.connect", "socket.sendto", "socket.sendmsg",
         "socket.getaddrinfo", "socket.gethostbyname", "socket.bind", "subprocess.Popen", "os.posix_spawn", "os.fork")
def hook(event, arguments):
    if event == "open":
        path, mode, flags = arguments
        if flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND):
            seen.append((event, str(path)))
    elif event.startswith(NAMES):
        seen.append((event, str(arguments)))
sys.addaudithook(hook)
PLANS
print(seen)
"""
PLANS = {
    "patch": """
with Client("patch") as client:
    client.plan("photo.png", n=3, size=256, out_file="new/{i}.png")
    client.plan("photo.png", over={"strength": [.2, .5], "seed": range(3)}, size=64, save_into=".")
    client.plan(".", out_dir="out", size=64)
""",
    "openai": """
with Client("openai", api_base=BASE, api_key="sk-secret") as client:
    client.plan("photo.png", n=3, size=256, out_file="new/{i}.png")
    client.plan("photo.png", model="gpt-image-1", mask="photo.png", over={"strength": [.2, .5]})
    client.plan(BASE + "/cat.png", size=256)
    client.plan(".", out_dir="out", size=256)
""",
    "diffusers": """
with Client("diffusers") as client:
    client.plan("photo.png", model="klein", size=256)
    client.plan("photo.png", model="redux", size=256)
    client.plan("photo.png", model="someone/something", size=256)
    client.plan("photo.png", model=TINY, size=256, over={"strength": [.2, .5]})
    client.plan(".", model=TINY, out_dir="out", size=256)
    assert "torch" not in sys.modules
    client.plan("photo.png", size=256)
    assert "diffusers" not in sys.modules
""",
}


def listing(folder):
    """Return the path, size and times of change of all below a folder."""
    paths = sorted(folder.rglob("*"))
    return [
        (str(path), path.stat().st_size, path.stat().st_mtime_ns, path.stat().st_ctime_ns) for path in paths
    ]


@pytest.fixture
def world(tmp_path, photo, api, request):
    """Return a function that plans in a fresh process, in a folder of its own, and gives the finished process."""
    work = tmp_path / "work"
    work.mkdir()
    photo.save(work / "photo.png")

    def run(name, program, *before):
        tiny = str(request.getfixturevalue("tiny_folder")) if name == "diffusers" else ""
        code = f"BASE, TINY = {api.base!r}, {tiny!r}\n{program}"
        kept = ("PATH", "SSL_CERT_FILE")
        environment = {key: os.environ[key] for key in kept if key in os.environ}
        environment |= {
            "PYTHONPATH": str(Path(__file__).parents[1]),
            "HOME": str(tmp_path / "home"),
            "IPY_IMGVAR_STORE": os.environ["IPY_IMGVAR_STORE"],
            "OMP_NUM_THREADS": "1",
        }
        return subprocess.run(
            [*before, sys.executable, "-B", "-c", code],
            cwd=work, env=environment, capture_output=True, text=True, check=False, timeout=300,
        )  # fmt: skip

    run.work = work
    return run


@pytest.fixture
def tiny_folder(tmp_path):
    """Return the folder of a pipeline whose files are in place and hold no weights worth loading."""
    pytest.importorskip("torch")
    pytest.importorskip("diffusers")
    pytest.importorskip("transformers")
    folder = tmp_path / "tiny"
    (folder / "unet").mkdir(parents=True)
    index = {"_class_name": "StableDiffusionPipeline", "unet": ["diffusers", "UNet2DConditionModel"]}
    (folder / "model_index.json").write_text(json.dumps(index))
    (folder / "unet" / "config.json").write_text("{}")
    (folder / "unet" / "diffusion_pytorch_model.safetensors").write_bytes(b"")
    return folder


@pytest.mark.parametrize("name", PLANS)
def test_a_plan_sends_and_writes_nothing(world, api, store_root, tmp_path, name):
    """No engine's plan opens a file to write, makes a folder or a socket's connection, or asks a name server."""
    before = listing(world.work)
    done = world(name, HOOKED.replace("PLANS", PLANS[name]))
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "[]"
    assert listing(world.work) == before
    assert not store_root.exists()
    assert not (tmp_path / "home").exists()
    assert api.connections == 0


@pytest.mark.parametrize("name", ["patch", "openai"])
def test_the_hook_sees_a_run(world, name):
    """The same hook sees what a run writes and sends, so an empty list means something."""
    run = f"client = Client({name!r}, api_base=BASE)\nclient.variations('photo.png', size=256, seed=None)"
    done = world(name, HOOKED.replace("PLANS", run))
    assert done.returncode == 0, done.stderr
    assert "'os.mkdir'" in done.stdout
    assert "'open'" in done.stdout
    assert ("'socket.connect'" in done.stdout) == (name == "openai")


@pytest.mark.parametrize("name", ["patch", "openai"])
def test_the_system_sees_no_write_and_no_packet(world, tmp_path, name):
    """`strace` sees no call of the process that opens a file to write, changes a folder or leaves the machine."""
    if shutil.which("strace") is None:
        pytest.skip("strace is not installed")
    calls = "open,openat,creat,mkdir,mkdirat,rename,renameat,renameat2,unlink,unlinkat,link,linkat,symlink,symlinkat,"
    calls += "utimensat,truncate,ftruncate,connect,sendto,sendmsg"
    traced = tmp_path / "trace"
    program = f"import sys\nfrom ipy_imgvar import Client\n{PLANS[name]}"
    done = world(name, program, "strace", "-f", "-qq", "-e", f"trace={calls}", "-o", str(traced))
    if "ptrace" in done.stderr:
        pytest.skip("strace may not trace here")
    assert done.returncode == 0, done.stderr
    lines = [line.split(None, 1)[1] for line in traced.read_text("utf-8", "replace").splitlines()]
    opened = [line for line in lines if line.startswith("open")]
    assert any('"photo.png"' in line or "/photo.png" in line for line in opened)
    harmless = ("O_RDONLY", "/dev/null", "/dev/tty", "ENOENT")
    strays = [line for line in opened if not any(word in line for word in harmless)]
    strays += [line for line in lines if not line.startswith(("open", "---", "+++"))]
    assert strays == []


def test_the_server_is_asked_by_a_run_only(api, hosted, photo_path):
    """The same arguments that a plan sends nowhere reach the server with a run: the count can tell."""
    hosted.plan(photo_path, size=256)
    assert api.connections == 0
    hosted.variations(photo_path, size=256)
    assert len(api.posts) == 1


def test_a_source_keeps_its_time(patch, photo_path):
    """A plan leaves the source's bytes and times as they are."""
    before = photo_path.read_bytes(), photo_path.stat().st_mtime_ns, photo_path.stat().st_ctime_ns
    patch.plan(photo_path, size=64)
    assert before == (photo_path.read_bytes(), photo_path.stat().st_mtime_ns, photo_path.stat().st_ctime_ns)
