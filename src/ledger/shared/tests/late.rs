//! What comes too late, or to an account that others have changed by then.

mod apart;
mod forgone;
mod recalled;
mod restarted;
mod world;

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
    let changes = chain.daemons[0].take_changes(9, &chain.policy);
    let sent = changes[0].becomes;
    let answers: Vec<_> = changes.into_iter().map(|change| (change.token, chain.database.swap(change))).collect();
    // The answer is on its way when another daemon hears of this, and ends the session.
    chain.hear(1);
    let _ = chain.report(1, 1, 1, session, News::Stop, 90).unwrap();
    chain.exchange(1);
    let version = chain.database.rows[&TokenId(1)].version;
    assert!(!chain.daemons[0].is_behind(TokenId(1), sent), "that is what is on its way, or comes back with it");
    assert!(chain.daemons[0].is_behind(TokenId(1), version));
    chain.hear(0);
    for (token, answer) in answers {
        chain.daemons[0].swapped(token, answer, &chain.policy);
    }
    assert!(counts(reported));
    assert!(chain.live(0).is_empty(), "the session that another ended");
    let _ = chain.admit(0, &limited(1, 2), 2, 100);
    assert_eq!(chain.daemons[0].take_changes(9, &chain.policy)[0].version, version);
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
        chain.daemons[0].part("gone", &chain.policy).await;
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
        chain.daemons[0].join();
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
    chain.daemons[0].part("gone", &chain.policy).await;
    for seconds in [100, 130, 160] {
        chain.report(0, 1, 1, session, News::Interim, seconds).unwrap().settled().await.unwrap();
    }
    assert_eq!(chain.daemons[0].owed(), 1);
    chain.daemons[0].join();
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
    chain.daemons[0].part("gone", &chain.policy).await;
    chain.report_at(0, 1, session, News::Interim, 5, 5).settled().await.unwrap();
    let (_, written) = chain.admit(0, &limited(1, 2), 1, 10);
    written.settled().await.unwrap();
    // It comes late, of the session that its device left.
    chain.report_at(0, 1, session, News::Interim, 9, 11).settled().await.unwrap();
    chain.daemons[0].join();
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
        chain.daemons[0].part("gone", &chain.policy).await;
        for number in 0..12i64 {
            let (decision, written) = chain.admit(0, &token, 1, number * 20);
            assert!(matches!(decision, Decision::Allow(_)));
            written.settled().await.unwrap();
            let session = *chain.live(0).last().unwrap();
            chain.report_at(0, 1, session, News::Stop, 10, number * 20 + 10).settled().await.unwrap();
        }
        chain.daemons[0].join();
        chain.settle();
        assert_eq!((chain.database.account(1).usage.0, chain.database.closed.len()), (120, 12));
        // It dies before it has cleared what it kept.
        if is_away_at_start {
            chain.begins_alone(0).await;
            let (_, written) = chain.admit(0, &token, 1, 300);
            written.settled().await.unwrap();
            chain.daemons[0].join();
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
    chain.daemons[0].part("gone", &chain.policy).await;
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
    chain.daemons[0].join();
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

#[tokio::test]
async fn a_report_that_comes_late_takes_nothing_from_a_later_one() {
    let mut chain = Chain::new();
    chain.begins(0);
    let _ = chain.admit(0, &limited(1, 2), 1, 0);
    chain.settle();
    let session = chain.live(0)[0];
    chain.daemons[0].part("gone", &chain.policy).await;
    for seconds in [600, 300] {
        chain.report(0, 1, 1, session, News::Interim, seconds).unwrap().settled().await.unwrap();
    }
    let (_, written) = chain.admit(1, &limited(1, 2), 2, 100);
    chain.exchange(1);
    assert!(counts(written));
    chain.daemons[0].join();
    chain.settle();
    let account = chain.database.account(1);
    let of_it = account.sessions().iter().find(|known| known.id == session).unwrap();
    assert_eq!(of_it.reported.map(|report| report.seconds), Some(Seconds(600)));
}

#[test]
fn an_account_that_begins_anew_is_at_no_version_of_the_former() {
    let mut chain = Chain::new();
    let token = limited(1, 1);
    let _ = chain.admit(0, &token, 1, 0);
    chain.settle();
    let session = chain.live(0)[0];
    let _ = chain.report(0, 1, 1, session, News::Stop, 50).unwrap();
    chain.settle();
    // The daemon that leads forgets it, of which another does not hear.
    chain.database.rows.remove(&TokenId(1));
    chain.daemons[0].gone(TokenId(1), None);
    let _ = chain.admit(0, &token, 2, 1000);
    chain.exchange(0);
    let session = chain.live(0)[0];
    let reported = chain.report_at(0, 2, session, News::Interim, 60, 1060);
    chain.exchange(0);
    assert!(counts(reported));
    let (_, written) = chain.admit(1, &token, 3, 1100);
    chain.exchange(1);
    assert!(matches!(outcome(written), Some(Err(Unwritten::Raced))));
    let (decision, _) = chain.admit(1, &token, 3, 1100);
    assert!(matches!(decision, Decision::Deny(_)));
    chain.settle();
    assert_eq!(chain.live(2), [session]);
}

#[tokio::test]
async fn what_a_token_gave_then_is_not_what_it_gives_now() {
    let mut chain = Chain::new();
    chain.begins(0);
    let prolonged = |to| AccessToken { valid_to: Some(at(to)), ..limited(1, 3) };
    chain.daemons[0].part("gone", &chain.policy).await;
    let (_, written) = chain.admit(0, &prolonged(3600), 1, 10);
    written.settled().await.unwrap();
    let (_, written) = chain.admit(1, &prolonged(100_000), 2, 1000);
    chain.exchange(1);
    assert!(counts(written));
    chain.daemons[0].join();
    chain.settle();
    let account = chain.database.account(1);
    assert_eq!((account.terms().unwrap().valid_to, account.sessions().len()), (Some(at(100_000)), 2));
}

#[tokio::test]
async fn an_earlier_login_does_not_come_back_once_the_later_one_has_ended() {
    for (is_counted, usage) in [(true, 10), (false, 20)] {
        let mut chain = Chain::new();
        chain.nas.accounting = is_counted;
        chain.begins(0);
        let token = limited(1, 1);
        chain.daemons[0].part("gone", &chain.policy).await;
        let (_, written) = chain.admit(0, &token, 1, 10);
        written.settled().await.unwrap();
        let _ = chain.admit(1, &token, 1, 20);
        let later = chain.live(1)[0];
        chain.exchange(1);
        let _ = chain.report_at(1, 1, later, News::Stop, 10, 30);
        chain.exchange(1);
        chain.daemons[0].join();
        chain.settle();
        assert_eq!((chain.live(1).len(), chain.database.account(1).usage.0), (0, usage), "{is_counted}");
        chain.agrees();
    }
}

#[tokio::test]
async fn a_session_is_one_though_a_daemon_that_knew_of_none_took_it_in_by_its_routers_name() {
    let mut chain = Chain::new();
    let token = limited(1, 1);
    let nameless = |chain: &Chain, daemon: usize, number: u8, seconds: u64, now: i64| -> Written {
        let login = Login { nas_session: Some("80000001"), ..chain.login(1) };
        let question = Question { login: &login, nas: &chain.nas, policy: &chain.policy };
        let report = Report { at: at(now), seconds: Seconds(seconds), input_octets: 0, output_octets: 0 };
        let progress = Progress { session: None, news: News::Interim, report, unmeasured: false };
        if let Some(reported) = chain.daemons[daemon].report(token.id, &question, &progress, at(now)) {
            return reported.written;
        }
        let began = Seconds(seconds).before(report.at);
        let session = question.session(id(now, number).met(), &token, began);
        chain.daemons[daemon].find(&token, &question, session, &progress, at(now)).written
    };
    let _ = chain.admit(1, &token, 1, 0);
    chain.exchange(1);
    for seconds in [0, 900] {
        let _ = nameless(&chain, 1, 70, seconds, i64::try_from(seconds).unwrap() + 1);
        chain.exchange(1);
    }
    let session = chain.live(1)[0];
    chain.begins_alone(0).await;
    for seconds in [1200, 1300] {
        nameless(&chain, 0, 72, seconds, i64::try_from(seconds).unwrap() + 1).settled().await.unwrap();
    }
    chain.daemons[0].join();
    chain.settle();
    let _ = nameless(&chain, 0, 73, 1500, 1501);
    chain.settle();
    assert_eq!(chain.live(1), [session]);
    assert_eq!(chain.database.account(1).usage(&chain.policy, at(1501)), Seconds(1500));
}

#[tokio::test]
async fn what_is_put_off_while_the_database_is_away_takes_no_room() {
    let mut chain = Chain::new();
    chain.begins(0);
    let token = limited(1, 100);
    for device in 0..20 {
        let _ = chain.admit(0, &token, device, 0);
    }
    chain.settle();
    for session in chain.live(0) {
        let _ = chain.daemons[0].order(session, crate::core::ending::Cause::Operator, &chain.policy, at(1));
    }
    chain.settle();
    chain.daemons[0].part("gone", &chain.policy).await;
    for second in 2..102 {
        let _ = chain.daemons[0].due(&chain.policy, at(second), &mut |_| Room::Full);
    }
    let Book::Shared(shared) = &chain.daemons[0].book else { panic!() };
    assert!(shared.place(TokenId(1)).busy.is_empty());
    // What it did to its copy is undone.
    let row = &chain.database.rows[&TokenId(1)];
    assert!(chain.daemons[0].is_behind(TokenId(1), row.version));
    chain.daemons[0].heard(row, &chain.policy);
    assert_eq!(chain.daemons[0].account(TokenId(1)), Some(chain.database.account(1)));
}

#[tokio::test]
async fn minutes_that_were_written_stay_so_whatever_is_handed_on_again() {
    let mut chain = Chain::new();
    chain.begins(0);
    let token = AccessToken { minutes_left: Some(600), minutes_included: Some(600), ..limited(1, 1) };
    let _ = chain.admit(0, &token, 1, 0);
    chain.settle();
    let session = chain.live(0)[0];
    let _ = chain.report(0, 1, 1, session, News::Interim, 3600).unwrap();
    chain.settle();
    chain.daemons[0].part("gone", &chain.policy).await;
    chain.daemons[0].forget_usage(TokenId(1), &chain.policy, at(3601)).unwrap().settled().await.unwrap();
    chain.daemons[0].join();
    chain.settle();
    let _ = chain.report(0, 1, 1, session, News::Interim, 7200).unwrap();
    chain.settle();
    chain.daemons[0].lead(true);
    let (intent, _) = chain.daemons[0].begin_settlement(&token, &chain.policy, at(7201)).unwrap();
    chain.settle();
    let _ = chain.daemons[0].end_settlement(TokenId(1), &intent, true, None, &chain.policy, at(7202));
    chain.settle();
    assert_eq!(chain.database.account(1).written, Seconds(7200));
    // It dies before it has cleared what it kept.
    chain.begins(0);
    chain.settle();
    assert_eq!(chain.database.account(1).written, Seconds(7200));
}

#[tokio::test]
async fn who_waited_when_the_database_went_is_not_in_unless_he_asks_again() {
    let mut chain = Chain::new();
    chain.begins(0);
    let (_, written) = chain.admit(0, &limited(1, 1), 1, 0);
    chain.daemons[0].part("gone", &chain.policy).await;
    assert!(matches!(written.settled().await, Err(Unwritten::Raced)));
    assert!(chain.live(0).is_empty());
    chain.daemons[0].join();
    chain.settle();
    assert!(chain.database.account(1).sessions().is_empty());
    chain.agrees();
}

#[test]
fn a_stop_that_is_repeated_when_its_account_has_forgotten_the_session_counts_once() {
    let mut chain = Chain::new();
    let token = limited(1, 1);
    let mut first = None;
    for number in 0..9 {
        let _ = chain.admit(0, &token, 1, number * 20);
        chain.settle();
        let session = chain.live(0)[0];
        first.get_or_insert(session);
        let _ = chain.report_at(0, 1, session, News::Stop, 10, number * 20 + 10);
        chain.settle();
    }
    let first = first.unwrap();
    assert!(!chain.daemons[0].knows(TokenId(1), first));
    let repeated = chain.find(0, &token, 1, first, 10, 500);
    // It hears that the session is over, then how its account stands.
    for _ in 0..3 {
        chain.exchange(0);
    }
    assert!(counts(repeated), "it is acknowledged");
    chain.settle();
    let account = chain.database.account(1);
    assert_eq!((account.usage.0, account.sessions().len()), (90, 0));
    assert_eq!(chain.daemons[0].account(TokenId(1)), Some(account));
}

#[test]
fn what_the_database_does_not_take_has_not_happened_here_either() {
    let mut chain = Chain::new();
    let (_, written) = chain.admit(0, &limited(1, 1), 1, 0);
    for change in chain.daemons[0].take_changes(9, &chain.policy) {
        chain.daemons[0].swapped(change.token, Swapped::Refused, &chain.policy);
    }
    assert!(matches!(outcome(written), Some(Err(Unwritten::Unreadable))));
    assert!(chain.live(0).is_empty());
}

#[test]
fn an_account_is_not_forgotten_while_it_is_open_whether_its_minutes_were_written() {
    let mut chain = Chain::new();
    let ended = AccessToken { valid_to: Some(at(1000)), minutes_left: Some(60), ..limited(1, 1) };
    let _ = chain.admit(0, &ended, 1, 0);
    chain.settle();
    let _ = chain.report(0, 1, 1, chain.live(0)[0], News::Stop, 600).unwrap();
    chain.settle();
    assert_eq!(chain.daemons[0].over(at(1001)).len(), 1);
    chain.daemons[0].lead(true);
    let _ = chain.daemons[0].begin_settlement(&ended, &chain.policy, at(900)).unwrap();
    chain.settle();
    assert!(chain.daemons[0].over(at(1001)).is_empty());
}
