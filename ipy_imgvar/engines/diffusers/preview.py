"""Unfinished pictures by a tiny autoencoder that the user names; the model's own would take as long as some steps.

References
----------
TAESD, https://huggingface.co/docs/diffusers/api/models/autoencoder_tiny
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Final

from ipy_imgvar.engines.diffusers.pipelines.packages import quiet
from ipy_imgvar.errors import InvalidRequestError
from ipy_imgvar.images import codec

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from ipy_imgvar.engines.diffusers.device.machine import Machine

__all__ = ["Previewer", "load_decoder"]

#: Seconds between two previews.
_EVERY_S: Final = 0.5
#: Dimensions of latents as an image: a batch of channels of rows and columns. FLUX and Qwen pack theirs as tokens.
_IMAGE_DIMENSIONS: Final = 4


def load_decoder(folder: Path, machine: Machine, dtype: str, name: str) -> Any:
    """Return the tiny autoencoder of a folder.

    Raises
    ------
    InvalidRequestError
        If the folder holds none.
    """
    import torch
    from diffusers import AutoencoderTiny

    try:
        with quiet():
            kind = AutoencoderTiny.load_config(folder, local_files_only=True).get("_class_name")
            if kind == AutoencoderTiny.__name__:
                decoder = AutoencoderTiny.from_pretrained(
                    folder, dtype=getattr(torch, dtype), use_safetensors=True, local_files_only=True
                )
                return decoder.to(machine.device)
        problem, cause = f"it is a {kind}", None
    except (AttributeError, KeyError, OSError, RuntimeError, TypeError, ValueError) as exc:
        problem, cause = type(exc).__name__, exc
    raise InvalidRequestError(
        f"preview_decoder {name} can't be loaded ({problem}); allowed: an AutoencoderTiny, as safetensors",
        field="options",
    ) from cause


class Previewer:
    """Decodes the latents of a step, at most twice a second.

    Parameters
    ----------
    decoder
        The tiny autoencoder.
    clock
        Seconds of a clock that never goes back.
    """

    def __init__(self, decoder: Any, clock: Callable[[], float] = time.monotonic) -> None:
        self._decoder, self._clock = decoder, clock
        self._last = clock()

    def __call__(self, latents: Any) -> bytes | None:
        """Return the first picture of a batch as PNG; None too soon after the last, or for latents of another model."""
        import torch

        now = self._clock()
        channels = self._decoder.config.latent_channels
        fits = latents.ndim == _IMAGE_DIMENSIONS and latents.shape[1] == channels
        if now - self._last < _EVERY_S or not fits:
            return None
        self._last = now
        with torch.no_grad():
            decoded = self._decoder.decode(latents[:1].to(self._decoder.dtype)).sample[0]
        pixels = ((decoded.float() / 2 + 0.5).clamp(0, 1) * 255).round().byte().permute(1, 2, 0).cpu().numpy()
        return codec.encode_png(codec.of_pixels(pixels))
