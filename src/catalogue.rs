//! Tokens at hand: found in memory now, or fetched once however many ask.
//!
//! Two kinds of copies live here. A *complete* copy (of a file) answers everything, also that a code does not exist.
//! Single copies, looked up upstream one code or device at a time, are served while fresh, and while stale only when the
//! source does not answer; "no such code" is remembered for a short while. That a search failed never means that there is
//! no such code.

use std::collections::HashMap;
use std::fmt;
use std::ops::Deref;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use moka::sync::Cache;
use tokio::sync::watch;

use crate::clock::Clock;
use crate::config;
use crate::core::ident::{Code, CodeKey, Mac};
use crate::core::login::Claim;
use crate::core::token::AccessToken;
use crate::source::{Error, Origin};

/// Every token under one code, or of one device. Cheap to clone; one token, the usual case, needs no list.
#[derive(Clone, Debug, Default)]
pub enum Tokens {
    /// There is none.
    #[default]
    None,
    /// There is one.
    One(Arc<AccessToken>),
    /// There are several.
    Several(Arc<Vec<Arc<AccessToken>>>),
}

impl Tokens {
    fn push(&mut self, token: Arc<AccessToken>) {
        *self = match std::mem::take(self) {
            Self::None => Self::One(token),
            Self::One(first) => Self::Several(Arc::new(vec![first, token])),
            Self::Several(mut tokens) => {
                Arc::make_mut(&mut tokens).push(token);
                Self::Several(tokens)
            }
        };
    }
}

impl Deref for Tokens {
    type Target = [Arc<AccessToken>];

    fn deref(&self) -> &Self::Target {
        match self {
            Self::None => &[],
            Self::One(token) => std::slice::from_ref(token),
            Self::Several(tokens) => tokens,
        }
    }
}

impl FromIterator<AccessToken> for Tokens {
    fn from_iter<I: IntoIterator<Item = AccessToken>>(tokens: I) -> Self {
        let mut all = Self::None;
        tokens.into_iter().for_each(|token| all.push(Arc::new(token)));
        all
    }
}

/// Look-ups under way at once; one more is answered like a source that is away.
const MAX_IN_FLIGHT: usize = 1024;

/// "No such code" is remembered for at most so many codes; guesses push out guesses, never copies of tokens.
const MAX_ABSENT: u64 = 100_000;

/// The tokens at hand.
pub struct Catalogue {
    times: config::Cache,
    clock: Clock,
    complete: RwLock<Option<Arc<Complete>>>,
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
    fetched_at: Duration,
}

/// A copy of every token there is. Codes are folded here; which case counts is decided later.
struct Complete {
    by_code: HashMap<CodeKey, Tokens>,
    by_device: HashMap<Mac, Tokens>,
    tokens: usize,
    /// On the monotonic clock.
    fetched_at: Duration,
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

/// What asking came to.
#[derive(Clone, Debug)]
pub enum Found {
    /// These tokens; none: there is no such code or device.
    Tokens(Tokens),
    /// The source did not answer and no copy may be used.
    Unavailable,
}

impl Complete {
    fn new(tokens: Vec<Arc<AccessToken>>, fetched_at: Duration) -> Self {
        let count = tokens.len();
        let by_code = HashMap::with_capacity(count);
        let mut complete = Self { by_code, by_device: HashMap::new(), tokens: count, fetched_at };
        for token in tokens {
            for device in &token.devices {
                complete.by_device.entry(*device).or_default().push(Arc::clone(&token));
            }
            complete.by_code.entry(token.code.key()).or_default().push(token);
        }
        complete
    }

    fn find(&self, claim: &Claim) -> Option<&Tokens> {
        match claim {
            Claim::Code(code) => self.by_code.get(&code.key()),
            Claim::Device(mac) => self.by_device.get(mac),
        }
    }
}

impl Catalogue {
    /// A catalogue over a source that is asked code by code, or, without `origin`, over complete copies alone.
    #[must_use]
    pub fn new(times: &config::Cache, origin: Option<Arc<dyn Origin>>, clock: Clock) -> Self {
        // moka's own clock only tidies up; what is fresh or stale is judged by ours.
        let kept = |capacity, time| Cache::builder().max_capacity(capacity).time_to_live(time).build();
        let absent = Cache::builder().max_capacity(MAX_ABSENT).time_to_live(times.unknown_for).build();
        Self {
            clock,
            complete: RwLock::default(),
            origin,
            copies: kept(times.max_tokens, times.stale_for.max(times.fresh_for)),
            absent,
            times: times.clone(),
            in_flight: Mutex::default(),
        }
    }

