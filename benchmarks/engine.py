"""Measure the patch engine: seconds, memory, and the quality of its pictures on scikit-image's photographs.

    python benchmarks/engine.py                       everything, a few minutes
    python benchmarks/engine.py --only speed          seconds, memory and the lower bound
    python benchmarks/engine.py --only keep           means, artefact score and distances by photograph and strength
    python benchmarks/engine.py --only quality        the table of figures of arrangements by picture and strength
    python benchmarks/engine.py --only peer --peer FOLDER   beside Efficient-GPNN (its repository), with torch,
                                                      torchvision, faiss-cpu, opencv and tqdm installed

CPU seconds are the process's, after a warm-up on a small picture; each timing has its own process, so that
the peak memory is its own.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from PIL import Image

PHOTOGRAPHS = ("chelsea", "coffee", "astronaut", "rocket", "camera", "coins", "hubble_deep_field")
SIZES = (256, 512, 1024)
STRENGTHS = (0.2, 0.5, 0.8, 0.85, 1.0)
PEER_PX = 250
PEER_PICTURES = ("4", "6", "12", "14")
QUALITY_PX = 256
SEED = 7
KEEP_PX = 512
NAMED_STRENGTHS = {"subtle": 0.2, "medium": 0.5, "strong": 0.85}
KEEP_PHOTOGRAPHS = (*PHOTOGRAPHS, "brick", "grass", "gravel", "moon", "retina", "immunohistochemistry")
GREY = np.array([0.299, 0.587, 0.114])


def photograph(name: str, side_px: int) -> np.ndarray:
    """Return a photograph that ships with scikit-image, cut square, as float32 RGB, 0..1."""
    from skimage import data

    return square(Image.fromarray(getattr(data, name)()), side_px)


def square(picture: Image.Image, side_px: int) -> np.ndarray:
    """Return a picture cut square and reduced, as float32 RGB, 0..1."""
    picture = picture.convert("RGB")
    short = min(picture.size)
    left, top = (picture.width - short) // 2, (picture.height - short) // 2
    cut = picture.crop((left, top, left + short, top + short)).resize((side_px, side_px), Image.LANCZOS)
    return np.asarray(cut, np.float32) / 255


def make(source: np.ndarray, n: int, strength: float, **options: bool) -> list[np.ndarray]:
    """Return n pictures of a source, as uint8."""
    return [one.pixels for one in synthesised(source, n, strength, **options)]


def synthesised(source: np.ndarray, n: int, strength: float, **options: bool) -> list:
    """Return n pictures of a source, each with the means that made it."""
    from ipy_imgvar.engines.patch.scene import Scene, Settings
    from ipy_imgvar.engines.patch.synthesis import synthesise

    settings = Settings(strength=strength, seed=SEED, **options)
    return list(synthesise(Scene(source=source, shape=source.shape[:2]), settings, numbers=range(n)))


def run_one(side_px: int, n: int, strength: float) -> None:
    """Time one run in this process and print it as JSON."""
    started = time.process_time()
    from ipy_imgvar.engines.patch import synthesis  # noqa: F401 - timed

    imported = time.process_time() - started
    # Not scikit-image's loader: its imports would count in the peak.
    picture = Image.open(sys.stdin.buffer).resize((side_px, side_px), Image.LANCZOS)
    source = np.asarray(picture, np.float32) / 255
    make(np.ascontiguousarray(source[:96, :96]), 1, strength)
    cpu, wall = time.process_time(), time.perf_counter()
    make(source, n, strength)
    cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"import": imported, "cpu": cpu / n, "wall": wall / n, "peak": peak}))


def timed(name: str, side_px: int, n: int, strength: float) -> dict[str, float]:
    """Time one run in a process of its own."""
    from skimage import data

    path = Path(data.__file__).parent / f"{name}.png"
    command = [sys.executable, __file__, "--one", str(side_px), str(n), str(strength)]
    with path.open("rb") as picture:
        done = subprocess.run(command, stdin=picture, capture_output=True, check=True)
    return json.loads(done.stdout)


def machine() -> dict[str, float]:
    """Measure one core: products in GFLOP/s, gathers in million floats/s, copies in GB/s."""
    from ipy_imgvar.engines.patch.arrays.blas import single_threaded_blas

    rng = np.random.default_rng(0)
    left, right = rng.random((2, 2048, 2048), np.float32)
    table = rng.random((1_000_000, 16), np.float32)
    index = rng.integers(0, len(table), len(table))
    target = np.empty_like(table)

    def best(work: object) -> float:
        times = []
        for _ in range(4):
            start = time.perf_counter()
            work()  # type: ignore[operator]
            times.append(time.perf_counter() - start)
        return min(times)

    with single_threaded_blas():
        product = best(lambda: left @ right)
    gather = best(lambda: np.take(table, index, axis=0, out=target, mode="clip"))
    copy = best(lambda: np.copyto(target, table))
    return {
        "gflops": 2 * 2048**3 / product / 1e9,
        "mfloats": table.size / gather / 1e6,
        "gbs": table.nbytes / copy / 1e9,
    }


def lower_bound(side_px: int, speeds: dict[str, float], threads: int = 2) -> float:
    """Return the wall seconds that the plain method's least work takes at the machine's speed.

    The plain method (one view of the source, colours only, from 18 px on) matches every patch of every
    level: six products of all pairs at the exact levels, and above them, once for every patch, its 147 values
    copied, projected to 16 features, and the features of one candidate gathered. Nothing else is counted, and
    all threads are always busy. Inheriting the field avoids most of this at the large levels.
    """
    from ipy_imgvar.engines.patch.matching.pyramid import pyramid

    seconds = 0.0
    for level in pyramid(np.zeros((side_px, side_px, 3), np.float32), (side_px, side_px)):
        if level.pairs <= 2_500**2:
            seconds += 6 * level.pairs * 2 * 151 / (speeds["gflops"] * 1e9)
            continue
        patches = level.output[0] * level.output[1]
        seconds += patches * 147 * 4 / (speeds["gbs"] * 1e9)
        seconds += patches * 147 * 16 * 2 / (speeds["gflops"] * 1e9)
        seconds += patches * 16 / (speeds["mfloats"] * 1e6)
    return seconds / threads


def grey(image: np.ndarray) -> np.ndarray:
    """Return a picture's luma as float64, 0..1; uint8 pictures are scaled."""
    scaled = image / 255 if image.dtype == np.uint8 else image
    return np.asarray(scaled[..., :3], np.float64) @ GREY


