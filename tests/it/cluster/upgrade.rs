//! The database is brought to the schema of the next release while daemons of this one work with it.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use serde_json::Value;
use spotgate::radius::attribute::StatusType;
use spotgate::sandbox::hotspot::Record;
use tokio::task::JoinSet;

use super::storm::{Routers, TOKENS, differences, found, kept};
use super::{daemon, folder, hotspot, is_away, of, settings};
use crate::support::ledger::{Dice, code, roomy};
use crate::support::postgres::Postgres;
use crate::support::{Spotgate, configured, mac, printed, record, run, spotgate};

/// What the next release brings: a column, a table, and a function that fills both beside the one that there is.
const NEXT: &str = "
    BEGIN;
    SELECT pg_advisory_xact_lock(7768428300);
    ALTER TABLE spotgate_account ADD COLUMN changed_by text;
    CREATE TABLE spotgate_change (token bigint NOT NULL, version bigint NOT NULL);
    CREATE FUNCTION spotgate_swap_2(
        by text, tokens bigint[], versions bigint[], states text[],
        closed text[], closed_of bigint[], closed_at bigint[], closed_payloads text[],
        reopened text[], reopened_of bigint[]
    ) RETURNS TABLE (token bigint, version bigint, state text)
    LANGUAGE plpgsql AS $$
    BEGIN
        RETURN QUERY SELECT * FROM spotgate_swap_1(
            tokens, versions, ARRAY(SELECT v + 1 FROM unnest(versions) v), states,
            ARRAY(SELECT false FROM unnest(versions)), closed, closed_of, closed_at, closed_payloads, reopened, reopened_of);
        WITH done AS (
            UPDATE spotgate_account a SET changed_by = by FROM unnest(tokens, versions) AS g (token, version)
            WHERE a.token = g.token AND a.version = g.version + 1 RETURNING a.token, a.version
        )
        INSERT INTO spotgate_change SELECT d.token, d.version FROM done d;
    END $$;
    INSERT INTO spotgate_schema (version, readable_by) VALUES (2, 1);
    COMMIT;";

/// A daemon of the next release changes an account, and writes down something that this release does not know.
const CHANGED_BY_THE_NEXT: &str = "
    SELECT count(*) FROM (SELECT token, version, state::jsonb || '{\"of_the_next\": [1]}' AS state
        FROM spotgate_account WHERE token = 1) a,
    spotgate_swap_2('next', ARRAY[a.token], ARRAY[a.version], ARRAY[a.state::text], '{}', '{}', '{}', '{}', '{}', '{}')";

const GUESTS: u32 = 20;

const BETWEEN: u64 = 150;

async fn ask(server: &Arc<Postgres>, statement: &'static str) -> String {
    let server = Arc::clone(server);
    tokio::task::spawn_blocking(move || server.ask(statement)).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn daemons_of_the_former_release_go_on_beside_the_next() {
    let mut dice = Dice::new();
    let server = Arc::new(Postgres::start());
    let tokens: Vec<Value> = (1..=i64::from(TOKENS)).map(|token| roomy(token, &code(token))).collect();
    let (first, second) = (daemon(&server, &tokens), daemon(&server, &tokens));
    let routers = Routers::of([&first, &second, &first]);
    let mut guests = JoinSet::new();
    for number in 0..GUESTS {
        guests.spawn(Arc::clone(&routers).guest(dice.another(), number));
    }
    routers.until_acknowledged(BETWEEN).await;

    ask(&server, NEXT).await;
    routers.until_acknowledged(BETWEEN).await;
    // Among what the former release does, again and again.
    for _ in 0..20 {
        ask(&server, CHANGED_BY_THE_NEXT).await;
        routers.until_acknowledged(10).await;
    }
    let changes: u32 = ask(&server, "SELECT count(*) FROM spotgate_change").await.parse().unwrap();
    assert!(changes > 0, "none of the next release's changes was taken");
    // Not only what it left alone.
    for (daemon, device) in [(&first, 201), (&second, 202)] {
        let (code, device) = (code(1), mac(device));
        let admitted = hotspot(daemon).login_pap(&code, "", device).await.unwrap();
        assert!(admitted.accept, "{admitted:?}");
        let interim = Record { status: StatusType::InterimUpdate, seconds: 60, ..of(&code, device, &admitted) };
        hotspot(daemon).account(&interim).await.unwrap();
    }

    let configuration = settings(&server, "");
    let second = tokio::task::spawn_blocking(move || Spotgate::start_in(second.stop(), &configuration)).await.unwrap();
    routers.find(1, &second);
    routers.until_acknowledged(BETWEEN).await;
    routers.ended.store(true, Ordering::Relaxed);
    let seen = tokio::time::timeout(Duration::from_secs(30), guests.join_all()).await.expect("guests end");
    let seen: Vec<_> = seen.into_iter().flatten().collect();
    for daemon in [&first, &second] {
        daemon.until("the database is there", async || !is_away(daemon).await).await;
        daemon.until("nothing is kept here", async || kept(&daemon.folder) == 0).await;
    }
    let looked_in = Arc::clone(&server);
    let (all, mut wrong) = tokio::task::spawn_blocking(move || found(&looked_in)).await.unwrap();
    println!("{} sessions, {changes} changes by the next release", seen.len());
    wrong.extend(differences(&seen, &all));
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), seen.len(), wrong.join("\n"));

    let (_, said) = first.command(&["doctor"]);
    assert!(said.contains("schema 2, of a later release beside which this one works"), "{said}");
    let (status, said) = first.command(&["migrate"]);
    assert_eq!(
        (status, &*said),
        (Some(0), "the schema is of a later release (version 2), beside which this one works\n")
    );
    assert_eq!(ask(&server, "SELECT max(version) FROM spotgate_schema").await, "2");
}

