//! The accounts in PostgreSQL, shared by several daemons: an account is changed on the version that its change builds on, many in
//! one statement; others are told. What an account is, is the [`ledger`](crate::ledger)'s business.

mod address;
mod listen;
mod schema;

use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use deadpool_postgres::{Manager, ManagerConfig, Object, Pool, PoolError, RecyclingMethod, Runtime, TimeoutType};
use jiff::Timestamp;
use secrecy::SecretString;
use tokio_postgres::error::SqlState;
use tokio_postgres::{AsyncMessage, Client};

use address::Address;
pub use address::AddressError;
use listen::News;
pub use listen::{Heard, Lease, Listener, Waiting};
pub use schema::{Migrated, Schema};

use crate::core::ident::{SessionId, TokenId};
use crate::ledger::{Change, Closed, Row, Swapped};

/// Connections, at most: what is handed on, what is fetched, and room for who looks something up.
const CONNECTIONS: usize = 8;

/// How long anything may take before the database counts as away: guests wait for it.
const WITHIN: Duration = Duration::from_secs(2);

/// What a daemon is called at the server, before its own name.
pub const DAEMON: &str = "spotgate ";

/// How long some of very many rows may take. No guest waits for them, and a disk that has to fetch them is not away.
const SOME_WITHIN: Duration = Duration::from_secs(10);

/// How often changes may clash with others' before the database counts as away.
const CLASHES: usize = 3;

/// Sessions forgotten at once.
const FORGOTTEN_AT_ONCE: i64 = 5000;

/// Accounts that one notification tells of: it holds 8000 octets, and a token and a version take 42 at most.
const TOLD_AT_ONCE: usize = 150;

/// Why the database did not do something. The words hold no password.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Error {
    /// Try again: it is not reachable, not ready, or cannot be written now.
    #[error("{0}")]
    Away(String),
    /// Try again at once: it clashed with what others did at the same moment, and nothing was done.
    #[error("{0}")]
    Clashed(String),
    /// Go on without: it does not take this, whoever asks and however often.
    #[error("{0}")]
    Refused(String),
    /// Stop: a person must act.
    #[error("{0}")]
    Stop(String),
}

impl Error {
    /// Whether waiting may mend it.
    #[must_use]
    pub const fn is_away(&self) -> bool {
        matches!(self, Self::Away(_) | Self::Clashed(_))
    }

    fn late(within: Duration) -> Self {
        Self::Away(format!("no answer within {} s", within.as_secs()))
    }
}

impl From<tokio_postgres::Error> for Error {
    fn from(error: tokio_postgres::Error) -> Self {
        let words = words(&error);
        let Some(code) = error.code() else {
            return if is_of_trust(&error) { Self::Stop(words) } else { Self::Away(words) };
        };
        // PostgreSQL, Appendix A.
        let is_of = |classes: &[&str]| classes.iter().any(|class| code.code().starts_with(class));
        if is_of(&["40"]) {
            Self::Clashed(words)
        } else if is_of(&["08", "25", "53", "55", "57", "58"]) && *code != SqlState::DATABASE_DROPPED {
            Self::Away(words)
        } else if is_of(&["21", "22", "23", "54"]) {
            Self::Refused(words)
        } else {
            Self::Stop(words)
        }
    }
}

impl From<PoolError> for Error {
    fn from(error: PoolError) -> Self {
        match error {
            PoolError::Backend(error) => error.into(),
            PoolError::Timeout(TimeoutType::Wait) => Self::Away("every connection is in use".to_owned()),
            PoolError::Timeout(_) => Self::late(WITHIN),
            other => Self::Away(other.to_string()),
        }
    }
}

/// Whether the server does not prove who it is, which it does not learn by waiting. A handshake that merely broke off may go well
/// the next time.
fn is_of_trust(error: &tokio_postgres::Error) -> bool {
    use rustls::Error::{InvalidCertificate, NoCertificatesPresented, PeerIncompatible};
    let mut causes = std::iter::successors(std::error::Error::source(error), |cause| cause.source());
    let told = causes.find_map(|cause| cause.downcast_ref::<std::io::Error>()?.get_ref()?.downcast_ref());
    matches!(told, Some(InvalidCertificate(_) | NoCertificatesPresented | PeerIncompatible(_)))
}

