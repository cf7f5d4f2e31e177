//! One token's sessions and usage: an aggregate that changes only by applying an [`Event`], so that whatever stores
//! events stores the account.

use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;

use jiff::Timestamp;

use super::budget::{Pool, Seconds};
use super::ending::{Cause, Ending, SESSION_CONTEXT_NOT_FOUND, Told};
use super::event::{Event, Terms};
use super::extension::{self, Extension};
use super::ident::{Code, Mac, NasName, SessionId};
use super::policy::{Counting, Policy};
use super::session::{Endpoint, Report, Session};
use super::settle::Settlement;
use super::token::AccessToken;

/// Ended sessions of one device that an account remembers, for records that come late: whoever shares a token with many
/// does not push others out.
const ENDED_KEPT_OF_A_DEVICE: usize = 8;

/// Ended sessions that it remembers in all.
const ENDED_KEPT: usize = 512;

/// How long it remembers them: routers keep a record for less (`MAX_DELAY` of `radius::accounting`).
const ENDED_KEPT_FOR: Seconds = Seconds(2 * 86_400);

/// How late a router may say once more what it has said of a session, without saying how late that is.
const SAID_AGAIN_WITHIN: Seconds = Seconds(120);

/// How long after a session was let in its router may say that it began, by clocks that are not quite the same. Later, the same name
/// is another session's.
const STARTS_WITHIN: Seconds = Seconds(60);

/// Devices that an account remembers.
const DEVICES_KEPT: usize = 32;

/// Sessions and usage of one access token.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Account {
    /// Time used by ended sessions.
    pub(crate) usage: Seconds,
    /// What of all that was used the token's `MinutesLeft` has in it.
    pub(crate) written: Seconds,
    /// The latest write of `MinutesLeft`.
    pub(crate) settlement: Option<Settlement>,
    /// The first login, from which the clock runs under [`Counting::Elapsed`].
    pub(crate) running_since: Option<Timestamp>,
    /// The first device, for `bind_device = "learn"`.
    pub(crate) first_device: Option<Mac>,
    /// The latest admission.
    pub(crate) last_used: Option<Timestamp>,
    /// The code of the latest admission.
    pub(crate) code: Option<Code>,
    /// The devices that were let in on it, the latest last.
    pub(crate) devices: Vec<Mac>,
    /// What the token gave when it was last seen.
    pub(crate) terms: Option<Terms>,
    /// Live sessions, oldest first.
    pub(crate) sessions: Vec<Session>,
    /// Sessions that ended last, and what each counts for in `usage`; oldest first.
    pub(crate) ended: VecDeque<Ended>,
}

/// A session that ended.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Ended {
    /// As it was at its end.
    pub session: Session,
    /// When.
    pub at: Timestamp,
    /// What it counts for.
    pub counts: Seconds,
    /// Whether the router said so; if not, news may bring it back.
    pub stopped: bool,
}

impl Account {
    /// Changes the account by what happened at `at`; gives the sessions that ended by it, and those of which it corrects
    /// what they count for. An event that bears on a session no longer known changes nothing.
    pub fn apply(&mut self, at: Timestamp, event: &Event) -> Vec<SessionId> {
        let ended = self.apply_one_of_many(at, event);
        if !ended.is_empty() {
            self.forget_surplus();
        }
        ended
    }

