"""The branches for Windows and macOS, run here: their locks, renames, names, clocks and processes are imitated."""

import ast
import os
import subprocess
import sys
import time
import unicodedata
import warnings
from pathlib import Path, PureWindowsPath

import pytest
from windows import msvcrt

import ipy_imgvar
from ipy_imgvar import Client, streams
from ipy_imgvar.bulk import ledger, processes, workers
from ipy_imgvar.bulk import lock as object_lock
from ipy_imgvar.errors import InvalidRequestError
from ipy_imgvar.line.grammar import split
from ipy_imgvar.network import sockets
from ipy_imgvar.plain import file_stem
from ipy_imgvar.results import locks
from ipy_imgvar.results.files import expand_pattern
from ipy_imgvar.results.store import Store, record_in
from ipy_imgvar.storage import addresses, disk


@pytest.fixture
def windows(monkeypatch):
    """Make the package take this system for Windows, with its kind of locks."""
    monkeypatch.setitem(sys.modules, "msvcrt", msvcrt)
    monkeypatch.setitem(sys.modules, "fcntl", None)
    monkeypatch.setattr(sys, "platform", "win32")


def opened(path):
    """Open a file as another program would, and return the descriptor."""
    return os.open(path, os.O_RDWR | os.O_CREAT)


@pytest.mark.parametrize("system", ["this one", "windows"])
def test_a_lock_keeps_others_out_until_its_file_is_closed(tmp_path, system, request):
    """Of two descriptors of a file, the second gets the lock once the first is closed; the content stays readable."""
    if system == "windows":
        request.getfixturevalue("windows")
    path = tmp_path / "mark"
    path.write_bytes(b"+run\n")
    first, second = opened(path), opened(path)
    assert locks.lock(first)
    assert not locks.lock(second)
    assert path.read_bytes() == b"+run\n"
    assert not locks.is_free(str(path))
    os.close(first)
    assert locks.is_free(str(path))
    assert locks.lock(second)
    os.close(second)


def test_a_file_is_closed_before_windows_removes_it(tmp_path, windows, monkeypatch):  # noqa: ARG001 - as on Windows
    """A dead process's mark is removed after its descriptor is closed, since Windows removes no open file."""
    path = tmp_path / "mark"
    path.touch()
    descriptors, unlink, system_open = [], os.unlink, os.open

    def remember(*arguments):
        descriptors.append(system_open(*arguments))
        return descriptors[-1]

    def as_on_windows(target):
        for each in descriptors:
            with pytest.raises(OSError, match="Bad file descriptor"):
                os.fstat(each)
        unlink(target)

    monkeypatch.setattr(os, "open", remember)
    monkeypatch.setattr(os, "unlink", as_on_windows)
    assert locks.remove_if_free(str(path))
    assert not path.exists()


@pytest.mark.parametrize("system", ["this one", "windows"])
def test_two_runs_never_write_one_ledger(tmp_path, system, request):
    """A second run of a folder is refused on Windows as elsewhere, and goes on once the first has ended."""
    if system == "windows":
        request.getfixturevalue("windows")
    first, second = opened(tmp_path / ledger.NAME), opened(tmp_path / ledger.NAME)
    ledger._lock(first, tmp_path)
    with pytest.raises(InvalidRequestError, match="another run is writing"):
        ledger._lock(second, tmp_path)
    os.close(first)
    ledger._lock(second, tmp_path)
    os.close(second)


def test_without_any_locks_a_run_goes_on(tmp_path, monkeypatch):
    """A Python without fcntl counts as a file system without locks: the age of a mark decides."""
    monkeypatch.setitem(sys.modules, "fcntl", None)
    file = opened(tmp_path / ledger.NAME)
    ledger._lock(file, tmp_path)
    with pytest.raises(OSError, match="no file locks"):
        locks.lock(file)
    os.close(file)
    assert not locks.is_free(str(tmp_path / ledger.NAME))
    os.utime(tmp_path / ledger.NAME, (0, 0))
    assert locks.is_free(str(tmp_path / ledger.NAME))


