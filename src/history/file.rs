//! The history as an SQLite file: plain tables that an operator can read with `sqlite3`.

use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::Timestamp;
use rusqlite::{Connection, OpenFlags, Row, TransactionBehavior, ffi, params};

use super::{Action, Column, Decided, Filter, SLOT};
use crate::core::decide::Reason;
use crate::core::ident::{Code, Mac, NasName, TokenId};
use crate::gate::Via;
use crate::journal::is_damage;

/// The file's name in its folder.
const NAME: &str = "history.db";

/// `user_version` of what [`SCHEMA`] makes.
const VERSION: i64 = 1;

/// Times are milliseconds since 1970, slots seconds. `reason` is `none` where it was allowed.
const SCHEMA: &str = "
CREATE TABLE decisions (id INTEGER PRIMARY KEY, at_ms INTEGER NOT NULL, via TEXT NOT NULL, nas TEXT NOT NULL, mac TEXT,
  code TEXT COLLATE NOCASE, token INTEGER, reason TEXT NOT NULL, session_timeout INTEGER, session TEXT) STRICT;
CREATE INDEX decisions_at ON decisions (at_ms);
CREATE INDEX decisions_mac ON decisions (mac) WHERE mac IS NOT NULL;
CREATE INDEX decisions_code ON decisions (code) WHERE code IS NOT NULL;
CREATE TABLE outcomes (slot INTEGER, reason TEXT, count INTEGER NOT NULL, PRIMARY KEY (slot, reason)) STRICT, WITHOUT ROWID;
CREATE TABLE samples (slot INTEGER PRIMARY KEY, sessions INTEGER NOT NULL, used_seconds INTEGER NOT NULL) STRICT;
CREATE TABLE actions (id INTEGER PRIMARY KEY, at_ms INTEGER NOT NULL, who TEXT NOT NULL, origin TEXT, action TEXT NOT NULL,
  subject TEXT NOT NULL) STRICT;
PRAGMA user_version = 1;
";

/// Decisions kept at most, whatever `retain_decisions` says: about 100 MB. The oldest go.
const MOST_DECISIONS: i64 = 500_000;

/// The same in memory.
const MOST_IN_MEMORY: i64 = 10_000;

/// Rows removed at once: a few milliseconds.
const SWEEP: i64 = 4096;

/// How long a commit waits for somebody who holds the file.
const BUSY: Duration = Duration::from_secs(2);

/// The open file.
#[derive(Debug)]
pub(super) struct File {
    connection: Connection,
    most: i64,
}

impl File {
    pub(super) fn open(folder: &Path, now: Timestamp) -> rusqlite::Result<Self> {
        let path = folder.join(NAME);
        match Self::read(&path) {
            Err(error) if is_damage(&error) => {
                set_aside(&path, &error, now);
                Self::read(&path)
            }
            outcome => outcome,
        }
    }

    /// Sets a file aside that turned out to be damaged, and begins a new one.
    pub(super) fn begin_anew(&mut self, error: &rusqlite::Error, now: Timestamp) -> rusqlite::Result<()> {
        let Some(path) = self.connection.path().filter(|path| !path.is_empty()).map(PathBuf::from) else {
            return Err(rusqlite::Error::InvalidPath(PathBuf::new()));
        };
        set_aside(&path, error, now);
        *self = Self::read(&path)?;
        Ok(())
    }

    fn read(path: &Path) -> rusqlite::Result<Self> {
        // Made here for its mode; SQLite says what is wrong where that fails.
        let _ = OpenOptions::new().append(true).create(true).mode(0o600).open(path);
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(path, flags)?;
        connection.busy_timeout(BUSY)?;
        connection.query_row("PRAGMA journal_mode = WAL", [], |_| Ok(()))?;
        // A power cut takes the latest commits and leaves the file whole.
        connection.execute_batch(
            "PRAGMA synchronous = NORMAL; PRAGMA secure_delete = ON; PRAGMA journal_size_limit = 4194304",
        )?;
        Self::prepared(connection, MOST_DECISIONS)
    }

    pub(super) fn in_memory() -> rusqlite::Result<Self> {
        Self::prepared(Connection::open_in_memory()?, MOST_IN_MEMORY)
    }

    pub(super) const fn is_in_memory(&self) -> bool {
        self.most == MOST_IN_MEMORY
    }

    fn prepared(mut connection: Connection, most: i64) -> rusqlite::Result<Self> {
        let found: i64 = connection.query_row("PRAGMA user_version", [], |row| row.get(0))?;
        if found == 0 {
            let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            transaction.execute_batch(SCHEMA)?;
            transaction.commit()?;
        } else if found > VERSION {
            // No damage: it stays where it is.
            let later = ffi::Error::new(ffi::SQLITE_MISMATCH);
            return Err(rusqlite::Error::SqliteFailure(
                later,
                Some(format!("{NAME} is from a later version ({found})")),
            ));
        }
        Ok(Self { connection, most })
    }

