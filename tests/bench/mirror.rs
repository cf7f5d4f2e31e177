//! What a mirror of 100 000 tokens costs: memory, looking one up, and starting with it without internet.
//!
//! `cargo bench --bench mirror`; less than that, to see that it runs, without `--bench` (`cargo test --bench mirror`).

#![expect(clippy::expect_used, clippy::panic, reason = "a bench")]

use std::fs;
use std::hint::black_box;
use std::net::{SocketAddr, UdpSocket};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use spotgate::catalogue::{Catalogue, Find};
use spotgate::clock::Clock;
use spotgate::config;
use spotgate::core::ident::{BusinessId, Code, Mac, TokenId};
use spotgate::core::login::Claim;
use spotgate::core::token::AccessToken;
use spotgate::radius::attribute::code;
use spotgate::radius::packet::Packet;
use spotgate::sandbox::hotspot::{Hotspot, Password};
use spotgate::sandbox::nexudus::{Fail, Options, Sandbox};

const SECRET: &str = "correct horse battery";

const RUNS: usize = 5;

fn main() {
    let whole = std::env::args().any(|argument| argument == "--bench");
    let (tokens, runs) = if whole { (100_000, RUNS) } else { (2000, 1) };
    println!("{tokens} tokens, half of them with a MacAddress{}", if whole { "" } else { "; to see that it runs" });
    look_ups(tokens, runs);
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime");
    runtime.block_on(daemon(tokens, runs));
}

fn text(number: usize) -> String {
    format!("kx7q-{number:06}")
}

fn mac(number: usize) -> Mac {
    let [.., x, y, z] = number.to_be_bytes();
    Mac::new([0x3C, 6, 0x30, x, y, z])
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or_default()
}

#[expect(clippy::disallowed_methods, reason = "this measures time")]
fn now() -> Instant {
    Instant::now()
}

/// In the order of a stride, so that neighbours in memory are not asked for one after another.
#[expect(clippy::cast_precision_loss, reason = "counts")]
fn look_ups(tokens: usize, runs: usize) {
    let token = |number: usize| AccessToken {
        id: TokenId(i64::try_from(number).expect("a number")),
        business: Some(BusinessId(1)),
        code: Code::parse(&text(number)).expect("a code"),
        valid_from: None,
        valid_to: None,
        minutes_included: Some(60),
        minutes_left: Some(60),
        user_limit: Some(1),
        devices: number.is_multiple_of(2).then(|| mac(number)).into_iter().collect(),
        last_access: None,
    };
    let settings = config::from_str(&configuration("http://127.0.0.1:1", [0, 0]), Path::new("bench.toml"), &|_| None);
    let cache = settings.expect("a configuration").settings.cache;
    let catalogue = Catalogue::new(&cache, None, true, Clock::system());
    catalogue.replace((0..tokens).map(|number| Arc::new(token(number))).collect());
    let order: Vec<usize> = (0..tokens).map(|step| step * 7919 % tokens).collect();
    let codes: Vec<Claim> = order.iter().map(|n| Claim::Code(Code::parse(&text(*n)).expect("a code"))).collect();
    let devices: Vec<Claim> = order.iter().map(|n| Claim::Device(mac(n / 2 * 2))).collect();
    for (what, claims) in [("code", codes), ("device", devices)] {
        let run = |_| {
            let begun = now();
            for claim in &claims {
                let Find::Here(found) = catalogue.find(black_box(claim)) else { panic!("not here") };
                assert_eq!(black_box(found).len(), 1);
            }
            begun.elapsed().as_secs_f64() / claims.len() as f64
        };
        println!("look-up by {what:<6}  {:.0} ns (median of {runs})", median((0..runs).map(run).collect()) * 1e9);
    }
}

fn configuration(base_url: &str, [auth, accounting]: [u16; 2]) -> String {
    format!(
        r#"
[source]
kind = "nexudus"
[source.nexudus]
base_url = "{base_url}"
username = "demo@example.org"
password = "demo"
requests_per_minute = 100000
[[nas]]
name = "front-desk"
address = "127.0.0.1"
secret = "{SECRET}"
[radius]
auth_listen = ["127.0.0.1:{auth}"]
acct_listen = ["127.0.0.1:{accounting}"]
[http]
listen = ["127.0.0.1:0"]
[store]
path = "state"
[telemetry]
level = "warn"
metrics_listen = "127.0.0.1:0"
"#
    )
}

/// A daemon that ends with its value.
struct Daemon {
    child: Child,
    auth: SocketAddr,
}

