//! A settlement changes what upstream shows, and nothing else; and no minute is written twice.

use super::*;
use crate::core::ident::{Code, Mac, NasName, SessionId};
use crate::core::policy::ZeroMinutes;
use crate::core::session::{Contact, Endpoint, Report, Session};
use crate::core::token::tests::token;
use proptest::prelude::*;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

fn id(number: u8) -> SessionId {
    SessionId::new(at(0), [number; 10])
}

fn session(number: u8, accounting: bool) -> Session {
    Session {
        id: id(number),
        device: Some(Mac::new([2, 0, 0, 0, 0, number])),
        code: Code::parse("abc").unwrap(),
        contact: Contact {
            nas: NasName::new("front-desk"),
            router: Some([192, 0, 2, 1].into()),
            nas_session: None,
            user_name: None,
            ip: None,
            can_disconnect: true,
            can_extend: false,
        },
        admitted_at: at(0),
        granted: Seconds(86_400),
        interim: Seconds(300),
        accounting,
        reported: None,
        ending: None,
        extension: None,
        asker: None,
    }
}

fn report(second: i64, seconds: u64) -> Report {
    Report { at: at(second), seconds: Seconds(seconds), input_octets: 0, output_octets: 0 }
}

fn left_with(minutes: i64, last_access: Option<i64>) -> AccessToken {
    AccessToken { minutes_left: minutes.try_into().ok(), last_access: last_access.map(at), ..token(1, "abc") }
}

fn seen(token: &AccessToken) -> Event {
    Event::Seen(Terms::of(token, &Policy::default()))
}

/// An account of which one session ended after so many seconds, and another was heard of last at 1000 with so many.
fn account(ended: u64, reported: u64) -> Account {
    let mut account = Account::default();
    account.apply(at(0), &Event::Admitted(Box::new(session(1, true))));
    account.apply(at(900), &Event::Stopped { session: id(1), report: report(900, ended) });
    account.apply(at(0), &Event::Admitted(Box::new(session(2, true))));
    account.apply(at(1000), &Event::Progressed { session: id(2), report: report(1000, reported) });
    account
}

/// What somebody who asks now finds left, and when something is due.
fn standing(account: &Account, copy: &AccessToken, policy: &Policy) -> (Pool, Option<Timestamp>) {
    let nas = NasName::new("front-desk");
    let asking =
        Endpoint { device: Some(Mac::new([2, 0, 0, 0, 0, 9])), nas: &nas, router: None, nas_session: None, ip: None };
    let mut knowing = account.clone();
    knowing.apply(at(1000), &seen(copy));
    (account.left(copy, &asking, policy, at(1100)), knowing.next_deadline(policy))
}

#[test]
fn what_is_certain_is_what_no_silence_takes_back() {
    let policy = Policy::default();
    let mut account = account(500, 100);
    assert_eq!(account.usage(&policy, at(1100)), Seconds(700));
    assert_eq!(account.certain(&policy, at(1100)), Seconds(600), "a second session may have ended at its last news");
    assert_eq!(account.owed(&policy, at(1100)), 10);
    account.apply(at(1200), &Event::Lapsed { session: id(2), counts: Seconds(100) });
    assert_eq!(account.certain(&policy, at(1200)), Seconds(600));
    account.apply(at(2000), &Event::Admitted(Box::new(Session { admitted_at: at(2000), ..session(3, false) })));
    assert_eq!(account.certain(&policy, at(2060)), Seconds(660), "of whom nothing is reported, the clock is the word");
    let elapsed = Policy { counting: Counting::Elapsed, ..policy };
    assert_eq!(account.certain(&elapsed, at(2000)), Seconds(2000));
}

#[test]
fn the_owed_minutes_are_taken_from_what_was_read_and_the_remainder_kept() {
    let policy = Policy::default();
    let account = account(500, 130);
    let write = |token: &AccessToken| account.settlement(token, &policy, at(1100));
    let minutes = |token: &AccessToken| write(token).map(|intent| (intent.before, intent.after));
    assert_eq!(minutes(&left_with(60, None)), Some((60, 50)), "630 s are ten minutes");
    assert_eq!(minutes(&left_with(4, None)), Some((4, 0)), "never below 0");
    assert_eq!(minutes(&left_with(0, None)), None);
    assert_eq!(minutes(&left_with(-5, None)), None);
    let unsaid = AccessToken { minutes_left: None, minutes_included: Some(120), ..token(1, "abc") };
    assert_eq!(minutes(&unsaid), Some((120, 110)), "null means those included");
    assert_eq!(minutes(&AccessToken { minutes_included: None, ..unsaid }), None);
}

