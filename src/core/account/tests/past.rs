//! What an account remembers of sessions that ended, and how sessions are found again.

use super::*;
use crate::core::budget::Pool;
use crate::core::ending::Told;
use crate::core::extension::Extension;

/// One that was met by its router's name, at this second.
fn met(number: u8, admitted: i64) -> Session {
    let mut session = session(number, 3600);
    session.id = session.id.met();
    session.device = Some(Mac::new([2, 0, 0, 0, 0, 7]));
    session.contact.nas_session = Some("80a00001".into());
    session.admitted_at = at(admitted);
    session
}

fn let_in(number: u8, admitted: i64) -> Session {
    let session = met(number, admitted);
    Session { id: session.id.let_in(), ..session }
}

fn ended(session: Session, second: i64, counts: u64, stopped: bool) -> Ended {
    Ended { session, at: at(second), counts: Seconds(counts), stopped }
}

fn live(sessions: Vec<Session>) -> Account {
    Account { sessions, ..Account::default() }
}

fn gone(all: impl IntoIterator<Item = Ended>) -> Account {
    Account { ended: all.into_iter().collect(), ..Account::default() }
}

fn stopped(second: i64, seconds: u64) -> Event {
    Event::Stopped { session: id(1), report: report(second, seconds) }
}

fn lapsed(counts: u64) -> Event {
    Event::Lapsed { session: id(1), counts: Seconds(counts) }
}

#[test]
fn a_session_that_was_met_is_found_by_all_that_its_router_says() {
    let account = live(vec![met(1, 1000)]);
    let found = |change: &dyn Fn(&mut Session)| {
        let mut asking = met(2, 1000);
        change(&mut asking);
        account.named_as(&asking).is_some()
    };
    assert!(found(&|_| ()));
    assert!(!found(&|asking| asking.contact.nas_session = None));
    assert!(!found(&|asking| asking.contact.nas_session = Some("80a00002".into())));
    assert!(!found(&|asking| asking.contact.nas = NasName::new("roof")));
    assert!(!found(&|asking| asking.contact.router = Some([192, 0, 2, 2].into())));
    assert!(found(&|asking| asking.contact.router = None), "one that was let in over HTTP");
    assert!(!found(&|asking| asking.device = Some(Mac::new([2, 0, 0, 0, 0, 8]))));
    assert!(!found(&|asking| asking.device = None));
}

#[test]
fn of_two_that_were_let_in_each_is_its_own_and_one_that_was_met_belongs_to_a_minute() {
    let found = |known: Session, asking: Session| live(vec![known]).named_as(&asking).is_some();
    assert!(!found(let_in(1, 1000), let_in(2, 1000)));
    assert!(found(let_in(1, 1000), met(2, 9000)), "what was met by a name has no other");
    for (apart, is_found) in [(0, true), (60, true), (61, false), (-60, true), (-61, false)] {
        assert_eq!(found(met(1, 1000), let_in(2, 1000 + apart)), is_found, "{apart} s later");
    }
}

#[test]
fn a_name_comes_again_two_minutes_after_its_session_ended() {
    let account = gone([ended(met(1, 1000), 2000, 900, true)]);
    assert!(account.named_as(&met(2, 2120)).is_some());
    assert!(account.named_as(&met(2, 2121)).is_none());
}

#[test]
fn of_several_of_one_name_the_latest_is_found_and_a_live_one_first() {
    let mut account = live(vec![met(1, 1000), met(2, 1100)]);
    assert_eq!(account.named_as(&met(9, 1100)).unwrap().id, id(2).met());
    account.ended.push_back(ended(met(3, 1200), 1300, 90, true));
    account.ended.push_back(ended(met(4, 1250), 1300, 90, true));
    assert_eq!(account.named_as(&met(9, 1300)).unwrap().id, id(2).met());
    account.sessions.clear();
    assert_eq!(account.named_as(&met(9, 1300)).unwrap().id, id(4).met());
}

#[test]
fn the_latest_32_devices_of_the_latest_code_are_remembered() {
    let mut account = Account::default();
    assert_eq!(account.remembered(), None);
    for number in (1..=40).chain([20]) {
        account.apply(
            at(number.into()),
            &Event::Admitted(Box::new(Session { granted: Seconds(0), ..session(number, 0) })),
        );
        account.sessions.clear();
        account.ended.clear();
    }
    let (code, devices) = account.remembered().unwrap();
    let expected: Vec<_> =
        (9..=40).filter(|number| *number != 20).chain([20]).map(|number| Mac::new([2, 0, 0, 0, 0, number])).collect();
    assert_eq!((code.reveal(), devices), ("abc", expected.as_slice()));
    let other = Session { code: Code::parse("xyz").unwrap(), ..session(50, 0) };
    account.apply(at(99), &Event::Admitted(Box::new(other)));
    assert_eq!(account.remembered().unwrap().0.reveal(), "xyz");
}

