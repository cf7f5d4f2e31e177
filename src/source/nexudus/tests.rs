//! The client against the sandbox, over real sockets.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use jiff::tz::TimeZone;
use secrecy::ExposeSecret;
use serde_json::json;
use tokio::net::TcpListener;

use super::*;
use crate::clock::Clock;
use crate::config::{self, NexudusAuth};
use crate::core::ident::{BusinessId, Code, TokenId};
use crate::core::login::Claim;
use crate::sandbox::nexudus::{Mode, Options, Sandbox, User, demo_tokens};
use crate::source::health::Health;
use crate::source::{Error, Version};

mod quirks;

const WALL: &str = "2026-11-23T10:00:00Z";

#[derive(Clone, Default)]
struct Watched {
    requests: Arc<Mutex<Vec<(&'static str, String)>>>,
    up: Arc<Mutex<Option<bool>>>,
    saved: Arc<Mutex<Option<Saved>>>,
    health: Arc<Health>,
}

impl Observer for Watched {
    fn request(&self, operation: &'static str, status: &str) {
        self.requests.lock().unwrap().push((operation, status.to_owned()));
    }

    fn answered(&self, operation: &'static str, outcome: Result<(), &Error>) {
        self.health.called(operation, outcome);
        *self.up.lock().unwrap() = Some(outcome.is_ok());
    }

    fn signed_in(&self) {
        self.health.called("sign_in", Ok(()));
    }

    fn malformed_record(&self) {}
}

impl Watched {
    fn last(&self) -> (&'static str, String) {
        self.requests.lock().unwrap().last().unwrap().clone()
    }

    fn is_up(&self) -> Option<bool> {
        *self.up.lock().unwrap()
    }

    fn alarms(&self) -> Vec<&'static str> {
        self.health.alarms().iter().map(|error| error.alarm().unwrap().kind()).collect()
    }

    fn saved(&self) -> Option<Saved> {
        self.saved.lock().unwrap().clone()
    }
}

fn config(base_url: String) -> config::Nexudus {
    config::Nexudus {
        base_url,
        username: "demo@example.org".to_owned(),
        password: "demo".into(),
        totp_secret: None,
        auth: NexudusAuth::OAuth,
        business_ids: Vec::new(),
        time_zone: TimeZone::UTC,
        request_timeout: Duration::from_secs(10),
        requests_per_minute: 90,
        mirror: false,
        mirror_interval: Duration::from_secs(60),
        full_mirror_interval: Duration::from_secs(1800),
        write_back: false,
        webhook_secret: None,
    }
}

/// A client of the sandbox, and what there is to see of it.
fn client(config: &config::Nexudus, clock: Clock, saved: Option<Saved>) -> (Nexudus, Watched) {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let watched = Watched::default();
    let keep = Arc::clone(&watched.saved);
    let on_save = Box::new(move |saved: &Saved| *keep.lock().unwrap() = Some(saved.clone()));
    (Nexudus::new(config, clock, saved, on_save, Box::new(watched.clone())).unwrap(), watched)
}

async fn sandbox(options: Options) -> Sandbox {
    Sandbox::start_local(options, Clock::system()).await.unwrap()
}

async fn demo() -> (Sandbox, Nexudus, Watched) {
    let sandbox = sandbox(Options { tokens: demo_tokens(WALL.parse().unwrap()), ..Options::default() }).await;
    let (nexudus, watched) = client(&config(sandbox.base_url()), Clock::system(), None);
    (sandbox, nexudus, watched)
}

fn code(code: &str) -> Claim {
    Claim::Code(Code::parse(code).unwrap())
}

fn device(mac: &str) -> Claim {
    Claim::Device(mac.parse().unwrap())
}

fn ids(versions: &[Version]) -> Vec<i64> {
    versions.iter().map(|version| version.token.id.0).collect()
}

async fn found(nexudus: &Nexudus, claim: Claim) -> Vec<i64> {
    ids(&nexudus.look_up(&claim).await.unwrap())
}

async fn retry(nexudus: &Nexudus, claim: Claim) -> (String, Option<Duration>) {
    match nexudus.look_up(&claim).await {
        Err(Error::Retry { what, after }) => (what, after),
        other => panic!("{other:?}"),
    }
}

