//! Connections without TLS and without a network, on tokio's clock, which stands still until everybody waits.

use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use rustls_pki_types::CertificateDer;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, yield_now};
use tokio::time::{Instant, sleep};

use super::connection::sweep;
use super::*;
use crate::catalogue::Catalogue;
use crate::clock::Clock;
use crate::config::{self, DisconnectStyle};
use crate::core::login::Claim;
use crate::gate::Supply;
use crate::radius::attribute::{self as a, code};
use crate::radius::clients::{Certified, Known, Learnt};
use crate::radius::disconnect::{Attributes, Order, Outcome, Subject, Unsendable};
use crate::radius::handle::OnLearnt;
use crate::radius::packet::{Packet, Reply, Request};
use crate::radius::recent::{Identity, Recent};
use crate::radius::secret::Secret;
use crate::source::{LookUp, Origin};
use crate::telemetry::metrics::Metrics;

const CONFIGURATION: &str = r#"
[source]
kind = "file"
path = "none.json"
[policy]
interim_interval = "1m"
[throttle]
nas_failures = 100000
[[nas]]
name = "front-desk"
address = "192.0.2.1"
secret = "correct horse battery"
[[nas]]
name = "rooms"
address = "10.5.0.0/16"
secret = "correct horse battery"
"#;

#[derive(Debug)]
struct Forget;

impl OnLearnt for Forget {
    fn learnt(&self, _: &Arc<Learnt>) {}
}

/// A source that answers nobody before it is let, and then that there is no such token.
#[derive(Clone)]
struct Gated {
    open: Arc<Semaphore>,
    asked: Arc<AtomicUsize>,
}

impl Origin for Gated {
    fn look_up<'a>(&'a self, _: &'a Claim) -> LookUp<'a> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        Box::pin(async move {
            self.open.acquire().await.unwrap().forget();
            Ok(Vec::new())
        })
    }
}

/// A peer without names.
struct Nameless;

impl Certified for Nameless {
    fn dns_names(&self) -> impl Iterator<Item = &str> {
        std::iter::empty()
    }

    fn has_ip(&self, _: IpAddr) -> bool {
        false
    }
}

struct World {
    shared: Arc<Shared>,
    live: watch::Sender<Arc<Live>>,
    source: Gated,
    stop: CancellationToken,
}

impl World {
    fn new(configuration: &str) -> Self {
        let settings = config::from_str(configuration, "spotgate.toml".as_ref(), &|_| None).unwrap().settings;
        let clock = Clock::manual("2026-11-23T12:00:00Z".parse().unwrap());
        let source = Gated { open: Arc::new(Semaphore::new(0)), asked: Arc::default() };
        let catalogue = Catalogue::new(&settings.cache, Some(Arc::new(source.clone())), false, clock.clone());
        let supply = Arc::new(Supply {
            catalogue: Arc::new(catalogue),
            health: Arc::default(),
            mirror: None,
            write_back: Arc::default(),
            hint: Arc::default(),
        });
        let gate = Arc::new(Gate::new(supply, Arc::default(), Arc::new(Metrics::default()), clock));
        let handler = Arc::new(Handler::new(Arc::clone(&gate), Arc::default(), Box::new(Forget)));
        let (live, current) = watch::channel(Arc::new(Live::new(settings).unwrap()));
        let shared = Shared::new(gate, handler, current, Arc::default(), TaskTracker::new());
        Self { shared: Arc::new(shared), live, source, stop: CancellationToken::new() }
    }

    fn known(&self, address: &str) -> Known {
        self.live.borrow().clients.over_tls(&Nameless, address.parse().unwrap()).unwrap()
    }

    /// A connection from here, and when and why it ends. So many octets fit between the two.
    fn connect(&self, from: &str, room: usize) -> (DuplexStream, JoinHandle<(Duration, End)>) {
        self.connect_with(Vec::new(), from, room)
    }

    /// The same, by a peer that has shown these certificates.
    fn connect_with(
        &self,
        chain: Vec<CertificateDer<'static>>,
        from: &str,
        room: usize,
    ) -> (DuplexStream, JoinHandle<(Duration, End)>) {
        let (near, far) = tokio::io::duplex(room);
        let peer = Peer { address: SocketAddr::new(from.parse().unwrap(), 40_000), chain };
        let (shared, known, stop) = (Arc::clone(&self.shared), self.known(from), self.stop.clone());
        let (live, begun) = (Arc::clone(&self.live.borrow()), Instant::now());
        let mut place = shared.places.enter(peer.address.ip());
        assert!(place.is_known(&known));
        let conversation = async move {
            let end = converse(far, &shared, peer, live, known, &place, &stop).await;
            (begun.elapsed(), end)
        };
        (near, tokio::spawn(conversation))
    }
}

