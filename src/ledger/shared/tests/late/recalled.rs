//! News of sessions that have ended and are forgotten, and what was handed on, refused or displaced meanwhile.

mod pending;

use super::apart::compares;
use super::*;

impl Chain {
    /// A Stop by our own name of a session, of whatever daemon; the daemon takes it in if it does not know it.
    fn stops(
        &self,
        daemon: usize,
        token: &AccessToken,
        device: u8,
        ours: SessionId,
        seconds: u64,
        now: i64,
    ) -> Written {
        let login = self.login(device);
        let question = Question { login: &login, nas: &self.nas, policy: &self.policy };
        let report = Report { at: at(now), seconds: Seconds(seconds), input_octets: 0, output_octets: 0 };
        let progress = Progress { session: Some((ours, token.id)), news: News::Stop, report, unmeasured: false };
        if let Some(reported) = self.daemons[daemon].report(token.id, &question, &progress, at(now)) {
            return reported.written;
        }
        let session = question.session(ours, token, Seconds(seconds).before(at(now)));
        self.daemons[daemon].find(token, &question, session, &progress, at(now)).written
    }

    /// A session of the first device that a daemon lets in, and that ends, `count` times.
    fn comes_and_goes(&mut self, daemon: usize, token: &AccessToken, device: u8, count: i64, from: i64) {
        for number in 0..count {
            let _ = self.admit(daemon, token, device, from + 10 * number);
            let other = *self.live(daemon).last().unwrap();
            let _ = self.report_at(daemon, device, other, News::Stop, 1, from + 1 + 10 * number);
            self.exchange(daemon);
        }
    }

    /// A session of the first device that counts 60 s by silence, and that its account has forgotten everywhere.
    fn forgotten(&mut self, token: &AccessToken) -> SessionId {
        let _ = self.admit(1, token, 1, 0);
        self.settle();
        let session = self.live(1)[0];
        let _ = self.report_at(1, 1, session, News::Interim, 60, 60);
        self.settle();
        let _ = self.daemons[1].due(&self.policy, at(2000), &mut |_| Room::Free);
        self.settle();
        self.comes_and_goes(1, token, 1, 8, 3000);
        self.settle();
        assert!((0..3).all(|daemon| !self.daemons[daemon].knows(TokenId(1), session)));
        assert_eq!(self.database.account(1).usage.0, 68);
        session
    }
}

/// The answer to the change that has late news of a forgotten session is lost, and its device comes once more elsewhere.
#[test]
fn news_of_a_recalled_session_counts_once_though_the_answer_was_lost() {
    let mut chain = Chain::new();
    let token = limited(1, 2);
    let session = chain.forgotten(&token);
    let written = chain.stops(0, &token, 1, session, 3500, 3600);
    assert!(chain.taken(0, 9).is_empty(), "it is over");
    chain.exchange(0);
    for change in chain.taken(0, 9) {
        let token = change.token;
        assert_eq!(chain.database.swap(change), Swapped::Done);
        chain.daemons[0].not_swapped(token);
    }
    assert_eq!(chain.database.account(1).usage.0, 68 + 3440);
    chain.hear(1);
    chain.comes_and_goes(1, &token, 1, 1, 4000);
    assert_eq!(chain.database.account(1).usage.0, 68 + 3440 + 1);
    chain.settle();
    assert!(counts(written));
    let usage = chain.database.account(1).usage.0;
    chain.agrees();
    assert_eq!(usage, 68 + 3440 + 1);
}

