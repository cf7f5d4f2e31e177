//! RADIUS: the codec as pure code ([`packet`], [`attribute`], [`secret`], [`recent`]), what requests mean and how they are
//! answered ([`clients`], [`auth`], [`accounting`], [`handle`]), and the sockets around it ([`server`]).

pub mod accounting;
pub mod attribute;
pub mod auth;
pub mod clients;
pub mod handle;
pub mod packet;
pub mod recent;
pub mod secret;
pub mod server;
mod write;
