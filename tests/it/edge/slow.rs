//! Who takes his time keeps nobody else waiting, and is hung up on.

use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::Held;
use crate::support::authority::Authority;
use crate::support::raw::Raw;
use crate::support::{FILE_SOURCE, Spotgate, configuration, record};

/// Connections that each of two addresses holds: more than may be of one.
const EACH: usize = 600;

const BEGUN: &[u8] = b"GET /healthz HTTP/1.1\r\nhost: x\r\nx-slow: ";
const HALF: &[u8] = b"POST /login HTTP/1.1\r\nhost: x\r\ncontent-type: application/x-www-form-urlencoded\r\ncontent-length: 900\r\n\r\ncode=";
const LARGE: &[u8] = b"GET /openapi.json HTTP/1.1\r\nhost: x\r\n\r\n";

/// Each takes his time in his own way.
async fn hold(from: [u8; 4], number: usize, spotgate: &Spotgate) -> Raw {
    let mut peer = Raw::connect(from, spotgate.http).await;
    match number % 4 {
        0 => {}
        1 => assert!(peer.send(BEGUN).await),
        2 => assert!(peer.send(HALF).await),
        // Reads nothing of many large answers.
        _ => assert!(peer.send(&LARGE.repeat(200)).await),
    }
    peer
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn twelve_hundred_slow_peers_hold_nobody_up_and_are_hung_up_on() {
    let spotgate = Spotgate::over_file(&[record(1, "abc-123")]);
    let before = Held::by(&spotgate);
    let mut held = Vec::new();
    let mut most = Held { descriptors: 0, memory: 0 };
    // One has all places that it may have first; then there are no more for anybody.
    for (holder, number) in [1, 2].into_iter().flat_map(|holder| (0..EACH).map(move |number| (holder, number))) {
        held.push(hold([127, 0, 0, holder], number, &spotgate).await);
        // From its very address, and from another.
        if number % 50 == 0 {
            for from in [[127, 0, 0, holder], [127, 0, 0, 3]] {
                let mut guest = Raw::connect(from, spotgate.http).await;
                assert!(guest.send(b"GET /login HTTP/1.1\r\nhost: x\r\n\r\n").await);
                assert_eq!(guest.status().await, Some(200), "beside {} others", held.len());
            }
            let now = Held::by(&spotgate);
            most = Held { descriptors: most.descriptors.max(now.descriptors), memory: most.memory.max(now.memory) };
        }
    }
    assert!(most.descriptors <= before.descriptors + 1024, "{} descriptors", most.descriptors);
    assert!(most.memory < before.memory + 128, "{} MiB, of {} before", most.memory, before.memory);
    // Those that are still there are given up, whatever they do not do.
    let over = async || Held::by(&spotgate).descriptors <= before.descriptors + 8;
    spotgate.until("all are hung up on", over).await;
    drop(held);
}

/// Nor does it take a word of HTTP.
#[tokio::test]
async fn who_begins_with_tls_and_goes_no_further_is_hung_up_on() {
    let folder = tempfile::tempdir().unwrap();
    Authority::new("spotgate").issue(&["localhost"]).write(folder.path(), "http");
    std::fs::write(folder.path().join("tokens.json"), "[]").unwrap();
    let text = configuration(FILE_SOURCE, "");
    let text = text.replace("[http]\n", "[http]\ncertificate = \"http.pem\"\nprivate_key = \"http.key\"\n");
    let spotgate = Spotgate::start_in(folder, &text);
    let before = Held::by(&spotgate).descriptors;
    let mut held = Vec::new();
    for number in 0..40 {
        let mut peer = Raw::connect([127, 0, 0, 1], spotgate.http).await;
        // Nothing, and the beginning of a hello.
        assert!(number % 2 == 0 || peer.send(b"\x16\x03\x01\x02\x00\x01").await);
        held.push(peer);
    }
    let are_held = async || Held::by(&spotgate).descriptors >= before + held.len();
    spotgate.until("they are held", are_held).await;
    spotgate.until("they are hung up on", async || Held::by(&spotgate).descriptors <= before + 2).await;
}

/// An octet now and then is no sign of life.
#[tokio::test]
async fn who_sends_an_octet_now_and_then_is_hung_up_on_too() {
    let spotgate = Spotgate::over_file(&[record(1, "abc-123")]);
    let drips = async |begun: &[u8]| {
        let mut peer = Raw::connect([127, 0, 0, 1], spotgate.http).await;
        assert!(peer.send(begun).await);
        let (mut answer, mut sender) = peer.0.into_split();
        let drip = async {
            while sender.write_all(b"a").await.is_ok() {
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        };
        let mut said = Vec::new();
        let ended = async {
            tokio::select! { _ = answer.read_to_end(&mut said) => {}, () = drip => {} }
        };
        let ended = tokio::time::timeout(Duration::from_secs(20), ended).await;
        ended.expect("an end within twenty seconds");
    };
    tokio::join!(drips(BEGUN), drips(HALF));
}
