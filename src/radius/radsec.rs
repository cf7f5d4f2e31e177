//! RADIUS over TLS (RFC 6614, draft-ietf-radext-radiusdtls-bis): a router connects, shows a certificate, and asks what it would
//! ask by UDP. It is known by a name in its certificate (`certificate_name`), else by its address; rules, sessions and
//! sightings are those of the same `[[nas]]`. It is told by its connection too.

mod connection;
pub mod frame;
mod links;
mod places;
mod tls;

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use socket2::{Domain, Protocol, SockRef, TcpKeepalive, Type};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub use self::links::{Link, Links};
pub use self::tls::Terms;

use self::connection::{End, Peer, converse};
use self::places::{Most, Place, Places};
use crate::core::ident::NasName;
use crate::gate::Gate;
use crate::live::{Current, Live};
use crate::radius::clients::Unknown;
use crate::radius::handle::Handler;
use crate::telemetry::log::Brake;

/// Connections held at once.
const MOST: Most = Most { of_an_address: 64, unknown: 256, of_a_router: 64, of_a_network: 512, known: 1024 };

/// Logins of all connections for which the source is asked at once; others wait for their turn.
const MAX_ASKING: usize = 4096;

/// Connections that the kernel keeps until they are accepted.
const BACKLOG: i32 = 1024;

/// Time for a TLS handshake.
const HANDSHAKE_TIME: Duration = Duration::from_secs(10);

/// Pause after `accept` failed, so that running out of file descriptors does not spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Silence after which TCP asks whether the peer is still there, and how often; four questions without an answer, or as long
/// without a receipt for what was sent, and it is not.
const KEEPALIVE: (Duration, Duration) = (Duration::from_secs(60), Duration::from_secs(10));

/// How often a line about one peer and one cause is logged.
const LINE_EVERY: Duration = Duration::from_secs(60);

/// Why a peer is let go after its handshake, or in the midst of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
enum Stranger {
    /// The section was taken out by a reload.
    #[error("[radius.radsec] is no longer in the configuration")]
    Off,
    /// Its certificate is none, has ended, or comes from elsewhere.
    #[error("its certificate does not come from radius.radsec.client_ca, or is not valid now")]
    Distrusted,
    /// It is no router of ours.
    #[error("{0}")]
    Unknown(Unknown),
    /// The handshake failed.
    #[error("{0}")]
    Handshake(&'static str),
    /// There are too many.
    #[error("there are as many connections as there may be")]
    TooMany,
}

impl Stranger {
    /// For counting.
    const fn name(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Distrusted | Self::Handshake(_) => "handshake",
            Self::Unknown(_) => "unknown_nas",
            Self::TooMany => "too_many",
        }
    }
}

/// What every connection shares.
#[derive(Debug)]
pub struct Shared {
    gate: Arc<Gate>,
    handler: Arc<Handler>,
    live: Current,
    links: Arc<Links>,
    tasks: TaskTracker,
    places: Arc<Places>,
    /// Turns to have the source asked.
    asking: Arc<Semaphore>,
    /// Lines about routers, by name and what there is to say.
    known: Brake<(NasName, &'static str)>,
    /// Lines about strangers, by address: few, since anybody can be one.
    strangers: Brake<IpAddr>,
}

impl Shared {
    /// In front of `handler`; connections are listed in `links` and tracked by `tasks`.
    #[must_use]
    pub fn new(gate: Arc<Gate>, handler: Arc<Handler>, live: Current, links: Arc<Links>, tasks: TaskTracker) -> Self {
        let (known, strangers) = (Brake::new(LINE_EVERY, 16_384), Brake::new(LINE_EVERY, 16));
        Self {
            gate,
            handler,
            live,
            links,
            tasks,
            places: Places::new(MOST),
            asking: Arc::new(Semaphore::new(MAX_ASKING)),
            known,
            strangers,
        }
    }
}

/// Binds an address; with port 0, one that is free.
pub fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = socket2::Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        // [::] beside 0.0.0.0, not instead of it.
        socket.set_only_v6(true)?;
    }
    // A former daemon's connections may linger; another that listens is noticed all the same.
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

