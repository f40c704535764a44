-- Mails sent on with links instead of attachments: the steps of every attempt, and a view of what became of each mail.
CREATE TABLE IF NOT EXISTS mail_forward_rows
(
    mail_id         FixedString(16),
    attempt         String,
    time            DateTime64(3, 'UTC'),
    outcome         LowCardinality(String),
    reason          LowCardinality(String),
    detail          String CODEC(ZSTD(1)),
    received_time   DateTime64(3, 'UTC'),
    tenant          LowCardinality(String),
    object          String CODEC(ZSTD(1)),
    recipients      Array(Tuple(address String, domain String)),
    refused         Int32,
    links           Int32,
    links_until     DateTime64(3, 'UTC'),
    ses_message_id  String,
    fallback_id     String,
    tries           Int32
)
ENGINE = ReplacingMergeTree(time)
ORDER BY (mail_id, attempt);

-- One row a mail. Of several attempts that counts which sent it; else the one that settled it; else the latest.
CREATE OR REPLACE VIEW mail_forwards AS
SELECT
    lower(hex(id)) AS mail_id,
    told.1 AS time,
    told.2 AS outcome,
    told.3 AS reason,
    told.4 AS detail,
    told.5 AS received_time,
    told.6 AS tenant,
    told.7 AS object,
    told.8 AS recipients,
    told.9 AS refused,
    told.10 AS links,
    if(toUnixTimestamp64Milli(told.11) = 0, NULL, told.11) AS links_until,
    told.12 AS ses_message_id,
    told.13 AS fallback_id,
    told.14 AS tries,
    attempts
FROM
(
    SELECT
        r.mail_id AS id,
        argMax(
            (r.time, r.outcome, r.reason, r.detail, r.received_time, r.tenant, r.object,
             r.recipients, r.refused, r.links, r.links_until,
             r.ses_message_id, r.fallback_id, r.tries),
            (multiIf(
                r.outcome = 'sent', 3,
                r.outcome = 'unknown', 2,
                r.outcome IN ('fallback', 'untold', 'skipped'), 1,
                0),
             r.time)) AS told,
        count() AS attempts
    FROM mail_forward_rows AS r FINAL
    GROUP BY r.mail_id
);
