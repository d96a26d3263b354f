"""The hosted engine against the loopback API: what is sent, on which route, as whom, and what comes of it."""

import base64
import io
import os
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from loopback import CANARY, PICTURES, USAGE, answer_of, b64, png, response
from PIL import Image

from ipy_imgvar import Client, last
from ipy_imgvar.engines.openai.models import DEFAULT_MODEL, farewell
from ipy_imgvar.engines.prompts import variation_prompt
from ipy_imgvar.errors import ConfigurationError, InvalidRequestError


def sent_image(api, number=-1):
    name, kind, data = api.posts[number].files["image"]
    return name, kind, Image.open(io.BytesIO(data))


class TestVariationsRoute:
    """POST /images/variations."""

    def test_what_is_sent(self, api, client, photo_path):
        """Image, n, size and response_format go out, no model unless it was asked for, and the user's id."""
        made = client.variations(photo_path, n=2, size=512, user="u-1")
        (post,) = api.posts
        assert post.target == "/v1/images/variations"
        assert post.fields == {"n": "2", "size": "512x512", "response_format": "b64_json", "user": "u-1"}
        assert post.headers["authorization"] == f"Bearer {CANARY}"
        assert sent_image(api)[:2] == ("photo.png", "image/png")
        assert made.bytes == PICTURES[:2]
        client.variations(photo_path, model="sd-turbo")
        assert api.posts[-1].fields["model"] == "sd-turbo"

    def test_urls_are_fetched_at_once(self, api, client, photo):
        """With response_format url the pictures are fetched without the key, stored, and kept with their address."""
        made = client.variations(photo, n=2, response_format="url")
        assert api.posts[0].fields["response_format"] == "url"
        assert made.bytes == PICTURES[:2]
        assert made.urls == [f"{api.base[:-3]}/pictures/{index}.png" for index in range(2)]
        assert all("authorization" not in get.headers for get in api.gets)
        assert [each.path.read_bytes() for each in made] == PICTURES[:2]

    @pytest.mark.parametrize("fit", ["crop", "pad", "stretch"])
    @pytest.mark.parametrize("size", ["256x256", "1024x1024"])
    def test_any_picture_becomes_a_square_png(self, api, client, fit, size):
        """A wide JPEG is sent as a square PNG below 4 MB, by crop, pad or stretch, and the result says so."""
        pixels = np.random.default_rng(1).integers(0, 255, (900, 1400, 3), np.uint8)
        buffer = io.BytesIO()
        Image.fromarray(pixels).save(buffer, "JPEG")
        made = client.variations(buffer.getvalue(), size=size, fit=fit)
        _, kind, image = sent_image(api)
        assert (kind, image.format) == ("image/png", "PNG")
        assert image.width == image.height <= int(size.partition("x")[0])
        (note,) = made.warnings
        assert f"sent as a PNG of {image.width}x{image.width}" in note

    def test_a_large_png_is_reduced(self, api, client):
        """A square PNG of 4 MB or more is reduced until it is below."""
        pixels = np.random.default_rng(1).integers(0, 255, (1300, 1300, 3), np.uint8)
        buffer = io.BytesIO()
        Image.fromarray(pixels).save(buffer, "PNG")
        assert len(buffer.getvalue()) > 4e6
        client.variations(buffer.getvalue())
        assert len(api.posts[0].files["image"][2]) < 4e6

    def test_a_fitting_png_is_sent_as_it_is(self, api, client):
        """A square PNG below 4 MB is sent byte for byte."""
        data = png("red", (300, 300))
        assert client.variations(data).warnings == []
        assert api.posts[0].files["image"][2] == data

    @pytest.mark.parametrize(
        ("arguments", "said"),
        [
            ({"prompt": "x", "options": {"route": "variations"}}, "takes no prompt"),
            ({"options": {"quality": "high"}}, "takes no option quality"),
            ({"options": {"nonsense": 1}}, "unknown to the engine openai"),
            ({"options": {"route": "nowhere"}}, "allowed: variations, edits"),
            ({"seed": 1}, "seed"),
            ({"extra_body": {"x": object()}}, "extra_body"),
            (
                {"extra_body": {"x": float("nan")}, "options": {"route": "edits", "edits_json": "true"}},
                "extra_body",
            ),
        ],
    )
    def test_refused_before_anything_is_sent(self, api, client, photo, arguments, said):
        """What the route can't do is refused in one line, and nothing is sent."""
        with pytest.raises(InvalidRequestError, match=said):
            client.variations(photo, **arguments)
        assert api.requests == []


