"""What the panel costs: CPU until it is there, time from a picture to its card, threads and memory, and Cancel.

Run with `python benchmarks/panel.py`; it exits with an error when a bound is broken. No browser, no network; only the
CPU until the panel is there is measured in kernels.
"""

from __future__ import annotations

import gc
import os
import sys
import threading
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np
from jupyter_client.manager import start_new_kernel

from ipy_imgvar import Client, VariationPanel
from ipy_imgvar.engine import Capabilities
from ipy_imgvar.engines import make_engine
from ipy_imgvar.results import history
from ipy_imgvar.settings import Connection

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

READY_MAX_MS = 400
CARD_MAX_MS = 150
CANCEL_MAX_S = 0.3
MEMORY_MAX_GROWTH = 0.20
RUNS = 60

READY = """
import time
before = time.process_time()
get_ipython().run_line_magic("imagevariation", "--panel")
print((time.process_time() - before) * 1000)
"""


def now() -> tuple[float, float]:
    """Return the clock's time, and the CPU time of this thread, both in seconds."""
    return time.perf_counter(), time.thread_time()


class TimedEngine:
    """The engine patch, which notes the time at which it gives away each picture."""

    def __init__(self) -> None:
        self._patch = make_engine("patch", Connection())
        self.name = self._patch.name
        self.capabilities, self.check = self._patch.capabilities, self._patch.check
        self.model, self.close = self._patch.model, self._patch.close
        self.times: list[tuple[float, float]] = []

    def generate(self, request: Any, job: Any) -> Generator[Any]:
        """Make the pictures."""
        for picture in self._patch.generate(request, job):
            self.times.append(now())
            yield picture


class TimedPanel(VariationPanel):
    """A panel that notes the time of the message that brings each card's picture to the page."""

    def _tell(self, content: dict[str, Any], buffers: Sequence[bytes] = ()) -> None:
        is_card = content["type"] == "picture" and content["id"] in {card.id for card in self.state.cards}
        self.__dict__.setdefault("times", []).extend([now()] * is_card)
        super()._tell(content, buffers)


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
    """Return the least CPU time from the end of `%load_ext` to a panel, in fresh kernels with an empty store."""
    times = []
    for _ in range(rounds):
        folder = TemporaryDirectory()
        manager, client = start_new_kernel(env={**os.environ, "IPY_IMGVAR_STORE": folder.name})
        printed: list[str] = []
        client.execute_interactive("%load_ext ipy_imgvar")
        client.execute_interactive(
            READY,
            output_hook=lambda message, printed=printed: printed.append(message["content"].get("text", "")),
        )
        times.append(float("".join(printed)))
        client.stop_channels()
        manager.shutdown_kernel(now=True)
        client.context.destroy()
        folder.cleanup()
    # Other work of the machine adds to the CPU time too, by the caches and cores that it shares.
    return min(times)


def card_ms(photo: Any) -> tuple[float, float]:
    """Return the longest times, on the clock and of CPU, from a picture to the message with its card.

    Of 8 pictures of 1024 px. The clock also has the engine's work at the next picture, and all else that runs.
    """
    engine = TimedEngine()
    panel: Any = TimedPanel(photo, Client(engine), size=1024, n=8)
    wait(panel)
    panel.actions.run()
    wait(panel)
    panel.close()
    pairs = list(zip(engine.times, panel.times, strict=True))
    clock, cpu = (max(told[kind] - made[kind] for made, told in pairs) * 1000 for kind in (0, 1))
    return clock, cpu


def many_runs(photo: Any) -> tuple[list[int], list[float]]:
    """Return the threads and the memory after the tenth and the last of many runs."""
    panel = VariationPanel(photo, engine="patch", size=128, n=4)
    wait(panel)
    threads, memory = [], []
    for number in range(1, RUNS + 1):
        panel.actions.run()
        wait(panel)
        assert len(panel.state.of_group(panel.state.groups[0].id)) == 4, panel.state.error  # noqa: S101
        if number in (10, RUNS):
            time.sleep(0.3)
            threads.append(threading.active_count())
            memory.append(memory_mb())
    panel.close()
    return threads, memory


def cancel_s(photo: Any, client: Client | None, pauses_s: Sequence[float]) -> float:
    """Return the longest time from Cancel until the panel can run again."""
    panel = VariationPanel(photo, client, size=1024, n=4)
    wait(panel)
    longest = 0.0
    for pause_s in pauses_s:
        panel.actions.run()
        time.sleep(pause_s)
        clicked = time.monotonic()
        panel.actions.cancel()
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
        card, card_cpu = card_ms(photo)
        threads, memory = many_runs(photo)
        growth = memory[1] / memory[0] - 1
        offline = cancel_s(photo, Client("patch"), [0.05, 0.3, 0.8, 1.5])
        stalled = cancel_s(photo, Client(StalledEngine()), [0.05, 0.3])  # type: ignore[arg-type]
    print(f"ready after %load_ext: {ready:.0f} ms of CPU (at most {READY_MAX_MS})")
    print(f"a card comes {card:.0f} ms after its picture: {card_cpu:.0f} ms of CPU (at most {CARD_MAX_MS})")
    print(f"threads after 10 and {RUNS} runs: {threads[0]}, {threads[1]}")
    print(f"memory after 10 and {RUNS} runs: {memory[0]:.0f}, {memory[1]:.0f} MB ({growth:+.1%})")
    print(f"Cancel answers in {offline:.2f} s offline, {stalled:.2f} s when stalled (at most {CANCEL_MAX_S})")
    broken = (
        ready > READY_MAX_MS
        or card_cpu > CARD_MAX_MS
        or threads[1] > threads[0]
        or growth > MEMORY_MAX_GROWTH
        or max(offline, stalled) > CANCEL_MAX_S
    )
    sys.exit(1 if broken else 0)


if __name__ == "__main__":
    main()
