//! A hotspot router with guests on it, as its RADIUS server meets it: it admits, keeps time, accounts, and takes
//! orders. For tests and for the demo.
//!
//! It follows what is known of RouterOS 7. Where nothing certain is known, it assumes that
//!
//! * a Session-Timeout in a CoA-Request counts from the login; one that has passed already ends the session at once;
//!   0 takes the limit away, in a CoA-Request as in an Access-Accept;
//! * a Disconnect- or CoA-Request without Framed-IP-Address, or with neither User-Name nor Acct-Session-Id, is refused
//!   with Error-Cause 402, one that fits no session with 503; Message-Authenticator and Event-Timestamp are accepted;
//! * a device that logs in while it is online is reported as stopped with User-Request before it starts again;
//! * Port-Limit counts the other devices with the same User-Name; without it, one may be online;
//! * an Acct-Interim-Interval is taken as it comes, also below a minute;
//! * an interim record that is due when the session ends is not sent.

mod guests;
mod incoming;
mod life;
mod options;
mod quirks;
mod reports;
#[cfg(test)]
mod tests;
mod web;

use std::collections::VecDeque;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use jiff::Timestamp;
use tokio::net::UdpSocket;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;
use tokio_util::sync::{CancellationToken, DropGuard};

use self::guests::{Guest, Guests};
use self::reports::Report;
use crate::clock::Clock;
use crate::config::DisconnectStyle;
use crate::core::ident::Mac;
use crate::radius::attribute::TerminateCause;
use crate::radius::recent::Recent;
use crate::sandbox::hotspot::{Answer, Hotspot, HotspotError, Password};

pub use incoming::{Counts, Heard, Reaction};
pub use options::Options;
pub use quirks::{Lose, Quirks};
pub use reports::{Fate, Reported};
pub use web::{LoginBy, Pages, Profile, Web};

/// A running router; clones are the same router. All it does ends when the last of them is dropped.
#[derive(Clone)]
pub struct Router {
    shared: Arc<Shared>,
    _running: Arc<DropGuard>,
}

/// How a login went. That no answer came is a [`HotspotError`].
#[derive(Debug)]
#[must_use]
pub enum Login {
    /// The guest is online.
    Admitted(Admitted),
    /// The server refuses, in these words.
    Rejected(String),
    /// The router itself refuses, whatever the server says.
    Refused(Refusal),
}

/// A session that has begun.
#[derive(Debug)]
pub struct Admitted {
    /// Its Acct-Session-Id.
    pub session_id: String,
    /// Its Framed-IP-Address.
    pub address: Ipv4Addr,
    /// The Access-Accept.
    pub answer: Box<Answer>,
}

/// Why the router refuses (the keys of its errors.txt).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// `ippool-empty`: no address is left for the device.
    PoolEmpty,
    /// `user-session-limit`: as many others are online under this name as Port-Limit allows.
    UserSessionLimit,
    /// `wrong-mac-username`: a name that looks like a MAC address, but of another device.
    WrongMacUsername,
}

impl Login {
    /// The session, if one has begun.
    #[must_use]
    pub fn admitted(self) -> Option<Admitted> {
        match self {
            Self::Admitted(admitted) => Some(admitted),
            Self::Rejected(_) | Self::Refused(_) => None,
        }
    }
}

/// A guest that is online, as `/ip hotspot active` shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Online {
    /// The device.
    pub mac: Mac,
    /// The User-Name it logged in with.
    pub user_name: String,
    /// Acct-Session-Id.
    pub session_id: String,
    /// Framed-IP-Address.
    pub address: Ipv4Addr,
    /// When the session began.
    pub since: Timestamp,
    /// Seconds online.
    pub seconds: u32,
    /// Session-Timeout in force, in seconds.
    pub session_timeout: Option<u32>,
    /// Idle-Timeout in force, in seconds.
    pub idle_timeout: Option<u32>,
    /// Acct-Interim-Interval, in seconds.
    pub interim: Option<u32>,
    /// Octets from the guest.
    pub input: u64,
    /// Octets to the guest.
    pub output: u64,
}

