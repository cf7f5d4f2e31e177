//! Strangers' programs as clients and judges: FreeRADIUS's `radclient`, pyrad, Wireshark's `tshark`.

use std::io::Write as _;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::{Value, json};
use spotgate::sandbox::hotspot::{Password, Record};

use crate::support::pcap::Capture;
use crate::support::{SECRET, Spotgate, mac, printed, record, repository_file, run, tool, with};

/// What `radclient` says to an answer that it takes: it checks the Response Authenticator and the Message-Authenticator.
pub fn radclient(server: SocketAddr, kind: &str, secret: &str, attributes: &str) -> String {
    let mut command = tool("radclient");
    command.args(["-x", "-r", "2", "-t", "2", &server.to_string(), kind, secret]);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(attributes.as_bytes()).unwrap();
    printed(&child.wait_with_output().unwrap())
}

fn guest() -> Value {
    with(record(1, "kx7q-91mp"), json!({"UserLimit": 2}))
}

#[test]
fn radclient_logs_in_as_routeros_does() {
    let mac_token = with(record(2, "by-mac"), json!({"MacAddress": "3c-06-30-aa-19-5f"}));
    let spotgate = Spotgate::over_file(&[guest(), mac_token]);
    for (vector, budget) in [("http-chap", "3600"), ("http-pap", "3600"), ("mac", "3600")] {
        let said = radclient(spotgate.auth, "auth", SECRET, &repository_file(&format!("tests/vectors/{vector}.txt")));
        assert!(said.contains("Received Access-Accept"), "{vector}: {said}");
        assert!(said.contains(&format!("Session-Timeout = {budget}")), "{vector}: {said}");
        assert!(said.contains("Acct-Interim-Interval = 300") && said.contains("Class = 0x"), "{vector}: {said}");
    }
    let said = radclient(
        spotgate.auth,
        "auth",
        SECRET,
        &repository_file("tests/vectors/http-pap.txt").replace("kx7q", "none"),
    );
    assert!(said.contains("Received Access-Reject") && said.contains("This code is not known"), "{said}");
}

#[test]
fn radclient_as_a_router_before_7_15_without_message_authenticator() {
    let spotgate = Spotgate::over_file(&[guest()]);
    let old = repository_file("tests/vectors/http-pap-before-7.15.txt");
    // It has a way to add one by itself; these lines must go out without.
    let said = radclient(spotgate.auth, "auth", SECRET, &old);
    assert!(said.contains("Received Access-Accept") && said.contains("Message-Authenticator = 0x"), "{said}");
}

#[test]
fn radclient_asks_for_status_and_accounts() {
    let spotgate = Spotgate::over_file(&[guest()]);
    let said = radclient(spotgate.auth, "status", SECRET, "Message-Authenticator = 0x00\n");
    assert!(said.contains("Received Access-Accept"), "{said}");
    let said = radclient(spotgate.accounting, "status", SECRET, "Message-Authenticator = 0x00\n");
    assert!(said.contains("Received Accounting-Response"), "{said}");
    let said = radclient(spotgate.accounting, "acct", SECRET, &repository_file("tests/vectors/accounting-start.txt"));
    assert!(said.contains("Received Accounting-Response"), "{said}");
    let said = radclient(
        spotgate.accounting,
        "acct",
        "another secret",
        &repository_file("tests/vectors/accounting-start.txt"),
    );
    assert!(said.contains("No reply from server"), "{said}");
}

#[test]
fn radclient_with_a_42_octet_password_and_a_wrong_secret() {
    let code = "a-code-of-forty-two-octets-0123456789-abcd";
    assert_eq!(code.len(), 42);
    let spotgate = Spotgate::over_file(&[record(1, code)]);
    let attributes = format!("User-Name = \"{code}\"\nUser-Password = \"{code}\"\nMessage-Authenticator = 0x00\n");
    assert!(radclient(spotgate.auth, "auth", SECRET, &attributes).contains("Received Access-Accept"));
    assert!(radclient(spotgate.auth, "auth", "another secret", &attributes).contains("No reply from server"));
    assert!(spotgate.log().contains("bad_message_authenticator"));
}

/// A script of tests/vectors, with pyrad.
pub fn pyrad(script: &str) -> Command {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    let python = folder.join(".test-tools/venv/bin/python");
    assert!(python.exists(), "pyrad is missing: tests/run.sh installs what the tests need");
    let mut command = Command::new(python);
    command.arg(folder.join("tests/vectors").join(script));
    command
}

#[test]
fn pyrad_takes_every_answer_while_it_insists_on_message_authenticators() {
    let spotgate = Spotgate::over_file(&[record(1, "abc-123")]);
    let mut command = pyrad("pyrad_client.py");
    command.args([&spotgate.auth.port().to_string(), &spotgate.accounting.port().to_string(), SECRET]);
    let output = run(&mut command);
    let said: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", printed(&output)));
    let proxy_states = json!(["first", "second"]);
    assert_eq!(
        said["good"],
        json!({"accept": true, "session_timeout": 3600, "message": null, "proxy_states": proxy_states})
    );
    assert_eq!(said["bad"]["accept"], false);
    assert_eq!((&said["bad"]["proxy_states"], &said["accounting"]), (&proxy_states, &json!(true)));
}

