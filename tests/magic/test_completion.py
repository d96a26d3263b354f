"""What Tab offers: the words that may stand there, at once, without running anything of the user's."""

import time

import IPython
import numpy as np
import pytest
from PIL import Image

from ipy_imgvar.magic.completion import candidates
from ipy_imgvar.magic.values import Names

#: It takes other matchers, which see less; it sorts what they offer, and replaces what its own rules take for a word.
IPYTHON_7 = IPython.version_info < (8,)


@pytest.fixture
def desk(tmp_path, monkeypatch):
    """Give variables of many kinds, in a folder with pictures and other files."""
    monkeypatch.chdir(tmp_path)
    for name in ("cat.png", "my cat.png", "it's.jpg", "notes.txt", "-dash.png", "{b}.png", ".hidden.png"):
        (tmp_path / name).write_bytes(b"")
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a b.webp").write_bytes(b"")
    return Names(
        {
            "caught": np.zeros((4, 4), np.uint8),
            "category": 5,
            "table": np.zeros(4),
            "image": Image.new("L", (4, 4)),
            "data": b"x",
            "many": [Image.new("L", (4, 4))],
            "_": Image.new("L", (4, 4)),
        }
    )


CASES = {
    "everything": (
        " ",
        [
            *(
                "caught",
                "data",
                "image",
                "many",
                "./-dash.png",
                "cat.png",
                r"it\'s.jpg",
                r"my\ cat.png",
                "photos/",
            ),
            "{{b}}.png",
        ],
    ),
    "a variable and a file": (" ca", ["caught", "cat.png"]),
    "a dollar": (" $ca", ["$caught"]),
    "a quoted file": (" 'my", ["'my cat.png"]),
    "a file in double quotes": (' "it', ["\"it's.jpg"]),
    "a file in a folder": (" photos/", [r"photos/a\ b.webp"]),
    "an escaped file": (r" my\ c", [r"my\ cat.png"]),
    "after a quoted word": (" 'my cat.png' ca", ["caught", "cat.png"]),
    "after an escaped word": (r" my\ cat.png ca", ["caught", "cat.png"]),
    "after an expression": (" {image.copy( )} ca", ["caught", "cat.png"]),
    "options": (" cat.png --qu", ["--quiet"]),
    "options that are there already": (" --quiet --qu", []),
    "options that may come again": (" --option a=b --opti", ["--option"]),
    "PSOpenAI's spellings of values": (" -Format b", ["base64", "b64_json", "byte", "bytes"]),
    "values": (" --strength s", ["subtle", "strong"]),
    "values after equals": (" --fit=c", ["crop"]),
    "values after the equals of a quote": (" --out-file='my", ["'my cat.png"]),
    "sizes": (" -s 5", ["512"]),
    "a mask": (" cat.png --mask ca", ["caught", "cat.png"]),
    "an engine": (" --engine p", ["patch"]),
    "any engine": (" --engine ", ["patch", "openai", "diffusers"]),
    "a model": (" --model p", ["patch-3"]),
    "a preset": (" --engine diffusers --model k", ["klein", "klein-base"]),
    "an option of the engine": (" --option f", ["flip="]),
    "options of an engine in the line": (" --engine openai --option st", ["stream="]),
    "options of an engine after equals": (" --Engine='openai' --option=st", ["stream="]),
    "options of the engine of a base": (" --api-base http://localhost:1 --option st", ["stream="]),
    "options of the engine of a key": (" --api-key ask --model ", ["gpt-image-2.6-flare"]),
    "values of an option": (" --option flip=", ["flip=true", "flip=false"]),
    "a value of an option": (" --engine openai --option output_format=p", ["output_format=png"]),
    "values of an option that has no choices": (" --engine openai --option quality=", []),
    "options of no engine": (" --engine nothing --option ", []),
    "options beside a base that is none": (" --api-base x --option f", ["flip="]),
    "a free value": (" --user ca", []),
    "a comment": (" cat.png # ca", []),
    "no match": (" zzz", []),
}


@pytest.mark.parametrize("case", CASES)
def test_a_line_is_completed(desk, case):
    """Tab offers what may stand at the cursor, written as the grammar reads it."""
    before, expected = CASES[case]
    assert candidates(before, desk)[1] == expected


@pytest.mark.parametrize("before", [" {ca", " photos/{ca", " -n {len("])
def test_an_expression_is_left_to_ipython(desk, before):
    """What stands in braces is Python, which IPython completes."""
    assert candidates(before, desk) is None


