"""The offline engine: patch nearest neighbours, one image in, no weights, no GPU, no key."""
