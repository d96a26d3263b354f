"""Sweeps: every combination of some settings, checked before anything is made, and run as one run.

`axes` reads the names and values, `preparation` checks every combination, `earlier` finds what an interrupted run of
the same sweep has made, and `making` plans it, or says what will be made and makes it. Nothing is imported here, since
the line needs the names of the axes alone.
"""
