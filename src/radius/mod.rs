//! RADIUS: the codec as pure code ([`packet`], [`attribute`], [`secret`], [`recent`]), what requests mean and how they are
//! answered ([`clients`], [`auth`], [`accounting`], [`handle`]), what was seen of routers ([`sightings`]), and the sockets around it: towards routers that ask
//! by UDP ([`server`]) or over TLS ([`radsec`]), and towards one that is told ([`disconnect`]).

pub mod accounting;
pub mod attribute;
pub mod auth;
pub mod clients;
pub mod disconnect;
pub mod handle;
pub mod orders;
pub mod packet;
pub mod radsec;
pub mod recent;
pub mod secret;
pub mod server;
pub mod sightings;
mod write;
