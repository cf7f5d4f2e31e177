//! What strangers' octets are given to, and what must hold whatever they are. Run by cargo-fuzz (`tests/fuzz/Cargo.toml`), and with
//! mutations of the seeds by the tests (`tests/it/fuzz.rs`).

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "of tests")]

#[path = "../bench/login/world.rs"]
#[allow(dead_code, clippy::expect_used, reason = "shared")]
mod world;

#[path = "api.rs"]
mod api;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rusqlite::Connection;
use secrecy::SecretString;
use spotgate::clock::Clock;
use spotgate::config;
use spotgate::core::policy::Policy;
use spotgate::core::token::AccessToken;
use spotgate::ledger::{Ledger, Room};
use spotgate::portal::{badge, handover, opennds};
use spotgate::radius::attribute::{self as a, code};
use spotgate::radius::handle::{Arrival, Handled, Port};
use spotgate::radius::packet::{Packet, Request};
use spotgate::radius::radsec::frame::Inbox;
use spotgate::radius::secret::{MessageAuthenticator, Secret};
use spotgate::source::nexudus::{Signature, wire};

use world::{SECRET, World};

/// A target and its name.
pub type Target = (&'static str, fn(&[u8]));

/// Every target.
pub const ALL: [Target; 10] = [
    ("packet", packet),
    ("handler", handler),
    ("accounting", accounting),
    ("nexudus", nexudus),
    ("configuration", configuration),
    ("portal", portal),
    ("journal", journal),
    ("radsec", radsec),
    ("webhook", webhook),
    ("api", api),
];

/// A packet is read, or not; what is read is written as it came.
pub fn packet(octets: &[u8]) {
    let Ok(packet) = Packet::parse(octets) else { return };
    assert_eq!(packet.bytes(), &octets[..packet.bytes().len()]);
    let mut written = octets[..20].to_vec();
    for attribute in packet.attributes() {
        let length = u8::try_from(attribute.value.len() + 2).unwrap();
        written.extend([attribute.kind, length]);
        written.extend(attribute.value);
        let _ = (a::integer(attribute.value), a::text(attribute.value));
    }
    assert_eq!(written, packet.bytes(), "its attributes are all of it");
    let _ = (a::repeated(&packet), packet.vendor(14988).count());
    let secret = Secret::new(SECRET.as_bytes());
    let _ = secret.check_message_authenticator(&packet);
    if !code::authenticator_is_computed(packet.code()) {
        return;
    }
    // The same, signed, is taken for ours.
    let mut buffer = [0; Packet::MAX];
    let mut request = Request::new(&mut buffer, packet.code(), packet.identifier(), &[0; 16]);
    for attribute in packet.attributes().filter(|attribute| attribute.kind != a::MESSAGE_AUTHENTICATOR) {
        if request.attribute(attribute.kind, attribute.value).is_err() {
            return;
        }
    }
    let signed = request.sign(&secret).to_vec();
    let signed = Packet::parse(&signed).unwrap();
    assert!(secret.check_request_authenticator(&signed));
}

/// Takes what a fuzzer gives, piece by piece.
struct Pieces<'a>(&'a [u8]);

impl<'a> Pieces<'a> {
    fn octet(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
    }

    /// Two octets say how many follow; or as many as there are.
    fn octets(&mut self) -> Option<&'a [u8]> {
        let length = usize::from(u16::from_be_bytes([self.octet()?, self.octet()?]));
        let (octets, rest) = self.0.split_at(length.min(self.0.len()));
        self.0 = rest;
        Some(octets)
    }
}

