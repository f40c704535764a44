"""Everything that touches ClickHouse: migrations, sink, the door of an embedded instance, repair, reports."""
