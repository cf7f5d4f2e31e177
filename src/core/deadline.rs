//! What happens to an account because time passes: at which moment, and what. Exact to the second, and never due without
//! something to do.

use jiff::Timestamp;

use super::account::Account;
use super::budget::{Pool, Seconds};
use super::ending::Cause;
use super::event::Event;
use super::policy::{Counting, Policy};
use super::session::Session;

/// A moment, and what happens then.
type Moment = (Timestamp, Event);

impl Account {
    /// The events that are due at `now`: admissions not taken up, timeouts without a Stop, silence, an empty pool, the
    /// token's end, routers to be told. Applying them may make others due.
    #[must_use]
    pub fn due(&self, policy: &Policy, now: Timestamp) -> Vec<Event> {
        let mut due: Vec<Event> = self.lapses(policy).filter(|(at, _)| *at <= now).map(|(_, event)| event).collect();
        if !due.is_empty() {
            // Who is gone draws no more: only then shows who else must go.
            return due;
        }
        self.moments(policy, &mut |(at, event)| {
            if at <= now {
                due.push(event);
            }
        });
        due
    }

    /// When [`Account::due`] will next have something to say.
    #[must_use]
    pub fn next_deadline(&self, policy: &Policy) -> Option<Timestamp> {
        let mut next: Option<Timestamp> = None;
        self.moments(policy, &mut |(at, _)| next = Some(next.map_or(at, |next| next.min(at))));
        next
    }

    fn moments(&self, policy: &Policy, note: &mut impl FnMut(Moment)) {
        self.lapses(policy).for_each(&mut *note);
        for session in &self.sessions {
            if let Some(at) = session.overran() {
                note((at, Event::Ending { session: session.id, cause: Cause::Overran }));
            }
            if let Some(at) = session.next_try() {
                note((at, Event::Telling { session: session.id }));
            }
        }
        let Some(terms) = self.terms else { return };
        if let Some(at) = terms.valid_to {
            self.all_must_go(at, Cause::Over, note);
        }
        if let Pool::Holds(held) = terms.pool.plus(self.shown(&terms))
            && let Some(at) = self.empties(held, policy)
        {
            self.all_must_go(at, Cause::UsedUp, note);
        }
    }

    /// When each session lapses.
    fn lapses(&self, policy: &Policy) -> impl Iterator<Item = Moment> {
        self.sessions.iter().map(|session| {
            let (at, counts) = session.lapse(policy);
            (at, Event::Lapsed { session: session.id, counts })
        })
    }

    /// From `at` on, those that would go on must go.
    fn all_must_go(&self, at: Timestamp, cause: Cause, note: &mut impl FnMut(Moment)) {
        for session in self.sessions.iter().filter(|session| session.must_be_told(at)) {
            note((at, Self::order(session, cause, at)));
        }
    }

    /// When a pool that held so much, what was written back included, is empty but for what is promised to sessions that cannot be told to end; none if the
    /// sessions end before.
    fn empties(&self, held: Seconds, policy: &Policy) -> Option<Timestamp> {
        if policy.counting == Counting::Elapsed {
            return self.running_since.map(|since| held.after(since));
        }
        let promised = self.sessions.iter().filter(|session| !session.contact.can_disconnect).map(Session::most).sum();
        let room = held.less(self.usage).less(promised);
        let draws = || self.sessions.iter().filter(|session| session.contact.can_disconnect);
        if draws().map(Session::most).sum::<Seconds>() <= room {
            // Each ends by itself before, or at the very moment.
            return None;
        }
        let used = |now: Timestamp| draws().map(|session| session.used(now)).sum::<Seconds>();
        let begun = |session: &Session| session.reported.map_or(session.admitted_at, |report| report.at);
        let mut early = draws().map(begun).min()?;
        if used(early) >= room {
            return Some(early);
        }
        // Use rises by whole seconds of each session; between the moments it is searched by halves, to the millisecond.
        let mut late = draws().map(|session| session.granted.after(begun(session))).max()?;
        if used(late) < room {
            // One whose start is awaited draws nothing yet.
            return None;
        }
        while late.as_millisecond().saturating_sub(early.as_millisecond()) > 1 {
            let middle = early.as_millisecond().midpoint(late.as_millisecond());
            let middle = Timestamp::from_millisecond(middle).unwrap_or(late);
            if used(middle) >= room {
                late = middle;
            } else {
                early = middle;
            }
        }
        Some(late)
    }
}

#[cfg(test)]
mod tests;
