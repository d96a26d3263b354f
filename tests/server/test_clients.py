"""The clients that people have: each gets variations with nothing but a base URL."""

import base64
import io
import json
import os
import shutil
import subprocess
import sys
import warnings

import pytest
from PIL import Image

from ipy_imgvar import Client

SMALL = "256x256"


def size_of(data):
    return Image.open(io.BytesIO(data)).size


@pytest.fixture
def hosted(server):
    """Return our own client of hosted engines, asking our own server."""
    with Client("openai", api_base=server.base) as client:
        yield client


@pytest.mark.parametrize("form", ["url", "b64_json", "byte", None])
def test_own_client_variations(hosted, photo, form):
    """Our own engine `openai` gets ten variations in every response format."""
    made = hosted.variations(photo, n=10, size=SMALL, response_format=form)
    assert [each.size for each in made] == [(256, 256)] * 10
    assert len(set(made.bytes)) == 10
    assert all(url.startswith("http://127.0.0.1" if form == "url" else "data:") for url in made.urls)


@pytest.mark.parametrize(
    "options",
    [{"route": "edits"}, {"route": "edits", "stream": "true"}, {"route": "edits", "edits_json": "true"}],
)
def test_own_client_edits(hosted, photo, options):
    """Our own engine gets edits by form, by JSON and as a stream."""
    made = hosted.variations(photo, n=2, size="1024x1024", options=options)
    assert [each.size for each in made] == [(1024, 1024)] * 2


@pytest.fixture
def openai_client(server):
    """Return openai-python's client with nothing but a base URL; it wants any key."""
    openai = pytest.importorskip("openai", reason="openai-python is not installed")
    with openai.OpenAI(base_url=server.base, api_key="none", max_retries=0) as client:
        yield client


def variation_of(client, **form):
    """Call `create_variation` where this release still has it, else post what it posted."""
    if hasattr(client.images, "create_variation"):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # which is why this server is there
            return client.images.create_variation(**form)
    from openai.types import ImagesResponse

    files = {"image": form.pop("image")}
    headers = {"content-type": "multipart/form-data"}
    return client.post(
        "/images/variations", cast_to=ImagesResponse, body=form, files=files, options={"headers": headers}
    )


def test_openai_python_variations(openai_client, png, http):
    """openai-python gets variations as addresses and as base64."""
    made = variation_of(openai_client, image=png, n=2, size=SMALL)
    assert [size_of(http.get(each.url).content) for each in made.data] == [(256, 256)] * 2
    made = variation_of(
        openai_client, image=png, n=1, size=SMALL, response_format="b64_json", model="dall-e-2"
    )
    assert size_of(base64.b64decode(made.data[0].b64_json)) == (256, 256)


def test_openai_python_sets_an_option(openai_client, png):
    """`extra_body` sets an option of the engine by its name, and a wrong value is told with that name."""
    import openai

    asked = {"image": png, "prompt": "x", "size": "1024x1024"}
    headers = openai_client.images.with_raw_response.edit(**asked, extra_body={"flip": False}).headers
    assert "flip" not in headers["x-imgvar-warning"]
    with pytest.raises(openai.BadRequestError, match="option flip is 'perhaps'") as caught:
        openai_client.images.edit(**asked, extra_body={"flip": "perhaps"})
    assert (caught.value.code, caught.value.param) == ("invalid_value", "flip")


def test_openai_python_edits(openai_client, png):
    """openai-python gets edits, whole and as a stream."""
    asked = {"image": png, "prompt": "x", "size": "1024x1024", "model": "gpt-image-2"}
    made = openai_client.images.edit(**asked)
    assert size_of(base64.b64decode(made.data[0].b64_json)) == (1024, 1024)
    assert made.usage.total_tokens == 0
    events = list(openai_client.images.edit(**asked, stream=True))
    assert [each.type for each in events] == ["image_edit.completed"]
    assert size_of(base64.b64decode(events[0].b64_json)) == (1024, 1024)


