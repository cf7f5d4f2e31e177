//! The desk without a browser: who may see and do what, and what the pages say.

use std::convert::Infallible;

use axum::body::{Body, to_bytes};
use axum::http::Request;
use hyper_util::service::TowerToHyperService;
use tokio::sync::watch;

use super::*;
use crate::catalogue::Catalogue;
use crate::clock::Clock;
use crate::config;
use crate::core::ident::{BusinessId, Code, Mac, TokenId};
use crate::core::login::{Claim, Login, Proof};
use crate::core::token::AccessToken;
use crate::gate::{Gate, Step, Supply, Via};
use crate::history::History;
use crate::portal::Portal;
use crate::portal::badge::Key;
use crate::portal::pages::query;
use crate::telemetry::metrics::Metrics;

const CONFIGURATION: &str = r#"
[source]
kind = "file"
path = "tokens.json"
[source.nexudus]
time_zone = "Europe/Madrid"
[[nas]]
name = "front-desk"
address = "10.5.0.1"
secret = "0123456789abcdef"
hotspot_hosts = ["login.example.net"]
[[nas]]
name = "annex"
address = "10.6.0.1"
secret = "0123456789abcdef"
hotspot_hosts = ["annex.example.net"]
accounting = false
[portal]
public_url = "https://wifi.example.net"
title = "Example <Space>"
[admin]
password = "lemonade"
viewer_password = "only looking"
"#;

const DEVICE: Mac = Mac::new([0x3C, 0x06, 0x30, 0xAA, 0x19, 0x5F]);

struct World {
    router: axum::Router,
    app: Arc<App>,
    clock: Clock,
    live: watch::Sender<Arc<Live>>,
}

struct Answer {
    status: u16,
    headers: HeaderMap,
    text: String,
}

impl Answer {
    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map(|value| value.to_str().unwrap()).unwrap_or_default()
    }

    /// The cookie that was set.
    fn cookie(&self) -> String {
        self.header("set-cookie").split(';').next().unwrap().to_owned()
    }

    fn csrf(&self) -> String {
        let after = self.text.split("name=\"csrf\" value=\"").nth(1).expect("a form");
        after.split('"').next().unwrap().to_owned()
    }

    fn says(&self, text: &str) {
        let read = self.text.replace("&#x2f;", "/");
        assert!(read.contains(text), "{text:?} in {read}");
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
        let clock = Clock::manual("2026-11-23T12:00:00Z".parse().unwrap());
        let settings = config::from_str(CONFIGURATION, "spotgate.toml".as_ref(), &|_| None).unwrap().settings;
        let catalogue = Arc::new(Catalogue::new(&settings.cache, None, false, clock.clone()));
        catalogue.replace(tokens.into_iter().map(Arc::new).collect());
        let supply = Arc::new(Supply {
            catalogue,
            health: Arc::default(),
            mirror: None,
            write_back: Arc::default(),
            hint: Arc::default(),
        });
        supply.health.note(Ok(()), clock.now().mono);
        let gate = Gate::new(supply, Arc::default(), Arc::new(Metrics::default()), clock.clone());
        let gate = Arc::new(gate.with_history(History::in_memory()));
        let (live, current) = watch::channel(Arc::new(Live::new(settings).unwrap()));
        let app = Arc::new(App::new(gate, current, Portal::new(Key::new([7; 32]))));
        Self { router: crate::http::routes::router(&app), app, clock, live }
    }

    async fn send(&self, request: axum::http::request::Builder, from: &str, body: String) -> Answer {
        let from: IpAddr = from.parse().unwrap();
        let request = request.extension(Peer((from, 40_000).into())).body(Body::from(body)).unwrap();
        let service = TowerToHyperService::new(self.router.clone());
        let answered: Result<Response, Infallible> = hyper::service::Service::call(&service, request).await;
        let (parts, body) = answered.unwrap().into_parts();
        let text = String::from_utf8(to_bytes(body, 1 << 22).await.unwrap().to_vec()).unwrap();
        Answer { status: parts.status.as_u16(), headers: parts.headers, text }
    }

    async fn get(&self, path: &str, cookie: &str) -> Answer {
        self.send(Request::get(path).header("cookie", cookie), "127.0.0.1", String::new()).await
    }

    async fn post(&self, path: &str, pairs: &[(&str, &str)], cookie: &str) -> Answer {
        let form = "application/x-www-form-urlencoded";
        let request = Request::post(path).header("content-type", form).header("cookie", cookie);
        self.send(request, "127.0.0.1", query(pairs.iter().copied())).await
    }

    async fn sign_in(&self, password: &str) -> String {
        let answer = self.post("/admin/sign-in", &[("password", password), ("name", "Ana")], "").await;
        assert_eq!(answer.status, 303, "{}", answer.text);
        answer.cookie()
    }

    fn login(&self, code: &str, device: Mac) {
        let login = Login {
            claim: Claim::Code(Code::parse(code).unwrap()),
            typed: code.as_bytes(),
            proof: Proof::NotAsked,
            device: Some(device),
            ip: "10.5.88.41".parse().ok(),
            router: "10.5.0.1".parse().ok(),
            nas_session: Some("80a00001"),
        };
        let live = Arc::clone(&self.live.borrow());
        let rules = live.nas("front-desk").unwrap();
        let now = self.clock.now();
        let step = self.app.gate.step(&live.visit(&login, rules, Via::Radius, now.mono), now, &mut ());
        assert!(matches!(step, Step::Decided(_)));
    }
}

