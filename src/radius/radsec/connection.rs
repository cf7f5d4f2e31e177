//! One connection, from its first packet to its last: requests are handled as they come, their answers go back as they are
//! ready, in whatever order, and orders go out in between. A packet that breaks the rules ends it (RFC 6613 §2.6.4).

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use rustls_pki_types::CertificateDer;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadHalf, WriteHalf};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
// The clock that its timers go by, virtual where a test says so: it is about connections alone.
use tokio::time::{Instant, sleep, sleep_until, timeout, timeout_at};
use tokio_util::sync::CancellationToken;

use super::frame::{BadLength, Inbox};
use super::links::{Link, ORDERS, Outgoing};
use super::places::Place;
use super::tls::Certificate;
use super::{Shared, Stranger};
use crate::ledger::Written;
use crate::live::{Current, Live};
use crate::radius::attribute::code;
use crate::radius::clients::{Client, Known};
use crate::radius::handle::{Arrival, Handled, Port};
use crate::radius::packet::Packet;
use crate::radius::recent::{Identity, Recent};

/// Requests of one connection under way at once: as many as a peer can tell apart by their identifiers, of logins and of
/// accounting (RFC 6613 §2.6.5). No more are read until one is answered, so that TCP holds the peer back.
const IN_FLIGHT: usize = 2 * 256;

/// Requests remembered of one connection: as many as can be told apart by kind and identifier, so that none is forgotten early.
const MAX_RECENT: usize = 5 * 256;

/// Octets of the answers remembered of one connection: room for two hundred each, as logins have them. A router that has
/// longer ones repeated, by long Proxy-States, has fewer of them.
const MAX_RECENT_OCTETS: usize = MAX_RECENT * 200;

/// How often the certificate of a peer is looked at again: at most so long does a connection outlive it.
const LOOK_AGAIN: Duration = Duration::from_secs(10 * 60);

/// Time for a packet to be whole, from its first octet.
const PACKET_TIME: Duration = Duration::from_secs(10);

/// How long a peer may say nothing, at least: with a watchdog it asks for the status every half minute (RFC 3539 §3.4.1).
const IDLE_TIME: Duration = Duration::from_secs(15 * 60);

/// Time for a peer to take in what it asked for.
const WRITE_TIME: Duration = Duration::from_secs(10);

/// Time for what is owed, once nothing more is read: less than the daemon's own for its end.
const FINISH_TIME: Duration = Duration::from_secs(4);

/// Time to say goodbye, and to hear the peer do so: what it sent meanwhile, if left unread, would take our last answers from it.
const GOODBYE_TIME: Duration = Duration::from_secs(1);

/// Octets written with one record of TLS, about.
const BATCH: usize = 8 * 1024;

/// Who is at the other end.
pub(super) struct Peer {
    pub(super) address: SocketAddr,
    /// Its certificate, and what came along.
    pub(super) chain: Vec<CertificateDer<'static>>,
}

impl Peer {
    /// The router that it is under this configuration.
    pub(super) fn known(&self, live: &Live, now: Timestamp) -> Result<Known, Stranger> {
        let terms = live.radsec.as_ref().ok_or(Stranger::Off)?;
        if !terms.trusts(&self.chain, now) {
            return Err(Stranger::Distrusted);
        }
        let certificate = self.chain.first().and_then(Certificate::read).ok_or(Stranger::Distrusted)?;
        live.clients.over_tls(&certificate, self.address.ip()).map_err(Stranger::Unknown)
    }
}

/// Why a connection ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum End {
    /// The daemon stops.
    #[error("spotgate stops")]
    Stop,
    /// The peer has closed it.
    #[error("the router closed it")]
    Left,
    /// After a reload the peer is nobody any more, or somebody else.
    #[error("the configuration knows it no longer, or otherwise")]
    Forgotten,
    /// Its certificate has ended, or after a reload another authority counts.
    #[error("{}", Stranger::Distrusted)]
    Distrusted,
    /// Another connection of the same `[[nas]]` needed its place.
    #[error("another of its router took its place")]
    Displaced,
    /// Nothing came for long.
    #[error("nothing came for long")]
    Idle,
    /// A packet did not get whole in time.
    #[error("a packet was not whole in time")]
    Late,
    /// Where a packet ends cannot be told.
    #[error("{0}")]
    BadLength(BadLength),
    /// A packet was broken, or made with another secret.
    #[error("a packet was broken, or made with another secret than radsec")]
    Foul,
    /// It broke.
    #[error("it broke: {0}")]
    Broken(io::ErrorKind),
    /// The peer does not take what it asked for.
    #[error("the router does not read its answers")]
    Unread,
}