/// A section for RadSec with files of its own, and a router's certificate that is valid until then.
fn certified(folder: &Path, (year, month, day): (i32, u8, u8)) -> (String, Vec<CertificateDer<'static>>) {
    let at = |name: &str| folder.join(name).display().to_string();
    let (ours, key) = (rcgen::KeyPair::generate().unwrap(), rcgen::KeyPair::generate().unwrap());
    let mut authority = rcgen::CertificateParams::new(Vec::new()).unwrap();
    authority.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    std::fs::write(at("a.pem"), authority.self_signed(&ours).unwrap().pem()).unwrap();
    std::fs::write(at("a.key"), ours.serialize_pem()).unwrap();
    let mut router = rcgen::CertificateParams::new(vec!["front-desk.example.org".to_owned()]).unwrap();
    router.not_after = rcgen::date_time_ymd(year, month, day);
    let router = router.signed_by(&key, &rcgen::Issuer::new(authority, ours)).unwrap();
    let section = format!(
        "[radius.radsec]\ncertificate = \"{0}\"\nprivate_key = \"{1}\"\nclient_ca = \"{0}\"\n",
        at("a.pem"),
        at("a.key")
    );
    (section, vec![router.der().clone()])
}

fn request(kind: u8, identifier: u8, mark: u8, attributes: &[(u8, &[u8])]) -> Vec<u8> {
    let mut buffer = [0; Packet::MAX];
    let mut request = Request::new(&mut buffer, kind, identifier, &[mark; 16]);
    request.message_authenticator().unwrap();
    for (kind, value) in attributes {
        request.attribute(*kind, value).unwrap();
    }
    request.sign(&Secret::new(b"radsec")).to_vec()
}

fn status(identifier: u8) -> Vec<u8> {
    request(code::STATUS_SERVER, identifier, identifier, &[])
}

async fn receive(near: &mut DuplexStream) -> Vec<u8> {
    let mut packet = vec![0; 4];
    near.read_exact(&mut packet).await.unwrap();
    packet.resize(usize::from(u16::from_be_bytes([packet[2], packet[3]])), 0);
    near.read_exact(&mut packet[4..]).await.unwrap();
    packet
}

/// Waits for goodbye and answers it.
async fn goodbye(mut near: DuplexStream) {
    near.read_to_end(&mut Vec::new()).await.unwrap();
}

const MINUTE: Duration = Duration::from_secs(60);

#[tokio::test(start_paused = true)]
async fn who_says_nothing_for_a_quarter_of_an_hour_is_let_go_and_a_watchdog_keeps_it() {
    let world = World::new(CONFIGURATION);
    let (mut near, end) = world.connect("192.0.2.1", 4096);
    for identifier in 0..5 {
        sleep(14 * MINUTE).await;
        near.write_all(&status(identifier)).await.unwrap();
        assert_eq!(receive(&mut near).await[..2], [code::ACCESS_ACCEPT, identifier]);
    }
    goodbye(near).await;
    assert_eq!(end.await.unwrap(), (5 * 14 * MINUTE + 15 * MINUTE, End::Idle));
    let world = World::new(&CONFIGURATION.replace("\"1m\"", "\"10m\""));
    let (near, end) = world.connect("192.0.2.1", 4096);
    goodbye(near).await;
    assert_eq!(end.await.unwrap(), (30 * MINUTE, End::Idle), "a session may be silent for three intervals");
}

#[tokio::test(start_paused = true)]
async fn a_packet_has_ten_seconds_from_its_first_octet_however_it_drips() {
    let world = World::new(CONFIGURATION);
    let (mut near, end) = world.connect("192.0.2.1", 4096);
    sleep(5 * MINUTE).await;
    for octet in status(1).iter().take(5) {
        let _ = near.write_all(&[*octet]).await;
        sleep(Duration::from_secs(3)).await;
    }
    assert_eq!(end.await.unwrap(), (5 * MINUTE + Duration::from_secs(10), End::Late));

    // One that is whole in time is answered, and the next has its own ten seconds.
    let (mut near, end) = world.connect("192.0.2.1", 4096);
    let (one, two) = (status(1), status(2));
    for part in [&one[..30], &[&one[30..], &two[..30]].concat(), &two[30..]] {
        sleep(Duration::from_secs(9)).await;
        near.write_all(part).await.unwrap();
    }
    assert_eq!((receive(&mut near).await[1], receive(&mut near).await[1]), (1, 2));
    drop(near);
    assert_eq!(end.await.unwrap().1, End::Left);
}