/// Two daemons have the same late Stop: its router did not get the first answer.
#[tokio::test]
async fn news_of_a_recalled_session_that_two_daemons_have_counts_once() {
    let mut chain = Chain::new();
    chain.begins(0);
    let token = limited(1, 2);
    let session = chain.forgotten(&token);
    chain.daemons[0].part("gone", &chain.policy).await;
    chain.stops(0, &token, 1, session, 3500, 3600).settled().await.unwrap();
    chain.daemons[0].join();
    // It asks whether that is over, hears yes, and the link breaks again.
    assert!(chain.taken(0, 9).is_empty());
    chain.daemons[0].part("gone again", &chain.policy).await;
    let written = chain.stops(1, &token, 1, session, 3500, 3600);
    for _ in 0..3 {
        chain.exchange(1);
    }
    assert!(counts(written));
    assert_eq!(chain.database.account(1).usage.0, 68 + 3440);
    chain.comes_and_goes(1, &token, 1, 1, 4000);
    chain.daemons[0].join();
    compares(&chain, 0);
    chain.settle();
    assert_eq!(chain.database.account(1).usage.0, 68 + 3440 + 1);
}

/// A router begins anew, and its word comes to a daemon that has just joined, whose copy of the account is unlearnt.
#[tokio::test]
async fn a_restart_that_is_acknowledged_closes_what_an_unlearnt_account_has() {
    let mut chain = Chain::new();
    chain.begins(0);
    let token = limited(1, 2);
    let _ = chain.admit(0, &token, 1, 0);
    let _ = chain.admit(0, &token, 2, 0);
    chain.settle();
    let first = chain.sessions(0, 1).iter().find(|session| session.device == Some(mac(1))).unwrap().id;
    let second = chain.sessions(0, 1).iter().find(|session| session.device == Some(mac(2))).unwrap().id;
    let _ = chain.report_at(0, 1, first, News::Interim, 900, 900);
    let _ = chain.report_at(0, 2, second, News::Interim, 900, 900);
    chain.settle();
    chain.daemons[0].part("gone", &chain.policy).await;
    chain.report_at(0, 1, first, News::Interim, 1800, 1800).settled().await.unwrap();
    let _ = chain.daemons[0].due(&chain.policy, at(2000), &mut |_| Room::Free);
    chain.daemons[0].join();
    let router = Some([192, 0, 2, 1].into());
    let (closed, written) = chain.daemons[0].restarted(&chain.nas.name, router, at(2010), &chain.policy, at(2011));
    // It hands on before everything is compared.
    (0..3).for_each(|_| chain.exchange(0));
    compares(&chain, 0);
    chain.settle();
    let outcome = outcome(written);
    assert_eq!(closed, 1);
    let is_live = chain.live(1).contains(&first);
    assert!(!matches!(outcome, Some(Ok(()))) || !is_live, "{outcome:?}, and the first is live");
}

/// The same while late news of another session of the account is asked for; no outage at all.
#[test]
fn a_restart_that_is_acknowledged_closes_what_is_there_while_late_news_is_asked_for() {
    let mut chain = Chain::new();
    let token = limited(1, 4);
    let session = chain.forgotten(&token);
    let _ = chain.admit(0, &token, 2, 3500);
    chain.settle();
    let second = chain.live(0)[0];
    let _ = chain.report_at(0, 2, second, News::Interim, 60, 3560);
    chain.settle();
    let _ = chain.stops(0, &token, 1, session, 3500, 3600);
    let changes = chain.daemons[0].take_changes(9, &chain.policy);
    // While the database is asked which are over.
    let router = Some([192, 0, 2, 1].into());
    let (closed, written) = chain.daemons[0].restarted(&chain.nas.name, router, at(3610), &chain.policy, at(3611));
    for change in changes {
        let over = chain.database.over(&change);
        assert!(!over.is_empty());
        chain.daemons[0].are_over(change.token, &over);
    }
    chain.settle();
    let outcome = outcome(written);
    let live = chain.database.account(1).sessions().len();
    assert!(!matches!(outcome, Some(Ok(()))) || live == 0, "{closed} closed, {outcome:?}, and {live} live");
}

