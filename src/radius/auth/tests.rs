//! What a request means, and what the answers hold, attribute by attribute.

use super::*;
use crate::config::{DisconnectStyle, HandOver, Nas, RequireMessageAuthenticator};
use crate::core::budget::Pool;
use crate::core::decide::View;
use crate::core::ident::{NasName, TokenId};
use crate::core::policy::NasRules;
use crate::radius::attribute::code;
use crate::radius::packet::Request;
use crate::radius::secret::{MessageAuthenticator, Secret};

const SECRET: &[u8] = b"0123456789abcdef";
const AUTHENTICATOR: [u8; 16] = [0xA5; 16];
const DEVICE: Mac = Mac::new([0x9A, 0x4C, 0x10, 0x7E, 0x22, 0xD1]);
const CALLING: (u8, &[u8]) = (a::CALLING_STATION_ID, b"9A:4C:10:7E:22:D1");

fn client(code_in: CodeIn) -> Client {
    let rules = NasRules {
        name: NasName::new("front-desk"),
        businesses: Vec::new(),
        can_disconnect: true,
        can_extend: false,
        accounting: true,
    };
    Client {
        nas: Nas {
            rules,
            address: "192.0.2.1/32".parse().unwrap(),
            secret: "0123456789abcdef".into(),
            require_message_authenticator: RequireMessageAuthenticator::Auto,
            disconnect_port: 3799,
            disconnect_style: DisconnectStyle::Mikrotik,
            hand_over: HandOver::OneTime,
            fas_key: None,
            hotspot_hosts: Vec::new(),
            code_in,
            certificate_name: None,
            rate_limit: None,
            wispr: None,
            group: None,
        },
        secret: Secret::new(SECRET),
        seen: std::sync::Arc::default(),
    }
}

/// The octets of an Access-Request with these attributes.
fn request(attributes: &[(u8, &[u8])]) -> Vec<u8> {
    let mut buffer = [0; Packet::MAX];
    let mut request = Request::new(&mut buffer, code::ACCESS_REQUEST, 7, &AUTHENTICATOR);
    for (kind, value) in attributes {
        request.attribute(*kind, value).unwrap();
    }
    request.sign(&Secret::new(SECRET)).to_vec()
}

fn hidden(password: &[u8]) -> Vec<u8> {
    Secret::new(SECRET).hide(password, &AUTHENTICATOR, &mut [0; MAX_PASSWORD]).unwrap().to_vec()
}

/// What a request was read as: the claim, what was typed, and whether the proof shows `password`.
#[derive(Debug, PartialEq)]
struct Read {
    claim: Claim,
    typed: Vec<u8>,
    shows: bool,
    device: Option<Mac>,
}

const ROUTER: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

fn read(code_in: CodeIn, attributes: &[(u8, &[u8])], password: &[u8]) -> Result<Read, Unreadable> {
    let bytes = request(attributes);
    let mut unveiled = [0; MAX_PASSWORD];
    let login = login(&Packet::parse(&bytes).unwrap(), &client(code_in), ROUTER, &mut unveiled)?;
    let (shows, typed) = (login.proof.shows(password), login.typed.to_vec());
    Ok(Read { claim: login.claim, typed, shows, device: login.device })
}

fn by_code(code: &str, shows: bool, device: Option<Mac>) -> Result<Read, Unreadable> {
    let typed = code.as_bytes().to_vec();
    Ok(Read { claim: Claim::Code(Code::parse(code).unwrap()), typed, shows, device })
}

