"""A file system in memory under a protocol of its own, "shelf", whose calls fail as they are told to."""

import fsspec
from fsspec.implementations.memory import MemoryFileSystem


class Shelf(MemoryFileSystem):
    """Files in memory; `faults` are raised by the next reads and writes, one each, and None lets one pass."""

    protocol = "shelf"
    store = {}  # noqa: RUF012 - fsspec's own shape
    pseudo_dirs = [""]  # noqa: RUF012
    faults = []  # noqa: RUF012
    calls = []  # noqa: RUF012

    @classmethod
    def _strip_protocol(cls, path):
        return "/" + path.removeprefix("shelf://").strip("/")

    def _may_fail(self, name, path):
        self.calls.append((name, path))
        fault = self.faults.pop(0) if self.faults else None
        if fault is not None:
            raise fault

    def cat_file(self, path, start=None, end=None, **options):
        self._may_fail("cat", path)
        return super().cat_file(path, start=start, end=end, **options)

    def pipe_file(self, path, value, **options):
        self._may_fail("pipe", path)
        super().pipe_file(path, value, **options)

    def mv(self, path1, path2, **options):
        self._may_fail("mv", path2)
        super().mv(path1, path2, **options)

    def ls(self, path, detail=True, **options):  # noqa: FBT002 - fsspec's own
        self._may_fail("ls", path)
        return super().ls(path, detail=detail, **options)


def register():
    """Make shelf:// known to fsspec, and empty it."""
    fsspec.register_implementation("shelf", Shelf, clobber=True)
    Shelf.store.clear()
    Shelf.pseudo_dirs[:] = [""]
    Shelf.faults.clear()
    Shelf.calls.clear()
    return Shelf
