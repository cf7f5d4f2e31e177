//! A daemon on PostgreSQL and the sandbox Nexudus, with every kind of secret in use: right, wrong, and where it does not belong.

use std::net::UdpSocket;
use std::time::Duration;

use hmac::{Hmac, KeyInit as _, Mac as _};
use reqwest::{Client, RequestBuilder};
use serde_json::{Value, json};
use sha2::Sha256;
use spotgate::clock::Clock;
use spotgate::radius::attribute::StatusType;
use spotgate::sandbox::hotspot::{Hotspot, Record};
use spotgate::sandbox::ironwifi;

use super::{SECRETS, Watch, heart, secret};
use crate::nexudus::sandbox;
use crate::support::authority::Authority;
use crate::support::postgres::Postgres;
use crate::support::raw::Raw;
use crate::support::{Spotgate, client_builder, configured, mac, record, with};

const CODE: &str = "Marked-Code-Of-A-Guest";
const GUESS: &str = "Marked-Guess-Of-A-Guest";
const GUESSED_PASSWORD: &str = "Marked-Password-Of-A-Guest";
const GUESSED_KEY: &str = "Marked-Key-That-Is-None";
const READER: &str = "Marked-Key-That-Reads";
const LINK: &str = "http://login.example.net/login";

/// What codes are called: who may do everything sees them in full.
const OF_GUESTS: [&str; 2] = ["a code", "a guess"];

fn configuration(nexudus: &str, ironwifi: &str, database: &str) -> String {
    let secrets = SECRETS.map(|(name, secret)| (format!("@{name}@"), secret));
    let text = r#"
[source]
kind = "nexudus"
[source.nexudus]
base_url = "@nexudus@"
username = "demo@example.org"
password = "@source.nexudus.password@"
totp_secret = "@source.nexudus.totp_secret@"
webhook_secret = "@source.nexudus.webhook_secret@"
request_timeout = "1s"
requests_per_minute = 6000
write_back = true
[[nas]]
name = "front-desk"
address = "127.0.0.1"
secret = "@nas.secret@"
hotspot_hosts = ["login.example.net"]
disconnect_port = 0
[[nas]]
name = "lobby"
address = "127.0.0.5"
secret = "@nas.secret@-of-the-lobby"
disconnect_port = 0
hand_over = "opennds"
fas_key = "@nas.fas_key@"
hotspot_hosts = ["10.5.50.1:2050"]
[radius]
auth_listen = ["127.0.0.1:0"]
acct_listen = ["127.0.0.1:0"]
[radius.radsec]
listen = ["127.0.0.1:0"]
certificate = "radsec.pem"
private_key = "radsec.key"
client_ca = "ca.pem"
[http]
listen = ["127.0.0.1:0"]
[[http.api_key]]
name = "all"
key = "@http.api_key.key@"
scopes = ["authorize", "accounting", "ironwifi", "freeradius", "read", "admin"]
nas = "front-desk"
[[http.api_key]]
name = "reader"
key = "@reader@"
scopes = ["read"]
[ironwifi.push]
base_url = "@ironwifi@"
api_key = "@ironwifi.push.api_key@"
nas = "front-desk"
requests_per_minute = 6000
[portal]
public_url = "https://wifi.example.org"
[admin]
password = "@admin.password@"
viewer_password = "@admin.viewer_password@"
[store]
kind = "postgres"
path = "state"
url = "@database@"
[telemetry]
log = "json"
level = "trace,hyper::proto=trace,hyper_util::client=trace,reqwest::connect=trace,rustls::client=trace,tokio_postgres=trace"
metrics_listen = "127.0.0.1:0"
"#;
    let more = [("nexudus", nexudus), ("ironwifi", ironwifi), ("database", database), ("reader", READER)];
    let more = more.map(|(name, value)| (format!("@{name}@"), value));
    secrets.into_iter().chain(more).fold(text.to_owned(), |text, (name, value)| text.replace(&name, value))
}

/// A daemon in use, and what is seen of it on the way.
struct Life {
    spotgate: Spotgate,
    browser: Client,
    watch: Watch,
}

