//! A resolver that hangs.

use std::net::Ipv4Addr;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use serde_json::{Value, json};
use tokio::net::UdpSocket;

use super::upstream::{degraded, goes_on_without, mirrored, often, reason};
use crate::nexudus::sandbox;
use crate::support::{Spotgate, configuration, record, with};

/// A resolver at an address of loopback that nobody else has, with one answer to everything: this machine.
struct Resolver {
    address: Ipv4Addr,
    hangs: Arc<AtomicBool>,
    asked: Arc<AtomicUsize>,
}

impl Resolver {
    async fn start() -> Self {
        let [.., third, fourth] = std::process::id().to_be_bytes();
        let address = Ipv4Addr::new(127, 153, third, fourth.clamp(1, 254));
        let socket = UdpSocket::bind((address, 53)).await.expect("only root listens there; tests/run.sh sees to it");
        let (hangs, asked) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let resolver = Self { address, hangs: Arc::clone(&hangs), asked: Arc::clone(&asked) };
        tokio::spawn(async move {
            let mut buffer = [0; 512];
            while let Ok((length, from)) = socket.recv_from(&mut buffer).await {
                asked.fetch_add(1, Ordering::Relaxed);
                if let Some(answer) = answer(&buffer[..length]).filter(|_| !hangs.load(Ordering::Relaxed)) {
                    let _ = socket.send_to(&answer, from).await;
                }
            }
        });
        resolver
    }

    fn hang(&self, yes: bool) {
        self.hangs.store(yes, Ordering::Relaxed);
    }

    /// The daemon, as one that asks this resolver.
    fn command(&self, folder: &std::path::Path) -> Command {
        std::fs::write(folder.join("resolv.conf"), format!("nameserver {}\n", self.address)).unwrap();
        let mut command = Command::new("unshare");
        let mount = "mount --bind \"$0\" /etc/resolv.conf && exec \"$@\"";
        command.args(["--mount", "sh", "-c", mount]).arg(folder.join("resolv.conf"));
        command.arg(env!("CARGO_BIN_EXE_spotgate")).env("NO_PROXY", "*");
        command
    }
}

/// RFC 1035: the question back, and for an A record 127.0.0.1.
fn answer(question: &[u8]) -> Option<Vec<u8>> {
    let end = 12 + question.get(12..)?.iter().position(|octet| *octet == 0)? + 5;
    let kind = question.get(end - 4..end - 2)?;
    let is_a = kind == [0, 1];
    let mut answer = question.get(..2)?.to_vec();
    answer.extend([0x81, 0x80, 0, 1, 0, u8::from(is_a), 0, 0, 0, 0]);
    answer.extend(question.get(12..end)?);
    if is_a {
        answer.extend([0xC0, 12, 0, 1, 0, 1]);
        answer.extend([0, 0, 0, 0, 0, 4, 127, 0, 0, 1]);
    }
    Some(answer)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_no_name_is_resolved_who_is_known_gets_in_and_it_heals() {
    let resolver = Resolver::start().await;
    let sandbox = sandbox(vec![with(record(1, "known"), json!({"UserLimit": 9})), record(2, "other")]).await;
    let folder = tempfile::tempdir().unwrap();
    let base_url = format!("http://nexudus.example:{}", sandbox.address().port());
    let command = resolver.command(folder.path());
    let settings = configuration(&often(&sandbox, &base_url), "");
    let spotgate = Arc::new(Spotgate::start_by(command, Arc::new(folder), &settings));
    mirrored(&spotgate).await;
    assert!(resolver.asked.load(Ordering::Relaxed) > 0);

    resolver.hang(true);
    // The connections that it has are lost, too.
    sandbox.set_fail(Some("reset".parse().unwrap()));
    let down = async || spotgate.metric("spotgate_source_up").await == 0.0;
    spotgate.until("it has noticed", down).await;
    sandbox.set_fail(None);
    sandbox.put_token(record(3, "new"));
    for device in 1..=2 {
        goes_on_without(&spotgate, device).await;
    }
    assert!(down().await);
    let trouble = degraded(&spotgate).await;
    assert!(trouble.iter().any(|trouble| trouble.starts_with("source: ")), "{trouble:?}");

    resolver.hang(false);
    spotgate.until("all is well", async || degraded(&spotgate).await.is_empty()).await;
    assert_eq!(reason(&spotgate, "new", 9).await, Value::Null);
}
