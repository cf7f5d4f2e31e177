//! The secret shared with a NAS, and everything made from it: authenticators, Message-Authenticator, hidden passwords.

use std::fmt;

use hmac::{Hmac, KeyInit, Mac};
use md5::{Digest, Md5};
use secrecy::{ExposeSecret, SecretSlice, SecretString};
use subtle::ConstantTimeEq;

use super::attribute::code;
use super::packet::{HEADER, Packet};

/// The longest hidden password, in octets (RFC 2865 §5.2).
pub const MAX_PASSWORD: usize = 128;

/// The octets of one MD5 block, to which HMAC fits its key (RFC 2104 §2).
const BLOCK: usize = 64;

/// A shared secret with its keyed states, made once and cloned for each packet: the key set-up would otherwise
/// cost more than the packet. It never prints, and all comparisons take constant time.
pub struct Secret {
    octets: SecretSlice<u8>,
    /// HMAC-MD5 keyed with the secret.
    hmac: Hmac<Md5>,
    /// MD5 that has read the secret.
    prefix: Md5,
}

/// What a request's Message-Authenticator says (RFC 3579 §3.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MessageAuthenticator {
    /// There is none.
    Absent,
    /// The packet is what a holder of the secret has sent.
    Good,
    /// Another secret, or another packet.
    Bad,
}

impl Secret {
    /// Keys the states. At least sixteen octets are advised (RFC 2865 §3).
    #[must_use]
    pub fn new(secret: &[u8]) -> Self {
        let mut key = [0; BLOCK];
        let digest;
        let short = if secret.len() > BLOCK {
            digest = Md5::digest(secret);
            digest.as_slice()
        } else {
            secret
        };
        for (place, octet) in key.iter_mut().zip(short) {
            *place = *octet;
        }
        Self {
            octets: SecretSlice::from(secret.to_vec()),
            hmac: Hmac::new(&key.into()),
            prefix: Md5::new().chain_update(secret),
        }
    }

    /// Compares the packet's Message-Authenticator with the one this secret makes, which is over the bytes as they
    /// came, with zeros for itself (RFC 2869 §5.14). In requests whose authenticator is computed, that counts
    /// as zeros too (RFC 5176 §3.4). For requests; a reply needs [`Secret::check_response`].
    #[must_use]
    pub fn check_message_authenticator(&self, packet: &Packet<'_>) -> MessageAuthenticator {
        let zeros = code::authenticator_is_computed(packet.code()).then_some(&[0; 16]);
        self.compare_message_authenticator(packet, zeros)
    }

    /// Whether the authenticator of an Accounting-, Disconnect- or CoA-Request is the one this secret makes
    /// (RFC 2866 §3, RFC 5176 §2.3).
    #[must_use]
    pub fn check_request_authenticator(&self, packet: &Packet<'_>) -> bool {
        self.digest(packet.bytes(), &[0; 16]).ct_eq(packet.authenticator()).into()
    }

    /// Whether a reply comes from a holder of the secret and answers the request with this authenticator: by the
    /// Response Authenticator (RFC 2865 §3), and by the Message-Authenticator if it has one. Whoever
    /// insists on one asks [`Packet::message_authenticator`].
    #[must_use]
    pub fn check_response(&self, reply: &Packet<'_>, request_authenticator: &[u8; 16]) -> bool {
        let whole: bool = self.digest(reply.bytes(), request_authenticator).ct_eq(reply.authenticator()).into();
        whole && self.compare_message_authenticator(reply, Some(request_authenticator)) != MessageAuthenticator::Bad
    }