#[test]
fn a_token_without_limit_is_not_written_and_none_is_made_without_limit() {
    let policy = Policy { zero_minutes: ZeroMinutes::Unlimited, ..Policy::default() };
    let account = account(500, 130);
    let minutes = |left, included| {
        let token = AccessToken { minutes_left: left, minutes_included: included, ..token(1, "abc") };
        account.settlement(&token, &policy, at(1100)).map(|intent| intent.after)
    };
    for included in [None, Some(0)] {
        assert_eq!(minutes(None, included), None);
        assert_eq!(minutes(Some(0), included), None);
        assert_eq!(minutes(Some(60), included), Some(50));
        assert_eq!(minutes(Some(3), included), Some(1), "0 would lift the limit");
        assert_eq!(minutes(Some(1), included), None);
    }
    assert_eq!(minutes(Some(3), Some(60)), Some(0), "used up is not unlimited");
}

#[test]
fn last_access_is_the_latest_use_and_no_other_than_ours() {
    let policy = Policy::default();
    let mut account = account(500, 130);
    let named = |account: &Account, read: Option<Timestamp>| {
        let read = AccessToken { last_access: read, ..left_with(60, None) };
        account.settlement(&read, &policy, at(1100)).unwrap().last_access
    };
    let half = |second: i64| Timestamp::from_millisecond(second * 1000 + 500).unwrap();
    assert_eq!(named(&account, None), at(1000), "the last report");
    assert_eq!(named(&account, Some(at(999))), at(1000));
    assert_eq!(named(&account, Some(at(1000))), at(1001));
    assert_eq!(named(&account, Some(half(1000))), at(1001), "whole seconds are compared");
    assert_eq!(named(&account, Some(at(5000))), at(5001), "it does not go back");
    // One that was given up is no name for another.
    let given_up = account.settlement(&left_with(60, None), &policy, at(1100)).unwrap();
    account.apply(at(1100), &Event::Settling(given_up));
    account.apply(at(1100), &Event::Unsettled(given_up));
    assert_eq!(named(&account, None), at(1001));
    let mut late = account.clone();
    late.apply(half(2000), &Event::Admitted(Box::new(Session { admitted_at: half(2000), ..session(3, true) })));
    assert_eq!(named(&late, None), at(2000), "an admission, to the whole second");
}

#[test]
fn a_read_tells_what_became_of_the_write() {
    use Outcome::{Arrived, NotArrived, NotKept, Unclear};
    let intent = Intent { before: 60, after: 50, last_access: at(1000) };
    let (ours, other) = (Some(1000), Some(999));
    for (minutes, last_access, lost, accepted) in [
        (50, ours, Arrived, Arrived),
        (50, other, Arrived, Arrived),
        (50, None, Arrived, Arrived),
        // The one was kept and the other not.
        (60, ours, NotKept, NotKept),
        (60, other, NotArrived, NotKept),
        (60, None, NotArrived, NotKept),
        (80, ours, Arrived, Arrived),
        (80, other, Unclear, Arrived),
        (80, None, Unclear, Arrived),
        (0, other, Unclear, Arrived),
    ] {
        let read = left_with(minutes, last_access);
        let told = [false, true].map(|is_accepted| intent.resolve(&read, is_accepted));
        assert_eq!(told, [lost, accepted], "{minutes} min, {last_access:?}");
    }
    let unsaid = |included| AccessToken { minutes_left: None, minutes_included: Some(included), ..token(1, "abc") };
    assert_eq!(intent.resolve(&unsaid(60), false), NotArrived);
    assert_eq!(intent.resolve(&unsaid(50), false), Arrived);
    let rounded = AccessToken { last_access: Timestamp::from_millisecond(1_000_400).ok(), ..left_with(80, None) };
    assert_eq!(intent.resolve(&rounded, false), Arrived, "whole seconds are compared");
    assert_eq!([Arrived, NotArrived, NotKept, Unclear].map(Outcome::counts), [true, false, false, true]);
}

#[test]
fn nothing_more_is_owed_while_a_write_may_be_under_way() {
    let policy = Policy::default();
    let mut account = account(500, 130);
    let intent = account.settlement(&left_with(60, None), &policy, at(1100)).unwrap();
    account.apply(at(1100), &Event::Settling(intent));
    assert_eq!((account.owed(&policy, at(1100)), account.open_settlement()), (0, Some(intent)));
    assert_eq!(account.settlement(&left_with(60, None), &policy, at(1100)), None);
    let mut not = account.clone();
    not.apply(at(1101), &Event::Unsettled(intent));
    assert_eq!((not.owed(&policy, at(1101)), not.written), (10, Seconds::ZERO));
    account.apply(at(1101), &Event::Settled(intent));
    assert_eq!((account.owed(&policy, at(1101)), account.written), (0, Seconds(600)));
    assert_eq!(account.unwritten(&policy, at(1101)), Seconds(131), "the remainder, and what runs");
}