class TestEditsRoute:
    """POST /images/edits."""

    def test_what_is_sent(self, api, client, photo):
        """Model, prompt, n and size go out; a gpt-image model gets no response_format."""
        made = client.variations(
            photo, n=2, model=DEFAULT_MODEL, options={"quality": "high", "output_compression": 90}
        )
        (post,) = api.posts
        assert post.target == "/v1/images/edits"
        assert post.fields == {
            "model": DEFAULT_MODEL,
            "prompt": variation_prompt(0.5),
            "n": "2",
            "size": "1024x1024",
            "quality": "high",
            "output_compression": "90",
        }
        assert made.usage["total_tokens"] == USAGE["total_tokens"]
        assert made[0].parameters["prompt_version"] == 1
        assert made[0].parameters["route"] == "edits"

    @pytest.mark.parametrize(
        ("strength", "word"),
        [("subtle", "change only"), (0.34, "change only"), (0.7, "arrange"), (0.71, "choose")],
    )
    def test_strength_picks_the_prompt(self, api, client, photo, strength, word):
        """The strength chooses among three prompts, each of which forbids text."""
        client.variations(photo, model="gpt-image-2", strength=strength)
        prompt = api.posts[0].fields["prompt"]
        assert word in prompt
        assert "Do not add text" in prompt

    def test_a_prompt_of_the_user_replaces_ours(self, api, client, photo):
        """A prompt leads to the edits route, replaces ours, and tells others to answer with base64."""
        made = client.variations(photo, prompt="a watercolour, grün")
        assert api.posts[0].path == "/v1/images/edits"
        assert api.posts[0].fields["prompt"] == "a watercolour, grün"
        assert api.posts[0].fields["response_format"] == "b64_json"
        assert "prompt_version" not in made[0].parameters

    @pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
    def test_common_types_go_as_they_are(self, api, client, kind):
        """A PNG, JPEG or WebP is sent byte for byte."""
        data = png("red", kind=kind)
        client.variations(data, prompt="x")
        assert api.posts[0].files["image"][1:] == (f"image/{kind.lower()}", data)

    def test_others_become_png(self, api, client):
        """A GIF is sent as PNG."""
        client.variations(png("red", kind="GIF"), prompt="x")
        assert sent_image(api)[2].format == "PNG"

    def test_masks_are_turned_round(self, api, client, photo):
        """What our mask keeps is opaque in the API's, and the rest is transparent."""
        keep = np.zeros((72, 96), bool)
        keep[:, :40] = True
        client.variations(photo, prompt="x", mask=keep)
        _, kind, data = api.posts[0].files["mask"]
        alpha = np.asarray(Image.open(io.BytesIO(data)).getchannel("A"))
        assert kind == "image/png"
        assert np.array_equal(alpha == 255, keep)
        assert np.array_equal(alpha == 0, ~keep)

    @pytest.mark.parametrize("side", [256, 512])
    def test_small_sizes_are_reduced_here(self, api, client, photo, side):
        """256 and 512 are asked for as 1024 and reduced here; the original stays as it came."""
        big = png("red", (1024, 1024))
        api.script([response(200, answer_of(big))])
        (made,) = result = client.variations(photo, model="gpt-image-2", size=side)
        assert api.posts[0].fields["size"] == "1024x1024"
        assert made.size == (side, side)
        assert Image.open(io.BytesIO(made.bytes)).size == (side, side)
        assert made.original == big
        assert "reduced" in result.warnings[0]

    @pytest.mark.parametrize("size", ["1000x1000", "16x1024", "3840x2176", "100x100"])
    def test_sizes_that_are_refused(self, client, photo, size):
        """Sides not divisible by 16, ratios over 3:1 and too many pixels are refused with what is allowed."""
        with pytest.raises(InvalidRequestError, match="divisible by 16"):
            client.variations(photo, prompt="x", size=size)

    @pytest.mark.parametrize("size", ["1536x1024", "3840x2160", "1024x3072"])
    def test_sizes_that_are_sent(self, api, client, photo, size):
        """Other sizes are sent as they are."""
        client.variations(photo, prompt="x", size=size)
        assert api.posts[0].fields["size"] == size

    def test_json_edits(self, api, client, photo):
        """With edits_json the picture and mask go as data: URLs in JSON, numbers as numbers."""
        client.variations(
            photo,
            prompt="x",
            n=2,
            mask=np.ones((72, 96), bool),
            options={"edits_json": "true", "output_compression": "80"},
        )
        body = api.posts[0].json
        assert api.posts[0].headers["content-type"] == "application/json"
        assert body["images"][0]["image_url"].startswith("data:image/png;base64,")
        assert body["mask"]["image_url"].startswith("data:image/png;base64,")
        assert (body["n"], body["output_compression"]) == (2, 80)
        assert None not in body.values()

    def test_options_reach_the_server(self, api, client, photo):
        """Every documented option is sent under its name."""
        options = {
            "quality": "low",
            "background": "opaque",
            "output_format": "webp",
            "output_compression": "50",
            "moderation": "low",
            "input_fidelity": "high",
        }
        client.variations(photo, prompt="x", options=options)
        assert options.items() <= api.posts[0].fields.items()


