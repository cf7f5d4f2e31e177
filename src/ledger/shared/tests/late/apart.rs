//! What a check found: sessions that were lost, doubled or left behind where daemons had been apart.

use super::*;

/// As the daemon does once the database is back: what stands there is compared with what stands here.
pub(super) fn compares(chain: &Chain, daemon: usize) {
    for (token, version) in chain.daemons[daemon].versions() {
        if chain.database.rows.get(&token).is_none_or(|row| row.version < version) {
            chain.daemons[daemon].gone(token, Some(version));
        }
    }
    for row in chain.database.rows.values() {
        if chain.daemons[daemon].is_behind(row.token, row.version) {
            chain.daemons[daemon].heard(row, &chain.policy);
        }
    }
}

impl Chain {
    /// What the router says of a session of the first device that it calls 80000001: by our name for it, or without.
    pub(super) fn says(
        &self,
        daemon: usize,
        token: &AccessToken,
        ours: Option<SessionId>,
        news: News,
        seconds: u64,
        now: i64,
    ) -> Written {
        let login = Login { nas_session: Some("80000001"), ..self.login(1) };
        let question = Question { login: &login, nas: &self.nas, policy: &self.policy };
        let report = Report { at: at(now), seconds: Seconds(seconds), input_octets: 0, output_octets: 0 };
        let progress = Progress { session: ours.map(|id| (id, token.id)), news, report, unmeasured: false };
        if let Some(reported) = self.daemons[daemon].report(token.id, &question, &progress, at(now)) {
            return reported.written;
        }
        let began = Seconds(seconds).before(report.at);
        let session = question.session(ours.unwrap_or_else(|| id(now, 71).met()), token, began);
        self.daemons[daemon].find(token, &question, session, &progress, at(now)).written
    }
}

/// What silence makes of a session while the database is away holds here alone; of an account that the database does not have
/// Yet it is handed on all the same, and the ended session with it is kept nowhere.
#[tokio::test]
async fn what_silence_ended_here_of_a_new_account_is_looked_at_anew() {
    let mut chain = Chain::new();
    chain.begins(0);
    chain.daemons[0].part("gone", &chain.policy).await;
    let (_, written) = chain.admit(0, &limited(1, 2), 1, 10);
    written.settled().await.unwrap();
    let session = chain.live(0)[0];
    chain.report_at(0, 1, session, News::Interim, 60, 70).settled().await.unwrap();
    let _ = chain.daemons[0].due(&chain.policy, at(2000), &mut |_| Room::Free);
    assert!(chain.live(0).is_empty(), "silence has ended it here");
    chain.daemons[0].join();
    compares(&chain, 0);
    chain.settle();
    chain.agrees();
}

/// A login that the outbox did not take was refused: nobody is in.
#[tokio::test]
async fn who_was_refused_since_the_outbox_is_full_holds_no_place() {
    let mut chain = Chain::new();
    chain.begins(0);
    chain.daemons[0].keep_at_most(0);
    chain.daemons[0].part("gone", &chain.policy).await;
    let token = limited(1, 1);
    let (_, written) = chain.admit(0, &token, 1, 10);
    assert!(written.settled().await.is_err());
    chain.daemons[0].join();
    compares(&chain, 0);
    chain.settle();
    compares(&chain, 0);
    let (decision, _) = chain.admit(0, &token, 2, 20);
    chain.settle();
    assert!(matches!(decision, Decision::Allow(_)), "the place is free: {decision:?}");
}

/// The same place of a daemon whose disk refuses: the guest's session without accounting draws from the pool.
#[tokio::test]
async fn who_was_refused_draws_no_minutes() {
    let mut chain = Chain::new();
    chain.nas.accounting = false;
    chain.begins(0);
    chain.daemons[0].keep_at_most(0);
    chain.daemons[0].part("gone", &chain.policy).await;
    let token = limited(1, 2);
    let (_, written) = chain.admit(0, &token, 1, 10);
    assert!(written.settled().await.is_err());
    chain.daemons[0].join();
    compares(&chain, 0);
    let (_, written) = chain.admit(0, &token, 2, 20);
    chain.settle();
    assert!(counts(written));
    assert_eq!(chain.database.account(1).sessions().len(), 1, "the first was refused");
}

