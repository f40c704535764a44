-- Records of DMARC aggregate reports. A report that comes twice is one: of copies of a row the one received last counts,
-- and of those received in one moment always the same. `begin_time` is in the key because some reporters use the same
-- report id again. Rows are kept: a source that sent as us long ago is not a new one.
CREATE TABLE IF NOT EXISTS dmarc_rows
(
    report_id       String CODEC(ZSTD(1)),
    reporter        LowCardinality(String),
    reporter_email  LowCardinality(String),
    policy_domain   LowCardinality(String),
    row             Int32 CODEC(T64, ZSTD(1)),
    begin_time      DateTime64(3, 'UTC') CODEC(Delta, ZSTD(1)),
    end_time        DateTime64(3, 'UTC') CODEC(Delta, ZSTD(1)),
    received_time   DateTime64(3, 'UTC') CODEC(Delta, ZSTD(1)),
    tenant          LowCardinality(String),
    policy          Tuple(
        p LowCardinality(String), sp LowCardinality(String), np LowCardinality(String), adkim LowCardinality(String),
        aspf LowCardinality(String), pct LowCardinality(String), fo LowCardinality(String),
        testing LowCardinality(String), discovery LowCardinality(String)),
    source_ip       String CODEC(ZSTD(1)),
    count           Int64 CODEC(T64, ZSTD(1)),
    disposition     LowCardinality(String),
    dkim            LowCardinality(String),
    spf             LowCardinality(String),
    aligned         Bool,
    overrides       Array(Tuple(type LowCardinality(String), comment String)) CODEC(ZSTD(1)),
    header_from     LowCardinality(String),
    envelope_from   String CODEC(ZSTD(1)),
    envelope_to     LowCardinality(String),
    dkim_results    Array(Tuple(domain String, selector String, result LowCardinality(String))) CODEC(ZSTD(1)),
    spf_results     Array(Tuple(domain String, scope LowCardinality(String), result LowCardinality(String)))
        CODEC(ZSTD(1)),
    mail_id         FixedString(16) CODEC(ZSTD(1)),
    -- Domains that the source proved to speak for, aligned or not: whose network it is, as far as that is known.
    authenticated   Array(LowCardinality(String)) MATERIALIZED arraySort(arrayDistinct(arrayConcat(
        arrayMap(each -> each.domain, arrayFilter(each -> each.result = 'pass', dkim_results)),
        arrayMap(each -> each.domain, arrayFilter(each -> each.result = 'pass', spf_results))))) CODEC(ZSTD(1)),
    -- What a source is called: by who signed, else by who it bounces to, else by its address.
    source          LowCardinality(String) MATERIALIZED multiIf(
        arrayExists(each -> each.result = 'pass', dkim_results),
        arrayMin(arrayMap(each -> each.domain, arrayFilter(each -> each.result = 'pass', dkim_results))),
        arrayExists(each -> each.result = 'pass', spf_results),
        arrayMin(arrayMap(each -> each.domain, arrayFilter(each -> each.result = 'pass', spf_results))),
        source_ip),
    -- The receiver says that it was forwarded, which breaks alignment of mail that was ours.
    forwarded       Bool MATERIALIZED arrayExists(
        each -> each.type IN ('forwarded', 'trusted_forwarder', 'mailing_list')
            OR positionCaseInsensitive(each.comment, 'arc=pass') > 0,
        overrides),
    landed          DateTime64(3, 'UTC') DEFAULT now64(3) CODEC(Delta, ZSTD(1)),
    version         UInt64 MATERIALIZED
        bitOr(bitShiftLeft(toUInt64(greatest(toUnixTimestamp64Milli(received_time), 0)), 20), sipHash64(mail_id) % 1048576)
)
ENGINE = ReplacingMergeTree(version)
ORDER BY (policy_domain, begin_time, reporter, report_id, row);

-- Rows of SMTP TLS reports, merged likewise.
CREATE TABLE IF NOT EXISTS tls_rows
(
    report_id        String CODEC(ZSTD(1)),
    reporter         LowCardinality(String),
    contact          LowCardinality(String),
    begin_time       DateTime64(3, 'UTC') CODEC(Delta, ZSTD(1)),
    end_time         DateTime64(3, 'UTC') CODEC(Delta, ZSTD(1)),
    received_time    DateTime64(3, 'UTC') CODEC(Delta, ZSTD(1)),
    tenant           LowCardinality(String),
    row              Int32 CODEC(T64, ZSTD(1)),
    policy_domain    LowCardinality(String),
    policy_type      LowCardinality(String),
    policy           Array(String) CODEC(ZSTD(1)),
    mx_hosts         Array(String) CODEC(ZSTD(1)),
    successful       Int64 CODEC(T64, ZSTD(1)),
    failed           Int64 CODEC(T64, ZSTD(1)),
    result_type      LowCardinality(String),
    sending_ip       String CODEC(ZSTD(1)),
    receiving_mx     LowCardinality(String),
    receiving_ip     String CODEC(ZSTD(1)),
    failed_sessions  Int64 CODEC(T64, ZSTD(1)),
    reason           String CODEC(ZSTD(1)),
    detail           String CODEC(ZSTD(1)),
    mail_id          FixedString(16) CODEC(ZSTD(1)),
    landed           DateTime64(3, 'UTC') DEFAULT now64(3) CODEC(Delta, ZSTD(1)),
    version          UInt64 MATERIALIZED
        bitOr(bitShiftLeft(toUInt64(greatest(toUnixTimestamp64Milli(received_time), 0)), 20), sipHash64(mail_id) % 1048576)
)
ENGINE = ReplacingMergeTree(version)
ORDER BY (policy_domain, begin_time, reporter, report_id, row);