const PAGES: [&str; 7] = [
    "/admin",
    "/admin/sessions",
    "/admin/why",
    "/admin/decisions",
    "/admin/tokens",
    "/admin/routers",
    "/admin/actions",
];

#[tokio::test]
async fn nobody_sees_anything_without_a_password() {
    let world = World::new(vec![token(1, "abc-123")]);
    for path in PAGES {
        let answer = world.get(path, "spotgate-desk=made-up").await;
        assert_eq!((answer.status, answer.text.as_str()), (303, ""), "{path}");
        assert_eq!(answer.header("location"), format!("/admin/sign-in?{}", query([("to", path)])));
    }
    let page = world.get("/admin/sign-in?to=%2Fadmin%2Fsessions", "").await;
    assert_eq!(page.status, 200);
    page.says("Example &lt;Space&gt;");
    assert!(page.header("content-security-policy").starts_with("default-src 'none'; style-src 'self'"));
    let wrong = world.post("/admin/sign-in", &[("password", "guess")], "").await;
    assert_eq!((wrong.status, wrong.header("set-cookie")), (403, ""));
    for (to, leads) in [
        ("/admin/sessions?q=a", "/admin/sessions?q=a"),
        ("https://evil.example", "/admin"),
        ("//evil.example", "/admin"),
        ("/admin/../login", "/admin/../login"),
        ("/administrator", "/admin"),
        ("/admin\\@evil", "/admin"),
    ] {
        let answer = world.post("/admin/sign-in", &[("password", "lemonade"), ("to", to)], "").await;
        assert_eq!((answer.status, answer.header("location")), (303, leads), "{to}");
        let cookies: Vec<_> =
            answer.headers.get_all("set-cookie").iter().map(|cookie| cookie.to_str().unwrap()).collect();
        assert_eq!(cookies.len(), 2);
        assert!(
            cookies.iter().all(|cookie| cookie.ends_with("; Path=/admin; HttpOnly; SameSite=Strict")),
            "{cookies:?}"
        );
    }
    for path in ["/admin/tokens/1/refresh", "/admin/tokens/1/forget-usage", "/admin/sign-out"] {
        assert_eq!(world.post(path, &[("csrf", "")], "").await.status, 303, "{path}");
    }
}

#[tokio::test]
async fn without_a_password_in_the_configuration_there_is_no_console() {
    let world = World::new(Vec::new());
    let settings = CONFIGURATION.split("[admin]").next().unwrap();
    let settings = config::from_str(settings, "spotgate.toml".as_ref(), &|_| None).unwrap().settings;
    let cookie = world.sign_in("lemonade").await;
    world.live.send_replace(Arc::new(Live::new(settings).unwrap()));
    for path in PAGES.into_iter().chain(["/admin/sign-in"]) {
        assert_eq!(world.get(path, &cookie).await.status, 404, "{path}");
    }
}

