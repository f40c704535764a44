-- What received mail (DSN, ARF) says of a message that SES has said itself, or that another report has: such events
-- are among `events` and count nothing. Leave them out where events are counted by hand. A report is about a recipient
-- of a message, or of a complaint about the message, in the hour in which that was sent.
CREATE OR REPLACE VIEW repeated_reports AS
SELECT event_id, event_type, origin, message_id, sent_time
FROM
(
    SELECT
        event_id, event_type, origin, message_id, sent_time, report,
        max(NOT report) OVER (PARTITION BY hour, event_type, message_id, who) AS said,
        row_number() OVER (PARTITION BY hour, event_type, message_id, who, report
            ORDER BY bounce_type = 'Permanent' DESC, blocked DESC, event_id) AS number
    FROM
    (
        SELECT
            event_id, event_type, origin, message_id, sent_time, bounce_type, r.blocked AS blocked,
            toStartOfHour(sent_time) AS hour,
            origin IN ('dsn', 'arf') AS report,
            if(event_type = 'Bounce', lower(r.address), '') AS who,
            bounce_subtype IN ('OnAccountSuppressionList', 'OnTenantSuppressionList') AS kept_back,
            if(event_type = 'Bounce',
                n > 0 AND (report OR kept_back OR bounce_type = 'Permanent'
                    OR bounce_type IN ('Transient', 'Undetermined') AND NOT out_of_office),
                n <= 1 AND complaint_type != 'not-spam'
                    AND complaint_subtype NOT IN ('OnAccountSuppressionList', 'OnTenantSuppressionList')) AS counts
        FROM
        (
            SELECT * FROM events
            WHERE event_type IN ('Bounce', 'Complaint')
                AND message_id IN (SELECT message_id FROM event_rows WHERE origin IN ('dsn', 'arf'))
        )
        LEFT ARRAY JOIN recipients AS r, arrayEnumerate(recipients) AS n
    )
    WHERE counts
)
WHERE report AND (said OR number > 1);
