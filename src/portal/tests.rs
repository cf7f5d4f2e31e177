//! The guests' pages, asked as a browser asks them; the router's part is played by the gate itself.

use std::convert::Infallible;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use axum::body::{Body, to_bytes};
use axum::http::{HeaderMap, Request};
use hyper_util::service::TowerToHyperService;
use jiff::Timestamp;
use serde_json::Value;
use tokio::sync::watch;

use super::*;
use crate::catalogue::Catalogue;
use crate::clock::Clock;
use crate::config;
use crate::core::budget::Seconds;
use crate::core::decide::{Decision, Denial, Reason};
use crate::core::ending::Cause;
use crate::core::event::{News, Progress};
use crate::core::ident::{BusinessId, Code, Mac, TokenId};
use crate::core::login::{Claim, Login, Proof};
use crate::core::session::Report;
use crate::core::token::AccessToken;
use crate::gate::{Gate, Step, Supply, Via};
use crate::http::routes::router;
use crate::telemetry::metrics::Metrics;
use address::Peer;
use badge::{Badge, Key};
use language::{Language, words};

const CONFIGURATION: &str = r#"
[source]
kind = "file"
path = "none.json"
[source.nexudus]
time_zone = "Europe/Madrid"
[[nas]]
name = "front-desk"
address = "10.5.0.1"
secret = "correct horse battery"
hotspot_hosts = ["login.example.net", "10.5.88.1"]
business_ids = [1]
[[nas]]
name = "annex"
address = "10.6.0.1"
secret = "correct horse battery"
hotspot_hosts = ["annex.example.net"]
hand_over = "form"
disconnect_port = 0
[http]
trusted_proxies = ["192.0.2.100"]
[portal]
public_url = "https://wifi.example.org"
title = "Example Space"
terms_url = "https://www.example.org/terms"
"#;

const PHONE: Mac = Mac::new([0x02, 0, 0x5E, 0x10, 0, 1]);
const LAPTOP: Mac = Mac::new([0x02, 0, 0x5E, 0x10, 0, 2]);
const LINK: &str = "http://login.example.net/login";

struct World {
    router: axum::Router,
    gate: Arc<Gate>,
    app: Arc<App>,
    clock: Clock,
    live: watch::Sender<Arc<Live>>,
    /// So many so far: each has a name of its own.
    logins: AtomicU32,
}

/// What came back.
struct Answer {
    status: u16,
    headers: HeaderMap,
    text: String,
}

impl Answer {
    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    fn location(&self) -> reqwest::Url {
        assert_eq!(self.status, 303, "{}", self.text);
        reqwest::Url::parse("https://wifi.example.org/").unwrap().join(self.header("location")).unwrap()
    }

    /// What the address it leads to says of a name.
    fn leads_with(&self, name: &str) -> Option<String> {
        self.location().query_pairs().find(|(known, _)| known == name).map(|(_, value)| value.into_owned())
    }

    fn cookie(&self, name: &str) -> Option<String> {
        let set = self.headers.get_all("set-cookie").iter().map(|set| set.to_str().unwrap());
        let set = set.filter_map(|set| Some((set.split_once('=')?, set))).find(|((known, _), _)| *known == name);
        set.map(|((_, rest), all)| {
            assert!(all.contains("; HttpOnly; SameSite=Lax; Secure"), "{all}");
            rest.split(';').next().unwrap().to_owned()
        })
    }
}

fn token(id: i64, code: &str) -> AccessToken {
    AccessToken {
        id: TokenId(id),
        business: Some(BusinessId(1)),
        code: Code::parse(code).unwrap(),
        valid_from: None,
        valid_to: None,
        minutes_included: Some(120),
        minutes_left: Some(60),
        user_limit: Some(1),
        devices: Box::default(),
        last_access: None,
    }
}

impl World {
    fn new(tokens: Vec<AccessToken>) -> Self {
        Self::with(CONFIGURATION, tokens)
    }

    fn with(configuration: &str, tokens: Vec<AccessToken>) -> Self {
        let clock = Clock::manual("2026-11-23T12:00:00Z".parse().unwrap());
        let settings = config::from_str(configuration, "spotgate.toml".as_ref(), &|_| None).unwrap().settings;
        let catalogue = Arc::new(Catalogue::new(&settings.cache, None, false, clock.clone()));
        catalogue.replace(tokens.into_iter().map(Arc::new).collect());
        let supply = Arc::new(Supply {
            catalogue,
            health: Arc::default(),
            mirror: None,
            write_back: Arc::default(),
            hint: Arc::default(),
        });
        let gate = Arc::new(Gate::new(supply, Arc::default(), Arc::new(Metrics::default()), clock.clone()));
        let (live, current) = watch::channel(Arc::new(Live::new(settings).unwrap()));
        let app = Arc::new(App::new(Arc::clone(&gate), current, Portal::new(Key::new([7; 32]))));
        Self { router: router(&app), gate, app, clock, live, logins: AtomicU32::new(1) }
    }

    async fn send(&self, request: axum::http::request::Builder, from: &str, body: impl Into<Body>) -> Answer {
        let from: IpAddr = from.parse().unwrap();
        let request = request.extension(Peer((from, 40_000).into())).body(body.into()).unwrap();
        let service = TowerToHyperService::new(self.router.clone());
        let answered: Result<Response, Infallible> = hyper::service::Service::call(&service, request).await;
        let (parts, body) = answered.unwrap().into_parts();
        let text = String::from_utf8(to_bytes(body, 1 << 20).await.unwrap().to_vec()).unwrap();
        Answer { status: parts.status.as_u16(), headers: parts.headers, text }
    }

    async fn get(&self, path: &str, pairs: &[(&str, &str)], cookie: &str) -> Answer {
        let request = Request::get(format!("{path}?{}", pages::query(pairs.iter().copied()))).header("cookie", cookie);
        self.send(request, "10.5.88.41", Body::empty()).await
    }

    async fn post(&self, path: &str, pairs: &[(&str, &str)], cookie: &str) -> Answer {
        let request =
            Request::post(path).header("content-type", "application/x-www-form-urlencoded").header("cookie", cookie);
        self.send(request, "10.5.88.41", pages::query(pairs.iter().copied())).await
    }

    /// A guest types this code on this device.
    async fn types(&self, code: &str, device: Mac, more: &[(&str, &str)], cookie: &str) -> Answer {
        let device = device.to_string();
        let arrival = [("mac", device.as_str()), ("ip", "10.5.88.41"), ("link-login-only", LINK), ("code", code)];
        self.post("/login", &[&arrival, more].concat(), cookie).await
    }

    /// The router asks as it would of RADIUS.
    fn asks(&self, user: &str, password: &str, device: Mac, ip: &str) -> Decision {
        self.logs_in(Claim::Code(Code::parse(user).unwrap()), user, password, device, ip)
    }

    /// The router knows the device, and asks by its MAC address.
    fn comes_back(&self, device: Mac, ip: &str) -> Decision {
        self.logs_in(Claim::Device(device), &device.to_string(), "", device, ip)
    }

    fn logs_in(&self, claim: Claim, user: &str, password: &str, device: Mac, ip: &str) -> Decision {
        let login = Login {
            claim,
            typed: user.as_bytes(),
            proof: Proof::Password(password.as_bytes()),
            device: Some(device),
            ip: ip.parse().ok(),
            router: "10.5.0.1".parse().ok(),
            nas_session: Some(&format!("80a{:05x}", self.logins.fetch_add(1, Ordering::Relaxed))),
        };
        let live = Arc::clone(&self.live.borrow());
        let rules = live.nas("front-desk").unwrap();
        let now = self.clock.now();
        let login = self.gate.redeemed(login, &rules.name, now.mono);
        match self.gate.step(&live.visit(&login, rules, Via::Radius, now.mono), now, &mut ()) {
            Step::Decided(answer) => answer.decision,
            other => panic!("{other:?}"),
        }
    }

