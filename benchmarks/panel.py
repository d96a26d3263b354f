"""What the panel costs: CPU until it is there, threads and memory over 50 runs, and how fast Cancel answers.

Run with `python benchmarks/panel.py`; it exits with an error when a bound is broken. No kernel, no browser, no network.
"""

from __future__ import annotations

import gc
import statistics
import subprocess
import sys
import threading
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np

from ipy_imgvar import Client, VariationPanel
from ipy_imgvar.engine import Capabilities
from ipy_imgvar.results import history

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

READY_MAX_MS = 600
CANCEL_MAX_S = 0.3
MEMORY_MAX_GROWTH = 0.20
RUNS = 50

READY = """
import sys, time
from IPython.core.interactiveshell import InteractiveShell
from traitlets.config import Config
shell = InteractiveShell.instance(config=Config({"HistoryManager": {"enabled": False}}))
shell.run_line_magic("load_ext", "ipy_imgvar")
before = time.process_time()
shell.run_cell("panel = %imagevariation --panel --quiet")
assert "panel" in shell.user_ns
print((time.process_time() - before) * 1000)
"""


class StalledEngine:
    """An engine whose one request never answers and looks at no switch."""

    name = "stalled"

    def capabilities(self, model: str | None = None) -> Capabilities:  # noqa: ARG002
        """Take nothing but an image."""
        return Capabilities()

    def check(self, request: Any) -> None:
        """Refuse nothing."""

    def model(self, request: Any) -> str:  # noqa: ARG002
        """Return a name."""
        return "stalled-1"

    def generate(self, request: Any, job: Any) -> Generator[Any]:  # noqa: ARG002
        """Wait."""
        time.sleep(20)
        yield from ()

    def close(self) -> None:
        """Hold nothing."""


def wait(panel: VariationPanel) -> None:
    """Wait for the source, or for the run."""
    while panel.state.loading or panel.state.busy:
        time.sleep(0.002)


def memory_mb() -> float:
    """Return the resident memory of this process."""
    gc.collect()
    text = Path("/proc/self/status").read_text("utf-8")
    return int(text.split("VmRSS:")[1].split()[0]) / 1024


def ready_ms(rounds: int = 5) -> float:
    """Return the median CPU time from `%load_ext` to a panel, in fresh processes."""
    times = [
        float(
            subprocess.run([sys.executable, "-c", READY], capture_output=True, text=True, check=True).stdout
        )
        for _ in range(rounds)
    ]
    return statistics.median(times)


def many_runs(photo: Any) -> tuple[list[int], list[float]]:
    """Return the threads and the memory after the tenth and the last of many runs."""
    panel = VariationPanel(photo, engine="patch", size=128, n=4)
    wait(panel)
    threads, memory = [], []
    for number in range(1, RUNS + 1):
        panel.run.click()
        wait(panel)
        assert len(panel.state.cards) == 4, panel.state.error  # noqa: S101
        if number in (10, RUNS):
            time.sleep(0.3)
            threads.append(threading.active_count())
            memory.append(memory_mb())
    panel.close()
    return threads, memory


def cancel_s(photo: Any, client: Client | None, pauses_s: Sequence[float]) -> float:
    """Return the longest time from a click on Cancel until the panel can run again."""
    panel = VariationPanel(photo, client, size=1024, n=4)
    wait(panel)
    longest = 0.0
    for pause_s in pauses_s:
        panel.run.click()
        time.sleep(pause_s)
        clicked = time.monotonic()
        panel.cancel.click()
        wait(panel)
        longest = max(longest, time.monotonic() - clicked)
    panel.close()
    return longest


def main() -> None:
    """Print the figures, and exit with an error when one is out of bounds."""
    photo = (np.indices((400, 600)).sum(axis=0) % 256).astype(np.uint8)
    photo = np.stack([photo, photo[::-1], photo[:, ::-1]], axis=2)
    with TemporaryDirectory() as folder:
        history.move_store(Path(folder), 10**9)
        ready = ready_ms()
        threads, memory = many_runs(photo)
        growth = memory[1] / memory[0] - 1
        offline = cancel_s(photo, Client("patch"), [0.05, 0.3, 0.8, 1.5])
        stalled = cancel_s(photo, Client(StalledEngine()), [0.05, 0.3])  # type: ignore[arg-type]
    print(f"ready after %load_ext: {ready:.0f} ms of CPU (at most {READY_MAX_MS})")
    print(f"threads after 10 and {RUNS} runs: {threads[0]}, {threads[1]}")
    print(f"memory after 10 and {RUNS} runs: {memory[0]:.0f}, {memory[1]:.0f} MB ({growth:+.1%})")
    print(f"Cancel answers in {offline:.2f} s offline, {stalled:.2f} s when stalled (at most {CANCEL_MAX_S})")
    broken = (
        ready > READY_MAX_MS
        or threads[1] > threads[0]
        or growth > MEMORY_MAX_GROWTH
        or max(offline, stalled) > CANCEL_MAX_S
    )
    sys.exit(1 if broken else 0)


if __name__ == "__main__":
    main()
