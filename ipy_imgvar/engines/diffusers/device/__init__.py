"""The device that the pictures are made on: its memory, its number format, and how weights are placed on it."""
