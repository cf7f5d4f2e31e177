//! The routers that may ask, found by the source address of a packet (RFC 2865 §3), and what was learnt about them.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::sync::{Arc, PoisonError, RwLock};

use ipnet::IpNet;

use crate::config::{Nas, RequireMessageAuthenticator};
use crate::core::ident::NasName;
use crate::radius::secret::Secret;
use crate::radius::sightings::Sightings;

/// Routers whose Message-Authenticator was seen: at most so many addresses are kept apart.
const MAX_LEARNT: usize = 65_536;

/// A `[[nas]]` with its keyed secret.
#[derive(Debug)]
pub struct Client {
    /// Its settings.
    pub nas: Nas,
    /// Its secret, keyed once.
    pub secret: Secret,
    /// What was seen of it.
    pub seen: Arc<Sightings>,
}

/// Every router, by address.
#[derive(Debug, Default)]
pub struct Clients {
    hosts: HashMap<IpAddr, Arc<Client>>,
    /// Narrowest first.
    networks: Vec<(IpNet, Arc<Client>)>,
}

impl Clients {
    /// Keys every secret and indexes every address; what `former` has seen of routers of these names goes on.
    #[must_use]
    pub fn new(nas: &[Nas], former: Option<&Self>) -> Self {
        let mut this = Self::default();
        for nas in nas {
            let client = Arc::new(Client {
                nas: nas.clone(),
                secret: Secret::from(&nas.secret),
                seen: former.and_then(|former| former.seen(nas.name())).unwrap_or_default(),
            });
            if nas.address.prefix_len() == nas.address.max_prefix_len() {
                this.hosts.insert(nas.address.addr(), client);
            } else {
                this.networks.push((nas.address, client));
            }
        }
        this.networks.sort_by_key(|(network, _)| std::cmp::Reverse(network.prefix_len()));
        this
    }

    /// What was seen of the router of this name.
    #[must_use]
    pub fn seen(&self, name: &NasName) -> Option<Arc<Sightings>> {
        let mut clients = self.hosts.values().chain(self.networks.iter().map(|(_, client)| client));
        clients.find(|client| client.nas.name() == name).map(|client| Arc::clone(&client.seen))
    }

    /// The router of this name, and the address to reach it at: `address`, or its own if it has just one.
    #[must_use]
    pub fn named(&self, name: &NasName, address: Option<IpAddr>) -> Option<(&Arc<Client>, IpAddr)> {
        if let Some(address) = address {
            return self.find(address).filter(|client| client.nas.name() == name).map(|client| (client, address));
        }
        let host = self.hosts.iter().find(|(_, client)| client.nas.name() == name);
        host.map(|(address, client)| (client, *address))
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;

    const CONFIGURATION: &str = r#"
[source]
kind = "file"
path = "none.json"
[[nas]]
name = "site"
address = "10.5.0.0/16"
secret = "one long enough secret"
[[nas]]
name = "floor"
address = "10.5.1.0/24"
secret = "two long enough secret"
[[nas]]
name = "desk"
address = "10.5.1.7"
secret = "three long enough secret"
[[nas]]
name = "six"
address = "2001:db8::/32"
secret = "four long enough secret"
"#;

    #[test]
    fn the_narrowest_address_wins_and_mapped_ipv4_is_ipv4() {
        let settings = config::from_str(CONFIGURATION, "spotgate.toml".as_ref(), &|_| None).unwrap().settings;
        let clients = Clients::new(&settings.nas, None);
        let at =
            |address: &str| clients.find(address.parse().unwrap()).map(|client| client.nas.name().as_str().to_owned());
        assert_eq!(at("10.5.1.7").as_deref(), Some("desk"));
        assert_eq!(at("10.5.1.8").as_deref(), Some("floor"));
        assert_eq!(at("10.5.2.8").as_deref(), Some("site"));
        assert_eq!(at("::ffff:10.5.1.7").as_deref(), Some("desk"));
        assert_eq!(at("2001:db8::1").as_deref(), Some("six"));
        assert_eq!((at("10.6.0.1"), at("::1")), (None, None));
    }

    #[test]
    fn what_one_router_has_sent_binds_it_alone() {
        let (one, other): (IpAddr, IpAddr) = ("10.5.1.7".parse().unwrap(), "10.5.1.8".parse().unwrap());
        let learnt = Learnt::from_earlier([other]);
        let auto = RequireMessageAuthenticator::Auto;
        assert!(!learnt.requires(auto, one) && learnt.requires(auto, other));
        assert!(learnt.note(one) && !learnt.note(one), "news once");
        assert!(learnt.note("::ffff:10.5.1.9".parse().unwrap()) && learnt.requires(auto, "10.5.1.9".parse().unwrap()));
        assert!(learnt.requires(RequireMessageAuthenticator::Yes, "10.5.1.99".parse().unwrap()));
        assert!(!learnt.requires(RequireMessageAuthenticator::No, one));
        assert_eq!(learnt.all().len(), 3);
    }
}
