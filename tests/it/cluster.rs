//! Three daemons, one database: whoever is asked, the answer is the same; and any of them, or the database, may go.

mod apart;
mod impaired;
mod stopped;
mod storm;
mod upgrade;

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};
use spotgate::core::ident::Mac;
use spotgate::radius::attribute::StatusType;
use spotgate::sandbox::hotspot::{Answer, Hotspot, Record};
use tempfile::TempDir;

use crate::nexudus::{sandbox, source};
use crate::support::postgres::Postgres;
use crate::support::{FILE_SOURCE, Spotgate, configuration, configured, mac, printed, record, run, spotgate, with};

fn now() -> Timestamp {
    spotgate::clock::Clock::system().now().wall
}

fn settings(server: &Postgres, extra: &str) -> String {
    let store = format!("[store]\nkind = \"postgres\"\nurl = \"{}\"\n", server.url());
    configuration(FILE_SOURCE, extra).replace("[store]\n", &store)
}

fn folder(records: &[Value]) -> Arc<TempDir> {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("tokens.json"), Value::from(records.to_vec()).to_string()).unwrap();
    Arc::new(folder)
}

fn daemon(server: &Postgres, records: &[Value]) -> Spotgate {
    Spotgate::start_in(folder(records), &settings(server, ""))
}

/// Patient, as its router is: the answer waits for the database.
fn hotspot(spotgate: &Spotgate) -> Hotspot {
    spotgate.hotspot().patience(Duration::from_secs(2), 5)
}

fn of<'a>(code: &'a str, device: Mac, admitted: &'a Answer) -> Record<'a> {
    let id = admitted.session_id.as_deref().unwrap();
    Record { class: admitted.class.as_deref(), ..Record::start(code, device, id, now()) }
}

async fn minutes_left(spotgate: &Spotgate, code: &str) -> Value {
    spotgate.authorize(json!({"access_code": code, "mac": mac(99).to_string(), "dry_run": true})).await["minutes_left"]
        .clone()
}

/// So many minutes, or a little less: time passes.
async fn is_left(spotgate: &Spotgate, minutes: u64) -> bool {
    minutes_left(spotgate, "abc-123").await.as_u64().is_some_and(|left| left <= minutes && left + 2 >= minutes)
}

async fn is_away(spotgate: &Spotgate) -> bool {
    spotgate.get("/readyz").await.1.to_string().contains("the database is away")
}

#[tokio::test(flavor = "multi_thread")]
async fn of_three_that_are_asked_for_the_last_place_one_gives_it() {
    let server = Postgres::start();
    let records: Vec<Value> =
        (1..=1000).map(|id| with(record(id, &format!("code-{id}")), json!({"UserLimit": 1}))).collect();
    let daemons: Vec<Spotgate> = (0..3).map(|_| daemon(&server, &records)).collect();
    let hotspots: Vec<Arc<Hotspot>> = daemons.iter().map(|daemon| Arc::new(hotspot(daemon))).collect();
    for round in (1..=1000).collect::<Vec<_>>().chunks(20) {
        let races = round.iter().map(|id| {
            let code = format!("code-{id}");
            let asking: Vec<_> = hotspots
                .iter()
                .zip(1..)
                .map(|(hotspot, device)| {
                    let (hotspot, code) = (Arc::clone(hotspot), code.clone());
                    tokio::spawn(async move { hotspot.login_pap(&code, "", mac(device)).await.unwrap().accept })
                })
                .collect();
            (id, asking)
        });
        for (id, asking) in races.collect::<Vec<_>>() {
            let mut won = 0;
            for asked in asking {
                won += i32::from(asked.await.unwrap());
            }
            assert_eq!(won, 1, "code-{id}");
        }
    }
    assert_eq!(
        server.ask("SELECT count(*) FROM spotgate_account WHERE json_array_length(state->'sessions') = 1"),
        "1000"
    );
}

