"""Records that were read back: what does not fit is left out, and nothing that shows them fails."""

import json
import os

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ipy_imgvar import history
from ipy_imgvar.bulk import page
from ipy_imgvar.bulk.result import BulkResult
from ipy_imgvar.client import Client
from ipy_imgvar.results import gallery
from ipy_imgvar.results.records import Fields, is_file_name
from ipy_imgvar.results.usage import add_usage

ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
WRONG = [
    None,
    True,
    3,
    -1,
    1e400,
    float("nan"),
    "x",
    "../../x",
    "a\0b",
    [],
    [1],
    {},
    {"a": [1]},
    10**400,
    ["x" * 400],
]
RUN_FIELDS = (
    "engine",
    "model",
    "request",
    "status",
    "started",
    "elapsed",
    "usage",
    "warnings",
    "pictures",
    "id",
)
PICTURE_FIELDS = (
    "mime_type", "size", "reduce_to", "index", "seed", "parameters", "remote_url", "source", "source_path", "file",
)  # fmt: skip
LEDGER_FIELDS = (
    "status", "source", "sha256", "paths", "sizes", "seed", "usage", "error", "elapsed", "thumbnail", "request",
)  # fmt: skip


@pytest.fixture
def record(fake_engine, photo, store_root):
    """Make a run, and return its record's path and lines."""
    Client(fake_engine(["red", "lime"])).variations(photo, size="64x64", n=2)
    (path,) = store_root.rglob("run.jsonl")
    return path, [json.loads(line) for line in path.read_text().splitlines()]


def shown():
    """Read the history and show it in every way."""
    runs = history()
    for run in runs:
        gallery.html(run)
        gallery.text(run)
        repr(run)
        assert all(each.path.parent.parent.name == "runs" for each in run)
    gallery.history_html(runs)
    gallery.history_text(runs)
    return runs


@pytest.mark.parametrize("name", RUN_FIELDS)
def test_any_type_in_a_run(record, name):
    """A run's record with a field of any type is shown, with its pictures."""
    path, (head, *rest) = record
    for value in WRONG:
        path.write_text("\n".join(map(json.dumps, [{**head, name: value}, *rest])))
        (run,) = shown()
        assert len(run) == 2


@pytest.mark.parametrize("name", PICTURE_FIELDS)
def test_any_type_in_a_picture(record, name):
    """A picture's entry with a field of any type is shown or left out, and the other picture stays."""
    path, (head, first, *rest) = record
    for value in WRONG:
        wrong = {"picture": {**first["picture"], name: value}}
        path.write_text("\n".join(map(json.dumps, [head, wrong, *rest])))
        (run,) = shown()
        assert len(run) >= 1


def test_what_is_left_out_is_said(record):
    """A run says which parts of its record could not be read."""
    path, (head, *rest) = record
    path.write_text("\n".join(map(json.dumps, [{**head, "elapsed": "long", "usage": 3}, *rest[:2]])))
    assert "parts of its record can't be read and are left out: elapsed, usage" in history()[0].warnings


def test_lines_that_are_not_ours(record):
    """Lines of a record that are no JSON, no object, or too deep, are passed over."""
    path, (head, *rest) = record
    lines = [json.dumps(head), "[" * 100_000, "3", "{", "null", *map(json.dumps, rest)]
    path.write_bytes("\n".join(lines).encode() + b'\n\xff\xfe\n{"pict')
    assert len(history()[0]) == 2


@pytest.mark.parametrize("name", LEDGER_FIELDS)
def test_any_type_in_a_ledger(tmp_path, photo_path, name):
    """A ledger's line with a field of any type is read, and the page is written."""
    for value in WRONG:
        line = {"item": "a.png", "status": "done", "source": "a.png", "paths": ["a-1.png"], name: value}
        (tmp_path / "ledger.jsonl").write_text(json.dumps(line) + "\n")
        (tmp_path / "a-1.png").write_bytes(photo_path.read_bytes())
        result = BulkResult.read(tmp_path)
        page.write_pages(result)
        page.fragment(result)
        result.summary()
        (item,) = result
        assert all(path.parent == tmp_path for path in item.paths)


