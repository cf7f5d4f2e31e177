//! Debian's FreeRADIUS in front of spotgate: by its rest module, with the configuration of docs/freeradius, and as a proxy. radclient is
//! the router.

use std::net::UdpSocket;
use std::process::Command;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::process::{Process, place, until};
use crate::support::{
    FILE_SOURCE, KEY, SECRET, Spotgate, configuration, printed, record, repository_file, run, tool, with,
};

const ASKER: &str = "freeradius-for-tests";
const ROUTER_SECRET: &str = "between router and freeradius";
const KEYS: &str = "rate_limit = \"10M/5M\"\ngroup = \"guests\"\n[[nas]]\nname = \"lobby\"\naddress = \"192.0.2.9\"\n\
                    secret = \"correct horse battery\"\ncode_in = \"password\"\n[[http.api_key]]\nname = \"freeradius\"\n\
                    key = \"freeradius-for-tests\"\nscopes = [\"freeradius\"]\n";

/// spotgate, and FreeRADIUS in front of it.
struct Site {
    spotgate: Spotgate,
    freeradius: Process,
    folder: TempDir,
    /// Logins and accounting by rest, logins and accounting by proxy.
    ports: [u16; 4],
}

/// Ports that are free: FreeRADIUS takes none that the kernel picks.
fn free<const N: usize>() -> [u16; N] {
    let sockets: [UdpSocket; N] = std::array::from_fn(|_| UdpSocket::bind("127.0.0.1:0").unwrap());
    sockets.map(|socket| socket.local_addr().unwrap().port())
}

impl Site {
    async fn start(key: &str) -> Self {
        Self::patient(key, "10.0").await
    }

    /// With another time that its rest module waits for spotgate, in seconds.
    async fn patient(key: &str, timeout: &str) -> Self {
        tool("freeradius");
        let records = [
            record(1, "kx7q-91mp"),
            record(3, "ünï-cödé"),
            with(record(2, "old-77"), json!({"ValidTo": "2026-01-01T00:00:00Z"})),
        ];
        let home = tempfile::tempdir().unwrap();
        std::fs::write(home.path().join("tokens.json"), Value::from(records.to_vec()).to_string()).unwrap();
        let spotgate = Spotgate::start_in(home, &configuration(FILE_SOURCE, KEYS));
        let folder = tempfile::tempdir().unwrap();
        for (file, blank, value) in [
            ("mods-available/spotgate", "127.0.0.1:8080", spotgate.http.to_string()),
            ("policy.d/spotgate", "Bearer KEY", format!("Bearer {key}")),
        ] {
            let text = repository_file(&format!("docs/freeradius/{file}"));
            assert!(text.contains(blank), "{file}");
            let file = folder.path().join(file);
            std::fs::create_dir_all(file.parent().unwrap()).unwrap();
            std::fs::write(
                file,
                text.replace(blank, &value).replace("timeout = 10.0", &format!("timeout = {timeout}")),
            )
            .unwrap();
        }
        let ports = free();
        let names =
            ["@REST_AUTH@", "@REST_ACCT@", "@PROXY_AUTH@", "@PROXY_ACCT@", "@SPOTGATE_AUTH@", "@SPOTGATE_ACCT@"];
        let of_spotgate = [spotgate.auth.port(), spotgate.accounting.port()];
        let values: Vec<String> = ports.iter().chain(&of_spotgate).map(u16::to_string).collect();
        let mut blanks: Vec<(&str, &str)> = names.into_iter().zip(values.iter().map(String::as_str)).collect();
        blanks.push(("@SECRET@", SECRET));
        place("freeradius", folder.path(), "radiusd.conf", &blanks);
        let mut command = Command::new("freeradius");
        // As `-X`, but with threads, as it is run.
        command.args(["-fxx", "-l", "stdout", "-d"]).arg(folder.path());
        let freeradius = Process::start("freeradius", command, folder.path());
        freeradius.until_said("Ready to process requests").await;
        Self { spotgate, freeradius, folder, ports }
    }

    /// What radclient says to the answer of one of the ports.
    fn radclient(&self, port: usize, attributes: &str) -> String {
        printed(&run(&mut self.asks(port, attributes, ["1", "5"])))
    }

