//! A virtual day: a seed drives guests, routers, packets that are lost, repeated, late and out of order, reboots, power cuts
//! and the clock against the ledger as it is, and the truth that only routers know is held against the accounts.
//!
//! A seed that fails is printed; `SPOTGATE_DAY=SEED cargo test --lib -- ledger::day` lives it again, and
//! `SPOTGATE_DAYS=100000` lives more of them.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt;
use std::path::Path;
use std::time::Duration;

use super::*;
use crate::core::budget::Pool;
use crate::core::ending::{Ending, SESSION_CONTEXT_NOT_FOUND, Told};
use crate::core::login::{Claim, Login, Proof};
use crate::core::policy::{Counting, NasRules, OnUserLimit};
use crate::core::session::Report;
use crate::core::token::tests::token;

mod chain;
mod upstream;

use chain::Chain;
use upstream::{Source, Upstream};

/// Days lived by a plain `cargo test`.
const DAYS: u64 = 2000;

/// What a session's own end may take without being told: it is left to its router.
const ENDS_BY_ITSELF: u64 = 5;

/// Milliseconds since the day began.
type Moment = i64;

const SECOND: Moment = 1000;
const MINUTE: Moment = 60 * SECOND;

/// How long a router takes at most to notice that a device has gone (keepalive-timeout).
const NOTICED_WITHIN: Moment = 2 * MINUTE;

/// The times at which something may happen are spread by this generator: splitmix64.
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() % u64::try_from(bound.max(1)).unwrap()).unwrap()
    }

    fn between(&mut self, least: i64, most: i64) -> i64 {
        least + i64::try_from(self.next() % (most - least + 1).unsigned_abs()).unwrap()
    }

    /// So many times of a hundred.
    fn percent(&mut self, percent: u64) -> bool {
        self.next() % 100 < percent
    }

    fn one_of<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len())]
    }
}

/// What may go wrong in a day, each so many times of a hundred.
#[derive(Clone, Copy, Debug, Default)]
struct Weather {
    /// Packets lost, each way.
    lost: u64,
    /// Packets that come twice.
    twice: u64,
    /// The longest way of a packet.
    way: Moment,
    reboots: u64,
    power_cuts: u64,
    /// Lines to routers that are down for minutes.
    outages: u64,
    /// Orders to disconnect that routers do not heed.
    deaf: u64,
    /// Counters that make no sense.
    broken: u64,
    /// Routers that let sessions run on beyond their timeout.
    run_on: u64,
    /// Whether routers say which session is meant by our own name for it.
    class: bool,
}

/// Something that will happen.
#[derive(Clone, Copy, Debug)]
enum Coming {
    Guest(usize),
    Request(usize),
    Retry(usize),
    Accept { request: usize, id: SessionId, granted: u64 },
    Timeout(usize),
    Gone(usize),
    Interim(usize),
    Arrival(usize),
    Resend(usize),
    Settled { record: usize, written: usize },
    Disconnect { token: usize, id: SessionId, nas: usize, trial: u32 },
    Answer { token: usize, id: SessionId, told: Told, trial: u32 },
    Reboot(usize),
    Booted(usize),
    Outage(usize),
    PowerCut,
    PowerUp,
    Upstream(Upstream),
}

/// A hotspot router.
struct Router {
    rules: NasRules,
    boots: u32,
    count: u32,
    /// Whether it says that it began anew.
    announces: bool,
    /// Whether it says how long a record waited.
    tells_delay: bool,
    /// Whether it lets sessions run on beyond their timeout.
    runs_on: bool,
    down_until: Moment,
    cut_off_until: Moment,
}

impl Router {
    fn is_reached(&self, now: Moment) -> bool {
        now >= self.down_until && now >= self.cut_off_until
    }
}

/// A device asks to be let in.
struct Request {
    nas: usize,
    token: usize,
    device: Mac,
    name: String,
    asked: Moment,
    boots: u32,
    tries: u32,
    taken: bool,
}

/// A session as its router has it.
struct Real {
    nas: usize,
    token: usize,
    device: Mac,
    name: String,
    id: SessionId,
    began: Moment,
    granted: u64,
    /// What of it the ledger knows: all there may be, if it found the session by a report.
    known_grant: u64,
    runs_on: bool,
    ended: Option<Moment>,
    /// Whether its router forgot it, and reports nothing more.
    forgotten: bool,
    /// What was acknowledged.
    acked: u64,
    /// The highest that was taken in, and when that was said, and whether it was the end.
    heard: Option<(Moment, u64)>,
    stopped: bool,
    /// Whether it may have been closed as having run to its timeout.
    may_be_whole: bool,
    /// Whether its device went on elsewhere before its router knew that it had gone.
    left_behind: bool,
}

impl Real {
    fn seconds(&self, now: Moment) -> u64 {
        let millis = self.ended.unwrap_or(now).min(now) - self.began;
        let seconds = millis.max(0).unsigned_abs() / 1000;
        if self.runs_on { seconds } else { seconds.min(self.granted) }
    }

    /// What the ledger may believe of so many seconds: the grant and a minute.
    fn believed(&self, seconds: u64) -> u64 {
        seconds.min(self.known_grant + 60)
    }
}

/// What a router reports; none of a session: that it began anew.
struct Record {
    nas: usize,
    real: Option<usize>,
    news: News,
    seconds: u64,
    made: Moment,
    tries: u32,
    acked: bool,
}

/// What is known of a token from outside.
struct Watched {
    token: AccessToken,
    /// What may be used: its pool, and what nobody could prevent.
    bound: u64,
    source: Source,
}

struct Guest {
    device: Mac,
    tokens: Vec<usize>,
    online: Option<usize>,
}

