"""What each route answers, over real HTTP."""

import base64
import io
import json
import re

import pytest
from PIL import Image

from ipy_imgvar.api import events
from ipy_imgvar.errors import BadResponseError

SMALL = {"size": "64x64"}


@pytest.fixture
def server(shared, quick_patch):  # noqa: ARG001 - the fixture is the change
    """Return the server that these tests share."""
    return shared


def opened(entry):
    return Image.open(io.BytesIO(base64.b64decode(entry["b64_json"])))


def data_url(data, kind="image/png"):
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"


def test_variations_answer_addresses_unless_asked(server, http, png):
    """A variation is answered as addresses, as the API's default is, and each leads to a PNG of the size asked for."""
    form = {"n": "2", **SMALL}
    answer = http.post(f"{server.base}/images/variations", files={"image": ("a.png", png)}, data=form)
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/json"
    body = answer.json()
    assert isinstance(body["created"], int)
    urls = [each["url"] for each in body["data"]]
    assert len(set(urls)) == 2
    for url in urls:
        assert re.fullmatch(re.escape(server.root) + r"/images/[\w-]{22}\.png", url)
        picture = http.get(url)
        assert picture.headers["content-type"] == "image/png"
        assert picture.headers["x-content-type-options"] == "nosniff"
        assert Image.open(io.BytesIO(picture.content)).size == (64, 64)
        assert http.head(url).headers["content-length"] == str(len(picture.content))


def test_variations_as_base64(server, http, png):
    """With response_format=b64_json the pictures are in the answer."""
    form = {"n": "2", "response_format": "b64_json", **SMALL}
    answer = http.post(f"{server.base}/images/variations", files={"image": ("a.png", png)}, data=form)
    assert [opened(each).size for each in answer.json()["data"]] == [(64, 64)] * 2


def test_seed_repeats(server, http, png):
    """The same seed gives the same pictures, another one others; the answer says which it was."""
    made = []
    for seed in ("5", "5", "6"):
        form = {"seed": seed, "strength": "strong", "fit": "pad", "response_format": "b64_json", **SMALL}
        answer = http.post(f"{server.base}/images/variations", files={"image": png}, data=form)
        assert answer.headers["x-imgvar-seed"] == seed
        assert "x-imgvar-warning" not in answer.headers
        made.append(answer.json()["data"][0]["b64_json"])
    assert made[0] == made[1] != made[2]


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("prompt", "make it blue", "prompt is not used"),
        ("model", "dall-e-2", "model dall-e-2 is not here: patch-3 answered"),
        ("model", "gpt-image-2.6-flare", "model gpt-image-2.6-flare is not here"),
        ("quality", "high", "quality is not used"),
        ("output_compression", "50", "output_compression is not used"),
        ("no_such\u00e9", "1", "not used: 'no_such"),
    ],
)
def test_what_is_not_used_is_said(server, http, png, *, field, value, said):
    """What the engine can't use, and existing clients send, is left out with a warning, not an error."""
    answer = http.post(f"{server.base}/images/variations", files={"image": png}, data={field: value, **SMALL})
    assert answer.status_code == 200
    assert said in answer.headers["x-imgvar-warning"]


@pytest.mark.parametrize("model", ["patch", "patch-3"])
def test_own_model(server, http, png, model):
    """The engine's own name and that of its model are no cause for a warning."""
    answer = http.post(
        f"{server.base}/images/variations", files={"image": png}, data={"model": model, **SMALL}
    )
    assert "x-imgvar-warning" not in answer.headers


def test_warnings_of_the_run_are_sent(server, http, png):
    """What the engine has to say of a picture is sent as well."""
    answer = http.post(f"{server.base}/images/variations", files={"image": png}, data={"size": "256x256"})
    assert "pixels to offer" in answer.headers["x-imgvar-warning"]


def test_edit_by_form(server, http, png):
    """An edit is answered as base64, with the usage that clients of gpt-image models read."""
    answer = http.post(
        f"{server.base}/images/edits", files={"image[]": ("a.png", png)}, data={"prompt": "x", **SMALL}
    )
    body = answer.json()
    assert opened(body["data"][0]).format == "PNG"
    assert body["output_format"] == "png"
    assert body["usage"]["total_tokens"] == 0


def test_edit_by_json(server, http, png):
    """An edit may come as JSON, its images in data: URLs, and nulls mean nothing."""
    body = {"images": [{"image_url": data_url(png)}], "prompt": "x", "n": 2, "quality": None, **SMALL}
    answer = http.post(f"{server.base}/images/edits", json=body)
    assert answer.status_code == 200
    assert len(answer.json()["data"]) == 2


