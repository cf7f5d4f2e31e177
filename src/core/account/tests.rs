//! How sessions run up time, lapse and end.

use super::*;
use crate::core::ident::Code;
use crate::core::session::Contact;
use proptest::prelude::*;

mod past;
mod word;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

fn id(number: u8) -> SessionId {
    SessionId::new(at(0), [number; 10])
}

fn session(number: u8, granted: u64) -> Session {
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
        granted: Seconds(granted),
        interim: Seconds(300),
        accounting: true,
        reported: None,
        ending: None,
        extension: None,
        asker: None,
    }
}

fn report(second: i64, seconds: u64) -> Report {
    Report { at: at(second), seconds: Seconds(seconds), input_octets: 0, output_octets: 0 }
}

fn displaced(number: u8) -> Event {
    Event::Ending { session: id(number), cause: Cause::Displaced }
}

fn progressed(second: i64, seconds: u64) -> Event {
    Event::Progressed { session: id(1), report: report(second, seconds) }
}

fn admitted(session: Session) -> Event {
    Event::Admitted(Box::new(session))
}

/// When an event happened, as the journal would have it: reports at their own time.
fn happened(event: &Event) -> Timestamp {
    match event {
        Event::Admitted(session) => session.admitted_at,
        Event::Progressed { report, .. } | Event::Stopped { report, .. } => report.at,
        _ => at(1300),
    }
}

fn account(events: &[Event]) -> Account {
    let mut account = Account::default();
    for event in events {
        account.apply(happened(event), event);
    }
    account
}

fn used(events: &[Event], second: i64) -> u64 {
    account(events).usage(&Policy::default(), at(second)).0
}

#[test]
fn time_counts_from_the_start_and_as_reported() {
    let admitted = admitted(session(1, 3600));
    let started = progressed(10, 0);
    assert_eq!(used(std::slice::from_ref(&admitted), 100), 0, "an admission that is not taken up");
    assert_eq!(used(&[admitted.clone(), started.clone()], 100), 90, "the clock runs on between reports");
    let interim = progressed(310, 290);
    assert_eq!(used(&[admitted.clone(), started.clone(), interim.clone()], 320), 300, "as the router counts");
    assert_eq!(used(&[admitted.clone(), started.clone(), interim, progressed(310, 10)], 320), 300, "never backwards");
    assert_eq!(used(&[admitted.clone(), started], 10_000), 3600, "at most to its own timeout");
    let broken = progressed(320, 1_000_000);
    assert_eq!(used(&[admitted, broken], 320), 3660, "a broken counter: the grant and a minute");
}

#[test]
fn where_nothing_is_reported_time_counts_from_admission() {
    let quiet = Session { accounting: false, ..session(1, 3600) };
    let events = [admitted(quiet)];
    assert_eq!((used(&events, 600), used(&events, 10_000)), (600, 3600));
    let account = account(&events);
    assert_eq!(account.next_deadline(&Policy::default()), Some(at(3600)));
    let lapsed = [Event::Lapsed { session: id(1), counts: Seconds(3600) }];
    assert_eq!(account.due(&Policy::default(), at(3600)), lapsed);
}

#[test]
fn where_nothing_need_be_reported_silence_after_a_report_ends_nothing() {
    let quiet = Session { accounting: false, ..session(1, 3600) };
    let events = [admitted(quiet), progressed(10, 0)];
    assert_eq!((used(&events, 600), used(&events, 10_000)), (600, 3600));
    let account = account(&events);
    assert_eq!(account.next_deadline(&Policy::default()), Some(at(3600)));
    let lapsed = [Event::Lapsed { session: id(1), counts: Seconds(3600) }];
    assert_eq!(account.due(&Policy::default(), at(3600)), lapsed);
}