struct Day {
    chance: Chance,
    weather: Weather,
    policy: Policy,
    now: Moment,
    ends: Moment,
    coming: BTreeMap<(Moment, u64), Coming>,
    sequence: u64,
    tokens: Vec<Watched>,
    routers: Vec<Router>,
    guests: Vec<Guest>,
    requests: Vec<Request>,
    reals: Vec<Real>,
    records: Vec<Record>,
    ledger: Ledger,
    /// The other daemons and their database, if there are several.
    chain: Option<Chain>,
    /// Where the journal is, if it is not a tape.
    folder: Option<tempfile::TempDir>,
    /// Whether the daemon runs, and how often it was started.
    up: bool,
    run: u32,
    /// Whether the source keeps the `LastAccess` that is written.
    keeps_last_access: bool,
    /// How often routers were told, and which answers are still awaited.
    trials: u32,
    awaited: HashMap<u32, usize>,
    /// What was decided since a daemon started, by daemon and request.
    decided: HashMap<(usize, usize), Option<(SessionId, u64)>>,
    /// When each part of the tape was written.
    wrote: Vec<Moment>,
    /// How much of the tape is known to be on disk.
    durable: usize,
    /// How an account stood when the tape was so long.
    stood: Vec<(usize, usize, Option<Account>)>,
    /// Sessions that were given up for gone or never known, and were not.
    came_back: HashSet<SessionId>,
    /// Sessions that were let in a second time: a daemon knows nothing of what another was asked.
    let_in_again: HashSet<SessionId>,
    /// What each account without accounting was let in for, since that is counted.
    admitted: HashMap<SessionId, (usize, u64, bool)>,
    steps: u64,
}

impl fmt::Debug for Day {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} s into the day, {:?}", self.now / 1000, self.weather)
    }
}

/// Says which seed it was, should the test end before its time.
struct Seed(u64);

impl Drop for Seed {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the day of seed {0} went wrong: SPOTGATE_DAY={0} cargo test --lib -- ledger::day", self.0);
        }
    }
}

fn midnight() -> Timestamp {
    Timestamp::from_second(1_763_856_000).unwrap()
}

fn at(moment: Moment) -> Timestamp {
    Timestamp::from_millisecond(midnight().as_millisecond() + moment).unwrap()
}

fn moment(at: Timestamp) -> Moment {
    at.as_millisecond() - midnight().as_millisecond()
}

fn mac(number: u64) -> Mac {
    let [.., a, b, c, d] = number.to_be_bytes();
    Mac::new([2, 0, a, b, c, d])
}

/// An account without what a restart forgets: how far telling a router has come.
fn steady(mut account: Account) -> Account {
    let sessions = account.sessions.iter_mut().chain(account.ended.iter_mut().map(|ended| &mut ended.session));
    for session in sessions {
        let tellable = session.contact.can_disconnect;
        session.ending =
            session.ending.take().map(|ending| Box::new(Ending::new(ending.cause, ending.since, tellable)));
    }
    account
}

fn code(token: usize) -> String {
    format!("code-{token}")
}

impl Day {
    fn new(seed: u64) -> Self {
        let mut chance = Chance(seed);
        let weather = match chance.below(4) {
            0 => Weather { way: 200, class: true, ..Weather::default() },
            1 => Weather { way: 2000, twice: 10, lost: 5, class: chance.percent(70), ..Weather::default() },
            2 => Weather {
                way: 3000,
                twice: 20,
                lost: 20,
                deaf: 20,
                reboots: 60,
                broken: chance.one_of(&[0, 3]),
                run_on: 20,
                class: true,
                ..Weather::default()
            },
            _ => Weather {
                way: 5000,
                twice: 20,
                lost: 30,
                deaf: 30,
                reboots: 60,
                power_cuts: 100,
                outages: 60,
                broken: chance.one_of(&[0, 0, 3]),
                run_on: 10,
                class: chance.percent(80),
            },
        };
        let policy = Policy {
            interim_interval: Seconds(chance.one_of(&[60, 120, 300])),
            missed_interims: chance.one_of(&[2, 3]),
            max_session: Seconds(chance.one_of(&[900, 3600, 86_400])),
            counting: if chance.percent(10) { Counting::Elapsed } else { Counting::Connected },
            on_user_limit: chance.one_of(&[OnUserLimit::Deny, OnUserLimit::Deny, OnUserLimit::ReplaceOldest]),
            ..Policy::default()
        };
        let crowd = chance.percent(8);
        let ends = if crowd { 60 * MINUTE } else { chance.between(40, 90) * MINUTE };
        let tokens = (0..3)
            .map(|number| {
                let valid_to = chance.percent(20).then(|| at(chance.between(10, 60) * MINUTE));
                let limit = if crowd && number == 0 { 14 } else { chance.between(1, 3) };
                let minutes = if crowd { 600 } else { chance.between(2, 40) };
                let (user_limit, minutes_left) = (limit.try_into().ok(), minutes.try_into().ok());
                let token = AccessToken { valid_to, user_limit, minutes_left, ..token(number, &code(0)) };
                let token =
                    AccessToken { code: Code::parse(&code(usize::try_from(number).unwrap())).unwrap(), ..token };
                let elapses = policy.counting == Counting::Elapsed;
                // Where the clock runs for all alike, devices do not draw from each other.
                let bound = if elapses { u64::MAX / 2 } else { minutes.unsigned_abs() * 60 };
                Watched { bound, token, source: Source::new(minutes) }
            })
            .collect();
        let kinds = [(true, true), (false, true), (true, true), (false, false), (true, false)];
        let count = chance.between(1, 3);
        let routers = (0..count)
            .map(|number| {
                let (can_disconnect, accounting) = chance.one_of(&kinds);
                let name = NasName::new(&format!("router-{number}"));
                Router {
                    rules: NasRules { name, businesses: Vec::new(), can_disconnect, can_extend: false, accounting },
                    boots: 0,
                    count: 0,
                    announces: chance.percent(60),
                    tells_delay: chance.percent(60),
                    runs_on: accounting && chance.percent(weather.run_on),
                    down_until: 0,
                    cut_off_until: 0,
                }
            })
            .collect();
        let guests = (0..if crowd { 14 } else { chance.between(2, 5) })
            .map(|number| Guest {
                device: mac(number.unsigned_abs()),
                tokens: if crowd { vec![0] } else { (0..chance.between(1, 2)).map(|_| chance.below(3)).collect() },
                online: None,
            })
            .collect();
        let ledger = Ledger::of_tape(Vec::new(), &policy);
        let keeps_last_access = chance.percent(70);
        let mut day = Self {
            chance,
            weather,
            policy,
            now: 0,
            ends,
            coming: BTreeMap::new(),
            sequence: 0,
            tokens,
            routers,
            guests,
            requests: Vec::new(),
            reals: Vec::new(),
            records: Vec::new(),
            ledger,
            chain: None,
            folder: None,
            up: true,
            run: 0,
            keeps_last_access,
            trials: 0,
            awaited: HashMap::new(),
            decided: HashMap::new(),
            wrote: Vec::new(),
            durable: 0,
            stood: Vec::new(),
            came_back: HashSet::new(),
            let_in_again: HashSet::new(),
            admitted: HashMap::new(),
            steps: 0,
        };
        for guest in 0..day.guests.len() {
            let begins = day.chance.between(0, if crowd { 3 } else { 20 } * MINUTE);
            day.comes(begins, Coming::Guest(guest));
        }
        for nas in 0..day.routers.len() {
            if day.chance.percent(weather.reboots) {
                let when = day.chance.between(0, ends);
                day.comes(when, Coming::Reboot(nas));
            }
            if day.chance.percent(if crowd { weather.outages.max(30) } else { weather.outages }) {
                let when = day.chance.between(0, ends);
                day.comes(when, Coming::Outage(nas));
            }
        }
        if day.chance.percent(weather.power_cuts) {
            for _ in 0..day.chance.between(1, 4) {
                let when = day.chance.between(0, ends);
                day.comes(when, Coming::PowerCut);
            }
        }
        day.writes_back();
        day
    }

