//! The port on which the router takes orders (RFC 5176; `/radius incoming` on RouterOS).

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::net::UdpSocket;

use super::guests::Guest;
use super::{Shared, State};
use crate::config::DisconnectStyle;
use crate::core::ident::Mac;
use crate::radius::attribute::{self as attr, ErrorCause, TerminateCause, code, mikrotik};
use crate::radius::packet::{Attribute, Packet, Reply};
use crate::radius::recent::{Identity, Seen};
use crate::radius::secret::MessageAuthenticator;
use crate::sandbox::hotspot::NAS_ADDRESS;

/// How long an answer is kept for repetitions of its request (RFC 5080 §2.2.2).
pub(super) const ANSWERS_KEPT_FOR: Duration = Duration::from_secs(30);
/// How many answers are kept.
pub(super) const ANSWERS_KEPT: usize = 1024;

const MISSING_ATTRIBUTE: ErrorCause = ErrorCause(402);
const NAS_IDENTIFICATION_MISMATCH: ErrorCause = ErrorCause(403);
const INVALID_ATTRIBUTE_VALUE: ErrorCause = ErrorCause(407);
const MULTIPLE_SESSIONS: ErrorCause = ErrorCause(508);

/// A datagram that came to the incoming port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Heard {
    /// When it came.
    pub at: Timestamp,
    /// Whence.
    pub from: SocketAddr,
    /// Its code, a Disconnect-Request's as a rule; none: it is no packet.
    pub code: Option<u8>,
    /// The numbers of its attributes, in order.
    pub kinds: Vec<u8>,
    /// The Acct-Session-Id it names.
    pub session_id: Option<String>,
    /// What the router did.
    pub reaction: Reaction,
}

/// What the router did with a datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reaction {
    /// Did as told and said so.
    Acknowledged,
    /// Dropped it: no packet, no order, or not from a holder of the secret.
    Bad,
    /// Said nothing, by [`super::Quirks::deaf`].
    Deaf,
    /// Never got it, by [`super::Quirks::lose_disconnects`].
    Lost,
    /// Did nothing and said why.
    Refused(ErrorCause),
    /// Sent the answer that it had given to the same request before.
    Repeated,
}

/// What RouterOS counts (`/radius incoming monitor`). Nothing that a quirk keeps from the router is counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Authentic Disconnect- and CoA-Requests, repetitions included.
    pub requests: u64,
    /// What was dropped: no packet, no order, or not from a holder of the secret.
    pub bad_requests: u64,
    /// Sent ACKs, repetitions included.
    pub acks: u64,
    /// Sent NAKs, repetitions included.
    pub naks: u64,
}