    /// A radclient that asks at one of the ports, so often and so many seconds apart.
    fn asks(&self, port: usize, attributes: &str, [tries, seconds]: [&str; 2]) -> Command {
        let file = self.folder.path().join("request.txt");
        // A line without anything begins another request.
        let lines: Vec<&str> = attributes.lines().filter(|line| !line.is_empty()).collect();
        std::fs::write(&file, lines.join("\n")).unwrap();
        let kind = if port.is_multiple_of(2) { "auth" } else { "acct" };
        let mut command = Command::new("radclient");
        command.args(["-x", "-r", tries, "-t", seconds, "-f"]).arg(file);
        command.args([&format!("127.0.0.1:{}", self.ports[port]), kind, ROUTER_SECRET]);
        command
    }

    async fn sessions(&self) -> Vec<Value> {
        self.spotgate.read("/v1/sessions").await.1["sessions"].as_array().unwrap().clone()
    }
}

const DEVICE: &str = "Calling-Station-Id = \"3C:06:30:AA:19:01\"\nFramed-IP-Address = 10.5.88.41\n\
                      Acct-Session-Id = \"80300001\"\nNAS-IP-Address = 127.0.0.1\nNAS-Identifier = \"front-desk\"\n";

fn login() -> String {
    format!("User-Name = \"kx7q-91mp\"\nUser-Password = \"kx7q-91mp\"\n{DEVICE}")
}

/// The Class of an answer, as radclient takes it.
fn class(answer: &str) -> String {
    let line = answer.lines().find(|line| line.trim_start().starts_with("Class = ")).unwrap();
    line.trim().to_owned()
}

async fn a_session_is_let_in_counted_and_over(site: &Site, auth: usize, acct: usize) {
    let login = |more: &str| site.radclient(auth, &format!("User-Name = \"kx7q-91mp\"\n{more}\n{DEVICE}"));
    for password in ["User-Password = \"kx7q-91mp\"", "CHAP-Password = \"kx7q-91mp\"", "User-Password = \"\""] {
        let answer = login(password);
        for held in [
            "Received Access-Accept",
            "Session-Timeout = 3",
            "Acct-Interim-Interval = 300",
            "Port-Limit = 2",
            "Mikrotik-Rate-Limit = \"10M/5M\"",
            "Mikrotik-Group = \"guests\"",
        ] {
            assert!(answer.contains(held), "{password}: {held}: {answer}");
        }
    }
    let beyond =
        format!("User-Name = \"ünï-cödé\"\nUser-Password = \"ünï-cödé\"\n{}", DEVICE.replace("19:01", "19:07"));
    assert!(site.radclient(auth, &beyond).contains("Received Access-Accept"));
    let gone = format!("Acct-Status-Type = Stop\nUser-Name = \"ünï-cödé\"\n{}", DEVICE.replace("19:01", "19:07"));
    assert!(site.radclient(acct, &gone).contains("Received Accounting-Response"));
    let class = class(&login("User-Password = \"kx7q-91mp\""));
    for wrong in [
        "User-Password = \"another\"",
        "CHAP-Password = \"another\"",
        "EAP-Message = 0x0201000d01\nMessage-Authenticator = 0x00",
    ] {
        let answer = login(wrong);
        assert!(answer.contains("Received Access-Reject") && answer.contains("Reply-Message = "), "{wrong}: {answer}");
    }
    let expired = site.radclient(auth, &format!("User-Name = \"old-77\"\nUser-Password = \"old-77\"\n{DEVICE}"));
    assert!(expired.contains("Received Access-Reject") && expired.contains("expired on 1 January"), "{expired}");
    let unknown =
        site.radclient(auth, "User-Name = \"3C:06:30:AA:19:77\"\nCalling-Station-Id = \"3C-06-30-AA-19-77\"\nNAS-Identifier = \"front-desk\"\n");
    assert!(unknown.contains("not known here"), "{unknown}");

    let account = |status: &str, more: &str| {
        let record = format!("User-Name = \"anonymous\"\n{class}\nAcct-Status-Type = {status}\n{more}\n{DEVICE}");
        assert!(site.radclient(acct, &record).contains("Received Accounting-Response"), "{status}");
    };
    account("Start", "");
    let [session] = &site.sessions().await[..] else { panic!("one session") };
    assert_eq!((&session["state"], &session["nas"]), (&json!("online"), &json!("front-desk")), "{session}");
    assert_eq!((&session["mac"], &session["ip"]), (&json!("3C:06:30:AA:19:01"), &json!("10.5.88.41")));
    account(
        "Interim-Update",
        "Acct-Session-Time = 600\nAcct-Input-Octets = 5\nAcct-Output-Octets = 7\nAcct-Output-Gigawords = 2",
    );
    let session = &site.sessions().await[0];
    assert_eq!((&session["input_octets"], &session["output_octets"]), (&json!(5), &json!((2_u64 << 32) + 7)));
    account("Stop", "Acct-Session-Time = 1200\nAcct-Terminate-Cause = Lost-Carrier");
    assert_eq!(site.sessions().await, [] as [Value; 0]);
    let (_, token) = site.spotgate.read("/v1/tokens/kx7q-91mp").await;
    assert_eq!(token["usage_seconds"], 1200, "{token}");

    // A restart of the router closes what it had.
    assert!(login("User-Password = \"\"").contains("Received Access-Accept"));
    account("Start", "");
    let began = "Acct-Status-Type = Accounting-On\nNAS-IP-Address = 127.0.0.1\nNAS-Identifier = \"front-desk\"\n";
    // What began within the second of a restart may have begun after it.
    let began = format!("{began}Acct-Session-Id = \"0\"\n");
    site.spotgate
        .until("the session is over", async || {
            assert!(site.radclient(acct, &began).contains("Received Accounting-Response"));
            site.sessions().await.is_empty()
        })
        .await;
}

