"""What a plan says of downloads and loads: from the request, the table of presets and this disk, asking nobody."""

import json
import sys

import pytest
from hubserver import COMMIT, pipeline

from ipy_imgvar import Client
from ipy_imgvar.engines.diffusers import forecast as module
from ipy_imgvar.engines.diffusers.weights.cache import repo_folder, write_ref
from ipy_imgvar.engines.diffusers.weights.presets import PRESETS
from ipy_imgvar.errors import ConfigurationError, EngineError, InvalidRequestError

pytestmark = pytest.mark.usefixtures("torch")


@pytest.fixture
def plan(photo):
    """Return a function that plans with the engine diffusers."""
    with Client("diffusers") as client:
        yield lambda **arguments: client.plan(photo, **{"size": 512, "seed": 1, **arguments})


def put(repo, commit, files):
    """Put a snapshot of a repository into the cache."""
    snapshot = repo_folder(repo) / "snapshots" / commit
    for path, data in files.items():
        (snapshot / path).parent.mkdir(parents=True, exist_ok=True)
        (snapshot / path).write_bytes(data)
    write_ref(repo, None, commit)
    return snapshot


def files_of(preset, large=5000):
    """Return the files of a tiny pipeline of a preset's class."""
    files = pipeline(large)
    index = json.loads(files["model_index.json"]) | {"_class_name": preset.pipeline}
    return {**files, "model_index.json": json.dumps(index).encode()}


def noted(made, text):
    return any(text in note for note in made.notes)


def test_a_preset_that_is_not_here(plan, hub):
    """Its size, its licence and the hub's server are said, and the hub is not asked."""
    (download,) = plan(model="klein").downloads
    assert download.bytes == 16_000_000_000
    assert "licence: Apache-2.0" in download.why
    assert hub.url.removeprefix("http://") in download.why
    assert hub.requests == []


def test_parts_and_terms_of_a_preset(plan):
    """A base pipeline and an image adapter are named, and so are a gate and a licence that forbids commerce."""
    (redux,) = plan(model="redux").downloads
    assert "FLUX.1-schnell" in redux.name
    assert redux.bytes == 34_800_000_000
    assert "no commercial use" in redux.why
    assert "gated" in redux.why
    (sdxl,) = plan(model="sdxl").downloads
    assert "h94/IP-Adapter" in sdxl.name
    assert sdxl.bytes == 10_200_000_000


def test_another_adapter(plan, tmp_path):
    """Without the preset's own adapter the size is only a bound, so no number is given."""
    (download,) = plan(model="sdxl", options={"adapter": "none"}).downloads
    assert download.bytes is None
    assert "at most 10.2 GB" in download.why
    with pytest.raises(InvalidRequestError, match="is no file"):
        plan(model="sdxl", options={"adapter": str(tmp_path / "none.safetensors")})


def test_what_the_cache_has_is_not_counted(plan):
    """Files of a download that broke off count as there."""
    preset = PRESETS["klein"]
    files = files_of(preset)
    del files["unet/diffusion_pytorch_model.safetensors"], files["unet/diffusion_pytorch_model.bin"]
    snapshot = put(preset.repo, preset.revision, files)
    with (snapshot / "whole.safetensors").open("r+b") as file:
        file.truncate(6_000_000_000)
    (download,) = plan(model="klein").downloads
    assert 9_999_990_000 < download.bytes <= 10_000_000_000
    assert "6.0 GB of it are on this disk" in download.why


def test_a_complete_copy(plan, hub):
    """Nothing is downloaded; the hub would be asked for its list, and now is not."""
    preset = PRESETS["klein"]
    put(preset.repo, preset.revision, files_of(preset))
    made = plan(model="klein")
    assert made.downloads == ()
    assert noted(made, "will be asked for the list of files")
    assert not noted(made, "newer version")
    assert hub.requests == []


