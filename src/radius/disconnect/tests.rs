use proptest::prelude::*;
use tokio::time::Instant;

use super::super::attribute::MESSAGE_AUTHENTICATOR;
use super::super::packet::Reply;
use super::*;

const GUEST: Subject<'_> = Subject {
    user_name: Some("kx7q-91mp"),
    nas_session: Some("80300001"),
    ip: Some(IpAddr::V4(Ipv4Addr::new(10, 5, 88, 41))),
    device: Some(Mac::new([0x3C, 0x06, 0x30, 0xAA, 0x19, 0x5F])),
};

/// Waits of a test in which the router never answers.
const SHORT: [Duration; 3] = [Duration::from_millis(20); 3];
/// Waits of a test in which only the third try is answered.
const LAST: [Duration; 3] = [Duration::from_millis(20), Duration::from_millis(20), Duration::from_secs(20)];
/// Waits of a test in which the first try is answered.
const LONG: [Duration; 3] = [Duration::from_secs(20); 3];

fn secret() -> Secret {
    Secret::new(b"correct horse battery")
}

fn now() -> Timestamp {
    "2026-11-23T12:00:00Z".parse().unwrap()
}

fn written(
    style: DisconnectStyle,
    subject: &Subject<'_>,
    order: Order,
    attributes: Attributes,
) -> Result<Vec<u8>, Unsendable> {
    let secret = secret();
    let target = Target { address: "127.0.0.1:3799".parse().unwrap(), secret: &secret, style };
    let mut buffer = [0xEE; Packet::MAX];
    let packet = request(&mut buffer, 7, &target, subject, order, attributes, now())?;
    assert!(secret.check_request_authenticator(&packet));
    Ok(packet.bytes().to_vec())
}

fn hex(bytes: &[u8]) -> String {
    data_encoding::HEXLOWER.encode(bytes)
}

fn kinds(bytes: &[u8]) -> Vec<u8> {
    Packet::parse(bytes).unwrap().attributes().map(|attribute| attribute.kind).collect()
}

mod requests {
    use super::Attributes::{Full, Reduced};
    use super::DisconnectStyle::{Mikrotik, Rfc5176};
    use super::*;

    /// Against packets put together without this crate: Python's struct, hashlib and hmac.
    #[test]
    fn the_very_bytes() {
        let six = Subject { ip: Some("2001:db8::41".parse().unwrap()), ..GUEST };
        let longer = Order::SessionTimeout(Seconds(540));
        for (style, subject, order, attributes, bytes) in [
            (
                Mikrotik,
                GUEST,
                Order::Disconnect,
                Full,
                "2807002f52f4699fad6cef3b2b68340ecd5cd976010b6b7837712d39316d702c0a383033303030303108060a055829",
            ),
            (
                Mikrotik,
                GUEST,
                Order::Disconnect,
                Reduced,
                "280700251184d97a9e75f5d20eae407dd4d92c16010b6b7837712d39316d7008060a055829",
            ),
            (
                Mikrotik,
                six,
                longer,
                Full,
                "2b070041e4e3b98d412315d8c90dce5f8f12ffdf010b6b7837712d39316d702c0a3830333030303031\
                 a81220010db80000000000000000000000411b060000021c",
            ),
            (
                Rfc5176,
                GUEST,
                Order::Disconnect,
                Full,
                "28070054d94dcc17f129cf8285ae9056d9de026b501204524edd3320dc144bb8ca37473f85b137066b042ac0\
                 010b6b7837712d39316d701f1333432d30362d33302d41412d31392d35462c0a3830333030303031",
            ),
            (
                Rfc5176,
                GUEST,
                Order::Disconnect,
                Reduced,
                "28070024ca81a3bd7c04cabeadf528f509160cf637066b042ac02c0a3830333030303031",
            ),
            (
                Rfc5176,
                GUEST,
                longer,
                Full,
                "2b07005ad455c42c9de422967cdd0820aa5af9b550128313d314768ac7e9eb3acdf23385855637066b042ac0\
                 010b6b7837712d39316d701f1333432d30362d33302d41412d31392d35462c0a38303330303030311b060000021c",
            ),
        ] {
            let written = written(style, &subject, order, attributes).unwrap();
            assert_eq!(hex(&written), bytes, "{style:?} {order:?} {attributes:?}");
        }
    }

