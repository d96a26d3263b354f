"""The hosted engine through the magic, in a real kernel: where keys come from, and that none is ever seen."""

import json
import os
import re
import sys
from pathlib import Path

import pytest
from loopback import CANARY, refusal

import ipy_imgvar


@pytest.fixture
def notebook(tmp_path, photo_path, monkeypatch):
    """Give a function that runs cells as a notebook, and returns the notebook as it is saved."""
    monkeypatch.setenv("PYTHONPATH", str(Path(ipy_imgvar.__file__).parents[1]))
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))

    import nbformat
    from nbclient import NotebookClient

    def run(*cells, **environment):
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        book = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
        resources = {"metadata": {"path": str(photo_path.parent)}}
        client = NotebookClient(
            book, timeout=300, allow_errors=True, resources=resources, kernel_name="python3"
        )
        client.execute()
        return book

    return run


def texts(book):
    """Return all that a saved notebook's outputs hold."""
    return json.dumps([cell.get("outputs") for cell in book.cells])


def errors(book):
    return [
        output for cell in book.cells for output in cell.get("outputs", ()) if output.output_type == "error"
    ]


#: The key comes from the environment variable CANARY, so that no cell has it in its source.
START = "%load_ext ipy_imgvar\nimport os\nkey = os.environ['CANARY']\nfrom ipy_imgvar import *"