/// What an answer holds: status, headers and text.
struct Seen {
    status: u16,
    headers: Vec<(String, String)>,
    text: String,
}

impl Seen {
    fn header(&self, name: &str) -> &str {
        self.headers.iter().find(|(known, _)| known == name).map_or("", |(_, value)| value)
    }

    fn cookie(&self) -> String {
        self.header("set-cookie").split(';').next().unwrap().to_owned()
    }

    /// What a field of a form holds.
    fn field(&self, name: &str) -> String {
        let value = self.text.split(&format!("name=\"{name}\" value=\"")).nth(1);
        value.unwrap_or_else(|| panic!("{name} in {}", self.text)).split('"').next().unwrap().to_owned()
    }
}

impl Life {
    fn at(&self, path: &str) -> String {
        format!("http://{}{path}", self.spotgate.http)
    }

    async fn see(&self, request: RequestBuilder) -> Seen {
        let answer = request.send().await.unwrap();
        let status = answer.status().as_u16();
        let headers = answer
            .headers()
            .iter()
            .map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned()))
            .collect();
        Seen { status, headers, text: answer.text().await.unwrap() }
    }

    /// Asks, and looks for what must not be in the answer.
    async fn ask(&mut self, what: &str, request: RequestBuilder, but_for: &[&str]) -> Seen {
        let seen = self.see(request).await;
        self.watch.look_in(what, &format!("{:?}\n{}", seen.headers, seen.text), but_for);
        seen
    }

    async fn get(&mut self, path: &str, key: &str, but_for: &[&str]) -> Seen {
        let request = self.browser.get(self.at(path)).bearer_auth(key);
        self.ask(path, request, but_for).await
    }

    async fn post(&mut self, path: &str, key: &str, body: &str, but_for: &[&str]) -> Seen {
        let request = self.browser.post(self.at(path)).bearer_auth(key).body(body.to_owned());
        self.ask(path, request, but_for).await
    }

    async fn form(&mut self, path: &str, cookie: &str, form: &[(&str, &str)], but_for: &[&str]) -> Seen {
        let request = self.browser.post(self.at(path)).header("cookie", cookie).form(form);
        self.ask(path, request, but_for).await
    }

    async fn page(&mut self, path: &str, cookie: &str, but_for: &[&str]) -> Seen {
        let request = self.browser.get(self.at(path)).header("cookie", cookie);
        self.ask(path, request, but_for).await
    }

    fn hotspot(&self, secret: &str) -> Hotspot {
        let patience = Duration::from_millis(400);
        Hotspot::new(self.spotgate.auth, secret.as_bytes(), "front-desk")
            .accounting_at(self.spotgate.accounting)
            .patience(patience, 1)
    }

    /// Of routers: logins, reports, and packets that are none.
    async fn routers(&mut self) {
        let hotspot = self.hotspot(secret("nas.secret")).patience(Duration::from_secs(5), 2);
        let admitted = hotspot.login_pap(CODE, CODE, mac(1)).await.unwrap();
        assert!(admitted.accept);
        assert!(!hotspot.login_pap(GUESS, GUESS, mac(2)).await.unwrap().accept);
        assert!(!hotspot.login_pap(CODE, GUESSED_PASSWORD, mac(1)).await.unwrap().accept);
        assert!(!hotspot.login_chap(CODE, GUESSED_PASSWORD, mac(1)).await.unwrap().accept);
        let now = Clock::system().now().wall;
        let id = admitted.session_id.as_deref().unwrap();
        for status in [StatusType::Start, StatusType::InterimUpdate] {
            let start = Record::start(CODE, mac(1), id, now);
            let record = Record { class: admitted.class.as_deref(), status, seconds: 60, ..start };
            hotspot.account(&record).await.unwrap();
        }
        // Of a session that nobody knows, with a code for its name.
        let astray = Record::start(CODE, mac(4), GUESS, now);
        hotspot.account(&astray).await.unwrap();
        // With another secret: dropped.
        let wrong = self.hotspot(GUESSED_KEY);
        assert!(wrong.login_pap(CODE, CODE, mac(1)).await.is_err());
        assert!(wrong.account(&astray).await.is_err());
        // No packets, with all that is secret in them.
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        for (_, secret) in SECRETS {
            let length = u16::try_from(20 + 2 + secret.len()).unwrap().to_be_bytes();
            let named = [
                &[1, 7, length[0], length[1]][..],
                &[7; 16],
                &[1, u8::try_from(2 + secret.len()).unwrap()],
                secret.as_bytes(),
            ]
            .concat();
            for packet in [secret.as_bytes(), &named, &named[..named.len() - 1], &[&[4], &named[1..]].concat()] {
                for to in [self.spotgate.auth, self.spotgate.accounting] {
                    socket.send_to(packet, to).unwrap();
                }
            }
        }
        // No TLS either.
        let mut peer = Raw::connect([127, 0, 0, 1], self.spotgate.radsec.unwrap()).await;
        peer.send(secret("nas.secret").as_bytes()).await;
        peer.rest().await.expect("the end of the connection");
    }

    /// Somebody types what he should not, where he should not. From then on it is a guess, which who may do everything sees.
    async fn misplaced(&mut self) {
        let hotspot = self.hotspot(secret("nas.secret")).patience(Duration::from_secs(5), 2);
        for (_, secret) in SECRETS.iter().filter(|(_, secret)| !secret.is_empty()) {
            for (name, password) in [(CODE, *secret), (*secret, *secret)] {
                let _ = hotspot.login_pap(name, password, mac(3)).await;
                let _ = hotspot.login_chap(name, password, mac(4)).await;
            }
        }
        let question =
            json!({"access_code": secret("nas.secret"), "mac": mac(6).to_string(), "nas": "front-desk"}).to_string();
        self.post("/v1/authorize", secret("http.api_key.key"), &question, &[]).await;
        self.get("/v1/decisions", READER, &[]).await;
        self.get("/readyz", READER, &[]).await;
    }

    /// Of scripts, of IronWifi, FreeRADIUS and Nexudus.
    async fn machines(&mut self) {
        let all = secret("http.api_key.key");
        for code in [CODE, GUESS] {
            // Who guesses is soon not listened to.
            let mac = mac(if code == CODE { 1 } else { 5 }).to_string();
            let question = json!({"access_code": code, "mac": mac, "nas": "front-desk"}).to_string();
            let bodies = [
                ("/v1/authorize", question.clone()),
                ("/v1/authorize", question.replace('}', ", }")),
                ("/v1/authorize", question.replace("front-desk", code)),
                ("/v1/authorize", json!({"access_code": code, "mac": code}).to_string()),
                ("/v1/accounting", json!({"event": "start", "nas": "front-desk", "session_id": code, "mac": mac, "access_code": code}).to_string()),
                ("/v1/accounting", json!({"event": code, "nas": code, "session_id": code, "mac": code}).to_string()),
                ("/v1/ironwifi/authenticate", json!({"voucher": code, "client_mac": mac, "email": code}).to_string()),
                ("/v1/ironwifi/authenticate", json!({"voucher": [code], "user": code}).to_string()),
                ("/v1/freeradius/authorize", json!({"User-Name": {"type": "string", "value": [code]}, "Calling-Station-Id": {"type": "string", "value": [mac]}}).to_string()),
                ("/v1/freeradius/authenticate", json!({"User-Name": {"type": "string", "value": [code]}, "User-Password": {"type": "string", "value": [GUESSED_PASSWORD]}}).to_string()),
                ("/v1/freeradius/accounting", json!({"User-Name": {"type": "string", "value": [code]}}).to_string()),
            ];
            for (path, body) in bodies {
                for key in [all, READER, GUESSED_KEY] {
                    // Who asks by a code may read it; nobody is told it by a problem.
                    self.post(path, key, &body, &[]).await;
                }
            }
            for path in [
                format!("/v1/tokens/{code}"),
                format!("/v1/decisions?code={code}"),
                format!("/nowhere/{code}?code={code}"),
                format!("/v1/sessions/{code}"),
                format!("/v1/decisions?reason={code}"),
            ] {
                self.get(&path, READER, &[]).await;
                self.get(&path, GUESSED_KEY, &[]).await;
                self.get(&path, all, &OF_GUESTS).await;
            }
            self.post(&format!("/v1/tokens/{code}/refresh"), all, "", &OF_GUESTS).await;
        }
        for path in ["/v1/sessions", "/v1/decisions"] {
            self.get(path, READER, &[]).await;
            assert!(self.get(path, all, &OF_GUESTS).await.text.contains(CODE), "{path} is about it");
        }
        let basic = self.browser.post(self.at("/v1/ironwifi/webhook")).basic_auth("ironwifi", Some(all)).body(CODE);
        self.ask("a webhook of IronWifi", basic, &[]).await;
        let body = json!([{"Id": 1, "AccessCode": CODE}]).to_string();
        for key in [secret("source.nexudus.webhook_secret"), GUESSED_KEY] {
            let mac = Hmac::<Sha256>::new_from_slice(key.as_bytes()).unwrap().chain_update(body.as_bytes());
            let signature = data_encoding::HEXUPPER.encode(&mac.finalize().into_bytes());
            self.watch.over("a signature", &signature);
            let hook = self
                .browser
                .post(self.at("/v1/nexudus/webhook"))
                .header("x-nexudus-hook-signature", signature)
                .body(body.clone());
            self.ask("a webhook of Nexudus", hook, &[]).await;
        }
    }

    /// Of a guest by browser: a ticket, and a badge.
    async fn guest(&mut self) {
        let device = mac(1).to_string();
        let arrival = [("mac", device.as_str()), ("link-login-only", LINK)];
        for code in [GUESS, CODE] {
            // Its own page shows him what he typed.
            let query = self.browser.get(self.at("/login")).query(&arrival).query(&[("code", code)]);
            self.ask("the page with his code", query, &OF_GUESTS).await;
        }
        let form = |code| [&arrival[..], &[("code", code)]].concat();
        self.form("/login", "", &form(GUESS), &OF_GUESTS).await;
        let let_in = self.see(self.browser.post(self.at("/login")).form(&form(CODE))).await;
        assert_eq!(let_in.status, 303, "{}", let_in.text);
        let to = reqwest::Url::parse(let_in.header("location")).unwrap();
        let ticket = to.query_pairs().find(|(name, _)| name == "username").unwrap().1.into_owned();
        let badge = let_in.cookie();
        assert!(ticket.starts_with("sg-") && badge.starts_with("spotgate="), "{ticket} {badge}");
        self.watch.over("a ticket", &ticket);
        self.watch.over("a badge", badge.split_once('=').unwrap().1);
        let hotspot = self.hotspot(secret("nas.secret")).patience(Duration::from_secs(5), 2);
        assert!(hotspot.login_pap(&ticket, &ticket, mac(1)).await.unwrap().accept);
        assert!(!hotspot.login_pap(&ticket, &ticket, mac(9)).await.unwrap().accept, "it is another's");
        let status = self.page("/status?nas=front-desk", &badge, &[]).await;
        assert_eq!(status.status, 200);
        self.page(&format!("/status?t={}", badge.split_once('=').unwrap().1), "", &["a badge"]).await;
        self.form("/logout", &badge, &[("t", badge.split_once('=').unwrap().1)], &["a badge"]).await;
        // At openNDS: its key is in what he is sent on with.
        let hid = "0123456789abcdef".repeat(4);
        let arrival = [
            ("hid", hid.as_str()),
            ("mac", &device),
            ("link-login-only", "http://10.5.50.1:2050/login"),
            ("code", CODE),
        ];
        let let_in = self.form("/login", "", &arrival, &[]).await;
        assert!(let_in.header("location").starts_with("http://10.5.50.1:2050/opennds_auth/?tok="), "{}", let_in.text);
    }

    /// At the console, in both roles.
    async fn operators(&mut self) {
        for typed in [GUESSED_PASSWORD, secret("nas.secret")] {
            assert_eq!(self.form("/admin/sign-in", "", &[("password", typed), ("name", "Ana")], &[]).await.status, 403);
        }
        for (role, may_see) in [("admin.password", &OF_GUESTS[..]), ("admin.viewer_password", &[])] {
            let is_operator = role == "admin.password";
            let signed_in =
                self.see(self.browser.post(self.at("/admin/sign-in")).form(&[("password", secret(role))])).await;
            assert_eq!(signed_in.status, 303);
            let cookies: Vec<_> = signed_in
                .headers
                .iter()
                .filter(|(name, _)| name == "set-cookie")
                .map(|(_, value)| value.clone())
                .collect();
            for cookie in &cookies {
                self.watch.over("a cookie of operators", cookie.split(';').next().unwrap().split_once('=').unwrap().1);
            }
            let cookie = signed_in.cookie();
            let csrf = self.page("/admin", &cookie, may_see).await.field("csrf");
            for path in [
                "/admin",
                "/admin/sessions",
                "/admin/why",
                "/admin/decisions",
                "/admin/tokens",
                "/admin/tokens/1",
                "/admin/routers",
                "/admin/actions",
            ] {
                let page = self.page(path, &cookie, may_see).await;
                assert!(page.status == 200 && page.text.contains(&csrf), "{path}");
            }
            for (path, field) in
                [("/admin/why", "who"), ("/admin/why", "mac"), ("/admin/why", "nas"), ("/admin/tokens", "code")]
            {
                for typed in [CODE, GUESS, secret("nas.secret")] {
                    // What somebody has typed stands in his field again.
                    let echoed = [may_see, &OF_GUESTS, &["nas.secret"]].concat();
                    self.form(path, &cookie, &[(field, typed)], &echoed).await;
                }
            }
            for act in ["/admin/tokens/1/refresh", "/admin/tokens/1/forget-usage"] {
                self.form(act, &cookie, &[("csrf", &csrf)], &[]).await;
                let status = self.form(act, &cookie, &[("csrf", GUESSED_KEY)], may_see).await.status;
                assert_eq!(status, 403, "{act}, {is_operator}");
            }
            // It is in the forms of its own pages, and nowhere else.
            self.watch.over("a token of forms", &csrf);
            self.form("/admin/sign-out", &cookie, &[("csrf", &csrf)], &[]).await;
        }
    }

    /// What anybody may ask for, and what commands print, each with what may stand there.
    async fn bystanders(&mut self, commands: &[(&[&str], &[&str])]) {
        for path in
            ["/healthz", "/readyz", "/capport", "/openapi.json", "/login", "/status", "/admin", "/admin/sign-in"]
        {
            self.page(path, "", &[]).await;
        }
        let metrics = self.browser.get(format!("http://{}/metrics", self.spotgate.metrics));
        assert!(self.ask("the metrics", metrics, &[]).await.text.contains("spotgate_decisions_total"));
        for (command, but_for) in commands {
            let (_, said) = self.spotgate.command(command);
            self.watch.look_in(&command.join(" "), &said, but_for);
        }
    }

    /// A file with all of it in the wrong places, and the right one again.
    async fn reloads(&mut self, text: &str) {
        let reload = async |life: &Self, text: &str, result: &str| {
            let name = format!("spotgate_reloads_total{{result=\"{result}\"}}");
            let before = life.spotgate.metric(&name).await;
            configured(&life.spotgate.folder, text);
            life.spotgate.signal("HUP");
            life.spotgate.until(result, async || life.spotgate.metric(&name).await > before).await;
        };
        for (name, secret) in SECRETS.iter().filter(|(_, secret)| !secret.is_empty()) {
            let wrong = [
                text.replacen(&format!("\"{secret}"), &format!("{secret}\""), 1),
                format!("{text}\nlevle = \"{secret}\"\n"),
            ];
            for wrong in &wrong[usize::from(*name == "store.url")..] {
                reload(self, wrong, "refused").await;
            }
        }
        reload(self, text, "done").await;
    }
}

