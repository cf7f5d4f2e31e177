//! Where tokens come from: the Nexudus API or a file with the same records.

pub mod file;
pub mod nexudus;

use std::time::Duration;

/// Why a source gave no answer. It never means "no such token".
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// It may answer later: time-outs, broken connections, throttling, faults of the server, nonsense instead of JSON.
    #[error("{what}")]
    Retry {
        /// What happened, in words without secrets.
        what: String,
        /// When to ask again, if the source said so.
        after: Option<Duration>,
    },
    /// It will not answer until an operator acts: a wrong password, a missing role, a second factor.
    #[error("{what}; {remedy}")]
    Refused {
        /// What happened, in words without secrets.
        what: String,
        /// What the operator can do about it.
        remedy: String,
    },
}
