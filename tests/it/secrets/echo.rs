//! A Nexudus and an IronWifi that say back all that they are told, in every way that an answer has.

use axum::Router;
use axum::body::Bytes;
use axum::extract::Request;
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use serde_json::json;
use tokio::net::TcpListener;

use super::{Watch, heart, secret};
use crate::support::{Spotgate, client, client_builder, printed, run, spotgate};

/// Whether it lets us sign in, and the status of all else.
#[derive(Clone, Copy, Debug)]
struct Way {
    signs_in: bool,
    status: u16,
}

const CODE: &str = "MarkedColdCode";
const BEARER: &str = "MarkedBearerToken";
const REFRESH: &str = "MarkedRefreshToken";

async fn answer(way: Way, request: Request) -> Response {
    let (head, body) = request.into_parts();
    let body: Bytes = axum::body::to_bytes(body, 1 << 20).await.unwrap();
    let said = format!("{} {:?} {}", head.uri, head.headers, String::from_utf8_lossy(&body));
    if way.signs_in && head.uri.path() == "/api/token" {
        let token =
            json!({"access_token": BEARER, "token_type": "bearer", "expires_in": 3600, "refresh_token": REFRESH});
        return axum::Json(token).into_response();
    }
    let authorization = head.headers.get("authorization").map_or("none", |value| value.to_str().unwrap()).to_owned();
    let mut answer = axum::Json(json!({
        "error": said, "error_description": said, "message": said, "Message": said, "detail": said, "title": said, "hint": said,
        "WasSuccessful": false, "Errors": [{"AttemptedValue": said, "Message": said, "PropertyName": said}],
        "Records": [{"Id": said, "AccessCode": said, "ValidTo": said}],
        "access_token": [said], "_embedded": {"users": [{"id": said, "username": said}]},
        "validation_messages": {"username": {"said": said}},
    }))
    .into_response();
    *answer.status_mut() = StatusCode::from_u16(way.status).unwrap();
    let location = format!("http://127.0.0.1:9/{}", authorization.replace(' ', "/"));
    for (name, value) in
        [("location", location.as_str()), ("www-authenticate", &authorization), ("retry-after", &authorization)]
    {
        answer.headers_mut().insert(name, value.parse().unwrap());
    }
    answer
}

async fn start(way: Way) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let router = Router::new().fallback(move |request: Request| answer(way, request));
    tokio::spawn(async move { axum::serve(listener, router).await });
    url
}

fn configuration(url: &str) -> String {
    format!(
        r#"
[source]
kind = "nexudus"
[source.nexudus]
base_url = "{url}"
username = "wifi@example.org"
password = "{password}"
totp_secret = "{totp}"
requests_per_minute = 6000
[[nas]]
name = "front-desk"
address = "127.0.0.1"
secret = "{shared}"
disconnect_port = 0
[radius]
auth_listen = ["127.0.0.1:0"]
acct_listen = ["127.0.0.1:0"]
[http]
listen = ["127.0.0.1:0"]
certificate = "http.pem"
private_key = "http.key"
[[http.api_key]]
name = "all"
key = "{key}"
scopes = ["authorize", "read", "admin"]
[ironwifi.push]
base_url = "{url}"
api_key = "{ironwifi}"
nas = "front-desk"
requests_per_minute = 6000
[store]
path = "state"
[telemetry]
log = "json"
level = "trace,hyper::proto=trace,hyper_util::client=trace,reqwest::connect=trace,rustls::client=trace"
metrics_listen = "127.0.0.1:0"
"#,
        password = secret("source.nexudus.password"),
        totp = secret("source.nexudus.totp_secret"),
        shared = secret("nas.secret"),
        key = secret("http.api_key.key"),
        ironwifi = secret("ironwifi.push.api_key"),
    )
}

