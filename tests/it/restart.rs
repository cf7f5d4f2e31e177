//! Torn logs, damaged files, restarts in order and not: what was acknowledged before is there.

use std::fs;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use spotgate::radius::attribute::StatusType;
use spotgate::radius::auth::session_of;
use spotgate::sandbox::hotspot::Record;
use tempfile::TempDir;

use crate::support::ledger::{
    Dice, code, file_of, folder, holds, input, interim, log_of, online, roomy, sqlite3, start, usage,
};
use crate::support::{FILE_SOURCE, KEY, Spotgate, client, configuration, configured, mac, printed, run, spotgate};

#[tokio::test]
async fn a_torn_log_loses_its_end_and_nothing_before() {
    let mut dice = Dice::new();
    let folder = folder(&[roomy(1, "abc-123")]);
    let spotgate = start(&folder);
    let (first, ended) = online(&spotgate, "abc-123", 1, 100).await;
    let stop = Record { status: StatusType::Stop, ..interim(&first, "abc-123", 1, 120) };
    spotgate.hotspot().account(&stop).await.unwrap();
    // What came before an orderly start is out of the log's reach.
    let spotgate = start(&spotgate.stop());
    let (second, live) = online(&spotgate, "abc-123", 2, 200).await;
    let whole = fs::metadata(log_of(&folder)).unwrap().len();
    let torn = spotgate.hotspot();
    torn.account(&interim(&second, "abc-123", 2, 300)).await.unwrap();
    spotgate.kill();

    let (file, log) = (fs::read(file_of(&folder)).unwrap(), fs::read(log_of(&folder)).unwrap());
    let whole = usize::try_from(whole).unwrap();
    assert!(log.len() > whole);
    let cut = whole + usize::try_from(dice.below(u32::try_from(log.len() - whole).unwrap())).unwrap();
    let mut scribbled = log.clone();
    scribbled[cut..].fill(0xA5);
    for torn in [&log[..cut], &scribbled, &log] {
        fs::write(file_of(&folder), &file).unwrap();
        fs::write(log_of(&folder), torn).unwrap();
        let spotgate = start(&folder);
        let (_, session) = spotgate.read(&format!("/v1/sessions/{live}")).await;
        let octets = session["input_octets"].as_u64().unwrap();
        assert!(octets == input(300) || torn != log && octets == input(200), "{session}");
        let (_, session) = spotgate.read(&format!("/v1/sessions/{ended}")).await;
        assert_eq!((&session["state"], &session["seconds_used"]), (&json!("ended"), &json!(120)));
        assert!((120 + 200..120 + 300 + 60).contains(&usage(&spotgate, "abc-123").await));
        assert_eq!(spotgate.get("/readyz").await.1["degraded"], json!([]), "a torn log is no damage");
        spotgate.kill();
    }
}

#[tokio::test]
async fn a_damaged_file_is_set_aside_and_named_and_what_could_be_read_goes_on() {
    let tokens: Vec<Value> = (1..=60).map(|token| roomy(token, &code(token))).collect();
    let folder = folder(&tokens);
    let spotgate = start(&folder);
    let (_, live) = online(&spotgate, &code(1), 1, 100).await;
    for device in 2..60 {
        online(&spotgate, &code(i64::from(device)), device, 100).await;
    }
    spotgate.stop();
    let path = file_of(&folder);
    let mut file = fs::read(&path).unwrap();
    let end = file.len() - 4096;
    assert!(end > 8 * 4096);
    // The last page, which no table begins with.
    file[end..].fill(0xA5);
    fs::write(&path, &file).unwrap();

    let spotgate = start(&folder);
    let (status, ready) = spotgate.get("/readyz").await;
    let degraded = ready["degraded"][0].as_str().unwrap();
    assert!(status == 200 && degraded.starts_with("store: ") && degraded.contains("damaged"), "{ready}");
    let aside = degraded.split_whitespace().find(|word| word.contains("ledger.db.damaged-")).unwrap();
    assert_eq!(fs::read(aside.trim_end_matches([';', ','])).unwrap(), file, "as it was found");
    // It was written down again before anything was answered.
    let spotgate = start(&spotgate.kill());
    assert_eq!(spotgate.get("/readyz").await.1["degraded"], json!([]));
    let (_, session) = spotgate.read(&format!("/v1/sessions/{live}")).await;
    assert_eq!(session["input_octets"], json!(input(100)), "{session}");

    // No database at all.
    spotgate.stop();
    fs::write(&path, "no database ".repeat(1000)).unwrap();
    let spotgate = start(&folder);
    assert!(spotgate.get("/readyz").await.1["degraded"][0].as_str().unwrap().contains("damaged"));
    assert_eq!(spotgate.read("/v1/sessions").await.1["sessions"], json!([]));
    online(&spotgate, &code(1), 1, 100).await;
}

