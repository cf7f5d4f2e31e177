//! Connections that last: what others change is heard on one, another holds the lock of the daemon that leads.

use std::collections::HashMap;
use std::mem;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio_postgres::Client;

use super::{Database, Error, WITHIN};
use crate::core::ident::TokenId;

/// How long a connection may be silent before it is asked whether it is still there.
const SILENCE: Duration = Duration::from_secs(5);

/// Said once more it changes nothing: so that connection is asked whether it is there, and is told from others at the server.
const LISTEN: &str = "LISTEN spotgate_account; LISTEN spotgate_token";

/// Where it is told that something was put down of a source.
const OF_TOKENS: &str = "spotgate_token";

/// What others changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Heard {
    /// These accounts, which now stand at these versions or later ones; 0: it was forgotten.
    Accounts(Vec<(TokenId, u64)>),
    /// Tokens, or how far they were seen.
    Tokens,
    /// Perhaps all of them: nobody listened for a while.
    All,
}

/// What a connection was told and nobody has looked at. However much that is, it is no more than there are accounts.
#[derive(Debug, Default)]
pub(super) struct News {
    told: Mutex<Told>,
    came: Notify,
}

#[derive(Debug, Default)]
struct Told {
    accounts: HashMap<TokenId, Word>,
    /// Something of a source.
    are_tokens: bool,
    /// Something that cannot be read: everything is to be compared.
    is_unreadable: bool,
    /// The connection is gone.
    is_over: bool,
}

/// The latest of an account.
#[derive(Debug, Default)]
struct Word {
    /// 0: it is gone.
    version: u64,
    /// It was forgotten, and may have begun anew: what is known of it is of another, whatever its version.
    was_forgotten: bool,
}

impl News {
    fn told(&self) -> MutexGuard<'_, Told> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes in what a notification says.
    pub(super) fn tell(&self, channel: &str, payload: &str) {
        let mut told = self.told();
        match read(payload) {
            _ if channel == OF_TOKENS => told.are_tokens = true,
            Some(news) => {
                for (token, version) in news {
                    let word = told.accounts.entry(token).or_default();
                    word.version = version;
                    word.was_forgotten |= version == 0;
                }
            }
            None => told.is_unreadable = true,
        }
        drop(told);
        self.came.notify_one();
    }

    /// No more comes.
    pub(super) fn end(&self) {
        self.told().is_over = true;
        self.came.notify_one();
    }

    /// What was told since the last time; none: nothing.
    fn take(&self) -> Result<Option<Heard>, Error> {
        let mut told = self.told();
        let accounts = mem::take(&mut told.accounts);
        if mem::take(&mut told.is_unreadable) {
            // Whatever waits is in it.
            told.are_tokens = false;
            return Ok(Some(Heard::All));
        }
        if mem::take(&mut told.are_tokens) {
            told.accounts = accounts;
            return Ok(Some(Heard::Tokens));
        }
        if accounts.is_empty() {
            let gone = || Error::Away("the connection that listens is gone".to_owned());
            return if told.is_over { Err(gone()) } else { Ok(None) };
        }
        let mut news = Vec::with_capacity(accounts.len());
        for (token, word) in accounts {
            news.extend(word.was_forgotten.then_some((token, 0)));
            news.extend((word.version > 0).then_some((token, word.version)));
        }
        Ok(Some(Heard::Accounts(news)))
    }
}

/// Hears of changes.
#[derive(Debug)]
pub struct Listener {
    client: Client,
    news: Arc<News>,
    has_begun: bool,
}

/// Waits for a role that another has.
#[derive(Debug, Default)]
pub struct Waiting(Option<Client>);

/// That this daemon is the one in its role. Given up when it is dropped.
#[derive(Debug)]
pub struct Lease(Client);

impl Database {
    /// Listens, on a connection of its own.
    ///
    /// # Errors
    ///
    /// The database is away.
    pub async fn listen(&self) -> Result<Listener, Error> {
        let (client, news) = self.connect().await?;
        within(client.batch_execute(LISTEN)).await?;
        Ok(Listener { client, news, has_begun: false })
    }

    /// Takes a role that one daemon has at a time; none: another has it, and it is asked for again on the same connection. No locks
    /// of other databases are in the way, nor of another schema of this one.
    ///
    /// # Errors
    ///
    /// The database is away.
    pub async fn lead(&self, role: &'static str, waiting: &mut Waiting) -> Result<Option<Lease>, Error> {
        let client = match waiting.0.take() {
            Some(client) => client,
            None => self.connect().await?.0,
        };
        let lock = "SELECT pg_try_advisory_lock(hashtext('spotgate ' || current_schema()), hashtext($1))";
        let row = within(client.query_one(lock, &[&role])).await?;
        if row.try_get(0)? {
            return Ok(Some(Lease(client)));
        }
        waiting.0 = Some(client);
        Ok(None)
    }
}

impl Listener {
    /// What is heard next; first of all [`Heard::All`].
    ///
    /// # Errors
    ///
    /// The connection is gone: listen anew.
    pub async fn next(&mut self) -> Result<Heard, Error> {
        if !mem::replace(&mut self.has_begun, true) {
            return Ok(Heard::All);
        }
        loop {
            if let Some(heard) = self.news.take()? {
                return Ok(heard);
            }
            if tokio::time::timeout(SILENCE, self.news.came.notified()).await.is_err() {
                within(self.client.batch_execute(LISTEN)).await?;
            }
        }
    }
}

impl Lease {
    /// Resolves when the connection is gone, and with it the role.
    pub async fn lost(&mut self) {
        loop {
            tokio::time::sleep(SILENCE).await;
            if within(self.0.batch_execute("SELECT 1")).await.is_err() {
                return;
            }
        }
    }
}

async fn within<T>(asking: impl Future<Output = Result<T, tokio_postgres::Error>>) -> Result<T, Error> {
    let answer = tokio::time::timeout(WITHIN, asking).await;
    Ok(answer.map_err(|_| Error::late(WITHIN))??)
}

/// Reads `token:version,token:version`; none: it is not that.
fn read(payload: &str) -> Option<Vec<(TokenId, u64)>> {
    let pairs = payload.split(',').filter(|pair| !pair.is_empty());
    let of = |pair: &str| {
        let (token, version) = pair.split_once(':')?;
        Some((TokenId(token.parse().ok()?), version.parse().ok()?))
    };
    pairs.map(of).collect()
}
