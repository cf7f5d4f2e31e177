//! Who owes, most first; and each step of a settlement is written down before the next is made.

use super::*;
use crate::core::budget::Pool;
use crate::core::event::Terms;
use crate::core::policy::{Counting, ZeroMinutes};
use crate::core::settle::Stage;
use crate::core::token::tests::token;
use crate::ledger::{Book, Opened, lock};

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_790_000_000 + second).unwrap()
}

fn policy() -> Policy {
    Policy::default()
}

fn left(id: i64, minutes: i64) -> AccessToken {
    AccessToken { minutes_left: minutes.try_into().ok(), ..token(id, "abc") }
}

/// The write of this read, begun and on disk.
fn begun(ledger: &Ledger, read: &AccessToken) -> Option<Intent> {
    ledger.begin_settlement(read, &policy(), at(2000)).map(|(intent, written)| {
        assert!(matches!(written, Written::Already), "a tape has it at once");
        intent
    })
}

fn ended(ledger: &Ledger, token: i64, intent: &Intent, applied: bool) {
    let written = ledger.end_settlement(TokenId(token), intent, applied, None, &policy(), at(2001));
    assert!(matches!(written, Written::Already));
}

/// So many seconds are used of this token by a session that ended.
fn uses(ledger: &Ledger, token: &AccessToken, seconds: u64) {
    crate::ledger::any::uses(ledger, token, 1, seconds, &policy(), (at(0), at(1000)));
}

fn on_tape() -> Ledger {
    Ledger::of_tape(Vec::new(), &policy())
}

fn tape(ledger: &Ledger) -> Vec<Vec<crate::journal::Record>> {
    let Book::Tape(tape) = &ledger.book else { panic!() };
    lock(tape).clone()
}

/// The ledger as it is after a power cut.
fn again(ledger: &Ledger, policy: &Policy) -> Ledger {
    Ledger::of_tape(tape(ledger), policy)
}

#[test]
fn those_who_owe_most_are_settled_first_and_those_who_cannot_not_at_all() {
    let ledger = on_tape();
    for (token, minutes, seconds) in [(1, 60, 119), (2, 60, 600), (3, 60, 59), (4, 60, 300), (5, 0, 900), (6, 2, 900)] {
        uses(&ledger, &left(token, minutes), seconds);
    }
    let owing = |at_most| {
        let owing = ledger.owing(&policy(), at(2000), at_most);
        owing.into_iter().map(|token| token.0).collect::<Vec<_>>()
    };
    assert_eq!(owing(9), [2, 4, 6, 1], "less than a minute is not owed, and where nothing is left nothing is written");
    assert_eq!(owing(2), [2, 4]);
    begun(&ledger, &left(1, 60)).unwrap();
    assert_eq!(owing(3), [1, 2, 4], "what became of a write is looked up first");

    let open = AccessToken { minutes_included: None, minutes_left: None, ..token(7, "abc") };
    let policy = Policy { zero_minutes: ZeroMinutes::Unlimited, ..policy() };
    uses(&ledger, &left(7, 60), 600);
    assert_eq!(owing(1).len(), 1);
    assert_eq!(ledger.begin_settlement(&open, &policy, at(2000)).map(|(intent, _)| intent), None, "it has no limit");
    assert!(!ledger.owing(&policy, at(2000), 9).contains(&TokenId(7)), "and that is remembered");
}

#[test]
fn a_top_up_is_felt_by_who_owes_though_nobody_is_online() {
    let ledger = on_tape();
    uses(&ledger, &left(1, 2), 900);
    uses(&ledger, &left(2, 60), 59);
    assert_eq!(ledger.concerned(&policy(), at(2000)), [TokenId(1)], "of the other nothing can be written");
    let none_left = begun(&ledger, &left(1, 2)).unwrap();
    let empty = left(1, 0);
    let _ = ledger.end_settlement(TokenId(1), &none_left, true, Some(&empty), &policy(), at(2001));
    assert_eq!(ledger.owing(&policy(), at(2000), 9), []);
    let _ = ledger.revise(TokenId(1), Some(&left(1, 30)), |_, _| true, &policy(), at(2002));
    assert_eq!(ledger.owing(&policy(), at(2002), 9), [TokenId(1)]);
    assert_eq!(begun(&ledger, &left(1, 30)).unwrap().after, 17);
}

