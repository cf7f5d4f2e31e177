//! One-time passwords by time (RFC 6238): SHA-1, six digits, steps of 30 seconds.

use data_encoding::{BASE32_NOPAD, DecodeError};
use hmac::{Hmac, KeyInit, Mac};
use jiff::Timestamp;
use sha1::Sha1;

/// The one-time password of `seed` (Base32, as authenticator apps are given it: spaces, dashes, case and padding do not
/// matter) at `at`.
pub(crate) fn code(seed: &str, at: Timestamp) -> Result<String, SeedError> {
    let seed: String = seed
        .chars()
        .filter(|c| !c.is_whitespace() && !matches!(c, '-' | '='))
        .map(|c| c.to_ascii_uppercase())
        .collect();
    let key = BASE32_NOPAD.decode(seed.as_bytes()).map_err(|_: DecodeError| SeedError)?;
    if key.is_empty() {
        return Err(SeedError);
    }
    Ok(digits(&key, at, 6))
}

/// The seed is no Base32 text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the seed of the one-time passwords is not Base32 (letters A-Z and digits 2-7)")]
pub(crate) struct SeedError;

/// RFC 4226 §5.3 over the counter of RFC 6238 §4.2.
fn digits(key: &[u8], at: Timestamp, count: usize) -> String {
    let counter = at.as_second().div_euclid(30).to_be_bytes();
    // HMAC takes keys of any length; RFC 4226 knows no other outcome.
    let Ok(mac) = Hmac::<Sha1>::new_from_slice(key) else {
        return String::new();
    };
    let hash = mac.chain_update(counter).finalize().into_bytes();
    let offset = hash.last().map_or(0, |last| usize::from(last & 0x0f));
    let word = hash.iter().skip(offset).take(4).fold(0u32, |word, &byte| (word << 8) | u32::from(byte));
    let shown = format!("{:010}", word & 0x7fff_ffff);
    shown.chars().skip(10 - count).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 6238 appendix B, SHA-1, eight digits.
    #[test]
    fn vectors_of_the_rfc() {
        for (second, expected) in [
            (59, "94287082"),
            (1_111_111_109, "07081804"),
            (1_111_111_111, "14050471"),
            (1_234_567_890, "89005924"),
            (2_000_000_000, "69279037"),
            (20_000_000_000, "65353130"),
        ] {
            let at = Timestamp::from_second(second).unwrap();
            assert_eq!(digits(b"12345678901234567890", at, 8), expected);
        }
    }

    #[test]
    fn seeds_as_they_are_handed_out() {
        let at = Timestamp::from_second(59).unwrap();
        for seed in [
            "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ",
            "gezd gnbv gy3t qojq gezd-gnbv-gy3t-qojq",
            "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ===",
        ] {
            assert_eq!(code(seed, at), Ok("287082".to_owned()), "{seed}");
        }
        for seed in ["", "  ", "not base32!", "0189"] {
            assert_eq!(code(seed, at), Err(SeedError), "{seed}");
        }
    }
}
