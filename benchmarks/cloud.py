"""What a bulk run from and to an object store costs, and what a kill costs it; the server is moto's, on loopback.

    python benchmarks/cloud.py overhead 2000    # CPU against a local folder, both at the same time; pictures of 64 px
    python benchmarks/cloud.py overhead 500 256
    python benchmarks/cloud.py kills 2000 20    # the parent killed 20 times, then a worker three times
    python benchmarks/cloud.py crowd 100000     # a listing: memory of a dry run, pages before the first picture

It needs s3fs and moto: pip install s3fs 'moto[server]'. The server's own time is not counted.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import random
import resource
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from bulk import photographs
from PIL import Image

from ipy_imgvar import Client

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "cloud"))
from faulty import Crowd, Faulty
from s3 import running

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from s3 import Server

#: The most of the memory over a run of ten objects, and of the CPU over a run on disk, that is asked for.
MOST_MB, MOST_OVERHEAD = 60, 0.10


@contextlib.contextmanager
def object_store(*, apart: bool = False) -> Iterator[tuple[Server, Faulty]]:
    """Run moto's server and the proxy before it, whose address is put into the environment.

    Parameters
    ----------
    apart
        Whether the proxy is a process of its own, so that its time isn't ours; then it only passes on.
    """
    with running() as server, tempfile.TemporaryDirectory() as home, contextlib.ExitStack() as stack:
        os.environ.update(server.environment(home))
        port = int(server.url.rpartition(":")[2])
        faulty = Faulty(("127.0.0.1", port))
        if apart:
            command = [sys.executable, str(Path(sys.path[0], "faulty.py")), str(port)]
            proxy = stack.enter_context(
                subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            )
            os.environ["AWS_ENDPOINT_URL"] = proxy.stdout.readline().strip()
        else:
            stack.enter_context(faulty)
            os.environ["AWS_ENDPOINT_URL"] = faulty.address
        yield server, faulty


def put_folder(folder: Path, address: str) -> None:
    """Put a folder's files into a bucket."""
    import fsspec

    fsspec.filesystem("s3").put([str(path) for path in sorted(folder.iterdir())], address + "/")


