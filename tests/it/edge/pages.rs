//! What every answer says of itself: nobody frames a page, keeps it, or takes it for something else, and no cookie goes where it
//! should not.

use reqwest::header::HeaderMap;
use serde_json::json;

use crate::support::{KEY, Spotgate, client_builder, configuration, record};

const SETTINGS: &str = "hotspot_hosts = [\"login.example.net\"]\n[portal]\npublic_url = \"https://wifi.example.org\"\nlogo = \"logo.svg\"\n\
                        [admin]\npassword = \"a long lemonade\"\nviewer_password = \"only looking here\"\n";

const ARRIVAL: &str = "link-login-only=http%3A%2F%2Flogin.example.net%2Flogin&mac=3C:06:30:AA:19:01";

/// A daemon with https, and a browser that keeps cookies by hand and follows nobody.
struct Site {
    spotgate: Spotgate,
    browser: reqwest::Client,
}

struct Answer {
    what: String,
    status: u16,
    headers: HeaderMap,
    text: String,
}

impl Site {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let files = [
            ("http.pem", made.cert.pem()),
            ("http.key", made.signing_key.serialize_pem()),
            ("tokens.json", json!([record(1, "abc-123")]).to_string()),
            ("logo.svg", "<svg xmlns=\"http://www.w3.org/2000/svg\"/>".to_owned()),
        ];
        for (name, content) in files {
            std::fs::write(folder.path().join(name), content).unwrap();
        }
        let text = configuration(crate::support::FILE_SOURCE, SETTINGS);
        let text = text.replace("[http]\n", "[http]\ncertificate = \"http.pem\"\nprivate_key = \"http.key\"\n");
        let spotgate = Spotgate::start_in(folder, &text);
        let root = reqwest::Certificate::from_pem(made.cert.pem().as_bytes()).unwrap();
        let browser = client_builder().tls_certs_only([root]).resolve("localhost", spotgate.http);
        let browser = browser.redirect(reqwest::redirect::Policy::none()).build().unwrap();
        Self { spotgate, browser }
    }

    async fn ask(&self, method: &str, path: &str, form: &str, cookie: &str) -> Answer {
        let url = format!("https://localhost:{}{path}", self.spotgate.http.port());
        let mut request = self.browser.request(method.parse().unwrap(), url).header("cookie", cookie);
        if method == "POST" {
            request = request.header("content-type", "application/x-www-form-urlencoded").body(form.to_owned());
        }
        let answer = request.send().await.unwrap();
        let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
        Answer { what: format!("{method} {path} {form}"), status, headers, text: answer.text().await.unwrap() }
    }

    async fn sign_in(&self, password: &str) -> (Answer, String) {
        let form = format!("password={}", password.replace(' ', "+"));
        let answer = self.ask("POST", "/admin/sign-in", &form, "").await;
        assert_eq!(answer.status, 303);
        let cookie = answer.header("set-cookie").split(';').next().unwrap().to_owned();
        (answer, cookie)
    }
}

