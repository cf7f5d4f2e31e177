//! spotgate decides who may use the WiFi of a coworking space, and for how long.

pub mod catalogue;
pub mod clock;
pub mod config;
pub mod core;
pub mod gate;
pub mod http;
pub mod ledger;
pub mod live;
pub mod radius;
pub mod sandbox;
pub mod source;
pub mod telemetry;
pub mod throttle;
pub mod words;
