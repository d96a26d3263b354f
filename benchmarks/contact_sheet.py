"""Make the sheet of pictures that a person judges the patch engine by.

    python benchmarks/contact_sheet.py sheet.jpg
    python benchmarks/contact_sheet.py sheet.png --strengths medium --pictures coffee rocket my.jpg --seed 8

Each row shows a source, then its pictures at one strength, with the means that made each. A tile has at least 256
px: smaller ones hide what a person would throw away.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from PIL import Image, ImageDraw
from skimage import data

from ipy_imgvar import Client

PICTURES = ("astronaut", "chelsea", "coffee", "rocket", "camera", "coins", "hubble_deep_field", "brick")
LEAST_TILE_PX = 256
GAP_PX = 4
CAPTION_PX = 14


def load(name: str) -> Image.Image:
    """Return a photograph of scikit-image, or a file."""
    return Image.open(name) if Path(name).exists() else Image.fromarray(getattr(data, name)())


def tile(picture: Image.Image, caption: str, side_px: int) -> Image.Image:
    """Return a picture, cut square, with its caption below."""
    short = min(picture.size)
    left, top = (picture.width - short) // 2, (picture.height - short) // 2
    result = Image.new("RGB", (side_px + GAP_PX, side_px + CAPTION_PX + GAP_PX), "white")
    square = picture.convert("RGB").crop((left, top, left + short, top + short))
    result.paste(square.resize((side_px, side_px), Image.Resampling.LANCZOS), (0, 0))
    ImageDraw.Draw(result).text((2, side_px + 1), caption, fill="black")
    return result


def sheet(rows: list[list[Image.Image]]) -> Image.Image:
    """Return rows of tiles as one picture."""
    width, height = rows[0][0].size
    result = Image.new("RGB", (width * max(map(len, rows)), height * len(rows)), "white")
    for down, row in enumerate(rows):
        for across, one in enumerate(row):
            result.paste(one, (across * width, down * height))
    return result


def main() -> None:
    """Parse the command line, make the pictures and save the sheet."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--pictures", nargs="+", default=PICTURES, help="names in skimage.data, or files")
    parser.add_argument("--strengths", nargs="+", default=["subtle", "medium", "strong"])
    parser.add_argument("--size", type=int, default=512, help="side of the pictures, in pixels")
    parser.add_argument("--tile", type=int, default=LEAST_TILE_PX, help="side of a tile, in pixels")
    parser.add_argument("-n", type=int, default=4)
    parser.add_argument("--seed", type=int, default=7)
    chosen = parser.parse_args()
    if chosen.tile < LEAST_TILE_PX:
        parser.error(f"--tile is {chosen.tile}; it takes {LEAST_TILE_PX} and more: smaller tiles hide faults")
    rows = []
    with Client(engine="patch") as client:
        for name in chosen.pictures:
            source = load(name)
            for strength in chosen.strengths:
                made = client.variations(
                    source, n=chosen.n, size=chosen.size, strength=strength, seed=chosen.seed
                )
                row = [tile(source, f"{Path(name).stem}, {strength}", chosen.tile)]
                row += [
                    tile(one.image, f"{one.index}: {one.parameters['means']}", chosen.tile) for one in made
                ]
                rows.append(row)
    sheet(rows).save(chosen.out)


if __name__ == "__main__":
    main()
