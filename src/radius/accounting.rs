//! Accounting-Request to what it says of a session (RFC 2866), and its answer.

use std::net::IpAddr;
use std::time::Duration;

use jiff::Timestamp;

use crate::core::budget::Seconds;
use crate::core::event::{News, Progress};
use crate::core::ident::Mac;
use crate::core::login::{Claim, Login, Proof};
use crate::core::session::Report;
use crate::radius::attribute::{self as a, StatusType, code};
use crate::radius::auth::{self, framed_ip, proxy_state, session_of};
use crate::radius::clients::Client;
use crate::radius::packet::{Full, Packet, Reply};

/// The longest Acct-Delay-Time that is believed: a router that kept a record longer has lost its clock.
const MAX_DELAY: u32 = 86_400;

/// What an Accounting-Request says.
#[derive(Debug)]
pub enum Record<'a> {
    /// Accounting-On or -Off: every session that this router had is over.
    Restart {
        /// When it began anew.
        at: Timestamp,
    },
    /// News of a session; the login is what it would have been admitted by.
    Session {
        /// Who, and where.
        login: Box<Login<'a>>,
        /// How far it is.
        progress: Progress,
    },
    /// A status type that means nothing here (tunnels, failed).
    Other,
}

/// Reads an authentic Accounting-Request that came from `router` at `now`. `None`: it breaks RFC 2866 §4.1.
#[must_use]
pub fn record<'a>(packet: &Packet<'a>, router: IpAddr, now: Timestamp) -> Option<Record<'a>> {
    let number = |kind| packet.first(kind).and_then(a::integer);
    let delay = number(a::ACCT_DELAY_TIME).unwrap_or_default().min(MAX_DELAY);
    let at = now.saturating_sub(Duration::from_secs(delay.into())).unwrap_or(now);
    let status = StatusType::from_number(number(a::ACCT_STATUS_TYPE)?);
    let news = match status {
        Some(StatusType::Start) => News::Start,
        Some(StatusType::InterimUpdate) => News::Interim,
        Some(StatusType::Stop) => News::Stop,
        Some(StatusType::AccountingOn | StatusType::AccountingOff) => return Some(Record::Restart { at }),
        None => return Some(Record::Other),
    };
    let nas_session = packet.first(a::ACCT_SESSION_ID).and_then(a::text)?;
    let user_name = packet.first(a::USER_NAME).unwrap_or_default();
    let device = packet.first(a::CALLING_STATION_ID).and_then(|mac| Mac::parse(mac).ok());
    let claim = match device {
        Some(mac) if Mac::parse(user_name) == Ok(mac) => Some(Claim::Device(mac)),
        _ => auth::code(user_name).ok(),
    };
    let octets =
        |low, high| (u64::from(number(high).unwrap_or_default()) << 32) | u64::from(number(low).unwrap_or_default());
    let report = Report {
        at,
        seconds: Seconds(number(a::ACCT_SESSION_TIME).unwrap_or_default().into()),
        input_octets: octets(a::ACCT_INPUT_OCTETS, a::ACCT_INPUT_GIGAWORDS),
        output_octets: octets(a::ACCT_OUTPUT_OCTETS, a::ACCT_OUTPUT_GIGAWORDS),
    };
    let session = packet.all(a::CLASS).find_map(session_of);
    let login = Login {
        // A session whose User-Name is no code can still be known by its Class or its name.
        claim: claim.or(device.map(Claim::Device))?,
        typed: user_name,
        proof: Proof::NotAsked,
        device,
        ip: framed_ip(packet),
        router: Some(router),
        nas_session: Some(nas_session),
    };
    Some(Record::Session { login: Box::new(login), progress: Progress { session, news, report } })
}

/// Writes an Accounting-Response (RFC 2866 §4.2). It carries no Message-Authenticator: no RFC says over which
/// authenticator one would be made here, RouterOS sends none in accounting (facts/hotspot.md §4), and radclient 3.2.1 and
/// pyrad 2.6.0 refuse one that is made as in Access-Accept.
pub fn response<'b>(
    buffer: &'b mut [u8; Packet::MAX],
    request: &Packet<'_>,
    client: &Client,
) -> Result<&'b [u8], Full> {
    let mut reply = Reply::bare(buffer, code::ACCOUNTING_RESPONSE, request.identifier());
    proxy_state(&mut reply, request)?;
    Ok(reply.sign(&client.secret, request.authenticator()))
}
