//! Every rule of the contract's "Deciding", with literal times.

use std::sync::Arc;

use jiff::Timestamp;
use proptest::prelude::*;

use super::*;
use crate::core::ending::Cause;
use crate::core::event::Event;
use crate::core::ident::{BusinessId, Mac, NasName};
use crate::core::login::Proof;
use crate::core::policy::ZeroMinutes;
use crate::core::session::Report;
use crate::core::token::tests::token;

const NOON: &str = "2026-11-23T12:00:00Z";

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn mac(last: u8) -> Mac {
    Mac::new([0x3C, 6, 0x30, 0xAA, 0x19, last])
}

fn nas() -> NasRules {
    NasRules {
        name: NasName::new("front-desk"),
        businesses: Vec::new(),
        can_disconnect: true,
        can_extend: false,
        accounting: true,
    }
}

/// A device typing a code, with the proof that a plain login page sends: the code again.
fn typing(code: &str, device: Mac) -> Login<'_> {
    Login {
        claim: Claim::Code(Code::parse(code).unwrap()),
        typed: code.as_bytes(),
        proof: Proof::Password(code.as_bytes()),
        device: Some(device),
        ip: None,
        router: None,
        nas_session: None,
    }
}

struct World {
    nas: NasRules,
    policy: Policy,
    account: Account,
    next: u8,
}

impl World {
    fn new() -> Self {
        Self { nas: nas(), policy: Policy::default(), account: Account::default(), next: 0 }
    }

    fn judge(&self, token: &AccessToken, login: &Login<'_>, now: &str) -> Decision {
        let question = Question { login, nas: &self.nas, policy: &self.policy };
        decide(token, &self.account, &question, at(now), &mut ())
    }

    fn reason(&self, token: &AccessToken, login: &Login<'_>, now: &str) -> Option<Reason> {
        match self.judge(token, login, now) {
            Decision::Allow(_) => None,
            Decision::Deny(denial) => Some(denial.reason),
        }
    }

    fn budget(&self, token: &AccessToken, login: &Login<'_>, now: &str) -> u64 {
        match self.judge(token, login, now) {
            Decision::Allow(grant) => grant.session_timeout.0,
            Decision::Deny(denial) => panic!("denied: {}", denial.reason),
        }
    }

    /// Lets the login in if it may, as the ledger does.
    fn admit(&mut self, token: &AccessToken, login: &Login<'_>, now: &str) -> Option<Grant> {
        for event in self.account.due(&self.policy, at(now)) {
            self.account.apply(at(now), &event);
        }
        let question = Question { login, nas: &self.nas, policy: &self.policy };
        let Decision::Allow(grant) = decide(token, &self.account, &question, at(now), &mut ()) else { return None };
        for session in &grant.displaces {
            self.account.apply(at(now), &Event::Ending { session: *session, cause: Cause::Displaced });
        }
        self.next += 1;
        let id = SessionId::new(at(now), [self.next; 10]);
        let session = grant.session(id, token, &question, at(now));
        self.account.apply(at(now), &Event::Admitted(Box::new(session)));
        Some(grant)
    }
}

fn selected(
    candidates: Vec<AccessToken>,
    code: &str,
    policy: &Policy,
    nas: &NasRules,
    now: &str,
) -> Result<i64, Reason> {
    let candidates: Vec<_> = candidates.into_iter().map(Arc::new).collect();
    let login = typing(code, mac(1));
    let question = Question { login: &login, nas, policy };
    select(&candidates, &Code::parse(code).unwrap(), &question, at(now), &mut ()).map(|token| token.id.0)
}

fn window(token: AccessToken, from: Option<&str>, to: Option<&str>) -> AccessToken {
    AccessToken { valid_from: from.map(at), valid_to: to.map(at), ..token }
}

#[test]
fn a_session_keeps_what_was_typed_where_that_is_not_the_code() {
    let world = World::new();
    let code = Code::parse("abc-123").unwrap();
    let known_as = |typed: &str| {
        let login = typing(typed, mac(1));
        let question = Question { login: &login, nas: &world.nas, policy: &world.policy };
        question.contact(&code).user_name.map(|name| name.reveal().to_owned())
    };
    assert_eq!((known_as("abc-123"), known_as("ABC123").as_deref()), (None, Some("ABC123")));
}

#[test]
fn a_filter_that_matched_too_much_lets_nothing_in() {
    let policy = Policy::default();
    let strict = Policy { ignore_case: false, ..Policy::default() };
    let everybody = || vec![token(1, "ab"), token(2, "abc"), token(3, "xabc"), token(4, "ABC")];
    assert_eq!(selected(everybody(), "zzz", &policy, &nas(), NOON), Err(Reason::UnknownCode));
    assert_eq!(selected(Vec::new(), "abc", &policy, &nas(), NOON), Err(Reason::UnknownCode));
    assert_eq!(selected(everybody(), "abc", &policy, &nas(), NOON), Ok(2), "an exact match of case beats a folded one");
    assert_eq!(selected(everybody(), "ABC", &policy, &nas(), NOON), Ok(4));
    assert_eq!(selected(everybody(), "Ab", &policy, &nas(), NOON), Ok(1));
    assert_eq!(selected(everybody(), "Ab", &strict, &nas(), NOON), Err(Reason::UnknownCode));
    assert_eq!(
        selected(vec![token(1, "42")], "0042", &policy, &nas(), NOON),
        Err(Reason::UnknownCode),
        "codes are text"
    );
}

