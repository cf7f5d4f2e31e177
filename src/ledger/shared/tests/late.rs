//! What comes too late, or to an account that others have changed by then.

use super::*;
use crate::core::ident::SessionId;
use crate::core::login::Proof;

fn id(now: i64, number: u8) -> SessionId {
    SessionId::new(at(now), [number; 10])
}

impl Chain {
    /// A report on a session that the daemon does not know, by which it takes the session in.
    fn find(&self, daemon: usize, token: &AccessToken, device: u8, id: SessionId, seconds: u64, now: i64) -> Written {
        let login = self.login(device);
        let question = Question { login: &login, nas: &self.nas, policy: &self.policy };
        let report = Report { at: at(now), seconds: Seconds(seconds), input_octets: 0, output_octets: 0 };
        let progress = Progress { session: Some((id, token.id)), news: News::Interim, report, unmeasured: false };
        let account = Account::default();
        let Decision::Allow(grant) = crate::core::decide::decide(token, &account, &question, at(now), &mut ()) else {
            panic!("nobody else is there");
        };
        let mut session = grant.session(id, token, &question, at(now));
        session.admitted_at = Seconds(seconds).before(at(now));
        assert!(matches!(login.proof, Proof::NotAsked));
        self.daemons[daemon].find(token, &question, session, &progress, at(now)).written
    }

    /// As [`Chain::report`], at another moment than its seconds say.
    fn report_at(&self, daemon: usize, device: u8, session: SessionId, news: News, seconds: u64, now: i64) -> Written {
        let login = self.login(device);
        let question = Question { login: &login, nas: &self.nas, policy: &self.policy };
        let report = Report { at: at(now), seconds: Seconds(seconds), input_octets: 0, output_octets: 0 };
        let progress = Progress { session: Some((session, TokenId(1))), news, report, unmeasured: false };
        self.daemons[daemon].report(TokenId(1), &question, &progress, at(now)).unwrap().written
    }

    fn live(&self, daemon: usize) -> Vec<SessionId> {
        self.sessions(daemon, 1).iter().map(|session| session.id).collect()
    }

    /// Of each token, what its account counts is what its ended sessions do.
    fn agrees(&self) {
        for row in self.database.rows.values() {
            let account = written::read_account(&row.state).unwrap();
            let of = self.database.closed.values().filter(|closed| closed.token == row.token.0);
            let counts: u64 = of.map(|closed| written::read_ended(&closed.payload).unwrap().counts.0).sum();
            assert_eq!(account.usage.0, counts);
            for session in account.sessions() {
                assert!(!self.database.closed.contains_key(&session.id.to_string()), "it is in two places");
            }
        }
    }
}

#[test]
fn news_that_comes_before_the_answer_is_not_lost() {
    let mut chain = Chain::new();
    let _ = chain.admit(0, &limited(1, 2), 1, 0);
    chain.settle();
    let session = chain.live(0)[0];
    let reported = chain.report(0, 1, 1, session, News::Interim, 60).unwrap();
    let changes = chain.daemons[0].take_changes(9);
    let answers: Vec<_> = changes.into_iter().map(|change| (change.token, chain.database.swap(change))).collect();
    // The answer is on its way when another daemon hears of this, and ends the session.
    chain.hear(1);
    let _ = chain.report(1, 1, 1, session, News::Stop, 90).unwrap();
    chain.exchange(1);
    assert!(!chain.daemons[0].is_behind(TokenId(1), 2), "that is what is on its way, or comes back with it");
    assert!(chain.daemons[0].is_behind(TokenId(1), 3));
    chain.hear(0);
    for (token, answer) in answers {
        chain.daemons[0].swapped(token, answer, &chain.policy);
    }
    assert!(counts(reported));
    assert!(chain.live(0).is_empty(), "the session that another ended");
    let _ = chain.admit(0, &limited(1, 2), 2, 100);
    assert_eq!(chain.daemons[0].take_changes(9)[0].version, 3);
}

