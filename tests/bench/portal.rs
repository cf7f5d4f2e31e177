//! What the guests' pages cost, and whether a flood of them slows RADIUS.
//!
//! `cargo bench --bench portal`; less than that, to see that it runs, without `--bench` (`cargo test --bench portal`).
//!
//! Logins over RADIUS go out at a fixed rate, each at its moment whether or not those before were answered (so that a server
//! that stalls is not asked less), and the latency counts from that moment. Pages are asked for in the same way, over connections
//! that stay. Phases with and without pages take turns in one run; the generator shares the machine's cores with the daemon.

#![expect(clippy::expect_used, clippy::indexing_slicing, reason = "a bench")]

#[path = "daemon.rs"]
mod daemon;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use daemon::{Daemon, Load, Outcome, SECRET, TOKENS, median, moments, now};
use spotgate::sandbox::hotspot::Hotspot;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// Logins a second, and pages a second in the phases that have some.
const LOGINS: u32 = 500;
const PAGES: u32 = 2000;

/// Connections for pages.
const CONNECTIONS: u32 = 50;

/// Sockets for logins.
const LANES: u32 = 10;

fn main() {
    let whole = std::env::args().any(|argument| argument == "--bench");
    let (rounds, phase) = if whole { (7, Duration::from_secs(5)) } else { (1, Duration::from_millis(500)) };
    println!(
        "{TOKENS} tokens; {LOGINS} logins/s by RADIUS; {PAGES} login pages/s{}",
        if whole { "" } else { "; to see that it runs" }
    );
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime");
    runtime.block_on(alternate(rounds, phase));
}

/// Pages over one connection, one after another, each at its moment.
async fn pages(sender: u32, server: SocketAddr, begin: Instant, phase: Duration) -> Outcome {
    let mut connection = TcpStream::connect(server).await.expect("a connection");
    connection.set_nodelay(true).expect("a connection");
    let request = format!(
        "GET /login?mac=3C:06:30:00:00:01&link-login-only=http://login.example.net/login&link-orig=http://example.org/ HTTP/1.1\r\n\
         host: {server}\r\naccept-language: de\r\n\r\n"
    );
    let (mut outcome, mut buffer) = (Outcome::default(), vec![0; 64 * 1024]);
    for moment in moments(begin, phase, PAGES, sender, CONNECTIONS) {
        tokio::time::sleep_until(moment.into()).await;
        connection.write_all(request.as_bytes()).await.expect("sent");
        let mut read = 0;
        loop {
            let got = connection.read(&mut buffer[read..]).await.expect("an answer");
            assert!(got > 0, "the daemon hung up: {}", String::from_utf8_lossy(&buffer[..read]));
            read += got;
            if buffer[..read].ends_with(b"</html>\n") || buffer[..read].ends_with(b"</html>") {
                break;
            }
        }
        assert!(buffer.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&buffer[..read.min(200)]));
        outcome.latencies.push(moment.elapsed().as_secs_f64());
    }
    outcome
}

/// One phase; what came of logins and of pages, and the seconds of CPU that it took.
async fn run(
    daemon: &Daemon,
    hotspot: &Arc<Hotspot>,
    phase: Duration,
    with_pages: bool,
    round: usize,
) -> (Outcome, Outcome, f64) {
    let (begin, cpu) = (now() + Duration::from_millis(50), daemon.cpu());
    let (mut sent, mut asked) = (tokio::task::JoinSet::new(), tokio::task::JoinSet::new());
    for lane in 0..LANES {
        let first = round * 4000 + usize::try_from(lane).expect("a number");
        let load = Load { rate: LOGINS, lanes: LANES, begin, phase };
        sent.spawn(daemon::logins(load, lane, daemon.auth, Arc::clone(hotspot), first));
    }
    for sender in 0..if with_pages { CONNECTIONS } else { 0 } {
        asked.spawn(pages(sender, daemon.http, begin, phase));
    }
    let logins = sent.join_all().await.into_iter().fold(Outcome::default(), Outcome::join);
    let pages = asked.join_all().await.into_iter().fold(Outcome::default(), Outcome::join);
    (logins, pages, daemon.cpu() - cpu)
}

async fn alternate(rounds: usize, phase: Duration) {
    let folder = tempfile::tempdir().expect("a folder");
    let daemon = Daemon::start(folder.path(), "");
    let hotspot = Arc::new(Hotspot::new(daemon.auth, SECRET.as_bytes(), "front-desk"));
    daemon.answers().await;
    let mut of = [Vec::new(), Vec::new()];
    for round in 0..rounds {
        for with_pages in [false, true] {
            let result = run(&daemon, &hotspot, phase, with_pages, round * 2 + usize::from(with_pages)).await;
            of[usize::from(with_pages)].push(result);
        }
    }
    let [alone, beside] = &of;
    let over = |results: &[(Outcome, Outcome, f64)], value: &dyn Fn(&(Outcome, Outcome, f64)) -> f64| {
        median(results.iter().map(value).collect())
    };
    for (name, results) in [("without pages", alone), ("with pages", beside)] {
        let login = |permille| over(results, &|(logins, ..)| logins.at(permille));
        let lost: usize = results.iter().map(|(logins, ..)| logins.lost).sum();
        println!("login {name:14} p50 {:6.2} ms   p99 {:6.2} ms   lost {lost}", login(500), login(990));
    }
    let page = |permille| over(beside, &|(_, pages, _)| pages.at(permille));
    let count: usize = beside.iter().map(|(_, pages, _)| pages.latencies.len()).sum();
    println!("page                 p50 {:6.2} ms   p99 {:6.2} ms   {} pages", page(500), page(990), count);
    let cost =
        (over(beside, &|result| result.2) - over(alone, &|result| result.2)) / (f64::from(PAGES) * phase.as_secs_f64());
    println!("CPU of the daemon    {:.0} us a page", cost * 1e6);
    let ratio = over(beside, &|(logins, ..)| logins.at(990)) / over(alone, &|(logins, ..)| logins.at(990));
    println!("login p99 with pages / without: {ratio:.2}");
}