#[test]
fn a_write_that_was_given_up_and_arrives_late_is_not_made_again() {
    let policy = Policy::default();
    let mut account = account(500, 130);
    let intent = account.settlement(&left_with(60, None), &policy, at(1100)).unwrap();
    account.apply(at(1100), &Event::Settling(intent));
    let late = left_with(50, Some(intent.last_access.as_second()));
    assert_eq!(account.arrived_late(&late), None, "it is open");
    account.apply(at(1101), &Event::Unsettled(intent));
    assert_eq!(account.arrived_late(&left_with(60, None)), None);
    let before = standing(&account, &left_with(60, None), &policy);
    assert_eq!(standing(&account, &late, &policy), before);
    let arrived = account.arrived_late(&late).unwrap();
    account.apply(at(1102), &arrived);
    assert_eq!((account.owed(&policy, at(1102)), account.written), (0, Seconds(600)));
    assert_eq!(standing(&account, &late, &policy), before);
}

#[test]
fn minutes_set_back_to_those_before_are_no_old_copy() {
    let policy = Policy::default();
    let pool = |account: &Account, copy: &AccessToken| standing(account, copy, &policy).0;
    let holds = |minutes: u64| Pool::Holds(Seconds(minutes * 60));
    // Where LastAccess is kept, by it.
    let mut settled = account(500, 100);
    settled.apply(at(1100), &Event::Lapsed { session: id(2), counts: Seconds(100) });
    let intent = settled.settlement(&left_with(60, Some(1)), &policy, at(1100)).unwrap();
    let access = Some(intent.last_access.as_second());
    settled.apply(at(1100), &Event::Settling(intent));
    settled.apply(at(1100), &Event::Settled(intent));
    assert_eq!(pool(&settled, &left_with(60, Some(1))), holds(50), "an old copy");
    assert_eq!(pool(&settled, &left_with(60, access)), holds(60), "set back");
    settled.apply(at(1200), &seen(&left_with(50, access)));
    assert_eq!(pool(&settled, &left_with(60, Some(1))), holds(50), "an old copy that comes late");
    // Where it is not, once the minutes after were seen.
    let mut settled = account(500, 100);
    settled.apply(at(1100), &Event::Lapsed { session: id(2), counts: Seconds(100) });
    settled.apply(at(1100), &Event::Settling(intent));
    settled.apply(at(1100), &Event::Settled(intent));
    assert_eq!(pool(&settled, &left_with(60, None)), holds(50));
    settled.apply(at(1200), &seen(&left_with(50, None)));
    assert_eq!(pool(&settled, &left_with(60, None)), holds(60), "set back");
}

#[test]
fn what_is_forgotten_counts_as_written() {
    let policy = Policy::default();
    let mut account = account(500, 130);
    let intent = account.settlement(&left_with(60, None), &policy, at(1000)).unwrap();
    account.apply(at(1000), &Event::Settling(intent));
    let used = account.certain(&policy, at(1000));
    account.apply(at(1000), &Event::Forgotten { used });
    assert_eq!((account.written, account.open_settlement()), (Seconds(630), None));
    assert_eq!(account.unshown(&Terms::of(&left_with(60, None), &policy), &policy, at(1000)), Seconds::ZERO);
    account.apply(at(1001), &Event::Settled(intent));
    assert_eq!(account.written, Seconds(630), "the write is none of the new pool's");
}

#[test]
fn what_was_written_and_turned_out_unused_is_given_back() {
    let policy = Policy::default();
    let mut account = Account::default();
    account.apply(at(0), &Event::Admitted(Box::new(session(1, false))));
    let intent = account.settlement(&left_with(60, None), &policy, at(600)).unwrap();
    account.apply(at(600), &Event::Settling(intent));
    account.apply(at(600), &Event::Settled(intent));
    // Its router reports after all.
    account.apply(at(600), &Event::Stopped { session: id(1), report: report(600, 120) });
    let copy = left_with(50, Some(intent.last_access.as_second()));
    assert_eq!(standing(&account, &copy, &policy).0, Pool::Holds(Seconds(58 * 60)));
    assert_eq!(account.owed(&policy, at(700)), 0);
}

