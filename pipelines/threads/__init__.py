"""Threads: which messages belong to one conversation, whatever the order in which they are heard of. Pure."""