#[test]
fn locations_come_before_twins() {
    let policy = Policy::default();
    let here = NasRules { businesses: vec![BusinessId(1)], ..nas() };
    let elsewhere = |id| AccessToken { business: Some(BusinessId(2)), ..token(id, "abc") };
    assert_eq!(selected(vec![elsewhere(1)], "abc", &policy, &here, NOON), Err(Reason::WrongLocation));
    assert_eq!(selected(vec![elsewhere(1), token(2, "abc")], "abc", &policy, &here, NOON), Ok(2));
    assert_eq!(selected(vec![elsewhere(1), token(2, "abc")], "abc", &policy, &nas(), NOON), Err(Reason::AmbiguousCode));
    let nowhere = AccessToken { business: None, ..token(1, "abc") };
    assert_eq!(selected(vec![nowhere], "abc", &policy, &here, NOON), Err(Reason::WrongLocation));
}

#[test]
fn twins_outside_their_window_do_not_count() {
    let policy = Policy::default();
    let over = |id| window(token(id, "abc"), None, Some("2026-11-22T18:00:00Z"));
    let coming = |id| window(token(id, "abc"), Some("2026-11-24T08:00:00Z"), None);
    let open = |id| token(id, "abc");
    let chosen = |candidates| selected(candidates, "abc", &policy, &nas(), NOON);
    assert_eq!(chosen(vec![over(1), open(2), coming(3)]), Ok(2));
    assert_eq!(chosen(vec![open(1), open(2)]), Err(Reason::AmbiguousCode));
    assert_eq!(chosen(vec![over(1), coming(2)]), Ok(2), "one still comes");
    assert_eq!(chosen(vec![over(1), over(2)]), Ok(1));
    let exact_but_over = window(token(1, "abc"), None, Some("2026-11-22T18:00:00Z"));
    assert_eq!(chosen(vec![exact_but_over.clone(), token(2, "ABC")]), Ok(2), "valid beats exact");
    assert_eq!(
        chosen(vec![exact_but_over, token(2, "abc"), token(3, "ABC")]),
        Ok(2),
        "the only exact one that is valid"
    );
    assert_eq!(chosen(vec![token(1, "ABC"), token(2, "Abc")]), Err(Reason::AmbiguousCode));
    assert_eq!(chosen(vec![token(1, "abc"), token(2, "Abc"), token(3, "abc")]), Err(Reason::AmbiguousCode));
}

#[test]
fn of_twins_outside_their_window_the_nearest_is_meant() {
    let policy = Policy::default();
    let over = |id, to| window(token(id, "abc"), None, Some(to));
    let coming = |id, from| window(token(id, "abc"), Some(from), None);
    let chosen = |candidates| selected(candidates, "abc", &policy, &nas(), NOON);
    let (tomorrow, next_week) = ("2026-11-24T08:00:00Z", "2026-11-30T08:00:00Z");
    let (yesterday, last_week) = ("2026-11-22T18:00:00Z", "2026-11-16T18:00:00Z");
    assert_eq!(chosen(vec![coming(1, next_week), coming(2, tomorrow)]), Ok(2), "the next to come");
    assert_eq!(chosen(vec![over(1, last_week), over(2, yesterday)]), Ok(2), "the last to end");
    assert_eq!(chosen(vec![over(1, yesterday), coming(2, next_week), over(3, last_week)]), Ok(2));
}

#[test]
fn the_window_denies_in_its_order() {
    let world = World::new();
    let login = typing("abc", mac(1));
    let windowed = |from, to| window(token(1, "abc"), from, to);
    let reason = |token: &AccessToken, now| world.reason(token, &login, now);
    let today = windowed(Some("2026-11-23T08:00:00Z"), Some("2026-11-23T18:00:00Z"));
    assert_eq!(reason(&today, "2026-11-23T07:59:59Z"), Some(Reason::NotYetValid));
    assert_eq!(reason(&today, "2026-11-23T08:00:00Z"), None);
    assert_eq!(reason(&today, "2026-11-23T17:59:00Z"), None);
    assert_eq!(reason(&today, "2026-11-23T17:59:01Z"), Some(Reason::NoMinutesLeft), "less than min_session");
    assert_eq!(reason(&today, "2026-11-23T18:00:00Z"), Some(Reason::Expired));
    let unbounded = windowed(None, None);
    assert_eq!(reason(&unbounded, "1999-01-01T00:00:00Z"), None);
    let upside_down = windowed(Some("2026-11-23T18:00:00Z"), Some("2026-11-23T08:00:00Z"));
    assert_eq!(reason(&upside_down, NOON), Some(Reason::NotYetValid));
}