    fn comes(&mut self, when: Moment, coming: Coming) {
        self.sequence += 1;
        self.coming.insert((when, self.sequence), coming);
    }

    /// Sends a packet: it may be lost, late, or come twice.
    fn send(&mut self, nas: usize, coming: Coming) {
        let router = &self.routers[nas];
        if !router.is_reached(self.now) || self.chance.percent(self.weather.lost) {
            return;
        }
        let copies = 1 + u32::from(self.chance.percent(self.weather.twice));
        for _ in 0..copies {
            let way = self.chance.between(1, self.weather.way);
            self.comes(self.now + way, coming);
        }
    }

    /// Lives the day to its end; how many things happened.
    fn live(mut self) -> u64 {
        self.happens_until(self.ends);
        self.evening();
        self.steps
    }

    /// Lets everything happen that comes by `end`.
    fn happens_until(&mut self, end: Moment) {
        loop {
            let next = self.coming.first_key_value().map(|((when, _), _)| *when).filter(|when| *when <= end);
            if self.watches_before(next.unwrap_or(end)) {
                continue;
            }
            let Some(((when, _), coming)) = next.and_then(|_| self.coming.pop_first()) else { break };
            self.pass_to(when);
            self.steps += 1;
            self.happens(coming);
        }
        self.pass_to(end);
    }

    /// Does what is due before `when`, at its time or up to a second late; whether anything was.
    fn watches_before(&mut self, when: Moment) -> bool {
        let Some(deadline) = self.due_first().filter(|_| self.up) else { return false };
        let late = if self.chance.percent(50) { 0 } else { self.chance.between(0, SECOND) };
        let then = moment(deadline).max(self.now) + late;
        if then > when {
            return false;
        }
        self.steps += 1;
        assert!(self.steps < 1_000_000, "{self:?}: something is due for ever");
        self.pass_to(then);
        self.watch();
        true
    }

    fn watch(&mut self) {
        let room = if self.chance.percent(10) { 1 } else { usize::MAX };
        let before = self.bounds();
        let mut left = room;
        let mut has_room = |_: &Session| {
            let has_room = left > 0;
            left = left.saturating_sub(1);
            if has_room { Room::Free } else { Room::Full }
        };
        let tells = self.ledger.due(&self.policy, at(self.now), &mut has_room);
        self.noted();
        self.kept_within(&before, "what is due is done");
        for Tell { token, session, claimed } in tells {
            if !self.holds(claimed) {
                // Another daemon tells it.
                continue;
            }
            let ending = session.ending.as_ref().unwrap_or_else(|| panic!("{self:?}: told for nothing"));
            assert!(session.contact.can_disconnect, "{self:?}: told though it cannot be");
            // Who was told to go, was given up for gone and comes back must go all the same.
            let drawn = self.policy.counting == Counting::Connected && !self.came_back.contains(&session.id);
            if drawn && ending.cause == Cause::UsedUp && ending.tries == 1 && ending.since == at(self.now) {
                let token = usize::try_from(token.0).unwrap();
                let gives = self.tokens[token].source.gives_as_seen();
                assert!(self.bound(token) >= gives || room == 1, "{self:?}: told to go before the pool was empty");
            }
            let nas = self.nas(&session.contact.nas);
            let token = usize::try_from(token.0).unwrap();
            self.trials += 1;
            let (id, told, trial) = (session.id, Told::Unanswered, self.trials);
            self.awaited.insert(trial, self.asked());
            self.comes(self.now + 5 * SECOND, Coming::Answer { token, id, told, trial });
            self.send(nas, Coming::Disconnect { token, id, nas, trial });
        }
    }

    fn nas(&self, name: &NasName) -> usize {
        self.routers.iter().position(|router| router.rules.name == *name).unwrap()
    }

    fn account(&self, token: usize) -> Account {
        self.truth(TokenId(i64::try_from(token).unwrap())).unwrap_or_default()
    }

    /// Looks at an account as it stands.
    fn look<T: Default>(&self, token: usize, at: impl FnOnce(&Account) -> T) -> T {
        let token = TokenId(i64::try_from(token).unwrap());
        self.truth(token).as_ref().map(at).unwrap_or_default()
    }

    /// What is used of a token, and what may come to be used without anybody being able to prevent it.
    fn bound(&self, token: usize) -> u64 {
        self.look(token, |account| bound(account, at(self.now)))
    }

    fn live_sessions(&self) -> HashSet<SessionId> {
        let of = |token| self.look(token, |account| account.sessions().iter().map(|session| session.id).collect());
        (0..self.tokens.len()).flat_map(|token| -> Vec<SessionId> { of(token) }).collect()
    }

    fn bounds(&self) -> Vec<u64> {
        (0..self.tokens.len()).map(|token| self.bound(token)).collect()
    }

    /// What happens now must not bring a token beyond its bound.
    fn kept_within(&self, before: &[u64], what: &str) {
        for (token, was) in before.iter().enumerate() {
            let (is, most) = (self.bound(token), self.tokens[token].bound.max(*was));
            assert!(is <= most, "{self:?}: {what}: token {token}: {is} s used and promised, of {most}");
        }
    }

