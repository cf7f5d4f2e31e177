//! The main job on the real binary: RADIUS and HTTP in, decisions out; and what happens to bad input.

use serde_json::json;
use spotgate::radius::attribute as a;
use spotgate::radius::packet::{Packet, Request};
use spotgate::radius::secret::Secret;
use spotgate::sandbox::hotspot::{Hotspot, HotspotError, Password};

use crate::support::{KEY, SECRET, Spotgate, mac, record, with};

fn silence<T: std::fmt::Debug>(outcome: Result<T, HotspotError>) {
    let error = outcome.expect_err("there should be no answer");
    assert!(matches!(error, HotspotError::NoAnswer { .. }), "{error}");
}

/// Sends bytes that are no request; nothing may come back.
async fn unanswered(server: std::net::SocketAddr, bytes: &[u8]) {
    let socket = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
    socket.send_to(bytes, server).await.unwrap();
    let answer = tokio::time::timeout(std::time::Duration::from_millis(300), socket.recv(&mut [0; 4096])).await;
    assert!(answer.is_err(), "{answer:?}");
}

/// One try of a second: for requests that must stay unanswered.
fn hasty(hotspot: Hotspot) -> Hotspot {
    hotspot.patience(std::time::Duration::from_millis(300), 1)
}

#[tokio::test]
async fn a_code_goes_online_by_pap_chap_and_then_by_its_mac() {
    let spotgate = Spotgate::over_file_with(
        &[with(record(1, "kx7q-91mp"), json!({"UserLimit": 2}))],
        "rate_limit = \"10M/10M\"\ngroup = \"guests\"\n[policy]\nidle_timeout = \"15m\"",
    );
    let hotspot = spotgate.hotspot();
    let pap = hotspot.login_pap("kx7q-91mp", "kx7q-91mp", mac(1)).await.unwrap();
    assert!(pap.accept);
    assert_eq!(
        (pap.session_timeout, pap.idle_timeout, pap.interim, pap.port_limit),
        (Some(3600), Some(900), Some(300), Some(3))
    );
    assert_eq!((pap.rate_limit.as_deref(), pap.group.as_deref()), (Some("10M/10M"), Some("guests")));
    let order = [
        a::MESSAGE_AUTHENTICATOR,
        a::SESSION_TIMEOUT,
        a::IDLE_TIMEOUT,
        a::ACCT_INTERIM_INTERVAL,
        a::PORT_LIMIT,
        a::CLASS,
        a::VENDOR_SPECIFIC,
        a::VENDOR_SPECIFIC,
    ];
    assert_eq!(pap.kinds, order, "exactly the contract's attributes, in its order");
    assert!(pap.class.unwrap().len() <= 32);

    let chap = hotspot.login_chap("KX7Q-91MP", "KX7Q-91MP", mac(2)).await.unwrap();
    assert!(chap.accept, "the code as typed, where case is ignored");
    let third = hotspot.login_pap("kx7q-91mp", "", mac(3)).await.unwrap();
    assert!(!third.accept);
    assert_eq!(third.kinds, [a::MESSAGE_AUTHENTICATOR, a::REPLY_MESSAGE]);
    assert_eq!(
        third.reply_message.as_deref(),
        Some("This code is in use on 2 devices, as many as it allows. Log out on one first.")
    );
    assert!(hotspot.login_mac(mac(1)).await.unwrap().accept, "a device that logged in with a code is remembered");
    assert!(!hotspot.login_mac(mac(9)).await.unwrap().accept);
}

#[tokio::test]
async fn who_makes_up_devices_and_guesses_shuts_nobody_out_who_was_there_before() {
    let codes = [with(record(1, "kx7q-91mp"), json!({"UserLimit": 2})), record(2, "other")];
    let spotgate = Spotgate::over_file_with(&codes, "[throttle]\nnas_failures = 5");
    let hotspot = spotgate.hotspot();
    assert!(hotspot.login_pap("kx7q-91mp", "", mac(1)).await.unwrap().accept);
    for device in 10..15 {
        assert!(!hotspot.login_pap(&format!("guess-{device}"), "", mac(device)).await.unwrap().accept);
    }
    let fresh = hotspot.login_pap("kx7q-91mp", "", mac(2)).await.unwrap();
    let why = fresh.reply_message.as_deref();
    assert_eq!(why, Some("Too many wrong codes. Please wait a few minutes, then try again."), "nobody knows it");
    assert!(hotspot.login_mac(mac(1)).await.unwrap().accept);
    assert!(hotspot.login_pap("other", "", mac(1)).await.unwrap().accept, "by another code, too");
}

