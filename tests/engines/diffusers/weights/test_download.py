"""Downloads from a hub over loopback, by the real huggingface_hub: what is said, fetched, kept and refused."""

import logging
import random
import re
import shlex
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from hubserver import COMMIT, Repo, pipeline

from ipy_imgvar import settings
from ipy_imgvar.engine import Job, Listener
from ipy_imgvar.engines.diffusers.weights.download import fetch, fetch_adapter, fetch_part
from ipy_imgvar.engines.diffusers.weights.presets import Adapter
from ipy_imgvar.engines.diffusers.weights.reference import reference
from ipy_imgvar.errors import (
    AuthenticationError,
    CancelledError,
    ConnectionFailedError,
    EngineError,
    InvalidRequestError,
    RateLimitError,
    RequestTimeoutError,
    ServerError,
)

pytest.importorskip("huggingface_hub")

NEEDED = [
    "model_index.json",
    "scheduler/scheduler_config.json",
    "tokenizer/tokenizer_config.json",
    "tokenizer/vocab.json",
    "unet/config.json",
    "unet/diffusion_pytorch_model.safetensors",
]
OTHER_COMMIT = "f" * 40


class Ear:
    """A job's listener that remembers all texts; `on_notice` may be given."""

    def __init__(self, on_notice=None):
        self.notices = []
        self.progress = []
        self.cancel = threading.Event()
        self.on_notice = on_notice
        listener = Listener(on_progress=lambda _, text: self.progress.append(text), on_notice=self.heard)
        self.job = Job(listener=listener, cancel=self.cancel)

    def heard(self, text):
        self.notices.append(text)
        if self.on_notice:
            self.on_notice()

    @property
    def texts(self):
        return [*self.notices, *self.progress, *self.job.warnings]


def fetched(model="some/model", *, ear=None, half=False, local=False, check=None):
    ear = ear or Ear()
    return fetch(
        reference(model), half=half, local_files_only=local, job=ear.job, check=check or ear.job.check
    )