/// Attributes of a packet that is signed as its router does; none: they are no attributes, or too many.
fn signed(kind: u8, identifier: u8, attributes: &[u8]) -> Option<Vec<u8>> {
    let mut octets = vec![kind, identifier];
    octets.extend(u16::try_from(20 + attributes.len()).ok()?.to_be_bytes());
    octets.extend([identifier; 16]);
    octets.extend(attributes);
    let unsigned = Packet::parse(&octets).ok()?;
    let mut buffer = [0; Packet::MAX];
    let mut request = Request::new(&mut buffer, kind, identifier, &[identifier; 16]);
    let is_access = kind == code::ACCESS_REQUEST;
    if is_access {
        request.attribute(a::MESSAGE_AUTHENTICATOR, &[0; 16]).ok()?;
    }
    for attribute in unsigned.attributes().filter(|attribute| attribute.kind != a::MESSAGE_AUTHENTICATOR) {
        request.attribute(attribute.kind, attribute.value).ok()?;
    }
    Some(request.sign(&Secret::new(SECRET.as_bytes())).to_vec())
}

/// Gives a packet to the daemon, and looks whether its answer is one that may go.
fn given(world: &World, port: Port, octets: &[u8]) {
    let from: SocketAddr = ([127, 0, 0, 1], 40_000).into();
    let client = world.live.clients.find(from.ip()).unwrap();
    let arrival = Arrival { client, port, from, octets };
    let mut buffer = [0; Packet::MAX];
    let handled = world.handler.handle(&world.live, &arrival, &world.recent, &mut buffer);
    let (Handled::Reply(reply) | Handled::Owed { reply, .. }) = handled else { return };
    let request = Packet::parse(octets).expect("what is answered is a packet");
    let secret = Secret::new(SECRET.as_bytes());
    let is_ours = match request.code() {
        code::ACCOUNTING_REQUEST => secret.check_request_authenticator(&request),
        // A router that never signed yet need not.
        _ => secret.check_message_authenticator(&request) != MessageAuthenticator::Bad,
    };
    assert!(is_ours, "what is signed by somebody else is not answered");
    let reply = Packet::parse(reply).expect("an answer is a packet");
    assert!(secret.check_response(&reply, request.authenticator()));
    assert_eq!(reply.identifier(), request.identifier());
    match request.code() {
        code::ACCESS_REQUEST => assert!(matches!(reply.code(), code::ACCESS_ACCEPT | code::ACCESS_REJECT)),
        code::ACCOUNTING_REQUEST => assert_eq!(reply.code(), code::ACCOUNTING_RESPONSE),
        code::STATUS_SERVER => {}
        other => panic!("a packet of the kind {other} is answered"),
    }
    for one in reply.attributes().filter(|attribute| attribute.kind == a::PROXY_STATE) {
        assert!(request.all(a::PROXY_STATE).any(|state| state == one.value), "a state of nobody");
    }
}

/// What holds of every account at any time.
fn all_is_well(world: &World) {
    let tokens = world.gate.ledger.tokens();
    assert!(tokens.len() <= TOKENS, "an account of no token");
    for token in tokens {
        let account = world.gate.ledger.account(token).unwrap();
        let mut names: Vec<_> = account.sessions().iter().map(|session| session.id).collect();
        names.extend(account.ended().iter().map(|ended| ended.session.id));
        let count = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), count, "a session stands twice");
    }
}

const TOKENS: usize = 8;

/// Packets as they come, and such that are signed, in any order, while time passes.
pub fn handler(octets: &[u8]) {
    let (world, mut pieces) = (world::world(TOKENS, 1, Ledger::default()), Pieces(octets));
    for _ in 0..64 {
        let Some(what) = pieces.octet() else { break };
        match what % 6 {
            0 => world.clock.advance(Duration::from_secs(u64::from(pieces.octet().unwrap_or_default()) * 30)),
            1 => {
                let room = &mut |_: &_| Room::Free;
                let _ = world.gate.ledger.due(&Policy::default(), world.clock.now().wall, room);
            }
            kind => {
                let Some(raw) = pieces.octets() else { break };
                let port = if kind % 2 == 0 { Port::Auth } else { Port::Accounting };
                if kind < 4 {
                    given(&world, port, raw);
                } else {
                    let code = if kind == 4 { code::ACCESS_REQUEST } else { code::ACCOUNTING_REQUEST };
                    if let Some(request) = signed(code, what, raw) {
                        given(&world, port, &request);
                        // Once more, it is answered as before.
                        given(&world, port, &request);
                    }
                }
            }
        }
    }
    all_is_well(&world);
}

