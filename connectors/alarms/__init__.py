"""Alarms and ClickHouse: what drives them, and what an operator sees of them and orders."""
