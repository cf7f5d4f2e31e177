//! What the router remembers of a device whose browser is here: the challenge of its login page, and how it logged in.

use std::fmt::Write as _;
use std::time::Duration;

/// How long a challenge can be answered (facts/hotspot.md §5.2).
const LIFETIME: Duration = Duration::from_secs(3600);

#[derive(Default)]
pub(super) struct Memory {
    challenge: Option<(Challenge, Duration)>,
    /// The session that a form has opened, and the way.
    pub(super) opened: Option<(String, &'static str)>,
}

/// What the form must answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Challenge {
    pub(super) id: u8,
    pub(super) octets: [u8; 16],
}

impl Memory {
    /// The challenge for a login page; none where the machine gives no random octets.
    pub(super) fn challenge(&mut self, now: Duration) -> Option<Challenge> {
        if let Some((challenge, since)) = self.challenge
            && now < since + LIFETIME
        {
            return Some(challenge);
        }
        let mut random = [0; 17];
        getrandom::fill(&mut random).ok()?;
        let [id, octets @ ..] = random;
        let challenge = Challenge { id, octets };
        self.challenge = Some((challenge, now));
        Some(challenge)
    }

    /// The challenge that an answer is to, which can be answered no more.
    pub(super) fn take_challenge(&mut self, now: Duration) -> Option<Challenge> {
        self.challenge.take().filter(|(_, since)| now < *since + LIFETIME).map(|(challenge, _)| challenge)
    }
}

/// Octets as the pages print them: a backslash and three octal digits each.
pub(super) fn octal(octets: &[u8]) -> String {
    octets.iter().fold(String::new(), |mut text, octet| {
        let _ = write!(text, "\\{octet:03o}");
        text
    })
}