async fn refused(nexudus: &Nexudus, claim: Claim) -> String {
    match nexudus.look_up(&claim).await {
        Err(error @ Error::Refused { .. }) => error.to_string(),
        other => panic!("{other:?}"),
    }
}

fn fail(sandbox: &Sandbox, mode: &str) {
    sandbox.set_fail(Some(mode.parse().unwrap()));
}

#[tokio::test]
async fn codes_and_devices_are_found() {
    let (sandbox, nexudus, watched) = demo().await;
    let hour = &nexudus.look_up(&code("demo-hour")).await.unwrap()[0].token;
    assert_eq!((hour.id, hour.code.reveal(), hour.minutes_left), (TokenId(1001), "DEMO-HOUR", Some(60)));
    assert_eq!(found(&nexudus, code("DEMO-TWIN")).await, [1012, 1013]);
    assert_eq!(found(&nexudus, code("00421")).await, [1006]);
    for none in ["421", "DEMO", "DEMO-HOUR2", "*", "&size=1"] {
        assert_eq!(found(&nexudus, code(none)).await, [0i64; 0], "{none}");
    }
    sandbox.put_token(json!({"Id": 5, "AccessCode": "dev", "MinutesIncluded": 1, "MacAddress": "02:00:5E:10:00:09"}));
    assert_eq!(found(&nexudus, device("02005e100009")).await, [5]);
    assert_eq!(found(&nexudus, device("02005e1000aa")).await, [0i64; 0]);
    assert_eq!(sandbox.count("sign_in"), 1);
    assert_eq!((watched.last(), watched.is_up()), (("list", "200".to_owned()), Some(true)));
}

#[tokio::test]
async fn other_locations_are_left_out() {
    let (sandbox, ..) = demo().await;
    let config = config::Nexudus { business_ids: vec![BusinessId(1)], ..config(sandbox.base_url()) };
    let (nexudus, _) = client(&config, Clock::system(), None);
    assert_eq!(found(&nexudus, code("DEMO-HOUR")).await, [1001]);
    assert_eq!(found(&nexudus, code("DEMO-ELSEWHERE")).await, [0i64; 0]);
    sandbox.put_token(json!({"Id": 6, "AccessCode": "nowhere", "MinutesIncluded": 1, "BusinessId": null}));
    assert_eq!(found(&nexudus, code("nowhere")).await, [0i64; 0]);
}

#[tokio::test]
async fn callers_share_one_sign_in() {
    let (sandbox, nexudus, _) = demo().await;
    sandbox.set_latency(Duration::from_millis(20));
    let nexudus = Arc::new(nexudus);
    for sign_ins in [1, 2] {
        let mut tasks = tokio::task::JoinSet::new();
        for _ in 0..10 {
            let nexudus = Arc::clone(&nexudus);
            tasks.spawn(async move { found(&nexudus, code("DEMO-HOUR")).await });
        }
        assert!(tasks.join_all().await.iter().all(|found| *found == [1001]));
        assert_eq!(sandbox.count("sign_in"), sign_ins);
        sandbox.expire_bearers();
    }
}

#[tokio::test]
async fn refresh_tokens_rotate_and_outlive_a_restart() {
    let (sandbox, nexudus, watched) = demo().await;
    found(&nexudus, code("DEMO-HOUR")).await;
    let first = watched.saved().unwrap();
    sandbox.expire_bearers();
    found(&nexudus, code("DEMO-HOUR")).await;
    let second = watched.saved().unwrap();
    assert_eq!(first.client_id, second.client_id);
    let secret = |saved: &Saved| saved.refresh_token.as_ref().unwrap().expose_secret().to_owned();
    assert_ne!(secret(&first), secret(&second));

    // After a restart the password is not needed, …
    let changed = config::Nexudus { password: "changed".into(), ..config(sandbox.base_url()) };
    let (restarted, watched) = client(&changed, Clock::system(), Some(second));
    assert_eq!(found(&restarted, code("DEMO-HOUR")).await, [1001]);
    // … until the refresh token has ended.
    sandbox.expire_bearers();
    sandbox.expire_refreshes();
    assert!(refused(&restarted, code("DEMO-HOUR")).await.starts_with("wrong user name or password"));
    assert!(watched.saved().unwrap().refresh_token.is_none());
    assert_eq!(found(&nexudus, code("DEMO-HOUR")).await, [1001], "with the right password it goes on");
}

