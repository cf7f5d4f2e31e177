//! The file: opening, replaying, writing, setting aside.

use std::collections::HashMap;
use std::fs::{self, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::panic::resume_unwind;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use jiff::Timestamp;
use rusqlite::config::DbConfig;
use rusqlite::{Connection, ErrorCode, OpenFlags, Row as Columns, Statement, TransactionBehavior, ffi, params};

use super::queue::{Queued, Work};
use super::{Closed, Entry, Position, Record};

/// The file's name in its folder.
const NAME: &str = "ledger.db";

/// A file that is locked while the journal is open. Not the database itself: closing any descriptor of that would undo
/// the locks SQLite holds on it (<https://www.sqlite.org/howtocorrupt.html>, 2.2).
const LOCK: &str = "ledger.lock";

/// `user_version` of what [`SCHEMA`] makes.
const VERSION: i64 = 2;

/// Records are only ever appended: a key would scatter writes over the file and cost a tenth of the speed.
const SCHEMA: &str = "
CREATE TABLE journal (position INTEGER PRIMARY KEY, token INTEGER NOT NULL, at_ms INTEGER NOT NULL, payload BLOB NOT NULL) STRICT;
CREATE TABLE snapshot (token INTEGER PRIMARY KEY, position INTEGER NOT NULL, payload BLOB NOT NULL, packed BLOB NOT NULL) STRICT;
CREATE TABLE closed (session TEXT PRIMARY KEY, token INTEGER NOT NULL, at_ms INTEGER NOT NULL, payload BLOB NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE covered (position INTEGER NOT NULL) STRICT;
INSERT INTO covered VALUES (0);
PRAGMA user_version = 2;
";

/// What brings a file of version 1 to [`SCHEMA`].
const FROM_1: &str = "ALTER TABLE snapshot ADD COLUMN packed BLOB NOT NULL DEFAULT x''; PRAGMA user_version = 2;";

/// How long a commit waits for somebody who holds the file, such as an operator with `sqlite3`.
const BUSY: Duration = Duration::from_secs(2);

/// Superfluous records removed in one commit: a few milliseconds.
const SWEEP: i64 = 8192;

/// Why a journal cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The folder cannot be made, read or written.
    #[error("{folder}: {error}", folder = folder.display())]
    Folder {
        /// The folder.
        folder: PathBuf,
        /// Why not.
        #[source]
        error: io::Error,
    },
    /// Another process has it open.
    #[error("{path}: in use by another process", path = path.display())]
    InUse {
        /// The file that is locked.
        path: PathBuf,
    },
    /// The file is from a later version, and stays as it is.
    #[error("{path}: written by a later version (schema {found}, known is {VERSION})", path = path.display())]
    Later {
        /// The file.
        path: PathBuf,
        /// Its schema.
        found: i64,
    },
    /// The file is not damaged, but cannot be opened or written.
    #[error("{path}: {error}", path = path.display())]
    Sqlite {
        /// The file.
        path: PathBuf,
        /// What SQLite says.
        #[source]
        error: rusqlite::Error,
    },
}

/// What went wrong while writing. Nothing of the commit is on disk.
#[derive(Debug)]
pub(super) enum Fault {
    /// It may go better later.
    Disk(Arc<str>),
    /// What the system says about the file cannot be believed any more.
    Stop(Arc<str>),
}

impl From<rusqlite::Error> for Fault {
    fn from(error: rusqlite::Error) -> Self {
        let why = error.to_string().into();
        if is_passing(&error) { Self::Disk(why) } else { Self::Stop(why) }
    }
}

/// The open file.
#[derive(Debug)]
pub(super) struct File {
    connection: Connection,
    /// Held as long as the connection, and dropped after it.
    _lock: Lock,
}

/// That no other process has the journal open.
#[derive(Debug)]
struct Lock(fs::File);

impl Drop for Lock {
    fn drop(&mut self) {
        // Closing would not do: a process just forked by another thread shares the lock until it starts its program.
        if let Err(error) = self.0.unlock() {
            tracing::debug!(%error, "the journal's lock ends with this process");
        }
    }
}

impl File {
    /// Opens or creates the file in `folder` and replays it. The position is that of the latest record; the path is where
    /// a damaged file went.
    pub(super) fn open(
        folder: &Path,
        now: Timestamp,
        mut replay: impl FnMut(Entry<'_>),
    ) -> Result<(Self, Position, Option<PathBuf>), OpenError> {
        let inaccessible = |error| OpenError::Folder { folder: folder.to_owned(), error };
        fs::create_dir_all(folder).map_err(inaccessible)?;
        let lock = lock(folder)?;
        let path = folder.join(NAME);
        let attempt = |replay: &mut dyn FnMut(Entry<'_>)| {
            // Made here and not by SQLite, for its mode; the log beside it gets the same.
            OpenOptions::new().append(true).create(true).mode(0o600).open(&path).map_err(inaccessible)?;
            fs::File::open(folder).and_then(|folder| folder.sync_all()).map_err(inaccessible)?;
            read(&path, replay)
        };
        match attempt(&mut replay) {
            Ok((connection, head)) => Ok((Self { connection, _lock: lock }, head, None)),
            // SQLite calls it damage, too, that the disk could not be read for once.
            Err(OpenError::Sqlite { error, .. }) if is_damage(&error) && reads_well(&path).is_ok() => {
                tracing::warn!(%error, "the journal could not be read for a moment");
                Err(OpenError::Sqlite {
                    path,
                    error: failure(ffi::SQLITE_IOERR_READ, "it could not be read for a moment"),
                })
            }
            Err(OpenError::Sqlite { error, .. }) if is_damage(&error) => {
                let aside = set_aside(folder, now).map_err(inaccessible)?;
                tracing::warn!(
                    %error, file = %path.display(), aside = %aside.display(),
                    "the journal is damaged: it was set aside, and a new one begun"
                );
                let (connection, head) = attempt(&mut |_| {})?;
                Ok((Self { connection, _lock: lock }, head, Some(aside)))
            }
            Err(error) => Err(error),
        }
    }

    /// Commits a batch, and says how many records it held.
    pub(super) fn write(&mut self, batch: &[Queued]) -> Result<u64, Fault> {
        // Before the transaction, in which some have no effect.
        #[cfg(test)]
        for queued in batch {
            if let Work::Statement(statement) = &queued.work {
                self.connection.execute_batch(statement)?;
            }
        }
        let transaction = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let mut count = 0;
        {
            let mut append = transaction.prepare("INSERT INTO journal VALUES (?1, ?2, ?3, ?4)")?;
            let mut close = transaction.prepare("INSERT OR REPLACE INTO closed VALUES (?1, ?2, ?3, ?4)")?;
            for Queued { work, first, .. } in batch {
                match work {
                    Work::Whole(_, records) => count += append_all(&mut append, *first, records)?,
                    Work::Append(records, closed, reopened) => {
                        count += append_all(&mut append, *first, records)?;
                        for session in reopened {
                            transaction.execute("DELETE FROM closed WHERE session = ?1", [session])?;
                        }
                        close_all(&mut close, closed)?;
                    }
                    Work::Retain { named_before, ended_before_ms } => {
                        let mut forget = transaction.prepare(
                            "DELETE FROM closed WHERE session IN
                             (SELECT session FROM closed WHERE session < ?1 AND at_ms < ?2 LIMIT ?3)",
                        )?;
                        forget.execute(params![named_before, ended_before_ms, SWEEP])?;
                    }
                    Work::Rows(rows, closed) => {
                        // Rows of an earlier snapshot that was overtaken change nothing.
                        let mut put = transaction.prepare(
                            "INSERT INTO snapshot VALUES (?1, ?2, ?3, ?4) ON CONFLICT (token) DO UPDATE
                             SET position = excluded.position, payload = excluded.payload, packed = excluded.packed
                             WHERE excluded.position >= position",
                        )?;
                        for row in rows {
                            put.execute(params![row.token, row.at.0, row.payload, row.packed])?;
                        }
                        close_all(&mut close, closed)?;
                    }
                    Work::Cut(covers) => {
                        // Both at once: a token that is gone must lose its row and its records together.
                        transaction.execute("UPDATE covered SET position = max(position, ?1)", [covers.0])?;
                        transaction.execute("DELETE FROM snapshot WHERE position < ?1", [covers.0])?;
                    }
                    Work::Define(statements) => transaction.execute_batch(statements)?,
                    #[cfg(test)]
                    Work::Statement(_) => {}
                }
            }
        }
        transaction.commit()?;
        Ok(count)
    }

    /// Removes some records that are covered by the snapshot; whether there may be more.
    pub(super) fn sweep(&mut self) -> Result<bool, Fault> {
        let removed = self.connection.execute(
            "DELETE FROM journal WHERE position <=
             min((SELECT position FROM covered), (SELECT min(position) FROM journal) + ?1)",
            [SWEEP - 1],
        )?;
        Ok(removed > 0)
    }

    /// Carries the write-ahead log over into the database, as far as readers let it; once that is all of it, cuts it to
    /// nothing, so that a start after a power cut need not do so again.
    pub(super) fn carry_over(&self) -> Result<(), Fault> {
        let checkpoint = |how| {
            let ask = format!("PRAGMA wal_checkpoint({how})");
            self.connection.query_row(&ask, [], |columns| Ok(columns.get::<_, i64>(1)? == columns.get::<_, i64>(2)?))
        };
        if checkpoint("PASSIVE")? {
            // Whoever reads may go on: it is left for the next time.
            self.connection.busy_timeout(Duration::ZERO)?;
            let cut = checkpoint("TRUNCATE");
            self.connection.busy_timeout(BUSY)?;
            cut?;
        }
        Ok(())
    }
}

fn append_all(append: &mut Statement<'_>, first: Position, records: &[Record]) -> Result<u64, rusqlite::Error> {
    let mut count = 0;
    for (position, record) in (first.0..).zip(records) {
        append.execute(params![position, record.token, record.at_ms, record.payload])?;
        count += 1;
    }
    Ok(count)
}

fn close_all(close: &mut Statement<'_>, closed: &[Closed]) -> rusqlite::Result<()> {
    for Closed { session, token, at_ms, payload } in closed {
        close.execute(params![session, token, at_ms, payload])?;
    }
    Ok(())
}

/// Whether a start could read and write what is there. Where nothing is, a disk may be missing, and nothing is made; a file that is
/// damaged is for a start to deal with.
pub(super) fn try_out(folder: &Path) -> Result<(), OpenError> {
    let path = folder.join(NAME);
    fs::metadata(&path).map_err(|error| OpenError::Folder { folder: folder.to_owned(), error })?;
    let _lock = lock(folder)?;
    match read(&path, &mut |_| {}) {
        Err(OpenError::Sqlite { error, .. }) if is_damage(&error) && reads_well(&path).is_err() => Ok(()),
        outcome => outcome.map(drop),
    }
}

fn lock(folder: &Path) -> Result<Lock, OpenError> {
    let path = folder.join(LOCK);
    let inaccessible = |error| OpenError::Folder { folder: folder.to_owned(), error };
    let file = OpenOptions::new().append(true).create(true).mode(0o600).open(&path).map_err(inaccessible)?;
    match file.try_lock() {
        Ok(()) => Ok(Lock(file)),
        Err(TryLockError::WouldBlock) => Err(OpenError::InUse { path }),
        Err(TryLockError::Error(error)) => Err(inaccessible(error)),
    }
}

fn read(path: &Path, replay: &mut dyn FnMut(Entry<'_>)) -> Result<(Connection, Position), OpenError> {
    let sqlite = |error| OpenError::Sqlite { path: path.to_owned(), error };
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags).map_err(sqlite)?;
    // A damaged file is set aside as it was found.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true).map_err(sqlite)?;
    let found = prepare(&connection).map_err(sqlite)?;
    if found > VERSION {
        return Err(OpenError::Later { path: path.to_owned(), found });
    }
    // Both only read, so they may do so at once.
    let head = thread::scope(|scope| {
        let verifying = scope.spawn(|| verify(path));
        let head = replay_all(&connection, replay);
        verifying.join().unwrap_or_else(|panic| resume_unwind(panic)).and(head)
    })
    .map_err(sqlite)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, false).map_err(sqlite)?;
    // After a failed sync the log may look whole and not be on disk. Written anew elsewhere and cut to nothing, it
    // cannot take later commits with it.
    match connection
        .query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))
        .map_err(|error| (is_passing(&error), error))
    {
        Err((true, error)) => tracing::warn!(%error, "the journal's log is left as it was found"),
        Err((false, error)) => return Err(sqlite(error)),
        Ok(()) => {}
    }
    // What replaying left in its cache is not read again.
    connection.execute_batch("PRAGMA shrink_memory").map_err(sqlite)?;
    Ok((connection, head))
}

