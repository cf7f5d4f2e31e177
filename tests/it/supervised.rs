//! The daemon as systemd runs it: told how it goes, watched, and on sockets that outlive it.

use std::net::UdpSocket;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixDatagram;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use spotgate::sandbox::hotspot::Hotspot;

use crate::support::{FILE_SOURCE, SECRET, Spotgate, configuration, mac, record};

/// A folder with one token.
fn folder() -> Arc<tempfile::TempDir> {
    let folder = tempfile::tempdir().unwrap();
    let tokens = serde_json::Value::from(vec![record(1, "abc-123"), record(2, "def-456")]);
    std::fs::write(folder.path().join("tokens.json"), tokens.to_string()).unwrap();
    Arc::new(folder)
}

fn binary() -> &'static str {
    env!("CARGO_BIN_EXE_spotgate")
}

/// What the daemon tells next, field by field.
fn told(socket: &UnixDatagram) -> Vec<String> {
    let mut message = [0; 4096];
    let length = socket.recv(&mut message).expect("nothing was told in ten seconds");
    String::from_utf8_lossy(&message[..length]).lines().map(str::to_owned).collect()
}

#[tokio::test]
async fn systemd_is_told_when_it_is_ready_alive_reloading_and_stopping() {
    let folder = folder();
    let path = folder.path().join("notify");
    let socket = UnixDatagram::bind(&path).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let mut command = Command::new(binary());
    command.env("NOTIFY_SOCKET", &path).env("WATCHDOG_USEC", "300000");
    let daemon = Spotgate::start_by(command, folder, &configuration(FILE_SOURCE, ""));
    assert_eq!(told(&socket), ["READY=1"]);
    for _ in 0..5 {
        assert_eq!(told(&socket), ["WATCHDOG=1"], "again and again");
    }
    daemon.signal("HUP");
    let reloading = (0..100).map(|_| told(&socket)).find(|told| *told != ["WATCHDOG=1"]).unwrap();
    // systemd.service(5), Type=notify-reload: with the time, so that it knows which reload this is about.
    assert_eq!(reloading[0], "RELOADING=1");
    assert!(
        reloading[1].strip_prefix("MONOTONIC_USEC=").is_some_and(|time| time.parse::<u64>().is_ok()),
        "{reloading:?}"
    );
    let ready = (0..100).map(|_| told(&socket)).find(|told| *told != ["WATCHDOG=1"]).unwrap();
    assert_eq!(ready, ["READY=1"]);
    daemon.signal("TERM");
    let stopping = (0..100).map(|_| told(&socket)).find(|told| *told != ["WATCHDOG=1"]).unwrap();
    assert_eq!(stopping, ["STOPPING=1"]);
    let (code, log) = daemon.ended();
    assert_eq!(code, Some(0), "{log}");
}

/// A daemon on these sockets, passed on as systemd does: from file descriptor 3 on.
fn on_sockets(auth: &UdpSocket, accounting: &UdpSocket, folder: Arc<tempfile::TempDir>) -> Spotgate {
    let pass_on = r#"exec 3<&0 4<&1 0</dev/null 1>/dev/null; export LISTEN_FDS=2 LISTEN_PID=$$; exec "$0" "$@""#;
    let mut command = Command::new("sh");
    command.args(["-c", pass_on, binary()]);
    let listen = format!("acct_listen = [\"{}\"]", accounting.local_addr().unwrap());
    let text = configuration(FILE_SOURCE, "").replace("acct_listen = [\"127.0.0.1:0\"]", &listen);
    let fd = |socket: &UdpSocket| OwnedFd::from(socket.try_clone().unwrap());
    Spotgate::start_with(command, fd(auth).into(), fd(accounting).into(), folder, &text)
}

