"""Damaged files are read or refused in one line, quickly and within a bound of memory, whatever is wrong with them."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from mutated import MOST_PIXELS, MOST_S

HERE = Path(__file__).parent


def checked(first, last):
    """Run a range of mutations in a process of its own, and check what came of them."""
    # Threads reserve address space, and there is a limit on it.
    env = os.environ | {"PYTHONPATH": str(HERE.parent), "OPENBLAS_NUM_THREADS": "1"}
    process = subprocess.run(
        [sys.executable, "-B", str(HERE / "mutated.py"), str(first), str(last)],
        env=env,
        capture_output=True,
        text=True,
        check=False,
        timeout=MOST_S + 20,
    )
    assert process.returncode == 0, process.stderr[-2000:]
    assert "Warning" not in process.stderr
    seen = json.loads(process.stdout)
    assert seen["wrong"] == []
    assert seen["read"] + seen["refused"] == last - first
    assert seen["read"] > (last - first) / 10  # Not all of them end at the first byte.
    assert seen["slowest_s"] < 1
    assert seen["grown"] < 4 * 4 * MOST_PIXELS
    return seen


def test_300_mutations():
    """300 damaged files are read or get a typed error of one line, and Pillow's warnings of them are not shown."""
    checked(0, 300)


@pytest.mark.slow
def test_5000_mutations():
    """5,000 damaged files are read or get a typed error of one line, in under a second and 16 MB each."""
    checked(0, 5000)
