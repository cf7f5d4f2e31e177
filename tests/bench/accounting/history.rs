//! Sessions that end, over many that are stored already.

use std::path::Path;
use std::time::Duration;

use jiff::{Timestamp, ToSpan as _};
use rusqlite::{Connection, params};
use serde_json::json;
use spotgate::core::ident::SessionId;
use spotgate::journal::Journal;
use spotgate::radius::attribute::StatusType;

use crate::crowd::{BRISK, Crowd};
use crate::load::now;
use crate::server::Server;
use crate::{Sizes, rates, table, tokens};

const IN_FLIGHT: usize = 256;

pub async fn run(sizes: &Sizes) {
    let stops = table::count(f64::from(u32::try_from(sizes.stops).expect("a count")));
    let what = format!(
        "{stops} Stops at once, {IN_FLIGHT} in flight, over so many ended sessions, median of {} runs in turns",
        sizes.rounds
    );
    table::part("history", &what);
    let mut subjects = Vec::new();
    for &stored in &sizes.stored {
        let folder = tempfile::tempdir_in(&sizes.folder).expect("a folder");
        tokens::store(folder.path(), sizes.stops, 1);
        store(&folder.path().join("state"), stored);
        let begun = now();
        let server = Server::spotgate(folder.path());
        subjects.push((stored, begun.elapsed(), server, folder, Crowd::of(sizes.stops)));
    }
    let mut taken: Vec<Vec<(f64, f64, f64)>> = vec![Vec::new(); subjects.len()];
    for _ in 0..sizes.rounds {
        for ((_, _, server, _, crowd), taken) in subjects.iter_mut().zip(&mut taken) {
            crowd.log_in(server).await;
            crowd.report(server, StatusType::Start, BRISK).await;
            let before = server.cpu();
            let outcome = crowd.report(server, StatusType::Stop, IN_FLIGHT).await;
            let cpu = rates::each(server.cpu() - before, outcome.answered);
            taken.push((cpu.as_secs_f64(), outcome.rate(), outcome.latency(0.99).as_secs_f64()));
        }
    }
    let mut rows =
        vec![table::row(&["stored before", "and after", "CPU for a Stop", "to none", "Stops/s", "p99", "first start"])];
    let of = |taken: &[(f64, f64, f64)], which: fn(&(f64, f64, f64)) -> f64| -> Vec<f64> {
        taken.iter().map(which).collect()
    };
    let none = table::median(&of(&taken[0], |one| one.0));
    for ((stored, started, _, folder, _), taken) in subjects.iter().zip(&taken) {
        let cpu = of(taken, |one| one.0);
        let after = count(&folder.path().join("state"));
        assert_eq!(after, stored + sizes.rounds * sizes.stops, "every ended session is stored");
        rows.push(vec![
            table::count(f64::from(u32::try_from(*stored).expect("a count"))),
            table::count(f64::from(u32::try_from(after).expect("a count"))),
            table::spread(&cpu, table::seconds),
            format!("{:.2}", table::median(&cpu) / none),
            table::spread(&of(taken, |one| one.1), table::count),
            table::spread(&of(taken, |one| one.2), table::seconds),
            table::time(*started),
        ]);
    }
    table::print(&rows);
}

fn count(folder: &Path) -> usize {
    let ledger = Connection::open(folder.join("ledger.db")).expect("a ledger");
    ledger.busy_timeout(Duration::from_secs(10)).expect("patience");
    let count: i64 = ledger.query_row("SELECT count(*) FROM closed", [], |columns| columns.get(0)).expect("a count");
    count.try_into().expect("a count")
}

/// Makes a ledger that holds so many ended sessions of the last month.
fn store(folder: &Path, count: usize) {
    // The journal makes its own tables.
    Journal::open(folder, tokens::wall(), |_| {}).expect("a journal").journal.close().expect("a journal");
    let mut ledger = Connection::open(folder.join("ledger.db")).expect("a ledger");
    let transaction = ledger.transaction().expect("a transaction");
    {
        let mut insert = transaction.prepare("INSERT INTO closed VALUES (?1, ?2, ?3, ?4)").expect("the table");
        let begin = tokens::wall() - (30 * 24).hours();
        let step = 2_500_000_000 / i64::try_from(count.max(1)).expect("a count");
        for number in 0..count {
            let at = begin + (step * i64::try_from(number).expect("a count")).milliseconds();
            let id = id(at, number);
            let token = i64::try_from(number % 10_000 + 1).expect("a token");
            let payload = payload(&id, at, number);
            insert.execute(params![id, token, at.as_millisecond(), payload.as_bytes()]).expect("a row");
        }
    }
    transaction.commit().expect("a disk");
    ledger.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).expect("a disk");
}

/// A name that begins with the time, as all of them do.
fn id(at: Timestamp, number: usize) -> String {
    let mixed = u64::try_from(number).expect("a number").wrapping_mul(0x9E37_79B9_7F4A_7C15).to_be_bytes();
    let mut random = [7; 10];
    random[..8].copy_from_slice(&mixed);
    SessionId::new(at, random).to_string()
}

fn payload(id: &str, at: Timestamp, number: usize) -> String {
    let (at, mac, code) = (at.as_millisecond(), tokens::mac(number), tokens::code(number));
    let contact = json!({
        "nas": "front-desk", "router": "127.0.0.1", "nas_session": "80300001", "ip": "10.5.88.17",
        "can_disconnect": true, "can_extend": false
    });
    let reported = json!({"at": at, "seconds": 60, "input_octets": 90_000, "output_octets": 1_200_000});
    let session = json!({
        "session": id, "mac": mac.to_string(), "code": code, "contact": contact, "admitted_at": at - 60_000,
        "granted": 86_400, "interim": 300, "accounting": true, "reported": reported
    });
    json!({"session": session, "at": at, "counts": 60, "stopped": true}).to_string()
}
