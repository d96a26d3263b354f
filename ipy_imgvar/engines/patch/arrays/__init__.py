"""Arrays, without a notion of patches: their sizes, small maps and masks, and the threads that work on them."""
