"""The options of a line, for the magic and the command line: table, grammar, parser, help and arguments."""