    #[test]
    fn what_is_not_known_is_left_out() {
        let disconnect =
            |style, subject, attributes| written(style, &subject, Order::Disconnect, attributes).map(|b| kinds(&b));
        let nameless = Subject { user_name: None, ..GUEST };
        let unnumbered = Subject { nas_session: Some(""), ..GUEST };
        let placeless = Subject { ip: None, ..GUEST };
        let unspecified = Subject { ip: Some(Ipv4Addr::UNSPECIFIED.into()), ..GUEST };
        let mapped = Subject { ip: Some("::ffff:10.5.88.41".parse().unwrap()), ..GUEST };
        let deviceless = Subject { device: None, ..GUEST };
        let unidentified = Err(Unsendable::Unidentified);

        assert_eq!(disconnect(Mikrotik, nameless, Full), Ok(vec![44, 8]));
        assert_eq!(disconnect(Mikrotik, unnumbered, Full), Ok(vec![1, 8]));
        assert_eq!(disconnect(Mikrotik, mapped, Full), Ok(vec![1, 44, 8]));
        assert_eq!(disconnect(Mikrotik, deviceless, Full), Ok(vec![1, 44, 8]));
        // Without an address no User-Name either; without a session's name too, nothing.
        assert_eq!(disconnect(Mikrotik, placeless, Full), Ok(vec![44]));
        assert_eq!(disconnect(Mikrotik, unspecified, Full), Ok(vec![44]));
        assert_eq!(disconnect(Mikrotik, placeless, Reduced), unidentified);
        assert_eq!(disconnect(Mikrotik, Subject { nas_session: None, ..placeless }, Full), unidentified);
        assert_eq!(disconnect(Mikrotik, Subject { nas_session: Some(""), ..placeless }, Full), unidentified);

        assert_eq!(disconnect(Rfc5176, nameless, Full), Ok(vec![80, 55, 31, 44]));
        assert_eq!(disconnect(Rfc5176, unnumbered, Full), Ok(vec![80, 55, 1, 31]));
        assert_eq!(disconnect(Rfc5176, deviceless, Full), Ok(vec![80, 55, 1, 44]));
        assert_eq!(disconnect(Rfc5176, unnumbered, Reduced), unidentified);
        assert_eq!(disconnect(Rfc5176, Subject { device: None, ..unnumbered }, Full), unidentified);
        for style in [Mikrotik, Rfc5176] {
            for attributes in [Full, Reduced] {
                assert_eq!(disconnect(style, Subject::default(), attributes), unidentified);
            }
        }
    }

    #[test]
    fn what_does_not_fit_is_not_cut() {
        let long = "x".repeat(254);
        let subject = Subject { user_name: Some(&long), ..GUEST };
        assert_eq!(written(Mikrotik, &subject, Order::Disconnect, Full), Err(Unsendable::TooLong));
        let subject = Subject { nas_session: Some(&long), ..GUEST };
        assert_eq!(written(Rfc5176, &subject, Order::Disconnect, Reduced), Err(Unsendable::TooLong));
    }

    #[test]
    fn a_timeout_is_never_none_and_never_wraps() {
        let timeout = |seconds| {
            let bytes = written(Mikrotik, &GUEST, Order::SessionTimeout(Seconds(seconds)), Full)?;
            Ok(Packet::parse(&bytes).unwrap().first(SESSION_TIMEOUT).and_then(integer).unwrap())
        };
        assert_eq!(timeout(0), Err(Unsendable::NoTime));
        assert_eq!((timeout(1), timeout(u64::MAX)), (Ok(1), Ok(u32::MAX)));
        assert_eq!(timeout(1 << 32), Ok(u32::MAX));
    }