    /// A guest types the code, and the router lets the device in.
    async fn goes_online(&self, code: &str, device: Mac, ip: &str) -> Answer {
        let answer = self.types(code, device, &[], "").await;
        let ticket = answer.leads_with("username").unwrap();
        assert!(matches!(self.asks(&ticket, &ticket, device, ip), Decision::Allow(_)));
        answer
    }

    fn endings(&self) -> Vec<(Option<Mac>, Option<Cause>)> {
        let mut endings = Vec::new();
        self.gate.ledger.each_session(|_, session| {
            endings.push((session.device, session.ending.as_ref().map(|ending| ending.cause)));
        });
        endings
    }
}

#[tokio::test]
async fn a_code_is_asked_for_and_nothing_of_the_page_comes_from_elsewhere() {
    let world = World::new(vec![token(1, "kx7q-91mp")]);
    let arrival =
        [("mac", "02:00:5E:10:00:01"), ("link-login-only", LINK), ("link-orig", "http://a.example/"), ("lang", "de")];
    let page = world.get("/login", &arrival, "").await;
    assert_eq!((page.status, page.header("content-type")), (200, "text/html; charset=utf-8"));
    assert!(page.text.contains("<html lang=\"de\">") && page.text.contains("Online gehen"), "{}", page.text);
    for field in
        ["name=\"mac\" value=\"02:00:5E:10:00:01\"", "name=\"link-orig\" value=\"http:&#x2f;&#x2f;a.example&#x2f;\""]
    {
        assert!(page.text.contains(field), "{field}: {}", page.text);
    }
    let policy = page.header("content-security-policy");
    assert!(policy.contains("default-src 'none'") && policy.contains("frame-ancestors 'none'"), "{policy}");
    assert!(policy.contains("form-action 'self' http://login.example.net https://login.example.net;"), "{policy}");
    assert!(!policy.contains("unsafe-inline"));
    assert_eq!((page.header("cache-control"), page.header("referrer-policy")), ("no-store", "no-referrer"));
    assert!(!page.text.contains("style=") && !page.text.contains("<style") && !page.text.contains("onclick"));
    for (path, media_type) in
        [("/portal/style.css", "text/css; charset=utf-8"), ("/portal/script.js", "text/javascript; charset=utf-8")]
    {
        let asset = world.get(path, &[], "").await;
        assert_eq!((asset.status, asset.header("content-type")), (200, media_type));
    }
    assert_eq!(world.get("/portal/logo", &[], "").await.status, 404);
}

#[tokio::test]
async fn a_page_with_all_that_hangs_on_it_is_light() {
    let world = World::new(vec![AccessToken { user_limit: Some(20), ..token(1, "kx7q-91mp") }]);
    let long = "x".repeat(200);
    let login = world
        .get(
            "/login",
            &[
                ("mac", "02:00:5E:10:00:01"),
                ("link-login-only", LINK),
                ("chap-id", "\\001"),
                ("chap-challenge", "\\133"),
                ("link-orig", &format!("http://a.example/{long}")),
            ],
            "",
        )
        .await;
    let sum = world.get("/portal/style.css", &[], "").await.text.len()
        + world.get("/portal/script.js", &[], "").await.text.len();
    assert!(login.text.len() + sum + 20_000 < 30_000 + 20_000, "{} + {sum}", login.text.len());
    // With the largest logo that is taken.
    assert!(login.text.len() + sum < 10_000, "{} + {sum}", login.text.len());
}

#[tokio::test]
async fn a_right_code_goes_to_the_router_as_a_ticket_and_is_in_no_address() {
    let world = World::new(vec![token(1, "kx7q-91mp")]);
    let answer = world.types(" kx7q-91MP ", PHONE, &[("link-orig", "http://a.example/?q=1")], "").await;
    let location = answer.location();
    assert!(location.as_str().starts_with("http://login.example.net/login?username=sg-"), "{location}");
    assert!(!location.as_str().to_lowercase().contains("kx7q"), "{location}");
    let ticket = answer.leads_with("username").unwrap();
    assert_eq!(answer.leads_with("password").as_ref(), Some(&ticket));
    let then = answer.leads_with("dst").unwrap();
    assert!(then.starts_with("https://wifi.example.org/status?nas=front-desk&lang=en&t="), "{then}");
    assert!(then.ends_with("&link-orig=http%3A%2F%2Fa.example%2F%3Fq%3D1"), "{then}");

    assert!(matches!(world.asks(&ticket, &ticket, LAPTOP, "10.5.88.42"), Decision::Deny(_)), "another device");
    let Decision::Allow(grant) = world.asks(&ticket, &ticket, PHONE, "10.5.88.41") else { panic!("not let in") };
    assert_eq!((grant.view.token, grant.session_timeout.0), (TokenId(1), 3600));
    // What the router knows the session by is what it must be told to end it by.
    let session = world.gate.ledger.sessions().pop().unwrap().1;
    assert_eq!(session.contact.user_name.unwrap().reveal(), ticket);
    assert_eq!(session.code, Code::parse("kx7q-91mp").unwrap());
}

#[tokio::test]
async fn a_router_that_challenges_gets_its_answer() {
    let world = World::new(vec![token(1, "kx7q-91mp")]);
    let chap =
        [("chap-id", r"\371"), ("chap-challenge", r"\133\012\235\341\102\167\063\310\037\320\252\144\022\351\213\007")];
    let answer = world.types("kx7q-91mp", PHONE, &chap, "").await;
    let (ticket, password) = (answer.leads_with("username").unwrap(), answer.leads_with("password").unwrap());
    assert!(password.len() == 32 && password != ticket);
    // By the form: the example of facts/hotspot.md §5.2.
    let annex =
        [("link-login-only", "http://annex.example.net/login"), ("mac", "02:00:5E:10:00:01"), ("code", "kx7q-91mp")];
    let page = world.post("/login", &[&annex, &chap[..]].concat(), "").await;
    assert_eq!(page.status, 200);
    assert!(page.text.contains("action=\"http:&#x2f;&#x2f;annex.example.net&#x2f;login\""), "{}", page.text);
    assert!(page.text.contains("name=\"username\" value=\"kx7q-91mp\""), "{}", page.text);
    assert!(page.text.contains("name=\"password\" value=\"33b1ec440cdbb48a28ca00096f49aaff\""), "{}", page.text);
    assert!(page.header("content-security-policy").contains("form-action 'self' http://annex.example.net"));
}

#[tokio::test]
async fn what_is_reported_of_a_device_that_is_forgotten_still_counts_for_its_session() {
    let world = World::new(vec![token(1, "kx7q-91mp")]);
    world.goes_online("kx7q-91mp", PHONE, "10.5.88.41").await;
    let session = world.gate.ledger.sessions().pop().unwrap().1;
    world.gate.ledger.forget_device(PHONE, TokenId(1));
    assert!(matches!(world.comes_back(PHONE, "10.5.88.41"), Decision::Deny(_)), "it types its code again");
    let login = Login {
        claim: Claim::Device(PHONE),
        typed: b"",
        proof: Proof::NotAsked,
        device: Some(PHONE),
        ip: None,
        router: None,
        nas_session: session.contact.nas_session.as_deref(),
    };
    let live = Arc::clone(&world.live.borrow());
    let visit = live.visit(&login, live.nas("front-desk").unwrap(), Via::Http, world.clock.now().mono);
    let report = Report { at: world.clock.now().wall, seconds: Seconds(0), input_octets: 0, output_octets: 0 };
    let stop = Progress { session: None, news: News::Stop, report, unmeasured: false };
    assert_eq!(world.gate.account(&visit, &stop, report.at).result, "recorded");
    assert_eq!(world.gate.ledger.sessions().len(), 0);
}