def test_edit_for_a_model_of_addresses(server, http, png):
    """A client of dall-e-2 gets addresses from an edit too, as that model gave them."""
    form = {"prompt": "x", "model": "dall-e-2", **SMALL}
    answer = http.post(f"{server.base}/images/edits", files={"image": png}, data=form)
    assert http.get(answer.json()["data"][0]["url"]).status_code == 200


@pytest.mark.parametrize(("asked", "kind"), [("jpeg", "JPEG"), ("webp", "WEBP"), ("png", "PNG")])
def test_output_format(server, http, png, asked, kind):
    """Pictures come in the format asked for, and an address tells their type by content."""
    form = {"prompt": "x", "output_format": asked, **SMALL}
    body = http.post(f"{server.base}/images/edits", files={"image": png}, data=form).json()
    assert opened(body["data"][0]).format == kind
    assert body["output_format"] == asked
    form["response_format"] = "url"
    body = http.post(f"{server.base}/images/edits", files={"image": png}, data=form).json()
    assert http.get(body["data"][0]["url"]).headers["content-type"] == f"image/{asked}"


def test_mask_keeps_what_is_opaque(server, http, photo):
    """What a mask leaves opaque stays in place, as the API has it."""
    mask = Image.new("RGBA", photo.size, (0, 0, 0, 0))
    mask.paste((0, 0, 0, 255), (0, 0, 48, 72))
    sent = {}
    for name, image in (("image", photo), ("mask", mask)):
        buffer = io.BytesIO()
        image.save(buffer, "PNG")
        sent[name] = buffer.getvalue()
    form = {"prompt": "x", "size": "96x72", "strength": "1"}
    made = opened(http.post(f"{server.base}/images/edits", files=sent, data=form).json()["data"][0])
    box = (0, 0, 40, 72)
    assert made.crop(box).tobytes() == photo.crop(box).tobytes()
    assert made.tobytes() != photo.tobytes()


def test_stream(server, http, png):
    """A streamed edit sends each picture as an event, with the fields that the API's schema wants."""
    form = {"prompt": "x", "stream": "true", "n": "2", **SMALL}
    answer = http.post(f"{server.base}/images/edits", files={"image": png}, data=form)
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert "prompt is not used" in answer.headers["x-imgvar-warning"]
    received = list(events.read_events([answer.content]))
    assert [Image.open(io.BytesIO(each.items[0].read())).size for each in received] == [(64, 64)] * 2
    assert not any(each.is_partial or each.error for each in received)
    first = json.loads(re.search(r"data: (.*)", answer.text)[1])
    assert first["type"] == "image_edit.completed"
    wanted = {"created_at", "size", "quality", "background", "output_format", "usage"}
    assert wanted <= first.keys()


def test_stream_of_unfinished_states(start, http, png, fake_engine):
    """An engine's unfinished states are events of their own, no more than were asked for."""
    engine = fake_engine([lambda job: [job.progress(0.5, "x", png) for _ in range(5)], "red"])
    form = {"prompt": "x", "stream": "true", "partial_images": "2"}
    answer = http.post(f"{start(engine).base}/images/edits", files={"image": png}, data=form)
    received = list(events.read_events([answer.content]))
    assert [each.is_partial for each in received] == [True, True, False]
    assert '"partial_image_index":1' in answer.text


def test_stream_that_fails_midway(start, http, png, fake_engine):
    """A failure before anything was made ends a stream with an error event that tells nothing of the inside."""
    engine = fake_engine([0.05, BadResponseError("at /etc/secret sk-123")])
    form = {"prompt": "x", "stream": "true"}
    answer = http.post(f"{start(engine).base}/images/edits", files={"image": png}, data=form)
    received = list(events.read_events([answer.content]))
    assert received[-1].error.code == "engine_error"
    assert "secret" not in answer.text
    assert "sk-123" not in answer.text


def test_stream_refuses_before_it_begins(server, http):
    """What is wrong with a request is a status also where a stream was asked for."""
    form = {"prompt": "x", "stream": "true"}
    answer = http.post(f"{server.base}/images/edits", files={"image": b"no image"}, data=form)
    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == "image"


def test_partial_success(start, http, png, fake_engine):
    """Pictures that were finished before the engine failed are an answer, with a warning that says how many."""
    engine = fake_engine(["red", BadResponseError("gone")])
    form = {"n": "2", "response_format": "b64_json"}
    answer = http.post(f"{start(engine).base}/images/variations", files={"image": png}, data=form)
    assert len(answer.json()["data"]) == 1
    assert "1 of 2 pictures" in answer.headers["x-imgvar-warning"]


