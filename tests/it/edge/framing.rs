//! Where a request ends: what others could take for two, or for half of one, spotgate takes for one and closes, or refuses.

use serde_json::json;

use crate::support::raw::{Raw, statuses};
use crate::support::{KEY, Spotgate, record};

/// A whole request that decides on this code.
fn asking(code: &str) -> String {
    let body = json!({"access_code": code, "dry_run": false}).to_string();
    format!("{}content-length: {}\r\n\r\n{body}", head("HTTP/1.1"), body.len())
}

/// The head of such a request, but for how long its body is.
fn head(version: &str) -> String {
    format!("POST /v1/authorize {version}\r\nhost: x\r\nauthorization: Bearer {KEY}\r\n")
}

/// The last of a connection that stays open.
const LAST: &str = "GET /healthz HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";

/// What is sent, and the statuses of what comes back before the connection is closed.
struct Case(&'static str, Vec<u8>, &'static [u16]);

/// A head with this in it, and behind it a body that is a request itself.
fn hiding(name: &'static str, lines: &str, before: &str, statuses: &'static [u16]) -> Case {
    Case(name, format!("{}{lines}\r\n\r\n{before}{}", head("HTTP/1.1"), asking("smuggled")).into_bytes(), statuses)
}

fn get(name: &'static str, line: &str, statuses: &'static [u16]) -> Case {
    Case(name, format!("{line}{}", asking("smuggled")).into_bytes(), statuses)
}

/// How long a body is.
fn lengths() -> Vec<Case> {
    let length = asking("smuggled").len();
    let both = |first: &str, second: &str| format!("{first}\r\n{second}");
    let chunked = "transfer-encoding: chunked";
    let said = format!("content-length: {length}");
    vec![
        hiding(
            "a length, then chunks",
            &both(&format!("content-length: {}", length + 5), chunked),
            "0\r\n\r\n",
            &[400],
        ),
        hiding(
            "chunks, then a length",
            &both(chunked, &format!("content-length: {}", length + 5)),
            "0\r\n\r\n",
            &[400],
        ),
        hiding("a length of the first chunk's head", &both("content-length: 3", chunked), "0\r\n\r\n", &[400]),
        hiding("two lengths", &both("content-length: 0", &said), "", &[400]),
        hiding("two lengths, the other way round", &both(&said, "content-length: 0"), "", &[400]),
        hiding("a list of lengths", &format!("content-length: 0, {length}"), "", &[400]),
        hiding("a list of equal lengths", "content-length: 0, 0", "", &[400]),
        hiding("a length with a sign", "content-length: +0", "", &[400]),
        hiding("a length below nothing", "content-length: -1", "", &[400]),
        hiding("a length in hexadecimal", "content-length: 0x0", "", &[400]),
        hiding("a length with a blank in it", "content-length: 0 0", "", &[400]),
        hiding("no length", "content-length: ", "", &[400]),
        hiding("a length beyond all numbers", "content-length: 18446744073709551616", "", &[400]),
        hiding("a length and a name that ends in a blank", "content-length : 0", "", &[400]),
        hiding("chunks of a name that is nearly that", "transfer-encoding: xchunked", "0\r\n\r\n", &[400]),
        hiding("chunks in something else", "transfer-encoding: chunked, identity", "0\r\n\r\n", &[400]),
        hiding("chunks twice", "transfer-encoding: chunked, chunked", "0\r\n\r\n", &[400]),
        hiding("something else, then chunks", &both("transfer-encoding: identity", chunked), "0\r\n\r\n", &[400]),
        hiding("chunks, then something else", &both(chunked, "transfer-encoding: identity"), "0\r\n\r\n", &[400]),
        hiding("chunks after a blank before the colon", "transfer-encoding : chunked", "0\r\n\r\n", &[400]),
        hiding("chunks on the next line", "transfer-encoding:\r\n chunked", "0\r\n\r\n", &[400]),
        hiding("chunks after a vertical tab", "transfer-encoding: \u{b}chunked", "0\r\n\r\n", &[400]),
        hiding("quoted chunks", "transfer-encoding: \"chunked\"", "0\r\n\r\n", &[400]),
        Case(
            "chunks in HTTP/1.0",
            format!("{}{chunked}\r\n\r\n0\r\n\r\n{}", head("HTTP/1.0"), asking("smuggled")).into_bytes(),
            &[400],
        ),
    ]
}

/// What chunks may look like.
fn chunks() -> Vec<Case> {
    let chunked = "transfer-encoding: chunked";
    let of = |name, chunks: &str| hiding(name, chunked, chunks, &[400]);
    vec![
        of("a chunk beyond all numbers", "10000000000000000\r\n"),
        hiding(
            "a chunk as large as numbers get",
            chunked,
            &format!("ffffffffffffffff\r\n{}", "x".repeat(70_000)),
            &[413],
        ),
        of("a chunk in another writing", "0x2\r\n{}\r\n0\r\n\r\n"),
        of("a chunk with a sign", "+2\r\n{}\r\n0\r\n\r\n"),
        of("a chunk below nothing", "-2\r\n{}\r\n0\r\n\r\n"),
        of("a chunk of no size", "\r\n{}\r\n0\r\n\r\n"),
        of("a chunk that goes on", "2\r\n{}}}\r\n0\r\n\r\n"),
        of("a line's end alone after a size", "2\n{}\r\n0\r\n\r\n"),
        of("a line's end alone in an extension", "2;a\nb\r\n{}\r\n0\r\n\r\n"),
        of("an extension without end", &format!("2;{}\r\n{{}}\r\n0\r\n\r\n", "a".repeat(100_000))),
        of("trailers without end", &format!("0\r\n{}\r\n", "a: b\r\n".repeat(10_000))),
    ]
}

