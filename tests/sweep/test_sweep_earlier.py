"""A sweep that was interrupted or failed is gone on with: what is taken over, and when."""

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time

import pytest
from loopback import CANARY, refusal
from painter import Painter, pixel

from ipy_imgvar import Client, Sweep, cli, history, last
from ipy_imgvar.errors import CancelledError, EngineError
from ipy_imgvar.results import history as histories

OVER = {"strength": [0.2, 0.5], "steps": [1, 2, 3]}


def stops_at(*places, error=KeyboardInterrupt):
    """Return `fails` of a `Painter` that stops at combinations of (strength, steps)."""
    return lambda request: error() if (request.strength, request.options.get("steps")) in places else None


def sweep_with(painter, image, over=None, **settings):
    with Client(painter) as client:
        return client.sweep(image, over=over or OVER, **settings)


def interrupted(image, *, at=(0.5, 2), over=None, **settings):
    """Run a sweep that is interrupted, and forget it as a new process would; return the seed that it drew."""
    painter = Painter(fails=stops_at(at))
    with pytest.raises(KeyboardInterrupt):
        sweep_with(painter, image, over, **settings)
    assert isinstance(last(), Sweep)
    histories.forget()
    return painter.requests[0].seed


def asked(painter):
    return [(each.strength, each.options["steps"]) for each in painter.requests]


def test_an_interrupt_leaves_the_sweep_so_far(image):
    """After Ctrl+C, `last()` is a sweep with the pictures that were finished, and holes in its grid."""
    with pytest.raises(KeyboardInterrupt):
        sweep_with(Painter(fails=stops_at((0.5, 1))), image)
    assert last().status == "interrupted"
    # The runs go by option first.
    assert last().grid == [[last()[0], None, None], [None] * 3]


def test_the_rest_is_made(image):
    """The same call again makes the missing combinations, with the seed that was drawn, and says what it took over."""
    seed = interrupted(image, at=(0.5, 2))
    first = last()
    again, shown = Painter(), []
    made = sweep_with(again, image, on_picture=shown.append)
    assert sorted(asked(again)) == [(0.2, 2), (0.2, 3), (0.5, 2), (0.5, 3)][-len(again.requests) :]
    assert {each.seed for each in made} == {seed}
    assert len(made) == len(shown) == 6
    assert made.status == "done"
    (note,) = made.warnings
    assert note.startswith(
        f"{len(first)} of 6 pictures come from the run of {first.started.astimezone():%Y-%m-%d}"
    )
    assert note.endswith("which was interrupted; resume=False (--again on a line) makes them anew")
    assert None not in [cell for row in made.grid for cell in row]


def test_what_a_picture_keeps(image):
    """A picture that is taken over has its bytes, seed, parameters and seconds, and a file of its own."""
    interrupted(image)
    before = {json.dumps(each.combination): each for each in last()}
    made = sweep_with(Painter(), image)
    taken = [each for each in made if json.dumps(each.combination) in before]
    assert len(taken) == len(before)
    for each in taken:
        earlier = before[json.dumps(each.combination)]
        assert (each.bytes, each.seed, each.parameters, each.seconds, each.mime_type) == (
            earlier.bytes,
            earlier.seed,
            earlier.parameters,
            earlier.seconds,
            earlier.mime_type,
        )
        assert each.path != earlier.path


def test_again_makes_all(image):
    """With `resume=False` nothing is taken over."""
    interrupted(image)
    again = Painter()
    assert not sweep_with(again, image, resume=False).warnings
    assert len(again.requests) == 6


def test_a_finished_sweep_is_made_anew(image):
    """A sweep whose newest run is done is a fresh run, also if an older run of it was interrupted."""
    interrupted(image)
    sweep_with(Painter(), image)
    again = Painter()
    assert not sweep_with(again, image).warnings
    assert len(again.requests) == 6


@pytest.mark.parametrize(
    "other",
    [
        {"over": {**OVER, "steps": [1, 2]}},
        {"over": {"strength": [0.2, 0.5], "steps": [3, 2, 1]}},
        {"prompt": "a cat"},
        {"size": 64},
        {"fit": "pad"},
        {"options": {"flip": False}},
        {"n": 2},
        {"seed": 5},
        {"mask": pixel(255)},
        {"extra_body": {"cfg": 3}},
        {"image": pixel(101)},
        {"image": [pixel(100), pixel(100)]},
    ],
    ids=str,
)
def test_another_sweep_takes_nothing(image, other):
    """A sweep with another source, mask, setting or axis begins anew."""
    interrupted(image)
    again = Painter()
    assert not sweep_with(again, **{"image": image, **other}).warnings