    /// The same where more comes, which may speak of a session that ends by this: nothing is forgotten before
    /// [`Account::forget_surplus`].
    pub fn apply_one_of_many(&mut self, at: Timestamp, event: &Event) -> Vec<SessionId> {
        match event {
            Event::Admitted(session) => return self.admit(session),
            Event::Renewed { session, granted } => {
                self.last_used = self.last_used.max(Some(at));
                if let Some(session) = self.unstopped_mut(*session) {
                    session.renew(*granted, at);
                }
            }
            Event::Seen(terms) => {
                self.terms = Some(*terms);
                self.compare();
            }
            Event::Contacted { session, contact } => {
                if let Some(session) = self.live_mut(*session) {
                    session.contacted(contact.as_ref().clone(), at);
                }
            }
            Event::Progressed { session, report } => {
                let corrected = self.news_of_ended(*session, report, false);
                if let Some(session) = self.live_mut(*session) {
                    session.progress(*report);
                }
                return corrected;
            }
            Event::Stopped { session, report } => {
                let Some(mut ended) = self.take(*session) else {
                    return self.news_of_ended(*session, report, true);
                };
                ended.progress(*report);
                let counts = ended.reported.map_or(Seconds::ZERO, |report| report.seconds);
                self.end(ended, at, counts, true);
                return vec![*session];
            }
            Event::Lapsed { session, counts } => {
                if let Some(ended) = self.take(*session) {
                    // Another daemon may have heard more of it than who says so.
                    let counts = ended.reported.map_or(*counts, |report| report.seconds.max(*counts));
                    self.end(ended, at, counts, false);
                    return vec![*session];
                }
                return self.still_over(*session, at);
            }
            Event::Ending { session, cause } => self.must_go(*session, *cause, at),
            Event::Extending { session, to } => {
                if let Some(session) = self.live_mut(*session) {
                    session.extension = Some(Box::new(Extension { to: *to, tries: 0, next_try: at }));
                }
            }
            Event::Granted { session, granted } => {
                if let Some(session) = self.unstopped_mut(*session) {
                    session.granted = *granted;
                    session.extension = None;
                }
            }
            Event::Telling { session } => {
                if let Some(session) = self.live_mut(*session) {
                    session.telling(at);
                }
            }
            Event::PutOff { session } => {
                if let Some(session) = self.live_mut(*session) {
                    session.put_off(at);
                }
            }
            Event::Told { session, told } => {
                if let Some(session) = self.live_mut(*session) {
                    session.told(*told, at);
                }
            }
            Event::Settling(intent) => self.open(*intent),
            Event::Settled(intent) => self.close(*intent),
            Event::Unsettled(intent) => self.give_up(*intent),
            Event::Forgotten { used } => self.forget_usage(*used),
        }
        Vec::new()
    }

    fn admit(&mut self, session: &Session) -> Vec<SessionId> {
        if self.knows(session.id) {
            return Vec::new();
        }
        let now = session.admitted_at;
        let is_old = |live: &Session| live.endpoint().is_same(&session.endpoint());
        // One that became known by a report may be the older one: then it is over already, and the report is late news.
        if session.reported.is_some()
            && let Some(followed) = self.followed(session)
        {
            self.end(session.clone(), followed, session.counts_without_stop(followed), false);
            return vec![session.id];
        }
        let replaced: Vec<Session> = self.sessions.extract_if(.., |live| is_old(live)).collect();
        let ended = replaced.iter().map(|old| old.id).collect();
        for old in replaced {
            let counts = old.counts_without_stop(now);
            self.end(old, now, counts, false);
        }
        self.running_since.get_or_insert(now);
        self.last_used = self.last_used.max(Some(now));
        self.first_device = self.first_device.or(session.device);
        if self.code.as_ref() != Some(&session.code) {
            self.code = Some(session.code.clone());
        }
        if let Some(device) = session.device {
            self.remember(device);
        }
        self.sessions.reserve_exact(1);
        self.sessions.push(session.clone());
        ended
    }

    /// When the device of `session` was let in again, if it was since.
    #[must_use]
    pub fn followed(&self, session: &Session) -> Option<Timestamp> {
        let is_newer =
            |other: &&Session| other.endpoint().is_same(&session.endpoint()) && other.admitted_at > session.admitted_at;
        self.known().filter(is_newer).map(|other| other.admitted_at).min()
    }

    /// Whether it has, or remembers, a session of this name.
    #[must_use]
    pub fn knows(&self, id: SessionId) -> bool {
        self.known().any(|known| known.id == id)
    }

    /// The latest session that the router of `session` knows by the same name, of the same device.
    #[must_use]
    pub fn named_as(&self, session: &Session) -> Option<&Session> {
        let name = session.contact.nas_session.as_deref()?;
        // Of two that were let in, each is its own, whatever their router calls them: our names tell them apart.
        let is_met = |known: &Session| {
            let apart = Seconds::between(known.admitted_at, session.admitted_at)
                .max(Seconds::between(session.admitted_at, known.admitted_at));
            session.id.is_met() || known.id.is_met() && apart <= STARTS_WITHIN
        };
        let is_it = |known: &&Session| {
            let (one, other) = (&known.contact, &session.contact);
            let same_router = one.router.zip(other.router).is_none_or(|(one, other)| one == other);
            one.nas == other.nas
                && same_router
                && one.nas_session.as_deref() == Some(name)
                && known.device == session.device
                && is_met(known)
        };
        // One that was over long before is another: such names come again. What a router says once more comes later than it says.
        let lasted = |ended: &&Ended| Seconds::between(ended.at, session.admitted_at) <= SAID_AGAIN_WITHIN;
        let ended = self.ended.iter().filter(lasted).map(|ended| &ended.session);
        self.sessions.iter().rev().chain(ended.rev()).find(is_it)
    }

