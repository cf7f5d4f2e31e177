//! Sessions that must go: told to an emulated router, and ended only when that is proven.

use serde_json::{Value, json};
use spotgate::radius::attribute::{ErrorCause, StatusType, TerminateCause};
use spotgate::sandbox::hotspot::Record;
use spotgate::sandbox::router::{Admitted, Options, Quirks, Reaction, Router};

use crate::support::{KEY, SECRET, Spotgate, mac, printed, record, run, spotgate, with};

/// A daemon and the router it serves, which takes orders where the daemon gives them.
pub struct Site {
    pub spotgate: Spotgate,
    pub router: Router,
}

impl Site {
    async fn start(records: &[Value], extra: &str) -> Self {
        Self::around(Spotgate::over_file_with(records, &format!("disconnect_port = 1\n{extra}"))).await
    }

    /// A router for a daemon whose `disconnect_port` is 1 as yet.
    pub async fn around(spotgate: Spotgate) -> Self {
        let mut options = Options::new(spotgate.auth, SECRET.as_bytes());
        options.accounting = spotgate.accounting;
        options.name = "front-desk".to_owned();
        let router = Router::start(options).await.unwrap();
        // The port is known only now.
        let path = spotgate.configuration();
        let text = std::fs::read_to_string(&path).unwrap();
        let port = format!("disconnect_port = {}\n", router.incoming().port());
        std::fs::write(&path, text.replace("disconnect_port = 1\n", &port)).unwrap();
        spotgate.signal("HUP");
        spotgate.until("reloaded", async || spotgate.log().contains("\"reloaded\"")).await;
        Self { spotgate, router }
    }

    pub async fn online(&self, code: &str, device: u8) -> Admitted {
        let login = self.router.login(code, "", mac(device)).await.unwrap();
        let admitted = login.admitted().expect("admitted");
        self.router.settled().await;
        admitted
    }

    async fn call(&self, method: reqwest::Method, path: &str) -> (u16, Value) {
        let url = format!("http://{}{path}", self.spotgate.http);
        let response = crate::support::client().request(method, url).bearer_auth(KEY).send().await.unwrap();
        (response.status().as_u16(), response.json().await.unwrap_or(Value::Null))
    }

    pub async fn session_of(&self, device: u8) -> Value {
        let (_, answer) = self.call(reqwest::Method::GET, "/v1/sessions").await;
        let mac = json!(mac(device).to_string());
        let sessions = answer["sessions"].as_array().unwrap();
        sessions.iter().find(|session| session["mac"] == mac).cloned().unwrap_or(Value::Null)
    }

    pub async fn session(&self, id: &str) -> Value {
        self.call(reqwest::Method::GET, &format!("/v1/sessions/{id}")).await.1
    }

    async fn delete(&self, id: &str) -> (u16, Value) {
        self.call(reqwest::Method::DELETE, &format!("/v1/sessions/{id}")).await
    }

    pub async fn until(&self, what: &str, id: &str, met: impl Fn(&Value) -> bool) {
        self.spotgate.until(what, async || met(&self.session(id).await)).await;
    }

    async fn disconnects(&self, result: &str) -> f64 {
        self.spotgate.metric(&format!("spotgate_disconnects_total{{nas=\"front-desk\",result=\"{result}\"}}")).await
    }
}

pub fn id(session: &Value) -> String {
    session["session"].as_str().expect("a session").to_owned()
}

