//! Guests with Chromium at the size of a phone, behind the emulated router with the pages that `spotgate mikrotik pages` writes:
//! from the first redirect to the code, the time left and the way out; with JavaScript and without, in every language.
//!
//! Pictures of the pages are written for people to look at, below `target/tmp/guest-pages`.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, TcpListener, UdpSocket};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use jiff::tz::TimeZone;
use serde_json::{Value, json};
use spotgate::core::decide::{Denial, Reason};
use spotgate::portal::language::{Key, Language, Value as Word, words};
use spotgate::sandbox::nexudus::{self, Sandbox};
use spotgate::sandbox::router::{LoginBy, Options, Pages, Profile, Router, Web};

use crate::support::browser::Browser;
use crate::support::{KEY, SECRET, Spotgate, client, mac, record, run, spotgate, with};

/// The phone that the browser is on, and another device.
const PHONE: u8 = 0x51;
const LAPTOP: u8 = 0x52;

/// A site: Nexudus, the daemon, a router, and a phone in its WiFi.
struct Site {
    nexudus: Sandbox,
    spotgate: Spotgate,
    router: Router,
    phone: Web,
}

/// An address of the loopback interface that no other test has: its ports are free until they are used.
fn own_address() -> Ipv4Addr {
    static TAKEN: AtomicU8 = AtomicU8::new(1);
    Ipv4Addr::new(127, 53, 0, TAKEN.fetch_add(1, Ordering::Relaxed))
}

/// Two ports there.
fn free_ports(address: Ipv4Addr) -> [u16; 2] {
    let bound = [0, 0].map(|port| TcpListener::bind((address, port)).unwrap());
    bound.map(|listener| listener.local_addr().unwrap().port())
}

fn tokens() -> Vec<Value> {
    let token = |id, code, fields| with(record(id, code), fields);
    vec![
        record(1, "kx7q-91mp"),
        token(2, "past", json!({"ValidTo": "2020-11-20T17:00:00Z"})),
        token(3, "soon", json!({"ValidFrom": "2099-12-01T08:00:00Z"})),
        token(4, "elsewhere", json!({"BusinessId": 2})),
        token(5, "empty", json!({"MinutesLeft": 0})),
        token(6, "twin", json!({})),
        token(7, "twin", json!({})),
        token(8, "bound", json!({"MacAddress": "02:00:00:00:00:77"})),
        token(9, "in-use", json!({})),
        token(10, "short", json!({"MinutesLeft": 9})),
    ]
}

impl Site {
    async fn start(hand_over: &str, portal: &str) -> Self {
        let own = own_address();
        let [http, phone] = free_ports(own);
        let incoming = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port();
        let options = nexudus::Options { tokens: tokens(), ..nexudus::Options::default() };
        let clock = spotgate::clock::Clock::system();
        let nexudus = Sandbox::start_local(options, clock).await.unwrap();
        let configuration = format!(
            r#"
[source]
kind = "nexudus"
[source.nexudus]
base_url = "{}"
username = "demo@example.org"
password = "demo"
requests_per_minute = 10000
request_timeout = "1s"
mirror = false
[policy]
bind_device = "honour"
[throttle]
device_failures = 60
[[nas]]
name = "front-desk"
address = "127.0.0.1"
secret = "{SECRET}"
business_ids = [1]
disconnect_port = {incoming}
hotspot_hosts = ["{own}:{phone}"]
hand_over = "{hand_over}"
[radius]
auth_listen = ["127.0.0.1:0"]
acct_listen = ["127.0.0.1:0"]
[http]
listen = ["{own}:{http}"]
trusted_proxies = ["127.0.0.0/8"]
[[http.api_key]]
name = "tests"
key = "{KEY}"
scopes = ["authorize", "accounting", "read", "admin"]
[portal]
public_url = "http://{own}:{http}"
title = "Example Space"
terms_url = "https://www.example.org/terms"
{portal}
[store]
path = "state"
[telemetry]
log = "json"
level = "debug"
metrics_listen = "127.0.0.1:0"
"#,
            nexudus.base_url()
        );
        let spotgate = Spotgate::start(&configuration);
        let mut options = Options::new(spotgate.auth, SECRET.as_bytes());
        options.accounting = spotgate.accounting;
        options.incoming.set_port(incoming);
        let router = Router::start(options).await.unwrap();
        let login_by = if hand_over == "one-time" { LoginBy::Pap } else { LoginBy::Chap };
        let pages = Pages::new(pages(&spotgate));
        let listen = (own, phone).into();
        let profile = Profile { listen, login_by, ..Profile::new(pages, spotgate.http) };
        let phone = router.web(mac(PHONE), profile).await.unwrap();
        Self { nexudus, spotgate, router, phone }
    }

