"""What bulk runs cost: throughput on one and two processes, the parent's memory, and planning.

    python benchmarks/bulk.py throughput 2000    # two processes for all; before, one and two in turn for a tenth
    python benchmarks/bulk.py plan 100000        # what a dry run costs an image
    python benchmarks/bulk.py cluster 200        # a Dask cluster of two workers, one of them killed midway
    python benchmarks/bulk.py hosted 1000        # a loopback server with 20 % 429, 5 % 500 and 2 % cut short

Compare only figures of one run of this script: the load of a machine changes.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import statistics
import sys
import tempfile
import threading
import time
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from ipy_imgvar import Client
from ipy_imgvar.bulk.counts import count_images

if TYPE_CHECKING:
    from ipy_imgvar.bulk import BulkResult

ROUNDS = 4


def resident_mb() -> float:
    """Return the memory that this process has in use."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 1e6


def photographs(folder: Path, count: int, side_px: int = 64) -> Path:
    """Write crops of a photograph, no two alike."""
    from skimage import data

    picture = Image.fromarray(data.chelsea())
    rng = np.random.default_rng(0)
    folder.mkdir()
    for number in range(count):
        zoom = int(rng.integers(100, 250))
        left, top = rng.integers(0, picture.width - zoom), rng.integers(0, picture.height - zoom)
        crop = picture.crop((left, top, left + zoom, top + zoom)).resize((side_px, side_px))
        crop.save(folder / f"{number:05}.png")
    return folder


