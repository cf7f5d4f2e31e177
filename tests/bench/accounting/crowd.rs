//! Guests of one hotspot, each with a token and a session of its own, and the requests that their router sends.

use jiff::Timestamp;
use spotgate::core::ident::{Mac, SessionId, TokenId};
use spotgate::radius::attribute::{self as a, StatusType, TerminateCause, code};
use spotgate::radius::auth;
use spotgate::radius::packet::Packet;
use spotgate::sandbox::hotspot::{Hotspot, Password, Record};

use crate::load::{self, LANES, Outcome, Parcel, SECRET};
use crate::server::Server;
use crate::tokens::{code, mac, wall};

/// Requests in flight where nothing is measured.
pub const BRISK: usize = 64;

pub struct Crowd {
    guests: Vec<Guest>,
    /// Interim-Updates so far, of all together.
    interims: usize,
}

struct Guest {
    code: String,
    mac: Mac,
    /// The router's name for the session.
    name: String,
    class: Vec<u8>,
}

fn hotspot() -> Hotspot {
    Hotspot::new(([127, 0, 0, 1], 1812).into(), SECRET.as_bytes(), "front-desk")
}

impl Crowd {
    /// Guests of whom no server has heard.
    pub fn of(count: usize) -> Self {
        let guest = |number: usize| Guest {
            code: code(number),
            mac: mac(number),
            name: format!("{:08x}", 0x8030_0000 + number),
            class: auth::class(SessionId::from_octets([7; 16]), TokenId(1)).to_vec(),
        };
        Self { guests: (0..count).map(guest).collect(), interims: 0 }
    }

    /// Guests that are let in and whose sessions have begun.
    pub async fn online(count: usize, server: &Server) -> Self {
        let mut crowd = Self::of(count);
        crowd.log_in(server).await;
        crowd.report(server, StatusType::Start, BRISK).await;
        crowd
    }

    /// Everybody logs in anew.
    pub async fn log_in(&mut self, server: &Server) -> Outcome {
        let (hotspot, count) = (hotspot(), self.guests.len());
        let parcels = parcels(count, LANES, |number| {
            let guest = &mut self.guests[number];
            let request = hotspot.access_request(&guest.code, Password::Pap(&guest.code), guest.mac);
            let request = request.expect("a request");
            let packet = Packet::parse(&request).expect("a packet");
            guest.name = packet.first(a::ACCT_SESSION_ID).and_then(a::text).expect("a session").to_owned();
            request
        });
        let outcome = load::run(server.auth, parcels, BRISK, code::ACCESS_ACCEPT, None).await;
        assert_eq!(outcome.answered, count);
        for (lane, number, class) in &outcome.classes {
            self.guests[lane + number * LANES].class.clone_from(class);
        }
        outcome
    }

    /// Everybody's session begins, or ends.
    pub async fn report(&self, server: &Server, status: StatusType, in_flight: usize) -> Outcome {
        let (hotspot, at) = (hotspot(), wall());
        let cause = (status == StatusType::Stop).then_some(TerminateCause::USER_REQUEST);
        let parcels = parcels(self.guests.len(), load::lanes(in_flight), |number| {
            let record = Record { status, cause, seconds: 60, ..self.guests[number].record(at) };
            hotspot.accounting_request(&record).expect("a request")
        });
        let outcome = load::run(server.accounting, parcels, in_flight, code::ACCOUNTING_RESPONSE, None).await;
        assert_eq!(outcome.answered, self.guests.len());
        outcome
    }

    /// So many Interim-Updates, everybody in turn, each later than the one before.
    pub fn interims(&mut self, count: usize, lanes: usize) -> Vec<Parcel> {
        let (hotspot, at, before) = (hotspot(), wall(), self.interims);
        self.interims += count;
        parcels(count, lanes, |number| {
            let (round, guest) = ((before + number) / self.guests.len(), (before + number) % self.guests.len());
            let seconds = u32::try_from(round + 1).expect("few rounds");
            let record = Record {
                status: StatusType::InterimUpdate,
                seconds,
                input: u64::from(seconds) * 90_000,
                output: u64::from(seconds) * 1_200_000,
                ..self.guests[guest].record(at)
            };
            hotspot.accounting_request(&record).expect("a request")
        })
    }
}

impl Guest {
    fn record(&self, at: Timestamp) -> Record<'_> {
        Record { class: Some(&self.class), ..Record::start(&self.code, self.mac, &self.name, at) }
    }
}

/// Deals requests out to lanes in turn. They are made lane by lane, since their identifiers are to count up in each.
fn parcels(count: usize, lanes: usize, mut request: impl FnMut(usize) -> Vec<u8>) -> Vec<Parcel> {
    let lane = |lane: usize| {
        let mut parcel = Parcel::default();
        for number in (lane..count).step_by(lanes) {
            parcel.push(&request(number));
        }
        parcel
    };
    (0..lanes).map(lane).collect()
}
