//! Accounts that several daemons share: each holds all of them in memory and decides on that copy as if it were alone; what it
//! did is handed on as changes that each say on which version they build, and counts once the database has taken them.
//!
//! ```text
//! change here ─► pending ─► Ledger::take_changes ─► (database: is it still at this version?) ─► Ledger::swapped
//!                   ▲                                                                                │ Done: acknowledged
//!                   └── what is pending is applied anew to the account as it stands there ◄── Stale ─┘
//! ```
//!
//! What routers report may be applied to an account that others changed meanwhile: an event says what it says of a session by
//! its name, in whatever order. What was decided (a place given away, a router to be told) may not, and is decided anew:
//! [`Unwritten::Raced`](super::Unwritten::Raced).

mod away;
mod busy;
mod deed;

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::mem;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock};

use jiff::Timestamp;
use tokio::sync::{Notify, oneshot};

use self::away::Outbox;
pub use self::away::Owed;
use self::busy::{Busy, HandedOn};
use self::deed::Deed;
use super::packed::Packed;
use super::shard::{Ends, SHARDS, Shard, Shards};
use super::{Book, Ledger, Written, lock, written};
use crate::core::account::Account;
use crate::core::event::Event;
use crate::core::ident::{SessionId, TokenId};
use crate::core::policy::Policy;
use crate::journal::Closed;

/// Bits of a version that are drawn by lot, since clocks differ and one says the same for a millisecond.
const LOT_BITS: u32 = 12;

/// An account as it stands in the database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// Its token.
    pub token: TokenId,
    /// Rises with each change; never 0.
    pub version: u64,
    /// The account: JSON, as it is written in a snapshot, and how far routers were told.
    pub state: Vec<u8>,
}

impl Row {
    /// What it says, whoever wrote it when.
    #[must_use]
    pub fn unmarked(&self) -> Option<Vec<u8>> {
        written::read_account(&self.state).ok().map(|account| written::shared(&account.kept(), 0))
    }
}

/// An account as it is to stand, if nobody has changed it meanwhile.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// Its token.
    pub token: TokenId,
    /// The version that the change builds on; 0: there is no such account yet.
    pub version: u64,
    /// The version that it makes: a moment, in milliseconds since 1970, or the next one, if that is later, and below it twelve bits by
    /// lot. So no version comes again: neither of an account that was forgotten before, nor of one whose latest changes a database
    /// lost that took another's place.
    pub becomes: u64,
    /// As [`Row::state`].
    pub state: Vec<u8>,
    /// It is only what the clock says, which every daemon does: if another is at the account, it is left to that one.
    pub is_due: bool,
    /// Sessions that may have ended, and that their account may have forgotten: those that it lets in though they may have been
    /// before, since they were kept, or became known by a report; those of which what was kept speaks, and that the account does
    /// not know; and those of which that is known, but perhaps not the latest. [`Ledger::are_over`] says whether it may be taken if
    /// they did.
    pub doubted: Vec<SessionId>,
    /// Sessions that ended by it.
    pub closed: Vec<Closed>,
    /// Names of sessions that go on after all.
    pub reopened: Vec<String>,
}

/// What became of a change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Swapped {
    /// It stands, at the version that it makes.
    Done,
    /// Another daemon was faster: the account as it stands now; none: it was forgotten.
    Stale(Option<Row>),
    /// What is due was not waited for: another daemon is at the account, as will be heard.
    Held,
    /// The database does not take it, and will not.
    Refused,
}

/// Whether a change holds on an account that others changed meanwhile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rests {
    /// On what is said of sessions by their names: it does.
    Names,
    /// On the account as it stood: it must be decided anew.
    Account,
    /// On that, and on silence: without the database it holds here alone, since others may have heard what this daemon did not.
    Time,
}

/// What this daemon did that the database does not have yet, and which version it has.
#[derive(Debug)]
pub(super) struct Shared {
    /// In the places of [`Shards`]; locked after the shard, never before.
    places: Vec<Mutex<Place>>,
    /// Tokens with something to hand on, each once.
    queue: Mutex<VecDeque<TokenId>>,
    /// There is something in the queue.
    work: Notify,
    /// Changes bear numbers from here on: another daemon begins elsewhere.
    next_mark: AtomicU64,
    /// Why the database is away, if it is.
    away: Mutex<Option<Arc<str>>>,
    is_away: AtomicBool,
    /// Of all daemons, this one writes minutes upstream.
    leads: AtomicBool,
    /// Everything was compared since the database was there last.
    is_up_to_date: AtomicBool,
    /// Why what others do is not heard, if it is not.
    deaf: Mutex<Option<Arc<str>>>,
    outbox: Mutex<Option<Outbox>>,
    closed: OnceLock<LookUp>,
}

