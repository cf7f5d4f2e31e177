//! Tokens to try: one for every outcome of a login.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};

/// The location of most demo tokens.
pub const HOME: i64 = 1;

/// The location of `DEMO-ELSEWHERE`.
pub const ELSEWHERE: i64 = 2;

/// Tokens around `now`, as records that Nexudus would send.
///
/// | code | what it shows |
/// | --- | --- |
/// | `DEMO-HOUR` | allowed: 60 minutes, one device |
/// | `DEMO-TWO` | allowed on two devices, `user_limit_reached` on the third |
/// | `DEMO-POOL` | an hour for three devices together |
/// | `DEMO-TEAM` | allowed on ten devices for a month |
/// | `DEMO-MINUTE` | allowed for a minute or so |
/// | `DEMO-OPEN` | no end and no minutes: `no_minutes_left`, unlimited with `zero_minutes = "unlimited"` |
/// | `00421` | allowed: a visitor's code, today |
/// | `DEMO-ENDING` | allowed for the five minutes before its `ValidTo` |
/// | `DEMO-SOON` | `not_yet_valid`: from tomorrow |
/// | `DEMO-PAST` | `expired`: until yesterday |
/// | `DEMO-EMPTY` | `no_minutes_left`: used up |
/// | `DEMO-ELSEWHERE` | `wrong_location` where only location 1 is valid |
/// | `DEMO-TWIN` | `ambiguous_code`: two records |
/// | `DEMO-BOUND` | `device_mismatch` with `bind_device = "honour"`, but for 02:00:5E:10:00:01 |
/// | `DEMO-DEVICE` | MAC login of 02:00:5E:10:00:02 |
#[must_use]
pub fn demo_tokens(now: Timestamp) -> Vec<Value> {
    const DAY: i64 = 86_400;
    let at = |seconds: i64| {
        let shift = Duration::from_secs(seconds.unsigned_abs());
        let at = if seconds < 0 { now.checked_sub(shift) } else { now.checked_add(shift) };
        Timestamp::from_second(at.unwrap_or(now).as_second()).unwrap_or(now).to_string()
    };
    let token = |id: i64, code: &str, minutes: i64| {
        json!({
            "Id": id, "BusinessId": HOME, "AccessCode": code, "Description": "Demo", "MinutesIncluded": minutes,
            "MinutesLeft": minutes, "ValidFrom": null, "ValidTo": null, "UserLimit": null, "MacAddress": null,
        })
    };
    let with = |mut token: Value, fields: Value| {
        if let (Value::Object(token), Value::Object(fields)) = (&mut token, fields) {
            token.extend(fields);
        }
        token
    };
    vec![
        token(1001, "DEMO-HOUR", 60),
        with(token(1002, "DEMO-TWO", 120), json!({"UserLimit": 2})),
        with(
            token(1003, "DEMO-TEAM", 43_200),
            json!({"UserLimit": 10, "ValidFrom": at(-DAY), "ValidTo": at(30 * DAY)}),
        ),
        with(token(1004, "DEMO-MINUTE", 60), json!({"MinutesLeft": 1})),
        token(1005, "DEMO-OPEN", 0),
        with(
            token(1006, "00421", 480),
            json!({
                "ValidFrom": at(-3600), "ValidTo": at(8 * 3600),
                "VisitorGuid": "5b2f0c1e-6f0a-4a53-9a35-6f5f0d1f2a11",
            }),
        ),
        with(token(1007, "DEMO-ENDING", 60), json!({"ValidTo": at(300)})),
        with(token(1008, "DEMO-SOON", 60), json!({"ValidFrom": at(DAY), "ValidTo": at(2 * DAY)})),
        with(token(1009, "DEMO-PAST", 60), json!({"ValidFrom": at(-2 * DAY), "ValidTo": at(-DAY)})),
        with(token(1010, "DEMO-EMPTY", 60), json!({"MinutesLeft": 0})),
        with(token(1011, "DEMO-ELSEWHERE", 60), json!({"BusinessId": ELSEWHERE})),
        token(1012, "DEMO-TWIN", 60),
        token(1013, "DEMO-TWIN", 30),
        with(token(1014, "DEMO-BOUND", 60), json!({"MacAddress": "02-00-5E-10-00-01"})),
        with(token(1015, "DEMO-DEVICE", 60), json!({"MacAddress": "02:00:5E:10:00:02"})),
        with(token(1016, "DEMO-POOL", 60), json!({"UserLimit": 3})),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::nexudus::wire::Record;
    use jiff::tz::TimeZone;

    #[test]
    fn every_demo_token_can_be_read() {
        for token in demo_tokens("2026-11-23T10:00:00.5Z".parse().unwrap()) {
            let json = token.to_string();
            let record = Record::parse(&json).unwrap();
            assert!(!record.missing(), "{json}");
            assert!(!record.read(&TimeZone::UTC).unwrap().odd_devices);
        }
    }
}