#[tokio::test]
async fn what_one_is_told_all_know() {
    let server = Postgres::start();
    let records = [with(record(1, "abc-123"), json!({"UserLimit": 2}))];
    let daemons: Vec<Spotgate> = (0..3).map(|_| daemon(&server, &records)).collect();
    let [first, second, third] = &daemons[..] else { panic!() };
    let admitted = hotspot(first).login_pap("abc-123", "", mac(1)).await.unwrap();
    // Where it asks next, it may not be known yet; its router asks again.
    let started = of("abc-123", mac(1), &admitted);
    hotspot(second).account(&started).await.unwrap();
    let interim = Record { status: StatusType::InterimUpdate, seconds: 600, ..started };
    hotspot(third).account(&interim).await.unwrap();
    third.until("its time counts at the first", async || minutes_left(first, "abc-123").await == json!(50)).await;

    let (_, listed) = second.read("/v1/sessions").await;
    let id = listed["sessions"][0]["session"].as_str().unwrap().to_owned();
    assert_eq!(listed["sessions"].as_array().unwrap().len(), 1);
    let stop = Record { status: StatusType::Stop, seconds: 3600, ..interim };
    hotspot(first).account(&stop).await.unwrap();
    hotspot(second).account(&stop).await.unwrap();
    for daemon in [third, second, first] {
        let answer = hotspot(daemon).login_pap("abc-123", "", mac(2)).await.unwrap();
        assert!(!answer.accept, "{answer:?}");
    }
    let (status, ended) = third.read(&format!("/v1/sessions/{id}")).await;
    assert_eq!((status, &ended["state"], &ended["seconds_used"]), (200, &json!("ended"), &json!(3600)));
    assert_eq!(server.ask("SELECT state->>'usage' FROM spotgate_account"), "3600");
}

#[tokio::test]
async fn an_account_that_the_database_does_not_take_is_in_nobodys_way() {
    let server = Postgres::start();
    let records: Vec<Value> = (1..=40).map(|id| record(id, &format!("code-{id}"))).collect();
    let daemon = daemon(&server, &records);
    server.ask("ALTER TABLE spotgate_account ADD CHECK (token NOT IN (7, 23))");
    let patient = Arc::new(hotspot(&daemon));
    let logins: Vec<_> = (1u8..=40)
        .map(|id| {
            let patient = Arc::clone(&patient);
            tokio::spawn(async move { (id, patient.login_pap(&format!("code-{id}"), "", mac(id)).await) })
        })
        .collect();
    for login in logins {
        let (id, answer) = login.await.unwrap();
        let accepted = answer.is_ok_and(|answer| answer.accept);
        assert_eq!(accepted, ![7, 23].contains(&id), "code-{id}");
    }
    assert!(!is_away(&daemon).await);
    assert_eq!(server.ask("SELECT count(*) FROM spotgate_account"), "38");
}

#[tokio::test]
async fn without_the_database_guests_are_let_in_and_counted() {
    let mut server = Postgres::start();
    let records = [with(record(1, "abc-123"), json!({"UserLimit": 2, "MinutesLeft": 600})), record(2, "def-456")];
    let (first, second) = (daemon(&server, &records), daemon(&server, &records));
    let admitted = hotspot(&first).login_pap("abc-123", "", mac(1)).await.unwrap();
    let started = of("abc-123", mac(1), &admitted);
    hotspot(&first).account(&started).await.unwrap();
    second.until("the other knows", async || second.read("/v1/sessions").await.1["sessions"][0].is_object()).await;

    server.kill();
    let interim = Record { status: StatusType::InterimUpdate, seconds: 600, ..started };
    hotspot(&first).account(&interim).await.unwrap();
    assert!(is_away(&first).await);
    let alone = hotspot(&second).login_pap("abc-123", "", mac(2)).await.unwrap();
    assert!(alone.accept && alone.session_timeout.unwrap() <= 3600, "as long as is risked: {alone:?}");
    let alone_started = of("abc-123", mac(2), &alone);
    let alone_stopped = Record { status: StatusType::Stop, seconds: 900, ..alone_started };
    hotspot(&second).account(&alone_stopped).await.unwrap();

    // Power goes, too, and comes back before the database does.
    let configuration = settings(&server, "");
    let second = Spotgate::start_in(second.kill(), &configuration);
    assert!(is_away(&second).await);
    assert!(hotspot(&second).login_pap("def-456", "", mac(3)).await.unwrap().accept);
    server.run();
    for daemon in [&first, &second] {
        daemon.until("the database is back", async || !is_away(daemon).await).await;
        daemon.until("all is there", async || is_left(daemon, 575).await).await;
        daemon
            .until("the other, too", async || {
                daemon.read("/v1/sessions").await.1["sessions"].as_array().unwrap().len() == 2
            })
            .await;
    }
    assert_eq!(server.ask("SELECT state->>'usage' FROM spotgate_account WHERE token = 1"), "900");
    // What was kept is handed on once.
    let second = Spotgate::start_in(second.stop(), &configuration);
    assert!(is_left(&second, 575).await);
}