    async fn browser(&self, scripts: bool) -> Browser {
        Browser::start(&format!("http://{}", self.phone.address()), scripts).await
    }

    /// Nothing that was typed stands in the log.
    fn stop(self) {
        let log = self.spotgate.log();
        for typed in ["kx7q-91mp", "in-use", "short"] {
            assert!(!log.contains(typed), "{typed} is in the log");
        }
        self.spotgate.stop();
    }
}

/// What `spotgate mikrotik pages` writes for this daemon's router.
fn pages(spotgate_: &Spotgate) -> BTreeMap<String, String> {
    let folder = tempfile::tempdir().unwrap();
    let (config, out) = (spotgate_.configuration(), folder.path().to_str().unwrap());
    let arguments = ["mikrotik", "pages", "--config", config.to_str().unwrap(), "--nas", "front-desk", "--out", out];
    let output = run(&mut spotgate(&arguments));
    assert!(output.status.success(), "{output:?}");
    let mut files = BTreeMap::new();
    let mut folders = vec![folder.path().to_owned()];
    while let Some(within) = folders.pop() {
        for entry in std::fs::read_dir(within).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let name = path.strip_prefix(folder.path()).unwrap().to_str().unwrap().to_owned();
                files.insert(name, std::fs::read_to_string(path).unwrap());
            }
        }
    }
    files
}

/// axe-core, which the test command installs.
pub fn axe() -> String {
    let tools = Path::new(env!("CARGO_MANIFEST_DIR")).join(".test-tools/venv/lib");
    let python = std::fs::read_dir(&tools).into_iter().flatten().flatten().map(|python| python.path());
    let found =
        python.map(|python| python.join("site-packages/axe_playwright_python/axe.min.js")).find(|path| path.exists());
    let found = found.expect("axe-core is missing: tests/run.sh installs what the tests need");
    std::fs::read_to_string(found).unwrap()
}

fn pictures() -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("guest-pages");
    std::fs::create_dir_all(&folder).unwrap();
    folder
}

fn say(language: Language, key: Key) -> String {
    words().say(language, key, &[])
}

fn words_of_devices(language: Language) -> String {
    words().say(language, Key::StatusDevicesOf, &[("devices", Word::Number(1)), ("limit", Word::Number(1))])
}

async fn is_clear(browser: &Browser, axe: &str, page: &str) {
    assert_eq!(browser.barriers(axe).await, [""; 0], "{page}");
}

const GO: &str = "#code ~ button";

async fn goes_online(scripts: bool) {
    let (site, axe, pictures) = (Site::start("one-time", "").await, Arc::new(axe()), pictures());
    let browser = site.browser(scripts).await;
    let named = |page: &str, language: Language| {
        pictures.join(format!("{page}-{}{}.png", language.tag(), if scripts { "" } else { "-no-script" }))
    };
    for language in Language::ALL {
        let words = |key| say(language, key);
        browser.speaks(language.tag()).await;
        browser.open("http://example.org/").await;
        browser.reads("h1", &words(Key::LoginTitle)).await;
        assert!(browser.address().await.starts_with(&format!("http://{}/login?", site.spotgate.http)));
        is_clear(&browser, &axe, "login").await;
        browser.picture(&named("login", language)).await;
        browser.types("#code", "kx7q-91mp").await;
        browser.taps(GO).await;

        browser.reads("h1", &words(Key::StatusOnline)).await;
        let (address, left) = (browser.address().await, browser.text(".left").await);
        assert!(address.starts_with(&format!("http://{}/status?", site.spotgate.http)), "{address}");
        assert!(!address.contains("kx7q"), "{address}");
        let runs = left.starts_with("0:5") || left == "1:00:00";
        let stands = left.contains("59") || left.contains('1');
        assert!(if scripts { runs } else { stands }, "{left}");
        let devices = words_of_devices(language);
        browser.reads("dd:last-child", &devices).await;
        is_clear(&browser, &axe, "status").await;
        browser.picture(&named("status", language)).await;

        // The way is open; and who comes back is known, with a cookie and without.
        browser.open("http://example.org/").await;
        browser.reads("h1", "This is the internet: you reached example.org").await;
        browser.open(&format!("http://{}/status", site.spotgate.http)).await;
        browser.reads("h1", &words(Key::StatusOnline)).await;
        browser.taps("form[action=logout] button").await;
        browser.reads("h1", &words(Key::LogoutDone)).await;
        browser.reads("main p", &words(Key::LogoutKept)).await;
        is_clear(&browser, &axe, "logout").await;
        browser.picture(&named("logout", language)).await;
        site.router.gone(mac(PHONE)).await;
    }
    drop(browser);
    site.stop();
}