#[test]
fn the_first_check_that_fails_is_the_reason() {
    let mut world = World::new();
    world.policy.bind_device = BindDevice::Honour;
    let used_up = AccessToken { minutes_left: Some(0), devices: [mac(9)].into(), ..token(1, "abc") };
    let everything_wrong = window(used_up, Some("2026-11-24T00:00:00Z"), Some("2026-11-22T00:00:00Z"));
    let wrong_password = Login { proof: Proof::Password(b"nonsense"), ..typing("abc", mac(1)) };
    assert_eq!(world.reason(&everything_wrong, &wrong_password, NOON), Some(Reason::WrongPassword));
    let login = typing("abc", mac(1));
    assert_eq!(world.reason(&everything_wrong, &login, NOON), Some(Reason::NotYetValid));
    let begun = AccessToken { valid_from: None, ..everything_wrong };
    assert_eq!(world.reason(&begun, &login, NOON), Some(Reason::Expired));
    let lasting = AccessToken { valid_to: None, ..begun };
    assert_eq!(world.reason(&lasting, &login, NOON), Some(Reason::DeviceMismatch));
    let free = AccessToken { devices: Box::default(), ..lasting };
    assert_eq!(world.reason(&free, &login, NOON), Some(Reason::NoMinutesLeft));
    let filled = AccessToken { minutes_left: Some(60), ..free };
    assert!(world.admit(&filled, &typing("abc", mac(2)), NOON).is_some());
    assert_eq!(world.reason(&filled, &login, NOON), Some(Reason::UserLimitReached));
}

#[test]
fn the_password_is_the_code_or_nothing() {
    let world = World::new();
    let token = token(1, "Kx7Q");
    let with = |proof| Login { proof, ..typing(" kx7q", mac(1)) };
    for good in [&b""[..], b" kx7q", b"kx7q", b"Kx7Q"] {
        assert_eq!(world.reason(&token, &with(Proof::Password(good)), NOON), None, "{good:?}");
    }
    for bad in [&b"KX7Q"[..], b"kx7", b"kx7q ", b"other", b"\0"] {
        assert_eq!(world.reason(&token, &with(Proof::Password(bad)), NOON), Some(Reason::WrongPassword), "{bad:?}");
    }
    assert_eq!(world.reason(&token, &with(Proof::NotAsked), NOON), None);
}

#[test]
fn a_mac_login_proves_itself_by_the_mac_or_nothing() {
    let world = World::new();
    let token = AccessToken { devices: [mac(1)].into(), ..token(1, "abc") };
    let with = |proof| Login {
        claim: Claim::Device(mac(1)),
        typed: b"3c-06-30-aa-19-01",
        proof,
        device: Some(mac(1)),
        ip: None,
        router: None,
        nas_session: None,
    };
    for good in [&b""[..], b"3c-06-30-aa-19-01", b"3C:06:30:AA:19:01", b"3c0630aa1901", b"3C0630-AA1901"] {
        assert_eq!(world.reason(&token, &with(Proof::Password(good)), NOON), None, "{good:?}");
    }
    assert_eq!(world.reason(&token, &with(Proof::Password(b"abc")), NOON), Some(Reason::WrongPassword), "not the code");
}

#[test]
fn a_bound_token_serves_its_device_where_that_is_honoured() {
    let mut world = World::new();
    let bound = AccessToken { devices: [mac(1), mac(2)].into(), ..token(1, "abc") };
    let reason = |world: &World, device| world.reason(&bound, &typing("abc", device), NOON);
    assert_eq!(reason(&world, mac(3)), None, "off");
    world.policy.bind_device = BindDevice::Honour;
    assert_eq!(reason(&world, mac(3)), Some(Reason::DeviceMismatch));
    assert_eq!((reason(&world, mac(1)), reason(&world, mac(2))), (None, None));
    let nameless = Login { device: None, ..typing("abc", mac(1)) };
    assert_eq!(world.reason(&bound, &nameless, NOON), Some(Reason::DeviceMismatch));
    assert_eq!(world.reason(&token(1, "abc"), &typing("abc", mac(3)), NOON), None, "not bound");
}

#[test]
fn the_first_device_is_learnt() {
    let mut world = World::new();
    world.policy.bind_device = BindDevice::Learn;
    let free = AccessToken { user_limit: Some(5), ..token(1, "abc") };
    assert!(world.admit(&free, &typing("abc", mac(1)), NOON).is_some());
    assert_eq!(world.reason(&free, &typing("abc", mac(2)), NOON), Some(Reason::DeviceMismatch));
    assert_eq!(world.reason(&free, &typing("abc", mac(1)), NOON), None);
}

