//! The real binary over the sandbox Nexudus.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use spotgate::clock::Clock;
use spotgate::sandbox::nexudus::{Mode, Options, Sandbox};

use crate::support::{Spotgate, configuration, mac, record, with};

pub async fn sandbox(tokens: Vec<Value>) -> Sandbox {
    Sandbox::start_local(Options { tokens, ..Options::default() }, Clock::system()).await.unwrap()
}

/// Without a mirror.
fn over(sandbox: &Sandbox, extra: &str) -> Spotgate {
    Spotgate::start(&configuration(&source(sandbox, "mirror = false"), extra))
}

pub fn source(sandbox: &Sandbox, keys: &str) -> String {
    format!(
        "[source]\nkind = \"nexudus\"\n[source.nexudus]\nbase_url = \"{}\"\nusername = \"demo@example.org\"\npassword = \"demo\"\nrequest_timeout = \"2s\"\n{keys}\n",
        sandbox.base_url()
    )
}

// The sandbox answers on another thread than the one that waits for the daemon.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hundred_cold_logins_of_one_code_cost_one_look_up() {
    let sandbox = sandbox(vec![with(record(1, "abc-123"), json!({"UserLimit": 500}))]).await;
    sandbox.set_latency(Duration::from_millis(100));
    let spotgate = Arc::new(over(&sandbox, ""));
    let logins = (0..200u8).map(|device| {
        let spotgate = Arc::clone(&spotgate);
        tokio::spawn(async move {
            if device % 2 == 0 {
                spotgate.hotspot().login_pap("abc-123", "", mac(device)).await.unwrap().accept
            } else {
                let question = json!({"access_code": "abc-123", "mac": mac(device).to_string()});
                spotgate.authorize(question).await["decision"] == "allow"
            }
        })
    });
    for login in logins.collect::<Vec<_>>() {
        assert!(login.await.unwrap());
    }
    assert_eq!((sandbox.count("sign_in"), sandbox.count("list"), sandbox.count("get")), (1, 1, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_source_that_needs_600_ms_still_ends_in_accept_for_a_router_with_a_second() {
    let sandbox = sandbox(vec![record(1, "abc-123")]).await;
    sandbox.set_latency(Duration::from_millis(600));
    let spotgate = over(&sandbox, "");
    let hotspot = spotgate.hotspot().patience(Duration::from_secs(1), 3);
    let first = hotspot.login_pap("abc-123", "abc-123", mac(1)).await.unwrap();
    assert!(first.accept && first.tries <= 2, "sign-in and look-up are at most 1.2 s; asked {} times", first.tries);
    assert_eq!(sandbox.count("list"), 1, "the repetition was not decided twice");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_filter_that_is_ignored_or_matches_too_much_lets_no_wrong_record_in() {
    let mut tokens: Vec<_> = (1..=40).map(|id| record(id, &format!("code-{id}"))).collect();
    tokens.push(record(99, "code"));
    let sandbox = sandbox(tokens).await;
    let spotgate = over(&sandbox, "");
    for mode in ["ignore-filter", "match-too-much"] {
        sandbox.set_fail(Some(mode.parse().unwrap()));
        let exact = spotgate.authorize(json!({"access_code": "code-7", "mac": mac(7).to_string()})).await;
        assert_eq!(exact["token_id"], 7, "{mode}: {exact}");
        let none = spotgate.authorize(json!({"access_code": "code-", "mac": mac(8).to_string()})).await;
        assert_eq!(none["decision"], "deny", "{mode}: {none}");
        let other = spotgate.authorize(json!({"access_code": "ode-7"})).await;
        assert_eq!(other["decision"], "deny", "{mode}: {other}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_search_that_failed_is_not_an_unknown_code() {
    let sandbox = sandbox(vec![record(1, "abc-123"), record(2, "known")]).await;
    let spotgate = over(&sandbox, "[cache]\nfresh_for = \"0s\"");
    let known = json!({"access_code": "known", "mac": mac(1).to_string()});
    assert_eq!(spotgate.authorize(known.clone()).await["decision"], "allow");
    assert_eq!(spotgate.metric("spotgate_source_up").await, 1.0);
    for mode in ["500", "html", "truncated", "reset", "failure", "403", "redirect"] {
        sandbox.set_fail(Some(mode.parse().unwrap()));
        let unknown = spotgate.authorize(json!({"access_code": format!("cold-{mode}")})).await;
        assert_eq!(unknown["reason"], "source_unavailable", "{mode}");
        let answer = spotgate.authorize(known.clone()).await;
        assert_eq!(answer["decision"], "allow", "{mode}: the stale copy serves");
    }
    assert_eq!(spotgate.metric("spotgate_source_up").await, 0.0);
    let (status, ready) = spotgate.get("/readyz").await;
    assert_eq!(status, 200, "copies can be used");
    assert!(ready["degraded"][0].as_str().unwrap().starts_with("source:"), "{ready}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_such_code_is_remembered_for_a_while() {
    let sandbox = sandbox(Vec::new()).await;
    let spotgate = over(&sandbox, "");
    for device in 1..4 {
        let question = json!({"access_code": "new-code", "mac": mac(device).to_string()});
        assert_eq!(spotgate.authorize(question).await["reason"], "unknown_code");
    }
    assert_eq!(sandbox.count("list"), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_not_fresh_is_asked_for_again() {
    let sandbox = sandbox(vec![record(1, "abc-123")]).await;
    let spotgate = over(&sandbox, "[cache]\nfresh_for = \"0s\"\nunknown_for = \"0s\"");
    let ask = async |code: &str| spotgate.authorize(json!({"access_code": code, "mac": mac(1).to_string()})).await;
    assert_eq!(ask("abc-123").await["decision"], "allow");
    assert_eq!(ask("registered-now").await["reason"], "unknown_code");
    sandbox.put_token(with(record(1, "abc-123"), json!({"ValidTo": "2001-01-01T00:00:00Z"})));
    sandbox.put_token(record(2, "registered-now"));
    assert_eq!(ask("abc-123").await["reason"], "expired");
    assert_eq!(ask("registered-now").await["decision"], "allow");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_device_logs_in_by_the_mac_of_its_record() {
    let sandbox = sandbox(vec![with(record(1, "abc-123"), json!({"MacAddress": "3C:06:30:AA:19:01"}))]).await;
    let spotgate = over(&sandbox, "");
    assert!(spotgate.hotspot().login_mac(mac(1)).await.unwrap().accept);
    assert!(!spotgate.hotspot().login_mac(mac(2)).await.unwrap().accept);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_remembered_device_goes_online_while_the_source_hangs() {
    let sandbox = sandbox(vec![record(1, "abc-123")]).await;
    let spotgate = over(&sandbox, "[cache]\nfresh_for = \"0s\"\nunknown_for = \"0s\"");
    let hotspot = spotgate.hotspot();
    assert!(hotspot.login_pap("abc-123", "", mac(1)).await.unwrap().accept);
    sandbox.set_fail(Some("timeout".parse().unwrap()));
    let known = hotspot.login_mac(mac(1)).await.unwrap();
    assert!(known.accept && known.tries == 1, "within a router's first second");
    let unknown = hotspot.login_mac(mac(2)).await.unwrap();
    assert!(!unknown.accept && unknown.tries == 1, "a new device's page does not wait for the source");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_that_takes_longer_than_the_duplicate_window_is_decided_once() {
    let sandbox = sandbox(vec![record(1, "abc-123")]).await;
    let source = format!(
        "[source]\nkind = \"nexudus\"\n[source.nexudus]\nbase_url = \"{}\"\nusername = \"demo@example.org\"\npassword = \"demo\"\n",
        sandbox.base_url()
    );
    let short = configuration(&source, "").replace("[radius]\n", "[radius]\nduplicate_window = \"1s\"\n");
    let spotgate = Spotgate::start(&short);
    sandbox.set_latency(Duration::from_millis(1500));
    let hotspot = spotgate.hotspot().patience(Duration::from_millis(700), 5);
    assert!(hotspot.login_pap("abc-123", "", mac(1)).await.unwrap().accept);
    let allowed = "spotgate_decisions_total{via=\"radius\",outcome=\"allow\",reason=\"none\"}";
    assert_eq!(spotgate.metric(allowed).await, 1.0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn guesses_at_once_get_no_further_than_one_after_another() {
    let sandbox = sandbox(Vec::new()).await;
    sandbox.set_latency(Duration::from_millis(300));
    let spotgate = Arc::new(over(&sandbox, ""));
    let guesses = (0..60).map(|guess| {
        let spotgate = Arc::clone(&spotgate);
        let question = json!({"access_code": format!("guess-{guess}"), "mac": mac(1).to_string()});
        tokio::spawn(async move { spotgate.authorize(question).await["reason"] == "throttled" })
    });
    let mut throttled = 0;
    for guess in guesses.collect::<Vec<_>>() {
        throttled += u32::from(guess.await.unwrap());
    }
    assert_eq!((throttled, sandbox.count("list")), (50, 10));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn readiness_and_the_count_of_tokens_speak_of_usable_copies() {
    let sandbox = sandbox(vec![record(1, "abc-123")]).await;
    let spotgate = over(&sandbox, "");
    spotgate
        .until("signed in", async || spotgate.get("/readyz").await == (200, json!({"ready": true, "degraded": []})))
        .await;
    for code in ["none-1", "none-2", "none-3"] {
        spotgate.authorize(json!({"access_code": code})).await;
    }
    assert_eq!(spotgate.metric("spotgate_tokens").await, 0.0, "what does not exist is no token");
    sandbox.set_fail(Some("down".parse().unwrap()));
    spotgate.authorize(json!({"access_code": "cold-one"})).await;
    assert_eq!(spotgate.get("/readyz").await.0, 503, "nothing can be decided");
    sandbox.set_fail(None);
    assert_eq!(spotgate.authorize(json!({"access_code": "abc-123"})).await["decision"], "allow");
    assert_eq!(spotgate.metric("spotgate_tokens").await, 1.0);
    sandbox.set_fail(Some("down".parse().unwrap()));
    spotgate.authorize(json!({"access_code": "cold-two"})).await;
    assert_eq!(spotgate.get("/readyz").await.0, 200, "a copy can be used");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_malformed_record_is_no_unknown_code_and_is_said() {
    let sandbox = sandbox(vec![with(record(4, "abc-123"), json!({"UserLimit": "many"}))]).await;
    let spotgate = over(&sandbox, "");
    assert_eq!(spotgate.authorize(json!({"access_code": "abc-123"})).await["reason"], "source_unavailable");
    assert_eq!(spotgate.metric("spotgate_malformed_records_total").await, 1.0);
    assert!(spotgate.log().contains("an odd access token"), "{}", spotgate.log());
    assert_eq!(spotgate.get("/readyz").await.0, 200, "one record says nothing about the source");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_password_is_said_and_not_tried_again_and_again() {
    let sandbox = sandbox(vec![record(1, "abc-123")]).await;
    sandbox.change_users(|users| users[0].password = "changed".to_owned());
    let spotgate = over(&sandbox, "");
    for device in 0..5 {
        let answer = spotgate.authorize(json!({"access_code": format!("code-{device}")})).await;
        assert_eq!(answer["reason"], "source_unavailable");
    }
    assert_eq!(sandbox.count("sign_in"), 1, "no storm that locks the user out");
    let (status, ready) = spotgate.get("/readyz").await;
    assert_eq!(status, 503);
    let words = ready["degraded"][0].as_str().unwrap();
    assert!(words.contains("password_file") && words.ends_with("(wrong_password)"), "{ready}");
    assert_eq!(spotgate.metric("spotgate_source_alarm{kind=\"wrong_password\"}").await, 1.0);
    assert!(spotgate.log().lines().any(|line| line.contains("WARN") && line.contains("password")), "and in the log");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_ceiling_holds() {
    let sandbox = sandbox(Vec::new()).await;
    let source = source(&sandbox, "mirror = false\nrequests_per_minute = 10");
    let spotgate = Arc::new(Spotgate::start(&configuration(&source, "[throttle]\nnas_failures = 10000")));
    let logins = (0..60u8).map(|guess| {
        let spotgate = Arc::clone(&spotgate);
        tokio::spawn(async move {
            spotgate.authorize(json!({"access_code": format!("guess-{guess}"), "mac": mac(guess).to_string()})).await
        })
    });
    let mut unavailable = 0;
    for login in logins.collect::<Vec<_>>() {
        unavailable += u32::from(login.await.unwrap()["reason"] == "source_unavailable");
    }
    assert_eq!(sandbox.requests().len(), 10, "{:?}", sandbox.counts());
    assert_eq!(unavailable, 51, "a sign-in and nine look-ups went out");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_alarm_is_shown_by_its_name_while_it_lasts() {
    let sandbox = sandbox(vec![record(1, "abc-123"), json!({"Id": 2, "AccessCode": "bare"})]).await;
    let spotgate = over(&sandbox, "[cache]\nfresh_for = \"0s\"");
    let metric = async |kind: &str| spotgate.metric(&format!("spotgate_source_alarm{{kind=\"{kind}\"}}")).await;
    let degraded = async || spotgate.get("/readyz").await.1["degraded"].to_string();
    assert_eq!(spotgate.authorize(json!({"access_code": "abc-123"})).await["decision"], "allow");
    assert_eq!((metric("role_missing").await, degraded().await), (0.0, "[]".to_owned()));
    sandbox.set_fail(Some("role".parse().unwrap()));
    spotgate.authorize(json!({"access_code": "cold"})).await;
    assert_eq!((metric("role_missing").await, metric("locked").await), (1.0, 0.0));
    let shown = degraded().await;
    assert!(shown.contains("AccessToken-List") && shown.contains("(role_missing)"), "{shown}");
    assert_eq!(shown.matches("role_missing").count(), 1, "said once: {shown}");
    assert!(spotgate.log().lines().any(|line| line.contains("WARN") && line.contains("\"alarm\":\"role_missing\"")));
    sandbox.set_fail(None);
    spotgate.authorize(json!({"access_code": "cold-too"})).await;
    assert_eq!((metric("role_missing").await, degraded().await), (0.0, "[]".to_owned()));
}

/// Over every fault that the sandbox plays, also at the first sign-in.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_secret_of_the_source_reaches_a_log() {
    let (password, seed) = ("pass-word-9f2", "GEZDGNBVGY3TQOJQ");
    let sandbox = sandbox(vec![record(1, "visible-code-77")]).await;
    sandbox.change_users(|users| {
        users[0].password = password.to_owned();
        users[0].totp_secret = Some(seed.to_owned());
    });
    let source = format!(
        "[source]\nkind = \"nexudus\"\n[source.nexudus]\nbase_url = \"{}\"\nusername = \"demo@example.org\"\npassword = \"{password}\"\ntotp_secret = \"{seed}\"\nrequest_timeout = \"200ms\"\n",
        sandbox.base_url()
    );
    let mut logs = String::new();
    let mut secrets: Vec<String> =
        ["visible-code", "cold-code", "Bearer ", "bearer-", "refresh-", "access_token", "totp="]
            .into_iter()
            .chain([password, seed, "reset-token", "5c0e41d2", "locked out until"])
            .map(str::to_owned)
            .collect();
    let at_sign_in = ["2fa", "must-reset", "locked", "down"];
    for start in at_sign_in.into_iter().map(Some).chain([None]) {
        sandbox.set_fail(start.map(|mode| mode.parse().unwrap()));
        let spotgate = Spotgate::start(&configuration(&source, ""));
        spotgate.authorize(json!({"access_code": "visible-code-77"})).await;
        if start.is_none() {
            for (mode, _) in Mode::ALL {
                sandbox.set_fail(Some(mode.parse().unwrap()));
                spotgate.authorize(json!({"access_code": format!("cold-code-{mode}")})).await;
            }
        }
        spotgate.signal("TERM");
        let folder = Arc::clone(&spotgate.folder);
        logs.push_str(&spotgate.ended().1);
        let state = std::fs::read_to_string(folder.path().join("state/state.json")).unwrap_or_default();
        let state: Value = serde_json::from_str(&state).unwrap_or_default();
        secrets.extend(state["nexudus"]["refresh_token"].as_str().map(str::to_owned));
    }
    assert!(logs.contains("new password") && logs.contains("\"locked\""), "the faults were played:\n{logs}");
    assert!(
        secrets.iter().any(|secret| secret.starts_with("refresh-") && secret.len() > 20),
        "a refresh token was kept"
    );
    for secret in secrets {
        assert!(!logs.contains(&secret), "{secret} in\n{logs}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_id_leads_from_the_packet_to_the_call_upstream() {
    let sandbox = sandbox(vec![record(1, "abc-123")]).await;
    let spotgate = over(&sandbox, "");
    spotgate.hotspot().login_pap("abc-123", "", mac(1)).await.unwrap();
    let id = |message: &str| {
        let log = spotgate.log();
        let lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let mut lines = lines.filter(|line| line["message"] == message && line["span"]["name"] == "request");
        lines.next().and_then(|line| line["span"]["id"].as_str().map(str::to_owned))
    };
    spotgate.until("both are logged", async || id("allow").is_some() && id("asked Nexudus").is_some()).await;
    assert_eq!((id("allow"), id("allow").map(|id| id.len())), (id("asked Nexudus"), Some(16)));

    let url = format!("http://{}/healthz", spotgate.http);
    let answer = crate::support::client().get(url).send().await.unwrap();
    assert!(answer.headers().get("x-request-id").is_some_and(|id| id.len() == 16));
}