#[tokio::test]
async fn every_reason_over_http_by_name() {
    let records = [
        with(record(1, "early"), json!({"ValidFrom": "2999-01-01T00:00:00Z"})),
        with(record(2, "late"), json!({"ValidTo": "2001-01-01T00:00:00Z"})),
        with(record(3, "empty"), json!({"MinutesLeft": 0})),
        with(record(4, "abroad"), json!({"BusinessId": 77})),
        record(5, "twin"),
        record(6, "twin"),
        with(record(7, "bound"), json!({"MacAddress": "AA-AA-AA-AA-AA-AA"})),
        record(8, "busy"),
    ];
    let spotgate = Spotgate::over_file_with(
        &records,
        "business_ids = [1]\n[policy]\nbind_device = \"honour\"\n[throttle]\ndevice_failures = 2",
    );
    let ask = async |code: &str, device: u8| {
        let answer = spotgate.authorize(json!({"access_code": code, "mac": mac(device).to_string()})).await;
        answer["reason"].as_str().map(str::to_owned)
    };
    assert_eq!(ask("nobody", 1).await.as_deref(), Some("unknown_code"));
    assert_eq!(ask("abroad", 1).await.as_deref(), Some("wrong_location"));
    assert_eq!(ask("twin", 1).await.as_deref(), Some("ambiguous_code"));
    assert_eq!(ask("early", 1).await.as_deref(), Some("not_yet_valid"));
    assert_eq!(ask("late", 1).await.as_deref(), Some("expired"));
    assert_eq!(ask("bound", 1).await.as_deref(), Some("device_mismatch"));
    assert_eq!(ask("empty", 1).await.as_deref(), Some("no_minutes_left"));
    assert_eq!(ask("busy", 2).await, None);
    assert_eq!(ask("busy", 3).await.as_deref(), Some("user_limit_reached"));
    assert_eq!(ask("nobody", 1).await.as_deref(), Some("unknown_code"));
    assert_eq!(ask("busy", 1).await.as_deref(), Some("throttled"), "two failed codes were too many");
    let device = spotgate.authorize(json!({"mac": mac(9).to_string()})).await;
    assert_eq!(device["reason"], "unknown_device");
    let bound = spotgate.authorize(json!({"mac": "aaaa.aaaa.aaaa"})).await;
    assert_eq!((&bound["decision"], &bound["token_id"]), (&json!("allow"), &json!(7)));
    assert!(
        spotgate.metric("spotgate_decisions_total{via=\"http\",outcome=\"deny\",reason=\"unknown_code\"}").await >= 2.0
    );
    assert!(spotgate.metric("spotgate_decisions_total{via=\"http\",outcome=\"allow\",reason=\"none\"}").await >= 2.0);
}

#[tokio::test]
async fn the_answer_has_every_field_always() {
    let spotgate = Spotgate::over_file(&[with(record(1, "abc-123"), json!({"ValidTo": "2999-01-01T00:00:00Z"}))]);
    let fields = [
        "decision",
        "reason",
        "message",
        "session_timeout",
        "idle_timeout",
        "interim_interval",
        "expires_at",
        "minutes_left",
        "user_limit",
        "devices_online",
        "token_id",
        "session",
    ];
    let allow = spotgate.authorize(json!({"access_code": "abc-123", "mac": mac(1).to_string()})).await;
    let deny = spotgate.authorize(json!({"access_code": "unknown"})).await;
    for answer in [&allow, &deny] {
        let present: Vec<_> = answer.as_object().unwrap().keys().map(String::as_str).collect();
        for field in fields {
            assert!(present.contains(&field), "{field} in {answer}");
        }
    }
    assert_eq!(allow["session_timeout"], 3600);
    assert_eq!(
        (&allow["minutes_left"], &allow["user_limit"], &allow["devices_online"]),
        (&json!(60), &json!(1), &json!(1))
    );
    assert_eq!((&allow["expires_at"], &allow["token_id"]), (&json!("2999-01-01T00:00:00Z"), &json!(1)));
    assert_eq!(allow["session"].as_str().unwrap().len(), 26);
    assert_eq!((&deny["session_timeout"], &deny["token_id"]), (&json!(null), &json!(null)));

    let dry = spotgate.authorize(json!({"access_code": "abc-123", "mac": mac(2).to_string(), "dry_run": true})).await;
    assert_eq!(dry["reason"], "user_limit_reached");
    let last = dry["checks"].as_array().unwrap().last().unwrap();
    assert_eq!((&last["check"], &last["ok"]), (&json!("user_limit"), &json!(false)));
}

