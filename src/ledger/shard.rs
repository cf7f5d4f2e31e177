//! A part of the accounts under one lock, with the moments at which something is due in them.

use std::collections::BTreeSet;
use std::collections::hash_map::Entry;
use std::panic::resume_unwind;
use std::sync::{Mutex, MutexGuard};
use std::thread;

use foldhash::HashMap;
use jiff::Timestamp;

use super::packed::Packed;
use super::replay::threads;
use super::{Found, lock, written};
use crate::core::account::{Account, Ended};
use crate::core::budget::moment;
use crate::core::event::Event;
use crate::core::ident::{SessionId, TokenId};
use crate::core::policy::Policy;
use crate::journal::Closed;

pub(super) const SHARDS: usize = 64;

/// Tokens in a row, by their numbers, that one shard holds: a snapshot writes rows of one shard together, and neighbours
/// stand on one page of the file.
const NEIGHBOURS: u64 = 64;

/// Every account.
#[derive(Debug)]
pub(super) struct Shards(Vec<Mutex<Shard>>);

/// Some accounts.
#[derive(Debug, Default)]
pub(super) struct Shard {
    slots: HashMap<TokenId, Slot>,
    /// When something is due in which account, in milliseconds since 1970; each at most once.
    deadlines: BTreeSet<(i64, TokenId)>,
}

/// Sessions that ended, as they are kept for later, and the names of those that go on after all.
#[derive(Clone, Debug, Default)]
pub(super) struct Ends {
    pub(super) closed: Vec<Closed>,
    pub(super) reopened: Vec<String>,
}

impl Ends {
    const fn is_none(&self) -> bool {
        self.closed.is_empty() && self.reopened.is_empty()
    }

    /// These, and after them what is `later`: of each session the latest.
    pub(super) fn and(mut self, later: Self) -> Self {
        for name in later.reopened {
            self.closed.retain(|closed| closed.session != name);
            self.reopened.push(name);
        }
        for closed in later.closed {
            self.reopened.retain(|name| *name != closed.session);
            self.closed.retain(|former| former.session != closed.session);
            self.closed.push(closed);
        }
        self
    }
}

#[derive(Debug)]
struct Slot {
    account: Packed,
    /// In milliseconds since 1970, as it stands among the deadlines; [`NEVER`] if it does not.
    deadline: i64,
}

const NEVER: i64 = i64::MAX;

impl Default for Shards {
    fn default() -> Self {
        Self((0..SHARDS).map(|_| Mutex::default()).collect())
    }
}

impl Shards {
    /// The shard that holds, or would hold, this token's account.
    pub(super) fn of(&self, token: TokenId) -> MutexGuard<'_, Shard> {
        #[expect(clippy::indexing_slicing, reason = "the remainder is below the number of shards")]
        lock(&self.0[Self::place(token)])
    }

    /// Which shard that is.
    pub(super) fn place(token: TokenId) -> usize {
        usize::try_from(token.0.unsigned_abs() / NEIGHBOURS).unwrap_or_default() % SHARDS
    }

    /// One after another, each locked only while it is looked at.
    pub(super) fn each(&self) -> impl Iterator<Item = MutexGuard<'_, Shard>> {
        self.0.iter().map(lock)
    }

    /// What `look` finds in each shard, all together; several threads look.
    pub(super) fn in_parallel<T: Send, A: FromIterator<T>>(&self, look: impl Fn(&mut Shard) -> Vec<T> + Sync) -> A {
        let look_at = |some: &[Mutex<Shard>]| some.iter().map(|shard| look(&mut lock(shard))).collect::<Vec<_>>();
        thread::scope(|scope| {
            let parts: Vec<_> = self.0.chunks(SHARDS / threads()).map(|some| scope.spawn(|| look_at(some))).collect();
            let parts = parts.into_iter().map(|part| part.join().unwrap_or_else(|panic| resume_unwind(panic)));
            parts.flatten().flatten().collect()
        })
    }

    /// How many accounts there are.
    pub(super) fn accounts(&self) -> u64 {
        self.each().map(|shard| u64::try_from(shard.slots.len()).unwrap_or(u64::MAX)).sum()
    }

    /// When something is due next in any account.
    pub(super) fn next_deadline(&self) -> Option<Timestamp> {
        let next = self.each().filter_map(|shard| shard.deadlines.first().map(|(at, _)| *at)).min()?;
        Some(moment(next))
    }
}

impl Shard {
    pub(super) fn account(&self, token: TokenId) -> Option<Account> {
        self.slots.get(&token).map(|slot| slot.account.unpack())
    }

    pub(super) fn accounts(&self) -> impl Iterator<Item = (TokenId, Account)> {
        self.slots.iter().map(|(token, slot)| (*token, slot.account.unpack()))
    }

    /// In the order of their numbers.
    pub(super) fn tokens(&self) -> Vec<TokenId> {
        let mut tokens: Vec<_> = self.slots.keys().copied().collect();
        tokens.sort_unstable();
        tokens
    }

    /// Whether something is due in this account by `now`.
    pub(super) fn is_due(&self, token: TokenId, now: Timestamp) -> bool {
        self.slots.get(&token).is_some_and(|slot| slot.deadline <= now.as_millisecond())
    }

    /// The account in which something has been due longest, if anything is due by `now`.
    pub(super) fn overdue(&self, now: Timestamp) -> Option<TokenId> {
        self.deadlines.first().filter(|(at, _)| *at <= now.as_millisecond()).map(|(_, token)| *token)
    }