/// How many packets of the capture meet this display filter.
pub fn tshark(capture: &Path, filter: &str) -> usize {
    let mut command = tool("tshark");
    command.arg("-r").arg(capture).args(["-o", &format!("radius.shared_secret:{SECRET}")]);
    command.args([
        "-o",
        "radius.validate_authenticator:TRUE",
        "-d",
        "udp.port==1812,radius",
        "-d",
        "udp.port==1813,radius",
    ]);
    let output = run(command.args(["-Y", filter]));
    assert!(output.status.success(), "{}", printed(&output));
    String::from_utf8_lossy(&output.stdout).lines().count()
}

#[tokio::test]
async fn tshark_finds_no_invalid_authenticator() {
    let spotgate = Spotgate::over_file(&[guest()]);
    let hotspot = spotgate.hotspot();
    let (router, auth, acct) = ("127.0.0.1:40000", "127.0.0.1:1812", "127.0.0.1:1813");
    let (router, auth, acct): (SocketAddr, SocketAddr, SocketAddr) =
        (router.parse().unwrap(), auth.parse().unwrap(), acct.parse().unwrap());
    let mut capture = Capture::new();
    let mut replies = 0;
    let requests = [
        (auth, hotspot.access_request("kx7q-91mp", Password::Pap("kx7q-91mp"), mac(1)).unwrap()),
        (auth, hotspot.access_request("unknown", Password::Pap("unknown"), mac(1)).unwrap()),
        (auth, hotspot.access_request("kx7q-91mp", Password::Chap("kx7q-91mp"), mac(2)).unwrap()),
        (auth, hotspot.status_request().unwrap()),
        (acct, hotspot.status_request().unwrap()),
        (
            acct,
            hotspot
                .accounting_request(&Record::start(
                    "kx7q-91mp",
                    mac(1),
                    "80300001",
                    "2026-11-23T12:00:00Z".parse().unwrap(),
                ))
                .unwrap(),
        ),
    ];
    let mut last = Vec::new();
    for (port, request) in requests {
        let server = if port == auth { spotgate.auth } else { spotgate.accounting };
        let answer = hotspot.exchange_with(server, &request).await.unwrap();
        capture.add(router, port, &request);
        capture.add(port, router, &answer.bytes);
        replies += 1;
        last = answer.bytes;
    }
    let folder = tempfile::tempdir().unwrap();
    let good = folder.path().join("good.pcap");
    capture.write(&good);
    assert_eq!(tshark(&good, "radius.authenticator.invalid == 1"), 0);
    // It does not check answers to Status-Server; that of accounting it checks on both sides.
    assert_eq!(tshark(&good, "radius.authenticator.valid == 1"), 4, "the judge looked at {replies} replies");
    assert_eq!(tshark(&good, "_ws.malformed"), 0);

    last[5] ^= 1;
    capture.add(acct, router, &last);
    let bad = folder.path().join("bad.pcap");
    capture.write(&bad);
    assert_eq!(tshark(&bad, "radius.authenticator.invalid == 1"), 1, "the judge can say no");
}

#[test]
fn radclient_as_coova_chilli_gets_no_word_of_mikrotik() {
    let rules = "disconnect_style = \"rfc5176\"\nrate_limit = \"10M/5M\"\nwispr = true";
    let spotgate = Spotgate::over_file_with(&[guest()], rules);
    let login = repository_file("tests/vectors/coova-chilli.txt");
    let said = radclient(spotgate.auth, "auth", SECRET, &login);
    for held in [
        "Received Access-Accept",
        "Session-Timeout = 3600",
        "Acct-Interim-Interval = 300",
        "WISPr-Bandwidth-Max-Up = 10000000",
        "WISPr-Bandwidth-Max-Down = 5000000",
    ] {
        assert!(said.contains(held), "{held}: {said}");
    }
    assert!(!said.contains("Mikrotik"), "{said}");
    let class = said.lines().find(|line| line.trim().starts_with("Class = ")).unwrap();
    let account = |status: &str| {
        let login = login.lines().filter(|line| !line.starts_with("CHAP") && !line.starts_with("Message"));
        let record: Vec<&str> =
            login.chain([class, status, "Acct-Session-Time = 60", "Acct-Input-Octets = 1"]).collect();
        let said = radclient(spotgate.accounting, "acct", SECRET, &record.join("\n"));
        assert!(said.contains("Received Accounting-Response"), "{status}: {said}");
    };
    for status in ["Start", "Interim-Update", "Stop"] {
        account(&format!("Acct-Status-Type = {status}"));
    }
    // Its own login, for what an operator may have set there: no guest's.
    let itself = "User-Name = \"chillispot\"\nUser-Password = \"chillispot\"\nService-Type = Administrative-User\n\
                  NAS-Identifier = \"nas01\"\nMessage-Authenticator = 0x00\n";
    assert!(radclient(spotgate.auth, "auth", SECRET, itself).contains("Received Access-Reject"));
}