/// Whether all of it can be read after all.
fn reads_well(path: &Path) -> rusqlite::Result<()> {
    verify(path)?;
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(BUSY)?;
    replay_all(&connection, &mut |_| {}).map(drop)
}

/// A session that ended, read beside the writer.
pub(super) fn closed(folder: &Path, session: &str) -> rusqlite::Result<Option<Closed>> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(folder.join(NAME), flags)?;
    connection.busy_timeout(BUSY)?;
    let mut find = connection.prepare("SELECT token, at_ms, payload FROM closed WHERE session = ?1")?;
    let mut rows = find.query([session])?;
    let Some(columns) = rows.next()? else { return Ok(None) };
    let payload = bytes(columns, 2)?.to_vec();
    Ok(Some(Closed { session: session.to_owned(), token: columns.get(0)?, at_ms: columns.get(1)?, payload }))
}

/// Every session that ended and is kept.
pub(super) fn each_closed(folder: &Path, mut take: impl FnMut(Closed)) -> rusqlite::Result<()> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(folder.join(NAME), flags)?;
    connection.busy_timeout(BUSY)?;
    let mut all = connection.prepare("SELECT session, token, at_ms, payload FROM closed ORDER BY session")?;
    each(all.query([])?, |columns| {
        let payload = bytes(columns, 3)?.to_vec();
        take(Closed { session: columns.get(0)?, token: columns.get(1)?, at_ms: columns.get(2)?, payload });
        Ok(())
    })
}

