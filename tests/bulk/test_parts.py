"""The ledger of an object store: no kill at any instant loses a record, makes one twice, or brings back an old one."""

import json
import os
import socket
import subprocess
import sys
import threading
import time
from contextlib import closing
from itertools import pairwise

import pytest

from ipy_imgvar.bulk import lock, parts
from ipy_imgvar.bulk.ledger import NAME
from ipy_imgvar.bulk.lock import LOCK, ObjectLock
from ipy_imgvar.bulk.parts import ObjectLedger, copy_ledger
from ipy_imgvar.bulk.result import BulkResult
from ipy_imgvar.errors import ImageVariationError, InvalidRequestError
from ipy_imgvar.storage.objects import Object


class Drawer:
    """A folder in an object store that notes every change, so that a test can stop the world after any of them."""

    is_local = False
    address = "drawer://out"

    def __init__(self, files=()):
        self.files = dict(files)
        self.states = [dict(self.files)]
        self.fails = lambda name: False  # noqa: ARG005

    def _refuse(self, name):
        if self.fails(name):
            raise ImageVariationError(f"drawer://out/{name} can't be written: it is full")

    def write(self, name, data):
        self._refuse(name)
        self.files[name] = bytes(data)
        self.states.append(dict(self.files))

    def write_file(self, name, file):
        self.write(name, file.read())

    def read(self, name):
        try:
            return self.files[name]
        except KeyError:
            raise FileNotFoundError(name) from None

    def download(self, name, file):
        file.write(self.files.get(name, b""))
        return name in self.files

    def size(self, name):
        return len(self.files[name]) if name in self.files else None

    def names(self, prefix=""):
        for name, data in sorted(self.files.items()):
            if name.startswith(prefix) and "/" not in name.removeprefix(prefix):
                yield Object(self.where(name), len(data), str(hash(data)))

    def remove(self, names):
        for name in names:
            self._refuse(name)
            self.files.pop(name, None)
            self.states.append(dict(self.files))

    def where(self, name):
        return f"{self.address}/{name}"


def part_names(folder):
    return [name for name in folder.files if name.startswith("ledger-parts/") and name != LOCK]


def lines(folder):
    return folder.files.get(NAME, b"").decode().splitlines()


def wait_until(is_so, seconds=100):
    end = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < end
        time.sleep(0.002)


def stored(ledger):
    """Wait until all records of a ledger are in parts."""
    wait_until(lambda: ledger._uploader.stored == ledger.end)


def reopened(files):
    """Return the folder after another run has opened and closed its ledger."""
    folder = Drawer(files)
    ObjectLedger(folder).close()
    return folder


def test_a_record_is_in_a_part_at_once_and_merged_at_the_end():
    """What is added goes up while the run lasts, and the end leaves `ledger.jsonl` alone."""
    folder = Drawer()
    with closing(ObjectLedger(folder)) as ledger:
        for item in "ab":
            ledger.add({"item": item, "status": "done"})
            stored(ledger)
        assert NAME not in folder.files
        assert b"".join(folder.files[name] for name in part_names(folder)) == b"".join(
            json.dumps({"item": item, "status": "done"}, separators=(",", ":")).encode() + b"\n"
            for item in "ab"
        )
        assert ledger.finish() == []
    assert list(folder.files) == [NAME]
    assert [json.loads(line)["item"] for line in lines(folder)] == ["a", "b"]


def test_lines_wait_for_nothing_but_the_put_under_way():
    """The first line goes up alone and at once; those that come during its put go up together, right after it."""
    folder, puts, goes_on = Drawer(), [], threading.Event()
    write = folder.write

    def slow(name, data):
        if name.startswith("ledger-parts/0"):
            puts.append(bytes(data).count(b"\n"))
            assert goes_on.wait(100)
        write(name, data)

    folder.write = slow
    with closing(ObjectLedger(folder)) as ledger:
        ledger.add({"item": "a", "status": "done"})
        wait_until(lambda: puts)
        for item in "bcd":
            ledger.add({"item": item, "status": "done"})
        goes_on.set()
        stored(ledger)
        assert puts == [1, 4]
        begun = time.monotonic()
        for item in range(10):
            ledger.add({"item": str(item), "status": "done"})
            stored(ledger)
        assert puts == [1, 4, *range(5, 15)]
        assert time.monotonic() - begun < parts._AGAIN_S