def files_of(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def downloads():
    return [each for each in threading.enumerate() if each.name == "ipy_imgvar-download"]


def ended(limit_s=100):
    end = time.monotonic() + limit_s
    while downloads() and time.monotonic() < end:
        time.sleep(0.02)
    return not downloads()


@pytest.mark.usefixtures("repo")
def test_only_what_the_pipeline_needs(hub):
    """The index, the components' settings and their safetensors are fetched; pickles and whole checkpoints aren't."""
    local = fetched()
    assert sorted(hub.paths()) == NEEDED
    assert files_of(local.folder) == NEEDED
    assert (local.commit, local.variant) == (COMMIT, None)
    assert (local.folder / "unet/diffusion_pytorch_model.safetensors").read_bytes() == b"u" * 5000


def test_said_before_it_begins(hub, repo):
    """Name, size, server and licence are announced while no file but the small index has been asked for."""
    repo.sizes = {"unet/diffusion_pytorch_model.safetensors": 5_000_000}
    asked = []
    ear = Ear(lambda: asked.append(hub.paths()))
    fetched(ear=ear)
    assert ear.notices == [f"fetching some/model, 5.0 MB, from {hub.host}; licence: apache-2.0"]
    assert asked == [["model_index.json"]]
    assert ear.progress[0] == "fetching some/model: 0.0 of 5.0 MB"


def test_a_part_is_said_as_a_part(repo):
    """If some files are on this disk already, the rest is announced as a part of the whole."""
    repo.files["tokenizer/merges.txt"] = b"m" * 1_200_000
    repo.files["unet/diffusion_pytorch_model.safetensors"] = b"u" * 2_400_000
    fetched()
    repo.commit, repo.files["tokenizer/merges.txt"] = OTHER_COMMIT, b"n" * 1_200_000
    ear = Ear()
    fetched(ear=ear)
    assert ear.notices[0].startswith("fetching some/model, 1.2 of 3.6 MB, from ")


@pytest.mark.usefixtures("hub")
def test_gated_and_licence_by_name(repo):
    """A gated repository is announced as such, and a licence of its own by its name."""
    repo.gated, repo.token, repo.card = "auto", "hf_secret", {"license": "other", "license_name": "own-terms"}
    ear = Ear()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HF_TOKEN", "hf_secret")
        fetched(ear=ear)
    assert ear.notices[0].endswith(
        "licence: own-terms; gated: only for accounts that have accepted its terms"
    )


@pytest.mark.usefixtures("repo")
def test_nothing_twice(hub):
    """A second call asks for the list alone, and says nothing."""
    fetched()
    hub.requests.clear()
    ear = Ear()
    local = fetched(ear=ear)
    assert [path for _, path, _ in hub.requests] == ["/api/models/some/model"]
    assert ear.texts == []
    assert local.commit == COMMIT


def test_a_new_commit_fetches_what_changed(hub, repo):
    """A new commit on the branch is fetched, but not the files that it shares with the old one."""
    fetched()
    repo.commit, repo.files["unet/config.json"] = OTHER_COMMIT, b'{"new": 1}'
    hub.requests.clear()
    local = fetched()
    assert local.commit == OTHER_COMMIT
    assert hub.paths() == ["unet/config.json"]
    assert files_of(local.folder) == NEEDED


@pytest.mark.usefixtures("repo")
def test_a_commit_that_is_named(hub):
    """A revision that is a commit is asked for, and leaves the branch's record alone."""
    local = fetched(f"some/model@{COMMIT}")
    assert local.commit == COMMIT
    assert ("/api/models/some/model/revision/" + COMMIT) in [path for _, path, _ in hub.requests]
    assert not (local.folder.parent.parent / "refs").exists()


@pytest.mark.parametrize("half", [False, True])
def test_sixteen_bits(hub, half):
    """With `half` the variant fp16 is fetched where a component has one, and the loading learns its name."""
    files = {"unet/diffusion_pytorch_model.fp16.safetensors": b"h" * 2000}
    hub.repos["some/model"] = Repo(pipeline(**files))
    local = fetched(half=half)
    name = "diffusion_pytorch_model.fp16" if half else "diffusion_pytorch_model"
    assert [path for path in files_of(local.folder) if path.endswith("tensors")] == [
        f"unet/{name}.safetensors"
    ]
    assert local.variant == ("fp16" if half else None)


def test_a_folder_is_itself(folder):
    """A folder on this disk is inspected and returned, without a network."""
    root = folder(**{"unet/diffusion_pytorch_model.fp16.safetensors": b"h" * 2000})
    local = fetched(str(root), half=True)
    assert (local.folder, local.commit, local.variant) == (root, None, "fp16")


def test_a_broken_transfer_goes_on(hub, repo):
    """A connection that ends within a file is opened again, and the file goes on at its last whole 10 MiB."""
    repo.files["unet/diffusion_pytorch_model.safetensors"] = bytes(21_000_000)
    repo.breaks = [0.75]
    local = fetched()
    assert (local.folder / "unet/diffusion_pytorch_model.safetensors").stat().st_size == 21_000_000
    ranges = [headers.get("range") for _, path, headers in hub.requests if path.endswith("tensors")]
    assert "bytes=10485760-" in ranges


def test_cancel_at_any_instant(hub):
    """A cancel at any instant ends the call, leaves no thread for long, and the next call brings the same files."""
    hub.repos["some/model"] = repo = Repo(pipeline(12_000_000), rate=24e6)
    rng = random.Random(0)  # noqa: S311 - a repeatable choice
    for _ in range(10):
        ear = Ear()
        delay_s = rng.uniform(0, 0.6)
        timer = threading.Timer(delay_s, ear.cancel.set)
        timer.start()
        with pytest.raises(CancelledError):
            fetched(ear=ear)
        assert ended()
    repo.rate = None
    local = fetched()
    assert files_of(local.folder) == NEEDED
    assert (local.folder / "unet/diffusion_pytorch_model.safetensors").stat().st_size == 12_000_000


def test_finished_files_stay(hub):
    """After a cancel the next call fetches only the files that weren't finished."""
    hub.repos["some/model"] = repo = Repo(pipeline(4_000_000), rate=2e6)
    ear = Ear()
    ear.job.progress = lambda *_: ear.cancel.set() if "unet/config.json" in hub.paths() else None
    with pytest.raises(CancelledError):
        fetched(ear=ear, check=lambda: (ear.job.progress(), ear.job.check()))
    assert ended()
    repo.rate = None
    hub.requests.clear()
    fetched()
    assert "model_index.json" not in hub.paths()
    assert "unet/diffusion_pytorch_model.safetensors" in hub.paths()


@pytest.mark.usefixtures("hub")
def test_a_silent_hub_can_be_left(repo):
    """A cancel ends the wait for a hub that doesn't answer."""
    repo.silent = True
    ear = Ear()
    threading.Timer(0.2, ear.cancel.set).start()
    with pytest.raises(CancelledError):
        fetched(ear=ear)


@pytest.mark.usefixtures("hub")
def test_a_time_limit_passes_through(repo):
    """The caller's own error, such as a time limit, ends the download as itself."""
    repo.rate = 1000
    end = time.monotonic() + 0.4

    def check():
        if time.monotonic() > end:
            raise RequestTimeoutError("too long")

    with pytest.raises(RequestTimeoutError, match=r"^too long$"):
        fetched(check=check)


@pytest.mark.parametrize(
    ("model", "change", "error", "text"),
    [
        ("no/model", {}, InvalidRequestError, "there is no model no/model on {host}, or it is private"),
        ("some/model", {"private": True}, InvalidRequestError, "there is no model some/model on {host}"),
        ("some/model@v9", {}, InvalidRequestError, "model some/model has no revision v9 on {host}"),
        (
            "some/model",
            {"gated": "auto"},
            AuthenticationError,
            "accept its terms on https://{host}/some/model",
        ),
        ("some/model", {"status": 403}, AuthenticationError, "{host} refused access to some/model (403)"),
        ("some/model", {"status": 429}, RateLimitError, "{host} had too many requests (429)"),
        ("some/model", {"status": 500}, ServerError, "{host} failed while some/model is fetched (500)"),
        (
            "some/model",
            {"short": True},
            ConnectionFailedError,
            "a file of some/model came incomplete from {host}",
        ),
    ],
)
def test_refusals(repo, model, change, error, text):
    """Each refusal of the hub is one line that names the model, the server and the next step."""
    for name, value in change.items():
        setattr(repo, name, value)
    with pytest.raises(error) as caught:
        fetched(model)
    host = settings.hub_endpoint().removeprefix("http://")
    assert text.format(host=host) in str(caught.value)
    assert "\n" not in str(caught.value)
    if error is InvalidRequestError:
        assert caught.value.field == "model"
    if error is AuthenticationError:
        assert caught.value.status in (401, 403)


def test_no_pipeline(hub):
    """A repository without an index is refused before any file is fetched."""
    hub.repos["some/model"] = Repo(pipeline(**{"model_index.json": None}))
    with pytest.raises(InvalidRequestError, match=r"has no model_index\.json"):
        fetched()
    assert hub.paths() == []


@pytest.mark.parametrize(
    ("files", "text"),
    [
        ({"unet/diffusion_pytorch_model.safetensors": None}, "unet/diffusion_pytorch_model.bin has weights"),
        ({"model_index.json": b'{"_class_name": ["pipeline", "Evil"]}'}, "a custom pipeline"),
        ({"model_index.json": b'{"_class_name": "APipeline", "unet": ["evil", "UNet"]}'}, "custom code"),
        ({"model_index.json": b"[1"}, "is no JSON"),
    ],
)
def test_refused_before_the_weights(hub, files, text):
    """Pickles and custom code are refused when only the index has been fetched."""
    hub.repos["some/model"] = Repo(pipeline(**files))
    ear = Ear()
    with pytest.raises(InvalidRequestError, match=re.escape(text)):
        fetched(ear=ear)
    assert hub.paths() == ["model_index.json"]
    assert ear.notices == []


def test_no_room(hub, repo):
    """A disk without room is said before any weight is fetched."""
    repo.sizes = {"unet/diffusion_pytorch_model.safetensors": 10**18}
    with pytest.raises(EngineError, match=r"some/model needs 1000000000\.0 GB .* set HF_HOME"):
        fetched()
    assert hub.paths() == ["model_index.json"]


@pytest.mark.usefixtures("repo")
def test_a_hub_out_of_reach(hub, monkeypatch):
    """Without a connection a complete copy is used, with a warning; without a copy the error names the server."""
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(ConnectionFailedError, match=r"^127\.0\.0\.1:9 can't be reached"):
        fetched()
    monkeypatch.setenv("HF_ENDPOINT", hub.url)
    fetched()
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    ear = Ear()
    assert fetched(ear=ear).commit == COMMIT
    assert ear.job.warnings == [
        "some/model comes from this disk, as at its last download, since 127.0.0.1:9 can't be asked for a newer one"
    ]


@pytest.mark.parametrize("status", [429, 503])
def test_a_hub_that_is_down(repo, status):
    """While the hub is busy or down, a complete copy is used, with a warning."""
    local = fetched()
    repo.status = status
    ear = Ear()
    assert fetched(ear=ear) == local
    assert len(ear.job.warnings) == 1


@pytest.mark.parametrize("half", [False, True])
def test_the_other_precision_serves(hub, half):
    """Weights that are complete in the other precision are used as they are, and nothing is fetched."""
    files = {"unet/diffusion_pytorch_model.fp16.safetensors": b"h" * 2000}
    hub.repos["some/model"] = Repo(pipeline(**files))
    local = fetched(half=not half)
    hub.requests.clear()
    assert fetched(half=half) == local
    assert hub.paths() == []


def test_two_at_once(hub, repo):
    """Two threads that want the same model get the same files."""
    repo.rate = 20_000
    results = []
    threads = [threading.Thread(target=lambda: results.append(fetched())) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(results)) == 1
    assert len(results) == 2
    assert files_of(results[0].folder) == NEEDED
    assert hub.paths().count("unet/diffusion_pytorch_model.safetensors") == 1


@pytest.mark.parametrize("way", ["option", "variable"])
@pytest.mark.usefixtures("repo")
def test_offline(hub, monkeypatch, way):
    """Offline a copy is used without a request, and without one the message has the command that fetches it."""
    local = way == "option"
    if not local:
        monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(InvalidRequestError) as caught:
        fetched("some/model@main", local=local)
    assert "hf download some/model --revision main --include" in str(caught.value)
    assert hub.requests == []
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    fetched()
    hub.requests.clear()
    if not local:
        monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert fetched(local=local).commit == COMMIT
    assert hub.requests == []


@pytest.mark.usefixtures("repo")
def test_the_command_in_the_message(hub):
    """The command that the message names, run as it stands, brings what an offline call needs, and no pickle."""
    with pytest.raises(InvalidRequestError) as caught:
        fetched(local=True)
    program, *arguments = shlex.split(str(caught.value).partition("with: ")[2])
    assert program == "hf"
    code = "from huggingface_hub.cli.hf import main; main()"
    subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, check=True)
    assert sorted(hub.paths()) == NEEDED
    assert files_of(fetched(local=True).folder) == NEEDED


