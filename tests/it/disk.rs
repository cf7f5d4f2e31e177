//! Disks that are full, or cannot be written: accounting is not acknowledged, logins go on, `/readyz` says why; and when
//! the disk does better, everything is written down by itself.

use std::fs;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use spotgate::radius::attribute::StatusType;
use spotgate::radius::auth::session_of;
use spotgate::sandbox::hotspot::{Answer, Hotspot, Record};
use tempfile::TempDir;

use crate::support::ledger::{self, now, roomy, start};
use crate::support::{FILE_SOURCE, KEY, Spotgate, configuration, mac, run, tool};

fn folder() -> Arc<TempDir> {
    ledger::folder(&[roomy(1, "abc-123")])
}

/// A router that gives up soon: for requests that stay unanswered.
fn hasty(spotgate: &Spotgate) -> Hotspot {
    spotgate.hotspot().patience(Duration::from_millis(300), 1)
}

/// A disk of two megabytes under the ledger; it is unmounted with the value, which must outlive the daemon.
pub(crate) struct Disk(PathBuf);

impl Disk {
    /// None where this user may not mount, as in most containers.
    pub(crate) fn under(folder: &TempDir) -> Option<Self> {
        let place = folder.path().join("state");
        fs::create_dir(&place).unwrap();
        let mounted =
            run(Command::new("mount").args(["-t", "tmpfs", "-o", "size=2m,mode=700", "spotgate-test"]).arg(&place));
        if mounted.status.success() {
            return Some(Self(place));
        }
        println!("not tried: {}", String::from_utf8_lossy(&mounted.stderr).trim());
        None
    }

    pub(crate) fn fill(&self) {
        let mut filler = fs::OpenOptions::new().append(true).create(true).open(self.0.join("filler")).unwrap();
        for size in [65_536, 4096, 512, 1] {
            let piece = vec![0; size];
            // At most all of the disk.
            for _ in 0..4096 {
                if filler.write_all(&piece).is_err() {
                    break;
                }
            }
        }
    }

    pub(crate) fn make_room(&self) {
        fs::remove_file(self.0.join("filler")).unwrap();
    }

    /// Linux does so only while no file is open for writing.
    fn remount(&self, how: &str) {
        let remounted = run(Command::new("mount").arg("-o").arg(format!("remount,{how}")).arg(&self.0));
        assert!(remounted.status.success(), "{}", String::from_utf8_lossy(&remounted.stderr));
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let unmounted = Command::new("umount").arg(&self.0).status();
        if !unmounted.is_ok_and(|status| status.success()) {
            let _ = Command::new("umount").arg("-l").arg(&self.0).status();
        }
    }
}

/// A device that logged in, and its session.
struct Guest {
    admitted: Answer,
    id: String,
    device: u8,
}

impl Guest {
    async fn login(spotgate: &Spotgate, device: u8) -> Self {
        let admitted = spotgate.hotspot().login_pap("abc-123", "", mac(device)).await.unwrap();
        assert!(admitted.accept, "{:?}", admitted.reply_message);
        let (id, _) = session_of(admitted.class.as_deref().unwrap()).unwrap();
        Self { admitted, id: id.to_string(), device }
    }

    fn record(&self, status: StatusType, seconds: u32) -> Record<'_> {
        let id = self.admitted.session_id.as_deref().unwrap();
        let start = Record::start("abc-123", mac(self.device), id, now());
        Record { status, class: self.admitted.class.as_deref(), seconds, ..start }
    }

    /// Reports until it is acknowledged, as a router does.
    async fn persists(&self, spotgate: &Spotgate, status: StatusType, seconds: u32) {
        let hotspot = spotgate.hotspot().patience(Duration::from_millis(150), 100);
        hotspot.account(&self.record(status, seconds)).await.unwrap();
    }

    async fn seen(&self, spotgate: &Spotgate) -> (Value, Value) {
        let (_, session) = spotgate.read(&format!("/v1/sessions/{}", self.id)).await;
        (session["state"].clone(), session["seconds_used"].clone())
    }
}

const INTERIM: StatusType = StatusType::InterimUpdate;
const STOP: StatusType = StatusType::Stop;

async fn usage(spotgate: &Spotgate) -> u64 {
    ledger::usage(spotgate, "abc-123").await
}

/// What is wrong with the store, while logins are decided.
async fn degraded(spotgate: &Spotgate) -> Option<String> {
    let (status, ready) = spotgate.get("/readyz").await;
    assert_eq!((status, &ready["ready"]), (200, &json!(true)), "{ready}");
    let mut troubles = ready["degraded"].as_array().unwrap().iter().map(|trouble| trouble.as_str().unwrap());
    troubles.find(|trouble| trouble.starts_with("store: ")).map(str::to_owned)
}

