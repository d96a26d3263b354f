"""Batches by the client, the command line, the plan and in an object store."""

import json
import signal
import subprocess
import sys
import time
from contextlib import contextmanager

import pytest
from loopback import CANARY
from objects import take_lock
from PIL import Image

from ipy_imgvar import Client
from ipy_imgvar.batches import BatchLimits
from ipy_imgvar.bulk import lock
from ipy_imgvar.cli.command import main
from ipy_imgvar.engines.openai.batches import OpenAIBatches
from ipy_imgvar.errors import EngineError, InvalidRequestError


@pytest.fixture
def command(api, capsys, tmp_path):
    """Return a function that runs `imgvar bulk` against the server, and returns its code, output and errors."""
    key = tmp_path / "key"
    key.write_text(CANARY)

    def run(*words):
        options = ["--api-base", api.base, "--api-key-file", key, "--model", "gpt-image-2.6-flare"]
        code = main(["bulk", *map(str, words), *map(str, options)])
        said = capsys.readouterr()
        assert CANARY not in said.out + said.err
        return code, said.out, said.err

    return run


def test_the_client_takes_batch(api, client, make_folder, tmp_path, monkeypatch):
    """`client.map(batch=True)` returns the result of any bulk run; a batch that ends at once takes no wait."""
    api.states = ["completed"]
    monkeypatch.setattr("ipy_imgvar.bulk.batches.steps.Steps._pause", lambda *_: pytest.fail("it waited"))
    result = client.map(str(make_folder(2)), out_dir=tmp_path / "out", batch=True)
    assert [item.status for item in result] == ["done", "done"]
    assert len(api.creates) == 1


def test_a_plan_sends_nothing(api, client, make_folder, tmp_path, monkeypatch):
    """A plan tells lines, batches, about the bytes and the server, and asks nobody."""
    folder = make_folder(5)
    Image.effect_noise((64, 64), 90).save(folder / "noise.png")
    plan = client.plan(str(folder), out_dir=tmp_path / "out", batch=True, n=2)
    (note,) = [line for line in plan.notes if "6 lines in 1 batch" in line]
    assert "price" not in note
    assert plan.bytes_to_send > 5000
    assert "not known" not in str(plan)
    assert "at a time" not in str(plan)
    assert plan.out_dir.workers == 0
    assert plan.destinations == (api.base.split("/")[2],)
    assert (plan.requests, plan.pictures) == (6, 12)
    monkeypatch.setattr(OpenAIBatches, "limits", BatchLimits(4, 10**8))
    assert any(
        "6 lines in 2 batches" in line
        for line in client.plan(str(folder), out_dir=tmp_path / "o", batch=True).notes
    )
    assert api.calls == []
    assert not (tmp_path / "out").exists()


def test_the_plan_is_about_right(api, client, in_batches, make_folder, tmp_path):
    """The bytes that a plan foretells are within a tenth of those that are uploaded."""
    folder = make_folder(1)
    for number in range(4):
        Image.effect_noise((200, 200), 90).save(folder / f"noise{number}.png")
    foretold = client.plan(str(folder), out_dir=tmp_path / "o", batch=True).bytes_to_send
    in_batches(str(folder), tmp_path / "out")
    assert foretold == pytest.approx(sum(len(each["data"]) for each in api.uploads), rel=0.1)


def test_a_plan_refuses_what_the_run_would(client, make_folder, tmp_path):
    """A request that no batch can hold is refused by the plan as by the run."""
    with pytest.raises(InvalidRequestError, match="can't stream"):
        client.plan(str(make_folder(1)), out_dir=tmp_path / "out", batch=True, options={"stream": "true"})