def patch_swd(source: np.ndarray, picture: np.ndarray) -> float:
    """Return 1000 times the sliced Wasserstein distance of 7x7 RGB patches, meaned over a pyramid.

    128 fixed random unit projections, the mean absolute difference of sorted projections, halving until the
    short side is below 64.
    """
    rng = np.random.default_rng(0)
    directions = rng.normal(size=(147, 128)).astype(np.float32)
    directions /= np.linalg.norm(directions, axis=0)
    pair = [np.asarray(source, np.float32), picture.astype(np.float32) / 255]
    distances = []
    while True:
        left, right = (
            np.sort(sliding_window_view(one, (7, 7), axis=(0, 1)).reshape(-1, 147) @ directions, axis=0)
            for one in pair
        )
        distances.append(float(np.abs(left - right).mean()))
        if min(pair[0].shape[:2]) < 128:
            return 1000 * statistics.mean(distances)
        pair = [(one[::2, ::2] + one[1::2, ::2] + one[::2, 1::2] + one[1::2, 1::2]) / 4 for one in pair]


def new_share(source: np.ndarray, picture: np.ndarray) -> float:
    """Return the share of a picture, uint8 or float in 0..1, that is new against a source; see `images.similarity`."""
    from ipy_imgvar.images import codec, similarity

    eight_bit = (
        one if one.dtype == np.uint8 else np.rint(one * 255).astype(np.uint8) for one in (source, picture)
    )
    return similarity.new_share(*(similarity.look(codec.of_pixels(one)) for one in eight_bit))


def gradient(image: np.ndarray) -> float:
    """Return the mean absolute gradient of a picture's luma."""
    luma = grey(image)
    return float(np.abs(np.diff(luma, axis=0)).mean() + np.abs(np.diff(luma, axis=1)).mean())