def test_the_store_works_with_windows_locks(tmp_path, windows):  # noqa: ARG001 - as on Windows
    """A run is written, held against others, and read again, where locks are on bytes."""
    store = Store(tmp_path, 10_000)
    run = store.begin(store.new_id(), {"source": "cat.png"})
    run.add(b"picture", ".png", {"seed": 7})
    run.finish(status="done")
    assert run.folder.name in Store(tmp_path, 10_000).living()
    assert record_in(run.folder)["pictures"][0]["seed"] == 7


def busy(monkeypatch, times):
    """Make the next renames fail as on Windows while another program reads the target."""
    replace, left = os.replace, [times]

    def as_on_windows(old, new):
        if left[0]:
            left[0] -= 1
            raise PermissionError(13, "The process cannot access the file")
        replace(old, new)

    monkeypatch.setattr(os, "replace", as_on_windows)
    return left


def test_a_file_that_is_read_for_a_moment_is_replaced_on_windows(tmp_path, windows, monkeypatch):  # noqa: ARG001
    """A rename that fails while a virus scanner reads the file is tried again for 0.15 s."""
    left = busy(monkeypatch, 3)
    disk.write_atomic(tmp_path / "a.png", b"new")
    assert ((tmp_path / "a.png").read_bytes(), left) == (b"new", [0])


def test_a_file_that_stays_open_on_windows_keeps_its_content(tmp_path, windows, monkeypatch):  # noqa: ARG001
    """Where the file stays open, the write fails, the old content stays, and no half file is left."""
    (tmp_path / "a.png").write_bytes(b"old")
    busy(monkeypatch, 100)
    with pytest.raises(PermissionError):
        disk.write_atomic(tmp_path / "a.png", b"new")
    assert {each.name: each.read_bytes() for each in tmp_path.iterdir()} == {"a.png": b"old"}


def test_elsewhere_a_refused_rename_is_not_tried_again(tmp_path, monkeypatch):
    """On other systems a PermissionError is no matter of time."""
    left = busy(monkeypatch, 1)
    with pytest.raises(PermissionError):
        disk.write_atomic(tmp_path / "a.png", b"new")
    assert left == [0]


@pytest.mark.parametrize("failure", ["no os.link", "no hard links"])
def test_without_hard_links_no_file_is_replaced(tmp_path, monkeypatch, failure):
    """The first free name is taken on FAT, and where Python has no `os.link`, too."""
    if failure == "no os.link":
        monkeypatch.delattr(os, "link")
    else:
        monkeypatch.setattr(os, "link", lambda *_: (_ for _ in ()).throw(OSError(95, "not supported")))
    names = [tmp_path / "cat-1.png", tmp_path / "cat-2.png"]
    assert [disk.write_first_free(names, data).name for data in (b"1", b"2")] == ["cat-1.png", "cat-2.png"]
    assert [each.read_bytes() for each in names] == [b"1", b"2"]


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("a:b.png", "takes no :"),
        ("what?.png", r"takes no \?"),
        ("nul.png", "nul.png is a device"),
        ("COM1/a.png", "COM1 is a device"),
        ("photos./a.png", "drops a space or dot"),
        ("photos /a.png", "drops a space or dot"),
    ],
)
def test_names_that_windows_can_not_have_are_refused_there_only(tmp_path, monkeypatch, name, why):
    """Before a run, Windows' reserved names, characters and ends are refused on Windows, and taken elsewhere."""
    disk.refuse_unwritable(tmp_path / name)
    monkeypatch.setattr(sys, "platform", "win32")
    with pytest.raises(InvalidRequestError, match=rf"can't be written \(.*{why}.*\); choose another path"):
        disk.refuse_unwritable(tmp_path / name)
    disk.refuse_unwritable(tmp_path / "console.png")
    disk.refuse_unwritable(Path("../x.png"))


def test_a_drive_that_is_not_there_is_named(tmp_path, monkeypatch):
    """Where not even a path's first folder exists, as for a drive that is not there, the message names it."""
    monkeypatch.setattr(os.path, "lexists", lambda _: False)
    with pytest.raises(InvalidRequestError, match=r"there is no /"):
        disk.refuse_unwritable(tmp_path / "a.png")


