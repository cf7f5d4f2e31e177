//! One token's sessions and usage: an aggregate that changes only by applying an [`Event`], so that whatever stores
//! events stores the account.

use std::net::IpAddr;

use jiff::Timestamp;

use super::budget::{Pool, Seconds};
use super::ident::{Mac, NasName, SessionId};
use super::policy::{Counting, Policy};
use super::token::AccessToken;

/// Grace after a session's own timeout before it is closed without its Stop.
const STOP_GRACE: Seconds = Seconds(30);

/// What a router may report above what a session was granted, and be believed.
const OVERRUN_BELIEVED: Seconds = Seconds(60);

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
}

/// One device online, from admission until something ends it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    /// Our name for it.
    pub id: SessionId,
    /// The device, if the door knew it.
    pub device: Option<Mac>,
    /// The router it is at.
    pub nas: NasName,
    /// The router's name for it (Acct-Session-Id).
    pub nas_session: Option<Box<str>>,
    /// The device's address.
    pub ip: Option<IpAddr>,
    /// When it was admitted.
    pub admitted_at: Timestamp,
    /// The Session-Timeout it was given.
    pub granted: Seconds,
    /// Whether the router reports its time; if not, time counts from admission.
    pub accounting: bool,
    /// Whether the router can be told to end it: then its grant is no promise that others must spare.
    pub can_disconnect: bool,
    /// The place it holds.
    pub place: Place,
    /// What the router said, if it said anything.
    pub reported: Option<Report>,
}

/// Who holds or wants a place, as far as the door can tell.
#[derive(Clone, Copy, Debug)]
pub struct Endpoint<'a> {
    /// The device's MAC.
    pub device: Option<Mac>,
    /// The router.
    pub nas: &'a NasName,
    /// The router's name for the session.
    pub nas_session: Option<&'a str>,
    /// The device's address.
    pub ip: Option<IpAddr>,
}

impl Endpoint<'_> {
    /// Whether both are one device: the same MAC, or, where the door knows no MAC, the same session or address at the
    /// same router.
    #[must_use]
    pub fn is_same(&self, other: &Endpoint<'_>) -> bool {
        match (self.device, other.device) {
            (Some(one), Some(other)) => one == other,
            (None, None) if self.nas == other.nas => match (self.nas_session, other.nas_session) {
                (Some(one), Some(other)) => one == other,
                (None, None) => self.ip.is_some() && self.ip == other.ip,
                _ => false,
            },
            _ => false,
        }
    }
}

/// Whether a session counts towards `UserLimit`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// It does.
    Held,
    /// It gave its place up to another device and is on its way out; its time still runs.
    GivenUp,
}

/// The router's latest word on a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Report {
    /// When it was said, or would have been without delay.
    pub at: Timestamp,
    /// Acct-Session-Time then.
    pub seconds: Seconds,
}

/// What happens to an account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A device was let in. Its old sessions end here.
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

impl Session {
    /// Who it belongs to.
    #[must_use]
    pub fn endpoint(&self) -> Endpoint<'_> {
        Endpoint { device: self.device, nas: &self.nas, nas_session: self.nas_session.as_deref(), ip: self.ip }
    }

    /// Seconds run up by `now`: as reported, and between reports as the clock runs, at most to the session's own
    /// timeout. An admission whose Start is awaited has run up nothing.
    #[must_use]
    pub fn used(&self, now: Timestamp) -> Seconds {
        match self.reported {
            Some(Report { at, seconds }) => seconds.max(seconds.plus(Seconds::between(at, now)).min(self.granted)),
            None if self.accounting => Seconds::ZERO,
            None => Seconds::between(self.admitted_at, now).min(self.granted),
        }
    }

    /// What of its grant it may still run up after `now`.
    fn promised(&self, now: Timestamp) -> Seconds {
        self.granted.less(self.used(now))
    }

    /// What it counts for if it ends now without the router's word: up to the last news, or up to now where no news
    /// is ever sent.
    fn counts_without_stop(&self, now: Timestamp) -> Seconds {
        match self.reported {
            Some(report) => report.seconds,
            None => self.used(now),
        }
    }

    /// When it lapses unless news comes, and what it then counts for.
    fn lapse(&self, policy: &Policy) -> (Timestamp, Seconds) {
        let Some(report) = self.reported else {
            return if self.accounting {
                (policy.grant_timeout.after(self.admitted_at), Seconds::ZERO)
            } else {
                (self.granted.after(self.admitted_at), self.granted)
            };
        };
        let timed_out = self.granted.less(report.seconds).plus(STOP_GRACE).after(report.at);
        let silence = Seconds(policy.interim_interval.0.saturating_mul(u64::from(policy.missed_interims)));
        let silent = silence.after(report.at);
        if timed_out <= silent { (timed_out, self.granted.max(report.seconds)) } else { (silent, report.seconds) }
    }

    /// Takes a report in; counters never go backwards, and no more is believed than the grant and a minute.
    fn progress(&mut self, report: Report) {
        let believed = report.seconds.min(self.granted.plus(OVERRUN_BELIEVED));
        match &mut self.reported {
            Some(known) if believed < known.seconds || report.at < known.at => {}
            reported => *reported = Some(Report { at: report.at, seconds: believed }),
        }
    }
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
                if let Some(session) = self.sessions.iter_mut().find(|live| live.id == *session) {
                    session.progress(*report);
                }
            }
            Event::Stopped { session, report } => {
                if let Some(mut ended) = self.take(*session) {
                    ended.progress(*report);
                    self.usage = self.usage.plus(ended.reported.map_or(Seconds::ZERO, |report| report.seconds));
                }
            }
            Event::Lapsed { session, counts } => {
                if self.take(*session).is_some() {
                    self.usage = self.usage.plus(*counts);
                }
            }
        }
    }

    fn admit(&mut self, session: &Session) {
        if self.sessions.iter().any(|live| live.id == session.id) {
            return;
        }
        let now = session.admitted_at;
        let usage = &mut self.usage;
        self.sessions.retain(|live| {
            let replaced = live.endpoint().is_same(&session.endpoint());
            if replaced {
                *usage = usage.plus(live.counts_without_stop(now));
            }
            !replaced
        });
        self.running_since.get_or_insert(now);
        self.last_used = self.last_used.max(Some(now));
        if self.first_device.is_none() {
            self.first_device = session.device;
        }
        self.sessions.push(session.clone());
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

    /// When [`Account::due`] will next have something to say.
    #[must_use]
    pub fn next_deadline(&self, policy: &Policy) -> Option<Timestamp> {
        self.sessions.iter().map(|session| session.lapse(policy).0).min()
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
