//! spotgate decides who may use the WiFi of a coworking space, and for how long.
//!
//! A login's life: a packet or an HTTP call ([`radius`], [`http`]) becomes a [`core::login::Login`]; the [`gate`] asks the
//! [`throttle`] whether its device has guessed too often, the [`catalogue`] for the tokens it may mean, and the [`ledger`] to
//! decide and admit it in its token's account; the decision becomes a reply.
//!
//! Arrows go one way: cli → serve → radius, http, feed → gate, mirror, write_back → catalogue, ledger → journal, core;
//! cluster → mirror → database → ledger.
//!
//! - [`core`]: the heart. Deciding and counting as plain functions over plain values, the time passed in. No I/O, no lock, no
//!   clock; it imports nothing else of this crate.
//! - [`gate`]: a login from any door to its decision.
//! - [`catalogue`]: tokens at hand, found in memory or fetched once however many ask. [`source`]: where they come from, the
//!   Nexudus API or a file. [`mirror`]: a copy of every token of Nexudus, kept fresh, also over a restart. [`write_back`]:
//!   minutes used, and devices learnt, written to the tokens there. [`feed`]: what keeps the catalogue supplied.
//! - [`ledger`]: accounts, one for each token, each changed under a lock of its shard by events that are written down under
//!   the same lock; what is due in them, and the routers to be told. [`journal`]: records that are on disk before they are
//!   acknowledged.
//! - [`cluster`]: accounts that several daemons share, between the ledger of each and the [`database`], which is PostgreSQL.
//! - [`history`]: what was decided and done, for people.
//! - [`throttle`]: failed codes per device, NAS and browser's address. [`ticket`]: passwords that are good for once.
//! - [`radius`]: the codec as pure code, the meaning of packets, the sockets. [`http`]: connections, routes, keys, problems.
//!   [`words`]: decisions in plain words. [`portal`]: the guest's door, and the pages behind it. [`console`]: the operator's
//!   desk.
//! - [`ironwifi`]: tokens as users of IronWifi, where that cannot ask.
//! - [`mikrotik`]: what a router of theirs needs from us: the commands that connect it, and the pages that it shows.
//! - [`config`]: the file, its mistakes, and the settings. [`live`]: what a reload replaces in one step. [`state`]: what outlives
//!   the process and is no account.
//! - [`serve`]: the daemon, wired in reading order. [`cli`]: the commands. [`telemetry`]: metrics and logs. [`clock`]: the only
//!   place that reads a clock. `random`: random octets, by the kilobyte.
//! - [`tls`]: certificates and keys out of files. `calls`: calls of other systems over HTTP.
//! - [`sandbox`]: a Nexudus, an IronWifi and a hotspot to try and to test against.

mod calls;
pub mod catalogue;
pub mod cli;
pub mod clock;
pub mod cluster;
pub mod config;
pub mod console;
pub mod core;
pub mod database;
pub mod feed;
pub mod gate;
pub mod history;
pub mod http;
pub mod ironwifi;
pub mod journal;
pub mod ledger;
pub mod live;
pub mod mikrotik;
pub mod mirror;
pub mod portal;
pub mod radius;
mod random;
pub mod sandbox;
pub mod serve;
#[cfg(test)]
mod soak;
pub mod source;
pub mod state;
pub mod telemetry;
pub mod throttle;
pub mod ticket;
pub mod tls;
pub mod words;
pub mod write_back;
