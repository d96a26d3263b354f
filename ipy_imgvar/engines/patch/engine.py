"""The `patch` engine: it turns a request into pixels, calls `synthesis`, and returns PNG files.

This module checks requests, fits the image, handles transparency and encodes; each PNG holds the settings that make it
again. The other modules of the package work on arrays and know no request.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from ipy_imgvar.engine import Forecast, Job
from ipy_imgvar.engines.deadline import with_deadline
from ipy_imgvar.engines.patch.arrays.eightbit import RGBA
from ipy_imgvar.engines.patch.capabilities import CAPABILITIES, MODEL
from ipy_imgvar.engines.patch.masks import findings_of, made_by, subject_mask
from ipy_imgvar.engines.patch.scene import Scene, Settings
from ipy_imgvar.engines.patch.strength import rearranges
from ipy_imgvar.engines.patch.subjects.network import missing_download
from ipy_imgvar.engines.patch.synthesis import synthesise
from ipy_imgvar.errors import InvalidRequestError
from ipy_imgvar.images import codec
from ipy_imgvar.plain import plain
from ipy_imgvar.results.variations import Variation

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Sequence

    from numpy.typing import NDArray
    from PIL.Image import Image

    from ipy_imgvar.engine import Capabilities
    from ipy_imgvar.engines.patch.subjects.network import NetworkMask
    from ipy_imgvar.request import Size, VariationRequest
    from ipy_imgvar.settings import Connection

__all__ = ["PatchEngine"]

#: Pixels a side that a shot may use, as a multiple of the picture's: a window of the source then has the picture's own.
_DETAIL: Final = 1.2


class PatchEngine:
    """The offline engine: it shoots a scene again, or puts its material together anew.

    It can't invent content, pose or style. See `synthesis` for the three means, and the rooms for their sources.

    Parameters
    ----------
    connection
        Ignored; the registry passes it to every engine, and this one sends nothing.
    threads
        Threads for the large steps of a picture, where the job sets no number. Their number changes no pixel.
    """

    name = "patch"

    def __init__(self, connection: Connection | None = None, *, threads: int = 2) -> None:  # noqa: ARG002
        self._threads = threads

    def capabilities(self, model: str | None = None) -> Capabilities:  # noqa: ARG002 - the protocol's signature
        """Return what the engine takes; see `engine.Engine`."""
        return CAPABILITIES

    def check(self, request: VariationRequest) -> None:
        """Refuse a mask together with fit=retarget, which moves pixels; see `engine.Engine`."""
        if request.fit == "retarget" and request.mask is not None:
            raise InvalidRequestError(
                "a mask keeps pixels in place, and fit=retarget moves them; choose one of the two",
                field="fit",
            )

    def model(self, request: VariationRequest) -> str:  # noqa: ARG002 - the protocol's signature
        """Return the version of the method; see `engine.Engine`."""
        return MODEL

    def forecast(self, requests: Sequence[VariationRequest]) -> Forecast:
        """Say what a run would download and change; each image is decoded once; see `engine.Forecasts`."""
        job = Job()
        download = None
        seen: set[tuple[int, int, Size, str]] = set()
        for request in requests:
            download = download or (missing_download() if _may_ask_network(request) else None)
            key = (id(request.image), id(request.mask), request.size, request.fit)
            if request.image is None or not request.is_at_hand or key in seen:
                continue
            seen.add(key)
            if request.fit == "retarget":  # No note is made of such a run, so the picture is only read.
                request.image.open(at_least_px=max(request.size))
                continue
            alone = replace(request, options={**request.options, "subjects": False})
            _warn(alone, job, _scene(alone, job, job.check)[0])
        return Forecast(
            downloads=() if download is None else (download,),
            notes=tuple(job.warnings),
        )

    def generate(self, request: VariationRequest, job: Job) -> Generator[Variation]:
        """Yield the pictures one by one; see `engine.Engine`."""
        if request.image is None or request.seed is None:
            raise InvalidRequestError("the engine patch needs an image and a seed", field="image")
        # From the start, so that the limit covers decoding, all pictures and their encoding.
        check = with_deadline(job.check, request.timeout, "lower n or size")
        scene, mask = _scene(request, job, check)
        _warn(request, job, scene)
        options = _options(request)
        parameters = _parameters(request) | {"subjects": made_by(mask)}
        pictures = synthesise(
            scene,
            Settings(
                strength=request.strength, seed=request.seed, flip=options["flip"], tone=options["tone"]
            ),
            numbers=range(request.n) if request.index is None else range(request.index - 1, request.index),
            threads=job.threads or self._threads,
            progress=job.progress,
            check=check,
        )
        promised = rearranges(request.strength) and scene.free and scene.has_patches
        counts: Counter[str] = Counter()
        try:
            for index, (picture, means) in enumerate(pictures, start=request.index or 1):
                counts[means] += 1
                made = parameters | {"index": index, "means": means}
                data = codec.encode_png(_finished(picture, request), made)
                yield Variation(
                    data,
                    source=request.image,
                    mime_type="image/png",
                    size=request.size,
                    index=index,
                    seed=request.seed,
                    parameters=made,
                )
        finally:
            pictures.close()
        if promised:
            _warn_of_means(request.image.name, job, counts)

    def close(self) -> None:
        """Do nothing: no state outlives a run."""


def _warn(request: VariationRequest, job: Job, scene: Scene) -> None:
    """Say what the source or the mask does not allow."""
    assert request.image is not None  # noqa: S101 - `generate` has refused it
    name, (rows, cols) = request.image.name, scene.shape
    if scene.source.shape[2] == RGBA and not scene.source[..., 3].any():
        job.warn(f"{name} is wholly transparent: so are its pictures")
    elif scene.is_flat:
        change = "only its tone changes" if _options(request)["tone"] else "and with tone off nothing changes"
        job.warn(f"{name} is one flat colour: there is nothing to rearrange, {change}")
    elif rows < request.size[1] and cols < request.size[0]:
        job.warn(f"{name} has {cols}x{rows} pixels to offer: made at that size, then enlarged")
    if scene.keep is not None and scene.keep.all():
        job.warn("the mask keeps every pixel: the pictures are the source")


def _warn_of_means(name: str, job: Job, counts: Counter[str]) -> None:
    """Say how many pictures are no new arrangement, which is what the strength promises where it can be done.

    A sweep runs one image many times: then one line, which is replaced each time, counts them all.
    """
    total: Counter[str] = job.notes.setdefault(f"means of {name}", Counter())
    earlier = _line_of_means(name, total)
    total.update(counts)
    if earlier in job.warnings:
        job.warnings.remove(earlier)
    if line := _line_of_means(name, total):
        job.warn(line)


def _line_of_means(name: str, counts: Counter[str]) -> str:
    one = counts.total() == 1
    others = [
        f"{counts[means]} of {counts.total()} {words}"
        for means, words in (
            ("layers", f"show{'s' * one} its subject larger before its ground"),
            ("camera", f"{'is' if one else 'are'} another framing and light of the same scene"),
        )
        if counts[means]
    ]
    if not others:
        return ""
    return plain(f"nothing in {name} could be moved without visible breaks, so {' and '.join(others)}")


def _may_ask_network(request: VariationRequest) -> bool:
    """Return whether a run asks the network for the subject, as far as the request tells; see `_scene`."""
    free = request.mask is None and request.fit != "retarget"
    return free and _options(request)["subjects"] and rearranges(request.strength)


def _options(request: VariationRequest) -> dict[str, bool]:
    """Return the value of each of the engine's options: the request's, else the default."""
    return {**CAPABILITIES.defaults(), **request.options}


def _parameters(request: VariationRequest) -> dict[str, Any]:
    """Return the settings that make a picture again, without its index; no picture depends on `n`."""
    assert request.image is not None  # noqa: S101 - `generate` has refused it
    settings = request.settings()
    return {
        "engine": PatchEngine.name,
        "model": MODEL,
        **{name: settings[name] for name in ("size", "strength", "seed", "fit")},
        "options": _options(request),
        "source_sha256": request.image.sha256,
        **({"mask_sha256": request.mask.sha256} if request.mask else {}),
    }


def _scene(
    request: VariationRequest, job: Job, check: Callable[[], None]
) -> tuple[Scene, NetworkMask | None]:
    """Return what the pictures are made of, and what made the mask of its subject.

    The pictures' shape is the source's own resolution where that is below `size`: patches of an enlarged picture have
    no more detail and take longer.
    """
    assert request.image is not None  # noqa: S101 - `generate` has refused it
    larger = (round(request.size[0] * _DETAIL), round(request.size[1] * _DETAIL))
    # A mask has the full image's pixels, so the image must not be decoded at a reduced scale.
    image = request.image.open(at_least_px=None if request.mask else max(larger))
    keep: NDArray[np.bool_] | None = None
    detailed = mask = None
    if request.fit == "retarget":
        fitted, (width, height) = codec.retarget_image(image, request.size)
        fitted = codec.without_opaque_alpha(fitted)
        known = findings_of(request, fitted, None)
        return Scene(source=_pixels(fitted), shape=(height, width), findings=known), None
    fitted = codec.without_opaque_alpha(codec.fit_image(image, request.size, request.fit))
    if request.mask is not None:
        kept = codec.from_array(codec.kept_pixels(request.mask.open(), image.size), "the mask")
        keep = np.asarray(codec.fit_image(kept, request.size, request.fit, exact_colours=True)) > 0
    else:
        if image.width > fitted.width or image.height > fitted.height:
            detailed = _premultiplied(codec.fit_image(image, larger, request.fit))
        if _options(request)["subjects"] and rearranges(request.strength) and fitted.mode != "RGBA":
            mask = subject_mask(request, fitted, job, check)
    pixels = _pixels(fitted)
    scene = Scene(
        source=pixels,
        shape=(fitted.height, fitted.width),
        keep=keep,
        detailed=None if detailed is None else detailed[..., : pixels.shape[2]],
        subject=None if mask is None else mask.mask,
        findings=findings_of(request, fitted, mask),
    )
    return scene, mask


def _pixels(image: Image) -> NDArray[np.float32]:
    """Return an image's pixels, shape (H, W, C), float32, 0..1; colours are premultiplied where C is 4."""
    pixels = np.asarray(image, dtype=np.float32) / np.float32(255)
    if image.mode == "L":
        return pixels[:, :, None]
    # Premultiplied, so that the colour of transparent pixels plays no part in comparing patches.
    if image.mode == "RGBA":
        pixels[:, :, :3] *= pixels[:, :, 3:]
    return pixels


def _premultiplied(image: Image) -> NDArray[np.uint8]:
    """Return an image's pixels, shape (H, W, C), uint8; colours are premultiplied where C is 4."""
    pixels: NDArray[np.uint8] = np.asarray(image.convert("RGBa") if image.mode == "RGBA" else image)
    return pixels.reshape(image.height, image.width, -1)


def _finished(picture: NDArray[np.uint8], request: VariationRequest) -> Image:
    """Return a synthesised picture as an image of the request's size: padded or resized, as `fit` says."""
    image = codec.of_pixels(picture)
    return codec.pad_image(image, request.size) if request.fit == "pad" else codec.resize(image, request.size)
