//! What was decided, looked at afterwards: over HTTP, by command, after a restart; and one token by command.

use serde_json::{Value, json};

use crate::support::{Spotgate, mac, record, with};

async fn decided(spotgate: &Spotgate, query: &str) -> Vec<Value> {
    let (status, answer) = spotgate.read(&format!("/v1/decisions{query}")).await;
    assert_eq!(status, 200, "{answer}");
    answer["decisions"].as_array().unwrap().clone()
}

#[tokio::test]
async fn what_was_decided_is_there_with_its_reason_also_after_a_restart_and_dry_runs_are_not() {
    let past = with(record(2, "old-77"), json!({"ValidTo": "2026-01-01T00:00:00Z"}));
    let daemon = Spotgate::over_file(&[record(1, "abc-123"), past]);
    let hotspot = daemon.hotspot();
    assert!(hotspot.login_pap("abc-123", "", mac(1)).await.unwrap().accept);
    assert!(!hotspot.login_pap("old-77", "", mac(2)).await.unwrap().accept);
    daemon.authorize(json!({"access_code": "nobody's", "mac": mac(3).to_string(), "nas": "front-desk"})).await;
    daemon.authorize(json!({"access_code": "abc-123", "nas": "front-desk", "dry_run": true})).await;

    let all = decided(&daemon, "").await;
    let seen = |decision: &Value| (decision["via"].clone(), decision["decision"].clone(), decision["reason"].clone());
    assert_eq!(
        all.iter().map(seen).collect::<Vec<_>>(),
        [
            (json!("http"), json!("deny"), json!("unknown_code")),
            (json!("radius"), json!("deny"), json!("expired")),
            (json!("radius"), json!("allow"), Value::Null),
        ]
    );
    assert_eq!(
        (&all[2]["code"], &all[2]["token_id"], &all[2]["nas"]),
        (&json!("abc-123"), &json!(1), &json!("front-desk"))
    );
    assert!(all[2]["session"].is_string() && all[2]["session_timeout"].as_u64().unwrap() > 0);

    let folder = daemon.stop();
    let configuration = std::fs::read_to_string(folder.path().join("spotgate.toml")).unwrap();
    let daemon = Spotgate::start_in(folder, &configuration);
    assert_eq!(decided(&daemon, "").await, all);
    assert_eq!(decided(&daemon, "?reason=expired").await, [all[1].clone()]);
    assert_eq!(decided(&daemon, "?reason=none").await, [all[2].clone()]);
    assert_eq!(decided(&daemon, "?code=ABC-123").await, [all[2].clone()]);
    assert_eq!(decided(&daemon, &format!("?mac={}", mac(3))).await, [all[0].clone()]);
    assert_eq!(decided(&daemon, "?limit=1").await, [all[0].clone()]);
    for wrong in ["reason=because", "limit=0", "limit=1001", "mac=printer", "code=%20"] {
        let (status, answer) = daemon.read(&format!("/v1/decisions?{wrong}")).await;
        assert_eq!((status, &answer["field"]), (422, &json!(wrong.split('=').next().unwrap())), "{wrong}");
    }

    let (code, table) = daemon.command(&["decisions", "--reason", "expired"]);
    assert_eq!(code, Some(0), "{table}");
    assert!(table.starts_with("AT (UTC)") && table.contains("expired") && table.ends_with("1 decision\n"), "{table}");
    let (code, as_json) = daemon.command(&["decisions", "--json", "--limit", "1"]);
    assert_eq!(
        (code, serde_json::from_str::<Value>(&as_json).unwrap()["decisions"][0].clone()),
        (Some(0), all[0].clone())
    );
    let (code, why) = daemon.command(&["decisions", "--reason", "because"]);
    assert!(code == Some(1) && why.contains("`reason` is one of"), "{why}");
}

#[tokio::test]
async fn a_token_is_shown_read_again_and_its_usage_forgotten_by_command() {
    let daemon = Spotgate::over_file(&[with(record(1, "abc-123"), json!({"MinutesLeft": 60, "MinutesIncluded": 120}))]);
    daemon.hotspot().login_pap("abc-123", "", mac(1)).await.unwrap();
    let (code, shown) = daemon.command(&["tokens", "abc-123"]);
    assert_eq!(code, Some(0), "{shown}");
    for line in ["minutes left there 60", "time left          60 minutes", "1 session"] {
        assert!(shown.contains(line), "{line} in {shown}");
    }
    let (code, as_json) = daemon.command(&["tokens", "ABC-123", "--json", "--refresh"]);
    assert_eq!(
        (code, &serde_json::from_str::<Value>(&as_json).unwrap()["token"]["Id"]),
        (Some(0), &json!(1)),
        "{as_json}"
    );
    assert_eq!(daemon.command(&["tokens", "abc-123", "--forget-usage"]).0, Some(0));
    let (code, why) = daemon.command(&["tokens", "abc-124"]);
    assert!(code == Some(1) && why.contains("404"), "{why}");
}
