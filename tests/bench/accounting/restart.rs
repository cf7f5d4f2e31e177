//! From the start of the program to the first right answer.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, OpenFlags};
use spotgate::radius::attribute::{self as a, code};
use spotgate::radius::packet::Packet;
use spotgate::sandbox::hotspot::{Hotspot, Password};

use crate::crowd::Crowd;
use crate::load::{self, SECRET, now};
use crate::server::Server;
use crate::{Sizes, table, tokens};

/// Runs of each kind.
const ROUNDS: usize = 5;

/// How long a snapshot may take.
const PATIENCE: Duration = Duration::from_secs(120);

pub async fn run(sizes: &Sizes) {
    let live = table::count(f64::from(u32::try_from(sizes.live).expect("a count")));
    let rounds = if sizes.rounds == 1 { 1 } else { ROUNDS };
    let what = format!("to the first right answer with {live} live sessions, median of {rounds} runs (least–most)");
    table::part("restart", &what);
    let all = tempfile::tempdir_in(&sizes.folder).expect("a folder");
    let place = |name: &str| -> PathBuf { all.path().join(name) };
    let work = place("work");
    fs::create_dir(&work).expect("a folder");
    tokens::store(&work, sizes.live, 1);

    let mut kinds = Vec::new();
    let mut keep = |what: &'static str, sessions: bool| {
        let kept = place(what);
        copy(&work, &kept);
        kinds.push((what, kept, sessions));
    };
    let server = Server::spotgate(&work);
    // The first record asks for a snapshot, within a second.
    let mut first = Crowd::online(1, &server).await;
    until_snapshot(&work, 1).await;
    server.end("TERM");
    keep("tokens alone, after SIGTERM", false);
    fs::remove_dir_all(work.join("state")).expect("a folder");
    let server = Server::spotgate(&work);
    first.log_in(&server).await;
    until_snapshot(&work, 1).await;
    let mut crowd = Crowd::online(sizes.live, &server).await;
    server.end("KILL");
    keep("as they came in, after SIGKILL", true);
    let server = Server::spotgate(&work);
    server.end("TERM");
    keep("as they came in, after SIGTERM", true);
    let server = Server::spotgate(&work);
    let some = crowd.interims(1, 1);
    load::run(server.accounting, some, 1, code::ACCOUNTING_RESPONSE, None).await;
    until_snapshot(&work, sizes.live).await;
    server.end("KILL");
    keep("all in one snapshot, after SIGKILL", true);
    let server = Server::spotgate(&work);
    server.end("TERM");
    keep("all in one snapshot, after SIGTERM", true);

    let mut taken = vec![Vec::new(); kinds.len()];
    for _ in 0..rounds {
        for ((_, kept, sessions), taken) in kinds.iter().zip(&mut taken) {
            let folder = place("run");
            copy(kept, &folder);
            taken.push(start(&folder, *sessions, sizes.live - 1).as_secs_f64());
            fs::remove_dir_all(&folder).expect("a folder");
        }
    }
    let mut rows = vec![table::row(&["the ledger", "first right answer", "of its own"])];
    let tokens = table::median(&taken[0]);
    for ((what, _, sessions), taken) in kinds.iter().zip(&taken) {
        let own = sessions.then(|| table::seconds((table::median(taken) - tokens).max(0.0))).unwrap_or_default();
        rows.push(vec![(*what).to_owned(), table::spread(taken, table::seconds), own]);
    }
    table::print(&rows);
}

/// Starts the daemon; how long it takes until it answers a login by another device on this token.
fn start(folder: &Path, in_use: bool, token: usize) -> Duration {
    let code = tokens::code(token);
    let hotspot = Hotspot::new(([127, 0, 0, 1], 1812).into(), SECRET.as_bytes(), "front-desk");
    let request = hotspot.access_request(&code, Password::Pap(&code), tokens::mac(0xFF_FFFF)).expect("a request");
    let expected = if in_use { code::ACCESS_REJECT } else { code::ACCESS_ACCEPT };
    let begun = now();
    let server = Server::spotgate_unready(folder, &[]);
    let reply = server.first_answer(server.auth, &request, expected, Duration::from_millis(1));
    let took = begun.elapsed();
    if in_use {
        let reply = Packet::parse(&reply).expect("a packet");
        let why = reply.first(a::REPLY_MESSAGE).and_then(a::text).unwrap_or_default();
        assert!(why.contains("in use on another device"), "{why}");
    }
    took
}

/// Waits until a snapshot holds so many tokens and the journal no more.
async fn until_snapshot(folder: &Path, tokens: usize) {
    let path = folder.join("state/ledger.db");
    let ledger = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY).expect("a ledger");
    ledger.busy_timeout(Duration::from_secs(10)).expect("patience");
    let counts = "SELECT (SELECT count(*) FROM snapshot), (SELECT count(*) FROM journal)";
    let begun = now();
    while begun.elapsed() < PATIENCE {
        let (rows, records): (i64, i64) =
            ledger.query_row(counts, [], |columns| Ok((columns.get(0)?, columns.get(1)?))).expect("counts");
        if usize::try_from(rows).is_ok_and(|rows| rows >= tokens) && records == 0 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("no snapshot");
}

/// Copies a folder as it is.
fn copy(from: &Path, to: &Path) {
    fs::create_dir(to).expect("a folder");
    for entry in fs::read_dir(from).expect("a folder") {
        let entry = entry.expect("an entry");
        let target = to.join(entry.file_name());
        if entry.file_type().expect("a kind").is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), &target).expect("a file");
            // Else the daemon waits for the disk to take the copy.
            fs::File::open(target).and_then(|file| file.sync_all()).expect("a disk");
        }
    }
}
