//! One device online, from its admission to its end: who it is, what it was granted, what its router says of it, and
//! how it is told to go.

use std::net::IpAddr;

use jiff::Timestamp;
use smol_str::SmolStr;

use super::budget::Seconds;
use super::ending::{Ending, Told};
use super::extension::Extension;
use super::ident::{Code, Mac, NasName, SessionId};
use super::policy::Policy;

/// Grace after a session's own timeout before it is closed without its Stop.
pub(super) const STOP_GRACE: Seconds = Seconds(30);

/// What a router may report above what a session was granted, and be believed.
const OVERRUN_BELIEVED: Seconds = Seconds(60);

/// A session that ends by itself within so many seconds is not told to.
const ENDS_BY_ITSELF: Seconds = Seconds(5);

/// How long after its admission a session may be unknown to its router, since its Accept is on the way. Longer, and "no such
/// session" would prove nothing that it should (contract); a Start that comes later still brings the session back.
const ARRIVES_WITHIN: Seconds = Seconds(1);

/// One device online, from admission until something ends it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Session {
    /// Our name for it.
    pub id: SessionId,
    /// The device, if the door knew it.
    pub device: Option<Mac>,
    /// The code it was admitted on.
    pub code: Code,
    /// How its router knows it.
    pub contact: Contact,
    /// The NAS that asked for it, where another has it: a RADIUS proxy asks for the router behind it.
    pub asker: Option<NasName>,
    /// When it was admitted.
    pub admitted_at: Timestamp,
    /// The Session-Timeout it was given.
    pub granted: Seconds,
    /// The Acct-Interim-Interval it was given.
    pub interim: Seconds,
    /// Whether the router reports its time; if not, time counts from admission.
    pub accounting: bool,
    /// What the router said, if it said anything.
    pub reported: Option<Report>,
    /// That it must go, and how far that is.
    pub ending: Option<Box<Ending>>,
    /// A longer timeout that its router is being offered. Not kept over a restart.
    pub extension: Option<Box<Extension>>,
}

/// How a router knows a session: what finds it in accounting, and what a Disconnect-Request names.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Contact {
    /// The router it is at.
    pub nas: NasName,
    /// The address that router sends RADIUS from. None: it was admitted over HTTP, and no RADIUS came since.
    pub router: Option<IpAddr>,
    /// The router's name for it (Acct-Session-Id).
    pub nas_session: Option<SmolStr>,
    /// The User-Name it has at the router, where that is not the code. It may be a code in another spelling, so it is as
    /// silent as one.
    pub user_name: Option<Code>,
    /// The device's address.
    pub ip: Option<IpAddr>,
    /// Whether the router can be told to end it: then its grant is no promise that others must spare.
    pub can_disconnect: bool,
    /// Whether the router takes a new Session-Timeout for it.
    pub can_extend: bool,
}

impl Contact {
    /// This contact with what `later` knows better: a router that speaks of a session has it.
    #[must_use]
    pub fn updated(&self, later: &Self) -> Self {
        Self {
            nas: later.nas.clone(),
            router: later.router.or(self.router),
            nas_session: later.nas_session.clone().or_else(|| self.nas_session.clone()),
            user_name: later.user_name.clone().or_else(|| self.user_name.clone()),
            ip: later.ip.or(self.ip),
            can_disconnect: later.can_disconnect,
            can_extend: later.can_extend,
        }
    }
}

/// The router's latest word on a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Report {
    /// When it was said, or would have been without delay.
    pub at: Timestamp,
    /// Acct-Session-Time then.
    pub seconds: Seconds,
    /// Octets from the device so far, gigawords included.
    pub input_octets: u64,
    /// Octets to the device so far.
    pub output_octets: u64,
}

/// Who holds or wants a place, as far as the door can tell.
#[derive(Clone, Copy, Debug)]
pub struct Endpoint<'a> {
    /// The device's MAC.
    pub device: Option<Mac>,
    /// The router.
    pub nas: &'a NasName,
    /// The address the router asks from, if it is known.
    pub router: Option<IpAddr>,
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

impl Session {
    /// Whether a login from `asking` is this very session authenticating again: the router knows it by the same name, and
    /// goes on to count from its begin (hostapd does so at each EAP reauthentication).
    #[must_use]
    pub fn is_continued_by(&self, asking: &Endpoint<'_>) -> bool {
        let named = asking.nas_session.is_some() && self.contact.nas_session.as_deref() == asking.nas_session;
        // Several routers may share a name, and each counts for itself.
        let same_router = self.contact.router.zip(asking.router).is_none_or(|(one, other)| one == other);
        let there = (self.contact.nas == *asking.nas && same_router) || self.asker.as_ref() == Some(asking.nas);
        named && there && self.device.is_some() && self.device == asking.device
    }

    /// It authenticated again at `at`, and may last for `granted` from its begin.
    pub(super) fn renew(&mut self, granted: Seconds, at: Timestamp) {
        self.granted = granted;
        self.ending = None;
        self.extension = None;
        if self.accounting && self.reported.is_none() {
            // Its start is awaited anew.
            self.admitted_at = at;
        }
    }

    /// Its router is known better, and may be another than the one that asked.
    pub(super) fn contacted(&mut self, contact: Contact, at: Timestamp) {
        let former = std::mem::replace(&mut self.contact, contact);
        if let Some(ending) = self.ending.as_mut().filter(|_| self.contact.can_disconnect) {
            // It could not be told before.
            ending.next_try.get_or_insert(at);
        }
        if former.nas != self.contact.nas {
            self.asker.get_or_insert(former.nas);
        }
    }

