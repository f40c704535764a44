-- Records that could not be used, merged by identity like event_rows.
CREATE TABLE IF NOT EXISTS dead_letter_rows
(
    dead_letter_id  FixedString(16),
    time            SimpleAggregateFunction(min, DateTime64(3, 'UTC')),
    stage           SimpleAggregateFunction(max, LowCardinality(String)),
    cause           SimpleAggregateFunction(max, LowCardinality(String)),
    detail          SimpleAggregateFunction(max, String) CODEC(ZSTD(1)),
    source          SimpleAggregateFunction(max, String) CODEC(ZSTD(1)),
    payload         SimpleAggregateFunction(max, String) CODEC(ZSTD(3)),
    payload_size    SimpleAggregateFunction(max, Int64)
)
ENGINE = AggregatingMergeTree
ORDER BY dead_letter_id;

-- payload: raw bytes, the first 64 KiB of the record.
CREATE OR REPLACE VIEW dead_letters AS
SELECT
    r.time AS time,
    r.stage AS stage,
    r.cause AS cause,
    r.detail AS detail,
    r.source AS source,
    r.payload AS payload,
    lower(hex(r.dead_letter_id)) AS dead_letter_id,
    r.payload_size AS payload_size
FROM dead_letter_rows AS r FINAL;
