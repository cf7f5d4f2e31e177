//! The mirror on disk: `mirror.db` under `store.path`, so that a restart without internet knows the codes.
//!
//! It can be lost without harm: then everything is listed again. So a damaged file, or one of another account, is begun
//! anew, and a power cut may take its latest changes, which are listed again too.

use std::collections::HashMap;
use std::fs::{self, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use jiff::Timestamp;
use rusqlite::{Connection, OpenFlags, OptionalExtension as _, Row, Transaction, params};

use crate::core::ident::{BusinessId, Code, Mac, TokenId};
use crate::core::token::AccessToken;
use crate::journal::is_damage;
use crate::source::Version;

/// The file's name under `store.path`.
const NAME: &str = "mirror.db";

const VERSION: i64 = 2;

/// `about` holds one row. Of each location (0: all) `seen_to` is the cursor by Nexudus' clock, and `compared` when its tokens
/// were last compared, if they are all there; in milliseconds since 1970.
const SCHEMA: &str = "
CREATE TABLE token (
    id INTEGER PRIMARY KEY, business INTEGER, code TEXT NOT NULL, valid_from INTEGER, valid_to INTEGER, minutes_included INTEGER,
    minutes_left INTEGER, user_limit INTEGER, devices TEXT NOT NULL, last_access INTEGER, updated INTEGER
) STRICT;
CREATE TABLE location (business INTEGER PRIMARY KEY, seen_to INTEGER, compared INTEGER) STRICT;
CREATE TABLE about (of TEXT NOT NULL) STRICT;
";

/// What was written down.
#[derive(Debug, Default)]
pub(super) struct Kept {
    /// Tokens, as they were when the mirror was last compared.
    pub(super) versions: Vec<Version>,
    /// The cursor of each location.
    pub(super) seen_to: HashMap<Option<BusinessId>, Timestamp>,
    /// When each location was last compared; none: it was not whole.
    pub(super) compared: HashMap<Option<BusinessId>, Timestamp>,
}

/// The file.
#[derive(Debug)]
pub(super) struct Shelf {
    connection: Connection,
    /// Whose tokens it holds.
    of: String,
}

/// Why nothing is written down.
#[derive(Debug, thiserror::Error)]
pub(super) enum ShelfError {
    /// The file cannot be made.
    #[error("{path}: {error}", path = path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why not.
        #[source]
        error: io::Error,
    },
    /// What SQLite says.
    #[error(transparent)]
    Sqlite(#[from] rusqlite::Error),
}

impl Shelf {
    /// Opens or makes the file in `folder`, and reads it; what belongs to anything but `of` (the account, and how its dates
    /// are read) is dropped. It blocks.
    pub(super) fn open(folder: &Path, of: &str) -> Result<(Self, Kept), ShelfError> {
        let path = folder.join(NAME);
        let made = |path: &Path| -> Result<(Self, Kept), ShelfError> {
            let file = |error| ShelfError::File { path: path.to_owned(), error };
            // Made here and not by SQLite, for its mode; the log beside it gets the same.
            OpenOptions::new().append(true).create(true).mode(0o600).open(path).map_err(file)?;
            let shelf = Self { connection: prepare(path, of)?, of: of.to_owned() };
            let kept = shelf.read()?;
            Ok((shelf, kept))
        };
        match made(&path) {
            // One that is only locked, or on a disk that fails for once, is as good as before next time.
            Err(ShelfError::Sqlite(error)) if is_damage(&error) => {
                tracing::warn!(%error, "the mirror's file cannot be used and is begun anew");
                for end in ["", "-wal", "-shm"] {
                    match fs::remove_file(folder.join(format!("{NAME}{end}"))) {
                        Err(error) if error.kind() != io::ErrorKind::NotFound => {
                            return Err(ShelfError::File { path, error });
                        }
                        Ok(()) | Err(_) => {}
                    }
                }
                made(&path)
            }
            outcome => outcome,
        }
    }

    fn read(&self) -> rusqlite::Result<Kept> {
        let mut kept = Kept::default();
        let mut tokens = self.connection.prepare(
            "SELECT id, business, code, valid_from, valid_to, minutes_included, minutes_left, user_limit, devices,
                    last_access, updated
             FROM token",
        )?;
        let mut rows = tokens.query([])?;
        while let Some(row) = rows.next()? {
            kept.versions.extend(version(row)?);
        }
        let mut locations = self.connection.prepare("SELECT business, seen_to, compared FROM location")?;
        let mut rows = locations.query([])?;
        while let Some(row) = rows.next()? {
            let business: i64 = row.get(0)?;
            let business = (business != 0).then_some(BusinessId(business));
            let at = |index| -> rusqlite::Result<Option<Timestamp>> {
                Ok(row.get::<_, Option<i64>>(index)?.and_then(moment))
            };
            kept.seen_to.extend(at(1)?.map(|at| (business, at)));
            kept.compared.extend(at(2)?.map(|at| (business, at)));
        }
        Ok(kept)
    }

    /// Writes changed versions, and takes out tokens that are gone. It blocks.
    pub(super) fn put(&mut self, changed: &[Version], gone: &[TokenId]) -> rusqlite::Result<()> {
        let transaction = self.transaction()?;
        {
            let mut put = transaction
                .prepare("INSERT OR REPLACE INTO token VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)")?;
            for Version { token, updated } in changed {
                let devices: Vec<String> = token.devices.iter().map(ToString::to_string).collect();
                put.execute(params![
                    token.id.0,
                    token.business.map(|business| business.0),
                    token.code.reveal(),
                    token.valid_from.map(Timestamp::as_millisecond),
                    token.valid_to.map(Timestamp::as_millisecond),
                    token.minutes_included,
                    token.minutes_left,
                    token.user_limit,
                    devices.join(","),
                    token.last_access.map(Timestamp::as_millisecond),
                    updated.map(Timestamp::as_millisecond),
                ])?;
            }
            let mut delete = transaction.prepare("DELETE FROM token WHERE id = ?1")?;
            for id in gone {
                delete.execute([id.0])?;
            }
        }
        transaction.commit()
    }

    /// While it is this account's: after a reload another may have taken the file over.
    fn transaction(&mut self) -> rusqlite::Result<Transaction<'_>> {
        let transaction = self.connection.transaction()?;
        transaction.query_row("SELECT 1 FROM about WHERE of = ?1", [&self.of], |_| Ok(()))?;
        Ok(transaction)
    }

    /// These locations are asked for. It blocks.
    pub(super) fn of_locations(&mut self, businesses: &[Option<BusinessId>]) -> rusqlite::Result<()> {
        let transaction = self.transaction()?;
        for business in businesses {
            let business = business.map_or(0, |business| business.0);
            transaction.execute("INSERT OR IGNORE INTO location (business) VALUES (?1)", [business])?;
        }
        transaction.commit()
    }

    /// Notes how far a location was seen. It blocks.
    pub(super) fn seen_to(&mut self, business: Option<BusinessId>, at: Timestamp) -> rusqlite::Result<()> {
        let business = business.map_or(0, |business| business.0);
        let transaction = self.transaction()?;
        let location = params![business, at.as_millisecond()];
        let noted = "INSERT INTO location (business, seen_to) VALUES (?1, ?2)
                     ON CONFLICT (business) DO UPDATE SET seen_to = excluded.seen_to";
        transaction.execute(noted, location)?;
        transaction.commit()
    }

    /// Notes when a location was compared; none: not all its tokens are there. It blocks.
    pub(super) fn compared(&mut self, business: Option<BusinessId>, at: Option<Timestamp>) -> rusqlite::Result<()> {
        let business = business.map_or(0, |business| business.0);
        let transaction = self.transaction()?;
        let noted = "INSERT INTO location (business, compared) VALUES (?1, ?2)
                     ON CONFLICT (business) DO UPDATE SET compared = excluded.compared";
        transaction.execute(noted, params![business, at.map(Timestamp::as_millisecond)])?;
        transaction.commit()
    }
}

