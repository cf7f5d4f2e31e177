use super::super::attribute::{self, CHAP_CHALLENGE, CHAP_PASSWORD, CLASS, USER_NAME, USER_PASSWORD};
use super::super::packet::{Drop, Reply, Request};
use super::*;
use crate::core::login::Proof;
use proptest::prelude::*;

/// The secret of all examples in RFC 2865 §7 and RFC 5997 §6.
const EXAMPLE: &[u8] = b"xyzzy5461";

fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.bytes().filter(u8::is_ascii_hexdigit).collect();
    digits.chunks(2).map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
}

/// RFC 2865 §7.1: "nemo" with the password "arctangent".
const PAP_REQUEST: &str = "01 00 00 38 0f 40 3f 94 73 97 80 57 bd 83 d5 cb 98 f4 22 7a
    01 06 6e 65 6d 6f 02 12 0d be 70 8d 93 d4 13 ce 31 96 e4 3f 78 2a 0a ee
    04 06 c0 a8 01 10 05 06 00 00 00 03";
const PAP_ACCEPT: &str = "02 00 00 26 86 fe 22 0e 76 24 ba 2a 10 05 f6 bf 9b 55 e0 b2
    06 06 00 00 00 01 0f 06 00 00 00 00 0e 06 c0 a8 01 03";

/// RFC 2865 §7.2: "flopsy" with CHAP over the same password.
const CHAP_REQUEST: &str = "01 01 00 47 2a ee 86 f0 8d 0d 55 96 9c a5 97 8e 0d 33 67 a2
    01 08 66 6c 6f 70 73 79 03 13 16 e9 75 57 c3 16 18 58 95 f2 93 ff 63 44 07 72 75
    04 06 c0 a8 01 10 05 06 00 00 00 14 06 06 00 00 00 02 07 06 00 00 00 01";
const CHAP_ACCEPT: &str = "02 01 00 38 15 ef bc 7d ab 26 cf a3 dc 34 d9 c0 3c 86 01 a4
    06 06 00 00 00 02 07 06 00 00 00 01 08 06 ff ff ff fe 0a 06 00 00 00 02
    0d 06 00 00 00 01 0c 06 00 00 05 dc";

/// RFC 5997 §6.1 and §6.2: Status-Server on the port for logins and on the one for accounting.
const STATUS: [(&str, &str); 2] = [
    (
        "0c da 00 26 8a 54 f4 68 6f b3 94 c5 28 66 e3 02 18 5d 06 23
         50 12 5a 66 5e 2e 1e 84 11 f3 e2 43 82 20 97 c8 4f a3",
        "02 da 00 14 ef 0d 55 2a 4b f2 d6 93 ec 2b 6f e8 b5 41 1d 66",
    ),
    (
        "0c b3 00 26 92 5f 6b 66 dd 5f ed 57 1f cb 1d b7 ad 38 82 60
         50 12 e8 d6 ea bd a9 10 87 5c d9 1f da de 26 36 78 58",
        "05 b3 00 14 0f 6f 92 14 5f 10 7e 2f 50 4e 86 0a 48 60 66 9c",
    ),
];

#[test]
fn rfc_2865_pap() {
    let (secret, request, accept) = (Secret::new(EXAMPLE), hex(PAP_REQUEST), hex(PAP_ACCEPT));
    let request = Packet::parse(&request).unwrap();
    assert_eq!(request.first(USER_NAME), Some(&b"nemo"[..]));
    let hidden = request.first(USER_PASSWORD).unwrap();
    let mut out = [0xFF; 128];
    assert_eq!(secret.unhide(hidden, request.authenticator(), &mut out), Some(&b"arctangent"[..]));
    assert_eq!(secret.hide(b"arctangent", request.authenticator(), &mut out), Some(hidden));
    assert_eq!(secret.check_message_authenticator(&request), MessageAuthenticator::Absent);

    let reply = Packet::parse(&accept).unwrap();
    assert!(secret.check_response(&reply, request.authenticator()));
    assert!(!secret.check_response(&reply, &[0; 16]));
    assert!(!Secret::new(b"xyzzy5462").check_response(&reply, request.authenticator()));

    let mut buffer = [0; Packet::MAX];
    let mut written = Reply::bare(&mut buffer, 2, 0);
    for attribute in reply.attributes() {
        written.attribute(attribute.kind, attribute.value).unwrap();
    }
    assert_eq!(written.sign(&secret, request.authenticator()), accept);
}

