//! Logins in a second, in turns with the floors.

use std::path::Path;
use std::time::Duration;

use spotgate::radius::attribute::code;
use tempfile::TempDir;

use crate::floors::Floor;
use crate::guests::{Guests, Way};
use crate::load::{Class, Outcome};
use crate::peers::{self, Peer};
use crate::server::Server;
use crate::{Sizes, load, table, tokens};

/// What is asked of a subject.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Logins {
    Again,
    First,
}

/// A server that is measured.
pub struct Subject {
    pub name: String,
    pub server: Server,
    guests: Guests,
    logins: Logins,
    /// Its answers are none: what was sent comes back.
    echoes: bool,
    folder: Option<TempDir>,
}

/// Each starts one.
type Start = fn(&Path, usize) -> Peer;
const PEERS: [(&str, Start); 5] = [
    ("FreeRADIUS, null", |on, _| peers::null(on)),
    ("FreeRADIUS, files", peers::files),
    ("FreeRADIUS, cache and rest", peers::cache_and_rest),
    ("FreeRADIUS, SQLite", peers::sqlite),
    ("FreeRADIUS, PostgreSQL", peers::postgresql),
];

/// One measurement.
pub struct Sample {
    pub rate: f64,
    /// Processor time for each login.
    cpu: f64,
    p50: f64,
    p99: f64,
    repeated: usize,
}

impl Subject {
    pub fn floor(floor: Floor, guests: usize) -> Self {
        Self {
            name: floor.name().to_owned(),
            server: floor.start(),
            guests: Guests::new(Way::Pap, guests, guests),
            logins: Logins::Again,
            echoes: floor == Floor::Udp,
            folder: None,
        }
    }

    /// FreeRADIUS, whose guests come back.
    fn peer(name: &str, peer: Peer, guests: usize) -> Self {
        let Peer { server, folder } = peer;
        let guests = Guests::new(Way::Pap, guests, guests);
        Self { name: name.to_owned(), server, guests, logins: Logins::Again, echoes: false, folder: Some(folder) }
    }

    /// The daemon, with guests who were there before, and so many tokens that nobody has used.
    pub async fn spotgate(name: &str, sizes: &Sizes, way: Way, logins: Logins) -> Self {
        let unused = if logins == Logins::First { sizes.unused } else { 0 };
        let folder = tempfile::tempdir_in(&sizes.folder).expect("a folder");
        tokens::store(folder.path(), sizes.guests + unused, 3);
        let server = Server::spotgate(folder.path());
        let mut guests = Guests::new(way, sizes.guests, sizes.guests + unused);
        guests.until_known(server.auth);
        guests.are_known(server.auth, server.accounting).await;
        Self { name: name.to_owned(), server, guests, logins, echoes: false, folder: Some(folder) }
    }

    /// At most so many logins.
    pub fn parcels(&mut self, count: usize, lanes: usize) -> Vec<load::Parcel> {
        match self.logins {
            Logins::Again => self.guests.again(count, lanes),
            Logins::First => self.guests.first(count, lanes),
        }
    }

    pub const fn expected(&self) -> Option<u8> {
        if self.echoes { None } else { Some(code::ACCESS_ACCEPT) }
    }

    /// Who was let in goes again, where somebody knows it.
    pub async fn go(&self, lanes: usize, classes: &[Class]) {
        if self.folder.is_some() && self.logins == Logins::Again {
            self.guests.come_and_go(self.server.accounting, lanes, classes).await;
        }
    }

    /// Measures one login of each guest.
    pub async fn measure(&mut self, in_flight: usize, count: usize) -> Sample {
        let lanes = load::lanes(in_flight);
        let parcels = self.parcels(count, lanes);
        let before = self.server.cpu();
        let outcome = load::run(self.server.auth, parcels, in_flight, self.expected(), None).await;
        let sample = Sample::of(&outcome, self.server.cpu() - before);
        self.go(lanes, &outcome.classes).await;
        sample
    }
}

impl Sample {
    pub fn of(outcome: &Outcome, cpu: Duration) -> Self {
        let answered = u32::try_from(outcome.answered).expect("a count").max(1);
        Self {
            rate: outcome.rate(),
            cpu: cpu.as_secs_f64() / f64::from(answered),
            p50: outcome.latency(0.5).as_secs_f64(),
            p99: outcome.latency(0.99).as_secs_f64(),
            repeated: outcome.repeated,
        }
    }
}

pub async fn run(sizes: &Sizes) {
    let what = format!(
        "{} logins, median of {} runs in turns (least–most)",
        table::count(f64::from(u32::try_from(sizes.guests).expect("a count"))),
        sizes.rounds
    );
    table::part("rates", &what);
    let wanted = |name: &str| sizes.only.as_ref().is_none_or(|only| name.contains(only.as_str()));
    let mut subjects = Vec::new();
    for floor in [Floor::Udp, Floor::Signed].into_iter().filter(|floor| wanted(floor.name())) {
        subjects.push(Subject::floor(floor, sizes.guests));
    }
    for (name, way, logins) in [
        ("spotgate, again", Way::Pap, Logins::Again),
        ("spotgate, again, CHAP", Way::Chap, Logins::Again),
        ("spotgate, again, MAC", Way::Mac, Logins::Again),
        ("spotgate, first", Way::Pap, Logins::First),
    ] {
        if wanted(name) {
            subjects.push(Subject::spotgate(name, sizes, way, logins).await);
        }
    }
    for (name, start) in PEERS.into_iter().filter(|(name, _)| sizes.peers && wanted(name)) {
        let mut subject = Subject::peer(name, start(&sizes.folder, sizes.guests), sizes.guests);
        subject.guests.are_known(subject.server.auth, subject.server.accounting).await;
        subjects.push(subject);
    }
    let mut rows = vec![table::row(&[
        "in flight",
        "subject",
        "logins/s",
        "CPU for a login",
        "answered p50",
        "p99",
        "sent again",
        "rate to echo",
        "CPU to echo",
    ])];
    for in_flight in sizes.in_flight.iter().copied() {
        let mut samples: Vec<Vec<Sample>> = subjects.iter().map(|_| Vec::new()).collect();
        for subject in &mut subjects {
            // So that nothing is cold.
            subject.measure(in_flight, sizes.guests / 10).await;
        }
        for _ in 0..sizes.rounds {
            for (subject, taken) in subjects.iter_mut().zip(&mut samples) {
                taken.push(subject.measure(in_flight, sizes.guests).await);
            }
        }
        let of = |taken: &[Sample], which: fn(&Sample) -> f64| taken.iter().map(which).collect::<Vec<f64>>();
        let echo = subjects.iter().position(|subject| subject.name == Floor::Signed.name());
        let to_echo = |taken: &[Sample], which: fn(&Sample) -> f64| {
            let ratio = |echo: usize| table::median(&of(taken, which)) / table::median(&of(&samples[echo], which));
            echo.map(|echo| format!("{:.2}", ratio(echo))).unwrap_or_default()
        };
        for (subject, taken) in subjects.iter().zip(&samples) {
            rows.push(vec![
                in_flight.to_string(),
                subject.name.clone(),
                table::spread(&of(taken, |sample| sample.rate), table::count),
                table::spread(&of(taken, |sample| sample.cpu), table::seconds),
                table::seconds(table::median(&of(taken, |sample| sample.p50))),
                table::spread(&of(taken, |sample| sample.p99), table::seconds),
                taken.iter().map(|sample| sample.repeated).sum::<usize>().to_string(),
                to_echo(taken, |sample| sample.rate),
                to_echo(taken, |sample| sample.cpu),
            ]);
        }
    }
    table::print(&rows);
}
