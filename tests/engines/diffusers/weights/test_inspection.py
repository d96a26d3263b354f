"""Folders with code that would write a file if it ran: each is refused before, with the file's name."""

import importlib.util
import json
import os
import pickle
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest
from hubserver import INDEX, pipeline
from hypothesis import given
from hypothesis import strategies as st

from ipy_imgvar.engines.diffusers.weights import inspection
from ipy_imgvar.engines.diffusers.weights.cache import repo_folder
from ipy_imgvar.engines.diffusers.weights.inspection import (
    inspect_adapter,
    inspect_folder,
    inspect_index,
    inspect_part,
)
from ipy_imgvar.errors import InvalidRequestError

#: Python code that leaves a trace when it runs; `TRACE` stands for the file.
EVIL = b"""
open("TRACE", "w").close()
from diffusers import DiffusionPipeline, ModelMixin, ConfigMixin
class Evil(DiffusionPipeline):
    def __init__(self): super().__init__()
class EvilModel(ModelMixin, ConfigMixin):
    pass
"""


class Evil:
    """A pickle of it writes a file when it is read."""

    def __init__(self, trace):
        self.trace = trace

    def __reduce__(self):
        return os.mkdir, (str(self.trace),)


def index(**changes):
    return json.dumps({key: value for key, value in {**INDEX, **changes}.items() if value != ""}).encode()


def settings(**values):
    return json.dumps(values).encode()


UNET = "unet/diffusion_pytorch_model.safetensors"
SHARDS = "unet/diffusion_pytorch_model.safetensors.index.json"
CASES = {
    "index missing": ({"model_index.json": None}, "model_index.json is missing"),
    "index no JSON": ({"model_index.json": b"{'a': 1}"}, "model_index.json is no JSON"),
    "index deep": ({"model_index.json": b"[" * 100_000}, "model_index.json is no JSON"),
    "index a list": ({"model_index.json": b"[]"}, "model_index.json has no JSON object"),
    "index large": ({"model_index.json": b" " * 10_000_001}, "model_index.json is too large"),
    "index binary": ({"model_index.json": b"\xff\xfe\x00"}, "model_index.json is no JSON"),
    "pipeline custom": (
        {"model_index.json": index(_class_name=["pipeline", "Evil"])},
        "has a custom pipeline",
    ),
    "pipeline nameless": ({"model_index.json": index(_class_name="")}, "has a custom pipeline"),
    "pipeline a path": (
        {"model_index.json": index(_class_name="../EvilPipeline")},
        "no pipeline of diffusers",
    ),
    "pipeline another class": (
        {"model_index.json": index(_class_name="logging")},
        "no pipeline of diffusers",
    ),
    "pipeline beside": ({"pipeline.py": EVIL}, "pipeline.py has Python code"),
    "pipeline None": ({"None.py": EVIL}, "None.py has Python code"),
    "pipeline combined": (
        {"model_index.json": index(_class_name="KandinskyV22CombinedPipeline")},
        "README.md has the card of a combined pipeline",
    ),
    "part custom": (
        {"model_index.json": index(unet=["evil", "EvilModel"]), "unet/evil.py": EVIL},
        "model_index.json has unet as ['evil', 'EvilModel'], custom code",
    ),
    "part from Python": ({"model_index.json": index(unet=["os", "system"])}, "has unet as ['os', 'system']"),
    "part below a library": (
        {"model_index.json": index(unet=["diffusers.utils", "logging"])},
        "has unet as ['diffusers.utils', 'logging']",
    ),
    "part of three": ({"model_index.json": index(unet=["diffusers", "UNet", {}])}, "custom code"),
    "part of one": ({"model_index.json": index(unet=["diffusers"])}, "custom code"),
    "part nameless": ({"model_index.json": index(unet=["diffusers", None])}, "custom code"),
    "part elsewhere": ({"model_index.json": index(**{"../x": ["diffusers", "UNet"]})}, "custom code"),
    "part with code": ({"unet/helper.py": EVIL}, "unet/helper.py has code beside a component"),
    "part with code below": ({"tokenizer/x/helper.py": EVIL}, "tokenizer/x/helper.py has code beside"),
    "part with a library": ({"unet/helper.so": b""}, "unet/helper.so has code beside a component"),
    "tokenizer's code": (
        {"tokenizer/tokenizer_config.json": settings(auto_map={"AutoTokenizer": ["evil.Evil", None]})},
        "tokenizer/tokenizer_config.json has auto_map",
    ),
    "model's code": (
        {"unet/config.json": settings(x=[{"auto_map": {"A": "b.C"}}])},
        "unet/config.json has auto_map",
    ),
    "kernel": (
        {"unet/config.json": settings(text_config={"_attn_implementation": "someone/evil"})},
        "unet/config.json has 'someone/evil' as its _attn_implementation, a kernel",
    ),
    "kernel by fallback": (
        {"unet/config.json": settings(attn_implementation={"": "flash_attention_2"})},
        "as its attn_implementation, a kernel",
    ),
    "quantisation": (
        {"unet/config.json": settings(quantization_config={"quant_method": "mxfp4"})},
        "'mxfp4' as its quantisation",
    ),
    "second repository": (
        {"unet/adapter_config.json": settings(base_model_name_or_path="someone/evil")},
        "unet/adapter_config.json has a second model inside a component",
    ),
    "second pipeline": ({"unet/model_index.json": index()}, "unet/model_index.json has a second model"),
    "pickle": ({UNET: None}, "unet/diffusion_pytorch_model.bin has weights in a format that may run code"),
    "pickle of a tokenizer": ({"tokenizer/vocab.pkl": b""}, "tokenizer/vocab.pkl has weights in a format"),
    "pickle as a part": (
        {SHARDS: settings(weight_map={"a": "diffusion_pytorch_model.bin"})},
        "'diffusion_pytorch_model.bin' as a part of the weights",
    ),
    "part of weights elsewhere": (
        {SHARDS: settings(weight_map={"a": "../../x.safetensors"})},
        "'../../x.safetensors' as a part of the weights",
    ),
    "settings no JSON": ({"unet/config.json": b"nothing"}, "unet/config.json is no JSON"),
}


