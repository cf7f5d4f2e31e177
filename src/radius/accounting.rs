//! Accounting-Request to what it says of a session (RFC 2866), and its answer.

use std::net::IpAddr;
use std::time::Duration;

use jiff::Timestamp;

use crate::core::budget::Seconds;
use crate::core::event::{News, Progress};
use crate::core::ident::{Mac, SessionId, TokenId};
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
#[expect(clippy::large_enum_variant, reason = "nearly every one is of a session, and lives as long as its packet")]
pub enum Record<'a> {
    /// Accounting-On or -Off: every session that this router had is over.
    Restart {
        /// When it began anew.
        at: Timestamp,
    },
    /// News of a session; the login is what it would have been admitted by.
    Session {
        /// Who, and where.
        login: Login<'a>,
        /// How far it is.
        progress: Progress,
    },
    /// A status type that means nothing here (tunnels, failed).
    Other,
}

/// The attributes of an Accounting-Request, by whichever door it came; what it lacks is 0 or nothing.
#[derive(Clone, Copy, Debug)]
pub struct Said<'a> {
    /// Acct-Status-Type; none: one that means nothing here.
    pub status: Option<StatusType>,
    /// Acct-Delay-Time, in seconds.
    pub delay: u32,
    /// Acct-Session-Id.
    pub nas_session: Option<&'a str>,
    /// User-Name.
    pub user_name: &'a [u8],
    /// Calling-Station-Id.
    pub device: Option<Mac>,
    /// Framed-IP-Address or Framed-IPv6-Address.
    pub ip: Option<IpAddr>,
    /// Acct-Session-Time, in seconds.
    pub seconds: u32,
    /// Octets from the device, gigawords included.
    pub input_octets: u64,
    /// Octets to the device, gigawords included.
    pub output_octets: u64,
    /// The first Class that is ours.
    pub session: Option<(SessionId, TokenId)>,
}

impl<'a> Said<'a> {
    /// What it says, from `router`, received at `now`. `None`: it does not name the session that it speaks of.
    #[must_use]
    pub fn record(self, router: Option<IpAddr>, now: Timestamp) -> Option<Record<'a>> {
        let at = now.saturating_sub(Duration::from_secs(self.delay.min(MAX_DELAY).into())).unwrap_or(now);
        let news = match self.status {
            Some(StatusType::Start) => News::Start,
            Some(StatusType::InterimUpdate) => News::Interim,
            Some(StatusType::Stop) => News::Stop,
            Some(StatusType::AccountingOn | StatusType::AccountingOff) => return Some(Record::Restart { at }),
            None => return Some(Record::Other),
        };
        let Self { user_name, device, .. } = self;
        let claim = match device {
            Some(mac) if Mac::parse(user_name) == Ok(mac) => Some(Claim::Device(mac)),
            _ => auth::code(user_name).ok(),
        };
        let report = Report {
            at,
            seconds: Seconds(self.seconds.into()),
            input_octets: self.input_octets,
            output_octets: self.output_octets,
        };
        let login = Login {
            // A session whose User-Name is no code can still be known by its Class or its name.
            claim: claim.or(device.map(Claim::Device))?,
            typed: user_name,
            proof: Proof::NotAsked,
            device,
            ip: self.ip,
            router,
            nas_session: Some(self.nas_session?),
        };
        Some(Record::Session { login, progress: Progress { session: self.session, news, report, unmeasured: false } })
    }
}

/// Reads an authentic Accounting-Request that came from `router` at `now`. `None`: it breaks RFC 2866 §4.1.
#[must_use]
pub fn record<'a>(packet: &Packet<'a>, router: IpAddr, now: Timestamp) -> Option<Record<'a>> {
    let number = |kind| packet.first(kind).and_then(a::integer);
    let octets =
        |low, high| (u64::from(number(high).unwrap_or_default()) << 32) | u64::from(number(low).unwrap_or_default());
    let said = Said {
        status: StatusType::from_number(number(a::ACCT_STATUS_TYPE)?),
        delay: number(a::ACCT_DELAY_TIME).unwrap_or_default(),
        nas_session: packet.first(a::ACCT_SESSION_ID).and_then(a::text),
        user_name: packet.first(a::USER_NAME).unwrap_or_default(),
        device: packet.first(a::CALLING_STATION_ID).and_then(|mac| Mac::parse(mac).ok()),
        ip: framed_ip(packet),
        seconds: number(a::ACCT_SESSION_TIME).unwrap_or_default(),
        input_octets: octets(a::ACCT_INPUT_OCTETS, a::ACCT_INPUT_GIGAWORDS),
        output_octets: octets(a::ACCT_OUTPUT_OCTETS, a::ACCT_OUTPUT_GIGAWORDS),
        session: packet.all(a::CLASS).find_map(session_of),
    };
    said.record(Some(router), now)
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