    /// Applies events to this account as it stands, as [`applied`] does.
    pub(super) fn apply(
        &mut self,
        token: TokenId,
        account: &mut Account,
        policy: &Policy,
        now: Timestamp,
        events: &[Event],
    ) -> Ends {
        let remembered = account.ended().len();
        let ends = applied(token, account, policy, now, events);
        if account.ended().len() > remembered {
            account.forget_surplus();
        }
        self.put(token, account);
        self.due_at(token, account.next_deadline(policy));
        ends
    }

    /// The sessions of this token that ended last, as they are kept for later.
    pub(super) fn ended(&self, token: TokenId) -> Vec<Closed> {
        self.account(token).unwrap_or_default().ended().iter().map(|ended| kept(token, ended)).collect()
    }

    /// Puts an account in the place of the former. When something is due in it is not worked out yet.
    pub(super) fn insert(&mut self, token: TokenId, account: Packed) {
        match self.slots.entry(token) {
            Entry::Occupied(mut slot) => slot.get_mut().account = account,
            Entry::Vacant(slot) => {
                slot.insert(Slot { account, deadline: NEVER });
            }
        }
    }

    /// As [`Shard::insert`], in the room of the former.
    pub(super) fn put(&mut self, token: TokenId, account: &Account) {
        match self.slots.get_mut(&token) {
            Some(slot) => slot.account.put(account),
            None => self.insert(token, Packed::of(account)),
        }
    }

    /// Puts a former account back; none: there was none.
    pub(super) fn put_back(&mut self, token: TokenId, former: Option<&Account>, policy: &Policy) {
        match former {
            Some(account) => {
                self.put(token, account);
                self.due_at(token, account.next_deadline(policy));
            }
            None => self.remove(token),
        }
    }

    /// Works out anew when something is due in this account.
    pub(super) fn reckon(&mut self, token: TokenId, policy: &Policy) {
        if let Some(account) = self.account(token) {
            self.due_at(token, account.next_deadline(policy));
        }
    }

    /// Works out anew when something is due in any account, and shows each account to `look`.
    pub(super) fn reckon_all(&mut self, policy: &Policy, mut look: impl FnMut(TokenId, &Account)) {
        let mut deadlines = Vec::new();
        for (token, slot) in &mut self.slots {
            let account = slot.account.unpack();
            slot.deadline = account.next_deadline(policy).map_or(NEVER, Timestamp::as_millisecond);
            deadlines.extend((slot.deadline != NEVER).then_some((slot.deadline, *token)));
            look(*token, &account);
        }
        // Made in one go, it is more compact, too.
        self.deadlines = deadlines.into_iter().collect();
    }

    /// Nothing is done in this account before `at`, whatever is due.
    pub(super) fn look_again(&mut self, token: TokenId, at: Timestamp) {
        self.due_at(token, Some(at));
    }

    fn due_at(&mut self, token: TokenId, deadline: Option<Timestamp>) {
        let Some(slot) = self.slots.get_mut(&token) else { return };
        let deadline = deadline.map_or(NEVER, Timestamp::as_millisecond);
        let former = std::mem::replace(&mut slot.deadline, deadline);
        if deadline == former {
            return;
        }
        self.deadlines.remove(&(former, token));
        if deadline != NEVER {
            self.deadlines.insert((deadline, token));
        }
    }

    /// Forgets what nothing more can come of: sessions that ended long ago, and accounts whose token ended before
    /// `ended_before`.
    pub(super) fn forget(&mut self, now: Timestamp, ended_before: Timestamp) {
        self.slots.retain(|_, slot| {
            let mut account = slot.account.unpack();
            let ended = account.ended().len();
            account.forget_ended(now);
            if account.ended().len() < ended {
                slot.account.put(&account);
            }
            !is_over(&account, ended_before)
        });
    }

    /// The accounts of which nothing more can come: those that [`Shard::forget`] would forget.
    pub(super) fn over(&self, ended_before: Timestamp) -> Vec<TokenId> {
        let over = self.accounts().filter(|(_, account)| is_over(account, ended_before));
        over.map(|(token, _)| token).collect()
    }

    pub(super) fn remove(&mut self, token: TokenId) {
        if let Some(slot) = self.slots.remove(&token) {
            self.deadlines.remove(&(slot.deadline, token));
        }
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

/// Applies events that happened at `now` to an account, and what follows from them at once; gives the sessions that ended by
/// them, and those that go on after all. What ended is remembered whole.
pub(super) fn applied(
    token: TokenId,
    account: &mut Account,
    policy: &Policy,
    now: Timestamp,
    events: &[Event],
) -> Ends {
    let mut ends = Ends::default();
    for event in events {
        let (ended, mut by_it) = (account.ended().len(), Ends::default());
        for id in account.apply_one_of_many(now, event) {
            let ended = account.ended().iter().rfind(|ended| ended.session.id == id);
            by_it.closed.extend(ended.map(|ended| kept(token, ended)));
        }
        if let Event::Progressed { session, .. } = event
            && account.ended().len() < ended
        {
            by_it.reopened.push(session.to_string());
        }
        // One may end and go on by events of the same moment.
        if !by_it.is_none() {
            ends = ends.and(by_it);
        }
    }
    if events.iter().any(|event| matches!(event, Event::Seen(_))) {
        for event in account.longer(policy, now) {
            account.apply(now, &event);
        }
    }
    ends
}

fn is_over(account: &Account, ended_before: Timestamp) -> bool {
    let over = account.terms().and_then(|terms| terms.valid_to).is_some_and(|end| end < ended_before);
    // Of one that is open it is to be found out whether its minutes were written.
    over && account.sessions().is_empty() && account.open_settlement().is_none()
}

fn kept(token: TokenId, ended: &Ended) -> Closed {
    Closed {
        session: ended.session.id.to_string(),
        token: token.0,
        at_ms: ended.at.as_millisecond(),
        payload: written::ended(ended),
    }
}
