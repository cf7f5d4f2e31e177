//! One packet in, one answer or a cause for silence out, whatever carried it. It touches memory only; a login whose code must be
//! fetched is handed back as [`Handled::Pending`] and finished by [`Handler::finish`].

use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use tracing::{Instrument as _, Span};

use crate::clock::Now;
use crate::config::RequireMessageAuthenticator;
use crate::core::decide::{Decision, Denial, Reason};
use crate::core::ident::{Code, NasName};
use crate::core::login::{Claim, Login};
use crate::gate::{Accounted, Answer, Gate, Step, Via};
use crate::ledger::Written;
use crate::live::Live;
use crate::radius::accounting::{self, Record};
use crate::radius::attribute::{self as a, code};
use crate::radius::auth::{self, Unreadable};
use crate::radius::clients::{Client, Learnt};
use crate::radius::packet::{Full, Packet};
use crate::radius::recent::{Identity, Recent, Seen};
use crate::radius::secret::{MAX_PASSWORD, MessageAuthenticator};
use crate::telemetry::log::Brake;
use crate::{ticket, words};

/// Which port a packet came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Port {
    /// Authentication, 1812.
    Auth,
    /// Accounting, 1813.
    Accounting,
    /// RADIUS over TLS, 2083: every kind of packet (RFC 6614 §2.5).
    Radsec,
}

/// A packet, and what its transport knows of it.
#[derive(Clone, Copy, Debug)]
pub struct Arrival<'a> {
    /// The router that it comes from: by its address, inside TLS by its certificate.
    pub client: &'a Client,
    /// The port that it came to.
    pub port: Port,
    /// Address and port of the router, as its sessions are to know it.
    pub from: SocketAddr,
    /// The packet as it came.
    pub octets: &'a [u8],
}

/// What becomes of a packet.
#[derive(Debug)]
pub enum Handled<'b> {
    /// This goes back.
    Reply(&'b [u8]),
    /// Nothing goes back.
    Silence,
    /// Nothing goes back, and a connection that it came over is to be closed (RFC 6613 §2.6.4).
    Close,
    /// The source must be asked first.
    Pending,
    /// This goes back once what it acknowledges is on disk: see [`Handler::acknowledge`].
    Owed {
        /// The answer.
        reply: &'b [u8],
        /// To which request.
        identity: Identity,
        /// What must be on disk.
        written: Written,
    },
}

/// Why a packet gets no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Cause {
    /// For counting.
    name: &'static str,
    /// The likely cause, for the log.
    hint: &'static str,
}

const UNKNOWN_NAS: Cause = Cause {
    name: "unknown_nas",
    hint: "no [[nas]] has this address; if the router is known, set its src-address, or look for NAT between",
};
const WRONG_PORT: Cause = Cause { name: "wrong_port", hint: "this kind of packet does not belong on this port" };
const SECRET_MISMATCH: Cause =
    Cause { name: "bad_message_authenticator", hint: "the shared secrets differ, or the packet was tampered with" };
const NOT_RADSEC: Cause = Cause {
    name: "bad_message_authenticator",
    hint: "inside TLS the secret is the word radsec (RFC 6614 §2.3), and the router has another",
};
const NO_MESSAGE_AUTHENTICATOR: Cause = Cause {
    name: "no_message_authenticator",
    hint: "a Message-Authenticator is required here: the router has sent one before, or require_message_authenticator = \"yes\"",
};
const PROXY_UNSIGNED: Cause = Cause {
    name: "proxy_state_unsigned",
    hint: "Proxy-State without a Message-Authenticator is refused (BlastRADIUS)",
};
const BAD_AUTHENTICATOR: Cause =
    Cause { name: "bad_authenticator", hint: "the accounting secrets differ, or the packet was tampered with" };
const EAP_UNSIGNED: Cause =
    Cause { name: "malformed", hint: "EAP needs a Message-Authenticator beside it (RFC 3579 §3.1)" };
const REPEATED: Cause = Cause { name: "malformed", hint: "an attribute that may stand only once is repeated" };
const BROKEN: Cause = Cause { name: "malformed", hint: "the packet breaks RFC 2865" };
const NO_STATUS: Cause = Cause {
    name: "malformed",
    hint: "an Accounting-Request without Acct-Status-Type, or without the session it speaks of",
};
const NOT_ON_DISK: Cause =
    Cause { name: "not_on_disk", hint: "what it says could not be written down; the router sends it again" };
const TOO_LONG: Cause =
    Cause { name: "reply_too_long", hint: "the answer with every Proxy-State does not fit into a packet" };

