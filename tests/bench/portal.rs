//! What the guests' pages cost, and whether a flood of them slows RADIUS.
//!
//! `cargo bench --bench portal`; less than that, to see that it runs, without `--bench` (`cargo test --bench portal`).
//!
//! Logins over RADIUS go out at a fixed rate, each at its moment whether or not those before were answered (so that a server
//! that stalls is not asked less), and the latency counts from that moment. Pages are asked for in the same way, over connections
//! that stay. Phases with and without pages take turns in one run; the generator shares the machine's cores with the daemon.

#![expect(clippy::expect_used, clippy::indexing_slicing, reason = "a bench")]

use std::fs;
use std::net::{SocketAddr, UdpSocket};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use spotgate::core::ident::Mac;
use spotgate::radius::attribute::code;
use spotgate::radius::packet::Packet;
use spotgate::sandbox::hotspot::{Hotspot, Password};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

const SECRET: &str = "correct horse battery";

/// Tokens of the daemon.
const TOKENS: usize = 10_000;

/// Logins a second, and pages a second in the phases that have some.
const LOGINS: u32 = 500;
const PAGES: u32 = 2000;

/// Connections for pages.
const CONNECTIONS: u32 = 50;

/// Sockets for logins.
const LANES: u32 = 10;

/// How long an answer may take before it counts as lost.
const PATIENCE: Duration = Duration::from_secs(2);

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

#[expect(clippy::disallowed_methods, reason = "this measures time")]
fn now() -> Instant {
    Instant::now()
}

fn text(number: usize) -> String {
    format!("kx7q-{number:06}")
}

fn mac(number: usize) -> Mac {
    let [.., x, y, z] = number.to_be_bytes();
    Mac::new([0x3C, 6, 0x30, x, y, z])
}

/// The daemon; it ends with the value.
struct Daemon {
    child: Child,
    auth: SocketAddr,
    http: SocketAddr,
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Daemon {
    fn start(folder: &Path) -> Self {
        let udp = UdpSocket::bind("127.0.0.1:0").expect("a port").local_addr().expect("an address");
        let tcp = std::net::TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("an address");
        let configuration = format!(
            r#"
[source]
kind = "file"
path = "tokens.json"
[[nas]]
name = "front-desk"
address = "127.0.0.1"
secret = "{SECRET}"
hotspot_hosts = ["login.example.net"]
[radius]
auth_listen = ["{udp}"]
acct_listen = ["127.0.0.1:0"]
[http]
listen = ["{tcp}"]
[portal]
public_url = "http://127.0.0.1"
[store]
path = "state"
[telemetry]
level = "warn"
metrics_listen = "127.0.0.1:0"
"#
        );
        let path = folder.join("spotgate.toml");
        fs::write(&path, configuration).expect("a file");
        let tokens: Vec<Value> = (0..TOKENS)
            .map(|number| {
                json!({"Id": number, "BusinessId": 1, "AccessCode": text(number), "MinutesIncluded": 60, "MinutesLeft": 60,
                       "ValidFrom": null, "ValidTo": null, "UserLimit": 3, "MacAddress": null})
            })
            .collect();
        fs::write(folder.join("tokens.json"), Value::from(tokens).to_string()).expect("a file");
        let mut command = Command::new(env!("CARGO_BIN_EXE_spotgate"));
        command.args(["serve", "--config"]).arg(&path).stdin(Stdio::null());
        let child = command.spawn().expect("the daemon");
        Self { child, auth: udp, http: tcp }
    }

    /// Seconds of CPU so far.
    #[expect(clippy::cast_precision_loss, reason = "seconds")]
    fn cpu(&self) -> f64 {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.child.id())).expect("a process");
        let fields: Vec<&str> = stat.rsplit_once(')').expect("a name").1.split_whitespace().collect();
        let ticks = |field: usize| fields[field].parse::<u64>().expect("a number");
        (ticks(11) + ticks(12)) as f64 / 100.0
    }
}

/// Latencies of what was answered, in seconds, sorted; and how much was not.
#[derive(Default)]
struct Outcome {
    latencies: Vec<f64>,
    lost: usize,
}

impl Outcome {
    fn join(mut self, other: Self) -> Self {
        self.latencies.extend(other.latencies);
        self.lost += other.lost;
        self.latencies.sort_by(f64::total_cmp);
        self
    }

    /// In milliseconds.
    fn at(&self, permille: usize) -> f64 {
        let last = self.latencies.len().saturating_sub(1);
        self.latencies
            .get(self.latencies.len() * permille / 1000)
            .or(self.latencies.get(last))
            .copied()
            .unwrap_or_default()
            * 1e3
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or_default()
}

/// The moments of one of `of` senders that share a rate.
fn moments(begin: Instant, phase: Duration, rate: u32, sender: u32, of: u32) -> impl Iterator<Item = Instant> {
    let step = Duration::from_secs(1) * of / rate;
    let first = Duration::from_secs(1) * sender / rate;
    let count = u32::try_from(phase.as_nanos() / step.as_nanos()).expect("a number");
    (0..count).map(move |nth| begin + first + step * nth)
}

/// Logins from one socket, one after another, each at its moment.
async fn logins(
    lane: u32,
    server: SocketAddr,
    begin: Instant,
    phase: Duration,
    hotspot: Arc<Hotspot>,
    first: usize,
) -> Outcome {
    let socket = tokio::net::UdpSocket::bind("127.0.0.1:0").await.expect("a socket");
    socket.connect(server).await.expect("a socket");
    let (mut outcome, mut buffer) = (Outcome::default(), [0; Packet::MAX]);
    for (nth, moment) in moments(begin, phase, LOGINS, lane, LANES).enumerate() {
        let number = (first + nth * usize::try_from(LANES).expect("a number")) % TOKENS;
        let (name, device) = (text(number), mac(number));
        let request = hotspot.access_request(&name, Password::Pap(&name), device).expect("a request");
        tokio::time::sleep_until(moment.into()).await;
        socket.send(&request).await.expect("sent");
        match tokio::time::timeout(PATIENCE, socket.recv(&mut buffer)).await {
            Ok(received) => {
                let answer = Packet::parse(&buffer[..received.expect("an answer")]).expect("a packet");
                assert_eq!(answer.code(), code::ACCESS_ACCEPT);
                outcome.latencies.push(moment.elapsed().as_secs_f64());
            }
            Err(_) => outcome.lost += 1,
        }
    }
    outcome
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
        sent.spawn(logins(lane, daemon.auth, begin, phase, Arc::clone(hotspot), first));
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
    let daemon = Daemon::start(folder.path());
    let hotspot = Arc::new(Hotspot::new(daemon.auth, SECRET.as_bytes(), "front-desk"));
    for _ in 0..600 {
        if TcpStream::connect(daemon.http).await.is_ok() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
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