    /// Live sessions and those that it remembers, the latest of each first.
    fn known(&self) -> impl Iterator<Item = &Session> {
        self.sessions.iter().rev().chain(self.ended.iter().rev().map(|ended| &ended.session))
    }

    fn remember(&mut self, device: Mac) {
        self.devices.retain(|known| *known != device);
        if self.devices.len() == DEVICES_KEPT {
            self.devices.remove(0);
        }
        self.devices.reserve_exact(1);
        self.devices.push(device);
    }

    fn end(&mut self, session: Session, at: Timestamp, counts: Seconds, stopped: bool) {
        self.usage = self.usage.plus(counts);
        self.forget_ended(at);
        self.ended.push_back(Ended { session, at, counts, stopped });
    }

    /// Forgets sessions that ended so long before `now` that nothing more can come of them.
    pub fn forget_ended(&mut self, now: Timestamp) {
        while self.ended.front().is_some_and(|ended| Seconds::between(ended.at, now) > ENDED_KEPT_FOR) {
            self.ended.pop_front();
        }
        if self.ended.is_empty() {
            self.ended = VecDeque::new();
        }
    }

    /// Forgets ended sessions beyond the latest of each device, and of all.
    pub fn forget_surplus(&mut self) {
        if self.ended.len() <= ENDED_KEPT_OF_A_DEVICE {
            return;
        }
        let mut of_devices = HashMap::new();
        let mut is_kept = |ended: &Ended| {
            let Some(device) = ended.session.device else { return true };
            let count: &mut usize = of_devices.entry(device).or_default();
            *count += 1;
            *count <= ENDED_KEPT_OF_A_DEVICE
        };
        // Of each device the latest: from the back.
        let mut kept: Vec<bool> = self.ended.iter().rev().map(&mut is_kept).collect();
        self.ended.retain(|_| kept.pop().unwrap_or(true));
        self.ended.drain(..self.ended.len().saturating_sub(ENDED_KEPT));
    }

    /// Remembers a session again that has ended, and counts: there is news of it.
    pub fn recall(&mut self, ended: Ended) {
        if !self.knows(ended.session.id) {
            self.ended.push_front(ended);
        }
    }

    /// Forgets a session that has ended, as it is by now.
    pub fn forget(&mut self, id: SessionId) -> Option<Ended> {
        let position = self.ended.iter().position(|ended| ended.session.id == id)?;
        self.ended.remove(position)
    }

    /// News of a session that ended. One that was given up for gone is live again, unless its device has another session by
    /// now or the news is from before its end, or no news: what it counted for stays counted, and becomes what it has run up. Else
    /// what the router says above what was counted counts too; after a Stop, only another Stop is believed.
    fn news_of_ended(&mut self, id: SessionId, report: &Report, stops: bool) -> Vec<SessionId> {
        let Some(position) = self.ended.iter().position(|ended| ended.session.id == id) else { return Vec::new() };
        let Some(ended) = self.ended.get_mut(position).filter(|ended| stops || !ended.stopped) else {
            return Vec::new();
        };
        let returns = !stops
            && report.at > ended.at
            && ended.session.reported.is_none_or(|known| report.at > known.at)
            && !self.sessions.iter().any(|live| live.endpoint().is_same(&ended.session.endpoint()));
        if !returns {
            ended.session.progress(*report);
            ended.stopped |= stops;
            let counts = ended.session.reported.map_or(Seconds::ZERO, |report| report.seconds).max(ended.counts);
            self.usage = self.usage.plus(counts.less(ended.counts));
            ended.counts = counts;
            return vec![id];
        }
        if let Some(Ended { mut session, counts, .. }) = self.ended.remove(position) {
            self.usage = self.usage.less(counts);
            session.progress(Report { seconds: counts, ..*report });
            // It was told to go, and is not gone.
            let tellable = session.contact.can_disconnect;
            session.ending = session.ending.map(|ending| Box::new(Ending::new(ending.cause, report.at, tellable)));
            self.sessions.push(session);
        }
        Vec::new()
    }

