//! The one place that reads a clock. Everything else is handed a [`Now`].

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};

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

/// How long the machine has been up, and since which start of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Boot {
    /// Names this start; without white space.
    pub id: String,
    /// Time since then, to 10 ms, sleep included.
    pub up: Duration,
}

/// A source of [`Now`]: the system's, or one that a test moves by hand. Clones share what is corrected.
#[derive(Clone, Debug)]
pub struct Clock {
    kind: Kind,
    correction: Arc<Mutex<Option<Correction>>>,
    /// Whether there is a correction: reading the time takes no lock without one.
    corrected: Arc<AtomicBool>,
}

/// How the wall clock is corrected.
#[derive(Clone, Copy, Debug)]
struct Correction {
    /// What is added to it.
    by: SignedDuration,
    /// How far it was ahead of the monotonic clock, in milliseconds. Once that changes, somebody has set it.
    ahead_ms: i64,
}

/// How far a clock must be set for a correction to be dropped.
const SET_BY_MS: u64 = 30_000;

/// No clock that is right shows less: spotgate did not exist.
pub const RELEASED: Timestamp = Timestamp::constant(1_793_491_200, 0);

#[derive(Clone, Debug)]
enum Kind {
    System { start: Instant },
    Manual(Arc<Mutex<Now>>),
    Fast { start: Instant, from: Timestamp, speed: u32 },
}

impl Clock {
    fn of(kind: Kind) -> Self {
        Self { kind, correction: Arc::default(), corrected: Arc::default() }
    }

    /// The clock of this machine.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "this is the file that reads clocks")]
    pub fn system() -> Self {
        Self::of(Kind::System { start: Instant::now() })
    }

    /// A clock that stands at `wall` until [`Clock::advance`] moves it.
    #[must_use]
    pub fn manual(wall: Timestamp) -> Self {
        Self::of(Kind::Manual(Arc::new(Mutex::new(Now { wall, mono: Duration::ZERO }))))
    }

    /// A clock on which, from `from` on, `speed` seconds pass in each second: a long time in a short test. Both
    /// [`Clock::sleep`] and [`Clock::real`] keep to it.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "this is the file that reads clocks")]
    pub fn fast(from: Timestamp, speed: u32) -> Self {
        Self::of(Kind::Fast { start: Instant::now(), from, speed: speed.max(1) })
    }

    /// Waits for so long. A clock that is moved by hand is moved by that.
    pub async fn sleep(&self, time: Duration) {
        if matches!(self.kind, Kind::Manual(_)) {
            self.advance(time);
            tokio::task::yield_now().await;
        } else {
            tokio::time::sleep(self.real(time)).await;
        }
    }

    /// How long `time` takes really, for time-outs of what knows no clock.
    #[must_use]
    pub const fn real(&self, time: Duration) -> Duration {
        match self.kind {
            Kind::System { .. } | Kind::Manual(_) => time,
            Kind::Fast { speed, .. } => match time.checked_div(speed) {
                Some(time) => time,
                None => time,
            },
        }
    }

    /// Reads both clocks; the wall clock as it is corrected.
    #[must_use]
    pub fn now(&self) -> Now {
        let now = self.uncorrected();
        match self.correction() {
            Some(by) => Now { wall: now.wall.saturating_add(by).unwrap_or(now.wall), ..now },
            None => now,
        }
    }

    /// Reads the clock that never falls, alone.
    #[must_use]
    pub fn mono(&self) -> Duration {
        match &self.kind {
            Kind::System { start } => start.elapsed(),
            Kind::Manual(_) | Kind::Fast { .. } => self.uncorrected().mono,
        }
    }

    /// What is added to the wall clock because it is known to be wrong; none: it counts as right.
    #[must_use]
    pub fn correction(&self) -> Option<SignedDuration> {
        if !self.corrected.load(Ordering::Relaxed) {
            return None;
        }
        let mut correction = self.correction.lock().unwrap_or_else(PoisonError::into_inner);
        let set = correction.is_some_and(|known| ahead_ms(self.uncorrected()).abs_diff(known.ahead_ms) > SET_BY_MS);
        if set {
            *correction = None;
            self.corrected.store(false, Ordering::Relaxed);
        }
        correction.map(|correction| correction.by)
    }

    /// Adds `by` to the wall clock from now on, until somebody sets it; none: it is right.
    pub fn correct(&self, by: Option<SignedDuration>) {
        let ahead_ms = ahead_ms(self.uncorrected());
        let mut correction = self.correction.lock().unwrap_or_else(PoisonError::into_inner);
        *correction = by.map(|by| Correction { by, ahead_ms });
        self.corrected.store(by.is_some(), Ordering::Relaxed);
    }