/// What the database does not take is not handed on again and again, word for word.
#[tokio::test]
async fn what_was_refused_is_not_handed_on_again_at_once() {
    let mut chain = Chain::new();
    chain.begins(0);
    let _ = chain.admit(0, &limited(1, 2), 1, 0);
    chain.settle();
    let session = chain.live(0)[0];
    chain.daemons[0].part("gone", &chain.policy).await;
    chain.report(0, 1, 1, session, News::Interim, 60).unwrap().settled().await.unwrap();
    chain.daemons[0].join();
    let mut tries = 0;
    for _ in 0..100 {
        for change in chain.daemons[0].take_changes(9, &chain.policy) {
            tries += 1;
            chain.daemons[0].swapped(change.token, Swapped::Refused, &chain.policy);
            // As the cluster does.
            compares(&chain, 0);
        }
    }
    assert!(tries <= 2, "{tries} tries, though nothing has happened since");
}

/// One account that the database does not take keeps no router's restart from being acknowledged.
#[tokio::test]
async fn one_account_in_the_way_holds_up_no_restart() {
    let mut chain = Chain::new();
    chain.begins(0);
    let _ = chain.admit(0, &limited(1, 2), 1, 0);
    chain.settle();
    let session = chain.live(0)[0];
    chain.daemons[0].part("gone", &chain.policy).await;
    chain.report(0, 1, 1, session, News::Interim, 60).unwrap().settled().await.unwrap();
    chain.daemons[0].join();
    let refuse = |chain: &Chain| {
        for change in chain.daemons[0].take_changes(9, &chain.policy) {
            chain.daemons[0].swapped(change.token, Swapped::Refused, &chain.policy);
        }
    };
    refuse(&chain);
    assert_eq!(chain.daemons[0].owed(), 1);
    let another = NasName::new("back-office");
    let (_, written) = chain.daemons[0].restarted(&another, None, at(100), &chain.policy, at(100));
    refuse(&chain);
    refuse(&chain);
    let outcome = outcome(written);
    assert!(matches!(outcome, Some(Ok(()))), "{outcome:?}");
}

/// A Stop of a session that silence ended, to a daemon that has not compared yet.
#[test]
fn a_stop_that_is_acknowledged_counts() {
    let mut chain = Chain::new();
    let token = limited(1, 2);
    let _ = chain.admit(1, &token, 1, 0);
    chain.exchange(1);
    let session = chain.live(1)[0];
    let _ = chain.report_at(1, 1, session, News::Interim, 600, 600);
    chain.exchange(1);
    let _ = chain.daemons[1].due(&chain.policy, at(3000), &mut |_| Room::Free);
    chain.exchange(1);
    assert_eq!(chain.database.account(1).usage.0, 600);
    let login = chain.login(1);
    let question = Question { login: &login, nas: &chain.nas, policy: &chain.policy };
    let report = Report { at: at(3600), seconds: Seconds(3500), input_octets: 0, output_octets: 0 };
    let progress = Progress { session: Some((session, token.id)), news: News::Stop, report, unmeasured: false };
    assert!(chain.daemons[0].report(token.id, &question, &progress, at(3600)).is_none(), "it has not heard of it");
    let found = question.session(session, &token, Seconds(3500).before(at(3600)));
    let written = chain.daemons[0].find(&token, &question, found, &progress, at(3600)).written;
    chain.exchange(0);
    let outcome = outcome(written);
    chain.settle();
    let usage = chain.database.account(1).usage.0;
    assert!(usage == 3500 || !matches!(outcome, Some(Ok(()))), "acknowledged ({outcome:?}), and {usage} s count");
}

