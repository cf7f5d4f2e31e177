//! The client of a router's dynamic-authorisation port (RFC 5176): one order about one session, sent until it is answered
//! or three tries are over. What to tell whom, and what follows from the outcome, is decided elsewhere.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use jiff::Timestamp;
use tokio::net::UdpSocket;
use tokio::time::timeout;

use super::attribute::{
    ACCT_SESSION_ID, CALLING_STATION_ID, ERROR_CAUSE, EVENT_TIMESTAMP, ErrorCause, FRAMED_IP_ADDRESS,
    FRAMED_IPV6_ADDRESS, SESSION_TIMEOUT, USER_NAME, code, integer,
};
use super::packet::{self, Full, Packet, Request};
use super::secret::Secret;
use crate::config::DisconnectStyle;
use crate::core::budget::Seconds;
use crate::core::ident::Mac;

/// How long each try waits for its answer. RFC 5080 §2.2.1 would begin with 2 s and go on to 30 s; the router is near, and
/// whoever gives the order repeats it with back-off, so that seven seconds in all tell soon enough that it is away.
const WAITS: [Duration; 3] = [Duration::from_secs(1), Duration::from_secs(2), Duration::from_secs(4)];

/// Datagrams that are no answer, and errors, which one try puts up with before it stops listening.
const MAX_STRAYS: usize = 64;

/// A session as its router knows it; what is not known, or empty, is left out.
#[derive(Clone, Copy, Default)]
pub struct Subject<'a> {
    /// User-Name as the router sent it: often the code, so this does not print.
    pub user_name: Option<&'a str>,
    /// Acct-Session-Id.
    pub nas_session: Option<&'a str>,
    /// The device's address.
    pub ip: Option<IpAddr>,
    /// The device.
    pub device: Option<Mac>,
}

/// What a router is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// Disconnect-Request (RFC 5176 §3.1): end the session.
    Disconnect,
    /// CoA-Request (RFC 5176 §3.2) with this Session-Timeout; more than fits an integer is the most that fits.
    SessionTimeout(Seconds),
}

/// Which set of attributes names the session. What a router wants differs between makes and is seldom documented, so an
/// order refused or unanswered with the one may be told again with the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attributes {
    /// All that the style of the router has.
    Full,
    /// Only what no router of the style is known to refuse.
    Reduced,
}

/// What came of an order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Outcome {
    /// The router says that it has done so.
    Ack,
    /// The router says that it has not, with its Error-Cause (RFC 5176 §3.5) if it gave a readable one.
    Nak(Option<ErrorCause>),
    /// Nothing came that could be taken: the router may have done so or not.
    NoAnswer,
    /// It never left.
    Unsendable(Unsendable),
}

/// Why an order cannot be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unsendable {
    /// Nothing in the set names one session: the order might hit another.
    #[error("nothing is known that names this session alone")]
    Unidentified,
    /// A Session-Timeout of 0, which routers read as "without end".
    #[error("a session cannot be given 0 s")]
    NoTime,
    /// A name is longer than the 253 octets of an attribute.
    #[error("a value is too long for its attribute")]
    TooLong,
    /// The socket failed, as this says; later it may not.
    #[error("the socket failed: {0}")]
    Socket(io::ErrorKind),
    /// The machine gives no random octets.
    #[error("no random octets")]
    Random,
}

impl From<Full> for Unsendable {
    fn from(_: Full) -> Self {
        Self::TooLong
    }
}

/// Whom an order is for: a router's dynamic-authorisation port, or the far end of its connection.
#[derive(Clone, Copy, Debug)]
pub struct Target<'a> {
    /// Where it is.
    pub address: SocketAddr,
    /// The secret shared with it.
    pub secret: &'a Secret,
    /// Which attributes it wants.
    pub style: DisconnectStyle,
}

/// Tells a router an order and says what came of it, after at most seven seconds. `now` is for Event-Timestamp.
pub async fn tell(
    target: &Target<'_>,
    subject: &Subject<'_>,
    order: Order,
    attributes: Attributes,
    now: Timestamp,
) -> Outcome {
    let mut random = [0; 1 + WAITS.len()];
    if getrandom::fill(&mut random).is_err() {
        return Outcome::Unsendable(Unsendable::Random);
    }
    let [identifier, spread @ ..] = random;
    let mut buffer = Box::new([0; Packet::MAX]);
    match request(&mut buffer, identifier, target, subject, order, attributes, now) {
        Ok(request) => exchange(target, &request, waits(spread)).await,
        Err(cause) => Outcome::Unsendable(cause),
    }
}

