"""Faults at the edges of a run in batches: lists that are late, files that are gone, folders that move."""

import json
import shutil
import socket
import threading
from pathlib import Path
from tempfile import TemporaryFile

import pytest
from batch_server import good

from ipy_imgvar.batches import BatchLimits
from ipy_imgvar.bulk.batches import cancel
from ipy_imgvar.bulk.batches.state import State
from ipy_imgvar.engine import Listener
from ipy_imgvar.errors import BadResponseError, EngineError, ImageVariationError
from ipy_imgvar.request import VariationRequest

#: Three lines a file.
THREE = BatchLimits(3, 10**8)


class Killed(BaseException):
    """The end of a process."""


def steps_of(out):
    return [json.loads(line)["step"] for line in (Path(out) / "batches.jsonl").read_text().splitlines()]


@pytest.fixture
def killed_at(in_batches, monkeypatch):
    """Return a function that begins a run and ends it before it notes a step."""

    def begin(last, *where):
        real = State.step

        def step(self, chunk, step, **facts):
            if step == last:
                raise Killed
            return real(self, chunk, step, **facts)

        monkeypatch.setattr(State, "step", step)
        with pytest.raises(Killed):
            in_batches(*where)
        monkeypatch.setattr(State, "step", real)

    return begin


def test_a_late_list_after_a_kill(api, in_batches, killed_at, make_folder, tmp_path):
    """Killed between the call and its note, a run that goes on looks until a list that is late has the batch."""
    folder, out = str(make_folder(2)), tmp_path / "out"
    killed_at("created", folder, out)
    assert (len(api.creates), steps_of(out)[-1]) == (1, "asking")
    api.late_lists = 2
    assert len(in_batches(folder, out).done) == 2
    assert (len(api.creates), api.cancels) == (1, [])


def test_a_twin_is_ended_once(api, in_batches, killed_at, make_folder, tmp_path):
    """Where the list is later than all looks, the later one of two batches is cancelled at a poll, once."""
    folder, out = str(make_folder(2)), tmp_path / "out"
    killed_at("created", folder, out)
    api.late_lists = 3
    api.states = ["in_progress"] * 4 + ["completed"]
    assert len(in_batches(folder, out).done) == 2
    assert (len(api.creates), api.cancels) == (2, ["batch_2"])


def test_a_call_that_was_not_made_is_made(api, in_batches, killed_at, make_folder, tmp_path):
    """Killed before the call, a run that goes on looks in vain and makes it."""
    folder, out = str(make_folder(2)), tmp_path / "out"
    killed_at("asking", folder, out)
    assert len(in_batches(folder, out).done) == 2
    assert (len(api.uploads), len(api.creates), api.cancels) == (1, 1, [])


def test_a_refused_file_whose_key_may_not_remove(api, in_batches, make_folder, tmp_path):
    """The reason of the refusal is shown where the key may not remove the file, and the next run begins anew."""
    folder, out = str(make_folder(2)), tmp_path / "out"
    api.refuse = lambda _: [{"code": "invalid", "message": "no such size"}]
    api.fault("DELETE /files", 403, 403)
    said = []
    with pytest.raises(EngineError, match="refused the batch batch_1: no such size"):
        in_batches(folder, out, listener=Listener(on_notice=said.append))
    assert steps_of(out)[-1] == "dropped"
    assert any("stays at the server" in line for line in said)
    api.refuse = None
    assert len(in_batches(folder, out).done) == 2


def test_a_file_that_has_expired_is_planned_anew(api, in_batches, make_folder, tmp_path):
    """Where the file of a chunk is gone when the run goes on, its images go into another one."""
    folder, out = str(make_folder(2)), tmp_path / "out"
    api.fault("POST /batches", 403)
    with pytest.raises(EngineError):
        in_batches(folder, out)
    assert steps_of(out)[-1] == "uploaded"
    api.files.clear()
    assert len(in_batches(folder, out).done) == 2
    assert (len(api.uploads), len(api.creates)) == (2, 1)


def test_a_cancel_beside_a_run_that_uploads(api, in_batches, client, make_folder, tmp_path):
    """A cancel of another process stops the uploads: no batch is begun after it, and the run ends by itself."""
    folder, out = str(make_folder(9)), tmp_path / "out"
    others = []

    def on_call(call):
        if call == "POST /files" and len(api.uploads) == 1 and not others:
            request = VariationRequest()
            others.append(threading.Thread(target=cancel, args=(client.engine, request, out)))
            others[0].start()
            while "cancelled" not in steps_of(out):
                pass

    api.on_call = on_call
    api.states = ["in_progress"] * 1000
    in_batches(folder, out, limits=THREE)
    others[0].join()
    assert len(api.creates) == 1
    assert set(api.cancels) == {"batch_1"}
    assert steps_of(out)[-1] == "settled"
    api.on_call, api.states = None, ["completed"]
    again = in_batches(folder, out, limits=THREE)
    assert not again.failed
    assert len(again) == 9


