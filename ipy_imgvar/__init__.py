"""Variations of any image, in the notebook where you already are."""
