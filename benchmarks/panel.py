"""What the panel costs: CPU until it is there, time from a picture to its card, threads and memory, and Cancel.

Run with `python benchmarks/panel.py`; it exits with an error when a bound is broken. No browser, no network; only the
CPU until the panel is there is measured in kernels.
"""

from __future__ import annotations

import gc
import statistics
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


class TimedEngine:
    """The engine patch, which notes the time at which it gives away each picture."""

    def __init__(self) -> None:
        self._patch = make_engine("patch", Connection())
        self.name = self._patch.name
        self.capabilities, self.check = self._patch.capabilities, self._patch.check
        self.model, self.close = self._patch.model, self._patch.close
        self.times: list[float] = []

    def generate(self, request: Any, job: Any) -> Generator[Any]:
        """Make the pictures."""
        for picture in self._patch.generate(request, job):
            self.times.append(time.perf_counter())
            yield picture


class TimedPanel(VariationPanel):
    """A panel that notes the time of the message that brings each card's picture to the page."""

    def _tell(self, content: dict[str, Any], buffers: Sequence[bytes] = ()) -> None:
        is_card = content["type"] == "picture" and content["id"] in {card.id for card in self.state.cards}
        self.__dict__.setdefault("times", []).extend([time.perf_counter()] * is_card)
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
    """Return the median CPU time from the end of `%load_ext` to a panel, in fresh kernels."""
    times = []
    for _ in range(rounds):
        manager, client = start_new_kernel()
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
    return statistics.median(times)


def card_ms(photo: Any) -> float:
    """Return the longest time from a picture to the message with its card's picture, for 8 pictures of 1024 px."""
    engine = TimedEngine()
    panel: Any = TimedPanel(photo, Client(engine), size=1024, n=8)
    wait(panel)
    panel.actions.run()
    wait(panel)
    panel.close()
    return max(told - made for made, told in zip(engine.times, panel.times, strict=True)) * 1000


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
        card = card_ms(photo)
        threads, memory = many_runs(photo)
        growth = memory[1] / memory[0] - 1
        offline = cancel_s(photo, Client("patch"), [0.05, 0.3, 0.8, 1.5])
        stalled = cancel_s(photo, Client(StalledEngine()), [0.05, 0.3])  # type: ignore[arg-type]
    print(f"ready after %load_ext: {ready:.0f} ms of CPU (at most {READY_MAX_MS})")
    print(f"a card comes {card:.0f} ms after its picture (at most {CARD_MAX_MS})")
    print(f"threads after 10 and {RUNS} runs: {threads[0]}, {threads[1]}")
    print(f"memory after 10 and {RUNS} runs: {memory[0]:.0f}, {memory[1]:.0f} MB ({growth:+.1%})")
    print(f"Cancel answers in {offline:.2f} s offline, {stalled:.2f} s when stalled (at most {CANCEL_MAX_S})")
    broken = (
        ready > READY_MAX_MS
        or card > CARD_MAX_MS
        or threads[1] > threads[0]
        or growth > MEMORY_MAX_GROWTH
        or max(offline, stalled) > CANCEL_MAX_S
    )
    sys.exit(1 if broken else 0)


if __name__ == "__main__":
    main()
