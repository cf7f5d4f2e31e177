//! The clock of this machine, against Nexudus' and against common sense; and how dates are read.

use std::time::Duration;

use jiff::civil::{Date, DateTime, date};
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

use super::finding::Finding;
use crate::clock::Now;
use crate::core::ident::TokenId;
use crate::source::nexudus::date;
use crate::source::nexudus::wire::{List, Record};

const CHECK: &str = "clock";

/// No clock that is set shows a day before this.
const RELEASED: Date = date(2026, 11, 1);

/// Less is right.
const RIGHT: SignedDuration = SignedDuration::from_secs(30);

/// More denies guests whose codes are valid, or lets in those whose are not.
const WRONG: SignedDuration = SignedDuration::from_secs(120);

const REMEDY: &str = "have this machine keep its clock by NTP: `timedatectl set-ntp true`, and let UDP port 123 out";

/// How far Nexudus' clock is ahead of ours: its `Date`, cut to the second, against the middle between asking and hearing.
pub(super) fn ahead(asked: Now, heard: Now, theirs: Timestamp) -> SignedDuration {
    let round_trip = heard.mono.saturating_sub(asked.mono);
    let ours = heard.wall.saturating_sub(round_trip / 2).unwrap_or(heard.wall);
    theirs.duration_since(ours) + SignedDuration::from_millis(500)
}

/// Judges the clock; `ahead`: how far Nexudus' is ahead of it, if it was heard.
pub(super) fn judge(now: Timestamp, ahead: Option<SignedDuration>) -> Finding {
    if TimeZone::UTC.to_datetime(now).date() < RELEASED {
        let detail = format!("this machine's clock shows {}, so it was not set", at(now, &TimeZone::UTC));
        return Finding::fail(CHECK, detail, REMEDY);
    }
    let Some(ahead) = ahead else {
        return Finding::ok(
            CHECK,
            format!("it is {} UTC here; there is nothing to compare it with", at(now, &TimeZone::UTC)),
        );
    };
    let far = ahead.abs();
    let side = if ahead.is_positive() { "behind" } else { "ahead of" };
    let detail = format!("this machine is {} {side} Nexudus", spoken(far));
    if far < RIGHT {
        let close = far < SignedDuration::from_secs(2);
        Finding::ok(CHECK, if close { "right, by Nexudus' clock".to_owned() } else { detail })
    } else if far < WRONG {
        Finding::warn(CHECK, detail, REMEDY)
    } else {
        Finding::fail(CHECK, format!("{detail}: codes are valid at the wrong time"), REMEDY)
    }
}

fn spoken(time: SignedDuration) -> String {
    let seconds = Duration::from_secs(time.unsigned_abs().as_secs());
    match seconds.as_secs() {
        0..120 => format!("{} s", seconds.as_secs()),
        120..7200 => format!("{} min", seconds.as_secs() / 60),
        7200..172_800 => format!("{} h", seconds.as_secs() / 3600),
        _ => format!("{} days", seconds.as_secs() / 86_400),
    }
}

/// How the first `ValidTo` of a list is read, with the other way to read it: which is right, Nexudus does not say
/// (facts/nexudus.md §8), but its page shows it.
pub(super) fn dates(list: &List<'_>, zone: &TimeZone) -> Finding {
    const CHECK: &str = "dates";
    let readings = list.records.iter().filter_map(|json| {
        let record = Record::parse(json.get()).ok()?;
        let sent = record.valid_to_as_sent()?;
        Some((record.id().ok()?, date::clock_face(&sent).ok()??, date::parse(&sent, zone).ok()??))
    });
    let mut readings = readings.filter(|(_, face, _)| face.year() < 9999);
    let Some((token, face, read)) = readings.next() else {
        return Finding::ok(
            CHECK,
            "none of the tokens that were listed has a ValidTo to compare with its page in Nexudus",
        );
    };
    Finding::ok(CHECK, compared(token, face, read, zone))
}

