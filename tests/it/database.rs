//! The database layer at a real PostgreSQL.

use std::collections::HashSet;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use secrecy::SecretString;
use spotgate::core::ident::TokenId;
use spotgate::database::{Database, Error, Heard, Waiting};
use spotgate::ledger::{Change, Closed, Row, Swapped};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use crate::support::authority::Authority;
use crate::support::ledger::elapsed;
use crate::support::postgres::Postgres;

fn change(token: i64, version: u64, what: &str) -> Change {
    let state = format!("{{\"what\": \"{what}\"}}").into_bytes();
    Change {
        token: TokenId(token),
        version,
        becomes: version + 1,
        state,
        is_due: false,
        doubted: Vec::new(),
        closed: Vec::new(),
        reopened: Vec::new(),
    }
}

fn row(token: i64, version: u64, what: &str) -> Row {
    let change = change(token, version, what);
    Row { token: change.token, version, state: change.state }
}

#[tokio::test]
async fn a_change_is_taken_on_the_version_it_builds_on() {
    let server = Postgres::start();
    let database = server.database();
    let (second, third) = (server.database(), server.database());
    let all_at_once = tokio::join!(database.migrate(), second.migrate(), third.migrate());
    let from = [all_at_once.0.unwrap().from, all_at_once.1.unwrap().from, all_at_once.2.unwrap().from];
    assert_eq!(from.iter().filter(|from| **from == 0).count(), 1, "one of three makes the schema: {from:?}");

    let swapped = database.swap(&[change(2, 0, "a"), change(1, 0, "b"), change(3, 7, "c")]).await.unwrap();
    assert_eq!(swapped, [Swapped::Done, Swapped::Done, Swapped::Stale(None)]);
    let swapped = database.swap(&[change(1, 1, "d"), change(2, 0, "e")]).await.unwrap();
    assert_eq!(swapped, [Swapped::Done, Swapped::Stale(Some(row(2, 1, "a")))]);
    let mut all = Vec::new();
    database.accounts(|row| all.push(row)).await.unwrap();
    assert_eq!(all, [row(1, 2, "d"), row(2, 1, "a")]);
    assert_eq!(database.versions().await.unwrap(), [(TokenId(1), 2), (TokenId(2), 1)]);
    assert_eq!(database.fetch(&[TokenId(2), TokenId(9)]).await.unwrap(), [row(2, 1, "a")]);
    assert_eq!(database.swap(&[]).await.unwrap(), []);
}

#[tokio::test]
async fn sessions_that_ended_are_found_until_they_are_forgotten() {
    let server = Postgres::start();
    let database = server.database();
    database.migrate().await.unwrap();
    let closed =
        |name: &str, at_ms| Closed { session: name.to_owned(), token: 1, at_ms, payload: b"{\"a\": 1}".to_vec() };
    let ended = Change { closed: vec![closed("x", 5), closed("y", 6)], ..change(1, 0, "a") };
    assert_eq!(database.swap(std::slice::from_ref(&ended)).await.unwrap(), [Swapped::Done]);
    assert_eq!(database.closed("x").await.unwrap(), Some(closed("x", 5)));
    let stale = Change { closed: vec![closed("x", 9)], reopened: vec!["y".to_owned()], ..change(1, 0, "b") };
    assert!(matches!(database.swap(&[stale]).await.unwrap()[..], [Swapped::Stale(Some(_))]));
    assert_eq!(database.closed("x").await.unwrap(), Some(closed("x", 5)), "what is stale changes nothing");
    let next = Change { closed: vec![closed("x", 9)], reopened: vec!["y".to_owned()], ..change(1, 1, "b") };
    database.swap(&[next]).await.unwrap();
    assert_eq!(
        (database.closed("x").await.unwrap(), database.closed("y").await.unwrap()),
        (Some(closed("x", 9)), None)
    );
    assert_eq!((database.retain(9).await.unwrap(), database.retain(10).await.unwrap()), (0, 1));
}

