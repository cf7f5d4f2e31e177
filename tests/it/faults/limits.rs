//! Little memory, a daemon that stands still for a while, and a clock that jumps.

use std::fs;
use std::net::UdpSocket;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use serde_json::{Value, json};
use spotgate::radius::attribute::StatusType;
use spotgate::sandbox::hotspot::Record;
use tokio::task::JoinSet;

use super::is_over;
use crate::crash::{Guest, TOKENS, check};
use crate::nexudus::{sandbox, source};
use crate::support::ledger::{code, elapsed, folder, interim, online, roomy, start, usage};
use crate::support::{FILE_SOURCE, KEY, Spotgate, client, configuration, mac, printed, record, run, tool, with};

/// Gives it so much more memory than it has, and no more.
fn memory(spotgate: &Spotgate, more: u64) {
    let status = fs::read_to_string(format!("/proc/{}/status", spotgate.id())).unwrap();
    let size = status.lines().find_map(|line| line.strip_prefix("VmSize:")).unwrap();
    let size: u64 = size.trim().trim_end_matches(" kB").parse().unwrap();
    let most = format!("--as={}:", size * 1024 + more);
    let output = run(tool("prlimit").args(["--pid", &spotgate.id().to_string(), &most]));
    assert!(output.status.success(), "{}", printed(&output));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_hardly_any_memory_no_request_ends_it_and_if_something_does_nothing_acknowledged_is_lost() {
    let folder = folder(&(1..=TOKENS).map(|token| roomy(token, &code(token))).collect::<Vec<_>>());
    let spotgate = start(&folder);
    let mut guests = Vec::new();
    for number in 1..=3 {
        guests.push(Guest::login(&spotgate.hotspot(), i64::from(number), number).await.unwrap());
    }
    memory(&spotgate, 16 << 20);
    let (body, mut requests) = (Bytes::from(vec![b'a'; 64 << 20]), JoinSet::new());
    for path in ["/v1/authorize", "/v1/accounting", "/login", "/v1/ironwifi/authenticate"].iter().cycle().take(40) {
        let request = client().post(format!("http://{}{path}", spotgate.http)).bearer_auth(KEY);
        let request = request.body(body.clone());
        // It may be hung up on before all is sent.
        requests.spawn(async move { request.send().await.map(|answer| answer.status().as_u16()) });
    }
    while let Some(answer) = requests.join_next().await {
        assert!(answer.unwrap().map_or(true, |status| (400..500).contains(&status)));
    }
    for guest in &mut guests {
        assert!(guest.report(&spotgate.hotspot(), StatusType::InterimUpdate, 60).await);
    }
    assert_eq!(spotgate.get("/readyz").await.0, 200);

    // More tokens than it can hold are the operator's, and end it.
    let tokens = fs::read(folder.path().join("tokens.json")).unwrap();
    fs::write(folder.path().join("tokens.json"), vec![b' '; 64 << 20]).unwrap();
    spotgate.until("it ends", async || is_over(&spotgate)).await;
    let (code, log) = spotgate.ended();
    assert!(code.is_none() && log.contains("memory allocation of"), "{code:?}: {log}");
    fs::write(folder.path().join("tokens.json"), tokens).unwrap();
    let spotgate = start(&folder);
    let guests = check(&spotgate, guests).await;
    assert_eq!(guests.iter().map(|guest| guest.acknowledged).collect::<Vec<_>>(), [60; 3]);
}

/// What reached a port that orders to a router go to.
fn orders(port: &UdpSocket) -> usize {
    port.set_nonblocking(true).unwrap();
    std::iter::from_fn(|| port.recv(&mut [0; 4096]).ok()).count()
}

async fn states(spotgate: &Spotgate) -> Vec<(Value, Value)> {
    let sessions = spotgate.read("/v1/sessions").await.1["sessions"].as_array().unwrap().clone();
    let mut states: Vec<_> =
        sessions.iter().map(|session| (session["mac"].clone(), session["state"].clone())).collect();
    states.sort_by_key(|(mac, _)| mac.to_string());
    states
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_it_stands_still_requests_wait_and_nobody_is_ended_or_counted_twice() {
    let port = UdpSocket::bind("127.0.0.1:0").unwrap();
    let extra = format!("disconnect_port = {}\n[policy]\ngrant_timeout = \"1s\"", port.local_addr().unwrap().port());
    let folder = folder(&[with(record(1, "abc-123"), json!({"UserLimit": 3}))]);
    let spotgate = Arc::new(Spotgate::start_in(folder, &configuration(FILE_SOURCE, &extra)));
    let (first, _) = online(&spotgate, "abc-123", 1, 100).await;
    let second = spotgate.hotspot().login_pap("abc-123", "", mac(2)).await.unwrap();
    spotgate.signal("STOP");
    let begun = elapsed();
    let mut routers = JoinSet::new();
    let patient = |spotgate: &Spotgate| spotgate.hotspot().patience(Duration::from_millis(100), 300);
    for (admitted, device, status, seconds) in
        [(first.clone(), 1, StatusType::InterimUpdate, 130), (second.clone(), 2, StatusType::Start, 0)]
    {
        let hotspot = patient(&spotgate);
        routers.spawn(async move {
            let record = Record { status, ..interim(&admitted, "abc-123", device, seconds) };
            hotspot.account(&record).await.unwrap().tries
        });
    }
    let hotspot = patient(&spotgate);
    routers.spawn(async move {
        let third = hotspot.login_pap("abc-123", "", mac(3)).await.unwrap();
        assert!(third.accept, "{third:?}");
        third.tries
    });
    // Longer than a grant holds.
    spotgate.until("the grant is over", async || elapsed() - begun > Duration::from_secs(2)).await;
    spotgate.signal("CONT");
    for tries in routers.join_all().await {
        assert!(tries > 10, "{tries}");
    }
    let of = |device| json!(mac(device).to_string());
    let live = states(&spotgate).await;
    assert_eq!(live[..2], [(of(1), json!("online")), (of(2), json!("online"))], "{live:?}");
    assert_eq!(
        spotgate.metric("spotgate_decisions_total{via=\"radius\",outcome=\"allow\",reason=\"none\"}").await,
        3.0
    );
    assert!((130..140).contains(&usage(&spotgate, "abc-123").await));
    assert_eq!(orders(&port), 0, "nobody is sent away");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_read_before_it_stood_still_is_not_written_over_what_changed_meanwhile() {
    let sandbox = sandbox(vec![record(1, "abc-123")]).await;
    let keys = "mirror_interval = \"1h\"\nrequests_per_minute = 100000\nwrite_back = true";
    let spotgate = Spotgate::start(&configuration(&source(&sandbox, keys), ""));
    spotgate.until("mirrored", async || spotgate.metric("spotgate_tokens").await == 1.0).await;
    let admitted = spotgate.hotspot().login_pap("abc-123", "", mac(1)).await.unwrap();
    sandbox.set_latency(Duration::from_millis(1000));
    let stop = Record { status: StatusType::Stop, ..interim(&admitted, "abc-123", 1, 600) };
    spotgate.hotspot().account(&stop).await.unwrap();
    spotgate.until("it reads the token", async || sandbox.count("get") > 0).await;
    spotgate.signal("STOP");
    let begun = elapsed();
    let answered = async || sandbox.requests().iter().all(|seen| seen.status.is_some());
    spotgate.until("it is answered, and does not hear it", answered).await;
    assert_eq!((sandbox.count("get"), sandbox.count("update")), (1, 0));
    sandbox.set_latency(Duration::ZERO);
    sandbox.edit_token(1, |record| drop(record.insert("MinutesLeft".to_owned(), json!(160))));
    spotgate.until("what it read is old", async || elapsed() - begun > Duration::from_secs(4)).await;
    spotgate.signal("CONT");
    spotgate.until("it throws that away", async || spotgate.log().contains("writing back pauses")).await;
    assert_eq!((sandbox.count("update"), sandbox.token(1).unwrap()["MinutesLeft"].clone()), (0, json!(160)));
}

/// A daemon whose wall clock can be set.
struct Jumping {
    spotgate: Spotgate,
    port: UdpSocket,
}

impl Jumping {
    fn start(tokens: &[Value]) -> Self {
        let folder = folder(tokens);
        let offset = folder.path().join("offset");
        fs::write(&offset, "+0s").unwrap();
        let port = UdpSocket::bind("127.0.0.1:0").unwrap();
        // As `faketime` does, which would stay between the daemon and its end.
        let mut command = Command::new(env!("CARGO_BIN_EXE_spotgate"));
        command.env("LD_PRELOAD", "/usr/$LIB/faketime/libfaketime.so.1").env("FAKETIME_TIMESTAMP_FILE", offset);
        command.envs([("FAKETIME_NO_CACHE", "1"), ("FAKETIME_DONT_FAKE_MONOTONIC", "1")]);
        let extra = format!("disconnect_port = {}", port.local_addr().unwrap().port());
        Self { spotgate: Spotgate::start_by(command, folder, &configuration(FILE_SOURCE, &extra)), port }
    }

    fn jump(&self, offset: &str) {
        let path = self.spotgate.folder.path().join("offset");
        let beside = path.with_extension("new");
        fs::write(&beside, offset).unwrap();
        fs::rename(beside, path).unwrap();
    }
}

#[tokio::test]
async fn however_the_clock_jumps_what_routers_report_is_what_counts() {
    let world = Jumping::start(&[with(record(1, "abc-123"), json!({"UserLimit": 3}))]);
    let spotgate = &world.spotgate;
    let (admitted, _) = online(spotgate, "abc-123", 1, 100).await;
    let mut seconds = 100;
    for offset in ["+2h", "-3h", "+30m", "-1d", "+0s"] {
        world.jump(offset);
        if offset == "+2h" {
            // For all it can tell nothing was heard for two hours; time that nobody reported is not counted, though.
            spotgate.until("it is given up", async || states(spotgate).await.is_empty()).await;
            assert_eq!(usage(spotgate, "abc-123").await, 100);
        }
        seconds += 30;
        spotgate.hotspot().account(&interim(&admitted, "abc-123", 1, seconds)).await.unwrap();
        let used = usage(spotgate, "abc-123").await;
        assert!((seconds..seconds + 20).contains(&u32::try_from(used).unwrap()), "{offset}: {used} of {seconds}");
        assert_eq!(states(spotgate).await, [(json!(mac(1).to_string()), json!("online"))], "{offset}");
    }
    assert_eq!(orders(&world.port), 0, "nobody is sent away");
    let stop = Record { status: StatusType::Stop, ..interim(&admitted, "abc-123", 1, 300) };
    spotgate.hotspot().account(&stop).await.unwrap();
    assert_eq!(usage(spotgate, "abc-123").await, 300);
    let folder = spotgate.folder.clone();
    drop(world);
    assert_eq!(usage(&start(&folder), "abc-123").await, 300);
}
