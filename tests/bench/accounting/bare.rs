//! The floors, as processes of their own: this program again, with a hidden argument.
//!
//! Each says when it is ready, and ends when its standard input does.

use std::collections::VecDeque;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, UdpSocket};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use spotgate::journal::{Ack, Journal, Opened, Record};
use spotgate::radius::attribute::code;
use spotgate::radius::packet::{Packet, Reply};
use spotgate::radius::secret::Secret;
use tokio::runtime::{Builder, Runtime};

use crate::load::{SECRET, now, per_second, quantile};
use crate::rates::{Sample, each};
use crate::server::{Process, Server, cpu_of};
use crate::tokens::wall;

/// The argument by which this program is one of the floors.
pub const CHILD: &str = "--floor";

/// What [`journal`] writes: 256 in flight cannot outrun this in a second.
const AT_MOST: usize = 50_000_000;

/// Measures the bare journal.
pub fn journal(folder: &Path, in_flight: usize, payload: usize, period: Duration) -> Sample {
    let millis = period.as_millis().to_string();
    let (mut floor, mut lines) = start(folder, &["journal", &in_flight.to_string(), &payload.to_string(), &millis]);
    assert_eq!(lines.next().as_deref(), Some("ready"));
    let before = cpu_of(vec![floor.id()]);
    // It waits for this line.
    floor.child().stdin.as_mut().expect("its input").write_all(b"go\n").expect("a reader");
    let said = lines.next().expect("what was measured");
    let cpu = cpu_of(vec![floor.id()]) - before;
    let numbers: Vec<u64> = said.split(' ').map(|number| number.parse().expect("a number")).collect();
    let [count, elapsed, p50, p99] = numbers[..] else { panic!("{said}") };
    let count = usize::try_from(count).expect("a count");
    Sample {
        rate: per_second(count, Duration::from_nanos(elapsed)),
        cpu: each(cpu, count),
        p50: Duration::from_nanos(p50),
        p99: Duration::from_nanos(p99),
        repeated: 0,
    }
}

/// Starts the signed echo.
pub fn echo(folder: &Path, payload: usize) -> Server {
    let (floor, mut lines) = start(folder, &["echo", &payload.to_string()]);
    let accounting: SocketAddr = lines.next().expect("an address").parse().expect("an address");
    Server { processes: vec![floor], auth: accounting, accounting }
}

fn start(folder: &Path, arguments: &[&str]) -> (Process, impl Iterator<Item = String> + use<>) {
    let program = std::env::current_exe().expect("this program");
    let mut command = Command::new(program);
    command.arg(CHILD).arg(folder).args(arguments).stdout(Stdio::piped());
    let mut process = Process::start(&mut command, None);
    let lines = BufReader::new(process.child().stdout.take().expect("its output")).lines();
    (process, lines.map_while(Result::ok))
}

/// This program as a floor.
pub fn child(mut arguments: impl Iterator<Item = String>) {
    let folder = arguments.next().expect("a folder");
    let kind = arguments.next().expect("a kind");
    let numbers: Vec<usize> = arguments.map(|number| number.parse().expect("a number")).collect();
    let Opened { journal, .. } = Journal::open(folder.as_ref(), wall(), |_| {}).expect("a journal");
    let runtime = Builder::new_current_thread().build().expect("a runtime");
    match (kind.as_str(), &numbers[..]) {
        ("journal", &[in_flight, payload, millis]) => {
            fill(&journal, &runtime, in_flight, payload, Duration::from_millis(millis.try_into().expect("a time")));
        }
        ("echo", &[payload]) => serve(&journal, runtime, payload),
        _ => panic!("no such floor"),
    }
    let _ = std::io::stdin().read_to_end(&mut Vec::new());
    journal.close().expect("a journal that closes");
}

fn say(line: &str) {
    let mut output = std::io::stdout().lock();
    writeln!(output, "{line}").and_then(|()| output.flush()).expect("a reader");
}

fn record(number: usize, payload: usize) -> Record {
    let token = i64::try_from(number % 10_000).expect("a token");
    Record { token, at_ms: wall().as_millisecond(), payload: vec![b'x'; payload] }
}

/// Keeps so many records in flight for so long.
fn fill(journal: &Journal, runtime: &Runtime, in_flight: usize, payload: usize, period: Duration) {
    say("ready");
    let _ = std::io::stdin().lines().next();
    let mut under_way = VecDeque::with_capacity(in_flight);
    let mut latencies = Vec::new();
    let begun = now();
    for number in 0..AT_MOST {
        let moment = now();
        if moment - begun >= period {
            break;
        }
        under_way.push_back((moment, journal.append(record(number, payload)).expect("room")));
        if under_way.len() == in_flight {
            settle(under_way.pop_front(), runtime, &mut latencies);
        }
    }
    while !under_way.is_empty() {
        settle(under_way.pop_front(), runtime, &mut latencies);
    }
    let elapsed = begun.elapsed().as_nanos();
    latencies.sort_unstable();
    let count = latencies.len();
    say(&format!("{count} {elapsed} {} {}", quantile(&latencies, 0.5), quantile(&latencies, 0.99)));
}

fn settle(oldest: Option<(std::time::Instant, Ack)>, runtime: &Runtime, latencies: &mut Vec<u64>) {
    let (since, ack) = oldest.expect("one that is under way");
    runtime.block_on(ack).expect("a disk");
    latencies.push(u64::try_from(since.elapsed().as_nanos()).expect("no century"));
}

/// An answer that is owed.
struct Owed {
    reply: Vec<u8>,
    to: SocketAddr,
    ack: Ack,
}

/// Answers every authentic Accounting-Request once a record is on disk: one thread takes, one gives.
fn serve(journal: &Journal, runtime: Runtime, payload: usize) {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    // As much as spotgate asks for.
    socket2::SockRef::from(&socket).set_recv_buffer_size(4 << 20).expect("a queue");
    say(&socket.local_addr().expect("an address").to_string());
    let (owe, owed) = mpsc::channel::<Owed>();
    let sender = socket.try_clone().expect("the socket");
    std::thread::spawn(move || {
        for Owed { reply, to, ack } in owed {
            runtime.block_on(ack).expect("a disk");
            let _ = sender.send_to(&reply, to);
        }
    });
    let journal = journal.clone();
    std::thread::spawn(move || {
        let secret = Secret::new(SECRET.as_bytes());
        let (mut datagram, mut buffer) = ([0; Packet::MAX], [0; Packet::MAX]);
        for number in 0..AT_MOST {
            let Ok((length, to)) = socket.recv_from(&mut datagram) else { continue };
            let Ok(packet) = Packet::parse(&datagram[..length]) else { continue };
            if packet.code() != code::ACCOUNTING_REQUEST || !secret.check_request_authenticator(&packet) {
                continue;
            }
            let Ok(ack) = journal.append(record(number, payload)) else { continue };
            let reply = Reply::bare(&mut buffer, code::ACCOUNTING_RESPONSE, packet.identifier());
            let reply = reply.sign(&secret, packet.authenticator()).to_vec();
            if owe.send(Owed { reply, to, ack }).is_err() {
                return;
            }
        }
    });
}
