//! One token's sessions and usage: an aggregate that changes only by applying an [`Event`], so that whatever stores
//! events stores the account.

use std::collections::VecDeque;
use std::net::IpAddr;

use jiff::Timestamp;

use super::budget::{Pool, Seconds};
use super::ident::{Mac, NasName, SessionId, TokenId};
use super::policy::{Counting, Policy};
use super::session::{Endpoint, Place, Report, Session};
use super::token::AccessToken;

/// Ended sessions that an account remembers, for records that come late.
const ENDED_KEPT: usize = 8;

/// Sessions and usage of one access token.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Account {
    /// Time used by ended sessions that the token's `MinutesLeft` does not show yet.
    usage: Seconds,
    /// The first login, from which the clock runs under [`Counting::Elapsed`].
    running_since: Option<Timestamp>,
    /// The first device, for `bind_device = "learn"`.
    first_device: Option<Mac>,
    /// The latest admission.
    last_used: Option<Timestamp>,
    /// Live sessions, oldest first.
    sessions: Vec<Session>,
    /// Sessions that ended last, and what each counts for in `usage`; oldest first.
    ended: VecDeque<Ended>,
}

/// A session that ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ended {
    /// As it was at its end.
    pub session: Session,
    /// What it counts for.
    pub counts: Seconds,
    /// Whether the router said so; if not, news may bring it back.
    pub stopped: bool,
}

/// News of a session, from its router.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum News {
    /// It began.
    Start,
    /// It goes on.
    Interim,
    /// It ended.
    Stop,
}

/// What a router reported of a session.
#[derive(Clone, Copy, Debug)]
pub struct Progress {
    /// The session by our own name, and its token, if the report carried them (Class).
    pub session: Option<(SessionId, TokenId)>,
    /// What happened.
    pub news: News,
    /// Time and octets.
    pub report: Report,
}

/// What happens to an account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A device was let in, or is found to be in by what its router reports of it. Its old sessions end here.
    Admitted(Session),
    /// A session lost its place to another device.
    Displaced {
        /// Which.
        session: SessionId,
    },
    /// The router reported a session's time so far (Start: none).
    Progressed {
        /// Which.
        session: SessionId,
        /// What was said.
        report: Report,
    },
    /// The router reported the end of a session.
    Stopped {
        /// Which.
        session: SessionId,
        /// What was said.
        report: Report,
    },
    /// A session ended without the router saying so.
    Lapsed {
        /// Which.
        session: SessionId,
        /// The time it counts for.
        counts: Seconds,
    },
}

impl Account {
    /// Changes the account. An event that bears on a session no longer live changes nothing.
    pub fn apply(&mut self, event: &Event) {
        match event {
            Event::Admitted(session) => self.admit(session),
            Event::Displaced { session } => {
                if let Some(session) = self.sessions.iter_mut().find(|live| live.id == *session) {
                    session.place = Place::GivenUp;
                }
            }
            Event::Progressed { session, report } => {
                self.bring_back(*session, report);
                if let Some(session) = self.sessions.iter_mut().find(|live| live.id == *session) {
                    session.progress(*report);
                }
            }
            Event::Stopped { session, report } => {
                if let Some(mut ended) = self.take(*session) {
                    ended.progress(*report);
                    let counts = ended.reported.map_or(Seconds::ZERO, |report| report.seconds);
                    self.end(ended, counts, true);
                } else if let Some(ended) = self.ended.iter_mut().find(|ended| ended.session.id == *session) {
                    // A Stop that comes late with a higher time than known counts the difference.
                    ended.session.progress(*report);
                    ended.stopped = true;
                    let counts =
                        ended.session.reported.map_or(Seconds::ZERO, |report| report.seconds).max(ended.counts);
                    self.usage = self.usage.plus(counts.less(ended.counts));
                    ended.counts = counts;
                }
            }
            Event::Lapsed { session, counts } => {
                if let Some(ended) = self.take(*session) {
                    self.end(ended, *counts, false);
                }
            }
        }
    }

    fn admit(&mut self, session: &Session) {
        let known = self.sessions.iter().chain(self.ended.iter().map(|ended| &ended.session));
        if known.into_iter().any(|known| known.id == session.id) {
            return;
        }
        let now = session.admitted_at;
        let (replaced, others) = self.sessions.drain(..).partition(|live| live.endpoint().is_same(&session.endpoint()));
        self.sessions = others;
        for old in Vec::<Session>::into_iter(replaced) {
            let counts = old.counts_without_stop(now);
            self.end(old, counts, false);
        }
        self.running_since.get_or_insert(now);
        self.last_used = self.last_used.max(Some(now));
        if self.first_device.is_none() {
            self.first_device = session.device;
        }
        self.sessions.push(session.clone());
    }

    fn end(&mut self, session: Session, counts: Seconds, stopped: bool) {
        self.usage = self.usage.plus(counts);
        if self.ended.len() == ENDED_KEPT {
            self.ended.pop_front();
        }
        self.ended.push_back(Ended { session, counts, stopped });
    }

