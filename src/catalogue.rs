//! Tokens at hand: found in memory now, or fetched once however many ask.
//!
//! Two kinds of copies live here. A copy of everything answers for every token it holds. That of a file also answers that a
//! code does not exist; that of a mirror does not, nor for a code whose tokens are all over, since a visitor may have been
//! registered a moment ago. Single copies, looked up upstream one code or device at a time, are served while fresh, and while
//! stale only when the source does not answer; their tokens are seen as the mirror has them by then. "No such code" is
//! remembered for a short while. That a search failed never means that there is no such code, nor that it lacks a token that
//! this is gone.

mod changes;
mod held;
mod inherit;
mod tokens;

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Duration;

use moka::sync::Cache;
use tokio::sync::watch;
use tracing::Instrument as _;

use crate::clock::Clock;
use crate::config;
use crate::core::ident::{BusinessId, Code, Mac, TokenId};
use crate::core::login::Claim;
use crate::core::token::{AccessToken, Window};
use crate::source::{Error, Origin, Version};
pub use changes::Changes;
use changes::Noted;
use held::{Held, Merged};
pub use tokens::Tokens;

/// Look-ups under way at once; one more is answered like a source that is away.
const MAX_IN_FLIGHT: usize = 1024;

/// Tokens taken in under one lock: logins wait for some microseconds.
const MERGED_AT_ONCE: usize = 64;

/// Tokens that one search lacks and that are read singly.
const MISSED: usize = 2;

/// An `UpdatedOn` so far ahead of our clock is no date to tell versions by: it would outlast every later change.
const AHEAD: Duration = Duration::from_secs(300);

/// "No such code" is remembered for at most so many codes; guesses push out guesses, never copies of tokens.
const MAX_ABSENT: u64 = 100_000;

/// The tokens at hand.
pub struct Catalogue {
    times: config::Cache,
    clock: Clock,
    held: RwLock<Held>,
    /// Whether single look-ups go into the copy of everything, which a mirror keeps fresh.
    mirrored: bool,
    changes: Noted,
    /// Tokens of the copy of everything that changed by what was read singly.
    singly: Mutex<HashSet<TokenId>>,
    origin: Option<Arc<dyn Origin>>,
    copies: Cache<Key, Copy>,
    /// When the source last said that there is no such code or device.
    absent: Cache<Key, Duration>,
    in_flight: Mutex<HashMap<Key, watch::Receiver<Option<Outcome>>>>,
}

type Outcome = Result<Tokens, Error>;

/// What a single look-up is about: the code as typed, since nobody knows how the server's filter folds case
/// (facts/nexudus.md §2).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Key {
    Code(Code),
    Device(Mac),
}

impl Key {
    fn of(claim: &Claim) -> Self {
        match claim {
            Claim::Code(code) => Self::Code(code.clone()),
            Claim::Device(mac) => Self::Device(*mac),
        }
    }
}

#[derive(Clone)]
struct Copy {
    tokens: Tokens,
    /// When it was put here (monotonic).
    fetched_at: Duration,
    /// How old it was then: it may be from before this process.
    aged: Duration,
}

impl Copy {
    /// Of what the source said at `now`.
    const fn fetched(tokens: Tokens, now: Duration) -> Self {
        Self { tokens, fetched_at: now, aged: Duration::ZERO }
    }

    fn age(&self, now: Duration) -> Duration {
        now.saturating_sub(self.fetched_at).saturating_add(self.aged)
    }
}

/// What memory says.
#[derive(Clone, Debug)]
pub enum Find {
    /// These tokens; none: there is no such code or device.
    Here(Tokens),
    /// The source must be asked. While it does not answer, the stale copy may be used.
    Ask {
        /// An older copy that is still usable.
        stale: Option<Tokens>,
    },
    /// There is nothing to ask and no copy: the file has never been read.
    Nothing,
}

/// What merging came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Merge {
    /// Versions that are new, or differ from what was known.
    pub changed: Vec<Version>,
    /// Tokens for which there was no room.
    pub left_out: usize,
}

/// How a token stands in the copy of everything.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It is there.
    Held(Arc<AccessToken>),
    /// The source has no such token.
    Gone,
}

