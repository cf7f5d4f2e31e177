//! The operator's desk in Chromium: by keyboard alone, up to date by itself, without JavaScript, and nothing that keeps anybody
//! out (axe-core).
//!
//! Pictures of the pages are written for people to look at, below `target/tmp/desk-pages`.

use std::path::PathBuf;

use serde_json::json;

use crate::browser::axe;
use crate::sessions::{Site, id};
use crate::support::browser::Browser;
use crate::support::{Spotgate, mac, record, with};

const ENTER: &str = "\u{E007}";
const DEVICE: &str = "3C:06:30:AA:19:01";

async fn site() -> Site {
    let past = with(record(2, "old-77"), json!({"ValidTo": "2026-01-01T00:00:00Z"}));
    let desk = "disconnect_port = 1\n[admin]\npassword = \"a long lemonade\"\n[portal]\ntitle = \"Example Space\"\n";
    Site::around(Spotgate::over_file_with(&[record(1, "abc-123"), past, record(3, "def-456")], desk)).await
}

fn at(site: &Site, path: &str) -> String {
    format!("http://{}{path}", site.spotgate.http)
}

async fn sign_in(browser: &Browser, site: &Site) {
    browser.open(&at(site, "/admin")).await;
    // The field has the keyboard already.
    browser.presses(&format!("a long lemonade{ENTER}")).await;
    browser.reads("h1", "Overview").await;
}

#[tokio::test]
async fn an_operator_finds_and_ends_a_session_by_keyboard_alone_and_sees_it_end() {
    let (site, browser) = (site().await, Browser::on_a_desk(true).await);
    sign_in(&browser, &site).await;
    browser.tabs_to("Skip to the content").await;
    browser.presses(ENTER).await;
    browser.open(&at(&site, "/admin")).await;
    browser.tabs_to("Sessions").await;
    browser.presses(ENTER).await;
    browser.reads("h1", "Sessions").await;
    browser.reads("section > p", "0 sessions").await;
    // Somebody comes while the page is open.
    site.online("abc-123", 1).await;
    browser.reads("section > p", "1 session").await;
    browser.reads("tbody a", DEVICE).await;
    browser.tabs_to(&format!("Disconnect {DEVICE}")).await;
    browser.presses(ENTER).await;
    browser.reads("h1", &format!("Session of {DEVICE}")).await;
    browser.reads(".state", &format!("ended: it has ended, after {} s", seconds(&site).await)).await;
    assert!(site.router.sessions().is_empty(), "the router has been told");
    browser.tabs_to("Actions").await;
    browser.presses(ENTER).await;
    browser.reads("tbody td:nth-child(4)", "disconnect").await;
    browser.tabs_to("Sign out").await;
    browser.presses(ENTER).await;
    browser.reads("h1", "Sign in").await;
    browser.open(&at(&site, "/admin/sessions")).await;
    browser.reads("h1", "Sign in").await;
}

/// What the one session that ended counts for.
async fn seconds(site: &Site) -> u64 {
    let (_, decisions) = site.spotgate.read("/v1/decisions?reason=none").await;
    let session = decisions["decisions"][0]["session"].as_str().unwrap().to_owned();
    site.until("ended", &session, |session| session["state"] == "ended").await;
    site.session(&session).await["seconds_used"].as_u64().unwrap()
}

#[tokio::test]
async fn why_a_guest_cannot_connect_is_found_out_from_the_first_page() {
    let (site, browser) = (site().await, Browser::on_a_desk(true).await);
    sign_in(&browser, &site).await;
    browser.types("#who", "old-77").await;
    browser.presses(ENTER).await;
    browser.reads("h2.decision", "Denied: expired").await;
    let address = browser.address().await;
    assert!(!address.contains("old-77"), "{address}");
    browser.types("#who", &mac(9).to_string()).await;
    browser.presses(ENTER).await;
    browser.reads("h2.decision", "Denied: unknown_device").await;
}

#[tokio::test]
async fn the_desk_works_without_scripts() {
    let (site, browser) = (site().await, Browser::on_a_desk(false).await);
    site.online("abc-123", 1).await;
    let session = id(&site.session_of(1).await);
    browser.open(&at(&site, "/admin/sessions")).await;
    browser.types("#password", "a long lemonade").await;
    browser.taps("form button").await;
    browser.reads("tbody a", DEVICE).await;
    browser.taps("tbody button").await;
    browser.reads("h1", &format!("Session of {DEVICE}")).await;
    site.until("ended", &session, |session| session["state"] == "ended").await;
}

#[tokio::test]
async fn no_page_of_the_desk_keeps_anybody_out() {
    let (site, axe, pictures) = (site().await, axe(), pictures());
    site.online("abc-123", 1).await;
    site.online("def-456", 2).await;
    assert!(site.router.login("old-77", "", mac(3)).await.unwrap().admitted().is_none());
    let session = id(&site.session_of(1).await);
    let pages = [
        ("overview", "/admin".to_owned()),
        ("sessions", "/admin/sessions".to_owned()),
        ("session", format!("/admin/sessions/{session}")),
        ("why", "/admin/why".to_owned()),
        ("decisions", "/admin/decisions".to_owned()),
        ("tokens", "/admin/tokens".to_owned()),
        ("token", "/admin/tokens/1".to_owned()),
        ("routers", "/admin/routers".to_owned()),
        ("actions", "/admin/actions".to_owned()),
        ("missing", "/admin/tokens/99".to_owned()),
    ];
    for (device, browser) in
        [("desk", Browser::on_a_desk(true).await), ("phone", Browser::start("direct://", true).await)]
    {
        browser.open(&at(&site, "/admin")).await;
        let barriers = browser.barriers(&axe).await;
        assert!(barriers.is_empty(), "sign-in on a {device}: {barriers:#?}");
        sign_in(&browser, &site).await;
        for (name, path) in &pages {
            browser.open(&at(&site, path)).await;
            for dark in [false, true] {
                browser.is_dark(dark).await;
                let barriers = browser.barriers(&axe).await;
                assert!(barriers.is_empty(), "{name} on a {device}, dark: {dark}: {barriers:#?}");
                let light = if dark { "dark" } else { "light" };
                browser.picture(&pictures.join(format!("{name}-{device}-{light}.png"))).await;
            }
        }
        browser.open(&at(&site, "/admin/why")).await;
        browser.types("#who", "old-77").await;
        browser.presses(ENTER).await;
        browser.reads("h2.decision", "Denied: expired").await;
        let barriers = browser.barriers(&axe).await;
        assert!(barriers.is_empty(), "the answer on a {device}: {barriers:#?}");
        browser.picture(&pictures.join(format!("answer-{device}.png"))).await;
    }
}

fn pictures() -> PathBuf {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("desk-pages");
    std::fs::create_dir_all(&folder).unwrap();
    folder
}
