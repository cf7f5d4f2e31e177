//! Failed codes per device and per NAS, and at the guests' pages per address that a browser comes from. Codes are short, so
//! guessing is slowed before anything is asked upstream (facts/nexudus.md §5, "Security consequence").

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use moka::ops::compute::Op;
use moka::sync::Cache;

use crate::config;
use crate::core::ident::{Mac, NasName};

/// The window of `throttle.nas_failures`.
const NAS_WINDOW: Duration = Duration::from_secs(60);

/// Devices watched at once; beyond, the least active are forgotten (the NAS's ceiling still holds).
const MAX_DEVICES: u64 = 100_000;

/// Counters of failed codes.
#[derive(Debug)]
pub struct Throttle {
    /// Over `throttle.device_window`.
    guessers: Cache<Guesser, Failures>,
    /// Of NASes, and of addresses, over a minute.
    places: Cache<Place, Failures>,
    addresses: Cache<Place, Failures>,
    /// When a code last failed anywhere, in milliseconds (monotonic) and one more; 0: never. Mostly nothing has failed for long, and
    /// nobody needs to be looked up.
    latest: AtomicU64,
    /// Codes of each guesser that are being looked up: as many entries as look-ups under way.
    guesses: Mutex<HashMap<Guesser, u32>>,
}

/// Who types codes, as far as it is known.
#[derive(Clone, Copy, Debug)]
pub enum Who<'a> {
    /// A device, as a router sees it.
    Device {
        /// The device, if the router tells it.
        device: Option<Mac>,
        /// The router.
        nas: &'a NasName,
    },
    /// A browser. What it says of its device is its own word, and counts for nothing.
    Browser {
        /// Where it comes from.
        from: IpAddr,
        /// Whether many come from there.
        shared: bool,
        /// The router that its guest wants to log in at; none, if it comes from a router's own address, where guests are.
        nas: Option<&'a NasName>,
    },
}

/// Whose failures are counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Guesser {
    Device(Mac),
    Browser(IpAddr),
    Many(IpAddr),
}

/// Where failures of many are counted together, for a minute.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Place {
    Nas(NasName),
    /// The pages where guests log in at this NAS. Anybody can fail there: that must not close the NAS itself.
    Pages(NasName),
    Address(IpAddr),
}

impl Who<'_> {
    fn guesser(&self) -> Option<Guesser> {
        match *self {
            Self::Device { device, .. } => device.map(Guesser::Device),
            Self::Browser { from, shared: false, .. } => Some(Guesser::Browser(from)),
            Self::Browser { shared: true, .. } => None,
        }
    }

    fn place(&self) -> Option<Place> {
        match *self {
            Self::Device { nas, .. } => Some(Place::Nas(nas.clone())),
            // Whoever has one address of IPv6 has all of its network of 64 bits.
            Self::Browser { from: IpAddr::V6(from), .. } => {
                Some(Place::Address(Ipv6Addr::from_bits(from.to_bits() >> 64 << 64).into()))
            }
            Self::Browser { from, shared: true, .. } => Some(Place::Address(from)),
            Self::Browser { shared: false, .. } => None,
        }
    }

    fn pages(&self) -> Option<Place> {
        match *self {
            Self::Browser { nas, .. } => nas.cloned().map(Place::Pages),
            Self::Device { .. } => None,
        }
    }
}

/// A code that is being looked up, and might turn out wrong.
#[derive(Debug)]
#[must_use]
pub struct Guess<'t> {
    throttle: &'t Throttle,
    guesser: Guesser,
}

impl Drop for Guess<'_> {
    fn drop(&mut self) {
        let mut guesses = self.throttle.guesses.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = guesses.get_mut(&self.guesser) {
            *count -= 1;
            if *count == 0 {
                guesses.remove(&self.guesser);
            }
        }
    }
}

/// Failures in the window that began with the first of them.
#[derive(Clone, Copy, Debug)]
struct Failures {
    since: Duration,
    count: u32,
}

impl Failures {
    fn exceed(self, limit: u32, window: Duration, now: Duration) -> bool {
        self.count >= limit && self.last(window, now)
    }

    /// Whether they still count.
    fn last(self, window: Duration, now: Duration) -> bool {
        now.saturating_sub(self.since) < window
    }
}

