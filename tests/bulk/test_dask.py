"""Bulk runs on a real Dask cluster of two worker processes on this machine."""

import os
import signal
import subprocess
import threading
import time
from importlib.util import find_spec

import pytest

from ipy_imgvar import Client, cli

pytestmark = [
    # Dask leaves sockets and event loops to the garbage collector, and says so of a worker that was killed.
    pytest.mark.filterwarnings("ignore"),
    pytest.mark.timeout(300),
    pytest.mark.slow,
    pytest.mark.skipif(find_spec("distributed") is None, reason="distributed is not installed"),
]


@pytest.fixture(scope="module")
def cluster():
    import distributed

    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None
    ) as cluster:
        yield cluster


def workers(cluster):
    import distributed

    with distributed.Client(cluster) as client:
        return [each["pid"] for each in client.run(lambda: {"pid": os.getpid()}).values()]


def test_a_cluster_makes_the_same_bytes_also_when_a_worker_is_killed(cluster, make_photos, tmp_path, look):
    """With one of two workers killed with -9 midway, every item is recorded once, and the bytes are a single run's."""
    import distributed

    folder = make_photos(12)
    with Client("patch") as client:
        client.map(str(folder), out_dir=tmp_path / "single", size=64)
        victim = workers(cluster)[0]

        def kill():
            while not (tmp_path / "out").exists() or len(list((tmp_path / "out").glob("*.png"))) < 4:
                time.sleep(0.01)
            os.kill(victim, signal.SIGKILL)

        threading.Thread(target=kill, daemon=True).start()
        with distributed.Client(cluster) as dask:
            result = client.map(str(folder), out_dir=tmp_path / "out", executor=dask.get_executor(), size=64)
    assert [len(result.done), len(result.failed)] == [12, 0]
    assert look.pictures(tmp_path / "out") == look.pictures(tmp_path / "single")
    items = [each["item"] for each in look.records(tmp_path / "out")]
    assert len(items) == len(set(items)) == 12
    assert victim not in workers(cluster)


COMMAND = "import sys; from ipy_imgvar.cli import main; sys.exit(main(sys.argv[1:]))"


def test_a_client_that_was_killed_goes_on(cluster, make_photos, tmp_path, look, start_python):
    """With the client killed with -9, the same command ends complete: every item once, the bytes of a single run."""
    folder, out = make_photos(12), tmp_path / "out"
    words = ["bulk", folder, "--out-dir", out, "-s", "64", "--scheduler", cluster.scheduler_address]
    process = start_python(COMMAND, *words)
    while process.poll() is None and not (out.exists() and look.records(out)):
        time.sleep(0.01)
    process.kill()
    process.wait()
    killed_after = len(look.records(out))
    assert 0 < killed_after < 12
    process = start_python(COMMAND, *words, stdout=subprocess.PIPE)
    said = process.communicate(timeout=200)[0].decode()
    assert f"{killed_after} skipped" in said
    items = [each["item"] for each in look.records(out)]
    assert len(items) == len(set(items)) == 12
    with Client("patch") as client:
        client.map(str(folder), out_dir=tmp_path / "single", size=64)
    assert look.pictures(out) == look.pictures(tmp_path / "single")


def test_no_scheduler_is_one_line(make_folder, tmp_path, capsys):
    """An address where nobody answers is a line and exit code 1."""
    words = [
        "bulk",
        str(make_folder(1)),
        "--out-dir",
        str(tmp_path / "out"),
        "--scheduler",
        "tcp://127.0.0.1:1",
    ]
    assert cli.main(words) == 1
    assert "no Dask scheduler" in capsys.readouterr().err