#[test]
fn rfc_2865_chap() {
    let (secret, request, accept) = (Secret::new(EXAMPLE), hex(CHAP_REQUEST), hex(CHAP_ACCEPT));
    let request = Packet::parse(&request).unwrap();
    assert_eq!(request.first(CHAP_CHALLENGE), None, "the authenticator is the challenge");
    assert!(chap(&request).shows(b"arctangent"));
    assert!(!chap(&request).shows(b"arctangens"));

    assert!(secret.check_response(&Packet::parse(&accept).unwrap(), request.authenticator()));
    let mut buffer = [0; Packet::MAX];
    let mut written = Request::new(&mut buffer, 1, 1, request.authenticator());
    for attribute in request.attributes() {
        written.attribute(attribute.kind, attribute.value).unwrap();
    }
    assert_eq!(written.sign(&secret), request.bytes());
}

/// The proof in a request.
fn chap<'a>(request: &Packet<'a>) -> Proof<'a> {
    let (ident, digest) = request.first(CHAP_PASSWORD).unwrap().split_first().unwrap();
    Proof::Chap {
        ident: *ident,
        digest: digest.try_into().unwrap(),
        challenge: request.first(CHAP_CHALLENGE).unwrap_or(request.authenticator()),
    }
}

#[test]
fn rfc_5997_status_server() {
    let secret = Secret::new(EXAMPLE);
    for (request, reply) in STATUS {
        let (request, reply) = (hex(request), hex(reply));
        let packet = Packet::parse(&request).unwrap();
        assert_eq!(secret.check_message_authenticator(&packet), MessageAuthenticator::Good);
        assert_eq!(Secret::new(b"other").check_message_authenticator(&packet), MessageAuthenticator::Bad);
        let mut buffer = [0; Packet::MAX];
        let mut written = Request::new(&mut buffer, packet.code(), packet.identifier(), packet.authenticator());
        written.message_authenticator().unwrap();
        assert_eq!(written.sign(&secret), request);
        assert!(secret.check_response(&Packet::parse(&reply).unwrap(), packet.authenticator()));
    }
}

/// RFC 2202 §2, with keys shorter, as long as, and longer than a block.
#[test]
fn rfc_2202_hmac() {
    for (key, text, sum) in [
        (&[0x0b; 16][..], &b"Hi There"[..], "9294727a3638bb1c13f48ef8158bfc9d"),
        (b"Jefe", b"what do ya want for nothing?", "750c783e6ab0b503eaa86e310a5db738"),
        (&[0xaa; 80], b"Test Using Larger Than Block-Size Key - Hash Key First", "6b1ab7fe4bd7bf8f0b62e6ce61b9d0cd"),
    ] {
        let made = Secret::new(key).hmac.clone().chain_update(text).finalize();
        assert_eq!(made.into_bytes().as_slice(), hex(sum));
    }
    for length in [0, 1, 63, 64, 65, 128, 300] {
        let key = vec![b'k'; length];
        let expected = Hmac::<Md5>::new_from_slice(&key).unwrap().chain_update(b"x").finalize().into_bytes();
        assert_eq!(Secret::new(&key).hmac.clone().chain_update(b"x").finalize().into_bytes(), expected, "{length}");
    }
}

/// A request as RouterOS writes it, with `at` attributes before its Message-Authenticator.
fn routers(secret: &Secret, code: u8, at: usize) -> Vec<u8> {
    let attributes: [(u8, &[u8]); 10] = [
        (attribute::NAS_PORT_TYPE, &[0, 0, 0, 19]),
        (attribute::CALLING_STATION_ID, b"9A:4C:10:7E:22:D1"),
        (attribute::CALLED_STATION_ID, b"guest-hs"),
        (USER_NAME, b"kx7q-91mp"),
        (attribute::ACCT_SESSION_ID, b"80300015"),
        (attribute::FRAMED_IP_ADDRESS, &[10, 5, 88, 41]),
        (CHAP_CHALLENGE, &hex("5b0a9de1427733c81fd0aa6412e98b07")),
        (CHAP_PASSWORD, &hex("f933b1ec440cdbb48a28ca00096f49aaff")),
        (attribute::NAS_IDENTIFIER, b"gw-loft3"),
        (attribute::NAS_IP_ADDRESS, &[10, 5, 0, 1]),
    ];
    let mut buffer = [0; Packet::MAX];
    let mut request = Request::new(&mut buffer, code, 21, &[0x5A; 16]);
    for (kind, value) in &attributes[..at] {
        request.attribute(*kind, value).unwrap();
    }
    request.message_authenticator().unwrap();
    for (kind, value) in &attributes[at..] {
        request.attribute(*kind, value).unwrap();
    }
    request.sign(secret).to_vec()
}

