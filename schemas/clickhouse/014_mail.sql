-- Every copy of every mail received, merged by identity as in event_rows: every aggregate here ends the same whatever
-- the order and repetition of inserts. What is known of a mail's thread comes into the same rows, by way of
-- thread_rows, so that no question about mails needs a join; until the mail itself has come, such a row is no mail.
-- Its key has no order in time, for copies may differ in when they were received: small granules let indexes find the
-- few rows that a question is about.
CREATE TABLE IF NOT EXISTS mail_rows
(
    mail_id                 FixedString(16),
    received_time           DateTime64(3, 'UTC') EPHEMERAL,
    kind                    String EPHEMERAL,
    kind_reason             String EPHEMERAL,
    verdicts                Tuple(
        spf String, dkim String, dmarc String, spam String, virus String, dmarc_policy String) EPHEMERAL,
    path                    String EPHEMERAL,
    arrival_id              Int64 EPHEMERAL,
    -- The earliest of what copies say; a copy that says nothing has the greatest.
    received                SimpleAggregateFunction(min, DateTime64(3, 'UTC'))
        DEFAULT if(received_time = toDateTime64(0, 3, 'UTC'), toDateTime64('2299-12-31', 3, 'UTC'), received_time)
        CODEC(ZSTD(1)),
    -- 'other' is empty here, so that any kind beats it: it also is what a mail is that could not be read. The reason
    -- has the kind before it, for it goes with it.
    told                    SimpleAggregateFunction(max, LowCardinality(String)) DEFAULT if(kind = 'other', '', kind),
    reason                  SimpleAggregateFunction(max, String)
        DEFAULT concat(if(kind = 'other', '', kind), ':', kind_reason) CODEC(ZSTD(1)),
    message_id              SimpleAggregateFunction(max, String) CODEC(ZSTD(1)),
    ses_id                  SimpleAggregateFunction(max, String) CODEC(ZSTD(1)),
    account                 SimpleAggregateFunction(max, LowCardinality(String)),
    region                  SimpleAggregateFunction(max, LowCardinality(String)),
    tenant                  SimpleAggregateFunction(max, LowCardinality(String)),
    from_address            SimpleAggregateFunction(max, String) CODEC(ZSTD(1)),
    from_domain             SimpleAggregateFunction(max, LowCardinality(String)),
    envelope_from           SimpleAggregateFunction(max, String) CODEC(ZSTD(1)),
    envelope_domain         SimpleAggregateFunction(max, LowCardinality(String)),
    recipients              SimpleAggregateFunction(max, Array(Tuple(address String, domain String))) CODEC(ZSTD(1)),
    subject                 SimpleAggregateFunction(max, String) CODEC(ZSTD(1)),
    base_subject            SimpleAggregateFunction(max, String) CODEC(ZSTD(1)),
    date                    SimpleAggregateFunction(max, DateTime64(3, 'UTC')) CODEC(ZSTD(1)),
    in_reply_to             SimpleAggregateFunction(max, Array(String)) CODEC(ZSTD(1)),
    `references`            SimpleAggregateFunction(max, Array(String)) CODEC(ZSTD(1)),
    conversations           SimpleAggregateFunction(max, Array(String)) CODEC(ZSTD(1)),
    spf                     SimpleAggregateFunction(max, LowCardinality(String))
        DEFAULT tupleElement(verdicts, 'spf'),
    dkim                    SimpleAggregateFunction(max, LowCardinality(String))
        DEFAULT tupleElement(verdicts, 'dkim'),
    dmarc                   SimpleAggregateFunction(max, LowCardinality(String))
        DEFAULT tupleElement(verdicts, 'dmarc'),
    spam                    SimpleAggregateFunction(max, LowCardinality(String))
        DEFAULT tupleElement(verdicts, 'spam'),
    virus                   SimpleAggregateFunction(max, LowCardinality(String))
        DEFAULT tupleElement(verdicts, 'virus'),
    dmarc_policy            SimpleAggregateFunction(max, LowCardinality(String))
        DEFAULT tupleElement(verdicts, 'dmarc_policy'),
    authentication_results  SimpleAggregateFunction(max, Array(String)) CODEC(ZSTD(1)),
    relay                   SimpleAggregateFunction(max, LowCardinality(String)),
    originator_org          SimpleAggregateFunction(max, LowCardinality(String)),
    attachments             SimpleAggregateFunction(max, Array(Tuple(
        name String, content_type String, size Int64, sha256 String, key String, inline Bool))) CODEC(ZSTD(1)),
    feedback                SimpleAggregateFunction(max, Array(Tuple(
        event_type String, ses_id String, message_id String, address String, domain String, provider String,
        reports_complaints Bool, blocked Bool, bounce_type String, bounce_subtype String, complaint_type String,
        action String, status String, smtp_reply String, reporting_mta String, remote_mta_ip String,
        user_agent String, source_ip String, time DateTime64(3, 'UTC')))) CODEC(ZSTD(1)),
    unsubscribes            SimpleAggregateFunction(max, Array(String)) CODEC(ZSTD(1)),
    automatic               SimpleAggregateFunction(max, Bool),
    size                    SimpleAggregateFunction(max, Int64) CODEC(T64, ZSTD(1)),
    parts                   SimpleAggregateFunction(max, Int32) CODEC(T64, ZSTD(1)),
    object                  SimpleAggregateFunction(max, String) CODEC(ZSTD(1)),
    defects                 SimpleAggregateFunction(groupUniqArrayArray, Array(String)),
    paths                   SimpleAggregateFunction(groupUniqArrayArray, Array(String)) DEFAULT [path],
    arrivals                SimpleAggregateFunction(groupUniqArrayArray, Array(Int64)) DEFAULT [arrival_id],
    mail                    SimpleAggregateFunction(max, Bool) DEFAULT true,
    -- From thread_rows. '~' is greater than any: none is known.
    thread_id               SimpleAggregateFunction(min, String) DEFAULT '~' CODEC(ZSTD(1)),
    answer                  SimpleAggregateFunction(min, String) DEFAULT '~' CODEC(ZSTD(1)),
    answers                 String ALIAS substring(answer, 6, position(answer, '\0') - 6),
    answered_campaign       String ALIAS substring(answer, position(answer, '\0') + 16),
    answered_time           DateTime64(3, 'UTC')
        ALIAS fromUnixTimestamp64Milli(toInt64OrZero(substring(answer, position(answer, '\0') + 1, 14)), 'UTC'),
    -- As in event_rows: what is replayed may be old, and new to the worker all the same.
    landed                  SimpleAggregateFunction(max, DateTime64(3, 'UTC')) DEFAULT now64(3) CODEC(Delta, ZSTD(1)),
    INDEX mail_ids lower(hex(mail_id)) TYPE bloom_filter(0.01) GRANULARITY 1,
    INDEX message_ids message_id TYPE bloom_filter(0.01) GRANULARITY 1,
    INDEX thread_ids thread_id TYPE bloom_filter(0.01) GRANULARITY 1,
    INDEX answered_ids substring(answer, 6, position(answer, '\0') - 6) TYPE bloom_filter(0.01) GRANULARITY 1,
    -- As the view `mails` has it.
    INDEX known_thread_ids if(thread_id = '~', '', thread_id) TYPE bloom_filter(0.01) GRANULARITY 1
)
ENGINE = AggregatingMergeTree
ORDER BY mail_id
SETTINGS index_granularity = 512;

