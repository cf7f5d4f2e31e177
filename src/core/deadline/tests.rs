//! What is due, and when: exact to the second, and nothing is due for ever.

use super::*;
use crate::core::ending::Told;
use crate::core::event::Terms;
use crate::core::ident::{Code, Mac, NasName, SessionId};
use crate::core::session::{Contact, Report};
use proptest::prelude::*;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

fn id(number: u8) -> SessionId {
    SessionId::new(at(0), [number; 10])
}

fn session(number: u8, admitted_at: i64, granted: u64, can_disconnect: bool) -> Session {
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
            can_disconnect,
            can_extend: false,
        },
        admitted_at: at(admitted_at),
        granted: Seconds(granted),
        interim: Seconds(300),
        accounting: true,
        reported: None,
        ending: None,
        extension: None,
        asker: None,
    }
}

/// An account under a policy, with a clock.
struct World {
    account: Account,
    policy: Policy,
}

impl World {
    fn new(pool: u64, valid_to: Option<i64>) -> Self {
        let mut account = Account::default();
        account.apply(
            at(0),
            &Event::Seen(Terms { pool: Pool::Holds(Seconds(pool)), valid_to: valid_to.map(at), last_access: None }),
        );
        Self { account, policy: Policy { missed_interims: 1000, ..Policy::default() } }
    }

    /// Lets a device in, which begins at once.
    fn online(&mut self, session: Session) {
        let (begun, id) = (session.admitted_at, session.id);
        self.account.apply(begun, &Event::Admitted(Box::new(session)));
        self.reports(id, begun.as_second(), 0);
    }

    fn reports(&mut self, session: SessionId, second: i64, seconds: u64) {
        let report = Report { at: at(second), seconds: Seconds(seconds), input_octets: 0, output_octets: 0 };
        self.account.apply(at(second), &Event::Progressed { session, report });
    }

    /// The next second at which something is due, and what; it is done, but for telling routers.
    fn next(&mut self) -> (i64, Vec<Event>) {
        let deadline = self.account.next_deadline(&self.policy).expect("something is due");
        let due = self.account.due(&self.policy, deadline);
        for event in &due {
            self.account.apply(deadline, event);
        }
        (deadline.as_second(), due)
    }
}

fn must_go(number: u8, cause: Cause) -> Event {
    Event::Ending { session: id(number), cause }
}

#[test]
fn two_devices_empty_one_pool_and_both_are_told_at_that_second() {
    let mut world = World::new(3600, None);
    world.online(session(1, 0, 3600, true));
    world.online(session(2, 1800, 1800, true));
    // 1800 s by one, then 2 s a second: empty at 1800 + 900.
    assert_eq!(world.next(), (2700, vec![must_go(1, Cause::UsedUp), must_go(2, Cause::UsedUp)]));
    assert_eq!(world.account.usage(&world.policy, at(2700)), Seconds(3600));
    let telling = |number| Event::Telling { session: id(number) };
    assert_eq!(world.next(), (2700, vec![telling(1), telling(2)]));
    assert_eq!(world.next().0, 2760, "should no outcome ever be known, they are told again");
}

#[test]
fn a_device_alone_is_ended_by_its_router_and_not_told() {
    let mut world = World::new(3600, Some(9000));
    world.online(session(1, 0, 3600, true));
    assert_eq!(world.next(), (3630, vec![Event::Lapsed { session: id(1), counts: Seconds(3600) }]));
    let mut world = World::new(86_400, Some(600));
    world.online(session(1, 0, 600, true));
    assert_eq!(world.next().0, 630, "nor at ValidTo");
}

#[test]
fn a_token_that_ends_earlier_than_was_promised_ends_its_sessions() {
    let mut world = World::new(86_400, Some(9000));
    world.online(session(1, 0, 7200, true));
    let terms = Terms { pool: Pool::Holds(Seconds(86_400)), valid_to: Some(at(1000)), last_access: None };
    world.account.apply(at(500), &Event::Seen(terms));
    assert_eq!(world.next(), (1000, vec![must_go(1, Cause::Over)]));
    let mut world = World::new(86_400, None);
    world.online(session(1, 0, 7200, true));
    world
        .account
        .apply(at(500), &Event::Seen(Terms { pool: Pool::Holds(Seconds(600)), valid_to: None, last_access: None }));
    assert_eq!(world.next(), (600, vec![must_go(1, Cause::UsedUp)]), "nor emptied upstream");
}

