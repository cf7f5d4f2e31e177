//! Listing everything, a page at a time, so that changes are asked for in between; and finding out what is gone.

use std::collections::HashSet;
use std::time::Duration;

use super::{Meant, Mirror, SIZE};
use crate::core::ident::TokenId;
use crate::source::Error;

/// Tokens that a listing lacks and that are looked for singly; of more, the next listing decides.
const LOOKED_FOR: usize = 20;

/// Pages of one location; a list that is longer has no end.
const PAGES: u32 = 10_000;

/// A listing under way.
#[derive(Debug)]
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
    /// What the listing before, of this location, lacked.
    lacked: Option<HashSet<TokenId>>,
    /// Records of which nothing is known.
    left_out: usize,
}

impl Listing {
    pub(super) fn new(now: Duration) -> Self {
        Self { began: now, location: 0, page: 1, seen: HashSet::new(), before: 0, lacked: None, left_out: 0 }
    }
}

impl Mirror {
    /// Reads one page more of the listing under way, and ends it after the last. What failed is tried again.
    pub(super) async fn list_on(&mut self) -> Result<(), Error> {
        let Some(mut listing) = self.listing.take() else { return Ok(()) };
        let outcome = self.list_page(&mut listing).await;
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
        listing.left_out += read.left_out;
        let is_new = listing.seen.len() > known;
        self.take(read.versions, read.asked).await;
        let records = listing.before + u64::try_from(listing.seen.len()).unwrap_or_default();
        self.coverage.listing(records, read.total.filter(|_| self.locations.len() == 1), self.clock.now().mono);
        if read.has_next_page {
            if !is_new || listing.page >= PAGES {
                *listing = Listing::new(self.clock.now().mono);
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
        let Some(location) = self.locations.get(listing.location) else { return Ok(true) };
        let business = location.business;
        let older = self.catalogue.older(listing.began);
        let here = older.iter().filter(|token| business.is_none() || token.business == business);
        let lacks: Vec<TokenId> = here.map(|token| token.id).filter(|id| !listing.seen.contains(id)).collect();
        let was_lacked = |id: &TokenId| listing.lacked.as_ref().is_some_and(|lacked| lacked.contains(id));
        let asked = self.clock.now().mono;
        let mut gone: Vec<TokenId> = lacks.iter().copied().filter(was_lacked).collect();
        if lacks.len() - gone.len() > LOOKED_FOR {
            tracing::warn!(
                tokens = lacks.len(),
                "many access tokens are missing in Nexudus' list, which is read once more"
            );
            let lacked = Some(lacks.into_iter().collect());
            *listing = Listing { began: asked, page: 1, seen: HashSet::new(), lacked, left_out: 0, ..*listing };
            return Ok(false);
        }
        let missed = !lacks.is_empty();
        let mut found = 0;
        for id in lacks.into_iter().filter(|id| !was_lacked(id)) {
            match self.single(id).await? {
                None | Some(Meant::Other) => gone.push(id),
                Some(Meant::Ours(version)) => {
                    self.take(vec![version], asked).await;
                    found += 1;
                }
                Some(Meant::Odd) => found += 1,
            }
        }
        self.remove(&gone, asked).await;
        let records = u64::try_from(listing.seen.len()).unwrap_or_default() + found;
        if let Some(location) = self.locations.get_mut(listing.location) {
            // Where the number falls and nothing is gone, it means something else.
            location.counts &= missed || location.records.is_none_or(|known| known <= records);
            location.records = Some(records);
        }
        listing.location += 1;
        (listing.page, listing.lacked) = (1, None);
        listing.before += records;
        listing.seen.clear();
        Ok(listing.location >= self.locations.len())
    }

    async fn end(&mut self, listing: &Listing) {
        let now = self.clock.now().mono;
        self.next_listing = now + self.nexudus.config.full_mirror_interval;
        let complete = listing.left_out == 0;
        let is_first = complete && !self.catalogue.is_complete();
        self.catalogue.compared(complete, Duration::ZERO);
        self.coverage.listed(now);
        self.note_compared().await;
        if is_first {
            tracing::info!(tokens = self.catalogue.tokens(), "every access token of Nexudus is at hand");
        }
        if !complete {
            tracing::warn!(
                records = listing.left_out,
                "access tokens of Nexudus cannot be read from its list: these are asked for when a guest comes"
            );
        }
    }
}