class TestConnection:
    """Where and as whom."""

    @pytest.mark.parametrize("suffix", ["", "/", "/v1", "/v1/"])
    def test_bases(self, api, photo, suffix):
        """A base with or without /v1 and a slash leads to the same address."""
        with Client("openai", api_base=f"http://127.0.0.1:{api.port}{suffix}") as client:
            client.variations(photo)
        assert api.posts[0].path == "/v1/images/variations"

    def test_other_paths(self, api, photo):
        """A base with a path of its own keeps it."""
        with Client("openai", api_base=f"http://127.0.0.1:{api.port}/api/v1/") as client:
            client.variations(photo)
        assert api.posts[0].path == "/api/v1/images/variations"

    def test_no_key_sends_none(self, api, photo):
        """Without a key no Authorization is sent."""
        with Client("openai", api_base=api.base) as client:
            client.variations(photo)
        assert "authorization" not in api.posts[0].headers

    def test_a_user_in_the_base(self, api, photo, log):
        """A user and password in the base are sent as Basic, and shown nowhere."""
        base = f"http://joe:hunter2hunter2@127.0.0.1:{api.port}/v1"
        with Client("openai", api_base=base) as client:
            made = client.variations(photo, response_format="url")
            assert "hunter2" not in repr(vars(client)) + repr(client.engine.connection)
        token = base64.b64encode(b"joe:hunter2hunter2").decode()
        assert api.posts[0].headers["authorization"] == f"Basic {token}"
        assert "authorization" not in api.gets[0].headers
        assert "hunter2" not in log.text + str(made.urls)

    def test_ids(self, api, photo):
        """Organisation and project go as headers, trimmed."""
        with Client("openai", api_base=api.base, organization=" org-1 ", project="proj_1") as client:
            client.variations(photo)
        headers = api.posts[0].headers
        assert (headers["openai-organization"], headers["openai-project"]) == ("org-1", "proj_1")

    @pytest.mark.parametrize("base", ["OPENAI_API_BASE", "OPENAI_BASE_URL"])
    @pytest.mark.parametrize("organization", ["OPENAI_ORGANIZATION", "OPENAI_ORG_ID"])
    def test_environment(self, api, photo, monkeypatch, base, organization):
        """Both spellings of each variable are read; an argument wins over a variable, that over the environment."""
        monkeypatch.setenv(base, api.base)
        monkeypatch.setenv(organization, "env-org")
        monkeypatch.setenv("OPENAI_API_KEY", "env-key-123")
        monkeypatch.setenv("OPENAI_PROJECT_ID", "env-proj")
        for given, expected in [
            ({}, ("Bearer env-key-123", "env-org", "env-proj")),
            (
                {"namespace": {"OPENAI_API_KEY": "var-key-123", organization: "var-org"}},
                ("Bearer var-key-123", "var-org", "env-proj"),
            ),
            (
                {
                    "namespace": {"OPENAI_API_KEY": "v"},
                    "api_key": "arg-key-123",
                    "organization": "o",
                    "project": "p",
                },
                ("Bearer arg-key-123", "o", "p"),
            ),
        ]:
            with Client(**given) as client:
                assert client.engine.name == "openai"
                client.variations(photo)
            headers = api.posts[-1].headers
            sent = [headers[name] for name in ("authorization", "openai-organization", "openai-project")]
            assert tuple(sent) == expected

    def test_the_older_spelling_of_the_base_wins(self, api, photo, monkeypatch):
        """OPENAI_API_BASE counts before OPENAI_BASE_URL."""
        monkeypatch.setenv("OPENAI_API_BASE", api.base)
        monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:1/v1")
        with Client() as client:
            client.variations(photo)
        assert len(api.posts) == 1

    def test_extras_win(self, api, client, photo):
        """Added headers and fields replace ours in any case of letters, a null drops a field, a query is appended."""
        client.variations(
            photo,
            extra_headers={"authorization": "Token other", "api-key": "  k  "},
            extra_query={"api-version": "2026-01-01", "x": "a b&c"},
            extra_body={"n": 3, "size": "256x256", "response_format": None},
        )
        (post,) = api.posts
        assert post.headers["authorization"] == "Token other"
        assert post.headers["api-key"] == "k"
        assert post.target in (
            "/v1/images/variations?api-version=2026-01-01&x=a+b%26c",
            "/v1/images/variations?api-version=2026-01-01&x=a%20b%26c",
        )
        assert post.fields == {"n": "3", "size": "256x256"}

    def test_added_values_stay_out_of_log_and_errors(self, api, client, photo, log):
        """What the caller adds is neither logged, also by httpx, nor repeated when the server repeats it."""
        secret = "very-private-value-123"  # noqa: S105
        api.script([response(400, {"error": {"message": f"bad {secret} of org-abcdef12 with {CANARY}"}})])
        for name, value in [
            ("extra_headers", {"api-key": secret}),
            ("extra_query", {"key": secret}),
            ("extra_body", {"token": secret, "deep": [{"x": secret}]}),
        ]:
            with pytest.raises(Exception, match=r"bad \*{8} of \*{8} with") as caught:
                client.variations(photo, prompt="x", **{name: value})
            assert secret not in log.text + str(caught.value) + repr(last())
        record = "".join(path.read_text() for path in last_store())
        assert secret not in record

    @pytest.mark.parametrize("headers", [{"bad name": "x"}, {"X": "a\nb"}, {"X": "é"}, {"X": 1}, {"": "x"}])
    def test_headers_that_can_not_be_sent(self, api, client, photo, headers):
        """A header that HTTP can't carry is refused without its value."""
        with pytest.raises(ConfigurationError, match="header"):
            client.variations(photo, extra_headers=headers)
        assert api.requests == []

    def test_openai_without_a_key(self, photo):
        """OpenAI's own server is not asked without a key."""
        with pytest.raises(ConfigurationError, match="no API key"):
            Client("openai").variations(photo)

    def test_openai_gets_edits_with_the_default_model(self):
        """With a key alone, OpenAI's edits route and our default model are chosen."""
        from ipy_imgvar.engines.openai.message import make_message
        from ipy_imgvar.images.source import Source
        from ipy_imgvar.request import VariationRequest

        engine = Client(api_key=CANARY).engine
        assert engine.connection.is_openai
        request = VariationRequest.from_arguments(image=Source("x.png", data=png()))
        message = make_message(request, is_openai=True)
        assert (message.route, message.body["model"]) == ("edits", DEFAULT_MODEL)
        assert "response_format" not in message.body
        assert engine.model(request) == DEFAULT_MODEL

    def test_the_destination_is_named_first(self, api, client, photo):
        """Server, route and model are announced before anything is sent."""
        said = []
        client.variations(
            photo, model="gpt-image-2", on_notice=lambda text: said.append((text, len(api.requests)))
        )
        assert said == [(f"PIL image 96x72 goes to 127.0.0.1:{api.port} (edits, model gpt-image-2)", 0)]

    def test_patch_touches_no_network(self, photo, monkeypatch):
        """Without key and base, or asked for by name, patch answers and no socket is opened."""

        def refuse(*_args, **_kwargs):
            raise AssertionError("a socket was opened")

        monkeypatch.setattr("socket.socket", refuse)
        assert Client().variations(photo, size=64).engine == "patch"
        monkeypatch.setenv("OPENAI_API_KEY", CANARY)
        assert Client("patch").variations(photo, size=64).engine == "patch"