#[tokio::test]
async fn one_401_is_a_new_sign_in_and_a_second_attempt() {
    let (sandbox, nexudus, _) = demo().await;
    fail(&sandbox, "401:1");
    assert_eq!(found(&nexudus, code("DEMO-HOUR")).await, [1001]);
    assert_eq!((sandbox.count("sign_in"), sandbox.count("list")), (2, 2));
}

#[tokio::test]
async fn a_missing_role_is_named_and_makes_no_storm() {
    let (sandbox, nexudus, watched) = demo().await;
    fail(&sandbox, "role");
    let error = refused(&nexudus, code("DEMO-HOUR")).await;
    assert!(error.contains("AccessToken-List"), "{error}");
    assert_eq!((sandbox.count("sign_in"), sandbox.count("list"), watched.is_up()), (2, 2, Some(false)));
    for _ in 0..5 {
        assert_eq!(refused(&nexudus, code("DEMO-HOUR")).await, error);
    }
    assert_eq!(sandbox.count("sign_in"), 2);
    sandbox.set_fail(None);
    assert_eq!(found(&nexudus, code("DEMO-HOUR")).await, [1001], "noticed as soon as the role is given");
    assert_eq!(watched.is_up(), Some(true));
}

#[tokio::test]
async fn a_wrong_password_is_sent_once() {
    let (sandbox, ..) = demo().await;
    let clock = Clock::manual(WALL.parse().unwrap());
    let wrong = config::Nexudus { password: "guess".into(), ..config(sandbox.base_url()) };
    let (nexudus, watched) = client(&wrong, clock.clone(), None);
    for _ in 0..3 {
        assert!(refused(&nexudus, code("DEMO-HOUR")).await.starts_with("wrong user name or password"));
    }
    assert_eq!((sandbox.requests().len(), watched.is_up()), (1, Some(false)));
    clock.advance(Duration::from_secs(300));
    refused(&nexudus, code("DEMO-HOUR")).await;
    assert_eq!(sandbox.requests().len(), 2);

    let basic = config::Nexudus { auth: NexudusAuth::Basic, ..wrong };
    let (nexudus, _) = client(&basic, clock, None);
    for _ in 0..3 {
        refused(&nexudus, code("DEMO-HOUR")).await;
    }
    assert_eq!(sandbox.requests().len(), 3);
}

/// Twenty minutes of logins, one every ten seconds.
#[tokio::test]
async fn every_alarm_signs_in_once_and_then_every_five_minutes() {
    let no_seed = None::<&str>;
    let seed = Some("GEZDGNBVGY3TQOJQ");
    for (mode, password, seed, kind, names, sign_ins) in [
        ("500:0", "guess", no_seed, "wrong_password", "password_file", 4),
        ("2fa", "demo", no_seed, "one_time_password_wanted", "totp_secret_file", 4),
        ("2fa", "demo", seed, "one_time_password_wrong", "clock", 4),
        ("must-reset", "demo", no_seed, "must_reset", "new password", 4),
        ("locked", "demo", no_seed, "locked", "unlock", 4),
        ("portal", "demo", no_seed, "wrong_address", "base_url", 4),
        // The first time it is a bearer token that may have ended.
        ("role", "demo", no_seed, "role_missing", "AccessToken-List", 5),
        ("role-list", "demo", no_seed, "role_missing", "AccessToken-List", 5),
        ("role-read", "demo", no_seed, "role_missing", "AccessToken-Read", 5),
    ] {
        let clock = Clock::manual(WALL.parse().unwrap());
        let sandbox = Sandbox::start_local(Options::default(), clock.clone()).await.unwrap();
        sandbox.put_raw(json!({"Id": 7, "AccessCode": "bare"}));
        fail(&sandbox, mode);
        let base = config(sandbox.base_url());
        let config = config::Nexudus { password: password.into(), totp_secret: seed.map(Into::into), ..base };
        let (nexudus, watched) = client(&config, clock.clone(), None);
        for _ in 0..120 {
            // The record lacks keys, so that it is read singly once lists are allowed.
            let error = refused(&nexudus, code("bare")).await;
            assert!(error.contains(names), "{mode}: {error}");
            assert_eq!(watched.alarms(), [kind], "{mode}");
            clock.advance(Duration::from_secs(10));
        }
        assert_eq!(sandbox.count("sign_in"), sign_ins, "{mode}");

        // An operator acts, and the alarm ends with the first call that needs it.
        sandbox.set_fail(None);
        sandbox.change_users(|users| users[0].password = password.to_owned());
        clock.advance(Duration::from_secs(300));
        assert_eq!(found(&nexudus, code("bare")).await, [7], "{mode}");
        assert_eq!(watched.alarms(), [""; 0], "{mode}");
    }
}

