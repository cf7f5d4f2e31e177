//! The mirror: a copy of every token, kept fresh by asking what changed, and compared as a whole now and then, since what was
//! deleted shows nowhere else (facts/nexudus.md §4).
//!
//! Nothing of an answer is trusted further than it goes. A list need not have filtered, and its pages move while they are
//! read: a token that a listing lacks is gone only if it is not found by its id either; or, of many on which nobody is online, if
//! the next listing lacks it too, some of them are found to be gone and none to be there; or, of a few where nothing can be read
//! by its id, after an hour. Where most are missing, nothing is believed before the next listing says so, too. An older state
//! never takes the place of a newer one ([`Catalogue::merge`]).
//!
//! Its calls are tried once and have pauses of their own, so that no login waits because one of them failed; and each location
//! is as fresh as it is itself.

mod commons;
mod coverage;
mod listing;
mod reading;
mod shelf;

use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, TryLockError};
use std::time::Duration;

use jiff::Timestamp;

pub use self::commons::Commons;
pub use self::coverage::Coverage;
use self::listing::Listing;
use self::reading::Meant;
pub(crate) use self::shelf::{Glance, glance};
use self::shelf::{Kept, Shelf};
use crate::catalogue::{Catalogue, Standing};
use crate::clock::Clock;
use crate::config;
use crate::core::ident::{BusinessId, TokenId};
use crate::database;
use crate::source::alarm::Alarm;
use crate::source::nexudus::{Effort, Hint, Nexudus, Share};
use crate::source::{Error, Version};

/// Records asked for at once: the most that Nexudus grants.
const SIZE: &str = "1000";
const PAGE: usize = 1000;

/// How far before the latest look changes are asked for: clocks differ, and bounds are cut to the minute.
const OVERLAP: Duration = Duration::from_secs(300);

/// How long one call may wait for its turn: logins and writing back go before, and the ceiling's window is a minute.
const CALL_WITHIN: Duration = Duration::from_secs(120);

/// Pages of changes that are read; more are a listing's business.
const PAGES_OF_CHANGES: u32 = 20;

/// Records of one page that are read singly because the list leaves keys out.
const SINGLES: usize = 20;

/// Listings begun for a number that fell and found nothing, after which it is believed no more.
const FUTILE: u8 = 3;

/// Failures after which no more single records are read for now, or a location is passed over in a listing.
const FAILURES: u32 = 3;

/// Tokens of which is remembered that they could not be read.
const TRIED: usize = 10_000;

/// Tokens put down in one change of the file, where many wait.
const PUT_AT_ONCE: usize = 1000;

/// How long a change of the file may take before it is done without.
const WRITTEN_WITHIN: Duration = Duration::from_secs(10);

/// Intervals after which a word that a token is not there counts no more.
const WORD: u32 = 5;

/// The pause after a failure that names none.
const PAUSE: Duration = Duration::from_secs(5);

/// Whether somebody is online on a token.
pub type InUse = Arc<dyn Fn(TokenId) -> bool + Send + Sync>;

/// What is kept of a location, or of everything if none are configured.
#[derive(Debug)]
struct Location {
    business: Option<BusinessId>,
    /// Up to when, by Nexudus' clock, changes were seen.
    seen_to: Option<Timestamp>,
    /// Whether there were more or fewer records than are held, so that something must be gone or new.
    differs: bool,
    /// Listings in a row, begun for that, that found nothing.
    futile: u8,
    /// By how much the number fell that was noticed last.
    fell: usize,
    /// How many records more the latest listing saw than are held: malformed ones, or others' where the filter is ignored; less
    /// those that lists hide.
    others: Option<i64>,
    /// Tokens that lists lack and that are there by their ids.
    hidden: HashSet<TokenId>,
    /// Whether the latest listing passed it over.
    passed_over: bool,
    /// Whether the latest listing found some that lists were not known to hide.
    slipped: bool,
    /// When it is asked next what changed (monotonic).
    next: Duration,
    /// How often in a row that failed.
    failures: u32,
    /// What listings lack and is not known to be gone, and since when (monotonic).
    lacked: HashMap<TokenId, Duration>,
}