@pytest.mark.parametrize("same", [{"timeout": 99}, {"max_retry_count": 3}, {"user": "u"}], ids=str)
def test_what_makes_no_difference(image, same):
    """A setting that affects no pixel, or another file with the same bytes, is still the same sweep."""
    interrupted(image)
    assert sweep_with(Painter(), image, **same).warnings


def test_the_name_of_a_source_makes_no_difference(tmp_path, image):
    """A copy of the file under another name is the same source."""
    (tmp_path / "a.png").write_bytes(image)
    interrupted(tmp_path / "a.png")
    shutil.move(tmp_path / "a.png", tmp_path / "b.png")
    made = sweep_with(Painter(), tmp_path / "b.png")
    assert made.warnings
    assert {each.source.name for each in made} == {"b.png"}


def test_half_a_combination_is_made_again(image):
    """Of several pictures of a combination, all or none are taken over."""
    count = []

    def fails(request):
        count.append(request)
        return KeyboardInterrupt() if len(count) == 4 else None

    with pytest.raises(KeyboardInterrupt):
        sweep_with(Painter(fails=fails), image, {"seed": [1, 2]}, n=3)
    assert len(last()) == 3
    with pytest.raises(KeyboardInterrupt):
        sweep_with(Painter(fails=fails_later()), image, {"seed": [1, 2]}, n=3)
    assert len(last()) == 4
    again = Painter()
    made = sweep_with(again, image, {"seed": [1, 2]}, n=3)
    assert [each.seed for each in again.requests] == [2]
    assert [(each.seed, each.index) for each in made] == [(s, i) for s in (1, 2) for i in (1, 2, 3)]


def fails_later():
    count = []

    def fails(request):
        count.append(request)
        return KeyboardInterrupt() if len(count) == 2 else None

    return fails


@pytest.mark.parametrize("digests", [True, False])
def test_several_images(digests):
    """Pictures are taken over for their own image, also where two have one name and the engine notes no digest."""
    images, settings = [pixel(1), pixel(2)], {"notes_digest": digests}
    with pytest.raises(KeyboardInterrupt):
        sweep_with(Painter(fails=stops_at((0.5, 3)), **settings), images)
    count, again = len(last()), Painter(**settings)
    made = sweep_with(again, images)
    assert len(again.requests) == 12 - count
    assert len(made) == 12
    assert [each.image_number for each in made] == [0] * 6 + [1] * 6
    assert all(len(row) == 3 and all(row) for image in made.grid for row in image)


def test_masks_in_another_order_are_another_sweep(image):
    """No picture is taken over that was made with another image's mask."""
    first, second = pixel(255), pixel(0)
    with pytest.raises(KeyboardInterrupt):
        sweep_with(Painter(fails=stops_at((0.5, 3))), [image] * 3, mask=[first, second, first])
    again = Painter()
    sweep_with(again, [image] * 3, mask=[first, second, second])
    assert len(again.requests) == 18


def test_one_image_without_a_digest(image):
    """One image needs no digest."""
    with pytest.raises(KeyboardInterrupt):
        sweep_with(Painter(fails=stops_at((0.5, 3)), notes_digest=False), image)
    assert sweep_with(Painter(notes_digest=False), image).warnings


def test_a_file_that_is_gone_is_made_again(image):
    """A picture whose file the store no longer has is made again."""
    interrupted(image)
    gone = last()[0]
    gone.path.unlink()
    again = Painter()
    assert len(sweep_with(again, image)) == 6
    assert (gone.combination["strength"], gone.combination["steps"]) in asked(again)


def test_nothing_left_to_make(image):
    """A sweep that was cancelled after its last picture is complete without a request."""
    cancel = threading.Event()
    with Client(Painter()) as client, pytest.raises(CancelledError):
        client.sweep(
            image,
            over={"steps": [1, 2]},
            cancel=cancel,
            on_picture=lambda each: cancel.set() if each.combination["steps"] == 2 else None,
        )
    again = Painter()
    made = sweep_with(again, image, {"steps": [1, 2]})
    assert (len(made), made.status, again.requests) == (2, "done", [])


def test_without_a_store(image):
    """With the store off, this process goes on with what it has in memory."""
    histories.move_store(None, 0)
    with pytest.raises(KeyboardInterrupt):
        sweep_with(Painter(fails=stops_at((0.5, 2))), image)
    count, again = len(last()), Painter()
    assert len(sweep_with(again, image)) == 6
    assert len(again.requests) == 6 - count