def test_no_kill_at_any_instant_costs_or_doubles_a_record():
    """After any change of a run, of its merge, and of the merge of the next one, each record is there once."""
    folder = Drawer()
    known = {}  # By the number of the change: the records that were stored then.
    for status in ("failed", "done"):
        with closing(ObjectLedger(folder)) as ledger:
            for item in "abcdef":
                ledger.add({"item": item, "status": status})
                stored(ledger)
                known[len(folder.states) - 1] = [status, item]
    total = 0
    for number, state in enumerate(folder.states):
        least = [record for at, record in known.items() if at <= number]
        again = Drawer(state)
        ObjectLedger(again).close()
        for later in again.states:  # The run after the kill is killed, too.
            final = reopened(later)
            found = [[record["status"], record["item"]] for record in map(json.loads, lines(final))]
            assert found[: len(least)] == least
            assert len(found) <= len(least) + 1
            assert part_names(final) == []
            total += 1
    assert total > 80


def test_a_part_that_arrives_late_undoes_nothing():
    """The last put of a killed run, which arrives after the merge of the next one, brings back no old record."""
    folder = Drawer()
    ledger = ObjectLedger(folder)
    ledger.add({"item": "a", "status": "failed", "try": 1})
    stored(ledger)
    early = dict(folder.files)
    ledger.add({"item": "b", "status": "failed"})
    ledger.add({"item": "c", "status": "done"})
    stored(ledger)
    late = {name: folder.files[name] for name in part_names(folder)}
    ledger.close()
    folder = Drawer(early)
    with closing(ObjectLedger(folder)) as second:
        for item in "ab":
            second.add({"item": item, "status": "done", "try": 2})
    final = reopened(folder.files | late)
    with closing(ObjectLedger(final)) as third:
        assert [third.find(item)["status"] for item in "abc"] == ["done"] * 3
    assert [json.loads(line)["item"] for line in lines(final)] == ["a", "a", "b", "c"]


def test_parts_have_64_kib_at_most_and_whole_lines():
    """A long run makes several parts, each rewritten until it is full; a longer line has one of its own."""
    folder = Drawer()
    with closing(ObjectLedger(folder)) as ledger:
        for number in range(300):
            ledger.add(
                {"item": str(number), "status": "done", "text": "x" * (100_000 if number == 100 else 1000)}
            )
        stored(ledger)
        sizes = sorted(len(folder.files[name]) for name in part_names(folder))
        assert sizes[-1] > 100_000 > 1 << 16 >= sizes[-2]
        assert len(sizes) < 12
        assert all(folder.files[name].endswith(b"\n") for name in part_names(folder))
    assert [json.loads(line)["item"] for line in lines(folder)] == list(map(str, range(300)))


def test_an_object_store_that_fails_is_told_at_the_end(monkeypatch):
    """Records that no part takes stay readable, and the end names their items; what was stored before stays."""
    monkeypatch.setattr(parts, "_AGAIN_S", 0.01)
    folder = Drawer()
    with closing(ObjectLedger(folder)) as ledger:
        ledger.add({"item": "a", "status": "done"})
        stored(ledger)
        folder.fails = lambda name: name != LOCK
        offset = ledger.add({"item": "b", "status": "done"})
        time.sleep(0.05)
        (note,) = ledger.finish()
        assert "1 items could not be written to drawer://out/ledger.jsonl (" in note
        assert note.endswith("it is full): another run does them again: b")
        assert ledger.at(offset)["item"] == "b"
    assert [json.loads(line)["item"] for line in lines(reopened(folder.files))] == ["a"]