#[tokio::test]
async fn every_page_can_be_made_with_and_without_anything_to_show() {
    for tokens in [Vec::new(), vec![token(1, "abc-123")]] {
        let world = World::new(tokens.clone());
        for password in ["lemonade", "only looking"] {
            let cookie = world.sign_in(password).await;
            if !tokens.is_empty() {
                world.login("abc-123", DEVICE);
            }
            world.login("nobody's <code>", Mac::new([2; 6]));
            for path in PAGES {
                let answer = world.get(path, &cookie).await;
                assert_eq!(answer.status, 200, "{path}");
                assert!(answer.text.contains("<h1>") && answer.text.ends_with("</html>"), "{path}: {}", answer.text);
                assert!(!answer.text.contains("<code>\""), "{path}");
            }
        }
    }
}

#[tokio::test]
async fn a_session_is_seen_and_ended_and_that_stands_in_the_trail() {
    let world = World::new(vec![token(1, "abc-123")]);
    world.login("abc-123", DEVICE);
    let cookie = world.sign_in("lemonade").await;
    let sessions = world.get("/admin/sessions", &cookie).await;
    for text in ["3C:06:30:AA:19:5F", "abc-123", "10.5.88.41", "front-desk", "admitted", "1 session"] {
        sessions.says(text);
    }
    for (wanted, count) in [("3c0630", 1), ("10.5.88", 1), ("FRONT", 1), ("admitted", 1), ("annex", 0), ("online", 0)] {
        let found = world.get(&format!("/admin/sessions?q={wanted}"), &cookie).await;
        found.says(&format!("{count} of 1 session"));
    }
    let (_, session) = world.app.gate.ledger.sessions().pop().unwrap();
    let path = format!("/admin/sessions/{}", session.id);
    let csrf = world.get(&path, &cookie).await.csrf();
    for (csrf, foreign) in [("", false), (csrf.as_str(), true)] {
        let mut request = Request::post(format!("{path}/disconnect")).header("cookie", &cookie);
        request = request.header("content-type", "application/x-www-form-urlencoded");
        if foreign {
            request = request.header("sec-fetch-site", "cross-site");
        }
        let refused = world.send(request, "127.0.0.1", query([("csrf", csrf)])).await;
        assert_eq!(refused.status, 403);
    }
    assert!(world.app.gate.ledger.sessions().pop().unwrap().1.ending.is_none());

    let done = world.post(&format!("{path}/disconnect"), &[("csrf", &csrf)], &cookie).await;
    assert_eq!((done.status, done.header("location")), (303, path.as_str()));
    let page = world.get(&path, &cookie).await;
    page.says("disconnecting");
    page.says("has not answered yet");
    let trail = world.get("/admin/actions", &cookie).await;
    for text in ["Ana (operator)", "disconnect", "sign-in", &session.id.to_string()] {
        trail.says(text);
    }
}

#[tokio::test]
async fn who_may_only_look_changes_nothing_and_sees_no_code() {
    let world = World::new(vec![token(1, "abc-123")]);
    world.login("abc-123", DEVICE);
    let cookie = world.sign_in("only looking").await;
    let (_, session) = world.app.gate.ledger.sessions().pop().unwrap();
    for path in PAGES
        .into_iter()
        .map(str::to_owned)
        .chain([format!("/admin/sessions/{}", session.id), "/admin/tokens/1".to_owned()])
    {
        let page = world.get(&path, &cookie).await;
        assert_eq!(page.status, 200, "{path}");
        assert!(!page.text.contains("abc-123"), "{path}: {}", page.text);
    }
    let csrf = world.get("/admin", &cookie).await.csrf();
    let acts = [format!("/admin/sessions/{}/disconnect", session.id), "/admin/tokens/1/forget-usage".to_owned()];
    for path in acts {
        assert_eq!(world.post(&path, &[("csrf", &csrf)], &cookie).await.status, 403, "{path}");
    }
    assert!(world.app.gate.ledger.sessions().pop().unwrap().1.ending.is_none());
}