/// What waits when the database goes is told by what the outbox took: all of it.
#[tokio::test]
async fn a_restart_that_waits_when_the_database_goes_is_not_acknowledged_by_a_full_outbox() {
    let mut chain = Chain::new();
    chain.begins(0);
    let _ = chain.admit(0, &limited(1, 1), 1, 0);
    chain.settle();
    let session = chain.live(0)[0];
    let _ = chain.report_at(0, 1, session, News::Interim, 60, 60);
    chain.settle();
    chain.daemons[0].keep_at_most(0);
    let router = Some([192, 0, 2, 1].into());
    let (closed, written) = chain.daemons[0].restarted(&chain.nas.name, router, at(100), &chain.policy, at(101));
    chain.daemons[0].part("gone", &chain.policy).await;
    let outcome = written.settled().await;
    chain.daemons[0].join();
    compares(&chain, 0);
    chain.settle();
    let live = chain.database.account(1).sessions().len();
    assert!(outcome.is_err() || live == 0, "{closed} closed, acknowledged, and {live} live");
}

/// The same, where the disk fails.
#[tokio::test]
async fn a_restart_that_waits_when_the_database_goes_is_not_acknowledged_by_a_disk_that_fails() {
    let mut chain = Chain::new();
    chain.begins(0);
    let _ = chain.admit(0, &limited(1, 1), 1, 0);
    chain.settle();
    let session = chain.live(0)[0];
    let _ = chain.report_at(0, 1, session, News::Interim, 60, 60);
    chain.settle();
    chain.daemons[0].outbox_misbehaves("PRAGMA busy_timeout = 0").await;
    let file = rusqlite::Connection::open(chain.folders[0].path().join("ledger.db")).unwrap();
    file.execute_batch("BEGIN IMMEDIATE").unwrap();
    let router = Some([192, 0, 2, 1].into());
    let (closed, written) = chain.daemons[0].restarted(&chain.nas.name, router, at(100), &chain.policy, at(101));
    chain.daemons[0].part("gone", &chain.policy).await;
    let outcome = written.settled().await;
    file.execute_batch("ROLLBACK").unwrap();
    drop(file);
    // It dies: nothing of that is anywhere.
    chain.begins(0);
    chain.settle();
    let live = chain.database.account(1).sessions().len();
    assert!(outcome.is_err() || live == 0, "{closed} closed, acknowledged, and {live} live");
}

/// The cluster gives a try of a second: a disk that takes longer to fail.
#[tokio::test]
async fn an_outbox_that_fails_slowly_is_not_full() {
    let mut chain = Chain::new();
    chain.begins(0);
    let token = limited(1, 2);
    let _ = chain.admit(0, &token, 1, 0);
    chain.settle();
    let session = chain.live(0)[0];
    chain.daemons[0].keep_at_most(50);
    chain.daemons[0].part("gone", &chain.policy).await;
    chain.daemons[0].outbox_misbehaves("PRAGMA busy_timeout = 300").await;
    let file = rusqlite::Connection::open(chain.folders[0].path().join("ledger.db")).unwrap();
    file.execute_batch("BEGIN IMMEDIATE").unwrap();
    assert!(chain.report_at(0, 1, session, News::Interim, 60, 60).settled().await.is_err());
    for _ in 0..60 {
        // As the cluster's timeout does, sooner.
        let mut mending = Box::pin(chain.daemons[0].mend_outbox());
        std::future::poll_fn(|context| std::task::Poll::Ready(mending.as_mut().poll(context).is_ready())).await;
    }
    // What was queued has failed by then.
    assert!(chain.daemons[0].all_written().settled().await.is_err());
    file.execute_batch("ROLLBACK").unwrap();
    chain.daemons[0].mend_outbox().await;
    let count: i64 = file.query_row("SELECT count(*) FROM journal", [], |row| row.get(0)).unwrap();
    let outcome = chain.report_at(0, 1, session, News::Interim, 120, 120).settled().await;
    assert!(outcome.is_ok(), "{count} records are in the file: {outcome:?}");
}