    /// Nobody could prevent what happened now.
    fn excused(&mut self) {
        for token in 0..self.tokens.len() {
            self.tokens[token].bound = self.tokens[token].bound.max(self.bound(token));
        }
    }

    /// Time passes: only those who must go, or end by themselves, draw on an empty pool, but for a second each.
    fn pass_to(&mut self, when: Moment) {
        let (was, is) = (at(self.now), at(when.max(self.now)));
        for token in 0..self.tokens.len() {
            let (used, excused) = self.look(token, |account| {
                let more = |session: &Session| {
                    let (grows, rest) =
                        (session.used(is).less(session.used(was)).0, session.granted.less(session.used(was)).0);
                    let goes = session.ending.is_some() || rest <= ENDS_BY_ITSELF + 1 || !self.up;
                    if goes { grows } else { grows.min(ENDS_BY_ITSELF + 1) }
                };
                let told = account.sessions().iter().filter(|session| session.contact.can_disconnect);
                (bound(account, is), told.map(more).sum::<u64>())
            });
            let most = self.tokens[token].bound + excused;
            assert!(used <= most, "{self:?}: time passes: token {token}: {used} s used and promised, of {most}");
            self.tokens[token].bound = self.tokens[token].bound.max(used);
        }
        self.now = self.now.max(when);
    }

    /// Keeps book of what was written.
    fn noted(&mut self) {
        self.handed_on();
        let Book::Tape(tape) = &self.ledger.book else { return };
        let new: Vec<_> =
            lock(tape).iter().skip(self.wrote.len()).map(|part| part.first().map(|of| of.token)).collect();
        for (position, token) in new.iter().enumerate() {
            self.wrote.push(self.now);
            let Some(token) = token.and_then(|token| usize::try_from(token).ok()) else { continue };
            // Of several parts only the last left the account as it now stands.
            let last = new.iter().skip(position + 1).flatten().all(|later| usize::try_from(*later) != Ok(token));
            let account = last.then(|| steady(self.account(token)));
            self.stood.push((self.wrote.len(), token, account));
        }
    }

    fn happens(&mut self, coming: Coming) {
        match coming {
            Coming::Guest(guest) => self.guest(guest),
            Coming::Request(request) => self.request(request),
            Coming::Retry(request) => {
                let asked = &mut self.requests[request];
                if !asked.taken && asked.tries > 0 && self.routers[asked.nas].boots == asked.boots {
                    asked.tries -= 1;
                    let nas = asked.nas;
                    self.send(nas, Coming::Request(request));
                    self.comes(self.now + 3 * SECOND, Coming::Retry(request));
                }
            }
            Coming::Accept { request, id, granted } => self.accept(request, id, granted),
            Coming::Timeout(real) if self.reals[real].runs_on => {}
            Coming::Timeout(real) | Coming::Gone(real) => self.ends(real, self.now),
            Coming::Interim(real) => {
                if self.reals[real].ended.is_none() {
                    self.record(Some(real), News::Interim);
                    self.comes(self.now + self.interim(), Coming::Interim(real));
                }
            }
            Coming::Arrival(record) => self.arrival(record),
            Coming::Resend(record) => self.resend(record),
            Coming::Settled { record, written } => {
                if self.up && self.wrote.len() >= written {
                    self.durable = self.durable.max(written);
                    let Record { real, seconds, nas, .. } = self.records[record];
                    if let Some(real) = real
                        && seconds < u32::MAX.into()
                    {
                        let acked = &mut self.reals[real].acked;
                        *acked = (*acked).max(seconds);
                    }
                    if self.routers[nas].is_reached(self.now) && !self.chance.percent(self.weather.lost) {
                        self.records[record].acked = true;
                    }
                }
            }
            Coming::Disconnect { token, id, nas, trial } => self.disconnect(token, id, nas, trial),
            Coming::Answer { token, id, told, trial } => {
                if let Some(daemon) = self.awaited.remove(&trial) {
                    self.by(daemon);
                    let before = self.bounds();
                    let token = TokenId(i64::try_from(token).unwrap());
                    self.ledger.told(token, id, told, &self.policy, at(self.now));
                    self.noted();
                    self.kept_within(&before, "a router answered");
                }
            }
            Coming::Reboot(nas) => {
                for real in self.reals.iter_mut().filter(|real| real.nas == nas) {
                    real.ended.get_or_insert(self.now);
                    real.forgotten = true;
                }
                let takes = self.chance.between(10, 60) * SECOND;
                let router = &mut self.routers[nas];
                router.boots += 1;
                router.count = 0;
                router.down_until = self.now + takes;
                self.comes(self.now + takes, Coming::Booted(nas));
                if self.chance.percent(30) {
                    let next = self.chance.between(2, 30) * MINUTE;
                    self.comes(self.now + next, Coming::Reboot(nas));
                }
            }
            Coming::Booted(nas) => {
                let router = &self.routers[nas];
                if router.announces && router.rules.accounting {
                    self.record_of(nas, None, News::Start, 0);
                }
            }
            Coming::Outage(nas) => self.routers[nas].cut_off_until = self.now + self.chance.between(1, 25) * MINUTE,
            Coming::PowerCut => self.power_cut(),
            Coming::PowerUp => self.up = true,
            Coming::Upstream(step) => self.upstream(step),
        }
    }

    fn guest(&mut self, number: usize) {
        // Some come again at once, while what was said of them before is still under way.
        let next = if self.chance.percent(15) { self.chance.between(1, 10) } else { self.chance.between(20, 1200) };
        self.comes(self.now + next * SECOND, Coming::Guest(number));
        let online = self.guests[number].online.filter(|real| self.reals[*real].ended.is_none());
        if let Some(real) = online {
            match self.chance.below(4) {
                // Stays.
                0 => return,
                // Logs out.
                1 => {
                    self.ends(real, self.now);
                    return;
                }
                // Walks away, which its router finds out later; perhaps to another router.
                2 => {
                    let silence = self.chance.between(1, NOTICED_WITHIN);
                    self.comes(self.now + silence, Coming::Gone(real));
                    self.guests[number].online = None;
                    if self.chance.percent(50) {
                        return;
                    }
                }
                // Logs in again where it is.
                _ => {}
            }
        }
        if self.chance.percent(5) {
            self.guests[number].device = mac(self.chance.next() | 0x8000_0000);
        }
        let nas = self.chance.below(self.routers.len());
        let router = &mut self.routers[nas];
        if self.now < router.down_until {
            return;
        }
        let guest = &self.guests[number];
        let token = self.chance.one_of(&guest.tokens);
        let name = format!("8{:x}{:06x}", router.boots % 16, router.count);
        router.count += 1;
        let request = Request {
            nas,
            token,
            device: guest.device,
            name,
            asked: self.now,
            boots: router.boots,
            tries: 2,
            taken: false,
        };
        self.requests.push(request);
        let request = self.requests.len() - 1;
        self.send(nas, Coming::Request(request));
        self.comes(self.now + 3 * SECOND, Coming::Retry(request));
    }

