use super::*;
use proptest::prelude::*;

const WHOLE: &str = r#"{
  "BusinessId": 7, "AccessCode": "kx7q-91mp", "Description": null, "MinutesIncluded": 120,
  "ValidFrom": "2026-11-23T08:00:00Z", "ValidTo": "2026-11-24T08:00:00.123Z", "UserLimit": 2, "MinutesLeft": 90,
  "MacAddress": "aa-bb-cc-dd-ee-ff", "BookingGuid": null, "VisitorGuid": null, "LastAccess": null, "Id": 87654321,
  "UpdatedOn": "2025-01-15T10:30:00Z", "CreatedOn": "2025-01-10T08:00:00Z", "IsNew": false, "SystemId": null,
  "UniqueId": "a1b2c3d4-e5f6-7890-abcd-ef1234567890", "UpdatedBy": "admin@example.com",
  "ToStringText": "AccessToken Example", "LocalizationDetails": null, "CustomFields": {"Deep": [1, {"er": 2}]}
}"#;

/// A record with `fields` beside an id and a code.
fn read(fields: &str) -> Result<Reading, Malformed> {
    let json = format!(r#"{{"Id": 1, "AccessCode": "abc"{fields}}}"#);
    Record::parse(&json)?.read(&TimeZone::UTC)
}

fn problem(fields: &str) -> &'static str {
    read(fields).unwrap_err().field
}

#[test]
fn the_whole_record() {
    let record = Record::parse(WHOLE).unwrap();
    assert!(!record.missing());
    let Reading { token, updated, odd_devices } = record.read(&TimeZone::UTC).unwrap();
    assert!(!odd_devices);
    assert_eq!(updated, Some("2025-01-15T10:30:00Z".parse().unwrap()));
    assert_eq!(
        token,
        AccessToken {
            id: TokenId(87_654_321),
            business: Some(BusinessId(7)),
            code: Code::parse("kx7q-91mp").unwrap(),
            valid_from: Some("2026-11-23T08:00:00Z".parse().unwrap()),
            valid_to: Some("2026-11-24T08:00:00.123Z".parse().unwrap()),
            minutes_included: Some(120),
            minutes_left: Some(90),
            user_limit: Some(2),
            devices: ["AA:BB:CC:DD:EE:FF".parse().unwrap()].into(),
            last_access: None,
        }
    );
}