#[test]
fn the_first_device_is_the_first_that_ever_came() {
    let mut world = World::new();
    let free = AccessToken { user_limit: Some(5), ..token(1, "abc") };
    let nameless = Login { device: None, nas_session: Some("81"), ..typing("abc", mac(1)) };
    assert!(world.admit(&free, &nameless, NOON).is_some());
    for device in [mac(1), mac(2)] {
        assert!(world.admit(&free, &typing("abc", device), NOON).is_some());
    }
    assert!(world.admit(&free, &nameless, NOON).is_some());
    world.policy.bind_device = BindDevice::Learn;
    let reason = |token: &AccessToken, device| world.reason(token, &typing("abc", device), NOON);
    assert_eq!((reason(&free, mac(1)), reason(&free, mac(2))), (None, Some(Reason::DeviceMismatch)));
    assert_eq!(world.reason(&free, &nameless, NOON), Some(Reason::DeviceMismatch));
    let bound = AccessToken { devices: [mac(2)].into(), ..free };
    let by_record = (reason(&bound, mac(1)), reason(&bound, mac(2)));
    assert_eq!(by_record, (Some(Reason::DeviceMismatch), None), "what the record names comes before what was learnt");
}

#[test]
fn the_budget_is_the_least_of_its_bounds() {
    let mut world = World::new();
    let login = typing("abc", mac(1));
    let minutes = |left| AccessToken { minutes_left: Some(left), ..token(1, "abc") };
    assert_eq!(world.budget(&minutes(60), &login, NOON), 3600);
    assert_eq!(world.budget(&minutes(1), &login, NOON), 60);
    assert_eq!(world.reason(&minutes(0), &login, NOON), Some(Reason::NoMinutesLeft));
    assert_eq!(world.budget(&minutes(100_000), &login, NOON), 86_400, "max_session");
    assert_eq!(world.budget(&minutes(i32::MAX), &login, NOON), 86_400);
    let until_six = window(minutes(100_000), None, Some("2026-11-23T18:00:00Z"));
    assert_eq!(world.budget(&until_six, &login, NOON), 6 * 3600);
    world.policy.min_session = Seconds(61);
    assert_eq!(world.reason(&minutes(1), &login, NOON), Some(Reason::NoMinutesLeft));
    world.policy.min_session = Seconds(1);
    world.policy.max_session = Seconds(0);
    assert_eq!(world.reason(&minutes(1), &login, NOON), Some(Reason::NoMinutesLeft), "never 0");
    world.policy.min_session = Seconds(0);
    assert_eq!(world.reason(&minutes(1), &login, NOON), Some(Reason::NoMinutesLeft), "0 is no limit to a router");
}

#[test]
fn zero_minutes_as_the_house_reads_them() {
    let mut world = World::new();
    let login = typing("abc", mac(1));
    let empty = AccessToken { minutes_included: None, minutes_left: Some(0), ..token(1, "abc") };
    let used_up = AccessToken { minutes_left: Some(0), ..token(1, "abc") };
    assert_eq!(world.reason(&empty, &login, NOON), Some(Reason::NoMinutesLeft));
    world.policy.zero_minutes = ZeroMinutes::Unlimited;
    assert_eq!(world.budget(&empty, &login, NOON), 86_400);
    assert_eq!(world.reason(&used_up, &login, NOON), Some(Reason::NoMinutesLeft));
}

#[test]
fn as_many_devices_as_the_limit_and_no_more() {
    let mut world = World::new();
    let two = AccessToken { user_limit: Some(2), ..token(1, "abc") };
    for (device, online) in [(mac(1), 1), (mac(2), 2)] {
        assert_eq!(world.admit(&two, &typing("abc", device), NOON).unwrap().view.devices_online, online);
    }
    assert_eq!(world.reason(&two, &typing("abc", mac(3)), NOON), Some(Reason::UserLimitReached));
    let again = world.admit(&two, &typing("abc", mac(1)), NOON).unwrap();
    assert_eq!(again.view.devices_online, 2, "the same device never counts twice");
    assert_eq!(world.account.sessions().len(), 2, "and takes over its old session");
    world.policy.default_user_limit = 3;
    let unlimited_by_record = AccessToken { user_limit: None, ..two };
    assert_eq!(world.reason(&unlimited_by_record, &typing("abc", mac(3)), NOON), None);
}

#[test]
fn an_admission_holds_its_place_for_the_grant_timeout() {
    let mut world = World::new();
    let one = token(1, "abc");
    assert!(world.admit(&one, &typing("abc", mac(1)), NOON).is_some());
    assert!(world.admit(&one, &typing("abc", mac(2)), "2026-11-23T12:01:59Z").is_none());
    assert!(world.admit(&one, &typing("abc", mac(2)), "2026-11-23T12:02:00Z").is_some());
}

#[test]
fn devices_without_a_mac_are_told_apart_by_session_or_address() {
    let mut world = World::new();
    let two = AccessToken { user_limit: Some(2), ..token(1, "abc") };
    let by = |session, ip: Option<&str>| Login {
        device: None,
        nas_session: session,
        ip: ip.map(|ip| ip.parse().unwrap()),
        ..typing("abc", mac(1))
    };
    assert!(world.admit(&two, &by(Some("s1"), None), NOON).is_some());
    assert!(world.admit(&two, &by(Some("s1"), None), NOON).is_some(), "the same session again");
    assert!(world.admit(&two, &by(None, Some("10.0.0.7")), NOON).is_some());
    assert!(world.admit(&two, &by(None, Some("10.0.0.7")), NOON).is_some(), "the same address again");
    assert_eq!(world.reason(&two, &by(Some("s2"), None), NOON), Some(Reason::UserLimitReached));
    assert_eq!(world.reason(&two, &by(None, None), NOON), Some(Reason::UserLimitReached));
}

