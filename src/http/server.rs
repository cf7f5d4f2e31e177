//! HTTP/1.1 connections on hyper, with a limit on each thing a peer can make us hold: connections, header time and size,
//! body size and request time (the last two by the routes), TLS handshake time.

use std::collections::HashMap;
use std::io;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use hyper::service::{Service as _, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_io_timeout::TimeoutStream;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use crate::config::TlsFiles;
use crate::live::{Acceptor, Current, Live};
use crate::portal::address::{Peer, is_of_many};

/// Connections held at once; more wait in the kernel's queue.
const MAX_CONNECTIONS: usize = 1024;

/// Connections of one peer; and of one behind which many are: a router, a proxy, this machine.
const OF_A_PEER: u32 = 64;
const OF_MANY: u32 = 512;

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

/// Reads certificate and key.
pub fn tls(files: &TlsFiles) -> io::Result<TlsAcceptor> {
    let bad = |what: &str, error: &dyn std::fmt::Display| io::Error::other(format!("{what}: {error}"));
    let certificate = files.certificate.display().to_string();
    let chain = CertificateDer::pem_file_iter(&files.certificate)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| bad(&certificate, &error))?;
    let key = PrivateKeyDer::from_pem_file(&files.private_key)
        .map_err(|error| bad(&files.private_key.display().to_string(), &error))?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .and_then(|builder| builder.with_no_client_auth().with_single_cert(chain, key))
        .map_err(|error| bad(&certificate, &error))?;
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
    let graceful = GracefulShutdown::new();
    let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let peers = Arc::new(Peers::default());
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => break,
            accepted = accept(&listener, &places) => accepted,
        };
        let (stream, place, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
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
        let (watcher, router) = (graceful.watcher(), router.clone());
        tokio::spawn(async move {
            let (_place, _share) = (place, share);
            match tls {
                None => converse(stream, peer, router, watcher).await,
                Some(Acceptor(tls)) => match tokio::time::timeout(HANDSHAKE_TIME, tls.accept(stream)).await {
                    Ok(Ok(stream)) => converse(stream, peer, router, watcher).await,
                    Ok(Err(error)) => tracing::debug!(%error, "TLS handshake failed"),
                    Err(_) => tracing::debug!("TLS handshake took too long"),
                },
            }
        });
    }
    drop(listener);
    if tokio::time::timeout(drain, graceful.shutdown()).await.is_err() {
        tracing::warn!("some HTTP requests did not end in time and were cut off");
    }
}

/// How many connections each peer has.
#[derive(Debug, Default)]
struct Peers(Mutex<HashMap<IpAddr, u32>>);

/// A connection of a peer, counted until this is dropped.
struct PeerShare {
    peers: Arc<Peers>,
    peer: IpAddr,
}

impl Peers {
    /// One more connection of this peer; none: it has as many as it may.
    fn enter(self: &Arc<Self>, peer: IpAddr, live: Option<&Live>) -> Option<PeerShare> {
        let is_many = live.is_none_or(|live| is_of_many(peer, live));
        let mut peers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = peers.entry(peer).or_default();
        if *count >= if is_many { OF_MANY } else { OF_A_PEER } {
            return None;
        }
        *count += 1;
        drop(peers);
        Some(PeerShare { peers: Arc::clone(self), peer })
    }
}

impl Drop for PeerShare {
    fn drop(&mut self) {
        let mut peers = self.peers.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = peers.get_mut(&self.peer) {
            *count -= 1;
            if *count == 0 {
                peers.remove(&self.peer);
            }
        }
    }
}

async fn accept(
    listener: &TcpListener,
    places: &Arc<Semaphore>,
) -> io::Result<(TcpStream, tokio::sync::OwnedSemaphorePermit, Peer)> {
    let place = Arc::clone(places).acquire_owned().await.map_err(io::Error::other)?;
    let (stream, peer) = listener.accept().await?;
    stream.set_nodelay(true)?;
    Ok((stream, place, Peer(peer)))
}

async fn converse(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    peer: Peer,
    router: Router,
    watcher: hyper_util::server::graceful::Watcher,
) {
    let router = TowerToHyperService::new(router);
    let from_peer = service_fn(move |mut request: hyper::Request<hyper::body::Incoming>| {
        request.extensions_mut().insert(peer);
        router.call(request)
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
