//! Writing packets into a buffer of the caller: replies, and requests of the kinds that spotgate sends itself.

use super::attribute::{MESSAGE_AUTHENTICATOR, VENDOR_SPECIFIC, code};
use super::packet::{HEADER, Packet};
use super::secret::Secret;

/// The attribute does not fit: its value is longer than 253 octets (247 for a vendor's), or the packet would
/// be longer than [`Packet::MAX`]. Nothing of it was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the attribute does not fit")]
pub struct Full;

/// A reply in the making. Its Message-Authenticator stands first, so that what a forger may choose comes after it
/// (RFC 3579 §3.2; the advice against BlastRADIUS).
pub struct Reply<'b>(Draft<'b>);

impl<'b> Reply<'b> {
    /// A reply with its Message-Authenticator.
    #[must_use]
    pub fn new(buffer: &'b mut [u8; Packet::MAX], code: u8, identifier: u8) -> Self {
        let mut draft = Draft::new(buffer, code, identifier);
        // an empty packet has room for eighteen octets
        let _ = draft.message_authenticator();
        Self(draft)
    }

    /// A reply without one: for an Accounting-Response, where few routers expect any (RFC 2866 §4.2).
    #[must_use]
    pub fn bare(buffer: &'b mut [u8; Packet::MAX], code: u8, identifier: u8) -> Self {
        Self(Draft::new(buffer, code, identifier))
    }

    /// Appends an attribute.
    pub fn attribute(&mut self, kind: u8, value: &[u8]) -> Result<(), Full> {
        self.0.attribute(kind, &[value]).map(drop)
    }

    /// Appends an integer, or a time in seconds.
    pub fn integer(&mut self, kind: u8, value: u32) -> Result<(), Full> {
        self.attribute(kind, &value.to_be_bytes())
    }

    /// Appends a vendor's attribute, alone in its Vendor-Specific (RFC 2865 §5.26).
    pub fn vendor(&mut self, vendor: u32, kind: u8, value: &[u8]) -> Result<(), Full> {
        self.0.vendor(vendor, kind, value)
    }

    /// Fills in the Message-Authenticator, made with the Request Authenticator in the header (RFC 2869 §5.14), then
    /// the Response Authenticator over the whole (RFC 2865 §3), and hands back the packet.
    #[must_use]
    pub fn sign(self, secret: &Secret, request_authenticator: &[u8; 16]) -> &'b [u8] {
        let mut draft = self.0;
        draft.put_authenticator(request_authenticator);
        draft.put_message_authenticator(secret);
        let response = secret.digest(draft.written(), request_authenticator);
        draft.put_authenticator(&response);
        draft.finish()
    }
}

/// A request in the making.
pub struct Request<'b>(Draft<'b>);

impl<'b> Request<'b> {
    /// A request with a fresh, unpredictable authenticator (RFC 2865 §3). Where the authenticator is computed
    /// (Accounting-, Disconnect- and CoA-Request) the one given does not matter.
    #[must_use]
    pub fn new(buffer: &'b mut [u8; Packet::MAX], code: u8, identifier: u8, authenticator: &[u8; 16]) -> Self {
        let mut draft = Draft::new(buffer, code, identifier);
        if !code::authenticator_is_computed(code) {
            draft.put_authenticator(authenticator);
        }
        Self(draft)
    }

    /// Appends an attribute. One of the kind Message-Authenticator is taken as it is, so that a wrong one can be made.
    pub fn attribute(&mut self, kind: u8, value: &[u8]) -> Result<(), Full> {
        self.0.attribute(kind, &[value]).map(drop)
    }

    /// Appends an integer, or a time in seconds.
    pub fn integer(&mut self, kind: u8, value: u32) -> Result<(), Full> {
        self.attribute(kind, &value.to_be_bytes())
    }

    /// Appends a vendor's attribute, alone in its Vendor-Specific (RFC 2865 §5.26).
    pub fn vendor(&mut self, vendor: u32, kind: u8, value: &[u8]) -> Result<(), Full> {
        self.0.vendor(vendor, kind, value)
    }

    /// Gives the Message-Authenticator its place: here, after what was written so far. [`Request::sign`] fills it in.
    pub fn message_authenticator(&mut self) -> Result<(), Full> {
        self.0.message_authenticator()
    }

    /// Fills in the Message-Authenticator if it was given a place, then a computed authenticator over sixteen
    /// zero octets (RFC 2866 §3, RFC 5176 §2.3), and hands back the packet.
    #[must_use]
    pub fn sign(self, secret: &Secret) -> &'b [u8] {
        let mut draft = self.0;
        draft.put_message_authenticator(secret);
        if code::authenticator_is_computed(draft.code) {
            let digest = secret.digest(draft.written(), &[0; 16]);
            draft.put_authenticator(&digest);
        }
        draft.finish()
    }
}

