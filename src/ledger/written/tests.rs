//! What is written comes back as it was, says nothing it should not, and outlives what it does not know.

use super::*;
use proptest::prelude::*;

fn at(millis: i64) -> Timestamp {
    Timestamp::from_millisecond(millis).unwrap()
}

fn report() -> impl Strategy<Value = Report> {
    (0i64..4_000_000_000_000, any::<u32>(), any::<u64>(), any::<u64>()).prop_map(|(millis, seconds, input, output)| {
        Report { at: at(millis), seconds: Seconds(seconds.into()), input_octets: input, output_octets: output }
    })
}

fn contact() -> impl Strategy<Value = Contact> {
    let text = || proptest::option::of("[ -~äß\"\\\\]{1,20}");
    let ip = || proptest::option::of(any::<IpAddr>());
    ("[a-z-]{1,9}", ip(), text(), text(), ip(), any::<bool>(), any::<bool>()).prop_map(
        |(nas, router, nas_session, user_name, ip, can_disconnect, can_extend)| Contact {
            nas: NasName::new(&nas),
            router,
            nas_session: nas_session.map(Into::into),
            user_name: user_name.and_then(|name| Code::parse(&name).ok()),
            ip,
            can_disconnect,
            can_extend,
        },
    )
}

fn cause() -> impl Strategy<Value = Cause> {
    proptest::sample::select(&Cause::ALL[..])
}

fn session() -> impl Strategy<Value = Session> {
    let times = (0i64..4_000_000_000_000, any::<u32>(), any::<u16>());
    let ending = proptest::option::of((cause(), 0i64..4_000_000_000_000));
    let device = proptest::option::of(any::<[u8; 6]>());
    (any::<[u8; 16]>(), device, "[!-~]{1,20}", contact(), times, any::<bool>(), proptest::option::of(report()), ending)
        .prop_map(|(id, device, code, contact, (millis, granted, interim), accounting, reported, ending)| Session {
            id: SessionId::from_octets(id),
            device: device.map(Mac::new),
            code: Code::parse(&code).unwrap(),
            admitted_at: at(millis),
            granted: Seconds(granted.into()),
            interim: Seconds(interim.into()),
            accounting,
            reported,
            ending: ending.map(|(cause, since)| Box::new(Ending::new(cause, at(since), contact.can_disconnect))),
            asker: (granted % 3 == 0).then(|| NasName::new("proxy")),
            contact,
            extension: None,
        })
}

fn terms() -> impl Strategy<Value = Terms> {
    let end = proptest::option::of(0i64..4_000_000_000_000);
    (proptest::option::of(any::<u32>()), end).prop_map(|(pool, end)| Terms {
        pool: pool.map_or(Pool::Unlimited, |held| Pool::Holds(Seconds(held.into()))),
        valid_to: end.map(at),
    })
}

fn any_event() -> impl Strategy<Value = Event> {
    let id = || any::<[u8; 16]>().prop_map(SessionId::from_octets);
    prop_oneof![
        session().prop_map(|session| Event::Admitted(Box::new(session))),
        terms().prop_map(Event::Seen),
        (id(), contact()).prop_map(|(session, contact)| Event::Contacted { session, contact: Box::new(contact) }),
        (id(), report()).prop_map(|(session, report)| Event::Progressed { session, report }),
        (id(), report()).prop_map(|(session, report)| Event::Stopped { session, report }),
        (id(), any::<u32>()).prop_map(|(session, counts)| Event::Lapsed { session, counts: Seconds(counts.into()) }),
        (id(), cause()).prop_map(|(session, cause)| Event::Ending { session, cause }),
        (id(), any::<u32>())
            .prop_map(|(session, granted)| Event::Renewed { session, granted: Seconds(granted.into()) }),
        (id(), any::<u32>())
            .prop_map(|(session, granted)| Event::Granted { session, granted: Seconds(granted.into()) }),
    ]
}