/// A login with a code and one by MAC address, whose digests were computed elsewhere.
#[test]
fn the_routers_chap_verifies() {
    let bytes = routers(&Secret::new(EXAMPLE), 1, 10);
    assert!(chap(&Packet::parse(&bytes).unwrap()).shows(b"kx7q-91mp"));

    let mut buffer = [0; Packet::MAX];
    let mut request = Request::new(&mut buffer, 1, 22, &[1; 16]);
    request.attribute(USER_NAME, b"3C:06:30:AA:19:5F").unwrap();
    request.attribute(CHAP_CHALLENGE, &hex("c41f7a0096e2d8b3517c0e64aa95f120")).unwrap();
    request.attribute(CHAP_PASSWORD, &hex("3e28f39c7f178b5e5cbfeade9f1be7fc29")).unwrap();
    let bytes = request.sign(&Secret::new(EXAMPLE));
    let packet = Packet::parse(bytes).unwrap();
    assert!(chap(&packet).shows(b"") && !chap(&packet).shows(b"3C:06:30:AA:19:5F"));
}

#[test]
fn the_message_authenticator_may_stand_anywhere() {
    let secret = Secret::new(EXAMPLE);
    for code in [1, 4, 12, 40, 43] {
        for at in 0..=10 {
            let bytes = routers(&secret, code, at);
            let packet = Packet::parse(&bytes).unwrap();
            assert_eq!(secret.check_message_authenticator(&packet), MessageAuthenticator::Good, "{code} {at}");
            assert_eq!(
                Secret::new(b"wrong").check_message_authenticator(&packet),
                MessageAuthenticator::Bad,
                "{code} {at}"
            );
        }
    }
}

#[test]
fn a_made_up_one_is_bad_and_two_are_no_packet() {
    let secret = Secret::new(EXAMPLE);
    let mut buffer = [0; Packet::MAX];
    let mut request = Request::new(&mut buffer, 1, 1, &[9; 16]);
    request.attribute(attribute::MESSAGE_AUTHENTICATOR, &[0; 16]).unwrap();
    let bytes = request.sign(&secret);
    let checked = secret.check_message_authenticator(&Packet::parse(bytes).unwrap());
    assert_eq!(checked, MessageAuthenticator::Bad);

    let mut request = Request::new(&mut buffer, 1, 1, &[9; 16]);
    request.message_authenticator().unwrap();
    request.attribute(attribute::MESSAGE_AUTHENTICATOR, &[0; 16]).unwrap();
    assert_eq!(Packet::parse(request.sign(&secret)).unwrap_err(), Drop::MessageAuthenticatorTwice);
}

#[test]
fn every_changed_octet_is_noticed() {
    let secret = Secret::new(EXAMPLE);
    for (code, at) in [(1, 0), (1, 5), (1, 10), (4, 10), (40, 0)] {
        let bytes = routers(&secret, code, at);
        for place in 0..bytes.len() {
            for flip in [1, 2, 0x10, 0x80, 0xFF] {
                let mut changed = bytes.clone();
                changed[place] ^= flip;
                let Ok(packet) = Packet::parse(&changed) else { continue };
                // with a computed authenticator, that one guards what the Message-Authenticator leaves out
                let computed = code::authenticator_is_computed(packet.code());
                let good = secret.check_message_authenticator(&packet) == MessageAuthenticator::Good
                    && (!computed || secret.check_request_authenticator(&packet));
                assert!(!good, "code {code}, octet {place} changed by {flip}");
            }
        }
    }
}

#[test]
fn accounting_without_a_message_authenticator_is_guarded_too() {
    let secret = Secret::new(EXAMPLE);
    let mut buffer = [0; Packet::MAX];
    let mut request = Request::new(&mut buffer, 4, 3, &[0; 16]);
    request.integer(attribute::ACCT_STATUS_TYPE, 1).unwrap();
    request.attribute(CLASS, b"wav").unwrap();
    let bytes = request.sign(&secret).to_vec();
    assert!(secret.check_request_authenticator(&Packet::parse(&bytes).unwrap()));
    let padded = [&bytes[..], &[0; 30]].concat();
    assert!(secret.check_request_authenticator(&Packet::parse(&padded).unwrap()), "padding does not count");
    assert!(!Secret::new(b"other").check_request_authenticator(&Packet::parse(&bytes).unwrap()));
    for place in 0..bytes.len() {
        let mut changed = bytes.clone();
        changed[place] ^= 0x04;
        if let Ok(packet) = Packet::parse(&changed) {
            assert!(!secret.check_request_authenticator(&packet), "octet {place}");
        }
    }
}

