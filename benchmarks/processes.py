"""What a second process brings a bulk run: one, two, and two runs that know nothing of each other, in turn.

    python benchmarks/processes.py --count 24 --rounds 5     # photographs of 512 px, pictures of 512 px

On a shared machine the wall clock alone says little. So the time for which a worker stood ready and had no core is
taken off, and idle is only what a worker waited for its parent or for the end. A fixed sum, timed before and after
each run, tells how fast the processor was: other machines on it change that by a factor of two within seconds, and
then a ratio of two runs says nothing about processes. Linux only, since it reads `/proc`.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

from bulk import children_s, photographs

from ipy_imgvar import Client

SIDE_PX = 512
#: Rounds whose processor kept its speed to this factor are compared; the others are only shown.
STEADY = 1.25


def yardstick_s() -> float:
    """Return the CPU seconds of a fixed sum, which uses neither memory nor cache."""
    began, total = time.thread_time(), 0
    for number in range(500_000):
        total += number * number % 7
    return time.thread_time() - began


class Watch(threading.Thread):
    """Looks at the workers' clocks a few times a second, since those of an ended process are gone."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        #: Time of day, seconds worked and seconds waited for a core, at the first and at the last look at a worker.
        self._first: dict[int, tuple[float, float, float]] = {}
        self._last: dict[int, tuple[float, float, float]] = {}
        self._over = threading.Event()

    def run(self) -> None:
        """Look until `stop`."""
        while not self._over.wait(0.05):
            for task in Path("/proc/self/task").iterdir():
                try:
                    for pid in map(int, (task / "children").read_text().split()):
                        self._look(pid)
                except (OSError, ValueError):  # It has just ended.
                    continue

    def _look(self, pid: int) -> None:
        worked, waited, _ = Path(f"/proc/{pid}/schedstat").read_text().split()
        self._last[pid] = (time.monotonic(), int(worked) / 1e9, int(waited) / 1e9)
        self._first.setdefault(pid, self._last[pid])

    def stop(self) -> dict[str, float]:
        """Return the seconds for which the average worker waited for a core, and all together were idle."""
        self._over.set()
        self.join()
        spans = [
            [late - early for late, early in zip(last, self._first[pid], strict=True)]
            for pid, last in self._last.items()
        ]
        return {
            "waited": statistics.mean(waited for _, _, waited in spans),
            "idle": sum(max(0.0, life - worked - waited) for life, worked, waited in spans),
        }


def single(workers: int, out_dir: str, files: list[str]) -> dict[str, float]:
    """Run once, in this process and its workers."""
    with Client("patch") as client:
        watch = Watch()
        watch.start()
        before, began = time.thread_time(), time.monotonic()
        client.map(files, out_dir=out_dir, max_workers=workers, size=f"{SIDE_PX}x{SIDE_PX}")
        parent, wall = time.thread_time() - before, time.monotonic() - began
        faults = resource.getrusage(resource.RUSAGE_CHILDREN).ru_minflt
        return {"wall": wall, "parent": parent, "cpu": children_s(), "faults": faults, **watch.stop()}


def measured(workers: int, parts: list[list[str]], out: Path) -> dict[str, float]:
    """Run each part in an interpreter of its own, all at once, and return their shares together."""
    before = yardstick_s()
    runs = [
        subprocess.Popen(
            [sys.executable, __file__, "run", str(workers), f"{out}-{number}", *files],
            stdout=subprocess.PIPE,
            text=True,
        )
        for number, files in enumerate(parts)
    ]
    shares = [json.loads(run.communicate()[0]) for run in runs]
    together = {name: sum(share[name] for share in shares) for name in shares[0]}
    together |= {"wall": max(share["wall"] for share in shares), "waited": together["waited"] / len(shares)}
    speeds = sorted((before, yardstick_s()))
    return together | {
        "yardstick": speeds[1],
        "steady": speeds[1] / speeds[0],
        "ready": together["wall"] - together["waited"],
    }


def main() -> None:
    """Print the table, or be one of its runs."""
    if sys.argv[1:2] == ["run"]:
        print(json.dumps(single(int(sys.argv[2]), sys.argv[3], sys.argv[4:])))
        return
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--count", type=int, default=24)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    count = options.count
    with tempfile.TemporaryDirectory() as root:
        files = sorted(map(str, photographs(Path(root, "in"), count, SIDE_PX).iterdir()))
        ways = {
            "one process": (1, [files]),
            "two processes": (2, [files]),
            "two runs apart": (1, [files[::2], files[1::2]]),
        }
        rounds: dict[str, list[dict[str, float]]] = {way: [] for way in ways}
        print(
            f"{count} photographs of {SIDE_PX} px, {os.cpu_count()} cores, {options.rounds} rounds in turn; seconds"
        )
        print(
            f"{'':16}{'wall':>7}{'ready':>7}{'CPU':>7}{'cores':>7}{'idle':>6}{'parent':>8}{'faults':>8}{'sum':>8}"
        )
        for number in range(options.rounds):
            for way, (workers, parts) in ways.items():
                each = measured(workers, parts, Path(root, f"{way}-{number}"))
                rounds[way].append(each)
                print(
                    f"{way:16}{each['wall']:7.2f}{each['ready']:7.2f}{each['cpu']:7.2f}"
                    f"{each['cpu'] / each['ready']:7.2f}{each['idle']:6.2f}{each['parent']:8.3f}"
                    f"{each['faults']:8.0f}{each['yardstick']:8.3f}",
                    flush=True,
                )
    verdict(rounds)


def verdict(rounds: dict[str, list[dict[str, float]]]) -> None:
    """Print how many times as fast as one process the others are."""
    one = rounds.pop("one process")
    for way, several in rounds.items():
        pairs = [
            alone["ready"] / each["ready"]
            for alone, each in zip(one, several, strict=True)
            if max(alone["yardstick"], each["yardstick"])
            < STEADY * min(alone["yardstick"], each["yardstick"])
            and max(alone["steady"], each["steady"]) < STEADY
        ]
        walls = [alone["wall"] / each["wall"] for alone, each in zip(one, several, strict=True)]
        cores = statistics.median(each["cpu"] / each["ready"] for each in several)
        best = min(each["wall"] for each in one) / min(each["wall"] for each in several)
        print(
            f"{way} against one process: {statistics.median(walls):.2f} times as fast by the wall clock, ",
            end="",
        )
        print(f"{best:.2f} by the best rounds; {cores:.2f} cores kept busy")
        print(f"  without the waits for a core, {len(pairs)} rounds of one speed: ", end="")
        print(", ".join(f"{pair:.2f}" for pair in sorted(pairs)) or "none")


if __name__ == "__main__":
    main()