#[tokio::test]
async fn why_is_answered_in_words_for_a_code_and_for_a_device() {
    let mut old = token(2, "old-77");
    old.valid_to = "2026-11-20T12:00:00Z".parse().ok();
    let mut digits = token(3, "3C0630AA195F");
    digits.minutes_left = Some(0);
    let world = World::new(vec![token(1, "abc-123"), old, digits]);
    let cookie = world.sign_in("lemonade").await;
    let ask = async |pairs: &[(&str, &str)]| world.post("/admin/why", pairs, &cookie).await;
    ask(&[("who", "abc-123")]).await.says("Would be let in, for 1:00:00");
    world.login("old-77", DEVICE);
    let expired = ask(&[("who", " OLD-77 ")]).await;
    for text in
        ["Denied: expired", "expired on 20 November at 13:00", "What to do:", "ValidTo", "failed", "Earlier decisions"]
    {
        expired.says(text);
    }
    expired.says("<span>Ana (operator)</span>");
    assert!(expired.text.matches("class=\"decision deny\"").count() >= 3, "the earlier denial is shown");
    ask(&[("who", "3c-06-30-aa-19-5f")]).await.says("unknown_device");
    ask(&[("who", "3C0630AA195F"), ("code", "1")]).await.says("no_minutes_left");
    ask(&[("who", "nobody's")]).await.says("None: no router has asked for it");
    ask(&[("who", "  ")]).await.says("Type an access code");
    ask(&[("who", "abc-123"), ("mac", "printer")]).await.says("The device is no MAC address");
    ask(&[("who", "abc-123"), ("nas", "attic")]).await.says("No router of this name");
    assert!(world.app.gate.ledger.sessions().is_empty(), "nobody was let in by asking");
}

#[tokio::test]
async fn a_token_is_found_read_again_and_its_usage_forgotten() {
    let world = World::new(vec![token(1, "abc-123")]);
    let cookie = world.sign_in("lemonade").await;
    let found = world.post("/admin/tokens", &[("code", "ABC-123")], &cookie).await;
    assert_eq!((found.status, found.header("location")), (303, "/admin/tokens/1"));
    let page = world.get("/admin/tokens/1", &cookie).await;
    for text in ["Code abc-123", "60 minutes", "60 of 120"] {
        page.says(text);
    }
    let csrf = page.csrf();
    for act in ["refresh", "forget-usage"] {
        let done = world.post(&format!("/admin/tokens/1/{act}"), &[("csrf", &csrf)], &cookie).await;
        assert_eq!((done.status, done.header("location")), (303, "/admin/tokens/1"), "{act}: {}", done.text);
    }
    world.get("/admin/actions", &cookie).await.says("forget-usage");
    assert_eq!(world.get("/admin/tokens/9", &cookie).await.status, 404);
    world.post("/admin/tokens", &[("code", "abd")], &cookie).await.says("No token has this code");
}

#[tokio::test]
async fn what_a_router_does_wrong_is_named() {
    let world = World::new(vec![token(1, "abc-123")]);
    let cookie = world.sign_in("lemonade").await;
    let seen = world.live.borrow().clients.seen(&crate::core::ident::NasName::new("front-desk")).unwrap();
    let page = async || world.get("/admin/routers", &cookie).await;
    page().await.says("not heard since spotgate started");
    page().await.says("Times of Europe/Madrid");
    page().await.says("not expected (accounting = false)");
    let now = world.clock.now().wall;
    seen.mismatched.set(now);
    seen.mismatches.store(3, std::sync::atomic::Ordering::Relaxed);
    seen.refuse("the shared secrets differ, or the packet was tampered with", now);
    page().await.says("does not fit: 3 packets");
    page().await.says("the shared secrets differ");
    seen.signed.set(now);
    seen.asked.set(now);
    world.clock.advance(Duration::from_secs(1));
    let now = world.clock.now().wall;
    seen.unsigned.set(now);
    seen.signed.set(now);
    page().await.says("fits");
    seen.guarded.set(now);
    page().await.says("TLS does it for them (RadSec)");
    seen.tell("unanswered", now);
    page().await.says("/radius incoming set accept=yes port=3799");
    seen.tell("acked", now);
    world.login("abc-123", DEVICE);
    world.clock.advance(Duration::from_secs(1000));
    page().await.says("1 of 1 sessions that should have been reported by now are not");
    (0..12).for_each(|end| seen.end((end < 8).then_some(3)));
    page().await.says("8 of 12 sessions ended because the device was lost");
    world.app.gate.strangers.note("192.0.2.9".parse().unwrap(), now);
    page().await.says("192.0.2.9");
}