#[tokio::test]
async fn ended_sessions_are_read_through_by_their_index_whatever_the_locale() {
    let server = Postgres::start();
    server.ask("CREATE DATABASE elsewhere TEMPLATE template0 LOCALE 'C.UTF-8'");
    // The plan of each statement goes to the server's log.
    server.ask("ALTER DATABASE elsewhere SET session_preload_libraries = 'auto_explain'");
    server.ask("ALTER DATABASE elsewhere SET auto_explain.log_min_duration = 0");
    let url = server.url();
    let url = format!("{}/elsewhere", url.strip_suffix("/spotgate").unwrap());
    let database = Database::new(&SecretString::from(url), "a test").unwrap();
    database.migrate().await.unwrap();
    let closed = |name| Closed { session: format!("01J{name:05}"), token: 1, at_ms: 1, payload: b"{}".to_vec() };
    let all: Vec<Closed> = (0..20_000).map(closed).collect();
    for some in all.chunks(5000) {
        database.keep_closed(some).await.unwrap();
    }
    let (mut read, mut after) = (Vec::new(), String::new());
    for _ in 0..=20 {
        let some = database.closed_after(&after).await.unwrap();
        after = some.last().map_or(after, |last| last.session.clone());
        read.extend(some);
    }
    assert!(read == all, "each once, in order: {}", read.len());
    let log = std::fs::read_to_string(server.folder().join("log")).unwrap();
    let plans: Vec<&str> = log.split("Query Text: ").filter(|plan| plan.contains("LIMIT 1000")).collect();
    assert_eq!(plans.len(), 21);
    for plan in plans {
        assert!(plan.contains("using spotgate_session_pkey") && !plan.contains("Sort"), "{plan}");
    }
}

/// Each round three change one account, in batches with others in whatever order.
#[tokio::test(flavor = "multi_thread")]
async fn of_three_that_change_an_account_one_does_and_nobody_waits_for_ever() {
    let server = Postgres::start();
    let daemons: Vec<Database> = (0..3).map(|_| server.database()).collect();
    daemons[0].migrate().await.unwrap();
    let mut known = [0; 20];
    for round in 0..200u64 {
        let racing = daemons.iter().enumerate().map(|(daemon, database)| {
            let mut changes: Vec<Change> = known
                .iter()
                .zip(0..)
                .map(|(version, token)| change(token, *version, &format!("{round} {daemon}")))
                .collect();
            let half = 7 * (daemon + 1) % changes.len();
            changes.rotate_left(half);
            let database = database.clone();
            tokio::spawn(async move { (database.swap(&changes).await.unwrap(), changes) })
        });
        let mut won = HashSet::new();
        for race in racing.collect::<Vec<_>>() {
            let (swapped, changes) = race.await.unwrap();
            for (swapped, change) in swapped.iter().zip(&changes) {
                match swapped {
                    Swapped::Done => {
                        assert!(won.insert(change.token), "round {round}: two have changed {}", change.token);
                    }
                    Swapped::Stale(Some(row)) => {
                        assert_eq!((row.token, row.version), (change.token, change.version + 1));
                        assert_ne!(row.state, change.state);
                    }
                    Swapped::Stale(None) | Swapped::Held | Swapped::Refused => panic!("it is there, and can be read"),
                }
            }
        }
        assert_eq!(won.len(), known.len());
        known.iter_mut().for_each(|version| *version += 1);
    }
}

#[tokio::test]
async fn what_is_due_waits_for_nobody_who_is_at_the_account() {
    let server = Postgres::start();
    let database = server.database();
    database.migrate().await.unwrap();
    let all: Vec<Change> = (1..=4).map(|token| change(token, 0, "a")).collect();
    database.swap(&all).await.unwrap();
    let (mut other, connection) = tokio_postgres::connect(&server.url(), tokio_postgres::NoTls).await.unwrap();
    tokio::spawn(connection);
    let at_it = other.transaction().await.unwrap();
    at_it.execute("SELECT FROM spotgate_account WHERE token IN (2, 4) FOR UPDATE", &[]).await.unwrap();
    let due = |token, version| Change { is_due: true, ..change(token, version, "due") };
    let stale = Swapped::Stale(Some(row(3, 1, "a")));
    let swapped = database.swap(&[change(1, 1, "b"), due(2, 1), due(3, 7), due(9, 4)]).await.unwrap();
    assert_eq!(swapped, [Swapped::Done, Swapped::Held, stale, Swapped::Stale(None)]);
    assert!(database.swap(&[change(4, 1, "b")]).await.unwrap_err().is_away(), "what somebody did is waited for");
    at_it.rollback().await.unwrap();
    assert_eq!(database.swap(&[due(2, 1), due(1, 2)]).await.unwrap(), [Swapped::Done, Swapped::Done]);
}