/// What the router's tasks have in common.
struct Shared {
    hotspot: Hotspot,
    style: DisconnectStyle,
    clock: Clock,
    incoming: SocketAddr,
    /// When time began: tokio's, which a test can stop.
    start: Instant,
    state: Mutex<State>,
    /// Records to be sent, put in under the lock of the state, so that they are in its order.
    reports: mpsc::Sender<Report>,
    /// How many records are not yet answered or given up.
    under_way: watch::Sender<usize>,
    /// Told when who is online, or a deadline, may have changed.
    changed: watch::Sender<()>,
    stop: CancellationToken,
}

struct State {
    guests: Guests,
    quirks: Quirks,
    /// Cancelled when the power goes; none: it has gone.
    power: Option<CancellationToken>,
    /// Answers given on the incoming port.
    recent: Recent,
    incoming: Counts,
    heard: VecDeque<Heard>,
    reported: VecDeque<Reported>,
}

impl Router {
    /// How many entries [`Router::heard`] and [`Router::reported`] keep each: the last ones.
    pub const KEPT: usize = 1000;
    /// How many devices can be online.
    pub const CAPACITY: usize = Guests::CAPACITY;

    /// Takes orders from now on. Fails where the incoming address cannot be listened on.
    pub async fn start(options: Options) -> io::Result<Self> {
        let socket = UdpSocket::bind(options.incoming).await?;
        let stop = CancellationToken::new();
        let (reports, queue) = mpsc::channel(reports::QUEUE);
        let shared = Arc::new(Shared {
            hotspot: options.hotspot(),
            style: options.style,
            incoming: socket.local_addr()?,
            start: Instant::now(),
            state: Mutex::new(State::new(options.quirks, stop.child_token())),
            clock: options.clock,
            reports,
            under_way: watch::Sender::new(0),
            changed: watch::Sender::new(()),
            stop: stop.clone(),
        });
        tokio::spawn(reports::send_all(Arc::clone(&shared), queue));
        tokio::spawn(incoming::listen(Arc::clone(&shared), socket));
        tokio::spawn(life::keep_time(Arc::clone(&shared)));
        Ok(Self { shared, _running: Arc::new(stop.drop_guard()) })
    }

    /// Where it takes orders.
    #[must_use]
    pub fn incoming(&self) -> SocketAddr {
        self.shared.incoming
    }

    /// A guest types a code and a password; `login-by=http-pap`.
    pub async fn login(&self, code: &str, password: &str, mac: Mac) -> Result<Login, HotspotError> {
        self.shared.login(code, Password::Pap(password), mac).await
    }

    /// A guest types a code and a password; `login-by=http-chap`.
    pub async fn login_chap(&self, code: &str, password: &str, mac: Mac) -> Result<Login, HotspotError> {
        self.shared.login(code, Password::Chap(password), mac).await
    }

    /// A device appears; `login-by=mac`, which is CHAP over the empty password.
    pub async fn login_mac(&self, mac: Mac) -> Result<Login, HotspotError> {
        self.shared.login(&mac.to_string(), Password::Chap(""), mac).await
    }

    /// The guest logs out. Whether there was a session.
    pub fn logout(&self, mac: Mac) -> bool {
        self.end(mac, TerminateCause::USER_REQUEST)
    }

    /// The session ends for any cause: a lost lease, the radio. Whether there was one.
    pub fn end(&self, mac: Mac, cause: TerminateCause) -> bool {
        self.shared.end(&mut self.shared.state(), mac, cause)
    }

    /// The guest stops sending: the Idle-Timeout runs from now on. Whether there is a session.
    pub fn idle(&self, mac: Mac) -> bool {
        self.with_guest(mac, Guest::idle)
    }