    /// A login as the daemon sees it.
    fn request(&mut self, request: usize) {
        if !self.up {
            return;
        }
        // Of what another daemon was asked this one knows nothing.
        let asked = (self.by_any(), request);
        let decided = self.decided.get(&asked).copied();
        let answer = decided.unwrap_or_else(|| {
            let answer = self.decide(request);
            self.decided.insert(asked, answer);
            answer
        });
        if let Some((id, granted)) = answer {
            self.send(self.requests[request].nas, Coming::Accept { request, id, granted });
        }
    }

    fn decide(&mut self, request: usize) -> Option<(SessionId, u64)> {
        let Request { nas, token, device, name, .. } = &self.requests[request];
        let (nas, token) = (*nas, *token);
        let (text, name) = (code(token), name.clone());
        let login = login(&text, *device, nas, &name);
        let (rules, policy) = (self.routers[nas].rules.clone(), self.policy.clone());
        let question = Question { login: &login, nas: &rules, policy: &policy };
        let mut random = [0; 10];
        random[..8].copy_from_slice(&self.chance.next().to_be_bytes());
        let id = SessionId::new(at(self.now), random);
        let was = self.bound(token);
        let wanted = self.tokens[token].token.clone();
        let decision = self.admitted(&wanted, &question, id);
        self.knows(token, was);
        // Moments at which something is due are done first; a promise that cannot be taken back stays within the pool.
        let (is, most) = (self.bound(token), self.tokens[token].bound);
        assert!(is <= most, "{self:?}: a login: token {token}: {is} s used and promised, of {most}");
        let Decision::Allow(grant) = decision else { return None };
        let id = grant.renews.unwrap_or(id);
        self.let_in_again.extend(grant.renews);
        let account = self.account(token);
        let displaced = |session: &&Session| session.ending.as_ref().is_some_and(|end| end.cause == Cause::Displaced);
        let holding = account.sessions().iter().filter(|session| !displaced(session)).map(|session| session.device);
        let holding: HashSet<_> = holding.collect();
        let back = account.sessions().iter().filter(|session| self.came_back.contains(&session.id)).count();
        let limit = usize::try_from(self.tokens[token].token.user_limit(&self.policy)).unwrap();
        assert!(holding.len() <= limit + back, "{self:?}: token {token}: {} places of {limit}", holding.len());
        let mut due = account.due(&self.policy, at(self.now)).into_iter();
        let goes = due.any(|event| matches!(event, Event::Ending { session, .. } if session == id));
        assert!(!goes, "{self:?}: token {token}: {id} is let in, and told to go");
        let granted = grant.session_timeout.0;
        assert!(granted >= self.policy.min_session.0 && granted <= self.policy.max_session.0);
        let accounting = self.routers[nas].rules.accounting;
        self.admitted.entry(id).or_insert((token, 0, accounting)).1 += granted;
        // Let in once more, it may be on already.
        let known = account.sessions().iter().find(|session| session.id == id).map(|session| session.granted.0);
        for real in self.reals.iter_mut().filter(|real| real.id == id) {
            real.known_grant = real.known_grant.max(known.unwrap_or_default());
        }
        if self.chance.percent(self.weather.power_cuts / 10) {
            // Before it can be on disk.
            let soon = self.chance.between(1, SECOND);
            self.comes(self.now + soon, Coming::PowerCut);
        }
        Some((id, granted))
    }

    /// A device is let in by its router.
    fn accept(&mut self, request: usize, id: SessionId, granted: u64) {
        let asked = &mut self.requests[request];
        let nas = asked.nas;
        let late = self.now - asked.asked > 10 * SECOND;
        if asked.taken || late || self.routers[nas].boots != asked.boots || self.now < self.routers[nas].down_until {
            return;
        }
        asked.taken = true;
        let (token, device, name) = (asked.token, asked.device, asked.name.clone());
        for old in 0..self.reals.len() {
            if self.reals[old].ended.is_none() && self.reals[old].nas == nas && self.reals[old].device == device {
                self.ends(old, self.now);
            }
        }
        for old in 0..self.reals.len() {
            if self.reals[old].ended.is_none() && self.reals[old].device == device {
                let silence = self.chance.between(1, NOTICED_WITHIN);
                self.comes(self.now + silence, Coming::Gone(old));
                self.reals[old].left_behind = true;
            }
        }
        let real = self.reals.len();
        self.reals.push(Real {
            nas,
            token,
            device,
            name,
            id,
            began: self.now,
            granted,
            known_grant: granted,
            runs_on: self.routers[nas].runs_on,
            ended: None,
            forgotten: false,
            acked: 0,
            heard: None,
            stopped: false,
            may_be_whole: false,
            left_behind: false,
        });
        if let Some(guest) = self.guests.iter_mut().find(|guest| guest.device == device) {
            guest.online = Some(real);
        }
        self.comes(self.now + i64::try_from(granted).unwrap() * SECOND, Coming::Timeout(real));
        if self.routers[nas].rules.accounting {
            self.record(Some(real), News::Start);
            self.comes(self.now + self.interim(), Coming::Interim(real));
        }
    }

    fn interim(&self) -> Moment {
        i64::try_from(self.policy.interim_interval.0).unwrap() * SECOND
    }

    fn ends(&mut self, real: usize, when: Moment) {
        let ending = &mut self.reals[real];
        if ending.ended.is_some() {
            return;
        }
        ending.ended = Some(when);
        if self.routers[ending.nas].rules.accounting {
            self.record(Some(real), News::Stop);
        }
    }