#[test]
fn the_oldest_gives_its_place_up_where_the_house_says_so() {
    let mut world = World::new();
    world.policy.on_user_limit = OnUserLimit::ReplaceOldest;
    let two = AccessToken { user_limit: Some(2), ..token(1, "abc") };
    world.admit(&two, &typing("abc", mac(1)), "2026-11-23T12:00:00Z").unwrap();
    world.admit(&two, &typing("abc", mac(2)), "2026-11-23T12:00:01Z").unwrap();
    let oldest = world.account.sessions()[0].id;
    let third = world.admit(&two, &typing("abc", mac(3)), "2026-11-23T12:00:02Z").unwrap();
    assert_eq!((third.displaces, third.view.devices_online), (vec![oldest], 2));
    let lowered = AccessToken { user_limit: Some(1), ..two };
    let fourth = world.admit(&lowered, &typing("abc", mac(4)), "2026-11-23T12:00:03Z").unwrap();
    assert_eq!(
        (fourth.displaces.len(), fourth.view.devices_online),
        (2, 1),
        "down to the limit, whatever it was before"
    );
}

#[test]
fn who_gave_its_place_up_is_not_asked_for_it_again() {
    let mut world = World::new();
    world.policy.on_user_limit = OnUserLimit::ReplaceOldest;
    let two = AccessToken { user_limit: Some(2), ..token(1, "abc") };
    for device in [mac(1), mac(2), mac(3)] {
        world.admit(&two, &typing("abc", device), NOON).unwrap();
    }
    let ids: Vec<_> = world.account.sessions().iter().map(|session| session.id).collect();
    let fourth = world.admit(&two, &typing("abc", mac(4)), NOON).unwrap();
    assert_eq!((fourth.displaces, fourth.view.devices_online), (vec![ids[1]], 2), "one place is wanted");
    let back = world.admit(&two, &typing("abc", mac(1)), NOON).unwrap();
    assert_eq!(back.displaces, [ids[2]], "its own old session is no place either");
    world.policy.on_user_limit = OnUserLimit::Deny;
    let Decision::Deny(denial) = world.judge(&two, &typing("abc", mac(9)), NOON) else { panic!() };
    assert_eq!((denial.reason, denial.view.unwrap().devices_online), (Reason::UserLimitReached, 2));
}

#[test]
fn without_disconnect_nobody_is_promised_what_another_may_use() {
    let mut world = World::new();
    world.nas.can_disconnect = false;
    world.nas.accounting = false;
    let three = AccessToken { user_limit: Some(3), ..token(1, "abc") };
    let mut admit = |device, now| world.admit(&three, &typing("abc", device), now).unwrap().session_timeout.0;
    assert_eq!(admit(mac(1), NOON), 1200, "a third of the pool");
    assert_eq!(admit(mac(2), NOON), 1200);
    // Ten minutes later 20 minutes are used: of the 40 left, others were promised 20.
    assert_eq!(admit(mac(3), "2026-11-23T12:10:00Z"), 800);
    assert_eq!(admit(mac(1), "2026-11-23T12:19:00Z"), 260, "(3600 - 1140 - 1140 - 540) / 3");
}

#[test]
fn what_was_promised_and_cannot_be_taken_back_is_spared() {
    let asked = |before: &NasRules, device| {
        let mut world = World::new();
        world.nas = NasRules { accounting: false, ..before.clone() };
        let one = AccessToken { user_limit: Some(1), ..token(1, "abc") };
        assert_eq!(world.admit(&one, &typing("abc", mac(1)), NOON).unwrap().session_timeout.0, 3600);
        // The limit is raised upstream; ten minutes later 3000 s are left, a half is 1500.
        world.nas = NasRules { can_disconnect: false, ..nas() };
        let two = AccessToken { user_limit: Some(2), ..one };
        match world.judge(&two, &typing("abc", device), "2026-11-23T12:10:00Z") {
            Decision::Allow(grant) => Ok(grant.session_timeout.0),
            Decision::Deny(denial) => Err(denial.reason),
        }
    };
    let cannot = NasRules { can_disconnect: false, ..nas() };
    assert_eq!(asked(&cannot, mac(2)), Err(Reason::NoMinutesLeft), "all of it was promised");
    assert_eq!(asked(&cannot, mac(1)), Ok(1500), "but not to another");
    assert_eq!(asked(&nas(), mac(2)), Ok(1500), "that promise can be taken back");
    assert_eq!(asked(&nas(), mac(1)), Ok(1500));
}

