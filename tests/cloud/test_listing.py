"""A bulk run's images in S3, on a real server of this machine."""

import pytest
from objects import agenda_of, done

from ipy_imgvar.bulk.counts import count_images
from ipy_imgvar.bulk.items import Items


@pytest.fixture
def filled(bucket):
    """Return the address of a bucket with 1,100 objects, two pages of a listing."""
    import fsspec

    fs = fsspec.filesystem("s3")
    fs.pipe({f"{bucket}/photos/p{number:04}.png": b"%d" % number for number in range(1100)})
    return bucket


@pytest.mark.slow
def test_a_bucket_of_s3_is_listed_page_by_page(filled, s3, fake_engine, tmp_path):
    """The first task takes one page of two; no object is asked for by name, and all have a size and a version."""
    s3.requests()
    items = Items(f"{filled}/photos", tmp_path / "out")
    agenda, ledger = agenda_of(fake_engine(), tmp_path / "out")
    s3.requests()
    tasks = agenda.tasks(items)
    first = next(tasks)
    assert first.ready.item == f"{filled}/photos/p0000.png"
    assert s3.requests() == {"GET": 1}
    agenda.end(first, done(first))
    rest = list(tasks)
    assert len(rest) == 1099
    assert s3.requests() == {"GET": 1}
    assert all(task.ready.version and task.ready.size for task in rest)
    ledger.close()


@pytest.mark.slow
def test_a_dry_run_on_s3_takes_a_request_a_page(filled, s3, tmp_path):
    """1,100 objects are counted, with their bytes, by two pages, after a look whether there is any at all."""
    s3.requests()
    counts = count_images(f"{filled}/**/*.png", tmp_path / "out")
    assert (counts.found, counts.bytes_to_do) == (1100, 10 * 1 + 90 * 2 + 900 * 3 + 100 * 4)
    # A star may also be part of an object's name, which each search asks for first.
    assert s3.requests() == {"HEAD": 2, "GET": 3}