#[test]
fn the_code_is_the_user_name() {
    let pap = hidden(b"secret");
    let with = |attributes: &[(u8, &[u8])], password| read(CodeIn::Username, attributes, password);
    let name = (a::USER_NAME, &b"kx7q"[..]);
    assert_eq!(with(&[name, (a::USER_PASSWORD, &pap), CALLING], b"secret"), by_code("kx7q", true, Some(DEVICE)));
    assert_eq!(with(&[name, (a::USER_PASSWORD, &pap)], b"other"), by_code("kx7q", false, None));
    assert_eq!(with(&[name], b""), by_code("kx7q", true, None), "no password is an empty one");
    assert_eq!(with(&[name], b"kx7q"), by_code("kx7q", false, None));
    let spaced = with(&[(a::USER_NAME, b" kx7q ")], b"").unwrap();
    assert_eq!((spaced.typed, spaced.claim), (b" kx7q ".to_vec(), Claim::Code(Code::parse("kx7q").unwrap())));
    let unknown_spelling = (a::CALLING_STATION_ID, &b"front desk"[..]);
    assert_eq!(with(&[name, unknown_spelling], b""), by_code("kx7q", true, None), "a caller that is no MAC");
    for unreadable in [&b""[..], b"  ", b"a\nb", b"\xFF\xFE", b"\0"] {
        assert_eq!(with(&[(a::USER_NAME, unreadable)], b""), Err(Unreadable::Rejected), "{unreadable:?}");
    }
    assert_eq!(with(&[CALLING], b""), Err(Unreadable::Rejected), "no User-Name at all");
}

/// facts/hotspot.md §5.2: code `kx7q-91mp`, CHAP identifier f9.
#[test]
fn chap_is_made_over_its_challenge_or_the_authenticator() {
    let challenge = [0x5b, 0x0a, 0x9d, 0xe1, 0x42, 0x77, 0x33, 0xc8, 0x1f, 0xd0, 0xaa, 0x64, 0x12, 0xe9, 0x8b, 0x07];
    let response =
        [0xf9, 0x33, 0xb1, 0xec, 0x44, 0x0c, 0xdb, 0xb4, 0x8a, 0x28, 0xca, 0x00, 0x09, 0x6f, 0x49, 0xaa, 0xff];
    let name = (a::USER_NAME, &b"kx7q-91mp"[..]);
    let chap = (a::CHAP_PASSWORD, &response[..]);
    let with = |attributes: &[(u8, &[u8])]| read(CodeIn::Username, attributes, b"kx7q-91mp");
    assert_eq!(with(&[name, chap, (a::CHAP_CHALLENGE, &challenge)]), by_code("kx7q-91mp", true, None));
    assert_eq!(with(&[name, chap]), by_code("kx7q-91mp", false, None), "another challenge");

    let mut buffer = [0; Packet::MAX];
    let mut request = Request::new(&mut buffer, code::ACCESS_REQUEST, 7, &challenge);
    request.attribute(name.0, name.1).unwrap();
    request.attribute(chap.0, chap.1).unwrap();
    let packet = Packet::parse(request.sign(&Secret::new(SECRET))).unwrap();
    let mut unveiled = [0; MAX_PASSWORD];
    let client = client(CodeIn::Username);
    assert!(
        login(&packet, &client, ROUTER, &mut unveiled).unwrap().proof.shows(b"kx7q-91mp"),
        "the Request Authenticator"
    );
}

#[test]
fn passwords_that_break_the_rules_are_dropped() {
    let pap = hidden(b"kx7q");
    let name = (a::USER_NAME, &b"kx7q"[..]);
    let cause = |attributes: &[(u8, &[u8])]| read(CodeIn::Username, attributes, b"").unwrap_err();
    let both = [name, (a::USER_PASSWORD, &pap[..]), (a::CHAP_PASSWORD, &[0; 17])];
    assert_eq!(cause(&both), Unreadable::Broken("both_passwords"));
    for length in [0, 15, 17, 144] {
        let password = vec![0; length];
        let broken = cause(&[name, (a::USER_PASSWORD, &password)]);
        assert_eq!(broken, Unreadable::Broken("password_length"), "{length}");
    }
    for length in [0, 1, 16, 18] {
        let response = vec![0; length];
        assert_eq!(cause(&[name, (a::CHAP_PASSWORD, &response)]), Unreadable::Broken("chap_length"), "{length}");
    }
}

