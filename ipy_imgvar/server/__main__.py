"""Runs `imgvar serve` for `python -m ipy_imgvar.server`."""

import sys

from ipy_imgvar.server.command import serve

if __name__ == "__main__":
    sys.exit(serve())