/// What went wrong, down to its cause; but not the server's details, which may be of what was written.
fn words(error: &tokio_postgres::Error) -> String {
    if let Some(said) = error.as_db_error() {
        return format!("{} ({})", said.message(), said.code().code());
    }
    let mut words = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        let more = error.to_string();
        if !words.contains(&more) {
            words = format!("{words}: {more}");
        }
        cause = error.source();
    }
    words
}

/// A token that was put down.
#[derive(Clone, PartialEq, Eq)]
pub struct Published {
    /// Its id.
    pub token: i64,
    /// By its number what is later is known.
    pub sequence: i64,
    /// As it was put down, code and all; none: it is gone.
    pub record: Option<String>,
}

impl fmt::Debug for Published {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Published")
            .field("token", &self.token)
            .field("sequence", &self.sequence)
            .finish_non_exhaustive()
    }
}

/// A database, over a few connections. Clones share them.
#[derive(Clone)]
pub struct Database {
    pool: Pool,
    address: Arc<Address>,
}

impl fmt::Debug for Database {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Database").field("connections", &self.pool.status().size).finish_non_exhaustive()
    }
}

impl Database {
    /// The database at `url`, to which this daemon shows itself as `name`. Nothing is connected yet.
    ///
    /// # Errors
    ///
    /// The URL is none, or what its server is to be trusted by cannot be read.
    pub fn new(url: &SecretString, name: &str) -> Result<Self, AddressError> {
        let address = Address::parse(url, name)?;
        let how = ManagerConfig { recycling_method: RecyclingMethod::Fast };
        let manager = Manager::from_config(address.config.clone(), address.tls.clone(), how);
        let pool = Pool::builder(manager)
            .max_size(CONNECTIONS)
            .runtime(Runtime::Tokio1)
            .wait_timeout(Some(WITHIN))
            .create_timeout(Some(WITHIN))
            .build()
            .map_err(|error| AddressError::Trust(error.to_string()))?;
        Ok(Self { pool, address: Arc::new(address) })
    }

    /// Does something over a connection; one on which it takes too long is given up, since its answer may still come.
    async fn on<T, F: Future<Output = Result<T, Error>>>(&self, act: impl FnOnce(Connection) -> F) -> Result<T, Error> {
        self.on_within(WITHIN, act).await
    }

    async fn on_within<T, F>(&self, within: Duration, act: impl FnOnce(Connection) -> F) -> Result<T, Error>
    where
        F: Future<Output = Result<T, Error>>,
    {
        let connection = self.pool.get().await?;
        tokio::time::timeout(within, act(Connection(Some(connection))))
            .await
            .unwrap_or_else(|_| Err(Error::late(within)))
    }

    /// Takes changes, all or none; what became of each, in their order. No two may be of one token.
    ///
    /// # Errors
    ///
    /// None was taken; or, where the database went away, it is not known.
    pub async fn swap(&self, changes: &[Change]) -> Result<Vec<Swapped>, Error> {
        for _ in 0..CLASHES {
            match self.swap_once(changes).await {
                Err(Error::Clashed(why)) => tracing::debug!(why, "changes clashed with others', and are given again"),
                outcome => return outcome,
            }
        }
        self.swap_once(changes).await
    }