#[test]
fn sessions_lapse_each_in_its_way() {
    let policy = Policy::default();
    let lapse = |events: &[Event]| {
        let account = account(events);
        let deadline = account.next_deadline(&policy).unwrap();
        assert_eq!(account.due(&policy, Seconds(0).after(deadline)).len(), 1);
        assert_eq!(account.due(&policy, deadline.saturating_sub(std::time::Duration::from_secs(1)).unwrap()), []);
        let Event::Lapsed { counts, .. } = account.due(&policy, deadline)[0] else { panic!() };
        (deadline.as_second(), counts.0)
    };
    let admitted = admitted(session(1, 3600));
    assert_eq!(lapse(std::slice::from_ref(&admitted)), (120, 0), "never started: grant_timeout");
    assert_eq!(
        lapse(&[admitted.clone(), progressed(10, 0)]),
        (910, 0),
        "silence: three intervals, up to the last news"
    );
    assert_eq!(lapse(&[admitted.clone(), progressed(310, 300)]), (1210, 300));
    assert_eq!(
        lapse(&[admitted.clone(), progressed(3400, 3390)]),
        (3640, 3600),
        "its timeout passed: 30 s later, all of it"
    );
    assert_eq!(lapse(&[admitted, progressed(310, 2730)]), (1210, 3600), "both at once: it had the time to use it up");
}

#[test]
fn an_end_is_counted_once() {
    let stop = Event::Stopped { session: id(1), report: report(500, 480) };
    let events = [admitted(session(1, 3600)), progressed(10, 0), stop.clone(), stop, progressed(600, 590)];
    assert_eq!(used(&events, 9999), 480);
    assert!(account(&events).sessions().is_empty());
}

#[test]
fn a_device_that_comes_again_takes_its_old_session_over() {
    let again = Session { id: id(2), admitted_at: at(700), ..session(1, 3000) };
    let events = [admitted(session(1, 3600)), progressed(10, 0), progressed(610, 600), admitted(again)];
    let account = account(&events);
    assert_eq!(account.sessions().len(), 1);
    assert_eq!(account.usage(&Policy::default(), at(700)).0, 600, "up to the last news");
}

#[test]
fn a_report_is_news_if_it_is_later_or_higher_and_neither_is_less() {
    let used_at_400 =
        |second, seconds| used(&[admitted(session(1, 3600)), progressed(310, 290), progressed(second, seconds)], 400);
    assert_eq!(used_at_400(310, 290), 380, "the same again");
    assert_eq!(used_at_400(310, 300), 390, "more at the same second");
    assert_eq!(used_at_400(340, 290), 350, "the same later: the router's clock stood still");
    assert_eq!(used_at_400(340, 289), 380, "less is a slip of the router");
    assert_eq!(used_at_400(309, 290), 380, "the same again, by a delay rounded up");
    let repeated = account(&[admitted(session(1, 3600)), progressed(310, 290), progressed(340, 290)]);
    assert_eq!(repeated.next_deadline(&Policy::default()), Some(at(340 + 900)), "no silence");
}

#[test]
fn an_admission_told_again_changes_nothing() {
    let admitted = admitted(session(1, 3600));
    let once = account(&[admitted.clone(), progressed(10, 0), progressed(310, 300)]);
    let twice = account(&[admitted.clone(), progressed(10, 0), progressed(310, 300), admitted]);
    assert_eq!(once, twice);
}

#[test]
fn an_event_bears_on_its_own_session_alone() {
    let mut account = account(&[admitted(session(1, 3600)), admitted(session(2, 3600))]);
    let places = |account: &Account| account.sessions().iter().map(Session::holds_place).collect::<Vec<_>>();
    let reports = |account: &Account| account.sessions().iter().map(|session| session.reported).collect::<Vec<_>>();
    account.apply(at(10), &Event::Progressed { session: id(2), report: report(10, 5) });
    assert_eq!(reports(&account), [None, Some(report(10, 5))]);
    account.apply(at(10), &displaced(2));
    assert_eq!(places(&account), [true, false]);
    for gone in [displaced(3), Event::Lapsed { session: id(3), counts: Seconds(60) }] {
        account.apply(at(10), &gone);
    }
    assert_eq!(places(&account), [true, false]);
    account.apply(at(20), &Event::Stopped { session: id(2), report: report(20, 15) });
    assert_eq!(account.sessions(), [session(1, 3600)]);
    assert_eq!(account.usage, Seconds(15));
}

#[test]
fn the_latest_admission_is_the_last_use() {
    assert_eq!(Account::default().last_used(), None);
    let came = |number, second| admitted(Session { admitted_at: at(second), ..session(number, 60) });
    let account = account(&[came(1, 100), came(2, 300), came(3, 200)]);
    assert_eq!(account.last_used(), Some(at(300)));
}