#[tokio::test]
async fn its_rest_module_asks_and_reports_with_the_configuration_that_is_shipped() {
    let site = Site::start(ASKER).await;
    a_session_is_let_in_counted_and_over(&site, 0, 1).await;
    let (_, decisions) = site.spotgate.read("/v1/decisions").await;
    assert_eq!(decisions["decisions"][0]["via"], "freeradius");
    // Asked once more by authenticate, which admits nobody.
    let twice = |password: &str| {
        let login =
            format!("User-Name = \"kx7q-91mp\"\nUser-Password = \"{password}\"\nNAS-Port-Id = \"twice\"\n{DEVICE}");
        site.radclient(0, &login)
    };
    assert!(twice("kx7q-91mp").contains("Received Access-Accept"));
    assert_eq!(site.sessions().await.len(), 1);
    assert!(twice("another").contains("Received Access-Reject"));
    assert!(site.freeradius.said().contains("/v1/freeradius/authenticate"));
    assert!(!site.spotgate.log().contains("kx7q-91mp"));
    site.spotgate.stop();
}

#[tokio::test]
async fn a_login_is_answered_when_spotgate_answers_and_not_before() {
    let site = Site::start(ASKER).await;
    site.spotgate.signal("STOP");
    let router = Process::start("radclient", site.asks(0, &login(), ["5", "2"]), site.folder.path());
    let repeated = || site.freeradius.said().matches("Ignoring duplicate").count() == 2;
    until("the request is repeated twice", repeated).await;
    site.spotgate.signal("CONT");
    router.until_said("Received Access-Accept").await;
    site.spotgate.stop();
}

/// A Reject would be final.
#[tokio::test]
async fn a_login_that_spotgate_does_not_answer_is_left_unanswered() {
    let site = Site::patient(ASKER, "1.0").await;
    site.spotgate.signal("STOP");
    let answer = printed(&run(&mut site.asks(0, &login(), ["1", "3"])));
    assert!(answer.contains("No reply") && !answer.contains("Received"), "{answer}");
    site.spotgate.signal("CONT");
    let answer = site.radclient(0, &login());
    assert!(answer.contains("Received Access-Accept"), "{answer}");
    site.spotgate.stop();
}

#[tokio::test]
async fn spotgate_behind_its_proxy_is_as_in_front() {
    let site = Site::start(ASKER).await;
    a_session_is_let_in_counted_and_over(&site, 2, 3).await;
    site.spotgate.stop();
}