    /// Puts a complete copy in place of the former one.
    pub fn replace(&self, tokens: Vec<Arc<AccessToken>>) {
        let complete = Arc::new(Complete::new(tokens, self.clock.now().mono));
        *self.complete.write().unwrap_or_else(PoisonError::into_inner) = Some(complete);
    }

    /// Whether any login can be decided without the source.
    #[must_use]
    pub fn is_usable(&self) -> bool {
        self.complete.read().unwrap_or_else(PoisonError::into_inner).is_some() || self.tokens() > 0
    }

    /// Token records held that may be used.
    #[must_use]
    pub fn tokens(&self) -> u64 {
        let complete = self.complete.read().unwrap_or_else(PoisonError::into_inner);
        let complete = complete.as_ref().map_or(0, |complete| complete.tokens);
        // What was put in or ran out a moment ago is counted too.
        self.copies.run_pending_tasks();
        u64::try_from(complete).unwrap_or(u64::MAX).saturating_add(self.copies.entry_count())
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
        let complete = self.complete.read().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(tokens) = complete.as_ref().and_then(|complete| complete.find(claim)) {
            return Find::Here(tokens.clone());
        }
        if self.origin.is_none() {
            return complete.map_or(Find::Nothing, |_| Find::Here(Tokens::default()));
        }
        let key = Key::of(claim);
        if let Some(tokens) = self.fresh(&key) {
            return Find::Here(tokens);
        }
        let stale = self.copies.get(&key).filter(|copy| self.age(copy.fetched_at) <= self.times.stale_for);
        Find::Ask { stale: stale.map(|copy| copy.tokens) }
    }

    /// When the copy that answers for this claim was fetched, on the monotonic clock.
    #[must_use]
    pub fn fetched_at(&self, claim: &Claim) -> Option<Duration> {
        let complete = self.complete.read().unwrap_or_else(PoisonError::into_inner).clone();
        let of_all = complete.filter(|complete| complete.find(claim).is_some()).map(|complete| complete.fetched_at);
        of_all.or_else(|| self.copies.get(&Key::of(claim)).map(|copy| copy.fetched_at))
    }

    /// Waits for the source where memory alone does not answer: for a code without a copy as long as the source's own
    /// deadlines; else at most for `patience`, after which a stale copy answers.
    pub async fn obtain(self: &Arc<Self>, claim: &Claim, patience: Duration) -> Found {
        let stale = match self.find(claim) {
            Find::Here(tokens) => return Found::Tokens(tokens),
            Find::Nothing => return Found::Unavailable,
            Find::Ask { stale } => stale,
        };
        let fetch = self.fetch(claim);
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
    async fn fetch(self: &Arc<Self>, claim: &Claim) -> Outcome {
        let Some(mut outcome) = self.join_or_begin(claim) else {
            return Err(Error::Retry { what: "too many look-ups are under way".to_owned(), after: None });
        };
        let ended = outcome.wait_for(Option::is_some).await.ok().and_then(|outcome| outcome.clone());
        ended.unwrap_or_else(|| Err(Error::Retry { what: "the look-up broke off".to_owned(), after: None }))
    }

    fn join_or_begin(self: &Arc<Self>, claim: &Claim) -> Option<watch::Receiver<Option<Outcome>>> {
        let origin = Arc::clone(self.origin.as_ref()?);
        let key = Key::of(claim);
        let mut in_flight = self.in_flight.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(outcome) = in_flight.get(&key) {
            return Some(outcome.clone());
        }
        // A fetch may have ended between the look into memory and this lock.
        if let Some(tokens) = self.fresh(&key) {
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
        tokio::spawn(async move {
            let answer = origin.look_up(&claim).await;
            let outcome = answer.map(Tokens::from_iter);
            if let Ok(tokens) = &outcome {
                landing.catalogue.keep(&landing.key, tokens);
            }
            drop(landing);
            ended.send_replace(Some(outcome));
        });
        Some(outcome)
    }

    fn keep(&self, key: &Key, tokens: &Tokens) {
        let fetched_at = self.clock.now().mono;
        if tokens.is_empty() {
            self.copies.invalidate(key);
            self.absent.insert(key.clone(), fetched_at);
        } else {
            self.copies.insert(key.clone(), Copy { tokens: tokens.clone(), fetched_at });
            self.absent.invalidate(key);
        }
    }

    /// What may be said without asking the source.
    fn fresh(&self, key: &Key) -> Option<Tokens> {
        let copy = self.copies.get(key).filter(|copy| self.age(copy.fetched_at) < self.times.fresh_for);
        copy.map(|copy| copy.tokens).or_else(|| {
            let absent = self.absent.get(key).filter(|said| self.age(*said) < self.times.unknown_for);
            absent.map(|_| Tokens::default())
        })
    }

    fn age(&self, since: Duration) -> Duration {
        self.clock.now().mono.saturating_sub(since)
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