/// Looks a session up that ended long ago. It blocks.
struct LookUp(Box<dyn Fn(SessionId) -> Result<Option<Closed>, String> + Send + Sync>);

impl fmt::Debug for LookUp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LookUp")
    }
}

#[derive(Debug, Default)]
struct Place {
    /// Of accounts in which nothing is pending.
    versions: HashMap<TokenId, u64>,
    busy: HashMap<TokenId, Busy>,
}

impl Default for Shared {
    fn default() -> Self {
        let places = (0..SHARDS).map(|_| Mutex::default()).collect();
        let mut first = [0; 8];
        // Without randomness, an answer that is lost may be taken for one that came.
        let _ = getrandom::fill(&mut first);
        let next_mark = AtomicU64::new(u64::from_ne_bytes(first));
        Self {
            places,
            queue: Mutex::default(),
            work: Notify::new(),
            next_mark,
            away: Mutex::default(),
            is_away: AtomicBool::default(),
            leads: AtomicBool::default(),
            is_up_to_date: AtomicBool::default(),
            deaf: Mutex::default(),
            closed: OnceLock::new(),
            outbox: Mutex::default(),
        }
    }
}

impl Shared {
    fn place(&self, token: TokenId) -> MutexGuard<'_, Place> {
        #[expect(clippy::indexing_slicing, reason = "the remainder is below the number of shards")]
        lock(&self.places[Shards::place(token)])
    }

    /// Notes what was done to an account. To be called under its shard's lock.
    pub(super) fn push(&self, token: TokenId, now: Timestamp, events: &[Event], ends: Ends, rests: Rests) -> Written {
        let mut place = self.place(token);
        let events = events.to_vec();
        let mut deed = Deed { at: now, events, ends, rests, done: None, is_kept: false, is_late: false };
        if self.is_away.load(Ordering::Acquire) {
            if deed.waits_for_the_database() {
                return Written::NotYet;
            }
            let is_lasting = rests != Rests::Time && deed.events.iter().any(Event::is_kept);
            deed.rests = Rests::Names;
            let written = if is_lasting { self.keep(token, &mut deed) } else { Written::Already };
            if is_lasting && !matches!(written, Written::Never(_)) {
                self.add(&mut place, token, deed);
            } else {
                // It holds for the copy here, until the database says how the account stands.
                place.versions.remove(&token);
                place.busy.get_mut(&token).into_iter().for_each(Busy::unlearn);
            }
            return written;
        }
        let (done, heard) = oneshot::channel();
        deed.done = Some(done);
        self.add(&mut place, token, deed);
        Written::Shared(vec![heard])
    }

    fn add(&self, place: &mut Place, token: TokenId, mut deed: Deed) {
        let Place { versions, busy } = place;
        let busy = busy.entry(token).or_insert_with(|| Busy {
            version: versions.remove(&token).unwrap_or_default(),
            pending: VecDeque::new(),
            handed_on: None,
            news: None,
            is_awaited: false,
            is_queued: false,
            is_refused: false,
            is_unlearnt: false,
            recalled: HashMap::new(),
            is_of_alone: false,
        });
        busy.is_refused = false;
        busy.is_of_alone |= deed.is_kept || deed.finds() && busy.pending.iter().any(|former| former.is_kept);
        if let Some(former) = busy.superseded_by(&deed) {
            self.paid(&deed);
            deed.ends = former.ends.and(deed.ends);
        }
        busy.pending.push_back(deed);
        self.queue(token, busy);
    }

    /// A session that ended long ago. It blocks.
    pub(super) fn closed(&self, id: SessionId) -> Result<Option<Closed>, String> {
        self.closed.get().map_or(Ok(None), |LookUp(look)| look(id))
    }

    /// Settled once everything that is pending by now is written.
    pub(super) fn all(&self) -> Written {
        if self.is_away.load(Ordering::Acquire) {
            return self.all_kept();
        }
        let mut all = Vec::new();
        for place in &self.places {
            for (token, busy) in lock(place).busy.iter_mut().filter(|(_, busy)| !busy.is_refused) {
                let (done, heard) = oneshot::channel();
                busy.pending.push_back(Deed::nothing(Some(done)));
                self.queue(*token, busy);
                all.push(heard);
            }
        }
        Written::Shared(all)
    }

    fn queue(&self, token: TokenId, busy: &mut Busy) {
        if !mem::replace(&mut busy.is_queued, true) {
            lock(&self.queue).push_back(token);
            self.work.notify_one();
        }
    }
}

