//! Guests of one hotspot and the logins that their router sends.

use std::net::{SocketAddr, UdpSocket};
use std::time::Duration;

use spotgate::radius::attribute::{self as a, StatusType, TerminateCause, code};
use spotgate::radius::packet::Packet;
use spotgate::sandbox::hotspot::{Hotspot, Password, Record};

use crate::load::{self, Class, LANES, Parcel, SECRET, now};
use crate::server::pause;
use crate::tokens::{self, mac, wall};

/// How a guest proves who it is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Way {
    Pap,
    Chap,
    /// By its device's address alone.
    Mac,
}

/// Guests of one subject.
pub struct Guests {
    hotspot: Hotspot,
    way: Way,
    /// Who comes back.
    known: usize,
    /// Tokens in all; of those that are nobody's yet the next.
    tokens: usize,
    next: usize,
    /// The router's names for the latest sessions of those who come back.
    names: Vec<String>,
}

impl Guests {
    /// Of whom so many come back; there are so many tokens in all.
    pub fn new(way: Way, known: usize, tokens: usize) -> Self {
        let hotspot = Hotspot::new(([127, 0, 0, 1], 1812).into(), SECRET.as_bytes(), "front-desk");
        Self { hotspot, way, known, tokens, next: known, names: vec![String::new(); known] }
    }

    fn request(&self, guest: usize) -> Vec<u8> {
        let (code, mac) = (tokens::code(guest), mac(guest));
        let request = match self.way {
            Way::Pap => self.hotspot.access_request(&code, Password::Pap(&code), mac),
            Way::Chap => self.hotspot.access_request(&code, Password::Chap(&code), mac),
            Way::Mac => self.hotspot.access_request(&mac.to_string(), Password::Chap(""), mac),
        };
        request.expect("a request")
    }

    /// A login of each of the first `count` who come back.
    pub fn again(&mut self, count: usize, lanes: usize) -> Vec<Parcel> {
        let mut names = std::mem::take(&mut self.names);
        let parcels = deal(count.min(self.known), lanes, |guest| {
            let request = self.request(guest);
            let packet = Packet::parse(&request).expect("a packet");
            let name = packet.first(a::ACCT_SESSION_ID).and_then(a::text).expect("a session");
            name.clone_into(&mut names[guest]);
            request
        });
        self.names = names;
        parcels
    }

    /// The sessions that began by these answers to logins over so many lanes: each starts, and then stops.
    pub async fn come_and_go(&self, server: SocketAddr, lanes: usize, classes: &[Class]) {
        let at = wall();
        for status in [StatusType::Start, StatusType::Stop] {
            let parcels = deal(classes.len(), LANES, |session| {
                let (lane, number, class) = &classes[session];
                let guest = lane + number * lanes;
                let code = tokens::code(guest);
                let start = Record::start(&code, mac(guest), &self.names[guest], at);
                let cause = (status == StatusType::Stop).then_some(TerminateCause::USER_REQUEST);
                let record =
                    Record { status, cause, class: Some(class.as_slice()).filter(|class| !class.is_empty()), ..start };
                self.hotspot.accounting_request(&record).expect("a request")
            });
            load::run(server, parcels, 64, code::ACCOUNTING_RESPONSE, None).await;
        }
    }

    /// So many logins of codes that nobody has used yet, or as many as there are.
    pub fn first(&mut self, count: usize, lanes: usize) -> Vec<Parcel> {
        let (first, count) = (self.next, count.min(self.tokens - self.next));
        self.next += count;
        deal(count, lanes, |number| self.request(first + number))
    }

    /// Waits until the first guest is let in: the tokens have been read by then.
    pub fn until_known(&self, server: SocketAddr) {
        let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket");
        socket.connect(server).expect("loopback");
        socket.set_read_timeout(Some(Duration::from_secs(1))).expect("a patience");
        let (begun, mut buffer) = (now(), [0; Packet::MAX]);
        let way = Self::new(Way::Pap, self.known, self.tokens);
        while begun.elapsed() < Duration::from_secs(60) {
            let _ = socket.send(&way.request(0));
            if socket.recv(&mut buffer).is_ok() && buffer[0] == code::ACCESS_ACCEPT {
                return;
            }
            pause(Duration::from_millis(50));
        }
        panic!("nobody is let in");
    }

    /// Everybody logs in by code, comes and goes.
    pub async fn are_known(&mut self, auth: SocketAddr, accounting: SocketAddr) {
        let way = std::mem::replace(&mut self.way, Way::Pap);
        let outcome = load::run(auth, self.again(self.known, LANES), 64, code::ACCESS_ACCEPT, None).await;
        self.come_and_go(accounting, LANES, &outcome.classes).await;
        self.way = way;
    }
}

/// Deals requests out to lanes in turn. They are made lane by lane, since their identifiers are to count up in each.
fn deal(count: usize, lanes: usize, mut request: impl FnMut(usize) -> Vec<u8>) -> Vec<Parcel> {
    let lane = |lane: usize| {
        let mut parcel = Parcel::default();
        for number in (lane..count).step_by(lanes) {
            parcel.push(&request(number));
        }
        parcel
    };
    (0..lanes).map(lane).collect()
}
