//! What could not be written for now: how long tokens and locations rest, so that none holds up the others, and what is said of it.

use std::collections::BTreeSet;
use std::time::Duration;

use super::{IN_VAIN, PAUSE, QUIET, REST, WriteBack, in_vain};
use crate::core::ident::{BusinessId, TokenId};
use crate::source::Error;

/// The longest rest of one that is refused again and again: writes are counted by the day (facts/nexudus.md §4).
const REFUSED_REST: Duration = Duration::from_secs(6 * 3600);

/// After how many refused tokens of a location in a row it is the location's right that is missing.
const CLOSED_AFTER: u32 = 2;

/// How often a token is refused before `/readyz` speaks of it: not for what ten minutes mend.
const REFUSALS: u32 = 2;

/// Tokens refused at a time that the log names.
const LINES: usize = 20;

/// A token that owes and was not settled.
#[derive(Debug, Default)]
pub(super) struct Unsettled {
    /// Until when it rests (monotonic).
    pub(super) until: Duration,
    /// Failures in a row of its own, not of the source.
    pub(super) failures: u32,
    /// How often in a row it was refused for what its record holds.
    pub(super) refusals: u32,
    /// Whether there was no such record when it was looked what became of a write.
    pub(super) missing: bool,
}

/// A location at which a right is missing.
#[derive(Debug)]
pub(super) struct Closed {
    /// Tokens in a row that were refused.
    pub(super) refusals: u32,
    /// Until when none of its tokens is tried (monotonic).
    pub(super) until: Duration,
    /// What is missing.
    pub(super) words: String,
}

/// Tokens that failed in one look, and when (monotonic).
#[derive(Debug, Default)]
pub(super) struct Failed {
    pub(super) tokens: Vec<(TokenId, Duration)>,
    pub(super) others_went_well: bool,
}

impl WriteBack {
    /// A right is missing: of this token, or of its location. Neither holds others up.
    pub(super) fn is_forbidden(&mut self, id: TokenId, business: Option<BusinessId>, error: &Error) {
        let now = self.clock.now().mono;
        self.fails(id, now);
        let new = Closed { refusals: 0, until: Duration::ZERO, words: String::new() };
        let closed = self.closed.entry(business).or_insert(new);
        closed.refusals = closed.refusals.saturating_add(1);
        closed.words = error.to_string();
        closed.until = now;
        if business.is_some() && closed.refusals >= CLOSED_AFTER {
            closed.until = now.saturating_add(QUIET);
        }
        self.say();
    }

    /// It is tried again after so long.
    pub(super) fn rests(&mut self, id: TokenId, time: Duration) {
        self.unsettled.entry(id).or_default().until = self.clock.now().mono.saturating_add(time);
    }

    /// It failed `at` a time, once more: it rests the longer the more often it does.
    pub(super) fn fails(&mut self, id: TokenId, at: Duration) {
        let shortest = self.shortest_rest();
        let unsettled = self.unsettled.entry(id).or_default();
        let rest = shortest.saturating_mul(2u32.saturating_pow(unsettled.failures)).min(REST.max(shortest));
        unsettled.failures = unsettled.failures.saturating_add(1);
        unsettled.until = at.saturating_add(rest);
    }

    /// Lets those rest that failed. Where others went well meanwhile it was theirs alone, and the rest grows; else it was the
    /// source's, and nobody is to wait long once that is well again.
    pub(super) fn let_rest(&mut self, failed: Failed) {
        for (id, at) in failed.tokens {
            if failed.others_went_well {
                self.fails(id, at);
            } else {
                let until = at.saturating_add(self.shortest_rest());
                self.unsettled.entry(id).or_default().until = until;
            }
        }
    }

    /// What was sent may arrive until then.
    pub(super) fn shortest_rest(&self) -> Duration {
        PAUSE.max(self.nexudus.config.request_timeout * 2)
    }

    /// Nexudus refuses what its record holds: that is this token's alone.
    pub(super) fn is_refused(&mut self, id: TokenId, what: &str) {
        let refusals = self.unsettled.get(&id).map_or(0, |unsettled| unsettled.refusals);
        self.rests(id, REST.saturating_mul(2u32.saturating_pow(refusals)).min(REFUSED_REST));
        let unsettled = self.unsettled.entry(id).or_default();
        unsettled.refusals = unsettled.refusals.saturating_add(1);
        let first = unsettled.refusals == 1;
        let refused = self.unsettled.values().filter(|unsettled| unsettled.refusals > 0).count();
        if first && refused <= LINES {
            let minutes = REST.as_secs() / 60;
            tracing::warn!(
                token = id.0,
                "Nexudus refuses what is written back to this token: {what}; see its record in Nexudus; it is tried again in \
                 {minutes} minutes, and later each time"
            );
        }
    }

    /// Says what keeps minutes from being written back.
    pub(super) fn say(&self) {
        let mut troubles: Vec<String> = self.not_kept.iter().map(|what| (*what).to_owned()).collect();
        troubles.extend(self.refused.clone());
        let missing: BTreeSet<&String> = self.closed.values().map(|closed| &closed.words).collect();
        troubles.extend(missing.into_iter().cloned());
        if self.not_taken >= IN_VAIN {
            troubles.push(in_vain().to_owned());
        }
        let refused = self.unsettled.values().filter(|unsettled| unsettled.refusals >= REFUSALS).count();
        if refused > 0 {
            let tokens = if refused == 1 { "token" } else { "tokens" };
            troubles.push(format!("Nexudus refuses what is written back to {refused} {tokens}: see the log"));
        }
        if self.late >= IN_VAIN {
            let within = self.fresh().as_secs_f64();
            troubles.push(format!("the disk of store.path takes more than {within} s to note what is to be written"));
        }
        self.trouble.set((!troubles.is_empty()).then(|| troubles.join("; ")));
    }
}
