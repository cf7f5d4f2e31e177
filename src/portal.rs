//! The guest's door. So far: what a hotspot tells a login page that is not its own, and how the login goes back to it.

pub mod handover;
