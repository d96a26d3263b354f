"""What a run would do, as data and in words, found out without doing it."""
