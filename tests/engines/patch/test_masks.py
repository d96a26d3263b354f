"""The subject of a request's image: asked for once, remembered, and named in a picture's parameters."""

from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from ipy_imgvar import Client
from ipy_imgvar.engines.patch import masks
from ipy_imgvar.engines.patch.subjects.network import NetworkMask


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
        for side_px in range(64, 74):
            client.variations(figure(side_px)[0], size=side_px, seed=1)
    assert len(masks._masks) == 4
