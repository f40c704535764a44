"""An instance on one machine: a broker, ClickHouse as chdb, and our processes, supervised.

Not for production.
"""