fn compared(token: TokenId, face: DateTime, read: Timestamp, zone: &TimeZone) -> String {
    let place = zone.iana_name().unwrap_or("local time");
    let both = |instant: Timestamp| format!("{} UTC = {} {place}", at(instant, &TimeZone::UTC), at(instant, zone));
    let instant = |zone: &TimeZone| zone.to_timestamp(face).unwrap_or(read);
    format!(
        "the ValidTo of access token {token} is {} if it was sent in UTC, or {} if in local time; it is read as {} UTC: \
         compare it with its page in Nexudus",
        both(instant(&TimeZone::UTC)),
        both(instant(zone)),
        at(read, &TimeZone::UTC)
    )
}

fn at(instant: Timestamp, zone: &TimeZone) -> String {
    zone.to_datetime(instant).strftime("%Y-%m-%d %H:%M").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::doctor::finding::Grade;

    fn instant(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn half_a_minute_is_right_and_two_are_wrong_on_either_side() {
        let now = instant("2026-11-24T12:00:00Z");
        for (seconds, grade) in
            [(0, Grade::Ok), (29, Grade::Ok), (30, Grade::Warn), (119, Grade::Warn), (120, Grade::Fail)]
        {
            for sign in [1, -1] {
                let finding = judge(now, Some(SignedDuration::from_secs(sign * seconds)));
                assert_eq!(finding.result, grade, "{} {}", sign * seconds, finding.detail);
                assert_eq!(finding.remedy.is_some(), grade != Grade::Ok);
            }
        }
        let detail = |seconds| judge(now, Some(SignedDuration::from_secs(seconds))).detail;
        assert!(detail(3600).starts_with("this machine is 60 min behind Nexudus"), "{}", detail(3600));
        assert!(detail(-90).starts_with("this machine is 90 s ahead of Nexudus"), "{}", detail(-90));
    }

    #[test]
    fn a_clock_before_the_release_was_not_set_whatever_nexudus_says() {
        for (now, grade) in [
            ("1970-01-01T00:03:00Z", Grade::Fail),
            ("2026-10-31T23:59:59Z", Grade::Fail),
            ("2026-11-01T00:00:00Z", Grade::Ok),
        ] {
            assert_eq!(judge(instant(now), None).result, grade, "{now}");
            assert_eq!(judge(instant(now), Some(SignedDuration::ZERO)).result, grade, "{now}");
        }
    }

    #[test]
    fn half_of_the_round_trip_is_no_skew() {
        let asked = Now { wall: instant("2026-11-24T12:00:00Z"), mono: Duration::ZERO };
        let heard = Now { wall: instant("2026-11-24T12:00:08Z"), mono: Duration::from_secs(8) };
        assert_eq!(ahead(asked, heard, instant("2026-11-24T12:00:04Z")), SignedDuration::from_millis(500));
    }

    #[test]
    fn both_readings_of_a_date_are_shown() {
        let zone = TimeZone::get("Europe/Madrid").unwrap();
        let text = r#"{"Records":[{"Id":1,"ValidTo":null},{"Id":2,"ValidTo":"0001-01-01T00:00:00"},{"Id":3,"ValidTo":"soon"},
            {"Id":4,"ValidTo":"2026-11-24T18:00:00Z"}],"HasNextPage":false}"#;
        let detail = dates(&List::parse(text).unwrap(), &zone).detail;
        for part in [
            "access token 4 is",
            "2026-11-24 18:00 UTC = 2026-11-24 19:00 Europe/Madrid if it was sent in UTC",
            "2026-11-24 17:00 UTC = 2026-11-24 18:00 Europe/Madrid if in local time",
            "it is read as 2026-11-24 18:00 UTC",
        ] {
            assert!(detail.contains(part), "{part} in {detail}");
        }
        let local = dates(&List::parse(&text.replace("00Z", "00")).unwrap(), &zone).detail;
        assert!(local.contains("it is read as 2026-11-24 17:00 UTC"), "{local}");
        let none = dates(&List::parse(r#"{"Records":[],"HasNextPage":false}"#).unwrap(), &zone);
        assert!(none.result == Grade::Ok && none.detail.starts_with("none"), "{none:?}");
    }
}