    fn record(&mut self, real: Option<usize>, news: News) {
        let Some(number) = real else { return };
        let broken = news == News::Interim && self.chance.percent(self.weather.broken);
        let seconds = match news {
            News::Start => 0,
            _ if broken => u32::MAX.into(),
            _ => self.reals[number].seconds(self.now),
        };
        self.record_of(self.reals[number].nas, real, news, seconds);
    }

    fn record_of(&mut self, nas: usize, real: Option<usize>, news: News, seconds: u64) {
        let tries = self.chance.one_of(&[2, 3, 5]);
        self.records.push(Record { nas, real, news, seconds, made: self.now, tries, acked: false });
        self.resend(self.records.len() - 1);
    }

    fn resend(&mut self, record: usize) {
        let Record { nas, real, acked, tries, .. } = &mut self.records[record];
        if *acked || *tries == 0 || real.is_some_and(|real| self.reals[real].forgotten) {
            return;
        }
        *tries -= 1;
        let nas = *nas;
        self.send(nas, Coming::Arrival(record));
        let pause = self.chance.between(1, 4) * SECOND;
        self.comes(self.now + pause, Coming::Resend(record));
    }

    /// A record as the daemon sees it.
    fn arrival(&mut self, number: usize) {
        if !self.up {
            return;
        }
        self.by_any();
        let record = &self.records[number];
        let nas = record.nas;
        let Some(real) = record.real else {
            let before = self.bounds();
            let (_, written) = self.ledger.restarted(
                &self.routers[nas].rules.name,
                Some(address(nas)),
                at(self.now),
                &self.policy,
                at(self.now),
            );
            assert!(!matches!(written, Written::Never(_)));
            self.noted();
            self.kept_within(&before, "a router began anew");
            self.soon_settled(number);
            return;
        };
        let waited = if self.routers[nas].tells_delay { (self.now - record.made) / 1000 } else { 0 };
        let said = self.now - waited * SECOND;
        let (seconds, news) = (record.seconds, record.news);
        let report = Report { at: at(said), seconds: Seconds(seconds), input_octets: seconds, output_octets: 0 };
        let Real { token, device, ref name, id, .. } = self.reals[real];
        let (text, name) = (code(token), name.clone());
        let session = self.weather.class.then_some((id, TokenId(i64::try_from(token).unwrap())));
        let progress = Progress { session, news, report, unmeasured: false };
        let newer = self.newer(real);
        let (before, bounds) = (self.live_sessions(), self.bounds());
        let written = self.take_in(&login(&text, device, nas, &name), nas, &progress);
        self.noted();
        if !self.holds(written) {
            // It is not acknowledged: its router says it again.
            return;
        }
        for (token, was) in bounds.into_iter().enumerate() {
            self.knows(token, was);
        }
        if let Some((_, granted)) = self.known(&self.reals[real]) {
            self.reals[real].known_grant = granted;
        }
        self.excused();
        let after = self.live_sessions();
        self.came_back.extend(after.difference(&before));
        // Of a request that comes late a second time it cannot be told that its device has gone on meanwhile.
        let is_told = self.chain.is_none() || !self.let_in_again.contains(&self.reals[real].id);
        for id in newer.into_iter().filter(|_| is_told) {
            assert!(after.contains(&id), "{self:?}: {news:?} of the older {} ended {id}", self.reals[real].id);
        }
        self.heard(real, said, seconds, news);
        if self.weather.class && self.chance.percent(20) {
            let accounts: Vec<_> = (0..self.tokens.len()).map(|token| self.account(token)).collect();
            let _ = self.take_in(&login(&text, device, nas, &name), nas, &progress);
            self.noted();
            for (token, account) in accounts.into_iter().enumerate() {
                assert_eq!(self.account(token), account, "{self:?}: said twice: {progress:?}");
            }
        }
        self.soon_settled(number);
    }

    /// As `gate::Gate::account` does, with every token at hand.
    fn take_in(&self, login: &Login<'_>, nas: usize, progress: &Progress) -> Written {
        let now = at(self.now);
        let question = Question { login, nas: &self.routers[nas].rules, policy: &self.policy };
        let Claim::Code(code) = &login.claim else { panic!() };
        let token = self.tokens.iter().map(|watched| &watched.token).find(|token| token.code == *code).unwrap();
        let remembered = self.ledger.remembered(login.device.unwrap());
        let ours = progress.session.map(|(_, token)| token);
        let tokens = ours.into_iter().chain([token.id]).chain(remembered.iter().map(|known| known.token));
        let reported = tokens
            .filter_map(|token| Some((token, self.ledger.report(token, &question, progress, now)?)))
            .next()
            .unwrap_or_else(|| {
                let seconds = Duration::from_secs(progress.report.seconds.0);
                let began = progress.report.at.saturating_sub(seconds).unwrap();
                let mut random = [7; 10];
                random[..8].copy_from_slice(&self.sequence.to_be_bytes());
                let id = progress.session.map_or_else(|| SessionId::new(began, random), |(id, _)| id);
                let session = question.session(id, token, began);
                (token.id, self.ledger.find(token, &question, session, progress, now))
            });
        assert!(!matches!(reported.1.written, Written::Never(_)));
        if progress.news == News::Start {
            self.ledger.moved_on(reported.0, &question, now);
        }
        reported.1.written
    }

    /// Live sessions that were let in after this one, and began after it, and which their routers have.
    fn newer(&self, real: usize) -> Vec<SessionId> {
        let this = &self.reals[real];
        let later = |other: &&Real| other.began > this.began && other.id.time() > this.id.time();
        let on = self.reals.iter().filter(|other| other.ended.is_none()).filter(later);
        let on: HashSet<_> = on.map(|other| other.id).collect();
        self.live_sessions().into_iter().filter(|id| on.contains(id)).collect()
    }

    fn heard(&mut self, number: usize, said: Moment, seconds: u64, news: News) {
        self.may_be_whole(number);
        let real = &mut self.reals[number];
        let seconds = real.believed(seconds);
        real.stopped |= news == News::Stop;
        if real.heard.is_none_or(|(at, most)| seconds > most || (seconds == most && said > at)) {
            real.heard = Some((said, seconds));
        }
    }

