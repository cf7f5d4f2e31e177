//! Tokens at hand: found in memory now, or fetched once however many ask.
//!
//! Two kinds of copies live here. A *complete* copy (of a file) answers everything, also that a code does not exist.
//! Single copies, looked up upstream one code or device at a time, are served while fresh, and while stale only when the
//! source does not answer; "no such code" is remembered for a short while. That a search failed never means that there is
//! no such code.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use moka::sync::Cache;
use tokio::sync::watch;

use crate::clock::Clock;
use crate::config;
use crate::core::ident::{CodeKey, Mac};
use crate::core::login::Claim;
use crate::core::token::AccessToken;
use crate::source::{Error, Origin};
use crate::telemetry::log::Brake;

/// Every token under one code, or of one device; empty: there is none.
pub type Tokens = Arc<[Arc<AccessToken>]>;

/// Look-ups under way at once; one more is answered like a source that is away.
const MAX_IN_FLIGHT: usize = 1024;

/// How often `first_answer_within` fits into the patience of a router: a stale copy answers after so many of them, since
/// RouterOS asks three times and then gives up.
const TRIES_OF_A_ROUTER: u32 = 4;

/// The tokens at hand.
pub struct Catalogue {
    ignore_case: bool,
    times: config::Cache,
    clock: Clock,
    complete: RwLock<Option<Arc<Complete>>>,
    origin: Option<Arc<dyn Origin>>,
    copies: Cache<Key, Copy>,
    in_flight: Mutex<HashMap<Key, watch::Receiver<Option<Outcome>>>>,
    last_answer: Mutex<Option<Result<(), Error>>>,
    /// Lines about the source going away (false) and coming back (true).
    brake: Brake<bool>,
}

type Outcome = Result<Tokens, Error>;

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Key {
    Code(CodeKey),
    Device(Mac),
}

#[derive(Clone)]
struct Copy {
    tokens: Tokens,
    fetched_at: Duration,
}

/// A copy of every token there is.
#[derive(Default)]
pub struct Complete {
    by_key: HashMap<Key, Tokens>,
    tokens: usize,
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
    /// Indexes every token by its code and its devices.
    #[must_use]
    pub fn new(tokens: Vec<AccessToken>, ignore_case: bool) -> Self {
        let count = tokens.len();
        let mut by_key: HashMap<Key, Vec<Arc<AccessToken>>> = HashMap::with_capacity(count);
        for token in tokens.into_iter().map(Arc::new) {
            for device in &token.devices {
                by_key.entry(Key::Device(*device)).or_default().push(Arc::clone(&token));
            }
            by_key.entry(Key::Code(token.code.key(ignore_case))).or_default().push(token);
        }
        Self { by_key: by_key.into_iter().map(|(key, tokens)| (key, tokens.into())).collect(), tokens: count }
    }
}

impl Catalogue {
    /// A catalogue over a source that is asked code by code, or, without `origin`, over complete copies alone.
    #[must_use]
    pub fn new(times: &config::Cache, ignore_case: bool, origin: Option<Arc<dyn Origin>>, clock: Clock) -> Self {
        Self {
            ignore_case,
            clock,
            complete: RwLock::default(),
            origin,
            // moka's own clock only tidies up; what is fresh or stale is judged by ours.
            copies: Cache::builder()
                .max_capacity(times.max_tokens)
                .time_to_live(times.stale_for.max(times.fresh_for).max(times.unknown_for))
                .build(),
            times: times.clone(),
            in_flight: Mutex::default(),
            last_answer: Mutex::default(),
            brake: Brake::new(Duration::from_secs(60), 2),
        }
    }

    /// Puts a complete copy in place of the former one.
    pub fn replace(&self, tokens: Vec<AccessToken>) {
        let complete = Arc::new(Complete::new(tokens, self.ignore_case));
        *self.complete.write().unwrap_or_else(PoisonError::into_inner) = Some(complete);
        self.note(Ok(()));
    }