/// A session that our own name (Class) tells from all others is none of those, whatever its router calls it.
#[tokio::test]
async fn a_session_of_our_own_name_is_not_taken_for_an_older_one_of_the_same_routers_name() {
    let mut chain = Chain::new();
    let token = limited(1, 1);
    let _ = chain.admit(1, &token, 1, 0);
    chain.exchange(1);
    let first = chain.live(1)[0];
    let _ = chain.says(1, &token, Some(first), News::Stop, 600, 601);
    chain.settle();
    assert_eq!(chain.database.account(1).usage.0, 600);
    // Its router begins anew, and counts its sessions from 1 again. A third daemon, whose outbox comes later, lets the device in.
    let second = id(1000, 99).let_in();
    chain.begins_alone(0).await;
    chain.says(0, &token, Some(second), News::Interim, 300, 1300).settled().await.unwrap();
    chain.says(0, &token, Some(second), News::Stop, 500, 1500).settled().await.unwrap();
    chain.daemons[0].join();
    compares(&chain, 0);
    chain.settle();
    assert_eq!(chain.database.account(1).usage.0, 1100, "both sessions count");
}

/// The database is away for all; a router that echoes no Class logs a guest in at one daemon and reports to another, whose clock is
/// Two seconds behind (as far as is not corrected). Its session counts once.
#[tokio::test]
async fn a_session_that_two_daemons_know_by_its_routers_name_counts_once() {
    let mut wrong = Vec::new();
    for (first, skew) in [(0usize, 0i64), (1, 0), (0, 2), (1, 2)] {
        let mut chain = Chain::new();
        chain.begins(0);
        chain.begins(1);
        let token = limited(1, 2);
        for daemon in [0, 1] {
            chain.daemons[daemon].part("gone", &chain.policy).await;
        }
        let login = Login { nas_session: Some("80000001"), ..chain.login(1) };
        let question = Question { login: &login, nas: &chain.nas, policy: &chain.policy };
        let (decision, written) = chain.daemons[1].admit(&token, &question, id(10, 2), at(10), &mut ());
        assert!(matches!(decision, Decision::Allow(_)));
        written.settled().await.unwrap();
        chain.says(0, &token, None, News::Start, 0, 11 - skew).settled().await.unwrap();
        chain.says(0, &token, None, News::Interim, 1500, 1511 - skew).settled().await.unwrap();
        for daemon in [first, 1 - first] {
            chain.daemons[daemon].join();
            compares(&chain, daemon);
            chain.settle();
        }
        for (news, seconds) in [(News::Interim, 1800), (News::Stop, 2000)] {
            let _ = chain.says(0, &token, None, news, seconds, i64::try_from(seconds).unwrap() + 11 - skew);
            chain.settle();
        }
        let account = chain.database.account(1);
        if (account.usage.0, account.sessions().len()) != (2000, 0) {
            wrong.push((first, skew, account.usage.0));
        }
    }
    assert_eq!(wrong, [], "who joined first, how far its clock was behind, and what counts of 2000 s");
}

/// Within one deed a session may end (its device was let in again later) and go on (nobody is there any more): then it is live,
/// And is not kept as ended as well.
#[tokio::test]
async fn a_session_that_goes_on_is_not_kept_as_ended_too() {
    let mut chain = Chain::new();
    let token = limited(1, 2);
    chain.begins_alone(0).await;
    let session = id(1, 77);
    chain.find(0, &token, 1, session, 300, 310).settled().await.unwrap();
    // Elsewhere its device is let in, and does not come.
    let _ = chain.admit(1, &token, 1, 4);
    chain.exchange(1);
    let _ = chain.daemons[1].due(&chain.policy, at(200), &mut |_| Room::Free);
    chain.exchange(1);
    chain.daemons[0].join();
    compares(&chain, 0);
    chain.settle();
    chain.agrees();
}