    /// It cannot be earlier than `moment`, since something was written down then: a clock that says so was not set yet.
    pub fn not_before(&self, moment: Timestamp) {
        let now = self.now();
        if now.wall < moment {
            self.correct(Some(moment.duration_since(self.uncorrected().wall)));
        }
    }

    /// Reads both clocks as they are.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "this is the file that reads clocks")]
    pub fn uncorrected(&self) -> Now {
        match &self.kind {
            Kind::System { start } => Now { wall: to_the_millisecond(Timestamp::now()), mono: start.elapsed() },
            Kind::Manual(now) => *now.lock().unwrap_or_else(PoisonError::into_inner),
            Kind::Fast { start, from, speed } => {
                let mono = start.elapsed().saturating_mul(*speed);
                Now { wall: to_the_millisecond(from.saturating_add(mono).unwrap_or(Timestamp::MAX)), mono }
            }
        }
    }

    /// How long the machine has been up (proc_uptime(5), random(4)); of a clock that is not the machine's, how long that was.
    ///
    /// # Errors
    ///
    /// The kernel does not say.
    pub fn boot(&self) -> io::Result<Boot> {
        if !matches!(self.kind, Kind::System { .. }) {
            return Ok(Boot { id: "none".to_owned(), up: self.now().mono });
        }
        let id = std::fs::read_to_string("/proc/sys/kernel/random/boot_id")?.trim().to_owned();
        let uptime = std::fs::read_to_string("/proc/uptime")?;
        let up = uptime.split(' ').next().and_then(|seconds| Duration::try_from_secs_f64(seconds.parse().ok()?).ok());
        let up = up.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "/proc/uptime holds no number"))?;
        Ok(Boot { id, up })
    }

    /// Sets a manual clock's wall clock, as an operator does.
    pub fn set(&self, wall: Timestamp) {
        if let Kind::Manual(now) = &self.kind {
            now.lock().unwrap_or_else(PoisonError::into_inner).wall = wall;
        }
    }

    /// Moves a manual clock forward by `step`; a system clock moves by itself.
    pub fn advance(&self, step: Duration) {
        if let Kind::Manual(now) = &self.kind {
            let mut now = now.lock().unwrap_or_else(PoisonError::into_inner);
            now.mono += step;
            now.wall = now.wall.saturating_add(step).unwrap_or(Timestamp::MAX);
        }
    }
}

fn ahead_ms(now: Now) -> i64 {
    now.wall.as_millisecond().saturating_sub(i64::try_from(now.mono.as_millis()).unwrap_or(i64::MAX))
}

fn to_the_millisecond(moment: Timestamp) -> Timestamp {
    Timestamp::from_millisecond(moment.as_millisecond()).unwrap_or(moment)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn a_correction_holds_until_the_clock_is_set() {
        let clock = Clock::manual(at("1970-01-01T00:00:10Z"));
        let clone = clock.clone();
        clone.not_before(at("2026-11-24T10:00:00Z"));
        assert_eq!(clock.now().wall, at("2026-11-24T10:00:00Z"));
        clock.advance(Duration::from_secs(60));
        assert_eq!(clock.now().wall, at("2026-11-24T10:01:00Z"));
        clock.not_before(at("2026-11-24T10:00:30Z"));
        assert_eq!(clock.now().wall, at("2026-11-24T10:01:00Z"), "it is later already");

        clock.set(at("2026-11-24T12:00:00Z"));
        assert_eq!((clone.now().wall, clone.correction()), (at("2026-11-24T12:00:00Z"), None));
        clock.correct(Some(SignedDuration::from_secs(-3600)));
        assert_eq!(clone.now().wall, at("2026-11-24T11:00:00Z"));
        clock.correct(None);
        assert_eq!(clone.now().wall, at("2026-11-24T12:00:00Z"));
    }

    #[test]
    fn the_machine_says_how_long_it_is_up() {
        let clock = Clock::system();
        let (first, second) = (clock.boot().unwrap(), clock.boot().unwrap());
        assert!(first.up > Duration::ZERO && second.up >= first.up, "{first:?} {second:?}");
        assert_eq!((first.id.len(), &first.id), (36, &second.id));
    }

    #[test]
    fn a_clock_that_is_right_stays_as_it_is() {
        let clock = Clock::manual(at("2026-11-24T10:00:00Z"));
        clock.not_before(RELEASED);
        assert_eq!((clock.now().wall, clock.correction()), (at("2026-11-24T10:00:00Z"), None));
        assert_eq!(RELEASED, at("2026-11-01T00:00:00Z"));
    }
}