    #[test]
    fn timestamps_outside_the_attribute_are_its_ends() {
        assert_eq!(seconds_since_1970(Timestamp::MIN), 0);
        assert_eq!(seconds_since_1970(Timestamp::MAX), u32::MAX);
    }

    proptest! {
        #[test]
        fn whatever_is_sent_names_one_session(
            user_name in proptest::option::of(".{0,300}"), nas_session in proptest::option::of(".{0,300}"),
            ip: Option<u32>, device: Option<[u8; 6]>, mikrotik: bool, full: bool,
        ) {
            let subject = Subject {
                user_name: user_name.as_deref(), nas_session: nas_session.as_deref(),
                ip: ip.map(|ip| Ipv4Addr::from(ip).into()), device: device.map(Mac::new),
            };
            let (style, must) = if mikrotik { (Mikrotik, &[8, 44][..]) } else { (Rfc5176, &[31, 44][..]) };
            if let Ok(bytes) = written(style, &subject, Order::Disconnect, if full { Full } else { Reduced }) {
                let kinds = kinds(&bytes);
                prop_assert!(kinds.iter().any(|kind| must.contains(kind)), "{:?}", kinds);
                prop_assert!(!mikrotik || !kinds.contains(&1) || kinds.contains(&8), "{:?}", kinds);
            }
        }
    }
}

/// A reply to the request, with an Error-Cause if any.
fn reply(request: &Packet<'_>, code: u8, cause: Option<&[u8]>) -> Vec<u8> {
    reply_with(&secret(), request.authenticator(), code, request.identifier(), cause)
}

fn reply_with(secret: &Secret, authenticator: &[u8; 16], code: u8, identifier: u8, cause: Option<&[u8]>) -> Vec<u8> {
    let mut buffer = [0; Packet::MAX];
    let mut reply = Reply::bare(&mut buffer, code, identifier);
    if let Some(cause) = cause {
        reply.attribute(ERROR_CAUSE, cause).unwrap();
    }
    reply.sign(secret, authenticator).to_vec()
}

fn bytes_of(order: Order) -> Vec<u8> {
    written(DisconnectStyle::Mikrotik, &GUEST, order, Attributes::Full).unwrap()
}

mod replies {
    use super::*;

    #[test]
    fn acknowledged_or_not() {
        for (order, ack, nak) in [(Order::Disconnect, 41, 42), (Order::SessionTimeout(Seconds(60)), 44, 45)] {
            let bytes = bytes_of(order);
            let request = Packet::parse(&bytes).unwrap();
            let said = |code, cause| judge(&reply(&request, code, cause), &request, &secret());
            assert_eq!(said(ack, None), Ok(Outcome::Ack));
            // Residual-Session-Context-Removed comes with an ACK.
            assert_eq!(said(ack, Some(&[0, 0, 0, 201])), Ok(Outcome::Ack));
            assert_eq!(said(nak, None), Ok(Outcome::Nak(None)));
            let gone = Ok(Outcome::Nak(Some(ErrorCause::SESSION_CONTEXT_NOT_FOUND)));
            assert_eq!(said(nak, Some(&[0, 0, 1, 0xF7])), gone);
            assert_eq!(said(nak, Some(&[1, 0xF7])), Ok(Outcome::Nak(None)), "no integer");
            for code in (0..=255).filter(|&code| code != ack && code != nak) {
                assert_eq!(said(code, None), Err(Stray::Code(code)));
            }
        }
    }

