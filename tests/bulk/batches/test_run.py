"""Runs in batches against the loopback server: each image is asked for once, whatever happens between."""

import base64
import json
import threading
from pathlib import Path

import pytest
from batch_server import PICTURE, good
from cases import slow
from loopback import CANARY, answer_of, png

from ipy_imgvar import Client
from ipy_imgvar.batches import BatchLimits
from ipy_imgvar.bulk.batches import cancel, status
from ipy_imgvar.bulk.batches.uploads import Pace
from ipy_imgvar.engine import Listener
from ipy_imgvar.errors import (
    AuthenticationError,
    BadResponseError,
    CancelledError,
    EngineError,
    ImageVariationError,
    InvalidRequestError,
)
from ipy_imgvar.request import VariationRequest

#: Three lines a file.
THREE = BatchLimits(3, 10**8)


def steps_of(out):
    """Return the steps that the log of a folder has, in order."""
    return [json.loads(line)["step"] for line in (Path(out) / "batches.jsonl").read_text().splitlines()]


def assert_no_key(folder):
    """No file below the folder has the key or a picture as base64."""
    for path in Path(folder).rglob("*"):
        if path.is_file():
            data = path.read_bytes()
            assert CANARY.encode() not in data
            assert b"data:image" not in data


def test_each_image_is_asked_once_and_recorded(api, in_batches, make_folder, tmp_path, look):
    """Seven images in files of three are three uploads, batches and seven pictures; the server keeps nothing."""
    out = tmp_path / "out"
    said = []
    folder = str(make_folder(7))
    result = in_batches(folder, out, limits=THREE, listener=Listener(on_notice=said.append))
    assert len(result.done) == 7
    assert (len(api.uploads), len(api.creates)) == (3, 3)
    assert len({line["custom_id"] for line in api.lines()}) == len(api.lines()) == 7
    assert len(look.pictures(out)) == 7
    assert all(record["status"] == "done" for record in look.records(out))
    assert result.usage["total_tokens"] == 7 * 500
    assert (out / "index.html").exists()
    assert not api.files
    assert "price" not in said[0]
    assert api.base.split("/")[2] in said[0]
    assert_no_key(out)
    again = in_batches(folder, out, limits=THREE)
    assert len(again.skipped) == 7
    assert len(api.uploads) == 3


def test_a_line_is_what_the_engine_would_post(api, in_batches, make_folder, tmp_path):
    """A line has the edits route's JSON: image and mask as data URLs, the prompt, the size and the options."""
    mask = png("white")
    (path,) = sorted(make_folder(1).iterdir())
    settings = {"n": 2, "size": "1024x1536", "options": {"quality": "low"}, "prompt": "a hat", "mask": mask}
    result = in_batches(str(path), tmp_path / "out", **settings)
    (line,) = api.lines()
    assert (line["method"], line["url"]) == ("POST", "/v1/images/edits")
    body = line["body"]
    assert (body["model"], body["n"], body["size"]) == ("gpt-image-2.6-flare", 2, "1024x1536")
    assert (body["quality"], body["prompt"]) == ("low", "a hat")
    assert body["images"][0]["image_url"].startswith("data:image/png;base64,")
    assert body["mask"]["image_url"].startswith("data:image/png;base64,")
    assert "response_format" not in body
    assert len(result[0].paths) == 2


def test_the_records_are_those_of_a_run_without_batches(api, in_batches, make_folder, tmp_path, look):
    """A record has the fields, names and settings of any bulk run, and the batch; small sizes are reduced here."""
    folder = make_folder(1)
    in_batches(str(folder), tmp_path / "out", size=256)
    (record,) = look.records(tmp_path / "out")
    assert record["source"].endswith("p000.png")
    assert record["paths"][0].startswith("p000-")
    assert record["request"]["engine"] == "openai"
    assert record["batch"] == "batch_1"
    assert record["warnings"] == ["1024x1024 is asked for, the least this route makes, and reduced here"]
    data = (tmp_path / "out" / record["paths"][0]).read_bytes()
    assert record["sizes"] == [len(data)]
    assert record["usage"]["total_tokens"] == 500
    # The same settings without batches find it done.
    with Client("openai", api_base=api.base, api_key=CANARY, model="gpt-image-2.6-flare") as client:
        assert len(client.map(str(folder), out_dir=tmp_path / "out", size=256).skipped) == 1


