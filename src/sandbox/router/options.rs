//! What a router is like, and whom it asks.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use super::Quirks;
use crate::clock::Clock;
use crate::config::DisconnectStyle;
use crate::sandbox::hotspot::Hotspot;

/// What a router starts with.
#[derive(Clone)]
pub struct Options {
    /// NAS-Identifier.
    pub name: String,
    /// Where logins are asked.
    pub server: SocketAddr,
    /// Where sessions are reported.
    pub accounting: SocketAddr,
    /// The secret shared with both, and with whoever gives orders.
    pub secret: Vec<u8>,
    /// The address it sends from; none: as the machine chooses.
    pub source: Option<IpAddr>,
    /// Where it takes orders; port 0 for any free one.
    pub incoming: SocketAddr,
    /// What an order must say of the session it means.
    pub style: DisconnectStyle,
    /// How long it waits for an answer before it sends a request again.
    pub timeout: Duration,
    /// How often it sends a request in all.
    pub tries: u32,
    /// What is wrong with it.
    pub quirks: Quirks,
    /// Where the times of its records come from.
    pub clock: Clock,
}

impl Options {
    /// A router `gw-loft3` that asks `server`, accounts at the next port, waits like RouterOS for up to three times
    /// 1.1 seconds, and takes orders on a free port of the loopback interface.
    #[must_use]
    pub fn new(server: SocketAddr, secret: &[u8]) -> Self {
        let loopback = match server {
            SocketAddr::V4(_) => IpAddr::V4(Ipv4Addr::LOCALHOST),
            SocketAddr::V6(_) => IpAddr::V6(Ipv6Addr::LOCALHOST),
        };
        Self {
            name: "gw-loft3".to_owned(),
            server,
            accounting: SocketAddr::new(server.ip(), server.port().saturating_add(1)),
            secret: secret.to_vec(),
            source: None,
            incoming: SocketAddr::new(loopback, 0),
            style: DisconnectStyle::Mikrotik,
            timeout: Duration::from_millis(1100),
            tries: 3,
            quirks: Quirks::default(),
            clock: Clock::system(),
        }
    }

    /// With an address of its own, from which it sends and on which it takes orders.
    #[must_use]
    pub fn at(mut self, address: IpAddr) -> Self {
        self.source = Some(address);
        self.incoming.set_ip(address);
        self
    }

    pub(super) fn hotspot(&self) -> Hotspot {
        let hotspot = Hotspot::new(self.server, &self.secret, &self.name)
            .accounting_at(self.accounting)
            .patience(self.timeout, self.tries);
        match self.source {
            Some(source) => hotspot.sending_from(source),
            None => hotspot,
        }
    }
}