@pytest.mark.parametrize("lost", ["unet/diffusion_pytorch_model.safetensors", "tokenizer"])
@pytest.mark.usefixtures("hub")
@pytest.mark.usefixtures("repo")
def test_an_incomplete_copy(lost):
    """Offline a copy that lacks weights or a component counts as none."""
    snapshot = fetched().folder
    for path in [snapshot / lost] if (snapshot / lost).is_file() else (snapshot / lost).iterdir():
        path.unlink()
    with pytest.raises(InvalidRequestError, match="isn't complete on this disk"):
        fetched(local=True)


def test_a_token_stays_hidden(hub, repo, monkeypatch):
    """A token reaches the hub, but is in no text, error or result."""
    monkeypatch.setenv("HF_TOKEN", "hf_verysecret")
    repo.gated, repo.token = "manual", "hf_verysecret"
    ear = Ear()
    local = fetched(ear=ear)
    assert "Bearer hf_verysecret" in [headers.get("authorization") for _, _, headers in hub.requests]
    repo.token = "another"  # noqa: S105 - of no hub
    repo.commit = OTHER_COMMIT
    with pytest.raises(AuthenticationError) as caught:
        fetched(ear=ear)
    assert "verysecret" not in " ".join([*ear.texts, str(caught.value), repr(local)])