def test_no_key_in_a_saved_notebook(api, notebook, tmp_path):
    """With --verbose, errors, reprs, tracebacks with variables and every log on, nothing shows or holds the key."""
    line = f"%imagevariation photo.png --api-base {api.base} --verbose --api-key"
    new = (
        f"Client(api_base='{api.base}', api_key=key, extra_headers=dict(key=more), extra_query=dict(k=more))"
    )
    broken = [b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n{}", "close"]
    api.script(broken, broken, refusal(401, f"bad {CANARY}"))
    book = notebook(
        # Secrets, since %xmode Verbose shows the variables of the cell itself.
        START
        + "\nkey = Secret(key)\nclass More(str):\n    __repr__ = lambda self: 'more'\nmore = More(key.reveal())",
        "import logging\nlogging.basicConfig(level=0, force=True)",
        f"{line} key --prompt x",
        f"%xmode Verbose\nvariations('photo.png', prompt='x', api_base='{api.base}', api_key=key)",
        f"c = {new}\nc.variations('photo.png', prompt='x', max_retry_count=1)",
        "get_ipython().run_line_magic('tb', '')",
        "variations('photo.png', prompt='x', api_base='nonsense', api_key=key)",
        "c, c.engine, c.engine.connection, vars(c.engine), key, last(), last().request, history()",
        "import pickle, copy\ntry: pickle.dumps(key)\nexcept Exception as exc: print(repr(exc))\ncopy.copy(c)",
        f"%xmode Context\n{line} $key --extra-query {{dict(k=more)}}",
        f"{line} {{key}} --history",
        CANARY=CANARY,
    )
    shown = texts(book)
    assert len(errors(book)) >= 4
    assert len(api.posts) == 4
    assert all(CANARY in post.headers["authorization"] for post in api.posts)
    around = [shown[max(0, at.start() - 150) : at.end() + 20] for at in re.finditer(CANARY, shown)]
    assert around == []
    assert CANARY[8:] not in shown
    for path in [*tmp_path.rglob("*"), *Path(os.environ["IPY_IMGVAR_STORE"]).rglob("*")]:
        if path.is_file() and "history.sqlite" not in path.name:
            assert CANARY.encode() not in path.read_bytes(), path


#: What comes before the line, and how the line says where the key is.
WAYS = [
    ("", "--api-key key"),
    ("", "--api-key $key"),
    ("", "--api-key {key}"),
    ("", "--api-key {Secret(key)}"),
    ("", "--api-key=key"),
    ("secret = Secret(key)", "--api-key secret"),
    ("secret = Secret(key)", "--api-key=$secret"),
    ("import getpass; getpass.getpass = lambda prompt: key", "--api-key ask"),
    ("OPENAI_API_KEY = key", ""),
    ("OPENAI_API_KEY = Secret(key)", ""),
    ("del OPENAI_API_KEY; os.environ['OPENAI_API_KEY'] = key", ""),
]


@pytest.mark.slow
def test_where_a_key_comes_from(api, notebook):
    """A variable, $name, {expression}, a Secret, ask, a notebook variable and the environment all give the key."""
    cells = [
        f"{setup}\n%imagevariation photo.png --api-base {api.base} {option} --verbose"
        for setup, option in WAYS
    ]
    book = notebook(START, *cells, CANARY=CANARY)
    assert errors(book) == []
    assert [post.headers.get("authorization") for post in api.posts] == [f"Bearer {CANARY}"] * len(WAYS)
    assert CANARY not in texts(book)


BAD_LINES = [
    "photo.png --api-key {key}",
    "--api-key {key}",
    "photo.png --api-key={key}",
    "photo.png --api-key '{key}'",
    'photo.png --api-key "{key}"',
    "photo.png -n 99 --api-key {key}",
    "nothing.png --api-key {key}",
    "photo.png --nonsense --api-key {key}",
    "photo.png --api-key {key} --size huge",
    "photo.png --API-KEY {key} x y z",
    "photo.png -ApiKey {key}",
    "photo.png --api-key {key} --prompt 'unclosed",
    "photo.png --api-key {key}trailing more words",
    "photo.png --api_key {key}",
    "photo.png --apikey {key}",
    "photo.png --api-key {key} {{1/0}}",
    "photo.png --api-key  {key};",
]


def test_a_literal_key_is_not_echoed(api, notebook):
    """A key as text is refused without an echo, in one line, whatever else is wrong with the line."""
    lines = [line.format(key=CANARY) for line in BAD_LINES]
    book = notebook(START, *[f"%imagevariation {line}" for line in lines], CANARY="unused")
    assert api.requests == []
    found = [cell.outputs for cell in book.cells[1:]]
    for line, outputs in zip(lines, found, strict=True):
        shown = json.dumps(outputs)
        assert CANARY not in shown, line
        assert CANARY[8:] not in shown, line
        assert outputs, line


@pytest.mark.slow
def test_destination_is_in_the_cell(api, notebook):
    """Before a picture is sent, the cell's output says where it goes and to which model."""
    cell = (
        "import IPython.display as d\nseen = []\n"
        "from ipy_imgvar.magic.display import RunDisplay\n"
        "notice = RunDisplay.notice\n"
        "RunDisplay.notice = lambda self, text: (seen.append(text), notice(self, text))[1]\n"
        f"%imagevariation photo.png --api-base {api.base} --api-key key --model gpt-image-2\n"
        "print(seen)"
    )
    book = notebook(START, cell, CANARY=CANARY)
    assert f"goes to 127.0.0.1:{api.port} (edits, model gpt-image-2)" in texts(book)
    assert errors(book) == []


@pytest.mark.slow
def test_one_client_for_the_same_settings(api, notebook):
    """Cells with the same settings share one connection."""
    line = f"%imagevariation photo.png --api-base {api.base} --api-key key --quiet"
    book = notebook(START, line, f"for i in range(5):\n    {line}", line, CANARY=CANARY)
    assert errors(book) == []
    assert len(api.posts) == 7
    assert api.connections == 1


@pytest.mark.slow
def test_an_error_is_one_line(api, notebook):
    """A server's refusal is one line in the cell, with the server's message and the way out."""
    api.script(refusal(404, "The model `x` does not exist", "model_not_found"))
    book = notebook(START, f"%imagevariation photo.png --api-base {api.base} --model x", CANARY=CANARY)
    (error,) = errors(book)
    assert len(error.traceback) == 1
    assert "The model `x` does not exist" in error.traceback[0]
    assert error.traceback[0].endswith("check --model and --api-base")


@pytest.mark.slow
def test_command_lines_of_children(api, notebook):
    """No process that a run starts has the key in its command line."""
    cell = (
        "import sys\ncommands = []\nsys.addaudithook(lambda name, args: commands.append(repr(args)) "
        "if name in ('subprocess.Popen', 'os.exec', 'os.posix_spawn', 'os.system') else None)\n"
        f"%imagevariation photo.png --api-base {api.base} --api-key key --quiet\n"
        "print('seen', sum(key in each for each in commands))"
    )
    book = notebook(START, cell, CANARY=CANARY)
    assert re.search(r"seen 0", texts(book))
    assert sys.executable
