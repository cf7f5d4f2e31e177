//! The HTTP interface: connections with every limit set ([`server`]), routes ([`routes`]), keys ([`keys`]), bodies, and
//! errors as problem documents ([`problem`]).

pub mod accounting;
pub mod authorize;
pub mod decisions;
mod fields;
pub mod freeradius;
pub mod health;
pub mod ironwifi;
pub mod keys;
pub mod problem;
pub mod routes;
pub mod server;
pub mod sessions;
pub mod tokens;
pub mod webhook;
