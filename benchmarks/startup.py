"""What `%load_ext ipy_imgvar` costs over a bare IPython, in CPU milliseconds, and which heavy modules it loads.

Run with `python benchmarks/startup.py`. Each figure is the median of fresh processes, taken in turn, so that a noisy
machine disturbs both alike.
"""

from __future__ import annotations

import statistics
import subprocess
import sys

ROUNDS = 9
HEAVY = ("httpx", "numpy", "PIL", "ipywidgets")

SCRIPT = """
import sys, time
from IPython.core.interactiveshell import InteractiveShell
from traitlets.config import Config
shell = InteractiveShell.instance(config=Config({"HistoryManager": {"enabled": False}}))
if sys.argv[1]:
    shell.run_line_magic("load_ext", sys.argv[1])
print(time.process_time() * 1000, *[name for name in sys.argv[2:] if name in sys.modules])
"""
BARE, LOADED = "bare IPython", "with %load_ext ipy_imgvar"
CASES = {BARE: "", LOADED: "ipy_imgvar"}


def measure(extension: str) -> tuple[float, list[str]]:
    """Start a shell in a fresh process; return its CPU milliseconds and the heavy modules it loaded."""
    command = [sys.executable, "-c", SCRIPT, extension, *HEAVY]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    cpu_ms, *heavy = done.stdout.split()
    return float(cpu_ms), heavy


def main() -> None:
    """Print the table, and exit with an error when a heavy module was loaded."""
    times: dict[str, list[float]] = {name: [] for name in CASES}
    loaded: dict[str, list[str]] = {}
    for _ in range(ROUNDS):
        for name, extension in CASES.items():
            cpu_ms, loaded[name] = measure(extension)
            times[name].append(cpu_ms)
    bare, ours = statistics.median(times[BARE]), statistics.median(times[LOADED])
    print(f"{'':<28}{'CPU ms (median)':>16}  heavy modules")
    for name in CASES:
        print(f"{name:<28}{statistics.median(times[name]):>16.1f}  {', '.join(loaded[name]) or 'none'}")
    print(f"{'difference':<28}{ours - bare:>16.1f}  (at most 100)")
    print(f"{'ratio':<28}{ours / bare:>16.2f}")
    if loaded[LOADED]:
        sys.exit("loading the extension loaded a heavy module")


if __name__ == "__main__":
    main()