def last_store():
    return list(last()[0].path.parent.glob("*.json")) if last() else []


class TestReuse:
    """One connection pool per client; nothing grows."""

    def test_fifty_calls_one_connection(self, api, client, photo):
        """Fifty calls use one connection."""
        for _ in range(50):
            client.variations(photo)
        assert api.connections == 1
        assert len(api.posts) == 50

    def test_errors_do_not_use_up_connections(self, api, client, photo):
        """A refusal leaves the connection open for the next call."""
        api.script([response(400, {"error": {"message": "no"}})])
        for _ in range(20):
            with pytest.raises(Exception, match="no"):
                client.variations(photo)
        assert api.connections == 1

    def test_a_connection_that_the_server_closed(self, api, client, photo):
        """A connection that the server closed meanwhile is replaced, and the request is sent once."""
        api.script([response(200, answer_of(PICTURES[0]), Connection="close"), "close"])
        for _ in range(5):
            client.variations(photo)
        assert len(api.posts) == 5

    def test_nothing_grows(self, api, client, photo_path):
        """After a hundred calls there are as many threads and open files as after the first."""
        client.variations(photo_path)

        def open_now():
            return len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0  # noqa: PTH112, PTH208

        files, threads = open_now(), threading.active_count()
        for _ in range(100):
            client.variations(photo_path)
        api.reset()
        assert open_now() == files
        assert threading.active_count() == threads

    def test_many_threads(self, api, client, photo_path):
        """One client serves many threads, each with its own answer."""
        with ThreadPoolExecutor(8) as pool:
            results = list(pool.map(lambda n: client.variations(photo_path, n=n), [1, 2, 3, 4, 5] * 8))
        assert [len(each) for each in results] == [1, 2, 3, 4, 5] * 8
        assert api.connections <= 9

    def test_closing_twice(self, api, photo):
        """A client can be closed more than once."""
        client = Client("openai", api_base=api.base)
        client.variations(photo)
        client.close()
        client.close()


