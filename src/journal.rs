//! What must survive a power cut, as an append-only journal in SQLite: a record is on disk before it is acknowledged.
//!
//! A record is a token and bytes; what the bytes mean is its writer's business. One thread owns the connection, takes
//! whatever waits, commits once and then wakes everybody who waited, so that a slow disk costs commits, not records.
//!
//! The journal is kept short by snapshots: rows that each stand for all records of one token up to a [`Position`]. As
//! every row has its own position, a snapshot can be taken token by token while new records come in, and whatever a
//! crash leaves of it is right.
//!
//! The file is `ledger.db`; it may be read and backed up with `sqlite3` while it is in use.

mod file;
mod queue;
mod writer;

use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::thread;
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::oneshot;

pub use file::OpenError;
pub(crate) use file::is_damage;
use queue::{Queue, Work};

/// Appends that may wait to be written: sixteen commits, under two seconds on a card that takes 100 ms for each. After
/// that a router has repeated itself, and more in the queue would be the same records again.
const QUEUE: usize = 8192;

/// Appends in one commit; more gain little and make the first wait for the last.
const BATCH: usize = 512;

/// How long records that nobody waits for may wait for company, so that a busy hour costs commits, not logins. What a power cut
/// takes of admissions is less than a second (contract).
const LINGER: Duration = Duration::from_millis(100);

/// How long closing waits for what is queued: a part of the 10 s in which the daemon stops.
pub const CLOSE_WITHIN: Duration = Duration::from_secs(3);

/// A handle on the journal; clones share it. The last one to go closes it as [`Journal::close`] does.
#[derive(Clone, Debug)]
pub struct Journal(Arc<Open>);

/// A journal that was opened.
#[derive(Debug)]
pub struct Opened {
    /// The journal.
    pub journal: Journal,
    /// Where a damaged file was put, if there was one. What could be read of it was replayed and stands in no file of the
    /// new journal: take a snapshot.
    pub damaged: Option<PathBuf>,
}

/// A place in the order of all records.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position(i64);

/// What happened to a token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// The token.
    pub token: i64,
    /// When, in milliseconds since 1970: for whoever reads the file.
    pub at_ms: i64,
    /// What, as its writer writes it.
    pub payload: Vec<u8>,
}

/// A session that ended, for whoever asks later. It stands until [`Journal::retain`] removes it; a later one of the same name
/// takes its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Closed {
    /// Its name. Names that begin with the time keep this fast, since they are added at one end.
    pub session: String,
    /// The token.
    pub token: i64,
    /// When it ended, in milliseconds since 1970.
    pub at_ms: i64,
    /// The rest, as its writer writes it.
    pub payload: Vec<u8>,
}

/// What all records of a token up to a position come to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// The token.
    pub token: i64,
    /// The latest record that it contains: [`Journal::head`], asked under the lock that the token's appends are made under.
    pub at: Position,
    /// What they come to, as its writer writes it.
    pub payload: Vec<u8>,
    /// The same once more, in a form that its writer reads faster; may be empty.
    pub packed: Vec<u8>,
}

/// What is replayed: first the rows of the snapshot, then the records since, in the order in which they were appended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Entry<'a> {
    /// What a token stood at.
    Row {
        /// The token.
        token: i64,
        /// As it was given to [`Journal::snapshot`].
        payload: &'a [u8],
        /// Likewise; empty where an earlier version wrote it.
        packed: &'a [u8],
    },
    /// What happened to it since.
    Record {
        /// The token.
        token: i64,
        /// When, in milliseconds since 1970.
        at_ms: i64,
        /// As it was given to [`Journal::append`].
        payload: &'a [u8],
    },
}

/// Why something is not on disk. Whoever waits for it must not acknowledge it.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Error {
    /// Nothing more is taken: the journal was closed.
    #[error("the journal is closed")]
    Closed,
    /// Go on without, and say so: there is no room, or no permission, or somebody else holds the file. A later attempt
    /// may succeed; records that did not make it are made good by a snapshot, and until then no later one of their tokens
    /// is acknowledged, since it would be replayed without them.
    #[error("the journal cannot be written: {0}")]
    Disk(Arc<str>),
    /// Try again: the disk is behind.
    #[error("the disk is behind: too many records wait to be written")]
    Full,
    /// Stop: the disk lost something or the file is damaged, and nothing is written any more. Opening it again finds out
    /// what is there.
    #[error("the journal must be opened again: {0}")]
    Stop(Arc<str>),
}

/// How the journal fares.
#[derive(Clone, Debug, Default)]
pub enum Health {
    /// The latest commit succeeded, or there was none.
    #[default]
    Good,
    /// The latest commit failed as [`Error::Disk`], with this text.
    Failing(Arc<str>),
    /// Nothing is written any more, as in [`Error::Stop`], for this reason.
    Stopped(Arc<str>),
}

/// Counted since the journal was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Commits that put appends or rows on disk.
    pub commits: u64,
    /// Records on disk.
    pub records: u64,
}

/// Resolves once a record is on disk, or failed to get there. The record is written whether or not somebody waits.
#[derive(Debug)]
#[must_use = "until it resolves, nothing may be acknowledged"]
pub struct Ack(oneshot::Receiver<Result<(), Error>>);