#[tokio::test]
async fn bad_http_requests_get_their_problem() {
    let spotgate = Spotgate::over_file(&[record(1, "abc-123")]);
    let post = async |key, body: &str| spotgate.post("/v1/authorize", key, body.to_owned()).await;
    assert_eq!(post(None, "{}").await.0, 401);
    assert_eq!(post(Some("wrong"), "{}").await.0, 401);
    assert_eq!(post(Some(KEY), "{").await.0, 400);
    assert_eq!(post(Some(KEY), "[]").await.0, 400);
    assert_eq!(post(Some(KEY), "").await.0, 400);
    for (body, field) in [
        ("{}", "access_code"),
        (r#"{"access_code": 42}"#, "access_code"),
        (r#"{"access_code": "  "}"#, "access_code"),
        (r#"{"access_code": "a\u0000b"}"#, "access_code"),
        (r#"{"mac": "nonsense"}"#, "mac"),
        (r#"{"access_code": "abc-123", "ip": "300.1.1.1"}"#, "ip"),
        (r#"{"access_code": "abc-123", "nas": "elsewhere"}"#, "nas"),
        (r#"{"access_code": "abc-123", "dry_run": "yes"}"#, "dry_run"),
        (r#"{"access_code": "abc-123", "session_id": 7}"#, "session_id"),
    ] {
        let (status, problem) = post(Some(KEY), body).await;
        assert_eq!((status, &problem["field"]), (422, &json!(field)), "{body}: {problem}");
    }
    let large = format!(r#"{{"access_code": "{}"}}"#, "x".repeat(100_000));
    assert_eq!(post(Some(KEY), &large).await.0, 413);
    assert_eq!(spotgate.get("/v1/nothing").await.0, 404);
    assert_eq!(spotgate.get("/v1/authorize").await.0, 405);
    let response = crate::support::client().get(format!("http://{}/v1/nothing", spotgate.http)).send().await.unwrap();
    assert_eq!(response.headers()["content-type"], "application/problem+json");
    assert_eq!(spotgate.metric("spotgate_http_problems_total{status=\"422\"}").await, 9.0);
    // One line a minute for each status: 400, 401, 404, 405, 413, 422.
    let lines = || spotgate.log().matches("answered with a problem").count();
    spotgate.until("six lines", async || lines() >= 6).await;
    assert_eq!(lines(), 6);
}

#[tokio::test]
async fn scopes_bound_a_key() {
    let keys = "[[http.api_key]]\nname = \"watcher\"\nkey = \"watching-only\"\nscopes = [\"read\"]";
    let spotgate = Spotgate::over_file_with(&[record(1, "abc-123")], keys);
    let body = json!({"access_code": "abc-123"}).to_string();
    let (status, problem) = spotgate.post("/v1/authorize", Some("watching-only"), body).await;
    assert_eq!((status, &problem["status"]), (403, &json!(403)));
}

#[tokio::test]
async fn health_readiness_and_the_interface_described() {
    let spotgate = Spotgate::over_file(&[record(1, "abc-123")]);
    assert_eq!(spotgate.get("/healthz").await.0, 200);
    assert_eq!(spotgate.get("/readyz").await, (200, json!({"ready": true, "degraded": []})));
    let (status, document) = spotgate.get("/openapi.json").await;
    assert_eq!(status, 200);
    for path in ["/v1/authorize", "/healthz", "/readyz"] {
        assert!(document["paths"][path].is_object(), "{path}");
    }
    std::fs::write(spotgate.folder.path().join("tokens.json"), "[{").unwrap();
    spotgate.until("the bad file is said", async || !spotgate.get("/readyz").await.1["degraded"][0].is_null()).await;
    assert_eq!(spotgate.get("/readyz").await.0, 200, "copies can still be used");
    assert_eq!(spotgate.authorize(json!({"access_code": "abc-123"})).await["decision"], "allow");
    std::fs::write(spotgate.folder.path().join("tokens.json"), json!([record(2, "fresh-one")]).to_string()).unwrap();
    spotgate
        .until("the good file is read", async || {
            spotgate.authorize(json!({"access_code": "fresh-one"})).await["decision"] == "allow"
        })
        .await;
    assert_eq!(spotgate.authorize(json!({"access_code": "abc-123"})).await["reason"], "unknown_code");
    assert_eq!(spotgate.get("/readyz").await.1["degraded"], json!([]));
}

#[tokio::test]
async fn without_its_file_it_runs_and_says_why_nothing_can_be_decided() {
    let configuration = crate::support::configuration(crate::support::FILE_SOURCE, "");
    let spotgate = Spotgate::start(&configuration);
    let (status, ready) = spotgate.get("/readyz").await;
    assert_eq!((status, &ready["ready"]), (503, &json!(false)));
    assert!(ready["degraded"][0].as_str().unwrap().contains("tokens.json"), "{ready}");
    assert_eq!(spotgate.authorize(json!({"access_code": "abc"})).await["reason"], "source_unavailable");
    let reject = spotgate.hotspot().login_pap("abc", "abc", mac(1)).await.unwrap();
    assert!(!reject.accept);
}

#[tokio::test]
async fn repetitions_get_the_very_same_answer() {
    let spotgate = Spotgate::over_file(&[record(1, "abc-123")]);
    let hotspot = spotgate.hotspot();
    let socket = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
    socket.connect(spotgate.auth).await.unwrap();
    let request = hotspot.access_request("abc-123", Password::Pap("abc-123"), mac(1)).unwrap();
    let first = hotspot.exchange_on(&socket, &request).await.unwrap();
    let second = hotspot.exchange_on(&socket, &request).await.unwrap();
    assert_eq!(first.bytes, second.bytes);
    assert_eq!(
        spotgate.metric("spotgate_decisions_total{via=\"radius\",outcome=\"allow\",reason=\"none\"}").await,
        1.0
    );
    let packets = "spotgate_radius_packets_total{nas=\"front-desk\",kind=\"access_request\",result=\"repeated\"}";
    assert_eq!(spotgate.metric(packets).await, 1.0);
}

#[tokio::test]
async fn status_server_is_answered_on_both_ports() {
    let spotgate = Spotgate::over_file(&[]);
    let hotspot = spotgate.hotspot();
    assert_eq!(hotspot.status().await.unwrap().code, a::code::ACCESS_ACCEPT);
    assert_eq!(hotspot.accounting_status().await.unwrap().code, a::code::ACCOUNTING_RESPONSE);
}

#[tokio::test]
async fn proxy_states_come_back_unchanged_and_in_order() {
    let spotgate = Spotgate::over_file(&[record(1, "abc-123")]);
    let hotspot = spotgate.hotspot();
    let secret = Secret::new(SECRET.as_bytes());
    let build = |signed: bool, code: &[u8]| {
        let mut buffer = [0; Packet::MAX];
        let mut request = Request::new(&mut buffer, a::code::ACCESS_REQUEST, 7, &[9; 16]);
        request.attribute(a::USER_NAME, code).unwrap();
        request.attribute(a::NAS_IDENTIFIER, b"front-desk").unwrap();
        for state in [&b"one"[..], b"", b"one", b"\x00\xff"] {
            request.attribute(a::PROXY_STATE, state).unwrap();
        }
        if signed {
            request.message_authenticator().unwrap();
        }
        request.sign(&secret).to_vec()
    };
    for code in [&b"abc-123"[..], b"unknown"] {
        let answer = hotspot.exchange(&build(true, code)).await.unwrap();
        assert_eq!(answer.proxy_states, [&b"one"[..], b"", b"one", b"\x00\xff"], "{}", answer.accept);
    }
    silence(hasty(spotgate.hotspot()).exchange(&build(false, b"abc-123")).await);
}

#[tokio::test]
async fn auto_requires_the_message_authenticator_once_it_was_seen_also_after_a_restart() {
    let spotgate = Spotgate::over_file(&[record(1, "abc-123")]);
    let secret = Secret::new(SECRET.as_bytes());
    let unsigned = |identifier| {
        let mut buffer = [0; Packet::MAX];
        let mut request = Request::new(&mut buffer, a::code::ACCESS_REQUEST, identifier, &[identifier; 16]);
        request.attribute(a::USER_NAME, b"abc-123").unwrap();
        request.attribute(a::CALLING_STATION_ID, mac(1).to_string().as_bytes()).unwrap();
        request.sign(&secret).to_vec()
    };
    assert!(spotgate.hotspot().exchange(&unsigned(1)).await.unwrap().accept, "an old router");
    assert!(spotgate.hotspot().login_pap("abc-123", "", mac(1)).await.unwrap().accept, "it was upgraded");
    silence(hasty(spotgate.hotspot()).exchange(&unsigned(2)).await);
    let state = spotgate.folder.path().join("state/state.json");
    spotgate
        .until("written down", async || std::fs::read_to_string(&state).is_ok_and(|text| text.contains("127.0.0.1")))
        .await;

    let configuration = std::fs::read_to_string(spotgate.configuration()).unwrap();
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("state")).unwrap();
    for file in ["tokens.json", "state/state.json"] {
        std::fs::copy(spotgate.folder.path().join(file), folder.path().join(file)).unwrap();
    }
    drop(spotgate);
    let again = Spotgate::start_in(folder, &configuration);
    silence(hasty(again.hotspot()).exchange(&unsigned(3)).await);
    assert!(again.log().contains("no_message_authenticator"), "and the log says why");
}

#[tokio::test]
async fn what_is_broken_forged_or_foreign_is_dropped_counted_and_said_once() {
    let spotgate = Spotgate::over_file(&[record(1, "abc-123")]);
    let good = spotgate.hotspot().access_request("abc-123", Password::Pap("abc-123"), mac(1)).unwrap();
    let hotspot = || hasty(spotgate.hotspot());

    let mut tampered = good.clone();
    let last = tampered.len() - 1;
    tampered[last] ^= 1;
    silence(hotspot().exchange(&tampered).await);
    unanswered(spotgate.auth, b"").await;
    unanswered(spotgate.auth, &good[..19]).await;
    unanswered(spotgate.auth, &good[..good.len() - 3]).await;
    let foreign =
        Hotspot::new(spotgate.auth, SECRET.as_bytes(), "elsewhere").sending_from("127.0.0.2".parse().unwrap());
    silence(hasty(foreign).login_pap("abc-123", "abc-123", mac(1)).await);
    let mistaken = Hotspot::new(spotgate.auth, b"another secret", "front-desk");
    silence(hasty(mistaken).login_pap("abc-123", "abc-123", mac(1)).await);

    let secret = Secret::new(SECRET.as_bytes());
    let twice = |kind: u8, value: &[u8]| {
        let mut buffer = [0; Packet::MAX];
        let mut request = Request::new(&mut buffer, a::code::ACCESS_REQUEST, 9, &[kind; 16]);
        request.attribute(a::USER_NAME, b"abc-123").unwrap();
        for _ in 0..2 {
            request.attribute(kind, value).unwrap();
        }
        request.message_authenticator().unwrap();
        request.sign(&secret).to_vec()
    };
    for kind in [a::USER_NAME, a::CALLING_STATION_ID, a::ACCT_SESSION_ID, a::NAS_IDENTIFIER] {
        silence(hotspot().exchange(&twice(kind, b"abc-123")).await);
    }
    silence(hotspot().exchange(&twice(a::FRAMED_IP_ADDRESS, &[10, 0, 0, 1])).await);
    let mut buffer = [0; Packet::MAX];
    let mut eap = Request::new(&mut buffer, a::code::ACCESS_REQUEST, 10, &[7; 16]);
    eap.attribute(a::USER_NAME, b"abc-123").unwrap();
    eap.attribute(a::EAP_MESSAGE, b"\x02\0\0\x05\x01").unwrap();
    silence(hotspot().exchange(eap.sign(&secret)).await);

    let packets = async |nas: &str, kind: &str, result: &str| {
        let labels = format!("{{nas=\"{nas}\",kind=\"{kind}\",result=\"{result}\"}}");
        spotgate.metric(&format!("spotgate_radius_packets_total{labels}")).await
    };
    assert_eq!(packets("front-desk", "access_request", "bad_message_authenticator").await, 2.0);
    assert_eq!(packets("front-desk", "broken", "malformed").await, 3.0);
    assert_eq!(packets("unknown", "unknown", "unknown_nas").await, 1.0);
    assert_eq!(packets("front-desk", "access_request", "malformed").await, 6.0);
    let log = spotgate.log();
    assert_eq!(log.matches("\"cause\":\"bad_message_authenticator\"").count(), 1, "once a minute");
    assert_eq!(log.matches("\"cause\":\"malformed\"").count(), 1);
    assert!(log.contains("shared secrets differ") && log.contains("no [[nas]] has this address"));
    assert!(spotgate.hotspot().exchange(&good).await.unwrap().accept, "and the good one still works");
}

#[tokio::test]
async fn a_request_without_a_readable_code_is_rejected_as_malformed() {
    let spotgate = Spotgate::over_file(&[]);
    for name in ["", "   ", "a\u{7}b"] {
        let answer = spotgate.hotspot().login_pap(name, "x", mac(1)).await.unwrap();
        assert_eq!(answer.reply_message.as_deref(), Some("Please type the access code you were given."), "{name:?}");
    }
    let malformed =
        spotgate.metric("spotgate_decisions_total{via=\"radius\",outcome=\"deny\",reason=\"malformed\"}").await;
    assert_eq!(malformed, 3.0);
}

#[tokio::test]
async fn the_code_may_stand_in_the_password() {
    let spotgate = Spotgate::over_file_with(&[record(1, "abc-123")], "code_in = \"password\"");
    let hotspot = spotgate.hotspot();
    assert!(hotspot.login_pap("guest@example.org", "abc-123", mac(1)).await.unwrap().accept);
    assert!(!hotspot.login_pap("abc-123", "other", mac(1)).await.unwrap().accept);
    assert!(!hotspot.login_chap("guest", "abc-123", mac(1)).await.unwrap().accept, "PAP only");
    assert!(hotspot.login_mac(mac(1)).await.unwrap().accept);
    let named = hotspot.login_pap(&mac(1).to_string(), "abc-123", mac(1)).await.unwrap();
    assert!(named.accept, "the MAC as User-Name beside a code is only recorded");
}

#[tokio::test]
async fn two_devices_racing_for_the_last_place() {
    let spotgate = Spotgate::over_file(&[record(1, "abc-123")]);
    let hotspot = std::sync::Arc::new(spotgate.hotspot());
    let logins = (0..50u8).map(|device| {
        let hotspot = std::sync::Arc::clone(&hotspot);
        tokio::spawn(async move { hotspot.login_pap("abc-123", "", mac(device)).await.unwrap().accept })
    });
    let mut accepted = 0;
    for login in logins.collect::<Vec<_>>() {
        accepted += u32::from(login.await.unwrap());
    }
    assert_eq!(accepted, 1);
}

#[tokio::test]
async fn the_answer_leaves_from_the_address_asked_also_on_a_wildcard_and_over_ipv6() {
    let configuration = crate::support::configuration(
        crate::support::FILE_SOURCE,
        "[[nas]]\nname = \"six\"\naddress = \"::1\"\nsecret = \"correct horse battery\"",
    );
    let wildcard =
        configuration.replace("auth_listen = [\"127.0.0.1:0\"]", "auth_listen = [\"0.0.0.0:0\", \"[::]:0\"]");
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("tokens.json"), json!([record(1, "abc-123")]).to_string()).unwrap();
    let spotgate = Spotgate::start_in(folder, &wildcard);
    let port = spotgate.auth.port();
    for server in ["127.0.0.1", "127.0.0.77"] {
        let hotspot = Hotspot::new(format!("{server}:{port}").parse().unwrap(), SECRET.as_bytes(), "front-desk");
        // The client's socket is connected: it takes an answer from that address alone.
        let answer = hotspot.sending_from("127.0.0.1".parse().unwrap()).login_pap("abc-123", "", mac(1)).await.unwrap();
        assert!(answer.accept, "{server}");
    }
    let log = spotgate.log();
    let ready: serde_json::Value =
        serde_json::from_str(log.lines().find(|line| line.contains("\"ready\"")).unwrap()).unwrap();
    let both = ready["auth"].as_str().unwrap();
    let six = both.split(", ").nth(1).unwrap().trim_end_matches(']').rsplit(':').next().unwrap();
    let hotspot = Hotspot::new(format!("[::1]:{six}").parse().unwrap(), SECRET.as_bytes(), "six");
    assert!(hotspot.sending_from("::1".parse().unwrap()).login_pap("abc-123", "", mac(1)).await.unwrap().accept);
}

#[tokio::test]
async fn hang_up_reloads_and_a_wrong_file_changes_nothing() {
    let spotgate = Spotgate::over_file(&[record(1, "abc-123")]);
    let path = spotgate.configuration();
    let good = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, good.replace("[http]\n", "[policy]\nmax_session = \"10m\"\n[http]\n")).unwrap();
    spotgate.signal("HUP");
    spotgate.until("reloaded", async || spotgate.log().contains("\"message\":\"reloaded\"")).await;
    assert_eq!(spotgate.authorize(json!({"access_code": "abc-123", "dry_run": true})).await["session_timeout"], 600);

    std::fs::write(&path, good.replace("[http]\n", "[polic]\n[http]\n")).unwrap();
    spotgate.signal("HUP");
    spotgate.until("refused", async || spotgate.log().contains("not reloaded")).await;
    let answer = spotgate.authorize(json!({"access_code": "abc-123", "dry_run": true})).await;
    assert_eq!(answer["session_timeout"], 600, "{answer}");
    assert_eq!(spotgate.metric("spotgate_reloads_total{result=\"refused\"}").await, 1.0);
}

#[tokio::test]
async fn a_reload_takes_tokens_from_elsewhere_and_keeps_sessions() {
    let spotgate = Spotgate::over_file(&[record(1, "abc-123"), record(2, "old-code")]);
    let ask = async |code: &str, device: u8| {
        let answer = spotgate.authorize(json!({"access_code": code, "mac": mac(device).to_string()})).await;
        answer["reason"].as_str().map(str::to_owned)
    };
    assert_eq!(ask("abc-123", 1).await, None);
    std::fs::write(
        spotgate.folder.path().join("other.json"),
        json!([record(1, "abc-123"), record(3, "new-code")]).to_string(),
    )
    .unwrap();
    let path = spotgate.configuration();
    let changed = std::fs::read_to_string(&path).unwrap().replace("tokens.json", "other.json");
    std::fs::write(&path, changed.replace("level = \"debug\"", "level = \"warn\"")).unwrap();
    spotgate.signal("HUP");
    let done = async || spotgate.metric("spotgate_reloads_total{result=\"done\"}").await == 1.0;
    spotgate.until("reloaded", done).await;
    let before = spotgate.log().len();
    assert_eq!(ask("new-code", 9).await, None);
    assert_eq!(ask("old-code", 8).await.as_deref(), Some("unknown_code"));
    assert_eq!(ask("abc-123", 2).await.as_deref(), Some("user_limit_reached"), "device 1 is still in");
    let after = spotgate.log().split_off(before);
    assert!(!after.contains("INFO"), "the level changed too: {after}");
}

#[tokio::test]
async fn a_renewed_certificate_is_served_after_a_reload() {
    let folder = tempfile::tempdir().unwrap();
    let renew = |folder: &std::path::Path| {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        std::fs::write(folder.join("tls.pem"), made.cert.pem()).unwrap();
        std::fs::write(folder.join("tls.key"), made.signing_key.serialize_pem()).unwrap();
        reqwest::Certificate::from_pem(made.cert.pem().as_bytes()).unwrap()
    };
    let first = renew(folder.path());
    std::fs::write(folder.path().join("tokens.json"), "[]").unwrap();
    let configuration = crate::support::configuration(crate::support::FILE_SOURCE, "");
    let tls = configuration.replace("[http]\n", "[http]\ncertificate = \"tls.pem\"\nprivate_key = \"tls.key\"\n");
    let spotgate = Spotgate::start_in(folder, &tls);
    let url = format!("https://localhost:{}/healthz", spotgate.http.port());
    let trusts = async |root: &reqwest::Certificate| {
        let builder =
            crate::support::client_builder().tls_certs_only([root.clone()]).resolve("localhost", spotgate.http);
        builder.build().unwrap().get(&url).send().await.is_ok()
    };
    assert!(trusts(&first).await);
    let second = renew(spotgate.folder.path());
    assert!(!trusts(&second).await, "the files are read at a reload, not before");
    spotgate.signal("HUP");
    spotgate.until("the new one is served", async || trusts(&second).await).await;
    std::fs::write(spotgate.folder.path().join("tls.key"), "nonsense").unwrap();
    spotgate.signal("HUP");
    spotgate.until("refused", async || spotgate.log().contains("not reloaded")).await;
    assert!(trusts(&second).await, "a wrong file changes nothing");
}

#[tokio::test]
async fn a_malformed_record_is_left_out_counted_and_said() {
    let bad = with(record(2, "bad-one"), json!({"ValidTo": "the day after tomorrow"}));
    let spotgate = Spotgate::over_file(&[record(1, "abc-123"), bad]);
    assert_eq!(spotgate.authorize(json!({"access_code": "abc-123"})).await["decision"], "allow");
    assert_eq!(spotgate.authorize(json!({"access_code": "bad-one"})).await["reason"], "unknown_code");
    assert_eq!(spotgate.metric("spotgate_malformed_records_total").await, 1.0);
    let log = spotgate.log();
    assert!(log.contains("record 2 (Id 2)") && log.contains("ValidTo") && !log.contains("bad-one"), "{log}");
}

#[tokio::test]
async fn http_over_tls() {
    let folder = tempfile::tempdir().unwrap();
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    std::fs::write(folder.path().join("tls.pem"), made.cert.pem()).unwrap();
    std::fs::write(folder.path().join("tls.key"), made.signing_key.serialize_pem()).unwrap();
    std::fs::write(folder.path().join("tokens.json"), json!([record(1, "abc-123")]).to_string()).unwrap();
    let configuration = crate::support::configuration(crate::support::FILE_SOURCE, "");
    let tls = configuration.replace("[http]\n", "[http]\ncertificate = \"tls.pem\"\nprivate_key = \"tls.key\"\n");
    let spotgate = Spotgate::start_in(folder, &tls);
    let root = reqwest::Certificate::from_pem(made.cert.pem().as_bytes()).unwrap();
    let builder = crate::support::client_builder().tls_certs_only([root]).resolve("localhost", spotgate.http);
    let url = format!("https://localhost:{}/healthz", spotgate.http.port());
    assert_eq!(builder.build().unwrap().get(&url).send().await.unwrap().status(), 200);
    let plain = crate::support::client().get(format!("http://{}/healthz", spotgate.http)).send().await;
    assert!(plain.is_err(), "no answer in the clear");
}

#[tokio::test]
async fn terminate_ends_it_cleanly() {
    let spotgate = Spotgate::over_file(&[]);
    spotgate.signal("TERM");
    let (code, log) = spotgate.ended();
    assert_eq!(code, Some(0), "{log}");
    assert!(log.contains("stopped"));
}

#[test]
fn a_pipe_as_token_file_holds_nothing_up() {
    let folder = tempfile::tempdir().unwrap();
    let pipe = folder.path().join("tokens.json");
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let spotgate = Spotgate::start_in(folder, &crate::support::configuration(crate::support::FILE_SOURCE, ""));
    spotgate.signal("TERM");
    assert_eq!(spotgate.ended().0, Some(0));
}

#[tokio::test]
async fn codes_and_secrets_reach_no_log() {
    let spotgate = Spotgate::over_file(&[record(1, "visible-code-77")]);
    let hotspot = spotgate.hotspot();
    hotspot.login_pap("visible-code-77", "visible-code-77", mac(1)).await.unwrap();
    hotspot.login_pap("guessed-code-88", "guessed-code-88", mac(1)).await.unwrap();
    spotgate.authorize(json!({"access_code": "visible-code-77"})).await;
    spotgate.authorize(json!({"access_code": "guessed-code-88", "mac": mac(1).to_string()})).await;
    spotgate.post("/v1/authorize", Some("wrong-key-99"), "{\"access_code\": \"visible-code-77\", }".to_owned()).await;
    spotgate.signal("TERM");
    let (_, log) = spotgate.ended();
    for secret in ["visible-code", "guessed-code", SECRET, KEY, "wrong-key"] {
        assert!(!log.contains(secret), "{secret} in\n{log}");
    }
}