    /// A session that was given up for gone, and of which news comes after all, is live again, unless its device has
    /// another by now. What it counted for stays counted: it becomes what it has run up.
    fn bring_back(&mut self, id: SessionId, report: &Report) {
        let Some(position) = self.ended.iter().position(|ended| ended.session.id == id && !ended.stopped) else {
            return;
        };
        let taken = self
            .ended
            .get(position)
            .is_some_and(|ended| self.sessions.iter().any(|live| live.endpoint().is_same(&ended.session.endpoint())));
        let late = self
            .ended
            .get(position)
            .is_some_and(|ended| ended.session.reported.is_some_and(|known| report.at <= known.at));
        if taken || late {
            return;
        }
        if let Some(Ended { mut session, counts, .. }) = self.ended.remove(position) {
            self.usage = self.usage.less(counts);
            session.progress(Report { seconds: counts, ..*report });
            self.sessions.push(session);
        }
    }

    fn take(&mut self, id: SessionId) -> Option<Session> {
        let position = self.sessions.iter().position(|live| live.id == id)?;
        Some(self.sessions.remove(position))
    }

    /// The events that are due because time passed: admissions not taken up, timeouts without a Stop, silence.
    #[must_use]
    pub fn due(&self, policy: &Policy, now: Timestamp) -> Vec<Event> {
        self.sessions
            .iter()
            .filter_map(|session| {
                let (at, counts) = session.lapse(policy);
                (now >= at).then_some(Event::Lapsed { session: session.id, counts })
            })
            .collect()
    }

    /// The events that close every session of the router at `address`, which began anew: up to its last news.
    #[must_use]
    pub fn router_restarted(&self, nas: &NasName, address: IpAddr, now: Timestamp) -> Vec<Event> {
        let of_router = |session: &&Session| session.nas == *nas && session.router == Some(address);
        let close = |session: &Session| Event::Lapsed { session: session.id, counts: session.counts_without_stop(now) };
        self.sessions.iter().filter(of_router).map(close).collect()
    }

    /// When [`Account::due`] will next have something to say.
    #[must_use]
    pub fn next_deadline(&self, policy: &Policy) -> Option<Timestamp> {
        self.sessions.iter().map(|session| session.lapse(policy).0).min()
    }

    /// The sessions that ended last, oldest first.
    #[must_use]
    pub const fn ended(&self) -> &VecDeque<Ended> {
        &self.ended
    }

    /// Live sessions, oldest first.
    #[must_use]
    pub fn sessions(&self) -> &[Session] {
        &self.sessions
    }

    /// The latest admission.
    #[must_use]
    pub const fn last_used(&self) -> Option<Timestamp> {
        self.last_used
    }

    /// The first device that was ever admitted.
    #[must_use]
    pub const fn first_device(&self) -> Option<Mac> {
        self.first_device
    }

    /// Time used that upstream does not show: by ended sessions and, by `now`, by live ones.
    #[must_use]
    pub fn usage(&self, policy: &Policy, now: Timestamp) -> Seconds {
        match policy.counting {
            Counting::Connected => self.usage.plus(self.sessions.iter().map(|session| session.used(now)).sum()),
            Counting::Elapsed => self.running_since.map_or(Seconds::ZERO, |since| Seconds::between(since, now)),
        }
    }

    /// The pool at `now`, were `asking` to take over its own old sessions first.
    #[must_use]
    pub fn left(&self, token: &AccessToken, asking: &Endpoint<'_>, policy: &Policy, now: Timestamp) -> Pool {
        let pool = token.pool(policy);
        if policy.counting == Counting::Elapsed {
            return pool.less(self.usage(policy, now));
        }
        let live = self.sessions.iter().map(|session| {
            if session.endpoint().is_same(asking) { session.counts_without_stop(now) } else { session.used(now) }
        });
        pool.less(self.usage.plus(live.sum()))
    }

    /// What other live sessions may still draw from the pool and cannot be stopped from drawing.
    #[must_use]
    pub fn promised_to_others(&self, asking: &Endpoint<'_>, now: Timestamp) -> Seconds {
        let others =
            self.sessions.iter().filter(|session| !session.can_disconnect && !session.endpoint().is_same(asking));
        others.map(|session| session.promised(now)).sum()
    }

    /// How many other devices hold a place.
    #[must_use]
    pub fn other_devices(&self, asking: &Endpoint<'_>) -> u32 {
        let mut devices: Vec<Option<Mac>> = self
            .sessions
            .iter()
            .filter(|session| session.place == Place::Held && !session.endpoint().is_same(asking))
            .map(|session| session.device)
            .collect();
        devices.sort_unstable();
        // Devices that the door could not name count one each.
        devices.dedup_by(|one, other| one.is_some() && one == other);
        u32::try_from(devices.len()).unwrap_or(u32::MAX)
    }

    /// The sessions of the `count` other devices that have held their places longest.
    #[must_use]
    pub fn oldest_others(&self, asking: &Endpoint<'_>, count: u32) -> Vec<SessionId> {
        let mut oldest: Vec<&Session> = Vec::new();
        let mut devices = 0u32;
        for session in self.sessions.iter().filter(|session| session.place == Place::Held) {
            let endpoint = session.endpoint();
            if endpoint.is_same(asking) {
                continue;
            }
            let known = oldest.iter().any(|other| other.endpoint().is_same(&endpoint));
            if !known && devices == count {
                continue;
            }
            devices += u32::from(!known);
            oldest.push(session);
        }
        oldest.iter().map(|session| session.id).collect()
    }
}

#[cfg(test)]
mod tests;
