"""The subject of a request's image: asked for once, remembered, and named in a picture's parameters."""

from collections import Counter, OrderedDict
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image
from skimage import data

from ipy_imgvar import Client
from ipy_imgvar.engines.patch import masks, synthesis
from ipy_imgvar.engines.patch.camera import cuts
from ipy_imgvar.engines.patch.subjects import segmentation
from ipy_imgvar.engines.patch.subjects.network import NetworkMask
from ipy_imgvar.images.source import Source
from ipy_imgvar.request import VariationRequest


def figure(side_px=96):
    """Return a light figure before a plain dark ground, and its mask."""
    mask = np.zeros((side_px, side_px), np.float32)
    mask[side_px // 3 : -side_px // 8, side_px // 3 : -side_px // 3] = 1
    ground = np.full((side_px, side_px, 3), (40, 60, 90), np.uint8)
    ground[mask > 0] = (220, 180, 150)
    return Image.fromarray(ground), mask


@pytest.fixture
def network(monkeypatch):
    """Stand in for the network, which no test can download: it knows the mask of `figure`, and counts its calls."""
    calls = []

    def network_mask(image, *, check, **_):
        calls.append(image)
        check()
        return NetworkMask(figure(image.width)[1], "isnet", "0123456789abcdef", "rembg 2.0.86")

    monkeypatch.setattr(masks, "network_mask", network_mask)
    monkeypatch.setattr(masks, "_masks", type(masks._masks)())
    return SimpleNamespace(calls=calls)


@pytest.mark.usefixtures("network")
def test_a_certain_subject_is_shown_before_its_ground():
    """Where the mask is certain and nothing can be rearranged, pictures are layers, and say which mask it was."""
    with Client(engine="patch") as client:
        made = client.variations(figure(256)[0], n=2, size=256, seed=7)
    assert {one.parameters["means"] for one in made} == {"layers"}
    assert {one.parameters["subjects"] for one in made} == {"rembg 2.0.86 isnet 0123456789abcdef"}
    assert made.warnings[-1].endswith("2 of 2 show its subject larger before its ground")


def test_an_image_is_shown_to_the_network_once(network):
    """A second run of the same image takes the mask of the first."""
    with Client(engine="patch") as client:
        client.variations(figure()[0], size=96, seed=1)
        client.variations(figure()[0], size=96, seed=2)
        assert len(network.calls) == 1
        client.variations(figure()[0], size=80, seed=2)
    assert len(network.calls) == 2


@pytest.mark.parametrize("settings", [{"strength": "subtle"}, {"options": {"subjects": False}}])
def test_the_network_is_not_asked_where_it_is_not_wanted(network, settings):
    """A second shot takes no seconds for a mask, nor does a run that does without."""
    with Client(engine="patch") as client:
        made = client.variations(figure()[0], size=96, seed=1, **settings)
    assert network.calls == []
    assert made[0].parameters["subjects"] == "own"


@pytest.mark.usefixtures("network")
def test_few_masks_are_remembered():
    """Memory stays bounded over many images."""
    with Client(engine="patch") as client:
        for side_px in range(64, 70):
            client.variations(figure(side_px)[0], size=side_px, seed=1)
    assert len(masks._masks) == 4


@pytest.fixture
def searches(monkeypatch):
    """Count how often the engine looks for objects, text, salient parts and what bears a new arrangement."""
    counts = Counter()
    monkeypatch.setattr(masks, "_findings", OrderedDict())
    for module, name in (
        (segmentation, "salient_objects"),
        (segmentation, "saliency"),
        (cuts, "saliency"),
        (synthesis, "has_text"),
        (synthesis, "ArtefactJudge"),
    ):
        real = getattr(module, name)

        def counted(*arguments, name=name, real=real, **named):
            counts[name] += 1
            return real(*arguments, **named)

        monkeypatch.setattr(module, name, counted)
    return counts


def sweep_of(image, size, strengths, seeds, **settings):
    with Client(engine="patch") as client:
        return client.sweep(image, over={"strength": strengths, "seed": seeds}, size=size, **settings)


def test_a_sweep_finds_the_subjects_of_its_source_once(searches):
    """Four pictures of two strengths and two seeds look once for objects, salient parts and text."""
    made = sweep_of(data.gravel(), 64, [0.2, 0.85], range(2))
    assert len(made) == 4
    assert searches == {"salient_objects": 1, "saliency": 1, "has_text": 1, "ArtefactJudge": 1}


@pytest.mark.slow
def test_findings_belong_to_one_source_fit_and_size(searches):
    """Another source, size or fit, or a mask, is looked at anew, and the last two are remembered."""
    gravel, cat = data.gravel(), data.chelsea()
    for image, size, settings in (
        (gravel, 64, {}),
        (cat, 64, {}),
        (gravel, 64, {}),
        (gravel, 72, {}),
        (cat, 64, {"fit": "pad"}),
        (gravel, 64, {"mask": np.eye(512, dtype=bool)}),
    ):
        sweep_of(image, size, [0.5], [1], **settings)
    assert searches["has_text"] == 5
    assert len(masks._findings) == 2


@pytest.mark.slow
@pytest.mark.parametrize("name", ["coffee", "gravel"])
def test_what_is_remembered_changes_no_byte(name, monkeypatch):
    """A sweep's pictures have the bytes of those that an engine makes which remembers nothing."""
    image = getattr(data, name)()
    made = sweep_of(image, 96, [0.3, 0.85], [1, 2])
    for each in made:
        monkeypatch.setattr(masks, "_findings", OrderedDict())
        with Client(engine="patch") as client:
            alone = client.variations(image, size=96, **each.combination)
        assert alone[0].bytes == each.bytes


def test_findings_of_large_pictures_are_not_held(monkeypatch):
    """Above a megapixel nothing is held, so that what is remembered stays below 70 MB."""
    monkeypatch.setattr(masks, "_findings", OrderedDict())
    request = VariationRequest(image=Source("a", data=b"a"), size=(1040, 1040))
    masks.findings_of(request, Image.new("RGB", request.size), None)
    assert not masks._findings
