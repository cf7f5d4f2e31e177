//! The routers that may ask, found by the source address of a packet (RFC 2865 §3), and what was learnt about them.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::sync::{Arc, PoisonError, RwLock};

use ipnet::IpNet;

use crate::config::{Nas, RequireMessageAuthenticator};
use crate::radius::secret::Secret;

/// Routers whose Message-Authenticator was seen: at most so many addresses are kept apart.
const MAX_LEARNT: usize = 65_536;

/// A `[[nas]]` with its keyed secret.
#[derive(Debug)]
pub struct Client {
    /// Its settings.
    pub nas: Nas,
    /// Its secret, keyed once.
    pub secret: Secret,
}

/// Every router, by address.
#[derive(Debug, Default)]
pub struct Clients {
    hosts: HashMap<IpAddr, Arc<Client>>,
    /// Narrowest first.
    networks: Vec<(IpNet, Arc<Client>)>,
}

impl Clients {
    /// Keys every secret and indexes every address.
    #[must_use]
    pub fn new(nas: &[Nas]) -> Self {
        let mut this = Self::default();
        for nas in nas {
            let client = Arc::new(Client { nas: nas.clone(), secret: Secret::from(&nas.secret) });
            if nas.address.prefix_len() == nas.address.max_prefix_len() {
                this.hosts.insert(nas.address.addr(), client);
            } else {
                this.networks.push((nas.address, client));
            }
        }
        this.networks.sort_by_key(|(network, _)| std::cmp::Reverse(network.prefix_len()));
        this
    }

    /// The router at this address. An IPv4 address inside IPv6 counts as the IPv4 address.
    #[must_use]
    pub fn find(&self, address: IpAddr) -> Option<&Arc<Client>> {
        let address = address.to_canonical();
        self.hosts.get(&address).or_else(|| {
            let mut holding = self.networks.iter().filter(|(network, _)| network.contains(&address));
            holding.next().map(|(_, client)| client)
        })
    }
}

/// The addresses that have sent a good Message-Authenticator. Under `auto` they must go on doing so (BlastRADIUS,
/// facts/hotspot.md §4). Kept by address, since a network of routers may be upgraded one by one; survives a reload.
#[derive(Debug, Default)]
pub struct Learnt(RwLock<HashSet<IpAddr>>);

impl Learnt {
    /// What an earlier run had learnt.
    #[must_use]
    pub fn from_earlier(addresses: impl IntoIterator<Item = IpAddr>) -> Self {
        Self(RwLock::new(addresses.into_iter().take(MAX_LEARNT).collect()))
    }

    /// Notes a good Message-Authenticator; whether that was news.
    pub fn note(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        if self.0.read().unwrap_or_else(PoisonError::into_inner).contains(&address) {
            return false;
        }
        let mut learnt = self.0.write().unwrap_or_else(PoisonError::into_inner);
        learnt.len() < MAX_LEARNT && learnt.insert(address)
    }

    /// Whether a request of this router must carry a Message-Authenticator.
    #[must_use]
    pub fn requires(&self, rule: RequireMessageAuthenticator, address: IpAddr) -> bool {
        match rule {
            RequireMessageAuthenticator::Yes => true,
            RequireMessageAuthenticator::No => false,
            RequireMessageAuthenticator::Auto => {
                self.0.read().unwrap_or_else(PoisonError::into_inner).contains(&address.to_canonical())
            }
        }
    }

    /// Everything learnt, for the next run.
    #[must_use]
    pub fn all(&self) -> Vec<IpAddr> {
        let mut all: Vec<_> = self.0.read().unwrap_or_else(PoisonError::into_inner).iter().copied().collect();
        all.sort_unstable();
        all
    }
}