const OPENNDS: &str = r#"
[[nas]]
name = "lobby"
address = "10.7.0.1"
secret = "correct horse battery"
disconnect_port = 0
hand_over = "opennds"
fas_key = "0123456789abcdef"
hotspot_hosts = ["10.5.50.1:2050"]
[http]
"#;

const HID: &str = "9c52a4f3e7d2e05d1a0dcfd2f8db8d7d8a4d1d0b7b2f54e4b3b1f1a7f8f7d5c4";

/// What openNDS says of a guest of its.
fn fas(hid: &str, device: &str, gateway: &str) -> String {
    data_encoding::BASE64.encode(
        format!(
            "hid={hid}, clientip=10.5.50.9, clientmac={device}, gatewayname=x, gatewayaddress={gateway}, \
             originurl=http%3a%2f%2fa.example%2f, clientif=lan"
        )
        .as_bytes(),
    )
}

#[tokio::test]
async fn a_guest_of_opennds_goes_back_with_our_word_for_his_device_and_a_ticket() {
    let world = World::with(&CONFIGURATION.replace("[http]", OPENNDS), vec![token(1, "kx7q-91mp")]);
    let page = world.get("/login", &[("fas", &fas(HID, "02:00:5e:10:00:01", "10.5.50.1:2050"))], "").await;
    for field in [
        format!("name=\"hid\" value=\"{HID}\""),
        "name=\"link-orig\" value=\"http:&#x2f;&#x2f;a.example&#x2f;\"".to_owned(),
        "name=\"mac\" value=\"02:00:5E:10:00:01\"".to_owned(),
    ] {
        assert!(page.status == 200 && page.text.contains(&field), "{field}: {}", page.text);
    }
    let policy = page.header("content-security-policy");
    assert!(policy.contains("form-action 'self' http://10.5.50.1:2050 "), "{policy}");
    let arrival = [
        ("hid", HID),
        ("mac", "02:00:5E:10:00:01"),
        ("link-login-only", "http://10.5.50.1:2050/login"),
        ("link-orig", "http://a.example/"),
    ];
    let denied = world.post("/login", &[&arrival[..], &[("code", "nobody")]].concat(), "").await;
    assert!(denied.status == 200 && denied.text.contains("not known"), "{}", denied.text);
    let answer = world.post("/login", &[&arrival[..], &[("code", "kx7q-91mp")]].concat(), "").await;
    let location = answer.location();
    assert!(location.as_str().starts_with("http://10.5.50.1:2050/opennds_auth/?tok="), "{location}");
    assert!(!location.as_str().contains("kx7q"), "{location}");
    assert!(answer.leads_with("custom").unwrap().starts_with("sg-"));
    let then = answer.leads_with("redir").unwrap();
    assert!(then.starts_with("https://wifi.example.org/status?nas=lobby&lang=en&t="), "{then}");
    assert!(then.ends_with("&link-orig=http%3A%2F%2Fa.example%2F"), "{then}");
    assert_eq!(world.gate.ledger.sessions().len(), 0, "openNDS has yet to ask");
    // Who is online and opens that address again is sent here without what a login takes.
    let again = world.get("/login", &[("tok", "x"), ("status", "authenticated")], "").await;
    assert_eq!((again.status, again.header("location")), (303, "status"));
}

#[tokio::test]
async fn what_opennds_does_not_say_so_is_answered_by_a_page_and_nobody_goes_on() {
    let world = World::with(&CONFIGURATION.replace("[http]", OPENNDS), vec![token(1, "kx7q-91mp")]);
    let device = "02:00:5e:10:00:01";
    for bad in [
        "x".to_owned(),
        "\0".to_owned(),
        fas("", device, "10.5.50.1:2050"),
        fas("abc", device, "10.5.50.1:2050"),
        fas(HID, "phone", "10.5.50.1:2050"),
        fas(HID, device, "10.5.50.1"),
        fas(HID, device, "evil.example"),
        fas(HID, device, "10.5.50.1:2050@evil.example"),
        fas(HID, device, "evil.example/10.5.50.1:2050"),
        fas(HID, device, ""),
    ] {
        let page = world.get("/login", &[("fas", &bad), ("code", "kx7q-91mp")], "").await;
        assert!(page.status == 400 && page.text.contains("<h1>"), "{bad}: {} {}", page.status, page.text);
    }
    let link = ("link-login-only", "http://10.5.50.1:2050/login");
    let (mac, code) = (("mac", device), ("code", "kx7q-91mp"));
    for bad in [&[link, mac, code][..], &[link, mac, code, ("hid", "abc")], &[link, code, ("hid", HID)]] {
        let page = world.post("/login", bad, "").await;
        assert!(page.status == 400 && page.text.contains("<h1>"), "{bad:?}: {} {}", page.status, page.text);
    }
    assert_eq!(world.gate.ledger.sessions().len(), 0);
}

#[tokio::test]
async fn every_denial_is_said_in_every_language() {
    let past: Timestamp = "2026-11-20T17:00:00Z".parse().unwrap();
    let soon: Timestamp = "2026-12-01T08:00:00Z".parse().unwrap();
    let elsewhere = Some(BusinessId(2));
    let world = World::new(vec![
        AccessToken { valid_to: Some(past), ..token(1, "past") },
        AccessToken { valid_from: Some(soon), ..token(2, "soon") },
        AccessToken { business: elsewhere, ..token(3, "elsewhere") },
        AccessToken { minutes_left: Some(0), ..token(4, "empty") },
        token(5, "twin"),
        token(6, "twin"),
    ]);
    for language in Language::ALL {
        let said = |reason| words().denied(language, &Denial::from(reason), &jiff::tz::TimeZone::UTC, past);
        let cases = [
            ("  ", said(Reason::Malformed)),
            ("nobody", said(Reason::UnknownCode)),
            ("elsewhere", said(Reason::WrongLocation)),
            ("twin", said(Reason::AmbiguousCode)),
            ("empty", said(Reason::NoMinutesLeft)),
            // By the clock on the wall of Madrid.
            ("past", "18:00".to_owned()),
            ("soon", "09:00".to_owned()),
        ];
        for (code, sentence) in cases {
            let page = world.types(code, PHONE, &[("lang", language.tag())], "").await;
            assert_eq!(page.status, 200, "{code}");
            assert!(
                page.text.contains(&sentence) && page.text.contains("role=\"alert\""),
                "{code} {language:?}: {}",
                page.text
            );
            assert!(page.headers.get("set-cookie").is_none());
        }
        world.clock.advance(Duration::from_secs(601));
    }
}

