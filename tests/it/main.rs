//! The real binary over loopback, and real peers: `radclient`, pyrad, `tshark`, radsecproxy, systemd, hostapd behind FreeRADIUS,
//! openNDS, ocserv.

// What clippy asks of code that serves strangers does not bind tests; and nothing here is anybody's interface.
#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]
#![allow(unreachable_pub, clippy::needless_pass_by_value, reason = "a binary of tests")]

mod accounting;
mod browser;
mod cluster;
mod codec;
mod commands;
mod console;
mod crash;
mod daemon;
mod database;
mod decisions;
mod disconnect;
mod disk;
mod docs;
mod doctor;
mod edge;
mod faults;
mod foreign;
mod freeradius;
mod fuzz;
mod guest;
mod ironwifi;
mod mikrotik;
mod mirror;
mod nexudus;
mod ocserv;
mod openapi;
mod opennds;
mod peers;
mod radsec;
mod reload;
mod restart;
mod secrets;
mod sessions;
mod shipped;
mod supervised;
mod support;
mod usage;
mod views;
mod webhook;
