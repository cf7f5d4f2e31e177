-- For whoever reads the file with sqlite3; spotgate itself does not use them.
DROP VIEW IF EXISTS sessions;
DROP VIEW IF EXISTS events;

-- Everything that happened since the latest snapshot, as it was written.
CREATE VIEW events AS
SELECT position, datetime(at_ms / 1000, 'unixepoch') AS at, token,
       json_extract(CAST(payload AS TEXT), '$.event') AS event,
       json_extract(CAST(payload AS TEXT), '$.session') AS session,
       json_extract(CAST(payload AS TEXT), '$.seconds') AS seconds,
       CAST(payload AS TEXT) AS json
FROM journal;

-- Every session that is known, with where it stands. Times are UTC.
CREATE VIEW sessions AS
WITH
  -- as the latest snapshot had it, or as it was let in since
  begun (session, token, record) AS (
    SELECT json_extract(live.value, '$.session'), snapshot.token,
           json_set(live.value, '$.code', coalesce(json_extract(live.value, '$.code'), json_extract(CAST(payload AS TEXT), '$.code')))
    FROM snapshot, json_each(CAST(payload AS TEXT), '$.sessions') AS live
    UNION ALL
    SELECT json_extract(CAST(payload AS TEXT), '$.session'), token, CAST(payload AS TEXT)
    FROM journal WHERE json_extract(CAST(payload AS TEXT), '$.event') = 'admitted'
      AND position > ifnull((SELECT position FROM snapshot WHERE snapshot.token = journal.token), 0)
  ),
  -- the latest that its router said since
  latest (session, record, position) AS (
    SELECT session, json, max(position) FROM events WHERE event IN ('progressed', 'stopped') GROUP BY session
  ),
  live AS (
    SELECT begun.session, begun.token, 'live' AS state, begun.record,
           coalesce(latest.record, json_extract(begun.record, '$.reported')) AS report, NULL AS ended_ms, NULL AS counts
    FROM begun LEFT JOIN latest ON latest.session = begun.session
    WHERE begun.session NOT IN (SELECT session FROM closed)
  ),
  over AS (
    SELECT session, token, 'ended' AS state, json_extract(CAST(payload AS TEXT), '$.session') AS record,
           json_extract(CAST(payload AS TEXT), '$.session.reported') AS report, at_ms AS ended_ms,
           json_extract(CAST(payload AS TEXT), '$.counts') AS counts
    FROM closed
  )
SELECT session, state, token,
       json_extract(record, '$.code') AS code,
       json_extract(record, '$.mac') AS mac,
       json_extract(record, '$.contact.nas') AS nas,
       json_extract(record, '$.contact.nas_session') AS nas_session,
       json_extract(record, '$.contact.ip') AS ip,
       datetime(json_extract(record, '$.admitted_at') / 1000, 'unixepoch') AS admitted_at,
       datetime(ended_ms / 1000, 'unixepoch') AS ended_at,
       json_extract(record, '$.granted') AS session_timeout,
       coalesce(counts, json_extract(report, '$.seconds'), 0) AS seconds,
       json_extract(report, '$.input_octets') AS input_octets,
       json_extract(report, '$.output_octets') AS output_octets
FROM (SELECT * FROM live UNION ALL SELECT * FROM over);