@pytest.mark.parametrize("name", ["CON", "nul", "Com1", "LPT9.scan", "aux.tar"])
def test_a_stem_is_no_device_of_windows(name):
    """A picture of an image that is called like a device gets another name on every system."""
    assert PureWindowsPath(file_stem(name)).stem.upper().split(".")[0] not in {
        "CON",
        "NUL",
        "COM1",
        "LPT9",
        "AUX",
    }
    assert file_stem(name).replace("-", "", 1) == name


@pytest.mark.parametrize(
    ("system", "stems", "is_refused"),
    [
        ("linux", ["Cat", "cat"], False),
        ("win32", ["Cat", "cat"], True),
        ("darwin", ["Cat", "cat"], True),
        ("linux", ["é", unicodedata.normalize("NFD", "é")], False),
        ("darwin", ["é", unicodedata.normalize("NFD", "é")], True),
    ],
)
def test_two_names_of_one_file_are_refused(monkeypatch, system, stems, is_refused):
    """Names that differ in case or in how marks are written are refused on macOS and Windows alone."""
    monkeypatch.setattr(sys, "platform", system)
    if not is_refused:
        assert len(expand_pattern("{stem}.png", stems, [".png"])) == 2
        return
    with pytest.raises(InvalidRequestError, match=r"is the name of 2 pictures; add \{i\}"):
        expand_pattern("{stem}.png", stems, [".png"])


@pytest.mark.parametrize(
    "path",
    [r"C:\photos\cat.png", r"\\server\share\cat.png", "C:/photos/cat.png", r"..\cat.png", r"\\?\C:\a.png"],
)
def test_paths_of_windows_pass_through_a_line(path):
    """Drives, network shares and backslashes reach the client as they were typed, and none counts as an address."""
    assert [token.text for token in split(f'{path} "{path}" -n 2')] == [path, path, "-n", "2"]
    assert not addresses.is_address(path)
    assert addresses.local_path(path) == path


def test_file_addresses_of_windows_are_paths(monkeypatch):
    """A file: URL with a drive or a server is a path of Windows there."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        from nturl2path import url2pathname
    monkeypatch.setattr("urllib.request.url2pathname", url2pathname)
    assert addresses.local_path("file:///C:/my%20photos/cat.png") == r"C:\my photos\cat.png"
    assert addresses.local_path("file://server/share/cat.png") == r"\\server\share\cat.png"


def started(monkeypatch):
    """Return the keywords with which a worker process would be started."""
    seen = {}

    def refuse(command, **keywords):
        seen.update(keywords, command=command)
        raise OSError(8, "no process here")

    monkeypatch.setattr(subprocess, "Popen", refuse)
    pool = processes.WorkerProcesses(1)
    with pytest.raises(processes.WorkerDiedError):
        pool.submit(print).result(20)
    pool.shutdown()
    return seen


def test_workers_of_windows_are_out_of_reach_of_ctrl_c(monkeypatch):
    """A worker gets a process group of its own on Windows, which has no sessions, and no window."""
    monkeypatch.setattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0x0000_0200, raising=False)
    monkeypatch.setattr(subprocess, "CREATE_NO_WINDOW", 0x0800_0000, raising=False)
    seen = started(monkeypatch)
    assert (seen["creationflags"], seen["start_new_session"], seen["stderr"]) == (0x0800_0200, True, None)
    assert "__main__" not in seen["command"][-1]


def test_workers_of_a_program_without_a_console_write_nowhere(monkeypatch):
    """Where standard error is None, as under pythonw, a worker gets the null device in its place."""
    monkeypatch.setattr(sys, "stderr", None)
    assert started(monkeypatch)["stderr"] == subprocess.DEVNULL


@pytest.mark.slow
def test_every_signal_that_is_named_is_known_on_windows():
    """The package names SIGINT and SIGTERM only: SIGKILL, SIGHUP and others are missing on Windows."""
    named = {
        node.attr
        for path in Path(ipy_imgvar.__file__).parent.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.Attribute) and node.attr.startswith("SIG") and node.attr.isupper()
    }
    assert named == {"SIGINT", "SIGTERM", "SIG_IGN"}


def test_no_process_is_signalled_where_there_is_no_proc(monkeypatch):
    """`os.kill(pid, 0)` is no question on Windows; without /proc, a lock's beats alone tell, so it is not called."""
    monkeypatch.setattr(
        object_lock.Path, "read_text", lambda *_, **__: (_ for _ in ()).throw(FileNotFoundError())
    )
    monkeypatch.setattr(os, "readlink", lambda *_: (_ for _ in ()).throw(FileNotFoundError()))
    monkeypatch.setattr(os, "kill", lambda *_: pytest.fail("a process was signalled"))
    fields = {**object_lock._here(), "pid": 1}
    assert (fields["boot"], fields["space"], fields["started"]) == ("", "", "")
    assert not object_lock._is_dead(fields)