#[test]
fn a_promise_shrinks_as_it_is_used_and_outlives_its_place() {
    let mut world = World::new();
    world.nas = NasRules { can_disconnect: false, accounting: false, ..nas() };
    world.policy.on_user_limit = OnUserLimit::ReplaceOldest;
    world.policy.max_session = Seconds(1800);
    let one = token(1, "abc");
    assert_eq!(world.admit(&one, &typing("abc", mac(1)), NOON).unwrap().session_timeout.0, 1800);
    world.policy.max_session = Seconds(86_400);
    for now in [NOON, "2026-11-23T12:20:00Z", "2026-11-23T12:29:59Z"] {
        assert_eq!(world.budget(&one, &typing("abc", mac(2)), now), 1800, "{now}: pool and promise lose the same");
    }
    let second = world.admit(&one, &typing("abc", mac(2)), "2026-11-23T12:20:00Z").unwrap();
    assert_eq!((second.session_timeout.0, second.displaces.len()), (1800, 1));
    let third = world.reason(&one, &typing("abc", mac(3)), "2026-11-23T12:20:00Z");
    assert_eq!(third, Some(Reason::NoMinutesLeft), "of 2400 s the displaced may still run up 600, the other 1800");
}

#[test]
fn one_pool_for_every_device() {
    let mut world = World::new();
    world.nas.accounting = false;
    let two = AccessToken { user_limit: Some(2), minutes_left: Some(10), ..token(1, "abc") };
    assert_eq!(world.admit(&two, &typing("abc", mac(1)), NOON).unwrap().session_timeout.0, 600);
    let second = world.admit(&two, &typing("abc", mac(2)), "2026-11-23T12:04:00Z").unwrap();
    assert_eq!((second.session_timeout.0, second.view.pool.minutes()), (360, Some(6)));
    assert_eq!(world.reason(&two, &typing("abc", mac(1)), "2026-11-23T12:07:00Z"), Some(Reason::NoMinutesLeft));
}

#[test]
fn an_old_session_counts_up_to_its_last_news_for_its_own_device() {
    let mut world = World::new();
    let two = AccessToken { user_limit: Some(2), ..token(1, "abc") };
    world.admit(&two, &typing("abc", mac(1)), NOON).unwrap();
    let session = world.account.sessions()[0].id;
    let report = Report { at: at("2026-11-23T12:05:00Z"), seconds: Seconds(290), input_octets: 0, output_octets: 0 };
    world.account.apply(report.at, &Event::Progressed { session, report });
    let ten_past = "2026-11-23T12:10:00Z";
    assert_eq!(world.budget(&two, &typing("abc", mac(2)), ten_past), 3600 - 590, "for another the clock runs on");
    assert_eq!(
        world.budget(&two, &typing("abc", mac(1)), ten_past),
        3600 - 290,
        "it is taken over as it would be closed"
    );
    let again = world.admit(&two, &typing("abc", mac(1)), ten_past).unwrap();
    assert_eq!(again.session_timeout.0, 3600 - 290);
    assert_eq!(world.account.usage(&world.policy, at(ten_past)), Seconds(290), "and so it was");
}

#[test]
fn without_disconnect_an_old_session_counts_by_the_clock_for_its_own_device_too() {
    let mut world = World::new();
    world.nas.can_disconnect = false;
    let one = AccessToken { user_limit: Some(1), ..token(1, "abc") };
    world.admit(&one, &typing("abc", mac(1)), NOON).unwrap();
    let session = world.account.sessions()[0].id;
    let report = Report { at: at("2026-11-23T12:55:00Z"), seconds: Seconds(3300), input_octets: 0, output_octets: 0 };
    world.account.apply(report.at, &Event::Progressed { session, report });
    // Its Stop may be on its way, and say that nearly all of the hour was used.
    let login = typing("abc", mac(1));
    assert_eq!(world.budget(&one, &login, "2026-11-23T12:58:59Z"), 61);
    assert_eq!(world.reason(&one, &login, "2026-11-23T12:59:01Z"), Some(Reason::NoMinutesLeft));
}

#[test]
fn nobody_is_let_in_on_what_was_promised_to_another_for_good() {
    let mut world = World::new();
    world.nas = NasRules { can_disconnect: false, accounting: false, ..nas() };
    world.policy.on_user_limit = OnUserLimit::ReplaceOldest;
    let one = AccessToken { user_limit: Some(1), ..token(1, "abc") };
    assert_eq!(world.admit(&one, &typing("abc", mac(1)), NOON).unwrap().session_timeout.0, 3600);
    world.nas = nas();
    let login = typing("abc", mac(2));
    assert_eq!(world.reason(&one, &login, NOON), Some(Reason::NoMinutesLeft), "it would be told to go at once");
    let richer = AccessToken { minutes_left: Some(61), ..one };
    assert_eq!(world.budget(&richer, &login, NOON), 3660, "it is told to go when the rest is used");
}

#[test]
fn the_clock_runs_from_the_first_login_where_elapsed_time_counts() {
    let mut world = World::new();
    world.policy.counting = Counting::Elapsed;
    world.nas.can_disconnect = false;
    let two = AccessToken { user_limit: Some(2), ..token(1, "abc") };
    let mut admit = |device, now| world.admit(&two, &typing("abc", device), now).map(|grant| grant.session_timeout.0);
    assert_eq!(admit(mac(1), NOON), Some(3600));
    assert_eq!(admit(mac(2), "2026-11-23T12:20:00Z"), Some(2400), "not less for being two");
    assert_eq!(admit(mac(1), "2026-11-23T12:59:00Z"), Some(60));
    assert_eq!(admit(mac(1), "2026-11-23T12:59:01Z"), None);
}

