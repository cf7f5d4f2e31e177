//! A running session whose token was given more: how its router is offered a longer Session-Timeout (CoA, RFC 5176 §3.2).

use jiff::Timestamp;

use super::account::Account;
use super::budget::{SESSION_CEILING, Seconds, budget};
use super::ending::Told;
use super::event::Event;
use super::policy::Policy;
use super::session::Session;

/// Less is not worth a packet, and may be the rounding of a moment.
const WORTH_TELLING: Seconds = Seconds(60);

/// How often a router is told before it is left alone: the session then ends at its old timeout, and the guest logs in
/// again.
const TRIES: u32 = 3;

/// The pause after a try that failed, beyond the time the try itself takes.
const PAUSE: Seconds = Seconds(10);

/// A longer Session-Timeout that a router is being offered.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Extension {
    /// The Session-Timeout, counted from the session's begin.
    pub to: Seconds,
    /// How often its router was told.
    pub tries: u32,
    /// When to tell it again.
    pub next_try: Timestamp,
}

impl Extension {
    /// Its router is being told at `at`.
    pub(super) fn telling(&mut self, at: Timestamp) {
        self.tries = self.tries.saturating_add(1);
        self.next_try = Seconds(60).after(at);
    }

    /// What becomes of it after a try that failed at `at`.
    pub(super) fn failed(mut self, at: Timestamp) -> Option<Self> {
        self.next_try = PAUSE.after(at);
        (self.tries < TRIES).then_some(self)
    }
}

impl Account {
    /// The events by which sessions that may now last longer are offered that: those whose router takes a new timeout, and
    /// can be told to end them should the pool be empty sooner.
    #[must_use]
    pub fn longer(&self, policy: &Policy, now: Timestamp) -> Vec<Event> {
        let Some(terms) = self.terms() else { return Vec::new() };
        let (left, valid_to) = (self.pool_less(self.usage(policy, now), &terms), terms.valid_to);
        let offer = |session: &Session| {
            let takes = session.contact.can_extend && session.contact.can_disconnect && session.ending.is_none();
            let begun = session.reported.is_some() || !session.accounting;
            let most = session.used(now).plus(budget(left, valid_to, SESSION_CEILING, now)).min(policy.max_session);
            let known = session.extension.as_ref().map_or(session.granted, |extension| extension.to);
            (takes && begun && most >= known.plus(WORTH_TELLING))
                .then_some(Event::Extending { session: session.id, to: most.min(SESSION_CEILING) })
        };
        self.sessions().iter().filter_map(offer).collect()
    }
}

