"""Metrics: one list of them, how they are read off the parts, and the endpoint that serves them to Prometheus."""
