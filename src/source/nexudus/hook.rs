//! What shows that a webhook comes from Nexudus: `X-Nexudus-Hook-Signature`, the HMAC-SHA256 of the body under a shared
//! secret, in hex (facts/nexudus.md §4).
//!
//! The vendor's sample turns secret and body into bytes by .NET's ASCII encoding, in which every UTF-16 unit beyond ASCII
//! becomes `?`; others hash the bytes that are sent. Either is accepted. The former does not cover such characters, and
//! there is neither time nor number in it, so that a hook can be sent again: what it says is not believed, it is a hint.

use data_encoding::HEXLOWER_PERMISSIVE;
use hmac::{Hmac, KeyInit, Mac};
use secrecy::{ExposeSecret, SecretString};
use sha2::Sha256;
use subtle::{Choice, ConstantTimeEq};

/// A signature as it was sent. It does not print: with its body it could be sent again.
#[derive(Clone, Copy)]
pub struct Signature([u8; 32]);

impl Signature {
    /// The header that carries it.
    pub const HEADER: &'static str = "x-nexudus-hook-signature";

    /// Reads the header's value: 64 hex digits of either case.
    #[must_use]
    pub fn parse(header: &[u8]) -> Option<Self> {
        let octets = HEXLOWER_PERMISSIVE.decode(header.trim_ascii()).ok()?;
        octets.try_into().ok().map(Self)
    }

    /// Whether this body was signed with this secret. Takes as long however much of it is right.
    #[must_use]
    pub fn fits(&self, secret: &SecretString, body: &[u8]) -> bool {
        let raw = self.is(secret.expose_secret().as_bytes(), body);
        // What is no UTF-8 text was none in .NET either.
        let ascii = std::str::from_utf8(body).map_or(Choice::from(0), |text| {
            let secret = SecretString::from(in_ascii(secret.expose_secret()));
            self.is(secret.expose_secret().as_bytes(), in_ascii(text).as_bytes())
        });
        bool::from(raw | ascii)
    }

    fn is(&self, secret: &[u8], body: &[u8]) -> Choice {
        // HMAC takes keys of any length.
        Hmac::<Sha256>::new_from_slice(secret)
            .map_or(Choice::from(0), |mac| mac.chain_update(body).finalize().into_bytes().ct_eq(&self.0))
    }
}

/// .NET's `Encoding.ASCII`: `?` for every UTF-16 unit beyond ASCII, hence two for a character beyond the basic plane.
fn in_ascii(text: &str) -> String {
    let mut ascii = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '\0'..='\x7f' => ascii.push(character),
            '\u{80}'..='\u{ffff}' => ascii.push('?'),
            _ => ascii.push_str("??"),
        }
    }
    ascii
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn fits(signature: &str, secret: &str, body: &str) -> bool {
        Signature::parse(signature.as_bytes()).unwrap().fits(&secret.into(), body.as_bytes())
    }

    /// Made by Python: `hmac.new(secret, body, hashlib.sha256).hexdigest().upper()`; first of the UTF-8 bytes of both, then
    /// of their UTF-16 units with `?` for each that is beyond ASCII.
    const VECTORS: [(&str, &str, [&str; 2]); 5] = [
        (
            "hook-secret",
            r#"[{"Id":1,"FullName":"Jose"}]"#,
            [
                "5D748CFE6C097A9B8C38306C83FE740744B9377E8A95236110FA3071B15FBBBD",
                "5D748CFE6C097A9B8C38306C83FE740744B9377E8A95236110FA3071B15FBBBD",
            ],
        ),
        (
            "hook-secret",
            r#"[{"Id":1,"FullName":"José"}]"#,
            [
                "9E3B9D67BA0932C0B70094DD403DE5BE2BBDC43F96D6765A7D08200013C91CD3",
                "E0B1BADCAF2469DD1DF6B3A5C7D5E0C5A850EC84D116B8F737E21D0A00877D00",
            ],
        ),
        (
            "hook-secret",
            r#"[{"Id":1,"FullName":"Jo 😀"}]"#,
            [
                "F13D9AB6AEEC3F98AB244DCE905B9A18299C3ECD11FD7D72F748722DDC8B236B",
                "C9FE968CB08655F7AC7E6B8688AC7765DCA52B56A4691E33A418FE51F280F9CB",
            ],
        ),
        (
            "contraseña-é",
            r#"[{"Id":1,"FullName":"José"}]"#,
            [
                "99A82AA519051C18C566C8F3E64731B86DEFECDB6433125D3310FA6DF61A493F",
                "5047F99DF7BDEE5C1CD0B9572F37CF3DC9B858BA4FBA3DB0E3246546B8AFD93F",
            ],
        ),
        (
            "hook-secret",
            "",
            [
                "CA53FC06FC9FA11C439465966B3F90DC65C41710F948B062EDD493A27E632C59",
                "CA53FC06FC9FA11C439465966B3F90DC65C41710F948B062EDD493A27E632C59",
            ],
        ),
    ];

    #[test]
    fn either_digest_in_either_case() {
        for (secret, body, signatures) in VECTORS {
            for signature in signatures {
                assert!(fits(signature, secret, body), "{signature} of {body}");
                assert!(fits(&signature.to_ascii_lowercase(), secret, body), "{signature} of {body}");
                assert!(!fits(signature, "another-secret", body), "{signature} of {body}");
                assert!(!fits(signature, secret, &format!("{body} ")), "{signature} of {body}");
            }
        }
    }

    #[test]
    fn what_is_no_signature() {
        let [signature, _] = VECTORS[0].2;
        assert!(Signature::parse(format!(" {signature} ").as_bytes()).is_some());
        for text in
            ["", "00", &signature[1..], &signature[2..], &format!("{signature}00"), &signature.replace('5', "g")]
        {
            assert!(Signature::parse(text.as_bytes()).is_none(), "{text}");
        }
    }

    /// The `?` of .NET must not stand for what it never read.
    #[test]
    fn what_is_no_text_is_signed_as_it_is_sent_or_not_at_all() {
        let signed = Hmac::<Sha256>::new_from_slice(b"hook-secret").unwrap().chain_update(b"a?b").finalize();
        let signature = Signature(signed.into_bytes().into());
        assert!(signature.fits(&"hook-secret".into(), b"a?b"));
        assert!(!signature.fits(&"hook-secret".into(), b"a\xBFb"));
    }

    proptest! {
        #[test]
        fn one_bit_of_the_body_makes_it_another(
            secret in "[ -~é]{0,40}", body in "[ -~éß€😀]{1,60}", bit: prop::sample::Index, ascii: bool,
        ) {
            let (key, signed) = if ascii { (in_ascii(&secret), in_ascii(&body)) } else { (secret.clone(), body.clone()) };
            let digest = Hmac::<Sha256>::new_from_slice(key.as_bytes()).unwrap().chain_update(&signed).finalize();
            let signature = Signature(digest.into_bytes().into());
            let secret = SecretString::from(secret);
            prop_assert!(signature.fits(&secret, body.as_bytes()));
            let mut changed = body.clone().into_bytes();
            let bit = bit.index(changed.len() * 8);
            changed[bit / 8] ^= 1 << (bit % 8);
            // What ASCII does not show, a signature of it cannot cover.
            let hidden = ascii && std::str::from_utf8(&changed).is_ok_and(|text| in_ascii(text) == signed);
            prop_assert_eq!(signature.fits(&secret, &changed), hidden);
        }
    }
}
