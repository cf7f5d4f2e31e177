//! Listing everything, a page at a time, so that changes are asked for in between; and finding out what is gone.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use super::{FAILURES, Meant, Mirror, SIZE};
use crate::catalogue::Catalogue;
use crate::core::ident::TokenId;
use crate::source::Error;

/// Tokens that a listing lacks and that are looked for by their ids; of more, the next listing decides with what these showed.
const LOOKED_FOR: usize = 20;

/// How long lists must lack a token that cannot be looked for before it is taken to be gone.
const LACKED_FOR: Duration = Duration::from_secs(3600);

/// How soon the next listing begins where that tells of many that went at once: their sessions still run.
const CONFIRMED_AFTER: Duration = Duration::from_secs(1);

/// Pages of one location; a list that is longer has no end.
const PAGES: u32 = 10_000;

/// A listing under way.
#[derive(Debug, Default)]
pub(super) struct Listing {
    /// When it began, or began anew for the location it is at (monotonic).
    began: Duration,
    /// Which location it is at.
    location: usize,
    /// The page that is next.
    page: u32,
    /// Records of this location so far.
    seen: HashSet<TokenId>,
    /// Records of the locations before.
    before: u64,
    /// Records of this location so far that say nothing of which token they are.
    without_id: usize,
    /// Records whose keys are left out, and that could not all be read singly.
    unread: usize,
    /// Tokens that could not be taken in.
    left_out: usize,
    /// How often in a row its page failed.
    failures: u32,
    /// Whether a location was passed over.
    passed_over: bool,
    /// Whether some are gone, none that it lacks is there, and one listing more tells of the rest.
    confirm: bool,
}

impl Listing {
    pub(super) fn new(now: Duration) -> Self {
        Self { began: now, location: 0, page: 1, seen: HashSet::new(), before: 0, ..Self::default() }
    }
}

impl Listing {
    /// Goes on to the next of so many locations; whether there is none.
    fn next_location(&mut self, of: usize) -> bool {
        self.location += 1;
        self.page = 1;
        self.failures = 0;
        self.without_id = 0;
        self.before += u64::try_from(self.seen.len()).unwrap_or_default();
        self.seen.clear();
        self.location >= of
    }
}

impl Mirror {
    /// Reads one page more of the listing under way, and ends it after the last. What failed is tried again; of several
    /// locations one that goes on failing is passed over.
    pub(super) async fn list_on(&mut self) -> Result<(), Error> {
        let Some(mut listing) = self.listing.take() else { return Ok(()) };
        let mut outcome = self.list_page(&mut listing).await;
        match &outcome {
            Ok(_) => listing.failures = 0,
            Err(error) if self.locations.len() > 1 => {
                listing.failures += 1;
                if listing.failures >= FAILURES {
                    let business = self.locations.get(listing.location).and_then(|location| location.business);
                    let business = business.map(|business| business.0);
                    tracing::warn!(business, %error, "this location cannot be listed, and is passed over for now");
                    listing.passed_over = true;
                    outcome = Ok(listing.next_location(self.locations.len()));
                }
            }
            Err(_) => {}
        }
        let ended = matches!(outcome, Ok(true));
        if ended {
            self.end(&listing).await;
        } else {
            self.listing = Some(listing);
        }
        outcome.map(drop)
    }

    /// Whether that was the last page of all.
    async fn list_page(&mut self, listing: &mut Listing) -> Result<bool, Error> {
        let Some(location) = self.locations.get(listing.location) else { return Ok(true) };
        let (business, seen_to) = (location.business, location.seen_to);
        let read = self.page(business, listing.page, &[], SIZE).await?;
        if listing.page == 1 && seen_to.is_none() {
            // Whatever changes from here on is a change. Without a date our own clock must do.
            let by = read.date.unwrap_or_else(|| self.clock.now().wall);
            self.see_to(listing.location, by).await;
        }
        let known = listing.seen.len();
        listing.seen.extend(&read.ids);
        listing.without_id += read.without_id;
        listing.unread += read.unread;
        let is_new = listing.seen.len() > known;
        listing.left_out += self.take(read.versions, read.asked).await;
        let records = listing.before + u64::try_from(listing.seen.len()).unwrap_or_default();
        self.coverage.listing(records, read.total.filter(|_| self.locations.len() == 1), self.clock.now().mono);
        if read.has_next_page {
            if !is_new || listing.page >= PAGES {
                listing.page = 1;
                listing.without_id = 0;
                listing.seen.clear();
                let what = "Nexudus sends the same page of its list again and again".to_owned();
                return Err(Error::Retry { what, after: Some(self.nexudus.config.mirror_interval) });
            }
            listing.page += 1;
            return Ok(false);
        }
        self.find_missing(listing).await
    }

