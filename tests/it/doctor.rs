//! `spotgate doctor`: each thing that can be wrong is found, named and given a remedy, and a daemon that runs feels nothing.

use std::net::{TcpListener, UdpSocket};
use std::path::Path;
use std::time::Duration;

use jiff::SignedDuration;
use serde_json::{Value, json};
use spotgate::clock::Clock;
use spotgate::radius::attribute::ErrorCause;
use spotgate::sandbox::nexudus::{Options, Sandbox, demo_tokens};
use spotgate::sandbox::router::{self, Router};

use crate::nexudus::{sandbox, source};
use crate::support::{
    FILE_SOURCE, KEY, SECRET, Spotgate, configuration, configured, printed, record, run, spotgate, with,
};

/// No router.
const ALONE: &str = "disconnect_port = 0\n";

/// What it found, and its exit code.
#[derive(Debug)]
struct Found {
    code: i32,
    findings: Vec<Value>,
}

impl Found {
    /// The findings of a check, as `result detail; remedy`.
    fn all(&self, check: &str) -> Vec<String> {
        let findings = self.findings.iter().filter(|finding| finding["check"] == check);
        findings.map(said).collect()
    }

    /// The finding of a check about a subject.
    fn about(&self, check: &str, subject: &str) -> String {
        let mut findings =
            self.findings.iter().filter(|finding| finding["check"] == check && finding["subject"] == subject);
        let found = findings.next().unwrap_or_else(|| panic!("{check} {subject} in {self:?}"));
        assert!(findings.next().is_none(), "{check} {subject} twice in {self:?}");
        said(found)
    }

