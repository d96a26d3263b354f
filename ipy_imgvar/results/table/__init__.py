"""A sweep on a page, in a terminal and as a figure: its values at rows and columns, the source first."""