def test_a_part_that_fails_for_a_while_is_put_again(monkeypatch):
    """After a pause of the object store, all records are in parts, also those that came meanwhile."""
    monkeypatch.setattr(parts, "_AGAIN_S", 0.01)
    folder = Drawer()
    with closing(ObjectLedger(folder)) as ledger:
        folder.fails = lambda name: name != LOCK
        for item in "abc":
            ledger.add({"item": item, "status": "done"})
            time.sleep(0.02)
        assert part_names(folder) == []
        folder.fails = lambda name: False  # noqa: ARG005
        stored(ledger)
        left = {name: data for name, data in folder.files.items() if name != LOCK}
    assert [json.loads(line)["item"] for line in lines(reopened(left))] == list("abc")


def test_a_ledger_of_another_run_at_the_same_time_is_merged_too():
    """Where two runs got into one folder in spite of the lock, the records of both are in the ledger."""
    folder = Drawer({NAME: b'{"item":"0","status":"done"}\n'})
    first = ObjectLedger(folder)
    first.add({"item": "a", "status": "done"})
    stored(first)
    del folder.files[LOCK]
    other = Drawer(folder.files)
    with closing(ObjectLedger(other)) as second:
        second.add({"item": "b", "status": "done"})
    del folder.files[NAME]
    folder.files |= other.files
    for name in part_names(folder):
        if name not in other.files:
            del folder.files[name]
    first.add({"item": "c", "status": "done"})
    first.close()
    assert sorted(json.loads(line)["item"] for line in lines(folder)) == ["0", "a", "b", "c"]


def test_a_foreign_object_is_refused_and_stays():
    """An object of the ledger's name that holds something else is not overwritten, and the lock does not stay."""
    folder = Drawer({NAME: b"a,b\n1,2\n"})
    with pytest.raises(InvalidRequestError, match="not the ledger of a bulk run"):
        ObjectLedger(folder)
    assert folder.files == {NAME: b"a,b\n1,2\n"}


def test_a_copy_has_the_parts_of_a_run_under_way():
    """A ledger is read while its run lasts, and reading changes nothing."""
    folder = Drawer()
    with closing(ObjectLedger(folder)) as ledger:
        ledger.add({"item": "a", "status": "done"})
        stored(ledger)
        before = dict(folder.files)
        spool = copy_ledger(folder)
        assert os.pread(spool.file, 100, 0) == b'{"item":"a","status":"done"}\n'
        assert folder.files == before
    with pytest.raises(FileNotFoundError):
        copy_ledger(Drawer())


def test_the_lock_refuses_a_second_run_of_this_process():
    """The message names host, process and age, and the lock goes with its run."""
    folder = Drawer()
    first = ObjectLock(folder)
    with pytest.raises(InvalidRequestError) as caught:
        ObjectLock(folder)
    assert f"is locked by process {os.getpid()} on {socket.gethostname()}, begun 0 s ago" in str(caught.value)
    assert caught.value.field == "out_dir"
    first.release()
    assert folder.files == {}
    ObjectLock(folder).release()


