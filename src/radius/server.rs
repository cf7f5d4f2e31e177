//! The UDP sockets: several on each address, each with a task of its own that decides inline when memory answers and
//! spawns only where the source must be asked. An answer leaves from the address that was asked (IP_PKTINFO).

use std::io::{self, IoSliceMut};
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use quinn_udp::{RecvMeta, Transmit, UdpSocketState};
use socket2::{Domain, Protocol, Type};
use tokio::io::Interest;
use tokio::net::UdpSocket;
use tokio::sync::{Semaphore, mpsc};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::ledger::Written;
use crate::live::{Current, Live};
use crate::radius::clients::Client;
use crate::radius::handle::{Arrival, Handled, Handler, Port};
use crate::radius::packet::Packet;
use crate::radius::recent::{Identity, Recent};

/// Datagrams taken with one system call.
const BATCH: usize = 16;

/// Room for one receive: the kernel may join several datagrams of one sender.
const RECEIVE_BYTES: usize = 65_536;

/// The kernel's queue for each socket, in bytes; the kernel may give less (net.core.rmem_max).
const QUEUE_BYTES: usize = 4 << 20;

/// Requests of one socket that may wait for the source at once.
const MAX_PENDING: usize = 4096;

/// Answers of one socket that may wait for the disk at once: as many as the journal takes.
const MAX_OWED: usize = 8192;

/// Requests remembered by one socket.
const MAX_RECENT: usize = 65_536;

/// A socket that can name the address a datagram came to and the address an answer leaves from.
#[derive(Debug)]
struct Socket {
    io: UdpSocket,
    state: UdpSocketState,
}

/// Sockets bound to one address.
#[derive(Debug)]
pub struct Bound {
    port: Port,
    address: SocketAddr,
    sockets: Vec<Socket>,
}

/// Binds `workers` sockets to `address`; with port 0, to one that is free.
pub fn bind(address: SocketAddr, port: Port, workers: usize) -> io::Result<Bound> {
    // Sockets that share an address do not notice another program that shares it too; one that does not share does.
    if address.port() != 0 {
        open(address, false)?;
    }
    // A port that the system chooses for a socket that shares may be another's that shares, so the first shares only once it
    // has its own.
    let first = open(address, workers > 1 && address.port() != 0)?;
    let address = first.local_addr()?;
    socket2::SockRef::from(&first).set_reuse_port(workers > 1)?;
    let mut sockets = vec![first];
    for _ in 1..workers {
        sockets.push(open(address, true)?);
    }
    let sockets = sockets.into_iter().map(|io| {
        let io = UdpSocket::from_std(io)?;
        Ok(Socket { state: UdpSocketState::new((&io).into())?, io })
    });
    Ok(Bound { port, address, sockets: sockets.collect::<io::Result<_>>()? })
}

/// Takes a socket that is bound already.
pub fn adopt(socket: std::net::UdpSocket, port: Port) -> io::Result<Bound> {
    socket2::SockRef::from(&socket).set_recv_buffer_size(QUEUE_BYTES)?;
    socket.set_nonblocking(true)?;
    let (address, io) = (socket.local_addr()?, UdpSocket::from_std(socket)?);
    let state = UdpSocketState::new((&io).into())?;
    Ok(Bound { port, address, sockets: vec![Socket { io, state }] })
}

fn open(address: SocketAddr, shared: bool) -> io::Result<std::net::UdpSocket> {
    let socket = socket2::Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
    if address.is_ipv6() {
        // [::] beside 0.0.0.0, not instead of it.
        socket.set_only_v6(true)?;
    }
    socket.set_reuse_port(shared)?;
    socket.set_recv_buffer_size(QUEUE_BYTES)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    Ok(socket.into())
}

impl Bound {
    /// The address, with the real port.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves every socket until `stop`; requests under way are tracked by `tasks`.
    pub fn serve(self, handler: &Arc<Handler>, live: &Current, tasks: &TaskTracker, stop: &CancellationToken) {
        let window = live.borrow().settings.radius.duplicate_window;
        for socket in self.sockets {
            let (socket, recent) = (Arc::new(socket), Arc::new(Mutex::new(Recent::new(window, MAX_RECENT))));
            let (owed, owing) = mpsc::channel(MAX_OWED);
            tasks.spawn(pay(owing, Arc::clone(&socket), Arc::clone(handler), Arc::clone(&recent)));
            let worker = Worker {
                port: self.port,
                socket,
                handler: Arc::clone(handler),
                live: live.clone(),
                recent,
                owed,
                pending: Arc::new(Semaphore::new(MAX_PENDING)),
                tasks: tasks.clone(),
            };
            tasks.spawn(worker.run(stop.clone()));
        }
    }
}

struct Worker {
    port: Port,
    socket: Arc<Socket>,
    handler: Arc<Handler>,
    live: Current,
    recent: Arc<Mutex<Recent>>,
    pending: Arc<Semaphore>,
    owed: mpsc::Sender<Owed>,
    tasks: TaskTracker,
}