#[tokio::test(start_paused = true)]
async fn who_does_not_read_its_answers_is_cut() {
    let world = World::new(CONFIGURATION);
    let (mut near, end) = world.connect("192.0.2.1", 64);
    near.write_all(&status(1)).await.unwrap();
    near.write_all(&status(2)).await.unwrap();
    let (after, why) = end.await.unwrap();
    assert_eq!(why, End::Unread);
    assert!((10..12).contains(&after.as_secs()), "{after:?}");
}

#[tokio::test(start_paused = true)]
async fn so_many_requests_are_under_way_and_the_next_is_read_when_one_is_answered() {
    let world = World::new(CONFIGURATION);
    // Less than what is left over when no more is read.
    let (near, end) = world.connect("192.0.2.1", 64);
    let (mut reading, mut writing) = tokio::io::split(near);
    let requests: Vec<u8> = (0..1200u16)
        .flat_map(|number| {
            let [high, low] = number.to_be_bytes();
            let (name, device) = (format!("code-{number}"), format!("3C-06-30-AA-{high:02X}-{low:02X}"));
            let attributes = [(a::USER_NAME, name.as_bytes()), (a::CALLING_STATION_ID, device.as_bytes())];
            request(code::ACCESS_REQUEST, low, high, &attributes)
        })
        .collect();
    let writes = tokio::spawn(async move {
        writing.write_all(&requests).await.unwrap();
        writing
    });
    // Time passes only once everybody waits.
    sleep(Duration::from_millis(1)).await;
    assert_eq!(world.source.asked.load(Ordering::SeqCst), 512);
    assert!(!writes.is_finished(), "the peer is held back");
    world.source.open.add_permits(1);
    sleep(Duration::from_millis(1)).await;
    assert_eq!(world.source.asked.load(Ordering::SeqCst), 513);
    world.source.open.add_permits(10_000);
    let mut answers = Vec::new();
    let closes = async {
        let mut writing = writes.await.unwrap();
        writing.shutdown().await.unwrap();
    };
    let (read, ()) = tokio::join!(reading.read_to_end(&mut answers), closes);
    read.unwrap();
    assert!(!answers.is_empty());
    assert_eq!(end.await.unwrap().1, End::Left);
    assert_eq!(world.source.asked.load(Ordering::SeqCst), 1200);
}

#[tokio::test(start_paused = true)]
async fn on_a_stop_four_seconds_are_left_for_what_the_source_does_not_answer() {
    let world = World::new(CONFIGURATION);
    let (quiet, its_end) = world.connect("192.0.2.1", 4096);
    let (mut near, end) = world.connect("192.0.2.1", 4096);
    let attributes: [(u8, &[u8]); 2] = [(a::USER_NAME, b"code"), (a::CALLING_STATION_ID, b"3C-06-30-AA-00-01")];
    near.write_all(&request(code::ACCESS_REQUEST, 1, 1, &attributes)).await.unwrap();
    sleep(Duration::from_millis(1)).await;
    world.stop.cancel();
    tokio::join!(goodbye(near), goodbye(quiet));
    let (after, why) = end.await.unwrap();
    assert_eq!((after, why), (Duration::from_millis(4001), End::Stop));
    assert_eq!(its_end.await.unwrap(), (Duration::from_millis(1), End::Stop), "where nothing is owed, at once");
}

fn guest() -> Subject<'static> {
    Subject { nas_session: Some("80300001"), ..Subject::default() }
}

async fn tell(link: &Link) -> Outcome {
    let now = "2026-11-23T12:00:00Z".parse().unwrap();
    link.tell(DisconnectStyle::Rfc5176, &guest(), Order::Disconnect, Attributes::Full, now).await
}

fn acked(order: &[u8]) -> Vec<u8> {
    let order = Packet::parse(order).unwrap();
    let mut buffer = [0; Packet::MAX];
    let reply = Reply::bare(&mut buffer, code::DISCONNECT_ACK, order.identifier());
    reply.sign(&Secret::new(b"radsec"), order.authenticator()).to_vec()
}

