//! A guest's browser, over TCP.

mod limits;

use std::collections::BTreeMap;

use axum::http::HeaderMap;
use axum::routing::any;
use reqwest::{Client, Method, Proxy, Url};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::*;
use crate::core::login::Proof;
use crate::portal::handover::Chap;

const REFUSAL: &str = "This code is not known here.";
const PORTAL: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 8080);

/// A guest's browser, the router it is behind, and a server that knows one code.
struct Guest {
    router: Router,
    server: Server,
    web: Web,
    /// Talks to the router's own pages.
    direct: Client,
    /// Has the router for its proxy.
    proxied: Client,
    _still: Held<()>,
}

/// The folder that a router gets whose guests are handed over in this way; the router is `desk`.
fn pages(hand_over: &str, portal: SocketAddr) -> Pages {
    let text = format!(
        "[source]\nkind = \"file\"\npath = \"tokens.json\"\n[[nas]]\nname = \"desk\"\naddress = \"127.0.0.1\"\n\
         secret = \"correct horse battery\"\nhand_over = \"{hand_over}\"\n[portal]\npublic_url = \"http://{portal}\"\n"
    );
    let settings = crate::config::from_str(&text, "spotgate.toml".as_ref(), &|_| None).unwrap().settings;
    Pages::new(crate::mikrotik::pages(&settings, &settings.nas[0]).unwrap())
}

/// A router whose pages send guests to the portal.
fn profile(login_by: LoginBy) -> Profile {
    Profile { login_by, ..Profile::new(pages("form", PORTAL), PORTAL) }
}

/// What came back.
#[derive(Debug, PartialEq, Eq)]
struct Page {
    status: u16,
    location: String,
    body: String,
}

/// Whether the code is known, and the password is the code.
fn is_known(request: &Packet<'_>) -> bool {
    let mut plain = [0; 128];
    let proof = if let Some(hidden) = request.first(attr::USER_PASSWORD) {
        Proof::Password(Secret::new(SECRET).unhide(hidden, request.authenticator(), &mut plain).unwrap())
    } else {
        let (ident, digest) = request.first(attr::CHAP_PASSWORD).unwrap().split_first().unwrap();
        let challenge = request.first(attr::CHAP_CHALLENGE).unwrap();
        Proof::Chap { ident: *ident, digest: digest.try_into().unwrap(), challenge }
    };
    request.first(attr::USER_NAME) == Some(CODE.as_bytes()) && proof.shows(CODE.as_bytes())
}

async fn guest_with(profile: Profile) -> Guest {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let server = Server::deciding(|request| if is_known(request) { Ok(HOUR) } else { Err(REFUSAL.as_bytes()) });
    let router = Router::start(options(&server)).await.unwrap();
    let web = router.web(MAC, profile).await.unwrap();
    // Nothing of a connection that time has closed.
    let client = || {
        let none = reqwest::redirect::Policy::none();
        Client::builder().no_proxy().tls_certs_only([]).redirect(none).pool_max_idle_per_host(0)
    };
    let proxy = Proxy::http(format!("http://{}", web.address())).unwrap();
    let (direct, proxied) = (client().build().unwrap(), client().proxy(proxy).build().unwrap());
    Guest { router, server, web, direct, proxied, _still: still() }
}

async fn guest(login_by: LoginBy) -> Guest {
    guest_with(profile(login_by)).await
}

async fn read(request: reqwest::RequestBuilder) -> Page {
    let answer = request.send().await.unwrap();
    let location = answer.headers().get("location").map(|place| place.to_str().unwrap().to_owned());
    Page {
        status: answer.status().as_u16(),
        location: location.unwrap_or_default(),
        body: answer.text().await.unwrap(),
    }
}

impl Page {
    /// Where the portal's status page is told that the guest wanted to go; none: it is not where this leads.
    fn leads_to_the_status(&self) -> Option<String> {
        let is_there = self.status == 302 && self.location.starts_with("http://127.0.0.1:8080/status?nas=desk&mac=");
        is_there.then(|| parameters(&self.location).remove("dst").unwrap_or_default())
    }
}

/// Where the form of a login page of the router's own leads, and the challenge in it.
fn form(page: &str) -> (&str, Chap) {
    let given = |name: &str| page.split(&format!(" {name}=\"")).nth(1).unwrap().split('"').next().unwrap();
    (given("action"), Chap::parse(given("data-chap-id"), given("data-chap-challenge")).unwrap())
}

