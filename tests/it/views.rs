//! What an operator reads in the ledger with Debian's `sqlite3` while the daemon runs.

use serde_json::json;
use spotgate::radius::attribute::StatusType;
use spotgate::radius::auth::session_of;
use spotgate::sandbox::hotspot::Record;

use crate::support::ledger::{folder, interim, now, online, roomy, sqlite3, start};
use crate::support::{FILE_SOURCE, KEY, Spotgate, client, configuration, mac};

/// What the view says of a session, beside what the daemon says.
async fn compare(spotgate: &Spotgate, id: &str) -> String {
    let rows = sqlite3(&spotgate.folder, &format!("SELECT * FROM sessions WHERE session = '{id}'"));
    assert_eq!(rows.len(), 1, "{rows:?}");
    let (view, (_, answer)) = (&rows[0], spotgate.read(&format!("/v1/sessions/{id}")).await);
    for (column, field) in [
        ("session", "session"),
        ("state", "state"),
        ("token", "token_id"),
        ("code", "code"),
        ("mac", "mac"),
        ("nas", "nas"),
        ("ip", "ip"),
        ("session_timeout", "session_timeout"),
        ("input_octets", "input_octets"),
        ("output_octets", "output_octets"),
    ] {
        assert_eq!(view[column], answer[field], "{column}: {view} {answer}");
    }
    for (column, field) in [("admitted_at", "started_at"), ("ended_at", "ended_at")] {
        let told = answer[field].as_str().map(|time| time.replace('T', " ")[..19].to_owned());
        assert_eq!(view[column].as_str(), told.as_deref(), "{view} {answer}");
    }
    // The time of one that goes on is counted on by the daemon.
    let (seen, told) = (view["seconds"].as_u64().unwrap(), answer["seconds_used"].as_u64().unwrap());
    assert!(
        if answer["state"] == "ended" { seen == told } else { (seen..seen + 60).contains(&told) },
        "{view} {answer}"
    );
    view["state"].as_str().unwrap().to_owned()
}

/// The first record after a start makes one come soon.
async fn snapshot(spotgate: &Spotgate) {
    let count = |what: &str| sqlite3(&spotgate.folder, &format!("SELECT count(*) AS rows {what}"))[0]["rows"].clone();
    let taken =
        || count("FROM snapshot") != 0 && count("FROM events WHERE position <= (SELECT position FROM covered)") == 0;
    spotgate.until("a snapshot is taken", || std::future::ready(taken())).await;
}

#[tokio::test]
async fn an_operator_reads_the_ledger_with_sqlite3_while_it_is_in_use() {
    let extra =
        "disconnect_port = 9\n[policy]\nmissed_interims = 1\ninterim_interval = \"60s\"\ngrant_timeout = \"3s\"";
    let folder = folder(&[roomy(1, "abc-123"), roomy(2, "xyz-789")]);
    let spotgate = Spotgate::start_in(folder, &configuration(FILE_SOURCE, extra));
    let hotspot = spotgate.hotspot();
    let (live, live_id) = online(&spotgate, "abc-123", 1, 300).await;
    hotspot.account(&interim(&live, "abc-123", 1, 250)).await.unwrap();
    assert_eq!(compare(&spotgate, &live_id).await, "online");
    let (over, over_id) = online(&spotgate, "abc-123", 2, 100).await;
    let stop = Record { status: StatusType::Stop, ..interim(&over, "abc-123", 2, 160) };
    hotspot.account(&stop).await.unwrap();
    assert_eq!(compare(&spotgate, &over_id).await, "ended");

    // Let in over HTTP, and known by RADIUS since.
    let question = json!({"access_code": "xyz-789", "mac": mac(3).to_string(), "session_id": "80a00001"});
    let answer = spotgate.authorize(question).await;
    let http_id = answer["session"].as_str().unwrap();
    let known = Record::start("xyz-789", mac(3), "80a00001", now());
    hotspot.account(&Record { status: StatusType::InterimUpdate, seconds: 30, ..known }).await.unwrap();
    assert_eq!(compare(&spotgate, http_id).await, "online");

    // One that was given up, since it did not begin in time, and of which there is news then.
    let (quiet, quiet_id) = online(&spotgate, "xyz-789", 4, 50).await;
    let admitted = hotspot.login_pap("xyz-789", "", mac(5)).await.unwrap();
    let (silent, _) = session_of(admitted.class.as_deref().unwrap()).unwrap();
    let silent = silent.to_string();
    spotgate
        .until("it is silent", async || spotgate.read(&format!("/v1/sessions/{silent}")).await.1["state"] == "ended")
        .await;
    assert_eq!(compare(&spotgate, &silent).await, "ended");
    hotspot.account(&interim(&admitted, "xyz-789", 5, 70)).await.unwrap();
    assert_eq!(compare(&spotgate, &silent).await, "online");

    let address = format!("http://{}/v1/sessions/{quiet_id}", spotgate.http);
    client().delete(address).bearer_auth(KEY).send().await.unwrap();
    assert_eq!(compare(&spotgate, &quiet_id).await, "disconnecting");
    hotspot.account(&interim(&quiet, "xyz-789", 4, 60)).await.unwrap();

    // After a snapshot, and with what came since.
    let all = [&live_id, &over_id, &http_id.to_owned(), &silent, &quiet_id];
    let folder = spotgate.kill();
    let spotgate = Spotgate::start_in(folder, &configuration(FILE_SOURCE, extra));
    let hotspot = spotgate.hotspot();
    hotspot.account(&interim(&live, "abc-123", 1, 320)).await.unwrap();
    snapshot(&spotgate).await;
    let mut states = Vec::new();
    for id in all {
        states.push(compare(&spotgate, id).await);
    }
    assert_eq!(states, ["online", "ended", "online", "online", "disconnecting"]);
    hotspot.account(&interim(&live, "abc-123", 1, 400)).await.unwrap();
    hotspot.account(&interim(&live, "abc-123", 1, 350)).await.unwrap();
    assert_eq!(compare(&spotgate, &live_id).await, "online");
    let rows =
        sqlite3(&spotgate.folder, "SELECT count(*) AS all_of_them, count(DISTINCT session) AS sessions FROM sessions");
    assert_eq!((&rows[0]["all_of_them"], &rows[0]["sessions"]), (&json!(5), &json!(5)));

    // The events are those since the snapshot.
    let (last, last_id) = online(&spotgate, "abc-123", 6, 100).await;
    let stop = Record { status: StatusType::Stop, ..interim(&last, "abc-123", 6, 160) };
    hotspot.account(&stop).await.unwrap();
    let events = sqlite3(
        &spotgate.folder,
        &format!("SELECT event, seconds FROM events WHERE session = '{last_id}' ORDER BY position"),
    );
    assert_eq!(
        events,
        [
            json!({"event": "admitted", "seconds": null}),
            json!({"event": "progressed", "seconds": 100}),
            json!({"event": "stopped", "seconds": 160})
        ]
    );
}

