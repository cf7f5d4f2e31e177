//! Routers that begin anew while daemons know different things, and what else holds or is said not to.

use super::apart::compares;
use super::*;

const ROUTER: Option<std::net::IpAddr> = Some(std::net::IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1)));

impl Chain {
    /// A session of the first device, of which the second daemon has heard until 60 s.
    fn known_until_60(&mut self) -> SessionId {
        let _ = self.admit(0, &limited(1, 2), 1, 0);
        self.settle();
        let session = self.live(0)[0];
        let _ = self.report_at(0, 1, session, News::Interim, 60, 60);
        self.settle();
        session
    }

    pub(super) fn restarts(&self, daemon: usize, now: i64) -> (usize, Written) {
        self.daemons[daemon].restarted(&self.nas.name, ROUTER, at(now), &self.policy, at(now))
    }

    fn there(&self) -> usize {
        self.database.account(1).sessions().len()
    }
}

/// The answer to what was due is that another is at the account; the router's word comes before that one's news.
#[test]
fn a_restart_after_held_is_not_acknowledged_with_the_session_live() {
    let mut chain = Chain::new();
    let session = chain.known_until_60();
    let _ = chain.report_at(0, 1, session, News::Interim, 1900, 1900);
    chain.exchange(0);
    let _ = chain.daemons[1].due(&chain.policy, at(2000), &mut |_| Room::Free);
    let mine = chain.taken(1, 9).remove(0);
    assert!(mine.is_due);
    chain.daemons[1].swapped(TokenId(1), Swapped::Held, &chain.policy);
    let (closed, written) = chain.restarts(1, 2001);
    chain.settle();
    let outcome = outcome(written);
    assert!(!matches!(outcome, Some(Ok(()))) || chain.there() == 0, "{closed} closed, acknowledged, and live");
}

/// As `a_restart_that_is_acknowledged_apart_closes_what_silence_ended_here_alone`, with a daemon that hears nothing while apart.
#[tokio::test]
async fn a_restart_apart_is_not_acknowledged_with_the_session_live() {
    let mut chain = Chain::new();
    chain.begins(1);
    let session = chain.known_until_60();
    chain.daemons[1].part("gone", &chain.policy).await;
    let _ = chain.report_at(0, 1, session, News::Interim, 1900, 1900);
    chain.exchange(0);
    let _ = chain.daemons[1].due(&chain.policy, at(2000), &mut |_| Room::Free);
    assert!(chain.live(1).is_empty());
    let (closed, written) = chain.restarts(1, 2001);
    let outcome = written.settled().await;
    chain.daemons[1].join();
    compares(&chain, 1);
    chain.settle();
    assert!(outcome.is_err() || chain.there() == 0, "{closed} closed, acknowledged, and live");
}

/// The same once it has joined, before it has compared.
#[tokio::test]
async fn a_restart_before_it_is_compared_is_not_acknowledged_with_the_session_live() {
    let mut chain = Chain::new();
    chain.begins(1);
    let session = chain.known_until_60();
    chain.daemons[1].part("gone", &chain.policy).await;
    let _ = chain.report_at(0, 1, session, News::Interim, 1900, 1900);
    chain.exchange(0);
    let _ = chain.daemons[1].due(&chain.policy, at(2000), &mut |_| Room::Free);
    chain.daemons[1].join();
    let (closed, written) = chain.restarts(1, 2001);
    let early = outcome(written);
    compares(&chain, 1);
    chain.settle();
    assert!(!matches!(early, Some(Ok(()))) || chain.there() == 0, "{closed} closed, acknowledged, and live");
}

/// What is due is on its way, the restart waits behind it, and the database goes.
#[tokio::test]
async fn a_restart_that_waits_behind_silence_when_the_database_goes() {
    let mut chain = Chain::new();
    chain.begins(1);
    let session = chain.known_until_60();
    let _ = chain.report_at(0, 1, session, News::Interim, 1900, 1900);
    chain.exchange(0);
    let _ = chain.daemons[1].due(&chain.policy, at(2000), &mut |_| Room::Free);
    let mine = chain.taken(1, 9).remove(0);
    let (closed, written) = chain.restarts(1, 2001);
    chain.daemons[1].not_swapped(mine.token);
    chain.daemons[1].part("gone", &chain.policy).await;
    let outcome = written.settled().await;
    chain.daemons[1].join();
    compares(&chain, 1);
    chain.settle();
    assert!(outcome.is_err() || chain.there() == 0, "{closed} closed, acknowledged, and live");
}

