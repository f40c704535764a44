-- Replies come from inbound mail. The columns that begin with gmail_ are Google's own figures for the UTC day of the
-- hour, the same in all hours of that day, and NULL where Google gives none. They are not the ratio of the other
-- columns: Gmail reports no complaint to SES, and divides by mail that it put into inboxes.
--   gmail_fbl_spam_rate     feedback-loop spam rate of the identifier that equals the campaign; of several domains
--                           the worst, for Google gives no volumes to weigh them by
--   gmail_fbl_domain        the domain that has that rate
--   gmail_domain_spam_rate  the spam rate of all mail of that domain
CREATE OR REPLACE VIEW campaign_health AS
SELECT
    r.value AS campaign,
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
    toUInt64(0) AS replies,
    g.fbl_spam_rate AS gmail_fbl_spam_rate,
    g.fbl_domain AS gmail_fbl_domain,
    g.domain_spam_rate AS gmail_domain_spam_rate
FROM rates AS r
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
) AS g ON g.identifier = r.value AND g.day = toDate32(r.hour)
WHERE r.dimension = 'campaign';