def test_prompt_and_options_reach_an_engine_that_takes_them(start, http, png, fake_engine):
    """An engine that takes a prompt gets it, and the options of gpt-image models."""
    engine = fake_engine(["red"])
    form = {"prompt": "blue", "quality": "high", "model": "gpt-image-2"}
    answer = http.post(f"{start(engine).base}/images/edits", files={"image": png}, data=form)
    assert "x-imgvar-warning" not in answer.headers
    request = engine.requests[-1]
    assert (request.prompt, request.options, request.model) == ("blue", {"quality": "high"}, "gpt-image-2")


def test_models(server, http):
    """The one model is listed, and found by its name."""
    listed = http.get(f"{server.base}/models").json()
    assert [each["id"] for each in listed["data"]] == ["patch-3"]
    assert http.get(f"{server.base}/models/patch-3").json() == listed["data"][0]
    missing = http.get(f"{server.base}/models/dall-e-2")
    assert (missing.status_code, missing.json()["error"]["code"]) == (404, "model_not_found")


def test_health(server, http):
    """Whether it is up, and how much it has to do."""
    assert http.get(f"{server.root}/healthz").json() == {"status": "ok", "requests": 0}


def test_every_answer_has_an_id_of_its_own(server, http):
    """Each answer, also a refusal, carries its own x-request-id, whatever the client sent as one."""
    addresses = [f"{server.root}/healthz", f"{server.base}/models", f"{server.root}/nothing"]
    ids = [http.get(each, headers={"x-request-id": "mine"}).headers["x-request-id"] for each in addresses]
    assert len(set(ids)) == 3
    assert all(re.fullmatch(r"req_[0-9a-f]{32}", each) for each in ids)


@pytest.mark.parametrize("name", ["image[0]", "image[1]", "image[]"])
def test_numbered_fields(server, http, png, name):
    """PHP's clients number the fields of a list: image[0] is an image as image[] is."""
    answer = http.post(f"{server.base}/images/edits", files={name: png}, data={"prompt": "x", **SMALL})
    assert answer.status_code == 200, answer.text


def test_numbered_fields_count(server, http, png):
    """Two numbered images are two images, and refused as such."""
    sent = {"image[0]": png, "image[1]": png}
    answer = http.post(f"{server.base}/images/edits", files=sent, data={"prompt": "x", **SMALL})
    assert answer.json()["error"]["code"] == "too_many_images"


def test_warnings_are_plain(start, http, png, fake_engine):
    """What an engine's warning took from outside acts neither in a header nor in an event."""
    foreign = "cat\u202egnp\x1b[2J\n.png"
    engine = fake_engine(*[[lambda job: job.warn(foreign), "red"]] * 2)
    server = start(engine)
    form = {"prompt": "x"}
    answer = http.post(f"{server.base}/images/edits", files={"image": png}, data=form)
    assert answer.headers["x-imgvar-warning"] == r"cat\u202egnp\x1b[2J\n.png"
    answer = http.post(f"{server.base}/images/edits", files={"image": png}, data={"stream": "true", **form})
    event = json.loads(re.search(r"data: (.*)", answer.text)[1])
    assert event["warnings"] == [r"cat\u202egnp\x1b[2J\n.png"]


@pytest.mark.parametrize(
    ("written", "meant"), [("\\/", "/"), ("\\u002B", "+"), ("\\u002f", "/"), ("%2F", "/")]
)
def test_escaped_addresses(server, http, png, written, meant):
    """PHP writes a slash as an escape and .NET a plus; the picture is the same, short or long."""
    longer = io.BytesIO()
    Image.effect_noise((128, 128), 90).save(longer, "PNG")
    for data in (png, longer.getvalue()):
        url = data_url(data).replace(meant, written)
        body = '{"prompt": "x", "size": "64x64", "images": [{ "image_url" : "' + url + '" }]}'
        headers = {"content-type": "application/json"}
        answer = http.post(f"{server.base}/images/edits", content=body, headers=headers)
        assert answer.status_code == 200, answer.text


def test_json_with_the_word_elsewhere(server, http, png):
    """A prompt that quotes JSON, and a key that is another's value, are no pictures."""
    quoted = '{"image_url": "data:image/png;base64,' + "A" * 2000 + '"}'
    body = {"images": [{"image_url": data_url(png)}], "prompt": quoted, "user": "image_url", **SMALL}
    answer = http.post(f"{server.base}/images/edits", json=body)
    assert answer.status_code == 200, answer.text
