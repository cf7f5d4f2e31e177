//! A RADIUS packet, read in place: borrowed from the datagram, checked once, without allocation (RFC 2865 §3, §5).

use std::fmt;
use std::iter::FusedIterator;

use super::attribute::{MESSAGE_AUTHENTICATOR, VENDOR_SPECIFIC};
pub use super::write::{Full, Reply, Request};

/// Octets before the first attribute: code, identifier, length, authenticator.
pub(super) const HEADER: usize = 20;

/// A packet whose every length has been checked. What a datagram holds beyond the length in the header is
/// padding and not part of it (RFC 2865 §3).
#[derive(Clone)]
pub struct Packet<'a> {
    bytes: &'a [u8],
    header: &'a [u8; HEADER],
    message_authenticator: Option<usize>,
    /// Where the first attribute of each kind begins in [`Packet::bytes`]; 0: there is none. A record is asked for some twenty.
    firsts: [u16; 256],
}

/// One attribute of a packet. It does not print its value, which may be a code or a password.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Attribute<'a> {
    /// Its number: see [`super::attribute`].
    pub kind: u8,
    /// Its value, 0 to 253 octets.
    pub value: &'a [u8],
    /// Where the value begins in [`Packet::bytes`].
    pub offset: usize,
}

/// Why a datagram is no RADIUS packet. It is ignored and counted (RFC 2865 §3, §5; 3579 §3.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Drop {
    /// Fewer octets than a header has.
    #[error("shorter than a header")]
    TooShort,
    /// The header claims a length outside 20 to 4096.
    #[error("the header's length is not between 20 and 4096")]
    BadLength,
    /// The header claims more octets than have come.
    #[error("cut off: shorter than the header's length")]
    Truncated,
    /// An attribute is shorter than its own head, or runs over the end.
    #[error("an attribute's length is wrong")]
    AttributeLength,
    /// A Message-Authenticator without exactly sixteen octets.
    #[error("the Message-Authenticator's length is not 18")]
    MessageAuthenticatorLength,
    /// More than one Message-Authenticator.
    #[error("more than one Message-Authenticator")]
    MessageAuthenticatorTwice,
}

impl Drop {
    /// A short name for counting.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::TooShort => "too_short",
            Self::BadLength => "bad_length",
            Self::Truncated => "truncated",
            Self::AttributeLength => "attribute_length",
            Self::MessageAuthenticatorLength => "message_authenticator_length",
            Self::MessageAuthenticatorTwice => "message_authenticator_twice",
        }
    }
}

impl<'a> Packet<'a> {
    /// The longest packet, in octets (RFC 2865 §3).
    pub const MAX: usize = 4096;

    /// Checks every bound once, so that nothing after this can fail.
    pub fn parse(datagram: &'a [u8]) -> Result<Self, Drop> {
        let header = datagram.first_chunk::<HEADER>().ok_or(Drop::TooShort)?;
        let [_, _, high, low, ..] = *header;
        let length = usize::from(u16::from_be_bytes([high, low]));
        if !(HEADER..=Self::MAX).contains(&length) {
            return Err(Drop::BadLength);
        }
        let bytes = datagram.get(..length).ok_or(Drop::Truncated)?;
        let mut packet = Self { bytes, header, message_authenticator: None, firsts: [0; 256] };

        let mut attributes = packet.attributes();
        for attribute in attributes.by_ref() {
            if let Some(first @ 0) = packet.firsts.get_mut(usize::from(attribute.kind)) {
                // It is below 4096.
                *first = u16::try_from(attribute.offset - 2).unwrap_or_default();
            }
            if attribute.kind != MESSAGE_AUTHENTICATOR {
                continue;
            }
            if attribute.value.len() != 16 {
                return Err(Drop::MessageAuthenticatorLength);
            }
            if packet.message_authenticator.replace(attribute.offset).is_some() {
                return Err(Drop::MessageAuthenticatorTwice);
            }
        }
        if attributes.rest.is_empty() { Ok(packet) } else { Err(Drop::AttributeLength) }
    }