#[test]
fn what_is_promised_where_nobody_can_be_told_is_spared_for_it() {
    let mut world = World::new(3600, None);
    world.online(session(1, 0, 1800, false));
    world.online(session(2, 0, 3600, true));
    // Of 3600 s, 1800 are the first one's whatever happens.
    assert_eq!(world.next(), (1800, vec![must_go(2, Cause::UsedUp)]));
}

#[test]
fn what_is_given_back_in_time_ends_nobody() {
    let mut world = World::new(3600, None);
    world.online(session(1, 0, 3600, true));
    world.account.apply(at(1080), &Event::Admitted(Box::new(session(2, 1080, 2400, false))));
    // At 1200 what is left is what the second was promised, and that very second it is found never to have begun. Nobody
    // looks before 1500.
    let lapsed = Event::Lapsed { session: id(2), counts: Seconds(0) };
    for second in [1200, 1500] {
        assert_eq!(world.account.due(&world.policy, at(second)), std::slice::from_ref(&lapsed));
    }
    world.account.apply(at(1500), &lapsed);
    assert_eq!(world.account.due(&world.policy, at(1500)), []);
    assert_eq!(world.next().0, 3630, "the first has the pool to itself again");
}

#[test]
fn a_session_that_is_not_begun_draws_nothing() {
    let mut world = World::new(3600, None);
    world.online(session(1, 0, 3600, true));
    let waiting = session(2, 100, 3500, true);
    world.account.apply(at(100), &Event::Admitted(Box::new(waiting)));
    assert_eq!(world.next(), (220, vec![Event::Lapsed { session: id(2), counts: Seconds(0) }]));
    assert_eq!(world.next().0, 3630);
}

#[test]
fn who_comes_late_to_a_pool_that_is_used_up_to_the_second_is_told() {
    let mut world = World::new(100, None);
    world.online(session(1, 0, 100, true));
    // Its start is awaited: it draws nothing, and may at any time.
    world.account.apply(at(0), &Event::Admitted(Box::new(session(2, 0, 50, true))));
    assert_eq!(world.next(), (100, vec![must_go(2, Cause::UsedUp)]));
}

#[test]
fn the_clock_runs_from_the_first_login_where_it_elapses() {
    let mut world = World::new(3600, None);
    world.policy.counting = Counting::Elapsed;
    world.online(session(1, 0, 3600, true));
    world.online(session(2, 600, 86_400, true));
    assert_eq!(world.next(), (3600, vec![must_go(2, Cause::UsedUp)]));
}

#[test]
fn a_router_that_lets_a_session_run_on_is_told() {
    let mut world = World::new(86_400, None);
    world.online(session(1, 0, 600, true));
    world.reports(id(1), 629, 629);
    assert_eq!(world.next().0, 629 + 300 * 1000, "a slip of seconds is none");
    let mut world = World::new(86_400, None);
    world.online(session(1, 0, 600, true));
    world.reports(id(1), 630, 630);
    assert_eq!(world.next(), (630, vec![must_go(1, Cause::Overran)]));
}

#[test]
fn routers_are_told_again_later_and_later_until_the_session_is_proven_gone() {
    let mut world = World::new(86_400, None);
    world.online(session(1, 0, 86_400, true));
    world.account.apply(at(100), &must_go(1, Cause::Operator));
    let telling = vec![Event::Telling { session: id(1) }];
    let mut pauses = Vec::new();
    for told in [Told::Unanswered, Told::Refused(404), Told::Acked, Told::Unanswered, Told::Acked] {
        let (second, due) = world.next();
        assert_eq!(due, telling);
        let event = world.account.answered(id(1), told, at(second + 7)).unwrap();
        world.account.apply(at(second + 7), &event);
        pauses.push(world.account.next_deadline(&world.policy).unwrap().as_second() - second - 7);
    }
    assert_eq!(pauses, [1, 10, 30, 30, 30]);
    assert_eq!(world.account.sessions()[0].ending.as_ref().unwrap().tries, 5);
    assert_eq!(world.account.usage(&world.policy, at(1000)), Seconds(1000), "its time runs on");
    let gone = world.account.answered(id(1), Told::Refused(503), at(1000)).unwrap();
    assert_eq!(gone, Event::Lapsed { session: id(1), counts: Seconds(0) }, "up to its last news");
    assert_eq!(world.account.answered(id(2), Told::Acked, at(1000)), None);
}