#[tokio::test]
async fn an_operator_ends_a_session_and_its_stop_proves_it() {
    let site = Site::start(&[record(1, "abc-123")], "").await;
    site.online("abc-123", 1).await;
    let id = id(&site.session_of(1).await);
    let (status, answer) = site.delete(&id).await;
    assert_eq!(
        (status, &answer["state"], &answer["ending"]["cause"]),
        (202, &json!("disconnecting"), &json!("operator"))
    );
    site.until("ended", &id, |session| session["state"] == "ended").await;
    assert!(site.router.sessions().is_empty());
    site.router.settled().await;
    let stop = site.router.reported().pop().unwrap();
    assert_eq!((stop.status, stop.cause), (StatusType::Stop, Some(TerminateCause::ADMIN_RESET)));
    let heard = site.router.heard();
    assert_eq!(heard.len(), 1);
    assert_eq!((heard[0].kinds.as_slice(), &heard[0].reaction), (&[1, 44, 8][..], &Reaction::Acknowledged));
    site.spotgate.until("counted", async || site.disconnects("proven").await == 1.0).await;
    assert_eq!((site.disconnects("acked").await, site.disconnects("gone").await), (1.0, 0.0));
    let (status, again) = site.delete(&id).await;
    assert_eq!((status, &again["state"]), (202, &json!("ended")), "once more is no error");
    assert_eq!(site.delete("01ARZ3NDEKTSV4RRFFQ69G5FAV").await.0, 404);
}

#[tokio::test]
async fn an_acknowledgement_alone_proves_nothing() {
    let site = Site::start(&[record(1, "abc-123")], "").await;
    site.router.change(|quirks: &mut Quirks| quirks.keep_disconnected = true);
    site.online("abc-123", 1).await;
    let id = id(&site.session_of(1).await);
    site.delete(&id).await;
    site.until("acknowledged", &id, |session| session["ending"]["answer"] == "acked").await;
    assert_eq!(site.session(&id).await["state"], "disconnecting");
    let other = site.router.login("abc-123", "", mac(2)).await.unwrap();
    assert!(other.admitted().is_none(), "it keeps its place");
    assert!(site.spotgate.log().contains("acknowledged; its Stop is awaited"));
    // Its router then says that it is over after all.
    site.router.logout(mac(1));
    site.until("ended", &id, |session| session["state"] == "ended").await;
}

#[tokio::test]
async fn a_router_that_knows_nothing_of_it_proves_it_too() {
    let site = Site::start(&[record(1, "abc-123")], "").await;
    site.online("abc-123", 1).await;
    let id = id(&site.session_of(1).await);
    site.router.lose_power();
    site.router.change(|quirks: &mut Quirks| quirks.silent_boot = true);
    site.router.boot();
    site.delete(&id).await;
    site.until("ended", &id, |session| session["state"] == "ended").await;
    site.spotgate.until("counted", async || site.disconnects("gone").await == 1.0).await;
    site.online("abc-123", 2).await;
}

#[tokio::test]
async fn a_refusal_is_shown_and_the_router_told_with_fewer_attributes() {
    let site = Site::start(&[record(1, "abc-123")], "").await;
    site.router.change(|quirks: &mut Quirks| quirks.refuse = Some(ErrorCause(404)));
    site.online("abc-123", 1).await;
    let id = id(&site.session_of(1).await);
    site.delete(&id).await;
    site.until("refused", &id, |session| session["ending"]["error_cause"] == 404).await;
    site.router.change(|quirks: &mut Quirks| quirks.refuse = None);
    site.until("ended", &id, |session| session["state"] == "ended").await;
    let kinds: Vec<_> = site.router.heard().into_iter().map(|heard| heard.kinds).collect();
    assert_eq!(kinds, [vec![1, 44, 8], vec![1, 8]]);
}

#[tokio::test]
async fn the_oldest_device_is_displaced_and_disconnected() {
    let site = Site::start(&[record(1, "abc-123")], "\n[policy]\non_user_limit = \"replace-oldest\"\n").await;
    site.online("abc-123", 1).await;
    let first = id(&site.session_of(1).await);
    site.online("abc-123", 2).await;
    site.until("ended", &first, |session| session["state"] == "ended").await;
    assert_eq!(site.session(&first).await["ending"]["cause"], "displaced");
    let online: Vec<_> = site.router.sessions().iter().map(|online| online.mac).collect();
    assert_eq!(online, [mac(2)]);
}