proptest! {
    #[test]
    fn an_event_comes_back(event in any_event()) {
        let mut written = super::event(&event).unwrap();
        prop_assert_eq!(&Reader::default().event(&written).unwrap(), &event);
        // A later version says more of it.
        prop_assert_eq!(written.pop(), Some(b'}'));
        written.extend(br#","colour":{"name":["green",null,-1.5e3]},"shade":"\u0064ark"}"#);
        prop_assert_eq!(Reader::default().event(&written).unwrap(), event);
    }

    #[test]
    fn an_account_comes_back(
        usage: u32,
        first in proptest::option::of(any::<[u8; 6]>()),
        used in proptest::option::of(0i64..4_000_000_000_000),
        code in proptest::option::of("[!-~]{1,20}"),
        devices in proptest::collection::vec(any::<[u8; 6]>(), 0..4),
        terms in proptest::option::of(terms()),
        sessions in proptest::collection::vec(session(), 0..3),
        ended in proptest::collection::vec((session(), 0i64..4_000_000_000_000, any::<u32>(), any::<bool>()), 0..3),
    ) {
        let account = Account {
            usage: Seconds(usage.into()),
            running_since: used.map(at),
            first_device: first.map(Mac::new),
            last_used: used.map(at),
            code: code.map(|code| Code::parse(&code).unwrap()),
            devices: devices.into_iter().map(Mac::new).collect(),
            terms,
            sessions,
            ended: ended.into_iter().map(|(session, millis, counts, stopped)| {
                Ended { session, at: at(millis), counts: Seconds(counts.into()), stopped }
            }).collect(),
        };
        let written = super::account(&account);
        prop_assert_eq!(Reader::default().account(&written).unwrap(), account);
    }

    #[test]
    fn anything_else_is_an_error_and_no_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let mut reader = Reader::default();
        prop_assert!(reader.event(&bytes).is_err() && reader.account(&bytes).is_err());
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
    ] {
        let event = Reader::default().event(form.as_bytes()).unwrap_or_else(|error| panic!("{form}: {error}"));
        assert_eq!(String::from_utf8(super::event(&event).unwrap()).unwrap(), form);
    }
    let account = format!(
        r#"{{"usage":60,"last_used":1790000000000,"code":"abc","devices":["02:00:00:00:00:01"],"sessions":[{{{},"reported":{report}}}]}}"#,
        session.replace(r#""code":"abc","#, "")
    );
    let read = Reader::default().account(account.as_bytes()).unwrap();
    assert_eq!(String::from_utf8(super::account(&read)).unwrap(), account);
}

#[test]
fn a_field_from_later_is_passed_over_and_a_value_from_nowhere_said() {
    let mut reader = Reader::default();
    let later = br#"{"event":"seen","pool":60,"colour":"green"}"#;
    assert!(matches!(reader.event(later), Ok(Event::Seen(_))));
    let odd = br#"{"event":"ending","session":"01KE000000000000000000000A","cause":"whim"}"#;
    assert_eq!(reader.event(odd).unwrap_err().to_string(), "`cause` is no value of its kind");
    let secret = br#"{"event":"lapsed","session":"kx7q-91mp","counts":1}"#;
    assert!(!reader.event(secret).unwrap_err().to_string().contains("kx7q"), "no text of the file is told");
}

#[test]
fn what_is_no_event_is_unreadable() {
    let lapsed = r#"{"event":"lapsed","session":"01KE000000000000000000000A","counts":1}"#;
    let read = |form: &str| Reader::default().event(form.as_bytes());
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
    assert!(Reader::default().event(b"{\"event\":\"seen\",\"colour\":\"\xff\"}").is_err(), "no UTF-8");
}

#[test]
fn names_share_their_memory() {
    let mut reader = Reader::default();
    let form =
        br#"{"event":"contacted","session":"01KE000000000000000000000A","nas":"front-desk","can_disconnect":true}"#;
    let names: Vec<_> = (0..2)
        .map(|_| match reader.event(form).unwrap() {
            Event::Contacted { contact, .. } => contact.nas.as_str().as_ptr(),
            _ => panic!(),
        })
        .collect();
    assert_eq!(names[0], names[1]);
}

#[test]
fn what_is_not_kept_is_not_written() {
    let session = SessionId::from_octets([7; 16]);
    assert_eq!(event(&Event::Telling { session }), None);
    assert!(!Event::Telling { session }.is_kept());
}
