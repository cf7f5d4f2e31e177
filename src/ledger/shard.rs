//! A part of the accounts under one lock, with the moments at which something is due in them.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Mutex, MutexGuard};

use jiff::Timestamp;

use super::{Found, lock, written};
use crate::core::account::{Account, Ended};
use crate::core::event::Event;
use crate::core::ident::{SessionId, TokenId};
use crate::core::policy::Policy;
use crate::journal::Closed;

const SHARDS: usize = 64;

/// Every account.
#[derive(Debug)]
pub(super) struct Shards(Vec<Mutex<Shard>>);

/// Some accounts.
#[derive(Debug, Default)]
pub(super) struct Shard {
    // Boxed, since the table is a third empty.
    slots: HashMap<TokenId, Box<Slot>>,
    /// When something is due in which account; each at most once.
    deadlines: BTreeSet<(Timestamp, TokenId)>,
}

/// Sessions that ended, as they are kept for later, and the names of those that go on after all.
#[derive(Debug, Default)]
pub(super) struct Ends {
    pub(super) closed: Vec<Closed>,
    pub(super) reopened: Vec<String>,
}

#[derive(Debug, Default)]
struct Slot {
    account: Account,
    deadline: Option<Timestamp>,
}

impl Default for Shards {
    fn default() -> Self {
        Self((0..SHARDS).map(|_| Mutex::default()).collect())
    }
}

impl Shards {
    /// The shard that holds, or would hold, this token's account.
    pub(super) fn of(&self, token: TokenId) -> MutexGuard<'_, Shard> {
        let position = usize::try_from(token.0.unsigned_abs()).unwrap_or_default() % SHARDS;
        #[expect(clippy::indexing_slicing, reason = "the remainder is below the number of shards")]
        lock(&self.0[position])
    }

    /// One after another, each locked only while it is looked at.
    pub(super) fn each(&self) -> impl Iterator<Item = MutexGuard<'_, Shard>> {
        self.0.iter().map(lock)
    }

    /// When something is due next in any account.
    pub(super) fn next_deadline(&self) -> Option<Timestamp> {
        self.each().filter_map(|shard| shard.deadlines.first().map(|(at, _)| *at)).min()
    }
}

impl Shard {
    pub(super) fn account(&self, token: TokenId) -> Option<&Account> {
        self.slots.get(&token).map(|slot| &slot.account)
    }

    pub(super) fn accounts(&self) -> impl Iterator<Item = (TokenId, &Account)> {
        self.slots.iter().map(|(token, slot)| (*token, &slot.account))
    }

    pub(super) fn tokens(&self) -> Vec<TokenId> {
        self.slots.keys().copied().collect()
    }

    /// When something is due in this account.
    pub(super) fn deadline(&self, token: TokenId) -> Option<Timestamp> {
        self.slots.get(&token).and_then(|slot| slot.deadline)
    }

    /// The account in which something has been due longest, if anything is due by `now`.
    pub(super) fn overdue(&self, now: Timestamp) -> Option<TokenId> {
        self.deadlines.first().filter(|(at, _)| *at <= now).map(|(_, token)| *token)
    }

    /// Applies events that happened at `now`; gives the sessions that ended by them, and those that go on after all.
    pub(super) fn apply(&mut self, token: TokenId, policy: &Policy, now: Timestamp, events: &[Event]) -> Ends {
        let slot = self.slots.entry(token).or_default();
        let mut ends = Ends::default();
        for event in events {
            let ended = slot.account.ended().len();
            for id in slot.account.apply(now, event) {
                let ended = slot.account.ended().iter().rfind(|ended| ended.session.id == id);
                ends.closed.extend(ended.map(|ended| kept(token, ended)));
            }
            if let Event::Progressed { session, .. } = event
                && slot.account.ended().len() < ended
            {
                ends.reopened.push(session.to_string());
            }
        }
        if events.iter().any(|event| matches!(event, Event::Seen(_))) {
            for event in slot.account.longer(policy, now) {
                slot.account.apply(now, &event);
            }
        }
        self.reckon(token, policy);
        ends
    }

    /// The sessions of this token that ended last, as they are kept for later.
    pub(super) fn ended(&self, token: TokenId) -> impl Iterator<Item = Closed> {
        self.account(token).into_iter().flat_map(Account::ended).map(move |ended| kept(token, ended))
    }

    /// Puts an account in, as a snapshot has it. When something is due in it is not worked out yet.
    pub(super) fn insert(&mut self, token: TokenId, account: Account) {
        self.slots.insert(token, Box::new(Slot { account, deadline: None }));
    }

    /// Applies an event as the journal has it. When something is due is not worked out yet.
    pub(super) fn replay(&mut self, token: TokenId, at: Timestamp, event: &Event) {
        let _ = self.slots.entry(token).or_default().account.apply(at, event);
    }

    /// Works out anew when something is due in this account.
    pub(super) fn reckon(&mut self, token: TokenId, policy: &Policy) {
        let Some(slot) = self.slots.get_mut(&token) else { return };
        let deadline = slot.account.next_deadline(policy);
        if deadline == slot.deadline {
            return;
        }
        if let Some(former) = slot.deadline {
            self.deadlines.remove(&(former, token));
        }
        if let Some(deadline) = deadline {
            self.deadlines.insert((deadline, token));
        }
        slot.deadline = deadline;
    }

    /// Forgets what nothing more can come of: sessions that ended long ago, and accounts whose token ended before
    /// `ended_before`.
    pub(super) fn forget(&mut self, now: Timestamp, ended_before: Timestamp) {
        self.slots.retain(|_, slot| {
            slot.account.forget_ended(now);
            let over = slot.account.terms().and_then(|terms| terms.valid_to).is_some_and(|end| end < ended_before);
            !(over && slot.account.sessions().is_empty())
        });
    }

    pub(super) fn find(&self, token: TokenId, id: SessionId) -> Option<Found> {
        let account = self.account(token)?;
        let live = account.sessions().iter().find(|session| session.id == id);
        let ended = || account.ended().iter().rfind(|ended| ended.session.id == id);
        live.map(|session| Found { token, session: session.clone(), ended: None }).or_else(|| {
            let Ended { session, at, counts, .. } = ended()?;
            Some(Found { token, session: session.clone(), ended: Some((*at, *counts)) })
        })
    }

    pub(super) fn find_any(&self, id: SessionId) -> Option<Found> {
        self.slots.keys().find_map(|token| self.find(*token, id))
    }
}

fn kept(token: TokenId, ended: &Ended) -> Closed {
    Closed {
        session: ended.session.id.to_string(),
        token: token.0,
        at_ms: ended.at.as_millisecond(),
        payload: written::ended(ended),
    }
}
