//! spotgate decides who may use the WiFi of a coworking space, and for how long.

pub mod clock;
pub mod config;
pub mod core;
pub mod radius;
pub mod sandbox;
pub mod source;
