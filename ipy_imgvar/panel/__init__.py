"""The panel: widgets to make variations, with the same client as the magic.

Without widgets: `state` holds the panel's data, `job` its threads, `actions`, `sources` and `pictures` the effects of
the buttons, `engines` facts of the chosen engine, `cards` HTML of pictures, `tree` the history, `recipe` the code that
repeats a run. With widgets and without decisions: `view`, `controls`, `options`, `results`, and `style` for their CSS.
"""