    /// Who it belongs to.
    #[must_use]
    pub fn endpoint(&self) -> Endpoint<'_> {
        let Contact { nas, router, nas_session, ip, .. } = &self.contact;
        Endpoint { device: self.device, nas, router: *router, nas_session: nas_session.as_deref(), ip: *ip }
    }

    /// Seconds run up by `now`: as reported, and between reports as the clock runs, at most to the session's own
    /// timeout. An admission whose Start is awaited has run up nothing; where none need come, it counts from the admission,
    /// whatever is reported.
    #[must_use]
    pub fn used(&self, now: Timestamp) -> Seconds {
        match self.reported {
            Some(Report { at, seconds, .. }) if self.accounting => {
                seconds.max(seconds.plus(Seconds::between(at, now)).min(self.granted))
            }
            None if self.accounting => Seconds::ZERO,
            reported => {
                let since = Seconds::between(self.admitted_at, now).min(self.granted);
                reported.map_or(since, |report| report.seconds.max(since))
            }
        }
    }

    /// Whether its router may not have been told yet that it was let in.
    pub(super) fn is_arriving(&self, now: Timestamp) -> bool {
        self.reported.is_none() && Seconds::between(self.admitted_at, now) < ARRIVES_WITHIN
    }

    /// What of its grant it may still run up after `now`.
    pub(super) fn promised(&self, now: Timestamp) -> Seconds {
        self.granted.less(self.used(now))
    }

    /// The most it can come to run up: its grant, or what was reported beyond.
    pub(super) fn most(&self) -> Seconds {
        self.reported.map_or(self.granted, |report| report.seconds.max(self.granted))
    }

    /// What it counts for if it ends now without the router's word: up to the last news, or up to now where no news
    /// need be sent.
    pub(super) fn counts_without_stop(&self, now: Timestamp) -> Seconds {
        match self.reported {
            Some(report) if self.accounting => report.seconds,
            _ => self.used(now),
        }
    }

    /// Whether it counts towards `UserLimit`.
    #[must_use]
    pub fn holds_place(&self) -> bool {
        self.ending.as_ref().is_none_or(|ending| !ending.cause.gives_up_place())
    }

    /// Whether, at `moment`, it would go on for long enough that its router must be told to end it.
    pub(super) fn must_be_told(&self, moment: Timestamp) -> bool {
        self.contact.can_disconnect && self.ending.is_none() && self.promised(moment) > ENDS_BY_ITSELF
    }

    /// When its router is to be told something, if it is.
    pub(super) fn next_try(&self) -> Option<Timestamp> {
        match &self.ending {
            Some(ending) => ending.next_try,
            None => self.extension.as_ref().map(|extension| extension.next_try),
        }
    }

    /// Its router is being told.
    pub(super) fn telling(&mut self, at: Timestamp) {
        match (&mut self.ending, &mut self.extension) {
            (Some(ending), _) => ending.telling(at),
            (None, Some(extension)) => extension.telling(at),
            (None, None) => {}
        }
    }

    /// Its router is told a moment later.
    pub(super) fn put_off(&mut self, at: Timestamp) {
        let later = Seconds(1).after(at);
        match (&mut self.ending, &mut self.extension) {
            (Some(ending), _) => ending.next_try = Some(later),
            (None, Some(extension)) => extension.next_try = later,
            (None, None) => {}
        }
    }

    /// What its router answered, other than that it is gone or has done so.
    pub(super) fn told(&mut self, told: Told, at: Timestamp) {
        match &mut self.ending {
            Some(ending) => ending.told(told, at),
            None => self.extension = self.extension.take().and_then(|extension| extension.failed(at)).map(Box::new),
        }
    }

    /// Since when its router has let it run on beyond its timeout.
    pub(super) fn overran(&self) -> Option<Timestamp> {
        let report = self.reported?;
        let far = report.seconds >= self.granted.plus(STOP_GRACE);
        (far && self.contact.can_disconnect && self.ending.is_none()).then_some(report.at)
    }

    /// When it lapses unless news comes, and what it then counts for.
    pub(super) fn lapse(&self, policy: &Policy) -> (Timestamp, Seconds) {
        if !self.accounting {
            return (self.granted.after(self.admitted_at), self.most());
        }
        let Some(report) = self.reported else {
            return (policy.grant_timeout.after(self.admitted_at), Seconds::ZERO);
        };
        let silence = Seconds(self.interim.0.saturating_mul(u64::from(policy.missed_interims)));
        let silent = silence.after(report.at);
        if report.seconds > self.granted {
            // Its router lets it run on: only silence tells that it ended.
            return (silent, report.seconds);
        }
        let timed_out = self.granted.less(report.seconds).plus(STOP_GRACE).after(report.at);
        if timed_out <= silent { (timed_out, self.granted) } else { (silent, report.seconds) }
    }

    /// Takes a report in; counters never go backwards, and no more is believed than the grant and a minute.
    pub(super) fn progress(&mut self, report: Report) {
        let believed = report.seconds.min(self.granted.plus(OVERRUN_BELIEVED));
        // Whatever the delay, nothing was said before it was let in.
        let report = Report { at: report.at.max(self.admitted_at), ..report };
        let known = self.reported.get_or_insert(Report { seconds: Seconds::ZERO, ..report });
        known.input_octets = known.input_octets.max(report.input_octets);
        known.output_octets = known.output_octets.max(report.output_octets);
        if believed >= known.seconds && report.at >= known.at {
            known.at = report.at;
        }
        known.seconds = known.seconds.max(believed);
    }
}
