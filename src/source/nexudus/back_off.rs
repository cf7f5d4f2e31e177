//! How long to leave Nexudus alone after it failed: a pure function and the state that all calls share.

use std::time::Duration;

/// The first pause, before jitter.
const FIRST: Duration = Duration::from_millis(250);

/// The longest pause.
const LONGEST: Duration = Duration::from_secs(60);

/// The longest that `Retry-After` is believed.
pub(super) const LONGEST_ASKED: Duration = Duration::from_secs(300);

/// The pause after the failure number `attempt`, counted from 0: doubling from 250 ms up to a minute, of which
/// `random` takes away up to half, so that daemons that failed together do not come back together.
#[must_use]
pub(super) fn delay(attempt: u32, random: u32) -> Duration {
    let whole = FIRST.saturating_mul(2u32.saturating_pow(attempt)).min(LONGEST);
    let half = whole / 2;
    let spread = u64::try_from(half.as_micros()).unwrap_or(u64::MAX);
    // At most 30 s in microseconds times 2^32: within 64 bits.
    half + Duration::from_micros((spread * u64::from(random)) >> 32)
}

/// A pause that is under way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct BackOff {
    /// Failures in a row.
    failures: u32,
    /// When the latest counted one happened (monotonic).
    failed_at: Option<Duration>,
    /// End of the pause (monotonic).
    until: Duration,
}

impl BackOff {
    /// How long a call must wait at `now`.
    #[must_use]
    pub(super) fn wait(&self, now: Duration) -> Duration {
        self.until.saturating_sub(now)
    }

    /// A call that was sent at `sent` failed at `now`. Calls that were under way together count as one failure, so that
    /// a burst of logins does not turn one hiccup into a minute. `asked` is the `Retry-After`, if there was one; it is
    /// kept to even if it is shorter than our own pause.
    pub(super) fn failed(&mut self, sent: Duration, now: Duration, asked: Option<Duration>, random: u32) {
        let counted = self.failed_at.is_some_and(|failed_at| sent < failed_at);
        if !counted {
            self.failed_at = Some(now);
        }
        match asked {
            Some(asked) => self.until = self.until.max(now + asked.min(LONGEST_ASKED)),
            None if counted => {}
            None => {
                self.until = self.until.max(now + delay(self.failures, random));
                self.failures = self.failures.saturating_add(1);
            }
        }
    }

    /// A call succeeded: the next failure is a first one.
    pub(super) const fn succeeded(&mut self) {
        self.failures = 0;
    }
}

/// The pause of all calls, and one of writes alone: whoever may not write for now (writes have limits of their own,
/// facts/nexudus.md §4) may read, and guests wait for that.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Pauses {
    all: BackOff,
    writes: BackOff,
}

impl Pauses {
    /// How long a call must wait at `now`.
    pub(super) fn wait(&self, writes: bool, now: Duration) -> Duration {
        let all = self.all.wait(now);
        if writes { all.max(self.writes.wait(now)) } else { all }
    }

    /// [`BackOff::failed`], of a write or of any other call.
    pub(super) fn failed(&mut self, writes: bool, sent: Duration, now: Duration, asked: Option<Duration>, random: u32) {
        if writes { &mut self.writes } else { &mut self.all }.failed(sent, now, asked, random);
    }

    /// [`BackOff::succeeded`]. That others do says nothing of writes.
    pub(super) const fn succeeded(&mut self, writes: bool) {
        self.all.succeeded();
        if writes {
            self.writes.succeeded();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    #[test]
    fn pauses_double_up_to_a_minute() {
        assert_eq!(delay(0, 0), ms(125));
        assert!(delay(0, u32::MAX) > ms(249) && delay(0, u32::MAX) <= ms(250));
        assert_eq!(delay(3, 0), ms(1000));
        assert_eq!(delay(7, 0), ms(16_000));
        assert_eq!(delay(8, 0), ms(30_000));
        assert_eq!(delay(u32::MAX, 0), ms(30_000));
        assert!(delay(u32::MAX, u32::MAX) <= ms(60_000));
    }

    #[test]
    fn calls_that_fail_together_count_once() {
        let mut pause = BackOff::default();
        pause.failed(ms(0), ms(100), None, 0);
        assert_eq!(pause.wait(ms(100)), ms(125));
        pause.failed(ms(50), ms(101), None, 0);
        assert_eq!(pause.wait(ms(101)), ms(124));
        pause.failed(ms(300), ms(400), None, 0);
        assert_eq!(pause.wait(ms(400)), ms(250));
        pause.succeeded();
        pause.failed(ms(900), ms(1000), None, 0);
        assert_eq!(pause.wait(ms(1000)), ms(125));
    }

    #[test]
    fn what_the_server_asks_for_is_kept_to_within_reason() {
        let mut pause = BackOff::default();
        pause.failed(ms(0), ms(0), Some(ms(0)), 0);
        assert_eq!(pause.wait(ms(0)), ms(0));
        pause.failed(ms(0), ms(0), Some(ms(7_000)), 0);
        assert_eq!(pause.wait(ms(1_000)), ms(6_000));
        pause.failed(ms(0), ms(1_000), Some(ms(1_000)), 0);
        assert_eq!(pause.wait(ms(1_000)), ms(6_000), "a shorter wish does not shorten a longer one");
        pause.failed(ms(0), ms(1_000), Some(Duration::MAX), 0);
        assert_eq!(pause.wait(ms(1_000)), ms(300_000));
    }

    #[test]
    fn a_write_that_is_refused_for_now_makes_nobody_else_wait() {
        let mut pauses = Pauses::default();
        pauses.failed(true, ms(0), ms(100), Some(ms(5000)), 0);
        assert_eq!((pauses.wait(false, ms(100)), pauses.wait(true, ms(100))), (ms(0), ms(5000)));
        pauses.failed(false, ms(0), ms(200), Some(ms(9000)), 0);
        assert_eq!((pauses.wait(false, ms(200)), pauses.wait(true, ms(200))), (ms(9000), ms(9000)));
        pauses.failed(true, ms(300), ms(400), None, 0);
        pauses.succeeded(false);
        pauses.failed(true, ms(6000), ms(9200), None, 0);
        assert_eq!(pauses.wait(true, ms(9200)), ms(250), "the second in a row");
    }

    proptest! {
        #[test]
        fn pauses_stay_in_bounds(attempt: u32, random: u32) {
            prop_assert!((ms(125)..=ms(60_000)).contains(&delay(attempt, random)));
        }
    }
}