/// A database that lost its latest commits (a standby that was promoted) goes on with the same numbers.
#[test]
fn a_version_that_came_twice_is_not_taken_for_the_former() {
    let mut chain = Chain::new();
    let token = limited(1, 2);
    let _ = chain.admit(0, &token, 1, 0);
    chain.settle();
    let session = chain.live(0)[0];
    let before = chain.database.rows[&TokenId(1)].clone();
    let _ = chain.report(0, 1, 1, session, News::Interim, 60).unwrap();
    chain.settle();
    // The standby does not have that.
    chain.database.rows.insert(TokenId(1), before);
    // The second daemon has compared, and lets somebody in; the first compares a moment later.
    compares(&chain, 1);
    let (_, written) = chain.admit(1, &token, 2, 100);
    chain.exchange(1);
    assert!(counts(written));
    compares(&chain, 0);
    chain.hear(0);
    let (decision, written) = chain.admit(0, &token, 3, 110);
    chain.exchange(0);
    let twice = matches!(decision, Decision::Allow(_)) && counts(written);
    chain.settle();
    assert!(!twice, "the second place was given away already");
}

/// An account remembers so many sessions that ended; the database keeps all of them.
#[tokio::test]
async fn what_was_acknowledged_counts_though_its_account_has_forgotten_the_session() {
    let mut chain = Chain::new();
    chain.begins(0);
    let token = limited(1, 1000);
    let _ = chain.admit(1, &token, 1, 0);
    chain.settle();
    let session = chain.live(0)[0];
    let _ = chain.report_at(1, 1, session, News::Interim, 60, 60);
    chain.settle();
    chain.daemons[0].part("gone", &chain.policy).await;
    chain.report_at(0, 1, session, News::Interim, 3000, 3000).settled().await.unwrap();
    chain.report_at(0, 1, session, News::Stop, 3500, 3500).settled().await.unwrap();
    // Others do not hear of it.
    let _ = chain.daemons[1].due(&chain.policy, at(2000), &mut |_| Room::Free);
    chain.exchange(1);
    assert_eq!(chain.database.account(1).usage.0, 60);
    // An hour of a conference with one code: each device once.
    for number in 0..520i64 {
        let device = u8::try_from(number % 200 + 20).unwrap();
        chain.next = 0;
        let _ = chain.admit(1, &token, device, 2000 + number);
        let other = *chain.live(1).last().unwrap();
        let _ = chain.report_at(1, device, other, News::Stop, 1, 2001 + number);
        chain.exchange(1);
    }
    chain.daemons[0].join();
    compares(&chain, 0);
    chain.settle();
    assert_eq!(chain.database.account(1).usage.0, 520 + 3500);
}

#[test]
fn what_this_release_cannot_read_stays_in_the_outbox_for_one_that_can() {
    let mut chain = Chain::new();
    chain.begins(0);
    drop(chain.daemons[0].close());
    let file = rusqlite::Connection::open(chain.folders[0].path().join("ledger.db")).unwrap();
    file.execute("INSERT INTO journal VALUES (1000, 1, 0, CAST('{\"event\":\"teleported\"}' AS BLOB))", []).unwrap();
    drop(file);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    for _ in 0..2 {
        let (ledger, owed) = Ledger::shared_from(chain.folders[0].path(), at(0)).unwrap();
        assert_eq!(owed.unreadable, 1);
        ledger.resume(owed, &chain.policy);
        runtime.block_on(ledger.clear()).unwrap();
        assert_eq!(ledger.owed(), 0);
    }
}