    #[test]
    fn with_a_message_authenticator() {
        let bytes = bytes_of(Order::Disconnect);
        let request = Packet::parse(&bytes).unwrap();
        let mut buffer = [0; Packet::MAX];
        let good = Reply::new(&mut buffer, 41, 7).sign(&secret(), request.authenticator()).to_vec();
        assert_eq!(judge(&good, &request, &secret()), Ok(Outcome::Ack));
        // A wrong one under a right Response Authenticator.
        let mut buffer = [0; Packet::MAX];
        let mut bad = Reply::bare(&mut buffer, 41, 7);
        bad.attribute(MESSAGE_AUTHENTICATOR, &[1; 16]).unwrap();
        let bad = bad.sign(&secret(), request.authenticator()).to_vec();
        assert_eq!(judge(&bad, &request, &secret()), Err(Stray::Unauthentic));
    }

    #[test]
    fn of_others() {
        let bytes = bytes_of(Order::Disconnect);
        let request = Packet::parse(&bytes).unwrap();
        let authenticator = request.authenticator();
        let judged = |datagram: Vec<u8>| judge(&datagram, &request, &secret());
        assert_eq!(judged(reply_with(&Secret::new(b"x"), authenticator, 41, 7, None)), Err(Stray::Unauthentic));
        assert_eq!(judged(reply_with(&secret(), &[0; 16], 41, 7, None)), Err(Stray::Unauthentic));
        assert_eq!(judged(reply_with(&secret(), authenticator, 41, 8, None)), Err(Stray::Identifier(8)));
        assert_eq!(judged(bytes.clone()), Err(Stray::Code(40)), "its own echo");
        assert_eq!(judged(vec![]), Err(Stray::NoPacket(packet::Drop::TooShort)));
        let cut = reply(&request, 42, Some(&[0, 0, 1, 0xF7]));
        assert_eq!(judged(cut[..25].to_vec()), Err(Stray::NoPacket(packet::Drop::Truncated)));
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_are_no_answer(bytes in proptest::collection::vec(any::<u8>(), 0..200), alike: bool, nak: bool) {
            let sent = bytes_of(Order::Disconnect);
            let request = Packet::parse(&sent).unwrap();
            let mut datagram = bytes;
            if alike && datagram.len() >= 20 {
                // As far as anyone gets who has not the secret.
                datagram.truncate(20);
                datagram[..4].copy_from_slice(&[if nak { 42 } else { 41 }, 7, 0, 20]);
            }
            prop_assert!(judge(&datagram, &request, &secret()).is_err());
        }

        #[test]
        fn nor_is_an_answer_changed_in_one_bit(octet in 0..26usize, bit in 0..8u32) {
            let sent = bytes_of(Order::Disconnect);
            let request = Packet::parse(&sent).unwrap();
            let mut datagram = reply(&request, 42, Some(&[0, 0, 1, 0xF7]));
            datagram[octet] ^= 1 << bit;
            prop_assert!(judge(&datagram, &request, &secret()).is_err());
        }
    }
}

mod exchanges {
    use super::*;

    /// A router's port under a test's control.
    struct Router(UdpSocket);

    impl Router {
        async fn new() -> Self {
            Self(UdpSocket::bind("127.0.0.1:0").await.unwrap())
        }

        /// At an address that no other test binds to, for one that gives its port back.
        async fn alone(last: u8) -> Self {
            Self(UdpSocket::bind((Ipv4Addr::new(127, 0, 0, last), 0)).await.unwrap())
        }

        fn address(&self) -> SocketAddr {
            self.0.local_addr().unwrap()
        }

        async fn hears(&self) -> (Vec<u8>, SocketAddr) {
            let mut buffer = vec![0; Packet::MAX];
            let heard = timeout(Duration::from_secs(20), self.0.recv_from(&mut buffer)).await;
            let (length, from) = heard.expect("a request in time").unwrap();
            buffer.truncate(length);
            (buffer, from)
        }

        async fn says(&self, datagram: &[u8], to: SocketAddr) {
            self.0.send_to(datagram, to).await.unwrap();
        }

        async fn answers(&self, code: u8, cause: Option<&[u8]>) {
            let (heard, from) = self.hears().await;
            self.says(&reply(&Packet::parse(&heard).unwrap(), code, cause), from).await;
        }
    }

