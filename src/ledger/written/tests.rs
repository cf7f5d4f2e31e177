//! What is written comes back as it was, says nothing it should not, and outlives what it does not know.

use super::*;
use crate::core::event::Event;
use crate::ledger::any;
use proptest::prelude::{prop_assert, prop_assert_eq, proptest};

proptest! {
    #[test]
    fn an_event_comes_back(event in any::event()) {
        let mut written = super::event(&event).unwrap();
        prop_assert_eq!(&read_event(&written).unwrap(), &event);
        // A later version says more of it.
        prop_assert_eq!(written.pop(), Some(b'}'));
        written.extend(br#","colour":{"name":["green",null,-1.5e3]},"shade":"\u0064ark"}"#);
        prop_assert_eq!(read_event(&written).unwrap(), event);
    }

    #[test]
    fn an_account_comes_back(account in any::account()) {
        let written = super::account(&account);
        prop_assert_eq!(read_account(&written).unwrap(), account);
    }

    #[test]
    fn anything_else_is_an_error_and_no_panic(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..200)) {
        prop_assert!(read_event(&bytes).is_err() && read_account(&bytes).is_err());
    }
}

#[test]
fn the_form_is_kept_so_that_later_versions_read_it() {
    let report = r#"{"at":1790000300000,"seconds":300,"input_octets":5,"output_octets":7}"#;
    let id = "01KE000000000000000000000A";
    let contact = r#""nas":"front-desk","router":"192.0.2.1","nas_session":"80a00001","ip":"10.5.88.41","can_disconnect":true,"can_extend":false"#;
    let session = format!(
        r#""session":"{id}","mac":"02:00:00:00:00:01","code":"abc","contact":{{{contact}}},"admitted_at":1790000000000,"granted":3600,"interim":300,"accounting":true"#
    );
    for form in [
        format!(r#"{{"event":"admitted",{session}}}"#),
        r#"{"event":"seen","pool":3600,"valid_to":1790003600000}"#.to_owned(),
        format!(r#"{{"event":"contacted","session":"{id}",{contact}}}"#),
        format!(r#"{{"event":"progressed","session":"{id}",{}"#, &report[1..]),
        format!(r#"{{"event":"stopped","session":"{id}",{}"#, &report[1..]),
        format!(r#"{{"event":"lapsed","session":"{id}","counts":300}}"#),
        format!(r#"{{"event":"renewed","session":"{id}","granted":7200}}"#),
        format!(r#"{{"event":"granted","session":"{id}","granted":7200}}"#),
        format!(r#"{{"event":"ending","session":"{id}","cause":"used_up"}}"#),
        r#"{"event":"seen","pool":3600,"last_access":1790003600000}"#.to_owned(),
        r#"{"event":"settling","before":60,"after":55,"last_access":1790000300000}"#.to_owned(),
        r#"{"event":"settled","before":60,"after":55,"last_access":1790000300000}"#.to_owned(),
        r#"{"event":"unsettled","before":60,"after":55,"last_access":1790000300000}"#.to_owned(),
        r#"{"event":"forgotten","used":300}"#.to_owned(),
    ] {
        let event = read_event(form.as_bytes()).unwrap_or_else(|error| panic!("{form}: {error}"));
        assert_eq!(String::from_utf8(super::event(&event).unwrap()).unwrap(), form);
    }
    let account = format!(
        r#"{{"usage":60,"last_used":1790000000000,"code":"abc","devices":["02:00:00:00:00:01"],"sessions":[{{{},"reported":{report}}}]}}"#,
        session.replace(r#""code":"abc","#, "")
    );
    let settlement =
        r#""written":300,"settlement":{"stage":"open","before":60,"after":55,"last_access":1790000300000}"#;
    for account in [account.clone(), account.replace(r#""usage":60"#, &format!(r#""usage":60,{settlement}"#))] {
        let read = read_account(account.as_bytes()).unwrap();
        assert_eq!(String::from_utf8(super::account(&read)).unwrap(), account);
    }
}

#[test]
fn a_field_from_later_is_passed_over_and_a_value_from_nowhere_said() {
    let later = br#"{"event":"seen","pool":60,"colour":"green"}"#;
    assert!(matches!(read_event(later), Ok(Event::Seen(_))));
    let odd = br#"{"event":"ending","session":"01KE000000000000000000000A","cause":"whim"}"#;
    assert_eq!(read_event(odd).unwrap_err().to_string(), "`cause` is no value of its kind");
    let secret = br#"{"event":"lapsed","session":"kx7q-91mp","counts":1}"#;
    assert!(!read_event(secret).unwrap_err().to_string().contains("kx7q"), "no text of the file is told");
}

#[test]
fn what_is_no_event_is_unreadable() {
    let lapsed = r#"{"event":"lapsed","session":"01KE000000000000000000000A","counts":1}"#;
    let read = |form: &str| read_event(form.as_bytes());
    assert!(read(lapsed).is_ok());
    for (from, to) in [
        ("lapsed", "relapsed"),
        ("\"lapsed\"", "7"),
        ("\"lapsed\"", "null"),
        (r#""event":"lapsed","#, ""),
        (r#""session":"01KE000000000000000000000A","#, ""),
        ("\"01KE000000000000000000000A\"", "null"),
        (r#","counts":1"#, ""),
        (r#""counts":1"#, r#""counts":-1"#),
        (r#""counts":1"#, r#""counts":"1""#),
        ("}", "}}"),
        ("}", ""),
        (lapsed, "{}"),
        (lapsed, r#"["lapsed"]"#),
        (lapsed, ""),
    ] {
        let form = lapsed.replacen(from, to, 1);
        assert_ne!(form, lapsed);
        assert!(matches!(read(&form), Err(Unreadable::Form(_))), "{form}");
    }
    assert!(read_event(b"{\"event\":\"seen\",\"colour\":\"\xff\"}").is_err(), "no UTF-8");
}

#[test]
fn what_is_not_kept_is_not_written() {
    let session = SessionId::from_octets([7; 16]);
    assert_eq!(event(&Event::Telling { session }), None);
    assert!(!Event::Telling { session }.is_kept());
}
