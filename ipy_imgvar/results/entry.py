"""A picture's line of its run's record, in both directions; `entries` has the run."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from ipy_imgvar.images.source import Source
from ipy_imgvar.results.variation import Variation

if TYPE_CHECKING:
    from ipy_imgvar.results.records import Fields

__all__ = ["entry_of", "picture_of"]


def entry_of(picture: Variation) -> dict[str, Any]:
    """Return a picture's line of its run's record, JSON-safe as far as its parameters are."""
    source = picture.source
    return {
        "mime_type": picture.mime_type,
        "size": list(picture.original_size),
        "reduce_to": list(picture.reduce_to) if picture.reduce_to else None,
        "index": picture.index,
        "seed": picture.seed,
        "parameters": picture.parameters,
        "remote_url": picture.remote_url,
        "source": source.name,
        "source_path": str(source.path.absolute()) if source.path else None,
        "seconds": picture.seconds,
        **(
            {"combination": picture.combination, "image": picture.image_number} if picture.combination else {}
        ),
    }


#: A history has many pictures of few sources, and making a path takes as long as reading the rest of a line.
_path: Final = lru_cache(maxsize=256)(Path)


def picture_of(folder: Path, entry: Fields) -> Variation | None:
    """Return the picture that a line describes, a file in its run's folder; None where it can't be read."""
    file, size, mime_type = entry.file_name("file"), entry.size("size"), entry.text("mime_type")
    if file is None or size is None or mime_type is None:
        return None
    source_path = entry.text("source_path")
    return Variation(
        None,
        source=Source(entry.text("source") or "image", path=_path(source_path) if source_path else None),
        mime_type=mime_type,
        size=size,
        index=entry.whole("index", 1) or 1,
        seed=entry.whole("seed"),
        remote_url=entry.text("remote_url"),
        parameters=entry.mapping("parameters"),
        path=folder / file,
        reduce_to=entry.size("reduce_to"),
        combination=entry.mapping("combination"),
        seconds=entry.number("seconds"),
        image_number=entry.whole("image"),
    )
