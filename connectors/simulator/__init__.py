"""SES traffic of a sender that does not exist, with a known truth: for the demo, for tests, for trying things out."""