/// A place that another daemon gave away meanwhile is not given away by who displaces a session that is over.
#[test]
fn who_displaces_a_session_that_is_over_is_decided_anew() {
    let mut chain = Chain::new();
    chain.policy.on_user_limit = crate::core::policy::OnUserLimit::ReplaceOldest;
    let token = AccessToken { minutes_left: Some(900), minutes_included: Some(900), ..limited(1, 1) };
    let _ = chain.admit(1, &token, 1, 0);
    chain.settle();
    let session = chain.live(1)[0];
    let _ = chain.report_at(1, 1, session, News::Interim, 60, 60);
    let _ = chain.daemons[1].due(&chain.policy, at(2000), &mut |_| Room::Free);
    chain.settle();
    for number in 0..520i64 {
        chain.next = 0;
        chain.comes_and_goes(1, &token, u8::try_from(number % 200 + 20).unwrap(), 1, 2000 + 2 * number);
    }
    chain.settle();
    assert!(!chain.daemons[0].knows(TokenId(1), session));
    // The first daemon is told by a late report of a session that it does not know any more.
    let _ = chain.find(0, &token, 1, session, 3500, 3600);
    assert_eq!(chain.live(0), [session]);
    let (decision, theirs) = chain.admit(0, &token, 2, 3601);
    assert!(matches!(decision, Decision::Allow(grant) if grant.displaces == [session]));
    // Another daemon lets a third device in.
    let (decision, others) = chain.admit(1, &token, 3, 3601);
    assert!(matches!(decision, Decision::Allow(_)));
    chain.exchange(1);
    assert!(counts(others));
    chain.settle();
    let account = chain.database.account(1);
    let holding: Vec<_> =
        account.sessions().iter().filter(|session| session.ending.is_none()).map(|session| session.device).collect();
    let both = holding.contains(&Some(mac(2))) && holding.contains(&Some(mac(3)));
    assert!(!both, "{holding:?} hold the one place; the second was told {:?}", outcome(theirs));
}

/// A session authenticates again at a daemon that is apart; later its token is gone, and it must go.
#[tokio::test]
async fn who_must_go_is_not_let_stay_by_what_was_kept_before() {
    let mut chain = Chain::new();
    chain.begins(0);
    chain.policy.on_user_limit = crate::core::policy::OnUserLimit::ReplaceOldest;
    let token = limited(1, 1);
    let login = Login { nas_session: Some("80000001"), ..chain.login(1) };
    let question = Question { login: &login, nas: &chain.nas, policy: &chain.policy };
    let _ = chain.daemons[0].admit(&token, &question, id(0, 1).let_in(), at(0), &mut ());
    chain.settle();
    let session = chain.live(0)[0];
    let login = Login { nas_session: Some("80000001"), ..chain.login(1) };
    let question = Question { login: &login, nas: &chain.nas, policy: &chain.policy };
    chain.daemons[0].part("gone", &chain.policy).await;
    let (decision, written) = chain.daemons[0].admit(&token, &question, id(10, 2).let_in(), at(10), &mut ());
    assert!(matches!(decision, Decision::Allow(grant) if grant.renews == Some(session)));
    written.settled().await.unwrap();
    // Elsewhere another takes its place, ten minutes later.
    let _ = chain.report_at(1, 1, session, News::Interim, 590, 590);
    let (decision, written) = chain.admit(1, &token, 2, 600);
    assert!(matches!(decision, Decision::Allow(grant) if grant.displaces == [session]));
    chain.exchange(1);
    assert!(counts(written));
    chain.daemons[0].join();
    compares(&chain, 0);
    chain.settle();
    let account = chain.database.account(1);
    let holding: Vec<_> =
        account.sessions().iter().filter(|session| session.holds_place()).map(|session| session.device).collect();
    assert!(holding.len() <= 1, "{holding:?} hold the one place");
}

