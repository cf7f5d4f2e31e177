//! Requests in the shape of RouterOS: the same attributes in the same order.

use std::net::Ipv4Addr;

use jiff::Timestamp;
use md5::{Digest, Md5};

use super::{Hotspot, HotspotError};
use crate::core::ident::Mac;
use crate::radius::attribute::{self as attr, StatusType, TerminateCause, code, mikrotik, wispr};
use crate::radius::packet::{Full, Packet, Request};

/// The router's own address (NAS-IP-Address), whatever address it sends from.
pub(in crate::sandbox) const NAS_ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 5, 0, 1);
/// The name of its hotspot server (Called-Station-Id).
pub(in crate::sandbox) const HOTSPOT_SERVER: &str = "guest-hs";
/// The interface the guests are on (NAS-Port-Id).
pub(in crate::sandbox) const INTERFACE: &str = "bridge-guest";
const LOGOFF_URL: &str = "http://10.5.88.1/logout";

/// What a guest has typed besides the user name, and how it travels.
#[derive(Clone, Copy)]
pub enum Password<'a> {
    /// As User-Password.
    Pap(&'a str),
    /// As CHAP-Password, with its CHAP-Challenge.
    Chap(&'a str),
    /// What the guest's browser has answered to a challenge; the router does not know the password.
    ChapResponse {
        /// The CHAP identifier.
        ident: u8,
        /// The challenge that the browser was given.
        challenge: &'a [u8; 16],
        /// MD5 of identifier, password and challenge.
        digest: &'a [u8; 16],
    },
}

/// A session as accounting reports it.
#[derive(Clone, Copy)]
pub struct Record<'a> {
    /// What has happened.
    pub status: StatusType,
    /// The name the session was opened with.
    pub user_name: &'a str,
    /// The device.
    pub mac: Mac,
    /// The Acct-Session-Id of the login: [`super::Answer::session_id`].
    pub session_id: &'a str,
    /// The Class of the Access-Accept.
    pub class: Option<&'a [u8]>,
    /// The address the device has; none: the one that [`Hotspot`] gives it.
    pub address: Option<Ipv4Addr>,
    /// When it happened.
    pub at: Timestamp,
    /// Seconds between the event and this record.
    pub delay: u32,
    /// Seconds online; not in a Start.
    pub seconds: u32,
    /// Octets from the client; not in a Start.
    pub input: u64,
    /// Octets to the client; not in a Start.
    pub output: u64,
    /// Why it ended; in a Stop.
    pub cause: Option<TerminateCause>,
}

impl<'a> Record<'a> {
    /// The record that opens a session.
    #[must_use]
    pub const fn start(user_name: &'a str, mac: Mac, session_id: &'a str, at: Timestamp) -> Self {
        Self {
            status: StatusType::Start,
            user_name,
            mac,
            session_id,
            class: None,
            address: None,
            at,
            delay: 0,
            seconds: 0,
            input: 0,
            output: 0,
            cause: None,
        }
    }
}

impl From<Full> for HotspotError {
    fn from(_: Full) -> Self {
        Self::TooLong
    }
}

impl Hotspot {
    /// The Access-Request of a login that is the next session, with the Message-Authenticator last.
    pub fn access_request(&self, user_name: &str, password: Password<'_>, mac: Mac) -> Result<Vec<u8>, HotspotError> {
        self.access_request_from(address_of(mac), user_name, password, mac)
    }

    /// As [`Hotspot::access_request`], for a device with another address.
    pub(in crate::sandbox) fn access_request_from(
        &self,
        address: Ipv4Addr,
        user_name: &str,
        password: Password<'_>,
        mac: Mac,
    ) -> Result<Vec<u8>, HotspotError> {
        let (authenticator, session) = (random()?, self.next_session());
        let mut buffer = [0; Packet::MAX];
        let mut request = Request::new(&mut buffer, code::ACCESS_REQUEST, self.next_identifier(), &authenticator);
        device(&mut request, mac)?;
        request.attribute(attr::USER_NAME, user_name.as_bytes())?;
        request.integer(attr::NAS_PORT, session)?;
        request.attribute(attr::ACCT_SESSION_ID, format!("{session:08x}").as_bytes())?;
        addresses(&mut request, address)?;
        match password {
            Password::Pap(password) => {
                let mut hidden = [0; 128];
                let hidden = self.secret.hide(password.as_bytes(), &authenticator, &mut hidden);
                request.attribute(attr::USER_PASSWORD, hidden.ok_or(HotspotError::TooLong)?)?;
            }
            Password::Chap(password) => {
                let challenge = random()?;
                let [ident, ..] = random()?;
                let digest = Md5::new().chain_update([ident]).chain_update(password).chain_update(challenge).finalize();
                chap(&mut request, ident, &challenge, digest.as_slice())?;
            }
            Password::ChapResponse { ident, challenge, digest } => chap(&mut request, ident, challenge, digest)?,
        }
        request.integer(attr::SERVICE_TYPE, attr::LOGIN_USER)?;
        request.vendor(wispr::VENDOR, wispr::LOGOFF_URL, LOGOFF_URL.as_bytes())?;
        request.attribute(attr::NAS_IDENTIFIER, self.name.as_bytes())?;
        request.attribute(attr::NAS_IP_ADDRESS, &NAS_ADDRESS.octets())?;
        request.message_authenticator()?;
        Ok(request.sign(&self.secret).to_vec())
    }

