"""Bulk runs from and to an S3 server on bad days: killed, refused, slow, failing, and with a very long listing."""

import contextlib
import io
import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from faulty import Crowd, Faulty
from PIL import Image

import ipy_imgvar
from ipy_imgvar import Client

ROOT = Path(ipy_imgvar.__file__).parent.parent
SEED = 18

RUN = """
import sys
from ipy_imgvar import Client
with Client("patch") as client:
    print(client.map(sys.argv[1], out_dir=sys.argv[2], max_workers=2, size=64).summary(), flush=True)
"""
COMMAND = "import sys; from ipy_imgvar.cli import main; sys.exit(main(sys.argv[1:]))"
PLAN = """
import resource, sys
from ipy_imgvar.cli import main
code = main(["bulk", sys.argv[1], "--out-dir", sys.argv[2], "--size", "64", "--dry-run"])
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
sys.exit(code)
"""


@pytest.fixture
def faulty(s3, monkeypatch):
    """Return the proxy before the server, which this process and its children then use."""
    with Faulty(("127.0.0.1", int(s3.url.rpartition(":")[2]))) as proxy:
        monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.address)
        yield proxy


@pytest.fixture
def store(faulty):  # noqa: ARG001 - for its address
    """Return s3fs, by which a test looks at what there is."""
    import fsspec

    return fsspec.filesystem("s3", use_listings_cache=False)


