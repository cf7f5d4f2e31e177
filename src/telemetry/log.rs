//! Logs: their form, and a brake for lines that strangers can cause.

use std::collections::HashMap;
use std::hash::Hash;
use std::io::IsTerminal as _;
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::Duration;

use tracing_journald::{Priority, PriorityMappings};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Registry, fmt, reload};

use crate::config::{LogForm, Telemetry};

/// Libraries whose own lines could carry a URL with a code in it, or a header: never below `warn`, whatever `telemetry.level`
/// says.
const HUSHED: [&str; 6] = ["hyper", "hyper_util", "reqwest", "rustls", "h2", "tower_http"];

/// Whose lines pass whatever `telemetry.level` says: the answers to what an operator asked for by a signal.
pub const OPERATOR: &str = "spotgate::operator";

/// Levels as syslog(3) has them: what is said of each login is no notice.
const PRIORITIES: PriorityMappings = PriorityMappings {
    error: Priority::Error,
    warn: Priority::Warning,
    info: Priority::Informational,
    debug: Priority::Debug,
    trace: Priority::Debug,
};

/// The filter in force, once logging has begun.
static FILTER: OnceLock<reload::Handle<EnvFilter, Registry>> = OnceLock::new();

/// Starts logging to standard error. Called once; a second call changes nothing.
pub fn init(telemetry: &Telemetry) {
    let (filter, handle) = reload::Layer::new(filter(telemetry));
    let lines = fmt::layer().with_writer(std::io::stderr);
    let registry = tracing_subscriber::registry().with(filter);
    let begun = match telemetry.log {
        LogForm::Json => registry.with(lines.json().flatten_event(true)).try_init(),
        LogForm::Text => registry.with(lines.with_ansi(std::io::stderr().is_terminal())).try_init(),
        // Its fields become fields of the journal: `journalctl SPOTGATE_NAS=front-desk`.
        LogForm::Journald => match tracing_journald::layer() {
            Ok(journal) => {
                let journal = journal.with_field_prefix(Some("SPOTGATE".to_owned()));
                let journal = journal.with_syslog_identifier("spotgate".to_owned());
                registry.with(journal.with_priority_mappings(PRIORITIES)).try_init()
            }
            // There is none; who reads standard error may add the time.
            Err(_) => registry.with(lines.with_ansi(false).without_time()).try_init(),
        },
    };
    if begun.is_ok() {
        let _ = FILTER.set(handle);
    }
}

/// Puts another `telemetry.level` in force.
pub fn set_level(telemetry: &Telemetry) {
    if let Some(handle) = FILTER.get()
        && let Err(error) = handle.reload(filter(telemetry))
    {
        tracing::error!(%error, "the log level could not be changed");
    }
}

fn filter(telemetry: &Telemetry) -> EnvFilter {
    let hushed = HUSHED.iter().map(|library| format!("{library}=warn"));
    hushed.chain([format!("{OPERATOR}=info")]).fold(EnvFilter::new(&telemetry.level), |filter, directive| {
        match directive.parse() {
            Ok(directive) => filter.add_directive(directive),
            Err(_) => filter,
        }
    })
}

/// Lets each key through once in a while, so that nobody can flood the log; bounded in keys.
#[derive(Debug)]
pub struct Brake<K> {
    every: Duration,
    capacity: usize,
    last: Mutex<HashMap<K, (Duration, u64)>>,
}

impl<K: Hash + Eq + Clone> Brake<K> {
    /// A brake that lets a key through once `every` so long, and remembers up to `capacity` keys.
    #[must_use]
    pub fn new(every: Duration, capacity: usize) -> Self {
        Self { every, capacity, last: Mutex::default() }
    }

    /// `Some(n)` if a line about `key` may be written at `now`, where `n` lines were held back since the last one.
    pub fn pass(&self, key: &K, now: Duration) -> Option<u64> {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((at, held)) = last.get_mut(key) {
            if now.saturating_sub(*at) < self.every {
                *held += 1;
                return None;
            }
            *at = now;
            return Some(std::mem::take(held));
        }
        if last.len() >= self.capacity {
            last.retain(|_, (at, _)| now.saturating_sub(*at) < self.every);
            if last.len() >= self.capacity {
                return None;
            }
        }
        last.insert(key.clone(), (now, 0));
        Some(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_a_minute_for_each_key_and_no_more_keys_than_fit() {
        let brake = Brake::new(Duration::from_secs(60), 2);
        let at = Duration::from_secs;
        assert_eq!(brake.pass(&"a", at(0)), Some(0));
        assert_eq!(brake.pass(&"a", at(59)), None);
        assert_eq!(brake.pass(&"b", at(59)), Some(0));
        assert_eq!(brake.pass(&"c", at(59)), None, "full");
        assert_eq!(brake.pass(&"a", at(60)), Some(1), "one was held back");
        assert_eq!(brake.pass(&"c", at(119)), Some(0), "b went");
    }
}
