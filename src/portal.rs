//! The guest's door. So far: what a hotspot tells a login page that is not its own, how the login goes back to it, and the
//! words that guests read.

pub mod handover;
pub mod language;
