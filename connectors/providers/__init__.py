"""Whose mailbox a domain is: a user's own tables, MX look-ups into a table, and why the answer is what it is."""