#[test]
fn a_real_packet_cut_anywhere_or_changed_anyhow_panics_nothing() {
    let secret = Secret::new(EXAMPLE);
    let bytes = routers(&secret, 1, 4);
    for length in 0..bytes.len() {
        assert!(Packet::parse(&bytes[..length]).is_err(), "{length}");
        // the same, but with a header that admits to being cut
        let mut cut = bytes[..length].to_vec();
        if let Some(place) = cut.get_mut(2..4) {
            place.copy_from_slice(&u16::try_from(length).unwrap().to_be_bytes());
        }
        check_all(&secret, &cut);
    }
    for place in 0..bytes.len() {
        for octet in 0..=u8::MAX {
            let mut changed = bytes.clone();
            changed[place] = octet;
            check_all(&secret, &changed);
        }
    }
}

fn check_all(secret: &Secret, datagram: &[u8]) {
    let Ok(packet) = Packet::parse(datagram) else { return };
    let _ = secret.check_message_authenticator(&packet);
    let _ = secret.check_request_authenticator(&packet);
    let _ = secret.check_response(&packet, &[0; 16]);
    let _ = attribute::repeated(&packet);
    for vendor in [attribute::mikrotik::VENDOR, attribute::wispr::VENDOR] {
        packet.vendor(vendor).for_each(drop);
    }
    for attribute in packet.attributes() {
        let mut out = [0; 128];
        let _ = secret.unhide(attribute.value, packet.authenticator(), &mut out);
    }
}

#[test]
fn a_reply_with_a_wrong_message_authenticator_is_refused() {
    let secret = Secret::new(EXAMPLE);
    let mut buffer = [0; Packet::MAX];
    let mut bytes = Reply::new(&mut buffer, 2, 1).sign(&secret, &[5; 16]).to_vec();
    assert!(secret.check_response(&Packet::parse(&bytes).unwrap(), &[5; 16]));
    bytes[30] ^= 1;
    let whole = secret.digest(&bytes, &[5; 16]);
    bytes[4..20].copy_from_slice(&whole);
    assert!(!secret.check_response(&Packet::parse(&bytes).unwrap(), &[5; 16]), "only the Response Authenticator fits");
}

#[test]
fn hidden_passwords_have_their_lengths() {
    let secret = Secret::new(EXAMPLE);
    let mut out = [0; 128];
    for length in [0, 1, 15, 17, 127, 129, 144, 253] {
        assert_eq!(secret.unhide(&vec![1; length], &[0; 16], &mut out), None, "{length}");
    }
    for (password, hidden) in [(0, 16), (1, 16), (16, 16), (17, 32), (128, 128)] {
        assert_eq!(secret.hide(&vec![1; password], &[0; 16], &mut out).unwrap().len(), hidden, "{password}");
    }
    assert_eq!(secret.hide(&[1; 129], &[0; 16], &mut out), None);
}

#[test]
fn it_does_not_print() {
    let secret = Secret::from(&SecretString::from("xyzzy5461"));
    assert_eq!(format!("{secret:?}"), "Secret(..)");
    let request = hex(PAP_REQUEST);
    let request = Packet::parse(&request).unwrap();
    let mut out = [0; 128];
    let password = secret.unhide(request.first(USER_PASSWORD).unwrap(), request.authenticator(), &mut out);
    assert_eq!(password, Some(&b"arctangent"[..]));
}

proptest! {
    #[test]
    fn what_is_hidden_is_found_again(
        secret in proptest::collection::vec(any::<u8>(), 0..100),
        authenticator: [u8; 16],
        mut password in proptest::collection::vec(any::<u8>(), 0..=128),
    ) {
        if let Some(last) = password.last_mut() {
            *last = (*last).max(1);
        }
        let secret = Secret::new(&secret);
        let (mut hidden, mut found) = ([0xCC; 128], [0x33; 128]);
        let hidden = secret.hide(&password, &authenticator, &mut hidden).unwrap();
        prop_assert_eq!(secret.unhide(hidden, &authenticator, &mut found), Some(&password[..]));
    }

    #[test]
    fn no_datagram_panics_a_check(datagram in proptest::collection::vec(any::<u8>(), 0..400)) {
        check_all(&Secret::new(b"secret"), &datagram);
    }

    #[test]
    fn no_attributes_panic_a_check(attributes in proptest::collection::vec((any::<u8>(), 0usize..40), 0..20)) {
        let mut buffer = [0; Packet::MAX];
        let mut request = Request::new(&mut buffer, 1, 1, &[0; 16]);
        for (kind, length) in attributes {
            request.attribute(kind, &vec![kind; length]).unwrap();
        }
        let secret = Secret::new(b"secret");
        check_all(&secret, request.sign(&secret));
    }
}