#[tokio::test]
async fn others_hear_of_changes() {
    let server = Postgres::start();
    let database = server.database();
    database.migrate().await.unwrap();
    let mut listener = server.database().listen().await.unwrap();
    assert_eq!(listener.next().await.unwrap(), Heard::All);
    let many: Vec<Change> = (0..500).map(|token| change(i64::MAX - token, 0, "a")).collect();
    database.swap(&many).await.unwrap();
    database.swap(&[change(1, 0, "a"), change(i64::MAX, 0, "b")]).await.unwrap();
    let mut heard = Vec::new();
    while heard.len() < 501 {
        let Heard::Accounts(news) = listener.next().await.unwrap() else { panic!("they fit") };
        heard.extend(news);
    }
    // Those of one moment come in any order.
    assert!(heard.iter().all(|(_, version)| *version == 1) && heard.contains(&(TokenId(1), 1)));
    database.publish("nexudus", &[(1, Some("{}".to_owned())), (2, None)]).await.unwrap();
    assert_eq!(listener.next().await.unwrap(), Heard::Tokens);
    database.see("nexudus", 0, Some(1), None).await.unwrap();
    database.see("nexudus", 0, None, Some(1)).await.unwrap();
    assert_eq!(listener.next().await.unwrap(), Heard::Tokens);
    server.ask("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE 'LISTEN%'");
    assert!(listener.next().await.unwrap_err().is_away());
}

/// However slowly it is looked at.
#[tokio::test]
async fn of_much_that_is_told_the_latest_is_heard_and_nothing_is_compared() {
    let server = Postgres::start();
    let mut listener = server.database().listen().await.unwrap();
    assert_eq!(listener.next().await.unwrap(), Heard::All);
    server.ask("SELECT count(pg_notify('spotgate_account', i % 10 || ':' || i)) FROM generate_series(1, 50000) i");
    for told in ["20:7", "21:7,21:0", "20:0", "20:1", "30:1"] {
        server.ask(&format!("SELECT pg_notify('spotgate_account', '{told}')"));
    }
    let mut heard: Vec<(i64, u64)> = Vec::new();
    while !heard.contains(&(30, 1)) {
        let Heard::Accounts(news) = listener.next().await.unwrap() else { panic!("everything is to be compared") };
        heard.extend(news.into_iter().map(|(token, version)| (token.0, version)));
    }
    for told in (49_991..=50_000u64).map(|told| (i64::try_from(told % 10).unwrap(), told)) {
        assert_eq!(heard.iter().rfind(|(of, _)| *of == told.0), Some(&told));
    }
    let of = |token| heard.iter().filter(|(of, _)| *of == token).map(|(_, version)| *version).collect::<Vec<_>>();
    assert!(of(20).ends_with(&[0, 1]), "it was forgotten, and began anew: {:?}", of(20));
    assert_eq!(of(21).last(), Some(&0));

    server.ask("SELECT pg_notify('spotgate_account', '20 is forgotten')");
    assert_eq!(listener.next().await.unwrap(), Heard::All, "what cannot be read");
}

#[tokio::test]
async fn an_account_that_is_over_is_forgotten_as_it_was_seen_and_all_hear_of_it() {
    let server = Postgres::start();
    let (database, other) = (server.database(), server.database());
    database.migrate().await.unwrap();
    let changes: Vec<Change> = (1..=400).map(|token| change(token, 0, "a")).collect();
    database.swap(&changes).await.unwrap();
    database.swap(&[change(7, 1, "b")]).await.unwrap();
    let mut listener = other.listen().await.unwrap();
    assert_eq!(listener.next().await.unwrap(), Heard::All);
    let over: Vec<(TokenId, u64)> = (1..=399).map(|token| (TokenId(token), 1)).collect();
    database.forget(&over).await.unwrap();
    assert_eq!(other.versions().await.unwrap(), [(TokenId(7), 2), (TokenId(400), 1)], "who was used again stays");
    let mut gone = HashSet::new();
    while gone.len() < 398 {
        let Heard::Accounts(news) = listener.next().await.unwrap() else { panic!() };
        assert!(news.iter().all(|(_, version)| *version == 0));
        gone.extend(news);
    }
    assert_eq!(database.swap(&[change(1, 1, "c")]).await.unwrap(), [Swapped::Stale(None)]);
    assert_eq!(database.swap(&[change(1, 0, "c")]).await.unwrap(), [Swapped::Done], "it begins anew");
}

