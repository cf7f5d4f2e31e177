//! What is too large is refused with its status, and takes no room.

use super::{Held, bomb};
use crate::nexudus::{sandbox, source};
use crate::support::raw::{Raw, statuses};
use crate::support::{KEY, Spotgate, configuration, record};

/// Every address that takes a body.
const BODIES: [&str; 11] = [
    "/v1/authorize",
    "/v1/accounting",
    "/v1/ironwifi/authenticate",
    "/v1/ironwifi/webhook",
    "/v1/freeradius/authorize",
    "/v1/freeradius/authenticate",
    "/v1/freeradius/accounting",
    "/v1/nexudus/webhook",
    "/login",
    "/logout",
    "/admin/sign-in",
];

const EXTRA: &str = "[[http.api_key]]\nname = \"all\"\nkey = \"key-for-every-call\"\nscopes = [\"authorize\", \"accounting\", \"ironwifi\", \"freeradius\", \"read\", \"admin\"]\n\
                     [admin]\npassword = \"a long lemonade\"\n";

/// So many pieces of 64 KiB are no longer read by anybody.
const PIECES: usize = 1024;

/// An endless body in such pieces; how many were taken.
async fn pour(peer: &mut Raw, is_chunked: bool) -> usize {
    let piece = "x".repeat(64 << 10);
    let piece = if is_chunked { format!("10000\r\n{piece}\r\n") } else { piece };
    for sent in 0..PIECES {
        if !peer.send(piece.as_bytes()).await {
            return sent;
        }
    }
    PIECES
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bodies_are_refused_long_before_they_are_there() {
    let sandbox = sandbox(Vec::new()).await;
    let source = source(&sandbox, "webhook_secret = \"a secret of both sides\"");
    let spotgate = Spotgate::start(&configuration(&source, EXTRA));
    let before = Held::by(&spotgate);
    for path in BODIES {
        for (length, is_chunked) in [("content-length: 10000000000", false), ("transfer-encoding: chunked", true)] {
            let mut peer = Raw::connect([127, 0, 0, 1], spotgate.http).await;
            let form = if path.starts_with("/v1") { "json" } else { "x-www-form-urlencoded" };
            let head = format!(
                "POST {path} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer key-for-every-call\r\ncontent-type: application/{form}\r\n\
                 x-nexudus-hook-signature: {}\r\n{length}\r\n\r\n",
                "00".repeat(32)
            );
            assert!(peer.send(head.as_bytes()).await);
            assert!(pour(&mut peer, is_chunked).await < PIECES, "{path}, {length}: all of it was taken");
            // The reset of who does not stop may overtake the answer.
            let status = peer.status().await;
            assert!(matches!(status, None | Some(413)), "{path}, {length}: {status:?}");
        }
    }
    let after = Held::by(&spotgate);
    assert!(after.memory < before.memory + 16, "{} MiB, of {} before", after.memory, before.memory);
    let refused = spotgate.metric("spotgate_http_problems_total{status=\"413\"}").await;
    assert_eq!(refused, 22.0, "each with 413");
}

#[tokio::test]
async fn heads_are_refused_long_before_they_are_there() {
    let spotgate = Spotgate::over_file(&[record(1, "abc-123")]);
    let before = Held::by(&spotgate);
    let many: String = (0..70).map(|number| format!("x-{number}: y\r\n")).collect();
    let heads = [
        ("a long value", format!("GET /healthz HTTP/1.1\r\nhost: x\r\nx: {}\r\n\r\n", "y".repeat(1 << 20))),
        ("a long name", format!("GET /healthz HTTP/1.1\r\nhost: x\r\n{}: y\r\n\r\n", "y".repeat(1 << 20))),
        ("a long address", format!("GET /{} HTTP/1.1\r\nhost: x\r\n\r\n", "y".repeat(1 << 20))),
        ("a long query", format!("GET /login?code={} HTTP/1.1\r\nhost: x\r\n\r\n", "y".repeat(1 << 20))),
        ("a long method", format!("{} / HTTP/1.1\r\nhost: x\r\n\r\n", "Y".repeat(1 << 20))),
        (
            "a long key",
            format!(
                "GET /v1/sessions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {KEY}{}\r\n\r\n",
                "y".repeat(1 << 20)
            ),
        ),
        ("many lines", format!("GET /healthz HTTP/1.1\r\nhost: x\r\n{many}\r\n")),
        ("very many lines", format!("GET /healthz HTTP/1.1\r\nhost: x\r\n{}\r\n", "a: b\r\n".repeat(100_000))),
    ];
    for turn in 0..8 {
        for (name, head) in &heads {
            let mut peer = Raw::connect([127, 0, 0, 1], spotgate.http).await;
            peer.send(head.as_bytes()).await;
            let said = peer.rest().await.unwrap_or_else(|| panic!("{name}: it hangs"));
            // Of who still sends while he is refused, the reset may overtake the answer.
            assert!(
                said.is_empty() || [[431], [414]].iter().any(|status| statuses(&said) == status),
                "{name}: {}",
                String::from_utf8_lossy(&said)
            );
            assert!(turn > 0 || *name != "many lines" || statuses(&said) == [431], "{name}");
        }
    }
    let after = Held::by(&spotgate);
    assert!(after.memory < before.memory + 16, "{} MiB, of {} before", after.memory, before.memory);
    assert_eq!(spotgate.get("/healthz").await.0, 200);
}

/// What is packed is read as it is, and makes no sense.
#[tokio::test]
async fn nothing_is_unpacked() {
    let packed = bomb(r#"{"access_code": "abc-123"}"#);
    let spotgate = Spotgate::over_file(&[record(1, "abc-123")]);
    let before = Held::by(&spotgate);
    for encoding in ["gzip", "deflate", "br", "zstd", "gzip, gzip"] {
        let mut peer = Raw::connect([127, 0, 0, 1], spotgate.http).await;
        let head = format!(
            "POST /v1/authorize HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {KEY}\r\nconnection: close\r\ncontent-encoding: {encoding}\r\n\
             content-length: {}\r\n\r\n",
            packed.len()
        );
        assert!(peer.send(head.as_bytes()).await && peer.send(&packed).await);
        assert_eq!(statuses(&peer.rest().await.unwrap()), [400], "{encoding}");
    }
    let after = Held::by(&spotgate);
    assert!(after.memory < before.memory + 8, "{} MiB, of {} before", after.memory, before.memory);
}
