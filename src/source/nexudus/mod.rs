//! The Nexudus source: AccessTokens of the REST API (facts/nexudus.md).

mod date;
pub mod wire;
