//! A world to try spotgate in, without an account and without a router.

pub mod hotspot;
pub mod ironwifi;
mod listener;
pub mod nexudus;
pub mod router;
pub mod servlet;