/// What a head may look like.
fn heads() -> Vec<Case> {
    let with = |name, line: &str| get(name, &format!("GET /healthz HTTP/1.1\r\nhost: x\r\n{line}\r\n\r\n"), &[400]);
    let line = |name, line: &str| get(name, &format!("{line}\r\nhost: x\r\n\r\n"), &[400]);
    vec![
        with("a line that goes on", "x-long: a\r\n b"),
        with("a line that goes on, at the beginning", " x-long: a"),
        with("a blank before the colon", "x-blank : a"),
        with("no colon", "x-none"),
        with("no name", ": a"),
        with("a NUL in a value", "x-nul: a\0b"),
        with("a NUL in a name", "x\0nul: a"),
        with("a carriage return alone", "x-cr: a\rb: c"),
        with("two hosts", "host: y"),
        get("no host", "GET /healthz HTTP/1.1\r\n\r\n", &[400]),
        get("a host that is none", "GET /healthz HTTP/1.1\r\nhost: x y/z\r\n\r\n", &[400]),
        line("a NUL in an address", "GET /health\0z HTTP/1.1"),
        line("an address that begins with no slash", "GET healthz HTTP/1.1"),
        line("a tunnel", "CONNECT y:25 HTTP/1.1"),
        line("two blanks", "GET  /healthz HTTP/1.1"),
        line("a blank at the end", "GET /healthz HTTP/1.1 "),
        line("a version that is none", "GET /healthz HTTP/1.2"),
        line("no version", "GET /healthz"),
        line("a method with a colon", "GET: /healthz HTTP/1.1"),
        Case("TLS", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n".to_vec(), &[400]),
        Case("HTTP/2", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0".to_vec(), &[]),
        // What is as it should be, or may be read so, and what comes behind it.
        get("HTTP/1.0", "GET /healthz HTTP/1.0\r\n\r\n", &[200]),
        Case("HTTP/1.0 that goes on", format!("GET /healthz HTTP/1.0\r\nconnection: keep-alive\r\n\r\n{LAST}").into(), &[200, 200]),
        Case("another host in the address", format!("GET http://y/healthz HTTP/1.1\r\nhost: x\r\n\r\n{LAST}").into(), &[200, 200]),
        Case("a line's end alone", format!("GET /healthz HTTP/1.1\nhost: x\n\n{LAST}").into(), &[200, 200]),
        Case("one length twice", format!("GET /healthz HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\ncontent-length: 0\r\n\r\n{LAST}").into(), &[200, 200]),
        Case("chunks", format!("{}transfer-encoding: chunked\r\n\r\n2;of=a\r\n{{}}\r\n0\r\nx-after: a\r\n\r\n{LAST}", head("HTTP/1.1")).into(), &[422, 200]),
        Case("everything", format!("OPTIONS * HTTP/1.1\r\nhost: x\r\n\r\n{LAST}").into(), &[404, 200]),
        Case("HTTP/2 by the side", format!("GET /healthz HTTP/1.1\r\nhost: x\r\nconnection: upgrade, http2-settings\r\nupgrade: h2c\r\nhttp2-settings: AAMAAABkAAQAAP__\r\n\r\n{LAST}").into(), &[200, 200]),
    ]
}

/// Bodies that nobody reads, of what is answered without them.
fn bodies() -> Vec<Case> {
    let body = asking("smuggled");
    let of = |name, line: &str, statuses| {
        let length = body.len();
        Case(
            name,
            format!("{line} HTTP/1.1\r\nhost: x\r\ncontent-length: {length}\r\n\r\n{body}{LAST}").into(),
            statuses,
        )
    };
    vec![
        of("the body of a GET", "GET /healthz", &[200, 200]),
        of("the body of what is not there", "POST /nowhere", &[404, 200]),
        of("the body of a wrong method", "DELETE /healthz", &[405, 200]),
        of("the body of a call without a key", "POST /v1/authorize", &[401, 200]),
        of("the body of a form that is none", "POST /login", &[415, 200]),
    ]
}

#[tokio::test]
async fn one_request_is_never_taken_for_two() {
    let spotgate = Spotgate::over_file(&[record(1, "smuggled")]);
    let decided = async || spotgate.read("/v1/decisions?code=smuggled").await.1["decisions"].as_array().unwrap().len();
    for Case(name, sent, expected) in [lengths(), chunks(), heads(), bodies()].into_iter().flatten() {
        let mut peer = Raw::connect([127, 0, 0, 1], spotgate.http).await;
        peer.send(&sent).await;
        let said = peer.rest().await.unwrap_or_else(|| panic!("{name}: it hangs"));
        assert_eq!(statuses(&said), expected, "{name}: {}", String::from_utf8_lossy(&said));
        assert_eq!(decided().await, 0, "{name}: what was hidden in it was decided");
    }
    // What it would look like.
    let mut peer = Raw::connect([127, 0, 0, 1], spotgate.http).await;
    peer.send(format!("{}{LAST}", asking("smuggled")).as_bytes()).await;
    assert_eq!(statuses(&peer.rest().await.unwrap()), [200, 200]);
    spotgate.until("decided", async || decided().await == 1).await;
    assert!(!spotgate.log().contains("panic"), "{}", spotgate.log());
}