/// Answers what comes, until the router is gone.
pub(super) async fn listen(shared: Arc<Shared>, socket: UdpSocket) {
    let mut buffer = vec![0; Packet::MAX];
    while let Some(received) = shared.stop.run_until_cancelled(socket.recv_from(&mut buffer)).await {
        let Ok((length, from)) = received else {
            // whatever it is, it shall not spin
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        if let Some(answer) = shared.hear(buffer.get(..length).unwrap_or_default(), from) {
            // an answer that cannot be sent is lost: it will be asked for again
            let _ = socket.send_to(&answer, from).await;
        }
    }
}

impl Shared {
    /// Takes a datagram from the incoming port, and gives the answer. Without power nothing is heard.
    fn hear(&self, datagram: &[u8], from: SocketAddr) -> Option<Vec<u8>> {
        let mut state = self.state();
        state.power.as_ref()?;
        let packet = Packet::parse(datagram).ok();
        let (reaction, answer) = match &packet {
            Some(packet) => self.react(&mut state, packet, from),
            None => (Reaction::Bad, None),
        };
        state.incoming.count(reaction, answer.as_deref());
        let id = packet.as_ref().and_then(|packet| packet.first(attr::ACCT_SESSION_ID));
        state.note_heard(Heard {
            at: self.clock.now().wall,
            from,
            code: packet.as_ref().map(Packet::code),
            kinds: packet.iter().flat_map(Packet::attributes).map(|Attribute { kind, .. }| kind).collect(),
            session_id: id.map(|id| String::from_utf8_lossy(id).into_owned()),
            reaction,
        });
        answer
    }

    fn react(&self, state: &mut State, packet: &Packet<'_>, from: SocketAddr) -> (Reaction, Option<Vec<u8>>) {
        let quirks = &mut state.quirks;
        if packet.code() == code::DISCONNECT_REQUEST && quirks.lose_disconnects > 0 {
            quirks.lose_disconnects -= 1;
            return (Reaction::Lost, None);
        }
        if quirks.deaf {
            return (Reaction::Deaf, None);
        }
        if !matches!(packet.code(), code::DISCONNECT_REQUEST | code::COA_REQUEST) || !self.authentic(packet) {
            return (Reaction::Bad, None);
        }
        let now = self.now();
        if let Seen::Answered(answer) = state.recent.see(from, packet, now) {
            return (Reaction::Repeated, Some(answer.to_vec()));
        }
        let verdict = self.obey(state, packet, now);
        let answer = self.answer(packet, verdict.err());
        state.recent.answered(&Identity::of(from, packet), &answer, now);
        (verdict.map_or_else(Reaction::Refused, |()| Reaction::Acknowledged), Some(answer))
    }

    /// The authenticator shows the secret; a Message-Authenticator, which need not be there, must be right.
    fn authentic(&self, packet: &Packet<'_>) -> bool {
        let secret = self.hotspot.secret();
        secret.check_request_authenticator(packet)
            && secret.check_message_authenticator(packet) != MessageAuthenticator::Bad
    }

    /// Does what is asked, wholly or not at all.
    fn obey(&self, state: &mut State, packet: &Packet<'_>, now: Duration) -> Result<(), ErrorCause> {
        if let Some(cause) = state.quirks.refuse {
            return Err(cause);
        }
        let mac = self.identify(state, packet)?;
        if packet.code() == code::COA_REQUEST {
            state.guests.get_mut(mac).map_or(Ok(()), |guest| change(guest, packet, now))?;
            self.changed.send_replace(());
        } else if !state.quirks.keep_disconnected {
            self.end(state, mac, TerminateCause::ADMIN_RESET);
        }
        Ok(())
    }

    /// Whose session is meant. All that the request says of it must be true.
    fn identify(&self, state: &State, packet: &Packet<'_>) -> Result<Mac, ErrorCause> {
        let text = |kind| packet.first(kind);
        let (name, id) = (text(attr::USER_NAME), text(attr::ACCT_SESSION_ID));
        let address = packet.first(attr::FRAMED_IP_ADDRESS);
        let address = address.map(|value| attr::ipv4(value).ok_or(INVALID_ATTRIBUTE_VALUE)).transpose()?;
        let device = packet.first(attr::CALLING_STATION_ID).filter(|_| self.style == DisconnectStyle::Rfc5176);
        let device = device.map(|value| Mac::parse(value).map_err(|_| INVALID_ATTRIBUTE_VALUE)).transpose()?;
        match self.style {
            DisconnectStyle::Mikrotik if address.is_none() || name.or(id).is_none() => return Err(MISSING_ATTRIBUTE),
            DisconnectStyle::Rfc5176 => {
                if name.or(id).is_none() && address.is_none() && device.is_none() {
                    return Err(MISSING_ATTRIBUTE);
                }
                self.is_meant(packet)?;
            }
            DisconnectStyle::Mikrotik => {}
        }
        let mut matching = state.guests.iter().filter(|guest| {
            name.is_none_or(|name| name == guest.user_name.as_bytes())
                && id.is_none_or(|id| id == guest.session_id.as_bytes())
                && address.is_none_or(|address| address == guest.address)
                && device.is_none_or(|device| device == guest.mac)
        });
        let guest = matching.next().ok_or(ErrorCause::SESSION_CONTEXT_NOT_FOUND)?;
        matching.next().map_or(Ok(guest.mac), |_| Err(MULTIPLE_SESSIONS))
    }

    /// Whether the request is for this router and no other (RFC 5176 §3).
    fn is_meant(&self, packet: &Packet<'_>) -> Result<(), ErrorCause> {
        let name = packet.first(attr::NAS_IDENTIFIER).is_none_or(|name| name == self.hotspot.name().as_bytes());
        let address = packet.first(attr::NAS_IP_ADDRESS).is_none_or(|address| address == NAS_ADDRESS.octets());
        if name && address { Ok(()) } else { Err(NAS_IDENTIFICATION_MISMATCH) }
    }

    /// ACK, or NAK with its cause; with the Proxy-States of the request, without a Message-Authenticator.
    fn answer(&self, packet: &Packet<'_>, refusal: Option<ErrorCause>) -> Vec<u8> {
        let code = match (packet.code(), refusal) {
            (code::COA_REQUEST, None) => code::COA_ACK,
            (code::COA_REQUEST, Some(_)) => code::COA_NAK,
            (_, None) => code::DISCONNECT_ACK,
            (_, Some(_)) => code::DISCONNECT_NAK,
        };
        let mut buffer = [0; Packet::MAX];
        let mut reply = Reply::bare(&mut buffer, code, packet.identifier());
        if let Some(ErrorCause(cause)) = refusal {
            // an empty packet has room for six octets
            let _ = reply.integer(attr::ERROR_CAUSE, cause);
        }
        for state in packet.all(attr::PROXY_STATE) {
            // they came in one packet, and there is hardly more in this one
            let _ = reply.attribute(attr::PROXY_STATE, state);
        }
        reply.sign(self.hotspot.secret(), packet.authenticator()).to_vec()
    }
}

/// Applies a CoA-Request. Of what RouterOS can change, the timers have an effect here; the rest is taken and forgotten.
fn change(guest: &mut Guest, packet: &Packet<'_>, now: Duration) -> Result<(), ErrorCause> {
    let seconds =
        |kind| packet.first(kind).map(|value| attr::integer(value).ok_or(INVALID_ATTRIBUTE_VALUE)).transpose();
    let (session, idle) = (seconds(attr::SESSION_TIMEOUT)?, seconds(attr::IDLE_TIMEOUT)?);
    let others = [attr::PORT_LIMIT, attr::FILTER_ID].into_iter().any(|kind| packet.first(kind).is_some());
    if session.is_none() && idle.is_none() && !others && packet.vendor(mikrotik::VENDOR).next().is_none() {
        return Err(MISSING_ATTRIBUTE);
    }
    if let Some(seconds) = session {
        guest.limit(seconds, now);
    }
    guest.idle_timeout = idle.or(guest.idle_timeout);
    Ok(())
}

impl Counts {
    fn count(&mut self, reaction: Reaction, answer: Option<&[u8]>) {
        match reaction {
            Reaction::Deaf | Reaction::Lost => {}
            Reaction::Bad => self.bad_requests += 1,
            Reaction::Acknowledged | Reaction::Refused(_) | Reaction::Repeated => self.requests += 1,
        }
        match answer.and_then(<[u8]>::first) {
            Some(&(code::DISCONNECT_ACK | code::COA_ACK)) => self.acks += 1,
            Some(_) => self.naks += 1,
            None => {}
        }
    }
}
