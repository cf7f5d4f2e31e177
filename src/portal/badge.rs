//! What a browser shows to be recognised: on which token its device was let in, and under which MAC address. It stands in a
//! cookie and in the address of the status page, and holds no code.
//!
//! A device may come back under a new random MAC address: by its badge it takes over its own old place.

use hmac::{Hmac, KeyInit as _, Mac as _};
use jiff::Timestamp;
use sha2::Sha256;

use crate::core::ident::{Mac, TokenId};
use crate::ticket::{Mark, mark};

/// How long a badge in a cookie is good for, in seconds.
pub const KEPT_FOR: i64 = 30 * 24 * 3600;

/// How long one in an address is, which others may see: until the router has led there, or the page is loaded again.
pub const SHOWN_FOR: i64 = 300;

/// How long one in a page is.
pub const IN_PAGE_FOR: i64 = 3600;

/// Octets of the signature that are kept: nobody tries 2^96 of them.
const SIGNATURE: usize = 12;

/// Version, token, MAC address, proof, seconds since 1970.
const BODY: usize = 1 + 8 + 6 + 8 + 8;
const VERSION: u8 = 2;

/// What shows that a browser is on the device of a session, and does not only say so.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Proof(Mark);

impl Proof {
    /// Whoever was given this text shows it: the ticket that the router let the device in on, or the session that a page was
    /// shown of to who came from its address.
    #[must_use]
    pub fn of(text: &str) -> Self {
        Self(mark(text))
    }

    /// The mark of the text.
    #[must_use]
    pub const fn mark(self) -> Mark {
        self.0
    }

    /// Whether it shows anything.
    #[must_use]
    pub fn is_some(self) -> bool {
        self != Self::default()
    }
}

/// What badges are signed with. It does not print.
#[derive(Clone)]
pub struct Key([u8; 32]);

impl Key {
    /// A key as it was kept.
    #[must_use]
    pub const fn new(octets: [u8; 32]) -> Self {
        Self(octets)
    }

    /// The octets, to be kept.
    #[must_use]
    pub const fn octets(&self) -> &[u8; 32] {
        &self.0
    }

    /// A new key.
    ///
    /// # Errors
    ///
    /// The system has no random numbers to give.
    pub fn random() -> Result<Self, getrandom::Error> {
        let mut octets = [0; 32];
        getrandom::fill(&mut octets)?;
        Ok(Self(octets))
    }

    fn signature(&self, body: &[u8; BODY]) -> Hmac<Sha256> {
        // A key of any length will do, so that there is no error.
        let keyed = Hmac::<Sha256>::new_from_slice(&self.0);
        let keyed = keyed.unwrap_or_else(|_| Hmac::new(&Default::default()));
        keyed.chain_update(b"spotgate badge ").chain_update(body)
    }
}

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Key(..)")
    }
}

/// Who a browser was when it was let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Badge {
    /// The token.
    pub token: TokenId,
    /// The device, under the MAC address it had.
    pub device: Mac,
    /// That it is the device; the default shows nothing.
    pub proof: Proof,
}

impl Badge {
    /// The badge as text for a cookie or an address, signed at `now` and good for so many seconds.
    #[must_use]
    pub fn signed(&self, key: &Key, now: Timestamp, seconds: i64) -> String {
        let mut body = [0; BODY];
        let parts = [VERSION].into_iter().chain(self.token.0.to_be_bytes()).chain(self.device.octets());
        let until = now.as_second().saturating_add(seconds);
        for (octet, part) in body.iter_mut().zip(parts.chain(self.proof.0).chain(until.to_be_bytes())) {
            *octet = part;
        }
        let signature = key.signature(&body).finalize().into_bytes();
        let signed: Vec<u8> = body.into_iter().chain(signature.into_iter().take(SIGNATURE)).collect();
        data_encoding::BASE64URL_NOPAD.encode(&signed)
    }

    /// Reads one that was signed here and is still good.
    #[must_use]
    pub fn read(text: &str, key: &Key, now: Timestamp) -> Option<Self> {
        let signed = data_encoding::BASE64URL_NOPAD.decode(text.as_bytes()).ok()?;
        let (body, signature) = signed.split_first_chunk::<BODY>()?;
        if signature.len() != SIGNATURE {
            return None;
        }
        key.signature(body).verify_truncated_left(signature).ok()?;
        let ([VERSION], rest) = body.split_first_chunk::<1>()? else { return None };
        let (token, rest) = rest.split_first_chunk::<8>()?;
        let (device, rest) = rest.split_first_chunk::<6>()?;
        let (proof, until) = rest.split_first_chunk::<8>()?;
        let until = i64::from_be_bytes(until.try_into().ok()?);
        let token = TokenId(i64::from_be_bytes(*token));
        (now.as_second() < until).then(|| Self { token, device: Mac::new(*device), proof: Proof(*proof) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(seconds).unwrap()
    }

    proptest! {
        #[test]
        fn a_badge_comes_back_while_it_is_good(token: i64, device: [u8; 6], proof: [u8; 8], key: [u8; 32], age in 0i64..600) {
            let badge = Badge { token: TokenId(token), device: Mac::new(device), proof: Proof(proof) };
            let key = Key::new(key);
            let text = badge.signed(&key, at(1_795_000_000), SHOWN_FOR);
            let read = Badge::read(&text, &key, at(1_795_000_000 + age));
            prop_assert_eq!(read, (age < SHOWN_FOR).then_some(badge));
        }

        #[test]
        fn whatever_is_changed_in_it_makes_it_no_badge(place in 0usize..58, other in "[A-Za-z0-9_-]", key: [u8; 32]) {
            let badge = Badge { token: TokenId(77), device: Mac::new([2, 0, 0, 0, 0, 9]), proof: Proof::of("sg-x") };
            let text = badge.signed(&Key::new([7; 32]), at(1_795_000_000), SHOWN_FOR);
            let read = |text: &str, key: [u8; 32]| Badge::read(text, &Key::new(key), at(1_795_000_000));
            prop_assert_eq!(text.len(), 58);
            let mut changed = text.clone();
            changed.replace_range(place..=place, &other);
            prop_assert!(changed == text || read(&changed, [7; 32]).is_none(), "{}", changed);
            prop_assert!(key == [7; 32] || read(&text, key).is_none());
            prop_assert!(read(&text[..place], [7; 32]).is_none() && read(&(text + &other), [7; 32]).is_none());
        }
    }
}