#[test]
fn absent_is_not_null() {
    for key in [
        "BusinessId",
        "AccessCode",
        "ValidFrom",
        "ValidTo",
        "MinutesIncluded",
        "MinutesLeft",
        "UserLimit",
        "MacAddress",
    ] {
        let mut record: serde_json::Map<String, serde_json::Value> = serde_json::from_str(WHOLE).unwrap();
        record.insert(key.to_owned(), serde_json::Value::Null);
        let json = serde_json::to_string(&record).unwrap();
        assert!(!Record::parse(&json).unwrap().missing(), "{key} null");
        record.remove(key);
        let json = serde_json::to_string(&record).unwrap();
        assert!(Record::parse(&json).unwrap().missing(), "{key} absent");
    }
    let token = read(r#", "MinutesLeft": null, "ValidTo": null, "UserLimit": null, "MacAddress": null"#).unwrap().token;
    assert_eq!((token.minutes_left, token.valid_to, token.user_limit, token.devices.len()), (None, None, None, 0));
    assert_eq!(read("").unwrap().token.minutes_left, None);
}

#[test]
fn whole_numbers_in_every_spelling() {
    for (json, number) in [
        ("12", Some(12)),
        ("\"12\"", Some(12)),
        ("\" 12 \"", Some(12)),
        ("12.0", Some(12)),
        ("\"12.00\"", Some(12)),
        ("-3", Some(-3)),
        ("0", Some(0)),
        ("2147483647", Some(2_147_483_647)),
        ("null", None),
        ("\"\"", None),
    ] {
        assert_eq!(read(&format!(r#", "MinutesLeft": {json}"#)).unwrap().token.minutes_left, number, "{json}");
    }
    for json in
        ["12.5", "\"soon\"", "true", "[]", "{}", "1e3", "2147483648", "99999999999999999999", "\"0x10\"", "\"-\""]
    {
        assert_eq!(problem(&format!(r#", "MinutesLeft": {json}"#)), "MinutesLeft", "{json}");
        assert_eq!(problem(&format!(r#", "UserLimit": {json}"#)), "UserLimit", "{json}");
    }
    let big = Record::parse(r#"{"Id": "9223372036854775807"}"#).unwrap().id();
    assert_eq!(big, Ok(TokenId(i64::MAX)));
    for json in [r#"{"Id": 9223372036854775808}"#, r#"{"Id": null}"#, "{}", r#"{"Id": "a"}"#] {
        assert_eq!(Record::parse(json).unwrap().id().unwrap_err().field, "Id", "{json}");
    }
}

#[test]
fn codes_are_text_even_where_they_are_numbers() {
    let code = |json: &str| {
        let json = format!(r#"{{"AccessCode": {json}}}"#);
        Record::parse(&json).unwrap().code().map(|code| code.map(|code| code.reveal().to_owned()))
    };
    for (json, text) in [
        ("\"00042\"", "00042"),
        ("\" abc \"", "abc"),
        ("42", "42"),
        ("1234567890123456789012345678901234567890", "1234567890123456789012345678901234567890"),
        ("5.10", "5.10"),
        ("1E3", "1E3"),
        ("\"\\u00f1and\\u00fa\"", "ñandú"),
    ] {
        assert_eq!(code(json), Ok(Some(text.to_owned())), "{json}");
    }
    for json in ["null", "\"\"", "\"  \"", "true", "[\"a\"]", "{}", "\"a\\nb\""] {
        assert_eq!(code(json).unwrap_err().field, "AccessCode", "{json}");
    }
    assert_eq!(Record::parse("{}").unwrap().code(), Ok(None));
    let error = code("\"secret\\u0007\"").unwrap_err();
    assert!(!format!("{error} {error:?}").contains("secret"));
}

#[test]
fn dates_and_no_dates() {
    let zone = TimeZone::get("America/New_York").unwrap();
    let json = r#"{"Id": 1, "AccessCode": "a", "ValidFrom": "2026-11-23", "ValidTo": "2026-11-23T10:00:00+05:00"}"#;
    let token = Record::parse(json).unwrap().read(&zone).unwrap().token;
    assert_eq!(token.valid_from.unwrap().to_string(), "2026-11-23T05:00:00Z");
    assert_eq!(token.valid_to.unwrap().to_string(), "2026-11-23T05:00:00Z");
    let unset = read(r#", "ValidFrom": "", "ValidTo": "0001-01-01T00:00:00""#).unwrap().token;
    assert_eq!((unset.valid_from, unset.valid_to), (None, None));
    for json in ["\"soon\"", "20261123", "true", "{}"] {
        assert_eq!(problem(&format!(r#", "ValidTo": {json}"#)), "ValidTo", "{json}");
    }
}

#[test]
fn devices_in_every_spelling() {
    let (a, b) = ("AA:BB:CC:DD:EE:FF", "11:22:33:44:55:66");
    for (text, macs, odd) in [
        ("AA:BB:CC:DD:EE:FF", vec![a], false),
        ("aabbccddeeff", vec![a], false),
        ("aabb.ccdd.eeff", vec![a], false),
        ("AA BB CC DD EE FF", vec![a], false),
        ("AABB CCDD EEFF", vec![a], false),
        ("AABBCC DDEEFF", vec![a], false),
        ("AA BB CC DD EE FF 11 22 33 44 55 66", vec![a, b], false),
        ("AA BB CC DD EE FF, 112233445566", vec![a, b], false),
        ("aa-bb-cc-dd-ee-ff;11:22:33:44:55:66", vec![a, b], false),
        ("aa-bb-cc-dd-ee-ff 11:22:33:44:55:66\n", vec![a, b], false),
        ("aa-bb-cc-dd-ee-ff,,AA:BB:CC:DD:EE:FF;", vec![a], false),
        ("iPhone", vec![], true),
        ("my iPhone, AA:BB:CC:DD:EE:FF", vec![a], true),
        ("AA:BB:CC:DD:EE", vec![], true),
        ("", vec![], false),
        (" ; ", vec![], false),
    ] {
        let json = serde_json::to_string(text).unwrap();
        let reading = read(&format!(r#", "MacAddress": {json}"#)).unwrap();
        let shown: Vec<String> = reading.token.devices.iter().map(ToString::to_string).collect();
        assert_eq!((shown.iter().map(String::as_str).collect::<Vec<_>>(), reading.odd_devices), (macs, odd), "{text}");
    }
    assert_eq!(read(r#", "MacAddress": 112233445566"#).unwrap().token.devices.len(), 1);
    assert!(read(r#", "MacAddress": ["AA:BB:CC:DD:EE:FF"]"#).unwrap().odd_devices);
}

#[test]
fn what_is_no_record() {
    for json in ["[]", "null", "3", "\"Not found\"", "{", r#"{"Id": 1, "Id": 2}"#, ""] {
        assert!(Record::parse(json).is_err(), "{json}");
    }
}

#[test]
fn lists() {
    let list = |json: &str| List::parse(json).map(|list| (list.records.len(), list.has_next_page));
    assert_eq!(list(r#"{"Records": [{}, {}], "HasNextPage": true, "TotalItems": 9}"#), Ok((2, true)));
    assert_eq!(list(r#"{"Records": [], "HasNextPage": false}"#), Ok((0, false)));
    assert_eq!(list(r#"{"Records": [{}]}"#), Ok((1, false)));
    assert_eq!(list(r#"{"Records": [{}], "HasNextPage": null}"#), Ok((1, false)));
    for json in [r#"{"Records": null}"#, "{}", "[]", "[{}]", "3", r#""Not found""#, r#"{"Records": {}}"#] {
        assert_eq!(list(json), Err(NotAList::Shape), "{json}");
    }
    for json in ["", "<html></html>", r#"{"Records": [{"#, r#"{"Records": []"#, "{}{}"] {
        assert!(matches!(list(json), Err(NotAList::Json { .. })), "{json}");
    }
    for json in [
        r#"{"WasSuccessful": false, "Records": []}"#,
        r#"{"Status": 500, "Records": []}"#,
        r#"{"Status": "500", "Message": "x", "Value": null, "WasSuccessful": true}"#,
    ] {
        assert_eq!(list(json), Err(NotAList::Failure), "{json}");
    }
    assert_eq!(list(r#"{"Status": 200, "WasSuccessful": true, "Records": []}"#), Ok((0, false)));
    let either = |json: &str| List::parse_array_or_envelope(json).map(|list| list.records.len());
    assert_eq!(either(" [{}, 3]"), Ok(2));
    assert_eq!(either(r#"{"Records": [{}]}"#), Ok(1));
    assert_eq!(either("[{}"), Err(NotAList::Json { line: 1, column: 3 }));
}

#[test]
fn a_byte_order_mark_is_no_part_of_the_text() {
    assert_eq!(as_text(b"\xef\xbb\xbf{}"), Some("{}"));
    assert_eq!(as_text(b"\xff{}"), None);
}

/// JSON that is near to a record.
fn json() -> impl Strategy<Value = String> {
    let scalar = prop_oneof![
        Just("null".to_owned()),
        Just("true".to_owned()),
        any::<i64>().prop_map(|number| number.to_string()),
        any::<f64>().prop_filter_map("finite", |number| serde_json::Number::from_f64(number).map(|n| n.to_string())),
        any::<String>().prop_map(|text| serde_json::to_string(&text).unwrap()),
        "[0-9A-Fa-f:;, -]{0,40}".prop_map(|text| serde_json::to_string(&text).unwrap()),
        "[0-9TZ:.+-]{0,30}".prop_map(|text| serde_json::to_string(&text).unwrap()),
    ];
    let key = prop::sample::select(vec![
        "Id",
        "BusinessId",
        "AccessCode",
        "ValidFrom",
        "ValidTo",
        "MinutesIncluded",
        "MinutesLeft",
        "UserLimit",
        "MacAddress",
        "Records",
        "HasNextPage",
        "Status",
    ]);
    scalar.prop_recursive(4, 40, 8, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(|items| format!("[{}]", items.join(","))),
            prop::collection::btree_map(key.clone(), inner, 0..10).prop_map(|fields| {
                let fields: Vec<String> = fields.iter().map(|(key, value)| format!("\"{key}\":{value}")).collect();
                format!("{{{}}}", fields.join(","))
            }),
        ]
    })
}

fn read_anything(text: &str) {
    if let Ok(list) = List::parse_array_or_envelope(text) {
        for record in list.records {
            let _ = Record::parse(record.get()).map(|record| record.read(&TimeZone::UTC));
        }
    }
    let _ = Record::parse(text).map(|record| record.read(&TimeZone::UTC));
}

proptest! {
    #[test]
    fn no_json_panics(json in json()) {
        read_anything(&json);
    }

    #[test]
    fn no_bytes_panic(bytes: Vec<u8>) {
        if let Some(text) = as_text(&bytes) {
            read_anything(text);
        }
    }
}

#[test]
fn a_refusal_names_fields_and_quotes_nothing() {
    let error =
        |name: &str| format!(r#"{{"AttemptedValue": "kx7q", "Message": "kx7q is taken", "PropertyName": {name}}}"#);
    for (errors, fields) in [
        (error("\"AccessCode\""), vec!["AccessCode"]),
        (format!("{}, {}", error("\"ValidTo\""), error("\"MinutesLeft\"")), vec!["MinutesLeft", "ValidTo"]),
        (error("\"kx7q\""), vec![]),
        (error("7"), vec![]),
        ("7".to_owned(), vec![]),
    ] {
        assert_eq!(refused_fields(&format!(r#"{{"Errors": [{errors}]}}"#)), fields, "{errors}");
    }
    for body in ["", "<html>", "[]", "{}", r#"{"Errors": null}"#] {
        assert_eq!(refused_fields(body), [""; 0], "{body}");
    }
}
