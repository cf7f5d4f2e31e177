//! An open loop: requests leave by a timetable, whatever has been answered.

use std::net::{SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use spotgate::radius::attribute::CLASS;
use spotgate::radius::packet::Packet;
use spotgate::radius::secret::Secret;

use crate::floors::Floor;
use crate::guests::Way;
use crate::load::{Class, LANES, Parcel, SECRET, now, quantile};
use crate::rates::{Logins, Subject};
use crate::server::pause;
use crate::{Sizes, table};

/// How long each run is, unless there are fewer guests.
const PERIOD: Duration = Duration::from_secs(2);

/// How long answers are waited for after the last request.
const PATIENCE: Duration = Duration::from_millis(500);

/// What came of a run.
pub struct Paced {
    /// Sorted, in nanoseconds, from when each request was due.
    latencies: Vec<u64>,
    sent: usize,
    /// As [`crate::load::Outcome::classes`].
    classes: Vec<Class>,
}

/// How many there are in that time.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "some ten thousand")]
fn in_period(rate: f64) -> usize {
    (rate * PERIOD.as_secs_f64()) as usize
}

/// Sends what is in the parcels, in turn from each, so many a second.
fn paced(target: SocketAddr, parcels: &[Parcel], rate: f64, expected: Option<u8>) -> Paced {
    let sockets: Vec<UdpSocket> = parcels
        .iter()
        .map(|_| {
            let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket");
            socket.connect(target).expect("loopback");
            socket.set_nonblocking(true).expect("a socket");
            socket
        })
        .collect();
    let count: usize = parcels.iter().map(Parcel::len).sum();
    let due = |number: usize| Duration::from_secs_f64(f64::from(u32::try_from(number).expect("a count")) / rate);
    let (begun, ended) = (now(), AtomicBool::new(false));
    let secret = Secret::new(SECRET.as_bytes());
    let (latencies, classes) = std::thread::scope(|scope| {
        let taking = scope.spawn(|| take(&sockets, parcels, &secret, expected, begun, &ended, &due));
        let mut number = 0;
        while number < count {
            let elapsed = begun.elapsed();
            while number < count && due(number) <= elapsed {
                let request = parcels[number % parcels.len()].get(number / parcels.len()).expect("a request");
                let _ = sockets[number % sockets.len()].send(request);
                number += 1;
            }
            pause(Duration::from_micros(50));
        }
        pause(PATIENCE);
        ended.store(true, Ordering::Release);
        taking.join().expect("a thread that ends well")
    });
    Paced { latencies, sent: count, classes }
}

/// Takes answers until it has ended.
fn take(
    sockets: &[UdpSocket],
    parcels: &[Parcel],
    secret: &Secret,
    expected: Option<u8>,
    begun: Instant,
    ended: &AtomicBool,
    due: &impl Fn(usize) -> Duration,
) -> (Vec<u64>, Vec<Class>) {
    let (mut latencies, mut classes, mut buffer) = (Vec::new(), Vec::new(), [0; Packet::MAX]);
    // Of each lane, how many were due by now.
    let mut sent = vec![0usize; sockets.len()];
    while !ended.load(Ordering::Acquire) {
        let mut is_idle = true;
        for (lane, socket) in sockets.iter().enumerate() {
            while let Ok(length) = socket.recv(&mut buffer) {
                is_idle = false;
                let at = begun.elapsed();
                while sent[lane] < parcels[lane].len() && due(sent[lane] * sockets.len() + lane) <= at {
                    sent[lane] += 1;
                }
                let reply = Packet::parse(&buffer[..length]).expect("a packet");
                // The latest of this identifier: an answer that comes after 256 more requests of its lane is none.
                let is_of = |number: &usize| parcels[lane].get(*number).is_some_and(|it| it[1] == reply.identifier());
                let Some(number) = (sent[lane].saturating_sub(256)..sent[lane]).rev().find(is_of) else { continue };
                if let Some(expected) = expected {
                    let request = parcels[lane].get(number).expect("a request");
                    let authenticator = request[4..].first_chunk().expect("a header");
                    if !secret.check_response(&reply, authenticator) {
                        continue;
                    }
                    assert_eq!(reply.code(), expected);
                    classes.push((lane, number, reply.first(CLASS).unwrap_or_default().to_vec()));
                }
                let late = at.saturating_sub(due(number * sockets.len() + lane));
                latencies.push(u64::try_from(late.as_nanos()).expect("no century"));
            }
        }
        if is_idle {
            pause(Duration::from_micros(20));
        }
    }
    latencies.sort_unstable();
    (latencies, classes)
}

/// How often a second, if anything is to be learnt about latencies: one that nobody minds, and half of what spotgate does.
const QUIET: f64 = 1000.0;

pub async fn run(sizes: &Sizes) {
    let what = format!(
        "logins by a timetable, at most {} each, median of {} runs in turns (least–most)",
        table::time(PERIOD),
        sizes.rounds
    );
    table::part("latency", &what);
    let mut subjects = [
        Subject::floor(Floor::Signed, sizes.guests),
        Subject::spotgate("spotgate, again", sizes, Way::Pap, Logins::Again).await,
    ];
    let peak = subjects[1].measure(64, sizes.guests).await.rate;
    let mut rows =
        vec![table::row(&["logins/s", "subject", "p50", "p99", "p99.9", "unanswered", "p50 to echo", "p99 to echo"])];
    for rate in [QUIET, peak / 2.0] {
        let mut samples: Vec<Vec<Paced>> = subjects.iter().map(|_| Vec::new()).collect();
        for _ in 0..sizes.rounds {
            for (subject, taken) in subjects.iter_mut().zip(&mut samples) {
                let parcels = subject.parcels(in_period(rate), LANES);
                let run = paced(subject.server.auth, &parcels, rate, subject.expected());
                subject.go(LANES, &run.classes).await;
                taken.push(run);
            }
        }
        let of = |taken: &[Paced], share: f64| -> Vec<f64> {
            let latency = |run: &Paced| Duration::from_nanos(quantile(&run.latencies, share)).as_secs_f64();
            taken.iter().map(latency).collect()
        };
        let to_echo = |taken: &[Paced], share: f64| {
            format!("{:.2}", table::median(&of(taken, share)) / table::median(&of(&samples[0], share)))
        };
        for (subject, taken) in subjects.iter().zip(&samples) {
            let unanswered: usize = taken.iter().map(|run| run.sent - run.latencies.len()).sum();
            rows.push(vec![
                table::count(rate),
                subject.name.clone(),
                table::spread(&of(taken, 0.5), table::seconds),
                table::spread(&of(taken, 0.99), table::seconds),
                table::seconds(table::median(&of(taken, 0.999))),
                unanswered.to_string(),
                to_echo(taken, 0.5),
                to_echo(taken, 0.99),
            ]);
        }
    }
    table::print(&rows);
}
