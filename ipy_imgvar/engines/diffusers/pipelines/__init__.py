"""The call of a pipeline for a request: its class, arguments and steps, and the loaded weights."""
