use reqwest::{Client, Method, StatusCode};
use serde_json::json;

use super::*;

const WALL: &str = "2026-11-23T10:00:00Z";

struct Bench {
    sandbox: Sandbox,
    clock: Clock,
    http: Client,
}

async fn bench(options: Options) -> Bench {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let clock = Clock::manual(WALL.parse().unwrap());
    let sandbox = Sandbox::start_local(options, clock.clone()).await.unwrap();
    let http = Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none()).build().unwrap();
    Bench { sandbox, clock, http }
}

async fn demo() -> Bench {
    bench(Options { tokens: demo_tokens(WALL.parse().unwrap()), ..Options::default() }).await
}

impl Bench {
    async fn sign_in(&self, form: &[(&str, &str)]) -> (u16, Value) {
        let response =
            self.http.post(format!("{}/api/token", self.sandbox.base_url())).form(form).send().await.unwrap();
        (response.status().as_u16(), response.json().await.unwrap())
    }

    /// With Basic authorisation.
    async fn call(&self, method: Method, path: &str, body: Option<Value>) -> (u16, Value) {
        let url = format!("{}/api/spaces/accesstokens{path}", self.sandbox.base_url());
        let mut request = self.http.request(method, url).basic_auth("demo@example.org", Some("demo"));
        if let Some(body) = body {
            request = request.json(&body);
        }
        let response = request.send().await.unwrap();
        (response.status().as_u16(), response.json().await.unwrap_or(Value::Null))
    }

    async fn list(&self, query: &str) -> Vec<i64> {
        let (status, body) = self.call(Method::GET, query, None).await;
        assert_eq!(status, 200);
        body["Records"].as_array().unwrap().iter().map(|record| record["Id"].as_i64().unwrap()).collect()
    }
}

const PASSWORD: [(&str, &str); 3] =
    [("grant_type", "password"), ("username", "demo@example.org"), ("password", "demo")];

#[tokio::test]
async fn grants_rotate_and_are_bound_to_their_client() {
    let bench = demo().await;
    let form = |client: &'static str| [PASSWORD.as_slice(), &[("client_id", client)]].concat();
    let (status, first) = bench.sign_in(&form("one")).await;
    assert_eq!((status, &first["token_type"], &first["expires_in"]), (200, &json!("bearer"), &json!(604_799)));
    let refresh = |token: &Value, client: &'static str| {
        let token = token["refresh_token"].as_str().unwrap().to_owned();
        let bench = &bench;
        async move {
            let form = [("grant_type", "refresh_token"), ("refresh_token", token.as_str()), ("client_id", client)];
            bench.sign_in(&form).await
        }
    };
    assert_eq!(refresh(&first, "two").await.1["error"], "invalid_grant");
    let (status, second) = refresh(&first, "one").await;
    assert_eq!(status, 200);
    assert_eq!(refresh(&first, "one").await.0, 400, "the older one ended");
    bench.sign_in(&form("two")).await;
    assert_eq!(refresh(&second, "one").await.0, 200, "another client's sign-in does not end it");

    bench.sandbox.expire_refreshes();
    assert_eq!(refresh(&second, "one").await.0, 400);
    let wrong = [("grant_type", "password"), ("username", "demo@example.org"), ("password", "guess")];
    assert_eq!(bench.sign_in(&wrong).await.1["error"], "invalid_grant");
    let json =
        bench.http.post(format!("{}/api/token", bench.sandbox.base_url())).json(&json!({"grant_type": "password"}));
    assert_eq!(json.send().await.unwrap().json::<Value>().await.unwrap()["error"], "unsupported_grant_type");
}

#[tokio::test]
async fn two_factors() {
    let user = User { totp_secret: Some("GEZDGNBVGY3TQOJQ".to_owned()), ..User::demo() };
    let bench = bench(Options { users: vec![user], ..Options::default() }).await;
    assert_eq!(bench.sign_in(&PASSWORD).await.1["error"], "two_factor_auth_check");
    let code = crate::source::nexudus::totp::code("GEZDGNBVGY3TQOJQ", WALL.parse().unwrap()).unwrap();
    assert_eq!(bench.sign_in(&[PASSWORD.as_slice(), &[("totp", &code)]].concat()).await.0, 200);
}

#[tokio::test]
async fn bearer_tokens_end() {
    let bench = demo().await;
    let (_, answer) = bench.sign_in(&PASSWORD).await;
    let get = || async {
        let request = bench.http.get(format!("{}/api/spaces/accesstokens/1001", bench.sandbox.base_url()));
        let response = request.bearer_auth(answer["access_token"].as_str().unwrap()).send().await.unwrap();
        (response.status(), response.bytes().await.unwrap().is_empty())
    };
    assert_eq!(get().await, (StatusCode::OK, false));
    bench.clock.advance(Duration::from_secs(604_799));
    assert_eq!(get().await, (StatusCode::UNAUTHORIZED, true));
    assert_eq!(bench.sandbox.count("get"), 2);
}