#[tokio::test]
async fn an_alarm_outlasts_calls_that_do_not_need_it_and_other_troubles() {
    let (sandbox, nexudus, watched) = demo().await;
    sandbox.put_raw(json!({"Id": 7, "AccessCode": "bare"}));
    fail(&sandbox, "role-read");
    refused(&nexudus, code("bare")).await;
    assert_eq!(found(&nexudus, code("DEMO-HOUR")).await, [1001]);
    assert_eq!((watched.is_up(), watched.alarms()), (Some(true), vec!["role_missing"]));
    fail(&sandbox, "redirect");
    refused(&nexudus, code("DEMO-HOUR")).await;
    assert_eq!(watched.alarms(), ["role_missing", "wrong_address"]);
    fail(&sandbox, "500");
    retry(&nexudus, code("DEMO-HOUR")).await;
    assert_eq!(watched.alarms(), ["role_missing", "wrong_address"]);
}

#[tokio::test]
async fn basic_signs_in_with_every_call() {
    let (sandbox, ..) = demo().await;
    let basic = config::Nexudus { auth: NexudusAuth::Basic, ..config(sandbox.base_url()) };
    let (nexudus, _) = client(&basic, Clock::system(), None);
    assert_eq!(found(&nexudus, code("DEMO-HOUR")).await, [1001]);
    assert_eq!(sandbox.count("sign_in"), 0);
}

#[tokio::test]
async fn sign_ins_that_need_a_person() {
    let (sandbox, nexudus, _) = demo().await;
    fail(&sandbox, "2fa");
    assert!(refused(&nexudus, code("DEMO-HOUR")).await.contains("totp_secret_file"));
    let (nexudus, _) = client(&config(sandbox.base_url()), Clock::system(), None);
    fail(&sandbox, "must-reset");
    let error = refused(&nexudus, code("DEMO-HOUR")).await;
    assert!(error.contains("new password") && !error.contains("5c0e41d2"), "{error}");

    // Both ends share a clock that stands, so that no half minute ends between them.
    let clock = Clock::manual(WALL.parse().unwrap());
    let user = User { totp_secret: Some("GEZDGNBVGY3TQOJQ".into()), ..User::demo() };
    let options = Options { users: vec![user], ..Options::default() };
    let still = Sandbox::start_local(options, clock.clone()).await.unwrap();
    let seeded = config::Nexudus { totp_secret: Some("gezd gnbv gy3t qojq".into()), ..config(still.base_url()) };
    let (nexudus, _) = client(&seeded, clock, None);
    assert_eq!(found(&nexudus, code("DEMO-HOUR")).await, [0i64; 0]);
}

#[tokio::test]
async fn faults_that_pass_are_sat_out() {
    let mut modes = tokio::task::JoinSet::new();
    for mode in ["500:2", "reset:2", "html:2", "truncated:2", "failure:2", "409:2", "429:2", "down:2"] {
        modes.spawn(async move {
            let (sandbox, nexudus, watched) = demo().await;
            sandbox.change(|options| "0".clone_into(&mut options.retry_after));
            fail(&sandbox, mode);
            assert_eq!(found(&nexudus, code("DEMO-HOUR")).await, [1001], "{mode}");
            assert_eq!(watched.is_up(), Some(true), "{mode}");
        });
    }
    modes.join_all().await;
}

