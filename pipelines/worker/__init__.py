"""The Faust app: its agents, around the pure functions of `pipelines.counting` and `pipelines.alarms`."""
