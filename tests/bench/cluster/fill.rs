//! Sessions that ended, made by SQL of one that a server wrote, and the codes that FreeRADIUS is asked for.

use crate::peers::psql;

/// So many rows more that are like a real one; each ended within the last month and has a name of its own that begins with
/// its time, as all do.
pub fn spotgate(port: u16, database: &str, count: usize) {
    if count == 0 {
        return;
    }
    let fill = format!(
        "INSERT INTO spotgate_session
         SELECT n.name, g % 10000 + 1, n.at, replace(t.payload::text, t.session, n.name)::json
         FROM generate_series(1, {count}) AS g,
            (SELECT session, payload FROM spotgate_session LIMIT 1) AS t,
            LATERAL (SELECT (extract(epoch FROM now()) * 1000)::bigint - 2592000000 + g * (2500000000 / {count}) AS at) AS m,
            LATERAL (SELECT m.at, string_agg(substr('0123456789ABCDEFGHJKMNPQRSTVWXYZ', ((m.at >> (5 * d)) & 31)::int + 1, 1), ''
                ORDER BY d DESC) || upper(substr(md5(g::text), 1, 16)) AS name FROM generate_series(0, 9) AS d) AS n"
    );
    psql(port, database, &fill);
    settle(port, database);
}

/// As many sessions that ended for FreeRADIUS, like a real one.
pub fn freeradius(port: u16, database: &str, count: usize) {
    if count == 0 {
        return;
    }
    let columns = "realm, nasipaddress, nasportid, nasporttype, acctinterval, acctsessiontime, acctauthentic,
        connectinfo_start, connectinfo_stop, acctinputoctets, acctoutputoctets, calledstationid, callingstationid,
        acctterminatecause, servicetype, framedprotocol, framedipaddress";
    let fill = format!(
        "INSERT INTO radacct (acctsessionid, acctuniqueid, username, acctstarttime, acctupdatetime, acctstoptime, {columns})
         SELECT lpad(to_hex(g), 8, '0'), md5(g::text), 'kx7q-' || lpad((g % 10000)::text, 7, '0'), n.at - interval '1 minute',
            n.at, n.at, {columns}
         FROM generate_series(1, {count}) AS g, (SELECT * FROM radacct WHERE acctstoptime IS NOT NULL LIMIT 1) AS t,
            LATERAL (SELECT now() - interval '30 days' + g * (interval '29 days' / {count}) AS at) AS n"
    );
    psql(port, database, &fill);
    settle(port, database);
}

/// The codes of so many tokens, as passwords of users of their name.
pub fn codes(port: u16, database: &str, count: usize) {
    let fill = format!(
        "INSERT INTO radcheck (username, attribute, op, value)
         SELECT c, 'Cleartext-Password', ':=', c
         FROM (SELECT 'kx7q-' || lpad(g::text, 7, '0') AS c FROM generate_series(0, {count} - 1) AS g) AS codes"
    );
    psql(port, database, &fill);
    settle(port, database);
}

/// Nothing is left to be done later.
fn settle(port: u16, database: &str) {
    psql(port, database, "VACUUM ANALYZE");
    psql(port, database, "CHECKPOINT");
}
