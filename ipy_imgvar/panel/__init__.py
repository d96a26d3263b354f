"""The panel: widgets to make variations, with the same client as the magic.

Without widgets: `state` holds the panel's data, `job` its threads; `actions`, `controls`, `sources` and `pictures` are
the effects of its buttons and fields, `uploads` puts a file's pieces together, `engines` has facts of the chosen
engine, `cards` small pictures, `tree` the history, `recipe` the code that repeats a run. `view` and `fields` turn the
state into JSON, `messages` a message into an action, and `front` is the page's JavaScript and CSS. With widgets and
without decisions: `widget`, and `basic` for notebooks without its front end; `shown` is their place in a notebook.
"""
