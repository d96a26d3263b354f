"""A model's files: its names and presets, the hub's cache on this disk, the download, the inspection before loading.

Nothing here imports torch, diffusers or transformers; `download` imports huggingface_hub when it is called.
"""