def written(folder, files, tmp_path, name="model"):
    made = {
        path: data.replace(b"TRACE", str(tmp_path / "trace").encode())
        for path, data in pipeline(**files).items()
    }
    return folder(made, name=name)


@pytest.mark.parametrize("case", CASES)
def test_refused(folder, tmp_path, case):
    """A folder with code, a pickle or a broken index is refused in one line that names the file, and nothing runs."""
    files, text = CASES[case]
    root = written(folder, files, tmp_path)
    with pytest.raises(InvalidRequestError) as caught:
        inspect_folder(root, "a-name")
    message = str(caught.value)
    assert message.startswith("model a-name can't be loaded: ")
    assert text in message
    assert "\n" not in message
    assert str(tmp_path) not in message
    assert caught.value.field == "model"
    assert not (tmp_path / "trace").exists()


def test_accepted(folder):
    """A pipeline with safetensors passes, also beside pickles, code at the top and harmless settings."""
    root = folder(
        **{
            "handler.py": EVIL,
            "model_index.json": index(
                safety_checker=["stable_diffusion", "StableDiffusionSafetyChecker"], sizes=[1, 2], flag=True
            ),
            "unet/config.json": settings(
                attn_implementation="sdpa",
                quantization_config={"quant_method": "bitsandbytes"},
                auto_map=None,
            ),
            "unet/pytorch_model.bin.index.json": settings(weight_map={"a": "evil.bin"}),
            SHARDS: settings(weight_map={"a": "diffusion_pytorch_model-00001-of-00001.safetensors"}),
        }
    )
    assert inspect_folder(root, "a-name")["_class_name"] == "StableDiffusionPipeline"


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.text(max_size=8)
    | st.sampled_from(["diffusers", "flux", "evil"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
)


@given(st.dictionaries(st.sampled_from(["_class_name", "unet", "vae", "flag"]), JSON) | JSON)
def test_any_index(value):
    """Any JSON is refused, or lists components of the known libraries only."""
    try:
        components = inspect_index(value, "a-name")
    except InvalidRequestError:
        return
    assert value["_class_name"].isidentifier()
    assert all(value[component][0] in {"diffusers", "flux"} for component in components)


@given(JSON)
def test_any_settings(tmp_path_factory, value):
    """Any JSON as a component's settings passes or is refused; no other error ends the inspection."""
    folder = tmp_path_factory.mktemp("model")
    (folder / "config.json").write_text(json.dumps(value))
    with suppress(InvalidRequestError):
        inspect_part(folder, "a-name")


@pytest.mark.parametrize("target", ["file", "folder", "part", "index", "nothing", "circle"])
def test_links_that_leave(folder, tmp_path, target):
    """A link to a file or folder outside, to nothing or in a circle is refused."""
    root = folder()
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "config.json").write_text("{}")
    (outside / "model_index.json").write_bytes(index())
    link, to = {
        "file": (root / "unet/more.json", outside / "config.json"),
        "folder": (root / "tokenizer/more", outside),
        "part": (root / "unet", outside),
        "index": (root / "model_index.json", outside / "model_index.json"),
        "nothing": (root / "unet/more.json", tmp_path / "nothing"),
        "circle": (root / "unet/more", root / "unet"),
    }[target]
    if target == "part":
        link.rename(tmp_path / "moved")
    link.unlink(missing_ok=True)
    link.symlink_to(to)
    with pytest.raises(InvalidRequestError, match=f"{link.relative_to(root)} (has|is) a link"):
        inspect_folder(root, "a-name")


