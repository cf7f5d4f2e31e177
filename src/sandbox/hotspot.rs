//! A hotspot router as its RADIUS server meets it: the requests of RouterOS 7 with their attributes in their order,
//! repeated like RouterOS repeats them, and replies that it would take or throw away.

mod request;
#[cfg(test)]
mod tests;

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::atomic::{AtomicU8, AtomicU32, Ordering};
use std::time::Duration;

use tokio::net::UdpSocket;
use tokio::time::timeout;

use crate::core::ident::Mac;
use crate::radius::attribute::{self as attr, ErrorCause, code, mikrotik};
use crate::radius::packet::{Attribute, Drop, Packet};
use crate::radius::secret::Secret;

pub(in crate::sandbox) use request::{HOTSPOT_SERVER, INTERFACE, NAS_ADDRESS, address_of};
pub use request::{Password, Record};

/// Where the Message-Authenticator's sixteen octets are if it stands first.
const FIRST_VALUE: usize = 22;

/// The running number of a session has five hexadecimal digits, its boot counter one before them.
const RUNNING_BITS: u32 = 20;
const RUNNING: u32 = (1 << RUNNING_BITS) - 1;
/// What the first two digits say: a session of the hotspot.
const HOTSPOT_SERVICE: u32 = 0x8000_0000;
/// The boot counter of a router that was never restarted.
const FIRST_BOOT: u32 = 3;

/// One router. It may be shared: each request has a socket of its own, as on RouterOS.
#[derive(Debug)]
pub struct Hotspot {
    server: SocketAddr,
    accounting: SocketAddr,
    source: IpAddr,
    secret: Secret,
    name: String,
    timeout: Duration,
    tries: u32,
    /// Identifiers count over logins and accounting together.
    identifier: AtomicU8,
    /// The boot counter in the high four of 24 bits; below them, how many sessions there were since that boot.
    sessions: AtomicU32,
}