/// The parameters of an address.
fn parameters(url: &str) -> BTreeMap<String, String> {
    Url::parse(url).unwrap().query_pairs().into_owned().collect()
}

impl Guest {
    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.web.address())
    }

    async fn get(&self, path: &str) -> Page {
        read(self.direct.get(self.url(path))).await
    }

    /// Opens a page of the web.
    async fn visit(&self, url: &str) -> Page {
        read(self.proxied.get(url)).await
    }

    /// Sends the login form.
    async fn login(&self, username: &str, password: &str) -> Page {
        let form = [("username", username), ("password", password), ("dst", "http://example.org/")];
        read(self.direct.post(self.url("/login")).form(&form)).await
    }

    /// What the portal is told by the login page.
    async fn told(&self) -> BTreeMap<String, String> {
        parameters(&self.get("/login").await.location)
    }

    async fn chap(&self) -> Chap {
        let told = self.told().await;
        Chap::parse(&told["chap-id"], &told["chap-challenge"]).unwrap()
    }

    async fn is_online(&self) -> bool {
        let page = self.visit("http://example.org/").await;
        assert!(matches!(page.status, 200 | 302), "{page:?}");
        page.status == 200
    }

    /// Sends these octets and reads until the router closes.
    async fn raw(&self, request: &[u8]) -> String {
        let mut stream = TcpStream::connect(self.web.address()).await.unwrap();
        // It may close before all was sent.
        let _ = stream.write_all(request).await;
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer).await;
        String::from_utf8_lossy(&answer).into_owned()
    }
}

#[tokio::test(start_paused = true)]
async fn a_page_of_the_web_leads_to_the_portal_with_all_it_needs() {
    let guest = guest(LoginBy::Both).await;
    for (page, orig) in [
        (guest.visit("http://example.org/a?b=c&d=%C3%A9#e").await, "http://example.org/a?b=c&d=%C3%A9".to_owned()),
        (guest.get("/any/page?x=\"y\"").await, guest.url("/any/page?x=%22y%22")),
    ] {
        assert_eq!(page.status, 302);
        assert!(page.location.starts_with(&guest.url("/login?dst=http%3A%2F%2F")), "{}", page.location);
        let page = read(guest.direct.get(page.location)).await;
        assert_eq!(page.status, 302);
        assert!(page.location.starts_with("http://127.0.0.1:8080/login?"), "{}", page.location);
        let mut told = parameters(&page.location);
        let chap = Chap::parse(&told.remove("chap-id").unwrap(), &told.remove("chap-challenge").unwrap());
        assert!(chap.is_some());
        let told: Vec<_> = told.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let login = guest.url("/login");
        assert_eq!(
            told,
            [
                ("error", ""),
                ("ip", "10.5.88.41"),
                ("link-login-only", login.as_str()),
                ("link-orig", orig.as_str()),
                ("mac", "9A:4C:10:7E:22:29"),
                ("nas", "desk"),
            ]
        );
    }
}