def test_a_body_is_completed_unquoted(desk):
    """In a body a whole line is one image, and no option."""
    assert candidates("my", desk, in_body=True) == ("my", ["my cat.png"])
    assert candidates("my c", desk, in_body=True) == ("my c", ["my cat.png"])
    assert candidates("-", desk, in_body=True) == ("-", ["-dash.png"])
    assert candidates("# ca", desk, in_body=True) is None


def hostile():
    """Return objects that raise, or count, when anything of theirs is looked at."""
    calls = []

    class Attributes:
        def __getattr__(self, name):
            calls.append(name)
            raise RuntimeError(name)

        def __repr__(self):
            calls.append("repr")
            raise RuntimeError("repr")

        def __len__(self):
            calls.append("len")
            raise RuntimeError("len")

    class Proxy:
        @property
        def __class__(self):
            calls.append("class")
            raise RuntimeError("class")

        @property
        def ndim(self):
            calls.append("ndim")
            raise RuntimeError("ndim")

        def __array__(self, *_, **__):
            calls.append("array")
            raise RuntimeError("array")

    looped = []
    looped.append(looped)
    return calls, {"attributes": Attributes(), "proxy": Proxy(), "looped": looped, "lazy": [Attributes()]}


def test_nothing_is_evaluated():
    """Completing judges variables by type: no attribute, property, length or repr of theirs is asked for."""
    calls, variables = hostile()
    assert candidates(" ", Names(variables))[1][:1] == ["proxy"]
    assert calls == []


@pytest.mark.usefixtures("desk")
def test_completing_is_quick_among_a_thousand_variables():
    """A completion takes well under 50 ms of CPU time; the bound leaves room for a slow machine."""
    variables = {f"v{i}": [np.zeros((4, 4)), 5, "text", b"x", [1, 2], {}][i % 6] for i in range(1000)}
    started = time.process_time()
    for _ in range(10):
        candidates(" v", Names(variables))
    assert (time.process_time() - started) / 10 < 0.5


def test_the_matcher_comes_and_goes(shell):
    """Loading twice leaves one matcher, unloading none."""
    completer = shell.shell.Completer
    matchers = completer.magic_arg_matchers if IPYTHON_7 else completer.custom_matchers
    shell.run("%unload_ext ipy_imgvar")
    before = list(matchers)
    shell.run("%load_ext ipy_imgvar")
    shell.run("%reload_ext ipy_imgvar")
    assert len(matchers) == len(before) + 1
    shell.run("%unload_ext ipy_imgvar")
    assert matchers == before
    shell.run("%load_ext ipy_imgvar")


def test_a_kernel_completes(kernel):
    """The kernel's completer answers in a line, after an assignment, and in a cell's line and body."""
    kernel.run("import numpy as np\nphase = np.zeros((8, 8))\nphrase = 5")
    assert kernel.complete("%imagevariation --stren")[0] == ["--strength"]
    assert kernel.complete("%imagevariation ph")[0] == ["phase", "photo.png"]
    assert kernel.complete("x = %imagevariation ph")[0] == ["phase", "photo.png"]
    assert kernel.complete("1 + 1\nx = %imagevariation photo.png --fit p")[0] == ["pad"]
    assert kernel.complete("%%imagevariation -s 64 --fit p")[0] == ["pad"]
    if not IPYTHON_7:  # whose matchers know the cursor's line alone
        assert kernel.complete("%%imagevariation -s 64\nphoto.png\nph")[0] == ["phase", "photo.png"]
    line = "%%imagevariation $pha\nphoto.png"
    (match,), start, _ = kernel.complete(line, cursor=20)
    assert line[:start] + match == "%%imagevariation $phase"
    assert "phrase" in kernel.complete("%imagevariation {phr")[0]
    assert kernel.complete("def f():\n    %imagevariation ph")[0] == ["phase", "photo.png"]


def test_a_kernel_replaces_the_word(kernel):
    """The range that a front end replaces is the word at the cursor."""
    line = "x = %imagevariation photo.png --stren"
    assert kernel.complete(line)[1:] == (line.index("--stren"), len(line))


@pytest.mark.parametrize("word", ["~../", "~nobody/", "\0/", "/no/such/folder/"])
def test_a_folder_that_is_none_offers_nothing(word):
    """A path that leads nowhere, or to nobody's home, is no error while it is typed."""
    assert candidates(f" {word}", Names({})) == (word, [])