#[test]
fn each_step_outlives_a_power_cut() {
    let ledger = on_tape();
    uses(&ledger, &left(1, 60), 630);
    let intent = begun(&ledger, &left(1, 60)).unwrap();
    assert_eq!((intent.before, intent.after), (60, 50));
    assert_eq!(begun(&ledger, &left(1, 60)), None, "one at a time");
    let ledger = again(&ledger, &policy());
    assert_eq!(ledger.open_settlement(TokenId(1)), Some(intent));
    assert_eq!(begun(&ledger, &left(1, 50)), None, "what became of it is looked up first");
    ended(&ledger, 1, &intent, true);
    let ledger = again(&ledger, &policy());
    assert_eq!(ledger.open_settlement(TokenId(1)), None);
    assert_eq!(ledger.account(TokenId(1)).unwrap().written, Seconds(600));
    assert_eq!(begun(&ledger, &left(1, 50)), None, "the remainder is kept");
}

#[test]
fn a_settlement_ends_once_and_by_its_name() {
    let ledger = on_tape();
    uses(&ledger, &left(1, 60), 630);
    let lost = begun(&ledger, &left(1, 60)).unwrap();
    ended(&ledger, 1, &lost, false);
    let intent = begun(&ledger, &left(1, 60)).unwrap();
    assert_ne!(intent, lost, "told apart by its LastAccess");
    ended(&ledger, 1, &lost, true);
    assert_eq!(ledger.open_settlement(TokenId(1)), Some(intent), "of another");
    let length = tape(&ledger).len();
    for _ in 0..3 {
        ended(&ledger, 1, &intent, true);
    }
    assert_eq!(ledger.account(TokenId(1)).unwrap().written, Seconds(600));
    assert_eq!(tape(&ledger).len(), length + 1, "nothing more is written down");
    ended(&ledger, 2, &intent, true);
    assert_eq!(ledger.account(TokenId(2)), None);
}

#[test]
fn what_was_read_is_seen() {
    let ledger = on_tape();
    uses(&ledger, &left(1, 60), 630);
    let intent = begun(&ledger, &left(1, 40)).unwrap();
    let terms = || ledger.account(TokenId(1)).unwrap().terms().unwrap();
    assert_eq!((intent.after, terms().pool), (30, Pool::Holds(Seconds(2400))));
    let read = AccessToken { last_access: Some(intent.last_access), ..left(1, 35) };
    let _ = ledger.end_settlement(TokenId(1), &intent, true, Some(&read), &policy(), at(2001));
    assert_eq!(terms(), Terms::of(&read, &policy()));
    assert_eq!(ledger.account(TokenId(1)).unwrap().latest_settlement().unwrap().stage, Stage::Written);
}

#[test]
fn one_that_arrived_late_is_taken_in_before_the_next() {
    let ledger = on_tape();
    uses(&ledger, &left(1, 60), 630);
    let lost = begun(&ledger, &left(1, 60)).unwrap();
    ended(&ledger, 1, &lost, false);
    let read = AccessToken { last_access: Some(lost.last_access), ..left(1, 50) };
    assert_eq!(begun(&ledger, &read), None, "it was made");
    assert_eq!(again(&ledger, &policy()).account(TokenId(1)).unwrap().written, Seconds(600));
}

#[test]
fn forgotten_usage_is_what_it_was_under_any_policy() {
    let ledger = on_tape();
    assert!(ledger.forget_usage(TokenId(1), &policy(), at(2000)).is_none(), "never used");
    uses(&ledger, &left(1, 60), 630);
    let elapsed = Policy { counting: Counting::Elapsed, ..policy() };
    assert!(matches!(ledger.forget_usage(TokenId(1), &elapsed, at(2000)), Some(Written::Already)));
    let account = ledger.account(TokenId(1)).unwrap();
    assert_eq!((account.written, account.unwritten(&elapsed, at(2000))), (Seconds(2000), Seconds::ZERO));
    assert_eq!(again(&ledger, &policy()).account(TokenId(1)), Some(account));
}