    /// One that was given up for gone is over by `at`, too: news from before does not bring it back.
    fn still_over(&mut self, id: SessionId, at: Timestamp) -> Vec<SessionId> {
        let is_it = |ended: &&mut Ended| ended.session.id == id && !ended.stopped && ended.at < at;
        let Some(ended) = self.ended.iter_mut().rev().find(is_it) else { return Vec::new() };
        ended.at = at;
        vec![id]
    }

    fn must_go(&mut self, id: SessionId, cause: Cause, at: Timestamp) {
        let Some(session) = self.unstopped_mut(id) else { return };
        let tellable = session.contact.can_disconnect;
        match &mut session.ending {
            None => {
                session.ending = Some(Box::new(Ending::new(cause, at, tellable)));
                session.extension = None;
            }
            // Whoever must go anyway and is displaced as well gives the place up; nothing gives one back.
            Some(ending) if cause.gives_up_place() => ending.cause = cause,
            Some(_) => {}
        }
    }

    /// Whether what was decided at `at`, by less than is known here, holds no more: its router has spoken of a session since, or it was
    /// ordered to go.
    #[must_use]
    pub fn has_overtaken(&self, at: Timestamp, event: &Event) -> bool {
        let live = |id: &SessionId| self.sessions.iter().find(|live| live.id == *id);
        match event {
            Event::Lapsed { session, .. } => {
                live(session).and_then(|live| live.reported).is_some_and(|report| report.at > at)
            }
            Event::Renewed { session, .. } => {
                let known = self.known().find(|known| known.id == *session);
                known.and_then(|known| known.ending.as_ref()).is_some_and(|ending| ending.since > at)
            }
            _ => false,
        }
    }

    fn live_mut(&mut self, id: SessionId) -> Option<&mut Session> {
        self.sessions.iter_mut().find(|live| live.id == id)
    }

    /// A live session, or one that was given up for gone: news may bring it back, and it is to be then what was decided of it.
    fn unstopped_mut(&mut self, id: SessionId) -> Option<&mut Session> {
        let gone = self.ended.iter_mut().rev().filter(|ended| !ended.stopped).map(|ended| &mut ended.session);
        self.sessions.iter_mut().chain(gone).find(|known| known.id == id)
    }

    fn take(&mut self, id: SessionId) -> Option<Session> {
        let position = self.sessions.iter().position(|live| live.id == id)?;
        Some(self.sessions.remove(position))
    }

    /// The event by which `session` must go for `cause`: one that was let in over HTTP and of which no router ever spoke
    /// has nothing to disconnect, and ends at once.
    #[must_use]
    pub fn order(session: &Session, cause: Cause, now: Timestamp) -> Event {
        if session.contact.router.is_none() && session.reported.is_none() {
            Event::Lapsed { session: session.id, counts: session.used(now) }
        } else {
            Event::Ending { session: session.id, cause }
        }
    }

    /// The event by which a router's answer is taken in: that there is no such session ends it, as far as was reported; but
    /// not while its admission may still be under way to that router.
    #[must_use]
    pub fn answered(&self, id: SessionId, told: Told, now: Timestamp) -> Option<Event> {
        let session = self.sessions.iter().find(|live| live.id == id)?;
        let told_of = session.ending.is_some() || session.extension.is_some();
        match told {
            Told::Refused(SESSION_CONTEXT_NOT_FOUND) if told_of && !session.is_arriving(now) => {
                Some(Event::Lapsed { session: id, counts: session.counts_without_stop(now) })
            }
            told if session.ending.is_some() => Some(Event::Told { session: id, told }),
            told => extension::answered(session, told),
        }
    }

    /// The events that close every session of the router at `address` (none: of those whose router did not say), which began anew at `since`: up to its last news.
    /// Those that it let in, or spoke of, since then go on.
    #[must_use]
    pub fn router_restarted(
        &self,
        nas: &NasName,
        address: Option<IpAddr>,
        since: Timestamp,
        now: Timestamp,
    ) -> Vec<Event> {
        let of_router = |session: &&Session| {
            let latest = session.reported.map_or(session.admitted_at, |report| report.at);
            session.contact.nas == *nas && session.contact.router == address && latest <= since
        };
        let close = |session: &Session| Event::Lapsed { session: session.id, counts: session.counts_without_stop(now) };
        self.sessions.iter().filter(of_router).map(close).collect()
    }