/// Header and attributes as far as they are written; the header's length always fits them.
struct Draft<'b> {
    buffer: &'b mut [u8; Packet::MAX],
    code: u8,
    length: usize,
    /// Where the sixteen octets of the Message-Authenticator begin.
    message_authenticator: Option<usize>,
}

impl<'b> Draft<'b> {
    fn new(buffer: &'b mut [u8; Packet::MAX], code: u8, identifier: u8) -> Self {
        let mut draft = Self { buffer, code, length: HEADER, message_authenticator: None };
        draft.put(0, &[code, identifier]);
        draft.put_authenticator(&[0; 16]);
        draft.put_length();
        draft
    }

    /// Appends an attribute whose value is these parts in a row; gives the place of the value.
    fn attribute(&mut self, kind: u8, parts: &[&[u8]]) -> Result<usize, Full> {
        let value: usize = parts.iter().map(|part| part.len()).sum();
        let octets = u8::try_from(value + 2).map_err(|_| Full)?;
        let end = self.length + usize::from(octets);
        if end > Packet::MAX {
            return Err(Full);
        }
        let place = self.length + 2;
        self.put(self.length, &[kind, octets]);
        let mut at = place;
        for part in parts {
            self.put(at, part);
            at += part.len();
        }
        self.length = end;
        self.put_length();
        Ok(place)
    }

    fn vendor(&mut self, vendor: u32, kind: u8, value: &[u8]) -> Result<(), Full> {
        let octets = u8::try_from(value.len() + 2).map_err(|_| Full)?;
        self.attribute(VENDOR_SPECIFIC, &[&vendor.to_be_bytes(), &[kind, octets], value]).map(drop)
    }

    fn message_authenticator(&mut self) -> Result<(), Full> {
        if self.message_authenticator.is_none() {
            self.message_authenticator = Some(self.attribute(MESSAGE_AUTHENTICATOR, &[&[0; 16]])?);
        }
        Ok(())
    }

    fn put_message_authenticator(&mut self, secret: &Secret) {
        if let Some(place) = self.message_authenticator {
            let sum = secret.message_authenticator(self.written(), place, None);
            self.put(place, &sum);
        }
    }

    fn put_authenticator(&mut self, authenticator: &[u8; 16]) {
        self.put(4, authenticator);
    }

    fn put_length(&mut self) {
        // never above 4096
        let length = u16::try_from(self.length).unwrap_or(u16::MAX);
        self.put(2, &length.to_be_bytes());
    }

    fn put(&mut self, at: usize, octets: &[u8]) {
        if let Some(place) = self.buffer.get_mut(at..).and_then(|tail| tail.get_mut(..octets.len())) {
            place.copy_from_slice(octets);
        }
    }

    fn written(&self) -> &[u8] {
        self.buffer.get(..self.length).unwrap_or_default()
    }

    fn finish(self) -> &'b [u8] {
        let buffer: &'b [u8] = self.buffer;
        buffer.get(..self.length).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::super::attribute::{CLASS, PROXY_STATE, REPLY_MESSAGE, SESSION_TIMEOUT, mikrotik};
    use super::super::secret::MessageAuthenticator;
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_message_authenticator_stands_first() {
        let mut buffer = [0xFF; Packet::MAX];
        let secret = Secret::new(b"xyzzy5461");
        let mut reply = Reply::new(&mut buffer, code::ACCESS_ACCEPT, 9);
        reply.integer(SESSION_TIMEOUT, 3600).unwrap();
        reply.vendor(mikrotik::VENDOR, mikrotik::RATE_LIMIT, b"10M/10M").unwrap();
        let bytes = reply.sign(&secret, &[3; 16]);
        let packet = Packet::parse(bytes).unwrap();
        let kinds: Vec<u8> = packet.attributes().map(|attribute| attribute.kind).collect();
        assert_eq!(kinds, [MESSAGE_AUTHENTICATOR, SESSION_TIMEOUT, VENDOR_SPECIFIC]);
        assert_eq!(packet.bytes().len(), bytes.len());
        assert!(secret.check_response(&packet, &[3; 16]));
        assert!(!secret.check_response(&packet, &[4; 16]));
    }

    #[test]
    fn a_request_carries_numbers_and_vendors_attributes_too() {
        let (mut buffer, secret) = ([0xFF; Packet::MAX], Secret::new(b"xyzzy5461"));
        let mut request = Request::new(&mut buffer, code::COA_REQUEST, 9, &[3; 16]);
        request.integer(SESSION_TIMEOUT, 3600).unwrap();
        request.vendor(mikrotik::VENDOR, mikrotik::RATE_LIMIT, b"10M/10M").unwrap();
        let packet = Packet::parse(request.sign(&secret)).unwrap();
        assert_eq!(packet.first(SESSION_TIMEOUT), Some(&3600u32.to_be_bytes()[..]));
        assert!(packet.vendor(mikrotik::VENDOR).eq([(mikrotik::RATE_LIMIT, &b"10M/10M"[..])]));
        assert!(secret.check_request_authenticator(&packet));
    }