#[tokio::test]
async fn wrong_codes_count_whoever_asks() {
    let world = World::new(vec![token(1, "kx7q-91mp")]);
    for _ in 0..10 {
        world.types("guess", PHONE, &[], "").await;
    }
    let page = world.types("kx7q-91mp", PHONE, &[], "").await;
    let throttled =
        words().denied(Language::En, &Denial::from(Reason::Throttled), &jiff::tz::TimeZone::UTC, Timestamp::MIN);
    assert!(page.text.contains(&throttled), "{}", page.text);
    // It is the browser that is refused, whatever device it says to be on; and nobody else.
    assert_eq!(world.types("kx7q-91mp", LAPTOP, &[], "").await.status, 200);
    let form = [("mac", "02:00:5E:10:00:01"), ("link-login-only", LINK), ("code", "kx7q-91mp")];
    let request = Request::post("/login").header("content-type", "application/x-www-form-urlencoded");
    assert_eq!(world.send(request, "10.5.88.42", pages::query(form)).await.status, 303);
    assert!(matches!(world.asks("kx7q-91mp", "", PHONE, "10.5.88.42"), Decision::Allow(_)));
    let metrics = world.gate.metrics.text();
    assert!(
        metrics.contains(r#"spotgate_decisions_total{via="portal",outcome="deny",reason="unknown_code"} 10"#),
        "{metrics}"
    );
}

#[tokio::test]
async fn at_the_limit_the_devices_are_shown_and_given_up_only_where_that_is_allowed() {
    let world = World::new(vec![token(1, "kx7q-91mp")]);
    world.goes_online("kx7q-91mp", PHONE, "10.5.88.41").await;
    let session = world.gate.ledger.sessions().pop().unwrap().1.id.to_string();
    let page = world.types("kx7q-91mp", LAPTOP, &[], "").await;
    assert!(page.text.contains("Device ending in 00-01") && page.text.contains("since 13:00"), "{}", page.text);
    assert!(!page.text.contains("02:00:5E:10:00:01<") && !page.text.contains("name=\"replace\""), "{}", page.text);
    let page = world.types("kx7q-91mp", LAPTOP, &[("replace", &session)], "").await;
    assert_eq!((page.status, world.endings()), (200, vec![(Some(PHONE), None)]), "it is not allowed");

    let may = CONFIGURATION.to_owned() + "guest_may_replace = true\n";
    let world = World::with(&may, vec![token(1, "kx7q-91mp"), token(2, "other")]);
    world.goes_online("kx7q-91mp", PHONE, "10.5.88.41").await;
    world.goes_online("other", Mac::new([2; 6]), "10.5.88.50").await;
    let sessions = world.gate.ledger.sessions();
    let named = |token| sessions.iter().find(|(of, _)| *of == TokenId(token)).unwrap().1.id.to_string();
    let page = world.types("kx7q-91mp", LAPTOP, &[], "").await;
    assert!(page.text.contains(&format!("name=\"replace\" value=\"{}\"", named(1))), "{}", page.text);
    let page = world.types("kx7q-91mp", LAPTOP, &[("replace", &named(2))], "").await;
    assert!(page.status == 200 && world.endings().iter().all(|(_, cause)| cause.is_none()), "of another code");
    let page = world.types("kx7q-91mp", LAPTOP, &[("replace", &named(1))], "").await;
    let ticket = page.leads_with("username").unwrap();
    assert!(world.endings().contains(&(Some(PHONE), Some(Cause::Displaced))));
    assert!(matches!(world.asks(&ticket, &ticket, LAPTOP, "10.5.88.42"), Decision::Allow(_)));
}

#[tokio::test]
async fn a_browser_under_another_mac_address_takes_over_its_own_old_place() {
    for limit in [1, 2] {
        let world =
            World::new(vec![AccessToken { user_limit: Some(limit), ..token(1, "kx7q-91mp") }, token(2, "other")]);
        let first = world.goes_online("kx7q-91mp", PHONE, "10.5.88.41").await;
        let cookie = format!("a=b; spotgate={}", first.cookie("spotgate").unwrap());
        // For another code it means nothing.
        assert_eq!(world.types("other", LAPTOP, &[], &cookie).await.status, 303);
        assert_eq!(world.endings(), [(Some(PHONE), None)]);
        let again = world.types("kx7q-91mp", LAPTOP, &[], &cookie).await;
        let ticket = again.leads_with("username").unwrap();
        assert!(matches!(world.asks(&ticket, &ticket, LAPTOP, "10.5.88.42"), Decision::Allow(_)));
        let endings = world.endings();
        assert!(endings.contains(&(Some(PHONE), Some(Cause::Displaced))), "{endings:?}");
        assert!(endings.contains(&(Some(LAPTOP), None)), "{endings:?}");
        // Who has none, or a forged one, does not.
        let forged = Badge { token: TokenId(1), device: LAPTOP, proof: badge::Proof::of("sg-x") };
        let forged = forged.signed(&Key::new([8; 32]), world.clock.now().wall, badge::KEPT_FOR);
        let third = Mac::new([2, 0, 0, 0, 0, 3]);
        world.types("kx7q-91mp", third, &[], &format!("spotgate={forged}")).await;
        assert!(world.endings().contains(&(Some(LAPTOP), None)));
    }
}

#[tokio::test]
async fn the_time_left_is_shown_to_who_shows_a_badge_or_comes_from_there() {
    let world = World::new(vec![token(1, "kx7q-91mp")]);
    let offline = world.get("/status", &[], "").await;
    assert!(offline.text.contains("You are not online") && offline.text.contains("href=\"login\""), "{}", offline.text);
    let online = world.goes_online("kx7q-91mp", PHONE, "10.5.88.41").await;
    let then = online.leads_with("dst").unwrap();
    let badge = reqwest::Url::parse(&then).unwrap().query_pairs().find(|(name, _)| name == "t").unwrap().1.into_owned();
    let told = |page: &Answer| page.text.contains("You are online") && page.text.contains("1 hour");
    let get = |ip: &'static str, path: String, cookie: String| {
        let request = Request::get(path).header("cookie", cookie);
        world.send(request, ip, Body::empty())
    };
    assert!(told(&get("192.0.2.1", format!("/status?t={badge}"), String::new()).await), "by what the router leads to");
    let page =
        get("192.0.2.1", "/status?link-orig=http%3A%2F%2Fa.example%2F".to_owned(), format!("spotgate={badge}")).await;
    assert!(told(&page) && page.text.contains("Continue to a.example"), "by the cookie: {}", page.text);
    assert!(page.text.contains("data-seconds=\"3600\"") && page.text.contains("1 of 1"), "{}", page.text);
    assert!(!page.text.contains("kx7q"));
    for onward in ["http://captive.apple.com/", "javascript:alert(1)", "https://wifi.example.org/status"] {
        let page = world.get("/status", &[("t", &badge), ("link-orig", onward)], "").await;
        assert!(told(&page) && !page.text.contains("Continue"), "{onward}: {}", page.text);
    }
    // A router that shows a page of its own hands on where it was to lead.
    let page = world.get("/status", &[("nas", "front-desk"), ("mac", "02:00:5E:10:00:01"), ("dst", &then)], "").await;
    assert!(told(&page) && !page.text.contains("Continue"), "{}", page.text);
    // By the address, a moment later.
    world.clock.advance(Duration::from_secs(6));
    assert!(get("10.5.88.41", "/status".to_owned(), String::new()).await.text.contains("You are online"));
    assert!(!get("10.5.88.42", "/status".to_owned(), String::new()).await.text.contains("You are online"));
    assert!(!get("10.5.88.41", "/status?nas=annex".to_owned(), String::new()).await.text.contains("You are online"));
    // Who claims an address by words is nobody.
    assert!(
        !get("192.0.2.1", "/status?ip=10.5.88.41&mac=02:00:5E:10:00:01".to_owned(), String::new())
            .await
            .text
            .contains("You are online")
    );
    let world = World::new(vec![AccessToken { minutes_left: Some(9), ..token(1, "kx7q-91mp") }]);
    let online = world.goes_online("kx7q-91mp", PHONE, "10.5.88.41").await;
    let badge = online.cookie("spotgate").unwrap();
    let page = world.get("/status", &[("t", &badge), ("lang", "es")], "").await;
    assert!(page.text.contains("role=\"alert\"") && page.text.contains("9 minutos"), "{}", page.text);
}