/// How often a line about one router and one cause is logged.
const LINE_EVERY: Duration = Duration::from_secs(60);

/// What handles packets, shared by every socket and connection.
#[derive(Debug)]
pub struct Handler {
    gate: Arc<Gate>,
    learnt: Arc<Learnt>,
    /// Told when something new was learnt.
    on_learnt: Box<dyn OnLearnt>,
    /// Lines about routers that are configured, by name and cause.
    known: Brake<(NasName, &'static str)>,
    /// Lines about strangers, by address: few, since anybody can be one.
    strangers: Brake<IpAddr>,
}

/// Keeps what was learnt for the next run.
pub trait OnLearnt: Send + Sync + std::fmt::Debug {
    /// Another address was added.
    fn learnt(&self, learnt: &Arc<Learnt>);
}

impl Handler {
    /// A handler in front of `gate`.
    #[must_use]
    pub fn new(gate: Arc<Gate>, learnt: Arc<Learnt>, on_learnt: Box<dyn OnLearnt>) -> Self {
        let known = Brake::new(LINE_EVERY, 16_384);
        let strangers = Brake::new(LINE_EVERY, 16);
        Self { gate, learnt, on_learnt, known, strangers }
    }

    /// Handles one packet.
    pub fn handle<'b>(
        &self,
        live: &Live,
        arrival: &Arrival<'_>,
        recent: &Mutex<Recent>,
        buffer: &'b mut [u8; Packet::MAX],
    ) -> Handled<'b> {
        let now = self.gate.clock.now();
        let Arrival { client, port, from, octets } = *arrival;
        let nas = client.nas.name();
        let packet = match Packet::parse(octets) {
            Ok(packet) => packet,
            Err(cause) => {
                tracing::debug!(%nas, %cause, "broken packet");
                self.refuse(client, "broken", from, BROKEN);
                return Handled::Close;
            }
        };
        let kind = kind(packet.code());
        if let Err(cause) = self.authenticate(port, &packet, client, from.ip()) {
            self.refuse(client, kind, from, cause);
            return if is_mismatch(cause) { Handled::Close } else { Handled::Silence };
        }
        let identity = Identity::of(from, &packet);
        let mut seen = lock(recent);
        seen.keep_for(live.settings.radius.duplicate_window);
        let evicted = seen.evicted();
        match seen.see(from, &packet, now.mono) {
            Seen::New => {}
            Seen::InProgress => {
                self.gate.metrics.packet(nas, kind, "in_progress");
                return Handled::Silence;
            }
            Seen::Answered(reply) => {
                self.gate.metrics.packet(nas, kind, "repeated");
                return match buffer.get_mut(..reply.len()) {
                    Some(place) => {
                        place.copy_from_slice(reply);
                        Handled::Reply(place)
                    }
                    None => Handled::Silence,
                };
            }
        }
        self.gate.metrics.duplicates_evicted(seen.evicted() - evicted);
        drop(seen);
        let _span = span(&packet).entered();
        let replied = match packet.code() {
            code::ACCESS_REQUEST => match self.access(live, arrival, &packet, now, buffer) {
                Ok(Some(replied)) => Ok(replied),
                Ok(None) => return Handled::Pending,
                Err(cause) => Err(cause),
            },
            code::STATUS_SERVER => {
                // Where every kind of packet comes in, what answers a login answers this too (RFC 6613 §2.6.5).
                let code = if port == Port::Accounting { code::ACCOUNTING_RESPONSE } else { code::ACCESS_ACCEPT };
                auth::alive(buffer, code, &packet, client).map(|reply| (reply, "status")).map_err(|Full| TOO_LONG)
            }
            code::DISCONNECT_REQUEST | code::COA_REQUEST => {
                auth::no_orders(buffer, &packet, client).map(|reply| (reply, "nak")).map_err(|Full| TOO_LONG)
            }
            _ => {
                let accounted = match self.account(live, client, &packet, from, now.wall) {
                    Ok(accounted) => accounted,
                    Err(cause) => {
                        lock(recent).forget(&identity);
                        self.refuse(client, kind, from, cause);
                        return Handled::Silence;
                    }
                };
                match (accounting::response(buffer, &packet, client), accounted) {
                    (Err(Full), _) => Err(TOO_LONG),
                    (Ok(reply), Written::Already) => Ok((reply, "response")),
                    (Ok(reply), written) => return Handled::Owed { reply, identity, written },
                }
            }
        };
        match replied {
            Ok((reply, result)) => {
                self.gate.metrics.packet_of(&client.seen.packets, nas, kind, result);
                lock(recent).answered(&identity, reply, now.mono);
                Handled::Reply(reply)
            }
            Err(cause) => {
                lock(recent).forget(&identity);
                self.refuse(client, kind, from, cause);
                Handled::Silence
            }
        }
    }

    /// Finishes a login that [`Handler::handle`] called pending: asks the source, then answers.
    pub async fn finish<'b>(
        &self,
        live: &Live,
        arrival: &Arrival<'_>,
        recent: &Mutex<Recent>,
        buffer: &'b mut [u8; Packet::MAX],
    ) -> Option<&'b [u8]> {
        let received = self.gate.clock.now().mono;
        let Arrival { client, from, octets, .. } = *arrival;
        // It was one when it was handled.
        let packet = Packet::parse(octets).ok()?;
        let nas = client.nas.name();
        let undecided = Undecided { recent, identity: Identity::of(from, &packet) };
        let mut password = [0; MAX_PASSWORD];
        let login = auth::login(&packet, client, from.ip(), &mut password).ok()?;
        let login = self.gate.redeemed(login, nas, received);
        let visit = live.visit(&login, &client.nas.rules, Via::Radius, received);
        let answer = self.gate.answer(&visit, &mut ()).instrument(span(&packet)).await;
        let now = self.gate.clock.now();
        self.note(client, &login, &answer, now);
        match self.reply(live, client, &packet, &answer, buffer) {
            Ok((reply, result)) => {
                self.gate.metrics.packet_of(&client.seen.packets, nas, kind(packet.code()), result);
                // Should the request have been replaced meanwhile, its answer is nobody's.
                lock(recent).answered(&undecided.identity, reply, now.mono).then_some(reply)
            }
            Err(cause) => {
                self.refuse(client, kind(packet.code()), from, cause);
                None
            }
        }
    }

    /// Waits until what an Accounting-Request says is on disk; whether its answer may go back then. If it does not get
    /// there, the router's repetition is taken in anew.
    pub async fn acknowledge(
        &self,
        client: &Client,
        identity: &Identity,
        written: Written,
        recent: &Mutex<Recent>,
        reply: &[u8],
    ) -> bool {
        let undecided = Undecided { recent, identity: *identity };
        let outcome = written.settled().await;
        let (now, kind, nas) = (self.gate.clock.mono(), kind(identity.code), client.nas.name());
        match outcome {
            Ok(()) => {
                self.gate.metrics.packet_of(&client.seen.packets, nas, kind, "response");
                lock(recent).answered(&undecided.identity, reply, now)
            }
            Err(error) => {
                tracing::debug!(%nas, %error, "an accounting record is not acknowledged");
                self.gate.metrics.accounting("not_on_disk");
                self.drop(nas, kind, identity.from, NOT_ON_DISK, now);
                false
            }
        }
    }

    /// Gives a pending request up, so that its repetition is looked at anew.
    pub fn give_up(&self, octets: &[u8], from: SocketAddr, recent: &Mutex<Recent>) {
        self.gate.metrics.pending_dropped();
        if let Ok(packet) = Packet::parse(octets) {
            lock(recent).forget(&Identity::of(from, &packet));
        }
    }

    /// Whether the packet comes from a holder of the secret and is fit for this port.
    fn authenticate(&self, port: Port, packet: &Packet<'_>, client: &Client, from: IpAddr) -> Result<(), Cause> {
        let fits = match packet.code() {
            code::ACCESS_REQUEST => port != Port::Accounting,
            code::ACCOUNTING_REQUEST => port != Port::Auth,
            code::DISCONNECT_REQUEST | code::COA_REQUEST => port == Port::Radsec,
            code => code == code::STATUS_SERVER,
        };
        if !fits {
            return Err(WRONG_PORT);
        }
        let (other_secret, other_accounting) =
            if port == Port::Radsec { (NOT_RADSEC, NOT_RADSEC) } else { (SECRET_MISMATCH, BAD_AUTHENTICATOR) };
        let signed = match client.secret.check_message_authenticator(packet) {
            MessageAuthenticator::Bad => return Err(other_secret),
            MessageAuthenticator::Good => true,
            MessageAuthenticator::Absent => false,
        };
        match packet.code() {
            code if code::authenticator_is_computed(code) && !client.secret.check_request_authenticator(packet) => {
                return Err(other_accounting);
            }
            // RFC 5997 §3.
            code::STATUS_SERVER if !signed => return Err(NO_MESSAGE_AUTHENTICATOR),
            code::ACCESS_REQUEST if !signed && packet.first(a::EAP_MESSAGE).is_some() => return Err(EAP_UNSIGNED),
            code::ACCOUNTING_REQUEST | code::STATUS_SERVER => {}
            // TLS vouches for every octet, and what an address has sent by UDP has nothing to do with it.
            _ if port == Port::Radsec => {}
            _ if signed => {
                if self.learnt.note(from) {
                    self.on_learnt.learnt(&self.learnt);
                }
            }
            _ => {
                let rule = client.nas.require_message_authenticator;
                if self.learnt.requires(rule, from) {
                    return Err(NO_MESSAGE_AUTHENTICATOR);
                }
                if rule != RequireMessageAuthenticator::No && packet.first(a::PROXY_STATE).is_some() {
                    return Err(PROXY_UNSIGNED);
                }
            }
        }
        if a::repeated(packet).is_some() { Err(REPEATED) } else { Ok(()) }
    }

    /// Decides an Access-Request on memory alone; `None` where the source must be asked.
    fn access<'b>(
        &self,
        live: &Live,
        arrival: &Arrival<'_>,
        packet: &Packet<'_>,
        now: Now,
        buffer: &'b mut [u8; Packet::MAX],
    ) -> Result<Option<(&'b [u8], &'static str)>, Cause> {
        let Arrival { client, port, from, .. } = *arrival;
        let mut password = [0; MAX_PASSWORD];
        client.seen.asked.set(now.wall);
        Self::note_address(client, packet, now.wall);
        let way = match port {
            Port::Radsec => &client.seen.guarded,
            _ if packet.first(a::MESSAGE_AUTHENTICATOR).is_some() => &client.seen.signed,
            _ => &client.seen.unsigned,
        };
        way.set(now.wall);
        let answer = match auth::login(packet, client, from.ip(), &mut password) {
            // One whose answer is waited for redeems its ticket then.
            Ok(_) if self.gate.ledger.is_shared() => return Ok(None),
            Ok(login) => {
                let login = self.gate.redeemed(login, client.nas.name(), now.mono);
                let visit = live.visit(&login, &client.nas.rules, Via::Radius, now.mono);
                match self.gate.step(&visit, now, &mut ()) {
                    Step::Decided(answer) => {
                        self.note(client, &login, &answer, now);
                        answer
                    }
                    Step::Ask(_) | Step::Wait => return Ok(None),
                }
            }
            Err(Unreadable::Broken(cause)) => {
                tracing::debug!(nas = %client.nas.name(), cause, "broken Access-Request");
                return Err(BROKEN);
            }
            Err(Unreadable::Rejected) => {
                self.gate.malformed(Via::Radius, client.nas.name());
                if let Some(held) = self.known.pass(&(client.nas.name().clone(), "unreadable"), now.mono) {
                    tracing::warn!(nas = %client.nas.name(), held, "an Access-Request holds no code or MAC that can be read");
                }
                Answer { decision: Decision::Deny(Denial::from(Reason::Malformed)), session: None }
            }
        };
        self.reply(live, client, packet, &answer, buffer).map(Some)
    }

    /// Notes a device whose address is no use to anybody.
    fn note_address(client: &Client, packet: &Packet<'_>, now: Timestamp) {
        if packet.first(a::FRAMED_IP_ADDRESS).and_then(a::ipv4).is_some_and(|ip| ip.is_link_local()) {
            client.seen.self_addressed.set(now);
        }
    }

    /// Notes what a login tells of its router.
    fn note(&self, client: &Client, login: &Login<'_>, answer: &Answer, now: Now) {
        client.seen.decide(&login.claim, &answer.decision);
        let is_spent = |code: &Code| ticket::is_one(code) && self.gate.tickets.is_spent(code.reveal(), now.mono);
        match &login.claim {
            Claim::Code(code) if matches!(answer.decision, Decision::Deny(_)) && is_spent(code) => {
                client.seen.spent.set(now.wall);
            }
            _ => {}
        }
    }

    /// Records what an Accounting-Request says.
    fn account(
        &self,
        live: &Live,
        client: &Client,
        packet: &Packet<'_>,
        from: SocketAddr,
        now: Timestamp,
    ) -> Result<Written, Cause> {
        let record = accounting::record(packet, from.ip(), now).ok_or(NO_STATUS)?;
        let cause = packet.first(a::ACCT_TERMINATE_CAUSE).and_then(a::integer);
        client.seen.accounted.set(now);
        if let Record::Session { progress, .. } = &record {
            client.seen.hear(progress.news, cause, now);
        }
        Self::note_address(client, packet, now);
        let Accounted { result, written } = match &record {
            Record::Restart { at } => {
                self.gate.restarted(client.nas.name(), Some(from.ip()), *at, &live.settings.policy)
            }
            Record::Session { login, progress } => {
                let visit = live.visit(login, &client.nas.rules, Via::Radius, Duration::ZERO);
                self.gate.account(&visit, progress, now)
            }
            Record::Other => Accounted { result: "ignored", written: Written::Already },
        };
        self.gate.metrics.accounting(result);
        Ok(written)
    }

    fn reply<'b>(
        &self,
        live: &Live,
        client: &Client,
        packet: &Packet<'_>,
        answer: &Answer,
        buffer: &'b mut [u8; Packet::MAX],
    ) -> Result<(&'b [u8], &'static str), Cause> {
        let settings = &live.settings;
        let (written, result) = match &answer.decision {
            Decision::Allow(grant) => {
                (auth::accept(buffer, packet, client, grant, answer.session, &settings.policy), "accept")
            }
            Decision::Deny(_) => {
                let words = words::message(&answer.decision, settings.time_zone(), self.gate.clock.now().wall);
                (auth::reject(buffer, packet, client, &words), "reject")
            }
        };
        written.map(|reply| (reply, result)).map_err(|Full| TOO_LONG)
    }

    /// Drops a packet of this router, and notes that for who looks at it.
    fn refuse(&self, client: &Client, kind: &'static str, from: SocketAddr, cause: Cause) {
        let now = self.gate.clock.now();
        client.seen.refuse(cause.hint, now.wall);
        if is_mismatch(cause) {
            client.seen.mismatched.set(now.wall);
            client.seen.mismatches.fetch_add(1, Ordering::Relaxed);
        }
        self.drop(client.nas.name(), kind, from, cause, now.mono);
    }

    /// Counts a packet that gets no answer, and says why, once a minute for each router and cause.
    fn drop(&self, nas: &NasName, kind: &'static str, from: SocketAddr, cause: Cause, now: Duration) {
        self.gate.metrics.packet(nas, kind, cause.name);
        if let Some(held) = self.known.pass(&(nas.clone(), cause.name), now) {
            tracing::warn!(%nas, from = %from.ip(), kind, cause = cause.name, held, "RADIUS packet dropped: {}", cause.hint);
        }
    }

    /// The same for a datagram whose sender no `[[nas]]` knows.
    pub fn stranger(&self, from: SocketAddr) {
        let (cause, now) = (UNKNOWN_NAS, self.gate.clock.now().mono);
        self.gate.metrics.packet(&NasName::new("unknown"), "unknown", cause.name);
        if let Some(held) = self.strangers.pass(&from.ip(), now) {
            self.gate.strangers.note(from.ip(), self.gate.clock.now().wall);
            tracing::warn!(from = %from.ip(), cause = cause.name, held, "RADIUS packet dropped: {}", cause.hint);
        }
    }
}

