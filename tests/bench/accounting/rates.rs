//! Interim-Updates in a second, in turns with the floors and the peers.

use std::time::Duration;

use rusqlite::{Connection, OpenFlags};
use spotgate::radius::attribute::code;

use crate::crowd::Crowd;
use crate::server::Server;
use crate::{Sizes, bare, load, peers, table, tokens};

/// One measurement of one subject.
#[derive(Clone, Copy)]
pub struct Sample {
    pub rate: f64,
    /// Processor time for each record.
    pub cpu: Duration,
    pub p50: Duration,
    pub p99: Duration,
    pub repeated: usize,
}

/// A server that is measured.
struct Subject {
    name: &'static str,
    server: Server,
    crowd: Crowd,
    /// How fast it was last.
    pace: f64,
}

const IN_FLIGHT: [usize; 3] = [1, 16, 256];

const BARE: &str = "bare journal";

pub fn each(cpu: Duration, count: usize) -> Duration {
    cpu / u32::try_from(count).expect("a count").max(1)
}

impl Subject {
    /// Measures it for a while.
    async fn measure(&mut self, in_flight: usize, period: Duration) -> Sample {
        let count = requests(self.pace, period).max(in_flight * 4);
        let parcels = self.crowd.interims(count, load::lanes(in_flight));
        let before = self.server.cpu();
        let limit = Some(period);
        let outcome = load::run(self.server.accounting, parcels, in_flight, code::ACCOUNTING_RESPONSE, limit).await;
        let cpu = self.server.cpu() - before;
        self.pace = outcome.rate();
        Sample {
            rate: outcome.rate(),
            cpu: each(cpu, outcome.answered),
            p50: outcome.latency(0.5),
            p99: outcome.latency(0.99),
            repeated: outcome.repeated,
        }
    }
}

/// Requests to have at hand: more than can be answered.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a few hundred thousand")]
fn requests(pace: f64, period: Duration) -> usize {
    (pace * period.as_secs_f64() * 1.5) as usize
}

pub async fn run(sizes: &Sizes) {
    let sessions = table::count(f64::from(u32::try_from(sizes.crowd).expect("a count")));
    let what = format!(
        "Interim-Updates of {sessions} sessions, {} each, median of {} runs in turns (least–most)",
        table::time(sizes.period),
        sizes.rounds
    );
    table::part("rates", &what);
    let folder = tempfile::tempdir_in(&sizes.folder).expect("a folder");
    tokens::store(folder.path(), sizes.crowd, 1);
    let server = Server::spotgate(folder.path());
    let mut crowd = Crowd::online(sizes.crowd, &server).await;
    // Something to know the size of records from.
    let some = crowd.interims(64, 1);
    load::run(server.accounting, some, 16, code::ACCOUNTING_RESPONSE, None).await;
    let payload = payload(folder.path());
    println!("  a record holds {payload} octets");

    // Gone after the subjects.
    let mut kept = Vec::new();
    let echo_folder = tempfile::tempdir_in(&sizes.folder).expect("a folder");
    let echo = Subject {
        name: "signed echo",
        server: bare::echo(echo_folder.path(), payload),
        crowd: Crowd::of(sizes.crowd),
        pace: 1000.0,
    };
    let mut subjects = vec![Subject { name: "spotgate", server, crowd, pace: 1000.0 }, echo];
    if sizes.peers {
        for peer in [peers::sqlite(&sizes.folder), peers::postgresql(&sizes.folder)] {
            let crowd = Crowd::of(sizes.crowd);
            crowd.report(&peer.server, spotgate::radius::attribute::StatusType::Start, 256).await;
            subjects.push(Subject { name: peer.name, server: peer.server, crowd, pace: 1000.0 });
            kept.push(peer.folder);
        }
    }

    let mut rows = vec![table::row(&[
        "in flight",
        "subject",
        "records/s",
        "CPU for a record",
        "answered p50",
        "p99",
        "sent again",
        "CPU to bare",
        "CPU to echo",
    ])];
    for in_flight in IN_FLIGHT {
        let mut samples: Vec<(&'static str, Vec<Sample>)> = subjects.iter().map(|one| (one.name, vec![])).collect();
        samples.push((BARE, Vec::new()));
        for subject in &mut subjects {
            // To know its pace; and nothing is cold.
            subject.pace = 1000.0;
            subject.measure(in_flight, sizes.period / 4).await;
        }
        for _ in 0..sizes.rounds {
            for (subject, (_, taken)) in subjects.iter_mut().zip(&mut samples) {
                taken.push(subject.measure(in_flight, sizes.period).await);
            }
            let folder = tempfile::tempdir_in(&sizes.folder).expect("a folder");
            let bare = bare::journal(folder.path(), in_flight, payload, sizes.period);
            samples.last_mut().expect("the bare journal").1.push(bare);
        }
        let cpu_of = |name: &str| {
            let found = samples.iter().find(|(subject, _)| *subject == name);
            found.map(|(_, taken)| table::median(&seconds(taken, |sample| sample.cpu))).unwrap_or_default()
        };
        for (name, taken) in &samples {
            let cpu = seconds(taken, |sample| sample.cpu);
            let ratio = |floor: &str| format!("{:.2}", table::median(&cpu) / cpu_of(floor));
            let rates: Vec<f64> = taken.iter().map(|sample| sample.rate).collect();
            rows.push(vec![
                in_flight.to_string(),
                (*name).to_owned(),
                table::spread(&rates, table::count),
                table::spread(&cpu, table::seconds),
                table::seconds(table::median(&seconds(taken, |sample| sample.p50))),
                table::spread(&seconds(taken, |sample| sample.p99), table::seconds),
                taken.iter().map(|sample| sample.repeated).sum::<usize>().to_string(),
                ratio(BARE),
                ratio("signed echo"),
            ]);
        }
    }
    table::print(&rows);
}

fn seconds(samples: &[Sample], of: impl Fn(&Sample) -> Duration) -> Vec<f64> {
    samples.iter().map(|sample| of(sample).as_secs_f64()).collect()
}

/// How many octets the daemon writes down for an Interim-Update.
fn payload(folder: &std::path::Path) -> usize {
    let path = folder.join("state/ledger.db");
    let ledger = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY).expect("a ledger");
    let latest = "SELECT length(payload) FROM journal ORDER BY position DESC LIMIT 1";
    let octets: i64 = ledger.query_row(latest, [], |columns| columns.get(0)).expect("a record");
    octets.try_into().expect("a length")
}
