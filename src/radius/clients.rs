//! The routers that may ask, found by the source address of a packet (RFC 2865 §3) or by the certificate of a connection
//! (RFC 6614 §2.3), and what was learnt about them.

use std::net::IpAddr;
use std::sync::{Arc, PoisonError, RwLock};

use foldhash::{HashMap, HashSet};
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

/// Inside TLS the secret is this word for everybody: it protects nothing there, TLS does (RFC 6614 §2.3).
const RADSEC: &[u8] = b"radsec";

/// Every router, by address and by the name in its certificate.
#[derive(Debug, Default)]
pub struct Clients {
    by_address: ByAddress,
    /// The same routers as they are over RadSec.
    over_tls: ByAddress,
    /// Those of them that have a name in their certificate.
    certified: Vec<(CertificateName, Arc<Client>)>,
}

/// Routers by where they are; the narrowest network that holds an address counts.
#[derive(Debug, Default)]
struct ByAddress {
    hosts: HashMap<IpAddr, Arc<Client>>,
    /// Narrowest first.
    networks: Vec<(IpNet, Arc<Client>)>,
}

/// A `certificate_name`: what a subject alternative name of the certificate must be equal to.
#[derive(Clone, Debug, PartialEq, Eq)]
enum CertificateName {
    /// A dNSName, in lower case and without a dot at its end.
    Dns(String),
    /// An iPAddress.
    Ip(IpAddr),
}

/// What the certificate of a peer says of it.
pub trait Certified {
    /// Its dNSNames.
    fn dns_names(&self) -> impl Iterator<Item = &str>;
    /// Whether this address is one of its iPAddresses.
    fn has_ip(&self, address: IpAddr) -> bool;
}

/// A router over RadSec.
#[derive(Clone, Debug)]
pub struct Known {
    /// The router; its secret is the one inside TLS.
    pub client: Arc<Client>,
    /// Its address for its sessions: that of the configuration where it has just one there, so that a session is the same
    /// whatever carries its packets, and whatever address the router has got today; else where it connects from.
    pub router: IpAddr,
}

impl Known {
    /// Whether there is just one router of this name.
    #[must_use]
    pub fn is_one(&self) -> bool {
        let nas = &self.client.nas;
        nas.certificate_name.is_some() || nas.address.prefix_len() == nas.address.max_prefix_len()
    }
}

/// Why a peer whose certificate is good is no router of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unknown {
    /// Neither its certificate nor its address says who it is.
    #[error(
        "no [[nas]] has a certificate_name that its certificate holds as a subject alternative name, or else its address"
    )]
    Nobody,
    /// Its certificate names several routers.
    #[error("its certificate holds the certificate_name of several [[nas]]: give each router one of its own")]
    Several,
}

impl ByAddress {
    fn insert(&mut self, address: IpNet, client: Arc<Client>) {
        if address.prefix_len() == address.max_prefix_len() {
            self.hosts.insert(address.addr(), client);
        } else {
            self.networks.push((address, client));
            self.networks.sort_by_key(|(network, _)| std::cmp::Reverse(network.prefix_len()));
        }
    }

    /// An IPv4 address inside IPv6 counts as the IPv4 address.
    fn find(&self, address: IpAddr) -> Option<&Arc<Client>> {
        let address = address.to_canonical();
        self.hosts.get(&address).or_else(|| {
            let mut holding = self.networks.iter().filter(|(network, _)| network.contains(&address));
            holding.next().map(|(_, client)| client)
        })
    }

    fn all(&self) -> impl Iterator<Item = &Arc<Client>> {
        self.hosts.values().chain(self.networks.iter().map(|(_, client)| client))
    }
}

impl CertificateName {
    fn new(name: &str) -> Self {
        name.parse().map_or_else(|_| Self::Dns(normal(name)), |address: IpAddr| Self::Ip(address.to_canonical()))
    }

    /// Letter by letter (RFC 9525 §6.3), and never by a wildcard: that would name others too.
    fn is_of(&self, peer: &impl Certified) -> bool {
        match self {
            Self::Dns(name) => peer.dns_names().any(|other| normal(other) == *name),
            Self::Ip(address) => peer.has_ip(*address),
        }
    }
}

fn normal(name: &str) -> String {
    name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase()
}

impl Clients {
    /// Keys every secret and indexes every address; what `former` has seen of routers of these names goes on.
    #[must_use]
    pub fn new(nas: &[Nas], former: Option<&Self>) -> Self {
        let mut this = Self::default();
        for nas in nas {
            let seen = former.and_then(|former| former.seen(nas.name())).unwrap_or_default();
            let client = |secret| Arc::new(Client { nas: nas.clone(), secret, seen: Arc::clone(&seen) });
            this.by_address.insert(nas.address, client(Secret::from(&nas.secret)));
            let over_tls = client(Secret::new(RADSEC));
            if let Some(name) = &nas.certificate_name {
                this.certified.push((CertificateName::new(name), Arc::clone(&over_tls)));
            }
            this.over_tls.insert(nas.address, over_tls);
        }
        this
    }

    /// What was seen of the router of this name.
    #[must_use]
    pub fn seen(&self, name: &NasName) -> Option<Arc<Sightings>> {
        let mut clients = self.by_address.all();
        clients.find(|client| client.nas.name() == name).map(|client| Arc::clone(&client.seen))
    }

    /// The router of this name, and the address to reach it at: `address`, or its own if it has just one.
    #[must_use]
    pub fn named(&self, name: &NasName, address: Option<IpAddr>) -> Option<(&Arc<Client>, IpAddr)> {
        if let Some(address) = address {
            return self.find(address).filter(|client| client.nas.name() == name).map(|client| (client, address));
        }
        let host = self.by_address.hosts.iter().find(|(_, client)| client.nas.name() == name);
        host.map(|(address, client)| (client, *address))
    }