def test_the_lock_of_a_dead_process_is_taken_over_at_once():
    """A process of this machine that was killed keeps nobody waiting."""
    process = subprocess.run(
        [sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, check=True
    )
    left = lock._here() | {"pid": int(process.stdout), "id": "x", "began": 1, "beat": 7}
    folder = Drawer({LOCK: json.dumps(left).encode()})
    start = time.monotonic()
    ObjectLock(folder).release()
    assert time.monotonic() - start < 0.4
    assert folder.files == {}


def test_a_lock_of_a_machine_of_the_same_name_is_watched(monkeypatch):
    """Machines and containers share host name, namespace number and process numbers; only all facts together tell."""
    monkeypatch.setattr(lock, "_DEAD_S", 0.1)
    monkeypatch.setattr(lock, "_LOOK_S", 0.02)
    process = subprocess.run(
        [sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, check=True
    )
    here = lock._here() | {"id": "x", "beat": 7}
    gone = here | {"pid": int(process.stdout)}
    for known, watched in (
        (gone, 0),
        (here | {"pid": os.getppid(), "started": "1"}, 0),
        (here | {"pid": os.getppid(), "started": lock._started(os.getppid())}, 1),
        (gone | {"boot": "another"}, 1),
        (gone | {"space": "pid:[1]"}, 1),
        (gone | {"host": "another"}, 1),
        (here | {"boot": "another"}, 1),
        (gone | {"boot": ""}, 1),
        (gone | {"started": ""}, 1),
        ({name: value for name, value in gone.items() if name not in ("boot", "started")}, 1),
    ):
        notices = []
        ObjectLock(Drawer({LOCK: json.dumps(known).encode()}), notices.append).release()
        assert len(notices) == watched, known


def test_a_system_that_tells_no_boot_has_its_locks_watched(monkeypatch):
    """Where the system does not name its boot, as on macOS, a lock of the same host and process is watched."""
    monkeypatch.setattr(lock, "_DEAD_S", 0.1)
    monkeypatch.setattr(
        lock, "_here", lambda: dict.fromkeys(("host", "boot", "space", "started"), "") | {"pid": 5}
    )
    notices = []
    left = lock._here() | {"id": "x"}
    ObjectLock(Drawer({LOCK: json.dumps(left).encode()}), notices.append).release()
    assert len(notices) == 1


def test_the_lock_of_another_machine_is_watched(monkeypatch):
    """It is taken over if it does not change in time, and refuses the run at its first beat."""
    monkeypatch.setattr(lock, "_DEAD_S", 0.3)
    monkeypatch.setattr(lock, "_LOOK_S", 0.02)
    monkeypatch.setattr(lock, "_BEAT_S", 0.05)
    left = json.dumps({"host": "other", "space": "", "pid": 5, "id": "x", "began": 1, "beat": 7}).encode()
    here, notices = lock._here(), []
    taken = ObjectLock(Drawer({LOCK: left}), notices.append)
    taken.release()
    assert [
        notice.startswith("drawer://out is locked by process 5 on other, begun") for notice in notices
    ] == [True]
    monkeypatch.setattr(lock, "_here", lambda: here | {"host": "other", "pid": 5})
    folder = Drawer()
    alive = ObjectLock(folder)
    monkeypatch.setattr(lock, "_here", lambda: here | {"host": "here", "pid": 6})
    monkeypatch.setattr(lock, "_ids", set())
    with pytest.raises(InvalidRequestError, match="locked by process 5 on other"):
        ObjectLock(folder)
    alive.release()


def test_a_lock_that_another_run_took_is_noticed_and_left(monkeypatch):
    """Of two runs that got in at once, the first one finds it out at its next beat, and says so at its end."""
    monkeypatch.setattr(lock, "_BEAT_S", 0.02)
    folder = Drawer()
    with closing(ObjectLedger(folder)) as ledger:
        folder.files[LOCK] = b'{"id":"other"}'
        wait_until(ledger.lost)
        assert "at the same time" in ledger.finish()[0]
    assert folder.files == {LOCK: b'{"id":"other"}'}


def test_a_run_that_lost_its_lock_leaves_the_ledger_to_the_other(monkeypatch):
    """Its records stay in parts, which the other run merges, and the other's ledger is not touched."""
    monkeypatch.setattr(lock, "_BEAT_S", 0.02)
    folder = Drawer()
    with closing(ObjectLedger(folder)) as ledger:
        ledger.add({"item": "a", "status": "done"})
        folder.files |= {LOCK: b'{"id":"other"}', NAME: b'{"item":"b","status":"done"}\n'}
        wait_until(ledger.lost)
        ledger.add({"item": "c", "status": "done"})
    assert folder.files[NAME] == b'{"item":"b","status":"done"}\n'
    del folder.files[LOCK]
    with closing(ObjectLedger(folder)):
        pass
    assert sorted(json.loads(line)["item"] for line in lines(folder)) == ["a", "b", "c"]


@pytest.mark.parametrize("left", [b'{"id":"other"}', None])
def test_a_run_that_was_silent_asks_for_its_lock(monkeypatch, left):
    """After a sleep the lock is read before the next item; one that is gone was taken by a run that has ended."""
    monkeypatch.setattr(lock, "_BEAT_S", 600)
    folder = Drawer()
    kept = ObjectLock(folder)
    assert kept.lost() is None
    now = lock._clock_s()
    monkeypatch.setattr(lock, "_clock_s", lambda: now + 60)
    assert kept.lost() is None
    kept._write()
    folder.files.pop(LOCK)
    folder.files |= {} if left is None else {LOCK: left}
    monkeypatch.setattr(lock, "_clock_s", lambda: now + 120)
    assert kept.lost().startswith("another run took over drawer://out after this one was silent for 60 s; ")
    kept._released.set()


def test_a_lock_that_can_not_be_understood_is_read_again(monkeypatch):
    """A broken read is not taken for another run, neither at the start nor at a beat."""
    monkeypatch.setattr(lock, "_BEAT_S", 0.02)
    monkeypatch.setattr(lock, "_AGAIN_S", 0.001)
    broken = []

    class Torn(Drawer):
        def read(self, name):
            if name == LOCK and name in self.files and len(broken) % 2 == 0:
                broken.append(name)
                return b'{"id'
            broken.append(name)
            return super().read(name)

    folder = Torn()
    kept = ObjectLock(folder)
    wait_until(lambda: len(folder.states) > 4)
    assert kept.lost() is None
    kept.release()
    assert folder.files == {}


def test_of_two_runs_that_begin_at_once_one_is_refused():
    """A run that wrote its lock before another one's replaced it gives way, and leaves the other's alone."""

    class Crowded(Drawer):
        def write(self, name, data):
            super().write(name, data)
            super().write(name, b'{"id":"other","host":"there","pid":5}')

    folder = Crowded()
    with pytest.raises(InvalidRequestError, match="locked by process 5 on there"):
        ObjectLedger(folder)
    assert folder.files == {LOCK: b'{"id":"other","host":"there","pid":5}'}


def test_the_beats_of_a_lock_differ(monkeypatch):
    """Each beat writes something else, which is how another machine knows that the run is alive."""
    monkeypatch.setattr(lock, "_BEAT_S", 0.01)
    folder = Drawer()
    kept = ObjectLock(folder)
    wait_until(lambda: len(folder.states) > 4)
    kept.release()
    beats = [state[LOCK] for state in folder.states if LOCK in state]
    assert all(one != other for one, other in pairwise(beats))


def test_a_replaced_record_is_dropped():
    """A record that takes another one's place is the only one of the two that a reader finds."""
    folder = Drawer()
    with closing(ObjectLedger(folder)) as ledger:
        ledger.add({"item": "old/a.png", "status": "done"})
        ledger.add({"item": "new/a.png", "status": "done", "replaces": "old/a.png"})
        assert ledger.find("old/a.png") is None
        assert len(ledger) == 1
    with closing(ObjectLedger(folder)) as ledger:
        assert ledger.find("old/a.png") is None
        assert ledger.find("new/a.png")["status"] == "done"


def test_a_result_on_disk_has_one_item_of_a_replaced_record(tmp_path):
    """`BulkResult.read` counts a moved image once."""
    old, new = (
        {"item": "old.png", "status": "done"},
        {"item": "new.png", "status": "done", "replaces": "old.png"},
    )
    (tmp_path / NAME).write_text("".join(json.dumps(each) + "\n" for each in (old, new)))
    assert [each.item for each in BulkResult.read(tmp_path)] == ["new.png"]
