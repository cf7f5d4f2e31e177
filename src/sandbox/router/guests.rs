//! Who is online on the router, and what its timers make of them. No socket, no clock: `now` is the time since the
//! router was made.

use std::collections::{HashMap, HashSet};
use std::net::Ipv4Addr;
use std::time::Duration;

use jiff::Timestamp;

use crate::core::ident::Mac;
use crate::radius::attribute::{StatusType, TerminateCause};
use crate::sandbox::hotspot::{Answer, address_of};

/// What a guest sends, in octets per second, when nobody says otherwise.
const UP: u64 = 20_000;
/// What a guest is sent, in octets per second.
const DOWN: u64 = 200_000;

/// Sessions by device, and the addresses given out.
#[derive(Default)]
pub(super) struct Guests {
    online: HashMap<Mac, Guest>,
    leases: HashMap<Mac, Ipv4Addr>,
}

/// One session.
#[derive(Clone)]
pub(super) struct Guest {
    pub(super) mac: Mac,
    pub(super) user_name: String,
    pub(super) session_id: String,
    pub(super) address: Ipv4Addr,
    pub(super) class: Option<Vec<u8>>,
    /// When the guest was let in, by the wall clock.
    pub(super) since: Timestamp,
    /// Session-Timeout in seconds, none or 0: no limit.
    pub(super) session_timeout: Option<u32>,
    pub(super) idle_timeout: Option<u32>,
    pub(super) interim: Option<u32>,
    opened: Duration,
    end: Option<End>,
    next_interim: Option<Duration>,
    idle_since: Option<Duration>,
    traffic: Traffic,
}

/// When the Session-Timeout ends a session, and the Acct-Session-Time that it will have had.
#[derive(Clone, Copy)]
struct End {
    at: Duration,
    seconds: u32,
}

/// Octets counted up to `flowing`, which go on from then; none: they stand.
#[derive(Clone, Copy)]
struct Traffic {
    input: u64,
    output: u64,
    flowing: Option<Duration>,
}

/// Something that the router reports.
pub(super) struct Event {
    pub(super) status: StatusType,
    pub(super) guest: Guest,
    pub(super) seconds: u32,
    pub(super) input: u64,
    pub(super) output: u64,
    pub(super) cause: Option<TerminateCause>,
}

impl Guests {
    /// Addresses there are, and so the most devices that can be online.
    pub(super) const CAPACITY: usize = 1000;

    /// The address of a device: the one it has, or a free one. Where none is left, those of devices that are not
    /// online are given out anew.
    pub(super) fn lease(&mut self, mac: Mac) -> Option<Ipv4Addr> {
        if let Some(address) = self.leases.get(&mac) {
            return Some(*address);
        }
        if self.leases.len() >= Self::CAPACITY {
            self.leases.retain(|mac, _| self.online.contains_key(mac));
        }
        if self.leases.len() >= Self::CAPACITY {
            return None;
        }
        // 10.5.88.0/22 without the router and without what ends in 0 or 255
        let pool = (88..92).flat_map(|third| (2..252).map(move |last| Ipv4Addr::new(10, 5, third, last)));
        let taken: HashSet<Ipv4Addr> = self.leases.values().copied().collect();
        let address = std::iter::once(address_of(mac)).chain(pool).find(|address| !taken.contains(address))?;
        self.leases.insert(mac, address);
        Some(address)
    }

    /// Whether the device still has this address.
    pub(super) fn holds(&self, mac: Mac, address: Ipv4Addr) -> bool {
        self.leases.get(&mac) == Some(&address)
    }

    /// How many other devices are online under this name.
    pub(super) fn others(&self, user_name: &str, mac: Mac) -> usize {
        self.online.values().filter(|guest| guest.user_name == user_name && guest.mac != mac).count()
    }

    /// A session begins; one that the device had must have been ended.
    pub(super) fn open(&mut self, guest: Guest) -> Event {
        let event = guest.event(StatusType::Start, guest.opened, None);
        self.online.insert(guest.mac, guest);
        event
    }

    /// A session ends, if the device has one.
    pub(super) fn end(&mut self, mac: Mac, cause: TerminateCause, now: Duration) -> Option<Event> {
        self.online.remove(&mac).map(|guest| guest.event(StatusType::Stop, now, Some(cause)))
    }

    /// What the timers have come to by now. With `unlimited`, a Session-Timeout that passes is forgotten.
    pub(super) fn due(&mut self, now: Duration, unlimited: bool) -> Vec<Event> {
        let deadline = |guest: &Guest| guest.next_deadline().map(|at| (at, guest.mac));
        let mut due: Vec<_> = self.online.values().filter_map(deadline).filter(|(at, _)| *at <= now).collect();
        due.sort_unstable();
        due.into_iter().filter_map(|(_, mac)| self.due_of(mac, now, unlimited)).collect()
    }

    fn due_of(&mut self, mac: Mac, now: Duration, unlimited: bool) -> Option<Event> {
        let guest = self.online.get_mut(&mac)?;
        if unlimited {
            guest.end.take_if(|end| end.at <= now);
        }
        if let Some(cause) = guest.expired(now) {
            return self.end(mac, cause, now);
        }
        let interval = guest.interval()?;
        guest.next_interim.filter(|at| *at <= now)?;
        // A router that was held up reports once and goes on in step.
        let passed = now.saturating_sub(guest.opened).as_secs() / interval.as_secs();
        guest.next_interim = Some(guest.opened + interval * u32::try_from(passed + 1).unwrap_or(u32::MAX));
        Some(guest.event(StatusType::InterimUpdate, now, None))
    }

