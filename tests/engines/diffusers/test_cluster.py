"""The engine diffusers on workers of one thread, as a cluster has them with one GPU each."""

from importlib.util import find_spec

import pytest
from cluster import ROOT, Cluster

pytestmark = [
    # Dask leaves sockets and event loops to the garbage collector.
    pytest.mark.filterwarnings("ignore"),
    pytest.mark.timeout(600),
    pytest.mark.slow,
    pytest.mark.skipif(find_spec("distributed") is None, reason="distributed is not installed"),
]
#: Counts the pipelines that a worker loads; a worker runs it as it starts.
COUNTING = """
import diffusers

loads = []
original = diffusers.DiffusionPipeline.from_pretrained.__func__

def counted(cls, *arguments, **options):
    loads.append(cls.__name__)
    return original(cls, *arguments, **options)

diffusers.DiffusionPipeline.from_pretrained = classmethod(counted)
"""


def test_each_worker_loads_the_weights_once(client, request_for, source, tmp_path):
    """Two workers of one thread load the weights once each for many items; the pictures are those of a run alone."""
    import distributed

    folder = tmp_path / "photos"
    folder.mkdir()
    for number in range(8):
        source.rotate(7 * number).save(folder / f"photo{number}.png")
    (tmp_path / "counting.py").write_text(COUNTING)
    request = request_for("stable", strength=0.5)
    (tmp_path / "cluster").mkdir()
    cluster = Cluster(tmp_path / "cluster")
    try:
        for name in ("one", "two"):
            cluster.add_worker(name, "--preload=counting", path=f"{tmp_path}:{ROOT}")
        with distributed.Client(cluster.address, timeout=200) as dask:
            dask.wait_for_workers(2)
            result = client.map(str(folder), out_dir=tmp_path / "out", executor=dask, **request)
            loads = dask.run(lambda: __import__("counting").loads)
    finally:
        cluster.close()
    assert [len(result.done), len(result.failed)] == [8, 0], result.failed
    assert [len(each) for each in loads.values()] == [1, 1], loads
    alone = client.map(str(folder), out_dir=tmp_path / "alone", **request)
    assert len(alone.done) == 8
    made, expected = (
        {path.name: path.read_bytes() for path in (tmp_path / name).glob("*.png")}
        for name in ("out", "alone")
    )
    assert made == expected
    assert len(made) == 8
