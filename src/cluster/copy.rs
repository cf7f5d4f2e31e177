//! Accounts moved from the files of one daemon into the database of several, or back; and held against each other afterwards.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::path::Path;

use jiff::Timestamp;

use super::OUTBOX;
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
    /// What happened while the database was away is not in it.
    #[error(
        "the outbox in store.path holds {0} records that the database may not have: start the daemon on that database, stop it once \
         its spotgate_store_owed is 0, and see that the outbox of every other daemon is empty, too"
    )]
    Owed(usize),
    /// There is something where it should go.
    #[error("{0} hold accounts already, or sessions that ended: nothing is copied over them")]
    NotEmpty(&'static str),
    /// What is there now is not what was to be copied.
    #[error("{0} accounts are not the same on both sides")]
    Different(usize),
    /// Nor are the sessions that ended.
    #[error("{from} sessions that ended were to be copied, and {to} are there that are not the same")]
    DifferentEnded {
        /// So many there were.
        from: usize,
        /// So many there are now.
        to: usize,
    },
}

/// Sessions that ended, in whatever order: how many, and the sum of a hash of each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Ended {
    count: usize,
    sum: u64,
}

impl Ended {
    fn add(&mut self, Closed { session, token, at_ms, payload }: &Closed) {
        let mut hasher = DefaultHasher::new();
        (session, token, at_ms, payload).hash(&mut hasher);
        self.count += 1;
        self.sum = self.sum.wrapping_add(hasher.finish());
    }

    /// Whether what was copied is what is there now.
    fn same(self, there: Self) -> Result<(), Failed> {
        if self == there { Ok(()) } else { Err(Failed::DifferentEnded { from: self.count, to: there.count }) }
    }
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
    nothing_owed(folder).await?;
    let ledger = open(folder, policy, now).await?;
    database.migrate().await?;
    unused(database).await?;
    if !database.versions().await?.is_empty() || !database.closed_after("").await?.is_empty() {
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
                is_due: false,
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
    let (closed, ended) = closed(folder).await?;
    for closed in closed.chunks(AT_ONCE) {
        database.keep_closed(closed).await?;
        progress.closed += closed.len();
        tell(progress);
    }
    compare(&ledger, database).await?;
    let mut there = Ended::default();
    each_closed(database, async |closed| {
        closed.iter().for_each(|closed| there.add(closed));
        Ok(())
    })
    .await?;
    ended.same(there)?;
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
    nothing_owed(folder).await?;
    let ledger = open(folder, policy, now).await?;
    if !ledger.tokens().is_empty() || closed(folder).await?.1 != Ended::default() {
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
    let mut ended = Ended::default();
    each_closed(database, async |closed| {
        closed.iter().for_each(|closed| ended.add(closed));
        progress.closed += closed.len();
        ledger.keep_closed(closed).settled().await?;
        tell(progress);
        Ok(())
    })
    .await?;
    close(ledger).await?;
    // As a daemon will find it.
    compare(&open(folder, policy, now).await?, database).await?;
    ended.same(closed(folder).await?.1)?;
    Ok(progress)
}

/// Whether the outbox of this machine's daemon is empty. It is left as it is.
async fn nothing_owed(folder: &Path) -> Result<(), Failed> {
    let folder = folder.join(OUTBOX);
    let reading = tokio::task::spawn_blocking(move || {
        let mut records = 0;
        // Where there is no folder there was no daemon with a database.
        if folder.try_exists().map_err(|error| OpenError::Folder { folder: folder.clone(), error })? {
            Journal::read(&folder, |_| records += 1)?;
        }
        Ok::<_, OpenError>(records)
    });
    match reading.await.map_err(|error| Failed::Disk(error.to_string()))?? {
        0 => Ok(()),
        records => Err(Failed::Owed(records)),
    }
}

/// The sessions that ended and stand in the files.
async fn closed(folder: &Path) -> Result<(Vec<Closed>, Ended), Failed> {
    let folder = folder.to_owned();
    let reading = tokio::task::spawn_blocking(move || {
        let (mut all, mut ended) = (Vec::new(), Ended::default());
        let reading = Journal::each_closed(&folder, |closed| {
            ended.add(&closed);
            all.push(closed);
        });
        reading.map(|()| (all, ended))
    });
    Ok(reading.await.map_err(|error| Failed::Disk(error.to_string()))??)
}

/// The sessions that ended and stand in the database, some at a time.
async fn each_closed(
    database: &Database,
    mut take: impl AsyncFnMut(Vec<Closed>) -> Result<(), Failed>,
) -> Result<(), Failed> {
    let mut after = String::new();
    loop {
        let closed = database.closed_after(&after).await?;
        let Some(last) = closed.last() else { return Ok(()) };
        after.clone_from(&last.session);
        take(closed).await?;
    }
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
