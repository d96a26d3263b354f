"""Measure the history and its frame: seconds for runs of the store, beside the least that reading them takes.

    python benchmarks/frames.py [--runs 10000] [--pictures 2]

The records are written as the store writes them; no picture exists. The floor opens each record's file and parses each
of its lines as JSON. Every number is the least CPU time of three rounds of one process.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


def write_runs(root: Path, runs: int, pictures: int) -> None:
    """Write the records of some runs below a store's root."""
    for number in range(runs):
        folder = root / "runs" / f"20260101T{number:012d}-0000ab"
        folder.mkdir(parents=True)
        settings = {
            "n": pictures,
            "size": "512x512",
            "strength": 0.5,
            "seed": number,
            "fit": "crop",
            "options": {},
        }
        head = {
            "engine": "patch",
            "model": "patch-3",
            "started": f"2026-01-{number % 28 + 1:02d}T12:00:00+00:00",
            "status": "running",
            "request": {**settings, "response_format": None, "model": None, "prompt": None, "timeout": 0.0},
            "id": folder.name,
        }
        lines = [head, *({"picture": entry(number, index, settings)} for index in range(1, pictures + 1))]
        lines.append({"status": "done", "elapsed": 1.25, "usage": None, "warnings": []})
        (folder / "run.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))


def entry(number: int, index: int, settings: dict[str, object]) -> dict[str, object]:
    """Return a picture's line."""
    made = {
        "engine": "patch",
        "model": "patch-3",
        "options": {"flip": True, "tone": True},
        "subjects": "none",
    }
    return {
        "mime_type": "image/png",
        "size": [512, 512],
        "reduce_to": None,
        "index": index,
        "seed": number,
        "parameters": {**settings, **made, "source_sha256": "0" * 64, "index": index, "means": "shot"},
        "remote_url": None,
        "source": "cat.png",
        "source_path": "/photographs/cat.png",
        "seconds": 0.5,
        "file": f"{index}.png",
    }


def floor(root: Path) -> list[object]:
    """Read and parse every line of every record, and nothing else."""
    names = sorted((root / "runs").iterdir())
    return [json.loads(line) for name in names for line in (name / "run.jsonl").read_bytes().splitlines()]


def timed(work: Callable[[], object]) -> float:
    """Return the least CPU seconds of three rounds."""
    times = []
    for _ in range(3):
        start = time.process_time()
        work()
        times.append(time.process_time() - start)
    return min(times)


def main() -> None:
    """Print a line for each figure."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--runs", type=int, default=10_000)
    parser.add_argument("--pictures", type=int, default=2)
    arguments = parser.parse_args()
    import pandas as pd

    from ipy_imgvar.results.history import history, move_store

    with tempfile.TemporaryDirectory() as folder:
        write_runs(Path(folder), arguments.runs, arguments.pictures)
        move_store(Path(folder), 1 << 30)
        least = timed(lambda: floor(Path(folder)))
        read = timed(history)
        runs = history()
        framed = timed(runs.to_frame)
        frame = runs.to_frame()
        if len(frame) != arguments.runs * arguments.pictures:
            raise SystemExit(f"{len(frame)} rows of {arguments.runs} runs of {arguments.pictures} pictures")
    print(f"{arguments.runs} runs, {len(frame)} pictures, pandas {pd.__version__}; CPU seconds")
    print(f"  floor: read and parse   {least:6.2f}")
    print(f"  history()               {read:6.2f}  {read / least:5.2f} x the floor")
    print(f"  to_frame()              {framed:6.2f}  {framed / least:5.2f} x the floor")
    print(f"  both                    {read + framed:6.2f}  {(read + framed) / least:5.2f} x the floor")


if __name__ == "__main__":
    main()
