"""Results: `Variation` and `Variations`, their files, their display, the store and the history."""
