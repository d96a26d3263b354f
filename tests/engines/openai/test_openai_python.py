"""openai-python against the same server: what the loopback API takes and gives is what OpenAI's own client does."""

import base64

import pytest
from loopback import CANARY, PICTURES, USAGE, png, refusal, response

openai = pytest.importorskip("openai")


@pytest.fixture
def theirs(api):
    """Give OpenAI's own client of the loopback API."""
    with openai.OpenAI(api_key=CANARY, base_url=api.base, max_retries=0) as client:
        yield client


def test_edits(api, theirs):
    """Edits are answered with base64 and usage in the shape that it parses."""
    answer = theirs.images.edit(
        image=("a.png", png(), "image/png"), prompt="x", model="gpt-image-2", n=2, size="1024x1024"
    )
    assert [base64.b64decode(each.b64_json) for each in answer.data] == PICTURES[:2]
    assert answer.usage.total_tokens == USAGE["total_tokens"]
    assert answer.usage.input_tokens_details.image_tokens == USAGE["input_tokens_details"]["image_tokens"]
    assert api.posts[0].headers["authorization"] == f"Bearer {CANARY}"


def test_streamed_edits(theirs):
    """A streamed edit comes as partial pictures and a completed one, in events that it knows by name."""
    events = list(
        theirs.images.edit(
            image=("a.png", png(), "image/png"),
            prompt="x",
            model="gpt-image-2",
            stream=True,
            partial_images=2,
        )
    )
    assert [each.type for each in events] == ["image_edit.partial_image"] * 2 + ["image_edit.completed"]
    assert base64.b64decode(events[-1].b64_json) == PICTURES[0]
    assert events[-1].usage.total_tokens == USAGE["total_tokens"]


@pytest.mark.filterwarnings("ignore:deprecated:DeprecationWarning")
@pytest.mark.parametrize("form", ["url", "b64_json"])
def test_variations(api, theirs, form):
    """The classic route answers with addresses or base64."""
    if hasattr(theirs.images, "create_variation"):
        answer = theirs.images.create_variation(
            image=("a.png", png(), "image/png"), n=2, size="512x512", response_format=form
        )
        found = [each.url if form == "url" else base64.b64decode(each.b64_json) for each in answer.data]
    else:
        answer = theirs.post(
            "/images/variations",
            cast_to=object,
            body={"n": "2", "size": "512x512", "response_format": form},
            files=[("image", ("a.png", png(), "image/png"))],
            options={"headers": {"Content-Type": "multipart/form-data"}},
        )
        found = [
            each["url"] if form == "url" else base64.b64decode(each["b64_json"]) for each in answer["data"]
        ]
    urls = [f"http://127.0.0.1:{api.port}/pictures/{index}.png" for index in range(2)]
    assert found == (urls if form == "url" else PICTURES[:2])


@pytest.mark.parametrize(
    ("reply", "kind"),
    [
        (refusal(400, "m", "c", "size", x_request_id="req_9"), "BadRequestError"),
        (refusal(401, "m"), "AuthenticationError"),
        (refusal(404, "m"), "NotFoundError"),
        (refusal(429, "m"), "RateLimitError"),
        (refusal(500, "m"), "InternalServerError"),
        ([response(404, b"", None)], "NotFoundError"),
    ],
)
def test_refusals(api, theirs, reply, kind):
    """Refusals become the errors that it has for them."""
    api.script(reply)
    with pytest.raises(getattr(openai, kind)) as caught:
        theirs.images.edit(image=("a.png", png(), "image/png"), prompt="x", model="gpt-image-2")
    if kind == "BadRequestError":
        error = caught.value
        assert (error.code, error.param, error.request_id) == ("c", "size", "req_9")


def test_what_the_api_refuses(theirs):
    """A response_format for a gpt-image model is an error, as at OpenAI's."""
    with pytest.raises(openai.BadRequestError, match="response_format"):
        theirs.images.edit(
            image=("a.png", png(), "image/png"), prompt="x", model="gpt-image-2", response_format="b64_json"
        )
