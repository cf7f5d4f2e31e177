use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::*;

fn config() -> config::Nexudus {
    config::Nexudus {
        base_url: "https://spaces.nexudus.com".to_owned(),
        username: "wifi@example.org".to_owned(),
        password: "opensesame".into(),
        totp_secret: None,
        auth: NexudusAuth::OAuth,
        business_ids: Vec::new(),
        time_zone: TimeZone::UTC,
        request_timeout: Duration::from_secs(5),
        requests_per_minute: 90,
        mirror: false,
        mirror_interval: Duration::from_secs(60),
        full_mirror_interval: Duration::from_secs(1800),
        write_back: false,
        webhook_secret: None,
    }
}

fn at(second: u64) -> Now {
    Now { wall: Timestamp::from_second(1_000_000_000).unwrap(), mono: Duration::from_secs(second) }
}

fn new(config: &config::Nexudus, saved: Option<Saved>) -> SignIn {
    SignIn::new(config, saved, "guid".to_owned())
}

fn call(sign_in: &SignIn, now: Now) -> Authorization {
    match sign_in.step(Role::List, now) {
        Step::Call(authorization) => authorization,
        step => panic!("{step:?}"),
    }
}

fn grant(sign_in: &SignIn, now: Now) -> Grant {
    match sign_in.step(Role::List, now) {
        Step::SignIn(grant) => grant,
        step => panic!("{step:?}"),
    }
}

fn refused(sign_in: &SignIn, now: Now) -> String {
    match sign_in.step(Role::List, now) {
        Step::Refused(error) => error.to_string(),
        step => panic!("{step:?}"),
    }
}

const FIRST: &str = r#"{"access_token":"a1","token_type":"bearer","expires_in":1000,"refresh_token":"r1"}"#;
const SECOND: &str = r#"{"access_token":"a2","token_type":"bearer","expires_in":"1000","refresh_token":"r2"}"#;

fn signed_in(config: &config::Nexudus) -> SignIn {
    let mut sign_in = new(config, None);
    assert_eq!(sign_in.answered(Grant::Password, true, FIRST, at(0)), Outcome::Go);
    sign_in
}