/// Reports until that cannot be written down: there may be room in what the log has of the disk already.
async fn until_it_fails(spotgate: &Spotgate, guest: &Guest, seconds: u32) {
    for _ in 0..400 {
        if degraded(spotgate).await.is_some() {
            return;
        }
        let _ = hasty(spotgate).account(&guest.record(INTERIM, seconds)).await;
    }
    panic!("it is still written down");
}

/// What holds of a disk that cannot be written for a while, however that comes about.
async fn for_a_while(
    mut spotgate: Spotgate,
    start: impl Fn(Arc<TempDir>) -> Spotgate,
    stops: impl Fn(&Spotgate),
    goes: impl Fn(&Spotgate),
) {
    let (first, second) = (Guest::login(&spotgate, 1).await, Guest::login(&spotgate, 2).await);
    first.persists(&spotgate, INTERIM, 100).await;
    second.persists(&spotgate, INTERIM, 100).await;

    stops(&spotgate);
    until_it_fails(&spotgate, &second, 150).await;
    assert!(hasty(&spotgate).account(&first.record(STOP, 200)).await.is_err(), "a Stop is not acknowledged");
    assert!(hasty(&spotgate).account(&first.record(STOP, 200)).await.is_err(), "nor is its repetition");
    let on = Record { status: StatusType::AccountingOn, ..second.record(INTERIM, 0) };
    let trouble = degraded(&spotgate).await.unwrap();
    assert!(trouble.contains("not acknowledged"), "{trouble}");
    let third = Guest::login(&spotgate, 3).await;
    assert!(spotgate.hotspot().login_mac(mac(1)).await.unwrap().accept, "logins go on");
    assert_eq!(first.seen(&spotgate).await, (json!("ended"), json!(200)), "memory took it in");
    // It looks after itself in vain, and says so all the while.
    let tries = |spotgate: &Spotgate| spotgate.log().matches("could not be made good").count();
    let before = tries(&spotgate);
    spotgate.until("it tried twice", || std::future::ready(tries(&spotgate) > before + 1)).await;
    assert!(degraded(&spotgate).await.is_some() && !spotgate.log().contains("is written again"));

    goes(&spotgate);
    spotgate.until("all is well", async || degraded(&spotgate).await.is_none()).await;
    spotgate
        .until("nothing is missing", async || hasty(&spotgate).account(&third.record(INTERIM, 7)).await.is_ok())
        .await;
    spotgate = start(spotgate.kill());
    assert_eq!(first.seen(&spotgate).await, (json!("ended"), json!(200)), "what was refused was made good");
    assert_eq!(third.seen(&spotgate).await.0, "online");
    assert!(usage(&spotgate).await >= 200 + 100 + 7);

    // Who is let in meanwhile, and reports as soon as it can: acknowledged is acknowledged.
    second.persists(&spotgate, INTERIM, 500).await;
    stops(&spotgate);
    until_it_fails(&spotgate, &second, 500).await;
    let fourth = Guest::login(&spotgate, 4).await;
    goes(&spotgate);
    fourth.persists(&spotgate, STOP, 90).await;
    spotgate = start(spotgate.kill());
    assert_eq!(fourth.seen(&spotgate).await, (json!("ended"), json!(90)));

    // A router that began anew meanwhile has nobody online, once that is acknowledged.
    stops(&spotgate);
    until_it_fails(&spotgate, &second, 500).await;
    assert!(hasty(&spotgate).account(&on).await.is_err(), "Accounting-On is not acknowledged");
    goes(&spotgate);
    spotgate.hotspot().patience(Duration::from_millis(150), 100).account(&on).await.unwrap();
    spotgate = start(spotgate.kill());
    assert_eq!(spotgate.read("/v1/sessions").await.1["sessions"], json!([]));
    // What it had run up before counts.
    assert_eq!(usage(&spotgate).await, 200 + 500 + 7 + 90);
}

#[tokio::test]
async fn a_full_disk_costs_acknowledgements_and_nothing_else() {
    let folder = folder();
    let Some(disk) = Disk::under(&folder) else { return };
    let spotgate = start(&folder);
    for_a_while(spotgate, |folder| start(&folder), |_| disk.fill(), |_| disk.make_room()).await;
}