#[tokio::test]
async fn nobody_is_let_in_without_the_database_where_that_is_not_wanted() {
    let mut server = Postgres::start();
    let settings = settings(&server, "").replace("[store]\n", "[store]\naway_session = \"0s\"\n");
    let spotgate = Spotgate::start_in(folder(&[record(1, "abc-123")]), &settings);
    server.kill();
    let asked = || spotgate.authorize(json!({"access_code": "abc-123", "mac": mac(1).to_string()}));
    // The first waits for the database, and is let in with what was known.
    let _ = asked().await;
    let refused = spotgate.authorize(json!({"access_code": "abc-123", "mac": mac(2).to_string()})).await;
    assert_eq!(refused["reason"], "source_unavailable", "{refused}");
    server.run();
    spotgate.until("the database is back", async || !is_away(&spotgate).await).await;
    assert_eq!(asked().await["decision"], "allow");
}

fn copy(folder: &TempDir, to: &str) -> (Option<i32>, String) {
    let path = folder.path().join("spotgate.toml");
    let output = run(spotgate(&["store", "copy", "--to", to, "--config"]).arg(path));
    (output.status.code(), printed(&output))
}

#[tokio::test]
async fn accounts_move_into_the_database_and_back() {
    let server = Postgres::start();
    let records: Vec<Value> = (1..=30).map(|id| record(id, &format!("code-{id}"))).collect();
    let folder = folder(&records);
    let embedded = configuration(FILE_SOURCE, "");
    let alone = Spotgate::start_in(Arc::clone(&folder), &embedded);
    let mut ended = String::new();
    for id in 1..=30 {
        let code = format!("code-{id}");
        let admitted = hotspot(&alone).login_pap(&code, "", mac(id)).await.unwrap();
        if id % 3 == 0 {
            let stop = Record { status: StatusType::Stop, seconds: 600, ..of(&code, mac(id), &admitted) };
            ended = alone.read("/v1/sessions").await.1["sessions"]
                .as_array()
                .unwrap()
                .iter()
                .find(|session| session["code"] == code)
                .unwrap()["session"]
                .as_str()
                .unwrap()
                .to_owned();
            hotspot(&alone).account(&stop).await.unwrap();
        }
    }
    let copy = |to| copy(&folder, to);
    configured(&folder, &settings(&server, ""));
    let (code, said) = copy("database");
    assert!(code == Some(1) && said.contains("in use by another process"), "{said}");
    drop(alone.stop());
    let database = server.database();
    database.migrate().await.unwrap();
    server.ask(
        "CREATE FUNCTION later() RETURNS trigger LANGUAGE plpgsql AS
            'BEGIN NEW.ended_at := NEW.ended_at + 1; RETURN NEW; END';
        CREATE TRIGGER later BEFORE INSERT ON spotgate_session FOR EACH ROW EXECUTE FUNCTION later()",
    );
    let (code, said) = copy("database");
    assert!(code == Some(1) && said.contains("10 sessions that ended were to be copied, and 10 are there"), "{said}");
    server.ask("DROP FUNCTION later CASCADE; TRUNCATE spotgate_account");
    let (code, said) = copy("database");
    assert!(code == Some(1) && said.contains("or sessions that ended: nothing is copied over them"), "{said}");
    server.ask("TRUNCATE spotgate_session");
    let (code, said) = copy("database");
    assert!(
        code == Some(0)
            && said.contains("30 accounts and 10 sessions that ended were copied, and are the same on both sides"),
        "{said}"
    );
    let (code, said) = copy("database");
    assert!(code == Some(1) && said.contains("hold accounts already"), "{said}");

    let shared = Spotgate::start_in(Arc::clone(&folder), &settings(&server, ""));
    assert_eq!(shared.read("/v1/sessions").await.1["sessions"].as_array().unwrap().len(), 20);
    assert_eq!(shared.read(&format!("/v1/sessions/{ended}")).await.1["seconds_used"], 600);
    assert_eq!(minutes_left(&shared, "code-3").await, 50);
    assert!(hotspot(&shared).login_pap("code-3", "", mac(3)).await.unwrap().accept);
    let (code, said) = copy("files");
    assert!(code == Some(1) && said.contains("hold accounts already"), "{said}");
    let (code, said) = shared.command(&["usage"]);
    assert!(code == Some(0) && said.lines().count() == 11, "{said}");
    let (_, said) = shared.command(&["doctor"]);
    assert!(
        said.contains("PostgreSQL 15") && said.contains("schema 1") && said.contains("daemons connected: 1"),
        "{said}"
    );
    std::fs::remove_dir_all(folder.path().join("state")).unwrap();
    let (code, said) = copy("files");
    assert!(code == Some(1) && said.contains("1 daemons are connected"), "{said}");
    drop(shared.stop());
    std::fs::remove_dir_all(folder.path().join("state")).unwrap();
    let (code, said) = copy("files");
    assert!(
        code == Some(0)
            && said.contains("30 accounts and 10 sessions that ended were copied, and are the same on both sides"),
        "{said}"
    );
    let alone = Spotgate::start_in(folder, &embedded);
    assert_eq!(alone.read("/v1/sessions").await.1["sessions"].as_array().unwrap().len(), 21);
    assert_eq!(alone.read(&format!("/v1/sessions/{ended}")).await.1["seconds_used"], 600);
}

