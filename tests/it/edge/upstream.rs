//! Nexudus and IronWifi as they would be if somebody else sat there: whatever comes from them has an end.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use serde_json::json;

use super::{Held, bomb};
use crate::support::{KEY, Spotgate, configuration, record};

/// How it answers whatever is not a sign-in.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Way {
    /// A body without end, as fast as it is read.
    EndlessBody,
    /// The same in chunks.
    EndlessChunks,
    /// Headers without end.
    EndlessHead,
    /// A first line without end.
    EndlessLine,
    /// What would be a list, were it unpacked, of 32 MiB.
    Bomb,
    /// Arrays in arrays.
    Deep,
    /// A page after each page, each with a record of its own.
    EndlessList,
}

/// A server that goes on as long as it is read, and the heads of what it was asked.
struct Upstream {
    address: SocketAddr,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Upstream {
    fn start(way: Way) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (address, asked) = (listener.local_addr().unwrap(), Arc::<Mutex<Vec<String>>>::default());
        let heads = Arc::clone(&asked);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (Ok(stream), heads) = (stream, Arc::clone(&heads)) else { return };
                // An end in whatever way is what is wanted.
                std::thread::spawn(move || answer(way, stream, &heads));
            }
        });
        Self { address, asked }
    }

    fn asked(&self, what: &str) -> usize {
        self.asked.lock().unwrap().iter().filter(|head| head.contains(what)).count()
    }
}

fn answer(way: Way, stream: TcpStream, heads: &Mutex<Vec<String>>) -> std::io::Result<()> {
    let (mut reader, mut writer) = (BufReader::new(stream.try_clone()?), stream);
    loop {
        let (mut head, mut length) = (String::new(), 0);
        while !head.ends_with("\r\n\r\n") {
            if reader.read_line(&mut head)? == 0 {
                return Ok(());
            }
        }
        for line in head.to_ascii_lowercase().lines() {
            length = line.strip_prefix("content-length: ").map_or(length, |length| length.parse().unwrap());
        }
        reader.read_exact(&mut vec![0; length])?;
        let number = {
            let mut heads = heads.lock().unwrap();
            heads.push(head.clone());
            heads.len()
        };
        let signs_in = head.starts_with("POST /api/token ");
        let way = if signs_in { None } else { Some(way) };
        let whole = |encoding: &str, body: &[u8]| {
            [
                format!(
                    "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n{encoding}content-length: {}\r\n\r\n",
                    body.len()
                )
                .as_bytes(),
                body,
            ]
            .concat()
        };
        let (begins, goes_on) = match way {
            None => {
                let token = json!({"access_token": "bearer", "token_type": "bearer", "expires_in": 3600, "refresh_token": "refresh"});
                (whole("", token.to_string().as_bytes()), None)
            }
            Some(Way::EndlessBody) => {
                (b"HTTP/1.1 200 OK\r\ncontent-length: 10000000000\r\n\r\n[".to_vec(), Some(" ".repeat(1 << 16)))
            }
            Some(Way::EndlessChunks) => {
                let chunk = format!("10000\r\n{}\r\n", " ".repeat(1 << 16));
                (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n".to_vec(), Some(chunk))
            }
            Some(Way::EndlessHead) => (b"HTTP/1.1 200 OK\r\n".to_vec(), Some("x-more: and more\r\n".repeat(4096))),
            Some(Way::EndlessLine) => (b"HTTP/1.1 200 ".to_vec(), Some("OK".repeat(1 << 15))),
            Some(Way::Bomb) => (whole("content-encoding: gzip\r\n", &bomb("[]")), None),
            Some(Way::Deep) => (whole("", "[".repeat(1 << 19).as_bytes()), None),
            Some(Way::EndlessList) => {
                let id = i64::try_from(number).unwrap();
                let list = json!({
                    "Records": [record(id, &format!("code-{id}"))], "HasNextPage": true, "TotalPages": 1_000_000_000, "TotalItems": 1_000_000_000,
                    "_embedded": {"users": [{"id": id, "username": format!("code-{id}")}]},
                    "_links": {"next": {"href": format!("/users?page={id}")}},
                });
                (whole("", list.to_string().as_bytes()), None)
            }
        };
        writer.write_all(&begins)?;
        while let Some(more) = &goes_on {
            writer.write_all(more.as_bytes())?;
        }
    }
}

/// Resident memory at its highest, in MiB.
fn peak(spotgate: &Spotgate) -> usize {
    let status = std::fs::read_to_string(format!("/proc/{}/status", spotgate.id())).unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    peak.trim().trim_end_matches(" kB").parse::<usize>().unwrap() / 1024
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_from_upstream_without_end_has_one_here() {
    let ways = [
        Way::EndlessBody,
        Way::EndlessChunks,
        Way::EndlessHead,
        Way::EndlessLine,
        Way::Bomb,
        Way::Deep,
        Way::EndlessList,
    ];
    for way in ways {
        let upstream = Upstream::start(way);
        let url = format!("http://{}", upstream.address);
        let source = format!(
            "[source]\nkind = \"nexudus\"\n[source.nexudus]\nbase_url = \"{url}\"\nusername = \"demo@example.org\"\npassword = \"demo\"\n\
             request_timeout = \"2s\"\nrequests_per_minute = 600\nmirror_interval = \"1s\"\n"
        );
        let push = format!(
            "[ironwifi.push]\nbase_url = \"{url}\"\napi_key = \"demo\"\nnas = \"front-desk\"\nrequests_per_minute = 600\n"
        );
        let spotgate = Spotgate::start(&configuration(&source, &push));
        let before = Held::by(&spotgate);
        let nexudus = async || {
            spotgate.metric("spotgate_source_up").await == 0.0 && upstream.asked("/api/spaces/accesstokens") > 0
        };
        if way != Way::EndlessList {
            spotgate.until(&format!("{way:?}: Nexudus makes no sense"), nexudus).await;
        }
        // One that nobody has read yet is asked for by itself.
        let answer = spotgate.authorize(json!({"access_code": "cold", "mac": "3C:06:30:AA:19:01"})).await;
        assert_eq!(answer["decision"], "deny", "{way:?}: {answer}");
        let lists =
            |least: usize| upstream.asked("/users") >= least && upstream.asked("/api/spaces/accesstokens") >= least;
        // A list that goes on is gone on with, at its pace, and holds up nothing else.
        spotgate
            .until(&format!("{way:?}: both are asked"), async || lists(if way == Way::EndlessList { 12 } else { 1 }))
            .await;
        assert_eq!(spotgate.get("/healthz").await.0, 200, "{way:?}");
        let peak = peak(&spotgate);
        assert!(peak < before.memory + 96, "{way:?}: {peak} MiB, of {} before", before.memory);
        assert_eq!(upstream.asked("accept-encoding"), 0, "nothing packed is asked for");
        let log = spotgate.log();
        assert!(!log.contains("panic") && !log.contains(KEY), "{way:?}: {log}");
        spotgate.stop();
    }
}
