//! Whether a flood of packets that are nearly right does any harm: the real daemon, both ports, on loopback.
//!
//! ```sh
//! cargo bench --bench hostile                    # ten million packets; some minutes
//! cargo bench --bench hostile -- --packets N
//! ```
//!
//! Requests as a router signs them (logins by PAP, CHAP and MAC address, accounting of sessions known and unknown) have octets changed, taken out
//! and put in. The daemon must not fall over; what it answers must be the answer to a request of its router, unchanged; its memory must
//! stay flat; and the next good login must be answered. `cargo test --bench hostile` sends as few as say nothing, to see that it works.

#![expect(clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "a bench")]
#![allow(unreachable_pub, reason = "a binary")]

#[path = "accounting/load.rs"]
#[allow(dead_code, reason = "shared")]
mod load;
#[path = "../fuzz/lots.rs"]
mod lots;
#[path = "accounting/server.rs"]
#[allow(dead_code, reason = "shared")]
mod server;
#[path = "accounting/table.rs"]
#[allow(dead_code, reason = "shared")]
mod table;
#[path = "accounting/tokens.rs"]
#[allow(dead_code, reason = "shared")]
mod tokens;

use std::fs;
use std::net::{SocketAddr, UdpSocket};
use std::process::ExitCode;
use std::time::Duration;

use spotgate::radius::attribute::{StatusType, code};
use spotgate::radius::packet::Packet;
use spotgate::radius::secret::{MessageAuthenticator, Secret};
use spotgate::sandbox::hotspot::{Hotspot, Password, Record};

use load::SECRET;
use lots::Lots;
use server::{Server, pause};
use tokens::{mac, wall};

const GUESTS: usize = 1000;

/// Packets between two looks at what came back.
const AT_ONCE: usize = 64;

/// How much more the daemon may hold at the end than when a fifth had been sent.
const GROWTH: u64 = 8 << 20;

/// A request, changed in a few places.
fn mutated(lots: &mut Lots, requests: &[Vec<u8>]) -> Vec<u8> {
    let mut octets = requests[lots.below(requests.len())].clone();
    for _ in 0..=lots.below(4) {
        let place = lots.below(octets.len().max(1));
        let end = (place + lots.below(12)).min(octets.len());
        match lots.below(6) {
            0 if !octets.is_empty() => octets[place] ^= 1 << lots.below(8),
            1 if !octets.is_empty() => octets[place] = u8::try_from(lots.below(256)).expect("an octet"),
            2 => drop(octets.drain(place.min(end)..end)),
            3 => {
                let other = &requests[lots.below(requests.len())];
                let from = lots.below(other.len());
                let to = (from + lots.below(40)).min(other.len());
                octets.splice(place.min(octets.len())..place.min(octets.len()), other[from..to].iter().copied());
            }
            // A header that says how long it is, after all.
            4 if octets.len() >= 4 => {
                let length = u16::try_from(octets.len()).expect("a packet").to_be_bytes();
                octets[2..4].copy_from_slice(&length);
            }
            _ => octets.truncate(end),
        }
    }
    octets
}

/// Whether a router has sent this, as it is.
fn is_authentic(secret: &Secret, octets: &[u8]) -> bool {
    let Ok(packet) = Packet::parse(octets) else { return false };
    match packet.code() {
        code::ACCOUNTING_REQUEST => secret.check_request_authenticator(&packet),
        _ => secret.check_message_authenticator(&packet) == MessageAuthenticator::Good,
    }
}

/// One port under fire.
struct Front {
    socket: UdpSocket,
    requests: Vec<Vec<u8>>,
    /// The latest of each identifier.
    sent: Vec<Vec<Vec<u8>>>,
    answers: usize,
}

impl Front {
    fn new(target: SocketAddr, requests: Vec<Vec<u8>>) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket");
        socket.connect(target).expect("loopback");
        socket.set_nonblocking(true).expect("a socket");
        Self { socket, requests, sent: vec![Vec::new(); 256], answers: 0 }
    }

    fn fire(&mut self, lots: &mut Lots) {
        let octets = mutated(lots, &self.requests);
        let _ = self.socket.send(&octets);
        if let Some(identifier) = octets.get(1) {
            let latest = &mut self.sent[usize::from(*identifier)];
            if latest.len() == 64 {
                latest.remove(0);
            }
            latest.push(octets);
        }
    }

    /// Every answer must be that to something which its router has sent.
    fn look(&mut self, secret: &Secret) {
        let mut buffer = [0; Packet::MAX];
        while let Ok(length) = self.socket.recv(&mut buffer) {
            let reply = Packet::parse(&buffer[..length]).expect("an answer is a packet");
            let is_answered = |request: &&Vec<u8>| {
                let authenticator = request.get(4..).and_then(<[u8]>::first_chunk);
                authenticator.is_some_and(|authenticator| secret.check_response(&reply, authenticator))
            };
            // Several may have the same authenticator. Of one that so many came after, nothing is known any more.
            let mut answered = self.sent[usize::from(reply.identifier())].iter().filter(is_answered).peekable();
            if answered.peek().is_some() {
                assert!(answered.any(|request| is_authentic(secret, request)), "an answer to what no router sent");
                self.answers += 1;
            }
        }
    }
}