/// A login that took the place of its device's former session here is decided anew; its router began anew meanwhile.
#[test]
fn a_restart_behind_a_login_that_raced() {
    let mut chain = Chain::new();
    let session = chain.known_until_60();
    let (_, login) = chain.admit(0, &limited(1, 2), 1, 100);
    assert!(!chain.live(0).contains(&session));
    let (closed, written) = chain.restarts(0, 101);
    // Another device elsewhere.
    let _ = chain.admit(1, &limited(1, 2), 2, 100);
    chain.exchange(1);
    chain.settle();
    assert!(matches!(outcome(login), Some(Err(Unwritten::Raced))));
    let outcome = outcome(written);
    let is_live = chain.database.account(1).sessions().iter().any(|live| live.id == session);
    assert!(!matches!(outcome, Some(Ok(()))) || !is_live, "{closed} closed, {outcome:?}, and live");
}

/// Its router begins anew twice; in between it spoke of the session to another daemon.
#[test]
fn a_second_restart_where_the_first_was_overtaken() {
    let mut chain = Chain::new();
    let session = chain.known_until_60();
    let _ = chain.restarts(1, 100);
    let _ = chain.report_at(0, 1, session, News::Interim, 101, 101);
    chain.exchange(0);
    let (closed, written) = chain.restarts(1, 102);
    chain.settle();
    let outcome = outcome(written);
    assert!(!matches!(outcome, Some(Ok(()))) || chain.there() == 0, "{closed} closed, {outcome:?}, and live");
}

/// A login of an apart daemon, whose Start another has; then Accounting-On at the first.
#[tokio::test]
async fn a_restart_of_a_session_that_another_met() {
    for is_killed in [false, true] {
        let mut chain = Chain::new();
        chain.begins(0);
        let token = limited(1, 2);
        chain.daemons[0].part("gone", &chain.policy).await;
        let login = Login { nas_session: Some("80000001"), ..chain.login(1) };
        let question = Question { login: &login, nas: &chain.nas, policy: &chain.policy };
        let (_, written) = chain.daemons[0].admit(&token, &question, id(0, 2).let_in(), at(0), &mut ());
        written.settled().await.unwrap();
        // Its router echoes no Class, and has the other daemon for accounting.
        for (seconds, news) in [(0, News::Start), (300, News::Interim)] {
            let _ = chain.says(1, &token, None, news, seconds, i64::try_from(seconds).unwrap() + 1);
            chain.exchange(1);
        }
        assert_eq!(chain.there(), 1);
        let (closed, written) = chain.restarts(0, 400);
        assert_eq!(closed, 1);
        written.settled().await.unwrap();
        if is_killed {
            chain.begins(0);
        } else {
            chain.daemons[0].join();
            compares(&chain, 0);
        }
        chain.settle();
        assert_eq!(chain.there(), 0, "acknowledged, and live; killed {is_killed}");
    }
}

/// A router is about to be told by two daemons; another begins anew.
#[test]
fn a_restart_waits_for_no_other_router_that_is_told() {
    let mut chain = Chain::new();
    let session = chain.known_until_60();
    let _ = chain.daemons[0].order(session, crate::core::ending::Cause::Operator, &chain.policy, at(70)).unwrap();
    chain.settle();
    let mut refused = 0;
    let another = NasName::new("back-office");
    let mut tries = 0;
    for second in 70..400 {
        let tells: Vec<usize> = (0..2)
            .map(|daemon| chain.daemons[daemon].due(&chain.policy, at(second), &mut |_| Room::Free).len())
            .collect();
        if tells[1] == 0 {
            chain.settle();
            continue;
        }
        tries += 1;
        // The other daemon is at it.
        let theirs = chain.taken(0, 9);
        let mine = chain.taken(1, 9);
        let (_, written) =
            chain.daemons[1].restarted(&another, Some([192, 0, 2, 2].into()), at(second), &chain.policy, at(second));
        for change in mine {
            let swapped = if change.is_due { Swapped::Held } else { Swapped::Done };
            chain.daemons[1].swapped(TokenId(1), swapped, &chain.policy);
        }
        for change in theirs {
            let swapped = chain.database.swap(change);
            chain.daemons[0].swapped(TokenId(1), swapped, &chain.policy);
        }
        chain.settle();
        refused += usize::from(!matches!(outcome(written), Some(Ok(()))));
    }
    assert_eq!(refused, 0, "of {tries} tries of a router that has nothing to do with the account");
}

/// An operator ends a session that was let in over HTTP, at a daemon that has not heard that its router speaks of it.
#[test]
fn an_order_that_is_acknowledged_ends_the_session() {
    let mut chain = Chain::new();
    let token = limited(1, 2);
    let login = Login { router: None, nas_session: Some("80000001"), ..chain.login(1) };
    let question = Question { login: &login, nas: &chain.nas, policy: &chain.policy };
    let _ = chain.daemons[0].admit(&token, &question, id(0, 2).let_in(), at(0), &mut ());
    chain.settle();
    let session = chain.live(1)[0];
    let (_, written) =
        chain.daemons[1].order(session, crate::core::ending::Cause::Operator, &chain.policy, at(10)).unwrap();
    let _ = chain.says(0, &token, Some(session), News::Start, 0, 11);
    chain.exchange(0);
    chain.settle();
    let goes_on = chain.database.account(1).sessions().iter().any(|live| live.ending.is_none());
    assert!(!counts(written) || !goes_on, "acknowledged, and it need not go");
}