/// Writes the request. For a MikroTik it carries User-Name, Acct-Session-Id, Framed-IP-Address and nothing else besides the
/// order: RouterOS finds a guest by its address, and whether it suffers more is not documented. Otherwise it follows RFC 5176:
/// Message-Authenticator and Event-Timestamp (§3.4, §6.3: a router may insist on both), User-Name,
/// Calling-Station-Id, Acct-Session-Id, but no Framed-IP-Address, which the table of §3.6 forbids and hostapd refuses.
/// Reduced to the address on a MikroTik (with its User-Name), elsewhere to Acct-Session-Id with Event-Timestamp: without
/// what routers may have written otherwise than we do, and without a Message-Authenticator, which some get wrong.
pub fn request<'b>(
    buffer: &'b mut [u8; Packet::MAX],
    identifier: u8,
    target: &Target<'_>,
    subject: &Subject<'_>,
    order: Order,
    attributes: Attributes,
    now: Timestamp,
) -> Result<Packet<'b>, Unsendable> {
    let full = attributes == Attributes::Full;
    let user_name = subject.user_name.filter(|name| !name.is_empty());
    let nas_session = subject.nas_session.filter(|id| !id.is_empty());
    let mut request = Request::new(buffer, order.code(), identifier, &[0; 16]);
    match target.style {
        DisconnectStyle::Mikrotik => {
            let nas_session = nas_session.filter(|_| full);
            let ip = subject.ip.map(|ip| ip.to_canonical()).filter(|ip| !ip.is_unspecified());
            if ip.is_none() && nas_session.is_none() {
                return Err(Unsendable::Unidentified);
            }
            // By a User-Name without an address RouterOS has hit another client (facts/hotspot.md §3).
            put(&mut request, USER_NAME, user_name.filter(|_| ip.is_some()))?;
            put(&mut request, ACCT_SESSION_ID, nas_session)?;
            put(&mut request, FRAMED_IP_ADDRESS, ip.and_then(ipv4).map(|ip| ip.octets()))?;
            put(&mut request, FRAMED_IPV6_ADDRESS, ip.and_then(ipv6).map(|ip| ip.octets()))?;
        }
        DisconnectStyle::Rfc5176 => {
            let device = subject.device.filter(|_| full);
            // A User-Name alone is every device on that code.
            if nas_session.is_none() && device.is_none() {
                return Err(Unsendable::Unidentified);
            }
            if full {
                request.message_authenticator()?;
            }
            request.integer(EVENT_TIMESTAMP, seconds_since_1970(now))?;
            put(&mut request, USER_NAME, user_name.filter(|_| full))?;
            // As RFC 3580 §3.21 writes it: AA-BB-CC-DD-EE-FF.
            put(&mut request, CALLING_STATION_ID, device.map(|device| device.to_string().replace(':', "-")))?;
            put(&mut request, ACCT_SESSION_ID, nas_session)?;
        }
    }
    match order {
        Order::Disconnect => {}
        Order::SessionTimeout(Seconds::ZERO) => return Err(Unsendable::NoTime),
        Order::SessionTimeout(left) => request.integer(SESSION_TIMEOUT, u32::try_from(left.0).unwrap_or(u32::MAX))?,
    }
    // Whatever was just written has sound lengths.
    Packet::parse(request.sign(target.secret)).map_err(|_| Unsendable::TooLong)
}

fn put(request: &mut Request<'_>, kind: u8, value: Option<impl AsRef<[u8]>>) -> Result<(), Full> {
    value.map_or(Ok(()), |value| request.attribute(kind, value.as_ref()))
}

const fn ipv4(ip: IpAddr) -> Option<Ipv4Addr> {
    if let IpAddr::V4(ip) = ip { Some(ip) } else { None }
}

const fn ipv6(ip: IpAddr) -> Option<Ipv6Addr> {
    if let IpAddr::V6(ip) = ip { Some(ip) } else { None }
}

/// What Event-Timestamp holds (RFC 2869 §5.3).
fn seconds_since_1970(now: Timestamp) -> u32 {
    u32::try_from(now.as_second().max(0)).unwrap_or(u32::MAX)
}

impl Order {
    const fn code(self) -> u8 {
        match self {
            Self::Disconnect => code::DISCONNECT_REQUEST,
            Self::SessionTimeout(_) => code::COA_REQUEST,
        }
    }
}