/// What asking came to.
#[derive(Clone, Debug)]
pub enum Found {
    /// These tokens; none: there is no such code or device.
    Tokens(Tokens),
    /// The source did not answer and no copy may be used.
    Unavailable,
}

impl Catalogue {
    /// A catalogue over a source that is asked code by code, or, without `origin`, over complete copies alone. `mirrored`:
    /// somebody keeps a copy of everything fresh as well.
    #[must_use]
    pub fn new(times: &config::Cache, origin: Option<Arc<dyn Origin>>, mirrored: bool, clock: Clock) -> Self {
        // moka's own clock only tidies up; what is fresh or stale is judged by ours.
        let kept = |capacity, time| Cache::builder().max_capacity(capacity).time_to_live(time).build();
        let absent = Cache::builder().max_capacity(MAX_ABSENT).time_to_live(times.unknown_for).build();
        let mut held = Held::default();
        if mirrored {
            held.of_locations(std::iter::once(None));
        }
        Self {
            clock,
            held: RwLock::new(held),
            mirrored,
            changes: Noted::default(),
            singly: Mutex::default(),
            origin,
            copies: kept(times.max_tokens, times.stale_for.max(times.fresh_for)),
            absent,
            times: times.clone(),
            in_flight: Mutex::default(),
        }
    }

    /// Puts a complete copy in place of the former one.
    pub fn replace(&self, tokens: Vec<Arc<AccessToken>>) {
        let held = Held::of(tokens, self.clock.now().mono);
        // The former one is taken apart without the lock.
        let former = std::mem::replace(&mut *self.write(), held);
        self.changes.note_all();
        drop(former);
    }

    /// Takes in what was asked for at `asked` (monotonic), and gives the versions that say something new. Beyond
    /// `cache.max_tokens` nothing more is held.
    pub fn merge(&self, versions: &[Version], asked: Duration) -> Merge {
        let room = usize::try_from(self.times.max_tokens).unwrap_or(usize::MAX);
        let latest = self.clock.now().wall.saturating_add(AHEAD).unwrap_or(jiff::Timestamp::MAX);
        let mut merge = Merge::default();
        for part in versions.chunks(MERGED_AT_ONCE) {
            let mut held = self.write();
            for version in part {
                match held.merge(version, asked, latest, room) {
                    Merged::Changed => merge.changed.push(version.clone()),
                    Merged::Full => merge.left_out += 1,
                    Merged::Same => {}
                }
            }
        }
        self.changes.note(merge.changed.iter().map(|version| version.token.id));
        merge
    }

    /// Takes in one token that was read singly, where a copy of everything is kept; others are asked for when they are needed.
    pub fn heard(&self, version: &Version, asked: Duration) {
        if self.mirrored {
            let merge = self.merge(std::slice::from_ref(version), asked);
            self.note_singly(merge.changed.iter().map(|version| version.token.id));
        }
    }

    /// These tokens are there and cannot be read: nobody can say that they are gone.
    pub fn unreadable(&self, ids: &[TokenId]) {
        if !ids.is_empty() {
            let mut held = self.write();
            ids.iter().for_each(|id| held.is_unreadable(*id));
        }
    }

    /// Whether this token was found to be there and could not be read.
    #[must_use]
    pub fn is_unreadable(&self, id: TokenId) -> bool {
        self.read().knows_unreadable(id)
    }

    /// These are to be written down where a copy of everything is: they changed, or could not be before.
    pub fn note_singly(&self, ids: impl IntoIterator<Item = TokenId>) {
        self.singly.lock().unwrap_or_else(PoisonError::into_inner).extend(ids);
    }

    /// What changed, since this was last asked, by other hands than those that keep the copy of everything: the versions held
    /// by now, and tokens that are gone.
    pub fn changed_singly(&self) -> (Vec<Version>, Vec<TokenId>) {
        let ids = std::mem::take(&mut *self.singly.lock().unwrap_or_else(PoisonError::into_inner));
        let held = self.read();
        let mut changed = (Vec::new(), Vec::new());
        for id in ids {
            match held.version(id) {
                Some(version) => changed.0.push(version),
                None => changed.1.push(id),
            }
        }
        changed
    }