impl End {
    /// Whether what is owed is still answered.
    const fn is_orderly(self) -> bool {
        matches!(self, Self::Stop | Self::Left | Self::Forgotten | Self::Distrusted | Self::Idle)
    }
}

/// Speaks with the peer to the end.
pub(super) async fn converse<S: AsyncRead + AsyncWrite + Send>(
    stream: S,
    shared: &Shared,
    peer: Peer,
    live: Arc<Live>,
    known: Known,
    place: &Place,
    stop: &CancellationToken,
) -> End {
    let (reading, writing) = tokio::io::split(stream);
    let (out, outgoing) = mpsc::channel(IN_FLIGHT + ORDERS);
    let (owed, owing) = mpsc::channel(IN_FLIGHT);
    let (cut, written) = (CancellationToken::new(), CancellationToken::new());
    let listed = shared.links.list(known.clone(), peer.address, &out);
    let recent = Recent::new(live.settings.radius.duplicate_window, MAX_RECENT).within(MAX_RECENT_OCTETS);
    let recent = Arc::new(Mutex::new(recent));
    let paying = pay(owing, out.clone(), shared, &recent);
    let mut reader = Reader {
        shared,
        link: &listed.link,
        changes: shared.live.clone(),
        live,
        peer,
        known,
        look_again: Instant::now() + LOOK_AGAIN,
        reading,
        inbox: Inbox::default(),
        places: Arc::new(Semaphore::new(IN_FLIGHT)),
        recent: &recent,
        out,
        owed,
        place,
        ends: Ends { cut: &cut, stop, displaced: place.cut() },
    };
    let reads = async {
        let end = reader.run().await;
        // Nothing is asked any more: the others end when all is answered.
        let mut reading = reader.into_half();
        if end.is_orderly() {
            let _ = timeout(FINISH_TIME, written.cancelled()).await;
        }
        cut.cancel();
        if end.is_orderly() {
            written.cancelled().await;
            let _ = timeout(GOODBYE_TIME, drain(&mut reading)).await;
        }
        end
    };
    let pays = cut.run_until_cancelled(paying);
    let sweeps = cut.run_until_cancelled(sweep(&recent, shared));
    let writes = async {
        write(writing, outgoing, &cut).await;
        written.cancel();
    };
    let (end, _, _, ()) = tokio::join!(reads, pays, sweeps, writes);
    end
}

struct Reader<'c, S> {
    shared: &'c Shared,
    link: &'c Arc<Link>,
    changes: Current,
    live: Arc<Live>,
    peer: Peer,
    known: Known,
    /// When its certificate is looked at again.
    look_again: Instant,
    reading: ReadHalf<S>,
    inbox: Inbox,
    places: Arc<Semaphore>,
    recent: &'c Arc<Mutex<Recent>>,
    out: mpsc::Sender<Outgoing>,
    owed: mpsc::Sender<Owed>,
    place: &'c Place,
    ends: Ends<'c>,
}

/// What ends a connection from this side, whatever it waits for.
struct Ends<'c> {
    cut: &'c CancellationToken,
    stop: &'c CancellationToken,
    displaced: &'c CancellationToken,
}

impl Ends<'_> {
    async fn come(&self) -> End {
        tokio::select! {
            biased;
            () = self.cut.cancelled() => End::Unread,
            () = self.stop.cancelled() => End::Stop,
            () = self.displaced.cancelled() => End::Displaced,
        }
    }
}

