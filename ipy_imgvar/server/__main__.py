"""`python -m ipy_imgvar.server` is `imgvar serve`."""

import sys

from ipy_imgvar.server.command import serve

if __name__ == "__main__":
    sys.exit(serve())