/// Whether another secret, or another hand, has made the packet.
fn is_mismatch(cause: Cause) -> bool {
    [SECRET_MISMATCH, BAD_AUTHENTICATOR, NOT_RADSEC].contains(&cause)
}

/// What the lines about a request have in common, down to the calls upstream: the first half of its authenticator, by which it is
/// found in a capture too.
fn span(packet: &Packet<'_>) -> Span {
    let [first @ .., _, _, _, _, _, _, _, _] = *packet.authenticator();
    tracing::info_span!("request", id = format_args!("{:016x}", u64::from_be_bytes(first)))
}

/// A request that is being decided. Should that end without an answer, by a panic say, its repetition is decided anew.
struct Undecided<'r> {
    recent: &'r Mutex<Recent>,
    identity: Identity,
}

impl Drop for Undecided<'_> {
    fn drop(&mut self) {
        lock(self.recent).forget_undecided(&self.identity);
    }
}

const fn kind(code: u8) -> &'static str {
    match code {
        code::ACCESS_REQUEST => "access_request",
        code::ACCOUNTING_REQUEST => "accounting_request",
        code::STATUS_SERVER => "status_server",
        _ => "other",
    }
}

fn lock(recent: &Mutex<Recent>) -> MutexGuard<'_, Recent> {
    recent.lock().unwrap_or_else(PoisonError::into_inner)
}