#[test]
fn a_report_on_a_session_that_was_not_taken_in_is_not_acknowledged() {
    let mut chain = Chain::new();
    let token = limited(1, 2);
    let session = id(0, 77);
    let found = chain.find(0, &token, 1, session, 60, 60);
    let reported = chain.report(0, 1, 1, session, News::Interim, 90).unwrap();
    let (_, written) = chain.admit(1, &token, 2, 60);
    chain.exchange(1);
    assert!(counts(written));
    chain.exchange(0);
    assert!(matches!(outcome(found), Some(Err(Unwritten::Raced))));
    assert!(matches!(outcome(reported), Some(Err(Unwritten::Raced))), "its router says it again");
    chain.settle();
    assert_eq!(chain.database.account(1).sessions().len(), 1);
}

#[tokio::test]
async fn a_login_kept_while_the_database_was_away_ends_no_later_one() {
    for (is_reported, is_counted) in [(false, true), (true, true), (false, false)] {
        let mut chain = Chain::new();
        chain.nas.accounting = is_counted;
        chain.begins(0);
        let token = limited(1, 2);
        chain.daemons[0].part("gone").await;
        let (_, written) = chain.admit(0, &token, 1, 10);
        written.settled().await.unwrap();
        let earlier = chain.live(0)[0];
        if is_reported {
            chain.report_at(0, 1, earlier, News::Interim, 5, 15).settled().await.unwrap();
        }
        // The same device at the same moment as far as its guest can tell, but a little later.
        let (_, written) = chain.admit(1, &token, 1, 20);
        let later = chain.live(1)[0];
        chain.exchange(1);
        assert!(counts(written));
        chain.joins(0);
        chain.settle();
        for daemon in 0..3 {
            assert_eq!(chain.live(daemon), [later], "{is_reported} {is_counted}");
        }
        let counted = if !is_counted {
            10
        } else if is_reported {
            5
        } else {
            0
        };
        assert_eq!(chain.database.account(1).usage.0, counted);
        chain.agrees();
        // Nor after a restart in the middle.
        chain.begins(0);
        chain.settle();
        assert_eq!((chain.live(0), chain.database.account(1).usage.0), (vec![later], counted));
    }
}

#[test]
fn a_session_began_when_its_name_says_whatever_its_router_counts() {
    let mut chain = Chain::new();
    let token = limited(1, 2);
    let (_, written) = chain.admit(1, &token, 1, 20);
    chain.settle();
    assert!(counts(written));
    // A counter that runs too fast makes no session of it that was there first; nor a slow one a later one.
    let _ = chain.find(0, &token, 2, id(30, 77), 25, 40);
    let _ = chain.find(0, &token, 3, id(30, 78), 1, 40);
    let began = |device: u8| {
        let sessions = chain.sessions(0, 1);
        sessions.iter().find(|session| session.device == Some(mac(device))).unwrap().admitted_at
    };
    assert_eq!((began(2), began(3)), (at(30), at(30)));
}

#[tokio::test]
async fn a_session_that_goes_on_after_all_is_not_kept_as_ended() {
    let mut chain = Chain::new();
    chain.begins(0);
    let _ = chain.admit(0, &limited(1, 2), 1, 0);
    chain.settle();
    let session = chain.live(0)[0];
    let _ = chain.report(0, 1, 1, session, News::Interim, 60).unwrap();
    let router = Some([192, 0, 2, 1].into());
    let _ = chain.daemons[0].restarted(&chain.nas.name, router, at(70), &chain.policy, at(70));
    chain.settle();
    assert_eq!(chain.database.closed.len(), 1);
    chain.daemons[0].part("gone").await;
    for seconds in [100, 130, 160] {
        chain.report(0, 1, 1, session, News::Interim, seconds).unwrap().settled().await.unwrap();
    }
    assert_eq!(chain.daemons[0].owed(), 1);
    chain.joins(0);
    chain.settle();
    assert_eq!((chain.live(1), chain.database.closed.len()), (vec![session], 0));
    chain.agrees();
}

