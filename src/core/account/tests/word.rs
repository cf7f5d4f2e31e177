//! What a session makes of its router's word, and of the lack of it.

use super::*;
use crate::core::ending::Told;
use crate::core::extension::Extension;

fn reported(second: i64, seconds: u64) -> Session {
    Session { reported: Some(report(second, seconds)), ..session(1, 3600) }
}

fn ordered() -> Session {
    Session { ending: Some(Box::new(Ending::new(Cause::Operator, at(500), true))), ..reported(400, 400) }
}

fn offered() -> Session {
    Session {
        extension: Some(Box::new(Extension { to: Seconds(7200), tries: 0, next_try: at(500) })),
        ..reported(400, 400)
    }
}

fn after(session: Session, second: i64, event: &Event) -> Session {
    let mut account = Account { sessions: vec![session], ..Account::default() };
    account.apply(at(second), event);
    account.sessions.remove(0)
}

#[test]
fn a_session_is_continued_by_its_own_device_name_and_router_alone() {
    let mut known = session(1, 3600);
    known.contact.nas_session = Some("80a00001".into());
    let asking = |change: &dyn Fn(&mut Session)| {
        let mut asking = known.clone();
        change(&mut asking);
        known.is_continued_by(&asking.endpoint())
    };
    assert!(asking(&|_| ()));
    assert!(asking(&|one| one.contact.router = None));
    assert!(!asking(&|one| one.contact.router = Some([192, 0, 2, 2].into())));
    assert!(!asking(&|one| one.contact.nas = NasName::new("roof")));
    assert!(!asking(&|one| one.contact.nas_session = Some("80a00002".into())));
    assert!(!asking(&|one| one.contact.nas_session = None));
    assert!(!asking(&|one| one.device = Some(Mac::new([2, 0, 0, 0, 0, 9]))));
    assert!(!asking(&|one| one.device = None));
    let nameless = session(1, 3600);
    assert!(!nameless.is_continued_by(&nameless.endpoint()));
    let nobodys = Session { device: None, ..known.clone() };
    assert!(!nobodys.is_continued_by(&nobodys.endpoint()), "without a MAC it may be anybody's");
    // A proxy asked, and the router behind it reports: both are where it is.
    let moved = Session { asker: Some(NasName::new("front-desk")), ..known.clone() };
    let mut moved_on = moved.clone();
    moved_on.contact.nas = NasName::new("roof");
    assert!(moved_on.is_continued_by(&known.endpoint()));
}

#[test]
fn who_authenticates_again_is_wanted_and_awaited_anew_where_nothing_was_reported() {
    let renewed = Event::Renewed { session: id(1), granted: Seconds(900) };
    let renew = |session: Session| {
        let session = after(session, 700, &renewed);
        assert_eq!((session.granted, &session.ending, &session.extension), (Seconds(900), &None, &None));
        session.admitted_at
    };
    assert_eq!(renew(session(1, 3600)), at(700));
    assert_eq!(renew(Session { accounting: false, ..session(1, 3600) }), at(0), "no start is awaited");
    assert_eq!(renew(ordered()), at(0));
    assert_eq!(renew(offered()), at(0));
}

#[test]
fn a_router_that_becomes_known_can_be_told_and_who_asked_is_remembered() {
    let elsewhere = |can_disconnect: bool| {
        let contact = Contact { nas: NasName::new("roof"), can_disconnect, ..session(1, 0).contact };
        Event::Contacted { session: id(1), contact: Box::new(contact) }
    };
    let untellable =
        Session { ending: Some(Box::new(Ending::new(Cause::Operator, at(500), false))), ..session(1, 3600) };
    let told_at = |session: Session, event: &Event| after(session, 600, event).ending.unwrap().next_try;
    assert_eq!(told_at(untellable.clone(), &elsewhere(true)), Some(at(600)));
    assert_eq!(told_at(untellable, &elsewhere(false)), None);
    assert_eq!(told_at(ordered(), &elsewhere(true)), Some(at(500)), "as it was to be");
    let moved = after(session(1, 3600), 600, &elsewhere(true));
    assert_eq!((moved.contact.nas.as_str(), moved.asker), ("roof", Some(NasName::new("front-desk"))));
    let same = Event::Contacted { session: id(1), contact: Box::new(session(1, 0).contact) };
    assert_eq!(after(session(1, 3600), 600, &same).asker, None);
}

#[test]
fn without_a_stop_a_session_counts_up_to_the_last_news_or_by_the_clock_where_none_need_come() {
    assert_eq!(reported(400, 390).counts_without_stop(at(1000)), Seconds(390));
    assert_eq!(session(1, 3600).counts_without_stop(at(1000)), Seconds(0));
    let quiet = Session { accounting: false, ..reported(400, 390) };
    assert_eq!(quiet.counts_without_stop(at(1000)), Seconds(1000));
}