/// As `what_was_acknowledged_counts_though_its_account_has_forgotten_the_session`, and another session of the account ends
/// By what was kept before.
#[tokio::test]
async fn a_recalled_session_is_not_pushed_out_before_its_news() {
    let mut chain = Chain::new();
    chain.begins(0);
    let token = limited(1, 1000);
    let _ = chain.admit(1, &token, 1, 0);
    let _ = chain.admit(1, &token, 2, 0);
    chain.settle();
    let (session, second) = (chain.live(0)[0], chain.live(0)[1]);
    let _ = chain.report_at(1, 1, session, News::Interim, 60, 60);
    let _ = chain.report_at(1, 2, second, News::Interim, 60, 60);
    chain.settle();
    chain.daemons[0].part("gone", &chain.policy).await;
    chain.report_at(0, 2, second, News::Stop, 3200, 3200).settled().await.unwrap();
    chain.report_at(0, 1, session, News::Stop, 3500, 3500).settled().await.unwrap();
    // The second is heard of elsewhere, too: it is live there.
    let _ = chain.report_at(1, 2, second, News::Interim, 1900, 1900);
    let _ = chain.daemons[1].due(&chain.policy, at(2000), &mut |_| Room::Free);
    chain.exchange(1);
    assert_eq!(chain.database.account(1).usage.0, 60);
    for number in 0..520i64 {
        let device = u8::try_from(number % 200 + 20).unwrap();
        chain.next = 0;
        let _ = chain.admit(1, &token, device, 2000 + number);
        let other = *chain.live(1).last().unwrap();
        let _ = chain.report_at(1, device, other, News::Stop, 1, 2001 + number);
        chain.exchange(1);
    }
    chain.daemons[0].join();
    compares(&chain, 0);
    chain.settle();
    assert_eq!(chain.database.account(1).usage.0, 520 + 3200 + 3500);
}

/// A device that comes and goes: two of its sessions are reported to the daemon that is apart, and ten others elsewhere.
#[tokio::test]
async fn a_recalled_session_is_not_pushed_out_by_others_of_its_device() {
    let mut chain = Chain::new();
    chain.begins(0);
    let token = limited(1, 2);
    let _ = chain.admit(1, &token, 1, 0);
    chain.settle();
    let session = chain.live(0)[0];
    let _ = chain.report_at(1, 1, session, News::Interim, 60, 60);
    chain.settle();
    chain.daemons[0].part("gone", &chain.policy).await;
    // It logs in anew here, and leaves; the Stop of the former comes late (its router had to repeat it).
    let (_, written) = chain.admit(0, &token, 1, 1000);
    written.settled().await.unwrap();
    let another = chain.live(0)[0];
    assert_ne!(another, session);
    chain.report_at(0, 1, another, News::Stop, 100, 1100).settled().await.unwrap();
    chain.report_at(0, 1, session, News::Stop, 900, 1150).settled().await.unwrap();
    let _ = chain.daemons[1].due(&chain.policy, at(2000), &mut |_| Room::Free);
    chain.exchange(1);
    for number in 0..9i64 {
        let _ = chain.admit(1, &token, 1, 3000 + 10 * number);
        let other = *chain.live(1).last().unwrap();
        let _ = chain.report_at(1, 1, other, News::Stop, 1, 3001 + 10 * number);
        chain.exchange(1);
    }
    assert_eq!(chain.database.account(1).usage.0, 60 + 9);
    chain.daemons[0].join();
    compares(&chain, 0);
    chain.settle();
    assert_eq!(chain.database.account(1).usage.0, 9 + 900 + 100);
}

/// What an outbox refused makes a daemon forget the account while the answer of the database is awaited; should it go again
/// Then, the daemon decides alone on an empty account.
#[tokio::test]
async fn who_is_in_is_not_forgotten_when_the_database_goes_again() {
    let mut chain = Chain::new();
    chain.begins(0);
    let token = limited(1, 1);
    let _ = chain.admit(0, &token, 1, 0);
    chain.settle();
    let session = chain.live(0)[0];
    chain.daemons[0].keep_at_most(1);
    chain.daemons[0].part("gone", &chain.policy).await;
    chain.report_at(0, 1, session, News::Interim, 60, 60).settled().await.unwrap();
    assert!(chain.report_at(0, 1, session, News::Interim, 120, 120).settled().await.is_err());
    assert_eq!(chain.live(0), [session]);
    chain.daemons[0].join();
    let changes = chain.daemons[0].take_changes(9, &chain.policy);
    // The connection breaks.
    changes.iter().for_each(|change| chain.daemons[0].not_swapped(change.token));
    chain.daemons[0].part("gone again", &chain.policy).await;
    assert_eq!(chain.live(0), [session], "who is in is known");
    chain.daemons[0].keep_at_most(1000);
    let (decision, _) = chain.admit(0, &token, 2, 130);
    assert!(matches!(decision, Decision::Deny(_)), "the only place is taken");
}