/// What was kept is handed on once more: accounts do not grow by it.
#[tokio::test]
async fn an_account_remembers_no_more_sessions_for_being_told_of_them_again() {
    let mut chain = Chain::new();
    chain.begins(0);
    let token = limited(1, 2);
    chain.daemons[0].part("gone", &chain.policy).await;
    for number in 0..60i64 {
        chain.next = u8::try_from(number).unwrap();
        let (_, written) = chain.admit(0, &token, 1, number * 20);
        written.settled().await.unwrap();
        let session = *chain.live(0).last().unwrap();
        chain.report_at(0, 1, session, News::Stop, 10, number * 20 + 10).settled().await.unwrap();
    }
    chain.daemons[0].join();
    chain.settle();
    assert_eq!(chain.database.account(1).ended().len(), 8);
    // It dies before it has cleared what it kept.
    chain.begins(0);
    chain.settle();
    assert_eq!(chain.database.account(1).usage.0, 600);
    let remembered = chain.database.account(1).ended().len();
    chain.comes_and_goes(1, &token, 1, 20, 5000);
    let later = chain.database.account(1).ended().len();
    assert!(remembered <= 8, "{remembered} of one device are remembered, and {later} after 20 more");
}

/// A login that is withdrawn since the database goes: its guest is in by the next try, and known to others by what its router says.
#[tokio::test]
async fn a_login_that_was_withdrawn_ends_nobody_elses_session() {
    let mut chain = Chain::new();
    chain.begins(0);
    let token = limited(1, 2);
    let login = Login { nas_session: Some("80000001"), ..chain.login(1) };
    let question = Question { login: &login, nas: &chain.nas, policy: &chain.policy };
    let (_, written) = chain.daemons[0].admit(&token, &question, id(0, 1).let_in(), at(0), &mut ());
    chain.daemons[0].part("gone", &chain.policy).await;
    assert!(matches!(written.settled().await, Err(Unwritten::Raced)));
    let (_, written) = chain.daemons[0].admit(&token, &question, id(0, 2).let_in(), at(0), &mut ());
    written.settled().await.unwrap();
    // Its router echoes no Class, and has the other daemon for accounting.
    for seconds in [0, 300, 600, 900] {
        let written = chain.says(
            1,
            &token,
            None,
            if seconds == 0 { News::Start } else { News::Interim },
            seconds,
            i64::try_from(seconds).unwrap() + 1,
        );
        chain.exchange(1);
        assert!(counts(written));
    }
    assert_eq!(chain.live(1).len(), 1);
    chain.daemons[0].join();
    compares(&chain, 0);
    chain.settle();
    assert_eq!(chain.database.account(1).sessions().len(), 1, "its guest is online");
}

/// A session that a router's restart had closed went on after all; both are handed on once more.
#[tokio::test]
async fn what_is_handed_on_once_more_ends_nobody() {
    let mut chain = Chain::new();
    chain.begins(0);
    let token = limited(1, 1);
    let _ = chain.admit(0, &token, 1, 0);
    chain.settle();
    let session = chain.live(0)[0];
    chain.daemons[0].part("gone", &chain.policy).await;
    chain.report_at(0, 1, session, News::Interim, 60, 60).settled().await.unwrap();
    let router = Some([192, 0, 2, 1].into());
    let (_, written) = chain.daemons[0].restarted(&chain.nas.name, router, at(70), &chain.policy, at(70));
    written.settled().await.unwrap();
    chain.report_at(0, 1, session, News::Interim, 300, 300).settled().await.unwrap();
    chain.daemons[0].join();
    chain.settle();
    assert_eq!(chain.live(1), [session]);
    // It is killed before it has cleared what it kept.
    chain.begins(0);
    chain.settle();
    assert_eq!(chain.live(1), [session], "it goes on");
}