    /// At the end of a location: what is gone? Whether that was the last location.
    async fn find_missing(&mut self, listing: &mut Listing) -> Result<bool, Error> {
        let (index, asked) = (listing.location, self.clock.now().mono);
        let Some(location) = self.locations.get_mut(index) else { return Ok(true) };
        let business = location.business;
        let was_lacked = std::mem::take(&mut location.lacked);
        let older = self.catalogue.older(listing.began);
        let here = older.iter().filter(|token| business.is_none() || token.business == business);
        let mut lacks: Vec<TokenId> = here.map(|token| token.id).filter(|id| !listing.seen.contains(id)).collect();
        // Each gets its turn, though some are never listed, or fail each time.
        lacks.sort_by_cached_key(|id| (self.last_tried(*id), *id));
        // Few are looked for one by one. Of many, some are, and none after some that cannot be read: a list that is short for
        // once says nothing, and what the next one lacks too is gone if some of those are and none is there.
        let (mut gone, mut lacked, mut is_there) = (Vec::new(), HashMap::new(), false);
        let mut failures = 0;
        // Since when it is lacking, and not heard of by other ways.
        let since = |catalogue: &Catalogue, id: TokenId| {
            let heard = catalogue.asked(id).unwrap_or_default();
            was_lacked.get(&id).copied().filter(|since| heard < *since).unwrap_or(asked)
        };
        for (number, id) in lacks.iter().copied().enumerate() {
            if number >= LOOKED_FOR || failures >= FAILURES {
                lacked.insert(id, since(&self.catalogue, id));
                continue;
            }
            match self.single(id).await {
                Ok(None | Some(Meant::Other)) => gone.push(id),
                Ok(Some(Meant::Ours(version))) => {
                    is_there = true;
                    self.take(vec![version], asked).await;
                }
                Ok(Some(Meant::Odd)) => is_there = true,
                Err(error) => {
                    tracing::debug!(%error, token = id.0, "an access token that a list lacks could not be looked for");
                    failures += 1;
                    self.tried(id);
                    lacked.insert(id, since(&self.catalogue, id));
                }
            }
        }
        if lacks.len() > LOOKED_FOR {
            tracing::warn!(tokens = lacks.len(), "many access tokens are missing in Nexudus' list");
        }
        // Where none can be looked for, a few that lists lack for long are gone; many would be a list that is wrong.
        let few = lacks.len() <= LOOKED_FOR && lacks.len() < listing.seen.len();
        let waited = match (is_there, gone.is_empty()) {
            (true, _) => None,
            (false, false) => Some(Duration::ZERO),
            (false, true) => few.then_some(LACKED_FOR),
        };
        if is_there {
            lacked.clear();
        } else if let Some(waited) = waited {
            let presumed = lacked.extract_if(|_, since| *since < asked && *since + waited <= asked);
            gone.extend(presumed.map(|(id, _)| id));
        }
        listing.confirm |= !lacked.is_empty() && waited == Some(Duration::ZERO);
        self.remove(&gone, asked).await;
        if let Some(location) = self.locations.get_mut(index) {
            let futile = std::mem::take(&mut location.fewer) && gone.is_empty();
            location.futile = if futile { location.futile.saturating_add(1) } else { 0 };
            location.lacked = lacked;
            let held = self.catalogue.count(business);
            let others = (listing.seen.len() + listing.without_id).saturating_sub(held);
            location.others = Some(u64::try_from(others).unwrap_or_default());
        }
        listing.left_out += listing.without_id;
        Ok(listing.next_location(self.locations.len()))
    }

    async fn end(&mut self, listing: &Listing) {
        let now = self.clock.now().mono;
        let config = &self.nexudus.config;
        let lacked = self.locations.iter().any(|location| !location.lacked.is_empty());
        let again = lacked || listing.unread > 0 || listing.passed_over;
        // Soon, while that brings something; ever later where it does not.
        let lacked: usize = self.locations.iter().map(|location| location.lacked.len()).sum();
        let open = lacked + listing.unread + usize::from(listing.passed_over);
        if !again || open < std::mem::replace(&mut self.open, open) {
            self.again = 0;
        }
        let soon = config.mirror_interval.saturating_mul(1 << self.again.min(10)).min(config.full_mirror_interval);
        let soon = if listing.confirm { CONFIRMED_AFTER } else { soon };
        self.again += u32::from(again);
        self.next_listing = now + if again { soon } else { config.full_mirror_interval };
        if listing.passed_over {
            // Of the others everything is known; of all, nothing.
            return;
        }
        let left_out = listing.left_out + listing.unread;
        let complete = left_out == 0;
        let is_first = complete && !self.catalogue.is_complete();
        self.catalogue.listed(complete);
        self.coverage.listed(now);
        self.note_compared().await;
        if is_first {
            tracing::info!(tokens = self.catalogue.tokens(), "every access token of Nexudus is at hand");
        }
        if !complete {
            tracing::warn!(
                records = left_out,
                "access tokens of Nexudus cannot be read from its list: these are asked for when a guest comes"
            );
        }
    }
}