/// What may be seen and said while minutes are written: each copy as often as it likes, the events in their order.
const INTENT: (i64, i64, i64) = (20, 10, 950);

fn intent((before, after, last_access): (i64, i64, i64)) -> Intent {
    Intent { before, after, last_access: at(last_access) }
}

#[test]
fn what_can_be_written_is_what_is_owed_and_there() {
    let policy = Policy::default();
    let mut account = account(500, 100);
    let writable = |account: &Account| account.writable(&policy, at(1100));
    assert_eq!(writable(&account), 10, "nothing is known of the token");
    account.apply(at(0), &seen(&left_with(7, None)));
    assert_eq!(writable(&account), 7);
    account.apply(at(0), &Event::Seen(Terms { pool: Pool::Unlimited, valid_to: None, last_access: None }));
    assert_eq!(writable(&account), 0);
}

#[test]
fn a_copy_shows_a_write_that_is_open_by_its_name_and_other_minutes_or_by_its_minutes() {
    let policy = Policy::default();
    let mut account = account(500, 100);
    assert_eq!(account.latest_settlement(), None);
    account.apply(at(1100), &Event::Settling(intent(INTENT)));
    assert_eq!(
        account.latest_settlement().map(|latest| (latest.intent, latest.stage)),
        Some((intent(INTENT), Stage::Open))
    );
    let ten_minutes = Seconds(600);
    for (minutes, last_access, shown) in [
        (10, Some(950), ten_minutes),
        (15, Some(950), ten_minutes),
        (10, None, ten_minutes),
        (20, Some(950), Seconds::ZERO),
        (20, None, Seconds::ZERO),
        (15, Some(949), Seconds::ZERO),
    ] {
        let terms = Terms::of(&left_with(minutes, last_access), &policy);
        assert_eq!(account.shown(&terms), shown, "{minutes} minutes, {last_access:?}");
        assert_eq!(
            account.unshown(&terms, &policy, at(1100)),
            Seconds(700).less(shown),
            "{minutes} minutes, {last_access:?}"
        );
    }
}

#[test]
fn a_write_that_was_given_up_arrived_late_by_its_name_and_other_minutes() {
    let mut account = account(500, 100);
    account.apply(at(1100), &Event::Settling(intent(INTENT)));
    assert_eq!(account.arrived_late(&left_with(10, Some(950))), None, "it is open still");
    account.apply(at(1200), &Event::Unsettled(intent(INTENT)));
    assert_eq!(account.arrived_late(&left_with(10, Some(950))), Some(Event::Settled(intent(INTENT))));
    assert_eq!(account.arrived_late(&left_with(20, Some(950))), None);
    assert_eq!(account.arrived_late(&left_with(15, Some(949))), None);
}

#[test]
fn a_write_is_open_if_it_is_newer_than_the_latest() {
    let mut account = account(500, 100);
    let latest = |account: &Account| account.latest_settlement().map(|latest| latest.intent);
    account.apply(at(1100), &Event::Settling(intent(INTENT)));
    account.apply(at(1100), &Event::Settling(intent((10, 9, 949))));
    account.apply(at(1100), &Event::Settling(intent((10, 9, 950))));
    assert_eq!(latest(&account), Some(intent(INTENT)));
    account.apply(at(1100), &Event::Settling(intent((10, 9, 951))));
    assert_eq!(latest(&account), Some(intent((10, 9, 951))));
}

#[test]
fn stages_have_names_of_their_own() {
    assert_eq!(Stage::ALL.map(Stage::as_str), ["open", "written", "past", "given_up"]);
}

fn courses() -> impl Strategy<Value = Vec<usize>> {
    proptest::collection::vec(0usize..4, 0..9)
}