#[tokio::test(start_paused = true)]
async fn an_order_waits_seven_seconds_is_sent_once_and_late_answers_meet_no_other() {
    let world = World::new(CONFIGURATION);
    let (mut near, _end) = world.connect("192.0.2.1", 65_536);
    yield_now().await;
    let link = world.shared.links.find(&NasName::new("front-desk"), None).unwrap();
    let begun = Instant::now();
    assert_eq!(tell(&link).await, Outcome::NoAnswer);
    assert_eq!(begun.elapsed(), Duration::from_secs(7));
    let late = receive(&mut near).await;
    near.write_all(&acked(&late)).await.unwrap();
    let second = {
        let link = Arc::clone(&link);
        tokio::spawn(async move { tell(&link).await })
    };
    let order = receive(&mut near).await;
    assert_ne!(order[1], late[1], "identifiers take turns");
    near.write_all(&acked(&late)).await.unwrap();
    near.write_all(&acked(&order)).await.unwrap();
    assert_eq!(second.await.unwrap(), Outcome::Ack);

    // As many as there are identifiers, and then no more.
    let orders: Vec<_> = (0..256)
        .map(|_| {
            let link = Arc::clone(&link);
            tokio::spawn(async move { tell(&link).await })
        })
        .collect();
    sleep(Duration::from_millis(1)).await;
    assert_eq!(tell(&link).await, Outcome::Unsendable(Unsendable::Socket(io::ErrorKind::QuotaExceeded)));
    for _ in 0..256 {
        let order = receive(&mut near).await;
        near.write_all(&acked(&order)).await.unwrap();
    }
    for order in orders {
        assert_eq!(order.await.unwrap(), Outcome::Ack);
    }
}

#[tokio::test(start_paused = true)]
async fn when_a_connection_ends_whoever_waits_knows_at_once_and_it_is_not_found_any_more() {
    let world = World::new(CONFIGURATION);
    let (near, end) = world.connect("192.0.2.1", 4096);
    yield_now().await;
    let link = world.shared.links.find(&NasName::new("front-desk"), None).unwrap();
    let waits = {
        let link = Arc::clone(&link);
        tokio::spawn(async move { (tell(&link).await, Instant::now()) })
    };
    sleep(Duration::from_millis(1)).await;
    let before = Instant::now();
    drop(near);
    assert_eq!(end.await.unwrap().1, End::Left);
    assert_eq!(waits.await.unwrap(), (Outcome::NoAnswer, before));
    assert!(world.shared.links.find(&NasName::new("front-desk"), None).is_none());
    assert_eq!(tell(&link).await, Outcome::Unsendable(Unsendable::Socket(io::ErrorKind::NotConnected)));
}

#[tokio::test(start_paused = true)]
async fn of_several_connections_the_newest_from_the_sessions_router_is_told() {
    let world = World::new(CONFIGURATION);
    let (rooms, desk) = (NasName::new("rooms"), NasName::new("front-desk"));
    let mut kept = Vec::new();
    for from in ["10.5.0.1", "10.5.0.2", "10.5.0.1", "192.0.2.1", "192.0.2.1"] {
        kept.push(world.connect(from, 4096));
        yield_now().await;
    }
    let all: Vec<_> = ["10.5.0.1", "10.5.0.2"]
        .map(|router| world.shared.links.find(&rooms, Some(router.parse().unwrap())).unwrap().peer().ip().to_string())
        .into();
    assert_eq!(all, ["10.5.0.1", "10.5.0.2"]);
    let newest = || world.shared.links.find(&rooms, Some([10, 5, 0, 1].into())).unwrap();
    let third = newest();
    // The third was the newer of two.
    drop(kept.remove(2));
    sleep(Duration::from_millis(1)).await;
    assert!(!Arc::ptr_eq(&third, &newest()));
    assert!(
        world.shared.links.find(&rooms, Some([10, 5, 0, 3].into())).is_none(),
        "in a network it would be another's"
    );
    assert!(world.shared.links.find(&rooms, None).is_none());
    assert!(world.shared.links.find(&desk, Some([198, 51, 100, 7].into())).is_some(), "of one router any will do");
    assert!(world.shared.links.find(&NasName::new("other"), None).is_none());
}

#[test]
fn a_port_may_be_listened_on_once_and_ipv6_stands_beside_ipv4() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let _guard = runtime.enter();
    let any = bind("0.0.0.0:0".parse().unwrap()).unwrap();
    let port = any.local_addr().unwrap().port();
    let again = bind(SocketAddr::from(([0, 0, 0, 0], port))).unwrap_err();
    assert_eq!(again.kind(), io::ErrorKind::AddrInUse);
    match bind(SocketAddr::from(([0u16; 8], port))) {
        Ok(_) => {}
        Err(error) => assert!(crate::serve::lacks_family(&error), "{error}"),
    }
}