/// Accepts connections until `stop`.
pub async fn serve(listener: TcpListener, shared: Arc<Shared>, stop: CancellationToken) {
    let brake = Brake::new(LINE_EVERY, 1);
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        let (stream, from) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                if let Some(held) = brake.pass(&(), shared.gate.clock.now().mono) {
                    tracing::warn!(%error, held, "a RadSec connection could not be accepted");
                }
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let place = shared.places.enter(from.ip());
        let (shared, stop) = (Arc::clone(&shared), stop.clone());
        shared.tasks.clone().spawn(async move { shared.welcome(stream, from, place, &stop).await });
    }
}

impl Shared {
    /// A connection, from its handshake to its end.
    async fn welcome(&self, stream: TcpStream, from: SocketAddr, mut place: Place, stop: &CancellationToken) {
        let live = Arc::clone(&self.live.borrow());
        let cut = place.cut().clone();
        if let Err(error) = arrange(&stream) {
            tracing::debug!(%error, %from, "an option of a socket could not be set");
        }
        let met = tokio::select! {
            () = cut.cancelled() => Err(Stranger::TooMany),
            () = stop.cancelled() => return,
            met = meet(stream, from, &live) => met,
        };
        let met = met.and_then(|(stream, peer)| {
            let known = peer.known(&live, self.gate.clock.now().wall)?;
            if place.is_known(&known) { Ok((stream, peer, known)) } else { Err(Stranger::TooMany) }
        });
        let (stream, peer, known) = match met {
            Ok(met) => met,
            Err(stranger) => return self.let_go(from, stranger),
        };
        let nas = known.client.nas.name().clone();
        let version = stream.get_ref().1.protocol_version().and_then(|version| version.as_str());
        let say = |what| self.known.pass(&(nas.clone(), what), self.gate.clock.now().mono);
        if let Some(held) = say("open") {
            tracing::info!(%nas, %from, version, held, "a RadSec connection is open");
        }
        let counted = self.gate.metrics.radsec_connection(nas.as_str());
        let end = Box::pin(converse(stream, self, peer, live, known, &place, stop)).await;
        drop(counted);
        match end {
            End::Stop | End::Left | End::Idle | End::Broken(_) => {
                tracing::debug!(%nas, %from, why = %end, "a RadSec connection has ended");
            }
            end => {
                if let Some(held) = say("ended") {
                    tracing::warn!(%nas, %from, held, "a RadSec connection was ended: {end}");
                }
            }
        }
    }

    /// Counts a peer that is let go, and says why, once a minute for each address.
    fn let_go(&self, from: SocketAddr, stranger: Stranger) {
        self.gate.metrics.radsec_refused(stranger.name());
        if let Some(held) = self.strangers.pass(&from.ip().to_canonical(), self.gate.clock.now().mono) {
            tracing::warn!(from = %from.ip(), cause = stranger.name(), held, "RadSec connection refused: {stranger}");
        }
    }
}

/// The handshake.
async fn meet<S: AsyncRead + AsyncWrite + Unpin>(
    stream: S,
    from: SocketAddr,
    live: &Live,
) -> Result<(TlsStream<S>, Peer), Stranger> {
    let terms = live.radsec.as_ref().ok_or(Stranger::Off)?;
    match timeout(HANDSHAKE_TIME, terms.acceptor().accept(stream)).await {
        Ok(Ok(stream)) => {
            let chain = stream.get_ref().1.peer_certificates().unwrap_or_default();
            let chain = chain.iter().map(|certificate| certificate.clone().into_owned()).collect();
            Ok((stream, Peer { address: from, chain }))
        }
        Ok(Err(error)) => {
            tracing::debug!(%error, %from, "a TLS handshake for RadSec failed");
            Err(Stranger::Handshake(tls::why(&error)))
        }
        Err(_) => Err(Stranger::Handshake("the handshake took too long")),
    }
}

fn arrange(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let (after, every) = KEEPALIVE;
    let socket = SockRef::from(stream);
    socket.set_tcp_keepalive(&TcpKeepalive::new().with_time(after).with_interval(every).with_retries(4))?;
    socket.set_tcp_user_timeout(Some(every * 4))
}

#[cfg(test)]
mod tests;