def test_images_in_memory_have_thumbnails(api, in_batches, photo, tmp_path, look):
    """Images from memory go through a batch like files, and the page shows their thumbnails."""
    result = in_batches([photo, photo.rotate(90)], tmp_path / "out")
    assert len(result.done) == 2
    assert all(item.thumbnail.exists() for item in result)
    assert len(look.pictures(tmp_path / "out")) == 2
    assert len(api.creates) == 1


def test_bytes_bound_a_file(api, in_batches, make_folder, tmp_path):
    """A file has no more bytes than the limit; a line that is longer alone fails, and the others go on."""
    folder = make_folder(3)
    from PIL import Image

    Image.effect_noise((300, 300), 90).save(folder / "p999.png")
    result = in_batches(str(folder), tmp_path / "out", limits=BatchLimits(50, 1500))
    assert len(api.uploads) > 1
    assert all(len(each["data"]) <= 1500 for each in api.uploads)
    (failed,) = result.failed
    assert "allowed: 1.5 kB" in failed.error
    assert len(result.done) == 3


def test_what_has_no_answer_is_asked_once_more_together(api, in_batches, make_folder, tmp_path, look):
    """Lines that end with 429, 500, nothing or an expiry are asked again in one new batch; a refusal is not."""
    endings = {0: (429, {"error": {"message": "slow down"}}), 1: (500, {"error": {"message": "oops"}})}
    endings |= {2: ("batch_expired", "too late"), 3: (400, {"error": {"message": "moderation_blocked"}})}
    numbers = {}

    def answer(line, batch):
        number = numbers.setdefault(line["custom_id"], len(numbers))
        return endings.get(number, good(line, batch)) if batch["id"] == "batch_1" else good(line, batch)

    api.answer = answer
    api.states = ["in_progress", "expired"]
    result = in_batches(str(make_folder(6)), tmp_path / "out")
    assert (len(api.uploads), len(api.creates)) == (2, 2)
    assert len(api.lines_of("file-2")) == 3
    assert len(result.done) == 5
    (failed,) = result.failed
    assert "moderation_blocked" in failed.error
    assert len(look.records(tmp_path / "out")) == 6


def test_a_second_try_is_the_last(api, in_batches, make_folder, tmp_path):
    """A line without an answer twice fails with the reason, and the same run again asks for it anew."""
    api.answer = lambda line, batch: ("batch_expired", "the window is over")  # noqa: ARG005
    api.states = ["expired"]
    folder = str(make_folder(2))
    result = in_batches(folder, tmp_path / "out")
    assert len(api.creates) == 2
    assert {item.error for item in result.failed} == {
        f"{api.base.split('/')[2]} did not answer: the window is over (batch_expired)"
    }
    api.answer, api.states = good, ["completed"]
    assert len(in_batches(folder, tmp_path / "out").done) == 2
    assert len(api.creates) == 3


def test_an_image_in_memory_is_asked_once_more_too(api, in_batches, photo, tmp_path):
    """A second try of an image in memory finds its bytes again; those of an iterator are gone, and it fails."""
    api.answer = lambda line, batch: good(line, batch) if batch["id"] == "batch_2" else (500, {})
    result = in_batches([photo], tmp_path / "out")
    assert len(result.done) == 1
    gone = in_batches(iter([photo]), tmp_path / "gone")
    assert len(gone.done) == 0