/// What the file holds, in numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Glance {
    /// How many tokens.
    pub(crate) tokens: u64,
    /// When the location was compared that was so least lately; none: they are not all.
    pub(crate) compared: Option<Timestamp>,
}

/// Looks into the file under `folder` beside whoever keeps it; none if there is no file. It blocks, and changes nothing.
pub(crate) fn glance(folder: &Path) -> rusqlite::Result<Option<Glance>> {
    let path = folder.join(NAME);
    if matches!(path.try_exists(), Ok(false)) {
        return Ok(None);
    }
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    let tokens: i64 = connection.query_row("SELECT count(*) FROM token", [], |row| row.get(0))?;
    let locations = "SELECT min(compared) FROM location HAVING count(*) = count(compared)";
    let compared: Option<i64> = connection.query_row(locations, [], |row| row.get(0)).optional()?.flatten();
    Ok(Some(Glance { tokens: tokens.try_into().unwrap_or_default(), compared: compared.and_then(moment) }))
}

fn prepare(path: &Path, of: &str) -> rusqlite::Result<Connection> {
    let mut connection = Connection::open(path)?;
    // What a power cut takes is listed again.
    // It is read once as a whole and then only written: a cache would be memory for nothing.
    connection.execute_batch(
        "PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL; PRAGMA cache_size = -256; PRAGMA wal_autocheckpoint = 200;",
    )?;
    let transaction = connection.transaction()?;
    let found: i64 = transaction.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    let is_ours = |transaction: &Transaction<'_>| -> rusqlite::Result<bool> {
        let known: Option<String> = transaction.query_row("SELECT of FROM about", [], |row| row.get(0)).optional()?;
        Ok(known.as_deref() == Some(of))
    };
    if found != VERSION || !is_ours(&transaction)? {
        transaction.execute_batch(
            "DROP TABLE IF EXISTS token; DROP TABLE IF EXISTS location; DROP TABLE IF EXISTS about;
             PRAGMA user_version = 2;",
        )?;
        transaction.execute_batch(SCHEMA)?;
        transaction.execute("INSERT INTO about VALUES (?1)", [of])?;
    }
    transaction.commit()?;
    Ok(connection)
}

