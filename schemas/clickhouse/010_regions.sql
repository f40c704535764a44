-- Regions side by side, all accounts together: one row per hour and region, from the counters. A region that has
-- sent within the week before has a row in every hour in which any region sent, so that traffic that left it shows
-- as a share of 0, not as an absent row. Shares are of the sends of all regions; NULL where nobody sent. `moved_…`
-- is the hour's share less that of the 24 hours, or 7 days, before the hour: 0.2 is 20 points more than before.
CREATE OR REPLACE VIEW region_health AS
SELECT
    hour,
    region,
    sends,
    share,
    sends_before_24h,
    share_24h,
    share - share_24h AS moved_24h,
    share_7d,
    share - share_7d AS moved_7d,
    deliveries,
    eligible,
    complaints,
    complaint_rate,
    complaint_rate_low,
    complaint_rate_high,
    hard_bounces,
    hard_bounce_rate,
    hard_bounce_rate_low,
    hard_bounce_rate_high,
    soft_bounces,
    delays,
    blocks,
    rejects
FROM
(
    SELECT
        *,
        if(all_sends > 0, sends / all_sends, NULL) AS share,
        if(all_before_24h > 0, sends_before_24h / all_before_24h, NULL) AS share_24h,
        if(all_before_7d > 0, sends_before_7d / all_before_7d, NULL) AS share_7d
    FROM
    (
        SELECT
            *,
            sum(sends) OVER (PARTITION BY region ORDER BY number RANGE BETWEEN 24 PRECEDING AND 1 PRECEDING)
                AS sends_before_24h,
            sum(sends) OVER (PARTITION BY region ORDER BY number RANGE BETWEEN 168 PRECEDING AND 1 PRECEDING)
                AS sends_before_7d,
            sum(all_sends) OVER (PARTITION BY region ORDER BY number RANGE BETWEEN 24 PRECEDING AND 1 PRECEDING)
                AS all_before_24h,
            sum(all_sends) OVER (PARTITION BY region ORDER BY number RANGE BETWEEN 168 PRECEDING AND 1 PRECEDING)
                AS all_before_7d
        FROM
        (
            SELECT
                h.hour AS hour,
                intDiv(toUnixTimestamp64Milli(toDateTime64(h.hour, 3, 'UTC')), 3600000) AS number,
                g.region AS region,
                k.* EXCEPT (dimension, value, hour),
                sum(k.sends) OVER (PARTITION BY h.hour) AS all_sends
            FROM (SELECT DISTINCT hour FROM rates WHERE dimension = 'region') AS h
            CROSS JOIN (SELECT DISTINCT value AS region FROM rates WHERE dimension = 'region') AS g
            LEFT JOIN (SELECT * FROM rates WHERE dimension = 'region') AS k
                ON k.hour = h.hour AND k.value = g.region
        )
    )
    WHERE sends + sends_before_7d + deliveries + complaints + hard_bounces + soft_bounces + delays + rejects > 0
);

-- The same for each campaign, configuration set, account and region, counted from the events themselves: name a
-- range of hours, of days rather than months. `share` is of what the campaign and configuration set sent in the
-- hour, by all regions and accounts.
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
    WHERE campaign != '' AND region != ''
    GROUP BY hour, campaign, configuration_set, account, region
)
WINDOW cohort AS (PARTITION BY hour, campaign, configuration_set);

-- Where the traffic of each campaign moved: the share of its messages by account and region in the last day there
-- is, against the seven days before. SES Global endpoints split traffic evenly and weight it away from a region in
-- trouble. Messages (Send events), not recipients, for it is messages that are routed. NULL: nothing to compare.
CREATE OR REPLACE VIEW region_shifts AS
SELECT
    campaign,
    configuration_set,
    account,
    region,
    messages_24h,
    if(all_24h > 0, messages_24h / all_24h, NULL) AS share_24h,
    messages_before,
    if(all_before > 0, messages_before / all_before, NULL) AS share_before,
    share_24h - share_before AS moved,
    all_24h,
    all_before
FROM
(
    SELECT
        *,
        sum(messages_24h) OVER (PARTITION BY campaign, configuration_set) AS all_24h,
        sum(messages_before) OVER (PARTITION BY campaign, configuration_set) AS all_before
    FROM
    (
        WITH (SELECT max(sent_time) FROM event_rows WHERE sent_time <= now64(3)) AS newest
        SELECT
            campaign,
            configuration_set,
            account,
            region,
            countIf(sent_time > newest - INTERVAL 24 HOUR) AS messages_24h,
            countIf(sent_time <= newest - INTERVAL 24 HOUR) AS messages_before
        FROM event_rows FINAL
        WHERE event_type = 'Send' AND campaign != '' AND region != ''
            AND sent_time > newest - INTERVAL 8 DAY AND sent_time <= newest
        GROUP BY campaign, configuration_set, account, region
    )
);
