"""The models and options of a server's start: what is loaded before it answers, and what its clients can't reach."""

import base64
import json
import signal
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from ipy_imgvar import Client
from ipy_imgvar.engine import Capabilities, EngineOption
from ipy_imgvar.errors import ConfigurationError, InvalidRequestError
from ipy_imgvar.server import preparation, serve
from ipy_imgvar.server.offer import Offer
from ipy_imgvar.server.refusals import Refusal

pytestmark = pytest.mark.usefixtures("installed_engine")
WEIGHTS = ["--engine", "posterise-weights"]
SMALL = {"size": "64x64", "seed": "7", "response_format": "b64_json"}


@pytest.fixture
def notes(tmp_path, monkeypatch):
    """Return a function that reads what the test engine noted: process, event and value."""
    path = tmp_path / "notes"
    monkeypatch.setenv("POSTERISE_NOTES", str(path))

    def read(event=None):
        lines = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
        return [each for each in lines if event in (None, each[1])]

    return read


def post(base, png, **fields):
    with httpx.Client(timeout=200) as client:
        return client.post(f"{base}/images/variations", files={"image": png}, data={**SMALL, **fields})


def ids(base):
    return [each["id"] for each in httpx.get(f"{base}/models").json()["data"]]


@pytest.mark.slow
def test_models_are_loaded_before_it_answers(launch, png, notes):
    """The models of the start are loaded once, in their order, with plain lines on stderr, and only then it answers."""
    process = launch(*WEIGHTS, "--model", "hard", "--model", "owner/other@1", "--model", "hard")
    said = process.log.read_text().splitlines()
    assert said[:4] == [
        "imgvar serve: hard: 2 MB from nowhere, free for all",
        "imgvar serve: loading 1 of 3 MB",
        "imgvar serve: owner/other@1: 2 MB from nowhere, free for all",
        process.base,
    ]
    assert [value for _, _, value in notes("loaded")] == ["hard", "owner/other@1"]
    assert ids(process.base) == ["hard", "owner/other@1"]
    for name in ("hard", "owner/other@1"):
        assert httpx.get(f"{process.base}/models/{name}").json()["id"] == name
        assert post(process.base, png, model=name).status_code == 200
    assert post(process.base, png).json()["data"] == post(process.base, png, model="hard").json()["data"]
    assert len(notes("loaded")) == 2
    assert process.stop() == 0
    assert notes("closed")


@pytest.mark.parametrize(
    "name", ["soft", "/etc", "../weights", "evil/weights@main", "~", "owner/other@2", "HARD"]
)
def test_no_other_model_is_reached(start, png, name, notes):
    """A request for any other model is a 404 with the names of this server, and nothing is loaded for it."""
    server = start("posterise-weights", models=["hard", "owner/other@1"])
    answer = post(server.base, png, model=name)
    error = answer.json()["error"]
    assert (answer.status_code, error["code"], error["param"]) == (404, "model_not_found", "model")
    assert "this server has only hard, owner/other@1" in error["message"]
    assert httpx.get(f"{server.base}/models/soft").status_code == 404
    assert notes("loaded") == []


@pytest.mark.parametrize(
    ("fields", "warned"),
    [
        ({"model": "dall-e-2"}, "model dall-e-2 is not here: hard answered"),
        ({"model": "gpt-image-1"}, "model gpt-image-1 is not here: hard answered"),
        ({"model": "posterise-weights"}, ""),
        ({}, ""),
    ],
)
def test_a_name_that_means_the_default(start, png, fields, warned, notes):
    """OpenAI's names, the engine's own and no name mean the first model; the warning header names OpenAI's."""
    server = start("posterise-weights", models=["hard", "soft"])
    answer = post(server.base, png, **fields)
    assert answer.status_code == 200
    assert [value for _, _, value in notes("loaded")] == ["hard"]
    assert answer.headers.get("x-imgvar-warning", "") == warned


def test_without_models_the_default_alone_answers(launch, png, notes):
    """An engine that loads weights chooses its model at the start, and then no other is served."""
    process = launch(*WEIGHTS)
    assert [value for _, _, value in notes("loaded")] == ["soft"]
    assert ids(process.base) == ["soft"]
    assert post(process.base, png, model="soft").status_code == 200
    assert post(process.base, png, model="hard").status_code == 404
    assert len(notes("loaded")) == 1


