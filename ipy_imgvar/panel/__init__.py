"""The panel: variations by hand, in widgets, over the same client as the magic.

`state` is what the panel knows, `job` the thread, `actions` what each button does, `tree` and `recipe` the history and
the code that repeats a run; none of them knows a widget. `view` and the modules beside it are widgets and decide
nothing.
"""
