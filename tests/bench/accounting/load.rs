//! The generator: a closed loop over UDP. So many requests are in flight, and each answer lets the next one go.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use spotgate::radius::attribute::{self as a, code};
use spotgate::radius::packet::Packet;
use spotgate::radius::secret::Secret;
use tokio::net::UdpSocket;
use tokio::task::JoinSet;

/// The secret of every router here.
pub const SECRET: &str = "correct horse battery";

/// Sockets at most; what is in flight is spread over them.
pub const LANES: usize = 16;

/// How long an answer may take before its request is sent again, and how often.
const PATIENCE: Duration = Duration::from_secs(2);
const TRIES: usize = 10;

/// Requests for one socket, one after another in one piece of memory. Their identifiers count up.
#[derive(Default)]
pub struct Parcel {
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

impl Parcel {
    pub fn push(&mut self, request: &[u8]) {
        self.bytes.extend_from_slice(request);
        self.ends.push(self.bytes.len());
    }

    #[allow(dead_code, reason = "of the bench `logins`")]
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    pub fn get(&self, number: usize) -> Option<&[u8]> {
        let end = *self.ends.get(number)?;
        let start = number.checked_sub(1).map_or(0, |before| self.ends[before]);
        Some(&self.bytes[start..end])
    }
}

/// Of an Access-Accept its lane, its number there, and its Class; FreeRADIUS sends none.
pub type Class = (usize, usize, Vec<u8>);

/// What came of a run.
#[derive(Default)]
pub struct Outcome {
    /// Requests that were answered.
    pub answered: usize,
    /// From the first request to the last answer.
    pub elapsed: Duration,
    /// Sorted, in nanoseconds.
    pub latencies: Vec<u64>,
    /// How often a request had to be sent again.
    pub repeated: usize,
    pub classes: Vec<Class>,
}

impl Outcome {
    /// The latency that `share` of all answers do not exceed.
    pub fn latency(&self, share: f64) -> Duration {
        Duration::from_nanos(quantile(&self.latencies, share))
    }

    pub fn rate(&self) -> f64 {
        per_second(self.answered, self.elapsed)
    }
}

/// The value that `share` of the sorted ones do not exceed.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss, reason = "a rank")]
pub fn quantile(sorted: &[u64], share: f64) -> u64 {
    let rank = (sorted.len() as f64 * share).ceil() as usize;
    sorted.get(rank.saturating_sub(1)).copied().unwrap_or_default()
}

#[expect(clippy::cast_precision_loss, reason = "counts far below 2^52")]
pub fn per_second(count: usize, elapsed: Duration) -> f64 {
    count as f64 / elapsed.as_secs_f64()
}

#[expect(clippy::disallowed_methods, reason = "a bench measures time")]
pub fn now() -> Instant {
    Instant::now()
}

/// As many lanes as there are in flight, up to [`LANES`].
pub fn lanes(in_flight: usize) -> usize {
    in_flight.clamp(1, LANES)
}

/// Sends what is in the parcels, one for each lane, until all of it is answered; after `limit` nothing more is sent.
/// Every answer must have the code `expected`; if there is none, it may be anything that names its request.
pub async fn run(
    target: SocketAddr,
    parcels: Vec<Parcel>,
    in_flight: usize,
    expected: impl Into<Option<u8>>,
    limit: Option<Duration>,
) -> Outcome {
    let secret = Arc::new(Secret::new(SECRET.as_bytes()));
    let share = in_flight / parcels.len();
    let mut lanes = JoinSet::new();
    let (begun, expected) = (now(), expected.into());
    for (number, parcel) in parcels.into_iter().enumerate() {
        let socket = UdpSocket::bind("127.0.0.1:0").await.expect("a socket");
        socket.connect(target).await.expect("loopback");
        let lane = Lane {
            number,
            socket,
            parcel,
            share,
            expected,
            until: limit.map(|limit| begun + limit),
            secret: Arc::clone(&secret),
            waiting: [const { None }; 256],
            under_way: 0,
            next: 0,
            outcome: Outcome::default(),
        };
        lanes.spawn(lane.run());
    }
    let mut whole = Outcome::default();
    while let Some(lane) = lanes.join_next().await {
        let lane = lane.expect("a lane that ends well");
        whole.answered += lane.answered;
        whole.repeated += lane.repeated;
        whole.latencies.extend(lane.latencies);
        whole.classes.extend(lane.classes);
    }
    whole.elapsed = now() - begun;
    whole.latencies.sort_unstable();
    whole
}

/// One socket with its share of what is in flight.
struct Lane {
    number: usize,
    socket: UdpSocket,
    parcel: Parcel,
    share: usize,
    expected: Option<u8>,
    until: Option<Instant>,
    secret: Arc<Secret>,
    /// By identifier: which request waits, since when.
    waiting: [Option<(usize, Instant)>; 256],
    under_way: usize,
    next: usize,
    outcome: Outcome,
}

impl Lane {
    async fn run(mut self) -> Outcome {
        let mut buffer = [0; Packet::MAX];
        let mut stalls = 0;
        loop {
            self.fill().await;
            if self.under_way == 0 {
                return self.outcome;
            }
            if tokio::time::timeout(PATIENCE, self.socket.readable()).await.is_err() {
                stalls += 1;
                assert!(stalls < TRIES, "no answer to {} requests, however often they were sent", self.under_way);
                self.repeat().await;
                continue;
            }
            while self.under_way > 0 {
                match self.socket.try_recv(&mut buffer) {
                    Ok(length) => {
                        stalls = 0;
                        self.take(&buffer[..length]);
                        self.fill().await;
                    }
                    Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                    Err(error) => panic!("the server is gone: {error}"),
                }
            }
        }
    }

    /// Sends as many as are missing from the share.
    async fn fill(&mut self) {
        while self.under_way < self.share {
            let Some(request) = self.parcel.get(self.next) else { return };
            let place = &mut self.waiting[usize::from(request[1])];
            let now = now();
            // An identifier whose answer is late holds the lane up.
            if place.is_some() || self.until.is_some_and(|until| now >= until) {
                return;
            }
            *place = Some((self.next, now));
            self.socket.send(request).await.expect("loopback");
            self.under_way += 1;
            self.next += 1;
        }
    }

    async fn repeat(&mut self) {
        for (number, _) in self.waiting.iter().flatten() {
            let request = self.parcel.get(*number).expect("it was sent");
            self.socket.send(request).await.expect("loopback");
            self.outcome.repeated += 1;
        }
    }

    fn take(&mut self, datagram: &[u8]) {
        let reply = Packet::parse(datagram).expect("a packet");
        let Some((number, since)) = self.waiting[usize::from(reply.identifier())].take() else {
            assert!(self.outcome.repeated > 0, "an answer to nothing");
            return;
        };
        let request = self.parcel.get(number).expect("it was sent");
        let authenticator = request[4..].first_chunk().expect("a header");
        if let Some(expected) = self.expected {
            assert!(self.secret.check_response(&reply, authenticator), "an answer of somebody else");
            assert_eq!(reply.code(), expected, "{:?}", reply.first(a::REPLY_MESSAGE).and_then(a::text));
        }
        if reply.code() == code::ACCESS_ACCEPT {
            let class = reply.first(a::CLASS).unwrap_or_default().to_vec();
            self.outcome.classes.push((self.number, number, class));
        }
        let latency = u64::try_from(since.elapsed().as_nanos()).expect("no century");
        self.outcome.latencies.push(latency);
        self.outcome.answered += 1;
        self.under_way -= 1;
    }
}
