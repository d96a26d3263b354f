"""Bulk runs into S3: the bytes of a folder, faults in words or tried again, and no kill that costs a record."""

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from painter import Painter
from PIL import Image

import ipy_imgvar
from ipy_imgvar import Client
from ipy_imgvar.bulk import BulkResult
from ipy_imgvar.errors import InvalidRequestError

#: A run in a process of its own, by the offline engine at its smallest size.
_RUN = """
import sys
from ipy_imgvar import Client
if __name__ == "__main__":
    Client("patch").map(sys.argv[1], out_dir=sys.argv[2], size=256, max_workers=2, progress=False)
"""


@pytest.fixture
def photos(tmp_path):
    """Return a folder of eight small pictures."""
    return folder_of(tmp_path, 8)


def folder_of(tmp_path, count):
    folder = tmp_path / "photos"
    folder.mkdir()
    for number in range(count):
        noise = Image.effect_noise((64, 64), 40 + number).convert("RGB")
        noise.save(folder / f"p{number:03}.png")
    return folder


def objects(out):
    import fsspec

    system = fsspec.filesystem("s3")
    system.invalidate_cache()
    top = out.removeprefix("s3://") + "/"
    return {name.removeprefix(top): system.cat(name) for name in system.find(out)}


def records(found):
    return [json.loads(line) for line in found["ledger.jsonl"].splitlines()]


def test_the_bytes_are_those_of_a_folder(bucket, photos, tmp_path):
    """Pictures and records are as on disk, and neither a part nor the lock stays."""
    out, disk = f"{bucket}/out", tmp_path / "out"
    client = Client(Painter())
    client.map(str(photos), out_dir=disk, size=64, n=2)
    made = client.map(str(photos), out_dir=out, size=64, n=2)
    found = objects(out)
    assert {name: found[name] for name in found if name.endswith(".png")} == {
        path.name: path.read_bytes() for path in disk.glob("*.png")
    }
    assert [name for name in found if name.startswith("ledger-parts")] == []
    assert {each["item"] for each in records(found)} == {each.item for each in made}
    links = re.findall(r'<img loading="lazy" src="([^"]+)"', found["index.html"].decode())
    assert len(links) == 8 * 3
    assert set(links) < set(found)
    assert [each.status for each in BulkResult.read(out)] == ["done"] * 8
    assert len(client.map(str(photos), out_dir=out, size=64, n=2).skipped) == 8


def test_nothing_that_is_recorded_has_a_credential(bucket, photos):
    """No object but the pictures' own bytes holds the key, and no text of the result does."""
    made = Client(Painter()).map(str(photos), out_dir=f"{bucket}/out", size=64)
    for text in (*objects(f"{bucket}/out").values(), repr(made).encode(), made._repr_html_().encode()):
        assert b"testing-secret" not in text
        assert b"testing-key-id" not in text


def test_requests_that_fail_are_tried_again_and_counted(s3, bucket, photos):
    """One request in ten fails: every picture is made, and the run tells how many requests were tried again."""
    s3.fail("slow-down", every=10)
    notices = []
    made = Client(Painter()).map(str(photos), out_dir=f"{bucket}/out", size=64, on_notice=notices.append)
    s3.fail()
    assert len(made.done) == 8
    assert made.retried >= s3.requests()["failed"] - 2 > 0  # s3fs tries some of them again by itself.
    assert notices == [f"{made.retried} requests to object stores were tried again"]
    assert len(records(objects(f"{bucket}/out"))) == 8


@pytest.mark.parametrize("kind", ["denied", "missing"])
def test_a_bucket_that_takes_nothing_is_one_line(s3, bucket, photos, kind):
    """A bucket without permission, or that does not exist, is told before anything is made."""
    engine = Painter()
    if kind == "denied":
        s3.fail("denied", methods=["PUT"])
    out = f"{bucket}/out" if kind == "denied" else "s3://no-such-bucket/out"
    with pytest.raises(InvalidRequestError) as caught:
        Client(engine).map(str(photos), out_dir=out, size=64)
    assert caught.value.field == "out_dir"
    assert "\n" not in str(caught.value)
    assert engine.requests == []


def test_a_bucket_that_lets_nothing_be_removed_is_written(s3, bucket, photos):
    """Who may not remove makes runs there and goes on with them; one probe of the check stays."""
    s3.fail("denied", methods=["DELETE", "POST"])
    client = Client(Painter())
    assert len(client.map(str(photos), out_dir=f"{bucket}/out", size=64).done) == 8
    assert len(client.map(str(photos), out_dir=f"{bucket}/out", size=64).skipped) == 8
    assert len(BulkResult.read(f"{bucket}/out")) == 8


def test_a_second_run_is_refused(bucket, photos):
    """Two runs in one folder of a bucket: the second one names the first one's host and process."""
    began, go_on = threading.Event(), threading.Event()

    def images():
        yield from sorted(map(str, photos.iterdir()))
        began.set()
        go_on.wait(100)

    results = []
    run = threading.Thread(
        target=lambda: results.append(Client(Painter()).map(images(), out_dir=f"{bucket}/out", size=64))
    )
    run.start()
    assert began.wait(100)
    try:
        with pytest.raises(InvalidRequestError, match=f"locked by process {os.getpid()} on "):
            Client(Painter()).map(str(photos), out_dir=f"{bucket}/out", size=64)
    finally:
        go_on.set()
        run.join()
    assert len(results[0].done) == 8


def start(photos, out):
    root = Path(ipy_imgvar.__file__).parent.parent
    return subprocess.Popen(
        [sys.executable, "-c", _RUN, str(photos), out],
        env={**os.environ, "PYTHONPATH": str(root), "OMP_NUM_THREADS": "1"},
        stderr=subprocess.PIPE,
    )


def items_in(out):
    """Return the items on record, none before the first one."""
    try:
        return [each.item for each in BulkResult.read(out)]
    except InvalidRequestError:
        return []


@pytest.mark.slow
def test_a_run_that_was_stopped_gives_way_to_the_one_that_took_over(bucket, tmp_path):
    """A run that SIGSTOP held while another one did the rest begins nothing more, and says so in its last line."""
    photos, out = folder_of(tmp_path, 24), f"{bucket}/out"
    first = start(photos, out)
    try:
        while not items_in(out):
            time.sleep(0.05)
        first.send_signal(signal.SIGSTOP)
        assert start(photos, out).communicate(timeout=300)[1] == b""
        assert len(BulkResult.read(out)) == 24
        first.send_signal(signal.SIGCONT)
        _, said = first.communicate(timeout=300)
    finally:
        first.kill()
    assert b"another run took over s3://" in said.splitlines()[-1]
    assert len(BulkResult.read(out)) == 24