#[tokio::test]
async fn one_that_comes_back_after_the_snapshot_that_has_it_as_ended_is_live_in_the_view() {
    let folder = folder(&[roomy(1, "abc-123")]);
    let extra = "[policy]\ngrant_timeout = \"1s\"";
    let spotgate = Spotgate::start_in(std::sync::Arc::clone(&folder), &configuration(FILE_SOURCE, extra));
    let admitted = spotgate.hotspot().login_pap("abc-123", "", mac(1)).await.unwrap();
    let (id, _) = session_of(admitted.class.as_deref().unwrap()).unwrap();
    let id = id.to_string();
    spotgate
        .until("it is silent", async || spotgate.read(&format!("/v1/sessions/{id}")).await.1["state"] == "ended")
        .await;
    snapshot(&spotgate).await;
    assert_eq!(compare(&spotgate, &id).await, "ended");
    spotgate.hotspot().account(&interim(&admitted, "abc-123", 1, 60)).await.unwrap();
    assert_eq!(compare(&spotgate, &id).await, "online");
}

#[tokio::test]
async fn sessions_that_ended_before_they_are_retained_are_forgotten() {
    let old = "01ARZ3NDEKTSV4RRFFQ69G5FAV";
    let folder = folder(&[roomy(1, "abc-123")]);
    let spotgate = start(&folder);
    let (admitted, ended) = online(&spotgate, "abc-123", 1, 100).await;
    let stop = Record { status: StatusType::Stop, ..interim(&admitted, "abc-123", 1, 160) };
    spotgate.hotspot().account(&stop).await.unwrap();
    // As if one had ended a hundred days ago.
    sqlite3(
        &folder,
        &format!(
            "INSERT INTO closed SELECT '{old}', token, at_ms - 8640000000,
             CAST(replace(CAST(payload AS TEXT), session, '{old}') AS BLOB)
             FROM closed WHERE session = '{ended}'"
        ),
    );
    assert_eq!(spotgate.read(&format!("/v1/sessions/{old}")).await.1["seconds_used"], 160);
    let spotgate = start(&spotgate.stop());
    spotgate
        .until("the old one is forgotten", async || spotgate.read(&format!("/v1/sessions/{old}")).await.0 == 404)
        .await;
    assert_eq!(spotgate.read(&format!("/v1/sessions/{ended}")).await.1["state"], "ended");
    assert_eq!(sqlite3(&folder, "SELECT session FROM sessions"), [json!({"session": ended})]);
}
