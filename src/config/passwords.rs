//! What an operator's password is written as: itself, or its hash as `spotgate password` prints it.

use argon2::Params;
use argon2::password_hash::phc::PasswordHash;

/// Characters below which a password can be guessed.
pub const SHORTEST: usize = 8;

/// The most memory and time that a hash may ask for: 256 MiB, 16 passes. Whoever signs in waits for it.
const MOST_MEMORY_KIB: u32 = 256 * 1024;
const MOST_PASSES: u32 = 16;

/// How other programs' hashes begin (crypt(5), and the names of PHC strings).
const HASHES: [&str; 14] =
    ["1", "2a", "2b", "2y", "5", "6", "7", "gy", "y", "argon2i", "argon2d", "argon2id", "bcrypt", "scrypt"];

/// What a password is written as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Written {
    /// Itself.
    Plainly,
    /// A hash that can be checked.
    Hashed,
    /// A hash that cannot: of another kind, cut off, or asking for too much.
    Unusable,
}

/// What this is.
#[must_use]
pub fn written(password: &str) -> Written {
    let name = password.strip_prefix('$').and_then(|rest| rest.split_once('$')).map(|(name, _)| name);
    match name {
        Some(name) if HASHES.contains(&name) || name.starts_with("pbkdf2") => {
            if is_usable(password) {
                Written::Hashed
            } else {
                Written::Unusable
            }
        }
        _ => Written::Plainly,
    }
}

fn is_usable(hash: &str) -> bool {
    let Ok(hash) = PasswordHash::new(hash) else { return false };
    let is_argon2 = matches!(hash.algorithm.as_str(), "argon2i" | "argon2d" | "argon2id");
    let Ok(params) = Params::try_from(&hash) else { return false };
    is_argon2
        && hash.salt.is_some()
        && hash.hash.is_some()
        && params.m_cost() <= MOST_MEMORY_KIB
        && params.t_cost() <= MOST_PASSES
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str =
        "$argon2id$v=19$m=19456,t=2,p=1$c29tZXNhbHRzb21lc2FsdA$iekCn0Y3spW+sCcFanM2xBT63UP2sghkUoHLIUpWRS8";

    #[test]
    fn a_hash_is_told_from_a_password_and_from_one_that_cannot_be_checked() {
        for (text, is) in [
            (GOOD, Written::Hashed),
            ("a long lemonade", Written::Plainly),
            ("$ummer2026", Written::Plainly),
            ("$ummer$2026", Written::Plainly),
            ("", Written::Plainly),
            ("$2b$12$abcdefghijklmnopqrstuuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ01", Written::Unusable),
            ("$6$salt$hash", Written::Unusable),
            ("$scrypt$ln=16,r=8,p=1$c2FsdA$aGFzaA", Written::Unusable),
            ("$pbkdf2-sha256$i=1$c2FsdA$aGFzaA", Written::Unusable),
            (&GOOD[..60], Written::Unusable),
            (&GOOD.replace("m=19456", "m=4000000"), Written::Unusable),
            (&GOOD.replace("t=2", "t=99"), Written::Unusable),
        ] {
            assert_eq!(written(text), is, "{text}");
        }
    }
}
