//! The sandbox Nexudus: `/api/token` and `/api/spaces/accesstokens` as facts/nexudus.md describes them, with faults on
//! demand. For tests, for the demo, and for people who have no account.
//!
//! Beside the API it answers `POST /sandbox/fail {"mode": "500:3"}` (null: no fault), `POST /sandbox/latency
//! {"milliseconds": 100}` and `GET /sandbox/requests`.

mod accounts;
mod demo;
mod fail;
mod records;
mod server;

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use serde::Serialize;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

pub use accounts::{ClientIdIn, User};
pub use demo::{ELSEWHERE, HOME, demo_tokens};
pub use fail::{Fail, FailError, Mode, Often};

use self::accounts::Accounts;
use self::records::Records;
use crate::clock::Clock;
use crate::sandbox::listener as connections;

/// What the sandbox starts with.
#[derive(Clone, Debug)]
pub struct Options {
    /// Records; what they leave out is completed. What is no object is left out.
    pub tokens: Vec<Value>,
    /// Who may sign in.
    pub users: Vec<User>,
    /// Added to every answer.
    pub latency: Duration,
    /// Faults; of a call, the first that strikes is played.
    pub faults: Vec<Fail>,
    /// The only operation that faults strike, as [`Seen`] names it; none: every one.
    pub fail_only: Option<&'static str>,
    /// Whether lists are empty, whatever there is.
    pub lists_nothing: bool,
    /// A location whose lists fail.
    pub fails_at: Option<i64>,
    /// The status of those.
    pub fails_with: u16,
    /// Records that lists leave out.
    pub hides: Vec<i64>,
    /// By how much the length of a list that is told is wrong.
    pub total_off: i64,
    /// Records that may not be read by their ids.
    pub forbids: Vec<i64>,
    /// Whether lists leave out how long they are.
    pub no_totals: bool,
    /// Whether text filters match parts; exactly otherwise.
    pub contains: bool,
    /// Life of a bearer token.
    pub bearer_life: Duration,
    /// Calls in a minute before answers are `throttle_status`; none: no ceiling.
    pub requests_per_minute: Option<u32>,
    /// 409, as documented, or 429.
    pub throttle_status: u16,
    /// The `Retry-After` of the faults `409` and `429`.
    pub retry_after: String,
    /// Where the fault `redirect` points.
    pub redirect_to: String,
    /// How far its clock (`Date`) is ahead of the one it was given; negative: behind.
    pub skew: jiff::SignedDuration,
    /// Whether a written `MinutesLeft` sticks: pages disagree.
    pub minutes_left_writable: bool,
    /// Whether a written `LastAccess` sticks: pages disagree.
    pub last_access_writable: bool,
    /// The body of 401 and 403: JSON, a page if it begins with `<`, or nothing.
    pub refusal: String,
    /// Where `client_id` is read: pages disagree.
    pub client_id_in: ClientIdIn,
}

impl Default for Options {
    /// No tokens, the demo user, no faults.
    fn default() -> Self {
        Self {
            tokens: Vec::new(),
            users: vec![User::demo()],
            latency: Duration::ZERO,
            faults: Vec::new(),
            fail_only: None,
            lists_nothing: false,
            fails_at: None,
            fails_with: 500,
            hides: Vec::new(),
            total_off: 0,
            forbids: Vec::new(),
            no_totals: false,
            contains: false,
            bearer_life: Duration::from_secs(604_799),
            requests_per_minute: None,
            throttle_status: 409,
            retry_after: "1".to_owned(),
            redirect_to: "https://elsewhere.example".to_owned(),
            skew: jiff::SignedDuration::ZERO,
            minutes_left_writable: true,
            last_access_writable: true,
            refusal: String::new(),
            client_id_in: ClientIdIn::Either,
        }
    }
}

/// A call that the sandbox saw.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Seen {
    /// `sign_in`, `list`, `get`, `create`, `update`, `delete` or `other`.
    pub operation: &'static str,
    /// When it came.
    pub at: Timestamp,
    /// The answer's status; none: not answered (yet).
    pub status: Option<u16>,
}

/// A running sandbox; it stops when this is dropped.
#[derive(Debug)]
pub struct Sandbox {
    world: Arc<World>,
    address: SocketAddr,
    stop: CancellationToken,
}

#[derive(Debug)]
struct World {
    clock: Clock,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    options: Options,
    records: Records,
    accounts: Accounts,
    /// Calls of the last minute (monotonic).
    recent: VecDeque<Duration>,
    seen: Vec<Seen>,
}

