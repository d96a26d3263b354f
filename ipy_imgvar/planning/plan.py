"""What a run would do, as data and in words; `planning` finds it out without doing it."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Final, Literal

from ipy_imgvar.plain import plain, size_text
from ipy_imgvar.results.axes import word
from ipy_imgvar.results.markup import escaped

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from ipy_imgvar.bulk.counts import Counts
    from ipy_imgvar.engine import Download

__all__ = ["Plan", "PlannedFile", "PlannedFolder", "PlannedPart", "SeedSource", "counted"]

#: Where the seeds of a run come from: the caller; a draw when it runs; each image's bytes and one seed; or there are
#: none, since no engine of the run takes one.
SeedSource = Literal["given", "drawn", "content", "none"]

#: Values of a list, and files, that the words show; the rest is counted. `to_dict` has all.
_MOST_SHOWN: Final = 8
#: The words for a number of bytes that isn't known.
_UNKNOWN: Final = "a number of bytes that is not known yet"
#: The label of what is written, which a caller may leave out.
_WRITES: Final = "writes"
_TABLE_STYLE: Final = "border-collapse:collapse;max-width:100%"
_CELL_STYLE: Final = (
    "text-align:left;vertical-align:top;overflow-wrap:anywhere;white-space:normal;padding:.15em .6em"
)
_HEAD_STYLE: Final = "text-align:left;vertical-align:top;white-space:nowrap;padding:.15em .6em"


@dataclass(frozen=True, slots=True)
class PlannedPart:
    """What one engine would do with one model.

    Parameters
    ----------
    engine, model
        Their names.
    destination
        The name and port of the server that gets the images, without path, user and password; None if none does.
    route
        The part of its address that gets the requests; "" if nothing is sent.
    pictures
        The number of pictures.
    requests
        The requests to the server, without those after a failure.
    bytes_to_send
        The length of their bodies in bytes; None where it isn't known.
    """

    engine: str
    model: str
    destination: str | None
    route: str
    pictures: int
    requests: int
    bytes_to_send: int | None

    def __str__(self) -> str:
        text = f"{self.engine}, model {self.model}: {counted(self.pictures, 'picture')}"
        if self.destination is None:
            return f"{text} made on this machine"
        route = f"/{self.route}" if self.route else ""
        size = _UNKNOWN if self.bytes_to_send is None else size_text(self.bytes_to_send)
        return f"{text} by {counted(self.requests, 'request')} to {self.destination}{route} with {size}"


@dataclass(frozen=True, slots=True)
class PlannedFile:
    """A file that would be written; `replaces` says whether one is there now."""

    path: Path
    replaces: bool

    def __str__(self) -> str:
        return f"{self.path}, {'replaces the file there' if self.replaces else 'new'}"


@dataclass(frozen=True, slots=True)
class PlannedFolder:
    """The folder of a bulk run, the number of its images, and how many are at work at once; 0 for batches."""

    path: Path | str
    counts: Counts
    workers: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What a run would do: found out by its own checks, while nothing is made, sent, loaded, fetched or written.

    Parameters
    ----------
    parts
        For each engine and model, in their order, what it would do.
    images
        The number of source images.
    sizes
        The sizes of the pictures, such as "512x512".
    seeds
        The seeds that the caller gave, each once.
    seed_source
        Where the seeds come from.
    files
        The files that would be written outside of the store, where a caller named some.
    out_dir
        The folder of a bulk run, on disk or in an object store; None for any other run.
    reads
        The buckets and servers that the images and masks to do are read from; empty if all are here.
    store
        The folder that also gets every picture; None where there is none.
    loads
        The weights that would be loaded, and the device, one line each.
    downloads
        What would be fetched from a hub first.
    axes
        The axes of a sweep and their values; empty without one.
    notes
        A line for each further fact, such as a setting without effect.
    """

    parts: tuple[PlannedPart, ...]
    images: int
    sizes: tuple[str, ...]
    seeds: tuple[int, ...] = ()
    seed_source: SeedSource = "none"
    files: tuple[PlannedFile, ...] = ()
    out_dir: PlannedFolder | None = None
    store: Path | None = None
    reads: tuple[str, ...] = ()
    loads: tuple[str, ...] = ()
    downloads: tuple[Download, ...] = ()
    axes: Mapping[str, Sequence[Any]] = field(default_factory=dict, hash=False)
    notes: tuple[str, ...] = ()

    @property
    def engines(self) -> tuple[str, ...]:
        """The engines' names, each once."""
        return tuple(dict.fromkeys(each.engine for each in self.parts))

    @property
    def models(self) -> tuple[str, ...]:
        """The models' names, each once."""
        return tuple(dict.fromkeys(each.model for each in self.parts))

    @property
    def destinations(self) -> tuple[str, ...]:
        """The engines' servers, which get images, by name and port, each once; the bucket of `out_dir` is none."""
        return tuple(dict.fromkeys(each.destination for each in self.parts if each.destination is not None))

    @property
    def pictures(self) -> int:
        """The number of pictures."""
        return sum(each.pictures for each in self.parts)

    @property
    def requests(self) -> int:
        """The requests to servers that make pictures, without those after a failure."""
        return sum(each.requests for each in self.parts)

    @property
    def bytes_to_send(self) -> int | None:
        """The length of the requests' bodies in bytes; None where it isn't known."""
        lengths = [each.bytes_to_send for each in self.parts]
        return None if None in lengths else sum(each or 0 for each in lengths)

    @property
    def combinations(self) -> int:
        """The combinations of a sweep's values; 0 without a sweep."""
        count = 1 if self.axes else 0
        for values in self.axes.values():
            count *= len(values)
        return count

    def to_dict(self) -> dict[str, Any]:
        """Return all of it, JSON-safe, without a key, a header, a user, a password or an extra field.

        Returns
        -------
        dict
            `engines`, `models`, `destinations`, `sizes`, `loads`, `notes`: lists of texts. `images`, `pictures`,
            `requests`, `combinations`: numbers. `bytes_to_send`: a number, or None where it isn't known. `parts`: for
            each engine and model a dictionary of `engine`, `model`, `destination`, `route`, `pictures`, `requests`,
            `bytes_to_send`. `seeds`: a list of numbers; `seed_source`: given, drawn, content or none. `files`: a list
            of `path` and `replaces`. `out_dir`: None, or `path`, `found`, `done`, `to_do`, `workers`. `store`: a path
            or None. `reads`: a list of buckets and servers. `downloads`: a list of `name`, `bytes` (None where it isn't
            known) and `why`. `axes`: each axis and its list of values.
        """
        folder = self.out_dir
        return {
            "engines": list(self.engines),
            "models": list(self.models),
            "destinations": list(self.destinations),
            "images": self.images,
            "pictures": self.pictures,
            "requests": self.requests,
            "bytes_to_send": self.bytes_to_send,
            "sizes": list(self.sizes),
            "seeds": list(self.seeds),
            "seed_source": self.seed_source,
            "parts": [{name: getattr(each, name) for name in PlannedPart.__slots__} for each in self.parts],
            "axes": {name: list(values) for name, values in self.axes.items()},
            "combinations": self.combinations,
            "files": [{"path": str(each.path), "replaces": each.replaces} for each in self.files],
            "out_dir": None
            if folder is None
            else {
                "path": str(folder.path),
                "found": folder.counts.found,
                "done": folder.counts.done,
                "to_do": folder.counts.to_do,
                "workers": folder.workers,
            },
            "store": None if self.store is None else str(self.store),
            "reads": list(self.reads),
            "loads": list(self.loads),
            "downloads": [asdict(each) for each in self.downloads],
            "notes": list(self.notes),
        }

    def lines(self, *, files: bool = True) -> list[str]:
        """Return it in words, one fact a line, without escape codes; long lists are cut.

        Parameters
        ----------
        files
            Whether to say what is written.
        """
        return [f"{label}: {text}" for label, text in self._rows() if files or label != _WRITES]

    def _rows(self) -> Iterator[tuple[str, str]]:
        for label, texts in self._facts():
            for text in texts:
                yield label, plain(text)

    def _facts(self) -> Iterator[tuple[str, Iterable[str]]]:
        """Yield the label of each kind of fact and its texts, in the order in which a person needs them."""
        yield "makes", [self._made()]
        if self.axes:
            axes = " x ".join(
                f"{name} {_listed([_quoted(each) for each in values])}" for name, values in self.axes.items()
            )
            yield "sweep", [f"{axes} = {counted(self.combinations, 'combination')}"]
        yield "engine", map(str, self.parts)
        yield "sends", self._sent()
        yield "downloads", self._downloaded()
        yield "loads", self.loads
        yield "seed", [self._seed()]
        yield _WRITES, self._written()
        yield "note", self.notes

    def _made(self) -> str:
        counts = None if self.out_dir is None else self.out_dir.counts
        images = self.images if counts is None else counts.to_do
        text = (
            f"{counted(self.pictures, 'picture')} of {counted(images, 'image')} at {_listed(self.sizes)} px"
        )
        done = counts is not None and counts.done
        return f"{text}; {done:,} of {counted(self.images, 'image')} done already" if done else text

    def _sent(self) -> Iterator[str]:
        """Yield what leaves this machine; the row of a single engine names its server already."""
        bucket = None
        if self.out_dir is not None and isinstance(self.out_dir.path, str):
            bucket = f"the pictures and a thumbnail of each source to {self.out_dir.path}"
        if not self.destinations:
            yield (
                f"{bucket}; no image to any other server"
                if bucket
                else "nothing: no image leaves this machine"
            )
            return
        if len(self.parts) > 1:
            length = self.bytes_to_send
            size = _UNKNOWN if length is None else size_text(length)
            yield f"{counted(self.requests, 'request')} with {size} to {', '.join(self.destinations)}"
        if bucket:
            yield f"also {bucket}"

    def _downloaded(self) -> Iterator[str]:
        yield from map(_download, self.downloads)
        if self.reads:
            no_weights = any(each.destination is None for each in self.parts) and not self.downloads
            yield f"images from {_listed(self.reads)}{'; no weights' if no_weights else ''}"
        elif not self.downloads:
            yield "nothing"

    def _seed(self) -> str:
        given = _listed(self.seeds)
        return {
            "given": given,
            "drawn": f"one for all pictures{' of engines that take one' * (len(self.engines) > 1)}, drawn at the run",
            "content": f"each image has its own, by its content and the run's seed {given or '0'}",
            "none": "none, since the engine takes none",
        }[self.seed_source]

    def _written(self) -> Iterator[str]:
        yield from map(str, self.files[:_MOST_SHOWN])
        if len(self.files) > _MOST_SHOWN:
            rest = self.files[_MOST_SHOWN:]
            replaced = sum(each.replaces for each in rest)
            yield f"and {len(rest)} more, of which {replaced} replace{'s' if replaced == 1 else ''} a file"
        if self.out_dir is not None:
            workers = f", {counted(self.out_dir.workers, 'image')} at a time" * bool(self.out_dir.workers)
            yield f"pictures, ledger.jsonl and index.html into {self.out_dir.path}{workers}"
        elif self.store is not None:
            yield f"each picture {'also ' if self.files else ''}into the store {self.store}"
        elif not self.files:
            yield "no file: the store is off, so pictures are only in memory"

    def __str__(self) -> str:
        rows = list(self._rows())
        width = max(len(label) for label, _ in rows)
        return "\n".join(f"{label:<{width}}  {text}" for label, text in _grouped(rows))

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:  # noqa: FBT001 - IPython's signature
        del cycle
        for number, line in enumerate(str(self).split("\n")):
            if number:
                printer.break_()
            printer.text(line)

    def _repr_html_(self) -> str:
        rows = "".join(
            f'<tr><th style="{_HEAD_STYLE}">{escaped(label)}</th><td style="{_CELL_STYLE}">{escaped(text)}</td></tr>'
            for label, text in _grouped(self._rows())
        )
        return f'<table style="{_TABLE_STYLE}"><tbody>{rows}</tbody></table>'


def _grouped(rows: Iterable[tuple[str, str]]) -> Iterator[tuple[str, str]]:
    """Yield the rows, each label only where it first stands."""
    before = None
    for label, text in rows:
        yield ("" if label == before else label), text
        before = label


def counted(number: int, thing: str) -> str:
    """Return a number with the name of what is counted, such as "1 image" and "2 images"."""
    return f"{number:,} {thing}{'' if number == 1 else 's'}"


def _quoted(value: Any) -> Any:
    """Return a text in quotes where it could be read as several, such as a prompt with a comma."""
    return f'"{value}"' if isinstance(value, str) and (" " in value or "," in value) else value


def _listed(values: Sequence[Any]) -> str:
    shown = ", ".join(word(each) for each in values[:_MOST_SHOWN])
    more = len(values) - _MOST_SHOWN
    return f"{shown} and {more} more" if more > 0 else shown


def _download(each: Download) -> str:
    size = "size not known" if each.bytes is None else size_text(each.bytes)
    return f"{each.name}, {size}{f' ({each.why})' if each.why else ''}"