proptest! {
    /// Nobody's budget changes and nothing is due at another time, whichever copy somebody has and whatever was said of it.
    #[test]
    fn a_settlement_changes_neither_budget_nor_deadlines(
        ended in 0u64..5000, reported in 0u64..5000, minutes in 1i64..200, written in 0u64..3000,
        access in proptest::option::of(0i64..3000), elapsed: bool, arrives: bool, course in courses(),
    ) {
        let counting = if elapsed { Counting::Elapsed } else { Counting::Connected };
        let policy = Policy { counting, missed_interims: 1000, ..Policy::default() };
        let mut account = account(ended, reported);
        account.written = Seconds(written.min(ended));
        let before = left_with(minutes, access);
        account.apply(at(1000), &seen(&before));
        let stands = standing(&account, &before, &policy);
        let Some(intent) = account.settlement(&before, &policy, at(1100)) else { return Ok(()) };
        prop_assert!(intent.after >= 0 && intent.after < intent.before);
        prop_assert!(intent.lowers_by() <= account.certain(&policy, at(1100)).less(account.written));
        let after = left_with(intent.after, Some(intent.last_access.as_second()));
        account.apply(at(1100), &Event::Settling(intent));
        let end = if arrives { Event::Settled(intent) } else { Event::Unsettled(intent) };
        let mut ends = 0;
        for step in course {
            match step {
                0 => _ = account.apply(at(1100), &seen(&before)),
                1 if arrives => _ = account.apply(at(1100), &seen(&after)),
                2 => {
                    account.apply(at(1100), &end);
                    ends += 1;
                }
                _ => {}
            }
            prop_assert_eq!(standing(&account, &before, &policy), stands, "{} times said", ends);
            // It may also arrive after it was given up.
            prop_assert_eq!(standing(&account, &after, &policy), stands, "{} times said", ends);
            let due = account.next_deadline(&policy);
            prop_assert_eq!(due, stands.1, "by what was seen");
        }
        let counted = if arrives && ends > 0 { intent.lowers_by() } else { Seconds::ZERO };
        prop_assert_eq!(account.written, Seconds(written.min(ended)).plus(counted), "once");
    }

    /// The same where nobody keeps `LastAccess`, as long as no copy from before comes after one from after.
    #[test]
    fn nor_where_last_access_is_not_kept(
        ended in 0u64..5000, reported in 0u64..5000, minutes in 1i64..200, seen_first: bool,
    ) {
        let policy = Policy { missed_interims: 1000, ..Policy::default() };
        let mut account = account(ended, reported);
        let before = left_with(minutes, None);
        account.apply(at(1000), &seen(&before));
        let stands = standing(&account, &before, &policy);
        let Some(intent) = account.settlement(&before, &policy, at(1100)) else { return Ok(()) };
        let after = left_with(intent.after, None);
        let (shown, said) = (seen(&after), Event::Settled(intent));
        account.apply(at(1100), &Event::Settling(intent));
        for event in if seen_first { [shown, said] } else { [said, shown] } {
            prop_assert_eq!(standing(&account, &before, &policy), stands);
            account.apply(at(1100), &event);
            prop_assert_eq!(standing(&account, &after, &policy), stands);
            prop_assert_eq!(account.next_deadline(&policy), stands.1);
        }
        account.apply(at(1100), &seen(&after));
        prop_assert_eq!(account.settlement.unwrap().stage, Stage::Past);
    }

    /// Whatever happens to sessions, what is certain does not fall, so that nothing is written that is not used.
    #[test]
    fn what_is_certain_does_not_fall(
        steps in proptest::collection::vec((0u8..5, 1u8..4, 0u64..4000), 1..20),
    ) {
        let policy = Policy::default();
        let mut account = Account::default();
        let (mut now, mut certain) = (0, Seconds::ZERO);
        for (step, number, seconds) in steps {
            now += 100;
            let event = match step {
                0 => Event::Admitted(Box::new(Session { admitted_at: at(now), ..session(number, true) })),
                1 => Event::Stopped { session: id(number), report: report(now, seconds) },
                2 => match account.due(&policy, at(now)).into_iter().next() {
                    Some(event) => event,
                    None => continue,
                },
                _ => Event::Progressed { session: id(number), report: report(now, seconds) },
            };
            account.apply(at(now), &event);
            let is = account.certain(&policy, at(now));
            prop_assert!(is >= certain && is <= account.usage(&policy, at(now)), "{} after {:?}", is, event);
            certain = is;
        }
    }

    #[test]
    fn each_event_twice_is_once(before in 1i64..100, by in 1i64..100, said in proptest::collection::vec(0u8..5, 0..8)) {
        let mut account = account(500, 130);
        let intent = Intent { before, after: (before - by).max(0), last_access: at(1000) };
        let next = Intent { before: intent.after, after: 0, last_access: at(1001) };
        for event in said {
            let event = match event {
                0 => Event::Settling(intent),
                1 => Event::Settled(intent),
                2 => Event::Unsettled(intent),
                3 => Event::Settling(next),
                _ => Event::Forgotten { used: Seconds(600) },
            };
            account.apply(at(1100), &event);
            let once = account.clone();
            account.apply(at(1100), &event);
            prop_assert_eq!(&account, &once, "{:?} twice", event);
            prop_assert!(account.written <= intent.lowers_by().plus(Seconds(600)), "written twice");
        }
    }
}
