//! What must survive a restart and is no account: one small file under `store.path`, replaced as a whole.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::net::IpAddr;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, Serialize};

use crate::portal::badge::Key;
use crate::source::nexudus::Saved;

/// The file's name under `store.path`.
const NAME: &str = "state.json";

/// The file, and what stands in it.
#[derive(Debug)]
pub struct StateFile {
    /// Where it is; none: nothing outlives this process.
    folder: Option<PathBuf>,
    kept: Mutex<Kept>,
    /// Whether the file does not hold what is kept.
    behind: AtomicBool,
    /// Whether there may be a file that could not be read: it is not written over before it was.
    unread: AtomicBool,
}

/// What the file holds.
#[derive(Clone, Debug, Default)]
pub struct Kept {
    /// Routers that have sent a Message-Authenticator.
    pub message_authenticator_seen: Vec<IpAddr>,
    /// The sign-in at Nexudus.
    pub nexudus: Option<Saved>,
    /// What guests' badges are signed with.
    pub badge_key: Option<Key>,
}

#[derive(Default, Serialize, Deserialize)]
#[serde(default)]
struct Written {
    message_authenticator_seen: Vec<IpAddr>,
    nexudus: Option<WrittenSignIn>,
    badge_key: Option<[u8; 32]>,
}

#[derive(Serialize, Deserialize)]
struct WrittenSignIn {
    client_id: String,
    account: String,
    refresh_token: Option<String>,
}

impl StateFile {
    /// Reads the file under `folder`; without one there is nothing kept. A file that cannot be read is an error together
    /// with a state that starts empty: the daemon can do without.
    pub fn open(folder: &Path) -> (Self, io::Result<()>) {
        let (kept, outcome) = match read(&folder.join(NAME)) {
            Ok(kept) => (kept, Ok(())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => (Kept::default(), fs::create_dir_all(folder)),
            Err(error) => (Kept::default(), Err(error)),
        };
        let unread = AtomicBool::new(outcome.as_ref().is_err_and(may_be_read_later));
        let (folder, kept) = (Some(folder.to_owned()), Mutex::new(kept));
        (Self { folder, kept, behind: AtomicBool::new(false), unread }, outcome)
    }

    /// A state that is forgotten with the process: for commands that run beside the daemon and must not share its sign-in.
    #[must_use]
    pub fn forgetful() -> Self {
        Self { folder: None, kept: Mutex::default(), behind: AtomicBool::new(false), unread: AtomicBool::new(false) }
    }

    /// The folder it is in; none: nothing outlives this process.
    #[must_use]
    pub fn folder(&self) -> Option<&Path> {
        self.folder.as_deref()
    }

    /// What is kept.
    #[must_use]
    pub fn kept(&self) -> Kept {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Changes what is kept and writes it down; on return it is on disk. It blocks.
    pub fn change(&self, change: impl FnOnce(&mut Kept)) -> io::Result<()> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        change(&mut kept);
        let outcome = self.folder.as_ref().map_or(Ok(()), |folder| {
            self.take_up(folder, &mut kept)?;
            write(folder, &kept)
        });
        self.behind.store(outcome.is_err(), Ordering::Relaxed);
        outcome
    }

    /// Reads the file that could not be read before, if there is one, and keeps what is in it as well.
    fn take_up(&self, folder: &Path, kept: &mut Kept) -> io::Result<()> {
        if !self.unread.load(Ordering::Relaxed) {
            return Ok(());
        }
        match read(&folder.join(NAME)) {
            Ok(found) => {
                let learnt = std::mem::replace(&mut kept.message_authenticator_seen, found.message_authenticator_seen);
                for router in learnt {
                    if !kept.message_authenticator_seen.contains(&router) {
                        kept.message_authenticator_seen.push(router);
                    }
                }
                kept.nexudus = kept.nexudus.take().or(found.nexudus);
                // More browsers have shown the one that was there for longer.
                kept.badge_key = found.badge_key.or(kept.badge_key.take());
            }
            Err(error) if may_be_read_later(&error) => return Err(error),
            Err(_) => {}
        }
        self.unread.store(false, Ordering::Relaxed);
        Ok(())
    }

    /// Whether a change was not written down.
    #[must_use]
    pub fn is_behind(&self) -> bool {
        self.behind.load(Ordering::Relaxed)
    }
}

/// Whether the file may be as it was; else there is none, or nothing can be made of it.
fn may_be_read_later(error: &io::Error) -> bool {
    use io::ErrorKind::{InvalidData, NotFound, UnexpectedEof};
    !matches!(error.kind(), NotFound | InvalidData | UnexpectedEof)
}

fn read(path: &Path) -> io::Result<Kept> {
    let written: Written = serde_json::from_slice(&fs::read(path)?)?;
    Ok(Kept {
        message_authenticator_seen: written.message_authenticator_seen,
        nexudus: written.nexudus.map(|sign_in| Saved {
            client_id: sign_in.client_id,
            account: sign_in.account,
            refresh_token: sign_in.refresh_token.map(SecretString::from),
        }),
        badge_key: written.badge_key.map(Key::new),
    })
}

/// Writes beside the file and renames, so that a power cut leaves the old one or the new one.
fn write(folder: &Path, kept: &Kept) -> io::Result<()> {
    let written = Written {
        message_authenticator_seen: kept.message_authenticator_seen.clone(),
        nexudus: kept.nexudus.as_ref().map(|sign_in| WrittenSignIn {
            client_id: sign_in.client_id.clone(),
            account: sign_in.account.clone(),
            refresh_token: sign_in.refresh_token.as_ref().map(|token| token.expose_secret().to_owned()),
        }),
        badge_key: kept.badge_key.as_ref().map(|key| *key.octets()),
    };
    let beside = folder.join(format!("{NAME}.new"));
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&beside)?;
    file.write_all(&serde_json::to_vec_pretty(&written)?)?;
    file.sync_all()?;
    fs::rename(&beside, folder.join(NAME))?;
    File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn what_could_not_be_read_is_not_written_over() {
        let folder = tempfile::tempdir().unwrap();
        let (place, aside) = (folder.path().join("state"), folder.path().join("aside"));
        let (one, other) = ("192.0.2.1".parse().unwrap(), "192.0.2.2".parse().unwrap());
        let (state, _) = StateFile::open(&place);
        let keep = |kept: &mut Kept| {
            kept.message_authenticator_seen.push(one);
            kept.badge_key = Some(Key::new([7; 32]));
        };
        state.change(keep).unwrap();
        // As a disk that does not answer.
        fs::rename(&place, &aside).unwrap();
        fs::write(&place, "").unwrap();
        let (state, opened) = StateFile::open(&place);
        opened.unwrap_err();
        let learn = |kept: &mut Kept| {
            kept.message_authenticator_seen.push(other);
            kept.badge_key = Some(Key::new([8; 32]));
        };
        state.change(learn).unwrap_err();
        assert!(state.is_behind());
        fs::remove_file(&place).unwrap();
        fs::rename(&aside, &place).unwrap();
        state.change(|_| {}).unwrap();
        assert!(!state.is_behind());
        let kept = StateFile::open(&place).0.kept();
        assert_eq!(kept.message_authenticator_seen, [one, other]);
        assert_eq!(kept.badge_key.unwrap().octets(), &[7; 32]);
    }