#[tokio::test]
async fn only_its_own_badge_logs_a_device_out() {
    let world = World::with(&one_site(), vec![AccessToken { user_limit: Some(2), ..token(1, "kx7q-91mp") }]);
    world.goes_online("kx7q-91mp", PHONE, "10.5.88.41").await;
    world.goes_online("kx7q-91mp", LAPTOP, "10.5.88.42").await;
    world.clock.advance(Duration::from_secs(6));
    assert_eq!(world.post("/logout", &[], "").await.location().path(), "/status", "an address is not enough");
    assert_eq!(world.endings(), [(Some(PHONE), None), (Some(LAPTOP), None)]);
    let page = world.get("/status", &[], "").await;
    let badge = page.text.split("name=\"t\" value=\"").nth(1).unwrap().split('"').next().unwrap().to_owned();
    let answer = world.post("/logout", &[("t", &badge)], "").await;
    assert_eq!(world.endings(), [(Some(PHONE), Some(Cause::Guest)), (Some(LAPTOP), None)]);
    // Its Stop has not come: the router's own page does the rest.
    assert_eq!(answer.location().as_str(), "http://login.example.net/logout");
}

#[tokio::test]
async fn a_guest_of_one_of_a_routers_hotspots_is_sent_back_to_that_one() {
    let world = World::new(vec![token(1, "kx7q-91mp")]);
    let link = |link| [("nas", "front-desk"), ("link-login-only", link)];
    for (said, again) in [
        ("http://10.5.88.1/login", "href=\"http:&#x2f;&#x2f;10.5.88.1&#x2f;login\""),
        ("http://annex.example.net/login", "href=\"login?nas=front-desk\""),
        ("http://evil.example/login", "href=\"login?nas=front-desk\""),
    ] {
        let offline = world.get("/status", &link(said), "").await;
        assert!(offline.text.contains(again), "{said}: {}", offline.text);
    }
    for (said, own) in [("http://10.5.88.1/de/login", "10.5.88.1"), ("http://evil.example/login", "login.example.net")]
    {
        let badge = world.goes_online("kx7q-91mp", PHONE, "10.5.88.41").await.cookie("spotgate").unwrap();
        let page = world.get("/status", &link(said), &format!("spotgate={badge}")).await;
        let form = page.text.split_once("action=\"logout\"").unwrap().1;
        let kept = "name=\"link-login-only\" value=\"http:&#x2f;&#x2f;10.5.88.1&#x2f;de&#x2f;login\"";
        assert_eq!(form.contains(kept), own == "10.5.88.1", "{form}");
        // The form leads there where the router cannot be told.
        let policy = page.header("content-security-policy");
        assert!(policy.contains(&format!("form-action 'self' http://{own} https://{own};")), "{policy}");
        let answer = world.post("/logout", &[("t", badge.as_str()), ("link-login-only", said)], "").await;
        let folder = if own == "10.5.88.1" { "/de" } else { "" };
        assert_eq!(answer.location().as_str(), format!("http://{own}{folder}/logout"));
    }
}

#[tokio::test]
async fn whatever_the_router_is_said_to_say_is_refused_or_escaped() {
    let world = World::new(vec![token(1, "kx7q-91mp")]);
    let script = "\"><script>alert(1)</script>";
    let refused = [
        "http://evil.example/login",
        "http://login.example.net@evil.example/",
        "javascript:alert(1)",
        "//evil.example/login",
        "http://login.example.net.evil.example/",
        "http://login.example.net:8081/login",
        "http://login.example.net/\r\nSet-Cookie: a=b",
        "http://login.example.net\\@evil.example/",
    ];
    for link in refused {
        for answer in [
            world.get("/login", &[("link-login-only", link), ("mac", "02:00:5E:10:00:01")], "").await,
            world
                .post("/login", &[("link-login-only", link), ("mac", "02:00:5E:10:00:01"), ("code", "kx7q-91mp")], "")
                .await,
        ] {
            assert_eq!(answer.status, 400, "{link}");
            assert!(
                !answer.text.contains("evil") && answer.headers.get("location").is_none(),
                "{link}: {}",
                answer.text
            );
            assert!(!answer.header("content-security-policy").contains("evil"));
        }
    }
    let garbled = [("chap-id", r"\400"), ("chap-id", r"\37"), ("chap-challenge", r"\133\9"), ("chap-challenge", "abc")];
    for broken in garbled {
        let answer = world.get("/login", &[("link-login-only", LINK), broken], "").await;
        assert_eq!(answer.status, 400, "{broken:?}");
    }
    let names = ["mac", "ip", "link-orig", "dst", "error", "lang", "nas", "code", "username", "t", "replace"];
    for name in names {
        for value in [script, &"x".repeat(10_000), "\u{0}", "\r\nLocation: http://evil.example/"] {
            let pairs = [("link-login-only", LINK), (name, value)];
            for answer in [
                world.get("/login", &pairs, "").await,
                world.post("/login", &pairs, "").await,
                world.get("/status", &pairs, "").await,
            ] {
                assert!([200, 303, 400].contains(&answer.status), "{name}: {}", answer.status);
                assert!(
                    !answer.text.contains("<script>alert") && !answer.header("location").contains("evil.example/\r"),
                    "{name}: {}",
                    answer.text
                );
                assert!(!answer.headers.iter().any(|(_, value)| value.as_bytes().contains(&b'\n')));
            }
        }
    }
    // Phishing by way of the router's words.
    let page = world.get("/login", &[("link-login-only", LINK), ("error", "Call 555-0100 and pay")], "").await;
    assert!(page.text.contains("did not accept the login") && !page.text.contains("555"), "{}", page.text);
    let large = world.post("/login", &[("code", &"x".repeat(LARGEST_FORM + 1))], "").await;
    assert_eq!(large.status, 413);
}

#[tokio::test]
async fn who_opens_the_page_by_itself_is_sent_to_the_router_and_comes_back_with_the_code() {
    let world = World::new(vec![token(1, "kx 7q%91")]);
    let sent = world.get("/login", &[("nas", "front-desk"), ("code", "kx 7q%91")], "").await;
    assert_eq!(sent.location().as_str(), "http://login.example.net/login");
    let cookies = format!(
        "spotgate-code={}; spotgate-sent={}",
        sent.cookie("spotgate-code").unwrap(),
        sent.cookie("spotgate-sent").unwrap()
    );
    let back = world.get("/login", &[("link-login-only", LINK), ("mac", "02:00:5E:10:00:01")], &cookies).await;
    assert!(back.text.contains("name=\"code\" value=\"kx 7q%91\""), "{}", back.text);
    assert_eq!(back.cookie("spotgate-sent").as_deref(), Some(""), "the next one is sent anew");
    // A router that does not send what it takes is not asked again and again.
    let lost = world.get("/login", &[("nas", "front-desk")], &cookies).await;
    assert!(
        lost.status == 200 && lost.text.contains("href=\"http:&#x2f;&#x2f;login.example.net&#x2f;login\""),
        "{}",
        lost.text
    );
    // Nor can it be known which one it is.
    let unknown = world.get("/login", &[], "").await;
    assert!(unknown.status == 200 && unknown.text.contains("must be opened from"), "{}", unknown.text);
    assert_eq!(world.get("/login", &[("nas", "nowhere"), ("link-login-only", LINK)], "").await.status, 400);
    let kept = world.types("kx 7q%91", PHONE, &[], &cookies).await;
    assert_eq!(kept.cookie("spotgate-code").as_deref(), Some(""), "it is forgotten once it was used");
}

#[tokio::test]
async fn keys_for_digits_are_shown_where_every_code_is_of_digits() {
    for (codes, numeric) in [(["0042", "99"], true), (["0042", "9a"], false)] {
        let world = World::new(vec![token(1, codes[0]), token(2, codes[1])]);
        let page = world.get("/login", &[("link-login-only", LINK)], "").await;
        assert_eq!(page.text.contains("inputmode=\"numeric\""), numeric, "{codes:?}");
    }
}

