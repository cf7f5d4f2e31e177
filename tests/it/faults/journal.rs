//! The disk beneath the ledger, call by call.

use std::fs;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use spotgate::radius::attribute::StatusType;
use spotgate::sandbox::hotspot::Record;
use tempfile::TempDir;

use super::{Faults, hasty, is_over};
use crate::crash::{Guest, TOKENS, check};
use crate::support::ledger::{Reader, code, elapsed, folder, interim, online, roomy, start, usage};
use crate::support::process::{Process, until};
use crate::support::{FILE_SOURCE, Spotgate, configuration, configured, tool};

/// What is done to which call of the thread that writes, and to the first how many of these in turn.
const SWEEP: [(&str, &str, u32); 9] = [
    ("pwrite64", "error=EIO", 5),
    ("pwrite64", "error=ENOSPC", 2),
    ("pwrite64", "signal=KILL", 6),
    ("fsync", "error=EIO", 4),
    ("fsync", "signal=KILL", 3),
    ("ftruncate", "error=EIO", 1),
    ("ftruncate", "signal=KILL", 1),
    ("fcntl", "error=EIO", 4),
    ("pread64", "error=EIO", 2),
];

/// Reports of the latest guests, until a fault struck and twice more: who goes on must not build on what is not there. Whether it
/// struck at all: where somebody reads at that moment, the log is not cut.
async fn report(spotgate: &Spotgate, faults: &Faults, guests: &mut [Guest]) -> bool {
    let hotspot = spotgate.hotspot().patience(Duration::from_millis(60), 2);
    let from = guests.len().saturating_sub(2);
    let (mut rounds, mut struck) = (25, false);
    while rounds > 0 && !is_over(spotgate) {
        rounds -= 1;
        if !struck && !faults.struck().is_empty() {
            (rounds, struck) = (2, true);
        }
        for guest in guests[from..].iter_mut().filter(|guest| guest.stopped.is_none()) {
            let seconds = guest.latest() + 1;
            guest.report(&hotspot, StatusType::InterimUpdate, seconds).await;
        }
    }
    // What it does in quiet, such as cutting its log after a snapshot.
    for _ in 0..100 {
        if faults.struck().is_empty() && !is_over(spotgate) {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
    let leaving = &mut guests[from];
    let seconds = leaving.stopped.unwrap_or_else(|| leaving.latest() + 1);
    leaving.report(&hotspot, StatusType::Stop, seconds).await;
    !faults.struck().is_empty()
}

/// `SPOTGATE_SWEEP=40 cargo test --test it -- whichever_call` goes so far with each but `ftruncate`, which is seldom called.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whichever_call_of_the_journal_fails_or_is_the_last_what_is_acknowledged_is_there_once() {
    let named: Option<u32> = std::env::var("SPOTGATE_SWEEP").ok().map(|most| most.parse().unwrap());
    let folder = folder(&(1..=TOKENS).map(|token| roomy(token, &code(token))).collect::<Vec<_>>());
    let mut guests: Vec<Guest> = Vec::new();
    let mut number = 0;
    for (call, fault, most) in SWEEP {
        let (mut nth, mut tries) = (1, 0);
        while nth <= named.filter(|_| call != "ftruncate").unwrap_or(most) {
            println!("{call}:{fault}:when={nth}");
            let spotgate = start(&folder);
            guests = check(&spotgate, guests).await;
            number += 1;
            // Before anything is written: the first record of a run is followed by a snapshot.
            let faults = Faults::of_thread(&spotgate, "journal", &format!("{call}:{fault}:when={nth}"));
            let token = i64::from(number) % TOKENS + 1;
            let known = guests.len();
            // It may be over before it has answered.
            guests.extend(Guest::login(&spotgate.hotspot(), token, number).await);
            let struck = report(&spotgate, &faults, &mut guests).await;
            spotgate.kill();
            // Who was let in while the disk failed, and nothing acknowledged of, may be lost, whatever was of others since.
            for guest in guests[known..].iter_mut().filter(|guest| guest.witness.is_none()) {
                guest.admitted = elapsed();
            }
            tries += 1;
            assert!(struck || tries < 3, "no such call is made");
            if struck {
                (nth, tries) = (nth + 1, 0);
            }
        }
    }
    let spotgate = start(&folder);
    let mut guests = check(&spotgate, guests).await;
    for guest in &mut guests {
        let seconds = guest.stopped.unwrap_or_else(|| guest.latest());
        assert!(guest.report(&spotgate.hotspot(), StatusType::Stop, seconds).await, "all is well again");
        guest.settled = false;
    }
    let all = guests.len();
    let spotgate = start(&spotgate.kill());
    assert_eq!((check(&spotgate, guests).await.len(), Reader::of(&spotgate).live().await.len()), (all, 0));
}

/// What is done at a start to which call about the ledger, and to the first how many of these in turn, if each of its threads
/// makes so many.
const AT_THE_START: [(&str, &str, u32); 7] = [
    ("openat", "error=EIO", 5),
    ("pread64", "error=EIO", 3),
    ("pwrite64", "error=EIO", 2),
    ("pwrite64", "signal=KILL", 2),
    ("fsync", "error=EIO", 4),
    ("fsync", "signal=KILL", 2),
    ("ftruncate", "error=EIO", 1),
];

/// A start at which this happens, until it is ready or over; whether there was such a call. It ends as by a power cut.
async fn start_at_which(folder: &Arc<TempDir>, what: &str) -> bool {
    let told = folder.path().join("strace");
    let mut command = tool("strace");
    command.args(["-D", "-f", "--seccomp-bpf", "-qq", "-s", "0", "-o"]).arg(&told);
    for file in ["", "ledger.db", "ledger.db-wal", "ledger.db-shm", "ledger.lock"] {
        command.arg("-P").arg(folder.path().join("state").join(file));
    }
    let calls = what.split(':').next().unwrap();
    command.args(["-e", &format!("trace={calls}"), "-e", &format!("inject={what}"), env!("CARGO_BIN_EXE_spotgate")]);
    command.args(["serve", "--config"]).arg(configured(folder, &configuration(FILE_SOURCE, "")));
    let mut daemon = Process::start("start", command, folder.path());
    let mut over = None;
    until(what, || {
        over = daemon.child.try_wait().unwrap();
        over.is_some() || daemon.said().contains("\"message\":\"ready\"")
    })
    .await;
    let told = fs::read_to_string(told).unwrap();
    println!("{what}: {over:?}");
    let is_killed = what.contains("signal=KILL");
    assert!(over.is_none_or(|status| status.code() == (!is_killed).then_some(74)), "{over:?} {}", daemon.said());
    told.contains("(INJECTED)") || told.contains("+++ killed by")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whichever_call_fails_at_the_start_the_next_start_has_everything() {
    let folder = folder(&(1..=TOKENS).map(|token| roomy(token, &code(token))).collect::<Vec<_>>());
    let spotgate = start(&folder);
    let mut guests = Vec::new();
    for number in 1..=4 {
        guests.push(Guest::login(&spotgate.hotspot(), i64::from(number), number).await.unwrap());
    }
    drop(spotgate.stop());
    for (call, fault, most) in AT_THE_START {
        for nth in 1..=most {
            let spotgate = start(&folder);
            guests = check(&spotgate, guests).await;
            for guest in &mut guests {
                let seconds = guest.latest() + 1;
                assert!(guest.report(&spotgate.hotspot(), StatusType::InterimUpdate, seconds).await);
            }
            spotgate.kill();
            if !start_at_which(&folder, &format!("{call}:{fault}:when={nth}")).await {
                assert!(nth > 1, "no such call is made");
                break;
            }
        }
    }
    let spotgate = start(&folder);
    assert_eq!(spotgate.get("/readyz").await.1["degraded"], json!([]));
    assert_eq!(check(&spotgate, guests).await.len(), 4);
}

#[tokio::test]
async fn a_sync_that_failed_is_not_taken_for_done_by_the_next() {
    let folder = folder(&[roomy(1, "abc-123")]);
    let spotgate = start(&folder);
    let (first, _) = online(&spotgate, "abc-123", 1, 100).await;
    let (second, _) = online(&spotgate, "abc-123", 2, 100).await;
    // The first alone: all that follow say that they succeed, as the kernel's do.
    let faults = Faults::of_thread(&spotgate, "journal", "fsync:error=EIO:when=1");
    let stop = |admitted, device| Record { status: StatusType::Stop, ..interim(admitted, "abc-123", device, 200) };
    let hotspot = hasty(&spotgate);
    let (one, other) = (stop(&first, 1), stop(&second, 2));
    let (one, other) = tokio::join!(hotspot.account(&one), hotspot.account(&other));
    assert!(one.is_err() && other.is_err(), "it is acknowledged, and on no disk");
    assert_eq!(faults.struck().len(), 1);
    spotgate.until("it ends", async || is_over(&spotgate)).await;
    let (code, log) = spotgate.ended();
    assert_eq!(code, Some(74), "it is to be started anew: {log}");
    assert!(log.contains("the journal must be opened again"), "{log}");

    let spotgate = start(&folder);
    assert_eq!(spotgate.get("/readyz").await.1["degraded"], json!([]));
    assert!((200..300).contains(&usage(&spotgate, "abc-123").await), "what was acknowledged");
    let again = spotgate.hotspot();
    again.account(&stop(&first, 1)).await.unwrap();
    again.account(&stop(&second, 2)).await.unwrap();
    let spotgate = start(&spotgate.kill());
    assert_eq!(usage(&spotgate, "abc-123").await, 400);
    assert_eq!(spotgate.read("/v1/sessions").await.1["sessions"], Value::Array(Vec::new()));
}

#[tokio::test]
async fn a_daemon_that_could_not_open_its_ledger_ends_once_it_could_and_the_next_has_all_of_it() {
    let folder = folder(&[roomy(1, "abc-123")]);
    let spotgate = start(&folder);
    let (admitted, _) = online(&spotgate, "abc-123", 1, 100).await;
    spotgate.kill();
    let (state, aside) = (folder.path().join("state"), folder.path().join("aside"));
    fs::rename(&state, &aside).unwrap();
    fs::write(&state, "no folder").unwrap();
    let spotgate = start(&folder);
    let interim = interim(&admitted, "abc-123", 1, 200);
    assert!(hasty(&spotgate).account(&interim).await.is_err(), "it is acknowledged, and nowhere");
    let degraded = spotgate.get("/readyz").await.1["degraded"].to_string();
    assert!(degraded.contains("accounting is not acknowledged"), "{degraded}");
    fs::remove_file(&state).unwrap();
    fs::rename(&aside, &state).unwrap();
    spotgate.until("it ends", async || is_over(&spotgate)).await;
    let (code, log) = spotgate.ended();
    assert!(code == Some(74) && log.contains("can be by now"), "{code:?} {log}");
    let spotgate = start(&folder);
    assert_eq!(spotgate.get("/readyz").await.1["degraded"], json!([]));
    assert!((100..160).contains(&usage(&spotgate, "abc-123").await));
    spotgate.hotspot().account(&interim).await.unwrap();
    assert!((200..260).contains(&usage(&spotgate, "abc-123").await));
}