    #[test]
    fn what_is_kept_comes_back_and_only_its_owner_may_read_it() {
        let folder = tempfile::tempdir().unwrap();
        let deeper = folder.path().join("spotgate");
        let (state, opened) = StateFile::open(&deeper);
        opened.unwrap();
        assert!(state.kept().nexudus.is_none());
        state
            .change(|kept| {
                kept.message_authenticator_seen.push("192.0.2.1".parse().unwrap());
                let refresh_token = Some(SecretString::from("r-17"));
                kept.badge_key = Some(Key::new([7; 32]));
                kept.nexudus = Some(Saved { client_id: "c".to_owned(), account: "a".to_owned(), refresh_token });
            })
            .unwrap();
        assert_eq!(fs::metadata(deeper.join(NAME)).unwrap().permissions().mode() & 0o777, 0o600);

        let (again, opened) = StateFile::open(&deeper);
        opened.unwrap();
        let kept = again.kept();
        assert_eq!(kept.message_authenticator_seen, ["192.0.2.1".parse::<IpAddr>().unwrap()]);
        assert_eq!(kept.nexudus.as_ref().unwrap().refresh_token.as_ref().unwrap().expose_secret(), "r-17");
        assert_eq!(kept.badge_key.as_ref().unwrap().octets(), &[7; 32]);
        assert!(!format!("{again:?}").contains("r-17"));
    }

    #[test]
    fn a_damaged_file_is_said_and_done_without() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join(NAME), "{").unwrap();
        let (state, opened) = StateFile::open(folder.path());
        assert!(opened.is_err() && state.kept().message_authenticator_seen.is_empty());
    }
}
