-- For whoever reads the file with sqlite3; spotgate itself does not use them.
DROP VIEW IF EXISTS sessions;
DROP VIEW IF EXISTS events;

-- Everything that happened since the latest snapshot, as it was written. Times are UTC.
CREATE VIEW events AS
SELECT position, datetime(at_ms / 1000, 'unixepoch') AS at, token,
       json_extract(CAST(payload AS TEXT), '$.event') AS event,
       json_extract(CAST(payload AS TEXT), '$.session') AS session,
       coalesce(json_extract(CAST(payload AS TEXT), '$.seconds'),
                json_extract(CAST(payload AS TEXT), '$.counts')) AS seconds,
       CAST(payload AS TEXT) AS json
FROM journal;

-- Every session that is kept, with what its router last said of it. Its state is as in GET /v1/sessions; times are UTC.
CREATE VIEW sessions AS
WITH
  -- what each token stood at
  stood (token, position, json) AS (SELECT token, position, CAST(payload AS TEXT) FROM snapshot),
  -- what happened to it since
  since AS (
    SELECT events.* FROM events LEFT JOIN snapshot ON snapshot.token = events.token
    WHERE events.position > (SELECT position FROM covered) AND events.position > ifnull(snapshot.position, 0)
  ),
  heard (session, seconds, input_octets, output_octets, goes_on) AS (
    SELECT session, max(seconds), max(json_extract(json, '$.input_octets')), max(json_extract(json, '$.output_octets')),
           max(event = 'progressed')
    FROM since WHERE event IN ('progressed', 'stopped') GROUP BY session
  ),
  -- the latest of each, since a bare column goes with max()
  met (session, json, position) AS (
    SELECT session, json, max(position) FROM since WHERE event = 'contacted' GROUP BY session
  ),
  told (session) AS (SELECT DISTINCT session FROM since WHERE event = 'ending'),
  begun (session, token, record, code) AS (
    SELECT json_extract(live.value, '$.session'), token, live.value, json_extract(stood.json, '$.code')
    FROM stood, json_each(stood.json, '$.sessions') AS live
    UNION ALL
    -- one that had ended, and of which there was news
    SELECT json_extract(ended.value, '$.session.session'), token, json_extract(ended.value, '$.session'),
           json_extract(stood.json, '$.code')
    FROM stood, json_each(stood.json, '$.ended') AS ended
    JOIN heard ON heard.session = json_extract(ended.value, '$.session.session') AND heard.goes_on
    UNION ALL
    SELECT session, token, json, NULL FROM since WHERE event = 'admitted'
  ),
  live AS (
    SELECT begun.session, begun.token, record, code, ifnull(met.json, json_extract(record, '$.contact')) AS contact,
           max(ifnull(heard.seconds, 0), ifnull(json_extract(record, '$.reported.seconds'), 0)) AS seconds,
           max(ifnull(heard.input_octets, 0),
               ifnull(json_extract(record, '$.reported.input_octets'), 0)) AS input_octets,
           max(ifnull(heard.output_octets, 0),
               ifnull(json_extract(record, '$.reported.output_octets'), 0)) AS output_octets,
           CASE WHEN told.session IS NOT NULL OR json_extract(record, '$.ending') IS NOT NULL THEN 'disconnecting'
                WHEN heard.session IS NOT NULL OR json_extract(record, '$.reported') IS NOT NULL THEN 'online'
                WHEN json_extract(record, '$.accounting') THEN 'admitted'
                ELSE 'online' END AS state
    FROM begun LEFT JOIN heard ON heard.session = begun.session LEFT JOIN met ON met.session = begun.session
         LEFT JOIN told ON told.session = begun.session
    WHERE begun.session NOT IN (SELECT session FROM closed)
  ),
  over AS (
    SELECT session, token, json_extract(CAST(payload AS TEXT), '$.session') AS record, at_ms,
           json_extract(CAST(payload AS TEXT), '$.counts') AS counts
    FROM closed
  )
SELECT session, state, token,
       coalesce(json_extract(record, '$.code'), code) AS code,
       json_extract(record, '$.mac') AS mac,
       json_extract(contact, '$.nas') AS nas,
       json_extract(contact, '$.nas_session') AS nas_session,
       json_extract(contact, '$.ip') AS ip,
       datetime(json_extract(record, '$.admitted_at') / 1000, 'unixepoch') AS admitted_at,
       NULL AS ended_at,
       json_extract(record, '$.granted') AS session_timeout,
       -- no more is believed than the grant and a minute
       min(seconds, json_extract(record, '$.granted') + 60) AS seconds,
       input_octets, output_octets
FROM live
UNION ALL
SELECT session, 'ended', token,
       json_extract(record, '$.code'),
       json_extract(record, '$.mac'),
       json_extract(record, '$.contact.nas'),
       json_extract(record, '$.contact.nas_session'),
       json_extract(record, '$.contact.ip'),
       datetime(json_extract(record, '$.admitted_at') / 1000, 'unixepoch'),
       datetime(at_ms / 1000, 'unixepoch'),
       json_extract(record, '$.granted'),
       counts,
       ifnull(json_extract(record, '$.reported.input_octets'), 0),
       ifnull(json_extract(record, '$.reported.output_octets'), 0)
FROM over;
