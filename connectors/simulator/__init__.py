"""SES traffic of a sender that does not exist, with a known truth.

For the demo, for tests, for trying things out.
"""