#[tokio::test(start_paused = true)]
async fn requests_of_one_connection_are_no_repetitions_of_anothers() {
    let world = World::new(CONFIGURATION);
    let mut answers = Vec::new();
    for _ in 0..2 {
        let (mut near, _end) = world.connect("192.0.2.1", 4096);
        for _ in 0..2 {
            near.write_all(&status(9)).await.unwrap();
            answers.push(receive(&mut near).await);
        }
    }
    assert!(answers.windows(2).all(|pair| pair[0] == pair[1]));
    let text = world.shared.gate.metrics.text();
    let count = |result: &str| {
        let line = format!("kind=\"status_server\",result=\"{result}\"}} ");
        text.lines().find_map(|found| found.split_once(&line).map(|(_, count)| count.to_owned()))
    };
    assert_eq!((count("status").as_deref(), count("repeated").as_deref()), (Some("2"), Some("2")));
}

#[tokio::test(start_paused = true)]
async fn a_handshake_has_ten_seconds() {
    let folder = tempfile::tempdir().unwrap();
    let (section, _) = certified(folder.path(), (2100, 1, 1));
    let world = World::new(&format!("{CONFIGURATION}{section}"));
    let live = Arc::clone(&world.live.borrow());
    let (_near, far) = tokio::io::duplex(4096);
    let begun = Instant::now();
    let met = meet(far, "192.0.2.1:40000".parse().unwrap(), &live).await;
    assert_eq!(met.err(), Some(Stranger::Handshake("the handshake took too long")));
    assert_eq!(begun.elapsed(), Duration::from_secs(10));
}

#[tokio::test(start_paused = true)]
async fn a_connection_outlives_its_certificate_by_ten_minutes_at_most() {
    let folder = tempfile::tempdir().unwrap();
    let (section, chain) = certified(folder.path(), (2026, 11, 24));
    let world = World::new(&format!("{CONFIGURATION}{section}"));
    let (mut near, end) = world.connect_with(chain, "192.0.2.1", 4096);
    sleep(14 * MINUTE).await;
    world.shared.gate.clock.set("2026-11-24T00:00:01Z".parse().unwrap());
    near.write_all(&status(1)).await.unwrap();
    assert_eq!(receive(&mut near).await[..2], [code::ACCESS_ACCEPT, 1], "it was good when it was looked at last");
    goodbye(near).await;
    assert_eq!(end.await.unwrap(), (20 * MINUTE, End::Distrusted));
}

#[tokio::test(start_paused = true)]
async fn answers_go_when_their_time_is_over_though_nothing_comes() {
    let world = World::new(CONFIGURATION);
    let recent = Mutex::new(Recent::new(MINUTE, 8));
    let (octets, from) = (status(1), "192.0.2.1:40000".parse().unwrap());
    let packet = Packet::parse(&octets).unwrap();
    recent.lock().unwrap().see(from, &packet, Duration::ZERO);
    assert!(recent.lock().unwrap().answered(&Identity::of(from, &packet), b"yes", Duration::ZERO));
    let clock = &world.shared.gate.clock;
    for (passed, kept) in [(30, 1), (60, 0)] {
        clock.advance(Duration::from_secs(30));
        assert!(timeout(MINUTE, sweep(&recent, &world.shared)).await.is_err());
        assert_eq!(recent.lock().unwrap().len(), kept, "after {passed} s");
    }
}

#[tokio::test(start_paused = true)]
async fn who_gives_its_place_up_is_let_go_at_once() {
    let world = World::new(CONFIGURATION);
    let mut all: Vec<_> = (0..64).map(|_| world.connect("192.0.2.1", 4096)).collect();
    let (first, _) = &mut all[0];
    first.write_all(&status(1)).await.unwrap();
    assert_eq!(receive(first).await[..2], [code::ACCESS_ACCEPT, 1]);
    all.push(world.connect("192.0.2.1", 4096));
    let (near, end) = all.remove(1);
    goodbye(near).await;
    assert_eq!(end.await.unwrap(), (Duration::ZERO, End::Displaced));
    sleep(MINUTE).await;
    assert!(
        all.iter().all(|(_, end)| !end.is_finished()),
        "the others stay, also the one that is oldest and has spoken"
    );
}
