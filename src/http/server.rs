//! HTTP/1.1 connections on hyper, with a limit on each thing a peer can make us hold: connections, header time and size,
//! body size and request time (the last two by the routes), TLS handshake time.
//!
//! Where there are as many connections as there may be, a new one takes the place of the one that has kept us waiting longest:
//! whoever holds them open keeps nobody else out.

mod plain;

use std::collections::HashMap;
use std::io;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::Router;
use hyper::body::{Body, Bytes, Frame, Incoming, SizeHint};
use hyper::service::{Service as _, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
// The clock that its timers go by, virtual where a test says so: it is about connections alone.
use tokio::time::Instant;
use tokio_io_timeout::TimeoutStream;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use crate::config::TlsFiles;
use crate::live::{Acceptor, Current, Live};
use crate::portal::address::{Peer, is_of_many};
use crate::telemetry::log::Brake;
use crate::tls;

/// Connections held at once.
const MOST: Most = Most { connections: 1024, of_a_peer: 64, of_many: 512 };

/// Time for a request's head to arrive, and for an idle connection to say something.
const HEADER_TIME: Duration = Duration::from_secs(10);

/// Size of a request's head.
const HEADER_BYTES: usize = 16 * 1024;

/// Headers of a request.
const MAX_HEADERS: usize = 64;

/// Time for a TLS handshake.
const HANDSHAKE_TIME: Duration = Duration::from_secs(10);

/// Time for a peer to take in what it asked for, counted anew with each piece it takes.
const WRITE_TIME: Duration = Duration::from_secs(10);

/// Pause after `accept` failed, so that running out of file descriptors does not spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// How often that is said.
const LINE_EVERY: Duration = Duration::from_secs(60);

/// How long whoever has just come, or was just answered, is not ended for another peer's sake: who asks at once gets to it.
const GRACE: Duration = Duration::from_secs(1);

/// How many connections there may be.
#[derive(Clone, Copy, Debug)]
struct Most {
    /// Altogether; more wait in the kernel's queue.
    connections: usize,
    /// Of one peer.
    of_a_peer: usize,
    /// Of one behind which many are: a router, a proxy, this machine.
    of_many: usize,
}

/// Reads certificate and key.
pub fn tls(files: &TlsFiles) -> io::Result<TlsAcceptor> {
    let (chain, key) = (tls::certificates(&files.certificate)?, tls::private_key(&files.private_key)?);
    let config = rustls::ServerConfig::builder_with_provider(tls::provider())
        .with_safe_default_protocol_versions()
        .and_then(|builder| builder.with_no_client_auth().with_single_cert(chain, key))
        .map_err(|error| tls::bad(&files.certificate, &error))?;
    Ok(TlsAcceptor::from(Arc::new(config)))
}

/// Serves `router` until `stop`, over TLS where the configuration `live` has a certificate; then lets requests under way end for at most `drain`.
pub async fn serve(
    listener: TcpListener,
    live: Option<Current>,
    router: Router,
    stop: CancellationToken,
    drain: Duration,
) {
    serve_up_to(MOST, listener, live, router, stop, drain).await;
}

async fn serve_up_to(
    most: Most,
    listener: TcpListener,
    live: Option<Current>,
    router: Router,
    stop: CancellationToken,
    drain: Duration,
) {
    let graceful = GracefulShutdown::new();
    let places = Arc::new(Semaphore::new(most.connections));
    let peers = Arc::new(Peers::new(most));
    let (begun, brake) = (Instant::now(), Brake::new(LINE_EVERY, 1));
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => break,
            accepted = accept(&listener, &places, &peers) => accepted,
        };
        let (stream, place, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                if let Some(held) = brake.pass(&(), begun.elapsed()) {
                    tracing::warn!(%error, held, "a connection could not be accepted");
                }
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let live = live.as_ref().map(|live| Arc::clone(&live.borrow()));
        let Some(share) = peers.enter(peer.0.ip().to_canonical(), live.as_deref()) else {
            tracing::debug!("a peer has so many connections that one more is closed");
            continue;
        };
        let tls = live.and_then(|live| live.tls.clone());
        let (watcher, router, cut) = (graceful.watcher(), router.clone(), share.cut.clone());
        let conversation = async move {
            match tls {
                None => converse(stream, peer, share, router, watcher).await,
                Some(Acceptor(tls)) => match tokio::time::timeout(HANDSHAKE_TIME, tls.accept(stream)).await {
                    Ok(Ok(stream)) => converse(stream, peer, share, router, watcher).await,
                    Ok(Err(error)) => tracing::debug!(%error, "TLS handshake failed"),
                    Err(_) => tracing::debug!("TLS handshake took too long"),
                },
            }
        };
        tokio::spawn(async move {
            let _place = place;
            tokio::select! {
                () = cut.cancelled() => tracing::debug!("a connection makes room for another"),
                () = conversation => {}
            }
        });
    }
    drop(listener);
    if tokio::time::timeout(drain, graceful.shutdown()).await.is_err() {
        tracing::warn!("some HTTP requests did not end in time and were cut off");
    }
}

/// The connections of each peer.
#[derive(Debug)]
struct Peers {
    most: Most,
    held: Mutex<Held>,
}

#[derive(Debug, Default)]
struct Held {
    of_peers: HashMap<IpAddr, Vec<Connection>>,
    /// Counts on, so that what comes later has more.
    turn: u64,
}

#[derive(Debug)]
struct Connection {
    id: u64,
    /// Since which turn the peer keeps us waiting: for a request, or for taking an answer in. None: it waits for us.
    waited_for: Option<u64>,
    /// When that was last said.
    since: Instant,
    cut: CancellationToken,
}

