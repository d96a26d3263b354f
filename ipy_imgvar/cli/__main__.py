"""Runs `imgvar` for `python -m ipy_imgvar.cli`."""

import sys

from ipy_imgvar.cli.command import main

if __name__ == "__main__":
    sys.exit(main())
