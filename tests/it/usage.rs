//! What was used and is not written back: told over HTTP, by the metric, by `spotgate usage` and by the ledger's view; and
//! forgotten when an operator wishes so.

use serde_json::{Value, json};
use spotgate::radius::attribute::StatusType;
use spotgate::sandbox::hotspot::Record;

use crate::support::ledger::{folder, interim, online, sqlite3, start};
use crate::support::{FILE_SOURCE, KEY, Spotgate, configuration, mac, printed, record, run, spotgate, with};

/// Lets a device in and has its router report so many seconds and its end.
async fn uses(spotgate: &Spotgate, code: &str, device: u8, seconds: u32) {
    let (admitted, _) = online(spotgate, code, device, 0).await;
    let stop = Record { status: StatusType::Stop, ..interim(&admitted, code, device, seconds) };
    spotgate.hotspot().account(&stop).await.unwrap();
}

/// Seconds that the token does not show, seconds not written, minutes left.
async fn standing(spotgate: &Spotgate, code: &str) -> [u64; 3] {
    let token = spotgate.read(&format!("/v1/tokens/{code}")).await.1;
    ["usage_seconds", "unwritten_seconds", "minutes_left"].map(|field| token[field].as_u64().unwrap())
}

async fn forget(spotgate: &Spotgate, code: &str, key: &str) -> u16 {
    spotgate.post(&format!("/v1/tokens/{code}/forget-usage"), Some(key), String::new()).await.0
}

#[tokio::test]
async fn a_pool_starts_from_its_minutes_again_when_an_operator_wishes_so() {
    let keys = "[[http.api_key]]\nname = \"watcher\"\nkey = \"watching-only\"\nscopes = [\"read\"]";
    let folder = folder(&[record(1, "abc-123"), record(2, "unused")]);
    let spotgate = Spotgate::start_in(folder, &(configuration(FILE_SOURCE, "") + keys));
    uses(&spotgate, "abc-123", 1, 3600).await;
    assert_eq!(standing(&spotgate, "abc-123").await, [3600, 3600, 0]);
    let question = json!({"access_code": "abc-123", "mac": mac(1).to_string(), "dry_run": true});
    assert_eq!(spotgate.authorize(question.clone()).await["reason"], "no_minutes_left");

    assert_eq!(forget(&spotgate, "abc-123", "watching-only").await, 403);
    assert_eq!(forget(&spotgate, "no-such", KEY).await, 404);
    assert_eq!(forget(&spotgate, "unused", KEY).await, 204, "there is nothing to forget");
    assert_eq!(standing(&spotgate, "abc-123").await, [3600, 3600, 0]);
    assert_eq!(forget(&spotgate, "abc-123", KEY).await, 204);
    assert_eq!(standing(&spotgate, "abc-123").await, [0, 0, 60]);
    assert_eq!(spotgate.authorize(question).await["session_timeout"], 3600);
    assert_eq!(spotgate.metric("spotgate_usage_unwritten_seconds").await, 0.0);

    // It was acknowledged, so it is on disk.
    let spotgate = start(&spotgate.kill());
    assert_eq!(standing(&spotgate, "abc-123").await, [0, 0, 60]);
    uses(&spotgate, "abc-123", 1, 90).await;
    assert_eq!(standing(&spotgate, "abc-123").await, [90, 90, 58]);
}

#[tokio::test]
async fn what_cannot_be_written_down_is_not_acknowledged() {
    let folder = folder(&[record(1, "abc-123")]);
    std::fs::write(folder.path().join("state"), "no folder").unwrap();
    let spotgate = start(&folder);
    let question = json!({"access_code": "abc-123", "mac": mac(1).to_string()});
    assert_eq!(spotgate.authorize(question).await["decision"], "allow");
    assert_eq!(forget(&spotgate, "abc-123", KEY).await, 503);
}

