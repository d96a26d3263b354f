"""What hosted notebooks forbid, imitated: no home, nothing to write to, no hard links, no locks, no network."""

import pytest

TWO = "x = %imagevariation {} -n 2 -s 64 --engine patch"
#: Object stores that are mounted as folders (Databricks' /Volumes and /Workspace, for one) have neither.
WITHOUT = """
import errno, fcntl, os, socket
def refuse(*_, **__):
    raise OSError(errno.ENOTSUP, "Operation not supported")
os.link = fcntl.flock = fcntl.lockf = socket.getaddrinfo = refuse
"""


@pytest.fixture
def lines_of(bundle_of):
    """Return the lines of text that a cell of a kernel shows."""
    return lambda front, cell: bundle_of(front, cell)["text/plain"].splitlines()


@pytest.fixture
def without_home(start_kernel, tmp_path):
    """Give a kernel whose home and store can't be made, even by root."""
    home = {"HOME": "/dev/null/home", "XDG_DATA_HOME": "/dev/null/data", "XDG_CACHE_HOME": "/dev/null/cache"}
    folders = {"IPYTHONDIR": str(tmp_path / "ipython"), "MPLCONFIGDIR": str(tmp_path)}
    with start_kernel(tmp_path, IPY_IMGVAR_STORE="", **home, **folders) as front:
        yield front


def test_a_home_that_can_not_be_written_costs_one_line(without_home, lines_of):
    """Without a place for the store the pictures are made, shown and bound, and one line says to save them."""
    assert without_home.run("%load_ext ipy_imgvar") == []
    said = lines_of(without_home, TWO.format("photo.png"))
    assert sum("the store can't be written" in line for line in said) == 1
    assert without_home.value("len(x), x[0].image.size") == "(2, (64, 64))"
    without_home.run("import os; photo = os.path.abspath('photo.png'); os.chdir('/proc')")
    assert any("the store can't be written" in line for line in lines_of(without_home, TWO.format("{photo}")))
    outputs = without_home.run("%imagevariation {photo} -s 64 --engine patch --out-file no.png")
    assert [len(content["traceback"]) for kind, content in outputs if kind == "error"] == [1]


@pytest.mark.slow
def test_without_hard_links_locks_and_network(start_kernel, tmp_path, lines_of):
    """On a file system without hard links and locks, and without a network, runs are made and recorded as usual."""
    with start_kernel(tmp_path) as front:
        front.run("%load_ext ipy_imgvar" + WITHOUT)
        assert not any("can't be written" in line for line in lines_of(front, TWO.format("photo.png")))
        assert front.value("[each.path.exists() for each in x]") == "[True, True]"
        front.run("from ipy_imgvar import Client, history")
        front.run("with Client('patch') as c: r = c.map('photo.png', out_dir='o', size=64)")
        said = front.value("len(history()), r.summary().split(' in ')[0]")
        assert said == "(1, '1 done, 0 failed, 0 skipped')"
