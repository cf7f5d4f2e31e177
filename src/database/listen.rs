//! Connections that last: what others change is heard on one, another holds the lock of the daemon that leads.

use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio_postgres::Client;

use super::{Database, Error, News, WITHIN};
use crate::core::ident::TokenId;

/// How long a connection may be silent before it is asked whether it is still there.
const SILENCE: Duration = Duration::from_secs(5);

/// What others changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Heard {
    /// These accounts, which now stand at these versions or later ones; 0: it was forgotten.
    Accounts(Vec<(TokenId, u64)>),
    /// Perhaps all of them: nobody listened for a while.
    All,
}

/// Hears of changes.
#[derive(Debug)]
pub struct Listener {
    client: Client,
    news: News,
    has_begun: bool,
}

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
        within(client.batch_execute("LISTEN spotgate_account")).await?;
        Ok(Listener { client, news, has_begun: false })
    }

    /// Takes a role that one daemon has at a time; none: another has it. No locks of other databases are in the way, nor of
    /// another schema of this one.
    ///
    /// # Errors
    ///
    /// The database is away.
    pub async fn lead(&self, role: &'static str) -> Result<Option<Lease>, Error> {
        let (client, _) = self.connect().await?;
        let lock = "SELECT pg_try_advisory_lock(hashtext('spotgate ' || current_schema()), hashtext($1))";
        let row = within(client.query_one(lock, &[&role])).await?;
        Ok(row.try_get::<_, bool>(0)?.then_some(Lease(client)))
    }
}

impl Listener {
    /// What is heard next; first of all [`Heard::All`].
    ///
    /// # Errors
    ///
    /// The connection is gone: listen anew.
    pub async fn next(&mut self) -> Result<Heard, Error> {
        if !std::mem::replace(&mut self.has_begun, true) {
            return Ok(Heard::All);
        }
        loop {
            let heard = tokio::time::timeout(SILENCE, self.news.told.recv()).await;
            if self.news.missed.swap(false, Ordering::AcqRel) {
                // Whatever waits is in it.
                while self.news.told.try_recv().is_ok() {}
                return Ok(Heard::All);
            }
            match heard {
                Ok(Some(notification)) => {
                    let mut accounts = Vec::new();
                    if !read(notification.payload(), &mut accounts) {
                        return Ok(Heard::All);
                    }
                    // Whatever came meanwhile is heard with it.
                    while let Ok(notification) = self.news.told.try_recv() {
                        if !read(notification.payload(), &mut accounts) {
                            return Ok(Heard::All);
                        }
                    }
                    return Ok(Heard::Accounts(accounts));
                }
                Ok(None) => return Err(Error::Away("the connection that listens is gone".to_owned())),
                Err(_) => within(self.client.batch_execute("SELECT 1")).await?,
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

/// Reads `token:version,token:version`; whether it is that.
fn read(payload: &str, accounts: &mut Vec<(TokenId, u64)>) -> bool {
    for pair in payload.split(',').filter(|pair| !pair.is_empty()) {
        let Some((token, version)) = pair.split_once(':') else { return false };
        let (Ok(token), Ok(version)) = (token.parse(), version.parse()) else { return false };
        accounts.push((TokenId(token), version));
    }
    true
}