#[tokio::test]
async fn faults_that_stay_are_never_no_such_code() {
    let mut modes = tokio::task::JoinSet::new();
    for (mode, status) in [
        ("500", "500"),
        ("reset", "error"),
        ("html", "200"),
        ("truncated", "200"),
        ("failure", "200"),
        ("409", "409"),
        ("429", "429"),
    ] {
        modes.spawn(async move {
            let (sandbox, nexudus, watched) = demo().await;
            sandbox.change(|options| "0".clone_into(&mut options.retry_after));
            fail(&sandbox, mode);
            let (what, _) = retry(&nexudus, code("no-such-code")).await;
            assert!(!what.contains("no-such-code") && !what.contains('<'), "{what}");
            assert_eq!((sandbox.count("list"), watched.is_up()), (3, Some(false)), "{mode}");
            assert_eq!(watched.last(), ("list", status.to_owned()), "{mode}");
        });
    }
    modes.join_all().await;
}

#[tokio::test]
async fn a_host_that_is_down_or_forbids() {
    let (sandbox, nexudus, watched) = demo().await;
    fail(&sandbox, "down");
    retry(&nexudus, code("DEMO-HOUR")).await;
    assert_eq!(watched.last(), ("sign_in", "error".to_owned()));
    fail(&sandbox, "403");
    let (nexudus, _) = client(&config(sandbox.base_url()), Clock::system(), None);
    assert!(refused(&nexudus, code("DEMO-HOUR")).await.contains("AccessToken-List"));
}

#[tokio::test]
async fn silence_ends_at_the_deadline() {
    let (sandbox, ..) = demo().await;
    let hasty = config::Nexudus { request_timeout: Duration::from_millis(150), ..config(sandbox.base_url()) };
    let (nexudus, watched) = client(&hasty, Clock::system(), None);
    fail(&sandbox, "timeout");
    let (what, after) = retry(&nexudus, code("DEMO-HOUR")).await;
    assert!(what.contains("in time") && after.is_some(), "{what}");
    assert_eq!((watched.last().1.as_str(), watched.is_up()), ("timeout", Some(false)));
}

#[tokio::test]
async fn nobody_there() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base_url = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let (nexudus, watched) = client(&config(base_url), Clock::system(), None);
    let (what, _) = retry(&nexudus, code("DEMO-HOUR")).await;
    assert!(what.starts_with("no connection to Nexudus: ") && !what.contains("/api/"), "{what}");
    assert_eq!(watched.last(), ("sign_in", "error".to_owned()));
}

#[tokio::test]
async fn a_pause_that_was_asked_for_is_kept() {
    for retry_after in ["30", "Mon, 23 Nov 2026 10:00:30 GMT"] {
        let clock = Clock::manual(WALL.parse().unwrap());
        let options = Options { retry_after: retry_after.to_owned(), ..Options::default() };
        let sandbox = Sandbox::start_local(options, clock.clone()).await.unwrap();
        let (nexudus, _) = client(&config(sandbox.base_url()), clock.clone(), None);
        fail(&sandbox, "409:1");
        assert_eq!(retry(&nexudus, code("x")).await.1, Some(Duration::from_secs(30)), "{retry_after}");
        clock.advance(Duration::from_secs(9));
        let before = sandbox.requests().len();
        assert_eq!(retry(&nexudus, code("x")).await.1, Some(Duration::from_secs(21)));
        assert_eq!(sandbox.requests().len(), before, "nothing is sent during the pause");
        clock.advance(Duration::from_secs(21));
        assert_eq!(found(&nexudus, code("x")).await, [0i64; 0]);
    }
}

#[tokio::test]
async fn the_ceiling_holds_and_codes_go_first() {
    let clock = Clock::manual(WALL.parse().unwrap());
    let sandbox = Sandbox::start_local(Options::default(), clock.clone()).await.unwrap();
    let config = config::Nexudus { requests_per_minute: 5, ..config(sandbox.base_url()) };
    let (nexudus, watched) = client(&config, clock.clone(), None);
    // The sign-in is nobody's share.
    found(&nexudus, device("02005e100009")).await;
    found(&nexudus, device("02005e100009")).await;
    let (what, after) = retry(&nexudus, device("02005e100009")).await;
    assert!(what.contains("requests_per_minute") && after == Some(Duration::from_secs(60)), "{what} {after:?}");
    for _ in 0..2 {
        found(&nexudus, code("x")).await;
    }
    clock.advance(Duration::from_secs(15));
    assert_eq!(retry(&nexudus, code("x")).await.1, Some(Duration::from_secs(45)));
    assert_eq!((sandbox.requests().len(), watched.is_up()), (5, Some(true)), "our own ceiling is no fault of Nexudus");
    clock.advance(Duration::from_secs(45));
    found(&nexudus, code("x")).await;
}

