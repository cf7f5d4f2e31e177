//! What answering a packet costs in instructions and in allocations: figures that come out the same on every machine, and so can be
//! held to. Packet in to packet out, without sockets: parsing, checking, deciding, replying.
//!
//! ```sh
//! cargo bench --bench counted                      # as it is built for use
//! cargo test --bench counted                       # as it is built for tests: in CI
//! ```
//!
//! Instructions are those that callgrind (Debian: `valgrind`) counts in a run of so many packets, less those in a run of half as
//! many, with no journal. Allocations are the calling thread's, with a journal. Neither may grow beyond its bound below by more
//! than [`SLACK`], since hash tables are seeded by lot; what has become a tenth cheaper asks for a lower one.

#![expect(clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "a bench")]
#![allow(unreachable_pub, reason = "a binary")]

#[path = "login/world.rs"]
#[allow(dead_code, reason = "shared")]
mod world;

use std::hint::black_box;
use std::net::SocketAddr;
use std::process::{Command, ExitCode};

use spotgate::core::policy::Policy;
use spotgate::ledger::Ledger;
use spotgate::radius::attribute::{self as a, StatusType};
use spotgate::radius::handle::Port;
use spotgate::radius::packet::Packet;
use spotgate::sandbox::hotspot::{Hotspot, Password, Record};

use world::{Kind, SECRET, World, code, handle, mac, signed_echo};

/// The argument by which this program is told to answer packets.
const RUN: &str = "--run";

/// Packets of a run; half of them are what it is compared with.
const PACKETS: usize = 400;

/// Hundredths that a bound may be exceeded by.
const SLACK: u64 = 3;

/// What is counted, and its bounds: allocations of ten packets, instructions of one as it is built for tests, and for use.
const SUBJECTS: [(&str, u64, u64, u64); 7] = [
    ("signed echo", 0, 66_400, 9600),
    ("login, PAP", 85, 177_000, 23_900),
    ("login, CHAP", 85, 187_200, 24_800),
    ("login, MAC", 105, 202_200, 26_600),
    ("login repeated", 0, 46_600, 6700),
    ("unknown code", 108, 177_400, 25_200),
    ("Interim-Update", 72, 151_500, 18_100),
];

type Requests = Vec<(SocketAddr, Vec<u8>)>;

/// Packets of this subject, and the port for them.
fn requests(subject: &str, world: &World) -> (Port, Requests) {
    let kind = match subject {
        "login, CHAP" => Kind::Chap,
        "login, MAC" => Kind::Mac,
        _ => Kind::Pap,
    };
    let mut requests = world::requests(kind, PACKETS, PACKETS);
    let hotspot = Hotspot::new(([127, 0, 0, 1], 1812).into(), SECRET.as_bytes(), "front-desk");
    match subject {
        "login repeated" => {
            let first = requests[0].clone();
            handle(world, Port::Auth, first.0, &first.1, |_| ());
            requests.fill(first);
        }
        "unknown code" => {
            for (number, (_, datagram)) in requests.iter_mut().enumerate() {
                let code = format!("nobody-{number:05}");
                *datagram = hotspot.access_request(&code, Password::Pap(&code), mac(number)).expect("a request");
            }
        }
        "Interim-Update" => {
            for (number, (from, datagram)) in requests.iter_mut().enumerate() {
                let class = handle(world, Port::Auth, *from, datagram, |reply| {
                    Packet::parse(reply).expect("a packet").first(a::CLASS).expect("a Class").to_vec()
                });
                let token = number * 7 % PACKETS;
                let (code, name, at) = (code(token), format!("{number:08x}"), world.clock.now().wall);
                let record = Record {
                    status: StatusType::InterimUpdate,
                    class: Some(&class),
                    seconds: 1,
                    input: 5_000_000_000,
                    output: 1_000_000,
                    ..Record::start(&code, mac(token), &name, at)
                };
                *datagram = hotspot.accounting_request(&record).expect("a request");
            }
            return (Port::Accounting, requests);
        }
        _ => {}
    }
    (Port::Auth, requests)
}

fn answer(subject: &str, world: &World, port: Port, requests: &[(SocketAddr, Vec<u8>)]) {
    for (from, datagram) in requests {
        if subject == "signed echo" {
            let client = world.live.clients.find(from.ip()).expect("the NAS");
            black_box(signed_echo(client, datagram, &mut world.buffer.borrow_mut())).expect("an answer");
        } else {
            handle(world, port, *from, datagram, |reply| _ = black_box(reply[0]));
        }
    }
}

/// Allocations of ten packets.
fn allocations(subject: &str) -> u64 {
    let folder = tempfile::tempdir().expect("a folder");
    let now = "2026-11-23T12:00:00Z".parse().expect("a date");
    let ledger = Ledger::open(folder.path(), &Policy::default(), now).expect("a ledger").ledger;
    let world = world::world(PACKETS, 1, ledger);
    let (port, requests) = requests(subject, &world);
    // What grows now and then has grown.
    let (before, counted) = requests.split_at(PACKETS / 2);
    answer(subject, &world, port, before);
    let made = allocation_counter::measure(|| answer(subject, &world, port, counted)).count_total;
    (made * 10).div_ceil(counted.len() as u64)
}

/// Instructions of one packet.
fn instructions(subject: &str) -> u64 {
    let of = |packets: usize| -> u64 {
        let this = std::env::current_exe().expect("this program");
        let counted = Command::new("valgrind")
            .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
            .arg(this)
            .args([RUN, subject, &packets.to_string()])
            .output()
            .expect("valgrind (Debian: valgrind)");
        let said = String::from_utf8_lossy(&counted.stderr);
        let count = said.lines().find_map(|line| line.split_once("Collected : ")?.1.trim().parse().ok());
        count.filter(|_| counted.status.success()).unwrap_or_else(|| panic!("{said}"))
    };
    (of(PACKETS) - of(PACKETS / 2)) / (PACKETS as u64 / 2)
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [run, subject, packets] = arguments.as_slice()
        && run == RUN
    {
        let world = world::world(PACKETS, 1, Ledger::default());
        let (port, requests) = requests(subject, &world);
        answer(subject, &world, port, &requests[..packets.parse().expect("a number")]);
        return ExitCode::SUCCESS;
    }
    let mut holds = true;
    println!("{:<16}  {:>12}  {:>12}", "", "allocations", "instructions");
    for (subject, allocated, for_tests, for_use) in SUBJECTS {
        let bound = if cfg!(debug_assertions) { for_tests } else { for_use };
        let (made, executed) = (allocations(subject), instructions(subject));
        println!("{subject:<16}  {:>12.1}  {executed:>12}", made as f64 / 10.0);
        for (what, found, bound) in [("allocations of ten packets", made, allocated), ("instructions", executed, bound)]
        {
            if found > bound + bound * SLACK / 100 {
                println!("  more {what} than {bound}");
                holds = false;
            } else if found * 10 < bound * 9 {
                println!("  fewer {what} than {bound}, by more than a tenth: lower the bound");
            }
        }
    }
    if holds { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