impl Ledger {
    /// A ledger of accounts that others change too. It is empty until [`Ledger::heard`] fills it.
    #[must_use]
    pub fn shared() -> Self {
        Self::new(Book::Shared(Box::default()))
    }

    /// Whether others change these accounts too: what is decided then counts once it is [`Written`].
    #[must_use]
    pub const fn is_shared(&self) -> bool {
        matches!(self.book, Book::Shared(_))
    }

    /// Sessions that no account remembers are looked up so, from now on. It may block.
    pub fn look_up_by(&self, look: impl Fn(SessionId) -> Result<Option<Closed>, String> + Send + Sync + 'static) {
        if let Book::Shared(shared) = &self.book {
            let _ = shared.closed.set(LookUp(Box::new(look)));
        }
    }

    /// Whether it is this daemon that writes minutes upstream.
    #[must_use]
    pub fn leads(&self) -> bool {
        match &self.book {
            Book::Shared(shared) => shared.leads.load(Ordering::Acquire) && !self.is_away(),
            _ => true,
        }
    }

    /// Whether an account may stand here as the database does not have it.
    pub(super) fn is_unsure_of(&self, token: TokenId) -> bool {
        matches!(&self.book, Book::Shared(shared) if !shared.place(token).versions.contains_key(&token))
    }

    /// Everything was compared with the database just now.
    pub fn is_compared(&self) {
        if let Book::Shared(shared) = &self.book {
            shared.is_up_to_date.store(true, Ordering::Release);
        }
    }

    /// Whether every session that others let in is known here, but for those of the latest moment.
    pub(super) fn is_up_to_date(&self) -> bool {
        !matches!(&self.book, Book::Shared(shared) if !shared.is_up_to_date.load(Ordering::Acquire))
    }

    /// From now on it is this daemon, or not, that writes minutes upstream.
    pub fn lead(&self, leads: bool) {
        if let Book::Shared(shared) = &self.book {
            shared.leads.store(leads, Ordering::Release);
        }
    }

    /// Resolves when there may be changes to take.
    pub async fn has_changes(&self) {
        match &self.book {
            Book::Shared(shared) => shared.work.notified().await,
            _ => std::future::pending().await,
        }
    }

    /// What the database is to be asked to take next: `at_most` so many accounts, each as it stands here. Of none of them more
    /// is given before what became of it is known: [`Ledger::swapped`], or [`Ledger::not_swapped`].
    #[must_use]
    pub fn take_changes(&self, at_most: usize, policy: &Policy) -> Vec<Change> {
        let Book::Shared(shared) = &self.book else { return Vec::new() };
        let mut changes = Vec::new();
        while changes.len() < at_most {
            let Some(token) = lock(&shared.queue).pop_front() else { break };
            let shard = self.shards.of(token);
            let mut place = shared.place(token);
            let Some(busy) = place.busy.get_mut(&token) else { continue };
            busy.is_queued = false;
            if busy.is_awaited || busy.is_refused || busy.pending.is_empty() {
                continue;
            }
            // What it is here goes on until the database says how it stands: it may go away before.
            if busy.is_of_alone && busy.handed_on.is_none() {
                busy.unlearn();
            }
            let anew = busy.is_unlearnt.then(|| busy.asks(token, policy));
            if busy.pending.is_empty() {
                busy.pending.push_back(Deed::nothing(None));
            }
            busy.is_awaited = true;
            let all = || {
                let mark = shared.next_mark.fetch_add(1, Ordering::Relaxed);
                let latest = busy.pending.iter().map(|deed| deed.at.as_millisecond()).max().unwrap_or_default();
                let (is_anew, waiting) = (anew.is_some(), busy.pending.len());
                let (account, deeds) = anew.unwrap_or_else(|| (shard.account(token).unwrap_or_default(), waiting));
                let moment = latest.max(1).unsigned_abs() << LOT_BITS;
                let becomes = moment.max(busy.version + 1) + mark % (1 << LOT_BITS);
                let is_due = deeds > 0 && busy.pending.iter().take(deeds).all(|deed| deed.rests == Rests::Time);
                HandedOn { deeds, is_anew, account: Packed::of(&account), mark, becomes, is_due }
            };
            let handed_on = busy.handed_on.get_or_insert_with(all);
            let (account, deeds, is_anew) = (handed_on.account.unpack(), handed_on.deeds, handed_on.is_anew);
            let (mark, becomes) = (handed_on.mark, handed_on.becomes);
            let of_it = || busy.pending.iter().take(deeds);
            let mut doubted: Vec<SessionId> = of_it().flat_map(|deed| deed.doubted(&account)).collect();
            if !is_anew {
                doubted.extend(busy.recalled_by(deeds));
            }
            let Ends { closed, reopened } = of_it().map(|deed| deed.ends.clone()).fold(Ends::default(), Ends::and);
            changes.push(Change {
                token,
                version: busy.version,
                becomes,
                state: written::shared(&account, mark),
                is_due: deeds > 0 && of_it().all(|deed| deed.rests == Rests::Time),
                doubted,
                closed,
                reopened,
            });
        }
        if !lock(&shared.queue).is_empty() {
            shared.work.notify_one();
        }
        changes
    }