def flat_pictures(folder: Path, count: int) -> Path:
    """Write flat pictures of 64 px, no two alike; they cost the engine little, so that a run is mostly requests."""
    folder.mkdir()
    for number in range(count):
        colour = (number % 256, number // 256 % 256, 77)
        Image.new("RGB", (64, 64), colour).save(folder / f"{number:05}.png")
    return folder


def one(images: str, out_dir: str, size: str) -> None:
    """Run with one worker, and print the CPU seconds of parent and worker."""
    with Client("patch") as client:
        before = time.process_time()
        result = client.map(images, out_dir=out_dir, max_workers=1, size=size)
        parent = time.process_time() - before
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        print(
            json.dumps(
                {
                    "done": len(list(result.done)),
                    "parent": parent,
                    "worker": used.ru_utime + used.ru_stime,
                    "elapsed": result.elapsed,
                }
            )
        )


def overhead(count: int, root: Path, size_px: int = 64) -> None:
    """Run on disk and in a bucket side by side, since the speed of a shared processor changes within seconds."""
    folder = photographs(root / "in", count)
    size = f"{size_px}x{size_px}"
    with object_store(apart=True) as (server, _):
        bucket = server.make_bucket("overhead")
        put_folder(folder, f"{bucket}/in")
        server.requests()
        ways = {
            "disk": (str(folder), str(root / "out")),
            "bucket": (f"{bucket}/in", f"{bucket}/out"),
        }
        runs = {
            way: subprocess.Popen(
                [sys.executable, __file__, "one", *places, size], stdout=subprocess.PIPE, text=True
            )
            for way, places in ways.items()
        }
        shares = {way: json.loads(run.communicate()[0]) for way, run in runs.items()}
        requests = server.requests()
        same = same_bytes(root / "out", f"{bucket}/out")
    print(
        f"{count} images of 64 px, pictures of {size_px} px, one worker each, at the same time; CPU in ms an image"
    )
    print(f"{'':8}{'done':>6}{'parent':>8}{'worker':>8}{'both':>8}")
    for way, share in shares.items():
        parent, worker = (share[name] / count * 1e3 for name in ("parent", "worker"))
        print(f"{way:8}{share['done']:6}{parent:8.2f}{worker:8.2f}{parent + worker:8.2f}")
    disk, there = (share["parent"] + share["worker"] for share in shares.values())
    counts = ", ".join(f"{number / count:.2f} {method}" for method, number in sorted(requests.items()))
    print(f"overhead: {there / disk - 1:.1%} (asked: at most {MOST_OVERHEAD:.0%}); same bytes: {same}")
    print(f"requests an image: {counts}")


def same_bytes(folder: Path, address: str) -> bool:
    """Return whether a bucket has the pictures of a folder, and no others."""
    import fsspec

    store = fsspec.filesystem("s3", use_listings_cache=False)
    found = {path.rpartition("/")[2] for path in store.ls(address) if path.endswith(".png")}
    contents = store.cat([f"{address}/{name}" for name in sorted(found)])
    there = {path.rpartition("/")[2]: data for path, data in contents.items()}
    return there == {path.name: path.read_bytes() for path in folder.glob("*.png")}


RUN = """
import sys
from ipy_imgvar import Client
with Client("patch") as client:
    print(client.map(sys.argv[1], out_dir=sys.argv[2], max_workers=2, size=64).summary(), flush=True)
"""


def start_run(images: str, out_dir: str) -> subprocess.Popen[str]:
    """Start a run in a process of its own."""
    return subprocess.Popen([sys.executable, "-c", RUN, images, out_dir], stdout=subprocess.PIPE, text=True)


def workers_of(pid: int) -> list[int]:
    """Return the ids of a process' children."""
    found: list[int] = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        with contextlib.suppress(OSError):
            found += map(int, (task / "children").read_text().split())
    return found


def on_record(address: str) -> set[str]:
    """Return the names of the pictures that the ledger of a bucket has, parts included."""
    import fsspec

    store = fsspec.filesystem("s3", use_listings_cache=False)
    names: set[str] = set()
    for pattern in (f"{address}/ledger.jsonl", f"{address}/ledger-parts/*.jsonl"):
        for path in store.glob(pattern):
            for line in store.cat_file(path).splitlines():
                names |= set(json.loads(line)["paths"])
    return names


class Kills:
    """A run of a bucket that is killed again and again, and what it did.

    Parameters
    ----------
    faulty
        The proxy that counts.
    images, out_dir
        Addresses.
    rng
        Draws the instants.
    """

    def __init__(self, faulty: Faulty, images: str, out_dir: str, rng: random.Random) -> None:
        self._faulty = faulty
        self._places = images, out_dir
        self._rng = rng
        #: Pictures that were on record when they were put again.
        self.repaid: set[str] = set()
        #: The ids of the workers that were killed.
        self.killed: list[int] = []
        #: What the last run said of itself.
        self.summary = ""

    def parent(self, *, at_start: bool) -> None:
        """Kill a run at a random instant, with the workers, and wait until what was on its way has arrived.

        Parameters
        ----------
        at_start
            Whether the instant may lie before the first picture.
        """
        first = len(self._faulty.requests)
        with start_run(*self._places) as run:
            while not at_start and run.poll() is None:
                if any(path.endswith("-1.png") for _, path, _ in self._faulty.requests[first:]):
                    break
                time.sleep(0.02)
            time.sleep(self._rng.uniform(0, 5))
            run.kill()
        time.sleep(0.5)

    def finish(self, worker_kills: int) -> None:
        """Run to the end, and kill a worker so many times."""
        with start_run(*self._places) as run:
            while run.poll() is None and len(self.killed) < worker_kills:
                time.sleep(self._rng.uniform(1, 3))
                with contextlib.suppress(ProcessLookupError, FileNotFoundError, IndexError):
                    os.kill(victim := self._rng.choice(workers_of(run.pid)), signal.SIGKILL)
                    self.killed.append(victim)
            self.summary = run.communicate()[0].strip()

    def checked(self, step: Callable[[], None]) -> None:
        """Do a step, and find pictures that it put although they were on record before."""
        known, first = on_record(self._places[1]), len(self._faulty.requests)
        step()
        again = {
            path.rpartition("/")[2] for method, path, _ in self._faulty.requests[first:] if method == "PUT"
        }
        self.repaid |= again & known


def kills(count: int, root: Path, parent_kills: int = 20, seed: int = 0) -> None:
    """Kill the parent and the workers, and compare with a run on disk."""
    folder = flat_pictures(root / "in", count)
    with Client("patch") as client:
        client.map(str(folder), out_dir=root / "out", size=64)
    with object_store() as (server, faulty):
        bucket = server.make_bucket("kills")
        put_folder(folder, f"{bucket}/in")
        faulty.requests.clear()
        run = Kills(faulty, f"{bucket}/in", f"{bucket}/out", random.Random(seed))  # noqa: S311 - instants
        for number in range(parent_kills):
            run.checked(lambda: run.parent(at_start=number % 4 == 0))  # noqa: B023 - called at once
            print(f"kill {number + 1}: {len(on_record(f'{bucket}/out'))} pictures on record", flush=True)
        run.checked(lambda: run.finish(3))
        print(f"{count} images, {parent_kills} kills of the parent and 3 of a worker: {run.summary}")
        for line in left_behind(faulty, f"{bucket}/out", root / "out"):
            print(line)
        print(f"workers killed: {len(run.killed)}; ", end="")
        print(f"pictures that were on record and put again: {len(run.repaid)}")


def left_behind(faulty: Faulty, address: str, local: Path) -> list[str]:
    """Return what a bucket has after a run, against a folder of the same images."""
    import fsspec

    store = fsspec.filesystem("s3", use_listings_cache=False)
    records = [json.loads(line) for line in store.cat_file(f"{address}/ledger.jsonl").splitlines()]
    done = sum(each["status"] == "done" for each in records)
    puts = [number for path, number in faulty.stored(".png").items() if "/sources/" not in path]
    names = {path.rpartition("/")[2] for path in store.find(address) if "/sources/" not in path}
    others = sorted(name for name in names if not name.endswith(".png"))
    undecoded = 0
    for path in store.glob(f"{address}/*.png"):
        try:
            Image.open(io.BytesIO(store.cat_file(path))).load()
        except OSError:
            undecoded += 1
    return [
        f"ledger: {len(records)} lines, {len({each['item'] for each in records})} items, {done} done",
        f"pictures put once: {puts.count(1)}; more often: {len(puts) - puts.count(1)}, {max(puts)} times at most",
        f"half pictures: {undecoded}; other objects: {', '.join(others)}",
        f"same bytes as on disk: {same_bytes(local, address)}",
    ]


def crowd(count: int, _: Path) -> None:
    """Plan a listing of many objects, then begin it, and stop after the first picture."""
    with object_store() as (server, faulty):
        bucket = server.make_bucket("crowd")
        peaks = {}
        for number in (10, count):
            faulty.crowd = Crowd("crowd/in/", number, small_picture, len(small_picture(0)))
            peaks[number] = planned_mb(f"{bucket}/in", f"{bucket}/out")
        more = peaks[count] - peaks[10]
        print(
            f"dry run of {count} objects: {peaks[count]:.0f} MB at the most, {peaks[10]:.0f} MB for 10 objects"
        )
        print(f"  {more:.0f} MB more (asked: at most {MOST_MB} MB)")
        pages = first_picture(faulty, f"{bucket}/in", f"{bucket}/out")
        print(f"pages listed when the first picture was put: {pages} of {-(-count // 1000)}")


def small_picture(number: int) -> bytes:
    """Return a picture of 8 px, no two alike, all of one size in bytes."""
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8), (number % 256, number // 256 % 256, number // 65536)).save(buffer, "bmp")
    return buffer.getvalue()


def planned_mb(images: str, out_dir: str) -> float:
    """Return the most memory of a dry run, in MB."""
    code = (
        "import resource, sys; from ipy_imgvar.cli import main; code = main(sys.argv[1:]);"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss); sys.exit(code)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, "bulk", images, "--out-dir", out_dir, "--dry-run", "--size", "64"],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return int(done.stdout.split()[-1]) / 1e3


def first_picture(faulty: Faulty, images: str, out_dir: str) -> int:
    """Return how many pages were listed when the first picture was put; the run is killed."""
    faulty.requests.clear()
    with start_run(images, out_dir) as run:
        while not faulty.stored("-1.png") and run.poll() is None:
            time.sleep(0.02)
        pages = sum(
            "list-type" in query and query.get("prefix", [""])[0].startswith("in/")
            for _, _, query in list(faulty.requests)
        )
        run.kill()
    return pages


def main() -> None:
    """Run one measurement in a folder that is removed afterwards."""
    names = {"overhead": overhead, "kills": kills, "crowd": crowd}
    if sys.argv[1:2] == ["one"]:
        one(*sys.argv[2:])
    elif len(sys.argv) < 3 or sys.argv[1] not in names:
        sys.exit(__doc__)
    else:
        with tempfile.TemporaryDirectory() as root:
            count, *others = map(int, sys.argv[2:])
            names[sys.argv[1]](count, Path(root), *others)


if __name__ == "__main__":
    main()