    async fn swap_once(&self, changes: &[Change]) -> Result<Vec<Swapped>, Error> {
        let tokens: Vec<i64> = changes.iter().map(|change| change.token.0).collect();
        let versions: Vec<i64> = changes.iter().map(|change| number(change.version)).collect();
        let becomes: Vec<i64> = changes.iter().map(|change| number(change.becomes)).collect();
        let states: Vec<&str> = changes.iter().map(|change| text(&change.state)).collect();
        let due: Vec<bool> = changes.iter().map(|change| change.is_due).collect();
        let closed = || changes.iter().flat_map(|change| &change.closed);
        let names: Vec<&str> = closed().map(|closed| closed.session.as_str()).collect();
        let of: Vec<i64> = closed().map(|closed| closed.token).collect();
        let at: Vec<i64> = closed().map(|closed| closed.at_ms).collect();
        let payloads: Vec<&str> = closed().map(|closed| text(&closed.payload)).collect();
        let reopened = || changes.iter().flat_map(|change| change.reopened.iter().map(|name| (name, change.token.0)));
        let reopened_names: Vec<&str> = reopened().map(|(name, _)| name.as_str()).collect();
        let reopened_of: Vec<i64> = reopened().map(|(_, token)| token).collect();
        let rows = self
            .on(async |mut connection| {
                let client = connection.client()?;
                let swap = client
                    .prepare_cached("SELECT * FROM spotgate_swap_1($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)")
                    .await?;
                let rows = client
                    .query(
                        &swap,
                        &[
                            &tokens,
                            &versions,
                            &becomes,
                            &states,
                            &due,
                            &names,
                            &of,
                            &at,
                            &payloads,
                            &reopened_names,
                            &reopened_of,
                        ],
                    )
                    .await?;
                connection.done();
                Ok(rows)
            })
            .await?;
        let mut stale = std::collections::HashMap::new();
        for row in rows {
            let (token, version): (i64, Option<i64>) = (row.try_get(0)?, row.try_get(1)?);
            let state: Option<String> = row.try_get(2)?;
            let stands = version.zip(state).map(|(version, state)| Row {
                token: TokenId(token),
                version: version.unsigned_abs(),
                state: state.into_bytes(),
            });
            let swapped = if version == Some(0) { Swapped::Held } else { Swapped::Stale(stands) };
            stale.insert(token, swapped);
        }
        Ok(changes.iter().map(|change| stale.remove(&change.token.0).unwrap_or(Swapped::Done)).collect())
    }

    /// These accounts, as far as there are such.
    ///
    /// # Errors
    ///
    /// The database did not say.
    pub async fn fetch(&self, tokens: &[TokenId]) -> Result<Vec<Row>, Error> {
        let tokens: Vec<i64> = tokens.iter().map(|token| token.0).collect();
        let rows = self
            .query("SELECT token, version, state::text FROM spotgate_account WHERE token = ANY ($1)", &[&tokens])
            .await?;
        rows.iter().map(row).collect()
    }

    /// Every account, one after another.
    ///
    /// # Errors
    ///
    /// The database did not say, or stopped in the middle.
    pub async fn accounts(&self, mut take: impl FnMut(Row)) -> Result<(), Error> {
        let mut after = i64::MIN;
        let all = "SELECT token, version, state::text FROM spotgate_account WHERE token > $1 ORDER BY token LIMIT 5000";
        loop {
            let rows = self.some(all, &[&after]).await?;
            let Some(last) = rows.last() else { return Ok(()) };
            after = last.try_get(0)?;
            for stands in &rows {
                take(row(stands)?);
            }
        }
    }

    /// At which version each account stands.
    ///
    /// # Errors
    ///
    /// The database did not say.
    pub async fn versions(&self) -> Result<Vec<(TokenId, u64)>, Error> {
        let mut versions = Vec::new();
        let mut after = i64::MIN;
        let all = "SELECT token, version FROM spotgate_account WHERE token > $1 ORDER BY token LIMIT 50000";
        loop {
            let rows = self.some(all, &[&after]).await?;
            let Some(last) = rows.last() else { return Ok(versions) };
            after = last.try_get(0)?;
            for row in &rows {
                let (token, version): (i64, i64) = (row.try_get(0)?, row.try_get(1)?);
                versions.push((TokenId(token), version.unsigned_abs()));
            }
        }
    }

    /// A session that ended, if it is still kept.
    ///
    /// # Errors
    ///
    /// The database did not say.
    pub async fn closed(&self, session: &str) -> Result<Option<Closed>, Error> {
        let one = "SELECT session, token, ended_at, payload::text FROM spotgate_session WHERE session = $1";
        let rows = self.query(one, &[&session]).await?;
        rows.first().map(ended).transpose()
    }

