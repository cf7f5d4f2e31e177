//! AccessToken records and lists exactly as Nexudus sends them (facts/nexudus.md §2, §3), read with tolerance for
//! every spelling seen and without a guess where the meaning would change.

use std::borrow::Cow;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use super::date;
use crate::core::ident::{BusinessId, Code, Mac, TokenId};
use crate::core::token::AccessToken;

/// A record as sent. An absent key is not null: see [`Record::missing`].
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Record<'a> {
    #[serde(borrow, deserialize_with = "present")]
    id: Field<'a>,
    #[serde(borrow, deserialize_with = "present")]
    business_id: Field<'a>,
    #[serde(borrow, deserialize_with = "present")]
    access_code: Field<'a>,
    #[serde(borrow, deserialize_with = "present")]
    valid_from: Field<'a>,
    #[serde(borrow, deserialize_with = "present")]
    valid_to: Field<'a>,
    #[serde(borrow, deserialize_with = "present")]
    minutes_included: Field<'a>,
    #[serde(borrow, deserialize_with = "present")]
    minutes_left: Field<'a>,
    #[serde(borrow, deserialize_with = "present")]
    user_limit: Field<'a>,
    #[serde(borrow, deserialize_with = "present")]
    mac_address: Field<'a>,
    #[serde(borrow, deserialize_with = "present")]
    last_access: Field<'a>,
    #[serde(borrow, deserialize_with = "present")]
    updated_on: Field<'a>,
}

/// None: the key is absent. `null` is `Some`.
type Field<'a> = Option<&'a RawValue>;

fn present<'de, D: Deserializer<'de>>(value: D) -> Result<Field<'de>, D::Error> {
    <&RawValue>::deserialize(value).map(Some)
}

/// Why a record cannot be used. It names the field and never shows a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field} {problem}")]
pub struct Malformed {
    /// The key, as Nexudus writes it.
    pub field: &'static str,
    /// What is wrong with its value.
    pub problem: &'static str,
}

/// A record as meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reading {
    /// The token.
    pub token: AccessToken,
    /// `UpdatedOn`; none also where it makes no sense, since nobody is let in or refused by it.
    pub updated: Option<Timestamp>,
    /// Whether `MacAddress` holds something that is no MAC address and was left out of the token.
    pub odd_devices: bool,
}

impl<'a> Record<'a> {
    /// Takes a record apart; unknown keys are ignored.
    pub fn parse(json: &'a str) -> Result<Self, Malformed> {
        let malformed = Malformed { field: "the record", problem: "is not an object with each key once" };
        if !json.trim_start().starts_with('{') {
            return Err(malformed);
        }
        serde_json::from_str(json).map_err(|_| malformed)
    }

    /// Whether a key is absent that bears on a decision: lists may leave keys out, and the record read singly has
    /// them (facts/nexudus.md §2 "Do list records omit fields?").
    #[must_use]
    pub const fn missing(&self) -> bool {
        self.business_id.is_none()
            || self.access_code.is_none()
            || self.valid_from.is_none()
            || self.valid_to.is_none()
            || self.minutes_included.is_none()
            || self.minutes_left.is_none()
            || self.user_limit.is_none()
            || self.mac_address.is_none()
    }

    /// Whether the key `MacAddress` is there.
    #[must_use]
    pub const fn has_mac_address(&self) -> bool {
        self.mac_address.is_some()
    }

    /// `Id`.
    pub fn id(&self) -> Result<TokenId, Malformed> {
        let id = integer("Id", self.id, i64::MIN..=i64::MAX)?;
        id.map(TokenId).ok_or(Malformed { field: "Id", problem: "is missing" })
    }

    /// `BusinessId`.
    pub fn business(&self) -> Result<Option<BusinessId>, Malformed> {
        Ok(integer("BusinessId", self.business_id, i64::MIN..=i64::MAX)?.map(BusinessId))
    }

    /// `AccessCode`; none where the key is absent. A number is taken as it is written.
    pub fn code(&self) -> Result<Option<Code>, Malformed> {
        const FIELD: &str = "AccessCode";
        if self.access_code.is_none() {
            return Ok(None);
        }
        let text = text(FIELD, self.access_code, "is neither text nor a number")?;
        let text = text.ok_or(Malformed { field: FIELD, problem: "is blank" })?;
        Code::parse(&text).map(Some).map_err(|_| Malformed {
            field: FIELD,
            problem: "is no usable code: blank, longer than 253 bytes, or with control characters",
        })
    }

    /// `MacAddress`: the devices in it, and whether it holds anything else.
    #[must_use]
    pub fn devices(&self) -> (Vec<Mac>, bool) {
        match text("MacAddress", self.mac_address, "is not text") {
            Ok(Some(text)) => macs(&text),
            Ok(None) => (Vec::new(), false),
            Err(_) => (Vec::new(), true),
        }
    }