/// What the server answered, read as the router reads it. Attributes that did not come are `None` or empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The code: see [`attr::code`].
    pub code: u8,
    /// Whether it is an Access-Accept.
    pub accept: bool,
    /// Session-Timeout, in seconds.
    pub session_timeout: Option<u32>,
    /// Idle-Timeout, in seconds.
    pub idle_timeout: Option<u32>,
    /// Acct-Interim-Interval, in seconds.
    pub interim: Option<u32>,
    /// Port-Limit.
    pub port_limit: Option<u32>,
    /// The first Class.
    pub class: Option<Vec<u8>>,
    /// Reply-Message; several are joined.
    pub reply_message: Option<String>,
    /// Mikrotik-Rate-Limit.
    pub rate_limit: Option<String>,
    /// Mikrotik-Group.
    pub group: Option<String>,
    /// Error-Cause, of a NAK.
    pub error_cause: Option<ErrorCause>,
    /// Every Proxy-State, in order.
    pub proxy_states: Vec<Vec<u8>>,
    /// The numbers of all attributes, in order.
    pub kinds: Vec<u8>,
    /// The Acct-Session-Id that the request went out with.
    pub session_id: Option<String>,
    /// How often the request was sent until this answer came.
    pub tries: u32,
    /// The whole packet.
    pub bytes: Vec<u8>,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum HotspotError {
    /// Nothing came that the router could take: "RADIUS server is not responding".
    #[error("no answer after {tries} tries; {} replies were thrown away", bad_replies.len())]
    NoAnswer {
        /// How often the request was sent.
        tries: u32,
        /// What came instead of an answer, in order; at most [`Hotspot::MAX_BAD_REPLIES`] are kept.
        bad_replies: Vec<BadReply>,
    },
    /// The request to be sent is no RADIUS packet.
    #[error("the request is no packet: {0}")]
    Request(Drop),
    /// A user name or password is longer than an attribute holds.
    #[error("a value is too long for its attribute")]
    TooLong,
    /// The router has no power, or lost it before an answer came.
    #[error("the router is off")]
    Off,
    /// The socket failed.
    #[error("the socket failed")]
    Io(#[from] io::Error),
    /// The machine gives no random octets.
    #[error("no random octets")]
    Random(#[from] getrandom::Error),
}

/// Why the router throws a reply away (RouterOS counts these as bad-replies).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadReply {
    /// It is no RADIUS packet.
    NoPacket(Drop),
    /// It answers another request.
    Identifier(u8),
    /// Its code is no answer to the request's.
    Code(u8),
    /// Response Authenticator or Message-Authenticator are wrong: another secret, or changed on the way.
    Unauthentic,
    /// An Access-Accept, -Reject or -Challenge whose first attribute is not Message-Authenticator. RouterOS
    /// from 7.15 insists on one; that it be the first is the advice against BlastRADIUS.
    MessageAuthenticatorNotFirst,
}

impl Hotspot {
    /// How many discarded replies of one exchange are remembered.
    pub const MAX_BAD_REPLIES: usize = 16;

    /// A router named `name` (NAS-Identifier) that asks `server` for logins, and the next port for accounting. It
    /// sends each request up to three times, a second apart.
    #[must_use]
    pub fn new(server: SocketAddr, secret: &[u8], name: &str) -> Self {
        let source = match server {
            SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
            SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
        };
        Self {
            server,
            accounting: SocketAddr::new(server.ip(), server.port().saturating_add(1)),
            source,
            secret: Secret::new(secret),
            name: name.to_owned(),
            timeout: Duration::from_secs(1),
            tries: 3,
            identifier: AtomicU8::new(0),
            sessions: AtomicU32::new(FIRST_BOOT << RUNNING_BITS),
        }
    }

    /// With another server for accounting.
    #[must_use]
    pub fn accounting_at(self, server: SocketAddr) -> Self {
        Self { accounting: server, ..self }
    }

    /// With an address of its own, from which it sends.
    #[must_use]
    pub fn sending_from(self, source: IpAddr) -> Self {
        Self { source, ..self }
    }

    /// With another patience: `tries` times `timeout`.
    #[must_use]
    pub fn patience(self, timeout: Duration, tries: u32) -> Self {
        Self { timeout, tries, ..self }
    }

    /// Its NAS-Identifier.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The secret it shares with the server.
    #[must_use]
    pub const fn secret(&self) -> &Secret {
        &self.secret
    }

    /// A guest has typed a code and a password; `login-by=http-pap`.
    pub async fn login_pap(&self, code: &str, password: &str, mac: Mac) -> Result<Answer, HotspotError> {
        self.exchange(&self.access_request(code, Password::Pap(password), mac)?).await
    }

    /// A guest has typed a code and a password; `login-by=http-chap`.
    pub async fn login_chap(&self, code: &str, password: &str, mac: Mac) -> Result<Answer, HotspotError> {
        self.exchange(&self.access_request(code, Password::Chap(password), mac)?).await
    }

    /// A device has appeared; `login-by=mac`, which is CHAP over the empty password.
    pub async fn login_mac(&self, mac: Mac) -> Result<Answer, HotspotError> {
        self.login_chap(&mac.to_string(), "", mac).await
    }

    /// Asks the server for logins whether it is there (RFC 5997).
    pub async fn status(&self) -> Result<Answer, HotspotError> {
        self.exchange(&self.status_request()?).await
    }

    /// Asks the server for accounting whether it is there (RFC 5997).
    pub async fn accounting_status(&self) -> Result<Answer, HotspotError> {
        self.exchange_with(self.accounting, &self.status_request()?).await
    }

    /// Reports a session.
    pub async fn account(&self, record: &Record<'_>) -> Result<Answer, HotspotError> {
        self.exchange(&self.accounting_request(record)?).await
    }

    /// Sends a request as it is, from a new port, again and again with the same bytes until an answer comes or
    /// patience ends. Accounting-Requests go to the server for accounting.
    pub async fn exchange(&self, request: &[u8]) -> Result<Answer, HotspotError> {
        let accounting = request.first() == Some(&code::ACCOUNTING_REQUEST);
        self.exchange_with(if accounting { self.accounting } else { self.server }, request).await
    }

    /// As [`Hotspot::exchange`], with any server.
    pub async fn exchange_with(&self, server: SocketAddr, request: &[u8]) -> Result<Answer, HotspotError> {
        self.exchange_on(&self.open(server).await?, request).await
    }

    /// A socket on a new port, connected, so that only what comes from the address that was asked is heard.
    async fn open(&self, server: SocketAddr) -> io::Result<UdpSocket> {
        let socket = UdpSocket::bind((self.source, 0)).await?;
        socket.connect(server).await?;
        Ok(socket)
    }

    /// Sends an Accounting-Request for the first time and does not wait: [`Hotspot::wait_for_answer`] does.
    pub(super) async fn send_accounting(&self, request: &[u8]) -> io::Result<UdpSocket> {
        let socket = self.open(self.accounting).await?;
        unless_refused(socket.send(request).await)?;
        Ok(socket)
    }

    /// As [`Hotspot::exchange`], on a socket that is connected to a server; for a repetition from the same port.
    pub async fn exchange_on(&self, socket: &UdpSocket, request: &[u8]) -> Result<Answer, HotspotError> {
        let packet = Packet::parse(request).map_err(HotspotError::Request)?;
        unless_refused(socket.send(packet.bytes()).await)?;
        self.wait_for_answer(socket, request).await
    }

    /// Waits for the answer to what was sent once on this socket, and repeats it until patience ends.
    pub(super) async fn wait_for_answer(&self, socket: &UdpSocket, request: &[u8]) -> Result<Answer, HotspotError> {
        let request = Packet::parse(request).map_err(HotspotError::Request)?;
        let mut bad_replies = Vec::new();
        for tries in 1..=self.tries {
            if tries > 1 {
                unless_refused(socket.send(request.bytes()).await)?;
            }
            if let Ok(answer) = timeout(self.timeout, self.hear(socket, &request, tries, &mut bad_replies)).await {
                return Ok(answer?);
            }
        }
        Err(HotspotError::NoAnswer { tries: self.tries, bad_replies })
    }

    /// Listens until a reply comes that can be taken.
    async fn hear(
        &self,
        socket: &UdpSocket,
        request: &Packet<'_>,
        tries: u32,
        bad_replies: &mut Vec<BadReply>,
    ) -> io::Result<Answer> {
        let mut buffer = vec![0; Packet::MAX];
        loop {
            let Some(length) = unless_refused(socket.recv(&mut buffer).await)? else { continue };
            match self.judge(request, buffer.get(..length).unwrap_or_default()) {
                Ok(reply) => return Ok(Answer::read(request, &reply, tries)),
                Err(bad) if bad_replies.len() < Self::MAX_BAD_REPLIES => bad_replies.push(bad),
                Err(_) => {}
            }
        }
    }

    /// Whether a datagram is an answer to the request.
    fn judge<'a>(&self, request: &Packet<'_>, datagram: &'a [u8]) -> Result<Packet<'a>, BadReply> {
        let reply = Packet::parse(datagram).map_err(BadReply::NoPacket)?;
        if reply.identifier() != request.identifier() {
            return Err(BadReply::Identifier(reply.identifier()));
        }
        if !answers(request.code(), reply.code()) {
            return Err(BadReply::Code(reply.code()));
        }
        if !self.secret.check_response(&reply, request.authenticator()) {
            return Err(BadReply::Unauthentic);
        }
        let must = matches!(reply.code(), code::ACCESS_ACCEPT | code::ACCESS_REJECT | code::ACCESS_CHALLENGE);
        if must && reply.message_authenticator() != Some(FIRST_VALUE) {
            return Err(BadReply::MessageAuthenticatorNotFirst);
        }
        Ok(reply)
    }
}

/// Whether a reply of this code may follow a request of that one.
const fn answers(request: u8, reply: u8) -> bool {
    match request {
        code::ACCESS_REQUEST => matches!(reply, code::ACCESS_ACCEPT | code::ACCESS_REJECT | code::ACCESS_CHALLENGE),
        code::ACCOUNTING_REQUEST => reply == code::ACCOUNTING_RESPONSE,
        code::STATUS_SERVER => matches!(reply, code::ACCESS_ACCEPT | code::ACCOUNTING_RESPONSE),
        code::DISCONNECT_REQUEST => matches!(reply, code::DISCONNECT_ACK | code::DISCONNECT_NAK),
        code::COA_REQUEST => matches!(reply, code::COA_ACK | code::COA_NAK),
        _ => true,
    }
}

/// A router does not notice that nobody listens; here the next call on the socket says so, once.
fn unless_refused(result: io::Result<usize>) -> io::Result<Option<usize>> {
    match result {
        Ok(length) => Ok(Some(length)),
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => Ok(None),
        Err(error) => Err(error),
    }
}

impl Answer {
    fn read(request: &Packet<'_>, reply: &Packet<'_>, tries: u32) -> Self {
        let integer = |kind| reply.first(kind).and_then(attr::integer);
        let vendor = |kind| reply.vendor(mikrotik::VENDOR).find(|field| field.0 == kind).map(|field| lossy(field.1));
        let messages: Vec<String> = reply.all(attr::REPLY_MESSAGE).map(lossy).collect();
        Self {
            code: reply.code(),
            accept: reply.code() == code::ACCESS_ACCEPT,
            session_timeout: integer(attr::SESSION_TIMEOUT),
            idle_timeout: integer(attr::IDLE_TIMEOUT),
            interim: integer(attr::ACCT_INTERIM_INTERVAL),
            port_limit: integer(attr::PORT_LIMIT),
            class: reply.first(attr::CLASS).map(<[u8]>::to_vec),
            reply_message: (!messages.is_empty()).then(|| messages.concat()),
            rate_limit: vendor(mikrotik::RATE_LIMIT),
            group: vendor(mikrotik::GROUP),
            error_cause: integer(attr::ERROR_CAUSE).map(ErrorCause),
            proxy_states: reply.all(attr::PROXY_STATE).map(<[u8]>::to_vec).collect(),
            kinds: reply.attributes().map(|Attribute { kind, .. }| kind).collect(),
            session_id: request.first(attr::ACCT_SESSION_ID).map(lossy),
            tries,
            bytes: reply.bytes().to_vec(),
        }
    }
}

fn lossy(value: &[u8]) -> String {
    String::from_utf8_lossy(value).into_owned()
}

impl Hotspot {
    fn next_identifier(&self) -> u8 {
        self.identifier.fetch_add(1, Ordering::Relaxed)
    }

    /// The number of the next session as RouterOS counts: service 80, boot counter, running number.
    fn next_session(&self) -> u32 {
        let next = |now: u32| (now & !RUNNING) | (now.wrapping_add(1) & RUNNING);
        let taken = self.sessions.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |now| Some(next(now)));
        HOTSPOT_SERVICE | taken.unwrap_or_else(|now| now)
    }

    /// The router starts anew: its boot counter, which knows sixteen values, goes on, and sessions count from nothing.
    pub(super) fn reboot(&self) {
        let next = |now: u32| (((now >> RUNNING_BITS) + 1) % 16) << RUNNING_BITS;
        let _ = self.sessions.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |now| Some(next(now)));
    }
}