/// As `a_clock_that_is_set_back_keeps_nobody_in`, at a daemon that is apart: nobody else changed the account.
#[tokio::test]
async fn a_clock_that_is_set_back_apart_keeps_nobody_in() {
    let mut chain = Chain::new();
    chain.begins(0);
    let session = chain.known_until_60();
    chain.daemons[0].part("gone", &chain.policy).await;
    chain.report_at(0, 1, session, News::Interim, 4600, 4600).settled().await.unwrap();
    // Set back by an hour.
    let (_, written) =
        chain.daemons[0].order(session, crate::core::ending::Cause::Operator, &chain.policy, at(1100)).unwrap();
    written.settled().await.unwrap();
    let gone = crate::core::ending::Told::Refused(503);
    assert!(chain.daemons[0].told(TokenId(1), session, gone, &chain.policy, at(1101)).is_some());
    chain.daemons[0].join();
    compares(&chain, 0);
    chain.settle();
    assert_eq!(chain.there(), 0, "it is proven gone, and live");
}

/// At the end what is left is handed on, though one account was raced.
#[tokio::test]
async fn who_waits_for_all_waits_for_all() {
    let mut chain = Chain::new();
    let session = chain.known_until_60();
    let _ = chain.report_at(0, 1, session, News::Interim, 1900, 1900);
    let _ = chain.daemons[1].due(&chain.policy, at(2000), &mut |_| Room::Free);
    let mine = chain.taken(1, 9).remove(0);
    // Of another account something is left to be handed on.
    let _ = chain.admit(1, &limited(2, 2), 2, 2000);
    let waiting = chain.daemons[1].all_written();
    chain.daemons[1].swapped(mine.token, Swapped::Held, &chain.policy);
    // As `Cluster::finish` does.
    let waited = tokio::time::timeout(std::time::Duration::from_millis(1), waiting.settled()).await;
    let is_left = !chain.database.rows.contains_key(&TokenId(2));
    assert!(waited.is_err() || !is_left, "it waits no longer ({waited:?}), and something is left");
}

/// What a token gives becomes known while the database is away, to the only daemon there is; nobody else has changed the account.
#[tokio::test]
async fn what_a_token_gives_is_known_though_it_became_known_apart() {
    let mut wrong = Vec::new();
    for (is_known, is_revised, is_killed) in
        [(true, false, false), (true, true, false), (true, true, true), (false, false, false), (false, true, false)]
    {
        let mut chain = Chain::new();
        chain.begins(0);
        let until = |to| AccessToken { valid_to: Some(at(to)), ..limited(1, 3) };
        if is_known {
            let _ = chain.admit(0, &until(3600), 1, 0);
            chain.settle();
        }
        chain.daemons[0].part("gone", &chain.policy).await;
        if !is_known {
            let (_, written) = chain.admit(0, &until(3600), 1, 0);
            written.settled().await.unwrap();
        }
        let prolonged = until(100_000);
        if is_revised {
            let written = chain.daemons[0].revise(TokenId(1), Some(&prolonged), |_, _| true, &chain.policy, at(100));
            written.settled().await.unwrap();
        } else {
            let (_, written) = chain.admit(0, &prolonged, 2, 100);
            written.settled().await.unwrap();
        }
        assert_eq!(chain.daemons[0].account(TokenId(1)).unwrap().terms().unwrap().valid_to, Some(at(100_000)));
        if is_killed {
            chain.begins(0);
        } else {
            chain.daemons[0].join();
            compares(&chain, 0);
        }
        chain.settle();
        for (number, session) in chain.live(0).into_iter().enumerate() {
            let device = u8::try_from(number + 1).unwrap();
            let _ = chain.report_at(0, device, session, News::Interim, 3400, 3500);
        }
        chain.settle();
        let _ = chain.daemons[0].due(&chain.policy, at(3600), &mut |_| Room::Free);
        chain.settle();
        let account = chain.database.account(1);
        let must_go = account.sessions().iter().filter(|session| session.ending.is_some()).count();
        if account.terms().unwrap().valid_to != Some(at(100_000)) {
            wrong.push((is_known, is_revised, is_killed, must_go));
        }
    }
    assert_eq!(wrong, [], "known before, by a revision, killed; and how many are told to go at the former end");
}