    /// A session whose timeout passed without a Stop counts as a whole.
    fn may_be_whole(&mut self, number: usize) {
        let silence = self.interim() * i64::from(self.policy.missed_interims);
        let real = &mut self.reals[number];
        let Some((at, seconds)) = real.heard.filter(|_| !real.stopped) else { return };
        let rest = i64::try_from(real.known_grant.saturating_sub(seconds) + 30).unwrap() * SECOND;
        real.may_be_whole |= rest <= silence && at + rest <= self.now;
    }

    fn soon_settled(&mut self, record: usize) {
        let (written, takes) = (self.wrote.len(), self.chance.between(1, 200));
        self.comes(self.now + takes, Coming::Settled { record, written });
    }

    /// A router is told to end a session.
    fn disconnect(&mut self, token: usize, id: SessionId, nas: usize, trial: u32) {
        if !self.routers[nas].is_reached(self.now) || self.chance.percent(self.weather.deaf) {
            return;
        }
        let on = self.reals.iter().position(|real| real.id == id && real.nas == nas && real.ended.is_none());
        let told = match on {
            Some(real) => {
                self.ends(real, self.now);
                Told::Acked
            }
            None => Told::Refused(SESSION_CONTEXT_NOT_FOUND),
        };
        self.send(nas, Coming::Answer { token, id, told, trial });
    }

    /// The daemon is gone at once, with whatever was not on disk yet; soon it is back.
    fn power_cut(&mut self) {
        if !self.up {
            return;
        }
        if self.chain.is_some() {
            self.one_goes();
            return;
        }
        self.up = false;
        self.awaited.clear();
        self.decided.clear();
        match self.folder.as_ref().map(|folder| folder.path().to_owned()) {
            Some(folder) => self.opened_again(&folder),
            None => self.cut(),
        }
        self.acknowledged_is_kept();
        self.sees_what_is_kept();
        self.excused();
        let down = if self.chance.percent(50) { self.chance.between(1, 5) } else { self.chance.between(5, 90) };
        self.comes(self.now + down * SECOND, Coming::PowerUp);
    }

    /// Cuts the tape somewhere behind what is known to be on disk: what was acknowledged, or is older than a second.
    fn cut(&mut self) {
        let old = self.wrote.iter().take_while(|at| **at <= self.now - SECOND).count();
        self.durable = self.durable.max(old);
        let kept = self.durable + self.chance.below(self.wrote.len() - self.durable + 1);
        let Book::Tape(tape) = &self.ledger.book else { panic!() };
        let mut tape = std::mem::take(&mut *lock(tape));
        tape.truncate(kept);
        self.wrote.truncate(kept);
        self.stood.retain(|(at, ..)| *at <= kept);
        self.durable = kept;
        self.ledger = Ledger::of_tape(tape, &self.policy);
        for token in 0..self.tokens.len() {
            let stood = self.stood.iter().rev().find(|(_, of, _)| *of == token);
            if let Some((_, _, Some(account))) = stood {
                assert_eq!(steady(self.account(token)), *account, "{self:?}: token {token} after a power cut");
            }
        }
    }

    /// Opens the journal again, perhaps with a snapshot in it: nothing is lost.
    fn opened_again(&mut self, folder: &Path) {
        let accounts: Vec<_> = (0..self.tokens.len()).map(|token| steady(self.account(token))).collect();
        if self.chance.percent(50) {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
            runtime.block_on(self.ledger.snapshot(at(self.now), at(0))).unwrap();
        }
        self.ledger.close().unwrap();
        self.ledger = Ledger::default();
        self.open(folder);
        for (token, account) in accounts.into_iter().enumerate() {
            assert_eq!(steady(self.account(token)), account, "{self:?}: token {token}, opened again");
        }
    }

    fn open(&mut self, folder: &Path) {
        let Opened { ledger, trouble } = Ledger::open(folder, &self.policy, at(self.now)).unwrap();
        assert_eq!(trouble, None);
        self.ledger = ledger;
    }

    /// What a router's session counts for, and what it was granted as far as the ledger knows. Of a login that was decided
    /// again after a power cut the ledger may know the other id, and goes by the router's name.
    fn known(&self, real: &Real) -> Option<(u64, u64)> {
        self.look(real.token, |account| {
            let live = account.sessions().iter().rev();
            let live = live.map(|live| (live, live.reported.map_or(0, |report| report.seconds.0)));
            let ended = account.ended().iter().rev().map(|ended| (&ended.session, ended.counts.0));
            let mut all: Vec<_> =
                live.chain(ended).filter(|(session, _)| session.device == Some(real.device)).collect();
            // Where routers say no id, the name alone decides, and the latest of that name was meant.
            let class = self.weather.class;
            all.sort_by_key(|(session, counts)| (class && session.id != real.id, Reverse(*counts)));
            let nas = &self.routers[real.nas].rules.name;
            let named = |Session { contact, .. }: &Session| {
                contact.nas == *nas && contact.nas_session.as_deref() == Some(&real.name)
            };
            let mut same = all.iter().filter(|(session, _)| session.id == real.id || named(session));
            same.next().map(|(session, counts)| (*counts, session.granted.0))
        })
    }

    /// Every session counts for what was acknowledged of it.
    fn acknowledged_is_kept(&self) {
        for real in self.reals.iter().filter(|real| real.acked > 0) {
            let Some((counts, _)) = self.known(real) else {
                // Of one device the last eight are remembered.
                let ended = self.look(real.token, |account| {
                    account.ended().iter().filter(|ended| ended.session.device == Some(real.device)).count()
                });
                assert!(ended >= 8, "{self:?}: {} s of {} were acknowledged, and are gone", real.acked, real.id);
                continue;
            };
            let least = real.believed(real.acked);
            assert!(counts >= least, "{self:?}: {} counts for {counts} s, not {least}", real.id);
        }
    }