#[tokio::test]
async fn what_waits_in_the_outbox_is_not_left_behind_by_a_copy() {
    let mut server = Postgres::start();
    let folder = folder(&[record(1, "abc-123")]);
    let start = |settings: &str| Spotgate::start_in(Arc::clone(&folder), settings);
    let settings = settings(&server, "");
    let shared = start(&settings);
    let admitted = hotspot(&shared).login_pap("abc-123", "", mac(1)).await.unwrap();
    let started = of("abc-123", mac(1), &admitted);
    hotspot(&shared).account(&started).await.unwrap();
    server.kill();
    let stop = Record { status: StatusType::Stop, seconds: 77, ..started };
    hotspot(&shared).account(&stop).await.unwrap();
    drop(shared.stop());
    server.run();
    for to in ["files", "database"] {
        let (code, said) = copy(&folder, to);
        assert!(code == Some(1) && said.contains("the outbox in store.path holds 1 records"), "{said}");
    }

    let shared = start(&settings);
    shared.until("all is there", async || shared.metric("spotgate_store_owed").await == 0.0).await;
    drop(shared.stop());
    let (code, said) = copy(&folder, "files");
    assert!(code == Some(0) && said.contains("1 accounts and 1 sessions that ended were copied"), "{said}");
    let alone = start(&configuration(FILE_SOURCE, ""));
    assert_eq!(alone.read("/v1/tokens/abc-123").await.1["usage_seconds"], 77);
}

#[test]
fn the_schema_is_made_by_a_command_too() {
    let server = Postgres::start();
    let folder = folder(&[]);
    let path = configured(&folder, &settings(&server, ""));
    let migrate = || printed(&run(spotgate(&["migrate", "--config"]).arg(&path)));
    assert_eq!(migrate(), "the schema was brought from version 0 to 1\n");
    assert_eq!(migrate(), "the schema is up to date (version 1)\n");
    let path = configured(&folder, &configuration(FILE_SOURCE, ""));
    let output = run(spotgate(&["migrate", "--config"]).arg(&path));
    assert!(output.status.code() == Some(2) && printed(&output).contains("names no database"));
}

