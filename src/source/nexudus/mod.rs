//! The Nexudus source: AccessTokens of the REST API (facts/nexudus.md).

mod answer;
mod back_off;
mod call_log;
mod ceiling;
mod client;
pub(crate) mod date;
mod edit;
mod hint;
mod hook;
mod look_up;
mod sign_in;
mod skew;
pub(crate) mod totp;
pub mod wire;

pub(crate) use ceiling::Share;
pub use client::Nexudus;
pub(crate) use client::{Effort, Wrote};
pub(crate) use edit::edited;
pub use hint::Hint;
pub use hook::Signature;
pub use sign_in::Saved;
pub(crate) use sign_in::new_client_id;

use super::Error;

/// Who wants to know how calls go, to count them.
pub trait Observer: Send + Sync {
    /// A request ended: `sign_in`, `list` or `get`, and its HTTP status, `timeout` or `error`.
    fn request(&self, operation: &'static str, status: &str);

    /// Whether Nexudus answered as it should, by the call of this operation that ended just now; of a sign-in only that it
    /// did not.
    fn answered(&self, operation: &'static str, outcome: Result<(), &Error>);

    /// A sign-in worked. It says nothing about access tokens.
    fn signed_in(&self);

    /// A record could not be read.
    fn malformed_record(&self);
}

/// Nobody wants to know.
impl Observer for () {
    fn request(&self, _: &'static str, _: &str) {}

    fn answered(&self, _: &'static str, _: Result<(), &Error>) {}

    fn signed_in(&self) {}

    fn malformed_record(&self) {}
}

#[cfg(test)]
mod tests;