impl Default for Throttle {
    fn default() -> Self {
        Self {
            guessers: Cache::new(MAX_DEVICES),
            places: Cache::new(MAX_DEVICES),
            addresses: Cache::new(MAX_DEVICES),
            latest: AtomicU64::new(0),
            guesses: Mutex::default(),
        }
    }
}

impl Throttle {
    fn of(&self, place: &Place) -> &Cache<Place, Failures> {
        // A flood of addresses pushes no router out.
        match place {
            Place::Nas(_) | Place::Pages(_) => &self.places,
            Place::Address(_) => &self.addresses,
        }
    }

    /// Whether logins of this device, or at this NAS, are refused for now; of a browser, its pages. A device that was let in before
    /// (`is_known`, asked only if it matters) is not shut out by what made-up ones get wrong: such devices have as many failures
    /// again, together, so that nobody who has a code gets further by having many devices let in.
    #[must_use]
    pub fn refuses(
        &self,
        who: &Who<'_>,
        is_known: impl FnOnce() -> bool,
        limits: &config::Throttle,
        now: Duration,
    ) -> bool {
        if self.is_quiet(limits, now) {
            return false;
        }
        let by_itself = who.guesser().and_then(|guesser| self.guessers.get(&guesser));
        let by_place = || who.place().and_then(|place| self.of(&place).get(&place));
        let is_closed = |failures: Failures| {
            let most = self.most(who, limits, now);
            let exceed = |most| failures.exceed(most, NAS_WINDOW, now);
            exceed(most) && (exceed(most.saturating_mul(2)) || !is_known())
        };
        by_itself.is_some_and(|failures| failures.exceed(limits.device_failures, limits.device_window, now))
            || by_place().is_some_and(is_closed)
    }

    /// Whether no code has failed for so long that none counts any more.
    fn is_quiet(&self, limits: &config::Throttle, now: Duration) -> bool {
        let latest = self.latest.load(Ordering::Relaxed);
        latest == 0 || millis(now).saturating_sub(latest) > millis(limits.device_window.max(NAS_WINDOW))
    }

    /// How many failures there may be at its place in a minute. Once the pages of a router have had so many from all over, each
    /// address has as many as one device: who has many addresses gets little further by them, and who comes from another goes on.
    fn most(&self, who: &Who<'_>, limits: &config::Throttle, now: Duration) -> u32 {
        let pages = who.pages().and_then(|pages| self.of(&pages).get(&pages));
        if pages.is_some_and(|failures| failures.exceed(limits.nas_failures, NAS_WINDOW, now)) {
            limits.nas_failures.min(limits.device_failures)
        } else {
            limits.nas_failures
        }
    }