/// Of two sessions that a restart closes, one is over and forgotten elsewhere.
#[test]
fn a_restart_closes_the_others_where_one_is_over_already() {
    let mut chain = Chain::new();
    let token = limited(1, 4);
    let _ = chain.admit(1, &token, 1, 0);
    let _ = chain.admit(1, &token, 2, 0);
    chain.settle();
    let first = chain.sessions(1, 1).iter().find(|session| session.device == Some(mac(1))).unwrap().id;
    let second = chain.sessions(1, 1).iter().find(|session| session.device == Some(mac(2))).unwrap().id;
    let _ = chain.report_at(1, 1, first, News::Interim, 10, 10);
    let _ = chain.report_at(1, 2, second, News::Interim, 10, 10);
    chain.settle();
    // The first daemon is deaf for a moment.
    let _ = chain.report_at(1, 1, first, News::Stop, 20, 20);
    chain.exchange(1);
    chain.comes_and_goes(1, &token, 1, 8, 30);
    let router = Some([192, 0, 2, 1].into());
    let (closed, written) = chain.daemons[0].restarted(&chain.nas.name, router, at(200), &chain.policy, at(200));
    chain.settle();
    let outcome = outcome(written);
    let live = chain.database.account(1).sessions().len();
    assert!(!matches!(outcome, Some(Ok(()))) || live == 0, "{closed} closed, {outcome:?}, and {live} live");
}

/// As `a_version_that_came_twice_is_not_taken_for_the_former`, with clocks that are not quite the same.
#[test]
fn a_version_that_came_twice_by_clocks_that_differ_is_not_taken_for_the_former() {
    let mut chain = Chain::new();
    let token = limited(1, 2);
    // The third daemon's clock is a second ahead.
    let _ = chain.admit(2, &token, 1, 101);
    chain.settle();
    let session = chain.live(0)[0];
    let before = chain.database.rows[&TokenId(1)].clone();
    let _ = chain.report_at(0, 1, session, News::Interim, 60, 100);
    chain.settle();
    // The standby does not have that.
    chain.database.rows.insert(TokenId(1), before);
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
    assert!(!twice, "the second place was given away already; live: {}", chain.database.account(1).sessions().len());
}

/// What a later release kept of a session that ended cannot be read by this one: what is said of it is not acknowledged, or counts.
#[test]
fn news_of_a_session_whose_end_cannot_be_read_is_not_acknowledged() {
    let mut chain = Chain::new();
    let token = limited(1, 2);
    let session = chain.forgotten(&token);
    let closed = chain.database.closed.get_mut(&session.to_string()).unwrap();
    closed.payload = b"{\"session\":{\"of\":\"a later release\"}}".to_vec();
    let written = chain.stops(0, &token, 1, session, 3500, 3600);
    chain.settle();
    let usage = chain.database.account(1).usage.0;
    let outcome = outcome(written);
    assert!(usage == 68 + 3440 || !matches!(outcome, Some(Ok(()))), "{outcome:?}, and {usage} s count");
}

/// A session that what was kept ends, and pushes out, before it speaks of it: its device came and went often meanwhile.
#[tokio::test]
async fn a_session_that_is_pushed_out_by_what_was_kept_counts_once() {
    let mut chain = Chain::new();
    let token = limited(1, 2);
    let _ = chain.admit(0, &token, 1, 0);
    chain.exchange(0);
    let session = chain.live(0)[0];
    let _ = chain.report_at(0, 1, session, News::Interim, 60, 60);
    chain.exchange(0);
    chain.begins_alone(1).await;
    for number in 0..10i64 {
        let (_, written) = chain.admit(1, &token, 1, 100 + 10 * number);
        written.settled().await.unwrap();
        let other = *chain.live(1).last().unwrap();
        chain.report_at(1, 1, other, News::Stop, 1, 101 + 10 * number).settled().await.unwrap();
    }
    // Its router has repeated this for long.
    chain.stops(1, &token, 1, session, 90, 300).settled().await.unwrap();
    chain.daemons[1].join();
    compares(&chain, 1);
    chain.settle();
    assert_eq!(chain.database.account(1).usage.0, 90 + 10);
    chain.agrees();
}