#[test]
fn what_proves_something_else_is_no_empty_password() {
    let name = (a::USER_NAME, &b"kx7q"[..]);
    let with = |(kind, value): (u8, &[u8])| read(CodeIn::Username, &[name, (kind, value)], b"");
    assert_eq!(with((a::EAP_MESSAGE, b"\x02\0\0\x05\x01")), Err(Unreadable::Rejected));
    for (kind, foreign) in [
        (a::microsoft::CHAP_RESPONSE, true),
        (a::microsoft::CHAP2_RESPONSE, true),
        (a::microsoft::CHAP_CHALLENGE, false),
    ] {
        let value = [0, 0, 0x01, 0x37, kind, 4, 1, 2];
        let expected = if foreign { Err(Unreadable::Rejected) } else { by_code("kx7q", true, None) };
        assert_eq!(with((a::VENDOR_SPECIFIC, &value)), expected, "{kind}");
    }
    let mikrotik = [0, 0, 0x3A, 0x8C, a::microsoft::CHAP_RESPONSE, 4, 1, 2];
    assert_eq!(with((a::VENDOR_SPECIFIC, &mikrotik)), by_code("kx7q", true, None), "another vendor's");
    let pap = hidden(b"kx7q");
    let beside = [name, (a::USER_PASSWORD, &pap[..]), (a::EAP_MESSAGE, b"\x02\0\0\x05\x01")];
    assert_eq!(read(CodeIn::Username, &beside, b"kx7q"), by_code("kx7q", true, None), "a password is judged as such");
}

#[test]
fn the_code_is_the_password_where_the_router_sends_it_so() {
    let pap = hidden(b"kx7q");
    let with = |attributes: &[(u8, &[u8])]| read(CodeIn::Password, attributes, b"anything");
    let name = (a::USER_NAME, &b"Ana"[..]);
    assert_eq!(with(&[name, (a::USER_PASSWORD, &pap)]), by_code("kx7q", true, None), "and proves itself");
    assert_eq!(with(&[(a::USER_PASSWORD, &pap)]), by_code("kx7q", true, None));
    assert_eq!(with(&[name]), Err(Unreadable::Rejected));
    assert_eq!(with(&[name, (a::CHAP_PASSWORD, &[0; 17])]), Err(Unreadable::Rejected), "no code comes out of CHAP");
    let unreadable = hidden(b"\xFF");
    assert_eq!(with(&[name, (a::USER_PASSWORD, &unreadable)]), Err(Unreadable::Rejected));
}

#[test]
fn a_mac_login_names_the_mac_that_calls() {
    let by_mac = |typed: &[u8], shows| {
        Ok(Read { claim: Claim::Device(DEVICE), typed: typed.to_vec(), shows, device: Some(DEVICE) })
    };
    let with = |name| read(CodeIn::Username, &[(a::USER_NAME, name), CALLING], b"");
    for spelling in [&b"9A:4C:10:7E:22:D1"[..], b"9a4c107e22d1", b"9a-4c-10-7e-22-d1"] {
        assert_eq!(with(spelling), by_mac(spelling, true));
    }
    assert_eq!(with(b"9A:4C:10:7E:22:D2"), by_code("9A:4C:10:7E:22:D2", true, Some(DEVICE)), "another's MAC is text");
    let alone = read(CodeIn::Username, &[(a::USER_NAME, b"9A:4C:10:7E:22:D1")], b"");
    assert_eq!(alone, by_code("9A:4C:10:7E:22:D1", true, None), "nobody calls");
    let pap = hidden(b"mac");
    let attributes = [(a::USER_NAME, &b"9A4C107E22D1"[..]), (a::USER_PASSWORD, &pap), CALLING];
    assert_eq!(read(CodeIn::Username, &attributes, b"mac"), by_mac(b"9A4C107E22D1", true));
    assert_eq!(read(CodeIn::Username, &attributes, b""), by_mac(b"9A4C107E22D1", false), "its password is judged");
    let beside = read(CodeIn::Password, &attributes, b"").unwrap();
    assert_eq!((beside.claim, beside.typed.as_slice()), (Claim::Code(Code::parse("mac").unwrap()), &b"mac"[..]));
    for password in [&b""[..], b"9a-4c-10-7e-22-d1"] {
        let pap = hidden(password);
        let attributes = [(a::USER_NAME, &b"9A4C107E22D1"[..]), (a::USER_PASSWORD, &pap), CALLING];
        assert_eq!(read(CodeIn::Password, &attributes, password), by_mac(b"9A4C107E22D1", true), "no code beside it");
    }
}

