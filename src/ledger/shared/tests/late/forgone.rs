//! What is decided of a session that others took for gone meanwhile.

use super::apart::compares;
use super::*;
use crate::core::ending::Cause;

impl Chain {
    fn authenticates(&mut self, daemon: usize, token: &AccessToken, now: i64) -> Written {
        self.next = self.next.wrapping_add(1);
        let login = Login { nas_session: Some("80000001"), ..self.login(1) };
        let question = Question { login: &login, nas: &self.nas, policy: &self.policy };
        let (decision, written) =
            self.daemons[daemon].admit(token, &question, id(now, self.next).let_in(), at(now), &mut ());
        assert!(matches!(decision, Decision::Allow(_)), "{decision:?}");
        written
    }
}

/// A device authenticates again at a daemon that is apart, before its session's time is over; the others take it for timed out. So they
/// do where all were apart, and one of them is back first.
#[tokio::test]
async fn a_session_that_authenticated_again_apart_may_last_as_long_as_it_was_told() {
    for are_all_apart in [false, true] {
        let mut chain = Chain::new();
        chain.policy.max_session = Seconds(3600);
        (0..2).for_each(|daemon| chain.begins(daemon));
        let token = AccessToken { minutes_left: Some(9000), minutes_included: Some(9000), ..limited(1, 2) };
        let _ = chain.authenticates(1, &token, 0);
        chain.settle();
        let session = chain.live(1)[0];
        for now in [1, 300, 3550] {
            let _ = chain.says(1, &token, Some(session), News::Interim, u64::try_from(now).unwrap(), now);
            chain.settle();
        }
        chain.daemons[1].part("gone", &chain.policy).await;
        if are_all_apart {
            chain.daemons[0].part("gone", &chain.policy).await;
        }
        // As hostapd does when the Session-Timeout is over.
        chain.authenticates(1, &token, 3590).settled().await.unwrap();
        assert_eq!(chain.live(1), [session]);
        let granted = chain.sessions(1, 1)[0].granted;
        assert!(granted > Seconds(7000), "{granted:?}");
        if are_all_apart {
            chain.daemons[0].join();
            compares(&chain, 0);
        }
        let _ = chain.daemons[0].due(&chain.policy, at(3631), &mut |_| Room::Free);
        chain.exchange(0);
        assert!(chain.live(0).is_empty(), "timed out, as far as it knows");
        chain.daemons[1].join();
        compares(&chain, 1);
        chain.settle();
        for seconds in [3850, 4150] {
            let _ = chain.says(1, &token, Some(session), News::Interim, seconds, i64::try_from(seconds).unwrap());
            chain.settle();
        }
        let _ = chain.daemons[0].due(&chain.policy, at(4151), &mut |_| Room::Free);
        chain.settle();
        let account = chain.database.account(1);
        let live = &account.sessions()[0];
        assert_eq!(
            (live.granted, live.reported.map(|report| report.seconds), live.ending.as_ref().map(|ending| ending.cause)),
            (granted, Some(Seconds(4150)), None),
            "granted, counted, and whether it must go; all apart {are_all_apart}"
        );
    }
}

/// The session must go, as a daemon that is apart decided and acknowledged; others had not heard of it for long.
#[tokio::test]
async fn what_was_ordered_apart_to_go_must_go_though_others_took_it_for_gone() {
    let mut chain = Chain::new();
    chain.begins(1);
    let token = limited(1, 2);
    let _ = chain.authenticates(1, &token, 0);
    chain.settle();
    let session = chain.live(1)[0];
    let _ = chain.says(1, &token, Some(session), News::Interim, 60, 60);
    chain.settle();
    chain.daemons[1].part("gone", &chain.policy).await;
    chain.says(1, &token, Some(session), News::Interim, 660, 660).settled().await.unwrap();
    let (_, written) = chain.daemons[1].order(session, Cause::Operator, &chain.policy, at(700)).unwrap();
    written.settled().await.unwrap();
    let _ = chain.daemons[0].due(&chain.policy, at(970), &mut |_| Room::Free);
    chain.exchange(0);
    assert!(chain.live(0).is_empty(), "silent, as far as it knows");
    // Its router cannot be reached.
    chain.says(1, &token, Some(session), News::Interim, 1260, 1260).settled().await.unwrap();
    chain.daemons[1].join();
    compares(&chain, 1);
    chain.settle();
    let account = chain.database.account(1);
    let causes: Vec<_> =
        account.sessions().iter().map(|live| live.ending.as_ref().map(|ending| ending.cause)).collect();
    assert_eq!(causes, [Some(Cause::Operator)], "acknowledged, live, and need not go");
}

