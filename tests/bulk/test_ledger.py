"""The ledger: a line an item, whole or absent, whatever happens to the process or the disk."""

import json
import os
import shutil
from contextlib import closing

import pytest

from ipy_imgvar.bulk import page
from ipy_imgvar.bulk.ledger import NAME, Ledger
from ipy_imgvar.bulk.result import BulkResult
from ipy_imgvar.errors import ImageVariationError, InvalidRequestError


def test_the_last_line_of_an_item_counts(tmp_path):
    """An item that was written twice is found as it was written last, also by the next process."""
    ledger = Ledger(tmp_path)
    for status in ("failed", "done"):
        ledger.add({"item": "a", "status": status})
    assert ledger.find("a")["status"] == "done"
    ledger.close()
    again = Ledger(tmp_path)
    assert again.find("a")["status"] == "done"
    assert again.find("b") is None
    again.close()


@pytest.mark.parametrize("cut", [1, 5, 20])
def test_half_a_line_is_cut_off(tmp_path, cut):
    """What a killed process wrote of its last line is gone, and the lines before it are not."""
    lines = [json.dumps({"item": name, "status": "done"}) + "\n" for name in "ab"]
    (tmp_path / NAME).write_text("".join(lines)[:-cut])
    ledger = Ledger(tmp_path)
    assert ledger.find("a")
    assert ledger.find("b") is None
    ledger.add({"item": "c", "status": "done"})
    ledger.close()
    assert [json.loads(line)["item"] for line in (tmp_path / NAME).read_text().splitlines()] == ["a", "c"]


def test_foreign_lines_are_passed_over(tmp_path):
    """A line that is no record is left where it is and does no harm."""
    (tmp_path / NAME).write_text('hello\n[1]\n{"item": "a", "status": "done"}\n')
    ledger = Ledger(tmp_path)
    assert ledger.find("a")["status"] == "done"
    ledger.close()
    assert (tmp_path / NAME).read_text().startswith("hello\n")


def test_a_line_nested_too_deeply_is_passed_over(tmp_path):
    """A line of JSON that no parser reads to its end does no harm, neither to a run nor to its result."""
    deep = '{"item": "b", "x": ' + "[" * 100_000 + "]" * 100_000 + "}\n"
    (tmp_path / NAME).write_text('{"item": "a", "status": "done"}\n' + deep)
    with closing(Ledger(tmp_path)) as ledger:
        assert ledger.find("a")["status"] == "done"
        assert ledger.find("b") is None
    assert [each.item for each in BulkResult.read(tmp_path)] == ["a"]


def test_a_line_is_with_the_system_at_once(tmp_path):
    """A record can be read by others as soon as it was added."""
    ledger = Ledger(tmp_path)
    ledger.add({"item": "\udcff\n😀", "status": "done"})
    assert json.loads((tmp_path / NAME).read_bytes())["item"] == "\udcff\n😀"
    ledger.close()
    ledger.close()


def test_two_runs_do_not_share_a_folder(tmp_path):
    """A second run in the same folder is refused while the first one lasts."""
    first = Ledger(tmp_path)
    with pytest.raises(InvalidRequestError, match="another run"):
        Ledger(tmp_path)
    first.close()
    Ledger(tmp_path).close()


def test_a_folder_that_cant_be_made_is_one_clear_line(tmp_path):
    """A file where the folder should be is said before anything is made."""
    (tmp_path / "file").touch()
    with pytest.raises(InvalidRequestError, match="can't be written") as caught:
        Ledger(tmp_path / "file" / "out")
    assert caught.value.field == "out_dir"


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="there is no /dev/full")  # noqa: PTH110
def test_a_full_disk_keeps_records_in_memory(tmp_path):
    """A record that the disk has no room for is kept for the result, and the ledger stays whole."""
    ledger = Ledger(tmp_path)
    ledger.add({"item": "a", "status": "done"})
    real, full = ledger._file, os.open("/dev/full", os.O_RDWR)
    ledger._file = full
    place = ledger.add({"item": "b", "status": "done"})
    ledger._file = real
    os.close(full)
    assert place < 0
    assert ledger.at(place) == {"item": "b", "status": "done"}
    ledger.add({"item": "c", "status": "done"})
    assert [json.loads(line)["item"] for line in (tmp_path / NAME).read_text().splitlines()] == ["a", "c"]
    assert ledger.write_late() == 0
    ledger.close()
    assert [json.loads(line)["item"] for line in (tmp_path / NAME).read_text().splitlines()] == [
        "a",
        "c",
        "b",
    ]


@pytest.mark.parametrize("how", ["removed", "renamed"])
def test_a_folder_that_goes_away_costs_no_record(tmp_path, how):
    """Where the folder is removed or renamed meanwhile, the ledger is written anew with all it had."""
    out = tmp_path / "out"
    with closing(Ledger(out)) as ledger:
        ledger.add({"item": "a", "status": "done"})
        shutil.rmtree(out) if how == "removed" else out.rename(tmp_path / "other")
        ledger.add({"item": "b", "status": "done"})
        assert ledger.was_moved
        with pytest.raises(InvalidRequestError, match="another run"):
            Ledger(out)
        assert ledger.find("a") == {"item": "a", "status": "done"}
    with closing(Ledger(out)) as ledger:
        assert [ledger.find(item) is not None for item in "abc"] == [True, True, False]


def test_a_folder_that_another_run_took_over_is_left_to_it(tmp_path):
    """Where another run has begun in the folder meanwhile, its ledger stays as it is, and records stay in memory."""
    out = tmp_path / "out"
    with closing(Ledger(out)) as ledger:
        out.rename(tmp_path / "other")
        with closing(Ledger(out)) as second:
            second.add({"item": "b", "status": "done"})
            before = (out / NAME).read_bytes()
            assert ledger.at(ledger.add({"item": "a", "status": "done"})) == {"item": "a", "status": "done"}
            assert ledger.write_late() == 1
            assert (out / NAME).read_bytes() == before


@pytest.mark.parametrize("text", ['{"date": "1 May", "sum": 5}\n', "a,b\n1,2", '{"date": 5'])
def test_a_file_that_is_no_ledger_is_refused_and_stays(tmp_path, text):
    """A file of the ledger's name that holds something else is not overwritten."""
    (tmp_path / NAME).write_text(text)
    with pytest.raises(InvalidRequestError, match="choose another out_dir"):
        Ledger(tmp_path)
    assert (tmp_path / NAME).read_text() == text


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="Windows has no pipes in folders")
def test_a_ledger_that_is_a_pipe_or_a_device_is_refused(tmp_path):
    """What keeps no lines is refused in one clear line, and nobody waits for what a pipe will never say."""
    os.mkfifo(tmp_path / NAME)
    for use in (Ledger, BulkResult.read):
        with pytest.raises(InvalidRequestError, match="no regular file"):
            use(tmp_path)
    (tmp_path / NAME).unlink()
    (tmp_path / NAME).symlink_to(os.devnull)
    with pytest.raises(InvalidRequestError, match="no regular file"):
        Ledger(tmp_path)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="Windows has no pipes in folders")
def test_a_page_that_is_a_pipe_is_left(tmp_path):
    """Where a page of the run's name is a pipe, it stays, and the page is not written."""
    (tmp_path / NAME).write_text('{"item": "a", "status": "done"}\n')
    os.mkfifo(tmp_path / "index.html")
    with pytest.raises(ImageVariationError, match="pipe"):
        page.write_pages(BulkResult.read(tmp_path))
    assert (tmp_path / "index.html").is_fifo()