/// The mirror of one source.
pub struct Mirror {
    nexudus: Arc<Nexudus>,
    catalogue: Arc<Catalogue>,
    clock: Clock,
    coverage: Arc<Coverage>,
    shelf: Option<Arc<Mutex<Shelf>>>,
    locations: Vec<Location>,
    listing: Option<Listing>,
    next_listing: Duration,
    /// Whether a page was listed since changes were asked for: neither waits for ever for the other.
    listed_since: bool,
    /// Told from outside that something changed.
    hint: Arc<Hint>,
    /// Whether somebody is online on a token.
    is_in_use: InUse,
    /// Something is held that is not in the file.
    unsaved: AtomicBool,
    /// Steps in a row that failed.
    in_vain: u32,
    /// Listings in a row that left something open and brought nothing, and how much the latest left.
    again: u32,
    open: usize,
    /// When tokens were tried that could not be read singly (monotonic).
    tried: HashMap<TokenId, Duration>,
    /// Tokens of the file that no list has shown since.
    unlisted: HashSet<TokenId>,
    /// Whether tokens that a listing lacks are being looked for.
    searching: bool,
    /// Whether a location cannot be listed for now.
    unlistable: bool,
    /// Tokens in use that were said not to be there, and when (monotonic): it takes two to believe it where nothing is listed.
    absent: HashMap<TokenId, Duration>,
    /// Whether it was said that lists do not tell how long they are.
    untold: bool,
    /// What is shared with other daemons, if there are such.
    commons: Option<Commons>,
}

impl std::fmt::Debug for Mirror {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Mirror").field("locations", &self.locations).finish_non_exhaustive()
    }
}

impl Mirror {
    /// A mirror that is kept in `catalogue` and, unless it cannot be, in a file under `folder`. What the file holds is in
    /// the catalogue on return. It blocks.
    pub fn open(
        nexudus: Arc<Nexudus>,
        catalogue: Arc<Catalogue>,
        coverage: Arc<Coverage>,
        clock: Clock,
        folder: Option<&Path>,
        hint: Arc<Hint>,
        is_in_use: InUse,
    ) -> Self {
        let config = &nexudus.config;
        let of = account(config);
        let opened = folder.map(|folder| Shelf::open(folder, &of)).transpose();
        let opened = opened.inspect_err(|error| coverage.not_written(&error.to_string(), clock.now().mono));
        let (mut shelf, kept) = opened.ok().flatten().unzip();
        let kept = kept.unwrap_or_default();
        let businesses = config.business_ids.iter().map(|business| Some(*business));
        let businesses: Vec<_> = if config.business_ids.is_empty() { vec![None] } else { businesses.collect() };
        let seen_to = |business| kept.seen_to.get(&business).copied();
        let location = |business| Location {
            business,
            seen_to: seen_to(business),
            differs: false,
            futile: 0,
            fell: 0,
            others: None,
            hidden: HashSet::new(),
            passed_over: false,
            slipped: false,
            next: Duration::ZERO,
            failures: 0,
            lacked: HashMap::new(),
        };
        let locations = businesses.iter().copied().map(location).collect();
        catalogue.of_locations(businesses.iter().copied());
        if let Some(error) = shelf.as_mut().and_then(|shelf: &mut Shelf| shelf.of_locations(&businesses).err()) {
            coverage.not_written(&error.to_string(), clock.now().mono);
        }
        put_back(&catalogue, &kept, &clock);
        Self {
            catalogue,
            coverage,
            shelf: shelf.map(|shelf| Arc::new(Mutex::new(shelf))),
            locations,
            listing: None,
            next_listing: Duration::ZERO,
            listed_since: true,
            hint,
            is_in_use,
            unsaved: AtomicBool::new(false),
            in_vain: 0,
            again: 0,
            open: 0,
            tried: HashMap::new(),
            unlisted: kept.versions.iter().map(|version| version.token.id).collect(),
            searching: false,
            unlistable: false,
            absent: HashMap::new(),
            untold: false,
            commons: None,
            nexudus,
            clock,
        }
    }