    /// What became of a change that was taken.
    pub fn swapped(&self, token: TokenId, swapped: Swapped, policy: &Policy) {
        let Book::Shared(shared) = &self.book else { return };
        let mut shard = self.shards.of(token);
        let mut place = shared.place(token);
        let Some(busy) = place.busy.get_mut(&token) else { return };
        busy.is_awaited = false;
        let mut is_stuck = false;
        match swapped {
            Swapped::Done => self.taken(shared, &mut shard, token, busy, policy),
            Swapped::Stale(row) if busy.is_by(row.as_ref()) => self.taken(shared, &mut shard, token, busy, policy),
            Swapped::Stale(row) => match read(row.as_ref()) {
                Ok((version, fresh)) => self.rebase(&mut shard, token, busy, version, fresh, policy),
                Err(()) => is_stuck = true,
            },
            Swapped::Held => busy.gives_way(),
            Swapped::Refused => is_stuck = true,
        }
        if is_stuck {
            busy.is_stuck();
            // What is left is tried on the account as it stands then.
            self.rebase(&mut shard, token, busy, 0, Account::default(), policy);
            busy.is_refused = true;
        }
        if let Some(news) = busy.news.take()
            && news.version > busy.version
            && let Ok((version, fresh)) = read(Some(&news))
        {
            self.rebase(&mut shard, token, busy, version, fresh, policy);
        }
        settle(shared, &mut place, token);
    }

    /// The database has taken what was handed on last.
    fn taken(&self, shared: &Shared, shard: &mut Shard, token: TokenId, busy: &mut Busy, policy: &Policy) {
        let anew = busy.handed_on.as_ref().filter(|handed_on| handed_on.is_anew).map(|last| last.account.unpack());
        busy.taken(shared);
        if let Some(account) = anew {
            self.rebase(shard, token, busy, busy.version, account, policy);
        }
    }

    /// A change that was taken may have arrived or not: the same is given again.
    pub fn not_swapped(&self, token: TokenId) {
        let Book::Shared(shared) = &self.book else { return };
        let mut place = shared.place(token);
        if let Some(busy) = place.busy.get_mut(&token) {
            busy.is_awaited = false;
        }
        settle(shared, &mut place, token);
    }

    /// Whether what is known of this account is older than `version`.
    #[must_use]
    pub fn is_behind(&self, token: TokenId, version: u64) -> bool {
        let Book::Shared(shared) = &self.book else { return false };
        let place = shared.place(token);
        place.busy.get(&token).map_or(place.versions.get(&token).copied(), Busy::known).unwrap_or_default() < version
    }

    /// Takes in an account as it stands in the database.
    pub fn heard(&self, row: &Row, policy: &Policy) {
        let Book::Shared(shared) = &self.book else { return };
        if !self.is_behind(row.token, row.version) {
            return;
        }
        let token = row.token;
        let Ok((version, fresh)) = read(Some(row)) else { return };
        let mut shard = self.shards.of(token);
        let mut place = shared.place(token);
        let Place { versions, busy } = &mut *place;
        match busy.get_mut(&token) {
            Some(busy) if busy.known() >= Some(version) => {}
            Some(busy) if busy.handed_on.is_some() => busy.news = Some(row.clone()),
            Some(busy) => self.rebase(&mut shard, token, busy, version, fresh, policy),
            None if versions.get(&token).is_some_and(|known| *known >= version) => {}
            None => {
                versions.insert(token, version);
                self.stands(&mut shard, token, &fresh, policy);
            }
        }
        settle(shared, &mut place, token);
    }

