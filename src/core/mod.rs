//! The heart: deciding and counting as plain functions over plain values, with the time passed in.
//! No I/O, no locks, no clock, no logging; it imports nothing else of this crate.

pub mod account;
pub mod budget;
pub mod deadline;
pub mod decide;
pub mod ending;
pub mod event;
pub mod extension;
pub mod ident;
pub mod login;
pub mod policy;
pub mod session;
pub mod settle;
pub mod token;
