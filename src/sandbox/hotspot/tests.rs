use super::*;
use crate::core::login::Proof;
use crate::radius::attribute::{StatusType, TerminateCause, repeated};
use crate::radius::packet::Reply;
use crate::radius::secret::MessageAuthenticator;

const SECRET: &[u8] = b"a secret of more than sixteen octets";
const MAC: Mac = Mac::new([0x9A, 0x4C, 0x10, 0x7E, 0x22, 0xD1]);
/// Long enough for loopback on a busy machine.
const QUICK: Duration = Duration::from_millis(300);
/// Where nothing is to come anyway.
const AT_ONCE: Duration = Duration::from_millis(15);

fn hotspot(server: SocketAddr) -> Hotspot {
    Hotspot::new(server, SECRET, "gw-loft3")
}

fn nowhere() -> Hotspot {
    hotspot(([127, 0, 0, 1], 1812).into())
}

/// A server that lets `respond` say what to send for each datagram, and hands back all that came.
async fn server(
    mut respond: impl FnMut(usize, &Packet<'_>) -> Vec<Vec<u8>> + Send + 'static,
) -> (SocketAddr, tokio::sync::mpsc::UnboundedReceiver<(SocketAddr, Vec<u8>)>) {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    let (sender, receiver) = tokio::sync::mpsc::unbounded_channel();
    tokio::spawn(async move {
        let mut buffer = vec![0; Packet::MAX];
        for count in 0.. {
            let (length, from) = socket.recv_from(&mut buffer).await.unwrap();
            let packet = Packet::parse(&buffer[..length]).unwrap();
            for datagram in respond(count, &packet) {
                socket.send_to(&datagram, from).await.unwrap();
            }
            if sender.send((from, buffer[..length].to_vec())).is_err() {
                return;
            }
        }
    });
    (address, receiver)
}

/// A reply to the request with these attributes.
fn reply(request: &Packet<'_>, code: u8, attributes: &[(u8, &[u8])]) -> Vec<u8> {
    let mut buffer = [0; Packet::MAX];
    let mut reply = Reply::new(&mut buffer, code, request.identifier());
    for (kind, value) in attributes {
        reply.attribute(*kind, value).unwrap();
    }
    reply.sign(&Secret::new(SECRET), request.authenticator()).to_vec()
}

fn kinds(packet: &Packet<'_>) -> Vec<u8> {
    packet.attributes().map(|attribute| attribute.kind).collect()
}

#[test]
fn a_login_looks_like_the_routers() {
    let hotspot = nowhere();
    let bytes = hotspot.access_request("kx7q-91mp", Password::Chap("kx7q-91mp"), MAC).unwrap();
    let packet = Packet::parse(&bytes).unwrap();
    assert_eq!(kinds(&packet), [61, 31, 30, 87, 1, 5, 44, 8, 26, 60, 3, 6, 26, 32, 4, 80]);
    assert_eq!(hotspot.secret().check_message_authenticator(&packet), MessageAuthenticator::Good);
    assert_eq!(repeated(&packet), None);
    assert_eq!(packet.first(attr::CALLING_STATION_ID), Some(&b"9A:4C:10:7E:22:D1"[..]));
    assert_eq!(packet.first(attr::ACCT_SESSION_ID), Some(&b"80300000"[..]));
    assert_eq!(packet.first(attr::NAS_PORT), Some(&[0x80, 0x30, 0, 0][..]));
    assert_eq!(packet.vendor(mikrotik::VENDOR).collect::<Vec<_>>(), [(10, &[10, 5, 88, 0xD1][..])]);
    let (ident, digest) = packet.first(attr::CHAP_PASSWORD).unwrap().split_first().unwrap();
    let challenge = packet.first(attr::CHAP_CHALLENGE).unwrap();
    let proof = Proof::Chap { ident: *ident, digest: digest.try_into().unwrap(), challenge };
    assert!(proof.shows(b"kx7q-91mp") && !proof.shows(b""));
}

#[test]
fn a_password_travels_hidden() {
    let hotspot = nowhere();
    let bytes = hotspot.access_request("kx7q-91mp", Password::Pap("open sesame"), MAC).unwrap();
    let packet = Packet::parse(&bytes).unwrap();
    assert_eq!(kinds(&packet), [61, 31, 30, 87, 1, 5, 44, 8, 26, 2, 6, 26, 32, 4, 80]);
    let mut out = [0; 128];
    let hidden = packet.first(attr::USER_PASSWORD).unwrap();
    assert_eq!(hotspot.secret().unhide(hidden, packet.authenticator(), &mut out), Some(&b"open sesame"[..]));
}

#[test]
fn identifiers_and_sessions_count_on() {
    let hotspot = nowhere();
    let one = hotspot.access_request("a", Password::Pap(""), MAC).unwrap();
    let two = hotspot.access_request("a", Password::Pap(""), MAC).unwrap();
    let (one, two) = (Packet::parse(&one).unwrap(), Packet::parse(&two).unwrap());
    assert_eq!((one.identifier(), two.identifier()), (0, 1));
    assert_eq!(two.first(attr::ACCT_SESSION_ID), Some(&b"80300001"[..]));
    assert_ne!(one.authenticator(), two.authenticator());
    let status = hotspot.status_request().unwrap();
    let status = Packet::parse(&status).unwrap();
    assert_eq!((status.code(), status.identifier()), (code::STATUS_SERVER, 2));
    assert_eq!(hotspot.secret().check_message_authenticator(&status), MessageAuthenticator::Good);
}

#[test]
fn a_reboot_counts_sessions_from_nothing_and_the_sixteenth_repeats_them() {
    let hotspot = nowhere();
    let session = || {
        let bytes = hotspot.access_request("a", Password::Pap(""), MAC).unwrap();
        lossy(Packet::parse(&bytes).unwrap().first(attr::ACCT_SESSION_ID).unwrap())
    };
    assert_eq!([session(), session()], ["80300000", "80300001"]);
    hotspot.reboot();
    assert_eq!([session(), session()], ["80400000", "80400001"]);
    (0..11).for_each(|_| hotspot.reboot());
    assert_eq!(session(), "80f00000");
    hotspot.reboot();
    assert_eq!(session(), "80000000");
    (0..3).for_each(|_| hotspot.reboot());
    assert_eq!(session(), "80300000");
}

#[test]
fn running_numbers_start_again_within_one_boot() {
    let hotspot = nowhere();
    hotspot.sessions.store((3 << RUNNING_BITS) | RUNNING, Ordering::Relaxed);
    assert_eq!([hotspot.next_session(), hotspot.next_session()], [0x803F_FFFF, 0x8030_0000]);
}

#[test]
fn what_is_too_long_is_said() {
    let hotspot = nowhere();
    for (name, password) in [("x".repeat(254), String::new()), ("x".into(), "x".repeat(129))] {
        let request = hotspot.access_request(&name, Password::Pap(&password), MAC);
        assert!(matches!(request, Err(HotspotError::TooLong)));
    }
}

#[test]
fn accounting_looks_like_the_routers() {
    let hotspot = nowhere();
    let at = "2026-09-21T13:33:20Z".parse().unwrap();
    let start = Record { class: Some(b"wav"), ..Record::start("kx7q-91mp", MAC, "80300015", at) };
    let bytes = hotspot.accounting_request(&start).unwrap();
    let packet = Packet::parse(&bytes).unwrap();
    assert_eq!(kinds(&packet), [40, 61, 31, 30, 87, 1, 5, 44, 8, 26, 25, 55, 32, 41, 4]);
    assert!(hotspot.secret().check_request_authenticator(&packet));
    assert_eq!(packet.first(attr::NAS_PORT).and_then(attr::integer), Some(2_150_629_397));

    let stop = Record {
        status: StatusType::Stop,
        seconds: 3600,
        input: 90_177_536,
        output: (1 << 32) + 104_857_600,
        cause: Some(TerminateCause::SESSION_TIMEOUT),
        ..start
    };
    let bytes = hotspot.accounting_request(&stop).unwrap();
    let packet = Packet::parse(&bytes).unwrap();
    let integer = |kind| packet.first(kind).and_then(attr::integer);
    assert_eq!((integer(attr::ACCT_TERMINATE_CAUSE), integer(attr::ACCT_SESSION_TIME)), (Some(5), Some(3600)));
    assert_eq!((integer(attr::ACCT_INPUT_OCTETS), integer(attr::ACCT_INPUT_GIGAWORDS)), (Some(90_177_536), Some(0)));
    assert_eq!((integer(attr::ACCT_OUTPUT_OCTETS), integer(attr::ACCT_OUTPUT_GIGAWORDS)), (Some(104_857_600), Some(1)));

    let address = Some(Ipv4Addr::new(10, 5, 91, 7));
    let bytes = hotspot.accounting_request(&Record { address, ..start }).unwrap();
    let packet = Packet::parse(&bytes).unwrap();
    assert_eq!(packet.first(attr::FRAMED_IP_ADDRESS).and_then(attr::ipv4), address);
    assert_eq!(packet.vendor(mikrotik::VENDOR).collect::<Vec<_>>(), [(10, &[10, 5, 91, 7][..])]);

    let on = Record { status: StatusType::AccountingOn, ..start };
    let bytes = hotspot.accounting_request(&on).unwrap();
    assert_eq!(kinds(&Packet::parse(&bytes).unwrap()), [40, 55, 32, 41, 4]);
}

#[tokio::test]
async fn an_accept_is_read() {
    let (address, mut requests) = server(|_, request| {
        let mut buffer = [0; Packet::MAX];
        let mut reply = Reply::new(&mut buffer, code::ACCESS_ACCEPT, request.identifier());
        reply.integer(attr::SESSION_TIMEOUT, 3600).unwrap();
        reply.integer(attr::IDLE_TIMEOUT, 900).unwrap();
        reply.integer(attr::ACCT_INTERIM_INTERVAL, 300).unwrap();
        reply.integer(attr::PORT_LIMIT, 3).unwrap();
        reply.attribute(attr::CLASS, b"wav").unwrap();
        reply.vendor(mikrotik::VENDOR, mikrotik::RATE_LIMIT, b"10M/10M").unwrap();
        reply.vendor(mikrotik::VENDOR, mikrotik::GROUP, b"guests").unwrap();
        reply.attribute(attr::PROXY_STATE, b"1").unwrap();
        reply.attribute(attr::PROXY_STATE, b"2").unwrap();
        vec![reply.sign(&Secret::new(SECRET), request.authenticator()).to_vec()]
    })
    .await;
    let hotspot = hotspot(address);
    let answer = hotspot.login_mac(MAC).await.unwrap();
    assert!(answer.accept);
    assert_eq!((answer.session_timeout, answer.idle_timeout), (Some(3600), Some(900)));
    assert_eq!((answer.interim, answer.port_limit), (Some(300), Some(3)));
    assert_eq!(answer.class.as_deref(), Some(&b"wav"[..]));
    assert_eq!((answer.rate_limit.as_deref(), answer.group.as_deref()), (Some("10M/10M"), Some("guests")));
    assert_eq!(answer.proxy_states, [b"1", b"2"]);
    assert_eq!(answer.kinds, [80, 27, 28, 85, 62, 25, 26, 26, 33, 33]);
    assert_eq!((answer.session_id.as_deref(), answer.tries, answer.reply_message), (Some("80300000"), 1, None));

    hotspot.login_mac(MAC).await.unwrap();
    let (one, two) = (requests.recv().await.unwrap(), requests.recv().await.unwrap());
    assert_ne!(one.0.port(), two.0.port(), "each request has a port of its own");
}

#[tokio::test]
async fn a_reject_says_why() {
    let (address, _requests) = server(|_, request| {
        vec![reply(request, code::ACCESS_REJECT, &[(attr::REPLY_MESSAGE, b"This code has expired.")])]
    })
    .await;
    let answer = hotspot(address).login_chap("kx7q-91mp", "kx7q-91mp", MAC).await.unwrap();
    assert!(!answer.accept);
    assert_eq!(answer.reply_message.as_deref(), Some("This code has expired."));
}

#[tokio::test]
async fn a_lost_request_is_repeated_with_the_same_bytes() {
    let (address, mut requests) = server(|count, request| match count {
        0 => vec![],
        _ => vec![reply(request, code::ACCESS_ACCEPT, &[])],
    })
    .await;
    let answer = hotspot(address).patience(QUICK, 3).login_pap("kx7q-91mp", "", MAC).await.unwrap();
    assert_eq!(answer.tries, 2);
    let first = requests.recv().await.unwrap();
    assert_eq!(requests.recv().await.unwrap(), first);
}

#[tokio::test]
async fn silence_ends() {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    let hotspot = hotspot(address).patience(AT_ONCE, 2);
    let silent = |answer: Result<Answer, HotspotError>| match answer.unwrap_err() {
        HotspotError::NoAnswer { tries, bad_replies } => (tries, bad_replies.len()),
        other => panic!("{other}"),
    };
    assert_eq!(silent(hotspot.status().await), (2, 0));
    drop(socket);
    assert_eq!(silent(hotspot.status().await), (2, 0), "a closed port is silence too");
}

#[tokio::test]
async fn bad_replies_are_thrown_away() {
    let (address, _requests) = server(|_, request| {
        let good = reply(request, code::ACCESS_ACCEPT, &[]);
        let mut tampered = good.clone();
        tampered[0] = code::ACCESS_REJECT;
        let mut other = good.clone();
        other[1] ^= 1;
        let mut buffer = [0; Packet::MAX];
        let bare = Reply::bare(&mut buffer, code::ACCESS_ACCEPT, request.identifier());
        let bare = bare.sign(&Secret::new(SECRET), request.authenticator()).to_vec();
        let foreign = Reply::new(&mut buffer, code::ACCESS_ACCEPT, request.identifier());
        let foreign = foreign.sign(&Secret::new(b"another"), request.authenticator()).to_vec();
        let wrong_kind = reply(request, code::ACCOUNTING_RESPONSE, &[]);
        vec![good[..10].to_vec(), other, wrong_kind, tampered, foreign, bare]
    })
    .await;
    let error = hotspot(address).patience(QUICK, 1).login_mac(MAC).await.unwrap_err();
    let HotspotError::NoAnswer { tries: 1, bad_replies } = error else { panic!("{error}") };
    assert_eq!(
        bad_replies,
        [
            BadReply::NoPacket(Drop::TooShort),
            BadReply::Identifier(1),
            BadReply::Code(code::ACCOUNTING_RESPONSE),
            BadReply::Unauthentic,
            BadReply::Unauthentic,
            BadReply::MessageAuthenticatorNotFirst,
        ]
    );
}

#[tokio::test]
async fn accounting_goes_to_its_own_server() {
    let (address, mut requests) = server(|_, request| {
        let mut buffer = [0; Packet::MAX];
        let reply = Reply::bare(&mut buffer, code::ACCOUNTING_RESPONSE, request.identifier());
        vec![reply.sign(&Secret::new(SECRET), request.authenticator()).to_vec()]
    })
    .await;
    let hotspot = nowhere().accounting_at(address);
    let at = "2026-09-21T13:33:20Z".parse().unwrap();
    let answer = hotspot.account(&Record::start("kx7q-91mp", MAC, "80300015", at)).await.unwrap();
    assert_eq!((answer.code, answer.accept), (code::ACCOUNTING_RESPONSE, false));
    assert_eq!(hotspot.accounting_status().await.unwrap().code, code::ACCOUNTING_RESPONSE);
    assert_eq!(requests.recv().await.unwrap().1.first(), Some(&code::ACCOUNTING_REQUEST));
    assert_eq!(requests.recv().await.unwrap().1.first(), Some(&code::STATUS_SERVER));
}