    /// The only finding of a check.
    fn one(&self, check: &str) -> String {
        let [one] = self.all(check).try_into().unwrap_or_else(|all| panic!("{check}: {all:?} in {self:?}"));
        one
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

async fn over(sandbox: &Sandbox, keys: &str, extra: &str) -> Found {
    let folder = tempfile::tempdir().unwrap();
    let extra = format!("{ALONE}{extra}");
    doctor(&configured(&folder, &configuration(&source(sandbox, keys), &extra))).await
}

fn fail(sandbox: &Sandbox, mode: &str) {
    sandbox.set_fail(Some(mode.parse().unwrap()));
}

async fn demo_sandbox() -> Sandbox {
    sandbox(demo_tokens(Clock::system().now().wall)).await
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
async fn where_all_is_well_it_says_so_and_writes_nothing() {
    let sandbox = demo_sandbox().await;
    let found = over(&sandbox, "write_back = true\nbusiness_ids = [1, 2]\ntime_zone = \"Europe/Madrid\"", "").await;
    assert_eq!((found.code, found.troubles()), (0, vec![]), "{found:?}");
    assert!(found.one("sign_in").contains("demo@example.org signed in at http://127.0.0.1"), "{found:?}");
    let tokens = demo_tokens(Clock::system().now().wall).len();
    assert!(found.about("role", "AccessToken-List").contains(&format!("{tokens} access tokens")), "{found:?}");
    assert!(found.about("role", "AccessToken-Read").ends_with("was read singly"), "{found:?}");
    assert!(found.about("role", "AccessToken-Edit").contains("only writing would tell"), "{found:?}");
    for location in ["1", "2"] {
        assert_eq!(found.about("location", location), "ok it shows access tokens");
    }
    assert_eq!(found.one("clock"), "ok right, by Nexudus' clock");
    let dates = found.one("dates");
    assert!(dates.contains("UTC = ") && dates.contains("Europe/Madrid if it was sent in UTC"), "{dates}");
    let counts = sandbox.counts();
    assert_eq!(counts["sign_in"], 1, "{counts:?}");
    assert!(!counts.contains_key("update") && !counts.contains_key("create"), "{counts:?}");
    let order: Vec<_> = found.findings.iter().map(|finding| finding["check"].as_str().unwrap()).collect();
    assert_eq!(
        order,
        [
            "configuration",
            "sign_in",
            "role",
            "role",
            "role",
            "location",
            "location",
            "clock",
            "dates",
            "mirror",
            "daemon",
            "store",
            "ledger",
            "port",
            "port",
            "port",
            "port",
            "disconnect",
        ]
    );
    let found = over(&sandbox, "", "").await;
    assert!(!found.findings.iter().any(|finding| finding["subject"] == "AccessToken-Edit"), "nothing needs it");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_trouble_of_the_sign_in_has_its_name_and_remedy() {
    let sandbox = demo_sandbox().await;
    for (mode, expected) in [
        ("locked", "(locked); unlock the user"),
        ("2fa", "(one_time_password_wanted); set source.nexudus.totp_secret_file"),
        ("must-reset", "(must_reset); choose one in Nexudus"),
        ("down", "; see whether this machine reaches source.nexudus.base_url"),
    ] {
        fail(&sandbox, mode);
        let found = over(&sandbox, "", "").await;
        let said = found.one("sign_in");
        assert!(said.starts_with("fail ") && said.contains(expected), "{mode}: {said}");
        assert_eq!((found.code, found.all("role").len(), found.all("dates").len()), (1, 0, 0), "{found:?}");
    }
    sandbox.set_fail(None);
    sandbox.change_users(|users| users[0].password = "another".to_owned());
    let found = over(&sandbox, "", "").await;
    assert!(found.one("sign_in").contains("(wrong_password); correct source.nexudus.username"), "{found:?}");
    let found = over(&sandbox, "auth = \"basic\"", "").await;
    assert!(found.about("role", "AccessToken-List").contains("(password_or_role)"), "{found:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_role_that_is_missing_is_named() {
    let sandbox = demo_sandbox().await;
    fail(&sandbox, "role-list");
    let found = over(&sandbox, "", "").await;
    assert!(found.about("role", "AccessToken-List").contains("give the user the role AccessToken-List"), "{found:?}");
    assert_eq!((found.troubles(), found.code), (vec!["role"], 1), "the sign-in is good: {found:?}");
    fail(&sandbox, "role-read");
    let found = over(&sandbox, "business_ids = [1]", "").await;
    assert!(found.about("role", "AccessToken-Read").contains("give the user the role AccessToken-Read"), "{found:?}");
    assert_eq!((found.troubles(), found.code), (vec!["role"], 1), "all else goes on: {found:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_location_without_tokens_is_said_also_where_the_filter_is_ignored() {
    let sandbox = sandbox(vec![record(1, "abc-123")]).await;
    let found = over(&sandbox, "business_ids = [1, 7]", "").await;
    assert!(found.about("location", "1").starts_with("ok "), "{found:?}");
    assert!(found.about("location", "7").starts_with("warn it shows no access token"), "{found:?}");
    assert_eq!(found.code, 0, "a warning is no failure");
    assert!(found.one("dates").starts_with("ok none"), "{found:?}");
    fail(&sandbox, "ignore-filter");
    let found = over(&sandbox, "business_ids = [1, 7]", "").await;
    assert!(found.about("location", "7").contains("shows those of others"), "{found:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_clock_that_differs_from_that_of_nexudus_is_found_on_either_side() {
    for (seconds, expected) in [
        (45, "warn this machine is 4"),
        (-65, "warn this machine is 6"),
        (3600, "fail this machine is "),
        (-86_400 * 3, "fail this machine is "),
    ] {
        let skew = SignedDuration::from_secs(seconds);
        let options = Options { tokens: vec![record(1, "abc-123")], skew, ..Options::default() };
        let sandbox = Sandbox::start_local(options, Clock::system()).await.unwrap();
        let found = over(&sandbox, "", "").await;
        let said = found.one("clock");
        let side = if seconds > 0 { "behind Nexudus" } else { "ahead of Nexudus" };
        assert!(said.starts_with(expected) && said.contains(side), "{seconds}: {said}");
        assert!(said.contains("timedatectl set-ntp true"), "{said}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_nexudus_is_a_warning_where_logins_wait_for_it() {
    let sandbox = sandbox(vec![record(1, "abc-123")]).await;
    sandbox.set_latency(Duration::from_millis(300));
    let found = over(&sandbox, "mirror = false", "").await;
    assert!(found.about("role", "AccessToken-List").contains("longer than cache.first_answer_within"), "{found:?}");
    assert!(found.all("mirror").is_empty(), "{found:?}");
    let found = over(&sandbox, "mirror = true", "").await;
    assert_eq!(found.troubles(), [""; 0], "{found:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn beside_the_daemon_its_ports_are_its_own_and_its_sign_in_stays_good() {
    let sandbox = demo_sandbox().await;
    let daemon = Spotgate::start(&with_ports(&configuration(&source(&sandbox, "mirror_interval = \"1h\""), ALONE)));
    daemon.until("mirrored", async || daemon.log().contains("every access token of Nexudus is at hand")).await;
    let state = || std::fs::read_to_string(daemon.folder.path().join("state/state.json")).unwrap();
    let before = state();
    assert!(before.contains("refresh_token"), "{before}");
    let found = doctor(&daemon.configuration()).await;
    assert_eq!((found.code, found.troubles()), (0, vec![]), "{found:?}");
    let ports = found.all("port");
    assert!(ports.len() == 4 && ports.iter().all(|port| port.contains("held by the daemon")), "{ports:?}");
    assert!(found.one("daemon").ends_with("is ready"), "{found:?}");
    assert!(found.one("mirror").contains("access tokens, compared at 20"), "{found:?}");
    assert_eq!(state(), before);
    let mut names: Vec<_> = std::fs::read_dir(daemon.folder.path().join("state"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    let of_the_daemon = ["ledger.", "mirror.", "history.", "state.json", "nexudus-calls"];
    names.retain(|name| of_the_daemon.iter().all(|its| !name.starts_with(its)));
    assert!(names.is_empty(), "left behind: {names:?}");
    // The daemon's refresh token is still good, and by now nothing else would be.
    sandbox.expire_bearers();
    sandbox.change_users(|users| users[0].password = "another".to_owned());
    let answer = daemon.authorize(json!({"access_code": "no-such", "mac": "02:00:00:00:00:01"})).await;
    assert_eq!(answer["reason"], "unknown_code");

    let folder = daemon.stop();
    let found = doctor(&folder.path().join("spotgate.toml")).await;
    assert!(found.one("daemon").starts_with("ok none runs"), "{found:?}");
    assert!(found.all("port").iter().all(|port| port.starts_with("ok free")), "{found:?}");
    assert!(found.one("mirror").contains("compared at"), "it is there without the daemon: {found:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_daemon_says_of_itself_is_handed_on() {
    let sandbox = demo_sandbox().await;
    fail(&sandbox, "locked");
    let daemon = Spotgate::start(&with_ports(&configuration(&source(&sandbox, ""), ALONE)));
    let said = async || daemon.get("/readyz").await.1["degraded"].to_string().contains("(locked)");
    daemon.until("it says so", said).await;
    sandbox.set_fail(None);
    let found = doctor(&daemon.configuration()).await;
    let said = found.all("daemon");
    assert!(said[0].starts_with("fail ") && said[0].contains("cannot decide"), "{said:?}");
    assert!(
        said.iter().any(|said| said.starts_with("warn it says: source: ") && said.contains("(locked)")),
        "{said:?}"
    );
    assert!(found.one("sign_in").starts_with("ok "), "it is mended meanwhile: {found:?}");
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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_file_is_read_and_odd_records_are_said() {
    let folder = tempfile::tempdir().unwrap();
    let path = configured(&folder, &configuration(FILE_SOURCE, ALONE));
    let write = |records: Value| std::fs::write(folder.path().join("tokens.json"), records.to_string()).unwrap();
    let found = doctor(&path).await;
    assert!(found.one("source").contains("(bad_file); create the file"), "{found:?}");
    write(json!([record(1, "abc-123"), with(record(2, "abc-1234"), json!({"ValidTo": "soon"})), record(3, "x")]));
    let found = doctor(&path).await;
    let said = found.all("source");
    assert!(said.len() == 2 && said[0].ends_with("holds 2 access tokens"), "{said:?}");
    assert!(said[1].starts_with("warn record 2 (Id 2) is left out: ValidTo"), "{said:?}");
    assert!(found.one("clock").starts_with("ok it is 20"), "{found:?}");
    write(json!([]));
    assert!(doctor(&path).await.one("source").starts_with("warn "));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_router_that_takes_orders_is_told_from_one_that_does_not() {
    let nowhere = UdpSocket::bind("127.0.0.1:0").unwrap();
    let options = |secret: &str| router::Options::new(nowhere.local_addr().unwrap(), secret.as_bytes());
    let good = Router::start(options(SECRET)).await.unwrap();
    let deaf = Router::start(options("another shared secret").at([127, 0, 0, 2].into())).await.unwrap();
    let refusing = Router::start(options(SECRET).at([127, 0, 0, 3].into())).await.unwrap();
    refusing.change(|quirks| quirks.refuse = Some(ErrorCause(501)));
    let nas = |name: &str, address: &str, port: u16| {
        format!(
            "[[nas]]\nname = \"{name}\"\naddress = \"{address}\"\nsecret = \"{SECRET}\"\ndisconnect_port = {port}\n"
        )
    };
    let more = [
        nas("deaf", "127.0.0.2", deaf.incoming().port()),
        nas("refusing", "127.0.0.3", refusing.incoming().port()),
        nas("many", "10.1.0.0/24", 3799),
        nas("mute", "10.2.0.1", 0),
    ];
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("tokens.json"), json!([record(1, "abc-123")]).to_string()).unwrap();
    let extra = format!("disconnect_port = {}\n{}", good.incoming().port(), more.concat());
    let path = configured(&folder, &configuration(FILE_SOURCE, &extra));
    let (clock, deadline) = (Clock::system(), Duration::from_secs(10));
    let found = doctor(&path).await;
    assert!(clock.now().mono < deadline, "they are asked at once");
    assert!(found.about("disconnect", "front-desk").starts_with("ok "), "{found:?}");
    let silent = found.about("disconnect", "deaf");
    assert!(silent.starts_with("warn no answer"), "{silent}");
    let port = format!("`/radius incoming set accept=yes port={}`", deaf.incoming().port());
    assert!(silent.contains(&port) && silent.contains("secret") && silent.contains("firewall"), "{silent}");
    assert!(found.about("disconnect", "refusing").contains("Administratively-Prohibited"), "{found:?}");
    assert!(found.about("disconnect", "many").starts_with("ok not tried: 10.1.0.0/24 is a network"), "{found:?}");
    assert!(found.about("disconnect", "mute").starts_with("ok not tried: disconnect_port = 0"), "{found:?}");
    assert_eq!((good.counts().requests, deaf.counts().bad_requests), (1, 3));
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