#[tokio::test]
async fn when_the_pool_is_empty_every_session_of_the_token_is_disconnected() {
    let site = Site::start(&[with(record(1, "abc-123"), json!({"UserLimit": 3}))], "").await;
    let hotspot = site.spotgate.hotspot();
    // One device has used the hour up but for twenty seconds, as its own router says.
    let admitted = hotspot.login_pap("abc-123", "", mac(9)).await.unwrap();
    let session_id = admitted.session_id.as_deref().unwrap();
    let now = spotgate::clock::Clock::system().now().wall;
    let start = Record { class: admitted.class.as_deref(), ..Record::start("abc-123", mac(9), session_id, now) };
    hotspot.account(&start).await.unwrap();
    site.online("abc-123", 1).await;
    site.online("abc-123", 2).await;
    let ids = [id(&site.session_of(1).await), id(&site.session_of(2).await)];
    let stop = Record { status: StatusType::Stop, seconds: 3592, ..start };
    hotspot.account(&stop).await.unwrap();
    for id in &ids {
        site.until("ended", id, |session| session["state"] == "ended").await;
        let session = site.session(id).await;
        assert_eq!(session["ending"]["cause"], "used_up");
    }
    assert!(site.router.sessions().is_empty());
    let (_, token) = site.call(reqwest::Method::GET, "/v1/tokens/abc-123").await;
    let used = token["usage_seconds"].as_u64().unwrap();
    assert!((3600..=3602).contains(&used), "{used} s of 3600");
    assert_eq!((&token["minutes_left"], &token["sessions"]), (&json!(0), &json!([])));
}

#[tokio::test]
async fn a_start_on_another_token_ends_what_the_device_had_there() {
    let site = Site::start(&[record(1, "abc-123"), record(2, "def-456")], "").await;
    site.router.change(|quirks: &mut Quirks| quirks.lose.stops = true);
    site.online("abc-123", 1).await;
    let first = id(&site.session_of(1).await);
    site.online("def-456", 1).await;
    site.until("ended", &first, |session| session["state"] == "ended").await;
    assert_eq!(site.session_of(1).await["token_id"], 2);
    site.online("abc-123", 2).await;
}

#[tokio::test]
async fn sessions_and_disconnect_from_the_command_line() {
    let site = Site::start(&[record(1, "abc-123")], "").await;
    site.online("abc-123", 1).await;
    let session = id(&site.session_of(1).await);
    // The port that the kernel picked, as an operator's file would name it.
    let text = std::fs::read_to_string(site.spotgate.configuration()).unwrap();
    let http = format!("[http]\nlisten = [\"{}\"]", site.spotgate.http);
    let config = site.spotgate.folder.path().join("operator.toml");
    std::fs::write(&config, text.replace("[http]\nlisten = [\"127.0.0.1:0\"]", &http)).unwrap();
    // Elsewhere, since the router must go on meanwhile.
    let command = async |arguments: &[&str]| {
        let mut command = spotgate(arguments);
        command.arg("--config").arg(&config);
        tokio::task::spawn_blocking(move || run(&mut command)).await.unwrap()
    };
    let output = command(&["sessions"]).await;
    let table = printed(&output);
    assert!(output.status.success() && table.contains(&session) && table.contains("1 session\n"), "{table}");
    let output = command(&["sessions", "--json"]).await;
    let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(answer["sessions"][0]["session"], json!(session));
    let output = command(&["disconnect", &session]).await;
    let said = printed(&output);
    assert!(output.status.success() && (said.contains("has ended") || said.contains("acknowledged it")), "{said}");
    site.until("ended", &session, |session| session["state"] == "ended").await;
    let output = command(&["disconnect", "01ARZ3NDEKTSV4RRFFQ69G5FAV"]).await;
    assert_eq!(output.status.code(), Some(1));
    assert!(printed(&output).contains("404"), "{}", printed(&output));
}

