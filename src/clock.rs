//! The one place that reads a clock. Everything else is handed a [`Now`].

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use jiff::Timestamp;

/// One reading of both clocks.
///
/// `wall` judges validity windows; `mono` judges ages and intervals, because it neither jumps nor
/// starts in 1970 on a box without a battery-backed clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Now {
    /// Wall clock, UTC, to the millisecond: what is written down comes back as it was.
    pub wall: Timestamp,
    /// Time since the clock was made; never falls.
    pub mono: Duration,
}

/// A source of [`Now`]: the system's, or one that a test moves by hand.
#[derive(Clone, Debug)]
pub struct Clock(Kind);

#[derive(Clone, Debug)]
enum Kind {
    System { start: Instant },
    Manual(Arc<Mutex<Now>>),
}

impl Clock {
    /// The clock of this machine.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "this is the file that reads clocks")]
    pub fn system() -> Self {
        Self(Kind::System { start: Instant::now() })
    }

    /// A clock that stands at `wall` until [`Clock::advance`] moves it.
    #[must_use]
    pub fn manual(wall: Timestamp) -> Self {
        Self(Kind::Manual(Arc::new(Mutex::new(Now { wall, mono: Duration::ZERO }))))
    }

    /// Reads both clocks.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "this is the file that reads clocks")]
    pub fn now(&self) -> Now {
        match &self.0 {
            Kind::System { start } => Now { wall: to_the_millisecond(Timestamp::now()), mono: start.elapsed() },
            Kind::Manual(now) => *now.lock().unwrap_or_else(PoisonError::into_inner),
        }
    }

    /// Moves a manual clock forward by `step`; a system clock moves by itself.
    pub fn advance(&self, step: Duration) {
        if let Kind::Manual(now) = &self.0 {
            let mut now = now.lock().unwrap_or_else(PoisonError::into_inner);
            now.mono += step;
            now.wall = now.wall.saturating_add(step).unwrap_or(Timestamp::MAX);
        }
    }
}

fn to_the_millisecond(moment: Timestamp) -> Timestamp {
    Timestamp::from_millisecond(moment.as_millisecond()).unwrap_or(moment)
}
