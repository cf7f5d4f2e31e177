//! Numbers of the RADIUS world that spotgate meets, and readers for the values behind them.
//!
//! Sections are those of the RFC that defines the attribute; 2865 where none is named.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};

use super::packet::Packet;

/// User-Name (§5.1): text.
pub const USER_NAME: u8 = 1;
/// User-Password (§5.2): hidden, 16 to 128 octets.
pub const USER_PASSWORD: u8 = 2;
/// CHAP-Password (§5.3): the CHAP identifier and 16 octets of digest.
pub const CHAP_PASSWORD: u8 = 3;
/// NAS-IP-Address (§5.4).
pub const NAS_IP_ADDRESS: u8 = 4;
/// NAS-Port (§5.5): integer.
pub const NAS_PORT: u8 = 5;
/// Service-Type (§5.6): integer; 1 is Login-User.
pub const SERVICE_TYPE: u8 = 6;
/// Framed-IP-Address (§5.8).
pub const FRAMED_IP_ADDRESS: u8 = 8;
/// Filter-Id (§5.11): text.
pub const FILTER_ID: u8 = 11;
/// Reply-Message (§5.18): text, shown to the guest.
pub const REPLY_MESSAGE: u8 = 18;
/// State (§5.24): opaque.
pub const STATE: u8 = 24;
/// Class (§5.25): opaque, comes back in accounting.
pub const CLASS: u8 = 25;
/// Vendor-Specific (§5.26).
pub const VENDOR_SPECIFIC: u8 = 26;
/// Session-Timeout (§5.27): seconds.
pub const SESSION_TIMEOUT: u8 = 27;
/// Idle-Timeout (§5.28): seconds.
pub const IDLE_TIMEOUT: u8 = 28;
/// Called-Station-Id (§5.30): text; the name of the hotspot server on RouterOS.
pub const CALLED_STATION_ID: u8 = 30;
/// Calling-Station-Id (§5.31): text; the client's MAC address.
pub const CALLING_STATION_ID: u8 = 31;
/// NAS-Identifier (§5.32): text.
pub const NAS_IDENTIFIER: u8 = 32;
/// Proxy-State (§5.33): opaque, copied into the reply unchanged and in order.
pub const PROXY_STATE: u8 = 33;
/// Acct-Status-Type (RFC 2866 §5.1): see [`StatusType`].
pub const ACCT_STATUS_TYPE: u8 = 40;
/// Acct-Delay-Time (RFC 2866 §5.2): seconds since the event.
pub const ACCT_DELAY_TIME: u8 = 41;
/// Acct-Input-Octets (RFC 2866 §5.3): low 32 bits.
pub const ACCT_INPUT_OCTETS: u8 = 42;
/// Acct-Output-Octets (RFC 2866 §5.4): low 32 bits.
pub const ACCT_OUTPUT_OCTETS: u8 = 43;
/// Acct-Session-Id (RFC 2866 §5.5): text, the NAS's own name of the session.
pub const ACCT_SESSION_ID: u8 = 44;
/// Acct-Authentic (RFC 2866 §5.6): integer.
pub const ACCT_AUTHENTIC: u8 = 45;
/// Acct-Session-Time (RFC 2866 §5.7): seconds.
pub const ACCT_SESSION_TIME: u8 = 46;
/// Acct-Input-Packets (RFC 2866 §5.8).
pub const ACCT_INPUT_PACKETS: u8 = 47;
/// Acct-Output-Packets (RFC 2866 §5.9).
pub const ACCT_OUTPUT_PACKETS: u8 = 48;
/// Acct-Terminate-Cause (RFC 2866 §5.10): see [`TerminateCause`].
pub const ACCT_TERMINATE_CAUSE: u8 = 49;
/// Acct-Multi-Session-Id (RFC 2866 §5.11): text.
pub const ACCT_MULTI_SESSION_ID: u8 = 50;
/// Acct-Input-Gigawords (RFC 2869 §5.1): high 32 bits of the octets.
pub const ACCT_INPUT_GIGAWORDS: u8 = 52;
/// Acct-Output-Gigawords (RFC 2869 §5.2): high 32 bits of the octets.
pub const ACCT_OUTPUT_GIGAWORDS: u8 = 53;
/// Event-Timestamp (RFC 2869 §5.3): seconds since 1970, UTC.
pub const EVENT_TIMESTAMP: u8 = 55;
/// CHAP-Challenge (§5.40): the challenge, where it is not the Request Authenticator.
pub const CHAP_CHALLENGE: u8 = 60;
/// NAS-Port-Type (§5.41): integer; 19 is Wireless-802.11, 15 Ethernet.
pub const NAS_PORT_TYPE: u8 = 61;
/// Port-Limit (§5.42): simultaneous logins of one user name.
pub const PORT_LIMIT: u8 = 62;
/// Connect-Info (RFC 2869 §5.11): text.
pub const CONNECT_INFO: u8 = 77;
/// EAP-Message (RFC 2869 §5.13); spotgate only recognises it.
pub const EAP_MESSAGE: u8 = 79;
/// Message-Authenticator (RFC 2869 §5.14): 16 octets of HMAC-MD5.
pub const MESSAGE_AUTHENTICATOR: u8 = 80;
/// Acct-Interim-Interval (RFC 2869 §5.16): seconds, at least 60.
pub const ACCT_INTERIM_INTERVAL: u8 = 85;
/// NAS-Port-Id (RFC 2869 §5.17): text; the interface.
pub const NAS_PORT_ID: u8 = 87;
/// Framed-Pool (RFC 2869 §5.18): text.
pub const FRAMED_POOL: u8 = 88;
/// NAS-IPv6-Address (RFC 3162 §2.1).
pub const NAS_IPV6_ADDRESS: u8 = 95;
/// Framed-IPv6-Prefix (RFC 3162 §2.3).
pub const FRAMED_IPV6_PREFIX: u8 = 97;
/// Error-Cause (RFC 5176 §3.5): see [`ErrorCause`].
pub const ERROR_CAUSE: u8 = 101;
/// Framed-IPv6-Address (RFC 6911 §3.1).
pub const FRAMED_IPV6_ADDRESS: u8 = 168;

