//! Cost of a login of a known code, packet in to packet out, without sockets; and of each of its parts.
//!
//! The floor is a signed echo: the least that a legal RADIUS server does. It parses the packet, checks its
//! Message-Authenticator, reads the password, and signs an answer of the same attributes; it looks nothing up, remembers
//! no duplicates, decides and counts nothing.
//!
//! Measured on 23 November 2026 in one run on a shared machine with two cores (`cargo bench --bench login --
//! --measurement-time 1.5`), medians, as ratios to the signed echo of the same kind, which took 1.25 µs (PAP), 1.26 µs (CHAP)
//! and 1.31 µs (MAC login, which is CHAP too):
//!
//! | whole login | ratio |
//! | --- | --- |
//! | PAP | 4.8 |
//! | CHAP | 4.7 |
//! | MAC login, of a device that is remembered | 5.6 |
//!
//! | part of a PAP login | ratio to its signed echo |
//! | --- | --- |
//! | checking every length | 0.02 |
//! | checking the Message-Authenticator | 0.44 |
//! | looking for repeated attributes | 0.02 |
//! | noting the request and its answer for repetitions | 0.25 |
//! | reading the login, unhiding the password | 0.21 |
//! | deciding and admitting: throttle, look-up, account, session id, counting | 2.4 |
//! | writing and signing the answer | 0.46 |
//! | the rest: finding the NAS, clocks, locks, packet counters | 1.0 |
//!
//! (Parts were measured with the parsing that they need; it is taken off here.)

#![expect(clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "a bench")]

use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use criterion::{Criterion, criterion_group, criterion_main};
use jiff::Timestamp;
use spotgate::catalogue::Catalogue;
use spotgate::clock::Clock;
use spotgate::config;
use spotgate::core::ident::{Mac, SessionId};
use spotgate::core::login::Proof;
use spotgate::core::policy::Policy;
use spotgate::core::token::AccessToken;
use spotgate::gate::{Gate, Step, Supply, Via};
use spotgate::live::Live;
use spotgate::radius::attribute as a;
use spotgate::radius::auth;
use spotgate::radius::clients::{Client, Learnt};
use spotgate::radius::handle::{Arrival, Handled, Handler, OnLearnt, Port};
use spotgate::radius::packet::{Packet, Reply};
use spotgate::radius::recent::Recent;
use spotgate::radius::secret::{MAX_PASSWORD, MessageAuthenticator};
use spotgate::sandbox::hotspot::{Hotspot, Password};
use spotgate::source::file;
use spotgate::telemetry::metrics::Metrics;

const SECRET: &str = "correct horse battery";

/// Where requests come from.
const ROUTER: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// Requests of each kind: more than fall into the duplicate window, so that none is taken for a repetition.
const REQUESTS: usize = 20_000;

/// Tokens known, each with its own device.
const TOKENS: usize = 10_000;

const CONFIGURATION: &str = r#"
[source]
kind = "file"
path = "none.json"
[[nas]]
name = "front-desk"
address = "127.0.0.1"
secret = "correct horse battery"
"#;

#[derive(Debug)]
struct Forget;

impl OnLearnt for Forget {
    fn learnt(&self, _: &Arc<Learnt>) {}
}

struct World {
    live: Live,
    gate: Arc<Gate>,
    handler: Handler,
    recent: Mutex<Recent>,
    clock: Clock,
}

fn mac(number: usize) -> Mac {
    let [.., a, b, c] = number.to_be_bytes();
    Mac::new([0x3C, 6, 0x30, a, b, c])
}

fn code(number: usize) -> String {
    format!("kx7q-{number:05}")
}

fn world() -> World {
    let start: Timestamp = "2026-11-23T12:00:00Z".parse().expect("a date");
    let clock = Clock::manual(start);
    let loaded = config::from_str(CONFIGURATION, "spotgate.toml".as_ref(), &|_| None).expect("a configuration");
    let live = Live::new(loaded.settings).expect("no certificate");
    let catalogue = Arc::new(Catalogue::new(&live.settings.cache, None, false, clock.clone()));
    catalogue.replace(tokens());
    let supply = Arc::new(Supply {
        catalogue,
        health: Arc::default(),
        mirror: None,
        write_back: Arc::default(),
        hint: Arc::default(),
    });
    let gate = Arc::new(Gate::new(supply, Arc::default(), Arc::new(Metrics::default()), clock.clone()));
    let handler = Handler::new(Arc::clone(&gate), Arc::default(), Box::new(Forget));
    let recent = Mutex::new(Recent::new(Duration::from_secs(10), 65_536));
    World { live, gate, handler, recent, clock }
}

fn tokens() -> Vec<Arc<AccessToken>> {
    let records: Vec<_> = (0..TOKENS)
        .map(|number| {
            serde_json::json!({
                "Id": number, "BusinessId": 1, "AccessCode": code(number), "MinutesIncluded": 100_000_000,
                "MinutesLeft": 100_000_000, "ValidFrom": null, "ValidTo": null, "UserLimit": 3,
                "MacAddress": mac(number).to_string()
            })
        })
        .collect();
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("tokens.json");
    std::fs::write(&path, serde_json::Value::from(records).to_string()).expect("a file");
    let source = config::File { path, time_zone: jiff::tz::TimeZone::UTC, business_ids: Vec::new() };
    file::load(&source).expect("tokens").0
}

#[derive(Clone, Copy)]
enum Kind {
    Pap,
    Chap,
    Mac,
}