#[test]
fn addresses_that_say_nothing_are_left_out() {
    let ip = |attributes: &[(u8, &[u8])]| {
        let bytes = request(&[&[(a::USER_NAME, &b"kx7q"[..])], attributes].concat());
        let mut unveiled = [0; MAX_PASSWORD];
        let client = client(CodeIn::Username);
        let login = login(&Packet::parse(&bytes).unwrap(), &client, ROUTER, &mut unveiled).unwrap();
        login.ip.map(|ip| ip.to_string())
    };
    let v4 = |octets: &'static [u8]| (a::FRAMED_IP_ADDRESS, octets);
    let v6 = (a::FRAMED_IPV6_ADDRESS, &[0x20, 1, 0x0D, 0xB8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 7][..]);
    assert_eq!(ip(&[]), None);
    assert_eq!(ip(&[v4(&[10, 5, 88, 41])]).as_deref(), Some("10.5.88.41"));
    assert_eq!(ip(&[v4(&[10, 5, 88, 41]), v6]).as_deref(), Some("10.5.88.41"));
    assert_eq!(ip(&[v6]).as_deref(), Some("2001:db8::7"));
    for useless in [&[169, 254, 3, 4][..], &[0, 0, 0, 0], &[255, 255, 255, 255], &[10, 5, 88]] {
        assert_eq!(ip(&[v4(useless)]), None, "{useless:?}");
        assert_eq!(ip(&[v4(useless), v6]).as_deref(), Some("2001:db8::7"), "{useless:?}");
    }
}

#[test]
fn the_routers_session_is_text() {
    let session = |value: &[u8]| {
        let bytes = request(&[(a::USER_NAME, b"kx7q"), (a::ACCT_SESSION_ID, value)]);
        let mut unveiled = [0; MAX_PASSWORD];
        let client = client(CodeIn::Username);
        let login = login(&Packet::parse(&bytes).unwrap(), &client, ROUTER, &mut unveiled).unwrap();
        login.nas_session.map(str::to_owned)
    };
    assert_eq!(session(b"80a00001").as_deref(), Some("80a00001"));
    assert_eq!(session(b"\xFF\x01"), None);
}

fn grant(seconds: u64, user_limit: u32) -> Grant {
    let view = View {
        token: TokenId(1),
        code: Code::parse("4711").unwrap(),
        valid_from: None,
        valid_to: None,
        pool: Pool::Unlimited,
        user_limit,
        devices_online: 1,
    };
    Grant { session_timeout: Seconds(seconds), renews: None, displaces: Vec::new(), view }
}

/// Attributes after the Message-Authenticator, which must come first and be good; the request carried two Proxy-States.
fn written(
    code: u8,
    write: impl for<'b> Fn(&'b mut [u8; Packet::MAX], &Packet<'_>) -> Result<&'b [u8], Full>,
) -> Vec<(u8, Vec<u8>)> {
    let bytes = request(&[(a::USER_NAME, b"kx7q"), (a::PROXY_STATE, b"one"), (a::PROXY_STATE, b"two")]);
    let asked = Packet::parse(&bytes).unwrap();
    let mut buffer = [0xFF; Packet::MAX];
    let reply = Packet::parse(write(&mut buffer, &asked).unwrap()).unwrap();
    assert_eq!((reply.code(), reply.identifier()), (code, 7));
    assert!(Secret::new(SECRET).check_response(&reply, &AUTHENTICATOR));
    assert_eq!(Secret::new(SECRET).check_message_authenticator(&asked), MessageAuthenticator::Absent);
    assert_eq!(reply.message_authenticator(), Some(22), "it stands first");
    let attributes: Vec<_> = reply.attributes().skip(1).map(|one| (one.kind, one.value.to_vec())).collect();
    let (rest, states) = attributes.split_at(attributes.len() - 2);
    assert_eq!(states, [(a::PROXY_STATE, b"one".to_vec()), (a::PROXY_STATE, b"two".to_vec())], "in order, at the end");
    rest.to_vec()
}

