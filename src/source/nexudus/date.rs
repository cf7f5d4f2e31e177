//! Dates as Nexudus writes them (facts/nexudus.md §3).

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::{Offset, TimeZone};

use crate::core::budget::moment;

/// Reads a date: `2026-11-23T10:00:00`, with 0–9 fraction digits or without seconds, with `Z` or an offset, which is
/// taken literally, or without, which means `zone`. A date without a time is midnight there.
///
/// Blank text and year 0001 (what .NET writes for "unset") are no bound. What lies past the last timestamp (.NET's
/// largest date is such) is that last one. `Err`: the text is no date.
pub(crate) fn parse(text: &str, zone: &TimeZone) -> Result<Option<Timestamp>, NotADate> {
    let text = text.trim();
    if text.is_empty() {
        return Ok(None);
    }
    let (civil, offset) = split_offset(text)?;
    let legible = |c: char| c.is_ascii_digit() || matches!(c, '-' | ':' | '.' | 'T' | 't' | ' ');
    // Signed years and dates without dashes are no one's way to write a record: they are typing mistakes.
    if !civil.chars().all(legible) || civil.find('-') != Some(4) {
        return Err(NotADate);
    }
    let civil: DateTime = civil.parse().map_err(|_| NotADate)?;
    if civil.year() <= 1 {
        return Ok(None);
    }
    let timestamp = match offset {
        Some(offset) => offset.to_timestamp(civil),
        None => zone.to_timestamp(civil),
    };
    // To the millisecond, as it is written down: more would be another date each time it is compared.
    Ok(Some(moment(timestamp.unwrap_or(Timestamp::MAX).as_millisecond())))
}

/// What a date shows, whatever its offset: the clock on the wall of whoever wrote it. None for what is no bound.
pub(crate) fn clock_face(text: &str) -> Result<Option<DateTime>, NotADate> {
    let (civil, _) = split_offset(text.trim())?;
    Ok(parse(civil, &TimeZone::UTC)?.map(|instant| TimeZone::UTC.to_datetime(instant)))
}

/// The text is no date.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NotADate;

/// Parts the offset from the rest: `Z`, `+01`, `+0100` or `+01:00`, and only after a time.
fn split_offset(text: &str) -> Result<(&str, Option<Offset>), NotADate> {
    let Some(time) = text.find([':', 'T', 't', ' ']) else {
        return Ok((text, None));
    };
    let Some(at) = text.get(time..).and_then(|rest| rest.find(['Z', 'z', '+', '-'])).map(|at| time + at) else {
        return Ok((text, None));
    };
    let (civil, offset) = text.split_at_checked(at).ok_or(NotADate)?;
    let civil = civil.trim_end();
    if matches!(offset, "Z" | "z") {
        return Ok((civil, Some(Offset::UTC)));
    }
    let (sign, digits) = match offset.split_at_checked(1) {
        Some(("+", digits)) => (1, digits),
        Some(("-", digits)) => (-1, digits),
        _ => return Err(NotADate),
    };
    let (hours, minutes) = match (digits.split_once(':'), digits.len()) {
        (Some(parts), 5) => parts,
        (None, 2) => (digits, "0"),
        (None, 4) => digits.split_at_checked(2).ok_or(NotADate)?,
        _ => return Err(NotADate),
    };
    let number = |text: &str| -> Result<i32, NotADate> {
        if text.bytes().all(|byte| byte.is_ascii_digit()) { text.parse().map_err(|_| NotADate) } else { Err(NotADate) }
    };
    let (hours, minutes) = (number(hours)?, number(minutes)?);
    if hours > 23 || minutes > 59 {
        return Err(NotADate);
    }
    let offset = Offset::from_seconds(sign * (hours * 3600 + minutes * 60)).map_err(|_| NotADate)?;
    Ok((civil, Some(offset)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(text: &str) -> Result<Option<String>, NotADate> {
        let zone = TimeZone::get("Europe/Madrid").unwrap();
        parse(text, &zone).map(|timestamp| timestamp.map(|timestamp| timestamp.to_string()))
    }

    #[test]
    fn dates_as_they_are_written() {
        for (text, instant) in [
            ("2026-11-23T10:30:00Z", "2026-11-23T10:30:00Z"),
            ("2026-11-23T10:30:00z", "2026-11-23T10:30:00Z"),
            ("2026-11-23T10:30:00.5Z", "2026-11-23T10:30:00.5Z"),
            ("2026-11-23T10:30:00.000Z", "2026-11-23T10:30:00Z"),
            ("2026-11-23T10:30:00.1234567Z", "2026-11-23T10:30:00.123Z"),
            ("2026-11-23T10:30:00.123456789Z", "2026-11-23T10:30:00.123Z"),
            ("2026-11-23T10:30Z", "2026-11-23T10:30:00Z"),
            ("2026-11-23T10:30:00+00:00", "2026-11-23T10:30:00Z"),
            ("2026-11-23T10:30:00+02:00", "2026-11-23T08:30:00Z"),
            ("2026-11-23T10:30:00-0530", "2026-11-23T16:00:00Z"),
            ("2026-11-23T10:30:00+02", "2026-11-23T08:30:00Z"),
            ("2026-11-23 10:30:00 +02:00", "2026-11-23T08:30:00Z"),
            // without an offset: the zone's, winter and summer
            ("2026-11-23T10:30:00", "2026-11-23T09:30:00Z"),
            ("2026-07-23T10:30:00.000", "2026-07-23T08:30:00Z"),
            (" 2026-11-23 10:30 ", "2026-11-23T09:30:00Z"),
            // a date alone: midnight there
            ("2026-11-23", "2026-11-22T23:00:00Z"),
            // an hour that the zone skips, and one that it has twice
            ("2026-03-29T02:30:00", "2026-03-29T01:30:00Z"),
            ("2026-10-25T02:30:00", "2026-10-25T00:30:00Z"),
            // the largest date of .NET
            ("9999-12-31T23:59:59.9999999", "9999-12-30T22:00:00.999999999Z"),
        ] {
            assert_eq!(read(text), Ok(Some(instant.to_owned())), "{text}");
        }
    }

    #[test]
    fn no_bound() {
        for text in
            ["", "   ", "0001-01-01T00:00:00", "0001-01-01T00:00:00Z", "0001-01-01", "0001-01-01T00:00:00+02:00"]
        {
            assert_eq!(read(text), Ok(None), "{text}");
        }
    }

    #[test]
    fn no_date() {
        for text in [
            "soon",
            "23/11/2026",
            "2026-13-01",
            "2026-02-30T00:00:00Z",
            "2026-11-23T25:00:00Z",
            "2026-11-23T10:30:00.1234567890Z",
            "2026-11-23T10:30:00+25:00",
            "2026-11-23T10:30:00+2:00",
            "2026-11-23T10:30:00ZZ",
            "2026-11-23T10:30:00Z[Europe/Madrid]",
            "2026-11-23T10:30:00[Europe/Madrid]",
            "1795429800",
            "20261123T103000Z",
            "-2026-11-23",
            "/Date(1795429800000)/",
        ] {
            assert_eq!(read(text), Err(NotADate), "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_text_panics(text: String) {
            let _ = read(&text);
        }

        #[test]
        fn nearly_dates_do_not_panic(text in "[0-9]{1,5}-[0-9]{1,2}-[0-9]{1,2}[T ]?[0-9:.]{0,12}[Zz+-]?[0-9:]{0,5}") {
            let _ = read(&text);
        }
    }
}