/// RouterOS-shaped Access-Requests, each from a port and with an authenticator of its own.
fn requests(kind: Kind) -> Vec<(SocketAddr, Vec<u8>)> {
    let hotspot = Hotspot::new(([127, 0, 0, 1], 1812).into(), SECRET.as_bytes(), "front-desk");
    (0..REQUESTS)
        .map(|number| {
            let token = number * 7 % TOKENS;
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
fn signed_echo<'b>(client: &Client, datagram: &[u8], buffer: &'b mut [u8; Packet::MAX]) -> Option<&'b [u8]> {
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

fn whole(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("login");
    for (name, kind) in [("pap", Kind::Pap), ("chap", Kind::Chap), ("mac", Kind::Mac)] {
        let requests = requests(kind);
        let world = world();
        let client = Arc::clone(world.live.clients.find([127, 0, 0, 1].into()).expect("the NAS"));
        let mut buffer = [0; Packet::MAX];
        let mut next = requests.iter().cycle();
        group.bench_function(format!("signed_echo_{name}"), |bencher| {
            bencher.iter(|| {
                let (_, datagram) = next.next().expect("endless");
                black_box(signed_echo(&client, datagram, &mut buffer)).expect("an answer");
            });
        });
        let mut next = requests.iter().cycle();
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                let (from, datagram) = next.next().expect("endless");
                world.clock.advance(Duration::from_millis(1));
                // As a worker does.
                let client = world.live.clients.find(from.ip()).expect("the NAS");
                let arrival = Arrival { client, port: Port::Auth, from: *from, octets: datagram };
                let handled = world.handler.handle(&world.live, &arrival, &world.recent, &mut buffer);
                let Handled::Reply(reply) = handled else { panic!("no reply") };
                assert_eq!(reply[0], a::code::ACCESS_ACCEPT);
                black_box(reply);
            });
        });
    }
    group.finish();
}

fn parts(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("part");
    let world = world();
    let client = Arc::clone(world.live.clients.find([127, 0, 0, 1].into()).expect("the NAS"));
    for (name, kind) in [("pap", Kind::Pap), ("chap", Kind::Chap), ("mac", Kind::Mac)] {
        let requests = requests(kind);
        let mut next = requests.iter().map(|(_, datagram)| datagram).cycle();
        group.bench_function(format!("read_{name}"), |bencher| {
            bencher.iter(|| {
                let packet = Packet::parse(next.next().expect("endless")).expect("a packet");
                let mut password = [0; MAX_PASSWORD];
                black_box(auth::login(&packet, &client, ROUTER, &mut password).expect("a login"));
            });
        });
        let mut next = requests.iter().map(|(_, datagram)| datagram).cycle();
        group.bench_function(format!("read_and_decide_{name}"), |bencher| {
            bencher.iter(|| {
                let packet = Packet::parse(next.next().expect("endless")).expect("a packet");
                let mut password = [0; MAX_PASSWORD];
                let login = auth::login(&packet, &client, ROUTER, &mut password).expect("a login");
                let visit = world.live.visit(&login, &client.nas.rules, Via::Radius, Duration::ZERO);
                let Step::Decided(answer) = world.gate.step(&visit, world.clock.now(), &mut ()) else {
                    panic!("not decided")
                };
                black_box(answer);
            });
        });
    }

    let requests = requests(Kind::Pap);
    let mut next = requests.iter().cycle();
    group.bench_function("parse", |bencher| {
        bencher.iter(|| black_box(Packet::parse(&next.next().expect("endless").1).expect("a packet")));
    });
    group.bench_function("check_message_authenticator", |bencher| {
        bencher.iter(|| {
            let packet = Packet::parse(&next.next().expect("endless").1).expect("a packet");
            black_box(client.secret.check_message_authenticator(&packet))
        });
    });
    group.bench_function("repeated_attributes", |bencher| {
        bencher.iter(|| {
            let packet = Packet::parse(&next.next().expect("endless").1).expect("a packet");
            black_box(a::repeated(&packet))
        });
    });
    let (mut recent, mut now) = (Recent::new(Duration::from_secs(10), 65_536), Duration::ZERO);
    group.bench_function("duplicates", |bencher| {
        bencher.iter(|| {
            let (from, datagram) = next.next().expect("endless");
            let packet = Packet::parse(datagram).expect("a packet");
            now += Duration::from_millis(1);
            black_box(recent.see(*from, &packet, now));
            recent.answered(&spotgate::radius::recent::Identity::of(*from, &packet), &[0; 90], now)
        });
    });
    let grant = grant(&world, &client, &requests[0].1);
    let mut buffer = [0; Packet::MAX];
    let session = SessionId::new(Timestamp::UNIX_EPOCH, [7; 10]);
    group.bench_function("accept", |bencher| {
        bencher.iter(|| {
            let packet = Packet::parse(&next.next().expect("endless").1).expect("a packet");
            let policy = Policy::default();
            black_box(auth::accept(&mut buffer, &packet, &client, &grant, Some(session), &policy).expect("a reply"));
        });
    });
    group.finish();
}

fn grant(world: &World, client: &Client, datagram: &[u8]) -> spotgate::core::decide::Grant {
    let packet = Packet::parse(datagram).expect("a packet");
    let mut password = [0; MAX_PASSWORD];
    let login = auth::login(&packet, client, ROUTER, &mut password).expect("a login");
    let visit = world.live.visit(&login, &client.nas.rules, Via::Radius, Duration::ZERO);
    match world.gate.step(&visit, world.clock.now(), &mut ()) {
        Step::Decided(answer) => match answer.decision {
            spotgate::core::decide::Decision::Allow(grant) => grant,
            spotgate::core::decide::Decision::Deny(denial) => panic!("denied: {}", denial.reason),
        },
        Step::Ask(_) | Step::Wait => panic!("not at hand"),
    }
}

criterion_group!(benches, whole, parts);
criterion_main!(benches);
