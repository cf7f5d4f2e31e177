//! The scripted tour: a hotspot asks, spotgate answers, and each step is held against what it should be.

use std::net::SocketAddr;
use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};

use super::{Demo, KEY, NAS, SECRET};
use crate::cli::print;
use crate::clock::Clock;
use crate::core::decide::Reason;
use crate::core::ident::Mac;
use crate::http::authorize::AuthorizeAnswer;
use crate::radius::attribute::StatusType;
use crate::sandbox::hotspot::{Answer, Hotspot, HotspotError, Record};
use crate::sandbox::nexudus::{Fail, Mode, Often};
use crate::sandbox::router::Login;

/// Plays the tour; whether each step did what it says.
pub(super) async fn play(demo: &Demo) -> bool {
    let addresses = &demo.daemon.addresses;
    let (Some(&auth), Some(&accounting), Some(&http)) =
        (addresses.auth.first(), addresses.accounting.first(), addresses.http.first())
    else {
        return false;
    };
    let hotspot = Hotspot::new(auth, SECRET.as_bytes(), NAS).accounting_at(accounting);
    let mut tour = Tour { hotspot, auth, http, good: true };
    tour.allowed().await;
    tour.denied().await;
    tour.limited().await;
    tour.counted(demo).await;
    tour.told_to_go(demo).await;
    tour.without_the_source(demo).await;
    tour.over_http().await;
    tour.at_the_door().await;
    print(if tour.good { "\nEvery step did what it says.\n" } else { "\nSome steps did not do what they say.\n" });
    tour.good
}

struct Tour {
    hotspot: Hotspot,
    auth: SocketAddr,
    http: SocketAddr,
    good: bool,
}

/// A device of the tour.
const fn device(last: u8) -> Mac {
    Mac::new([0x02, 0, 0x5E, 0, 0, last])
}

/// A device that a demo token names.
const fn named_device(last: u8) -> Mac {
    Mac::new([0x02, 0, 0x5E, 0x10, 0, last])
}

type Outcome = Result<Answer, HotspotError>;

impl Tour {
    async fn allowed(&mut self) {
        heading("Allowed, with a session-time budget");
        let answer = self.hotspot.login_pap("DEMO-HOUR", "DEMO-HOUR", device(1)).await;
        self.accept("PAP, code DEMO-HOUR: 60 minutes left", &answer, 3600..=3600);
        let answer = self.hotspot.login_chap("demo-two", "demo-two", device(2)).await;
        self.accept("CHAP, code demo-two: case does not matter", &answer, 7200..=7200);
        let answer = self.hotspot.login_pap("00421", "", device(3)).await;
        self.accept("a visitor's code with leading zeros, no password", &answer, 28_700..=28_800);
        let answer = self.hotspot.login_pap("DEMO-ENDING", "", device(4)).await;
        self.accept("60 minutes left, but ValidTo comes first", &answer, 270..=300);
        let answer = self.hotspot.login_pap("DEMO-TEAM", "", device(5)).await;
        self.accept("a month left, but max_session comes first", &answer, 86_400..=86_400);
        let answer = self.hotspot.login_mac(device(1)).await;
        self.accept("MAC login: the device of DEMO-HOUR is remembered", &answer, 3500..=3600);
        let answer = self.hotspot.login_mac(named_device(2)).await;
        self.accept("MAC login: the record's MacAddress names the device", &answer, 3600..=3600);
    }

    async fn denied(&mut self) {
        heading("Denied, each with its reason in plain words");
        for (step, code, password, words) in [
            ("unknown_code", "NO-SUCH-CODE", "", "This code is not known"),
            ("wrong_location", "DEMO-ELSEWHERE", "", "not valid at this location"),
            ("ambiguous_code", "DEMO-TWIN", "", "given out twice"),
            ("wrong_password", "DEMO-HOUR", "something else", "password does not fit"),
            ("not_yet_valid", "DEMO-SOON", "", "valid from"),
            ("expired", "DEMO-PAST", "", "expired on"),
            ("device_mismatch", "DEMO-BOUND", "", "belongs to another device"),
            ("no_minutes_left", "DEMO-EMPTY", "", "No time is left"),
            ("malformed", " ", "", "type the access code"),
        ] {
            let answer = self.hotspot.login_pap(code, password, device(20)).await;
            self.reject(step, &answer, words);
        }
        let answer = self.hotspot.login_mac(device(99)).await;
        self.reject("unknown_device", &answer, "not known here");
        for guess in 0..10 {
            let _ = self.hotspot.login_pap(&format!("GUESS-{guess}"), "", device(21)).await;
        }
        let answer = self.hotspot.login_pap("DEMO-HOUR", "", device(21)).await;
        self.reject("throttled: ten wrong codes, then a good one", &answer, "Too many wrong codes");
    }