/// The event by which a router's answer to an offer is taken in.
pub(super) fn answered(session: &Session, told: Told) -> Option<Event> {
    let extension = session.extension.as_ref()?;
    Some(match told {
        Told::Acked => Event::Granted { session: session.id, granted: extension.to },
        told => Event::Told { session: session.id, told },
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::budget::Pool;
    use crate::core::event::Terms;
    use crate::core::ident::{Code, Mac, NasName, SessionId};
    use crate::core::session::{Contact, Report};

    const NONE: [u64; 0] = [];

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn id(number: u8) -> SessionId {
        SessionId::new(at(0), [number; 10])
    }

    /// An account with one session of an hour that began at 0.
    fn online(can_extend: bool) -> Account {
        let mut account = Account::default();
        let session = Session {
            id: id(1),
            device: Some(Mac::new([2, 0, 0, 0, 0, 1])),
            code: Code::parse("abc").unwrap(),
            contact: Contact {
                nas: NasName::new("front-desk"),
                router: Some([192, 0, 2, 1].into()),
                nas_session: None,
                user_name: None,
                ip: None,
                can_disconnect: true,
                can_extend,
            },
            admitted_at: at(0),
            granted: Seconds(3600),
            interim: Seconds(300),
            accounting: true,
            reported: None,
            ending: None,
            extension: None,
            asker: None,
        };
        seen(&mut account, 3600, None);
        account.apply(at(0), &Event::Admitted(Box::new(session)));
        let report = Report { at: at(0), seconds: Seconds(0), input_octets: 0, output_octets: 0 };
        account.apply(at(0), &Event::Progressed { session: id(1), report });
        account
    }

    fn seen(account: &mut Account, pool: u64, valid_to: Option<i64>) {
        let terms = Terms { pool: Pool::Holds(Seconds(pool)), valid_to: valid_to.map(at), last_access: None };
        account.apply(at(0), &Event::Seen(terms));
    }

    fn offered(account: &Account, now: i64) -> Vec<u64> {
        let offers = account.longer(&Policy::default(), at(now)).into_iter();
        offers.map(|event| if let Event::Extending { to, .. } = event { to.0 } else { panic!("{event:?}") }).collect()
    }

    #[test]
    fn a_top_up_is_offered_and_counts_once_it_is_acknowledged() {
        let policy = Policy { missed_interims: 1000, ..Policy::default() };
        let mut account = online(true);
        assert_eq!(offered(&account, 600), NONE, "nothing more than was granted");
        seen(&mut account, 3659, None);
        assert_eq!(offered(&account, 600), NONE, "not worth telling");
        seen(&mut account, 7200, None);
        assert_eq!(offered(&account, 600), [7200]);
        let extending = Event::Extending { session: id(1), to: Seconds(7200) };
        account.apply(at(600), &extending);
        assert_eq!(offered(&account, 600), NONE, "once");
        assert_eq!(account.due(&policy, at(600)), [Event::Telling { session: id(1) }]);
        account.apply(at(600), &Event::Telling { session: id(1) });
        let granted = account.answered(id(1), Told::Acked, at(601)).unwrap();
        account.apply(at(601), &granted);
        assert_eq!(account.sessions()[0].granted, Seconds(7200));
        assert_eq!(account.next_deadline(&policy), Some(at(7230)));
    }

    #[test]
    fn who_has_not_begun_is_offered_nothing_where_a_start_is_to_come() {
        let mut account = online(true);
        seen(&mut account, 7200, None);
        let not_begun = |accounting: bool| {
            let mut account = account.clone();
            account.sessions[0] = Session { accounting, reported: None, ..account.sessions[0].clone() };
            offered(&account, 600)
        };
        assert_eq!((not_begun(true), not_begun(false)), (vec![], vec![7200]));
    }

    #[test]
    fn it_is_never_more_than_the_window_and_max_session() {
        let mut account = online(true);
        seen(&mut account, 1_000_000, Some(5000));
        assert_eq!(offered(&account, 600), [5000]);
        seen(&mut account, 1_000_000, None);
        assert_eq!(offered(&account, 600), [86_400]);
        assert_eq!(offered(&account, 80_000), [86_400]);
    }

    #[test]
    fn a_router_that_will_not_is_left_alone_after_three_tries() {
        let policy = Policy::default();
        for told in [Told::Refused(406), Told::Unanswered] {
            let mut account = online(true);
            seen(&mut account, 7200, None);
            account.apply(at(600), &Event::Extending { session: id(1), to: Seconds(7200) });
            for second in [600, 610, 620] {
                assert_eq!(account.due(&policy, at(second)), [Event::Telling { session: id(1) }]);
                account.apply(at(second), &Event::Telling { session: id(1) });
                let event = account.answered(id(1), told, at(second)).unwrap();
                account.apply(at(second), &event);
            }
            assert_eq!((account.sessions()[0].extension.clone(), account.sessions()[0].granted.0), (None, 3600));
        }
    }

    #[test]
    fn only_where_the_router_takes_it_and_the_session_goes_on() {
        let mut account = online(false);
        seen(&mut account, 7200, None);
        assert_eq!(offered(&account, 600), NONE);
        let mut account = online(true);
        seen(&mut account, 7200, None);
        account.apply(at(600), &Event::Ending { session: id(1), cause: crate::core::ending::Cause::Operator });
        assert_eq!(offered(&account, 600), NONE);
    }

    #[test]
    fn a_router_that_has_no_such_session_says_that_it_is_gone() {
        let mut account = online(true);
        account.apply(at(600), &Event::Extending { session: id(1), to: Seconds(7200) });
        let gone = account.answered(id(1), Told::Refused(503), at(601));
        assert_eq!(gone, Some(Event::Lapsed { session: id(1), counts: Seconds(0) }));
    }
}