    /// The password behind a User-Password (RFC 2865 §5.2): 16 to 128 octets in steps of 16, or nothing. The zeros
    /// that fill it up are cut off; with another secret there comes something else.
    #[must_use]
    pub fn unhide<'o>(
        &self,
        hidden: &[u8],
        request_authenticator: &[u8; 16],
        out: &'o mut [u8; MAX_PASSWORD],
    ) -> Option<&'o [u8]> {
        let (blocks, rest) = hidden.as_chunks::<16>();
        if blocks.is_empty() || !rest.is_empty() || hidden.len() > MAX_PASSWORD {
            return None;
        }
        let mut before = request_authenticator;
        for (block, place) in blocks.iter().zip(out.as_chunks_mut::<16>().0) {
            *place = self.veil(block, before);
            before = block;
        }
        let filled = out.get(..hidden.len())?;
        let length = filled.iter().rposition(|&octet| octet != 0).map_or(0, |last| last + 1);
        filled.get(..length)
    }

    /// Hides a password of at most 128 octets for a User-Password (RFC 2865 §5.2); an empty one becomes a block of its
    /// own. Zeros at its end are lost, since the other side cuts them off.
    #[must_use]
    pub fn hide<'o>(
        &self,
        password: &[u8],
        request_authenticator: &[u8; 16],
        out: &'o mut [u8; MAX_PASSWORD],
    ) -> Option<&'o [u8]> {
        let length = password.len().next_multiple_of(16).max(16);
        let filled = out.get_mut(..length)?;
        filled.fill(0);
        filled.get_mut(..password.len())?.copy_from_slice(password);
        let mut before = *request_authenticator;
        for place in filled.as_chunks_mut::<16>().0 {
            *place = self.veil(place, &before);
            before = *place;
        }
        Some(filled)
    }

    /// One step of hiding, and of its undoing: the block xor MD5(secret, the hidden block before).
    fn veil(&self, block: &[u8; 16], before: &[u8; 16]) -> [u8; 16] {
        let mut mask: [u8; 16] = self.prefix.clone().chain_update(before).finalize().into();
        for (octet, other) in mask.iter_mut().zip(block) {
            *octet ^= other;
        }
        mask
    }

    /// MD5 over the packet with this authenticator in its header, and the secret: the Response Authenticator with
    /// that of the request, a computed Request Authenticator with zeros (RFC 2865 §3, RFC 2866 §3).
    pub(super) fn digest(&self, packet: &[u8], authenticator: &[u8; 16]) -> [u8; 16] {
        Md5::new()
            .chain_update(packet.get(..4).unwrap_or_default())
            .chain_update(authenticator)
            .chain_update(packet.get(HEADER..).unwrap_or_default())
            .chain_update(self.octets.expose_secret())
            .finalize()
            .into()
    }

    /// HMAC-MD5 over the packet with zeros at `place`, where its Message-Authenticator is, and with `authenticator`,
    /// if any, instead of the one in the header.
    pub(super) fn message_authenticator(
        &self,
        packet: &[u8],
        place: usize,
        authenticator: Option<&[u8; 16]>,
    ) -> [u8; 16] {
        self.keyed(packet, place, authenticator).finalize().into_bytes().into()
    }

    fn keyed(&self, packet: &[u8], place: usize, authenticator: Option<&[u8; 16]>) -> Hmac<Md5> {
        let part = |from: usize, to: usize| packet.get(from..to).unwrap_or_default();
        let hmac = self.hmac.clone();
        match authenticator {
            Some(authenticator) => {
                hmac.chain_update(part(0, 4)).chain_update(authenticator).chain_update(part(HEADER, place))
            }
            None => hmac.chain_update(part(0, place)),
        }
        .chain_update([0; 16])
        .chain_update(part(place + 16, packet.len()))
    }

    fn compare_message_authenticator(
        &self,
        packet: &Packet<'_>,
        authenticator: Option<&[u8; 16]>,
    ) -> MessageAuthenticator {
        let Some(place) = packet.message_authenticator() else { return MessageAuthenticator::Absent };
        let given = packet.bytes().get(place..place + 16).unwrap_or_default();
        match self.keyed(packet.bytes(), place, authenticator).verify_slice(given) {
            Ok(()) => MessageAuthenticator::Good,
            Err(_) => MessageAuthenticator::Bad,
        }
    }
}

impl From<&SecretString> for Secret {
    fn from(secret: &SecretString) -> Self {
        Self::new(secret.expose_secret().as_bytes())
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

#[cfg(test)]
mod tests;
