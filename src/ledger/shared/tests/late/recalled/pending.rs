//! What was handed on, kept or held, and what came before its answer.

use super::*;

/// As `a_session_that_is_pushed_out_by_what_was_kept_counts_once`, but the daemon knew the account when the database went.
#[tokio::test]
async fn a_session_that_is_pushed_out_where_the_account_was_known_counts_once() {
    for is_killed in [false, true] {
        let mut chain = Chain::new();
        let token = limited(1, 2);
        let _ = chain.admit(0, &token, 1, 0);
        chain.exchange(0);
        let session = chain.live(0)[0];
        let _ = chain.report_at(0, 1, session, News::Interim, 60, 60);
        chain.exchange(0);
        chain.begins(1);
        chain.daemons[1].part("gone", &chain.policy).await;
        for number in 0..10i64 {
            let (_, written) = chain.admit(1, &token, 1, 100 + 10 * number);
            written.settled().await.unwrap();
            let other = *chain.live(1).last().unwrap();
            chain.report_at(1, 1, other, News::Stop, 1, 101 + 10 * number).settled().await.unwrap();
        }
        chain.stops(1, &token, 1, session, 90, 300).settled().await.unwrap();
        if is_killed {
            chain.begins(1);
        } else {
            chain.daemons[1].join();
            compares(&chain, 1);
        }
        chain.settle();
        let usage = chain.database.account(1).usage.0;
        assert_eq!(usage, 90 + 10, "is_killed {is_killed}");
        chain.agrees();
    }
}

/// What the daemon that is at the account did is heard before this one's answer.
#[test]
fn what_is_heard_while_the_answer_is_on_its_way_is_known_though_it_is_held() {
    let mut chain = Chain::new();
    let token = limited(1, 2);
    let _ = chain.admit(0, &token, 1, 0);
    chain.settle();
    let session = chain.live(0)[0];
    let _ = chain.report_at(0, 1, session, News::Interim, 60, 60);
    chain.settle();
    // Daemon 1: silence, as far as it knows. Daemon 0 is at the account with a report that came just before.
    let _ = chain.report_at(0, 1, session, News::Interim, 1900, 1900);
    let theirs = chain.taken(0, 9).remove(0);
    let _ = chain.daemons[1].due(&chain.policy, at(2000), &mut |_| Room::Free);
    let mine = chain.taken(1, 9).remove(0);
    assert!(mine.is_due);
    // SKIP LOCKED is here. Then the other commits, and is heard before this one's commit is answered.
    let swapped = chain.database.swap(theirs);
    chain.daemons[0].swapped(TokenId(1), swapped, &chain.policy);
    chain.hear(1);
    chain.daemons[1].swapped(TokenId(1), Swapped::Held, &chain.policy);
    for _ in 0..10 {
        for daemon in 0..3 {
            chain.exchange(daemon);
            chain.hear(daemon);
        }
    }
    let router = Some([192, 0, 2, 1].into());
    let (_, written) = chain.daemons[1].restarted(&chain.nas.name, router, at(2005), &chain.policy, at(2005));
    chain.settle();
    let outcome = outcome(written);
    let live = chain.database.account(1).sessions().len();
    assert_eq!(chain.live(1), chain.live(0), "the copies differ after all is quiet");
    assert!(!matches!(outcome, Some(Ok(()))) || live == 0, "acknowledged, and live");
}

/// As `a_login_that_was_withdrawn_ends_nobody_elses_session`; the Start was sent again after a second and says so.
#[tokio::test]
async fn a_login_that_was_withdrawn_ends_nobody_whose_start_was_late() {
    let mut chain = Chain::new();
    chain.begins(0);
    let token = limited(1, 2);
    let login = Login { nas_session: Some("80000001"), ..chain.login(1) };
    let question = Question { login: &login, nas: &chain.nas, policy: &chain.policy };
    let (_, written) = chain.daemons[0].admit(&token, &question, id(2, 1).let_in(), at(2), &mut ());
    chain.daemons[0].part("gone", &chain.policy).await;
    assert!(matches!(written.settled().await, Err(Unwritten::Raced)));
    let (_, written) = chain.daemons[0].admit(&token, &question, id(2, 2).let_in(), at(2), &mut ());
    written.settled().await.unwrap();
    // Acct-Delay-Time 1, whole seconds: it says one second before.
    let written = chain.says(1, &token, None, News::Start, 0, 1);
    chain.exchange(1);
    assert!(counts(written));
    chain.daemons[0].join();
    compares(&chain, 0);
    chain.settle();
    assert_eq!(chain.database.account(1).sessions().len(), 1, "its guest is online");
}

