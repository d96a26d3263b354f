"""Runs `imgvar` for `python -m ipy_imgvar`, where the folder of commands is not on the PATH."""

import sys

from ipy_imgvar.cli import main

if __name__ == "__main__":
    sys.exit(main())
