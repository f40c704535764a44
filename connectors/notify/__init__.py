"""Delivering alarms: who is told what, by which route, once."""