    async fn limited(&mut self) {
        heading("As many devices as UserLimit, and the same device as often as it likes");
        let answer = self.hotspot.login_pap("DEMO-TWO", "", device(30)).await;
        self.accept("the second device of DEMO-TWO", &answer, 7100..=7200);
        let answer = self.hotspot.login_pap("DEMO-TWO", "", device(31)).await;
        self.reject("user_limit_reached: the third", &answer, "in use on 2 devices");
        let answer = self.hotspot.login_pap("DEMO-TWO", "", device(30)).await;
        self.accept("the second once more takes over its own place", &answer, 7100..=7200);
    }

    async fn counted(&mut self, demo: &Demo) {
        heading("Time counts as the router reports it, and all devices of a code draw on one pool");
        for last in [60, 61] {
            let online = matches!(demo.router.login("DEMO-POOL", "", device(last)).await, Ok(Login::Admitted(_)));
            self.step(online, "a guest of DEMO-POOL comes online at the emulated router", "Accounting-Start");
        }
        let third = self.hotspot.login_pap("DEMO-POOL", "", device(62)).await;
        self.accept("a third device", &third, 3580..=3600);
        let Ok(Answer { session_id: Some(id), class, .. }) = &third else { return };
        let now = Clock::system().now().wall;
        let start = Record { class: class.as_deref(), ..Record::start("DEMO-POOL", device(62), id, now) };
        let interim = Record { status: StatusType::InterimUpdate, seconds: 1800, ..start };
        let answered = self.hotspot.account(&start).await.is_ok() && self.hotspot.account(&interim).await.is_ok();
        self.step(answered, "it reports half an hour", "acknowledged: on disk");
        let left = at(&self.get("/v1/tokens/DEMO-POOL").await, "/minutes_left").as_u64();
        self.step(
            matches!(left, Some(29 | 30)),
            "GET /v1/tokens/DEMO-POOL",
            &format!("{} minutes left", left.unwrap_or_default()),
        );
        let stop = Record { status: StatusType::Stop, seconds: 3594, ..interim };
        let answered = self.hotspot.account(&stop).await.is_ok() && self.hotspot.account(&stop).await.is_ok();
        self.step(answered, "it stops after all but six seconds of the hour, twice", "counted once");
        let gone = async { (demo.router.gone(device(60)).await, demo.router.gone(device(61)).await) };
        let gone = tokio::time::timeout(Duration::from_secs(15), gone).await.is_ok();
        self.step(gone, "the pool is empty: the other two are disconnected", "Disconnect-Request, ACK, Stop");
        let token = self.settled("/v1/tokens/DEMO-POOL", |token| *at(token, "/sessions") == json!([])).await;
        let used = at(&token, "/usage_seconds").as_u64().unwrap_or_default();
        self.step((3598..=3606).contains(&used), "what they used together", &format!("{used} s of 3600"));
    }

    async fn told_to_go(&mut self, demo: &Demo) {
        heading("A session that must go is told so until its end is proven");
        let online = matches!(demo.router.login("DEMO-TEAM", "", device(64)).await, Ok(Login::Admitted(_)));
        self.step(online, "a guest comes online at the emulated router", "Accounting-Start");
        let sessions = self.get("/v1/sessions").await;
        let mac = json!(device(64).to_string());
        let session =
            at(&sessions, "/sessions").as_array().into_iter().flatten().find(|session| *at(session, "/mac") == mac);
        let id = session.and_then(|session| at(session, "/session").as_str()).unwrap_or_default().to_owned();
        demo.router.change(|quirks| quirks.keep_disconnected = true);
        let path = format!("/v1/sessions/{id}");
        let told = self.call(Method::DELETE, &path).await;
        self.step(*at(&told, "/state") == "disconnecting", "DELETE /v1/sessions/{id}", "the router is told");
        let acked = self.settled(&path, |session| *at(session, "/ending/answer") == "acked").await;
        self.step(
            *at(&acked, "/state") == "disconnecting",
            "it acknowledges, and the guest stays",
            "not over: disconnecting",
        );
        demo.router.logout(device(64));
        let ended = self.settled(&path, |session| *at(session, "/state") == "ended").await;
        self.step(*at(&ended, "/state") == "ended", "its Stop comes", "over: ended");
    }