def test_answers_in_any_order_twice_and_of_strangers(api, in_batches, make_folder, tmp_path, look):
    """Answers that are shuffled, doubled or not ours change nothing: each picture is written and counted once."""
    api.doubled = True

    def answer(line, batch):  # noqa: ARG001
        body = answer_of(base64.b64decode(line["body"]["images"][0]["image_url"].partition(",")[2]))
        return 200, {**body, "usage": {"total_tokens": 1}}

    api.answer = answer
    folder = make_folder(9)
    result = in_batches(str(folder), tmp_path / "out")
    assert result.usage == {"total_tokens": 9}
    assert len(look.records(tmp_path / "out")) == 9
    for item in result:  # Each image has its own answer.
        assert item.paths[0].read_bytes() == (folder / Path(item.source).name).read_bytes()


@pytest.mark.parametrize("fault", ["lost", "dropped", 500, 429, b"<html>"])
@pytest.mark.parametrize("call", ["POST /files", "POST /batches"])
def test_a_call_whose_answer_fails_is_done_once(api, in_batches, make_folder, tmp_path, call, fault):  # noqa: PLR0917
    """After a lost answer the server is looked at before the call is repeated: one file and one batch, never two."""
    api.fault(call, fault)
    result = in_batches(str(make_folder(2)), tmp_path / "out")
    assert len(result.done) == 2
    assert (len(api.uploads), len(api.creates)) == (1, 1)


@pytest.mark.parametrize(
    "call", ["GET /batches", "GET /batches/", "GET /files", "DELETE /files", "GET /models"]
)
@pytest.mark.parametrize("fault", ["lost", slow(503), slow(429), slow("half")])
def test_a_read_that_fails_is_tried_again(api, in_batches, make_folder, tmp_path, call, fault):  # noqa: PLR0917
    """Questions, polls, downloads and removals survive a few faults in a row."""
    api.fault(call, fault, fault)
    result = in_batches(str(make_folder(2)), tmp_path / "out")
    assert len(result.done) == 2
    assert (len(api.uploads), len(api.creates)) == (1, 1)
    assert not api.files


def test_a_batch_that_came_through_late_is_ended(api, in_batches, make_folder, tmp_path):
    """Where two batches of one file exist, the first is taken and the other is cancelled before it is paid for."""
    real = api.create

    def twice(body):
        real(body)
        return real(body)

    api.create = twice
    api.fault("POST /batches", "lost")
    try:
        result = in_batches(str(make_folder(2)), tmp_path / "out")
    finally:
        del api.create
    assert api.cancels == ["batch_2"]
    assert len(result.done) == 2


def test_lines_that_a_server_forgets(api, in_batches, make_folder, tmp_path):
    """Lines of an expired batch that are in neither file were not answered, so they are asked for once more."""
    api.answer = lambda line, batch: (
        None if batch["id"] == "batch_1" and line == api.lines()[0] else good(line, batch)
    )
    api.states = ["expired"]
    result = in_batches(str(make_folder(3)), tmp_path / "out")
    assert len(result.done) == 3
    assert [len(api.lines_of(each["input_file_id"])) for each in api.creates] == [3, 1]


def test_a_file_of_answers_that_is_cut_is_not_asked_for_again(api, in_batches, make_folder, tmp_path, look):
    """Whole answers are recorded; the others are paid for, so they are read again, not asked again."""
    api.cut_output = True
    folder, out = str(make_folder(6)), tmp_path / "out"
    with pytest.raises(BadResponseError, match="nothing was asked again") as caught:
        in_batches(folder, out)
    kept = len(look.pictures(out))
    assert 0 < kept < 6
    assert f"{kept} done" in str(caught.value)
    batch = api.batches["batch_1"]
    whole = "".join(
        json.dumps(
            {"custom_id": line["custom_id"], "response": {"status_code": 200, "body": good(line, batch)[1]}}
        )
        + "\n"
        for line in api.lines()
    ).encode()
    api.files[batch["output_file_id"]] |= {"data": whole, "bytes": len(whole)}
    result = in_batches(folder, out)
    assert len(look.pictures(out)) == 6
    assert len(result.done) + len(result.skipped) == 6
    assert len(api.creates) == 1
    assert not api.files


