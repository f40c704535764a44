"""Everything that touches the outside: sources, the bridge, ClickHouse, embedded parts, the command line."""
