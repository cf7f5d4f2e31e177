//! Access-Request to login, decision to Access-Accept or Access-Reject.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::config::{Bandwidth, CodeIn};
use crate::core::budget::Seconds;
use crate::core::decide::Grant;
use crate::core::ident::{Code, Mac, SessionId, TokenId};
use crate::core::login::{Claim, Login, Proof};
use crate::core::policy::Policy;
use crate::radius::attribute as a;
use crate::radius::clients::Client;
use crate::radius::packet::{Full, Packet, Reply};
use crate::radius::secret::MAX_PASSWORD;

/// What our Class begins with, so that it is told from a foreign one; session and token follow.
const CLASS_MARK: &[u8; 4] = b"sg1:";

/// An Access-Request that is no login.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unreadable {
    /// A sound packet without a code or MAC that can be read: rejected as `malformed`.
    Rejected,
    /// A packet that breaks RFC 2865 §4.1 or §5: dropped, for this cause.
    Broken(&'static str),
}

/// Reads the login out of an authentic Access-Request. `password` is where a hidden password is unveiled.
pub fn login<'a>(
    packet: &Packet<'a>,
    client: &Client,
    router: IpAddr,
    password: &'a mut [u8; MAX_PASSWORD],
) -> Result<Login<'a>, Unreadable> {
    let user_name = packet.first(a::USER_NAME).unwrap_or_default();
    let device = packet.first(a::CALLING_STATION_ID).and_then(|mac| Mac::parse(mac).ok());
    let proof = proof(packet, client, password)?;
    let (claim, typed, proof) = claim(client.nas.code_in, user_name, device, proof)?;
    let nas_session = packet.first(a::ACCT_SESSION_ID).and_then(a::text);
    Ok(Login { claim, typed, proof, device, ip: framed_ip(packet), router: Some(router), nas_session })
}

/// What this name and this proof claim, what was typed for that, and what proves it.
pub fn claim<'a>(
    code_in: CodeIn,
    user_name: &'a [u8],
    device: Option<Mac>,
    proof: Proof<'a>,
) -> Result<(Claim, &'a [u8], Proof<'a>), Unreadable> {
    match device {
        Some(mac) if Mac::parse(user_name) == Ok(mac) && !holds_code(code_in, proof, mac) => {
            Ok((Claim::Device(mac), user_name, proof))
        }
        _ => match (code_in, proof) {
            (CodeIn::Username, proof) => Ok((code(user_name)?, user_name, proof)),
            (CodeIn::Password, Proof::Password(given)) => Ok((code(given)?, given, Proof::NotAsked)),
            (CodeIn::Password, _) => Err(Unreadable::Rejected),
        },
    }
}

/// Whether the password of what looks like a MAC login is a code: where codes stand there, and it is not the MAC.
fn holds_code(code_in: CodeIn, proof: Proof<'_>, mac: Mac) -> bool {
    let Proof::Password(given) = proof else { return false };
    code_in == CodeIn::Password && !given.is_empty() && Mac::parse(given) != Ok(mac)
}

pub(super) fn code(octets: &[u8]) -> Result<Claim, Unreadable> {
    let text = a::text(octets).ok_or(Unreadable::Rejected)?;
    Code::parse(text).map(Claim::Code).map_err(|_| Unreadable::Rejected)
}

/// PAP or CHAP, not both (RFC 2865 §4.1); neither counts as an empty password. EAP and MS-CHAP prove something that is not
/// understood here, so they are never taken for an empty password.
fn proof<'a>(
    packet: &Packet<'a>,
    client: &Client,
    password: &'a mut [u8; MAX_PASSWORD],
) -> Result<Proof<'a>, Unreadable> {
    let foreign = packet.first(a::EAP_MESSAGE).is_some()
        || packet
            .vendor(a::microsoft::VENDOR)
            .any(|(kind, _)| matches!(kind, a::microsoft::CHAP_RESPONSE | a::microsoft::CHAP2_RESPONSE));
    match (packet.first(a::USER_PASSWORD), packet.first(a::CHAP_PASSWORD)) {
        (Some(_), Some(_)) => Err(Unreadable::Broken("both_passwords")),
        (Some(hidden), None) => client
            .secret
            .unhide(hidden, packet.authenticator(), password)
            .map(Proof::Password)
            .ok_or(Unreadable::Broken("password_length")),
        (None, Some(response)) => {
            let (ident, digest) = response.split_first().ok_or(Unreadable::Broken("chap_length"))?;
            let digest = digest.try_into().map_err(|_| Unreadable::Broken("chap_length"))?;
            let challenge = packet.first(a::CHAP_CHALLENGE).unwrap_or(packet.authenticator());
            Ok(Proof::Chap { ident: *ident, digest, challenge })
        }
        (None, None) if foreign => Err(Unreadable::Rejected),
        (None, None) => Ok(Proof::Password(b"")),
    }
}

/// The device's address.
pub(super) fn framed_ip(packet: &Packet<'_>) -> Option<IpAddr> {
    let v4 = packet.first(a::FRAMED_IP_ADDRESS).and_then(a::ipv4);
    device_ip(v4, packet.first(a::FRAMED_IPV6_ADDRESS).and_then(a::ipv6))
}