    /// The guest sends again. Whether there is a session.
    pub fn busy(&self, mac: Mac) -> bool {
        self.with_guest(mac, Guest::busy)
    }

    /// Sets the octets from and to the guest, which then stay as they are; until then they grow with time. Whether
    /// there is a session.
    pub fn set_octets(&self, mac: Mac, input: u64, output: u64) -> bool {
        self.with_guest(mac, |guest, _| guest.set_octets((input, output)))
    }

    /// The power goes: sessions, leases and records under way vanish without a word, and nothing is answered until
    /// [`Router::boot`].
    pub fn lose_power(&self) {
        self.shared.state().lose_power();
        self.shared.changed.send_replace(());
    }

    /// The power comes, having gone if it had not: the boot counter of session ids goes on, their running number begins
    /// anew, and an Accounting-On is sent unless [`Quirks::silent_boot`].
    pub fn boot(&self) {
        let mut state = self.shared.state();
        state.lose_power();
        self.shared.hotspot.reboot();
        state.power = Some(self.shared.stop.child_token());
        if !state.quirks.silent_boot {
            self.shared.report_boot(&mut state);
        }
        self.shared.changed.send_replace(());
    }

    /// Who is online, in the order in which they came.
    #[must_use]
    pub fn sessions(&self) -> Vec<Online> {
        let (state, now) = (self.shared.state(), self.shared.now());
        let mut sessions: Vec<Online> = state.guests.iter().map(|guest| Online::of(guest, now)).collect();
        sessions.sort_unstable_by(|one, other| one.session_id.cmp(&other.session_id));
        sessions
    }

    /// The session of a device.
    #[must_use]
    pub fn session(&self, mac: Mac) -> Option<Online> {
        let state = self.shared.state();
        state.guests.get(mac).map(|guest| Online::of(guest, self.shared.now()))
    }

    /// Turns switches while it runs.
    pub fn change(&self, change: impl FnOnce(&mut Quirks)) {
        change(&mut self.shared.state().quirks);
    }

    /// What came to the incoming port and what was done, the last [`Router::KEPT`] in order of arrival.
    #[must_use]
    pub fn heard(&self) -> Vec<Heard> {
        self.shared.state().heard.iter().cloned().collect()
    }

    /// What came to the incoming port, counted like RouterOS does.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.shared.state().incoming
    }

    /// What became of accounting records, the last [`Router::KEPT`] in the order in which it was settled.
    #[must_use]
    pub fn reported(&self) -> Vec<Reported> {
        self.shared.state().reported.iter().cloned().collect()
    }

    /// Waits until the device is not online.
    pub async fn gone(&self, mac: Mac) {
        let mut changed = self.shared.changed.subscribe();
        while self.session(mac).is_some() {
            // cannot fail: the sender is ours
            let _ = changed.changed().await;
        }
    }

    /// Waits until every accounting record so far is answered or given up.
    pub async fn settled(&self) {
        // cannot fail: the sender is ours
        let _ = self.shared.under_way.subscribe().wait_for(|&records| records == 0).await;
    }

    fn with_guest(&self, mac: Mac, act: impl FnOnce(&mut Guest, Duration)) -> bool {
        let mut state = self.shared.state();
        let guest = state.guests.get_mut(mac);
        let found = guest.map(|guest| act(guest, self.shared.now())).is_some();
        self.shared.changed.send_replace(());
        found
    }
}

impl Online {
    fn of(guest: &Guest, now: Duration) -> Self {
        let (input, output) = guest.octets(now);
        Self {
            mac: guest.mac,
            user_name: guest.user_name.clone(),
            session_id: guest.session_id.clone(),
            address: guest.address,
            since: guest.since,
            seconds: guest.seconds(now),
            session_timeout: guest.session_timeout,
            idle_timeout: guest.idle_timeout,
            interim: guest.interim,
            input,
            output,
        }
    }
}