def test_a_picture_that_cannot_be_read_stays_at_the_server(api, in_batches, make_folder, tmp_path):
    """Nothing paid for is removed before it is here: the file of answers stays where one of them is broken."""
    api.answer = lambda line, batch: (200, {"data": [{"b64_json": "AAAA"}]})  # noqa: ARG005
    said = []
    result = in_batches(str(make_folder(1)), tmp_path / "out", listener=Listener(on_notice=said.append))
    assert "the server may have charged for it" in result.failed[0].error
    assert any("stay at the server" in line for line in said)
    assert list(api.files) == ["batch_1-output_file_id"]


def test_a_key_that_may_not_remove(api, in_batches, make_folder, tmp_path):
    """Where the key may not remove files, the run is done all the same, and says that they stay."""
    api.fault("DELETE /files", *[403] * 9)
    said = []
    result = in_batches(str(make_folder(1)), tmp_path / "out", listener=Listener(on_notice=said.append))
    assert len(result.done) == 1
    assert sum("stay at the server" in line for line in said) == 1
    assert CANARY not in "".join(said)
    assert steps_of(tmp_path / "out")[-1] == "done"


def test_a_refused_file_is_one_line(api, in_batches, make_folder, tmp_path, look):
    """The server's validation failure ends the run in one line; nothing is recorded as failed or paid for."""
    error = {"code": "model_not_supported", "message": f"No batches for this model, {CANARY}", "line": 1}
    api.refuse = lambda batch: [error]  # noqa: ARG005
    out = tmp_path / "out"
    with pytest.raises(
        EngineError, match=r"refused the batch batch_1: line 1: No batches for this model"
    ) as caught:
        in_batches(str(make_folder(2)), out)
    assert CANARY not in str(caught.value)
    assert not api.files
    assert look.records(out) == []
    api.refuse = None
    assert len(in_batches(str(tmp_path / "photos"), out).done) == 2


def test_a_full_queue_is_waited_for(api, in_batches, make_folder, tmp_path):
    """A batch that the account's queue has no room for is begun again from the same file, without another upload."""
    error = {"code": "token_limit_exceeded", "message": "Enqueued token limit reached"}
    api.refuse = lambda batch: [error] if int(batch["id"].rpartition("_")[2]) in (2, 3) else None
    result = in_batches(str(make_folder(6)), tmp_path / "out", limits=THREE)
    assert len(result.done) == 6
    assert (len(api.uploads), len(api.creates)) == (2, 4)
    assert {each["metadata"]["imgvar_try"] for each in api.creates[2:]} == {"2", "3"}


def test_refused_before_anything_is_uploaded(api, in_batches, client, make_folder, tmp_path):
    """An engine, a route, a server or a model without batches is refused in one line; no file goes up."""
    folder, out = str(make_folder(1)), tmp_path / "out"
    with Client("patch") as offline, pytest.raises(InvalidRequestError, match="patch takes no batches"):
        offline.map(folder, out_dir=out, batch=True)
    with pytest.raises(InvalidRequestError, match="route is variations"):
        in_batches(folder, out, options={"route": "variations"})
    with pytest.raises(InvalidRequestError, match="dall-e-2 takes no batches"):
        in_batches(folder, out, model="dall-e-2", options={"route": "edits"})
    with pytest.raises(InvalidRequestError, match="can't stream"):
        in_batches(folder, out, options={"stream": "true"})
    with pytest.raises(InvalidRequestError, match="max_workers is given beside batch"):
        client.map(folder, out_dir=out, batch=True, max_workers=3)
    assert api.calls == []
    with pytest.raises(InvalidRequestError, match="'gpt-image-9' does not exist"):
        in_batches(folder, out, model="gpt-image-9")
    api.models["gpt-image-8"] = {"shutdown_date": "2026-01-01"}
    with pytest.raises(InvalidRequestError, match="switched off on 2026-01-01"):
        in_batches(folder, out, model="gpt-image-8")
    api.has_batches = False
    with pytest.raises(InvalidRequestError, match=r"has no batches \(it answered 404\)"):
        in_batches(folder, out)
    assert api.uploads == []
    assert api.posts("/files") == 0


