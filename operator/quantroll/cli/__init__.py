"""The command line, for people: needs the extra `cli`."""
