//! Who a request comes from, and who is online there.

use std::collections::{HashMap, HashSet};
use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::extract::FromRequestParts;
use axum::http::HeaderMap;
use axum::http::request::Parts;

use jiff::Timestamp;

use crate::clock::Clock;
use crate::core::ident::{NasName, TokenId};
use crate::http::routes::App;
use crate::ledger::Ledger;
use crate::live::Live;

/// How old the list of addresses may be: so many times as long as it took to make, between these.
const FRESH: u32 = 50;
const FRESHEST: Duration = Duration::from_millis(200);
const OLDEST: Duration = Duration::from_secs(5);

/// The header in which proxies name who asked them.
const FORWARDED_FOR: &str = "x-forwarded-for";

/// The peer of a connection, as the server puts it into each request.
#[derive(Clone, Copy, Debug)]
pub struct Peer(pub SocketAddr);

/// Where the request of a guest comes from; behind proxies that are trusted, as they say.
#[derive(Clone, Copy, Debug)]
pub struct From(pub Option<IpAddr>);

impl FromRequestParts<Arc<App>> for From {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, Infallible> {
        let peer = parts.extensions.get::<Peer>().map(|Peer(peer)| peer.ip().to_canonical());
        let live = Arc::clone(&app.live.borrow());
        Ok(Self(peer.map(|peer| client(peer, &parts.headers, &live))))
    }
}

/// Whether many may be behind this address: a router's own, this machine, a proxy that does not say who asked it, or one that
/// is not of a private network, to which somebody has translated theirs.
#[must_use]
pub fn is_of_many(address: IpAddr, live: &Live) -> bool {
    let is_private = match address {
        // RFC 1918, RFC 6598.
        IpAddr::V4(address) => {
            let [first, second, ..] = address.octets();
            address.is_private() || address.is_link_local() || (first == 100 && second >> 6 == 1)
        }
        // Addresses of IPv6 are not translated.
        IpAddr::V6(address) => !address.is_loopback(),
    };
    !is_private || is_trusted(address, live) || live.clients.find(address).is_some()
}

fn is_trusted(address: IpAddr, live: &Live) -> bool {
    live.settings.http.trusted_proxies.iter().any(|proxy| proxy.contains(&address))
}

/// The client behind trusted proxies: each proxy adds who asked it at the end, and what is before that may be invented.
fn client(peer: IpAddr, headers: &HeaderMap, live: &Live) -> IpAddr {
    // Octets: what is no text does not hide what its proxy has added, nor bring a line before it to the fore.
    let lines = headers.get_all(FORWARDED_FOR).iter().rev();
    let mut hops = lines.flat_map(|line| line.as_bytes().rsplit(|octet| *octet == b','));
    let mut client = peer;
    while is_trusted(client, live) {
        let hop = hops.next().and_then(|hop| std::str::from_utf8(hop).ok()?.trim().parse::<IpAddr>().ok());
        let Some(hop) = hop else { break };
        client = hop.to_canonical();
    }
    client
}

/// Who is online at which address, looked through now and then: a list kept at each login would cost every login.
#[derive(Debug, Default)]
pub struct Addresses {
    /// Until when it is fresh (monotonic).
    latest: Mutex<Option<(Duration, Arc<Online>)>>,
    looking: tokio::sync::Mutex<()>,
}

#[derive(Debug, Default)]
struct Online {
    /// The token of the latest session by its device's address, for each router, since networks of several may overlap; and when
    /// that was admitted.
    at: HashMap<IpAddr, Vec<(NasName, TokenId, Timestamp)>>,
    /// Routers with a session of whose device nobody has said the address.
    anywhere: HashSet<NasName>,
}

impl Addresses {
    /// The tokens that devices at this address are online on, with their routers, and since when.
    pub async fn at(&self, address: IpAddr, ledger: &Arc<Ledger>, clock: &Clock) -> Vec<(NasName, TokenId, Timestamp)> {
        self.online(ledger, clock).await.at.get(&address).cloned().unwrap_or_default()
    }

    /// Whether a device is online at this router of which nobody has said the address.
    pub async fn is_any_unknown(&self, nas: &NasName, ledger: &Arc<Ledger>, clock: &Clock) -> bool {
        self.online(ledger, clock).await.anywhere.contains(nas)
    }

    async fn online(&self, ledger: &Arc<Ledger>, clock: &Clock) -> Arc<Online> {
        let fresh = || {
            let latest = self.latest.lock().unwrap_or_else(PoisonError::into_inner);
            let now = clock.now().mono;
            latest.as_ref().filter(|(until, _)| now < *until).map(|(_, online)| Arc::clone(online))
        };
        if let Some(online) = fresh() {
            return online;
        }
        let _turn = self.looking.lock().await;
        match fresh() {
            Some(online) => online,
            None => self.look(ledger, clock).await,
        }
    }

    async fn look(&self, ledger: &Arc<Ledger>, clock: &Clock) -> Arc<Online> {
        let (began, ledger) = (clock.now().mono, Arc::clone(ledger));
        let looked = tokio::task::spawn_blocking(move || {
            let mut online = Online::default();
            ledger.each_session(|token, session| {
                if session.ending.is_some() {
                    return;
                }
                let Some(ip) = session.contact.ip else {
                    if !online.anywhere.contains(&session.contact.nas) {
                        online.anywhere.insert(session.contact.nas.clone());
                    }
                    return;
                };
                // An address may be given to another device before the end of the former is known: the latest has it.
                let there = online.at.entry(ip.to_canonical()).or_default();
                match there.iter_mut().find(|(nas, ..)| *nas == session.contact.nas) {
                    Some(known) if known.2 >= session.admitted_at => {}
                    Some(known) => (known.1, known.2) = (token, session.admitted_at),
                    None => there.push((session.contact.nas.clone(), token, session.admitted_at)),
                }
            });
            online
        });
        let online = Arc::new(looked.await.unwrap_or_default());
        let now = clock.now().mono;
        let until = now + (now.saturating_sub(began) * FRESH).clamp(FRESHEST, OLDEST);
        *self.latest.lock().unwrap_or_else(PoisonError::into_inner) = Some((until, Arc::clone(&online)));
        online
    }
}
