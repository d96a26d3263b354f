"""Arrays, without a notion of patches: sizes, small maps and masks, and the threads that work on them."""