/// None for what no version of ours wrote.
fn version(row: &Row<'_>) -> rusqlite::Result<Option<Version>> {
    let Ok(code) = Code::parse(row.get_ref(2)?.as_str()?) else { return Ok(None) };
    let instant =
        |index| -> rusqlite::Result<Option<Timestamp>> { Ok(row.get::<_, Option<i64>>(index)?.and_then(moment)) };
    let devices = row.get_ref(8)?.as_str()?;
    let token = AccessToken {
        id: TokenId(row.get(0)?),
        business: row.get::<_, Option<i64>>(1)?.map(BusinessId),
        code,
        valid_from: instant(3)?,
        valid_to: instant(4)?,
        minutes_included: row.get(5)?,
        minutes_left: row.get(6)?,
        user_limit: row.get(7)?,
        devices: devices.split(',').filter_map(|device| device.parse::<Mac>().ok()).collect(),
        last_access: instant(9)?,
    };
    Ok(Some(Version { token: Arc::new(token), updated: instant(10)? }))
}

fn moment(millis: i64) -> Option<Timestamp> {
    Timestamp::from_millisecond(millis).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::token::tests::token;
    use std::os::unix::fs::PermissionsExt as _;
    use std::time::Duration;

    fn full(id: i64) -> Version {
        let at = |second| Some(Timestamp::from_second(second).unwrap());
        let token = AccessToken {
            valid_from: at(10),
            valid_to: at(20),
            last_access: at(25),
            minutes_left: None,
            user_limit: Some(3),
            devices: [Mac::new([2, 0, 0, 0, 0, 1]), Mac::new([2, 0, 0, 0, 0, 2])].into(),
            ..token(id, "café-0042")
        };
        Version { token: Arc::new(token), updated: at(30) }
    }

    fn bare(id: i64) -> Version {
        let token = AccessToken { business: None, minutes_included: None, ..token(id, "b") };
        Version { token: Arc::new(token), updated: None }
    }

    #[test]
    fn what_was_put_comes_back_and_only_its_owner_may_read_it() {
        let folder = tempfile::tempdir().unwrap();
        let (mut shelf, kept) = Shelf::open(folder.path(), "a").unwrap();
        assert!(kept.versions.is_empty() && kept.compared.is_empty());
        let at = Timestamp::from_second(1_790_000_000).unwrap();
        shelf.put(&[full(1), bare(2), bare(3)], &[]).unwrap();
        shelf.put(&[], &[TokenId(3)]).unwrap();
        shelf.seen_to(None, at).unwrap();
        shelf.seen_to(Some(BusinessId(7)), at).unwrap();
        drop(shelf);
        let (mut shelf, kept) = Shelf::open(folder.path(), "a").unwrap();
        assert_eq!(kept.versions, [full(1), bare(2)]);
        assert_eq!(kept.seen_to, HashMap::from([(None, at), (Some(BusinessId(7)), at)]));
        assert_eq!(kept.compared, HashMap::new(), "none was whole");
        let later = at + Duration::from_secs(60);
        shelf.compared(None, Some(later)).unwrap();
        assert_eq!(glance(folder.path()), Ok(Some(Glance { tokens: 2, compared: None })), "one is not whole");
        shelf.compared(Some(BusinessId(7)), Some(at)).unwrap();
        drop(shelf);
        let compared = HashMap::from([(None, later), (Some(BusinessId(7)), at)]);
        let (mut shelf, kept) = Shelf::open(folder.path(), "a").unwrap();
        assert_eq!((kept.compared, kept.seen_to.len()), (compared, 2));
        assert_eq!(glance(folder.path()), Ok(Some(Glance { tokens: 2, compared: Some(at) })));
        shelf.compared(None, None).unwrap();
        assert_eq!(glance(folder.path()), Ok(Some(Glance { tokens: 2, compared: None })));
        for file in fs::read_dir(folder.path()).unwrap() {
            assert_eq!(file.unwrap().metadata().unwrap().permissions().mode() & 0o777, 0o600);
        }
    }

    #[test]
    fn another_accounts_tokens_are_dropped() {
        let folder = tempfile::tempdir().unwrap();
        Shelf::open(folder.path(), "a").unwrap().0.put(&[full(1)], &[]).unwrap();
        assert!(Shelf::open(folder.path(), "b").unwrap().1.versions.is_empty());
        assert!(Shelf::open(folder.path(), "a").unwrap().1.versions.is_empty());
    }

    #[test]
    fn a_damaged_file_is_begun_anew() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(glance(folder.path()), Ok(None));
        fs::write(folder.path().join(NAME), [7; 8192]).unwrap();
        assert!(glance(folder.path()).is_err());
        let (mut shelf, kept) = Shelf::open(folder.path(), "a").unwrap();
        assert!(kept.versions.is_empty());
        shelf.put(&[full(1)], &[]).unwrap();
    }

    #[test]
    fn a_file_that_is_locked_for_once_is_not_thrown_away() {
        let folder = tempfile::tempdir().unwrap();
        Shelf::open(folder.path(), "a").unwrap().0.put(&[full(1)], &[]).unwrap();
        let other = Connection::open(folder.path().join(NAME)).unwrap();
        other.execute_batch("PRAGMA locking_mode = EXCLUSIVE; BEGIN EXCLUSIVE; DELETE FROM location; COMMIT;").unwrap();
        let _ = Shelf::open(folder.path(), "a");
        drop(other);
        assert_eq!(Shelf::open(folder.path(), "a").unwrap().1.versions.len(), 1);
    }
}