    /// The same, where one of several daemons asks for all.
    #[must_use]
    pub fn sharing(self, commons: Option<Commons>) -> Self {
        let commons = commons.map(|commons| commons.of(&account(&self.nexudus.config)));
        Self { commons, ..self }
    }

    /// Keeps it fresh; never ends.
    pub async fn run(mut self) {
        let hint = Arc::clone(&self.hint);
        // What was taken over from a mirror before is not in the file.
        self.write_singly().await;
        loop {
            if let Err(pause) = self.asks().await {
                // Whoever hints here waits for the daemon that asks.
                let clock = self.clock.clone();
                tokio::select! {
                    () = clock.sleep(pause) => {}
                    () = self.has_news() => {}
                }
                continue;
            }
            let outcome = self.step().await;
            self.in_vain = if outcome.is_ok() { 0 } else { self.in_vain.saturating_add(1) };
            let pause = match outcome {
                Ok(pause) => pause,
                Err(Error::Retry { after, .. }) => {
                    let own = self.pause(self.in_vain);
                    // A short wish is believed once.
                    let least = if self.in_vain > 1 { own } else { Duration::from_millis(100) };
                    after.unwrap_or(own).max(least)
                }
                // The client itself keeps quiet for longer.
                Err(Error::Refused { .. }) => PAUSE * 6,
            };
            if pause > Duration::ZERO {
                tokio::select! {
                    () = self.clock.sleep(pause) => {}
                    () = hint.hinted() => self.locations.iter_mut().for_each(|location| location.next = Duration::ZERO),
                }
            }
        }
    }

    /// Does what is due, one page at most of a listing; how long there is nothing to do.
    async fn step(&mut self) -> Result<Duration, Error> {
        let now = self.clock.now().mono;
        let lists = self.listing.is_some() || now >= self.next_listing;
        let in_turn = !lists || self.listed_since;
        if in_turn && self.locations.iter().any(|location| location.is_due(now)) {
            self.listed_since = false;
            self.changes(now).await?;
            return Ok(Duration::ZERO);
        }
        self.listed_since = true;
        if self.listing.is_none() && now >= self.next_listing {
            self.listing = Some(Listing::new(now, self.catalogue.is_complete()));
        }
        if self.listing.is_some() {
            self.list_on().await?;
            return Ok(Duration::ZERO);
        }
        let looks = self.locations.iter().filter(|location| location.seen_to.is_some()).map(|location| location.next);
        Ok(looks.fold(self.next_listing, Duration::min).saturating_sub(now))
    }

    /// How long from one look for changes to the next: as configured, or as long as the mirror's share of the ceiling takes to
    /// carry the two calls for each location.
    fn interval(&self) -> Duration {
        let config = &self.nexudus.config;
        let share = (config.requests_per_minute / 2).max(1);
        let calls = u32::try_from(2 * self.locations.len()).unwrap_or(u32::MAX);
        config.mirror_interval.max(Duration::from_secs(60).saturating_mul(calls) / share)
    }

    /// How long to wait after so many failures in a row: logins do not wait because of them, so the mirror must.
    fn pause(&self, failures: u32) -> Duration {
        let doubled = PAUSE.saturating_mul(1 << failures.saturating_sub(1).min(6));
        doubled.min(self.interval().max(PAUSE))
    }

    fn effort(&self) -> Effort {
        self.nexudus.effort_alone(Share::Half, CALL_WITHIN)
    }

