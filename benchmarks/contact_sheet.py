"""Make the sheet of pictures that a person judges the patch engine by.

    python benchmarks/contact_sheet.py sheet.png
    python benchmarks/contact_sheet.py sheet.jpg --strengths 0.5 --columns 1 --pictures coffee rocket --side
    160

Each row shows a source, then its pictures at one strength.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from PIL import Image

PICTURES = ("chelsea", "coffee", "astronaut", "rocket", "camera", "coins", "hubble_deep_field")
GAP_PX = 4


def load(name: str, side_px: int) -> np.ndarray:
    """Return a photograph of scikit-image, or a file, cut square, as float32 0..1."""
    if Path(name).exists():
        picture = Image.open(name).convert("RGB")
    else:
        from skimage import data

        picture = Image.fromarray(getattr(data, name)()).convert("RGB")
    short = min(picture.size)
    left, top = (picture.width - short) // 2, (picture.height - short) // 2
    square = picture.crop((left, top, left + short, top + short)).resize((side_px, side_px), Image.LANCZOS)
    return np.asarray(square, np.float32) / 255


def row(source: np.ndarray, n: int, strength: float, seed: int, *, plain: bool) -> np.ndarray:
    """Return a source and its pictures side by side, with gaps."""
    from ipy_imgvar.engines.patch.synthesis import synthesise

    free = not plain
    pictures = synthesise(
        source, shape=source.shape[:2], n=n, strength=strength, seed=seed, tone=free, flip=free
    )
    gap = np.full((source.shape[0], GAP_PX, 3), 255, np.uint8)
    parts = [np.rint(source * 255).astype(np.uint8)]
    for picture in pictures:
        parts += [gap, picture]
    return np.concatenate(parts, axis=1)


def sheet(rows: list[np.ndarray], columns: int) -> np.ndarray:
    """Return the rows in as many columns, with gaps."""
    rows += [np.full_like(rows[0], 255)] * (-len(rows) % columns)
    across = np.full((rows[0].shape[0], 4 * GAP_PX, 3), 255, np.uint8)
    lines = []
    for start in range(0, len(rows), columns):
        line = rows[start]
        for one in rows[start + 1 : start + columns]:
            line = np.concatenate([line, across, one], axis=1)
        lines += [line, np.full((GAP_PX, line.shape[1], 3), 255, np.uint8)]
    return np.concatenate(lines[:-1], axis=0)


def main() -> None:
    """Parse the command line, make the pictures and save the sheet."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--pictures", nargs="+", default=PICTURES, help="names in skimage.data, or files")
    parser.add_argument("--strengths", nargs="+", type=float, default=[0.2, 0.5, 0.85, 1.0])
    parser.add_argument("--side", type=int, default=256)
    parser.add_argument("-n", type=int, default=4)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--columns", type=int, default=2)
    parser.add_argument("--plain", action="store_true", help="without tone and mirroring")
    chosen = parser.parse_args()
    rows = [
        row(source, chosen.n, strength, chosen.seed, plain=chosen.plain)
        for source in (load(name, chosen.side) for name in chosen.pictures)
        for strength in chosen.strengths
    ]
    Image.fromarray(sheet(rows, chosen.columns)).save(chosen.out)


if __name__ == "__main__":
    main()
