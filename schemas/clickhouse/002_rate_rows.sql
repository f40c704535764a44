-- The counters of each (dimension, value, cohort hour), as the worker sends them: raw sums, newest version wins.
CREATE TABLE IF NOT EXISTS rate_rows
(
    dimension              LowCardinality(String),
    value                  String CODEC(ZSTD(1)),
    hour                   DateTime64(0, 'UTC') CODEC(Delta, ZSTD(1)),
    version                Int64,
    sends                  Int64 CODEC(T64, ZSTD(1)),
    deliveries             Int64 CODEC(T64, ZSTD(1)),
    eligible               Int64 CODEC(T64, ZSTD(1)),
    complaints             Int64 CODEC(T64, ZSTD(1)),
    hard_bounces           Int64 CODEC(T64, ZSTD(1)),
    soft_bounces           Int64 CODEC(T64, ZSTD(1)),
    suppressed             Int64 CODEC(T64, ZSTD(1)),
    rejects                Int64 CODEC(T64, ZSTD(1)),
    rendering_failures     Int64 CODEC(T64, ZSTD(1)),
    delays                 Int64 CODEC(T64, ZSTD(1)),
    opens                  Int64 CODEC(T64, ZSTD(1)),
    clicks                 Int64 CODEC(T64, ZSTD(1)),
    machine_opens          Int64 CODEC(T64, ZSTD(1)),
    unsubscribes           Int64 CODEC(T64, ZSTD(1)),
    blocks                 Int64 CODEC(T64, ZSTD(1)),
    complaint_rate_low     Nullable(Float64),
    complaint_rate_high    Nullable(Float64),
    hard_bounce_rate_low   Nullable(Float64),
    hard_bounce_rate_high  Nullable(Float64),
    -- As in event_rows.
    landed                 DateTime64(3, 'UTC') DEFAULT now64(3) CODEC(Delta, ZSTD(1))
)
ENGINE = ReplacingMergeTree(version)
ORDER BY (dimension, value, hour);