    /// Asks each location whose turn it is what changed. One that fails holds no other up.
    async fn changes(&mut self, now: Duration) -> Result<(), Error> {
        self.write_singly().await;
        if self.unlistable || self.locations.iter().any(Location::is_unlisted) {
            self.read_in_use(now).await;
        }
        let (mut looked, mut failed) = (0, Vec::new());
        for index in 0..self.locations.len() {
            if !self.locations.get(index).is_some_and(|location| location.is_due(now)) {
                continue;
            }
            let outcome = self.changes_of(index).await;
            let failures = self.locations.get(index).map_or(0, |location| location.failures);
            let failures = if outcome.is_ok() { 0 } else { failures.saturating_add(1) };
            let pause = if outcome.is_ok() { self.interval() } else { self.pause(failures) };
            let then = self.clock.now().mono;
            if let Some(location) = self.locations.get_mut(index) {
                let is_back = outcome.is_ok() && location.failures > 0;
                if is_back && location.passed_over {
                    // It answers again: its lists are to speak for its tokens.
                    self.next_listing = Duration::ZERO;
                }
                (location.next, location.failures) = (then + pause, failures);
            }
            looked += 1;
            match outcome {
                // A right may be missing at one location alone; what else is refused concerns all.
                Err(Error::Refused { alarm, .. }) if !matches!(alarm, Alarm::RoleMissing(_)) => return outcome,
                Err(error) => failed.push(error),
                Ok(()) => {}
            }
        }
        if self.locations.iter().all(|location| location.seen_to.is_some() && location.failures == 0) {
            self.coverage.compared(self.clock.now().mono);
        }
        // Nothing works: whoever waits for it waits as long as was asked for.
        if failed.len() == looked { failed.into_iter().next().map_or(Ok(()), Err) } else { Ok(()) }
    }

    /// Of what cannot be listed, those are read by their ids on which somebody is online; the longest unread first.
    async fn read_in_use(&mut self, now: Duration) {
        let interval = self.interval();
        let alone = self.locations.len() == 1;
        let unlisted = self.locations.iter().filter(|location| alone || location.is_unlisted());
        let unlisted: Vec<_> = unlisted.map(|location| location.business).collect();
        let mut ids = self.in_use(now.saturating_sub(interval)).await;
        ids.retain(|id| unlisted.iter().any(|business| self.is_of(*id, *business)));
        // Those first of which one word is known.
        ids.sort_by_key(|id| self.is_absent_since(*id).is_none_or(|since| since + interval > now));
        for id in ids.into_iter().take(SINGLES) {
            match self.single(id).await {
                Ok(None | Some(Meant::Other))
                    if self.is_absent_since(id).is_some_and(|since| since + interval <= now) =>
                {
                    self.absent.remove(&id);
                    self.remove(&[id], now).await;
                }
                Ok(None | Some(Meant::Other)) => {
                    if self.absent.len() >= TRIED {
                        self.absent.clear();
                    }
                    let since = self.is_absent_since(id).unwrap_or(now);
                    self.absent.insert(id, since);
                    self.tried(id);
                }
                Ok(Some(Meant::Ours(version))) => {
                    self.absent.remove(&id);
                    self.take(vec![version], now).await;
                }
                Ok(Some(Meant::Odd)) => self.tried(id),
                Err(_) => {
                    self.tried(id);
                    break;
                }
            }
        }
    }

    /// Since when it is said not to be there, and not heard of since.
    fn is_absent_since(&self, id: TokenId) -> Option<Duration> {
        let heard = self.catalogue.asked(id).unwrap_or_default();
        // A word of one outage is none in the next.
        let (now, counts) = (self.clock.now().mono, self.interval() * WORD);
        self.absent.get(&id).copied().filter(|since| heard <= *since && now <= *since + counts)
    }

    /// Tokens on which somebody is online and that were last asked for before `asked`, the longest unread first.
    async fn in_use(&self, asked: Duration) -> Vec<TokenId> {
        let (catalogue, is_in_use) = (Arc::clone(&self.catalogue), Arc::clone(&self.is_in_use));
        // Many are held: not on a thread that answers.
        let looking = tokio::task::spawn_blocking(move || {
            let older = catalogue.older(asked);
            older.iter().map(|token| token.id).filter(|id| is_in_use(*id)).collect::<Vec<_>>()
        });
        let mut ids = looking.await.unwrap_or_default();
        ids.sort_unstable_by_key(|id| (self.last_tried(*id), *id));
        ids
    }