    /// Which of these sessions have ended, as far as they are still kept.
    ///
    /// # Errors
    ///
    /// The database did not say.
    pub async fn which_ended(&self, sessions: &[SessionId]) -> Result<Vec<Closed>, Error> {
        let names: Vec<String> = sessions.iter().map(SessionId::to_string).collect();
        let some = "SELECT session, token, ended_at, payload::text FROM spotgate_session WHERE session = ANY ($1)";
        self.query(some, &[&names]).await?.iter().map(ended).collect()
    }

    /// Some sessions that ended, by their names, after this one. The order is that of the database's locale, as its index has it.
    ///
    /// # Errors
    ///
    /// The database did not say.
    pub async fn closed_after(&self, session: &str) -> Result<Vec<Closed>, Error> {
        let some = "SELECT session, token, ended_at, payload::text FROM spotgate_session
            WHERE session > $1 ORDER BY session LIMIT 1000";
        self.some(some, &[&session]).await?.iter().map(ended).collect()
    }

    /// Keeps sessions that ended; those that are kept already stay.
    ///
    /// # Errors
    ///
    /// The database did not.
    pub async fn keep_closed(&self, closed: &[Closed]) -> Result<(), Error> {
        let names: Vec<&str> = closed.iter().map(|closed| closed.session.as_str()).collect();
        let of: Vec<i64> = closed.iter().map(|closed| closed.token).collect();
        let at: Vec<i64> = closed.iter().map(|closed| closed.at_ms).collect();
        let payloads: Vec<&str> = closed.iter().map(|closed| text(&closed.payload)).collect();
        let keep = "INSERT INTO spotgate_session SELECT c.session, c.token, c.ended_at, c.payload::json
            FROM unnest($1::text[], $2::bigint[], $3::bigint[], $4::text[]) AS c (session, token, ended_at, payload)
            ON CONFLICT DO NOTHING";
        self.query(keep, &[&names, &of, &at, &payloads]).await.map(drop)
    }

    /// Puts down tokens of a source, in JSON, and tells all daemons; none: it is gone there. One daemon does so at a time.
    ///
    /// # Errors
    ///
    /// The database did not.
    pub async fn publish(&self, source: &str, tokens: &[(i64, Option<String>)]) -> Result<(), Error> {
        let ids: Vec<i64> = tokens.iter().map(|(id, _)| *id).collect();
        let records: Vec<Option<&str>> = tokens.iter().map(|(_, record)| record.as_deref()).collect();
        let put = "WITH told AS (SELECT pg_notify('spotgate_token', ''))
            INSERT INTO spotgate_token AS t (source, id, sequence, record)
            SELECT $1, g.id, nextval('spotgate_token_sequence'), g.record::json
            FROM unnest($2::bigint[], $3::text[]) AS g (id, record), told
            ON CONFLICT (source, id) DO UPDATE SET sequence = excluded.sequence, record = excluded.record";
        self.query(put, &[&source, &ids, &records]).await.map(drop)
    }

    /// What was put down of a source after this number, the earliest first.
    ///
    /// # Errors
    ///
    /// The database did not say.
    pub async fn published(&self, source: &str, after: i64, at_most: usize) -> Result<Vec<Published>, Error> {
        let at_most = i64::try_from(at_most).unwrap_or(i64::MAX);
        let some = "SELECT id, sequence, record::text FROM spotgate_token WHERE source = $1 AND sequence > $2
            ORDER BY sequence LIMIT $3";
        let rows = self.query(some, &[&source, &after, &at_most]).await?;
        let read = |row: &tokio_postgres::Row| {
            Ok(Published { token: row.try_get(0)?, sequence: row.try_get(1)?, record: row.try_get(2)? })
        };
        rows.iter().map(read).collect()
    }