-- What a thread wants to know of each message sent: of every Send event, whether anything answers it or not.
CREATE TABLE IF NOT EXISTS outbound_rows
(
    message_id         String CODEC(ZSTD(1)),
    sent_time          DateTime64(3, 'UTC') CODEC(Delta, ZSTD(1)),
    header_message_id  SimpleAggregateFunction(max, String) CODEC(ZSTD(1)),
    tenant             SimpleAggregateFunction(max, LowCardinality(String)),
    account            SimpleAggregateFunction(max, LowCardinality(String)),
    region             SimpleAggregateFunction(max, LowCardinality(String)),
    configuration_set  SimpleAggregateFunction(max, LowCardinality(String)),
    from_domain        SimpleAggregateFunction(max, LowCardinality(String)),
    feedback_a         SimpleAggregateFunction(max, LowCardinality(String)),
    feedback_b         SimpleAggregateFunction(max, LowCardinality(String)),
    feedback_c         SimpleAggregateFunction(max, LowCardinality(String)),
    campaign           SimpleAggregateFunction(max, LowCardinality(String)),
    subject            SimpleAggregateFunction(max, String) CODEC(ZSTD(1)),
    base_subject       SimpleAggregateFunction(max, String) CODEC(ZSTD(1)),
    in_reply_to        SimpleAggregateFunction(max, Array(String)) CODEC(ZSTD(1)),
    `references`       SimpleAggregateFunction(max, Array(String)) CODEC(ZSTD(1)),
    conversations      SimpleAggregateFunction(max, Array(String)) CODEC(ZSTD(1)),
    recipients         SimpleAggregateFunction(max, Array(Int32)) CODEC(ZSTD(1)),
    landed             SimpleAggregateFunction(max, DateTime64(3, 'UTC')) DEFAULT now64(3) CODEC(Delta, ZSTD(1)),
    INDEX message_ids message_id TYPE bloom_filter(0.01) GRANULARITY 1,
    INDEX header_message_ids header_message_id TYPE bloom_filter(0.01) GRANULARITY 1
)
ENGINE = AggregatingMergeTree
PARTITION BY toYYYYMM(sent_time)
ORDER BY (sent_time, message_id);

