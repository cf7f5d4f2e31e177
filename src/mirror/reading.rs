//! Reading pages of lists and single records, and what each means to us.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use super::{FAILURES, Mirror, SINGLES, TRIED};
use crate::core::ident::{BusinessId, TokenId};
use crate::source::nexudus::wire::{List, Malformed, Record};
use crate::source::{Error, Version};

/// A page of a list.
#[derive(Debug)]
pub(super) struct Page {
    pub(super) asked: Duration,
    pub(super) date: Option<Timestamp>,
    pub(super) has_next_page: bool,
    pub(super) total: Option<u64>,
    /// Every record that has an id.
    pub(super) ids: Vec<TokenId>,
    /// Those that are ours and can be used.
    pub(super) versions: Vec<Version>,
    /// Those that are held, and are of a location by now that is not ours.
    pub(super) elsewhere: Vec<TokenId>,
    /// Records that say nothing of which token they are.
    pub(super) without_id: usize,
    /// Records whose keys are left out, and that could not all be read singly.
    pub(super) unread: usize,
}

/// What a record means to us.
#[derive(Debug)]
pub(super) enum Meant {
    /// A token of ours.
    Ours(Version),
    /// It is of a location that is not ours.
    Other,
    /// It is malformed: nobody can tell.
    Odd,
}

impl Mirror {
    /// One page, its records read.
    pub(super) async fn page(
        &mut self,
        business: Option<BusinessId>,
        page: u32,
        filter: &[(&str, &str)],
        size: &str,
    ) -> Result<Page, Error> {
        let (page, location) = (page.to_string(), business.map(|business| business.0.to_string()));
        let mut query = filter.to_vec();
        query.extend(location.as_deref().map(|business| ("AccessToken_Business", business)));
        query.extend([("page", page.as_str()), ("size", size)]);
        let mut effort = self.effort();
        let asked = self.clock.now().mono;
        let heard = self.nexudus.list(&query, &mut effort).await?;
        // The client has read it as a list before.
        let list = List::parse(&heard.text).map_err(|error| Error::Retry { what: error.to_string(), after: None })?;
        let mut read = Page {
            asked,
            date: heard.date,
            has_next_page: list.has_next_page,
            total: list.total,
            ids: Vec::with_capacity(list.records.len()),
            versions: Vec::with_capacity(list.records.len()),
            elsewhere: Vec::new(),
            without_id: 0,
            unread: 0,
        };
        let (mut odd, mut wanting) = (Vec::new(), Vec::new());
        for json in &list.records {
            let Ok(record) = Record::parse(json.get()).inspect_err(|error| self.odd(None, error)) else {
                read.without_id += 1;
                continue;
            };
            let Ok(id) = record.id().inspect_err(|error| self.odd(None, error)) else {
                read.without_id += 1;
                continue;
            };
            read.ids.push(id);
            if !record.missing() {
                match self.version(&record) {
                    Meant::Ours(version) => read.versions.push(version),
                    Meant::Other => read.elsewhere.push(id),
                    Meant::Odd => odd.push(id),
                }
            } else if !self.is_known(id, record.updated()) {
                wanting.push((!(self.is_in_use)(id), self.catalogue.is_unreadable(id), self.last_tried(id), id));
            }
        }
        // Those first on which somebody is online. Those that could not be read before come last, and those read lately late, so that they keep no other out.
        wanting.sort_unstable();
        let (mut singles, mut failures) = (0, 0);
        for (_, unreadable, tried, id) in wanting {
            if singles >= SINGLES || failures >= FAILURES {
                read.unread += usize::from(!unreadable && tried.is_none());
                continue;
            }
            singles += 1;
            // What is gone by now is missing in the next listing.
            match self.single(id).await {
                Ok(Some(Meant::Ours(version))) => read.versions.push(version),
                Ok(Some(Meant::Odd)) => {
                    self.tried(id);
                    odd.push(id);
                }
                // One that cannot be read singly holds nothing else up.
                Err(_) => {
                    failures += 1;
                    self.tried(id);
                    odd.push(id);
                }
                Ok(Some(Meant::Other)) => read.elsewhere.push(id),
                Ok(None) => {}
            }
        }
        // A list that has not filtered shows where one of ours has gone.
        read.elsewhere.retain(|id| self.catalogue.asked(*id).is_some());
        self.catalogue.unreadable(&odd);
        Ok(read)
    }

    /// When a token was read last, or tried to.
    pub(super) fn last_tried(&self, id: TokenId) -> Option<Duration> {
        self.catalogue.asked(id).max(self.tried.get(&id).copied())
    }

    pub(super) fn tried(&mut self, id: TokenId) {
        if self.tried.len() >= TRIED {
            self.tried.clear();
        }
        self.tried.insert(id, self.clock.now().mono);
    }

    /// Reads one token singly; none: there is no such record. It is tried once, and logins do not wait because it failed.
    pub(super) async fn single(&self, id: TokenId) -> Result<Option<Meant>, Error> {
        let Some(text) = self.nexudus.get(id, &mut self.effort()).await? else { return Ok(None) };
        let record = Record::parse(&text).inspect_err(|error| self.odd(Some(id), error));
        let record = record.ok().filter(|record| record.id() == Ok(id));
        Ok(Some(record.map_or(Meant::Odd, |record| self.version(&record))))
    }

    /// A record as meant.
    fn version(&self, record: &Record<'_>) -> Meant {
        let config = &self.nexudus.config;
        if record.business().is_ok_and(|business| !config.is_ours(business)) {
            return Meant::Other;
        }
        let id = record.id().ok();
        let Ok(reading) = record.read(&config.time_zone).inspect_err(|error| self.odd(id, error)) else {
            return Meant::Odd;
        };
        if reading.odd_devices {
            self.nexudus.odd(id, "MacAddress holds something that is no MAC address, which is left out");
        }
        Meant::Ours(Version { token: Arc::new(reading.token), updated: reading.updated })
    }

    fn odd(&self, id: Option<TokenId>, error: &Malformed) {
        self.nexudus.odd(id, &format!("its former version stays in use, if there is one: {error}"));
    }

    /// Whether this very version is held already.
    fn is_known(&self, id: TokenId, updated: Option<Timestamp>) -> bool {
        updated.is_some() && self.catalogue.updated(id) == updated
    }
}
