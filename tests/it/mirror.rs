//! A mirror of the sandbox Nexudus: logins without internet, and what changes upstream reaches who is online.

use std::fs;

use serde_json::{Value, json};
use spotgate::sandbox::nexudus::Sandbox;

use crate::nexudus::{sandbox, source};
use crate::sessions::{Site, id};
use crate::support::{FILE_SOURCE, Spotgate, configuration, mac, record, with};

/// A second between two looks, for tests that wait for one.
const OFTEN: &str = "mirror_interval = \"1s\"\nrequests_per_minute = 100000";

fn over(sandbox: &Sandbox, extra: &str) -> Spotgate {
    Spotgate::start(&configuration(&source(sandbox, OFTEN), extra))
}

async fn mirrored(spotgate: &Spotgate, tokens: f64) {
    let whole = async || spotgate.log().contains("every access token of Nexudus is at hand");
    spotgate.until("mirrored", whole).await;
    assert_eq!(spotgate.metric("spotgate_tokens").await, tokens);
}

async fn reason(spotgate: &Spotgate, code: &str, device: u8) -> Value {
    spotgate.authorize(json!({"access_code": code, "mac": mac(device).to_string()})).await["reason"].clone()
}

async fn site(sandbox: &Sandbox, tokens: f64, nas: &str) -> Site {
    let spotgate = over(sandbox, &format!("disconnect_port = 1\n{nas}"));
    mirrored(&spotgate, tokens).await;
    Site::around(spotgate).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_code_that_nobody_has_typed_goes_online_without_internet_also_after_a_crash() {
    let named = with(record(3, "other"), json!({"MacAddress": "3C:06:30:AA:19:09"}));
    let sandbox = sandbox(vec![record(1, "abc-123"), record(2, "xyz-789"), named]).await;
    let spotgate = over(&sandbox, "");
    mirrored(&spotgate, 3.0).await;
    sandbox.set_fail(Some("down".parse().unwrap()));
    assert_eq!(reason(&spotgate, "ABC-123", 1).await, Value::Null);
    assert_eq!(reason(&spotgate, "nobody", 2).await, "source_unavailable");
    assert!(spotgate.hotspot().login_mac(mac(9)).await.unwrap().accept);

    let configuration = spotgate.configuration();
    let again = Spotgate::start_in(spotgate.kill(), &fs::read_to_string(configuration).unwrap());
    let (status, ready) = again.get("/readyz").await;
    assert_eq!((status, ready["ready"].clone()), (200, true.into()), "{ready}");
    assert_eq!(reason(&again, "xyz-789", 3).await, Value::Null);
    assert!(!again.hotspot().login_mac(mac(8)).await.unwrap().accept);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_was_registered_a_moment_ago_is_let_in() {
    let sandbox = sandbox(vec![record(1, "abc-123")]).await;
    let spotgate = Spotgate::start(&configuration(&source(&sandbox, ""), "[cache]\nunknown_for = \"0s\""));
    mirrored(&spotgate, 1.0).await;
    assert_eq!(reason(&spotgate, "visitor", 1).await, "unknown_code");
    sandbox.put_token(record(2, "visitor"));
    assert_eq!(reason(&spotgate, "visitor", 1).await, Value::Null);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_lost_the_right_is_taken_off_the_air() {
    let tokens = (1..=4).map(|id| with(record(id, &format!("code-{id}")), json!({"BusinessId": 1}))).collect();
    let sandbox = sandbox(tokens).await;
    let site = site(&sandbox, 4.0, "business_ids = [1]").await;
    let mut sessions = Vec::new();
    for device in 1..=4 {
        site.online(&format!("code-{device}"), device).await;
        sessions.push(id(&site.session_of(device).await));
    }
    sandbox.delete_token(1);
    sandbox.put_token(with(record(2, "code-2"), json!({"BusinessId": 1, "ValidTo": "2026-01-01T00:00:00Z"})));
    sandbox.put_token(with(record(3, "code-3"), json!({"BusinessId": 1, "MinutesLeft": 0})));
    sandbox.put_token(with(record(4, "code-4"), json!({"BusinessId": 2})));
    let mut causes = Vec::new();
    for session in &sessions {
        site.until("off the air", session, |session| session["state"] == "ended").await;
        causes.push(site.session(session).await["ending"]["cause"].clone());
    }
    assert_eq!(causes, ["revoked", "over", "used_up", "revoked"]);
    assert!(site.router.sessions().is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_top_up_reaches_the_running_session_where_the_router_takes_it() {
    let sandbox = sandbox(vec![with(record(1, "abc-123"), json!({"MinutesLeft": 10}))]).await;
    let site = site(&sandbox, 1.0, "extend_sessions = true").await;
    site.online("abc-123", 1).await;
    let session = site.session_of(1).await;
    assert_eq!(session["session_timeout"], 600);
    sandbox.put_token(with(record(1, "abc-123"), json!({"MinutesLeft": 100})));
    let longer = |session: &Value| session["session_timeout"].as_u64().is_some_and(|timeout| timeout > 5990);
    site.until("longer", &id(&session), longer).await;
    assert_eq!(site.router.sessions().len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_finds_out_what_was_revoked_meanwhile() {
    let sandbox = sandbox(vec![record(1, "abc-123"), record(2, "xyz-789")]).await;
    let spotgate = over(&sandbox, "");
    mirrored(&spotgate, 2.0).await;
    assert!(spotgate.hotspot().login_pap("abc-123", "", mac(1)).await.unwrap().accept);
    assert!(spotgate.hotspot().login_pap("xyz-789", "", mac(2)).await.unwrap().accept);
    let configuration = fs::read_to_string(spotgate.configuration()).unwrap();
    let folder = spotgate.stop();
    sandbox.delete_token(1);
    let again = Spotgate::start_in(folder, &configuration);
    let states = async || {
        let (_, answer) = again.read("/v1/sessions").await;
        let sessions = answer["sessions"].as_array().unwrap().clone();
        sessions.into_iter().map(|session| session["state"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    again.until("told to go", async || states().await.contains(&"disconnecting".to_owned())).await;
    assert_eq!(states().await.iter().filter(|state| *state == "admitted").count(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_operator_has_a_token_read_again() {
    for keys in ["mirror = false", "mirror_interval = \"1h\""] {
        let sandbox = sandbox(vec![record(1, "abc-123")]).await;
        let spotgate = Spotgate::start(&configuration(&source(&sandbox, keys), "[cache]\nfresh_for = \"1h\""));
        if keys != "mirror = false" {
            mirrored(&spotgate, 1.0).await;
        }
        assert!(spotgate.hotspot().login_pap("abc-123", "", mac(1)).await.unwrap().accept);
        sandbox.put_token(with(record(1, "abc-123"), json!({"MinutesLeft": 0})));
        let token = async || spotgate.read("/v1/tokens/abc-123").await.1["token"]["MinutesLeft"].clone();
        assert_eq!(token().await, 60, "{keys}: the copy is fresh");
        let post = async |path: &str| spotgate.post(path, Some(crate::support::KEY), String::new()).await;
        let (status, answer) = post("/v1/tokens/ABC-123/refresh").await;
        assert_eq!((status, &answer["token"]["MinutesLeft"]), (200, &json!(0)), "{keys}: {answer}");
        assert_eq!(token().await, 0, "{keys}");
        let (_, sessions) = spotgate.read("/v1/sessions").await;
        assert_eq!(sessions["sessions"][0]["state"], "disconnecting", "{keys}: {sessions}");
        assert_eq!(post("/v1/tokens/nobody/refresh").await.0, 404, "{keys}");
        sandbox.set_fail(Some("500".parse().unwrap()));
        assert_eq!(post("/v1/tokens/abc-123/refresh").await.0, 503, "{keys}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_clock_that_is_off_is_said_and_corrected_for() {
    let soon = |seconds| (crate::support::ledger::now() + jiff::SignedDuration::from_secs(seconds)).to_string();
    let tokens = vec![
        with(record(1, "not-yet"), json!({"ValidFrom": soon(1800)})),
        with(record(2, "over"), json!({"ValidTo": soon(1800)})),
    ];
    let sandbox = sandbox(tokens).await;
    sandbox.change(|options| options.skew = jiff::SignedDuration::from_hours(1));
    let spotgate = over(&sandbox, "");
    let said = async || spotgate.get("/readyz").await.1["degraded"].to_string().contains("behind");
    spotgate.until("said", said).await;
    assert_eq!(reason(&spotgate, "not-yet", 1).await, Value::Null);
    assert_eq!(reason(&spotgate, "over", 2).await, "expired");
    let correction = spotgate.metric("spotgate_clock_correction_seconds").await;
    assert!((3590.0..3610.0).contains(&correction), "{correction}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn minutes_used_are_written_back_and_the_pool_is_what_it_was() {
    let sandbox = sandbox(vec![with(record(1, "abc-123"), json!({"MinutesLeft": 60}))]).await;
    let keys = format!("{OFTEN}\nwrite_back = true");
    let extra = "[policy]\nbind_device = \"learn\"";
    let spotgate = Spotgate::start(&configuration(&source(&sandbox, &keys), extra));
    mirrored(&spotgate, 1.0).await;
    let (admitted, _) = crate::support::ledger::online(&spotgate, "abc-123", 1, 0).await;
    let interim = crate::support::ledger::interim(&admitted, "abc-123", 1, 150);
    spotgate.hotspot().account(&interim).await.unwrap();
    let upstream = || sandbox.token(1).unwrap();
    spotgate.until("written", async || upstream()["MinutesLeft"] == 58).await;
    assert_eq!(upstream()["MacAddress"], mac(1).to_string());
    let token = async || spotgate.read("/v1/tokens/abc-123").await.1;
    spotgate.until("known", async || token().await["token"]["MinutesLeft"] == 58).await;
    // 30 s and a little that the session has run up since.
    let held = token().await;
    assert!((30..40).contains(&held["unwritten_seconds"].as_u64().unwrap()), "{held}");
    assert_eq!(held["minutes_left"], 57);
    assert!(!spotgate.log().contains("abc-123"), "no code is logged, at any level");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_file_no_longer_holds_is_taken_off_the_air_too() {
    let folder = std::sync::Arc::new(tempfile::tempdir().unwrap());
    let tokens = |tokens: &[Value]| fs::write(folder.path().join("tokens.json"), json!(tokens).to_string()).unwrap();
    tokens(&[record(1, "abc-123"), record(2, "xyz-789")]);
    let text = configuration(FILE_SOURCE, "disconnect_port = 1\n");
    let site = Site::around(Spotgate::start_in(std::sync::Arc::clone(&folder), &text)).await;
    site.online("abc-123", 1).await;
    site.online("xyz-789", 2).await;
    let (one, two) = (id(&site.session_of(1).await), id(&site.session_of(2).await));
    tokens(&[record(2, "xyz-789")]);
    site.until("off the air", &one, |session| session["state"] == "ended").await;
    assert_eq!(site.session(&two).await["state"], "online");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_code_that_was_ended_early_does_not_come_back_with_or_without_internet() {
    let sandbox = sandbox(vec![record(1, "abc-123")]).await;
    let site = site(&sandbox, 1.0, "").await;
    // Registered a moment ago, so looked up.
    sandbox.put_token(record(2, "visitor"));
    site.online("visitor", 2).await;
    let session = id(&site.session_of(2).await);
    sandbox.put_token(with(record(2, "visitor"), json!({"ValidTo": "2026-01-01T00:00:00Z"})));
    site.until("off the air", &session, |session| session["state"] == "ended").await;
    assert_eq!(reason(&site.spotgate, "visitor", 2).await, "expired");
    sandbox.set_fail(Some("down".parse().unwrap()));
    assert_eq!(reason(&site.spotgate, "visitor", 2).await, "expired");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_deleted_goes_off_the_air_though_another_record_is_odd() {
    let sandbox = sandbox(vec![record(1, "abc-123"), record(2, "other")]).await;
    let mut odd = record(3, "odd");
    odd["Id"] = "x".into();
    sandbox.put_raw(odd);
    let keys = "mirror_interval = \"1s\"\nfull_mirror_interval = \"2s\"\nrequests_per_minute = 100000";
    let spotgate = Spotgate::start(&configuration(&source(&sandbox, keys), "disconnect_port = 1"));
    spotgate.until("listed", async || spotgate.metric("spotgate_tokens").await == 2.0).await;
    let site = Site::around(spotgate).await;
    site.online("abc-123", 1).await;
    let session = id(&site.session_of(1).await);
    sandbox.delete_token(1);
    site.until("off the air", &session, |session| session["state"] != "online").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refresh_of_what_is_gone_takes_it_off_the_air() {
    for keys in ["mirror_interval = \"1h\"", "mirror = false"] {
        let sandbox = sandbox(vec![record(1, "abc-123")]).await;
        let spotgate = Spotgate::start(&configuration(&source(&sandbox, keys), ""));
        if keys != "mirror = false" {
            mirrored(&spotgate, 1.0).await;
        }
        assert!(spotgate.hotspot().login_pap("abc-123", "", mac(1)).await.unwrap().accept);
        sandbox.delete_token(1);
        let post = async |path: &str| spotgate.post(path, Some(crate::support::KEY), String::new()).await;
        assert_eq!(post("/v1/tokens/abc-123/refresh").await.0, 404, "{keys}");
        let leaves = async || spotgate.read("/v1/sessions").await.1["sessions"][0]["state"] == "disconnecting";
        spotgate.until(keys, leaves).await;
    }
}

/// The code of a remembered device counts only for the very token it was used on: there is nothing to ask.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn devices_whose_codes_are_over_do_not_ask_nexudus_for_each_of_them() {
    let sandbox = sandbox((1..=5).map(|id| record(id, &format!("code-{id}"))).collect()).await;
    let keys = source(&sandbox, "mirror_interval = \"1h\"");
    let spotgate = Spotgate::start(&configuration(&keys, "[cache]\nfresh_for = \"0s\""));
    mirrored(&spotgate, 5.0).await;
    for id in 1..=5 {
        assert!(spotgate.hotspot().login_pap(&format!("code-{id}"), "", mac(1)).await.unwrap().accept, "{id}");
        sandbox.put_token(with(record(id, &format!("code-{id}")), json!({"ValidTo": "2026-01-01T00:00:00Z"})));
        let refresh = format!("/v1/tokens/code-{id}/refresh");
        assert_eq!(spotgate.post(&refresh, Some(crate::support::KEY), String::new()).await.0, 200);
    }
    let asked = sandbox.count("list");
    assert!(!spotgate.hotspot().login_mac(mac(1)).await.unwrap().accept);
    assert_eq!(sandbox.count("list"), asked);
}

/// One location was never listed: a code that is known of another may be one of its codes, too.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_twin_at_a_location_that_cannot_be_listed_goes_online() {
    let tokens = vec![
        with(record(1, "twin"), json!({"BusinessId": 1})),
        with(record(2, "twin"), json!({"BusinessId": 2})),
        with(record(3, "alone"), json!({"BusinessId": 2})),
    ];
    let sandbox = sandbox(tokens).await;
    sandbox.change(|options| (options.fails_at, options.fails_with) = (Some(2), 500));
    let keys = format!("{OFTEN}\nbusiness_ids = [1, 2]");
    let spotgate = Spotgate::start(&configuration(&source(&sandbox, &keys), "business_ids = [2]"));
    spotgate.until("one location is mirrored", async || spotgate.metric("spotgate_tokens").await >= 1.0).await;
    assert_eq!(reason(&spotgate, "alone", 2).await, Value::Null);
    assert_eq!(reason(&spotgate, "twin", 1).await, Value::Null);
    spotgate.stop();
}