#[test]
fn after_two_days_an_end_is_forgotten() {
    let two_days = 2 * 86_400;
    let mut account = gone([ended(session(1, 60), 1000, 60, true), ended(session(2, 60), 1001, 60, true)]);
    account.forget_ended(at(1000 + two_days));
    assert_eq!(account.ended.len(), 2);
    account.forget_ended(at(1001 + two_days));
    assert_eq!(account.ended.iter().map(|ended| ended.session.id).collect::<Vec<_>>(), [id(2)]);
    account.forget_ended(at(1001 + 2 * two_days));
    assert_eq!(account.ended.capacity(), 0, "and takes no room");
}

#[test]
fn an_end_that_is_recalled_stands_once_and_is_forgotten_once() {
    let mut account = gone([ended(session(2, 60), 1000, 60, true)]);
    account.recall(ended(session(1, 60), 900, 50, false));
    account.recall(ended(session(1, 60), 900, 50, false));
    account.recall(ended(session(2, 60), 1000, 60, true));
    assert_eq!(account.ended.iter().map(|ended| ended.session.id).collect::<Vec<_>>(), [id(1), id(2)]);
    assert_eq!(account.forget(id(2)).unwrap().counts, Seconds(60));
    assert_eq!(account.forget(id(2)), None);
    assert_eq!(account.forget(id(1)).unwrap().counts, Seconds(50));
}

#[test]
fn an_end_that_is_said_again_is_as_late_as_the_latest_word() {
    let ends = |second: i64, stopped: bool, of: u8| {
        let mut account = gone([ended(session(1, 600), 1000, 90, stopped)]);
        let event = Event::Lapsed { session: id(of), counts: Seconds(90) };
        (account.apply(at(second), &event), account.ended[0].at)
    };
    assert_eq!(ends(1001, false, 1), (vec![id(1)], at(1001)));
    assert_eq!(ends(1000, false, 1), (vec![], at(1000)));
    assert_eq!(ends(999, false, 1), (vec![], at(1000)));
    assert_eq!(ends(1001, true, 1), (vec![], at(1000)), "its router has said when it ended");
    assert_eq!(ends(1001, false, 2), (vec![], at(1000)), "another's");
}

#[test]
fn later_news_alone_brings_back_what_was_given_up_for_gone() {
    let after = |second: i64, known: Option<Report>| {
        let mut account = gone([ended(Session { reported: known, ..session(1, 3600) }, 1000, 90, false)]);
        account.usage = Seconds(90);
        let corrected = account.apply(at(second), &progressed(second, 95));
        let live = account.sessions.first().map(|live| live.reported.unwrap().seconds.0);
        (live, account.usage.0, corrected.len())
    };
    assert_eq!(after(1001, None), (Some(95), 0, 0), "live again, with what the router says");
    assert_eq!(after(1000, None), (None, 95, 1), "no later than its end: it counts");
    assert_eq!(after(1001, Some(report(1000, 80))), (Some(95), 0, 0));
    assert_eq!(after(1001, Some(report(1001, 80))), (None, 95, 1), "known already");
    // What it counted for is what it has run up, though its router says less.
    let mut account = gone([ended(session(1, 3600), 1000, 90, false)]);
    account.usage = Seconds(90);
    account.apply(at(1010), &progressed(1010, 20));
    assert_eq!(account.sessions[0].reported.unwrap().seconds, Seconds(90));
}

#[test]
fn after_a_stop_only_another_stop_is_believed() {
    let mut account = gone([ended(session(1, 3600), 1000, 90, false)]);
    assert_eq!(account.apply(at(990), &stopped(990, 100)), [id(1)]);
    assert!(account.ended[0].stopped && account.sessions.is_empty());
    assert_eq!(account.apply(at(1100), &progressed(1100, 200)), []);
    assert_eq!((account.sessions.len(), account.usage), (0, Seconds(10)));
    assert_eq!(account.apply(at(1100), &stopped(1100, 200)), [id(1)]);
    assert_eq!((account.ended[0].counts, account.usage), (Seconds(200), Seconds(110)));
}

#[test]
fn what_is_decided_of_a_session_that_may_come_back_is_kept_for_it() {
    let granted = |stopped: bool| {
        let mut account = gone([ended(session(1, 60), 1000, 60, stopped)]);
        account.apply(at(1001), &Event::Granted { session: id(1), granted: Seconds(900) });
        account.ended[0].session.granted
    };
    assert_eq!((granted(false), granted(true)), (Seconds(900), Seconds(60)));
}

