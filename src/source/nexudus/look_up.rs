//! Finding tokens by code or device. The server's filter is asked for and never trusted: an unknown filter may be
//! ignored, and a text filter may match parts (facts/nexudus.md §2), so every record is compared again here, without regard
//! to case: which case counts is decided later. "The search failed" is never "no such code".

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::value::RawValue;

use super::ceiling::Share;
use super::client::{Effort, Nexudus};
use super::wire::{List, Malformed, Record};
use crate::core::ident::{Mac, TokenId};
use crate::core::login::Claim;
use crate::source::{Error, Version};

/// Records asked for at once: the most that Nexudus grants.
const SIZE: &str = "1000";

/// Pages of a search by code that are read. A filter that works fills one at most.
const PAGES: u32 = 5;

/// Records read singly in one look-up.
const SINGLES: u32 = 10;

/// A look-up under way.
struct LookUp<'a> {
    nexudus: &'a Nexudus,
    claim: &'a Claim,
    effort: Effort,
    singles: u32,
    /// By id, since a record can move from one page to the next while they are read.
    found: BTreeMap<TokenId, Version>,
}

/// How a record lies to the claim.
enum Fit {
    /// It is another's.
    Other,
    /// It is the claim's.
    Match,
    /// A key is absent that must be known.
    Unknown,
}

impl Nexudus {
    /// Every token with this code, or of this device, at the locations of `business_ids`. None is an empty list, and
    /// means that Nexudus has none.
    ///
    /// Takes at most twice `request_timeout`. Pauses and the ceiling are waited for within that; when they would take
    /// longer, [`Error::Retry`] says how much.
    pub async fn look_up(&self, claim: &Claim) -> Result<Vec<Version>, Error> {
        let (share, filter, value, pages) = match claim {
            Claim::Code(code) => (Share::Whole, "AccessToken_AccessCode", code.reveal().to_owned(), PAGES),
            Claim::Device(mac) => (Share::Half, "AccessToken_MacAddress", mac.to_string(), 1),
        };
        let effort = self.effort(share);
        let mut look_up = LookUp { nexudus: self, claim, effort, singles: 0, found: BTreeMap::new() };
        for page in 1..=pages {
            let page = page.to_string();
            let query = [(filter, value.as_str()), ("page", &page), ("size", SIZE)];
            let heard = self.list(&query, &mut look_up.effort).await?;
            // The client has read it as a list before.
            let list = List::parse(&heard.text).map_err(|error| retry(error.to_string()))?;
            for record in list.records {
                look_up.take(record).await?;
            }
            if !list.has_next_page {
                return Ok(look_up.found.into_values().collect());
            }
        }
        // The filter did not narrow the list. What was found so far does not help: a second token with this code may
        // stand on a page not read, and who is let in must not depend on the order of a list.
        Err(retry("the search matched too much: Nexudus seems to ignore its filter".to_owned()))
    }

    /// One access token; none: there is none, or it is of a location that is not ours.
    pub async fn read_one(&self, id: TokenId) -> Result<Option<Version>, Error> {
        // Whoever waits for it has been answered by a search, and nobody else is to wait because it fails.
        let mut effort = self.effort_alone(Share::Whole, self.config.request_timeout);
        let Some(text) = self.get(id, &mut effort).await? else { return Ok(None) };
        let odd = |error: Malformed| {
            self.odd(Some(id), &error.to_string());
            retry(format!("access token {id} cannot be read: {error}"))
        };
        let record = Record::parse(&text).map_err(odd)?;
        if record.id().map_err(odd)? != id {
            return Err(retry(format!("Nexudus sent another record than access token {id}")));
        }
        if !self.config.is_ours(record.business().map_err(odd)?) {
            return Ok(None);
        }
        let reading = record.read(&self.config.time_zone).map_err(odd)?;
        Ok(Some(Version { token: Arc::new(reading.token), updated: reading.updated }))
    }
}

impl LookUp<'_> {
    /// Keeps a record of the list if it is the claim's; reads it singly if the list left something out.
    async fn take(&mut self, json: &RawValue) -> Result<(), Error> {
        let record = Record::parse(json.get()).map_err(|error| self.malformed(None, error))?;
        if !self.concerns(&record)? {
            return Ok(());
        }
        if !record.missing() {
            return self.keep(&record);
        }
        let id = record.id().map_err(|error| self.malformed(None, error))?;
        if self.singles == SINGLES {
            return Err(retry("the search brought too many incomplete records".to_owned()));
        }
        self.singles += 1;
        let Some(single) = self.nexudus.get(id, &mut self.effort).await? else {
            // Deleted since.
            return Ok(());
        };
        let record = Record::parse(&single).map_err(|error| self.malformed(Some(id), error))?;
        if record.id().map_err(|error| self.malformed(Some(id), error))? != id {
            return Err(retry(format!("Nexudus sent another record than access token {id}")));
        }
        // Now an absent key means the same as null, and a record without a code is nobody's.
        if matches!(self.fit(&record), Fit::Match) { self.keep(&record) } else { Ok(()) }
    }

    /// Whether the record is, or may turn out to be, the claim's at one of our locations.
    fn concerns(&self, record: &Record<'_>) -> Result<bool, Error> {
        if matches!(self.fit(record), Fit::Other) {
            return Ok(false);
        }
        let business = record.business().map_err(|error| self.malformed(record.id().ok(), error))?;
        let ours = &self.nexudus.config.business_ids;
        Ok(ours.is_empty() || business.is_none_or(|business| ours.contains(&business)))
    }

    fn fit(&self, record: &Record<'_>) -> Fit {
        match self.claim {
            Claim::Code(code) => match record.code() {
                Ok(Some(other)) if other.same(code, true) => Fit::Match,
                Ok(None) => Fit::Unknown,
                Ok(Some(_)) => Fit::Other,
                Err(error) => {
                    // Blank, or nothing that anybody could have typed.
                    self.nexudus.odd(record.id().ok(), &format!("it is left out: {error}"));
                    Fit::Other
                }
            },
            Claim::Device(mac) => Self::fit_device(record, *mac),
        }
    }

    fn fit_device(record: &Record<'_>, mac: Mac) -> Fit {
        if !record.has_mac_address() {
            Fit::Unknown
        } else if record.devices().0.contains(&mac) {
            Fit::Match
        } else {
            Fit::Other
        }
    }

    /// Keeps a record of the claim's.
    fn keep(&mut self, record: &Record<'_>) -> Result<(), Error> {
        let zone = &self.nexudus.config.time_zone;
        let reading = record.read(zone).map_err(|error| self.malformed(record.id().ok(), error))?;
        let id = reading.token.id;
        if reading.odd_devices {
            self.nexudus.odd(Some(id), "MacAddress holds something that is no MAC address, which is left out");
        }
        if self.nexudus.config.is_ours(reading.token.business) {
            self.found.insert(id, Version { token: Arc::new(reading.token), updated: reading.updated });
        }
        Ok(())
    }

    /// The record is, or may be, the one that is asked for: its guest must not be told that there is none.
    fn malformed(&self, id: Option<TokenId>, error: Malformed) -> Error {
        self.nexudus.odd(id, &error.to_string());
        match id {
            Some(id) => retry(format!("access token {id} is malformed: {error}")),
            None => retry(format!("an access token is malformed: {error}")),
        }
    }
}

fn retry(what: String) -> Error {
    Error::Retry { what, after: None }
}