    /// What kind of packet: see [`super::attribute::code`].
    #[must_use]
    pub const fn code(&self) -> u8 {
        let [code, ..] = *self.header;
        code
    }

    /// The number by which a reply finds its request.
    #[must_use]
    pub const fn identifier(&self) -> u8 {
        let [_, identifier, ..] = *self.header;
        identifier
    }

    /// The Request or Response Authenticator.
    #[must_use]
    pub const fn authenticator(&self) -> &'a [u8; 16] {
        let [_, _, _, _, authenticator @ ..] = self.header;
        authenticator
    }

    /// The packet as it came, without padding.
    #[must_use]
    pub const fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// The attributes in their order.
    #[must_use]
    pub fn attributes(&self) -> Attributes<'a> {
        Attributes { rest: self.bytes.get(HEADER..).unwrap_or_default(), offset: HEADER }
    }

    /// The value of the first attribute of this kind.
    #[must_use]
    pub fn first(&self, kind: u8) -> Option<&'a [u8]> {
        self.since_first(kind).next().map(|attribute| attribute.value)
    }

    /// The values of all attributes of this kind, in their order.
    pub fn all(&self, kind: u8) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        self.since_first(kind).filter(move |attribute| attribute.kind == kind).map(|attribute| attribute.value)
    }

    /// The attributes from the first of this kind on.
    fn since_first(&self, kind: u8) -> Attributes<'a> {
        let first = usize::from(self.firsts.get(usize::from(kind)).copied().unwrap_or_default());
        // Where there is none, nothing is left.
        let rest = if first == 0 { None } else { self.bytes.get(first..) };
        Attributes { rest: rest.unwrap_or_default(), offset: first }
    }

    /// How many attributes of this kind there are.
    #[must_use]
    pub fn count(&self, kind: u8) -> usize {
        self.all(kind).count()
    }

    /// The sub-attributes of one vendor as number and value (RFC 2865 §5.26). A Vendor-Specific that is not
    /// made of sub-attributes is skipped as a whole.
    pub fn vendor(&self, vendor: u32) -> impl Iterator<Item = (u8, &'a [u8])> + use<'a> {
        self.all(VENDOR_SPECIFIC)
            .filter_map(move |value| {
                let (number, fields) = value.split_first_chunk::<4>()?;
                let fields = Attributes { rest: fields, offset: 0 };
                (u32::from_be_bytes(*number) == vendor && fields.is_whole()).then_some(fields)
            })
            .flatten()
            .map(|field| (field.kind, field.value))
    }

    /// Where the sixteen octets of the Message-Authenticator begin in [`Packet::bytes`], if there is one.
    #[must_use]
    pub const fn message_authenticator(&self) -> Option<usize> {
        self.message_authenticator
    }
}

impl fmt::Debug for Packet<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Packet")
            .field("code", &self.code())
            .field("identifier", &self.identifier())
            .field("length", &self.bytes.len())
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Attribute<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Attribute")
            .field("kind", &self.kind)
            .field("length", &self.value.len())
            .field("offset", &self.offset)
            .finish_non_exhaustive()
    }
}

/// Attributes one after the other; it stops where one is no attribute, which [`Packet::parse`] has ruled out.
#[derive(Clone)]
pub struct Attributes<'a> {
    rest: &'a [u8],
    offset: usize,
}

impl Attributes<'_> {
    /// Whether attributes fill the rest without a remainder.
    fn is_whole(&self) -> bool {
        let mut attributes = self.clone();
        attributes.by_ref().for_each(drop);
        attributes.rest.is_empty()
    }
}

impl<'a> Iterator for Attributes<'a> {
    type Item = Attribute<'a>;

