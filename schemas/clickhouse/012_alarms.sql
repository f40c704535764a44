-- Transitions of alarms: of each number the highest revision, of equal ones the one written last.
CREATE TABLE IF NOT EXISTS alarm_rows
(
    alarm_key       String,
    seq             Int64,
    revision        Int32,
    time            DateTime64(3, 'UTC'),
    state           LowCardinality(String),
    severity        LowCardinality(String),
    signal          LowCardinality(String),
    dimension       LowCardinality(String),
    value           String,
    rate            Nullable(Float64),
    limit           Nullable(Float64),
    e_value         Nullable(Float64),
    evidence        String CODEC(ZSTD(1)),
    rule            LowCardinality(String),
    incident        Int64,
    opened_time     DateTime64(3, 'UTC'),
    cause           LowCardinality(String),
    operator        String,
    silenced_until  DateTime64(3, 'UTC'),
    written_time    DateTime64(3, 'UTC'),
    machine         String
)
ENGINE = ReplacingMergeTree(revision)
ORDER BY (alarm_key, seq);

-- rate and limit in the unit of the signal; e_value NULL where the signal has none; evidence: a JSON object.
CREATE OR REPLACE VIEW alarms AS
SELECT
    r.alarm_key AS alarm_key,
    r.seq AS seq,
    r.time AS time,
    r.state AS state,
    r.severity AS severity,
    r.signal AS signal,
    r.dimension AS dimension,
    r.value AS value,
    r.rate AS rate,
    r.limit AS limit,
    r.e_value AS e_value,
    r.evidence AS evidence,
    r.rule AS rule,
    r.incident AS incident,
    if(r.incident = 0, NULL, r.opened_time) AS opened_time,
    r.cause AS cause,
    r.operator AS operator,
    if(toUnixTimestamp64Milli(r.silenced_until) = 0, NULL, r.silenced_until) AS silenced_until,
    r.written_time AS written_time
FROM alarm_rows AS r FINAL;

-- What was done, tried or left on account of alarms: pages delivered by routes, sending paused and resumed.
CREATE TABLE IF NOT EXISTS alarm_action_rows
(
    action_id       String,
    time            DateTime64(3, 'UTC'),
    action          LowCardinality(String),
    target          String,
    outcome         LowCardinality(String),
    alarm_key       String,
    seq             Int64,
    incident        Int64,
    dedup_key       String,
    attempts        Int32,
    operator        String,
    expires_time    DateTime64(3, 'UTC'),
    detail          String CODEC(ZSTD(1))
)
ENGINE = ReplacingMergeTree(time)
ORDER BY action_id;

CREATE OR REPLACE VIEW alarm_actions AS
SELECT
    r.time AS time,
    r.action AS action,
    r.target AS target,
    r.outcome AS outcome,
    r.alarm_key AS alarm_key,
    r.seq AS seq,
    r.incident AS incident,
    r.attempts AS attempts,
    r.operator AS operator,
    if(toUnixTimestamp64Milli(r.expires_time) = 0, NULL, r.expires_time) AS expires_time,
    r.detail AS detail,
    r.dedup_key AS dedup_key,
    r.action_id AS action_id
FROM alarm_action_rows AS r FINAL;