impl Daemon {
    fn start(folder: &Path, base_url: &str) -> Self {
        let sockets = [(); 2].map(|()| UdpSocket::bind("127.0.0.1:0").expect("a port"));
        let ports = sockets.map(|socket| socket.local_addr().expect("an address").port());
        let path = folder.join("spotgate.toml");
        fs::write(&path, configuration(base_url, ports)).expect("a file");
        fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o600)).expect("a file of ours");
        let mut command = Command::new(env!("CARGO_BIN_EXE_spotgate"));
        let child = command.args(["serve", "--config"]).arg(&path).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        Self { child: child.expect("the daemon"), auth: ([127, 0, 0, 1], ports[0]).into() }
    }

    /// Asks again and again until it lets this token's guest in.
    fn first_accept(&self, number: usize) {
        let hotspot = Hotspot::new(self.auth, SECRET.as_bytes(), "front-desk");
        let code_of = text(number);
        let begun = now();
        while begun.elapsed() < Duration::from_secs(120) {
            let request = hotspot.access_request(&code_of, Password::Pap(&code_of), mac(number)).expect("a request");
            let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket");
            socket.connect(self.auth).expect("loopback");
            socket.set_read_timeout(Some(Duration::from_millis(5))).expect("a patience");
            let mut buffer = [0; Packet::MAX];
            let answer = socket.send(&request).and_then(|_| socket.recv(&mut buffer));
            let reply = answer.ok().and_then(|length| buffer.get(..length));
            let reply = reply.and_then(|reply| Packet::parse(reply).ok());
            if reply.is_some_and(|reply| reply.code() == code::ACCESS_ACCEPT) {
                return;
            }
            // Nobody listens yet: a look at an empty socket waits its 5 ms.
            let _ = UdpSocket::bind("127.0.0.1:0").and_then(|idle| {
                idle.set_read_timeout(Some(Duration::from_millis(2)))?;
                idle.recv(&mut buffer)
            });
        }
        panic!("no accept");
    }

    /// Resident and anonymous memory in MB.
    #[expect(clippy::cast_precision_loss, reason = "megabytes")]
    fn memory(&self) -> (f64, f64) {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).expect("a process");
        let field = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name)).expect("a field");
            line.trim().trim_end_matches("kB").trim().parse::<u64>().expect("a number") as f64 / 1000.0
        };
        (field("VmRSS:"), field("RssAnon:"))
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

async fn daemon(tokens: usize, runs: usize) {
    let record = |number: usize| -> Value {
        json!({
            "Id": number + 1, "BusinessId": 1, "AccessCode": text(number), "MinutesIncluded": 60,
            "UpdatedOn": "2026-11-01T08:00:00Z", "MacAddress": number.is_multiple_of(2).then(|| mac(number).to_string()),
        })
    };
    let folder = tempfile::tempdir().expect("a folder");
    let one = Options { tokens: vec![record(tokens - 1)], ..Options::default() };
    let sandbox = Sandbox::start_local(one, Clock::system()).await.expect("a sandbox");
    let empty = {
        let daemon = Daemon::start(folder.path(), &sandbox.base_url());
        daemon.first_accept(tokens - 1);
        daemon.memory()
    };
    fs::remove_dir_all(folder.path().join("state")).expect("a folder");
    let all = Options { tokens: (0..tokens).map(record).collect(), ..Options::default() };
    let sandbox = Sandbox::start_local(all, Clock::system()).await.expect("a sandbox");
    let begun = now();
    let daemon = Daemon::start(folder.path(), &sandbox.base_url());
    let whole = || {
        let path = folder.path().join("state/mirror.db");
        let file = rusqlite::Connection::open_with_flags(path, rusqlite::OpenFlags::SQLITE_OPEN_READ_ONLY).ok()?;
        file.query_row("SELECT count(compared) FROM location", [], |row| row.get::<_, i64>(0)).ok()
    };
    while whole() != Some(1) {
        assert!(begun.elapsed() < Duration::from_secs(300), "it is never whole");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    println!("first mirror       {:.1} s, without a ceiling to speak of", begun.elapsed().as_secs_f64());
    daemon.first_accept(tokens - 1);
    report("mirrored", daemon.memory(), empty);
    drop(daemon);

    sandbox.set_fail(Some("down".parse::<Fail>().expect("a fault")));
    let mut last = empty;
    let run = |_| {
        let begun = now();
        let daemon = Daemon::start(folder.path(), &sandbox.base_url());
        daemon.first_accept(tokens - 1);
        let took = begun.elapsed().as_secs_f64();
        last = daemon.memory();
        took
    };
    let took = median((0..runs).map(run).collect());
    println!("started again      {:.0} ms to the first Access-Accept, Nexudus down (median of {runs})", took * 1e3);
    report("started again", last, empty);
}

fn report(what: &str, (resident, anonymous): (f64, f64), (resident_before, anonymous_before): (f64, f64)) {
    println!(
        "{what:<18} +{:.1} MB resident, +{:.1} MB anonymous (with one token: {resident_before:.1} and {anonymous_before:.1})",
        resident - resident_before,
        anonymous - anonymous_before
    );
}