    /// Notes how far a location was seen, and when it was compared, in milliseconds since 1970; none: as before. Of the latter all
    /// daemons are told.
    ///
    /// # Errors
    ///
    /// The database did not.
    pub async fn see(
        &self,
        source: &str,
        business: i64,
        seen_to: Option<i64>,
        compared: Option<i64>,
    ) -> Result<(), Error> {
        let note = "WITH told AS (SELECT pg_notify('spotgate_token', '') WHERE $4::bigint IS NOT NULL)
            INSERT INTO spotgate_location AS l (source, business, seen_to, compared)
            SELECT $1, $2, $3::bigint, $4 WHERE (SELECT count(*) FROM told) >= 0
            ON CONFLICT (source, business) DO UPDATE
            SET seen_to = coalesce(excluded.seen_to, l.seen_to), compared = coalesce(excluded.compared, l.compared)";
        self.query(note, &[&source, &business, &seen_to, &compared]).await.map(drop)
    }

    /// Each location of a source, how far it was seen, and when it was compared.
    ///
    /// # Errors
    ///
    /// The database did not say.
    pub async fn seen(&self, source: &str) -> Result<Vec<(i64, Option<i64>, Option<i64>)>, Error> {
        let all = "SELECT business, seen_to, compared FROM spotgate_location WHERE source = $1";
        let rows = self.query(all, &[&source]).await?;
        rows.iter().map(|row| Ok((row.try_get(0)?, row.try_get(1)?, row.try_get(2)?))).collect()
    }

    /// Forgets some sessions that ended before a moment, in milliseconds since 1970; how many.
    ///
    /// # Errors
    ///
    /// The database did not.
    pub async fn retain(&self, ended_before_ms: i64) -> Result<u64, Error> {
        let forget = "DELETE FROM spotgate_session WHERE session IN
            (SELECT session FROM spotgate_session WHERE ended_at < $1 ORDER BY ended_at LIMIT $2)";
        self.on(async |mut connection| {
            let client = connection.client()?;
            let forget = client.prepare_cached(forget).await?;
            let count = client.execute(&forget, &[&ended_before_ms, &FORGOTTEN_AT_ONCE]).await?;
            connection.done();
            Ok(count)
        })
        .await
    }