impl<S: AsyncRead> Reader<'_, S> {
    async fn run(&mut self) -> End {
        let mut buffer = Box::new([0; Packet::MAX]);
        loop {
            let place = tokio::select! {
                biased;
                end = self.ends.come() => return end,
                place = Arc::clone(&self.places).acquire_owned() => place,
            };
            // It is never closed.
            let Ok(place) = place else { return End::Stop };
            if let Err(end) = self.handle(place, &mut buffer).await {
                return end;
            }
        }
    }

    /// Handles the next packet, once it is here.
    async fn handle(&mut self, place: OwnedSemaphorePermit, buffer: &mut [u8; Packet::MAX]) -> Result<(), End> {
        let waiting_until = Instant::now() + self.idle_time();
        let mut whole_by = None;
        loop {
            if self.changes.has_changed().unwrap_or(false) {
                self.revise()?;
            }
            if Instant::now() >= self.look_again {
                self.look_again()?;
            }
            // Borrowed from the inbox alone.
            match self.inbox.take() {
                Ok(Some(octets)) => {
                    self.place.spoke();
                    let speaker = Speaker {
                        shared: self.shared,
                        link: self.link,
                        live: &self.live,
                        known: &self.known,
                        from: SocketAddr::new(self.known.router, self.peer.address.port()),
                        recent: self.recent,
                        out: &self.out,
                        owed: &self.owed,
                    };
                    return speaker.take(octets, place, buffer);
                }
                Ok(None) => {}
                Err(bad) => return Err(End::BadLength(bad)),
            }
            let is_begun = self.inbox.is_begun();
            let by =
                if is_begun { *whole_by.get_or_insert_with(|| Instant::now() + PACKET_TIME) } else { waiting_until };
            tokio::select! {
                biased;
                end = self.ends.come() => return Err(end),
                // Both looked at above.
                () = sleep_until(self.look_again) => {}
                changed = self.changes.changed() => match changed {
                    Ok(()) => self.changes.mark_changed(),
                    Err(_) => return Err(End::Stop),
                },
                read = timeout_at(by, self.reading.read(self.inbox.free())) => match read {
                    Err(_) => return Err(if is_begun { End::Late } else { End::Idle }),
                    Ok(Ok(0)) => return Err(End::Left),
                    Ok(Ok(count)) => self.inbox.put(count),
                    // Many close without a word of TLS, and every packet says itself where it ends.
                    Ok(Err(error)) if error.kind() == io::ErrorKind::UnexpectedEof => return Err(End::Left),
                    Ok(Err(error)) => return Err(End::Broken(error.kind())),
                },
            }
        }
    }

    /// The half that was read from; what the others wait for goes.
    fn into_half(self) -> ReadHalf<S> {
        self.reading
    }

    /// Looks at the peer anew under the configuration that is in force now.
    fn revise(&mut self) -> Result<(), End> {
        self.live = Arc::clone(&self.changes.borrow_and_update());
        let now = self.shared.gate.clock.now().wall;
        let known = self.peer.known(&self.live, now).map_err(|stranger| match stranger {
            Stranger::Distrusted => End::Distrusted,
            _ => End::Forgotten,
        })?;
        let same = |one: &Known| (one.client.nas.name().clone(), one.client.nas.certificate_name.clone(), one.router);
        if same(&known) != same(&self.known) {
            return Err(End::Forgotten);
        }
        self.known = known;
        Ok(())
    }

    /// Looks at the peer's certificate anew: it may have ended since it was shown.
    fn look_again(&mut self) -> Result<(), End> {
        self.look_again = Instant::now() + LOOK_AGAIN;
        let now = self.shared.gate.clock.now().wall;
        let terms = self.live.radsec.as_ref();
        if terms.is_none_or(|terms| terms.trusts(&self.peer.chain, now)) { Ok(()) } else { Err(End::Distrusted) }
    }

    /// Where sessions may be silent for longer than that, so may their router.
    fn idle_time(&self) -> Duration {
        let policy = &self.live.settings.policy;
        let silence = policy.interim_interval.0.saturating_mul(policy.missed_interims.into());
        IDLE_TIME.max(Duration::from_secs(silence))
    }
}

/// What a packet is handled with.
struct Speaker<'c> {
    shared: &'c Shared,
    link: &'c Arc<Link>,
    live: &'c Arc<Live>,
    known: &'c Known,
    from: SocketAddr,
    recent: &'c Arc<Mutex<Recent>>,
    out: &'c mpsc::Sender<Outgoing>,
    owed: &'c mpsc::Sender<Owed>,
}