impl World {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Sandbox {
    /// Serves on `listener` from a task of its own.
    pub fn start(listener: TcpListener, options: Options, clock: Clock) -> std::io::Result<Self> {
        let address = listener.local_addr()?;
        let now = clock.now();
        let mut records = Records::default();
        records.minutes_left_writable = options.minutes_left_writable;
        records.last_access_writable = options.last_access_writable;
        for token in &options.tokens {
            if let Value::Object(record) = token {
                records.put(record.clone(), now.wall);
            }
        }
        let accounts = Accounts::new(options.users.clone(), options.bearer_life);
        let state = State { options, records, accounts, recent: VecDeque::new(), seen: Vec::new() };
        let world = Arc::new(World { clock, state: Mutex::new(state) });
        let stop = CancellationToken::new();
        tokio::spawn(connections::serve(listener, server::router(Arc::clone(&world)), stop.clone()));
        Ok(Self { world, address, stop })
    }

    /// Serves on a free port of the loopback interface.
    pub async fn start_local(options: Options, clock: Clock) -> std::io::Result<Self> {
        Self::start(TcpListener::bind(("127.0.0.1", 0)).await?, options, clock)
    }

    /// Where it listens.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// What `source.nexudus.base_url` must be.
    #[must_use]
    pub fn base_url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Plays this fault from now on; none: no fault.
    pub fn set_fail(&self, fail: Option<Fail>) {
        self.set_faults(fail.into_iter().collect());
    }

    /// Plays these faults from now on: of a call, the first that strikes.
    pub fn set_faults(&self, faults: Vec<Fail>) {
        self.world.state().options.faults = faults;
    }

    /// Takes this long for every answer from now on.
    pub fn set_latency(&self, latency: Duration) {
        self.world.state().options.latency = latency;
    }

    /// Changes what it started with; users, tokens and the life of bearer tokens have methods of their own.
    pub fn change(&self, change: impl FnOnce(&mut Options)) {
        change(&mut self.world.state().options);
    }

    /// Changes the users.
    pub fn change_users(&self, change: impl FnOnce(&mut Vec<User>)) {
        change(&mut self.world.state().accounts.users);
    }

    /// Puts a record, completed, in place of the one with its id; answers the id, none if `token` is no object.
    pub fn put_token(&self, token: Value) -> Option<i64> {
        let now = self.world.clock.now().wall;
        let Value::Object(mut record) = token else { return None };
        if !record.contains_key("UpdatedOn") {
            record.insert(
                "UpdatedOn".to_owned(),
                Timestamp::from_second(now.as_second()).unwrap_or(now).to_string().into(),
            );
        }
        Some(self.world.state().records.put(record, now))
    }

    /// Changes a record in one step, as an admin does; whether there is one.
    pub fn edit_token(&self, id: i64, change: impl FnOnce(&mut serde_json::Map<String, Value>)) -> bool {
        let now = self.world.clock.now().wall;
        self.world.state().records.edit(id, change, now)
    }

    /// Puts a record exactly as it is, but for an id if it has none.
    pub fn put_raw(&self, token: Value) -> Option<i64> {
        let Value::Object(record) = token else { return None };
        Some(self.world.state().records.put_raw(record))
    }

    /// Deletes a record; whether there was one.
    pub fn delete_token(&self, id: i64) -> bool {
        self.world.state().records.delete(id)
    }

    /// The record as stored.
    #[must_use]
    pub fn token(&self, id: i64) -> Option<Value> {
        self.world.state().records.get(id).cloned().map(Value::Object)
    }

    /// Ends every bearer token, as if its time were over.
    pub fn expire_bearers(&self) {
        self.world.state().accounts.expire_bearers();
    }

    /// Ends every refresh token.
    pub fn expire_refreshes(&self) {
        self.world.state().accounts.expire_refreshes();
    }

    /// Every call so far, in order of arrival.
    #[must_use]
    pub fn requests(&self) -> Vec<Seen> {
        self.world.state().seen.clone()
    }

    /// Calls so far by operation.
    #[must_use]
    pub fn counts(&self) -> BTreeMap<&'static str, usize> {
        self.world.state().counts()
    }

    /// Calls of one operation so far.
    #[must_use]
    pub fn count(&self, operation: &str) -> usize {
        self.counts().get(operation).copied().unwrap_or(0)
    }

    /// Waits until it is stopped from elsewhere; for the command that runs nothing else.
    pub async fn wait(&self) {
        self.stop.cancelled().await;
    }
}

impl State {
    fn counts(&self) -> BTreeMap<&'static str, usize> {
        let mut counts = BTreeMap::new();
        for seen in &self.seen {
            *counts.entry(seen.operation).or_default() += 1;
        }
        counts
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

#[cfg(test)]
mod tests;
