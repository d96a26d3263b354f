"""`imgvar`: the magic's options in a terminal, bulk runs over many images, and the command that starts the server."""

from ipy_imgvar.cli.command import main

__all__ = ["main"]
