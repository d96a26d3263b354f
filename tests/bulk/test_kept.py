"""A failure is an item's last line, and yet keeps the record of the pictures that an earlier run made of it."""

import secrets

import pytest
from painter import Painter

from ipy_imgvar import Client
from ipy_imgvar.bulk import BulkResult
from ipy_imgvar.bulk.counts import count_images
from ipy_imgvar.bulk.known import kept_of

fsspec = pytest.importorskip("fsspec")


@pytest.fixture(params=["disk", "memory"])
def out(request, tmp_path):
    """Return the address of an output folder."""
    if request.param == "disk":
        yield str(tmp_path / "out")
        return
    yield f"memory://out-{secrets.token_hex(4)}/run"
    fsspec.filesystem("memory").store.clear()


@pytest.fixture
def painted():
    """Return a client, and the list of the requests that its engine has got."""
    painter = Painter()
    return Client(painter), painter.requests


@pytest.mark.parametrize("failures", [1, 3])
def test_a_file_that_can_not_be_read_for_a_while_is_not_made_again(
    painted, make_folder, out, tmp_path, failures
):
    """Runs in which a done item fails cost it nothing: its file is back, it is skipped, and it reads as done."""
    client, got = painted
    first, second = map(str, sorted(make_folder(2).iterdir()))
    made = client.map([first, second], out_dir=out, size=64)
    away = tmp_path / "away.png"
    for _ in range(failures):
        (tmp_path / "photos" / "p000.png").rename(away)
        failed = client.map([first, second], out_dir=out, size=64)
        away.rename(first)
        assert [each.status for each in failed] == ["failed", "skipped"]
        assert "p000.png" in failed[0].error
        assert [each.status for each in BulkResult.read(out)].count("failed") == 1
    assert count_images([first, second], out).done == 2
    again = client.map([first, second], out_dir=out, size=64)
    assert [each.status for each in again] == ["skipped"] * 2
    assert [each.paths for each in again] == [each.paths for each in made]
    assert len(got) == 2
    assert [each.status for each in BulkResult.read(out)] == ["done"] * 2


def test_a_picture_that_is_gone_or_other_settings_are_made(painted, make_folder, out, tmp_path):
    """A kept record counts by the same rules as any: other settings, another content or a lost picture are made."""
    client, got = painted
    (first,) = map(str, make_folder(1).iterdir())
    made = client.map([first], out_dir=out, size=64)
    away = tmp_path / "away.png"
    (tmp_path / "photos" / "p000.png").rename(away)
    client.map([first], out_dir=out, size=64)
    away.rename(first)
    assert client.map([first], out_dir=out, size=72)[0].status == "done"
    assert client.map([first], out_dir=out, size=64)[0].status == "done"
    (tmp_path / "photos" / "p000.png").rename(away)
    client.map([first], out_dir=out, size=64)
    away.rename(first)
    fsspec.core.url_to_fs(str(made[0].paths[0]))[0].rm(str(made[0].paths[0]))
    assert client.map([first], out_dir=out, size=64)[0].status == "done"
    assert len(got) == 4


def test_a_moved_image_is_found_by_a_kept_record(painted, make_folder, out, tmp_path):
    """An image that was away in one run and lies elsewhere in the next has its pictures still."""
    client, got = painted
    (first,) = map(str, make_folder(1).iterdir())
    client.map([first], out_dir=out, size=64)
    moved = tmp_path / "moved.png"
    (tmp_path / "photos" / "p000.png").rename(moved)
    client.map([first], out_dir=out, size=64)
    assert client.map([str(moved)], out_dir=out, size=64)[0].status == "skipped"
    assert len(got) == 1
    (only,) = BulkResult.read(out)
    assert (only.status, only.source) == ("done", str(moved))


@pytest.mark.parametrize(
    "record",
    [
        {},
        {"status": "failed"},
        {"status": "failed", "kept": 3},
        {"status": "failed", "kept": {"status": "failed"}},
        {"status": "skipped", "kept": {"status": "done"}},
    ],
)
def test_a_record_that_keeps_nothing(record):
    """Only a finished record is kept, and only by a failure."""
    assert kept_of(record) is None
    assert kept_of({"status": "failed", "kept": {"status": "done", "item": "a", "replaces": "b"}}) == {
        "status": "done",
        "item": "a",
    }
