"""Patches, their nearest neighbours in the source, and pictures made of those, at every scale."""
