"""What a sweep costs beside its runs alone, and whether its pictures are theirs.

    python benchmarks/sweep.py              # strength .2, .5, .85 by seed 1..4 at 256 px, of three photographs
    python benchmarks/sweep.py 512 gravel   # at another size, of one photograph

The runs alone are calls of `Client.variations` in a process of their own, each with one row of the sweep's frame. The
engine remembers what it finds in a source also from one call to the next, so the times are given twice: as it is, and
with each run alone in an engine that remembers nothing. CPU time includes that of all threads.
"""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import time

from skimage import data

from ipy_imgvar import Client
from ipy_imgvar.engines.patch import masks
from ipy_imgvar.results.history import keep_nothing

OVER = {"strength": [0.2, 0.5, 0.85], "seed": range(1, 5)}
ROUNDS = 3
PHOTOGRAPHS = ("chelsea", "coffee", "gravel")


def digest(picture: bytes) -> str:
    """Return what tells a picture's bytes from any other's."""
    return hashlib.sha256(picture).hexdigest()


def alone(name: str, side_px: int, rows: list[dict[str, float]], *, forgets: bool) -> tuple[float, list[str]]:
    """Make each row's picture by a call of its own; return the CPU seconds and the pictures' digests."""
    image, found = getattr(data, name)(), []
    with Client("patch") as client:
        begin = time.process_time()
        for row in rows:
            if forgets:
                masks._findings.clear()  # noqa: SLF001 - as in an engine that remembers nothing
            found.append(digest(client.variations(image, size=side_px, **row)[0].bytes))
        return time.process_time() - begin, found


def together(name: str, side_px: int) -> tuple[float, list[dict[str, float]], list[str]]:
    """Make the sweep; return the CPU seconds, the rows and the pictures' digests."""
    masks._findings.clear()  # noqa: SLF001 - the first sweep of a process begins with none
    with Client("patch") as client:
        begin = time.process_time()
        made = client.sweep(getattr(data, name)(), over=OVER, size=side_px, resume=False)
        spent = time.process_time() - begin
    return spent, [each.combination for each in made], [digest(each.bytes) for each in made]


def in_a_fresh_process(name: str, side_px: int, rows: list[dict[str, float]]) -> list[str]:
    """Return the digests of the rows' pictures as another process makes them."""
    done = subprocess.run(
        [sys.executable, __file__, "--alone", name, str(side_px), json.dumps(rows)],
        capture_output=True,
        check=True,
        text=True,
    )
    digests: list[str] = json.loads(done.stdout)
    return digests


def compare(name: str, side_px: int) -> bool:
    """Print the figures of one photograph; return whether all pictures are the same bytes."""
    together(name, side_px)  # Imports, and the first pages of memory.
    rounds = []
    for _ in range(ROUNDS):
        swept, rows, digests = together(name, side_px)
        rounds.append((swept, alone(name, side_px, rows, forgets=False)[0]))
        forgetful, others = alone(name, side_px, rows, forgets=True)
        rounds[-1] = (*rounds[-1], forgetful)
    swept, beside, forgetful = (min(each[at] for each in rounds) for at in range(3))
    equal = digests == others == in_a_fresh_process(name, side_px, rows)
    print(
        f"{name} {side_px} px: sweep {swept:.2f} s, {len(rows)} runs {beside:.2f} s (ratio {swept / beside:.2f}), "
        f"runs that remember nothing {forgetful:.2f} s ({swept / forgetful:.2f}), "
        f"bytes {'equal' if equal else 'DIFFER'}"
    )
    return equal


def main() -> None:
    """Run the comparison, or make the pictures of some rows for it."""
    keep_nothing()
    if sys.argv[1:2] == ["--alone"]:
        name, side_px, rows = sys.argv[2:]
        print(json.dumps(alone(name, int(side_px), json.loads(rows), forgets=False)[1]))
        return
    side_px = int(sys.argv[1]) if len(sys.argv) > 1 else 256
    results = [compare(name, side_px) for name in sys.argv[2:] or PHOTOGRAPHS]
    sys.exit(not all(results))


if __name__ == "__main__":
    main()
