-- How long rows are kept is a setting: `ses-streams migrate` gives the tables their TTL. Here is what does not depend on it.
-- Where a partition is a month, months go as a whole, which costs nothing; and a new TTL only marks the parts that
-- there are, it does not write them anew.
ALTER TABLE event_rows MODIFY SETTING ttl_only_drop_parts = 1, materialize_ttl_recalculate_only = 1;
ALTER TABLE outbound_rows MODIFY SETTING ttl_only_drop_parts = 1, materialize_ttl_recalculate_only = 1;
ALTER TABLE path_activity MODIFY SETTING materialize_ttl_recalculate_only = 1;
ALTER TABLE rate_rows MODIFY SETTING materialize_ttl_recalculate_only = 1;
ALTER TABLE mail_rows MODIFY SETTING materialize_ttl_recalculate_only = 1;
ALTER TABLE mail_forward_rows MODIFY SETTING materialize_ttl_recalculate_only = 1;
ALTER TABLE thread_rows MODIFY SETTING materialize_ttl_recalculate_only = 1;
ALTER TABLE dmarc_rows MODIFY SETTING materialize_ttl_recalculate_only = 1;
ALTER TABLE tls_rows MODIFY SETTING materialize_ttl_recalculate_only = 1;
ALTER TABLE dead_letter_rows MODIFY SETTING materialize_ttl_recalculate_only = 1;
ALTER TABLE postmaster_rows MODIFY SETTING materialize_ttl_recalculate_only = 1;

-- Events that were sent before `until` may have been dropped under a TTL that is not in force any more: what counts them
-- again may count less than there was.
CREATE TABLE IF NOT EXISTS event_horizons
(
    until DateTime64(3, 'UTC')
)
ENGINE = ReplacingMergeTree
ORDER BY until;
