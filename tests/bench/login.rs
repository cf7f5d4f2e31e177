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
#![allow(unreachable_pub, reason = "a binary")]

#[path = "login/world.rs"]
#[allow(dead_code, reason = "shared")]
mod world;

use std::hint::black_box;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use criterion::{Criterion, criterion_group, criterion_main};
use jiff::Timestamp;
use spotgate::core::ident::SessionId;
use spotgate::core::policy::Policy;
use spotgate::gate::{Step, Via};
use spotgate::ledger::Ledger;
use spotgate::radius::attribute as a;
use spotgate::radius::auth;
use spotgate::radius::clients::Client;
use spotgate::radius::handle::{Arrival, Handled, Port};
use spotgate::radius::packet::Packet;
use spotgate::radius::recent::Recent;
use spotgate::radius::secret::MAX_PASSWORD;

use world::{Kind, ROUTER, World, signed_echo};

/// Requests of each kind: more than fall into the duplicate window, so that none is taken for a repetition.
const REQUESTS: usize = 20_000;

/// Tokens known, each with its own device.
const TOKENS: usize = 10_000;

fn world() -> World {
    world::world(TOKENS, 1, Ledger::default())
}

fn requests(kind: Kind) -> Vec<(SocketAddr, Vec<u8>)> {
    world::requests(kind, REQUESTS, TOKENS)
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
