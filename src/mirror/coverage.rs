//! How far the mirror is, for people who wait for it.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::telemetry::log::Brake;

/// How often the log says that the file cannot be written, and how far a listing is.
const LINE_EVERY: Duration = Duration::from_secs(60);
const STEP_EVERY: Duration = Duration::from_secs(5);

/// How far it is. Moments are on the monotonic clock.
#[derive(Debug)]
pub struct Coverage {
    now: Mutex<State>,
    brake: Brake<&'static str>,
    steps: Brake<()>,
}

/// How far it is at a moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct State {
    /// The first listing, or a later one, under way: records listed, and of how many if Nexudus says.
    pub listing: Option<(u64, Option<u64>)>,
    /// Records that it, or the latest, listed.
    pub records: u64,
    /// When everything was listed last.
    pub listed_at: Option<Duration>,
    /// When it was last known to be fresh.
    pub compared_at: Option<Duration>,
    /// Whether the file could not be written when it was last tried.
    pub unwritten: bool,
}

impl Default for Coverage {
    fn default() -> Self {
        Self { now: Mutex::default(), brake: Brake::new(LINE_EVERY, 4), steps: Brake::new(STEP_EVERY, 1) }
    }
}

impl Coverage {
    /// How far it is.
    #[must_use]
    pub fn state(&self) -> State {
        *self.now.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What people should know, in words: the first listing under way, or a file that cannot be written.
    #[must_use]
    pub fn trouble(&self) -> Option<String> {
        let state = self.state();
        match (state.listed_at, state.listing) {
            (None, Some((records, Some(of)))) => Some(format!("{records} of {of} access tokens are listed so far")),
            (None, Some((records, None))) => Some(format!("{records} access tokens are listed so far")),
            _ if state.unwritten => Some("it cannot be written down: see the log".to_owned()),
            _ => None,
        }
    }

    fn change(&self, change: impl FnOnce(&mut State)) -> State {
        let mut state = self.now.lock().unwrap_or_else(PoisonError::into_inner);
        change(&mut state);
        *state
    }

    pub(super) fn listing(&self, records: u64, of: Option<u64>, now: Duration) {
        let state = self.change(|state| (state.listing, state.records) = (Some((records, of)), records));
        if self.steps.pass(&(), now).is_some() {
            if state.listed_at.is_none() {
                tracing::info!(records, of, "listing every access token of Nexudus");
            } else {
                tracing::debug!(records, of, "listing every access token of Nexudus again");
            }
        }
    }

    pub(super) fn listed(&self, now: Duration) {
        self.change(|state| {
            (state.listing, state.listed_at, state.compared_at) = (None, Some(now), Some(now));
        });
    }

    /// A listing ended that passed a location over.
    pub(super) fn passed_over(&self) {
        self.change(|state| state.listing = None);
    }

    pub(super) fn compared(&self, now: Duration) {
        self.change(|state| state.compared_at = Some(now));
    }

    pub(super) fn written(&self) {
        self.change(|state| state.unwritten = false);
        tracing::info!("the mirror is written down again");
    }

    pub(super) fn not_written(&self, error: &str, now: Duration) {
        self.change(|state| state.unwritten = true);
        if let Some(held) = self.brake.pass(&"write", now) {
            tracing::error!(
                error,
                held,
                "the mirror cannot be written down: a restart without internet will not know all codes"
            );
        }
    }
}