#[tokio::test]
async fn a_restart_does_not_allow_the_minute_anew() {
    let folder = tempfile::tempdir().unwrap();
    let clock = Clock::manual(WALL.parse().unwrap());
    let sandbox = Sandbox::start_local(Options::default(), clock.clone()).await.unwrap();
    let config = config::Nexudus { requests_per_minute: 8, ..config(sandbox.base_url()) };
    let start = |saved| {
        let (nexudus, watched) = client(&config, clock.clone(), saved);
        (nexudus.noting_calls(folder.path()), watched)
    };
    let (nexudus, watched) = start(None);
    for _ in 0..3 {
        found(&nexudus, code("x")).await;
    }
    clock.advance(Duration::from_secs(20));
    for _ in 0..2 {
        found(&nexudus, code("x")).await;
    }
    assert_eq!(sandbox.requests().len(), 6, "with the sign-in");
    // However the process ends: nothing is told.
    let (again, watched) = start(watched.saved());
    // A sign-in, and one login.
    found(&again, code("x")).await;
    assert_eq!((retry(&again, code("x")).await.1, sandbox.requests().len()), (Some(Duration::from_secs(40)), 8));
    clock.advance(Duration::from_secs(40));
    let (again, _) = start(watched.saved());
    for _ in 0..3 {
        found(&again, code("x")).await;
    }
    assert_eq!((retry(&again, code("x")).await.1, sandbox.requests().len()), (Some(Duration::from_secs(20)), 12));
}

#[tokio::test]
async fn a_filter_that_is_ignored_lets_no_wrong_record_in() {
    let (sandbox, nexudus, _) = demo().await;
    for mode in ["ignore-filter", "match-too-much"] {
        fail(&sandbox, mode);
        assert_eq!(found(&nexudus, code("DEMO-TWO")).await, [1002], "{mode}");
        assert_eq!(found(&nexudus, code("DEMO")).await, [0i64; 0], "{mode}");
        assert_eq!(found(&nexudus, device("02-00-5E-10-00-02")).await, [1015], "{mode}");
    }
}

#[tokio::test]
async fn a_search_that_does_not_end_is_no_answer() {
    let (sandbox, nexudus, watched) = demo().await;
    for id in 2000..7000 {
        sandbox.put_raw(json!({
            "Id": id, "BusinessId": 1, "AccessCode": format!("T{id}"), "MinutesIncluded": 1, "MinutesLeft": 1,
            "ValidFrom": null, "ValidTo": null, "UserLimit": null, "MacAddress": null,
        }));
    }
    fail(&sandbox, "ignore-filter");
    for claim in [code("no-such-code"), code("DEMO-HOUR")] {
        assert!(retry(&nexudus, claim).await.0.contains("matched too much"));
    }
    assert_eq!((sandbox.count("list"), watched.is_up()), (10, Some(true)));
    retry(&nexudus, device("02-00-5E-10-00-03")).await;
    assert_eq!(sandbox.count("list"), 11, "devices get one call");
}

#[tokio::test]
async fn keys_left_out_of_a_list_are_read_singly_once() {
    let (sandbox, nexudus, _) = demo().await;
    fail(&sandbox, "absent-keys");
    let tokens = nexudus.look_up(&code("DEMO-TWO")).await.unwrap();
    assert_eq!((tokens[0].token.user_limit, tokens[0].token.minutes_left), (Some(2), Some(120)));
    assert_eq!((sandbox.count("list"), sandbox.count("get")), (1, 1));
    sandbox.set_fail(None);
    found(&nexudus, code("DEMO-TWO")).await;
    assert_eq!(sandbox.count("get"), 1, "a whole record needs no second look");

    // Absent there too: the same as null.
    sandbox.put_raw(json!({"Id": 7, "AccessCode": "bare"}));
    let bare = nexudus.look_up(&code("bare")).await.unwrap();
    assert_eq!((bare[0].token.minutes_left, bare[0].token.business), (None, None));
    assert_eq!(sandbox.count("get"), 2);

    // No code, no guest.
    sandbox.put_raw(json!({"Id": 8}));
    fail(&sandbox, "ignore-filter");
    assert_eq!(found(&nexudus, code("DEMO-TWO")).await, [1002]);
}

