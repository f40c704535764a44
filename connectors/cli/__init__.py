"""The command line: the only place that knows every part, and where they are wired together."""