@pytest.mark.parametrize("failure", ["no such clock", "a name only"])
def test_a_lock_counts_seconds_on_every_system(monkeypatch, failure):
    """Without the clock that goes on in a machine's sleep, the monotonic one counts."""
    if failure == "no such clock":
        monkeypatch.delattr(time, "CLOCK_BOOTTIME", raising=False)
    else:
        monkeypatch.setattr(
            time, "clock_gettime", lambda _: (_ for _ in ()).throw(OSError(28, "Invalid argument"))
        )
    assert abs(object_lock._clock_s() - time.monotonic()) < 1


def test_cores_are_counted_without_affinity(monkeypatch):
    """MacOS and Windows don't say which cores a process may use; all count there, and one where none is known."""
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 6)
    assert workers._cores() == 6
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert workers._cores() == 1


def test_a_ledger_is_read_without_pread(tmp_path, monkeypatch):
    """Windows has no `os.pread`: the position is set before each read."""
    monkeypatch.delattr(os, "pread")
    (tmp_path / "lines").write_bytes(b"first\nsecond\n")
    file = opened(tmp_path / "lines")
    assert [ledger.read_at(file, offset, 6) for offset in (6, 0)] == [b"second", b"first\n"]
    os.close(file)


@pytest.mark.parametrize(("system", "clear"), [("linux", "\r\x1b[K"), ("win32", f"\r{' ' * 79}\r")])
def test_a_console_of_windows_gets_no_escapes(monkeypatch, capsys, system, clear):
    """The progress is wiped with spaces on Windows, whose older console shows escapes as text."""
    monkeypatch.setattr(sys, "platform", system)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    streams.wipe(quiet=False)
    assert capsys.readouterr().err == clear


def test_a_refused_connection_has_words_on_windows(monkeypatch):
    """Windows has the messages of its sockets in a table; `os.strerror` knows none of them."""
    monkeypatch.setattr(sockets.socket, "errorTab", {111: "The server refused."}, raising=False)
    monkeypatch.setattr(sockets.socket.socket, "connect_ex", lambda *_: 111)
    kind = sockets.socket.AF_INET, sockets.socket.SOCK_STREAM, 0
    with pytest.raises(OSError, match=r"The server refused\."):
        sockets._connected(kind, ("127.0.0.1", 1), None, None)


def test_pictures_are_saved_and_held_as_on_windows(tmp_path, windows, photo_path, monkeypatch):  # noqa: ARG001
    """A whole run of the client, with its store and a file by pattern, works with Windows' locks and names."""
    monkeypatch.setitem(sys.modules, "threadpoolctl", None)  # It would load Windows' libraries.
    with Client("patch") as client:
        made = client.variations(photo_path, size=96, seed=7)
    assert made.save(tmp_path / "out" / "{stem}-{i}.png")[0].read_bytes() == made[0].bytes
    with pytest.raises(InvalidRequestError, match="is a device of Windows"):
        disk.refuse_unwritable(tmp_path / "aux.png")