def test_other_settings_wait_for_those_under_way(api, in_batches, make_folder, tmp_path):
    """A run with other settings is refused while batches are under way, since their answers would be mixed up."""
    folder, out = str(make_folder(1)), tmp_path / "out"
    stop_after(api, "POST /batches", in_batches, folder, out)
    with pytest.raises(InvalidRequestError, match="batches with other settings are under way"):
        in_batches(folder, out, prompt="a hat")
    assert len(in_batches(folder, out).done) == 1


def stop_after(api, call, in_batches, *where, **more):
    """Begin a run, and cancel it once the server got this call."""
    event = threading.Event()
    api.on_call = lambda made: event.set() if made.startswith(call) else None
    with pytest.raises(CancelledError) as caught:
        in_batches(*where, cancel=event, **more)
    api.on_call = None
    return str(caught.value)


def test_a_cancelled_run_leaves_the_batches(api, in_batches, client, make_folder, tmp_path):
    """A stop leaves what is under way, and says how to go on; the next run fetches it and asks for nothing again."""
    api.states = ["in_progress"] * 1000
    folder, out = str(make_folder(4)), tmp_path / "out"
    text = stop_after(api, "GET /batches/batch_1", in_batches, folder, out)
    assert "1 batch goes on at the server" in text
    assert "--status" in text
    assert api.cancels == []
    (report,) = status(client.engine, VariationRequest(), out)
    assert (report.id, report.status, report.images, report.is_fetched) == (
        "batch_1",
        "in_progress",
        4,
        False,
    )
    api.states = ["completed"]
    result = in_batches(folder, out)
    assert len(result.done) == 4
    assert (len(api.uploads), len(api.creates)) == (1, 1)
    (report,) = status(client.engine, VariationRequest(), out)
    assert (report.status, report.completed, report.is_fetched) == ("completed", 4, True)


def test_a_folder_that_moves_meanwhile(api, in_batches, make_folder, tmp_path, look):
    """Images that have another path when the run goes on are known by their bytes, and not asked for again."""
    api.states = ["in_progress"] * 1000
    folder, out = make_folder(3), tmp_path / "out"
    stop_after(api, "GET /batches/batch_1", in_batches, str(folder), out)
    moved = folder.rename(tmp_path / "moved")
    (moved / "twin.png").write_bytes((moved / "p000.png").read_bytes())
    api.states = ["completed"]
    result = in_batches(str(moved), out)
    assert not result.failed
    assert len(result) == 4
    assert len(api.lines()) == 3
    assert len(look.pictures(out)) == 3
    assert len(in_batches(str(moved), out).skipped) == 4
    assert len(api.creates) == 1


def test_a_twin_is_asked_for_itself(api, in_batches, make_folder, tmp_path, look):
    """An image that comes twice has pictures of its own for each path, also where the run goes on between."""
    api.states = ["in_progress"] * 1000
    folder, out = make_folder(1), tmp_path / "out"
    stop_after(api, "GET /batches/batch_1", in_batches, str(folder), out)
    (folder / "twin.png").write_bytes((folder / "p000.png").read_bytes())
    api.states = ["completed"]
    assert len(in_batches(str(folder), out).done) == 2
    assert len(api.creates) == 2
    assert len(look.pictures(out)) == 2