    #[test]
    fn a_bare_reply_is_its_header() {
        let mut buffer = [0xFF; Packet::MAX];
        let secret = Secret::new(b"xyzzy5461");
        let bytes = Reply::bare(&mut buffer, code::ACCOUNTING_RESPONSE, 7).sign(&secret, &[3; 16]);
        assert_eq!(bytes.get(..4), Some(&[5, 7, 0, 20][..]));
        assert!(secret.check_response(&Packet::parse(bytes).unwrap(), &[3; 16]));
    }

    #[test]
    fn what_does_not_fit_leaves_no_trace() {
        let mut buffer = [0; Packet::MAX];
        let secret = Secret::new(b"s");
        let mut reply = Reply::new(&mut buffer, code::ACCESS_REJECT, 0);
        assert_eq!(reply.attribute(REPLY_MESSAGE, &[b'x'; 254]), Err(Full));
        assert_eq!(reply.vendor(mikrotik::VENDOR, mikrotik::GROUP, &[b'x'; 248]), Err(Full));
        assert_eq!(reply.vendor(mikrotik::VENDOR, mikrotik::GROUP, &[b'x'; 254]), Err(Full));
        assert_eq!(reply.attribute(REPLY_MESSAGE, &vec![b'x'; 70_000]), Err(Full));
        reply.vendor(mikrotik::VENDOR, mikrotik::GROUP, &[b'x'; 247]).unwrap();
        // 20 + 18 + 255 octets are taken: 14 of 255 fit, and 233 octets stay
        for _ in 0..14 {
            reply.attribute(PROXY_STATE, &[b'p'; 253]).unwrap();
        }
        assert_eq!(reply.attribute(CLASS, &[b'c'; 232]), Err(Full));
        reply.attribute(CLASS, &[b'c'; 231]).unwrap();
        assert_eq!(reply.attribute(CLASS, &[]), Err(Full));
        let bytes = reply.sign(&secret, &[0; 16]);
        assert_eq!(bytes.len(), Packet::MAX);
        let packet = Packet::parse(bytes).unwrap();
        assert_eq!((packet.count(PROXY_STATE), packet.count(CLASS), packet.count(REPLY_MESSAGE)), (14, 1, 0));
        assert!(secret.check_response(&packet, &[0; 16]));
    }

    #[test]
    fn computed_authenticators_do_not_depend_on_the_one_given() {
        let secret = Secret::new(b"s");
        for code in [code::ACCOUNTING_REQUEST, code::DISCONNECT_REQUEST, code::COA_REQUEST] {
            let (mut one, mut two) = ([0; Packet::MAX], [1; Packet::MAX]);
            let mut first = Request::new(&mut one, code, 1, &[1; 16]);
            let mut second = Request::new(&mut two, code, 1, &[2; 16]);
            first.message_authenticator().unwrap();
            second.message_authenticator().unwrap();
            second.message_authenticator().unwrap();
            let first = first.sign(&secret);
            assert_eq!(first, second.sign(&secret));
            let packet = Packet::parse(first).unwrap();
            assert!(secret.check_request_authenticator(&packet));
            assert_eq!(secret.check_message_authenticator(&packet), MessageAuthenticator::Good);
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(
            code: u8, identifier: u8, authenticator: [u8; 16],
            attributes in proptest::collection::vec(
                (any::<u8>().prop_filter("has a length of its own", |&kind| kind != MESSAGE_AUTHENTICATOR),
                 proptest::collection::vec(any::<u8>(), 0..=253)), 0..15),
            vendor in proptest::collection::vec((any::<u8>(), proptest::collection::vec(any::<u8>(), 0..=40)), 0..4),
        ) {
            let attributes: Vec<_> = attributes.into_iter().filter(|(kind, _)| *kind != VENDOR_SPECIFIC).collect();
            let secret = Secret::new(b"secret");
            let mut buffer = [0xEE; Packet::MAX];
            let mut reply = Reply::new(&mut buffer, code, identifier);
            for (kind, value) in &attributes {
                reply.attribute(*kind, value).unwrap();
            }
            for (kind, value) in &vendor {
                reply.vendor(mikrotik::VENDOR, *kind, value).unwrap();
            }
            let packet = Packet::parse(reply.sign(&secret, &authenticator)).unwrap();
            prop_assert_eq!((packet.code(), packet.identifier()), (code, identifier));
            prop_assert!(secret.check_response(&packet, &authenticator));
            let read: Vec<_> = packet.attributes().skip(1).filter(|attribute| attribute.kind != VENDOR_SPECIFIC)
                .map(|attribute| (attribute.kind, attribute.value.to_vec())).collect();
            prop_assert_eq!(read, attributes);
            let read: Vec<_> = packet.vendor(mikrotik::VENDOR).map(|(kind, value)| (kind, value.to_vec())).collect();
            prop_assert_eq!(read, vendor);
        }
    }
}