#[tokio::test]
async fn what_a_session_counts_at_last_is_what_is_kept_of_it() {
    let mut chain = Chain::new();
    chain.begins(0);
    let _ = chain.admit(0, &limited(1, 2), 1, 0);
    chain.settle();
    let session = chain.live(0)[0];
    chain.daemons[0].part("gone").await;
    chain.report_at(0, 1, session, News::Interim, 5, 5).settled().await.unwrap();
    let (_, written) = chain.admit(0, &limited(1, 2), 1, 10);
    written.settled().await.unwrap();
    // It comes late, of the session that its device left.
    chain.report_at(0, 1, session, News::Interim, 9, 11).settled().await.unwrap();
    chain.joins(0);
    chain.settle();
    assert_eq!(chain.database.account(1).usage.0, 9);
    chain.agrees();
}

#[tokio::test]
async fn what_was_handed_on_counts_once_though_the_account_has_forgotten_the_sessions() {
    for is_away_at_start in [false, true] {
        let mut chain = Chain::new();
        chain.begins(0);
        let token = limited(1, 2);
        chain.daemons[0].part("gone").await;
        for number in 0..12i64 {
            let (decision, written) = chain.admit(0, &token, 1, number * 20);
            assert!(matches!(decision, Decision::Allow(_)));
            written.settled().await.unwrap();
            let session = *chain.live(0).last().unwrap();
            chain.report_at(0, 1, session, News::Stop, 10, number * 20 + 10).settled().await.unwrap();
        }
        chain.joins(0);
        chain.settle();
        assert_eq!((chain.database.account(1).usage.0, chain.database.closed.len()), (120, 12));
        // It dies before it has cleared what it kept.
        if is_away_at_start {
            chain.begins_alone(0).await;
            let (_, written) = chain.admit(0, &token, 1, 300);
            written.settled().await.unwrap();
            chain.joins(0);
        } else {
            chain.begins(0);
        }
        chain.settle();
        assert_eq!(chain.database.account(1).usage.0, 120);
        assert_eq!(chain.database.account(1).sessions().len(), usize::from(is_away_at_start));
        assert_eq!(chain.daemons[0].owed(), 0);
        chain.agrees();
        let rows = chain.database.rows.clone();
        chain.daemons[0].clear().await.unwrap();
        chain.begins(0);
        chain.settle();
        assert_eq!(chain.database.rows, rows);
    }
}

#[tokio::test]
async fn an_outbox_that_is_full_takes_nothing_and_says_so() {
    let mut chain = Chain::new();
    chain.begins(0);
    let _ = chain.admit(0, &limited(1, 2), 1, 0);
    chain.settle();
    let session = chain.live(0)[0];
    chain.daemons[0].keep_at_most(2);
    chain.daemons[0].part("gone").await;
    for seconds in [10, 20] {
        chain.report(0, 1, 1, session, News::Interim, seconds).unwrap().settled().await.unwrap();
    }
    for seconds in [30, 40] {
        let refused = chain.report(0, 1, 1, session, News::Interim, seconds).unwrap();
        assert!(refused.settled().await.is_err());
    }
    assert!(chain.daemons[0].trouble().unwrap().contains("the outbox is full"));
    let (_, written) = chain.admit(0, &limited(2, 2), 2, 50);
    assert!(written.settled().await.is_err());
    assert_eq!(chain.daemons[0].owed(), 1);
    chain.joins(0);
    // What it compares once the database is back.
    for token in [1, 2].map(TokenId) {
        let row = chain.database.rows.get(&token).cloned();
        let there = row.into_iter().filter(|row| chain.daemons[0].is_behind(token, row.version));
        there.for_each(|row| chain.daemons[0].heard(&row, &chain.policy));
    }
    chain.settle();
    assert_eq!(chain.database.account(1).sessions()[0].reported.map(|report| report.seconds.0), Some(20));
    assert_eq!(chain.daemons[0].account(TokenId(1)), Some(chain.database.account(1)));
    chain.daemons[0].clear().await.unwrap();
    assert_eq!(chain.daemons[0].owed(), 0);
}