def test_deep_settings(folder):
    """Settings that are nested too deeply for the parser, or for the inspection, are refused."""
    root = folder(**{"unet/config.json": b"[" * 5000 + b"]" * 5000})
    with pytest.raises(InvalidRequestError, match=r"no JSON|nested too deeply"):
        inspect_folder(root, "a-name")


def test_links_that_stay(folder):
    """A link to a file inside the folder passes."""
    root = folder()
    (root / "unet/more.json").symlink_to(root / "tokenizer/vocab.json")
    inspect_folder(root, "a-name")


def test_the_hubs_own_links(folder):
    """In a snapshot of the hub's cache links into the repository's blobs pass, links elsewhere don't."""
    blobs = repo_folder("some/model") / "blobs"
    blobs.mkdir(parents=True)
    snapshot = blobs.parent / "snapshots" / ("0" * 40)
    for number, (path, data) in enumerate(pipeline().items()):
        (blobs / str(number)).write_bytes(data)
        (snapshot / path).parent.mkdir(parents=True, exist_ok=True)
        (snapshot / path).symlink_to(os.path.relpath(blobs / str(number), (snapshot / path).parent))
    inspect_folder(snapshot, "a-name")
    (snapshot / "unet/more.json").symlink_to(folder(name="other") / "unet/config.json")
    with pytest.raises(InvalidRequestError, match=r"unet/more\.json has a link that leaves"):
        inspect_folder(snapshot, "a-name")


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may read everything")
def test_unreadable(folder):
    """A folder that the user may not read is refused in one line."""
    root = folder()
    (root / "unet").chmod(0)
    try:
        with pytest.raises(InvalidRequestError, match="unreadable"):
            inspect_folder(root, "a-name")
    finally:
        (root / "unet").chmod(0o755)


@pytest.mark.parametrize("name", ["a.bin", "a.pt", "a.safetensors.bin", "safetensors", "a"])
def test_adapters(name, tmp_path):
    """Only a `.safetensors` file is taken as an adapter."""
    inspect_adapter(tmp_path / "a.safetensors")
    with pytest.raises(InvalidRequestError, match=r"allowed: a \.safetensors file"):
        inspect_adapter(tmp_path / name)