def test_the_command_line(api, command, make_folder, tmp_path):
    """`imgvar bulk --batch` counts, runs and goes on; `--status` shows the batches, also as JSON."""
    folder, out = make_folder(2), tmp_path / "out"
    api.states = ["completed"]
    code, text, _ = command(folder, "--out-dir", out, "--batch", "--dry-run")
    assert (code, api.calls) == (0, [])
    assert "2 lines in 1 batch" in text
    code, text, said = command(folder, "--out-dir", out, "--batch")
    assert code == 0
    assert text.startswith("2 done")
    assert "half price" not in said
    assert "batch batch_1 of 2 images was made; you may end this: the same again goes on" in said
    assert f"imgvar bulk --batch --status --out-dir {out}" in said
    assert "batch batch_1 has ended (completed): 2 of 2 images made" in said
    code, text, _ = command("--out-dir", out, "--batch", "--status")
    assert (code, text) == (0, "1  batch_1  completed  2 of 2 images made  fetched\n")
    code, text, _ = command("--out-dir", out, "--batch", "--status", "--json")
    (batch,) = json.loads(text)["batches"]
    assert (batch["id"], batch["is_fetched"], batch["completed"]) == ("batch_1", True, 2)
    code, _, said = command("--out-dir", out, "--batch", "--cancel")
    assert (code, api.cancels) == (0, [])


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (("p", "--batch"), "--out-dir"),
        (("p", "--out-dir", "o", "--status"), "--status goes with --batch"),
        (("p", "--out-dir", "o", "--batch", "--status"), "--status is given beside an image"),
        (("--out-dir", "o", "--batch", "--status", "--cancel"), "one of the two may be given"),
        (("--out-dir", "o", "--batch"), "usage"),
        (("--out-dir", "o", "--batch", "--status"), "has no batches"),
    ],
)
def test_wrong_lines(command, words, reason, tmp_path, monkeypatch):
    """Options that don't go together are refused in one line."""
    monkeypatch.chdir(tmp_path)
    code, _, said = command(*words)
    assert code == 2
    assert reason in said
    assert said.count("\n") == 1


@contextmanager
def killed_at_the_end(words):
    """Start a process that no later test meets at the server, however this one ends."""
    with subprocess.Popen(words, stderr=subprocess.PIPE) as process:
        try:
            yield process
        finally:
            process.kill()


@pytest.mark.parametrize("delay_s", [0, pytest.param(100, marks=pytest.mark.slow)])
def test_an_interrupt_leaves_the_batches(api, command, make_folder, tmp_path, delay_s):
    """Ctrl-C ends the wait, or a look without an answer; the next run or `--cancel`, goes on."""
    api.states = ["in_progress"] * 1000
    folder, out, key = make_folder(4), tmp_path / "out", tmp_path / "key"
    words = [
        sys.executable,
        "-m",
        "ipy_imgvar.cli",
        "bulk",
        folder,
        "--out-dir",
        out,
        "--batch",
        "--api-base",
    ]
    words += [api.base, "--api-key-file", key, "--model", "gpt-image-2.6-flare"]
    with killed_at_the_end([*map(str, words)]) as process:
        while not any(call.startswith("GET /batches/batch_1") for call in api.calls):
            assert process.poll() is None
            time.sleep(0.02)
        time.sleep(0.2)
        api.delay_s = delay_s
        if delay_s:  # The next look is under way and has no answer.
            time.sleep(5.5)
        process.send_signal(signal.SIGINT)
        sent = time.monotonic()
        _, said = process.communicate(timeout=300)
        assert time.monotonic() - sent < 50  # The server holds its answer for 100 s.
    api.delay_s = 0
    assert process.returncode == 130
    assert b"1 batch goes on at the server" in said
    assert CANARY.encode() not in said
    assert api.cancels == []
    code, text, said = command("--out-dir", out, "--batch", "--cancel")
    assert (code, api.cancels) == (0, ["batch_1"])
    assert "cancel" in text
    assert "fetches what they had finished" in said
    code, text, said = command(folder, "--out-dir", out, "--batch")
    assert "batch batch_1 of 4 images is under way already" in said
    assert code == 1
    assert text.startswith("2 done, 2 failed")
    assert len(api.creates) == 1


def test_in_an_object_store(api, client, in_batches, make_folder):
    """Pictures, ledger and the steps of the batches go to an object store as to a folder, and a run goes on there."""
    fsspec = pytest.importorskip("fsspec")
    folder, out = str(make_folder(4)), "memory://batches-test/out"
    store = fsspec.filesystem("memory")
    try:
        result = in_batches(folder, out, limits=BatchLimits(3, 10**8))
        assert len(result.done) == 4
        assert len([name for name in store.find("/batches-test/out") if name.endswith(".png")]) >= 4
        assert all(CANARY.encode() not in store.cat(name) for name in store.find("/batches-test/out"))
        assert len(in_batches(folder, out).skipped) == 4
        assert len(api.creates) == 2
        from ipy_imgvar.bulk.batches import status
        from ipy_imgvar.request import VariationRequest

        assert [each.is_fetched for each in status(client.engine, VariationRequest(), out)] == [True, True]
    finally:
        store.rm("/batches-test", recursive=True)