class TestServers:
    """How known servers answer."""

    def test_xinference(self, api, client, photo):
        """JPEG with null beside it, and errors as FastAPI's detail."""
        jpeg = png("red", kind="JPEG")
        api.script([response(200, {"created": 1, "data": [{"url": None, "b64_json": b64(jpeg)}]})])
        (made,) = client.variations(photo, model="sd-turbo")
        assert (made.mime_type, made.bytes, made.path.suffix) == ("image/jpeg", jpeg, ".jpg")
        api.script([response(500, {"detail": "[address=1, pid=2] missing 1 required argument: 'prompt'"})])
        with pytest.raises(Exception, match="missing 1 required argument"):
            client.variations(photo, model="sd-turbo")

    def test_lemonade(self, api, photo):
        """A base below /api/v1 and only base64."""
        with Client("openai", api_base=f"http://127.0.0.1:{api.port}/api/v1", model="SD-Turbo") as client:
            assert client.variations(photo, size=512).bytes == PICTURES[:1]
        assert api.posts[0].path == "/api/v1/images/variations"

    def test_litellm(self, api, client, photo):
        """Its missing route is named as such, and its 400 for a wrong key shows its message."""
        api.script([response(404, {"detail": "Not Found"})])
        with pytest.raises(Exception, match="does not serve variations"):
            client.variations(photo)
        api.script(
            [response(400, {"error": {"message": "Authentication Error, Invalid proxy key", "code": "400"}})]
        )
        with pytest.raises(Exception, match="Invalid proxy key") as caught:
            client.variations(photo, prompt="x")
        assert (caught.value.status, caught.value.code) == (400, "400")

    def test_aquiles(self, api, client, photo):
        """405 for the route, 403 and 401 for keys, pictures at 0.0.0.0."""
        api.script([response(405, {"detail": "Method Not Allowed"})])
        with pytest.raises(Exception, match="does not serve variations"):
            client.variations(photo)
        for status in (401, 403):
            api.script([response(status, {"detail": "Invalid API key"})])
            with pytest.raises(Exception, match="Invalid API key") as caught:
                client.variations(photo, prompt="x")
            assert type(caught.value).__name__ == "AuthenticationError"
        api.script(
            [
                response(
                    200, {"data": [{"url": f"http://0.0.0.0:{api.port}/pictures/0.png", "b64_json": None}]}
                )
            ]
        )
        assert client.variations(photo, prompt="x").bytes == PICTURES[:1]

    def test_a1111(self, api, client, photo):
        """A data: URL as address, and a body that is null."""
        url = f"data:image/png;base64,{b64(PICTURES[0])}"
        api.script([response(200, {"data": [{"url": url}]})])
        made = client.variations(photo, response_format="url")
        assert (made.bytes, made.urls) == (PICTURES[:1], [url])
        api.script([response(200, "null")])
        with pytest.raises(Exception, match="JSON null"):
            client.variations(photo)

    def test_azure(self, api, photo):
        """A deployment's address, an api-key header and a version in the query."""
        base = f"http://127.0.0.1:{api.port}/openai/deployments/gpt-image-2"
        with Client(
            "openai",
            api_base=base,
            model="gpt-image-2",
            extra_headers={"api-key": CANARY},
            extra_query={"api-version": "preview"},
        ) as client:
            client.variations(photo)
        assert api.posts[0].target == "/openai/deployments/gpt-image-2/images/edits?api-version=preview"
        assert "response_format" not in api.posts[0].fields