def test_the_encoder_beside_an_adapter(tmp_path):
    """An image encoder beside an adapter is inspected with it."""
    encoder = tmp_path / "image_encoder"
    encoder.mkdir()
    (encoder / "config.json").write_text("{}")
    (encoder / "model.safetensors").write_bytes(b"")
    inspect_adapter(tmp_path / "a.safetensors")
    (encoder / "model.safetensors").rename(encoder / "pytorch_model.bin")
    with pytest.raises(InvalidRequestError, match=r"image_encoder/pytorch_model\.bin has weights"):
        inspect_adapter(tmp_path / "a.safetensors")


def test_modules_of_diffusers():
    """The listed modules are those of diffusers' pipelines that define models, tokenizers or schedulers."""
    diffusers = importlib.util.find_spec("diffusers")
    if diffusers is None:
        pytest.skip("diffusers is not installed")
    root = Path(diffusers.origin).parent / "pipelines"
    folders = {path.parent.name for path in root.rglob("*.py")}
    assert folders >= inspection._PIPELINE_MODULES


#: Loads each folder twice by diffusers itself: as this engine does, and with every lock open.
REAL = """
import json, sys, warnings
from pathlib import Path
warnings.simplefilter("ignore")
from diffusers import DiffusionPipeline
import torch
results = {}
for folder in sys.argv[2:]:
    for kind, options in (
        ("locked", {"use_safetensors": True, "trust_remote_code": False}),
        ("open", {"trust_remote_code": True}),
    ):
        trace = Path(sys.argv[1])
        try:
            DiffusionPipeline.from_pretrained(folder, local_files_only=True, **options)
        except Exception as exc:
            pass
        results[f"{Path(folder).name} {kind}"] = trace.exists()
        trace.unlink(missing_ok=True)
print("RESULT", json.dumps(results))
"""


@pytest.mark.skipif(
    importlib.util.find_spec("torch") is None or importlib.util.find_spec("diffusers") is None,
    reason="torch and diffusers are not installed",
)
def test_what_diffusers_itself_would_do(folder, tmp_path):
    """The code of these folders runs if diffusers is allowed to: the inspection keeps out real code."""
    files = {
        "pipeline": {
            "model_index.json": json.dumps(
                {"_class_name": ["evil", "Evil"], "_diffusers_version": "0.42.1"}
            ).encode(),
            "evil.py": EVIL,
        },
        "part": {
            "model_index.json": index(
                unet=["evil", "EvilModel"], scheduler=[None, None], tokenizer=[None, None]
            ),
            "unet/evil.py": EVIL,
        },
        "none": {
            "model_index.json": index(unet=[None, None], scheduler=[None, None], tokenizer=[None, None]),
            "None.py": EVIL,
        },
    }
    roots = [written(folder, each, tmp_path, name) for name, each in files.items()]
    done = subprocess.run(
        [sys.executable, "-c", REAL, str(tmp_path / "trace"), *map(str, roots)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "HF_HOME": str(tmp_path), "HF_MODULES_CACHE": str(tmp_path / "modules")},
    )
    assert "RESULT" in done.stdout, done.stderr
    results = json.loads(done.stdout.rpartition("RESULT")[2])
    assert [case for case, ran in results.items() if ran] == ["pipeline open", "part open", "none open"]
    assert len(results) == 6
    for root in roots:
        with pytest.raises(InvalidRequestError):
            inspect_folder(root, "a-name")
    assert not (tmp_path / "trace").exists()


def test_a_pickle_that_runs(folder, tmp_path):
    """The pickle that the inspection refuses would have run: unpickled, it makes a folder."""
    evil = pickle.dumps(Evil(tmp_path / "trace"))
    root = folder(**{UNET: None, "unet/diffusion_pytorch_model.bin": evil})
    with pytest.raises(InvalidRequestError, match=r"unet/diffusion_pytorch_model\.bin"):
        inspect_folder(root, "a-name")
    assert not (tmp_path / "trace").exists()
    pickle.loads((root / "unet/diffusion_pytorch_model.bin").read_bytes())  # noqa: S301 - ours
    assert (tmp_path / "trace").exists()