#[tokio::test]
async fn a_guest_goes_online_and_leaves_in_every_language() {
    goes_online(true).await;
}

#[tokio::test]
async fn a_guest_goes_online_and_leaves_without_scripts() {
    goes_online(false).await;
}

/// What a code is answered with, in a language.
fn denials(language: Language) -> Vec<(&'static str, String)> {
    let (zone, now) = (TimeZone::UTC, "2026-11-23T12:00:00Z".parse().unwrap());
    let said = |reason| words().denied(language, &Denial::from(reason), &zone, now);
    let dated = |key, name, date: &str| {
        let date = words().date(language, date.parse().unwrap(), &zone, now);
        words().say(language, key, &[(name, Word::Text(&date))])
    };
    vec![
        (" ", said(Reason::Malformed)),
        ("nobody", said(Reason::UnknownCode)),
        ("elsewhere", said(Reason::WrongLocation)),
        ("twin", said(Reason::AmbiguousCode)),
        ("bound", said(Reason::DeviceMismatch)),
        ("empty", said(Reason::NoMinutesLeft)),
        ("past", dated(Key::DeniedExpired, "to", "2020-11-20T17:00:00Z")),
        ("soon", dated(Key::DeniedNotYetValid, "from", "2099-12-01T08:00:00Z")),
        ("in-use", said(Reason::UserLimitReached)),
    ]
}

async fn is_denied(scripts: bool) {
    let (site, axe, pictures) = (Site::start("one-time", "guest_may_replace = true").await, axe(), pictures());
    let _ = site.router.login("in-use", "in-use", mac(LAPTOP)).await.unwrap().admitted().unwrap();
    let browser = site.browser(scripts).await;
    for language in Language::ALL {
        browser.speaks(language.tag()).await;
        browser.open("http://example.org/").await;
        for (code, sentence) in denials(language) {
            browser.types("#code", code).await;
            browser.taps(GO).await;
            browser.reads("#problem", &sentence).await;
        }
        // The last one is at its limit: the device that is online is shown, and may be logged out.
        browser.reads(".devices button", &say(language, Key::DevicesUseHere)).await;
        is_clear(&browser, &axe, "limit").await;
        browser.is_dark(true).await;
        is_clear(&browser, &axe, "limit in the dark").await;
        browser.picture(&pictures.join(format!("limit-dark-{}.png", language.tag()))).await;
        browser.is_dark(false).await;
    }
    // Nexudus does not answer, and then the device has guessed too often.
    site.nexudus.set_fail(Some("down".parse().unwrap()));
    for language in Language::ALL {
        browser.speaks(language.tag()).await;
        browser.open("http://example.org/").await;
        let (zone, now) = (TimeZone::UTC, "2026-11-23T12:00:00Z".parse().unwrap());
        let unavailable = words().denied(language, &Denial::from(Reason::SourceUnavailable), &zone, now);
        browser.types("#code", &format!("unseen-{}", language.tag())).await;
        browser.taps(GO).await;
        browser.reads("#problem", &unavailable).await;
    }
    site.nexudus.set_fail(None);
    let good = json!({"access_code": "kx7q-91mp", "dry_run": true});
    let is_well = || async { site.spotgate.authorize(good.clone()).await["decision"] == "allow" };
    site.spotgate.until("Nexudus is asked again", is_well).await;
    let login = format!("http://{}/login", site.phone.address());
    for nth in 0..60 {
        let form = [("link-login-only", login.as_str()), ("code", &format!("guess-{nth}"))];
        let request = client().post(format!("http://{}/login", site.spotgate.http)).form(&form);
        assert_eq!(request.header("x-forwarded-for", "10.5.88.81").send().await.unwrap().status(), 200);
    }
    for language in Language::ALL {
        browser.speaks(language.tag()).await;
        browser.open("http://example.org/").await;
        let (zone, now) = (TimeZone::UTC, "2026-11-23T12:00:00Z".parse().unwrap());
        browser.types("#code", "kx7q-91mp").await;
        browser.taps(GO).await;
        browser.reads("#problem", &words().denied(language, &Denial::from(Reason::Throttled), &zone, now)).await;
    }
    drop(browser);
    site.stop();
}

