-- Every copy of every event that reached us, merged by identity as parts merge. All columns outside the key take
-- idempotent aggregates that do not depend on order (the largest value, so that a value beats an absent one, which
-- is empty; sets for where a copy came from), so inserting a row again, in any order, changes no query through the
-- view. sent_time belongs to the key: it is the same in every copy of an event, and most questions name a time.
CREATE TABLE IF NOT EXISTS event_rows
(
    event_id           FixedString(16),
    sent_time          DateTime64(3, 'UTC') CODEC(Delta, ZSTD(1)),
    event_time         SimpleAggregateFunction(max, DateTime64(3, 'UTC')) CODEC(Delta, ZSTD(1)),
    event_type         SimpleAggregateFunction(max, LowCardinality(String)),
    original_type      SimpleAggregateFunction(max, LowCardinality(String)),
    message_id         SimpleAggregateFunction(max, String) CODEC(ZSTD(1)),
    account            SimpleAggregateFunction(max, LowCardinality(String)),
    region             SimpleAggregateFunction(max, LowCardinality(String)),
    configuration_set  SimpleAggregateFunction(max, LowCardinality(String)),
    tenant             SimpleAggregateFunction(max, LowCardinality(String)),
    from_domain        SimpleAggregateFunction(max, LowCardinality(String)),
    feedback_a         SimpleAggregateFunction(max, LowCardinality(String)),
    feedback_b         SimpleAggregateFunction(max, LowCardinality(String)),
    feedback_c         SimpleAggregateFunction(max, LowCardinality(String)),
    campaign           SimpleAggregateFunction(max, LowCardinality(String)),
    recipients         SimpleAggregateFunction(max, Array(Tuple(
        address String, domain String, provider String,
        reports_complaints Bool, blocked Bool, smtp_reply String))) CODEC(ZSTD(1)),
    bounce_type        SimpleAggregateFunction(max, LowCardinality(String)),
    bounce_subtype     SimpleAggregateFunction(max, LowCardinality(String)),
    complaint_type     SimpleAggregateFunction(max, LowCardinality(String)),
    complaint_subtype  SimpleAggregateFunction(max, LowCardinality(String)),
    delay_type         SimpleAggregateFunction(max, LowCardinality(String)),
    feedback_id        SimpleAggregateFunction(max, String) CODEC(ZSTD(1)),
    smtp_reply         SimpleAggregateFunction(max, String) CODEC(ZSTD(1)),
    reporting_mta      SimpleAggregateFunction(max, LowCardinality(String)),
    remote_mta_ip      SimpleAggregateFunction(max, String) CODEC(ZSTD(1)),
    outgoing_ip        SimpleAggregateFunction(max, LowCardinality(String)),
    processing_millis  SimpleAggregateFunction(max, Int64) CODEC(T64, ZSTD(1)),
    ip_address         SimpleAggregateFunction(max, String) CODEC(ZSTD(1)),
    user_agent         SimpleAggregateFunction(max, String) CODEC(ZSTD(1)),
    link               SimpleAggregateFunction(max, String) CODEC(ZSTD(1)),
    reason             SimpleAggregateFunction(max, String) CODEC(ZSTD(1)),
    template           SimpleAggregateFunction(max, LowCardinality(String)),
    contact_list       SimpleAggregateFunction(max, LowCardinality(String)),
    machine_open       SimpleAggregateFunction(max, Bool),
    out_of_office      SimpleAggregateFunction(max, Bool),
    unsubscribed       SimpleAggregateFunction(max, Bool),
    tags               SimpleAggregateFunction(max, Array(Tuple(name String, values Array(String)))) CODEC(ZSTD(1)),
    tagged             SimpleAggregateFunction(max, Bool),
    -- 'event' beats 'notification': the publishing copy says more.
    origin             SimpleAggregateFunction(min, LowCardinality(String)),
    path               String EPHEMERAL,
    arrival_id         Int64 EPHEMERAL,
    paths              SimpleAggregateFunction(groupUniqArrayArray, Array(String)) DEFAULT [path],
    arrivals           SimpleAggregateFunction(groupUniqArrayArray, Array(Int64)) DEFAULT [arrival_id],
    -- When the newest copy was inserted: tells a repair where to look. In no view, so that replays stay comparable.
    landed             SimpleAggregateFunction(max, DateTime64(3, 'UTC')) DEFAULT now64(3) CODEC(Delta, ZSTD(1)),
    INDEX landed_range landed TYPE minmax GRANULARITY 1,
    -- A message or an event is looked up by its id alone; hex as in the view.
    INDEX message_ids message_id TYPE bloom_filter(0.01) GRANULARITY 1,
    INDEX event_ids lower(hex(event_id)) TYPE bloom_filter(0.01) GRANULARITY 1
)
ENGINE = AggregatingMergeTree
PARTITION BY toYYYYMM(sent_time)
ORDER BY (sent_time, event_id);
