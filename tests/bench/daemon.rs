//! What benches share: a daemon over a file of tokens, and logins at a fixed rate.

#![allow(dead_code, unreachable_pub, clippy::panic, clippy::indexing_slicing, reason = "each bench uses what it needs")]

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
use tokio::net::TcpStream;

pub const SECRET: &str = "correct horse battery";

/// Tokens of the daemon.
pub const TOKENS: usize = 10_000;

/// How long an answer may take before it counts as lost.
const PATIENCE: Duration = Duration::from_secs(2);

/// Logins at a fixed rate, shared by lanes.
#[derive(Clone, Copy)]
pub struct Load {
    pub rate: u32,
    pub lanes: u32,
    pub begin: Instant,
    pub phase: Duration,
}

#[expect(clippy::disallowed_methods, reason = "this measures time")]
pub fn now() -> Instant {
    Instant::now()
}

pub fn text(number: usize) -> String {
    format!("kx7q-{number:06}")
}

pub fn mac(number: usize) -> Mac {
    let [.., x, y, z] = number.to_be_bytes();
    Mac::new([0x3C, 6, 0x30, x, y, z])
}

/// The daemon; it ends with the value.
pub struct Daemon {
    child: Child,
    pub auth: SocketAddr,
    pub http: SocketAddr,
    pub metrics: SocketAddr,
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Daemon {
    /// One over [`TOKENS`] tokens, with more in its configuration.
    pub fn start(folder: &Path, extra: &str) -> Self {
        let udp = UdpSocket::bind("127.0.0.1:0").expect("a port").local_addr().expect("an address");
        let tcp = std::net::TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("an address");
        let metrics = std::net::TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("an address");
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
metrics_listen = "{metrics}"
{extra}
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
        Self { child, auth: udp, http: tcp, metrics }
    }

    /// Waits until it does.
    pub async fn answers(&self) {
        for _ in 0..600 {
            if TcpStream::connect(self.http).await.is_ok() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("the daemon does not answer");
    }

    /// Its process.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Seconds of CPU so far.
    #[expect(clippy::cast_precision_loss, reason = "seconds")]
    pub fn cpu(&self) -> f64 {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.child.id())).expect("a process");
        let fields: Vec<&str> = stat.rsplit_once(')').expect("a name").1.split_whitespace().collect();
        let ticks = |field: usize| fields[field].parse::<u64>().expect("a number");
        (ticks(11) + ticks(12)) as f64 / 100.0
    }
}

/// Latencies of what was answered, in seconds, sorted; and how much was not.
#[derive(Default)]
pub struct Outcome {
    pub latencies: Vec<f64>,
    pub lost: usize,
}

impl Outcome {
    pub fn join(mut self, other: Self) -> Self {
        self.latencies.extend(other.latencies);
        self.lost += other.lost;
        self.latencies.sort_by(f64::total_cmp);
        self
    }

    /// In milliseconds.
    pub fn at(&self, permille: usize) -> f64 {
        let last = self.latencies.len().saturating_sub(1);
        self.latencies
            .get(self.latencies.len() * permille / 1000)
            .or(self.latencies.get(last))
            .copied()
            .unwrap_or_default()
            * 1e3
    }
}

pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or_default()
}

/// The moments of one of `of` senders that share a rate.
pub fn moments(begin: Instant, phase: Duration, rate: u32, sender: u32, of: u32) -> impl Iterator<Item = Instant> {
    let step = Duration::from_secs(1) * of / rate;
    let first = Duration::from_secs(1) * sender / rate;
    let count = u32::try_from(phase.as_nanos() / step.as_nanos()).expect("a number");
    (0..count).map(move |nth| begin + first + step * nth)
}

/// Logins from one socket, one after another, each at its moment.
pub async fn logins(load: Load, lane: u32, server: SocketAddr, hotspot: Arc<Hotspot>, first: usize) -> Outcome {
    let Load { rate, lanes, begin, phase } = load;
    let socket = tokio::net::UdpSocket::bind("127.0.0.1:0").await.expect("a socket");
    socket.connect(server).await.expect("a socket");
    let (mut outcome, mut buffer) = (Outcome::default(), [0; Packet::MAX]);
    for (nth, moment) in moments(begin, phase, rate, lane, lanes).enumerate() {
        let number = (first + nth * usize::try_from(lanes).expect("a number")) % TOKENS;
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
