//! The operator's desk in Chromium: by keyboard alone, up to date by itself, without JavaScript, and nothing that keeps anybody
//! out (axe-core).
//!
//! Pictures of the pages are written for people to look at, below `target/tmp/desk-pages`.

use std::path::PathBuf;

use serde_json::json;
use spotgate::sandbox::hotspot::Record;

use crate::accounting::of as started;
use crate::browser::axe;
use crate::sessions::{Site, id};
use crate::support::browser::Browser;
use crate::support::{Spotgate, client, client_builder, mac, record, with};

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
    // Nor does a table that was clicked, or is scrolled by keyboard, stand still.
    browser.taps("tbody td:nth-child(3)").await;
    site.online("def-456", 2).await;
    browser.reads("section > p", "2 sessions").await;
    assert!(site.router.logout(mac(2)));
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
    let (_, decisions) = site.spotgate.read(&format!("/v1/decisions?reason=none&mac={DEVICE}")).await;
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

#[tokio::test]
async fn what_a_router_does_wrong_is_seen_from_what_it_sends() {
    const PORTAL: &str = "hotspot_hosts = [\"login.example.net\"]\n[portal]\npublic_url = \"http://wifi.example.net\"\n\
                          [admin]\npassword = \"a long lemonade\"\n";
    let codes: Vec<_> = (1..=12).map(|number| record(number, &format!("code-{number}"))).collect();
    let spotgate = Spotgate::over_file_with(&codes, PORTAL);
    let (hotspot, client) = (spotgate.hotspot(), client());
    let at = |path: &str| format!("http://{}{path}", spotgate.http);
    let form = [("name", "Ana"), ("password", "a long lemonade")];
    let browser = client_builder().tls_certs_only([]).redirect(reqwest::redirect::Policy::none()).build().unwrap();
    let signed_in = browser.post(at("/admin/sign-in")).form(&form).send().await.unwrap();
    let cookie = signed_in.headers()["set-cookie"].to_str().unwrap().split(';').next().unwrap().to_owned();
    let says = async |words: &str| {
        let page =
            client.get(at("/admin/routers")).header("cookie", &cookie).send().await.unwrap().text().await.unwrap();
        assert!(page.replace("&#x2f;", "/").contains(words), "{words:?} in {page}");
    };
    says("no guest has come to the portal since spotgate started").await;

    // Devices come, and nobody gets to the portal.
    for device in 1..=10 {
        assert!(!hotspot.login_mac(mac(device)).await.unwrap().accept);
    }
    says("10 devices were not known by their MAC, and no guest has come to the portal since spotgate started").await;
    let arrives = async |error: &str| {
        let query =
            [("link-login-only", "http://login.example.net/login"), ("mac", "3C:06:30:AA:19:01"), ("error", error)];
        let page = client.get(at("/login")).query(&query).send().await.unwrap();
        assert_eq!(page.status(), 200);
        page.text().await.unwrap()
    };
    arrives("").await;
    says("a guest came ").await;

    // Who is let in does not come online.
    for device in 1..=10 {
        let admitted = hotspot.login_pap(&format!("code-{device}"), "", mac(device)).await.unwrap();
        assert!(admitted.accept);
        if device == 1 {
            hotspot.account(&started(&admitted, device)).await.unwrap();
        }
    }
    says("of 10 devices that were let in, 1 came online").await;
    let page = arrives("no more sessions are allowed for user code-1").await;
    assert!(page.contains("in use on as many devices as it allows"), "{page}");
    says("set `shared-users=unlimited`").await;
    arrives("RADIUS server is not responding").await;
    says("it told a guest that RADIUS does not respond").await;

    // A device that got no address by DHCP.
    says("too few sessions have ended yet").await;
    let admitted = hotspot.login_pap("code-2", "", mac(2)).await.unwrap();
    let address = Some(std::net::Ipv4Addr::new(169, 254, 3, 4));
    hotspot.account(&Record { address, ..started(&admitted, 2) }).await.unwrap();
    says("a device came with an address of 169.254.0.0/16").await;

    // What was good for once is brought again.
    says("none has brought a password again").await;
    let form =
        [("code", "code-11"), ("link-login-only", "http://login.example.net/login"), ("mac", "3C:06:30:AA:19:0B")];
    let handed_over = browser.post(at("/login")).form(&form).send().await.unwrap();
    let to = reqwest::Url::parse(handed_over.headers()["location"].to_str().unwrap()).unwrap();
    let ticket = to.query_pairs().find(|(name, _)| name == "username").unwrap().1.into_owned();
    assert!(hotspot.login_pap(&ticket, &ticket, mac(11)).await.unwrap().accept);
    says("none has brought a password again").await;
    // At once, it is a browser that sent its address again.
    assert!(!hotspot.login_pap(&ticket, &ticket, mac(11)).await.unwrap().accept);
    says("none has brought a password again").await;
    spotgate.stop();
}