impl Future for Ack {
    type Output = Result<(), Error>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.0)
            .poll(context)
            .map(|outcome| outcome.unwrap_or_else(|_| Err(Error::Stop("its writer is gone".into()))))
    }
}

/// What the handles share among themselves.
#[derive(Debug)]
struct Open {
    folder: PathBuf,
    shared: Arc<Shared>,
    /// Disconnected when the writer is done.
    done: Mutex<Option<Receiver<()>>>,
}

/// What the handles share with the writer.
#[derive(Debug)]
struct Shared {
    queue: Queue,
    health: Mutex<Health>,
    commits: AtomicU64,
    records: AtomicU64,
}

impl Journal {
    /// Opens or creates `ledger.db` in `folder` and replays it. It blocks, for about a second for each million entries.
    ///
    /// A file that is no database or is damaged is set aside under a name with the time `now`, a new one is begun, and a
    /// warning names both; what could be read before the damage was replayed. What a power cut left of a commit that
    /// nobody was told of is cut by SQLite.
    ///
    /// # Errors
    ///
    /// The folder cannot be written, another process has it open, or the file is from a later version.
    pub fn open(folder: &Path, now: Timestamp, replay: impl FnMut(Entry<'_>)) -> Result<Opened, OpenError> {
        Self::open_with(folder, now, replay, QUEUE)
    }

    /// Replays what `folder` holds without writing to it: for a disk that cannot be written. What a crash left in the log
    /// beside the file is read only where the system lets it.
    ///
    /// # Errors
    ///
    /// There is no such file, or it cannot be read.
    pub fn read(folder: &Path, mut replay: impl FnMut(Entry<'_>)) -> Result<(), OpenError> {
        file::read_only(folder, &mut replay)
    }

    /// Whether what could not be opened could be by now: the folder and the file can be written. It blocks.
    ///
    /// # Errors
    ///
    /// As [`Journal::open`].
    pub fn can_be_opened(folder: &Path) -> Result<(), OpenError> {
        file::try_out(folder)
    }

    fn open_with(
        folder: &Path,
        now: Timestamp,
        replay: impl FnMut(Entry<'_>),
        capacity: usize,
    ) -> Result<Opened, OpenError> {
        let (file, head, damaged) = file::File::open(folder, now, replay)?;
        let shared = Arc::new(Shared {
            queue: Queue::new(head, capacity, LINGER),
            health: Mutex::default(),
            commits: AtomicU64::default(),
            records: AtomicU64::default(),
        });
        let (finished, done) = sync_channel(0);
        thread::Builder::new()
            .name("journal".to_owned())
            .spawn({
                let shared = Arc::clone(&shared);
                move || {
                    let finished: std::sync::mpsc::SyncSender<()> = finished;
                    writer::run(file, &shared);
                    drop(finished);
                }
            })
            .map_err(|error| OpenError::Folder { folder: folder.to_owned(), error })?;
        let open = Open { folder: folder.to_owned(), shared, done: Mutex::new(Some(done)) };
        Ok(Opened { journal: Self(Arc::new(open)), damaged })
    }

    /// Queues a record; what is returned resolves when it is on disk.
    ///
    /// The order of the calls is the order of the replay: call it under the lock that orders what happens to the token,
    /// and wait without.
    ///
    /// # Errors
    ///
    /// [`Error::Full`], [`Error::Closed`] or [`Error::Stop`] at once, and nothing is queued.
    pub fn append(&self, record: Record) -> Result<Ack, Error> {
        self.append_all(vec![record], Vec::new(), Vec::new())
    }

    /// Queues records, the sessions that ended by them and the names of those that go on after all, which reach the disk
    /// all or none. Without records, it resolves well once everything before is on disk.
    ///
    /// # Errors
    ///
    /// As [`Journal::append`].
    pub fn append_all(&self, records: Vec<Record>, closed: Vec<Closed>, reopened: Vec<String>) -> Result<Ack, Error> {
        self.push(Work::Append(records, closed, reopened))
    }

    /// The same for what nobody waits for: it is written with what comes within a tenth of a second.
    ///
    /// # Errors
    ///
    /// As [`Journal::append`].
    pub fn note(&self, records: Vec<Record>, closed: Vec<Closed>, reopened: Vec<String>) -> Result<(), Error> {
        self.0.shared.queue.push(Work::Append(records, closed, reopened), None)
    }

    /// Queues records that, together, say of their token all that is to be on disk: with them, what did not get there before
    /// ([`Journal::missing`]) is made good. As for [`Journal::put`], but as records.
    ///
    /// # Errors
    ///
    /// As [`Journal::append`].
    pub fn append_whole(&self, token: i64, records: Vec<Record>) -> Result<Ack, Error> {
        self.push(Work::Whole(token, records))
    }

    /// Forgets some sessions that ended before `ended_before_ms` and whose name is below `named_before`; how many are left
    /// to forget is not known, so call it again now and then.
    ///
    /// # Errors
    ///
    /// As [`Journal::append`] and [`Ack`].
    pub async fn retain(&self, named_before: String, ended_before_ms: i64) -> Result<(), Error> {
        self.push(Work::Retain { named_before, ended_before_ms })?.await
    }

    /// Defines views, for whoever reads the file. Nothing else depends on them.
    ///
    /// # Errors
    ///
    /// As [`Journal::append`].
    pub fn define(&self, views: &'static str) -> Result<Ack, Error> {
        self.push(Work::Define(views))
    }

    /// A session that ended, if it is still kept. It blocks, for a read or two of the disk.
    ///
    /// # Errors
    ///
    /// [`Error::Disk`].
    pub fn closed(&self, session: &str) -> Result<Option<Closed>, Error> {
        file::closed(&self.0.folder, session).map_err(|error| Error::Disk(error.to_string().into()))
    }

    /// Every session that ended and is still kept below `folder`, beside whoever writes there. It blocks.
    ///
    /// # Errors
    ///
    /// [`Error::Disk`].
    pub fn each_closed(folder: &Path, take: impl FnMut(Closed)) -> Result<(), Error> {
        file::each_closed(folder, take).map_err(|error| Error::Disk(error.to_string().into()))
    }

    /// The position of the latest record queued.
    #[must_use]
    pub fn head(&self) -> Position {
        self.0.shared.queue.head()
    }

    /// Puts rows in the place of the records they contain.
    ///
    /// Together `parts` hold every token there is: one that is not among them is forgotten, with its records before the
    /// call. Each part is asked for when the one before is on disk and is one commit, so a few thousand rows are a good
    /// size: appends are committed in between, and memory stays flat.
    ///
    /// # Errors
    ///
    /// As [`Journal::append`] and [`Ack`]. What was written by then is right; the file is merely longer than it need be.
    pub async fn snapshot(&self, parts: impl IntoIterator<Item = Vec<Row>>) -> Result<(), Error> {
        let mut covers = self.head();
        for rows in parts.into_iter().filter(|rows| !rows.is_empty()) {
            // Were a row older than this call, the records it does not contain must stay.
            covers = rows.iter().map(|row| row.at).fold(covers, Position::min);
            self.push(Work::Rows(rows, Vec::new()))?.await?;
        }
        self.push(Work::Cut(covers))?.await
    }

    /// Forgets every record queued so far; rows stay.
    ///
    /// # Errors
    ///
    /// As [`Journal::append`].
    pub fn cut(&self) -> Result<Ack, Error> {
        self.push(Work::Cut(self.head()))
    }

    /// How it fares.
    #[must_use]
    pub fn health(&self) -> Health {
        self.0.shared.health.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The tokens of which a record did not get to the disk. Their rows ([`Journal::put`]) make it good.
    #[must_use]
    pub fn missing(&self) -> Vec<i64> {
        self.0.shared.queue.missing()
    }

    /// Puts a row in the place of the records it contains, as in a snapshot, with the sessions that ended by them, and leaves
    /// other tokens as they are. As for [`Journal::append`], but what is missing is made good.
    ///
    /// # Errors
    ///
    /// As [`Journal::append`].
    pub fn put(&self, row: Row, closed: Vec<Closed>) -> Result<Ack, Error> {
        self.push(Work::Rows(vec![row], closed))
    }

    /// What was counted.
    #[must_use]
    pub fn counters(&self) -> Counters {
        let Shared { commits, records, .. } = &*self.0.shared;
        Counters { commits: commits.load(Ordering::Relaxed), records: records.load(Ordering::Relaxed) }
    }

    /// Takes nothing more, from any clone, and waits at most 3 s until what is queued is on disk and the file closed.
    /// It blocks.
    ///
    /// # Errors
    ///
    /// [`Error::Disk`] if that took longer, or as [`Journal::health`] at the end.
    pub fn close(self) -> Result<(), Error> {
        self.0.close()?;
        match self.health() {
            Health::Good => Ok(()),
            Health::Failing(why) => Err(Error::Disk(why)),
            Health::Stopped(why) => Err(Error::Stop(why)),
        }
    }

    #[cfg(test)]
    pub(crate) fn misbehave(&self, statement: &str) -> Result<Ack, Error> {
        self.push(Work::Statement(statement.to_owned()))
    }

    fn push(&self, work: Work) -> Result<Ack, Error> {
        let (waiter, outcome) = oneshot::channel();
        self.0.shared.queue.push(work, Some(waiter))?;
        Ok(Ack(outcome))
    }
}

impl Open {
    fn close(&self) -> Result<(), Error> {
        self.shared.queue.close(Error::Closed);
        let Some(done) = self.done.lock().unwrap_or_else(PoisonError::into_inner).take() else { return Ok(()) };
        match done.recv_timeout(CLOSE_WITHIN) {
            Err(RecvTimeoutError::Timeout) => Err(Error::Disk("it did not finish in time".into())),
            Ok(()) | Err(RecvTimeoutError::Disconnected) => Ok(()),
        }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        if let Err(error) = self.close() {
            tracing::warn!(%error, "the journal was left before it was done");
        }
    }
}

#[cfg(test)]
mod tests;
