"""The Faust app: count and rate agents around the pure functions of `pipelines.counting`."""