/// A connection of a peer, counted until this is dropped.
struct Share {
    peers: Arc<Peers>,
    peer: IpAddr,
    id: u64,
    /// It is to end.
    cut: CancellationToken,
}

impl Held {
    fn next(&mut self) -> u64 {
        self.turn += 1;
        self.turn
    }
}

impl Peers {
    fn new(most: Most) -> Self {
        Self { most, held: Mutex::default() }
    }

    /// One more connection of this peer. If it has as many as it may, the one that is waited for longest makes room; none: all
    /// of them wait for us.
    fn enter(self: &Arc<Self>, peer: IpAddr, live: Option<&Live>) -> Option<Share> {
        let is_many = live.is_none_or(|live| is_of_many(peer, live));
        let most = if is_many { self.most.of_many } else { self.most.of_a_peer };
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let id = held.next();
        let of_peer = held.of_peers.entry(peer).or_default();
        if of_peer.len() >= most {
            let waited_for = of_peer.iter().filter(|connection| connection.waited_for.is_some());
            let longest = waited_for.min_by_key(|connection| connection.waited_for)?.id;
            cut(of_peer, longest);
        }
        let token = CancellationToken::new();
        of_peer.push(Connection { id, waited_for: Some(id), since: Instant::now(), cut: token.clone() });
        drop(held);
        Some(Share { peers: Arc::clone(self), peer, id, cut: token })
    }

    /// Ends the connection that is waited for longest, whosever it is.
    fn make_room(&self) {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let all = held.of_peers.iter().flat_map(|(peer, of_peer)| of_peer.iter().map(move |one| (*peer, one)));
        let waited_for = all.filter(|(_, one)| one.since.elapsed() >= GRACE);
        let waited_for = waited_for.filter_map(|(peer, one)| Some((one.waited_for?, peer, one.id)));
        if let Some((_, peer, id)) = waited_for.min()
            && let Some(of_peer) = held.of_peers.get_mut(&peer)
        {
            cut(of_peer, id);
        }
    }
}

/// Tells a connection to end. It counts no longer.
fn cut(of_peer: &mut Vec<Connection>, id: u64) {
    if let Some(at) = of_peer.iter().position(|connection| connection.id == id) {
        of_peer.swap_remove(at).cut.cancel();
    }
}

impl Share {
    /// The whole request is here: it is our turn.
    fn is_asked(&self) {
        self.change(|_| None);
    }

    /// The answer is ready: it is the peer's turn.
    fn is_answered(&self) {
        self.change(Some);
    }

    fn change(&self, waited_for: impl FnOnce(u64) -> Option<u64>) {
        let mut held = self.peers.held.lock().unwrap_or_else(PoisonError::into_inner);
        let turn = held.next();
        let of_peer = held.of_peers.get_mut(&self.peer);
        if let Some(connection) = of_peer.and_then(|of_peer| of_peer.iter_mut().find(|one| one.id == self.id)) {
            (connection.waited_for, connection.since) = (waited_for(turn), Instant::now());
        }
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        let mut held = self.peers.held.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(of_peer) = held.of_peers.get_mut(&self.peer) {
            of_peer.retain(|connection| connection.id != self.id);
            if of_peer.is_empty() {
                held.of_peers.remove(&self.peer);
            }
        }
    }
}

/// A request's body, which says when it is here.
struct Arriving {
    body: Incoming,
    share: Arc<Share>,
}

impl Body for Arriving {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(context));
        if frame.is_none() || self.body.is_end_stream() {
            self.share.is_asked();
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Arriving {
    fn drop(&mut self) {
        // Nobody reads the rest of it.
        self.share.is_asked();
    }
}

async fn accept(
    listener: &TcpListener,
    places: &Arc<Semaphore>,
    peers: &Peers,
) -> io::Result<(TcpStream, tokio::sync::OwnedSemaphorePermit, Peer)> {
    let place = loop {
        if let Ok(place) = Arc::clone(places).try_acquire_owned() {
            break place;
        }
        // One place is kept free for whoever comes. Where all wait for us, that is so again in a moment.
        peers.make_room();
        if let Ok(place) = tokio::time::timeout(ACCEPT_PAUSE, Arc::clone(places).acquire_owned()).await {
            break place.map_err(io::Error::other)?;
        }
    };
    let (stream, peer) = listener.accept().await?;
    stream.set_nodelay(true)?;
    Ok((stream, place, Peer(peer)))
}

async fn converse(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    peer: Peer,
    share: Share,
    router: Router,
    watcher: hyper_util::server::graceful::Watcher,
) {
    let (router, share) = (TowerToHyperService::new(router), Arc::new(share));
    let from_peer = service_fn(move |mut request: hyper::Request<Incoming>| {
        request.extensions_mut().insert(peer);
        let share = Arc::clone(&share);
        if request.body().is_end_stream() {
            share.is_asked();
        }
        let answer = match plain::doubt(&request) {
            None => Ok(router.call(request.map(|body| Arriving { body, share: Arc::clone(&share) }))),
            Some(doubt) => Err(plain::refused(doubt)),
        };
        async move {
            let answer = match answer {
                Ok(answer) => answer.await,
                Err(refusal) => Ok(refusal),
            };
            share.is_answered();
            answer
        }
    });
    let mut stream = TimeoutStream::new(stream);
    stream.set_write_timeout(Some(WRITE_TIME));
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIME)
        .max_buf_size(HEADER_BYTES)
        .max_headers(MAX_HEADERS)
        .serve_connection(TokioIo::new(Box::pin(stream)), from_peer);
    if let Err(error) = watcher.watch(connection).await {
        tracing::debug!(%error, "an HTTP connection ended early");
    }
}

#[cfg(test)]
mod tests;