def test_only_what_is_left_is_confirmed(image):
    """A sweep of more than 64 pictures needs no word where at most 64 are left."""
    over = {"seed": range(70)}
    fails = lambda request: KeyboardInterrupt() if request.seed == 20 else None  # noqa: E731
    with pytest.raises(KeyboardInterrupt):
        sweep_with(Painter(fails=fails), image, over, confirm=True)
    assert len(sweep_with(Painter(), image, over)) == 70


def test_a_record_edited_by_hand(image, store_root):
    """A record whose axes or combinations are of another form is read as far as it can be."""
    sweep_with(Painter(), image)
    (path,) = store_root.rglob("run.jsonl")
    head, *lines = path.read_text().splitlines()
    for axes, kind in (
        ({"strength": [0.2], "steps": 5}, Sweep),
        ({"strength": {}, "steps": None}, None),
        ("x", None),
    ):
        wrong = json.loads(head) | {"sweep": {"axes": axes, "key": 5, "sources": "x"}}
        first = json.loads(lines[0])
        first["picture"]["combination"] = {"strength": [1, {}]}
        second = json.loads(lines[1])
        second["picture"]["combination"] = 7
        path.write_text(
            "\n".join(map(json.dumps, [wrong, first, second])) + "\n" + "\n".join(lines[2:]) + "\n"
        )
        histories.forget()
        back = last()
        assert len(back) == 6
        assert any("can't be read" in line for line in back.warnings)
        assert isinstance(back, Sweep) == (kind is Sweep)
        if kind is Sweep:
            assert len(back.grid) == 1
            assert repr(back[1:])


def test_a_hosted_sweep_sends_only_the_rest(api, photo):
    """A server that fails at one request of a sweep gets only that request at the next call."""
    over = {"prompt": ["one", "two", "three"]}
    settings = {"size": 1024, "model": "gpt-image-1", "confirm": True}
    with Client("openai", api_base=api.base, api_key=CANARY) as client:
        good = api._edits
        api._edits = lambda request: refusal(500) if request.fields["prompt"] == "two" else good(request)
        try:
            with pytest.raises(EngineError, match=r"1 of 3 combinations failed .*prompt two") as caught:
                client.sweep(photo, over=over, **settings)
        finally:
            del api._edits
        assert [each.combination["prompt"] for each in caught.value.partial] == ["one", "three"]
        assert caught.value.partial.grid[1] is None
        api.requests.clear()
        made = client.sweep(photo, over=over, **settings)
    assert [each.fields["prompt"] for each in api.posts] == ["two"]
    assert len(made) == 3
    assert "2 of 3 pictures come from the run" in made.warnings[0]
    assert "failed in part" in made.warnings[0]


KILLED = """
import sys, time
from painter import Painter
from ipy_imgvar import Client
def fails(request):
    if request.seed == 3:
        print("now", flush=True)
        time.sleep(60)
with Client(Painter(fails=fails)) as client:
    client.sweep(sys.argv[1], over={"seed": range(6)})
"""


def test_a_killed_process(tmp_path, image):
    """What a killed process has finished is taken over by the next; a living one's pictures are not."""
    path = tmp_path / "a.png"
    path.write_bytes(image)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen(
        [sys.executable, "-c", KILLED, str(path)], stdout=subprocess.PIPE, env=environment
    ) as process:
        assert process.stdout.readline() == b"now\n"
        beside = Painter()
        sweep_with(beside, path, {"seed": range(6)})
        assert len(beside.requests) == 6
        time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
    histories.forget()
    shutil.rmtree(max(each.path.parent for each in history()[-1]))
    again = Painter()
    made = sweep_with(again, path, {"seed": range(6)})
    assert [each.seed for each in again.requests] == [3, 4, 5]
    assert [each.seed for each in made] == list(range(6))


def listing(folder):
    """Return the path, size and times of change of all below a folder."""
    paths = [folder, *sorted(folder.rglob("*"))]
    return [
        (str(each), each.stat().st_size, each.stat().st_mtime_ns, each.stat().st_ctime_ns) for each in paths
    ]