def flat(number, kind="png"):
    """Return a small flat picture, which costs the engine little."""
    buffer = io.BytesIO()
    Image.new("RGB", (64, 64), (number % 256, number // 256 % 256, 77)).save(buffer, kind)
    return buffer.getvalue()


def fill(store, address, count):
    """Put pictures into a folder of a bucket, no two alike, and return the folder's address."""
    store.pipe({f"{address}/in/{number:04}.png": flat(number) for number in range(count)})
    return f"{address}/in"


def start(code, *words):
    """Start a process that prints what it did."""
    return subprocess.Popen(
        [sys.executable, "-c", code, *words],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def lines_of(store, address):
    """Return the records of the ledger, or those of its parts where a killed run left them."""
    paths = [*store.glob(f"{address}/ledger.jsonl"), *store.glob(f"{address}/ledger-parts/*.jsonl")]
    return [json.loads(line) for path in paths for line in store.cat_file(path).splitlines()]


def pictures_in(store, address):
    """Return the pictures by their names."""
    paths = store.glob(f"{address}/*.png")
    return {path.rpartition("/")[2]: data for path, data in store.cat(paths).items()} if paths else {}


def workers_of(pid):
    """Return the ids of a process' children."""
    found = []
    with contextlib.suppress(OSError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            found += map(int, (task / "children").read_text().split())
    return found


def put_since(faulty, first):
    """Return the names of what was put after so many requests."""
    return {path.rpartition("/")[2] for method, path, _ in faulty.requests[first:] if method == "PUT"}


def wait_for_picture(faulty, first, run, most_s):
    """Wait until a run has put its first picture, so many seconds at most."""
    end = time.monotonic() + most_s
    while time.monotonic() < end and run.poll() is None:
        if any(name.endswith("-1.png") for name in put_since(faulty, first)):
            break
        time.sleep(0.02)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="it looks for workers in /proc")
def test_a_run_that_is_killed_again_and_again_loses_nothing(bucket, faulty, store, tmp_path):
    """Four kills of the parent and two of a worker: every picture once on record, none made again, as on disk."""
    count, rng = 100, random.Random(SEED)  # noqa: S311 - instants
    images, out = fill(store, bucket, count), f"{bucket}/out"
    faulty.requests.clear()
    for number in range(4):
        known, first = {name for each in lines_of(store, out) for name in each["paths"]}, len(faulty.requests)
        with start(RUN, images, out) as run:
            # The first one hits the start, the others a run in the middle of its work.
            wait_for_picture(faulty, first, run, 0 if number == 0 else 60)
            time.sleep(rng.uniform(0, 3))
            run.kill()
        time.sleep(0.5)  # What a worker sent last arrives.
        assert not put_since(faulty, first) & known
    known, first = {name for each in lines_of(store, out) for name in each["paths"]}, len(faulty.requests)
    killed = 0
    with start(RUN, images, out) as run:
        while run.poll() is None:
            time.sleep(0.5)
            victims = workers_of(run.pid) if killed < 2 and faulty.requests[first:] else []
            if len(victims) == 2:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(rng.choice(victims), signal.SIGKILL)
                    killed += 1
        summary = run.communicate()[0]
    assert "0 failed" in summary
    assert not put_since(faulty, first) & known
    records = lines_of(store, out)
    assert len(records) == len({each["item"] for each in records}) == count
    assert all(each["status"] == "done" for each in records)
    (tmp_path / "in").mkdir()
    for number in range(count):
        (tmp_path / "in" / f"{number:04}.png").write_bytes(flat(number))
    with Client("patch") as client:
        client.map(str(tmp_path / "in"), out_dir=tmp_path / "out", size=64)
    on_disk = {path.name: path.read_bytes() for path in (tmp_path / "out").glob("*.png")}
    assert pictures_in(store, out) == on_disk
    assert sorted(
        path.rpartition("/")[2] for path in store.find(out) if path.count("/") == 2 and path[-4:] != ".png"
    ) == [
        "index.html",
        "ledger.jsonl",
    ]


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="ru_maxrss is in other units elsewhere")
def test_a_long_listing_takes_little_memory_and_is_planned_page_by_page(bucket, faulty):
    """A dry run of 30,000 objects takes at most 18 MB more than one of ten: 60 MB for 100,000."""
    small = flat(0, "bmp")
    peaks = []
    for count in (10, 30_000):
        faulty.crowd = Crowd(f"{bucket.removeprefix('s3://')}/in/", count, lambda _: small, len(small))
        faulty.requests.clear()
        done = start(PLAN, f"{bucket}/in", f"{bucket}/out")
        text, errors = done.communicate(timeout=300)
        assert done.returncode == 0, errors
        assert f"{count:,}" in text.replace(f"{count}", f"{count:,}")
        assert faulty.counts()["LIST"] >= count // 1000
        assert faulty.counts()["GET"] == 0
        peaks.append(int(text.split()[-1]) / 1e3)
    assert peaks[1] - peaks[0] <= 18


@pytest.mark.slow
def test_the_first_picture_is_there_before_the_listing_ends(bucket, faulty):
    """When the first picture of 20,000 objects is put, most of the 20 pages were not asked for."""
    faulty.crowd = Crowd(
        f"{bucket.removeprefix('s3://')}/in/", 20_000, lambda number: flat(number, "bmp"), len(flat(0, "bmp"))
    )
    pages = []

    def note(method, path):
        if method == "PUT" and path.endswith("-1.png") and not pages:
            pages.append(sum(query.get("prefix") == ["in/"] for _, _, query in faulty.requests))

    faulty.on_request = note
    faulty.delay_s = 0.05  # The listing of a real server takes its time, too.
    with start(RUN, f"{bucket}/in", f"{bucket}/out") as run:
        end = time.monotonic() + 60
        while not pages and run.poll() is None and time.monotonic() < end:
            time.sleep(0.05)
        run.kill()
    assert pages
    assert 1 <= pages[0] < 20


@pytest.mark.slow
def test_one_request_in_twenty_fails_and_nothing_is_lost(bucket, faulty, store):
    """Errors of the server, broken connections and lost answers are tried again, counted and told."""
    images, out = fill(store, bucket, 60), f"{bucket}/out"
    faulty.fail_every = 20
    faulty.requests.clear()
    run = start(RUN, images, out)
    text, errors = run.communicate(timeout=300)
    faulty.fail_every = 0
    assert run.returncode == 0, errors
    assert "60 done, 0 failed" in text
    assert sum(faulty.faults.values()) >= 5
    assert "again" in text + errors
    assert len(lines_of(store, out)) == len(pictures_in(store, out)) == 60
    assert all(Image.open(io.BytesIO(data)).size == (64, 64) for data in pictures_in(store, out).values())


@pytest.mark.slow
def test_a_slow_server_slows_only(bucket, faulty, store):
    """With 300 ms a request every picture is made, and workers wait at the same time."""
    images, out = fill(store, bucket, 8), f"{bucket}/out"
    faulty.delay_s = 0.3
    run = start(RUN, images, out)
    text, errors = run.communicate(timeout=300)
    assert run.returncode == 0, errors
    assert "8 done, 0 failed" in text


@pytest.mark.parametrize(
    "case",
    [
        ((), "s3://no-such-bucket-18/out", "does not exist"),
        (("GET", "HEAD", "PUT", "POST", "DELETE"), None, "denied"),
        (("PUT", "POST", "DELETE"), None, "denied"),
    ],
    ids=["missing", "denied", "read-only"],
)
def test_a_bucket_that_takes_nothing_is_told_in_one_line(faulty, store, bucket, case):
    """A bucket that is missing, denied or read-only ends the run before an image is read, in one line with its name."""
    denied, place, says = case
    images = fill(store, bucket, 2)
    faulty.requests.clear()
    faulty.denied = frozenset(denied)
    out = place or f"{bucket}/out"
    done = subprocess.run(
        [sys.executable, "-c", COMMAND, "bulk", images, "--out-dir", out, "--size", "64"],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode != 0
    assert len(done.stderr.strip().splitlines()) == 1, done.stderr
    assert out in done.stderr
    assert says in done.stderr.lower()
    assert "testing" not in done.stderr + done.stdout
    assert not [path for method, path, _ in faulty.requests if method == "GET" and path.endswith(".png")]