#[tokio::test]
async fn a_strangers_session_at_the_address_does_not_take_the_badge_away() {
    let world = World::with(&one_site(), vec![token(1, "kx7q-91mp"), token(2, "other")]);
    let stranger = Mac::new([2; 6]);
    let badge = world.goes_online("kx7q-91mp", PHONE, "10.5.88.41").await.cookie("spotgate").unwrap();
    world.goes_online("other", stranger, "10.5.88.99").await;
    world.clock.advance(Duration::from_secs(6));
    let request = Request::get("/status").header("cookie", format!("spotgate={badge}"));
    let page = world.send(request, "10.5.88.99", Body::empty()).await;
    let kept = page.cookie("spotgate").unwrap_or(badge);
    // The own place is still the own place.
    let again = world.types("kx7q-91mp", LAPTOP, &[], &format!("spotgate={kept}")).await;
    assert_eq!(again.status, 303, "the guest cannot take over the own place any more: {}", again.text);
}

#[tokio::test]
async fn a_guest_behind_a_private_translation_reads_that_he_is_online() {
    let world = World::with(&one_site(), vec![token(1, "kx7q-91mp")]);
    let badge = world.goes_online("kx7q-91mp", PHONE, "10.5.88.41").await.cookie("spotgate").unwrap();
    let request = Request::get("/status").header("cookie", format!("spotgate={badge}"));
    let page = world.send(request, "192.168.1.2", Body::empty()).await;
    assert!(page.text.contains("You are online"), "{}", page.text);
}

/// The configuration with one router alone.
fn one_site() -> String {
    let (before, rest) = CONFIGURATION.split_once("[[nas]]\nname = \"annex\"").unwrap();
    format!("{before}[http]{}", rest.split_once("[http]").unwrap().1)
}

#[tokio::test]
async fn a_devices_own_software_is_told_whether_it_is_online() {
    let world = World::with(&one_site(), vec![AccessToken { minutes_left: Some(2), ..token(1, "kx7q-91mp") }]);
    let ask = async |from: &str, via: Option<&str>| {
        let mut request = Request::get("/capport");
        if let Some(via) = via {
            request = request.header("x-forwarded-for", via);
        }
        let answer = world.send(request, from, Body::empty()).await;
        assert_eq!(answer.header("content-type"), "application/captive+json");
        assert_eq!(answer.header("cache-control"), "private, no-store");
        serde_json::from_str::<Value>(&answer.text).unwrap()
    };
    let offline = ask("10.5.88.7", None).await;
    assert_eq!((&offline["captive"], &offline["seconds-remaining"]), (&Value::Bool(true), &Value::Null));
    assert_eq!(offline["user-portal-url"], "https://wifi.example.org/login?nas=front-desk");
    assert_eq!(offline["venue-info-url"], "https://wifi.example.org/status?nas=front-desk");
    // All guests behind one address are one: nobody is told anything.
    for many in ["10.5.0.1", "203.0.113.5"] {
        assert_eq!(world.send(Request::get("/capport"), many, Body::empty()).await.status, 404, "{many}");
    }
    world.goes_online("kx7q-91mp", PHONE, "10.5.88.41").await;
    world.clock.advance(Duration::from_secs(6));
    let online = ask("10.5.88.41", None).await;
    assert_eq!((&online["captive"], online["seconds-remaining"].as_u64()), (&Value::Bool(false), Some(120)));
    assert_eq!(
        (&online["can-extend-session"], &online["user-portal-url"]),
        (&Value::Bool(true), &offline["user-portal-url"])
    );
    // By way of proxies: those that are trusted are believed, and only what they saw themselves.
    let captive = async |from, via| ask(from, Some(via)).await["captive"] == true;
    let unknown = async |from, via| {
        let request = Request::get("/capport").header("x-forwarded-for", via);
        world.send(request, from, Body::empty()).await.status == 404
    };
    assert!(!captive("192.0.2.100", "10.5.88.41").await);
    assert!(!captive("192.0.2.100", "198.51.100.1, 10.5.88.41, 192.0.2.100").await);
    assert!(captive("192.0.2.100", "10.5.88.41, 10.5.88.99").await, "that was said by somebody else");
    assert!(captive("10.5.88.99", "10.5.88.41").await, "it is not trusted");
    assert!(unknown("192.0.2.100", "nonsense").await);
    let two = World::new(vec![token(1, "kx7q-91mp")]);
    two.goes_online("kx7q-91mp", PHONE, "10.5.88.41").await;
    assert_eq!(two.send(Request::get("/capport"), "10.5.88.41", Body::empty()).await.status, 404, "of which site");
}

#[tokio::test]
async fn without_a_portal_there_are_no_pages() {
    let off = CONFIGURATION.replace("[portal]", "[portal]\nenabled = false");
    let world = World::with(&off, vec![token(1, "kx7q-91mp")]);
    for path in ["/", "/login", "/status", "/logout", "/capport", "/portal/style.css", "/portal/script.js"] {
        assert_eq!(world.get(path, &[], "").await.status, 404, "{path}");
    }
    assert_eq!(world.types("kx7q-91mp", PHONE, &[], "").await.status, 404);
    assert!(world.app.live.borrow().pages.is_none());
}

/// Who knows a code and somebody's address has not shown to be on that device.
#[tokio::test]
async fn a_badge_that_nobody_has_vouched_for_takes_no_place_and_logs_nobody_out() {
    let world = World::new(vec![token(1, "kx7q-91mp")]);
    world.goes_online("kx7q-91mp", PHONE, "10.5.88.41").await;
    // The same code, and the phone's address: that would be a login of the phone itself, but no router asks.
    let said = world.types("kx7q-91mp", PHONE, &[], "").await.cookie("spotgate").unwrap();
    let cookie = format!("spotgate={said}");
    let page = world.types("kx7q-91mp", LAPTOP, &[], &cookie).await;
    assert!(page.status == 200 && page.text.contains("in use on another device"), "{}", page.text);
    world.post("/logout", &[("t", &said)], "").await;
    assert_eq!(world.endings(), [(Some(PHONE), None)]);
}

#[tokio::test]
async fn a_badge_in_an_address_is_soon_worth_nothing() {
    let world = World::new(vec![token(1, "kx7q-91mp")]);
    let answer = world.goes_online("kx7q-91mp", PHONE, "10.5.88.41").await;
    let then = reqwest::Url::parse(&answer.leads_with("dst").unwrap()).unwrap();
    let shown = then.query_pairs().find(|(name, _)| name == "t").unwrap().1.into_owned();
    let ask = async |badge: &str, cookie: &str| {
        let request = Request::get(format!("/status?t={badge}")).header("cookie", cookie);
        world.send(request, "192.0.2.1", Body::empty()).await
    };
    let page = ask(&shown, "").await;
    assert!(page.text.contains("You are online"));
    // The page itself leads on with another.
    world.clock.advance(Duration::from_secs(100));
    let again =
        page.text.split("data-again=\"status?").nth(1).unwrap().split('"').next().unwrap().replace("&amp;", "&");
    let next = Request::get(format!("/status?{again}"));
    world.clock.advance(Duration::from_secs(199));
    assert!(world.send(next, "192.0.2.1", Body::empty()).await.text.contains("You are online"));
    world.clock.advance(Duration::from_secs(1));
    assert!(!ask(&shown, "").await.text.contains("You are online"));
    let kept = format!("spotgate={}", answer.cookie("spotgate").unwrap());
    assert!(ask("", &kept).await.text.contains("You are online"));
}

