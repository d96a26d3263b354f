"""What the log of batches gives back after any end of the process that wrote it."""

import pytest

from ipy_imgvar.bulk.batches.state import Chunk, PlannedLine, State
from ipy_imgvar.errors import ImageVariationError
from ipy_imgvar.storage.folder import open_folder


def line(number, tries=1):
    path = f"photos/{number}.png"
    return PlannedLine(path, str(number), path, is_file=True, facts={"sha256": "0" * 64}, tries=tries)


def planned(state, numbers, tries=1):
    """Plan a chunk of some lines."""
    number = state.next_number()
    chunk = Chunk(number, f"imgvar-{state.run}-{number}.jsonl", "f" * 64, len(numbers), 10, "settings")
    return state.plan(chunk, [line(each, tries) for each in numbers])


def test_another_process_reads_the_same(tmp_path):
    """Chunks, their steps and lines, and what may be asked again, are those that the other process noted."""
    state = State(open_folder(tmp_path))
    first, second = planned(state, [1, 2]), planned(state, [3])
    first = state.step(state.step(first, "uploaded", file="file-1"), "created", batch="b")
    state.step(
        first, "fetched", again=[line(2).key], status="expired", completed=1, failed=1, files=["file-1"]
    )
    other = State(open_folder(tmp_path))
    assert other.run == state.run
    assert other.chunks == state.chunks
    assert other.again == {line(2).key}
    assert other.under_way == {line(3).key: 2}
    assert other.lines(other.chunks[1]) == [line(1), line(2)]
    assert [each.number for each in other.open()] == [1, 2]
    planned(other, [2], tries=2)
    assert other.again == set()
    other.step(second, "dropped", again=[])
    assert line(3).key not in other.under_way


def test_half_a_line_costs_itself_alone(tmp_path):
    """A log that ends in the middle of a line is read to there, and the next record begins a line of its own."""
    state = State(open_folder(tmp_path))
    planned(state, [1])
    path = tmp_path / "batches.jsonl"
    whole = path.read_bytes()
    for cut in range(1, len(whole) - whole.index(b"\n"), 9):
        path.write_bytes(whole[:-cut])
        other = State(open_folder(tmp_path))
        chunk = planned(other, [2])
        again = State(open_folder(tmp_path))
        assert (again.run, again.chunks, again.under_way) == (other.run, other.chunks, other.under_way)
        assert again.lines(again.chunks[chunk.number]) == [line(2)]
        assert (line(1).key in again.under_way) == (cut == 1)


def test_a_disk_without_room_is_said(tmp_path):
    """A step that can't be noted ends the run with the path, before the server is asked for more."""
    state = State(open_folder(tmp_path))
    (tmp_path / "batches.jsonl").mkdir()
    with pytest.raises(ImageVariationError, match=r"batches\.jsonl can't be written"):
        state.next_number()