    /// When [`Guests::due`] has something to do next.
    pub(super) fn next_deadline(&self) -> Option<Duration> {
        self.online.values().filter_map(Guest::next_deadline).min()
    }

    pub(super) fn get(&self, mac: Mac) -> Option<&Guest> {
        self.online.get(&mac)
    }

    pub(super) fn get_mut(&mut self, mac: Mac) -> Option<&mut Guest> {
        self.online.get_mut(&mac)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Guest> {
        self.online.values()
    }
}

impl Guest {
    /// A session that an Access-Accept opens.
    pub(super) fn admitted(
        user_name: &str,
        mac: Mac,
        address: Ipv4Addr,
        answer: &Answer,
        since: Timestamp,
        now: Duration,
    ) -> Self {
        let mut guest = Self {
            mac,
            user_name: user_name.to_owned(),
            session_id: answer.session_id.clone().unwrap_or_default(),
            address,
            class: answer.class.clone(),
            since,
            session_timeout: None,
            idle_timeout: answer.idle_timeout,
            interim: answer.interim,
            opened: now,
            end: None,
            next_interim: None,
            idle_since: None,
            traffic: Traffic { input: 0, output: 0, flowing: Some(now) },
        };
        guest.next_interim = guest.interval().map(|interval| now + interval);
        if let Some(seconds) = answer.session_timeout {
            guest.limit(seconds, now);
        }
        guest
    }

    /// Sets the Session-Timeout, counted from the login. What has passed already ends the session at once.
    pub(super) fn limit(&mut self, seconds: u32, now: Duration) {
        self.session_timeout = Some(seconds);
        let at = self.opened + Duration::from_secs(seconds.into());
        self.end = (seconds > 0).then(|| End { at, seconds: seconds.max(self.seconds(now)) });
    }

    /// The guest falls silent: octets stand, and the Idle-Timeout runs.
    pub(super) fn idle(&mut self, now: Duration) {
        self.set_octets(self.traffic.at(now));
        self.idle_since.get_or_insert(now);
    }

    /// The guest is at it again.
    pub(super) fn busy(&mut self, now: Duration) {
        self.set_octets(self.traffic.at(now));
        self.traffic.flowing = Some(now);
        self.idle_since = None;
    }

    /// Sets the octets from and to the guest, which then stand.
    pub(super) const fn set_octets(&mut self, (input, output): (u64, u64)) {
        self.traffic = Traffic { input, output, flowing: None };
    }

    /// Seconds online.
    pub(super) fn seconds(&self, now: Duration) -> u32 {
        u32::try_from(now.saturating_sub(self.opened).as_secs()).unwrap_or(u32::MAX)
    }

    /// Octets from and to the guest.
    pub(super) fn octets(&self, now: Duration) -> (u64, u64) {
        self.traffic.at(now)
    }

    /// Whether a timer has run out, and which. Of two, the one that was first.
    fn expired(&self, now: Duration) -> Option<TerminateCause> {
        let idle = self.idle_end().map(|at| (at, TerminateCause::IDLE_TIMEOUT));
        let end = self.end.map(|end| (end.at, TerminateCause::SESSION_TIMEOUT));
        let first = [end, idle].into_iter().flatten().min_by_key(|(at, _)| *at);
        first.filter(|(at, _)| *at <= now).map(|(_, cause)| cause)
    }

    fn idle_end(&self) -> Option<Duration> {
        let timeout = self.idle_timeout.filter(|&seconds| seconds > 0)?;
        self.idle_since.map(|since| since + Duration::from_secs(timeout.into()))
    }

    fn interval(&self) -> Option<Duration> {
        self.interim.filter(|&seconds| seconds > 0).map(|seconds| Duration::from_secs(seconds.into()))
    }

    fn next_deadline(&self) -> Option<Duration> {
        [self.end.map(|end| end.at), self.idle_end(), self.next_interim].into_iter().flatten().min()
    }

    fn event(&self, status: StatusType, now: Duration, cause: Option<TerminateCause>) -> Event {
        let seconds = match (cause, self.end, self.idle_since) {
            // However late the timer was, the guest has had what was granted.
            (Some(TerminateCause::SESSION_TIMEOUT), Some(end), _) => end.seconds,
            // RouterOS takes the time that led to the Idle-Timeout off (facts §2, likely).
            (Some(TerminateCause::IDLE_TIMEOUT), _, Some(since)) => self.seconds(since),
            _ => self.seconds(now),
        };
        let (input, output) = self.octets(now.min(self.opened + Duration::from_secs(seconds.into())));
        Event { status, guest: self.clone(), seconds, input, output, cause }
    }
}

impl Traffic {
    fn at(self, now: Duration) -> (u64, u64) {
        let seconds = self.flowing.map_or(0, |since| now.saturating_sub(since).as_secs());
        (
            self.input.saturating_add(seconds.saturating_mul(UP)),
            self.output.saturating_add(seconds.saturating_mul(DOWN)),
        )
    }
}
