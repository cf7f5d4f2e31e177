//! How the source's last answer was: for readiness, and for the log.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use super::Error;
use crate::telemetry::log::Brake;

/// How often the log speaks of the source going away, and of its coming back.
const LINE_EVERY: Duration = Duration::from_secs(60);

/// The source's last answer. What spotgate itself holds back (its ceiling, its pauses) is no answer.
#[derive(Debug)]
pub struct Health {
    last: Mutex<Option<Result<(), Error>>>,
    brake: Brake<bool>,
}

impl Default for Health {
    fn default() -> Self {
        Self { last: Mutex::default(), brake: Brake::new(LINE_EVERY, 2) }
    }
}

impl Health {
    /// Notes an answer at `now` (monotonic); trouble and its end are logged.
    pub fn note(&self, answer: Result<(), Error>, now: Duration) {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        match (last.as_ref(), &answer) {
            (_, Err(error)) => {
                if let Some(held) = self.brake.pass(&false, now) {
                    tracing::warn!(%error, held, "the source does not answer; copies at hand stay in use");
                }
            }
            (Some(Err(_)), Ok(())) => {
                if let Some(held) = self.brake.pass(&true, now) {
                    tracing::info!(held, "the source answers again");
                }
            }
            (_, Ok(())) => {}
        }
        *last = Some(answer);
    }

    /// The last answer; `None` before the first.
    #[must_use]
    pub fn last(&self) -> Option<Result<(), Error>> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
