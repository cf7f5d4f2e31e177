//! The database is there, but something is in the way of one daemon, or of one account.

use std::sync::Arc;

use serde_json::Value;
use spotgate::radius::attribute::StatusType;
use spotgate::sandbox::hotspot::Record;

use super::{daemon, folder, hotspot, of, settings};
use crate::support::postgres::Postgres;
use crate::support::{Spotgate, mac, record};

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