/// Sub-attributes of MikroTik (vendor 14988).
pub mod mikrotik {
    /// The vendor's number.
    pub const VENDOR: u32 = 14988;
    /// Mikrotik-Recv-Limit: octets from the client, low 32 bits.
    pub const RECV_LIMIT: u8 = 1;
    /// Mikrotik-Xmit-Limit: octets to the client, low 32 bits.
    pub const XMIT_LIMIT: u8 = 2;
    /// Mikrotik-Group: the name of a hotspot user profile.
    pub const GROUP: u8 = 3;
    /// Mikrotik-Rate-Limit: `rx/tx`, where rx is what the client sends.
    pub const RATE_LIMIT: u8 = 8;
    /// Mikrotik-Realm.
    pub const REALM: u8 = 9;
    /// Mikrotik-Host-IP: the client's address before translation.
    pub const HOST_IP: u8 = 10;
    /// Mikrotik-Total-Limit: octets both ways, low 32 bits.
    pub const TOTAL_LIMIT: u8 = 17;
    /// Mikrotik-Address-List: a firewall address list that the client joins.
    pub const ADDRESS_LIST: u8 = 19;
}

/// Sub-attributes of WISPr (vendor 14122).
pub mod wispr {
    /// The vendor's number.
    pub const VENDOR: u32 = 14122;
    /// WISPr-Location-ID.
    pub const LOCATION_ID: u8 = 1;
    /// WISPr-Location-Name.
    pub const LOCATION_NAME: u8 = 2;
    /// WISPr-Logoff-URL.
    pub const LOGOFF_URL: u8 = 3;
    /// WISPr-Redirection-URL: the page after the login.
    pub const REDIRECTION_URL: u8 = 4;
    /// WISPr-Bandwidth-Max-Up: bit/s.
    pub const BANDWIDTH_MAX_UP: u8 = 7;
    /// WISPr-Bandwidth-Max-Down: bit/s.
    pub const BANDWIDTH_MAX_DOWN: u8 = 8;
}

/// Sub-attributes of Microsoft (vendor 311), by which MS-CHAP is recognised (RFC 2548 §2.1, §2.3).
pub mod microsoft {
    /// The vendor's number.
    pub const VENDOR: u32 = 311;
    /// MS-CHAP-Response.
    pub const CHAP_RESPONSE: u8 = 1;
    /// MS-CHAP-Challenge.
    pub const CHAP_CHALLENGE: u8 = 11;
    /// MS-CHAP2-Response.
    pub const CHAP2_RESPONSE: u8 = 25;
}