    /// The accounts that stand here as the database has them, and at which versions.
    #[must_use]
    pub fn versions(&self) -> HashMap<TokenId, u64> {
        let Book::Shared(shared) = &self.book else { return HashMap::new() };
        shared.places.iter().flat_map(|place| lock(place).versions.clone()).collect()
    }

    /// The accounts of which nothing more can come, and at which versions they stand: their tokens ended before `ended_before`. It
    /// looks through every account, and blocks.
    #[must_use]
    pub fn over(&self, ended_before: Timestamp) -> Vec<(TokenId, u64)> {
        let Book::Shared(shared) = &self.book else { return Vec::new() };
        let version = |token: TokenId| shared.place(token).versions.get(&token).map(|version| (token, *version));
        // Under the lock of the shard, so that it is the version of what was looked at.
        let over = |shard: MutexGuard<'_, Shard>| -> Vec<_> {
            shard.over(ended_before).into_iter().filter_map(version).collect()
        };
        self.shards.each().flat_map(over).collect()
    }

    /// The database has forgotten an account that stood here, at this version if it is known: so does this daemon, unless
    /// something happens to it.
    pub fn gone(&self, token: TokenId, version: Option<u64>) {
        let Book::Shared(shared) = &self.book else { return };
        let mut shard = self.shards.of(token);
        let mut place = shared.place(token);
        let is_it = place.versions.get(&token).is_some_and(|known| version.is_none_or(|version| *known == version));
        if is_it {
            place.versions.remove(&token);
            shard.remove(token);
        }
    }

    /// Takes an account into a ledger that shares none; whether it can be read.
    pub fn take_in(&self, row: &Row, policy: &Policy) -> bool {
        let Ok((_, account)) = read(Some(row)) else { return false };
        self.stands(&mut self.shards.of(row.token), row.token, &account, policy);
        true
    }

    /// An account as daemons share it, as it is after a restart; none: there is no such account.
    #[must_use]
    pub fn row(&self, token: TokenId) -> Option<Row> {
        let account = self.account(token)?;
        Some(Row { token, version: 0, state: written::shared(&account.kept(), 0) })
    }

    /// The tokens that have an account.
    #[must_use]
    pub fn tokens(&self) -> Vec<TokenId> {
        self.shards.each().flat_map(|shard| shard.tokens()).collect()
    }

    /// Keeps sessions that ended elsewhere.
    pub fn keep_closed(&self, closed: Vec<Closed>) -> Written {
        let Book::Journal(journal) = &self.book else { return Written::Already };
        journal.append_all(Vec::new(), closed, Vec::new()).map_or_else(Written::Never, Written::Soon)
    }

    fn rebase(
        &self,
        shard: &mut Shard,
        token: TokenId,
        busy: &mut Busy,
        version: u64,
        fresh: Account,
        policy: &Policy,
    ) {
        let account = busy.rebase(token, version, fresh, policy);
        self.stands(shard, token, &account, policy);
    }

    /// An account stands so from now on.
    fn stands(&self, shard: &mut Shard, token: TokenId, account: &Account, policy: &Policy) {
        // Its devices, as a start finds them: the latest is the latest of its token.
        if let Some((_, devices)) = account.remembered() {
            for device in devices {
                if !self.devices.of(*device).contains(&token) {
                    self.devices.remember(*device, token);
                }
            }
        }
        shard.put(token, account);
        shard.reckon(token, policy);
        self.sooner.notify_one();
    }
}

/// What is known of an account once something has become of what was pending in it: it is handed on, or nothing is left.
fn settle(shared: &Shared, place: &mut Place, token: TokenId) {
    let Place { versions, busy } = place;
    let Some(known) = busy.get_mut(&token) else { return };
    if !known.pending.is_empty() {
        if !known.is_awaited && !known.is_refused {
            shared.queue(token, known);
        }
        return;
    }
    if let Some(known) = busy.remove(&token)
        && known.version > 0
    {
        versions.insert(token, known.version);
    }
}

/// The version and the account; one that was forgotten begins anew.
fn read(row: Option<&Row>) -> Result<(u64, Account), ()> {
    let Some(row) = row else { return Ok((0, Account::default())) };
    let account = written::read_account(&row.state);
    let account = account.inspect_err(|error| {
        tracing::error!(token = %row.token, %error, "an account in the database cannot be read: what happens to it is not taken in");
    });
    Ok((row.version, account.map_err(|_| ())?))
}

#[cfg(test)]
pub(super) mod tests;