/// Logins and what routers say of a few sessions, true or not, in any order, while time passes: what is counted was said.
pub fn accounting(octets: &[u8]) {
    use spotgate::radius::attribute::StatusType;
    use spotgate::sandbox::hotspot::{Hotspot, Password, Record};
    let (world, mut pieces) = (world::world(TOKENS, 1, Ledger::default()), Pieces(octets));
    let hotspot = Hotspot::new(([127, 0, 0, 1], 1812).into(), SECRET.as_bytes(), "desk-00000");
    let mut most = [0u64; TOKENS];
    for _ in 0..128 {
        let (Some(what), Some(which)) = (pieces.octet(), pieces.octet()) else { break };
        let (token, session) = (usize::from(which) % TOKENS, which / 64);
        let (code, device) = (world::code(token), world::mac(token * 4 + usize::from(session % 2)));
        let status = match what % 8 {
            0 => {
                world.clock.advance(Duration::from_secs(u64::from(which) * 60));
                let room = &mut |_: &_| Room::Free;
                let _ = world.gate.ledger.due(&Policy::default(), world.clock.now().wall, room);
                continue;
            }
            1 => {
                if let Ok(request) = hotspot.access_request(&code, Password::Pap(&code), device) {
                    given(&world, Port::Auth, &request);
                }
                continue;
            }
            2 => StatusType::Start,
            3 => StatusType::Stop,
            4 if which == 7 => StatusType::AccountingOn,
            _ => StatusType::InterimUpdate,
        };
        let seconds = u32::from(pieces.octet().unwrap_or_default()) * 60;
        most[token] += u64::from(seconds);
        let name = format!("{session:08x}");
        let record = Record { status, seconds, ..Record::start(&code, device, &name, world.clock.now().wall) };
        if let Ok(request) = hotspot.accounting_request(&record) {
            given(&world, Port::Accounting, &request);
        }
    }
    all_is_well(&world);
    for (token, most) in most.into_iter().enumerate() {
        let id = spotgate::core::ident::TokenId(i64::try_from(token).unwrap());
        let ended: u64 =
            world.gate.ledger.account(id).unwrap_or_default().ended().iter().map(|ended| ended.counts.0).sum();
        // A session that nothing was said of counts by the clock until it was given up.
        let by_clock = 128 * 255 * 60;
        assert!(ended <= most + by_clock, "{ended} s count of {most}");
    }
}

/// What Nexudus answers, or somebody in its place.
pub fn nexudus(octets: &[u8]) {
    let Ok(text) = std::str::from_utf8(octets) else { return };
    let zone = jiff::tz::TimeZone::UTC;
    let read = |json: &str| {
        let Ok(record) = wire::Record::parse(json) else { return };
        if let Ok(wire::Reading { token, .. }) = record.read(&zone) {
            let AccessToken { code, .. } = &token;
            assert!(!format!("{token:?}").contains(code.reveal()) || code.reveal().len() < 4, "a code that prints");
        }
    };
    read(text);
    let _ = wire::reported_failure(text);
    let _ = wire::List::parse(text);
    let _ = wire::List::parse_array_or_envelope(text);
}

/// A configuration: settings, or what is wrong and where.
pub fn configuration(octets: &[u8]) {
    let Ok(text) = std::str::from_utf8(octets) else { return };
    match config::from_str(text, "spotgate.toml".as_ref(), &|_| None) {
        Ok(loaded) => drop(spotgate::live::Live::new(loaded.settings)),
        Err(report) => assert!(!report.to_string().is_empty()),
    }
}