@pytest.mark.parametrize("status", [None, 429, 503])
def test_a_password_stays_hidden(hub, repo, monkeypatch, status):
    """The password in a mirror's address is in no text or error; the server's name is."""
    monkeypatch.setenv("HF_ENDPOINT", hub.url.replace("http://", "http://user:hf_password@"))
    repo.status = status
    ear = Ear()
    texts = ear.notices
    if status:
        with pytest.raises(EngineError) as caught:
            fetched(ear=ear)
        texts = [str(caught.value)]
    else:
        fetched(ear=ear)
    assert hub.host in texts[0]
    assert "password" not in " ".join([*texts, *ear.texts])


@pytest.mark.usefixtures("hub")
def test_the_library_is_silent(repo, capfd):
    """The library's bars and lines are off during the call, and as before after it."""
    handlers = logging.getLogger("huggingface_hub").handlers
    before = [list(handler.filters) for handler in handlers]
    repo.breaks = [0.5]
    fetched()
    assert capfd.readouterr() == ("", "")
    assert [list(handler.filters) for handler in handlers] == before


@pytest.mark.usefixtures("repo")
def test_a_process_of_its_own(hub, tmp_path):
    """In a fresh process, with nothing but variables set, a model is fetched and torch isn't imported."""
    code = (
        "import sys; from ipy_imgvar.engine import Job; job = Job();"
        "from ipy_imgvar.engines.diffusers.weights.reference import reference;"
        "from ipy_imgvar.engines.diffusers.weights.download import fetch;"
        "assert 'huggingface_hub' not in sys.modules;"
        "local = fetch(reference('some/model'), half=True, local_files_only=False, job=job, check=job.check);"
        "print(local.commit, 'torch' in sys.modules, 'diffusers' in sys.modules)"
    )
    environment = {
        "HF_ENDPOINT": hub.url,
        "HF_HOME": str(tmp_path / "home"),
        "HOME": str(tmp_path),
        "PATH": "/usr/bin:/bin",
        "PYTHONPATH": str(Path(__file__).parents[4]),
    }
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False
    )
    assert (done.stdout, done.stderr) == (f"{COMMIT} False False\n", "")
    assert (tmp_path / "home/hub/models--some--model/refs/main").read_text() == COMMIT


