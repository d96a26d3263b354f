"""`SECURITY.md`: each promise names what keeps it."""

import re
from pathlib import Path

import pytest

import ipy_imgvar

ROOT = Path(ipy_imgvar.__file__).parent.parent
PAGE = ROOT / "SECURITY.md"


@pytest.mark.skipif(not PAGE.exists(), reason="not in a checkout")
def test_each_promise_names_files_that_exist():
    """Every row of the table of promises names a module and a test, and they are there."""
    rows = [line.split("|")[2:4] for line in PAGE.read_text("utf-8").splitlines() if "| `ipy_imgvar/" in line]
    assert len(rows) > 10
    for module, test in rows:
        for cell, folder in ((module, "ipy_imgvar/"), (test, "tests/")):
            names = re.findall(r"`([^`]+)`", cell)
            assert names
            for name in names:
                assert name.startswith(folder)
                assert (ROOT / name).is_file(), f"SECURITY.md names {name}, which is not there"