/// A running daemon, and all commands, find out that the schema is not for this release any more, which was brought to it by
/// `step`; with the schema as it was, the daemon hands on what it kept.
async fn left_behind(step: &str, back: &str) {
    let server = Postgres::start();
    let records = [record(1, "abc-123")];
    let running = daemon(&server, &records);
    let admitted = hotspot(&running).login_pap("abc-123", "", mac(1)).await.unwrap();
    let interim = Record { status: StatusType::InterimUpdate, seconds: 60, ..of("abc-123", mac(1), &admitted) };
    hotspot(&running).account(&interim).await.unwrap();

    server.ask(&format!(
        "BEGIN; {step} INSERT INTO spotgate_schema (version, readable_by) VALUES (2, 1), (3, 2); COMMIT"
    ));
    let words = "its schema is of a later release (version 3, known is 1): install that release here too";
    let says = async || running.get("/readyz").await.1.to_string().contains(words);
    if !step.is_empty() {
        // Not a second longer: it cannot.
        hotspot(&running).account(&Record { seconds: 120, ..interim }).await.unwrap();
        assert!(is_away(&running).await);
        assert_eq!(server.ask("SELECT state->'sessions'->0->'reported'->>'seconds' FROM spotgate_account"), "60");
    }
    running.until("it says so", says).await;
    let version = "SELECT version FROM spotgate_account";
    let before = server.ask(version);
    hotspot(&running).account(&Record { seconds: 180, ..interim }).await.unwrap();
    assert!(running.log().contains(words), "{}", running.log());
    assert_eq!((server.ask(version), kept(&running.folder) > 0), (before, true));

    let (status, said) = running.command(&["doctor"]);
    assert!(status == Some(1) && said.contains(words), "{said}");
    let (status, said) = running.command(&["migrate"]);
    assert!(status == Some(1) && said.contains(words), "{said}");
    let anew = folder(&records);
    let output = run(spotgate(&["serve", "--config"]).arg(configured(&anew, &settings(&server, ""))));
    assert!(output.status.code() == Some(74) && printed(&output).contains(words), "{}", printed(&output));

    server.ask(&format!("BEGIN; {back} DELETE FROM spotgate_schema WHERE version = 3; COMMIT"));
    running.until("the database is back", async || !is_away(&running).await).await;
    running.until("it has all", async || kept(&running.folder) == 0).await;
    hotspot(&running).account(&Record { status: StatusType::Stop, seconds: 240, ..interim }).await.unwrap();
    assert_eq!(server.ask("SELECT state->>'usage' FROM spotgate_account"), "240");
}

#[tokio::test]
async fn a_daemon_that_the_schema_has_left_behind_says_so_and_writes_no_more() {
    left_behind("", "").await;
}

#[tokio::test]
async fn a_daemon_whose_function_is_gone_writes_no_more_at_once() {
    left_behind(
        "ALTER FUNCTION spotgate_swap_1 RENAME TO spotgate_swap_gone;",
        "ALTER FUNCTION spotgate_swap_gone RENAME TO spotgate_swap_1;",
    )
    .await;
}