#[tokio::test]
async fn a_file_damaged_under_way_ends_the_daemon_so_that_it_is_started_anew() {
    let folder = folder(&[roomy(1, "abc-123")]);
    let spotgate = start(&folder);
    let (admitted, _) = online(&spotgate, "abc-123", 1, 100).await;
    sqlite3(&folder, "ALTER TABLE journal RENAME TO elsewhere");
    let hasty = spotgate.hotspot().patience(Duration::from_millis(300), 1);
    assert!(hasty.account(&interim(&admitted, "abc-123", 1, 200)).await.is_err(), "nothing was written down");
    let (code, log) = spotgate.ended();
    assert_eq!(code, Some(74), "{log}");
    let spotgate = start(&folder);
    assert!(spotgate.get("/readyz").await.1["degraded"][0].as_str().unwrap().contains("damaged"));
    spotgate.hotspot().account(&interim(&admitted, "abc-123", 1, 200)).await.unwrap();
    assert!(usage(&spotgate, "abc-123").await >= 200, "by what its router says");
}

#[tokio::test]
async fn a_second_daemon_on_the_same_ledger_is_refused() {
    let folder = folder(&[roomy(1, "abc-123")]);
    let first = start(&folder);
    let configuration = configured(&folder, &configuration(FILE_SOURCE, ""));
    let output = run(spotgate(&["serve", "--config"]).arg(configuration));
    let said = printed(&output);
    assert_eq!(output.status.code(), Some(74), "{said}");
    assert!(said.contains("in use by another process") && said.contains("ledger"), "{said}");
    online(&first, "abc-123", 1, 100).await;
}

#[tokio::test]
async fn a_restart_in_order_or_not_keeps_everything() {
    let extra = "disconnect_port = 9\n[policy]\nmac_login = \"remember\"\ncounting = \"connected\"";
    let folder = folder(&[roomy(1, "abc-123"), roomy(2, "xyz-789")]);
    let start = |folder: &Arc<TempDir>| Spotgate::start_in(Arc::clone(folder), &configuration(FILE_SOURCE, extra));
    let mut spotgate = start(&folder);
    let (first, ended) = online(&spotgate, "abc-123", 1, 600).await;
    let stop = Record { status: StatusType::Stop, ..interim(&first, "abc-123", 1, 660) };
    spotgate.hotspot().account(&stop).await.unwrap();
    let (_, going) = online(&spotgate, "abc-123", 2, 100).await;
    let (_, live) = online(&spotgate, "xyz-789", 3, 100).await;
    let address = format!("http://{}/v1/sessions/{going}", spotgate.http);
    let status = client().delete(address).bearer_auth(KEY).send().await.unwrap().status();
    assert_eq!(status.as_u16(), 202);
    let admitted = spotgate.hotspot().login_pap("xyz-789", "", mac(4)).await.unwrap();
    let (waiting, _) = session_of(admitted.class.as_deref().unwrap()).unwrap();
    // Nothing tells when an admission is on disk; the contract says: after a second.
    let log = log_of(&folder);
    spotgate.until("the admission is in the log", || std::future::ready(holds(&log, &waiting.to_string()))).await;

    for in_order in [true, false, false] {
        let folder = if in_order { spotgate.stop() } else { spotgate.kill() };
        spotgate = start(&folder);
        let state = async |id: &str| spotgate.read(&format!("/v1/sessions/{id}")).await.1["state"].clone();
        assert_eq!(state(&ended).await, "ended");
        assert_eq!(state(&going).await, "disconnecting");
        assert_eq!(state(&live).await, "online");
        assert_eq!(state(&waiting.to_string()).await, "admitted");
        let (_, session) = spotgate.read(&format!("/v1/sessions/{going}")).await;
        assert_eq!(session["ending"]["cause"], "operator", "{session}");
        let (_, session) = spotgate.read(&format!("/v1/sessions/{ended}")).await;
        assert_eq!((&session["seconds_used"], &session["input_octets"]), (&json!(660), &json!(input(660))));
        assert!((760..900).contains(&usage(&spotgate, "abc-123").await));
        assert_eq!(spotgate.read("/v1/sessions").await.1["sessions"].as_array().unwrap().len(), 3);
        spotgate
            .until("its router is told again", async || {
                let (_, session) = spotgate.read(&format!("/v1/sessions/{going}")).await;
                session["ending"]["tries"].as_u64().unwrap() > 0
            })
            .await;
    }
    let hotspot = spotgate.hotspot();
    assert!(hotspot.login_mac(mac(1)).await.unwrap().accept, "the device is remembered");
    assert!(!hotspot.login_mac(mac(9)).await.unwrap().accept);
}
