//! Who a request comes from, and who is online there.

use std::collections::HashMap;
use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::extract::FromRequestParts;
use axum::http::HeaderMap;
use axum::http::request::Parts;

use crate::clock::Clock;
use crate::core::ident::{NasName, TokenId};
use crate::http::routes::App;
use crate::ledger::Ledger;
use crate::live::Live;

/// How old the list of addresses may be: who logs in shows a badge, so that this is for those who come back.
const FRESH: Duration = Duration::from_secs(5);

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

/// The client behind trusted proxies: each proxy adds who asked it at the end, and what is before that may be invented.
fn client(peer: IpAddr, headers: &HeaderMap, live: &Live) -> IpAddr {
    let trusted = |address: &IpAddr| live.settings.http.trusted_proxies.iter().any(|proxy| proxy.contains(address));
    let lines = headers.get_all(FORWARDED_FOR).iter().rev().filter_map(|line| line.to_str().ok());
    let mut hops = lines.flat_map(|line| line.rsplit(',')).map(|hop| hop.trim().parse::<IpAddr>());
    let mut client = peer;
    while trusted(&client) {
        match hops.next() {
            Some(Ok(hop)) => client = hop.to_canonical(),
            Some(Err(_)) | None => break,
        }
    }
    client
}

/// Who is online at which address, looked through now and then: a list kept at each login would cost every login.
#[derive(Debug, Default)]
pub struct Addresses {
    latest: Mutex<Option<(Duration, Arc<Online>)>>,
    looking: tokio::sync::Mutex<()>,
}

/// The tokens of sessions by their device's address, with the router: networks of several routers may overlap.
type Online = HashMap<IpAddr, Vec<(NasName, TokenId)>>;

impl Addresses {
    /// The tokens that devices at this address are online on, with their routers.
    pub async fn at(&self, address: IpAddr, ledger: &Arc<Ledger>, clock: &Clock) -> Vec<(NasName, TokenId)> {
        let fresh = || {
            let latest = self.latest.lock().unwrap_or_else(PoisonError::into_inner);
            let now = clock.now().mono;
            latest.as_ref().filter(|(looked, _)| now < *looked + FRESH).map(|(_, online)| Arc::clone(online))
        };
        let online = match fresh() {
            Some(online) => online,
            None => {
                let _turn = self.looking.lock().await;
                match fresh() {
                    Some(online) => online,
                    None => self.look(ledger, clock).await,
                }
            }
        };
        online.get(&address).cloned().unwrap_or_default()
    }

    async fn look(&self, ledger: &Arc<Ledger>, clock: &Clock) -> Arc<Online> {
        let (now, ledger) = (clock.now().mono, Arc::clone(ledger));
        let looked = tokio::task::spawn_blocking(move || {
            let mut online = Online::new();
            ledger.each_session(|token, session| {
                if let Some(ip) = session.contact.ip {
                    online.entry(ip.to_canonical()).or_default().push((session.contact.nas.clone(), token));
                }
            });
            online
        });
        let online = Arc::new(looked.await.unwrap_or_default());
        *self.latest.lock().unwrap_or_else(PoisonError::into_inner) = Some((now, Arc::clone(&online)));
        online
    }
}
