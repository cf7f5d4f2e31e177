//! RADIUS: the codec as pure code, and the sockets around it.

pub mod attribute;
pub mod packet;
pub mod recent;
pub mod secret;
mod write;