#[tokio::test]
async fn with_a_wrong_key_nobody_gets_in() {
    let site = Site::start("a-wrong-key").await;
    let answer = printed(&run(&mut site.asks(0, &login(), ["1", "2"])));
    assert!(answer.contains("No reply") && !answer.contains("Received"), "{answer}");
    site.spotgate.stop();
}

#[tokio::test]
async fn what_is_sent_otherwise_is_answered_in_words_and_admits_nobody() {
    let home = tempfile::tempdir().unwrap();
    std::fs::write(home.path().join("tokens.json"), json!([record(1, "kx7q-91mp")]).to_string()).unwrap();
    let spotgate = Spotgate::start_in(home, &configuration(FILE_SOURCE, KEYS));
    let ask = async |path: &str, body: Value| {
        spotgate.post(&format!("/v1/freeradius/{path}"), Some(ASKER), body.to_string()).await
    };
    let of = |value: &str| json!({"type": "string", "value": [value]});
    let guest = json!({"User-Name": of("kx7q-91mp"), "NAS-Identifier": of("front-desk")});
    for (path, body, status) in [
        ("authorize", json!([]), 400),
        ("authorize", json!({}), 422),
        ("authorize", json!({"NAS-Identifier": of("nowhere"), "NAS-IP-Address": of("192.0.2.77")}), 422),
        ("authorize", with(guest.clone(), json!({"NAS-Identifier": of("nowhere")})), 422),
        ("authorize", with(guest.clone(), json!({"User-Name": {"value": ["kx7q-91mp", "another"]}})), 401),
        ("authorize", with(guest.clone(), json!({"FreeRADIUS-Proxied-To": of("127.0.0.1")})), 401),
        ("authorize", json!({"NAS-Identifier": of("front-desk")}), 401),
        ("authorize", json!({"NAS-Identifier": of("front-desk"), "User-Name": 7}), 401),
        ("authorize", with(guest.clone(), json!({"User-Password": {"value": []}, "CHAP-Password": of("0x00")})), 401),
        ("authorize", with(guest.clone(), json!({"CHAP-Password": of("0x0")})), 401),
        ("authorize", with(guest.clone(), json!({"CHAP-Password": of(&format!("0x{}", "00".repeat(17)))})), 401),
        ("authorize", with(guest.clone(), json!({"MS-CHAP2-Response": of("0x00")})), 401),
        ("authorize", with(guest.clone(), json!({"User-Password": of("another")})), 401),
        // In the lobby the code is the password.
        (
            "authorize",
            json!({"NAS-IP-Address": of("192.0.2.9"), "User-Name": of("kx7q-91mp"), "User-Password": of("x")}),
            401,
        ),
        ("authenticate", with(guest.clone(), json!({"User-Password": of("another")})), 401),
        ("authenticate", json!({}), 422),
        ("accounting", json!({"NAS-Identifier": of("front-desk"), "Acct-Status-Type": of("Start")}), 422),
        ("accounting", json!("Start"), 400),
    ] {
        let (answered, answer) = ask(path, body.clone()).await;
        assert_eq!(answered, status, "{path} {body}: {answer}");
        let words = if status == 401 { &answer["reply:Reply-Message"]["value"][0] } else { &answer["detail"] };
        assert!(words.as_str().is_some_and(|words| words.len() > 20), "{path} {body}: {answer}");
    }
    let (_, sessions) = spotgate.read("/v1/sessions").await;
    assert_eq!(sessions["sessions"], json!([]));
    let lobby =
        json!({"NAS-IP-Address": of("192.0.2.9"), "User-Name": of("someone"), "User-Password": of("kx7q-91mp")});
    assert_eq!(ask("authenticate", lobby.clone()).await.0, 204);
    let (status, answer) = ask("authorize", lobby).await;
    assert_eq!((status, &answer["reply:Port-Limit"]), (200, &json!({"op": ":=", "do_xlat": false, "value": [2]})));
    for (key, status) in [(None, 401), (Some(KEY), 403)] {
        assert_eq!(spotgate.post("/v1/freeradius/accounting", key, "{}".to_owned()).await.0, status);
    }
    spotgate.stop();
}