const COMMANDS: [(&[&str], &[&str]); 8] = [
    (&["doctor", "--json"], &[]),
    (&["check"], &[]),
    (&["explain", CODE], &OF_GUESTS),
    (&["explain", GUESS, "--json"], &OF_GUESTS),
    (&["sessions", "--json"], &OF_GUESTS),
    (&["decisions", "--json"], &OF_GUESTS),
    (&["tokens", CODE, "--json"], &OF_GUESTS),
    (&["disconnect", "01M8NZJHS1FKHZ2QTNN10XXFXM"], &[]),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_secret_comes_out_of_a_busy_life() {
    let (sandbox, ironwifi) = (
        sandbox(vec![with(record(1, CODE), json!({"UserLimit": 50, "MinutesIncluded": 6000, "MinutesLeft": 6000}))])
            .await,
        ironwifi::Sandbox::start_local().await.unwrap(),
    );
    sandbox.change_users(|users| {
        users[0].password = secret("source.nexudus.password").to_owned();
        users[0].totp_secret = Some(secret("source.nexudus.totp_secret").to_owned());
    });
    let mut database = Postgres::start();
    let password = secret("store.url");
    database.ask(&format!("CREATE ROLE keeper LOGIN SUPERUSER PASSWORD '{password}'"));
    let url = format!("postgres://keeper:{password}@127.0.0.1:{}/spotgate", database.port());
    let (folder, authority) = (tempfile::tempdir().unwrap(), Authority::new("routers and spotgate"));
    std::fs::write(folder.path().join("ca.pem"), &authority.certificate).unwrap();
    let pair = authority.issue(&["localhost"]);
    pair.write(folder.path(), "radsec");
    let text = configuration(&sandbox.base_url(), &ironwifi.base_url(), &url);
    let spotgate = Spotgate::start_in(folder, &text);

    let mut watch = Watch::new();
    for (what, secret) in [
        ("radius.radsec.private_key", heart(&pair.key)),
        ("a code", CODE),
        ("a guess", GUESS),
        ("a guessed password", GUESSED_PASSWORD),
        ("a key that is none", GUESSED_KEY),
        ("a key that reads", READER),
    ] {
        watch.over(what, secret);
    }
    let browser = client_builder().tls_certs_only([]).redirect(reqwest::redirect::Policy::none()).build().unwrap();
    let mut life = Life { spotgate, browser, watch };
    let is_mirrored = async || life.spotgate.metric("spotgate_tokens").await == 1.0;
    life.spotgate.until("the token is here", is_mirrored).await;
    life.routers().await;
    life.machines().await;
    life.guest().await;
    life.operators().await;
    life.bystanders(&COMMANDS).await;
    life.reloads(&text).await;
    life.watch.look_at_process(life.spotgate.id());
    // Nexudus and the database go, and all is asked once more.
    sandbox.set_fail(Some("down".parse().unwrap()));
    database.kill();
    let is_known = async || !life.spotgate.get("/readyz").await.1["degraded"].to_string().contains("[]");
    life.spotgate.until("that is known", is_known).await;
    life.bystanders(&[(&["doctor"], &[])]).await;
    life.machines_away().await;
    life.misplaced().await;

    let state: Value =
        serde_json::from_slice(&std::fs::read(life.spotgate.folder.path().join("state/state.json")).unwrap()).unwrap();
    let refresh = state["nexudus"]["refresh_token"].as_str().expect("a refresh token was kept");
    life.watch.over("a refresh token", refresh);
    life.spotgate.signal("TERM");
    let (_, log) = life.spotgate.ended();
    for part in ["\"level\":\"DEBUG\"", "somebody could not sign in", "signed in to Nexudus"] {
        assert!(log.contains(part), "{part} in {log}");
    }
    life.watch.look_in("the log", &log, &[]);
    for telling in ["Bearer ", "totp=", "access_token=", "grant_type"] {
        assert!(!log.contains(telling), "{telling} in the log");
    }
    life.watch.is_silent(150);
}

impl Life {
    /// With nobody behind.
    async fn machines_away(&mut self) {
        let all = secret("http.api_key.key");
        for code in [CODE, GUESS] {
            let question = json!({"access_code": code, "mac": mac(7).to_string(), "nas": "front-desk"}).to_string();
            self.post("/v1/authorize", all, &question, &[]).await;
            self.post(&format!("/v1/tokens/{code}/refresh"), all, "", &OF_GUESTS).await;
        }
    }
}