def test_models_bind_every_engine(start, png):
    """An engine without weights serves only the models of the start too, and all that it takes where none was named."""
    server = start("posterise-one", models=["hard"])
    assert ids(server.base) == ["hard"]
    assert post(server.base, png, model="soft").status_code == 404
    server = start("posterise-one")
    assert ids(server.base) == ["soft", "hard"]
    assert post(server.base, png, model="hard").status_code == 200
    answer = post(server.base, png, model="odd")
    assert (answer.status_code, "only soft, hard" in answer.text) == (404, True)


def test_a_hosted_engine_without_models_takes_any(start, png, api):
    """A hosted engine that was started without a model passes a client's model on, and with one only that."""
    asked = {"seed": "", "size": "256x256"}
    server = start(Client("openai", api_base=api.base, api_key="sk-1"))
    assert post(server.base, png, model="their-model", **asked).status_code == 200
    assert api.requests[-1].fields["model"] == "their-model"
    server = start(Client("openai", api_base=api.base, api_key="sk-1", model="mine"), models=["mine"])
    assert post(server.base, png, model="their-model", **asked).status_code == 404
    assert post(server.base, png, **asked).status_code == 200
    assert api.requests[-1].fields["model"] == "mine"


def test_options_of_the_start_are_in_every_request(launch, png, notes):
    """An option of the start reaches the engine when it prepares and in each request, as the type it declares."""
    process = launch(*WEIGHTS, "--option", "device=gpu", "--option", "bits=2")
    assert post(process.base, png).status_code == 200
    assert [value for _, _, value in notes("prepared")] == [{"device": "gpu", "bits": 2}]
    assert [value for _, _, value in notes("options")] == [{"device": "gpu", "bits": 2}]


def test_a_client_sets_no_trusted_option(start, png, notes):
    """A client's value of a trusted option is left out with a warning, an ordinary one wins over the start's."""
    server = start("posterise-weights", options={"device": "gpu", "quality": "high", "background": "opaque"})
    answer = post(server.base, png, device="cpu", quality="low", background="transparent")
    assert answer.status_code == 200
    assert notes("options")[0][2] == {"device": "gpu", "quality": "high", "background": "transparent"}
    warned = answer.headers["x-imgvar-warning"]
    assert "device is not used: a client of this server can't set it" in warned
    assert "quality is not used: a client of this server can't set it" in warned
    assert "unknown" not in warned
    assert "background" not in warned


def test_a_client_sets_an_option_by_its_name(start, png, notes):
    """A field of a form or of JSON with the name of an ordinary option sets it; without one the start's value holds."""
    server = start("posterise-weights", options={"bits": "2", "device": "gpu"})
    assert post(server.base, png).status_code == 200
    answer = post(server.base, png, bits="5", mirror="always")
    assert (answer.status_code, answer.headers.get("x-imgvar-warning")) == (200, None)
    url = f"data:image/png;base64,{base64.b64encode(png).decode()}"
    edit = {"images": [{"image_url": url}], "prompt": "x", "size": "64x64", "bits": 7}
    assert httpx.post(f"{server.base}/images/edits", json=edit, timeout=200).status_code == 200
    assert [value for _, _, value in notes("options")] == [
        {"device": "gpu", "bits": 2},
        {"device": "gpu", "bits": 5, "mirror": "always"},
        {"device": "gpu", "bits": 7},
    ]


def test_a_wrong_value_of_an_option_is_a_400(start, png, notes):
    """The engine's own line says what is allowed, `param` names the field, and nothing is loaded."""
    server = start("posterise-weights")
    for fields, param, said in (
        ({"bits": "9"}, "bits", "option bits is '9'; allowed: a whole number from 1 to 8"),
        ({"bits": "few", "mirror": "never"}, "bits", "option bits is 'few'; allowed: a whole number"),
        ({"mirror": "perhaps", "bits": "3"}, "mirror", "option mirror is 'perhaps'; allowed: never, always"),
    ):
        answer = post(server.base, png, **fields)
        error = answer.json()["error"]
        assert (answer.status_code, error["code"], error["param"]) == (400, "invalid_value", param)
        assert said in error["message"]
    assert notes("loaded") == []