impl Answer {
    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// Holds it to what holds for all.
    fn is_sound(&self) {
        let (what, headers) = (&self.what, &self.headers);
        assert_eq!(self.header("x-content-type-options"), "nosniff", "{what}: {headers:?}");
        let is_kept = self.header("cache-control") == "public, max-age=86400";
        assert!(is_kept || self.header("cache-control").ends_with("no-store"), "{what}: {headers:?}");
        let media = self.header("content-type");
        if media.starts_with("text/html") {
            assert!(!is_kept, "{what}: {headers:?}");
            let policy = self.header("content-security-policy");
            for part in ["default-src 'none'", "frame-ancestors 'none'", "base-uri 'none'", "form-action 'self'"] {
                assert!(policy.contains(part), "{what}: {part} in {policy}");
            }
            assert!(!policy.contains("unsafe") && !policy.contains('*'), "{what}: {policy}");
            assert_eq!(self.header("x-frame-options"), "DENY", "{what}: {headers:?}");
            assert!(["no-referrer", "same-origin"].contains(&self.header("referrer-policy")), "{what}: {headers:?}");
            assert!(
                !self.text.contains("<style") && !self.text.contains(" style=") && !self.text.contains("<script>"),
                "{what}"
            );
        } else {
            assert!(is_kept || !self.text.contains("<!doctype") && !self.text.contains("<html"), "{what}: {media}");
        }
        for cookie in self.headers.get_all("set-cookie") {
            let cookie = cookie.to_str().unwrap();
            let [name, attributes] = [0, 1].map(|part| cookie.splitn(2, "; ").nth(part).unwrap_or_default());
            let is_desk = name.starts_with("spotgate-desk=") || name.starts_with("spotgate-known=");
            let site = if is_desk { "SameSite=Strict" } else { "SameSite=Lax" };
            for part in ["HttpOnly", site, "Secure", if is_desk { "Path=/admin" } else { "Path=/" }] {
                assert!(attributes.split("; ").any(|attribute| attribute == part), "{what}: {part} in {cookie}");
            }
            assert!(!attributes.contains("Domain"), "{what}: {cookie}");
        }
    }
}

/// Of guests, operators and machines; found, not found, refused, and not understood.
const PATHS: [&str; 34] = [
    "/",
    "/login",
    "/login?link-login-only=http%3A%2F%2Flogin.example.net%2Flogin&mac=3C:06:30:AA:19:01",
    "/login?link-login-only=http%3A%2F%2Fevil.example%2F",
    "/login?fas=%3F%3F",
    "/login?nas=nobody",
    "/login?code=abc-123",
    "/status",
    "/status?t=nothing",
    "/logout",
    "/portal/style.css",
    "/portal/script.js",
    "/portal/logo",
    "/portal/",
    "/capport",
    "/admin",
    "/admin/",
    "/admin/sign-in",
    "/admin/sign-out",
    "/admin/sessions",
    "/admin/sessions?q=%00&page=x",
    "/admin/sessions/nothing",
    "/admin/why",
    "/admin/decisions",
    "/admin/tokens",
    "/admin/tokens/1",
    "/admin/tokens/999",
    "/admin/routers",
    "/admin/actions",
    "/admin/style.css",
    "/admin/script.js",
    "/healthz",
    "/openapi.json",
    "/v1/tokens/abc-123",
];

const FORMS: [(&str, &str); 17] = [
    ("/login", "code=abc-123"),
    ("/login", "%ff=%"),
    ("/login", "link-login-only=http%3A%2F%2Flogin.example.net%2Flogin&mac=3C:06:30:AA:19:01&code=wrong"),
    ("/login", "link-login-only=http%3A%2F%2Flogin.example.net%2Flogin&mac=3C:06:30:AA:19:01&code=abc-123"),
    ("/logout", "t=nothing"),
    ("/logout", ""),
    ("/status", ""),
    ("/admin/sign-in", "password=guess"),
    ("/admin/sign-in", "nothing"),
    ("/admin/sign-out", "csrf=wrong"),
    ("/admin/sessions/nothing/disconnect", "csrf=wrong"),
    ("/admin/why", "who=abc-123"),
    ("/admin/why", "nothing"),
    ("/admin/tokens", "code=abc-123"),
    ("/admin/tokens", "code=nobody"),
    ("/admin/tokens/1/refresh", "csrf=wrong"),
    ("/admin/tokens/1/forget-usage", "csrf=wrong"),
];