ADAPTER = Adapter("some/adapter", None, "models", "ip-adapter.safetensors", "models/image_encoder")


def adapter(ear=None, *, local=False):
    ear = ear or Ear()
    return fetch_adapter(ADAPTER, local_files_only=local, job=ear.job, check=ear.job.check)


def adapter_repo(**files):
    made = {
        "models/ip-adapter.safetensors": b"a" * 2000,
        "models/ip-adapter.bin": b"p" * 2000,
        "models/ip-adapter-plus.safetensors": b"o" * 2000,
        "models/image_encoder/config.json": b"{}",
        "models/image_encoder/model.safetensors": b"e" * 3000,
        "models/image_encoder/pytorch_model.bin": b"p" * 3000,
        **files,
    }
    return Repo(
        {path: data for path, data in made.items() if data is not None}, card={"license": "apache-2.0"}
    )


def test_an_adapter(hub):
    """An adapter's weights and its image encoder are fetched, nothing else, and found again without a network."""
    hub.repos["some/adapter"] = adapter_repo()
    ear = Ear()
    local = adapter(ear)
    assert files_of(local.folder) == [
        "models/image_encoder/config.json",
        "models/image_encoder/model.safetensors",
        "models/ip-adapter.safetensors",
    ]
    assert ear.notices == [f"fetching some/adapter, less than 1 MB, from {hub.host}; licence: apache-2.0"]
    assert adapter(local=True) == local


def test_an_adapter_as_pickle(hub):
    """An adapter that exists as a pickle alone is refused."""
    hub.repos["some/adapter"] = adapter_repo(**{"models/ip-adapter.safetensors": None})
    with pytest.raises(InvalidRequestError, match=r"has no models/ip-adapter\.safetensors"):
        adapter()
    assert hub.paths() == []


def test_an_adapter_offline(hub):
    """Offline the message about an adapter has the command that fetches just its files."""
    hub.repos["some/adapter"] = adapter_repo()
    with pytest.raises(InvalidRequestError) as caught:
        adapter(local=True)
    assert str(caught.value).endswith(
        "hf download some/adapter models/ip-adapter.safetensors models/image_encoder/config.json "
        "models/image_encoder/model.safetensors"
    )
    assert hub.requests == []


def part(model="some/decoder", ear=None, *, local=False):
    ear = ear or Ear()
    found = reference(model, index="config.json")
    return fetch_part(found, local_files_only=local, job=ear.job, check=ear.job.check)


def part_repo(**files):
    made = {
        "config.json": b'{"_class_name": "AutoencoderTiny"}',
        "diffusion_pytorch_model.safetensors": b"d" * 2000,
        "diffusion_pytorch_model.bin": b"p" * 2000,
        "decoder.safetensors": b"o" * 2000,
        "README.md": b"# A decoder",
        **files,
    }
    return Repo({path: data for path, data in made.items() if data is not None})


def test_a_part(hub):
    """A model that isn't in a pipeline is its settings and weights at the top, found again without a network."""
    hub.repos["some/decoder"] = part_repo()
    local = part()
    assert files_of(local.folder) == ["config.json", "diffusion_pytorch_model.safetensors"]
    hub.requests.clear()
    assert part(local=True) == part() == local
    assert hub.requests == []


def test_a_part_as_pickle(hub):
    """A part whose weights are a pickle is refused before anything is fetched."""
    hub.repos["some/decoder"] = part_repo(**{"diffusion_pytorch_model.safetensors": None})
    with pytest.raises(InvalidRequestError, match=r"has no diffusion_pytorch_model\.safetensors"):
        part()
    assert hub.paths() == []


def test_a_part_in_a_folder(folder):
    """A folder with a part is itself, after the inspection."""
    root = folder(part_repo().files)
    assert part(str(root)).folder == root
    (root / "config.json").write_text('{"auto_map": {"AutoModel": "evil.Evil"}}')
    with pytest.raises(InvalidRequestError, match="auto_map"):
        part(str(root))
