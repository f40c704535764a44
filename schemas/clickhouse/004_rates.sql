-- The newest counters of every dimension with their rates. Stored counters are raw; here sends leave out what SES
-- suppressed before sending. A row without any count (a repair took it back) is no row. Rates: NULL is no data.
CREATE OR REPLACE VIEW rates AS
SELECT
    r.dimension AS dimension,
    r.value AS value,
    r.hour AS hour,
    greatest(r.sends - r.suppressed, 0) AS sends,
    r.deliveries AS deliveries,
    r.eligible AS eligible,
    r.complaints AS complaints,
    if(r.eligible > 0, least(r.complaints / r.eligible, 1), NULL) AS complaint_rate,
    r.complaint_rate_low AS complaint_rate_low,
    r.complaint_rate_high AS complaint_rate_high,
    r.hard_bounces AS hard_bounces,
    if(r.sends > r.suppressed, least(r.hard_bounces / (r.sends - r.suppressed), 1), NULL) AS hard_bounce_rate,
    r.hard_bounce_rate_low AS hard_bounce_rate_low,
    r.hard_bounce_rate_high AS hard_bounce_rate_high,
    r.soft_bounces AS soft_bounces,
    r.opens AS opens,
    r.clicks AS clicks,
    r.machine_opens AS machine_opens,
    r.unsubscribes AS unsubscribes,
    r.suppressed AS suppressed,
    r.rejects AS rejects,
    r.rendering_failures AS rendering_failures,
    r.delays AS delays,
    r.blocks AS blocks
FROM rate_rows AS r FINAL
WHERE r.sends + r.deliveries + r.eligible + r.complaints + r.hard_bounces + r.soft_bounces + r.suppressed + r.rejects
    + r.rendering_failures + r.delays + r.opens + r.clicks + r.machine_opens + r.unsubscribes + r.blocks > 0;

-- Replies come from inbound mail.
CREATE OR REPLACE VIEW campaign_health AS
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
    toUInt64(0) AS replies
FROM rates
WHERE dimension = 'campaign';