#[test]
fn an_endpoint_without_a_mac_is_known_at_its_own_router_only() {
    let (here, there) = (NasName::new("here"), NasName::new("there"));
    let by_session =
        |nas, nas_session| Endpoint { device: None, nas, router: None, nas_session: Some(nas_session), ip: None };
    let by_address = |nas, ip: Option<&str>| Endpoint {
        device: None,
        nas,
        router: None,
        nas_session: None,
        ip: ip.map(|ip| ip.parse().unwrap()),
    };
    assert!(by_session(&here, "81").is_same(&by_session(&here, "81")));
    assert!(!by_session(&here, "81").is_same(&by_session(&here, "82")));
    assert!(!by_session(&here, "81").is_same(&by_session(&there, "81")), "routers count each for themselves");
    assert!(by_address(&here, Some("10.0.0.7")).is_same(&by_address(&here, Some("10.0.0.7"))));
    assert!(!by_address(&here, Some("10.0.0.7")).is_same(&by_address(&there, Some("10.0.0.7"))));
    assert!(!by_address(&here, None).is_same(&by_address(&here, None)), "nothing is known of either");
    let both = Endpoint { ip: Some("10.0.0.7".parse().unwrap()), ..by_session(&here, "81") };
    assert!(!both.is_same(&by_address(&here, Some("10.0.0.7"))));
    let named = Endpoint { device: Some(Mac::new([2; 6])), ..both };
    assert!(named.is_same(&Endpoint { nas: &there, nas_session: Some("5"), ..named }), "a MAC is known anywhere");
    assert!(!named.is_same(&both) && !both.is_same(&named));
}

proptest! {
    /// Usage never falls while time goes on, and any event twice is as good as once.
    #[test]
    fn usage_never_falls_and_events_repeat_without_effect(
        events in proptest::collection::vec((0u8..3, 0u8..4, 0u64..5000, 0i64..200), 1..30),
    ) {
        let policy = Policy::default();
        let (mut once, mut twice) = (Account::default(), Account::default());
        let (mut second, mut next, mut before) = (0, 10u8, 0);
        for (kind, number, seconds, step) in events {
            second += step;
            let live = once.sessions().get(usize::from(number)).map(|session| session.id);
            let report = report(second, seconds);
            let event = match (kind, live) {
                (0, _) | (_, None) => {
                    next += 1;
                    admitted(Session { id: id(next), admitted_at: at(second), ..session(number, 3600) })
                }
                (1, Some(session)) => Event::Progressed { session, report },
                (_, Some(session)) => Event::Stopped { session, report },
            };
            for account in [&mut once, &mut twice] {
                account.apply(at(second), &event);
            }
            twice.apply(at(second), &event);
            prop_assert_eq!(&once, &twice);
            // What a live session ran up by the clock alone may turn out lower; what was reported may not.
            let settled = |account: &Account| account.usage.0
                + account.sessions().iter().filter_map(|session| session.reported).map(|report| report.seconds.0).sum::<u64>();
            prop_assert!(settled(&once) >= before);
            before = settled(&once);
            for event in once.due(&policy, at(second)) {
                once.apply(at(second), &event);
                twice.apply(at(second), &event);
            }
            before = before.max(settled(&once));
        }
    }
}

#[test]
fn a_stop_that_comes_late_counts_the_difference() {
    let stop = |seconds| Event::Stopped { session: id(1), report: report(900, seconds) };
    let admitted = admitted(session(1, 3600));
    assert_eq!(used(&[admitted.clone(), stop(100), stop(480), stop(200)], 9999), 480);
    let silent = Event::Lapsed { session: id(1), counts: Seconds(300) };
    assert_eq!(used(&[admitted, progressed(310, 300), silent, stop(900)], 9999), 900, "also after silence");
}

#[test]
fn news_of_a_session_given_up_for_gone_brings_it_back() {
    let silent = Event::Lapsed { session: id(1), counts: Seconds(300) };
    let events = [admitted(session(1, 3600)), progressed(310, 300), silent, progressed(1510, 1500)];
    let back = account(&events);
    assert_eq!((back.sessions().len(), back.usage(&Policy::default(), at(1510)).0), (1, 1500));
    let late = [&events[..3], &[progressed(300, 290)]].concat();
    assert_eq!(account(&late).sessions().len(), 0, "news from before does not");
}