def figures(source: np.ndarray, strength: float) -> dict[str, float | list[float]]:
    """Return the figures of four pictures of a source, tone off; without mirroring unless a name says so."""
    from skimage.metrics import structural_similarity

    pictures = make(source, 4, strength, tone=False, flip=False)
    turned = make(source, 4, strength, tone=False, flip=True)
    pairs = [(left, right) for number, left in enumerate(turned) for right in turned[:number]]
    return {
        "swd": statistics.mean(patch_swd(source, one) for one in pictures),
        "diversity": spread(source, pictures),
        "1-ssim": 1
        - statistics.mean(
            structural_similarity(grey(source), grey(one), gaussian_weights=True, sigma=1.5, data_range=1)
            for one in pictures
        ),
        "sharpness": statistics.mean(gradient(one) / gradient(source) for one in pictures),
        "share-": [new_share(source, one) for one in pictures],
        "share": [new_share(source, one) for one in turned],
        "apart": min(float(np.abs(left.astype(float) - right).mean()) for left, right in pairs),
        "siblings": min(new_share(left / np.float32(255), right) for left, right in pairs),
    }


def report_keep() -> None:
    """Print one line per photograph and strength, and a line for each strength.

    The artefact score is that of the pictures without a change of light. Eyes decide: see contact_sheet.py.
    """
    from ipy_imgvar.engines.patch.composition.artefacts import ArtefactJudge

    print(
        f"\nKept or thrown away, at {KEEP_PX} px, n=4. bears: how well the source bears a new arrangement, 0 to 1;"
    )
    print(
        "artefacts: likelihood of a visible defect of an arrangement, worst of four; source, apart: grey levels from"
    )
    print("the source and between siblings, the least; share: new share, median and least.")
    print(f"{'strength':8} {'photograph':20} bears means        artefacts source apart  share (least)")
    for label, strength in NAMED_STRENGTHS.items():
        counts: dict[str, int] = {}
        for name in KEEP_PHOTOGRAPHS:
            source = photograph(name, KEEP_PX)
            judge = ArtefactJudge(source)
            made = synthesised(source, 4, strength)
            unlit = synthesised(source, 4, strength, tone=False)
            worst = max(
                (judge.score(one.pixels / np.float32(255)) for one in unlit if one.means != "camera"),
                default=0,
            )
            everything = [np.asarray(source * 255), *(one.pixels.astype(float) for one in made)]
            apart = [
                [float(np.abs(one - two).mean()) for two in everything[:k]]
                for k, one in enumerate(everything)
            ]
            shares = [new_share(source, one.pixels) for one in unlit]
            means = "".join(one.means[0] for one in made)
            for one in made:
                counts[one.means] = counts.get(one.means, 0) + 1
            print(
                f"{label:8} {name:20} {judge.bears():5.2f} {means:12} {worst:9.2f} "
                f"{min(line[0] for line in apart[1:]):6.1f} {min(min(line[1:]) for line in apart[2:]):5.1f} "
                f"{statistics.median(shares):6.2f} {min(shares):7.2f}",
                flush=True,
            )
        print(f"{label:8} {', '.join(f'{means} {count}' for means, count in sorted(counts.items()))}")


def report_quality() -> None:
    """Print one line per picture and strength, and the medians."""
    print(f"\nQuality at {QUALITY_PX} px, n=4, tone off. share is the new share with mirroring allowed,")
    print("share- without; apart the grey levels between the nearest two siblings, siblings the least new")
    print("share of one against another.")
    print(
        f"{'strength':8} {'picture':18} swd*1000 divers 1-ssim sharp  share-  share  (least)  apart siblings"
    )
    for strength in STRENGTHS:
        shares: dict[str, list[float]] = {"share": [], "share-": []}
        for name in PHOTOGRAPHS:
            result = figures(photograph(name, QUALITY_PX), strength)
            for kind, values in shares.items():
                values.extend(result[kind])  # type: ignore[arg-type]
            print(
                f"{strength:8} {name:18} {result['swd']:8.1f} {result['diversity']:6.2f} "
                f"{result['1-ssim']:6.2f} "
                f"{result['sharpness']:5.2f} {statistics.median(result['share-']):7.2f} "
                f"{statistics.median(result['share']):6.2f} {min(result['share']):8.2f} {result['apart']:6.1f} "
                f"{result['siblings']:8.2f}",
                flush=True,
            )
        medians = ", ".join(f"{kind} {statistics.median(values):.3f}" for kind, values in shares.items())
        print(f"{strength:8} medians: {medians}")