def test_a_copy_without_its_adapter(plan):
    """A preset lacks its adapter alone, and then that is what is left to fetch."""
    preset = PRESETS["sd15"]
    put(preset.repo, preset.revision, files_of(preset))
    (download,) = plan(model="sd15").downloads
    assert download.bytes is not None
    weights, encoder = "models/ip-adapter_sd15.safetensors", "models/image_encoder"
    adapter = {weights: b"a", f"{encoder}/config.json": b"{}", f"{encoder}/model.safetensors": b"m"}
    put(preset.adapter.repo, preset.adapter.revision, adapter)
    assert plan(model="sd15").downloads == ()


def test_another_repository(plan, hub):
    """Only the hub knows its size, so there is none; a branch may have moved."""
    made = plan(model="some/model")
    (download,) = made.downloads
    assert (download.name, download.bytes) == ("some/model", None)
    assert noted(made, "a newer version is downloaded if there is one")
    put("some/model", COMMIT, pipeline())
    assert plan(model="some/model").downloads == ()
    assert plan(model="some/model").models == (f"some/model@{COMMIT[:12]}",)
    assert hub.requests == []


@pytest.mark.parametrize("how", ["variable", "option"])
def test_without_a_network(plan, monkeypatch, how):
    """What a run would fail with is a note, with the run's own words, and nothing is downloaded."""
    options = {"local_files_only": True} if how == "option" else {}
    if how == "variable":
        monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    made = plan(model="klein", options=options)
    assert made.downloads == ()
    assert noted(made, "a run would fail: model black-forest-labs/FLUX.2-klein-4B@")
    assert not noted(made, "is asked")


def test_a_full_disk(plan, monkeypatch):
    """Too little room is said before the download."""
    monkeypatch.setattr(module, "free_bytes", lambda: 1_000_000_000)
    assert noted(
        plan(model="klein"), "16.0 GB are needed on the disk of the hub's cache, which has 1.0 GB free"
    )


def test_a_folder(plan, folder):
    """A folder of the user's is loaded, and no hub is named."""
    made = plan(model=str(folder()))
    assert made.downloads == ()
    assert len(made.loads) == 1
    assert not noted(made, "asked")


def test_custom_code_is_refused(plan, folder):
    """What a run refuses to load, the plan refuses."""
    made = folder(**{"pipeline.py": b"raise SystemExit"})
    with pytest.raises(InvalidRequestError, match="never run"):
        plan(model=str(made))


def test_a_preview_decoder(plan):
    """The tiny autoencoder of the previews is a download too."""
    names = [each.name for each in plan(model="klein", options={"preview_decoder": "some/taesd"}).downloads]
    assert names[1:] == ["some/taesd"]


def test_the_machines_default(plan):
    """Without a model the preset for this machine is named, with its reason, its size and its device."""
    made = plan()
    assert noted(made, "no model was named")
    assert made.downloads[0].bytes is not None
    assert " onto " in made.loads[0]


def test_a_device_that_is_not_here(plan):
    """A named device that this machine lacks is refused as a run refuses it."""
    with pytest.raises(InvalidRequestError, match="device is 'cuda:99'"):
        plan(model="klein", options={"device": "cuda:99"})
    assert plan(model="klein", options={"device": "cpu"}).loads[0].endswith("onto CPU")


def test_a_model_in_memory(photo, tiny_pipeline):
    """A model that is loaded already is said to be, and it stays loaded."""
    folder = str(tiny_pipeline("stable"))
    arguments = {"model": folder, "size": "96x64", "seed": 1, "options": {"steps": 1, "side": 96}}
    with Client("diffusers") as client:
        assert "onto" in client.plan(photo, **arguments).loads[0]
        client.variations(photo, **arguments)
        assert "is loaded already" in client.plan(photo, **arguments).loads[0]


def test_without_the_packages(plan, monkeypatch):
    """A missing package is the error of a run, and torch is not imported to find out."""
    monkeypatch.setitem(sys.modules, "diffusers", None)
    with pytest.raises((ConfigurationError, EngineError), match="needs the package diffusers"):
        plan(model="klein")
