//! Another configuration under way: what is read for it may hang or be wrong, and nobody is shut out for that.

use std::fs;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use crate::nexudus::{sandbox, source};
use crate::sessions::{Site, id};
use crate::support::{FILE_SOURCE, KEY, Spotgate, client, configuration, configured, mac, record, spotgate, with};

/// What the daemon tells systemd next, but that it lives.
fn told(socket: &UnixDatagram) -> String {
    let mut message = [0; 4096];
    for _ in 0..1000 {
        let length = socket.recv(&mut message).expect("nothing was told in ten seconds");
        let told = String::from_utf8_lossy(&message[..length]).lines().next().unwrap_or_default().to_owned();
        if told != "WATCHDOG=1" {
            return told;
        }
    }
    panic!("nothing but that it lives");
}

/// A daemon over one token of a file, and the socket on which it tells how it goes.
fn supervised(extra: &str) -> (Spotgate, UnixDatagram) {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("tokens.json"), json!([record(1, "abc-123")]).to_string()).unwrap();
    let path = folder.path().join("notify");
    let socket = UnixDatagram::bind(&path).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let mut command = spotgate(&[]);
    command.env("NOTIFY_SOCKET", &path).env("WATCHDOG_USEC", "300000");
    let daemon = Spotgate::start_by(command, Arc::new(folder), &configuration(FILE_SOURCE, extra));
    assert_eq!(told(&socket), "READY=1");
    (daemon, socket)
}

/// A pipe that nobody writes to: whoever opens it waits, as for a file on a mount that is lost.
fn hanging(path: &Path) {
    let _ = fs::remove_file(path);
    assert!(Command::new("mkfifo").arg(path).status().unwrap().success());
}

/// Changes the configuration and has it taken; whether it was.
async fn reload(spotgate: &Spotgate, change: impl FnOnce(String) -> String) -> bool {
    let counted = async || {
        let of = async |result: &str| spotgate.metric(&format!("spotgate_reloads_total{{result=\"{result}\"}}")).await;
        (of("done").await, of("refused").await)
    };
    let before = counted().await;
    let text = fs::read_to_string(spotgate.configuration()).unwrap();
    configured(&spotgate.folder, &change(text));
    spotgate.signal("HUP");
    spotgate.until("done or refused", async || counted().await != before).await;
    counted().await.0 > before.0
}

async fn reason(spotgate: &Spotgate, code: &str, device: u8) -> Value {
    spotgate.authorize(json!({"access_code": code, "mac": mac(device).to_string()})).await["reason"].clone()
}

#[tokio::test]
async fn a_reload_that_hangs_keeps_neither_the_watchdog_nor_the_end_waiting() {
    let (daemon, socket) = supervised("");
    hanging(&daemon.folder.path().join("tls.pem"));
    fs::write(daemon.folder.path().join("tls.key"), "").unwrap();
    let text = fs::read_to_string(daemon.configuration()).unwrap();
    let tls = text.replace("[http]\n", "[http]\ncertificate = \"tls.pem\"\nprivate_key = \"tls.key\"\n");
    configured(&daemon.folder, &tls);
    daemon.signal("HUP");
    assert_eq!(told(&socket), "RELOADING=1");
    let mut message = [0; 4096];
    for _ in 0..5 {
        let length = socket.recv(&mut message).expect("nothing was told in ten seconds");
        assert_eq!(&message[..length], b"WATCHDOG=1\n", "again and again");
    }
    assert!(daemon.hotspot().login_pap("abc-123", "", mac(1)).await.unwrap().accept);
    daemon.signal("TERM");
    assert_eq!(told(&socket), "STOPPING=1");
    let (code, log) = daemon.ended();
    assert_eq!(code, Some(0), "{log}");
}