#[test]
fn a_bearer_token_then_the_refresh_then_the_password() {
    let mut sign_in = new(&config(), None);
    assert_eq!(grant(&sign_in, at(0)), Grant::Password);
    let form = sign_in.form(Grant::Password, at(0)).unwrap();
    let password = [("grant_type", "password"), ("username", "wifi@example.org"), ("password", "opensesame")];
    let expected: Vec<_> = password.into_iter().chain([("client_id", "guid")]).collect();
    assert_eq!(form.iter().map(|(key, value)| (*key, value.as_str())).collect::<Vec<_>>(), expected);

    assert_eq!(sign_in.answered(Grant::Password, true, FIRST, at(0)), Outcome::Go);
    assert_eq!(call(&sign_in, at(939)).header, "Bearer a1");
    assert_eq!(grant(&sign_in, at(940)), Grant::Refresh, "a minute before its end");
    let form = sign_in.form(Grant::Refresh, at(940)).unwrap();
    let expected = [("grant_type", "refresh_token"), ("refresh_token", "r1"), ("client_id", "guid")];
    assert_eq!(form.iter().map(|(key, value)| (*key, value.as_str())).collect::<Vec<_>>(), expected);

    assert_eq!(sign_in.answered(Grant::Refresh, true, SECOND, at(940)), Outcome::Go);
    assert_eq!(sign_in.saved().refresh_token.as_ref().unwrap().expose_secret(), "r2", "the newest replaces");
    assert_eq!(call(&sign_in, at(1000)).header, "Bearer a2");

    assert_eq!(grant(&sign_in, at(2000)), Grant::Refresh);
    assert_eq!(sign_in.answered(Grant::Refresh, false, r#"{"error":"invalid_grant"}"#, at(2000)), Outcome::Go);
    assert_eq!(grant(&sign_in, at(2000)), Grant::Password);
}

#[test]
fn what_was_saved_is_used_by_its_own_account_only() {
    let saved = signed_in(&config()).saved().clone();
    assert_eq!(grant(&new(&config(), Some(saved.clone())), at(0)), Grant::Refresh);
    let other = config::Nexudus { username: "other@example.org".to_owned(), ..config() };
    let sign_in = new(&other, Some(saved.clone()));
    assert_eq!(grant(&sign_in, at(0)), Grant::Password);
    assert_eq!(sign_in.saved().client_id, saved.client_id);
}

#[test]
fn the_life_of_a_token_is_honoured() {
    let until = |body: &str| {
        let mut sign_in = new(&config(), None);
        assert_eq!(sign_in.answered(Grant::Password, true, body, at(0)), Outcome::Go);
        (0..).find(|&second| matches!(sign_in.step(Role::List, at(second)), Step::SignIn(_))).unwrap()
    };
    assert_eq!(until(r#"{"access_token":"a","expires_in":100}"#), 90);
    assert_eq!(until(r#"{"access_token":"a","expires_in":1}"#), 1);
    assert_eq!(until(r#"{"access_token":"a","expires_in":0}"#), 1);
    assert_eq!(until(r#"{"access_token":"a","expires_in":-5}"#), 540);
    assert_eq!(until(r#"{"access_token":"a"}"#), 540);
    let mut sign_in = new(&config(), None);
    let endless = r#"{"access_token":"a","expires_in":18446744073709551615}"#;
    assert_eq!(sign_in.answered(Grant::Password, true, endless, at(0)), Outcome::Go);
}

#[test]
fn a_refused_password_is_not_tried_again_for_five_minutes() {
    const DESCRIPTION: &str = "reset-token-81f3";
    for (error, description, seed, alarm, words) in [
        ("invalid_grant", DESCRIPTION, false, Alarm::WrongPassword, "wrong user name or password;"),
        ("invalid_grant", DESCRIPTION, true, Alarm::WrongPassword, "one-time password"),
        ("invalid_grant", "The clock of 81f3 is wrong.", true, Alarm::WrongPassword, "one-time password"),
        ("invalid_grant", "User 81f3 is Locked out.", false, Alarm::Locked, "locked"),
        ("invalid_grant", "User 81f3 is blocked.", true, Alarm::Locked, "locked"),
        ("user_lockout", DESCRIPTION, false, Alarm::Locked, "locked"),
        ("two_factor_auth_check", DESCRIPTION, false, Alarm::OneTimePasswordWanted, "totp_secret_file"),
        ("two_factor_auth_check", DESCRIPTION, true, Alarm::OneTimePasswordWrong, "clock"),
        ("must_reset_password", DESCRIPTION, false, Alarm::MustReset, "new password"),
        ("must_reset_password", "lock-81f3", false, Alarm::MustReset, "new password"),
        ("unsupported_grant_type", DESCRIPTION, false, Alarm::WrongAddress, "base_url"),
    ] {
        let totp_secret = seed.then(|| SecretString::from("GEZDGNBVGY3TQOJQ"));
        let mut sign_in = new(&config::Nexudus { totp_secret, ..config() }, None);
        let body = format!(r#"{{"error":"{error}","error_description":"{description}"}}"#);
        let Outcome::Refused(refusal) = sign_in.answered(Grant::Password, false, &body, at(0)) else {
            panic!("{error}");
        };
        assert!(refusal.to_string().contains(words), "{refusal}");
        assert_eq!(refusal.alarm(), Some(alarm), "{refusal}");
        assert!(!format!("{refusal:?} {sign_in:?}").contains("81f3"), "the description is not kept");
        assert_eq!(refused(&sign_in, at(299)), refusal.to_string());
        assert_eq!(grant(&sign_in, at(300)), Grant::Password);
    }
    for body in ["<html>", "{}", r#"{"error":3}"#] {
        let mut sign_in = new(&config(), None);
        assert!(matches!(sign_in.answered(Grant::Password, false, body, at(0)), Outcome::Refused(_)), "{body}");
    }
    for description in ["null", "{}"] {
        let mut sign_in = new(&config(), None);
        let body = format!(r#"{{"error":"invalid_grant","error_description":{description}}}"#);
        let Outcome::Refused(refusal) = sign_in.answered(Grant::Password, false, &body, at(0)) else {
            panic!("{body}");
        };
        assert_eq!(refusal.alarm(), Some(Alarm::WrongPassword), "{body}");
    }
}

#[test]
fn one_new_sign_in_for_one_rejected_token() {
    let mut sign_in = signed_in(&config());
    let (one, other) = (call(&sign_in, at(1)), call(&sign_in, at(1)));
    assert_eq!(sign_in.rejected(&one, false, Role::List, at(1)), Ok(()));
    assert_eq!(grant(&sign_in, at(1)), Grant::Refresh);
    sign_in.answered(Grant::Refresh, true, SECOND, at(1));
    assert_eq!(sign_in.rejected(&other, false, Role::List, at(1)), Ok(()), "sent with the old token");
    assert_eq!(call(&sign_in, at(1)).header, "Bearer a2", "which does not cost the new one");
}

#[test]
fn a_missing_role_stops_sign_ins_and_not_calls() {
    let mut sign_in = signed_in(&config());
    let fresh = call(&sign_in, at(0));
    let error = sign_in.rejected(&fresh, true, Role::List, at(0)).unwrap_err().to_string();
    assert!(error.contains("AccessToken-List"), "{error}");
    assert_eq!(sign_in.rejected(&call(&sign_in, at(299)), false, Role::List, at(299)).unwrap_err().to_string(), error);
    assert_eq!(
        sign_in.rejected(&call(&sign_in, at(300)), false, Role::List, at(300)),
        Ok(()),
        "then it is tried again"
    );
    assert_eq!(grant(&sign_in, at(300)), Grant::Refresh);

    let mut given = signed_in(&config());
    given.rejected(&call(&given, at(0)), true, Role::List, at(0)).unwrap_err();
    // Given elsewhere, it is still missing there: each call there would bring a sign-in.
    given.accepted(Role::List, at(10));
    assert!(given.rejected(&call(&given, at(10)), false, Role::List, at(10)).is_err());
    // Where nothing goes well any more, it may be the bearer token.
    let mut ended = signed_in(&config());
    ended.rejected(&call(&ended, at(0)), true, Role::List, at(0)).unwrap_err();
    ended.accepted(Role::List, at(10));
    assert!(ended.rejected(&call(&ended, at(129)), false, Role::List, at(129)).is_err());
    assert_eq!(ended.rejected(&call(&ended, at(130)), false, Role::List, at(130)), Ok(()));
    assert_eq!(grant(&ended, at(130)), Grant::Refresh);

    given.accepted(Role::List, at(300));
    assert_eq!(given.rejected(&call(&given, at(301)), false, Role::List, at(301)), Ok(()));
}

#[test]
fn each_role_is_missed_by_itself() {
    let mut sign_in = signed_in(&config());
    for (role, name) in [(Role::Read, "AccessToken-Read"), (Role::Edit, "AccessToken-Edit")] {
        let error = sign_in.rejected(&call(&sign_in, at(0)), true, role, at(0)).unwrap_err();
        assert_eq!(error.alarm(), Some(Alarm::RoleMissing(role)));
        assert!(error.to_string().contains(name), "{error}");
        // Lists that go well must not bring a sign-in with each other call.
        sign_in.accepted(Role::List, at(1));
        assert_eq!(sign_in.rejected(&call(&sign_in, at(1)), false, role, at(1)), Err(error));
    }
    let lists = call(&sign_in, at(2));
    assert_eq!(
        sign_in.rejected(&lists, false, Role::List, at(2)),
        Ok(()),
        "a token that ended is replaced all the same"
    );
    assert_eq!(grant(&sign_in, at(2)), Grant::Refresh);

    let mut basic = new(&config::Nexudus { auth: NexudusAuth::Basic, ..config() }, None);
    let error = basic.rejected(&call(&basic, at(0)), false, Role::Edit, at(0)).unwrap_err();
    assert_eq!(error.alarm(), Some(Alarm::PasswordOrRole));
    assert!(error.to_string().contains("AccessToken-Edit"), "{error}");
    assert!(matches!(basic.step(Role::Edit, at(299)), Step::Refused(_)));
    assert!(matches!(basic.step(Role::Edit, at(300)), Step::Call(_)));
    call(&basic, at(1));
}

#[test]
fn basic_needs_no_sign_in_and_stops_when_refused() {
    let mut sign_in = new(&config::Nexudus { auth: NexudusAuth::Basic, ..config() }, None);
    let authorization = call(&sign_in, at(0));
    assert_eq!(authorization.header, "Basic d2lmaUBleGFtcGxlLm9yZzpvcGVuc2VzYW1l");
    sign_in.rejected(&authorization, false, Role::List, at(0)).unwrap_err();
    assert!(refused(&sign_in, at(299)).contains("wrong user name or password, or a role is missing"));
    call(&sign_in, at(300));
}

#[test]
fn one_time_passwords_go_with_the_password() {
    let totp_secret = Some("GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ".into());
    let sign_in = new(&config::Nexudus { totp_secret, ..config() }, None);
    let now = Now { wall: Timestamp::from_second(59).unwrap(), ..at(0) };
    assert!(sign_in.form(Grant::Password, now).unwrap().contains(&("totp", "287082".to_owned())));
    let broken = new(&config::Nexudus { totp_secret: Some("secret!".into()), ..config() }, None);
    let error = broken.form(Grant::Password, now).unwrap_err().to_string();
    assert!(error.contains("totp_secret_file") && !error.contains("secret!"), "{error}");
}

#[test]
fn nonsense_is_no_sign_in() {
    for body in
        ["", "<html></html>", "{}", r#"{"access_token":""}"#, r#"{"access_token":"a\nb"}"#, r#"{"access_token":3}"#]
    {
        let mut sign_in = new(&config(), None);
        assert_eq!(sign_in.answered(Grant::Password, true, body, at(0)), Outcome::Nonsense, "{body}");
    }
}

#[test]
fn nothing_secret_prints() {
    let shown = format!("{:?}", signed_in(&config()));
    for secret in ["opensesame", "a1\"", "r1"] {
        assert!(!shown.contains(secret), "{secret} in {shown}");
    }
}

#[test]
fn client_ids_are_guids() {
    let id = new_client_id().unwrap();
    let lengths: Vec<usize> = id.split('-').map(str::len).collect();
    assert_eq!(lengths, [8, 4, 4, 4, 12]);
    assert_eq!(id.as_bytes()[14], b'4');
    assert!(matches!(id.as_bytes()[19], b'8' | b'9' | b'a' | b'b'), "{id}");
    assert_ne!(id, new_client_id().unwrap());
}
