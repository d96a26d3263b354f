"""Unfinished pictures by a tiny autoencoder."""

import io

import pytest
from PIL import Image

from ipy_imgvar import Client
from ipy_imgvar.engines.diffusers.preview import Previewer
from ipy_imgvar.errors import InvalidRequestError


@pytest.fixture(scope="session")
def decoder(torch, tmp_path_factory):
    """Return the folder of a tiny autoencoder with four channels of latents, random."""
    from diffusers import AutoencoderTiny

    torch.manual_seed(0)
    channels = (8, 8, 8, 8)
    model = AutoencoderTiny(encoder_block_out_channels=channels, decoder_block_out_channels=channels)
    folder = tmp_path_factory.mktemp("taesd") / "taesd"
    model.save_pretrained(folder)
    return folder


def test_a_run_shows_unfinished_pictures_if_a_decoder_is_named(tiny_pipeline, decoder, photo, monkeypatch):
    """Each preview is a picture of the working size; without a listener for them the decoder is not loaded."""
    monkeypatch.setattr("ipy_imgvar.engines.diffusers.preview._EVERY_S", 0)
    previews = []
    with Client("diffusers", model=str(tiny_pipeline("stable"))) as client:
        result = client.variations(
            photo, size="96x64", seed=1, options={"preview_decoder": str(decoder)}, on_preview=previews.append
        )
        plain = client.variations(photo, size="96x64", seed=1)
    assert len(previews) > 2
    assert Image.open(io.BytesIO(previews[0])).size == (96, 64)
    assert result[0].image.tobytes() == plain[0].image.tobytes()


def test_a_preview_waits_and_leaves_latents_of_another_form_alone(torch, decoder):
    """At most two a second, and none of latents that are packed as tokens or have other channels."""
    from diffusers import AutoencoderTiny

    times = iter([0.0, 0.2, 0.7, 0.8, 2.0, 3.0])
    preview = Previewer(AutoencoderTiny.from_pretrained(decoder), clock=lambda: next(times))
    latents = torch.zeros(2, 4, 4, 4)
    assert preview(latents) is None
    assert preview(latents) is not None
    assert preview(latents) is None
    assert preview(torch.zeros(1, 16, 64)) is None
    assert preview(torch.zeros(1, 16, 4, 4)) is None


def test_a_model_of_another_kind_is_refused_in_one_line(tiny_pipeline, photo):
    """A full autoencoder, or a folder without one, is named with what is allowed."""
    folder = tiny_pipeline("stable")
    with (
        Client("diffusers", model=str(folder)) as client,
        pytest.raises(
            InvalidRequestError,
            match=r"preview_decoder vae can't be loaded \(it is a AutoencoderKL\); allowed",
        ),
    ):
        client.variations(
            photo,
            size="96x64",
            seed=1,
            options={"preview_decoder": str(folder / "vae")},
            on_preview=lambda _: None,
        )
