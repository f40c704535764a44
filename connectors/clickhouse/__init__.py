"""Everything that touches ClickHouse: migrations, the sink, the door of an embedded instance, repair, reports."""
