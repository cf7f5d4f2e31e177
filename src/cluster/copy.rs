//! Accounts moved from the files of one daemon into the database of several, or back; and held against each other afterwards.

use std::path::Path;

use jiff::Timestamp;

use crate::core::policy::Policy;
use crate::database::{self, Database};
use crate::journal::{self, Journal, OpenError};
use crate::ledger::{Change, Closed, Ledger, Opened, Swapped, Unwritten};

/// Accounts, or sessions that ended, written at once.
const AT_ONCE: usize = 500;

/// How far it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Accounts that are there.
    pub accounts: usize,
    /// Of so many.
    pub of: usize,
    /// Sessions that ended and are there.
    pub closed: usize,
}

/// Why nothing, or not everything, was copied.
#[derive(Debug, thiserror::Error)]
pub enum Failed {
    /// The files cannot be used; a daemon may have them open.
    #[error("the files: {0}")]
    Files(#[from] OpenError),
    /// What is in them is not whole.
    #[error("the files: {0}")]
    Damaged(String),
    /// The disk failed.
    #[error("the files: {0}")]
    Disk(String),
    /// The database does not do it.
    #[error("the database: {0}")]
    Database(#[from] database::Error),
    /// A daemon works with it.
    #[error("the database: {0} daemons are connected to it: stop them first")]
    InUse(i64),
    /// There is something where it should go.
    #[error("{0} hold accounts already: nothing is copied over them")]
    NotEmpty(&'static str),
    /// What is there now is not what was to be copied.
    #[error("{0} accounts are not the same on both sides")]
    Different(usize),
}

impl From<journal::Error> for Failed {
    fn from(error: journal::Error) -> Self {
        Self::Disk(error.to_string())
    }
}

impl From<Unwritten> for Failed {
    fn from(error: Unwritten) -> Self {
        Self::Disk(error.to_string())
    }
}

/// Copies what the files in `folder` hold into an empty database, and compares.
///
/// # Errors
///
/// See [`Failed`]. What was copied by then stays; it is refused to be copied over.
pub async fn into_database(
    folder: &Path,
    database: &Database,
    policy: &Policy,
    now: Timestamp,
    mut tell: impl FnMut(Progress),
) -> Result<Progress, Failed> {
    let ledger = open(folder, policy, now).await?;
    database.migrate().await?;
    unused(database).await?;
    if !database.versions().await?.is_empty() {
        return Err(Failed::NotEmpty("the database's tables"));
    }
    let tokens = ledger.tokens();
    let mut progress = Progress { of: tokens.len(), ..Progress::default() };
    for tokens in tokens.chunks(AT_ONCE) {
        let changes: Vec<Change> = tokens
            .iter()
            .filter_map(|token| ledger.row(*token))
            .map(|row| Change {
                token: row.token,
                version: 0,
                becomes: 1,
                state: row.state,
                doubted: Vec::new(),
                closed: Vec::new(),
                reopened: Vec::new(),
            })
            .collect();
        if database.swap(&changes).await?.iter().any(|swapped| *swapped != Swapped::Done) {
            return Err(Failed::NotEmpty("the database's tables"));
        }
        progress.accounts += changes.len();
        tell(progress);
    }
    let folder = folder.to_owned();
    let reading = tokio::task::spawn_blocking(move || {
        let mut all = Vec::new();
        Journal::each_closed(&folder, |closed| all.push(closed)).map(|()| all)
    });
    let closed: Vec<Closed> = reading.await.map_err(|error| Failed::Disk(error.to_string()))??;
    for closed in closed.chunks(AT_ONCE) {
        database.keep_closed(closed).await?;
        progress.closed += closed.len();
        tell(progress);
    }
    compare(&ledger, database).await?;
    close(ledger).await?;
    Ok(progress)
}

/// Copies what the database holds into an empty ledger in `folder`, and compares.
///
/// # Errors
///
/// As [`into_database`].
pub async fn into_files(
    database: &Database,
    folder: &Path,
    policy: &Policy,
    now: Timestamp,
    mut tell: impl FnMut(Progress),
) -> Result<Progress, Failed> {
    let ledger = open(folder, policy, now).await?;
    if !ledger.tokens().is_empty() {
        return Err(Failed::NotEmpty("the files"));
    }
    database.migrate().await?;
    unused(database).await?;
    let mut unreadable = 0;
    database.accounts(|row| unreadable += usize::from(!ledger.take_in(&row, policy))).await?;
    if unreadable > 0 {
        return Err(Failed::Different(unreadable));
    }
    ledger.snapshot(now, Timestamp::MIN).await?;
    let accounts = ledger.tokens().len();
    let mut progress = Progress { accounts, of: accounts, closed: 0 };
    tell(progress);
    let mut after = String::new();
    loop {
        let closed = database.closed_after(&after).await?;
        let Some(last) = closed.last() else { break };
        after.clone_from(&last.session);
        progress.closed += closed.len();
        ledger.keep_closed(closed).settled().await?;
        tell(progress);
    }
    close(ledger).await?;
    // As a daemon will find it.
    compare(&open(folder, policy, now).await?, database).await?;
    Ok(progress)
}

async fn open(folder: &Path, policy: &Policy, now: Timestamp) -> Result<Ledger, Failed> {
    let (folder, policy) = (folder.to_owned(), policy.clone());
    let opening = tokio::task::spawn_blocking(move || Ledger::open(&folder, &policy, now));
    let Opened { ledger, trouble } = opening.await.map_err(|error| Failed::Disk(error.to_string()))??;
    trouble.map_or(Ok(ledger), |trouble| Err(Failed::Damaged(trouble)))
}

async fn close(ledger: Ledger) -> Result<(), Failed> {
    let closing = tokio::task::spawn_blocking(move || ledger.close());
    Ok(closing.await.map_err(|error| Failed::Disk(error.to_string()))??)
}

async fn unused(database: &Database) -> Result<(), Failed> {
    match database.server().await?.1 {
        0 => Ok(()),
        daemons => Err(Failed::InUse(daemons)),
    }
}

/// Whether each account is the same on both sides, and on both.
async fn compare(ledger: &Ledger, database: &Database) -> Result<(), Failed> {
    let (mut different, mut there) = (0, 0);
    database
        .accounts(|row| {
            there += 1;
            let here = ledger.row(row.token).map(|row| row.unmarked());
            different += usize::from(here != Some(row.unmarked()));
        })
        .await?;
    different += ledger.tokens().len().abs_diff(there);
    if different > 0 { Err(Failed::Different(different)) } else { Ok(()) }
}
