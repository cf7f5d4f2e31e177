//! What live sessions weigh.

use std::path::Path;
use std::time::Duration;

use spotgate::radius::attribute::{StatusType, code};

use crate::crowd::{BRISK, Crowd};
use crate::server::{Memory, Server};
use crate::{Sizes, load, table, tokens};

/// Sessions about which as much is said beforehand as later about all.
const FEW: usize = 100;

pub async fn run(sizes: &Sizes) {
    let live = table::count(f64::from(u32::try_from(sizes.live).expect("a count")));
    table::part("memory", &format!("{live} live sessions, each of a token of its own"));
    let folder = tempfile::tempdir_in(&sizes.folder).expect("a folder");
    tokens::store(folder.path(), sizes.live, 1);
    let mut rows = vec![table::row(&["", "resident", "anonymous", "added", "for each"])];
    let mut show = |what: &str, memory: Memory, before: Option<Memory>| {
        let added = before.map(|before| memory.anonymous.saturating_sub(before.anonymous));
        let each = |added| added / u64::try_from(sizes.live).expect("a count");
        rows.push(vec![
            what.to_owned(),
            table::megabytes(memory.resident),
            table::megabytes(memory.anonymous),
            added.map(table::megabytes).unwrap_or_default(),
            added.map(|added| format!("{} octets", each(added))).unwrap_or_default(),
        ]);
    };

    let server = start(folder.path());
    let idle = weigh(&server, sizes.quiet).await;
    show("started, tokens known, no session", idle, None);
    // The same number of requests about few sessions.
    let mut few = Crowd::of(FEW.min(sizes.live));
    for _ in 0..sizes.live / FEW.min(sizes.live) {
        few.log_in(&server).await;
        few.report(&server, StatusType::Start, BRISK).await;
    }
    few.report(&server, StatusType::Stop, BRISK).await;
    let warm = weigh(&server, sizes.quiet).await;
    show("after as many requests about few sessions", warm, None);
    let mut all = Crowd::online(sizes.live, &server).await;
    let fresh = weigh(&server, sizes.quiet).await;
    show("with all of them", fresh, Some(warm));
    let interims = all.interims(sizes.live, load::LANES);
    load::run(server.accounting, interims, BRISK, code::ACCOUNTING_RESPONSE, None).await;
    show("after an Interim-Update of each", weigh(&server, sizes.quiet).await, Some(warm));
    server.end("TERM");

    let server = start(folder.path());
    let restarted = weigh(&server, sizes.quiet).await;
    show("started again", restarted, Some(idle));
    let interims = all.interims(FEW.min(sizes.live), load::LANES);
    load::run(server.accounting, interims, LANES, code::ACCOUNTING_RESPONSE, None).await;
    show("and after a snapshot", weigh(&server, sizes.quiet).await, Some(idle));
    server.end("TERM");

    // What tokens leave behind when they are read is room that sessions take; without tokens nothing is hidden so.
    let nothing = tempfile::tempdir_in(&sizes.folder).expect("a folder");
    for folder in [&nothing, &folder] {
        tokens::store(folder.path(), 0, 1);
    }
    let server = start(nothing.path());
    let nothing = weigh(&server, sizes.quiet).await;
    show("started, nothing known", nothing, None);
    let server = start(folder.path());
    show("started again, no tokens known", weigh(&server, sizes.quiet).await, Some(nothing));
    table::print(&rows);
}

const LANES: usize = load::LANES;

fn start(folder: &Path) -> Server {
    // What is kept for repetitions is gone when it is weighed.
    let server = Server::spotgate_unready(folder, &["duplicate_window = \"1s\""]);
    server.until_ready();
    server
}

async fn weigh(server: &Server, quiet: Duration) -> Memory {
    tokio::time::sleep(quiet).await;
    // The old is thrown out when the next comes.
    for _ in 0..8 {
        server.until_ready();
    }
    server.process().memory()
}