    fn next(&mut self) -> Option<Attribute<'a>> {
        let [kind, length, tail @ ..] = self.rest else { return None };
        let length = usize::from(*length);
        let (value, rest) = tail.split_at_checked(length.checked_sub(2)?)?;
        let attribute = Attribute { kind: *kind, value, offset: self.offset + 2 };
        self.rest = rest;
        self.offset += length;
        Some(attribute)
    }
}

impl FusedIterator for Attributes<'_> {}

#[cfg(test)]
mod tests {
    use super::super::attribute::{CLASS, USER_NAME, code, mikrotik, wispr};
    use super::*;
    use proptest::prelude::*;

    /// An Access-Request around these attribute octets.
    fn raw(attributes: &[u8]) -> Vec<u8> {
        let length = u16::try_from(HEADER + attributes.len()).unwrap().to_be_bytes();
        [&[code::ACCESS_REQUEST, 9], &length[..], &[0xA5; 16], attributes].concat()
    }

    fn cause(attributes: &[u8]) -> Option<Drop> {
        Packet::parse(&raw(attributes)).err()
    }

    #[test]
    fn header_lengths() {
        for length in 0..HEADER {
            assert_eq!(Packet::parse(&vec![0; length]).unwrap_err(), Drop::TooShort, "{length}");
        }
        let with_length = |claimed: u16, actual: usize| {
            let mut bytes = vec![0; actual];
            bytes[2..4].copy_from_slice(&claimed.to_be_bytes());
            Packet::parse(&bytes).err()
        };
        assert_eq!(with_length(0, 20), Some(Drop::BadLength));
        assert_eq!(with_length(19, 64), Some(Drop::BadLength));
        assert_eq!(with_length(20, 20), None);
        assert_eq!(with_length(21, 20), Some(Drop::Truncated));
        assert_eq!(with_length(4096, 4095), Some(Drop::Truncated));
        assert_eq!(with_length(4097, 5000), Some(Drop::BadLength));
        assert_eq!(with_length(u16::MAX, 65535), Some(Drop::BadLength));
    }

    #[test]
    fn attribute_lengths() {
        assert_eq!(cause(&[]), None);
        assert_eq!(cause(&[1, 2]), None);
        assert_eq!(cause(&[1, 3, b'x']), None);
        assert_eq!(cause(&[1]), Some(Drop::AttributeLength));
        assert_eq!(cause(&[1, 0]), Some(Drop::AttributeLength));
        assert_eq!(cause(&[1, 1]), Some(Drop::AttributeLength));
        assert_eq!(cause(&[1, 3]), Some(Drop::AttributeLength));
        assert_eq!(cause(&[1, 255, 0]), Some(Drop::AttributeLength));
        assert_eq!(cause(&[1, 3, b'x', 2]), Some(Drop::AttributeLength));
        assert_eq!(cause(&[1, 3, b'x', 2, 0, 0]), Some(Drop::AttributeLength));
    }

    #[test]
    fn message_authenticators() {
        let whole = [&[80, 18][..], &[0; 16]].concat();
        assert_eq!(cause(&whole), None);
        assert_eq!(cause(&[whole.clone(), whole].concat()), Some(Drop::MessageAuthenticatorTwice));
        assert_eq!(cause(&[80, 2]), Some(Drop::MessageAuthenticatorLength));
        assert_eq!(cause(&[&[80, 17][..], &[0; 15]].concat()), Some(Drop::MessageAuthenticatorLength));
        assert_eq!(cause(&[&[80, 19][..], &[0; 17]].concat()), Some(Drop::MessageAuthenticatorLength));
    }

    #[test]
    fn padding_is_not_read() {
        let bytes = [raw(&[1, 3, b'x']), vec![1, 0, 80, 1]].concat();
        let packet = Packet::parse(&bytes).unwrap();
        assert_eq!(packet.bytes(), raw(&[1, 3, b'x']));
        assert_eq!(packet.attributes().count(), 1);
    }