fn requests(hotspot: &Hotspot) -> [Vec<Vec<u8>>; 2] {
    let login = |guest: usize| {
        let (code, mac) = (tokens::code(guest), mac(guest));
        let request = match guest % 3 {
            0 => hotspot.access_request(&code, Password::Pap(&code), mac),
            1 => hotspot.access_request(&code, Password::Chap(&code), mac),
            _ => hotspot.access_request(&mac.to_string(), Password::Chap(""), mac),
        };
        request.expect("a request")
    };
    let record = |guest: usize| {
        let (code, name) = (tokens::code(guest), format!("{guest:08x}"));
        let status = [StatusType::Start, StatusType::InterimUpdate, StatusType::Stop][guest % 3];
        let record = Record { status, seconds: 60, ..Record::start(&code, mac(guest), &name, wall()) };
        hotspot.accounting_request(&record).expect("a request")
    };
    // Logins of codes that there are: wrong ones would close the router to all, as they should.
    [(0..GUESTS).map(login).collect(), (0..GUESTS * 2).map(record).collect()]
}

/// Datagrams that the system dropped since the daemon did not take them.
fn dropped(port: u16) -> u64 {
    let table = fs::read_to_string("/proc/net/udp").expect("/proc");
    let suffix = format!(":{port:04X}");
    let of = |line: &str| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        fields.get(1)?.ends_with(&suffix).then_some(fields.last()?.parse::<u64>().ok()?)
    };
    table.lines().filter_map(of).sum()
}

fn run(packets: usize) {
    table::part("hostile", &format!("{packets} packets that are nearly right, to both ports"));
    let folder = tempfile::tempdir_in("/var/tmp").expect("a folder");
    tokens::store(folder.path(), GUESTS, 3);
    let server = Server::spotgate(folder.path());
    let hotspot = Hotspot::new(server.auth, SECRET.as_bytes(), "front-desk");
    let code = tokens::code(0);
    let good = |number: usize| hotspot.access_request(&code, Password::Pap(&code), mac(number)).expect("a request");
    server.first_answer(server.auth, &good(0), code::ACCESS_ACCEPT, Duration::from_millis(200));
    let [logins, records] = requests(&hotspot);
    let mut fronts = [Front::new(server.auth, logins), Front::new(server.accounting, records)];
    let (secret, mut lots) = (Secret::new(SECRET.as_bytes()), Lots::default());
    let (begun, mut memory) = (load::now(), Vec::new());
    for number in 0..packets {
        fronts[number % 2].fire(&mut lots);
        if number % AT_ONCE == 0 {
            fronts.iter_mut().for_each(|front| front.look(&secret));
        }
        if number % (packets / 10).max(1) == 0 {
            memory.push(server.process().memory());
        }
    }
    pause(Duration::from_millis(500));
    fronts.iter_mut().for_each(|front| front.look(&secret));
    memory.push(server.process().memory());
    let lost = dropped(server.auth.port()) + dropped(server.accounting.port());
    server.first_answer(server.auth, &good(0), code::ACCESS_ACCEPT, Duration::from_secs(1));
    server.first_answer(server.accounting, &fronts[1].requests[1], code::ACCOUNTING_RESPONSE, Duration::from_secs(1));
    let early = memory.get(2).or(memory.last()).expect("a look").resident;
    let late = memory.last().expect("a look").resident;
    println!(
        "  in {}: {} answers, each to what a router sent; {lost} not taken in time; memory {} after a fifth, {} at the end",
        table::time(begun.elapsed()),
        fronts.iter().map(|front| front.answers).sum::<usize>(),
        table::megabytes(early),
        table::megabytes(late),
    );
    assert!(late < early + GROWTH, "it grows");
}

fn main() -> ExitCode {
    let (mut packets, mut benches) = (10_000_000, false);
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--bench" => benches = true,
            "--test" => {}
            "--packets" => packets = arguments.next().and_then(|number| number.parse().ok()).unwrap_or(packets),
            other => {
                println!("hostile: {other} is nothing known here\nusage: hostile [--packets N]");
                return ExitCode::FAILURE;
            }
        }
    }
    run(if benches { packets } else { 20_000 });
    ExitCode::SUCCESS
}
