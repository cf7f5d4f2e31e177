//! The limits of a connection, in virtual time.

use std::sync::Arc;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};
use tokio::sync::watch;
use tokio::time::Instant;

use super::*;
use crate::catalogue::Catalogue;
use crate::clock::Clock;
use crate::config;
use crate::gate::{Gate, Supply};
use crate::http::routes::{App, router};
use crate::live::Live;
use crate::portal::Portal;
use crate::portal::badge::Key;
use crate::telemetry::metrics::Metrics;

const CONFIGURATION: &str = r#"
[source]
kind = "file"
path = "none.json"
[[nas]]
name = "front-desk"
address = "127.0.0.1"
secret = "correct horse battery"
[[http.api_key]]
name = "tests"
key = "key-for-tests-only"
scopes = ["authorize"]
"#;

/// A client's end of a connection to the interface.
fn connect() -> DuplexStream {
    connect_with(256 * 1024)
}

/// The same, where so many bytes fit into each way.
fn connect_with(bytes: usize) -> DuplexStream {
    let clock = Clock::manual("2026-11-23T12:00:00Z".parse().unwrap());
    let settings = config::from_str(CONFIGURATION, "spotgate.toml".as_ref(), &|_| None).unwrap().settings;
    let catalogue = Arc::new(Catalogue::new(&settings.cache, None, false, clock.clone()));
    let supply = Arc::new(Supply {
        catalogue,
        health: Arc::default(),
        mirror: None,
        write_back: Arc::default(),
        hint: Arc::default(),
    });
    let gate = Arc::new(Gate::new(supply, Arc::default(), Arc::new(Metrics::default()), clock));
    let (_, live) = watch::channel(Arc::new(Live::new(settings).unwrap()));
    let (ours, theirs) = tokio::io::duplex(bytes);
    // A connection ends with the value that watches over it.
    let graceful: &GracefulShutdown = Box::leak(Box::default());
    tokio::spawn(converse(
        ours,
        Peer(([192, 0, 2, 7], 4711).into()),
        router(&Arc::new(App::new(gate, live, Portal::new(Key::new([7; 32]))))),
        graceful.watcher(),
    ));
    theirs
}

/// Sends this and returns what comes back until the other side closes, and after how many seconds it does.
async fn said(request: &[u8]) -> (String, u64) {
    let (mut connection, begun) = (connect(), Instant::now());
    connection.write_all(request).await.unwrap();
    let mut answer = Vec::new();
    let closed = tokio::time::timeout(Duration::from_secs(3600), connection.read_to_end(&mut answer)).await;
    closed.expect("the connection is closed").unwrap();
    (String::from_utf8(answer).unwrap(), begun.elapsed().as_secs())
}

const POST: &str = "POST /v1/authorize HTTP/1.1\r\nhost: x\r\nauthorization: Bearer key-for-tests-only\r\n";

#[tokio::test(start_paused = true)]
async fn who_says_nothing_or_stops_in_the_head_is_hung_up_on() {
    assert_eq!(said(b"").await, (String::new(), 10));
    let (answer, seconds) = said(b"GET /healthz HTTP/1.1\r\nhost: x\r\nx-slow: ").await;
    assert!(seconds == 10 && (answer.is_empty() || answer.starts_with("HTTP/1.1 408")), "{seconds} s: {answer}");
}

#[tokio::test(start_paused = true)]
async fn a_connection_kept_alive_is_not_kept_for_ever() {
    let (answer, seconds) = said(b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 200") && seconds == 10, "{seconds} s: {answer}");
}

#[tokio::test(start_paused = true)]
async fn a_body_that_does_not_arrive_is_given_up() {
    let (answer, seconds) = said(format!("{POST}content-length: 50\r\n\r\n{{").as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 503") && seconds <= 40, "{seconds} s: {answer}");
    assert!(answer.contains("application/problem+json"), "{answer}");
}

#[tokio::test(start_paused = true)]
async fn heads_and_bodies_have_a_size() {
    let (answer, _) = said(format!("GET /healthz HTTP/1.1\r\nx: {}\r\n\r\n", "y".repeat(20_000)).as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 431"), "{answer}");
    let headers: String = (0..70).map(|number| format!("x-{number}: y\r\n")).collect();
    let (answer, _) = said(format!("GET /healthz HTTP/1.1\r\n{headers}\r\n").as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 431"), "{answer}");
    let (answer, _) = said(format!("{POST}content-length: 70000\r\n\r\n{}", "x".repeat(70_000)).as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
    let chunk = format!("11170\r\n{}\r\n0\r\n\r\n", "x".repeat(70_000));
    let (answer, _) = said(format!("{POST}transfer-encoding: chunked\r\n\r\n{chunk}").as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
}

#[tokio::test(start_paused = true)]
async fn what_is_no_http_gets_a_400() {
    let (answer, _) = said(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03").await;
    assert!(answer.starts_with("HTTP/1.1 400") || answer.is_empty(), "{answer}");
}

#[tokio::test(start_paused = true)]
async fn who_does_not_take_in_what_he_asked_for_is_hung_up_on() {
    let (mut connection, begun) = (connect_with(1024), Instant::now());
    connection.write_all(b"GET /openapi.json HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    // Nothing is read, so the answer fills the way back. After the hang-up only that remains.
    tokio::time::sleep(2 * WRITE_TIME).await;
    let mut rest = Vec::new();
    connection.read_to_end(&mut rest).await.unwrap();
    assert!(rest.len() <= 1024 && begun.elapsed() == 2 * WRITE_TIME, "{} bytes", rest.len());
}

#[test]
fn one_peer_takes_no_more_than_its_share_of_connections() {
    let settings = config::from_str(CONFIGURATION, "spotgate.toml".as_ref(), &|_| None).unwrap().settings;
    let (peers, live) = (Arc::new(Peers::default()), Live::new(settings).unwrap());
    let enter = |peer: &str| peers.enter(peer.parse().unwrap(), Some(&live));
    let mut held: Vec<_> = (0..OF_A_PEER).map(|_| enter("10.5.88.9").unwrap()).collect();
    assert!(enter("10.5.88.9").is_none() && enter("10.5.88.8").is_some());
    held.pop();
    assert!(enter("10.5.88.9").is_some());
    drop(held);
    assert!(peers.0.lock().unwrap().is_empty());
    // This machine, and routers, stand for many.
    let many: Vec<_> = (0..OF_MANY).map(|_| enter("127.0.0.1").unwrap()).collect();
    assert!(enter("127.0.0.1").is_none());
    drop(many);
}
