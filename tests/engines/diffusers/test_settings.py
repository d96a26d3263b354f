"""Settings without effect, settings that mean the same, and files that change: what a run says and what it loads."""

import json
import shutil
import threading

import numpy as np
import pytest

from ipy_imgvar import Client
from ipy_imgvar.engines.diffusers.pipelines import loading
from ipy_imgvar.engines.diffusers.pipelines.holder import MODELS
from ipy_imgvar.errors import EngineError, InvalidImageError, InvalidRequestError, RequestTimeoutError


@pytest.fixture
def client(torch):  # noqa: ARG001
    """Return a client of the engine that frees its model afterwards."""
    with Client("diffusers") as client:
        yield client


@pytest.fixture
def loads(monkeypatch):
    """Return the names of the models that are loaded from here on."""
    names = []
    load = loading.load

    def counted(recipe):
        names.append(recipe.label)
        return load(recipe)

    monkeypatch.setattr("ipy_imgvar.engines.diffusers.engine.load", counted)
    return names


@pytest.fixture
def vary(client, tiny_pipeline, photo):
    """Return a function that makes a small picture with a tiny pipeline."""
    return lambda name, **arguments: client.variations(
        photo, model=str(tiny_pipeline(name)), **small(**arguments)
    )


def small(**arguments):
    return {"size": "96x64", "seed": 1, **arguments}


@pytest.mark.parametrize(
    ("name", "arguments", "line"),
    [
        (
            "z-image",
            {"options": {"negative_prompt": "dog"}},
            "negative_prompt has no effect on z-image at guidance 0",
        ),
        ("klein", {"options": {"guidance": 9}}, "guidance has no effect on klein, which was distilled"),
        ("image-variation", {"options": {"guidance": 3}}, "the guidance replaces the strength"),
        ("stable", {"options": {"adapter_scale": 0.2}}, "adapter_scale has no effect"),
        ("stable", {"prompt": "a cat " * 400}, "tokens, and stable reads the first 77"),
        (
            "klein",
            {"prompt": "a dog", "strength": 0.2},
            "the strength has no effect on klein beside a prompt",
        ),
    ],
)
def test_a_setting_without_effect_is_named(name, arguments, line, vary):
    """Nothing that a person asked for is dropped without a word."""
    result = vary(name, **arguments)
    assert any(line in warning for warning in result.warnings), result.warnings


@pytest.mark.parametrize("strength", [0, 0.05, 0.1, 0.5])
def test_a_latent_consistency_model_works_at_every_strength(strength, client, tiny_pipeline, photo):
    """The default on a CPU has few steps at a low strength, and no error."""
    options = {"steps": 50} if strength == 0.5 else {}
    model = str(tiny_pipeline("consistency"))
    assert len(client.variations(photo, model=model, **small(strength=strength, options=options))) == 1


def test_settings_that_mean_the_same_load_once(client, loads, tiny_pipeline, photo):
    """On a CPU, no offload, no adapter and 32 bits are what is done anyway."""
    model = str(tiny_pipeline("stable"))
    for options in ({}, {"adapter": "none"}, {"dtype": "float32"}, {"offload": "none"}, {"device": "cpu"}):
        client.variations(photo, model=model, **small(options={"steps": 2, **options}))
    assert loads == ["stable"]


def test_a_folder_that_changed_is_loaded_again(client, loads, tiny_pipeline, photo, tmp_path):
    """A fine-tune saved into the same folder is judged by its own pictures, and its name in records is another."""
    folder = tmp_path / "mine"
    shutil.copytree(tiny_pipeline("stable"), folder)
    first = client.variations(photo, model=str(folder), **small())
    weights = next((folder / "unet").glob("*.safetensors"))
    data = bytearray(weights.read_bytes())
    data[-4096:] = bytes(4096)
    weights.write_bytes(data)
    second = client.variations(photo, model=str(folder), **small())
    assert loads == ["mine", "mine"]
    assert first.model != second.model
    assert first[0].bytes != second[0].bytes