    /// Everything falls silent; then no session may be left that its router would have spoken of, and who has time gets in.
    fn evening(&mut self) {
        self.up = true;
        self.coming.clear();
        let grace = i64::try_from(self.policy.grant_timeout.0).unwrap() * SECOND + 31 * SECOND;
        let quiet = self.now + self.interim() * i64::from(self.policy.missed_interims) + grace;
        self.weather.deaf = 100;
        self.happens_until(quiet);
        self.all_hear();
        self.watch();
        self.all_hear();
        self.acknowledged_is_kept();
        for real in 0..self.reals.len() {
            self.may_be_whole(real);
        }
        for token in 0..self.tokens.len() {
            let account = self.account(token);
            let speaking = account.sessions().iter().find(|session| session.accounting || session.reported.is_some());
            assert_eq!(speaking, None, "{self:?}: token {token}: still live");
            if self.policy.counting == Counting::Connected {
                self.fairly_counted(token, &account);
                self.truly_used(token);
            }
        }
        self.all_is_settled();
        for token in 0..self.tokens.len() {
            let account = self.account(token);
            if account.sessions().is_empty() {
                self.lets_in(token, &account);
            }
        }
    }

    /// A token is charged for what routers counted, and at least for what was acknowledged.
    fn fairly_counted(&self, token: usize, account: &Account) {
        let (mut least, mut most) = (0, 0);
        for real in self.reals.iter().filter(|real| real.token == token && self.routers[real.nas].rules.accounting) {
            least += real.believed(real.acked);
            let heard = real.heard.map_or(0, |(_, seconds)| seconds);
            most += if real.may_be_whole { heard.max(real.known_grant) } else { heard };
        }
        let quiet = self.admitted.values().filter(|(of, _, accounting)| *of == token && !accounting);
        most += quiet.map(|(_, granted, _)| granted).sum::<u64>();
        let used = account.usage(&self.policy, at(self.now)).0;
        assert!(used >= least, "{self:?}: token {token}: {used} s charged, {least} s acknowledged");
        assert!(used <= most, "{self:?}: token {token}: {used} s charged, {most} s used");
    }

    /// Where nothing goes wrong, nobody is online for longer than the token gives, but for the seconds that routers and rounding
    /// take. A session that its device left for one elsewhere counts up to its last news, until its router notices: what it
    /// ran since may be granted to another by then.
    fn truly_used(&self, token: usize) {
        if self.weather.lost + self.weather.broken > 0 || self.routers.iter().any(|router| router.cut_off_until > 0) {
            return;
        }
        let mut most = self.tokens[token].source.most;
        let quiet = |real: &&Real| real.token == token && !self.routers[real.nas].rules.accounting && !real.left_behind;
        let account = self.account(token);
        for real in self.reals.iter().filter(quiet) {
            let Some(ended) = account.ended().iter().find(|ended| ended.session.id == real.id) else { continue };
            let (counts, seconds) = (ended.counts.0, real.seconds(self.ends));
            assert!(counts + 1 >= seconds, "{self:?}: {} counts for {counts} s of {seconds}", real.id);
        }
        let left_behind = self.policy.interim_interval.0 + NOTICED_WITHIN.unsigned_abs() / 1000;
        let mut used = 0;
        for real in self.reals.iter().filter(|real| real.token == token) {
            used += real.seconds(self.ends);
            most += ENDS_BY_ITSELF + 3 + if real.left_behind { left_behind } else { 0 };
        }
        assert!(used <= most, "{self:?}: token {token}: truly {used} s online, of {most}");
    }

    fn lets_in(&mut self, token: usize, account: &Account) {
        let wanted = self.tokens[token].token.clone();
        let gives = self.tokens[token].source.gives_as_found();
        let shares = u64::from(wanted.user_limit(&self.policy));
        let left = gives.saturating_sub(account.usage(&self.policy, at(self.now)).0) / shares;
        let open = wanted.valid_to.is_none_or(|end| moment(end) >= self.now + MINUTE);
        let text = code(token);
        let login = login(&text, mac(0xFFFF), 0, "8ffffff");
        let (rules, policy) = (self.routers[0].rules.clone(), self.policy.clone());
        let question = Question { login: &login, nas: &rules, policy: &policy };
        let id = SessionId::new(at(self.now), [9; 10]);
        let decision = self.admitted(&wanted, &question, id);
        let allowed = matches!(decision, Decision::Allow(_));
        let due = open && left >= self.policy.min_session.0;
        assert!(allowed || !due, "{self:?}: token {token}: {left} s are left, and nobody gets in: {decision:?}");
    }
}

fn bound(account: &Account, now: Timestamp) -> u64 {
    let run_up = |session: &Session| {
        let used = session.used(now);
        if session.contact.can_disconnect { used } else { used.max(session.granted) }
    };
    account.usage.plus(account.sessions().iter().map(run_up).sum()).0
}

fn address(nas: usize) -> IpAddr {
    [192, 0, 2, u8::try_from(nas).unwrap()].into()
}

fn login<'l>(code: &'l str, device: Mac, nas: usize, name: &'l str) -> Login<'l> {
    Login {
        claim: Claim::Code(Code::parse(code).unwrap()),
        typed: code.as_bytes(),
        proof: Proof::NotAsked,
        device: Some(device),
        ip: None,
        router: Some(address(nas)),
        nas_session: Some(name),
    }
}

/// Lives the days of these seeds; how much happened.
fn live(seeds: impl Iterator<Item = u64>) -> u64 {
    let day = |seed| {
        let _seed = Seed(seed);
        Day::new(seed).live()
    };
    seeds.map(day).sum()
}

#[test]
fn accounts_never_lie_whatever_the_day_brings() {
    let number = |name| std::env::var(name).ok().and_then(|value| value.parse::<u64>().ok());
    if let Some(seed) = number("SPOTGATE_DAY") {
        println!("{} steps", live(std::iter::once(seed)));
        return;
    }
    let days = number("SPOTGATE_DAYS").unwrap_or(DAYS);
    let steps: u64 = std::thread::scope(|threads| {
        let halves = [0, 1].map(|first| threads.spawn(move || live((first..days).step_by(2))));
        halves.into_iter().map(|half| half.join().unwrap()).sum()
    });
    println!("{days} days, {steps} steps");
    assert!(steps >= days * 200, "only {steps} steps in {days} days");
}

#[test]
fn a_day_on_disk_is_no_other() {
    for seed in 0..8 {
        let _seed = Seed(seed);
        let mut day = Day::new(seed);
        let folder = tempfile::tempdir().unwrap();
        day.open(folder.path());
        day.folder = Some(folder);
        for quarter in 1..=8 {
            let when = day.ends / 8 * quarter;
            day.comes(when, Coming::PowerCut);
        }
        day.live();
    }
}
