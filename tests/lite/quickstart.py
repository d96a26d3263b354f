"""The quickstart in a shell, as a program: it writes a JSON list of what each line showed, and how it failed.

Usage: quickstart.py FOLDER [forbid]. With "forbid", this Python first loses what one in a browser does not have.
"""

import contextlib
import io
import json
import os
import sys
from pathlib import Path

LINES = (
    "%load_ext ipy_imgvar",
    "%imagevariation cat.png -n 2 -s 96 --seed 7",
    "x = %imagevariation cat.png -s 96 --seed 7 -f base64",
    "%imagevariation cat.png -s 96 --seed 7 --out-file out/{stem}-{i}.png",
    "%imagevariation cat.png -s 96 --sweep strength=subtle,strong --seed 7",
    "%imagevariation photos --out-dir many -s 96",
    "%imagevariation photos --out-dir many -s 96",
    "from ipy_imgvar import Client; Client().map('photos', out_dir='bar', size=96, progress=True)",
    "from ipy_imgvar import history, last; [last(), len(history())]",
    "%imagevariation https://host/cat.png",
    "%imagevariation s3://bucket/cat.png",
    "%imagevariation cat.png --out-dir memory://bucket",
    "%imagevariation cat.png --engine openai",
)


def drawn(folder):
    """Write the pictures that the lines read."""
    import numpy as np
    from PIL import Image

    rows, cols = np.mgrid[:96, :128]
    channels = np.sin(cols / 9) * 100 + 120, rows * 2, (cols - 60) ** 2 / 20 + (rows - 40) ** 2 / 20
    pixels = np.stack(channels, -1).clip(0, 255).astype(np.uint8)
    Image.fromarray(pixels).save(folder / "cat.png")
    (folder / "photos").mkdir()
    for first in range(2):
        Image.fromarray(pixels[first:]).save(folder / "photos" / f"{first}.png")


def run(folder):
    """Run the lines in a shell, in a folder of their own."""
    from IPython.core.interactiveshell import InteractiveShell
    from traitlets.config import Config

    os.chdir(folder)
    drawn(folder)
    shell = InteractiveShell.instance(config=Config({"HistoryManager": {"enabled": False}}))
    shell.run_line_magic("xmode", "Minimal")
    shown = []
    for line in LINES:
        out, err = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            result = shell.run_cell(line)
        error = result.error_before_exec or result.error_in_exec
        shown.append(
            {
                "line": line,
                "out": out.getvalue(),
                "err": err.getvalue(),
                "value": repr(result.result),
                "error": error and f"{type(error).__name__}: {error}",
            }
        )
    return shown


if __name__ == "__main__":
    place = Path(sys.argv[1]).absolute()
    os.environ |= {"IPY_IMGVAR_STORE": str(place / "store"), "IPYTHONDIR": str(place / "ipython")}
    if "forbid" in sys.argv:
        sys.path.insert(0, str(Path(__file__).parent))
        import emscripten

        emscripten.forbid()
    answer = run(place)
    (place / "shown.json").write_text(json.dumps(answer))