@settings(deadline=None)
@given(st.dictionaries(st.sampled_from(("a", "b")), ANYTHING))
def test_readers_never_raise(record):
    """Whatever a field holds, each reader gives its own type or nothing."""
    fields = Fields(record)
    for name in ("a", "b"):
        assert isinstance(fields.text(name), str | None)
        assert isinstance(fields.whole(name), int | None)
        assert isinstance(fields.number(name), float | None)
        assert isinstance(fields.mapping(name), dict | None)
        assert isinstance(fields.texts(name), list)
        fields.size(name)
        fields.moment(name)
        json.dumps(fields.mapping(name), allow_nan=False)


@pytest.mark.parametrize(
    "name", ["", ".", "..", "../x", "a/b", "a\\b", "a\0", "/etc/passwd", "\ud800", 3, None]
)
def test_names_outside_of_the_folder(name):
    """A file name is one right in the folder, and nothing else."""
    assert not is_file_name(name)
    assert is_file_name("1.png")


@given(st.lists(st.dictionaries(st.text(max_size=3), ANYTHING, max_size=4), max_size=4))
def test_sums_are_json(counted):
    """Whatever servers count, the sum can be written as JSON."""
    total = {}
    for usage in counted:
        add_usage(total, usage)
    json.dumps(total, allow_nan=False)


def test_numbers_that_count_nothing_are_left_out():
    """Whole numbers that no float holds, or that no text takes, neither end a run nor enter its record."""
    total = {"tokens": 5}
    for each in (10**400, 1.5, 10**4300, 2**63, 2**63):
        add_usage(total, {"tokens": each, "new": 10**400})
    assert total == {"tokens": 6.5}


def test_bulk_adds_up_what_a_stream_counts(api, photo_path, tmp_path):
    """Two events of 5 and 7 tokens are 12 in a bulk run, as in any other."""
    from loopback import PICTURES, b64, events

    entries = [("image_edit.completed", {"b64_json": b64(PICTURES[k]), "usage": {"total_tokens": tokens,
                "details": {"image": tokens}}}) for k, tokens in ((0, 5), (1, 7))]  # fmt: skip
    api.script(events(*entries), events(*entries))
    arguments = {"n": 2, "prompt": "x", "options": {"stream": "true"}, "size": 1024}
    with Client("openai", api_base=api.base, api_key="none") as client:
        bulk = client.map([photo_path], out_dir=tmp_path / "out", progress=False, **arguments)
        alone = client.variations(photo_path, **arguments)
    assert bulk.usage == bulk[0].usage == alone.usage == {"total_tokens": 12, "details": {"image": 12}}


@pytest.mark.skipif(not hasattr(os, "getuid") or os.getuid() != 0, reason="only root can become another user")
def test_no_home(tmp_path):
    """Where no home folder can be found, pictures stay in memory, and one warning says so."""
    import subprocess
    import sys
    from pathlib import Path

    import ipy_imgvar

    code = (
        "import os, sys, pwd, numpy\n"
        "from IPython.core.interactiveshell import InteractiveShell\n"
        "from ipy_imgvar import variations, last\n"
        "from ipy_imgvar.results.history import forget\n"
        "import ipy_imgvar.engines.patch.engine, ipy_imgvar.magic\n"
        "image = numpy.zeros((64, 64), numpy.uint8)\n"
        "variations(image, engine='patch', size='64x64'); forget()\n"
        "shell = InteractiveShell.instance()\n"
        "os.environ.clear(); os.setgid(54321); os.setuid(54321)\n"
        "made = variations(image, engine='patch', size='64x64')\n"
        "shell.run_line_magic('load_ext', 'ipy_imgvar')\n"
        "shell.push({'image': image})\n"
        "value = shell.run_line_magic('imagevariation', 'image --engine patch -s 64 --quiet')\n"
        "print(len(made[0].bytes) > 60, len(value), last() is not None, made.warnings[0])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={
            **os.environ,
            "PYTHONPATH": str(Path(ipy_imgvar.__file__).parents[1]),
            "IPY_IMGVAR_STORE": "off",
            "IPYTHONDIR": str(tmp_path),
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == (
        "True 1 True the store can't be written (no home folder can be found; IPY_IMGVAR_STORE names another place): "
        "these pictures are in memory only, save them"
    )


@pytest.mark.parametrize("text", ["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00"])
def test_a_time_that_utc_cannot_tell_is_absent(text):
    """A moment outside of the years 1 to 9999 in UTC reads as absent, and its name is remembered."""
    fields = Fields({"started": text})
    assert fields.moment("started") is None
    assert fields.misfits == ["started"]