class TestFarewell:
    """Models that are gone or will go."""

    @pytest.mark.parametrize(
        ("model", "date", "today", "said"),
        [
            ("dall-e-2", None, "2026-05-12", "was switched off on 2026-05-12"),
            ("dall-e-2", None, "2026-05-11", "will be switched off on 2026-05-12"),
            ("gpt-image-1", None, "2026-11-22", "will be switched off on 2026-12-01"),
            ("gpt-image-1", "2027-01-01", "2026-11-22", "2027-01-01"),
            ("gpt-image-1", "soon", "2026-11-22", "2026-12-01"),
            ("brand-new", "2026-12-31", "2026-11-22", "2026-12-31"),
            ("brand-new", None, "2026-11-22", None),
            ("gpt-image-2", None, "2026-11-22", None),
            (None, "2026-12-31", "2026-11-22", None),
        ],
    )
    def test_table(self, model, date, today, said):
        """The server's date wins over the table, and a line names a successor."""
        from datetime import date as day

        line = farewell(model, date, day.fromisoformat(today))
        if said is None:
            assert line is None
        else:
            assert said in line
            assert DEFAULT_MODEL in line

    def test_a_retired_model_that_still_answers(self, api, client, photo):
        """A model of the table that answers gets a warning, and no further request is sent."""
        made = client.variations(photo, model="gpt-image-1")
        assert any("gpt-image-1 w" in line and DEFAULT_MODEL in line for line in made.warnings)
        assert len(api.requests) == 1
