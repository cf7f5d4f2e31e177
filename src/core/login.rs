//! A login as it comes from any door, before anything is known about it.

use std::fmt;
use std::net::IpAddr;

use md5::{Digest, Md5};
use subtle::ConstantTimeEq;

use super::ident::{Code, Mac};

/// Somebody wants to go online.
#[derive(Clone)]
pub struct Login<'a> {
    /// What the right to go online is claimed by.
    pub claim: Claim,
    /// The claim in the very bytes that were sent, since a CHAP digest is made over those.
    pub typed: &'a [u8],
    /// What was given as a password.
    pub proof: Proof<'a>,
    /// The device, if the door knows it.
    pub device: Option<Mac>,
    /// The device's address, if the door knows it.
    pub ip: Option<IpAddr>,
    /// The address the router asks from, if it is one of its own.
    pub router: Option<IpAddr>,
    /// The router's own name for the session (Acct-Session-Id).
    pub nas_session: Option<&'a str>,
}

/// What the right to go online is claimed by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Claim {
    /// An access code.
    Code(Code),
    /// The device itself (MAC login).
    Device(Mac),
}

impl fmt::Debug for Login<'_> {
    /// Leaves out what was typed.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Login")
            .field("claim", &self.claim)
            .field("proof", &self.proof)
            .field("device", &self.device)
            .field("nas_session", &self.nas_session)
            .finish_non_exhaustive()
    }
}

/// What was given as a password. It never prints.
#[derive(Clone, Copy)]
pub enum Proof<'a> {
    /// The door takes the code alone.
    NotAsked,
    /// PAP: the password itself (RFC 2865 §5.2), unhidden.
    Password(&'a [u8]),
    /// CHAP: MD5 over identifier, password and challenge (RFC 2865 §5.3, RFC 1994).
    Chap {
        /// The CHAP identifier.
        ident: u8,
        /// The sixteen octets of the response.
        digest: &'a [u8; 16],
        /// The challenge: its attribute, or the Request Authenticator.
        challenge: &'a [u8],
    },
}

impl Proof<'_> {
    /// Whether this is the proof for `password`; compared in constant time.
    #[must_use]
    pub fn shows(&self, password: &[u8]) -> bool {
        match self {
            Proof::NotAsked => true,
            Proof::Password(given) => given.ct_eq(password).into(),
            Proof::Chap { ident, digest, challenge } => {
                let expected =
                    Md5::new().chain_update([*ident]).chain_update(password).chain_update(challenge).finalize();
                digest.ct_eq(expected.as_slice()).into()
            }
        }
    }
}

impl fmt::Debug for Proof<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Proof::NotAsked => "NotAsked",
            Proof::Password(_) => "Password(..)",
            Proof::Chap { .. } => "Chap(..)",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example that facts/hotspot.md §5.2 and §10 give for code `kx7q-91mp`.
    #[test]
    fn chap_matches_the_routers_digest() {
        let challenge =
            [0x5b, 0x0a, 0x9d, 0xe1, 0x42, 0x77, 0x33, 0xc8, 0x1f, 0xd0, 0xaa, 0x64, 0x12, 0xe9, 0x8b, 0x07];
        let digest = [0x33, 0xb1, 0xec, 0x44, 0x0c, 0xdb, 0xb4, 0x8a, 0x28, 0xca, 0x00, 0x09, 0x6f, 0x49, 0xaa, 0xff];
        let proof = Proof::Chap { ident: 0xf9, digest: &digest, challenge: &challenge };
        assert!(proof.shows(b"kx7q-91mp"));
        assert!(!proof.shows(b"kx7q-91mq") && !proof.shows(b""));
    }

    /// The MAC login of facts/hotspot.md §10: CHAP of the empty password.
    #[test]
    fn chap_of_nothing() {
        let challenge =
            [0xc4, 0x1f, 0x7a, 0x00, 0x96, 0xe2, 0xd8, 0xb3, 0x51, 0x7c, 0x0e, 0x64, 0xaa, 0x95, 0xf1, 0x20];
        let digest = [0x28, 0xf3, 0x9c, 0x7f, 0x17, 0x8b, 0x5e, 0x5c, 0xbf, 0xea, 0xde, 0x9f, 0x1b, 0xe7, 0xfc, 0x29];
        assert!(Proof::Chap { ident: 0x3e, digest: &digest, challenge: &challenge }.shows(b""));
    }

    #[test]
    fn a_proof_does_not_print() {
        assert_eq!(format!("{:?}", Proof::Password(b"kx7q-91mp")), "Password(..)");
        let chap = Proof::Chap { ident: 0x3e, digest: b"kx7q-91mpkx7q-91", challenge: b"kx7q-91mp" };
        assert_eq!(format!("{chap:?} {:?}", Proof::NotAsked), "Chap(..) NotAsked");
    }

    #[test]
    fn a_login_prints_without_its_code() {
        let login = Login {
            claim: Claim::Code(Code::parse("kx7q-91mp").unwrap()),
            typed: b"kx7q-91mp",
            proof: Proof::Password(b"kx7q-91mp"),
            device: Some(Mac::new([2; 6])),
            ip: None,
            router: None,
            nas_session: Some("80a00001"),
        };
        assert_eq!(
            format!("{login:?}"),
            "Login { claim: Code(Code(..)), proof: Password(..), device: Some(02:02:02:02:02:02), \
             nas_session: Some(\"80a00001\"), .. }"
        );
    }

    #[test]
    fn a_password_is_shown_in_full_or_not_at_all() {
        let proof = Proof::Password(b"kx7q");
        assert!(proof.shows(b"kx7q"));
        for other in [&b""[..], b"kx7", b"kx7qq", b"KX7Q", b"kx7q\0"] {
            assert!(!proof.shows(other), "{other:?}");
        }
        assert!(Proof::NotAsked.shows(b"kx7q") && Proof::Password(b"").shows(b""));
    }
}