-- The members of threads. Whatever is said of one at different times merges to the least thread, and to the answer
-- of the least rank. `member` is 'in:' and the mail's id (hex), or 'out:' and SES's id of a message sent.
CREATE TABLE IF NOT EXISTS thread_rows
(
    member      String CODEC(ZSTD(1)),
    rank        Int32 EPHEMERAL,
    message_id  String EPHEMERAL,
    campaign    String EPHEMERAL,
    sent_time   DateTime64(3, 'UTC') EPHEMERAL,
    tenant      SimpleAggregateFunction(max, LowCardinality(String)),
    thread_id   SimpleAggregateFunction(min, String) CODEC(ZSTD(1)),
    direction   SimpleAggregateFunction(max, LowCardinality(String)),
    time        SimpleAggregateFunction(min, DateTime64(3, 'UTC')) CODEC(ZSTD(1)),
    kind        SimpleAggregateFunction(max, LowCardinality(String)),
    automatic   SimpleAggregateFunction(max, Bool),
    -- One value, for it goes together: rank (5 digits), message_id, NUL, sent_time (14 digits of ms), 1 if
    -- there is no campaign, else 0 (so that of the same message a campaign beats none), campaign.
    answer      SimpleAggregateFunction(min, String)
        DEFAULT concat(lpad(toString(rank), 5, '0'), message_id, '\0',
            lpad(toString(greatest(toUnixTimestamp64Milli(sent_time), 0)), 14, '0'), toString(campaign = ''), campaign)
        CODEC(ZSTD(1)),
    answers     String ALIAS substring(answer, 6, position(answer, '\0') - 6),
    answered_campaign  String ALIAS substring(answer, position(answer, '\0') + 16),
    answered_time  DateTime64(3, 'UTC')
        ALIAS fromUnixTimestamp64Milli(toInt64OrZero(substring(answer, position(answer, '\0') + 1, 14)), 'UTC'),
    INDEX thread_ids thread_id TYPE bloom_filter(0.01) GRANULARITY 1
)
ENGINE = AggregatingMergeTree
ORDER BY member
SETTINGS index_granularity = 512;

CREATE MATERIALIZED VIEW IF NOT EXISTS mails_of_threads TO mail_rows AS
SELECT
    toFixedString(unhex(substring(member, 4)), 16) AS mail_id,
    if(time = toDateTime64(0, 3, 'UTC'), toDateTime64('2299-12-31', 3, 'UTC'), time) AS received,
    false AS mail,
    '' AS reason,
    emptyArrayString() AS paths,
    emptyArrayInt64() AS arrivals,
    thread_id,
    answer
FROM thread_rows
WHERE direction = 'in';

-- One row per mail received, whatever copies of it have come. mail_id: hex. `answers`: SES's id of the message of
-- ours that it answers, with that message's campaign and time; thread_id: empty until the worker has joined it.
CREATE OR REPLACE VIEW mails AS
SELECT
    lower(hex(r.mail_id)) AS mail_id,
    if(r.received = toDateTime64('2299-12-31', 3, 'UTC'), toDateTime64(0, 3, 'UTC'), r.received) AS received_time,
    if(r.told = '', 'other', r.told) AS kind,
    r.message_id AS message_id,
    r.from_domain AS from_domain,
    r.tenant AS to_tenant,
    r.subject AS subject,
    CAST((r.spf, r.dkim, r.dmarc, r.spam, r.virus, r.dmarc_policy)
        AS Tuple(spf String, dkim String, dmarc String, spam String, virus String, dmarc_policy String)) AS verdicts,
    r.attachments AS attachments,
    if(r.thread_id = '~', '', r.thread_id) AS thread_id,
    r.from_address AS from_address,
    r.envelope_from AS envelope_from,
    r.envelope_domain AS envelope_domain,
    r.recipients AS recipients,
    r.in_reply_to AS in_reply_to,
    r.references AS references,
    r.answers AS answers,
    r.answered_campaign AS campaign,
    if(r.answers = '', NULL, r.answered_time) AS answered_sent_time,
    r.conversations AS conversations,
    r.relay AS relay,
    r.originator_org AS originator_org,
    substring(r.reason, position(r.reason, ':') + 1) AS kind_reason,
    r.automatic AS automatic,
    r.feedback AS feedback,
    r.unsubscribes AS unsubscribes,
    r.authentication_results AS authentication_results,
    r.base_subject AS base_subject,
    if(r.date = toDateTime64(0, 3, 'UTC'), NULL, r.date) AS date,
    r.ses_id AS ses_id,
    r.account AS account,
    r.region AS region,
    r.size AS size,
    r.parts AS parts,
    r.object AS object,
    arraySort(r.defects) AS defects,
    arraySort(r.paths) AS paths,
    length(r.arrivals) AS arrivals
