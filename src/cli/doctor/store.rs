//! What is on disk: the mirror, the folder, the ledger. All of it is read beside the daemon.

use std::fs::{self, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use rustix::fs::{Access, access, statvfs};
use secrecy::SecretString;

use super::finding::Finding;
use super::{blocking, stuck};
use crate::clock::Clock;
use crate::config::{self, Settings, StoreKind};
use crate::database::{self, Database, Schema};
use crate::ledger::Ledger;
use crate::mirror;

/// Less room is said.
const ROOM: u64 = 100 << 20;

/// What a database should take at most for a small question.
const SLOW: Duration = Duration::from_millis(50);

const AS_THE_DAEMON: &str =
    "let the user that runs spotgate write there, and run this as that user (`sudo -u spotgate`)";

/// The mirror of Nexudus, if there is to be one.
pub(super) async fn mirror(settings: &Settings, now: Timestamp) -> Vec<Finding> {
    const CHECK: &str = "mirror";
    if !matches!(&settings.source, config::Source::Nexudus(nexudus) if nexudus.mirror) {
        return Vec::new();
    }
    let (folder, stale_for) = (settings.store.path.clone(), settings.cache.stale_for);
    let Some(glance) = blocking(move || mirror::glance(&folder)).await else { return vec![stuck(CHECK)] };
    let wait = "let spotgate run with Nexudus in reach; /readyz says how far it is";
    vec![match glance {
        Err(error) => Finding::warn(
            CHECK,
            format!("mirror.db cannot be read: {error}"),
            "run this as the user that runs spotgate; a damaged file is begun anew at the next start",
        ),
        Ok(None) => Finding::ok(CHECK, "there is none yet: the first start lists every access token"),
        Ok(Some(mirror::Glance { tokens, compared: None })) => {
            Finding::warn(CHECK, format!("it holds {tokens} access tokens, but not yet all"), wait)
        }
        Ok(Some(mirror::Glance { tokens, compared: Some(at) })) => {
            let age = now.duration_since(at);
            let detail = format!("it holds {tokens} access tokens, compared at {}", at.strftime("%Y-%m-%d %H:%M UTC"));
            if age.unsigned_abs() > stale_for && age.is_positive() {
                Finding::warn(CHECK, format!("{detail}, which is longer ago than cache.stale_for"), wait)
            } else {
                Finding::ok(CHECK, detail)
            }
        }
    }]
}

/// The folder and the ledger.
pub(super) async fn examine(settings: &Settings) -> Vec<Finding> {
    let (folder, policy) = (settings.store.path.clone(), settings.policy.clone());
    let reading = {
        let folder = folder.clone();
        blocking(move || ledger(&folder, &policy))
    };
    let (written, read) = tokio::join!(blocking(move || self::folder(&folder)), reading);
    let mut findings = written.unwrap_or_else(|| vec![stuck("store")]);
    match &settings.store.kind {
        StoreKind::Embedded => findings.push(read.unwrap_or_else(|| stuck("ledger"))),
        StoreKind::Postgres(url) => findings.extend(database(url).await),
    }
    findings
}

/// The database of the accounts.
async fn database(url: &SecretString) -> Vec<Finding> {
    const CHECK: &str = "database";
    let database = match Database::new(url, "a command of spotgate") {
        Ok(database) => database,
        Err(error) => return vec![Finding::fail(CHECK, error.to_string(), "correct what store.url_file holds")],
    };
    let clock = Clock::system();
    // The first call connects; the second shows how long guests wait.
    let asked = async {
        let (version, daemons) = database.server().await?;
        let schema = database.schema().await?;
        let sent = clock.now();
        let theirs = database.now().await?;
        Ok::<_, database::Error>((version, daemons, schema, sent, theirs))
    };
    let (version, daemons, schema, sent, theirs) = match asked.await {
        Ok(answered) => answered,
        Err(error) if error.is_away() => {
            let remedy = "see whether it runs, and whether its pg_hba.conf and the firewall let this machine in";
            return vec![Finding::fail(CHECK, error.to_string(), remedy)];
        }
        Err(error) => return vec![Finding::fail(CHECK, error.to_string(), "correct it, or what store.url_file holds")],
    };
    let took = clock.now().mono.saturating_sub(sent.mono);
    let off = theirs.duration_since(sent.wall.saturating_add(took / 2).unwrap_or(sent.wall));
    if let Some(Err(error)) = schema.map(Schema::usable) {
        return vec![Finding::fail(CHECK, error.to_string(), "install the release that the other daemons have")];
    }
    let schema = match schema {
        None => "no schema yet: the first start makes it".to_owned(),
        Some(schema) if schema.is_later() => {
            format!("schema {}, of a later release beside which this one works", schema.version)
        }
        Some(schema) => format!("schema {}", schema.version),
    };
    let detail = format!(
        "PostgreSQL {version}, {schema}, answers in {:.1} ms, daemons connected: {daemons}",
        took.as_secs_f64() * 1000.0
    );
    let mut findings = vec![if took > SLOW {
        Finding::warn(CHECK, detail, "a login and each record waits as long as that: move them nearer to each other")
    } else {
        Finding::ok(CHECK, detail)
    }];
    if off.abs() > SignedDuration::from_secs(2) {
        let detail = format!("its clock is {} s from this machine's", off.as_secs());
        findings.push(Finding::warn(
            CHECK,
            detail,
            "set both (timedatectl set-ntp true): daemons go by the database's",
        ));
    }
    findings
}

fn folder(folder: &Path) -> Vec<Finding> {
    const CHECK: &str = "store";
    let shown = folder.display();
    let Some(there) = folder.ancestors().find(|folder| folder.exists()) else {
        return vec![Finding::fail(CHECK, format!("{shown}: there is no such folder"), "correct store.path")];
    };
    if there != folder {
        return vec![match access(there, Access::WRITE_OK | Access::EXEC_OK) {
            Ok(()) => Finding::ok(CHECK, format!("{shown} is not there yet, and will be made at the first start")),
            Err(error) => Finding::fail(
                CHECK,
                format!("{shown} is not there and cannot be made: {}", io::Error::from(error)),
                "make it, and give it to the user that runs spotgate",
            ),
        }];
    }
    let mut findings = vec![match try_to_write(folder) {
        Ok(()) => Finding::ok(CHECK, format!("{shown} can be written")),
        Err(error) => Finding::fail(CHECK, format!("{shown} cannot be written: {error}"), AS_THE_DAEMON),
    }];
    if let Ok(disk) = statvfs(folder) {
        findings.extend(room(folder, disk.f_bavail.saturating_mul(disk.f_frsize)));
    }
    findings
}

/// Whether the octets that are free are too few.
fn room(folder: &Path, free: u64) -> Option<Finding> {
    let detail = format!("{} has {} MB left", folder.display(), free >> 20);
    let remedy = "make room: on a full disk accounting is not acknowledged";
    (free < ROOM).then(|| Finding::warn("store", detail, remedy))
}

/// Makes a file with a name of its own, and takes it away again.
fn try_to_write(folder: &Path) -> io::Result<()> {
    let path = folder.join(format!("doctor-{:08x}.tmp", getrandom::u32().unwrap_or_default()));
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?;
    let written = io::Write::write_all(&mut &file, &[0; 4096]).and_then(|()| file.sync_all());
    fs::remove_file(&path)?;
    written
}

fn ledger(folder: &Path, policy: &crate::core::policy::Policy) -> Finding {
    const CHECK: &str = "ledger";
    if matches!(folder.join("ledger.db").try_exists(), Ok(false)) {
        return Finding::ok(CHECK, "there is none yet");
    }
    match Ledger::examine(folder, policy) {
        Ok((_, 0)) => Finding::ok(CHECK, "ledger.db can be read"),
        Ok((_, unreadable)) => Finding::warn(
            CHECK,
            format!("{unreadable} records of ledger.db cannot be read"),
            "keep a copy of it; the rest goes on counting",
        ),
        Err(error) => Finding::fail(
            CHECK,
            error.to_string(),
            "run this as the user that runs spotgate; a damaged file is set aside at the next start",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::doctor::finding::Grade;

    #[test]
    fn little_room_is_said() {
        assert_eq!(room(Path::new("/a"), 100 << 20), None);
        let finding = room(Path::new("/a"), (100 << 20) - 1).unwrap();
        assert_eq!((finding.result, finding.detail.as_str()), (Grade::Warn, "/a has 99 MB left"));
    }

    #[test]
    fn a_folder_is_as_it_was_after_it_was_tried() {
        let home = tempfile::tempdir().unwrap();
        let findings = folder(home.path());
        assert!(findings.iter().all(|finding| finding.result != Grade::Fail), "{findings:?}");
        assert_eq!(fs::read_dir(home.path()).unwrap().count(), 0);
        let deeper = home.path().join("a/b");
        assert!(folder(&deeper)[0].detail.contains("will be made"));
        assert!(!home.path().join("a").exists());
        fs::write(home.path().join("a"), "a file").unwrap();
        for wrong in [deeper, home.path().join("a")] {
            assert_eq!(folder(&wrong)[0].result, Grade::Fail, "{}", wrong.display());
        }
    }
}