#[tokio::test]
async fn daemons_go_by_the_databases_clock() {
    let server = Postgres::start();
    let records = [record(1, "abc-123")];
    let ahead = folder(&records);
    // As `faketime` does, which would stay between the daemon and its end.
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_spotgate"));
    command.env("LD_PRELOAD", "/usr/$LIB/faketime/libfaketime.so.1");
    command.envs([("FAKETIME", "+120s"), ("FAKETIME_DONT_FAKE_MONOTONIC", "1")]);
    let first = Spotgate::start_by(command, ahead, &settings(&server, ""));
    let second = daemon(&server, &records);
    assert!(first.log().contains("off by so much from the database's"), "{}", first.log());
    let admitted = hotspot(&first).login_pap("abc-123", "", mac(1)).await.unwrap();
    let started = of("abc-123", mac(1), &admitted);
    hotspot(&first).account(&started).await.unwrap();
    second.until("it is known", async || second.read("/v1/sessions").await.1["sessions"][0].is_object()).await;
    let used = second.read("/v1/sessions").await.1["sessions"][0]["seconds_used"].as_u64().unwrap();
    assert!(used < 60, "{used}");
}

/// How many calls a daemon has made to list tokens.
async fn lists(spotgate: &Spotgate) -> f64 {
    spotgate.metric("spotgate_source_requests_total{operation=\"list\",status=\"200\"}").await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_daemon_asks_nexudus_for_all_and_writes_minutes_back_once() {
    let server = Postgres::start();
    let sandbox = sandbox(vec![record(1, "abc-123"), record(2, "def-456")]).await;
    let often = "mirror_interval = \"1s\"\nrequests_per_minute = 100000\nwrite_back = true";
    let by = |how: &str| {
        let store = format!("[store]\nkind = \"postgres\"\nurl = \"{}\"\n", server.url());
        configuration(&source(&sandbox, how), "disconnect_port = 0").replace("[store]\n", &store)
    };
    let settings = || by(often);
    let first = Spotgate::start(&settings());
    first.until("mirrored", async || first.metric("spotgate_tokens").await == 2.0).await;
    let second = Spotgate::start(&settings());
    second.until("taken over", async || second.metric("spotgate_tokens").await == 2.0).await;
    assert_eq!((lists(&second).await, second.get("/readyz").await.1["degraded"].clone()), (0.0, json!([])));
    // It looks by itself too seldom to be what is seen here.
    let told = Spotgate::start(&by("mirror_interval = \"1h\""));
    let knows = async || told.metric("spotgate_tokens").await;
    told.until("taken over", async || knows().await == 2.0).await;
    sandbox.put_token(record(3, "new-789"));
    told.until("it is told", async || knows().await == 3.0).await;
    sandbox.delete_token(2);
    told.until("it is told", async || knows().await == 2.0).await;
    drop(told.kill());
    second
        .until("what changed is known", async || {
            let gone =
                second.authorize(json!({"access_code": "def-456", "mac": mac(1).to_string(), "dry_run": true})).await;
            gone["reason"] == "unknown_code" && second.metric("spotgate_tokens").await == 2.0
        })
        .await;
    let admitted = hotspot(&second).login_pap("new-789", "", mac(1)).await.unwrap();
    let stop = Record { status: StatusType::Stop, seconds: 600, ..of("new-789", mac(1), &admitted) };
    hotspot(&second).account(&stop).await.unwrap();
    let left = || sandbox.token(3).unwrap()["MinutesLeft"].clone();
    first.until("written back", async || left() == json!(50)).await;
    let unwritten = || async {
        (
            first.metric("spotgate_usage_unwritten_seconds").await,
            second.metric("spotgate_usage_unwritten_seconds").await,
        )
    };
    second.until("both know", async || unwritten().await == (0.0, 0.0)).await;
    // A code that it did not know it has asked for itself.
    let before = lists(&second).await;

    // Whoever asked is gone: the other asks from where it stopped, and goes on writing.
    drop(first.kill());
    second.until("it asks", async || lists(&second).await > before + 2.0).await;
    let admitted = hotspot(&second).login_pap("new-789", "", mac(2)).await.unwrap();
    let stop = Record { status: StatusType::Stop, seconds: 1200, ..of("new-789", mac(2), &admitted) };
    hotspot(&second).account(&stop).await.unwrap();
    second.until("written back", async || left() == json!(30)).await;
}