def throughput(count: int, root: Path) -> None:
    """Compare two processes with one, in turn so that a busy machine disturbs both alike; watch the parent's memory."""
    files = sorted(map(str, photographs(root / "in", count).iterdir()))
    memory: list[float] = []
    speeds: dict[int, list[float]] = {1: [], 2: []}
    cpu: dict[int, float] = {1: 0.0, 2: 0.0}
    part = max(count // 40, 40)
    with Client("patch") as client:

        def run(images: list[str], name: str, workers: int) -> BulkResult:
            before, began = children_s(), time.monotonic()
            result = client.map(
                images,
                out_dir=root / name,
                max_workers=workers,
                size="64x64",
                on_progress=lambda *_: memory.append(resident_mb()),
            )
            speeds[workers].append(len(images) / (time.monotonic() - began))
            cpu[workers] += children_s() - before
            return result

        for number in range(ROUNDS):
            some = files[number * part : (number + 1) * part]
            run(some, "one", 1)
            run(some, "two", 2)
        ratios = [two / one for one, two in zip(speeds[1], speeds[2], strict=True)]
        compared = ROUNDS * part
        same = all(
            path.read_bytes() == (root / "two" / path.name).read_bytes()
            for path in (root / "one").glob("*.png")
        )
        memory.clear()
        began = time.monotonic()
        result = run(files, "all", 2)
        took = time.monotonic() - began
    lines = (root / "all" / "ledger.jsonl").read_text().splitlines()
    flat = memory[len(memory) // 20 :]
    print(f"{count} images of 64 px on two processes: {result.summary()}, {count / took:.2f}/s")
    print(
        f"two processes against one, {ROUNDS} rounds of {part} in turn: {statistics.median(ratios):.2f} times as fast"
    )
    print(f"  each round: {', '.join(f'{ratio:.2f}' for ratio in sorted(ratios))}; same bytes: {same}")
    print(f"CPU an image: {cpu[1] / compared:.3f} s on one, {cpu[2] / (compared + count):.3f} s on two")
    print(f"parent: {flat[0]:.1f} MB after a twentieth, {max(flat):.1f} MB at most")
    print(f"ledger: {len(lines)} lines, {len({json.loads(line)['item'] for line in lines})} items")


def children_s() -> float:
    """Return the CPU seconds of all processes that were started here and have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def planning(count: int, root: Path) -> None:
    """Time a dry run over empty files: nothing of them is read."""
    folder = root / "in"
    folder.mkdir()
    for number in range(count):
        (folder / f"{number:06}.png").touch()
    before, began = resident_mb(), time.process_time()
    found = count_images(str(folder), root / "out")
    took = time.process_time() - began
    print(
        f"{found.found} planned: {took / count * 1e6:.1f} us of CPU each, {resident_mb() - before:.1f} MB more"
    )


def cluster(count: int, root: Path) -> None:
    """Kill one of two Dask workers midway, and compare with a run without a cluster."""
    import distributed

    folder = photographs(root / "in", count)
    with (
        Client("patch") as client,
        distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as dask,
        distributed.Client(dask) as connection,
    ):
        single = client.map(str(folder), out_dir=root / "single", size="64x64")
        victim = min(connection.run(os.getpid).values())

        def kill() -> None:
            while len(list((root / "out").glob("*.png"))) < count // 2:
                time.sleep(0.05)
            os.kill(victim, signal.SIGKILL)

        threading.Thread(target=kill, daemon=True).start()
        result = client.map(
            str(folder), out_dir=root / "out", executor=connection.get_executor(), size="64x64"
        )
    lines = (root / "out" / "ledger.jsonl").read_text().splitlines()
    made = {path.name: path.read_bytes() for path in (root / "out").glob("*.png")}
    same = made == {path.name: path.read_bytes() for path in (root / "single").glob("*.png")}
    print(
        f"{count} images: {single.summary()} here; {result.summary()} on the cluster, a worker killed midway"
    )
    print(
        f"ledger: {len(lines)} lines, {len({json.loads(line)['item'] for line in lines})} items; same bytes: {same}"
    )


def hosted(count: int, root: Path) -> None:
    """Count what is posted to a server that refuses, fails and breaks off."""
    folder = photographs(root / "in", count)
    answers = Counter()
    server = FlakyServer(answers)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    base = f"http://127.0.0.1:{server.server_address[1]}/v1"
    with Client("openai", api_base=base, api_key="none", max_retry_count=5) as client:
        began = time.monotonic()
        result = client.map(str(folder), out_dir=root / "out", size="64x64")
        first = result.summary(), dict(answers), time.monotonic() - began
        again = client.map(str(folder), out_dir=root / "out", size="64x64")
    server.shutdown()
    print(
        f"{count} images: {first[0]}; answers {first[1]}; {sum(first[1].values())} POSTs in {first[2]:.0f} s"
    )
    print(f"the same again: {again.summary()}; answers of both {dict(answers)}")


class FlakyServer(ThreadingHTTPServer):
    """Answers with one picture, or not: 20 % 429, 5 % 500 and 2 % cut short, in a fixed order."""

    daemon_threads = True

    def __init__(self, answers: Counter[str]) -> None:
        super().__init__(("127.0.0.1", 0), FlakyHandler)
        self.answers = answers
        self.rng = np.random.default_rng(0)
        self.lock = threading.Lock()


class FlakyHandler(BaseHTTPRequestHandler):
    """See `FlakyServer`."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        """Answer one request."""
        self.rfile.read(int(self.headers["content-length"]))
        with self.server.lock:
            draw = self.server.rng.random()
            kind = "429" if draw < 0.2 else "500" if draw < 0.25 else "cut" if draw < 0.27 else "200"
            self.server.answers[kind] += 1
        time.sleep(0.02)
        body = json.dumps({"data": [{"b64_json": PICTURE}], "usage": {"total_tokens": 1}}).encode()
        if kind in ("429", "500"):
            body = json.dumps({"error": {"message": kind}}).encode()
        self.send_response(200 if kind in ("200", "cut") else int(kind))
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        if kind == "429":
            self.send_header("retry-after", "0.2")
        self.end_headers()
        self.wfile.write(body if kind != "cut" else body[: len(body) // 2])
        self.close_connection = kind == "cut"

    def log_message(self, *_: object) -> None:
        """Say nothing."""


PICTURE = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="


def main() -> None:
    """Run one measurement in a folder that is removed afterwards."""
    names = {"throughput": throughput, "plan": planning, "cluster": cluster, "hosted": hosted}
    if len(sys.argv) != 3 or sys.argv[1] not in names:
        sys.exit(__doc__)
    with tempfile.TemporaryDirectory() as root:
        names[sys.argv[1]](int(sys.argv[2]), Path(root))


if __name__ == "__main__":
    main()