    /// What a path answers once it is as it should be, or after five seconds.
    async fn settled(&self, path: &str, met: impl Fn(&Value) -> bool) -> Value {
        for _ in 0..50 {
            let answer = self.get(path).await;
            if met(&answer) {
                return answer;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        self.get(path).await
    }

    async fn get(&self, path: &str) -> Value {
        self.call(Method::GET, path).await
    }

    async fn call(&self, method: Method, path: &str) -> Value {
        let client = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(10)).build();
        let Ok(client) = client else { return Value::Null };
        let request = client.request(method, format!("http://{}{path}", self.http)).bearer_auth(KEY);
        match request.send().await {
            Ok(answer) => answer.json().await.unwrap_or(Value::Null),
            Err(_) => Value::Null,
        }
    }

    async fn without_the_source(&mut self, demo: &Demo) {
        heading("Nexudus does not answer");
        demo.sandbox.set_fail(Some(Fail { mode: Mode::Down, often: Often::Always }));
        let answer = self.hotspot.login_pap("DEMO-HOUR", "", device(1)).await;
        self.accept("a code that is known goes on", &answer, 3500..=3600);
        let answer = self.hotspot.login_pap("DEMO-MINUTE", "", device(40)).await;
        self.accept("a code that nobody has typed before: it is mirrored", &answer, 1..=120);
        let answer = self.hotspot.login_pap("DEMO-NEW", "", device(41)).await;
        self.reject("source_unavailable: a code that is not mirrored", &answer, "cannot be checked right now");
        demo.sandbox.set_fail(None);
    }

    async fn over_http(&mut self) {
        heading("The same over HTTP");
        let allow = self.authorize(json!({"access_code": "DEMO-TEAM", "mac": device(50).to_string()})).await;
        let seconds = allow.as_ref().and_then(|answer| answer.session_timeout);
        self.step(
            seconds == Some(86_400),
            "POST /v1/authorize, DEMO-TEAM",
            &format!("allow for {} s", seconds.unwrap_or_default()),
        );
        let deny = self.authorize(json!({"access_code": "DEMO-PAST", "dry_run": true})).await;
        let reason = deny.as_ref().and_then(|answer| answer.reason.as_deref());
        let told = deny.as_ref().map_or("no answer", |answer| &answer.message);
        self.step(reason == Some(Reason::Expired.as_str()), "POST /v1/authorize, DEMO-PAST, dry run", told);
    }

    async fn at_the_door(&mut self) {
        heading("At the door");
        let answer = self.hotspot.status().await;
        self.step(answer.is_ok_and(|answer| answer.accept), "Status-Server", "answered");
        let stranger = Hotspot::new(self.auth, b"not the shared secret", NAS).patience(Duration::from_millis(300), 1);
        let answer = stranger.login_pap("DEMO-HOUR", "", device(1)).await;
        self.step(matches!(answer, Err(HotspotError::NoAnswer { .. })), "a wrong shared secret", "silence");
    }

    async fn authorize(&self, question: Value) -> Option<AuthorizeAnswer> {
        let client = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(10)).build().ok()?;
        let url = format!("http://{}/v1/authorize", self.http);
        client.post(url).bearer_auth(KEY).json(&question).send().await.ok()?.json().await.ok()
    }

    fn accept(&mut self, step: &str, answer: &Outcome, budget: std::ops::RangeInclusive<u32>) {
        match answer {
            Ok(answer) if answer.accept => {
                let seconds = answer.session_timeout.unwrap_or_default();
                self.step(budget.contains(&seconds), step, &format!("Access-Accept, Session-Timeout {seconds} s"));
            }
            other => self.step(false, step, &told(other)),
        }
    }

    fn reject(&mut self, step: &str, answer: &Outcome, words: &str) {
        let said = answer.as_ref().ok().filter(|answer| !answer.accept);
        let said = said.and_then(|answer| answer.reply_message.as_deref()).unwrap_or_default();
        self.step(said.contains(words), step, &told(answer));
    }

    fn step(&mut self, good: bool, step: &str, what: &str) {
        self.good &= good;
        print(&format!("  {}  {step:<52}  {what}\n", if good { "ok  " } else { "FAIL" }));
    }
}

fn told(answer: &Outcome) -> String {
    match answer {
        Ok(answer) if answer.accept => "Access-Accept".to_owned(),
        Ok(answer) => format!("Access-Reject: {}", answer.reply_message.as_deref().unwrap_or_default()),
        Err(error) => error.to_string(),
    }
}

fn heading(text: &str) {
    print(&format!("\n{text}\n"));
}

/// What stands at a place in an answer; null if nothing does.
fn at<'a>(answer: &'a Value, pointer: &str) -> &'a Value {
    answer.pointer(pointer).unwrap_or(&Value::Null)
}
