//! The HTTP interface: connections with every limit set ([`server`]), routes ([`routes`]), keys ([`keys`]), and errors as
//! problem documents ([`problem`]).

pub mod authorize;
pub mod health;
pub mod keys;
pub mod problem;
pub mod routes;
pub mod server;
pub mod sessions;