impl Worker {
    async fn run(self, stop: CancellationToken) {
        let mut room = vec![0u8; BATCH * RECEIVE_BYTES];
        let mut metas = [RecvMeta::default(); BATCH];
        let mut buffer = Box::new([0u8; Packet::MAX]);
        loop {
            let received = tokio::select! {
                () = stop.cancelled() => return,
                received = self.socket.receive(&mut room, &mut metas) => received,
            };
            let count = match received {
                Ok(count) => count,
                Err(error) => {
                    // Never a reason to stop: an ICMP error that a stranger caused ends up here too.
                    tracing::debug!(%error, "receiving failed");
                    tokio::time::sleep(Duration::from_millis(1)).await;
                    continue;
                }
            };
            let live = Arc::clone(&self.live.borrow());
            for (meta, room) in metas.iter().take(count).zip(room.chunks(RECEIVE_BYTES)) {
                let received = room.get(..meta.len).unwrap_or_default();
                if received.is_empty() {
                    self.take(&live, received, meta, &mut buffer).await;
                }
                for datagram in received.chunks(meta.stride.max(1)) {
                    self.take(&live, datagram, meta, &mut buffer).await;
                }
            }
        }
    }

    async fn take(&self, live: &Arc<Live>, datagram: &[u8], meta: &RecvMeta, buffer: &mut [u8; Packet::MAX]) {
        let (port, from, to) = (self.port, meta.addr, meta.dst_ip);
        let Some(client) = live.clients.find(from.ip()) else {
            return self.handler.stranger(from);
        };
        match self.handler.handle(live, &Arrival { client, port, from, octets: datagram }, &self.recent, buffer) {
            Handled::Reply(reply) => self.socket.send(reply, from, to).await,
            Handled::Silence | Handled::Close => {}
            Handled::Owed { reply, identity, written } => {
                let owed = Owed { client: Arc::clone(client), identity, reply: reply.into(), to, written };
                // As many may wait here as in the journal, which says so when it is full.
                if self.owed.try_send(owed).is_err() {
                    self.handler.give_up(datagram, from, &self.recent);
                }
            }
            Handled::Pending => {
                let Ok(place) = Arc::clone(&self.pending).try_acquire_owned() else {
                    return self.handler.give_up(datagram, from, &self.recent);
                };
                let (live, datagram, client) = (Arc::clone(live), datagram.to_vec(), Arc::clone(client));
                let (socket, handler) = (Arc::clone(&self.socket), Arc::clone(&self.handler));
                let recent = Arc::clone(&self.recent);
                self.tasks.spawn(async move {
                    let _place = place;
                    let mut buffer = Box::new([0u8; Packet::MAX]);
                    let arrival = Arrival { client: &client, port, from, octets: &datagram };
                    if let Some(reply) = handler.finish(&live, &arrival, &recent, &mut buffer).await {
                        socket.send(reply, from, to).await;
                    }
                });
            }
        }
    }
}

/// An answer that goes out once what it acknowledges is on disk.
struct Owed {
    client: Arc<Client>,
    identity: Identity,
    reply: Box<[u8]>,
    /// The address that was asked.
    to: Option<IpAddr>,
    written: Written,
}

/// Sends what is owed, in the order in which it was asked for, which is that of the journal. It ends when nobody can ask any
/// more and everybody was answered.
async fn pay(mut owed: mpsc::Receiver<Owed>, socket: Arc<Socket>, handler: Arc<Handler>, recent: Arc<Mutex<Recent>>) {
    while let Some(Owed { client, identity, reply, to, written }) = owed.recv().await {
        if handler.acknowledge(&client, &identity, written, &recent, &reply).await {
            socket.send(&reply, identity.from, to).await;
        }
    }
}

impl Socket {
    async fn receive(&self, room: &mut [u8], metas: &mut [RecvMeta; BATCH]) -> io::Result<usize> {
        let mut slices: Vec<IoSliceMut<'_>> = room.chunks_mut(RECEIVE_BYTES).map(IoSliceMut::new).collect();
        self.io.async_io(Interest::READABLE, || self.state.recv((&self.io).into(), &mut slices, metas)).await
    }

    /// Sends an answer from the address that was asked. What cannot be sent now is dropped: the router repeats itself.
    async fn send(&self, reply: &[u8], to: SocketAddr, from: Option<IpAddr>) {
        let transmit = Transmit { destination: to, ecn: None, contents: reply, segment_size: None, src_ip: from };
        let send = || self.state.try_send((&self.io).into(), &transmit);
        // Nearly always there is room at once, and no deadline is needed.
        match self.io.try_io(Interest::WRITABLE, send) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return tracing::debug!(%error, %to, "an answer could not be sent"),
            Ok(()) => return,
        }
        let sent = self.io.async_io(Interest::WRITABLE, send);
        match tokio::time::timeout(Duration::from_millis(100), sent).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::debug!(%error, %to, "an answer could not be sent"),
            Err(_) => tracing::debug!(%to, "an answer could not be sent in time"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whatever port the system chooses, it is nobody else's.
    #[tokio::test]
    async fn no_two_share_a_port_that_they_did_not_name() {
        let bound: Vec<Bound> =
            (0..400).map(|_| bind("127.0.0.1:0".parse().unwrap(), Port::Auth, 2).unwrap()).collect();
        let ports: std::collections::HashSet<u16> = bound.iter().map(|bound| bound.address.port()).collect();
        assert_eq!(ports.len(), bound.len());
    }
}
