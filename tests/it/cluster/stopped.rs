//! A daemon that leads stands still, and another takes its place.

use serde_json::json;
use spotgate::radius::attribute::StatusType;
use spotgate::sandbox::hotspot::Record;

use super::{hotspot, of};
use crate::nexudus::{sandbox, source};
use crate::support::postgres::Postgres;
use crate::support::{Spotgate, configuration, mac, record};

/// Says of a device that it was online for so long, and is no more.
async fn uses(daemon: &Spotgate, device: u8, seconds: u32) {
    let admitted = hotspot(daemon).login_pap("abc-123", "", mac(device)).await.unwrap();
    assert!(admitted.accept, "{:?}", admitted.reply_message);
    let stop = Record { status: StatusType::Stop, seconds, ..of("abc-123", mac(device), &admitted) };
    hotspot(daemon).account(&stop).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_that_stood_still_leads_no_more_and_every_minute_is_written_back_once() {
    let server = Postgres::start();
    let sandbox = sandbox(vec![record(1, "abc-123")]).await;
    let store = format!("[store]\nkind = \"postgres\"\nurl = \"{}\"\n", server.url());
    let keys = "mirror_interval = \"1s\"\nrequests_per_minute = 100000\nwrite_back = true";
    let settings = configuration(&source(&sandbox, keys), "disconnect_port = 0").replace("[store]\n", &store);
    let leads = |daemon: &Spotgate| daemon.log().matches("writes minutes upstream for all").count();
    let led = |daemon: &Spotgate| daemon.log().matches("writes minutes upstream no more").count();
    let first = Spotgate::start(&settings);
    first.until("it leads", async || leads(&first) == 1).await;
    let second = Spotgate::start(&settings);
    second.until("mirrored", async || second.metric("spotgate_tokens").await == 1.0).await;

    first.signal("STOP");
    // To the database its connections are gone, as they are once the network notices.
    let roles = "SELECT count(pg_terminate_backend(pid)) > 0 FROM
        (SELECT DISTINCT pid FROM pg_locks WHERE locktype = 'advisory' AND granted) AS held";
    assert_eq!(server.ask(roles), "t");
    uses(&second, 1, 600).await;
    let left = || sandbox.token(1).unwrap()["MinutesLeft"].clone();
    second.until("the other leads", async || leads(&second) == 1).await;
    second.until("written back", async || left() == json!(50)).await;
    uses(&second, 2, 900).await;

    first.signal("CONT");
    first.until("it leads no more", async || led(&first) == 1).await;
    second.until("written back", async || left() == json!(35)).await;
    let unwritten = async |daemon: &Spotgate| daemon.metric("spotgate_usage_unwritten_seconds").await;
    for daemon in [&first, &second] {
        daemon.until("it knows", async || unwritten(daemon).await == 0.0).await;
    }
    assert_eq!((left(), sandbox.count("update")), (json!(35), 2), "each once");
    assert_eq!((leads(&first), led(&second)), (1, 0));
}