    async fn exchange_with(address: SocketAddr, order: Order, waits: [Duration; 3]) -> Outcome {
        let secret = secret();
        let target = Target { address, secret: &secret, style: DisconnectStyle::Mikrotik };
        let bytes = bytes_of(order);
        exchange(&target, &Packet::parse(&bytes).unwrap(), waits).await
    }

    #[tokio::test]
    async fn each_answer_has_its_outcome() {
        let gone: &[u8] = &[0, 0, 1, 0xF7];
        for (order, code, cause, outcome) in [
            (Order::Disconnect, 41, None, Outcome::Ack),
            (Order::Disconnect, 42, Some(gone), Outcome::Nak(Some(ErrorCause(503)))),
            (Order::Disconnect, 42, None, Outcome::Nak(None)),
            (Order::SessionTimeout(Seconds(60)), 44, None, Outcome::Ack),
            (Order::SessionTimeout(Seconds(60)), 45, Some(gone), Outcome::Nak(Some(ErrorCause(503)))),
        ] {
            let router = Router::new().await;
            let (said, ()) = tokio::join!(exchange_with(router.address(), order, LONG), router.answers(code, cause));
            assert_eq!(said, outcome);
        }
    }

    #[tokio::test]
    async fn it_repeats_the_same_bytes_from_the_same_port() {
        let router = Router::new().await;
        let deaf_at_first = async {
            let first = router.hears().await;
            let second = router.hears().await;
            let (third, from) = router.hears().await;
            assert_eq!(first, (third.clone(), from));
            assert_eq!(second, (third.clone(), from));
            router.says(&reply(&Packet::parse(&third).unwrap(), 41, None), from).await;
        };
        let (said, ()) = tokio::join!(exchange_with(router.address(), Order::Disconnect, LAST), deaf_at_first);
        assert_eq!(said, Outcome::Ack);
    }

    #[tokio::test]
    async fn it_waits_past_what_is_no_answer() {
        let router = Router::new().await;
        let confused = async {
            let (heard, from) = router.hears().await;
            let request = Packet::parse(&heard).unwrap();
            let stranger = UdpSocket::bind("127.0.0.1:0").await.unwrap();
            stranger.send_to(&reply(&request, 41, None), from).await.unwrap();
            router.says(&[], from).await;
            router.says(&[0xFF; 5000], from).await;
            router.says(&heard, from).await;
            router.says(&reply(&request, 44, None), from).await;
            let (authenticator, identifier) = (request.authenticator(), request.identifier());
            router.says(&reply_with(&Secret::new(b"x"), authenticator, 41, identifier, None), from).await;
            router.says(&reply_with(&secret(), &[0; 16], 41, identifier, None), from).await;
            router.says(&reply_with(&secret(), authenticator, 41, identifier.wrapping_add(1), None), from).await;
            router.says(&reply(&request, 42, None), from).await;
        };
        let (said, ()) = tokio::join!(exchange_with(router.address(), Order::Disconnect, LONG), confused);
        assert_eq!(said, Outcome::Nak(None), "the one that was right, and not the stranger's");
    }

    #[tokio::test]
    async fn it_stops_listening_to_a_flood_until_the_next_try() {
        let router = Router::new().await;
        let flooding = async {
            let (heard, from) = router.hears().await;
            for _ in 0..MAX_STRAYS {
                router.says(&[0xFF; 20], from).await;
            }
            router.says(&reply(&Packet::parse(&heard).unwrap(), 41, None), from).await;
            router.hears().await;
        };
        let waits = [Duration::from_millis(500), Duration::from_secs(20), Duration::from_secs(20)];
        let (said, ()) = tokio::join!(exchange_with(router.address(), Order::Disconnect, waits), flooding);
        assert_eq!(said, Outcome::Ack, "taken by the second try, which was made");
    }

