//! Guests of one hotspot, spread over the daemons as routers are, and the requests that are made of them.

use std::net::SocketAddr;
use std::ops::Range;
use std::time::Duration;

use jiff::Timestamp;
use spotgate::core::ident::Mac;
use spotgate::radius::attribute::{self as a, StatusType, TerminateCause, code};
use spotgate::radius::packet::Packet;
use spotgate::sandbox::hotspot::{Hotspot, Password, Record};
use tokio::task::JoinSet;

use crate::load::{self, LANES, Outcome, Parcel, SECRET};
use crate::server::Server;
use crate::tokens::{code, mac, wall};

/// Guests of one subject, by lane: as routers do, a lane asks one daemon for all that its guests do.
pub struct Crowd {
    /// Their sessions last.
    live: Vec<Vec<Guest>>,
    /// Who was let in by the last run.
    fresh: Vec<Vec<Guest>>,
    /// The first token that is not of a live one, and the one after the last; who logs in takes the next, and once all were
    /// taken, the first again.
    tokens: Range<usize>,
    logins: usize,
    /// Interim-Updates of each lane so far.
    interims: usize,
}

struct Guest {
    code: String,
    mac: Mac,
    /// The router's name for the session.
    name: String,
    class: Vec<u8>,
}

/// After how long nothing more is sent; none: once everything was.
pub type Limit = Option<Duration>;

fn hotspot() -> Hotspot {
    Hotspot::new(([127, 0, 0, 1], 1812).into(), SECRET.as_bytes(), "front-desk")
}

impl Crowd {
    /// So many guests are let in whose sessions last, each with a token that nobody else takes; there are so many others.
    pub async fn online(servers: &[Server], live: usize, others: usize, in_flight: usize) -> Self {
        let mut crowd = Self { live: Vec::new(), fresh: Vec::new(), tokens: 0..live, logins: 0, interims: 0 };
        let requests = crowd.logins(live);
        let outcome = spread(&auth(servers), requests, in_flight, code::ACCESS_ACCEPT, None).await;
        assert_eq!(outcome.answered, live);
        crowd.are_in(&outcome);
        let starts = crowd.reports(StatusType::Start);
        spread(&accounting(servers), starts, in_flight, code::ACCOUNTING_RESPONSE, None).await;
        crowd.live = std::mem::take(&mut crowd.fresh);
        crowd.tokens = live..live + others;
        crowd
    }

    /// So many guests ask to be let in, each with the next token and a device that was never seen.
    pub fn logins(&mut self, count: usize) -> Vec<Parcel> {
        let hotspot = hotspot();
        self.fresh.clear();
        let lane = |lane| {
            let (mut parcel, mut guests) = (Parcel::default(), Vec::new());
            for login in (self.logins + lane..self.logins + count).step_by(LANES) {
                let code = code(self.tokens.start + login % self.tokens.len());
                let mac = mac(self.tokens.start + login);
                let request = hotspot.access_request(&code, Password::Pap(&code), mac).expect("a request");
                let packet = Packet::parse(&request).expect("a packet");
                let name = packet.first(a::ACCT_SESSION_ID).and_then(a::text).expect("a session").to_owned();
                parcel.push(&request);
                guests.push(Guest { code, mac, name, class: Vec::new() });
            }
            self.fresh.push(guests);
            parcel
        };
        (0..LANES).map(lane).collect()
    }

    /// Of those who asked last, these were let in: the first of each lane.
    pub fn are_in(&mut self, outcome: &Outcome) {
        let mut admitted = [0; LANES];
        for (lane, number, class) in &outcome.classes {
            self.fresh[*lane][*number].class.clone_from(class);
            admitted[*lane] += 1;
        }
        for (guests, admitted) in self.fresh.iter_mut().zip(admitted) {
            guests.truncate(admitted);
        }
        self.logins += admitted.into_iter().max().unwrap_or_default() * LANES;
    }

    /// The sessions of those who were let in last begin, or end.
    pub fn reports(&self, status: StatusType) -> Vec<Parcel> {
        let (hotspot, at) = (hotspot(), wall());
        let cause = (status == StatusType::Stop).then_some(TerminateCause::USER_REQUEST);
        let seconds = if status == StatusType::Stop { 60 } else { 0 };
        let lane = |guests: &Vec<Guest>| {
            let mut parcel = Parcel::default();
            for guest in guests {
                let record = Record { status, cause, seconds, ..guest.record(at) };
                parcel.push(&hotspot.accounting_request(&record).expect("a request"));
            }
            parcel
        };
        self.fresh.iter().map(lane).collect()
    }

    /// So many Interim-Updates of those whose sessions last, everybody in turn, each later than the one before.
    pub fn interims(&mut self, count: usize) -> Vec<Parcel> {
        let (hotspot, at, first) = (hotspot(), wall(), self.interims);
        self.interims += count / LANES;
        let lane = |guests: &Vec<Guest>| {
            let mut parcel = Parcel::default();
            for number in first..self.interims {
                let seconds = u32::try_from(number / guests.len() + 1).expect("few rounds");
                let record = Record {
                    status: StatusType::InterimUpdate,
                    seconds,
                    input: u64::from(seconds) * 90_000,
                    output: u64::from(seconds) * 1_200_000,
                    ..guests[number % guests.len()].record(at)
                };
                parcel.push(&hotspot.accounting_request(&record).expect("a request"));
            }
            parcel
        };
        self.live.iter().map(lane).collect()
    }
}

impl Guest {
    fn record(&self, at: Timestamp) -> Record<'_> {
        let class = (!self.class.is_empty()).then_some(self.class.as_slice());
        Record { class, ..Record::start(&self.code, self.mac, &self.name, at) }
    }
}

pub fn auth(servers: &[Server]) -> Vec<SocketAddr> {
    servers.iter().map(|server| server.auth).collect()
}

pub fn accounting(servers: &[Server]) -> Vec<SocketAddr> {
    servers.iter().map(|server| server.accounting).collect()
}

/// Sends each lane's requests to one server: those of the first lanes to the first, and so on.
pub async fn spread(to: &[SocketAddr], parcels: Vec<Parcel>, in_flight: usize, expected: u8, limit: Limit) -> Outcome {
    let (lanes, in_flight) = (LANES / to.len(), in_flight / to.len());
    let (mut parcels, mut runs) = (parcels.into_iter(), JoinSet::new());
    for (number, target) in to.iter().copied().enumerate() {
        let share: Vec<Parcel> = parcels.by_ref().take(lanes).collect();
        runs.spawn(async move { (number, load::run(target, share, in_flight, expected, limit).await) });
    }
    let mut whole = Outcome::default();
    while let Some(run) = runs.join_next().await {
        let (number, run) = run.expect("a run that ends well");
        whole.answered += run.answered;
        whole.repeated += run.repeated;
        whole.elapsed = whole.elapsed.max(run.elapsed);
        whole.latencies.extend(run.latencies);
        whole.classes.extend(run.classes.into_iter().map(|(lane, at, class)| (lane + number * lanes, at, class)));
    }
    whole.latencies.sort_unstable();
    whole
}