#[tokio::test]
async fn a_password_that_can_be_read_on_the_way_is_said() {
    let world = World::new(Vec::new());
    let page = async |from: &str| world.send(Request::get("/admin/sign-in"), from, String::new()).await;
    assert!(!page("127.0.0.1").await.text.contains("came unencrypted"));
    page("192.0.2.7").await.says("came unencrypted");
    // Nobody's word but that of a proxy that is trusted.
    let says = Request::get("/admin/sign-in").header("x-forwarded-proto", "https");
    world.send(says, "192.0.2.7", String::new()).await.says("came unencrypted");
}

#[tokio::test]
async fn who_may_only_look_does_not_see_what_became_of_a_code_and_fills_no_trail() {
    let world = World::new(vec![token(1, "abc-123")]);
    let operator = world.sign_in("lemonade").await;
    world.login("abc-123", DEVICE);
    let why = async |cookie: &str, who: &str| world.post("/admin/why", &[("who", who)], cookie).await;
    let viewer = world.sign_in("only looking").await;
    let page = why(&viewer, "abc-123").await;
    page.says("Only operators see what became of a code");
    assert!(!page.text.contains("3C:06:30:AA:19:5F"), "{}", page.text);
    why(&viewer, "3C:06:30:AA:19:5F").await.says("front-desk");
    why(&operator, "abc-123").await.says("3C:06:30:AA:19:5F");
    for _ in 0..5 {
        world.sign_in("only looking").await;
    }
    let trail = world.get("/admin/actions", &operator).await;
    assert_eq!(trail.text.matches("(viewer)").count(), 1, "{}", trail.text);
    assert!(!world.get("/admin/actions?sign-ins=no", &operator).await.text.contains("sign-in</td>"));
    world.clock.advance(Duration::from_secs(60));
    world.sign_in("only looking").await;
    world.get("/admin/actions", &operator).await.says("and 5 times more");
}

#[tokio::test]
async fn only_an_operators_browser_is_known_again() {
    let world = World::new(Vec::new());
    let cookies = async |password: &str| {
        let answer = world.post("/admin/sign-in", &[("password", password)], "").await;
        answer.headers.get_all("set-cookie").iter().count()
    };
    assert_eq!((cookies("lemonade").await, cookies("only looking").await), (2, 1));
}

#[test]
fn what_an_operator_types_and_shows_does_not_print() {
    use crate::telemetry::silent::prints;
    assert!(!prints!(tokens::Wanted) && !prints!(why::Wanted) && !prints!(Typed) && !prints!(Act));
}

#[tokio::test]
async fn whoever_is_signed_in_prints_without_what_their_browser_shows() {
    let world = World::new(Vec::new());
    let cookie = world.sign_in("lemonade").await;
    let (_, id) = cookie.split_once('=').unwrap();
    let csrf = world.get("/admin", &cookie).await.csrf();
    let printed = format!("{:?} {:?}", world.app, world.live.borrow());
    assert!(printed.contains("Ana"), "{printed}");
    for secret in [id, &csrf, "lemonade", "only looking", "0123456789abcdef"] {
        assert!(!printed.contains(secret), "{secret} in {printed}");
    }
}