#[tokio::test(start_paused = true)]
async fn the_right_response_opens_the_way_and_logout_closes_it() {
    let mut guest = guest(LoginBy::Chap).await;
    assert!(!guest.is_online().await);
    let page = guest.login(CODE, &guest.chap().await.response(CODE)).await;
    assert_eq!(page.leads_to_the_status().as_deref(), Some("http://example.org/"), "{page:?}");
    assert_eq!(guest.server.record().await.address, Some(Ipv4Addr::new(10, 5, 88, 41)));
    let packet = guest.server.logins.recv().await.unwrap().bytes;
    let packet = Packet::parse(&packet).unwrap();
    assert_eq!(packet.first(attr::FRAMED_IP_ADDRESS), Some(&[10, 5, 88, 41][..]));
    assert_eq!(packet.first(attr::CALLING_STATION_ID), Some(&b"9A:4C:10:7E:22:29"[..]));

    let page = guest.visit("http://example.org/<b>").await;
    assert!(page.status == 200 && page.body.contains("you reached example.org"), "{page:?}");
    assert!(!page.body.contains("<b>"));
    pass(&guest.router, 59).await;
    for path in ["/status", "/login?username=other"] {
        let page = guest.get(path).await;
        assert!(page.leads_to_the_status().is_some() && page.body.contains(&guest.url("/logout")), "{path}: {page:?}");
    }
    let page = guest.get("/logout").await;
    assert!(page.status == 200 && page.body.contains("You are logged out"), "{page:?}");
    assert_eq!(guest.server.record().await.brief(), (StatusType::Stop, "80300000", Some(59), Some(1)));
    assert!(!guest.is_online().await);
    for path in ["/status", "/logout"] {
        assert_eq!(guest.get(path).await.location, guest.url("/login"), "{path}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_login_page_of_the_routers_own_needs_no_portal() {
    let guest = guest_with(Profile { login_by: LoginBy::Chap, ..Profile::new(pages("router", PORTAL), PORTAL) }).await;
    for (folder, chap_missing) in [("", "The login did not get through"), ("/de", "Die Anmeldung ist nicht")] {
        let path = format!("{folder}/login");
        let page = guest.get(&path).await.body;
        let (action, chap) = form(&page);
        assert_eq!(action, guest.url(&path));
        let post = async |password: &str| {
            read(guest.direct.post(action).form(&[("username", CODE), ("password", password)])).await
        };
        let page = post("").await;
        assert!(page.status == 200 && page.body.contains(chap_missing), "{page:?}");
        let page = post(&chap.response("another")).await;
        assert!(page.status == 200 && page.body.contains(&format!("role=\"alert\">{REFUSAL}</p>")), "{page:?}");
    }
    let page = guest.get("/login").await.body;
    let (_, chap) = form(&page);
    let page = guest.login(CODE, &chap.response(CODE)).await;
    assert!(page.status == 200 && page.body.contains("You are online"), "{page:?}");
    pass(&guest.router, 59).await;
    for (path, words) in [("/status", "Time left: 59m1s"), ("/de/status", "59m1s"), ("/logout", "You are logged out")] {
        let page = guest.get(path).await;
        assert!(page.status == 200 && page.body.contains(words), "{path}: {page:?}");
    }
    assert!(!guest.is_online().await);
}

#[tokio::test(start_paused = true)]
async fn a_challenge_is_answered_once() {
    let mut guest = guest(LoginBy::Chap).await;
    let chap = guest.chap().await;
    assert_eq!(guest.chap().await, chap, "a second page asks the same");
    let refused = guest.login(CODE, &chap.response("another")).await;
    let told = parameters(&refused.location);
    assert_eq!((told["error"].as_str(), told["link-orig"].as_str()), (REFUSAL, "http://example.org/"));
    let _ = guest.server.logins.recv().await;
    let next = Chap::parse(&told["chap-id"], &told["chap-challenge"]).unwrap();
    assert_ne!(next, chap);
    let wrong = parameters(&guest.login(CODE, &chap.response(CODE)).await.location);
    assert_eq!(wrong["error"], REFUSAL, "the used one is worth nothing");
    let _ = guest.server.logins.recv().await;
    let page = guest.login(CODE, &guest.chap().await.response(CODE).to_uppercase()).await;
    assert!(page.leads_to_the_status().is_some(), "{page:?}");
}

#[tokio::test(start_paused = true)]
async fn without_a_challenge_radius_is_not_asked() {
    let mut guest = guest(LoginBy::Chap).await;
    let late = guest.chap().await;
    pass(&guest.router, 3600).await;
    for password in [late.response(CODE), late.response(CODE), CODE.to_owned(), String::new()] {
        let told = parameters(&guest.login(CODE, &password).await.location);
        assert_eq!(told["error"], "web browser did not send challenge response", "{told:?}");
        // the answer to the last page's challenge is not this one; nor is that page's challenge answered here
        guest.web = guest.router.web(MAC, profile(LoginBy::Chap)).await.unwrap();
    }
    assert!(guest.server.logins.try_recv().is_err());
}

#[tokio::test(start_paused = true)]
async fn a_challenge_lives_for_an_hour() {
    let guest = guest(LoginBy::Both).await;
    let chap = guest.chap().await;
    pass(&guest.router, 3599).await;
    assert_eq!(guest.chap().await, chap);
    pass(&guest.router, 1).await;
    assert_ne!(guest.chap().await, chap);
}

#[tokio::test(start_paused = true)]
async fn a_password_travels_by_pap_where_it_may() {
    for login_by in [LoginBy::Pap, LoginBy::Both] {
        let guest = guest(login_by).await;
        assert_eq!(guest.told().await["chap-id"].is_empty(), login_by == LoginBy::Pap);
        let told = parameters(&guest.login(CODE, "another").await.location);
        assert_eq!(told["error"], REFUSAL);
        let page = guest.get(&format!("/login?username={CODE}&password={CODE}")).await;
        assert!(page.leads_to_the_status().is_some(), "{page:?}");
        assert!(guest.is_online().await);
    }
}

#[tokio::test(start_paused = true)]
async fn the_way_closes_when_the_session_ends() {
    let mut guest = guest(LoginBy::Pap).await;
    let _ = guest.login(CODE, CODE).await;
    assert!(guest.is_online().await);
    pass(&guest.router, 3600).await;
    guest.router.gone(MAC).await;
    assert!(!guest.is_online().await);
    assert_eq!(guest.server.record().await.status, StatusType::Start);
}

#[tokio::test(start_paused = true)]
async fn https_is_refused_before_the_login() {
    let guest = guest(LoginBy::Pap).await;
    let connect = b"CONNECT example.org:443 HTTP/1.1\r\nHost: example.org:443\r\nConnection: close\r\n\r\n";
    assert_eq!(guest.raw(connect).await, "");
    let _ = guest.login(CODE, CODE).await;
    assert!(guest.raw(connect).await.starts_with("HTTP/1.1 502 "));
}

#[tokio::test(start_paused = true)]
async fn the_walled_garden_hears_whose_guest_it_is() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let portal = listener.local_addr().unwrap();
    let echo = |method: Method, uri: axum::http::Uri, headers: HeaderMap, body: String| async move {
        let all =
            |name| headers.get_all(name).iter().map(|value| value.to_str().unwrap()).collect::<Vec<_>>().join("|");
        let headers = ["host", "x-forwarded-for", "x-hop", "cookie"].map(all).join(" ");
        (
            axum::http::StatusCode::SEE_OTHER,
            [("location", "/next"), ("keep-alive", "x")],
            format!("{method} {uri} {headers} {body}"),
        )
    };
    let portal_pages = axum::Router::new().fallback(any(echo)).layer(axum::extract::DefaultBodyLimit::disable());
    tokio::spawn(async move { axum::serve(listener, portal_pages).await });
    let mut profile = Profile::new(pages("form", portal), portal);
    profile.walled_garden.insert("wifi.example.org".to_owned(), portal);
    let guest = guest_with(profile).await;
    for host in ["wifi.example.org", &portal.to_string()] {
        let request = guest.proxied.post(format!("http://{host}/login?a=b")).body("c=d");
        let request = request.header("x-forwarded-for", "192.0.2.1").header("connection", "x-hop").header("x-hop", "1");
        let page = read(request.header("cookie", "e=f")).await;
        let expected = format!("POST /login?a=b {host} 10.5.88.41  e=f c=d");
        assert_eq!(page, Page { status: 303, location: "/next".to_owned(), body: expected });
    }
    let long = guest.proxied.post(format!("http://{portal}/")).body(vec![b'a'; (1 << 20) + 1]);
    assert_eq!(read(long).await.status, 413);
    assert_eq!(guest.visit("http://wifi.example.org.evil.example/").await.status, 302);
}

#[tokio::test(start_paused = true)]
async fn a_folder_of_pages_speaks_for_itself() {
    let file = |name: &str, text: &str| (name.to_owned(), text.to_owned());
    let pages = Pages::new(BTreeMap::from([
        file("rlogin.html", "$(if http-header == Location)$(link-login)$(endif)$(if http-status == 307)Hi$(endif)"),
        file("login.html", "login $(username) $(link-status)"),
        file("flogin.html", "failed $(error-type): $(error)"),
        file("errors.txt", "# words\nradius-reply = no: $(error-orig)\ninvalid-username=$(username-esc)"),
        file("alogin.html", "$(logged-in) $(login-by) $(popup) $(link-redirect)"),
        file("status.html", "$(username) $(bytes-in) $(session-time-left-secs) $(var)"),
        file("md5.js", "function $(a) {}"),
        file("api.json", "{\"captive\": $(if logged-in == 'yes')false$(else)true$(endif)}"),
        file("lv/login.html", "pieteikties $(link-login-only)"),
    ]));
    let guest = guest_with(Profile::new(pages, PORTAL)).await;
    let page = |status: u16, location: &str, body: String| Page { status, location: location.to_owned(), body };
    let orig = "http://example.org/?a=b%20c";
    let login = guest.url("/login?dst=http%3A%2F%2Fexample.org%2F%3Fa%3Db%2520c");
    assert_eq!(guest.visit(orig).await, page(307, &login, String::new()));
    assert_eq!(guest.get("/login").await, page(200, "", format!("login  {}", guest.url("/status"))));
    let latvian = page(200, "", format!("pieteikties {}", guest.url("/lv/login")));
    assert_eq!(guest.get("/lv/login").await, latvian);
    assert_eq!(guest.get("/login?target=lv").await, latvian);
    assert_eq!(guest.get("/login?target=fr").await.body, format!("login  {}", guest.url("/status")));
    assert_eq!(guest.get("/md5.js").await.body, "function $(a) {}");
    assert_eq!(guest.get("/api").await.body, "{\"captive\": true}");
    assert_eq!(guest.get("/status").await.status, 404, "no redirect.html");
    assert_eq!(guest.login("a", "b").await.body, format!("failed radius-reply: no: {REFUSAL}"));
    let long = "é&".repeat(100);
    assert_eq!(guest.login(&long, "b").await.body, format!("failed invalid-username: {}", "%C3%A9%26".repeat(100)));
    let form = [("username", CODE), ("password", CODE), ("popup", "true")];
    let page = read(guest.direct.post(guest.url("/login?dst=http://example.org/?a=b%2520c")).form(&form)).await;
    assert_eq!(page.body, format!("yes http-pap true {orig}"));
    assert_eq!(guest.get("/status?var=v").await.body, format!("{CODE} 0 3600 v"));
    let api = guest.direct.get(guest.url("/api")).send().await.unwrap();
    assert_eq!(api.headers()["content-type"], "application/captive+json");
    assert_eq!(api.text().await.unwrap(), "{\"captive\": false}");
}

/// A router whose server never answers.
async fn unanswered() -> (Guest, StdSocket) {
    let mut guest = guest(LoginBy::Pap).await;
    let silent = StdSocket::bind("127.0.0.1:0").unwrap();
    let options = Options { server: silent.local_addr().unwrap(), ..options(&guest.server) };
    guest.router = Router::start(options).await.unwrap();
    guest.web = guest.router.web(MAC, profile(LoginBy::Pap)).await.unwrap();
    (guest, silent)
}

#[tokio::test(start_paused = true)]
async fn a_silent_server_is_told_from_a_refusal_and_a_second_login_waits() {
    let (guest, silent) = unanswered().await;
    silent.set_nonblocking(true).unwrap();
    let asked = || silent.recv(&mut [0; Packet::MAX]).is_ok();
    let (one, other) = (guest.login(CODE, CODE), async {
        until(asked).await;
        let second = tokio::select! {
            second = guest.login(CODE, CODE) => second,
            () = until(|| false) => unreachable!(),
        };
        for _ in 0..3 {
            turns().await;
            advance(Duration::from_secs(1)).await;
        }
        second
    });
    let (one, other) = tokio::join!(one, other);
    let error = |page: &Page| parameters(&page.location)["error"].clone();
    assert_eq!(error(&one), "RADIUS server is not responding", "{one:?}");
    assert_eq!(error(&other), "already authorizing, retry later", "{other:?}");
}

#[tokio::test(start_paused = true)]
async fn a_browser_that_goes_away_is_logged_in_all_the_same() {
    let (guest, server) = unanswered().await;
    server.set_nonblocking(true).unwrap();
    let mut stream = TcpStream::connect(guest.web.address()).await.unwrap();
    stream.write_all(b"GET /login?username=a&password=b HTTP/1.0\r\n\r\n").await.unwrap();
    let mut buffer = vec![0; Packet::MAX];
    let mut asked = None;
    until(|| {
        asked = server.recv_from(&mut buffer).ok();
        asked.is_some()
    })
    .await;
    drop(stream);
    turns().await;
    let (length, from) = asked.unwrap();
    server.send_to(&decision(&Packet::parse(&buffer[..length]).unwrap(), Ok(HOUR)), from).unwrap();
    until(|| guest.router.session(MAC).is_some()).await;
}

#[tokio::test(start_paused = true)]
async fn a_router_without_power_is_silent_and_a_router_that_is_gone_listens_no_more() {
    let guest = guest(LoginBy::Pap).await;
    guest.router.lose_power();
    assert_eq!(guest.raw(b"GET / HTTP/1.0\r\n\r\n").await, "");
    guest.router.boot();
    assert!(!guest.is_online().await);
    let (address, router) = (guest.web.address(), guest.router.clone());
    drop(guest.web);
    while TcpStream::connect(address).await.is_ok() {
        tokio::task::yield_now().await;
    }
    let web = router.web(MAC, profile(LoginBy::Pap)).await.unwrap();
    drop((router, guest.router));
    while TcpStream::connect(web.address()).await.is_ok() {
        tokio::task::yield_now().await;
    }
}