#[test]
fn a_lapse_is_overtaken_by_a_later_report_and_a_renewal_by_a_later_order() {
    let renewed = Event::Renewed { session: id(1), granted: Seconds(60) };
    let reported = live(vec![Session { reported: Some(report(500, 90)), ..session(1, 3600) }, session(2, 3600)]);
    let overtaken = |account: &Account, second: i64, event: &Event| account.has_overtaken(at(second), event);
    for (second, is_overtaken) in [(499, true), (500, false), (501, false)] {
        assert_eq!(overtaken(&reported, second, &lapsed(90)), is_overtaken, "a lapse at {second}");
        assert!(!overtaken(&reported, second, &renewed), "nobody ordered anything");
    }
    assert!(
        !overtaken(&reported, 0, &Event::Lapsed { session: id(2), counts: Seconds(0) }),
        "of another nothing was said"
    );
    let ending = Some(Box::new(Ending::new(Cause::Operator, at(500), true)));
    let ordered = live(vec![Session { ending: ending.clone(), ..session(1, 3600) }]);
    let ordered_of_ended = gone([ended(Session { ending, ..session(1, 3600) }, 600, 0, false)]);
    for (second, is_overtaken) in [(499, true), (500, false), (501, false)] {
        assert_eq!(overtaken(&ordered, second, &renewed), is_overtaken, "a renewal at {second}");
        assert_eq!(overtaken(&ordered_of_ended, second, &renewed), is_overtaken, "a renewal at {second}");
        assert!(!overtaken(&ordered, second, &lapsed(90)), "nothing was reported");
    }
    assert!(!overtaken(&ordered, 0, &Event::Renewed { session: id(2), granted: Seconds(60) }), "of another");
    assert!(!overtaken(&reported, 0, &progressed(0, 1)));
}

#[test]
fn a_router_that_began_anew_has_none_of_its_sessions_from_before() {
    let router = Some([192, 0, 2, 1].into());
    let closed = |change: &dyn Fn(&mut Session), address| {
        let mut one = session(1, 3600);
        change(&mut one);
        let account = live(vec![one.clone()]);
        let events = account.router_restarted(&NasName::new("front-desk"), address, at(1000), at(1100));
        let mut past = gone([ended(one, 900, 0, false)]);
        let of_ended =
            |past: &Account| past.router_restarted_of_ended(&NasName::new("front-desk"), address, at(1000), at(1100));
        assert_eq!(of_ended(&past), events, "of one that was given up for gone the same is said");
        past.ended[0].stopped = true;
        assert_eq!(of_ended(&past), [], "and nothing of one whose router has ended it");
        events.len()
    };
    assert_eq!(closed(&|_| (), router), 1);
    assert_eq!(closed(&|_| (), None), 0, "it said from where");
    assert_eq!(closed(&|one| one.contact.router = None, None), 1);
    assert_eq!(closed(&|one| one.contact.router = Some([192, 0, 2, 2].into()), router), 0);
    assert_eq!(closed(&|one| one.contact.nas = NasName::new("roof"), router), 0);
    assert_eq!(closed(&|one| one.admitted_at = at(1000), router), 1);
    assert_eq!(closed(&|one| one.admitted_at = at(1001), router), 0, "it was let in since");
    assert_eq!(closed(&|one| one.reported = Some(report(1000, 9)), router), 1);
    assert_eq!(closed(&|one| one.reported = Some(report(1001, 9)), router), 0, "it was spoken of since");
}

#[test]
fn after_a_restart_routers_are_told_again() {
    let mut told = Ending::new(Cause::Operator, at(500), true);
    told.telling(at(600));
    let told = Session {
        ending: Some(Box::new(told)),
        extension: Some(Box::new(Extension { to: Seconds(900), tries: 3, next_try: at(700) })),
        ..session(1, 3600)
    };
    let mut account = live(vec![told.clone()]);
    account.ended.push_back(ended(told, 800, 9, false));
    account.usage = Seconds(77);
    let kept = account.kept();
    assert_eq!(kept.usage, Seconds(77));
    let anew = Some(Box::new(Ending::new(Cause::Operator, at(500), true)));
    for session in kept.sessions.iter().chain(kept.ended.iter().map(|ended| &ended.session)) {
        assert_eq!((&session.ending, &session.extension), (&anew, &None));
    }
    assert_eq!((kept.sessions.len(), kept.ended.len()), (1, 1));
}

#[test]
fn the_pool_by_now_is_that_of_the_token_as_it_was_seen() {
    let mut account = live(vec![Session { reported: Some(report(0, 0)), ..session(1, 3600) }]);
    assert_eq!(account.left_by_now(&Policy::default(), at(100)), None);
    account.terms = Some(Terms { pool: Pool::Holds(Seconds(600)), valid_to: None, last_access: None });
    assert_eq!(account.left_by_now(&Policy::default(), at(100)), Some(Pool::Holds(Seconds(500))));
}

#[test]
fn a_session_is_followed_by_a_later_one_of_its_device() {
    let same = |number: u8, admitted: i64| Session {
        device: session(1, 0).device,
        admitted_at: at(admitted),
        ..session(number, 60)
    };
    let account = live(vec![same(2, 100), same(3, 200), Session { admitted_at: at(50), ..session(4, 60) }]);
    assert_eq!(account.followed(&same(1, 99)), Some(at(100)));
    assert_eq!(account.followed(&same(1, 100)), Some(at(200)));
    assert_eq!(account.followed(&same(1, 200)), None);
}

#[test]
fn what_a_router_answered_is_of_the_session_it_was_told_of() {
    let account =
        live(vec![Session { ending: Some(Box::new(Ending::new(Cause::Operator, at(500), true))), ..session(1, 3600) }]);
    let told = Event::Told { session: id(1), told: Told::Acked };
    assert_eq!(account.answered(id(1), Told::Acked, at(600)), Some(told));
    assert_eq!(account.answered(id(2), Told::Acked, at(600)), None);
}
