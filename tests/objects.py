"""A slow bucket, another run's lock, and the part of a bulk run that plans and records, without its work."""

import threading
import time
from typing import ClassVar

import fsspec

from ipy_imgvar.bulk.agenda import Agenda
from ipy_imgvar.bulk.ledger import Ledger
from ipy_imgvar.bulk.lock import LOCK
from ipy_imgvar.bulk.work import Outcome
from ipy_imgvar.request import VariationRequest
from ipy_imgvar.storage.folder import open_folder


class Slow(fsspec.AbstractFileSystem):
    """A hundred folders of as many images as the test says, listed one by one; a list of what was listed."""

    protocol = "slowlist"
    cachable = False
    folders, images = 100, 10
    pause_s, gate = 0.0, None
    listed: ClassVar = []

    def ls(self, path, detail=True, **_):  # noqa: ARG002, FBT002
        path = self._strip_protocol(path)
        self.listed.append(path)
        time.sleep(self.pause_s)
        if self.gate is not None:
            self.gate.wait(100)
        if path == "bucket":
            return [{"name": f"bucket/d{n:03}", "type": "directory", "size": 0} for n in range(self.folders)]
        number = int(path[-3:])
        return [
            {"name": f"{path}/p{n:04}.png", "type": "file", "size": 1000 + number, "ETag": f"{number}-{n}"}
            for n in range(self.images)
        ]

    def info(self, path, **_):
        raise FileNotFoundError(path)


def install():
    """Open addresses of `slowlist://` by this class; the collector of doctests imports this file a second time."""
    fsspec.register_implementation("slowlist", Slow, clobber=True)


def take_lock(store, out):
    """Write another run's lock until this process's run has seen it: a beat that was under way replaces the first."""
    while any(each.name == "imgvar-lock" for each in threading.enumerate()):
        store.pipe(f"{out}/{LOCK}", b'{"id":"other"}')
        time.sleep(0.03)


def agenda_of(engine, out, *, resume=True):
    ledger = Ledger(out)
    return Agenda(engine, VariationRequest(image=None), ledger, open_folder(out), resume=resume), ledger


def done(task):
    """Return the outcome of a task without its work."""
    name = task.name("ab" * 32, 1, ".png")
    record = {"item": task.ready.item, "status": "done", "source": task.ready.source, "sha256": "ab" * 32}
    return Outcome(
        {**record, "bytes": task.ready.size, "version": task.ready.version, "paths": [name], "usage": None}
    )