#[test]
fn usage_is_told_of_each_token_in_the_order_of_their_numbers() {
    let ledger = on_tape();
    uses(&ledger, &left(65, 60), 630);
    uses(&ledger, &left(2, 60), 59);
    let intent = begun(&ledger, &left(65, 60)).unwrap();
    ended(&ledger, 65, &intent, true);
    let usage = ledger.usage(&policy(), at(2000));
    let told: Vec<_> = usage.iter().map(|of| (of.token.0, of.used.0, of.unwritten.0, of.unwritten_minutes)).collect();
    assert_eq!(told, [(2, 59, 59, 0), (65, 630, 30, 0)]);
    assert_eq!(usage[0].code, Code::parse("abc").ok());
    assert_eq!(usage[0].last_used, Some(at(0)));
}

#[test]
fn what_may_have_been_written_is_told_apart_from_what_was_not() {
    let ledger = on_tape();
    let told = |ledger: &Ledger| {
        let usage = ledger.usage(&policy(), at(2000)).remove(0);
        (usage.used.0, usage.unwritten.0, usage.unwritten_minutes, usage.open_minutes)
    };
    uses(&ledger, &left(1, 60), 630);
    let lost = begun(&ledger, &left(1, 60)).unwrap();
    assert_eq!(told(&ledger), (630, 30, 0, 10));
    assert_eq!(told(&again(&ledger, &policy())), (630, 30, 0, 10), "after a restart without write_back");
    ended(&ledger, 1, &lost, false);
    assert_eq!(told(&ledger), (630, 630, 10, 0), "it did not arrive");
    // Only four minutes are there to take.
    begun(&ledger, &left(1, 4)).unwrap();
    assert_eq!(told(&ledger), (630, 390, 6, 4));
}

#[tokio::test]
async fn the_view_for_operators_knows_what_is_written() {
    let folder = tempfile::tempdir().unwrap();
    let Opened { ledger, trouble } = Ledger::open(folder.path(), &policy(), at(0)).unwrap();
    assert_eq!(trouble, None);
    let Book::Journal(journal) = &ledger.book else { panic!() };
    journal.define(crate::ledger::written::VIEWS).unwrap().await.unwrap();
    let seen = || -> Vec<(i64, i64, i64)> {
        let file = rusqlite::Connection::open(folder.path().join("ledger.db")).unwrap();
        let mut rows = file.prepare("SELECT token, used, written FROM usage ORDER BY token").unwrap();
        let rows = rows.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?))).unwrap();
        rows.map(Result::unwrap).collect()
    };
    let settle = async |minutes, applied| {
        let (intent, written) = ledger.begin_settlement(&left(1, minutes), &policy(), at(2000)).unwrap();
        written.settled().await.unwrap();
        ledger.end_settlement(TokenId(1), &intent, applied, None, &policy(), at(2001)).settled().await.unwrap();
    };
    uses(&ledger, &left(1, 60), 630);
    uses(&ledger, &left(2, 60), 59);
    settle(60, false).await;
    settle(4, true).await;
    assert_eq!(seen(), [(1, 630, 240), (2, 59, 0)]);
    ledger.snapshot(at(2002), at(0)).await.unwrap();
    assert_eq!(seen(), [(1, 630, 240), (2, 59, 0)]);
    settle(60, true).await;
    assert_eq!(seen(), [(1, 630, 600), (2, 59, 0)], "what came after the snapshot");
    ledger.forget_usage(TokenId(1), &policy(), at(2003)).unwrap().settled().await.unwrap();
    assert_eq!(seen(), [(1, 630, 630), (2, 59, 0)]);
}
