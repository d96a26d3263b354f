"""Servers that people run on their own GPU, through the engine `openai`.

Each file of `local_servers` states what one server's routes take and refuse, and names the source that it was written
from. `LocalServer` enforces it, and paints where that server would paint. The servers themselves were not run.
"""

import io
import json
from pathlib import Path

import numpy as np
import pytest
from local_server import LocalServer
from loopback import b64, png, response
from PIL import Image

from ipy_imgvar import Client
from ipy_imgvar.errors import APIStatusError, BadResponseError, InvalidRequestError

SHAPES = {
    path.stem: json.loads(path.read_text("utf-8"))
    for path in sorted(Path(__file__).with_name("local_servers").glob("*.json"))
}
#: The options with which each server does all that it can; docs/own-gpu.md names them.
SETTINGS = {
    "sd_server": {"model": "sd-cpp-local"},
    "sglang": {"model": "black-forest-labs/FLUX.2-klein-4B", "options": {"output_format": "png"}},
    "vllm_omni": {
        "model": "black-forest-labs/FLUX.2-klein-4B",
        "options": {"mask_field": "mask_image"},
    },
    "xinference": {"model": "FLUX.1-dev"},
}
#: Width and height of the source, in pixels; the edits route's sizes are multiples of 16.
SIZE = (96, 80)
#: The largest difference that JPEG makes to these pictures, of 255.
JPEG_ERROR = 40


@pytest.fixture(scope="module")
def servers():
    """Give one server of each shape, by its file's name."""
    running = {name: LocalServer(shape) for name, shape in SHAPES.items()}
    yield running
    for each in running.values():
        each.close()


@pytest.fixture(params=sorted(SHAPES))
def server(request, servers):
    """Give each server in turn, with nothing recorded."""
    return _fresh(servers, request.param)


def _fresh(servers, name):
    server = servers[name]
    server.reset()
    server.ignored = set()
    server.settings = SETTINGS[name]
    return server


@pytest.fixture
def vary():
    """Return a function that asks a server for variations with the settings of the documentation."""
    made = []

    def ask(server, image, *, options=None, **arguments):
        client = Client("openai", api_base=server.base)
        made.append(client)
        settings = {"size": "96x80", **server.settings, **arguments}
        chosen = {**settings.get("options", {}), **(options or {})}
        if settings.get("mask") is None:
            chosen.pop("mask_field", None)
        if arguments.get("route") == "variations":
            chosen = {}
        settings.pop("route", None)
        return client.variations(
            image, **{**settings, "options": {"route": arguments.get("route", "edits"), **chosen}}
        )

    yield ask
    for client in made:
        client.close()


