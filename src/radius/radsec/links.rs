//! The connections that are open, and orders over them: a router that keeps a connection is told by it to end a session
//! (RFC 5176 in reverse, draft-ietf-radext-reverse-coa).

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};
use tokio::time::timeout;

use crate::config::DisconnectStyle;
use crate::core::ident::NasName;
use crate::radius::clients::Known;
use crate::radius::disconnect::{Attributes, Order, Outcome, Subject, Target, Unsendable, judge, request};
use crate::radius::packet::Packet;

/// Orders of one connection that may wait for their answers at once: they are told apart by an octet.
pub(super) const ORDERS: usize = 256;

/// How long an answer is waited for, as by UDP in all its tries. Nothing is sent again: TCP does that (RFC 6613 §2.6.1).
const WITHIN: Duration = Duration::from_secs(7);

/// A packet on its way to the peer.
#[derive(Debug)]
pub(super) struct Outgoing {
    pub(super) octets: Box<[u8]>,
    /// The place of the request that it answers, free once it is written; none: an order.
    pub(super) _place: Option<OwnedSemaphorePermit>,
}

/// Every connection that is open, by the router at its other end; of each the newest last.
#[derive(Debug, Default)]
pub struct Links(Mutex<HashMap<NasName, Vec<Arc<Link>>>>);

/// A connection, as somebody sees it who wants its router told.
#[derive(Debug)]
pub struct Link {
    known: Known,
    peer: SocketAddr,
    /// It does not keep the connection open.
    out: mpsc::WeakSender<Outgoing>,
    waiting: Mutex<Waiting>,
}

#[derive(Debug, Default)]
struct Waiting {
    /// The next identifier. They take turns, so that an answer that comes late meets no other order.
    next: u8,
    /// How many orders there were.
    count: u64,
    asked: HashMap<u8, Asked>,
}

#[derive(Debug)]
struct Asked {
    /// Which of all orders it is.
    number: u64,
    request: Box<[u8]>,
    answer: oneshot::Sender<Outcome>,
}

/// A connection is listed until this is dropped.
pub(super) struct Listed {
    links: Arc<Links>,
    pub(super) link: Arc<Link>,
}

impl Links {
    pub(super) fn list(self: &Arc<Self>, known: Known, peer: SocketAddr, out: &mpsc::Sender<Outgoing>) -> Listed {
        let link = Arc::new(Link { known, peer, out: out.downgrade(), waiting: Mutex::default() });
        self.all().entry(link.nas().clone()).or_default().push(Arc::clone(&link));
        Listed { links: Arc::clone(self), link }
    }

    /// The connection to this router: the newest that comes from where the session was asked for. One that has a name in its
    /// certificate, or a single address, is the same router wherever it connects from.
    #[must_use]
    pub fn find(&self, nas: &NasName, router: Option<IpAddr>) -> Option<Arc<Link>> {
        let all = self.all();
        let mut newest = all.get(nas)?.iter().rev();
        newest
            .clone()
            .find(|link| Some(link.known.router) == router)
            .or_else(|| newest.find(|link| link.known.is_one()))
            .cloned()
    }

    fn all(&self) -> MutexGuard<'_, HashMap<NasName, Vec<Arc<Link>>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Listed {
    fn drop(&mut self) {
        let mut all = self.links.all();
        if let Entry::Occupied(mut of_nas) = all.entry(self.link.nas().clone()) {
            of_nas.get_mut().retain(|link| !Arc::ptr_eq(link, &self.link));
            if of_nas.get().is_empty() {
                of_nas.remove();
            }
        }
        drop(all);
        // Whoever waits for an answer learns that none will come.
        self.link.waiting().asked.clear();
    }
}

impl Link {
    /// Tells the router an order and says what came of it, after at most seven seconds. `now` is for Event-Timestamp.
    pub async fn tell(
        &self,
        style: DisconnectStyle,
        subject: &Subject<'_>,
        order: Order,
        attributes: Attributes,
        now: Timestamp,
    ) -> Outcome {
        let unsendable = |kind| Outcome::Unsendable(Unsendable::Socket(kind));
        let Some(out) = self.out.upgrade() else { return unsendable(io::ErrorKind::NotConnected) };
        let mut buffer = Box::new([0; Packet::MAX]);
        let target = Target { address: self.peer, secret: &self.known.client.secret, style };
        let (answer, answered) = oneshot::channel();
        let asking = {
            let mut waiting = self.waiting();
            let Some(identifier) = waiting.free() else { return unsendable(io::ErrorKind::QuotaExceeded) };
            let request = match request(&mut buffer, identifier, &target, subject, order, attributes, now) {
                Ok(request) => request,
                Err(cause) => return Outcome::Unsendable(cause),
            };
            if out.try_send(Outgoing { octets: request.bytes().into(), _place: None }).is_err() {
                return unsendable(io::ErrorKind::WouldBlock);
            }
            // Under the lock still: its answer cannot have been looked at.
            waiting.count += 1;
            let number = waiting.count;
            waiting.asked.insert(identifier, Asked { number, request: request.bytes().into(), answer });
            Asking { link: self, identifier, number }
        };
        // The connection may end meanwhile.
        drop(out);
        let outcome = timeout(WITHIN, answered).await;
        drop(asking);
        outcome.ok().and_then(Result::ok).unwrap_or(Outcome::NoAnswer)
    }

    /// Takes a packet that claims to answer an order.
    pub(super) fn answer(&self, reply: &Packet<'_>) {
        let identifier = reply.identifier();
        let mut waiting = self.waiting();
        let asked = waiting.asked.get(&identifier).and_then(|asked| Packet::parse(&asked.request).ok());
        let peer = self.peer;
        let Some(request) = asked else {
            return tracing::debug!(%peer, identifier, "a packet answers no order that waits, and is ignored");
        };
        match judge(reply.bytes(), &request, &self.known.client.secret) {
            Ok(outcome) => {
                if let Some(asked) = waiting.asked.remove(&identifier) {
                    // Nobody may wait any more.
                    let _ = asked.answer.send(outcome);
                }
            }
            Err(stray) => tracing::debug!(%peer, %stray, "an answer to an order was ignored"),
        }
    }

    /// Where its connection comes from.
    #[must_use]
    pub const fn peer(&self) -> SocketAddr {
        self.peer
    }

    fn nas(&self) -> &NasName {
        self.known.client.nas.name()
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Waiting {
    /// An identifier that no order has.
    fn free(&mut self) -> Option<u8> {
        let free = (0..=u8::MAX).map(|step| self.next.wrapping_add(step)).find(|id| !self.asked.contains_key(id))?;
        self.next = free.wrapping_add(1);
        Some(free)
    }
}

/// An order whose answer is waited for, until this is dropped.
struct Asking<'l> {
    link: &'l Link,
    identifier: u8,
    number: u64,
}

impl Drop for Asking<'_> {
    fn drop(&mut self) {
        let mut waiting = self.link.waiting();
        // Once answered, the identifier may be another's.
        if let Entry::Occupied(asked) = waiting.asked.entry(self.identifier)
            && asked.get().number == self.number
        {
            asked.remove();
        }
    }
}