/// What a guest's browser says: the hotspot's link, what its form holds, badges.
pub fn portal(octets: &[u8]) {
    let text = String::from_utf8_lossy(octets);
    let (one, other) = text.split_once('\n').unwrap_or((&text, ""));
    if let Ok(link) = handover::LoginLink::parse(one, |host| host == "login.example.net") {
        let url = link.as_str();
        assert!(url.starts_with("http://login.example.net") || url.starts_with("https://login.example.net"), "{url}");
        let _ = (link.with_login(other, other, Some(other)), link.logout(), link.origins());
    }
    if let Ok(destination) = handover::Destination::parse(one) {
        assert!(destination.as_str().starts_with("http"), "no script, no file");
        let _ = (destination.host(), destination.is_probe(), destination.says(other));
    }
    if let Some(chap) = handover::Chap::parse(one, other) {
        assert_eq!(chap.response(one).len(), 32);
    }
    let _ = opennds::Hash::parse(one);
    let now = "2026-11-23T12:00:00Z".parse().unwrap();
    assert!(badge::Badge::read(one, &badge::Key::new([7; 32]), now).is_none(), "nobody else signs badges");
}

/// A journal of whatever is in it: it is read as far as it can be, and what cannot be is counted.
pub fn journal(octets: &[u8]) {
    let folder = tempfile::tempdir().unwrap();
    drop(Ledger::open(folder.path(), &Policy::default(), "2026-11-23T12:00:00Z".parse().unwrap()).unwrap());
    let mut pieces = Pieces(octets);
    let file = Connection::open(folder.path().join("ledger.db")).unwrap();
    for position in 1i64..64 {
        let (Some(what), Some(payload)) = (pieces.octet(), pieces.octets()) else { break };
        let token = i64::from(what / 4);
        let statement = match what % 4 {
            0 => "INSERT OR REPLACE INTO snapshot VALUES (?2, 0, ?3, x'')",
            1 => "INSERT OR REPLACE INTO snapshot VALUES (?2, 0, x'', ?3)",
            _ => "INSERT INTO journal VALUES (?1, ?2, 1790000000000, ?3)",
        };
        let _ = file.execute(
            statement,
            rusqlite::params_from_iter([rusqlite::types::Value::from(position), token.into(), payload.to_vec().into()]),
        );
    }
    drop(file);
    let (ledger, _) = Ledger::examine(folder.path(), &Policy::default()).unwrap();
    let now = Clock::manual("2026-11-24T12:00:00Z".parse().unwrap()).now().wall;
    let _ = ledger.due(&Policy::default(), now, &mut |_| Room::Free);
    let _ = ledger.count(&Policy::default(), now);
}

/// Octets of a RADIUS/TLS connection, in pieces of any length: what comes out is what went in.
pub fn radsec(octets: &[u8]) {
    let (mut inbox, mut pieces, mut poured, mut taken) =
        (Inbox::default(), Pieces(octets), Vec::<u8>::new(), Vec::<u8>::new());
    while let Some(mut some) = pieces.octets() {
        while !some.is_empty() {
            let free = inbox.free();
            let count = free.len().min(some.len());
            assert!(count > 0, "room for more once all is taken");
            free[..count].copy_from_slice(&some[..count]);
            inbox.put(count);
            poured.extend(&some[..count]);
            some = &some[count..];
            loop {
                match inbox.take() {
                    Ok(Some(packet)) => taken.extend(packet),
                    Ok(None) => break,
                    Err(_) => return,
                }
            }
        }
    }
    assert!(poured.starts_with(&taken));
}

/// A webhook: nobody signs for Nexudus.
pub fn webhook(octets: &[u8]) {
    let mut pieces = Pieces(octets);
    let (Some(header), body) = (pieces.octets(), pieces.0) else { return };
    let Some(signature) = Signature::parse(header) else { return };
    let _ = Arc::new(signature.fits(&SecretString::from("a secret of the space's"), body));
}

/// Requests to the API and the guests' pages.
pub fn api(octets: &[u8]) {
    api::api(octets);
}
