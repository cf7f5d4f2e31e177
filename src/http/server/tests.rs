//! The limits of a connection, in virtual time.

use std::sync::Arc;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};
use tokio::sync::{Notify, watch};
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
    let (router, _) = interface();
    let (ours, theirs) = tokio::io::duplex(bytes);
    // A connection ends with the value that watches over it.
    let graceful: &GracefulShutdown = Box::leak(Box::default());
    let peer = Peer(([192, 0, 2, 7], 4711).into());
    let share = Arc::new(Peers::new(MOST)).enter(peer.0.ip(), None).unwrap();
    tokio::spawn(converse(ours, peer, share, router, graceful.watcher()));
    theirs
}

fn interface() -> (Router, Current) {
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
    (router(&Arc::new(App::new(gate, live.clone(), Portal::new(Key::new([7; 32]))))), live)
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
fn at_its_share_a_peer_gives_up_what_keeps_us_waiting_longest() {
    let live = interface().1;
    let (peers, live) = (Arc::new(Peers::new(MOST)), Arc::clone(&live.borrow()));
    let enter = |peer: &str| peers.enter(peer.parse().unwrap(), Some(&live));
    let ended = |held: &[Share]| -> Vec<_> { (0..held.len()).filter(|at| held[*at].cut.is_cancelled()).collect() };
    let mut held: Vec<_> = (0..MOST.of_a_peer).map(|_| enter("10.5.88.9").unwrap()).collect();
    // The first one waits for us, and the second one did.
    held[0].is_asked();
    held[1].is_asked();
    held[1].is_answered();
    let other = enter("10.5.88.8").unwrap();
    held.push(enter("10.5.88.9").unwrap());
    assert_eq!(ended(&held), [2]);
    held.push(enter("10.5.88.9").unwrap());
    assert_eq!(ended(&held), [2, 3]);
    // Which have ended by now, and count once.
    held.drain(2..4);
    assert_eq!((held.len(), peers.held.lock().unwrap().of_peers.len()), (MOST.of_a_peer, 2));
    for share in &held {
        share.is_asked();
    }
    assert!(enter("10.5.88.9").is_none() && enter("10.5.88.8").is_some());
    held.pop();
    assert!(enter("10.5.88.9").is_some());
    assert!(!other.cut.is_cancelled() && ended(&held).is_empty());
    drop((held, other));
    assert!(peers.held.lock().unwrap().of_peers.is_empty());
    // This machine, and routers, stand for many.
    let many: Vec<_> = (0..MOST.of_many).map(|_| enter("127.0.0.1").unwrap()).collect();
    assert!(ended(&many).is_empty());
    let one_more = enter("127.0.0.1");
    assert!(ended(&many) == [0] && one_more.is_some());
}

/// One device can be behind the address of many, or have several.
#[tokio::test]
async fn who_holds_connections_open_keeps_nobody_else_out() {
    const FEW: Most = Most { connections: 16, of_a_peer: 4, of_many: 8 };
    const HALVES: [&str; 3] =
        ["", "GET /healthz HTTP/1.1\r\nhost: x\r\n", "POST /login HTTP/1.1\r\nhost: x\r\ncontent-length: 9\r\n\r\nc"];
    let from = async |host: u8, to, says: &str| {
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.bind(([127, 0, 0, host], 0).into()).unwrap();
        let mut stream = socket.connect(to).await.unwrap();
        stream.write_all(says.as_bytes()).await.unwrap();
        stream
    };
    // From the address of all guests, and from two others while they ask from a third one.
    for (holders, guest) in [(&[1u8][..], 1), (&[1, 2], 3)] {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (to, stop, (router, live)) = (listener.local_addr().unwrap(), CancellationToken::new(), interface());
        let server = tokio::spawn(serve_up_to(FEW, listener, Some(live), router, stop.clone(), Duration::ZERO));
        let mut held = Vec::new();
        for holder in holders {
            for number in 0..FEW.of_many {
                held.push(from(*holder, to, HALVES[number % HALVES.len()]).await);
            }
        }
        // Again and again, whatever each of them does.
        for _ in 0..2 * FEW.connections {
            let mut stream = from(guest, to, "GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n").await;
            let mut answer = [0; 15];
            let answered = tokio::time::timeout(HEADER_TIME / 2, stream.read_exact(&mut answer)).await;
            answered.expect("at once").expect("an answer");
            assert_eq!(&answer, b"HTTP/1.1 200 OK");
            held.push(stream);
        }
        stop.cancel();
        server.await.unwrap();
    }
}

#[tokio::test]
async fn a_request_at_work_is_not_ended_for_another_though_nobody_reads_its_body() {
    const FEW: Most = Most { connections: 16, of_a_peer: 4, of_many: 4 };
    for body in ["", "{}"] {
        let (begun, release) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        let (says_begun, goes_on) = (Arc::clone(&begun), Arc::clone(&release));
        let work = async move || {
            says_begun.notify_one();
            goes_on.notified().await;
            "done"
        };
        let router = Router::new().route("/slow", axum::routing::post(work)).merge(interface().0);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (to, stop) = (listener.local_addr().unwrap(), CancellationToken::new());
        let live = interface().1;
        let server = tokio::spawn(serve_up_to(FEW, listener, Some(live), router, stop.clone(), Duration::ZERO));
        let mut at_work = TcpStream::connect(to).await.unwrap();
        let length = body.len();
        let request = format!("POST /slow HTTP/1.1\r\nhost: x\r\ncontent-length: {length}\r\n\r\n{body}");
        at_work.write_all(request.as_bytes()).await.unwrap();
        begun.notified().await;
        let mut others = Vec::new();
        let mut answer = [0; 15];
        for _ in 0..FEW.of_many {
            let mut other = TcpStream::connect(to).await.unwrap();
            other.write_all(b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
            other.read_exact(&mut answer).await.unwrap();
            others.push(other);
        }
        release.notify_one();
        at_work.read_exact(&mut answer).await.unwrap_or_else(|error| panic!("with body {body:?}: {error}"));
        assert_eq!(&answer, b"HTTP/1.1 200 OK");
        stop.cancel();
        server.await.unwrap();
    }
}
