//! A guest's browser behind the emulated router, with the real daemon: from the first page to the end of the session.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader};
use std::net::UdpSocket;
use std::process::{Child, Stdio};

use reqwest::{Client, Proxy, Url};
use spotgate::portal::handover::Chap;
use spotgate::sandbox::router::{LoginBy, Options, Profile, Router, Web};

use crate::support::{KEY, SECRET, Spotgate, client, client_builder, mac, record, spotgate};

/// A browser that follows nobody, with the router for its proxy.
fn browser(proxy: &str) -> Client {
    let proxy = Proxy::http(proxy).unwrap();
    client_builder().tls_certs_only([]).redirect(reqwest::redirect::Policy::none()).proxy(proxy).build().unwrap()
}

/// Status, Location and text.
async fn read(request: reqwest::RequestBuilder) -> (u16, String, String) {
    let answer = request.send().await.unwrap();
    let location = answer.headers().get("location").map(|place| place.to_str().unwrap().to_owned());
    (answer.status().as_u16(), location.unwrap_or_default(), answer.text().await.unwrap())
}

/// What the portal is told when a guest who is not online opens a page: follows the router's redirects up to there.
async fn told(browser: &Client, page: &str) -> (String, BTreeMap<String, String>) {
    let (status, login, _) = read(browser.get(page)).await;
    assert_eq!(status, 302, "{login}");
    let (status, portal, _) = read(browser.get(login)).await;
    assert_eq!(status, 302, "{portal}");
    let url = Url::parse(&portal).unwrap();
    (portal, url.query_pairs().into_owned().collect())
}

/// Sends the login form with the response to the challenge that the portal is told.
async fn login(browser: &Client, code: &str, password: &str) -> (u16, String, String) {
    let (_, told) = told(browser, "http://example.org/").await;
    let chap = Chap::parse(&told["chap-id"], &told["chap-challenge"]).unwrap();
    let form = [("username", code), ("password", &chap.response(password)), ("dst", &told["link-orig"])];
    read(browser.post(&told["link-login-only"]).form(&form)).await
}

/// A router that takes orders where the daemon believes it, and a device at it.
async fn behind(spotgate: &Spotgate, incoming: u16) -> (Router, Web) {
    let mut options = Options::new(spotgate.auth, SECRET.as_bytes());
    options.accounting = spotgate.accounting;
    options.incoming.set_port(incoming);
    let router = Router::start(options).await.unwrap();
    let profile = Profile { login_by: LoginBy::Chap, ..Profile::for_portal(spotgate.http) };
    let web = router.web(mac(0x51), profile).await.unwrap();
    (router, web)
}

#[tokio::test]
async fn a_guest_comes_online_by_browser_and_is_sent_away() {
    let incoming = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let spotgate = Spotgate::over_file_with(&[record(1, "kx7q-91mp")], &format!("disconnect_port = {incoming}"));
    let (router, web) = behind(&spotgate, incoming).await;
    let browser = browser(&format!("http://{}", web.address()));

    let (status, _, said) = read(browser.get(format!("http://{}/healthz", spotgate.http))).await;
    assert_eq!(status, 200, "the daemon is in the walled garden: {said}");
    for (code, password, words) in
        [("no-such-code", "no-such-code", "This code is not known"), ("kx7q-91mp", "another", "password does not fit")]
    {
        let (status, location, _) = login(&browser, code, password).await;
        let error =
            Url::parse(&location).unwrap().query_pairs().find(|(name, _)| name == "error").unwrap().1.into_owned();
        assert!(status == 302 && error.contains(words), "{error}");
    }
    let (status, _, said) = login(&browser, "kx7q-91mp", "kx7q-91mp").await;
    assert!(status == 200 && said.contains("url=http://example.org/\""), "{said}");
    let (status, _, said) = read(browser.get("http://example.org/")).await;
    assert!(status == 200 && said.contains("you reached example.org"), "{said}");

    router.settled().await;
    let (_, sessions) = spotgate.read("/v1/sessions").await;
    let session = &sessions["sessions"][0];
    assert_eq!((session["ip"].as_str(), session["state"].as_str()), (Some("10.5.88.81"), Some("online")), "{session}");
    let url = format!("http://{}/v1/sessions/{}", spotgate.http, session["session"].as_str().unwrap());
    let answer = client().delete(url).bearer_auth(KEY).send().await.unwrap();
    assert_eq!(answer.status(), 202);
    router.gone(mac(0x51)).await;
    let (_, told) = told(&browser, "http://example.org/").await;
    assert_eq!(told["error"], "");
    spotgate.stop();
}

/// A running demo; it ends with the value.
struct Demo(Child);

impl Drop for Demo {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test]
async fn the_demo_has_two_phones_to_play_with() {
    let mut demo = Demo(spotgate(&["demo"]).stdout(Stdio::piped()).spawn().unwrap());
    let lines = BufReader::new(demo.0.stdout.take().unwrap()).lines().map_while(Result::ok);
    let lines: Vec<String> = lines.take_while(|line| !line.contains("Ctrl-C")).collect();
    let said = lines.join("\n");
    let of = |start: &str| {
        let line = lines.iter().find_map(|line| line.trim_start().strip_prefix(start));
        line.unwrap_or_else(|| panic!("{start} in {said}")).split_whitespace().next().unwrap().to_owned()
    };
    let (portal, phones) = (of("HTTP"), [of("your phone"), of("a second phone")]);
    assert_ne!(phones[0], phones[1]);
    for (phone, mac) in phones.iter().zip(["02:00:5E:00:00:41", "02:00:5E:00:00:42"]) {
        let browser = browser(phone);
        let (address, told) = told(&browser, phone).await;
        assert!(address.starts_with(&format!("{portal}/login?")), "{address}");
        assert_eq!((told["mac"].as_str(), told["link-orig"].as_str()), (mac, phone.as_str()));
        let (status, _, answer) = login(&browser, "DEMO-TWO", "DEMO-TWO").await;
        assert_eq!(status, 200, "{answer}");
        let (_, _, answer) = read(browser.get(phone)).await;
        assert!(answer.contains("This is the internet"), "{answer}");
        let (_, _, answer) = read(browser.get(format!("{phone}status"))).await;
        assert!(answer.contains("2h left") || answer.contains("1h59m"), "{answer}");
        let (_, _, answer) = read(browser.get(format!("{phone}logout"))).await;
        assert!(answer.contains("logged out"), "{answer}");
    }
    assert!(std::process::Command::new("kill").arg(demo.0.id().to_string()).status().unwrap().success());
    assert!(demo.0.wait().unwrap().success());
}
