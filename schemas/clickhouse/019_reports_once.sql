-- As in 010, but for received reports.
-- The same for each campaign, configuration set, account and region, counted from the events themselves: name a
-- range of hours, of days rather than months. `share` is of what the campaign and configuration set sent in the
-- hour, by all regions and accounts. A received report (DSN, ARF) of what SES said itself is not counted again: there are
-- few, and an index of messages leads to what SES said of theirs.
CREATE OR REPLACE VIEW campaign_regions AS
SELECT
    hour,
    campaign,
    configuration_set,
    account,
    region,
    greatest(sent - suppressed, 0) AS sends,
    if(sum(sends) OVER cohort > 0, sends / sum(sends) OVER cohort, NULL) AS share,
    deliveries,
    eligible,
    complaints,
    if(eligible > 0, least(complaints / eligible, 1), NULL) AS complaint_rate,
    hard_bounces,
    if(sent > suppressed, least(hard_bounces / (sent - suppressed), 1), NULL) AS hard_bounce_rate,
    soft_bounces,
    delays,
    blocks,
    rejects
FROM
(
    WITH
        complaint_subtype IN ('OnAccountSuppressionList', 'OnTenantSuppressionList')
            OR bounce_subtype IN ('OnAccountSuppressionList', 'OnTenantSuppressionList') AS kept_back
    SELECT
        toStartOfHour(sent_time) AS hour,
        campaign,
        configuration_set,
        account,
        region,
        toInt64(sumIf(length(recipients), event_type = 'Send')) AS sent,
        toInt64(sumIf(length(recipients), event_type = 'Delivery')) AS deliveries,
        toInt64(sumIf(countEqual(recipients.reports_complaints, true), event_type = 'Delivery')) AS eligible,
        toInt64(countIf(event_type = 'Complaint' AND complaint_type != 'not-spam' AND NOT kept_back)) AS complaints,
        toInt64(sumIf(length(recipients), event_type = 'Bounce' AND bounce_type = 'Permanent' AND NOT kept_back))
            AS hard_bounces,
        toInt64(sumIf(length(recipients), event_type = 'Bounce' AND bounce_type IN ('Transient', 'Undetermined')
            AND NOT out_of_office)) AS soft_bounces,
        toInt64(sumIf(length(recipients), event_type IN ('Bounce', 'Complaint') AND kept_back)) AS suppressed,
        toInt64(sumIf(length(recipients), event_type = 'DeliveryDelay')) AS delays,
        toInt64(sumIf(countEqual(recipients.blocked, true), event_type IN ('Bounce', 'DeliveryDelay'))) AS blocks,
        toInt64(countIf(event_type = 'Reject')) AS rejects
    FROM event_rows FINAL
    WHERE campaign != '' AND region != '' AND event_id NOT IN
    (
        SELECT event_id
        FROM
        (
            SELECT
                event_id,
                origin IN ('dsn', 'arf') AND counts AS report,
                max(origin NOT IN ('dsn', 'arf') AND counts) OVER thing AS said,
                row_number() OVER (PARTITION BY toStartOfHour(sent_time), campaign, configuration_set, account, region,
                    event_type, message_id, who, origin IN ('dsn', 'arf') AND counts
                    ORDER BY bounce_type = 'Permanent' DESC, event_id) AS number
            FROM
            (
                SELECT
                    *,
                    if(event_type = 'Bounce',
                        origin IN ('dsn', 'arf') OR bounce_type = 'Permanent' OR kept_back
                            OR bounce_type IN ('Transient', 'Undetermined') AND NOT out_of_office,
                        complaint_type != 'not-spam' AND NOT kept_back) AS counts
                FROM event_rows FINAL
                PREWHERE event_type IN ('Bounce', 'Complaint')
                    AND message_id IN (SELECT message_id FROM event_rows WHERE origin IN ('dsn', 'arf'))
            )
            LEFT ARRAY JOIN if(event_type = 'Bounce', arrayMap(each -> lower(each), recipients.address), ['']) AS who
            WINDOW thing AS (PARTITION BY toStartOfHour(sent_time), campaign, configuration_set, account, region,
                event_type, message_id, who)
        )
        WHERE report AND (said OR number > 1)
    )
    GROUP BY hour, campaign, configuration_set, account, region
)
WINDOW cohort AS (PARTITION BY hour, campaign, configuration_set);