/// Packet codes (RFC 2865 §4, 2866 §4, 5176 §3, 5997 §3).
pub mod code {
    /// Access-Request.
    pub const ACCESS_REQUEST: u8 = 1;
    /// Access-Accept.
    pub const ACCESS_ACCEPT: u8 = 2;
    /// Access-Reject.
    pub const ACCESS_REJECT: u8 = 3;
    /// Accounting-Request.
    pub const ACCOUNTING_REQUEST: u8 = 4;
    /// Accounting-Response.
    pub const ACCOUNTING_RESPONSE: u8 = 5;
    /// Access-Challenge.
    pub const ACCESS_CHALLENGE: u8 = 11;
    /// Status-Server.
    pub const STATUS_SERVER: u8 = 12;
    /// Disconnect-Request.
    pub const DISCONNECT_REQUEST: u8 = 40;
    /// Disconnect-ACK.
    pub const DISCONNECT_ACK: u8 = 41;
    /// Disconnect-NAK.
    pub const DISCONNECT_NAK: u8 = 42;
    /// CoA-Request.
    pub const COA_REQUEST: u8 = 43;
    /// CoA-ACK.
    pub const COA_ACK: u8 = 44;
    /// CoA-NAK.
    pub const COA_NAK: u8 = 45;

    /// Whether the authenticator of such a request is computed from the secret, with zeros in its place
    /// (RFC 2866 §3, RFC 5176 §2.3), rather than random (RFC 2865 §3, RFC 5997 §3).
    #[must_use]
    pub const fn authenticator_is_computed(code: u8) -> bool {
        matches!(code, ACCOUNTING_REQUEST | DISCONNECT_REQUEST | COA_REQUEST)
    }
}

/// Service-Type 1: what a hotspot login is (RFC 2865 §5.6).
pub const LOGIN_USER: u32 = 1;
/// NAS-Port-Type 19 (RFC 2865 §5.41).
pub const WIRELESS_802_11: u32 = 19;

/// Acct-Status-Type (RFC 2866 §5.1); the values for tunnels and failures are not of interest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StatusType {
    /// 1: a session begins.
    Start,
    /// 2: it has ended.
    Stop,
    /// 3: it goes on.
    InterimUpdate,
    /// 7: the NAS begins to account.
    AccountingOn,
    /// 8: the NAS ceases to account.
    AccountingOff,
}

impl StatusType {
    /// From the number on the wire.
    #[must_use]
    pub const fn from_number(number: u32) -> Option<Self> {
        match number {
            1 => Some(Self::Start),
            2 => Some(Self::Stop),
            3 => Some(Self::InterimUpdate),
            7 => Some(Self::AccountingOn),
            8 => Some(Self::AccountingOff),
            _ => None,
        }
    }

    /// The number on the wire.
    #[must_use]
    pub const fn number(self) -> u32 {
        match self {
            Self::Start => 1,
            Self::Stop => 2,
            Self::InterimUpdate => 3,
            Self::AccountingOn => 7,
            Self::AccountingOff => 8,
        }
    }
}

/// Acct-Terminate-Cause (RFC 2866 §5.10): kept as the number, shown by its name where it has one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TerminateCause(pub u32);

impl TerminateCause {
    /// The guest logged out.
    pub const USER_REQUEST: Self = Self(1);
    /// The link went away.
    pub const LOST_CARRIER: Self = Self(2);
    /// The service went away; on RouterOS also the end of a DHCP lease.
    pub const LOST_SERVICE: Self = Self(3);
    /// Nothing was sent for the Idle-Timeout.
    pub const IDLE_TIMEOUT: Self = Self(4);
    /// The Session-Timeout has passed.
    pub const SESSION_TIMEOUT: Self = Self(5);
    /// An administrator, or a Disconnect-Request.
    pub const ADMIN_RESET: Self = Self(6);

    /// The name in the RFC, if the number has one.
    #[must_use]
    pub const fn name(self) -> Option<&'static str> {
        Some(match self.0 {
            1 => "User-Request",
            2 => "Lost-Carrier",
            3 => "Lost-Service",
            4 => "Idle-Timeout",
            5 => "Session-Timeout",
            6 => "Admin-Reset",
            7 => "Admin-Reboot",
            8 => "Port-Error",
            9 => "NAS-Error",
            10 => "NAS-Request",
            11 => "NAS-Reboot",
            12 => "Port-Unneeded",
            13 => "Port-Preempted",
            14 => "Port-Suspended",
            15 => "Service-Unavailable",
            16 => "Callback",
            17 => "User-Error",
            18 => "Host-Request",
            _ => return None,
        })
    }
}

impl fmt::Display for TerminateCause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => f.write_str(name),
            None => self.0.fmt(f),
        }
    }
}

/// Error-Cause (RFC 5176 §3.5): why a NAS did not do as told, kept as the number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ErrorCause(pub u32);