    /// There are fewer than there were. Where that is less than to list everything, those in use are read first: a session must
    /// end soon, whoever else is gone. That the number fell by so many and that it is not there by its id are two words for it.
    /// How many are gone.
    async fn read_in_use_before_listing(&mut self, business: Option<BusinessId>, fell: usize) -> usize {
        let now = self.clock.now().mono;
        let pages = self.catalogue.count(business) / PAGE;
        let mut ids = self.in_use(now).await;
        ids.retain(|id| self.is_of(*id, business));
        if ids.len() > pages {
            return 0;
        }
        let mut gone = Vec::new();
        for id in ids {
            match self.single(id).await {
                Ok(None | Some(Meant::Other)) => gone.push(id),
                Ok(Some(Meant::Ours(version))) => drop(self.take(vec![version], now).await),
                Ok(Some(Meant::Odd)) => self.tried(id),
                // The listing finds out.
                Err(_) => break,
            }
        }
        // More than are missing cannot be gone.
        if gone.len() > fell {
            return 0;
        }
        self.remove(&gone, now).await;
        gone.len()
    }

    /// Whether it is held of this location.
    fn is_of(&self, id: TokenId, business: Option<BusinessId>) -> bool {
        match self.catalogue.standing(id) {
            Some(Standing::Held(token)) => business.is_none() || token.business == business,
            Some(Standing::Gone) | None => false,
        }
    }

    async fn changes_of(&mut self, index: usize) -> Result<(), Error> {
        let Some(location) = self.locations.get(index) else { return Ok(()) };
        let (business, Some(seen_to)) = (location.business, location.seen_to) else { return Ok(()) };
        let bound = to_the_minute(seen_to.saturating_sub(OVERLAP).unwrap_or(Timestamp::MIN));
        let mut seen_by = None;
        for page in 1..=PAGES_OF_CHANGES + 1 {
            if page > PAGES_OF_CHANGES {
                tracing::warn!("so much changed in Nexudus, or its filter is ignored, that everything is listed anew");
                self.next_listing = Duration::ZERO;
                break;
            }
            let read = self.page(business, page, &[("from_AccessToken_UpdatedOn", &bound)], SIZE).await?;
            seen_by = seen_by.or(read.date);
            self.take(read.versions, read.asked).await;
            self.remove(&read.elsewhere, read.asked).await;
            if !read.has_next_page {
                break;
            }
        }
        self.look_for_others(index).await?;
        self.see_to(index, seen_by.unwrap_or(seen_to)).await;
        self.catalogue.compared(business);
        self.note_compared(business).await;
        Ok(())
    }