/// The address of a device, out of those that are said; one that it gave itself (169.254/16, fe80::/10) says nothing
/// (facts/hotspot.md §8, 7).
#[must_use]
pub fn device_ip(v4: Option<Ipv4Addr>, v6: Option<Ipv6Addr>) -> Option<IpAddr> {
    let v4 = v4.filter(|ip| !ip.is_link_local() && *ip != Ipv4Addr::UNSPECIFIED && *ip != Ipv4Addr::BROADCAST);
    let v6 = v6.filter(|ip| !ip.is_unicast_link_local() && !ip.is_unspecified());
    v4.map(IpAddr::V4).or_else(|| v6.map(IpAddr::V6))
}

/// Writes an Access-Accept: exactly the attributes of the contract, in its order.
pub fn accept<'b>(
    buffer: &'b mut [u8; Packet::MAX],
    request: &Packet<'_>,
    client: &Client,
    grant: &Grant,
    session: Option<SessionId>,
    policy: &Policy,
) -> Result<&'b [u8], Full> {
    let mut reply = Reply::new(buffer, a::code::ACCESS_ACCEPT, request.identifier());
    reply.integer(a::SESSION_TIMEOUT, number(grant.session_timeout))?;
    if let Some(idle) = policy.idle_timeout {
        reply.integer(a::IDLE_TIMEOUT, number(idle))?;
    }
    reply.integer(a::ACCT_INTERIM_INTERVAL, number(policy.interim_interval))?;
    reply.integer(a::PORT_LIMIT, grant.view.user_limit.saturating_add(1))?;
    if let Some(session) = session {
        reply.attribute(a::CLASS, &class(session, grant.view.token))?;
    }
    if let Some(Bandwidth { up, down }) = client.nas.wispr {
        reply.vendor(a::wispr::VENDOR, a::wispr::BANDWIDTH_MAX_UP, &up.to_be_bytes())?;
        reply.vendor(a::wispr::VENDOR, a::wispr::BANDWIDTH_MAX_DOWN, &down.to_be_bytes())?;
    } else if let Some(rate) = &client.nas.rate_limit {
        reply.vendor(a::mikrotik::VENDOR, a::mikrotik::RATE_LIMIT, rate.as_bytes())?;
    }
    if let Some(group) = &client.nas.group {
        reply.vendor(a::mikrotik::VENDOR, a::mikrotik::GROUP, group.as_bytes())?;
    }
    proxy_state(&mut reply, request)?;
    Ok(reply.sign(&client.secret, request.authenticator()))
}

/// Writes an Access-Reject with its sentence for the guest.
pub fn reject<'b>(
    buffer: &'b mut [u8; Packet::MAX],
    request: &Packet<'_>,
    client: &Client,
    message: &str,
) -> Result<&'b [u8], Full> {
    let mut reply = Reply::new(buffer, a::code::ACCESS_REJECT, request.identifier());
    reply.attribute(a::REPLY_MESSAGE, message.as_bytes())?;
    proxy_state(&mut reply, request)?;
    Ok(reply.sign(&client.secret, request.authenticator()))
}

/// Writes the answer to Status-Server: Access-Accept or Accounting-Response, signed (RFC 5997 §3).
pub fn alive<'b>(
    buffer: &'b mut [u8; Packet::MAX],
    code: u8,
    request: &Packet<'_>,
    client: &Client,
) -> Result<&'b [u8], Full> {
    let mut reply = Reply::new(buffer, code, request.identifier());
    proxy_state(&mut reply, request)?;
    Ok(reply.sign(&client.secret, request.authenticator()))
}

/// Writes the answer to an order, which nobody gives here: the NAK of its kind, with the cause "Unsupported Extension"
/// (RFC 6614 §2.5).
pub fn no_orders<'b>(
    buffer: &'b mut [u8; Packet::MAX],
    request: &Packet<'_>,
    client: &Client,
) -> Result<&'b [u8], Full> {
    let nak = if request.code() == a::code::COA_REQUEST { a::code::COA_NAK } else { a::code::DISCONNECT_NAK };
    let mut reply = Reply::new(buffer, nak, request.identifier());
    reply.integer(a::ERROR_CAUSE, a::ErrorCause::UNSUPPORTED_EXTENSION.0)?;
    proxy_state(&mut reply, request)?;
    Ok(reply.sign(&client.secret, request.authenticator()))
}

/// Every Proxy-State, unchanged and in order (RFC 2865 §5.33).
pub(super) fn proxy_state(reply: &mut Reply<'_>, request: &Packet<'_>) -> Result<(), Full> {
    request.all(a::PROXY_STATE).try_for_each(|state| reply.attribute(a::PROXY_STATE, state))
}

/// The Class by which accounting finds its session: mark, session and token, 28 octets.
#[must_use]
pub fn class(session: SessionId, token: TokenId) -> [u8; 28] {
    let mut class = [0; 28];
    let (mark, rest) = class.split_at_mut(CLASS_MARK.len());
    let (id, of) = rest.split_at_mut(16);
    mark.copy_from_slice(CLASS_MARK);
    id.copy_from_slice(&session.octets());
    of.copy_from_slice(&token.0.to_be_bytes());
    class
}

/// The session of a Class and its token, if it is one of ours.
#[must_use]
pub fn session_of(class: &[u8]) -> Option<(SessionId, TokenId)> {
    let (id, token) = class.strip_prefix(CLASS_MARK)?.split_first_chunk::<16>()?;
    let token = i64::from_be_bytes(token.try_into().ok()?);
    Some((SessionId::from_octets(*id), TokenId(token)))
}

fn number(seconds: Seconds) -> u32 {
    u32::try_from(seconds.0).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests;