#[test]
fn an_accept_carries_exactly_what_the_contract_says() {
    let session = SessionId::from_octets([9; 16]);
    let full = Policy { idle_timeout: Some(Seconds(900)), interim_interval: Seconds(600), ..Policy::default() };
    let mut generous = client(CodeIn::Username);
    generous.nas.rate_limit = Some("10M/10M".to_owned());
    generous.nas.group = Some("guests".to_owned());
    let class = [&b"sg1:"[..], &[9; 16], &1i64.to_be_bytes()].concat();
    assert_eq!(
        written(code::ACCESS_ACCEPT, |buffer, asked| {
            accept(buffer, asked, &generous, &grant(3540, 2), Some(session), &full)
        }),
        [
            (a::SESSION_TIMEOUT, vec![0, 0, 0x0D, 0xD4]),
            (a::IDLE_TIMEOUT, vec![0, 0, 3, 0x84]),
            (a::ACCT_INTERIM_INTERVAL, vec![0, 0, 2, 0x58]),
            (a::PORT_LIMIT, vec![0, 0, 0, 3]),
            (a::CLASS, class),
            (a::VENDOR_SPECIFIC, b"\0\0\x3A\x8C\x08\x0910M/10M".to_vec()),
            (a::VENDOR_SPECIFIC, b"\0\0\x3A\x8C\x03\x08guests".to_vec()),
        ]
    );
    let plain = client(CodeIn::Username);
    assert_eq!(
        written(code::ACCESS_ACCEPT, |buffer, asked| {
            accept(buffer, asked, &plain, &grant(60, u32::MAX), None, &Policy::default())
        }),
        [
            (a::SESSION_TIMEOUT, vec![0, 0, 0, 60]),
            (a::ACCT_INTERIM_INTERVAL, vec![0, 0, 1, 0x2C]),
            (a::PORT_LIMIT, vec![0xFF; 4]),
        ],
        "what is not set is not sent"
    );
}

#[test]
fn a_reject_carries_its_sentence_and_a_sign_of_life_nothing() {
    let client = client(CodeIn::Username);
    assert_eq!(
        written(code::ACCESS_REJECT, |buffer, asked| reject(buffer, asked, &client, "This code has expired.")),
        [(a::REPLY_MESSAGE, b"This code has expired.".to_vec())]
    );
    for kind in [code::ACCESS_ACCEPT, code::ACCOUNTING_RESPONSE] {
        assert_eq!(written(kind, |buffer, asked| alive(buffer, kind, asked, &client)), []);
    }
}

#[test]
fn an_answer_that_does_not_fit_is_none() {
    let states = [(a::PROXY_STATE, &[0; 253][..]); 15];
    let bytes = request(&states);
    let (asked, client) = (Packet::parse(&bytes).unwrap(), client(CodeIn::Username));
    let mut buffer = [0; Packet::MAX];
    assert_eq!(reject(&mut buffer, &asked, &client, &"x".repeat(254)), Err(Full));
    assert_eq!(reject(&mut buffer, &asked, &client, &"x".repeat(253)), Err(Full), "20 + 18 + 255 + 15 × 255 > 4096");
    assert!(reject(&mut buffer, &asked, &client, &"x".repeat(231)).is_ok(), "4096 octets");
    assert_eq!(reject(&mut buffer, &asked, &client, &"x".repeat(232)), Err(Full));
}

#[test]
fn our_class_is_known_and_a_foreign_one_is_not() {
    let session = SessionId::from_octets([1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16]);
    let ours = class(session, TokenId(-2));
    let octets =
        b"sg1:\x01\x02\x03\x04\x05\x06\x07\x08\x09\x0A\x0B\x0C\x0D\x0E\x0F\x10\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFE";
    assert_eq!(&ours, octets);
    assert_eq!(session_of(&ours), Some((session, TokenId(-2))));
    assert_eq!(session_of(&ours[..27]), None);
    assert_eq!(session_of(&[&ours[..], &[0]].concat()), None);
    assert_eq!(session_of(&[b"sg2:", &ours[4..]].concat()), None);
    assert_eq!(session_of(b""), None);
}

#[test]
fn times_beyond_four_octets_are_the_longest_there_is() {
    assert_eq!(number(Seconds(21_474_720)), 21_474_720);
    assert_eq!((number(Seconds(u64::from(u32::MAX))), number(Seconds(u64::MAX))), (u32::MAX, u32::MAX));
}
