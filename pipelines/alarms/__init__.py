"""Alarms: rules, the sequential tests behind them, and the state of each alarm. Pure functions; no I/O."""