@pytest.fixture
def picture():
    """Return a PNG, a slope of colours in which no place looks like another."""
    rows, columns = np.mgrid[0 : SIZE[1], 0 : SIZE[0]]
    pixels = np.stack([columns * 2, rows * 3, 255 - columns * 2], axis=2).astype(np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def pixels_of(data):
    """Return the pixels of an encoded picture as signed numbers."""
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB")).astype(int)


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_a_shape_names_its_source(shape):
    """Each shape names the repository, the commit and the files that it was written from."""
    for source in shape["sources"]:
        assert set(source) == {"repository", "commit", "date", "files"}
        assert len(source["commit"]) == 40 or source["commit"].startswith("v")
        assert source["files"]


class TestEdits:
    """POST /v1/images/edits, which all of them have."""

    @pytest.mark.parametrize("prompt", [None, "the same hills at dusk"])
    def test_two_pictures_at_their_own_size(self, server, vary, picture, prompt):
        """Each server makes two pictures of 512 px, with a prompt and without, and is asked for 512 px."""
        made = vary(server, picture, n=2, size=512, prompt=prompt)
        (post,) = server.posts
        assert post.fields["size"] == "512x512"
        assert post.fields["n"] == "2"
        assert prompt in (None, post.fields["prompt"])
        assert [each.size for each in made] == [(512, 512)] * 2
        assert not made.warnings

    def test_nothing_is_sent_in_vain(self, server, vary, picture):
        """Every field that goes out is one that the server reads; sd-server alone has one model and one answer."""
        vary(server, picture)
        assert server.ignored == (
            {"model", "response_format"} if server.shape["reader"] == "sd-server" else set()
        )

    def test_a_mask_keeps_what_it_covers(self, server, vary, picture):
        """What the mask keeps is the source's, and the rest is painted; SGLang does nothing with a mask."""
        keep = np.zeros(SIZE[::-1], bool)
        keep[:, :48] = True
        (made,) = vary(server, picture, mask=keep, prompt="hills")
        change = np.abs(pixels_of(made.bytes) - pixels_of(picture)).max(axis=2)
        if server.shape["routes"]["/v1/images/edits"].get("unused") == ["mask"]:
            assert change[:, :40].max() > JPEG_ERROR
            return
        assert change[:, :40].max() <= JPEG_ERROR
        assert np.median(change[:, 56:]) > JPEG_ERROR

    def test_a_turned_photograph_arrives_upright(self, server, vary, picture):
        """A photograph whose Exif data ask for a rotation is turned before it is sent: these servers ignore that."""
        file = io.BytesIO()
        exif = Image.Exif()
        exif[0x0112] = 6
        Image.open(io.BytesIO(picture)).rotate(90, expand=True).save(file, "JPEG", exif=exif, quality=95)
        (made,) = vary(server, file.getvalue())
        assert np.abs(255 - pixels_of(made.bytes) - pixels_of(picture)).max() <= JPEG_ERROR

    @pytest.mark.parametrize(
        ("mode", "kind"), [("L", "PNG"), ("L", "JPEG"), ("LA", "PNG"), ("P", "PNG"), ("RGB", "WEBP")]
    )
    def test_a_picture_that_few_decoders_take_is_converted(self, server, vary, picture, mode, kind):
        """A grey picture, a palette or a WebP goes as a PNG in colour: sd-server drops what it can't decode."""
        file = io.BytesIO()
        Image.open(io.BytesIO(picture)).convert("L").convert(mode).save(file, kind)
        (made,) = vary(server, file.getvalue())
        _, sent_as, data = server.posts[0].files["image"]
        assert sent_as == "image/png"
        assert Image.open(io.BytesIO(data)).mode in ("RGB", "RGBA")
        assert pixels_of(made.bytes).std() > 10

    def test_others_go_as_they_are(self, server, vary, picture):
        """An upright PNG in colour is sent byte for byte."""
        vary(server, picture)
        assert server.posts[0].files["image"][2] == picture

    def test_without_a_model_the_least_common_size_is_asked_for(self, servers, vary, picture):
        """Without a model's name the server may have any, so 512 px are asked for as 1024 and reduced, as before."""
        server = _fresh(servers, "sd_server")
        (made,) = vary(server, picture, size=512, model=None)
        assert server.posts[0].fields["size"] == "1024x1024"
        assert made.size == (512, 512)

    def test_the_variations_route_is_missing(self, server, vary, picture):
        """Where there is no variations route, the error says how to ask for edits."""
        if "/v1/images/variations" in server.shape["routes"]:
            return
        with pytest.raises(APIStatusError, match="does not serve variations; say --route edits"):
            vary(server, picture, route="variations")


class TestOneServer:
    """What only one of them does."""

    def test_vllm_omni_calls_its_mask_mask_image(self, servers, vary, picture):
        """vLLM-Omni ignores a field `mask`; the option mask_field gives the mask the name that it reads."""
        server = _fresh(servers, "vllm_omni")
        vary(server, picture, mask=np.ones(SIZE[::-1], bool), prompt="hills", options={"mask_field": "mask"})
        assert server.ignored == {"mask"}
        vary(server, picture, mask=np.ones(SIZE[::-1], bool), prompt="hills")
        assert set(server.posts[1].files) == {"image", "mask_image"}

    def test_vllm_omni_and_sglang_take_numbers(self, servers, vary, picture):
        """A seed, steps and guidance go through extra_body, and arrive as what the servers read as numbers."""
        for name in ("vllm_omni", "sglang"):
            server = _fresh(servers, name)
            extra = {"seed": 7, "num_inference_steps": 4, "guidance_scale": 1.0}
            vary(server, picture, extra_body=extra)
            assert server.posts[0].fields.items() >= {"seed": "7", "guidance_scale": "1.0"}.items()
            with pytest.raises(APIStatusError, match="seed"):
                vary(server, picture, extra_body={"seed": "seven"})
            assert not server.ignored

    def test_vllm_omni_serves_one_model(self, servers, vary, picture):
        """Another model's name is refused with both names, and no picture at an address is to be had."""
        server = _fresh(servers, "vllm_omni")
        with pytest.raises(APIStatusError, match=r"answered 400: Model mismatch: request specifies 'x'"):
            vary(server, picture, model="x")
        with pytest.raises(APIStatusError, match="Only response_format 'b64_json' is supported"):
            vary(server, picture, response_format="url")

    def test_sglang_answers_in_jpeg_unless_asked(self, servers, vary, picture):
        """SGLang makes JPEG; the option output_format makes it PNG."""
        server = _fresh(servers, "sglang")
        assert vary(server, picture)[0].mime_type == "image/png"
        server.settings = {"model": "m"}
        assert vary(server, picture)[0].mime_type == "image/jpeg"

    def test_sd_server_takes_its_settings_in_the_prompt(self, servers, vary, picture):
        """sd-server reads its own settings from the prompt, which is sent unchanged."""
        server = _fresh(servers, "sd_server")
        prompt = 'hills <sd_cpp_extra_args>{"seed": 7, "strength": 0.5}</sd_cpp_extra_args>'
        vary(server, picture, prompt=prompt)
        assert server.posts[0].fields["prompt"] == prompt

    def test_sd_server_refuses(self, servers, vary, picture):
        """A JSON body and WebP answers are refused with sd-server's words; asked for a URL, it sends a picture."""
        server = _fresh(servers, "sd_server")
        with pytest.raises(APIStatusError, match="must be multipart/form-data"):
            vary(server, picture, options={"edits_json": True})
        with pytest.raises(APIStatusError, match=r"must be one of \[png, jpeg\]"):
            vary(server, picture, options={"output_format": "webp"})
        assert vary(server, picture, response_format="url")[0].mime_type == "image/png"


class TestXinferenceVariations:
    """POST /v1/images/variations, which Xinference alone has."""

    @pytest.fixture
    def xinference(self, servers):
        """Give the server."""
        return _fresh(servers, "xinference")

    def test_variations(self, xinference, vary, picture):
        """Two variations of 512 px come from a square PNG, as JPEG; a space is the empty prompt that pipelines need."""
        made = vary(xinference, picture, n=2, size=512, route="variations", extra_body={"prompt": " "})
        (post,) = xinference.posts
        assert post.path == "/v1/images/variations"
        ours = {"model": "FLUX.1-dev", "n": "2", "size": "512x512", "response_format": "b64_json"}
        assert post.fields == {**ours, "prompt": " "}
        assert [(each.size, each.mime_type) for each in made] == [((512, 512), "image/jpeg")] * 2
        assert not xinference.ignored

    def test_a_pipeline_that_needs_a_prompt(self, xinference, picture):
        """Without a prompt, mask and option, variations are asked for; the refusal of a pipeline says what to add."""
        with (
            Client("openai", api_base=xinference.base) as client,
            pytest.raises(
                APIStatusError, match=r"answered 500: Provide either .* its model needs a prompt: say"
            ) as caught,
        ):
            client.variations(picture, model="FLUX.1-dev", size=512)
        assert xinference.posts[0].path == "/v1/images/variations"
        assert "later" not in str(caught.value)

    def test_settings(self, xinference, vary, picture):
        """A prompt, and settings as JSON in the field kwargs, go through extra_body."""
        extra = {"prompt": "hills", "kwargs": {"strength": 0.6, "num_inference_steps": 20}}
        vary(xinference, picture, route="variations", extra_body=extra)
        fields = xinference.posts[0].fields
        assert fields["prompt"] == "hills"
        assert json.loads(fields["kwargs"]) == extra["kwargs"]

    def test_a_model_is_needed(self, xinference, vary, picture):
        """Without a model, FastAPI's refusal names the field; of an unknown model, Xinference's names the model."""
        with pytest.raises(APIStatusError, match=r"answered 422: body\.model: Field required"):
            vary(xinference, picture, route="variations", model=None)
        with pytest.raises(APIStatusError, match="answered 400: Model not found in the model list, uid: x"):
            vary(xinference, picture, route="variations", model="x", extra_body={"prompt": "x"})

    def test_addresses_are_paths(self, xinference, vary, picture):
        """Xinference's address is a path on its own disk, so the error says to leave it out."""
        with pytest.raises(BadResponseError, match="leave -f url out"):
            vary(xinference, picture, route="variations", response_format="url", extra_body={"prompt": "x"})


def test_a_mask_field_of_another_name_is_refused(picture):
    """The mask's field is one of the two that servers read."""
    with (
        Client("openai", api_base="http://127.0.0.1:9/v1") as client,
        pytest.raises(InvalidRequestError, match="mask_image"),
    ):
        client.variations(
            picture, prompt="x", mask=np.ones(SIZE[::-1], bool), options={"mask_field": "masks"}
        )


def test_the_edits_json_has_the_mask_under_its_name(api, picture):
    """In JSON as in a form, the mask has the name that the option gives it."""
    with Client("openai", api_base=api.base) as client:
        mask = np.ones(SIZE[::-1], bool)
        api.script([response(200, {"created": 1, "data": [{"b64_json": b64(png())}]})])
        client.variations(
            picture, prompt="x", mask=mask, options={"edits_json": True, "mask_field": "mask_image"}
        )
    assert set(api.posts[0].json["mask_image"]) == {"image_url"}
    assert "mask" not in api.posts[0].json
