//! What was seen of each router, for people who wonder what it does: when it last asked, whether its secret fits, whether it
//! reports sessions, what it made of being told to disconnect.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;

use crate::core::decide::Decision;
use crate::core::event::News;
use crate::core::login::Claim;
use crate::telemetry::metrics::Packets;

/// Strangers that are remembered; anybody can be one.
const STRANGERS: usize = 16;

/// When something was last seen; none: never since the daemon started.
#[derive(Debug)]
pub struct Moment(AtomicI64);

impl Default for Moment {
    fn default() -> Self {
        Self(AtomicI64::new(i64::MIN))
    }
}

impl Moment {
    /// Sees it now.
    pub fn set(&self, now: Timestamp) {
        self.0.store(now.as_millisecond(), Ordering::Relaxed);
    }

    /// When that was.
    #[must_use]
    pub fn get(&self) -> Option<Timestamp> {
        Timestamp::from_millisecond(self.0.load(Ordering::Relaxed)).ok().filter(|at| *at > Timestamp::UNIX_EPOCH)
    }
}

/// What was seen of one router since the daemon started.
#[derive(Debug, Default)]
pub struct Sightings {
    /// A request for access that was its own.
    pub asked: Moment,
    /// One of them with a Message-Authenticator.
    pub signed: Moment,
    /// One of them without.
    pub unsigned: Moment,
    /// One that came over RadSec, where TLS vouches for it.
    pub guarded: Moment,
    /// An accounting record.
    pub accounted: Moment,
    /// A question over HTTP, or for it: what says nothing of its secret.
    pub asked_by_http: Moment,
    /// News of a session over HTTP.
    pub accounted_by_http: Moment,
    /// One that reports a running session.
    pub interim: Moment,
    /// A device with an address that it gave itself (169.254/16, RFC 3927): it got none by DHCP.
    pub self_addressed: Moment,
    /// A packet under another secret, or tampered with.
    pub mismatched: Moment,
    /// How many of those there were.
    pub mismatches: AtomicU64,
    /// Sessions that it reported ended.
    pub ends: AtomicU64,
    /// Of which their devices were lost (Acct-Terminate-Cause Lost-Carrier and Lost-Service, RFC 2866 §5.10).
    pub lost: AtomicU64,
    /// Devices that were let in anew.
    pub let_in: AtomicU64,
    /// Sessions that it reported begun.
    pub begun: AtomicU64,
    /// Devices that were not known by their MAC, since a guest was last sent to the portal.
    pub turned_away: AtomicU64,
    /// A guest who came from it to the portal.
    pub sent_here: Moment,
    /// A one-time password that had been used up: its cookies bring passwords again.
    pub spent: Moment,
    /// Its packets, as they are counted.
    pub packets: Packets,
    /// The latest packet that got no answer, and why.
    refused: Mutex<Option<(Timestamp, &'static str)>>,
    /// What it told a guest that the operator should know, and the remedy.
    complained: Mutex<Option<(Timestamp, &'static str)>>,
    /// What came of the latest Disconnect.
    told: Mutex<Option<(Timestamp, &'static str)>>,
}

impl Sightings {
    /// Notes news of a session; `cause`: its Acct-Terminate-Cause.
    pub fn hear(&self, news: News, cause: Option<u32>, now: Timestamp) {
        match news {
            News::Start => {
                self.begun.fetch_add(1, Ordering::Relaxed);
            }
            News::Interim => self.interim.set(now),
            News::Stop => self.end(cause),
        }
    }

    /// Notes the end of a session, as its router gives the cause.
    pub fn end(&self, cause: Option<u32>) {
        self.ends.fetch_add(1, Ordering::Relaxed);
        if matches!(cause, Some(2 | 3)) {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Notes what a login came to.
    pub fn decide(&self, claim: &Claim, decision: &Decision) {
        match (decision, claim) {
            (Decision::Allow(grant), _) if grant.renews.is_none() => self.let_in.fetch_add(1, Ordering::Relaxed),
            (Decision::Deny(_), Claim::Device(_)) => self.turned_away.fetch_add(1, Ordering::Relaxed),
            _ => return,
        };
    }

    /// Notes a guest who comes from it to the portal.
    pub fn send_here(&self, now: Timestamp) {
        self.sent_here.set(now);
        self.turned_away.store(0, Ordering::Relaxed);
    }

    /// Notes what it told a guest.
    pub fn complain(&self, remedy: &'static str, now: Timestamp) {
        *lock(&self.complained) = Some((now, remedy));
    }

    /// What it told a guest last that the operator should know, and the remedy.
    #[must_use]
    pub fn complained(&self) -> Option<(Timestamp, &'static str)> {
        *lock(&self.complained)
    }

    /// Notes a packet that gets no answer.
    pub fn refuse(&self, why: &'static str, now: Timestamp) {
        *lock(&self.refused) = Some((now, why));
    }

    /// The latest packet that got no answer, and why.
    #[must_use]
    pub fn refused(&self) -> Option<(Timestamp, &'static str)> {
        *lock(&self.refused)
    }

    /// Notes what came of a Disconnect: as in `spotgate_disconnects_total`.
    pub fn tell(&self, result: &'static str, now: Timestamp) {
        *lock(&self.told) = Some((now, result));
    }

    /// What came of the latest Disconnect.
    #[must_use]
    pub fn told(&self) -> Option<(Timestamp, &'static str)> {
        *lock(&self.told)
    }
}

/// Senders that no `[[nas]]` knows: the latest of them, by when they were last heard.
#[derive(Debug, Default)]
pub struct Strangers(Mutex<HashMap<IpAddr, Timestamp>>);

impl Strangers {
    /// Notes one.
    pub fn note(&self, address: IpAddr, now: Timestamp) {
        let mut strangers = lock(&self.0);
        if strangers.len() >= STRANGERS
            && !strangers.contains_key(&address)
            && let Some(oldest) = strangers.iter().min_by_key(|(_, at)| **at).map(|(address, _)| *address)
        {
            strangers.remove(&oldest);
        }
        strangers.insert(address, now);
    }

    /// Those that are remembered, the latest first.
    #[must_use]
    pub fn all(&self) -> Vec<(IpAddr, Timestamp)> {
        let mut all: Vec<_> = lock(&self.0).iter().map(|(address, at)| (*address, *at)).collect();
        all.sort_unstable_by_key(|(address, at)| (std::cmp::Reverse(*at), *address));
        all
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_strangers_are_remembered_and_the_latest_of_them() {
        let strangers = Strangers::default();
        let at = |second| Timestamp::from_second(1_800_000_000 + second).unwrap();
        for number in 0..20u8 {
            strangers.note([192, 0, 2, number].into(), at(i64::from(number)));
        }
        strangers.note([192, 0, 2, 4].into(), at(30));
        let all = strangers.all();
        assert_eq!(all.len(), STRANGERS);
        assert_eq!(all[0], ([192, 0, 2, 4].into(), at(30)));
        assert!(all.iter().all(|(_, seen)| *seen >= at(4)));
    }

    #[test]
    fn what_was_never_seen_has_no_moment() {
        let moment = Moment::default();
        assert_eq!(moment.get(), None);
        let now = Timestamp::from_second(1_800_000_000).unwrap();
        moment.set(now);
        assert_eq!(moment.get(), Some(now));
    }
}
