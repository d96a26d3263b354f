"""Uses of the public API, for mypy alone: `.venv/bin/mypy` checks this file, and nothing runs it.

Each `assert_type` pins what an editor shows to a caller. Each `type: ignore` marks a wrong use: mypy is told to warn of
one that is not needed, so it fails when such a use is no longer an error.
"""

from __future__ import annotations

import builtins
import threading
from pathlib import Path
from typing import Any, assert_type

import numpy as np
from numpy.typing import NDArray
from PIL.Image import Image

import ipy_imgvar
from ipy_imgvar import Client, Secret, Sweep, Variation, Variations, errors
from ipy_imgvar.bulk import BulkItem, BulkResult
from ipy_imgvar.planning.plan import Plan
from ipy_imgvar.request import VariationRequest
from ipy_imgvar.results.history import History


def client_returns(client: Client) -> None:
    """Pin what a client's methods return."""
    with Client("patch", api_key=Secret("k"), timeout=2.5) as entered:
        assert_type(entered, Client)
    assert_type(client.variations("cat.png", n=2, strength="high"), Variations)
    assert_type(client.request("cat.png", n=2), list[VariationRequest])
    assert_type(client.run(client.request("cat.png"), cancel=threading.Event()), Variations)
    assert_type(client.map(["a.png"], out_dir=Path("out"), max_workers=2), BulkResult)
    assert_type(client.sweep("cat.png", over={"strength": [0.2, 0.5], "seed": range(4)}, n=2), Sweep)
    assert_type(client.plan("cat.png", over={"seed": range(4)}, size=512), Plan)


def functions_return() -> None:
    """Pin what the package's functions return."""
    assert_type(ipy_imgvar.variations("cat.png", n=2), Variations)
    assert_type(ipy_imgvar.history(), History)
    assert_type(ipy_imgvar.history()[0], Variations)
    assert_type(ipy_imgvar.history()[-5:], History)
    assert_type(ipy_imgvar.last(), Variations | None)


def results_hold(made: Variations) -> None:
    """Pin what a run and its pictures hold."""
    assert_type(made[0], Variation)
    assert_type(made[:2], Variations)
    assert_type([each for each in made], list[Variation])  # noqa: C416 - the type of an element is the point
    assert_type(made.bytes, list[builtins.bytes])
    assert_type(made.urls, list[str])
    assert_type(made.images, list[Image])
    assert_type(made.to_numpy(), NDArray[np.uint8])
    assert_type(made.save("out"), list[Path])
    picture = made[0]
    assert_type(picture.bytes, builtins.bytes)
    assert_type(picture.image, Image)
    assert_type(picture.size, tuple[int, int])
    assert_type(picture.seed, int | None)
    assert_type(picture.save("a.png"), Path)


def bulk_holds(result: BulkResult) -> None:
    """Pin what a bulk run holds."""
    assert_type(result[0], BulkItem)
    assert_type(result[1:], BulkResult)
    assert_type(result.failed, BulkResult)
    assert_type(BulkResult.read("out"), BulkResult)


def callbacks_get(client: Client) -> None:
    """Pin what callbacks are called with."""

    def on_progress(share: float, text: str) -> None: ...
    def on_picture(picture: Variation) -> None: ...
    def on_preview(data: builtins.bytes) -> None: ...
    def on_notice(line: str) -> None: ...
    def of_pictures(picture: Variations) -> None: ...

    client.variations(
        "cat.png",
        on_progress=on_progress,
        on_picture=on_picture,
        on_preview=on_preview,
        on_notice=on_notice,
    )
    client.map("photos", out_dir="out", on_progress=on_progress, on_notice=on_notice)
    client.variations("cat.png", on_picture=of_pictures)  # type: ignore[arg-type]


def errors_hold(client: Client) -> None:
    """Pin the attributes of errors."""
    try:
        client.variations("cat.png")
    except errors.InvalidRequestError as exc:
        assert_type(exc.field, str | None)
    except errors.APIStatusError as exc:
        assert_type(exc.status, int)
        assert_type(exc.code, str | None)
        assert_type(exc.param, str | None)
        assert_type(exc.request_id, str | None)
        assert_type(exc.retry_after_s, float | None)
    except errors.ImageVariationError as exc:
        assert_type(exc.partial, Variations | None)


def wrong_uses(client: Client, made: Variations, result: BulkResult) -> None:
    """Pin that mistakes are errors."""
    client.variations("cat.png", size_px=64)  # type: ignore[call-arg]
    client.variations("cat.png", n=[4])  # type: ignore[arg-type]
    client.variations("cat.png", on_progress=print, cancel=True)  # type: ignore[arg-type]
    client.variations()  # type: ignore[call-arg]
    client.map(["cat.png"])  # type: ignore[call-arg]
    client.engine = "patch"  # type: ignore[assignment]
    Client(key="k")  # type: ignore[call-arg]
    Client(api_key=b"k")  # type: ignore[arg-type]
    made["first"]  # type: ignore[call-overload]
    made[0] = made[1]  # type: ignore[index]
    made[0].bytes = b""  # type: ignore[misc]
    result[0].status = "done"  # type: ignore[misc]
    _ = ipy_imgvar.last().urls  # type: ignore[union-attr]


def parameters(made: Variations) -> dict[str, Any]:
    """Pin that parameters are a dictionary that JSON takes."""
    return made[0].parameters
