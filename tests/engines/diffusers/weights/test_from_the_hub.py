"""The whole way: a tiny pipeline on a hub over loopback, fetched, inspected, loaded and run by the engine."""

import pytest
from hubserver import COMMIT, Repo

from ipy_imgvar import Client
from ipy_imgvar.engine import Job
from ipy_imgvar.engines.diffusers.weights.reference import reference
from ipy_imgvar.errors import InvalidRequestError

SMALL = {"n": 1, "size": "64x64", "seed": 1, "options": {"steps": 2, "device": "cpu", "side": 64}}


@pytest.fixture
def on_the_hub(hub, tiny_pipeline):
    """Return a function that puts a tiny pipeline onto the hub as `some/model`, with more files or without some."""
    pytest.importorskip("huggingface_hub")

    def put(name="stable", **changes):
        root = tiny_pipeline(name)
        files = {
            path.relative_to(root).as_posix(): path.read_bytes() for path in root.rglob("*") if path.is_file()
        }
        made = {path: data for path, data in {**files, **changes}.items() if data is not None}
        hub.repos["some/model"] = Repo(made, card={"license": "mit"})
        return hub.repos["some/model"]

    return put


def test_a_picture_from_the_hub(hub, on_the_hub, photo):
    """A model is announced, fetched once, and recorded with its commit; no path or server is in the record."""
    on_the_hub(**{"pytorch_model.bin": b"p" * 2000, "README.md": b"# A model"})
    notices = []
    with Client(engine="diffusers") as client:
        requests = client.request(photo, model="some/model", **SMALL)
        first = client.run(requests, on_notice=notices.append)
        hub.requests.clear()
        second = client.run(requests)
    assert [each for each in notices if each.startswith("fetching some/model, ")]
    assert f"from {hub.host}; licence: mit" in " ".join(notices)
    assert first[0].bytes == second[0].bytes
    assert hub.requests == []
    assert first.model == f"some/model@{COMMIT[:12]}"
    assert hub.host not in str(first[0].parameters)
    assert "hub/models--" not in str(first[0].parameters)


def test_code_on_the_hub(hub, on_the_hub, photo):
    """A model whose part is custom code is refused when only its index has been fetched."""
    index = b'{"_class_name": "StableDiffusionPipeline", "unet": ["evil", "Evil"]}'
    on_the_hub(**{"model_index.json": index, "unet/evil.py": b"raise SystemExit"})
    with Client(engine="diffusers") as client, pytest.raises(InvalidRequestError, match="custom code"):
        client.variations(photo, model="some/model", **SMALL)
    assert hub.paths() == ["model_index.json"]


def test_a_decoder_for_previews(hub, torch, tmp_path):
    """A tiny autoencoder, which is no pipeline, is fetched for previews and loaded."""
    from diffusers import AutoencoderTiny

    from ipy_imgvar.engines.diffusers.device.machine import find
    from ipy_imgvar.engines.diffusers.preview import load_decoder
    from ipy_imgvar.engines.diffusers.weights.download import fetch_part

    made = AutoencoderTiny(
        encoder_block_out_channels=(8,) * 4, decoder_block_out_channels=(8,) * 4, num_encoder_blocks=(1,) * 4,
        num_decoder_blocks=(1,) * 4,
    )  # fmt: skip
    made.save_pretrained(tmp_path / "made")
    hub.repos["some/decoder"] = Repo({path.name: path.read_bytes() for path in (tmp_path / "made").iterdir()})
    job = Job()
    local = fetch_part(
        reference("some/decoder", index="config.json"), local_files_only=False, job=job, check=job.check
    )
    decoder = load_decoder(local.folder, find("cpu"), "float32", "some/decoder")
    assert decoder.decode(torch.zeros(1, 4, 2, 2)).sample.shape == (1, 3, 16, 16)