@pytest.mark.parametrize("more", [{}, {"steps": "3"}, {"quality": "high", "steps": "3"}])
def test_an_option_that_the_engine_refuses_is_named(fake_engine, start, png, more):
    """A 400 names the option that the engine's own check refuses; one of gpt-image models is left out as ever."""

    class Plain(fake_engine):
        def capabilities(self, model=None):  # noqa: ARG002
            options = (EngineOption("steps", int), EngineOption("negative_prompt"), EngineOption("quality"))
            return Capabilities(features=frozenset({"seed"}), options=options)

        def check(self, request):
            for name in {"negative_prompt", "quality"} & set(request.options):
                raise InvalidRequestError(f"{name}: fake-1 takes none", field="options")

    server = start(Client(Plain(["red"])))
    error = post(server.base, png, negative_prompt="dog", **more).json()["error"]
    assert (error["message"], error["param"]) == ("negative_prompt: fake-1 takes none", "negative_prompt")
    answer = post(server.base, png, **more)
    assert answer.status_code == 200
    assert ("quality is not used" in answer.headers.get("x-imgvar-warning", "")) == ("quality" in more)


def test_two_clients_at_once(launch, png, notes):
    """Requests of several clients for several models run one after the other, and each gets its own pictures."""
    process = launch(*WEIGHTS, "--model", "soft", "--model", "hard")
    names = ["soft", "hard"] * 3
    with ThreadPoolExecutor(6) as clients:
        answers = list(clients.map(lambda name: post(process.base, png, model=name), names))
    assert [each.status_code for each in answers] == [200] * 6
    made = [each.json()["data"][0]["b64_json"] for each in answers]
    assert len(set(made[::2])) == len(set(made[1::2])) == 1
    assert made[0] != made[1]
    assert len(notes("loaded")) == 2


@pytest.mark.parametrize(
    ("options", "code", "said"),
    [
        (["--model", "no-such-model"], 2, "model is no-such-model; allowed: soft, hard"),
        (
            ["--model", "soft", "--model", "broken"],
            1,
            "the weights of broken can't be loaded; install them again",
        ),
        (["--model", "odd"], 1, "can't load its model (ValueError: a fault of two lines)"),
        (["--option", "nothing=1"], 2, "option 'nothing' is unknown"),
        (["--option", "device=tpu"], 2, "option device is 'tpu'; allowed: cpu, gpu"),
        (["--option", "device"], 2, "--option is 'device'; allowed: NAME=VALUE"),
    ],
)
def test_a_start_that_fails(options, code, said, capsys, notes):
    """A wrong name or option ends the start with 2, weights that can't be loaded with 1, and one line says why."""
    assert serve([*WEIGHTS, "--port", "0", "--quiet", *options]) == code
    lines = [line for line in capsys.readouterr().err.splitlines() if "from nowhere" not in line]
    assert len(lines) == 1
    assert said in lines[0]
    assert notes("closed")


def test_options_that_a_model_refuses_end_the_start(capsys):
    """An option that one of the models can't use ends the start with 2 and the engine's line, not each request."""
    start = ["--engine", "diffusers", "--port", "0", "--model", "sd15", "--model", "redux"]
    assert serve([*start, "--option", "negative_prompt=dog"]) == 2
    said = capsys.readouterr().err
    assert "FLUX.1-Redux-dev" in said
    assert "takes no negative prompt; leave it out" in said
    assert said.count("\n") == 1


def test_options_are_checked_again_with_the_engines_choice(capsys, monkeypatch):
    """An engine that chooses its model when it loads refuses an option then, and the start ends with 2."""
    from imgvar_posterise.variants import Weights

    def check(self, request):
        if self.loaded and request.options:
            raise InvalidRequestError("soft takes no bits; leave it out", field="options")

    monkeypatch.setattr(Weights, "check", check)
    assert serve([*WEIGHTS, "--port", "0", "--quiet", "--option", "bits=2"]) == 2
    assert capsys.readouterr().err.splitlines()[-1] == "imgvar serve: soft takes no bits; leave it out"


def test_an_option_of_one_route_is_no_fault_of_the_start(api):
    """An option that only some requests can have, as those of the edits route, does not end the start."""
    hosted = Client("openai", api_base=api.base, api_key="sk-1")
    assert Offer(hosted, options={"quality": "high"}).options == {"quality": "high"}
    with pytest.raises(InvalidRequestError, match="the route variations takes no option quality"):
        Offer(hosted, options={"quality": "high", "route": "variations"})


def test_an_engine_without_that_model(capsys):
    """A model that an engine with a fixed list does not have is usage, in one line."""
    assert serve(["--engine", "posterise", "--port", "0", "--model", "odd"]) == 2
    assert "model is 'odd'; the engine posterise has only soft, hard" in capsys.readouterr().err