/// Daemons one after another, each with an upstream that answers in its way; what came out of them.
async fn lane(ways: Vec<(usize, Way)>, certificate: String, key: String) -> Watch {
    let mut watch = Watch::new();
    let basic = format!("wifi@example.org:{}", secret("source.nexudus.password"));
    for (what, secret) in [
        ("http.private_key", heart(&key)),
        ("a bearer token", BEARER),
        ("a refresh token", REFRESH),
        ("a code", CODE),
        ("user and password", &basic),
    ] {
        watch.over(what, secret);
    }
    for (number, way) in ways {
        let folder = tempfile::tempdir().unwrap();
        for (name, content) in [("http.pem", &certificate), ("http.key", &key)] {
            std::fs::write(folder.path().join(name), content).unwrap();
        }
        let mut text = configuration(&start(way).await);
        // The other way to sign in shows the password with each call.
        if number % 3 == 2 {
            text = text
                .replacen("requests_per", "auth = \"basic\"\nrequests_per", 1)
                .replace("totp_secret", "#totp_secret");
        }
        let spotgate = Spotgate::start_in(folder, &text);
        goes_through(&spotgate, &certificate, number % 4 == 0, &mut watch).await;
        spotgate.signal("TERM");
        let (_, log) = spotgate.ended();
        assert!(log.contains("\"level\":\"DEBUG\""), "it is loud");
        watch.look_in(&format!("the log of {way:?}"), &log, &[]);
    }
    watch
}

/// Has it ask upstream, for a code and by each means that looks at Nexudus.
async fn goes_through(there: &Spotgate, certificate: &str, at_length: bool, watch: &mut Watch) {
    let root = reqwest::Certificate::from_pem(certificate.as_bytes()).unwrap();
    let browser = client_builder().tls_certs_only([root]).resolve("localhost", there.http).build().unwrap();
    let at = |path: &str| format!("https://localhost:{}{path}", there.http.port());
    let question = json!({"access_code": CODE, "mac": "3C:06:30:AA:19:01"}).to_string();
    let asked = browser.post(at("/v1/authorize")).bearer_auth(secret("http.api_key.key")).body(question);
    let answer = asked.send().await.unwrap().text().await.unwrap();
    assert!(answer.contains("\"deny\""), "{answer}");
    watch.look_in("an answer", &answer, &[]);
    let refused =
        async || !browser.get(at("/readyz")).send().await.unwrap().text().await.unwrap().contains("\"degraded\":[]");
    there.until("what is wrong is known", refused).await;
    for path in ["/readyz", &format!("/v1/tokens/{CODE}/refresh"), "/v1/decisions"] {
        let request = if path.ends_with("refresh") { browser.post(at(path)) } else { browser.get(at(path)) };
        let answer = request.bearer_auth(secret("http.api_key.key")).send().await.unwrap();
        let (headers, text) = (format!("{:?}", answer.headers()), answer.text().await.unwrap());
        // Who may do everything sees codes in full.
        watch.look_in(path, &format!("{headers}{text}"), &["a code"]);
    }
    let metrics = client().get(format!("http://{}/metrics", there.metrics)).send().await.unwrap();
    watch.look_in("metrics", &metrics.text().await.unwrap(), &[]);
    watch.look_at_process(there.id());
    let path = there.configuration();
    let path = path.to_str().unwrap();
    let commands: [&[&str]; 3] =
        [&["doctor", "--config", path], &["doctor", "--json", "--config", path], &["explain", "--config", path, CODE]];
    for command in &commands[..if at_length { 3 } else { 1 }] {
        watch.look_in(&command.join(" "), &printed(&run(&mut spotgate(command))), &[]);
    }
}

// Many wait for what is tried again, and for commands.
#[tokio::test(flavor = "multi_thread", worker_threads = 6)]
async fn what_upstream_says_back_of_our_secrets_goes_no_further() {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let refused = [500, 302, 200, 401, 400].map(|status| Way { signs_in: false, status });
    let failing = [409, 400, 500, 401, 403, 200, 404, 422, 302].map(|status| Way { signs_in: true, status });
    let ways: Vec<_> = refused.into_iter().chain(failing).enumerate().collect();
    let lanes: Vec<_> = (0..4)
        .map(|lane_number| {
            let ways = ways.iter().filter(|(number, _)| number % 4 == lane_number).copied().collect();
            tokio::spawn(lane(ways, made.cert.pem(), made.signing_key.serialize_pem()))
        })
        .collect();
    for lane in lanes {
        lane.await.unwrap().is_silent(3 * 7);
    }
}
