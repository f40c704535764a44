"""What crosses a boundary: topics, Avro schemas and their block codec, SES payloads, ClickHouse SQL.

Imports nothing of ours.
"""