#[tokio::test]
async fn what_the_database_does_not_take_is_neither_away_nor_repeated_word_for_word() {
    let server = Postgres::start();
    let database = server.database();
    database.migrate().await.unwrap();
    let broken = Change { state: b"{\"code\": abc-123}".to_vec(), ..change(1, 0, "a") };
    let refused = database.swap(&[broken, change(2, 0, "a")]).await.unwrap_err();
    assert!(matches!(refused, Error::Refused(_)) && !refused.to_string().contains("abc"), "{refused}");
    assert_eq!(database.versions().await.unwrap(), [], "all or none");
}

#[tokio::test]
async fn one_leads_until_it_is_gone() {
    let server = Postgres::start();
    let (first, second) = (server.database(), server.database());
    let (mut begins, mut waiting, mut other) = (Waiting::default(), Waiting::default(), Waiting::default());
    let mut lease = first.lead("leader", &mut begins).await.unwrap().unwrap();
    assert!(second.lead("another role", &mut other).await.unwrap().is_some());
    let asking = || {
        server.ask(
            "SELECT pid FROM pg_stat_activity WHERE query LIKE '%advisory%' AND pid NOT IN
        (SELECT pid FROM pg_locks WHERE locktype = 'advisory') AND pid <> pg_backend_pid()",
        )
    };
    assert!(second.lead("leader", &mut waiting).await.unwrap().is_none());
    let asked_on = asking();
    assert!(second.lead("leader", &mut waiting).await.unwrap().is_none());
    assert!(asking() == asked_on && !asked_on.contains('\n'), "one connection waits: {asked_on}");
    server.ask("SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory'");
    lease.lost().await;
    let lease = second.lead("leader", &mut waiting).await.unwrap().unwrap();
    drop(lease);
    let until = elapsed() + Duration::from_secs(20);
    while first.lead("leader", &mut begins).await.unwrap().is_none() {
        assert!(elapsed() < until);
    }
}

#[tokio::test]
async fn a_server_that_is_killed_is_away_and_back_with_what_was_done() {
    let mut server = Postgres::start();
    let database = server.database();
    database.migrate().await.unwrap();
    assert_eq!(database.swap(&[change(1, 0, "a")]).await.unwrap(), [Swapped::Done]);
    server.kill();
    for _ in 0..3 {
        assert!(matches!(database.swap(&[change(1, 1, "b")]).await, Err(Error::Away(_))));
    }
    server.run();
    // Connections that died are found out one by one.
    let until = elapsed() + Duration::from_secs(20);
    let swapped = loop {
        match database.swap(&[change(1, 1, "b")]).await {
            Ok(swapped) => break swapped,
            Err(error) => assert!(error.is_away() && elapsed() < until, "{error}"),
        }
    };
    assert_eq!(swapped, [Swapped::Done]);
}

#[tokio::test]
async fn a_server_that_does_not_answer_is_not_waited_for() {
    let server = Postgres::start();
    let database = server.database();
    database.migrate().await.unwrap();
    server.signal("STOP");
    let begun = elapsed();
    let error = database.swap(&[change(1, 0, "a")]).await.unwrap_err();
    assert!(error.is_away() && (elapsed() - begun) < Duration::from_secs(6), "{error} after {:?}", (elapsed() - begun));
    server.signal("CONT");
    // Whether it arrived is not known: it did at most once, and its answer is nobody else's.
    let until = elapsed() + Duration::from_secs(20);
    let swapped = loop {
        match database.swap(&[change(1, 0, "b")]).await {
            Ok(swapped) => break swapped,
            Err(error) => assert!(error.is_away() && elapsed() < until, "{error}"),
        }
    };
    assert!(swapped == [Swapped::Done] || swapped == [Swapped::Stale(Some(row(1, 1, "a")))], "{swapped:?}");
}

#[tokio::test]
async fn many_rows_may_take_longer_than_a_guest_waits() {
    let server = Postgres::start();
    let database = server.database();
    database.migrate().await.unwrap();
    database.swap(&[change(1, 0, "a")]).await.unwrap();
    // A disk that has to look for them. The server gives up what takes five seconds, elsewhere.
    server.ask("ALTER TABLE spotgate_account RENAME TO account");
    server.ask("CREATE VIEW spotgate_account AS SELECT a.* FROM account a, pg_sleep(5.5) WHERE a.token IS NOT NULL");
    let late = database.fetch(&[TokenId(1)]).await.unwrap_err();
    assert!(late.is_away(), "{late}");
    let mut all = Vec::new();
    database.accounts(|row| all.push(row)).await.unwrap();
    assert_eq!(all, [row(1, 1, "a")]);
    assert_eq!(database.versions().await.unwrap(), [(TokenId(1), 1)]);
}