    /// The same of those that have ended here without their router's word: elsewhere they may be live.
    #[must_use]
    pub fn router_restarted_of_ended(
        &self,
        nas: &NasName,
        address: Option<IpAddr>,
        since: Timestamp,
        now: Timestamp,
    ) -> Vec<Event> {
        let ended = self.ended.iter().filter(|ended| !ended.stopped).map(|ended| ended.session.clone());
        Self { sessions: ended.collect(), ..Self::default() }.router_restarted(nas, address, since, now)
    }

    /// The events that close the sessions that `device` had at `nas` before `since`, when it began one on another token
    /// there.
    #[must_use]
    pub fn device_moved_on(&self, device: Mac, nas: &NasName, since: Timestamp, now: Timestamp) -> Vec<Event> {
        let there = |session: &&Session| {
            session.device == Some(device) && session.contact.nas == *nas && session.admitted_at <= since
        };
        let close = |session: &Session| Event::Lapsed { session: session.id, counts: session.counts_without_stop(now) };
        self.sessions.iter().filter(there).map(close).collect()
    }

    /// The account as it is after a restart: how far routers were told is not kept, and they are told again.
    #[must_use]
    pub fn kept(&self) -> Self {
        let mut kept = self.clone();
        let ended = kept.ended.iter_mut().map(|ended| &mut ended.session);
        for session in kept.sessions.iter_mut().chain(ended) {
            session.extension = None;
            if let Some(ending) = &mut session.ending {
                **ending = Ending::new(ending.cause, ending.since, session.contact.can_disconnect);
            }
        }
        kept
    }

    /// What the token gave when it was last seen.
    #[must_use]
    pub const fn terms(&self) -> Option<Terms> {
        self.terms
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

    /// The code of the latest admission, and the devices that were let in on it, the latest last.
    #[must_use]
    pub fn remembered(&self) -> Option<(&Code, &[Mac])> {
        self.code.as_ref().map(|code| (code, self.devices.as_slice()))
    }

    /// Time used, written back or not: by ended sessions and, by `now`, by live ones.
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
        let terms = Terms::of(token, policy);
        if policy.counting == Counting::Elapsed {
            return self.pool_less(self.usage(policy, now), &terms);
        }
        let live = self.sessions.iter().map(|session| {
            let replaced = session.endpoint().is_same(asking) && !session.is_continued_by(asking);
            if replaced { session.counts_without_stop(now) } else { session.used(now) }
        });
        self.pool_less(self.usage.plus(live.sum()), &terms)
    }

    /// The pool at `now`, whoever asks.
    #[must_use]
    pub fn left_of(&self, token: &AccessToken, policy: &Policy, now: Timestamp) -> Pool {
        self.pool_less(self.usage(policy, now), &Terms::of(token, policy))
    }

    /// The pool at `now` of the token as it was last seen; none: it never was.
    #[must_use]
    pub fn left_by_now(&self, policy: &Policy, now: Timestamp) -> Option<Pool> {
        Some(self.pool_less(self.usage(policy, now), self.terms.as_ref()?))
    }

    /// What other live sessions may still draw from the pool and cannot be stopped from drawing.
    #[must_use]
    pub fn promised_to_others(&self, asking: &Endpoint<'_>, now: Timestamp) -> Seconds {
        let others = self
            .sessions
            .iter()
            .filter(|session| !session.contact.can_disconnect && !session.endpoint().is_same(asking));
        others.map(|session| session.promised(now)).sum()
    }

    /// What the asking device's own old sessions have run up since their last news: their Stop may still say so.
    #[must_use]
    pub fn unreported(&self, asking: &Endpoint<'_>, now: Timestamp) -> Seconds {
        let own = self.sessions.iter().filter(|session| session.endpoint().is_same(asking));
        own.map(|session| session.used(now).less(session.counts_without_stop(now))).sum()
    }

    /// How many other devices hold a place.
    #[must_use]
    pub fn other_devices(&self, asking: &Endpoint<'_>) -> u32 {
        let mut devices: Vec<Option<Mac>> = self
            .sessions
            .iter()
            .filter(|session| session.holds_place() && !session.endpoint().is_same(asking))
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
        for session in self.sessions.iter().filter(|session| session.holds_place()) {
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
