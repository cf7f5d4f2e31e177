//! Session-time arithmetic: whole seconds, saturating, no floats.

use std::fmt;
use std::time::Duration;

use jiff::Timestamp;

/// Whole seconds, never negative.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Seconds(pub u64);

impl Seconds {
    /// None.
    pub const ZERO: Self = Self(0);

    /// `minutes` as seconds; negative minutes are none.
    #[must_use]
    pub fn from_minutes(minutes: i64) -> Self {
        Self(minutes.max(0).unsigned_abs().saturating_mul(60))
    }

    /// Whole seconds from `earlier` to `later`; zero if it is not later.
    #[must_use]
    pub fn between(earlier: Timestamp, later: Timestamp) -> Self {
        let millis = later.as_millisecond().saturating_sub(earlier.as_millisecond());
        Self(millis.max(0).unsigned_abs() / 1000)
    }

    /// The moment this long after `moment`.
    #[must_use]
    pub fn after(self, moment: Timestamp) -> Timestamp {
        moment.saturating_add(Duration::from_secs(self.0)).unwrap_or(Timestamp::MAX)
    }

    /// The moment this long before `moment`.
    #[must_use]
    pub fn before(self, moment: Timestamp) -> Timestamp {
        moment.saturating_sub(Duration::from_secs(self.0)).unwrap_or(Timestamp::MIN)
    }

    /// The sum.
    #[must_use]
    pub const fn plus(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }

    /// The difference, at least zero.
    #[must_use]
    pub const fn less(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }

    /// Whole minutes.
    #[must_use]
    pub const fn minutes(self) -> u64 {
        self.0 / 60
    }
}

impl std::iter::Sum for Seconds {
    fn sum<I: Iterator<Item = Self>>(seconds: I) -> Self {
        seconds.fold(Self::ZERO, Self::plus)
    }
}

impl fmt::Display for Seconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} s", self.0)
    }
}

/// The moment of so many milliseconds since 1970, in which moments are written down; what is beyond every calendar is its
/// first or last moment.
#[must_use]
pub fn moment(millis: i64) -> Timestamp {
    let bound = if millis < 0 { Timestamp::MIN } else { Timestamp::MAX };
    Timestamp::from_millisecond(millis).unwrap_or(bound)
}

/// The largest Session-Timeout that RouterOS is known to honour (facts/hotspot.md §1.3).
pub const SESSION_CEILING: Seconds = Seconds(21_474_720);

/// What the devices of a token draw on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Pool {
    /// No limit of minutes.
    Unlimited,
    /// So much is left.
    Holds(Seconds),
}

impl Pool {
    /// The pool after `given` was put in.
    #[must_use]
    pub const fn plus(self, given: Seconds) -> Self {
        match self {
            Self::Unlimited => Self::Unlimited,
            Self::Holds(held) => Self::Holds(held.plus(given)),
        }
    }

    /// The pool after `used` was taken out.
    #[must_use]
    pub const fn less(self, used: Seconds) -> Self {
        match self {
            Self::Unlimited => Self::Unlimited,
            Self::Holds(held) => Self::Holds(held.less(used)),
        }
    }

    /// An equal share for each of `devices`.
    #[must_use]
    pub fn share(self, devices: u32) -> Self {
        match self {
            Self::Unlimited => Self::Unlimited,
            Self::Holds(held) => Self::Holds(Seconds(held.0 / u64::from(devices.max(1)))),
        }
    }

    /// The smaller of two pools.
    #[must_use]
    pub fn at_most(self, other: Self) -> Self {
        match (self, other) {
            (Self::Unlimited, pool) | (pool, Self::Unlimited) => pool,
            (Self::Holds(one), Self::Holds(other)) => Self::Holds(one.min(other)),
        }
    }

    /// Whole minutes held; `None` without a limit.
    #[must_use]
    pub const fn minutes(self) -> Option<u64> {
        match self {
            Self::Unlimited => None,
            Self::Holds(held) => Some(held.minutes()),
        }
    }
}

/// The seconds a device may stay online: the least of what the pool gives, the time to `valid_to` and `max_session`;
/// zero is a denial's business, since a Session-Timeout of 0 means no limit to a router.
#[must_use]
pub fn budget(pool: Pool, valid_to: Option<Timestamp>, max_session: Seconds, now: Timestamp) -> Seconds {
    let mut budget = max_session.min(SESSION_CEILING);
    if let Some(end) = valid_to {
        budget = budget.min(Seconds::between(now, end));
    }
    if let Pool::Holds(held) = pool {
        budget = budget.min(held);
    }
    budget
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn moments_are_counted_from_1970_and_end_where_calendars_do() {
        assert_eq!(
            (moment(-1500), moment(1500)),
            (Timestamp::from_millisecond(-1500).unwrap(), Timestamp::from_millisecond(1500).unwrap())
        );
        assert_eq!((moment(i64::MIN), moment(0), moment(i64::MAX)), (Timestamp::MIN, at(0), Timestamp::MAX));
        assert_eq!((Seconds(10).before(at(100)), Seconds(10).after(at(100))), (at(90), at(110)));
        assert_eq!((Seconds(u64::MAX).before(at(0)), Seconds(u64::MAX).after(at(0))), (Timestamp::MIN, Timestamp::MAX));
    }

    #[test]
    fn the_least_bound_wins() {
        let now = at(1000);
        let hour = Pool::Holds(Seconds(3600));
        assert_eq!(budget(hour, None, Seconds(86_400), now), Seconds(3600));
        assert_eq!(budget(hour, Some(at(1600)), Seconds(86_400), now), Seconds(600));
        assert_eq!(budget(hour, Some(at(999)), Seconds(86_400), now), Seconds::ZERO);
        assert_eq!(budget(hour, None, Seconds(120), now), Seconds(120));
        assert_eq!(budget(Pool::Unlimited, None, Seconds(u64::MAX), now), SESSION_CEILING);
        assert_eq!(SESSION_CEILING, Seconds(21_474_720), "the contract's");
    }

    #[test]
    fn a_part_of_a_second_is_not_given() {
        let end = Timestamp::from_millisecond(10_999).unwrap();
        assert_eq!(budget(Pool::Unlimited, Some(end), Seconds(60), at(1)), Seconds(9));
    }

    #[test]
    fn shown_with_its_unit() {
        assert_eq!(Seconds(3600).to_string(), "3600 s");
    }

    proptest! {
        #[test]
        fn never_above_any_bound(
            held in proptest::option::of(any::<u64>()),
            end in proptest::option::of(-4_000_000_000i64..9_000_000_000),
            max: u64,
            now in -4_000_000_000i64..9_000_000_000,
            used: u64,
            devices: u32,
        ) {
            let pool = held.map_or(Pool::Unlimited, |held| Pool::Holds(Seconds(held)));
            let drawn = pool.less(Seconds(used)).share(devices);
            let budget = budget(drawn, end.map(at), Seconds(max), at(now));
            prop_assert!(budget <= SESSION_CEILING && budget <= Seconds(max));
            if let Some(held) = held {
                prop_assert!(budget.0 <= held.saturating_sub(used) / u64::from(devices.max(1)));
            }
            if let Some(end) = end {
                prop_assert!(budget.0 <= end.saturating_sub(now).max(0).unsigned_abs());
            }
        }
    }
}
