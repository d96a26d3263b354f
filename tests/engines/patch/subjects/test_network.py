import hashlib
import subprocess
import sys
import time
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from ipy_imgvar import Client
from ipy_imgvar.engines.patch.subjects.network import MODEL, is_installed, missing_download, network_mask

#: rembg's parts that the module uses; its `__init__` must not run, since the real one compiles for a minute.
INIT = "raise RuntimeError('the package itself was imported')"
SESSIONS = """
import os, time
import numpy as np
from PIL import Image

{first}
HOME = {home!r}

class Session:
    def __init__(self, name, options, providers):
        assert providers == ["CPUExecutionProvider"]
        assert options.intra_op_num_threads == 2

    @classmethod
    def name(cls):
        return {name!r}

    @classmethod
    def model_dir(cls):
        return HOME

    @classmethod
    def resolve_existing(cls, file):
        path = os.path.join(HOME, file)
        return path if os.path.exists(path) else None

    @classmethod
    def download_models(cls):
        path = os.path.join(HOME, cls.name() + ".onnx")
        if not os.path.exists(path):
            {download}
        return path

    def predict(self, image):
        {predict}
        return [image.convert("L")]

sessions_class = [Session]
"""


def square(side=48):
    """Return a picture with a white square on black."""
    pixels = np.zeros((side, side + 8, 3), np.uint8)
    pixels[12:30, 10:30] = 255
    return Image.fromarray(pixels)


@pytest.fixture
def fake(tmp_path, monkeypatch):
    """Return a function that installs a rembg of a few lines, with or without its model file."""

    def install(*, model=True, name=MODEL, first="", download="open(path, 'wb').close()", predict="pass"):
        package, home = tmp_path / "path" / "rembg", tmp_path / "home"
        (package / "sessions").mkdir(parents=True)
        home.mkdir()
        if model:
            (home / f"{MODEL}.onnx").write_bytes(b"weights")
        (package / "__init__.py").write_text(INIT)
        text = SESSIONS.format(home=str(home), name=name, first=first, download=download, predict=predict)
        (package / "sessions" / "__init__.py").write_text(text)
        for each in [each for each in sys.modules if each.split(".")[0] == "rembg"]:
            monkeypatch.delitem(sys.modules, each)
        monkeypatch.setitem(sys.modules, "onnxruntime", SimpleNamespace(SessionOptions=SimpleNamespace))
        monkeypatch.syspath_prepend(str(package.parent))
        return home

    return install


def test_without_rembg_there_is_no_mask_and_no_line(monkeypatch):
    """An engine without the extra says nothing of it."""
    monkeypatch.setitem(sys.modules, "rembg", None)
    lines = []
    assert not is_installed()
    assert network_mask(square(), warn=lines.append) is None
    assert lines == []


def test_a_mask_says_what_made_it(fake):
    """The mask has the picture's size and 0..1, and names model and file; nothing is announced."""
    fake()
    lines = []
    found = network_mask(square(), warn=lines.append)
    np.testing.assert_array_equal(found.mask, np.asarray(square().convert("L"), np.float32) / 255)
    assert found.mask.dtype == np.float32
    assert found.model == MODEL
    assert found.sha256 == hashlib.sha256(b"weights").hexdigest()[:16]
    assert found.library.startswith("rembg")
    assert lines == []


def test_rembg_itself_is_not_imported(fake):
    """Its `__init__` does not run, and a later import of it starts afresh."""
    fake()
    assert network_mask(square(), warn=pytest.fail) is not None
    assert not [each for each in sys.modules if each.split(".")[0] == "rembg"]
    with pytest.raises(RuntimeError, match="itself was imported"):
        __import__("rembg")


def test_a_download_is_announced_before_it_starts(fake):
    """One line names file, origin, size and folder while the folder is still empty."""
    home = fake(model=False)
    lines, files = [], []

    def warn(line):
        lines.append(line)
        files.append(list(home.iterdir()))

    assert network_mask(square(), warn=warn) is not None
    assert files == [[]]
    assert all(word in lines[0] for word in (MODEL, "github.com", "179 MB", str(home), "subjects=off"))


def test_offline_without_the_model_there_is_one_more_line(fake):
    """A download that fails says where to put the file, and there is no mask."""
    home = fake(model=False, download="raise ConnectionError('a very long text')")
    lines = []
    assert network_mask(square(), warn=lines.append) is None
    assert len(lines) == 2
    assert "ConnectionError" in lines[1]
    assert f"{MODEL}.onnx into {home}" in lines[1]
    assert "\n" not in lines[1]