#[tokio::test]
async fn lists_page_and_filter() {
    let bench = demo().await;
    assert_eq!(bench.list("?AccessToken_AccessCode=demo-twin").await, [1012, 1013]);
    assert_eq!(bench.list("?AccessToken_AccessCode=DEMO-T").await, [0i64; 0]);
    assert_eq!(bench.list("?AccessToken_Business=2").await, [1011]);
    assert_eq!(bench.list("?AccessToken_UserLimit=2&_take=1").await, [1002]);
    assert_eq!(bench.list("?from_AccessToken_ValidFrom=2026-11-24T00:00").await, [1008]);
    assert_eq!(bench.list("?to_AccessToken_MinutesLeft=0&orderBy=Id&dir=descending").await, [1010, 1005]);
    assert_eq!(bench.list("?size=4&page=4").await, [1013, 1014, 1015, 1016]);
    let (_, body) = bench.call(Method::GET, "?size=4&page=2", None).await;
    assert_eq!((&body["HasNextPage"], &body["TotalItems"], &body["TotalPages"]), (&json!(true), &json!(16), &json!(4)));
    bench.sandbox.set_fail(Some("match-too-much".parse().unwrap()));
    assert_eq!(bench.list("?AccessToken_AccessCode=DEMO-TW").await, [1002, 1012, 1013]);
    bench.sandbox.set_fail(Some("ignore-filter".parse().unwrap()));
    assert_eq!(bench.list("?AccessToken_AccessCode=x").await.len(), 16);
    bench.sandbox.set_fail(Some("absent-keys".parse().unwrap()));
    let (_, body) = bench.call(Method::GET, "?AccessToken_AccessCode=DEMO-HOUR", None).await;
    assert!(body["Records"][0].get("MinutesLeft").is_none() && body["Records"][0].get("AccessCode").is_some());
}

#[tokio::test]
async fn writes_replace_the_record() {
    let bench = demo().await;
    let (status, body) = bench.call(Method::POST, "", Some(json!({"BusinessId": 1, "AccessCode": "new"}))).await;
    assert_eq!((status, &body["Status"], &body["WasSuccessful"]), (400, &json!(500), &json!(false)));
    assert_eq!(body["Errors"][0]["PropertyName"], "MinutesIncluded");

    let sent = json!({"BusinessId": 1, "AccessCode": "new", "MinutesIncluded": 30, "UserLimit": 2});
    let (_, body) = bench.call(Method::POST, "", Some(sent)).await;
    let id = body["Value"]["Id"].as_i64().unwrap();
    let record = bench.call(Method::GET, &format!("/{id}"), None).await.1;
    assert_eq!((&record["MinutesLeft"], &record["UpdatedOn"]), (&json!(30), &json!(WALL)));

    bench.clock.advance(Duration::from_secs(90));
    let sent = json!({"Id": id, "BusinessId": 1, "AccessCode": "new", "MinutesIncluded": 30});
    assert_eq!(bench.call(Method::PUT, "", Some(sent)).await.0, 200);
    let changed = bench.call(Method::GET, &format!("/{id}"), None).await.1;
    assert_eq!((&changed["MinutesLeft"], &changed["UserLimit"]), (&Value::Null, &Value::Null));
    assert_eq!(changed["UniqueId"], record["UniqueId"]);
    assert_eq!((&changed["CreatedOn"], &changed["UpdatedOn"]), (&json!(WALL), &json!("2026-11-23T10:01:30Z")));
    assert_eq!(bench.list("?from_AccessToken_UpdatedOn=2026-11-23T10:01").await, [id]);

    assert_eq!(bench.call(Method::DELETE, &format!("/{id}"), None).await.0, 200);
    assert_eq!(bench.call(Method::GET, &format!("/{id}"), None).await, (404, json!("Not found")));
    assert_eq!(bench.call(Method::DELETE, &format!("/{id}"), None).await.0, 404);
}

#[tokio::test]
async fn a_ceiling_answers_with_a_wait() {
    let bench = bench(Options { requests_per_minute: Some(2), ..Options::default() }).await;
    let status = || async { bench.call(Method::GET, "", None).await.0 };
    assert_eq!([status().await, status().await, status().await], [200, 200, 409]);
    bench.clock.advance(Duration::from_secs(60));
    assert_eq!(status().await, 200);
}

#[tokio::test]
async fn faults_are_switched_over_http_even_while_down() {
    let bench = demo().await;
    let set = |body: Value| bench.http.post(format!("{}/sandbox/fail", bench.sandbox.base_url())).json(&body).send();
    assert_eq!(set(json!({"mode": "down"})).await.unwrap().status(), 204);
    let url = format!("{}/api/spaces/accesstokens", bench.sandbox.base_url());
    assert!(bench.http.get(&url).send().await.is_err());
    assert_eq!(set(json!({"mode": "sideways"})).await.unwrap().status(), 422);
    assert_eq!(set(json!({"mode": null})).await.unwrap().status(), 204);
    assert_eq!(bench.http.get(&url).send().await.unwrap().status(), 401);
    let seen = bench.http.get(format!("{}/sandbox/requests", bench.sandbox.base_url())).send().await.unwrap();
    assert!(seen.json::<Value>().await.unwrap()["counts"]["list"].as_u64() >= Some(2));
}