    /// Lets a code be looked up, unless as many as its device may get wrong are being looked up already or were wrong. It counts
    /// until the value goes. Of a device that is not known, nothing counts (`Some(None)`).
    pub fn guess(&self, who: &Who<'_>, limits: &config::Throttle, now: Duration) -> Option<Option<Guess<'_>>> {
        let (guesser, failures, limit, window) = match (who.guesser(), who.place()) {
            (Some(guesser), _) => (guesser, self.guessers.get(&guesser), limits.device_failures, limits.device_window),
            (None, Some(place @ Place::Address(from))) => {
                (Guesser::Many(from), self.of(&place).get(&place), self.most(who, limits, now), NAS_WINDOW)
            }
            (None, _) => return Some(None),
        };
        let failed = failures.filter(|failures| failures.last(window, now)).map_or(0, |failures| failures.count);
        let mut guesses = self.guesses.lock().unwrap_or_else(PoisonError::into_inner);
        let under_way = guesses.get(&guesser).copied().unwrap_or_default();
        if failed.saturating_add(under_way) >= limit {
            return None;
        }
        guesses.insert(guesser, under_way + 1);
        Some(Some(Guess { throttle: self, guesser }))
    }

    /// Counts a failed code. Called only for logins that were not refused already, so that trying on does not prolong it.
    pub fn failed(&self, who: &Who<'_>, limits: &config::Throttle, now: Duration) {
        self.latest.fetch_max(millis(now).saturating_add(1), Ordering::Relaxed);
        if let Some(guesser) = who.guesser() {
            count(&self.guessers, guesser, limits.device_window, now);
        }
        for place in who.place().into_iter().chain(who.pages()) {
            count(self.of(&place), place.clone(), NAS_WINDOW, now);
        }
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

fn count<K>(cache: &Cache<K, Failures>, key: K, window: Duration, now: Duration)
where
    K: std::hash::Hash + Eq + Send + Sync + 'static,
{
    cache.entry(key).and_compute_with(|entry| {
        let failures = entry.map(moka::Entry::into_value).filter(|failures| failures.last(window, now));
        Op::Put(failures.map_or(Failures { since: now, count: 1 }, |failures| Failures {
            count: failures.count.saturating_add(1),
            ..failures
        }))
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ten_failures_close_the_door_until_the_window_has_passed() {
        let limits =
            config::Throttle { device_failures: 10, device_window: Duration::from_secs(600), nas_failures: 300 };
        let (throttle, nas) = (Throttle::default(), NasName::new("front-desk"));
        let (guesser, guest) = (Some(Mac::new([2; 6])), Some(Mac::new([4; 6])));
        let at = Duration::from_secs;
        for second in 0..10 {
            assert!(
                !throttle.refuses(&Who::Device { device: guesser, nas: &nas }, || false, &limits, at(second)),
                "{second}"
            );
            throttle.failed(&Who::Device { device: guesser, nas: &nas }, &limits, at(second));
        }
        assert!(throttle.refuses(&Who::Device { device: guesser, nas: &nas }, || false, &limits, at(10)));
        assert!(throttle.refuses(&Who::Device { device: guesser, nas: &nas }, || false, &limits, at(599)));
        assert!(
            !throttle.refuses(&Who::Device { device: guest, nas: &nas }, || false, &limits, at(10)),
            "others go on"
        );
        assert!(!throttle.refuses(&Who::Device { device: guesser, nas: &nas }, || false, &limits, at(600)));
        throttle.failed(&Who::Device { device: guesser, nas: &nas }, &limits, at(600));
        assert!(
            !throttle.refuses(&Who::Device { device: guesser, nas: &nas }, || false, &limits, at(600)),
            "a new window began"
        );
    }

    #[test]
    fn a_window_begins_with_the_first_failure_after_the_last_one_ended() {
        let limits = config::Throttle { device_failures: 2, device_window: Duration::from_secs(60), nas_failures: 300 };
        let (throttle, nas, guesser) = (Throttle::default(), NasName::new("front-desk"), Some(Mac::new([2; 6])));
        let at = Duration::from_secs;
        throttle.failed(&Who::Device { device: guesser, nas: &nas }, &limits, at(0));
        throttle.failed(&Who::Device { device: guesser, nas: &nas }, &limits, at(60));
        assert!(
            !throttle.refuses(&Who::Device { device: guesser, nas: &nas }, || false, &limits, at(60)),
            "one in each window"
        );
        throttle.failed(&Who::Device { device: guesser, nas: &nas }, &limits, at(61));
        assert!(
            throttle.refuses(&Who::Device { device: guesser, nas: &nas }, || false, &limits, at(61)),
            "two in the second"
        );
        assert!(throttle.refuses(&Who::Device { device: guesser, nas: &nas }, || false, &limits, at(119)));
        assert!(
            !throttle.refuses(&Who::Device { device: guesser, nas: &nas }, || false, &limits, at(120)),
            "from its first failure, not its last"
        );
    }

    #[test]
    fn many_devices_together_close_a_nas_for_a_minute() {
        let limits = config::Throttle { device_failures: 10, device_window: Duration::from_secs(600), nas_failures: 3 };
        let (throttle, nas, other) = (Throttle::default(), NasName::new("a"), NasName::new("b"));
        for octet in 0..3 {
            throttle.failed(&Who::Device { device: Some(Mac::new([octet; 6])), nas: &nas }, &limits, Duration::ZERO);
        }
        let fresh = Some(Mac::new([9; 6]));
        assert!(throttle.refuses(
            &Who::Device { device: fresh, nas: &nas },
            || false,
            &limits,
            Duration::from_secs(59)
        ));
        assert!(!throttle.refuses(
            &Who::Device { device: fresh, nas: &other },
            || false,
            &limits,
            Duration::from_secs(59)
        ));
        assert!(!throttle.refuses(
            &Who::Device { device: fresh, nas: &nas },
            || false,
            &limits,
            Duration::from_secs(60)
        ));
        assert!(
            throttle.refuses(&Who::Device { device: None, nas: &nas }, || false, &limits, Duration::ZERO),
            "also without a MAC"
        );
    }

    /// Each tries a code every five seconds for twenty minutes; how many were looked up. A guest who was here before, and mistypes
    /// once in ten minutes, is beside them.
    fn tried_in_twenty_minutes(devices: u16) -> u32 {
        let limits =
            config::Throttle { device_failures: 10, device_window: Duration::from_secs(600), nas_failures: 300 };
        let (throttle, nas, guest) = (Throttle::default(), NasName::new("a"), Mac::new([4; 6]));
        let mut tried = 0;
        for second in (0..1200).step_by(5) {
            let now = Duration::from_secs(second);
            for device in 0..devices {
                let [high, low] = device.to_be_bytes();
                let who = Who::Device { device: Some(Mac::new([2, 0, 0, 0, high, low])), nas: &nas };
                if !throttle.refuses(&who, || false, &limits, now) && throttle.guess(&who, &limits, now).is_some() {
                    throttle.failed(&who, &limits, now);
                    tried += 1;
                }
            }
            let guest = Who::Device { device: Some(guest), nas: &nas };
            assert!(!throttle.refuses(&guest, || true, &limits, now), "{second}");
            if second % 600 == 0 {
                throttle.failed(&guest, &limits, now);
            }
        }
        tried
    }

    /// What docs/threats.md reckons with: ten tries of a device in ten minutes, three hundred at a router in one.
    #[test]
    fn two_hundred_devices_at_one_router_try_no_more_codes_than_the_arithmetic_says() {
        assert_eq!(tried_in_twenty_minutes(200), 2 * 200 * 10);
        assert_eq!(tried_in_twenty_minutes(1000), 20 * 300, "as many as want to");
    }

    #[test]
    fn who_was_here_before_is_closed_out_by_nobody_else() {
        let limits = config::Throttle { device_failures: 2, device_window: Duration::from_secs(600), nas_failures: 3 };
        let (throttle, nas) = (Throttle::default(), NasName::new("a"));
        for octet in 0..3 {
            throttle.failed(&Who::Device { device: Some(Mac::new([octet; 6])), nas: &nas }, &limits, Duration::ZERO);
        }
        let guest = Who::Device { device: Some(Mac::new([9; 6])), nas: &nas };
        assert!(throttle.refuses(&guest, || false, &limits, Duration::ZERO));
        assert!(!throttle.refuses(&guest, || true, &limits, Duration::ZERO));
        for _ in 0..2 {
            throttle.failed(&guest, &limits, Duration::ZERO);
        }
        assert!(throttle.refuses(&guest, || true, &limits, Duration::ZERO), "its own are its own");
        let other = Who::Device { device: Some(Mac::new([8; 6])), nas: &nas };
        assert!(!throttle.refuses(&other, || true, &limits, Duration::ZERO));
        throttle.failed(&other, &limits, Duration::ZERO);
        assert!(throttle.refuses(&other, || true, &limits, Duration::ZERO), "as many again were wrong");
    }

    #[test]
    fn codes_under_way_count_like_failures_until_they_are_known() {
        let limits =
            config::Throttle { device_failures: 3, device_window: Duration::from_secs(600), nas_failures: 300 };
        let (throttle, nas, device) = (Throttle::default(), NasName::new("a"), Mac::new([2; 6]));
        throttle.failed(&Who::Device { device: Some(device), nas: &nas }, &limits, Duration::ZERO);
        let first = throttle.guess(&Who::Device { device: Some(device), nas: &nas }, &limits, Duration::ZERO).unwrap();
        let second = throttle.guess(&Who::Device { device: Some(device), nas: &nas }, &limits, Duration::ZERO).unwrap();
        assert!(throttle.guess(&Who::Device { device: Some(device), nas: &nas }, &limits, Duration::ZERO).is_none());
        assert!(
            throttle
                .guess(&Who::Device { device: Some(Mac::new([4; 6])), nas: &nas }, &limits, Duration::ZERO)
                .is_some(),
            "others go on"
        );
        drop(first);
        let third = throttle.guess(&Who::Device { device: Some(device), nas: &nas }, &limits, Duration::ZERO).unwrap();
        drop((second, third));
        assert!(throttle.guesses.lock().unwrap().is_empty());
    }

    #[test]
    fn a_browser_is_known_by_its_address() {
        let limits = config::Throttle { device_failures: 3, device_window: Duration::from_secs(600), nas_failures: 5 };
        let (throttle, nas, now) = (Throttle::default(), NasName::new("a"), Duration::ZERO);
        let browser = |from: &str, shared| Who::Browser { from: from.parse().unwrap(), shared, nas: None };
        for _ in 0..3 {
            throttle.failed(&browser("10.5.88.9", false), &limits, now);
        }
        assert!(throttle.refuses(&browser("10.5.88.9", false), || false, &limits, now));
        assert!(!throttle.refuses(&browser("10.5.88.8", false), || false, &limits, now), "others go on");
        assert!(!throttle.refuses(&Who::Device { device: Some(Mac::new([1; 6])), nas: &nas }, || false, &limits, now));
        // Many behind one address fail so often a minute; no device that one of them names is refused for longer.
        for _ in 0..4 {
            throttle.failed(&browser("10.5.0.1", true), &limits, now);
        }
        assert!(!throttle.refuses(&browser("10.5.0.1", true), || false, &limits, now));
        let under_way = throttle.guess(&browser("10.5.0.1", true), &limits, now);
        assert!(under_way.is_some() && throttle.guess(&browser("10.5.0.1", true), &limits, now).is_none());
        drop(under_way);
        throttle.failed(&browser("10.5.0.1", true), &limits, now);
        assert!(throttle.refuses(&browser("10.5.0.1", true), || false, &limits, now));
        assert!(!throttle.refuses(&browser("10.5.0.1", true), || false, &limits, Duration::from_secs(60)));
        // Of IPv6, each address for itself, and its network together.
        for last in 1..=5 {
            throttle.failed(&browser(&format!("fd00::1:0:0:{last}"), false), &limits, now);
        }
        assert!(throttle.refuses(&browser("fd00::9", false), || false, &limits, now));
        assert!(!throttle.refuses(&browser("fd00:0:0:1::9", false), || false, &limits, now));
    }

    #[test]
    fn from_many_addresses_a_routers_pages_take_as_many_failures_as_the_router() {
        let limits = config::Throttle { device_failures: 2, device_window: Duration::from_secs(600), nas_failures: 5 };
        let (throttle, nas, other, now) = (Throttle::default(), NasName::new("a"), NasName::new("b"), Duration::ZERO);
        let browser = |from: &str, nas| Who::Browser { from: from.parse().unwrap(), shared: true, nas };
        for from in ["203.0.113.1", "203.0.113.1", "203.0.113.1", "203.0.113.2"] {
            throttle.failed(&browser(from, Some(&nas)), &limits, now);
        }
        assert!(!throttle.refuses(&browser("203.0.113.1", Some(&nas)), || false, &limits, now));
        throttle.failed(&browser("203.0.113.3", Some(&nas)), &limits, now);
        // Now each address has as many as one device.
        let refuses = |from, nas, now| throttle.refuses(&browser(from, nas), || false, &limits, now);
        assert!(refuses("203.0.113.1", Some(&nas), now) && !refuses("203.0.113.2", Some(&nas), now));
        let under_way = throttle.guess(&browser("203.0.113.2", Some(&nas)), &limits, now);
        assert!(under_way.is_some() && throttle.guess(&browser("203.0.113.2", Some(&nas)), &limits, now).is_none());
        // The router, its own address, another router's pages and the next minute are free of that.
        assert!(!throttle.refuses(&Who::Device { device: Some(Mac::new([2; 6])), nas: &nas }, || false, &limits, now));
        assert!(!refuses("203.0.113.1", None, now) && !refuses("203.0.113.1", Some(&other), now));
        assert!(!refuses("203.0.113.1", Some(&nas), NAS_WINDOW));
    }
}