/// The router ends a session when it is said to, whatever is left on the code.
#[tokio::test]
async fn the_time_left_is_that_of_the_session() {
    let configuration = format!("{CONFIGURATION}[policy]\nmax_session = \"20m\"\n");
    let world = World::with(&configuration, vec![token(1, "kx7q-91mp")]);
    let badge = world.goes_online("kx7q-91mp", PHONE, "10.5.88.41").await.cookie("spotgate").unwrap();
    let page = world.get("/status", &[], &format!("spotgate={badge}")).await;
    assert!(page.text.contains("data-seconds=\"1200\""), "{}", page.text);
}

#[tokio::test]
async fn who_logs_out_does_not_come_back_by_itself() {
    let world = World::new(vec![token(1, "kx7q-91mp")]);
    let badge = world.goes_online("kx7q-91mp", PHONE, "10.5.88.41").await.cookie("spotgate").unwrap();
    assert!(!world.gate.ledger.remembered(PHONE).is_empty());
    world.post("/logout", &[("t", &badge)], "").await;
    assert!(world.gate.ledger.remembered(PHONE).is_empty());
    world.goes_online("kx7q-91mp", PHONE, "10.5.88.41").await;
    assert!(!world.gate.ledger.remembered(PHONE).is_empty(), "until the code is typed again");
}

#[tokio::test]
async fn what_the_router_is_said_to_say_makes_no_page_heavy() {
    let world = World::new(vec![token(1, "kx7q-91mp")]);
    let assets = world.get("/portal/style.css", &[], "").await.text.len()
        + world.get("/portal/script.js", &[], "").await.text.len();
    for length in [218, 512, 1016, 2018] {
        let orig = format!("http://a.example/{}", "<'&\"".repeat(length / 4));
        let page = world
            .get("/login", &[("mac", "02:00:5E:10:00:01"), ("link-login-only", LINK), ("link-orig", &orig)], "")
            .await;
        assert!(
            page.status == 200 && page.text.len() + assets + 20_000 <= 30_000,
            "{length}: {} + {assets}",
            page.text.len()
        );
        let sent = world.types("kx7q-91mp", PHONE, &[("link-orig", &orig)], "").await;
        assert!(sent.leads_with("dst").unwrap().len() < 2000, "{length}");
    }
    // A link of ours that the router has caught: its code is as good as typed, and in no address that leads on.
    let ours = "https://wifi.example.org/login?code=kx7q-91mp";
    let page = world.get("/login", &[("link-login-only", LINK), ("link-orig", ours)], "").await;
    assert!(
        page.text.contains("name=\"code\" value=\"kx7q-91mp\"") && !page.text.contains("link-orig"),
        "{}",
        page.text
    );
}

/// Behind address translation a badge is all there is, and the session may be another than the one that it was made for.
#[tokio::test]
async fn a_badge_of_an_earlier_session_shows_the_time_of_this_one() {
    let world = World::new(vec![token(1, "kx7q-91mp")]);
    let old = world.goes_online("kx7q-91mp", PHONE, "10.5.88.41").await.cookie("spotgate").unwrap();
    // The code is typed a second time, and the first ticket goes online; or the device logs in by its MAC address.
    let newer = world.types("kx7q-91mp", PHONE, &[], "").await.cookie("spotgate").unwrap();
    assert!(matches!(world.asks(&PHONE.to_string(), "", PHONE, "10.5.88.41"), Decision::Deny(_) | Decision::Allow(_)));
    for badge in [old, newer] {
        let request = Request::get("/status").header("cookie", format!("spotgate={badge}"));
        let page = world.send(request, "10.5.0.1", Body::empty()).await;
        assert!(page.text.contains("You are online"), "{}", page.text);
    }
}

/// Networks of two sites may be alike: who is at the same address elsewhere sees a time, and logs nobody out.
#[tokio::test]
async fn an_address_proves_nothing_where_there_are_several_sites() {
    let world = World::new(vec![token(1, "kx7q-91mp")]);
    world.goes_online("kx7q-91mp", PHONE, "10.5.88.41").await;
    let page = world.get("/status", &[], "").await;
    let badge = page.text.split("name=\"t\" value=\"").nth(1).unwrap().split('"').next().unwrap().to_owned();
    assert!(page.headers.get("set-cookie").is_none());
    let answer = world.post("/logout", &[("t", &badge)], "").await;
    assert_eq!(answer.location().as_str(), "http://login.example.net/logout");
    assert_eq!(world.endings(), [(Some(PHONE), None)]);
}

#[tokio::test]
async fn a_place_that_cannot_be_given_up_is_not_offered() {
    let may = one_site().replace("business_ids = [1]", "business_ids = [1]\ndisconnect_port = 0");
    // More is left than one session may last, so that a second one could begin.
    let minutes = Some(6000);
    let known = AccessToken { minutes_included: minutes, minutes_left: minutes, ..token(1, "kx7q-91mp") };
    let world = World::with(&(may + "guest_may_replace = true\n"), vec![known]);
    world.goes_online("kx7q-91mp", PHONE, "10.5.88.41").await;
    let page = world.types("kx7q-91mp", LAPTOP, &[], "").await;
    assert!(page.text.contains("Device ending in 00-01"), "{}", page.text);
    assert!(!page.text.contains("name=\"replace\"") && !page.text.contains("choose a device"), "{}", page.text);
}

#[tokio::test]
async fn a_device_that_gave_its_place_up_does_not_come_back_by_itself() {
    let world = World::with(&(one_site() + "guest_may_replace = true\n"), vec![token(1, "kx7q-91mp")]);
    world.goes_online("kx7q-91mp", PHONE, "10.5.88.41").await;
    let session = world.gate.ledger.sessions().pop().unwrap().1.id.to_string();
    let page = world.types("kx7q-91mp", LAPTOP, &[("replace", &session)], "").await;
    let ticket = page.leads_with("username").unwrap();
    // It asks before the new one gets to the router.
    assert!(matches!(world.comes_back(PHONE, "10.5.88.41"), Decision::Deny(_)));
    assert!(matches!(world.asks(&ticket, &ticket, LAPTOP, "10.5.88.42"), Decision::Allow(_)));
}

/// The badge that the page's form to log out brings along.
fn badge_in(page: &Answer) -> String {
    page.text.split("name=\"t\" value=\"").nth(1).unwrap().split('"').next().unwrap().to_owned()
}

/// No order is given where an address proves nothing, or where the router takes none; nor is one spoken of.
#[tokio::test]
async fn who_could_not_be_logged_out_is_told_that_he_is_online() {
    let hosts = r#"hotspot_hosts = ["login.example.net", "10.5.88.1"]"#;
    let several = CONFIGURATION.replace(hosts, "hand_over = \"router\"");
    let untold = one_site().replace(hosts, "hand_over = \"router\"\ndisconnect_port = 0");
    for configuration in [several, untold] {
        let world = World::with(&configuration, vec![token(1, "kx7q-91mp")]);
        assert!(matches!(world.asks("kx7q-91mp", "", PHONE, "10.5.88.41"), Decision::Allow(_)));
        let badge = badge_in(&world.get("/status", &[("nas", "front-desk")], "").await);
        let out = world.post("/logout", &[("t", &badge)], "").await;
        assert_eq!(world.endings(), [(Some(PHONE), None)]);
        assert!(out.text.contains("<h1>You are online</h1>"), "{}", out.text);
        assert!(!out.text.contains("has been told") && !out.text.contains("Go online again"), "{}", out.text);
    }
    // The order is given where the router takes it, and its page waits for nothing then.
    let told = one_site().replace(hosts, "hand_over = \"router\"");
    let world = World::with(&told, vec![token(1, "kx7q-91mp")]);
    assert!(matches!(world.asks("kx7q-91mp", "", PHONE, "10.5.88.41"), Decision::Allow(_)));
    let badge = badge_in(&world.get("/status", &[], "").await);
    let out = world.post("/logout", &[("t", &badge)], "").await;
    assert_eq!(world.endings(), [(Some(PHONE), Some(Cause::Guest))]);
    assert!(out.text.contains("You are logged out") && out.text.contains("has been told"), "{}", out.text);
}

