//! Failed codes per device and per NAS. Codes are short, so guessing is slowed before anything is asked upstream
//! (facts/nexudus.md §5, "Security consequence").

use std::collections::HashMap;
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
    devices: Cache<Mac, Failures>,
    nas: Cache<NasName, Failures>,
    /// Codes of each device that are being looked up: as many entries as look-ups under way.
    guesses: Mutex<HashMap<Mac, u32>>,
}

/// A code of a device that is being looked up, and might turn out wrong.
#[derive(Debug)]
#[must_use]
pub struct Guess<'t> {
    throttle: &'t Throttle,
    device: Mac,
}

impl Drop for Guess<'_> {
    fn drop(&mut self) {
        let mut guesses = self.throttle.guesses.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = guesses.get_mut(&self.device) {
            *count -= 1;
            if *count == 0 {
                guesses.remove(&self.device);
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
        Self { devices: Cache::new(MAX_DEVICES), nas: Cache::new(MAX_DEVICES), guesses: Mutex::default() }
    }
}

impl Throttle {
    /// Whether logins of this device, or at this NAS, are refused for now.
    #[must_use]
    pub fn refuses(&self, device: Option<Mac>, nas: &NasName, limits: &config::Throttle, now: Duration) -> bool {
        let by_device = device.and_then(|device| self.devices.get(&device));
        by_device.is_some_and(|failures| failures.exceed(limits.device_failures, limits.device_window, now))
            || self.nas.get(nas).is_some_and(|failures| failures.exceed(limits.nas_failures, NAS_WINDOW, now))
    }

    /// Lets a code of this device be looked up, unless as many as it may get wrong are being looked up already or were
    /// wrong. It counts until the value goes.
    pub fn guess(&self, device: Mac, limits: &config::Throttle, now: Duration) -> Option<Guess<'_>> {
        let failures = self.devices.get(&device).filter(|failures| failures.last(limits.device_window, now));
        let failed = failures.map_or(0, |failures| failures.count);
        let mut guesses = self.guesses.lock().unwrap_or_else(PoisonError::into_inner);
        let under_way = guesses.get(&device).copied().unwrap_or_default();
        if failed.saturating_add(under_way) >= limits.device_failures {
            return None;
        }
        guesses.insert(device, under_way + 1);
        Some(Guess { throttle: self, device })
    }

    /// Counts a failed code. Called only for logins that were not refused already, so that trying on does not prolong it.
    pub fn failed(&self, device: Option<Mac>, nas: &NasName, limits: &config::Throttle, now: Duration) {
        if let Some(device) = device {
            count(&self.devices, device, limits.device_window, now);
        }
        count(&self.nas, nas.clone(), NAS_WINDOW, now);
    }
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
            assert!(!throttle.refuses(guesser, &nas, &limits, at(second)), "{second}");
            throttle.failed(guesser, &nas, &limits, at(second));
        }
        assert!(throttle.refuses(guesser, &nas, &limits, at(10)));
        assert!(throttle.refuses(guesser, &nas, &limits, at(599)));
        assert!(!throttle.refuses(guest, &nas, &limits, at(10)), "others go on");
        assert!(!throttle.refuses(guesser, &nas, &limits, at(600)));
        throttle.failed(guesser, &nas, &limits, at(600));
        assert!(!throttle.refuses(guesser, &nas, &limits, at(600)), "a new window began");
    }

    #[test]
    fn a_window_begins_with_the_first_failure_after_the_last_one_ended() {
        let limits = config::Throttle { device_failures: 2, device_window: Duration::from_secs(60), nas_failures: 300 };
        let (throttle, nas, guesser) = (Throttle::default(), NasName::new("front-desk"), Some(Mac::new([2; 6])));
        let at = Duration::from_secs;
        throttle.failed(guesser, &nas, &limits, at(0));
        throttle.failed(guesser, &nas, &limits, at(60));
        assert!(!throttle.refuses(guesser, &nas, &limits, at(60)), "one in each window");
        throttle.failed(guesser, &nas, &limits, at(61));
        assert!(throttle.refuses(guesser, &nas, &limits, at(61)), "two in the second");
        assert!(throttle.refuses(guesser, &nas, &limits, at(119)));
        assert!(!throttle.refuses(guesser, &nas, &limits, at(120)), "from its first failure, not its last");
    }

    #[test]
    fn many_devices_together_close_a_nas_for_a_minute() {
        let limits = config::Throttle { device_failures: 10, device_window: Duration::from_secs(600), nas_failures: 3 };
        let (throttle, nas, other) = (Throttle::default(), NasName::new("a"), NasName::new("b"));
        for octet in 0..3 {
            throttle.failed(Some(Mac::new([octet; 6])), &nas, &limits, Duration::ZERO);
        }
        let fresh = Some(Mac::new([9; 6]));
        assert!(throttle.refuses(fresh, &nas, &limits, Duration::from_secs(59)));
        assert!(!throttle.refuses(fresh, &other, &limits, Duration::from_secs(59)));
        assert!(!throttle.refuses(fresh, &nas, &limits, Duration::from_secs(60)));
        assert!(throttle.refuses(None, &nas, &limits, Duration::ZERO), "also without a MAC");
    }

    #[test]
    fn codes_under_way_count_like_failures_until_they_are_known() {
        let limits =
            config::Throttle { device_failures: 3, device_window: Duration::from_secs(600), nas_failures: 300 };
        let (throttle, nas, device) = (Throttle::default(), NasName::new("a"), Mac::new([2; 6]));
        throttle.failed(Some(device), &nas, &limits, Duration::ZERO);
        let first = throttle.guess(device, &limits, Duration::ZERO).unwrap();
        let second = throttle.guess(device, &limits, Duration::ZERO).unwrap();
        assert!(throttle.guess(device, &limits, Duration::ZERO).is_none());
        assert!(throttle.guess(Mac::new([4; 6]), &limits, Duration::ZERO).is_some(), "others go on");
        drop(first);
        let third = throttle.guess(device, &limits, Duration::ZERO).unwrap();
        drop((second, third));
        assert!(throttle.guesses.lock().unwrap().is_empty());
    }
}