/// Why a packet is no answer; it is ignored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Stray {
    #[error("no packet: {0}")]
    NoPacket(packet::Drop),
    #[error("identifier {0} answers another request")]
    Identifier(u8),
    #[error("code {0} answers no such request")]
    Code(u8),
    #[error("made with another secret, or changed on the way")]
    Unauthentic,
}

/// What a packet says to the request.
pub(super) fn judge(octets: &[u8], request: &Packet<'_>, secret: &Secret) -> Result<Outcome, Stray> {
    let reply = Packet::parse(octets).map_err(Stray::NoPacket)?;
    if reply.identifier() != request.identifier() {
        return Err(Stray::Identifier(reply.identifier()));
    }
    let outcome = match (request.code(), reply.code()) {
        (code::DISCONNECT_REQUEST, code::DISCONNECT_ACK) | (code::COA_REQUEST, code::COA_ACK) => Outcome::Ack,
        (code::DISCONNECT_REQUEST, code::DISCONNECT_NAK) | (code::COA_REQUEST, code::COA_NAK) => {
            Outcome::Nak(reply.first(ERROR_CAUSE).and_then(integer).map(ErrorCause))
        }
        (_, code) => return Err(Stray::Code(code)),
    };
    if secret.check_response(&reply, request.authenticator()) { Ok(outcome) } else { Err(Stray::Unauthentic) }
}

/// [`WAITS`], each up to a tenth shorter by chance: orders for many sessions are given at once and must not be repeated all
/// at once (RFC 5080 §2.2.1).
fn waits(spread: [u8; WAITS.len()]) -> [Duration; WAITS.len()] {
    let mut waits = WAITS;
    for (wait, octet) in waits.iter_mut().zip(spread) {
        *wait = wait.saturating_sub(*wait * u32::from(octet) / 2550);
    }
    waits
}

/// Sends the request once for each wait, the same bytes from the same port (RFC 5176 §2.3), and hears what is answered;
/// an answer to an earlier try counts as well.
async fn exchange(target: &Target<'_>, request: &Packet<'_>, waits: [Duration; WAITS.len()]) -> Outcome {
    let socket = match open(target.address).await {
        Ok(socket) => socket,
        Err(error) => return Outcome::Unsendable(Unsendable::Socket(error.kind())),
    };
    let mut buffer = vec![0; Packet::MAX];
    let (mut sent, mut failure) = (false, None);
    for wait in waits {
        let heard = timeout(wait, async {
            match send(&socket, request.bytes()).await {
                Ok(()) => sent = true,
                Err(error) => failure = Some(error.kind()),
            }
            hear(&socket, target, request, &mut buffer).await
        });
        if let Ok(outcome) = heard.await {
            return outcome;
        }
    }
    match failure {
        Some(kind) if !sent => Outcome::Unsendable(Unsendable::Socket(kind)),
        _ => Outcome::NoAnswer,
    }
}

/// A socket of its own for each exchange, so that identifiers never meet, connected so that only the router is heard.
async fn open(router: SocketAddr) -> io::Result<UdpSocket> {
    let any: IpAddr = match router {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = UdpSocket::bind((any, 0)).await?;
    socket.connect(router).await?;
    Ok(socket)
}

async fn send(socket: &UdpSocket, bytes: &[u8]) -> io::Result<()> {
    // An ICMP message about an earlier try is reported here, once, instead of sending.
    if socket.send(bytes).await.is_err() {
        socket.send(bytes).await?;
    }
    Ok(())
}

/// Listens until an answer comes, and after too much else not at all: the caller's deadline ends it. A refusal by ICMP
/// is no answer either, since anyone can forge one.
async fn hear(socket: &UdpSocket, target: &Target<'_>, request: &Packet<'_>, buffer: &mut [u8]) -> Outcome {
    let router = target.address;
    for _ in 0..MAX_STRAYS {
        match socket.recv(buffer).await {
            Ok(length) => match judge(buffer.get(..length).unwrap_or_default(), request, target.secret) {
                Ok(outcome) => return outcome,
                Err(stray) => tracing::debug!(%router, %stray, "a datagram to a disconnect port's client was ignored"),
            },
            Err(error) => tracing::debug!(%router, %error, "a disconnect port was not reached"),
        }
    }
    std::future::pending().await
}

#[cfg(test)]
mod tests;
