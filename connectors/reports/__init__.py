"""What people are told from ClickHouse: the parts of `report`, and what paths brought."""