def test_openai_python_errors(openai_client, png):
    """openai-python finds in our errors what it looks for: status, code, param and the id of the request."""
    import openai

    with pytest.raises(openai.BadRequestError) as caught:
        openai_client.images.edit(image=png, prompt="x", n=99)
    assert (caught.value.code, caught.value.param) == ("invalid_value", "n")
    assert caught.value.request_id.startswith("req_")
    with pytest.raises(openai.NotFoundError):
        openai_client.models.retrieve("nothing")
    assert [each.id for each in openai_client.models.list()] == ["patch-3"]


@pytest.mark.skipif(not shutil.which("curl"), reason="curl is not installed")
def test_curl(server, photo_path):
    """`curl -F` gets a variation, as docs/server.md shows it."""
    curl = [shutil.which("curl") or "curl", "-sS", "--noproxy", "*"]
    form = ["-F", f"image=@{photo_path}", "-F", f"size={SMALL}"]
    done = subprocess.run([*curl, f"{server.base}/images/variations", *form], capture_output=True, check=True)
    url = json.loads(done.stdout)["data"][0]["url"]
    done = subprocess.run([*curl, url], capture_output=True, check=True)
    assert size_of(done.stdout) == (256, 256)


SCRIPT = """
import fs from "node:fs";
import OpenAI from "openai";
const client = new OpenAI({ baseURL: process.argv[2], apiKey: "none", maxRetries: 0 });
const image = () => fs.createReadStream(process.argv[3]);
const form = { image: image(), n: 2, size: "256x256", response_format: "b64_json" };
const made = client.images.createVariation
  ? await client.images.createVariation(form)
  : await client.post("/images/variations", (await import("openai/internal/uploads")).multipartFormRequestOptions(
      { body: form }, client));
const edited = await client.images.edit({ image: image(), prompt: "x", size: "1024x1024" });
const events = [];
for await (const event of await client.images.edit({ image: image(), prompt: "x", stream: true })) {
  events.push(event.type);
}
console.log(JSON.stringify({ made: made.data.length, edited: edited.data[0].b64_json.length > 1000, events }));
"""


@pytest.fixture(scope="module")
def node_folder(tmp_path_factory):
    """Return a folder with the npm package `openai` installed."""
    if not (shutil.which("npm") and shutil.which("node")):
        pytest.skip("node and npm are not installed")
    folder = tmp_path_factory.mktemp("node")
    command = [shutil.which("npm") or "npm", "install", "--no-audit", "--no-fund", "--silent", "openai"]
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, timeout=300)
    except subprocess.TimeoutExpired:
        pytest.skip("npm did not install openai within a minute")
    if done.returncode:
        pytest.skip(f"npm can't install openai: {done.stderr[-200:]}")
    return folder


@pytest.mark.slow
def test_npm_package(server, photo_path, node_folder):
    """The npm package `openai` gets variations, edits and a stream."""
    script = node_folder / "ask.mjs"
    script.write_text(SCRIPT)
    command = [shutil.which("node") or "node", str(script), server.base, str(photo_path)]
    done = subprocess.run(command, cwd=node_folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {"made": 2, "edited": True, "events": ["image_edit.completed"]}


LITELLM = """
import sys, litellm
made = litellm.image_variation(model="openai/dall-e-2", image=open(sys.argv[2], "rb"), n=2, size="256x256",
                               api_base=sys.argv[1], api_key="none")
print(len(made.data), made.data[0].url or made.data[0].b64_json)
"""


def test_litellm(server, photo_path):
    """The function `image_variation` of litellm gets one; in a process of its own, since it warns as it loads."""
    python = os.environ.get("LITELLM_PYTHON", sys.executable)
    found = subprocess.run(
        [python, "-c", "import importlib.util as u; exit(not u.find_spec('litellm'))"], check=False
    )
    if found.returncode:
        pytest.skip("litellm is not installed")
    command = [python, "-c", LITELLM, server.base, str(photo_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "http://127.0.0.1" in done.stdout
