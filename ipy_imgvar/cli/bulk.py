"""`imgvar bulk`: variations of many images into a folder."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, Final

from ipy_imgvar import streams
from ipy_imgvar.cli.terminal import (
    FAILED,
    OK,
    TerminalReader,
    client_of,
    help_of_engine,
    sorted_words,
    write_json,
)
from ipy_imgvar.engines import OFFLINE
from ipy_imgvar.errors import InvalidRequestError, shown
from ipy_imgvar.line.arguments import arguments_of
from ipy_imgvar.line.help import help_text
from ipy_imgvar.line.options import OPTIONS
from ipy_imgvar.plain import plain

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ipy_imgvar.client import Client
    from ipy_imgvar.line.arguments import Arguments
    from ipy_imgvar.line.options import Token

__all__ = ["bulk"]

_USAGE: Final = "imgvar bulk DIR|PATTERN... --out-dir OUT [options]"
_HEAD: Final = (
    _USAGE,
    "",
    "DIR is a folder, whose images right in it are taken; PATTERN is such as 'photos/**/*.jpg'. Both",
    "may lie in an object store: s3://bucket/photos, 's3://bucket/**/*.jpg', gs://, az://. Several are",
    "allowed.",
    "OUT is a folder, or an address such as s3://bucket/out.",
)
_EXAMPLES: Final = (
    "imgvar bulk photos --out-dir out -n 4                 each image right in a folder, offline",
    "imgvar bulk 'photos/**/*.jpg' --out-dir out --dry-run how many there are, and how many are done",
    "imgvar bulk photos --out-dir out --scheduler tcp://host:8786",
    "imgvar bulk 's3://photos/**/*.jpg' --out-dir s3://mine/out   from bucket to bucket",
    "imgvar bulk photos --out-dir out --batch              by OpenAI's batches, at half price within a day",
    "imgvar bulk --out-dir out --batch --status            how far they are; --cancel ends them",
)
#: The `dest` of options that only `create` has: a bulk run writes its pictures to `--out-dir`.
_NOT_HERE: Final = ("response_format", "out_file", "stream", "sweep", "yes")
#: Those of them that the parser knows, since `arguments` has a message for them.
_REFUSED: Final = ("sweep", "yes")
#: The options that show batches in place of making pictures.
_REPORTS: Final = ("status", "cancel")


def bulk(words: list[str]) -> int:
    """Run `imgvar bulk` with the words after it, and return the exit code."""
    options = [
        option
        for option in OPTIONS
        if "bulk" in option.places or ("cli" in option.places and option.dest not in _NOT_HERE)
    ]
    tokens = sorted_words(words, [*options, *(option for option in OPTIONS if option.dest in _REFUSED)])
    if "help" in tokens:
        text = help_text("imgvar bulk", _EXAMPLES, options, places=("bulk", "cli"), head=_HEAD)
        streams.write(text + help_of_engine(tokens))
        return OK
    reports = [dest for dest in _REPORTS if dest in tokens]
    if not tokens["image"] and not reports:
        raise InvalidRequestError(f"no folder and no image was given; usage: {_USAGE}", field="image")
    if "out_dir" not in tokens:
        raise InvalidRequestError(f"no --out-dir was given; usage: {_USAGE}", field="out_dir")
    scheduler = tokens.pop("scheduler")[-1].text if "scheduler" in tokens else None
    arguments = arguments_of(tokens, TerminalReader())
    if reports:
        return _report(arguments, tokens, reports)
    # A folder or a pattern that stands alone goes to `map` as it is, not in a list: `map` expands it.
    images: Any = arguments.images[0] if len(arguments.images) == 1 else arguments.images
    if arguments.dry_run:
        return _show_plan(images, arguments, as_json="json" in tokens)
    if "json" in tokens:
        raise InvalidRequestError(
            "--json goes with --dry-run here; a run's records are in ledger.jsonl, in the folder of --out-dir",
            field="json",
        )
    return _run(images, arguments, scheduler, quiet="quiet" in tokens)


def _report(arguments: Arguments, tokens: Mapping[str, list[Token]], reports: Sequence[str]) -> int:
    """Print how far the batches of a folder are, after their end with `--cancel`."""
    from ipy_imgvar.bulk import batches
    from ipy_imgvar.request import VariationRequest

    if len(reports) > 1:
        raise InvalidRequestError(
            "--status and --cancel are both given; one of the two may be given (--cancel shows how far they are too)",
            field="status",
        )
    if tokens["image"] or arguments.dry_run:
        beside = "an image" if tokens["image"] else "--dry-run"
        raise InvalidRequestError(
            f"--{reports[0]} is given beside {beside}; give --batch --{reports[0]} --out-dir OUT alone",
            field=reports[0],
        )
    out_dir, calls = arguments.bulk["out_dir"], VariationRequest.from_arguments(**arguments.request)
    with client_of(arguments) as client:
        _refuse_no_key(client, arguments)
        ask = batches.cancel if "cancel" in reports else batches.status
        found = ask(client.engine, calls, out_dir)
    if "json" in tokens:
        write_json({"out_dir": str(out_dir), "batches": [each.to_dict() for each in found]})
        return OK
    streams.write("\n".join(map(str, found)) or "no batch was begun")
    if "cancel" in reports:
        streams.say("the same imgvar bulk --batch as before fetches what they had finished")
    return OK


def _refuse_no_key(client: Client, arguments: Arguments) -> None:
    """Raise for batches by an engine that nobody chose: the one that is left where no key and no base is set."""
    if "batch" in arguments.bulk and arguments.engine is None and client.engine.name == OFFLINE:
        raise InvalidRequestError(
            f"no API key or base is configured, so the engine would be {OFFLINE}, which takes no batches; set "
            "OPENAI_API_KEY, or give --api-key-file or --api-base",
            field="batch",
        )


def _show_plan(images: Any, arguments: Arguments, *, as_json: bool) -> int:
    """Print what the run would do."""
    with client_of(arguments) as client:
        _refuse_no_key(client, arguments)
        plan = client.plan(images, **arguments.bulk, **arguments.request)
    if as_json:
        write_json(plan.to_dict())
    else:
        # The counts come first and in these words, which scripts read.
        counts = [] if plan.out_dir is None else [str(plan.out_dir.counts)]
        streams.write("\n".join([*counts, str(plan)]))
    return OK


def _run(images: Any, arguments: Arguments, scheduler: str | None, *, quiet: bool) -> int:
    from ipy_imgvar.bulk.cluster import dask_executor

    with ExitStack() as stack:
        client = stack.enter_context(client_of(arguments))
        _refuse_no_key(client, arguments)
        executor = None if scheduler is None else stack.enter_context(dask_executor(scheduler))
        result = client.map(
            images,
            executor=executor,
            progress=False if quiet else None,
            on_notice=None if quiet else streams.say,
            **arguments.bulk,
            **arguments.request,
        )
    for each in result.failed:
        is_named = each.source in (each.error or "")
        streams.say(str(each.error) if is_named else f"{shown(each.source)}: {each.error}")
    streams.write(plain(f"{result.summary()}; {result.page}"))
    return FAILED if result.failed else OK