    /// Notes how the source's last answer was, for readiness; trouble and its end are logged, each once a minute.
    pub fn note(&self, answer: Result<(), Error>) {
        let mut last = self.last_answer.lock().unwrap_or_else(PoisonError::into_inner);
        let now = self.clock.now().mono;
        match (last.as_ref(), &answer) {
            (_, Err(error)) => {
                if let Some(held) = self.brake.pass(&false, now) {
                    tracing::warn!(%error, held, "the source does not answer; copies at hand stay in use");
                }
            }
            (Some(Err(_)), Ok(())) => {
                if let Some(held) = self.brake.pass(&true, now) {
                    tracing::info!(held, "the source answers again");
                }
            }
            (_, Ok(())) => {}
        }
        *last = Some(answer);
    }

    /// The source's last answer; `None` before the first.
    #[must_use]
    pub fn last_answer(&self) -> Option<Result<(), Error>> {
        self.last_answer.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whether there is a source to ask code by code.
    #[must_use]
    pub fn asks(&self) -> bool {
        self.origin.is_some()
    }

    /// Token records held.
    #[must_use]
    pub fn tokens(&self) -> u64 {
        let complete = self.complete.read().unwrap_or_else(PoisonError::into_inner);
        let complete = complete.as_ref().map_or(0, |complete| complete.tokens);
        u64::try_from(complete).unwrap_or(u64::MAX).saturating_add(self.copies.entry_count())
    }

    /// Looks in memory only.
    #[must_use]
    pub fn find(&self, claim: &Claim) -> Find {
        let key = self.key(claim);
        let complete = self.complete.read().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(tokens) = complete.as_ref().and_then(|complete| complete.by_key.get(&key)) {
            return Find::Here(Arc::clone(tokens));
        }
        if self.origin.is_none() {
            return complete.map_or(Find::Nothing, |_| Find::Here(Tokens::default()));
        }
        match self.copies.get(&key) {
            Some(copy) if self.is_fresh(&copy) => Find::Here(copy.tokens),
            Some(copy) if !copy.tokens.is_empty() && self.age(&copy) <= self.times.stale_for => {
                Find::Ask { stale: Some(copy.tokens) }
            }
            _ => Find::Ask { stale: None },
        }
    }

    /// Waits for the source where memory alone does not answer. A stale copy answers when the source does not in the time a
    /// router waits; without one the wait is as long as the source's own deadlines.
    pub async fn obtain(self: &Arc<Self>, claim: &Claim) -> Found {
        let stale = match self.find(claim) {
            Find::Here(tokens) => return Found::Tokens(tokens),
            Find::Nothing => return Found::Unavailable,
            Find::Ask { stale } => stale,
        };
        let fetch = self.fetch(claim);
        let outcome = match &stale {
            Some(_) => tokio::time::timeout(self.times.first_answer_within * TRIES_OF_A_ROUTER, fetch).await.ok(),
            None => Some(fetch.await),
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
        let key = self.key(claim);
        let mut in_flight = self.in_flight.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(outcome) = in_flight.get(&key) {
            return Some(outcome.clone());
        }
        // A fetch may have ended between the look into memory and this lock.
        if let Some(copy) = self.copies.get(&key).filter(|copy| self.is_fresh(copy)) {
            return Some(watch::channel(Some(Ok(copy.tokens))).1);
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
            landing.catalogue.note(answer.as_ref().map(|_| ()).map_err(Clone::clone));
            let outcome = answer.map(|tokens| tokens.into_iter().map(Arc::new).collect::<Tokens>());
            if let Ok(tokens) = &outcome {
                let copy = Copy { tokens: Arc::clone(tokens), fetched_at: landing.catalogue.clock.now().mono };
                landing.catalogue.copies.insert(landing.key.clone(), copy);
            }
            drop(landing);
            ended.send_replace(Some(outcome));
        });
        Some(outcome)
    }

    fn key(&self, claim: &Claim) -> Key {
        match claim {
            Claim::Code(code) => Key::Code(code.key(self.ignore_case)),
            Claim::Device(mac) => Key::Device(*mac),
        }
    }

    fn age(&self, copy: &Copy) -> Duration {
        self.clock.now().mono.saturating_sub(copy.fetched_at)
    }

    fn is_fresh(&self, copy: &Copy) -> bool {
        let fresh_for = if copy.tokens.is_empty() { self.times.unknown_for } else { self.times.fresh_for };
        self.age(copy) < fresh_for
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
