-- As before, with what came back. Each counts in the hour in which the message that it answers was sent, be there
-- other counters for that hour or not.
--   replies              mails that people wrote in answer to a message of the campaign
--   reply_rate           of its deliveries; of several replies to one message each counts
--   time_to_first_reply  median over the messages that got a reply: seconds until their first one
--   out_of_office        automatic replies
-- The columns that begin with gmail_ are Google's own figures for the UTC day of the hour, the same in all hours of
-- that day, and NULL where Google gives none. They are not the ratio of the other columns: Gmail reports no complaint
-- to SES, and divides by mail that it put into inboxes.
--   gmail_fbl_spam_rate     feedback-loop spam rate of the identifier that equals the campaign; of several domains
--                           the worst, for Google gives no volumes to weigh them by
--   gmail_fbl_domain        the domain that has that rate
--   gmail_domain_spam_rate  the spam rate of all mail of that domain
CREATE OR REPLACE VIEW campaign_health AS
SELECT
    r.campaign AS campaign,
    r.hour AS hour,
    r.sends AS sends,
    r.deliveries AS deliveries,
    r.eligible AS eligible,
    r.complaints AS complaints,
    r.complaint_rate AS complaint_rate,
    r.complaint_rate_low AS complaint_rate_low,
    r.complaint_rate_high AS complaint_rate_high,
    r.hard_bounces AS hard_bounces,
    r.hard_bounce_rate AS hard_bounce_rate,
    r.soft_bounces AS soft_bounces,
    r.opens AS opens,
    r.clicks AS clicks,
    r.machine_opens AS machine_opens,
    r.unsubscribes AS unsubscribes,
    r.replies AS replies,
    g.fbl_spam_rate AS gmail_fbl_spam_rate,
    g.fbl_domain AS gmail_fbl_domain,
    g.domain_spam_rate AS gmail_domain_spam_rate,
    if(r.deliveries > 0, least(r.replies / r.deliveries, 1), NULL) AS reply_rate,
    r.time_to_first_reply AS time_to_first_reply,
    r.out_of_office AS out_of_office,
    if(r.deliveries > 0, least(r.out_of_office / r.deliveries, 1), NULL) AS out_of_office_rate
FROM
(
    -- At most one row of each kind: adding them up is joining them, and conditions reach both.
    SELECT
        campaign,
        hour,
        sum(sends) AS sends,
        sum(deliveries) AS deliveries,
        sum(eligible) AS eligible,
        sum(complaints) AS complaints,
        max(complaint_rate) AS complaint_rate,
        max(complaint_rate_low) AS complaint_rate_low,
        max(complaint_rate_high) AS complaint_rate_high,
        sum(hard_bounces) AS hard_bounces,
        max(hard_bounce_rate) AS hard_bounce_rate,
        sum(soft_bounces) AS soft_bounces,
        sum(opens) AS opens,
        sum(clicks) AS clicks,
        sum(machine_opens) AS machine_opens,
        sum(unsubscribes) AS unsubscribes,
        sum(replies) AS replies,
        max(time_to_first_reply) AS time_to_first_reply,
        sum(out_of_office) AS out_of_office
    FROM
    (
        SELECT
            value AS campaign,
            hour,
            sends,
            deliveries,
            eligible,
            complaints,
            complaint_rate,
            complaint_rate_low,
            complaint_rate_high,
            hard_bounces,
            hard_bounce_rate,
            soft_bounces,
            opens,
            clicks,
            machine_opens,
            unsubscribes,
            toUInt64(0) AS replies,
            CAST(NULL AS Nullable(Float64)) AS time_to_first_reply,
            toUInt64(0) AS out_of_office
        FROM rates
        WHERE dimension = 'campaign'
        UNION ALL
        SELECT
            campaign,
            hour,
            0, 0, 0, 0, NULL, NULL, NULL, 0, NULL, 0, 0, 0, 0, 0,
            sum(replies),
            quantileExactInclusiveIf(0.5)(waited, replies > 0),
            sum(out_of_office)
        FROM
        (
            SELECT
                answered_campaign AS campaign,
                toDateTime64(intDiv(toUnixTimestamp64Milli(answered_time), 3600000) * 3600, 0, 'UTC') AS hour,
                answers AS message_id,
                countIf(told = 'reply' AND NOT automatic) AS replies,
                minIf(greatest(toUnixTimestamp64Milli(received) - toUnixTimestamp64Milli(answered_time), 0) / 1000,
                    told = 'reply' AND NOT automatic) AS waited,
                countIf(told = 'auto_reply') AS out_of_office
            FROM mail_rows FINAL
            WHERE answered_campaign != '' AND mail
            GROUP BY campaign, hour, message_id
        )
        GROUP BY campaign, hour
        HAVING sum(replies) + sum(out_of_office) > 0
    )
    GROUP BY campaign, hour
) AS r
LEFT JOIN
(
    -- Nullable, for a row without a match has a column's default.
    SELECT
        f.identifier AS identifier,
        toDate32(f.day) AS day,
        toNullable(max((f.value, toString(f.domain), s.value)).1) AS fbl_spam_rate,
        toNullable(max((f.value, toString(f.domain), s.value)).2) AS fbl_domain,
        max((f.value, toString(f.domain), s.value)).3 AS domain_spam_rate
    FROM postmaster AS f
    LEFT JOIN
    (
        SELECT domain, day, toNullable(value) AS value FROM postmaster WHERE metric = 'spam_rate'
    ) AS s ON s.domain = f.domain AND s.day = f.day
    WHERE f.metric = 'feedback_loop_spam_rate'
    GROUP BY identifier, day
) AS g ON g.identifier = r.campaign AND g.day = toDate32(r.hour);
