//! The incoming port.

use tokio::net::UdpSocket;

use super::StatusType::{Start, Stop};
use super::*;
use crate::radius::attribute::{ErrorCause, mikrotik};
use crate::radius::packet::Request;

/// Attributes of an order.
type Attributes<'a> = &'a [(u8, &'a [u8])];

const ID: (u8, &[u8]) = (attr::ACCT_SESSION_ID, b"80300000");
const NAME: (u8, &[u8]) = (attr::USER_NAME, CODE.as_bytes());
const ADDRESS: (u8, &[u8]) = (attr::FRAMED_IP_ADDRESS, &[10, 5, 88, 41]);
const WHOLE: [(u8, &[u8]); 3] = [NAME, ID, ADDRESS];

fn signed(code: u8, identifier: u8, attributes: Attributes<'_>, secret: &[u8]) -> Vec<u8> {
    let mut buffer = [0; Packet::MAX];
    let mut request = Request::new(&mut buffer, code, identifier, &[0; 16]);
    for (kind, value) in attributes {
        request.attribute(*kind, value).unwrap();
    }
    request.sign(&Secret::new(secret)).to_vec()
}

fn disconnect(identifier: u8, attributes: Attributes<'_>) -> Vec<u8> {
    signed(code::DISCONNECT_REQUEST, identifier, attributes, SECRET)
}

/// Somebody who gives orders from one port.
struct Officer {
    hotspot: Hotspot,
    socket: UdpSocket,
}

impl Officer {
    async fn of(router: &Router) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        socket.connect(router.incoming()).await.unwrap();
        Self { hotspot: Hotspot::new(router.incoming(), SECRET, "officer"), socket }
    }

    /// Sends it and does not wait.
    async fn send(&self, datagram: &[u8]) {
        self.socket.send(datagram).await.unwrap();
    }

    /// The answer, which is authentic.
    async fn answer(&self, order: &[u8]) -> Answer {
        self.hotspot.exchange_on(&self.socket, order).await.unwrap()
    }

    /// The code of the answer and its Error-Cause.
    async fn order(&self, order: &[u8]) -> (u8, Option<u32>) {
        let answer = self.answer(order).await;
        (answer.code, answer.error_cause.map(|ErrorCause(cause)| cause))
    }
}

const ACK: (u8, Option<u32>) = (code::DISCONNECT_ACK, None);

const fn nak(cause: u32) -> (u8, Option<u32>) {
    (code::DISCONNECT_NAK, Some(cause))
}

#[tokio::test(start_paused = true)]
async fn a_disconnect_ends_the_session() {
    let (router, mut server, _still) = world(HOUR).await;
    online(&router, &mut server, CODE, MAC).await;
    online(&router, &mut server, "other", OTHER).await;
    pass(&router, 77).await;
    let officer = Officer::of(&router).await;
    assert_eq!(officer.order(&disconnect(1, &WHOLE)).await, ACK);
    assert_eq!(server.record().await.brief(), (Stop, "80300000", Some(77), Some(6)));
    assert_eq!(router.sessions().into_iter().map(|online| online.mac).collect::<Vec<_>>(), [OTHER]);
    assert_eq!(officer.order(&disconnect(2, &WHOLE)).await, nak(503), "it has gone");

    let heard = router.heard();
    assert_eq!(heard[0].from, officer.socket.local_addr().unwrap());
    assert_eq!((heard[0].code, &*heard[0].kinds), (Some(40), &[1, 44, 8][..]));
    assert_eq!(heard[0].session_id.as_deref(), Some("80300000"));
    let reactions: Vec<_> = heard.iter().map(|heard| heard.reaction).collect();
    assert_eq!(reactions, [Reaction::Acknowledged, Reaction::Refused(ErrorCause(503))]);
    assert_eq!(router.counts(), Counts { requests: 2, bad_requests: 0, acks: 1, naks: 1 });
}

#[tokio::test(start_paused = true)]
async fn routeros_wants_the_address_and_a_name() {
    let (router, mut server, _still) = world(HOUR).await;
    let officer = Officer::of(&router).await;
    let cases: [(Attributes<'_>, _); 10] = [
        (&[NAME, ID], nak(402)),
        (&[ID], nak(402)),
        (&[ADDRESS], nak(402)),
        (&[], nak(402)),
        (&[NAME, ID, (attr::FRAMED_IP_ADDRESS, &[10, 5, 88])], nak(407)),
        (&[NAME, ID, (attr::FRAMED_IP_ADDRESS, &[10, 5, 88, 42])], nak(503)),
        (&[NAME, ADDRESS, (attr::ACCT_SESSION_ID, b"80300001")], nak(503)),
        (&[ID, ADDRESS, (attr::USER_NAME, b"other")], nak(503)),
        (&[NAME, ADDRESS], ACK),
        (&[ID, ADDRESS], ACK),
    ];
    for (identifier, (attributes, outcome)) in (0..).zip(cases) {
        let admitted = online(&router, &mut server, CODE, MAC).await;
        // the cases name the first session
        let own = (ID.0, admitted.session_id.as_bytes());
        let attributes: Vec<_> = attributes.iter().map(|&part| if part == ID { own } else { part }).collect();
        assert_eq!(officer.order(&disconnect(identifier, &attributes)).await, outcome, "{attributes:?}");
        assert_eq!(router.session(MAC).is_none(), outcome == ACK, "{attributes:?}");
        router.logout(MAC);
        assert_eq!(server.record().await.status, Stop);
    }
}

#[tokio::test(start_paused = true)]
async fn rfc_5176_lets_one_name_suffice() {
    let mut server = Server::start(Ok(HOUR));
    let router = Router::start(Options { style: DisconnectStyle::Rfc5176, ..options(&server) }).await.unwrap();
    let _still = still();
    let officer = Officer::of(&router).await;
    let nas = |name: &'static [u8]| (attr::NAS_IDENTIFIER, name);
    let device = (attr::CALLING_STATION_ID, &b"9a-4c-10-7e-22-29"[..]);
    let cases: [(Attributes<'_>, _); 11] = [
        (&[], nak(402)),
        (&[nas(b"gw-loft3")], nak(402)),
        (&[NAME], nak(508)),
        (&[ID, nas(b"another")], nak(403)),
        (&[ID, (attr::NAS_IP_ADDRESS, &[10, 5, 0, 2])], nak(403)),
        (&[ID, (attr::CALLING_STATION_ID, b"02:00:00:00:00:01")], nak(503)),
        (&[ID, (attr::CALLING_STATION_ID, b"nobody")], nak(407)),
        (&[ADDRESS, nas(b"gw-loft3")], ACK),
        (&[device], ACK),
        (&[NAME, device, (attr::NAS_IP_ADDRESS, &[10, 5, 0, 1])], ACK),
        (&[(attr::ACCT_SESSION_ID, b"8030000b")], ACK),
    ];
    online(&router, &mut server, CODE, OTHER).await;
    for (identifier, (attributes, outcome)) in (0..).zip(cases) {
        online(&router, &mut server, CODE, MAC).await;
        assert_eq!(officer.order(&disconnect(identifier, attributes)).await, outcome, "{attributes:?}");
        assert_eq!(router.session(MAC).is_none(), outcome == ACK, "{attributes:?}");
        router.logout(MAC);
        assert_eq!(server.record().await.status, Stop);
    }
}

#[tokio::test(start_paused = true)]
async fn a_repeated_order_gets_the_same_answer() {
    let (router, mut server, _still) = world(HOUR).await;
    online(&router, &mut server, CODE, MAC).await;
    let officer = Officer::of(&router).await;
    let first = officer.answer(&disconnect(9, &WHOLE)).await;
    assert_eq!(server.record().await.status, Stop);
    // the session is back under the same address: a repetition must not end it
    online(&router, &mut server, CODE, MAC).await;
    let order = [NAME, ADDRESS];
    assert_eq!(officer.answer(&disconnect(9, &WHOLE)).await.bytes, first.bytes);
    assert!(router.session(MAC).is_some());
    assert_eq!(router.heard().last().unwrap().reaction, Reaction::Repeated);
    assert_eq!(router.counts(), Counts { requests: 2, acks: 2, ..Counts::default() });

    let other_port = Officer::of(&router).await;
    assert_eq!(other_port.order(&disconnect(9, &WHOLE)).await, nak(503), "another request");
    assert_eq!(officer.order(&disconnect(9, &order)).await, ACK, "another authenticator, another request");
}

#[tokio::test(start_paused = true)]
async fn what_is_not_authentic_is_dropped_and_counted() {
    let (router, mut server, _still) = world(HOUR).await;
    online(&router, &mut server, CODE, MAC).await;
    let officer = Officer::of(&router).await;
    let wrong = [&WHOLE[..], &[(attr::MESSAGE_AUTHENTICATOR, &[1; 16])]].concat();
    let bad = [
        signed(code::DISCONNECT_REQUEST, 1, &WHOLE, b"another secret"),
        signed(code::COA_REQUEST, 2, &[NAME, ADDRESS, (attr::SESSION_TIMEOUT, &[0, 0, 0, 1])], b"another secret"),
        disconnect(3, &wrong),
        signed(code::ACCOUNTING_REQUEST, 4, &WHOLE, SECRET),
        b"no packet".to_vec(),
    ];
    for datagram in &bad {
        officer.send(datagram).await;
    }
    // answers come in the order of the requests, so that the first one answered has been the last one sent
    assert_eq!(officer.order(&disconnect(5, &[ID])).await, nak(402));
    let mut expected = vec![Reaction::Bad; 5];
    expected.push(Reaction::Refused(ErrorCause(402)));
    assert_eq!(router.heard().into_iter().map(|heard| heard.reaction).collect::<Vec<_>>(), expected);
    assert_eq!(router.counts(), Counts { requests: 1, bad_requests: 5, acks: 0, naks: 1 });
    assert_eq!(router.session(MAC).unwrap().session_timeout, Some(3600));

    let mut buffer = [0; Packet::MAX];
    let mut good = Request::new(&mut buffer, code::DISCONNECT_REQUEST, 6, &[0; 16]);
    good.message_authenticator().unwrap();
    WHOLE.into_iter().for_each(|(kind, value)| good.attribute(kind, value).unwrap());
    assert_eq!(officer.order(good.sign(&Secret::new(SECRET))).await, ACK);
}

#[tokio::test(start_paused = true)]
async fn proxy_states_come_back_in_order() {
    let (router, _server, _still) = world(HOUR).await;
    let officer = Officer::of(&router).await;
    let order = [ID, (attr::PROXY_STATE, &b"one"[..]), (attr::PROXY_STATE, b"two")];
    let answer = officer.answer(&disconnect(1, &order)).await;
    assert_eq!(answer.proxy_states, [b"one", b"two"]);
    assert_eq!(answer.kinds, [101, 33, 33]);
}

async fn change(officer: &Officer, identifier: u8, attributes: Attributes<'_>) -> (u8, Option<u32>) {
    let attributes = [&[NAME, ADDRESS], attributes].concat();
    officer.order(&signed(code::COA_REQUEST, identifier, &attributes, SECRET)).await
}

#[tokio::test(start_paused = true)]
async fn a_changed_session_timeout_counts_from_the_login() {
    let done = (code::COA_ACK, None);
    let (router, mut server, _still) = world(Grant { interim: None, idle_timeout: None, ..HOUR }).await;
    let officer = Officer::of(&router).await;
    online(&router, &mut server, CODE, MAC).await;
    pass(&router, 100).await;
    assert_eq!(change(&officer, 1, &[(attr::SESSION_TIMEOUT, &160u32.to_be_bytes())]).await, done);
    assert_eq!(router.session(MAC).unwrap().session_timeout, Some(160));
    pass(&router, 59).await;
    server.no_more(&router).await;
    pass(&router, 1).await;
    assert_eq!(server.record().await.brief(), (Stop, "80300000", Some(160), Some(5)));

    online(&router, &mut server, CODE, MAC).await;
    pass(&router, 100).await;
    assert_eq!(change(&officer, 2, &[(attr::SESSION_TIMEOUT, &60u32.to_be_bytes())]).await, done);
    assert_eq!(server.record().await.brief(), (Stop, "80300001", Some(100), Some(5)), "it has passed");

    online(&router, &mut server, CODE, MAC).await;
    assert_eq!(change(&officer, 3, &[(attr::SESSION_TIMEOUT, &[0; 4])]).await, done);
    pass(&router, 100_000).await;
    server.no_more(&router).await;
    assert_eq!(change(&officer, 4, &[(attr::IDLE_TIMEOUT, &30u32.to_be_bytes())]).await, done);
    router.idle(MAC);
    pass(&router, 30).await;
    assert_eq!(server.record().await.brief(), (Stop, "80300002", Some(100_000), Some(4)));
}

#[tokio::test(start_paused = true)]
async fn a_change_is_made_wholly_or_not_at_all() {
    let (router, mut server, _still) = world(HOUR).await;
    let officer = Officer::of(&router).await;
    let hour = (attr::SESSION_TIMEOUT, &[0, 0, 0, 9][..]);
    let refused = |cause| (code::COA_NAK, Some(cause));
    assert_eq!(change(&officer, 1, &[hour]).await, refused(503));
    online(&router, &mut server, CODE, MAC).await;
    assert_eq!(change(&officer, 2, &[]).await, refused(402));
    assert_eq!(change(&officer, 3, &[hour, (attr::IDLE_TIMEOUT, b"soon!")]).await, refused(407));
    assert_eq!(officer.order(&signed(code::COA_REQUEST, 4, &[NAME, ID, hour], SECRET)).await, refused(402));
    assert_eq!(router.session(MAC).unwrap().session_timeout, Some(3600));

    let rate = [&mikrotik::VENDOR.to_be_bytes()[..], &[mikrotik::RATE_LIMIT, 7], b"1M/1M"].concat();
    assert_eq!(change(&officer, 5, &[(attr::VENDOR_SPECIFIC, &rate)]).await, (code::COA_ACK, None));
}

#[tokio::test(start_paused = true)]
async fn orders_go_astray_on_demand() {
    let (router, mut server, _still) = world(HOUR).await;
    let officer = Officer::of(&router).await;
    online(&router, &mut server, CODE, MAC).await;
    let order = disconnect(1, &WHOLE);

    router.change(|quirks| quirks.lose_disconnects = 2);
    officer.send(&order).await;
    officer.send(&order).await;
    until(|| router.heard().len() == 2).await;
    router.change(|quirks| quirks.deaf = true);
    officer.send(&order).await;
    until(|| router.heard().len() == 3).await;
    assert_eq!(router.counts(), Counts::default());
    assert!(router.session(MAC).is_some());

    router.change(|quirks| (quirks.deaf, quirks.refuse) = (false, Some(ErrorCause(501))));
    assert_eq!(officer.order(&order).await, nak(501), "what got lost was not decided");
    router.change(|quirks| (quirks.refuse, quirks.keep_disconnected) = (None, true));
    assert_eq!(officer.order(&disconnect(2, &WHOLE)).await, ACK);
    server.no_more(&router).await;
    assert!(router.session(MAC).is_some(), "acknowledged, and kept");

    router.change(|quirks| quirks.keep_disconnected = false);
    assert_eq!(officer.order(&disconnect(3, &WHOLE)).await, ACK);
    assert_eq!(server.record().await.status, Stop);
    let reactions: Vec<_> = router.heard().into_iter().take(4).map(|heard| heard.reaction).collect();
    let refused = Reaction::Refused(ErrorCause(501));
    assert_eq!(reactions, [Reaction::Lost, Reaction::Lost, Reaction::Deaf, refused]);
}

#[tokio::test(start_paused = true)]
async fn without_power_no_order_is_heard_and_no_answer_kept() {
    let (router, mut server, _still) = world(HOUR).await;
    let officer = Officer::of(&router).await;
    router.change(|quirks| quirks.silent_boot = true);
    let order = disconnect(1, &[NAME, ADDRESS]);
    assert_eq!(officer.order(&order).await, nak(503));
    router.lose_power();
    officer.send(&order).await;
    turns().await;
    assert_eq!(router.heard().len(), 1);
    router.boot();
    assert_eq!(Officer::of(&router).await.order(&disconnect(2, &[ID])).await, nak(402));
    assert_eq!(router.heard().len(), 2);
    let login = router.login(CODE, "", MAC).await.unwrap();
    assert!(login.admitted().is_some());
    assert_eq!(server.record().await.status, Start);
    assert_eq!(officer.order(&order).await, ACK, "not the answer from before the power went");
}
