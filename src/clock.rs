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
    Fast { start: Instant, from: Timestamp, speed: u32 },
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

    /// A clock on which, from `from` on, `speed` seconds pass in each second: a long time in a short test. Both
    /// [`Clock::sleep`] and [`Clock::real`] keep to it.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "this is the file that reads clocks")]
    pub fn fast(from: Timestamp, speed: u32) -> Self {
        Self(Kind::Fast { start: Instant::now(), from, speed: speed.max(1) })
    }

    /// Waits for so long. A clock that is moved by hand is moved by that.
    pub async fn sleep(&self, time: Duration) {
        if matches!(self.0, Kind::Manual(_)) {
            self.advance(time);
            tokio::task::yield_now().await;
        } else {
            tokio::time::sleep(self.real(time)).await;
        }
    }

    /// How long `time` takes really, for time-outs of what knows no clock.
    #[must_use]
    pub const fn real(&self, time: Duration) -> Duration {
        match self.0 {
            Kind::System { .. } | Kind::Manual(_) => time,
            Kind::Fast { speed, .. } => match time.checked_div(speed) {
                Some(time) => time,
                None => time,
            },
        }
    }

    /// Reads both clocks.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "this is the file that reads clocks")]
    pub fn now(&self) -> Now {
        match &self.0 {
            Kind::System { start } => Now { wall: to_the_millisecond(Timestamp::now()), mono: start.elapsed() },
            Kind::Manual(now) => *now.lock().unwrap_or_else(PoisonError::into_inner),
            Kind::Fast { start, from, speed } => {
                let mono = start.elapsed().saturating_mul(*speed);
                Now { wall: to_the_millisecond(from.saturating_add(mono).unwrap_or(Timestamp::MAX)), mono }
            }
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