    pub(super) fn write(&mut self, batch: &[Decided]) -> rusqlite::Result<()> {
        let transaction = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        {
            let mut insert = transaction.prepare(
                "INSERT INTO decisions (at_ms, via, nas, mac, code, token, reason, session_timeout, session)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
            )?;
            let mut count = transaction.prepare(
                "INSERT INTO outcomes VALUES (?1, ?2, ?3) ON CONFLICT DO UPDATE SET count = count + excluded.count",
            )?;
            let mut counts = BTreeMap::<_, i64>::new();
            for decided in batch {
                let reason = reason_name(decided.reason);
                insert.execute(params![
                    decided.at.as_millisecond(),
                    decided.via.as_str(),
                    decided.nas.as_str(),
                    decided.mac.map(|mac| mac.to_string()),
                    decided.code.as_ref().map(Code::reveal),
                    decided.token.map(|token| token.0),
                    reason,
                    decided.session_timeout.and_then(|seconds| i64::try_from(seconds).ok()),
                    decided.session.map(|session| session.to_string()),
                ])?;
                *counts.entry((slot(decided.at), reason)).or_default() += 1;
            }
            for ((slot, reason), decisions) in counts {
                count.execute(params![slot, reason, decisions])?;
            }
        }
        let least = transaction.last_insert_rowid() - self.most;
        transaction.execute(
            "DELETE FROM decisions WHERE id IN (SELECT id FROM decisions WHERE id <= ?1 ORDER BY id LIMIT ?2)",
            // More than are added, so that it comes to an end.
            params![least, SWEEP.max(2 * i64::try_from(batch.len()).unwrap_or(SWEEP))],
        )?;
        transaction.commit()
    }

    pub(super) fn decisions(&self, filter: &Filter, limit: usize) -> rusqlite::Result<Vec<Decided>> {
        // Each condition stands there only when it is asked for, so that its index is used.
        let mut wanted = String::new();
        let mut values: Vec<Box<dyn rusqlite::ToSql>> = Vec::new();
        let mut also = |column: &str, value: Option<String>| {
            if let Some(value) = value {
                values.push(Box::new(value));
                wanted.push_str(&format!(" AND {column} = ?{}", values.len()));
            }
        };
        also("code", filter.code.as_ref().map(|code| code.reveal().to_owned()));
        also("mac", filter.mac.map(|mac| mac.to_string()));
        also("reason", filter.reason.map(|reason| reason_name(reason).to_owned()));
        also("nas", filter.nas.as_ref().map(|nas| nas.as_str().to_owned()));
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let mut select = self.connection.prepare(&format!(
            "SELECT at_ms, via, nas, mac, code, token, reason, session_timeout, session FROM decisions
             WHERE true{wanted} ORDER BY id DESC LIMIT {limit}"
        ))?;
        let values = rusqlite::params_from_iter(values.iter().map(|value| &**value));
        let rows = select.query_map(values, decided)?;
        // A row that somebody else wrote into it is passed over.
        rows.filter_map(Result::transpose).collect()
    }

    pub(super) fn act(&mut self, action: &Action) -> rusqlite::Result<()> {
        self.connection.execute_batch("PRAGMA synchronous = FULL")?;
        let outcome = self.connection.execute(
            "INSERT INTO actions (at_ms, who, origin, action, subject) VALUES (?1, ?2, ?3, ?4, ?5)",
            params![action.at.as_millisecond(), action.who, action.from, action.action, action.subject],
        );
        self.connection.execute_batch("PRAGMA synchronous = NORMAL")?;
        outcome.map(drop)
    }

    pub(super) fn actions(&self, limit: usize, sign_ins: bool) -> rusqlite::Result<Vec<Action>> {
        let mut select = self.connection.prepare(
            "SELECT at_ms, who, origin, action, subject FROM actions WHERE ?2 OR action <> 'sign-in' ORDER BY id DESC LIMIT ?1",
        )?;
        let rows = select.query_map(params![i64::try_from(limit).unwrap_or(i64::MAX), sign_ins], |row| {
            Ok(Action {
                at: Timestamp::from_millisecond(row.get(0)?).unwrap_or_default(),
                who: row.get(1)?,
                from: row.get(2)?,
                action: row.get(3)?,
                subject: row.get(4)?,
            })
        })?;
        rows.collect()
    }

    pub(super) fn sample(&mut self, now: Timestamp, sessions: u64, during: Duration) -> rusqlite::Result<()> {
        let whole = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
        self.connection
            .execute(
                "INSERT INTO samples VALUES (?1, ?2, ?3) ON CONFLICT DO UPDATE
                 SET sessions = max(sessions, excluded.sessions), used_seconds = used_seconds + excluded.used_seconds",
                params![slot(now), whole(sessions), whole(sessions.saturating_mul(during.as_secs()))],
            )
            .map(drop)
    }

