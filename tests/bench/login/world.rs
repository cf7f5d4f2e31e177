//! A gate with its tokens, and requests to it, as packets.

use std::cell::RefCell;
use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use jiff::Timestamp;
use spotgate::catalogue::Catalogue;
use spotgate::clock::Clock;
use spotgate::config;
use spotgate::core::ident::{BusinessId, Code, Mac, TokenId};
use spotgate::core::login::Proof;
use spotgate::core::token::AccessToken;
use spotgate::gate::{Gate, Supply};
use spotgate::ledger::Ledger;
use spotgate::live::Live;
use spotgate::radius::attribute as a;
use spotgate::radius::clients::{Client, Learnt};
use spotgate::radius::handle::{Arrival, Handled, Handler, OnLearnt, Port};
use spotgate::radius::packet::{Packet, Reply};
use spotgate::radius::recent::Recent;
use spotgate::radius::secret::{MAX_PASSWORD, MessageAuthenticator};
use spotgate::sandbox::hotspot::{Hotspot, Password};
use spotgate::telemetry::metrics::Metrics;

pub const SECRET: &str = "correct horse battery";

/// Where requests come from.
pub const ROUTER: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

#[derive(Debug)]
struct Forget;

impl OnLearnt for Forget {
    fn learnt(&self, _: &Arc<Learnt>) {}
}

/// What a worker needs to answer.
pub struct World {
    pub live: Live,
    pub gate: Arc<Gate>,
    pub handler: Handler,
    pub recent: Mutex<Recent>,
    pub clock: Clock,
    /// For answers; to clear one each time would count.
    pub buffer: RefCell<[u8; Packet::MAX]>,
}

pub fn mac(number: usize) -> Mac {
    let [.., a, b, c] = number.to_be_bytes();
    Mac::new([0x3C, 6, 0x30, a, b, c])
}

pub fn code(number: usize) -> String {
    format!("kx7q-{number:05}")
}

/// The address of a router.
pub fn router(number: usize) -> IpAddr {
    let [.., a, b] = number.to_be_bytes();
    if number == 0 { ROUTER } else { IpAddr::V4(Ipv4Addr::new(10, 0, a, b)) }
}

fn configuration(routers: usize) -> String {
    let mut lines = "[source]\nkind = \"file\"\npath = \"none.json\"\n".to_owned();
    for number in 0..routers {
        let (name, address) = (format!("desk-{number:05}"), router(number));
        let line = format!("[[nas]]\nname = \"{name}\"\naddress = \"{address}\"\nsecret = \"{SECRET}\"\n");
        lines.push_str(&line);
    }
    lines
}

/// A gate that knows so many tokens, each with its own device, so many routers, and these accounts.
pub fn world(count: usize, routers: usize, ledger: Ledger) -> World {
    let start: Timestamp = "2026-11-23T12:00:00Z".parse().expect("a date");
    let clock = Clock::manual(start);
    let lines = configuration(routers);
    let loaded = config::from_str(&lines, "spotgate.toml".as_ref(), &|_| None).expect("a configuration");
    let live = Live::new(loaded.settings).expect("no certificate");
    let catalogue = Arc::new(Catalogue::new(&live.settings.cache, None, false, clock.clone()));
    catalogue.replace(tokens(count));
    let supply = Arc::new(Supply {
        catalogue,
        health: Arc::default(),
        mirror: None,
        write_back: Arc::default(),
        hint: Arc::default(),
    });
    let gate = Arc::new(Gate::new(supply, Arc::new(ledger), Arc::new(Metrics::default()), clock.clone()));
    let handler = Handler::new(Arc::clone(&gate), Arc::default(), Box::new(Forget));
    let recent = Mutex::new(Recent::new(Duration::from_secs(10), 65_536));
    World { live, gate, handler, recent, clock, buffer: RefCell::new([0; Packet::MAX]) }
}

fn tokens(count: usize) -> Vec<Arc<AccessToken>> {
    let token = |number: usize| AccessToken {
        id: TokenId(i64::try_from(number).expect("a number")),
        business: Some(BusinessId(1)),
        code: Code::parse(&code(number)).expect("a code"),
        valid_from: None,
        valid_to: None,
        minutes_included: Some(100_000_000),
        minutes_left: Some(100_000_000),
        user_limit: Some(3),
        devices: Box::new([mac(number)]),
        last_access: None,
    };
    (0..count).map(token).map(Arc::new).collect()
}

/// Handles one packet, and shows its answer.
pub fn handle<T>(world: &World, port: Port, from: SocketAddr, octets: &[u8], look: impl FnOnce(&[u8]) -> T) -> T {
    let mut buffer = world.buffer.borrow_mut();
    world.clock.advance(Duration::from_millis(1));
    let client = world.live.clients.find(from.ip()).expect("the NAS");
    let arrival = Arrival { client, port, from, octets };
    match world.handler.handle(&world.live, &arrival, &world.recent, &mut buffer) {
        Handled::Reply(reply) | Handled::Owed { reply, .. } => look(reply),
        other => panic!("no reply: {other:?}"),
    }
}

/// How a guest shows a code, or a device.
#[derive(Clone, Copy)]
pub enum Kind {
    Pap,
    Chap,
    Mac,
}

/// So many RouterOS-shaped Access-Requests for so many tokens, each from a port and with an authenticator of its own.
pub fn requests(kind: Kind, count: usize, tokens: usize) -> Vec<(SocketAddr, Vec<u8>)> {
    let hotspot = Hotspot::new(([127, 0, 0, 1], 1812).into(), SECRET.as_bytes(), "front-desk");
    (0..count)
        .map(|number| {
            let token = number * 7 % tokens;
            let (code, device) = (code(token), mac(token));
            let address = device.to_string();
            let request = match kind {
                Kind::Pap => hotspot.access_request(&code, Password::Pap(&code), device),
                Kind::Chap => hotspot.access_request(&code, Password::Chap(&code), device),
                Kind::Mac => hotspot.access_request(&address, Password::Chap(""), device),
            };
            let port = u16::try_from(20_000 + number).expect("a port");
            (([127, 0, 0, 1], port).into(), request.expect("a request"))
        })
        .collect()
}

/// The least a legal server does.
pub fn signed_echo<'b>(client: &Client, datagram: &[u8], buffer: &'b mut [u8; Packet::MAX]) -> Option<&'b [u8]> {
    let packet = Packet::parse(datagram).ok()?;
    if client.secret.check_message_authenticator(&packet) != MessageAuthenticator::Good {
        return None;
    }
    let mut password = [0; MAX_PASSWORD];
    match packet.first(a::USER_PASSWORD) {
        Some(hidden) => {
            black_box(client.secret.unhide(hidden, packet.authenticator(), &mut password)?);
        }
        None => {
            let (ident, digest) = packet.first(a::CHAP_PASSWORD)?.split_first()?;
            let challenge = packet.first(a::CHAP_CHALLENGE)?;
            let proof = Proof::Chap { ident: *ident, digest: digest.try_into().ok()?, challenge };
            black_box(proof.shows(packet.first(a::USER_NAME)?));
        }
    }
    let mut reply = Reply::new(buffer, a::code::ACCESS_ACCEPT, packet.identifier());
    reply.integer(a::SESSION_TIMEOUT, 3600).ok()?;
    reply.integer(a::ACCT_INTERIM_INTERVAL, 300).ok()?;
    reply.integer(a::PORT_LIMIT, 4).ok()?;
    reply.attribute(a::CLASS, &[7; 20]).ok()?;
    Some(reply.sign(&client.secret, packet.authenticator()))
}
