//! The access tokens of the sandbox: listing, reading, writing (facts/nexudus.md §2).

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde_json::{Map, Value, json};

use crate::source::nexudus::date;

/// A record as stored.
pub(super) type Record = Map<String, Value>;

/// The fields of a complete record, in no order that matters.
const FIELDS: [&str; 22] = [
    "BusinessId",
    "AccessCode",
    "Description",
    "MinutesIncluded",
    "ValidFrom",
    "ValidTo",
    "UserLimit",
    "MinutesLeft",
    "MacAddress",
    "BookingGuid",
    "VisitorGuid",
    "LastAccess",
    "Id",
    "UniqueId",
    "CreatedOn",
    "UpdatedOn",
    "UpdatedBy",
    "IsNew",
    "SystemId",
    "ToStringText",
    "LocalizationDetails",
    "CustomFields",
];

/// Fields that the server sets alone.
const SERVERS: [&str; 5] = ["Id", "UniqueId", "CreatedOn", "UpdatedOn", "UpdatedBy"];

/// The records by id.
#[derive(Clone, Debug, Default)]
pub(super) struct Records {
    by_id: BTreeMap<i64, Record>,
    /// Whether a written `MinutesLeft` sticks: pages disagree.
    pub(super) minutes_left_writable: bool,
    /// Whether a written `LastAccess` sticks: pages disagree.
    pub(super) last_access_writable: bool,
}

/// How a list is asked for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asked<'a> {
    /// The query, in order.
    pub(super) query: &'a [(String, String)],
    /// Whether filters are left out.
    pub(super) ignore_filters: bool,
    /// Whether text filters match parts.
    pub(super) contains: bool,
    /// Whether keys are left out of the records.
    pub(super) absent_keys: bool,
}

impl Records {
    /// Takes a record as it is, with an id if it has none; answers the id.
    pub(super) fn put_raw(&mut self, mut record: Record) -> i64 {
        let id = record.get("Id").and_then(Value::as_i64).unwrap_or_else(|| self.next_id());
        record.entry("Id").or_insert_with(|| id.into());
        self.by_id.insert(id, record);
        id
    }

    /// Takes a record and completes it: what is missing becomes null or what the server sets.
    pub(super) fn put(&mut self, record: Record, now: Timestamp) -> i64 {
        let id = self.put_raw(record);
        if let Some(record) = self.by_id.get_mut(&id) {
            record.entry("UniqueId").or_insert_with(|| format!("00000000-0000-4000-8000-{id:012x}").into());
            record.entry("BusinessId").or_insert_with(|| super::demo::HOME.into());
            record.entry("CreatedOn").or_insert_with(|| seconds(now));
            record.entry("UpdatedOn").or_insert_with(|| seconds(now));
            record.entry("IsNew").or_insert(Value::Bool(false));
            if !record.contains_key("MinutesLeft") {
                let included = record.get("MinutesIncluded").cloned().unwrap_or_default();
                record.insert("MinutesLeft".to_owned(), included);
            }
            for field in FIELDS {
                record.entry(field).or_insert(Value::Null);
            }
        }
        id
    }

    /// One record.
    pub(super) fn get(&self, id: i64) -> Option<&Record> {
        self.by_id.get(&id)
    }

    /// Changes a record, and says when; whether there is one.
    pub(super) fn edit(&mut self, id: i64, change: impl FnOnce(&mut Record), now: Timestamp) -> bool {
        let Some(record) = self.by_id.get_mut(&id) else { return false };
        change(record);
        record.insert("UpdatedOn".to_owned(), seconds(now));
        true
    }

    /// Deletes a record; whether there was one.
    pub(super) fn delete(&mut self, id: i64) -> bool {
        self.by_id.remove(&id).is_some()
    }

    fn next_id(&self) -> i64 {
        self.by_id.last_key_value().map_or(1, |(id, _)| id.saturating_add(1))
    }

    /// `POST` (no id) or `PUT` (the record is replaced: what is left out becomes null). Answers status and body.
    pub(super) fn write(&mut self, body: &Value, replace: bool, by: &str, now: Timestamp) -> (u16, Value) {
        let Value::Object(sent) = body else {
            return invalid("Record", "a JSON object is required", &Value::Null);
        };
        for field in ["BusinessId", "AccessCode", "MinutesIncluded"] {
            if sent.get(field).is_none_or(|value| value.is_null() || value == "") {
                return invalid(field, "is a required field", sent.get(field).unwrap_or(&Value::Null));
            }
        }
        if sent.get("AccessCode").is_some_and(|code| !code.is_string()) {
            return invalid("AccessCode", "must be text", &Value::Null);
        }
        let former = sent.get("Id").and_then(Value::as_i64).and_then(|id| self.by_id.get(&id)).cloned();
        let mut record: Record = sent.clone();
        for field in SERVERS {
            record.remove(field);
        }
        match (replace, former) {
            (true, Some(former)) => {
                record.extend(SERVERS.iter().filter_map(|&key| Some((key.to_owned(), former.get(key)?.clone()))));
                record.entry("MinutesLeft").or_insert(Value::Null);
                let kept = [("MinutesLeft", self.minutes_left_writable), ("LastAccess", self.last_access_writable)];
                for (field, _) in kept.into_iter().filter(|(_, writable)| !writable) {
                    record.insert(field.to_owned(), former.get(field).cloned().unwrap_or_default());
                }
            }
            (true, None) => return (404, json!("Not found")),
            (false, _) => {}
        }
        record.insert("UpdatedOn".to_owned(), seconds(now));
        record.insert("UpdatedBy".to_owned(), by.into());
        let id = self.put(record, now);
        let message =
            if replace { "AccessToken was successfully updated." } else { "AccessToken was successfully created." };
        (200, done(message, &json!({"Id": id})))
    }

