"""Patches, their nearest neighbours in the source, and the pictures made of those, at every scale."""