proptest! {
    /// Any order of the records of one session, some of them twice, gives the same usage.
    #[test]
    fn the_order_of_records_does_not_matter(
        times in proptest::collection::vec(0u64..3600, 1..6),
        order in proptest::collection::vec(any::<proptest::sample::Index>(), 0..12),
    ) {
        let last = times.iter().copied().max().unwrap_or_default();
        let mut records: Vec<Event> =
            times.iter().map(|&seconds| progressed(i64::try_from(seconds).unwrap() + 10, seconds)).collect();
        records.push(Event::Stopped { session: id(1), report: report(4000, last) });
        let mut shuffled = vec![admitted(session(1, 3600))];
        shuffled.extend(order.iter().map(|index| index.get(&records).clone()));
        shuffled.extend(records);
        prop_assert_eq!(used(&shuffled, 9999), last);
        prop_assert!(account(&shuffled).sessions().is_empty());
    }
}

#[test]
fn whoever_shares_a_token_pushes_nobody_out_of_memory() {
    let mut account = Account::default();
    for number in 1..=40 {
        account.apply(at(0), &admitted(session(number, 3600)));
        account.apply(at(10), &Event::Progressed { session: id(number), report: report(300, 300) });
        account.apply(at(1200), &Event::Lapsed { session: id(number), counts: Seconds(300) });
    }
    assert_eq!(account.usage, Seconds(40 * 300));
    for number in 1..=40 {
        account.apply(at(1300), &Event::Stopped { session: id(number), report: report(310, 310) });
    }
    assert_eq!(account.usage, Seconds(40 * 310), "each is still known, and counts the difference");
    for number in 100..=120 {
        let again = Session { id: id(number), admitted_at: at(2000 + i64::from(number)), ..session(1, 3600) };
        account.apply(at(2000), &admitted(again));
    }
    let known = |device: u8| {
        let of_device = |ended: &&Ended| ended.session.device == session(device, 0).device;
        account.ended().iter().filter(of_device).count()
    };
    assert_eq!((known(1), known(2)), (8, 1), "of one device the last eight");
}

#[test]
fn a_session_that_is_found_late_does_not_end_a_newer_one() {
    let newer = Session { id: id(2), admitted_at: at(500), ..session(1, 3600) };
    let found = Session { reported: Some(report(100, 0)), admitted_at: at(100), ..session(1, 86_400) };
    let stop = Event::Stopped { session: id(1), report: report(600, 400) };
    let events = [admitted(newer.clone()), admitted(found.clone()), stop];
    let late = account(&events);
    assert_eq!(late.sessions(), std::slice::from_ref(&newer));
    assert_eq!(late.usage, Seconds(400), "and counts all the same");
    let older = Session { admitted_at: at(50), ..newer };
    let found_newer = account(&[admitted(older), admitted(found)]);
    assert_eq!(found_newer.sessions().iter().map(|live| live.id).collect::<Vec<_>>(), [id(1)], "it took that one over");
}

#[test]
fn a_device_moves_on_from_what_it_had_before() {
    let account = account(&[admitted(Session { admitted_at: at(100), ..session(1, 3600) })]);
    let (device, nas) = (Mac::new([2, 0, 0, 0, 0, 1]), NasName::new("front-desk"));
    let closed = |second| account.device_moved_on(device, &nas, at(second), at(500)).len();
    assert_eq!([closed(99), closed(100), closed(400)], [0, 1, 1]);
}

#[test]
fn no_such_session_is_no_proof_while_it_may_not_have_arrived() {
    let order = Event::Ending { session: id(1), cause: Cause::UsedUp };
    let answered = |events: &[Event], second| account(events).answered(id(1), Told::Refused(503), at(second));
    let arriving = [admitted(session(1, 3600)), order.clone()];
    let told = Event::Told { session: id(1), told: Told::Refused(503) };
    let gone = |counts| Event::Lapsed { session: id(1), counts: Seconds(counts) };
    assert_eq!(answered(&arriving, 0), Some(told), "its Accept may be on its way");
    assert_eq!(answered(&arriving, 1), Some(gone(0)));
    let begun = [admitted(session(1, 3600)), progressed(2, 0), order];
    assert_eq!(answered(&begun, 9), Some(gone(0)));
}