impl Speaker<'_> {
    fn take(&self, octets: &[u8], place: OwnedSemaphorePermit, buffer: &mut [u8; Packet::MAX]) -> Result<(), End> {
        if let Some(&(code::DISCONNECT_ACK | code::DISCONNECT_NAK | code::COA_ACK | code::COA_NAK)) = octets.first() {
            self.link.answer(&Packet::parse(octets).map_err(|_| End::Foul)?);
            return Ok(());
        }
        let arrival = Arrival { client: &self.known.client, port: Port::Radsec, from: self.from, octets };
        // There is room for whatever has a place; none is a connection that is ending.
        match self.shared.handler.handle(self.live, &arrival, self.recent, buffer) {
            Handled::Reply(reply) => {
                self.out.try_send(Outgoing { octets: reply.into(), _place: Some(place) }).map_err(|_| End::Unread)
            }
            Handled::Owed { reply, identity, written } => {
                let client = Arc::clone(&self.known.client);
                let owed = Owed { client, identity, reply: reply.into(), written, place };
                self.owed.try_send(owed).map_err(|_| End::Unread)
            }
            Handled::Silence => Ok(()),
            Handled::Close => Err(End::Foul),
            Handled::Pending => {
                self.ask(octets.to_vec(), place);
                Ok(())
            }
        }
    }

    /// Has the source asked, while other packets are handled.
    fn ask(&self, octets: Vec<u8>, place: OwnedSemaphorePermit) {
        let (handler, live, client) =
            (Arc::clone(&self.shared.handler), Arc::clone(self.live), Arc::clone(&self.known.client));
        let (from, recent, out) = (self.from, Arc::clone(self.recent), self.out.clone());
        let asking = Arc::clone(&self.shared.asking);
        self.shared.tasks.spawn(async move {
            // It is never closed.
            let _turn = asking.acquire_owned().await;
            let mut buffer = Box::new([0; Packet::MAX]);
            let arrival = Arrival { client: &client, port: Port::Radsec, from, octets: &octets };
            if let Some(reply) = handler.finish(&live, &arrival, &recent, &mut buffer).await {
                let _ = out.send(Outgoing { octets: reply.into(), _place: Some(place) }).await;
            }
        });
    }
}

/// An answer that goes out once what it acknowledges is on disk.
struct Owed {
    client: Arc<Client>,
    identity: Identity,
    reply: Box<[u8]>,
    written: Written,
    place: OwnedSemaphorePermit,
}

/// Sends what is owed, in the order of the journal. It ends when nobody can ask any more and everybody was answered.
async fn pay(mut owing: mpsc::Receiver<Owed>, out: mpsc::Sender<Outgoing>, shared: &Shared, recent: &Mutex<Recent>) {
    while let Some(Owed { client, identity, reply, written, place }) = owing.recv().await {
        if shared.handler.acknowledge(&client, &identity, written, recent, &reply).await {
            let _ = out.send(Outgoing { octets: reply, _place: Some(place) }).await;
        }
    }
}

/// Forgets answers whose time is over, where nothing comes that would have them forgotten.
pub(super) async fn sweep(recent: &Mutex<Recent>, shared: &Shared) {
    let recent = || recent.lock().unwrap_or_else(PoisonError::into_inner);
    loop {
        let window = recent().window();
        sleep(window).await;
        recent().sweep(shared.gate.clock.now().mono);
    }
}

/// Writes what is to go out, until nothing can come any more, or it is cut; then says goodbye.
async fn write<S: AsyncWrite>(
    mut writing: WriteHalf<S>,
    mut outgoing: mpsc::Receiver<Outgoing>,
    cut: &CancellationToken,
) {
    let (mut octets, mut written) = (Vec::with_capacity(2 * BATCH), Vec::new());
    while let Some(Some(first)) = cut.run_until_cancelled(outgoing.recv()).await {
        octets.clear();
        octets.extend_from_slice(&first.octets);
        written.push(first);
        while octets.len() < BATCH
            && let Ok(next) = outgoing.try_recv()
        {
            octets.extend_from_slice(&next.octets);
            written.push(next);
        }
        let sending = async {
            writing.write_all(&octets).await?;
            writing.flush().await
        };
        match cut.run_until_cancelled(timeout(WRITE_TIME, sending)).await {
            Some(Ok(Ok(()))) => written.clear(),
            Some(Ok(Err(_)) | Err(_)) | None => {
                cut.cancel();
                break;
            }
        }
    }
    let _ = timeout(GOODBYE_TIME, writing.shutdown()).await;
}

/// Reads what the peer still sends, until it has closed its side.
async fn drain<S: AsyncRead>(reading: &mut ReadHalf<S>) {
    let mut away = vec![0; 1024];
    while let Ok(1..) = reading.read(&mut away).await {}
}