/// A disk that fails for hours fills no outbox.
#[tokio::test]
async fn an_outbox_that_cannot_be_written_is_not_full() {
    let mut chain = Chain::new();
    chain.begins(0);
    let token = limited(1, 2);
    let _ = chain.admit(0, &token, 1, 0);
    chain.settle();
    let session = chain.live(0)[0];
    chain.daemons[0].keep_at_most(50);
    chain.daemons[0].part("gone", &chain.policy).await;
    chain.daemons[0].outbox_misbehaves("PRAGMA busy_timeout = 0").await;
    let file = rusqlite::Connection::open(chain.folders[0].path().join("ledger.db")).unwrap();
    file.execute_batch("BEGIN IMMEDIATE").unwrap();
    assert!(chain.report_at(0, 1, session, News::Interim, 60, 60).settled().await.is_err());
    for _ in 0..60 {
        // Once a second.
        chain.daemons[0].mend_outbox().await;
    }
    file.execute_batch("ROLLBACK").unwrap();
    chain.daemons[0].mend_outbox().await;
    let count: i64 = file.query_row("SELECT count(*) FROM journal", [], |row| row.get(0)).unwrap();
    let outcome = chain.report_at(0, 1, session, News::Interim, 120, 120).settled().await;
    assert!(outcome.is_ok(), "{count} records are in the file: {outcome:?}");
}

/// The same without any trouble of the disk: one guest of the token reports, another is silent.
#[tokio::test]
async fn who_is_in_is_not_forgotten_after_silence_when_the_database_goes_again() {
    let mut chain = Chain::new();
    chain.begins(0);
    let token = AccessToken { minutes_left: Some(60), minutes_included: Some(60), ..limited(1, 2) };
    let _ = chain.admit(0, &token, 1, 0);
    let _ = chain.admit(0, &token, 2, 0);
    let (first, second) = (id_of(&chain, 1), id_of(&chain, 2));
    let _ = chain.report_at(0, 1, first, News::Interim, 900, 900);
    let _ = chain.report_at(0, 2, second, News::Interim, 900, 900);
    chain.settle();
    chain.daemons[0].part("gone", &chain.policy).await;
    chain.report_at(0, 1, first, News::Interim, 1800, 1800).settled().await.unwrap();
    let _ = chain.daemons[0].due(&chain.policy, at(2000), &mut |_| Room::Free);
    assert_eq!(chain.live(0), [first], "silence has ended the second here");
    chain.daemons[0].join();
    let changes = chain.daemons[0].take_changes(9, &chain.policy);
    // The connection breaks.
    changes.iter().for_each(|change| chain.daemons[0].not_swapped(change.token));
    chain.daemons[0].part("gone again", &chain.policy).await;
    let account = chain.daemons[0].account(TokenId(1)).unwrap_or_default();
    let used = account.usage(&chain.policy, at(2001));
    let (decision, _) = chain.admit(0, &token, 3, 2001);
    let Decision::Allow(grant) = decision else { return };
    assert!(
        grant.session_timeout.0 <= 900 && chain.live(0).contains(&first),
        "of 3600 s two have used 2700; known here are {} s and {:?}, and the third gets {} s",
        used.0,
        chain.live(0),
        grant.session_timeout.0
    );
}