/// Silence is about to end a session here that others hear of; its router begins anew before the answer.
#[test]
fn a_restart_that_is_acknowledged_closes_what_silence_did_not_end_after_all() {
    for is_held in [true, false] {
        let mut chain = Chain::new();
        let _ = chain.admit(0, &limited(1, 2), 1, 0);
        chain.settle();
        let session = chain.live(0)[0];
        let _ = chain.report_at(0, 1, session, News::Interim, 60, 60);
        chain.settle();
        let _ = chain.report_at(0, 1, session, News::Interim, 1900, 1900);
        chain.exchange(0);
        let _ = chain.daemons[1].due(&chain.policy, at(2000), &mut |_| Room::Free);
        let mine = chain.taken(1, 9).remove(0);
        let router = Some([192, 0, 2, 1].into());
        let (_, written) = chain.daemons[1].restarted(&chain.nas.name, router, at(2001), &chain.policy, at(2001));
        let swapped = if is_held { Swapped::Held } else { chain.database.swap(mine) };
        chain.daemons[1].swapped(TokenId(1), swapped, &chain.policy);
        chain.settle();
        let outcome = outcome(written);
        let live = chain.database.account(1).sessions().len();
        assert!(!matches!(outcome, Some(Ok(()))) || live == 0, "acknowledged, and live");
    }
}

/// The same, where the daemon was apart.
#[tokio::test]
async fn a_restart_that_is_acknowledged_apart_closes_what_silence_ended_here_alone() {
    let mut chain = Chain::new();
    chain.begins(1);
    let _ = chain.admit(0, &limited(1, 2), 1, 0);
    chain.settle();
    let session = chain.live(0)[0];
    let _ = chain.report_at(0, 1, session, News::Interim, 60, 60);
    chain.settle();
    chain.daemons[1].part("gone", &chain.policy).await;
    let _ = chain.report_at(0, 1, session, News::Interim, 1900, 1900);
    chain.exchange(0);
    let _ = chain.daemons[1].due(&chain.policy, at(2000), &mut |_| Room::Free);
    let router = Some([192, 0, 2, 1].into());
    let (_, written) = chain.daemons[1].restarted(&chain.nas.name, router, at(2001), &chain.policy, at(2001));
    let outcome = written.settled().await;
    chain.daemons[1].join();
    compares(&chain, 1);
    chain.settle();
    let live = chain.database.account(1).sessions().len();
    assert!(outcome.is_err() || live == 0, "acknowledged, and live");
}

/// Late news of a session that what was kept has ended, and pushed out here, comes before that is handed on.
#[tokio::test]
async fn news_of_a_session_that_what_is_still_pending_ended_counts_once() {
    let mut chain = Chain::new();
    chain.begins(0);
    let token = limited(1, 2);
    let _ = chain.admit(0, &token, 1, 0);
    chain.settle();
    chain.daemons[0].part("gone", &chain.policy).await;
    let mut sessions = Vec::new();
    for number in 0..10i64 {
        let (_, written) = chain.admit(0, &token, 1, 100 + 10 * number);
        written.settled().await.unwrap();
        sessions.push(*chain.live(0).last().unwrap());
        chain.report_at(0, 1, sessions[sessions.len() - 1], News::Stop, 5, 105 + 10 * number).settled().await.unwrap();
    }
    chain.daemons[0].join();
    compares(&chain, 0);
    // The router did not hear the answer to its Stop, and says it again.
    let _ = chain.stops(0, &token, 1, sessions[1], 5, 300);
    chain.settle();
    assert_eq!(chain.database.account(1).usage.0, 50);
    chain.agrees();
}
