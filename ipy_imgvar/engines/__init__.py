"""Engines: what makes variations. They implement `ipy_imgvar.protocol.Engine` and never import each other."""
