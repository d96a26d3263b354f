"""The images API as a server, for any engine: `imgvar serve`.

Other modules import `serve` only. The packages of the extra `server` are loaded when it runs.
"""

from ipy_imgvar.server.command import serve

__all__ = ["serve"]
