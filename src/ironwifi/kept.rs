//! Which users at IronWifi are ours: `ironwifi.db` under `store.path`. A user is noted before it is asked for, so that after a
//! crash one that was made is known again, and no other is ever touched.

use std::collections::HashMap;
use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use rusqlite::{Connection, OptionalExtension as _, params};

use super::api::Id;
use super::plan::Name;
use crate::core::ident::{Code, TokenId};

/// The file's name under `store.path`.
const NAME: &str = "ironwifi.db";

/// `about` holds one row: the address of the interface. `user` and `told` are JSON: what IronWifi calls the user, if that is
/// known, and what it was told, if that is sure.
const SCHEMA: &str = "
CREATE TABLE IF NOT EXISTS about (of TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS user (
    token INTEGER PRIMARY KEY, code TEXT NOT NULL, user TEXT, told TEXT, deleted INTEGER NOT NULL
);
";

/// A user of ours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct User {
    /// Its name and password.
    pub(super) code: Code,
    /// What IronWifi calls it; none: it was asked for, and perhaps made.
    pub(super) id: Option<Id>,
    /// What it was told; none: perhaps in part.
    pub(super) told: Option<Vec<(Name, u64)>>,
    /// Whether it was deleted, and no list has shown yet that it is gone.
    pub(super) deleted: bool,
}

impl User {
    /// One that is about to be asked for.
    pub(super) const fn asked(code: Code) -> Self {
        Self { code, id: None, told: None, deleted: false }
    }
}

/// The file, and what stands in it.
pub(super) struct Kept {
    connection: Connection,
    users: HashMap<TokenId, User>,
}

impl Kept {
    /// Opens the file under `folder`, with the users at `of`; how many of another address are dropped from it. It blocks.
    pub(super) fn open(folder: &Path, of: &str) -> rusqlite::Result<(Self, usize)> {
        let path = folder.join(NAME);
        // Made here and not by SQLite, for its mode.
        if let Err(error) = OpenOptions::new().append(true).create(true).mode(0o600).open(&path) {
            tracing::debug!(%error, "the file of users at IronWifi");
        }
        let connection = Connection::open(path)?;
        connection.execute_batch("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;")?;
        connection.execute_batch(SCHEMA)?;
        let known: Option<String> = connection.query_row("SELECT of FROM about", [], |row| row.get(0)).optional()?;
        let mut dropped = 0;
        if known.as_deref() != Some(of) {
            dropped = connection.execute("DELETE FROM user", [])?;
            connection.execute("DELETE FROM about", [])?;
            connection.execute("INSERT INTO about VALUES (?1)", [of])?;
        }
        let mut users = HashMap::new();
        {
            let mut rows = connection.prepare("SELECT token, code, user, told, deleted FROM user")?;
            let mut rows = rows.query([])?;
            while let Some(row) = rows.next()? {
                let text = |index| row.get::<_, Option<String>>(index);
                let Ok(code) = Code::parse(&row.get::<_, String>(1)?) else { continue };
                let id = text(2)?.and_then(|id| serde_json::from_str(&id).ok());
                let told = text(3)?.and_then(|told| read(&told));
                users.insert(TokenId(row.get(0)?), User { code, id, told, deleted: row.get(4)? });
            }
        }
        Ok((Self { connection, users }, dropped))
    }

    pub(super) const fn users(&self) -> &HashMap<TokenId, User> {
        &self.users
    }

    /// Puts a user in place of the former of this token; on return it is on disk. It blocks.
    pub(super) fn put(&mut self, token: TokenId, user: User) -> rusqlite::Result<()> {
        let id = user.id.as_ref().and_then(|id| serde_json::to_string(id).ok());
        let told = user.told.as_deref().map(written);
        self.connection.execute(
            "INSERT OR REPLACE INTO user VALUES (?1, ?2, ?3, ?4, ?5)",
            params![token.0, user.code.reveal(), id, told, user.deleted],
        )?;
        self.users.insert(token, user);
        Ok(())
    }

    /// Takes out the user of this token; on return it is on disk. It blocks.
    pub(super) fn remove(&mut self, token: TokenId) -> rusqlite::Result<()> {
        self.connection.execute("DELETE FROM user WHERE token = ?1", [token.0])?;
        self.users.remove(&token);
        Ok(())
    }
}

fn written(told: &[(Name, u64)]) -> String {
    let told: serde_json::Map<_, _> =
        told.iter().map(|(name, number)| (name.as_str().to_owned(), (*number).into())).collect();
    serde_json::Value::Object(told).to_string()
}

fn read(told: &str) -> Option<Vec<(Name, u64)>> {
    let told: HashMap<String, u64> = serde_json::from_str(told).ok()?;
    let known = |name: &str| Name::ALL.into_iter().find(|known| known.as_str() == name);
    told.into_iter().map(|(name, number)| Some((known(&name)?, number))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn what_is_kept_comes_back_for_the_same_account_alone() {
        let folder = tempfile::tempdir().unwrap();
        let code = |text| Code::parse(text).unwrap();
        let made = User {
            code: code("kx7q"),
            id: Some(Id::Number(2_969_744)),
            told: Some(vec![(Name::MaxAllSession, 3600), (Name::SimultaneousUse, 1)]),
            deleted: true,
        };
        let asked = User::asked(code("0042"));
        let (mut kept, _) = Kept::open(folder.path(), "https://one.example/api").unwrap();
        kept.put(TokenId(1), made.clone()).unwrap();
        kept.put(TokenId(2), asked.clone()).unwrap();
        kept.put(TokenId(3), User { id: Id::of("f-1"), ..asked.clone() }).unwrap();
        kept.remove(TokenId(3)).unwrap();
        drop(kept);
        let mode = std::fs::metadata(folder.path().join(NAME)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);

        let (kept, dropped) = Kept::open(folder.path(), "https://one.example/api").unwrap();
        let mut back = kept.users()[&TokenId(1)].clone();
        back.told.as_mut().unwrap().sort_unstable();
        assert_eq!((back, &kept.users()[&TokenId(2)], dropped), (made, &asked, 0));
        assert_eq!(kept.users().len(), 2);
        drop(kept);
        let (kept, dropped) = Kept::open(folder.path(), "https://other.example/api").unwrap();
        assert!(kept.users().is_empty() && dropped == 2);
    }
}