#[tokio::test]
async fn no_answer_can_be_framed_kept_or_taken_for_another() {
    let site = Site::new();
    let (answer, operator) = site.sign_in("a long lemonade").await;
    answer.is_sound();
    assert_eq!(answer.headers.get_all("set-cookie").iter().count(), 2);
    let viewer = site.sign_in("only looking here").await.1;
    let mut statuses = Vec::new();
    let mut pages = 0;
    for cookie in ["", "spotgate-desk=made-up; spotgate=made-up", &operator, &viewer] {
        for path in PATHS {
            for method in ["GET", "HEAD", "DELETE", "TRACE"] {
                let answer = site.ask(method, path, "", cookie).await;
                answer.is_sound();
                statuses.push(answer.status);
                pages += usize::from(answer.header("content-type").starts_with("text/html"));
            }
        }
        for (path, form) in FORMS {
            let answer = site.ask("POST", path, form, cookie).await;
            answer.is_sound();
            statuses.push(answer.status);
        }
    }
    // It has been everywhere.
    for status in [200, 303, 400, 401, 403, 404, 405] {
        assert!(statuses.contains(&status), "{status} in {statuses:?}");
    }
    assert!(pages > 60, "{pages}");
    site.spotgate.stop();
}

/// No form does anything that another site's page sends, or whose token is another's, and no address does.
#[tokio::test]
async fn a_page_of_another_site_has_an_operators_browser_do_nothing() {
    let site = Site::new();
    let login = site.ask("POST", "/login", &format!("{ARRIVAL}&code=abc-123"), "").await;
    assert_eq!(login.status, 303, "{}", login.text);
    let admitted = json!({"access_code": "abc-123", "mac": "3C:06:30:AA:19:01"}).to_string();
    let url = format!("https://localhost:{}/v1/authorize", site.spotgate.http.port());
    let answer = site.browser.post(url).bearer_auth(KEY).body(admitted).send().await.unwrap();
    let answer: serde_json::Value = serde_json::from_str(&answer.text().await.unwrap()).unwrap();
    let session = answer["session"].as_str().unwrap().to_owned();
    let csrf_of = async |cookie: &str| {
        let page = site.ask("GET", "/admin", "", cookie).await.text;
        page.split("name=\"csrf\" value=\"").nth(1).unwrap().split('"').next().unwrap().to_owned()
    };
    let (mine, others) = (site.sign_in("a long lemonade").await.1, site.sign_in("a long lemonade").await.1);
    let (csrf, csrf_of_others) = (csrf_of(&mine).await, csrf_of(&others).await);
    assert_ne!(csrf, csrf_of_others);
    let shorter = csrf[..csrf.len() - 1].to_owned();
    let acts = [
        format!("/admin/sessions/{session}/disconnect"),
        "/admin/tokens/1/refresh".to_owned(),
        "/admin/tokens/1/forget-usage".to_owned(),
        "/admin/sign-out".to_owned(),
    ];
    for act in &acts {
        for wrong in [
            "",
            "csrf=",
            &format!("csrf={csrf_of_others}"),
            &format!("csrf={shorter}"),
            &format!("csrf={csrf}A"),
            &format!("CSRF={csrf}"),
        ] {
            assert_eq!(site.ask("POST", act, wrong, &mine).await.status, 403, "{act}: {wrong}");
        }
        // In an address it is no form.
        assert_eq!(site.ask("GET", &format!("{act}?csrf={csrf}"), "", &mine).await.status, 405, "{act}");
        for from in ["cross-site", "same-site", "nonsense"] {
            let url = format!("https://localhost:{}{act}", site.spotgate.http.port());
            let form =
                site.browser.post(url).header("cookie", &mine).header("sec-fetch-site", from).form(&[("csrf", &csrf)]);
            assert_eq!(form.send().await.unwrap().status(), 403, "{act}: {from}");
        }
    }
    let trail = site.ask("GET", "/admin/actions?sign-ins=no", "", &mine).await.text;
    assert!(
        !trail.contains("disconnect</td>") && !trail.contains("forget-usage</td>") && !trail.contains("refresh</td>"),
        "{trail}"
    );
    assert_eq!(site.ask("POST", &acts[0], &format!("csrf={csrf}"), &mine).await.status, 303, "by itself it does");
    site.spotgate.stop();
}
