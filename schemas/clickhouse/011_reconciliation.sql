-- Which kinds of event each path has brought in each cohort hour. Only whether, not how many: so it stays right
-- however often a row is inserted, and it is small.
CREATE TABLE IF NOT EXISTS path_activity
(
    path               LowCardinality(String),
    event_type         LowCardinality(String),
    account            LowCardinality(String),
    region             LowCardinality(String),
    -- Empty for a legacy notification: it comes without tags.
    configuration_set  LowCardinality(String),
    hour               DateTime('UTC') CODEC(Delta, ZSTD(1))
)
ENGINE = ReplacingMergeTree
ORDER BY (path, event_type, account, region, configuration_set, hour);

CREATE MATERIALIZED VIEW IF NOT EXISTS path_activity_of_events TO path_activity AS
SELECT DISTINCT
    arrayJoin(paths) AS path,
    event_type,
    account,
    region,
    configuration_set,
    toStartOfHour(sent_time) AS hour
FROM event_rows;

INSERT INTO path_activity
SELECT DISTINCT arrayJoin(paths), event_type, account, region, configuration_set, toStartOfHour(sent_time)
FROM event_rows;

-- The paths that should bring what another path brings, for each kind of event (account, region, configuration
-- set, type) and cohort hour: those that brought the kind in that hour or the seven days before, so that a path
-- that fails for hours is missed, and one that was set up later, removed a week ago or never carries the kind is
-- not. `file` is no standing path, but a replay: it is compared in the hours it has. Legacy notifications carry no
-- configuration set: they stand for all of them.
CREATE OR REPLACE VIEW path_watch AS
SELECT hour, account, region, configuration_set, event_type, arraySort(groupUniqArray(path)) AS active
FROM
(
    SELECT k.hour AS hour, k.account AS account, k.region AS region, k.configuration_set AS configuration_set,
        k.event_type AS event_type, k.path AS path, a.hour AS last
    FROM
    (
        SELECT
            hour, account, region, configuration_set, event_type, p.path AS path,
            arrayJoin(if(configuration_set = '', [''], [toString(configuration_set), ''])) AS carried
        FROM (SELECT DISTINCT hour, account, region, configuration_set, event_type FROM path_activity) AS h
        CROSS JOIN (SELECT DISTINCT path FROM path_activity) AS p
    ) AS k
    ASOF JOIN path_activity AS a
        ON a.path = k.path AND a.event_type = k.event_type AND a.account = k.account AND a.region = k.region
        AND a.configuration_set = k.carried AND k.hour >= a.hour
)
WHERE last > hour - INTERVAL 7 DAY AND (path != 'file' OR last = hour)
GROUP BY hour, account, region, configuration_set, event_type;

-- For each hour, kind of event and pair of paths: how many events both brought, and how many `other` brought and
-- `path` did not. (What only `path` brought is in the row with the two changed about.) Pairs of which one has
-- brought the kind neither then nor in the week before are no rows. Events of the last 20 minutes are left out:
-- Firehose gathers for up to 15. Ids: up to three of those missing.
CREATE OR REPLACE VIEW reconciliation AS
SELECT
    hour,
    path,
    other,
    event_type,
    account,
    region,
    configuration_set,
    sumIf(number, found) AS both,
    sumIf(number, NOT found) AS missing,
    missing / (both + missing) AS share_missing,
    arraySlice(arraySort(arrayFlatten(groupArrayIf(ids, NOT found))), 1, 3) AS missing_event_ids,
    arraySlice(arraySort(arrayFlatten(groupArrayIf(messages, NOT found))), 1, 3) AS missing_message_ids
FROM
(
    SELECT hour, account, region, configuration_set, event_type, number, ids, messages, other,
        arrayJoin(arrayFilter(each -> each != other, arrayDistinct(arrayConcat(active, paths)))) AS path,
        has(paths, path) AS found
    FROM
    (
        SELECT
            toStartOfHour(sent_time) AS hour, account, region, configuration_set, event_type, paths,
            arrayJoin(paths) AS other, count() AS number,
            groupArraySorted(3)(event_id) AS ids, groupArraySorted(3)(message_id) AS messages
        FROM events
        WHERE event_time < now() - INTERVAL 20 MINUTE
        GROUP BY hour, account, region, configuration_set, event_type, paths
    ) AS e
    INNER JOIN path_watch AS w USING (hour, account, region, configuration_set, event_type)
)
GROUP BY hour, path, other, event_type, account, region, configuration_set;

-- The events themselves: a row for each event and path that should have brought it and did not. `found`: where it
-- is.
CREATE OR REPLACE VIEW missing_events AS
SELECT
    path,
    hour,
    event_id,
    event_type,
    message_id,
    event_time,
    sent_time,
    account,
    region,
    configuration_set,
    paths AS found
FROM
(
    SELECT *, arrayJoin(arrayFilter(each -> NOT has(paths, each), active)) AS path
    FROM
    (
        SELECT toStartOfHour(sent_time) AS hour, event_id, event_type, message_id, event_time, sent_time, account,
            region, configuration_set, paths
        FROM events
        WHERE event_time < now() - INTERVAL 20 MINUTE
    ) AS e
    INNER JOIN path_watch AS w USING (hour, account, region, configuration_set, event_type)
);
