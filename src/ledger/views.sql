-- For whoever reads the file with sqlite3; spotgate itself does not use them.
DROP VIEW IF EXISTS usage;
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

-- What was used of every token, up to the last word of its routers, and what of it is written back, in seconds. Under
-- `counting = "elapsed"`, and of sessions of which nothing is reported, the time that runs is not in it: `spotgate usage`
-- knows that.
CREATE VIEW usage AS
WITH
  stood (token, position, json) AS (SELECT token, position, CAST(payload AS TEXT) FROM snapshot),
  since AS (
    SELECT events.* FROM events LEFT JOIN snapshot ON snapshot.token = events.token
    WHERE events.position > (SELECT position FROM covered) AND events.position > ifnull(snapshot.position, 0)
  ),
  -- sessions that the snapshot has not counted
  fresh (session) AS (
    SELECT json_extract(live.value, '$.session') FROM stood, json_each(stood.json, '$.sessions') AS live
    UNION
    SELECT session FROM since WHERE event = 'admitted'
  ),
  -- sessions that it has counted, and of which there may be news
  counted (session, seconds) AS (
    SELECT json_extract(ended.value, '$.session.session'), json_extract(ended.value, '$.counts')
    FROM stood, json_each(stood.json, '$.ended') AS ended
  ),
  used (token, seconds) AS (
    SELECT token, json_extract(json, '$.usage') FROM stood
    UNION ALL
    SELECT token, max(sessions.seconds - ifnull(counted.seconds, 0), 0)
    FROM sessions LEFT JOIN counted ON counted.session = sessions.session
    WHERE counted.session IS NOT NULL OR sessions.session IN (SELECT session FROM fresh)
  ),
  forgotten (token, position, seconds) AS (
    SELECT token, max(position), json_extract(json, '$.used') FROM since WHERE event = 'forgotten' GROUP BY token
  ),
  written (token, seconds) AS (
    SELECT token, ifnull(json_extract(json, '$.written'), 0) FROM stood WHERE token NOT IN (SELECT token FROM forgotten)
    UNION ALL
    SELECT token, seconds FROM forgotten
    UNION ALL
    SELECT since.token, 60 * (json_extract(json, '$.before') - json_extract(json, '$.after'))
    FROM since LEFT JOIN forgotten ON forgotten.token = since.token
    WHERE event = 'settled' AND since.position > ifnull(forgotten.position, 0)
  )
SELECT token, sum(used) AS used, sum(written) AS written FROM (
  SELECT token, seconds AS used, 0 AS written FROM used
  UNION ALL
  SELECT token, 0, seconds FROM written
) GROUP BY token;
