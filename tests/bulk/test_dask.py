"""Bulk runs on real Dask clusters on this machine: workers that die, join late, or have another version."""

import os
import signal
import socket
import subprocess
import threading
import time
from importlib.util import find_spec
from pathlib import Path

import pytest
from cluster import ROOT, Cluster

from ipy_imgvar import Client, cli
from ipy_imgvar.errors import CancelledError, EngineError, InvalidRequestError

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
    said = process.communicate(timeout=300)[0].decode()
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


@pytest.fixture
def grown(tmp_path):
    """Return a cluster of separate processes, which has no worker yet."""
    (tmp_path / "cluster").mkdir()
    cluster = Cluster(tmp_path / "cluster")
    yield cluster
    cluster.close()


@pytest.fixture
def dask(grown):
    """Return a Dask client of it."""
    import distributed

    client = distributed.Client(grown.address, timeout=200)
    yield client
    client.close(5)


def other_version(folder):
    """Make a folder with this package as another version of it."""
    folder.mkdir()
    (folder / "ipy_imgvar").symlink_to(ROOT / "ipy_imgvar")
    (folder / "ipy_imgvar-99.1.dist-info").mkdir()
    (folder / "ipy_imgvar-99.1.dist-info" / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: ipy-imgvar\nVersion: 99.1\n"
    )
    # Nothing of the package may be imported before the versions are compared.
    (folder / "sitecustomize.py").write_text("import sys\nsys.modules['ipy_imgvar.bulk.work'] = None\n")


def old_version(folder):
    """Make a folder with a package of our name that has no `enter`."""
    (folder / "ipy_imgvar").mkdir(parents=True)
    (folder / "ipy_imgvar" / "__init__.py").touch()


def no_package(folder):
    """Make a folder by which our package is not found."""
    folder.mkdir()
    (folder / "sitecustomize.py").write_text("import sys\nsys.modules['ipy_imgvar'] = None\n")


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (other_version, ["has ipy-imgvar 99.1, and this machine has"]),
        (old_version, ["no ipy-imgvar, or one that is too old (ModuleNotFoundError", "restart them"]),
        (no_package, ["no ipy-imgvar, or one that is too old (ModuleNotFoundError", "restart them"]),
    ],
)
def test_a_worker_of_another_version_ends_the_run_in_one_line(  # noqa: PLR0917 - fixtures
    make, words, grown, dask, make_folder, tmp_path, look
):
    """A worker with another version of the package, or none, is named in one line; the same again goes on."""
    make(tmp_path / "other")
    grown.add_worker("other", path=tmp_path / "other")
    folder, out = str(make_folder(4)), tmp_path / "out"
    with Client("patch") as client:
        with pytest.raises(EngineError) as caught:
            client.map(folder, out_dir=out, executor=dask, size=64)
        assert all(each in str(caught.value) for each in [*words, "run the same again to go on"])
        assert "\n" not in str(caught.value)
        assert look.records(out) == []
        grown.workers["other"].kill()
        grown.add_worker("same")
        assert len(client.map(folder, out_dir=out, executor=dask, size=64).done) == 4


def test_a_run_waits_for_workers_and_gives_late_ones_work(grown, dask, make_photos, tmp_path):
    """A run without a worker waits and says so once; each worker that joins gets items."""
    told = []

    def tell(line):
        told.append(line)
        grown.add_worker("first")

    def progress(share, _):
        if share and "second" not in grown.workers:
            grown.add_worker("second")

    with Client("patch") as client:
        result = client.map(
            str(make_photos(40)),
            out_dir=tmp_path / "out",
            executor=dask,
            size=128,
            on_notice=tell,
            on_progress=progress,
        )
    assert told == [f"the run waits for workers of the scheduler at {grown.address}"]
    assert len(result.done) == 40
    engines = dask.run(lambda: len(__import__("sys").modules["ipy_imgvar.bulk.work"]._engines))
    assert list(engines.values()) == [1, 1]


def test_a_run_without_workers_can_be_cancelled(dask, make_folder, tmp_path):
    """A run that waits for workers ends when it is cancelled."""
    cancel = threading.Event()
    with Client("patch") as client, pytest.raises(CancelledError, match="0 done"):
        client.map(
            str(make_folder(3)),
            out_dir=tmp_path / "out",
            executor=dask,
            size=64,
            cancel=cancel,
            on_notice=lambda _: cancel.set(),
        )


