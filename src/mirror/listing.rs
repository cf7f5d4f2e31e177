//! Listing everything, a page at a time, so that changes are asked for in between; and finding out what is gone.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use super::reading::Meant;
use super::{FAILURES, Mirror, SIZE};
use crate::catalogue::{Catalogue, Standing};
use crate::core::ident::TokenId;
use crate::source::Error;

/// Tokens that a listing lacks and that are looked for by their ids; of more, the next listing decides with what these showed.
pub(super) const LOOKED_FOR: usize = 20;

/// The same of those on which somebody is online, whom no listing decides about.
const IN_USE_LOOKED_FOR: usize = 200;

/// How long a list that lacks most must go on doing so.
const SURE: Duration = Duration::from_secs(30);

/// So many may be missing of as many as are there.
const FEW: usize = 2;

/// Tokens of a location that are known to be there although lists lack them.
const HIDDEN: usize = 10_000;

/// How long lists must lack a token that cannot be looked for before it is taken to be gone.
const LACKED_FOR: Duration = Duration::from_secs(3600);

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
    /// Records of this location whose keys are left out, and that could not all be read singly.
    unread: usize,
    /// Tokens of this location that could not be taken in.
    left_out: usize,
    /// Whether this location showed something that was not held.
    brought: bool,
    /// How long this location's list says to be.
    total: Option<u64>,
    /// Whether any location was listed to its end.
    listed: bool,
    /// Of the locations before, the same.
    unread_before: usize,
    left_out_before: usize,
    /// Tokens of all locations that turned out to be there although lists lack them.
    newly_hidden: usize,
    /// How often in a row its page failed.
    failures: u32,
    /// Whether a location was passed over.
    passed_over: bool,
    /// Whether everything was held when it began.
    was_complete: bool,
}

impl Listing {
    pub(super) fn new(now: Duration, was_complete: bool) -> Self {
        Self { began: now, page: 1, was_complete, ..Self::default() }
    }