    /// Has everything listed anew if a location holds fewer records than are held here: one was deleted, which shows
    /// nowhere else. Or if it holds more, since one was taken to be gone that is there again.
    async fn look_for_others(&mut self, index: usize) -> Result<(), Error> {
        let Some(location) = self.locations.get(index) else { return Ok(()) };
        let business = location.business;
        let others = location.others.or(self.catalogue.is_complete().then_some(0));
        let Some(others) = others.filter(|_| location.futile < FUTILE) else { return Ok(()) };
        let Some(total) = self.page(business, 1, &[], "1").await?.total else {
            if !std::mem::replace(&mut self.untold, true) {
                tracing::warn!(
                    "Nexudus does not say how long its lists are: what is deleted shows with a full listing only"
                );
            }
            return Ok(());
        };
        let held = i64::try_from(self.catalogue.count(business)).unwrap_or(i64::MAX);
        let differs = i64::try_from(total).unwrap_or(i64::MAX) != held.saturating_add(others);
        let Some(location) = self.locations.get_mut(index) else { return Ok(()) };
        if !differs {
            location.futile = 0;
            location.fell = 0;
        } else if !self.searching {
            let under_way = self.listing.is_some();
            if !under_way {
                self.next_listing = Duration::ZERO;
                location.differs = true;
            }
            // A list that lacks most is not believed at once.
            let (total, expected) = (i64::try_from(total).unwrap_or(i64::MAX), held.saturating_add(others));
            let is_less = total < expected && total >= expected / 2;
            let fell = if is_less { usize::try_from(expected - total).unwrap_or_default() } else { 0 };
            // What was noticed before is what is being listed for.
            let known = std::mem::replace(&mut location.fell, fell);
            let fell = if under_way { fell.saturating_sub(known) } else { fell };
            if fell > 0 {
                let gone = self.read_in_use_before_listing(business, fell).await;
                if gone > 0
                    && let Some(location) = self.locations.get_mut(index)
                {
                    location.fell = location.fell.saturating_sub(gone);
                    // That was something: the number is to be believed.
                    location.differs &= under_way;
                }
            }
        }
        Ok(())
    }

    /// Takes versions in and writes down what changed; for how many there was no room.
    async fn take(&self, versions: Vec<Version>, asked: Duration) -> usize {
        let merge = self.catalogue.merge(&versions, asked);
        if merge.left_out > 0 {
            tracing::error!(tokens = merge.left_out, "cache.max_tokens leaves tokens out of the mirror");
        }
        if !merge.changed.is_empty() {
            self.put_down(merge.changed, Vec::new()).await;
        }
        merge.left_out
    }

    /// Writes down what was read singly since, for a list that shows the same is no change any more; and what could not be
    /// written before.
    async fn write_singly(&self) {
        let (changed, gone) = self.catalogue.changed_singly();
        let mut written = gone.is_empty() || self.put_down(Vec::new(), gone).await;
        for some in changed.chunks(PUT_AT_ONCE) {
            written &= self.put_down(some.to_vec(), Vec::new()).await;
        }
        if written && self.unsaved.swap(false, Ordering::Relaxed) {
            self.coverage.written();
        }
    }

    /// Writes down what changed; whether it did. What could not be written is tried again with the next look for changes.
    async fn put_down(&self, changed: Vec<Version>, gone: Vec<TokenId>) -> bool {
        let ids: Vec<TokenId> = changed.iter().map(|version| version.token.id).chain(gone.iter().copied()).collect();
        let shared = match &self.commons {
            Some(commons) => commons.put_down(&changed, &gone).await,
            None => Ok(()),
        };
        let written = self.shared(shared) & self.write(move |shelf| shelf.put(&changed, &gone)).await;
        if !written {
            self.unsaved.store(true, Ordering::Relaxed);
            self.catalogue.note_singly(ids);
        }
        written
    }

    /// Takes out tokens that are gone.
    async fn remove(&self, ids: &[TokenId], asked: Duration) {
        let gone = self.catalogue.remove(ids, asked);
        if !gone.is_empty() {
            tracing::info!(tokens = gone.len(), "access tokens are gone from Nexudus");
            self.put_down(Vec::new(), gone).await;
        }
    }

    async fn see_to(&mut self, index: usize, seen_to: Timestamp) {
        let Some(location) = self.locations.get_mut(index) else { return };
        let business = location.business;
        location.seen_to = Some(seen_to);
        self.see(business, Some(seen_to), None).await;
        self.write_unless_behind(move |shelf| shelf.seen_to(business, seen_to)).await;
    }

    async fn note_compared(&self, business: Option<BusinessId>) {
        let at = self.catalogue.is_whole(business).then(|| self.clock.now().wall);
        self.see(business, None, at).await;
        self.write_unless_behind(move |shelf| shelf.compared(business, at)).await;
    }