class TestPlans:
    """A plan of a sweep that would go on from an earlier run."""

    def test_the_rest_is_counted(self, image, tmp_path):
        """The plan counts the pictures of the run that follows, with its seed, its note and all of its files."""
        seed = interrupted(image)
        count = len(last())
        with Client(Painter()) as client:
            plan = client.plan(image, over=OVER, out_file=tmp_path / "{strength}-{steps}.png")
            made = client.sweep(image, over=OVER)
        assert (plan.pictures, plan.combinations, len(plan.files)) == (6 - count, 6, 6)
        assert (plan.seeds, plan.seed_source) == ((seed,), "given")
        assert made.warnings[0] in plan.notes

    def test_again_plans_all(self, image):
        """With `resume=False` the plan counts all pictures and a drawn seed."""
        interrupted(image)
        with Client(Painter()) as client:
            plan = client.plan(image, over=OVER, resume=False)
        assert (plan.pictures, plan.seed_source) == (6, "drawn")
        assert not any("pictures come from the run" in note for note in plan.notes)

    def test_requests_and_bytes_of_the_rest(self, api, photo):
        """A hosted plan counts the requests and bytes that the run then sends."""
        over, settings = {"prompt": ["one", "two", "three"]}, {"size": 1024, "model": "gpt-image-1"}
        with Client("openai", api_base=api.base, api_key=CANARY) as client:
            good = api._edits
            api._edits = lambda request: refusal(500) if request.fields["prompt"] == "two" else good(request)
            try:
                with pytest.raises(EngineError):
                    client.sweep(photo, over=over, **settings)
            finally:
                del api._edits
            api.requests.clear()
            plan = client.plan(photo, over=over, **settings)
            assert not api.requests
            client.sweep(photo, over=over, **settings)
        (post,) = api.posts
        assert (plan.pictures, plan.requests) == (1, 1)
        assert plan.bytes_to_send == int(post.headers["content-length"])

    @pytest.mark.usefixtures("quick_patch")
    def test_a_dry_run_of_a_line(self, photo_path, monkeypatch, capsys):
        """`--dry-run` counts what is left, and with `--again` all."""
        monkeypatch.chdir(photo_path.parent)
        cancel = threading.Event()
        with Client("patch") as client, pytest.raises(CancelledError):
            client.sweep(
                photo_path, over={"seed": [1, 2]}, size=64, cancel=cancel, on_picture=lambda _: cancel.set()
            )
        line = ["create", "photo.png", "-s", "64", "--sweep", "seed=1..2", "--dry-run", "--json"]
        counts = []
        for again in ([], ["--again"]):
            assert cli.main([*line, *again]) == 0
            counts.append(json.loads(capsys.readouterr().out)["pictures"])
        assert counts == [1, 2]

    def test_the_announcement_names_the_earlier_seed(self, image):
        """A hosted sweep that goes on says the seed of the earlier run, and not that one is drawn."""
        painter, said = Painter(hosted=True, fails=stops_at((0.5, 2))), []
        with pytest.raises(KeyboardInterrupt):
            sweep_with(painter, image)
        sweep_with(Painter(hosted=True), image, on_notice=said.append)
        assert f"seed: {painter.requests[0].seed}" in said

    def test_nothing_left(self, image):
        """Where all pictures are there, the plan says that none is made and nothing is sent."""
        cancel = threading.Event()
        over = {"steps": [1, 2]}
        with Client(Painter(hosted=True)) as client:
            fresh = client.plan(image, over=over)
            with pytest.raises(CancelledError):
                client.sweep(
                    image,
                    over=over,
                    cancel=cancel,
                    on_picture=lambda each: cancel.set() if each.combination["steps"] == 2 else None,
                )
            plan = client.plan(image, over=over)
        assert (fresh.pictures, fresh.destinations) == (2, ("paint.example:443",))
        assert (plan.pictures, plan.requests, plan.destinations) == (0, 0, ())
        assert plan.lines()[0] == "makes: 0 pictures of 1 image at 1024x1024 px"

    def test_an_address_is_not_compared(self, image, api):
        """An image or a mask that would have to be fetched is not compared, which the plan says."""
        address = f"http://127.0.0.1:{api.port}/pictures/0.png"
        with Client(Painter()) as client:
            for arguments in ({"image": address}, {"image": image, "mask": address}):
                plan = client.plan(over=OVER, **arguments)
                assert plan.pictures == 6
                assert any("can't be compared with an interrupted run" in note for note in plan.notes)
        assert api.connections == 0

    def test_the_store_is_only_read(self, tmp_path, image, store_root):
        """A plan leaves each file of the store as it is, also the lock file of a process that was killed."""
        path = tmp_path / "a.png"
        path.write_bytes(image)
        killed(path)
        histories.forget()
        before = listing(store_root)
        with Client(Painter()) as client:
            plan = client.plan(path, over={"seed": range(6)})
        assert plan.pictures == 3
        assert any("holders" in name for name, *_ in before)
        assert listing(store_root) == before


def killed(path):
    """Run a sweep in a process that is killed after its third picture."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen(
        [sys.executable, "-c", KILLED, str(path)], stdout=subprocess.PIPE, env=environment
    ) as process:
        assert process.stdout.readline() == b"now\n"
        process.send_signal(signal.SIGKILL)
