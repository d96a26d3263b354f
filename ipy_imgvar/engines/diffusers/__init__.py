"""The engine `diffusers`: open-weights models on this machine, through the library of the same name.

Three rooms: `weights` names, finds, fetches and inspects a model's files; `pipelines` turns a request into a call;
`device` decides where the weights live. This package imports neither torch nor diffusers when it is imported.
"""