def test_cancel_keeps_what_was_finished(api, in_batches, client, make_folder, tmp_path):
    """After a cancel, the next run fetches the finished half; only the one after it asks for the rest."""
    api.states = ["in_progress"] * 1000
    folder, out = str(make_folder(4)), tmp_path / "out"
    stop_after(api, "GET /batches/batch_1", in_batches, folder, out)
    cancel(client.engine, VariationRequest(), out)
    assert api.cancels == ["batch_1"]
    said = []
    result = in_batches(folder, out, listener=Listener(on_notice=said.append))
    assert (len(result.done), len(result.failed)) == (2, 2)
    assert all("was cancelled" in item.error for item in result.failed)
    assert any("the same again asks for the rest" in line for line in said)
    assert len(api.creates) == 1
    api.states = ["completed"]
    assert len(in_batches(folder, out).done) == 2
    assert len(api.creates) == 2
    assert len(list(out.glob("*.png"))) == 4


@pytest.mark.slow
def test_polls_may_fail_for_a_while(api, in_batches, make_folder, tmp_path):
    """A server that is gone longer than a read is tried loses nothing; one that is gone for good ends the run."""
    api.fault("GET /batches/", *[503] * 15)
    assert len(in_batches(str(make_folder(1)), tmp_path / "out").done) == 1
    api.states = ["in_progress"] * 10000
    api.fault("GET /batches/", *[503] * 100_000)
    with pytest.raises(ImageVariationError, match=r"answered 503.*1 batch goes on at the server"):
        in_batches(
            str(make_folder(1, "more")), tmp_path / "out2", pace=Pace(0.01, 0.05, patience_s=0.3, retry=0.01)
        )


def test_a_key_that_is_refused_ends_the_run_at_once(api, in_batches, make_folder, tmp_path):
    """401 is no fault that passes: the run ends with it, and no file went up."""
    api.fault("GET /batches", 401)
    with pytest.raises(AuthenticationError) as caught:
        in_batches(str(make_folder(1)), tmp_path / "out")
    assert CANARY not in str(caught.value)
    assert api.uploads == []


def test_images_that_cannot_be_read_fail_alone(api, in_batches, make_folder, tmp_path):
    """A broken image fails with its reason, as in any bulk run, and takes no line."""
    folder = make_folder(2)
    (folder / "broken.png").write_bytes(b"nothing")
    result = in_batches(str(folder), tmp_path / "out")
    assert len(result.done) == 2
    assert len(result.failed) == 1
    assert len(api.lines()) == 2


def test_again_asks_for_all(api, in_batches, make_folder, tmp_path):
    """Without `resume`, finished images are asked for again, but not those under way."""
    folder, out = str(make_folder(2)), tmp_path / "out"
    in_batches(folder, out)
    assert len(in_batches(folder, out, resume=False).done) == 2
    assert len(api.creates) == 2
    stop_after(api, "POST /batches", in_batches, folder, out, resume=False)
    assert len(in_batches(folder, out, resume=False).done) == 2
    assert len(api.creates) == 3


def test_progress_has_the_servers_counts(in_batches, make_folder, tmp_path):
    """The listener gets a share that grows to 1, and the counts in words."""
    seen = []
    in_batches(
        str(make_folder(2)), tmp_path / "out", listener=Listener(on_progress=lambda *at: seen.append(at))
    )
    assert seen[-1][0] == 1.0
    assert "2 of 2 answered" in seen[-1][1]


def test_fewer_pictures_than_asked(api, in_batches, make_folder, tmp_path, look):
    """An answer with fewer pictures than asked keeps them and says so, as without batches."""
    api.answer = lambda line, batch: (200, answer_of(PICTURE))  # noqa: ARG005
    in_batches(str(make_folder(1)), tmp_path / "out", n=3)
    (record,) = look.records(tmp_path / "out")
    assert record["warnings"] == ["3 pictures were asked for, the server sent 1"]


def test_a_foreign_list_is_not_spoilt(in_batches, make_folder, tmp_path):
    """A file of the log's name that no run wrote is refused, and stays."""
    out = tmp_path / "out"
    out.mkdir()
    (out / "batches.jsonl").write_text("mine\n")
    with pytest.raises(InvalidRequestError, match="is not a run's list of batches"):
        in_batches(str(make_folder(1)), out)
    assert (out / "batches.jsonl").read_text() == "mine\n"