    /// The router at this address, by UDP. An IPv4 address inside IPv6 counts as the IPv4 address.
    #[must_use]
    pub fn find(&self, address: IpAddr) -> Option<&Arc<Client>> {
        self.by_address.find(address)
    }

    /// The router that a peer is over RadSec. One with a `certificate_name` is known by that alone, wherever it is; any other by
    /// its address, if its certificate names nobody else. That the certificate is good is known already.
    pub fn over_tls(&self, peer: &impl Certified, address: IpAddr) -> Result<Known, Unknown> {
        let mut named = self.certified.iter().filter(|(name, _)| name.is_of(peer)).map(|(_, client)| client);
        let client = match (named.next(), named.next()) {
            (Some(client), None) => client,
            (Some(_), Some(_)) => return Err(Unknown::Several),
            (None, _) => {
                let found = self.over_tls.find(address);
                found.filter(|client| client.nas.certificate_name.is_none()).ok_or(Unknown::Nobody)?
            }
        };
        let configured = client.nas.address;
        let is_host = configured.prefix_len() == configured.max_prefix_len();
        let router = if is_host { configured.addr() } else { address.to_canonical() };
        Ok(Known { client: Arc::clone(client), router })
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

    /// A certificate with these names and addresses.
    struct Names(&'static [&'static str], &'static [IpAddr]);

    impl Certified for Names {
        fn dns_names(&self) -> impl Iterator<Item = &str> {
            self.0.iter().copied()
        }

        fn has_ip(&self, address: IpAddr) -> bool {
            self.1.contains(&address)
        }
    }

    const OVER_TLS: &str = r#"
[source]
kind = "file"
path = "none.json"
[radius.radsec]
certificate = "a.pem"
private_key = "a.key"
client_ca = "ca.pem"
[[nas]]
name = "site"
address = "10.5.0.0/16"
secret = "one long enough secret"
[[nas]]
name = "desk"
address = "10.5.1.7"
secret = "two long enough secret"
certificate_name = "Desk.example.org"
[[nas]]
name = "annexe"
address = "10.6.0.0/16"
secret = "three long enough secret"
certificate_name = "annexe.example.org."
[[nas]]
name = "numbered"
address = "10.7.0.1"
secret = "four long enough secret"
certificate_name = "10.7.0.9"
"#;

    #[test]
    fn over_tls_a_router_is_who_its_certificate_says_and_else_where_it_is() {
        let settings = config::from_str(OVER_TLS, "spotgate.toml".as_ref(), &|_| None).unwrap().settings;
        let clients = Clients::new(&settings.nas, None);
        let who = |names: Names, at: &str| {
            let known = clients.over_tls(&names, at.parse().unwrap());
            known.map(|known| format!("{} {}", known.client.nas.name(), known.router))
        };
        let none = || Names(&["elsewhere.example.org"], &[]);
        assert_eq!(who(none(), "10.5.2.8").unwrap(), "site 10.5.2.8");
        assert_eq!(who(none(), "::ffff:10.5.2.8").unwrap(), "site 10.5.2.8");
        assert_eq!(who(none(), "10.5.1.7"), Err(Unknown::Nobody), "its address alone is not enough");
        assert_eq!(who(none(), "10.6.0.1"), Err(Unknown::Nobody), "nor is its network");
        assert_eq!(who(none(), "192.0.2.1"), Err(Unknown::Nobody));
        let desk = || Names(&["other.example.org", "desk.EXAMPLE.org"], &[]);
        assert_eq!(who(desk(), "192.0.2.1").unwrap(), "desk 10.5.1.7", "wherever it is");
        assert_eq!(who(desk(), "10.5.2.8").unwrap(), "desk 10.5.1.7", "also at another's address");
        assert_eq!(who(Names(&["annexe.example.org"], &[]), "192.0.2.1").unwrap(), "annexe 192.0.2.1");
        assert_eq!(who(Names(&["*.example.org"], &[]), "192.0.2.1"), Err(Unknown::Nobody), "no wildcards");
        let both = Names(&["desk.example.org", "annexe.example.org"], &[]);
        assert_eq!(who(both, "192.0.2.1"), Err(Unknown::Several));
        const NINE: [IpAddr; 1] = [IpAddr::V4(std::net::Ipv4Addr::new(10, 7, 0, 9))];
        assert_eq!(who(Names(&[], &NINE), "192.0.2.1").unwrap(), "numbered 10.7.0.1");
        assert_eq!(who(Names(&["10.7.0.9"], &[]), "10.7.0.1"), Err(Unknown::Nobody), "an address is no dNSName");
    }

    #[test]
    fn over_tls_the_secret_is_the_word_of_the_rfc_and_what_is_seen_is_seen_of_the_same_router() {
        let settings = config::from_str(OVER_TLS, "spotgate.toml".as_ref(), &|_| None).unwrap().settings;
        let clients = Clients::new(&settings.nas, None);
        let desk = clients.over_tls(&Names(&["desk.example.org"], &[]), "192.0.2.1".parse().unwrap()).unwrap().client;
        let mut buffer = [0; crate::radius::packet::Packet::MAX];
        let request = crate::radius::packet::Request::new(&mut buffer, 4, 1, &[0; 16]).sign(&Secret::new(b"radsec"));
        let request = crate::radius::packet::Packet::parse(request).unwrap();
        assert!(desk.secret.check_request_authenticator(&request));
        let by_udp = clients.find("10.5.1.7".parse().unwrap()).unwrap();
        assert!(!by_udp.secret.check_request_authenticator(&request), "not by UDP");
        assert!(Arc::ptr_eq(&desk.seen, &by_udp.seen));
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