/// One that a later login displaced is one place too many.
#[tokio::test]
async fn who_was_displaced_apart_holds_no_place() {
    let mut chain = Chain::new();
    chain.policy.on_user_limit = crate::core::policy::OnUserLimit::ReplaceOldest;
    chain.begins(1);
    let token = limited(1, 1);
    let _ = chain.authenticates(1, &token, 0);
    chain.settle();
    let session = chain.live(1)[0];
    let _ = chain.says(1, &token, Some(session), News::Interim, 60, 60);
    chain.settle();
    chain.daemons[1].part("gone", &chain.policy).await;
    chain.says(1, &token, Some(session), News::Interim, 660, 660).settled().await.unwrap();
    let (decision, written) = chain.admit(1, &token, 2, 700);
    assert!(matches!(decision, Decision::Allow(_)));
    written.settled().await.unwrap();
    let _ = chain.daemons[0].due(&chain.policy, at(970), &mut |_| Room::Free);
    chain.exchange(0);
    assert!(chain.live(0).is_empty(), "silent, as far as it knows");
    chain.says(1, &token, Some(session), News::Interim, 1260, 1260).settled().await.unwrap();
    let holds = |account: Account| account.sessions().iter().filter(|live| live.holds_place()).count();
    assert_eq!(holds(chain.daemons[1].account(TokenId(1)).unwrap()), 1);
    let other = chain.live(1).into_iter().find(|live| *live != session).unwrap();
    chain.report_at(1, 2, other, News::Interim, 560, 1261).settled().await.unwrap();
    chain.daemons[1].join();
    compares(&chain, 1);
    chain.settle();
    assert_eq!(holds(chain.database.account(1)), 1, "of one place");
}

/// A device came again at a daemon that is apart, to which its router says that it began anew; another, apart as well, has a report of
/// the former session from before that.
#[tokio::test]
async fn no_report_from_before_a_restart_brings_a_session_back() {
    let mut chain = Chain::new();
    (0..2).for_each(|daemon| chain.begins(daemon));
    let token = limited(1, 2);
    let _ = chain.authenticates(2, &token, 0);
    chain.settle();
    let session = chain.live(1)[0];
    for daemon in 0..2 {
        chain.daemons[daemon].part("gone", &chain.policy).await;
    }
    let (_, written) = chain.admit(1, &token, 1, 100);
    written.settled().await.unwrap();
    assert!(!chain.live(1).contains(&session));
    chain.says(0, &token, Some(session), News::Interim, 150, 150).settled().await.unwrap();
    let router = Some([192, 0, 2, 1].into());
    let (_, written) = chain.daemons[1].restarted(&chain.nas.name, router, at(160), &chain.policy, at(161));
    written.settled().await.unwrap();
    for daemon in [1, 0] {
        chain.daemons[daemon].join();
        compares(&chain, daemon);
        for _ in 0..3 {
            chain.exchange(daemon);
        }
    }
    chain.settle();
    assert_eq!(chain.database.account(1).sessions().len(), 0, "its router began anew, and it is back");
    assert_eq!(chain.database.account(1).usage.0, 150);
    chain.agrees();
}

/// A router begins anew just after a daemon is back: of three sessions there one has ended elsewhere, one was let in and raced.
#[tokio::test]
async fn a_restart_closes_the_others_though_one_is_over_and_one_never_was() {
    let mut chain = Chain::new();
    chain.begins(1);
    let token = limited(1, 5);
    let _ = chain.admit(0, &token, 2, 0);
    chain.settle();
    let there = chain.live(1)[0];
    chain.daemons[1].part("gone", &chain.policy).await;
    chain.authenticates(1, &token, 10).settled().await.unwrap();
    let over = chain.live(1).into_iter().find(|live| *live != there).unwrap();
    for (seconds, news) in [(10, News::Interim), (20, News::Stop)] {
        let _ = chain.says(2, &token, Some(over), news, seconds, 10 + i64::try_from(seconds).unwrap());
        chain.exchange(2);
    }
    chain.daemons[1].join();
    // It races with what the other did.
    let (_, raced) = chain.admit(1, &token, 3, 50);
    let (closed, written) = chain.restarts(1, 60);
    assert_eq!(closed, 3);
    for _ in 0..3 {
        chain.exchange(1);
    }
    compares(&chain, 1);
    chain.settle();
    assert!(!counts(raced));
    let outcome = outcome(written);
    assert!(
        !matches!(outcome, Some(Ok(()))) || chain.live(0).is_empty(),
        "{:?} is acknowledged, and live",
        chain.live(0)
    );
}