    /// The Accounting-Request of a record, without a Message-Authenticator. Accounting-On and -Off are of the router
    /// and name no session.
    pub fn accounting_request(&self, record: &Record<'_>) -> Result<Vec<u8>, HotspotError> {
        let mut buffer = [0; Packet::MAX];
        let mut request = Request::new(&mut buffer, code::ACCOUNTING_REQUEST, self.next_identifier(), &[0; 16]);
        request.integer(attr::ACCT_STATUS_TYPE, record.status.number())?;
        if !matches!(record.status, StatusType::AccountingOn | StatusType::AccountingOff) {
            session(&mut request, record)?;
        }
        if matches!(record.status, StatusType::InterimUpdate | StatusType::Stop) {
            counters(&mut request, record)?;
        }
        request.integer(attr::EVENT_TIMESTAMP, u32::try_from(record.at.as_second()).unwrap_or(0))?;
        request.attribute(attr::NAS_IDENTIFIER, self.name.as_bytes())?;
        request.integer(attr::ACCT_DELAY_TIME, record.delay)?;
        request.attribute(attr::NAS_IP_ADDRESS, &NAS_ADDRESS.octets())?;
        Ok(request.sign(&self.secret).to_vec())
    }

    /// A Status-Server (RFC 5997 §3).
    pub fn status_request(&self) -> Result<Vec<u8>, HotspotError> {
        let mut buffer = [0; Packet::MAX];
        let mut request = Request::new(&mut buffer, code::STATUS_SERVER, self.next_identifier(), &random()?);
        request.message_authenticator()?;
        request.attribute(attr::NAS_IDENTIFIER, self.name.as_bytes())?;
        Ok(request.sign(&self.secret).to_vec())
    }
}

fn chap(request: &mut Request<'_>, ident: u8, challenge: &[u8], digest: &[u8]) -> Result<(), Full> {
    request.attribute(attr::CHAP_CHALLENGE, challenge)?;
    request.attribute(attr::CHAP_PASSWORD, &[&[ident], digest].concat())
}

/// What accounting says of a session before anything is counted.
fn session(request: &mut Request<'_>, record: &Record<'_>) -> Result<(), Full> {
    device(request, record.mac)?;
    request.attribute(attr::USER_NAME, record.user_name.as_bytes())?;
    // the session's number is its name
    request.integer(attr::NAS_PORT, u32::from_str_radix(record.session_id, 16).unwrap_or(0))?;
    request.attribute(attr::ACCT_SESSION_ID, record.session_id.as_bytes())?;
    addresses(request, record.address.unwrap_or_else(|| address_of(record.mac)))?;
    record.class.map_or(Ok(()), |class| request.attribute(attr::CLASS, class))
}

fn counters(request: &mut Request<'_>, record: &Record<'_>) -> Result<(), Full> {
    if let Some(TerminateCause(cause)) = record.cause {
        request.integer(attr::ACCT_TERMINATE_CAUSE, cause)?;
    }
    request.integer(attr::ACCT_SESSION_TIME, record.seconds)?;
    for (octets, gigawords, packets, count) in [
        (attr::ACCT_INPUT_OCTETS, attr::ACCT_INPUT_GIGAWORDS, attr::ACCT_INPUT_PACKETS, record.input),
        (attr::ACCT_OUTPUT_OCTETS, attr::ACCT_OUTPUT_GIGAWORDS, attr::ACCT_OUTPUT_PACKETS, record.output),
    ] {
        let [a, b, c, d, low @ ..] = count.to_be_bytes();
        request.attribute(octets, &low)?;
        request.attribute(gigawords, &[a, b, c, d])?;
        request.integer(packets, u32::try_from(count.div_ceil(1000)).unwrap_or(u32::MAX))?;
    }
    Ok(())
}

fn device(request: &mut Request<'_>, mac: Mac) -> Result<(), Full> {
    request.integer(attr::NAS_PORT_TYPE, attr::WIRELESS_802_11)?;
    request.attribute(attr::CALLING_STATION_ID, mac.to_string().as_bytes())?;
    request.attribute(attr::CALLED_STATION_ID, HOTSPOT_SERVER.as_bytes())?;
    request.attribute(attr::NAS_PORT_ID, INTERFACE.as_bytes())
}

fn addresses(request: &mut Request<'_>, address: Ipv4Addr) -> Result<(), Full> {
    request.attribute(attr::FRAMED_IP_ADDRESS, &address.octets())?;
    request.vendor(mikrotik::VENDOR, mikrotik::HOST_IP, &address.octets())
}

/// The address that the router's DHCP server gives a device: one of 10.5.88.0/24, but not the router's.
pub(in crate::sandbox) fn address_of(mac: Mac) -> Ipv4Addr {
    let [.., last] = mac.octets();
    Ipv4Addr::new(10, 5, 88, last.clamp(2, 254))
}

fn random() -> Result<[u8; 16], getrandom::Error> {
    let mut octets = [0; 16];
    getrandom::fill(&mut octets)?;
    Ok(octets)
}