    /// Tells other daemons how far a location is, unless they lack something of it.
    async fn see(&self, business: Option<BusinessId>, seen_to: Option<Timestamp>, compared: Option<Timestamp>) {
        if let Some(commons) = &self.commons
            && !self.unsaved.load(Ordering::Relaxed)
        {
            self.shared(commons.see(business, seen_to, compared).await);
        }
    }

    /// Whether other daemons have what was found.
    fn shared(&self, outcome: Result<(), database::Error>) -> bool {
        let outcome = outcome.inspect_err(|error| tracing::debug!(%error, "other daemons do not know what was found"));
        outcome.is_ok()
    }

    /// What the file says of itself stays as it is while it lacks something: a restart then asks from there on.
    async fn write_unless_behind(&self, change: impl FnOnce(&mut Shelf) -> rusqlite::Result<()> + Send + 'static) {
        if !self.unsaved.load(Ordering::Relaxed) {
            self.write(change).await;
        }
    }

    /// Changes the file, if there is one; without it a restart lists everything again. Whether nothing is amiss.
    async fn write(&self, change: impl FnOnce(&mut Shelf) -> rusqlite::Result<()> + Send + 'static) -> bool {
        let Some(shelf) = self.shelf.clone() else { return true };
        let writing = tokio::task::spawn_blocking(move || match shelf.try_lock() {
            Ok(mut shelf) => change(&mut shelf).map_err(|error| error.to_string()),
            Err(TryLockError::Poisoned(shelf)) => change(&mut shelf.into_inner()).map_err(|error| error.to_string()),
            Err(TryLockError::WouldBlock) => Err("an earlier change is still being written".to_owned()),
        });
        let why = match tokio::time::timeout(self.clock.real(WRITTEN_WITHIN), writing).await {
            Ok(Ok(Ok(()))) => return true,
            Ok(Ok(Err(error))) => error,
            Ok(Err(error)) => error.to_string(),
            Err(_) => "the disk does not answer".to_owned(),
        };
        self.coverage.not_written(&why, self.clock.now().mono);
        false
    }
}

impl Location {
    /// Whether its lists say nothing of its tokens.
    const fn is_unlisted(&self) -> bool {
        self.passed_over || self.failures >= FAILURES
    }

    fn is_due(&self, now: Duration) -> bool {
        self.seen_to.is_some() && now >= self.next
    }
}

/// Whose tokens these are, and how their dates are read.
fn account(config: &config::Nexudus) -> String {
    let zone = config.time_zone.iana_name().unwrap_or_default();
    let mut ours = config.business_ids.clone();
    ours.sort_unstable();
    format!("{} at {}, {ours:?}, {zone}", config.username, config.base_url)
}

/// Puts what the file held into the catalogue.
fn put_back(catalogue: &Catalogue, kept: &Kept, clock: &Clock) {
    // A clock that was not set since the start of this machine says nothing about age.
    kept.compared.values().for_each(|compared| clock.not_before(*compared));
    let now = clock.now();
    let tokens = kept.versions.len();
    catalogue.merge(&kept.versions, Duration::ZERO);
    for (business, seen_to) in kept.seen_to.iter().filter(|(business, _)| !kept.compared.contains_key(*business)) {
        // It was being listed for the first time.
        catalogue.put_back_in_part(*business, now.wall.duration_since(*seen_to).try_into().unwrap_or(Duration::ZERO));
    }
    let mut oldest = None;
    for (business, compared) in &kept.compared {
        let aged = now.wall.duration_since(*compared).try_into().unwrap_or(Duration::ZERO);
        catalogue.put_back(*business, aged);
        oldest = oldest.max(Some(aged));
    }
    if let Some(aged) = oldest {
        tracing::info!(tokens, aged_s = aged.as_secs(), "the mirror of before is in use");
    }
}

/// `2026-11-24T10:30`, as the filters' documentation has it.
fn to_the_minute(moment: Timestamp) -> String {
    moment.strftime("%Y-%m-%dT%H:%M").to_string()
}

#[cfg(test)]
mod tests;