    /// `GET` of a list: the envelope.
    pub(super) fn list(&self, asked: Asked<'_>) -> Value {
        let last = |name: &str| asked.query.iter().rev().find(|(key, _)| key == name).map(|(_, value)| value.as_str());
        let number = |name: &str, default: usize| last(name).and_then(|text| text.parse().ok()).unwrap_or(default);
        let (page, size) = (number("page", 1).max(1), number("size", 25).clamp(1, 1000));
        let mut found: Vec<&Record> =
            self.by_id.values().filter(|record| asked.ignore_filters || matches(record, &asked)).collect();
        if let Some(order) = last("orderBy") {
            found.sort_by_cached_key(|record| {
                let value = record.get(order).unwrap_or(&Value::Null);
                (value.as_i64(), value.as_str().map(str::to_owned))
            });
        }
        if matches!(last("dir"), Some("descending" | "-1")) {
            found.reverse();
        }
        let (total, pages) = (found.len(), found.len().div_ceil(size));
        let first = (page - 1).saturating_mul(size);
        let records: Vec<Value> = found
            .into_iter()
            .skip(first)
            .take(size)
            .map(|record| {
                let mut record = record.clone();
                if asked.absent_keys {
                    for key in ["ValidFrom", "ValidTo", "UserLimit", "MinutesLeft", "MacAddress"] {
                        record.remove(key);
                    }
                }
                Value::Object(record)
            })
            .collect();
        json!({
            "CurrentPage": page, "CurrentPageSize": size, "CurrentOrderField": last("orderBy"), "CurrentSortDirection": 1,
            "FirstItem": first + 1, "LastItem": first + records.len(), "TotalItems": total, "TotalPages": pages,
            "HasNextPage": page < pages, "HasPreviousPage": page > 1, "Records": records,
        })
    }
}

/// Whether a record passes every filter; a parameter that is no filter is ignored, like an unknown field.
fn matches(record: &Record, asked: &Asked<'_>) -> bool {
    asked.query.iter().all(|(key, wanted)| {
        let (bound, field) = match key.split_once("AccessToken_") {
            Some((bound @ ("" | "from_" | "to_"), field)) => (bound, field),
            _ if matches!(key.as_str(), "Id" | "UniqueId") => ("", key.as_str()),
            _ => return true,
        };
        let field = if field == "Business" { "BusinessId" } else { field };
        if !FIELDS.contains(&field) {
            return true;
        }
        let held = record.get(field).unwrap_or(&Value::Null);
        match bound {
            "" => equal(held, wanted, asked.contains),
            bound => {
                compare(held, wanted).is_some_and(|order| if bound == "from_" { order.is_ge() } else { order.is_le() })
            }
        }
    })
}

/// Text is compared without case, as the server's database does.
fn equal(held: &Value, wanted: &str, contains: bool) -> bool {
    let wanted = wanted.to_lowercase();
    match held {
        Value::Null => wanted.is_empty(),
        Value::String(held) if contains => held.to_lowercase().contains(&wanted),
        Value::String(held) => held.to_lowercase() == wanted,
        Value::Number(held) => held.as_i64().is_some_and(|held| wanted.parse() == Ok(held)),
        Value::Bool(held) => wanted.parse() == Ok(*held),
        Value::Array(_) | Value::Object(_) => false,
    }
}

fn compare(held: &Value, bound: &str) -> Option<std::cmp::Ordering> {
    match held {
        Value::Number(number) => Some(number.as_i64()?.cmp(&bound.parse().ok()?)),
        Value::String(text) => {
            let read = |text: &str| date::parse(text, &TimeZone::UTC).ok().flatten();
            Some(read(text)?.cmp(&read(bound)?))
        }
        _ => None,
    }
}

/// A moment as Nexudus writes it.
fn seconds(now: Timestamp) -> Value {
    Timestamp::from_second(now.as_second()).unwrap_or(now).to_string().into()
}

/// The answer to a write or a delete that was done.
pub(super) fn done(message: &str, value: &Value) -> Value {
    json!({
        "Status": 200, "Message": message, "Value": value, "OpenInDialog": false, "OpenInWindow": false,
        "RedirectURL": null, "JavaScript": null, "WasSuccessful": true, "Errors": null,
    })
}

fn invalid(field: &str, problem: &str, attempted: &Value) -> (u16, Value) {
    let message = format!("{field}: {problem}");
    let errors = json!([{"AttemptedValue": attempted, "Message": problem, "PropertyName": field}]);
    (400, json!({"Status": 500, "Message": message, "Value": null, "WasSuccessful": false, "Errors": errors}))
}

/// How long until the oldest of `calls` is a minute old.
pub(super) fn seconds_left(oldest: Duration, now: Duration) -> u64 {
    (oldest + Duration::from_secs(60)).saturating_sub(now).as_secs().saturating_add(1)
}
