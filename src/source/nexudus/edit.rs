//! Changing a record and putting the rest back exactly as it was received: what a `PUT` leaves out is cleared
//! (facts/nexudus.md §2 "Writes").

use std::collections::BTreeMap;

use serde_json::value::RawValue;

/// The record with these keys changed, each to a JSON value; whatever else it holds, known or not, stays to the letter. None
/// if it is no record.
#[must_use]
pub(crate) fn edited(record: &str, changes: &[(&str, String)]) -> Option<String> {
    let mut fields: BTreeMap<String, Box<RawValue>> = serde_json::from_str(record).ok()?;
    for (key, value) in changes {
        fields.insert((*key).to_owned(), RawValue::from_string(value.clone()).ok()?);
    }
    serde_json::to_string(&fields).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_changed_stays_to_the_letter() {
        let record = r#"{"Id": 1, "MinutesLeft": 60, "Big": 12345678901234567890123, "Point": 12.0, "Text": "caf\u00e9",
            "CustomFields": {"b": 1, "a": [ 1,2 ]}, "Null": null, "": 1}"#;
        let edited = edited(record, &[("MinutesLeft", "50".to_owned()), ("LastAccess", "\"x\"".to_owned())]).unwrap();
        for kept in [
            r#""Big":12345678901234567890123"#,
            r#""Point":12.0"#,
            r#""Text":"caf\u00e9""#,
            r#""CustomFields":{"b": 1, "a": [ 1,2 ]}"#,
            r#""Null":null"#,
            r#""":1"#,
            r#""MinutesLeft":50"#,
            r#""LastAccess":"x""#,
        ] {
            assert!(edited.contains(kept), "{kept}: {edited}");
        }
    }

    #[test]
    fn what_is_no_record_is_not_edited() {
        for text in ["[]", "", "null", "{", "\"a\""] {
            assert_eq!(edited(text, &[]), None, "{text}");
        }
        assert_eq!(edited("{}", &[("a", "no JSON".to_owned())]), None);
    }
}