fn id_of(chain: &Chain, device: u8) -> SessionId {
    chain.sessions(0, 1).iter().find(|session| session.device == Some(mac(device))).unwrap().id
}

/// A router's restart is not acknowledged by a daemon whose outbox is full: it closes nothing.
#[tokio::test]
async fn a_restart_that_a_full_outbox_does_not_take_is_not_acknowledged() {
    let mut chain = Chain::new();
    chain.begins(0);
    let _ = chain.admit(0, &limited(1, 1), 1, 0);
    chain.settle();
    let session = chain.live(0)[0];
    let _ = chain.report_at(0, 1, session, News::Interim, 60, 60);
    chain.settle();
    chain.daemons[0].keep_at_most(0);
    chain.daemons[0].part("gone", &chain.policy).await;
    let router = Some([192, 0, 2, 1].into());
    let (closed, written) = chain.daemons[0].restarted(&chain.nas.name, router, at(100), &chain.policy, at(101));
    let outcome = written.settled().await;
    chain.daemons[0].join();
    compares(&chain, 0);
    chain.settle();
    let live = chain.database.account(1).sessions().len();
    assert!(outcome.is_err() || live == 0, "{closed} closed, acknowledged, and {live} live");
}

/// A router without Class and without Acct-Delay-Time says the Stop of a short session again, to another daemon; both are apart.
#[tokio::test]
async fn a_stop_said_again_elsewhere_counts_once() {
    let mut chain = Chain::new();
    (0..2).for_each(|daemon| chain.begins(daemon));
    let token = limited(1, 2);
    for daemon in [0, 1] {
        chain.daemons[daemon].part("gone", &chain.policy).await;
    }
    let login = Login { nas_session: Some("80000001"), ..chain.login(1) };
    let question = Question { login: &login, nas: &chain.nas, policy: &chain.policy };
    let (_, written) = chain.daemons[0].admit(&token, &question, id(10, 2).let_in(), at(10), &mut ());
    written.settled().await.unwrap();
    for (daemon, now) in [(0, 40), (1, 71)] {
        chain.says(daemon, &token, None, News::Stop, 30, now).settled().await.unwrap();
    }
    for daemon in [0, 1] {
        chain.daemons[daemon].join();
        compares(&chain, daemon);
        chain.settle();
    }
    assert_eq!(chain.database.account(1).usage.0, 30);
}

/// While a daemon asks how an account stands since late news of an ended session came, a Stop of another of its sessions comes.
#[test]
fn a_session_is_known_while_late_news_of_another_is_asked_for() {
    let mut chain = Chain::new();
    let token = limited(1, 4);
    let _ = chain.admit(1, &token, 1, 0);
    chain.settle();
    let first = chain.live(1)[0];
    let _ = chain.report_at(1, 1, first, News::Stop, 10, 10);
    chain.exchange(1);
    let _ = chain.admit(1, &token, 2, 20);
    chain.settle();
    let second = id_of(&chain, 2);
    // Another device's session of a code that everybody has: forgotten, and repeated.
    for number in 0..9i64 {
        let _ = chain.admit(1, &token, 1, 3000 + 10 * number);
        let other = *chain.live(1).last().unwrap();
        let _ = chain.report_at(1, 1, other, News::Stop, 1, 3001 + 10 * number);
        chain.exchange(1);
    }
    chain.settle();
    assert!(!chain.daemons[0].knows(TokenId(1), first));
    let _ = chain.find(0, &token, 1, first, 10, 3500);
    assert!(chain.taken(0, 9).is_empty(), "it is over");
    let login = chain.login(2);
    let question = Question { login: &login, nas: &chain.nas, policy: &chain.policy };
    let report = Report { at: at(3600), seconds: Seconds(3500), input_octets: 0, output_octets: 0 };
    let progress = Progress { session: Some((second, token.id)), news: News::Stop, report, unmeasured: false };
    assert!(chain.daemons[0].report(token.id, &question, &progress, at(3600)).is_some(), "it is known");
}
