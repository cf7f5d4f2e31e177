//! The disk beneath what is kept beside the ledger: the mirror, the history, what was learnt.

use std::time::Duration;

use serde_json::{Value, json};

use super::Faults;
use super::upstream::{degraded, mirrored, often, reason};
use crate::nexudus::sandbox;
use crate::support::ledger::{holds, roomy};
use crate::support::{Spotgate, configuration, mac, record, with};

async fn learnt_later(what: &str) {
    let spotgate = Spotgate::over_file(&[roomy(1, "abc-123")]);
    let kept = spotgate.folder.path().join("state/state.json");
    let faults = Faults::of_files(&spotgate, &[&kept, &kept.with_extension("json.new")], what);
    assert!(spotgate.hotspot().login_pap("abc-123", "", mac(1)).await.unwrap().accept, "{what}");
    spotgate.until("it tries twice", async || faults.struck().len() > 1).await;
    assert!(!holds(&kept, "127.0.0.1"), "{what}");
    drop(faults);
    spotgate.until("it is written down", async || holds(&kept, "127.0.0.1")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_learnt_of_a_router_is_written_down_once_the_disk_lets_it() {
    tokio::join!(
        learnt_later("?rename,?renameat:error=EIO"),
        learnt_later("fsync:error=EIO"),
        learnt_later("write:error=ENOSPC")
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_mirror_could_not_write_down_is_written_once_the_disk_lets_it() {
    let sandbox = sandbox(vec![with(record(1, "known"), json!({"UserLimit": 9})), record(2, "other")]).await;
    let settings = configuration(&often(&sandbox, &sandbox.base_url()), "");
    let spotgate = Spotgate::start(&settings);
    mirrored(&spotgate).await;
    let file = spotgate.folder.path().join("state/mirror.db");
    let files = ["", "-wal"].map(|end| file.with_file_name(format!("mirror.db{end}")));
    let faults = Faults::of_files(&spotgate, &[&files[0], &files[1]], "pwrite64:error=EIO");
    sandbox.put_token(with(record(3, "new"), json!({"UserLimit": 9})));
    let tokens = async || spotgate.metric("spotgate_tokens").await;
    spotgate.until("it is known", async || tokens().await == 3.0).await;
    let is_said = async || degraded(&spotgate).await.iter().any(|trouble| trouble.starts_with("mirror: "));
    spotgate.until("it is said", is_said).await;
    assert!(!faults.struck().is_empty());
    assert_eq!(reason(&spotgate, "new", 3).await, Value::Null);
    drop(faults);
    spotgate.until("all is well", async || degraded(&spotgate).await.is_empty()).await;
    sandbox.set_fail(Some("down".parse().unwrap()));
    let again = Spotgate::start_in(spotgate.kill(), &settings);
    assert_eq!(reason(&again, "new", 4).await, Value::Null, "also without Nexudus");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn decisions_that_could_not_be_written_down_are_once_the_disk_lets_it() {
    let spotgate = Spotgate::over_file(&[roomy(1, "abc-123")]);
    let faults = Faults::of_thread(&spotgate, "history", "pwrite64:error=EIO");
    let hotspot = spotgate.hotspot().patience(Duration::from_secs(1), 3);
    for device in 1..=5 {
        assert!(hotspot.login_pap("abc-123", "", mac(device)).await.unwrap().accept);
    }
    let is_said = async || degraded(&spotgate).await.iter().any(|trouble| trouble.starts_with("history: "));
    spotgate.until("it is said", is_said).await;
    assert!(hotspot.login_pap("abc-123", "", mac(6)).await.unwrap().accept, "logins go on");
    drop(faults);
    spotgate.until("all is well", async || degraded(&spotgate).await.is_empty()).await;
    let decided =
        async |spotgate: &Spotgate| spotgate.read("/v1/decisions").await.1["decisions"].as_array().unwrap().len();
    assert_eq!(decided(&spotgate).await, 6);
    let configuration = std::fs::read_to_string(spotgate.configuration()).unwrap();
    let again = Spotgate::start_in(spotgate.stop(), &configuration);
    assert_eq!(decided(&again).await, 6);
}