    pub(super) fn columns(&self, since: Timestamp) -> rusqlite::Result<Vec<Column>> {
        let mut columns = BTreeMap::<i64, Column>::new();
        let whole = |number: i64| u64::try_from(number).unwrap_or_default();
        let mut samples =
            self.connection.prepare("SELECT slot, sessions, used_seconds FROM samples WHERE slot >= ?1")?;
        let mut rows = samples.query([slot(since)])?;
        while let Some(row) = rows.next()? {
            let begins = row.get(0)?;
            let column = columns.entry(begins).or_insert_with(|| Column { begins, ..Column::default() });
            (column.sessions, column.used_seconds) = (whole(row.get(1)?), whole(row.get(2)?));
        }
        let mut outcomes = self
            .connection
            .prepare("SELECT slot, reason, count FROM outcomes WHERE slot >= ?1 ORDER BY slot, reason")?;
        let mut rows = outcomes.query([slot(since)])?;
        while let Some(row) = rows.next()? {
            let begins = row.get(0)?;
            let column = columns.entry(begins).or_insert_with(|| Column { begins, ..Column::default() });
            let (reason, count): (String, i64) = (row.get(1)?, row.get(2)?);
            if reason == ALLOWED {
                column.allowed = whole(count);
            } else {
                column.denied.push((reason, whole(count)));
            }
        }
        Ok(columns.into_values().collect())
    }

    /// Forgets decisions, actions and numbers that are older than `retain`, some at a time.
    pub(super) fn forget(&mut self, now: Timestamp, retain: Duration) -> rusqlite::Result<()> {
        let before = now.saturating_sub(retain).unwrap_or(Timestamp::MIN);
        let (before_ms, before_slot) = (before.as_millisecond(), slot(before));
        let transaction = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        for table in ["decisions", "actions"] {
            let statement = format!(
                "DELETE FROM {table} WHERE id IN (SELECT id FROM {table} WHERE at_ms < ?1 ORDER BY at_ms LIMIT ?2)"
            );
            transaction.execute(&statement, params![before_ms, SWEEP])?;
        }
        transaction.execute("DELETE FROM outcomes WHERE slot < ?1", [before_slot])?;
        transaction.execute("DELETE FROM samples WHERE slot < ?1", [before_slot])?;
        transaction.commit()
    }
}

fn set_aside(path: &Path, error: &rusqlite::Error, now: Timestamp) {
    tracing::warn!(%error, file = %path.display(), "the history is damaged: it is set aside, and a new one begun");
    for end in ["", "-wal", "-shm"] {
        let from = format!("{}{end}", path.display());
        let aside = format!("{from}.damaged-{}", now.as_second());
        if let Err(error) = fs::rename(from, aside) {
            tracing::debug!(%error, end, "nothing to set aside");
        }
    }
}

/// What stands for "no reason" (contract, names in metrics).
const ALLOWED: &str = "none";

const fn reason_name(reason: Option<Reason>) -> &'static str {
    match reason {
        None => ALLOWED,
        Some(reason) => reason.as_str(),
    }
}

fn slot(at: Timestamp) -> i64 {
    let width = i64::try_from(SLOT.as_secs()).unwrap_or(1).max(1);
    at.as_second().div_euclid(width) * width
}

/// `Ok(None)`: not a row of ours.
fn decided(row: &Row<'_>) -> rusqlite::Result<Option<Decided>> {
    let text = |index: usize| row.get::<_, Option<String>>(index);
    let reason = match text(6)?.as_deref() {
        Some(ALLOWED) => None,
        Some(name) => match Reason::ALL.into_iter().find(|reason| reason.as_str() == name) {
            Some(reason) => Some(reason),
            None => return Ok(None),
        },
        None => return Ok(None),
    };
    let via = text(1)?.and_then(|name| Via::ALL.into_iter().find(|via| via.as_str() == name));
    let (Some(via), Ok(at)) = (via, Timestamp::from_millisecond(row.get(0)?)) else { return Ok(None) };
    Ok(Some(Decided {
        at,
        via,
        nas: NasName::new(&text(2)?.unwrap_or_default()),
        mac: text(3)?.and_then(|mac| Mac::parse(mac.as_bytes()).ok()),
        code: text(4)?.and_then(|code| Code::parse(&code).ok()),
        token: row.get::<_, Option<i64>>(5)?.map(TokenId),
        reason,
        session_timeout: row.get::<_, Option<i64>>(7)?.and_then(|seconds| u64::try_from(seconds).ok()),
        session: text(8)?.and_then(|session| session.parse().ok()),
    }))
}