@pytest.mark.parametrize(
    ("faults", "reason"),
    [
        ({"first": "import no_such_module"}, "no_such_module"),
        ({"first": "raise SystemExit(1)"}, "SystemExit"),
        ({"first": "raise ValueError('numpy 1 and\\\\n2')"}, "ValueError: numpy 1 and"),
        ({"name": "another"}, MODEL),
        ({"predict": "raise RuntimeError('bad\\\\nmodel')"}, "RuntimeError: bad"),
        ({"predict": "raise SystemExit"}, "SystemExit"),
    ],
    ids=["half installed", "exits", "does not fit numpy", "without the model", "fails to run", "exits late"],
)
def test_a_broken_rembg_is_one_line(fake, faults, reason):
    """Whatever rembg raises, there is no mask, and one line with the reason and what to do."""
    fake(**faults)
    lines = []
    assert network_mask(square(), warn=lines.append) is None
    assert len(lines) == 1
    assert reason in lines[0]
    assert "ipy-imgvar[subjects]" in lines[0]
    assert "\n" not in lines[0]


def test_check_ends_the_wait(fake):
    """What `check` raises comes at once, while the network still runs."""
    fake(predict="time.sleep(100)")

    def check():
        raise KeyboardInterrupt

    start = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        network_mask(square(), warn=pytest.fail, check=check)
    assert time.monotonic() - start < 60


def field(number, value):
    """Return a protobuf field: a number below 2**14 as a varint, else text, bytes or a message."""
    if isinstance(value, int):
        rest = bytes([value]) if value < 128 else bytes([value % 128 + 128, value // 128])
        return field_key(number, 0) + rest
    data = value.encode() if isinstance(value, str) else value
    length = bytes([len(data)]) if len(data) < 128 else bytes([len(data) % 128 + 128, len(data) // 128])
    return field_key(number, 2) + length + data


def field_key(number, wire):
    """Return the key of a protobuf field."""
    key = number * 8 + wire
    return bytes([key]) if key < 128 else bytes([key % 128 + 128, key // 128])


def tensor(name, *shape):
    """Return a ValueInfoProto of float32."""
    dims = b"".join(field(1, field(1, size)) for size in shape)
    return field(1, name) + field(2, field(1, field(1, 1) + field(2, dims)))


def tiny_model():
    """Return an ONNX model with ISNet's signature that answers the mean of the channels.

    Fields as in onnx.proto3: ModelProto, GraphProto, NodeProto, AttributeProto.
    """
    axes = field(1, "axes") + field(8, 1) + field(20, 7)
    node = field(1, "input") + field(2, "output") + field(4, "ReduceMean") + field(5, axes)
    tensors = field(11, tensor("input", 1, 3, 1024, 1024)) + field(12, tensor("output", 1, 1, 1024, 1024))
    graph = field(1, node) + field(2, "mean") + tensors
    return field(1, 8) + field(7, graph) + field(8, field(1, "") + field(2, 13))


REAL = """
import os, sys
os.environ["U2NET_HOME"] = {home!r}
import numpy as np
from PIL import Image
from ipy_imgvar.engines.patch.subjects.network import network_mask
pixels = np.zeros((48, 56, 3), np.uint8)
pixels[12:30, 10:30] = 255
found = [network_mask(Image.fromarray(pixels), warn=print) for _ in range(2)]
assert found[0].mask.tobytes() == found[1].mask.tobytes()
assert found[0].mask.shape == (48, 56)
assert found[0].mask[14:28, 12:28].min() > 0.9
assert found[0].mask[:, 34:].max() < 0.1
assert not {{"numba", "pymatting", "rembg"}} & set(sys.modules)
print(found[0].model, found[0].sha256, found[0].library)
"""


def test_the_real_rembg_runs_a_tiny_model(tmp_path):
    """With the extra installed, rembg runs a model file from U2NET_HOME, without numba and without a line."""
    pytest.importorskip("onnxruntime")
    if not is_installed():
        pytest.skip("rembg is not installed")
    data = tiny_model()
    (tmp_path / f"{MODEL}.onnx").write_bytes(data)
    script = REAL.format(home=str(tmp_path))
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split()[:3] == [MODEL, hashlib.sha256(data).hexdigest()[:16], "rembg"]


def test_a_plan_names_the_download(fake):
    """Where the file is missing, a plan has its name, size and folder, and fetches nothing."""
    home = fake(model=False)
    with Client("patch") as client:
        (download,) = client.plan(square(), size=64).downloads
        assert (download.name, download.bytes) == (MODEL, 178_648_008)
        assert str(home) in download.why
        assert client.plan(square(), size=64, options={"subjects": False}).downloads == ()
        assert client.plan(square(), size=64, strength=0.1).downloads == ()
        assert client.plan(square(), size=64, mask=square()).downloads == ()
    assert list(home.iterdir()) == []


def test_no_download_is_planned(fake, monkeypatch):
    """Neither with the file in place, nor where rembg is broken or missing."""
    fake()
    assert missing_download() is None
    monkeypatch.setitem(sys.modules, "rembg", None)
    assert missing_download() is None
