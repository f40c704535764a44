-- When an embedded instance last had rate_rows and event_rows in step: after a clean stop, and after each repair.
-- A repair looks at what landed since.
CREATE TABLE IF NOT EXISTS clean_stops
(
    time DateTime64(3, 'UTC')
)
ENGINE = ReplacingMergeTree
ORDER BY time;
