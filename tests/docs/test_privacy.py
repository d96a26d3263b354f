"""What docs/privacy.md says of what leaves the machine and what is written."""

import io
import json
import re
import socket
from pathlib import Path

import pytest
from loopback import CANARY
from PIL import Image

import ipy_imgvar
from ipy_imgvar import Client, variations
from ipy_imgvar.results.history import store

PAGE = Path(ipy_imgvar.__file__).parent.parent / "docs/privacy.md"
SPOKEN = b"the place where it was taken"


@pytest.fixture
def photographed(tmp_path, photo):
    """Return the path of a JPEG whose Exif data say something."""
    notes = Image.Exif()
    notes[0x010E] = SPOKEN.decode()
    path = tmp_path / "holiday.jpg"
    photo.save(path, exif=notes)
    return path


def test_the_offline_engine_connects_to_nothing(photographed, monkeypatch):
    """A run of the engine patch opens no connection and looks up no name."""

    def refuse(*_):
        raise AssertionError("a connection")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    made = variations(photographed, engine="patch", size=64, options={"subjects": False})
    assert len(made) == 1


@pytest.mark.parametrize("is_opened", [False, True])
def test_metadata_of_a_file_are_sent_and_those_of_pixels_are_not(photographed, is_opened, api):
    """A server gets the bytes of a file with its Exif data, and of an opened image the pixels alone."""
    image = Image.open(photographed) if is_opened else photographed
    with Client("openai", api_key=CANARY, api_base=api.base) as client:
        client.variations(image, model="gpt-image-2")
    (request,) = api.posts
    name, _, data = request.files.get("image") or request.files["image[]"]
    assert (SPOKEN in data) is not is_opened
    assert str(photographed.parent) not in name


def test_a_record_has_settings_and_nothing_private(photographed, api):
    """A run's record has the prompt and the source's path, and neither key, user nor what was added to requests."""
    private = {"user": "ann-7", "extra_headers": {"X-Team": "team-7"}}
    with Client("openai", api_key=CANARY, api_base=api.base) as client:
        client.variations(photographed, model="gpt-image-2", prompt="the same, asleep", **private)
    (record,) = store().root.rglob("run.jsonl")
    text = record.read_text("utf-8")
    assert "the same, asleep" in text
    assert json.dumps(str(photographed)) in text
    assert not [each for each in (CANARY, "ann-7", "team-7") if each in text]


def test_our_pngs_carry_what_the_page_lists(photographed, photo):
    """The chunk of a picture has the fields that the page names, and no file name, path or time."""
    mask = Image.new("L", photo.size, 0)
    made = variations(photographed, engine="patch", size=64, mask=mask, options={"subjects": False})
    text = Image.open(io.BytesIO(made[0].bytes)).text
    assert list(text) == ["ipy_imgvar"]
    carried = json.loads(text["ipy_imgvar"])
    listed = re.search(r"with what repeats them: (.*?)\.", " ".join(PAGE.read_text("utf-8").split()))[1]
    words = {
        "what marked the subjects": ["subjects"],
        "SHA-256 hashes of source and mask": ["source_sha256", "mask_sha256"],
    }
    items = [item.removeprefix("and ") for item in listed.split(", ")]
    assert set(carried) == {name for item in items for name in words.get(item, [item])}
    assert not [value for value in carried.values() if "/" in str(value) or "\\" in str(value)]
    assert "holiday" not in text["ipy_imgvar"]