#[test]
fn who_is_put_off_is_told_a_second_later() {
    let put_off = Event::PutOff { session: id(1) };
    assert_eq!(after(ordered(), 600, &put_off).next_try(), Some(at(601)));
    assert_eq!(after(offered(), 600, &put_off).next_try(), Some(at(601)));
    assert_eq!(after(reported(1, 1), 600, &put_off).next_try(), None);
}

#[test]
fn who_ends_by_itself_within_a_moment_need_not_be_told() {
    // It has run up an hour less so many seconds at that moment.
    let told = |left: u64| reported(0, 3600 - left).must_be_told(at(0));
    assert_eq!((0..100).find(|left| told(*left)), Some(6));
}

#[test]
fn who_runs_on_to_the_very_end_of_his_grant_is_timed_out_and_beyond_it_only_silent() {
    let policy = Policy::default();
    assert_eq!(reported(1000, 3600).lapse(&policy).1, Seconds(3600));
    let silence = 300 * i64::from(policy.missed_interims);
    assert_eq!(reported(1000, 3601).lapse(&policy), (at(1000 + silence), Seconds(3601)));
    assert!(reported(1000, 3600).lapse(&policy).0 < at(1000 + silence));
}

#[test]
fn nothing_was_said_before_a_session_was_let_in() {
    let late = Session { admitted_at: at(500), ..session(1, 3600) };
    let told = after(late.clone(), 600, &progressed(100, 20)).reported.unwrap();
    assert_eq!((told.at, told.seconds), (at(500), Seconds(20)));
    assert_eq!(after(late, 600, &progressed(550, 20)).reported.unwrap().at, at(550));
}

#[test]
fn tries_are_further_and_further_apart() {
    let mut ending = Ending::new(Cause::Operator, at(0), true);
    let waits: Vec<i64> = (0..10)
        .map(|_| {
            ending.telling(at(1000));
            assert_eq!(ending.next_try, Some(at(1060)), "should no answer ever be known");
            ending.told(Told::Unanswered, at(1000));
            ending.next_try.unwrap().as_second() - 1000
        })
        .collect();
    assert_eq!(waits, [1, 10, 30, 30, 60, 60, 60, 60, 300, 300]);
    ending.told(Told::Acked, at(1000));
    assert_eq!(ending.next_try, Some(at(1030)), "its Stop is awaited");
}

#[test]
fn every_event_names_its_session_and_whether_it_is_kept_and_lets_in() {
    let met = Session { reported: Some(report(1, 1)), ..session(1, 0) };
    let intents: Vec<(Event, bool, bool)> = vec![
        (admitted(session(1, 0)), true, true),
        (admitted(met), true, false),
        (Event::Renewed { session: id(1), granted: Seconds(0) }, true, true),
        (Event::Contacted { session: id(1), contact: Box::new(session(1, 0).contact) }, true, false),
        (progressed(1, 1), true, false),
        (Event::Stopped { session: id(1), report: report(1, 1) }, true, false),
        (Event::Lapsed { session: id(1), counts: Seconds(0) }, true, false),
        (displaced(1), true, false),
        (Event::Granted { session: id(1), granted: Seconds(0) }, true, false),
        (Event::Extending { session: id(1), to: Seconds(0) }, false, false),
        (Event::Telling { session: id(1) }, false, false),
        (Event::PutOff { session: id(1) }, false, false),
        (Event::Told { session: id(1), told: Told::Acked }, false, false),
    ];
    for (event, is_kept, lets_in) in intents {
        assert_eq!((event.session(), event.is_kept(), event.lets_in()), (Some(id(1)), is_kept, lets_in), "{event:?}");
    }
    let of_all = Event::Forgotten { used: Seconds(1) };
    assert_eq!((of_all.session(), of_all.is_kept(), of_all.lets_in()), (None, true, false));
}

#[test]
fn causes_and_answers_have_names_of_their_own() {
    let causes = Cause::ALL.map(Cause::as_str);
    assert_eq!(causes, ["displaced", "operator", "overran", "over", "used_up", "revoked", "guest"]);
    let answers = [Told::Acked, Told::Refused(1), Told::Unanswered, Told::Unsendable].map(Told::as_str);
    assert_eq!(answers, ["acked", "refused", "unanswered", "unsendable"]);
}

#[test]
fn a_name_tells_whether_its_session_was_met_and_when_it_was_made() {
    let name = SessionId::new(at(1_790_000_000), [0xAB; 10]);
    assert_eq!(name.time(), at(1_790_000_000));
    assert_eq!((name.is_met(), name.met().is_met(), name.met().let_in().is_met()), (true, true, false));
    assert_eq!((name.met().met(), name.let_in().let_in()), (name.met(), name.let_in()));
    assert_eq!(name.let_in().met(), name, "all but that bit stays");
    assert!(!SessionId::new(at(0), [0xAA; 10]).is_met());
}
