//! A guest's browser behind the emulated router, with the real daemon: from the first page to the end of the session.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader};
use std::net::{SocketAddr, UdpSocket};
use std::process::{Child, Stdio};

use reqwest::{Client, Proxy, Url};
use spotgate::portal::handover::Chap;
use spotgate::sandbox::router::{LoginBy, Options, Pages, Profile, Router, Web};
use spotgate::{config, mikrotik};

use crate::support::{
    FILE_SOURCE, KEY, SECRET, Spotgate, client, client_builder, configuration, mac, record, spotgate,
};

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

/// The pages of a router whose guests are sent to the portal at this address, and come back with their code in a form.
fn pages(portal: SocketAddr) -> Pages {
    let text =
        configuration(FILE_SOURCE, "hand_over = \"form\"") + &format!("[portal]\npublic_url = \"http://{portal}\"\n");
    let settings = config::from_str(&text, "spotgate.toml".as_ref(), &|_| None).unwrap().settings;
    Pages::new(mikrotik::pages(&settings, &settings.nas[0]).unwrap())
}

/// A router that takes orders where the daemon believes it, and a device at it.
async fn behind(spotgate: &Spotgate, incoming: u16) -> (Router, Web) {
    let mut options = Options::new(spotgate.auth, SECRET.as_bytes());
    options.accounting = spotgate.accounting;
    options.incoming.set_port(incoming);
    let router = Router::start(options).await.unwrap();
    let profile = Profile { login_by: LoginBy::Chap, ..Profile::new(pages(spotgate.http), spotgate.http) };
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
    let (status, location, said) = login(&browser, "kx7q-91mp", "kx7q-91mp").await;
    let dst = "&dst=http%3A%2F%2Fexample.org%2F";
    assert!(status == 302 && location.starts_with(&format!("http://{}/status?", spotgate.http)), "{location}: {said}");
    assert!(location.ends_with(dst), "{location}");
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

/// A browser that keeps nothing: no cookie, no script.
struct Plain(Client);

/// A page, and the addresses on the way to it, its own at the end.
struct Shown {
    way: Vec<Url>,
    text: String,
}

impl Plain {
    fn new() -> Self {
        Self(client_builder().tls_certs_only([]).redirect(reqwest::redirect::Policy::none()).build().unwrap())
    }

    /// Opens an address, as the address bar and links do.
    async fn open(&self, address: &str) -> Shown {
        let address = Url::parse(address).unwrap();
        self.follow(self.0.get(address.clone()), address).await
    }

    /// Sends the last form of a page but that for its language, with more filled in.
    async fn send(&self, page: &Shown, filled_in: &[(&str, &str)]) -> Shown {
        let (main, _) = page.text.split_once("</main>").unwrap_or((&page.text, ""));
        let (_, form) = main.rsplit_once("<form ").unwrap_or_else(|| panic!("no form in {}", page.text));
        let form = form.split_once("</form>").unwrap().0;
        let value = |of: &str, name: &str| of.split_once(&format!("{name}=\"")).map(|(_, rest)| unescaped(rest));
        let hidden = form.split("<input type=\"hidden\" ").skip(1);
        let mut pairs: Vec<(String, String)> =
            hidden.map(|input| (value(input, "name").unwrap(), value(input, "value").unwrap())).collect();
        pairs.extend(filled_in.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
        let action = page.at().join(&value(form, "action").unwrap()).unwrap();
        self.follow(self.0.post(action.clone()).form(&pairs), action).await
    }

    /// To the page behind the button that is a link.
    async fn press(&self, page: &Shown) -> Shown {
        let (_, link) = page.text.split_once("class=\"button\" href=\"").unwrap_or_else(|| panic!("{}", page.text));
        self.open(page.at().join(&unescaped(link)).unwrap().as_str()).await
    }

    /// Follows redirects and refreshes.
    async fn follow(&self, request: reqwest::RequestBuilder, address: Url) -> Shown {
        let (mut request, mut way) = (request, vec![address]);
        loop {
            let (_, location, text) = read(request).await;
            let refresh = text.split_once("http-equiv=\"refresh\" content=\"0; url=").map(|(_, url)| unescaped(url));
            let next = Some(location).filter(|location| !location.is_empty()).or(refresh);
            let Some(next) = next else { return Shown { way, text } };
            assert!(way.len() < 10, "{way:?}");
            let next = way[way.len() - 1].join(&next).unwrap();
            request = self.0.get(next.clone());
            way.push(next);
        }
    }
}

impl Shown {
    fn at(&self) -> &Url {
        &self.way[self.way.len() - 1]
    }

    /// Host and path of each address on the way.
    fn stations(&self) -> Vec<String> {
        self.way.iter().map(|url| format!("{}{}", url.authority(), url.path())).collect()
    }

    fn says(&self, words: &str) -> bool {
        self.text.contains(words)
    }

    /// The seconds that run down on the status page.
    fn seconds_left(&self) -> u64 {
        let (_, seconds) = self.text.split_once("data-seconds=\"").unwrap_or_else(|| panic!("{}", self.text));
        seconds.split('"').next().unwrap().parse().unwrap()
    }
}

/// The value of an attribute that a text begins with.
fn unescaped(text: &str) -> String {
    let value = text.split('"').next().unwrap();
    let plain = [("&#x2f;", "/"), ("&#x27;", "'"), ("&#39;", "'"), ("&lt;", "<"), ("&gt;", ">"), ("&amp;", "&")];
    plain.iter().fold(value.to_owned(), |value, (escaped, plain)| value.replace(escaped, plain))
}

/// A phone of the demo, as its person has it: what it opens, and where it finds the portal.
struct Phone {
    browser: Plain,
    router: String,
    portal: String,
}

impl Phone {
    /// Opens the address that the demo prints, and comes to the login page.
    async fn arrives(&self) -> Shown {
        let page = self.browser.open(&format!("http://{}/", self.router)).await;
        let (router, portal) = (&self.router, &self.portal);
        assert_eq!(page.stations(), [format!("{router}/"), format!("{router}/login"), format!("{portal}/login")]);
        page
    }

    /// Types a code that is good, and comes to the status page.
    async fn goes_online(&self, code: &str) -> Shown {
        let page = self.browser.send(&self.arrives().await, &[("code", code)]).await;
        let (router, portal) = (&self.router, &self.portal);
        let way = [format!("{portal}/login"), format!("{router}/login"), format!("{portal}/status")];
        assert_eq!(page.stations(), way, "{}", page.text);
        let login: BTreeMap<String, String> = page.way[1].query_pairs().into_owned().collect();
        assert!(login["username"].starts_with("sg-") && login["password"] == login["username"], "{login:?}");
        assert!(page.way.iter().all(|url| !url.as_str().to_uppercase().contains(code)), "{:?}", page.way);
        assert!(page.says("You are online"), "{}", page.text);
        page
    }

    async fn logs_out(&self, status: &Shown) -> Shown {
        let page = self.browser.send(status, &[]).await;
        assert!(page.says("You are logged out") && page.says("is kept for next time"), "{}", page.text);
        assert_eq!(page.at().as_str(), format!("http://{}/logout", self.portal));
        page
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
        let url = line.unwrap_or_else(|| panic!("{start} in {said}")).split_whitespace().next().unwrap();
        url.trim_start_matches("http://").trim_end_matches('/').to_owned()
    };
    let portal = of("HTTP");
    let elsewhere = portal.replace("127.0.0.1", "localhost");
    let [first, second] = [("your phone", portal), ("a second phone", elsewhere)].map(|(name, portal)| Phone {
        browser: Plain::new(),
        router: of(name),
        portal,
    });

    // A code for one device, on two.
    let status = first.goes_online("DEMO-HOUR").await;
    assert!((3590..=3600).contains(&status.seconds_left()) && status.says("1 of 1"), "{}", status.text);
    let page = first.browser.open(&format!("http://{}/", first.router)).await;
    assert!(page.says("This is the internet"), "{}", page.text);
    let page = second.browser.send(&second.arrives().await, &[("code", "DEMO-HOUR")]).await;
    assert!(page.says("This code is in use on another device") && page.says("Device ending in 00-41"), "{}", page.text);
    assert_eq!(page.stations(), [format!("{}/login", second.portal)]);
    let page = second.browser.send(&page, &[("code", "DEMO-PAST")]).await;
    assert!(page.says("This code expired on") && !page.says("00-41"), "{}", page.text);
    let page = first.browser.press(&first.logs_out(&status).await).await;
    assert!(page.at().authority() == first.portal && page.says("name=\"code\""), "{:?}: {}", page.way, page.text);
    let status = second.goes_online("DEMO-HOUR").await;
    assert!(status.says("1 of 1"), "{}", status.text);
    let page = second.browser.press(&second.logs_out(&status).await).await;
    assert!(page.at().authority() == second.portal && page.says("name=\"code\""), "{:?}: {}", page.way, page.text);

    // One pool for both.
    let status = [first.goes_online("DEMO-POOL").await, second.goes_online("DEMO-POOL").await];
    assert!(status[0].says("1 of 3") && status[1].says("2 of 3"), "{}\n{}", status[0].text, status[1].text);
    let again = first.browser.open(status[0].at().as_str()).await;
    assert!(again.says("2 of 3") && again.seconds_left().abs_diff(status[1].seconds_left()) <= 10, "{}", again.text);
    first.logs_out(&again).await;
    // Who has no badge is known by the address that the router, as a proxy, says.
    let behind = Plain(browser(&format!("http://{}", second.router)));
    let page = behind.open(&format!("http://{}/status", second.router)).await;
    assert!(page.says("You are online") && page.says("1 of 3"), "{:?}: {}", page.way, page.text);
    let page = second.browser.open(&format!("http://{}/logout", second.router)).await;
    assert!(page.says("You are logged out"), "the router's own way out: {}", page.text);
    second.arrives().await;

    assert!(std::process::Command::new("kill").arg(demo.0.id().to_string()).status().unwrap().success());
    assert!(demo.0.wait().unwrap().success());
}
