//! The database is there, but something is in the way of one daemon, or of one account.

use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use spotgate::radius::attribute::StatusType;
use spotgate::sandbox::hotspot::Record;

use super::{daemon, folder, hotspot, is_away, of, settings};
use crate::disk::Disk;
use crate::support::ledger::roomy;
use crate::support::postgres::Postgres;
use crate::support::{Spotgate, configured, mac, printed, record, run, spotgate};

/// Logs in devices at once, with a code of its own each; all are let in.
async fn all_log_in(spotgate: &Spotgate, codes: std::ops::RangeInclusive<u8>) {
    let hotspot = Arc::new(hotspot(spotgate));
    let logins: Vec<_> = codes
        .map(|id| {
            let hotspot = Arc::clone(&hotspot);
            tokio::spawn(async move { (id, hotspot.login_pap(&format!("code-{id}"), "", mac(id)).await) })
        })
        .collect();
    for login in logins {
        let (id, answer) = login.await.unwrap();
        assert!(answer.as_ref().is_ok_and(|answer| answer.accept), "code-{id}: {answer:?}\n{}", spotgate.log());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_daemon_that_cannot_listen_says_so_and_asks_instead() {
    let server = Postgres::start();
    // A limit does not bind a superuser.
    server.ask("CREATE ROLE desk LOGIN PASSWORD 'correct-horse'");
    server.ask("ALTER DATABASE spotgate OWNER TO desk");
    server.ask("ALTER SCHEMA public OWNER TO desk");
    let records: Vec<Value> = (1..=40).map(|id| record(id, &format!("code-{id}"))).collect();
    let limited = settings(&server, "").replace("postgres://spotgate:", "postgres://desk:");
    let deaf = Spotgate::start_in(folder(&records), &limited);
    let other = daemon(&server, &records);
    let count = async |spotgate: &Spotgate| spotgate.read("/v1/sessions").await.1["sessions"].as_array().unwrap().len();
    // It has its other connections by then.
    all_log_in(&deaf, 2..=40).await;
    let admitted = hotspot(&other).login_pap("code-1", "", mac(1)).await.unwrap();
    deaf.until("it hears", async || count(&deaf).await == 40).await;

    server.ask("ALTER ROLE desk CONNECTION LIMIT 1");
    let ended = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
        WHERE usename = 'desk' AND query LIKE 'LISTEN%'";
    assert_eq!(server.ask(ended), "1");
    let stop = Record { status: StatusType::Stop, seconds: 60, ..of("code-1", mac(1), &admitted) };
    hotspot(&other).account(&stop).await.unwrap();
    deaf.until("it asks", async || count(&deaf).await == 39).await;
    let degraded = async || deaf.get("/readyz").await.1["degraded"].to_string();
    deaf.until("it says so", async || degraded().await.contains("store: what other daemons do is not heard")).await;
    assert!(hotspot(&deaf).login_pap("code-1", "", mac(2)).await.unwrap().accept);

    server.ask("ALTER ROLE desk CONNECTION LIMIT -1");
    deaf.until("it hears", async || degraded().await == "[]").await;
    let log = deaf.log();
    assert!(!log.contains("the database is away"), "{log}");
    assert_eq!(log.matches("what other daemons do is not heard").count(), 1, "{log}");
    assert_eq!(log.matches("what other daemons do is heard again").count(), 1, "{log}");
}

#[tokio::test]
async fn what_the_disk_had_not_taken_while_the_database_was_away_is_kept_once_it_does_better() {
    let mut server = Postgres::start();
    let folder = folder(&[roomy(1, "abc-123"), roomy(2, "def-456")]);
    let Some(disk) = Disk::under(&folder) else { return };
    let spotgate = Spotgate::start_in(Arc::clone(&folder), &settings(&server, ""));
    let admitted = hotspot(&spotgate).login_pap("abc-123", "", mac(1)).await.unwrap();
    let start = of("abc-123", mac(1), &admitted);
    hotspot(&spotgate).account(&start).await.unwrap();
    server.kill();
    let interim = Record { status: StatusType::InterimUpdate, seconds: 60, ..start };
    hotspot(&spotgate).account(&interim).await.unwrap();
    assert!(is_away(&spotgate).await);
    let said = async || spotgate.get("/readyz").await.1["degraded"].to_string();
    disk.fill();
    for seconds in 61..400 {
        if said().await.contains("not acknowledged") {
            break;
        }
        let hasty = spotgate.hotspot().patience(Duration::from_millis(300), 1);
        let _ = hasty.account(&Record { seconds, ..interim }).await;
    }
    assert!(said().await.contains("not acknowledged"));

    disk.make_room();
    let again = spotgate.hotspot().patience(Duration::from_millis(300), 30);
    let stop = Record { status: StatusType::Stop, seconds: 500, ..interim };
    again.account(&stop).await.expect("the token of which a report was not kept is written down again");
    let other = again.login_pap("abc-123", "", mac(3)).await.unwrap();
    assert!(other.accept, "{other:?}");
    assert!(!said().await.contains("not acknowledged"));
    server.run();
    spotgate.until("the database has it", async || !is_away(&spotgate).await).await;
    let usage = "SELECT state->>'usage' FROM spotgate_account WHERE token = 1";
    spotgate.until("its minutes count", async || server.ask(usage) == "500").await;
    drop(spotgate);
}

#[tokio::test]
async fn what_the_database_has_lost_is_known_here_no_more_once_it_is_back() {
    let mut server = Postgres::start();
    let spotgate = daemon(&server, &[record(1, "abc-123"), record(2, "def-456")]);
    for (id, code) in [(1, "abc-123"), (2, "def-456")] {
        assert!(hotspot(&spotgate).login_pap(code, "", mac(id)).await.unwrap().accept);
    }
    let count = async || spotgate.read("/v1/sessions").await.1["sessions"].as_array().unwrap().len();
    assert_eq!(count().await, 2);
    // As a standby is that was behind: nobody is told.
    server.ask("DELETE FROM spotgate_account WHERE token = 1");
    server.kill();
    spotgate.until("it is away", async || is_away(&spotgate).await).await;
    server.run();
    spotgate.until("the database is back", async || !is_away(&spotgate).await).await;
    spotgate.until("what it lost is gone here too", async || count().await == 1).await;
}

#[test]
fn a_database_that_cannot_hold_every_letter_is_refused_with_the_remedy() {
    let server = Postgres::start();
    server.ask("CREATE DATABASE latin ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0");
    let url = format!("{}/latin", server.url().strip_suffix("/spotgate").unwrap());
    let folder = folder(&[record(1, "abc-123")]);
    let path = configured(&folder, &settings(&server, "").replace(&server.url(), &url));
    for command in ["serve", "migrate", "doctor"] {
        let output = run(spotgate(&[command, "--config"]).arg(&path));
        let said = printed(&output);
        assert!(!output.status.success() && said.contains("its encoding is LATIN1"), "{command}: {said}");
    }
}