def test_a_refused_request_leaves_the_model_in_memory(client, loads, tiny_pipeline, photo):
    """What a model can't do is known from its class and settings, so no other model has to make room for it."""
    stable = str(tiny_pipeline("stable"))
    client.variations(photo, model=stable, **small())
    klein, inpainting = str(tiny_pipeline("klein")), str(tiny_pipeline("stable-inpainting"))
    with pytest.raises(InvalidRequestError, match="klein takes no negative prompt"):
        client.variations(photo, model=klein, **small(options={"negative_prompt": "x"}))
    with pytest.raises(InvalidRequestError, match="stable-inpainting only paints into a mask"):
        client.variations(photo, model=inpainting, **small())
    with pytest.raises(InvalidRequestError, match=r"text-only is a \w+, which takes no image"):
        client.variations(photo, model=str(tiny_pipeline("text-only")), **small())
    with pytest.raises(InvalidRequestError, match="stable makes its own pictures; leave the option base out"):
        client.variations(photo, model=stable, **small(options={"base": "a/b", "dtype": "bfloat16"}))
    client.variations(photo, model=stable, **small())
    assert loads == ["stable"]


def test_a_broken_picture_is_told_before_a_model_is_loaded(client, loads, tiny_pipeline, photo, tmp_path):
    """No one waits for gigabytes that a damaged file, or a mask of another shape, makes useless."""
    broken = tmp_path / "broken.png"
    photo.save(broken)
    broken.write_bytes(broken.read_bytes()[:500])
    stable = str(tiny_pipeline("stable"))
    with pytest.raises(InvalidImageError, match="breaks off or is damaged"):
        client.variations(broken, model=stable, **small())
    with pytest.raises(InvalidImageError, match="the mask is 5x5"):
        client.variations(photo, model=stable, **small(mask=np.ones((5, 5), bool)))
    assert loads == []


def test_a_run_from_inside_a_run_is_refused(client, tiny_pipeline, photo):
    """A callback that asks for pictures of the same device would wait for itself."""
    model = str(tiny_pipeline("stable"))
    failures = []

    def again(_):
        with pytest.raises(EngineError, match="can't start another before it has ended") as caught:
            client.variations(photo, model=model, **small())
        failures.append(caught.value)

    client.variations(photo, model=model, on_picture=again, **small())
    assert len(failures) == 1


def test_a_timeout_in_the_queue_says_so(client, tiny_pipeline, photo):
    """Fewer steps would not help: the run has waited for another one."""
    leave, entered = threading.Event(), threading.Event()

    def hold():
        with MODELS.turn(client.engine, lambda: None, lambda: None):
            entered.set()
            leave.wait(100)

    thread = threading.Thread(target=hold)
    thread.start()
    entered.wait(100)
    with pytest.raises(RequestTimeoutError, match="wait for the end of the other run"):
        client.variations(photo, model=str(tiny_pipeline("stable")), timeout=0.3, **small())
    leave.set()
    thread.join()


def test_a_broken_folder_is_named_without_its_path(client, tiny_pipeline, photo, tmp_path):
    """A record may quote the line, and no record has a path of this machine."""
    folder = tmp_path / "broken"
    shutil.copytree(tiny_pipeline("stable"), folder)
    shutil.rmtree(folder / "scheduler")
    with pytest.raises((EngineError, InvalidRequestError)) as caught:
        client.variations(photo, model=str(folder), **small())
    assert "broken" in str(caught.value)
    assert str(tmp_path) not in str(caught.value)
    assert len(str(caught.value)) < 500


def test_a_picture_with_an_adapter_names_its_file_and_content(client, tiny_pipeline, photo):
    """Another adapter under the same file name makes other pictures, so the record has the fingerprint."""
    adapted = tiny_pipeline("adapter")
    file = next(each for each in adapted.rglob("*.safetensors") if each.name.startswith("ip-adapter"))
    stable = str(tiny_pipeline("stable"))
    made = client.variations(photo, model=stable, **small(options={"adapter": str(file)}))
    call = made[0].parameters["call"]
    assert call["adapter"].startswith(f"{file.name}@")
    assert len(call["adapter"]) == len(file.name) + 13
    assert str(file.parent) not in json.dumps(made[0].parameters)
    without = client.variations(photo, model=stable, **small())
    assert not np.array_equal(np.asarray(made[0].image), np.asarray(without[0].image))
