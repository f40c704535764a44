-- Incidents: what has become of each alarm key from one opening to its end. rate, limit, e_value, summary and driver
-- are of the last transition that had evidence for them; severity is the worst. resolved_time NULL: it is open.
-- driver: "factor value" of what stands out most, empty where nothing does or where it is not known yet.
CREATE OR REPLACE VIEW incidents AS
SELECT
    alarm_key,
    incident,
    state,
    severity,
    signal,
    dimension,
    value,
    opened_time,
    changed_time,
    if(state IN ('firing', 'recovering'), NULL, changed_time) AS resolved_time,
    told.1 AS rate,
    told.2 AS limit,
    told.3 AS e_value,
    JSONExtract(told.4, 'rate_low', 'Nullable(Float64)') AS rate_low,
    JSONExtract(told.4, 'rate_high', 'Nullable(Float64)') AS rate_high,
    JSONExtractString(told.4, 'summary') AS summary,
    trimLeft(concat(
        JSONExtractString(told.4, 'drivers', 1, 'factor'), ' ', JSONExtractString(told.4, 'drivers', 1, 'value')))
        AS driver,
    acknowledged_by,
    if(toUnixTimestamp64Milli(silenced) = 0, NULL, silenced) AS silenced_until,
    cause,
    transitions
FROM
(
    SELECT
        r.alarm_key AS alarm_key,
        r.incident AS incident,
        argMax(r.state, r.seq) AS state,
        argMax(r.severity, r.seq) AS severity,
        any(r.signal) AS signal,
        any(r.dimension) AS dimension,
        any(r.value) AS value,
        max(r.opened_time) AS opened_time,
        max(r.time) AS changed_time,
        argMaxIf(tuple(r.rate, r.limit, r.e_value, r.evidence), r.seq, r.proven) AS told,
        argMaxIf(r.operator, r.seq, r.cause = 'acknowledged') AS acknowledged_by,
        argMax(r.silenced_until, r.seq) AS silenced,
        argMax(r.cause, r.seq) AS cause,
        count() AS transitions
    FROM (SELECT *, cause IN ('evidence', 'escalated', 'relapse') AS proven FROM alarm_rows FINAL) AS r
    WHERE r.incident > 0
    GROUP BY r.alarm_key, r.incident
);