    /// Goes on to the next of so many locations; whether there is none.
    fn next_location(&mut self, of: usize) -> bool {
        self.location += 1;
        self.page = 1;
        self.failures = 0;
        self.unread_before += std::mem::take(&mut self.unread);
        self.left_out_before += std::mem::take(&mut self.left_out) + std::mem::take(&mut self.without_id);
        (self.brought, self.total) = (false, None);
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
                let location = self.locations.get_mut(listing.location);
                // One that fails for longer holds the others up no more.
                let fails = location.as_ref().is_some_and(|location| location.passed_over || location.failures > 0);
                if listing.failures >= FAILURES || fails {
                    let business = location.as_ref().and_then(|location| location.business).map(|business| business.0);
                    tracing::warn!(business, %error, "this location cannot be listed, and is passed over for now");
                    listing.passed_over = true;
                    location.into_iter().for_each(|location| location.passed_over = true);
                    outcome = Ok(listing.next_location(self.locations.len()));
                }
            }
            Err(_) => listing.failures += 1,
        }
        self.unlistable = listing.failures >= FAILURES || listing.passed_over;
        if self.unlistable {
            self.read_in_use(self.clock.now().mono).await;
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
        listing.total = read.total;
        for id in &read.ids {
            self.unlisted.remove(id);
        }
        let new = read.versions.iter().filter(|version| self.catalogue.asked(version.token.id).is_none()).count();
        let left_out = self.take(read.versions, read.asked).await;
        listing.brought |= new > left_out;
        listing.left_out += left_out;
        self.remove(&read.elsewhere, read.asked).await;
        let records = listing.before + u64::try_from(listing.seen.len()).unwrap_or_default();
        self.coverage.listing(records, read.total.filter(|_| self.locations.len() == 1), self.clock.now().mono);
        if read.has_next_page {
            if !is_new || listing.page >= PAGES {
                listing.page = 1;
                (listing.without_id, listing.unread, listing.left_out) = (0, 0, 0);
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
        let mut hidden = std::mem::take(&mut location.hidden);
        let is_here = |id: &TokenId| match self.catalogue.standing(*id) {
            Some(Standing::Held(token)) => business.is_none() || token.business == business,
            Some(Standing::Gone) | None => false,
        };
        hidden.retain(|id| !listing.seen.contains(id) && is_here(id));
        let older = self.catalogue.older(listing.began);
        let here = older.iter().filter(|token| business.is_none() || token.business == business);
        let lacks: Vec<TokenId> = here.map(|token| token.id).filter(|id| !listing.seen.contains(id)).collect();
        if lacks.len() > LOOKED_FOR {
            tracing::warn!(tokens = lacks.len(), "many access tokens are missing in Nexudus' list");
        }
        // Those first on which somebody is online; then each gets its turn, though some are never listed, or fail each time.
        let turn = |id: &TokenId| (!(self.is_in_use)(*id), hidden.contains(id), self.last_tried(*id), *id);
        let mut turns: Vec<_> = lacks.iter().map(turn).collect();
        turns.sort_unstable();
        // Since when it is lacking, and not heard of by other ways.
        let since = |catalogue: &Catalogue, id: TokenId| {
            let heard = catalogue.asked(id).unwrap_or_default();
            was_lacked.get(&id).copied().filter(|since| heard < *since).unwrap_or(asked)
        };
        let is_unheard_of = lacks.len() > FEW && lacks.len() >= listing.seen.len();
        let held = self.catalogue.count(business);
        let mut found = Missing::default();
        for (number, (idle, _, _, id)) in turns.into_iter().enumerate() {
            let looked_for = if idle { &mut found.idle } else { &mut found.in_use };
            let of = if idle { LOOKED_FOR } else { IN_USE_LOOKED_FOR };
            // A list that lacks most is believed when the next does so, too, whatever is said of single ones meanwhile.
            let since_long = |since: &Duration| *since + SURE <= asked;
            let waits = is_unheard_of && !was_lacked.get(&id).is_some_and(since_long);
            found.waits |= waits;
            if idle && hidden.contains(&id) && *looked_for >= of {
                // It is known to be there; some of those are looked for each time.
                continue;
            }
            if waits || *looked_for >= of || found.failures >= FAILURES {
                found.lacked.insert(id, since(&self.catalogue, id));
                continue;
            }
            *looked_for += 1;
            if number % LOOKED_FOR == LOOKED_FOR - 1 {
                // Many take long: what changes meanwhile is to be seen, too.
                self.searching = true;
                let now = self.clock.now().mono;
                if self.locations.iter().any(|location| location.is_due(now)) {
                    let _ = self.changes(now).await;
                }
                self.searching = false;
            }
            let is_there = match self.single(id).await {
                Ok(None | Some(Meant::Other)) => {
                    self.remove(&[id], asked).await;
                    found.gone.push(id);
                    continue;
                }
                Ok(Some(Meant::Ours(version))) => {
                    self.take(vec![version], asked).await;
                    true
                }
                Ok(Some(Meant::Odd)) => true,
                Err(error) => {
                    tracing::debug!(%error, token = id.0, "an access token that a list lacks could not be looked for");
                    found.failures += 1;
                    self.tried(id);
                    found.lacked.insert(id, since(&self.catalogue, id));
                    continue;
                }
            };
            // One that lists are known to hide says nothing of the others. One that only slipped from page to page is listed next.
            if is_there && hidden.len() < HIDDEN && hidden.insert(id) {
                found.newly_hidden += 1;
            }
        }
        // Of many, on which nobody is online, some were looked for, and none after some that cannot be read: a list that is short
        // for once says nothing, and what the next one lacks too is gone if some of those are and none is there. Where none can be
        // looked for, a few that lists lack for long are gone; many would be a list that is wrong.
        let few = lacks.len() <= LOOKED_FOR && lacks.len() < listing.seen.len();
        let waited = match (found.newly_hidden > 0, found.gone.is_empty()) {
            (true, _) => None,
            (false, false) => Some(Duration::ZERO),
            (false, true) => few.then_some(LACKED_FOR),
        };
        if found.newly_hidden > 0 {
            found.lacked.clear();
        } else if let Some(waited) = waited {
            let presumed = found.lacked.extract_if(|id, since| {
                let may_be = waited > Duration::ZERO || !((self.is_in_use)(*id) || self.unlisted.contains(id));
                may_be && !hidden.contains(id) && *since < asked && *since + waited <= asked
            });
            found.gone.extend(presumed.map(|(id, _)| id));
        }
        self.remove(&found.gone, asked).await;
        for id in &found.gone {
            hidden.remove(id);
        }
        // What is listed is there: a word that it is not counts no more.
        self.absent.retain(|id, _| !listing.seen.contains(id));
        let complete = listing.left_out + listing.unread + listing.without_id == 0;
        if let Some(location) = self.locations.get_mut(index) {
            // What is not decided about yet shows as a difference.
            let known = held.saturating_sub(found.lacked.len() + found.gone.len());
            let listed = u64::try_from(listing.seen.len() + listing.without_id).unwrap_or(u64::MAX);
            let listed = i64::try_from(listing.total.unwrap_or(listed)).unwrap_or(i64::MAX);
            let others = listed.saturating_sub(i64::try_from(known).unwrap_or(i64::MAX));
            let nothing = found.gone.is_empty() && !listing.brought && !found.waits;
            let futile = std::mem::take(&mut location.differs) && nothing;
            location.futile = if futile { location.futile.saturating_add(1) } else { 0 };
            (location.lacked, location.hidden) = (found.lacked, hidden);
            // What slipped from page to page says that another went meanwhile: that shows as a difference.
            // Where each listing finds some, lists hide many.
            let slipped = std::mem::replace(&mut location.slipped, found.newly_hidden > 0);
            if found.newly_hidden == 0 || slipped || location.others.is_none() {
                location.others = Some(others);
            }
            location.passed_over = false;
        }
        listing.newly_hidden += found.newly_hidden;
        listing.listed = true;
        self.catalogue.listed(business, complete);
        self.note_compared(business).await;
        Ok(listing.next_location(self.locations.len()))
    }

    async fn end(&mut self, listing: &Listing) {
        let now = self.clock.now().mono;
        let config = &self.nexudus.config;
        // Soon, while that brings something; ever later where it does not.
        let lacked: usize = self.locations.iter().map(|location| location.lacked.len()).sum();
        let open = lacked + listing.unread_before + listing.newly_hidden + usize::from(listing.passed_over);
        let again = open > 0;
        if !again || open < std::mem::replace(&mut self.open, open) {
            self.again = 0;
        }
        let soon = config.mirror_interval.saturating_mul(1 << self.again.min(10)).min(config.full_mirror_interval);
        // Where nothing could be listed, that is over at any time.
        self.again += u32::from(again && listing.listed);
        self.next_listing = now + if again { soon } else { config.full_mirror_interval };
        if listing.passed_over {
            // Of the others everything is known; of all, nothing.
            self.coverage.passed_over();
            return;
        }
        self.coverage.listed(now);
        if !listing.was_complete && self.catalogue.is_complete() {
            tracing::info!(tokens = self.catalogue.tokens(), "every access token of Nexudus is at hand");
        }
        let left_out = listing.left_out_before + listing.unread_before;
        if left_out > 0 {
            tracing::warn!(
                records = left_out,
                "access tokens of Nexudus cannot be read from its list: these are asked for when a guest comes"
            );
        }
    }
}

/// What is found out about the tokens that a location's list lacks.
#[derive(Debug, Default)]
struct Missing {
    gone: Vec<TokenId>,
    /// Those of which nothing is known yet, and since when (monotonic).
    lacked: HashMap<TokenId, Duration>,
    /// How many were there that lists were not known to hide.
    newly_hidden: usize,
    /// How many could not be read.
    failures: u32,
    /// Whether the next listing is to say so, too.
    waits: bool,
    /// How many were looked for: of those on which somebody is online, and of the others.
    in_use: usize,
    idle: usize,
}
