//! Moments and numbers as people read them.

use jiff::Timestamp;
use jiff::tz::TimeZone;

/// A number in groups of three digits.
pub(super) fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut grouped = String::with_capacity(digits.len() + digits.len() / 3);
    for (position, digit) in digits.chars().enumerate() {
        if position > 0 && (digits.len() - position).is_multiple_of(3) {
            grouped.push('\u{202f}');
        }
        grouped.push(digit);
    }
    grouped
}

/// Where and when pages are read.
#[derive(Clone, Copy)]
pub(super) struct Here<'z> {
    pub(super) zone: &'z TimeZone,
    pub(super) now: Timestamp,
}

impl Here<'_> {
    /// `14:05:09` today, else `23 Nov 14:05`, with the year where it is another.
    pub(super) fn moment(&self, at: Timestamp) -> String {
        let (at, now) = (at.to_zoned_datetime(self.zone.clone()), self.now.to_zoned_datetime(self.zone.clone()));
        let form = if at.date() == now.date() {
            "%H:%M:%S"
        } else if at.year() == now.year() {
            "%-d %b %H:%M"
        } else {
            "%-d %b %Y %H:%M"
        };
        at.strftime(form).to_string()
    }

    /// `just now`, `5 min ago`, `3 h ago`, `2 days ago`.
    pub(super) fn ago(&self, at: Timestamp) -> String {
        let seconds = self.now.as_second().saturating_sub(at.as_second()).max(0);
        match seconds {
            0..10 => "just now".to_owned(),
            10..120 => format!("{seconds} s ago"),
            120..7200 => format!("{} min ago", seconds / 60),
            7200..172_800 => format!("{} h ago", seconds / 3600),
            _ => format!("{} days ago", seconds / 86_400),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_and_numbers_are_short() {
        let zone = TimeZone::get("Europe/Madrid").unwrap();
        let now = "2026-11-23T12:00:00Z".parse().unwrap();
        let here = Here { zone: &zone, now };
        let moment = |text: &str| here.moment(text.parse().unwrap());
        assert_eq!(moment("2026-11-23T11:59:58Z"), "12:59:58");
        assert_eq!(moment("2026-11-22T11:59:58Z"), "22 Nov 12:59");
        assert_eq!(moment("2025-11-22T11:59:58Z"), "22 Nov 2025 12:59");
        let ago = |text: &str| here.ago(text.parse().unwrap());
        assert_eq!(ago("2026-11-23T11:59:58Z"), "just now");
        assert_eq!(ago("2026-11-23T11:58:30Z"), "90 s ago");
        assert_eq!(ago("2026-11-23T11:00:00Z"), "60 min ago");
        assert_eq!(ago("2026-11-22T12:00:00Z"), "24 h ago");
        assert_eq!(ago("2026-11-13T12:00:00Z"), "10 days ago");
        assert_eq!(
            (count(7), count(1234), count(1_234_567)),
            ("7".into(), "1\u{202f}234".into(), "1\u{202f}234\u{202f}567".into())
        );
    }
}