def test_a_run_that_lost_its_lock_asks_for_nothing_more(api, in_batches, make_folder, monkeypatch):
    """A batch that was made goes on at the server; no further one is made, and ledger and page are the other run's."""
    fsspec = pytest.importorskip("fsspec")
    monkeypatch.setattr(lock, "_BEAT_S", 0.02)
    store, out = fsspec.filesystem("memory"), "memory://batches-lost/out"

    def lose(call):
        if call == "POST /batches":
            take_lock(store, out)

    api.on_call = lose
    try:
        with pytest.raises(EngineError, match=r"^another run took over memory://batches-lost/out "):
            in_batches(str(make_folder(6)), out, limits=BatchLimits(2, 10**8))
        assert len(api.creates) == 1
        assert not store.exists(f"{out}/index.html")
        assert not store.exists(f"{out}/ledger.jsonl")
    finally:
        api.on_call = None
        store.rm("/batches-lost", recursive=True)


def test_the_price_is_openais_own(make_folder, tmp_path):
    """The half price is said where the server is OpenAI's own, and of no other."""
    with Client("openai", api_key=CANARY) as client:
        plan = client.plan(str(make_folder(1)), out_dir=tmp_path / "out", batch=True)
    assert any("at half price" in line for line in plan.notes)


@pytest.mark.parametrize("more", [(), ("--dry-run",), ("--status",)])
def test_without_a_key_the_key_is_the_cause(more, capsys, make_folder, tmp_path):
    """A user who names no engine and has no key is told of the key."""
    images = [] if more == ("--status",) else [str(make_folder(1))]
    assert main(["bulk", *images, "--out-dir", str(tmp_path / "out"), "--batch", *more]) == 2
    said = capsys.readouterr().err
    assert "no API key or base is configured" in said
    assert "OPENAI_API_KEY" in said
    assert "--api-base" in said
    assert said.count("\n") == 1


def test_a_named_engine_is_the_cause_itself(capsys, make_folder, tmp_path):
    """A user who names an engine that takes no batches is told of the engine."""
    words = ["bulk", str(make_folder(1)), "--out-dir", str(tmp_path / "out"), "--batch", "--engine", "patch"]
    assert main(words) == 2
    assert "the engine patch takes no batches" in capsys.readouterr().err


def test_the_route_is_the_one_that_a_batch_has(api, make_folder, tmp_path):
    """A server whose images go by variations one by one gets edits in a batch, unless the user asked for the other."""
    folder, out = str(make_folder(1)), tmp_path / "out"
    api.states = ["completed"]
    with Client("openai", api_base=api.base, api_key=CANARY) as client:
        assert client.plan(folder, out_dir=out).parts[0].route.endswith("variations")
        assert client.plan(folder, out_dir=out, batch=True).parts[0].route == "batches of images/edits"
        assert len(client.map(folder, out_dir=out, batch=True).done) == 1
        with pytest.raises(InvalidRequestError, match="the route is variations"):
            client.map(folder, out_dir=out, batch=True, options={"route": "variations"})


def test_pictures_by_other_settings_are_said(api, command, make_folder, tmp_path):
    """A dry run and a run say how many images have pictures by other settings, which are asked for again."""
    folder, out = make_folder(2), tmp_path / "out"
    api.states = ["completed"]
    line = "2 images have pictures by other settings there: they are asked for again"
    command(folder, "--out-dir", out, "--batch", "-n", 3)
    _, text, _ = command(folder, "--out-dir", out, "--batch", "-n", 3, "--dry-run")
    assert "other settings" not in text
    _, text, _ = command(folder, "--out-dir", out, "--batch", "-n", 2, "--dry-run")
    assert line in text
    _, _, said = command(folder, "--out-dir", out, "--batch", "-n", 2)
    assert line in said
    assert said.index(line) < said.index("was made")
    _, _, said = command(folder, "--out-dir", out, "--batch", "-n", 2)
    assert "other settings" not in said


@pytest.mark.parametrize("moment", ["start", "poll", "status"])
def test_a_wrong_key_ends_it_at_once(api, command, make_folder, tmp_path, moment):
    """A key that is refused ends a run and a report in one line, at once; before the start, nothing was uploaded."""
    folder, out = make_folder(1), tmp_path / "out"
    words = [folder, "--out-dir", out, "--batch"]
    started = time.monotonic()
    if moment == "start":
        api.is_locked = True
    else:
        api.states = ["in_progress"] * 1000
        api.on_call = lambda call: setattr(api, "is_locked", call.startswith("GET /batches/"))
    code, _, said = command(*words)
    if moment == "status":
        assert code == 1
        started = time.monotonic()
        code, _, said = command("--out-dir", out, "--batch", "--status")
        assert said.count("\n") == 1
    assert time.monotonic() - started < 60
    assert code == 1
    assert "check the key" in said
    assert said.count(" answered 401: ") == 1  # A port's number may hold 401, too.
    assert len(api.uploads) == (moment != "start")
