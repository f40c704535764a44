-- What Google Postmaster Tools says of each domain and day. A value is missing where Google gives none; it is never 0.
-- A row is written when its value is new or has changed, so `fetched` says since when we have known the value.
CREATE TABLE IF NOT EXISTS postmaster_rows
(
    metric      LowCardinality(String),
    day         Date,
    domain      LowCardinality(String),
    identifier  String CODEC(ZSTD(1)),
    value       Float64,
    fetched     DateTime64(3, 'UTC')
)
ENGINE = ReplacingMergeTree(fetched)
ORDER BY (metric, day, domain, identifier);

-- Each asking: one row per domain, or one without a domain when the whole asking failed. `problem` is empty when all
-- went well.
CREATE TABLE IF NOT EXISTS postmaster_fetches
(
    time       DateTime64(3, 'UTC'),
    domain     String,
    figures    UInt64,
    new        UInt64,
    corrected  UInt64,
    problem    String
)
ENGINE = ReplacingMergeTree
ORDER BY (time, domain)
TTL toDateTime(time) + INTERVAL 180 DAY;

-- Days are Google's: calendar days in UTC. Rates are fractions as Google gives them. What identifier says depends on
-- the metric: for feedback_loop_spam_rate it is the identifier that the sender put into Feedback-ID.
CREATE OR REPLACE VIEW postmaster AS
SELECT
    r.domain AS domain,
    r.day AS day,
    r.metric AS metric,
    r.identifier AS identifier,
    r.value AS value,
    r.fetched AS fetched
FROM postmaster_rows AS r FINAL;