impl ErrorCause {
    /// 406: this kind of packet is not taken here.
    pub const UNSUPPORTED_EXTENSION: Self = Self(406);
    /// 503: the NAS knows no such session, so there is nothing left to end.
    pub const SESSION_CONTEXT_NOT_FOUND: Self = Self(503);

    /// The name in the RFC, if the number has one.
    #[must_use]
    pub const fn name(self) -> Option<&'static str> {
        Some(match self.0 {
            201 => "Residual-Session-Context-Removed",
            202 => "Invalid-EAP-Packet",
            401 => "Unsupported-Attribute",
            402 => "Missing-Attribute",
            403 => "NAS-Identification-Mismatch",
            404 => "Invalid-Request",
            405 => "Unsupported-Service",
            406 => "Unsupported-Extension",
            407 => "Invalid-Attribute-Value",
            501 => "Administratively-Prohibited",
            502 => "Request-Not-Routable",
            503 => "Session-Context-Not-Found",
            504 => "Session-Context-Not-Removable",
            505 => "Other-Proxy-Processing-Error",
            506 => "Resources-Unavailable",
            507 => "Request-Initiated",
            508 => "Multiple-Session-Selection-Unsupported",
            _ => return None,
        })
    }
}

impl fmt::Display for ErrorCause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => f.write_str(name),
            None => self.0.fmt(f),
        }
    }
}

/// Attributes that a request holds at most once. A browser can slip attributes into a RouterOS request by
/// form fields, so that a second one of these is no slip of the router but an attempt.
pub const ONCE_ONLY: [u8; 14] = [
    USER_NAME,
    USER_PASSWORD,
    CHAP_PASSWORD,
    NAS_IP_ADDRESS,
    NAS_PORT,
    FRAMED_IP_ADDRESS,
    CALLING_STATION_ID,
    NAS_IDENTIFIER,
    ACCT_SESSION_ID,
    CHAP_CHALLENGE,
    NAS_PORT_TYPE,
    MESSAGE_AUTHENTICATOR,
    NAS_PORT_ID,
    NAS_IPV6_ADDRESS,
];

/// [`ONCE_ONLY`] as a set: bit n stands for attribute n, all of them below 128.
const ONCE_ONLY_SET: u128 = {
    let (mut set, mut rest) = (0, ONCE_ONLY.as_slice());
    while let [kind, tail @ ..] = rest {
        set |= 1 << *kind;
        rest = tail;
    }
    set
};

/// The first attribute of [`ONCE_ONLY`] that the packet repeats, if any.
#[must_use]
pub fn repeated(packet: &Packet<'_>) -> Option<u8> {
    let mut seen = 0u128;
    packet.attributes().map(|attribute| attribute.kind).find(|&kind| {
        let bit = 1u128.checked_shl(kind.into()).unwrap_or(0) & ONCE_ONLY_SET;
        let again = seen & bit != 0;
        seen |= bit;
        again
    })
}

/// A value as text (RFC 8044 §3.4): UTF-8, or nothing.
#[must_use]
pub fn text(value: &[u8]) -> Option<&str> {
    std::str::from_utf8(value).ok()
}

/// A value as an integer (RFC 8044 §3.1): exactly four octets.
#[must_use]
pub fn integer(value: &[u8]) -> Option<u32> {
    value.try_into().ok().map(u32::from_be_bytes)
}

/// A value as an IPv4 address (RFC 8044 §3.8): exactly four octets.
#[must_use]
pub fn ipv4(value: &[u8]) -> Option<Ipv4Addr> {
    <[u8; 4]>::try_from(value).ok().map(Ipv4Addr::from)
}

/// A value as an IPv6 address (RFC 8044 §3.9): exactly sixteen octets.
#[must_use]
pub fn ipv6(value: &[u8]) -> Option<Ipv6Addr> {
    <[u8; 16]>::try_from(value).ok().map(Ipv6Addr::from)
}

#[cfg(test)]
mod tests {
    use super::super::packet::Request;
    use super::*;

    fn repeats(kinds: &[u8]) -> Option<u8> {
        let mut buffer = [0; Packet::MAX];
        let mut request = Request::new(&mut buffer, code::ACCESS_REQUEST, 1, &[7; 16]);
        for &kind in kinds {
            // sixteen octets are a sound length for every one of them, Message-Authenticator included
            request.attribute(kind, &[1; 16]).unwrap();
        }
        let bytes = request.sign(&super::super::secret::Secret::new(b"s"));
        repeated(&Packet::parse(bytes).unwrap())
    }