#[tokio::test]
async fn a_proxy_that_names_nobody_stands_for_many() {
    let world = World::with(&one_site().replace("192.0.2.100", "10.0.0.2"), vec![token(1, "kx7q-91mp")]);
    let types = async |code: &str, from: &str| {
        let form = [("mac", "02:00:5E:10:00:01"), ("link-login-only", LINK), ("code", code)];
        let request = Request::post("/login").header("content-type", "application/x-www-form-urlencoded");
        world.send(request.header("x-forwarded-for", from), "10.0.0.2", pages::query(form)).await
    };
    for guest in 10..20 {
        types("wrong", &format!("10.5.88.{guest}:4711")).await;
    }
    assert_eq!(types("kx7q-91mp", "10.5.88.41:4711").await.status, 303);
}

#[tokio::test]
async fn a_session_at_another_address_does_not_keep_its_guest_from_the_login() {
    let world = World::with(&one_site(), vec![token(1, "kx7q-91mp"), token(2, "other")]);
    let badge = world.goes_online("kx7q-91mp", PHONE, "10.5.88.41").await.cookie("spotgate").unwrap();
    let get = async |path: &str, from: &str| {
        let request = Request::get(path).header("cookie", format!("spotgate={badge}"));
        world.send(request, from, Body::empty()).await
    };
    let link = "/login?nas=front-desk&code=kx7q-91mp";
    // The same browser under another MAC address, and so at another address: it is not online.
    assert_eq!(get(link, "10.5.88.99").await.location().as_str(), LINK);
    let page = get("/status?nas=front-desk", "10.5.88.99").await;
    assert!(page.text.contains("data-seconds=\"3600\"") && !page.text.contains("You are online"), "{}", page.text);
    assert!(page.text.contains("href=\"login?nas=front-desk\""), "{}", page.text);
    // Where it is, where it may be by its other family of addresses, and where many are.
    for here in ["10.5.88.41", "fd00::41", "10.5.0.1", "203.0.113.5"] {
        assert_eq!(get(link, here).await.location().path(), "/status", "{here}");
        let page = get("/status", here).await;
        assert!(page.text.contains("You are online") && !page.text.contains("href=\"login"), "{here}: {}", page.text);
    }
    // What is online at the asking address itself is shown before that.
    world.goes_online("other", LAPTOP, "10.5.88.99").await;
    world.clock.advance(Duration::from_secs(6));
    let page = get("/status", "10.5.88.99").await;
    assert!(page.text.contains("You are online") && page.text.contains("1 of 1"), "{}", page.text);
    // Of a session without an address nobody knows where it is.
    let world = World::with(&one_site(), vec![token(1, "kx7q-91mp")]);
    let badge = world.goes_online("kx7q-91mp", PHONE, "").await.cookie("spotgate").unwrap();
    assert_eq!(
        world.get("/login", &[("nas", "front-desk")], &format!("spotgate={badge}")).await.location().path(),
        "/status"
    );
}

/// By a ticket it was shown once that this browser is on this device, whatever the device logs in with later.
#[tokio::test]
async fn a_browser_takes_over_its_own_place_after_its_device_logged_in_by_its_mac_address_too() {
    let world = World::with(&one_site(), vec![token(1, "kx7q-91mp"), token(2, "other")]);
    let cookie = world.goes_online("kx7q-91mp", PHONE, "10.5.88.41").await.cookie("spotgate").unwrap();
    assert!(matches!(world.comes_back(PHONE, "10.5.88.41"), Decision::Allow(_)));
    // Who knows the code and the MAC address has shown nothing.
    let said = world.types("kx7q-91mp", PHONE, &[], "").await.cookie("spotgate").unwrap();
    assert_eq!(world.types("kx7q-91mp", LAPTOP, &[], &format!("spotgate={said}")).await.status, 200);
    world.post("/logout", &[("t", &said)], "").await;
    assert_eq!(world.endings(), [(Some(PHONE), None)]);
    let again = world.types("kx7q-91mp", LAPTOP, &[], &format!("spotgate={cookie}")).await;
    let ticket = again.leads_with("username").unwrap();
    assert_eq!(world.endings(), [(Some(PHONE), Some(Cause::Displaced))]);
    assert!(matches!(world.asks(&ticket, &ticket, LAPTOP, "10.5.88.42"), Decision::Allow(_)));
}

#[tokio::test]
async fn what_a_browser_has_shown_counts_for_its_code_and_device_alone() {
    let world = World::with(&one_site(), vec![token(1, "kx7q-91mp"), token(2, "other")]);
    let cookie = world.goes_online("kx7q-91mp", PHONE, "10.5.88.41").await.cookie("spotgate").unwrap();
    world.post("/logout", &[("t", &cookie)], "").await;
    // Somebody has that device on another code, or another device on this one.
    assert!(matches!(world.asks("other", "", PHONE, "10.5.88.41"), Decision::Allow(_)));
    assert!(matches!(world.asks("kx7q-91mp", "", Mac::new([2; 6]), "10.5.88.50"), Decision::Allow(_)));
    for code in ["other", "kx7q-91mp"] {
        assert_eq!(world.types(code, LAPTOP, &[], &format!("spotgate={cookie}")).await.status, 200, "{code}");
    }
    assert!(!world.endings().iter().any(|(_, cause)| *cause == Some(Cause::Displaced)), "{:?}", world.endings());
}

#[tokio::test]
async fn a_devices_own_software_is_told_nothing_while_nobody_knows_where_somebody_is_online() {
    let world = World::with(&one_site(), vec![token(1, "kx7q-91mp"), token(2, "other")]);
    let ask = async |from: &str| {
        world.clock.advance(Duration::from_secs(6));
        let answer = world.send(Request::get("/capport"), from, Body::empty()).await;
        (answer.status, serde_json::from_str::<Value>(&answer.text).unwrap()["captive"].as_bool())
    };
    let badge = world.goes_online("kx7q-91mp", PHONE, "").await.cookie("spotgate").unwrap();
    world.goes_online("other", LAPTOP, "10.5.88.42").await;
    assert_eq!(ask("10.5.88.41").await, (404, None));
    assert_eq!(ask("10.5.88.42").await, (200, Some(false)), "that one is known");
    world.post("/logout", &[("t", &badge)], "").await;
    assert_eq!(ask("10.5.88.41").await, (200, Some(true)));
}

#[tokio::test]
async fn from_many_addresses_no_more_codes_are_tried_than_a_router_takes_in_a_minute() {
    let world = World::with(&one_site(), vec![token(1, "kx7q-91mp")]);
    let types = async |from: &str, code: &str| {
        let form = [("mac", "02:00:5E:10:00:01"), ("link-login-only", LINK), ("code", code)];
        let request = Request::post("/login").header("content-type", "application/x-www-form-urlencoded");
        world.send(request, from, pages::query(form)).await
    };
    let mut looked_up = 0;
    for address in 1..=4 {
        for guess in 0..300 {
            let page = types(&format!("203.0.113.{address}"), &format!("guess-{guess}")).await;
            looked_up += u32::from(page.text.contains("not known"));
        }
    }
    assert_eq!(looked_up, 300 + 3 * 10, "each address may be wrong as often as one device");
    // Who is at none of them goes on, and so does the router.
    assert_eq!(types("198.51.100.7", "kx7q-91mp").await.status, 303);
    assert!(matches!(world.asks("kx7q-91mp", "", PHONE, "10.5.88.41"), Decision::Allow(_)));
}