def report_speed() -> None:
    """Print seconds and memory, and how far the 1024 px figure is from the lower bound."""
    print("Seconds per picture (CPU of the whole process, wall) and peak memory of the process, astronaut")
    print(f"{'side':>5} {'n':>2} {'strength':>8} {'cpu':>6} {'wall':>6} {'MiB':>5} {'import':>7}")
    walls = {}
    for side_px in SIZES:
        for n in (1, 4):
            for strength in (0.5, 0.85):
                result = timed("astronaut", side_px, n, strength)
                walls[side_px, n, strength] = result["wall"]
                print(
                    f"{side_px:5} {n:2} {strength:8} {result['cpu']:6.2f} {result['wall']:6.2f} "
                    f"{result['peak']:5.0f} {result['import']:7.3f}",
                    flush=True,
                )
    speeds = machine()
    bound = lower_bound(1024, speeds)
    print(
        f"one core: {speeds['gflops']:.0f} GFLOP/s, gathers {speeds['mfloats']:.0f} million floats/s, "
        f"copies {speeds['gbs']:.1f} GB/s"
    )
    print(
        f"lower bound at 1024 px: {bound:.3f} s wall; "
        f"n=4 takes {walls[1024, 4, 0.5] / bound:.1f} times that, "
        f"n=1 {walls[1024, 1, 0.5] / bound:.1f} times"
    )


def peer_pictures(source: np.ndarray, n: int) -> list[np.ndarray]:
    """Return pictures made by Efficient-GPNN with the settings of its command line, on one thread."""
    import faiss
    import torch
    from GPNN import generate
    from utils.image import get_pyramid_scales
    from utils.NN_modules import FaissIVF

    torch.set_num_threads(1)
    faiss.omp_set_num_threads(1)
    pictures = []
    for seed in range(n):
        torch.manual_seed(seed)
        image = generate(
            torch.from_numpy(np.moveaxis(source, -1, 0)[None].copy()) * 2 - 1,
            FaissIVF(),
            pyramid_scales=get_pyramid_scales(source.shape[0], 14, 0.75),
            keys_blur_factor=0.75,
            additive_noise_sigma=0.75,
        )[0]
        pictures.append(
            np.rint(np.clip((np.moveaxis(image.numpy(), 0, -1) + 1) / 2, 0, 1) * 255).astype(np.uint8)
        )
    return pictures


def spread(source: np.ndarray, pictures: list[np.ndarray]) -> float:
    """Return the pictures' diversity: the standard deviation over them of each pixel, over the source's."""
    return float(np.stack([grey(one) for one in pictures]).std(axis=0).mean() / grey(source).std())


def report_peer(folder: Path) -> None:
    """Run Efficient-GPNN (faiss IVF, one thread) and the engine on four of its pictures, without tone and flip."""
    sys.path.insert(0, str(folder))
    print(f"\nBeside Efficient-GPNN at {PEER_PX} px, n=4: CPU s a picture, swd*1000, diversity")
    for name in PEER_PICTURES:
        source = square(Image.open(folder / "images" / "SIGD16" / f"{name}.jpg"), PEER_PX)
        start = time.process_time()
        theirs = peer_pictures(source, 4)
        seconds = (time.process_time() - start) / 4
        swd = statistics.mean(patch_swd(source, one) for one in theirs)
        print(f"image {name:>2}: peer {seconds:5.1f} s {swd:5.1f} {spread(source, theirs):.2f}", end="")
        for strength in (0.5, 0.8):
            make(source[:96, :96], 1, strength)
            start = time.process_time()
            ours = make(source, 4, strength, tone=False, flip=False)
            our_seconds = (time.process_time() - start) / 4
            swd = statistics.mean(patch_swd(source, one) for one in ours)
            print(
                f" | at {strength} {our_seconds:.2f} s ({seconds / our_seconds:.0f} times faster) "
                f"{swd:5.1f} {spread(source, ours):.2f}",
                end="",
            )
        print(flush=True)


def main() -> None:
    """Parse the command line and print the reports asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", choices=["speed", "keep", "quality", "peer"])
    parser.add_argument("--peer", type=Path, metavar="FOLDER", help="a checkout of Efficient-GPNN")
    parser.add_argument("--one", nargs=3, metavar=("SIDE", "N", "STRENGTH"), help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.one:
        side_px, n, strength = chosen.one
        run_one(int(side_px), int(n), float(strength))
        return
    if chosen.only in (None, "speed"):
        report_speed()
    if chosen.only in (None, "keep"):
        report_keep()
    if chosen.only in (None, "quality"):
        report_quality()
    if chosen.peer:
        report_peer(chosen.peer)


if __name__ == "__main__":
    main()