#[tokio::test]
async fn accounting_over_http() {
    let spotgate = Spotgate::over_file(&[with(record(1, "abc-123"), json!({"UserLimit": 2}))]);
    let post = async |body: Value| spotgate.post("/v1/accounting", Some(KEY), body.to_string()).await;
    let question = json!({"access_code": "abc-123", "mac": mac(1).to_string(), "session_id": "h-1"});
    let session = spotgate.authorize(question).await["session"].as_str().unwrap().to_owned();
    let report = |event: &str, seconds: u64| {
        json!({"event": event, "session_id": "h-1", "mac": mac(1).to_string(), "session_seconds": seconds,
               "input_octets": 5_000_000_000_u64, "output_octets": seconds})
    };
    assert_eq!(post(report("start", 0)).await.0, 204);
    assert_eq!(post(report("interim", 300)).await.0, 204);
    assert_eq!(post(report("stop", 600)).await.0, 204);
    assert_eq!(post(report("stop", 600)).await.0, 204, "twice is once");
    let get = async |path: String| {
        let request = crate::support::client().get(format!("http://{}{path}", spotgate.http)).bearer_auth(KEY);
        request.send().await.unwrap().json::<Value>().await.unwrap()
    };
    let ended = get(format!("/v1/sessions/{session}")).await;
    assert_eq!((&ended["state"], &ended["seconds_used"]), (&json!("ended"), &json!(600)));
    assert_eq!(ended["input_octets"], json!(5_000_000_000_u64));
    let token = get("/v1/tokens/abc-123".to_owned()).await;
    assert_eq!((&token["usage_seconds"], &token["unwritten_seconds"]), (&json!(600), &json!(600)));
    assert_eq!((&token["minutes_left"], &token["token"]["Id"]), (&json!(50), &json!(1)));
    assert_eq!(spotgate.metric("spotgate_usage_unwritten_seconds").await, 600.0);
    assert!(token["fetched_at"].is_string() && token["token"]["AccessCode"] == "abc-123", "{token}");

    let unknown = json!({"event": "interim", "session_id": "h-2", "mac": mac(2).to_string()});
    assert_eq!(post(unknown.clone()).await.0, 404);
    let by_code = with(unknown, json!({"access_code": "abc-123", "session_seconds": 60}));
    assert_eq!(post(by_code).await.0, 204, "its code finds it");
    for (wrong, field) in [
        (json!({"event": "pause", "session_id": "h-1", "mac": mac(1).to_string()}), "event"),
        (json!({"event": "stop", "mac": mac(1).to_string()}), "session_id"),
        (json!({"event": "stop", "session_id": "h-1"}), "mac"),
        (
            json!({"event": "stop", "session_id": "h-1", "mac": mac(1).to_string(), "session_seconds": -1}),
            "session_seconds",
        ),
        (json!({"event": "stop", "session_id": "h-1", "mac": mac(1).to_string(), "nas": "attic"}), "nas"),
    ] {
        let (status, problem) = post(wrong).await;
        assert_eq!((status, &problem["field"]), (422, &json!(field)));
    }
    let (status, _) = spotgate.post("/v1/accounting", None, "{}".to_owned()).await;
    assert_eq!(status, 401);
}

#[tokio::test]
async fn what_came_over_http_alone_is_closed_at_once() {
    let spotgate = Spotgate::over_file(&[record(1, "abc-123")]);
    let question = json!({"access_code": "abc-123", "mac": mac(1).to_string()});
    let session = spotgate.authorize(question).await["session"].as_str().unwrap().to_owned();
    let url = format!("http://{}/v1/sessions/{session}", spotgate.http);
    let response = crate::support::client().delete(url).bearer_auth(KEY).send().await.unwrap();
    assert_eq!(response.status().as_u16(), 202);
    assert_eq!(response.json::<Value>().await.unwrap()["state"], "ended", "there is nothing to disconnect");
    let other = json!({"access_code": "abc-123", "mac": mac(2).to_string()});
    assert_eq!(spotgate.authorize(other).await["decision"], "allow");
}

#[tokio::test]
async fn a_session_let_in_over_http_without_a_name_is_found_by_its_device() {
    let spotgate = Spotgate::over_file(&[record(1, "abc-123")]);
    let question = json!({"access_code": "abc-123", "mac": mac(1).to_string()});
    let session = spotgate.authorize(question).await["session"].as_str().unwrap().to_owned();
    let report = json!({"event": "interim", "session_id": "h-1", "mac": mac(1).to_string(), "session_seconds": 60});
    assert_eq!(spotgate.post("/v1/accounting", Some(KEY), report.to_string()).await.0, 204);
    let url = format!("http://{}/v1/sessions/{session}", spotgate.http);
    let online: Value = crate::support::client().get(url).bearer_auth(KEY).send().await.unwrap().json().await.unwrap();
    assert_eq!(
        (&online["state"], &online["session_timeout"]),
        (&json!("online"), &json!(3600)),
        "and no other is made"
    );
}

