"""The images API as a server, for any engine: `imgvar serve`.

Only `serve` is for others. What needs the packages of the extra `server` is loaded when it runs.
"""

from ipy_imgvar.server.command import serve

__all__ = ["serve"]