/// Replays a file on a disk that cannot be written.
pub(super) fn read_only(folder: &Path, replay: &mut dyn FnMut(Entry<'_>)) -> Result<(), OpenError> {
    let path = folder.join(NAME);
    let attempt = |options: &str, alone: bool, replay: &mut dyn FnMut(Entry<'_>)| {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_URI;
        let uri = format!("file:{}?{options}", percent(&path));
        let connection = Connection::open_with_flags(uri, flags)?;
        if alone {
            connection.query_row("PRAGMA locking_mode = EXCLUSIVE", [], |_| Ok(()))?;
        }
        connection.query_row("SELECT position FROM covered", [], |_| Ok(()))?;
        replay_all(&connection, replay).map(drop)
    };
    // Where the index of the log can be neither made nor read, it is made in memory; and where there is no log, as after a
    // clean end, nor can be, the file alone is read.
    let mut read = attempt("mode=ro", false, replay);
    for (options, alone) in [("mode=ro&vfs=unix-none", true), ("immutable=1", false)] {
        match &read {
            Err(error) if !is_damage(error) => read = attempt(options, alone, replay),
            _ => break,
        }
    }
    read.map_err(|error| OpenError::Sqlite { path, error })
}

/// A path as SQLite wants it in a URI.
fn percent(path: &Path) -> String {
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"/-_.~".contains(byte);
    let octets = path.as_os_str().as_encoded_bytes().iter();
    octets.map(|byte| if plain(byte) { char::from(*byte).to_string() } else { format!("%{byte:02X}") }).collect()
}

/// Sets the connection up, makes the tables if there are none, and says which schema it found.
fn prepare(connection: &Connection) -> rusqlite::Result<i64> {
    connection.busy_timeout(BUSY)?;
    let found = connection.query_row("PRAGMA user_version", [], |columns| columns.get(0))?;
    if found > VERSION {
        return Ok(found);
    }
    let mode: String = connection.query_row("PRAGMA journal_mode = WAL", [], |columns| columns.get(0))?;
    if mode != "wal" {
        return Err(failure(ffi::SQLITE_CANTOPEN, "no write-ahead log is possible on this file system"));
    }
    // FULL: with NORMAL a power cut takes the latest commits. A log that grew behind a long reader shrinks to 64 MiB. Pages
    // are written in the order in which they stand, and hardly one is needed again.
    connection.execute_batch(
        "PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON;
         PRAGMA wal_autocheckpoint = 4000; PRAGMA journal_size_limit = 67108864;
         PRAGMA cache_size = -512;",
    )?;
    let wanting = match found {
        0 => SCHEMA,
        1 => FROM_1,
        // Without a lock that somebody else may hold.
        _ => return Ok(found),
    };
    connection.execute_batch(&format!("BEGIN IMMEDIATE; {wanting} COMMIT;"))?;
    Ok(found)
}

fn replay_all(connection: &Connection, replay: &mut dyn FnMut(Entry<'_>)) -> rusqlite::Result<Position> {
    let covered: i64 = connection.query_row("SELECT position FROM covered", [], |columns| columns.get(0))?;
    // A row may be later than every record: those it contains need not have reached the disk.
    let mut head = covered;
    // Rows of a snapshot that was not finished contain records that are still there.
    let mut contained: HashMap<i64, i64> = HashMap::new();
    let version: i64 = connection.query_row("PRAGMA user_version", [], |columns| columns.get(0))?;
    // A file of version 1 on a disk that cannot be written stays one.
    let packed = if version < 2 { "x''" } else { "packed" };
    let mut rows =
        connection.prepare(&format!("SELECT token, position, payload, {packed} FROM snapshot ORDER BY token"))?;
    each(rows.query([])?, |columns| {
        let (token, position) = (columns.get(0)?, columns.get(1)?);
        if position > covered {
            contained.insert(token, position);
        }
        head = head.max(position);
        replay(Entry::Row { token, payload: bytes(columns, 2)?, packed: bytes(columns, 3)? });
        Ok(())
    })?;
    let mut records = connection
        .prepare("SELECT position, token, at_ms, payload FROM journal WHERE position > ?1 ORDER BY position")?;
    each(records.query([covered])?, |columns| {
        let (position, token) = (columns.get(0)?, columns.get(1)?);
        if contained.get(&token).is_none_or(|contained| position > *contained) {
            head = head.max(position);
            replay(Entry::Record { token, at_ms: columns.get(2)?, payload: bytes(columns, 3)? });
        }
        Ok(())
    })?;
    let last: Option<i64> = connection.query_row("SELECT max(position) FROM journal", [], |columns| columns.get(0))?;
    Ok(Position(head.max(last.unwrap_or_default())))
}

fn each(
    mut rows: rusqlite::Rows<'_>,
    mut visit: impl FnMut(&Columns<'_>) -> rusqlite::Result<()>,
) -> rusqlite::Result<()> {
    while let Some(columns) = rows.next()? {
        visit(columns)?;
    }
    Ok(())
}

fn bytes<'c>(columns: &'c Columns<'_>, index: usize) -> rusqlite::Result<&'c [u8]> {
    Ok(columns.get_ref(index)?.as_blob()?)
}

/// Finds damage that reading does not meet and writing would.
fn verify(path: &Path) -> rusqlite::Result<()> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(BUSY)?;
    connection.execute_batch("PRAGMA cache_size = -512")?;
    let verdict: String = connection.query_row("PRAGMA quick_check(1)", [], |columns| columns.get(0))?;
    if verdict == "ok" { Ok(()) } else { Err(failure(ffi::SQLITE_CORRUPT, &verdict)) }
}

fn failure(code: i32, message: &str) -> rusqlite::Error {
    rusqlite::Error::SqliteFailure(ffi::Error::new(code), Some(message.to_owned()))
}

/// Whether the file is to blame, and not the disk, the system or another process.
pub(crate) fn is_damage(error: &rusqlite::Error) -> bool {
    match error.sqlite_error_code() {
        // Unknown is a table or column that is missing.
        Some(code) => matches!(code, ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt | ErrorCode::Unknown),
        None => true,
    }
}

/// Whether it may go better later, and what is on disk can be relied on meanwhile.
fn is_passing(error: &rusqlite::Error) -> bool {
    error.sqlite_error().is_some_and(|error| match error.code {
        ErrorCode::DiskFull | ErrorCode::ReadOnly | ErrorCode::DatabaseBusy | ErrorCode::OutOfMemory => true,
        // Writing failed, and the commit is rolled back: a quota, a limit, or a full disk where SQLite does not call it
        // so. A failed sync is another matter: the kernel may drop what it could not write and report success the next
        // time (<https://lwn.net/Articles/752063/>).
        ErrorCode::SystemIoFailure => matches!(
            error.extended_code,
            ffi::SQLITE_IOERR_WRITE
                | ffi::SQLITE_IOERR_TRUNCATE
                | ffi::SQLITE_IOERR_SHMSIZE
                | ffi::SQLITE_IOERR_NOMEM
                | ffi::SQLITE_IOERR_LOCK
        ),
        _ => false,
    })
}

/// Renames the database and its log, the log first: were it left behind, SQLite would take it for the new database's.
fn set_aside(folder: &Path, now: Timestamp) -> io::Result<PathBuf> {
    let stem = format!("{NAME}.damaged-{}", now.strftime("%Y%m%dT%H%M%SZ"));
    let names = std::iter::once(stem.clone()).chain((2..).map(|count| format!("{stem}-{count}")));
    let free = |name: &String| !folder.join(name).exists() && !folder.join(format!("{name}-wal")).exists();
    let name = names.into_iter().find(free).unwrap_or(stem);
    for (from, to) in [(format!("{NAME}-wal"), format!("{name}-wal")), (NAME.to_owned(), name.clone())] {
        match fs::rename(folder.join(from), folder.join(to)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            Ok(()) | Err(_) => {}
        }
    }
    match fs::remove_file(folder.join(format!("{NAME}-shm"))) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    fs::File::open(folder)?.sync_all()?;
    Ok(folder.join(name))
}