FROM mail_rows AS r FINAL
WHERE r.mail;

-- One row per message sent, as far as threads want to know of it.
CREATE OR REPLACE VIEW outbound_messages AS
SELECT
    r.message_id AS message_id,
    r.sent_time AS sent_time,
    r.campaign AS campaign,
    r.subject AS subject,
    r.header_message_id AS header_message_id,
    r.tenant AS tenant,
    r.account AS account,
    r.region AS region,
    r.configuration_set AS configuration_set,
    r.from_domain AS from_domain,
    r.feedback_a AS feedback_a,
    r.feedback_b AS feedback_b,
    r.feedback_c AS feedback_c,
    r.base_subject AS base_subject,
    r.in_reply_to AS in_reply_to,
    r.references AS references,
    r.conversations AS conversations
FROM outbound_rows AS r FINAL
SETTINGS do_not_merge_across_partitions_select_final = 1;

-- One row per message that is in a thread: received (direction 'in') or sent ('out'). For 'in', message_id, campaign
-- and sent_time are of the message of ours that it answers; for 'out' of itself.
CREATE OR REPLACE VIEW thread_members AS
SELECT
    m.thread_id AS thread_id,
    m.received AS time,
    'in' AS direction,
    if(m.told = '', 'other', m.told) AS kind,
    m.automatic AS automatic,
    m.tenant AS tenant,
    m.subject AS subject,
    m.answers AS message_id,
    m.answered_campaign AS campaign,
    m.answered_time AS sent_time,
    concat('in:', lower(hex(m.mail_id))) AS member
FROM mail_rows AS m FINAL
WHERE m.thread_id != '~' AND m.mail
UNION ALL
SELECT
    t.thread_id,
    t.time,
    'out',
    '',
    false,
    t.tenant,
    '',
    t.answers,
    t.answered_campaign,
    t.answered_time,
    t.member
FROM thread_rows AS t FINAL
WHERE startsWith(t.member, 'out:');

-- One row per thread. outbound: messages of ours in it. campaign: of the earliest of them that has one.
-- time_to_first_reply: seconds from the first of them to the first reply after it that a person wrote; NULL: none.
-- subject: of the first mail received. replies: written by people; others: mails of no kind that has a column.
CREATE OR REPLACE VIEW threads AS
SELECT
    thread_id,
    campaign,
    first_time,
    last_time,
    outbound,
    inbound,
    if(empty(after), NULL, (toUnixTimestamp64Milli(arrayMin(after)) - toUnixTimestamp64Milli(first_sent)) / 1000)
        AS time_to_first_reply,
    tenant,
    subject,
    replies,
    auto_replies,
    bounces,
    complaints,
    unsubscribes,
    inbound - replies - auto_replies - bounces - complaints - unsubscribes AS others
FROM
(
    SELECT
        thread_id,
        argMinIf(campaign, (sent_time, message_id), campaign != '') AS campaign,
        min(time) AS first_time,
        max(time) AS last_time,
        countIf(direction = 'out') AS outbound,
        countIf(direction = 'in') AS inbound,
        minIf(time, direction = 'out') AS first_sent,
        arrayFilter(each -> outbound > 0 AND each >= first_sent, groupArrayIf(time, by_a_person)) AS after,
        max(tenant) AS tenant,
        argMinIf(subject, (time, member), direction = 'in') AS subject,
        countIf(by_a_person) AS replies,
        countIf(kind = 'auto_reply') AS auto_replies,
        countIf(kind = 'bounce') AS bounces,
        countIf(kind = 'complaint') AS complaints,
        countIf(kind = 'unsubscribe') AS unsubscribes
    FROM (SELECT *, kind = 'reply' AND NOT automatic AS by_a_person FROM thread_members)
    GROUP BY thread_id
);