def test_a_failed_start_leaves_nothing(notes, tmp_path):
    """After a start that failed, the process has ended, its port is free and the engine is closed."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "ipy_imgvar.server", *WEIGHTS, "--port", str(port), "--model", "broken"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert "Traceback" not in done.stderr
    assert notes("closed")
    with socket.create_server(("127.0.0.1", port)):
        pass


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 0)])
def test_a_start_is_interruptible(launch, notes, number, code, wait_until):
    """A signal during the loading stops it, before the port answers, and the engine is closed."""
    process = launch(*WEIGHTS, "--model", "endless", ready=False)
    wait_until(lambda: "loading" in process.log.read_text())
    assert process.stop(number) == code
    assert "stopped before it was ready" in process.log.read_text()
    assert "http://" not in process.log.read_text()
    assert notes("closed")


@pytest.mark.slow
def test_a_second_signal_ends_an_engine_that_does_not_look(launch, wait_until, notes):
    """An engine that never asks its job whether to stop is interrupted by the second signal."""
    process = launch(*WEIGHTS, "--model", "deaf", ready=False)
    wait_until(lambda: notes("deaf"))  # its lines of progress look at the job
    process.process.send_signal(signal.SIGINT)
    time.sleep(0.5)  # two at once would be one
    assert process.process.poll() is None
    assert process.stop(signal.SIGINT) == 130
    assert "Traceback" not in process.log.read_text()
    assert notes("closed")


def test_progress_is_in_plain_lines(capsys, monkeypatch):
    """A step has one line, and another after ten seconds of it; --quiet leaves the announcements alone."""
    engine, said = Client("posterise-weights").engine, "imgvar serve: soft: 2 MB from nowhere, free for all"
    lines = [f"imgvar serve: loading {part} of 3 MB" for part in (1, 2, 3)]
    for repeat_s, quiet, expected in ((10, False, lines[:1]), (0, False, lines), (0, True, [])):
        monkeypatch.setattr(preparation, "_REPEAT_S", repeat_s)
        engine.unload()
        preparation.prepare(engine, ["soft"], {}, quiet=quiet)
        assert capsys.readouterr().err.splitlines() == [said, *expected]


def test_a_taken_port_is_told_before_anything_is_loaded(capsys, notes):
    """A port in use ends the start before weights are downloaded."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        assert serve([*WEIGHTS, "--port", str(taken.getsockname()[1])]) == 1
    assert "can't listen" in capsys.readouterr().err
    assert notes("loaded") == []


def test_a_folder_has_its_last_part_as_name(fake_engine, tmp_path):
    """Clients see and send the last part of a folder's path, never the path; two of one name are refused."""
    folder = str(tmp_path / "weights" / "mine")
    offer = Offer(Client(fake_engine()), [folder, "owner/name"])
    assert offer.models == ["mine", "owner/name"]
    assert (offer.resolved("mine", []), offer.resolved(None, []), offer.default) == (folder, None, folder)
    with pytest.raises(Refusal) as caught:
        offer.resolved(folder, [])
    assert "this server has only mine, owner/name" in caught.value.message
    with pytest.raises(InvalidRequestError, match="have the same name here, mine"):
        Offer(Client(fake_engine()), [folder, "/elsewhere/mine"])


def test_a_name_that_an_engine_chokes_on_is_a_404(fake_engine, start, png):
    """An engine that raises anything for a name that it lacks gets a 404, not a 500."""

    class Choking(fake_engine):
        def capabilities(self, model=None):
            if model == "unset":
                raise ConfigurationError("install it")
            if model is not None:
                raise KeyError(model)
            return Capabilities()

    server = start(Client(Choking(["red"])))
    for name in ("odd", "unset"):
        assert post(server.base, png, model=name).status_code == 404


@pytest.mark.parametrize("place", ["check", "generate"])
@pytest.mark.parametrize("models", [["/home/me/weights/mine"], []])
def test_a_model_that_is_gone_is_a_404_without_its_path(fake_engine, start, png, models, place):
    """A model of the start that the engine refuses later is a 404, and its folder stays in the server's log."""
    gone = InvalidRequestError("model is '/home/me/weights/mine': there is no such folder", field="model")

    class Gone(fake_engine):
        def prepare(self, models, job, options=None):
            """Load nothing."""

        def unload(self):
            return []

        def check(self, request):  # noqa: ARG002
            if place == "check":
                raise gone

    server = start(Client(Gone([gone]), model=next(iter(models), None)), models=models)
    answer = post(server.base, png)
    name = "mine" if models else "fake-1"
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "model_not_found")
    assert (
        answer.json()["error"]["message"] == f"the model {name} can't be used now; the server's log says why"
    )
    assert "/home" not in answer.text