    /// `UpdatedOn`, which is UTC (facts/nexudus.md §3); none also where it makes no sense.
    #[must_use]
    pub fn updated(&self) -> Option<Timestamp> {
        instant("UpdatedOn", self.updated_on, &TimeZone::UTC).ok().flatten()
    }

    /// `ValidTo` as it was sent, which need be no date; none where there is none.
    #[must_use]
    pub fn valid_to_as_sent(&self) -> Option<Cow<'a, str>> {
        text("ValidTo", self.valid_to, "is no text").ok().flatten()
    }

    /// The record as meant; `zone` reads dates that have no offset. An absent key means the same as null here.
    pub fn read(&self, zone: &TimeZone) -> Result<Reading, Malformed> {
        let (devices, odd_devices) = self.devices();
        let token = AccessToken {
            id: self.id()?,
            business: self.business()?,
            code: self.code()?.ok_or(Malformed { field: "AccessCode", problem: "is missing" })?,
            valid_from: instant("ValidFrom", self.valid_from, zone)?,
            valid_to: instant("ValidTo", self.valid_to, zone)?,
            minutes_included: small("MinutesIncluded", self.minutes_included)?,
            minutes_left: small("MinutesLeft", self.minutes_left)?,
            user_limit: small("UserLimit", self.user_limit)?,
            devices: devices.into(),
            // Nobody is let in or refused by it.
            last_access: instant("LastAccess", self.last_access, zone).ok().flatten(),
        };
        Ok(Reading { token, updated: self.updated(), odd_devices })
    }
}

/// Text or the literal of a number; none for null, a blank text or an absent key.
fn text<'a>(name: &'static str, field: Field<'a>, problem: &'static str) -> Result<Option<Cow<'a, str>>, Malformed> {
    let malformed = Malformed { field: name, problem };
    let Some(json) = field.map(RawValue::get) else {
        return Ok(None);
    };
    let text = match json.bytes().next() {
        Some(b'"') => match json.get(1..json.len() - 1) {
            Some(plain) if !plain.contains('\\') => Cow::Borrowed(plain),
            _ => Cow::Owned(serde_json::from_str(json).map_err(|_| malformed)?),
        },
        Some(b'-' | b'0'..=b'9') => Cow::Borrowed(json),
        Some(b'n') => return Ok(None),
        _ => return Err(malformed),
    };
    Ok(if text.trim().is_empty() { None } else { Some(text) })
}

/// A whole number written as `12`, `"12"` or `12.0`.
fn integer(
    name: &'static str,
    field: Field<'_>,
    range: std::ops::RangeInclusive<i64>,
) -> Result<Option<i64>, Malformed> {
    const PROBLEM: &str = "is not a whole number";
    let Some(text) = text(name, field, PROBLEM)? else {
        return Ok(None);
    };
    let text = text.trim();
    if let Ok(number) = text.parse()
        && range.contains(&number)
    {
        return Ok(Some(number));
    }
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let digits = whole.strip_prefix(['-', '+']).unwrap_or(whole);
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) || !fraction.bytes().all(|b| b == b'0') {
        return Err(Malformed { field: name, problem: PROBLEM });
    }
    match whole.parse() {
        Ok(number) if range.contains(&number) => Ok(Some(number)),
        _ => Err(Malformed { field: name, problem: "is out of range" }),
    }
}

/// A whole number as the server has it for minutes and devices: in 32 bits.
fn small(name: &'static str, field: Field<'_>) -> Result<Option<i32>, Malformed> {
    let number = integer(name, field, i64::from(i32::MIN)..=i64::from(i32::MAX))?;
    Ok(number.and_then(|number| i32::try_from(number).ok()))
}

fn instant(name: &'static str, field: Field<'_>, zone: &TimeZone) -> Result<Option<Timestamp>, Malformed> {
    let malformed = Malformed { field: name, problem: "is not a date like 2026-11-23T10:00:00Z" };
    match text(name, field, malformed.problem)? {
        Some(text) => date::parse(&text, zone).map_err(|date::NotADate| malformed),
        None => Ok(None),
    }
}

/// The MAC addresses in a text, each once, in any spelling, with commas, semicolons or white space between them; and
/// whether the text holds anything else.
fn macs(text: &str) -> (Vec<Mac>, bool) {
    let (mut devices, mut odd) = (Vec::new(), false);
    for piece in text.split([',', ';']) {
        let words: Vec<&str> = piece.split_whitespace().collect();
        let mut words = words.as_slice();
        while !words.is_empty() {
            // An address may itself be spelled with spaces: in two, three or six groups.
            let found = [1, 2, 3, 6].into_iter().find_map(|length| {
                let (head, rest) = words.split_at_checked(length)?;
                head.join(" ").parse::<Mac>().ok().map(|mac| (mac, rest))
            });
            match found {
                Some((mac, rest)) => {
                    if !devices.contains(&mac) {
                        devices.push(mac);
                    }
                    words = rest;
                }
                None => {
                    odd = true;
                    words = words.get(1..).unwrap_or_default();
                }
            }
        }
    }
    (devices, odd)
}