#[test]
fn the_reasons_have_the_contracts_names_in_its_order() {
    let names = [
        "malformed",
        "throttled",
        "source_unavailable",
        "unknown_code",
        "unknown_device",
        "wrong_location",
        "ambiguous_code",
        "wrong_password",
        "not_yet_valid",
        "expired",
        "device_mismatch",
        "no_minutes_left",
        "user_limit_reached",
    ];
    assert_eq!(Reason::ALL.map(Reason::as_str), names);
    assert_eq!(Reason::ALL.map(|reason| reason.to_string()), names);
    assert!(Reason::ALL.is_sorted());
}

/// Check, outcome and detail of each step.
fn notes(trail: &[Check]) -> Vec<(&str, bool, &str)> {
    trail.iter().map(|check| (check.check, check.ok, check.detail.as_str())).collect()
}

#[test]
fn choosing_a_token_is_explained() {
    let here = NasRules { businesses: vec![BusinessId(1)], ..nas() };
    let policy = Policy::default();
    let login = typing("abc", mac(1));
    let question = Question { login: &login, nas: &here, policy: &policy };
    let explained = |candidates: Vec<AccessToken>| {
        let candidates: Vec<_> = candidates.into_iter().map(Arc::new).collect();
        let mut trail = Vec::new();
        let _ = select(&candidates, &Code::parse("abc").unwrap(), &question, at(NOON), &mut trail);
        trail
    };
    let elsewhere = AccessToken { business: Some(BusinessId(2)), ..token(3, "abc") };
    assert_eq!(notes(&explained(vec![token(1, "xyz")])), [("code", false, "0 tokens with this code")]);
    assert_eq!(
        notes(&explained(vec![elsewhere.clone()])),
        [("code", true, "1 token with this code"), ("location", false, "0 tokens valid at NAS front-desk")]
    );
    assert_eq!(
        notes(&explained(vec![token(1, "abc"), elsewhere])),
        [
            ("code", true, "2 tokens with this code"),
            ("location", true, "1 token valid at NAS front-desk"),
            ("unambiguous", true, "token 1"),
        ]
    );
    let folded = explained(vec![token(1, "abc"), token(2, "ABC")]);
    assert_eq!(notes(&folded)[2], ("unambiguous", true, "token 1"), "the exact one");
    let twins = explained(vec![token(1, "abc"), token(2, "abc")]);
    assert_eq!(notes(&twins)[2], ("unambiguous", false, "two or more tokens with this code are valid now"));
}

#[test]
fn a_decision_is_explained_up_to_the_check_that_failed() {
    let mut world = World::new();
    let login = typing("abc", mac(1));
    let explained = |world: &World, token: &AccessToken| {
        let question = Question { login: &login, nas: &world.nas, policy: &world.policy };
        let mut trail = Vec::new();
        let _ = decide(token, &world.account, &question, at(NOON), &mut trail);
        trail
    };
    let until_six = window(token(1, "abc"), None, Some("2026-11-23T18:00:00Z"));
    let passed = [
        ("password", true, "the code or empty"),
        ("valid_from", true, "no bound"),
        ("valid_to", true, "2026-11-23T18:00:00Z"),
        ("device", true, "not bound to another device"),
        ("minutes", true, "60 minutes left; budget 3600 s, at least 60 s needed"),
        ("user_limit", true, "0 of 1 places taken by other devices"),
    ];
    assert_eq!(notes(&explained(&world, &until_six)), passed);

    let early = window(token(1, "abc"), Some("2026-11-24T08:00:00Z"), None);
    assert_eq!(notes(&explained(&world, &early)), [passed[0], ("valid_from", false, "2026-11-24T08:00:00Z")]);
    let over = window(token(1, "abc"), None, Some("2026-11-23T12:00:00Z"));
    assert_eq!(notes(&explained(&world, &over)), [passed[0], passed[1], ("valid_to", false, "2026-11-23T12:00:00Z")]);

    world.policy.zero_minutes = ZeroMinutes::Unlimited;
    let unlimited = AccessToken { minutes_included: None, minutes_left: None, ..until_six.clone() };
    let minutes = "no limit of minutes; budget 21600 s, at least 60 s needed";
    assert_eq!(notes(&explained(&world, &unlimited))[4], ("minutes", true, minutes));
    let used_up = AccessToken { minutes_left: Some(0), ..until_six.clone() };
    let minutes = "0 minutes left; budget 0 s, at least 60 s needed";
    assert_eq!(notes(&explained(&world, &used_up)).last(), Some(&("minutes", false, minutes)));

    assert!(world.admit(&until_six, &typing("abc", mac(2)), NOON).is_some());
    let full = explained(&world, &until_six);
    assert_eq!(notes(&full)[5], ("user_limit", false, "1 of 1 places taken by other devices"));
    world.policy.on_user_limit = OnUserLimit::ReplaceOldest;
    let replaced = explained(&world, &until_six);
    let places = "1 of 1 places taken by other devices; the oldest gives its place up";
    assert_eq!(notes(&replaced)[5], ("user_limit", true, places));

    world.policy.bind_device = BindDevice::Honour;
    let bound = AccessToken { devices: [mac(9)].into(), ..until_six.clone() };
    assert_eq!(notes(&explained(&world, &bound)).last(), Some(&("device", false, "bound to another device")));
    world.nas.businesses = vec![BusinessId(2)];
    let elsewhere = "token 1 is of a location that NAS front-desk does not serve";
    assert_eq!(notes(&explained(&world, &until_six)), [("location", false, elsewhere)]);
}