    #[tokio::test]
    async fn a_silent_router() {
        let router = Router::new().await;
        let before = Instant::now();
        assert_eq!(exchange_with(router.address(), Order::Disconnect, SHORT).await, Outcome::NoAnswer);
        assert!(before.elapsed() >= SHORT.iter().sum::<Duration>());
        for _ in 0..3 {
            router.hears().await;
        }
        assert!(router.0.try_recv(&mut [0; 1]).is_err(), "three tries and no more");
    }

    #[tokio::test]
    async fn nobody_there() {
        let address = Router::alone(3).await.address();
        let before = Instant::now();
        assert_eq!(exchange_with(address, Order::Disconnect, SHORT).await, Outcome::NoAnswer);
        assert!(before.elapsed() >= SHORT.iter().sum::<Duration>(), "a refusal ends no wait");
    }

    #[tokio::test]
    async fn a_router_that_comes_up_in_between() {
        let address = Router::alone(4).await.address();
        let late = async {
            // By then the first try has been refused.
            tokio::time::sleep(Duration::from_millis(10)).await;
            Router(UdpSocket::bind(address).await.unwrap()).answers(41, None).await;
        };
        let waits = [Duration::from_millis(100), Duration::from_secs(20), Duration::from_secs(20)];
        let (said, ()) = tokio::join!(exchange_with(address, Order::Disconnect, waits), late);
        assert_eq!(said, Outcome::Ack);
    }

    #[tokio::test]
    async fn what_the_kernel_does_not_send() {
        // A broadcast needs a permission that is not asked for.
        let said = exchange_with("127.255.255.255:3799".parse().unwrap(), Order::Disconnect, SHORT).await;
        assert_eq!(said, Outcome::Unsendable(Unsendable::Socket(io::ErrorKind::PermissionDenied)));
    }

    #[tokio::test]
    async fn a_refusal_of_an_earlier_try_does_not_swallow_the_next() {
        let address = Router::alone(2).await.address();
        let socket = open(address).await.unwrap();
        send(&socket, b"one").await.unwrap();
        assert!(socket.send(b"two").await.is_err(), "the kernel reports the refusal of the first");
        send(&socket, b"three").await.unwrap();
        let router = Router(UdpSocket::bind(address).await.unwrap());
        send(&socket, b"four").await.unwrap();
        assert_eq!(router.hears().await.0, b"four");
    }

    #[tokio::test]
    async fn over_ipv6() {
        let Ok(socket) = UdpSocket::bind("[::1]:0").await else { return };
        let router = Router(socket);
        let (said, ()) =
            tokio::join!(exchange_with(router.address(), Order::Disconnect, LONG), router.answers(41, None));
        assert_eq!(said, Outcome::Ack);
    }

    #[tokio::test]
    async fn told_from_outside() {
        let secret = secret();
        let router = Router::new().await;
        let target = Target { address: router.address(), secret: &secret, style: DisconnectStyle::Rfc5176 };
        let told = tell(&target, &GUEST, Order::Disconnect, Attributes::Full, now());
        // It may be spawned.
        fn sends<T: Send>(future: T) -> T {
            future
        }
        let (said, (heard, _)) = tokio::join!(sends(told), async {
            let (heard, from) = router.hears().await;
            router.says(&reply(&Packet::parse(&heard).unwrap(), 41, None), from).await;
            (heard, from)
        });
        assert_eq!((said, kinds(&heard)), (Outcome::Ack, vec![80, 55, 1, 31, 44]));
        let said = tell(&target, &Subject::default(), Order::Disconnect, Attributes::Full, now()).await;
        assert_eq!(said, Outcome::Unsendable(Unsendable::Unidentified));
    }

    #[test]
    fn the_waits_are_seven_seconds_or_a_little_less() {
        assert_eq!(waits([0; 3]), WAITS);
        assert_eq!(waits([0; 3]).iter().sum::<Duration>(), Duration::from_secs(7));
        assert_eq!(waits([255; 3]).map(|wait| wait.as_millis()), [900, 1800, 3600]);
    }
}
