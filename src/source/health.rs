//! How the source's last answer was: for readiness, and for the log.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use super::Error;
use super::alarm::Alarm;
use crate::telemetry::log::Brake;

/// How often the log speaks of the source going away, and of its coming back.
const LINE_EVERY: Duration = Duration::from_secs(60);

/// The source's last answer. What spotgate itself holds back (its ceiling, its pauses) is no answer.
#[derive(Debug)]
pub struct Health {
    last: Mutex<Option<Result<(), Error>>>,
    /// The alarms that last, by the operation that raised them.
    alarms: Mutex<BTreeMap<&'static str, Error>>,
    brake: Brake<Line>,
}

/// What a line of the log is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Line {
    Back,
    Gone,
    Alarm(&'static str),
}

impl Default for Health {
    fn default() -> Self {
        let lines = 2 + Alarm::KINDS.len();
        Self { last: Mutex::default(), alarms: Mutex::default(), brake: Brake::new(LINE_EVERY, lines) }
    }
}

impl Health {
    /// Notes an answer at `now` (monotonic); trouble and its end are logged.
    pub fn note(&self, answer: Result<(), Error>, now: Duration) {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        match (last.as_ref(), &answer) {
            (_, Err(error)) => {
                let alarm = error.alarm().map(Alarm::kind);
                if let Some(held) = self.brake.pass(&alarm.map_or(Line::Gone, Line::Alarm), now) {
                    tracing::warn!(alarm, %error, held, "the source does not answer; copies at hand stay in use");
                }
            }
            (Some(Err(_)), Ok(())) => {
                if let Some(held) = self.brake.pass(&Line::Back, now) {
                    tracing::info!(held, "the source answers again");
                }
            }
            (_, Ok(())) => {}
        }
        *last = Some(answer);
    }

    /// Notes how a call of `operation` went: an alarm lasts until the operation that raised it succeeds.
    pub fn called(&self, operation: &'static str, outcome: Result<(), &Error>) {
        let mut alarms = self.alarms.lock().unwrap_or_else(PoisonError::into_inner);
        match outcome {
            Ok(()) => drop(alarms.remove(operation)),
            Err(error) if error.alarm().is_some() => drop(alarms.insert(operation, error.clone())),
            // It says nothing about what an operator was to see to.
            Err(_) => {}
        }
    }

    /// The alarms that last.
    #[must_use]
    pub fn alarms(&self) -> Vec<Error> {
        self.alarms.lock().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }

    /// The last answer; `None` before the first.
    #[must_use]
    pub fn last(&self) -> Option<Result<(), Error>> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