    #[test]
    fn what_may_stand_once_is_noticed_twice() {
        assert_eq!(repeats(&ONCE_ONLY), None);
        for kind in ONCE_ONLY.into_iter().filter(|&kind| kind != MESSAGE_AUTHENTICATOR) {
            assert_eq!(repeats(&[kind, CLASS, kind]), Some(kind));
        }
    }

    #[test]
    fn others_may_stand_often() {
        assert_eq!(repeats(&[PROXY_STATE, CLASS, PROXY_STATE, CLASS, REPLY_MESSAGE, REPLY_MESSAGE]), None);
        // 129 and 255 lie outside the set and must not fold onto 1 or 127
        assert_eq!(repeats(&[129, USER_NAME, 129, 255, 255, 168, 168]), None);
    }

    #[test]
    fn values_are_read_at_their_exact_length() {
        assert_eq!(integer(&[0, 0, 14, 16]), Some(3600));
        assert_eq!(ipv4(&[10, 5, 88, 41]), Some(Ipv4Addr::new(10, 5, 88, 41)));
        assert_eq!(ipv6(&[0; 16]), Some(Ipv6Addr::UNSPECIFIED));
        assert_eq!(text("ñandú".as_bytes()), Some("ñandú"));
        assert_eq!(text(&[0xff]), None);
        for length in [0, 1, 3, 5, 15, 17] {
            let value = vec![0; length];
            assert_eq!((integer(&value), ipv4(&value), ipv6(&value)), (None, None, None), "{length}");
        }
    }

    #[test]
    fn status_types_have_the_numbers_of_rfc_2866() {
        use StatusType::{AccountingOff, AccountingOn, InterimUpdate, Start, Stop};
        for (number, status) in [(1, Start), (2, Stop), (3, InterimUpdate), (7, AccountingOn), (8, AccountingOff)] {
            assert_eq!((StatusType::from_number(number), status.number()), (Some(status), number));
        }
        for number in [0, 4, 5, 6, 9, 15, u32::MAX] {
            assert_eq!(StatusType::from_number(number), None, "{number}");
        }
    }

    #[test]
    fn terminate_causes_have_the_names_of_rfc_2866() {
        let names = [
            "User-Request",
            "Lost-Carrier",
            "Lost-Service",
            "Idle-Timeout",
            "Session-Timeout",
            "Admin-Reset",
            "Admin-Reboot",
            "Port-Error",
            "NAS-Error",
            "NAS-Request",
            "NAS-Reboot",
            "Port-Unneeded",
            "Port-Preempted",
            "Port-Suspended",
            "Service-Unavailable",
            "Callback",
            "User-Error",
            "Host-Request",
        ];
        for (number, name) in (1..).zip(names) {
            assert_eq!(TerminateCause(number).to_string(), name);
        }
        assert_eq!([0, 19, u32::MAX].map(|number| TerminateCause(number).name()), [None; 3]);
    }

    #[test]
    fn error_causes_have_the_names_of_rfc_5176() {
        for (number, name) in [
            (201, "Residual-Session-Context-Removed"),
            (202, "Invalid-EAP-Packet"),
            (401, "Unsupported-Attribute"),
            (402, "Missing-Attribute"),
            (403, "NAS-Identification-Mismatch"),
            (404, "Invalid-Request"),
            (405, "Unsupported-Service"),
            (406, "Unsupported-Extension"),
            (407, "Invalid-Attribute-Value"),
            (501, "Administratively-Prohibited"),
            (502, "Request-Not-Routable"),
            (503, "Session-Context-Not-Found"),
            (504, "Session-Context-Not-Removable"),
            (505, "Other-Proxy-Processing-Error"),
            (506, "Resources-Unavailable"),
            (507, "Request-Initiated"),
            (508, "Multiple-Session-Selection-Unsupported"),
        ] {
            assert_eq!(ErrorCause(number).to_string(), name);
        }
        assert_eq!([0, 200, 203, 400, 408, 500, 509].map(|number| ErrorCause(number).name()), [None; 7]);
    }

    #[test]
    fn causes_have_their_names_or_their_numbers() {
        assert_eq!(TerminateCause::SESSION_TIMEOUT.to_string(), "Session-Timeout");
        assert_eq!(TerminateCause(77).to_string(), "77");
        assert_eq!(ErrorCause::SESSION_CONTEXT_NOT_FOUND.to_string(), "Session-Context-Not-Found");
        assert_eq!(ErrorCause(599).to_string(), "599");
        for number in 0..300 {
            assert!(StatusType::from_number(number).is_none_or(|status| status.number() == number));
        }
    }
}
