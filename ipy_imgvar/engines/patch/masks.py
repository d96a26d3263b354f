"""What is known of a request's image, remembered for the runs that follow: a person makes several runs of one image.

The network that sees its subject takes seconds for a picture; all that the engine finds out itself, a fifth of one.
"""

from __future__ import annotations

from collections import OrderedDict
from threading import Lock
from typing import TYPE_CHECKING, Final, TypeAlias

from ipy_imgvar.engines.patch.arrays.findings import Findings
from ipy_imgvar.engines.patch.subjects.network import NetworkMask, network_mask

if TYPE_CHECKING:
    from collections.abc import Callable

    from PIL.Image import Image

    from ipy_imgvar.engine import Job
    from ipy_imgvar.request import VariationRequest

__all__ = ["OWN_MASKS", "findings_of", "made_by", "subject_mask"]

#: What made the masks where no network did, for a picture's parameters.
OWN_MASKS: Final = "own"
#: How many masks are remembered; one of 1024 px a side has 4 MB.
_MOST: Final = 4

#: An image's hash, and how it was fitted to which size.
Key: TypeAlias = "tuple[str, str, tuple[int, int]]"

#: How many images' findings are remembered. They take 2 MB each, and where a subject was taken from its ground at most
#: 60 bytes for each pixel more: four versions of the ground in float32.
_MOST_FINDINGS: Final = 2
#: Pixels of a picture above which nothing is remembered, so that all findings together stay below 130 MB.
_MOST_PX: Final = 1024 * 1024

_masks: OrderedDict[Key, NetworkMask] = OrderedDict()
_findings: OrderedDict[tuple[Key, bool, str], Findings] = OrderedDict()
_lock = Lock()


def subject_mask(
    request: VariationRequest, image: Image, job: Job, check: Callable[[], None]
) -> NetworkMask | None:
    """Return the network's mask of a fitted image, or None where there is no network or no mask to be had.

    Parameters
    ----------
    request : VariationRequest
        Its image and fit name the mask.
    image : PIL.Image.Image
        The request's image as it was fitted.
    job : Job
        Gets a line before a download, and one where the network fails.
    check : callable
        Called often; raises to cancel.
    """
    assert request.image is not None  # noqa: S101 - the engine has refused it
    key = (request.image.sha256, request.fit, image.size)
    with _lock:
        if key in _masks:
            _masks.move_to_end(key)
            return _masks[key]
    mask = network_mask(image.convert("RGB"), warn=job.warn, check=check)
    if mask is not None:
        with _lock:
            _masks[key] = mask
            while len(_masks) > _MOST:
                _masks.popitem(last=False)
    return mask


def made_by(mask: NetworkMask | None) -> str:
    """Return what made a mask, as a picture's parameters say it."""
    return OWN_MASKS if mask is None else f"{mask.library} {mask.model} {mask.sha256}"


def findings_of(request: VariationRequest, image: Image, mask: NetworkMask | None) -> Findings:
    """Return what is known of a fitted image, which the callers add to.

    Parameters
    ----------
    request : VariationRequest
        See `subject_mask`.
    image : PIL.Image.Image
        The request's image as it was fitted.
    mask : NetworkMask or None
        Its subject as the network saw it.
    """
    assert request.image is not None  # noqa: S101 - the engine has refused it
    if image.width * image.height > _MOST_PX:
        return Findings()
    # By the request's size, not the fitted one: it decides, as a mask does, at which scale a JPEG is decoded.
    key = (request.image.sha256, request.fit, request.size), request.mask is None, made_by(mask)
    with _lock:
        known = _findings.setdefault(key, Findings())
        _findings.move_to_end(key)
        while len(_findings) > _MOST_FINDINGS:
            _findings.popitem(last=False)
    return known