    /// Takes out what the source no longer has, unless it was heard of since `asked` (monotonic); gives those taken out.
    pub fn remove(&self, ids: &[TokenId], asked: Duration) -> Vec<TokenId> {
        let mut held = self.write();
        held.make_room_for_gone(ids.len());
        let gone: Vec<TokenId> = ids.iter().copied().filter(|id| held.remove(*id, asked)).collect();
        drop(held);
        // Also those of which no copy was held: sessions may run on them.
        self.changes.note(ids.iter().copied());
        gone
    }

    /// The copy of everything is asked for location by location, or all together.
    pub fn of_locations(&self, businesses: impl Iterator<Item = Option<BusinessId>>) {
        self.write().of_locations(businesses);
    }

    /// The copy of this location was compared with the source just now.
    pub fn compared(&self, business: Option<BusinessId>) {
        let now = self.clock.now().mono;
        self.write().compared(business, now);
    }

    /// Everything of this location was listed just now; `complete`: every token of it is held. What became of those in use is
    /// then clear.
    pub fn listed(&self, business: Option<BusinessId>, complete: bool) {
        let now = self.clock.now().mono;
        let mut held = self.write();
        held.compared(business, now);
        held.listed(business, complete);
        drop(held);
        self.changes.note_all();
    }

    /// What there is of this location is as old as this; it is not whole.
    pub fn put_back_in_part(&self, business: Option<BusinessId>, aged: Duration) {
        let now = self.clock.now().mono;
        self.write().put_back_in_part(business, now, aged);
    }

    /// The copy of this location is as it was written down, `aged` ago.
    pub fn put_back(&self, business: Option<BusinessId>, aged: Duration) {
        let now = self.clock.now().mono;
        self.write().put_back(business, now, aged);
        self.changes.note_all();
    }

    /// Tokens held of this location, or of all.
    #[must_use]
    pub fn count(&self, business: Option<BusinessId>) -> usize {
        self.read().count(business)
    }

    /// Tokens held that were last asked for before `asked` (monotonic).
    #[must_use]
    pub fn older(&self, asked: Duration) -> Vec<Arc<AccessToken>> {
        self.read().older(asked).cloned().collect()
    }

    /// What changed since this was last asked; waits for something.
    pub async fn changes(&self) -> Changes {
        self.changes.wait().await
    }

    /// The `UpdatedOn` of the version held.
    #[must_use]
    pub fn updated(&self, id: TokenId) -> Option<jiff::Timestamp> {
        self.read().updated(id)
    }

    /// When the version held was asked for (monotonic).
    #[must_use]
    pub fn asked(&self, id: TokenId) -> Option<Duration> {
        self.read().asked(id)
    }

    /// How a token stands in the copy of everything; none: nobody can say, for there is no such copy.
    #[must_use]
    pub fn standing(&self, id: TokenId) -> Option<Standing> {
        let held = self.read();
        match held.get(id) {
            Some(token) => Some(Standing::Held(Arc::clone(token))),
            None => held.lacks(id).then_some(Standing::Gone),
        }
    }

    /// As [`Catalogue::standing`], where it may be relied on: the copy of its location, or of all if it is gone, is whole and
    /// not stale.
    #[must_use]
    pub fn certain(&self, id: TokenId) -> Option<Standing> {
        let (held, now, usable) = (self.read(), self.clock.now().mono, self.times.stale_for);
        let reliable = match held.get(id) {
            Some(token) => held.covers(token) && held.age_of_location(token, now) <= usable,
            None => held.is_complete() && held.age(now) <= usable,
        };
        drop(held);
        if reliable { self.standing(id) } else { None }
    }

    /// Whether this token is gone, and that may be relied on.
    #[must_use]
    pub fn is_surely_gone(&self, id: TokenId) -> bool {
        let standing = if self.origin.is_none() { self.standing(id) } else { self.certain(id) };
        standing == Some(Standing::Gone)
    }

    /// Every token of the copy of everything.
    #[must_use]
    pub fn all(&self) -> Vec<Arc<AccessToken>> {
        self.older(Duration::MAX)
    }