#[tokio::test]
async fn a_disk_that_takes_no_write_for_a_while() {
    let folder = folder();
    // The limit on the size of files stands for a disk gone read-only: it may be set from outside, and taken back.
    let start = |folder: Arc<TempDir>| {
        let mut shell = Command::new("sh");
        shell.args(["-c", "trap '' XFSZ; exec \"$0\" \"$@\"", env!("CARGO_BIN_EXE_spotgate")]);
        Spotgate::start_by(shell, folder, &configuration(FILE_SOURCE, ""))
    };
    let limit = |spotgate: &Spotgate, size: &str| {
        let output = run(tool("prlimit").args(["--pid", &spotgate.id().to_string(), &format!("--fsize={size}:")]));
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    };
    let spotgate = start(folder);
    for_a_while(spotgate, start, |spotgate| limit(spotgate, "0"), |spotgate| limit(spotgate, "unlimited")).await;
}

/// What holds of a daemon that found its ledger on a disk that cannot be written: 100 s of a session that goes on, 200
/// of one that ended.
async fn knows_and_acknowledges_nothing(spotgate: &Spotgate, live: &Guest, ended: &Guest) {
    let trouble = degraded(spotgate).await.unwrap();
    assert!(trouble.contains("accounting is not acknowledged"), "{trouble}");
    assert_eq!(live.seen(spotgate).await.0, "online");
    assert_eq!(ended.seen(spotgate).await, (json!("ended"), json!(200)));
    assert!((300..400).contains(&usage(spotgate).await));
    let newcomer = Guest::login(spotgate, 3).await;
    assert!(spotgate.hotspot().login_mac(mac(1)).await.unwrap().accept, "a device is remembered");
    let nobody = Record::start("no-such-code", mac(9), "80ffff01", now());
    let on = Record { status: StatusType::AccountingOn, ..nobody };
    for record in [&live.record(INTERIM, 150), &newcomer.record(STOP, 50), &nobody, &on] {
        assert!(hasty(spotgate).account(record).await.is_err(), "it is acknowledged, and nowhere");
    }
    let (status, _) = spotgate.post("/v1/accounting", Some(KEY), json!({
        "event": "stop", "session_id": newcomer.admitted.session_id, "mac": mac(3).to_string(), "session_seconds": 60
    }).to_string()).await;
    assert_eq!(status, 503);
}

#[tokio::test]
async fn a_ledger_that_can_be_read_and_not_written_is_known() {
    let folder = folder();
    let Some(disk) = Disk::under(&folder) else { return };
    let spotgate = start(&folder);
    let (ended, live) = (Guest::login(&spotgate, 1).await, Guest::login(&spotgate, 2).await);
    ended.persists(&spotgate, STOP, 200).await;
    live.persists(&spotgate, INTERIM, 100).await;
    spotgate.kill();
    // After a crash, with and without what SQLite shares between processes; after an orderly end; and full instead.
    for how in ["ro", "ro without index", "ro in order", "full"] {
        match how {
            "ro without index" => fs::remove_file(disk.0.join("ledger.db-shm")).unwrap(),
            "ro in order" | "full" => drop(start(&folder).stop()),
            _ => {}
        }
        if how == "full" {
            disk.fill();
        } else {
            disk.remount("ro");
        }
        println!("{how}");
        let spotgate = start(&folder);
        knows_and_acknowledges_nothing(&spotgate, &live, &ended).await;
        spotgate.kill();
        if how == "full" { disk.make_room() } else { disk.remount("rw") }
    }
    let spotgate = start(&folder);
    assert_eq!(degraded(&spotgate).await, None);
    live.persists(&spotgate, STOP, 170).await;
    assert_eq!(usage(&spotgate).await, 370);
}

#[tokio::test]
async fn without_any_folder_logins_go_on() {
    let configuration = configuration(FILE_SOURCE, "").replace("path = \"state\"", "path = \"tokens.json/state\"");
    let spotgate = Spotgate::start_in(folder(), &configuration);
    let trouble = degraded(&spotgate).await.unwrap();
    assert!(trouble.contains("tokens.json/state"), "{trouble}");
    let guest = Guest::login(&spotgate, 1).await;
    let nobody = Record::start("no-such-code", mac(9), "80ffff01", now());
    for record in [&guest.record(INTERIM, 100), &guest.record(STOP, 200), &nobody] {
        assert!(hasty(&spotgate).account(record).await.is_err());
    }
    assert_eq!(guest.seen(&spotgate).await, (json!("ended"), json!(200)), "it counts as long as the daemon runs");
    let ready = spotgate.get("/readyz").await.1;
    assert!(
        ready["degraded"]
            .as_array()
            .unwrap()
            .iter()
            .any(|trouble| trouble.as_str().unwrap().contains("not acknowledged"))
    );
}