/// One page of a list.
pub struct List<'a> {
    /// Its records, each to be read by [`Record::parse`].
    pub records: Vec<&'a RawValue>,
    /// Whether another page follows.
    pub has_next_page: bool,
    /// How many records all pages hold, if the answer says so.
    pub total: Option<u64>,
}

/// Why an answer is no list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotAList {
    /// It is not JSON, or was cut off.
    #[error("not JSON, or cut off, at line {line} column {column}")]
    Json {
        /// Counted from 1.
        line: usize,
        /// Counted from 1.
        column: usize,
    },
    /// It is JSON of another shape.
    #[error("not a list of records")]
    Shape,
    /// It reports a failure of the call (facts/nexudus.md §2 "Writes").
    #[error("the answer reports a failure")]
    Failure,
}

impl<'a> List<'a> {
    /// Reads the envelope `{"Records": […], "HasNextPage": …}`; a missing `HasNextPage` means that there is none.
    pub fn parse(body: &'a str) -> Result<Self, NotAList> {
        #[derive(Deserialize)]
        #[serde(rename_all = "PascalCase")]
        struct Envelope<'a> {
            #[serde(borrow, default)]
            records: Option<Vec<&'a RawValue>>,
            #[serde(borrow, default)]
            has_next_page: Option<&'a RawValue>,
            #[serde(borrow, default)]
            total_items: Option<&'a RawValue>,
        }
        reported_failure(body)?;
        let envelope: Envelope<'a> = serde_json::from_str(body).map_err(|_| NotAList::Shape)?;
        let records = envelope.records.ok_or(NotAList::Shape)?;
        let has_next_page = envelope.has_next_page.map(RawValue::get);
        let has_next_page = matches!(has_next_page, Some("true" | "\"true\"" | "\"True\"" | "1"));
        let total = integer("TotalItems", envelope.total_items, 0..=i64::MAX).ok().flatten();
        Ok(Self { records, has_next_page, total: total.map(i64::unsigned_abs) })
    }

    /// Reads an envelope or the bare array of records, as the file source takes both.
    pub fn parse_array_or_envelope(body: &'a str) -> Result<Self, NotAList> {
        if body.trim_start().starts_with('[') {
            let records = serde_json::from_str(body).map_err(|error| broken(&error))?;
            return Ok(Self { records, has_next_page: false, total: None });
        }
        Self::parse(body)
    }
}

/// Whether `body` is an object that reports no failure: a call can fail with status 200 and `WasSuccessful: false` or
/// an inner `Status` of 400 or more. An AccessToken record has neither key.
pub fn reported_failure(body: &str) -> Result<(), NotAList> {
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Outcome<'a> {
        #[serde(borrow, default)]
        was_successful: Option<&'a RawValue>,
        #[serde(borrow, default)]
        status: Option<&'a RawValue>,
    }
    let whole: &RawValue = serde_json::from_str(body).map_err(|error| broken(&error))?;
    if !whole.get().starts_with('{') {
        return Err(NotAList::Shape);
    }
    let outcome: Outcome<'_> = serde_json::from_str(body).map_err(|_| NotAList::Shape)?;
    let status = integer("Status", outcome.status, i64::MIN..=i64::MAX).ok().flatten();
    let failed = outcome.was_successful.is_some_and(|value| matches!(value.get(), "false" | "\"false\""));
    if failed || status.is_some_and(|status| status >= 400) { Err(NotAList::Failure) } else { Ok(()) }
}

/// The fields of an AccessToken that a refusal names. Nothing else of it is repeated: it may quote what it refuses.
pub(super) fn refused_fields(body: &str) -> Vec<&'static str> {
    const FIELDS: [&str; 13] = [
        "AccessCode",
        "BookingGuid",
        "BusinessId",
        "Description",
        "LastAccess",
        "MacAddress",
        "MinutesIncluded",
        "MinutesLeft",
        "SystemId",
        "UserLimit",
        "ValidFrom",
        "ValidTo",
        "VisitorGuid",
    ];
    let Ok(body) = serde_json::from_str::<serde_json::Value>(body) else { return Vec::new() };
    let errors = body.get("Errors").and_then(serde_json::Value::as_array).into_iter().flatten();
    let named: Vec<&str> = errors.filter_map(|error| error.get("PropertyName")?.as_str()).collect();
    FIELDS.into_iter().filter(|field| named.contains(field)).collect()
}

fn broken(error: &serde_json::Error) -> NotAList {
    NotAList::Json { line: error.line(), column: error.column() }
}

/// The bytes as text, without the byte order mark that Windows likes to put before it.
#[must_use]
pub fn as_text(bytes: &[u8]) -> Option<&str> {
    std::str::from_utf8(bytes).ok().map(|text| text.strip_prefix('\u{feff}').unwrap_or(text))
}

#[cfg(test)]
mod tests;