#[tokio::test]
async fn a_handshake_that_breaks_off_is_tried_again() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("postgres://u:p@{}/d?sslmode=require", listener.local_addr().unwrap());
    let database = Database::new(&SecretString::from(url), "a test").unwrap();
    let ends_in_the_middle = async {
        let (mut client, _) = listener.accept().await.unwrap();
        client.read_exact(&mut [0; 8]).await.unwrap();
        client.write_all(b"S").await.unwrap();
        // Its hello is not answered.
        client.readable().await.unwrap();
    };
    let (outcome, ()) = tokio::join!(database.migrate(), ends_in_the_middle);
    let error = outcome.unwrap_err();
    assert!(error.is_away() && error.to_string().contains("TLS"), "{error}");
}

#[tokio::test]
async fn what_a_person_must_mend_is_said_without_the_password() {
    let server = Postgres::start();
    let database = server.database();
    database.migrate().await.unwrap();
    let wrong = |url: String| Database::new(&SecretString::from(url), "a test").unwrap();
    let port = server.port();
    for (url, words) in [
        (format!("postgres://spotgate:tonic-water@127.0.0.1:{port}/spotgate"), "password authentication failed"),
        (format!("postgres://spotgate:correct-horse@127.0.0.1:{port}/nowhere"), "does not exist"),
    ] {
        let error = wrong(url).migrate().await.unwrap_err();
        assert!(matches!(&error, Error::Stop(said) if said.contains(words)), "{error}");
        assert!(!error.to_string().contains("tonic-water") && !format!("{error:?}").contains("correct-horse"));
    }
    for (url, words) in [
        ("postgres://u:p@127.0.0.1:1/d".to_owned(), "refused"),
        // A server that cannot make another process says no more than that, either.
        (format!("postgres://spotgate:correct-horse@127.0.0.1:{port}/spotgate?sslmode=require"), "TLS"),
    ] {
        let error = wrong(url).migrate().await.unwrap_err();
        assert!(error.is_away() && error.to_string().contains(words), "{error}");
    }

    server.ask("INSERT INTO spotgate_schema (version, readable_by) VALUES (2, 1)");
    assert_eq!(database.migrate().await.unwrap().to, 2, "a release of which this one is the former");
    server.ask("INSERT INTO spotgate_schema (version, readable_by) VALUES (3, 2)");
    let later = database.migrate().await.unwrap_err();
    assert!(matches!(&later, Error::Stop(said) if said.contains("later release")), "{later}");
}

#[tokio::test]
async fn a_server_proves_who_it_is_where_that_is_asked_for() {
    let mut server = Postgres::start();
    let (ours, others) = (Authority::new("ours"), Authority::new("others"));
    let pair = ours.issue(&["127.0.0.1"]);
    let folder = server.folder().to_owned();
    for (file, text) in [
        ("server.crt", &pair.certificate),
        ("server.key", &pair.key),
        ("ours.pem", &ours.certificate),
        ("others.pem", &others.certificate),
    ] {
        std::fs::write(folder.join(file), text).unwrap();
        std::fs::set_permissions(folder.join(file), PermissionsExt::from_mode(0o600)).unwrap();
    }
    let path = |file: &str| folder.join(file).to_str().unwrap().to_owned();
    server.set(&format!(
        "ssl = on\nssl_cert_file = '{}'\nssl_key_file = '{}'\n",
        path("server.crt"),
        path("server.key")
    ));
    let at = |authority: &str| {
        let url = format!("{}?sslmode=require&sslrootcert={}", server.url(), path(authority));
        Database::new(&SecretString::from(url), "a test").unwrap()
    };
    at("ours.pem").migrate().await.unwrap();
    let encrypted = "SELECT ssl FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) WHERE application_name = 'a test'";
    assert_eq!(server.ask(encrypted), "t");
    let stranger = at("others.pem").migrate().await.unwrap_err();
    assert!(!stranger.is_away() && stranger.to_string().contains("certificate"), "{stranger}");
}