#[tokio::test]
async fn what_comes_while_it_restarts_waits_in_the_sockets_that_outlive_it() {
    let socket = || UdpSocket::bind("127.0.0.1:0").unwrap();
    let (auth, accounting) = (socket(), socket());
    let at = |socket: &UdpSocket| socket.local_addr().unwrap();
    let daemon = on_sockets(&auth, &accounting, folder());
    assert_eq!((daemon.auth, daemon.accounting), (at(&auth), at(&accounting)));
    // It asks once, and is patient: nothing it sends is repeated.
    let hotspot = Hotspot::new(at(&auth), SECRET.as_bytes(), "front-desk").accounting_at(at(&accounting));
    let hotspot = hotspot.patience(Duration::from_secs(20), 1);
    assert!(hotspot.login_pap("abc-123", "", mac(1)).await.unwrap().accept);
    let folder = daemon.stop();

    let asking = tokio::spawn(async move { hotspot.login_pap("def-456", "", mac(2)).await });
    // On its way before the next daemon begins: the socket has it.
    tokio::task::yield_now().await;
    let daemon = on_sockets(&auth, &accounting, folder);
    assert!(asking.await.unwrap().unwrap().accept);
    assert!(daemon.log().contains("sockets were handed over"));
}

#[tokio::test]
async fn log_fields_become_fields_of_the_journal() {
    // The journal of the machine that tests is none of our business: the daemon sees another one in its place.
    let journal = tempfile::tempdir().unwrap();
    let socket = UnixDatagram::bind(journal.path().join("socket")).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let in_its_place = r#"mkdir -p /run/systemd/journal && mount --bind "$0" /run/systemd/journal && exec "$@""#;
    let mut command = Command::new("unshare");
    command.args(["--mount", "sh", "-c", in_its_place]).arg(journal.path()).arg(binary());
    let text = configuration(FILE_SOURCE, "").replace("log = \"json\"", "log = \"journald\"");
    let text = text.replace("auth_listen = [\"127.0.0.1:0\"]", &format!("auth_listen = [\"{}\"]", free_port()));
    let folder = folder();
    command.args(["serve", "--config"]).arg(crate::support::configured(&folder, &text));
    let mut child = command.stdin(std::process::Stdio::null()).spawn().unwrap();
    let entry = (0..50).map(|_| entry(&socket)).find(|entry| entry.contains("ready\n") && entry.contains("VERSION"));
    let ended = child.kill().and_then(|()| child.wait());
    let entry = entry.expect("it says that it is ready");
    assert!(ended.is_ok());
    // Each as its name, a length of eight octets, its value (systemd, JOURNAL_NATIVE_PROTOCOL).
    for (name, value) in [("SYSLOG_IDENTIFIER", "spotgate"), ("PRIORITY", "6"), ("SPOTGATE_VERSION", "")] {
        let found = entry.split(&format!("{name}\n")).nth(1).and_then(|rest| rest.get(8..)).unwrap_or_default();
        assert!(found.starts_with(value) && !found.is_empty(), "{name} in {entry:?}");
    }
}

fn free_port() -> std::net::SocketAddr {
    UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

/// The next entry in the journal's own form.
fn entry(socket: &UnixDatagram) -> String {
    let mut entry = [0; 16 * 1024];
    let length = socket.recv(&mut entry).expect("nothing was logged in ten seconds");
    entry[..length].iter().map(|octet| char::from(*octet)).collect()
}

#[tokio::test]
async fn a_reload_whose_tokens_cannot_be_read_changes_nothing() {
    let daemon = Spotgate::start_in(folder(), &configuration(FILE_SOURCE, ""));
    let text = std::fs::read_to_string(daemon.configuration()).unwrap();
    crate::support::configured(&daemon.folder, &text.replace("tokens.json", "absent.json"));
    daemon.signal("HUP");
    daemon.until("it says so", async || daemon.log().contains("not reloaded, nothing has changed")).await;
    assert!(daemon.hotspot().login_pap("abc-123", "", mac(1)).await.unwrap().accept);
    assert_eq!(daemon.get("/readyz").await.0, 200);
    crate::support::configured(&daemon.folder, &text);
    daemon.signal("HUP");
    daemon.until("it goes on", async || daemon.log().contains("\"reloaded\"")).await;
    assert!(daemon.hotspot().login_pap("def-456", "", mac(2)).await.unwrap().accept);
}
