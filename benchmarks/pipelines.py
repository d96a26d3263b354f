"""Measure what the engine diffusers adds to a call of the same pipeline.

    python benchmarks/pipelines.py [--rounds 20] [--pictures 3] [--side 96] [--steps 4]

Tiny pipelines of random weights are made and loaded from disk. The direct call gets the arguments that the engine
recorded, and makes the same pixels, which is checked. Both take turns, and medians of CPU seconds are given, since the
machine may be shared. The encoding of PNGs is measured on its own and taken off. Limits: 3 % or 30 ms a picture; the
first step of a second run begins within 100 ms, of which a pipeline's own preparation, such as reading the prompt, has
its part: the last column is that of the direct call.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    from PIL.Image import Image

    from ipy_imgvar import Client, Variation

PIPELINES: Final = ("stable", "consistency", "image-variation", "stable-unclip", "klein", "z-image")
#: Entries of a picture's record of its call that are no arguments.
NOT_ARGUMENTS: Final = ("pipeline", "prompt_version", "adapter", "adapter_scale")
SEED: Final = 7


@dataclass(frozen=True)
class Row:
    """CPU milliseconds a picture, and milliseconds to the first step of a second run, ours and the direct call's."""

    name: str
    direct_ms: float
    ours_ms: float
    encoding_ms: float
    first_step_ms: float
    direct_step_ms: float

    def __str__(self) -> str:
        added = self.ours_ms - self.direct_ms
        within = added <= 30 or added <= 0.03 * self.direct_ms
        return (
            f"{self.name:16} {self.direct_ms:10.1f} {self.ours_ms:10.1f} {added:9.1f} "
            f"{self.ours_ms / self.direct_ms:7.3f} {self.encoding_ms:10.1f} {self.first_step_ms:11.1f} "
            f"{self.direct_step_ms:8.1f}"
            f"   {'' if within else 'over the limit'}"
        )


def photograph(side: int) -> Image:
    """Return a picture whose pixels no pipeline resamples: its sides are multiples of 16."""
    from skimage import data

    from ipy_imgvar.images.codec import of_pixels, resize

    return resize(of_pixels(data.chelsea()[:, 75:375]), (side, side))


def cpu_ms(call: Callable[[], object], pictures: int) -> float:
    """Return the CPU milliseconds of a call, for one picture."""
    start = time.process_time()
    call()
    return (time.process_time() - start) * 1000 / pictures


def direct(folder: Path, source: Image, record: dict[str, Any]) -> tuple[Callable[[int], Image], Any]:
    """Return a function that makes the picture of a seed by the pipeline itself, and the pipeline."""
    import diffusers
    import torch

    diffusers.utils.logging.disable_progress_bar()
    diffusers.utils.logging.set_verbosity_error()
    pipeline = diffusers.DiffusionPipeline.from_pretrained(folder, use_safetensors=True)
    cls = getattr(diffusers, record["pipeline"])
    pipeline = pipeline if type(pipeline) is cls else cls.from_pipe(pipeline)
    pipeline.set_progress_bar_config(disable=True)
    arguments = {name: value for name, value in record.items() if name not in NOT_ARGUMENTS}

    def make(seed: int) -> Image:
        generator = torch.Generator("cpu").manual_seed(seed)
        picture: Image = pipeline(image=source, generator=generator, **arguments).images[0]
        return picture

    return make, pipeline


def direct_step_ms(make: Callable[[int], Image], pipeline: Any) -> float:
    """Return the milliseconds from a direct call's beginning to its first step, which makes its bar."""
    seen: list[float] = []
    bar = pipeline.progress_bar

    def timed(*arguments: Any, **named: Any) -> Any:
        seen.append(time.perf_counter())
        return bar(*arguments, **named)

    pipeline.progress_bar = timed
    start = time.perf_counter()
    make(SEED)
    pipeline.progress_bar = bar
    return (seen[0] - start) * 1000


def first_step_ms(run: Callable[..., object]) -> float:
    """Return the milliseconds from a run's beginning to its first step."""
    seen: list[float] = []

    def on_progress(_share: float, text: str) -> None:
        if "step 0" in text or "step 1 " in text:
            seen.append(time.perf_counter())

    start = time.perf_counter()
    run(on_progress=on_progress)
    return (seen[0] - start) * 1000


def measured(client: Client, folder: Path, asked: argparse.Namespace) -> Row:
    """Return a pipeline's row."""
    from ipy_imgvar.images.codec import encode_png

    source, pictures = photograph(asked.side), asked.pictures
    settings: dict[str, Any] = {"n": pictures, "seed": SEED, "model": str(folder)}
    settings |= {"size": f"{asked.side}x{asked.side}", "options": {"side": asked.side, "steps": asked.steps}}

    def ours(**more: Any) -> list[Variation]:
        return list(client.variations(source, **settings, **more))

    made = ours()
    make, pipeline = direct(folder, source, made[0].parameters["call"])
    straight = [make(SEED + number).convert("RGB") for number in range(pictures)]
    for ours_picture, picture in zip(made, straight, strict=True):
        if not np.array_equal(np.asarray(ours_picture.image), np.asarray(picture)):
            print(
                f"{folder.name}: the direct call makes other pixels; its row compares unlike things",
                file=sys.stderr,
            )
    calls = {
        "direct": lambda: [make(SEED + number) for number in range(pictures)],
        "ours": ours,
        "encoding": lambda: [encode_png(each, made[0].parameters) for each in straight],
    }
    spent: dict[str, list[float]] = {name: [] for name in calls}
    for turn in range(asked.rounds):
        for name in sorted(calls, reverse=bool(turn % 2)):
            spent[name].append(cpu_ms(calls[name], pictures))
    encoding = statistics.median(spent["encoding"])
    direct_ms = statistics.median(spent["direct"])
    # Of each round, so that what slowed one call slowed the other as well.
    pairs = zip(spent["ours"], spent["direct"], strict=True)
    added = statistics.median(mine - other for mine, other in pairs) - encoding
    first = statistics.median(first_step_ms(ours) for _ in range(5))
    first_of_direct = statistics.median(direct_step_ms(make, pipeline) for _ in range(5))
    return Row(folder.name, direct_ms, direct_ms + added, encoding, first, first_of_direct)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--pictures", type=int, default=3)
    parser.add_argument("--side", type=int, default=96, help="pixels, a multiple of 16")
    parser.add_argument("--steps", type=int, default=4)
    parser.add_argument("--only", choices=PIPELINES)
    asked = parser.parse_args()
    sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "engines" / "diffusers"))
    import tiny
    import torch

    from ipy_imgvar import Client

    # Threads that wait for each other spend CPU seconds, the more the busier the machine.
    torch.set_num_threads(1)
    size = f"{asked.side}x{asked.side}, {asked.steps} steps, {asked.pictures} pictures a run"
    print(f"{size}; CPU ms a picture, medians of {asked.rounds} rounds; first step in ms")
    names = ("direct", "ours", "added", "ratio", "encoding", "first step", "direct's")
    print(
        f"{'pipeline':16} {names[0]:>10} {names[1]:>10} {names[2]:>9} {names[3]:>7} {names[4]:>10} {names[5]:>11} "
        f"{names[6]:>8}"
    )
    with tempfile.TemporaryDirectory() as folder:
        os.environ["IPY_IMGVAR_STORE"] = f"{folder}/store"
        for name in [asked.only] if asked.only else PIPELINES:
            with Client("diffusers") as client:
                made = tiny.make(name, Path(folder) / name)
                print(measured(client, made, asked), flush=True)


if __name__ == "__main__":
    main()