#[tokio::test]
async fn an_accounting_on_that_comes_late_closes_nothing_that_began_later() {
    let site = Site::start(&[record(1, "abc-123")], "").await;
    site.online("abc-123", 1).await;
    let id = id(&site.session_of(1).await);
    let now = spotgate::clock::Clock::system().now().wall;
    let on = Record { status: StatusType::AccountingOn, delay: 300, ..Record::start("", mac(1), "0", now) };
    let hotspot = site.spotgate.hotspot();
    hotspot.account(&on).await.unwrap();
    assert_eq!(site.session(&id).await["state"], "online");
    hotspot.account(&Record { delay: 0, ..on }).await.unwrap();
    assert_eq!(site.session(&id).await["state"], "ended");
}

#[tokio::test]
async fn a_class_of_another_device_charges_nobody_else() {
    let site = Site::start(&[with(record(1, "abc-123"), json!({"UserLimit": 3}))], "").await;
    let admitted = site.online("abc-123", 1).await;
    let id = id(&site.session_of(1).await);
    let now = spotgate::clock::Clock::system().now().wall;
    let class = admitted.answer.class.clone().unwrap();
    let stop = Record {
        status: StatusType::Stop,
        class: Some(&class),
        seconds: 900,
        ..Record::start("abc-123", mac(2), "80fffff0", now)
    };
    let hotspot = site.spotgate.hotspot();
    hotspot.account(&stop).await.unwrap();
    let session = site.session(&id).await;
    assert_eq!(session["state"], "online", "{session}");
    assert!(session["seconds_used"].as_u64().unwrap() < 60, "{session}");
    let (_, token) = site.call(reqwest::Method::GET, "/v1/tokens/abc-123").await;
    assert!((900..960).contains(&token["usage_seconds"].as_u64().unwrap()), "the other's time counts once: {token}");
}

#[tokio::test]
async fn a_login_that_is_refused_brings_the_news_that_the_token_is_empty() {
    let site = Site::start(&[with(record(1, "abc-123"), json!({"UserLimit": 2}))], "").await;
    site.online("abc-123", 1).await;
    let id = id(&site.session_of(1).await);
    let tokens = json!([with(record(1, "abc-123"), json!({"UserLimit": 2, "MinutesLeft": 0}))]);
    std::fs::write(site.spotgate.folder.path().join("tokens.json"), tokens.to_string()).unwrap();
    let other = json!({"access_code": "abc-123", "mac": mac(2).to_string()});
    site.spotgate
        .until("refused", async || site.spotgate.authorize(other.clone()).await["reason"] == "no_minutes_left")
        .await;
    site.until("ended", &id, |session| session["state"] == "ended").await;
    assert_eq!(site.session(&id).await["ending"]["cause"], "used_up");
}

#[tokio::test]
async fn nothing_was_said_before_the_login_whatever_the_delay() {
    let site = Site::start(&[with(record(1, "abc-123"), json!({"UserLimit": 2}))], "").await;
    site.online("abc-123", 1).await;
    let hotspot = site.spotgate.hotspot();
    let admitted = hotspot.login_pap("abc-123", "", mac(2)).await.unwrap();
    let now = spotgate::clock::Clock::system().now().wall;
    let name = admitted.session_id.as_deref().unwrap();
    let start = Record { class: admitted.class.as_deref(), ..Record::start("abc-123", mac(2), name, now) };
    hotspot.account(&Record { delay: 86_400, ..start }).await.unwrap();
    assert!(site.session_of(2).await["seconds_used"].as_u64().unwrap() < 60);
    assert_eq!(site.session_of(1).await["state"], "online");
}
