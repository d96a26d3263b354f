"""A bulk run on Dask workers that share nothing but an object store."""

import tempfile
from importlib.util import find_spec
from pathlib import Path

import pytest
from cluster import Cluster

from ipy_imgvar import Client
from ipy_imgvar.bulk.result import BulkResult
from ipy_imgvar.images.codec import encode_png
from ipy_imgvar.storage.folder import open_folder

pytestmark = [
    # Dask leaves sockets and event loops to the garbage collector, and says so of a worker that was killed.
    pytest.mark.filterwarnings("ignore"),
    pytest.mark.timeout(600),
    pytest.mark.slow,
    pytest.mark.skipif(find_spec("distributed") is None, reason="distributed is not installed"),
]
COUNT = 16


def test_workers_that_share_only_a_bucket_make_the_bytes_of_a_run_alone(s3, bucket, photo, tmp_path):
    """Two workers without a common folder, one killed midway: the ledger is complete, the bytes are a lone run's."""
    import distributed

    inside, alone = open_folder(f"{bucket}/in"), tmp_path / "alone"
    local = tmp_path / "photos"
    local.mkdir()
    for number in range(COUNT):
        data = encode_png(photo.rotate(7 * number))
        inside.write(f"photo{number:02}.png", data)
        (local / f"photo{number:02}.png").write_bytes(data)
    with Client("patch") as client:
        client.map(str(local), out_dir=alone, size=64)
    made = {path.name: path.read_bytes() for path in alone.glob("*.png")}

    (tmp_path / "cluster").mkdir()
    cluster = Cluster(tmp_path / "cluster")
    try:
        for name in ("one", "two"):
            cluster.add_worker(name, **s3.environment(tmp_path / "cluster" / name))
        with distributed.Client(cluster.address) as dask, Client("patch") as client:
            dask.wait_for_workers(2)
            for place in (Path.cwd, tempfile.gettempdir, Path.home):
                first, second = dask.run(place).values()
                assert first != second

            def kill(share, _):
                if share >= 0.25:
                    cluster.workers["one"].kill()

            result = client.map(
                f"{bucket}/in", out_dir=f"{bucket}/out", executor=dask, size=64, on_progress=kill
            )
            assert cluster.workers["one"].wait(0) < 0
    finally:
        cluster.close()
    assert [len(result.done), len(result.failed), len(result.skipped)] == [COUNT, 0, 0]
    outside = open_folder(f"{bucket}/out")
    names = [each.address.rsplit("/", 1)[1] for each in outside.names()]
    assert {name: outside.read(name) for name in names if name.endswith(".png")} == made
    read = BulkResult.read(f"{bucket}/out")
    assert sorted(each.source for each in read) == sorted(
        f"{bucket}/in/photo{n:02}.png" for n in range(COUNT)
    )
    assert not list((tmp_path / "cluster").rglob("*.png"))