    /// Forgets these accounts, as far as they still stand at these versions, and tells all daemons. It waits for nobody who
    /// changes one of them.
    ///
    /// # Errors
    ///
    /// The database did not.
    pub async fn forget(&self, accounts: &[(TokenId, u64)]) -> Result<(), Error> {
        let forget = "WITH gone AS (DELETE FROM spotgate_account WHERE token IN
                (SELECT a.token FROM spotgate_account a JOIN unnest($1::bigint[], $2::bigint[]) AS g (token, version)
                    ON a.token = g.token AND a.version = g.version FOR UPDATE OF a SKIP LOCKED) RETURNING token)
            SELECT pg_notify('spotgate_account', string_agg(token || ':0', ',')) FROM gone";
        for some in accounts.chunks(TOLD_AT_ONCE) {
            let tokens: Vec<i64> = some.iter().map(|(token, _)| token.0).collect();
            let versions: Vec<i64> = some.iter().map(|(_, version)| number(*version)).collect();
            self.query(forget, &[&tokens, &versions]).await?;
        }
        Ok(())
    }

    /// The server's clock.
    ///
    /// # Errors
    ///
    /// The database did not say.
    pub async fn now(&self) -> Result<Timestamp, Error> {
        let rows = self.query("SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint", &[]).await?;
        let Some(row) = rows.first() else { return Err(Error::Away("no answer".to_owned())) };
        Ok(Timestamp::from_millisecond(row.try_get(0)?).unwrap_or(Timestamp::UNIX_EPOCH))
    }

    /// Whether changes can be made.
    ///
    /// # Errors
    ///
    /// They cannot: it is away, or a standby.
    pub async fn is_writable(&self) -> Result<(), Error> {
        self.migrate().await?;
        let rows = self.query("SELECT current_setting('transaction_read_only')::bool", &[]).await?;
        match rows.first().map(|row| row.try_get(0)).transpose()? {
            // That this daemon may, too.
            Some(false) => self.swap(&[]).await.map(drop),
            _ => Err(Error::Away("it cannot be written".to_owned())),
        }
    }

    /// The server's version, and how many daemons are connected to it.
    ///
    /// # Errors
    ///
    /// The database did not say.
    pub async fn server(&self) -> Result<(String, i64), Error> {
        let asked = "SELECT current_setting('server_version'), (SELECT count(DISTINCT application_name)
            FROM pg_stat_activity WHERE datname = current_database() AND application_name LIKE $1)";
        let rows = self.query(asked, &[&format!("{DAEMON}%")]).await?;
        let Some(row) = rows.first() else { return Err(Error::Away("no answer".to_owned())) };
        Ok((row.try_get(0)?, row.try_get(1)?))
    }

    async fn query(
        &self,
        statement: &str,
        parameters: &[&(dyn tokio_postgres::types::ToSql + Sync)],
    ) -> Result<Vec<tokio_postgres::Row>, Error> {
        self.on(async |mut connection| {
            let client = connection.client()?;
            let statement = client.prepare_cached(statement).await?;
            let rows = client.query(&statement, parameters).await?;
            connection.done();
            Ok(rows)
        })
        .await
    }

    /// Reads some of very many rows.
    async fn some(
        &self,
        statement: &str,
        parameters: &[&(dyn tokio_postgres::types::ToSql + Sync)],
    ) -> Result<Vec<tokio_postgres::Row>, Error> {
        // The server would give up before.
        let begin = format!("BEGIN READ ONLY; SET LOCAL statement_timeout = {}", SOME_WITHIN.as_millis());
        self.on_within(SOME_WITHIN, async |mut connection| {
            let client = connection.client()?;
            // An error leaves the transaction open: the connection is given up then.
            client.batch_execute(&begin).await?;
            let statement = client.prepare_cached(statement).await?;
            let rows = client.query(&statement, parameters).await?;
            client.batch_execute("COMMIT").await?;
            connection.done();
            Ok(rows)
        })
        .await
    }

    /// A connection of its own, and what it is told.
    async fn connect(&self) -> Result<(Client, Arc<News>), Error> {
        let connecting = self.address.config.connect(self.address.tls.clone());
        let connected = tokio::time::timeout(WITHIN, connecting).await;
        let (client, mut connection) = connected.map_err(|_| Error::late(WITHIN))??;
        let news = Arc::new(News::default());
        let told = Arc::clone(&news);
        tokio::spawn(async move {
            while let Some(Ok(message)) = std::future::poll_fn(|context| connection.poll_message(context)).await {
                if let AsyncMessage::Notification(notification) = message {
                    told.tell(notification.channel(), notification.payload());
                }
            }
            told.end();
        });
        Ok((client, news))
    }
}

/// A connection of the pool that goes back only when it is done: one whose answer may still come would give it to the next.
struct Connection(Option<Object>);

impl Connection {
    fn client(&self) -> Result<&Object, Error> {
        self.0.as_ref().ok_or_else(|| Error::Away("the connection is gone".to_owned()))
    }

    fn done(&mut self) {
        drop(self.0.take());
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        if let Some(connection) = self.0.take() {
            drop(Object::take(connection));
        }
    }
}

fn row(row: &tokio_postgres::Row) -> Result<Row, Error> {
    let (token, version): (i64, i64) = (row.try_get(0)?, row.try_get(1)?);
    let state: String = row.try_get(2)?;
    Ok(Row { token: TokenId(token), version: version.unsigned_abs(), state: state.into_bytes() })
}

fn ended(row: &tokio_postgres::Row) -> Result<Closed, Error> {
    let payload: String = row.try_get(3)?;
    let (session, token, at_ms) = (row.try_get(0)?, row.try_get(1)?, row.try_get(2)?);
    Ok(Closed { session, token, at_ms, payload: payload.into_bytes() })
}

fn number(version: u64) -> i64 {
    i64::try_from(version).unwrap_or(i64::MAX)
}

/// JSON of ours is text.
fn text(octets: &[u8]) -> &str {
    std::str::from_utf8(octets).unwrap_or("null")
}