@pytest.mark.parametrize("what", ["folder", "log", "moved"])
def test_a_folder_that_is_gone_meanwhile(api, in_batches, make_folder, tmp_path, what):
    """The log is written anew where it or its folder goes away during the wait, so nothing is asked for twice."""
    folder, out = str(make_folder(2)), tmp_path / "out"
    done = []

    def on_call(call):
        if call.startswith("GET /batches/") and not done:
            done.append(call)
            if what == "folder":
                shutil.rmtree(out)
            elif what == "log":
                (out / "batches.jsonl").unlink()
            else:
                out.rename(tmp_path / "moved")

    api.on_call = on_call
    assert len(in_batches(folder, out).done) == 2
    assert steps_of(out)[-1] == "done"
    assert len(in_batches(folder, out).skipped) == 2
    assert len(api.creates) == 1


def test_answers_that_are_gone_at_the_server(api, in_batches, make_folder, tmp_path):
    """Where the file of answers is gone, its lines have failed and the folder is free: a later run asks again."""
    folder, out = str(make_folder(2)), tmp_path / "out"
    api.removes_answers = True
    result = in_batches(folder, out)
    assert len(result.failed) == 2
    assert all("its answer is gone there: expired or deleted" in item.error for item in result.failed)
    assert (len(api.creates), steps_of(out)[-1]) == (1, "done")
    api.removes_answers = False
    assert len(in_batches(folder, out, prompt="other settings").done) == 2
    assert len(api.creates) == 2


def test_a_download_that_fails_for_a_moment(api, in_batches, make_folder, tmp_path):
    """A picture whose server is away for the moment leaves its batch open, and the next run fetches it."""
    folder, out = str(make_folder(2)), tmp_path / "out"
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{closed.getsockname()[1]}/picture.png"
        first = []

        def answer(line, batch):
            first.append(line["custom_id"])
            return (200, {"data": [{"url": url}]}) if line["custom_id"] == first[0] else good(line, batch)

        api.answer = answer
        with pytest.raises(BadResponseError, match="nothing was asked again"):
            in_batches(folder, out)
    assert steps_of(out)[-1] == "created"
    (key,) = {line["custom_id"] for line in api.lines() if line["custom_id"] == first[0]}
    output = api.files["batch_1-output_file_id"]
    lines = [json.loads(line) for line in output["data"].splitlines()]
    for line in lines:
        if line["custom_id"] == key:
            line["response"]["body"] = good({"body": {}}, None)[1]
    output["data"] = "".join(json.dumps(line) + "\n" for line in lines).encode()
    output["bytes"] = len(output["data"])
    result = in_batches(folder, out)
    assert len(result.done) + len(result.skipped) == 2
    assert (len(api.creates), steps_of(out)[-1]) == (1, "done")


def test_a_timeout_bounds_the_silence_of_a_download(api, in_batches, make_folder, tmp_path):
    """Answers that take longer than the timeout arrive, since their server is never silent for so long."""
    api.fault("GET /files/batch_1-output_file_id/content", "slow", *[404] * 9)
    assert len(in_batches(str(make_folder(2)), tmp_path / "out", timeout=0.5).done) == 2


class Full:
    """A file on a disk without room."""

    def __enter__(self):
        return self

    def __exit__(self, *exc_info):
        pass

    def close(self):
        pass

    def seek(self, *_):
        return 0

    def truncate(self, *_):
        return 0

    def write(self, _):
        raise OSError(28, "No space left on device")


@pytest.mark.parametrize("number", [1, 2])
def test_no_room_is_one_line(api, in_batches, make_folder, tmp_path, monkeypatch, number):  # noqa: PLR0917
    """A disk that is full during the lines or the answers is told in words, and the same again goes on."""
    folder, out = str(make_folder(2)), tmp_path / "out"
    opened = []

    def temporary(**where):
        opened.append(where)
        return Full() if len(opened) == number else TemporaryFile(**where)

    monkeypatch.setattr("ipy_imgvar.bulk.batches.spool.TemporaryFile", temporary)
    with pytest.raises(ImageVariationError, match=r"No space left on device.*; make room there"):
        in_batches(folder, out)
    assert opened[0] == {"dir": str(out)}
    assert len(in_batches(folder, out).done) == 2
    assert len(api.creates) == 1


def test_reasons_that_are_gone_at_the_server(api, in_batches, make_folder, tmp_path):
    """Where only the file of reasons is gone, the pictures are here, and the others have failed."""
    numbers = {}

    def answer(line, batch):
        number = numbers.setdefault(line["custom_id"], len(numbers))
        return (400, {"error": {"message": "no"}}) if number else good(line, batch)

    api.answer = answer
    api.fault("GET /files/batch_1-error_file_id", 404)
    result = in_batches(str(make_folder(2)), tmp_path / "out")
    assert len(result.done) == 1
    assert "its reason is gone there" in result.failed[0].error