    #[test]
    fn header_and_attributes_are_read() {
        let bytes = raw(&[1, 3, b'x', 25, 2, 25, 4, 7, 8]);
        let packet = Packet::parse(&bytes).unwrap();
        assert_eq!((packet.code(), packet.identifier(), packet.authenticator()), (1, 9, &[0xA5; 16]));
        assert_eq!(
            (packet.first(USER_NAME), packet.first(CLASS), packet.first(2)),
            (Some(&b"x"[..]), Some(&[][..]), None)
        );
        assert_eq!((packet.count(CLASS), packet.count(2)), (2, 0));
        for attribute in packet.attributes() {
            assert_eq!(&bytes[attribute.offset..][..attribute.value.len()], attribute.value);
            assert_eq!(bytes[attribute.offset - 2], attribute.kind);
        }
    }

    #[test]
    fn vendors_are_kept_apart_and_broken_ones_skipped() {
        let vsa = |body: &[u8]| [&[26, u8::try_from(body.len() + 2).unwrap()], body].concat();
        let bytes = raw(&[
            vsa(&[0, 0, 0x3A, 0x8C, 8, 4, b'a', b'b', 3, 3, b'g']), // MikroTik, two in one
            vsa(&[0, 0, 0x37, 0x2A, 3, 3, b'u']),                   // WISPr
            vsa(&[0, 0, 0x3A, 0x8C, 8, 3, b'c', 3, 9, b'g']),       // the second overruns
            vsa(&[0, 0, 0x3A, 0x8C, 8, 1]),
            vsa(&[0, 0, 0x3A, 0x8C, 8]),
            vsa(&[0, 0, 0x3A, 0x8C]),
            vsa(&[0, 0]),
            vsa(&[]),
            vsa(&[0, 0, 0x3A, 0x8C, 10, 2]),
        ]
        .concat());
        let packet = Packet::parse(&bytes).unwrap();
        let of = |vendor| packet.vendor(vendor).collect::<Vec<_>>();
        assert_eq!(of(mikrotik::VENDOR), [(8, &b"ab"[..]), (3, b"g"), (10, b"")]);
        assert_eq!(of(wispr::VENDOR), [(wispr::LOGOFF_URL, &b"u"[..])]);
        assert_eq!(of(9), []);
    }

    #[test]
    fn nothing_secret_prints() {
        let bytes = raw(&[1, 6, b'k', b'x', b'7', b'q']);
        let packet = Packet::parse(&bytes).unwrap();
        let shown = format!("{packet:?} {:?}", packet.attributes().next().unwrap());
        assert_eq!(
            shown,
            "Packet { code: 1, identifier: 9, length: 26, .. } Attribute { kind: 1, length: 4, offset: 22, .. }"
        );
    }

    #[test]
    fn each_cause_is_counted_under_its_name() {
        let causes = [
            (Drop::TooShort, "too_short"),
            (Drop::BadLength, "bad_length"),
            (Drop::Truncated, "truncated"),
            (Drop::AttributeLength, "attribute_length"),
            (Drop::MessageAuthenticatorLength, "message_authenticator_length"),
            (Drop::MessageAuthenticatorTwice, "message_authenticator_twice"),
        ];
        for (cause, name) in causes {
            assert_eq!(cause.name(), name);
        }
    }

    proptest! {
        #[test]
        fn no_datagram_panics(datagram in proptest::collection::vec(any::<u8>(), 0..5000)) {
            read_all(&datagram);
        }

        #[test]
        fn no_attributes_panic(attributes in proptest::collection::vec(0u8..40, 0..200)) {
            read_all(&raw(&attributes));
        }
    }

    fn read_all(datagram: &[u8]) {
        if let Ok(packet) = Packet::parse(datagram) {
            let octets: usize = packet.attributes().map(|attribute| attribute.value.len() + 2).sum();
            assert_eq!(octets + HEADER, packet.bytes().len());
            packet.vendor(mikrotik::VENDOR).for_each(drop);
            let _ = (packet.first(1), packet.count(26), super::super::attribute::repeated(&packet));
        }
    }
}
