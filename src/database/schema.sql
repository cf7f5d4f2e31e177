-- An account is changed many times and is found by its token alone: without another index, and with room on each page, a change
-- stays on its page and costs no index (heap-only tuples).
CREATE TABLE spotgate_account (
    token bigint PRIMARY KEY,
    version bigint NOT NULL,
    state json NOT NULL
) WITH (fillfactor = 60, autovacuum_vacuum_scale_factor = 0.02, autovacuum_analyze_scale_factor = 0.2);

-- Sessions that ended, for whoever asks later.
CREATE TABLE spotgate_session (
    session text PRIMARY KEY,
    token bigint NOT NULL,
    ended_at bigint NOT NULL,
    payload json NOT NULL
);
CREATE INDEX spotgate_session_ended ON spotgate_session (ended_at);

-- Access tokens as the daemon that leads found them at their source; none: it is gone. Others take over what has a later number.
CREATE SEQUENCE spotgate_token_sequence;
CREATE TABLE spotgate_token (
    source text NOT NULL,
    id bigint NOT NULL,
    sequence bigint NOT NULL,
    record json,
    PRIMARY KEY (source, id)
);
CREATE UNIQUE INDEX spotgate_token_latest ON spotgate_token (source, sequence);

-- How far each location was seen by its source's clock, and when it was compared; in milliseconds since 1970.
CREATE TABLE spotgate_location (
    source text NOT NULL,
    business bigint NOT NULL,
    seen_to bigint,
    compared bigint,
    PRIMARY KEY (source, business)
);

-- Takes the changes whose accounts still stand at the version they build on, and gives the others as they stand (no version: it is
-- not there). Rows are made, and then locked, in the order of tokens, so that two daemons hardly ever wait for each other. What is
-- only due is due everywhere: where another is at the same account it is left to that, and mostly not waited for (version 0). Each
-- statement here sees what others have committed before it.
CREATE FUNCTION spotgate_swap_1(
    tokens bigint[], versions bigint[], become bigint[], states text[], due boolean[],
    closed text[], closed_of bigint[], closed_at bigint[], closed_payloads text[],
    reopened text[], reopened_of bigint[]
) RETURNS TABLE (token bigint, version bigint, state text)
LANGUAGE plpgsql AS $$
DECLARE
    done bigint[];
    news text[];
    only_due bigint[] := '{}';
    held bigint[] := '{}';
BEGIN
    -- What is to be made first: who waits here for another holds no row that others lock.
    WITH made AS (
        INSERT INTO spotgate_account AS a (token, version, state)
        SELECT g.token, g.becomes, g.state::json FROM unnest(tokens, versions, become, states) AS g (token, version, becomes, state)
        WHERE g.version = 0 ORDER BY g.token
        ON CONFLICT DO NOTHING RETURNING a.token, a.version
    )
    SELECT coalesce(array_agg(t.token), '{}'), coalesce(array_agg(t.token || ':' || t.version), '{}') INTO done, news FROM made t;
    IF true = ANY (due) THEN
        only_due := ARRAY(SELECT g.token FROM unnest(tokens, due) AS g (token, is_due) WHERE g.is_due);
    END IF;
    PERFORM 1 FROM spotgate_account a WHERE a.token = ANY (tokens) AND a.token <> ALL (only_due) ORDER BY a.token FOR UPDATE;
    IF only_due <> '{}' THEN
        WITH claimed AS (SELECT a.token FROM spotgate_account a WHERE a.token = ANY (only_due) FOR UPDATE SKIP LOCKED)
        SELECT coalesce(array_agg(a.token), '{}') INTO held
        FROM spotgate_account a WHERE a.token = ANY (only_due) AND a.token NOT IN (SELECT c.token FROM claimed c);
    END IF;
    WITH given AS (
        SELECT * FROM unnest(tokens, versions, become, states) AS g (token, version, becomes, state) WHERE g.token <> ALL (held)
    ),
    changed AS (
        UPDATE spotgate_account a SET version = g.becomes, state = g.state::json
        FROM given g WHERE a.token = g.token AND a.version = g.version RETURNING a.token, a.version
    )
    SELECT done || coalesce(array_agg(t.token), '{}'), news || coalesce(array_agg(t.token || ':' || t.version), '{}') INTO done, news FROM changed t;
    INSERT INTO spotgate_session (session, token, ended_at, payload)
    SELECT DISTINCT ON (c.session) c.session, c.token, c.ended_at, c.payload::json
    FROM unnest(closed, closed_of, closed_at, closed_payloads) AS c (session, token, ended_at, payload)
    WHERE c.token = ANY (done) ORDER BY c.session
    ON CONFLICT (session) DO UPDATE SET token = excluded.token, ended_at = excluded.ended_at, payload = excluded.payload;
    DELETE FROM spotgate_session s USING unnest(reopened, reopened_of) AS r (session, token)
    WHERE s.session = r.session AND r.token = ANY (done);
    -- A notification holds 8000 octets; a token and a version take 42 at most.
    FOR i IN 0 .. (coalesce(array_length(news, 1), 0) - 1) / 150 LOOP
        PERFORM pg_notify('spotgate_account', array_to_string(news[i * 150 + 1 : i * 150 + 150], ','));
    END LOOP;
    RETURN QUERY SELECT g.token, CASE WHEN g.token = ANY (held) THEN 0 ELSE a.version END, a.state::text
    FROM unnest(tokens) AS g (token) LEFT JOIN spotgate_account a ON a.token = g.token
    WHERE g.token <> ALL (done);
END $$;