-- One row per record of a DMARC aggregate report. `messages` is a weight, to be summed. `source`: the domain that signed,
-- else the one that passed SPF, else the IP address. Spans longer than a day are kept as spans.
CREATE OR REPLACE VIEW dmarc_records AS
SELECT
    r.policy_domain AS policy_domain,
    r.header_from AS header_from,
    r.source_ip AS source_ip,
    r.count AS messages,
    r.aligned AS aligned,
    r.disposition AS disposition,
    r.dkim AS dkim,
    r.spf AS spf,
    r.begin_time AS begin_time,
    r.end_time AS end_time,
    r.reporter AS reporter,
    r.source AS source,
    r.authenticated AS authenticated,
    r.forwarded AS forwarded,
    r.overrides AS overrides,
    r.envelope_from AS envelope_from,
    r.envelope_to AS envelope_to,
    r.dkim_results AS dkim_results,
    r.spf_results AS spf_results,
    r.policy AS policy,
    r.report_id AS report_id,
    r.row AS row,
    r.reporter_email AS reporter_email,
    r.tenant AS tenant,
    r.received_time AS received_time,
    lower(hex(r.mail_id)) AS mail_id
FROM dmarc_rows AS r FINAL;

-- Who sends as us: one row per domain in From and source address; policy_domain is the domain of ours whose policy it
-- fell under. alignment: 'all', 'some' or 'none' of its messages. failing: neither aligned nor told to be forwarded.
-- delivered: what the receiver neither quarantined nor rejected. authenticated: domains it proved to speak for.
CREATE OR REPLACE VIEW dmarc_sources AS
SELECT
    r.header_from AS header_from,
    r.source_ip AS source_ip,
    arraySort(groupUniqArrayArray(r.authenticated)) AS authenticated,
    multiIf(aligned = messages, 'all', aligned = 0, 'none', 'some') AS alignment,
    sum(r.count) AS messages,
    sumIf(r.count, r.aligned) AS aligned,
    sumIf(r.count, NOT r.aligned AND NOT r.forwarded) AS failing,
    sumIf(r.count, NOT r.aligned AND r.forwarded) AS forwarded,
    sumIf(r.count, r.disposition NOT IN ('quarantine', 'reject')) AS delivered,
    sumIf(r.count, r.disposition = 'quarantine') AS quarantined,
    sumIf(r.count, r.disposition = 'reject') AS rejected,
    min(r.begin_time) AS first_seen,
    max(r.end_time) AS last_seen,
    if(aligned = 0, NULL, minIf(r.begin_time, r.aligned)) AS first_aligned,
    r.policy_domain AS policy_domain,
    uniqExact(r.reporter) AS reporters,
    count() AS records
FROM dmarc_rows AS r FINAL
WHERE r.count > 0
GROUP BY r.header_from, r.source_ip, r.policy_domain;

-- Rows of SMTP TLS reports. Where result_type is empty a row has the counts of one policy (successful, failed); else one
-- kind of failure under it (failed_sessions), which `failed` of the policy's row counts already. Each column can be summed.
CREATE OR REPLACE VIEW tls_reports AS
SELECT
    r.policy_domain AS policy_domain,
    r.policy_type AS policy_type,
    r.successful AS successful,
    r.failed AS failed,
    r.result_type AS result_type,
    r.failed_sessions AS failed_sessions,
    r.begin_time AS begin_time,
    r.end_time AS end_time,
    r.reporter AS reporter,
    r.sending_ip AS sending_ip,
    r.receiving_mx AS receiving_mx,
    r.receiving_ip AS receiving_ip,
    r.reason AS reason,
    r.detail AS detail,
    r.policy AS policy,
    r.mx_hosts AS mx_hosts,
    r.contact AS contact,
    r.report_id AS report_id,
    r.row AS row,
    r.tenant AS tenant,
    r.received_time AS received_time,
    lower(hex(r.mail_id)) AS mail_id
FROM tls_rows AS r FINAL;

-- One row per message that a DMARC failure report (RFC 6591, RFC 9991) tells of. Aggregate reports count it too. ses_id:
-- SES's id of the message that failed, as far as the report shows it: then it was ours indeed.
CREATE OR REPLACE VIEW dmarc_failures AS
SELECT
    f.domain AS reported_domain,
    f.source_ip AS source_ip,
    f.bounce_subtype AS auth_failure,
    f.action AS delivery_result,
    f.smtp_reply AS authentication_results,
    f.time AS time,
    m.from_domain AS reporter,
    f.user_agent AS user_agent,
    f.ses_id AS ses_id,
    f.message_id AS message_id,
    m.to_tenant AS tenant,
    m.received_time AS received_time,
    m.mail_id AS mail_id
FROM mails AS m
ARRAY JOIN m.feedback AS f
WHERE m.kind = 'dmarc' AND f.complaint_type = 'auth-failure';
