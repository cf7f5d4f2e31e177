//! How far this machine's clock is off, by the `Date` of Nexudus' answers (design.md, "Time").

use std::time::Duration;

use jiff::SignedDuration;

/// From how far off a clock is corrected: the windows of tokens are in minutes, and `Date` is in seconds.
const FAR: SignedDuration = SignedDuration::from_secs(60);

/// How far answers may differ that say the same.
const ALIKE: SignedDuration = SignedDuration::from_secs(10);

/// Answers in a row that must say the same.
const ANSWERS: u32 = 3;

/// Answers that took longer say too little.
const PROMPT: Duration = Duration::from_secs(10);

/// What the latest answers said.
#[derive(Debug, Default)]
pub(super) struct Skew {
    latest: SignedDuration,
    alike: u32,
}

impl Skew {
    /// Takes in how far ahead of our clock, uncorrected, an answer's date was, and how long that answer took. `unset`: our
    /// clock is known to be wrong, so that one answer is enough. Some: now it is clear whether, and by how much, it is to be
    /// corrected.
    pub(super) fn note(
        &mut self,
        ahead: SignedDuration,
        took: Duration,
        unset: bool,
    ) -> Option<Option<SignedDuration>> {
        if took > PROMPT {
            return None;
        }
        let alike = self.alike > 0 && (ahead - self.latest).abs() <= ALIKE;
        self.alike = if alike { self.alike.saturating_add(1) } else { 1 };
        self.latest = ahead;
        (unset || self.alike >= ANSWERS).then(|| (ahead.abs() >= FAR).then_some(ahead))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PROMPTLY: Duration = Duration::from_millis(80);

    fn s(seconds: i64) -> SignedDuration {
        SignedDuration::from_secs(seconds)
    }

    #[test]
    fn a_clock_is_corrected_once_three_answers_agree_and_no_more_when_it_is_right() {
        let mut skew = Skew::default();
        assert_eq!(skew.note(s(300), PROMPTLY, false), None);
        assert_eq!(skew.note(s(301), PROMPTLY, false), None);
        assert_eq!(skew.note(s(300), PROMPTLY, false), Some(Some(s(300))));
        assert_eq!(skew.note(s(0), PROMPTLY, false), None, "one answer may be from a cache");
        assert_eq!(skew.note(s(0), PROMPTLY, false), None);
        assert_eq!(skew.note(s(-1), PROMPTLY, false), Some(None));
        assert_eq!(skew.note(s(-59), Duration::from_secs(11), false), None, "it took long");
    }

    #[test]
    fn a_clock_that_was_never_set_takes_the_first_answer() {
        assert_eq!(Skew::default().note(s(1_700_000_000), PROMPTLY, true), Some(Some(s(1_700_000_000))));
    }
}
