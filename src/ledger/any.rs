//! Accounts and events of every kind, for tests of how they are kept.

use std::net::IpAddr;

use jiff::Timestamp;
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

use crate::core::account::{Account, Ended};
use crate::core::budget::{Pool, Seconds, moment};
use crate::core::ending::{Cause, Ending, Told};
use crate::core::event::{Event, Terms};
use crate::core::extension::Extension;
use crate::core::ident::{Code, Mac, NasName, SessionId};
use crate::core::policy::Policy;
use crate::core::session::{Contact, Report, Session};
use crate::core::settle::{Intent, Settlement, Stage};
use crate::core::token::AccessToken;
use crate::ledger::Ledger;

fn at(millis: i64) -> Timestamp {
    moment(millis)
}

fn report() -> impl Strategy<Value = Report> {
    (0i64..4_000_000_000_000, any::<u32>(), any::<u64>(), any::<u64>()).prop_map(|(millis, seconds, input, output)| {
        Report { at: at(millis), seconds: Seconds(seconds.into()), input_octets: input, output_octets: output }
    })
}

fn contact() -> impl Strategy<Value = Contact> {
    let text = || option::of("[ -~äß\"\\\\]{1,20}");
    let ip = || option::of(any::<IpAddr>());
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
    let ending = option::of((cause(), 0i64..4_000_000_000_000));
    let device = option::of(any::<[u8; 6]>());
    (any::<[u8; 16]>(), device, "[!-~]{1,20}", contact(), times, any::<bool>(), option::of(report()), ending).prop_map(
        |(id, device, code, contact, (millis, granted, interim), accounting, reported, ending)| Session {
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
        },
    )
}

fn terms() -> impl Strategy<Value = Terms> {
    let end = option::of(prop_oneof![9 => 0i64..4_000_000_000_000, 1 => Just(i64::MAX)]);
    let access = option::of(0i64..4_000_000_000_000);
    (option::of(any::<u32>()), end, access).prop_map(|(pool, end, access)| Terms {
        pool: pool.map_or(Pool::Unlimited, |held| Pool::Holds(Seconds(held.into()))),
        valid_to: end.map(at),
        last_access: access.map(at),
    })
}

fn intent() -> impl Strategy<Value = Intent> {
    (any::<i64>(), any::<i64>(), 0i64..4_000_000_000_000).prop_map(|(before, after, access)| Intent {
        before,
        after,
        last_access: at(access),
    })
}

fn settlement() -> impl Strategy<Value = Settlement> {
    let stage = proptest::sample::select(&Stage::ALL[..]);
    (intent(), stage).prop_map(|(intent, stage)| Settlement { intent, stage })
}

pub(super) fn event() -> impl Strategy<Value = Event> {
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
        intent().prop_map(Event::Settling),
        intent().prop_map(Event::Settled),
        intent().prop_map(Event::Unsettled),
        any::<u32>().prop_map(|used| Event::Forgotten { used: Seconds(used.into()) }),
    ]
}

/// Any account; some devices, codes and moments in it come again.
pub(super) fn account() -> impl Strategy<Value = Account> {
    let millis = || 0i64..4_000_000_000_000;
    let ended = (session(), millis(), any::<u32>(), any::<bool>()).prop_map(|(session, millis, counts, stopped)| {
        Ended { session, at: at(millis), counts: Seconds(counts.into()), stopped }
    });
    let marks = (any::<u32>(), option::of(any::<[u8; 6]>()), option::of(millis()), option::of("[!-~]{1,20}"));
    let devices = vec(any::<[u8; 6]>(), 0..4);
    let written = (prop_oneof![Just(0), any::<u32>()], option::of(settlement()));
    (marks, devices, written, option::of(terms()), vec(session(), 0..3), vec(ended, 0..3)).prop_map(
        |((usage, first, used, code), devices, (written, settlement), terms, mut sessions, ended)| {
            let devices: Vec<_> = devices.into_iter().map(Mac::new).collect();
            let code = code.map(|code| Code::parse(&code).unwrap());
            if let (Some(session), Some(device), Some(code)) = (sessions.first_mut(), devices.last(), &code) {
                (session.device, session.code) = (Some(*device), code.clone());
            }
            Account {
                usage: Seconds(usage.into()),
                written: Seconds(written.into()),
                settlement,
                running_since: used.map(at),
                first_device: first.map(Mac::new).or(devices.first().copied()),
                last_used: used.map(at),
                code,
                devices,
                terms,
                sessions,
                ended: ended.into(),
            }
        },
    )
}

/// Any account of which routers were told something: how far is not kept on disk.
pub(super) fn account_being_told() -> impl Strategy<Value = Account> {
    let unheard = prop_oneof![Just(Told::Unanswered), Just(Told::Unsendable)];
    let told = prop_oneof![Just(Told::Acked), unheard, any::<u32>().prop_map(Told::Refused)];
    let extension = (any::<u32>(), any::<u32>(), 0i64..4_000_000_000_000);
    let extension =
        extension.prop_map(|(to, tries, millis)| Extension { to: Seconds(to.into()), tries, next_try: at(millis) });
    (account(), any::<u32>(), option::of(told), option::of(extension)).prop_map(
        |(mut account, tries, last, extension)| {
            for session in &mut account.sessions {
                if let Some(ending) = &mut session.ending {
                    (ending.tries, ending.last) = (tries, last);
                }
                session.extension = extension.clone().map(Box::new);
            }
            account
        },
    )
}

/// So many seconds are used of this token by its `nth` session, from `began` on, which is over by `now`.
pub(crate) fn uses(
    ledger: &Ledger,
    token: &AccessToken,
    nth: u8,
    seconds: u64,
    policy: &Policy,
    (began, now): (Timestamp, Timestamp),
) {
    let mut entropy = [nth; 10];
    entropy[..8].copy_from_slice(&token.id.0.to_be_bytes());
    let session = Session {
        id: SessionId::new(began, entropy),
        device: Some(Mac::new([2, 0, 0, 0, 0, nth])),
        code: token.code.clone(),
        contact: Contact {
            nas: NasName::new("front-desk"),
            router: None,
            nas_session: None,
            user_name: None,
            ip: None,
            can_disconnect: true,
            can_extend: false,
        },
        asker: None,
        admitted_at: began,
        granted: Seconds(seconds),
        interim: Seconds(300),
        accounting: true,
        reported: None,
        ending: None,
        extension: None,
    };
    let lapsed = Event::Lapsed { session: session.id, counts: Seconds(seconds) };
    let seen = Event::Seen(Terms::of(token, policy));
    let events = [seen, Event::Admitted(Box::new(session)), lapsed];
    let mut shard = ledger.shards.of(token.id);
    let account = shard.account(token.id).unwrap_or_default();
    let _ = ledger.change(&mut shard, token.id, account, policy, now, &events);
}