#[tokio::test]
async fn whoever_keeps_write_back_off_has_the_usage_printed() {
    let records = [record(7, "abc-123"), with(record(2, "a,b"), json!({"UserLimit": 2})), record(3, "unused")];
    let spotgate = Spotgate::start_in(folder(&records), &configuration(FILE_SOURCE, ""));
    uses(&spotgate, "abc-123", 1, 690).await;
    uses(&spotgate, "a,b", 2, 59).await;
    let path = spotgate.configuration();
    let printed_by = |arguments: &[&str]| {
        let output = run(self::spotgate(&["usage", "--config"]).arg(&path).args(arguments));
        assert!(output.status.success() && output.stderr.is_empty(), "{}", printed(&output));
        String::from_utf8(output.stdout).unwrap()
    };
    let beside = printed_by(&[]);
    let lines: Vec<_> = beside.lines().collect();
    assert_eq!(lines[0], "token_id,code,used_seconds,unwritten_seconds,unwritten_minutes,last_used,open_minutes");
    assert!(lines[1].starts_with("2,\"a,b\",59,59,0,20") && lines[1].ends_with("Z,0"), "{beside}");
    assert!(lines[2].starts_with("7,abc-123,690,690,11,20"), "{beside}");
    assert_eq!(lines.len(), 3, "{beside}");
    assert_eq!(spotgate.metric("spotgate_usage_unwritten_seconds").await, 749.0);

    assert_eq!(forget(&spotgate, "a,b", KEY).await, 204);
    let kept = spotgate.stop();
    let without: Value = serde_json::from_str(&printed_by(&["--json"])).unwrap();
    assert_eq!(without.as_array().unwrap().len(), 1);
    for (field, value) in [
        ("token_id", json!(7)),
        ("code", json!("abc-123")),
        ("used_seconds", json!(690)),
        ("unwritten_seconds", json!(690)),
        ("unwritten_minutes", json!(11)),
        ("open_minutes", json!(0)),
    ] {
        assert_eq!(without[0][field], value, "{without}");
    }

    std::fs::remove_dir_all(kept.path().join("state")).unwrap();
    let output = run(self::spotgate(&["usage", "--config"]).arg(&path));
    assert_eq!((output.status.code(), output.stdout.len()), (Some(1), 0), "no ledger is not no usage");
    assert!(printed(&output).contains("ledger.db"), "{}", printed(&output));
}

#[tokio::test]
async fn the_view_of_the_ledger_says_what_the_daemon_says() {
    let spotgate = Spotgate::start_in(
        folder(&[with(record(1, "abc-123"), json!({"UserLimit": 4})), record(2, "xyz-789")]),
        &configuration(FILE_SOURCE, "[policy]\ngrant_timeout = \"1s\""),
    );
    let compare = async |spotgate: &Spotgate, what: &str| {
        for (token, code) in [(1, "abc-123"), (2, "xyz-789")] {
            let rows = sqlite3(&spotgate.folder, &format!("SELECT used, written FROM usage WHERE token = {token}"));
            let viewed = rows.first().map_or(0, |row| row["used"].as_u64().unwrap() - row["written"].as_u64().unwrap());
            let [_, told, _] = standing(spotgate, code).await;
            // What runs since the last report is counted by the daemon.
            assert!((viewed..viewed + 60).contains(&told), "{what}: token {token}: {viewed} s of {told}");
        }
    };
    uses(&spotgate, "abc-123", 1, 600).await;
    let (live, _) = online(&spotgate, "abc-123", 2, 120).await;
    uses(&spotgate, "xyz-789", 3, 100).await;
    compare(&spotgate, "before the snapshot").await;
    assert_eq!(forget(&spotgate, "xyz-789", KEY).await, 204);
    compare(&spotgate, "forgotten").await;
    // One that is given up, and of which there is news after the snapshot.
    let admitted = spotgate.hotspot().login_pap("abc-123", "", mac(5)).await.unwrap();
    let taken = || sqlite3(&spotgate.folder, "SELECT count(*) AS rows FROM snapshot")[0]["rows"] == 2;
    spotgate.until("a snapshot is taken", || std::future::ready(taken())).await;
    spotgate
        .until("it is given up", async || {
            spotgate.read("/v1/tokens/abc-123").await.1["sessions"].as_array().unwrap().len() == 1
        })
        .await;
    let spotgate = start(&spotgate.stop());
    compare(&spotgate, "after a snapshot").await;
    spotgate.hotspot().account(&interim(&admitted, "abc-123", 5, 200)).await.unwrap();
    spotgate.hotspot().account(&interim(&live, "abc-123", 2, 240)).await.unwrap();
    uses(&spotgate, "xyz-789", 3, 300).await;
    compare(&spotgate, "news after it").await;
    let stop = Record { status: StatusType::Stop, ..interim(&live, "abc-123", 2, 300) };
    spotgate.hotspot().account(&stop).await.unwrap();
    compare(&spotgate, "an end after it").await;
    assert_eq!(forget(&spotgate, "abc-123", KEY).await, 204);
    compare(&spotgate, "forgotten after it").await;
}
