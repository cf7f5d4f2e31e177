//! `spotgate doctor`: each thing that can be wrong is found, named and given a remedy, and a daemon that runs feels nothing.

use std::net::{TcpListener, UdpSocket};
use std::path::Path;

use serde_json::{Value, json};

use crate::support::{FILE_SOURCE, KEY, SECRET, Spotgate, configuration, configured, printed, record, run, spotgate};

/// No router.
const ALONE: &str = "disconnect_port = 0\n";

/// What it found, and its exit code.
#[derive(Debug)]
struct Found {
    code: i32,
    findings: Vec<Value>,
}

impl Found {
    /// The finding of a check about a subject.
    fn about(&self, check: &str, subject: &str) -> String {
        let mut findings =
            self.findings.iter().filter(|finding| finding["check"] == check && finding["subject"] == subject);
        let found = findings.next().unwrap_or_else(|| panic!("{check} {subject} in {self:?}"));
        assert!(findings.next().is_none(), "{check} {subject} twice in {self:?}");
        said(found)
    }

    /// Checks whose result is not ok.
    fn troubles(&self) -> Vec<&str> {
        let troubles = self.findings.iter().filter(|finding| finding["result"] != "ok");
        troubles.map(|finding| finding["check"].as_str().unwrap()).collect()
    }
}

fn said(finding: &Value) -> String {
    let (result, detail) = (finding["result"].as_str().unwrap(), finding["detail"].as_str().unwrap());
    match finding["remedy"].as_str() {
        Some(remedy) => format!("{result} {detail}; {remedy}"),
        None => format!("{result} {detail}"),
    }
}

/// Runs it on a configuration; what it prints in either form holds no secret.
async fn doctor(path: &Path) -> Found {
    let path = path.to_owned();
    let output = tokio::task::spawn_blocking(move || run(spotgate(&["doctor", "--json", "--config"]).arg(path)));
    let output = output.await.unwrap();
    let text = printed(&output);
    for secret in [SECRET, KEY, "abc-123", "DEMO-", "00421"] {
        assert!(!text.contains(secret), "{secret} in {text}");
    }
    let findings: Vec<Value> = serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {text}"));
    let found = Found { code: output.status.code().unwrap(), findings };
    for finding in &found.findings {
        assert_eq!(finding["remedy"].is_null(), finding["result"] == "ok", "a remedy where it is needed: {finding}");
    }
    assert_eq!(found.code == 1, found.findings.iter().any(|finding| finding["result"] == "fail"), "{found:?}");
    found
}

/// A configuration with ports that are known and free.
fn with_ports(configuration: &str) -> String {
    let tcp = || TcpListener::bind("127.0.0.1:0").unwrap();
    let udp = || UdpSocket::bind("127.0.0.1:0").unwrap();
    let (http, metrics, auth, acct) = (tcp(), tcp(), udp(), udp());
    configuration
        .replace(
            "[http]\nlisten = [\"127.0.0.1:0\"]",
            &format!("[http]\nlisten = [\"{}\"]", http.local_addr().unwrap()),
        )
        .replace("metrics_listen = \"127.0.0.1:0\"", &format!("metrics_listen = \"{}\"", metrics.local_addr().unwrap()))
        .replace("auth_listen = [\"127.0.0.1:0\"]", &format!("auth_listen = [\"{}\"]", auth.local_addr().unwrap()))
        .replace("acct_listen = [\"127.0.0.1:0\"]", &format!("acct_listen = [\"{}\"]", acct.local_addr().unwrap()))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_port_that_another_program_holds_and_a_changed_one_are_told_apart() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("tokens.json"), json!([record(1, "abc-123")]).to_string()).unwrap();
    let (udp, tcp) = (UdpSocket::bind("127.0.0.1:0").unwrap(), TcpListener::bind("127.0.0.1:0").unwrap());
    let taken = configuration(FILE_SOURCE, ALONE)
        .replace("acct_listen = [\"127.0.0.1:0\"]", &format!("acct_listen = [\"{}\"]", udp.local_addr().unwrap()))
        .replace("metrics_listen = \"127.0.0.1:0\"", &format!("metrics_listen = \"{}\"", tcp.local_addr().unwrap()));
    let found = doctor(&configured(&folder, &taken)).await;
    for address in [udp.local_addr().unwrap(), tcp.local_addr().unwrap()] {
        let said = found.about("port", &address.to_string());
        assert!(said.starts_with("fail ") && said.contains("another program listens there"), "{said}");
    }
    assert_eq!(found.troubles(), ["port", "port"], "{found:?}");

    let fixed = with_ports(&configuration(FILE_SOURCE, ALONE));
    let daemon = Spotgate::start_in(folder, &fixed);
    let free = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let path = configured(&daemon.folder, &fixed.replace(&daemon.auth.to_string(), &free.to_string()));
    let said = doctor(&path).await.about("port", &free.to_string());
    assert!(said.starts_with("warn nobody listens") && said.contains("restart"), "{said}");
}

#[test]
fn a_wrong_configuration_is_all_that_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let path = configured(&folder, &configuration(FILE_SOURCE, "adress = \"10.0.0.1\"\naccounting = \"yes\""));
    let output = run(spotgate(&["doctor", "--config"]).arg(&path));
    let said = printed(&output);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(
        said.lines().count() == 2 && said.lines().all(|line| line.starts_with("fail configuration: line ")),
        "{said}"
    );
    assert!(said.contains("adress") && said.contains("address") && !said.contains(SECRET), "{said}");
    assert!(!said.contains('\x1b'), "colours are for terminals: {said}");
}