#[tokio::test]
async fn a_reload_that_takes_too_long_is_refused_and_what_was_asked_for_meanwhile_is_done_once() {
    let (daemon, socket) = supervised("");
    let text = fs::read_to_string(daemon.configuration()).unwrap();
    hanging(&daemon.configuration());
    daemon.signal("HUP");
    assert_eq!(told(&socket), "RELOADING=1");
    for _ in 0..3 {
        daemon.signal("HUP");
    }
    fs::remove_file(daemon.configuration()).unwrap();
    configured(&daemon.folder, &text.replace("[http]\n", "[policy]\nmax_session = \"10m\"\n[http]\n"));
    assert_eq!(told(&socket), "READY=1", "it gives up");
    let log = daemon.log();
    assert!(log.contains("not reloaded, nothing has changed") && log.contains("took too long"), "{log}");
    assert_eq!([told(&socket), told(&socket)], ["RELOADING=1", "READY=1"]);
    let answer = daemon.authorize(json!({"access_code": "abc-123", "dry_run": true})).await;
    assert_eq!(answer["session_timeout"], 600, "{answer}");
    daemon.signal("TERM");
    assert_eq!(told(&socket), "STOPPING=1", "and no third time");
    assert_eq!(daemon.ended().0, Some(0), "though a thread hangs");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn copies_at_hand_outlive_another_cache_and_other_keys_of_the_same_account() {
    let tokens = vec![record(1, "abc-123"), with(record(2, "ABROAD"), json!({"BusinessId": 2})), record(3, "untyped")];
    for mirror in [false, true] {
        let sandbox = sandbox(tokens.clone()).await;
        let keys = format!("mirror = {mirror}");
        let spotgate = Spotgate::start(&configuration(&source(&sandbox, &keys), ""));
        if mirror {
            let whole = async || spotgate.log().contains("every access token of Nexudus is at hand");
            spotgate.until("mirrored", whole).await;
        }
        assert_eq!(reason(&spotgate, "abc-123", 1).await, Value::Null);
        assert_eq!(reason(&spotgate, "abroad", 2).await, Value::Null);
        sandbox.set_fail(Some("down".parse().unwrap()));
        let cache =
            |text: String| text.replace("[http]\n", "[cache]\nunknown_for = \"1s\"\nfresh_for = \"0s\"\n[http]\n");
        assert!(reload(&spotgate, cache).await);
        assert_eq!(reason(&spotgate, "abc-123", 1).await, Value::Null, "mirror = {mirror}");
        assert!(reload(&spotgate, |text| text.replace(&keys, &format!("mirror = {}", !mirror))).await);
        assert_eq!(reason(&spotgate, "abc-123", 1).await, Value::Null, "mirror = {mirror} no more");
        assert_eq!(reason(&spotgate, "abroad", 2).await, Value::Null, "mirror = {mirror} no more");
        if mirror {
            assert_eq!(reason(&spotgate, "untyped", 3).await, Value::Null);
        }
        let ours = |text: String| text.replace("request_timeout", "business_ids = [1]\nrequest_timeout");
        assert!(reload(&spotgate, ours).await);
        assert_eq!(reason(&spotgate, "abc-123", 1).await, Value::Null, "mirror = {mirror}");
        assert_eq!(reason(&spotgate, "abroad", 4).await, "source_unavailable", "it is not ours any more");
        assert_eq!(spotgate.get("/readyz").await.0, 200);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn another_password_of_the_same_account_is_tried_out_first() {
    for auth in ["oauth", "basic"] {
        let sandbox = sandbox(vec![record(1, "abc-123"), record(2, "untyped")]).await;
        let keys = format!("mirror = false\nauth = \"{auth}\"");
        let spotgate = Spotgate::start(&configuration(&source(&sandbox, &keys), ""));
        assert_eq!(reason(&spotgate, "abc-123", 1).await, Value::Null);
        let wrong = |text: String| text.replace("password = \"demo\"", "password = \"not that one\"");
        assert!(!reload(&spotgate, wrong).await, "{auth}");
        assert_eq!(reason(&spotgate, "untyped", 2).await, Value::Null, "{auth}");
        assert_eq!(spotgate.get("/readyz").await.1["degraded"], json!([]), "{auth}");
        // Nobody can say now; what is held serves.
        sandbox.set_fail(Some("down".parse().unwrap()));
        assert!(reload(&spotgate, |text| text + "\n# the same but for this\n").await, "{auth}");
        assert_eq!(reason(&spotgate, "abc-123", 1).await, Value::Null, "{auth}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_account_is_signed_in_to_first_and_refused_where_that_fails() {
    for keys in ["mirror = true", "mirror = false", "mirror = true\nauth = \"basic\""] {
        let sandbox = sandbox(vec![record(1, "abc-123"), record(2, "untyped")]).await;
        let spotgate = Spotgate::start(&configuration(&source(&sandbox, keys), ""));
        if keys.contains("true") {
            let whole = async || spotgate.log().contains("every access token of Nexudus is at hand");
            spotgate.until("mirrored", whole).await;
        }
        assert_eq!(reason(&spotgate, "abc-123", 1).await, Value::Null);
        let right = sandbox.base_url();
        let wrong = |text: String| text.replace(&right, "http://127.0.0.1:1");
        assert!(!reload(&spotgate, wrong).await, "{keys}");
        assert!(spotgate.log().contains("not reloaded, nothing has changed"));
        assert_eq!(spotgate.metric("spotgate_source_up").await, 1.0, "the one in force answers");
        assert!(!spotgate.log().contains("the source does not answer"), "so does nobody say otherwise");
        sandbox.set_fail(Some("down".parse().unwrap()));
        assert_eq!(reason(&spotgate, "abc-123", 1).await, Value::Null, "{keys}");
        assert!(reload(&spotgate, |text| text.replace("http://127.0.0.1:1", &right)).await, "{keys}");
        assert_eq!(reason(&spotgate, "abc-123", 1).await, Value::Null, "{keys}");

        let other = self::sandbox(vec![record(7, "elsewhere")]).await;
        assert!(reload(&spotgate, |text| text.replace(&right, &other.base_url())).await, "{keys}");
        assert_eq!(reason(&spotgate, "elsewhere", 7).await, Value::Null);
        assert_eq!(reason(&spotgate, "abc-123", 1).await, "unknown_code", "it is another account's");
    }
}

#[tokio::test]
async fn a_file_that_is_refused_leaves_no_trace_but_the_refusal() {
    let (daemon, _socket) = supervised("");
    assert_eq!(daemon.metric("spotgate_source_up").await, 1.0);
    let before = daemon.log().len();
    assert!(!reload(&daemon, |text| text.replace("tokens.json", "absent.json")).await);
    assert_eq!(daemon.metric("spotgate_source_up").await, 1.0);
    let said = daemon.log().split_off(before);
    assert!(said.contains("absent.json") && !said.contains("the source does not answer"), "{said}");
    assert!(!said.contains("logins are denied"), "{said}");
}

#[tokio::test]
async fn the_log_says_reloaded_and_what_needs_a_restart_at_any_level() {
    let (daemon, _socket) = supervised("");
    let before = daemon.log().len();
    let quiet = |text: String| text.replace("level = \"debug\"", "level = \"error\"");
    assert!(reload(&daemon, |text| quiet(text).replace("[radius]\n", "[radius]\nworkers = 1\n")).await);
    let said = daemon.log().split_off(before);
    assert!(said.contains("\"message\":\"reloaded\""), "{said}");
    assert!(said.contains("\"key\":\"radius.workers\""), "{said}");
    assert!(!reload(&daemon, |text| format!("{text}\n[polic]\n")).await);
    assert!(daemon.log().contains("not reloaded"));
}

#[tokio::test]
async fn sessions_of_a_router_whose_name_goes_are_said_and_cannot_be_told() {
    let site = Site::around(Spotgate::over_file_with(&[record(1, "abc-123")], "disconnect_port = 1\n")).await;
    site.online("abc-123", 1).await;
    let session = id(&site.session_of(1).await);
    let spotgate = &site.spotgate;
    assert!(!reload(spotgate, |text| text.replace("front-desk", "lobby") + "\n[polic]\n").await);
    assert!(!spotgate.log().contains("keep the name"), "nothing has changed");
    assert!(reload(spotgate, |text| text.replace("\n[polic]\n", "")).await);
    let log = spotgate.log();
    let said = log.lines().find(|line| line.contains("keep the name")).unwrap_or_else(|| panic!("{log}"));
    let said: Value = serde_json::from_str(said).unwrap();
    assert_eq!((&said["level"], &said["nas"], &said["sessions"]), (&json!("WARN"), &json!("front-desk"), &json!(1)));

    let address = format!("http://{}/v1/sessions/{session}", spotgate.http);
    assert_eq!(client().delete(address).bearer_auth(KEY).send().await.unwrap().status(), 202);
    site.until("not told", &session, |session| session["ending"]["answer"] == "unsendable").await;
    assert!(site.router.heard().is_empty(), "nothing was sent");
    let (_, said) = spotgate.command(&["disconnect", &session]);
    assert!(said.contains("cannot be told") && !said.contains("does not answer"), "{said}");
    let counted = "spotgate_disconnects_total{nas=\"front-desk\",result=\"unsendable\"}";
    assert!(spotgate.metric(counted).await >= 1.0);
    assert!(reload(spotgate, |text| text.replace("lobby", "front-desk")).await);
    site.until("told after all", &session, |session| session["state"] == "ended").await;
}