#[tokio::test]
async fn a_guest_reads_why_not_in_every_language() {
    is_denied(true).await;
}

#[tokio::test]
async fn a_guest_reads_why_not_without_scripts() {
    is_denied(false).await;
}

#[tokio::test]
async fn a_guest_at_the_limit_takes_a_place_over() {
    let (site, axe) = (Site::start("one-time", "guest_may_replace = true").await, axe());
    let _ = site.router.login("in-use", "in-use", mac(LAPTOP)).await.unwrap().admitted().unwrap();
    let browser = site.browser(true).await;
    // A link with the code in it, as on a card with a QR code: by way of the router, and back.
    browser.open(&format!("http://{}/login?code=in-use", site.spotgate.http)).await;
    browser.reads("h1", "Go online").await;
    assert!(browser.address().await.contains("link-login-only"), "{}", browser.address().await);
    browser.taps(GO).await;
    browser.taps(".devices button").await;
    browser.reads("h1", "You are online").await;
    site.router.gone(mac(LAPTOP)).await;
    is_clear(&browser, &axe, "status").await;
    browser.taps("form[action=logout] button").await;
    browser.reads("h1", "You are logged out").await;
    // Little time is warned of; and offline there is a way back.
    browser.open("http://example.org/").await;
    browser.types("#code", "short").await;
    browser.taps(GO).await;
    browser.reads("h1", "You are online").await;
    assert!(browser.text(".problem").await.contains("Your time ends in"), "{}", browser.source().await);
    is_clear(&browser, &axe, "warning").await;
    browser.picture(&pictures().join("warning-en.png")).await;
    browser.taps("form[action=logout] button").await;
    browser.reads("h1", "You are logged out").await;
    browser.open(&format!("http://{}/status", site.spotgate.http)).await;
    browser.reads("h1", "You are not online").await;
    is_clear(&browser, &axe, "offline").await;
    browser.taps("a.button").await;
    browser.reads("h1", "Go online").await;
    drop(browser);
    site.stop();
}

#[tokio::test]
async fn a_login_goes_by_the_routers_own_form_where_that_is_wanted() {
    let (site, axe) = (Site::start("form", "").await, axe());
    for scripts in [true, false] {
        let browser = site.browser(scripts).await;
        browser.open("http://example.org/").await;
        browser.types("#code", "kx7q-91mp").await;
        browser.taps(GO).await;
        if !scripts {
            browser.reads("main p", &say(Language::En, Key::HandOverReady)).await;
            browser.picture(&pictures().join("handover-en-no-script.png")).await;
            browser.taps("main button").await;
        }
        browser.reads("h1", "You are online").await;
        is_clear(&browser, &axe, "status").await;
        browser.taps("form[action=logout] button").await;
        browser.reads("h1", "You are logged out").await;
        site.router.gone(mac(PHONE)).await;
    }
    site.stop();
}

/// The pages that stay on the router.
#[tokio::test]
async fn a_router_keeps_its_own_login_page_where_that_is_wanted() {
    let (site, axe) = (Site::start("router", "").await, axe());
    let browser = site.browser(true).await;
    let own = format!("http://{}/", site.phone.address());
    for language in Language::ALL {
        let words = |key| say(language, key);
        let folder = if language == Language::En { String::new() } else { format!("{}/", language.tag()) };
        browser.open(&format!("{own}{folder}login")).await;
        is_clear(&browser, &axe, "the router's login").await;
        browser.picture(&pictures().join(format!("router-login-{}.png", language.tag()))).await;
        browser.types("input[name=username]:not([type=hidden])", "kx7q-91mp").await;
        browser.taps("form button").await;
        browser.reads("main strong", &words(Key::StatusOnline)).await;
        is_clear(&browser, &axe, "the router's status").await;
        browser.open(&format!("{own}{folder}logout")).await;
        browser.reads("main strong", &words(Key::LogoutDone)).await;
        is_clear(&browser, &axe, "the router's logout").await;
        site.router.gone(mac(PHONE)).await;
    }
    drop(browser);
    site.stop();
}

#[tokio::test]
async fn who_is_not_sent_by_a_router_reads_what_to_do() {
    let (site, axe) = (Site::start("one-time", "").await, axe());
    let browser = site.browser(true).await;
    let lost = format!("http://{}/login?link-login-only=http://evil.example/login", site.spotgate.http);
    browser.open(&lost).await;
    browser.reads("h1", "This did not work").await;
    is_clear(&browser, &axe, "error").await;
    browser.picture(&pictures().join("error-en.png")).await;
    drop(browser);
    site.stop();
}
