//! The Nexudus source: AccessTokens of the REST API (facts/nexudus.md).

mod answer;
mod back_off;
mod ceiling;
pub(crate) mod date;
mod sign_in;
pub(crate) mod totp;
pub mod wire;

pub use sign_in::Saved;
pub(crate) use sign_in::new_client_id;