fn any_time() -> impl Strategy<Value = Timestamp> {
    (-62_135_596_800i64..253_402_300_799).prop_map(|second| Timestamp::from_second(second).unwrap())
}

prop_compose! {
    fn any_token()(
        from in proptest::option::of(any_time()),
        to in proptest::option::of(any_time()),
        included: Option<i32>,
        left: Option<i32>,
        limit: Option<i32>,
        bound: bool,
        business in proptest::option::of(0i64..3),
    ) -> AccessToken {
        AccessToken {
            valid_from: from,
            valid_to: to,
            minutes_included: included,
            minutes_left: left,
            user_limit: limit,
            devices: bound.then_some(mac(1)).into_iter().collect(),
            business: business.map(BusinessId),
            ..token(1, "abc")
        }
    }
}

prop_compose! {
    fn any_policy()(
        min in 0u64..10_000,
        max: u64,
        default_user_limit in 1u32..5,
        flags: [bool; 4],
    ) -> Policy {
        Policy {
            min_session: Seconds(min),
            max_session: Seconds(max),
            default_user_limit,
            zero_minutes: if flags[0] { ZeroMinutes::Unlimited } else { ZeroMinutes::Deny },
            counting: if flags[1] { Counting::Elapsed } else { Counting::Connected },
            on_user_limit: if flags[2] { OnUserLimit::ReplaceOldest } else { OnUserLimit::Deny },
            bind_device: if flags[3] { BindDevice::Learn } else { BindDevice::Honour },
            ..Policy::default()
        }
    }
}

proptest! {
    /// A decision for each input, never a panic; a budget inside each of its bounds; and never more devices than the limit.
    #[test]
    fn any_world_is_decided_within_its_bounds(
        token in any_token(),
        policy in any_policy(),
        flags: [bool; 3],
        logins in proptest::collection::vec((0u8..4, any_time(), proptest::option::of("[abc]{0,3}")), 1..8),
    ) {
        let mut world = World::new();
        world.policy = policy;
        world.nas.can_disconnect = flags[0];
        world.nas.accounting = flags[1];
        if flags[2] {
            world.nas.businesses = vec![BusinessId(1)];
        }
        let mut logins = logins;
        logins.sort_by_key(|(_, now, _)| *now);
        for (device, now, password) in &logins {
            let proof = password.as_ref().map_or(Proof::NotAsked, |password| Proof::Password(password.as_bytes()));
            let login = Login { proof, ..typing("abc", mac(*device)) };
            let text = now.to_string();
            let before = world.account.left(&token, &Question { login: &login, nas: &world.nas, policy: &world.policy }.endpoint(), &world.policy, *now);
            if let Some(grant) = world.admit(&token, &login, &text) {
                let given = grant.session_timeout;
                prop_assert!(given > Seconds::ZERO && given >= world.policy.min_session);
                prop_assert!(given <= world.policy.max_session && given <= super::super::budget::SESSION_CEILING);
                prop_assert!(token.valid_to.is_none_or(|end| given.after(*now) <= end));
                prop_assert!(token.valid_from.is_none_or(|start| *now >= start));
                if let (Pool::Holds(held), Pool::Holds(_)) = (token.pool(&world.policy), before) {
                    prop_assert!(given <= held);
                }
                let held = world.account.sessions().iter().filter(|session| session.holds_place()).count();
                prop_assert!(held <= token.user_limit(&world.policy) as usize);
                prop_assert!(grant.view.devices_online <= grant.view.user_limit);
            }
        }
    }

    /// Without Disconnect: what was used and what may still be used is never more than the pool.
    #[test]
    fn no_overrun_without_disconnect(
        limit in 1i32..4,
        minutes in 1i32..200,
        logins in proptest::collection::vec((0u8..5, 0i64..4000), 1..20),
    ) {
        let mut world = World::new();
        world.nas.can_disconnect = false;
        world.nas.accounting = false;
        let token = AccessToken { user_limit: Some(limit), minutes_left: Some(minutes), ..token(1, "abc") };
        let mut second = 1_700_000_000;
        for (device, step) in logins {
            second += step;
            let now = Timestamp::from_second(second).unwrap();
            world.admit(&token, &typing("abc", mac(device)), &now.to_string());
            let used = world.account.usage(&world.policy, now);
            let still: u64 = world.account.sessions().iter().map(|session| session.granted.less(session.used(now)).0).sum();
            prop_assert!(used.0 + still <= u64::from(minutes.unsigned_abs()) * 60, "{used} used, {still} s promised");
        }
    }
}