    /// Whether there is a copy of everything of this location.
    #[must_use]
    pub fn is_whole(&self, business: Option<BusinessId>) -> bool {
        self.read().is_whole(business)
    }

    /// Whether there is a copy of everything.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.read().is_complete()
    }

    /// Whether there is a copy of everything, and every code in it passes `test`. It may look through all of them.
    pub fn every_code(&self, test: impl Fn(&Code) -> bool) -> bool {
        let held = self.read();
        held.is_complete() && held.codes().all(test)
    }

    /// Whether a code may mean more than what is held says: of some location not everything is known by now.
    #[must_use]
    pub fn may_lack(&self) -> bool {
        let (held, now) = (self.read(), self.clock.now().mono);
        self.mirrored && !(held.is_complete() && held.age(now) <= self.times.stale_for)
    }

    /// Whether any login can be decided without the source.
    #[must_use]
    pub fn is_usable(&self) -> bool {
        self.is_complete() || self.tokens() > 0
    }

    /// Token records held that may be used.
    #[must_use]
    pub fn tokens(&self) -> u64 {
        let held = u64::try_from(self.read().len()).unwrap_or(u64::MAX);
        // What was put in or ran out a moment ago is counted too.
        self.copies.run_pending_tasks();
        if self.mirrored { held } else { held.saturating_add(self.copies.entry_count()) }
    }

    fn read(&self) -> RwLockReadGuard<'_, Held> {
        self.held.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Held> {
        self.held.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// How long a login waits for the source where it need not: a stale copy answers then, or, for a device, nothing. It is
    /// `first_answer_within` for each of the three requests of a router and one more, 0.8 s by default: within the 0.9 s
    /// after which RouterOS with its shortest default gives up (facts/hotspot.md §2).
    #[must_use]
    pub fn patience(&self) -> Duration {
        self.times.first_answer_within * 4
    }

    /// Looks in memory only.
    #[must_use]
    pub fn find(&self, claim: &Claim) -> Find {
        let held = self.read();
        let found = held.find(claim).cloned();
        let complete = held.is_complete();
        let Some(_) = self.origin else {
            return found.map_or(if complete { Find::Here(Tokens::None) } else { Find::Nothing }, Find::Here);
        };
        // A mirror is kept fresh; while it cannot be, it serves as a stale copy does.
        let (now, usable) = (self.clock.now(), self.times.stale_for);
        let whole = complete && held.age(now.mono) <= usable;
        let is_usable = |token: &&Arc<AccessToken>| held.age_of_token(token, now.mono) <= usable;
        let found = match found.unwrap_or_default() {
            tokens if tokens.iter().all(|token| is_usable(&token)) => tokens,
            tokens => tokens.iter().filter(is_usable).cloned().collect(),
        };
        let covered = !found.is_empty() && found.iter().all(|token| held.covers(token));
        drop(held);
        // A code whose tokens are all over, or not begun, may have been given out anew.
        let is_open = |tokens: &Tokens| tokens.iter().any(|token| token.window(now.wall) == Window::Open);
        match claim {
            Claim::Code(_) if covered && is_open(&found) => return Find::Here(found),
            // A record that names a device was there before the device came, unlike a code that was given out just now.
            Claim::Device(_) if whole || covered => return Find::Here(found),
            Claim::Code(_) | Claim::Device(_) => {}
        }
        let key = Key::of(claim);
        match self.fresh(&key) {
            // Those that are over say why there is none.
            Some(Tokens::None) => {
                let over = |token: &&Arc<AccessToken>| token.window(now.wall) != Window::Open;
                return Find::Here(found.iter().filter(over).cloned().collect());
            }
            Some(tokens) => return Find::Here(self.as_held(tokens, &found)),
            None => {}
        }
        let stale = self.copies.get(&key).filter(|copy| copy.age(now.mono) <= self.times.stale_for);
        let stale = self.as_held(stale.map(|copy| copy.tokens).unwrap_or_default(), &found);
        Find::Ask { stale: Some(stale).filter(|tokens| !tokens.is_empty()) }
    }

    /// What a single copy and the copy of everything have together. What the former brought is in the latter, which knows
    /// since what changed: it goes before.
    fn as_held(&self, copy: Tokens, found: &Tokens) -> Tokens {
        if !self.mirrored {
            return copy;
        }
        let held = self.read();
        let there = copy.iter().filter(|token| !held.lacks(token.id));
        let there = there.map(|token| held.get(token.id).unwrap_or(token));
        let others = found.iter().filter(|token| copy.iter().all(|copied| copied.id != token.id));
        there.chain(others).cloned().collect()
    }

    /// How old the copy is that answers for this claim.
    #[must_use]
    pub fn age_of(&self, claim: &Claim) -> Option<Duration> {
        let of_all = self.read().age_of(claim, self.clock.now().mono);
        of_all.or_else(|| self.copies.get(&Key::of(claim)).map(|copy| copy.age(self.clock.now().mono)))
    }

    /// Asks the source, however fresh the copy at hand is; without a source that can be asked, the copy answers.
    pub async fn refresh(self: &Arc<Self>, claim: &Claim) -> Found {
        if self.origin.is_none() {
            return match self.find(claim) {
                Find::Here(tokens) => Found::Tokens(tokens),
                Find::Ask { .. } | Find::Nothing => Found::Unavailable,
            };
        }
        let Ok(tokens) = self.fetch(claim, true).await else { return Found::Unavailable };
        if !self.mirrored {
            // Whoever types the code as it is in the record shall have it too.
            let fetched_at = self.clock.now().mono;
            let codes = tokens.iter().map(|token| Key::Code(token.code.clone()));
            codes.for_each(|key| self.copies.insert(key, Copy::fetched(tokens.clone(), fetched_at)));
        }
        Found::Tokens(tokens)
    }

    /// Waits for the source where memory alone does not answer: for a code without a copy as long as the source's own
    /// deadlines; else at most for `patience`, after which a stale copy answers.
    pub async fn obtain(self: &Arc<Self>, claim: &Claim, patience: Duration) -> Found {
        let stale = match self.find(claim) {
            // What is held may not be all that there is: whoever asks for more is told more, if the source answers in time.
            Find::Here(tokens) if self.may_lack() => {
                let known = || Found::Tokens(tokens.clone());
                let fetched = tokio::time::timeout(patience, self.fetch(claim, false)).await;
                return match (fetched, self.find(claim)) {
                    (Ok(Ok(_)), Find::Here(tokens) | Find::Ask { stale: Some(tokens) }) => Found::Tokens(tokens),
                    _ => known(),
                };
            }
            Find::Here(tokens) => return Found::Tokens(tokens),
            Find::Nothing => return Found::Unavailable,
            Find::Ask { stale } => stale,
        };
        let fetch = self.fetch(claim, false);
        let outcome = match (claim, &stale) {
            (Claim::Code(_), None) => Some(fetch.await),
            // The portal page of every new device waits for its MAC login.
            _ => tokio::time::timeout(patience, fetch).await.ok(),
        };
        match (outcome, stale) {
            (Some(Ok(tokens)), _) | (_, Some(tokens)) => Found::Tokens(tokens),
            _ => Found::Unavailable,
        }
    }

    /// The one fetch under way for this claim, begun now if there is none. It runs on when nobody waits any more.
    async fn fetch(self: &Arc<Self>, claim: &Claim, anew: bool) -> Outcome {
        let Some(mut outcome) = self.join_or_begin(claim, anew) else {
            return Err(Error::Retry { what: "too many look-ups are under way".to_owned(), after: None });
        };
        let ended = outcome.wait_for(Option::is_some).await.ok().and_then(|outcome| outcome.clone());
        ended.unwrap_or_else(|| Err(Error::Retry { what: "the look-up broke off".to_owned(), after: None }))
    }

    fn join_or_begin(self: &Arc<Self>, claim: &Claim, anew: bool) -> Option<watch::Receiver<Option<Outcome>>> {
        let origin = Arc::clone(self.origin.as_ref()?);
        let key = Key::of(claim);
        let mut in_flight = self.in_flight.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(outcome) = in_flight.get(&key) {
            return Some(outcome.clone());
        }
        // A fetch may have ended between the look into memory and this lock.
        if let Some(tokens) = self.fresh(&key).filter(|_| !anew) {
            return Some(watch::channel(Some(Ok(tokens))).1);
        }
        if in_flight.len() >= MAX_IN_FLIGHT {
            return None;
        }
        let (ended, outcome) = watch::channel(None);
        in_flight.insert(key.clone(), outcome.clone());
        drop(in_flight);

        let landing = Landing { catalogue: Arc::clone(self), key };
        let claim = claim.clone();
        let fetch = async move {
            let asked = landing.catalogue.clock.now().mono;
            let mut answer = origin.look_up(&claim).await;
            if let Ok(found) = &mut answer {
                let missed = landing.catalogue.miss(&claim, found).await;
                found.extend(missed);
            }
            let outcome = answer.map(|found| landing.catalogue.keep(&landing.key, &found, asked));
            drop(landing);
            ended.send_replace(Some(outcome));
        };
        // Of those that wait for it, the first is named in what is logged of it.
        tokio::spawn(fetch.in_current_span());
        Some(outcome)
    }

    /// A search lacks what is held under the very code: that may be gone, have another code by now, or be left out for once.
    /// Gives those that are there under this code all the same.
    async fn miss(&self, claim: &Claim, found: &[Version]) -> Vec<Version> {
        let mut missed = Vec::new();
        let Claim::Code(code) = claim else { return missed };
        let known = self.read().find(claim).cloned().unwrap_or_default();
        // Nobody knows how the server's filter folds case.
        let missing = known.iter().filter(|token| token.code == *code).map(|token| token.id);
        let missing = missing.filter(|id| found.iter().all(|version| version.token.id != *id));
        for id in missing.take(MISSED).collect::<Vec<_>>() {
            match self.reread(id).await {
                Ok(Some(version)) if version.token.code.key() == code.key() => missed.push(version),
                Ok(_) => {}
                Err(error) => {
                    tracing::debug!(%error, token = id.0, "an access token that a search lacks could not be looked for");
                    break;
                }
            }
        }
        missed
    }

    /// Reads one token anew by its id; none: the source has no such token.
    ///
    /// # Errors
    ///
    /// The source does not say.
    pub async fn reread(&self, id: TokenId) -> Result<Option<Version>, Error> {
        let Some(origin) = &self.origin else {
            return Err(Error::Retry { what: "a file is read as a whole".to_owned(), after: None });
        };
        let asked = self.clock.now().mono;
        let Some(version) = origin.read_one(id).await? else {
            if self.mirrored {
                self.remove(&[id], asked);
                self.note_singly([id]);
            }
            // It may have been heard of since.
            return Ok(self.read().version(id));
        };
        self.heard(&version, asked);
        Ok(Some(version))
    }

    /// Keeps what the source answered, and gives it.
    fn keep(&self, key: &Key, found: &[Version], asked: Duration) -> Tokens {
        let tokens: Tokens = found.iter().map(|version| Arc::clone(&version.token)).collect();
        if self.mirrored {
            let merge = self.merge(found, asked);
            self.note_singly(merge.changed.iter().map(|version| version.token.id));
        }
        let fetched_at = self.clock.now().mono;
        if tokens.is_empty() {
            self.copies.invalidate(key);
            self.absent.insert(key.clone(), fetched_at);
        } else {
            self.absent.invalidate(key);
            self.copies.insert(key.clone(), Copy::fetched(tokens.clone(), fetched_at));
        }
        tokens
    }

    /// What may be said without asking the source.
    fn fresh(&self, key: &Key) -> Option<Tokens> {
        let now = self.clock.now().mono;
        let copy = self.copies.get(key).filter(|copy| copy.age(now) < self.times.fresh_for);
        copy.map(|copy| copy.tokens).or_else(|| {
            let absent = self.absent.get(key).filter(|said| now.saturating_sub(*said) < self.times.unknown_for);
            absent.map(|_| Tokens::default())
        })
    }
}

/// Clears the place of a fetch, also when it panics.
struct Landing {
    catalogue: Arc<Catalogue>,
    key: Key,
}

impl Drop for Landing {
    fn drop(&mut self) {
        self.catalogue.in_flight.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.key);
    }
}

impl fmt::Debug for Catalogue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Catalogue").field("tokens", &self.tokens()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