#[tokio::test]
async fn a_malformed_record_is_an_error_only_for_its_own_guest() {
    let (sandbox, nexudus, watched) = demo().await;
    sandbox.put_token(json!({"Id": 9, "AccessCode": "broken", "MinutesIncluded": 5, "ValidTo": "soon"}));
    sandbox.put_token(json!({"Id": 10, "AccessCode": {"odd": 1}, "MinutesIncluded": 5}));
    let (what, _) = retry(&nexudus, code("broken")).await;
    assert!(what.contains("access token 9 is malformed: ValidTo"), "{what}");
    assert!(!what.contains("broken") && !what.contains("soon"), "{what}");
    assert_eq!(watched.is_up(), Some(true), "Nexudus itself is well");
    fail(&sandbox, "ignore-filter");
    assert_eq!(found(&nexudus, code("DEMO-HOUR")).await, [1001]);
}

#[tokio::test]
async fn odd_spellings_arrive_as_meant() {
    let (sandbox, nexudus, _) = demo().await;
    let odd = json!({
        "Id": 11, "AccessCode": 4711, "MinutesIncluded": "60", "MinutesLeft": 45.0, "UserLimit": "2", "BusinessId": "3",
        "ValidTo": "2026-12-01", "ValidFrom": "0001-01-01T00:00:00", "MacAddress": "aabb.ccdd.eeff; phone",
    });
    sandbox.put_token(odd);
    let token = nexudus.look_up(&code("4711")).await.unwrap().remove(0).token;
    assert_eq!((token.business, token.minutes_included), (Some(BusinessId(3)), Some(60)));
    assert_eq!((token.minutes_left, token.user_limit, token.valid_from), (Some(45), Some(2), None));
    assert_eq!(token.valid_to.unwrap().to_string(), "2026-12-01T00:00:00Z");
    assert_eq!(*token.devices, ["AA:BB:CC:DD:EE:FF".parse().unwrap()]);
}

#[tokio::test]
async fn answers_have_a_largest_size() {
    let (sandbox, nexudus, _) = demo().await;
    sandbox.put_token(json!({"Id": 12, "AccessCode": "big", "MinutesIncluded": 5, "Description": "x".repeat(1 << 20)}));
    assert_eq!(found(&nexudus, code("big")).await, [12]);
    fail(&sandbox, "absent-keys");
    assert!(retry(&nexudus, code("big")).await.0.contains("larger than 1 MiB"));
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let elsewhere = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let origin = format!("http://{}", elsewhere.local_addr().unwrap());
    let (sandbox, nexudus, _) = demo().await;
    sandbox.change(|options| options.redirect_to.clone_from(&origin));
    fail(&sandbox, "redirect");
    let error = refused(&nexudus, code("DEMO-HOUR")).await;
    assert!(error.contains(&format!("base_url = \"{origin}\"")) && !error.contains("DEMO-HOUR"), "{error}");
    let knocked = tokio::time::timeout(Duration::ZERO, elsewhere.accept()).await;
    assert!(knocked.is_err(), "nobody may call there");
}

#[tokio::test]
async fn a_record_that_is_refused_is_no_trouble_of_the_source() {
    let (sandbox, nexudus, watched) = demo().await;
    let record = json!({"Id": 1001, "BusinessId": 1, "AccessCode": "kx7q", "MinutesIncluded": null}).to_string();
    let until = Duration::MAX;
    for (mode, certain, what) in [
        ("500:0", true, "it answers with status 400, because of MinutesIncluded"),
        ("failure:1", false, "it reports a failure with status 200"),
    ] {
        fail(&sandbox, mode);
        let wrote = nexudus.update(&record, &mut nexudus.at_once(Share::Most, until)).await.unwrap();
        let Wrote::Refused(refusal) = wrote else { panic!("{wrote:?}") };
        assert_eq!((refusal.what.as_str(), refusal.certain), (what, certain));
        assert_eq!(watched.is_up(), Some(true), "it answers");
    }
    sandbox.delete_token(1001);
    let record = record.replace("null", "1");
    let wrote = nexudus.update(&record, &mut nexudus.at_once(Share::Most, until)).await.unwrap();
    assert_eq!(wrote, Wrote::NoRecord);
    let (mut late, before) = (nexudus.at_once(Share::Most, Duration::ZERO), sandbox.requests().len());
    assert!(nexudus.update(&record, &mut late).await.is_err() && !late.is_sent());
    assert_eq!(sandbox.requests().len(), before, "it was too late for it");
}