#[test]
fn every_other_time_fewer_attributes_name_the_session() {
    let mut world = World::new(86_400, None);
    world.online(session(1, 0, 86_400, true));
    world.account.apply(at(100), &must_go(1, Cause::Operator));
    let reduced = |world: &World| world.account.sessions()[0].ending.as_ref().unwrap().reduced();
    for expected in [false, true, false, true] {
        world.account.apply(at(100), &Event::Telling { session: id(1) });
        assert_eq!(reduced(&world), expected);
    }
}

#[test]
fn a_session_of_the_http_door_without_accounting_has_nothing_to_disconnect() {
    let mut world = World::new(86_400, None);
    let mut over_http = session(1, 0, 86_400, true);
    over_http.contact.router = None;
    world.account.apply(at(0), &Event::Admitted(Box::new(over_http)));
    let order = Account::order(&world.account.sessions()[0], Cause::Operator, at(60));
    assert_eq!(order, Event::Lapsed { session: id(1), counts: Seconds(0) });
    world.reports(id(1), 60, 60);
    assert_eq!(Account::order(&world.account.sessions()[0], Cause::Operator, at(60)), must_go(1, Cause::Operator));
}

#[test]
fn whoever_gave_the_place_up_does_not_get_it_back() {
    let mut world = World::new(86_400, None);
    world.online(session(1, 0, 86_400, true));
    for (cause, holds) in [(Cause::Operator, true), (Cause::Displaced, false), (Cause::UsedUp, false)] {
        world.account.apply(at(100), &must_go(1, cause));
        assert_eq!(world.account.sessions()[0].holds_place(), holds, "{cause:?}");
    }
}

proptest! {
    /// At a deadline something is due, a moment before nothing is; doing it brings the account forward, so that no
    /// account is due for ever; and no pool is overdrawn by those who can be told, but for what a second brings.
    #[test]
    fn deadlines_are_exact_and_end(
        pool in 60u64..8000,
        valid_to in proptest::option::of(100i64..8000),
        elapsed: bool,
        sessions in proptest::collection::vec((0i64..3000, 1u64..8000, any::<bool>(), 0u64..2000, any::<bool>()), 1..5),
    ) {
        let mut world = World::new(pool, valid_to);
        world.policy.counting = if elapsed { Counting::Elapsed } else { Counting::Connected };
        let mut last = 0;
        for (number, (begun, granted, can_disconnect, reported, accounting)) in (1u8..).zip(sessions) {
            let session = Session { accounting, ..session(number, begun, granted, can_disconnect) };
            world.account.apply(at(begun), &Event::Admitted(Box::new(session)));
            if accounting && reported > 0 {
                world.reports(id(number), begun + i64::try_from(reported).unwrap(), reported);
            }
            last = last.max(begun);
        }
        let mut now = at(last);
        for _ in 0..200 {
            let Some(deadline) = world.account.next_deadline(&world.policy) else { break };
            let before = deadline.saturating_sub(std::time::Duration::from_millis(1)).unwrap();
            prop_assert_eq!(world.account.due(&world.policy, before), []);
            let due = world.account.due(&world.policy, deadline);
            prop_assert!(!due.is_empty());
            now = now.max(deadline);
            for event in &due {
                let was = world.account.clone();
                world.account.apply(now, event);
                let superseded = matches!(event, Event::Ending { session, .. } | Event::Telling { session }
                    if world.account.sessions().iter().all(|live| live.id != *session));
                // Both the token's end and that of its pool may have come.
                let twice = matches!(event, Event::Ending { session, .. } if was.sessions().iter()
                    .any(|live| live.id == *session && live.ending.as_ref().is_some_and(|ending| ending.since == now)));
                prop_assert!(superseded || twice || world.account != was, "{:?} changed nothing", event);
                if let Event::Telling { session } = event
                    && let Some(gone) = world.account.answered(*session, Told::Refused(503), now)
                {
                    world.account.apply(now, &gone);
                }
            }
        }
        prop_assert_eq!(world.account.next_deadline(&world.policy), None, "everything ends");
        prop_assert!(world.account.sessions().is_empty());
    }
}