def test_a_scheduler_that_ends_is_one_line(grown, make_photos, tmp_path, look, start_python):
    """Where the scheduler is killed midway, the command ends in one line; the same again elsewhere makes the rest."""
    import distributed

    grown.add_worker("one")
    # A run that finds no worker yet says that it waits, which would be a second line.
    with distributed.Client(grown.address) as dask:
        dask.wait_for_workers(1)
    folder, out = make_photos(12), tmp_path / "out"
    words = ["bulk", folder, "--out-dir", out, "-s", "64", "--quiet", "--scheduler"]
    process = start_python(COMMAND, *words, grown.address, stderr=subprocess.PIPE)
    while process.poll() is None and not (out.exists() and look.records(out)):
        time.sleep(0.01)
    grown.scheduler.kill()
    said = process.communicate(timeout=300)[1].decode()
    assert process.returncode == 1
    gone = f"the Dask scheduler at {grown.address} is gone"
    assert said == f"imgvar: {gone}; what was finished is on record, and the same again goes on\n"
    finished = len(look.records(out))
    assert 0 < finished < 12
    with Client("patch") as client:
        assert len(client.map(str(folder), out_dir=out, size=64).skipped) >= finished


def test_a_stopped_worker_fails_its_items_at_the_timeout(grown, dask, make_photos, tmp_path, monkeypatch):
    """A worker that is stopped midway costs the items that it holds, which are recorded as failed."""
    monkeypatch.setattr("ipy_imgvar.bulk.workers.GRACE_S", 0.5)
    for name in ("one", "two"):
        grown.add_worker(name)
    dask.wait_for_workers(2)

    def stop(share, _):
        if share:
            grown.workers["one"].send_signal(signal.SIGSTOP)

    with Client("patch") as client:
        result = client.map(
            str(make_photos(12)),
            out_dir=tmp_path / "out",
            executor=dask,
            size=64,
            timeout=5,
            on_progress=stop,
        )
    assert 1 <= len(result.failed) <= 4
    assert all("longer than the timeout of 5 s" in each.error for each in result.failed)
    assert len(result.done) == 12 - len(result.failed)


@pytest.mark.skipif(
    not Path("/proc/self/cwd").is_dir(), reason="there is no path that each process sees in its own way"
)
def test_a_folder_that_workers_do_not_share_is_one_line(  # noqa: PLR0917 - fixtures
    grown, dask, make_folder, tmp_path, monkeypatch, look
):
    """A picture that a worker wrote to its own disk ends the run in one line, and a source there names the host."""
    monkeypatch.chdir(tmp_path)
    grown.add_worker("one")
    folder = make_folder(3)
    with Client("patch") as client:
        with pytest.raises(
            EngineError, match="which this machine does not see; give an out_dir in an object store"
        ):
            client.map(str(folder), out_dir="/proc/self/cwd/out", executor=dask, size=64)
        assert look.records(tmp_path / "out") == []
        result = client.map(f"/proc/self/cwd/{folder.name}", out_dir=tmp_path / "two", executor=dask, size=64)
    assert len(result.failed) == 3
    assert result.failed[0].error.endswith(f"(on {socket.gethostname()})")


def test_a_run_again_without_its_pictures_makes_them_again(grown, dask, make_folder, tmp_path, look):
    """Dask answers no call of a run from an earlier run's results."""
    grown.add_worker("one")
    folder, out = str(make_folder(3)), tmp_path / "out"
    with Client("patch") as client:
        client.map(folder, out_dir=out, executor=dask.get_executor(), size=64)
        made = look.pictures(out)
        for path in out.glob("*.png"):
            path.unlink()
        client.map(folder, out_dir=out, executor=dask.get_executor(), size=64)
    assert look.pictures(out) == made != {}


def test_a_cluster_is_no_executor(cluster, make_folder, tmp_path):
    """A cluster in place of an executor is refused with the call that gives one."""
    with Client("patch") as client, pytest.raises(InvalidRequestError, match=r"cluster\.get_client\(\)"):
        client.map(str(make_folder(1)), out_dir=tmp_path / "out", executor=cluster)