#[tokio::test]
async fn something_else_at_the_address_is_not_told_the_password_with_every_code() {
    for (auth, mode) in
        [(NexudusAuth::OAuth, "portal"), (NexudusAuth::Basic, "portal"), (NexudusAuth::Basic, "redirect")]
    {
        let clock = Clock::manual(WALL.parse().unwrap());
        let sandbox = Sandbox::start_local(Options::default(), clock.clone()).await.unwrap();
        fail(&sandbox, mode);
        let (nexudus, watched) = client(&config::Nexudus { auth, ..config(sandbox.base_url()) }, clock.clone(), None);
        for quiet in 1..=2 {
            for _ in 0..20 {
                assert!(refused(&nexudus, code("typed")).await.contains("redirects"));
                assert_eq!(watched.alarms(), ["wrong_address"]);
                clock.advance(Duration::from_secs(10));
            }
            assert_eq!(sandbox.requests().len(), quiet, "{auth:?}");
            clock.advance(Duration::from_secs(100));
        }
        sandbox.set_fail(None);
        assert_eq!(found(&nexudus, code("typed")).await, [0i64; 0]);
        assert_eq!(watched.alarms(), [""; 0]);
    }
}

/// What was logged, at every level, by every crate.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl std::io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn logs_are_silent_about_secrets() {
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_ansi(false)
        .with_writer(move || writer.clone())
        .finish();
    // With a second subscriber alive, tracing does not take the silence of other tests' threads for everybody's.
    let _other = tracing::Dispatch::new(tracing_subscriber::fmt().with_writer(std::io::sink).finish());
    let _guard = tracing::subscriber::set_default(subscriber);
    let clock = Clock::manual(WALL.parse().unwrap());
    let user = User { password: "pass-word-9f2".to_owned(), ..User::demo() };
    let tokens = demo_tokens(WALL.parse().unwrap());
    let options = Options { tokens, users: vec![user], retry_after: "0".to_owned(), ..Options::default() };
    let sandbox = Sandbox::start_local(options, clock.clone()).await.unwrap();
    let secrets = config::Nexudus {
        password: "pass-word-9f2".into(),
        totp_secret: Some("GEZDGNBVGY3TQOJQ".into()),
        request_timeout: Duration::from_millis(300),
        ..config(sandbox.base_url())
    };
    let (nexudus, watched) = client(&secrets, clock.clone(), None);
    found(&nexudus, code("DEMO-HOUR")).await;
    let refresh = watched.saved().unwrap().refresh_token.unwrap();
    sandbox.put_token(json!({"Id": 9, "AccessCode": "DEMO-BROKEN", "MinutesIncluded": 5, "ValidTo": "DEMO-SECRET"}));
    retry(&nexudus, code("DEMO-BROKEN")).await;
    for (mode, _) in Mode::ALL {
        fail(&sandbox, mode);
        // Signed in before and not, by a refresh token and not.
        for expire in [Sandbox::expire_refreshes as fn(&Sandbox), Sandbox::expire_bearers, Sandbox::expire_bearers] {
            clock.advance(Duration::from_secs(301));
            expire(&sandbox);
            let _ = nexudus.look_up(&code("DEMO-HOUR")).await;
        }
    }
    let log = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    assert!(log.lines().filter(|line| line.contains(" spotgate::")).count() > 100);
    assert!(log.contains("new password"), "must-reset was played");
    for secret in [
        "DEMO-",
        "bearer-",
        "refresh-",
        "password=",
        "totp=",
        refresh.expose_secret(),
        "demo@",
        "Bearer",
        "pass-word-9f2",
        "GEZDGNBV",
        "reset-token",
        "5c0e41d2",
        "locked out until",
    ] {
        assert!(!log.contains(secret), "{secret} in {log}");
    }
}

#[test]
fn an_answer_does_not_print() {
    assert!(!crate::telemetry::silent::prints!(client::Heard));
}
